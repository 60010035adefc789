//! What is said about a command line that makes no sense: Docker's sentence, and the nearest thing that does.
//!
//! The parser knows what is wrong; this module says it, so that scripts and people who come from Docker see what they
//! know. Exit codes are Docker's: 125 for a flag, 1 for a command or the number of arguments.

use super::limits::LEAST_MEMORY_REFUSAL;
use super::overview;
use crate::suggest::nearest;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

/// What `main` prints, and exits with.
#[derive(Debug, PartialEq, Eq)]
pub struct Complaint {
    /// One line, then perhaps more.
    pub text: String,
    /// What to do instead.
    pub hint: Option<String>,
    /// The exit code. With 0 the text is what was asked for.
    pub code: u8,
}

/// Options whose values Docker's client passes on as they are: that one is wrong its daemon says, and nothing of the flag.
const PASSED_ON: [&str; 9] = [
    "--driver",
    "--log-driver",
    "--name",
    "--platform",
    "--signal",
    "--since",
    "--stop-signal",
    "--type",
    "--until",
];

const WRONG_FLAG: u8 = 125;
const WRONG_COMMAND: u8 = 1;

/// Turns the parser's error into what is said. `words` is the command line without the program's name.
#[must_use]
pub fn complain(mut root: Command, error: &clap::Error, words: &[String]) -> Complaint {
    if error.kind() == ErrorKind::DisplayVersion {
        return asked_for(error.render().to_string());
    }
    root.build();
    complain_by(&root, error, words)
}

/// The same with a definition that is built.
fn complain_by(root: &Command, error: &clap::Error, words: &[String]) -> Complaint {
    let path = addressed(root, words);
    let command = path.last().copied().unwrap_or(root);
    let place = Place { command, name: full_name(&path) };
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" "),
        _ => String::new(),
    };
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        | ErrorKind::MissingSubcommand
            if path.is_empty() =>
        {
            asked_for(overview::overview(root))
        }
        ErrorKind::DisplayHelp => asked_for(help(root, &path, words)),
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            asked_for(command.clone().render_help().to_string())
        }
        ErrorKind::InvalidSubcommand => {
            place.unknown_command(&context(ContextKind::InvalidSubcommand))
        }
        ErrorKind::UnknownArgument => place.unknown_argument(&context(ContextKind::InvalidArg)),
        ErrorKind::MissingRequiredArgument | ErrorKind::TooFewValues => place.too_few(),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::NoEquals => {
            let why = std::error::Error::source(error).map(ToString::to_string);
            let value = context(ContextKind::InvalidValue);
            place.wrong_value(
                &context(ContextKind::InvalidArg),
                &value,
                why,
                &context(ContextKind::ValidValue),
            )
        }
        _ if !error.use_stderr() => asked_for(error.render().to_string()),
        _ => {
            let text = error.render().to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            let line = text.lines().next().unwrap_or_default().to_owned();
            place.complaint(line, None, WRONG_FLAG)
        }
    }
}

fn asked_for(text: String) -> Complaint {
    Complaint { text, hint: None, code: 0 }
}

/// The help as the definition has it. That of what has parsed the line would show a value behind each flag.
fn help(root: &Command, path: &[&Command], words: &[String]) -> String {
    let is_short = !words.iter().any(|word| matches!(word.as_str(), "--help" | "help"));
    let flag = if is_short { "-h" } else { "--help" };
    let names = path.iter().map(|command| command.get_name());
    let line = std::iter::once("nman").chain(names).chain([flag]);
    let asked = root.clone().try_get_matches_from(line);
    asked.err().map(|asked| asked.render().to_string()).unwrap_or_default()
}

/// The commands that the words lead to: `container`, `ls`.
fn addressed<'c>(root: &'c Command, words: &[String]) -> Vec<&'c Command> {
    let mut path = Vec::new();
    let mut command = root;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if let Some(flag) = word.strip_prefix("--") {
            let takes_next =
                flag_of(command, flag).is_some_and(|flag| flag.get_action().takes_values());
            if takes_next && !flag.contains('=') {
                words.next();
            }
        } else if !word.starts_with('-') {
            // `help run` is about `run`.
            match command.find_subcommand(word) {
                Some(found) if found.get_name() != "help" => {
                    path.push(found);
                    command = found;
                }
                Some(_) => {}
                None => break,
            }
        }
    }
    path
}

fn flag_of<'c>(command: &'c Command, long: &str) -> Option<&'c Arg> {
    command.get_arguments().find(|argument| argument.get_long() == Some(long))
}

fn full_name(path: &[&Command]) -> String {
    path.iter().fold("nman".to_owned(), |name, command| format!("{name} {}", command.get_name()))
}

/// The command that is complained about.
struct Place<'c> {
    command: &'c Command,
    name: String,
}

impl Place<'_> {
    fn complaint(&self, text: String, meant: Option<String>, code: u8) -> Complaint {
        let help = format!("see `{} --help`", self.name);
        let hint =
            Some(meant.map_or(help.clone(), |meant| format!("did you mean `{meant}`? {help}")));
        Complaint { text, hint, code }
    }

    fn unknown_command(&self, typed: &str) -> Complaint {
        let commands = self.command.get_subcommands().filter(|command| !command.is_hide_set());
        let names: Vec<&str> = commands
            .flat_map(|command| command.get_all_aliases().chain([command.get_name()]))
            .collect();
        let family = self.name.strip_prefix("nman").map(str::trim_start).unwrap_or_default();
        let whole = if family.is_empty() { typed.to_owned() } else { format!("{family} {typed}") };
        let meant = nearest(typed, names).map(|name| format!("{} {name}", self.name));
        self.complaint(format!("'{whole}' is not a nman command."), meant, WRONG_COMMAND)
    }

    fn unknown_argument(&self, typed: &str) -> Complaint {
        let flag = typed.split(['=', ' ']).next().unwrap_or(typed);
        if let Some(long) = flag.strip_prefix("--") {
            let longs: Vec<&str> = self
                .command
                .get_arguments()
                .filter(|argument| !argument.is_hide_set())
                .flat_map(|argument| argument.get_long_and_visible_aliases().unwrap_or_default())
                .collect();
            let meant = nearest(long, longs).map(|long| format!("--{long}"));
            return self.complaint(format!("unknown flag: {flag}"), meant, WRONG_FLAG);
        }
        if let Some(letter) = flag.strip_prefix('-').and_then(|rest| rest.chars().next()) {
            let text = format!("unknown shorthand flag: '{letter}' in {flag}");
            // One dash too few: `-memory`.
            let long = flag.trim_start_matches('-');
            let meant = flag_of(self.command, long).map(|_| format!("--{long}"));
            return self.complaint(text, meant, WRONG_FLAG);
        }
        self.wrong_number(self.least())
    }

    fn too_few(&self) -> Complaint {
        // What is needed only without another option is not marked as required: it is missing all the same.
        self.wrong_number(self.least().max(1))
    }

    /// How many arguments the command cannot be without.
    fn least(&self) -> usize {
        let required = self.command.get_positionals().filter(|argument| argument.is_required_set());
        required
            .map(|argument| argument.get_num_args().map_or(1, |range| range.min_values().max(1)))
            .sum()
    }

    /// How many arguments there may be, `least` of them at least, in Docker's words.
    fn wrong_number(&self, least: usize) -> Complaint {
        let mut positionals = self.command.get_positionals();
        let many = positionals.any(|one| matches!(one.get_action(), clap::ArgAction::Append));
        let most = (!many).then(|| self.command.get_positionals().count());
        let number = |count: usize| match count {
            1 => "1 argument".to_owned(),
            count => format!("{count} arguments"),
        };
        let said = match most {
            Some(0) => "accepts no arguments".to_owned(),
            Some(most) if most == least => format!("requires exactly {}", number(most)),
            Some(most) if least == 0 => format!("requires at most {}", number(most)),
            Some(most) => format!("requires at least {least} and at most {}", number(most)),
            None => format!("requires at least {}", number(least)),
        };
        self.complaint(format!("\"{}\" {said}.", self.name), None, WRONG_COMMAND)
    }

    fn wrong_value(
        &self,
        argument: &str,
        value: &str,
        why: Option<String>,
        valid: &str,
    ) -> Complaint {
        let written = argument.split([' ', '=', '[']).next().unwrap_or(argument);
        let flag = written.strip_prefix("--").and_then(|long| flag_of(self.command, long));
        let flag = match flag.and_then(Arg::get_short) {
            Some(short) => format!("-{short}, {written}"),
            None => written.to_owned(),
        };
        if value.is_empty() && why.is_none() {
            return self.complaint(format!("flag needs an argument: {written}"), None, WRONG_FLAG);
        }
        let why = why.unwrap_or_else(|| format!("must be one of {}", valid.replace(' ', ", ")));
        let is_least = why.starts_with(LEAST_MEMORY_REFUSAL);
        if is_least || PASSED_ON.contains(&written) || self.is_update_of_policy(written) {
            let code = if self.command.get_name() == "run" { WRONG_FLAG } else { WRONG_COMMAND };
            let meant = nearest(value, valid.split_whitespace()).map(str::to_owned);
            return self.complaint(self.refusal(written, value, why), meant, code);
        }
        let kind = if written.starts_with('-') { " flag" } else { "" };
        let text = format!("invalid argument \"{value}\" for \"{flag}\"{kind}: {why}");
        let meant = nearest(value, valid.split_whitespace()).map(str::to_owned);
        self.complaint(text, meant, WRONG_FLAG)
    }

    /// `update` looks at a restart policy after its flags, `run` and `create` among them.
    fn is_update_of_policy(&self, written: &str) -> bool {
        self.command.get_name() == "update" && written == "--restart"
    }

    /// What Docker's daemon says of a value.
    fn refusal(&self, written: &str, value: &str, why: String) -> String {
        match written {
            "--since" | "--until" => {
                format!("invalid value for \"{}\": {why}", &written[2..])
            }
            "--type" => format!("unknown type: \"{value}\": {why}"),
            "--driver" => format!("plugin \"{value}\" not found: {why}"),
            _ => why,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory as _;
    use std::collections::HashSet;

    fn complaint(line: &str) -> Complaint {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let line = std::iter::once("nman".to_owned()).chain(words.iter().cloned());
        let line: Vec<std::ffi::OsString> = line.map(Into::into).collect();
        let error = Cli::parse_line(&line).unwrap_err();
        complain(Cli::command(), &error, &words)
    }

    #[track_caller]
    fn says(line: &str, code: u8, text: &str, hint: &str) {
        let complaint = complaint(line);
        assert_eq!((complaint.text.as_str(), complaint.code), (text, code), "{line}");
        assert_eq!(complaint.hint.as_deref(), Some(hint), "{line}");
    }

    #[test]
    fn an_unknown_command_names_the_nearest() {
        says(
            "rnu",
            1,
            "'rnu' is not a nman command.",
            "did you mean `nman run`? see `nman --help`",
        );
        says("teleport", 1, "'teleport' is not a nman command.", "see `nman --help`");
        says(
            "container lss",
            1,
            "'container lss' is not a nman command.",
            "did you mean `nman container ls`? see `nman container --help`",
        );
    }

    #[test]
    fn a_value_that_dockers_daemon_refuses_is_no_wrong_flag() {
        for (line, said) in [
            ("kill -s BAD c", "invalid signal: BAD"),
            (
                "inspect --type foo c",
                "unknown type: \"foo\": must be one of container, image, network, volume",
            ),
            ("stop --signal 99 c", "invalid signal: 99"),
            ("create --stop-signal BAD i", "invalid signal: BAD"),
            ("update -m 1m c", "Minimum memory limit allowed is 6MB, and this is 1048576 bytes"),
            ("volume create -d nfs", "plugin \"nfs\" not found: must be one of local"),
        ] {
            let complaint = complaint(line);
            assert_eq!((complaint.text.as_str(), complaint.code), (said, 1), "{line}");
        }
        for line in ["events --since x", "logs --until x c", "pull --platform a/b/c/d i"] {
            assert_eq!(complaint(line).code, 1, "{line}");
        }
        // `run` says everything by 125, and what the flag itself refuses is a wrong flag.
        for line in ["run -m 1m i", "run --stop-signal BAD i", "update -m x c", "stop -t x c"] {
            assert_eq!(complaint(line).code, 125, "{line}");
        }
    }

    #[test]
    fn an_unknown_flag_names_the_nearest() {
        says(
            "run --memmory 1g x",
            125,
            "unknown flag: --memmory",
            "did you mean `--memory`? see `nman run --help`",
        );
        says("ps -x", 125, "unknown shorthand flag: 'x' in -x", "see `nman ps --help`");
        says(
            "--root /x ps --quite",
            125,
            "unknown flag: --quite",
            "did you mean `--quiet`? see `nman ps --help`",
        );
    }

    #[test]
    fn the_number_of_arguments_is_counted_in_dockers_words() {
        says("rm", 1, "\"nman rm\" requires at least 1 argument.", "see `nman rm --help`");
        says("run", 1, "\"nman run\" requires at least 1 argument.", "see `nman run --help`");
        for line in ["start", "start --by-policy=false", "start --by-policy=0"] {
            says(
                line,
                1,
                "\"nman start\" requires at least 1 argument.",
                "see `nman start --help`",
            );
        }
        for (line, command, number) in [
            ("images a b", "images", "at most 1 argument"),
            ("volume create a b", "volume create", "at most 1 argument"),
            ("commit a b c", "commit", "at least 1 and at most 2 arguments"),
            ("import a b c", "import", "at least 1 and at most 2 arguments"),
            ("commit", "commit", "at least 1 and at most 2 arguments"),
        ] {
            let said = format!("\"nman {command}\" requires {number}.");
            says(line, 1, &said, &format!("see `nman {command} --help`"));
        }
        says("ps web", 1, "\"nman ps\" accepts no arguments.", "see `nman ps --help`");
        says(
            "attach",
            1,
            "\"nman attach\" requires exactly 1 argument.",
            "see `nman attach --help`",
        );
    }

    #[test]
    fn a_wrong_value_names_its_flag() {
        let complaint = complaint("run --memory 1q x");
        assert!(
            complaint.text.starts_with("invalid argument \"1q\" for \"-m, --memory\" flag: "),
            "{complaint:?}"
        );
        assert_eq!(complaint.code, 125);
        says("run --memory", 125, "flag needs an argument: --memory", "see `nman run --help`");
        says(
            "run --pull allways x",
            125,
            "invalid argument \"allways\" for \"--pull\" flag: must be one of always, missing, never",
            "did you mean `always`? see `nman run --help`",
        );
        says(
            "run --rm=x i",
            125,
            "invalid argument \"x\" for \"--rm\" flag: strconv.ParseBool: parsing \"x\": invalid syntax",
            "see `nman run --help`",
        );
        says(
            "run -d=x i",
            125,
            "invalid argument \"x\" for \"-d, --detach\" flag: strconv.ParseBool: parsing \"x\": invalid syntax",
            "see `nman run --help`",
        );
        says(
            "ps --no-trunc= ",
            125,
            "invalid argument \"\" for \"--no-trunc\" flag: strconv.ParseBool: parsing \"\": invalid syntax",
            "see `nman ps --help`",
        );
        // A name may be anything: there is none that could be meant.
        let nameless = self::complaint("run --name a x");
        assert_eq!(nameless.hint.as_deref(), Some("see `nman run --help`"));
    }

    /// Every option of every command, with the commands that lead to it.
    fn options(command: &Command, path: &str, found: &mut Vec<(String, String)>) {
        let takes = |argument: &&Arg| argument.get_action().takes_values();
        let longs = command.get_arguments().filter(takes).filter_map(Arg::get_long);
        found.extend(longs.map(|long| (path.to_owned(), format!("--{long}"))));
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            options(sub, format!("{path} {}", sub.get_name()).trim_start(), found);
        }
    }

    #[test]
    fn no_option_answers_a_wrong_value_in_the_words_of_a_library() {
        let mut all = Vec::new();
        options(&Cli::command(), "", &mut all);
        assert!(all.iter().any(|(path, flag)| path == "container run" && flag == "--ip6"));
        // `container run` has the options of `run`, by one definition.
        let short: HashSet<String> = all.iter().map(|(path, _)| path.clone()).collect();
        all.retain(|(path, _)| {
            path.split_once(' ')
                .is_none_or(|(family, rest)| family != "container" || !short.contains(rest))
        });
        let words =
            ["digit found", "is not in", "address syntax", "number too", "out of range", "float"];
        // Made once: each of thousands of lines would take its own else.
        let (mut whole, mut root) = (Cli::whole(), Cli::command());
        whole.build();
        root.build();
        for (path, flag) in all {
            for value in ["x", "-1", "1.5", "1:x", "/dev/a:x", "99999999999999999999", ""] {
                let line = [&["nman"], &*path.split(' ').collect::<Vec<_>>()].concat();
                let line: Vec<std::ffi::OsString> = line
                    .into_iter()
                    .chain([&*format!("{flag}={value}"), "x"])
                    .map(Into::into)
                    .collect();
                let Err(error) = Cli::parse_by(&mut whole, &line) else { continue };
                let text = complain_by(&root, &error, &[]).text;
                assert!(
                    !words.iter().any(|word| text.contains(word)),
                    "{path} {flag}={value}: {text}"
                );
            }
        }
        says(
            "run --stop-timeout x i",
            125,
            "invalid argument \"x\" for \"--stop-timeout\" flag: must be a whole number from -1 to 2147483647",
            "see `nman run --help`",
        );
        says(
            "stop -t 1.5 c",
            125,
            "invalid argument \"1.5\" for \"-t, --time\" flag: must be a whole number from -1 to 2147483647",
            "see `nman stop --help`",
        );
        says(
            "run --health-retries -1 i",
            125,
            "invalid argument \"-1\" for \"--health-retries\" flag: must be a whole number from 0 to 4294967295",
            "see `nman run --help`",
        );
    }

    #[test]
    fn help_is_no_mistake() {
        for line in ["", "--help", "help"] {
            let complaint = complaint(line);
            assert!(complaint.code == 0 && complaint.text.contains("Common Commands:"), "{line}");
        }
        for line in ["run --help", "help run", "container", "container ls --help", "--version"] {
            let complaint = complaint(line);
            assert!(complaint.code == 0 && !complaint.text.contains("Common Commands:"), "{line}");
        }
        assert!(complaint("help run").text.contains("nman run [OPTIONS] IMAGE [COMMAND] [ARG]..."));
    }
}
