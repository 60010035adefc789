//! File descriptors in bulk, and those that a parent handed down, which others may share.

use crate::{Result, check};
use rustix::fs::{FileType, Mode, OFlags, fstat, major, minor};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::termios::isatty;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// Sets close-on-exec on every fd from `first` on (close_range(2), Linux 5.11): the last line of defence against a leaked fd
/// (CVE-2024-21626).
///
/// # Errors
/// `ENOSYS` and `EINVAL` on kernels that lack the flag.
pub fn cloexec_from(first: u32) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: sets a flag only; no fd is closed, so no OwnedFd of ours is invalidated.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) })
        .map(drop)
}

/// Closes every fd from `first` on but those that are `kept`, with a system call for each gap between them.
///
/// Only for a process that ends in an exec or an exit and drops nothing of its own any more, as the child of a clone does: what held
/// the other fds must not be used again.
///
/// # Errors
/// `ENOSYS` before Linux 5.9.
pub fn close_others(first: u32, kept: &mut [u32]) -> Result<()> {
    kept.sort_unstable();
    let mut from = first;
    for &fd in kept.iter().filter(|fd| **fd >= first) {
        if let Some(before) = fd.checked_sub(1).filter(|before| *before >= from) {
            close_range(from, before)?;
        }
        from = fd.saturating_add(1);
    }
    close_range(from, u32::MAX)
}

/// Closes one fd, by the rule of [`close_others`]: nothing that is dropped owns it, and it must not be used again.
///
/// # Errors
/// `ENOSYS` before Linux 5.9.
pub fn close_given_up(fd: BorrowedFd<'_>) -> Result<()> {
    let number = fd.as_raw_fd().unsigned_abs();
    close_range(number, number)
}

fn close_range(first: u32, last: u32) -> Result<()> {
    const NO_FLAGS: libc::c_uint = 0;
    // SAFETY: no memory is involved, and the callers of the functions above have given up whatever owns these fds.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, NO_FLAGS) }).map(drop)
}

/// Keeps an fd open until the process execs or exits, without a close(2) of its own.
pub fn until_exec(fd: OwnedFd) -> BorrowedFd<'static> {
    let raw = fd.into_raw_fd();
    // SAFETY: ownership was given up in the line above, so that nothing in this process closes the fd any more.
    unsafe { BorrowedFd::borrow_raw(raw) }
}

/// Sends an fd over a unix socket, with a text that says what it is.
///
/// # Errors
/// `EPIPE` when nobody listens any more.
pub fn send(socket: BorrowedFd<'_>, name: &[u8], fd: BorrowedFd<'_>) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(socket, &[IoSlice::new(name)], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
}

/// Whether an fd was passed on by whoever started us: it is open, and, unlike our own, not close-on-exec.
#[must_use]
pub fn is_passed_on(number: RawFd) -> bool {
    // SAFETY: only borrowed for a look at its flags; it need not be open.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// Takes over an fd that the parent process passed by number, such as `--preserve-fds`, LISTEN_FDS or the far end of a
/// socket pair named on the command line. It is marked close-on-exec.
///
/// # Errors
/// `EBADF` when there is no such fd, or when it is not one that was passed on: our own are close-on-exec, and so is one that was
/// taken over already.
pub fn inherited(number: RawFd) -> Result<OwnedFd> {
    if !is_passed_on(number) {
        return Err(rustix::io::Errno::BADF);
    }
    // SAFETY: it is open, as the call above showed, and nobody's in this process: every fd of ours is close-on-exec (invariant of this
    // crate), which this one was not.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_setfd(fd.as_fd(), rustix::io::FdFlags::CLOEXEC)?;
    // SAFETY: as above; the flag that was set a moment ago makes a second call fail.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The same pipe or terminal as an open file of our own, to write to without blocking: `O_NONBLOCK` belongs to the open file, and whoever
/// shares the one that we were given would fail.
///
/// `None` for what is not the same when it is opened again (a socket, a file, the master of a terminal), and for what may not be.
#[must_use]
pub fn reopen_to_write(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    let stat = fstat(fd).ok()?;
    let same_again = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => true,
        // To open a master makes another terminal.
        FileType::CharacterDevice => {
            isatty(fd) && (major(stat.st_rdev), minor(stat.st_rdev)) != (5, 2)
        }
        _ => false,
    };
    if !same_again {
        return None;
    }
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::fcntl_getfl;
    use rustix::pipe::pipe;
    use rustix::pty::{OpenptFlags, openpt};

    #[test]
    fn a_pipe_is_opened_once_more_and_the_callers_stays_as_it_is() {
        let (reader, writer) = pipe().unwrap();
        let own = reopen_to_write(writer.as_fd()).unwrap();
        assert!(fcntl_getfl(&own).unwrap().contains(OFlags::NONBLOCK));
        assert!(!fcntl_getfl(&writer).unwrap().contains(OFlags::NONBLOCK));
        let mut got = [0; 4];
        rustix::io::write(&own, b"same").unwrap();
        rustix::io::read(&reader, &mut got).unwrap();
        assert_eq!(&got, b"same");
    }

    #[test]
    fn what_is_not_the_same_when_opened_again_is_left() {
        let file = rustix::fs::memfd_create("file", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        assert!(reopen_to_write(file.as_fd()).is_none(), "it would begin at its start");
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        assert!(reopen_to_write(master.as_fd()).is_none(), "it would be another terminal");
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(reopen_to_write(socket.as_fd()).is_none());
    }
}
