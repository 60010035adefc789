//! `nman logs`: what a container has written, from its log.

use crate::cli::{LogsArgs, Tail};
use crate::container::{Containers, Dir};
use crate::error::{Error, Result};
use crate::journal::{Format, Output, Reader, Selection, Watched, follow};
use crate::process::Process;
use crate::settings::Settings;

/// Prints a container's log; with `--follow`, until the container has ended.
pub fn logs(settings: &Settings, args: &LogsArgs) -> Result<()> {
    let dir = Containers::open(&settings.containers())?.find(&args.name)?;
    let record = dir.record()?;
    let config = &record.supervision.log;
    let Some(format) = Format::of(config) else {
        let option =
            if config.driver.forwards() { "--log-opt cache-disabled" } else { "--log-driver none" };
        return Err(Error::WrongState {
            message: "configured logging driver does not support reading".to_owned(),
            hint: Some(format!("container {} was made with `{option}`", record.name)),
        });
    };
    let selection = Selection {
        tail: match args.tail {
            Tail::All => None,
            Tail::Last(lines) => Some(lines),
        },
        since: args.since.map(|time| time.to_string()),
        until: args.until.map(|time| time.to_string()),
        timestamps: args.timestamps,
        details: args.details,
    };
    let mut out = Output::stdio();
    // Found before the log is opened: a container that starts in between is not waited for, but its output is shown.
    let monitor = args.follow.then(|| watched_monitor(&dir)).flatten();
    let mut reader = Reader::open(&dir.log(), format, selection)?;
    if args.follow {
        let watched = Watched { monitor, until: args.until };
        follow(dir.path(), &mut reader, &mut out, &watched)
    } else {
        reader.read_all(&mut out)
    }
}

/// The monitor of a container that runs.
fn watched_monitor(dir: &Dir) -> Option<Process> {
    dir.monitor(&dir.state().ok()?)
}
