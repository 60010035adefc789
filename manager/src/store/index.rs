//! `index.json`: which images there are, and what they are called.
//!
//! An image with several names has an entry for each, as the image layout specification has it; the
//! name is the full reference in `org.opencontainers.image.ref.name`, so `skopeo copy
//! oci:ROOT/images:docker.io/library/alpine:latest` finds it.

use std::collections::HashMap;

use bundle::digest::{Digest, ParseDigestError};
use bundle::layout::{Layout, REF_NAME};
use oci_spec::image::{Descriptor, MediaType};

use super::Error;
use crate::clock::Timestamp;
use crate::reference::Reference;
use crate::registry::manifest::OCI_INDEX;

/// The digest that the name stood for in its registry: the manifest's own, or that of the index
/// which it was chosen from or of the Docker manifest which it was made from.
const SOURCE: &str = "dev.nman.source.digest";
/// When `commit`, `import` or `build` made the image.
const MADE: &str = "dev.nman.made";
/// The key of the step of a build that made the image: the same step of another build takes it from here.
const STEP: &str = "dev.nman.build.step";

/// One line of the index: an image under one name, or under none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) manifest: Digest,
    pub(super) media_type: String,
    pub(super) size: u64,
    pub(super) name: Option<Reference>,
    pub(super) source: Option<Digest>,
    /// When it was made, if it was made here: its configuration has a time that does not depend on that.
    pub(super) made: Option<Timestamp>,
    /// The step of a build that has made it. Such an entry has no name, and is nobody's image: it may go with what stands on it.
    pub(super) step: Option<Digest>,
}

impl Entry {
    /// Whether it is a list of images, and no image.
    pub(super) fn is_list(&self) -> bool {
        self.media_type == OCI_INDEX
    }
}

/// All of them, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    entries: Vec<Entry>,
}

impl Index {
    pub(super) fn read(layout: &Layout) -> Result<Self, Error> {
        let path = layout.path().join("index.json");
        let unreadable = |why: String| Error::NoIndex { path: path.clone(), why };
        let index = match layout.written_index() {
            Err(bundle::layout::Error::Document { why, .. }) => return Err(unreadable(why)),
            index => index?.ok_or_else(|| unreadable("there is none".to_owned()))?,
        };
        let entries: Result<Vec<_>, _> = index.manifests().iter().map(Entry::try_from).collect();
        Ok(Self { entries: entries.map_err(|error| unreadable(error.to_string()))? })
    }

    pub(super) fn write(&self, layout: &Layout) -> Result<(), Error> {
        let descriptors: Vec<_> = self.entries.iter().map(Descriptor::from).collect();
        Ok(layout.update_index(|index| {
            index.set_manifests(descriptors);
        })?)
    }

    /// The entry with this name. A reference pinned to a digest fits an image that came from its repository and has this
    /// digest, and never another, whatever that is called.
    pub(super) fn named(&self, reference: &Reference) -> Option<&Entry> {
        let has_name = |entry: &&Entry| entry.name.as_ref() == Some(reference);
        let Some(digest) = reference.digest() else {
            return self.entries.iter().find(has_name);
        };
        let pinned = || {
            self.entries.iter().filter(move |entry| {
                let same_repository = entry.name.as_ref().is_some_and(|name| {
                    (name.domain(), name.repository())
                        == (reference.domain(), reference.repository())
                });
                same_repository
                    && (*digest == entry.manifest || Some(digest) == entry.source.as_ref())
            })
        };
        pinned().find(has_name).or_else(|| pinned().next())
    }

    pub(super) fn entry(&self, manifest: &Digest) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.manifest == *manifest)
    }

    /// The manifests of images, each once.
    pub(super) fn manifests(&self) -> Vec<Digest> {
        once(self.entries.iter().filter(|entry| entry.step.is_none() && !entry.is_list()))
    }

    /// The same with those that only steps of builds have made.
    pub(super) fn manifests_with_steps(&self) -> Vec<Digest> {
        once(self.entries.iter().filter(|entry| !entry.is_list()))
    }

    /// The manifests of what steps of builds have made, each once.
    pub(super) fn steps(&self) -> Vec<Digest> {
        once(self.entries.iter().filter(|entry| entry.step.is_some()))
    }

    /// The lists of images for several platforms, each once.
    pub(super) fn lists(&self) -> Vec<Digest> {
        once(self.entries.iter().filter(|entry| entry.is_list()))
    }

    /// What the step with this key has made last.
    pub(super) fn of_step(&self, key: &Digest) -> Option<&Entry> {
        self.entries.iter().rfind(|entry| entry.step.as_ref() == Some(key))
    }

    /// Forgets what has this key.
    pub(super) fn forget_step(&mut self, key: &Digest) {
        self.entries.retain(|entry| entry.step.as_ref() != Some(key));
    }

    /// Forgets steps; images that they have made and that are named, or nobody's but were meant to stay, are not concerned.
    pub(super) fn forget_steps(&mut self, goes: impl Fn(&Digest) -> bool) {
        self.entries.retain(|entry| entry.step.is_none() || !goes(&entry.manifest));
    }

    pub(super) fn names(&self, manifest: &Digest) -> Vec<Reference> {
        self.of(manifest).filter_map(|entry| entry.name.clone()).collect()
    }

    /// The digests by which registries know an image; without any, the manifest's own.
    pub(super) fn sources(&self, manifest: &Digest) -> Vec<Digest> {
        let mut digests: Vec<Digest> = Vec::new();
        for source in self.of(manifest).filter_map(|entry| entry.source.as_ref()) {
            if !digests.contains(source) {
                digests.push(source.clone());
            }
        }
        if digests.is_empty() { vec![manifest.clone()] } else { digests }
    }

    fn of(&self, manifest: &Digest) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.manifest == *manifest)
    }

    /// Adds an entry. An image that thereby loses its only name stays, without one.
    pub(super) fn name(&mut self, new: Entry) {
        let is_there = |old: &Entry| old.manifest == new.manifest && old.step.is_none();
        if new.step.is_none() && new.name.is_none() && self.entries.iter().any(is_there) {
            return;
        }
        if new.step.is_some() {
            // Another build may stand on what the same step has made before: it stays as long as steps do.
            if !self.entries.iter().any(|old| old.step == new.step && old.manifest == new.manifest)
            {
                self.entries.push(new);
            }
            return;
        }
        for position in (0..self.entries.len()).rev() {
            let old = &self.entries[position];
            let loses_its_name = old.name.is_some() && old.name == new.name;
            if old.step.is_some() {
                continue;
            }
            let is_superseded = old.manifest == new.manifest && old.name.is_none();
            if !loses_its_name && !is_superseded {
                continue;
            }
            let of_same = self.of(&old.manifest).filter(|entry| entry.step.is_none());
            let has_others = of_same.count() > 1;
            if old.manifest == new.manifest || has_others {
                self.entries.remove(position);
            } else {
                self.entries[position].name = None;
            }
        }
        self.entries.push(new);
    }

    /// Makes a list what `new` says, or adds it; an image that has the name loses it.
    pub(super) fn put_list(&mut self, new: Entry) {
        match self.entries.iter_mut().find(|old| old.is_list() && old.name == new.name) {
            Some(old) => *old = new,
            None => self.name(new),
        }
    }

    /// Takes names from an image, and the image itself if `entirely`; else it stays, if need be without a name.
    pub(super) fn forget(&mut self, manifest: &Digest, names: &[Reference], entirely: bool) {
        let own = |entry: &&Entry| entry.step.is_none();
        let nameless = self.of(manifest).find(own);
        let nameless = nameless.map(|entry| Entry { name: None, ..entry.clone() });
        self.entries.retain(|entry| {
            let is_named = entry.name.as_ref().is_some_and(|name| names.contains(name));
            entry.manifest != *manifest || entry.step.is_some() || !(entirely || is_named)
        });
        if !entirely && !self.of(manifest).any(|entry| entry.step.is_none()) {
            self.entries.extend(nameless);
        }
    }

    /// When an image was made, if that was here.
    pub(super) fn made(&self, manifest: &Digest) -> Option<Timestamp> {
        self.of(manifest).filter_map(|entry| entry.made).max()
    }

    /// Writes down that an image was made here, and when.
    pub(super) fn note_made(&mut self, manifest: &Digest, made: Timestamp) {
        for entry in self.entries.iter_mut().filter(|entry| entry.manifest == *manifest) {
            entry.made = Some(made);
        }
    }
}

fn once<'e>(entries: impl Iterator<Item = &'e Entry>) -> Vec<Digest> {
    let mut digests: Vec<Digest> = Vec::new();
    for entry in entries {
        if !digests.contains(&entry.manifest) {
            digests.push(entry.manifest.clone());
        }
    }
    digests
}

impl TryFrom<&Descriptor> for Entry {
    type Error = ParseDigestError;

    fn try_from(descriptor: &Descriptor) -> Result<Self, Self::Error> {
        let annotation = |key| descriptor.annotations().as_ref().and_then(|map| map.get(key));
        Ok(Self {
            manifest: Digest::try_from(descriptor)?,
            media_type: descriptor.media_type().to_string(),
            size: descriptor.size(),
            name: annotation(REF_NAME).and_then(|name| name.parse().ok()),
            source: annotation(SOURCE).and_then(|digest| digest.parse().ok()),
            made: annotation(MADE).and_then(|time| Timestamp::parse(time)),
            step: annotation(STEP).and_then(|key| key.parse().ok()),
        })
    }
}

impl From<&Entry> for Descriptor {
    fn from(entry: &Entry) -> Self {
        let media_type = MediaType::from(entry.media_type.as_str());
        let mut descriptor = Self::new(media_type, entry.size, &entry.manifest);
        let name = entry.name.as_ref().map(|name| (REF_NAME.to_owned(), name.canonical()));
        let source = entry.source.as_ref().map(|digest| (SOURCE.to_owned(), digest.to_string()));
        let made = entry.made.map(|made| (MADE.to_owned(), made.to_string()));
        let step = entry.step.as_ref().map(|key| (STEP.to_owned(), key.to_string()));
        let annotations = name.into_iter().chain(source).chain(made).chain(step);
        let annotations: HashMap<_, _> = annotations.collect();
        if !annotations.is_empty() {
            descriptor.set_annotations(Some(annotations));
        }
        descriptor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(content: &str, name: Option<&str>) -> Entry {
        Entry {
            manifest: Digest::of(content.as_bytes()),
            media_type: MediaType::ImageManifest.to_string(),
            size: 1,
            name: name.map(|name| name.parse().unwrap()),
            source: Some(Digest::of(b"index")),
            made: Timestamp::parse("2024-01-02T03:04:05Z"),
            step: None,
        }
    }

    fn step(content: &str, key: &str) -> Entry {
        Entry { step: Some(Digest::of(key.as_bytes())), ..entry(content, None) }
    }

    fn index(entries: &[(&str, Option<&str>)]) -> Index {
        let mut index = Index::default();
        for (content, name) in entries {
            index.name(entry(content, *name));
        }
        index
    }

    fn shown(index: &Index) -> Vec<(Digest, Option<String>)> {
        let show =
            |entry: &Entry| (entry.manifest.clone(), entry.name.as_ref().map(ToString::to_string));
        index.entries.iter().map(show).collect()
    }

    #[test]
    fn an_index_reads_back_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::create(directory.path()).unwrap();
        let written = index(&[("a", Some("x:1")), ("a", Some("x:2")), ("b", None)]);
        written.write(&layout).unwrap();
        assert_eq!(Index::read(&layout).unwrap(), written);
    }

    #[test]
    fn a_name_belongs_to_one_image_and_the_other_stays_without() {
        let moved = index(&[("old", Some("x")), ("new", Some("x"))]);
        let expected =
            [(Digest::of(b"old"), None), (Digest::of(b"new"), Some("x:latest".to_owned()))];
        assert_eq!(shown(&moved), expected);
        // Pulled again, the old image is not there twice.
        let back = index(&[("old", Some("x")), ("new", Some("x")), ("old", Some("x"))]);
        assert_eq!(shown(&back).len(), 2);
    }

    #[test]
    fn an_image_with_another_name_left_has_no_nameless_entry() {
        let moved = index(&[("old", Some("x")), ("old", Some("y")), ("new", Some("x"))]);
        assert_eq!(moved.names(&Digest::of(b"old")), ["y".parse().unwrap()]);
        assert_eq!(moved.of(&Digest::of(b"old")).count(), 1);
    }

    #[test]
    fn what_a_step_has_made_is_no_image_until_it_is_one_and_stays_the_steps() {
        let mut index = Index::default();
        index.name(step("a", "key"));
        assert!(index.manifests().is_empty());
        assert_eq!(index.manifests_with_steps(), [Digest::of(b"a")]);
        index.name(entry("a", Some("x")));
        index.name(entry("b", Some("x")));
        // It has lost its name, and is still there; without a name twice, it is there once.
        index.name(entry("a", None));
        assert_eq!(index.manifests(), [Digest::of(b"a"), Digest::of(b"b")]);
        index.forget(&Digest::of(b"a"), &[], true);
        assert_eq!(index.manifests(), [Digest::of(b"b")]);
        let key = Digest::of(b"key");
        assert_eq!(index.of_step(&key).map(|entry| entry.manifest.clone()), Some(Digest::of(b"a")));
        index.name(step("c", "key"));
        assert_eq!(index.of_step(&key).map(|entry| entry.manifest.clone()), Some(Digest::of(b"c")));
        index.forget_steps(|manifest| *manifest == Digest::of(b"c"));
        assert_eq!(index.of_step(&key).map(|entry| entry.manifest.clone()), Some(Digest::of(b"a")));
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::create(directory.path()).unwrap();
        index.name(step("d", "other"));
        index.write(&layout).unwrap();
        assert_eq!(Index::read(&layout).unwrap(), index);
    }

    #[test]
    fn a_pinned_reference_fits_by_digest_within_its_repository_only() {
        let index = index(&[("a", Some("x:1"))]);
        for digest in [Digest::of(b"a"), Digest::of(b"index")] {
            assert!(index.named(&format!("x@{digest}").parse().unwrap()).is_some());
            assert!(index.named(&format!("y@{digest}").parse().unwrap()).is_none());
        }
        assert!(index.named(&"x:2".parse().unwrap()).is_none());
        // A name alone makes no other content of it.
        let other: Reference = format!("x@{}", Digest::of(b"other")).parse().unwrap();
        let mut index = index;
        index.name(entry("a", Some(&other.to_string())));
        assert!(index.named(&other).is_none());
    }
}
