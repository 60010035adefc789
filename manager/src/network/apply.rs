//! Walks a plan's steps, and undoes them.
//!
//! The plan is on disk before its first step and until its last undoing, and every undoing first looks whether the
//! object is ours, so that it can run at any time: after a step failed, after a kill -9 anywhere, when the namespace is
//! gone, twice. Undoing collects its failures and goes on. One lock makes all of this one process at a time.

use super::borrowed;
use super::error::{Error, Result};
use super::firewall;
use super::host::{read_sysctl, switches, write_sysctl};
use super::link::{delete_bridge, delete_if_ours, ensure_bridge, find, open, own_link};
use super::name::InterfaceName;
use super::names;
use super::netlink;
use super::netlink::route::{Port, RouteSocket, VethEnd, missing_is_fine};
use super::netns;
use super::orphan::strangers;
use super::plan::{MacAddress, NetworkPlan, Place, Rules, Step, bridge_mac};
use super::plugin::{self, Call};
use super::state::{Lock, State};
use crate::id::ContainerId;
use rustix::io::Errno;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Connects a container: takes every step of the plan, or none.
///
/// `netns` is the container's. What is the host's is made where the networks of `state` stand.
///
/// # Errors
/// [`Error::PortAllocated`] when another container has a published port; [`Error::Connected`] when the container
/// is connected already; else what the kernel refused, with everything undone.
pub fn apply(state: &State, plan: &NetworkPlan, netns: BorrowedFd<'_>) -> Result<()> {
    apply_locked(state, plan, netns, &state.lock()?)
}

/// The same by who has the lock already: since it chose the addresses, as nobody else has connected with one of them.
///
/// # Errors
/// As [`apply`].
pub fn apply_locked(
    state: &State,
    plan: &NetworkPlan,
    netns: BorrowedFd<'_>,
    _lock: &Lock,
) -> Result<()> {
    state.run(|| apply_here(state, plan, netns))
}

fn apply_here(state: &State, plan: &NetworkPlan, netns: BorrowedFd<'_>) -> Result<()> {
    state.record(plan)?;
    let mut taken = 0;
    let connected = connect(state, plan, netns, &mut taken);
    if connected.is_err() {
        // The step that failed is undone as well: it may have come half-way. The error of the step is the one to
        // report; if undoing fails too, the record stays, and with it what `remove` needs. Only a plug-in that could not
        // connect may be unable to disconnect for the same reason: it was asked to, and has said that it did nothing.
        let (before, failed) = plan.steps.split_at(taken);
        let failed = &failed[..failed.len().min(1)];
        let half_way = undo(state, plan, failed, Some(netns), Ending::Whole);
        let left = undo(state, plan, before, Some(netns), Ending::Whole);
        let restored = restore_sysctls(before).is_ok();
        if half_way.iter().all(is_of_plugin) && left.is_empty() && restored {
            state.forget(plan)?;
        }
    }
    connected
}

/// Disconnects a container: undoes every step of its plan that was taken, in reverse.
///
/// Works with the container's namespace alive or gone, and again after it failed. `netns` is for plug-ins that are
/// not built in, which take their interface out of it.
///
/// # Errors
/// [`Error::Leftover`] with everything that could not be undone; the record then stays.
pub fn remove(state: &State, plan: &NetworkPlan, netns: Option<BorrowedFd<'_>>) -> Result<()> {
    state.run(|| remove_by(state, plan, netns, Ending::Whole))
}

/// As [`remove`], for a container whose namespace ends in a moment, with everything in it.
///
/// The kernel takes the links away with the namespace, without anybody's waiting; a bridge of ours and the rules stay for the
/// next container, until [`tidy`]. One that is somebody else's is given back by its last container.
///
/// # Errors
/// As [`remove`].
pub fn remove_with_namespace(
    state: &State,
    plan: &NetworkPlan,
    netns: BorrowedFd<'_>,
) -> Result<()> {
    state.run(|| remove_by(state, plan, Some(netns), Ending::WithNamespace))
}

/// How much is left to be undone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Everything, and what is shared with nobody.
    Whole,
    /// Only what does not go with the namespace and is not used again.
    WithNamespace,
}

fn remove_by(
    state: &State,
    plan: &NetworkPlan,
    netns: Option<BorrowedFd<'_>>,
    ending: Ending,
) -> Result<()> {
    let _lock = state.lock()?;
    let failures = undo(state, plan, &plan.steps, netns, ending);
    // A plug-in that fails for a container that is gone was asked, is quoted, and is not asked for ever.
    if netns.is_none() && failures.iter().all(is_of_plugin) {
        state.forget(plan)?;
    }
    if failures.is_empty() {
        return state.forget(plan);
    }
    Err(Error::Leftover {
        container: plan.container.short().to_owned(),
        network: plan.network.to_string(),
        failures,
    })
}

fn is_of_plugin(error: &Error) -> bool {
    matches!(error, Error::Plugin { .. } | Error::NoPlugin { .. })
}

/// Removes a network's bridge if nobody is connected to it, and the rules if nobody is connected at all, by whatever state directory.
///
/// # Errors
/// The records cannot be read, or the kernel refuses.
pub fn tidy(state: &State, bridge: &InterfaceName) -> Result<()> {
    tidy_locked(state, bridge, &state.lock()?)
}

/// The same by who has the lock already.
///
/// # Errors
/// As [`tidy`].
pub fn tidy_locked(state: &State, bridge: &InterfaceName, _lock: &Lock) -> Result<()> {
    let plans = state.connected()?;
    state.run(|| {
        let mut socket = open()?;
        let strangers = strangers(&plans)?;
        let used = bridges_of(&plans, &strangers);
        if !used.contains(bridge) {
            // What guards the bridge goes last.
            borrowed::give_back(state, &mut socket, bridge)?;
            delete_bridge(&mut socket, bridge, bridge_mac(bridge))?;
            firewall::forget_bridge(bridge)?;
        }
        if strangers.is_empty() && plans.iter().all(|plan| plan.rules().is_none()) {
            borrowed::give_back_all_but(&used, state, &mut socket)?;
            firewall::remove_tables()?;
        }
        Ok(())
    })
}

fn bridges_of(plans: &[NetworkPlan], strangers: &[Rules]) -> Vec<InterfaceName> {
    let of_strangers = strangers.iter().map(|rules| rules.bridge.clone());
    plans.iter().filter_map(|plan| plan.bridge.clone()).chain(of_strangers).collect()
}

/// Puts the rules of every connected container back, after somebody flushed the host's ruleset.
///
/// # Errors
/// The records cannot be read, or the kernel refuses the rules.
pub fn restore_rules(state: &State) -> Result<()> {
    restore_rules_locked(state, &state.lock()?)
}

/// The same by who has the lock already.
pub(super) fn restore_rules_locked(state: &State, _lock: &Lock) -> Result<()> {
    let plans = state.connected()?;
    if plans.is_empty() {
        return Ok(());
    }
    let rules: Vec<_> = plans.iter().filter_map(NetworkPlan::rules).cloned().collect();
    state.run(|| {
        // The new tables guard the bridges that are in use, and no others.
        let used = bridges_of(&plans, &strangers(&plans)?);
        borrowed::give_back_all_but(&used, state, &mut open()?)?;
        firewall::restore(&rules)
    })
}

/// Puts everything back that the host has of connected containers: switches, bridges with their addresses and ports, and
/// rules. Goes on after a connection that cannot be put back; returns whose those are, and why.
///
/// # Errors
/// As [`restore_rules`], or the switches cannot be set.
pub fn reload(state: &State) -> Result<Vec<(ContainerId, Error)>> {
    let lock = state.lock()?;
    // Rules know bridges by their names, and come first: one that is made anew is guarded from its beginning.
    restore_rules_locked(state, &lock)?;
    let connected = state.connected()?;
    state.run(|| {
        let mut socket = open()?;
        let mut failures = Vec::new();
        for plan in &connected {
            let put_back = reload_steps(&mut socket, plan);
            failures.extend(put_back.err().map(|error| (plan.container.clone(), error)));
        }
        // Whoever found it on has no step for it.
        switches(&connected).try_for_each(|key| write_sysctl(key, "1"))?;
        Ok(failures)
    })
}

fn reload_steps(socket: &mut RouteSocket, plan: &NetworkPlan) -> Result<()> {
    for step in &plan.steps {
        match step {
            Step::Bridge { name, mac, mtu } => ensure_bridge(socket, name, *mac, *mtu)?,
            Step::Veth { name, mac, bridge, hairpin, isolated, .. } => {
                if let Some(port) = own_link(socket, name, "veth", *mac)? {
                    let bridge = find(socket, bridge)?;
                    rejoin(socket, port, bridge, *hairpin, *isolated)
                        .map_err(|error| refused(step, error))?;
                }
            }
            Step::Sysctl { place: Place::Host, .. }
            | Step::Address { place: Place::Host, .. }
            | Step::LocalRoute { .. }
            | Step::Up { place: Place::Host, .. } => take_inside(socket, step)?,
            _ => {}
        }
    }
    Ok(())
}

/// Says of a container that runs if its link is gone, with its addresses and routes: that is not put back.
///
/// # Errors
/// [`Error::CutOff`], or it cannot be found out.
pub fn check_link(state: &State, plan: &NetworkPlan) -> Result<()> {
    // Whoever is connecting or disconnecting it is waited for.
    let _lock = state.lock()?;
    let Some(plan) = state.connection(&plan.container, &plan.network)? else { return Ok(()) };
    state.run(|| {
        for step in &plan.steps {
            if let Step::Veth { name, mac, .. } = step
                && own_link(&mut open()?, name, "veth", *mac)?.is_none()
            {
                return Err(Error::CutOff {
                    container: plan.label().to_owned(),
                    network: plan.network.to_string(),
                    link: name.to_string(),
                });
            }
        }
        Ok(())
    })
}

/// Asks the plug-ins that are not built in whether a container is still connected as they left it; returns what they
/// complain of.
#[must_use]
pub fn check_plugins(state: &State, plan: &NetworkPlan, netns: BorrowedFd<'_>) -> Vec<Error> {
    let plugins = plan.steps.iter().filter_map(|step| match step {
        Step::Plugin(plugin) => Some(plugin),
        _ => None,
    });
    let netns = Some(netns);
    let check = |plugin| Call { plan, plugin, netns }.check(state.plugin_result(plan));
    plugins.filter_map(|plugin| state.run(|| check(plugin)).err()).collect()
}

/// Makes a network namespace for a container; its loopback interface is up.
///
/// # Errors
/// The kernel refuses.
pub fn create_namespace() -> Result<OwnedFd> {
    netns::create_and(loopback_up)
}

/// Sets the loopback interface of a container's namespace up, as every container has it.
///
/// # Errors
/// The kernel refuses.
pub fn set_loopback_up(netns: BorrowedFd<'_>) -> Result<()> {
    netns::run_in(netns, loopback_up)
}

fn loopback_up() -> Result<()> {
    let step = Step::Up { place: Place::Container, interface: "lo".parse()? };
    take_inside(&mut open()?, &step)
}

fn connect(
    state: &State,
    plan: &NetworkPlan,
    netns: BorrowedFd<'_>,
    taken: &mut usize,
) -> Result<()> {
    // A plan changes namespace once: its steps come in groups, each on a thread that has joined.
    for group in plan.steps.chunk_by(|a, b| a.place() == b.place()) {
        match group[0].place() {
            Place::Host => {
                take_all(group, taken, |socket, step| take(socket, step, state, plan, netns))?;
            }
            Place::Container => {
                netns::run_in(netns, || take_all(group, taken, take_inside))?;
            }
        }
    }
    Ok(())
}

fn take_all(
    steps: &[Step],
    taken: &mut usize,
    mut take: impl FnMut(&mut RouteSocket, &Step) -> Result<()>,
) -> Result<()> {
    let mut socket = open()?;
    for step in steps {
        take(&mut socket, step)?;
        *taken += 1;
    }
    Ok(())
}

/// One step in the host's namespace.
fn take(
    socket: &mut RouteSocket,
    step: &Step,
    state: &State,
    plan: &NetworkPlan,
    netns: BorrowedFd<'_>,
) -> Result<()> {
    match step {
        Step::Bridge { name, mac, mtu } => {
            ensure_bridge(socket, name, *mac, *mtu)?;
            borrowed::note(state, socket, plan, name)
        }
        Step::Firewall(rules) => connect_rules(socket, rules, state, plan)
            .map_err(|error| with_holder(error, state, plan)),
        Step::Names { names } => names::add(state, &plan.network, &plan.container, names),
        Step::Plugin(plugin) => call(state, &Call { plan, plugin, netns: Some(netns) }),
        Step::Veth { name, mac, peer, peer_mac, bridge, mtu, hairpin, isolated } => {
            let failed = |error| refused(step, error);
            let bridge = find(socket, bridge)?;
            let (near, far) = (VethEnd { name, mac: *mac }, VethEnd { name: peer, mac: *peer_mac });
            match socket.create_veth(&near, &far, netns, bridge, *mtu) {
                Err(error) if error.errno() == Some(Errno::EXIST) => {
                    // The namespace of the container's last life may not have ended yet.
                    delete_if_ours(socket, name, "veth", *mac)?;
                    socket.create_veth(&near, &far, netns, bridge, *mtu)
                }
                created => created,
            }
            .map_err(failed)?;
            if *hairpin || *isolated {
                socket.set_port(Port::Named(name), *hairpin, *isolated).map_err(failed)?;
            }
            Ok(())
        }
        other => take_inside(socket, other),
    }
}

fn connect_rules(
    socket: &mut RouteSocket,
    rules: &Rules,
    state: &State,
    plan: &NetworkPlan,
) -> Result<()> {
    let others = || others(state, plan);
    match firewall::connect(rules, others)? {
        firewall::Tables::Kept => Ok(()),
        firewall::Tables::Replaced => {
            let plans = state.connected()?;
            let mut used = bridges_of(&plans, &strangers(&plans)?);
            used.push(rules.bridge.clone());
            borrowed::give_back_all_but(&used, state, socket)
        }
    }
}

/// Takes a container's elements out of the sets. A bridge that nobody is connected to any more is first what it was: without them it
/// is not guarded.
fn disconnect_rules(
    socket: &mut RouteSocket,
    rules: &Rules,
    others: &[Rules],
    state: &State,
    whole: bool,
) -> Result<()> {
    if whole {
        let used: Vec<InterfaceName> = others.iter().map(|other| other.bridge.clone()).collect();
        if others.iter().flat_map(|other| &other.addresses).all(IpAddr::is_ipv6) {
            // The table goes that guards all of them.
            borrowed::give_back_all_but(&used, state, socket)?;
        }
        if !used.contains(&rules.bridge) {
            borrowed::give_back(state, socket, &rules.bridge)?;
        }
    }
    firewall::disconnect(rules, others, whole)
}

/// Makes a link a port of its bridge again. It may go meanwhile, with the namespace of its other end.
fn rejoin(
    socket: &mut RouteSocket,
    port: u32,
    bridge: u32,
    hairpin: bool,
    isolated: bool,
) -> std::result::Result<(), netlink::Error> {
    missing_is_fine(socket.set_bridge(port, bridge))?;
    match hairpin || isolated {
        true => missing_is_fine(socket.set_port(Port::At(port), hairpin, isolated)),
        false => Ok(()),
    }
}

/// Says who has the port that the firewall refused.
fn with_holder(error: Error, state: &State, plan: &NetworkPlan) -> Error {
    let Error::PortAllocated { address, protocol, holder: None } = error else { return error };
    let others = state.connected().unwrap_or_default();
    let holds = |other: &&NetworkPlan| {
        other.container != plan.container
            && other.ports.iter().any(|port| {
                (port.host_port, port.protocol) == (address.port(), protocol)
                    && (port.host_address == address.ip()
                        || port.host_address.is_unspecified()
                        || address.ip().is_unspecified())
            })
    };
    let holder = others.iter().find(holds).map(NetworkPlan::holder);
    Error::PortAllocated { address, protocol, holder }
}

/// Calls a plug-in, keeps its answer for `DEL`, and puts the addresses that it gave into the record.
fn call(state: &State, call: &Call<'_>) -> Result<()> {
    let answer = call.add(state.plugin_result(call.plan))?;
    state.keep_plugin_result(call.plan, &answer)?;
    if call.plan.bridge.is_none() {
        let mut plan = call.plan.clone();
        let (addresses, mac) = plugin::read_answer(&plan, &answer);
        plan.addresses = addresses;
        plan.mac = mac.and_then(|mac| MacAddress::try_from(mac).ok());
        state.amend(&plan)?;
    }
    Ok(())
}

/// One step that reads the same in either namespace.
fn take_inside(socket: &mut RouteSocket, step: &Step) -> Result<()> {
    let failed = |error| refused(step, error);
    match step {
        Step::Sysctl { key, value, .. } => match read_sysctl(key)? {
            // Written only when it differs: `/proc/sys` may be read-only where the value is right already.
            Some(current) if current == *value => Ok(()),
            _ => write_sysctl(key, value),
        },
        Step::Address { interface, address, prefix, .. } => {
            let index = find(socket, interface)?;
            socket.ensure_address(index, *address, *prefix).map_err(failed)
        }
        Step::Up { interface, .. } => {
            let index = find(socket, interface)?;
            socket.set_up(index).map_err(failed)
        }
        Step::Route { interface, destination, gateway, metric } => {
            let index = find(socket, interface)?;
            socket.add_route(index, *destination, *gateway, *metric).map_err(failed)
        }
        Step::LocalRoute { interface, address } => {
            let index = find(socket, interface)?;
            socket.ensure_local_route(index, *address).map_err(failed)
        }
        Step::Bridge { .. }
        | Step::Firewall(_)
        | Step::Veth { .. }
        | Step::Names { .. }
        | Step::Plugin(_) => {
            unreachable!("a step of the host only")
        }
    }
}

/// The step is quoted as the plan shows it.
pub(super) fn refused(step: &Step, error: netlink::Error) -> Error {
    Error::kernel(format_args!("take the step `{step}`"), error)
}

/// Undoes steps in reverse and returns what could not be undone.
fn undo(
    state: &State,
    plan: &NetworkPlan,
    steps: &[Step],
    netns: Option<BorrowedFd<'_>>,
    ending: Ending,
) -> Vec<Error> {
    // What is somebody else's does not wait for the next container.
    let is_lent = |bridge| state.noted_bridges().is_ok_and(|noted| noted.contains(bridge));
    let whole = ending == Ending::Whole || plan.bridge.as_ref().is_some_and(is_lent);
    let mut failures = Vec::new();
    let mut socket = match open() {
        Ok(socket) => socket,
        Err(error) => return vec![error],
    };
    let others = beside(state, plan, whole).unwrap_or_else(|error| {
        failures.push(error);
        // Without knowing who else is connected, nothing that is shared may go: as if one like this one stayed.
        plan.rules().cloned().into_iter().collect()
    });
    for step in steps.iter().rev() {
        let undone = match step {
            Step::Veth { .. } if ending == Ending::WithNamespace => Ok(()),
            Step::Bridge { .. } if !whole => Ok(()),
            Step::Veth { name, mac, .. } => delete_if_ours(&mut socket, name, "veth", *mac),
            Step::Firewall(rules) => disconnect_rules(&mut socket, rules, &others, state, whole),
            Step::Names { names } => names::remove(state, &plan.network, &plan.container, names),
            Step::Plugin(plugin) => Call { plan, plugin, netns }.delete(state.plugin_result(plan)),
            Step::Bridge { name, mac, .. } if others.iter().all(|other| other.bridge != *name) => {
                borrowed::give_back(state, &mut socket, name)
                    .and_then(|()| delete_bridge(&mut socket, name, *mac))
            }
            // These go with their interfaces, or are shared and still in use.
            Step::Bridge { .. }
            | Step::Sysctl { .. }
            | Step::Address { .. }
            | Step::Up { .. }
            | Step::LocalRoute { .. }
            | Step::Route { .. } => Ok(()),
        };
        failures.extend(undone.err());
    }
    failures
}

/// The rules of every other container that is connected, or may be.
fn others(state: &State, plan: &NetworkPlan) -> Result<Vec<Rules>> {
    let mut plans = state.connected()?;
    plans.retain(|other| other.container != plan.container || other.network != plan.network);
    Ok(plans.iter().filter_map(NetworkPlan::rules).cloned().collect())
}

/// The same, and if something that is shared may go, whoever is connected by another state directory.
fn beside(state: &State, plan: &NetworkPlan, whole: bool) -> Result<Vec<Rules>> {
    let mut others = others(state, plan)?;
    if whole {
        let own = plan.rules().into_iter();
        let known = own.chain(&others).flat_map(|rules| &rules.addresses).copied().collect();
        others.extend(firewall::strangers(&known)?);
    }
    Ok(others)
}

fn restore_sysctls(taken: &[Step]) -> Result<()> {
    for step in taken.iter().rev() {
        if let Step::Sysctl { place: Place::Host, key, previous: Some(previous), .. } = step {
            write_sysctl(key, previous)?;
        }
    }
    Ok(())
}
