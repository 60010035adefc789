//! A module for each command. They say what they did on stdout, what they left out on stderr, and return what went wrong.

pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod completion;
pub(crate) mod ls;
pub(crate) mod pack;
pub(crate) mod spec;
mod target;
pub(crate) mod unpack;

use std::{
    fmt,
    io::{self, Write},
    path::Path,
};

use bundle::{archive, image, layer, layer::Ignored, layout, reason::reason};

/// How a command that could do its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Well.
    Done,
    /// `check` found faults, and has listed them.
    Faults,
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A system call on a file failed.
    pub(crate) fn file(action: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(format!("cannot {action} `{}`: {}", path.display(), reason(error)))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

macro_rules! failure_from {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self { message: error.to_string(), hint: error.hint() }
            }
        })*
    };
}

failure_from!(archive::Error, image::Error, layer::Error, layout::Error, bundle::Error);

impl From<image::ConvertError> for Failure {
    fn from(error: image::ConvertError) -> Self {
        Self::new(error.to_string())
    }
}

/// Prints a result. A reader that has gone away has seen enough.
pub(crate) fn print(text: impl fmt::Display) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write to stdout: {}", reason(&error))))
        }
        _ => Ok(()),
    }
}

/// Tells something beside the result, on a line of its own. Nobody hears of it where that cannot be written.
pub(crate) fn tell(text: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Tells what was left out of an image or a tree.
pub(crate) fn warn(ignored: &[Ignored], more: u64) {
    for Ignored { entry, what } in ignored {
        tell(format_args!("nbundle: warning: `{entry}`: left out {what}"));
    }
    if more > 0 {
        let _ = writeln!(io::stderr(), "nbundle: warning: left out {more} more");
    }
}
