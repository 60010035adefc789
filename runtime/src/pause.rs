//! `nrun pause` and `nrun resume`: stops every process of a container, and lets them go on.

use crate::args;
use crate::cli::Parsed;
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::record::Record;
use crate::state::Status;

/// Freezes a container that was created or runs, and returns when every process has stopped.
///
/// # Errors
/// When it does not run, or has no cgroup of its own.
pub fn pause(parsed: &Parsed) -> Result<()> {
    let (record, status) = open(parsed)?;
    match status {
        Status::Created | Status::Running => Ok(record.cgroup().freeze()?),
        Status::Creating | Status::Paused | Status::Stopped => {
            Err(refused("pause", &record, "not running"))
        }
    }
}

/// Thaws a container, whoever froze it.
///
/// # Errors
/// When it is not frozen.
pub fn resume(parsed: &Parsed) -> Result<()> {
    let (record, status) = open(parsed)?;
    match status {
        Status::Paused => Ok(record.cgroup().thaw()?),
        Status::Creating | Status::Created | Status::Running | Status::Stopped => {
            Err(refused("resume", &record, "not paused"))
        }
    }
}

fn open(parsed: &Parsed) -> Result<(Record, Status)> {
    let id = ContainerId::new(&parsed.operands[0])?;
    let record = Record::open(&args::root(parsed), &id)?;
    let status = Status::of(&record.saved, record.awaits_start())?;
    Ok((record, status))
}

/// The last words are runc's, and are matched.
fn refused(what: &str, record: &Record, state: &str) -> Error {
    Error::State(format!("cannot {what} container `{}`: container {state}", record.saved.id))
}
