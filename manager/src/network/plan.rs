//! Decides everything about one container on one network: pure.
//!
//! The plan is a flat list of steps in the order in which they are taken, host first. It is also the record that is
//! written before the first of them, so it names every object that may have to be undone and never a descriptor.

mod mac;
mod step;

pub use mac::MacAddress;
pub use step::{Place, PublishedPort, Rules, Step};

use super::definition::Definition;
use super::error::{Error, Result};
use super::host::HostFacts;
use super::ipam::{Lease, LeasedAddress};
use super::name::{InterfaceName, NetworkName};
use super::port::PortMapping;
use crate::container::id::ContainerId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// What a container's interface is called inside.
const INTERFACE: &str = "eth0";
/// Without a definition's or an up-link's.
const ETHERNET_MTU: u32 = 1500;

/// Everything that connecting one container to one network does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPlan {
    /// Which container.
    pub container: ContainerId,
    /// Which network.
    pub network: NetworkName,
    /// The bridge on the host.
    pub bridge: InterfaceName,
    /// The container's interface.
    pub interface: InterfaceName,
    /// The container's link address.
    pub mac: MacAddress,
    /// The container's addresses.
    pub addresses: Vec<LeasedAddress>,
    /// What is published on the host.
    pub ports: Vec<PortMapping>,
    /// In the order in which they are taken.
    pub steps: Vec<Step>,
}

impl NetworkPlan {
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
    ports: &[PortMapping],
    host: &HostFacts,
) -> Result<NetworkPlan> {
    check(definition, lease, ports)?;
    let mac = lease.addresses.first().map_or_else(
        || MacAddress::derived(lease.container.as_str()),
        |leased| MacAddress::of_address(leased.address),
    );
    let mut plan = NetworkPlan {
        container: lease.container.clone(),
        network: definition.name.clone(),
        bridge: definition.bridge.clone(),
        interface: INTERFACE.parse()?,
        mac,
        addresses: lease.addresses.clone(),
        ports: ports.to_vec(),
        steps: Vec::new(),
    };
    let mtu = definition.mtu.or(host.uplink_mtu).unwrap_or(ETHERNET_MTU);
    plan.plan_bridge(definition, host, mtu);
    plan.plan_firewall(definition);
    plan.plan_link(definition, mtu)?;
    plan.plan_inside(definition, host)?;
    Ok(plan)
}

impl NetworkPlan {
    fn plan_bridge(&mut self, definition: &Definition, host: &HostFacts, mtu: u32) {
        let name = self.bridge.clone();
        if definition.is_gateway && !host.forwarding {
            // Left on when the last container goes: by then others may have come to rely on it.
            self.steps.push(Step::Sysctl {
                place: Place::Host,
                key: "net/ipv4/ip_forward".into(),
                value: "1".into(),
                previous: Some("0".into()),
            });
        }
        self.steps.push(Step::Bridge { name: name.clone(), mac: bridge_mac(&name), mtu });
        if host.ipv6 {
            // Before the link is up: a container could make itself the host's router (CVE-2020-13401).
            self.steps.push(Step::set(Place::Host, format!("net/ipv6/conf/{name}/accept_ra"), "0"));
        }
        if definition.is_gateway && definition.portmap {
            // The host's own 127.0.0.1:PORT leaves by the bridge. The firewall keeps the other direction shut
            // (CVE-2020-8558). Set with or without ports: the bridge is shared with containers that have some.
            self.steps.push(Step::set(
                Place::Host,
                format!("net/ipv4/conf/{name}/route_localnet"),
                "1",
            ));
        }
        if definition.is_gateway {
            self.steps.extend(self.addresses.iter().map(|leased| Step::Address {
                place: Place::Host,
                interface: name.clone(),
                address: leased.gateway,
                prefix: leased.subnet.prefix(),
            }));
        }
        self.steps.push(Step::Up { place: Place::Host, interface: name });
    }

    /// Before the container has a link: there is no moment in which it is connected and not kept apart.
    fn plan_firewall(&mut self, definition: &Definition) {
        let addresses: Vec<Ipv4Addr> = self
            .addresses
            .iter()
            .filter_map(|leased| match leased.address {
                IpAddr::V4(v4) => Some(v4),
                IpAddr::V6(_) => None,
            })
            .collect();
        let target = addresses.first().copied();
        let publish = |(mapping, address): (&PortMapping, Ipv4Addr)| match mapping.host_address {
            IpAddr::V4(host) => Some(PublishedPort {
                host: (!host.is_unspecified()).then_some(host),
                host_port: mapping.host_port,
                protocol: mapping.protocol,
                address,
                port: mapping.container_port,
            }),
            IpAddr::V6(_) => None,
        };
        let published =
            self.ports.iter().filter_map(|mapping| publish((mapping, target?))).collect();
        self.steps.push(Step::Firewall(Rules {
            bridge: self.bridge.clone(),
            addresses,
            masquerade: definition.masquerade,
            isolate: definition.firewall,
            published,
        }));
    }

    fn plan_link(&mut self, definition: &Definition, mtu: u32) -> Result<()> {
        self.steps.push(Step::Veth {
            name: format!("nm{}", self.container.short()).parse()?,
            mac: MacAddress::derived(&format!("{}@{}", self.container, self.network)),
            peer: self.interface.clone(),
            peer_mac: self.mac,
            bridge: self.bridge.clone(),
            mtu,
            hairpin: definition.hairpin,
        });
        Ok(())
    }

    fn plan_inside(&mut self, definition: &Definition, host: &HostFacts) -> Result<()> {
        let (place, interface) = (Place::Container, self.interface.clone());
        self.steps.push(Step::Up { place, interface: "lo".parse()? });
        if host.ipv6 {
            // Before the link is up: a neighbour could make itself the container's router (CVE-2020-10749).
            self.steps.push(Step::set(place, format!("net/ipv6/conf/{interface}/accept_ra"), "0"));
        }
        self.steps.extend(self.addresses.iter().map(|leased| Step::Address {
            place,
            interface: interface.clone(),
            address: leased.address,
            prefix: leased.subnet.prefix(),
        }));
        // Routes need the link up.
        self.steps.push(Step::Up { place, interface: interface.clone() });
        for route in &definition.routes {
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
            });
        }
        Ok(())
    }
}

/// The link address that marks a bridge as made by this program, by its name.
pub(crate) fn bridge_mac(name: &InterfaceName) -> MacAddress {
    MacAddress::derived(&format!("bridge {name}"))
}

fn check(definition: &Definition, lease: &Lease, ports: &[PortMapping]) -> Result<()> {
    let refuse = |reason: String| {
        Err(Error::Plan {
            container: lease.container.short().to_owned(),
            network: definition.name.to_string(),
            reason,
        })
    };
    if let Some(foreign) = definition.foreign.first() {
        return refuse(format!("its plug-in `{}` is not built in", foreign.kind));
    }
    if lease.network != definition.name {
        return refuse(format!("the lease is of network `{}`", lease.network));
    }
    if let (Some(first), false) = (ports.first(), definition.portmap && definition.is_gateway) {
        return refuse(format!(
            "{first} cannot be published: the network has no `portmap` plug-in or no gateway"
        ));
    }
    if let Some(v6) = ports.iter().find(|port| port.host_address.is_ipv6()) {
        return refuse(format!("{v6} cannot be published: the network has no IPv6 subnet"));
    }
    for (index, port) in ports.iter().enumerate() {
        if ports[..index].iter().any(|other| port.collides(other)) {
            return Err(Error::PortAllocated {
                address: (port.host_address, port.host_port).into(),
                protocol: port.protocol,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
