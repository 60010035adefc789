//! `nbundle`: makes, checks, unpacks and packs OCI bundles and image layouts.
//!
//! Only here is anything printed: results on stdout, and one line (with a hint below it, if there is one) for a failure on stderr.

mod cli;
mod commands;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};
use commands::Outcome;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Faults) => ExitCode::from(1),
        Err(failure) => {
            commands::tell(format_args!("nbundle: {failure}"));
            if let Some(hint) = failure.hint {
                commands::tell(format_args!("\nhint: {hint}"));
            }
            ExitCode::from(1)
        }
    }
}

fn run(command: Command) -> Result<Outcome, commands::Failure> {
    match command {
        Command::Spec(args) => commands::spec::run(&args),
        Command::Check(args) => commands::check::run(&args),
        Command::Unpack(args) => commands::unpack::run(&args),
        Command::Pack(args) => commands::pack::run(args),
        Command::Build(args) => commands::build::run(args),
        Command::Ls(args) => commands::ls::run(&args),
        Command::Completion(args) => commands::completion::run(&args),
    }
}
