//! Where an archive goes that a command makes: stdout, or a file that appears whole or not at all.

use crate::error::{Error, Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

/// As much as is written at once.
const BUFFER: usize = 256 << 10;

/// An archive's destination. A file that was not [kept](Self::keep) leaves nothing behind.
#[derive(Debug)]
pub struct Output {
    writer: BufWriter<File>,
    pending: Option<Pending>,
}

/// A file that is not whole yet.
#[derive(Debug)]
struct Pending {
    /// The name that it gets, for messages.
    path: PathBuf,
    /// Where it is. Held, because this process may have another mount namespace by the time the file gets its name.
    directory: OwnedFd,
    /// Whether it has a name already, because the file system has no files without one.
    is_named: bool,
}

impl Output {
    /// Opens `path`; without one or with `-`, stdout. A terminal is refused in Docker's words: `what` is the command.
    pub fn open(path: Option<&Path>, what: &str) -> Result<Self> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            return Self::stdout(what);
        };
        let special = fs::metadata(path).is_ok_and(|there| {
            let kind = there.file_type();
            kind.is_fifo() || kind.is_char_device() || kind.is_block_device() || kind.is_socket()
        });
        if special {
            let file = File::options().write(true).open(path).map_err(Error::io("open", path))?;
            return Ok(Self::new(file, None));
        }
        if path.is_dir() {
            return Err(Error::refusal(format!(
                "invalid output path: {:?} is a directory",
                path.display().to_string()
            )));
        }
        let (file, pending) = Pending::open(path).map_err(Error::io("write", path))?;
        Ok(Self::new(file, Some(pending)))
    }

    fn new(file: File, pending: Option<Pending>) -> Self {
        Self { writer: BufWriter::with_capacity(BUFFER, file), pending }
    }

    fn stdout(what: &str) -> Result<Self> {
        if rustix::termios::isatty(rustix::stdio::stdout()) {
            return Err(Error::refusal(format!(
                "cowardly refusing to {what} to a terminal. Use the -o flag or redirect"
            )));
        }
        let own = rustix::io::dup(rustix::stdio::stdout());
        let file = File::from(own.map_err(Error::system("write to stdout"))?);
        Ok(Self::new(file, None))
    }

    /// Gives the file its name: it is whole.
    pub fn keep(mut self) -> Result<()> {
        self.writer.flush().map_err(Error::system("write the archive"))?;
        match self.pending.take() {
            Some(pending) => {
                let kept = pending.keep(self.writer.get_ref());
                kept.map_err(Error::io("write", &pending.path))
            }
            None => Ok(()),
        }
    }
}

impl Pending {
    /// A file on the file system of `path`, without a name if that is possible: a kill then leaves nothing.
    fn open(path: &Path) -> io::Result<(File, Self)> {
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

    fn discard(&self) {
        if self.is_named {
            let _ = unlinkat(&self.directory, temporary(&self.path), AtFlags::empty());
        }
    }

    fn keep(&self, file: &File) -> io::Result<()> {
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

impl Write for Output {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.writer.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(pending) = self.pending.take() {
            pending.discard();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image.tar");
        fs::write(&path, "old").unwrap();
        let mut output = Output::open(Some(&path), "save").unwrap();
        output.write_all(b"new").unwrap();
        drop(output);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        let mut output = Output::open(Some(&path), "save").unwrap();
        output.write_all(b"new").unwrap();
        output.keep().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = Output::open(Some(dir.path()), "save").unwrap_err().to_string();
        assert!(error.starts_with("invalid output path: "), "{error}");
    }
}
