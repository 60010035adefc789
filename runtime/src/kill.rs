//! `nrun kill`: sends a signal to a container.

use crate::cli::Parsed;
use crate::create;
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::process;
use crate::record::{Record, Saved};
use crate::signal;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::{AsFd, OwnedFd};

/// Sends the signal to the init, or with `--all` to every process in the container's cgroup.
///
/// # Errors
/// When there is no such signal, or the container does not run.
pub fn run(parsed: &Parsed) -> Result<()> {
    let id = ContainerId::new(&parsed.operands[0])?;
    let signal = signal::parse(parsed.operands.get(1).map_or("SIGTERM", String::as_str))?;
    let record = Record::open(&create::root(parsed), &id)?;
    // Without a cgroup (rootless) the init alone can be found, whose end is that of all in its pid namespace.
    if parsed.is_set("all") && !record.saved.cgroups.is_empty() {
        // Of a stopped container too: processes may be left, and none is no error (runc's behaviour, which CRI relies on).
        return Ok(record.cgroup().signal(signal)?);
    }
    let gone = || if parsed.is_set("all") { Ok(()) } else { Err(not_running(&id)) };
    let Some(init) = init(&record.saved)? else { return gone() };
    match sys::signals::send(init.as_fd(), signal) {
        Err(Errno::SRCH) => gone(),
        sent => sent.map_err(|errno| {
            Error::system(format!("send signal {signal} to container `{id}`"), errno)
        }),
    }
}

/// The words that engines match.
fn not_running(id: &ContainerId) -> Error {
    Error::State(format!("cannot kill container `{id}`: container not running"))
}

/// The container's init, if it still runs. The fd is opened first and the start time compared after, so that it cannot be
/// another process that got the same id in between.
///
/// # Errors
/// When /proc cannot be read.
pub fn init(saved: &Saved) -> Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(saved.pid) else { return Ok(None) };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(None),
        opened => {
            opened.map_err(|errno| Error::system(format!("open process {}", saved.pid), errno))?
        }
    };
    Ok(process::is_alive(saved.pid, saved.pid_start)?.then_some(pidfd))
}
