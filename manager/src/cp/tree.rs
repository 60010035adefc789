//! A tree of files, copied from one open directory into another.
//!
//! Names are taken one at a time and never followed, on both sides. What is in the way of a file is removed, not written
//! through; a directory is never replaced by a file or the other way round. There is no recursion: a tree may be deeper than
//! the stack.

use super::attributes::{CAPABILITY, xattrs};
use super::content;
use super::place::Place;
use crate::chmod::Chmod;
use crate::error::Error;
use crate::table::plain;
use bundle::layer::{OwnerMap, is_of_kernel};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, StatxAttributes, StatxFlags,
    Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::beneath;

/// How often a name is cleared and made again when somebody else keeps putting things there.
const ATTEMPTS: u32 = 16;

/// What went wrong, and at which path below the source.
#[derive(Debug)]
pub(crate) struct Fault {
    path: Vec<u8>,
    action: &'static str,
    why: String,
}

type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    pub(crate) fn at<E: Into<io::Error>>(
        path: &[u8],
        action: &'static str,
    ) -> impl FnOnce(E) -> Self {
        let path = path.to_vec();
        move |error| Self { path, action, why: crate::error::reason(&error.into()) }
    }

    /// The error for the user: the copy that failed, and where in it.
    pub(crate) fn explain(self, source: &str, target: &str) -> Error {
        let path = plain(&String::from_utf8_lossy(&self.path));
        let Self { action, why, .. } = self;
        Error::Rejected {
            message: format!(
                "cannot copy `{source}` to `{target}`: cannot {action} `{path}`: {why}"
            ),
            hint: None,
        }
    }
}

/// Whom the copies belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    /// One user and group, whomever the originals belong to.
    One(u32, u32),
    /// Who is on this side who the originals belong to on the other.
    Kept(OwnerMap),
}

/// What becomes of setuid, setgid and capabilities of files, and of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Privileges {
    /// They stay where the owner does.
    OfOwner,
    /// Setuid and setgid stay although the owner is another.
    Kept,
    /// None of it is copied, whoever the owner is.
    Dropped,
}

/// Says of a path below the top whether it is copied.
pub(crate) type Keep<'a> = Box<dyn Fn(&[u8]) -> bool + 'a>;

/// Copies, and keeps the account.
pub(crate) struct Copier<'a> {
    owners: Owners,
    /// What becomes of the permissions that the originals have.
    permissions: Option<Chmod>,
    /// What becomes of what lets a program do more than who runs it.
    privileges: Privileges,
    /// Devices that were left out: their paths below the top.
    left_out: Vec<Vec<u8>>,
    /// What of a directory is copied, if that is not all of it.
    keep: Option<Keep<'a>>,
    /// What the kernel shows of itself is not copied, only the directory that it is mounted on.
    without_kernel: bool,
    /// The first copy of every file that has several names: its path below the top.
    links: HashMap<(u64, u64), Vec<u8>>,
    bytes: u64,
}

/// A directory that is being copied.
struct Level {
    from: OwnedFd,
    to: OwnedFd,
    path: Vec<u8>,
    names: Vec<Vec<u8>>,
    /// What the copy is to look like at the end; nothing if it stays as it is.
    look: Option<Look>,
}

/// What a directory is to look like.
struct Look {
    stat: Stat,
    /// Its source's attributes are its, too.
    has_attributes: bool,
}

impl Look {
    const fn of(stat: Stat) -> Self {
        Self { stat, has_attributes: true }
    }

    /// That of an ordinary directory, as old as another one.
    fn plain(mut stat: Stat) -> Self {
        stat.st_mode = FileType::Directory.as_raw_mode() | 0o755;
        (stat.st_uid, stat.st_gid) = (0, 0);
        Self { stat, has_attributes: false }
    }
}

impl<'a> Copier<'a> {
    /// Of a container that runs, /proc and /sys are in the tree; they are no files of its.
    pub(crate) fn new(owners: Owners, of_container: bool) -> Self {
        Self {
            owners,
            permissions: None,
            privileges: Privileges::OfOwner,
            left_out: Vec::new(),
            keep: None,
            without_kernel: of_container,
            links: HashMap::new(),
            bytes: 0,
        }
    }

    /// One for the files of a build: what is copied was listed before, and keeps what it may do whoever owns it.
    pub(crate) fn for_build(owners: Owners, permissions: Option<Chmod>, keep: Keep<'a>) -> Self {
        let keep = Some(keep);
        Self { permissions, privileges: Privileges::Kept, keep, ..Self::new(owners, false) }
    }

    /// One for files that nobody vouches for, to a place where they can be used by anybody.
    pub(crate) fn of_untrusted(owners: Owners) -> Self {
        Self { privileges: Privileges::Dropped, ..Self::new(owners, false) }
    }

    /// The devices that were left out: their paths below the top.
    pub(crate) fn left_out(&self) -> &[Vec<u8>] {
        &self.left_out
    }

    /// The bytes of content that were copied.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Copies what is at `source` to `name` in `parent`.
    pub(crate) fn copy(&mut self, source: &Place, parent: &OwnedFd, name: &[u8]) -> Result<()> {
        let level = self.object(source.parent.as_fd(), &source.name, parent.as_fd(), name, name)?;
        match level {
            Some(level) => self.walk(level, parent.as_fd()),
            None => Ok(()),
        }
    }

    /// Copies what is in the directory `source` into the directory `target`, which keeps its own look.
    pub(crate) fn merge(&mut self, source: &Place, target: &Place) -> Result<()> {
        self.merge_into(source, target, |_| None)
    }

    /// The same for a directory that was made for it, and is to look like `source`.
    pub(crate) fn merge_as(&mut self, source: &Place, target: &Place) -> Result<()> {
        self.merge_into(source, target, |stat| Some(Look::of(stat)))
    }

    /// The same where nothing is meant by what `source` looks like: it looks like any directory, and is as old.
    pub(crate) fn merge_plain(&mut self, source: &Place, target: &Place) -> Result<()> {
        self.merge_into(source, target, |stat| Some(Look::plain(stat)))
    }

    fn merge_into(
        &mut self,
        source: &Place,
        target: &Place,
        look: impl FnOnce(Stat) -> Option<Look>,
    ) -> Result<()> {
        let from = source.open_directory().map_err(Fault::at(&source.name, "open"))?;
        let to = target.open_directory().map_err(Fault::at(&target.name, "open"))?;
        let top = to.try_clone().map_err(Fault::at(&target.name, "open"))?;
        let names = self.names(&from).map_err(Fault::at(&source.name, "read"))?;
        let look = look(rustix::fs::fstat(&from).map_err(Fault::at(&source.name, "look at"))?);
        self.walk(Level { from, to, path: Vec::new(), names, look }, top.as_fd())
    }

    fn walk(&mut self, first: Level, top: BorrowedFd<'_>) -> Result<()> {
        let mut levels = vec![first];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.pop() else {
                if let Some(look) = level.look.take() {
                    self.describe_directory(level, &look)?;
                }
                levels.pop();
                continue;
            };
            let path = match &level.path[..] {
                [] => name.clone(),
                directory => [directory, b"/", &name].concat(),
            };
            if self.keep.as_ref().is_some_and(|keep| !keep(&path)) {
                continue;
            }
            let (from, to) = (level.from.as_fd(), level.to.as_fd());
            let child = self.object_or_link(from, &name, to, &path, top)?;
            levels.extend(child);
        }
        Ok(())
    }

    fn object_or_link(
        &mut self,
        from: BorrowedFd<'_>,
        name: &[u8],
        to: BorrowedFd<'_>,
        path: &[u8],
        top: BorrowedFd<'_>,
    ) -> Result<Option<Level>> {
        let stat = stat(from, name).map_err(Fault::at(path, "look at"))?;
        // One that vanished meanwhile is not missed.
        let Some(stat) = stat else { return Ok(None) };
        if stat.st_nlink > 1 && file_type(&stat) != FileType::Directory {
            let key = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&key)
                && link(top, first, to, name).is_ok()
            {
                return Ok(None);
            }
            self.links.insert(key, path.to_vec());
        }
        self.object(from, name, to, name, path)
    }

    /// Copies one object; a directory is given back to be walked.
    fn object(
        &mut self,
        from: BorrowedFd<'_>,
        name: &[u8],
        to: BorrowedFd<'_>,
        rename: &[u8],
        path: &[u8],
    ) -> Result<Option<Level>> {
        let stat = stat(from, name).map_err(Fault::at(path, "look at"))?;
        let Some(stat) = stat else { return Ok(None) };
        match file_type(&stat) {
            FileType::Directory => self.directory(from, name, to, rename, path),
            FileType::RegularFile => self.file(from, name, to, rename, path).map(|()| None),
            FileType::Socket | FileType::Unknown => Ok(None),
            FileType::CharacterDevice | FileType::BlockDevice
                if self.privileges == Privileges::Dropped =>
            {
                self.left_out.push(path.to_vec());
                Ok(None)
            }
            kind => self.special(kind, &stat, from, name, to, rename, path).map(|()| None),
        }
    }

    /// Makes a directory and gives it back to be filled, unless it has vanished meanwhile.
    fn directory(
        &self,
        from: BorrowedFd<'_>,
        name: &[u8],
        to: BorrowedFd<'_>,
        rename: &[u8],
        path: &[u8],
    ) -> Result<Option<Level>> {
        const FLAGS: OFlags =
            OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
        let open = |parent: BorrowedFd<'_>, name: &[u8]| {
            rustix::fs::openat(parent, name, FLAGS, Mode::empty())
        };
        let source = match open(from, name) {
            Err(errno) if is_gone(errno) => return Ok(None),
            source => source.map_err(Fault::at(path, "open"))?,
        };
        let stat = rustix::fs::fstat(&source).map_err(Fault::at(path, "look at"))?;
        match rustix::fs::mkdirat(to, rename, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Fault::at(path, "make the directory")(errno)),
        }
        let target = match open(to, rename) {
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err(Fault {
                    path: path.to_vec(),
                    action: "make the directory",
                    why: "cannot overwrite non-directory with directory".to_owned(),
                });
            }
            target => target.map_err(Fault::at(path, "open"))?,
        };
        let names = self.names(&source).map_err(Fault::at(path, "read"))?;
        Ok(Some(Level {
            from: source,
            to: target,
            path: path.to_vec(),
            names,
            look: Some(Look::of(stat)),
        }))
    }

    /// What is to be copied of a directory.
    fn names(&self, directory: &OwnedFd) -> rustix::io::Result<Vec<Vec<u8>>> {
        if self.without_kernel && is_of_kernel(directory.as_fd())? {
            return Ok(Vec::new());
        }
        list(directory)
    }

    fn describe_directory(&self, level: &Level, look: &Look) -> Result<()> {
        let stat = &look.stat;
        self.own(&level.to, stat).map_err(Fault::at(&level.path, "set the owner of"))?;
        let mask = if self.privileges == Privileges::Dropped { 0o1777 } else { 0o7777 };
        let mode = self.permitted(stat.st_mode & mask, true);
        rustix::fs::fchmod(&level.to, mode).map_err(Fault::at(&level.path, "set the mode of"))?;
        if look.has_attributes {
            self.xattrs(&level.from, &level.to, stat)
                .map_err(Fault::at(&level.path, "set the xattrs of"))?;
        }
        rustix::fs::futimens(&level.to, &times(stat))
            .map_err(Fault::at(&level.path, "set the time of"))
    }

    fn file(
        &mut self,
        from: BorrowedFd<'_>,
        name: &[u8],
        to: BorrowedFd<'_>,
        rename: &[u8],
        path: &[u8],
    ) -> Result<()> {
        // It may have become a pipe since it was looked at: do not wait for its other end.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let source = match rustix::fs::openat(from, name, flags, Mode::empty()) {
            Err(errno) if is_gone(errno) => return Ok(()),
            source => source.map_err(Fault::at(path, "open"))?,
        };
        let stat = rustix::fs::fstat(&source).map_err(Fault::at(path, "look at"))?;
        if file_type(&stat) != FileType::RegularFile {
            return Ok(());
        }
        let target = new_file(to, rename, path)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.bytes +=
            content::copy(source.as_fd(), target.as_fd(), size).map_err(Fault::at(path, "copy"))?;
        self.own(&target, &stat).map_err(Fault::at(path, "set the owner of"))?;
        // After the owner: chown takes setuid and setgid away.
        rustix::fs::fchmod(&target, self.mode(&stat))
            .map_err(Fault::at(path, "set the mode of"))?;
        self.xattrs(&source, &target, &stat).map_err(Fault::at(path, "set the xattrs of"))?;
        rustix::fs::futimens(&target, &times(&stat)).map_err(Fault::at(path, "set the time of"))
    }

    /// A link, a device or a pipe.
    #[expect(clippy::too_many_arguments, reason = "a name on either side, and what is known of it")]
    fn special(
        &self,
        kind: FileType,
        stat: &Stat,
        from: BorrowedFd<'_>,
        name: &[u8],
        to: BorrowedFd<'_>,
        rename: &[u8],
        path: &[u8],
    ) -> Result<()> {
        if kind == FileType::Symlink {
            let target = match rustix::fs::readlinkat(from, name, Vec::new()) {
                Err(Errno::NOENT | Errno::INVAL) => return Ok(()),
                target => target.map_err(Fault::at(path, "read the symlink"))?,
            };
            create(to, rename, path, || rustix::fs::symlinkat(&target, to, rename))?;
        } else {
            // The umask is empty.
            let mode = self.mode(stat);
            create(to, rename, path, || rustix::fs::mknodat(to, rename, kind, mode, stat.st_rdev))?;
        }
        let (uid, gid) = self.owner_of(stat);
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(to, rename, Some(uid), Some(gid), nofollow)
            .map_err(Fault::at(path, "set the owner of"))?;
        rustix::fs::utimensat(to, rename, &times(stat), nofollow)
            .map_err(Fault::at(path, "set the time of"))
    }

    fn owner_of(&self, stat: &Stat) -> (Uid, Gid) {
        let (uid, gid) = match &self.owners {
            Owners::One(uid, gid) => (*uid, *gid),
            Owners::Kept(map) => map.map(stat.st_uid, stat.st_gid),
        };
        (Uid::from_raw(uid), Gid::from_raw(gid))
    }

    fn changes_owner(&self, stat: &Stat) -> bool {
        matches!(self.owners, Owners::One(uid, gid) if (uid, gid) != (stat.st_uid, stat.st_gid))
    }

    /// The mode of a copy. What ran as its owner or its group does not run as the new one.
    fn mode(&self, stat: &Stat) -> Mode {
        let loses = match self.privileges {
            Privileges::OfOwner => self.changes_owner(stat),
            Privileges::Kept => false,
            Privileges::Dropped => true,
        };
        let mask = if loses { 0o1777 } else { 0o7777 };
        self.permitted(stat.st_mode & mask, false)
    }

    fn permitted(&self, mode: u32, is_directory: bool) -> Mode {
        let wished = self.permissions.as_ref().map(|wish| wish.apply(mode, is_directory));
        Mode::from_raw_mode(wished.unwrap_or(mode))
    }

    fn own(&self, target: &OwnedFd, stat: &Stat) -> rustix::io::Result<()> {
        let (uid, gid) = self.owner_of(stat);
        rustix::fs::fchown(target, Some(uid), Some(gid))
    }

    /// User attributes, ACLs, and capabilities if the owner stays and may have them. A file system that keeps none is none the worse.
    fn xattrs(&self, from: &OwnedFd, to: &OwnedFd, stat: &Stat) -> rustix::io::Result<()> {
        for (name, value) in xattrs(from)? {
            let may_stay = self.privileges != Privileges::Dropped && !self.changes_owner(stat);
            if name == CAPABILITY && !may_stay {
                continue;
            }
            match rustix::fs::fsetxattr(to, &name[..], &value, XattrFlags::empty()) {
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

/// A file that is new at `name`. One that something is mounted on cannot be replaced, and is written into.
fn new_file(parent: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<OwnedFd> {
    let base = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let made = attempt(parent, name, path, || {
        rustix::fs::openat(parent, name, base | OFlags::CREATE | OFlags::EXCL, mode)
    });
    let Err(Blocked::Mounted) = made else {
        return made.map_err(|blocked| blocked.fault(path));
    };
    let fd = rustix::fs::openat(parent, name, base | OFlags::NONBLOCK | OFlags::NOCTTY, mode)
        .map_err(Fault::at(path, "open"))?;
    let stat = rustix::fs::fstat(&fd).map_err(Fault::at(path, "look at"))?;
    if file_type(&stat) != FileType::RegularFile {
        return Err(Fault::at(path, "replace")(Errno::BUSY));
    }
    rustix::fs::ftruncate(&fd, 0).map_err(Fault::at(path, "write"))?;
    Ok(fd)
}

/// Makes something that must not exist yet, after removing what does.
fn create(
    parent: BorrowedFd<'_>,
    name: &[u8],
    path: &[u8],
    make: impl FnMut() -> rustix::io::Result<()>,
) -> Result<()> {
    attempt(parent, name, path, make).map_err(|blocked| blocked.fault(path))
}

/// Why nothing could be made.
enum Blocked {
    /// Something is mounted on what is there.
    Mounted,
    Failed(Fault),
}

impl Blocked {
    fn fault(self, path: &[u8]) -> Fault {
        match self {
            Self::Mounted => Fault::at(path, "replace")(Errno::BUSY),
            Self::Failed(fault) => fault,
        }
    }
}

fn attempt<T>(
    parent: BorrowedFd<'_>,
    name: &[u8],
    path: &[u8],
    mut make: impl FnMut() -> rustix::io::Result<T>,
) -> std::result::Result<T, Blocked> {
    for _ in 0..ATTEMPTS {
        match make() {
            Err(Errno::EXIST) => {}
            made => return made.map_err(|errno| Blocked::Failed(Fault::at(path, "make")(errno))),
        }
        // The kernel refuses to remove what is mounted on in our own mount namespace. In the container's it does not.
        if is_mounted(parent, name) {
            return Err(Blocked::Mounted);
        }
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::BUSY) => return Err(Blocked::Mounted),
            Err(Errno::ISDIR) => {
                return Err(Blocked::Failed(Fault {
                    path: path.to_vec(),
                    action: "make",
                    why: "cannot overwrite directory with non-directory".to_owned(),
                }));
            }
            Err(errno) => return Err(Blocked::Failed(Fault::at(path, "replace")(errno))),
        }
    }
    Err(Blocked::Failed(Fault::at(path, "make")(Errno::EXIST)))
}

/// Whether something is mounted at a name.
fn is_mounted(parent: BorrowedFd<'_>, name: &[u8]) -> bool {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::statx(parent, name, flags, StatxFlags::TYPE)
        .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Gives a file that was copied already one more name. On the way to it no link is followed.
fn link(
    top: BorrowedFd<'_>,
    first: &[u8],
    to: BorrowedFd<'_>,
    name: &[u8],
) -> rustix::io::Result<()> {
    let slash = first.iter().rposition(|byte| *byte == b'/');
    let (directory, own) = match slash {
        Some(slash) => (&first[..slash], &first[slash + 1..]),
        None => (&b"."[..], first),
    };
    let directory = CString::new(directory).map_err(|_| Errno::INVAL)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let parent =
        beneath::open_with(top, &directory, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    match rustix::fs::linkat(&parent, own, to, name, AtFlags::empty()) {
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(to, name, AtFlags::empty())?;
            rustix::fs::linkat(&parent, own, to, name, AtFlags::empty())
        }
        linked => linked,
    }
}

fn list(directory: &OwnedFd) -> rustix::io::Result<Vec<Vec<u8>>> {
    let mut names = sys::directory::names(directory)?;
    // The next one is taken from the end.
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

fn stat(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Option<Stat>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// What opening says of a name at which something else was a moment ago: one that vanished meanwhile is not missed.
fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO)
}

fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn times(stat: &Stat) -> Timestamps {
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.cast_signed() };
    Timestamps { last_access: time, last_modification: time }
}
