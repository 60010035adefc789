//! Makes a layer from a directory: everything in it ([`pack`]), or what an overlay's upper directory changes ([`diff`]). And
//! archives that are no layers, in which a name means nothing: a whole tree ([`export`]), or one object ([`archive`]).
//!
//! The stream depends on the tree alone: names in byte order, no access times, no owner names; with a fixed time also not on when
//! the files were made. The tree may be hostile or changing, so nothing is followed and what is opened is looked at again.

use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::{Error, Ignored, OwnerMap, tree, xattr};
use crate::tarball::{Entry, HeaderLimits, Kind, TarWriter, Timespec, Xattr, printable};

/// Choices of the caller.
#[derive(Clone, Debug, Default)]
pub struct PackOptions {
    /// A time for all entries instead of their own.
    pub mtime: Option<Timespec>,
    /// The latest time that an entry may have: what was changed after it gets this time, what is older keeps its own.
    pub latest: Option<Timespec>,
    /// An owner for all entries instead of their own, uid and gid.
    pub owner: Option<(u32, u32)>,
    /// What the owners of files are in the archive.
    pub owner_map: OwnerMap,
    /// What is left out, with all that is below it: paths relative to the root.
    pub omit: BTreeSet<Vec<u8>>,
    /// The overlay was mounted with `userxattr` and has its marks in `user.overlay.*`, not in `trusted.overlay.*`. Without, whoever
    /// owns a file may set an attribute of such a name, and it means nothing.
    pub user_marks: bool,
    /// Of a directory in which the kernel shows itself ([`is_of_kernel`]) the directory alone is packed.
    pub without_kernel: bool,
}

/// What was packed.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    /// Entries written.
    pub entries: u64,
    /// What was left out, with the reason: sockets, which have no place in a layer, and what changed while it was read.
    pub ignored: Vec<Ignored>,
}

/// Writes all that is in `root`, and the look of `root` itself, to `output` as a plain tar stream.
pub fn pack(
    root: BorrowedFd<'_>,
    options: &PackOptions,
    output: impl Write,
) -> Result<Packed, Error> {
    Packer::new(options, Notation::Layer, output).run(root)
}

/// Writes what the upper directory of an overlay changes to `output` as a plain tar stream: deletions become `.wh.NAME`, opaque
/// directories get a `.wh..wh..opq`.
///
/// The overlay must not have been mounted with `metacopy` or `redirect_dir`: their marks point into lower layers.
pub fn diff(
    upper: BorrowedFd<'_>,
    options: &PackOptions,
    output: impl Write,
) -> Result<Packed, Error> {
    Packer::new(options, Notation::Overlay, output).run(upper)
}

/// Writes all that is in `root`, without an entry for `root` itself, to `output`: the archive of a file system, not a layer.
pub fn export(
    root: BorrowedFd<'_>,
    options: &PackOptions,
    output: impl Write,
) -> Result<Packed, Error> {
    Packer::new(options, Notation::None, output).run(root)
}

/// Writes `name` in the directory `parent`, and all that is below it, to `output` under the name `rename`. A symlink is written as
/// one.
pub fn archive(
    parent: BorrowedFd<'_>,
    name: &[u8],
    rename: &[u8],
    options: &PackOptions,
    output: impl Write,
) -> Result<Packed, Error> {
    let mut packer = Packer::new(options, Notation::None, output);
    let found = tree::stat(parent, name).and_then(|stat| stat.ok_or(Errno::NOENT));
    let stat = found.map_err(|e| Error::file("look at", rename, e))?;
    if let Some(level) = packer.object(parent, name, rename, &stat)? {
        packer.walk(level)?;
    }
    packer.finish()
}

/// How names and marks in the tree are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Notation {
    /// As a layer's: a name that would be read as a whiteout is refused.
    Layer,
    /// As overlayfs's upper directory: its marks become whiteouts.
    Overlay,
    /// Not at all.
    None,
}

struct Packer<'o, W> {
    options: &'o PackOptions,
    notation: Notation,
    output: TarWriter<W>,
    /// The first name of every file that has several.
    links: HashMap<(u64, u64), Vec<u8>>,
    packed: Packed,
}

impl<'o, W: Write> Packer<'o, W> {
    fn new(options: &'o PackOptions, notation: Notation, output: W) -> Self {
        let output = TarWriter::new(output);
        Self { options, notation, output, links: HashMap::new(), packed: Packed::default() }
    }

    fn run(mut self, root: BorrowedFd<'_>) -> Result<Packed, Error> {
        let root = tree::open_child(root, b".").map_err(|e| Error::file("open", b"", e))?;
        if self.notation == Notation::Layer {
            let stat = rustix::fs::fstat(&root).map_err(|e| Error::file("look at", b"", e))?;
            let xattrs = Object::Fd(&root).xattrs(b"")?;
            let entry = self.describe(b"./", Kind::Directory, &stat, xattrs);
            self.append(&entry, io::empty())?;
        }
        let level = self.level(root, Vec::new())?;
        self.walk(level)?;
        self.finish()
    }

    fn finish(self) -> Result<Packed, Error> {
        self.output.finish().map_err(|e| Error::file("write", b"archive", e))?;
        Ok(self.packed)
    }

    /// Everything below `root`. Without recursion: a tree may be deeper than the stack.
    fn walk(&mut self, root: Level) -> Result<(), Error> {
        let mut levels = vec![root];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.pop() else {
                levels.pop();
                continue;
            };
            let path = match &level.path[..] {
                [] => name.clone(),
                dir => [dir, b"/", &name].concat(),
            };
            if path.len() > HeaderLimits::default().name {
                return Err(Error::limit(&path, "its path is longer than a layer can carry"));
            }
            if self.options.omit.contains(&path) {
                continue;
            }
            let stat =
                tree::stat(&level.dir, &name).map_err(|e| Error::file("look at", &path, e))?;
            // One that vanished meanwhile is not missed.
            let Some(stat) = stat else { continue };
            let child = self.object(level.dir.as_fd(), &name, &path, &stat)?;
            levels.extend(child);
        }
        Ok(())
    }

    /// Packs `name`; a directory is given back to be walked.
    fn object(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        stat: &Stat,
    ) -> Result<Option<Level>, Error> {
        if self.notation != Notation::None && name.starts_with(b".wh.") {
            return Err(Error::refused(path, "its name would be read as a whiteout"));
        }
        if self.overlay() && tree::is_whiteout(stat) {
            return self.whiteout(path, name).map(|()| None);
        }
        let kind = tree::file_type(stat);
        if kind == FileType::Directory {
            return self.child_directory(dir, name, path);
        }
        if stat.st_nlink > 1 {
            let first = self.links.entry((stat.st_dev, stat.st_ino));
            match first {
                std::collections::hash_map::Entry::Occupied(first) => {
                    let kind = Kind::HardLink(first.get().clone());
                    let entry = self.describe(path, kind, stat, Vec::new());
                    return self.append(&entry, io::empty()).map(|()| None);
                }
                std::collections::hash_map::Entry::Vacant(slot) => {
                    slot.insert(path.to_vec());
                }
            }
        }
        let device = || (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let kind = match kind {
            FileType::RegularFile => {
                if !self.file(dir, name, path)? {
                    // Its other names cannot lead to what is not in the archive.
                    self.links.remove(&(stat.st_dev, stat.st_ino));
                }
                return Ok(None);
            }
            FileType::Symlink => match rustix::fs::readlinkat(dir, name, Vec::new()) {
                // Gone meanwhile, or no symlink any more.
                Err(Errno::NOENT | Errno::INVAL) => return Ok(None),
                target => {
                    let target = target.map_err(|e| Error::file("read the symlink", path, e))?;
                    Kind::Symlink(target.into_bytes())
                }
            },
            FileType::CharacterDevice => Kind::CharDevice(device().0, device().1),
            FileType::BlockDevice => Kind::BlockDevice(device().0, device().1),
            FileType::Fifo => Kind::Fifo,
            _ => {
                self.ignore(path, "a socket");
                return Ok(None);
            }
        };
        let xattrs = Object::Name(&tree::by_path(dir, name)).xattrs(path)?;
        let entry = self.describe(path, kind, stat, xattrs);
        self.append(&entry, io::empty()).map(|()| None)
    }

    fn child_directory(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
    ) -> Result<Option<Level>, Error> {
        let fd = match tree::open_child(dir, name) {
            Err(error) if is_gone(error) => return Ok(None),
            opened => opened.map_err(|e| Error::file("open directory", path, e))?,
        };
        let stat = rustix::fs::fstat(&fd).map_err(|e| Error::file("look at", path, e))?;
        let xattrs = Object::Fd(&fd).xattrs(path)?;
        let opaque = self.overlay() && self.is_opaque(&xattrs, path)?;
        let name = [path, b"/"].concat();
        let entry = self.describe(&name, Kind::Directory, &stat, xattrs);
        self.append(&entry, io::empty())?;
        if opaque {
            self.marker([path, b"/.wh..wh..opq"].concat())?;
        }
        self.level(fd, path.to_vec()).map(Some)
    }

    fn level(&self, dir: OwnedFd, path: Vec<u8>) -> Result<Level, Error> {
        let of_kernel = self.options.without_kernel
            && tree::is_of_kernel(&dir).map_err(|e| Error::file("look at", &path, e))?;
        if of_kernel { Ok(Level { dir, path, names: Vec::new() }) } else { Level::read(dir, path) }
    }

    /// Packs a file, unless it has vanished meanwhile; whether the archive has it.
    fn file(&mut self, dir: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<bool, Error> {
        // It may have become a pipe since it was looked at: do not wait for its other end.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
            Err(error) if is_gone(error) => return Ok(false),
            opened => opened.map_err(|e| Error::file("open", path, e))?,
        };
        let stat = rustix::fs::fstat(&fd).map_err(|e| Error::file("look at", path, e))?;
        if tree::file_type(&stat) != FileType::RegularFile {
            self.ignore(path, "what it was: it changed while it was read");
            return Ok(false);
        }
        let xattrs = Object::Fd(&fd).xattrs(path)?;
        if self.overlay() && stat.st_size == 0 && self.has_mark(&xattrs, b"overlay.whiteout") {
            return self.whiteout(path, name).map(|()| false);
        }
        self.refuse_pointers(&xattrs, path)?;
        let mut entry = self.describe(path, Kind::File, &stat, xattrs);
        entry.size = u64::try_from(stat.st_size).unwrap_or(0);
        let mut file = File::from(fd);
        if entry.size == 0 || stat.st_blocks == 0 && entry.size <= PAGE {
            (entry.size, file) = with_size(file).map_err(|e| Error::file("read", path, e))?;
        }
        self.packed.entries += 1;
        let missing = self.output.append_changing(&entry, file);
        if missing.map_err(|e| Error::file("pack", &entry.name, e))? > 0 {
            self.ignore(path, "its end: it became shorter while it was read");
        }
        Ok(true)
    }

    fn ignore(&mut self, path: &[u8], what: &str) {
        self.packed.ignored.push(Ignored { entry: printable(path), what: what.to_owned() });
    }

    fn whiteout(&mut self, path: &[u8], name: &[u8]) -> Result<(), Error> {
        let dir = &path[..path.len() - name.len()];
        self.marker([dir, b".wh.", name].concat())
    }

    /// An empty file that only its name means something of.
    fn marker(&mut self, name: Vec<u8>) -> Result<(), Error> {
        let entry = Entry {
            name,
            kind: Kind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: self.options.mtime.unwrap_or_default(),
            size: 0,
            xattrs: Vec::new(),
            extents: None,
        };
        self.append(&entry, io::empty())
    }

    fn overlay(&self) -> bool {
        self.notation == Notation::Overlay
    }

    fn is_opaque(&self, xattrs: &[Xattr], path: &[u8]) -> Result<bool, Error> {
        self.refuse_pointers(xattrs, path)?;
        // "x" says that whiteouts in it are xattrs; only "y" hides what is below.
        let opaque = |(key, value): &Xattr| self.is_mark(key, b"overlay.opaque") && value == b"y";
        Ok(xattrs.iter().any(opaque))
    }

    fn refuse_pointers(&self, xattrs: &[Xattr], path: &[u8]) -> Result<(), Error> {
        let pointers = [&b"overlay.redirect"[..], b"overlay.metacopy"];
        if self.overlay() && pointers.iter().any(|mark| self.has_mark(xattrs, mark)) {
            return Err(Error::refused(
                path,
                "its content is in a lower layer (metacopy or redirect)",
            ));
        }
        Ok(())
    }

    fn is_mark(&self, key: &[u8], mark: &[u8]) -> bool {
        let class = if self.options.user_marks { &b"user."[..] } else { b"trusted." };
        key.strip_prefix(class) == Some(mark)
    }

    fn has_mark(&self, xattrs: &[Xattr], mark: &[u8]) -> bool {
        xattrs.iter().any(|(key, _)| self.is_mark(key, mark))
    }

    fn describe(&self, name: &[u8], kind: Kind, stat: &Stat, mut xattrs: Vec<Xattr>) -> Entry {
        xattrs.retain(|(key, _)| xattr::admit(key).is_ok());
        xattrs.sort_unstable();
        let own = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.cast_signed() };
        let own = self.options.latest.map_or(own, |latest| own.min(latest));
        let mapped = || self.options.owner_map.map(stat.st_uid, stat.st_gid);
        let (uid, gid) = self.options.owner.unwrap_or_else(mapped);
        Entry {
            name: name.to_vec(),
            kind,
            mode: stat.st_mode & 0o7777,
            uid,
            gid,
            mtime: self.options.mtime.unwrap_or(own),
            size: 0,
            xattrs,
            extents: None,
        }
    }

    fn append(&mut self, entry: &Entry, data: impl io::Read) -> Result<(), Error> {
        self.packed.entries += 1;
        self.output.append(entry, data).map_err(|e| Error::file("pack", &entry.name, e))
    }
}

/// What opening says of a name at which something else was a moment ago: one that vanished meanwhile is not missed.
fn is_gone(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO)
}

/// What files of sysfs say of their size, whatever is in them. They have no blocks.
const PAGE: u64 = 4096;

/// A file without a size may have content all the same, as all of procfs do, and one of sysfs has less than it says. The size has to
/// be known before the content: it is read to its end into a file without a name.
fn with_size(mut file: File) -> io::Result<(u64, File)> {
    let mut first = [0; 4096];
    let read = loop {
        match io::Read::read(&mut file, &mut first) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    if read == 0 {
        return Ok((0, file));
    }
    let mut whole = tempfile::tempfile()?;
    whole.write_all(&first[..read])?;
    let size = read as u64 + io::copy(&mut file, &mut whole)?;
    io::Seek::rewind(&mut whole)?;
    Ok((size, whole))
}

/// A directory that is being packed.
struct Level {
    dir: OwnedFd,
    path: Vec<u8>,
    /// What is yet to come, the next one last.
    names: Vec<Vec<u8>>,
}

impl Level {
    fn read(dir: OwnedFd, path: Vec<u8>) -> Result<Self, Error> {
        let mut names =
            sys::directory::names(&dir).map_err(|e| Error::file("read directory", &path, e))?;
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Self { dir, path, names })
    }
}

/// Whose attributes are read.
#[derive(Clone, Copy)]
enum Object<'a> {
    Fd(&'a OwnedFd),
    Name(&'a [u8]),
}

impl Object<'_> {
    fn list_length(self) -> Result<usize, Errno> {
        match self {
            Self::Fd(fd) => rustix::fs::flistxattr_query(fd.as_fd()),
            Self::Name(path) => rustix::fs::llistxattr_query(path),
        }
    }

    fn list(self, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Fd(fd) => rustix::fs::flistxattr(fd.as_fd(), buffer),
            Self::Name(path) => rustix::fs::llistxattr(path, buffer),
        }
    }

    fn get(self, key: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Fd(fd) => rustix::fs::fgetxattr(fd.as_fd(), key, buffer),
            Self::Name(path) => rustix::fs::lgetxattr(path, key, buffer),
        }
    }

    /// All attributes. A file system that keeps none has none; one that vanishes meanwhile is not missed.
    fn xattrs(self, path: &[u8]) -> Result<Vec<Xattr>, Error> {
        let failed = |e: Errno| Error::file("read the xattrs of", path, e);
        match self.list_length() {
            Ok(0) | Err(Errno::OPNOTSUPP | Errno::NOENT) => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        // Linux keeps at most 64 KiB of names, and of each value.
        let mut buffer = vec![0; 64 << 10];
        let length = self.list(&mut buffer).map_err(failed)?;
        let names = buffer[..length].to_vec();
        let mut xattrs = Vec::new();
        for key in names.split(|b| *b == 0).filter(|key| !key.is_empty()) {
            match self.get(key, &mut buffer) {
                Ok(length) => xattrs.push((key.to_vec(), buffer[..length].to_vec())),
                Err(Errno::NODATA) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(xattrs)
    }
}
