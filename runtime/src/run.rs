//! `nrun run`: create and start in one, in the foreground or detached.

use crate::cli::Parsed;
use crate::create::{self, Args, Created};
use crate::delete;
use crate::error::Result;
use crate::explain;
use crate::foreground::Foreground;
use crate::hooks;
use crate::launch::{self, Launch};
use crate::notify::Agent;
use crate::plan::Plan;
use crate::protect;
use crate::record::{Made, Saved};
use std::mem::ManuallyDrop;

/// Runs a container. In the foreground its exit status is returned, and it is deleted when it ends.
///
/// # Errors
/// As `create` and `start`; nothing is left then.
pub fn run(parsed: &Parsed) -> Result<u8> {
    let args = Args::of(parsed, false)?;
    protect::our_executable()?;
    if parsed.is_set("detach") {
        return detached(&args).map(|()| 0);
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
    let Created { plan, mut init, made, mut agent } = create::create(&args, &checked, console)?;
    let plan = ManuallyDrop::new(plan);
    init.close_resources();
    let mut launch = launch(&plan, made.saved(), agent.as_mut());
    // When it ends is early enough to hear that it began, unless somebody waits for that.
    let somebody_waits = launch.is_attended() || !made.saved().poststart.is_empty();
    let mut executed = || init.executed(&plan, &mut launch);
    let ended = foreground
        .attach()
        .and_then(|()| init.go())
        .and_then(|()| if somebody_waits { executed() } else { Ok(()) })
        .and_then(|()| hooks::poststart(made.saved()))
        .and_then(|()| foreground.wait(init.pid, &init.pidfd, &mut executed));
    match &ended {
        Ok(status) => explain::ended(&args, *status),
        Err(_) => init.kill(),
    }
    if ended.is_err() || !parsed.is_set("keep") {
        remove(made)?;
    }
    ended
}

fn detached(args: &Args) -> Result<()> {
    let checked = create::check(args)?;
    let Created { plan, mut init, made, mut agent } = create::create(args, &checked, None)?;
    let mut launch = launch(&plan, made.saved(), agent.as_mut());
    let started = init
        .go()
        .and_then(|()| init.surely_executed(&plan, &mut launch))
        .and_then(|()| hooks::poststart(made.saved()));
    if let Err(error) = started {
        init.kill();
        remove(made)?;
        return Err(error);
    }
    Ok(())
}

fn launch<'a>(plan: &Plan, saved: &'a Saved, agent: Option<&'a mut Agent>) -> Launch<'a> {
    Launch { saved, status: "creating", agent, hooks: launch::has_hooks(plan) }
}

/// Somebody else may have deleted it meanwhile.
pub(crate) fn remove(made: Made) -> Result<()> {
    made.lock()?.map_or(Ok(()), delete::remove)
}
