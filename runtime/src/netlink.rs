//! The few requests of rtnetlink(7) that moving a network device takes: find it, read its addresses, change it, give it addresses.
//!
//! A socket belongs to the network namespace in which it was made, whatever its process does later. Replies are the kernel's
//! and still read with care: lengths are checked, and what is malformed ends the message.

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::os::fd::OwnedFd;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
/// In a reply: the table changed while it was read.
const NLM_F_DUMP_INTR: u16 = 0x10;

const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_PID: u16 = 19;
const IFF_UP: u32 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;
/// Somebody configured it: it does not come from the network and does not run out.
const IFA_F_PERMANENT: u32 = 0x80;
/// The flags that a caller may set: no duplicate detection, home address, temporary ones for privacy, no route for the prefix,
/// joined multicast.
const IFA_F_CONFIGURED: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;

/// `struct nlmsghdr`
const HEADER: usize = 16;
/// `struct ifinfomsg`
const LINK: usize = 16;
/// `struct ifaddrmsg`
const ADDRESS: usize = 8;
/// The kernel makes no message of a table longer than this.
const BUFFER: usize = 32 << 10;

/// A link, as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index in the namespace of the socket.
    pub index: u32,
    /// Whether it is up.
    pub up: bool,
}

/// A permanent address of global scope, as it has to be sent to be given to another link: everything behind the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    family: u8,
    prefix: u8,
    attributes: Vec<u8>,
}

/// A socket in a network namespace.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
}

impl Socket {
    /// A socket in the network namespace that the calling thread is in.
    ///
    /// # Errors
    /// On a kernel without rtnetlink.
    pub fn open() -> Result<Socket, Errno> {
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            // NETLINK_ROUTE is 0.
            None,
        )?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, 0))?;
        Ok(Socket { fd })
    }

    /// Looks up a link by its name, or one of its other names.
    ///
    /// # Errors
    /// `ENODEV` when there is none.
    pub fn link(&self, name: &str) -> Result<Link, Errno> {
        let mut request = Request::new(RTM_GETLINK, 0, &[0; LINK]);
        request.name(name);
        self.send(request)?;
        let mut found = Err(Errno::NODEV);
        self.replies(|kind, _, body| {
            if kind == RTM_NEWLINK
                && let (Some(index), Some(flags)) = (word(body, 4), word(body, 8))
            {
                found = Ok(Link { index, up: flags & IFF_UP != 0 });
            }
            Ok(kind != RTM_NEWLINK)
        })?;
        found
    }

    /// The addresses of a link that somebody configured and that are valid everywhere, of both families.
    ///
    /// # Errors
    /// `EAGAIN` when the table changes all the time.
    pub fn addresses(&self, index: u32) -> Result<Vec<Address>, Errno> {
        for _ in 0..16 {
            let mut found = Vec::new();
            let mut interrupted = false;
            self.send(Request::new(RTM_GETADDR, NLM_F_DUMP, &[0; ADDRESS]))?;
            self.replies(|kind, flags, body| {
                interrupted |= flags & NLM_F_DUMP_INTR != 0;
                if kind == RTM_NEWADDR && word(body, 4) == Some(index) {
                    found.extend(address(body));
                }
                Ok(true)
            })?;
            if !interrupted {
                return Ok(found);
            }
        }
        Err(Errno::AGAIN)
    }

    /// Takes a link up or down.
    ///
    /// # Errors
    /// `EPERM` without CAP_NET_ADMIN; what the driver says.
    pub fn set_up(&self, index: u32, up: bool) -> Result<(), Errno> {
        let flags = if up { IFF_UP } else { 0 };
        self.acknowledged(Request::new(RTM_NEWLINK, 0, &link_header(index, flags, IFF_UP)))
    }

    /// Moves a link into the network namespace of a process, under a name there, in which `%d` stands for a free number.
    ///
    /// # Errors
    /// `EINVAL` for one that is bound to its namespace, such as `lo`; `EEXIST` when the name is taken; `EPERM`.
    pub fn move_link(&self, index: u32, to: rustix::process::Pid, name: &str) -> Result<(), Errno> {
        let mut request = Request::new(RTM_NEWLINK, 0, &link_header(index, 0, 0));
        request.attribute(IFLA_NET_NS_PID, &to.as_raw_nonzero().get().to_ne_bytes());
        request.name(name);
        self.acknowledged(request)
    }

    /// Gives a link an address.
    ///
    /// # Errors
    /// `EEXIST` when it has it; `EACCES` where IPv6 is switched off.
    pub fn add_address(&self, index: u32, address: &Address) -> Result<(), Errno> {
        let mut header = [address.family, address.prefix, 0, 0, 0, 0, 0, 0];
        header[4..].copy_from_slice(&index.to_ne_bytes());
        let mut request = Request::new(RTM_NEWADDR, 0x400, &header);
        request.bytes.extend_from_slice(&address.attributes);
        self.acknowledged(request)
    }

    fn acknowledged(&self, mut request: Request) -> Result<(), Errno> {
        request.add_flags(NLM_F_ACK);
        self.send(request)?;
        self.replies(|_, _, _| Ok(true))
    }

    fn send(&self, request: Request) -> Result<(), Errno> {
        let bytes = request.finish();
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::net::sendto(&self.fd, &bytes, SendFlags::empty(), &kernel).map(drop)
    }

    /// Reads messages (kind, flags, body) until the last of an answer, or until `each` has seen enough.
    fn replies(
        &self,
        mut each: impl FnMut(u16, u16, &[u8]) -> Result<bool, Errno>,
    ) -> Result<(), Errno> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let (_, length) = rustix::net::recv(&self.fd, &mut buffer[..], RecvFlags::TRUNC)?;
            let mut rest = buffer.get(..length).ok_or(Errno::MSGSIZE)?;
            while let Some(size) = word(rest, 0).map(|size| size as usize) {
                let message = rest.get(..size).filter(|message| message.len() >= HEADER);
                let message = message.ok_or(Errno::BADMSG)?;
                let (kind, flags) = (half(message, 4), half(message, 6));
                let body = &message[HEADER..];
                match kind {
                    NLMSG_ERROR => return status(word(body, 0).ok_or(Errno::BADMSG)?),
                    NLMSG_DONE => return Ok(()),
                    _ if !each(kind, flags, body)? => return Ok(()),
                    _ => rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default(),
                }
            }
        }
    }
}

/// A request in the making; its length is put in at the end.
struct Request {
    bytes: Vec<u8>,
}

impl Request {
    fn new(kind: u16, flags: u16, header: &[u8]) -> Request {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        bytes.extend_from_slice(header);
        Request { bytes }
    }

    fn add_flags(&mut self, flags: u16) {
        let all = half(&self.bytes, 6) | flags;
        self.bytes[6..8].copy_from_slice(&all.to_ne_bytes());
    }

    fn name(&mut self, name: &str) {
        let terminated: Vec<u8> = name.bytes().chain([0]).collect();
        self.attribute(IFLA_IFNAME, &terminated);
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        append(&mut self.bytes, kind, value);
    }

    fn finish(mut self) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes
    }
}

/// Adds an attribute, aligned to four bytes.
fn append(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend_from_slice(&((value.len() + 4) as u16).to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// `struct ifinfomsg` with the flags to change and what to.
fn link_header(index: u32, flags: u32, change: u32) -> [u8; LINK] {
    let mut header = [0; LINK];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&change.to_ne_bytes());
    header
}

/// The address of an RTM_NEWADDR, if it is permanent and of global scope (`RT_SCOPE_UNIVERSE`, 0). The label goes: it begins with
/// the link's old name.
fn address(body: &[u8]) -> Option<Address> {
    let &[family, prefix, flags, scope, ..] = body else { return None };
    let all: Vec<(u16, &[u8])> = attributes(body.get(ADDRESS..)?).collect();
    let flags = all
        .iter()
        .find_map(|(kind, value)| (*kind == IFA_FLAGS).then(|| word(value, 0)).flatten())
        .unwrap_or_else(|| flags.into());
    if scope != 0 || flags & IFA_F_PERMANENT == 0 {
        return None;
    }
    let mut kept = Vec::new();
    for (kind, value) in all {
        if matches!(kind, IFA_ADDRESS | IFA_LOCAL | IFA_BROADCAST | IFA_RT_PRIORITY) {
            append(&mut kept, kind, value);
        }
    }
    append(&mut kept, IFA_FLAGS, &(flags & IFA_F_CONFIGURED).to_ne_bytes());
    Some(Address { family, prefix, attributes: kept })
}

/// The attributes (kind, value) in a row of them, up to the first that is malformed.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = (bytes.len() >= 4).then(|| usize::from(half(bytes, 0)))?;
        let value = bytes.get(4..length)?;
        let kind = half(bytes, 2);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// An acknowledgement is an error of 0.
fn status(error: u32) -> Result<(), Errno> {
    match error.cast_signed().unsigned_abs() {
        0 => Ok(()),
        errno => Err(Errno::from_raw_os_error(errno.min(4095).cast_signed())),
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Two bytes that are known to be there.
fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An RTM_NEWADDR as the kernel sends it for 192.0.2.1/24 on link 7, labelled `eth0`.
    fn new_address(flags: u32, scope: u8) -> Vec<u8> {
        let mut body = vec![2, 24, flags as u8, scope, 7, 0, 0, 0];
        append(&mut body, IFA_ADDRESS, &[192, 0, 2, 1]);
        append(&mut body, 3, b"eth0\0");
        append(&mut body, IFA_FLAGS, &flags.to_ne_bytes());
        append(&mut body, 6, &[0; 16]);
        body
    }

    #[test]
    fn an_address_is_kept_without_its_label_and_its_lifetime() {
        let kept = address(&new_address(IFA_F_PERMANENT | 0x200, 0)).unwrap();
        assert_eq!((kept.family, kept.prefix), (2, 24));
        let mut wanted = Vec::new();
        append(&mut wanted, IFA_ADDRESS, &[192, 0, 2, 1]);
        append(&mut wanted, IFA_FLAGS, &0x200u32.to_ne_bytes());
        assert_eq!(kept.attributes, wanted);
    }

    #[test]
    fn addresses_that_are_local_or_run_out_are_not_kept() {
        assert_eq!(address(&new_address(IFA_F_PERMANENT, 253)), None, "scope link");
        assert_eq!(address(&new_address(0, 0)), None, "not permanent");
    }

    #[test]
    fn what_is_malformed_is_not_read_past_its_end() {
        for length in 0..new_address(IFA_F_PERMANENT, 0).len() {
            let _ = address(&new_address(IFA_F_PERMANENT, 0)[..length]);
        }
        for length in [0u16, 1, 3, 9, u16::MAX] {
            let bytes = [&length.to_ne_bytes()[..], &[1, 0, 9, 9, 9, 9]].concat();
            assert!(attributes(&bytes).count() <= 1, "{length}");
        }
    }
}
