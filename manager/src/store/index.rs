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

/// The digest that the name stood for in its registry: the manifest's own, or that of the index
/// which it was chosen from or of the Docker manifest which it was made from.
const SOURCE: &str = "dev.nman.source.digest";
/// When `commit` or `import` made the image.
const MADE: &str = "dev.nman.made";

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
}

/// All of them, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    entries: Vec<Entry>,
}

impl Index {
    pub(super) fn read(layout: &Layout) -> Result<Self, Error> {
        let index = layout.index()?;
        let entries: Result<Vec<_>, _> = index.manifests().iter().map(Entry::try_from).collect();
        Ok(Self { entries: entries.map_err(bundle::layout::Error::from)? })
    }

    pub(super) fn write(&self, layout: &Layout) -> Result<(), Error> {
        let descriptors: Vec<_> = self.entries.iter().map(Descriptor::from).collect();
        Ok(layout.update_index(|index| {
            index.set_manifests(descriptors);
        })?)
    }

    /// The entry with this name. A reference pinned to a digest also fits an image that came from
    /// its repository and has this digest.
    pub(super) fn named(&self, reference: &Reference) -> Option<&Entry> {
        let exact = self.entries.iter().find(|entry| entry.name.as_ref() == Some(reference));
        let digest = reference.digest();
        exact.or_else(|| {
            self.entries.iter().find(|entry| {
                let same_repository = entry.name.as_ref().is_some_and(|name| {
                    (name.domain(), name.repository())
                        == (reference.domain(), reference.repository())
                });
                let same_content =
                    digest == Some(&entry.manifest) || digest == entry.source.as_ref();
                digest.is_some() && same_repository && same_content
            })
        })
    }

    pub(super) fn entry(&self, manifest: &Digest) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.manifest == *manifest)
    }

    /// The manifests, each once.
    pub(super) fn manifests(&self) -> Vec<Digest> {
        let mut digests: Vec<Digest> = Vec::new();
        for entry in &self.entries {
            if !digests.contains(&entry.manifest) {
                digests.push(entry.manifest.clone());
            }
        }
        digests
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
        if new.name.is_none() && self.entry(&new.manifest).is_some() {
            return;
        }
        for position in (0..self.entries.len()).rev() {
            let old = &self.entries[position];
            let loses_its_name = old.name.is_some() && old.name == new.name;
            let is_superseded = old.manifest == new.manifest && old.name.is_none();
            if !loses_its_name && !is_superseded {
                continue;
            }
            if old.manifest == new.manifest || self.of(&old.manifest).count() > 1 {
                self.entries.remove(position);
            } else {
                self.entries[position].name = None;
            }
        }
        self.entries.push(new);
    }

    /// Takes names from an image, and the image itself if `entirely`; else it stays, if need be without a name.
    pub(super) fn forget(&mut self, manifest: &Digest, names: &[Reference], entirely: bool) {
        let nameless = self.entry(manifest).map(|entry| Entry { name: None, ..entry.clone() });
        self.entries.retain(|entry| {
            let is_named = entry.name.as_ref().is_some_and(|name| names.contains(name));
            entry.manifest != *manifest || !(entirely || is_named)
        });
        if !entirely && self.entry(manifest).is_none() {
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
        let annotations: HashMap<_, _> = name.into_iter().chain(source).chain(made).collect();
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
        }
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
    fn a_pinned_reference_fits_by_digest_within_its_repository_only() {
        let index = index(&[("a", Some("x:1"))]);
        for digest in [Digest::of(b"a"), Digest::of(b"index")] {
            assert!(index.named(&format!("x@{digest}").parse().unwrap()).is_some());
            assert!(index.named(&format!("y@{digest}").parse().unwrap()).is_none());
        }
        assert!(index.named(&"x:2".parse().unwrap()).is_none());
    }
}
