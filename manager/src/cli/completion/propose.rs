//! What could stand where the cursor is: pure, from the definition of the command line.

use crate::container::LogDriver;
use clap::{Arg, Command};

/// Something that could be typed, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The whole word.
    pub word: String,
    /// In a few words; may be empty.
    pub help: String,
}

/// Things whose names are not known from the definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A list of images for several platforms.
    List,
    /// A container or an image.
    Object,
    /// A network.
    Network,
    /// A volume.
    Volume,
    /// A file.
    File,
    /// A directory.
    Directory,
}

/// All that could come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposal {
    /// Words of the definition, each beginning as was typed.
    pub candidates: Vec<Candidate>,
    /// Names of these may come, too.
    pub subject: Option<Subject>,
    /// What has been typed of the name.
    pub begun: String,
    /// What stands before the name in the same word: `--network=`.
    pub before: String,
}

const SIGNALS: [&str; 10] =
    ["HUP", "INT", "QUIT", "ABRT", "KILL", "USR1", "USR2", "TERM", "CONT", "STOP"];

/// What could stand for the last of the words, which are those behind the program's name. `root` is built.
#[must_use]
pub fn propose(root: &Command, words: &[String]) -> Proposal {
    let Some((current, before)) = words.split_last() else { return Proposal::default() };
    let mut line = Line { command: root, operands: 0, value_of: None, raw: false };
    before.iter().for_each(|word| line.pass(word));
    line.propose(current)
}

/// How far a line has been read.
struct Line<'c> {
    command: &'c Command,
    /// Words that were no flags.
    operands: usize,
    /// The flag whose value comes next.
    value_of: Option<&'c Arg>,
    /// No flag can come any more.
    raw: bool,
}

impl<'c> Line<'c> {
    fn pass(&mut self, word: &str) {
        if self.value_of.take().is_some() {
            return;
        }
        if self.raw {
            self.operands += 1;
        } else if word == "--" {
            self.raw = true;
        } else if let Some(long) = word.strip_prefix("--") {
            self.value_of = self.long(long).filter(|flag| takes_next(flag));
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            let flags = letters.char_indices().find_map(|(at, letter)| {
                let flag = self.short(letter).filter(|flag| takes_next(flag))?;
                Some((flag, at + letter.len_utf8() == letters.len()))
            });
            self.value_of = flags.and_then(|(flag, is_last)| is_last.then_some(flag));
        } else if self.operands == 0
            && let Some(command) = self.command.find_subcommand(word)
        {
            self.command = command;
        } else {
            self.raw = self.operand(self.operands).is_some_and(Arg::is_trailing_var_arg_set);
            self.operands += 1;
        }
    }

    fn propose(&self, current: &str) -> Proposal {
        if let Some(flag) = self.value_of {
            return values(flag, 0, "", current);
        }
        if !self.raw && current.starts_with('-') {
            return match current.strip_prefix("--").and_then(|word| word.split_once('=')) {
                Some((long, value)) => match self.long(long) {
                    Some(flag) => values(flag, 0, &format!("--{long}="), value),
                    None => Proposal::default(),
                },
                None => self.flags(current),
            };
        }
        if self.operands == 0 && self.command.has_subcommands() {
            let commands = self.command.get_subcommands().filter(|command| !command.is_hide_set());
            let words = commands.map(|command| {
                let about = command.get_about().map(ToString::to_string).unwrap_or_default();
                (command.get_name().to_owned(), about)
            });
            return Proposal { candidates: begun_as(words, current), ..Proposal::default() };
        }
        match self.operand(self.operands) {
            Some(argument) => {
                let first = argument.get_index().unwrap_or(1) - 1;
                values(argument, self.operands - first.min(self.operands), "", current)
            }
            None => Proposal::default(),
        }
    }

    fn flags(&self, current: &str) -> Proposal {
        let flags = self
            .command
            .get_arguments()
            .filter(|flag| !flag.is_positional() && !flag.is_hide_set());
        let words = flags.flat_map(|flag| {
            let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
            let longs = flag.get_long_and_visible_aliases().unwrap_or_default();
            let longs = longs.into_iter().map(|long| format!("--{long}"));
            let short = flag.get_short().map(|short| format!("-{short}"));
            longs.chain(short).map(move |word| (word, help.clone())).collect::<Vec<_>>()
        });
        Proposal { candidates: begun_as(words, current), ..Proposal::default() }
    }

    fn long(&self, name: &str) -> Option<&'c Arg> {
        self.command.get_arguments().find(|flag| {
            flag.get_long_and_visible_aliases().is_some_and(|longs| longs.contains(&name))
        })
    }

    fn short(&self, letter: char) -> Option<&'c Arg> {
        self.command.get_arguments().find(|flag| flag.get_short() == Some(letter))
    }

    /// The positional argument that takes the operand: the last one takes all that follow, if it takes several.
    fn operand(&self, number: usize) -> Option<&'c Arg> {
        let all: Vec<&Arg> = self.command.get_positionals().collect();
        let many = |argument: &&&Arg| matches!(argument.get_action(), clap::ArgAction::Append);
        all.get(number).or_else(|| all.last().filter(many)).copied()
    }
}

/// Whether the value of a flag is the word behind it.
fn takes_next(flag: &Arg) -> bool {
    flag.get_action().takes_values() && !flag.is_require_equals_set()
}

/// What the `number`th value of an argument could be.
fn values(argument: &Arg, number: usize, before: &str, current: &str) -> Proposal {
    let possible = argument.get_possible_values();
    let help = |value: &clap::builder::PossibleValue| {
        value.get_help().map(ToString::to_string).unwrap_or_default()
    };
    let words = possible
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| (format!("{before}{}", value.get_name()), help(value)));
    let mut candidates = begun_as(words, &format!("{before}{current}"));
    let names = argument.get_value_names().unwrap_or_default();
    let names: Vec<&str> = names.iter().flat_map(|name| name.split(' ')).collect();
    let name = names.get(number).or(names.last()).copied().unwrap_or_default();
    let usual = usual(argument.get_id().as_str(), name).into_iter();
    let usual = usual.map(|word| (format!("{before}{word}"), String::new()));
    candidates.extend(begun_as(usual, &format!("{before}{current}")));
    let subject = if possible.is_empty() { subject(name, argument.is_positional()) } else { None };
    Proposal { candidates, subject, begun: current.to_owned(), before: before.to_owned() }
}

/// The usual values of an argument that takes others, too.
fn usual(argument: &str, value: &str) -> Vec<&'static str> {
    match (argument, value) {
        (_, "SIGNAL") => SIGNALS.to_vec(),
        ("log_driver", _) => LogDriver::ALL.map(LogDriver::as_str).to_vec(),
        ("restart", _) => vec!["no", "on-failure", "always", "unless-stopped"],
        _ => Vec::new(),
    }
}

/// What a value is follows from what the help calls it.
fn subject(name: &str, is_operand: bool) -> Option<Subject> {
    let name = name.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != ':');
    Some(match name {
        "CONTAINER" => Subject::Container,
        "IMAGE" | "SOURCE_IMAGE" | "docker://]IMAGE" | "DIGEST|IMAGE" => Subject::Image,
        "LIST[:TAG" => Subject::List,
        "NETWORK" => Subject::Network,
        "VOLUME" => Subject::Volume,
        "NAME" | "OBJECT" if is_operand => Subject::Object,
        "FILE" | "PATH" | "ARG" | "COMMAND" | "ARCHIVE" => Subject::File,
        "DIR" => Subject::Directory,
        name if name.starts_with("SOURCE:") || name.contains("SOURCE]") => Subject::File,
        _ => return None,
    })
}

fn begun_as(words: impl Iterator<Item = (String, String)>, current: &str) -> Vec<Candidate> {
    let candidate = |(word, help): (String, String)| Candidate {
        word,
        help: help.lines().next().unwrap_or_default().to_owned(),
    };
    words.filter(|(word, _)| word.starts_with(current)).map(candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn proposed(line: &str) -> Proposal {
        let mut root = crate::cli::Cli::command();
        root.build();
        propose(&root, &line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    fn words(line: &str) -> Vec<String> {
        proposed(line).candidates.into_iter().map(|candidate| candidate.word).collect()
    }

    #[test]
    fn commands_and_flags_come_from_the_definition() {
        assert!(words("ru").contains(&"run".to_owned()));
        assert!(words("container l").contains(&"ls".to_owned()));
        assert_eq!(words("run --cpuset-c"), ["--cpuset-cpus"]);
        assert!(words("ps -").contains(&"-a".to_owned()));
        assert!(words("run x -").is_empty(), "flags behind the image are the container's");
        assert!(!words("").iter().any(|word| word.starts_with("__")));
    }

    #[test]
    fn values_are_known_by_what_the_help_calls_them() {
        for (line, subject) in [
            ("run ", Subject::Image),
            ("run -it --name web ", Subject::Image),
            ("run busybox ", Subject::File),
            ("exec we", Subject::Container),
            ("rm a b ", Subject::Container),
            ("rmi ", Subject::Image),
            ("manifest push ", Subject::List),
            ("manifest add x ", Subject::Image),
            ("manifest annotate x ", Subject::Image),
            ("inspect ", Subject::Object),
            ("run --env-file ", Subject::File),
            ("--root ", Subject::Directory),
        ] {
            assert_eq!(proposed(line).subject, Some(subject), "{line}");
        }
        assert_eq!(proposed("run --name "), Proposal::default());
    }

    #[test]
    fn a_value_may_stand_in_the_word_of_its_flag() {
        assert_eq!(words("run --pull=al"), ["--pull=always"]);
        assert_eq!(words("run --pull al"), ["always"]);
        let proposal = proposed("run --env-file=a");
        assert_eq!((proposal.subject, proposal.begun.as_str()), (Some(Subject::File), "a"));
        assert_eq!(proposal.before, "--env-file=");
        assert_eq!(words("kill --signal=TE"), ["--signal=TERM"]);
        assert_eq!(words("run --log-driver j"), ["json-file", "journald"]);
        assert_eq!(words("create --restart=un"), ["--restart=unless-stopped"]);
    }
}
