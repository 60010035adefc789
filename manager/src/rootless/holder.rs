//! A process of one of the user's containers, which is in the user's namespace for as long as the container runs: its monitor, or,
//! where that was killed, its init.

use crate::container::{Containers, Dir, State};
use crate::process::Process;
use crate::settings::Settings;
use rustix::fs::OFlags;
use std::os::fd::{AsFd as _, OwnedFd};
use sys::namespace::parent;

/// One that is found by what the containers' states say.
pub(super) fn find(settings: &Settings) -> Option<OwnedFd> {
    let containers = Containers::open(&settings.containers()).ok()?;
    let ids = containers.ids().ok()?;
    ids.iter().find_map(|id| {
        let dir = containers.dir(id);
        let state = dir.recorded_state().ok()?;
        dir.monitor(&state).map(OwnedFd::from).or_else(|| init(&dir, &state))
    })
}

/// The user's namespace, by way of the init: that is in it, or, where it has a user namespace of its own, in one that was made in it.
fn init(dir: &Dir, state: &State) -> Option<OwnedFd> {
    let init = Process::born(state.pid?, state.born?)?;
    let is_mapped = !dir.record().ok()?.host_config.id_mappings.uid_map.is_empty();
    match is_mapped {
        false => Some(init.into()),
        true => parent(init.open_file("ns/user", OFlags::RDONLY).ok()?.as_fd()).ok(),
    }
}
