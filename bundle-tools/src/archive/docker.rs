//! `docker save`: `manifest.json` lists the images with their configurations and layers, as names of members.

use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifestBuilder, MediaType};
use serde::Deserialize;

use super::{Error, Intake, Loaded, check_layer};
use crate::{
    digest::DiffId,
    layer::{Compression, Limits},
    layout,
};

/// An image in `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// What `manifest.json` lists.
pub(super) fn listing(intake: &Intake<'_>) -> Result<Vec<Listed>, Error> {
    let descriptor = intake.find("manifest.json", MediaType::Other("manifest.json".to_owned()))?;
    let bytes = intake.layout().read(&descriptor)?;
    serde_json::from_slice(&bytes).map_err(|e| Error::invalid(format!("manifest.json: {e}")))
}

/// The names that `manifest.json` has for the image of this configuration.
pub(super) fn names_of(listed: &[Listed], config: &Descriptor, intake: &Intake<'_>) -> Vec<String> {
    let is_it = |image: &&Listed| {
        intake
            .find(&image.config, MediaType::ImageConfig)
            .is_ok_and(|found| found.digest() == config.digest())
    };
    listed
        .iter()
        .filter(is_it)
        .flat_map(|image| image.repo_tags.clone().unwrap_or_default())
        .collect()
}

pub(super) fn load(intake: &Intake<'_>, limits: &Limits) -> Result<Vec<Loaded>, Error> {
    let listed = listing(intake)?;
    if listed.is_empty() {
        return Err(Error::invalid("its manifest.json lists no image"));
    }
    listed.into_iter().map(|image| load_image(image, intake, limits)).collect()
}

/// Makes an OCI manifest for an image. Its configuration stays byte for byte, so the image keeps its id.
fn load_image(listed: Listed, intake: &Intake<'_>, limits: &Limits) -> Result<Loaded, Error> {
    let layout = intake.layout();
    let config = intake.find(&listed.config, MediaType::ImageConfig)?;
    let parsed: ImageConfiguration = layout.read_json(&config)?;
    let diff_ids = parsed.rootfs().diff_ids();
    if diff_ids.len() != listed.layers.len() {
        return Err(Error::invalid(format!(
            "image `{}` has {} layers and its configuration {} diff ids",
            config.digest(),
            listed.layers.len(),
            diff_ids.len()
        )));
    }
    let mut layers = Vec::new();
    for (member, diff_id) in listed.layers.iter().zip(diff_ids) {
        let expected: DiffId = diff_id.parse().map_err(layout::Error::from)?;
        let layer = describe_layer(intake, member)?;
        // Of a plain layer the digest is the diff id, and it was made while the blob was written.
        let plain = *layer.media_type() == MediaType::ImageLayer;
        if !(plain && layer.digest().to_string() == expected.to_string()) {
            check_layer(layout, &layer, &expected, limits)?;
        }
        layers.push(layer);
    }
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .config(config)
        .layers(layers)
        .build()
        .expect("all that a manifest needs is set");
    let descriptor = layout.put_json(MediaType::ImageManifest, &manifest)?;
    Ok(Loaded { names: listed.repo_tags.unwrap_or_default(), descriptor })
}

fn describe_layer(intake: &Intake<'_>, member: &str) -> Result<Descriptor, Error> {
    use std::io::Read as _;
    let mut layer = intake.find(member, MediaType::ImageLayer)?;
    let mut head = Vec::new();
    let blob = intake.layout().blob(&layer)?;
    blob.take(4)
        .read_to_end(&mut head)
        .map_err(|source| layout::Error::Blob { digest: layer.digest().to_string(), source })?;
    layer.set_media_type(Compression::sniff(&head).media_type());
    Ok(layer)
}
