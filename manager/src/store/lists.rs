//! Lists of images for several platforms that are kept here by name.
//!
//! A list is an entry of the index, as an image is, whose blob is an index in OCI's words. It keeps the blobs of the images that it
//! has from here: they can be sent with it whatever becomes of their names. It does not keep their unpacked layers.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write as _;

use bundle::digest::Digest;
use bundle::platform::Platform;
use oci_spec::image::{Descriptor, ImageManifest};

use super::damaged::unless_damaged;
use super::index::{Entry, Index};
use super::removal::{self, Wish};
use super::verify::{Damage, Remedy};
use super::{Error, Image, Removed, Store, is_id_prefix};
use crate::clock::Timestamp;
use crate::reference::Reference;
use crate::registry::list::List;
use crate::registry::manifest::{self, Kind, OCI_INDEX};
use crate::registry::{Document, MAX_MANIFEST};

/// A list as the store knows it.
#[derive(Clone, Debug)]
pub struct ManifestList {
    /// The digest of what is kept, which is its id.
    pub digest: Digest,
    /// What it is called; one that lost its name has none.
    pub names: Vec<Reference>,
    /// When it was made or changed.
    pub made: Option<Timestamp>,
    /// What is in it.
    pub list: List,
}

/// What is meant by a name or an id.
#[derive(Clone, Debug)]
pub enum Found {
    /// An image.
    Image(Box<Image>),
    /// A list, and not an image of it.
    List(ManifestList),
}

/// What has a name that a list is to have.
#[derive(Clone, Debug)]
pub enum Occupant {
    /// Nothing.
    Nobody,
    /// An image, or a list that does not read back: its manifest's digest.
    Other(Digest),
    /// A list.
    List(Digest, List),
}

impl Store {
    /// The list of this name, or of this digest or the beginning of it.
    pub fn find_list(&self, text: &str) -> Result<Option<ManifestList>, Error> {
        let _lock = self.lock_shared()?;
        let index = self.index()?;
        let by_name = named(&index, text);
        let digest = match by_name {
            Some(digest) => digest,
            None => match of_id(&index, text)? {
                Some(digest) => digest,
                None => return Ok(None),
            },
        };
        self.read_list(&index, &digest).map(Some)
    }

    /// The image or the list of this name, or of this id or the beginning of it.
    pub fn find_any(&self, text: &str) -> Result<Found, Error> {
        let _lock = self.lock_shared()?;
        let index = self.index()?;
        if let Some(digest) = named(&index, text) {
            return self.read_list(&index, &digest).map(Found::List);
        }
        match self.find_in(&index, text, None) {
            Ok(image) => Ok(Found::Image(Box::new(image))),
            Err(error @ Error::NoSuchImage(_)) => {
                let digest = of_id(&index, text)?.ok_or(error)?;
                self.read_list(&index, &digest).map(Found::List)
            }
            Err(error) => Err(error),
        }
    }

    /// The list of this name.
    pub fn named_list(&self, name: &Reference) -> Result<Option<ManifestList>, Error> {
        let _lock = self.lock_shared()?;
        let index = self.index()?;
        let entry = index.named(name).filter(|entry| entry.is_list());
        entry.map(|entry| self.read_list(&index, &entry.manifest)).transpose()
    }

    /// All lists, in the order in which they came. One that is damaged is left out, which is told.
    pub fn lists(&self) -> Result<Vec<ManifestList>, Error> {
        let _lock = self.lock_shared()?;
        self.lists_in(&self.index()?)
    }

    pub(super) fn lists_in(&self, index: &Index) -> Result<Vec<ManifestList>, Error> {
        let mut lists = Vec::new();
        for digest in index.lists() {
            lists.extend(unless_damaged(self.read_list(index, &digest), index, &digest)?);
        }
        Ok(lists)
    }

    fn read_list(&self, index: &Index, digest: &Digest) -> Result<ManifestList, Error> {
        let (names, made) = (index.names(digest), index.made(digest));
        Ok(ManifestList { digest: digest.clone(), names, made, list: self.list_of(digest)? })
    }

    pub(super) fn list_of(&self, digest: &Digest) -> Result<List, Error> {
        let content = self.document("manifest list", digest, MAX_MANIFEST)?;
        List::read(&content).map_err(|why| Error::Damaged {
            object: "manifest list",
            digest: digest.clone(),
            why,
        })
    }

    /// Makes the list `name`, or another of what has that name: what `change` makes of it. Images that are to be here are found to be
    /// here, under the same lock, so that nobody takes them away before the list keeps them.
    pub(crate) fn change_list<E: From<Error>>(
        &self,
        name: &Reference,
        change: impl FnOnce(Occupant) -> Result<List, E>,
    ) -> Result<ManifestList, E> {
        self.check_writable()?;
        let staging = self.stage()?;
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let list = change(self.occupant(&index, name))?;
        if let Some(missing) = list.own().find(|digest| self.member(digest).is_err()) {
            return Err(Error::NoSuchImage(missing.to_string()).into());
        }
        let content = list.kept();
        let digest = Digest::of(&content);
        let path = staging.path("list");
        let written = File::create(&path)
            .and_then(|mut file| file.write_all(&content).and_then(|()| file.sync_data()));
        written.map_err(Error::file("write", &path))?;
        self.adopt(&path, &digest)?;
        self.make_names_last()?;
        index.put_list(Entry {
            manifest: digest.clone(),
            media_type: OCI_INDEX.to_owned(),
            size: content.len() as u64,
            name: Some(name.clone()),
            source: None,
            made: Some(Timestamp::now()),
            step: None,
        });
        index.write(&self.layout)?;
        // What the list was before, and what it has let go of.
        self.collect(&index)?;
        Ok(self.read_list(&index, &digest)?)
    }

    fn occupant(&self, index: &Index, name: &Reference) -> Occupant {
        match index.named(name) {
            None => Occupant::Nobody,
            Some(entry) => match self.list_of(&entry.manifest) {
                Ok(list) if entry.is_list() => Occupant::List(entry.manifest.clone(), list),
                _ => Occupant::Other(entry.manifest.clone()),
            },
        }
    }

    /// Gives a list one more name, which is taken from what has it.
    pub fn tag_list(&self, list: &ManifestList, name: &Reference) -> Result<(), Error> {
        self.tag_entry(&list.digest, &list.digest, name)
    }

    /// Takes away a name of a list, or with a digest all names, and with the last one the list. Nothing, if no list is meant. The lock
    /// is held.
    pub(super) fn remove_list(
        &self,
        index: &Index,
        text: &str,
        by_id: bool,
        force: bool,
    ) -> Result<Option<Vec<Removed>>, Error> {
        let found = if by_id { of_id(index, text)? } else { named(index, text) };
        let Some(digest) = found else { return Ok(None) };
        let names = index.names(&digest);
        let named = text.parse().ok().and_then(|typed| removal::named(&names, typed));
        let wish = Wish { id: &digest, names: &names, named: named.as_ref(), users: &[], force };
        let removal = removal::plan(&wish)?;
        self.forget(index.clone(), &digest, digest.clone(), &[], removal).map(Some)
    }

    /// The image here of a list that is for a platform, or, where nobody has asked for one, that runs on this machine.
    pub(super) fn of_list(
        &self,
        index: &Index,
        digest: &Digest,
        platform: Option<&Platform>,
    ) -> Result<Option<Image>, Error> {
        let list = self.list_of(digest)?;
        let images = self.list_in(index)?;
        let (mut offered, mut here) = (Vec::new(), Vec::new());
        for (descriptor, source) in list.descriptors() {
            let digest = Digest::try_from(&descriptor).ok();
            let image = images.iter().find(|image| image.goes_by(descriptor.digest().as_ref()));
            // One that is no image here any more is one again once it is unpacked from what the list keeps.
            let kept = || self.image(index, digest.as_ref().filter(|_| source.is_none())?).ok();
            if let Some(image) = image.cloned().or_else(kept) {
                offered.push(descriptor);
                here.push(image);
            }
        }
        let chosen = match platform {
            Some(platform) => platform.choose(&offered),
            None => Platform::host().choose_runnable(&offered),
        };
        let at = chosen.and_then(|chosen| offered.iter().position(|one| one == chosen));
        Ok(at.map(|at| here.swap_remove(at)))
    }

    /// The manifest of an image of a list, which may be one of no container.
    pub(crate) fn member(&self, digest: &Digest) -> Result<ImageManifest, Error> {
        let content = self.document("manifest", digest, MAX_MANIFEST)?;
        let document = Document { digest: digest.clone(), media_type: String::new(), content };
        let why = match manifest::read(&document) {
            Ok(Kind::Manifest(manifest)) => return Ok(*manifest),
            Ok(Kind::Index(_)) => "it is an index, not an image".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(Error::Damaged { object: "manifest", digest: digest.clone(), why })
    }

    /// The blobs that a list keeps, by their hexadecimal names; nothing if one does not tell what it needs.
    pub(super) fn kept_by_list(&self, digest: &Digest) -> Option<Vec<String>> {
        let mut blobs = vec![digest.hex().to_owned()];
        for member in self.list_of(digest).ok()?.own() {
            let manifest = self.member(&member).ok()?;
            let digests = blobs_of(&manifest).filter_map(|blob| Digest::try_from(blob).ok());
            blobs.extend(digests.chain([member]).map(|digest| digest.hex().to_owned()));
        }
        Some(blobs)
    }

    /// Looks at what only lists keep: the blobs of images have been looked at.
    pub(super) fn verify_lists(&self, index: &Index, found: &mut Vec<Damage>) {
        let mut seen = HashSet::new();
        for digest in index.lists() {
            let name = super::damaged::called(index, &digest);
            let list = match self.list_of(&digest) {
                Ok(list) => list,
                Err(error) => {
                    let what = format!("manifest list `{name}`: {error}");
                    found.push(Damage { what, remedy: Remedy::Forget(digest, name) });
                    continue;
                }
            };
            for member in list.own().filter(|member| index.entry(member).is_none()) {
                let manifest = match self.member(&member) {
                    Ok(manifest) => manifest,
                    Err(error) => {
                        let what = format!("manifest list `{name}`: {error}");
                        let blob = self.layout.blob_path(&member);
                        found
                            .push(Damage { what, remedy: Remedy::Fetch(Some(blob), name.clone()) });
                        continue;
                    }
                };
                for blob in blobs_of(&manifest)
                    .filter_map(|blob| Some((Digest::try_from(blob).ok()?, blob.size())))
                {
                    if !seen.insert(blob.0.clone()) {
                        continue;
                    }
                    let read = self.blob(&blob.0, blob.1).map_err(|error| error.to_string());
                    let read =
                        read.and_then(|blob| blob.finish().map_err(|error| error.to_string()));
                    if let Err(why) = read {
                        let what = format!("blob `{}` of manifest list `{name}`: {why}", blob.0);
                        let path = self.layout.blob_path(&blob.0);
                        found
                            .push(Damage { what, remedy: Remedy::Fetch(Some(path), name.clone()) });
                    }
                }
            }
        }
    }
}

/// What a manifest leads to.
pub(crate) fn blobs_of(manifest: &ImageManifest) -> impl Iterator<Item = &Descriptor> {
    manifest.layers().iter().chain([manifest.config()])
}

/// The list of this name.
fn named(index: &Index, text: &str) -> Option<Digest> {
    let name: Reference = text.parse().ok()?;
    let entry = index.named(&name).filter(|entry| entry.is_list())?;
    Some(entry.manifest.clone())
}

/// The list of this digest, or the beginning of it.
fn of_id(index: &Index, text: &str) -> Result<Option<Digest>, Error> {
    let mut fitting = index.lists();
    fitting.retain(|digest| is_id_prefix(digest, text));
    match fitting.len() {
        0 | 1 => Ok(fitting.pop()),
        _ => Err(Error::Ambiguous(text.to_owned())),
    }
}
