//! `nman wait`: until something has become of a container.

use crate::attach;
use crate::cli::{WaitArgs, WaitFor};
use crate::container::{Containers, Dir, State, Status};
use crate::each::each;
use crate::end;
use crate::error::{Error, Result};
use crate::health;
use crate::process::Process;
use crate::settings::Settings;
use crate::wire::{self, Event, Request};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

/// Waits for each of the containers; returns their exit codes, and what went wrong.
pub fn wait(settings: &Settings, args: &WaitArgs) -> Result<(Vec<String>, Vec<Error>)> {
    let containers = Containers::open(&settings.containers())?;
    Ok(each(&args.names, |name| {
        let dir = containers.find(name)?;
        let code = match args.condition {
            WaitFor::NotRunning => end(settings, &dir, false)?,
            WaitFor::NextExit => end(settings, &dir, true)?,
            WaitFor::Removed => {
                let code = end(settings, &dir, false)?;
                until(&dir, None, || Ok(!dir.path().exists()))?;
                code
            }
            WaitFor::Running => condition(&dir, |status, _| status == Status::Running)?,
            WaitFor::Paused => condition(&dir, |status, _| status == Status::Paused)?,
            WaitFor::Healthy => {
                condition(&dir, |_, dir| health::read(dir).status == health::Status::Healthy)?
            }
            WaitFor::Unhealthy => {
                condition(&dir, |_, dir| health::read(dir).status == health::Status::Unhealthy)?
            }
        };
        Ok(Some(code.to_string()))
    }))
}

/// Waits until the container's process has ended, or ends next; its exit code.
fn end(settings: &Settings, dir: &Dir, next: bool) -> Result<u8> {
    let record = dir.record()?;
    let before = dir.state()?;
    if before.status == Status::Restarting {
        // In the pause there is no process that could end: the next one's end is meant, which may come before it is looked at.
        let is_over = |state: &State| {
            state.status != Status::Restarting
                || state.supervised.restart_count != before.supervised.restart_count
        };
        until(dir, dir.monitor(&before), || Ok(is_over(&dir.state()?)))?;
        let state = dir.state()?;
        if !state.status.has_process() {
            return Ok(state.exit_code.unwrap_or(0));
        }
    } else if next && !before.status.has_process() {
        condition(dir, |status, _| status.has_process())?;
    }
    let Some(mut watched) = end::watch(settings, dir)? else {
        return Ok(dir.state()?.exit_code.unwrap_or(0));
    };
    // A life of milliseconds may have ended since the last look: whoever waits now would wait for all lives to come.
    let state = dir.state()?;
    if state.status == Status::Restarting {
        return Ok(state.exit_code.unwrap_or(0));
    }
    if dir.is_held()
        && state.status.has_process()
        && let Ok(link) = attach::open(settings, &record.id)
        && let Some(code) = told(&link.socket)
    {
        return Ok(code);
    }
    // Its monitor is dead, or about to end: what is written down is all that there will be.
    end::wait_for_end(dir, &mut watched, None)?;
    Ok(dir.state()?.exit_code.unwrap_or(0))
}

/// What the monitor says about the end. It says so also of a container that is removed at once.
fn told(socket: &OwnedFd) -> Option<u8> {
    let mut buffer = Vec::new();
    Request::Mute.encode(&mut buffer);
    wire::put(socket.as_fd(), &buffer, true).ok()?;
    loop {
        match Event::decode(wire::get(socket.as_fd(), &mut buffer)?)? {
            Event::Exited(code) | Event::Restarting(code) | Event::Failed(code, _) => {
                return Some(code);
            }
            Event::Started | Event::Stdout(_) | Event::Stderr(_) => {}
        }
    }
}

/// Waits for a state; the exit code that is on record then.
fn condition(dir: &Dir, holds: impl Fn(Status, &Dir) -> bool) -> Result<u8> {
    until(dir, None, || Ok(holds(dir.state()?.status, dir)))?;
    Ok(dir.state()?.exit_code.unwrap_or(0))
}

/// Waits until something holds, looking again whenever a file of the container changes, and when a process has ended.
fn until(dir: &Dir, mut end: Option<Process>, holds: impl Fn() -> Result<bool>) -> Result<()> {
    let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
        .map_err(Error::system("watch the container"))?;
    let flags = WatchFlags::MOVED_TO
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        // A mark may be the mode of a file.
        | WatchFlags::ATTRIB
        | WatchFlags::ONLYDIR;
    if let Err(errno) = inotify::add_watch(&changes, dir.path(), flags)
        && errno != rustix::io::Errno::NOENT
    {
        return Err(Error::io("watch", dir.path())(errno));
    }
    while !holds()? {
        let mut fds = vec![PollFd::new(&changes, PollFlags::IN)];
        fds.extend(end.as_ref().map(|process| PollFd::new(process, PollFlags::IN)));
        let _ = poll(&mut fds, None);
        // It ends only once.
        end = end.filter(|process| process.wait_for_exit(Some(Duration::ZERO)) == Ok(false));
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&changes, &mut space);
        while events.next().is_ok() {}
    }
    Ok(())
}
