//! Help texts, made from the table: 80 columns wide, whatever the terminal is.

use super::definition::{COMMANDS, Command, Flag, GLOBALS};
use super::words::{self, GROUPS};
use std::fmt::Write;

/// How wide a line of help may be.
const WIDTH: usize = 80;
/// Where the words about a flag or a command begin.
const COLUMN: usize = 30;

/// The version, in the form that engines parse: the first line names it, `commit: ` and `spec: ` follow.
pub fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("nrun version {version}\ncommit: {}\nspec: 1.3.0\n", commit())
}

/// The commit that the binary was built from, where the build said it.
pub fn commit() -> &'static str {
    option_env!("NRUN_COMMIT").unwrap_or("unknown")
}

/// What `nrun --help` shows.
pub fn overview() -> String {
    let mut text = String::from("nrun - a low-level OCI runtime\n\n");
    text.push_str("Usage: nrun [GLOBAL OPTIONS] COMMAND [OPTIONS] [ARGUMENTS]\n");
    for (group, names) in GROUPS {
        let _ = writeln!(text, "\n{group}:");
        for command in names.iter().filter_map(|name| find(name)) {
            entry(&mut text, &format!("  {}", command.name), 14, command.about);
        }
    }
    text.push_str("\nGlobal options:\n");
    flags(&mut text, GLOBALS);
    text.push_str("\n`nrun help COMMAND` shows the options of a command, with examples.\n");
    text
}

/// What `nrun COMMAND --help` shows.
pub fn command(command: &Command) -> String {
    let mut text = String::new();
    wrap(&mut text, &format!("nrun {} - {}", command.name, command.about), 0, 0);
    let _ = writeln!(text, "\nUsage: {}", usage(command));
    let words = words::of(command.name);
    for paragraph in words.map(|words| words.paragraphs).unwrap_or_default() {
        text.push('\n');
        wrap(&mut text, paragraph, 0, 0);
    }
    if !command.flags.is_empty() {
        text.push_str("\nOptions:\n");
        flags(&mut text, command.flags);
    }
    if let Some(words) = words.filter(|words| !words.examples.is_empty()) {
        text.push_str("\nExamples:\n");
        for (line, about) in words.examples {
            let _ = writeln!(text, "  {line}");
            wrap(&mut text, about, 6, 6);
        }
    }
    text.push_str("\n`nrun --help` shows the global options, such as --root and --log.\n");
    text
}

/// How a command is called.
pub(super) fn usage(command: &Command) -> String {
    let options = if command.flags.is_empty() { "" } else { " [OPTIONS]" };
    let space = if command.operands.is_empty() { "" } else { " " };
    format!("nrun {}{options}{space}{}", command.name, command.operands)
}

/// A flag with its letter and what its value is called.
pub(super) fn flag_name(flag: &Flag) -> String {
    let letter = flag.short.map(|letter| format!("-{letter}, ")).unwrap_or_default();
    let value = flag.value.map(|value| format!(" {value}")).unwrap_or_default();
    format!("{letter}--{}{value}", flag.name)
}

fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

fn flags(text: &mut String, flags: &[Flag]) {
    for flag in flags {
        let letter = if flag.short.is_some() { "" } else { "    " };
        entry(text, &format!("  {letter}{}", flag_name(flag)), COLUMN, flag.about);
    }
}

/// A name, and what it is about from a column on; on a line of its own where the name is longer than that.
fn entry(text: &mut String, name: &str, column: usize, about: &str) {
    if name.len() + 1 < column {
        let _ = write!(text, "{name:<column$}");
        wrap(text, about, column, column);
    } else {
        let _ = writeln!(text, "{name}");
        wrap(text, about, 0, column);
    }
}

/// Writes words in lines that begin at column `indent`; the first one has `used` columns already.
fn wrap(text: &mut String, words: &str, used: usize, indent: usize) {
    let mut column = used;
    if used == 0 || text.ends_with('\n') {
        text.extend(std::iter::repeat_n(' ', indent));
        column = indent;
    }
    let mut first = true;
    for word in words.split_whitespace() {
        let length = word.chars().count();
        if !first && column + 1 + length > WIDTH {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', indent));
            column = indent;
            first = true;
        }
        if !first {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
        first = false;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_flag_has_help() {
        let text = overview();
        for command_of in COMMANDS {
            assert!(text.contains(&format!("\n  {} ", command_of.name)), "{}", command_of.name);
            let own = command(command_of);
            assert!(command_of.flags.iter().all(|flag| own.contains(&format!("--{}", flag.name))));
        }
    }

    #[test]
    fn help_fits_into_80_columns() {
        let texts = COMMANDS.iter().map(command).chain([overview()]);
        for line in texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()) {
            assert!(line.chars().count() <= WIDTH && line.trim_end() == line, "{line:?}");
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
