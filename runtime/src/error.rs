//! What can go wrong, in the words that a person or an engine reads.
//!
//! Variants are what a caller branches on: an exit status, a text that an engine matches, an error that `delete --force`
//! forgives. Everything else is one line of text with its object in it. Printed once, in `main` (invariant I5).

use crate::id::ContainerId;
use crate::{cgroup, plan, signal};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// There is no such command. runc's words, and an exit status of its own.
    #[error("No help topic for '{name}'")]
    NoCommand {
        /// What was typed.
        name: String,
        /// The command that was probably meant.
        nearest: Option<&'static str>,
    },
    /// There is no such flag. The words are runc's.
    #[error("flag provided but not defined: {arg}")]
    NoFlag {
        /// What was typed, with its dashes.
        arg: String,
        /// The command that it was typed for.
        command: Option<&'static str>,
        /// The flag that was probably meant.
        nearest: Option<&'static str>,
    },
    /// config.json is missing, cannot be read, or is not what it should be.
    #[error(transparent)]
    Config(#[from] bundle::config::Error),
    /// config.json asks for what cannot be planned.
    #[error(transparent)]
    Plan(#[from] plan::Error),
    /// A bundle that cannot be planned, and what else should be told of it, a line each.
    #[error("{error}\n{warnings}")]
    Unplanned {
        /// Why there is no plan.
        error: Box<Error>,
        /// The warnings.
        warnings: String,
    },
    /// The seccomp profile cannot be made into a filter.
    #[error(transparent)]
    Seccomp(#[from] plan::seccomp::Error),
    /// A cgroup cannot be planned, made or changed.
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    /// There is no container with this id. The last words are matched by engines.
    #[error("cannot find `{id}`: container does not exist")]
    NoContainer {
        /// The id.
        id: String,
        /// Where it was looked for.
        root: PathBuf,
    },
    /// What is kept of a container is not understood: a disk was full or lost power, or a later nrun has written it.
    #[error("cannot read `{}`: {why}", directory.join("state.json").display())]
    Damaged {
        /// The container's directory.
        directory: PathBuf,
        /// What is wrong with it.
        why: String,
        /// Its init, if that still runs.
        init: Option<i32>,
    },
    /// Another command has its lock, and has for long.
    #[error("cannot lock `{}`: {}", .0.display(), sys::text(Errno::WOULDBLOCK))]
    Locked(PathBuf),
    /// Whoever makes it holds its lock, and has for long.
    #[error("container `{0}` is still being created")]
    Creating(String),
    /// There is one already.
    #[error("cannot create container `{id}`: container with given ID already exists")]
    Exists {
        /// The id.
        id: String,
        /// Where it is.
        root: PathBuf,
    },
    /// The container is not in a state in which this can be done. The text is the one that engines match.
    #[error("{0}")]
    State(String),
    /// The container runs and was not to be removed by force. The words are matched by engines.
    #[error("cannot delete container `{id}` that is not stopped: {status}")]
    NotStopped {
        /// The id.
        id: String,
        /// Where it is.
        root: PathBuf,
        /// What it is instead.
        status: &'static str,
    },
    /// The container's init ended before it was ready.
    #[error("{0}")]
    Died(String),
    /// Whoever makes a process in the foreground was told to end when there was no program yet that could be.
    #[error("cannot {what}: told to end by {} before its program ran", signal::name(*signal))]
    Interrupted {
        /// What was being done, with which container.
        what: String,
        /// The signal.
        signal: i32,
    },
    /// A hook failed. The text has runc's words in it.
    #[error("{0}")]
    Hook(String),
    /// A step of the plan failed in the child.
    #[error("{0}")]
    Step(Box<crate::failure::Failure>),
    /// criu could not do what it was asked for.
    #[error("{0}")]
    Criu(Box<crate::criu::failure::Failure>),
    /// A program that writes id mappings for a user did not write this one.
    #[error("cannot map the container's ids: `{}`: {said}", tool.display())]
    IdTool {
        /// The program.
        tool: PathBuf,
        /// The first line of its complaint.
        said: String,
    },
    /// Anything else that the system refused: what, and why.
    #[error("cannot {what}: {}", sys::text(*errno))]
    System {
        /// What was being done, on which object.
        what: String,
        /// Why it failed.
        errno: Errno,
    },
    /// As [`Error::System`], with what the reader can do about it.
    #[error("cannot {what}: {}", sys::text(*errno))]
    Hinted {
        /// What was being done, on which object.
        what: String,
        /// Why it failed.
        errno: Errno,
        /// What to do.
        hint: &'static str,
    },
}

impl Error {
    /// A refusal by the system.
    pub fn system(what: impl Into<String>, errno: Errno) -> Error {
        Error::System { what: what.into(), errno }
    }

    /// A refusal by the system, through the standard library.
    pub fn io(what: impl Into<String>, error: &std::io::Error) -> Error {
        Error::system(what, Errno::from_io_error(error).unwrap_or(Errno::IO))
    }

    /// That there is no container with this id under `root`.
    pub fn no_container(root: &Path, id: &ContainerId) -> Error {
        Error::NoContainer { id: id.to_string(), root: root.to_owned() }
    }

    /// What the reader can do about it, if there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Config(error) => error.hint(),
            Error::Cgroup(error) => error.hint(),
            Error::Unplanned { error, .. } => error.hint(),
            Error::Seccomp(error) => error.hint(),
            Error::Step(failure) => failure.hint(),
            Error::Hinted { hint, .. } => Some((*hint).to_owned()),
            Error::Criu(failure) => Some(failure.hint()),
            Error::NoCommand { nearest: Some(nearest), .. } => {
                Some(format!("did you mean `nrun {nearest}`?"))
            }
            Error::NoCommand { nearest: None, .. } => {
                Some("`nrun --help` shows the commands".into())
            }
            // As for kill(1), which takes the signal first and with a dash.
            Error::NoFlag { command: Some("kill"), arg, .. } if signal::parse(bare(arg)).is_ok() => {
                Some(format!("a signal has no dash: `nrun kill ID {}`", bare(arg)))
            }
            Error::NoFlag { nearest: Some(nearest), .. } => {
                Some(format!("did you mean --{nearest}?"))
            }
            Error::NoFlag { command, nearest: None, .. } => {
                let command = command.map(|name| format!(" {name}")).unwrap_or_default();
                Some(format!("`nrun{command} --help` shows the flags"))
            }
            Error::NoContainer { root, .. } => Some(format!(
                "`{}` was searched; an engine gives another --root",
                root.display()
            )),
            Error::Damaged { directory, init, .. } => Some(without_state(directory, *init)),
            Error::Exists { id, root } | Error::NotStopped { id, root, .. } => Some(format!(
                "`{} delete --force {id}` kills and removes it",
                nrun_with(root)
            )),
            Error::Locked(_) => Some(
                "another command on this container hangs, was stopped or takes long, as a checkpoint does: `fuser` on that directory shows which"
                    .into(),
            ),
            Error::IdTool { .. } => Some(
                "ranges of ids are given to a user in /etc/subuid and /etc/subgid, one `NAME:FIRST:COUNT` a line; \
                 the program must be setuid root or have the file capability"
                    .into(),
            ),
            Error::System { errno: Errno::PERM | Errno::ACCESS, .. } if sys::ids::effective_at_exec().0 != 0 => {
                Some("nrun was not started as root: state is kept in $XDG_RUNTIME_DIR/nrun or where --root says, and cgroups take delegation".into())
            }
            _ => None,
        }
    }
}

/// `nrun`, as it is called for the containers in `root`: those of an engine are elsewhere than by default.
fn nrun_with(root: &Path) -> String {
    if root == crate::rootless::default_root() {
        return "nrun".to_owned();
    }
    format!("nrun --root {}", root.display())
}

/// A flag without its dashes.
fn bare(flag: &str) -> &str {
    flag.trim_start_matches('-')
}

/// How to get rid of a container that nrun must not forget, for nobody else would find its processes.
fn without_state(directory: &Path, init: Option<i32>) -> String {
    let path = directory.display();
    let init = init.map_or_else(
        || "its init does not run".to_owned(),
        |init| {
            format!(
                "its init runs in the cgroups that `cat /proc/{init}/cgroup` shows, `kill -9 {init}` ends it"
            )
        },
    );
    format!(
        "{init}; with nothing left in its cgroup (`cgroupsPath` in `{path}/config.json`, or its id), `rm -r {path}` removes it"
    )
}
