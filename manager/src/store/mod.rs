//! The images on this machine: an OCI image layout that other tools read, and the layers unpacked.
//!
//! There is no database. `index.json` names the images, and is replaced by rename under a lock; a
//! blob is named by its digest, and appears whole. Whatever the index does not lead to is garbage.
//!
//!     ROOT/images/{oci-layout,index.json,blobs/sha256/HEX}    readable by skopeo and umoci
//!     ROOT/snapshots/CHAIN/fs, ROOT/snapshots/active/ID       see [`snapshot`](crate::snapshot)
//!     ROOT/staging/SESSION                                    what is not whole yet

mod damaged;
mod error;
mod health;
mod image;
mod index;
mod lists;
mod rebuild;
mod removal;
mod staging;
mod steps;
mod usage;
mod verify;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bundle::digest::{ChainId, Digest, Expected, Verifier};
use bundle::layout::{Layout, USUAL_DOCUMENT};
use bundle::platform::Platform;
use oci_spec::image::{Descriptor, ImageManifest};

pub use error::Error;
pub(crate) use error::hint_of_layout;
pub use health::HealthCheck;
pub(crate) use image::Content;
pub use image::Image;
pub(crate) use lists::blobs_of;
pub use lists::{Chosen, Found, ManifestList, Occupant};
pub use removal::User;
pub(crate) use staging::Staging;
pub(crate) use steps::key_of_held;
pub use verify::{Damage, Remedy};

use crate::clock::Timestamp;
use crate::disk::usage;
use crate::reference::Reference;
use crate::registry::manifest::{self, Kind};
use crate::registry::{Document, MAX_CONFIG, MAX_MANIFEST};
use crate::snapshot::{self, Snapshots, entries, private_directory};
use index::{Entry, Index};
use removal::{Removal, Wish};

/// All images below one root.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    layout: Layout,
    snapshots: Snapshots,
    /// Nothing was ever made here, and the disk is read-only: there is nothing to be read, and what writes fails.
    is_bare: bool,
}

/// What [`Store::remove`] did, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A name was taken away.
    Untagged(Reference),
    /// An image had no name left and is gone: its id.
    Deleted(Digest),
}

/// What [`Store::hold`] or [`Store::hold_off_builds`] holds, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held(#[expect(dead_code, reason = "closing it is what it is for")] Option<File>);

/// Images, and lists of images.
#[derive(Clone, Debug, Default)]
pub struct Stock {
    /// The images.
    pub images: Vec<Image>,
    /// The lists.
    pub lists: Vec<ManifestList>,
}

impl Store {
    /// The store below `root`, such as `/var/lib/nman`, made if it does not exist. On a read-only disk where it does not, it is
    /// empty.
    pub fn open(root: &Path) -> Result<Self, Error> {
        // A mount must find the layers wherever its process has gone meanwhile.
        let root = std::path::absolute(root).map_err(Error::file("find", root))?;
        let (images, snapshots) = (root.join("images"), root.join("snapshots"));
        match private_directory(&images) {
            Err(snapshot::Error::File { source, .. })
                if source.kind() == io::ErrorKind::ReadOnlyFilesystem =>
            {
                let (layout, snapshots) = (Layout::at(images), Snapshots::at(&snapshots));
                return Ok(Self { root, layout, snapshots, is_bare: true });
            }
            made => made?,
        }
        let snapshots = Snapshots::open(&snapshots)?;
        let layout = Layout::create(images)?;
        Ok(Self { root, layout, snapshots, is_bare: false })
    }

    /// That something can be put here: for who would else find out at the end of a download.
    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        if self.is_bare {
            return Err(Error::file("create", self.layout.path())(rustix::io::Errno::ROFS));
        }
        Ok(())
    }

    /// The unpacked layers.
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// The image layout.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Finds an image by its name, by (the beginning of) its id, or by the digest of its manifest.
    /// The name of a list stands for the image of it that runs on this machine.
    pub fn find(&self, text: &str) -> Result<Image, Error> {
        self.find_for(text, None).map(|chosen| chosen.image)
    }

    /// The same; of a list, the image for a platform. Any other image is for what it is for: whether that is the platform is not asked.
    pub fn find_for(&self, text: &str, platform: Option<&Platform>) -> Result<Chosen, Error> {
        let _lock = self.lock_shared()?;
        self.find_in(&self.index()?, text, platform)
    }

    fn find_in(
        &self,
        index: &Index,
        text: &str,
        platform: Option<&Platform>,
    ) -> Result<Chosen, Error> {
        if let Ok(reference) = text.parse::<Reference>()
            && let Some(entry) = index.named(&reference)
        {
            let image = self.of_entry(index, entry, platform)?;
            let image = image.ok_or_else(|| self.not_in_list(index, &entry.manifest, platform))?;
            return Ok(Chosen { image, is_of_list: entry.is_list() });
        }
        let error = match self.find_image(index, text) {
            Err(error @ Error::NoSuchImage(_)) => error,
            found => return found.map(|image| Chosen { image, is_of_list: false }),
        };
        let list = lists::of_id(index, text)?.ok_or(error)?;
        let image = self.of_list(index, &list, platform)?;
        let image = image.ok_or_else(|| self.not_in_list(index, &list, platform))?;
        Ok(Chosen { image, is_of_list: true })
    }

    /// The same, and never an image of a list that is meant itself.
    fn find_image(&self, index: &Index, text: &str) -> Result<Image, Error> {
        if let Ok(reference) = text.parse::<Reference>()
            && let Some(entry) = index.named(&reference).filter(|entry| !entry.is_list())
        {
            return self.image(index, &entry.manifest);
        }
        let mut found: Option<Image> = None;
        for digest in index.manifests_with_steps() {
            let image = match self.image(index, &digest) {
                Err(error) if digest.as_str() == text => return Err(error),
                image => image,
            };
            let Some(image) = damaged::unless_damaged(image, index, &digest)? else { continue };
            if image.manifest_digest.as_str() == text || image.id.as_str() == text {
                return Ok(image);
            }
            if !is_id_prefix(&image.id, text) || found.as_ref().is_some_and(|i| i.id == image.id) {
                continue;
            }
            if found.is_some() {
                return Err(Error::Ambiguous(text.to_owned()));
            }
            found = Some(image);
        }
        // In full, as Docker says it.
        let name =
            text.parse().map_or_else(|_| text.to_owned(), |name: Reference| name.to_string());
        found.ok_or(Error::NoSuchImage(name))
    }

    fn of_entry(
        &self,
        index: &Index,
        entry: &Entry,
        platform: Option<&Platform>,
    ) -> Result<Option<Image>, Error> {
        match entry.is_list() {
            true => self.of_list(index, &entry.manifest, platform),
            false => self.image(index, &entry.manifest).map(Some),
        }
    }

    /// The image that has this name; where a list has it, the image of it that runs on this machine.
    pub fn named(&self, reference: &Reference) -> Result<Option<Image>, Error> {
        self.named_for(reference, None)
    }

    /// The same; of a list, the image for a platform.
    pub fn named_for(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<Option<Image>, Error> {
        let _lock = self.lock_shared()?;
        let index = self.index()?;
        match index.named(reference) {
            Some(entry) => self.of_entry(&index, entry, platform),
            None => Ok(None),
        }
    }

    /// All images, in the order in which they came. One that is damaged is left out, which is told.
    pub fn list(&self) -> Result<Vec<Image>, Error> {
        let _lock = self.lock_shared()?;
        self.list_in(&self.index()?)
    }

    fn list_in(&self, index: &Index) -> Result<Vec<Image>, Error> {
        let mut images = Vec::new();
        for digest in index.manifests() {
            images.extend(damaged::unless_damaged(self.image(index, &digest), index, &digest)?);
        }
        Ok(images)
    }

    /// Keeps an image from being removed, and every other from coming and going, for who is about to make a record that keeps it;
    /// `None` if it is not there any more. Who removes images finds the record when its turn comes.
    pub(crate) fn hold(&self, image: &Image) -> Result<Option<Held>, Error> {
        let held = Held(self.lock_shared()?);
        Ok(self.index()?.entry(&image.manifest_digest).map(|_| held))
    }

    /// Whether all layers of an image are unpacked, and stay: what only a list keeps has blobs alone.
    pub(crate) fn is_unpacked(&self, image: &Image) -> bool {
        image.chain_ids.iter().all(|chain| self.snapshots.contains(chain))
            && (!image.names.is_empty() || matches!(self.hold(image), Ok(Some(_))))
    }

    /// Gives an image one more name, which is taken from the image that has it.
    pub fn tag(&self, image: &Image, name: &Reference) -> Result<(), Error> {
        self.tag_entry(&image.manifest_digest, &image.id, name)
    }

    fn tag_entry(&self, manifest: &Digest, id: &Digest, name: &Reference) -> Result<(), Error> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let Some(entry) = index.entry(manifest).cloned() else {
            return Err(Error::NoSuchImage(id.to_string()));
        };
        index.name(Entry { name: Some(name.clone()), source: None, step: None, ..entry });
        index.write(&self.layout)
    }

    /// Takes away a name, or with an id all names, and the image with its last name, by Docker's rules for images that have
    /// several names or that containers use. `users` finds those containers, of an image of a list those that were made by one of the
    /// list's names; it is asked under the lock, so that one that is
    /// made meanwhile is seen, or finds that its image has gone. Layers below a container stay in any case.
    pub fn remove<E: From<Error>>(
        &self,
        text: &str,
        force: bool,
        users: impl Fn(&Image, Option<&[Reference]>) -> Result<Vec<User>, E>,
    ) -> Result<Vec<Removed>, E> {
        if self.is_bare {
            self.find(text)?;
        }
        let _session = self.stage_removal()?;
        let _lock = self.lock()?;
        let index = self.index()?;
        if let Some(removed) = self.remove_list(&index, text, (false, force), &users)? {
            return Ok(removed);
        }
        let image = match self.find_image(&index, text) {
            Err(error @ (Error::Damaged { .. } | Error::NoSuchImage(_))) => {
                if let Some(removed) = self.remove_list(&index, text, (true, force), &users)? {
                    return Ok(removed);
                }
                return Ok(self.remove_damaged(index, text)?.ok_or(error)?);
            }
            found => found?,
        };
        let named = text.parse().ok().and_then(|typed| removal::named(&image.names, typed));
        let users = users(&image, None)?;
        let wish = Wish {
            id: &image.id,
            names: &image.names,
            named: named.as_ref(),
            users: &users,
            force,
        };
        let removal = removal::plan(&wish)?;
        Ok(self.forget(index, &image.manifest_digest, image.id, &image.chain_ids, removal)?)
    }

    /// Takes names away, and with the last of them what is called `id`. The lock is held.
    fn forget(
        &self,
        mut index: Index,
        manifest: &Digest,
        id: Digest,
        chain: &[ChainId],
        removal: Removal,
    ) -> Result<Vec<Removed>, Error> {
        index.forget(manifest, &removal.untag, removal.delete);
        index.write(&self.layout)?;
        let mut removed: Vec<_> = removal.untag.into_iter().map(Removed::Untagged).collect();
        if removal.delete {
            self.forget_steps_below(&mut index, chain)?;
            index.write(&self.layout)?;
            self.collect(&index)?;
            removed.push(Removed::Deleted(id));
        }
        Ok(removed)
    }

    /// Removes the images and the lists that `choose` takes from all, with their names; returns them, and how many bytes of disk that freed.
    /// `with_steps`: what steps of builds have made goes as well, if no image stands on it.
    /// The choice is made under the lock, as that of [`remove`](Self::remove).
    pub fn prune<E: From<Error>>(
        &self,
        choose: impl FnOnce(Stock) -> Result<Stock, E>,
        with_steps: bool,
    ) -> Result<(Stock, u64), E> {
        if self.is_bare {
            return Ok((Stock::default(), 0));
        }
        let _session = self.stage_removal()?;
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let (images, lists) = (self.list_in(&index)?, self.lists_in(&index)?);
        let chosen = choose(Stock { images, lists })?;
        let lists = chosen.lists.iter().map(|list| &list.digest);
        for digest in chosen.images.iter().map(|image| &image.manifest_digest).chain(lists) {
            index.forget(digest, &[], true);
        }
        if with_steps {
            self.forget_loose_steps(&mut index)?;
        }
        index.write(&self.layout)?;
        let freed = self.collect(&index)? + self.snapshots.collect_copies().map_err(Error::from)?;
        Ok((chosen, freed))
    }

    /// Writes down that an image was made here, and when.
    pub(crate) fn note_made(&self, image: &Image, made: Timestamp) -> Result<Image, Error> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        index.note_made(&image.manifest_digest, made);
        index.write(&self.layout)?;
        self.image(&index, &image.manifest_digest)
    }

    /// The whole configuration of an image, with what OCI's type does not have.
    pub fn config_document(&self, image: &Image) -> Result<serde_json::Value, Error> {
        let content = self.document("config", &image.id, MAX_CONFIG)?;
        serde_json::from_slice(&content).map_err(|error| Error::Damaged {
            object: "config",
            digest: image.id.clone(),
            why: error.to_string(),
        })
    }

    /// Begins a session that adds to the store, after clearing up behind those that were killed.
    pub(crate) fn stage(&self) -> Result<Staging, Error> {
        let parent = self.root.join("staging");
        Staging::sweep(&parent, || {
            let _lock = self.lock()?;
            self.collect(&self.index()?).map(drop)
        })?;
        Staging::begin(&parent)
    }

    /// A session that only removes: killed half-way, it leaves itself behind, after which the next one collects. On a disk without room
    /// for it, what makes room does without.
    fn stage_removal(&self) -> Result<Option<Staging>, Error> {
        match self.stage() {
            Err(error) if error.is_full() => Ok(None),
            session => session.map(Some),
        }
    }

    /// Whether the session of this name is still under way.
    pub(crate) fn is_alive(&self, session: &str) -> bool {
        Staging::is_held(&self.root.join("staging").join(session))
    }

    /// Removes every blob and snapshot that the index does not lead to, and says how many bytes of disk that freed. The lock
    /// is held.
    fn collect(&self, index: &Index) -> Result<u64, Error> {
        let mut freed = 0;
        let needed = self.reachable(index);
        for algorithm in entries(&self.layout.path().join("blobs"))? {
            for blob in entries(&algorithm)? {
                let name = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if !needed.blobs.has(&name) {
                    freed += usage(&blob);
                    fs::remove_file(&blob).map_err(Error::file("remove", &blob))?;
                }
            }
        }
        Ok(freed + self.snapshots.collect(&|name| needed.chains.has(name))?)
    }

    /// Keeps other processes from reading or changing what the index leads to.
    pub(crate) fn lock(&self) -> Result<File, Error> {
        self.lock_how(File::lock)
    }

    /// Keeps other processes from changing what the index leads to.
    fn lock_shared(&self) -> Result<Option<File>, Error> {
        if self.is_bare {
            return Ok(None);
        }
        self.lock_how(File::lock_shared).map(Some)
    }

    fn lock_how(&self, how: fn(&File) -> io::Result<()>) -> Result<File, Error> {
        let path = self.root.join("images.lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        // What is on a disk that has become read-only can still be looked at.
        let file = file.or_else(|error| match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem => File::open(&path),
            _ => Err(error),
        });
        let file = file.map_err(Error::file("open", &path))?;
        how(&file).map_err(Error::file("lock", &path))?;
        Ok(file)
    }

    /// Gives an image that is in place a name, which is taken from the image that has it. The lock
    /// is held.
    pub(crate) fn name(
        &self,
        name: Option<&Reference>,
        document: &Document,
        source: &Digest,
    ) -> Result<Image, Error> {
        let mut index = self.index()?;
        index.name(Entry {
            manifest: document.digest.clone(),
            media_type: document.media_type.clone(),
            size: document.content.len() as u64,
            name: name.cloned(),
            source: Some(source.clone()),
            made: index.made(&document.digest),
            step: None,
        });
        index.write(&self.layout)?;
        self.image(&index, &document.digest)
    }

    /// Whether a blob is here with the right size. Its content was verified when it came.
    pub(crate) fn has_blob(&self, digest: &Digest, size: u64) -> bool {
        fs::metadata(self.layout.blob_path(digest)).is_ok_and(|metadata| metadata.len() == size)
    }

    /// Waits until the disk has the names of blobs and layers: the next to be written is the index that leads to them.
    pub(crate) fn make_names_last(&self) -> Result<(), Error> {
        let mut directories = entries(&self.layout.path().join("blobs"))?;
        directories.push(self.root.join("snapshots"));
        for directory in directories {
            let synced = File::open(&directory).and_then(|file| file.sync_all());
            synced.map_err(Error::file("write to disk", &directory))?;
        }
        Ok(())
    }

    /// Makes a verified file, whose content is on the disk, the blob `digest`.
    pub(crate) fn adopt(&self, file: &Path, digest: &Digest) -> Result<(), Error> {
        let target = self.layout.blob_path(digest);
        if let Some(directory) = target.parent() {
            private_directory(directory)?;
        }
        fs::rename(file, &target).map_err(Error::file("store the blob", &target))
    }

    /// The content of a blob, verified as it is read.
    pub(crate) fn blob(&self, digest: &Digest, size: u64) -> Result<Verifier<File>, Error> {
        let path = self.layout.blob_path(digest);
        let file = File::open(&path).map_err(Error::file("open", &path))?;
        Ok(Verifier::new(file, Expected { digest: digest.clone(), size: Some(size) }))
    }

    /// A whole small blob, verified.
    fn document(
        &self,
        object: &'static str,
        digest: &Digest,
        limit: u64,
    ) -> Result<Vec<u8>, Error> {
        let path = self.layout.blob_path(digest);
        let damaged = |why: String| Error::Damaged { object, digest: digest.clone(), why };
        let file = File::open(&path).map_err(|error| damaged(bundle::reason::reason(&error)))?;
        let mut content = Vec::with_capacity(USUAL_DOCUMENT);
        let mut verified = Verifier::new(file.take(limit), Expected::from(digest.clone()));
        match verified.read_to_end(&mut content) {
            Ok(_) => Ok(content),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(damaged("its content does not have this digest".to_owned()))
            }
            Err(error) => Err(damaged(bundle::reason::reason(&error))),
        }
    }

    /// The manifest `digest`; `None` if it is an index.
    fn manifest(&self, digest: &Digest) -> Result<Option<ImageManifest>, Error> {
        let content = self.document("manifest", digest, MAX_MANIFEST)?;
        let document = Document { digest: digest.clone(), media_type: String::new(), content };
        match manifest::parse(&document) {
            Ok(Kind::Manifest(manifest)) => Ok(Some(*manifest)),
            Ok(Kind::Index(_)) => Ok(None),
            Err(error) => Err(Error::Damaged {
                object: "manifest",
                digest: digest.clone(),
                why: error.to_string(),
            }),
        }
    }

    /// What the manifest `digest` and its configuration say; `None` if it is an index.
    pub(crate) fn content(&self, digest: &Digest) -> Result<Option<Content>, Error> {
        let Some(manifest) = self.manifest(digest)? else { return Ok(None) };
        let config_digest = Digest::try_from(manifest.config()).map_err(|error| {
            let why = error.to_string();
            Error::Damaged { object: "manifest", digest: digest.clone(), why }
        })?;
        let config = self.document("config", &config_digest, MAX_CONFIG)?;
        Content::new(manifest, &config).map(Some).map_err(|why| Error::Damaged {
            object: "config",
            digest: config_digest,
            why,
        })
    }

    fn image(&self, index: &Index, digest: &Digest) -> Result<Image, Error> {
        let content = self.content(digest)?.ok_or_else(|| Error::Damaged {
            object: "manifest",
            digest: digest.clone(),
            why: "it is an index, not an image".to_owned(),
        })?;
        let layers: Vec<Descriptor> = content.manifest.layers().clone();
        let size = content.chain_ids.iter().zip(&layers).map(|(chain, layer)| {
            self.snapshots.record(chain).map_or_else(|_| layer.size(), |record| record.size)
        });
        let id = Digest::try_from(content.manifest.config()).map_err(|error| Error::Damaged {
            object: "manifest",
            digest: digest.clone(),
            why: error.to_string(),
        })?;
        let size = size.sum();
        let origin = manifest::origin(&content.manifest);
        Ok(Image {
            id,
            origin,
            names: index.names(digest),
            manifest_digest: digest.clone(),
            repo_digests: index.sources(digest),
            created: content.config.created().clone(),
            made: index.made(digest),
            config: content.config,
            health: content.health,
            layers,
            diff_ids: content.diff_ids,
            chain_ids: content.chain_ids,
            size,
        })
    }

    fn index(&self) -> Result<Index, Error> {
        if self.is_bare {
            return Ok(Index::default());
        }
        Index::read(&self.layout)
    }
}

/// Whether `text` is how one may begin to write an image's id, with or without the algorithm.
fn is_id_prefix(id: &Digest, text: &str) -> bool {
    let digits = text.split_once(':').map_or(text, |(_, digits)| digits);
    let full = if digits == text { id.hex() } else { id.as_str() };
    !digits.is_empty() && full.starts_with(text)
}
