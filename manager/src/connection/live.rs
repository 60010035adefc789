//! `nman network connect` and `nman network disconnect`: at once if the container runs, and at every start from then on.

use super::ground::{self, Ground};
use super::identity;
use super::join::{self, Joining};
use super::order::PlacedBeside;
use super::publication::Publication;
use super::{attendant, files, held_namespace, leave, membership, mode, order};
use crate::container::{Containers, Dir, Record};
use crate::error::{Error, Result};
use crate::network::state::Lock;
use crate::network::{self, Endpoint, Mode, NetworkName, NetworkPlan, State, definition, ipam};
use crate::settings::Settings;
use crate::undo::Undo;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

/// How long whoever starts or ends a container is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks whether they still do.
const PAUSE: Duration = Duration::from_millis(10);

/// Puts a container onto one more network.
///
/// # Errors
/// It is on that network already, or on none that others could be beside.
pub fn connect_to_network(settings: &Settings, container: &str, endpoint: Endpoint) -> Result<()> {
    let wanted = endpoint.network.as_str();
    let (dir, record) = find(settings, container, wanted)?;
    let network = find_network(settings, wanted)?;
    let endpoint = Endpoint { network: network.clone(), ..endpoint };
    let _lock = lock_settled(&dir)?;
    let mut endpoints = membership::endpoints(&record, &dir)?;
    refuse_beside(&endpoints, &endpoint, &record)?;
    let Some(namespace) = held_namespace(&dir)?.filter(|_| !endpoint.is_private()) else {
        endpoints.push(endpoint);
        membership::set(&dir, &endpoints)?;
        tell_private(settings, "connect", &record, &dir, &network);
        return Ok(());
    };
    if mode(&record.network)? == Mode::None {
        attendant::ask(settings, &record.id)?;
    }
    let ground = Ground::hold(settings)?;
    let state = ground.state.clone();
    let mut had = state.connected_to(&record.id)?;
    had.retain(|plan| plan.network != network);
    let joined = finish_leaving(settings, &state, &record, &network, &namespace)
        .and_then(|()| join_running(settings, &state, &record, &endpoint, &namespace));
    let plan = match joined {
        Ok(plan) => plan,
        Err(error) => {
            // The address that was leased for it goes back, unless what has it is still there.
            if matches!(state.connection(&record.id, &network), Ok(None)) {
                let _ = ipam::release(&state, &network, &record.id);
            }
            drop(ground);
            let _ = ground::leave(settings);
            return Err(error);
        }
    };
    drop(ground);
    endpoints.push(endpoint);
    // The container may have ended meanwhile, and its monitor have taken down what was there before this.
    let outlived = !matches!(held_namespace(&dir), Ok(Some(_)));
    if outlived {
        take_away(settings, &state, &record, &plan, &namespace)?;
    }
    let mut undo = Undo::new();
    undo.push(|| take_away(settings, &state, &record, &plan, &namespace));
    if let Err(error) = membership::set(&dir, &endpoints) {
        return Err(undo.after(error));
    }
    if outlived {
        return Ok(());
    }
    if let Err(error) = publish(settings, &record) {
        // Somebody else has the port by now.
        endpoints.pop();
        undo.push(|| membership::set(&dir, &endpoints));
        return Err(undo.after(error));
    }
    files::rewrite(settings, &record, &dir, [&had, &state.connected_to(&record.id)?])
}

/// Has the monitor of a user's container publish what is on record by now. Root's ports are rules, which are there already.
fn publish(settings: &Settings, record: &Record) -> Result<()> {
    if settings.rootless { attendant::ask(settings, &record.id) } else { Ok(()) }
}

/// The list of a container's networks, locked at a moment when it is up, or when nobody is at work on it: one that is being
/// started has read the list, and is not there yet to be put onto anything.
fn lock_settled(dir: &Dir) -> Result<Lock> {
    let begun = Instant::now();
    loop {
        let lock = membership::lock(dir)?;
        let is_settled = !dir.is_held() || dir.state()?.status.is_up();
        if is_settled || begun.elapsed() > PATIENCE {
            return Ok(lock);
        }
        drop(lock);
        std::thread::sleep(PAUSE);
    }
}

/// A network by its name or id.
fn find_network(settings: &Settings, wanted: &str) -> Result<NetworkName> {
    if let Some(name) = identity::predefined(wanted) {
        return Ok(name.parse()?);
    }
    Ok(definition::find(&settings.root, wanted, &ground::facts(settings, None)?)?.name)
}

/// Docker's rules for one more network, in its words.
fn refuse_beside(endpoints: &[Endpoint], new: &Endpoint, record: &Record) -> Result<()> {
    let refused = if endpoints.iter().any(|endpoint| endpoint.network == new.network) {
        format!("endpoint with name {} already exists in network {}", record.name, new.network)
    } else if endpoints.iter().any(|endpoint| endpoint.is_private() || new.is_private()) {
        "container cannot be connected to multiple networks with one of the networks in private (none) mode"
            .to_owned()
    } else {
        return Ok(());
    };
    let leaves = || format!("`nman network disconnect none {}` takes it off that", record.name);
    let hint = endpoints.iter().any(Endpoint::is_private).then(leaves);
    Err(Error::WrongState { message: refused, hint: hint.filter(|_| !new.is_private()) })
}

/// Takes away what a call that was killed has left of a connection to a network that the container is not to be on.
fn finish_leaving(
    settings: &Settings,
    state: &State,
    record: &Record,
    network: &NetworkName,
    namespace: &OwnedFd,
) -> Result<()> {
    if let Some(plan) = state.connection(&record.id, network)? {
        leave(settings, state, &plan, Some(namespace))?;
        ipam::release(state, network, &record.id)?;
    }
    Ok(())
}

/// Joins behind all others, and only then has them make way: what is refused leaves them as they are.
fn join_running(
    settings: &Settings,
    state: &State,
    record: &Record,
    endpoint: &Endpoint,
    namespace: &OwnedFd,
) -> Result<NetworkPlan> {
    let plans = state.connected_to(&record.id)?;
    let mut publication = Publication::of(record)?;
    plans.iter().for_each(|plan| publication.carried(&plan.ports));
    let PlacedBeside { placed, rank, mut moves } =
        order::place_beside(settings, state, endpoint, &plans)?;
    let joining = Joining { settings, state, record, placed };
    let plan = joining.join(namespace.as_fd(), &mut publication)?;
    if plan.rank() != rank {
        moves.push((plan.clone(), plan.clone().with_rank(rank)));
    }
    match make_way(settings, state, &plan, moves, namespace) {
        Ok(plan) => Ok(plan),
        Err(error) => {
            let mut undo = Undo::new();
            undo.push(|| Ok(leave(settings, state, &plan, Some(namespace))?));
            Err(undo.after(error))
        }
    }
}

/// Moves the routes, and then the ports to where answers leave by now; or neither. Returns the new connection as it is then.
fn make_way(
    settings: &Settings,
    state: &State,
    plan: &NetworkPlan,
    mut moves: Vec<(NetworkPlan, NetworkPlan)>,
    namespace: &OwnedFd,
) -> Result<NetworkPlan> {
    network::reroute(state, &moves, namespace.as_fd())?;
    if let Err(error) = join::arrange_ports(settings, state, &plan.container, &[]) {
        moves.reverse();
        let back: Vec<_> = moves.into_iter().map(|(before, after)| (after, before)).collect();
        let mut undo = Undo::new();
        undo.push(|| Ok(network::reroute(state, &back, namespace.as_fd())?));
        return Err(undo.after(error));
    }
    Ok(state.connection(&plan.container, &plan.network)?.unwrap_or_else(|| plan.clone()))
}

/// Takes a container off a network.
///
/// # Errors
/// It is not on that network.
pub fn disconnect_from_network(
    settings: &Settings,
    container: &str,
    network: &str,
    force: bool,
) -> Result<()> {
    let (dir, record) = find(settings, container, network)?;
    let network = match find_network(settings, network) {
        Ok(name) => name,
        // A network whose definition is gone can still be left.
        Err(_) if force => network.parse::<NetworkName>()?,
        Err(error) => return Err(error),
    };
    let _lock = lock_settled(&dir)?;
    let mut endpoints = membership::endpoints(&record, &dir)?;
    let before = endpoints.len();
    endpoints.retain(|endpoint| endpoint.network != network);
    let state = ground::networks(settings)?;
    let plan = state.connection(&record.id, &network)?;
    if plan.is_none() && endpoints.len() == before {
        return Err(Error::WrongState {
            message: format!(
                "container {} is not connected to the network {network}",
                record.id.as_str()
            ),
            hint: Some(format!("`nman inspect {}` shows its networks", record.name)),
        });
    }
    // First of all written down: a restart from here on is without that network.
    membership::set(&dir, &endpoints)?;
    let Some(plan) = plan else {
        // It was on `none`, or does not run.
        tell_private(settings, "disconnect", &record, &dir, &network);
        return attendant::ask(settings, &record.id);
    };
    let had = state.connected_to(&record.id)?;
    let namespace = held_namespace(&dir)?;
    leave(settings, &state, &plan, namespace.as_ref())?;
    ipam::release(&state, &network, &record.id)?;
    if namespace.is_some() {
        let published = publish_elsewhere(settings, &state, &record, &plan);
        // It has left in any case.
        files::rewrite(settings, &record, &dir, [&had, &state.connected_to(&record.id)?])?;
        ground::leave(settings)?;
        return published;
    }
    ground::leave(settings)
}

/// Tells of `none` and a container that runs: of any other network who joins it tells.
fn tell_private(settings: &Settings, action: &str, record: &Record, dir: &Dir, name: &NetworkName) {
    if name.as_str() == "none" && dir.state().is_ok_and(|state| state.status.is_up()) {
        join::tell_predefined(settings, action, &record.id, name);
    }
}

/// Undoes a connection that was made a moment ago.
fn take_away(
    settings: &Settings,
    state: &State,
    record: &Record,
    plan: &NetworkPlan,
    namespace: &OwnedFd,
) -> Result<()> {
    leave(settings, state, plan, Some(namespace))?;
    ipam::release(state, &plan.network, &plan.container)?;
    let published = publish_elsewhere(settings, state, record, plan);
    ground::leave(settings)?;
    published
}

/// Publishes the ports of a network that a running container has left on its others.
fn publish_elsewhere(
    settings: &Settings,
    state: &State,
    record: &Record,
    left: &NetworkPlan,
) -> Result<()> {
    // What listens for a user's container lets go of the ports first: they are tried by being taken.
    publish(settings, record)?;
    if left.ports.is_empty() {
        return Ok(());
    }
    join::arrange_ports(settings, state, &record.id, &left.ports)?;
    publish(settings, record)
}

/// The container, if it can be put onto that network or taken off it. The words of a refusal are Docker's.
fn find(settings: &Settings, container: &str, network: &str) -> Result<(Dir, Record)> {
    let dir = Containers::open(&settings.containers())?.find(container)?;
    let record = dir.record()?;
    let refused = match mode(&record.network)? {
        _ if identity::predefined(network) == Some("host") => {
            "container cannot be disconnected from host network or connected to host network"
        }
        Mode::Network(_) | Mode::None => return Ok((dir, record)),
        Mode::Host | Mode::User(_) | Mode::Container(_) | Mode::Namespace(_) => {
            "container sharing network namespace with another container or host cannot be connected to any other network"
        }
    };
    // Docker knows nothing of the kind: the container has its program's network, and no other beside it.
    let of_program = matches!(mode(&record.network)?, Mode::User(_));
    let hint =
        "start one with `--network bridge`, or with another network's name, to have it on several";
    Err(Error::WrongState {
        message: refused.to_owned(),
        hint: of_program.then(|| hint.to_owned()),
    })
}
