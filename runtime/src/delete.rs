//! `nrun delete`: removes what a container left on the host.

use crate::args;
use crate::cgroup::Cgroup;
use crate::cli::Parsed;
use crate::error::{Error, Result};
use crate::explain;
use crate::hooks;
use crate::id::ContainerId;
use crate::kill;
use crate::log;
use crate::record::{self, Made, Record};
use crate::state::Status;
use std::os::fd::AsFd;
use std::path::Path;

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
    let record = match Record::open(&root, &id) {
        Err(Error::Creating(_)) if force => let_go_on(&root, &id),
        record => record,
    };
    let record = match record {
        Err(Error::NoContainer { .. }) if force => return Ok(()),
        record => record?,
    };
    match Status::of(&record.saved, record.awaits_start())? {
        Status::Stopped => {}
        // A container that was never started may go without force: runc kills it, too.
        Status::Created => kill_init(&record)?,
        _ if force => kill_init(&record)?,
        status => {
            let (id, status) = (id.to_string(), status.as_str());
            return Err(Error::NotStopped { id, root, status });
        }
    }
    remove(record)
}

/// Opens a container whose init may have been paused by its own hook: if whoever made it is gone, the init still holds the lock, and
/// sees that it is alone when it goes on.
fn let_go_on(root: &Path, id: &ContainerId) -> Result<Record> {
    let (saved, _) = record::peek(root, id)?;
    let cgroup = Cgroup::open(saved.cgroups);
    if !cgroup.is_frozen()? {
        return Err(Error::Creating(id.to_string()));
    }
    cgroup.thaw()?;
    Record::open(root, id)
}

/// Kills what is left in the cgroup, removes it, then the directory. The `poststop` hooks run when all is gone.
///
/// # Errors
/// When something cannot be removed; the directory stays then, so that it can be tried again.
pub fn remove(record: Record) -> Result<()> {
    let cgroup = record.cgroup();
    match cgroup.taken_by() {
        // Without a pid namespace of its own, its processes outlive the init.
        None => cgroup.clear()?,
        Some(other) => log::warning(&format!(
            "the cgroup of container `{}` stays: it is that of another container by now, `{other}`",
            record.saved.id
        )),
    }
    if let Some(class) = &record.saved.intel_rdt {
        class.remove()?;
    }
    let saved = record.saved.clone();
    record.remove()?;
    hooks::poststop(&saved);
    Ok(())
}

/// Somebody else may have deleted it meanwhile.
pub(crate) fn remove_made(made: Made) -> Result<()> {
    made.lock()?.map_or(Ok(()), remove)
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
