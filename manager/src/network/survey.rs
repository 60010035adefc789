//! What the host has lost of connected containers: found here, and put back by [`super::reload`] as far as that can be.

use super::error::{Error, Result};
use super::firewall;
use super::host::{read_sysctl, switches};
use super::link::own_link;
use super::name::{InterfaceName, NetworkName};
use super::netlink::route::{Link, RouteSocket};
use super::plan::{NetworkPlan, Place, Step};
use super::state::State;
use crate::id::ContainerId;
use std::collections::HashSet;
use std::net::IpAddr;

/// Something that is not as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// What, of which network or container.
    pub what: String,
    /// What puts it back.
    pub remedy: Remedy,
}

/// What puts a loss back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// [`super::reload`].
    Reload,
    /// Another start of this container: what was in its namespace went with its link.
    Restart(String),
}

/// Finds what is lost of containers that are up, each thing once. `up` knows what each of these is called now.
///
/// # Errors
/// The records cannot be read, or netlink is refused.
pub fn find(state: &State, up: &dyn Fn(&ContainerId) -> Option<String>) -> Result<Vec<Loss>> {
    // Whoever is connecting or disconnecting is waited for.
    let _lock = state.lock()?;
    let mut plans = state.connected()?;
    plans.retain_mut(|plan| match up(&plan.container) {
        Some(name) => {
            plan.container_name = name;
            true
        }
        None => false,
    });
    let leased = state.leased()?;
    plans.sort_by(|a, b| (&a.container_name, a.number()).cmp(&(&b.container_name, b.number())));
    let mut losses = state.run(|| look(&plans))?;
    losses.extend(plans.iter().filter_map(|plan| of_lease(plan, &leased)));
    Ok(losses)
}

/// Whether a container's addresses are leased to it: another one could be given what is not.
fn of_lease(plan: &NetworkPlan, leased: &[(NetworkName, IpAddr, String)]) -> Option<Loss> {
    // A plug-in that is not built in leases by itself.
    plan.rules()?;
    let is_leased = |address: &&IpAddr| {
        leased.iter().any(|(network, leased, owner)| {
            (network, leased, owner.as_str()) == (&plan.network, *address, plan.container.as_str())
        })
    };
    let mut addresses = plan.addresses.iter().map(|leased| &leased.address);
    let address = addresses.find(|address| !is_leased(address))?;
    Some(Loss {
        what: format!(
            "{} has the address {address} of network `{}`, which is not leased to it",
            plan.holder(),
            plan.network
        ),
        remedy: Remedy::Restart(plan.label().to_owned()),
    })
}

fn look(plans: &[NetworkPlan]) -> Result<Vec<Loss>> {
    let mut socket =
        RouteSocket::open().map_err(|error| Error::kernel("open a netlink socket", error))?;
    let (mut losses, mut seen) = (Vec::new(), HashSet::new());
    for plan in plans {
        let bridge = match &plan.bridge {
            Some(bridge) => find_bridge(&mut socket, bridge)?,
            None => None,
        };
        if let Some(name) = &plan.bridge
            && seen.insert(name)
        {
            let lost = of_bridge(&mut socket, plan, bridge.as_ref())?;
            losses.extend(lost.into_iter().map(|how| Loss {
                what: format!("the bridge `{name}` of network `{}` {how}", plan.network),
                remedy: Remedy::Reload,
            }));
        }
        losses.extend(of_link(&mut socket, plan, bridge.map(|link| link.index))?);
    }
    for key in switches(plans) {
        losses.extend(of_switch(key)?);
    }
    let rules: Vec<_> = plans.iter().filter_map(NetworkPlan::rules).cloned().collect();
    if !firewall::is_whole(&rules)? {
        let what = "the packet filter lacks rules for containers".to_owned();
        losses.push(Loss { what, remedy: Remedy::Reload });
    }
    Ok(losses)
}

/// What is wrong with a bridge, to be put behind its name.
fn of_bridge(
    socket: &mut RouteSocket,
    plan: &NetworkPlan,
    bridge: Option<&Link>,
) -> Result<Vec<String>> {
    let Some(bridge) = bridge else { return Ok(vec!["is gone".to_owned()]) };
    let failed = |error| Error::kernel("read the addresses of a bridge", error);
    let addresses = socket.addresses(bridge.index).map_err(failed)?;
    let mut lost = Vec::new();
    for step in &plan.steps {
        match step {
            Step::Address { place: Place::Host, address, .. } if !addresses.contains(address) => {
                lost.push(format!("has lost its address {address}"));
            }
            Step::Up { place: Place::Host, interface }
                if interface.as_str() == bridge.name && !bridge.is_up =>
            {
                lost.push("is down".to_owned());
            }
            // Those of the bridge itself: what is the host's has a value to go back to.
            Step::Sysctl { place: Place::Host, key, value, previous: None }
                if read_sysctl(key)?.is_some_and(|current| current != *value) =>
            {
                let key = key.replace('/', ".");
                lost.push(format!("has lost its setting `{key}`, which was {value}"));
            }
            _ => {}
        }
    }
    Ok(lost)
}

/// Whether the host still passes packets on.
fn of_switch(key: &str) -> Result<Option<Loss>> {
    let is_off = read_sysctl(key)?.is_some_and(|value| value == "0");
    let what = format!("the host no longer forwards packets: `{}` is 0", key.replace('/', "."));
    Ok(is_off.then_some(Loss { what, remedy: Remedy::Reload }))
}

/// What is wrong with the host's end of a container's link.
fn of_link(
    socket: &mut RouteSocket,
    plan: &NetworkPlan,
    bridge: Option<u32>,
) -> Result<Option<Loss>> {
    let link = plan.steps.iter().find_map(|step| match step {
        Step::Veth { name, mac, .. } => Some((name, *mac)),
        _ => None,
    });
    let Some((name, mac)) = link else { return Ok(None) };
    let Some(index) = own_link(socket, name, "veth", mac)? else {
        let error = Error::CutOff {
            container: plan.label().to_owned(),
            network: plan.network.to_string(),
            link: name.to_string(),
        };
        let remedy = Remedy::Restart(plan.label().to_owned());
        return Ok(Some(Loss { what: error.to_string(), remedy }));
    };
    let Some(bridge) = bridge else { return Ok(None) };
    let ports =
        socket.ports(bridge).map_err(|error| Error::kernel("read the ports of a bridge", error))?;
    if ports.iter().any(|port| port.index == index) {
        return Ok(None);
    }
    let what = format!(
        "{} is cut off from network `{}`: its interface `{name}` is no port of the bridge",
        plan.holder(),
        plan.network
    );
    Ok(Some(Loss { what, remedy: Remedy::Reload }))
}

fn find_bridge(socket: &mut RouteSocket, bridge: &InterfaceName) -> Result<Option<Link>> {
    let link = socket
        .link(bridge)
        .map_err(|error| Error::kernel(format_args!("find bridge `{bridge}`"), error))?;
    Ok(link.filter(|link| link.kind == "bridge"))
}
