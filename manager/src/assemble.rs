//! What a container has while it runs and has not otherwise: its root file system mounted, and its network.
//!
//! Mounts are made in a mount namespace of our own, which the monitor inherits. No mount of a container ever shows
//! up in the host's table, and the kernel takes them down with the last process in the namespace, however that
//! process ends.

use crate::connection;
use crate::container::{ContainerId, Dir, Record};
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::shim as snapshot;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use std::path::Path;
use sys::namespace::{Kinds, unshare};

/// Moves this thread, and the children it will start, into a mount namespace of its own.
///
/// What the host mounts later is seen here too; nothing that is mounted here is seen by the host.
pub fn enter_private_mounts() -> Result<()> {
    unshare(Kinds::MOUNT).map_err(Error::system("make a mount namespace"))?;
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", slave).map_err(Error::system("keep mounts from the host"))
}

/// Mounts a container's root file system at its place in the container's directory.
pub fn mount_root(settings: &Settings, record: &Record, dir: &Dir) -> Result<()> {
    let target = dir.rootfs();
    crate::container::make_private(&target)?;
    snapshot::mount(settings, record.id.as_str(), &target)
}

/// Takes everything down again. Goes on after an error, and is no error where there is nothing left.
pub fn disassemble(settings: &Settings, dir: &Dir, id: &ContainerId) -> Vec<Error> {
    let mut errors = connection::disconnect(settings, id);
    for path in [dir.rootfs(), connection::namespace_path(dir)] {
        errors.extend(unmount_if_mounted(&path).err());
    }
    errors
}

fn unmount_if_mounted(path: &Path) -> Result<()> {
    use rustix::io::Errno;
    match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // Not a mount point, or not there: another process mounted it in a namespace of its own, or nobody did.
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        Err(errno) => Err(Error::io("unmount", path)(errno)),
    }
}
