//! Filling an empty volume with what the image has in its place.
//!
//! It is copied beside the volume's files, and moved to them when all of it is there: what is broken off, by a full disk or a kill,
//! leaves the volume as empty as it was, and the next container begins again. A volume that has some of it would count as filled.

use super::store::{Volume, Volumes, make_directory};
use crate::bundle::rootfs::Rootfs;
use crate::container::{Dir, Record};
use crate::copy;
use crate::error::{Error, Result};
use crate::mounted::is_mounted;
use crate::snapshot::remove_tree;
use crate::user_namespace::{as_root_of, mapped_directory};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

/// Beside the volume's files: what has been copied so far.
const HALF: &str = "_filling";
/// Beside the volume's files: all of it, which is being moved to them.
const WHOLE: &str = "_filled";

/// Copies what the image has at `target` into the volume, if that is empty. The image's paths are resolved under its root's
/// descriptor, links in it are copied and never followed (class J of the known attacks).
pub(super) fn fill(
    (volumes, volume): (&Volumes, &Volume),
    (record, dir): (&Record, &Dir),
    rootfs: &Rootfs,
    target: &str,
) -> Result<()> {
    let _lock = volumes.lock_data(&volume.name)?;
    let data = volumes.data(&volume.name);
    let (half, whole) = (data.with_file_name(HALF), data.with_file_name(WHOLE));
    remove_tree(&half)?;
    move_in(&whole, &data)?;
    let what = format!("copy `{target}` of the image into volume `{}`", volume.name);
    let failed = |errno: Errno| Error::system(&*what)(errno);
    let Some(source) = open(rootfs, target).map_err(failed)? else { return Ok(()) };
    let mapped = mapped_directory(record, dir, &data)?;
    if !copy::is_empty(mapped.as_fd()).map_err(failed)? {
        return Ok(());
    }
    let copied_to = |place: OwnedFd| {
        as_root_of(record, || {
            copy::tree(source.as_fd(), place.as_fd()).map_err(|failure| {
                let what = format!(
                    "copy `{target}/{}` of the image into volume `{}`",
                    failure.path, volume.name
                );
                Error::system(what)(failure.errno)
            })
        })
    };
    // What is mounted there has no place beside it, and where there is nothing to copy only the look of the directory is.
    if copy::is_empty(source.as_fd()).map_err(failed)? || is_mounted(&data)? {
        return copied_to(mapped);
    }
    make_directory(&half).map_err(Error::io("make", &half))?;
    if let Err(error) = mapped_directory(record, dir, &half).and_then(copied_to) {
        // The first error is the one to report, and there may be no room.
        let _ = remove_tree(&half);
        return Err(error);
    }
    fs::rename(&half, &whole).map_err(Error::io("rename", &half))?;
    move_in(&whole, &data)
}

/// What the image has there, if that is a directory.
fn open(rootfs: &Rootfs, target: &str) -> std::result::Result<Option<OwnedFd>, Errno> {
    let path = CString::new(target.trim_start_matches('/')).map_err(|_| Errno::INVAL)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK;
    match sys::beneath::open(rootfs.fd(), &path, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        opened => opened.map(Some),
    }
}

/// Moves what was copied to the volume's files, also what an earlier process could not.
fn move_in(whole: &Path, data: &Path) -> Result<()> {
    let from = match File::open(whole) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(Error::io("open", whole))?,
    };
    let to = File::open(data).map_err(Error::io("open", data))?;
    copy::move_into(from.as_fd(), to.as_fd()).map_err(Error::io("fill", data))?;
    Ok(remove_tree(whole)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_was_moved_by_halves_is_moved_to_its_end_and_replaces_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["_data", "_filled", "_filled/dir"] {
            fs::create_dir(path(name)).unwrap();
        }
        fs::set_permissions(path("_filled"), fs::Permissions::from_mode(0o1750)).unwrap();
        for name in ["_data/own", "_filled/own", "_filled/dir/file"] {
            fs::write(path(name), name).unwrap();
        }
        move_in(&path("_filled"), &path("_data")).unwrap();
        let text = |name: &str| fs::read_to_string(path(name)).unwrap();
        assert_eq!(
            (&*text("_data/own"), &*text("_data/dir/file")),
            ("_data/own", "_filled/dir/file")
        );
        assert_eq!(fs::metadata(path("_data")).unwrap().permissions().mode() & 0o7777, 0o1750);
        assert!(!path("_filled").exists());
        move_in(&path("_filled"), &path("_data")).unwrap();
    }
}
