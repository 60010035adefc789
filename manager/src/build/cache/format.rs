//! What a cache of builds looks like, elsewhere and within an image.
//!
//! Elsewhere it is an image index, as registries and image layouts have them: an entry for each step, which is an image of its own, with the step's
//! key as an annotation. Its platform is `unknown`, so that nobody takes one for what they want to run. Within an image it is a member of
//! the configuration: of each step what its own configuration has that does not follow from the image's. Pure.

use crate::registry::manifest::OCI_INDEX;
use bundle::digest::Digest;
use bundle::layout::canonical;
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, ImageManifestBuilder, MediaType};
use serde_json::{Value, json};
use std::collections::HashMap;

/// The annotation of an index that is a cache.
const CACHE: &str = "dev.nman.build.cache";
/// The annotation of an entry: the key of the step.
const STEP: &str = "dev.nman.build.step";
/// The member of an image's configuration that has the steps.
pub(in crate::build) const STEPS: &str = "dev.nman.build.steps";
/// The form of either, raised when older ones are not to be read any more.
const FORM: &str = "1";

/// What a cache has for a key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    /// An image.
    Image(Box<Descriptor>),
    /// The configuration and the manifest of one, put together; its layers are those of the image that it stands in.
    Parts {
        /// The configuration.
        config: Vec<u8>,
        /// The manifest.
        manifest: Vec<u8>,
    },
}

/// An index of steps: keys, and what they have made.
pub(super) fn index(steps: &[(Digest, Descriptor)]) -> Vec<u8> {
    let entry = |(key, image): &(Digest, Descriptor)| {
        json!({
            "mediaType": image.media_type().to_string(), "digest": image.digest().to_string(), "size": image.size(),
            "platform": {"architecture": "unknown", "os": "unknown"}, "annotations": {STEP: key.as_str()},
        })
    };
    let entries: Vec<Value> = steps.iter().map(entry).collect();
    canonical(&json!({
        "schemaVersion": 2, "mediaType": OCI_INDEX, "annotations": {CACHE: FORM}, "manifests": entries,
    }))
}

/// The steps of an index; nothing if it is no cache.
pub(super) fn of_index(index: &ImageIndex) -> Option<HashMap<Digest, Found>> {
    let form = index.annotations().as_ref()?.get(CACHE)?;
    let key = |entry: &Descriptor| entry.annotations().as_ref()?.get(STEP)?.parse().ok();
    let entries = index.manifests().iter().filter(|_| form == FORM);
    Some(
        entries
            .filter_map(|entry| Some((key(entry)?, Found::Image(Box::new(entry.clone())))))
            .collect(),
    )
}

/// Puts steps into the configuration of the image that they have come to: their keys and their own configurations. One whose history and layers
/// are not the beginning of the image's is left out.
pub(in crate::build) fn put_in(document: &mut Value, steps: &[(Digest, Value)]) {
    let record = |(key, step): &(Digest, Value)| {
        let (history, layers) = (list(step, HISTORY)?, list(step, LAYERS)?);
        let begins = |whole: Option<&Vec<Value>>, with: &[Value]| {
            whole.is_some_and(|whole| whole.starts_with(with))
        };
        if !begins(list(document, HISTORY), history) || !begins(list(document, LAYERS), layers) {
            return None;
        }
        let mut own = step.as_object()?.clone();
        own.retain(|name, _| name != "history" && name != "rootfs");
        Some(json!({
            "key": key.as_str(), "id": Digest::of(&canonical(step)).as_str(),
            "history": history.len(), "layers": layers.len(), "own": own,
        }))
    };
    let records: Vec<Value> = steps.iter().filter_map(record).collect();
    document[STEPS] = json!({"form": FORM, "steps": records});
}

/// The steps within an image. What does not come out as it went in is left out.
pub(super) fn within(document: &Value, manifest: &ImageManifest) -> HashMap<Digest, Found> {
    let records = match document[STEPS]["form"].as_str() {
        Some(FORM) => document[STEPS]["steps"].as_array(),
        _ => None,
    };
    let found = |record: &Value| {
        let key = record["key"].as_str()?.parse().ok()?;
        Some((key, parts(record, document, manifest)?))
    };
    records.into_iter().flatten().filter_map(found).collect()
}

fn parts(record: &Value, document: &Value, manifest: &ImageManifest) -> Option<Found> {
    let count = |name: &str| usize::try_from(record[name].as_u64()?).ok();
    let history = list(document, HISTORY)?.get(..count("history")?)?;
    let layers = list(document, LAYERS)?.get(..count("layers")?)?;
    let mut step = record["own"].as_object()?.clone();
    step.insert("history".to_owned(), history.into());
    step.insert("rootfs".to_owned(), json!({"type": "layers", "diff_ids": layers}));
    let step = Value::from(step);
    if record["id"] != Digest::of(&canonical(&step)).as_str() {
        return None;
    }
    put_together(&step, manifest.layers().get(..layers.len())?)
}

/// An image of a configuration and these layers.
pub(super) fn put_together(config: &Value, layers: &[Descriptor]) -> Option<Found> {
    let config = canonical(config);
    let id = Digest::of(&config);
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .config(Descriptor::new(MediaType::ImageConfig, config.len() as u64, &id))
        .layers(layers.to_vec())
        .build()
        .ok()?;
    Some(Found::Parts { config, manifest: canonical(&manifest) })
}

/// Where a configuration has its history.
pub(super) const HISTORY: &str = "/history";
/// Where it has its layers.
pub(super) const LAYERS: &str = "/rootfs/diff_ids";

/// A list in a document.
pub(super) fn list<'v>(document: &'v Value, pointer: &str) -> Option<&'v Vec<Value>> {
    document.pointer(pointer)?.as_array()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn descriptor(media_type: MediaType, text: &str) -> Descriptor {
        Descriptor::new(media_type, 1, &key(text))
    }

    #[test]
    fn an_index_of_steps_reads_back_and_another_index_is_none() {
        let image = |text: &str| descriptor(MediaType::ImageManifest, text);
        // One image may be what two steps have made.
        let steps = [(key("a"), image("1")), (key("b"), image("1")), (key("c"), image("2"))];
        let read: ImageIndex = serde_json::from_slice(&index(&steps)).unwrap();
        let found = of_index(&read).unwrap();
        assert_eq!(found.len(), 3);
        let Found::Image(image) = &found[&key("b")] else { panic!("{found:?}") };
        assert_eq!(image.digest().to_string(), key("1").to_string());
        let mut other: Value = serde_json::from_slice(&index(&steps)).unwrap();
        other["annotations"] = json!({CACHE: "0"});
        let read: ImageIndex = serde_json::from_value(other.clone()).unwrap();
        assert!(of_index(&read).unwrap().is_empty(), "of another form");
        other.as_object_mut().unwrap().remove("annotations");
        assert!(of_index(&serde_json::from_value(other).unwrap()).is_none());
    }

    fn document(created: &str, history: &[&str], layers: &[&str]) -> Value {
        json!({
            "created": created, "config": {"Env": [created]},
            "history": history, "rootfs": {"type": "layers", "diff_ids": layers},
        })
    }

    #[test]
    fn steps_come_out_of_an_image_as_they_went_in() {
        let first = document("1", &["a", "b"], &["l1"]);
        let second = document("2", &["a", "b", "c"], &["l1", "l2"]);
        let other = document("3", &["x"], &["l1"]);
        let mut last = document("2", &["a", "b", "c", "d"], &["l1", "l2"]);
        let steps = [(key("1"), first.clone()), (key("2"), second), (key("3"), other)];
        put_in(&mut last, &steps);
        let layer = |text: &str| descriptor(MediaType::ImageLayerGzip, text);
        let manifest = ImageManifestBuilder::default()
            .schema_version(2_u32)
            .config(descriptor(MediaType::ImageConfig, "config"))
            .layers(vec![layer("blob1"), layer("blob2")])
            .build()
            .unwrap();
        let found = within(&last, &manifest);
        assert_eq!(found.len(), 2, "what stands on something else is none of its steps");
        let Found::Parts { config, manifest: made } = &found[&key("1")] else {
            panic!("{found:?}")
        };
        assert_eq!(*config, canonical(&first));
        let made: ImageManifest = serde_json::from_slice(made).unwrap();
        assert_eq!(made.layers()[..], [layer("blob1")]);
        assert_eq!(made.config().digest().to_string(), Digest::of(config).to_string());
        // What somebody has changed is left out, and so is what is not all there.
        last[STEPS]["steps"][0]["own"]["config"]["Env"] = json!(["other"]);
        last[STEPS]["steps"][1]["layers"] = json!(7);
        assert!(within(&last, &manifest).is_empty());
        assert!(within(&json!({}), &manifest).is_empty());
    }
}
