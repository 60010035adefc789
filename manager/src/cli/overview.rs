//! `nman --help`: every command once, in the groups that a person looks for them in.

use super::{GLOBAL, WIDTH};
use clap::{Arg, Command};
use std::fmt::Write as _;

/// What is used daily comes first, in the order in which one needs it.
const DAILY: &[&str] = &[
    "run", "exec", "ps", "logs", "stop", "rm", "build", "pull", "push", "images", "login",
    "logout", "info", "version",
];

/// The text. A command that has commands of its own is a family.
#[must_use]
pub(super) fn overview(root: &Command) -> String {
    // `help` is known to whoever reads this.
    let is_shown = |command: &&Command| !command.is_hide_set() && command.get_name() != "help";
    let shown = || root.get_subcommands().filter(is_shown);
    let daily: Vec<&Command> = DAILY.iter().filter_map(|name| root.find_subcommand(name)).collect();
    let is_daily = |command: &&Command| DAILY.contains(&command.get_name());
    let families = shown().filter(|command| command.has_subcommands());
    let others =
        shown().filter(|command| !command.has_subcommands()).filter(|command| !is_daily(command));
    let mut text = String::new();
    let about = root.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(text, "Usage:  nman [OPTIONS] COMMAND\n\n{about}");
    group(&mut text, "Common Commands", daily);
    group(&mut text, "Management Commands", sorted(families));
    group(&mut text, "Commands", sorted(others));
    let _ = writeln!(text, "\n{GLOBAL}:");
    for argument in root.get_arguments().filter(|argument| !argument.is_hide_set()) {
        let short = argument.get_short().map_or("    ".to_owned(), |short| format!("-{short}, "));
        let long = argument.get_long().unwrap_or_default();
        let value = argument.get_value_names().filter(|_| argument.get_action().takes_values());
        let value = value.and_then(|names| names.first()).map_or("", |name| name.as_str());
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let origin = origin(argument);
        let option = format!("  {short}--{:<20} ", format!("{long} {value}"));
        wrap(&mut text, option, &format!("{help}{origin}"));
    }
    text.push_str("\nRun 'nman COMMAND --help' for more information on a command.\n");
    text
}

/// Writes words behind the beginning of their first line, in lines that begin below them.
fn wrap(text: &mut String, beginning: String, words: &str) {
    let indent = beginning.len();
    let mut line = beginning;
    for word in words.split(' ') {
        if line.len() + word.len() >= WIDTH && line.len() > indent {
            let _ = writeln!(text, "{}", line.trim_end());
            line = " ".repeat(indent);
        }
        line = line + word + " ";
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

/// Where the value of an option comes from that is not given: ` [env: NMAN_ROOT] [default: /var/lib/nman]`. What the
/// variable holds is not for an overview.
fn origin(argument: &Arg) -> String {
    let mut text = String::new();
    if let Some(name) = argument.get_env() {
        let _ = write!(text, " [env: {}]", name.to_string_lossy());
    }
    if let Some(value) = argument.get_default_values().first().filter(|value| *value != "false") {
        let _ = write!(text, " [default: {}]", value.to_string_lossy());
    }
    text
}

fn sorted<'c>(commands: impl Iterator<Item = &'c Command>) -> Vec<&'c Command> {
    let mut commands: Vec<_> = commands.collect();
    commands.sort_by_key(|command| command.get_name());
    commands
}

fn group(text: &mut String, title: &str, commands: Vec<&Command>) {
    if commands.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{title}:");
    for command in commands {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "  {:<12}{about}", command.get_name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn every_command_is_listed_once() {
        let mut root = crate::cli::Cli::command();
        root.build();
        let text = overview(&root);
        for command in root.get_subcommands() {
            let line = format!("\n  {:<12}", command.get_name());
            let count = usize::from(!command.is_hide_set() && command.get_name() != "help");
            assert_eq!(text.matches(&line).count(), count, "{}", command.get_name());
        }
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let root = "Directory of images, layers and containers [default: /var/lib/nman, a user's is ~/.local/share/nman] [env: NMAN_ROOT] --state";
        assert!(words.contains(root), "{text}");
        assert!(words.contains(" in the container's directory -"), "a flag has neither: {text}");
        assert!(text.starts_with("Usage:  nman [OPTIONS] COMMAND\n"));
        assert!(text.find("Common Commands").unwrap() < text.find("Management Commands").unwrap());
    }
}
