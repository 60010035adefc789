//! `nrun explain`: why the last start under an id failed.
//!
//! [`after`] is called with every error of a command that starts something: it asks for a [`Diagnosis`], which becomes the hint of the
//! error, and keeps the attempt. [`run`] tells it again later, and looks whether the reason is still there.

mod ending;
mod failures;

use crate::args;
use crate::cli::Parsed;
use crate::diagnosis::{self, Diagnosis, Subject};
use crate::error::{Error, Result};
use crate::exec;
use crate::id::ContainerId;
use crate::process;
use crate::record::{self, Saved};
use crate::state::Status;
use ending::Counts;
use failures::Attempt;
use oci_spec::runtime::Spec;
use std::fmt::Write;
use std::path::{Path, PathBuf, absolute};
use std::time::SystemTime;

/// After a failure: keeps it, if it was one of starting something, and gives the reason, if there is a better one than the error's own.
pub fn after(parsed: &Parsed, error: &Error) -> Option<String> {
    let command = parsed.command?.name;
    let id = ContainerId::new(parsed.operands.first()?).ok()?;
    if !["create", "start", "run", "exec", "restore"].contains(&command) || !is_attempt(error) {
        return None;
    }
    let root = absolute(args::root(parsed)).ok()?;
    let subject = subject(parsed, command, &root, &id);
    let diagnosis = match error {
        Error::Step(failure) => diagnosis::of_failure(failure, subject.as_ref()),
        // Killed between its last step and its program: by its filter, most likely.
        Error::Died(_) => subject.as_ref().and_then(Subject::examine),
        _ => None,
    };
    let hint = diagnosis.as_ref().map(Diagnosis::hint);
    let attempt = Attempt {
        id: id.to_string(),
        command: command.to_owned(),
        time: now(),
        message: error.to_string(),
        hint: hint.clone().or_else(|| error.hint()),
        bundle: bundle(parsed, command),
        config: config(parsed, command),
        root,
        ..Attempt::default()
    };
    failures::keep(&attempt, &id);
    hint
}

/// Whether an error is one of the container: a mistake on the command line has been told, and says nothing about it.
fn is_attempt(error: &Error) -> bool {
    !matches!(
        error,
        Error::Usage(_)
            | Error::NoCommand { .. }
            | Error::NoFlag { .. }
            | Error::NoContainer { .. }
            | Error::Damaged { .. }
            | Error::Creating(_)
            | Error::Exists { .. }
            | Error::Interrupted { .. }
            | Error::State(_)
    )
}

/// After `run` in the foreground, before the container is deleted: a status that tells of a failure is kept.
pub fn ended(args: &args::Args, status: u8) {
    if !ending::is_telling(status) {
        return;
    }
    let Ok(root) = absolute(&args.root) else { return };
    let counts =
        record::peek(&root, &args.id).map(|(saved, _)| ending::counts(&saved)).unwrap_or_default();
    let attempt = Attempt {
        root,
        id: args.id.to_string(),
        command: "run".to_owned(),
        time: now(),
        bundle: absolute(&args.bundle).ok(),
        config: args.config.as_deref().and_then(|path| absolute(path).ok()),
        status: Some(status),
        out_of_memory: counts.out_of_memory,
        out_of_processes: counts.out_of_processes,
        ..Attempt::default()
    };
    failures::keep(&attempt, &args.id);
}

/// `delete --force`: nothing is left of the id.
pub fn forget(root: &Path, id: &ContainerId) {
    if let Ok(root) = absolute(root) {
        failures::forget(&root, id);
    }
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

fn bundle(parsed: &Parsed, command: &str) -> Option<PathBuf> {
    let made = matches!(command, "create" | "run");
    made.then(|| absolute(parsed.value("bundle").unwrap_or(".")).ok()).flatten()
}

fn config(parsed: &Parsed, command: &str) -> Option<PathBuf> {
    let made = matches!(command, "create" | "run");
    parsed.value("config").filter(|_| made).and_then(|path| absolute(path).ok())
}

/// What was to be started, and the files that it sees.
fn subject(parsed: &Parsed, command: &str, root: &Path, id: &ContainerId) -> Option<Subject> {
    match command {
        "create" | "run" => {
            let bundle = bundle(parsed, command)?;
            of_bundle(&bundle, config(parsed, command).as_deref())
        }
        "start" => of_container(root, id),
        _ => {
            let (saved, _) = record::peek(root, id).ok()?;
            let spec = record::config(root, id).ok()?;
            let (process, _, _) = exec::process(parsed, &spec).ok()?;
            Subject::of_container(&spec, process, saved.pid)
        }
    }
}

fn of_bundle(bundle: &Path, config: Option<&Path>) -> Option<Subject> {
    let loaded = bundle::load_with(bundle, config).ok()?;
    let checked = bundle::check(loaded).ok()?;
    Subject::of_bundle(&checked.spec, &checked.bundle, &checked.rootfs)
}

fn of_container(root: &Path, id: &ContainerId) -> Option<Subject> {
    let (saved, _) = record::peek(root, id).ok()?;
    let spec = record::config(root, id).ok()?;
    Subject::of_bundle(&spec, &saved.bundle, &saved.rootfs)
}

/// Tells what is known about the last start under an id.
///
/// # Errors
/// When there is no such container and nothing has failed under that id.
pub fn run(parsed: &Parsed) -> Result<String> {
    let id = ContainerId::new(&parsed.operands[0])?;
    let root = absolute(args::root(parsed))
        .map_err(|error| Error::io("find the current directory", &error))?;
    let container = match record::peek(&root, &id) {
        Ok((saved, awaits_start)) => Some((Status::of(&saved, awaits_start)?, saved)),
        Err(Error::NoContainer { .. }) => None,
        Err(error) => return Err(error),
    };
    let attempt = failures::find(&root, &id);
    // One from before this container was made is not about it.
    let attempt = attempt.filter(|attempt| {
        container
            .as_ref()
            .is_none_or(|(_, saved)| attempt.time.get(..19) >= saved.created.get(..19))
    });
    let mut text = format!("container `{id}`\n");
    match (&container, &attempt) {
        (None, None) => return Err(Error::no_container(&root, &id)),
        (None, Some(attempt)) => tell_attempt(&mut text, attempt, &root, &id),
        (Some((status, saved)), attempt) => {
            line(&mut text, "status", status.as_str());
            match attempt {
                Some(attempt) => tell_attempt(&mut text, attempt, &root, &id),
                None if *status == Status::Stopped => tell_ending(&mut text, saved, &root, &id),
                None if *status == Status::Created => {
                    line(&mut text, "do", &format!("`nrun start {id}` starts it"));
                }
                None => line(&mut text, "why", "nothing has failed since it was created"),
            }
        }
    }
    Ok(text)
}

/// A label, and words beside it.
fn line(text: &mut String, label: &str, words: &str) {
    for (number, words) in words.lines().enumerate() {
        let label = if number == 0 { format!("{label}:") } else { String::new() };
        let _ = writeln!(text, "{label:<8} {words}");
    }
}

fn tell(text: &mut String, diagnosis: &Diagnosis) {
    line(text, "why", &diagnosis.cause);
    line(text, "do", &diagnosis.remedy);
}

fn tell_attempt(text: &mut String, attempt: &Attempt, root: &Path, id: &ContainerId) {
    line(text, "tried", &format!("`nrun {} {id}` at {}", attempt.command, attempt.time));
    if let Some(status) = attempt.status {
        line(text, "ended", &format!("with exit status {status}"));
        let counts = Counts {
            out_of_memory: attempt.out_of_memory,
            out_of_processes: attempt.out_of_processes,
        };
        let spec = attempt.bundle.as_deref().and_then(|bundle| {
            bundle::load_with(bundle, attempt.config.as_deref()).ok().map(|loaded| loaded.spec)
        });
        if let Some(diagnosis) =
            ending::diagnose(Some(status), counts, spec.as_deref().and_then(limit))
        {
            tell(text, &diagnosis);
        }
        return;
    }
    line(text, "failed", &attempt.message);
    let again = match &attempt.bundle {
        Some(bundle) => of_bundle(bundle, attempt.config.as_deref()),
        None if attempt.command == "start" => of_container(root, id),
        None => None,
    };
    let again = again.as_ref().map(Subject::examine);
    match (&attempt.hint, again) {
        // What was found then is found again, or only now.
        (hint, Some(Some(diagnosis))) if hint.is_none() || *hint == Some(diagnosis.hint()) => {
            tell(text, &diagnosis);
        }
        (Some(hint), Some(Some(diagnosis))) => {
            line(text, "why", hint);
            line(text, "now", &diagnosis.hint());
        }
        (Some(hint), _) => line(text, "why", hint),
        (None, _) => line(text, "why", "the message says all that is known"),
    }
}

/// A container that was started, and has ended.
fn tell_ending(text: &mut String, saved: &Saved, root: &Path, id: &ContainerId) {
    let status = process::exit_status(saved.pid, saved.pid_start);
    if let Some(status) = status {
        line(text, "ended", &format!("with exit status {status}"));
    }
    let spec = record::config(root, id).ok();
    let counts = ending::counts(saved);
    let limit = spec.as_deref().and_then(limit);
    // A filter that kills at the exec is seen from here as a start that worked.
    let examined = || of_container(root, id).as_ref().and_then(Subject::examine);
    match ending::diagnose(status, counts, limit).or_else(examined) {
        Some(diagnosis) => tell(text, &diagnosis),
        None if status == Some(0) => line(text, "why", "its program was done"),
        None => {
            line(text, "why", "the kernel has kept nothing about its end");
            line(text, "do", "the exit status and the output are with the engine that started it");
        }
    }
}

/// The memory limit of a container, in bytes.
fn limit(spec: &Spec) -> Option<i64> {
    let resources = spec.linux().as_ref()?.resources().as_ref()?;
    resources.memory().as_ref()?.limit()
}
