//! `nman stop` and `nman wait`: until a container has ended and its monitor has cleaned up.

use crate::cli::StopArgs;
use crate::container::{Containers, Dir, Record, Status};
use crate::error::{Error, Result};
use crate::monitor::wait_for_exit;
use crate::runtime::Runtime;
use crate::settings::Settings;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// After SIGKILL, a process may still have to be written out of the kernel.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// Stops each of the named containers; returns the names of those that are stopped, and what went wrong.
pub fn stop(settings: &Settings, args: &StopArgs) -> Result<(Vec<String>, Vec<Error>)> {
    let containers = Containers::open(&settings.containers())?;
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for name in &args.names {
        match stop_one(settings, &containers, name, args.time) {
            Ok(()) => done.push(name.clone()),
            Err(error) => errors.push(error),
        }
    }
    Ok((done, errors))
}

fn stop_one(
    settings: &Settings,
    containers: &Containers,
    name: &str,
    time: Option<u32>,
) -> Result<()> {
    let dir = containers.find(name)?;
    let record = dir.record()?;
    let Some(watched) = watch(&dir)? else { return Ok(()) };
    let runtime = Runtime::new(&record.runtime, settings);
    let patience = Duration::from_secs(time.unwrap_or(record.stop.timeout).into());
    if signal_and_wait(&runtime, &record, &watched, record.stop.signal, patience)?
        || signal_and_wait(&runtime, &record, &watched, 9, AFTER_KILL)?
    {
        return Ok(());
    }
    Err(Error::WrongState {
        message: format!(
            "cannot stop container {name}: it has not ended {} s after SIGKILL",
            AFTER_KILL.as_secs()
        ),
        hint: Some(
            "one of its processes may wait for a device or a network file system".to_owned(),
        ),
    })
}

fn signal_and_wait(
    runtime: &Runtime,
    record: &Record,
    watched: &OwnedFd,
    signal: i32,
    patience: Duration,
) -> Result<bool> {
    let sent = runtime.kill(&record.id, signal);
    let now = Some(if sent.is_ok() { patience } else { Duration::ZERO });
    let ended = wait_for_exit(watched, now).map_err(Error::system("wait for the container"))?;
    // A signal to what has ended meanwhile is refused, and that is what was wanted.
    if ended { Ok(true) } else { sent.map(|()| false) }
}

/// A process that ends no sooner than everything of the container: its monitor, or its init where the monitor was
/// killed. `None` when the container does not run.
fn watch(dir: &Dir) -> Result<Option<OwnedFd>> {
    let state = dir.state()?;
    if state.status != Status::Running {
        return Ok(None);
    }
    let pid = if dir.is_held() { state.monitor } else { state.pid };
    let pidfd =
        pid.and_then(Pid::from_raw).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    // The process id may have been used again before it was opened: only if the container still runs was it ours.
    Ok(pidfd.filter(|_| dir.state().is_ok_and(|state| state.status == Status::Running)))
}

/// `nman wait`: waits for each of the containers to end; returns their exit codes, and what went wrong.
pub fn wait(settings: &Settings, names: &[String]) -> Result<(Vec<String>, Vec<Error>)> {
    let containers = Containers::open(&settings.containers())?;
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for name in names {
        match wait_one(&containers, name) {
            Ok(code) => done.push(code.to_string()),
            Err(error) => errors.push(error),
        }
    }
    Ok((done, errors))
}

fn wait_one(containers: &Containers, name: &str) -> Result<u8> {
    let dir = containers.find(name)?;
    if let Some(watched) = watch(&dir)? {
        wait_for_exit(&watched, None).map_err(Error::system("wait for the container"))?;
    }
    Ok(dir.state()?.exit_code.unwrap_or(0))
}
