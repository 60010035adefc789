//! `nrun delete`: removes what a container left on the host.

use crate::args;
use crate::cli::Parsed;
use crate::error::{Error, Result};
use crate::explain;
use crate::hooks;
use crate::id::ContainerId;
use crate::kill;
use crate::log;
use crate::record::{Made, Record, Saved};
use crate::signal::SIGKILL;
use crate::state::Status;
use std::os::fd::AsFd;

/// Removes a stopped container, or with `--force` any.
///
/// # Errors
/// When it runs; when something cannot be removed.
pub fn run(parsed: &Parsed) -> Result<()> {
    let id = ContainerId::new(&parsed.operands[0])?;
    let (root, force) = (args::root(parsed), parsed.is_set("force"));
    if force {
        explain::forget(&root, &id);
    }
    let record = match force {
        true => Record::open_by_force(&root, &id, end_creation),
        false => Record::open(&root, &id),
    };
    let record = match record {
        Err(Error::NoContainer { .. }) if force => return Ok(()),
        record => record?,
    };
    match Status::of(&record.saved, record.awaits_start())? {
        Status::Stopped => {}
        // A container that was never started may go without force: runc kills it, too. Hooks of its start are not to be cut short.
        Status::Created if !record.is_starting() => kill_init(&record)?,
        _ if force => kill_init(&record)?,
        status => {
            let status = match status {
                Status::Created => "being started",
                status => status.as_str(),
            };
            let id = id.to_string();
            return Err(Error::NotStopped { id, root, status });
        }
    }
    remove(record)
}

/// Ends the init, and those of its hooks that run where it does, of a container that is still being created: a hook of it hangs, say, or has
/// paused it. A `create` that is there sees it end, and takes the container back. Until its mark is on the cgroup, which is before there is
/// an init, what runs there is somebody else's.
fn end_creation(saved: &Saved) -> Result<()> {
    let cgroup = saved.cgroup();
    match cgroup.is_marked() {
        true => Ok(cgroup.kill()?),
        false => Err(Error::Creating(saved.id.clone())),
    }
}

/// Kills what is left in the cgroup, removes it, then the directory. The `poststop` hooks run when all is gone.
///
/// # Errors
/// When something cannot be removed; the directory stays then, so that it can be tried again.
pub fn remove(record: Record) -> Result<()> {
    let cgroup = record.cgroup();
    match cgroup.taken_by() {
        None => {
            // Without a pid namespace of its own, its processes outlive the init.
            if let Some(other) = cgroup.clear()? {
                log::warning(&format!(
                    "the cgroup of container `{}` stays: that of another container is in it, `{other}`",
                    record.saved.id
                ));
            }
            if let Some(class) = &record.saved.intel_rdt {
                class.remove()?;
            }
        }
        // Who has the same cgroup may have the same id, and with that the class, whose tasks would go back into the default one.
        Some(other) => log::warning(&format!(
            "the cgroup of container `{}` stays: it is that of another container by now, `{other}`",
            record.saved.id
        )),
    }
    let saved = record.saved.clone();
    record.remove()?;
    hooks::poststop(&saved);
    Ok(())
}

/// The same for who has made it, and has something to tell that is worth more than what cannot be removed: that is warned of. Somebody
/// else may have deleted it meanwhile.
pub(crate) fn remove_made(made: Made) {
    if let Err(error) = made.lock().and_then(|record| record.map_or(Ok(()), remove)) {
        log::warning(&error.to_string());
    }
}

/// SIGKILL to everything in the cgroup, and to the init, whose pid namespace goes with it, where it is not in there; frozen
/// processes are thawed, or they would never see the signal. The cgroup first: that the init runs in it says whose it is.
fn kill_init(record: &Record) -> Result<()> {
    let init = kill::init(&record.saved)?;
    let killed = record.cgroup().kill();
    if let Some(init) = &init {
        let _ = sys::signals::send(init.as_fd(), SIGKILL);
    }
    killed?;
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
