//! What can go wrong, in the words that a person or an engine reads.
//!
//! Variants are what a caller branches on: an exit status, a text that an engine matches, an error that `delete --force`
//! forgives. Everything else is one line of text with its object in it. Printed once, in `main` (invariant I5).

use crate::{cgroup, plan};
use rustix::io::Errno;

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// config.json is missing, cannot be read, or is not what it should be.
    #[error(transparent)]
    Config(#[from] bundle::config::Error),
    /// config.json asks for what cannot be planned.
    #[error(transparent)]
    Plan(#[from] plan::Error),
    /// The seccomp profile cannot be made into a filter.
    #[error("cannot compile the seccomp profile (config.json /linux/seccomp): {0}")]
    Seccomp(#[from] plan::seccomp::Error),
    /// A cgroup cannot be planned, made or changed.
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    /// There is no container with this id.
    #[error("cannot find `{0}`: container does not exist")]
    NoContainer(String),
    /// There is one already.
    #[error("cannot create container `{0}`: container with given ID already exists")]
    Exists(String),
    /// The container is not in a state in which this can be done. The text is the one that engines match.
    #[error("{0}")]
    State(String),
    /// A step of the plan failed in the child.
    #[error("{0}")]
    Step(Box<crate::failure::Failure>),
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

    /// What the reader can do about it, if there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Config(error) => error.hint(),
            Error::Cgroup(error) => error.hint(),
            Error::Seccomp(error) => error.hint(),
            Error::Step(failure) => failure.hint(),
            Error::Hinted { hint, .. } => Some((*hint).to_owned()),
            Error::Exists(id) => Some(format!("`nrun delete --force {id}` removes it")),
            Error::System { errno: Errno::PERM | Errno::ACCESS, .. } if !rustix::process::geteuid().is_root() => {
                Some("nrun was not started as root; a rootless container needs a user namespace in config.json".into())
            }
            _ => None,
        }
    }
}
