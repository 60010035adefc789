//! The manual pages and `docs/man` say what the definition of the command line says. `make man` writes them anew.

use clap::{Command, CommandFactory as _};
use nconform::fixture::{Capture, check_manual, check_roff, manual_pages};

fn root() -> Command {
    nman::cli::Cli::command()
}

#[test]
fn manual_pages_match_the_command_line() {
    check_manual(root());
}

/// Every command's words, the program's own first.
fn commands(command: &Command, words: &[String]) -> Vec<Vec<String>> {
    let mut all = vec![words.to_vec()];
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        let words = [words, &[below.get_name().to_owned()]].concat();
        all.extend(commands(below, &words));
    }
    all
}

#[test]
fn every_help_fits_a_terminal_and_has_the_global_options_last() {
    for words in commands(&root(), &[]) {
        let help = Capture::of(env!("CARGO_BIN_EXE_nman")).args(&words).args(["--help"]).run();
        let help = help.ok().stdout();
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{words:?}: {line}");
        }
        let (own, global) = help.split_once("\nGlobal Options:\n").expect(&help);
        assert!(global.contains("--root") && global.contains("--debug"), "{words:?}: {global}");
        assert!(
            words.is_empty() || own.contains("--help") && !own.contains("--root "),
            "{words:?}: {help}"
        );
    }
}

#[test]
fn manual_pages_are_roff_that_a_reader_takes_without_a_warning() {
    check_roff(manual_pages(root()).iter().filter(|(name, _)| name.len() < 14));
}
