//! The PORTS column of `ps`, as Docker writes it: ports that follow one another in one piece, those without a number of their own
//! on the host before the others. Pure.

use crate::network::{PortMapping, Protocol, port};
use std::net::{IpAddr, SocketAddr};

/// Ports in a row, on the host as well if they are published.
struct Range {
    host: Option<(IpAddr, u16)>,
    first: u16,
    last: u16,
    protocol: Protocol,
}

/// `0.0.0.0:8080->80/tcp, 443/tcp` of what is exposed, as `80/tcp`, and what is published.
pub(super) fn column(exposed: &[String], published: impl Iterator<Item = PortMapping>) -> String {
    type Port = (u16, Option<(IpAddr, u16)>, Protocol);
    let of_mapping = |port: PortMapping| -> Port {
        (port.container_port, Some((port.host_address, port.host_port)), port.protocol)
    };
    let mut ports: Vec<Port> = published.map(of_mapping).collect();
    for (number, protocol) in
        exposed.iter().flat_map(|text| port::parse_exposed(text).unwrap_or_default())
    {
        if !ports.iter().any(|port| (port.0, port.2) == (number, protocol)) {
            ports.push((number, None, protocol));
        }
    }
    ports.sort_unstable();
    ports.dedup();
    let mut ranges: Vec<Range> = Vec::new();
    for (number, host, protocol) in ports {
        match ranges.iter_mut().rev().find(|range| range.goes_on(number, host, protocol)) {
            Some(range) => range.last = number,
            None => ranges.push(Range { host, first: number, last: number, protocol }),
        }
    }
    ranges.sort_by_key(Range::is_moved);
    ranges.iter().map(Range::text).collect::<Vec<_>>().join(", ")
}

impl Range {
    /// Whether a port is the next one, here and on the host.
    fn goes_on(&self, number: u16, host: Option<(IpAddr, u16)>, protocol: Protocol) -> bool {
        let next = |from: u16| u32::from(from) + u32::from(self.last - self.first) + 1;
        let on_host = match (self.host, host) {
            (None, None) => true,
            (Some((address, first)), Some((other, port))) => {
                address == other && next(first) == u32::from(port)
            }
            _ => false,
        };
        on_host && protocol == self.protocol && next(self.first) == u32::from(number)
    }

    /// Whether it has other numbers on the host.
    fn is_moved(&self) -> bool {
        self.host.is_some_and(|(_, first)| first != self.first)
    }

    fn text(&self) -> String {
        let more = |first: u16| match first + (self.last - self.first) {
            last if last == first => String::new(),
            last => format!("-{last}"),
        };
        let inside = format!("{}{}/{}", self.first, more(self.first), self.protocol);
        match self.host {
            Some((address, first)) => {
                format!("{}{}->{inside}", SocketAddr::new(address, first), more(first))
            }
            None => inside,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(exposed: &[&str], published: &[&str]) -> String {
        let exposed: Vec<String> = exposed.iter().map(|&text| text.to_owned()).collect();
        column(&exposed, published.iter().map(|text| text.parse().unwrap()))
    }

    #[test]
    fn what_is_exposed_and_not_published_is_shown() {
        assert_eq!(shown(&[], &[]), "");
        assert_eq!(shown(&["80/tcp"], &[]), "80/tcp");
        assert_eq!(shown(&["80/tcp", "53/udp"], &["8080:80"]), "53/udp, 0.0.0.0:8080->80/tcp");
        assert_eq!(shown(&["443/tcp", "80/tcp", "81/tcp"], &[]), "80-81/tcp, 443/tcp");
    }

    #[test]
    fn ports_in_a_row_are_one_range() {
        let three = ["18090:90", "18091:91", "18092:92"];
        assert_eq!(shown(&[], &three), "0.0.0.0:18090-18092->90-92/tcp");
        let same = ["80:80", "81:81", "83:83", "81:81/udp"];
        let expected = "0.0.0.0:80-81->80-81/tcp, 0.0.0.0:81->81/udp, 0.0.0.0:83->83/tcp";
        assert_eq!(shown(&[], &same), expected);
        let apart = ["18090:90", "18092:91", "127.0.0.1:18091:91"];
        let expected = "0.0.0.0:18090->90/tcp, 0.0.0.0:18092->91/tcp, 127.0.0.1:18091->91/tcp";
        assert_eq!(shown(&[], &apart), expected);
        assert_eq!(
            shown(&[], &["65534:65534", "65535:65535"]),
            "0.0.0.0:65534-65535->65534-65535/tcp"
        );
    }

    #[test]
    fn both_families_have_a_range_each() {
        let both = ["80:80", "81:81", "[::]:80:80", "[::]:81:81"];
        assert_eq!(shown(&[], &both), "0.0.0.0:80-81->80-81/tcp, [::]:80-81->80-81/tcp");
    }
}
