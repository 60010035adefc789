//! The container's file systems: root, mounts, devices, protected paths.
//!
//! Every target is resolved by the kernel under the fd of the container's root (invariant I7), and what is mounted is attached from
//! one fd to another. Between finding a target and using it no path is looked up again, so that there is nothing to race.

use super::{Child, copy_up, inherited};
use crate::plan::op::{
    Bind, Carrier, Cgroups, Device, Hierarchy, HierarchySource, Legacy, Mount, Remount, RemountTo,
    RootPath,
};
use crate::sources;
use crate::wire::{self, Message};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, StatxAttributes, StatxFlags,
    Uid, makedev, statx,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount,
    mount_bind, mount_change, mount_remount, move_mount, unmount,
};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use sys::beneath::{self, Target};
use sys::fd::until_exec;
use sys::mount::{self as attr, Attributes};

/// `PROC_SUPER_MAGIC`
const PROCFS: u64 = 0x9fa0;
/// `SYSFS_MAGIC`
const SYSFS: u64 = 0x6265_6572;

/// Sets the propagation of `/`.
pub(super) fn propagation(flags: u64) -> Result<(), Errno> {
    mount_change("/", MountPropagationFlags::from_bits_retain(flags as u32))
}

impl<'a> Child<'a> {
    /// The root goes on top of `/`, where there is always a directory that we may reach, and whose mount we make private first
    /// where it may be shared: below such a one the mount would appear on the host, and pivot_root(2) would refuse it.
    ///
    /// Hooks look for it `at` its path: then it goes there first, below the same rule, and over `/` when they are done.
    pub(super) fn attach_root(
        &mut self,
        source: usize,
        over_shared: bool,
        at: Option<&RootPath>,
    ) -> Result<(), Errno> {
        let tree = self.tree(source)?;
        if over_shared {
            mount_change("/", MountPropagationFlags::PRIVATE)?;
        }
        match at {
            None => attach_at(tree, CWD, c"/")?,
            Some(at) => {
                make_private(&at.above)?;
                attach_at(tree, CWD, &at.path)?;
            }
        }
        self.root = Some(tree);
        Ok(())
    }

    pub(super) fn root_over(&self) -> Result<(), Errno> {
        attach_at(self.root()?, CWD, c"/")
    }

    pub(super) fn open_root(&mut self) -> Result<(), Errno> {
        let root = rustix::fs::open(
            c"/",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        self.root = Some(until_exec(root));
        Ok(())
    }

    /// The detached tree of a bind source: the parent's, or one that is cloned here where the parent could not.
    fn tree(&self, source: usize) -> Result<BorrowedFd<'a>, Errno> {
        let source_of = &self.resources.sources[source];
        match (source_of.carrier, &self.resources.trees[source]) {
            (Carrier::Tree, Some(tree)) => Ok(tree.as_fd()),
            (Carrier::Tree, None) => Err(Errno::BADF),
            (Carrier::Path, _) => sources::detached(source_of).map(until_exec),
            (Carrier::Root, namespace) => {
                let find = if source_of.no_follow { beneath::find_itself } else { beneath::find };
                let found = until_exec(find(self.root()?, &source_of.path)?);
                let tree = clone_tree(found, c"", source_of.recursive)?;
                let id_map = source_of.id_map.as_ref().filter(|id_map| !id_map.by_parent);
                if let (Some(namespace), Some(id_map)) = (namespace, id_map) {
                    sys::mount::set_idmap(tree, namespace.as_fd(), id_map.recursive)?;
                }
                Ok(tree)
            }
        }
    }

    pub(super) fn mount(&mut self, mount: &'a Mount) -> Result<(), Errno> {
        match &mount.legacy {
            Some(arguments) => self.mount_legacy(mount, arguments),
            None => {
                let mounted = self.mount_new(mount)?;
                if mount.kind.as_c_str() == c"tmpfs" {
                    // Never one that was found by its path afterwards: another could have been put there.
                    self.fresh = Some((mount.target.path(), mounted));
                }
                self.complete(mount, mounted)
            }
        }
    }

    /// What is done to a mount that is in its place.
    fn complete(&mut self, mount: &'a Mount, mounted: BorrowedFd<'static>) -> Result<(), Errno> {
        set_propagation(mounted, &mount.propagation)?;
        if mount.read_only_last {
            self.read_only_last.push(mounted);
        }
        Ok(())
    }

    /// Makes a file system and attaches it. The fd is that of its root.
    fn mount_new(&mut self, mount: &Mount) -> Result<BorrowedFd<'static>, Errno> {
        let covered = self.covered(mount)?;
        let target = self.mount_target(mount)?;
        self.keep_fresh(mount);
        let context = until_exec(fsopen(&*mount.kind, FsOpenFlags::FSOPEN_CLOEXEC)?);
        for (key, value) in &mount.options {
            match value {
                Some(value) => fsconfig_set_string(context, &**key, &**value)?,
                None => fsconfig_set_flag(context, &**key)?,
            }
        }
        if let Some(mode) = covered.filter(|_| mount.inherits_mode) {
            let mode = octal(mode);
            let mode = CStr::from_bytes_with_nul(&mode).map_err(|_| Errno::INVAL)?;
            fsconfig_set_string(context, c"mode", mode)?;
        }
        fsconfig_create(context)?;
        let attributes = MountAttrFlags::from_bits_retain(mount.attributes as u32);
        let mounted = until_exec(fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?);
        if let Some(kept) = mount.copy_up.filter(|_| covered.is_some()) {
            // Before it is attached: nobody else can see it yet.
            copy_up::copy(target, mounted, kept)?;
        }
        attach_to_its_like(mounted, target)?;
        Ok(mounted)
    }

    /// [`Child::mount_new`] by mount(2), from inside the directory that it goes on or that has it: a longer path could be swapped.
    /// One call does what takes five and more otherwise, and the mount need not be looked up where nothing is to be done to it.
    fn mount_legacy(&mut self, at: &'a Mount, with: &Legacy) -> Result<(), Errno> {
        let covered = self.covered(at)?;
        let (directory, name) = match self.make_in_fresh(at)? {
            Some(made) => made,
            None => (self.mount_target(at)?, c"."),
        };
        let read_only = if at.read_only_last { MountFlags::RDONLY } else { MountFlags::empty() };
        let flags = MountFlags::from_bits_retain(with.flags).difference(read_only);
        self.go_into(directory)?;
        mount(&*with.source, name, &*at.kind, flags, &*with.data)?;
        if at.is_whole_when_mounted() {
            return Ok(());
        }
        let mounted = until_exec(beneath::find(self.root()?, at.target.path())?);
        if let Some(mode) = covered.filter(|_| at.inherits_mode) {
            rustix::fs::chmodat(mounted, c".", Mode::from_raw_mode(mode), AtFlags::empty())?;
        }
        if let Some(kept) = at.copy_up.filter(|_| covered.is_some()) {
            copy_up::copy(directory, mounted, kept)?;
        }
        self.complete(at, mounted)
    }

    /// Nothing is looked up from the working directory before the root is changed, which changes it too.
    pub(super) fn go_into(&mut self, directory: BorrowedFd<'static>) -> Result<(), Errno> {
        let number = directory.as_raw_fd();
        if self.within != Some(number) {
            rustix::process::fchdir(directory)?;
            (self.within, self.at_root) = (Some(number), false);
        }
        Ok(())
    }

    /// The target as a new directory in the tmpfs that was mounted above it a moment ago. Nobody else can reach into that, so that
    /// there is nothing to be resolved. `None` where it is anywhere else, or is there already.
    fn make_in_fresh(
        &mut self,
        mount: &'a Mount,
    ) -> Result<Option<(BorrowedFd<'static>, &'a CStr)>, Errno> {
        let Some((above, name)) = mount.target.split() else { return Ok(None) };
        let Some((_, tmpfs)) = self.fresh.filter(|(path, _)| *path == above) else {
            self.keep_fresh(mount);
            return Ok(None);
        };
        match rustix::fs::mkdirat(tmpfs, name, Mode::from_raw_mode(0o755)) {
            Err(Errno::EXIST) => Ok(None),
            made => made.map(|()| Some((tmpfs, name))),
        }
    }

    /// The tmpfs that was mounted last is still what its path leads to, if the mount goes elsewhere: where no link is followed, the
    /// paths tell.
    fn keep_fresh(&mut self, mount: &Mount) {
        let target = mount.target.path().to_bytes();
        let covers = |path: &CStr| {
            let below = path.to_bytes().strip_prefix(target);
            target == b"." || below.is_some_and(|below| below.is_empty() || below.starts_with(b"/"))
        };
        self.fresh = self.fresh.filter(|(path, _)| mount.ordinary && !covers(path));
    }

    /// The directory that a file system goes on, made if it is missing.
    fn mount_target(&self, mount: &Mount) -> Result<BorrowedFd<'static>, Errno> {
        // A symlink in the image must not move /proc or /sys to a place where nothing masks it (CVE-2025-54867).
        let restrict =
            if mount.ordinary { ResolveFlags::NO_SYMLINKS } else { ResolveFlags::empty() };
        let target = until_exec(mount.target.ensure_with(self.root()?, false, restrict)?);
        if mount.off_proc {
            refuse_procfs(target)?;
        }
        Ok(target)
    }

    /// The permission bits of the directory that a tmpfs will cover, where they matter and it is there already.
    fn covered(&self, mount: &Mount) -> Result<Option<u32>, Errno> {
        if !mount.inherits_mode && mount.copy_up.is_none() {
            return Ok(None);
        }
        let Some(found) = self.found(&mount.target)? else { return Ok(None) };
        Ok(Some(rustix::fs::fstat(found)?.st_mode & 0o7777))
    }

    /// mount(2) changes mount and file system at once, and is told where by the directory that we are in: a path could be swapped.
    pub(super) fn remount(&mut self, remount: &Remount) -> Result<(), Errno> {
        self.fresh = None;
        let found = until_exec(beneath::find(self.root()?, remount.target.path())?);
        if remount.off_proc {
            refuse_procfs(found)?;
        }
        match &remount.to {
            RemountTo::Mount(to) => {
                let Remount { recursive, inherited, .. } = remount;
                inherited::set_attributes(found, Some(to), recursive, *inherited)?;
            }
            RemountTo::FileSystem(to) => {
                self.go_into(found)?;
                mount_remount(c".", MountFlags::from_bits_retain(to.flags), &*to.data)?;
                self.within = None;
                rustix::process::chdir(c"/")?;
                if !remount.recursive.is_empty() {
                    attr::set_attributes(found, &remount.recursive, true)?;
                }
            }
        }
        set_propagation(found, &remount.propagation)
    }

    pub(super) fn read_only_mounts(&self) -> Result<(), Errno> {
        self.read_only_last
            .iter()
            .try_for_each(|mount| attr::set_attributes(*mount, &read_only(), false))
    }

    /// The names are made in the tmpfs through its own fd, and mounted on from inside it: nobody else has seen it yet. What holds for
    /// all of them is set once, when they are there.
    pub(super) fn cgroups(&mut self, cgroups: &Cgroups) -> Result<(), Errno> {
        let tmpfs = self.mount_new(&cgroups.tmpfs)?;
        self.go_into(tmpfs)?;
        for Hierarchy { name, from } in &cgroups.hierarchies {
            rustix::fs::mkdirat(tmpfs, &**name, Mode::from_raw_mode(0o755))?;
            match from {
                HierarchySource::Mount { kind, data } => {
                    mount(&**kind, &**name, &**kind, MountFlags::empty(), &**data)?;
                }
                HierarchySource::Bind(path) => mount_bind(&**path, &**name)?,
            }
        }
        for (link, to) in &cgroups.links {
            rustix::fs::symlinkat(&**to, tmpfs, &**link)?;
        }
        match attr::set_attributes(tmpfs, &cgroups.attributes, true) {
            // In a user namespace nothing can be left out that the host's mounts have.
            Err(Errno::PERM) => {
                let attributes = Attributes { clear: 0, ..cgroups.attributes };
                attr::set_attributes(tmpfs, &attributes, true)
            }
            set => set,
        }
    }

    pub(super) fn bind(&mut self, bind: &Bind, step: usize) -> Result<(), Errno> {
        self.fresh = None;
        let tree = self.tree(bind.source)?;
        let kind = kind_of(tree)?;
        if bind.copy_link && kind == FileType::Symlink {
            return self.copy_link(tree, bind);
        }
        let id_map = self.resources.sources[bind.source].id_map.as_ref();
        if id_map.is_some_and(|id_map| id_map.by_parent) {
            Message::Tree { step, fd: tree.as_raw_fd() }.send(self.peer)?;
            wire::wait_go(self.peer)?;
        }
        // Before it is attached: nobody else can see a detached tree, and in a user namespace its flags are locked afterwards.
        set_propagation(tree, &bind.propagation)?;
        let own = Some(&bind.attributes).filter(|own| !own.is_empty());
        if own.is_some() || !bind.recursive.is_empty() {
            inherited::set_attributes(tree, own, &bind.recursive, bind.inherited)?;
        }
        let (root, is_file) = (self.root()?, kind != FileType::Directory);
        let target = match bind.over_link {
            true => bind.target.ensure_itself(root, is_file),
            false => bind.target.ensure(root, is_file),
        };
        let target = until_exec(target?);
        if bind.off_proc {
            refuse_procfs(target)?;
        }
        attach_to_its_like(tree, target)
    }

    /// One that is there already has to lead where the source does.
    fn copy_link(&self, source: BorrowedFd<'_>, bind: &Bind) -> Result<(), Errno> {
        let (root, (way, name)) = (self.root()?, bind.target.split().ok_or(Errno::EXIST)?);
        let to = rustix::fs::readlinkat(source, c"", Vec::new())?;
        let way = beneath::Target::new(way.to_bytes()).map_err(|_| Errno::INVAL)?;
        let parent = until_exec(way.ensure(root, false)?);
        if bind.off_proc {
            refuse_procfs(parent)?;
        }
        match rustix::fs::symlinkat(&*to, parent, name) {
            Err(Errno::EXIST) => match rustix::fs::readlinkat(parent, name, Vec::new()) {
                Ok(there) if there == to => Ok(()),
                _ => Err(Errno::EXIST),
            },
            made => made,
        }
    }

    pub(super) fn read_only_root(&self) -> Result<(), Errno> {
        attr::set_attributes(self.root()?, &read_only(), false)
    }

    pub(super) fn device(&mut self, device: &'a Device) -> Result<(), Errno> {
        if let Some(source) = device.bind {
            let restrict = restriction(&device.target);
            let tree = self.tree(source)?;
            if !device.may_replace && !is_device(&rustix::fs::fstat(tree)?, device) {
                return Err(Errno::NXIO);
            }
            let target = until_exec(device.target.ensure_with(self.root()?, true, restrict)?);
            return attach(tree, target);
        }
        let (parent, name) = self.directory_of(&device.target)?;
        let number = makedev(device.major, device.minor);
        let mode = Mode::from_raw_mode(device.mode);
        match rustix::fs::mknodat(parent, name, device.kind, mode, number) {
            Err(Errno::EXIST) => replace(parent, name, device, number)?,
            made => made?,
        }
        if device.uid != 0 || device.gid != 0 {
            let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
            rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    pub(super) fn symlink(&mut self, target: &'a Target, to: &CStr) -> Result<(), Errno> {
        let (parent, name) = self.directory_of(target)?;
        match rustix::fs::symlinkat(to, parent, name) {
            Err(Errno::EXIST) => Ok(()),
            made => made,
        }
    }

    /// The directory in which a target lies, made if it is missing. The last one is kept: no mount comes between devices and
    /// links, so that the same path would lead to the same place.
    fn directory_of(
        &mut self,
        target: &'a Target,
    ) -> Result<(BorrowedFd<'static>, &'a CStr), Errno> {
        let root = self.root()?;
        let (path, name) = target.split().ok_or(Errno::EXIST)?;
        if let Some((known, directory)) = self.directory
            && known == path
        {
            return Ok((directory, name));
        }
        let restrict = restriction(target);
        let fresh = self.fresh.filter(|(fresh, _)| *fresh == path);
        let directory = match fresh {
            Some((_, tmpfs)) => Ok(tmpfs),
            None => target.parent(root, restrict).map(until_exec),
        };
        let directory = match directory {
            Err(Errno::NOENT) => {
                target.ensure_parent(root)?;
                until_exec(target.parent(root, restrict)?)
            }
            found => found?,
        };
        self.directory = Some((path, directory));
        Ok((directory, name))
    }

    /// pivot_root(".", ".") puts the old root on top of the new one, from where it is taken away at once: no directory for it has
    /// to be made in the image (pivot_root(2), NOTES).
    pub(super) fn pivot(&mut self, shared: bool) -> Result<(), Errno> {
        let old = match shared {
            true => Some(rustix::fs::open(
                c"/",
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )?),
            false => None,
        };
        rustix::process::fchdir(self.root()?)?;
        rustix::process::pivot_root(c".", c".")?;
        (self.within, self.at_root) = (None, true);
        if let Some(old) = &old {
            // What is unmounted here must not be unmounted on the host, whose peer the old root still is. From inside
            // it, because `.` is the new root here, whose shared mounts are to stay so.
            rustix::process::fchdir(old)?;
            mount_change(c".", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
        }
        unmount(c".", UnmountFlags::DETACH)?;
        // Else we are in the new root, and have been since before it was that.
        if old.is_some() { self.enter_root() } else { Ok(()) }
    }

    fn enter_root(&mut self) -> Result<(), Errno> {
        (self.within, self.at_root) = (None, true);
        rustix::process::chdir(c"/")
    }

    /// Where the host's root is an initramfs, there is nothing to pivot to: the root is moved over `/` instead. What stays below
    /// it is reachable for a container with CAP_SYS_CHROOT and CAP_SYS_ADMIN, as with every runtime's `--no-pivot`.
    pub(super) fn move_root(&mut self, bare: &[RootPath]) -> Result<(), Errno> {
        bare.iter().try_for_each(take_away)?;
        rustix::process::fchdir(self.root()?)?;
        rustix::process::chroot(c".")?;
        self.enter_root()
    }

    pub(super) fn chroot(&mut self, path: &CStr) -> Result<(), Errno> {
        let root = rustix::fs::open(
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        rustix::process::fchdir(&root)?;
        rustix::process::chroot(c".")?;
        self.root = Some(until_exec(root));
        Ok(())
    }
}

/// What is made in /dev is made there and nowhere else: a /dev that is a link of the image could lead into a volume, and to files of the
/// host that go by the names of devices (CVE-2026-41579, CVE-2026-47766).
fn restriction(target: &Target) -> ResolveFlags {
    let in_dev = target.path().to_bytes().starts_with(b"dev/");
    if in_dev { ResolveFlags::NO_SYMLINKS } else { ResolveFlags::empty() }
}

pub(super) fn read_only() -> Attributes {
    Attributes { set: attr::RDONLY, ..Attributes::default() }
}

/// Permission bits as the value of an option, with the NUL that ends it. They are known only when the target is found.
fn octal(mode: u32) -> [u8; 5] {
    let digit = |shift: u32| b'0' + (mode >> shift & 7) as u8;
    [digit(9), digit(6), digit(3), digit(0), 0]
}

/// A link of the image has led to /proc, where only what the bundle puts there by name may be (CVE-2019-16884, CVE-2019-19921).
fn refuse_procfs(target: BorrowedFd<'_>) -> Result<(), Errno> {
    if is_procfs(target)? { Err(Errno::LOOP) } else { Ok(()) }
}

/// Whether that is the null device, wherever it lies.
pub(super) fn is_null_device(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == makedev(1, 3)
}

/// Whether the node that the host has at the path of a device is the one that config.json means by type and numbers.
fn is_device(stat: &Stat, device: &Device) -> bool {
    FileType::from_raw_mode(stat.st_mode) == device.kind
        && stat.st_rdev == makedev(device.major, device.minor)
}

pub(super) fn is_procfs(found: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(u64::try_from(rustix::fs::fstatfs(found)?.f_type) == Ok(PROCFS))
}

/// Something of the image lies where a device is to be made. The device itself, and what the bundle mounted there, are left;
/// anything else is taken away, not followed (CVE-2026-88265), or is the error that the specification asks for.
fn replace(parent: BorrowedFd<'_>, name: &CStr, device: &Device, number: u64) -> Result<(), Errno> {
    let found = statx(parent, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)?;
    let is_it = FileType::from_raw_mode(found.stx_mode.into()) == device.kind
        && makedev(found.stx_rdev_major, found.stx_rdev_minor) == number;
    if is_it || found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Ok(());
    }
    if !device.may_replace {
        return Err(Errno::EXIST);
    }
    rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
    rustix::fs::mknodat(parent, name, device.kind, Mode::from_raw_mode(device.mode), number)
}

/// A detached copy of the mount at a path, kept open until the exec.
pub(super) fn clone_tree(
    at: BorrowedFd<'_>,
    path: &CStr,
    recursive: bool,
) -> Result<BorrowedFd<'static>, Errno> {
    attr::clone_tree(at, path, &Attributes::default(), recursive).map(until_exec)
}

/// Takes a procfs or sysfs of the host away from below the root, or covers it where a user namespace has it locked (as in runc). What
/// went with another mount, or is covered itself, is left.
fn take_away(bare: &RootPath) -> Result<(), Errno> {
    match rustix::fs::statfs(&*bare.path) {
        Ok(found) if [PROCFS, SYSFS].contains(&(found.f_type as u64)) => {}
        Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => return Ok(()),
        Err(errno) => return Err(errno),
    }
    // What is unmounted below a shared mount goes on the host too.
    make_private(bare.above.get(1..).unwrap_or_default())?;
    match unmount(&*bare.path, UnmountFlags::DETACH) {
        Err(Errno::INVAL | Errno::PERM) => {
            mount(c"tmpfs", &*bare.path, c"tmpfs", MountFlags::RDONLY, c"")
        }
        done => done,
    }
}

/// Makes the mount private that a path is on: of the path and the directories above it, the first that a mount is attached to. The
/// kernel tells a directory of no mount by `EINVAL` (mount(2)).
fn make_private(above: &[CString]) -> Result<(), Errno> {
    for directory in above {
        match mount_change(&**directory, MountPropagationFlags::PRIVATE) {
            Err(Errno::INVAL) => {}
            changed => return changed,
        }
    }
    Ok(())
}

/// Attaches a detached tree on what an fd refers to.
pub(super) fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, c"", target, c"", flags)
}

/// [`attach`] with mount(2)'s word for a directory on a file, or the reverse, which engines look for: `ENOTDIR`. move_mount(2) has EINVAL
/// for that and for much else.
fn attach_to_its_like(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let is_directory = |fd| kind_of(fd).map(|kind| kind == FileType::Directory);
    match attach(tree, target) {
        Err(Errno::INVAL) if is_directory(tree)? != is_directory(target)? => Err(Errno::NOTDIR),
        attached => attached,
    }
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
