//! Ending a container: the signal that is meant to, whatever it is doing, and the wait until it has.

use crate::attach;
use crate::container::{Dir, Record, State, Status};
use crate::error::{Error, Result};
use crate::event::emit_container;
use crate::pause;
use crate::process::Process;
use crate::runtime::Runtime;
use crate::settings::Settings;
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// After SIGKILL, a process may still have to be written out of the kernel.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// Waits for the end of a container that SIGKILL was sent to, so that `to` was done.
pub fn await_death(dir: &Dir, watched: &mut Process, to: &str, name: &str) -> Result<()> {
    if wait_for_end(dir, watched, Some(AFTER_KILL))? {
        return Ok(());
    }
    Err(Error::WrongState {
        message: format!(
            "cannot {to} container {name}: it has not ended {} s after SIGKILL",
            AFTER_KILL.as_secs()
        ),
        hint: Some(
            "one of its processes may wait for a device or a network file system".to_owned(),
        ),
    })
}

/// Sends a signal that is meant to end a container, whatever it is doing. Its mark says already that it is stopped.
pub fn send(settings: &Settings, dir: &Dir, record: &Record, signal: i32) -> Result<()> {
    let runtime = Runtime::new(&record.runtime, settings);
    let state = dir.state()?;
    match state.status {
        Status::Created | Status::Exited => Ok(()),
        Status::Restarting => {
            wake(dir.monitor(&state));
            Ok(())
        }
        Status::Running => match runtime.kill(&record.id, signal) {
            // It has ended between the look and the signal; it may be about to be started again.
            // What is written down may not read back: then it waits, perhaps, to be started again.
            Err(error) if says_that_it_is_gone(&error) && dir.state_damage().is_some() => {
                let monitor = attach::monitor(settings, &record.id).map_err(|_| error)?;
                wake(Some(monitor));
                Ok(())
            }
            // What the runtime knew of it is gone, and its process is not.
            Err(error) if says_that_it_is_gone(&error) && signal_init(dir, &state, signal) => {
                emit_container(settings, record, "kill", &[("signal", &signal.to_string())]);
                drop(error);
                Ok(())
            }
            Err(error) if says_that_it_is_gone(&error) => match after_running(dir)? {
                Status::Running => Err(error),
                Status::Created | Status::Exited => Ok(()),
                Status::Restarting | Status::Paused => send(settings, dir, record, signal),
            },
            sent => {
                emit_container(settings, record, "kill", &[("signal", &signal.to_string())]);
                sent
            }
        },
        Status::Paused => {
            runtime.kill(&record.id, signal)?;
            emit_container(settings, record, "kill", &[("signal", &signal.to_string())]);
            // The signal is pending: it is acted on as soon as the container runs. Refused where the runtime has seen
            // to that by itself, and the container may have ended since.
            let _ = pause::resume(settings, dir, record);
            Ok(())
        }
    }
}

/// Sends a signal to a container's init past the runtime; false if it is not there any more.
fn signal_init(dir: &Dir, state: &State, signal: i32) -> bool {
    let Some(signal) = Signal::from_named_raw(signal) else { return false };
    dir.init(state).is_some_and(|init| init.send(signal).is_ok())
}

/// Makes the monitor of a container that has no process look at the mark.
fn wake(monitor: Option<Process>) {
    // Refused when it has ended meanwhile.
    let _ = monitor.map(|monitor| monitor.send(Signal::TERM));
}

/// Whether a runtime refuses a signal because there is nobody to get it: runc's words, which all runtimes keep to
/// because engines match them.
fn says_that_it_is_gone(error: &Error) -> bool {
    let text = error.to_string();
    ["does not exist", "not running", "already finished", "no such process"]
        .iter()
        .any(|words| text.contains(words))
}

/// What a container is once its monitor has written down that it has ended. That takes some seconds where a client of its is slow, or
/// whoever is sent its log.
fn after_running(dir: &Dir) -> Result<Status> {
    for _ in 0..800 {
        let status = dir.state()?.status;
        if status != Status::Running {
            return Ok(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(Status::Running)
}

/// A process that ends no sooner than everything of the container: its monitor, or its init where the monitor was
/// killed. `None` when the container does not run.
pub fn watch(settings: &Settings, dir: &Dir) -> Result<Option<Process>> {
    let state = dir.state()?;
    if !state.status.is_up() {
        return Ok(None);
    }
    // What is written down may not read back: then it is asked itself.
    if dir.is_held() && dir.state_damage().is_some() {
        return attach::monitor(settings, &dir.record()?.id).map(Some);
    }
    Ok(dir.monitor(&state).or_else(|| dir.init(&state)))
}

/// Waits until a container has ended; `false` if that takes longer than `timeout`. `watched` is what [`watch`] has found, and
/// becomes the container's init where its monitor is killed meanwhile.
///
/// # Errors
/// The container's state cannot be read.
pub fn wait_for_end(dir: &Dir, watched: &mut Process, timeout: Option<Duration>) -> Result<bool> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if !watched.wait_for_exit(left).map_err(Error::system("wait for the container"))? {
            return Ok(false);
        }
        match left_behind(dir, watched)? {
            Some(init) => *watched = init,
            None => return Ok(true),
        }
    }
}

/// The init of a container that runs on although its monitor has ended, which then has been killed.
fn left_behind(dir: &Dir, ended: &Process) -> Result<Option<Process>> {
    let state = match dir.state() {
        // It was to be removed when it ended.
        Err(Error::NoSuchContainer(_)) => return Ok(None),
        state => state?,
    };
    // One that somebody has started meanwhile has another monitor.
    let is_same = state.status.has_process() && state.monitor == Some(ended.id());
    Ok(is_same.then(|| dir.init(&state)).flatten())
}
