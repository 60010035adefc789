//! `nrun kill`: sends a signal to a container.

use crate::args;
use crate::cli::Parsed;
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::process;
use crate::record::{Record, Saved};
use crate::signal::{self, SIGKILL};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::{AsFd, OwnedFd};

/// Sends the signal to the init, or with `--all` to every process in the container's cgroup. SIGKILL goes to every process of a
/// container that shares its pid namespace, too: nothing else would end them.
///
/// # Errors
/// When there is no such signal, or the container does not run.
pub fn run(parsed: &Parsed) -> Result<()> {
    let id = ContainerId::new(&parsed.operands[0])?;
    let signal = signal(&id, parsed.operands.get(1))?;
    let root = args::root(parsed);
    // Nobody else freezes and thaws it meanwhile. But what ends a container does not wait for a command that hangs or takes long.
    let (saved, _lock) = match Record::open(&root, &id) {
        Err(Error::Locked(_)) => (Record::unlocked(&root, &id)?.saved, None),
        record => record.map(|record| (record.saved.clone(), Some(record)))?,
    };
    let cgroup = saved.cgroup();
    // Without a cgroup (rootless) the init alone can be found, whose end is that of all in its pid namespace.
    if parsed.is_set("all") && !saved.cgroups.is_empty() {
        // Of a stopped container too: processes may be left, and none is no error (runc's behaviour, which CRI relies on).
        return Ok(cgroup.signal(signal)?);
    }
    let gone = || if parsed.is_set("all") { Ok(()) } else { Err(not_running(&id)) };
    let Some(init) = init(&saved)? else {
        // Processes that outlived their init are the container's still.
        if signal == SIGKILL && !cgroup.processes()?.is_empty() {
            return Ok(cgroup.kill()?);
        }
        return gone();
    };
    // Before its init is gone: that it runs in there says whose the cgroup is.
    let shared = signal == SIGKILL && !is_first(&saved);
    let killed = if shared { cgroup.kill() } else { Ok(()) };
    match sys::signals::send(init.as_fd(), signal) {
        Err(Errno::SRCH) if shared => {}
        Err(Errno::SRCH) => return gone(),
        sent => sent.map_err(|errno| {
            Error::system(format!("send signal {signal} to container `{id}`"), errno)
        })?,
    }
    if shared {
        return Ok(killed?);
    }
    if signal == SIGKILL && cgroup.is_frozen()? {
        // A process that v1's freezer holds dies only when it goes on.
        cgroup.thaw_to_end()?;
    }
    Ok(())
}

/// The signal that was asked for; none is SIGTERM.
fn signal(id: &ContainerId, asked: Option<&String>) -> Result<i32> {
    let text = asked.filter(|text| !text.is_empty()).map_or("SIGTERM", String::as_str);
    signal::parse(text).map_err(|error| match signal::parse(id.as_str()) {
        Ok(_) => Error::Usage(format!("{error}: the id comes first, `nrun kill {text} {id}`")),
        Err(_) => error,
    })
}

/// Whether the init is the first process of its pid namespace, with which all others there end (pid_namespaces(7)).
/// Where nobody can tell, as when it is gone meanwhile, what else there is in the cgroup has to go.
fn is_first(saved: &Saved) -> bool {
    // It begins with the process's own name, which need not be text.
    let status = std::fs::read(format!("/proc/{}/status", saved.pid)).unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    ids.and_then(|ids| ids.split_whitespace().last()) == Some("1")
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

/// How long an init may take to go, in seconds.
const PATIENCE: i64 = 10;

/// Waits for the end of an init that is about to go, and returns whether it came.
///
/// # Errors
/// When the kernel does not let us wait.
pub fn await_end(init: &OwnedFd) -> std::result::Result<bool, Errno> {
    ends_within(init, PATIENCE)
}

/// Whether a process has ended.
pub fn has_ended(process: &OwnedFd) -> bool {
    ends_within(process, 0).unwrap_or(false)
}

fn ends_within(process: &OwnedFd, seconds: i64) -> std::result::Result<bool, Errno> {
    let timeout = Timespec { tv_sec: seconds, tv_nsec: 0 };
    // A pidfd is readable when its process has ended.
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&timeout)).map(|ready| ready > 0)
}
