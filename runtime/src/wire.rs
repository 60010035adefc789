//! The one wire format between the processes that make a container (invariant I3).
//!
//! A message is twelve bytes on a seqpacket socket: what, at which step of the plan, with which number. No string ever crosses:
//! both sides have the same plan. A message of any other length, or of an unknown kind, is an error and not read any further.

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::os::fd::BorrowedFd;

/// What the child tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A step failed; the child ends.
    Failure {
        /// Index of the step.
        step: usize,
        /// Why.
        errno: Errno,
    },
    /// The child waits for an answer at this step.
    Waiting {
        /// Index of the step.
        step: usize,
    },
    /// The helper stage made the container's init, and ends.
    Forked {
        /// Index of the step.
        step: usize,
        /// The process id, as the parent sees it.
        pid: i32,
    },
}

/// The length of a message in bytes.
const LENGTH: usize = 12;
/// What a `go` is.
const GO: &[u8] = b"g";

impl Message {
    fn encode(self) -> [u8; LENGTH] {
        let (kind, step, value) = match self {
            Message::Failure { step, errno } => (0u32, step, errno.raw_os_error()),
            Message::Waiting { step } => (1, step, 0),
            Message::Forked { step, pid } => (2, step, pid),
        };
        let mut bytes = [0; LENGTH];
        bytes[..4].copy_from_slice(&kind.to_ne_bytes());
        bytes[4..8].copy_from_slice(&u32::try_from(step).unwrap_or(u32::MAX).to_ne_bytes());
        bytes[8..].copy_from_slice(&value.to_ne_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Message> {
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok();
        if bytes.len() != LENGTH {
            return None;
        }
        let step = u32::from_ne_bytes(word(4)?) as usize;
        let value = i32::from_ne_bytes(word(8)?);
        match u32::from_ne_bytes(word(0)?) {
            0 if value > 0 && value < 4096 => {
                Some(Message::Failure { step, errno: Errno::from_raw_os_error(value) })
            }
            1 => Some(Message::Waiting { step }),
            2 if value > 0 => Some(Message::Forked { step, pid: value }),
            _ => None,
        }
    }

    /// Sends this message.
    ///
    /// # Errors
    /// `EPIPE` when the other side is gone.
    pub fn send(self, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        rustix::net::send(socket, &self.encode(), SendFlags::NOSIGNAL).map(drop)
    }

    /// Receives a message; `None` when the other side is gone, which for a child means: it execs, or it died.
    ///
    /// # Errors
    /// `EBADMSG` for anything that is not a message.
    pub fn receive(socket: BorrowedFd<'_>) -> Result<Option<Message>, Errno> {
        // One byte more than a message, so that a longer one is seen to be too long.
        let mut buffer = [0u8; LENGTH + 1];
        match retry(|| rustix::net::recv(socket, &mut buffer[..], RecvFlags::empty()))? {
            (_, 0) => Ok(None),
            (_, length) => {
                Message::decode(&buffer[..length.min(buffer.len())]).map(Some).ok_or(Errno::BADMSG)
            }
        }
    }
}

/// Lets a waiting child go on.
///
/// # Errors
/// `EPIPE` when it is gone.
pub fn send_go(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::net::send(socket, GO, SendFlags::NOSIGNAL).map(drop)
}

/// Waits for the other side's `go`.
///
/// # Errors
/// `EPIPE` when it went away without saying so: nobody is left to whom the container would belong.
pub fn wait_go(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut buffer = [0u8; 2];
    match retry(|| rustix::net::recv(socket, &mut buffer[..], RecvFlags::empty()))? {
        (_, 0) => Err(Errno::PIPE),
        (_, length) if &buffer[..length.min(2)] == GO => Ok(()),
        _ => Err(Errno::BADMSG),
    }
}

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::os::fd::{AsFd, OwnedFd};

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn messages_arrive_as_they_were_sent() {
        let (a, b) = pair();
        let messages = [
            Message::Failure { step: 7, errno: Errno::PERM },
            Message::Waiting { step: 3 },
            Message::Forked { step: 1, pid: 4711 },
        ];
        for message in messages {
            message.send(a.as_fd()).unwrap();
            assert_eq!(Message::receive(b.as_fd()), Ok(Some(message)));
        }
        drop(a);
        assert_eq!(Message::receive(b.as_fd()), Ok(None));
    }

    #[test]
    fn anything_that_is_not_a_message_is_refused() {
        let (a, b) = pair();
        let unknown_kind = [9u32.to_ne_bytes(), [0; 4], [0; 4]].concat();
        let no_errno = [0u32.to_ne_bytes(), [0; 4], [0; 4]].concat();
        for bytes in [&b"x"[..], &[0; 11], &[0; 13], &[0xff; 4096], &unknown_kind, &no_errno] {
            rustix::net::send(&a, bytes, SendFlags::empty()).unwrap();
            assert_eq!(Message::receive(b.as_fd()), Err(Errno::BADMSG), "{} bytes", bytes.len());
        }
    }

    #[test]
    fn a_parent_that_went_away_is_not_a_go() {
        let (a, b) = pair();
        drop(a);
        assert_eq!(wait_go(b.as_fd()), Err(Errno::PIPE));
    }
}
