//! Directories: those with an entry, and those that an entry takes for granted.

use std::{os::fd::OwnedFd, rc::Rc};

use rustix::{
    fs::{FileType, Mode},
    io::Errno,
};

use super::{Clash, Error, Finish, Parent, Unpacker};
use crate::{
    layer::{name, tree},
    tarball::Entry,
};

/// How many symlinks may lead to a directory that is yet to be made: the kernel's own limit.
const MAX_LINKS: u32 = 40;

impl Unpacker<'_> {
    /// The directory `path`, made if it is missing. It stays open for the next entry.
    pub(super) fn enter(&mut self, path: &[u8]) -> Result<Rc<Parent>, Error> {
        if let Some(parent) = self.parent.as_ref().filter(|parent| parent.path == path) {
            return Ok(Rc::clone(parent));
        }
        let fd = match tree::open_dir(&self.root, path) {
            Err(Errno::NOENT | Errno::NOTDIR) => self.make_missing(path, 0),
            other => other.map_err(|e| Error::file("open directory", path, e)),
        }?;
        let setgid = rustix::fs::fstat(&fd)
            .map(|stat| Mode::from_raw_mode(stat.st_mode).contains(Mode::SGID))
            .map_err(|e| Error::file("look at", path, e))?;
        Ok(self.remember(Parent { path: path.to_vec(), fd, setgid }))
    }

    fn remember(&mut self, parent: Parent) -> Rc<Parent> {
        let parent = Rc::new(parent);
        self.parent = Some(Rc::clone(&parent));
        parent
    }

    /// The entry of a directory. One that exists is kept and gets the entry's owner, mode and times.
    pub(super) fn directory(
        &mut self,
        entry: &Entry,
        parent: &Parent,
        name: &[u8],
        path: &[u8],
    ) -> Result<(), Error> {
        let fd = self.make_directory(parent, name, path)?;
        let was_implied = self.implied.remove(path);
        self.forget(path, was_implied);
        self.describe_directory(&fd, entry, path)?;
        let setgid = Mode::from_raw_mode(entry.mode).contains(Mode::SGID);
        self.remember(Parent { path: path.to_vec(), fd, setgid });
        Ok(())
    }

    /// Sets what an entry says of a directory, its time excepted: that waits for the end.
    pub(super) fn describe_directory(
        &mut self,
        fd: &OwnedFd,
        entry: &Entry,
        path: &[u8],
    ) -> Result<(), Error> {
        let mode = Mode::from_raw_mode(entry.mode);
        // Without CAP_DAC_OVERRIDE nothing could be put into a read-only directory.
        let early = if self.options.owners { mode } else { mode | Mode::RWXU };
        self.set_owner(fd, entry, path)?;
        rustix::fs::fchmod(fd, early).map_err(|e| Error::file("set the mode of", path, e))?;
        self.set_xattrs(fd, entry, path)?;
        let late = (early != mode).then_some(mode);
        let finish = Finish { mtime: entry.mtime, mode: late };
        let is_new = self.directories.insert(path.to_vec(), finish).is_none();
        self.account(path, is_new)
    }

    fn make_directory(
        &mut self,
        parent: &Parent,
        name: &[u8],
        path: &[u8],
    ) -> Result<OwnedFd, Error> {
        let failed = |e: Errno| Error::file("make the directory", path, e);
        for _ in 0..tree::CREATE_ATTEMPTS {
            match rustix::fs::mkdirat(&parent.fd, name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(failed(error)),
            }
            match tree::open_child(&parent.fd, name) {
                Ok(fd) => return Ok(fd),
                Err(Errno::NOENT) => {}
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    if let Some(fd) = self.replace(&parent.fd, name, path)? {
                        return Ok(fd);
                    }
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(Errno::EXIST))
    }

    /// Puts an empty directory in the place of something else. Where that was a whiteout, lower layers' directory of the name
    /// stays hidden.
    fn replace(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
    ) -> Result<Option<OwnedFd>, Error> {
        let failed = |e: Errno| Error::file("make the directory", path, e);
        let there = tree::stat(parent, name).map_err(failed)?;
        if self.options.clash == Clash::Refused {
            return Err(Error::refused(path, "cannot overwrite non-directory with directory"));
        }
        let hidden = self.overlay() && there.as_ref().is_some_and(tree::is_whiteout);
        self.clear(parent, name, path)?;
        match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(None),
            Err(error) => return Err(failed(error)),
        }
        let fd = tree::open_child(parent, name).map_err(failed)?;
        if hidden {
            self.mark_opaque(&fd, path)?;
        }
        Ok(Some(fd))
    }

    /// Makes the directories of `path` that are missing, each with mode 0755.
    fn make_missing(&mut self, path: &[u8], links: u32) -> Result<OwnedFd, Error> {
        let failed = |e: Errno| Error::file("make the directory", path, e);
        let mut fd = tree::open_dir(&self.root, b"").map_err(failed)?;
        let mut prefix = Vec::new();
        for part in path.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
            let above = prefix.clone();
            if !prefix.is_empty() {
                prefix.push(b'/');
            }
            prefix.extend_from_slice(part);
            fd = match tree::open_dir(&self.root, &prefix) {
                Ok(fd) => fd,
                Err(Errno::NOENT | Errno::NOTDIR) => {
                    self.make_implied(&fd, &above, &prefix, links)?
                }
                Err(error) => return Err(failed(error)),
            };
        }
        Ok(fd)
    }

    fn make_implied(
        &mut self,
        parent: &OwnedFd,
        above: &[u8],
        path: &[u8],
        links: u32,
    ) -> Result<OwnedFd, Error> {
        let failed = |e: Errno| Error::file("make the directory", path, e);
        let name = name::split(path).1;
        let fd = match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => tree::open_child(parent, name).map_err(failed)?,
            Err(Errno::EXIST) => {
                let there = tree::stat(parent, name).map_err(failed)?;
                if there.is_some_and(|stat| tree::file_type(&stat) == FileType::Symlink) {
                    return self.make_target(parent, above, path, links);
                }
                // What a symlink leads to was somebody's file; what is in the way itself is replaced, as an entry would do.
                if links > 0 {
                    return Err(failed(Errno::NOTDIR));
                }
                self.replace(parent, name, path)?.ok_or_else(|| failed(Errno::EXIST))?
            }
            Err(error) => return Err(failed(error)),
        };
        // The umask may have taken bits away.
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o755)).map_err(failed)?;
        let is_new = self.implied.insert(path.to_vec());
        self.account(path, is_new)?;
        Ok(fd)
    }

    /// The directory that a dangling symlink leads to, made inside the root: `lib -> usr/lib` may come before `usr/lib` does.
    fn make_target(
        &mut self,
        parent: &OwnedFd,
        above: &[u8],
        path: &[u8],
        links: u32,
    ) -> Result<OwnedFd, Error> {
        let failed = |e: Errno| Error::file("make the target of", path, e);
        if links == MAX_LINKS {
            return Err(failed(Errno::LOOP));
        }
        let target = rustix::fs::readlinkat(parent, name::split(path).1, Vec::new());
        let target = target.map_err(failed)?.into_bytes();
        let target = match target.first() {
            Some(b'/') => target,
            _ => [above, b"/", &target].concat(),
        };
        self.make_missing(&target, links + 1)
    }
}
