//! `nman stop` and `nman restart`: until a container has ended and its monitor has cleaned up.

use crate::attach;
use crate::cli::StopArgs;
use crate::container::{Containers, Dir, Mark, Record, State};
use crate::each::each;
use crate::end::{await_death, send, wait_for_end, watch};
use crate::error::{Error, Result};
use crate::event::emit_container;
use crate::process::Process;
use crate::rm;
use crate::settings::Settings;
use crate::start;
use std::time::Duration;

/// How a container is to be stopped, where its own way is not wanted.
#[derive(Clone, Copy, Debug, Default)]
struct Manner {
    /// Seconds until SIGKILL; -1 for never.
    patience: Option<i32>,
    signal: Option<i32>,
}

/// Stops each of the named containers; returns the names of those that are stopped, and what went wrong.
pub fn stop(settings: &Settings, args: &StopArgs) -> Result<(Vec<String>, Vec<Error>)> {
    let containers = Containers::open(&settings.containers())?;
    let manner = Manner { patience: args.time, signal: args.signal.map(|signal| signal.0) };
    Ok(each(&args.names, |name| {
        let dir = containers.find(name)?;
        let code = stop_one(settings, &dir, name, manner)?;
        // Its monitor was killed, before or meanwhile.
        if dir.is_abandoned() {
            rm::unseen::conclude_abandoned(settings, &containers, &dir, code)?;
        }
        Ok(Some(name.to_owned()))
    }))
}

/// `nman restart`: stops each of the named containers, if it runs, and starts it.
pub fn restart(settings: &Settings, args: &StopArgs) -> Result<(Vec<String>, Vec<Error>)> {
    let containers = Containers::open(&settings.containers())?;
    let manner = Manner { patience: args.time, signal: args.signal.map(|signal| signal.0) };
    Ok(start::each_in_order(&containers, &args.names, |name| {
        let dir = containers.find(name)?;
        let record = dir.record()?;
        if record.remove {
            dir.set(Mark::Kept)?;
        }
        if let Err(error) = stop_one(settings, &dir, name, manner) {
            // It runs on, and is to be removed when it ends.
            let _ = dir.clear(Mark::Kept);
            return Err(error);
        }
        if let Some(mut monitor) = start::start(settings, name)? {
            attach::until_started(&mut monitor)?;
        }
        emit_container(settings, &record, "restart", &[]);
        Ok(Some(name.to_owned()))
    }))
}

/// Stops a container. Returns what it has ended with, as far as that is known without having heard it.
fn stop_one(settings: &Settings, dir: &Dir, name: &str, manner: Manner) -> Result<u8> {
    let record = dir.record()?;
    let Some(mut watched) = watch(settings, dir)? else { return Ok(State::UNKNOWN_CODE) };
    // Before anything is sent: whoever sees the container end finds it.
    dir.set_stopped()?;
    let signal = manner.signal.unwrap_or(record.stop.signal);
    let seconds = manner.patience.unwrap_or(record.stop.timeout);
    let patience = u64::try_from(seconds).ok().map(Duration::from_secs);
    let obeyed = signal_and_wait(settings, dir, &record, &mut watched, signal, patience)?;
    if !obeyed && !signal_and_wait(settings, dir, &record, &mut watched, 9, Some(Duration::ZERO))? {
        await_death(dir, &mut watched, "stop", name)?;
    }
    emit_container(settings, &record, "stop", &[]);
    Ok(if obeyed && signal != 9 { State::UNKNOWN_CODE } else { State::KILLED_CODE })
}

fn signal_and_wait(
    settings: &Settings,
    dir: &Dir,
    record: &Record,
    watched: &mut Process,
    signal: i32,
    patience: Option<Duration>,
) -> Result<bool> {
    let sent = send(settings, dir, record, signal);
    let patience = if sent.is_ok() { patience } else { Some(Duration::ZERO) };
    let ended = wait_for_end(dir, watched, patience)?;
    // A signal to what has ended meanwhile is refused, and that is what was wanted.
    if ended { Ok(true) } else { sent.map(|()| false) }
}
