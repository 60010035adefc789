//! The manual pages and `docs/man` say what the definition of the command line says. `make man` writes them anew.

use clap::{Command, CommandFactory as _};
use nconform::fixture::{check_manual, check_roff, manual_pages};

fn root() -> Command {
    nman::cli::Cli::command()
}

#[test]
fn manual_pages_match_the_command_line() {
    check_manual(root());
}

#[test]
fn manual_pages_are_roff_that_a_reader_takes_without_a_warning() {
    check_roff(manual_pages(root()).iter().filter(|(name, _)| name.len() < 14));
}
