//! What was asked for about one network of a container: written down, and carried out at every start.

use super::name::NetworkName;
use super::plan::MacAddress;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A container's wish to be on a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Which network.
    pub network: NetworkName,
    /// What neighbours may call the container, in lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// `--ip`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Ipv4Addr>,
    /// `--ip6`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip6: Option<Ipv6Addr>,
    /// `--mac-address`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
}

impl Endpoint {
    /// One without wishes.
    #[must_use]
    pub fn on(network: NetworkName) -> Self {
        Self { network, aliases: Vec::new(), ip: None, ip6: None, mac: None }
    }

    /// Whether it is on none: `none` stands on the list as a network does, and alone.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.network.as_str() == "none"
    }

    /// The addresses that were asked for.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.ip.map(IpAddr::V4).into_iter().chain(self.ip6.map(IpAddr::V6)).collect()
    }
}
