//! Snapshots: the unpacked layers of images, and the root file systems stacked from them.
//!
//! A *committed* snapshot is one layer's own files, in overlayfs' notation, named by the chain id of
//! the stack that it tops; it never changes. An *active* one belongs to a container and is what the
//! container writes. A committed directory appears by rename, complete, or not at all. Everything is
//! below directories that only root may enter, since layers hold set-user-id files.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use bundle::digest::ChainId;
use bundle::reason::reason;
use serde::{Deserialize, Serialize};

use crate::disk::usage;
pub use mapped::Owners;
pub use overlay::{mount, unmount};

mod mapped;
mod overlay;

/// A layer's files, within a committed snapshot.
pub(crate) const FILES: &str = "fs";
/// What is known of a layer, within a committed snapshot.
const RECORD: &str = "layer.json";
/// The directory of the active snapshots.
const ACTIVE: &str = "active";
/// The chain ids that an active snapshot was made from, within it.
const CHAIN: &str = "chain.json";

/// Why a snapshot could not be made, mounted or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or a directory of ours.
    #[error("cannot {action} `{}`: {}", path.display(), reason(source))]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which object.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A layer that the chain names is not unpacked here.
    #[error("layer `{0}` is not unpacked")]
    Missing(ChainId),
    /// A container has a snapshot already.
    #[error("a snapshot named `{0}` exists")]
    Exists(String),
    /// A file of a layer belongs to an id that the container's user namespace does not have.
    #[error("`{}` of the image belongs to an id that the container's user namespace does not have", .0.display())]
    Unowned(PathBuf),
    /// The name cannot be that of a directory entry.
    #[error("`{0}` is not a snapshot's name")]
    Name(String),
    /// overlayfs did not accept the stack.
    #[error("cannot mount the root file system on `{}`: {why}", target.display())]
    Mount {
        /// The mount point.
        target: PathBuf,
        /// The kernel's reason.
        why: String,
    },
}

impl Error {
    pub(crate) fn file<E: Into<io::Error>>(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source: source.into() }
    }

    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(_) => Some("pull or load the image again".to_owned()),
            Self::Unowned(_) => Some(
                "map more ids: with `--userns auto:size=NUMBER`, or in `--uidmap` and `--gidmap`"
                    .to_owned(),
            ),
            // What is there does not count as unpacked: its record does not read back.
            Self::File { source, .. } if source.kind() == io::ErrorKind::DirectoryNotEmpty => {
                Some("`nman system check --repair` unpacks the layer again".to_owned())
            }
            _ => None,
        }
    }
}

/// What is written down about a layer when it is unpacked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerRecord {
    /// The length of the layer's uncompressed archive.
    pub size: u64,
    /// The layer hides all that is below it; overlayfs cannot express that of a layer's root.
    #[serde(default)]
    pub opaque_root: bool,
}

/// The directories of one overlay mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Read-only layers, the uppermost first, as overlayfs wants them.
    pub lower: Vec<PathBuf>,
    /// Layers of which nothing is seen but the content of files that point to it, the uppermost first; see [`mapped`].
    pub data: Vec<PathBuf>,
    /// What the container writes.
    pub upper: PathBuf,
    /// overlayfs' scratch space, on the same file system as `upper`.
    pub work: PathBuf,
}

/// An active snapshot as it lies on disk, for looking at without mounting it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layers {
    /// What the container wrote, in overlayfs' notation.
    pub upper: PathBuf,
    /// The layers below it, the uppermost first; those that another hides are left out.
    pub lower: Vec<PathBuf>,
    /// The chain ids of all layers below, lowest first.
    pub chain: Vec<ChainId>,
}

/// What a stack consists of: [`Prepared::lower`] and [`Prepared::data`].
#[derive(Debug, Default)]
struct Stack {
    lower: Vec<PathBuf>,
    data: Vec<PathBuf>,
}

/// All snapshots below one root.
#[derive(Clone, Debug)]
pub struct Snapshots {
    directory: PathBuf,
}

impl Snapshots {
    /// The snapshots in `directory`, which is made if it does not exist.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        private_directory(&directory.join(ACTIVE))?;
        Ok(Self::at(directory))
    }

    /// The snapshots in `directory`, of which none is made: where it is missing there are none.
    pub(crate) fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Whether the layer on top of `chain` is unpacked.
    pub fn contains(&self, chain: &ChainId) -> bool {
        // A record that a power cut has emptied counts nothing as unpacked.
        self.record(chain).is_ok()
    }

    /// The files of the layer on top of `chain`.
    pub fn files(&self, chain: &ChainId) -> PathBuf {
        self.committed(chain).join(FILES)
    }

    /// What is known of the layer on top of `chain`.
    pub fn record(&self, chain: &ChainId) -> Result<LayerRecord, Error> {
        let path = self.committed(chain).join(RECORD);
        let json = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Missing(chain.clone()));
            }
            other => other.map_err(Error::file("read", &path))?,
        };
        let record = serde_json::from_slice(&json);
        record.map_err(|error| Error::file("read", &path)(io::Error::from(error)))
    }

    /// Writes down what is known of a layer whose files are in the directory `staged`.
    pub(crate) fn describe(staged: &Path, record: &LayerRecord) -> Result<(), Error> {
        let path = staged.join(RECORD);
        let json = serde_json::to_vec(record).map_err(|error| error.into());
        json.and_then(|json| fs::write(&path, json)).map_err(Error::file("write", &path))
    }

    /// Makes a finished directory, which holds a layer's files and its record, the committed snapshot of `chain`. All of
    /// it is on the disk already: from here on it counts. Where there is one, the directory stays what it was; what is left of
    /// one whose record is gone is put beside it, to be removed with it.
    pub(crate) fn commit(&self, staged: &Path, chain: &ChainId) -> Result<(), Error> {
        let target = self.committed(chain);
        let moved = match fs::rename(staged, &target) {
            Err(error) if is_occupied(&error) && self.contains(chain) => Ok(()),
            Err(error) if is_occupied(&error) => {
                fs::rename(&target, staged.with_extension("former"))
                    .and_then(|()| fs::rename(staged, &target))
            }
            moved => moved,
        };
        moved.map_err(Error::file("make the snapshot", &target))
    }

    /// Makes the writable directories of a container whose image has the layers of `chain`, lowest
    /// first, and in which their files have these owners. With others than the layers', this is done in a mount namespace of our own.
    pub fn prepare(
        &self,
        chain: &[ChainId],
        key: &str,
        owners: &Owners,
    ) -> Result<Prepared, Error> {
        // Nobody may collect the layers between the look at them and the record of their use.
        let _lock = self.lock(File::lock_shared)?;
        let stack = self.stack(chain, owners)?;
        self.copy_stack(chain, owners)?;
        let directory = self.active(key)?;
        match fs::DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::Exists(key.to_owned()));
            }
            result => result.map_err(Error::file("create", &directory))?,
        }
        let prepared = Self::fill(&directory, chain, owners, stack);
        if prepared.is_err() {
            // The first error is the one to report.
            let _ = fs::remove_dir_all(&directory);
        }
        prepared
    }

    /// Makes the writable directories for a change of the stack `chain` in `directory`, which must not exist and is the caller's to
    /// remove. It keeps no layer here.
    pub(crate) fn prepare_in(
        &self,
        chain: &[ChainId],
        directory: &Path,
    ) -> Result<(Prepared, Layers), Error> {
        let owners = Owners::default();
        let stack = self.stack(chain, &owners)?;
        let lower = stack.lower.clone();
        create_directory(directory, 0o700)?;
        let prepared = Self::fill(directory, chain, &owners, stack)?;
        let layers = Layers { upper: prepared.upper.clone(), lower, chain: chain.to_vec() };
        Ok((prepared, layers))
    }

    /// Brings the chain of an active snapshot to the disk, so that it survives a power cut.
    pub fn make_last(&self, key: &str) -> Result<(), Error> {
        let path = self.active(key)?.join(CHAIN);
        File::open(&path).and_then(|file| file.sync_data()).map_err(Error::file("sync", &path))
    }

    /// The directories of an active snapshot that was prepared earlier.
    pub fn resume(&self, key: &str) -> Result<Prepared, Error> {
        let directory = self.active(key)?;
        self.prepared_in(&directory, &read_chain(&directory)?, &Owners::read(&directory)?)
    }

    fn prepared_in(
        &self,
        directory: &Path,
        chain: &[ChainId],
        owners: &Owners,
    ) -> Result<Prepared, Error> {
        let stack = self.stack(chain, owners)?;
        Ok(Prepared {
            lower: Self::or_empty(directory, stack.lower),
            data: stack.data,
            upper: directory.join("upper"),
            work: directory.join("work"),
        })
    }

    fn fill(
        directory: &Path,
        chain: &[ChainId],
        owners: &Owners,
        stack: Stack,
    ) -> Result<Prepared, Error> {
        // First the record of what is in use, then what uses it (invariant I8).
        let record = directory.join(CHAIN);
        let json = serde_json::to_vec(chain).map_err(|error| error.into());
        json.and_then(|json| fs::write(&record, json)).map_err(Error::file("write", &record))?;
        owners.write(directory)?;
        let empty = stack.lower.is_empty();
        let lower = Self::or_empty(directory, stack.lower);
        if empty {
            create_directory(&lower[0], 0o755)?;
            if let Some((uid, gid)) = owners.map(0, 0).filter(|_| !owners.are_same()) {
                chown(&lower[0], Some(uid), Some(gid))
                    .map_err(Error::file("set the attributes of", &lower[0]))?;
            }
        }
        let (upper, work) = (directory.join("upper"), directory.join("work"));
        let prepared = Prepared { lower, data: stack.data, upper, work };
        create_directory(&prepared.work, 0o700)?;
        create_directory(&prepared.upper, 0o755)?;
        look_like(&prepared.upper, &prepared.lower[0])?;
        Ok(prepared)
    }

    /// overlayfs needs a lower directory even for an image without layers.
    fn or_empty(directory: &Path, lower: Vec<PathBuf>) -> Vec<PathBuf> {
        if lower.is_empty() { vec![directory.join("empty")] } else { lower }
    }

    /// The directories of a stack, the uppermost first, without those that another hides.
    fn stack(&self, chain: &[ChainId], owners: &Owners) -> Result<Stack, Error> {
        let mut stack = Stack::default();
        for id in chain.iter().rev() {
            let record = self.record(id)?;
            stack.lower.push(self.files(id));
            if record.opaque_root {
                break;
            }
        }
        if let Some(top) = chain.last().filter(|_| !owners.are_same()) {
            let layers = std::mem::replace(&mut stack.lower, vec![self.mapped(top, owners)]);
            stack.data = if mapped::has_pointers() { layers } else { Vec::new() };
        }
        Ok(stack)
    }

    /// Removes a container's snapshot, which must not be mounted. One that does not exist is no
    /// error.
    pub fn remove(&self, key: &str) -> Result<(), Error> {
        remove_tree(&self.active(key)?)
    }

    /// Removes the committed snapshots that are neither in `keep` nor below an active one, and says
    /// how many bytes of disk that freed. The caller keeps others from committing meanwhile.
    pub(crate) fn collect(&self, keep: &dyn Fn(&str) -> bool) -> Result<u64, Error> {
        let _lock = self.lock(File::lock)?;
        let Some(used) = self.used()? else { return Ok(0) };
        let mut freed = 0;
        for path in entries(&self.directory)? {
            let name = name_of(&path);
            if name != ACTIVE && !keep(&name) && !used.contains(&name) {
                freed += usage(&path);
                // First: what is left of a layer when this is interrupted must not count as unpacked.
                remove_file(&path.join(RECORD))?;
                remove_tree(&path)?;
            }
        }
        Ok(freed)
    }

    /// The directories of all unpacked layers.
    pub(crate) fn committed_directories(&self) -> Result<Vec<PathBuf>, Error> {
        let mut all = entries(&self.directory)?;
        all.retain(|path| path.file_name().is_some_and(|name| name != ACTIVE));
        Ok(all)
    }

    /// The chains below active snapshots, by their hexadecimal names; `None` while one does not tell, so that any may be.
    pub(crate) fn used(&self) -> Result<Option<HashSet<String>>, Error> {
        let mut used = HashSet::new();
        for active in entries(&self.directory.join(ACTIVE))? {
            match read_chain(&active) {
                Ok(chains) => {
                    used.extend(chains.iter().map(|chain| chain.digest().hex().to_owned()));
                }
                // It is written before anything stands on it, and removed with the rest.
                Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(_) => return Ok(None),
            }
        }
        Ok(Some(used))
    }

    /// What there is of an active snapshot on disk, and of the layers below it; the layers uppermost first.
    pub fn layers(&self, key: &str) -> Result<Layers, Error> {
        let directory = self.active(key)?;
        let chain = read_chain(&directory)?;
        let lower = self.stack(&chain, &Owners::read(&directory)?)?.lower;
        Ok(Layers { upper: directory.join("upper"), lower, chain })
    }

    fn lock(&self, how: fn(&File) -> io::Result<()>) -> Result<File, Error> {
        let path = self.directory.join(ACTIVE);
        let file = File::open(&path).map_err(Error::file("open", &path))?;
        how(&file).map_err(Error::file("lock", &path))?;
        Ok(file)
    }

    fn committed(&self, chain: &ChainId) -> PathBuf {
        self.directory.join(chain.digest().hex())
    }

    fn active(&self, key: &str) -> Result<PathBuf, Error> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if key.is_empty() || key.starts_with('.') || !key.bytes().all(is_plain) {
            return Err(Error::Name(key.to_owned()));
        }
        Ok(self.directory.join(ACTIVE).join(key))
    }
}

/// Gives an upper directory the owner and the mode of the layer below: the merged root has those of the upper directory, not of the
/// image's root.
fn look_like(upper: &Path, below: &Path) -> Result<(), Error> {
    let root = below.metadata().map_err(Error::file("read", below))?;
    let copied = chown(upper, Some(root.uid()), Some(root.gid()))
        .and_then(|()| fs::set_permissions(upper, root.permissions()));
    copied.map_err(Error::file("set the attributes of", upper))
}

fn is_occupied(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty)
}

fn read_chain(active: &Path) -> Result<Vec<ChainId>, Error> {
    let path = active.join(CHAIN);
    let json = fs::read(&path).map_err(Error::file("read", &path))?;
    serde_json::from_slice(&json)
        .map_err(|error| Error::file("read", &path)(io::Error::from(error)))
}

/// The paths of a directory's entries.
pub(crate) fn entries(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::file("read", directory))?,
    };
    let paths: io::Result<Vec<PathBuf>> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect();
    paths.map_err(Error::file("read", directory))
}

/// What an entry of a directory is called: of a layer and of a blob, the hexadecimal digits of its digest.
pub(crate) fn name_of(entry: &Path) -> String {
    entry.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Makes a directory with exactly this mode, whatever the umask is.
pub(crate) fn create_directory(path: &Path, mode: u32) -> Result<(), Error> {
    let created = fs::DirBuilder::new().mode(0o700).create(path);
    created
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(Error::file("create", path))
}

/// Makes a directory and its parents, for root only, unless they exist.
pub(crate) fn private_directory(path: &Path) -> Result<(), Error> {
    let created = fs::DirBuilder::new().mode(0o700).recursive(true).create(path);
    created.map_err(Error::file("create", path))
}

/// Removes a file; that it is gone already is no error.
fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(Error::file("remove", path)),
    }
}

/// Removes a tree without following symlinks; that it is gone already is no error.
pub(crate) fn remove_tree(path: &Path) -> Result<(), Error> {
    /// Whoever looks for what a killed `nman` has left makes a container's lock anew, in the moment in which that is gone and its
    /// directory is not. Each does so once.
    const TRIES: usize = 100;
    let mut left = TRIES;
    loop {
        left -= 1;
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && left > 0 => {}
            removed => return removed.map_err(Error::file("remove", path)),
        }
    }
}

#[cfg(test)]
mod tests;
