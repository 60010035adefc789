//! The steps of a plan: each is one thing that the kernel does at once, and each can say what it is.

use super::MacAddress;
use crate::network::name::InterfaceName;
use crate::network::port::Protocol;
use crate::network::subnet::Subnet;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// In which network namespace a step is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The caller's.
    Host,
    /// The container's.
    Container,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "lowercase")]
pub enum Step {
    /// Write a file of `/proc/sys`.
    Sysctl {
        /// Where.
        place: Place,
        /// With slashes, as interface names may have dots.
        key: String,
        /// What is written.
        value: String,
        /// What a failed connection writes back; without it, the value goes with its interface.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<String>,
    },
    /// Make a bridge on the host, unless there is one of that name.
    Bridge {
        /// Its name.
        name: InterfaceName,
        /// Its link address, by which it is known as ours.
        mac: MacAddress,
        /// Its MTU.
        mtu: u32,
    },
    /// Give an interface an address.
    Address {
        /// Where.
        place: Place,
        /// Which.
        interface: InterfaceName,
        /// The address.
        address: IpAddr,
        /// The subnet's prefix length.
        prefix: u8,
    },
    /// Set an interface up.
    Up {
        /// Where.
        place: Place,
        /// Which.
        interface: InterfaceName,
    },
    /// Make the host's rules, if they are not there, and this container's elements of their sets.
    Firewall(Rules),
    /// Make a pair of links, one a port of the bridge, the other in the container.
    Veth {
        /// The host's end.
        name: InterfaceName,
        /// Its link address, by which it is known as this container's.
        mac: MacAddress,
        /// The container's end.
        peer: InterfaceName,
        /// Its link address.
        peer_mac: MacAddress,
        /// The bridge.
        bridge: InterfaceName,
        /// The MTU of both.
        mtu: u32,
        /// Whether the bridge may send a frame back by this port.
        hairpin: bool,
        /// Whether the bridge keeps this port from the others that are isolated.
        #[serde(default)]
        isolated: bool,
    },
    /// Make the container's names known to the resolvers of its neighbours.
    Names {
        /// In lower case.
        names: Vec<String>,
    },
    /// Call a plug-in that is not built in.
    Plugin(Plugin),
    /// Take packets for one of the host's own addresses also where they come in by another of its interfaces.
    LocalRoute {
        /// Which interface.
        interface: InterfaceName,
        /// The address.
        address: IpAddr,
    },
    /// Add a route in the container.
    Route {
        /// Leaving by.
        interface: InterfaceName,
        /// Where to.
        destination: Subnet,
        /// By way of.
        gateway: Option<IpAddr>,
        /// Higher is used later; zero is the kernel's own choice.
        #[serde(default)]
        metric: u32,
    },
}

/// One call of a plug-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugin {
    /// The program's name in CNI_PATH.
    pub kind: String,
    /// What it reads, without the result of the plug-in before it.
    pub config: serde_json::Value,
    /// CNI_ARGS.
    pub args: String,
    /// Whether it is not to be asked if everything is as it left it: its list says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unchecked: bool,
}

/// What one container has in the firewall's sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// The network's bridge.
    pub bridge: InterfaceName,
    /// The container's addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether they leave the host under the host's address.
    pub masquerade: bool,
    /// Whether only published ports are reached from beyond the bridge.
    pub isolate: bool,
    /// Whether nothing leaves the bridge for elsewhere.
    #[serde(default)]
    pub internal: bool,
    /// The published ports.
    pub published: Vec<PublishedPort>,
}

/// One published port as the firewall has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// One address of the host; `None` is every address of the family.
    pub host: Option<IpAddr>,
    /// The host's port.
    pub host_port: u16,
    /// Of this protocol.
    pub protocol: Protocol,
    /// The container's address.
    pub address: IpAddr,
    /// The container's port.
    pub port: u16,
}

impl PublishedPort {
    /// The host's address and port; the unspecified address is every address.
    #[must_use]
    pub fn on_host(&self) -> SocketAddr {
        let every: IpAddr = match self.address {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        SocketAddr::new(self.host.unwrap_or(every), self.host_port)
    }
}

impl Step {
    /// A sysctl that needs no undoing.
    pub(super) fn set(place: Place, key: String, value: &str) -> Self {
        Self::Sysctl { place, key, value: value.to_owned(), previous: None }
    }

    /// Where the step is taken.
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Self::Sysctl { place, .. } | Self::Address { place, .. } | Self::Up { place, .. } => {
                *place
            }
            Self::Bridge { .. }
            | Self::Firewall(_)
            | Self::Veth { .. }
            | Self::Names { .. }
            | Self::LocalRoute { .. }
            | Self::Plugin(_) => Place::Host,
            Self::Route { .. } => Place::Container,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Container => "container",
        })
    }
}

impl fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = SocketAddr::new(self.address, self.port);
        write!(f, "{} {} to {target}", self.protocol, self.on_host())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sysctl { place, key, value, .. } => write!(f, "{place}: sysctl {key} = {value}"),
            Self::Bridge { name, mac, mtu } => write!(f, "host: bridge {name} {mac} mtu {mtu}"),
            Self::Address { place, interface, address, prefix } => {
                write!(f, "{place}: address {address}/{prefix} on {interface}")
            }
            Self::Up { place, interface } => write!(f, "{place}: set {interface} up"),
            Self::Firewall(rules) => write!(f, "host: firewall for {rules}"),
            Self::Veth { name, mac, peer, peer_mac, bridge, mtu, hairpin, isolated } => {
                let flags = [(*hairpin, " hairpin"), (*isolated, " isolated")];
                write!(f, "host: veth {name} {mac} on {bridge}")?;
                flags.iter().filter(|flag| flag.0).try_for_each(|flag| f.write_str(flag.1))?;
                write!(f, ", {peer} {peer_mac} in container, mtu {mtu}")
            }
            Self::Names { names } => write!(f, "host: names {}", names.join(", ")),
            Self::Plugin(plugin) => write!(f, "host: plug-in {}", plugin.kind),
            Self::LocalRoute { interface, address } => {
                write!(f, "host: local route {address} on {interface}")
            }
            Self::Route { interface, destination, gateway, metric } => {
                write!(f, "container: route {destination}")?;
                if let Some(gateway) = gateway {
                    write!(f, " via {gateway}")?;
                }
                write!(f, " on {interface}")?;
                if *metric > 0 { write!(f, " metric {metric}") } else { Ok(()) }
            }
        }
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        write!(f, "{} on {}", addresses.join(" "), self.bridge)?;
        let flags = [
            (self.masquerade, ", masqueraded"),
            (self.isolate, ", isolated"),
            (self.internal, ", internal"),
        ];
        flags.iter().filter(|flag| flag.0).try_for_each(|flag| f.write_str(flag.1))?;
        self.published.iter().try_for_each(|port| write!(f, ", {port}"))
    }
}
