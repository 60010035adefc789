//! The root file system as criu wants it: a mount point of its own, below a mount that nothing covers, with every place that
//! something will be mounted on.
//!
//! It is attached in a new mount namespace of this process, which ends with it: on the host there is never more than an empty
//! directory. Places are made under the root's fd (invariant I7), in the order and by the rules of a `create`.

use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::plan::op::{Bind, Op};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_change, move_mount,
    open_tree, unmount,
};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use sys::beneath::Target;
use sys::namespace::{self, Kinds};

/// The attached root; detached again on drop, which a process in the foreground outlives for long.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
}

impl Root {
    /// Where it is attached.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = unmount(&self.path, UnmountFlags::DETACH);
    }
}

/// The way back to the host's mount namespace, and to the directory that we were in.
#[derive(Debug)]
pub struct Home {
    mounts: OwnedFd,
    directory: OwnedFd,
}

impl Home {
    /// Goes back there.
    ///
    /// # Errors
    /// When the kernel refuses, which it has no reason for.
    pub fn return_to(&self) -> Result<()> {
        namespace::join(self.mounts.as_fd(), Kinds::MOUNT)
            .and_then(|()| rustix::process::fchdir(&self.directory))
            .map_err(|errno| Error::system("return to the host's mount namespace", errno))
    }
}

/// Leaves the host's mount namespace: what is mounted from here on is seen by nobody else, and goes away with this process and
/// criu. Comes before any directory is opened that criu will mount something in: the fd would be of the host's namespace.
///
/// # Errors
/// Without the privilege.
pub fn leave_host() -> Result<Home> {
    let leave = || {
        let open = |path: &CStr, flags| rustix::fs::open(path, flags, Mode::empty());
        let mounts = open(c"/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC)?;
        let directory = open(c".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)?;
        // The cgroups are made in the one and, if criu fails, removed in the other.
        let _ = crate::cgroup::mounts();
        namespace::unshare(Kinds::MOUNT)?;
        mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
        Ok(Home { mounts, directory })
    };
    leave().map_err(|errno| Error::system("make a mount namespace for the restore", errno))
}

/// Attaches `rootfs` on the directory `path`, after [`leave_host`].
///
/// # Errors
/// When a mount source is missing, or a place cannot be made.
pub fn attach(path: &Path, rootfs: &Path, plan: &Plan) -> Result<Root> {
    let failed =
        |errno| Error::system(format!("attach the root file system `{}`", rootfs.display()), errno);
    // The first time with the binds, for what lies below them; their mounts go away with it, the places stay.
    let root = attach_tree(path, rootfs).map_err(failed)?;
    let mask = rustix::process::umask(Mode::WGRP | Mode::WOTH);
    let made = make_places(root.as_fd(), plan);
    rustix::process::umask(mask);
    drop(root);
    unmount(path, UnmountFlags::DETACH).map_err(failed)?;
    made?;
    attach_tree(path, rootfs).map_err(failed)?;
    Ok(Root { path: path.to_owned() })
}

fn attach_tree(path: &Path, rootfs: &Path) -> std::result::Result<OwnedFd, Errno> {
    let tree = clone_tree(rootfs, true)?;
    move_mount(&tree, c"", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(tree)
}

fn clone_tree(
    path: impl rustix::path::Arg,
    recursive: bool,
) -> std::result::Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(CWD, path, flags)
}

/// Makes every mount point of the plan, and directories that the process needs. What lies in a new file system is in the images.
fn make_places(root: BorrowedFd<'_>, plan: &Plan) -> Result<()> {
    let mut new: Vec<&CStr> = Vec::new();
    for step in &plan.steps {
        let place = |target: &Target| {
            let known = new.iter().any(|mount| is_below(target.path(), mount));
            (!known).then(|| target.clone())
        };
        let made = match &step.op {
            Op::Mount(mount) => {
                let restrict =
                    if mount.ordinary { ResolveFlags::NO_SYMLINKS } else { ResolveFlags::empty() };
                let made = place(&mount.target)
                    .map_or(Ok(()), |target| target.ensure_with(root, false, restrict).map(drop));
                new.push(mount.target.path());
                made
            }
            Op::Cgroups(cgroups) => {
                let made = place(&cgroups.tmpfs.target)
                    .map_or(Ok(()), |target| target.ensure(root, false).map(drop));
                new.push(cgroups.tmpfs.target.path());
                made
            }
            Op::Directory { target } => {
                place(target).map_or(Ok(()), |target| target.ensure(root, false).map(drop))
            }
            Op::Bind(bind) => {
                place(&bind.target).map_or(Ok(()), |target| attach_bind(root, bind, &target, plan))
            }
            _ => Ok(()),
        };
        made.map_err(|errno| {
            let what = format!(
                "make a place in the root file system of container `{}` (config.json {})",
                plan.id, step.pointer
            );
            Error::system(what, errno)
        })?;
    }
    Ok(())
}

fn attach_bind(
    root: BorrowedFd<'_>,
    bind: &Bind,
    target: &Target,
    plan: &Plan,
) -> std::result::Result<(), Errno> {
    let source = plan.sources.get(bind.source).ok_or(Errno::INVAL)?;
    let tree = clone_tree(&*source.path, source.recursive)?;
    let mode = rustix::fs::fstat(&tree)?.st_mode;
    let target = target.ensure(root, FileType::from_raw_mode(mode) != FileType::Directory)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&tree, c"", &target, c"", flags)
}

fn is_below(path: &CStr, directory: &CStr) -> bool {
    let rest = path.to_bytes().strip_prefix(directory.to_bytes());
    rest.is_some_and(|rest| rest.first() == Some(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_below_a_directory_and_not_below_one_with_a_name_that_begins_alike() {
        assert!(is_below(c"dev/pts", c"dev"));
        assert!(!is_below(c"dev", c"dev"));
        assert!(!is_below(c"devices/x", c"dev"));
    }
}
