//! `nrun`: exit status, dispatch, and the one place where an error is printed.

use nrun::cli::{self, Parsed};
use nrun::error::{Error, Result};
use nrun::log::Log;
use nrun::{
    check, create, delete, exec, features, kill, list, pause, plan_command, ps, run, spec, start,
    state, update,
};
use std::process::ExitCode;

/// musl's own allocator asks the kernel for every few pages and gives them back at once: a tenth of all system calls of a
/// `create`. This one asks for 64 KiB at a time.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// What every failure but that of `exec` exits with: runc's.
const FAILED: u8 = 1;
/// What `exec` exits with when it could not: the container's own statuses stay apart from it.
const EXEC_FAILED: u8 = 255;

fn main() -> ExitCode {
    let parsed =
        match cli::parse(std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()))
        {
            Ok(parsed) => parsed,
            Err(error) => return report(&error, &Log::default(), FAILED),
        };
    let log = match Log::open(&parsed) {
        Ok(log) => log,
        Err(error) => return report(&error, &Log::default(), FAILED),
    };
    let failed = if parsed.command.is_some_and(|command| command.name == "exec") {
        EXEC_FAILED
    } else {
        FAILED
    };
    match dispatch(&parsed, &log) {
        Ok(status) => ExitCode::from(status),
        Err(error) => report(&error, &log, failed),
    }
}

/// Runs the command. The status is the container's own for `run` and `exec`.
fn dispatch(parsed: &Parsed, log: &Log) -> Result<u8> {
    if parsed.is_set("version") {
        return print(&cli::version());
    }
    let Some(command) = parsed.command else {
        return print(&cli::overview());
    };
    if parsed.is_set("help") {
        return print(&cli::help_of(command));
    }
    log.debug(&format!("nrun {}", command.name));
    match command.name {
        "check" => print(&check::run(parsed)?),
        "create" => create::run(parsed, log).map(|()| 0),
        "delete" => delete::run(parsed).map(|()| 0),
        "exec" => exec::run(parsed, log),
        "features" => print(&features::run()),
        "kill" => kill::run(parsed).map(|()| 0),
        "list" => print(&list::run(parsed)?),
        "pause" => pause::pause(parsed).map(|()| 0),
        "plan" => print(&plan_command::run(parsed)?),
        "ps" => print(&ps::run(parsed)?),
        "resume" => pause::resume(parsed).map(|()| 0),
        "run" => run::run(parsed, log),
        "spec" => spec::run(parsed).map(|()| 0),
        "start" => start::run(parsed).map(|()| 0),
        "state" => print(&state::run(parsed)?),
        "update" => update::run(parsed, log).map(|()| 0),
        name => Err(Error::Usage(format!("unknown command `{name}`"))),
    }
}

#[expect(clippy::print_stdout, reason = "the data that was asked for")]
fn print(text: &str) -> Result<u8> {
    print!("{text}");
    Ok(0)
}

#[expect(clippy::print_stderr, reason = "the one place where an error is shown")]
fn report(error: &Error, log: &Log, status: u8) -> ExitCode {
    let hint = error.hint();
    eprintln!("nrun: {}", printable(&error.to_string()));
    if let Some(hint) = &hint {
        eprintln!("\nhint: {}", printable(hint));
    }
    log.error(&error.to_string(), hint.as_deref());
    ExitCode::from(status)
}

/// Names in a message may come from an image, and must not steer the reader's terminal. Line breaks are ours: a list of findings
/// has one for each.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push(c),
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}
