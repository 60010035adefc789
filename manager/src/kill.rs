//! `nman kill`: sends a signal to containers.

use crate::cli::KillArgs;
use crate::container::{Containers, State};
use crate::each::each;
use crate::end;
use crate::error::{Error, Result};
use crate::event::emit_container;
use crate::rm;
use crate::runtime::Runtime;
use crate::settings::Settings;

const SIGKILL: i32 = 9;

/// Sends the signal to each; returns the names of those that got it, and what went wrong.
pub fn kill(settings: &Settings, args: &KillArgs) -> Result<(Vec<String>, Vec<Error>)> {
    let containers = Containers::open(&settings.containers())?;
    Ok(each(&args.names, |name| {
        signal(settings, &containers, name, args.signal.0)?;
        Ok(Some(name.to_owned()))
    }))
}

fn signal(settings: &Settings, containers: &Containers, name: &str, signal: i32) -> Result<()> {
    let dir = containers.find(name)?;
    let record = dir.record()?;
    let status = dir.state()?.status;
    if !status.is_up() {
        return Err(Error::WrongState {
            message: format!(
                "cannot kill container: {name}: container {} is not running",
                record.id
            ),
            hint: None,
        });
    }
    if signal == SIGKILL || signal == record.stop.signal {
        // As in Docker: who kills a container does not want it back.
        let watched = if signal == SIGKILL { end::watch(settings, &dir)? } else { None };
        dir.set_stopped()?;
        end::send(settings, &dir, &record, signal)?;
        let Some(mut watched) = watched else { return Ok(()) };
        // Whoever has killed it may start or remove it at once.
        end::await_death(&dir, &mut watched, "kill", name)?;
        return match dir.is_abandoned() {
            true => rm::unseen::conclude_abandoned(settings, containers, &dir, State::KILLED_CODE),
            false => Ok(()),
        };
    }
    if !status.has_process() {
        return Ok(());
    }
    Runtime::new(&record.runtime, settings).kill(&record.id, signal)?;
    emit_container(settings, &record, "kill", &[("signal", &signal.to_string())]);
    Ok(())
}
