//! Published ports: Docker's `-p` syntax, and the choice of the host's ports.
//!
//! Two types: a [`PortRequest`] is what was typed, a [`PortMapping`] what it means. A host port is tried by binding
//! it, and stays taken as long as the reservation's sockets are held; between containers, the firewall's map decides.

mod holder;
mod proxy;
mod reservation;

pub use proxy::Proxy;
pub(crate) use reservation::ITSELF;
pub use reservation::{Reservation, Taken, reserve};

use super::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
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
    /// The host's address; without one, every address of the families that the container has.
    pub host_address: Option<IpAddr>,
    /// The host's port.
    pub host_port: HostPort,
    /// The container's port.
    pub container_port: u16,
    /// Of this protocol.
    pub protocol: Protocol,
}

impl PortRequest {
    /// The same port of the host once more.
    #[must_use]
    pub fn again(port: &PortMapping) -> Self {
        Self {
            host_address: Some(port.host_address),
            host_port: HostPort::FirstOf(port.host_port..=port.host_port),
            container_port: port.container_port,
            protocol: port.protocol,
        }
    }
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
            || self.host_address.is_ipv4() == other.host_address.is_ipv4()
                && (self.host_address.is_unspecified() || other.host_address.is_unspecified());
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

/// Parses one `--expose`, or a key of an image's ExposedPorts: `PORT[-PORT][/PROTOCOL]`.
///
/// # Errors
/// [`Error::Invalid`].
pub fn parse_exposed(text: &str) -> Result<Vec<(u16, Protocol)>> {
    let requests = parse(text)?;
    if text.contains(':') {
        return Err(Error::Invalid {
            what: "exposed port",
            text: text.to_owned(),
            reason: "invalid port format for --expose".into(),
        });
    }
    Ok(requests.iter().map(|request| (request.container_port, request.protocol)).collect())
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
        // Any, as in bind(2).
        "0" if container.len() == 1 => None,
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

fn parse_address(text: &str) -> std::result::Result<Option<IpAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bare.map_or_else(
        // An IPv6 address without brackets cannot be told from ports.
        || text.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(drop),
        |bare| bare.parse().map_err(drop),
    )
    .map(Some)
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
                let host_address = host_address.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
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
            host_address: (!address.is_empty()).then(|| address.parse().unwrap()),
            host_port: host.map_or(HostPort::Any, |(first, last)| HostPort::FirstOf(first..=last)),
            container_port: container,
            protocol,
        }
    }

    #[test]
    fn every_form_of_dockers_syntax_reads() {
        use Protocol::{Sctp, Tcp, Udp};
        for (text, expected) in [
            ("80", request("", None, 80, Tcp)),
            ("8080:80", request("", Some((8080, 8080)), 80, Tcp)),
            ("53:53/udp", request("", Some((53, 53)), 53, Udp)),
            ("53:53/UDP", request("", Some((53, 53)), 53, Udp)),
            ("1:1/sctp", request("", Some((1, 1)), 1, Sctp)),
            ("127.0.0.1:8080:80", request("127.0.0.1", Some((8080, 8080)), 80, Tcp)),
            ("127.0.0.1::80", request("127.0.0.1", None, 80, Tcp)),
            ("8000-8010:80", request("", Some((8000, 8010)), 80, Tcp)),
            ("0.0.0.0:81:80", request("0.0.0.0", Some((81, 81)), 80, Tcp)),
            ("[::1]:8080:80", request("::1", Some((8080, 8080)), 80, Tcp)),
            (":80", request("", None, 80, Tcp)),
            ("0:80", request("", None, 80, Tcp)),
            ("127.0.0.1:0:80", request("127.0.0.1", None, 80, Tcp)),
        ] {
            assert_eq!(parse(text).unwrap(), [expected], "{text}");
        }
    }

    #[test]
    fn ranges_of_one_length_go_port_by_port() {
        let both = parse("8000-8001:80-81/udp").unwrap();
        assert_eq!(both[0], request("", Some((8000, 8000)), 80, Protocol::Udp));
        assert_eq!(both[1], request("", Some((8001, 8001)), 81, Protocol::Udp));
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
            ("0:80-81", "invalid hostPort: 0"),
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
}
