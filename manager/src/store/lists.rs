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
use super::{Error, Image, Removed, Store, User, is_id_prefix};
use crate::clock::Timestamp;
use crate::reference::Reference;
use crate::registry::list::{List, best};
use crate::registry::manifest::{self, DOCKER_MANIFEST, Kind, OCI_INDEX};
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

/// An image that was meant by a name or an id.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// It.
    pub image: Image,
    /// Whether it was a list that was meant, of which this is the image for the platform.
    pub is_of_list: bool,
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

    /// Whether there is a list of this name or id, which need not read back.
    pub(crate) fn has_list(&self, text: &str) -> Result<bool, Error> {
        let _lock = self.lock_shared()?;
        let index = self.index()?;
        Ok(named(&index, text).is_some() || of_id(&index, text)?.is_some())
    }

    /// The image or the list of this name, or of this id or the beginning of it.
    pub fn find_any(&self, text: &str) -> Result<Found, Error> {
        let _lock = self.lock_shared()?;
        let index = self.index()?;
        if let Some(digest) = named(&index, text) {
            return self.read_list(&index, &digest).map(Found::List);
        }
        match self.find_image(&index, text) {
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
        let occupant = self.occupant(&index, name);
        let old: Vec<Digest> = match &occupant {
            Occupant::List(_, list) => list.own().collect(),
            Occupant::Nobody | Occupant::Other(_) => Vec::new(),
        };
        let list = change(occupant)?;
        // One that was in it and is damaged can be left or taken out.
        let mut new = list.own().filter(|digest| !old.contains(digest));
        if let Some(missing) = new.find(|digest| self.member(digest).is_err()) {
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
    pub(super) fn remove_list<E: From<Error>>(
        &self,
        index: &Index,
        text: &str,
        (by_id, force): (bool, bool),
        users: &impl Fn(&Image, Option<&[Reference]>) -> Result<Vec<User>, E>,
    ) -> Result<Option<Vec<Removed>>, E> {
        let found = if by_id { of_id(index, text)? } else { named(index, text) };
        let Some(digest) = found else { return Ok(None) };
        let names = index.names(&digest);
        let named = text.parse().ok().and_then(|typed| removal::named(&names, typed));
        let mut all = Vec::new();
        for image in self.images_of(index, &digest)? {
            all.extend(users(&image, Some(&names))?);
        }
        let wish = Wish { id: &digest, names: &names, named: named.as_ref(), users: &all, force };
        let removal = removal::plan(&wish)?;
        Ok(self.forget(index.clone(), &digest, digest.clone(), &[], removal).map(Some)?)
    }

    /// The images here that a list has; of one that does not read back, nobody knows any.
    fn images_of(&self, index: &Index, digest: &Digest) -> Result<Vec<Image>, Error> {
        let Ok(list) = self.list_of(digest) else { return Ok(Vec::new()) };
        let mut images = self.list_in(index)?;
        images.retain(|image| list.own().any(|own| image.goes_by(own.as_str())));
        Ok(images)
    }

    /// The image here of a list that is for a platform, or, where nobody has asked for one, that runs on this machine.
    pub(super) fn of_list(
        &self,
        index: &Index,
        digest: &Digest,
        platform: Option<&Platform>,
    ) -> Result<Option<Image>, Error> {
        let list = self.list_of(digest)?;
        let (mut offered, mut is_own): (Vec<Descriptor>, Vec<bool>) =
            list.descriptors().map(|(entry, source)| (entry, source.is_none())).unzip();
        // What is looked at is what fits: the next best only where the best is not here.
        while let Some(at) = best(&offered, platform) {
            if let Some(image) = self.of_descriptor(index, &offered[at], is_own[at])? {
                return Ok(Some(image));
            }
            offered.remove(at);
            is_own.remove(at);
        }
        Ok(None)
    }

    /// The image of an entry of a list, if it is here.
    fn of_descriptor(
        &self,
        index: &Index,
        descriptor: &Descriptor,
        is_own: bool,
    ) -> Result<Option<Image>, Error> {
        let Ok(digest) = Digest::try_from(descriptor) else { return Ok(None) };
        if index.entry(&digest).is_some() {
            return Ok(self.image(index, &digest).ok());
        }
        // In Docker's words it goes by the digest that it came with, which its own manifest tells.
        if descriptor.media_type().to_string() == DOCKER_MANIFEST {
            let images = self.list_in(index)?;
            if let Some(image) = images.into_iter().find(|image| image.goes_by(digest.as_str())) {
                return Ok(Some(image));
            }
        }
        // One that is no image here any more is one again once it is unpacked from what the list keeps.
        Ok(if is_own { self.image(index, &digest).ok() } else { None })
    }

    /// That a list has no image here for a platform.
    pub(super) fn not_in_list(
        &self,
        index: &Index,
        digest: &Digest,
        platform: Option<&Platform>,
    ) -> Error {
        let list = match self.list_of(digest) {
            Ok(list) => list,
            Err(error) => return error,
        };
        Error::NotInList {
            name: super::damaged::called(index, digest),
            wanted: platform.cloned().unwrap_or_else(Platform::host),
            offered: list.offered(),
        }
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

    /// Looks at what only lists keep: the blobs of `images` have been looked at.
    pub(super) fn verify_lists(&self, index: &Index, images: &[Image], found: &mut Vec<Damage>) {
        let mut seen = HashSet::new();
        for digest in index.lists() {
            let name = super::damaged::called(index, &digest);
            let list = match self.list_of(&digest) {
                Ok(list) => list,
                Err(error) => {
                    let what = format!("manifest list `{name}`: {error}");
                    found.push(Damage { what, remedy: Remedy::ForgetList(digest, name) });
                    continue;
                }
            };
            for member in list.own().filter(|member| index.entry(member).is_none()) {
                let has_image = images.iter().any(|image| image.goes_by(member.as_str()));
                found.extend(self.verify_member(&name, &member, has_image, &mut seen));
            }
        }
    }

    /// What is wrong with an image of the list `name`. One that is an image here as well has blobs that have been looked at, as have
    /// those that are `seen`.
    fn verify_member(
        &self,
        name: &str,
        member: &Digest,
        is_image: bool,
        seen: &mut HashSet<Digest>,
    ) -> Vec<Damage> {
        let damage = |what: String, blob: &Digest| {
            let blob = Some(self.layout.blob_path(blob));
            Damage { what, remedy: Remedy::Member(blob, name.to_owned(), member.clone()) }
        };
        let manifest = match self.member(member) {
            Ok(manifest) => manifest,
            Err(error) => return vec![damage(format!("manifest list `{name}`: {error}"), member)],
        };
        let blobs = blobs_of(&manifest).filter(|_| !is_image);
        let blobs = blobs.filter_map(|blob| Some((Digest::try_from(blob).ok()?, blob.size())));
        let wrong = |(blob, size): (Digest, u64)| {
            if !seen.insert(blob.clone()) {
                return None;
            }
            let read = self.blob(&blob, size).map_err(|error| error.to_string());
            let read = read.and_then(|blob| blob.finish().map_err(|error| error.to_string()));
            let why = read.err()?;
            Some(damage(format!("blob `{blob}` of manifest list `{name}`: {why}"), &blob))
        };
        blobs.filter_map(wrong).collect()
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
pub(super) fn of_id(index: &Index, text: &str) -> Result<Option<Digest>, Error> {
    let mut fitting = index.lists();
    fitting.retain(|digest| is_id_prefix(digest, text));
    match fitting.len() {
        0 | 1 => Ok(fitting.pop()),
        _ => Err(Error::Ambiguous(text.to_owned())),
    }
}
