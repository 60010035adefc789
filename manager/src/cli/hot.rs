//! The commands that scripts call again and again, parsed without the definitions of all the others.
//!
//! The definition of the whole command line costs more CPU time than most commands themselves. Where the command is
//! one of these, its definition alone is made, and only if it takes the line: any mistake, and any call for help, is
//! parsed again by the whole, which alone knows what to say.

use super::empty::without_empty_options;
use super::flag::with_values;
use super::{
    Cli, CreateArgs, ExecArgs, Global, ImagesArgs, KillArgs, LogsArgs, PsArgs, PullArgs, RmArgs,
    RunArgs, StartArgs, StopArgs, WaitArgs,
};
use clap::{Arg, ArgAction, Args as _, Command, CommandFactory as _, FromArgMatches as _};
use std::ffi::OsString;

/// A command's name, and what adds its arguments.
type Hot = (&'static str, fn(Command) -> Command);

const HOT: &[Hot] = &[
    ("run", RunArgs::augment_args),
    ("create", CreateArgs::augment_args),
    ("exec", ExecArgs::augment_args),
    ("ps", PsArgs::augment_args),
    ("logs", LogsArgs::augment_args),
    ("start", StartArgs::augment_args),
    ("stop", StopArgs::augment_args),
    ("kill", KillArgs::augment_args),
    ("wait", WaitArgs::augment_args),
    ("rm", RmArgs::augment_args),
    ("pull", PullArgs::augment_args),
    ("images", ImagesArgs::augment_args),
];

impl Cli {
    /// Parses a command line, the program's name first.
    pub fn parse_line(line: &[OsString]) -> Result<Self, clap::Error> {
        let line = &*without_empty_options(line);
        let alone = |hot| with_values(definition(hot)).try_get_matches_from(line).ok();
        match hot(line).and_then(alone) {
            Some(mut matches) => Self::from_arg_matches_mut(&mut matches),
            None => Self::parse_by(&mut Self::whole(), line),
        }
    }

    /// All commands, as they are parsed.
    pub(super) fn whole() -> Command {
        with_values(Self::command())
    }

    /// Parses a line by [`Self::whole`].
    pub(super) fn parse_by(whole: &mut Command, line: &[OsString]) -> Result<Self, clap::Error> {
        let mut matches = whole.try_get_matches_from_mut(&*without_empty_options(line))?;
        Self::from_arg_matches_mut(&mut matches)
    }
}

/// The command that a line seems to call: its first word that is neither an option nor may be the value of one. A value
/// that only looks like a command is found out by parsing.
fn hot(line: &[OsString]) -> Option<&'static Hot> {
    let words = line.iter().skip(1).map_while(|word| word.to_str());
    let mut after_option = false;
    for word in words {
        if let Some(hot) = HOT.iter().find(|(name, _)| *name == word) {
            return Some(hot);
        }
        let is_option = word.starts_with('-');
        if !is_option && !after_option {
            return None;
        }
        after_option = is_option && !word.contains('=');
    }
    None
}

fn definition((name, augment): &Hot) -> Command {
    let version = Arg::new("version").short('v').long("version").action(ArgAction::Version);
    Global::augment_args(Command::new("nman").version("").disable_version_flag(true).arg(version))
        .subcommand(augment(Command::new(*name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[test]
    fn a_hot_command_has_the_arguments_that_the_whole_definition_gives_it() {
        let whole = Cli::command();
        for hot in HOT {
            let alone = definition(hot);
            let [one, other] = [&alone, &whole].map(|root| {
                let command = root.find_subcommand(hot.0).expect("a command");
                command.get_arguments().map(|argument| format!("{argument:?}")).collect::<Vec<_>>()
            });
            assert_eq!(one, other, "{}", hot.0);
        }
    }

    #[test]
    fn a_line_means_the_same_either_way() {
        for line in [
            "run -it --rm x ls -l",
            "ps -aq",
            "rm -f a b",
            "exec a ls",
            "--debug ps",
            "--root /r ps -q",
            "--root=/r --debug run x",
            "--root run ps",
            "volume rm x",
            "run --memory 64m x",
        ] {
            let line: Vec<OsString> =
                std::iter::once("nman").chain(line.split(' ')).map(OsString::from).collect();
            let whole = Cli::try_parse_from(&line).map(|cli| format!("{cli:?}"));
            assert_eq!(
                Cli::parse_line(&line).map(|cli| format!("{cli:?}")).unwrap(),
                whole.unwrap()
            );
        }
        let found = |line: &str| {
            let line: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            hot(&line).map(|(name, _)| *name)
        };
        assert_eq!(found("nman --root /r ps"), Some("ps"));
        assert_eq!(found("nman --root=/r volume rm"), None);
        assert_eq!(found("nman volume rm"), None);
        let wrong = ["nman", "ps", "--nosuch"].map(OsString::from);
        assert!(Cli::parse_line(&wrong).is_err());
    }
}
