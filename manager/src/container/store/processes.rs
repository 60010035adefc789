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
        process::birth(init) == Some(born) && is_of_init()
    }
}
