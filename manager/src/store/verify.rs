//! Whether the store is what it says: every blob has its digest, every layer is unpacked and whole, nothing is left over.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use bundle::digest::{ChainId, DiffId, Digest};
use bundle::layer::{self, Limits};
use bundle::tarball::Kind;

use crate::privilege::is_in_namespace;
use oci_spec::image::Descriptor;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};

use super::damaged::{Needed, Reachable, called};
use super::{Error, Image, Staging, Store};
use crate::snapshot::{entries, name_of, remove_tree};

/// Something that is wrong, and what mends it.
#[derive(Debug)]
pub struct Damage {
    /// What and where, in a line.
    pub what: String,
    /// What mends it.
    pub remedy: Remedy,
}

/// What mends a damage.
#[derive(Debug)]
pub enum Remedy {
    /// Removing what nothing leads to.
    Collect,
    /// Making the index again from the images that are there, which lose their names.
    Rebuild,
    /// Unpacking the layer again from its blob.
    Unpack(Box<Image>, ChainId),
    /// Getting the image again; a blob that is not what its name says is in the way of that, and is removed.
    Fetch(Option<PathBuf>, String),
    /// Getting an image again that only a list has, or taking it out: the blob that is in the way, the list's name, and the digest by
    /// which the list knows it.
    Member(Option<PathBuf>, String, Digest),
    /// Giving a list up that does not read back: its digest and its name.
    ForgetList(Digest, String),
    /// Giving the image up: nothing here tells what its manifest or its configuration, by this digest of the manifest and
    /// under this name, was.
    Forget(Digest, String),
}

impl Store {
    /// Looks at everything. Nothing is changed.
    pub fn verify(&self) -> Result<Vec<Damage>, Error> {
        let _lock = self.lock_shared()?;
        let index = match self.index() {
            Err(error @ Error::NoIndex { .. }) => {
                // What is garbage cannot be told.
                return Ok(vec![Damage { what: error.to_string(), remedy: Remedy::Rebuild }]);
            }
            index => index?,
        };
        let mut found = Vec::new();
        let mut verified = HashSet::new();
        let mut images = Vec::new();
        for digest in index.manifests_with_steps() {
            let name = called(&index, &digest);
            match self.image(&index, &digest) {
                Ok(image) => {
                    self.verify_image(&image, &name, &mut verified, &mut found);
                    images.push(image);
                }
                Err(error) => {
                    let remedy = match &error {
                        Error::Damaged { .. } => Remedy::Forget(digest, name.clone()),
                        _ => Remedy::Fetch(None, name.clone()),
                    };
                    found.push(Damage { what: format!("image `{name}`: {error}"), remedy });
                }
            }
        }
        self.verify_lists(&index, &images, &mut found);
        let Reachable { blobs, chains } = self.reachable(&index);
        for algorithm in entries(&self.layout.path().join("blobs"))? {
            found.extend(leftover("blob", &entries(&algorithm)?, &blobs));
        }
        let needed = chains.and(self.snapshots.used()?);
        found.extend(leftover("layer", &self.snapshots.committed_directories()?, &needed));
        for session in Staging::abandoned(&self.root.join("staging"))? {
            let what =
                format!("`{}` was left behind by a process that was killed", session.display());
            found.push(Damage { what, remedy: Remedy::Collect });
        }
        Ok(found)
    }

    fn verify_image(
        &self,
        image: &Image,
        name: &str,
        verified: &mut HashSet<String>,
        found: &mut Vec<Damage>,
    ) {
        let ids = image.diff_ids.iter().zip(&image.chain_ids);
        for (descriptor, (diff_id, chain)) in image.layers.iter().zip(ids) {
            // Images share layers; each is looked at once.
            if !verified.insert(chain.to_string()) {
                continue;
            }
            let layer = format!("layer `{}` of image `{name}`", descriptor.digest());
            let contents = match self.verify_blob(descriptor, diff_id) {
                Ok(contents) => contents,
                Err(why) => {
                    let blob = Digest::try_from(descriptor).ok();
                    let blob = blob.map(|digest| self.layout.blob_path(&digest));
                    let remedy = Remedy::Fetch(blob, name.to_owned());
                    found.push(Damage { what: format!("{layer}: its blob {why}"), remedy });
                    continue;
                }
            };
            let unpacked = self.snapshots.files(chain);
            let whole = match self.snapshots.contains(chain) {
                true => compare(&unpacked, &contents),
                false => Err("is missing".to_owned()),
            };
            if let Err(why) = whole {
                let what =
                    format!("{layer}: what was unpacked of it in `{}` {why}", unpacked.display());
                let remedy = Remedy::Unpack(Box::new(image.clone()), chain.clone());
                found.push(Damage { what, remedy });
            }
        }
    }

    /// What a layer's blob contains, if it is what its digests say.
    fn verify_blob(
        &self,
        descriptor: &Descriptor,
        expected: &DiffId,
    ) -> Result<BTreeMap<Vec<u8>, Shape>, String> {
        let digest = Digest::try_from(descriptor).map_err(|error| error.to_string())?;
        let missing = |_| "is missing".to_owned();
        let length = fs::metadata(self.layout.blob_path(&digest)).map_err(missing)?.len();
        if length != descriptor.size() {
            return Err(format!("has {length} bytes instead of {}", descriptor.size()));
        }
        let blob = self.blob(&digest, descriptor.size()).map_err(|error| error.to_string())?;
        let mut contents = BTreeMap::new();
        let diff_id = layer::scan(blob, &Limits::of_own(), |entry| {
            let name = clean(&entry.name);
            // Devices are left out there: see `unpack`.
            let is_device = matches!(entry.kind, Kind::CharDevice(..) | Kind::BlockDevice(..));
            if is_device && is_in_namespace() {
                return;
            }
            if !name.is_empty() && !last(&name).starts_with(b".wh.") {
                contents.insert(name, Shape::of(&entry.kind, entry.size));
            }
        });
        match diff_id {
            Ok(found) if found == *expected => Ok(contents),
            Ok(found) => Err(format!("unpacks to `{found}` instead of `{expected}`")),
            Err(error) if error.mismatch().is_some() => Err("does not have this digest".to_owned()),
            Err(error) => Err(format!("cannot be read: {error}")),
        }
    }

    /// Mends a damage, if that can be done here; `unpack` unpacks the layers of an image that are not unpacked, and says whether it could.
    pub fn mend(
        &self,
        damage: &Damage,
        unpack: impl FnOnce(&Image) -> bool,
    ) -> Result<bool, Error> {
        match &damage.remedy {
            Remedy::Collect => {
                let _session = self.stage()?;
                let _lock = self.lock()?;
                self.collect(&self.index()?)?;
                Ok(true)
            }
            Remedy::Rebuild => self.rebuild_index().map(|()| true),
            Remedy::Unpack(image, chain) => {
                let directory = self.snapshots.files(chain);
                if let Some(directory) = directory.parent() {
                    // Out of the way at once; a container that has it mounted keeps what it has.
                    let session = self.stage()?;
                    let old = session.path("old");
                    match fs::rename(directory, &old) {
                        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                        moved => moved.map_err(Error::file("move", directory))?,
                    }
                    remove_tree(&old)?;
                }
                Ok(unpack(image))
            }
            Remedy::Fetch(Some(blob), _) | Remedy::Member(Some(blob), ..) => {
                match fs::remove_file(blob) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        Err(Error::file("remove", blob)(error))
                    }
                    _ => Ok(false),
                }
            }
            Remedy::Fetch(None, _) | Remedy::Member(None, ..) => Ok(false),
            Remedy::Forget(manifest, _) | Remedy::ForgetList(manifest, _) => {
                self.forget_damaged(manifest)
            }
        }
    }
}

/// What there is in a directory that nothing leads to.
fn leftover(kind: &str, paths: &[PathBuf], needed: &Needed) -> Vec<Damage> {
    paths
        .iter()
        .filter(|path| !needed.has(&name_of(path)))
        .map(|path| Damage {
            what: format!("{kind} `{}` belongs to no image and no container", path.display()),
            remedy: Remedy::Collect,
        })
        .collect()
}

/// What an entry of a layer must have become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    File(u64),
    Directory,
    Symlink,
    /// A further name, a device, a pipe: it only has to be there.
    Other,
}

impl Shape {
    fn of(kind: &Kind, size: u64) -> Self {
        match kind {
            Kind::File => Self::File(size),
            Kind::Directory => Self::Directory,
            Kind::Symlink(_) => Self::Symlink,
            _ => Self::Other,
        }
    }
}

/// Compares a layer's archive with what was unpacked of it; the error is a clause.
fn compare(root: &Path, contents: &BTreeMap<Vec<u8>, Shape>) -> Result<(), String> {
    let root = File::open(root).map_err(|_| "is missing".to_owned())?;
    for (path, kind) in contents {
        let (directory, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&b"."[..], &path[..]),
        };
        let shown = String::from_utf8_lossy(path).into_owned();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let parent = rustix::fs::openat2(root.as_fd(), directory, flags, Mode::empty(), resolve);
        let stat = parent
            .and_then(|parent| rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW))
            .map_err(|_| format!("lacks `{shown}`"))?;
        let found = FileType::from_raw_mode(stat.st_mode);
        let fits = match kind {
            Shape::File(size) => {
                found == FileType::RegularFile && u64::try_from(stat.st_size) == Ok(*size)
            }
            Shape::Directory => found == FileType::Directory,
            Shape::Symlink => found == FileType::Symlink,
            Shape::Other => true,
        };
        if !fits {
            return Err(format!("has another `{shown}`"));
        }
    }
    Ok(())
}

/// A name relative to the root, without dots.
fn clean(name: &[u8]) -> Vec<u8> {
    let parts = name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    parts.collect::<Vec<_>>().join(&b'/')
}

fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}
