//! From the arguments to a command, its flags and its operands.

use super::definition::{COMMANDS, Command, Flag, GLOBALS};
use super::{help, suggest};
use crate::error::{Error, Result};

/// What was typed.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The command, if there is one.
    pub command: Option<&'static Command>,
    /// Flags before and after the command, in order, with their values.
    flags: Vec<(&'static Flag, Option<String>)>,
    /// Operands.
    pub operands: Vec<String>,
}

impl Parsed {
    /// The last value of a flag.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).last()
    }

    /// Every value of a flag that may be repeated.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.flags
            .iter()
            .filter(move |(flag, _)| flag.name == name && flag.value.is_some())
            .filter_map(|(_, value)| value.as_deref())
    }

    /// Whether a switch is on.
    pub fn is_set(&self, name: &str) -> bool {
        let is_it = |flag: &Flag| flag.name == name && flag.value.is_none();
        let last = self.flags.iter().rev().find(|(flag, _)| is_it(flag));
        last.is_some_and(|(_, value)| value.as_deref() != Some("false"))
    }

    /// A flag that is a number.
    ///
    /// # Errors
    /// When its value is none.
    pub fn number(&self, name: &str) -> Result<Option<u32>> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                Error::Usage(format!(
                    "invalid value `{text}` for flag --{name}: it must be a whole number, 0 or more"
                ))
            })
        };
        self.value(name).map(parse).transpose()
    }

    /// Whether `--format` asks for JSON, and not for a table.
    ///
    /// # Errors
    /// When it is neither. The first words are runc's.
    pub fn wants_json(&self) -> Result<bool> {
        match self.value("format") {
            None | Some("table") => Ok(false),
            Some("json") => Ok(true),
            Some(other) => Err(Error::Usage(format!(
                "invalid format option `{other}`: it is `table` or `json`"
            ))),
        }
    }
}

/// Parses the arguments, without the program's name.
#[cfg(test)]
pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Parsed> {
    let mut parsed = Parsed::default();
    parsed.read(args).map(|()| parsed)
}

/// The command with this name.
///
/// # Errors
/// When there is none; the error names the nearest one.
pub fn command(name: &str) -> Result<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name).ok_or_else(|| {
        let nearest = suggest::of_another_tool(name)
            .or_else(|| suggest::nearest(name, COMMANDS.iter().map(|command| command.name)));
        Error::NoCommand { name: name.to_owned(), nearest }
    })
}

impl Parsed {
    /// Reads the arguments, without the program's name. What stands before a fault is kept: the log is there.
    ///
    /// # Errors
    /// For a flag or command that does not exist, a flag without its value, or the wrong number of operands.
    pub fn read(&mut self, args: impl IntoIterator<Item = String>) -> Result<()> {
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let raw = self.command.is_some_and(|command| command.raw) && !self.operands.is_empty();
            if raw {
                // What follows the id is the container's command line, `--` before it or not.
                if arg != "--" || self.operands.len() > 1 {
                    self.operands.push(arg);
                }
            } else if arg == "--" && self.command.is_some() {
                self.operands.extend(args.by_ref());
            } else if arg.len() > 1 && arg.starts_with('-') {
                self.flag(&arg, &mut args)?;
            } else if self.command.is_none() {
                self.command = Some(command(&arg)?);
            } else {
                self.operands.push(arg);
            }
        }
        self.count_operands()
    }

    fn flag(&mut self, arg: &str, rest: &mut impl Iterator<Item = String>) -> Result<()> {
        let (name, attached) = match arg.trim_start_matches('-').split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (arg.trim_start_matches('-'), None),
        };
        let Some(flag) = self.find(name) else {
            return self.cluster(arg, name);
        };
        let value = match (flag.value, attached) {
            (Some(_), None) => {
                let missing = || Error::Usage(format!("flag needs an argument: {arg}"));
                Some(rest.next().ok_or_else(missing)?)
            }
            (None, Some(value)) => {
                let invalid = || {
                    Error::Usage(format!(
                        "invalid boolean value \"{value}\" for --{}: it is `true` or `false`",
                        flag.name
                    ))
                };
                Some(boolean(&value).ok_or_else(invalid)?.to_string())
            }
            (_, attached) => attached,
        };
        self.flags.push((flag, value));
        Ok(())
    }

    /// A flag of the command, or one of the globals.
    fn find(&self, name: &str) -> Option<&'static Flag> {
        let own = self.command.map_or(&[][..], |command| command.flags);
        let mut letters = name.chars();
        let letter = letters.next().filter(|_| letters.next().is_none());
        own.iter()
            .chain(GLOBALS)
            .find(|flag| flag.name == name || letter.is_some() && flag.short == letter)
    }

    /// Several switches behind one dash, as in `-dt`.
    fn cluster(&mut self, arg: &str, letters: &str) -> Result<()> {
        let unknown = || {
            let own = self.command.map_or(&[][..], |command| command.flags);
            let names = own.iter().chain(GLOBALS).map(|flag| flag.name);
            Error::NoFlag {
                arg: arg.split('=').next().unwrap_or_default().to_owned(),
                command: self.command.map(|command| command.name),
                nearest: suggest::nearest(letters, names),
            }
        };
        if arg.starts_with("--") {
            return Err(unknown());
        }
        let flag =
            |letter: char| self.find(&letter.to_string()).filter(|flag| flag.value.is_none());
        let flags: Option<Vec<&'static Flag>> = letters.chars().map(flag).collect();
        let flags = flags.ok_or_else(unknown)?;
        self.flags.extend(flags.into_iter().map(|flag| (flag, None)));
        Ok(())
    }

    fn count_operands(&self) -> Result<()> {
        let Some(command) = self.command else { return Ok(()) };
        let (least, most) = command.count;
        if (least..=most).contains(&self.operands.len()) || self.is_set("help") {
            return Ok(());
        }
        // runc's words.
        let need = match (least, most) {
            (least, most) if least == most => format!("exactly {least}"),
            (least, _) if self.operands.len() < least => format!("a minimum of {least}"),
            (_, most) => format!("a maximum of {most}"),
        };
        let usage = help::usage(command);
        Err(Error::Usage(format!(
            "\"{}\" requires {need} argument(s): usage: {usage}",
            command.name
        )))
    }
}

/// What Go's flag package takes for a switch.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Parsed> {
        parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_containerd_writes_is_taken() {
        let parsed =
            line("--root /r --log /l --log-format json create --bundle /b --pid-file /p c1")
                .unwrap();
        assert_eq!(parsed.command.unwrap().name, "create");
        assert_eq!(parsed.value("root"), Some("/r"));
        assert_eq!(parsed.value("bundle"), Some("/b"));
        assert_eq!(parsed.operands, ["c1"]);
    }

    #[test]
    fn flags_are_taken_after_the_id_with_one_dash_or_with_an_equals_sign() {
        let parsed = line("run c1 -no-subreaper --bundle=/b -d").unwrap();
        assert!(parsed.is_set("no-subreaper") && parsed.is_set("detach"));
        assert_eq!(parsed.value("bundle"), Some("/b"));
        assert!(!line("run --detach=false c1").unwrap().is_set("detach"));
        assert!(!line("run -d -detach=F c1").unwrap().is_set("detach"));
        assert!(line("run -detach=1 c1").unwrap().is_set("detach"));
    }

    #[test]
    fn what_follows_two_dashes_is_no_flag_and_the_last_of_a_repeated_flag_counts() {
        let parsed = line("checkpoint --help").or_else(|_| line("create --help")).unwrap();
        assert!(parsed.is_set("help"), "without an id");
        assert_eq!(line("start -- -x").unwrap().operands, ["-x"]);
        let parsed = line("create -b /a --bundle /b -bundle /c c1").unwrap();
        assert_eq!(parsed.value("bundle"), Some("/c"));
        assert!(line("run --keep --keep c1").unwrap().is_set("keep"));
    }

    #[test]
    fn a_slip_is_answered_with_what_was_meant() {
        for (text, meant) in [
            ("crate c1", "did you mean `nrun create`?"),
            ("ls", "did you mean `nrun list`?"),
            ("rm c1", "did you mean `nrun delete`?"),
            ("create --bundel /b c1", "did you mean --bundle?"),
            ("create --pidfile /b c1", "did you mean --pid-file?"),
            ("kill c1 -KILL", "a signal has no dash: `nrun kill ID KILL`"),
            ("kill -9 c1", "a signal has no dash: `nrun kill ID 9`"),
            ("kill --al c1", "did you mean --all?"),
        ] {
            let error = line(text).unwrap_err();
            assert_eq!(error.hint().as_deref(), Some(meant), "{text}: {error}");
        }
        assert_eq!(line("xyzzy").unwrap_err().hint().unwrap(), "`nrun --help` shows the commands");
    }

    #[test]
    fn the_command_line_of_exec_is_left_alone() {
        let parsed = line("exec -t -e A=1 -e B=2 c1 sh -c --help -- x").unwrap();
        assert_eq!(parsed.operands, ["c1", "sh", "-c", "--help", "--", "x"]);
        assert_eq!(parsed.values("env").collect::<Vec<_>>(), ["A=1", "B=2"]);
        assert_eq!(line("exec c1 -- sh").unwrap().operands, ["c1", "sh"]);
    }

    #[test]
    fn switches_may_share_a_dash() {
        let parsed = line("exec -dt c1 sh").unwrap();
        assert!(parsed.is_set("detach") && parsed.is_set("tty"));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, message) in [
            ("crate c1", "No help topic for 'crate'"),
            ("create --bundel /b c1", "flag provided but not defined: --bundel"),
            ("create c1 --bundle", "flag needs an argument: --bundle"),
            ("create", "\"create\" requires exactly 1 argument(s)"),
            ("start a b", "\"start\" requires exactly 1 argument(s)"),
            ("exec", "\"exec\" requires a minimum of 1 argument(s)"),
            ("kill a b c", "\"kill\" requires a maximum of 2 argument(s)"),
            ("delete --force=maybe c1", "invalid boolean value \"maybe\""),
        ] {
            let error = line(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
