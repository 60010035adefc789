//! Datagrams together with the address of ours that they came to, so that an answer can leave from it: `IP_PKTINFO` of ip(7),
//! `IPV6_RECVPKTINFO` of ipv6(7). A socket that is bound to every address has an answer leave from the one that the routes choose.
//!
//! Addresses and control messages are read and written as bytes, in the kernel's layout (`struct sockaddr_in`, `struct cmsghdr`).

use crate::{Result, check};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

/// One of our addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// The address.
    pub address: IpAddr,
    /// The interface's number, where the address says nothing without it (`fe80::/10`); else zero.
    pub interface: u32,
}

/// The longest address of a peer: `struct sockaddr_in6`.
#[repr(C, align(8))]
struct Name([u8; 28]);

/// Room for one `struct in6_pktinfo`, or for the shorter `struct in_pktinfo`, behind its header.
#[repr(C, align(8))]
struct Control([u8; 64]);

const WORD: usize = size_of::<usize>();

/// `struct cmsghdr`: a length, which counts the header, a level and a type.
const HEADER: usize = WORD + 8;

/// Has every datagram that the socket receives tell the address that it was sent to.
pub fn tell_destinations(socket: BorrowedFd<'_>, is_ipv6: bool) -> Result<()> {
    let (level, name) = match is_ipv6 {
        false => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        true => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    let on: libc::c_int = 1;
    let value = (&raw const on).cast();
    let size = size_of_val(&on) as libc::socklen_t;
    // SAFETY: the pointer and the size are those of an integer that outlives the call, which only reads it.
    let rc = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, size) };
    check(rc.into()).map(drop)
}

/// Receives a datagram: its length, who has sent it, and to which of our addresses, if the socket tells that. What is longer than
/// the buffer is cut off.
pub fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<(usize, Option<SocketAddr>, Option<Local>)> {
    let (mut name, mut control) = (Name([0; 28]), Control([0; 64]));
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut message = empty_message();
    message.msg_name = name.0.as_mut_ptr().cast();
    message.msg_namelen = name.0.len() as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    // SAFETY: every pointer of the message is to memory of ours of the length beside it, which outlives the call.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    let length = check(length as libc::c_long)? as usize;
    let told = control.0.get(..message.msg_controllen as usize).and_then(read_control);
    Ok((length, read_name(&name.0), told))
}

/// Sends a datagram from one of our addresses.
pub fn send_from(
    socket: BorrowedFd<'_>,
    datagram: &[u8],
    to: SocketAddr,
    from: Local,
) -> Result<()> {
    let (mut name, mut control) = (Name([0; 28]), Control([0; 64]));
    let name_length = write_name(&mut name.0, to);
    let control_length = write_control(&mut control.0, from);
    let mut part =
        libc::iovec { iov_base: datagram.as_ptr().cast_mut().cast(), iov_len: datagram.len() };
    let mut message = empty_message();
    message.msg_name = name.0.as_mut_ptr().cast();
    message.msg_namelen = name_length as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control_length as _;
    // SAFETY: every pointer of the message is to memory of the length beside it, which outlives the call; the call only reads.
    let length = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, 0) };
    check(length as libc::c_long).map(drop)
}

fn empty_message() -> libc::msghdr {
    // SAFETY: the structure is of integers and raw pointers, for which zero is a value.
    unsafe { std::mem::zeroed() }
}

/// Some bytes at a place.
fn taken<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// `struct sockaddr_in` or `struct sockaddr_in6`.
fn read_name(name: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(taken(name, 0)?);
    let port = u16::from_be_bytes(taken(name, 2)?);
    match i32::from(family) {
        libc::AF_INET => Some(SocketAddr::from((Ipv4Addr::from(taken::<4>(name, 4)?), port))),
        libc::AF_INET6 => {
            let scope = u32::from_ne_bytes(taken(name, 24)?);
            let address = Ipv6Addr::from(taken::<16>(name, 8)?);
            Some(SocketAddrV6::new(address, port, 0, scope).into())
        }
        _ => None,
    }
}

/// Returns how many bytes it takes.
fn write_name(name: &mut [u8], address: SocketAddr) -> usize {
    put(name, 2, &address.port().to_be_bytes());
    match address {
        SocketAddr::V4(address) => {
            put(name, 0, &(libc::AF_INET as u16).to_ne_bytes());
            put(name, 4, &address.ip().octets());
            16
        }
        SocketAddr::V6(address) => {
            put(name, 0, &(libc::AF_INET6 as u16).to_ne_bytes());
            put(name, 8, &address.ip().octets());
            put(name, 24, &address.scope_id().to_ne_bytes());
            28
        }
    }
}

/// The first control message, if it is about an address.
fn read_control(control: &[u8]) -> Option<Local> {
    let length = usize::from_ne_bytes(taken(control, 0)?);
    let level = i32::from_ne_bytes(taken(control, WORD)?);
    let kind = i32::from_ne_bytes(taken(control, WORD + 4)?);
    let data = control.get(HEADER..length)?;
    match (level, kind) {
        // `struct in_pktinfo`: an interface, our address that an answer is to come from, and that in the datagram, which may be
        // everybody's.
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            let address = Ipv4Addr::from(taken::<4>(data, 4)?).into();
            Some(Local { address, interface: 0 })
        }
        // `struct in6_pktinfo`: an address and an interface.
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            let address = Ipv6Addr::from(taken::<16>(data, 0)?);
            let interface = u32::from_ne_bytes(taken(data, 16)?);
            let interface = if address.is_unicast_link_local() { interface } else { 0 };
            Some(Local { address: address.into(), interface })
        }
        _ => None,
    }
}

/// Returns how many bytes it takes, with what fills the last word.
fn write_control(control: &mut [u8], from: Local) -> usize {
    let interface = from.interface.to_ne_bytes();
    let (level, kind, length) = match from.address {
        IpAddr::V4(address) => {
            put(control, HEADER, &interface);
            put(control, HEADER + 4, &address.octets());
            (libc::IPPROTO_IP, libc::IP_PKTINFO, 12)
        }
        IpAddr::V6(address) => {
            put(control, HEADER, &address.octets());
            put(control, HEADER + 16, &interface);
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, 20)
        }
    };
    put(control, 0, &(HEADER + length).to_ne_bytes());
    put(control, WORD, &level.to_ne_bytes());
    put(control, WORD + 4, &kind.to_ne_bytes());
    (HEADER + length).next_multiple_of(WORD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd as _;
    use std::time::Duration;

    fn socket(address: &str) -> UdpSocket {
        let socket = UdpSocket::bind((address, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    }

    #[test]
    fn an_answer_comes_from_the_address_that_was_asked() {
        let server = socket("0.0.0.0");
        tell_destinations(server.as_fd(), false).unwrap();
        let port = server.local_addr().unwrap().port();
        let client = socket("127.0.0.1");
        for asked in ["127.0.0.1", "127.0.0.2", "127.9.9.9"] {
            client.send_to(b"question", (asked, port)).unwrap();
            let mut buffer = [0; 4];
            let (length, from, to) = receive(server.as_fd(), &mut buffer).unwrap();
            assert_eq!((length, &buffer), (4, b"ques"), "the rest is cut off");
            let (from, to) = (from.unwrap(), to.unwrap());
            assert_eq!(from, client.local_addr().unwrap());
            assert_eq!(to, Local { address: asked.parse().unwrap(), interface: 0 });
            send_from(server.as_fd(), b"answer", from, to).unwrap();
            let mut buffer = [0; 16];
            let (length, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from), (&b"answer"[..], (to.address, port).into()));
        }
    }

    #[test]
    fn a_socket_that_was_not_told_to_does_not_say() {
        let (server, client) = (socket("127.0.0.1"), socket("127.0.0.1"));
        client.send_to(b"", server.local_addr().unwrap()).unwrap();
        let (length, from, to) = receive(server.as_fd(), &mut [0; 4]).unwrap();
        assert_eq!((length, from, to), (0, Some(client.local_addr().unwrap()), None));
    }

    #[test]
    fn what_is_written_is_read_again() {
        for address in ["192.0.2.1:80", "[fe80::1%7]:80", "[2001:db8::1]:53"] {
            let address: SocketAddr = address.parse().unwrap();
            let mut name = [0; 28];
            let length = write_name(&mut name, address);
            assert_eq!(read_name(&name[..length]), Some(address));
            let interface = if let SocketAddr::V6(v6) = address { v6.scope_id() } else { 0 };
            let local = Local { address: address.ip(), interface };
            let mut control = [0; 64];
            let length = write_control(&mut control, local);
            assert_eq!(read_control(&control[..length]), Some(local));
            assert_eq!(read_control(&control[..length - 9]), None, "cut short");
        }
        assert_eq!((read_name(&[]), read_control(&[])), (None, None));
    }
}
