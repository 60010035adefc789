//! Layers for a container whose ids are others than those of the layers, where nobody may mount them with mapped ids: that takes
//! root of the host, to whom the file system belongs (mount_setattr(2)).
//!
//! What a stack of layers shows is copied, once for a mapping, with other owners. The copy lies in the directory of the uppermost
//! layer and goes with that; one that no active snapshot stands on goes when images are pruned. It appears by rename, complete, or
//! not at all. Where the kernel can (Linux 6.16), files of a copy have no content, but point to where that is in the layers, which
//! are mounted below as data alone.
//!
//! It is one copy of the stack and not one of each layer: overlayfs looks for what a file points to in the layers that are seen
//! before it does in data, and would find what another layer has under that name.

use super::{
    Error, Prepared, Snapshots, create_directory, entries, private_directory, read_chain,
    remove_tree,
};
use crate::copy::{self, Manner};
use crate::disk::usage;
use crate::selinux;
use bundle::digest::{ChainId, Digest};
use bundle::layer::{IdRange, OwnerMap};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

/// The copies of a stack, within the committed snapshot of its uppermost layer.
const COPIES: &str = "mapped";
/// The owners that an active snapshot's layers have, within it.
const OWNERS: &str = "owners.json";
/// What the name of a copy begins with that is not complete.
const UNFINISHED: &str = "new-";

/// Whose files are that belong to an id of an image: ids there, here, and how many. Without any, ids are the image's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owners {
    /// Of users.
    pub uids: Vec<(u32, u32, u32)>,
    /// Of groups.
    pub gids: Vec<(u32, u32, u32)>,
}

impl Owners {
    /// Whether ids stay as they are.
    #[must_use]
    pub fn are_same(&self) -> bool {
        self.uids.is_empty() && self.gids.is_empty()
    }

    /// Whose files of this user and group are, if there is somebody.
    #[must_use]
    pub fn map(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        let find = |ranges: &[(u32, u32, u32)], id: u32| {
            ranges.iter().find_map(|&(from, to, size)| {
                let offset = id.checked_sub(from).filter(|offset| *offset < size)?;
                to.checked_add(offset)
            })
        };
        if self.are_same() {
            return Some((uid, gid));
        }
        Some((find(&self.uids, uid)?, find(&self.gids, gid)?))
    }

    /// The same in the words of the crate `bundle`.
    #[must_use]
    pub fn on_disk(&self) -> OwnerMap {
        let ranges = |list: &[(u32, u32, u32)]| {
            list.iter().map(|&(from, to, size)| IdRange { from, to, size }).collect()
        };
        OwnerMap { uids: ranges(&self.uids), gids: ranges(&self.gids) }
    }

    /// What copies with these owners are called. A kernel that cannot do with pointers must not find those that have some.
    fn name(&self) -> String {
        let text = serde_json::to_string(&(self, has_pointers())).unwrap_or_default();
        Digest::of(text.as_bytes()).hex().to_owned()
    }

    pub(super) fn read(active: &Path) -> Result<Self, Error> {
        let path = active.join(OWNERS);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            json => json
                .and_then(|json| Ok(serde_json::from_slice(&json)?))
                .map_err(Error::file("read", &path)),
        }
    }

    pub(super) fn write(&self, active: &Path) -> Result<(), Error> {
        if self.are_same() {
            return Ok(());
        }
        let path = active.join(OWNERS);
        let json = serde_json::to_vec(self).map_err(io::Error::from);
        json.and_then(|json| fs::write(&path, json)).map_err(Error::file("write", &path))
    }
}

/// Whether files may point into layers of data without privileges: "relax redirect/metacopy requirements for lower -> data
/// redirect" in Linux 6.16.
pub(super) fn has_pointers() -> bool {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().ok());
    let version = (numbers.next().flatten(), numbers.next().flatten());
    version >= (Some(6_u32), Some(16_u32))
}

impl Snapshots {
    /// Where what the stack shows that `chain` is on top of is with these owners.
    pub(super) fn mapped(&self, chain: &ChainId, owners: &Owners) -> PathBuf {
        self.committed(chain).join(COPIES).join(owners.name())
    }

    /// The directories of an active snapshot, to be mounted: as [`Snapshots::resume`], and makes the copy that it stands on if that is not
    /// there. Another kernel may want another one than that which it was prepared with. As [`Snapshots::prepare`], in a mount namespace
    /// of our own.
    pub fn provide(&self, key: &str) -> Result<Prepared, Error> {
        let directory = self.active(key)?;
        let (chain, owners) = (read_chain(&directory)?, Owners::read(&directory)?);
        if !owners.are_same() {
            let _lock = self.lock(File::lock_shared)?;
            self.copy_stack(&chain, &owners)?;
        }
        self.prepared_in(&directory, &chain, &owners)
    }

    /// Copies what a stack shows, unless that is there with these owners. The lock is held: nobody collects it meanwhile.
    pub(super) fn copy_stack(&self, chain: &[ChainId], owners: &Owners) -> Result<(), Error> {
        let Some(top) = chain.last().filter(|_| !owners.are_same()) else { return Ok(()) };
        let target = self.mapped(top, owners);
        if target.is_dir() {
            return Ok(());
        }
        let place = self.committed(top).join(COPIES);
        private_directory(&place)?;
        let new = place.join(format!("{UNFINISHED}{}", std::process::id()));
        // What a process of this number has left that was killed.
        remove_tree(&new)?;
        create_directory(&new, 0o700)?;
        selinux::label_layer(&new).map_err(Error::file("label", &new))?;
        let lower = self.stack(chain, &Owners::default())?.lower;
        let copied = copy_seen(lower, &new, owners).and_then(|copy| {
            match fs::rename(&copy, &target) {
                // Somebody else was faster.
                Err(_) if target.is_dir() => Ok(()),
                renamed => renamed.map_err(Error::file("make the snapshot", &target)),
            }
        });
        let removed = remove_tree(&new);
        // The first error is the one to report.
        copied.and(removed)
    }

    /// Removes the copies that no active snapshot stands on, and says how many bytes of disk that freed.
    pub(crate) fn collect_copies(&self) -> Result<u64, Error> {
        // Whoever makes one has the lock: what is not complete was given up.
        let _lock = self.lock(File::lock)?;
        let mut freed = 0;
        for path in self.unused_copies()? {
            freed += usage(&path);
            remove_tree(&path)?;
        }
        Ok(freed)
    }

    /// The copies that no active snapshot stands on; none while one does not tell.
    pub(crate) fn unused_copies(&self) -> Result<Vec<PathBuf>, Error> {
        let mut used = HashSet::new();
        for active in entries(&self.directory.join(super::ACTIVE))? {
            match (Owners::read(&active), read_chain(&active)) {
                (Ok(owners), _) if owners.are_same() => {}
                (Ok(owners), Ok(chain)) => {
                    used.extend(chain.last().map(|top| self.mapped(top, &owners)));
                }
                _ => return Ok(Vec::new()),
            }
        }
        let mut unused = Vec::new();
        for layer in self.committed_directories()? {
            unused.extend(entries(&layer.join(COPIES))?);
        }
        unused.retain(|copy| !used.contains(copy));
        Ok(unused)
    }
}

/// Copies what is seen of layers to a directory in `new`, in which they are mounted meanwhile.
fn copy_seen(lower: Vec<PathBuf>, new: &Path, owners: &Owners) -> Result<PathBuf, Error> {
    let names = ["seen", "upper", "work", "copy"].map(|name| new.join(name));
    names.iter().try_for_each(|path| create_directory(path, 0o700))?;
    let [seen, upper, work, copy] = names;
    super::look_like(&upper, &lower[0])?;
    super::mount(&Prepared { lower, data: Vec::new(), upper, work }, &seen, None)?;
    let copied = copy_tree(&seen, &copy, owners);
    let unmounted = super::unmount(&seen);
    copied.and(unmounted)?;
    // A name on the disk has to mean that the content is there, too.
    let synced = File::open(&copy).and_then(|file| Ok(rustix::fs::syncfs(&file)?));
    synced.map_err(Error::file("write to disk", &copy))?;
    Ok(copy)
}

fn copy_tree(from: &Path, to: &Path, owners: &Owners) -> Result<(), Error> {
    let open = |path: &Path| File::open(path).map_err(Error::file("open", path));
    let (source, target) = (open(from)?, open(to)?);
    let owner = |uid, gid| owners.map(uid, gid);
    let manner = Manner { owner: &owner, points: has_pointers() };
    copy::tree_in(source.as_fd(), target.as_fd(), manner).map_err(|failure| {
        let path = Path::new("/").join(&failure.path);
        match failure.errno {
            rustix::io::Errno::OVERFLOW => Error::Unowned(path),
            errno => Error::file("copy", &path)(errno),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{FILES, LayerRecord};
    use rustix::mount::MountPropagationFlags;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

    fn owners() -> Owners {
        Owners { uids: vec![(0, 1, 7), (7, 0, 1)], gids: vec![(0, 1, 8)] }
    }

    /// A store with one layer, in which `tool` belongs to `owner`. What is mounted for a copy is this thread's own affair.
    fn layer(directory: &Path, owner: u32) -> (Snapshots, ChainId) {
        sys::namespace::unshare(sys::namespace::Kinds::MOUNT).unwrap();
        let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", slave).unwrap();
        let snapshots = Snapshots::open(directory).unwrap();
        let chain: ChainId = Digest::of(b"layer").into();
        let staged = directory.join("active/staged");
        let files = staged.join(FILES);
        fs::create_dir_all(&files).unwrap();
        fs::set_permissions(&files, fs::Permissions::from_mode(0o751)).unwrap();
        fs::create_dir_all(files.join("bin")).unwrap();
        let tool = files.join("bin/tool");
        fs::write(&tool, vec![1; 1 << 20]).unwrap();
        chown(&tool, Some(owner), Some(owner)).unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o4755)).unwrap();
        for name in ["one", "two"] {
            fs::write(files.join(name), "content").unwrap();
        }
        fs::hard_link(files.join("one"), files.join("again")).unwrap();
        Snapshots::describe(&staged, &LayerRecord::default()).unwrap();
        snapshots.commit(&staged, &chain).unwrap();
        (snapshots, chain)
    }

    #[test]
    fn an_id_is_in_one_range_or_nobodys() {
        let owners = owners();
        assert_eq!(owners.map(0, 0), Some((1, 1)));
        assert_eq!(owners.map(7, 7), Some((0, 8)));
        assert_eq!(owners.map(8, 0), None);
        assert_eq!(owners.map(0, 8), None);
        assert_eq!(Owners::default().map(8, 9), Some((8, 9)));
    }

    #[test]
    fn a_layer_is_copied_once_for_a_mapping_with_other_owners() {
        let directory = tempfile::tempdir().unwrap();
        let (snapshots, chain) = layer(directory.path(), 7);
        let chain = [chain];
        let prepared = snapshots.prepare(&chain, "c1", &owners()).unwrap();
        assert_eq!(prepared.lower, [snapshots.mapped(&chain[0], &owners())]);
        let copied = prepared.lower[0].join("bin/tool");
        let look = fs::metadata(&copied).unwrap();
        assert_eq!((look.uid(), look.gid(), look.mode() & 0o7777), (0, 8, 0o4755));
        assert_eq!(look.len(), 1 << 20);
        assert_eq!(fs::metadata(prepared.lower[0].join("one")).unwrap().uid(), 1);
        // The root of what the container sees is as the layer's, under its new owner.
        let root = fs::metadata(&prepared.upper).unwrap();
        assert_eq!((root.uid(), root.mode() & 0o7777), (1, 0o751));
        assert_eq!(snapshots.resume("c1").unwrap(), prepared);
        let again = snapshots.prepare(&chain, "c2", &owners()).unwrap();
        assert_eq!(fs::metadata(again.lower[0].join("bin/tool")).unwrap().ino(), look.ino());
        let plain = snapshots.prepare(&chain, "c3", &Owners::default()).unwrap();
        assert_eq!((plain.lower, plain.data), (vec![snapshots.files(&chain[0])], Vec::new()));
    }

    /// Content is there twice only where the kernel leaves no choice, and of files with several names.
    #[test]
    fn a_copy_takes_no_more_of_the_disk_than_it_must() {
        let directory = tempfile::tempdir().unwrap();
        let (snapshots, chain) = layer(directory.path(), 7);
        let prepared = snapshots.prepare(std::slice::from_ref(&chain), "c1", &owners()).unwrap();
        let copied = prepared.lower[0].join("bin/tool");
        match has_pointers() {
            true => {
                assert_eq!(prepared.data, [snapshots.files(&chain)]);
                assert!(usage(&copied) < 1 << 16, "{}", usage(&copied));
                assert_eq!(fs::read_to_string(prepared.lower[0].join("again")).unwrap(), "content");
            }
            false => assert!(prepared.data.is_empty() && usage(&copied) >= 1 << 20),
        }
    }

    #[test]
    fn a_file_of_nobody_is_named_and_leaves_no_copy() {
        let directory = tempfile::tempdir().unwrap();
        let (snapshots, chain) = layer(directory.path(), 8);
        let error = snapshots.prepare(std::slice::from_ref(&chain), "c1", &owners()).unwrap_err();
        assert!(matches!(&error, Error::Unowned(path) if path.ends_with("bin/tool")), "{error}");
        let copies = snapshots.committed(&chain).join(COPIES);
        assert_eq!(entries(&copies).unwrap(), Vec::<PathBuf>::new());
        assert_eq!(entries(&directory.path().join("active")).unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_copy_goes_when_nothing_stands_on_it() {
        let directory = tempfile::tempdir().unwrap();
        let (snapshots, chain) = layer(directory.path(), 7);
        let prepared = snapshots.prepare(std::slice::from_ref(&chain), "c1", &owners()).unwrap();
        // What somebody who was killed has left.
        let half = snapshots.committed(&chain).join(COPIES).join("new-1");
        fs::create_dir(&half).unwrap();
        snapshots.collect_copies().unwrap();
        assert!(prepared.lower[0].is_dir() && !half.exists());
        let record = directory.path().join("active/c1").join(OWNERS);
        let whole = fs::read(&record).unwrap();
        fs::write(&record, "").unwrap();
        snapshots.collect_copies().unwrap();
        assert!(prepared.lower[0].is_dir(), "it may be another one's");
        fs::write(&record, whole).unwrap();
        snapshots.remove("c1").unwrap();
        assert!(snapshots.collect_copies().unwrap() > 0);
        assert!(!prepared.lower[0].exists() && snapshots.contains(&chain));
    }

    #[test]
    fn a_copy_that_is_missing_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let (snapshots, chain) = layer(directory.path(), 7);
        let prepared = snapshots.prepare(&[chain], "c1", &owners()).unwrap();
        fs::remove_dir_all(&prepared.lower[0]).unwrap();
        snapshots.provide("c1").unwrap();
        assert!(prepared.lower[0].join("bin/tool").exists());
    }
}
