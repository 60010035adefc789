//! Host ports are taken by binding them, so that no process of the host and no other container has them.

use super::{HostPort, PortMapping, PortRequest, Protocol, holder};
use crate::network::error::{Error, Result};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

/// Host ports that are taken for a container.
#[derive(Debug, Default)]
pub struct Reservation {
    /// One for each request and address, in order.
    pub ports: Vec<PortMapping>,
    /// While these are open, no process of the host can bind the ports.
    pub sockets: Vec<OwnedFd>,
}

/// A port that a connected container publishes.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Which.
    pub port: PortMapping,
    /// Who has it, for people.
    pub holder: String,
}

/// The holder of a port that a container asks for twice.
pub(crate) const ITSELF: &str = "this container";

/// Chooses and takes a host port for each request, in the calling thread's network namespace.
///
/// `everywhere` are the addresses that a request without one stands for; they get the same port. What connected
/// containers publish is passed over, whether or not their sockets are held: a choice of several ports then falls on
/// one that the firewall will take.
///
/// # Errors
/// [`Error::PortAllocated`] for the first request that no port is free for; nothing stays taken.
pub fn reserve(
    requests: &[PortRequest],
    everywhere: &[IpAddr],
    taken: &[Taken],
) -> Result<Reservation> {
    let mut reservation = Reservation::default();
    let mut taken = taken.to_vec();
    for request in requests {
        let one = reserve_one(request, everywhere, &taken)?;
        let own = |port: &PortMapping| Taken { port: *port, holder: ITSELF.to_owned() };
        taken.extend(one.ports.iter().map(own));
        reservation.ports.extend(one.ports);
        reservation.sockets.extend(one.sockets);
    }
    Ok(reservation)
}

fn reserve_one(
    request: &PortRequest,
    everywhere: &[IpAddr],
    taken: &[Taken],
) -> Result<Reservation> {
    /// How often the kernel may offer a free port that a container publishes; what it offered is held meanwhile.
    const OFFERS: usize = 64;
    let candidates: Vec<u16> = match &request.host_port {
        HostPort::Any => vec![0; OFFERS],
        HostPort::FirstOf(range) => range.clone().collect(),
    };
    let one = request.host_address.map(|address| [address]);
    let addresses = one.as_ref().map_or(everywhere, |one| one.as_slice());
    let (mut failure, mut offered) = (None, Vec::new());
    for port in candidates {
        let mut tried = Reservation::default();
        match try_port(request, addresses, port, taken, &mut tried) {
            Ok(()) => return Ok(tried),
            Err(error @ Error::PortAllocated { .. }) => drop(failure.get_or_insert(error)),
            Err(error) => return Err(error),
        }
        offered.push(tried);
    }
    Err(failure.unwrap_or_else(|| Error::Invalid {
        what: "published port",
        text: request.container_port.to_string(),
        reason: "no port of the host is asked for".into(),
    }))
}

/// One port on each address; the kernel's choice on the first, and the same on the others.
fn try_port(
    request: &PortRequest,
    addresses: &[IpAddr],
    mut port: u16,
    taken: &[Taken],
    tried: &mut Reservation,
) -> Result<()> {
    let PortRequest { container_port, protocol, .. } = *request;
    for host_address in addresses.iter().copied() {
        let address = SocketAddr::new(host_address, port);
        let wanted = PortMapping { host_address, host_port: port, container_port, protocol };
        // Not even for a moment: it may be about to take what it has reserved.
        if let Some(holder) = container_of(&wanted, taken).filter(|_| port != 0) {
            return Err(Error::PortAllocated { address, protocol, holder: Some(holder) });
        }
        let bound = match bind(address, protocol) {
            // A range of ports has more sockets than the usual limit of 1024.
            Err(Errno::MFILE) => {
                raise_descriptors();
                bind(address, protocol)
            }
            bound => bound,
        };
        let (host_port, socket) = match bound {
            Ok(bound) => bound,
            Err(Errno::ADDRINUSE) => {
                let holder = holder::of(address, protocol);
                return Err(Error::PortAllocated { address, protocol, holder });
            }
            Err(errno) => return Err(Error::Bind { address, protocol, source: errno.into() }),
        };
        tried.sockets.push(socket);
        port = host_port;
        let mapping = PortMapping { host_address, host_port, container_port, protocol };
        if let Some(holder) = container_of(&mapping, taken) {
            let address = SocketAddr::new(host_address, host_port);
            return Err(Error::PortAllocated { address, protocol, holder: Some(holder) });
        }
        tried.ports.push(mapping);
    }
    Ok(())
}

/// Lets this process have as many descriptors as it is allowed to, and says how many. What it starts is no concern of that: a
/// container's own limit stands in its configuration.
pub(super) fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

fn container_of(mapping: &PortMapping, taken: &[Taken]) -> Option<String> {
    let other = taken.iter().find(|other| other.port.collides(mapping))?;
    Some(other.holder.clone())
}

fn bind(address: SocketAddr, protocol: Protocol) -> rustix::io::Result<(u16, OwnedFd)> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, rustix::net::ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, rustix::net::ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, rustix::net::ipproto::SCTP),
    };
    let open = || {
        let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(number))?;
        if address.is_ipv6() {
            // Otherwise [::] takes the IPv4 port as well.
            rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
        }
        Ok(socket)
    };
    let mut socket = open()?;
    match rustix::net::bind(&socket, &address) {
        Err(Errno::ADDRINUSE) if protocol == Protocol::Tcp => {
            // Old connections in TIME_WAIT hold a port against a plain bind for a minute. With SO_REUSEADDR they do
            // not, but then only a listening socket keeps others out.
            socket = open()?;
            rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
            rustix::net::bind(&socket, &address)?;
            rustix::net::listen(&socket, 1)?;
        }
        other => other?,
    }
    let bound = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
    Ok((bound.port(), socket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    fn request(address: &str, host: Option<(u16, u16)>, protocol: Protocol) -> PortRequest {
        PortRequest {
            host_address: Some(address.parse().unwrap()),
            host_port: host.map_or(HostPort::Any, |(first, last)| HostPort::FirstOf(first..=last)),
            container_port: 80,
            protocol,
        }
    }

    fn reserve(requests: &[PortRequest]) -> Result<Reservation> {
        super::reserve(requests, &[], &[])
    }

    /// Whoever has served on a port and closed its connections is not in the way of who comes next.
    #[test]
    fn a_port_that_only_old_connections_have_is_free() {
        use std::net::{TcpListener, TcpStream};
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        // Who closes first waits in TIME_WAIT.
        drop(listener.accept().unwrap());
        drop((client, listener));
        let old = request("127.0.0.1", Some((port, port)), Protocol::Tcp);
        let reservation = reserve(&[old]).unwrap();
        assert_eq!(reservation.ports[0].host_port, port);
        assert!(TcpListener::bind(("127.0.0.1", port)).is_err(), "it is held");
    }

    #[test]
    fn a_port_that_is_listened_on_is_allocated_by_its_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = request("127.0.0.1", Some((port, port)), Protocol::Tcp);
        let error = reserve(&[taken]).unwrap_err().to_string();
        let expected =
            format!("bind for 127.0.0.1:{port} failed: port is already allocated (tcp, by");
        assert!(error.starts_with(&expected), "{error}");
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    }

    #[test]
    fn a_reserved_port_cannot_be_reserved_again_until_it_is_let_go() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let first = reserve(&[request("127.0.0.1", None, protocol)]).unwrap();
            let port = first.ports[0].host_port;
            assert_ne!(port, 0);
            let same = [request("127.0.0.1", Some((port, port)), protocol)];
            assert!(matches!(reserve(&same), Err(Error::PortAllocated { .. })), "{protocol}");
            drop(first);
            assert_eq!(reserve(&same).unwrap().ports[0].host_port, port);
        }
    }

    #[test]
    fn a_range_of_ports_may_have_more_sockets_than_the_limit_is() {
        let limit = getrlimit(Resource::Nofile);
        let few = Rlimit { current: Some(64), maximum: limit.maximum };
        setrlimit(Resource::Nofile, few).unwrap();
        let requests = vec![request("127.0.0.1", None, Protocol::Udp); 100];
        let reserved = reserve(&requests).map(|reservation| reservation.sockets.len());
        setrlimit(Resource::Nofile, limit).unwrap();
        assert_eq!(reserved.unwrap(), 100);
    }

    #[test]
    fn a_port_that_is_asked_for_twice_is_the_containers_own() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let free = reserve(&[request("127.0.0.1", None, protocol)]).unwrap().ports[0].host_port;
            let twice = request("127.0.0.1", Some((free, free)), protocol);
            let error = reserve(&[twice.clone(), twice]).unwrap_err();
            assert!(error.to_string().ends_with(", by this container)"), "{error}");
            assert!(
                error.hint().unwrap().starts_with("a port of the host can be given"),
                "{error}"
            );
        }
    }

    #[test]
    fn who_has_a_port_of_one_family_is_not_who_has_the_others() {
        let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let address = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        assert_eq!(holder::of(address, Protocol::Udp), None);
        assert!(holder::of(other.local_addr().unwrap(), Protocol::Udp).is_some());
    }

    #[test]
    fn a_choice_of_ports_passes_over_what_containers_publish() {
        let free = reserve(&[request("127.0.0.1", None, Protocol::Tcp)]).unwrap().ports[0];
        let port = PortMapping { host_address: "0.0.0.0".parse().unwrap(), ..free };
        let taken = [Taken { port, holder: "container `web`".into() }];
        let (first, last) = (free.host_port, free.host_port.saturating_add(20));
        let range = [request("127.0.0.1", Some((first, last)), Protocol::Tcp)];
        assert_ne!(super::reserve(&range, &[], &taken).unwrap().ports[0].host_port, first);
        let one = [request("127.0.0.1", Some((first, first)), Protocol::Tcp)];
        let error = super::reserve(&one, &[], &taken).unwrap_err().to_string();
        let expected = format!(
            "127.0.0.1:{first} failed: port is already allocated (tcp, by container `web`)"
        );
        assert!(error.contains(&expected), "{error}");
        let udp = [request("127.0.0.1", Some((first, first)), Protocol::Udp)];
        assert!(super::reserve(&udp, &[], &taken).is_ok());
    }

    #[test]
    fn a_request_without_an_address_has_one_port_on_every_address() {
        let everywhere = ["127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap()];
        let request = PortRequest { host_address: None, ..request("::1", None, Protocol::Tcp) };
        let both = super::reserve(&[request], &everywhere, &[]).unwrap();
        assert_eq!(both.ports.len(), 2);
        assert_eq!(both.ports[0].host_port, both.ports[1].host_port);
    }

    #[test]
    fn an_address_that_the_host_lacks_is_another_failure() {
        let error = reserve(&[request("203.0.113.1", Some((80, 80)), Protocol::Tcp)]).unwrap_err();
        assert!(
            error.to_string().contains("203.0.113.1:80 failed: address not available"),
            "{error}"
        );
    }
}
