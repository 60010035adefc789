//! The paths that the container's processes may not write to, or not even see: `readonlyPaths` and `maskedPaths`.
//!
//! Most of them are names right in procfs, where nobody but the kernel can put anything: with that as the working directory a name may
//! be given to one call after another. Any other path is found once, under the root, and what covers it is attached to what was found.

use super::Child;
use super::file_systems::{attach, clone_tree, is_null_device, is_procfs, read_only};
use crate::plan::mounts::Label;
use crate::plan::op::Mask;
use rustix::fs::{Access, CWD};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, mount_bind, mount_bind_recursive, move_mount,
};
use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};
use sys::beneath::{self, Target};
use sys::fd::until_exec;
use sys::mount as attr;

/// What paths are hidden behind, and where most of them are.
#[derive(Default)]
pub(super) struct Protection {
    /// An attached empty read-only file system, of which directories are given further views.
    empty: Option<BorrowedFd<'static>>,
    /// The container's /dev/null, checked to be one.
    null: Option<BorrowedFd<'static>>,
    /// Detached trees for the next directory and the next file: what was made for a path that this host does not have.
    spare: [Option<BorrowedFd<'static>>; 2],
    /// The container's procfs; `Some(None)` where it has none.
    procfs: Option<Option<BorrowedFd<'static>>>,
    /// That procfs is known to lead to what we have open.
    leads_to_us: bool,
}

/// Where a cover goes.
#[derive(Clone, Copy)]
enum Place<'p> {
    /// On a name in the procfs that is the working directory, if it is there.
    Name(&'p CStr),
    /// On what was found.
    Found(BorrowedFd<'static>),
}

impl Child<'_> {
    /// Whatever lies at the target is covered by a read-only view of itself.
    pub(super) fn read_only(&mut self, target: &Target) -> Result<(), Errno> {
        if let Some(name) = self.name_in_procfs(target)? {
            return match mount_bind_recursive(name, name) {
                Err(Errno::NOENT) => Ok(()),
                bound => {
                    bound?;
                    attr::set_attributes_at(CWD, name, &read_only(), true)
                }
            };
        }
        let Some(found) = self.found(target)? else { return Ok(()) };
        let tree = until_exec(attr::clone_tree(found, c"", &read_only(), true)?);
        attach(tree, found)
    }

    /// Which of the two it is need not be asked where the plan has guessed right: the kernel refuses to cover a file with a directory,
    /// and the reverse (move_mount(2)). Only what is refused by attaching says so: a label that is not known is EINVAL, too.
    pub(super) fn hide(&mut self, mask: &Mask) -> Result<(), Errno> {
        let Mask { target, directory, label } = mask;
        let place = match self.name_in_procfs(target)? {
            Some(name) => Place::Name(name),
            None => match self.found(target)? {
                Some(found) => Place::Found(found),
                None => return Ok(()),
            },
        };
        match self.cover(place, *directory, label.as_ref())? {
            Err(Errno::INVAL | Errno::NOTDIR) => self.cover(place, !directory, label.as_ref())?,
            attached => attached,
        }
    }

    /// Covers a directory with an empty one, or a file with /dev/null. The result within is that of attaching what was made for it.
    fn cover(
        &mut self,
        place: Place<'_>,
        directory: bool,
        label: Option<&Label>,
    ) -> Result<Result<(), Errno>, Errno> {
        match self.bind_over(place, directory) {
            Ok(false) => {}
            bound => return Ok(bound.map(|_| ())),
        }
        let tree = self.cover_tree(directory, label)?;
        let attached = match place {
            Place::Found(found) => attach(tree, found),
            Place::Name(name) => {
                let (from, to) = (
                    MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
                    MoveMountFlags::MOVE_MOUNT_T_SYMLINKS,
                );
                move_mount(tree, c"", CWD, name, from | to)
            }
        };
        if attached.is_ok() {
            self.protection.spare[usize::from(directory)] = None;
            if directory {
                self.protection.empty.get_or_insert(tree);
            }
        }
        match (attached, place) {
            (Err(Errno::NOENT), Place::Name(_)) => Ok(Ok(())),
            (attached, _) => Ok(attached),
        }
    }

    /// The same in one call: what is attached elsewhere and open is bound by its name in procfs. `false` where that cannot be: for the
    /// first directory, and where the procfs is that of a pid namespace that we are not in, or is not known to lead to us.
    fn bind_over(&mut self, place: Place<'_>, directory: bool) -> Result<bool, Errno> {
        let cover = if directory { self.protection.empty } else { Some(self.null_device()?) };
        let Some(cover) = cover.map(by_name) else { return Ok(false) };
        let name = match place {
            Place::Name(name) => Cow::Borrowed(name),
            Place::Found(found) if self.go_to_ourselves()? => Cow::Owned(by_name(found)),
            Place::Found(_) => return Ok(false),
        };
        match mount_bind(&*cover, &*name) {
            // Of which of the two names, the kernel does not say.
            Err(Errno::NOENT) => {
                let exists = || rustix::fs::access(&*cover, Access::EXISTS).is_ok();
                self.protection.leads_to_us = self.protection.leads_to_us || exists();
                Ok(self.protection.leads_to_us)
            }
            bound => bound.map(|()| true),
        }
    }

    /// Goes into the procfs that is known to lead to what we have open, if there is one.
    fn go_to_ourselves(&mut self) -> Result<bool, Errno> {
        match self.protection.procfs.flatten().filter(|_| self.protection.leads_to_us) {
            Some(procfs) => self.go_into(procfs).map(|()| true),
            None => Ok(false),
        }
    }

    /// A detached tree that hides a directory or a file. Before Linux 6.15 only what is attached can be cloned.
    fn cover_tree(
        &mut self,
        directory: bool,
        label: Option<&Label>,
    ) -> Result<BorrowedFd<'static>, Errno> {
        if let Some(spare) = self.protection.spare[usize::from(directory)] {
            return Ok(spare);
        }
        let tree = match self.protection.empty {
            Some(empty) if directory => clone_tree(empty, c"", false)?,
            None if directory => empty_directory(label)?,
            _ => clone_tree(self.null_device()?, c"", false)?,
        };
        self.protection.spare[usize::from(directory)] = Some(tree);
        Ok(tree)
    }

    /// The target as a name in the container's procfs, which is the working directory then; `None` where it is anywhere else.
    fn name_in_procfs<'t>(&mut self, target: &'t Target) -> Result<Option<&'t CStr>, Errno> {
        let Some((_, name)) = target.split().filter(|(above, _)| *above == c"proc") else {
            return Ok(None);
        };
        let procfs = match self.protection.procfs {
            Some(known) => known,
            None => *self.protection.procfs.insert(find_procfs(self.root()?)?),
        };
        let Some(procfs) = procfs else { return Ok(None) };
        self.go_into(procfs)?;
        Ok(Some(name))
    }

    /// A path that a config.json protects on many hosts, and that this one may not have.
    pub(super) fn found(&self, target: &Target) -> Result<Option<BorrowedFd<'static>>, Errno> {
        match beneath::find(self.root()?, target.path()) {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            found => found.map(until_exec).map(Some),
        }
    }

    /// The container's /dev/null, after making sure that it is one: an image could have a link to something of the host there
    /// (CVE-2025-31133).
    fn null_device(&mut self) -> Result<BorrowedFd<'static>, Errno> {
        if let Some(null) = self.protection.null {
            return Ok(null);
        }
        let null = until_exec(beneath::find(self.root()?, c"dev/null")?);
        if !is_null_device(&rustix::fs::fstat(null)?) {
            return Err(Errno::NXIO);
        }
        self.protection.null = Some(null);
        Ok(null)
    }
}

/// What an fd of ours refers to, from the root of a procfs that leads to us.
fn by_name(fd: BorrowedFd<'_>) -> CString {
    CString::new(format!("self/fd/{}", fd.as_raw_fd())).unwrap_or_default()
}

/// What is at /proc, if that is a procfs: what the image has there is not.
fn find_procfs(root: BorrowedFd<'_>) -> Result<Option<BorrowedFd<'static>>, Errno> {
    let found = match beneath::find(root, c"proc") {
        Err(Errno::NOENT) => return Ok(None),
        found => until_exec(found?),
    };
    Ok(is_procfs(found)?.then_some(found))
}

/// A detached mount of an empty read-only tmpfs.
fn empty_directory(label: Option<&Label>) -> Result<BorrowedFd<'static>, Errno> {
    let context = until_exec(fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?);
    if let Some(Label { parameter, label }) = label {
        fsconfig_set_string(context, &**parameter, &**label)?;
    }
    fsconfig_create(context)?;
    let attributes = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map(until_exec)
}
