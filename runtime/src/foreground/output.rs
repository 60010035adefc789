//! Our stdout, written to without ever blocking: who waits in write(2) passes no signals on.
//!
//! `O_NONBLOCK` belongs to the open file, which we share with whoever gave it to us, so it is never set there. A pipe and a terminal
//! are opened once more, for a file of our own that has it. Where that is not possible (a socket; a pipe or a terminal of another user;
//! no /proc), little enough is written at a time, and only when poll(2) says that there is room. Why that is enough:
//!
//! - a pipe is ready when it has a free page, which takes `PIPE_BUF` bytes (pipe(7)), a socket when a good part of its buffer is free;
//! - a pseudo-terminal is ready as long as the kernel would allocate one more buffer, which holds 1792 bytes; a serial line when
//!   fewer than 256 bytes wait in its page;
//! - a regular file is always ready.
//!
//! Left are another writer that takes the room between the two calls, and a terminal that turns LF into CR LF, which ours does not in
//! raw mode: there a write waits for its reader as any program's does.

use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What may be written at a time to a file that can block.
const AT_A_TIME: usize = 1024;

/// Our stdout.
#[derive(Debug)]
pub(super) struct Output {
    own: Option<OwnedFd>,
}

impl Output {
    pub(super) fn open() -> Output {
        Output { own: sys::fd::reopen_to_write(rustix::stdio::stdout()) }
    }

    /// To wait for.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.own.as_ref().map_or(rustix::stdio::stdout(), AsFd::as_fd)
    }

    /// Writes the beginning of `bytes`, once poll(2) has said that there is room. Returns how much that was.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let most = if self.own.is_some() { bytes.len() } else { bytes.len().min(AT_A_TIME) };
        rustix::io::write(self.fd(), &bytes[..most])
    }
}
