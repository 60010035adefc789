//! A list of images for several platforms, as it is kept and as it is sent: an index of OCI's, or Docker's manifest list.
//!
//! It is JSON here, and not a type, because what another index said of an image is to be said on, whatever it is. Pure.

use super::manifest::{DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX};
use bundle::digest::Digest;
use bundle::platform::{self, Platform};
use oci_spec::image::Descriptor;
use serde_json::{Map, Value, json};

/// The annotation of an image of a list that is not here: the repository that has it. It is not sent.
const SOURCE: &str = "dev.nman.source.repository";

/// Whose words a list is sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An image index.
    Oci,
    /// Docker's manifest list, version 2, schema 2. It has no annotations.
    Docker,
}

impl Format {
    /// The media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Oci => OCI_INDEX,
            Self::Docker => DOCKER_INDEX,
        }
    }
}

/// What a list says of an image, where that is not what the image says itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// The operating system.
    pub os: Option<String>,
    /// The CPU's architecture.
    pub architecture: Option<String>,
    /// Its variant.
    pub variant: Option<String>,
    /// The version of the operating system.
    pub os_version: Option<String>,
    /// What the operating system must have.
    pub os_features: Vec<String>,
    /// What the CPU must have.
    pub features: Vec<String>,
    /// Annotations of the entry.
    pub annotations: Vec<(String, String)>,
}

impl Traits {
    /// Says it of an entry.
    pub fn apply(&self, entry: &mut Value) {
        let words = [
            ("architecture", &self.architecture),
            ("os", &self.os),
            ("os.version", &self.os_version),
            ("variant", &self.variant),
        ];
        for (key, value) in words {
            if let Some(value) = value {
                entry["platform"][key] = value.as_str().into();
            }
        }
        for (key, values) in [("os.features", &self.os_features), ("features", &self.features)] {
            if !values.is_empty() {
                entry["platform"][key] = json!(values);
            }
        }
        annotate(entry, &self.annotations);
    }
}

fn annotate(object: &mut Value, annotations: &[(String, String)]) {
    for (key, value) in annotations {
        object["annotations"][key] = value.as_str().into();
    }
}

/// The list as it is kept: an index in OCI's words, with notes of ours where an image that is not here comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    document: Value,
}

impl Default for List {
    fn default() -> Self {
        Self { document: json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}) }
    }
}

impl List {
    /// Reads one that was kept. The error is a clause.
    pub fn read(content: &[u8]) -> Result<Self, String> {
        let document: Value = serde_json::from_slice(content).map_err(|error| error.to_string())?;
        if !document["manifests"].is_array() || document["mediaType"] != OCI_INDEX {
            return Err("it is no index".to_owned());
        }
        Ok(Self { document })
    }

    /// What is kept.
    #[must_use]
    pub fn kept(&self) -> Vec<u8> {
        self.document.to_string().into_bytes()
    }

    /// The entries, in order.
    #[must_use]
    pub fn entries(&self) -> &[Value] {
        self.document["manifests"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The entries as far as they are descriptors.
    pub fn descriptors(&self) -> impl Iterator<Item = (Descriptor, Option<&str>)> {
        self.entries().iter().filter_map(|entry| {
            let descriptor = serde_json::from_value(entry.clone()).ok()?;
            Some((descriptor, source(entry)))
        })
    }

    /// The image for a platform, or, where nobody has asked for one, that runs on this machine, with the repository that has it if that is
    /// not here.
    #[must_use]
    pub fn choose(&self, platform: Option<&Platform>) -> Option<(Descriptor, Option<&str>)> {
        let (entries, sources): (Vec<Descriptor>, Vec<Option<&str>>) = self.descriptors().unzip();
        let at = best(&entries, platform)?;
        Some((entries[at].clone(), sources[at]))
    }

    /// Its platforms, for a message.
    #[must_use]
    pub fn offered(&self) -> String {
        let entries: Vec<Descriptor> = self.descriptors().map(|(entry, _)| entry).collect();
        platform::offered(&entries)
    }

    /// The digests of the images that are to be here: those that no repository is noted for.
    pub fn own(&self) -> impl Iterator<Item = Digest> {
        self.descriptors()
            .filter(|(_, source)| source.is_none())
            .filter_map(|(descriptor, _)| Digest::try_from(&descriptor).ok())
    }

    /// Adds an image, or says something else of one that is in it.
    pub fn add(&mut self, entry: Value) {
        match self.entries().iter().position(|old| old["digest"] == entry["digest"]) {
            Some(at) => self.document["manifests"][at] = entry,
            None => self.entries_mut().push(entry),
        }
    }

    /// Takes out what is for the same platform as `entry`, which is added. The same image may be in the list for another platform.
    pub fn replace(&mut self, entry: Value) {
        let entries = self.entries_mut();
        entries.retain(|old| old["platform"] != entry["platform"]);
        entries.push(entry);
    }

    /// Takes an image out; whether it was in it.
    pub fn remove(&mut self, digest: &Digest) -> bool {
        let before = self.entries().len();
        self.entries_mut().retain(|entry| entry["digest"] != digest.as_str());
        self.entries().len() < before
    }

    /// Says something else of an image; whether it is in it.
    pub fn annotate_entry(&mut self, digest: &Digest, traits: &Traits) -> bool {
        let found = self.entries_mut().iter_mut().find(|entry| entry["digest"] == digest.as_str());
        let is_there = found.is_some();
        found.into_iter().for_each(|entry| traits.apply(entry));
        is_there
    }

    /// Gives the list itself annotations.
    pub fn annotate(&mut self, annotations: &[(String, String)]) {
        annotate(&mut self.document, annotations);
    }

    fn entries_mut(&mut self) -> &mut Vec<Value> {
        let entries = &mut self.document["manifests"];
        if !entries.is_array() {
            *entries = json!([]);
        }
        match entries {
            Value::Array(entries) => entries,
            _ => unreachable!("it has just been made an array"),
        }
    }

    /// What suits it: Docker's words where all its images are in Docker's, and nothing is said that those have no word for.
    #[must_use]
    pub fn format(&self) -> Format {
        let entries = self.entries();
        let is_dockers = |entry: &Value| {
            entry["mediaType"] == DOCKER_MANIFEST
                && annotations(entry).is_none_or(|annotations| annotations.is_empty())
        };
        match !entries.is_empty() && entries.iter().all(is_dockers) {
            true if self.document.get("annotations").is_none() => Format::Docker,
            _ => Format::Oci,
        }
    }

    /// What is sent: nothing of ours is in it.
    #[must_use]
    pub fn sent(&self, format: Format) -> Vec<u8> {
        let entries: Vec<Value> =
            self.entries().iter().map(|entry| sent_entry(entry, format)).collect();
        let mut document = match format {
            Format::Oci => self.document.clone(),
            Format::Docker => json!({"schemaVersion": 2}),
        };
        document["mediaType"] = format.media_type().into();
        document["manifests"] = entries.into();
        document.to_string().into_bytes()
    }
}

/// Where the entry is that is for a platform, or, where nobody has asked for one, that runs on this machine.
pub(crate) fn best(entries: &[Descriptor], platform: Option<&Platform>) -> Option<usize> {
    let best = match platform {
        Some(platform) => platform.choose(entries),
        None => Platform::host().choose_runnable(entries),
    }?;
    entries.iter().position(|entry| std::ptr::eq(entry, best))
}

/// An entry for an image that is in `repository`, or here.
#[must_use]
pub fn entry(descriptor: &Value, repository: Option<&str>) -> Value {
    let mut entry = descriptor.clone();
    if let Some(repository) = repository {
        entry["annotations"][SOURCE] = repository.into();
    }
    entry
}

/// The repository that has the image of an entry, where it is not here.
fn source(entry: &Value) -> Option<&str> {
    entry["annotations"][SOURCE].as_str()
}

/// An entry's annotations without ours.
fn annotations(entry: &Value) -> Option<Map<String, Value>> {
    let mut annotations = entry["annotations"].as_object()?.clone();
    annotations.remove(SOURCE);
    Some(annotations)
}

fn sent_entry(entry: &Value, format: Format) -> Value {
    let Some(members) = entry.as_object() else { return entry.clone() };
    let mut members = members.clone();
    if let Some(annotations) = annotations(entry).filter(|annotations| !annotations.is_empty()) {
        members.insert("annotations".to_owned(), annotations.into());
    } else {
        members.remove("annotations");
    }
    if format == Format::Docker {
        let known = ["mediaType", "size", "digest", "platform"];
        members.retain(|name, _| known.contains(&name.as_str()));
    }
    members.into()
}

#[cfg(test)]
mod tests {
    use super::super::Document;
    use super::super::manifest::{Kind, parse};
    use super::*;

    const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

    fn image(content: &str, media_type: &str, architecture: &str) -> Value {
        json!({
            "mediaType": media_type, "digest": Digest::of(content.as_bytes()).as_str(), "size": 1,
            "platform": {"architecture": architecture, "os": "linux"},
        })
    }

    fn list(entries: &[Value]) -> List {
        let mut list = List::default();
        entries.iter().for_each(|entry| list.add(entry.clone()));
        list
    }

    fn sent(list: &List, format: Format) -> Value {
        serde_json::from_slice(&list.sent(format)).unwrap()
    }

    #[test]
    fn what_is_kept_reads_back_and_what_is_sent_has_no_note_of_ours() {
        let here = image("a", OCI_MANIFEST, "amd64");
        let there = entry(&image("b", OCI_MANIFEST, "arm64"), Some("r:5000/b"));
        let list = list(&[here.clone(), there]);
        assert_eq!(List::read(&list.kept()), Ok(list.clone()));
        assert_eq!(list.own().collect::<Vec<_>>(), [Digest::of(b"a")]);
        let sources: Vec<_> = list.descriptors().map(|(_, source)| source).collect();
        assert_eq!(sources, [None, Some("r:5000/b")]);
        let sent = sent(&list, Format::Oci);
        assert_eq!(sent["manifests"], json!([here, image("b", OCI_MANIFEST, "arm64")]));
        assert!(List::read(b"{}").is_err());
    }

    #[test]
    fn both_kinds_are_indexes_to_whoever_pulls_them() {
        let list = list(&[image("a", DOCKER_MANIFEST, "amd64")]);
        for format in [Format::Oci, Format::Docker] {
            let content = list.sent(format);
            let digest = Digest::of(&content);
            let document = Document { digest, media_type: format.media_type().to_owned(), content };
            assert!(
                matches!(parse(&document), Ok(Kind::Index(index)) if index.manifests().len() == 1)
            );
        }
    }

    #[test]
    fn dockers_words_are_for_dockers_images_about_which_no_more_is_said() {
        let dockers = image("a", DOCKER_MANIFEST, "amd64");
        let there = entry(&dockers, Some("r/a"));
        assert_eq!(list(std::slice::from_ref(&there)).format(), Format::Docker);
        assert_eq!(list(&[there.clone(), image("b", OCI_MANIFEST, "arm64")]).format(), Format::Oci);
        assert_eq!(List::default().format(), Format::Oci);
        let mut annotated = list(&[there]);
        let pair = [("k".to_owned(), "v".to_owned())];
        annotated.annotate(&pair);
        assert_eq!(annotated.format(), Format::Oci);
        assert!(sent(&annotated, Format::Docker).get("annotations").is_none());
        let traits = Traits { annotations: pair.to_vec(), ..Traits::default() };
        let mut of_entry = list(&[dockers]);
        assert!(of_entry.annotate_entry(&Digest::of(b"a"), &traits));
        assert_eq!(of_entry.format(), Format::Oci);
        assert!(sent(&of_entry, Format::Docker)["manifests"][0].get("annotations").is_none());
        assert_eq!(sent(&of_entry, Format::Oci)["manifests"][0]["annotations"], json!({"k": "v"}));
    }

    #[test]
    fn traits_replace_what_is_named_and_leave_the_rest() {
        let mut list = list(&[image("a", OCI_MANIFEST, "amd64")]);
        let word = |word: &str| Some(word.to_owned());
        let traits = Traits {
            architecture: word("arm"),
            variant: word("v7"),
            os_version: word("1"),
            os_features: vec!["x".to_owned()],
            features: vec!["neon".to_owned()],
            ..Traits::default()
        };
        assert!(list.annotate_entry(&Digest::of(b"a"), &traits));
        assert!(!list.annotate_entry(&Digest::of(b"b"), &traits));
        let expected = json!({
            "architecture": "arm", "os": "linux", "os.version": "1", "variant": "v7",
            "os.features": ["x"], "features": ["neon"],
        });
        assert_eq!(list.entries()[0]["platform"], expected);
    }

    #[test]
    fn an_image_is_in_a_list_once_and_a_new_one_comes_in_the_place_of_that_for_its_platform() {
        let mut list =
            list(&[image("a", OCI_MANIFEST, "amd64"), image("b", OCI_MANIFEST, "arm64")]);
        list.add(image("a", OCI_MANIFEST, "386"));
        assert_eq!(
            list.entries(),
            [image("a", OCI_MANIFEST, "386"), image("b", OCI_MANIFEST, "arm64")]
        );
        list.replace(image("c", OCI_MANIFEST, "arm64"));
        assert_eq!(
            list.entries(),
            [image("a", OCI_MANIFEST, "386"), image("c", OCI_MANIFEST, "arm64")]
        );
        assert!(list.remove(&Digest::of(b"a")) && !list.remove(&Digest::of(b"a")));
        assert_eq!(list.entries().len(), 1);
        // What is built may be the same for two platforms.
        list.replace(image("c", OCI_MANIFEST, "riscv64"));
        assert_eq!(
            list.entries(),
            [image("c", OCI_MANIFEST, "arm64"), image("c", OCI_MANIFEST, "riscv64")]
        );
    }
}
