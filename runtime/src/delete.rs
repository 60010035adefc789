//! `nrun delete`: removes what a container left on the host.

use crate::cli::Parsed;
use crate::create;
use crate::error::{Error, Result};
use crate::explain;
use crate::hooks;
use crate::id::ContainerId;
use crate::kill;
use crate::record::Record;
use crate::state::Status;
use std::os::fd::AsFd;

/// Removes a stopped container, or with `--force` any.
///
/// # Errors
/// When it runs; when something cannot be removed.
pub fn run(parsed: &Parsed) -> Result<()> {
    let id = ContainerId::new(&parsed.operands[0])?;
    let force = parsed.is_set("force");
    if force {
        explain::forget(&create::root(parsed), &id);
    }
    let record = match Record::open(&create::root(parsed), &id) {
        Err(Error::NoContainer { .. }) if force => return Ok(()),
        record => record?,
    };
    match Status::of(&record.saved, record.awaits_start())? {
        Status::Stopped => {}
        // A container that was never started may go without force: runc kills it, too.
        Status::Created => kill_init(&record)?,
        _ if force => kill_init(&record)?,
        status => {
            return Err(Error::NotStopped { id: id.to_string(), status: status.as_str() });
        }
    }
    remove(record)
}

/// Kills what is left in the cgroup, removes it, then the directory. The `poststop` hooks run when all is gone.
///
/// # Errors
/// When something cannot be removed; the directory stays then, so that it can be tried again.
pub fn remove(record: Record) -> Result<()> {
    // Without a pid namespace of its own, its processes outlive the init.
    record.cgroup().clear()?;
    if let Some(class) = &record.saved.intel_rdt {
        class.remove()?;
    }
    let saved = record.saved.clone();
    record.remove()?;
    hooks::poststop(&saved);
    Ok(())
}

/// SIGKILL to the init, whose pid namespace goes with it, and to everything in the cgroup where it has none; frozen
/// processes are thawed, or they would never see the signal.
fn kill_init(record: &Record) -> Result<()> {
    let init = kill::init(&record.saved)?;
    if let Some(init) = &init {
        let _ = sys::signals::send(init.as_fd(), 9);
    }
    record.cgroup().kill()?;
    let Some(init) = init else { return Ok(()) };
    match kill::await_end(&init) {
        Ok(false) => {
            Err(Error::State(format!("container `{}` init still running", record.saved.id)))
        }
        Ok(true) => Ok(()),
        Err(errno) => Err(Error::system(
            format!("wait for the init of container `{}`", record.saved.id),
            errno,
        )),
    }
}
