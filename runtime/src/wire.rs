//! The one wire format between the processes that make a container (invariant I3).
//!
//! A message is twelve bytes on a seqpacket socket: what, at which step of the plan, with which number. No string crosses, because
//! both sides have the same plan; the one exception is what a failed hook wrote, which follows its message in a packet of its own
//! ([`HookText`]). Anything of another length, or of an unknown kind, is an error and not read any further.
//!
//! read(2) and write(2) are all that is used: the last messages are exchanged when the seccomp filter is in force already, and a
//! profile that denies those two to its program has no use for one. [`Message::send_with`] is for profiles that are known to allow it.

use rustix::io::{Errno, retry_on_intr};
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
    /// A hook failed; its [`HookText`] follows, and the child ends.
    Hook {
        /// Index of the step.
        step: usize,
        /// How it ended.
        end: End,
    },
    /// A bind source was found in the root, and its ids are to be mapped by who may do that: the fd of its tree, in the sender, who
    /// waits for an answer.
    Tree {
        /// Index of the step.
        step: usize,
        /// The fd's number.
        fd: i32,
    },
    /// The filter is installed: the fd of its listener, in the sender, who waits for an answer.
    Listener {
        /// Index of the step.
        step: usize,
        /// The fd's number.
        fd: i32,
    },
}

/// How a hook ended that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit status.
    Exited(u8),
    /// By this signal.
    Killed(u8),
    /// It was killed, with its process group, when its time was up.
    TimedOut,
}

/// [`End::Killed`] is sent as this and the signal, [`End::Exited`] as the status, which is less.
const KILLED: i32 = 0x100;
/// [`End::TimedOut`].
const TIMED_OUT: i32 = 0x200;

fn encode_end(end: End) -> i32 {
    match end {
        End::Exited(status) => status.into(),
        End::Killed(signal) => KILLED | i32::from(signal),
        End::TimedOut => TIMED_OUT,
    }
}

fn decode_end(value: i32) -> Option<End> {
    let low = u8::try_from(value & 0xff).ok()?;
    match value & !0xff {
        0 => Some(End::Exited(low)),
        KILLED => Some(End::Killed(low)),
        TIMED_OUT if low == 0 => Some(End::TimedOut),
        _ => None,
    }
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
            Message::Hook { step, end } => (3, step, encode_end(end)),
            Message::Listener { step, fd } => (4, step, fd),
            Message::Tree { step, fd } => (5, step, fd),
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
            3 => decode_end(value).map(|end| Message::Hook { step, end }),
            4 if value >= 0 => Some(Message::Listener { step, fd: value }),
            5 if value >= 0 => Some(Message::Tree { step, fd: value }),
            _ => None,
        }
    }

    /// Sends this message.
    ///
    /// # Errors
    /// `EPIPE` when the other side is gone.
    pub fn send(self, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        retry_on_intr(|| rustix::io::write(socket, &self.encode())).map(drop)
    }

    /// Sends this message and a copy of an fd. This is the one message that takes sendmsg(2).
    ///
    /// # Errors
    /// As [`Message::send`].
    pub fn send_with(self, fd: BorrowedFd<'_>, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        retry_on_intr(|| sys::fd::send(socket, &self.encode(), fd))
    }

    /// Receives a message; `None` when the other side is gone, which for a child means: it execs, or it died.
    ///
    /// # Errors
    /// `EBADMSG` for anything that is not a message.
    pub fn receive(socket: BorrowedFd<'_>) -> Result<Option<Message>, Errno> {
        // One byte more than a message, so that a longer one is seen to be too long.
        let mut buffer = [0u8; LENGTH + 1];
        match retry_on_intr(|| rustix::io::read(socket, &mut buffer[..]))? {
            0 => Ok(None),
            length => Message::received(&buffer[..length]).map(Some),
        }
    }

    /// A message that was received by other means, with the credentials of its sender for example.
    ///
    /// # Errors
    /// As [`Message::receive`].
    pub fn received(bytes: &[u8]) -> Result<Message, Errno> {
        Message::decode(bytes).ok_or(Errno::BADMSG)
    }
}

/// The end of what a failed hook wrote: two bytes for the length of its standard output, then both streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookText {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

/// How many bytes of each stream's end are kept, and sent at the most.
pub const KEPT: usize = 1024;

const TEXT: usize = 2 + 2 * KEPT;

impl HookText {
    /// Sends the ends of both streams, standard output first.
    ///
    /// # Errors
    /// `EPIPE` when the other side is gone; `EMSGSIZE` when they are longer than what is kept.
    pub fn send([stdout, stderr]: [&[u8]; 2], socket: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut buffer = [0u8; TEXT];
        let length = u16::try_from(stdout.len()).map_err(|_| Errno::MSGSIZE)?;
        let mut end = 0;
        for part in [&length.to_ne_bytes(), stdout, stderr] {
            let room = buffer.get_mut(end..end + part.len()).ok_or(Errno::MSGSIZE)?;
            room.copy_from_slice(part);
            end += part.len();
        }
        retry_on_intr(|| rustix::io::write(socket, &buffer[..end])).map(drop)
    }

    /// Receives it. What is no text is an empty one: it says why something failed, and that it failed is known.
    pub fn receive(socket: BorrowedFd<'_>) -> HookText {
        let mut buffer = [0u8; TEXT];
        let length = retry_on_intr(|| rustix::io::read(socket, &mut buffer[..])).unwrap_or(0);
        HookText::decode(&buffer[..length]).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Option<HookText> {
        let (length, texts) = bytes.split_first_chunk::<2>()?;
        let (stdout, stderr) = texts.split_at_checked(u16::from_ne_bytes(*length).into())?;
        Some(HookText { stdout: stdout.to_vec(), stderr: stderr.to_vec() })
    }
}

/// Lets a waiting child go on.
///
/// # Errors
/// `EPIPE` when it is gone.
pub fn send_go(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    retry_on_intr(|| rustix::io::write(socket, GO)).map(drop)
}

/// Waits for the other side's `go`.
///
/// # Errors
/// `EPIPE` when it went away without saying so: nobody is left to whom the container would belong.
pub fn wait_go(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut buffer = [0u8; 2];
    match retry_on_intr(|| rustix::io::read(socket, &mut buffer[..]))? {
        0 => Err(Errno::PIPE),
        length if &buffer[..length.min(2)] == GO => Ok(()),
        _ => Err(Errno::BADMSG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socketpair};
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
            Message::Hook { step: 2, end: End::Exited(255) },
            Message::Hook { step: 2, end: End::Killed(9) },
            Message::Hook { step: 2, end: End::TimedOut },
            Message::Listener { step: 4, fd: 0 },
            Message::Tree { step: 5, fd: 9 },
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
        let no_end = [3u32.to_ne_bytes(), [0; 4], 0x300u32.to_ne_bytes()].concat();
        let no_fd = [4u32.to_ne_bytes(), [0; 4], (-1i32).to_ne_bytes()].concat();
        let wrong = [&unknown_kind[..], &no_errno, &no_end, &no_fd];
        for bytes in [&b"x"[..], &[0; 11], &[0; 13], &[0xff; 4096]].into_iter().chain(wrong) {
            rustix::net::send(&a, bytes, SendFlags::empty()).unwrap();
            assert_eq!(Message::receive(b.as_fd()), Err(Errno::BADMSG), "{} bytes", bytes.len());
        }
    }

    #[test]
    fn a_text_with_a_wrong_length_is_empty() {
        let text = HookText { stdout: b"ab".to_vec(), stderr: b"c".to_vec() };
        assert_eq!(HookText::decode(&[2, 0, b'a', b'b', b'c']), Some(text));
        assert_eq!(HookText::decode(&[0, 0]), Some(HookText::default()));
        for bytes in [&[][..], &[1], &[4, 0, b'a', b'b', b'c'], &[0xff; 9]] {
            assert_eq!(HookText::decode(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_parent_that_went_away_is_not_a_go() {
        let (a, b) = pair();
        drop(a);
        assert_eq!(wait_go(b.as_fd()), Err(Errno::PIPE));
    }
}
