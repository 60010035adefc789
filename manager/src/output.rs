//! Where an archive goes that a command makes: stdout, or a file that appears whole or not at all.

use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// As much as is written at once.
const BUFFER: usize = 256 << 10;

/// An archive's destination. A file that was not [kept](Self::keep) is taken away again.
#[derive(Debug)]
pub struct Output {
    writer: BufWriter<File>,
    /// The name that the file has until it is whole, and the one it gets.
    pending: Option<(PathBuf, PathBuf)>,
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
            return Ok(Self { writer: BufWriter::with_capacity(BUFFER, file), pending: None });
        }
        if path.is_dir() {
            return Err(Error::refusal(format!(
                "invalid output path: {:?} is a directory",
                path.display().to_string()
            )));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&temporary).map_err(Error::io("write", path))?;
        let pending = Some((temporary, path.to_owned()));
        Ok(Self { writer: BufWriter::with_capacity(BUFFER, file), pending })
    }

    fn stdout(what: &str) -> Result<Self> {
        if rustix::termios::isatty(rustix::stdio::stdout()) {
            return Err(Error::refusal(format!(
                "cowardly refusing to {what} to a terminal. Use the -o flag or redirect"
            )));
        }
        let own = rustix::io::dup(rustix::stdio::stdout());
        let file = File::from(own.map_err(Error::system("write to stdout"))?);
        Ok(Self { writer: BufWriter::with_capacity(BUFFER, file), pending: None })
    }

    /// Gives the file its name: it is whole.
    pub fn keep(mut self) -> Result<()> {
        self.writer.flush().map_err(Error::system("write the archive"))?;
        if let Some((temporary, path)) = self.pending.take() {
            fs::rename(&temporary, &path).map_err(Error::io("write", &path))?;
        }
        Ok(())
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
        if let Some((temporary, _)) = self.pending.take() {
            // The error that is on its way says more.
            let _ = fs::remove_file(temporary);
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
