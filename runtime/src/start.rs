//! `nrun start`: lets a created container go on to its program.

use crate::cgroup::Manager;
use crate::cli::Parsed;
use crate::create;
use crate::error::{Error, Result};
use crate::host::{Asked, Host};
use crate::id::ContainerId;
use crate::parent;
use crate::plan::{self, Plan};
use crate::record::Record;
use crate::state::Status;
use crate::wire;
use rustix::io::Errno;
use std::os::fd::AsFd;

/// Starts a container and returns when its program was executed.
///
/// # Errors
/// When it is not in the state `created`, or the program cannot be executed.
pub fn run(parsed: &Parsed) -> Result<()> {
    let id = ContainerId::new(&parsed.operands[0])?;
    let record = Record::open(&create::root(parsed), &id)?;
    match Status::of(&record.saved, record.awaits_start())? {
        Status::Created => {}
        Status::Stopped => {
            return Err(Error::State(format!(
                "cannot start container `{id}`: cannot start a container that has stopped"
            )));
        }
        Status::Running | Status::Paused => {
            return Err(Error::State(format!(
                "cannot start container `{id}`: cannot start an already running container"
            )));
        }
    }
    let socket = record.connect_start()?;
    wire::send_go(socket.as_fd())
        .map_err(|errno| Error::system(format!("start container `{id}`"), errno))?;
    record.started();
    match wire::Message::receive(socket.as_fd()) {
        Ok(Some(wire::Message::Failure { step, errno })) => {
            Err(failure(parsed, &record, step, errno))
        }
        _ => Ok(()),
    }
}

/// The plan that the init follows is made again, to say which of its steps failed: the state holds what it was made from.
fn failure(parsed: &Parsed, record: &Record, step: usize, errno: Errno) -> Error {
    match plan_of(parsed, record) {
        Ok(plan) => parent::failure(&plan, step, errno),
        // The bundle is gone or changed. What the child said is what matters.
        Err(_) => Error::system(format!("start container `{}`", record.saved.id), errno),
    }
}

fn plan_of(parsed: &Parsed, record: &Record) -> Result<Plan> {
    let mut args = create::Args::of(parsed, true)?;
    args.bundle.clone_from(&record.saved.bundle);
    args.config = Some(record.config_path());
    args.options.no_new_keyring = record.saved.no_new_keyring;
    let checked = create::check(&args)?;
    if record.saved.unit.is_some() {
        args.options.cgroup_manager = Manager::Systemd;
    }
    let asked = Asked::by(&checked.spec).with_manager(args.options.cgroup_manager);
    let host = Host::probe(asked)?;
    plan::create(&checked, &host, &args.options)
}
