//! Hooks that run in the runtime's namespaces, and how the failure of any hook reads.
//!
//! `prestart` and `createRuntime` hooks run while the container's init waits at a barrier; `poststart` and `poststop` hooks belong
//! to commands that find them in the saved state. A hook that fails ends what is being done, but for `poststop`: that is warned
//! of, and the next one runs (runtime-spec, runtime.md "Lifecycle").

use crate::error::{Error, Result};
use crate::hook::{self, EndedBy, Setting, Trouble};
use crate::interrupt::Interrupt;
use crate::log;
use crate::plan::Plan;
use crate::plan::hooks::{self as planner, Hook, Kind, Subject};
use crate::record::Saved;
use crate::wire::{End, HookText};
use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::process::Pid;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use sys::exec::CStringArray;

/// Runs the hooks of [`crate::plan::op::Barrier::Hooks`], until one of `ended_by` is ready.
///
/// # Errors
/// The first hook that fails, or is ended.
pub fn at_create(
    plan: &Plan,
    pid: Pid,
    outputs: &[Option<OwnedFd>; 2],
    ended_by: EndedBy<'_>,
) -> Result<()> {
    let us = Some(rustix::process::getpid());
    let context = Context { pid: Some(pid), outputs, ended_by, ends_with: us };
    plan.hooks.list.iter().try_for_each(|hook| run(&plan.id, hook, context))
}

/// Runs the `poststart` hooks, until there is an `interrupt`.
///
/// # Errors
/// The first hook that fails, or is ended: the container is to be stopped then.
pub fn poststart(saved: &Saved, interrupt: Option<&Interrupt>) -> Result<()> {
    if saved.poststart.is_empty() {
        return Ok(());
    }
    let outputs = open_outputs(&planner::outputs(Some(&saved.annotations))?)?;
    let hooks = late(saved, Kind::Poststart)?;
    let ended_by = [interrupt.map(|interrupt| (interrupt.as_fd(), PollFlags::IN)), None];
    let pid = Pid::from_raw(saved.pid);
    let context = Context { pid, outputs: &outputs, ended_by, ends_with: None };
    hooks.iter().try_for_each(|hook| run(&saved.id, hook, context))
}

/// Runs the `poststop` hooks of a container that is gone. What goes wrong is warned of.
pub fn poststop(saved: &Saved) {
    if saved.poststop.is_empty() {
        return;
    }
    let planned = planner::outputs(Some(&saved.annotations))
        .map_err(Error::from)
        .and_then(|paths| open_outputs(&paths))
        .and_then(|outputs| Ok((late(saved, Kind::Poststop)?, outputs)));
    match planned {
        Err(error) => log::warning(&error.to_string()),
        Ok((hooks, outputs)) => {
            let (ended_by, ends_with) = ([None; 2], None);
            let context = Context { pid: None, outputs: &outputs, ended_by, ends_with };
            for hook in hooks {
                if let Err(error) = run(&saved.id, &hook, context) {
                    log::warning(&error.to_string());
                }
            }
        }
    }
}

fn late(saved: &Saved, kind: Kind) -> Result<Vec<Hook>> {
    let list = if kind == Kind::Poststart { &saved.poststart } else { &saved.poststop };
    Ok(planner::plan(kind, list, &subject(saved), Some(&saved.bundle))?)
}

/// What a hook or an agent is told of a container.
pub fn subject(saved: &Saved) -> Subject<'_> {
    Subject {
        version: &saved.oci_version,
        id: &saved.id,
        bundle: &saved.bundle,
        annotations: Some(&saved.annotations),
    }
}

/// What the hooks of a moment have in common: see [`Setting`].
#[derive(Clone, Copy)]
struct Context<'a> {
    pid: Option<Pid>,
    outputs: &'a [Option<OwnedFd>; 2],
    ended_by: EndedBy<'a>,
    ends_with: Option<Pid>,
}

fn run(id: &str, hook: &Hook, context: Context<'_>) -> Result<()> {
    let Context { pid, outputs, ended_by, ends_with } = context;
    let inherited;
    let env = match &hook.env {
        Some(env) => env,
        None => {
            inherited = environ();
            &inherited
        }
    };
    let setting = Setting { pid, env, outputs, contained: false, ended_by, ends_with };
    hook::run(hook, &setting, || Ok(())).map_err(|trouble| match trouble {
        Trouble::System(errno) | Trouble::Step { errno, .. } => {
            Error::Hook(not_run(id, hook, errno))
        }
        Trouble::Failed(end, tails) => {
            let [stdout, stderr] = tails.map(|tail| tail.as_bytes().to_vec());
            failed(id, hook, end, &HookText { stdout, stderr })
        }
        Trouble::Unwanted => Error::Hook(format!("{}: it was ended", head(id, hook))),
    })
}

/// The runtime's own environment.
fn environ() -> CStringArray {
    let variables = std::env::vars_os().map(|(mut variable, value)| {
        variable.push("=");
        variable.push(value);
        variable.into_vec()
    });
    CStringArray::new(variables).expect("the kernel ends each variable at its NUL byte")
}

/// Opens the files that hooks write to, at their end.
///
/// # Errors
/// When one cannot be opened or made.
pub fn open_outputs(paths: &[Option<PathBuf>; 2]) -> Result<[Option<OwnedFd>; 2]> {
    let open = |path: &Option<PathBuf>| -> Result<Option<OwnedFd>> {
        let Some(path) = path else { return Ok(None) };
        let what = || format!("open `{}` for what hooks write", path.display());
        // A FIFO without a reader is an error and does not hold us up. The hook's writes may wait again.
        let mut options = std::fs::OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
        let file = options.open(path).map_err(|error| Error::io(what(), &error))?;
        rustix::fs::fcntl_setfl(&file, OFlags::APPEND)
            .map_err(|errno| Error::system(what(), errno))?;
        Ok(Some(file.into()))
    };
    Ok([open(&paths[0])?, open(&paths[1])?])
}

/// What the signals say that a program brings on itself: a hook that its seccomp profile killed is not told apart by a number.
fn meaning(signal: u8) -> &'static str {
    match signal {
        4 => " (illegal instruction)",
        6 => " (aborted)",
        7 => " (bus error)",
        8 => " (floating point exception)",
        9 => " (killed)",
        11 => " (segmentation fault)",
        15 => " (terminated)",
        31 => " (bad system call)",
        _ => "",
    }
}

/// The error of a hook that ran and failed, with runc's words in it.
pub fn failed(id: &str, hook: &Hook, end: End, text: &HookText) -> Error {
    let limit = hook.timeout.unwrap_or_default().as_secs_f64();
    let limit = format!(" of {limit:.1}s");
    Error::Hook(format!("{}: {}", head(id, hook), ending(end, text, &limit)))
}

/// The same where nobody can tell which hook it was.
pub fn some_failed(id: &str, end: End, text: &HookText) -> Error {
    let how = ending(end, text, "");
    Error::Hook(format!("cannot start container `{id}`: error running a hook: {how}"))
}

fn ending(end: End, text: &HookText, limit: &str) -> String {
    let how = match end {
        End::Exited(status) => format!("exit status {status}"),
        End::Killed(signal) => format!("killed by signal {signal}{}", meaning(signal)),
        End::TimedOut => format!("hook ran past specified timeout{limit}"),
    };
    let lossy = String::from_utf8_lossy;
    let (stdout, stderr) = (lossy(&text.stdout), lossy(&text.stderr));
    format!("{how}, stdout: {stdout}, stderr: {stderr}")
}

/// The message for a hook that could not be run.
pub fn not_run(id: &str, hook: &Hook, errno: rustix::io::Errno) -> String {
    let path = hook.path.to_string_lossy();
    format!("{}: fork/exec {path}: {}", head(id, hook), sys::text(errno))
}

fn head(id: &str, hook: &Hook) -> String {
    let Hook { kind, index, .. } = hook;
    let (attempt, kind) = (attempt(*kind), kind.name());
    format!(
        "cannot {attempt} container `{id}` (config.json /hooks/{kind}/{index}): error running {kind} hook #{index}"
    )
}

fn attempt(kind: Kind) -> &'static str {
    match kind {
        Kind::Prestart | Kind::CreateRuntime | Kind::CreateContainer => "create",
        Kind::StartContainer | Kind::Poststart => "start",
        Kind::Poststop => "clean up after",
    }
}
