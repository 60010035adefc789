//! Chosen images of a layout on their way out: what each of them leads to, and the index over all.

use std::collections::{BTreeMap, HashMap};

use oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder, ImageManifest, MediaType};

use super::{Error, oci::CONTAINERD_NAME};
use crate::{
    digest::{Digest, Expected},
    layout::{self, Document, Layout, REF_NAME},
};

/// An image, or an index of images, that is to be written.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Its manifest, which is in the layout; or the index, which need not be.
    pub manifest: Descriptor,
    /// The content of an index. Its images are in the layout.
    pub index: Option<Vec<u8>>,
    /// The names that it has where it goes.
    pub names: Vec<Name>,
}

/// A name in the forms that the two formats have for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// With its registry: `docker.io/library/alpine:3.20`.
    pub full: String,
    /// As it is typed: `alpine:3.20`.
    pub familiar: String,
    /// What stands behind the colon.
    pub tag: String,
}

/// Where the content of a blob is.
pub(super) enum Blob<'a> {
    /// In the layout.
    Kept(Box<Descriptor>),
    /// With what is to be written.
    Given(&'a [u8]),
}

/// What the images lead to, by the names of its members.
pub(super) fn blobs<'a>(
    layout: &Layout,
    images: &'a [Outgoing],
) -> Result<BTreeMap<String, Blob<'a>>, Error> {
    let mut blobs = BTreeMap::new();
    for image in images {
        let manifests = match &image.index {
            None => vec![image.manifest.clone()],
            Some(content) => {
                blobs.insert(member(&image.manifest)?, Blob::Given(content));
                let digest = image.manifest.digest().as_ref();
                match Document::parse(content, Some(image.manifest.media_type()), digest)? {
                    Document::Index(index) => index.manifests().clone(),
                    Document::Manifest(_) => {
                        return Err(Error::invalid(format!("`{digest}` is no index")));
                    }
                }
            }
        };
        for descriptor in manifests {
            let manifest = manifest(layout, &descriptor)?;
            let all = [&descriptor, manifest.config()].into_iter().chain(manifest.layers());
            for descriptor in all {
                blobs.insert(member(descriptor)?, Blob::Kept(Box::new(descriptor.clone())));
            }
        }
    }
    Ok(blobs)
}

/// A manifest of the layout.
pub(super) fn manifest(layout: &Layout, descriptor: &Descriptor) -> Result<ImageManifest, Error> {
    match layout.document(descriptor)? {
        Document::Manifest(manifest) => Ok(*manifest),
        Document::Index(_) => Err(Error::invalid(format!("`{}` is an index", descriptor.digest()))),
    }
}

/// The member that a blob is.
pub(super) fn member(descriptor: &Descriptor) -> Result<String, Error> {
    let digest = Digest::try_from(descriptor).map_err(layout::Error::from)?;
    Ok(format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex()))
}

/// `index.json`: an entry for each name, with the names where containerd and Docker keep them and where the specification has them.
pub(super) fn index(images: &[Outgoing]) -> ImageIndex {
    ImageIndexBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageIndex)
        .manifests(images.iter().flat_map(entries).collect::<Vec<_>>())
        .build()
        .expect("all that an index needs is set")
}

fn entries(image: &Outgoing) -> Vec<Descriptor> {
    let manifest = &image.manifest;
    let media_type = match image.index {
        Some(_) => manifest.media_type().clone(),
        None => MediaType::ImageManifest,
    };
    let bare = Descriptor::new(media_type, manifest.size(), manifest.digest().clone());
    if image.names.is_empty() {
        return vec![bare];
    }
    let named = |name: &Name| {
        let mut named = bare.clone();
        named.set_annotations(Some(HashMap::from([
            (CONTAINERD_NAME.to_owned(), name.full.clone()),
            (REF_NAME.to_owned(), name.tag.clone()),
        ])));
        named
    };
    image.names.iter().map(named).collect()
}

/// Puts `images` of `layout` into another layout, which keeps what it has. A name, and an image without one, is there once: as the last one that
/// had it. The index comes last.
pub fn place(layout: &Layout, images: &[Outgoing], target: &Layout) -> Result<(), Error> {
    put_blobs(layout, images, target)?;
    let new: Vec<Descriptor> = images.iter().flat_map(entries).collect();
    target.update_index(|index| {
        let mut all = index.manifests().clone();
        all.retain(|old| !new.iter().any(|new| takes_the_place_of(new, old)));
        all.extend(new);
        index.set_manifests(all);
    })?;
    Ok(())
}

/// Puts all that `images` of `layout` lead to into another layout, under no name. Every blob is verified, on its way or where it is: one that is
/// there stays, and one that is cut off or damaged is replaced.
pub fn put_blobs(layout: &Layout, images: &[Outgoing], target: &Layout) -> Result<(), Error> {
    for blob in blobs(layout, images)?.values() {
        match blob {
            Blob::Kept(descriptor) => {
                let expected = Expected::try_from(&**descriptor).map_err(layout::Error::from)?;
                if !target.has(&expected) {
                    target.put(layout.blob(descriptor)?, Some(expected))?;
                }
            }
            Blob::Given(content) => drop(target.put(*content, None)?),
        }
    }
    Ok(())
}

/// Whether an entry of an index goes when another comes: one of the same name, or without a name the same thing. Two images of different
/// repositories may have one tag.
fn takes_the_place_of(new: &Descriptor, old: &Descriptor) -> bool {
    let name = |of: &Descriptor| {
        let annotations = of.annotations().as_ref();
        let has = |key: &str| annotations.and_then(|all| all.get(key)).cloned();
        (has(CONTAINERD_NAME), has(REF_NAME))
    };
    match name(new) {
        (None, None) => new.digest() == old.digest() && name(old) == (None, None),
        named => named == name(old),
    }
}
