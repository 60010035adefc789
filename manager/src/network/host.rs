//! What a plan needs to know of the host, read once.
//!
//! Facts about the namespace of the calling thread; nothing is changed and nothing is remembered.

use super::error::{Error, Result};
use super::link::open;
use super::name::InterfaceName;
use super::netlink::route::{Route, RouteSocket};
use super::plan::{NetworkPlan, bridge_mac};
use super::subnet::Subnet;
use netlink_packet_route::AddressFamily;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

/// The switch by which a host passes IPv4 packets on, as a path below `/proc/sys`.
pub(super) const IPV4_FORWARDING: &str = "net/ipv4/ip_forward";

/// The same of IPv6.
pub(super) const IPV6_FORWARDING: &str = "net/ipv6/conf/all/forwarding";

/// The switches that have to be on for connected containers, IPv4's first.
pub(super) fn switches(connected: &[NetworkPlan]) -> impl Iterator<Item = &'static str> {
    let mut forwarding = connected.iter().filter(|plan| plan.forwards).peekable();
    let ipv4 = forwarding.peek().map(|_| IPV4_FORWARDING);
    let ipv6 = forwarding.any(NetworkPlan::has_ipv6).then_some(IPV6_FORWARDING);
    ipv4.into_iter().chain(ipv6)
}

/// The switch of `br_netfilter`, which is not there without it.
const BRIDGE_FILTERS_IPV6: &str = "net/bridge/bridge-nf-call-ip6tables";

/// The probed facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// The destinations of the main table's routes that leave by another link than the default network's bridge;
    /// the default route is not among them.
    pub routes: Vec<Subnet>,
    /// The MTU of the link that the default route leaves by.
    pub uplink_mtu: Option<u32>,
    /// Whether the host forwards IPv4 already.
    pub forwarding: bool,
    /// Whether the kernel has IPv6, and with it router advertisements to refuse.
    pub ipv6: bool,
    /// Whether the host forwards IPv6 already.
    pub ipv6_forwarding: bool,
    /// Whether IPv6 packets are filtered already where a bridge takes them in (`br_netfilter`).
    pub bridge_filters_ipv6: bool,
    /// What the network's bridge has of the host's own addresses, if somebody else has made it.
    pub lent: Option<BTreeSet<IpAddr>>,
    /// The links that listen to a router, as long as the host does not forward IPv6.
    pub router_advertised: Vec<InterfaceName>,
}

impl HostFacts {
    /// Reads the facts of the calling thread's network namespace.
    ///
    /// # Errors
    /// netlink is refused, or `/proc/sys` is not there.
    pub fn probe() -> Result<Self> {
        let mut socket = open()?;
        let failed = |error| Error::kernel("read the host's routes", error);
        let mut routes = read_routes(&mut socket)?;
        let bridge: InterfaceName = super::definition::DEFAULT_BRIDGE.parse()?;
        let own = socket.link(&bridge).map_err(failed)?.map(|link| link.index);
        routes.sort_by_key(|route| route.metric);
        let is_way_out = |route: &&Route| route.destination.is_default() && is_ipv4(route);
        let uplink = routes.iter().find(is_way_out);
        let uplink_mtu = match uplink.and_then(|route| route.interface) {
            Some(index) => socket.link_at(index).map_err(failed)?.map(|link| link.mtu),
            None => None,
        };
        routes.retain(|route| {
            !route.destination.is_default() && (own.is_none() || route.interface != own)
        });
        Ok(Self {
            routes: routes.into_iter().map(|route| route.destination).collect(),
            uplink_mtu,
            forwarding: read_sysctl(IPV4_FORWARDING)?.as_deref() == Some("1"),
            ipv6: has_ipv6(),
            ipv6_forwarding: false,
            bridge_filters_ipv6: false,
            lent: None,
            router_advertised: Vec::new(),
        })
    }

    /// Adds the destinations of all routes of the calling thread's network namespace, for networks that stand in another one, and
    /// whose traffic leaves by this one. The default network's bridge is somebody else's here.
    ///
    /// # Errors
    /// netlink is refused.
    pub fn add_routes(&mut self) -> Result<()> {
        let mut socket = open()?;
        let routes = read_routes(&mut socket)?.into_iter().map(|route| route.destination);
        self.routes.extend(routes.filter(|destination| !destination.is_default()));
        Ok(())
    }

    /// Leaves out the routes by one link: a network that stands on it hides nothing of where it leads.
    ///
    /// # Errors
    /// netlink is refused.
    pub fn leave_out(&mut self, link: &InterfaceName) -> Result<()> {
        let mut socket = open()?;
        let found = socket.link(link).map_err(|error| Error::kernel("look for a link", error))?;
        let Some(link) = found else { return Ok(()) };
        for route in read_routes(&mut socket)? {
            let is_by_link = route.interface == Some(link.index);
            let same = self.routes.iter().position(|known| *known == route.destination);
            if let Some(at) = same.filter(|_| is_by_link) {
                self.routes.remove(at);
            }
        }
        Ok(())
    }

    /// Reads what there is of a network's bridge, in the calling thread's network namespace.
    ///
    /// # Errors
    /// netlink is refused.
    pub fn probe_bridge(&mut self, bridge: &InterfaceName) -> Result<()> {
        let failed = |error| Error::kernel(format_args!("look at bridge `{bridge}`"), error);
        let mut socket = open()?;
        let found = socket.link(bridge).map_err(failed)?;
        self.lent = match found.filter(|link| link.mac != Some(bridge_mac(bridge))) {
            Some(link) => Some(socket.addresses(link.index).map_err(failed)?.into_iter().collect()),
            None => None,
        };
        Ok(())
    }

    /// Reads what only a network with IPv6 has to know.
    ///
    /// # Errors
    /// `/proc/sys` is not there, or the kernel has no IPv6.
    pub fn probe_ipv6(&mut self) -> Result<()> {
        const LINKS: &str = "/proc/sys/net/ipv6/conf";
        self.bridge_filters_ipv6 = read_sysctl(BRIDGE_FILTERS_IPV6)?.as_deref() == Some("1");
        self.ipv6_forwarding = read_sysctl(IPV6_FORWARDING)?.as_deref() == Some("1");
        if self.ipv6_forwarding {
            return Ok(());
        }
        let entries =
            std::fs::read_dir(LINKS).map_err(|error| Error::file("read", LINKS, error))?;
        for entry in entries.flatten() {
            // `all` and `default` are no interface names.
            let name = entry.file_name().into_string().unwrap_or_default();
            let Ok(link) = name.parse::<InterfaceName>() else { continue };
            let accepts = read_sysctl(&format!("net/ipv6/conf/{link}/accept_ra"))?;
            if link.as_str() != "lo" && accepts.as_deref() == Some("1") {
                self.router_advertised.push(link);
            }
        }
        self.router_advertised.sort();
        Ok(())
    }
}

fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

fn is_ipv4(route: &Route) -> bool {
    route.destination.network().is_ipv4()
}

/// The routes of the main table, of both families.
fn read_routes(socket: &mut RouteSocket) -> Result<Vec<Route>> {
    let failed = |error| Error::kernel("read the host's routes", error);
    let mut routes = socket.routes(AddressFamily::Inet).map_err(failed)?;
    if has_ipv6() {
        let of_ipv6 = socket.routes(AddressFamily::Inet6).map_err(failed)?;
        routes.extend(of_ipv6.into_iter().filter(|route| !is_link_local(&route.destination)));
    }
    Ok(routes)
}

/// Every link has fe80::/64, and a program says which one it means.
fn is_link_local(subnet: &Subnet) -> bool {
    matches!(subnet.network(), IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Whether the calling thread's network namespace has a link of this name.
///
/// # Errors
/// netlink is refused.
pub fn has_link(name: &InterfaceName) -> Result<bool> {
    let mut socket = open()?;
    let link = socket.link(name).map_err(|error| Error::kernel("look for a link", error))?;
    Ok(link.is_some())
}

/// A sysctl's value in the calling thread's network namespace; `None` if there is no such sysctl.
pub(crate) fn read_sysctl(key: &str) -> Result<Option<String>> {
    let path = format!("/proc/sys/{key}");
    match std::fs::read_to_string(&path) {
        Ok(value) => Ok(Some(value.trim_end().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("read", path, error)),
    }
}

/// Writes a sysctl of the calling thread's network namespace.
pub(crate) fn write_sysctl(key: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{key}");
    std::fs::write(&path, value).map_err(|error| Error::file("write", path, error))
}
