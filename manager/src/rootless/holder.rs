//! A process of one of the user's containers, which is in the user's namespace for as long as the container runs: its monitor, or,
//! where that was killed, its init.

use crate::container::{Containers, Dir, State};
use crate::process::{MONITOR, birth};
use crate::settings::Settings;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use sys::namespace::parent;

/// One that is found by what the containers' states say.
pub(super) fn find(settings: &Settings) -> Option<OwnedFd> {
    let containers = Containers::open(&settings.containers()).ok()?;
    let ids = containers.ids().ok()?;
    ids.iter().find_map(|id| {
        let dir = containers.dir(id);
        let state = dir.recorded_state().ok()?;
        let monitor = monitor(settings, &dir, &state).map(|(_, pidfd)| pidfd);
        monitor.or_else(|| init(&dir, &state))
    })
}

/// A container's monitor: its process id, and what keeps that from being used again unnoticed.
pub(super) fn monitor(settings: &Settings, dir: &Dir, state: &State) -> Option<(i32, OwnedFd)> {
    let monitor = state.monitor.filter(|_| dir.is_held())?;
    let pidfd = open(monitor)?;
    // The id may have been used again before it was opened. Afterwards it cannot be, as long as the process is there.
    let words = fs::read(format!("/proc/{monitor}/cmdline")).ok()?;
    let wanted = [MONITOR.as_bytes(), settings.root.as_os_str().as_bytes()];
    words.split(|byte| *byte == 0).take(2).eq(wanted).then_some((monitor, pidfd))
}

/// The user's namespace, by way of the init: that is in it, or, where it has a user namespace of its own, in one that was made in it.
fn init(dir: &Dir, state: &State) -> Option<OwnedFd> {
    let (pid, born) = (state.pid?, state.born?);
    let pidfd = open(pid)?;
    let is_mapped = !dir.record().ok()?.host_config.id_mappings.uid_map.is_empty();
    let namespace = match is_mapped {
        false => pidfd,
        true => {
            let path = format!("/proc/{pid}/ns/user");
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let own = rustix::fs::open(path, flags, Mode::empty()).ok()?;
            parent(own.as_fd()).ok()?
        }
    };
    // After it was opened: it is this process that the moment is asked of.
    (birth(pid) == Some(born)).then_some(namespace)
}

fn open(pid: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}
