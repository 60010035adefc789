//! A monitor of one of the user's containers, which is in the user's namespace for as long as its container runs.

use crate::container::{Containers, Dir};
use crate::monitor;
use crate::settings::Settings;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

/// One that is found by what the containers' states say.
pub(super) fn monitor(settings: &Settings) -> Option<OwnedFd> {
    let containers = Containers::open(&settings.containers()).ok()?;
    let ids = containers.ids().ok()?;
    ids.iter().find_map(|id| of_container(settings, &containers.dir(id)))
}

fn of_container(settings: &Settings, dir: &Dir) -> Option<OwnedFd> {
    let monitor = dir.state().ok()?.monitor.filter(|_| dir.is_held())?;
    let pidfd = pidfd_open(Pid::from_raw(monitor)?, PidfdFlags::empty()).ok()?;
    // The id may have been used again before it was opened. Afterwards it cannot be, as long as the process is there.
    let words = fs::read(format!("/proc/{monitor}/cmdline")).ok()?;
    let wanted = [monitor::ARGV0.as_bytes(), settings.root.as_os_str().as_bytes()];
    words.split(|byte| *byte == 0).take(2).eq(wanted).then_some(pidfd)
}
