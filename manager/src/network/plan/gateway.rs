//! Which of a container's networks has its default route: pure. The others' have higher metrics, so that they are used where the
//! first one's goes.

use super::{NetworkPlan, Step};
use crate::network::definition::{Definition, Driver};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::net::IpAddr;

/// What a network has to say for itself; the least one comes first. In Docker's order: the priority that was asked for, networks
/// with a way out, gateways of both families, the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    priority: Reverse<i64>,
    internal: bool,
    gateways: Reverse<u8>,
    name: String,
}

impl Claim {
    /// That of a network on which a container is to be with this priority.
    #[must_use]
    pub fn of(definition: &Definition, priority: i64) -> Self {
        let internal = definition.about.internal;
        let gateways = match &definition.driver {
            _ if internal => 0,
            Driver::Bridge(bridge) => {
                let has = |v6: bool| {
                    let mut routes = bridge.routes.iter().map(|route| route.destination);
                    routes.any(|to| to.is_default() && to.network().is_ipv6() == v6)
                };
                u8::from(has(false)) + u8::from(has(true))
            }
            // Its plug-in makes the routes.
            Driver::Foreign(_) => 1,
        };
        Self {
            priority: Reverse(priority),
            internal,
            gateways: Reverse(gateways),
            name: definition.name.to_string(),
        }
    }
}

/// The place of a network among those that a running container is on.
#[derive(Debug, Default)]
pub struct PlaceBeside {
    /// Its rank.
    pub rank: u32,
    /// That with which it joins: behind all others, where these have to make way first.
    pub joins_at: u32,
    /// The others that make way, in the order in which each finds its new place empty.
    pub moved: Vec<NetworkPlan>,
}

/// The place of a network that a container comes to, among those that it is on.
#[must_use]
pub fn place_beside(connected: &[NetworkPlan], claim: &Claim) -> PlaceBeside {
    let mut others: Vec<&NetworkPlan> = connected.iter().collect();
    others.sort_by(|a, b| (a.claim.as_ref(), a.rank()).cmp(&(b.claim.as_ref(), b.rank())));
    let after = others.partition_point(|plan| plan.claim.as_ref() <= Some(claim));
    let rank = others[..after].last().map_or(0, |plan| plan.rank() + 1);
    let (mut free, mut moved) = (rank + 1, Vec::new());
    for plan in &others[after..] {
        if plan.rank() < free {
            moved.push((*plan).clone().with_rank(free));
        }
        free = free.max(plan.rank()) + 1;
    }
    // From the last on.
    moved.reverse();
    let joins_at = if moved.is_empty() { rank } else { free };
    PlaceBeside { rank, joins_at, moved }
}

impl NetworkPlan {
    /// Its place among the container's networks. An older version went by the interface's number.
    #[must_use]
    pub fn rank(&self) -> u32 {
        self.rank.unwrap_or_else(|| self.number().into())
    }

    /// The same connection in another place.
    #[must_use]
    pub fn with_rank(mut self, rank: u32) -> Self {
        self.rank = Some(rank);
        for step in &mut self.steps {
            if let Step::Route { destination, metric: own, .. } = step {
                *own = metric(destination.network(), rank);
            }
        }
        self
    }
}

/// The first network's routes come first; when it goes, the next one's are there. An IPv6 route without a metric has 1024.
pub(super) fn metric(family: IpAddr, rank: u32) -> u32 {
    match (rank, family) {
        (0, _) => 0,
        (rank, IpAddr::V4(_)) => 100 * rank,
        (rank, IpAddr::V6(_)) => 1024 + 100 * rank,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{connected, network};
    use super::*;

    fn claim(name: &str, priority: i64) -> Claim {
        Claim::of(&Definition { name: name.parse().unwrap(), ..network() }, priority)
    }

    #[test]
    fn the_highest_priority_comes_first_and_then_what_has_a_way_out() {
        let mut inner = network();
        inner.about.internal = true;
        inner.name = "a".parse().unwrap();
        let both = {
            let mut both = network();
            if let Driver::Bridge(bridge) = &mut both.driver {
                let mut v6 = bridge.routes[0];
                v6.destination = "::/0".parse().unwrap();
                bridge.routes.push(v6);
            }
            both.name = "z".parse().unwrap();
            Claim::of(&both, 0)
        };
        let order = [
            claim("z", 5),
            both,
            claim("b", 0),
            claim("c", 0),
            Claim::of(&inner, 0),
            claim("a", -1),
        ];
        assert!(order.is_sorted(), "{order:?}");
    }

    /// The connected ones' ranks, by their names.
    fn ranks(plans: &[NetworkPlan]) -> Vec<(&str, u32)> {
        plans.iter().map(|plan| (plan.network.as_str(), plan.rank())).collect()
    }

    #[test]
    fn a_network_that_comes_later_takes_its_place_and_others_make_way_without_meeting() {
        let plan = |name: &str, rank| {
            let mut plan = connected(name);
            plan.claim = Some(claim(name, 0));
            plan.with_rank(rank)
        };
        let beside = [plan("b", 0), plan("d", 1)];
        let place = place_beside(&beside, &claim("a", 0));
        assert_eq!((place.rank, ranks(&place.moved)), (0, vec![("d", 2), ("b", 1)]));
        assert_eq!(place.joins_at, 3, "nobody is there, before and after");
        let route = |plan: &NetworkPlan| {
            let text = plan.to_string();
            text.lines().find(|line| line.contains("route 0.0.0.0/0")).unwrap().to_owned()
        };
        let routes: Vec<String> = place.moved.iter().map(route).collect();
        assert!(routes[0].ends_with("metric 200") && routes[1].ends_with("metric 100"));
        let place = place_beside(&beside, &claim("c", 0));
        assert_eq!((place.rank, place.joins_at, ranks(&place.moved)), (1, 3, vec![("d", 2)]));
        let place = place_beside(&beside, &claim("e", 0));
        assert_eq!((place.rank, place.joins_at, ranks(&place.moved)), (2, 2, vec![]));
        // What has left leaves a gap, into which one fits.
        let place = place_beside(&[plan("b", 1), plan("d", 2)], &claim("a", 0));
        assert_eq!((place.rank, place.joins_at, ranks(&place.moved)), (0, 0, vec![]));
        assert_eq!(place_beside(&[], &claim("a", 0)).rank, 0);
    }

    #[test]
    fn what_an_older_version_has_connected_keeps_its_place() {
        let mut old = connected("z");
        (old.claim, old.rank) = (None, None);
        assert_eq!(old.rank(), 0);
        assert_eq!(place_beside(&[old], &claim("a", 0)).rank, 1);
    }
}
