//! Reading and writing the small files of a cgroup directory, one open, one transfer, one close.
//!
//! The paths are the host's own: a cgroup file system holds no symbolic links, and the names below its mount were cleaned
//! when they were planned, so they are used as they are.

use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

/// The largest file that is read here: `cgroup.procs` may be larger, and is read with [`read_all`].
const SMALL: usize = 4096;

/// Reads a file of at most one page.
pub(super) fn read(path: &Path) -> Result<String, Errno> {
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut buffer = [0; SMALL];
    let length = rustix::io::read(&fd, &mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// Reads a file of any length.
pub(super) fn read_all(path: &Path) -> Result<String, Errno> {
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::new();
    let mut buffer = [0; SMALL];
    loop {
        match rustix::io::read(&fd, &mut buffer)? {
            0 => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            length => bytes.extend_from_slice(&buffer[..length]),
        }
    }
}

/// Writes `value` in one system call: the kernel takes each write to a cgroup file as one complete value.
pub(super) fn write(path: &Path, value: &str) -> Result<(), Errno> {
    let fd = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&fd, value.as_bytes()).map(drop)
}

/// Makes one directory; `false` when it was there.
pub(super) fn make_directory(path: &Path) -> Result<bool, Errno> {
    match rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// The names of the sub-cgroups of a cgroup; none when it is gone.
pub(super) fn subgroups(path: &Path) -> Result<Vec<std::path::PathBuf>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in rustix::fs::Dir::new(fd)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if entry.file_type() == rustix::fs::FileType::Directory && name != b"." && name != b".." {
            found.push(path.join(std::ffi::OsStr::new(&*String::from_utf8_lossy(name))));
        }
    }
    Ok(found)
}
