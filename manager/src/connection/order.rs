//! How a container's networks come one after another: which has the default route, and what their interfaces are called.
//!
//! Ports are published, in each family, where answers leave: on the first of those that can. Interfaces are numbered, and made, as the
//! networks were given.

use super::ground;
use crate::error::{Error, Result};
use crate::network::plan::gateway::{self, Claim, PlaceBeside};
use crate::network::plan::interface_name;
use crate::network::{
    Definition, Endpoint, InterfaceName, NetworkName, NetworkPlan, State, definition,
};
use crate::settings::Settings;

/// How many networks a container can be on: interfaces are numbered by a byte.
const MOST: usize = 1 << u8::BITS;

/// A network with its place among the container's.
#[derive(Debug)]
pub(super) struct Placed<'a> {
    pub(super) endpoint: &'a Endpoint,
    /// Of the interface.
    pub(super) number: u8,
    pub(super) interface: InterfaceName,
    /// Of the default route.
    pub(super) rank: u32,
    /// Whether IPv4 and IPv6 ports may be published on it.
    pub(super) carries: [bool; 2],
}

/// The networks of a container that is on none yet, in the order in which they were given.
///
/// # Errors
/// A network is not there, or two interfaces are to be called the same.
pub(super) fn place<'a>(
    settings: &Settings,
    state: &State,
    endpoints: &'a [Endpoint],
) -> Result<Vec<Placed<'a>>> {
    let named = names(endpoints)?;
    let mut placed: Vec<Placed<'a>> = Vec::new();
    for ((number, endpoint), name) in (0..=u8::MAX).zip(endpoints).zip(&named) {
        let interface = call(name.as_ref(), |interface| {
            placed.iter().any(|other| other.interface == *interface)
                || named.iter().flatten().any(|name| name == interface)
        })?;
        placed.push(Placed { endpoint, number, interface, rank: 0, carries: [true; 2] });
    }
    // The only one of a container is the first in any case.
    if placed.len() > 1 {
        let definitions = definitions(settings, state, endpoints)?;
        let claim = |placed: &Placed<'_>, definition| {
            Claim::of(definition, placed.endpoint.wishes.gw_priority)
        };
        let mut ordered: Vec<_> = placed.iter_mut().zip(&definitions).collect();
        ordered.sort_by_cached_key(|(placed, definition)| claim(placed, definition));
        let mut free = [true; 2];
        for (rank, (placed, definition)) in (0..).zip(ordered) {
            placed.rank = rank;
            let has = families(definition);
            placed.carries = [free[0] && has[0], free[1] && has[1]];
            free = [free[0] && !has[0], free[1] && !has[1]];
        }
    }
    Ok(placed)
}

/// Whether a network publishes ports on IPv4 and on IPv6.
fn families(definition: &Definition) -> [bool; 2] {
    let has = |v6: bool| {
        let mut ranges = definition.ranges().into_iter();
        definition.publishes() && ranges.any(|range| range.subnet.network().is_ipv6() == v6)
    };
    [has(false), has(true)]
}

/// One more network of a container that runs.
pub(super) struct PlacedBeside<'a> {
    /// As it joins.
    pub(super) placed: Placed<'a>,
    /// The rank that is its own, once the others have made way.
    pub(super) rank: u32,
    /// The connections that have to, as they are and as they come to be, in that order.
    pub(super) moves: Vec<(NetworkPlan, NetworkPlan)>,
}

/// The place of one more network.
///
/// # Errors
/// As [`place`].
pub(super) fn place_beside<'a>(
    settings: &Settings,
    state: &State,
    endpoint: &'a Endpoint,
    connected: &[NetworkPlan],
) -> Result<PlacedBeside<'a>> {
    let name = names(std::slice::from_ref(endpoint))?.pop().flatten();
    if let Some(name) = &name
        && let Some(other) = connected.iter().find(|plan| plan.interface == *name)
    {
        return Err(called_twice(name, &endpoint.network, &other.network));
    }
    let is_free = |number: &u8| connected.iter().all(|plan| plan.number() != *number);
    let number = (0..=u8::MAX).find(is_free).ok_or_else(too_many)?;
    let is_taken = |name: &InterfaceName| connected.iter().any(|plan| plan.interface == *name);
    let interface = call(name.as_ref(), is_taken)?;
    let place = match connected {
        [] => PlaceBeside::default(),
        _ => {
            let own = definitions(settings, state, std::slice::from_ref(endpoint))?;
            let claim = own.first().map(|own| Claim::of(own, endpoint.wishes.gw_priority));
            claim.map(|claim| gateway::place_beside(connected, &claim)).unwrap_or_default()
        }
    };
    let PlaceBeside { rank, joins_at, moved } = place;
    let before =
        |after: &NetworkPlan| connected.iter().find(|plan| plan.network == after.network).cloned();
    let moves = moved.into_iter().filter_map(|after| Some((before(&after)?, after))).collect();
    let placed = Placed { endpoint, number, interface, rank: joins_at, carries: [true; 2] };
    Ok(PlacedBeside { placed, rank, moves })
}

fn too_many() -> Error {
    Error::refusal(format!("a container cannot be on more than {MOST} networks"))
}

fn definitions(
    settings: &Settings,
    state: &State,
    endpoints: &[Endpoint],
) -> Result<Vec<Definition>> {
    let host = ground::facts(settings, Some(state))?;
    let find = |endpoint: &Endpoint| {
        Ok(definition::find(&settings.root, endpoint.network.as_str(), &host)?)
    };
    endpoints.iter().map(find).collect()
}

/// What interfaces are to be called, where that was asked for; no more than there are numbers for.
fn names(endpoints: &[Endpoint]) -> Result<Vec<Option<InterfaceName>>> {
    if endpoints.len() > MOST {
        return Err(too_many());
    }
    let mut names: Vec<Option<InterfaceName>> = Vec::new();
    for endpoint in endpoints {
        let name = endpoint.wishes.interface().map_err(Error::refusal)?;
        if let Some(name) = &name
            && let Some(at) = names.iter().position(|other| other.as_ref() == Some(name))
        {
            return Err(called_twice(name, &endpoint.network, &endpoints[at].network));
        }
        names.push(name);
    }
    Ok(names)
}

/// What an interface is called: as in Docker the first of `eth0`, `eth1` and so on that is free, where nothing is asked for.
fn call(
    name: Option<&InterfaceName>,
    is_taken: impl Fn(&InterfaceName) -> bool,
) -> Result<InterfaceName> {
    if let Some(name) = name {
        return Ok(name.clone());
    }
    for number in 0..=u8::MAX {
        let own = interface_name(number)?;
        if !is_taken(&own) {
            return Ok(own);
        }
    }
    Err(too_many())
}

fn called_twice(name: &InterfaceName, network: &NetworkName, other: &NetworkName) -> Error {
    Error::refusal(format!(
        "cannot call the interface on network `{network}` `{name}`: the one on network `{other}` is called so"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::endpoint::INTERFACE;

    fn endpoint(network: &str, interface: Option<&str>) -> Endpoint {
        let mut endpoint = Endpoint::on(network.parse().unwrap());
        if let Some(name) = interface {
            endpoint.wishes.add_driver_opt(&format!("{INTERFACE}={name}")).unwrap();
        }
        endpoint
    }

    #[test]
    fn interfaces_are_numbered_round_what_was_asked_for() {
        let named: Vec<Option<InterfaceName>> = [None, Some("eth0"), Some("wan"), None]
            .map(|name| name.map(|name| name.parse().unwrap()))
            .into();
        let mut all: Vec<InterfaceName> = Vec::new();
        for name in &named {
            let is_taken = |wanted: &InterfaceName| {
                all.contains(wanted) || named.iter().flatten().any(|name| name == wanted)
            };
            all.push(call(name.as_ref(), is_taken).unwrap());
        }
        let all: Vec<&str> = all.iter().map(InterfaceName::as_str).collect();
        assert_eq!(all, ["eth1", "eth0", "wan", "eth2"]);
    }

    #[test]
    fn two_interfaces_are_not_called_the_same() {
        let endpoints =
            [endpoint("a", Some("wan")), endpoint("b", None), endpoint("c", Some("wan"))];
        let error = names(&endpoints).unwrap_err().to_string();
        assert_eq!(
            error,
            "cannot call the interface on network `c` `wan`: the one on network `a` is called so"
        );
    }

    #[test]
    fn there_is_no_number_for_one_network_more_than_256() {
        let endpoints: Vec<Endpoint> =
            (0..=MOST).map(|number| endpoint(&format!("n{number}"), None)).collect();
        assert_eq!(names(&endpoints[1..]).unwrap().len(), 256);
        let error = names(&endpoints).unwrap_err().to_string();
        assert_eq!(error, "a container cannot be on more than 256 networks");
    }
}
