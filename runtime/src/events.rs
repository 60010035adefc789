//! `nrun events`: what a container uses, and when it is out of memory; a line of JSON for each.

mod interval;

use crate::cgroup::Cgroup;
use crate::cli::Parsed;
use crate::create;
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::kill;
use crate::record;
use crate::state::Status;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::Serialize;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::time::Instant;

/// A line.
#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<crate::cgroup::Stats>,
}

/// Shows one line of statistics with `--stats`; else one at each interval, and one each time that the container is out of memory,
/// until it has ended.
///
/// # Errors
/// When the container does not run, or its cgroup does not tell.
pub fn run(parsed: &Parsed) -> Result<()> {
    let id = ContainerId::new(&parsed.operands[0])?;
    let interval = interval::parse(parsed.value("interval"))?;
    let (saved, awaits_start) = record::peek(&create::root(parsed), &id)?;
    let init = match Status::of(&saved, awaits_start)? {
        Status::Creating | Status::Stopped => None,
        Status::Created | Status::Running | Status::Paused => kill::init(&saved)?,
    };
    let Some(init) = init else {
        return Err(Error::State(format!("container with id {id} is not running")));
    };
    if saved.cgroups.is_empty() {
        return Err(Error::State(format!(
            "cannot tell what container `{id}` uses: it has no cgroup of its own"
        )));
    }
    let cgroup = Cgroup::open(saved.cgroups.clone());
    if parsed.is_set("stats") {
        return show(id.as_str(), "stats", Some(cgroup.stats()?));
    }
    follow(id.as_str(), &cgroup, &init, interval)
}

fn follow(id: &str, cgroup: &Cgroup, init: &OwnedFd, interval: std::time::Duration) -> Result<()> {
    let mut memory = cgroup.watch_memory()?;
    let mut next = Instant::now() + interval;
    loop {
        let ended = wait(init, memory.poll(), next)?;
        if memory.happened()? {
            show(id, "oom", None)?;
        }
        if ended {
            return Ok(());
        }
        if Instant::now() >= next {
            next += interval;
            match cgroup.stats() {
                Ok(stats) => show(id, "stats", Some(stats))?,
                // It may have ended, and been deleted, just now.
                Err(error) => {
                    return if wait(init, memory.poll(), Instant::now())? {
                        Ok(())
                    } else {
                        Err(error.into())
                    };
                }
            }
        }
    }
}

/// Waits for the container to end or to be out of memory, or for the time. Returns whether it has ended.
fn wait(init: &OwnedFd, memory: PollFd<'_>, until: Instant) -> Result<bool> {
    // A pidfd is readable when its process has ended.
    let mut fds = [PollFd::new(init, PollFlags::IN), memory];
    let left = until.saturating_duration_since(Instant::now());
    let timeout = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    };
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) => Ok(!fds[0].revents().is_empty()),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(Error::system("wait for the container's events", errno)),
    }
}

/// At once: who reads it waits for it.
fn show(id: &str, kind: &str, data: Option<crate::cgroup::Stats>) -> Result<()> {
    let event = Event { kind, id, data };
    let line = serde_json::to_string(&event).unwrap_or_default() + "\n";
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| Error::io("write to standard output", &error))
}
