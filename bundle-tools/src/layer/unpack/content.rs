//! Regular files.

use std::{io::BufRead, os::fd::OwnedFd};

use rustix::{
    fs::{Mode, SeekFrom},
    io::Errno,
};

use super::{Error, NEW_FILE, Parent, Unpacker};
use crate::tarball::{Entry, Extent, TarReader};

impl Unpacker<'_> {
    pub(super) fn file<R: BufRead>(
        &mut self,
        entry: &Entry,
        parent: &Parent,
        name: &[u8],
        path: &[u8],
        tar: &mut TarReader<R>,
    ) -> Result<(), Error> {
        let mode = self.mode_of_new(entry).unwrap_or(Mode::RUSR | Mode::WUSR);
        let fd = self.create("make the file", parent, name, path, || {
            rustix::fs::openat(&parent.fd, name, NEW_FILE, mode)
        })?;
        match &entry.extents {
            None => write_rest(&fd, path, tar)?,
            Some(extents) => write_sparse(&fd, path, extents, entry.size, tar)?,
        }
        // A write takes setuid and capabilities away, so they come behind it.
        self.describe_file(&fd, entry, parent, path)
    }
}

fn write_rest<R: BufRead>(fd: &OwnedFd, path: &[u8], tar: &mut TarReader<R>) -> Result<(), Error> {
    loop {
        let chunk = tar.chunk()?;
        if chunk.is_empty() {
            return Ok(());
        }
        let n = chunk.len();
        write_all(fd, chunk).map_err(|e| Error::file("write", path, e))?;
        tar.consume(n);
    }
}

fn write_sparse<R: BufRead>(
    fd: &OwnedFd,
    path: &[u8],
    extents: &[Extent],
    size: u64,
    tar: &mut TarReader<R>,
) -> Result<(), Error> {
    let failed = |e: Errno| Error::file("write", path, e);
    for extent in extents {
        rustix::fs::seek(fd, SeekFrom::Start(extent.offset)).map_err(failed)?;
        let mut left = extent.length;
        while left > 0 {
            let chunk = tar.chunk()?;
            let n = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            write_all(fd, &chunk[..n]).map_err(failed)?;
            tar.consume(n);
            left -= n as u64;
        }
    }
    rustix::fs::ftruncate(fd, size).map_err(failed)
}

fn write_all(fd: &OwnedFd, mut data: &[u8]) -> Result<(), Errno> {
    while !data.is_empty() {
        match rustix::io::write(fd, data) {
            Ok(n) => data = &data[n..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
