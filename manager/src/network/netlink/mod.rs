//! A netlink conversation: one socket, requests out, frames back, in order and without threads.
//!
//! The socket belongs to the network namespace of the thread that opened it, for ever. Replies are parsed as
//! frames here and as messages by whoever asked; a frame that is not well formed ends the conversation.

pub(crate) mod attribute;
pub(crate) mod route;

use netlink_packet_core::{NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NetlinkHeader};
use rustix::io::Errno;
use std::fmt;
use std::io;

/// The length of a netlink message's header.
pub(crate) const HEADER: usize = 16;
/// A little more than the kernel puts into one datagram of a dump.
const RECEIVE: usize = 64 * 1024;

/// What the kernel said, with its own explanation where it gave one.
#[derive(Debug)]
pub struct Error {
    source: io::Error,
    explanation: Option<String>,
}

impl Error {
    /// The kernel's error number, if it was the kernel that answered.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        self.source.raw_os_error().map(Errno::from_raw_os_error)
    }

    /// Whether more privilege would help.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        self.source.kind() == io::ErrorKind::PermissionDenied
    }

    /// Whether the kernel lacks what was asked of it: a type of link, or a family of netlink.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self.errno(), Some(Errno::OPNOTSUPP | Errno::PROTONOSUPPORT))
    }

    fn malformed(what: &str) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, format!("malformed netlink reply: {what}"))
            .into()
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bundle::reason::reason(&self.source))?;
        match &self.explanation {
            Some(text) => write!(f, " ({text})"),
            None => Ok(()),
        }
    }
}

impl From<io::Error> for Error {
    fn from(source: io::Error) -> Self {
        Self { source, explanation: None }
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        io::Error::from(errno).into()
    }
}

impl From<netlink_packet_core::DecodeError> for Error {
    fn from(error: netlink_packet_core::DecodeError) -> Self {
        Self::malformed(&error.to_string())
    }
}

/// One conversation with one netlink family.
pub(crate) struct Socket {
    inner: netlink_sys::Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open(protocol: isize) -> io::Result<Self> {
        let inner = netlink_sys::Socket::new(protocol)?;
        // The kernel's explanation of an error, and errors without a copy of what was sent. Both only make
        // messages better, so an old kernel that lacks them is no failure.
        let _ = inner.set_ext_ack(true);
        let _ = inner.set_cap_ack(true);
        Ok(Self { inner, sequence: 1, buffer: Vec::with_capacity(RECEIVE) })
    }

    /// A number for the next request.
    pub(crate) fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Sends whole messages in one datagram.
    pub(crate) fn send(&self, messages: &[u8]) -> io::Result<()> {
        // A datagram must fit the send buffer whole; a range of published ports can outgrow the default.
        const DEFAULT: usize = 128 * 1024;
        if messages.len() > DEFAULT {
            rustix::net::sockopt::set_socket_send_buffer_size_force(
                &self.inner,
                messages.len() * 2,
            )?;
        }
        self.inner.send(messages, 0).map(drop)
    }

    /// Sends one request and hands each frame of its answer to `each`, once it is there up to the acknowledgement or the end of the dump. A
    /// list that somebody has changed while the kernel wrote it down may lack what was there all the time: it is asked for again.
    pub(crate) fn exchange(
        &mut self,
        request: &[u8],
        sequence: u32,
        each: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        /// A change takes longer than a look at it.
        const TRIES: usize = 100;
        for _ in 0..TRIES {
            if let Some(answer) = self.ask(request, sequence)? {
                answer.iter().map(Vec::as_slice).for_each(each);
                return Ok(());
            }
        }
        Err(Error {
            source: Errno::INTR.into(),
            explanation: Some(format!("it has changed each of {TRIES} times it was read")),
        })
    }

    /// The frames of one answer; `None` of a list that has changed meanwhile.
    fn ask(&mut self, request: &[u8], sequence: u32) -> Result<Option<Vec<Vec<u8>>>, Error> {
        self.send(request)?;
        let mut answer = Answer { sequence, frames: Vec::new(), has_changed: false };
        while !self.receive(|header, payload| answer.take(header, payload))? {}
        Ok((!answer.has_changed).then_some(answer.frames))
    }

    /// Waits for one datagram and hands its frames to `each`, which says whether it has seen enough.
    pub(crate) fn receive<E: From<Error>>(
        &mut self,
        mut each: impl FnMut(&NetlinkHeader, &[u8]) -> Result<bool, E>,
    ) -> Result<bool, E> {
        self.buffer.clear();
        let length = loop {
            match self.inner.recv(&mut self.buffer, libc_msg_trunc()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(Error::from)?,
            }
        };
        if length > self.buffer.len() {
            return Err(Error::malformed("longer than the buffer").into());
        }
        let mut rest = &self.buffer[..];
        while !rest.is_empty() {
            let (header, payload, after) = frame(rest)?;
            if each(&header, payload)? {
                return Ok(true);
            }
            rest = after;
        }
        Ok(false)
    }
}

/// What has come of the answer to one request.
struct Answer {
    sequence: u32,
    frames: Vec<Vec<u8>>,
    /// What is listed has changed while the kernel wrote it down.
    has_changed: bool,
}

impl Answer {
    /// Whether it is whole with this frame.
    fn take(&mut self, header: &NetlinkHeader, payload: &[u8]) -> Result<bool, Error> {
        // A frame of an earlier request, which failed half-way, is not an answer to this one.
        if header.sequence_number != self.sequence {
            return Ok(false);
        }
        self.has_changed |= header.flags & NLM_F_DUMP_INTR != 0;
        match acknowledgement(header, payload) {
            Some(end) => end.map(|()| true),
            None => {
                self.frames.push(payload.to_vec());
                Ok(false)
            }
        }
    }
}

/// `MSG_TRUNC` makes recv(2) return the datagram's real length, so that a cut one is noticed.
const fn libc_msg_trunc() -> i32 {
    rustix::net::RecvFlags::TRUNC.bits().cast_signed()
}

/// Splits the first message off `bytes`: its header, its payload, and what follows it.
pub(crate) fn frame(bytes: &[u8]) -> Result<(NetlinkHeader, &[u8], &[u8]), Error> {
    use netlink_packet_core::{NetlinkBuffer, Parseable};
    let buffer = NetlinkBuffer::new_checked(&bytes)?;
    let header = <NetlinkHeader as Parseable<NetlinkBuffer<&&[u8]>>>::parse(&buffer)?;
    let length = header.length as usize;
    let payload = bytes.get(HEADER..length).ok_or_else(|| Error::malformed("a short message"))?;
    let after = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Ok((header, payload, after))
}

/// Reads an NLMSG_ERROR frame, or the NLMSG_DONE that ends a dump: `Ok` is success.
pub(crate) fn acknowledgement(header: &NetlinkHeader, payload: &[u8]) -> Option<Result<(), Error>> {
    let code = payload.first_chunk::<4>().map(|bytes| i32::from_ne_bytes(*bytes));
    let (code, details) = match (header.message_type, code) {
        (NLMSG_ERROR, Some(code)) => (code, explanation(payload)),
        (NLMSG_ERROR, None) => return Some(Err(Error::malformed("an error without a code"))),
        // A dump that failed on its way ends with the reason.
        (NLMSG_DONE, code) => (code.unwrap_or(0), None),
        _ => return None,
    };
    if code >= 0 {
        return Some(Ok(()));
    }
    let source = io::Error::from_raw_os_error(code.wrapping_neg());
    Some(Err(Error { source, explanation: details }))
}

/// The text of an extended acknowledgement (NLMSGERR_ATTR_MSG), which follows the request's header.
fn explanation(payload: &[u8]) -> Option<String> {
    const NLMSGERR_ATTR_MSG: u16 = 1;
    let attributes = payload.get(4 + HEADER..)?;
    let text = attribute::find(attributes, NLMSGERR_ATTR_MSG)?;
    let text = String::from_utf8_lossy(text);
    Some(text.trim_end_matches('\0').to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_is_longer_than_the_datagram_is_refused() {
        let mut bytes = 64_u32.to_ne_bytes().to_vec();
        bytes.resize(20, 0);
        assert!(frame(&bytes).is_err());
        assert!(frame(&[0; 7]).is_err());
        // A header that claims less than itself would loop for ever.
        let mut short = 8_u32.to_ne_bytes().to_vec();
        short.resize(16, 0);
        assert!(frame(&short).is_err());
    }

    #[test]
    fn an_error_carries_the_kernels_explanation() {
        let mut payload = (-22_i32).to_ne_bytes().to_vec();
        payload.extend([0; HEADER]);
        payload.extend([8, 0, 1, 0]);
        payload.extend(b"Bad\0");
        let mut header = NetlinkHeader::default();
        header.message_type = NLMSG_ERROR;
        let error = acknowledgement(&header, &payload).unwrap().unwrap_err();
        assert_eq!(error.to_string(), "invalid argument (Bad)");
        assert_eq!(error.errno(), Some(Errno::INVAL));
    }

    #[test]
    fn an_answer_says_whether_it_has_changed_while_it_was_written_down() {
        let header = |sequence, kind, flags| {
            let mut header = NetlinkHeader::default();
            (header.sequence_number, header.message_type, header.flags) = (sequence, kind, flags);
            header
        };
        for (flags, of_end) in [(0, 0), (NLM_F_DUMP_INTR, 0), (0, NLM_F_DUMP_INTR)] {
            let mut answer = Answer { sequence: 2, frames: Vec::new(), has_changed: false };
            assert!(!answer.take(&header(1, NLMSG_DONE, NLM_F_DUMP_INTR), &[]).unwrap());
            assert!(!answer.take(&header(2, 100, flags), b"one").unwrap());
            assert!(!answer.take(&header(2, 100, 0), b"two").unwrap());
            assert!(answer.take(&header(2, NLMSG_DONE, of_end), &[0; 4]).unwrap());
            assert_eq!(answer.frames, [b"one", b"two"]);
            assert_eq!(answer.has_changed, flags | of_end != 0);
        }
    }

    #[test]
    fn a_dump_that_failed_says_so_at_its_end() {
        let mut header = NetlinkHeader::default();
        header.message_type = NLMSG_DONE;
        assert!(acknowledgement(&header, &[]).unwrap().is_ok());
        let error = acknowledgement(&header, &(-4_i32).to_ne_bytes()).unwrap().unwrap_err();
        assert_eq!(error.errno(), Some(Errno::INTR));
    }

    #[test]
    fn code_zero_is_an_acknowledgement() {
        let mut header = NetlinkHeader::default();
        header.message_type = NLMSG_ERROR;
        assert!(acknowledgement(&header, &[0; 20]).unwrap().is_ok());
        assert!(acknowledgement(&NetlinkHeader::default(), &[0; 20]).is_none());
    }
}
