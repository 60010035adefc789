//! Decides everything about one container on one network: pure.
//!
//! The plan is a flat list of steps in the order in which they are taken, host first. It is also the record that is
//! written before the first of them, so it names every object that may have to be undone and never a descriptor.

pub mod carrying;
pub mod gateway;
mod mac;
mod step;

pub use gateway::Claim;
pub use mac::MacAddress;
pub use step::{Place, Plugin, PublishedPort, Rules, Step};

use super::definition::{Bridge, Definition, Driver, LEAST_MTU_OF_IPV6};
use super::endpoint::InterfaceSysctl;
use super::error::{Error, Result};
use super::host::{HostFacts, IPV4_FORWARDING, IPV6_FORWARDING};
use super::ipam::{Lease, LeasedAddress};
use super::name::{InterfaceName, NetworkName};
use super::plugin;
use super::port::{ITSELF, PortMapping};
use crate::id::ContainerId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Without a definition's or an up-link's.
const ETHERNET_MTU: u32 = 1500;

/// The link-local address of a bridge with IPv6, as in Docker.
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

const LOOPBACK: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Everything that connecting one container to one network does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPlan {
    /// Which container.
    pub container: ContainerId,
    /// What it was called when it was connected, for messages about it.
    #[serde(default)]
    pub container_name: String,
    /// Which network.
    pub network: NetworkName,
    /// That network's id; empty in what an older version has written.
    #[serde(default)]
    pub network_id: String,
    /// Its driver, by Docker's word.
    #[serde(default)]
    pub driver: String,
    /// Whether the network has no way out.
    #[serde(default)]
    pub internal: bool,
    /// Whether the host passes packets on for the container: another one may have switched that on, and gone since.
    #[serde(default)]
    pub forwards: bool,
    /// The bridge on the host; a plug-in that is not built in may have none.
    pub bridge: Option<InterfaceName>,
    /// The container's interface.
    pub interface: InterfaceName,
    /// Its number; without one it is in its name.
    #[serde(default)]
    pub interface_number: Option<u8>,
    /// What places it among the container's networks.
    #[serde(default)]
    pub claim: Option<Claim>,
    /// That place.
    #[serde(default)]
    pub rank: Option<u32>,
    /// The container's link address, if it is ours to choose.
    pub mac: Option<MacAddress>,
    /// The container's addresses; a plug-in's own are added when it has been called.
    pub addresses: Vec<LeasedAddress>,
    /// What is published on the host.
    pub ports: Vec<PortMapping>,
    /// In the order in which they are taken.
    pub steps: Vec<Step>,
}

/// How a container appears on a network.
#[derive(Clone, Debug, Default)]
pub struct Appearance {
    /// The container's name.
    pub container_name: String,
    /// What neighbours may call it besides its name.
    pub names: Vec<String>,
    /// The number of its interface: `eth0`, `eth1` and so on.
    pub number: u8,
    /// What it is called instead, if that was asked for.
    pub interface: Option<InterfaceName>,
    /// Parameters of the interface that were asked for.
    pub sysctls: Vec<InterfaceSysctl>,
    /// Addresses of the interface beside those that are leased.
    pub link_local: Vec<IpAddr>,
    /// What it was asked for about the default route.
    pub gw_priority: i64,
    /// Its place among the container's networks.
    pub rank: u32,
    /// Its link address, if that was asked for.
    pub mac: Option<MacAddress>,
    /// Addresses that were asked for, for a plug-in that leases by itself.
    pub addresses: Vec<IpAddr>,
}

impl NetworkPlan {
    /// The number of the container's interface.
    #[must_use]
    pub fn number(&self) -> u8 {
        let in_name = || self.interface.as_str().trim_start_matches("eth").parse().ok();
        self.interface_number.or_else(in_name).unwrap_or(u8::MAX)
    }

    /// The container, for messages about what it holds.
    #[must_use]
    pub fn holder(&self) -> String {
        format!("container `{}`", self.label())
    }

    /// The container's name; one that has none is called by its id.
    #[must_use]
    pub fn label(&self) -> &str {
        match self.container_name.as_str() {
            "" => self.container.short(),
            name => name,
        }
    }

    /// What neighbours may call the container besides its own name.
    #[must_use]
    pub fn names(&self) -> &[String] {
        let names = self.steps.iter().find_map(|step| match step {
            Step::Names { names } => Some(names.as_slice()),
            _ => None,
        });
        names.unwrap_or_default()
    }

    /// The firewall's part of the plan.
    #[must_use]
    pub fn rules(&self) -> Option<&Rules> {
        self.steps.iter().find_map(|step| match step {
            Step::Firewall(rules) => Some(rules),
            _ => None,
        })
    }
}

impl fmt::Display for NetworkPlan {
    /// A line per step.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

/// Plans one container's connection to one network.
///
/// # Errors
/// [`Error::Plan`] for what the definition does not allow, [`Error::PortAllocated`] for a port that is published twice.
pub fn plan(
    definition: &Definition,
    lease: &Lease,
    appearance: &Appearance,
    ports: &[PortMapping],
    host: &HostFacts,
) -> Result<NetworkPlan> {
    check(definition, lease, ports, host)?;
    let mut plan = NetworkPlan {
        container: lease.container.clone(),
        container_name: appearance.container_name.clone(),
        network: definition.name.clone(),
        network_id: definition.id(),
        driver: definition.driver_name().to_owned(),
        internal: definition.about.internal,
        forwards: false,
        bridge: definition.bridge().map(|bridge| bridge.name.clone()),
        interface: match &appearance.interface {
            Some(name) => name.clone(),
            None => interface_name(appearance.number)?,
        },
        interface_number: Some(appearance.number),
        claim: Some(Claim::of(definition, appearance.gw_priority)),
        rank: Some(appearance.rank),
        mac: appearance.mac,
        addresses: lease.addresses.clone(),
        ports: ports.to_vec(),
        steps: Vec::new(),
    };
    match &definition.driver {
        Driver::Bridge(bridge) => {
            let mac = appearance.mac.unwrap_or_else(|| lease.link_address());
            plan.mac = Some(mac);
            let least = if plan.has_ipv6() { LEAST_MTU_OF_IPV6 } else { 0 };
            let of_uplink = host.uplink_mtu.map(|mtu| mtu.max(least));
            let mtu = bridge.mtu.or(of_uplink).unwrap_or(ETHERNET_MTU);
            plan.plan_forwarding(bridge, host);
            plan.plan_bridge(bridge, host, mtu);
            plan.plan_firewall(bridge);
            plan.plan_loopback(bridge);
            plan.plan_link(bridge, appearance.number, mac, mtu)?;
            plan.plan_names(appearance);
            plan.plan_inside(bridge, appearance, takes_ipv6(host, mtu))?;
        }
        Driver::Foreign(_) => {
            plan.plan_names(appearance);
            let lo = "lo".parse()?;
            plan.steps.push(Step::Up { place: Place::Container, interface: lo });
        }
    }
    plan.plan_plugins(definition, appearance);
    if let Driver::Foreign(_) = &definition.driver {
        // The plug-in makes the interface.
        plan.plan_wishes(appearance);
    }
    Ok(plan)
}

/// What an interface of that number is called where nothing else is asked for.
///
/// # Errors
/// None: such a name fits the kernel.
pub fn interface_name(number: u8) -> Result<InterfaceName> {
    format!("eth{number}").parse()
}

impl NetworkPlan {
    /// The same connection with these ports published, if nman's own rules are what publishes them.
    #[must_use]
    pub fn with_ports(mut self, ports: Vec<PortMapping>) -> Option<Self> {
        self.ports = ports;
        let published = self.published();
        let mut steps = self.steps.iter_mut();
        let rules = steps.find_map(|step| match step {
            Step::Firewall(rules) => Some(rules),
            _ => None,
        })?;
        rules.published = published;
        Some(self)
    }

    pub(super) fn has_ipv6(&self) -> bool {
        self.addresses.iter().any(|leased| leased.address.is_ipv6())
    }

    /// Left on when the last container goes: by then others may have come to rely on it.
    fn plan_forwarding(&mut self, bridge: &Bridge, host: &HostFacts) {
        if !bridge.is_gateway || self.internal {
            return;
        }
        self.forwards = true;
        let switch = |key: String, value: &str, previous: &str| Step::Sysctl {
            place: Place::Host,
            key,
            value: value.into(),
            previous: Some(previous.into()),
        };
        if !host.forwarding {
            self.steps.push(switch(IPV4_FORWARDING.into(), "1", "0"));
        }
        if self.has_ipv6() && !host.ipv6_forwarding {
            // A host that forwards stops listening to its router, unless it is told to go on (accept_ra = 2).
            for link in &host.router_advertised {
                self.steps.push(switch(format!("net/ipv6/conf/{link}/accept_ra"), "2", "1"));
            }
            self.steps.push(switch(IPV6_FORWARDING.into(), "1", "0"));
        }
    }

    fn plan_bridge(&mut self, bridge: &Bridge, host: &HostFacts, mtu: u32) {
        let name = bridge.name.clone();
        self.steps.push(Step::Bridge { name: name.clone(), mac: bridge_mac(&name), mtu });
        if takes_ipv6(host, mtu) && host.lent.is_none() {
            // Before the link is up: a container could make itself the host's router (CVE-2020-13401). By a bridge that was there
            // before, the host's own router may be reached, and whoever is on it could have done so already.
            self.steps.push(Step::set(Place::Host, format!("net/ipv6/conf/{name}/accept_ra"), "0"));
        }
        if self.has_ipv6() {
            let key = format!("net/ipv6/conf/{name}/disable_ipv6");
            self.steps.push(Step::set(Place::Host, key, "0"));
        }
        if bridge.is_gateway {
            self.steps.extend(self.addresses.iter().map(|leased| Step::Address {
                place: Place::Host,
                interface: name.clone(),
                address: leased.gateway,
                prefix: leased.subnet.prefix(),
            }));
        }
        if bridge.is_gateway && self.has_ipv6() {
            // Neighbours are asked for with it what the host passes on. The kernel's own comes up to two seconds later: when
            // the bridge has its first port, and nobody else is found to have it.
            self.steps.push(Step::Address {
                place: Place::Host,
                interface: name.clone(),
                address: LINK_LOCAL.into(),
                prefix: 64,
            });
        }
        self.steps.push(Step::Up { place: Place::Host, interface: name.clone() });
        if bridge.is_gateway && bridge.portmap && self.has_ipv6() && !host.bridge_filters_ipv6 {
            // What `route_localnet` is for IPv4: the answer to the host's own [::1]:PORT comes in by the bridge, and is for
            // [::1] again once its translation is undone. The kernel drops what says so on the wire before that, and with
            // br_netfilter, which undoes it on the bridge, the answer as well. Goes with the link, so after it is up.
            let address = LOOPBACK;
            self.steps.push(Step::LocalRoute { interface: name, address });
        }
    }

    /// Before the container has a link: there is no moment in which it is connected and not kept apart.
    fn plan_firewall(&mut self, bridge: &Bridge) {
        self.steps.push(Step::Firewall(Rules {
            bridge: bridge.name.clone(),
            addresses: self.addresses.iter().map(|leased| leased.address).collect(),
            masquerade: bridge.masquerade && !self.internal,
            isolate: bridge.firewall || self.internal,
            internal: self.internal,
            published: self.published(),
        }));
    }

    /// After the firewall, which keeps the other direction shut (CVE-2020-8558), and only where it has rules for the bridge. Set with or
    /// without ports: the bridge is shared with containers that have some.
    fn plan_loopback(&mut self, bridge: &Bridge) {
        let has_ipv4 = self.addresses.iter().any(|leased| leased.address.is_ipv4());
        if bridge.is_gateway && bridge.portmap && has_ipv4 {
            // The host's own 127.0.0.1:PORT leaves by the bridge.
            self.steps.push(Step::set(Place::Host, route_localnet(&bridge.name), "1"));
        }
    }

    /// The ports, each with the address of the container that it leads to. What is published everywhere is on [::1] by itself,
    /// where that works: elsewhere it stays the host's own, and who tries it first goes on to 127.0.0.1.
    fn published(&self) -> Vec<PublishedPort> {
        let publish = |(mapping, target): (PortMapping, SocketAddr)| {
            let host = mapping.host_address;
            let everywhere = PublishedPort {
                host: (!host.is_unspecified()).then_some(host),
                host_port: mapping.host_port,
                protocol: mapping.protocol,
                address: target.ip(),
                port: target.port(),
            };
            let on_loopback = host.is_ipv6() && host.is_unspecified() && self.routes_loopback();
            let loopback = PublishedPort { host: Some(LOOPBACK), ..everywhere };
            [Some(everywhere), on_loopback.then_some(loopback)]
        };
        self.targets().flat_map(publish).flatten().collect()
    }

    /// The ports that are published, each with where it leads to: the container's address of its family.
    pub fn targets(&self) -> impl Iterator<Item = (PortMapping, SocketAddr)> {
        self.ports.iter().filter_map(|mapping| {
            let mut addresses = self.addresses.iter().map(|leased| leased.address);
            let is_ipv4 = mapping.host_address.is_ipv4();
            let address = addresses.find(|address| address.is_ipv4() == is_ipv4)?;
            Some((*mapping, SocketAddr::new(address, mapping.container_port)))
        })
    }

    /// Whether the host's own [::1] can reach a published port.
    fn routes_loopback(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::LocalRoute { .. }))
    }

    fn plan_link(&mut self, bridge: &Bridge, number: u8, mac: MacAddress, mtu: u32) -> Result<()> {
        self.steps.push(Step::Veth {
            name: veth_name(&self.container, number).parse()?,
            mac: veth_mac(&self.container, number),
            peer: self.interface.clone(),
            peer_mac: mac,
            bridge: bridge.name.clone(),
            mtu,
            hairpin: bridge.hairpin,
            isolated: bridge.port_isolation,
        });
        Ok(())
    }

    fn plan_names(&mut self, appearance: &Appearance) {
        if !appearance.names.is_empty() {
            self.steps.push(Step::Names { names: appearance.names.clone() });
        }
    }

    fn plan_inside(
        &mut self,
        bridge: &Bridge,
        appearance: &Appearance,
        takes_ipv6: bool,
    ) -> Result<()> {
        let (place, interface) = (Place::Container, self.interface.clone());
        self.steps.push(Step::Up { place, interface: "lo".parse()? });
        // Before the link is up: a neighbour could make itself the container's router (CVE-2020-10749). Without an address of
        // that family there is none of it at all, not even between neighbours (CVE-2024-32473).
        let family = format!("net/ipv6/conf/{interface}/disable_ipv6");
        if self.has_ipv6() {
            let router = format!("net/ipv6/conf/{interface}/accept_ra");
            self.steps.push(Step::set(place, router, "0"));
            self.steps.push(Step::set(place, family, "0"));
        } else if takes_ipv6 {
            self.steps.push(Step::set(place, family, "1"));
        }
        self.steps.extend(self.addresses.iter().map(|leased| Step::Address {
            place,
            interface: interface.clone(),
            address: leased.address,
            prefix: leased.subnet.prefix(),
        }));
        self.plan_wishes(appearance);
        // Routes need the link up.
        self.steps.push(Step::Up { place, interface: interface.clone() });
        for route in bridge.routes.iter().filter(|_| !self.internal) {
            let same_family = |leased: &&LeasedAddress| {
                leased.gateway.is_ipv4() == route.destination.network().is_ipv4()
            };
            let gateway = route
                .gateway
                .or_else(|| self.addresses.iter().find(same_family).map(|leased| leased.gateway));
            self.steps.push(Step::Route {
                interface: interface.clone(),
                destination: route.destination,
                gateway,
                metric: gateway::metric(route.destination.network(), appearance.rank),
            });
        }
        Ok(())
    }

    /// After the addresses, which a parameter may take away, and before the link is up.
    fn plan_wishes(&mut self, appearance: &Appearance) {
        let (place, interface) = (Place::Container, self.interface.clone());
        if let (true, false) = (appearance.link_local.iter().any(IpAddr::is_ipv6), self.has_ipv6())
        {
            // As for one that is leased: no neighbour is to make itself the container's router.
            for (name, value) in [("accept_ra", "0"), ("disable_ipv6", "0")] {
                let key = format!("net/ipv6/conf/{interface}/{name}");
                self.steps.push(Step::set(place, key, value));
            }
        }
        self.steps.extend(appearance.link_local.iter().map(|address| Step::Address {
            place,
            interface: interface.clone(),
            address: *address,
            prefix: if address.is_ipv4() { 16 } else { 64 },
        }));
        let sysctl =
            |sysctl: &InterfaceSysctl| Step::set(place, sysctl.key(&interface), &sysctl.value);
        self.steps.extend(appearance.sysctls.iter().map(sysctl));
    }

    /// After everything that is built in: a chained plug-in finds the interface that it works on.
    fn plan_plugins(&mut self, definition: &Definition, appearance: &Appearance) {
        let first = match &definition.driver {
            Driver::Foreign(plugin) => Some(plugin),
            Driver::Bridge(_) => None,
        };
        for plugin in first.into_iter().chain(&definition.chained) {
            let step = plugin::prepare(self, definition, plugin, &appearance.addresses);
            self.steps.push(Step::Plugin(step));
        }
    }
}

/// Whether the kernel has IPv6 on a link of that MTU.
fn takes_ipv6(host: &HostFacts, mtu: u32) -> bool {
    host.ipv6 && mtu >= LEAST_MTU_OF_IPV6
}

/// The host's end of a container's link: the interface's number makes it the only one of that name.
pub(super) fn veth_name(container: &ContainerId, number: u8) -> String {
    const LONGEST: usize = 15;
    let number = if number == 0 { String::new() } else { number.to_string() };
    let mut name = format!("nm{}", container.short());
    name.truncate(LONGEST - number.len());
    name + &number
}

/// By the number, as the name: in the container's next life the same name may be another network's, and the link of the last life, which
/// the kernel may not have taken away yet, is still known for ours.
pub(super) fn veth_mac(container: &ContainerId, number: u8) -> MacAddress {
    MacAddress::derived(&format!("{container}#{number}"))
}

/// The link address that marks a bridge as made by this program, by its name.
pub(crate) fn bridge_mac(name: &InterfaceName) -> MacAddress {
    MacAddress::derived(&format!("bridge {name}"))
}

/// The switch by which a bridge takes 127.0.0.0/8 for an address like any other, as a path below `/proc/sys`.
pub(super) fn route_localnet(bridge: &InterfaceName) -> String {
    format!("net/ipv4/conf/{bridge}/route_localnet")
}

fn check(
    definition: &Definition,
    lease: &Lease,
    ports: &[PortMapping],
    host: &HostFacts,
) -> Result<()> {
    let refuse = |reason: String| {
        Err(Error::Plan {
            container: lease.container.short().to_owned(),
            network: definition.name.to_string(),
            reason,
        })
    };
    if lease.network != definition.name {
        return refuse(format!("the lease is of network `{}`", lease.network));
    }
    if let (Some(first), false) = (ports.first(), definition.publishes()) {
        return refuse(format!(
            "{first} cannot be published: the network is internal, or has no `portmap` plug-in or no gateway"
        ));
    }
    let v6 = ports.iter().find(|port| port.host_address.is_ipv6());
    if let (Some(v6), false) = (v6, definition.has_ipv6()) {
        return refuse(format!("{v6} cannot be published: the network has no IPv6 subnet"));
    }
    let loopback = ports.iter().find(|port| port.host_address == LOOPBACK);
    if let (Some(loopback), true) = (loopback, host.bridge_filters_ipv6) {
        return refuse(format!(
            "{loopback} cannot be published: br_netfilter keeps answers from [::1] (net.bridge.bridge-nf-call-ip6tables is 1)"
        ));
    }
    for (index, port) in ports.iter().enumerate() {
        if ports[..index].iter().any(|other| port.collides(other)) {
            return Err(Error::PortAllocated {
                address: (port.host_address, port.host_port).into(),
                protocol: port.protocol,
                holder: Some(ITSELF.into()),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
