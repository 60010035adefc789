//! `nman run`, from top to bottom: how a container comes about. Its first half is `nman create`.

use crate::attach::{self, Shown, Wish};
use crate::cli::{CreateArgs, RunArgs, StandardStream};
use crate::container::{Attached, ContainerId, Containers};
use crate::create::{self, Created};
use crate::detach::DetachKeys;
use crate::error::{Error, Result};
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
    if *detach && !args.attach.is_empty() {
        return Err(Error::AttachedInBackground);
    }
    let keys = DetachKeys::find(detach_keys.as_deref())?;
    let reads = args.interactive || args.attach.contains(&StandardStream::Stdin);
    terminal::check(reads, args.tty, *detach)?;
    let created = create::create(settings, args, !detach, warn)?;
    let id = created.record.id.clone();
    let outcome = start(settings, args, created, *sig_proxy, keys);
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
    signals: bool,
    keys: DetachKeys,
) -> Result<Outcome> {
    let (record, assembled) = created.assemble(settings)?;
    let attached = record.attachment.attached();
    // Without `-i` the container's stdin is empty, and whoever is attached to it alone to nothing.
    let streams = Attached { stdin: attached.stdin && args.interactive, ..attached };
    let attaches = streams.stdin || streams.shows();
    if attaches {
        // Its monitor tells of the start, which comes after that.
        emit_container(settings, &record, "attach", &[]);
    }
    let mut monitor = monitor::launch(settings, &record.id, assembled)?;
    if !attaches {
        attach::until_started(&mut monitor)?;
        return Ok(Outcome::Running(record.id));
    }
    let output = Shown::AsItIs;
    let wish = Wish { streams, terminal: args.tty, signals, keys, redraw: false, output };
    attach::follow(settings, &record.id, &mut monitor, wish).map(Outcome::Ended)
}
