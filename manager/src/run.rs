//! `nman run`, from top to bottom: how a container comes about. Its first half is `nman create`.

use crate::attach::{self, Wish};
use crate::cli::{CreateArgs, RunArgs};
use crate::container::{ContainerId, Containers};
use crate::create::{self, Created};
use crate::detach::DetachKeys;
use crate::error::Result;
use crate::event::emit_container;
use crate::monitor;
use crate::settings::Settings;
use crate::terminal;

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The container has ended with this code.
    Ended(u8),
    /// It runs in the background.
    Running(ContainerId),
}

/// Runs a command in a new container. `warn` is told, before it runs, what this host cannot do.
pub fn run(settings: &Settings, args: &RunArgs, warn: &mut dyn FnMut(&str)) -> Result<Outcome> {
    let RunArgs { create: args, detach, sig_proxy, detach_keys, .. } = args;
    let keys = DetachKeys::find(detach_keys.as_deref())?;
    terminal::check(args.interactive, args.tty, *detach)?;
    let created = create::create(settings, args, !detach, warn)?;
    let id = created.record.id.clone();
    let outcome = start(settings, args, created, *detach, *sig_proxy, keys);
    if outcome.is_err()
        && let Some(file) = &args.cidfile
        && Containers::open(&settings.containers())?.find(id.as_str()).is_err()
    {
        // It would name a container that there is not, and be in the way of the next attempt. The error says more.
        let _ = std::fs::remove_file(file);
    }
    outcome
}

fn start(
    settings: &Settings,
    args: &CreateArgs,
    created: Created,
    detach: bool,
    signals: bool,
    keys: DetachKeys,
) -> Result<Outcome> {
    let (record, assembled) = created.assemble(settings)?;
    let mut monitor = monitor::launch(settings, &record.id, assembled)?;
    if detach {
        attach::until_started(&mut monitor)?;
        return Ok(Outcome::Running(record.id));
    }
    emit_container(settings, &record, "attach", &[]);
    let wish = Wish { stdin: args.interactive, terminal: args.tty, signals, keys };
    attach::follow(settings, &record.id, &mut monitor, wish).map(Outcome::Ended)
}
