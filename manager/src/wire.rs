//! The conversation between a monitor and an attached client: whole messages on a SOCK_SEQPACKET socket.
//!
//! One byte says what a message is, the rest is its payload; the kernel keeps the boundaries. Nothing is trusted to
//! be well-formed: a message that does not parse ends the conversation.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

/// The longest payload of one message.
pub const CHUNK: usize = 32 * 1024;

/// From the client to the monitor.
#[derive(Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Bytes for the container's stdin.
    Stdin(&'a [u8]),
    /// There will be no more of them.
    StdinEnd,
    /// The client's window has this size.
    Resize {
        /// Lines.
        rows: u16,
        /// Characters in a line.
        columns: u16,
    },
    /// Send this signal to the container's init.
    Signal(i32),
    /// From now on, only the end is of interest.
    Mute,
}

/// From the monitor to its clients.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The container's program runs.
    Started,
    /// It wrote this to its stdout, or to its terminal.
    Stdout(&'a [u8]),
    /// It wrote this to its stderr.
    Stderr(&'a [u8]),
    /// It ended with this exit code, and everything of it has been cleaned up.
    Exited(u8),
    /// It ended with this exit code, and will be started again.
    Restarting(u8),
    /// It could not be started: an exit code and the reason.
    Failed(u8, &'a str),
}

impl<'a> Request<'a> {
    /// Appends the message to an empty buffer.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.clear();
        match self {
            Self::Stdin(bytes) => tagged(buffer, b'i', bytes),
            Self::StdinEnd => tagged(buffer, b'e', &[]),
            Self::Resize { rows, columns } => {
                tagged(buffer, b'r', &rows.to_le_bytes());
                buffer.extend_from_slice(&columns.to_le_bytes());
            }
            Self::Signal(number) => tagged(buffer, b's', &number.to_le_bytes()),
            Self::Mute => tagged(buffer, b'm', &[]),
        }
    }

    /// Reads a message.
    #[must_use]
    pub fn decode(message: &'a [u8]) -> Option<Self> {
        let (tag, payload) = message.split_first()?;
        match (tag, payload) {
            (b'i', bytes) => Some(Self::Stdin(bytes)),
            (b'e', []) => Some(Self::StdinEnd),
            (b'm', []) => Some(Self::Mute),
            (b'r', &[a, b, c, d]) => Some(Self::Resize {
                rows: u16::from_le_bytes([a, b]),
                columns: u16::from_le_bytes([c, d]),
            }),
            (b's', payload) => Some(Self::Signal(i32::from_le_bytes(payload.try_into().ok()?))),
            _ => None,
        }
    }
}

impl<'a> Event<'a> {
    /// Appends the message to an empty buffer.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.clear();
        match self {
            Self::Started => tagged(buffer, b'S', &[]),
            Self::Stdout(bytes) => tagged(buffer, b'O', bytes),
            Self::Stderr(bytes) => tagged(buffer, b'E', bytes),
            Self::Exited(code) => tagged(buffer, b'X', &[*code]),
            Self::Restarting(code) => tagged(buffer, b'R', &[*code]),
            Self::Failed(code, reason) => {
                tagged(buffer, b'F', &[*code]);
                let end = reason.floor_char_boundary(CHUNK - 1);
                buffer.extend_from_slice(&reason.as_bytes()[..end]);
            }
        }
    }

    /// Reads a message.
    #[must_use]
    pub fn decode(message: &'a [u8]) -> Option<Self> {
        let (tag, payload) = message.split_first()?;
        match (tag, payload) {
            (b'S', []) => Some(Self::Started),
            (b'O', bytes) => Some(Self::Stdout(bytes)),
            (b'E', bytes) => Some(Self::Stderr(bytes)),
            (b'X', &[code]) => Some(Self::Exited(code)),
            (b'R', &[code]) => Some(Self::Restarting(code)),
            (b'F', [code, reason @ ..]) => {
                Some(Self::Failed(*code, std::str::from_utf8(reason).ok()?))
            }
            _ => None,
        }
    }
}

fn tagged(buffer: &mut Vec<u8>, tag: u8, payload: &[u8]) {
    buffer.push(tag);
    buffer.extend_from_slice(payload);
}

/// A connected pair of sockets.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Sends one whole message. `false` when it does not fit now and `wait` is not set.
pub fn put(socket: BorrowedFd<'_>, message: &[u8], wait: bool) -> Result<bool, Errno> {
    let flags = if wait { SendFlags::NOSIGNAL } else { SendFlags::NOSIGNAL | SendFlags::DONTWAIT };
    loop {
        match send(socket, message, flags) {
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(false),
            Err(errno) => return Err(errno),
        }
    }
}

/// Sends one whole message as soon as it fits. `false` when it does not until the deadline.
pub fn put_until(socket: BorrowedFd<'_>, message: &[u8], deadline: Instant) -> Result<bool, Errno> {
    while !put(socket, message, false)? {
        let left = deadline.saturating_duration_since(Instant::now());
        let Some(timeout) = Timespec::try_from(left).ok().filter(|_| !left.is_zero()) else {
            return Ok(false);
        };
        match poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(true)
}

/// Receives one whole message into `buffer`; `None` when the other side has gone or sent one that is too long.
pub fn get<'b>(socket: BorrowedFd<'_>, buffer: &'b mut Vec<u8>) -> Option<&'b [u8]> {
    buffer.resize(CHUNK + 1, 0);
    loop {
        // TRUNC reports the true length of a message that is longer than the buffer.
        match recv(socket, buffer.as_mut_slice(), RecvFlags::TRUNC) {
            Ok((_, length)) if length > 0 && length <= buffer.len() => {
                return Some(&buffer[..length]);
            }
            // The other side has gone without reading all of ours, which is said once, before what it has sent.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;

    #[test]
    fn every_message_survives_the_wire() {
        let (a, b) = pair().unwrap();
        let (mut out, mut back) = (Vec::new(), Vec::new());
        let big = vec![7_u8; CHUNK];
        for request in [
            Request::Stdin(&big),
            Request::StdinEnd,
            Request::Resize { rows: 24, columns: 300 },
            Request::Signal(15),
            Request::Mute,
        ] {
            request.encode(&mut out);
            assert!(put(a.as_fd(), &out, true).unwrap());
            assert_eq!(Request::decode(get(b.as_fd(), &mut back).unwrap()), Some(request));
        }
        for event in [
            Event::Started,
            Event::Stdout(b"x"),
            Event::Stderr(&big),
            Event::Exited(3),
            Event::Restarting(4),
            Event::Failed(127, "no"),
        ] {
            event.encode(&mut out);
            assert!(put(b.as_fd(), &out, true).unwrap());
            assert_eq!(Event::decode(get(a.as_fd(), &mut back).unwrap()), Some(event));
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for message in [&b""[..], b"?", b"r123", b"s1", b"e1"] {
            assert_eq!(Request::decode(message), None, "{message:?}");
        }
        for message in [&b""[..], b"X", b"X12", b"F", b"F\x01\xff", b"S1"] {
            assert_eq!(Event::decode(message), None, "{message:?}");
        }
    }

    #[test]
    fn the_end_and_an_oversized_message_end_the_conversation() {
        let (a, b) = pair().unwrap();
        put(a.as_fd(), &vec![0; CHUNK + 2], true).unwrap();
        assert_eq!(get(b.as_fd(), &mut Vec::new()), None);
        drop(a);
        assert_eq!(get(b.as_fd(), &mut Vec::new()), None);
    }
    #[test]
    fn last_words_are_heard_from_who_has_not_listened() {
        let (a, b) = pair().unwrap();
        put(a.as_fd(), b"unread", true).unwrap();
        put(b.as_fd(), b"last", true).unwrap();
        drop(b);
        assert_eq!(get(a.as_fd(), &mut Vec::new()), Some(&b"last"[..]));
        assert_eq!(get(a.as_fd(), &mut Vec::new()), None);
    }

    #[test]
    fn who_does_not_read_is_waited_for_until_the_deadline() {
        let (a, _b) = pair().unwrap();
        let deadline = Instant::now() + std::time::Duration::from_millis(30);
        while put(a.as_fd(), &[0; CHUNK], false).unwrap() {}
        assert_eq!(put_until(a.as_fd(), &[0; CHUNK], deadline), Ok(false));
        assert!(Instant::now() >= deadline);
    }
}
