//! `nman network rm` and `nman network prune`

use super::{filter, name_of};
use crate::cli::{NetworkPruneArgs, NetworkRmArgs};
use crate::connection::identity::PREDEFINED;
use crate::connection::{self, ground};
use crate::container::Containers;
use crate::error::{Error, Result};
use crate::event::{self, Kind};
use crate::listing::Filters;
use crate::network::{self, Definition, HostFacts, NetworkName, State, definition};
use crate::preferences;
use crate::settings::Settings;

/// Removes each of the named networks; returns the names of those that are gone, and what went wrong.
///
/// # Errors
/// The host's routes cannot be read.
pub fn rm(settings: &Settings, args: &NetworkRmArgs) -> Result<(Vec<String>, Vec<Error>)> {
    let host = ground::facts(settings, None)?;
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for name in &args.names {
        match remove_named(settings, name, args.force, &host) {
            Ok(()) => done.push(name.clone()),
            Err(Error::Network(network::Error::UnknownNetwork { .. })) if args.force => {}
            Err(error) => errors.push(error),
        }
    }
    Ok((done, errors))
}

fn remove_named(settings: &Settings, name: &str, force: bool, host: &HostFacts) -> Result<()> {
    let predefined = |name: &str| Error::WrongState {
        message: format!("{name} is a pre-defined network and cannot be removed"),
        hint: None,
    };
    if PREDEFINED.contains(&name) {
        return Err(predefined(name));
    }
    let state = match ground::networks(settings) {
        Err(_) if is_bare(settings) => return Err(unknown(name)),
        state => state?,
    };
    let _lock = state.lock_definitions()?;
    let definition = match definition::find(&settings.root, name, host) {
        Err(network::Error::Definition { .. }) if force => {
            return remove_damaged(settings, &state, &name.parse()?);
        }
        found => found?,
    };
    if definition.name.as_str() == definition::DEFAULT_NAME {
        return Err(predefined(name));
    }
    remove(settings, &state, &definition)
}

/// Whether there is not one network that anybody has made or used.
fn is_bare(settings: &Settings) -> bool {
    definition::list(&settings.root).is_ok_and(|all| all.is_empty())
}

fn unknown(name: &str) -> Error {
    network::Error::UnknownNetwork { name: name.to_owned() }.into()
}

/// Removes a network that nobody is connected to. The definitions are locked.
fn remove(settings: &Settings, state: &State, definition: &Definition) -> Result<()> {
    let name = &definition.name;
    // Who connects puts that on record under this lock, and then looks whether the network is still there.
    let lock = state.lock()?;
    refuse_members(settings, state, name)?;
    if let Some(bridge) = definition.bridge() {
        network::tidy_locked(state, &bridge.name, &lock)?;
    }
    definition::remove(&settings.root, name)?;
    drop(lock);
    state.forget_network(name);
    let attributes = [("name", name.as_str()), ("type", definition.driver_name())];
    event::emit(settings, Kind::Network, "destroy", &definition.id(), &attributes);
    Ok(())
}

/// Removes a network whose definition cannot be read. Its bridge, if it has one, goes by the next boot.
fn remove_damaged(settings: &Settings, state: &State, name: &NetworkName) -> Result<()> {
    let _lock = state.lock()?;
    refuse_members(settings, state, name)?;
    definition::remove(&settings.root, name)?;
    state.forget_network(name);
    event::emit(settings, Kind::Network, "destroy", name.as_str(), &[("name", name.as_str())]);
    Ok(())
}

/// Refuses to remove a network that somebody is connected to.
fn refuse_members(settings: &Settings, state: &State, name: &NetworkName) -> Result<()> {
    let members = state.members(name)?;
    if !members.is_empty() {
        let endpoints: Vec<String> = members
            .iter()
            .map(|plan| {
                let called = name_of(settings, plan);
                format!("name:\"{called}\" id:\"{}\"", plan.container.short())
            })
            .collect();
        return Err(Error::WrongState {
            message: format!(
                "error while removing network: network {name} has active endpoints ({})",
                endpoints.join(", ")
            ),
            hint: Some(format!("`nman network disconnect {name} CONTAINER` takes one off it")),
        });
    }
    Ok(())
}

/// A prune that was asked for and is understood.
#[derive(Debug)]
pub struct Prune {
    filters: Filters,
}

impl Prune {
    /// What is asked before it is done.
    pub const QUESTION: &str = "WARNING! This will remove all custom networks not used by at least one container.\n\
         Are you sure you want to continue? [y/N] ";

    /// Reads the filters.
    ///
    /// # Errors
    /// A filter that there is not, or a time that is none.
    pub fn new(args: &NetworkPruneArgs) -> Result<Self> {
        let filters = preferences::prune_filters(&args.filter);
        let filters = Filters::parse(&filters, &["label", "label!", "until"])?;
        filters.until()?;
        Ok(Self { filters })
    }

    /// Removes what no container is to be on, and the bridge and the rules of the default network if nobody is connected;
    /// returns the names of the networks that are gone, and what went wrong.
    ///
    /// # Errors
    /// Containers or networks cannot be read.
    pub fn run(&self, settings: &Settings) -> Result<(Vec<String>, Vec<Error>)> {
        let state = match ground::networks(settings) {
            Err(_) if is_bare(settings) => return Ok((Vec::new(), Vec::new())),
            state => state?,
        };
        // Looked at once nobody else works on them: a container that was made while we waited is seen.
        let _lock = state.lock_definitions()?;
        let wanted = wanted_networks(settings)?;
        // What a container is to be on whose record does not read back, nobody can tell.
        let is_unsure = !Containers::open(&settings.containers())?.unreadable()?.is_empty();
        let (mut done, mut errors) = (Vec::new(), Vec::new());
        for definition in definition::list(&settings.root)? {
            if definition.name.as_str() == definition::DEFAULT_NAME {
                if let Some(bridge) = definition.bridge() {
                    errors.extend(network::tidy(&state, &bridge.name).map_err(Error::from).err());
                }
                continue;
            }
            if is_unsure || wanted.contains(&definition.name) || !self.takes(&definition)? {
                continue;
            }
            match remove(settings, &state, &definition) {
                Ok(()) => done.push(definition.name.to_string()),
                Err(error) => errors.push(error),
            }
        }
        errors.extend(ground::leave(settings).err());
        event::emit(settings, Kind::Network, "prune", "", &[("reclaimed", "0")]);
        Ok((done, errors))
    }

    fn takes(&self, definition: &Definition) -> Result<bool> {
        filter::takes(&self.filters, &definition.about.labels, definition.about.created)
    }
}

/// The networks that a container is on, or is to be on when it is started.
pub(super) fn wanted_networks(settings: &Settings) -> Result<Vec<NetworkName>> {
    let containers = Containers::open(&settings.containers())?;
    let mut wanted: Vec<NetworkName> =
        State::at(&settings.state).connected()?.into_iter().map(|plan| plan.network).collect();
    for (record, _) in containers.list()? {
        let endpoints = connection::endpoints(&record, &containers.dir(&record.id))?;
        wanted.extend(endpoints.into_iter().map(|endpoint| endpoint.network));
    }
    Ok(wanted)
}
