//! The one error type of the program: what `main` prints and what it exits with.
//!
//! Variants are what a caller branches on. Messages that scripts match are Docker's own words; the rest follow the
//! house style: what failed, on which object, why.

use bundle::reason::is_full;
pub use bundle::reason::reason;
use std::fmt;
use std::path::{Path, PathBuf};

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line asks for something that does not make sense.
    #[error("{0}")]
    Usage(String),
    /// The value of a flag does not have the form of such values, which the parser of the command line does not see.
    #[error("{0}")]
    Flag(String),
    /// Somebody is to type into the container, but our stdin is no terminal: nothing good comes of it, as Docker found.
    #[error("the input device is not a TTY")]
    NoTerminal,
    /// `run -d` is to be attached.
    #[error("conflicting options: cannot specify both --attach and --detach")]
    AttachedInBackground,
    /// Whoever was attached was told to end so many times, and the container did not.
    #[error("got {0} SIGTERM/SIGINTs, forcefully exiting")]
    Interrupted(u32),
    /// No container has this id, name or unambiguous prefix.
    #[error("No such container: {0}")]
    NoSuchContainer(String),
    /// The prefix of an id fits several containers.
    #[error("multiple containers found with provided prefix: {0}")]
    AmbiguousPrefix(String),
    /// Another container has the name.
    #[error("Conflict. The container name \"/{name}\" is already in use by container \"{id}\"")]
    NameTaken {
        /// The name that was asked for.
        name: String,
        /// Who has it.
        id: String,
    },
    /// What was asked does not go with what the container is doing.
    #[error("{message}")]
    WrongState {
        /// The sentence.
        message: String,
        /// What to do instead.
        hint: Option<String>,
    },
    /// There is no such runtime.
    #[error("cannot find the OCI runtime `{0}`: no such file or directory")]
    NoRuntime(String),
    /// The runtime refused.
    #[error("{0}")]
    Runtime(#[from] Failure),
    /// A process that no runtime would start in a container.
    #[error("{0}")]
    Process(String),
    /// The container's monitor could not start it.
    #[error("{message}")]
    Start {
        /// What the program exits with.
        code: u8,
        /// The reason, in the monitor's or the runtime's words.
        message: String,
    },
    /// The network cannot be had.
    #[error(transparent)]
    Network(#[from] crate::network::Error),
    /// The image did not arrive.
    #[error(transparent)]
    Pull(#[from] crate::pull::Error),
    /// A layer could not be made.
    #[error(transparent)]
    Layer(#[from] bundle::image::Error),
    /// An archive could not be written.
    #[error(transparent)]
    Archive(#[from] bundle::archive::Error),
    /// What follows `--format` is no template, or asks for what is not there.
    #[error(transparent)]
    Template(#[from] crate::template::Fault),
    /// The image's name is none.
    #[error(transparent)]
    Reference(#[from] crate::reference::ParseError),
    /// The store of images.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// The layers of images and containers.
    #[error(transparent)]
    Snapshot(#[from] crate::snapshot::Error),
    /// A file or a system call.
    #[error("cannot {action} `{}`: {}", path.display(), reason(source))]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which object.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A step without a file of its own.
    #[error("cannot {action}: {}", reason(source))]
    System {
        /// What was tried.
        action: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A container has written something that whoever is attached cannot be given.
    #[error("cannot write the container's output: {}", reason(.0))]
    Unwritten(std::io::Error),
    /// A record of ours does not read back.
    #[error("cannot read `{}`: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The image's contents do not fit what was asked.
    #[error("{message}")]
    Rejected {
        /// The sentence.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Several objects were named and some of them failed: each message has its own line.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<Error>),
}

/// A runtime's refusal, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The runtime's name.
    pub runtime: String,
    /// The subcommand.
    pub command: String,
    /// What it said.
    pub message: String,
}

impl Failure {
    /// 127 where the program to run does not exist, 126 where it cannot be executed, 125 for the rest: Docker's
    /// reading of a runtime's message.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let says = |texts: &[&str]| texts.iter().any(|text| self.message.contains(text));
        if says(&["executable file not found", "no such file or directory"]) {
            127
        } else if says(&["permission denied", "is a directory"]) {
            126
        } else {
            125
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // runc begins so by itself.
        let prefix = format!("{} {} failed: ", self.runtime, self.command);
        let message = self.message.strip_prefix(&prefix).unwrap_or(&self.message);
        write!(f, "{prefix}{message}")
    }
}

impl std::error::Error for Failure {}

impl Error {
    /// An [`Error::Io`], for `map_err`.
    pub fn io<E: Into<std::io::Error>>(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source: source.into() }
    }

    /// An [`Error::Rejected`] that says it all.
    pub fn refusal(message: impl Into<String>) -> Self {
        Self::Rejected { message: message.into(), hint: None }
    }

    /// An [`Error::System`], for `map_err`.
    pub fn system<E: Into<std::io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> Self {
        let action = action.into();
        move |source| Self::System { action, source: source.into() }
    }

    /// Whether it is a disk that cannot be written.
    pub(crate) fn is_read_only(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem)
    }

    /// Whether it is a disk that has no room, or no more for us.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_full(source))
    }

    /// Whether a record is there that does not read back, or is missing where it must be: not a disk or a process that
    /// is short of something, which may pass.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// Whether a record is no JSON at all, as a power cut leaves it. One of a form that is not known here may have
    /// been written by a newer `nman`.
    #[must_use]
    pub fn is_wreck(&self) -> bool {
        match self {
            Self::Damaged { source, .. } => !source.is_data(),
            error => error.is_damage(),
        }
    }

    /// What the program exits with when this ends `run`: 126 and 127 as a shell has them, 125 for the rest.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Runtime(failure) => failure.exit_code(),
            Self::Start { code, .. } => *code,
            _ => 125,
        }
    }

    /// What to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NameTaken { name, .. } => Some(format!(
                "remove that container (`nman rm {name}`) or choose another name to be able to reuse that name"
            )),
            Self::NoRuntime(_) => Some(
                "give `--runtime` the path of an OCI runtime, or put `nrun` beside `nman` or in PATH".to_owned(),
            ),
            Self::WrongState { hint, .. } | Self::Rejected { hint, .. } => hint.clone(),
            Self::Damaged { path, .. } if path.ends_with("container.json") => {
                let id = path.parent().and_then(Path::file_name).unwrap_or_default();
                let id: String = id.to_string_lossy().chars().take(12).collect();
                Some(format!("`nman rm -f {id}` or `nman system check --repair` removes the container"))
            }
            Self::Damaged { path, .. } if path.ends_with("volume.json") => Some(
                "`nman system check --repair` writes it anew; what is in the volume stays; `nman volume rm -f` removes all of it".to_owned(),
            ),
            Self::NoTerminal => {
                Some("leave out `-t` to feed the container from a pipe or a file".to_owned())
            }
            Self::Interrupted(_) => {
                Some("the container still runs; `nman kill` ends it".to_owned())
            }
            Self::NoSuchContainer(_) => Some(
                "`nman ps -a` lists those that there are; root and every user have their own"
                    .to_owned(),
            ),
            Self::AmbiguousPrefix(_) => Some("give more digits of the id, or the name".to_owned()),
            Self::Network(error) => error.hint(),
            Self::Pull(error) => error.hint(),
            Self::Layer(error) => error.hint(),
            Self::Archive(error) => error.hint(),
            Self::Template(fault) => fault.hint(),
            Self::Reference(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Snapshot(error) => error.hint(),
            Self::Several(errors) => errors.iter().find_map(Self::hint),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_error_is_one_lower_case_line_with_its_object() {
        let error: Error = Error::io("open", Path::new("/x"))(std::io::Error::from_raw_os_error(2));
        assert_eq!(error.to_string(), "cannot open `/x`: no such file or directory");
    }

    #[test]
    fn a_name_conflict_has_dockers_words() {
        let error = Error::NameTaken { name: "web".into(), id: "abc".into() };
        assert_eq!(
            error.to_string(),
            "Conflict. The container name \"/web\" is already in use by container \"abc\""
        );
        assert!(error.hint().unwrap().contains("to be able to reuse that name"));
    }
}
