//! What of a layer can only be decided once the layers below it are there: the look of directories that it takes for granted, and
//! which of its whiteouts hide anything.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::{
    fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid},
    io::Errno,
};

use super::{Error, name, tree};

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

/// Takes those `whiteouts` of `layer` ([`Stats::whiteouts`](super::Stats::whiteouts)) away that hide nothing, because the directory
/// that they are in is not merged with one of `lowers`.
///
/// overlayfs leaves whiteouts out where it merges directories. Elsewhere it lists them as files that cannot be looked at, which
/// makes programs fail that read a whole directory. Those in the root may stay: a container's root is always merged.
pub fn drop_idle_whiteouts(
    layer: BorrowedFd<'_>,
    lowers: &[BorrowedFd<'_>],
    whiteouts: &[Vec<u8>],
) -> Result<(), Error> {
    for path in whiteouts {
        let (directory, name) = name::split(path);
        let failed = |e| Error::file("remove the idle whiteout", path, e);
        if directory.is_empty() || is_merged(layer, lowers, directory).map_err(failed)? {
            continue;
        }
        if let Some(parent) = open(layer, directory).map_err(failed)? {
            match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
    Ok(())
}

/// Whether a lower layer may have something in `directory` that can be seen through `layer`.
fn is_merged(
    layer: BorrowedFd<'_>,
    lowers: &[BorrowedFd<'_>],
    directory: &[u8],
) -> Result<bool, Errno> {
    let ends = directory.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    for end in ends.chain([directory.len()]) {
        if open(layer, &directory[..end])?.is_some_and(|fd| tree::is_opaque(&fd)) {
            return Ok(false);
        }
    }
    for lower in lowers {
        if open(*lower, directory)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
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
