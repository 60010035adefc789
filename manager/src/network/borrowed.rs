//! Bridges that somebody else has made: what they were like before containers came to them, which they become again.
//!
//! It is written down, under the lock, before the first step that changes one. Nobody is connected any more when it is taken back, and what
//! is guarded goes before the guard: `route_localnet` without those rules opens the host's 127.0.0.1 to every neighbour on the bridge
//! (CVE-2020-8558).

use super::error::{Error, Result};
use super::firewall;
use super::host::{read_sysctl, write_sysctl};
use super::name::InterfaceName;
use super::netlink::route::{RouteSocket, missing_is_fine};
use super::plan::{NetworkPlan, Place, Step, bridge_mac, route_localnet};
use super::state::State;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What there was of a bridge, as far as connections change it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Borrowed {
    /// Files of `/proc/sys` with what was in them.
    sysctls: BTreeMap<String, String>,
    /// Addresses that it did not have, with the lengths of their prefixes.
    addresses: BTreeSet<(IpAddr, u8)>,
    /// Addresses of the host that packets were not taken for where they came in by it.
    local_routes: BTreeSet<IpAddr>,
}

/// Writes down what the steps of a plan are about to change of its bridge, if that was not made here.
pub(super) fn note(
    state: &State,
    socket: &mut RouteSocket,
    plan: &NetworkPlan,
    bridge: &InterfaceName,
) -> Result<()> {
    let failed = |error| Error::kernel(format_args!("look at bridge `{bridge}`"), error);
    let found = socket.link(bridge).map_err(failed)?;
    let Some(link) = found.filter(|link| link.mac != Some(bridge_mac(bridge))) else {
        return Ok(());
    };
    let noted = state.noted_bridge::<Borrowed>(bridge)?;
    // What another state directory's container has opened is closed by whoever leaves last.
    let is_shared = noted.is_none()
        && firewall::strangers(&BTreeSet::new())?.iter().any(|home| home.bridge == *bridge);
    let mut borrowed = noted.clone().unwrap_or_default();
    let had = socket.addresses(link.index).map_err(failed)?;
    for step in &plan.steps {
        match step {
            Step::Sysctl { place: Place::Host, key, .. }
                if key.split('/').any(|part| part == bridge.as_str()) =>
            {
                if let (false, Some(value)) =
                    (borrowed.sysctls.contains_key(key), read_sysctl(key)?)
                {
                    let is_opened = is_shared && *key == route_localnet(bridge);
                    let value = if is_opened { "0".to_owned() } else { value };
                    borrowed.sysctls.insert(key.clone(), value);
                }
            }
            Step::Address { place: Place::Host, address, prefix, .. } if !had.contains(address) => {
                borrowed.addresses.insert((*address, *prefix));
            }
            Step::LocalRoute { address, .. } => {
                borrowed.local_routes.insert(*address);
            }
            _ => {}
        }
    }
    match noted.as_ref() == Some(&borrowed) {
        true => Ok(()),
        false => state.note_bridge(bridge, &borrowed),
    }
}

/// Makes a bridge that nobody is connected to what it was; one of ours, which may stay for somebody else's ports, routes no 127.0.0.0/8.
pub(super) fn give_back(
    state: &State,
    socket: &mut RouteSocket,
    bridge: &InterfaceName,
) -> Result<()> {
    let failed = |error| Error::kernel(format_args!("give bridge `{bridge}` back"), error);
    let link = socket.link(bridge).map_err(failed)?;
    let Some(borrowed) = state.noted_bridge::<Borrowed>(bridge)? else {
        return match link {
            Some(link) if link.mac == Some(bridge_mac(bridge)) => {
                put_back(&route_localnet(bridge), "0")
            }
            _ => Ok(()),
        };
    };
    if let Some(link) = link {
        borrowed.sysctls.iter().try_for_each(|(key, value)| put_back(key, value))?;
        for (address, prefix) in &borrowed.addresses {
            missing_is_fine(socket.delete_address(link.index, *address, *prefix))
                .map_err(failed)?;
        }
        for address in &borrowed.local_routes {
            missing_is_fine(socket.delete_local_route(link.index, *address)).map_err(failed)?;
        }
    }
    state.forget_bridge(bridge)
}

/// The same of every bridge that is guarded or was noted, but for those that are in use.
pub(super) fn give_back_all_but(
    used: &[InterfaceName],
    state: &State,
    socket: &mut RouteSocket,
) -> Result<()> {
    let mut bridges: BTreeSet<InterfaceName> = state.noted_bridges()?.into_iter().collect();
    bridges.extend(firewall::bridges()?);
    let mut idle = bridges.iter().filter(|bridge| !used.contains(bridge));
    idle.try_for_each(|bridge| give_back(state, socket, bridge))
}

fn put_back(key: &str, value: &str) -> Result<()> {
    match read_sysctl(key)? {
        Some(current) if current != value => write_sysctl(key, value),
        _ => Ok(()),
    }
}
