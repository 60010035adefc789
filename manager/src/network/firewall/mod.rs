//! The host's packet filter: one nf_tables table of ours in each address family, changed in single atomic batches.
//!
//! The rules are the same for every container and refer to sets; a container is elements of those sets. A table that
//! is missing, old or damaged is made anew from the records, in the same batch. Other tables are never looked at. Elements
//! are known as a container's by the addresses in them, which its lease makes its alone. The table of IPv6 is there as
//! long as a container has such an address. What is in the sets of containers that are on no record here is another state
//! directory's, and outlives whatever is made anew.

mod batch;
mod element;
mod expression;
pub(super) mod foreign;
mod resolver;
mod ruleset;
mod tracking;

pub(crate) use resolver::redirect_resolver;

use super::error::{Error, Result};
use super::name::InterfaceName;
use super::netlink;
use super::plan::{PublishedPort, Rules};
use batch::{Batch, Connection};
use element::Element;
use ruleset::{Family, Set};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Whether tables are still those that were there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tables {
    /// They are, with all elements.
    Kept,
    /// There was none, or one was not as it should be: a new one knows only the bridges of connected containers.
    Replaced,
}

/// Adds a container's elements, and the rules if they are not as they should be.
///
/// In that case the table is made anew, with the elements of `others`: somebody flushed the ruleset while they run,
/// or an older version of this program made it. It is not done each time, because the kernel makes who deletes a rule
/// wait until no processor uses it.
pub(super) fn connect(rules: &Rules, others: impl Fn() -> Result<Vec<Rules>>) -> Result<Tables> {
    let mut connection = open()?;
    let failed = |error| Error::kernel("write the firewall's rules", error);
    let mut batch = Batch::new();
    let mut tables = Tables::Kept;
    for family in families(rules) {
        let wanted = ruleset::rules(family);
        if !connection.has_rules(family, &wanted).map_err(failed)? {
            let others = others()?;
            let known = others.iter().chain([rules]).flat_map(|rules| &rules.addresses);
            let kept = of_strangers(&mut connection, family, &known.copied().collect())?;
            ruleset::replace(&mut batch, family, &wanted);
            add_all(&mut batch, family, kept, &others);
            tables = Tables::Replaced;
        }
    }
    let mut published = Vec::new();
    for element in element::of(rules) {
        match element.published {
            // Exclusively: an element that is there is another container's port.
            Some(port) => published.push((batch.add_element_exclusively(&element), port)),
            None => batch.add_element(&element),
        }
    }
    connection.commit(batch).map_err(|refusal| {
        let port = published.iter().find(|(sequence, _)| Some(*sequence) == refusal.sequence);
        match (port, refusal.error.errno()) {
            (Some((_, port)), Some(Errno::EXIST | Errno::BUSY)) => allocated(port),
            _ => failed(refusal.error),
        }
    })?;
    tracking::forget(&mut connection, &rules.published)
        .map_err(|error| Error::kernel(FORGET, error))?;
    Ok(tables)
}

/// Forgets the datagram flows to a container's published ports, which lead elsewhere from now on.
pub(super) fn forget_flows(rules: &Rules) -> Result<()> {
    tracking::forget(&mut open()?, &rules.published).map_err(|error| Error::kernel(FORGET, error))
}

const FORGET: &str = "forget the flows to the published ports";

/// Makes the tables anew, with the elements of all these containers.
pub(super) fn restore(all: &[Rules]) -> Result<()> {
    let (mut connection, mut batch) = (open()?, Batch::new());
    let known = all.iter().flat_map(|rules| &rules.addresses).copied().collect();
    for family in Family::ALL {
        if all.iter().any(|rules| families(rules).contains(&family)) {
            let kept = of_strangers(&mut connection, family, &known)?;
            ruleset::replace(&mut batch, family, &ruleset::rules(family));
            add_all(&mut batch, family, kept, all);
        }
    }
    connection
        .commit(batch)
        .map_err(|refusal| Error::kernel("restore the firewall's rules", refusal.error))
}

/// Whether the rules are there, and these containers' elements of their sets.
pub(super) fn is_whole(all: &[Rules]) -> Result<bool> {
    let mut connection = open()?;
    for family in Family::ALL {
        let wanted: Vec<Element> =
            all.iter().flat_map(|rules| element::of_family(rules, family)).collect();
        if wanted.is_empty() {
            continue;
        }
        let has = connection.has_rules(family, &ruleset::rules(family)).map_err(unreadable)?;
        let present = every_element(&mut connection, family)?;
        let is_there = |wanted: &Element| {
            let parts = |one: &Element| (one.set, one.key.clone(), one.data.clone());
            present.iter().any(|present| parts(present) == parts(wanted))
        };
        if !has || !wanted.iter().all(is_there) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Who is connected by what the rules say and not by what is on record: containers of another state directory, and any whose record
/// went without them. Of each, its address and its bridge.
pub(super) fn strangers(known: &BTreeSet<IpAddr>) -> Result<Vec<Rules>> {
    let mut connection = open()?;
    let mut strangers = Vec::new();
    for family in Family::ALL {
        // Whoever is masqueraded or publishes a port is at home there, too.
        let homes = connection.elements(family, Set::Home).map_err(unreadable)?;
        strangers.extend(homes.iter().filter(|home| is_strange(home, known)).filter_map(|home| {
            Some(Rules {
                bridge: home.interface()?,
                addresses: vec![home.address()?],
                masquerade: false,
                isolate: false,
                internal: false,
                published: Vec::new(),
            })
        }));
    }
    Ok(strangers)
}

/// All that a table has of them.
fn of_strangers(
    connection: &mut Connection,
    family: Family,
    known: &BTreeSet<IpAddr>,
) -> Result<Vec<Element>> {
    let mut elements = every_element(connection, family)?;
    let homes = elements.iter().filter(|one| one.set == Set::Home && is_strange(one, known));
    let bridges: HashSet<InterfaceName> = homes.filter_map(Element::interface).collect();
    elements.retain(|one| match one.set.is_of_bridges() {
        true => one.fits() && one.interface().is_some_and(|bridge| bridges.contains(&bridge)),
        false => one.fits() && is_strange(one, known),
    });
    Ok(elements)
}

fn every_element(connection: &mut Connection, family: Family) -> Result<Vec<Element>> {
    let mut elements = Vec::new();
    for set in Set::ALL {
        elements.extend(connection.elements(family, set).map_err(unreadable)?);
    }
    Ok(elements)
}

fn is_strange(element: &Element, known: &BTreeSet<IpAddr>) -> bool {
    element.address().is_some_and(|address| !known.contains(&address))
}

/// Removes what the rules know of addresses that are no container's.
pub(super) fn forget(addresses: &BTreeSet<IpAddr>) -> Result<()> {
    let failed = |error| Error::kernel("remove the firewall's rules", error);
    let mut connection = open()?;
    let mut batch = Batch::new();
    for family in Family::ALL {
        for set in Set::ALL {
            let present = connection.elements(family, set).map_err(failed)?;
            let is_of =
                |element: &&Element| element.address().is_some_and(|ip| addresses.contains(&ip));
            present.iter().filter(is_of).for_each(|element| batch.delete_element(element));
        }
    }
    connection.commit(batch).map_err(|refusal| failed(refusal.error))?;
    close_later(connection);
    Ok(())
}

/// The families that a container has addresses of.
fn families(rules: &Rules) -> Vec<Family> {
    let has = |family: &Family| rules.addresses.iter().any(|ip| Family::of(*ip) == *family);
    Family::ALL.into_iter().filter(has).collect()
}

/// Adds elements to empty sets: `kept` ones and those of containers. A port goes to the first that claims it: a crash can leave the
/// record of a container that never got its port.
fn add_all(batch: &mut Batch, family: Family, kept: Vec<Element>, all: &[Rules]) {
    let mut seen = HashSet::new();
    let of_all = all.iter().flat_map(|rules| element::of_family(rules, family));
    for element in kept.into_iter().chain(of_all) {
        if seen.insert((element.set, element.key.clone())) {
            batch.add_element(&element);
        }
    }
}

/// Removes a container's elements. What is not the container's alone goes as well if nobody else needs it and
/// `thorough`: the bridge's elements with the bridge's last container, and a family's table with the host's last.
pub(super) fn disconnect(rules: &Rules, others: &[Rules], thorough: bool) -> Result<()> {
    let failed = |error| Error::kernel("remove the firewall's rules", error);
    let mut connection = open()?;
    let mut batch = Batch::new();
    for family in families(rules) {
        if !connection.table_exists(family).map_err(failed)? {
            continue;
        }
        let beside: Vec<&Rules> =
            others.iter().filter(|other| families(other).contains(&family)).collect();
        if thorough && beside.is_empty() {
            batch.delete_table(family);
            continue;
        }
        let bridge_goes = thorough && beside.iter().all(|other| other.bridge != rules.bridge);
        let own = element::of_family(rules, family);
        for set in Set::ALL.into_iter().filter(|set| bridge_goes || !set.is_of_bridges()) {
            // A key that is not there would refuse the batch, and a key that another container took first must stay.
            let present = connection.elements(family, set).map_err(failed)?;
            present
                .iter()
                .filter(|element| is_of(element, &own, rules))
                .for_each(|element| batch.delete_element(element));
        }
    }
    connection.commit(batch).map_err(|refusal| failed(refusal.error))?;
    let forgotten = tracking::forget(&mut connection, &rules.published);
    close_later(connection);
    forgotten.map_err(|error| Error::kernel(FORGET, error))
}

/// The bridges that IPv4's table guards, those that nobody is connected to any more among them.
pub(super) fn bridges() -> Result<Vec<InterfaceName>> {
    let elements = open()?.elements(Family::V4, Set::Bridges).map_err(unreadable)?;
    Ok(elements.iter().filter_map(Element::interface).collect())
}

/// Removes what the tables have of a bridge that nobody is connected to: a later network of that bridge may be another, and one that
/// stays is its owner's.
pub(super) fn forget_bridge(bridge: &InterfaceName) -> Result<()> {
    let failed = |error| Error::kernel("remove the firewall's rules", error);
    let mut connection = open()?;
    let mut batch = Batch::new();
    for family in Family::ALL {
        for element in element::of_bridge(family, bridge) {
            let present = connection.elements(family, element.set).map_err(failed)?;
            if present.iter().any(|present| present.key == element.key) {
                batch.delete_element(&element);
            }
        }
    }
    connection.commit(batch).map_err(|refusal| failed(refusal.error))
}

/// Removes the tables. The caller has seen that nobody is connected.
pub(super) fn remove_tables() -> Result<()> {
    let failed = |error| Error::kernel("remove the firewall's rules", error);
    let mut connection = open()?;
    let mut batch = Batch::new();
    for family in Family::ALL {
        if connection.table_exists(family).map_err(failed)? {
            batch.delete_table(family);
        }
    }
    connection.commit(batch).map_err(|refusal| failed(refusal.error))
}

/// The close of a socket that something was deleted by waits until no processor uses that any more. Nobody else has to: the last one is
/// kept until this process ends. On a thread alone it might still be open when a program is executed, which would wait as it closes its copy.
fn close_later(connection: Connection) {
    static LAST: Mutex<Option<Connection>> = Mutex::new(None);
    let before = LAST.lock().unwrap_or_else(PoisonError::into_inner).replace(connection);
    if let Some(before) = before {
        // If there is no thread to be had, it is closed here.
        drop(std::thread::Builder::new().spawn(move || drop(before)));
    }
}

/// Whether an element is this container's, or its bridge's.
fn is_of(element: &Element, own: &[Element], rules: &Rules) -> bool {
    match element.set {
        Set::Published | Set::PublishedOn => {
            element.target().is_some_and(|target| rules.addresses.contains(&target))
        }
        set => own.iter().any(|own| own.set == set && own.key == element.key),
    }
}

fn allocated(port: &PublishedPort) -> Error {
    Error::PortAllocated { address: port.on_host(), protocol: port.protocol, holder: None }
}

fn unreadable(error: netlink::Error) -> Error {
    Error::kernel("read the firewall's rules", error)
}

fn open() -> Result<Connection> {
    Connection::open()
        .map_err(|error| Error::kernel("open a netfilter socket", netlink::Error::from(error)))
}
