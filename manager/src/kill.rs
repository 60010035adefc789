//! `nman kill`: sends a signal to containers.

use crate::cli::KillArgs;
use crate::container::{Containers, Status};
use crate::error::{Error, Result};
use crate::runtime::Runtime;
use crate::settings::Settings;

/// Sends the signal to each; returns the names of those that got it, and what went wrong.
pub fn kill(settings: &Settings, args: &KillArgs) -> Result<(Vec<String>, Vec<Error>)> {
    let containers = Containers::open(&settings.containers())?;
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for name in &args.names {
        match send(settings, &containers, name, args.signal.0) {
            Ok(()) => done.push(name.clone()),
            Err(error) => errors.push(error),
        }
    }
    Ok((done, errors))
}

fn send(settings: &Settings, containers: &Containers, name: &str, signal: i32) -> Result<()> {
    let dir = containers.find(name)?;
    let record = dir.record()?;
    if dir.state()?.status != Status::Running {
        return Err(Error::WrongState {
            message: format!(
                "cannot kill container: {name}: container {} is not running",
                record.id
            ),
            hint: None,
        });
    }
    Runtime::new(&record.runtime, settings).kill(&record.id, signal)
}
