//! Addresses for containers, leased from a network's ranges: CNI's host-local, in process.
//!
//! A lease is a symbolic link `ADDRESS -> CONTAINER`: made in one call that fails if it is there, so there is
//! never an address without an owner, whenever the process dies. A lock per network makes choosing and taking one
//! step. Addresses go round, so that one is not reused while others remember its last owner.

use super::definition::{Definition, Range};
use super::error::{Error, Result};
use super::name::NetworkName;
use super::plan::{MacAddress, NetworkPlan};
use super::state::{self, State};
use super::subnet::Subnet;
use crate::id::ContainerId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The addresses of one container on one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// On which network.
    pub network: NetworkName,
    /// Whose.
    pub container: ContainerId,
    /// One of each range set of the definition.
    pub addresses: Vec<LeasedAddress>,
}

/// One leased address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeasedAddress {
    /// The address.
    pub address: IpAddr,
    /// The subnet that it is from.
    pub subnet: Subnet,
    /// The bridge's own address in that subnet.
    pub gateway: IpAddr,
}

impl Lease {
    /// The link address that goes with it.
    #[must_use]
    pub fn link_address(&self) -> MacAddress {
        self.addresses.first().map_or_else(
            || MacAddress::derived(self.container.as_str()),
            |leased| MacAddress::of_address(leased.address),
        )
    }
}

/// The file that says which address of a range set was given out last.
fn last_of(set: usize) -> String {
    if set == 0 { "last".to_owned() } else { format!("last-{set}") }
}

/// Leases an address of each of the network's range sets; what the container already has, it keeps. `wanted` are
/// addresses that were asked for by name: each stands for its range set. Those in `strays` nobody is given: they are somebody's whose
/// lease was lost.
///
/// # Errors
/// [`Error::Exhausted`] when a range set is full, [`Error::AddressInUse`] and [`Error::Plan`] for a wanted address that
/// cannot be had; then nothing is leased.
pub fn reserve(
    state: &State,
    definition: &Definition,
    container: &ContainerId,
    wanted: &[IpAddr],
    strays: &BTreeSet<IpAddr>,
) -> Result<Lease> {
    let mut lease = Lease {
        network: definition.name.clone(),
        container: container.clone(),
        addresses: Vec::new(),
    };
    let sets = definition.bridge().map(|bridge| bridge.range_sets.as_slice()).unwrap_or_default();
    let fits = |address: &&IpAddr| !sets.iter().flatten().any(|range| range.admits(**address));
    if let (Some(stray), false) = (wanted.iter().find(fits), sets.is_empty()) {
        return Err(Error::Plan {
            container: container.short().to_owned(),
            network: definition.name.to_string(),
            reason: format!(
                "no configured subnet contains IP address {stray}, or it is the gateway's"
            ),
        });
    }
    if sets.is_empty() {
        return Ok(lease);
    }
    let directory = state.leases(&definition.name)?;
    let _lock = state::lock(&directory.join("lock"))?;
    let mut leased = read(&directory)?;
    for (set, ranges) in sets.iter().enumerate() {
        let directory = directory.as_path();
        let search = Search { state, directory, definition, container, set, ranges, strays };
        match search.take(&mut leased, wanted) {
            Ok(address) => lease.addresses.push(address),
            Err(error) => {
                // All or nothing: what this call took before goes back. A failure to is a lease of a container
                // that will be removed, and is released then.
                let _ = release_locked(directory, container);
                return Err(error);
            }
        }
    }
    lease.addresses.sort_by_key(|leased| leased.address.is_ipv6());
    Ok(lease)
}

/// Gives back every address that the container has on that network; none is fine.
///
/// # Errors
/// A lease cannot be removed; the others are.
pub fn release(state: &State, network: &NetworkName, container: &ContainerId) -> Result<()> {
    let directory = state.leases(network)?;
    let _lock = state::lock(&directory.join("lock"))?;
    release_locked(&directory, container)
}

/// Gives back every address that the container has on any network; goes on after an error.
#[must_use]
pub fn release_all(state: &State, container: &ContainerId) -> Vec<Error> {
    let leased = match state.leased() {
        Ok(leased) => leased,
        Err(error) => return vec![error],
    };
    let own = leased.into_iter().filter(|(_, _, owner)| owner == container.as_str());
    // Looked at again under each network's lock: meanwhile they may have been given back, and leased by others.
    let networks: BTreeSet<NetworkName> = own.map(|(network, _, _)| network).collect();
    networks.iter().filter_map(|network| release(state, network, container).err()).collect()
}

fn release_locked(directory: &Path, container: &ContainerId) -> Result<()> {
    let mut first = Ok(());
    for (address, owner) in read(directory)? {
        if owner == container.as_str() {
            let path = directory.join(address.to_string());
            let removed =
                std::fs::remove_file(&path).map_err(|error| Error::file("remove", path, error));
            first = first.and(removed);
        }
    }
    first
}

/// One range set of a network, and who looks for an address in it.
struct Search<'a> {
    state: &'a State,
    directory: &'a Path,
    definition: &'a Definition,
    container: &'a ContainerId,
    set: usize,
    ranges: &'a [Range],
    strays: &'a BTreeSet<IpAddr>,
}

impl Search<'_> {
    /// What a container is called that has an address; one that is not connected yet has an id only.
    fn called(&self, owner: &str) -> String {
        let Some(id) = ContainerId::parse(owner) else { return format!("`{owner}`") };
        let plan = self.state.connection(&id, &self.definition.name).ok().flatten();
        format!("container `{}`", plan.as_ref().map_or(id.short(), NetworkPlan::label))
    }

    fn take(
        &self,
        leased: &mut HashMap<IpAddr, String>,
        wanted: &[IpAddr],
    ) -> Result<LeasedAddress> {
        let others = &self.definition.about.aux_addresses;
        let is_others = |address: IpAddr| others.values().any(|other| *other == address);
        if let Some(address) = self.wanted(wanted) {
            let in_use = |holder| Err(Error::AddressInUse { address: address.address, holder });
            return match leased.get(&address.address) {
                Some(owner) if owner == self.container.as_str() => Ok(address),
                Some(owner) => in_use(Some(self.called(owner))),
                None if is_others(address.address) || self.strays.contains(&address.address) => {
                    in_use(None)
                }
                None => self.lease(leased, address),
            };
        }
        let owned = |address: &IpAddr| {
            leased.get(address).is_some_and(|owner| owner == self.container.as_str())
        };
        let held = leased.keys().filter(|address| owned(address));
        if let Some(address) = held.filter_map(|address| self.place(*address)).next() {
            return Ok(address);
        }
        let last = std::fs::read_to_string(self.directory.join(last_of(self.set)));
        let last = last.ok().and_then(|text| text.parse().ok());
        let taken = |address| {
            leased.contains_key(&address) || is_others(address) || self.strays.contains(&address)
        };
        let free = choose(self.ranges, last, taken)
            .ok_or_else(|| exhausted(self.definition, self.ranges))?;
        let address = self.lease(leased, free)?;
        // A hint only: without it the search starts at the beginning.
        let _ = std::fs::write(self.directory.join(last_of(self.set)), address.address.to_string());
        Ok(address)
    }

    /// The wanted address that is of this set.
    fn wanted(&self, wanted: &[IpAddr]) -> Option<LeasedAddress> {
        wanted.iter().find_map(|address| self.place(*address))
    }

    fn place(&self, address: IpAddr) -> Option<LeasedAddress> {
        let range = self.ranges.iter().find(|range| range.admits(address))?;
        Some(range.lease(address))
    }

    fn lease(
        &self,
        leased: &mut HashMap<IpAddr, String>,
        address: LeasedAddress,
    ) -> Result<LeasedAddress> {
        let path = self.directory.join(address.address.to_string());
        symlink(self.container.as_str(), &path)
            .map_err(|error| Error::file("create", path, error))?;
        leased.insert(address.address, self.container.as_str().to_owned());
        Ok(address)
    }
}

/// The first free address behind `last`, going round: pure.
fn choose(
    ranges: &[Range],
    last: Option<IpAddr>,
    taken: impl Fn(IpAddr) -> bool,
) -> Option<LeasedAddress> {
    let start = last.and_then(|last| ranges.iter().position(|range| range.holds(last)));
    let behind = start
        .zip(last)
        .into_iter()
        .flat_map(|(index, last)| ranges[index].after(last).map(move |a| (index, a)));
    let from = start.map_or(0, |index| index + 1);
    let round = (0..ranges.len())
        .map(move |step| (from + step) % ranges.len())
        .flat_map(|index| ranges[index].all().map(move |address| (index, address)));
    behind
        .chain(round)
        .find(|(index, address)| ranges[*index].gateway != *address && !taken(*address))
        .map(|(index, address)| ranges[index].lease(address))
}

fn exhausted(definition: &Definition, ranges: &[Range]) -> Error {
    let name = |range: &Range| match range.is_whole() {
        true => range.subnet.to_string(),
        false => format!("{}-{} of {}", range.first(), range.last(), range.subnet),
    };
    let range = ranges.iter().map(name).collect::<Vec<_>>().join(", ");
    Error::Exhausted { network: definition.name.to_string(), range }
}

/// Every lease of the network: the files whose names are addresses.
pub(super) fn read(directory: &Path) -> Result<HashMap<IpAddr, String>> {
    let failed = |error: io::Error| Error::file("read", directory, error);
    let mut leases = HashMap::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Some(address) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let owner = match std::fs::read_link(entry.path()) {
            // It was given back just now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // No link, and not ours: nobody's, as any whose owner is gone.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => PathBuf::new(),
            owner => owner.map_err(failed)?,
        };
        leases.insert(address, owner.to_string_lossy().into_owned());
    }
    Ok(leases)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::definition;

    fn container(digit: char) -> ContainerId {
        ContainerId::parse(&digit.to_string().repeat(64)).unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn small() -> (tempfile::TempDir, State, Definition) {
        let run = tempfile::tempdir().unwrap();
        let state = State::open(run.path()).unwrap();
        let definition = definition::built_in("10.1.0.0/29".parse().unwrap());
        (run, state, definition)
    }

    fn reserve(
        state: &State,
        definition: &Definition,
        container: &ContainerId,
        wanted: &[IpAddr],
    ) -> Result<Lease> {
        super::reserve(state, definition, container, wanted, &BTreeSet::new())
    }

    #[test]
    fn an_address_that_somebody_has_without_a_lease_is_given_to_nobody() {
        let (_run, state, network) = small();
        let strays = BTreeSet::from([address("10.1.0.2")]);
        let ask =
            |wanted: &[IpAddr]| super::reserve(&state, &network, &container('a'), wanted, &strays);
        let error = ask(&[address("10.1.0.2")]).unwrap_err();
        assert!(matches!(error, Error::AddressInUse { .. }), "{error}");
        assert_eq!(ask(&[]).unwrap().addresses[0].address, address("10.1.0.3"));
    }

    #[test]
    fn two_containers_get_different_addresses_and_neither_is_the_gateways() {
        let (_run, state, network) = small();
        let a = reserve(&state, &network, &container('a'), &[]).unwrap();
        let b = reserve(&state, &network, &container('b'), &[]).unwrap();
        assert_eq!(a.addresses[0].address, address("10.1.0.2"));
        assert_eq!(b.addresses[0].address, address("10.1.0.3"));
        assert_eq!(a.addresses[0].gateway, address("10.1.0.1"));
    }

    #[test]
    fn leases_that_come_and_go_keep_nobody_from_reading_and_are_given_back_once() {
        let (_run, state, network) = small();
        let busy = |digit: char| {
            for _ in 0..300 {
                reserve(&state, &network, &container(digit), &[]).unwrap();
                assert_eq!(release_all(&state, &container(digit)).len(), 0);
            }
        };
        std::thread::scope(|scope| {
            // Two that take the same container down, and one more container.
            for digit in ['a', 'a', 'b'] {
                scope.spawn(move || busy(digit));
            }
            scope.spawn(|| (0..600).for_each(|_| drop(state.leased().unwrap())));
        });
        assert_eq!(state.leased().unwrap(), []);
    }

    #[test]
    fn reserving_again_gives_the_same_lease() {
        let (_run, state, network) = small();
        let first = reserve(&state, &network, &container('a'), &[]).unwrap();
        reserve(&state, &network, &container('b'), &[]).unwrap();
        assert_eq!(reserve(&state, &network, &container('a'), &[]).unwrap(), first);
    }

    #[test]
    fn a_released_address_is_reused_only_when_the_others_had_their_turn() {
        let (_run, state, network) = small();
        reserve(&state, &network, &container('a'), &[]).unwrap();
        release(&state, &network.name, &container('a')).unwrap();
        release(&state, &network.name, &container('a')).unwrap();
        let mut got = Vec::new();
        for digit in ['1', '2', '3', '4', '5'] {
            got.push(
                reserve(&state, &network, &container(digit), &[]).unwrap().addresses[0]
                    .address
                    .to_string(),
            );
        }
        assert_eq!(got, ["10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6", "10.1.0.2"]);
    }

    #[test]
    fn a_full_network_says_so_and_leases_nothing() {
        let (_run, state, network) = small();
        for digit in ['1', '2', '3', '4', '5'] {
            reserve(&state, &network, &container(digit), &[]).unwrap();
        }
        let error = reserve(&state, &network, &container('6'), &[]).unwrap_err();
        assert_eq!(error.to_string(), "no address is left in 10.1.0.0/29 of network `nman`");
        release(&state, &network.name, &container('3')).unwrap();
        let lease = reserve(&state, &network, &container('6'), &[]).unwrap();
        assert_eq!(lease.addresses[0].address, address("10.1.0.4"));
    }

    #[test]
    fn an_address_that_is_asked_for_is_had_once_and_inside_the_subnet_only() {
        let (_run, state, network) = small();
        let ask = |digit, text| reserve(&state, &network, &container(digit), &[address(text)]);
        assert_eq!(ask('a', "10.1.0.5").unwrap().addresses[0].address, address("10.1.0.5"));
        assert_eq!(ask('a', "10.1.0.5").unwrap().addresses[0].address, address("10.1.0.5"));
        let taken = ask('b', "10.1.0.5").unwrap_err();
        let held = "address 10.1.0.5 is already in use, by container `aaaaaaaaaaaa`";
        assert_eq!(taken.to_string(), held);
        for outside in ["10.2.0.5", "10.1.0.1", "10.1.0.7", "fd00::2"] {
            let error = ask('b', outside).unwrap_err().to_string();
            assert!(error.contains("no configured subnet"), "{outside}: {error}");
        }
        assert_eq!(state.leased().unwrap().len(), 1);
        // An auxiliary address is another host's.
        let mut network = network;
        network.about.aux_addresses.insert("router".to_owned(), address("10.1.0.3"));
        let aux = reserve(&state, &network, &container('c'), &[address("10.1.0.3")]).unwrap_err();
        assert_eq!(aux.to_string(), "address 10.1.0.3 is already in use");
    }

    #[test]
    fn forty_threads_get_forty_addresses() {
        let run = tempfile::tempdir().unwrap();
        let state = State::open(run.path()).unwrap();
        let network = definition::built_in("10.2.0.0/24".parse().unwrap());
        let got = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..40)
                .map(|_| {
                    scope.spawn(|| reserve(&state, &network, &ContainerId::random(), &[]).unwrap())
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap().addresses[0].address).collect::<Vec<_>>()
        });
        let different: std::collections::HashSet<_> = got.iter().collect();
        assert_eq!(different.len(), 40);
    }
}
