//! Where another's log is: how `--log-opt ...-address` names it.

use super::tls::Trust;
use std::fmt;
use std::path::PathBuf;

/// Where a syslog daemon of this machine listens, in the order in which syslog(3) implementations look.
pub(super) const LOCAL: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// This machine's syslog daemon.
    Syslog,
    Datagram(PathBuf),
    Stream(PathBuf),
    /// `HOST:PORT`
    Udp(String),
    /// `HOST:PORT`
    Tcp(String),
    /// What TLS over TCP is called there, `HOST:PORT`, and whom to take for it.
    Tls(&'static str, String, Trust),
}

impl Address {
    /// The `HOST:PORT` that is to be looked up.
    pub(super) fn place(&self) -> Option<&str> {
        match self {
            Self::Udp(place) | Self::Tcp(place) | Self::Tls(_, place, _) => Some(place),
            Self::Syslog | Self::Datagram(_) | Self::Stream(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syslog => write!(f, "{}", LOCAL[0]),
            Self::Datagram(path) | Self::Stream(path) => write!(f, "{}", path.display()),
            Self::Udp(place) => write!(f, "udp://{place}"),
            Self::Tcp(place) => write!(f, "tcp://{place}"),
            Self::Tls(scheme, place, _) => write!(f, "{scheme}://{place}"),
        }
    }
}

/// The two parts of `HOST:PORT`, of which the second need not be there; IPv6 addresses are in brackets.
pub(super) fn host_and_port(place: &str) -> (&str, Option<&str>) {
    let host_ends = place.rfind(']').map_or(0, |at| at + 1);
    match place[host_ends..].rfind(':') {
        None => (place, None),
        Some(at) => (&place[..host_ends + at], Some(&place[host_ends + at + 1..])),
    }
}

/// `HOST:PORT`, where only a host may be given. `option` is named in an error.
pub(super) fn with_port(option: &str, place: &str, default: u16) -> Result<String, String> {
    match host_and_port(place) {
        (host, None) => Ok(format!("{host}:{default}")),
        (_, Some(port)) if port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(place.to_owned()),
        (_, Some(port)) => Err(format!("{option}: `{port}` is not a port")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_told_from_the_colons_of_an_address() {
        for (place, expected) in [
            ("logs", ("logs", None)),
            ("logs:1", ("logs", Some("1"))),
            ("[fe80::1]", ("[fe80::1]", None)),
            ("[fe80::1]:1", ("[fe80::1]", Some("1"))),
            (":1", ("", Some("1"))),
        ] {
            assert_eq!(host_and_port(place), expected, "{place}");
        }
    }
}
