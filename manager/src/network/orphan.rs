//! What is left of containers that are no more: found by comparing the state directory with who is alive.
//!
//! Nothing here is needed in a life without accidents: a container's own removal undoes its plans and gives its leases
//! back. It is for a container's directory that somebody deleted by hand.

use super::apply;
use super::error::{Error, Result};
use super::name::NetworkName;
use super::plan::NetworkPlan;
use super::state::State;
use crate::id::ContainerId;
use std::collections::HashSet;
use std::net::IpAddr;

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

/// Finds what belongs to containers that are not among `living`.
///
/// # Errors
/// The state directory cannot be read.
pub fn find(state: &State, living: &HashSet<ContainerId>) -> Result<Orphans> {
    let mut plans = state.connected()?;
    plans.retain(|plan| !living.contains(&plan.container));
    let is_dead = |owner: &str| ContainerId::parse(owner).is_none_or(|id| !living.contains(&id));
    let mut leases = state.leased()?;
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
        ipam::reserve(&state, &network, &alive, &[]).unwrap();
        ipam::reserve(&state, &network, &dead, &[]).unwrap();
        let living = HashSet::from([alive]);
        let orphans = find(&state, &living).unwrap();
        assert_eq!(orphans.leases, [(network.name, "10.1.0.3".parse().unwrap())]);
        assert!(clear(&state, &orphans).is_empty());
        assert!(find(&state, &living).unwrap().is_empty());
        assert_eq!(state.leased().unwrap().len(), 1);
    }
}
