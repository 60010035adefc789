//! `nman start`: runs a stopped container again, from its record and its own layer.

use crate::assemble::{disassemble, enter_private_mounts, mount_root};
use crate::attach::{self, Wish};
use crate::cli::StartArgs;
use crate::connection;
use crate::container::{Containers, Status};
use crate::error::{Error, Result};
use crate::monitor::{self, Assembled, Link};
use crate::settings::Settings;
use crate::volume::place;
use crate::{rm, terminal};

/// Starts a container. The socket is its monitor's.
pub fn start(settings: &Settings, name: &str) -> Result<Option<Link>> {
    let containers = Containers::open(&settings.containers())?;
    let dir = containers.find(name)?;
    let record = dir.record()?;
    if dir.state()?.status == Status::Running {
        // As in Docker, that is no error.
        return Ok(None);
    }
    let abandoned = dir.is_abandoned();
    let Some(guard) = dir.try_lock()? else {
        return Err(Error::WrongState {
            message: format!("container {name} is being changed by another process"),
            hint: None,
        });
    };
    if abandoned {
        rm::take_down(settings, &record, &dir)?;
    }
    let assemble = || {
        enter_private_mounts(&record, &dir)?;
        mount_root(settings, &record, &dir)?;
        place::mount_all(settings, &record, &dir)?;
        connection::connect(settings, &record, &dir)
    };
    if let Err(error) = assemble() {
        let mut errors = vec![error];
        errors.extend(disassemble(settings, &record, &dir));
        return Err(Error::Several(errors));
    }
    monitor::launch(settings, &record.id, Assembled { dir, guard, first: false }).map(Some)
}

/// `nman start -a`: the exit code of the container.
pub fn start_attached(settings: &Settings, args: &StartArgs) -> Result<u8> {
    let [name] = args.names.as_slice() else {
        return Err(Error::Usage(
            "you cannot start and attach multiple containers at once".to_owned(),
        ));
    };
    let containers = Containers::open(&settings.containers())?;
    let record = containers.find(name)?.record()?;
    terminal::check(args.interactive, record.attachment.terminal, false)?;
    let stdin = args.interactive && record.attachment.stdin;
    let wish = Wish { stdin, terminal: record.attachment.terminal, signals: true };
    match start(settings, name)? {
        Some(mut monitor) => attach::follow(&mut monitor, wish),
        None => attach::follow(&mut attach::open(settings, &record.id)?, wish),
    }
}

/// `nman start`: returns the names of those that run, and what went wrong.
#[must_use]
pub fn start_detached(settings: &Settings, names: &[String]) -> (Vec<String>, Vec<Error>) {
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for name in names {
        let started = start(settings, name).and_then(|monitor| {
            monitor.map_or(Ok(()), |mut monitor| attach::until_started(&mut monitor))
        });
        match started {
            Ok(()) => done.push(name.clone()),
            Err(error) => errors.push(error),
        }
    }
    (done, errors)
}
