//! What a container's resolver knows: its neighbours, by what is on record at that moment.

use super::message;
use crate::id::ContainerId;
use crate::network::error::Result;
use crate::network::plan::NetworkPlan;
use crate::network::state::State;
use crate::network::{NetworkName, names};
use std::fs::read_link;
use std::net::IpAddr;
use std::path::PathBuf;

/// Where names are looked up, and for whom.
#[derive(Debug)]
pub struct Directory {
    /// The networks' state.
    pub state: State,
    /// Containers by name: `NAME -> ID`.
    pub names: PathBuf,
    /// Whose neighbours are known.
    pub container: ContainerId,
}

/// What came of a look.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A neighbour, by these addresses.
    Addresses(Vec<IpAddr>),
    /// A neighbour's name.
    Name(String),
    /// Of our own, and nobody has it.
    Nobody,
    /// Not ours to know: the outside may.
    Elsewhere,
    /// Not ours to know, and there is no outside: every network of the container is internal.
    Nowhere,
}

impl Directory {
    /// Looks a name up, or an address if that is what the name stands for.
    ///
    /// # Errors
    /// What is on record cannot be read: then nobody can say whose name it is, and that there is none would be a lie.
    pub(super) fn look_up(&self, name: &str, kind: u16) -> Result<Found> {
        let plans = self.state.connected_to(&self.container)?;
        let outside = match plans.iter().all(|plan| plan.internal) {
            true => Found::Nowhere,
            false => Found::Elsewhere,
        };
        if let Some(address) = message::reverse(name).filter(|_| kind == message::PTR) {
            return Ok(self.name_of(&plans, address)?.unwrap_or(outside));
        }
        for plan in &plans {
            let suffix = format!(".{}", plan.network);
            // `web` and `web.NETWORK` alike.
            let short = name
                .len()
                .checked_sub(suffix.len())
                .filter(|at| {
                    name.is_char_boundary(*at) && name[*at..].eq_ignore_ascii_case(&suffix)
                })
                .map(|at| &name[..at]);
            let mut addresses = Vec::new();
            for name in [Some(name), short].into_iter().flatten() {
                addresses.extend(self.addresses(&plan.network, name)?);
            }
            if !addresses.is_empty() {
                return Ok(Found::Addresses(addresses));
            }
        }
        Ok(outside)
    }

    /// The addresses on a network of everybody who has that name there.
    fn addresses(&self, network: &NetworkName, name: &str) -> Result<Vec<IpAddr>> {
        let lower = name.to_ascii_lowercase();
        let mut owners = names::owners(&self.state, network, &lower);
        if names::is_valid(&lower) {
            for id in self.named(name) {
                if self.state.connection(&id, network)?.is_some() {
                    owners.extend(Some(id).filter(|id| !owners.contains(id)));
                    break;
                }
            }
        }
        let mut addresses = Vec::new();
        for id in &owners {
            let plan = self.state.connection(id, network)?;
            let leased = plan.into_iter().flat_map(|plan| plan.addresses);
            addresses.extend(leased.map(|leased| leased.address));
        }
        Ok(addresses)
    }

    /// The containers that are called so. Their own names are told apart by case, names in queries are not: clients change it as they
    /// please. The one that is spelled so comes first.
    fn named(&self, name: &str) -> impl Iterator<Item = ContainerId> {
        let spelled_otherwise = move || {
            let entries = std::fs::read_dir(&self.names).into_iter().flatten().flatten();
            let mut all: Vec<String> =
                entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
            all.retain(|other| other != name && other.eq_ignore_ascii_case(name));
            all.sort_unstable();
            all
        };
        let others = std::iter::once_with(spelled_otherwise).flatten();
        let all = std::iter::once(name.to_owned()).chain(others);
        all.filter_map(|name| ContainerId::parse(read_link(self.names.join(name)).ok()?.to_str()?))
    }

    /// What a container is called now: it may have been renamed since it was connected.
    fn called(&self, plan: &NetworkPlan) -> String {
        let is_of = |link: &PathBuf| {
            read_link(link).is_ok_and(|target| target.as_os_str() == plan.container.as_str())
        };
        // By the name that it had, it is found at once nearly always.
        let old = self.names.join(&plan.container_name);
        let links = std::fs::read_dir(&self.names).into_iter().flatten().flatten();
        let mut all = std::iter::once(old).chain(links.map(|entry| entry.path()));
        let name = all.find(is_of).and_then(|link| Some(link.file_name()?.to_str()?.to_owned()));
        name.unwrap_or_else(|| plan.container_name.clone())
    }

    /// Who has an address of one of our subnets; `None` for an address of others.
    fn name_of(&self, plans: &[NetworkPlan], address: IpAddr) -> Result<Option<Found>> {
        let is_of = |plan: &&NetworkPlan| {
            plan.addresses.iter().any(|leased| leased.subnet.contains(address))
        };
        let Some(NetworkPlan { network, .. }) = plans.iter().find(is_of) else { return Ok(None) };
        let members = self.state.members(network)?;
        let has =
            |plan: &&NetworkPlan| plan.addresses.iter().any(|leased| leased.address == address);
        Ok(Some(match members.iter().find(has) {
            Some(owner) => Found::Name(format!("{}.{network}", self.called(owner))),
            None => Found::Nobody,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::plan::{Appearance, plan};
    use crate::network::{HostFacts, definition, ipam};
    use std::collections::BTreeSet;

    #[test]
    fn a_containers_own_name_is_found_in_every_spelling() {
        let run = tempfile::tempdir().unwrap();
        let state = State::open(run.path()).unwrap();
        let network = definition::built_in("10.1.0.0/24".parse().unwrap());
        let names = run.path().join("names");
        std::fs::create_dir(&names).unwrap();
        let connect = |name: &str| {
            let id = ContainerId::random();
            let lease = ipam::reserve(&state, &network, &id, &[], &BTreeSet::new()).unwrap();
            let (appearance, host) = (Appearance::default(), HostFacts::default());
            let plan = plan(&network, &lease, &appearance, &[], &host).unwrap();
            state.record(&plan).unwrap();
            std::os::unix::fs::symlink(id.as_str(), names.join(name)).unwrap();
            (id, vec![lease.addresses[0].address])
        };
        let (container, _) = connect("asking");
        let (_, web) = connect("Web");
        let ((_, lower), (_, upper)) = (connect("db"), connect("DB"));
        // One of that spelling which is on no network hides nobody.
        std::os::unix::fs::symlink(ContainerId::random().as_str(), names.join("web")).unwrap();
        let directory = Directory { state: state.clone(), names: names.clone(), container };
        let found = |name: &str| directory.look_up(name, message::A).unwrap();
        for name in ["Web", "web", "WEB", "wEb", "web.nman", "wEB.Nman"] {
            assert_eq!(found(name), Found::Addresses(web.clone()), "{name}");
        }
        assert_eq!(found("db"), Found::Addresses(lower));
        assert_eq!(found("DB"), Found::Addresses(upper.clone()));
        assert_eq!(found("Db"), Found::Addresses(upper));
        assert_eq!(found("webs"), Found::Elsewhere);
        // Who cannot tell whether there is one says so.
        let record = format!("{}@nman.json", directory.container);
        std::fs::write(run.path().join("network/connected").join(record), "{").unwrap();
        assert!(directory.look_up("web", message::A).is_err());
    }
}
