//! What changes of a connection that goes on: the place of its routes, and the ports that it carries.
//!
//! The record changes first, so that what is made can be taken away with the container whatever happens. One whose container has
//! been disconnected meanwhile is not written again. What fails is put back as it was.

use super::apply::{refused, restore_rules_locked};
use super::error::Result;
use super::firewall;
use super::link::{find, open};
use super::netlink::route::{RouteSocket, existing_is_fine, missing_is_fine};
use super::netns;
use super::plan::{NetworkPlan, Step};
use super::state::State;
use std::os::fd::BorrowedFd;

/// Has connections carry the ports that they have in `plans`: [`NetworkPlan::with_ports`]. All of them change at once: a port is at no
/// time nobody's. All change, or none.
///
/// # Errors
/// As [`restore_rules`](super::restore_rules), or a record cannot be written.
pub fn publish(state: &State, plans: &[NetworkPlan]) -> Result<()> {
    if plans.is_empty() {
        return Ok(());
    }
    let lock = state.lock()?;
    let mut before = Vec::new();
    for plan in plans {
        before.extend(state.connection(&plan.container, &plan.network)?);
    }
    let amended = plans.iter().try_for_each(|plan| state.amend(plan));
    if let Err(error) = amended.and_then(|()| restore_rules_locked(state, &lock)) {
        // The rules change in one batch: they are as they were.
        for plan in &before {
            let _ = state.amend(plan);
        }
        return Err(error);
    }
    // A client that never pauses would go on to where the port led before.
    let rules: Vec<_> = plans.iter().filter_map(NetworkPlan::rules).collect();
    state.run(|| rules.iter().try_for_each(|rules| firewall::forget_flows(rules)))
}

/// Gives connections' routes other places, each from the first plan's to the second's, one after the other. Both are there for a moment:
/// there is none without. All move, or none.
///
/// # Errors
/// A record cannot be written, or the kernel refuses a route.
pub fn reroute(
    state: &State,
    moves: &[(NetworkPlan, NetworkPlan)],
    netns: BorrowedFd<'_>,
) -> Result<()> {
    let _lock = state.lock()?;
    for (at, (before, after)) in moves.iter().enumerate() {
        if let Err(error) = reroute_one(state, before, after, netns) {
            // In reverse: each finds its old place empty.
            for (before, after) in moves[..=at].iter().rev() {
                let _ = reroute_one(state, after, before, netns);
            }
            return Err(error);
        }
    }
    Ok(())
}

fn reroute_one(
    state: &State,
    before: &NetworkPlan,
    after: &NetworkPlan,
    netns: BorrowedFd<'_>,
) -> Result<()> {
    state.amend(after)?;
    netns::run_in(netns, || {
        let mut socket = open()?;
        let mut moved = Ok(());
        for (old, new) in before.steps.iter().zip(&after.steps).filter(|(old, new)| old != new) {
            // Goes on after an error: this is also how what was moved is put back.
            moved = moved.and(move_route(&mut socket, old, new));
        }
        moved
    })
}

fn move_route(socket: &mut RouteSocket, old: &Step, new: &Step) -> Result<()> {
    let Step::Route { interface, destination, gateway, metric } = new else { return Ok(()) };
    let index = find(socket, interface)?;
    existing_is_fine(socket.add_route(index, *destination, *gateway, *metric))
        .map_err(|error| refused(new, error))?;
    let Step::Route { metric, .. } = old else { return Ok(()) };
    missing_is_fine(socket.delete_route(index, *destination, *gateway, *metric))
        .map_err(|error| refused(old, error))
}
