//! What is left of containers that are no more: found by comparing the state directory with who is alive.
//!
//! Nothing here is needed in a life without accidents: a container's own removal undoes its plans and gives its leases
//! back. It is for a container's directory that somebody deleted by hand.

use super::apply;
use super::error::{Error, Result};
use super::firewall;
use super::link::{is_link_of, is_veth_of_ours, open};
use super::name::{InterfaceName, NetworkName};
use super::netlink::route::{Link, RouteSocket, missing_is_fine};
use super::netns;
use super::plan::{NetworkPlan, Rules, Step};
use super::state::{Lock, State};
use crate::id::ContainerId;
use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

/// What belongs to nobody.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Connections on record: links, firewall elements, names, calls of plug-ins.
    pub plans: Vec<NetworkPlan>,
    /// Leased addresses.
    pub leases: Vec<(NetworkName, IpAddr)>,
}

impl Orphans {
    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plans.is_empty() && self.leases.is_empty()
    }
}

/// Finds what belongs to containers that are not among `living`, who are asked for last: a container is there before it is connected.
///
/// # Errors
/// The state directory or the containers cannot be read.
pub fn find<E: From<Error>>(
    state: &State,
    living: impl FnOnce() -> std::result::Result<HashSet<ContainerId>, E>,
) -> std::result::Result<Orphans, E> {
    let mut plans = state.connected()?;
    let mut leases = state.leased()?;
    let living = living()?;
    plans.retain(|plan| !living.contains(&plan.container));
    let is_dead = |owner: &str| ContainerId::parse(owner).is_none_or(|id| !living.contains(&id));
    leases.retain(|(_, _, owner)| is_dead(owner));
    let leases = leases.into_iter().map(|(network, address, _)| (network, address)).collect();
    Ok(Orphans { plans, leases })
}

/// Undoes and gives back all of it; goes on after an error.
#[must_use]
pub fn clear(state: &State, orphans: &Orphans) -> Vec<Error> {
    let removed = orphans.plans.iter().map(|plan| apply::remove(state, plan, None));
    let mut errors: Vec<Error> = removed.filter_map(std::result::Result::err).collect();
    for (network, address) in &orphans.leases {
        errors.extend(state.forget_lease(network, *address).err());
    }
    errors
}

/// The addresses that the packet filter knows and no connection on record has: those of another state directory's containers, and of any
/// whose record was lost. What is published for one of them leads to whoever has it next, so nobody is given it.
///
/// # Errors
/// The records cannot be read, or netlink is refused.
pub fn strays(state: &State, _lock: &Lock) -> Result<BTreeSet<IpAddr>> {
    let plans = state.connected()?;
    let strangers = state.run(|| strangers(&plans))?;
    Ok(strangers.into_iter().flat_map(|rules| rules.addresses).collect())
}

/// Whoever is connected where the calling thread is and not by one of these plans, as far as the packet filter knows.
pub(super) fn strangers(plans: &[NetworkPlan]) -> Result<Vec<Rules>> {
    let known = plans.iter().filter_map(NetworkPlan::rules).flat_map(|rules| &rules.addresses);
    firewall::strangers(&known.copied().collect())
}

/// Those of the strays that are nobody's any more: on their bridge, every container's link is on record.
///
/// # Errors
/// As [`strays`].
pub fn lost(state: &State) -> Result<BTreeSet<IpAddr>> {
    // Whoever is connecting or disconnecting is waited for.
    let _lock = state.lock()?;
    lost_locked(state)
}

fn lost_locked(state: &State) -> Result<BTreeSet<IpAddr>> {
    let plans = state.connected()?;
    let links = plans.iter().flat_map(|plan| &plan.steps).filter_map(|step| match step {
        Step::Veth { name, .. } => Some(name.as_str()),
        _ => None,
    });
    let links: HashSet<&str> = links.collect();
    state.run(|| {
        let (mut socket, mut lost) = (open()?, BTreeSet::new());
        for Rules { bridge, addresses, .. } in strangers(&plans)? {
            if !has_another(&mut socket, &bridge, &links)? {
                lost.extend(addresses);
            }
        }
        Ok(lost)
    })
}

/// Whether a container's link is a port of a bridge that is none of these.
fn has_another(
    socket: &mut RouteSocket,
    bridge: &InterfaceName,
    links: &HashSet<&str>,
) -> Result<bool> {
    let is_another = |port: &Link| is_veth_of_ours(port) && !links.contains(port.name.as_str());
    Ok(ports(socket, bridge)?.iter().any(is_another))
}

/// The ports of a bridge; none of one that is gone.
fn ports(socket: &mut RouteSocket, bridge: &InterfaceName) -> Result<Vec<Link>> {
    let failed = |error| Error::kernel("read the ports of a bridge", error);
    match socket.link(bridge).map_err(failed)? {
        Some(bridge) => socket.ports(bridge.index).map_err(failed),
        None => Ok(Vec::new()),
    }
}

/// Makes the packet filter forget what is [`lost`].
///
/// # Errors
/// As [`strays`], or the kernel refuses.
pub fn forget_lost(state: &State) -> Result<()> {
    let _lock = state.lock()?;
    let lost = lost_locked(state)?;
    state.run(|| firewall::forget(&lost))
}

/// Takes away the host's ends of a container's links that no record tells of. The kernel does so when it comes to the namespace, which may
/// take long, or be never where somebody has it open; until then they count as those of another state directory's container.
///
/// # Errors
/// As [`strays`], or the kernel refuses.
pub fn take_links(state: &State, container: &ContainerId) -> Result<()> {
    let plans = state.connected()?;
    state.run(|| {
        let bridges: BTreeSet<_> = strangers(&plans)?.into_iter().map(|one| one.bridge).collect();
        let mut socket = open()?;
        for bridge in &bridges {
            let of_container = |port: &Link| is_link_of(container, port);
            for port in ports(&mut socket, bridge)?.into_iter().filter(of_container) {
                missing_is_fine(socket.delete_link(port.index)).map_err(|error| {
                    Error::kernel(format_args!("delete veth `{}`", port.name), error)
                })?;
            }
        }
        Ok(())
    })
}

/// Makes the packet filter forget those of them that are inside of a container's namespace, which is about to go.
///
/// # Errors
/// As [`strays`], or the kernel refuses.
pub fn forget_strays_within(state: &State, namespace: BorrowedFd<'_>) -> Result<()> {
    let inside = netns::run_in(namespace, || {
        let failed = |error| Error::kernel("read the addresses of a container", error);
        open()?.every_address().map_err(failed)
    })?;
    let lock = state.lock()?;
    let mut strays = strays(state, &lock)?;
    strays.retain(|address| inside.contains(address));
    if strays.is_empty() { Ok(()) } else { state.run(|| firewall::forget(&strays)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{definition, ipam};

    #[test]
    fn a_lease_of_nobody_is_found_and_given_back() {
        let run = tempfile::tempdir().unwrap();
        let state = State::open(run.path()).unwrap();
        let network = definition::built_in("10.1.0.0/29".parse().unwrap());
        let (alive, dead) = (ContainerId::random(), ContainerId::random());
        ipam::reserve(&state, &network, &alive, &[], &BTreeSet::new()).unwrap();
        ipam::reserve(&state, &network, &dead, &[], &BTreeSet::new()).unwrap();
        let living = || Ok::<_, Error>(HashSet::from([alive.clone()]));
        let orphans = find(&state, living).unwrap();
        assert_eq!(orphans.leases, [(network.name, "10.1.0.3".parse().unwrap())]);
        assert!(clear(&state, &orphans).is_empty());
        assert!(find(&state, living).unwrap().is_empty());
        assert_eq!(state.leased().unwrap().len(), 1);
    }
}
