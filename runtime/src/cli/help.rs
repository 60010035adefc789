//! Help texts, made from the table.

use super::definition::{COMMANDS, Command, Flag, GLOBALS};
use std::fmt::Write;

/// The version, in the form that engines parse: the first line names it, `commit: ` and `spec: ` follow.
pub fn version() -> String {
    let commit = option_env!("NRUN_COMMIT").unwrap_or("unknown");
    format!("nrun version {}\ncommit: {commit}\nspec: 1.3.0\n", env!("CARGO_PKG_VERSION"))
}

/// What `nrun --help` shows.
pub fn overview() -> String {
    let mut text = String::from(
        "nrun - a low-level OCI runtime\n\nUsage: nrun [GLOBAL OPTIONS] COMMAND [OPTIONS] [ARGUMENTS]\n\nCommands:\n",
    );
    for command in COMMANDS {
        let _ = writeln!(text, "  {:<10} {}", command.name, command.about);
    }
    text.push_str("\nGlobal options:\n");
    flags(&mut text, GLOBALS);
    text.push_str("\n`nrun COMMAND --help` shows the options of a command.\n");
    text
}

/// What `nrun COMMAND --help` shows.
pub fn command(command: &Command) -> String {
    let mut text =
        format!("nrun {} - {}\n\nUsage: nrun {}", command.name, command.about, command.name);
    if !command.flags.is_empty() {
        text.push_str(" [OPTIONS]");
    }
    if !command.operands.is_empty() {
        let _ = write!(text, " {}", command.operands);
    }
    text.push('\n');
    if !command.flags.is_empty() {
        text.push_str("\nOptions:\n");
        flags(&mut text, command.flags);
    }
    text
}

fn flags(text: &mut String, flags: &[Flag]) {
    for flag in flags {
        let letter = flag.short.map_or("    ".to_owned(), |letter| format!("-{letter}, "));
        let value = flag.value.map(|value| format!(" {value}")).unwrap_or_default();
        let name = format!("--{}{value}", flag.name);
        let _ = writeln!(text, "  {letter}{name:<26} {}", flag.about);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_flag_has_help() {
        let text = overview();
        for command_of in COMMANDS {
            assert!(text.contains(command_of.name));
            let own = command(command_of);
            assert!(command_of.flags.iter().all(|flag| own.contains(&format!("--{}", flag.name))));
        }
    }

    #[test]
    fn the_version_has_the_lines_that_engines_look_for() {
        let text = version();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with("nrun version ")
                && lines[1].starts_with("commit: ")
                && lines[2].starts_with("spec: 1.")
        );
    }
}
