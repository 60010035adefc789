//! Which of a running container's networks carries which of its published ports: pure. In each family it is the first that can, as answers
//! leave by its default route; elsewhere they would come out of another interface than the request came in by, and a strict `rp_filter`
//! drops what does.

use super::NetworkPlan;
use crate::network::port::PortMapping;

/// The connections that are to carry other ports than they do. `carriers` are those that can publish, in the order of their default
/// routes; `homeless` are ports of a network that the container has left.
#[must_use]
pub fn arrange(carriers: &[NetworkPlan], homeless: &[PortMapping]) -> Vec<NetworkPlan> {
    let carried = carriers.iter().flat_map(|plan| &plan.ports);
    let mut ports: Vec<PortMapping> = carried.chain(homeless).copied().collect();
    let mut changed = Vec::new();
    for plan in carriers {
        let (own, others): (Vec<_>, Vec<_>) = ports.iter().partition(|port| plan.reaches(port));
        ports = others;
        if own != plan.ports {
            changed.extend(plan.clone().with_ports(own));
        }
    }
    changed
}

impl NetworkPlan {
    /// Whether the container has an address on it of the family that the port is published in.
    #[must_use]
    pub fn reaches(&self, port: &PortMapping) -> bool {
        let v6 = port.host_address.is_ipv6();
        self.addresses.iter().any(|leased| leased.address.is_ipv6() == v6)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{connected, ports};
    use super::*;

    fn carrying(name: &str, texts: &[&str]) -> NetworkPlan {
        connected(name).with_ports(ports(texts)).unwrap()
    }

    fn shown(plans: &[NetworkPlan]) -> Vec<(&str, Vec<PortMapping>)> {
        plans.iter().map(|plan| (plan.network.as_str(), plan.ports.clone())).collect()
    }

    #[test]
    fn the_first_carries_what_it_can_and_nothing_changes_where_it_does() {
        let carriers = [carrying("a", &[]), carrying("b", &["80:80", "81:81"])];
        let changed = arrange(&carriers, &[]);
        assert_eq!(shown(&changed), [("a", ports(&["80:80", "81:81"])), ("b", vec![])]);
        assert_eq!(changed[0].rules().unwrap().published.len(), 2, "the rules are as the record");
        assert_eq!(shown(&arrange(&changed, &[])), []);
        let changed = arrange(&changed[..1], &ports(&["82:82"]));
        assert_eq!(shown(&changed), [("a", ports(&["80:80", "81:81", "82:82"]))]);
    }

    #[test]
    fn a_port_stays_where_its_family_is() {
        let mut both = carrying("b", &["80:80"]);
        let v6 = both.addresses[0];
        both.addresses.push(crate::network::ipam::LeasedAddress {
            address: "fd00::2".parse().unwrap(),
            ..v6
        });
        let both = both.with_ports(ports(&["80:80", "[::]:80:80"])).unwrap();
        let changed = arrange(&[carrying("a", &[]), both], &[]);
        assert_eq!(shown(&changed), [("a", ports(&["80:80"])), ("b", ports(&["[::]:80:80"]))]);
    }
}
