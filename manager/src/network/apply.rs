//! Walks a plan's steps, and undoes them.
//!
//! The plan is on disk before its first step and until its last undoing, and every undoing first looks whether the
//! object is ours, so that it can run at any time: after a step failed, after a kill -9 anywhere, when the namespace is
//! gone, twice. Undoing collects its failures and goes on. One lock makes all of this one process at a time.

use super::error::{Error, Result};
use super::firewall;
use super::host::{read_sysctl, write_sysctl};
use super::name::InterfaceName;
use super::netlink::route::{RouteSocket, VethEnd, missing_is_fine};
use super::netns;
use super::plan::{MacAddress, NetworkPlan, Place, Step};
use super::state::State;
use std::os::fd::BorrowedFd;

/// Connects a container: takes every step of the plan, or none.
///
/// Called in the host's network namespace; `netns` is the container's.
///
/// # Errors
/// [`Error::PortAllocated`] when another container has a published port; [`Error::Connected`] when the container
/// is connected already; else what the kernel refused, with everything undone.
pub fn apply(state: &State, plan: &NetworkPlan, netns: BorrowedFd<'_>) -> Result<()> {
    let _lock = state.lock()?;
    state.record(plan)?;
    let mut taken = 0;
    let connected = connect(state, plan, netns, &mut taken);
    if connected.is_err() {
        // The step that failed is undone as well: it may have come half-way. The error of the step is the one to
        // report; if undoing fails too, the record stays, and with it what `remove` needs.
        let steps = &plan.steps[..plan.steps.len().min(taken + 1)];
        if undo(state, plan, steps).is_empty() && restore_sysctls(&plan.steps[..taken]).is_ok() {
            state.forget(plan)?;
        }
    }
    connected
}

/// Disconnects a container: undoes every step of its plan that was taken, in reverse.
///
/// Works with the container's namespace alive or gone, and again after it failed.
///
/// # Errors
/// [`Error::Leftover`] with everything that could not be undone; the record then stays.
pub fn remove(state: &State, plan: &NetworkPlan) -> Result<()> {
    let _lock = state.lock()?;
    let failures = undo(state, plan, &plan.steps);
    if failures.is_empty() {
        return state.forget(plan);
    }
    Err(Error::Leftover {
        container: plan.container.short().to_owned(),
        network: plan.network.to_string(),
        failures,
    })
}

/// Puts the rules of every connected container back, after somebody flushed the host's ruleset.
///
/// # Errors
/// The records cannot be read, or the kernel refuses the rules.
pub fn restore_rules(state: &State) -> Result<()> {
    let _lock = state.lock()?;
    let plans = state.connected()?;
    if plans.is_empty() {
        return Ok(());
    }
    firewall::restore(&plans.iter().filter_map(NetworkPlan::rules).cloned().collect::<Vec<_>>())
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
        Step::Bridge { name, mac, mtu } => ensure_bridge(socket, name, *mac, *mtu),
        Step::Firewall(rules) => firewall::connect(rules, || others(state, plan)),
        Step::Veth { name, mac, peer, peer_mac, bridge, mtu, hairpin } => {
            let failed = |error| Error::kernel(step, error);
            let bridge = find(socket, bridge)?;
            let (near, far) = (VethEnd { name, mac: *mac }, VethEnd { name: peer, mac: *peer_mac });
            socket.create_veth(&near, &far, netns, bridge, *mtu).map_err(failed)?;
            if *hairpin {
                let port = find(socket, name)?;
                socket.set_hairpin(port).map_err(failed)?;
            }
            Ok(())
        }
        other => take_inside(socket, other),
    }
}

/// One step that reads the same in either namespace.
fn take_inside(socket: &mut RouteSocket, step: &Step) -> Result<()> {
    let failed = |error| Error::kernel(step, error);
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
        Step::Route { interface, destination, gateway } => {
            let index = find(socket, interface)?;
            socket.add_route(index, *destination, *gateway).map_err(failed)
        }
        Step::Bridge { .. } | Step::Firewall(_) | Step::Veth { .. } => {
            unreachable!("a step of the host only")
        }
    }
}

fn ensure_bridge(
    socket: &mut RouteSocket,
    name: &InterfaceName,
    mac: MacAddress,
    mtu: u32,
) -> Result<()> {
    let failed = |error| Error::kernel(format_args!("create bridge `{name}`"), error);
    match socket.link(name).map_err(failed)? {
        Some(link) if link.kind == "bridge" => Ok(()),
        Some(_) => {
            Err(failed(std::io::Error::other("an interface of that name is not a bridge").into()))
        }
        None => socket.create_bridge(name, mac, mtu).map_err(failed),
    }
}

/// Undoes steps in reverse and returns what could not be undone.
fn undo(state: &State, plan: &NetworkPlan, steps: &[Step]) -> Vec<Error> {
    let mut failures = Vec::new();
    let mut socket = match open() {
        Ok(socket) => socket,
        Err(error) => return vec![error],
    };
    let others = others(state, plan).unwrap_or_else(|error| {
        failures.push(error);
        // Without knowing who else is connected, nothing that is shared may go: as if one like this one stayed.
        plan.rules().cloned().into_iter().collect()
    });
    for step in steps.iter().rev() {
        let undone = match step {
            Step::Veth { name, mac, .. } => delete_if_ours(&mut socket, name, "veth", *mac),
            Step::Firewall(rules) => firewall::disconnect(rules, &others),
            Step::Bridge { name, mac, .. } if others.iter().all(|other| other.bridge != *name) => {
                delete_bridge(&mut socket, name, *mac)
            }
            // These go with their interfaces, or are shared and still in use.
            Step::Bridge { .. }
            | Step::Sysctl { .. }
            | Step::Address { .. }
            | Step::Up { .. }
            | Step::Route { .. } => Ok(()),
        };
        failures.extend(undone.err());
    }
    failures
}

/// The rules of every other container that is connected, or may be.
fn others(state: &State, plan: &NetworkPlan) -> Result<Vec<super::plan::Rules>> {
    let mut plans = state.connected()?;
    plans.retain(|other| other.container != plan.container || other.network != plan.network);
    Ok(plans.iter().filter_map(NetworkPlan::rules).cloned().collect())
}

/// Deletes a bridge of ours, unless somebody made an interface of their own a port of it.
fn delete_bridge(socket: &mut RouteSocket, name: &InterfaceName, mac: MacAddress) -> Result<()> {
    let failed = |error| Error::kernel(format_args!("delete bridge `{name}`"), error);
    if let Some(link) = socket.link(name).map_err(failed)?
        && socket.has_ports(link.index).map_err(failed)?
    {
        return Ok(());
    }
    delete_if_ours(socket, name, "bridge", mac)
}

/// Deletes a link if its kind and its link address say that it is the one that was planned.
fn delete_if_ours(
    socket: &mut RouteSocket,
    name: &InterfaceName,
    kind: &str,
    mac: MacAddress,
) -> Result<()> {
    let failed = |error| Error::kernel(format_args!("delete {kind} `{name}`"), error);
    match socket.link(name).map_err(failed)? {
        Some(link) if link.kind == kind && link.mac == Some(mac) => {
            // It may go by itself meanwhile: a veth pair does when the namespace of one end ends.
            missing_is_fine(socket.delete_link(link.index)).map_err(failed)
        }
        _ => Ok(()),
    }
}

fn restore_sysctls(taken: &[Step]) -> Result<()> {
    for step in taken.iter().rev() {
        if let Step::Sysctl { place: Place::Host, key, previous: Some(previous), .. } = step {
            write_sysctl(key, previous)?;
        }
    }
    Ok(())
}

fn find(socket: &mut RouteSocket, name: &InterfaceName) -> Result<u32> {
    socket
        .index(name)
        .map_err(|error| Error::kernel(format_args!("find interface `{name}`"), error))
}

fn open() -> Result<RouteSocket> {
    RouteSocket::open().map_err(|error| Error::kernel("open a netlink socket", error))
}
