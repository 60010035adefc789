//! What a container has written, on disk: the files of its log, written by its monitor and read by `nman logs`.
//!
//!     log             the current file
//!     log.7, log.6    what was put aside when it had grown too long; the highest number is the youngest
//!     log.5.gz        the same, compressed
//!
//! A file is renamed once, when it is put aside, and never again: a reader that knows the number of the file it reads
//! knows which comes next, whatever happens meanwhile.

mod files;
mod follow;
mod json;
mod last;
mod local;
mod output;
mod reader;
mod writer;

pub(crate) use crate::stream::LONGEST_LINE;
pub use crate::stream::Stream;
pub use follow::{Watched, follow};
pub use output::Output;
pub use reader::{Reader, Selection};
pub use writer::{COMPRESSOR, Writer};

use crate::container::{LogConfig, LogDriver};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// The whole of a process that compresses one file that was put aside.
pub fn compress(args: impl Iterator<Item = OsString>) -> ExitCode {
    // There is nobody to tell: a file that stays as it is can be read as well.
    let results: Vec<_> = args.map(|path| writer::compress(Path::new(&path))).collect();
    if results.iter().all(Result::is_ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How entries are laid out in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Docker's lines of JSON.
    Json,
    /// Our own records.
    Local,
}

impl Format {
    /// That of a container's files; `None` where nothing is kept.
    #[must_use]
    pub fn of(config: &LogConfig) -> Option<Self> {
        match config.driver {
            LogDriver::JsonFile => Some(Self::Json),
            LogDriver::Local => Some(Self::Local),
            // Docker's dual logging: what goes elsewhere is kept here as well, so that `logs` shows it.
            driver => (driver.forwards() && !config.uncached).then_some(Self::Local),
        }
    }
}

/// One entry as a reader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry<'a> {
    stream: Stream,
    /// In the fixed form of [`crate::clock::Timestamp`], so that times compare as bytes.
    time: &'a [u8],
    text: Text<'a>,
    /// What the line is marked with, as a JSON object; mostly empty.
    attributes: &'a [u8],
}

/// The text of an entry, as the file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text<'a> {
    /// As it was written.
    Plain(&'a [u8]),
    /// As it was written, but for the newline that ends it.
    Line(&'a [u8]),
    /// Escaped for JSON.
    Escaped(&'a [u8]),
}
