//! `nrun events`: what a container uses, and when it is out of memory; a line of JSON for each.

mod interval;

use crate::args;
use crate::cgroup::{ASK_AGAIN, Cgroup, OomWatch, Stats};
use crate::cli::Parsed;
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::kill;
use crate::record::{self, Saved};
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
    data: Option<Stats>,
}

/// Shows one line of statistics with `--stats`; else one at each interval, and one each time that the container is out of memory,
/// until it has ended.
///
/// # Errors
/// When the container does not run, or its cgroup does not tell.
pub fn run(parsed: &Parsed) -> Result<()> {
    let id = ContainerId::new(&parsed.operands[0])?;
    let interval = interval::parse(parsed.value("interval"))?;
    let (saved, awaits_start) = record::peek(&args::root(parsed), &id)?;
    let init = match Status::of(&saved, awaits_start)? {
        Status::Stopped => None,
        Status::Creating => {
            return Err(Error::State(format!(
                "cannot tell what container `{id}` uses: it is still being created"
            )));
        }
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
    if parsed.is_set("stats") {
        return show(id.as_str(), "stats", Some(stats(&saved)?));
    }
    match follow(&saved, &init, interval) {
        // Whoever closes the pipe has read enough.
        Err(Error::System { errno: Errno::PIPE, .. }) => Ok(()),
        followed => followed,
    }
}

/// What its cgroup counts, and its class of cache and memory bandwidth if it has one.
fn stats(saved: &Saved) -> Result<Stats> {
    let stats = Cgroup::open(saved.cgroups.clone()).stats()?;
    match &saved.intel_rdt {
        Some(class) => Ok(stats.with_class(class.stats()?)),
        None => Ok(stats),
    }
}

fn follow(saved: &Saved, init: &OwnedFd, interval: std::time::Duration) -> Result<()> {
    let memory = Cgroup::open(saved.cgroups.clone()).watch_memory()?;
    let failed = |error| Error::io("watch the memory of the container", &error);
    let (own, theirs) = (saved.id.clone(), init.try_clone().map_err(failed)?);
    // A thread of its own: systemd removes the cgroup of a killed init, with what it counted, while statistics are being read.
    let watch = move || follow_memory(&own, memory, &theirs);
    let watcher = std::thread::Builder::new().spawn(watch).map_err(failed)?;
    follow_use(saved, init, interval)?;
    watcher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Tells each time that the container is out of memory, until it has ended.
fn follow_memory(id: &str, mut memory: OomWatch, init: &OwnedFd) -> Result<()> {
    loop {
        let again = Instant::now() + ASK_AGAIN;
        let ended = wait(&mut [ending(init), memory.poll()], Some(again))?;
        if memory.happened()? {
            show(id, "oom", None)?;
        }
        if ended {
            return Ok(());
        }
    }
}

/// Tells what the container uses at each interval, until it has ended.
fn follow_use(saved: &Saved, init: &OwnedFd, interval: std::time::Duration) -> Result<()> {
    let mut next = Instant::now() + interval;
    while !wait(&mut [ending(init)], Some(next))? {
        if Instant::now() >= next {
            next += interval;
            let stats = stats(saved);
            // It may have ended just now: its cgroup is gone then, or has nothing to tell.
            if wait(&mut [ending(init)], Some(Instant::now()))? {
                return Ok(());
            }
            show(&saved.id, "stats", Some(stats?))?;
        }
    }
    Ok(())
}

/// A pidfd is readable when its process has ended.
fn ending(init: &OwnedFd) -> PollFd<'_> {
    PollFd::new(init, PollFlags::IN)
}

/// Waits for any of these, or for the time. Returns whether the first was it.
fn wait(fds: &mut [PollFd<'_>], until: Option<Instant>) -> Result<bool> {
    let timeout = until.map(|until| {
        let left = until.saturating_duration_since(Instant::now());
        Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        }
    });
    match poll(fds, timeout.as_ref()) {
        Ok(_) => Ok(fds.first().is_some_and(|first| !first.revents().is_empty())),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(Error::system("wait for the container's events", errno)),
    }
}

/// At once: who reads it waits for it.
fn show(id: &str, kind: &str, data: Option<Stats>) -> Result<()> {
    let event = Event { kind, id, data };
    let line = serde_json::to_string(&event).unwrap_or_default() + "\n";
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| Error::io("write to standard output", &error))
}
