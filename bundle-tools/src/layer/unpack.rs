//! Carries out the entries of a layer, one by one.
//!
//! The usual file costs openat, write, futimens and close: its directory stays open from one entry to the next, and what would
//! change nothing is not called. Times of directories come last, since filling a directory changes them.

mod content;
mod directory;
mod metadata;
mod whiteout;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::BufRead,
    ops::Bound,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Timespec},
    io::Errno,
};

use super::{
    Clash, Error, Ignored, Options, Whiteouts,
    name::{self, Marker},
    tree,
};
use crate::tarball::{Entry, Kind, TarReader, printable};

/// A layer that is being unpacked.
pub(super) struct Unpacker<'o> {
    root: OwnedFd,
    options: &'o Options,
    /// The directory of the last entry.
    parent: Option<Rc<Parent>>,
    /// Directories of this layer, to get their times at the end.
    directories: BTreeMap<Vec<u8>, Finish>,
    /// Directories made without an entry of their own.
    implied: BTreeSet<Vec<u8>>,
    /// The marks of lower layers' names that are gone.
    whiteouts: BTreeSet<Vec<u8>>,
    /// What this layer wrote, where a later whiteout must spare it.
    written: BTreeSet<Vec<u8>>,
    /// Bytes of memory that all these paths take, about.
    remembered: usize,
    /// Bytes that what was left out takes.
    told: usize,
    /// Bytes that files were said to have, holes included.
    content: u64,
    caller: (u32, u32),
    /// The bits that a new file does not get, if nothing else decides about its mode.
    umask: Option<u32>,
    tally: Tally,
}

/// The part of [`Stats`](super::Stats) that is counted here.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) entries: u64,
    pub(super) implied: Vec<Vec<u8>>,
    pub(super) whiteouts: Vec<Vec<u8>>,
    pub(super) opaque_root: bool,
    pub(super) ignored: Vec<Ignored>,
    pub(super) ignored_more: u64,
}

/// A directory that entries go into.
struct Parent {
    path: Vec<u8>,
    fd: OwnedFd,
    /// New files get its group, not the caller's.
    setgid: bool,
}

/// What is done to a directory at the end.
#[derive(Clone, Copy)]
struct Finish {
    mtime: Timespec,
    /// The mode, if the directory was made writable until then.
    mode: Option<Mode>,
}

impl<'o> Unpacker<'o> {
    pub(super) fn new(root: BorrowedFd<'_>, options: &'o Options) -> Result<Self, Error> {
        // Ours may be an O_PATH fd, which cannot be read or changed.
        let root = tree::open_child(root, b".").map_err(|e| Error::file("open", b"", e))?;
        Ok(Self {
            options,
            parent: None,
            directories: BTreeMap::new(),
            implied: BTreeSet::new(),
            whiteouts: BTreeSet::new(),
            written: BTreeSet::new(),
            remembered: 0,
            told: 0,
            content: 0,
            caller: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
            umask: metadata::umask(&root, options),
            root,
            tally: Tally::default(),
        })
    }

    /// Carries out one entry; `tar` has its data.
    pub(super) fn apply<R: BufRead>(
        &mut self,
        entry: &Entry,
        tar: &mut TarReader<R>,
    ) -> Result<(), Error> {
        let limits = &self.options.limits;
        self.tally.entries += 1;
        if self.tally.entries > limits.entries {
            let limit = format!("it has more than {} entries", limits.entries);
            return Err(Error::limit(&entry.name, limit));
        }
        self.content = self.content.saturating_add(entry.size);
        if self.content > limits.bytes {
            let limit = format!("its files exceed {} bytes", limits.bytes);
            return Err(Error::limit(&entry.name, limit));
        }
        let path = name::clean(&entry.name, limits.depth)?;
        let marker = match self.options.whiteouts {
            Whiteouts::None => None,
            _ => name::marker(&path)?,
        };
        match marker {
            Some(Marker::Aufs) => Ok(()),
            Some(Marker::Opaque) => self.opaque(name::split(&path).0),
            Some(Marker::Whiteout(hidden)) => self.whiteout(name::split(&path).0, hidden),
            None if path.is_empty() => self.root_entry(entry),
            None => self.place(entry, &path, tar),
        }
    }

    /// Sets the times of directories and gives the account.
    pub(super) fn finish(mut self) -> Result<Tally, Error> {
        let mut parent: Option<(Vec<u8>, OwnedFd)> = None;
        for (path, finish) in std::mem::take(&mut self.directories) {
            let (dir, name) = name::split(&path);
            let known = parent.take().filter(|(known, _)| known == dir);
            let fd = match known {
                Some((_, fd)) => Ok(fd),
                None => tree::open_dir(&self.root, dir),
            };
            match fd {
                Ok(fd) => {
                    let (_, fd) = parent.insert((dir.to_vec(), fd));
                    finish_directory(fd, name, finish, &path)?;
                }
                // It had been made through a symlink, and a later entry took that or its target away.
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(error) => return Err(Error::file("open directory", dir, error)),
            }
        }
        self.tally.implied = self.implied.into_iter().collect();
        self.tally.whiteouts = self.whiteouts.into_iter().collect();
        Ok(self.tally)
    }

    /// The entry of the root directory itself (`./`).
    fn root_entry(&mut self, entry: &Entry) -> Result<(), Error> {
        if entry.kind != Kind::Directory {
            return Err(Error::refused(&entry.name, "it would replace the root directory"));
        }
        let root = self.root.try_clone().map_err(|e| Error::file("open", b"", e))?;
        self.describe_directory(&root, entry, b"")
    }

    fn place<R: BufRead>(
        &mut self,
        entry: &Entry,
        path: &[u8],
        tar: &mut TarReader<R>,
    ) -> Result<(), Error> {
        let (dir, name) = name::split(path);
        let parent = self.enter(dir)?;
        let made = match &entry.kind {
            Kind::File => self.file(entry, &parent, name, path, tar).map(|()| true),
            Kind::Directory => self.directory(entry, &parent, name, path).map(|()| true),
            Kind::Symlink(target) => {
                self.symlink(entry, target, &parent, name, path).map(|()| true)
            }
            Kind::HardLink(target) => self.hard_link(entry, target, &parent, name, path),
            Kind::CharDevice(..) | Kind::BlockDevice(..) | Kind::Fifo => {
                self.special(entry, &parent, name, path)
            }
        }?;
        if made && self.options.whiteouts == Whiteouts::Apply {
            let is_new = self.written.insert(path.to_vec());
            self.account(path, is_new)?;
        }
        Ok(())
    }

    /// Takes account of a path that is remembered from now on, if it was not before.
    fn account(&mut self, path: &[u8], is_new: bool) -> Result<(), Error> {
        if is_new {
            self.remembered += weight(path);
        }
        match self.remembered > self.options.limits.paths {
            true => Err(Error::limit(path, "it has too many paths that have to be remembered")),
            false => Ok(()),
        }
    }

    /// Takes account of a path that is not remembered any more, if it was.
    fn forget(&mut self, path: &[u8], was_there: bool) {
        if was_there {
            self.remembered -= weight(path);
        }
    }

    fn symlink(
        &mut self,
        entry: &Entry,
        target: &[u8],
        parent: &Parent,
        name: &[u8],
        path: &[u8],
    ) -> Result<(), Error> {
        self.create("make the symlink", parent, name, path, || {
            rustix::fs::symlinkat(target, &parent.fd, name)
        })?;
        self.describe_by_name(entry, parent, name, path)
    }

    /// A further name of a file of this layer. Whether anything was made.
    fn hard_link(
        &mut self,
        entry: &Entry,
        target: &[u8],
        parent: &Parent,
        name: &[u8],
        path: &[u8],
    ) -> Result<bool, Error> {
        let missing = || {
            let why = format!("its target `{}` is not in the layer", printable(target));
            Error::refused(&entry.name, why)
        };
        let target = name::clean(target, self.options.limits.depth)
            .map_err(|_| Error::refused(&entry.name, "its target lies outside of the root"))?;
        if target == path {
            return Ok(false);
        }
        let (source_dir, source_name) = name::split(&target);
        if source_name.is_empty() {
            return Err(Error::refused(&entry.name, "it is a hard link to a directory"));
        }
        let source_dir = match tree::open_dir(&self.root, source_dir) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(missing()),
            Err(error) => return Err(Error::file("open the target of", path, error)),
        };
        let source = tree::stat(&source_dir, source_name)
            .map_err(|e| Error::file("look at the target of", path, e))?
            .ok_or_else(missing)?;
        if tree::file_type(&source) == FileType::Directory {
            return Err(Error::refused(&entry.name, "it is a hard link to a directory"));
        }
        if tree::is_whiteout(&source) && self.overlay() {
            return Err(missing());
        }
        let there = tree::stat(&parent.fd, name).map_err(|e| Error::file("look at", path, e))?;
        if there.is_some_and(|there| (there.st_dev, there.st_ino) == (source.st_dev, source.st_ino))
        {
            return Ok(true);
        }
        // Without AT_SYMLINK_FOLLOW: a target that is a symlink gets a second name itself.
        self.create("make the hard link", parent, name, path, || {
            let flags = AtFlags::empty();
            rustix::fs::linkat(&source_dir, source_name, &parent.fd, name, flags)
        })?;
        Ok(true)
    }

    /// A device or a pipe. Whether it was made.
    fn special(
        &mut self,
        entry: &Entry,
        parent: &Parent,
        name: &[u8],
        path: &[u8],
    ) -> Result<bool, Error> {
        let (kind, major, minor) = match entry.kind {
            Kind::CharDevice(major, minor) => (FileType::CharacterDevice, major, minor),
            Kind::BlockDevice(major, minor) => (FileType::BlockDevice, major, minor),
            _ => (FileType::Fifo, 0, 0),
        };
        if kind != FileType::Fifo && !self.options.devices {
            self.ignore(entry, "a device node: none are made here");
            return Ok(false);
        }
        if kind == FileType::CharacterDevice && (major, minor) == (0, 0) && self.overlay() {
            self.ignore(entry, "the character device 0:0: overlayfs takes it for a whiteout");
            return Ok(false);
        }
        let mode = Mode::from_raw_mode(entry.mode);
        let device = rustix::fs::makedev(major, minor);
        let action = if kind == FileType::Fifo { "make the fifo" } else { "make the device" };
        self.create(action, parent, name, path, || {
            rustix::fs::mknodat(&parent.fd, name, kind, Mode::RUSR | Mode::WUSR, device)
        })?;
        self.describe_by_name(entry, parent, name, path)?;
        // After the owner: chown takes setuid away.
        sys::beneath::chmod_special(&parent.fd, name, kind, mode)
            .map_err(|e| Error::file("set the mode of", path, e))?;
        Ok(true)
    }

    /// Makes something that must not exist yet, after removing what does.
    fn create<T>(
        &mut self,
        action: &'static str,
        parent: &Parent,
        name: &[u8],
        path: &[u8],
        mut make: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, Error> {
        for _ in 0..tree::CREATE_ATTEMPTS {
            match make() {
                Err(Errno::EXIST) => self.clear(&parent.fd, name, path)?,
                other => return other.map_err(|e| Error::file(action, path, e)),
            }
        }
        Err(Error::file(action, path, Errno::EXIST))
    }

    /// Removes what is at `path`, and what we remember of it.
    fn clear(&mut self, parent: impl AsFd, name: &[u8], path: &[u8]) -> Result<(), Error> {
        if self.options.clash == Clash::Refused {
            let there = tree::stat(&parent, name).map_err(|e| Error::file("look at", path, e))?;
            if there.is_some_and(|there| tree::file_type(&there) == FileType::Directory) {
                return Err(Error::refused(path, "cannot overwrite directory with non-directory"));
            }
            // In another mount namespace the kernel would let it be removed, and the mount with it.
            if tree::is_mounted(&parent, name) {
                return Err(Error::refused(path, "something is mounted on it"));
            }
        }
        tree::remove_all(parent.as_fd(), name).map_err(|e| Error::file("remove", path, e))?;
        // The directory of the next entry may have been reached through this name.
        self.parent = None;
        let was_there = self.directories.remove(path).is_some();
        self.forget(path, was_there);
        let mut below = path.to_vec();
        below.push(b'/');
        let mut end = path.to_vec();
        end.push(b'/' + 1);
        let range = (Bound::Included(below), Bound::Excluded(end));
        let mut freed = 0;
        for key in keys(self.directories.range(range.clone()).map(|(key, _)| key)) {
            self.directories.remove(&key);
            freed += weight(&key);
        }
        for names in [&mut self.implied, &mut self.whiteouts, &mut self.written] {
            freed += if names.remove(path) { weight(path) } else { 0 };
            for key in keys(names.range(range.clone())) {
                names.remove(&key);
                freed += weight(&key);
            }
        }
        self.remembered -= freed;
        Ok(())
    }

    fn overlay(&self) -> bool {
        self.options.whiteouts != Whiteouts::Apply
    }

    fn ignore(&mut self, entry: &Entry, what: impl Into<String>) {
        // Nobody reads more, and an archive may have as many as it likes.
        if self.told > MOST_TOLD {
            self.tally.ignored_more += 1;
            return;
        }
        let ignored = Ignored { entry: printable(&entry.name), what: what.into() };
        self.told += ignored.entry.len() + ignored.what.len();
        self.tally.ignored.push(ignored);
    }
}

/// Bytes of what was left out, as it is told.
const MOST_TOLD: usize = 1 << 20;

/// About how many bytes of memory a remembered path takes.
pub(crate) fn weight(path: &[u8]) -> usize {
    path.len() + 64
}

fn finish_directory(
    parent: &OwnedFd,
    name: &[u8],
    finish: Finish,
    path: &[u8],
) -> Result<(), Error> {
    let name = if name.is_empty() { b"." } else { name };
    match metadata::set_time(parent, name, finish.mtime) {
        Err(Errno::NOENT) => return Ok(()),
        other => other.map_err(|e| Error::file("set the time of", path, e))?,
    }
    let Some(mode) = finish.mode else { return Ok(()) };
    tree::open_child(parent, name)
        .and_then(|fd| rustix::fs::fchmod(fd, mode))
        .map_err(|e| Error::file("set the mode of", path, e))
}

fn keys<'a>(range: impl Iterator<Item = &'a Vec<u8>>) -> Vec<Vec<u8>> {
    range.cloned().collect()
}

/// The flags of a file that must be new.
const NEW_FILE: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
