//! What the host has lost of connected containers: found here, and put back by [`super::reload`] as far as that can be.

use super::apply::own_link;
use super::error::{Error, Result};
use super::firewall;
use super::name::InterfaceName;
use super::netlink::route::RouteSocket;
use super::plan::{NetworkPlan, Step};
use super::state::State;
use crate::container::id::ContainerId;
use std::collections::HashSet;

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
    plans.sort_by(|a, b| (&a.container_name, a.number()).cmp(&(&b.container_name, b.number())));
    let mut socket =
        RouteSocket::open().map_err(|error| Error::kernel("open a netlink socket", error))?;
    let (mut losses, mut seen) = (Vec::new(), HashSet::new());
    for plan in &plans {
        let bridge = match &plan.bridge {
            Some(bridge) => index_of(&mut socket, bridge)?,
            None => None,
        };
        if let (Some(name), None) = (&plan.bridge, bridge)
            && seen.insert(name)
        {
            let what = format!("the bridge `{name}` of network `{}` is gone", plan.network);
            losses.push(Loss { what, remedy: Remedy::Reload });
        }
        losses.extend(of_link(&mut socket, plan, bridge)?);
    }
    let rules: Vec<_> = plans.iter().filter_map(NetworkPlan::rules).cloned().collect();
    if !firewall::is_whole(&rules)? {
        let what = "the packet filter lacks rules for containers".to_owned();
        losses.push(Loss { what, remedy: Remedy::Reload });
    }
    Ok(losses)
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

fn index_of(socket: &mut RouteSocket, bridge: &InterfaceName) -> Result<Option<u32>> {
    let link = socket
        .link(bridge)
        .map_err(|error| Error::kernel(format_args!("find bridge `{bridge}`"), error))?;
    Ok(link.filter(|link| link.kind == "bridge").map(|link| link.index))
}
