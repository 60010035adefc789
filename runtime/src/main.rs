//! `nrun`: exit status, dispatch, and the one place where an error is printed.

#![no_main]

use nrun::cli::{self, Parsed};
use nrun::error::{Error, Result};
use nrun::log::{self, Log, printable};
use nrun::{
    check, checkpoint, create, delete, events, exec, explain, features, kill, list, man, pause,
    plan_command, protect, ps, restore, run, spec, start, state, update,
};
use rustix::process::Signal;
use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use sys::heap::Heap;

/// musl's own allocator asks the kernel for every few pages and gives them back at once: a tenth of all system calls of a
/// `create`. This one asks for 64 KiB at a time.
#[global_allocator]
static HEAP: Heap = Heap::new();

/// What every failure but that of `exec` exits with: runc's.
const FAILED: u8 = 1;
/// What `exec` exits with when it could not: the container's own statuses stay apart from it.
const EXEC_FAILED: u8 = 255;
/// What a command that does not exist exits with: runc's.
const NO_COMMAND: u8 = 3;

// The commands that `protect` knows: one that is missing here is only slower.
sys::early!("create", "exec", "run");
sys::entry!(protect::at_first, start);

/// From the command line to the exit status.
fn start(arguments: &[OsString]) -> u8 {
    // Of children whose end is ignored, as the caller may have left it, nobody tells how they ended (wait(2)).
    sys::signals::set_default(Signal::CHILD);
    let words = arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned());
    let mut parsed = Parsed::default();
    let read = parsed.read(words);
    let (log, opened) = match Log::open(&parsed) {
        Ok(log) => (log.install(), Ok(())),
        Err(error) => (Log::default().install(), Err(error)),
    };
    // In the log, too, what is wrong with the command line: containerd takes an earlier error that it finds there for the reason.
    if let Err(error) = read.and(opened) {
        return report(&error, None, log, FAILED);
    }
    let failed = if parsed.command.is_some_and(|command| command.name == "exec") {
        EXEC_FAILED
    } else {
        FAILED
    };
    match dispatch(&parsed) {
        Ok(status) => status,
        Err(error) => report(&error, explain::after(&parsed, &error), log, failed),
    }
}

/// Runs the command. The status is the container's own for `run` and `exec`.
fn dispatch(parsed: &Parsed) -> Result<u8> {
    if parsed.is_set("version") {
        return print(&cli::version());
    }
    let Some(command) = parsed.command else {
        return print(&cli::overview());
    };
    if parsed.is_set("help") {
        return print(&cli::help_of(command));
    }
    log::debug(|| format!("nrun {} {}", command.name, env!("CARGO_PKG_VERSION")));
    match command.name {
        "check" => print(&check::run(parsed)?),
        "checkpoint" => checkpoint::run(parsed).map(|()| 0),
        "completion" => print(&cli::completion(&parsed.operands[0])?),
        "create" => create::run(parsed).map(|()| 0),
        "delete" => delete::run(parsed).map(|()| 0),
        "events" => events::run(parsed).map(|()| 0),
        "exec" => exec::run(parsed),
        "explain" => print(&explain::run(parsed)?),
        "features" => print(&features::run()),
        "help" => print(&match parsed.operands.first() {
            Some(name) => cli::help_of(cli::command(name)?),
            None => cli::overview(),
        }),
        "kill" => kill::run(parsed).map(|()| 0),
        "list" => print(&list::run(parsed)?),
        "man" => print(&man::run(parsed)?),
        "pause" => pause::pause(parsed).map(|()| 0),
        "plan" => print(&plan_command::run(parsed)?),
        "ps" => print(&ps::run(parsed)?),
        "restore" => restore::run(parsed),
        "resume" => pause::resume(parsed).map(|()| 0),
        "run" => run::run(parsed),
        "spec" => spec::run(parsed).map(|()| 0),
        "start" => start::run(parsed).map(|()| 0),
        "state" => print(&state::run(parsed)?),
        "update" => update::run(parsed).map(|()| 0),
        name => Err(Error::NoCommand { name: name.to_owned(), nearest: None }),
    }
}

/// Shows the data that was asked for. Whoever closes the pipe has read enough.
fn print(text: &str) -> Result<u8> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(printable(text).as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::io("write to standard output", &error))
        }
        _ => Ok(0),
    }
}

/// The one place where an error is shown. In the log first: an engine may have closed our stderr, and still reads that.
fn report(error: &Error, diagnosis: Option<String>, log: &Log, status: u8) -> u8 {
    let hint = diagnosis.or_else(|| error.hint());
    // An engine knows where it keeps its containers.
    let logged = hint.as_deref().filter(|_| !matches!(error, Error::NoContainer { .. }));
    log.error(&error.to_string(), logged);
    log::show(&format!("nrun: {error}"));
    if let Some(hint) = &hint {
        log::show(&format!("\nhint: {hint}"));
    }
    match error {
        Error::NoCommand { .. } => NO_COMMAND,
        // As of a program that was ended by it.
        Error::Interrupted { signal, .. } => u8::try_from(128 + signal).unwrap_or(status),
        _ => status,
    }
}
