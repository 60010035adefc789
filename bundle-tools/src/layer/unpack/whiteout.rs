//! Whiteouts: what a layer says about the layers below it, never about itself. One that comes before or after an entry of the
//! same name in one layer therefore leaves that entry alone.

use std::{
    ops::Bound,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    fs::{FileType, Mode, XattrFlags},
    io::Errno,
};

use super::{Error, Unpacker, Whiteouts};
use crate::layer::tree;

impl Unpacker<'_> {
    /// `.wh.NAME` in the directory `dir`.
    pub(super) fn whiteout(&mut self, dir: &[u8], name: &[u8]) -> Result<(), Error> {
        let path = join(dir, name);
        if !self.overlay() {
            let Some(fd) = self.existing(dir)? else { return Ok(()) };
            return self.remove_unwritten(fd.as_fd(), name, &path);
        }
        let parent = self.enter(dir)?;
        let failed = |e: Errno| Error::file("make the whiteout", &path, e);
        match tree::stat(&parent.fd, name).map_err(failed)? {
            None => {
                rustix::fs::mknodat(
                    &parent.fd,
                    name,
                    FileType::CharacterDevice,
                    Mode::empty(),
                    rustix::fs::makedev(0, 0),
                )
                .map_err(failed)?;
                let is_new = self.whiteouts.insert(path.clone());
                self.account(&path, is_new)
            }
            // A directory of this layer would be merged with the one below.
            Some(stat) if tree::file_type(&stat) == FileType::Directory => {
                let fd = tree::open_child(&parent.fd, name).map_err(failed)?;
                self.mark_opaque(&fd, &path)
            }
            Some(_) => Ok(()),
        }
    }

    /// `.wh..wh..opq` in the directory `dir`.
    pub(super) fn opaque(&mut self, dir: &[u8]) -> Result<(), Error> {
        if !self.overlay() {
            let Some(fd) = self.existing(dir)? else { return Ok(()) };
            return self.clear_unwritten(fd.as_fd(), dir);
        }
        if dir.is_empty() {
            self.tally.opaque_root = true;
            return Ok(());
        }
        let parent = self.enter(dir)?;
        let fd = tree::open_child(&parent.fd, b".").map_err(|e| Error::file("open", dir, e))?;
        self.mark_opaque(&fd, dir)
    }

    /// Marks a directory as hiding the ones below.
    pub(super) fn mark_opaque(&self, fd: impl AsFd, path: &[u8]) -> Result<(), Error> {
        let key = match self.options.whiteouts {
            Whiteouts::OverlayUser => "user.overlay.opaque",
            Whiteouts::Overlay | Whiteouts::Apply | Whiteouts::None => "trusted.overlay.opaque",
        };
        rustix::fs::fsetxattr(fd, key, b"y", XattrFlags::empty())
            .map_err(|e| Error::file("make opaque", path, e))
    }

    /// The directory `dir` if it is there: a whiteout makes no directories when it is carried out at once.
    fn existing(&self, dir: &[u8]) -> Result<Option<std::os::fd::OwnedFd>, Error> {
        match tree::open_dir(&self.root, dir) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(Error::file("open directory", dir, error)),
        }
    }

    /// Removes `name` but for what this layer wrote.
    fn remove_unwritten(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
    ) -> Result<(), Error> {
        if !self.wrote_in(path) {
            return self.clear(parent, name, path);
        }
        match tree::open_child(parent, name) {
            Ok(fd) => self.clear_unwritten(fd.as_fd(), path),
            Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => Ok(()),
            Err(error) => Err(Error::file("open directory", path, error)),
        }
    }

    fn clear_unwritten(&mut self, dir: BorrowedFd<'_>, path: &[u8]) -> Result<(), Error> {
        // Ours may be an O_PATH fd, which cannot be read.
        let failed = |e: Errno| Error::file("read the directory", path, e);
        let dir = tree::open_child(dir, b".").map_err(failed)?;
        for name in sys::directory::names(&dir).map_err(failed)? {
            self.remove_unwritten(dir.as_fd(), &name, &join(path, &name))?;
        }
        Ok(())
    }

    /// Whether this layer wrote `path` or something below it.
    fn wrote_in(&self, path: &[u8]) -> bool {
        let below = [path, b"/"].concat();
        self.written.contains(path)
            || self
                .written
                .range::<[u8], _>((Bound::Included(&below[..]), Bound::Unbounded))
                .next()
                .is_some_and(|first| first.starts_with(&below))
    }
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}
