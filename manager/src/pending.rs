//! A file that appears whole or not at all.

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

/// A file that is not whole yet.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The name that it gets, for messages.
    pub(crate) path: PathBuf,
    /// Where it is. Held, because this process may have another mount namespace by the time the file gets its name.
    directory: OwnedFd,
    /// Whether it has a name already, because the file system has no files without one.
    is_named: bool,
}

impl Pending {
    /// A file on the file system of `path`, without a name if that is possible: a kill then leaves nothing.
    pub(crate) fn open(path: &Path) -> io::Result<(File, Self)> {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(directory, flags, Mode::empty())?;
        let mode = Mode::RUSR | Mode::WUSR;
        let base = OFlags::WRONLY | OFlags::CLOEXEC;
        let (file, is_named) = match openat(&directory, ".", base | OFlags::TMPFILE, mode) {
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let flags = base | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
                (openat(&directory, temporary(path), flags, mode)?, true)
            }
            file => (file?, false),
        };
        Ok((file.into(), Self { path: path.to_owned(), directory, is_named }))
    }

    /// Gives it its name, unless something has that.
    fn keep_new(&self, file: &File) -> io::Result<()> {
        let (directory, name) = (&self.directory, self.path.file_name().unwrap_or_default());
        let linked = if self.is_named {
            linkat(directory, temporary(&self.path), directory, name, AtFlags::empty())
        } else {
            let own = format!("/proc/self/fd/{}", file.as_raw_fd());
            linkat(CWD, own, directory, name, AtFlags::SYMLINK_FOLLOW)
        };
        Ok(linked?)
    }

    pub(crate) fn discard(&self) {
        if self.is_named {
            let _ = unlinkat(&self.directory, temporary(&self.path), AtFlags::empty());
        }
    }

    pub(crate) fn keep(&self, file: &File) -> io::Result<()> {
        let (directory, temporary) = (&self.directory, temporary(&self.path));
        if !self.is_named {
            // A link replaces nothing: what is there already is replaced by a rename.
            let _ = unlinkat(directory, &temporary, AtFlags::empty());
            let own = format!("/proc/self/fd/{}", file.as_raw_fd());
            linkat(CWD, own, directory, &temporary, AtFlags::SYMLINK_FOLLOW)?;
        }
        let name = self.path.file_name().unwrap_or_default();
        let renamed = renameat(directory, &temporary, directory, name);
        if renamed.is_err() {
            // The error that is on its way says more.
            let _ = unlinkat(directory, &temporary, AtFlags::empty());
        }
        Ok(renamed?)
    }
}

/// Makes a file for its owner alone, whole or not at all: a kill in between leaves nothing, where files may be without a name.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if there is one, or it cannot be made.
pub(crate) fn create_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (mut file, pending) = Pending::open(path)?;
    let kept = file.write_all(bytes).and_then(|()| pending.keep_new(&file));
    pending.discard();
    kept
}

fn temporary(path: &Path) -> OsString {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    name
}
