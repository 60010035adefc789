//! The processes of the user's containers, which are in the user's namespace for as long as a container runs: its monitor, and,
//! where that was killed, its init.

use crate::container::{Containers, Dir, State};
use crate::error::Error;
use crate::process::Process;
use rustix::fs::OFlags;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use sys::namespace::parent;

/// What can be joined by what the containers' states say, one after the other: of one that is being killed there is a process still,
/// but no namespace any more.
pub(super) fn candidates(containers: &Path) -> impl Iterator<Item = OwnedFd> {
    let dirs = || {
        let containers = Containers::open(containers)?;
        Ok::<_, Error>(containers.ids()?.iter().map(|id| containers.dir(id)).collect())
    };
    let dirs: Vec<Dir> = dirs().unwrap_or_default();
    dirs.into_iter().flat_map(|dir| {
        let state = dir.recorded_state().ok();
        let monitor = state.as_ref().and_then(|state| dir.monitor(state)).map(OwnedFd::from);
        let init = move || state.and_then(|state| init(&dir, &state));
        monitor.into_iter().chain(std::iter::once_with(init).flatten())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::tests::record;
    use serde_json::json;

    #[test]
    fn after_a_monitor_that_turns_out_to_be_gone_there_is_the_init_to_be_joined() {
        let root = tempfile::tempdir().unwrap();
        let containers = Containers::open(root.path()).unwrap();
        let (record, _) = record(&["image", "true"], "{}").unwrap();
        let (dir, _guard) = containers.reserve(&record).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let (born, boot) = (crate::process::birth(own), crate::process::boot());
        let mut state = json!({"status": "running", "pid": own, "born": born, "boot": boot});
        dir.write("state.json", &state).unwrap();
        assert_eq!(candidates(root.path()).count(), 1);
        state["monitor"] = own.into();
        state["monitorBorn"] = born.into();
        dir.write("state.json", &state).unwrap();
        assert_eq!(candidates(root.path()).count(), 2);
    }
}
