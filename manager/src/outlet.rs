//! Our own stdout and stderr, written to without ever waiting for whoever reads them.
//!
//! A client that waits in write(2) hears no signal meanwhile. The descriptors that we were given are not ours to make
//! non-blocking: the flag belongs to the open file, and others who share it would fail. So a pipe or a terminal is
//! opened once more, which makes the flag our own; a socket is told with each call; and what cannot be opened again is
//! asked for room first and given no more than that surely holds. What was not taken waits here, one chunk at most.

use crate::error::{Error, Result};
use crate::stream::Stream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use rustix::stdio;
use rustix::termios::isatty;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use sys::fd::reopen_to_write;

/// PIPE_BUF: a pipe that has room at all takes so much at once.
const SURELY_TAKEN: usize = 4096;

/// How one descriptor is written to.
enum Way {
    /// A file, or a device like `/dev/null`: there is no reader to wait for.
    Whole,
    /// By an open file of our own, which does not block.
    Own(OwnedFd),
    Socket,
    Bounded,
}

/// One of the two.
struct Outlet {
    fd: BorrowedFd<'static>,
    way: Way,
}

impl Outlet {
    fn new(fd: BorrowedFd<'static>) -> Self {
        let kind = fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let way = match kind {
            Ok(FileType::Socket) => Way::Socket,
            Ok(FileType::CharacterDevice) if !isatty(fd) => Way::Whole,
            Ok(FileType::Fifo | FileType::CharacterDevice) => {
                reopen_to_write(fd).map_or(Way::Bounded, Way::Own)
            }
            _ => Way::Whole,
        };
        Self { fd, way }
    }

    /// Where it is seen whether it has room.
    fn watched(&self) -> BorrowedFd<'_> {
        match &self.way {
            Way::Own(own) => own.as_fd(),
            Way::Whole | Way::Socket | Way::Bounded => self.fd,
        }
    }

    /// Writes what it takes now, perhaps nothing.
    fn write(&self, bytes: &[u8]) -> std::result::Result<usize, Errno> {
        let written = match &self.way {
            Way::Whole => rustix::io::write(self.fd, bytes),
            Way::Own(own) => rustix::io::write(own, bytes),
            Way::Socket => send(self.fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Way::Bounded if has_room(self.fd) => {
                rustix::io::write(self.fd, &bytes[..bytes.len().min(SURELY_TAKEN)])
            }
            Way::Bounded => Ok(0),
        };
        match written {
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            written => written,
        }
    }
}

fn has_room(fd: BorrowedFd<'_>) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut [PollFd::new(&fd, PollFlags::OUT)], Some(&now)), Ok(ready) if ready > 0)
}

/// Both, and what one of them has not taken yet.
pub struct Outlets {
    outlets: [Outlet; 2],
    stream: Stream,
    waiting: Vec<u8>,
}

impl Outlets {
    /// Those of this process.
    #[must_use]
    pub fn new() -> Self {
        Self::of(stdio::stdout(), stdio::stderr())
    }

    /// Both lead to stderr.
    #[must_use]
    pub fn on_stderr() -> Self {
        Self::of(stdio::stderr(), stdio::stderr())
    }

    fn of(stdout: BorrowedFd<'static>, stderr: BorrowedFd<'static>) -> Self {
        let outlets = [Outlet::new(stdout), Outlet::new(stderr)];
        Self { outlets, stream: Stream::Stdout, waiting: Vec::new() }
    }

    /// Whether something waits: nothing more is to be written until it was taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What to wait for while it is full.
    #[must_use]
    pub fn room(&self) -> Option<PollFd<'_>> {
        let outlet = &self.outlets[self.stream as usize];
        self.is_full().then(|| PollFd::from_borrowed_fd(outlet.watched(), PollFlags::OUT))
    }

    /// Writes one chunk, of which the rest waits.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<()> {
        self.stream = stream;
        let taken = self.push(bytes)?;
        self.waiting.extend_from_slice(&bytes[taken..]);
        Ok(())
    }

    /// Writes of what waits as much as is taken now.
    pub fn flush(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let taken = self.push(&waiting)?;
        self.waiting = waiting;
        self.waiting.drain(..taken);
        Ok(())
    }

    fn push(&self, bytes: &[u8]) -> Result<usize> {
        let outlet = &self.outlets[self.stream as usize];
        let mut taken = 0;
        while taken < bytes.len() {
            match outlet.write(&bytes[taken..]) {
                Ok(0) => break,
                Ok(written) => taken += written,
                Err(errno) => return Err(Error::Unwritten(errno.into())),
            }
        }
        Ok(taken)
    }
}

impl Default for Outlets {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::fcntl_getfl;
    use rustix::io::ioctl_fionread;

    /// For as long as the test's process: an outlet is for descriptors that are never closed.
    fn kept(fd: OwnedFd) -> BorrowedFd<'static> {
        let kept: &'static OwnedFd = Box::leak(Box::new(fd));
        kept.as_fd()
    }

    fn fill_and_empty(writer: BorrowedFd<'static>, reader: &OwnedFd, bounded: bool) {
        let before = fcntl_getfl(writer).unwrap();
        let mut outlets = Outlets::of(writer, writer);
        if bounded {
            outlets.outlets[0].way = Way::Bounded;
        }
        let chunk: Vec<u8> = (0..=250).cycle().take(30_011).collect();
        let mut written = Vec::new();
        while !outlets.is_full() {
            outlets.write(Stream::Stdout, &chunk).unwrap();
            written.extend_from_slice(&chunk);
        }
        outlets.flush().unwrap();
        assert!(outlets.is_full(), "nobody has read");
        assert!(!has_room(outlets.room().unwrap().as_fd()));
        assert_eq!(fcntl_getfl(writer).unwrap(), before, "others write there, too");
        let (mut read, mut buffer) = (Vec::new(), vec![0; 50_000]);
        while outlets.is_full() || ioctl_fionread(reader).unwrap() > 0 {
            let length = rustix::io::read(reader, buffer.as_mut_slice()).unwrap();
            read.extend_from_slice(&buffer[..length]);
            outlets.flush().unwrap();
        }
        assert!(read == written);
    }

    #[test]
    fn a_pipe_or_a_socket_that_is_full_is_not_waited_for_and_nothing_is_lost() {
        let pipe = || rustix::pipe::pipe().unwrap();
        for bounded in [false, true] {
            let (reader, writer) = pipe();
            fill_and_empty(kept(writer), &reader, bounded);
        }
        let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        fill_and_empty(kept(a.into()), &b.into(), false);
    }

    #[test]
    fn a_pipe_that_nobody_reads_any_more_is_an_error() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let mut outlets = Outlets::of(kept(writer), stdio::stderr());
        drop(reader);
        assert!(outlets.write(Stream::Stdout, b"x").is_err());
    }
}
