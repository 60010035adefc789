//! An OCI layout in a tar archive. `docker save` since 25 writes both formats into one; this is the one with all digests.

use oci_spec::image::{Descriptor, ImageIndex, MediaType};

use super::{Error, Intake, Loaded, check_layer, docker};
use crate::{
    digest::Digest,
    layer::Limits,
    layout::{self, Document, REF_NAME},
};

/// Where containerd and Docker keep the whole name, of which [`REF_NAME`] is then the tag.
pub(super) const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// How deep indexes may nest.
const MAX_NESTING: u32 = 8;

pub(super) fn load(intake: &Intake<'_>, limits: &Limits) -> Result<Vec<Loaded>, Error> {
    let index = intake.find("index.json", MediaType::ImageIndex)?;
    let index: ImageIndex = intake.layout().read_json(&index)?;
    if index.manifests().is_empty() {
        return Err(Error::invalid("its index.json lists no image"));
    }
    let mut loaded: Vec<Loaded> = Vec::new();
    for descriptor in index.manifests() {
        if check(intake, descriptor, limits, MAX_NESTING)? == 0 {
            return Err(Error::invalid(format!("image `{}` is not in it", descriptor.digest())));
        }
        let name = name_of(intake, descriptor)?;
        match loaded.iter_mut().find(|known| known.descriptor.digest() == descriptor.digest()) {
            Some(known) => known.names.extend(name),
            None => loaded.push(Loaded { names: name, descriptor: bare(descriptor) }),
        }
    }
    Ok(loaded)
}

/// The descriptor without annotations: they named the image in the archive.
fn bare(descriptor: &Descriptor) -> Descriptor {
    let mut bare = descriptor.clone();
    bare.set_annotations(None);
    bare
}

fn name_of(intake: &Intake<'_>, descriptor: &Descriptor) -> Result<Vec<String>, Error> {
    let annotation = |key: &str| {
        let name = descriptor.annotations().as_ref()?.get(key)?;
        (!name.is_empty()).then(|| vec![name.clone()])
    };
    if let Some(name) = annotation(CONTAINERD_NAME) {
        return Ok(name);
    }
    if intake.has("manifest.json")
        && let Document::Manifest(manifest) = intake.layout().document(descriptor)?
    {
        let names = docker::names_of(&docker::listing(intake)?, manifest.config(), intake);
        if !names.is_empty() {
            return Ok(names);
        }
    }
    Ok(annotation(REF_NAME).unwrap_or_default())
}

/// Checks all images below `descriptor` and says how many there are. Of an index, images for some platforms may be missing;
/// of an image nothing may.
fn check(
    intake: &Intake<'_>,
    descriptor: &Descriptor,
    limits: &Limits,
    depth: u32,
) -> Result<usize, Error> {
    let layout = intake.layout();
    let digest = Digest::try_from(descriptor).map_err(layout::Error::from)?;
    if !layout.contains(&digest) {
        return Ok(0);
    }
    match layout.document(descriptor)? {
        Document::Index(_) if depth == 0 => Err(Error::invalid("its indexes nest too deep")),
        Document::Index(index) => index
            .manifests()
            .iter()
            .map(|entry| check(intake, entry, limits, depth - 1))
            .sum::<Result<usize, Error>>(),
        // An artifact (an attestation, a signature) has no root file system to check; its blobs were verified by name.
        Document::Manifest(manifest) if !is_image_config(manifest.config().media_type()) => Ok(1),
        Document::Manifest(manifest) => {
            let image = layout.complete(descriptor.clone(), *manifest)?;
            // An attestation has the media types of an image and layers that are none.
            let layers = image.manifest.layers().iter().zip(&image.diff_ids);
            for (layer, diff_id) in layers.filter(|(layer, _)| is_layer(layer.media_type())) {
                check_layer(layout, layer, diff_id, limits)?;
            }
            Ok(1)
        }
    }
}

fn is_image_config(media_type: &MediaType) -> bool {
    matches!(media_type.as_ref(), "application/vnd.docker.container.image.v1+json")
        || *media_type == MediaType::ImageConfig
}

fn is_layer(media_type: &MediaType) -> bool {
    let name = media_type.as_ref();
    name.starts_with("application/vnd.oci.image.layer.")
        || name.starts_with("application/vnd.docker.image.rootfs.")
}
