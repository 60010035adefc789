//! Leaving and joining namespaces.
//!
//! Both calls change the calling *thread* only. They are safe in Rust's sense because they never share or unshare memory or
//! file descriptors: `FILES` and `VM` are not representable here.

use crate::{Result, check};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A set of namespace kinds, as the `CLONE_NEW*` bits of clone(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kinds(u64);

impl Kinds {
    /// No namespace at all.
    pub const NONE: Kinds = Kinds(0);
    /// Mount points.
    pub const MOUNT: Kinds = Kinds(libc::CLONE_NEWNS as u64);
    /// Network devices, routes, sockets.
    pub const NETWORK: Kinds = Kinds(libc::CLONE_NEWNET as u64);
    /// Process ids; takes effect for children only.
    pub const PID: Kinds = Kinds(libc::CLONE_NEWPID as u64);
    /// System V IPC and POSIX message queues.
    pub const IPC: Kinds = Kinds(libc::CLONE_NEWIPC as u64);
    /// Host name and domain name.
    pub const UTS: Kinds = Kinds(libc::CLONE_NEWUTS as u64);
    /// User and group ids, capabilities.
    pub const USER: Kinds = Kinds(libc::CLONE_NEWUSER as u64);
    /// The root of the cgroup tree as seen from inside.
    pub const CGROUP: Kinds = Kinds(libc::CLONE_NEWCGROUP as u64);
    /// Boot and monotonic clocks; takes effect for children only.
    pub const TIME: Kinds = Kinds(0x80);

    /// The union of two sets.
    pub const fn union(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    /// This set without the kinds of `other`.
    pub const fn without(self, other: Kinds) -> Kinds {
        Kinds(self.0 & !other.0)
    }

    /// Whether every kind of `other` is in this set.
    pub const fn contains(self, other: Kinds) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set of these `CLONE_NEW*` bits; other bits are dropped.
    pub const fn from_bits(bits: u64) -> Kinds {
        const ALL: Kinds = Kinds::MOUNT
            .union(Kinds::NETWORK)
            .union(Kinds::PID)
            .union(Kinds::IPC)
            .union(Kinds::UTS)
            .union(Kinds::USER)
            .union(Kinds::CGROUP)
            .union(Kinds::TIME);
        Kinds(bits & ALL.0)
    }

    /// The `CLONE_NEW*` bits.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// Moves the calling thread into new namespaces of `kinds` (unshare(2)).
///
/// A new `MOUNT` namespace also gives the thread a working directory and root of its own (`CLONE_FS`).
///
/// # Errors
/// `EPERM` without the capabilities that namespaces(7) asks for; `EINVAL` for a new user namespace in a process with
/// several threads; `ENOSPC` where a limit in /proc/sys/user is reached.
pub fn unshare(kinds: Kinds) -> Result<()> {
    // SAFETY: the argument is a plain bit set, and none of the bits that `Kinds` can hold unshares memory or the table of
    // file descriptors, so that no reference or OwnedFd of this process changes its meaning.
    check(unsafe { libc::syscall(libc::SYS_unshare, kinds.bits()) }).map(drop)
}

/// Joins the namespace behind an fd of `/proc/PID/ns/KIND` (setns(2)); `kinds` is then its kind, which the kernel checks. Behind
/// a pidfd (Linux 5.8) `kinds` are those of that process to join, all or none.
///
/// # Errors
/// `EINVAL` when the fd is of another kind, or for a user namespace in a process with several threads; `EPERM` without
/// the capabilities that setns(2) asks for.
pub fn join(fd: BorrowedFd<'_>, kinds: Kinds) -> Result<()> {
    // SAFETY: fd is open for the length of the call, which BorrowedFd upholds; the other argument is a plain bit set.
    check(unsafe { libc::syscall(libc::SYS_setns, fd.as_raw_fd(), kinds.bits()) }).map(drop)
}

/// The user namespace in which another one was made, by an fd of `/proc/PID/ns/user` (ioctl_ns(2)).
///
/// # Errors
/// `EPERM` where that is out of the caller's sight: it is neither the caller's own nor below it.
pub fn parent(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    const NS_GET_PARENT: u64 = 0xb702;
    // SAFETY: fd is open for the length of the call, which BorrowedFd upholds; this request takes no argument.
    let raw = check(unsafe { libc::syscall(libc::SYS_ioctl, fd.as_raw_fd(), NS_GET_PARENT) })?;
    // SAFETY: the kernel has just made this descriptor (with O_CLOEXEC) for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as i32) })
}
