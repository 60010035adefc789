//! Ending a container: the signal that is meant to, whatever it is doing, and the wait until it has.

use crate::attach;
use crate::container::{Dir, Record, Status};
use crate::error::{Error, Result};
use crate::event::emit_container;
use crate::pause;
use crate::process::wait_for_exit;
use crate::runtime::Runtime;
use crate::settings::Settings;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// After SIGKILL, a process may still have to be written out of the kernel.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// Waits for the end of a container that SIGKILL was sent to, so that `to` was done.
pub fn await_death(watched: &OwnedFd, to: &str, name: &str) -> Result<()> {
    let ended = wait_for_exit(watched, Some(AFTER_KILL));
    if ended.map_err(Error::system("wait for the container"))? {
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
            wake(dir, state.monitor);
            Ok(())
        }
        Status::Running => match runtime.kill(&record.id, signal) {
            // It has ended between the look and the signal; it may be about to be started again.
            // What is written down may not read back: then it waits, perhaps, to be started again.
            Err(error) if says_that_it_is_gone(&error) && dir.state_damage().is_some() => {
                let monitor = attach::monitor(settings, &record.id).map_err(|_| error)?;
                wake(dir, Some(monitor));
                Ok(())
            }
            // What the runtime knew of it is gone, and its process is not.
            Err(error) if says_that_it_is_gone(&error) && signal_init(dir, state.pid, signal) => {
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
fn signal_init(dir: &Dir, init: Option<i32>, signal: i32) -> bool {
    let Some((pid, opened)) = init.and_then(|pid| Some((pid, open_process(pid)?))) else {
        return false;
    };
    // The process id may have been used again before it was opened.
    let signal = Signal::from_named_raw(signal);
    dir.has_process(pid) && signal.is_some_and(|signal| pidfd_send_signal(&opened, signal).is_ok())
}

/// Makes the monitor of a container that has no process look at the mark.
fn wake(dir: &Dir, monitor: Option<i32>) {
    if let Some(monitor) = monitor.and_then(open_process).filter(|_| dir.is_held()) {
        let _ = pidfd_send_signal(&monitor, Signal::TERM);
    }
}

/// Whether a runtime refuses a signal because there is nobody to get it: runc's words, which all runtimes keep to
/// because engines match them.
fn says_that_it_is_gone(error: &Error) -> bool {
    let text = error.to_string();
    ["does not exist", "not running", "already finished", "no such process"]
        .iter()
        .any(|words| text.contains(words))
}

/// What a container is once its monitor has written down that it has ended, for which it gets two seconds.
fn after_running(dir: &Dir) -> Result<Status> {
    for _ in 0..200 {
        let status = dir.state()?.status;
        if status != Status::Running {
            return Ok(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(Status::Running)
}

fn open_process(pid: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

/// A process that ends no sooner than everything of the container: its monitor, or its init where the monitor was
/// killed. `None` when the container does not run.
pub fn watch(settings: &Settings, dir: &Dir) -> Result<Option<OwnedFd>> {
    let state = dir.state()?;
    if !state.status.is_up() {
        return Ok(None);
    }
    let pid = match (dir.is_held(), state.monitor) {
        (false, _) => state.pid,
        // What is written down does not read back: it is asked itself.
        (true, None) if dir.state_damage().is_some() => {
            Some(attach::monitor(settings, &dir.record()?.id)?)
        }
        (true, monitor) => monitor,
    };
    let pidfd = pid.and_then(open_process);
    // The process id may have been used again before it was opened: only if the container still runs was it ours.
    Ok(pidfd.filter(|_| dir.state().is_ok_and(|state| state.status.is_up())))
}
