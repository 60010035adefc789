//! mount_setattr(2) and open_tree_attr, which rustix lacks.

use crate::{Result, check};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Attributes to change on a mount: `struct mount_attr`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `MOUNT_ATTR_*` bits to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` bits to clear; the access-time bits are one field, cleared as a whole.
    pub clear: u64,
    /// One of `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`, or 0 to leave it.
    pub propagation: u64,
}

impl Attributes {
    /// Nothing to change.
    pub fn is_empty(&self) -> bool {
        *self == Attributes::default()
    }
}

/// `MOUNT_ATTR_RDONLY`
pub const RDONLY: u64 = 0x1;
/// `MOUNT_ATTR_NOSUID`
pub const NOSUID: u64 = 0x2;
/// `MOUNT_ATTR_NODEV`
pub const NODEV: u64 = 0x4;
/// `MOUNT_ATTR_NOEXEC`
pub const NOEXEC: u64 = 0x8;
/// `MOUNT_ATTR__ATIME`: the field that the next three are values of
pub const ATIME_FIELD: u64 = 0x70;
/// `MOUNT_ATTR_RELATIME`
pub const RELATIME: u64 = 0x0;
/// `MOUNT_ATTR_NOATIME`
pub const NOATIME: u64 = 0x10;
/// `MOUNT_ATTR_STRICTATIME`
pub const STRICTATIME: u64 = 0x20;
/// `MOUNT_ATTR_NODIRATIME`
pub const NODIRATIME: u64 = 0x80;
/// `MOUNT_ATTR_IDMAP`
pub const IDMAP: u64 = 0x0010_0000;
/// `MOUNT_ATTR_NOSYMFOLLOW`
pub const NOSYMFOLLOW: u64 = 0x0020_0000;

/// `struct mount_attr`, version 0: the kernel reads exactly this layout.
#[repr(C)]
struct Raw {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

impl Raw {
    fn of(attributes: &Attributes) -> Raw {
        let Attributes { set, clear, propagation } = *attributes;
        Raw { set, clear, propagation, userns_fd: 0 }
    }
}

/// Changes the mount behind `fd`, or with `recursive` the whole tree below it.
///
/// # Errors
/// `EINVAL` when the fd is not the root of a mount; `EPERM` for a flag that is locked by a more privileged mount
/// namespace (mount_namespaces(7)).
pub fn set_attributes(fd: BorrowedFd<'_>, attributes: &Attributes, recursive: bool) -> Result<()> {
    set(fd, c"", Raw::of(attributes), recursive)
}

/// [`set_attributes`] for the mount at `path` under `at`: links are followed, and nothing keeps the path from being swapped.
///
/// # Errors
/// As there; `ENOENT` and others of path_resolution(7).
pub fn set_attributes_at(
    at: BorrowedFd<'_>,
    path: &CStr,
    attributes: &Attributes,
    recursive: bool,
) -> Result<()> {
    set(at, path, Raw::of(attributes), recursive)
}

/// A detached copy of what is mounted at `path` under `at`, or of `at` itself for an empty path, with changed attributes, if any. One call
/// since Linux 6.15 (open_tree_attr), two before.
///
/// # Errors
/// As open_tree(2) and [`set_attributes`].
pub fn clone_tree(
    at: BorrowedFd<'_>,
    path: &CStr,
    attributes: &Attributes,
    recursive: bool,
) -> Result<OwnedFd> {
    static MISSING: AtomicBool = AtomicBool::new(false);
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_EMPTY_PATH, path.is_empty());
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    if attributes.is_empty() {
        return open_tree(at, path, flags);
    }
    if !MISSING.load(Ordering::Relaxed) {
        match open_tree_attr(at, path, flags, attributes) {
            // Unknown, to the kernel or to a filter that we run under: not asked for again.
            Err(Errno::NOSYS) => MISSING.store(true, Ordering::Relaxed),
            Err(Errno::PERM) => {}
            opened => return opened,
        }
    }
    let tree = open_tree(at, path, flags)?;
    set_attributes(tree.as_fd(), attributes, recursive)?;
    Ok(tree)
}

fn open_tree_attr(
    at: BorrowedFd<'_>,
    path: &CStr,
    flags: OpenTreeFlags,
    attributes: &Attributes,
) -> Result<OwnedFd> {
    /// The same number for every architecture.
    const OPEN_TREE_ATTR: libc::c_long = 467;
    let attr = Raw::of(attributes);
    // SAFETY: the fd is open for the length of the call, the path is a C string, and `attr` is a `struct mount_attr` of the size that
    // is passed with it.
    let opened = check(unsafe {
        libc::syscall(
            OPEN_TREE_ATTR,
            at.as_raw_fd(),
            path.as_ptr(),
            flags.bits(),
            &raw const attr,
            size_of::<Raw>(),
        )
    })?;
    let fd = RawFd::try_from(opened).map_err(|_| Errno::OVERFLOW)?;
    // SAFETY: the kernel has just made this fd, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Gives a detached mount the id mapping of a user namespace (Linux 5.12).
///
/// # Errors
/// `EINVAL` when the file system cannot be idmapped or the mount is attached; `EPERM` when it is mapped already.
pub fn set_idmap(
    fd: BorrowedFd<'_>,
    user_namespace: BorrowedFd<'_>,
    recursive: bool,
) -> Result<()> {
    let userns_fd = user_namespace.as_raw_fd().cast_unsigned().into();
    set(fd, c"", Raw { set: IDMAP, clear: 0, propagation: 0, userns_fd }, recursive)
}

fn set(at: BorrowedFd<'_>, path: &CStr, attr: Raw, recursive: bool) -> Result<()> {
    const AT_RECURSIVE: libc::c_int = 0x8000;
    let flags = libc::AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the fd is open for the length of the call, the path is a C string, and `attr` is a `struct mount_attr` of the
    // size that is passed with it.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            at.as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const attr,
            size_of::<Raw>(),
        )
    };
    check(ret).map(drop)
}
