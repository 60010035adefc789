//! `nrun run`: create and start in one, in the foreground or detached.

use crate::cli::Parsed;
use crate::create::{self, Args, Created};
use crate::delete;
use crate::error::Result;
use crate::foreground::Foreground;
use crate::id::ContainerId;
use crate::log::Log;
use crate::protect;
use crate::record::Record;
use std::path::Path;

/// Runs a container. In the foreground its exit status is returned, and it is deleted when it ends.
///
/// # Errors
/// As `create` and `start`; nothing is left then.
pub fn run(parsed: &Parsed, log: &Log) -> Result<u8> {
    let args = Args::of(parsed, false)?;
    protect::our_executable()?;
    if parsed.is_set("detach") {
        return detached(&args, log).map(|()| 0);
    }
    let checked = create::check(&args)?;
    let terminal =
        checked.spec.process().as_ref().is_some_and(|process| process.terminal().unwrap_or(false));
    let (mut foreground, console) = Foreground::prepare(terminal && args.console_socket.is_none())?;
    if !parsed.is_set("no-subreaper") {
        // Orphans of a container that shares our pid namespace become ours and not init's: they are reaped here.
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    }
    let Created { plan, mut init } = create::create(&args, &checked, console, log)?;
    init.close_resources();
    let ended = foreground
        .attach()
        .and_then(|()| init.go())
        .and_then(|()| init.executed(&plan))
        .and_then(|()| foreground.wait(init.pid, &init.pidfd));
    if ended.is_err() {
        init.kill();
    }
    if ended.is_err() || !parsed.is_set("keep") {
        remove(&args.root, &args.id)?;
    }
    ended
}

fn detached(args: &Args, log: &Log) -> Result<()> {
    let checked = create::check(args)?;
    let Created { plan, mut init } = create::create(args, &checked, None, log)?;
    if let Err(error) = init.go().and_then(|()| init.executed(&plan)) {
        init.kill();
        remove(&args.root, &args.id)?;
        return Err(error);
    }
    Ok(())
}

/// Somebody else may have deleted it meanwhile.
fn remove(root: &Path, id: &ContainerId) -> Result<()> {
    match Record::open(root, id) {
        Err(crate::error::Error::NoContainer(_)) => Ok(()),
        record => delete::remove(record?),
    }
}
