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

use rustix::fs::{FileType, Mode, OFlags, fstat, major, minor};
use rustix::io::Errno;
use rustix::termios::isatty;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// What may be written at a time to a file that can block.
const AT_A_TIME: usize = 1024;

/// Our stdout.
#[derive(Debug)]
pub(super) struct Output {
    own: Option<OwnedFd>,
}

impl Output {
    pub(super) fn open() -> Output {
        Output { own: reopen(rustix::stdio::stdout()) }
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

/// The same pipe or terminal as an open file of our own that does not block.
fn reopen(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
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
        let own = reopen(writer.as_fd()).unwrap();
        assert!(fcntl_getfl(&own).unwrap().contains(OFlags::NONBLOCK));
        assert!(!fcntl_getfl(&writer).unwrap().contains(OFlags::NONBLOCK));
        let mut got = [0; 4];
        rustix::io::write(&own, b"same").unwrap();
        rustix::io::read(&reader, &mut got).unwrap();
        assert_eq!(&got, b"same");
    }

    #[test]
    fn what_is_not_the_same_when_opened_again_is_left() {
        let file = tempfile::tempfile().unwrap();
        assert!(reopen(file.as_fd()).is_none(), "it would begin at its start");
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        assert!(reopen(master.as_fd()).is_none(), "it would be another terminal");
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(reopen(socket.as_fd()).is_none());
    }
}
