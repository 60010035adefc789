//! The container's file systems: root, mounts, devices, protected paths.
//!
//! Every target is resolved by the kernel under the fd of the container's root (invariant I7), and what is mounted is attached from
//! one fd to another. Between finding a target and using it no path is looked up again, so that there is nothing to race.

use super::Child;
use crate::plan::op::{Bind, Carrier, Device, Mount};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, makedev};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, open_tree, unmount,
};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::beneath::{self, Target};
use sys::fd::until_exec;
use sys::mount::{self as attr, Attributes};

/// Device number of /dev/null.
const NULL: (u32, u32) = (1, 3);

/// Sets the propagation of `/`.
pub(super) fn propagation(flags: u64) -> Result<(), Errno> {
    mount_change("/", MountPropagationFlags::from_bits_retain(flags as u32))
}

impl Child<'_> {
    /// The root goes on top of `/`, where there is always a directory that we may reach, and whose mount we make private first:
    /// below a shared one the mount would appear on the host, and pivot_root(2) would refuse it.
    pub(super) fn attach_root(&mut self, source: usize, propagation: u64) -> Result<(), Errno> {
        let tree = self.tree(source)?;
        set_propagation(tree, &[propagation])?;
        mount_change("/", MountPropagationFlags::PRIVATE)?;
        attach_at(tree, CWD, c"/")?;
        self.root = Some(tree);
        Ok(())
    }

    pub(super) fn open_root(&mut self) -> Result<(), Errno> {
        let root = rustix::fs::open(c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        self.root = Some(until_exec(root));
        Ok(())
    }

    /// The detached tree of a bind source: the parent's, or one that is cloned here where the parent could not.
    fn tree(&self, source: usize) -> Result<BorrowedFd<'static>, Errno> {
        let source_of = &self.resources.sources[source];
        match (source_of.carrier, &self.resources.trees[source]) {
            (Carrier::Tree, Some(tree)) => Ok(until_exec(tree.try_clone().map_err(|_| Errno::MFILE)?)),
            (Carrier::Tree, None) => Err(Errno::BADF),
            (Carrier::Path, _) => clone_tree(CWD, &source_of.path, source_of.recursive),
        }
    }

    pub(super) fn mount(&self, mount: &Mount) -> Result<(), Errno> {
        let context = fsopen(&*mount.kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, value) in &mount.options {
            match value {
                Some(value) => fsconfig_set_string(&context, &**key, &**value)?,
                None => fsconfig_set_flag(&context, &**key)?,
            }
        }
        fsconfig_create(&context)?;
        let attributes = MountAttrFlags::from_bits_retain(mount.attributes as u32);
        let mounted = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
        // A symlink in the image must not move /proc or /sys to a place where nothing masks it (CVE-2025-54867).
        let restrict = if mount.ordinary { ResolveFlags::NO_SYMLINKS } else { ResolveFlags::empty() };
        let target = mount.target.ensure_with(self.root()?, false, restrict)?;
        attach(mounted.as_fd(), target.as_fd())?;
        set_propagation(mounted.as_fd(), &mount.propagation)
    }

    pub(super) fn bind(&self, bind: &Bind) -> Result<(), Errno> {
        let tree = self.tree(bind.source)?;
        let is_file = kind_of(tree)? != FileType::Directory;
        // Before it is attached: nobody else can see a detached tree, and in a user namespace its flags are locked afterwards.
        set_propagation(tree, &bind.propagation)?;
        if !bind.recursive.is_empty() {
            attr::set_attributes(tree, &bind.recursive, true)?;
        }
        if !bind.attributes.is_empty() {
            attr::set_attributes(tree, &bind.attributes, false)?;
        }
        let target = bind.target.ensure(self.root()?, is_file)?;
        attach(tree, target.as_fd())
    }

    /// The topmost mount at the target.
    pub(super) fn read_only_mount(&self, target: &Target) -> Result<(), Errno> {
        let mount = beneath::find(self.root()?, target.path())?;
        attr::set_attributes(mount.as_fd(), &read_only(), false)
    }

    pub(super) fn read_only_root(&self) -> Result<(), Errno> {
        attr::set_attributes(self.root()?, &read_only(), false)
    }

    /// Whatever lies at the target is covered by a read-only view of itself.
    pub(super) fn read_only(&self, target: &Target) -> Result<(), Errno> {
        let Some(found) = self.found(target)? else { return Ok(()) };
        let tree = clone_tree(found.as_fd(), c"", true)?;
        attr::set_attributes(tree, &read_only(), true)?;
        attach(tree, found.as_fd())
    }

    pub(super) fn hide(&mut self, target: &Target) -> Result<(), Errno> {
        let Some(found) = self.found(target)? else { return Ok(()) };
        let cover = match kind_of(found.as_fd())? {
            FileType::Directory => self.empty_directory()?,
            _ => clone_tree(self.null_device()?.as_fd(), c"", false)?,
        };
        attach(cover, found.as_fd())
    }

    /// A path that a config.json protects on many hosts, and that this one may not have.
    fn found(&self, target: &Target) -> Result<Option<OwnedFd>, Errno> {
        match beneath::find(self.root()?, target.path()) {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            found => found.map(Some),
        }
    }

    /// A detached mount of an empty read-only tmpfs: made once, and cloned once it is attached somewhere.
    fn empty_directory(&mut self) -> Result<BorrowedFd<'static>, Errno> {
        if let Some(mask) = self.mask {
            return clone_tree(mask, c"", false);
        }
        let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_flag(&context, c"ro")?;
        fsconfig_create(&context)?;
        let attributes = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
        let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
        let mask = until_exec(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?);
        self.mask = Some(mask);
        Ok(mask)
    }

    /// The container's /dev/null, after making sure that it is one: an image could have a link to something of the host there
    /// (CVE-2025-31133).
    fn null_device(&self) -> Result<OwnedFd, Errno> {
        let null = beneath::find(self.root()?, c"dev/null")?;
        let stat = rustix::fs::fstat(&null)?;
        let is_null = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && stat.st_rdev == makedev(NULL.0, NULL.1);
        if is_null { Ok(null) } else { Err(Errno::NXIO) }
    }

    pub(super) fn device(&self, device: &Device) -> Result<(), Errno> {
        let root = self.root()?;
        if let Some(source) = device.bind {
            let tree = self.tree(source)?;
            return attach(tree, device.target.ensure(root, true)?.as_fd());
        }
        let parent = match device.target.parent(root) {
            Err(Errno::NOENT) => {
                device.target.ensure_parent(root)?;
                device.target.parent(root)?
            }
            parent => parent?,
        };
        let (parent, name) = parent.ok_or(Errno::EXIST)?;
        let number = makedev(device.major, device.minor);
        let mode = Mode::from_raw_mode(device.mode);
        match rustix::fs::mknodat(&parent, name, device.kind, mode, number) {
            Err(Errno::EXIST) => replace(parent.as_fd(), name, device, number)?,
            made => made?,
        }
        if device.uid != 0 || device.gid != 0 {
            let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
            rustix::fs::chownat(&parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    pub(super) fn symlink(&self, target: &Target, to: &CStr) -> Result<(), Errno> {
        let root = self.root()?;
        let parent = match target.parent(root) {
            Err(Errno::NOENT) => {
                target.ensure_parent(root)?;
                target.parent(root)?
            }
            parent => parent?,
        };
        let (parent, name) = parent.ok_or(Errno::EXIST)?;
        match rustix::fs::symlinkat(to, &parent, name) {
            Err(Errno::EXIST) => Ok(()),
            made => made,
        }
    }

    /// pivot_root(".", ".") puts the old root on top of the new one, from where it is taken away at once: no directory for it has
    /// to be made in the image (pivot_root(2), NOTES).
    pub(super) fn pivot(&self) -> Result<(), Errno> {
        let old = rustix::fs::open(c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::process::fchdir(self.root()?)?;
        rustix::process::pivot_root(c".", c".")?;
        // What is unmounted here must not be unmounted on the host: the old root was left a peer where propagation is shared.
        // From inside it, because `.` would be the new root, whose shared mounts are to stay so.
        rustix::process::fchdir(&old)?;
        mount_change(c".", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
        unmount(c".", UnmountFlags::DETACH)?;
        rustix::process::chdir(c"/")
    }

    /// Where the host's root is an initramfs, there is nothing to pivot to: the root is moved over `/` instead. What stays below
    /// it is reachable for a container with CAP_SYS_CHROOT and CAP_SYS_ADMIN, as with every runtime's `--no-pivot`.
    pub(super) fn move_root(&self) -> Result<(), Errno> {
        rustix::process::fchdir(self.root()?)?;
        rustix::process::chroot(c".")?;
        rustix::process::chdir(c"/")
    }

    pub(super) fn chroot(&mut self, path: &CStr) -> Result<(), Errno> {
        let root = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::process::fchdir(&root)?;
        rustix::process::chroot(c".")?;
        self.root = Some(until_exec(root));
        Ok(())
    }
}

fn read_only() -> Attributes {
    Attributes { set: attr::RDONLY, ..Attributes::default() }
}

/// Something of the image lies where a device is to be made. The device itself, and what the bundle mounted there, are left;
/// anything else is taken away, not followed (CVE-2026-88265).
fn replace(parent: BorrowedFd<'_>, name: &CStr, device: &Device, number: u64) -> Result<(), Errno> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) == device.kind && stat.st_rdev == number {
        return Ok(());
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::BUSY) => return Ok(()),
        removed => removed?,
    }
    rustix::fs::mknodat(parent, name, device.kind, Mode::from_raw_mode(device.mode), number)
}

/// A detached copy of the mount at a path, kept open until the exec.
pub(super) fn clone_tree(at: BorrowedFd<'_>, path: &CStr, recursive: bool) -> Result<BorrowedFd<'static>, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if path.is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(at, path, flags).map(until_exec)
}

/// Attaches a detached tree on what an fd refers to.
pub(super) fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, c"", target, c"", flags)
}

fn attach_at(tree: BorrowedFd<'_>, at: BorrowedFd<'_>, path: &CStr) -> Result<(), Errno> {
    move_mount(tree, c"", at, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn set_propagation(mount: BorrowedFd<'_>, list: &[u64]) -> Result<(), Errno> {
    let recursive = u64::from(MountPropagationFlags::REC.bits());
    for flags in list {
        let attributes = Attributes { propagation: flags & !recursive, ..Attributes::default() };
        attr::set_attributes(mount, &attributes, flags & recursive != 0)?;
    }
    Ok(())
}

fn kind_of(fd: BorrowedFd<'_>) -> Result<FileType, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode))
}
