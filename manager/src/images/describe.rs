//! An image as Docker's `inspect` shows it.

use crate::error::Result;
use crate::reference::Reference;
use crate::store::{Image, Store};
use serde_json::{Value, json};

/// The object.
pub fn describe(store: &Store, image: &Image) -> Result<Value> {
    let document = store.config_document(image)?;
    let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
    let comment = document["history"].as_array().and_then(|history| history.last());
    let comment = comment.and_then(|entry| entry["comment"].as_str()).unwrap_or_default();
    let diff_ids: Vec<String> = image.diff_ids.iter().map(ToString::to_string).collect();
    let upper = image.chain_ids.last().map(|chain| store.snapshots().files(chain));
    let lower: Vec<String> = image
        .chain_ids
        .iter()
        .rev()
        .skip(1)
        .map(|chain| store.snapshots().files(chain).display().to_string())
        .collect();
    let mut data = json!({ "UpperDir": upper });
    if !lower.is_empty() {
        data["LowerDir"] = lower.join(":").into();
    }
    let mut object = json!({
        "Id": image.id.as_str(),
        "RepoTags": image.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "RepoDigests": repo_digests(image),
        "Parent": "",
        "Comment": comment,
        "Created": image.time(),
        "DockerVersion": text("docker_version"),
        "Author": text("author"),
        "Config": document["config"],
        "Architecture": text("architecture"),
        "Os": text("os"),
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": { "Data": data, "Name": "overlay2" },
        "RootFS": { "Type": "layers", "Layers": diff_ids },
        "Metadata": { "LastTagTime": image.made.map_or_else(never, |time| time.to_string()) },
        "Digest": image.manifest_digest.as_str(),
    });
    for (key, shown) in [("variant", "Variant"), ("os.version", "OsVersion")] {
        if let Some(value) = document[key].as_str() {
            object[shown] = value.into();
        }
    }
    Ok(object)
}

/// How Go writes a time that is not set.
fn never() -> String {
    "0001-01-01T00:00:00Z".to_owned()
}

/// The image's digests, each behind the names of the repositories that it is in.
fn repo_digests(image: &Image) -> Vec<String> {
    let mut repositories: Vec<String> = image.names.iter().map(Reference::familiar_name).collect();
    repositories.dedup();
    let pairs = repositories.iter().flat_map(|repository| {
        image.repo_digests.iter().map(move |digest| format!("{repository}@{digest}"))
    });
    pairs.collect()
}
