//! The program: which of its processes this is, and exit codes.
//!
//! A monitor is this same program under another name. It is told apart first of all, so that the pages of the
//! command line's parser are never read in by a process that lives as long as its container.

use nman::cli::{Cli, Complaint, complain};
use nman::error::Error;
use nman::process::MONITOR;
use nman::rootless::{self, pause};
use nman::settings::Settings;
use nman::{exec, journal, monitor};
use rustix::process::{Resource, getrlimit};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;
use sys::heap::LongHeap;

mod dispatch;
mod said;
mod stack;

/// musl's own allocator asks the kernel for every few pages and gives them back at once: 170 of the 460 system calls
/// with which `run` begins. This one asks for 64 KiB at a time. `run` allocates some five thousand times before it waits, on one thread.
#[global_allocator]
static HEAP: LongHeap = LongHeap::new();

fn main() -> ExitCode {
    // Of children whose end is ignored, as the caller may have left it, nobody tells how they ended (wait(2)).
    sys::signals::set_default(rustix::process::Signal::CHILD);
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    if [MONITOR, exec::REAPER, exec::DRAIN, pause::ARGV0].iter().any(|own| name == *own) {
        // These live on, and whoever reads a pipe that our caller has passed on waits for its end. Before Linux 5.9 it
        // stays open.
        let _ = sys::fd::close_others(3, &mut []);
        // It was started by `/proc/self/exe`, and tools that list processes would call it `exe`.
        if let Ok(name) = CString::new(name.as_bytes()) {
            let _ = rustix::thread::set_name(&name);
        }
    }
    if name == MONITOR {
        return monitor::main(args);
    }
    if name == journal::COMPRESSOR {
        return journal::compress(args);
    }
    if name == exec::DRAIN {
        return exec::drain();
    }
    if name == pause::ARGV0 {
        return pause::main(args);
    }
    if let Err(fault) = stack::make_room() {
        said::error(&fault, Some("raise the hard limit where it is set: `ulimit -H -s` shows it"));
        return ExitCode::from(125);
    }
    match Cli::parse_line(&std::env::args_os().collect::<Vec<_>>()) {
        Ok(cli) => run(&cli.shortened()),
        Err(error) => usage(&error),
    }
}

fn run(cli: &Cli) -> ExitCode {
    said::note_places(&cli.global);
    // Found out before the command enters the user's namespace, where it is root.
    let (result, settings) = match dispatch::settings(cli) {
        Ok(settings) => (dispatch::dispatch(cli, &settings), Some(settings)),
        Err(error) => (Err(error), None),
    };
    dispatch::tell_notices(cli);
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report(&error, settings.as_ref());
            ExitCode::from(failure_code(cli, &error))
        }
    }
}

/// Docker's exit codes: what starts a container ends with 125, 126 or 127; everything else that fails, with 1.
fn failure_code(cli: &Cli, error: &Error) -> u8 {
    use nman::cli::Command;
    match (&cli.command, error) {
        // Docker's `inspect` alone has a code for a template that is none.
        (Command::Inspect(_), Error::Template(fault)) if fault.is_of_form() => 64,
        // Docker's client finds these out itself, after it has read the command line.
        (_, Error::NoTerminal | Error::AttachedInBackground | Error::Interrupted(_)) => 1,
        // What a container cannot be given later, Docker's daemon finds out.
        (Command::Update(_), _) => 1,
        // It was started, and what it has written did not arrive.
        (_, Error::Unwritten(_)) => 1,
        (Command::Run(_), _) | (_, Error::Flag(_)) => error.exit_code(),
        // Docker's `create` looks at these itself, as at flags; of other commands the daemon does.
        (Command::Create(_), Error::Usage(_)) => error.exit_code(),
        (Command::Exec(args), _) if args.detach => 1,
        // The user of an exec is looked for when it is there already: it ends then, as one that cannot be executed.
        (Command::Exec(_), Error::Rejected { .. }) => 126,
        (Command::Exec(_), Error::Process(_)) => 128,
        (Command::Exec(_), Error::Runtime(_)) => match error.exit_code() {
            125 => 128,
            code => code,
        },
        (Command::Start(_), Error::Runtime(_) | Error::Start { .. }) => match error.exit_code() {
            125 => 1,
            code => code,
        },
        _ => 1,
    }
}

fn report(error: &Error, settings: Option<&Settings>) {
    let text = error.to_string();
    let (said, of_runtime) = parted(&text);
    let hint = error.hint().or(of_runtime).or_else(|| inaccessible(settings?, &text));
    let hint = hint.or_else(|| too_few_files(&text));
    said::error(said, hint.as_deref());
}

/// A message without the hint that a runtime's log has at its end, and that hint: with the name of a container before it, the two make a
/// line that nobody reads to its end.
fn parted(text: &str) -> (&str, Option<String>) {
    let parts = text.strip_suffix(')').and_then(|text| text.split_once(" (hint: "));
    match parts {
        Some((message, hint)) if !hint.contains('\n') => (message, Some(hint.to_owned())),
        _ => (text, None),
    }
}

/// What cannot be written or read is in one of our own two directories.
fn inaccessible(settings: &Settings, text: &str) -> Option<String> {
    let named = |path: &std::path::Path| text.contains(&*path.to_string_lossy());
    let places = [(&settings.root, "--root"), (&settings.state, "--state")];
    let (path, option) = places.into_iter().find(|(path, _)| named(path))?;
    let path = path.display();
    let is_full = text.ends_with("no space left on device");
    if is_full && option == "--state" {
        return Some(format!(
            "the file system of `{path}` is full: `df -h {path}` and `df -i {path}` show it"
        ));
    }
    if is_full {
        return Some(format!(
            "the disk of `{path}` is full: `nman system df` shows what takes the room, `nman system prune` frees some"
        ));
    }
    if text.ends_with("permission denied") && settings.rootless {
        return Some(rootless::OF_OTHERS.to_owned());
    }
    text.ends_with("read-only file system").then(|| {
        format!("`{path}` cannot be written: mount it writable, or choose another directory with `{option}`")
    })
}

/// How many files may be open is for whoever calls to say.
fn too_few_files(text: &str) -> Option<String> {
    let limit = getrlimit(Resource::Nofile).current?;
    text.ends_with("no file descriptors available").then(|| {
        format!("no more than {limit} files may be open at a time here: `ulimit -n` raises that")
    })
}

/// Help and version are data and go to stdout.
fn usage(error: &clap::Error) -> ExitCode {
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let Complaint { text, hint, code } =
        complain(<Cli as clap::CommandFactory>::command(), error, &words);
    match code {
        0 => match said::print(&text) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                said::error(&error.to_string(), None);
                ExitCode::FAILURE
            }
        },
        _ => {
            said::error(&text, hint.as_deref());
            ExitCode::from(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_runtime_advises_is_parted_from_what_it_says() {
        let both = "nrun create failed: exec: \"x\": not found (hint: look at `x` (or `y`))";
        let hint = Some("look at `x` (or `y`)".to_owned());
        assert_eq!(parted(both), ("nrun create failed: exec: \"x\": not found", hint));
        for alone in
            ["no such file (hint: and more", "tell it (a hint)", "one (hint: a)\ntwo (hint: b)"]
        {
            assert_eq!(parted(alone), (alone, None));
        }
    }
}
