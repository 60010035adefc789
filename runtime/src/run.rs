//! `nrun run`: create and start in one, in the foreground or detached.

use crate::args::Args;
use crate::cli::Parsed;
use crate::create::{self, Created};
use crate::delete;
use crate::error::Result;
use crate::explain;
use crate::foreground::{self, Foreground};
use crate::launch::{self, Launch};
use crate::log;
use crate::notify::Agent;
use crate::plan::Plan;
use crate::protect;
use crate::record::Made;
use crate::sd_notify::{Manager, Notify};
use std::mem::ManuallyDrop;
use std::os::fd::AsFd;

/// Runs a container. In the foreground its exit status is returned, and it is deleted when it ends.
///
/// # Errors
/// As `create` and `start`; nothing is left then.
pub fn run(parsed: &Parsed) -> Result<u8> {
    let mut args = Args::of(parsed, false)?;
    protect::our_executable()?;
    if parsed.is_set("detach") {
        return detached(args).map(|()| 0);
    }
    // Neither this nor the plan is given back piece by piece: memory that a container's process has a copy of would be copied first.
    let checked = ManuallyDrop::new(create::check(&args)?);
    let terminal =
        checked.spec.process().as_ref().is_some_and(|process| process.terminal().unwrap_or(false));
    let (mut foreground, console) = Foreground::prepare(terminal && args.console_socket.is_none())?;
    if !parsed.is_set("no-subreaper") {
        // Orphans of a container that shares our pid namespace become ours and not init's: they are reaped here.
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    }
    let manager = service_manager(&mut args);
    let interrupt = Some(foreground::interrupt()?);
    let Created { plan, mut init, made, mut agent, notify } =
        create::create(&args, &checked, console, interrupt)?;
    let noted = made.starting();
    made.unlock();
    let plan = ManuallyDrop::new(plan);
    init.close_resources();
    let mut launch = launch(&plan, &made, agent.as_mut());
    // When it ends is early enough to hear that it began, unless somebody waits for that.
    let somebody_waits = launch.is_attended() || !made.saved().poststart.is_empty();
    let mut executed = |killed: bool| match killed {
        true => init.surely_executed(&plan, &mut launch),
        false => init.executed(&plan, &mut launch),
    };
    let ended = noted
        .and_then(|()| foreground.attach())
        .and_then(|()| foreground.pass_on(Notify::between(notify, manager)))
        .and_then(|()| init.go(&plan))
        .and_then(|()| if somebody_waits { executed(false) } else { Ok(()) })
        .and_then(|()| init.poststart(made.saved()))
        .and_then(|()| foreground.wait(init.pid, &init.pidfd, &mut executed));
    match &ended {
        Ok(status) => explain::ended(&args, *status),
        Err(_) => create::end(&args, &mut init, &made),
    }
    if ended.is_err() || !parsed.is_set("keep") {
        delete::remove_made(made);
    }
    ended
}

fn detached(mut args: Args) -> Result<()> {
    let checked = create::check(&args)?;
    let manager = service_manager(&mut args);
    let Created { plan, mut init, made, mut agent, notify } =
        create::create(&args, &checked, None, None)?;
    let noted = made.starting();
    made.unlock();
    let mut launch = launch(&plan, &made, agent.as_mut());
    let started = noted
        .and_then(|()| init.go(&plan))
        .and_then(|()| init.surely_executed(&plan, &mut launch))
        .and_then(|()| init.poststart(made.saved()));
    if let Err(error) = started {
        create::end(&args, &mut init, &made);
        delete::remove_made(made);
        return Err(error);
    }
    if let Some(notify) = Notify::between(notify, manager) {
        // The container runs, which is what was asked for.
        if let Err(error) = notify.wait(init.pidfd.as_fd(), init.pid) {
            log::tell(&error.to_string());
        }
    }
    Ok(())
}

/// Whoever waits for the container to be ready. One that cannot be reached does not keep it from running, as with runc; but we warn, and
/// the container is not given a socket that nobody reads.
fn service_manager(args: &mut Args) -> Option<Manager> {
    Manager::of_caller().unwrap_or_else(|error| {
        args.options.notify = None;
        log::tell(&format!("the container runs without NOTIFY_SOCKET: {error}"));
        None
    })
}

fn launch<'a>(plan: &Plan, made: &'a Made, agent: Option<&'a mut Agent>) -> Launch<'a> {
    let (saved, record) = (made.saved(), Some(made.record()));
    Launch { saved, status: "creating", agent, hooks: launch::has_hooks(plan), record }
}
