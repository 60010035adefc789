//! `nman rm`: removes containers, and everything that may be left of them.

pub(crate) mod damaged;
pub(crate) mod unseen;

use crate::assemble::disassemble;
use crate::attach;
use crate::cli::RmArgs;
use crate::connection;
use crate::container::{ContainerId, Containers, Dir, Guard, Record, Status};
use crate::each::each;
use crate::end;
use crate::error::{Error, Result};
use crate::forget::{Volumes, forget};
use crate::notice;
use crate::runtime::Runtime;
use crate::settings::Settings;
use crate::socket::socket_dir;
use rustix::process::Signal;
use std::time::Duration;

/// How long a monitor may take to clean up after its container was killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Removes each of the named containers; returns the names of those that are gone, and what went wrong.
pub fn rm(settings: &Settings, args: &RmArgs) -> Result<(Vec<String>, Vec<Error>)> {
    let containers = Containers::open(&settings.containers())?;
    let volumes = if args.volumes { Volumes::Remove } else { Volumes::Keep };
    Ok(each(&args.names, |name| match remove(settings, &containers, name, args.force, volumes) {
        Ok(()) => Ok(Some(name.to_owned())),
        // Said as in Docker, and no failure.
        Err(error @ Error::NoSuchContainer(_)) if args.force => {
            notice::note(error.to_string());
            Ok(None)
        }
        Err(error) => Err(error),
    }))
}

/// Removes one container; one that runs only by force.
pub fn remove(
    settings: &Settings,
    containers: &Containers,
    name: &str,
    force: bool,
    volumes: Volumes,
) -> Result<()> {
    let dir = containers.find(name)?;
    let record = match dir.record() {
        Err(error) if force && error.is_damage() => {
            return damaged::remove(settings, containers, &dir);
        }
        read => read?,
    };
    let may_go = |status: Status| match status.is_up() && !force {
        true => Err(runs(&record, status)),
        false => Ok(()),
    };
    may_go(dir.state()?.status)?;
    let _guard = match take(settings, &dir, &record, may_go) {
        // Its own monitor was faster: it was to be removed when it ends.
        Err(_) if !dir.path().is_dir() => return Ok(()),
        taken => taken?,
    };
    take_down(settings, &record, &dir)?;
    damaged::end_groups(&dir, &record.id)?;
    forget(settings, containers, &record, volumes)
}

fn runs(record: &Record, status: Status) -> Error {
    Error::WrongState {
        message: format!(
            "cannot remove container \"/{}\": container is {}",
            record.name,
            status.as_str()
        ),
        hint: Some("stop the container before removing it, or give `--force`".to_owned()),
    }
}

/// Gets hold of a container: kills it if it runs, and its monitor if that does not let go. Somebody may start it while we wait:
/// `may_go` says whether it is then still to be removed.
fn take(
    settings: &Settings,
    dir: &Dir,
    record: &Record,
    may_go: impl Fn(Status) -> Result<()>,
) -> Result<Guard> {
    loop {
        if let Some(guard) = dir.try_lock()? {
            return Ok(guard);
        }
        let state = dir.state()?;
        may_go(state.status)?;
        let watched = match dir.state_damage() {
            // What is written down does not read back: it is asked itself.
            Some(_) => attach::monitor(settings, &record.id).ok(),
            None => dir.monitor(&state).or_else(|| dir.init(&state)),
        };
        let Some(watched) = watched else {
            // It is being made, or has just ended: whoever has it lets go of it by itself.
            std::thread::sleep(Duration::from_millis(10));
            continue;
        };
        if dir.is_held() {
            dir.set_stopped()?;
            // Refused when it has ended meanwhile.
            let _ = end::send(settings, dir, record, 9);
            let ended = watched.wait_for_exit(Some(PATIENCE));
            if !ended.map_err(Error::system("wait for a monitor"))? {
                let _ = watched.send(Signal::KILL);
            }
        }
    }
}

/// What the monitor does when its container ends: it may not have come to that. Goes on after an error.
pub fn take_down(settings: &Settings, record: &Record, dir: &Dir) -> Result<()> {
    let mut errors = Vec::new();
    errors.extend(Runtime::new(&record.runtime, settings).delete(&record.id).err());
    errors.extend(disassemble(settings, record, dir));
    errors.extend(remove_sockets(settings, &record.id).err());
    if errors.is_empty() { Ok(()) } else { Err(Error::Several(errors)) }
}

/// Whether something is there that belongs to a container which runs, whatever is written down about it: who was killed while it
/// started one has left that.
pub fn is_left(settings: &Settings, id: &ContainerId) -> Result<bool> {
    let is_known = settings.runtime_root().join(id.as_str()).exists();
    Ok(is_known || connection::is_on_record(settings, id)?)
}

fn remove_sockets(settings: &Settings, id: &ContainerId) -> Result<()> {
    let sockets = socket_dir(settings, id);
    match std::fs::remove_dir_all(&sockets) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", &sockets)(error))
        }
        _ => Ok(()),
    }
}
