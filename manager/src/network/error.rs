//! What can go wrong between a network's definition and a connected container.
//!
//! Variants are what a caller branches on; the text of each is one line that names the object and the reason.

use super::netlink;
use super::port::{ITSELF, Protocol};
use bundle::reason::reason;
use rustix::io::Errno;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where the records of connections are, below the directory of the networks' state.
pub(super) const RECORDS: &str = "connected";

/// The result of this module's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a network could not be read, planned, connected or disconnected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No definition has that name.
    #[error("network `{name}` not found")]
    UnknownNetwork {
        /// As it was asked for.
        name: String,
    },
    /// A network of that name is there already.
    #[error("network with name {name} already exists")]
    NetworkExists {
        /// The name that was asked for.
        name: String,
    },
    /// A definition is not a conflist that can be carried out.
    #[error("cannot use the network definition `{}`{}: {reason}", path.display(), at(pointer))]
    Definition {
        /// The conflist.
        path: PathBuf,
        /// JSON pointer of the offending value; empty for the whole file.
        pointer: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Text from the command line that does not parse.
    #[error("invalid {what} `{text}`: {reason}")]
    Invalid {
        /// What the text should have been.
        what: &'static str,
        /// The text.
        text: String,
        /// Why it is not.
        reason: String,
    },
    /// Definition, lease and request do not fit together.
    #[error("cannot connect container `{container}` to network `{network}`: {reason}")]
    Plan {
        /// Short container id.
        container: String,
        /// The network's name.
        network: String,
        /// What does not fit.
        reason: String,
    },
    /// Another container has the address that was asked for.
    #[error("address {address} is already in use{}", by(holder.as_ref()))]
    AddressInUse {
        /// The address.
        address: std::net::IpAddr,
        /// Who has it, where that is known.
        holder: Option<String>,
    },
    /// Every address of a subnet is leased.
    #[error("no address is left in {range} of network `{network}`")]
    Exhausted {
        /// The network's name.
        network: String,
        /// The range that is full.
        range: String,
    },
    /// Somebody else has the host's port.
    #[error("bind for {address} failed: port is already allocated ({protocol}{})", by(holder.as_ref()))]
    PortAllocated {
        /// Host address and port.
        address: SocketAddr,
        /// TCP, UDP or SCTP.
        protocol: Protocol,
        /// Who has it, where that can be found out.
        holder: Option<String>,
    },
    /// A socket to reserve the host's port could not be made for another reason.
    #[error("bind for {address} failed: {} ({protocol})", reason(source))]
    Bind {
        /// Host address and port.
        address: SocketAddr,
        /// TCP, UDP or SCTP.
        protocol: Protocol,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The container is connected to that network already (or a crash left its record).
    #[error("container `{container}` is already connected to network `{network}`")]
    Connected {
        /// Short container id.
        container: String,
        /// The network's name.
        network: String,
    },
    /// Somebody has deleted a running container's link.
    #[error(
        "container `{container}` is cut off from network `{network}`: its interface `{link}` is gone"
    )]
    CutOff {
        /// Its name.
        container: String,
        /// The network's name.
        network: String,
        /// The host's end of what was its link.
        link: String,
    },
    /// A plug-in is not in CNI_PATH.
    #[error("cannot find the network plug-in `{kind}` in {path}")]
    NoPlugin {
        /// The conflist's `type`.
        kind: String,
        /// The directories that were searched.
        path: String,
    },
    /// A plug-in failed.
    #[error("plug-in `{kind}` failed ({command}{}): {reason}", of(network))]
    Plugin {
        /// The conflist's `type`.
        kind: String,
        /// What it was to do.
        command: &'static str,
        /// The network's name; empty outside of one.
        network: String,
        /// In its own words.
        reason: String,
    },
    /// Somebody else's interface has the name of a network's bridge.
    #[error("cannot create bridge `{bridge}`: an interface of that name is not a bridge")]
    NotABridge {
        /// The bridge's name.
        bridge: String,
    },
    /// A file of ours.
    #[error("cannot {action} `{}`: {}", path.display(), reason(source))]
    File {
        /// A verb: `read`, `create`, `lock`.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel refused something that is not about one file.
    #[error("cannot {action}: {source}")]
    Kernel {
        /// What was tried, with its object.
        action: String,
        /// The kernel's answer.
        source: netlink::Error,
    },
    /// Disconnecting went on to its end, but these things could not be undone.
    #[error(
        "cannot disconnect container `{container}` from network `{network}`: {}",
        Joined(failures)
    )]
    Leftover {
        /// Short container id.
        container: String,
        /// The network's name.
        network: String,
        /// One error for each thing that is left.
        failures: Vec<Self>,
    },
}

impl Error {
    /// What the user could do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownNetwork { name } if name == "private" => Some(
                "Podman calls so what a container has by itself: leave --network out, or say `bridge`".into(),
            ),
            Self::UnknownNetwork { .. } => Some(
                "`nman network ls` shows those that there are, `nman network create` makes one".into(),
            ),
            Self::PortAllocated { address, holder: None, .. } => Some(format!(
                "another container or a process of the host has port {}, or the packet filter has kept it of one that is gone, which `nman system check` tells; `-p CONTAINER_PORT` alone picks a free one",
                address.port()
            )),
            Self::PortAllocated { holder: Some(holder), .. } if holder == ITSELF => {
                Some("a port of the host can be given once".into())
            }
            Self::PortAllocated { holder: Some(holder), .. } => Some(format!(
                "stop {holder}, or choose another port; `-p CONTAINER_PORT` alone picks a free one"
            )),
            Self::Bind { address, source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Some(format!(
                    "low ports are root's: choose one from 1024 on, or let root run `sysctl net.ipv4.ip_unprivileged_port_start={}`",
                    address.port()
                ))
            }
            Self::Bind { source, .. } if source.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => Some(
                "a port takes an open file until its container is connected: publish fewer, or raise the hard limit (`ulimit -Hn`)".into(),
            ),
            Self::NoPlugin { .. } => Some(
                "install it (Debian has many in `containernetworking-plugins`), or name its directory in CNI_PATH"
                    .into(),
            ),
            Self::Exhausted { .. } => {
                Some("remove containers or widen the subnet in the network's conflist".into())
            }
            Self::Kernel { source, .. } if source.is_permission() => {
                Some("connecting containers to a bridge needs root (CAP_NET_ADMIN)".into())
            }
            Self::Kernel { source, .. } if source.is_unsupported() => {
                Some("a part of the kernel is missing: `nman doctor` says which".into())
            }
            Self::NotABridge { bridge } => Some(format!(
                "`ip link show {bridge}` shows it; rename it (`ip link set {bridge} name OTHER`), or give the key `bridge` in the network's conflist another name"
            )),
            Self::CutOff { container, .. } => {
                Some(format!("`nman restart {container}` connects it again"))
            }
            Self::File { path, .. }
                if self.is_damage() && path.parent().is_some_and(|at| at.ends_with(RECORDS)) =>
            {
                Some("`nman system check --repair` removes a record that does not read back".into())
            }
            Self::Connected { .. } => Some("remove the container with `nman rm -f`".into()),
            _ => None,
        }
    }

    /// Whether a file is there and is not what it should be.
    pub(crate) fn is_damage(&self) -> bool {
        use io::ErrorKind::{InvalidData, UnexpectedEof};
        matches!(self, Self::File { source, .. } if matches!(source.kind(), InvalidData | UnexpectedEof))
    }

    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::File { action, path: path.into(), source: source.into() }
    }

    /// Whether it is a disk that cannot be written.
    pub(crate) fn is_read_only(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem)
    }

    pub(crate) fn kernel(action: impl fmt::Display, source: impl Into<netlink::Error>) -> Self {
        Self::Kernel { action: action.to_string(), source: source.into() }
    }
}

fn by(holder: Option<&String>) -> String {
    holder.map_or_else(String::new, |holder| format!(", by {holder}"))
}

fn of(network: &str) -> String {
    if network.is_empty() { String::new() } else { format!(" for network `{network}`") }
}

fn at(pointer: &str) -> String {
    if pointer.is_empty() { String::new() } else { format!(" at {pointer}") }
}

struct Joined<'a>(&'a [Error]);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, failure) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{failure}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_bridges_is_for_the_doctor() {
        let hint = |errno: i32| {
            let source = netlink::Error::from(io::Error::from_raw_os_error(errno));
            Error::kernel("create bridge `nman0`", source).hint()
        };
        // EOPNOTSUPP of a type of link, EPROTONOSUPPORT of a netlink family.
        for errno in [95, 93] {
            assert!(hint(errno).unwrap().contains("`nman doctor` says which"));
        }
        assert_eq!(hint(16), None);
    }

    #[test]
    fn an_allocated_port_reads_as_docker_words_it() {
        let error = Error::PortAllocated {
            address: "0.0.0.0:80".parse().unwrap(),
            protocol: Protocol::Tcp,
            holder: Some("container `web`".into()),
        };
        assert_eq!(
            error.to_string(),
            "bind for 0.0.0.0:80 failed: port is already allocated (tcp, by container `web`)"
        );
        assert!(error.hint().unwrap().starts_with("stop container `web`"));
    }

    #[test]
    fn more_ports_than_open_files_are_told_from_a_port_that_is_taken() {
        let hint = |source: Errno| {
            let (address, protocol) = ("0.0.0.0:2000".parse().unwrap(), Protocol::Tcp);
            Error::Bind { address, protocol, source: source.into() }.hint()
        };
        assert!(hint(Errno::MFILE).unwrap().contains("`ulimit -Hn`"));
        assert_eq!(hint(Errno::ADDRNOTAVAIL), None);
    }

    #[test]
    fn leftovers_are_all_listed_on_one_line() {
        let failures = vec![
            Error::file("remove", "/a", io::Error::from_raw_os_error(1)),
            Error::file("remove", "/b", io::Error::from_raw_os_error(16)),
        ];
        let text =
            Error::Leftover { container: "c".into(), network: "n".into(), failures }.to_string();
        assert!(text.contains("`/a`: operation not permitted; cannot remove `/b`:"), "{text}");
        assert!(!text.contains('\n'));
    }
}
