//! Published ports: Docker's `-p` syntax, and the choice of the host's ports.
//!
//! Two types: a [`PortRequest`] is what was typed, a [`PortMapping`] what it means. A host port is tried by binding
//! it, and stays taken as long as the reservation's sockets are held; between containers, the firewall's map decides.

use super::error::{Error, Result};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::str::FromStr;

/// A transport protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The default.
    Tcp,
    /// Datagrams.
    Udp,
    /// Stream control transmission.
    Sctp,
}

impl Protocol {
    /// The number in an IP header.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// Which port of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPort {
    /// Any that is free.
    Any,
    /// The first free one of these; one alone is a range of one.
    FirstOf(RangeInclusive<u16>),
}

/// One published port as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRequest {
    /// The host's address; without one, every address.
    pub host_address: IpAddr,
    /// The host's port.
    pub host_port: HostPort,
    /// The container's port.
    pub container_port: u16,
    /// Of this protocol.
    pub protocol: Protocol,
}

/// One published port as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortMapping {
    /// The host's address; the unspecified one is every address.
    pub host_address: IpAddr,
    /// The host's port.
    pub host_port: u16,
    /// The container's port.
    pub container_port: u16,
    /// Of this protocol.
    pub protocol: Protocol,
}

impl PortMapping {
    /// Whether both cannot be published at once.
    #[must_use]
    pub fn collides(&self, other: &Self) -> bool {
        let addresses = self.host_address == other.host_address
            || self.host_address.is_unspecified()
            || other.host_address.is_unspecified();
        addresses && self.host_port == other.host_port && self.protocol == other.protocol
    }
}

impl fmt::Display for PortMapping {
    /// As `docker ps` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = SocketAddr::new(self.host_address, self.host_port);
        write!(f, "{host}->{}/{}", self.container_port, self.protocol)
    }
}

/// Host ports that are taken for a container.
#[derive(Debug)]
pub struct Reservation {
    /// One for each request, in order.
    pub ports: Vec<PortMapping>,
    /// While these are open, no process of the host can bind the ports.
    pub sockets: Vec<OwnedFd>,
}

/// Parses one `-p`: `[[ADDRESS:][PORT[-PORT]]:]PORT[-PORT][/PROTOCOL]`. A range of container ports is a request each.
///
/// # Errors
/// [`Error::Invalid`], in Docker's words.
pub fn parse(text: &str) -> Result<Vec<PortRequest>> {
    parse_text(text).map_err(|reason| Error::Invalid {
        what: "published port",
        text: text.to_owned(),
        reason,
    })
}

fn parse_text(text: &str) -> std::result::Result<Vec<PortRequest>, String> {
    let (ports, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return Err(format!("invalid proto: {protocol}")),
    };
    let (host, container) = ports.rsplit_once(':').unwrap_or(("", ports));
    let (address, host) = host.rsplit_once(':').unwrap_or(("", host));
    if container.is_empty() {
        return Err("no port specified: <empty>".to_owned());
    }
    let container =
        parse_range(container).ok_or_else(|| format!("invalid containerPort: {container}"))?;
    let host = match host {
        "" => None,
        host => Some(parse_range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?),
    };
    let host_address = parse_address(address)?;
    let spread = host_ports(host, &container)?;
    let request = |(container_port, host_port)| PortRequest {
        host_address,
        host_port,
        container_port,
        protocol,
    };
    Ok(container.zip(spread).map(request).collect())
}

fn parse_address(text: &str) -> std::result::Result<IpAddr, String> {
    if text.is_empty() {
        return Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bare.map_or_else(
        // An IPv6 address without brackets cannot be told from ports.
        || text.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(drop),
        |bare| bare.parse().map_err(drop),
    )
    .map_err(|()| format!("invalid IP address: {text}"))
}

fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let port = |text: &str| {
        // `u16::from_str` takes a plus sign; Docker does not.
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|port| digits && *port != 0)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = port(first)?..=port(last)?;
    (!range.is_empty()).then_some(range)
}

/// Spreads the host's ports over the container's: one to one, or a choice for a single one.
fn host_ports(
    host: Option<RangeInclusive<u16>>,
    container: &RangeInclusive<u16>,
) -> std::result::Result<Vec<HostPort>, String> {
    let count = container.len();
    match host {
        None => Ok(vec![HostPort::Any; count]),
        Some(host) if count == 1 => Ok(vec![HostPort::FirstOf(host)]),
        Some(host) if host.len() == count => {
            Ok(host.map(|port| HostPort::FirstOf(port..=port)).collect())
        }
        Some(host) => Err(format!(
            "invalid ranges specified for container and host ports: {}-{} and {}-{}",
            container.start(),
            container.end(),
            host.start(),
            host.end()
        )),
    }
}

impl FromStr for PortMapping {
    type Err = Error;

    /// A request that leaves nothing to choose.
    fn from_str(text: &str) -> Result<Self> {
        let mut requests = parse(text)?;
        match (requests.pop(), requests.is_empty()) {
            (
                Some(PortRequest {
                    host_address,
                    host_port: HostPort::FirstOf(range),
                    container_port,
                    protocol,
                }),
                true,
            ) if range.len() == 1 => {
                Ok(Self { host_address, host_port: *range.start(), container_port, protocol })
            }
            _ => Err(Error::Invalid {
                what: "published port",
                text: text.to_owned(),
                reason: "one port of the host is needed".into(),
            }),
        }
    }
}

/// Chooses and takes a host port for each request, in the calling thread's network namespace.
///
/// # Errors
/// [`Error::PortAllocated`] for the first request that no port is free for; nothing stays taken.
pub fn reserve(requests: &[PortRequest]) -> Result<Reservation> {
    reserve_beside(requests, &[])
}

/// As [`reserve`], and passes over the ports that connected containers publish, whether or not their sockets are held:
/// a choice of several ports then falls on one that the firewall will take.
///
/// # Errors
/// As [`reserve`].
pub fn reserve_beside(requests: &[PortRequest], published: &[PortMapping]) -> Result<Reservation> {
    let mut reservation = Reservation { ports: Vec::new(), sockets: Vec::new() };
    for request in requests {
        let (port, socket) = reserve_one(request, published)?;
        reservation.ports.push(port);
        reservation.sockets.push(socket);
    }
    Ok(reservation)
}

fn reserve_one(request: &PortRequest, published: &[PortMapping]) -> Result<(PortMapping, OwnedFd)> {
    /// How often the kernel may offer a free port that a container publishes; what it offered is held meanwhile.
    const OFFERS: usize = 64;
    let candidates: Vec<u16> = match &request.host_port {
        HostPort::Any => vec![0; OFFERS],
        HostPort::FirstOf(range) => range.clone().collect(),
    };
    let PortRequest { host_address, container_port, protocol, .. } = *request;
    let (mut failure, mut offered) = (None, Vec::new());
    for port in candidates {
        let address = SocketAddr::new(host_address, port);
        let taken = match bind(address, protocol) {
            Ok((host_port, socket)) => {
                let mapping = PortMapping { host_address, host_port, container_port, protocol };
                if !published.iter().any(|other| other.collides(&mapping)) {
                    return Ok((mapping, socket));
                }
                offered.push(socket);
                SocketAddr::new(host_address, host_port)
            }
            Err(Errno::ADDRINUSE) => address,
            Err(errno) => return Err(Error::Bind { address, protocol, source: errno.into() }),
        };
        failure.get_or_insert(Error::PortAllocated { address: taken, protocol });
    }
    Err(failure.unwrap_or_else(|| Error::Invalid {
        what: "published port",
        text: container_port.to_string(),
        reason: "no port of the host is asked for".into(),
    }))
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

    fn request(
        address: &str,
        host: Option<(u16, u16)>,
        container: u16,
        protocol: Protocol,
    ) -> PortRequest {
        PortRequest {
            host_address: address.parse().unwrap(),
            host_port: host.map_or(HostPort::Any, |(first, last)| HostPort::FirstOf(first..=last)),
            container_port: container,
            protocol,
        }
    }

    #[test]
    fn every_form_of_dockers_syntax_reads() {
        use Protocol::{Sctp, Tcp, Udp};
        for (text, expected) in [
            ("80", request("0.0.0.0", None, 80, Tcp)),
            ("8080:80", request("0.0.0.0", Some((8080, 8080)), 80, Tcp)),
            ("53:53/udp", request("0.0.0.0", Some((53, 53)), 53, Udp)),
            ("53:53/UDP", request("0.0.0.0", Some((53, 53)), 53, Udp)),
            ("1:1/sctp", request("0.0.0.0", Some((1, 1)), 1, Sctp)),
            ("127.0.0.1:8080:80", request("127.0.0.1", Some((8080, 8080)), 80, Tcp)),
            ("127.0.0.1::80", request("127.0.0.1", None, 80, Tcp)),
            ("8000-8010:80", request("0.0.0.0", Some((8000, 8010)), 80, Tcp)),
            ("[::1]:8080:80", request("::1", Some((8080, 8080)), 80, Tcp)),
            (":80", request("0.0.0.0", None, 80, Tcp)),
        ] {
            assert_eq!(parse(text).unwrap(), [expected], "{text}");
        }
    }

    #[test]
    fn ranges_of_one_length_go_port_by_port() {
        let both = parse("8000-8001:80-81/udp").unwrap();
        assert_eq!(both[0], request("0.0.0.0", Some((8000, 8000)), 80, Protocol::Udp));
        assert_eq!(both[1], request("0.0.0.0", Some((8001, 8001)), 81, Protocol::Udp));
        assert_eq!(parse("80-82").unwrap().len(), 3);
        assert_eq!(parse("1-65535:1-65535").unwrap().len(), 65535);
    }

    #[test]
    fn what_is_no_port_says_why_in_dockers_words() {
        for (text, reason) in [
            ("", "no port specified"),
            ("8080:", "no port specified"),
            ("abc", "invalid containerPort: abc"),
            ("0", "invalid containerPort: 0"),
            ("65536", "invalid containerPort: 65536"),
            ("+80", "invalid containerPort: +80"),
            ("82-80", "invalid containerPort: 82-80"),
            ("x:80", "invalid hostPort: x"),
            ("80:80/icmp", "invalid proto: icmp"),
            ("80/", "invalid proto: "),
            ("1.2.3:80:80", "invalid IP address: 1.2.3"),
            ("::1:80:80", "invalid IP address: ::1"),
            ("8000-8001:80-82", "invalid ranges"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_mapping_reads_back_as_docker_shows_it() {
        let mapping: PortMapping = "127.0.0.1:8080:80/udp".parse().unwrap();
        assert_eq!(mapping.to_string(), "127.0.0.1:8080->80/udp");
        assert!("80".parse::<PortMapping>().is_err());
        assert!("80-81:80-81".parse::<PortMapping>().is_err());
    }

    #[test]
    fn a_port_that_is_listened_on_is_allocated() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = request("127.0.0.1", Some((port, port)), 80, Protocol::Tcp);
        let error = reserve(&[taken]).unwrap_err().to_string();
        assert!(
            error.contains(&format!("bind for 127.0.0.1:{port} failed: port is already allocated")),
            "{error}"
        );
    }

    #[test]
    fn a_reserved_port_cannot_be_reserved_again_until_it_is_let_go() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let first = reserve(&[request("127.0.0.1", None, 80, protocol)]).unwrap();
            let port = first.ports[0].host_port;
            assert_ne!(port, 0);
            let same = [request("127.0.0.1", Some((port, port)), 80, protocol)];
            assert!(matches!(reserve(&same), Err(Error::PortAllocated { .. })), "{protocol}");
            drop(first);
            assert_eq!(reserve(&same).unwrap().ports[0].host_port, port);
        }
    }

    #[test]
    fn a_choice_of_ports_passes_over_what_containers_publish() {
        let free = reserve(&[request("127.0.0.1", None, 80, Protocol::Tcp)]).unwrap().ports[0];
        let published = [PortMapping { host_address: "0.0.0.0".parse().unwrap(), ..free }];
        let (first, last) = (free.host_port, free.host_port.saturating_add(20));
        let range = [request("127.0.0.1", Some((first, last)), 80, Protocol::Tcp)];
        assert_ne!(reserve_beside(&range, &published).unwrap().ports[0].host_port, first);
        let one = [request("127.0.0.1", Some((first, first)), 80, Protocol::Tcp)];
        let error = reserve_beside(&one, &published).unwrap_err().to_string();
        assert!(
            error.contains(&format!("127.0.0.1:{first} failed: port is already allocated")),
            "{error}"
        );
        let udp = [request("127.0.0.1", Some((first, first)), 80, Protocol::Udp)];
        assert!(reserve_beside(&udp, &published).is_ok());
    }

    #[test]
    fn an_address_that_the_host_lacks_is_another_failure() {
        let error =
            reserve(&[request("203.0.113.1", Some((80, 80)), 80, Protocol::Tcp)]).unwrap_err();
        assert!(
            error.to_string().contains("203.0.113.1:80 failed: address not available"),
            "{error}"
        );
    }
}
