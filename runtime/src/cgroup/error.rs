//! What can go wrong with a cgroup. One line each, without the names of our own functions: what failed, on which object,
//! where in the input, and why.

use std::path::PathBuf;

use rustix::io::Errno;

/// A cgroup that could not be planned, made, used or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration asks for something that this host, or this version of cgroups, cannot keep. Nothing was made.
    #[error("cannot {what}{}: {why}", place(pointer))]
    Refused {
        /// What was asked for, as a verb phrase.
        what: String,
        /// Where, as a JSON pointer; see [`Error::in_resources`].
        pointer: String,
        /// Why not.
        why: String,
    },
    /// The container's cgroup is there already and has processes in it: somebody else's.
    #[error("container's cgroup is not empty: {processes} process(es) in `{}`", path.display())]
    Occupied {
        /// The directory.
        path: PathBuf,
        /// How many processes were found in it and below.
        processes: usize,
    },
    /// The container's cgroup is there already and is frozen: a process that joined it would stop.
    #[error("container's cgroup unexpectedly frozen: `{}`", path.display())]
    Frozen {
        /// The directory.
        path: PathBuf,
    },
    /// The container has no cgroup of its own that could be frozen or thawed. The words are runc's.
    #[error("cannot toggle freezer: cgroups not configured for container")]
    NoFreezer,
    /// The kernel does not tell when the container is out of memory.
    #[error("cannot watch for OOM: memory controller missing in `{place}`")]
    NoMemoryEvents {
        /// The directory.
        place: String,
    },
    /// Some limits were changed, the next could not be, and putting the former values back failed as well.
    #[error("{error}; the former limits could not be put back either: {undo}")]
    HalfChanged {
        /// Why the limits could not be changed.
        error: Box<Error>,
        /// Why the first of the others could not be put back.
        undo: Box<Error>,
    },
    /// The processes of a cgroup did not reach the state that was asked for.
    #[error("cannot {what} cgroup `{}`: its processes did not follow in time", path.display())]
    Stuck {
        /// `freeze` or `empty`.
        what: &'static str,
        /// The directory.
        path: PathBuf,
    },
    /// systemd refused, or cannot be asked.
    #[error("cannot {what}: {why}")]
    Systemd {
        /// What was asked for, as a verb phrase.
        what: String,
        /// Its words, or ours for why it is not reached.
        why: String,
    },
    /// systemd is to make the cgroup, and does not run here.
    #[error(
        "systemd cgroup flag passed, but systemd support for managing cgroups is not available"
    )]
    NoSystemd,
    /// The kernel refused a step.
    #[error("cannot {what}{}: {}", place(pointer), sys::text(*errno))]
    System {
        /// The step and its object, as a verb phrase.
        what: String,
        /// The value in the configuration that the step comes from, as a JSON pointer; empty when there is none.
        pointer: String,
        /// The kernel's answer.
        errno: Errno,
    },
}

impl Error {
    /// A refusal of the value at `pointer`.
    pub(super) fn refused(
        what: impl Into<String>,
        pointer: impl Into<String>,
        why: impl Into<String>,
    ) -> Error {
        Error::Refused { what: what.into(), pointer: pointer.into(), why: why.into() }
    }

    /// A failed system call that no single value of the configuration stands behind.
    pub(super) fn system(what: impl Into<String>, errno: Errno) -> Error {
        Error::System { what: what.into(), pointer: String::new(), errno }
    }

    /// The same error about resources that did not come from config.json: its pointer is the one in their own document.
    pub(super) fn in_resources(mut self) -> Error {
        if let Error::Refused { pointer, .. } | Error::System { pointer, .. } = &mut self
            && let Some(own) = pointer.strip_prefix("/linux/resources")
        {
            *pointer = format!("resources {own}");
        }
        self
    }

    /// An error of [`Error::in_resources`] with the place in the document that was laid over what there was: `place` finds it.
    #[must_use]
    pub fn in_document(self, place: &dyn Fn(&str) -> String) -> Error {
        match self {
            Error::HalfChanged { error, undo } => Error::HalfChanged {
                error: Box::new(error.in_document(place)),
                undo: Box::new(undo.in_document(place)),
            },
            mut error => {
                if let Error::Refused { pointer, .. } | Error::System { pointer, .. } = &mut error
                    && let Some(own) = pointer.strip_prefix("resources ")
                {
                    *pointer = format!("resources {}", place(own));
                }
                error
            }
        }
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::HalfChanged { error, .. } => error.hint(),
            Error::Occupied { .. } => {
                Some("another container may use this cgroup: give each its own cgroupsPath".into())
            }
            Error::Frozen { .. } => {
                Some("thaw it, or remove the empty cgroup and create the container again".into())
            }
            Error::NoSystemd => {
                Some("this host was not booted with systemd: leave out `--systemd-cgroup`".into())
            }
            Error::Systemd { why, .. } if why.contains("already") => {
                Some("another container may use this unit: give each its own cgroupsPath".into())
            }
            Error::System { what, errno: Errno::BUSY, .. } if what.starts_with("enable") => {
                Some(
                    "a v2 cgroup with processes of its own cannot pass controllers on: choose a cgroupsPath under an \
                     empty one"
                        .into(),
                )
            }
            // A weight for a device, on v1 as on v2: other values are never refused like this.
            Error::System { what, errno: Errno::OPNOTSUPP, .. } if what.contains("weight") => {
                Some("the device's I/O scheduler has no weights: choose another in `/sys/block/DEVICE/queue/scheduler`, such as bfq".into())
            }
            Error::System { errno: Errno::OPNOTSUPP, .. } => Some(
                "a v2 cgroup above it is threaded, or has processes of its own: choose another cgroupsPath".into(),
            ),
            Error::System { what, errno: Errno::RANGE | Errno::INVAL | Errno::ACCESS, .. }
                if what.starts_with("set `cpuset.") =>
            {
                Some("only what this host has, and the cgroup above has as well, can be given to a cgroup".into())
            }
            Error::System { errno: Errno::ACCESS | Errno::PERM | Errno::ROFS, pointer, .. }
                if !pointer.is_empty() =>
            {
                Some("limits need a cgroup that is delegated to the user who runs the container".into())
            }
            _ => None,
        }
    }
}

fn place(pointer: &str) -> String {
    match pointer {
        "" => String::new(),
        pointer if pointer.starts_with('/') => format!(" (config.json {pointer})"),
        pointer => format!(" ({pointer})"),
    }
}
