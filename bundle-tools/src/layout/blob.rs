//! Blobs on their way into a layout.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags},
    io::Errno,
};

use super::{Error, Layout, open_regular};
use crate::digest::{Check, Digest, Expected, Verifier};

/// A blob that is being written. Dropped without a [`commit`](Self::commit), it leaves nothing behind.
#[derive(Debug)]
pub struct BlobWriter {
    layout: Layout,
    file: File,
    /// The file's name, where it had to get one.
    temporary: Option<PathBuf>,
    check: Check,
}

impl BlobWriter {
    pub(super) fn new(layout: &Layout, expected: Option<Expected>) -> Result<Self, Error> {
        let algorithm = expected.as_ref().map_or("sha256", |e| e.digest.algorithm().as_str());
        let dir = layout.make_blobs(algorithm)?;
        let (file, temporary) = open_temporary(&dir, layout.path())
            .map_err(|e| Error::file("make a file in", &dir, e))?;
        Ok(Self { layout: layout.clone(), file, temporary, check: Check::new(expected) })
    }

    /// Writes all that `reader` yields, in pieces that are large enough for the hash and the file system.
    pub(crate) fn fill(&mut self, reader: &mut impl Read) -> io::Result<()> {
        let mut buffered = BufWriter::with_capacity(128 << 10, self);
        io::copy(reader, &mut buffered)?;
        // Not by `into_inner`: its error has lost the cause.
        buffered.flush()
    }

    /// Gives the blob its name, if it is what was expected, and makes it last.
    pub fn commit(mut self) -> Result<(Digest, u64), Error> {
        let (digest, size) =
            self.check.finish().map_err(|mismatch| self.failed(mismatch.into()))?;
        let path = self.layout.blob_path(&digest);
        self.link(&path, &digest, size).map_err(|e| Error::file("store", &path, e))?;
        Ok((digest, size))
    }

    /// What was written so far, from its beginning.
    pub(crate) fn content(&self) -> Result<File, Error> {
        let own = PathBuf::from(self.own_path());
        File::open(&own).map_err(|e| Error::file("read", &own, e))
    }

    /// Where the file is found whether it has a name or not.
    fn own_path(&self) -> String {
        format!("/proc/self/fd/{}", self.file.as_raw_fd())
    }

    /// The digest of what was written, if it is what was expected.
    pub(crate) fn digest(&self) -> Result<Digest, Error> {
        let finished = self.check.finish().map_err(|mismatch| self.failed(mismatch.into()))?;
        Ok(finished.0)
    }

    fn link(&mut self, path: &Path, digest: &Digest, size: u64) -> io::Result<()> {
        let expected = &Expected { digest: digest.clone(), size: Some(size) };
        if is_there(path, expected) {
            return Ok(());
        }
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(0o644))?;
        self.file.sync_data()?;
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, path)?;
            self.temporary = None;
            return Ok(());
        }
        let own = self.own_path();
        for _ in 0..16 {
            match rustix::fs::linkat(CWD, &own, CWD, path, AtFlags::SYMLINK_FOLLOW) {
                Err(Errno::EXIST) if is_there(path, expected) => return Ok(()),
                Err(Errno::EXIST) => fs::remove_file(path)?,
                other => return Ok(other?),
            }
        }
        Err(Errno::EXIST.into())
    }

    /// The error that a failed read or write of this blob is.
    pub(crate) fn failed(&self, source: io::Error) -> Error {
        match self.check.name() {
            Some(digest) => Error::Blob { digest, source },
            None => Error::NewBlob(source),
        }
    }
}

impl Write for BlobWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.file.write(buf)?;
        self.check.update(&buf[..n])?;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if let Some(path) = &self.temporary {
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether a blob is there as it should be. It is read: a crash may have cut it off, and a layout that comes from elsewhere may have
/// anything under the name. One that is as it should be is not replaced, since others may be reading it.
pub(super) fn is_there(path: &Path, expected: &Expected) -> bool {
    open_regular(path).is_ok_and(|file| {
        let length = file.metadata().map(|there| there.len());
        length.is_ok_and(|length| expected.size.is_none_or(|size| size == length))
            && Verifier::new(file, expected.clone()).finish().is_ok()
    })
}

/// A file without a name in `dir`, or one with a name in `fallback` where the file system has none without. (Not in `dir`: tools
/// that walk it expect digests.)
fn open_temporary(dir: &Path, fallback: &Path) -> io::Result<(File, Option<PathBuf>)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mode = Mode::from_raw_mode(0o644);
    match rustix::fs::open(dir, OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC, mode) {
        Ok(fd) => return Ok((fd.into(), None)),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = fallback.join(format!(".blob-{}-{count}", std::process::id()));
    let file = File::options().write(true).create_new(true).open(&path)?;
    Ok((file, Some(path)))
}
