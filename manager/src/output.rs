//! Where an archive goes that a command makes: stdout, or a file that appears whole or not at all.

use crate::error::{Error, Result};
use crate::pending::Pending;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// As much as is written at once.
const BUFFER: usize = 256 << 10;

/// An archive's destination. A file that was not [kept](Self::keep) leaves nothing behind.
#[derive(Debug)]
pub struct Output {
    writer: BufWriter<File>,
    pending: Option<Pending>,
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
        let own = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3);
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
