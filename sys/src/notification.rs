//! seccomp user notification (seccomp_unotify(2)), from the side of who decides.

use crate::{Result, check};
use std::os::fd::{AsRawFd, BorrowedFd};

/// A system call that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Names it in the answer.
    pub id: u64,
    /// The thread that made it, as the caller sees it; 0 when it cannot.
    pub pid: u32,
    /// Its number.
    pub number: i32,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// The next system call, waiting for one.
///
/// # Errors
/// `ENOENT` when the caller was killed meanwhile; `EINTR`.
pub fn next(listener: BorrowedFd<'_>) -> Result<Notification> {
    // SAFETY: all zeros is a valid value of this plain struct of integers, and the one that the kernel asks for.
    let mut got: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    let request = ioctl::<libc::seccomp_notif>(READ | WRITE, 0);
    // SAFETY: the request writes one struct of this type, whose size it carries, to the live local behind the pointer.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw mut got) }.into())?;
    let (number, arguments) = (got.data.nr, got.data.args);
    Ok(Notification { id: got.id, pid: got.pid, number, arguments })
}

/// What becomes of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It returns this.
    Value(i64),
    /// It fails with this errno.
    Error(i32),
    /// It is carried out: for calls whose arguments decide nothing, since they may be changed after they were looked at.
    Continue,
}

/// Answers a system call.
///
/// # Errors
/// `ENOENT` when its caller is gone.
pub fn answer(listener: BorrowedFd<'_>, id: u64, answer: Answer) -> Result<()> {
    const CONTINUE: u32 = 1;
    let (val, error, flags) = match answer {
        Answer::Value(value) => (value, 0, 0),
        Answer::Error(errno) => (0, -errno, 0),
        Answer::Continue => (0, 0, CONTINUE),
    };
    let mut response = libc::seccomp_notif_resp { id, val, error, flags };
    let request = ioctl::<libc::seccomp_notif_resp>(READ | WRITE, 1);
    // SAFETY: the request reads one struct of this type, whose size it carries, from the live local behind the pointer.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw mut response) }.into()).map(drop)
}

const WRITE: u32 = 1;
const READ: u32 = 2;

/// The number of a request: `_IOC(direction, '!', number, size)` (ioctl(2), linux/seccomp.h).
const fn ioctl<T>(direction: u32, number: u32) -> libc::Ioctl {
    let size = size_of::<T>() as u32;
    ((direction << 30) | (size << 16) | (0x21 << 8) | number) as libc::Ioctl
}

const _: () = assert!(ioctl::<libc::seccomp_notif>(READ | WRITE, 0) as u32 == 0xc050_2100);
const _: () = assert!(ioctl::<libc::seccomp_notif_resp>(READ | WRITE, 1) as u32 == 0xc018_2101);
