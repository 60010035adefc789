//! The command line: one table of commands and flags, from which parsing and help are made.
//!
//! A general parser costs more to set up than the rest of a command's work here, which engines pay three times per container.
//! This one compares strings against a static table. It takes what runc takes: `--flag value`, `--flag=value`, Go's single
//! dash for long flags, repeated flags, and flags after the container's id.

mod completion;
mod definition;
mod help;
mod man;
mod parse;
mod suggest;
mod words;

pub use completion::script as completion;
pub use definition::{COMMANDS, Command, Flag, GLOBALS};
pub use help::{command as help_of, commit, overview, version};
pub use man::{page as manual_page, pages as manual_pages};
#[cfg(test)]
pub(crate) use parse::parse;
pub use parse::{Parsed, command};
