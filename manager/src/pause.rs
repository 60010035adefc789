//! `nman pause` and `nman unpause`: through the runtime, with a mark in the container's directory.
//!
//! The mark is set before the runtime freezes the container, and taken away after it runs again: a kill between the two
//! leaves a container that counts as paused, and `unpause` mends that. Whoever sets or takes away the mark has a lock from the look at
//! the state on: the mark of one would else be taken away by another whom the runtime has refused.

use crate::container::{Containers, Dir, Mark, Record, Status};
use crate::each::each;
use crate::error::{Error, Result};
use crate::event::emit_container;
use crate::runtime::Runtime;
use crate::settings::Settings;
use std::os::fd::OwnedFd;

/// Pauses each of the named containers.
pub fn pause(settings: &Settings, names: &[String]) -> Result<(Vec<String>, Vec<Error>)> {
    let containers = Containers::open(&settings.containers())?;
    Ok(each(names, |name| {
        let dir = containers.find(name)?;
        let record = dir.record()?;
        let refused = |why: &str| Error::WrongState {
            message: format!("cannot pause container {name}: container {} {why}", record.id),
            hint: None,
        };
        let _lock = dir.lock_changes_to("pause", name)?;
        match dir.state()?.status {
            Status::Running => {}
            Status::Paused => return Err(refused("is already paused")),
            Status::Restarting => return Err(refused("is restarting, wait until it is running")),
            Status::Created | Status::Exited => return Err(refused("is not running")),
        }
        if !record.has_cgroup() {
            return Err(record.lacks_cgroup("pause"));
        }
        dir.set(Mark::Paused)?;
        if let Err(error) = Runtime::new(&record.runtime, settings).pause(&record.id) {
            dir.clear(Mark::Paused)?;
            return Err(error);
        }
        emit_container(settings, &record, "pause", &[]);
        Ok(Some(name.to_owned()))
    }))
}

/// Lets each of the named containers go on.
pub fn unpause(settings: &Settings, names: &[String]) -> Result<(Vec<String>, Vec<Error>)> {
    let containers = Containers::open(&settings.containers())?;
    Ok(each(names, |name| {
        let dir = containers.find(name)?;
        let record = dir.record()?;
        let lock = dir.lock_changes_to("unpause", name)?;
        if dir.state()?.status != Status::Paused {
            return Err(Error::WrongState {
                message: format!(
                    "cannot unpause container {name}: container {} is not paused",
                    record.id
                ),
                hint: None,
            });
        }
        resume_locked(settings, &dir, &record, lock)?;
        Ok(Some(name.to_owned()))
    }))
}

/// Lets a container go on that is paused, or that was about to be.
pub fn resume(settings: &Settings, dir: &Dir, record: &Record) -> Result<()> {
    let lock = dir.lock_changes_to("unpause", record.name.as_str())?;
    resume_locked(settings, dir, record, lock)
}

fn resume_locked(settings: &Settings, dir: &Dir, record: &Record, _lock: OwnedFd) -> Result<()> {
    let resumed = Runtime::new(&record.runtime, settings).resume(&record.id);
    match resumed {
        // Runtimes refuse to resume what is not paused: the mark was ahead of the freezing.
        Err(error) if !error.to_string().contains("not paused") => Err(error),
        _ => {
            dir.clear(Mark::Paused)?;
            emit_container(settings, record, "unpause", &[]);
            Ok(())
        }
    }
}
