//! Owners, modes, times and extended attributes.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags},
    io::Errno,
};

use super::{Error, Options, Parent, Unpacker, Whiteouts};
use crate::{
    layer::{tree, xattr},
    tarball::{Entry, Kind, printable},
};

impl Unpacker<'_> {
    /// Owner, mode, xattrs and times of a file that was just made in `parent`.
    pub(super) fn describe_file(
        &mut self,
        fd: &OwnedFd,
        entry: &Entry,
        parent: &Parent,
        path: &[u8],
    ) -> Result<(), Error> {
        if self.owner_differs(entry, parent) {
            self.set_owner(fd, entry, path)?;
        }
        if self.mode_of_new(entry).is_none() {
            // After the owner: chown takes setuid and setgid away.
            rustix::fs::fchmod(fd, Mode::from_raw_mode(entry.mode))
                .map_err(|e| Error::file("set the mode of", path, e))?;
        }
        self.set_xattrs(fd, entry, path)?;
        rustix::fs::futimens(fd, &timestamps(entry.mtime))
            .map_err(|e| Error::file("set the time of", path, e))
    }

    /// The mode with which a file can be made, if nothing is left to be changed then: a call less for each file.
    pub(super) fn mode_of_new(&self, entry: &Entry) -> Option<Mode> {
        let special = 0o7000;
        let umask = self.umask?;
        (entry.mode & (special | umask) == 0).then(|| Mode::from_raw_mode(entry.mode))
    }

    /// Owner, xattrs and times of something that cannot be opened. Only what is not a symlink has a mode; see the caller.
    pub(super) fn describe_by_name(
        &mut self,
        entry: &Entry,
        parent: &Parent,
        name: &[u8],
        path: &[u8],
    ) -> Result<(), Error> {
        if self.owner_differs(entry, parent) {
            let (uid, gid) = self.owner(entry);
            rustix::fs::chownat(&parent.fd, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(Error::owner(path, entry.uid, entry.gid))?;
        }
        for (key, value) in &entry.xattrs {
            self.set_xattr(entry, key, path, || tree::set_xattr(&parent.fd, name, key, value))?;
        }
        set_time(&parent.fd, name, entry.mtime).map_err(|e| Error::file("set the time of", path, e))
    }

    fn owner(&self, entry: &Entry) -> (Option<Uid>, Option<Gid>) {
        let (uid, gid) = self.ids(entry);
        (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
    }

    fn ids(&self, entry: &Entry) -> (u32, u32) {
        let mapped = || self.options.owner_map.map(entry.uid, entry.gid);
        self.options.owner.unwrap_or_else(mapped)
    }

    pub(super) fn set_owner(&self, fd: impl AsFd, entry: &Entry, path: &[u8]) -> Result<(), Error> {
        if !self.options.owners {
            return Ok(());
        }
        let (uid, gid) = self.owner(entry);
        rustix::fs::fchown(fd, uid, gid).map_err(Error::owner(path, entry.uid, entry.gid))
    }

    pub(super) fn set_xattrs(
        &mut self,
        fd: &OwnedFd,
        entry: &Entry,
        path: &[u8],
    ) -> Result<(), Error> {
        for (key, value) in &entry.xattrs {
            self.set_xattr(entry, key, path, || {
                rustix::fs::fsetxattr(fd, &key[..], value, XattrFlags::empty())
            })?;
        }
        Ok(())
    }

    fn set_xattr(
        &mut self,
        entry: &Entry,
        key: &[u8],
        path: &[u8],
        set: impl Fn() -> Result<(), Errno>,
    ) -> Result<(), Error> {
        if let Err(why) = xattr::admit(key) {
            self.ignore(entry, format!("the xattr `{}`: {why}", printable(key)));
            return Ok(());
        }
        if key == DEFAULT_ACL {
            self.umask = None;
        }
        match set() {
            Ok(()) => Ok(()),
            // The file system has none, or the kernel has none for this type of file.
            Err(Errno::OPNOTSUPP) => {
                self.ignore(entry, format!("the xattr `{}`: not supported here", printable(key)));
                Ok(())
            }
            Err(Errno::PERM) if !self.options.owners || matches!(entry.kind, Kind::Symlink(_)) => {
                self.ignore(entry, format!("the xattr `{}`: not permitted", printable(key)));
                Ok(())
            }
            Err(error) => Err(Error::file("set an xattr of", path, error)),
        }
    }

    /// Whether a file made by the caller in `parent` belongs to somebody else than the entry says.
    fn owner_differs(&self, entry: &Entry, parent: &Parent) -> bool {
        self.options.owners && (parent.setgid || self.ids(entry) != self.caller)
    }
}

/// What decides about the modes of new files in the place of the umask (acl(5)).
const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// The umask, if it alone decides about the modes of new files below `root`: there is nothing yet in that, and no default ACL.
/// Where there may be something, a directory in it may have one.
pub(super) fn umask(root: &OwnedFd, options: &Options) -> Option<u32> {
    if matches!(options.whiteouts, Whiteouts::Apply | Whiteouts::None)
        || rustix::fs::fgetxattr(root, DEFAULT_ACL, &mut [0_u8; 0][..]).is_ok()
    {
        return None;
    }
    // umask(2) would have to change it, for all threads, to tell.
    let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    let text = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(text.trim(), 8).ok()
}

/// The time of access is set too: the tree then depends on the layer alone.
fn timestamps(mtime: Timespec) -> Timestamps {
    Timestamps { last_access: mtime, last_modification: mtime }
}

pub(super) fn set_time(parent: impl AsFd, name: &[u8], mtime: Timespec) -> Result<(), Errno> {
    rustix::fs::utimensat(parent, name, &timestamps(mtime), AtFlags::SYMLINK_NOFOLLOW)
}
