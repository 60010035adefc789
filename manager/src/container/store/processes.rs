//! A container's processes, by the ids that its state has: ids are used again, so each is looked at before it is believed.

use super::{Dir, State};
use crate::process::{self, Process};

impl Dir {
    /// The container's monitor, while it is there.
    #[must_use]
    pub fn monitor(&self, state: &State) -> Option<Process> {
        Process::born(state.monitor?, state.monitor_born?)
    }

    /// The container's first process, while it is there.
    #[must_use]
    pub fn init(&self, state: &State) -> Option<Process> {
        Process::open(state.pid?, |init| self.has_process(init.id()))
    }

    /// Whether process `pid` is alive and one of this container: process ids are used again, cgroup paths name the id.
    #[must_use]
    pub fn has_process(&self, pid: i32) -> bool {
        process::is_alive(pid)
            && (process::text(pid, "cgroup").is_some_and(|groups| groups.contains(self.id()))
                || self.has_beside_init(pid))
    }

    /// The same where the container has no cgroup, or has left it: its init is known by the moment at which it began, the others by its mount
    /// namespace, which no container shares.
    fn has_beside_init(&self, pid: i32) -> bool {
        let Ok(State { pid: Some(init), born: Some(born), .. }) = self.recorded_state() else {
            return false;
        };
        let is_of_init = || pid == init || process::share_namespace(pid, init, "mnt");
        process::birth(init) == Some(born) && !is_outside(init) && is_of_init()
    }
}

/// Whether a process is in the mount namespace that we are in, or the first process. No container's init is, whatever is written down, and
/// who is believed to be one may be killed with all that are there.
fn is_outside(pid: i32) -> bool {
    let own = std::process::id().try_into().unwrap_or(1);
    [own, 1].into_iter().any(|other| process::share_namespace(pid, other, "mnt"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::Status;
    use std::fs;

    /// A directory with the state of a container whose init and monitor are said to be this process.
    fn said_to_be_us() -> (tempfile::TempDir, Dir) {
        let directory = tempfile::tempdir().unwrap();
        let dir = Dir { path: directory.path().to_owned() };
        let own = i32::try_from(std::process::id()).unwrap();
        let born = process::birth(own);
        let state = State {
            status: Status::Running,
            pid: Some(own),
            born,
            monitor: Some(own),
            monitor_born: born,
            ..State::created()
        };
        dir.set_state(&state).unwrap();
        (directory, dir)
    }

    #[test]
    fn who_is_in_our_own_mount_namespace_is_of_no_container() {
        let (_directory, dir) = said_to_be_us();
        let state = dir.recorded_state().unwrap();
        assert!(dir.init(&state).is_none() && !dir.has_process(state.pid.unwrap()));
        assert_eq!(dir.state().unwrap().status, Status::Exited);
    }

    #[test]
    fn processes_that_were_written_down_before_the_machine_was_started_are_not_there() {
        let (_directory, dir) = said_to_be_us();
        let path = dir.join("state.json");
        let mut state: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let monitor = || dir.monitor(&dir.recorded_state().unwrap());
        assert!(monitor().is_some());
        state["boot"] = "11111111-2222-3333-4444-555555555555".into();
        fs::write(&path, state.to_string()).unwrap();
        assert!(monitor().is_none() && dir.recorded_state().unwrap().pid.is_none());
        assert_eq!(dir.state().unwrap().status, Status::Exited);
    }
}
