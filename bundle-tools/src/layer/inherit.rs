//! Directories that a layer takes for granted get the look of the ones below them.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::{
    fs::{Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid},
    io::Errno,
};

use super::Error;

/// Gives the `implied` directories of `layer` ([`Stats::implied`](super::Stats::implied)) the owner, mode and times that they have
/// in `lowers`, topmost first.
///
/// A layer with `tmp/x` and no entry for `tmp` would otherwise put a root-owned directory of mode 0755 over `/tmp`. A directory
/// that no lower layer has is left as it is. Call it for each layer from the bottom, once the layers below are complete.
pub fn inherit(
    layer: BorrowedFd<'_>,
    lowers: &[BorrowedFd<'_>],
    implied: &[Vec<u8>],
) -> Result<(), Error> {
    for path in implied {
        let found = lowers.iter().find_map(|lower| open(*lower, path).transpose());
        let Some(model) = found.transpose().map_err(|e| Error::file("look at", path, e))? else {
            continue;
        };
        let own = open(layer, path).map_err(|e| Error::file("open directory", path, e))?;
        if let Some(own) = own {
            copy(&model, &own).map_err(|e| Error::file("set the owner and mode of", path, e))?;
        }
    }
    Ok(())
}

fn open(root: BorrowedFd<'_>, path: &[u8]) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error),
    }
}

fn copy(model: &OwnedFd, own: &OwnedFd) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(model)?;
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::fchown(own, Some(uid), Some(gid))?;
    rustix::fs::fchmod(own, Mode::from_raw_mode(stat.st_mode))?;
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec.cast_signed()),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
    };
    rustix::fs::futimens(own, &times)
}
