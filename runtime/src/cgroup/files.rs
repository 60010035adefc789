//! Reading and writing the small files of a cgroup directory: one open, one transfer, one close, and no memory from the
//! heap for the path.
//!
//! The paths are the host's own: a cgroup file system holds no symbolic links, and the names below its mount were cleaned
//! when they were planned, so they are used as they are. They are looked up from the directory of all mounts, which is opened once:
//! on the way to it lies sysfs, where the kernel takes a lock for each name.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use sys::fd::until_exec;

/// Where every distribution mounts the hierarchies, or has one directory for each.
pub(super) const ROOT: &str = "/sys/fs/cgroup";

/// Files in a cgroup are smaller than a page, but for lists of processes.
const PAGE: usize = 4096;

/// Opens a file of a directory.
pub(super) fn open(directory: &Path, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut path = [0; 512];
    let parts = [directory.as_os_str().as_bytes(), b"/", name.as_bytes()];
    let mut length = 0;
    for part in parts {
        // The longest path of a cgroup that the kernel shows in /proc is a page: longer than this is rare, not wrong.
        let Some(place) = path.get_mut(length..length + part.len()) else {
            return open_path(&directory.join(name), flags);
        };
        place.copy_from_slice(part);
        length += part.len();
    }
    open_path(Path::new(OsStr::from_bytes(&path[..length])), flags)
}

fn open_path(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let (from, path) = at(path)?;
    rustix::fs::openat(from, path, flags | OFlags::CLOEXEC, Mode::empty())
}

/// Where a path begins.
enum Base {
    Kept(BorrowedFd<'static>),
    Opened(OwnedFd),
}

impl AsFd for Base {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Base::Kept(fd) => *fd,
            Base::Opened(fd) => fd.as_fd(),
        }
    }
}

/// No path may be longer in a system call (`PATH_MAX`, with its end).
const LONGEST: usize = 4095;

/// A path as the system calls take it: a directory, and the way from there. A container that may make cgroups can make them deeper than a
/// path can tell.
fn at(path: &Path) -> Result<(Base, &Path), Errno> {
    let bytes = path.as_os_str().as_bytes();
    let below = bytes.strip_prefix(ROOT.as_bytes()).and_then(|rest| rest.strip_prefix(b"/"));
    let (mut base, mut rest) = match below.and_then(|below| Some((mounts()?, below))) {
        Some((mounts, below)) => (Base::Kept(mounts), below),
        // Somewhere else; or there is nothing there, which the call that uses it says.
        None => (Base::Kept(CWD), bytes),
    };
    while rest.len() > LONGEST {
        let end = rest[..LONGEST].iter().rposition(|byte| *byte == b'/');
        let (head, tail) = rest.split_at(end.ok_or(Errno::NAMETOOLONG)?);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        base = Base::Opened(rustix::fs::openat(base, head, flags, Mode::empty())?);
        rest = &tail[1..];
    }
    Ok((base, Path::new(OsStr::from_bytes(rest))))
}

/// The directory of all mounts in the mount namespace in which it was first asked for. What was mounted there is found through it for
/// as long as that namespace lives: whoever leaves it for another one and comes back asks before.
pub fn mounts() -> Option<BorrowedFd<'static>> {
    static MOUNTS: OnceLock<Option<BorrowedFd<'static>>> = OnceLock::new();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = || rustix::fs::open(ROOT, flags, Mode::empty()).ok().map(until_exec);
    *MOUNTS.get_or_init(open)
}

/// Opens a directory to make and mount things in it.
pub(super) fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    open_path(path, OFlags::PATH | OFlags::DIRECTORY)
}

/// Whether there is something of this name.
pub(super) fn exists(path: &Path) -> Result<bool, Errno> {
    let (from, path) = at(path)?;
    match rustix::fs::accessat(from, path, Access::EXISTS, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Removes a directory that has neither processes nor directories of its own.
pub(super) fn remove_directory(path: &Path) -> Result<(), Errno> {
    let (from, path) = at(path)?;
    rustix::fs::unlinkat(from, path, AtFlags::REMOVEDIR)
}

/// Opens a file that a command comes to once, as every `create` does to a dozen: it stays open until the process ends, which closes all
/// of them without a system call for each.
pub(super) fn open_once(
    directory: &Path,
    name: &str,
    flags: OFlags,
) -> Result<BorrowedFd<'static>, Errno> {
    open(directory, name, flags).map(until_exec)
}

/// Reads a file of at most one page.
pub(super) fn read(directory: &Path, name: &str) -> Result<String, Errno> {
    read_page(open(directory, name, OFlags::RDONLY)?)
}

/// The same, by [`open_once`].
pub(super) fn read_once(directory: &Path, name: &str) -> Result<String, Errno> {
    read_page(open_once(directory, name, OFlags::RDONLY)?)
}

fn read_page(fd: impl AsFd) -> Result<String, Errno> {
    let mut buffer = [0; PAGE];
    let length = rustix::io::read(fd, &mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// Reads a file of any length that the kernel shows as a whole, as it does /proc/self/cgroup, by [`open_once`]: what does not fill the
/// buffer is all.
pub(super) fn read_whole_once(directory: &Path, name: &str) -> Result<String, Errno> {
    let fd = open_once(directory, name, OFlags::RDONLY)?;
    let mut bytes = Vec::new();
    let mut buffer = [0; PAGE];
    loop {
        let length = rustix::io::read(fd, &mut buffer)?;
        bytes.extend_from_slice(&buffer[..length]);
        if length < PAGE {
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
}

/// Reads a file of any length.
pub(super) fn read_all(directory: &Path, name: &str) -> Result<String, Errno> {
    let fd = open(directory, name, OFlags::RDONLY)?;
    let mut bytes = Vec::new();
    let mut buffer = [0; PAGE];
    loop {
        match rustix::io::read(&fd, &mut buffer)? {
            0 => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            length => bytes.extend_from_slice(&buffer[..length]),
        }
    }
}

/// Writes `value` in one system call: the kernel takes each write to a cgroup file as one complete value.
pub(super) fn write(directory: &Path, name: &str, value: &str) -> Result<(), Errno> {
    let fd = open(directory, name, OFlags::WRONLY)?;
    rustix::io::write(&fd, value.as_bytes()).map(drop)
}

/// The same, by [`open_once`].
pub(super) fn write_once(directory: &Path, name: &str, value: &str) -> Result<(), Errno> {
    let fd = open_once(directory, name, OFlags::WRONLY)?;
    rustix::io::write(fd, value.as_bytes()).map(drop)
}

/// Makes one directory; `false` when it was there. Of paths that are too long none is made: it would take thousands of them.
pub(super) fn make_directory(path: &Path) -> Result<bool, Errno> {
    let (from, path) = match at(path)? {
        (Base::Opened(_), _) => return Err(Errno::NAMETOOLONG),
        found => found,
    };
    match rustix::fs::mkdirat(from, path, Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// The names of the sub-cgroups of a cgroup; none when it is gone.
pub(super) fn subgroups(path: &Path) -> Result<Vec<PathBuf>, Errno> {
    let fd = match open_path(path, OFlags::RDONLY | OFlags::DIRECTORY) {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in rustix::fs::Dir::new(fd)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if entry.file_type() == FileType::Directory && name != b"." && name != b".." {
            found.push(path.join(OsStr::from_bytes(name)));
        }
    }
    Ok(found)
}
