//! Scripts that complete command lines in a shell, made from the table.
//!
//! What is completed follows from what the value of a flag or an operand is called: `DIR`, `FILE`, `ID`, or `one|other`.

use super::definition::{COMMANDS, Command, Flag, GLOBALS};
use crate::error::{Error, Result};
use std::fmt::Write;

/// The script for a shell.
///
/// # Errors
/// When there is none for it.
pub fn script(shell: &str) -> Result<String> {
    match shell {
        "bash" => Ok(bash()),
        "zsh" => Ok(zsh()),
        "fish" => Ok(fish()),
        other => {
            Err(Error::Usage(format!("no completion for `{other}`: there is bash, zsh and fish")))
        }
    }
}

/// What an operand or the value of a flag is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    File,
    Container,
    Command,
    Signal,
    /// One of these, with `|` between them.
    Choice(&'static str),
    Other,
}

fn kind(name: &'static str) -> Kind {
    match name.trim_matches(['[', ']']) {
        "DIR" => Kind::Directory,
        "FILE" | "PATH" => Kind::File,
        "ID" => Kind::Container,
        "COMMAND" => Kind::Command,
        "SIGNAL" => Kind::Signal,
        name if name.contains('|') && !name.contains(':') => Kind::Choice(name),
        _ => Kind::Other,
    }
}

/// The kinds of the first operands. The id of a container that is to be made is nobody's yet.
fn operands(command: &Command) -> Vec<Kind> {
    let fresh = ["create", "plan", "restore", "run"].contains(&command.name);
    let names = command.operands.split(' ').filter(|name| !name.is_empty());
    let kinds = names.map(|name| match kind(name) {
        Kind::Container if fresh => Kind::Other,
        Kind::Command if command.raw => Kind::Other,
        kind => kind,
    });
    kinds.collect()
}

const SIGNALS: &str = "HUP INT QUIT ABRT KILL USR1 USR2 TERM CONT STOP WINCH";

fn command_names() -> String {
    COMMANDS.iter().map(|command| command.name).collect::<Vec<_>>().join(" ")
}

/// Every spelling of a flag that is worth completing.
fn spellings(flag: &Flag) -> Vec<String> {
    let letter = flag.short.map(|letter| format!("-{letter}"));
    std::iter::once(format!("--{}", flag.name)).chain(letter).collect()
}

fn bash() -> String {
    let word = |kind: Kind| match kind {
        Kind::Directory => "dir".to_owned(),
        Kind::File => "file".to_owned(),
        Kind::Container => "id".to_owned(),
        Kind::Command => "command".to_owned(),
        Kind::Signal => "signal".to_owned(),
        Kind::Choice(choices) => choices.replace('|', " "),
        Kind::Other => "other".to_owned(),
    };
    let mut flags = String::new();
    let mut values = String::new();
    let mut kinds = String::new();
    let scopes = COMMANDS.iter().map(|command| (command.name, command.flags));
    for (scope, listed) in scopes.chain([("", GLOBALS)]) {
        let names: Vec<String> = listed.iter().flat_map(spellings).collect();
        let pattern = if scope.is_empty() { "''" } else { scope };
        let _ = writeln!(flags, "    {pattern}) echo '{}' ;;", names.join(" "));
        let prefix = if scope.is_empty() { "*" } else { scope };
        for flag in listed {
            let Some(value) = flag.value else { continue };
            // Go takes a long flag with one dash, too.
            let spelled = spellings(flag).into_iter().chain([format!("-{}", flag.name)]);
            let patterns: Vec<String> = spelled.map(|name| format!("{prefix}:{name}")).collect();
            let _ =
                writeln!(values, "    {}) echo '{}' ;;", patterns.join(" | "), word(kind(value)));
        }
    }
    for command in COMMANDS {
        for (place, kind) in operands(command).into_iter().enumerate() {
            if kind != Kind::Other {
                let _ = writeln!(kinds, "    {}:{place}) echo '{}' ;;", command.name, word(kind));
            }
        }
    }
    include_str!("completion.bash")
        .replace("    @FLAGS@\n", &flags)
        .replace("    @VALUES@\n", &values)
        .replace("    @OPERANDS@\n", &kinds)
        .replace("@COMMANDS@", &command_names())
        .replace("@SIGNALS@", SIGNALS)
}

/// For single quotes in zsh's and fish's tables.
fn quoted(text: &str) -> String {
    text.replace('\'', "’")
}

fn zsh() -> String {
    let action = |kind: Kind| match kind {
        Kind::Directory => "_directories".to_owned(),
        Kind::File => "_files".to_owned(),
        Kind::Container => "_nrun_ids".to_owned(),
        Kind::Command => format!("({})", command_names()),
        Kind::Signal => format!("({SIGNALS})"),
        Kind::Choice(choices) => format!("({})", choices.replace('|', " ")),
        Kind::Other => " ".to_owned(),
    };
    let flag_specs = |text: &mut String, flags: &[Flag], indent: &str| {
        for flag in flags {
            let about = quoted(flag.about).replace('[', "(").replace(']', ")").replace(':', "\\:");
            let value = flag
                .value
                .map(|value| format!(":{}:{}", value.replace(':', "\\:"), action(kind(value))));
            let value = value.unwrap_or_default();
            for name in spellings(flag) {
                let equals = if name.starts_with("--") && flag.value.is_some() { "=" } else { "" };
                let _ = writeln!(text, "{indent}'*{name}{equals}[{about}]{value}' \\");
            }
        }
    };
    let mut globals = String::new();
    flag_specs(&mut globals, GLOBALS, "        ");
    let mut commands = String::new();
    let mut cases = String::new();
    for command in COMMANDS {
        let _ = writeln!(commands, "            '{}:{}'", command.name, quoted(command.about));
        let _ = writeln!(cases, "        {})\n            _arguments -s -S \\", command.name);
        flag_specs(&mut cases, command.flags, "                ");
        for (place, kind) in operands(command).into_iter().enumerate() {
            let _ = writeln!(cases, "                '{}: :{}' \\", place + 1, action(kind));
        }
        cases.push_str("                && return 0\n            ;;\n");
    }
    include_str!("completion.zsh")
        .replace("        @GLOBALS@\n", &globals)
        .replace("            @COMMANDS@\n", &commands)
        .replace("        @CASES@\n", &cases)
}

fn fish() -> String {
    let values = |kind: Kind| match kind {
        Kind::Directory => " -a '(__fish_complete_directories)'".to_owned(),
        Kind::File => " -F".to_owned(),
        Kind::Container => " -a '(__nrun_ids)'".to_owned(),
        Kind::Command => format!(" -a '{}'", command_names()),
        Kind::Signal => format!(" -a '{SIGNALS}'"),
        Kind::Choice(choices) => format!(" -a '{}'", choices.replace('|', " ")),
        Kind::Other => String::new(),
    };
    let mut text = String::new();
    let flag_lines = |text: &mut String, condition: &str, flags: &[Flag]| {
        for flag in flags {
            let letter = flag.short.map(|letter| format!(" -s {letter}")).unwrap_or_default();
            let value = flag
                .value
                .map(|value| {
                    // Nothing but what is listed, where that is not files.
                    let only = if kind(value) == Kind::File { "-r" } else { "-x" };
                    format!(" {only}{}", values(kind(value)))
                })
                .unwrap_or_default();
            let about = quoted(flag.about);
            let name = flag.name;
            let _ = writeln!(
                text,
                "complete -c nrun -n '{condition}' -l {name}{letter}{value} -d '{about}'"
            );
        }
    };
    flag_lines(&mut text, "__nrun_at 0", GLOBALS);
    for command in COMMANDS {
        let (name, about) = (command.name, quoted(command.about));
        let _ = writeln!(text, "complete -c nrun -n '__nrun_at 0' -a {name} -d '{about}'");
        flag_lines(&mut text, &format!("__nrun_in {name}"), command.flags);
        for (place, kind) in operands(command).into_iter().enumerate() {
            let values = values(kind);
            if !values.is_empty() {
                let _ = writeln!(
                    text,
                    "complete -c nrun -n '__nrun_in {name}; and __nrun_at {}'{values}",
                    place + 1
                );
            }
        }
    }
    let with_values = COMMANDS.iter().flat_map(|command| command.flags).chain(GLOBALS);
    let mut names: Vec<String> =
        with_values.filter(|flag| flag.value.is_some()).flat_map(spellings).collect();
    names.sort_unstable();
    names.dedup();
    include_str!("completion.fish")
        .replace("@VALUES@", &names.join(" "))
        .replace("@TABLE@\n", &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_names_every_command_and_flag_and_has_no_gap_left() {
        for shell in ["bash", "zsh", "fish"] {
            let script = script(shell).unwrap();
            for command in COMMANDS {
                assert!(script.contains(command.name), "{shell}: {}", command.name);
                for flag in command.flags {
                    assert!(script.contains(flag.name), "{shell}: {}", flag.name);
                }
            }
            for gap in
                ["FLAGS", "VALUES", "OPERANDS", "COMMANDS", "SIGNALS", "GLOBALS", "CASES", "TABLE"]
            {
                assert!(!script.contains(&format!("@{gap}@")), "{shell}: {gap}");
            }
        }
        assert!(script("tcsh").is_err());
    }

    #[test]
    fn an_id_is_completed_where_a_container_is_there_already() {
        let ids = |name: &str| {
            let command = COMMANDS.iter().find(|command| command.name == name).unwrap();
            operands(command).contains(&Kind::Container)
        };
        assert!(ids("state") && ids("exec") && ids("kill") && ids("delete") && ids("start"));
        assert!(!ids("create") && !ids("run"));
    }
}
