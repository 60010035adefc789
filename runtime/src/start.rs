//! `nrun start`: lets a created container go on to its program.

use crate::args;
use crate::cgroup::Manager;
use crate::cli::Parsed;
use crate::error::{Error, Result};
use crate::hooks;
use crate::host::{Asked, Host};
use crate::id::ContainerId;
use crate::kill;
use crate::launch::{self, Launch, Unexecuted};
use crate::notify::Agent;
use crate::plan::{self, Plan};
use crate::record::{self, Record, Saved};
use crate::sd_notify::Notify;
use crate::signal::SIGKILL;
use crate::state::Status;
use crate::wire;
use rustix::io::Errno;
use rustix::process::Pid;
use std::os::fd::{AsFd, OwnedFd};

/// Starts a container and returns when its program was executed.
///
/// # Errors
/// When it is not in the state `created`, or the program cannot be executed.
pub fn run(parsed: &Parsed) -> Result<()> {
    let id = ContainerId::new(&parsed.operands[0])?;
    let record = Record::open(&args::root(parsed), &id)?;
    match Status::of(&record.saved, record.awaits_start())? {
        Status::Created if record.is_starting() => {
            return Err(Error::State(format!(
                "cannot start container `{id}`: it is being started already"
            )));
        }
        Status::Created => {}
        Status::Creating => {
            return Err(Error::State(format!(
                "cannot start container `{id}`: it is still being created"
            )));
        }
        Status::Stopped => {
            return Err(Error::State(format!(
                "cannot start container `{id}`: cannot start a container that has stopped"
            )));
        }
        Status::Running => {
            return Err(Error::State(format!(
                "cannot start container `{id}`: cannot start an already running container"
            )));
        }
        Status::Paused => {
            return Err(Error::State(format!(
                "cannot start container `{id}`: cannot start a container in the paused state"
            )));
        }
    }
    let saved = record.saved.clone();
    let notify = awaited(&record)?;
    if let Err(why) = start(&record, &saved) {
        // On its way out; a `delete` that follows at once is to find it stopped.
        if let (false, Ok(Some(init))) = (matches!(why, Unexecuted::Other(_)), kill::init(&saved)) {
            let _ = kill::await_end(&init);
        }
        return Err(error(parsed, &record, why));
    }
    // A hook may ask us about the container, and change it.
    drop(record);
    poststart(&saved)?;
    match (notify, Pid::from_raw(saved.pid)) {
        (Some((notify, init)), Some(pid)) => notify.wait(init.as_fd(), pid),
        _ => Ok(()),
    }
}

/// Where our caller waits for the program to be ready: what it says that by, and the init, at whose end nothing is to be waited for.
fn awaited(record: &Record) -> Result<Option<(Notify, OwnedFd)>> {
    match Notify::for_start(record)? {
        None => Ok(None),
        // Gone already, which `start` will find out.
        Some(notify) => Ok(kill::init(&record.saved)?.map(|init| (notify, init))),
    }
}

/// Says go, and follows the init to its program.
fn start(record: &Record, saved: &Saved) -> std::result::Result<(), Unexecuted> {
    let other = Unexecuted::Other;
    let mut agent = saved.listener.as_ref().map(Agent::connect).transpose().map_err(other)?;
    let socket = record.connect_start().map_err(|error| match error {
        // Nobody listens any more.
        Error::System { errno: Errno::CONNREFUSED, .. } => Unexecuted::Died,
        error => other(error),
    })?;
    if let Some(agent) = &agent {
        agent.watch(socket.as_fd()).map_err(other)?;
    }
    wire::send_go(socket.as_fd()).map_err(|_| Unexecuted::Died)?;
    match saved.start_hooks {
        true => record.starting(),
        false => record.started(),
    }
    // Hooks may take long, and hang: what ends the container must not wait for them. Nobody can start it a second time.
    record.unlock();
    let (hooks, agent) = (saved.start_hooks, agent.as_mut());
    let record = Some(record);
    Launch { saved, status: "created", agent, hooks, record }.follow(socket.as_fd(), None)?;
    Pid::from_raw(saved.pid).map_or(Ok(()), launch::has_executed)
}

/// A container whose hooks fail is stopped (runtime-spec, runtime.md "Lifecycle"); it is there until it is deleted, as with runc.
fn poststart(saved: &Saved) -> Result<()> {
    hooks::poststart(saved, None).inspect_err(|_| {
        // The cgroup first: that the init runs in there says whose it is.
        let _ = saved.cgroup().kill();
        if let Ok(Some(init)) = kill::init(saved) {
            let _ = sys::signals::send(init.as_fd(), SIGKILL);
        }
    })
}

/// The plan that the init follows is made again, to say which of its steps failed: the state holds what it was made from.
fn error(parsed: &Parsed, record: &Record, why: Unexecuted) -> Error {
    let id = &record.saved.id;
    match (why, plan_of(parsed, record)) {
        (Unexecuted::Other(error), _) => error,
        (Unexecuted::Died, _) => launch::died(id, "start"),
        (why, Ok(plan)) => launch::error(&plan, why),
        // The root file system is gone. What the child said is what matters.
        (Unexecuted::Step { errno, .. }, Err(_)) => {
            Error::system(format!("start container `{id}`"), errno)
        }
        (Unexecuted::Hook { end, text, .. }, Err(_)) => hooks::some_failed(id, end, &text),
    }
}

fn plan_of(parsed: &Parsed, record: &Record) -> Result<Plan> {
    let saved = &record.saved;
    let mut args = args::Args::of(parsed, true)?;
    args.options.no_new_keyring = saved.no_new_keyring;
    args.options.notify =
        saved.notify.then(|| record::notify_directory(&args.root, &args.id)).transpose()?;
    if saved.unit.is_some() {
        args.options.cgroup_manager = Manager::Systemd;
    }
    let checked = record.checked_config()?;
    let asked = Asked::by(&checked.spec).with_options(&args.options);
    let host = Host::probe(asked)?;
    plan::create(&checked, &host, &args.options)
}
