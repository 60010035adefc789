//! The program: exit codes, and the only place that prints.
//!
//! A monitor is this same program under another name. It is told apart first of all, so that the pages of the
//! command line's parser are never read in by a process that lives as long as its container.

use nman::cli::Cli;
use nman::error::Error;
use nman::{exec, journal, monitor};
use std::process::ExitCode;

mod dispatch;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    if name == monitor::ARGV0 {
        return monitor::main(args);
    }
    if name == journal::COMPRESSOR {
        return journal::compress(args);
    }
    if name == exec::DRAIN {
        return exec::drain();
    }
    match <Cli as clap::Parser>::try_parse() {
        Ok(cli) => run(&cli.shortened()),
        Err(error) => usage(&error),
    }
}

fn run(cli: &Cli) -> ExitCode {
    match dispatch::dispatch(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report(&error);
            ExitCode::from(failure_code(cli, &error))
        }
    }
}

/// Docker's exit codes: what starts a container ends with 125, 126 or 127; everything else that fails, with 1.
fn failure_code(cli: &Cli, error: &Error) -> u8 {
    use nman::cli::Command;
    match (&cli.command, error) {
        (Command::Run(_), _) | (_, Error::Usage(_)) => error.exit_code(),
        (Command::Exec(_) | Command::Start(_), Error::Runtime(_) | Error::Start { .. }) => {
            match error.exit_code() {
                125 => 1,
                code => code,
            }
        }
        _ => 1,
    }
}

#[expect(clippy::print_stderr, reason = "the one place where errors are printed")]
fn report(error: &Error) {
    for line in error.to_string().lines() {
        eprintln!("nman: {}", nman::table::plain(line));
    }
    if let Some(hint) = error.hint() {
        eprintln!("\nhint: {}", nman::table::plain(&hint));
    }
}

/// clap's own message, in our form; help and version are data and go to stdout.
#[expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "the one place where errors are printed"
)]
fn usage(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if !error.use_stderr() {
        print!("{text}");
        return ExitCode::SUCCESS;
    }
    eprint!(
        "{}",
        text.strip_prefix("error: ").map_or(text.clone(), |rest| format!("nman: {rest}"))
    );
    ExitCode::from(125)
}
