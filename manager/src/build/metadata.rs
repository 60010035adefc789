//! What is written about a build that has come to its end: `--iidfile`, and `--metadata-file` in the words of Docker's builder, for
//! whoever signs or deploys it next.

use crate::error::{Error, Result};
use crate::reference::Reference;
use bundle::digest::Digest;
use serde_json::{Value, json};
use std::path::Path;

/// A file that says what was built. It is written when all of it is where it was to go, a registry too: whoever finds it deploys that.
#[must_use]
pub(super) struct Note<'a> {
    path: &'a Path,
    text: String,
    action: &'static str,
}

impl<'a> Note<'a> {
    /// The id alone.
    pub(super) fn of_id(path: &'a Path, id: &Digest) -> Self {
        Self { path, text: id.to_string(), action: "write the image ID file" }
    }

    /// `result` is what stands for all that was built, and the digest of its configuration; without one, only files have come of it.
    pub(super) fn of_metadata(
        path: &'a Path,
        result: Option<(Value, Option<Digest>)>,
        (names, lists): (&[Reference], &[(Reference, Digest)]),
    ) -> Self {
        let lists = lists.iter().map(|(name, _)| name).filter(|name| !names.contains(name));
        let names: Vec<&Reference> = names.iter().chain(lists).collect();
        let text = format!("{:#}\n", metadata(result, &names));
        Self { path, text, action: "write the metadata file" }
    }

    /// Writes it.
    pub(super) fn write(&self) -> Result<()> {
        std::fs::write(self.path, &self.text).map_err(Error::io(self.action, self.path))
    }
}

fn metadata(result: Option<(Value, Option<Digest>)>, names: &[&Reference]) -> Value {
    let Some((descriptor, config)) = result else { return json!({}) };
    let mut metadata = json!({
        "containerimage.digest": descriptor["digest"],
        "containerimage.descriptor": descriptor,
    });
    if let Some(config) = config {
        metadata["containerimage.config.digest"] = config.as_str().into();
    }
    if !names.is_empty() {
        let names: Vec<String> = names.iter().map(|name| name.canonical()).collect();
        metadata["image.name"] = names.join(",").into();
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_built_is_told_in_dockers_words() {
        let names: [Reference; 2] = ["app", "r:5000/app:2"].map(|name| name.parse().unwrap());
        let names: Vec<&Reference> = names.iter().collect();
        let (config, descriptor) =
            (Digest::of(b"config"), json!({"digest": "sha256:1", "size": 2}));
        assert_eq!(
            metadata(Some((descriptor.clone(), Some(config.clone()))), &names),
            json!({
                "containerimage.config.digest": config.as_str(),
                "containerimage.descriptor": descriptor, "containerimage.digest": "sha256:1",
                "image.name": "docker.io/library/app:latest,r:5000/app:2",
            })
        );
        let of_list = metadata(Some((descriptor.clone(), None)), &[]);
        let expected =
            json!({"containerimage.descriptor": descriptor, "containerimage.digest": "sha256:1"});
        assert_eq!(of_list, expected);
        assert_eq!(metadata(None, &names), json!({}));
    }
}
