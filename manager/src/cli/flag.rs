//! Options as pflag reads them. Flags that are on or off take a value behind `=`: `--rm=true`, `-d=0`, `-it=false`. All others take
//! the word that follows.
//!
//! The definition knows them as flags without a value, so that help, manual pages, and completion show them as such. What a line is
//! parsed by is a copy of it, made here: there is no other place in which a flag's value is read.

use crate::boolean::boolean;
use clap::builder::Resettable;
use clap::{Arg, ArgAction, Command};
use std::any::TypeId;

/// The command with flags that take a value, and all commands below it.
pub(super) fn with_values(command: Command) -> Command {
    command.mut_args(|argument| with_value(without_empty(argument))).mut_subcommands(with_values)
}

/// A variable of the environment that is there but empty counts as not set, as with Docker's.
fn without_empty(argument: Arg) -> Arg {
    let named = argument.get_env().and_then(std::env::var_os);
    if named.is_some_and(|value| value.is_empty()) {
        argument.env(Resettable::Reset)
    } else {
        argument
    }
}

fn with_value(argument: Arg) -> Arg {
    if argument.get_value_parser().type_id() != TypeId::of::<bool>() {
        return with_next_word(argument);
    }
    let id = argument.get_id().clone();
    let argument = match argument.get_action() {
        ArgAction::SetTrue => argument
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .default_value("false"),
        _ => argument,
    };
    // The last one holds.
    argument.value_parser(boolean).overrides_with(id)
}

/// An option takes the next word for its value whatever that begins with, as pflag has it: `-e -x=1`, `--health-cmd -f`.
fn with_next_word(argument: Arg) -> Arg {
    let takes_one = argument.get_action().takes_values()
        && !argument.is_positional()
        && argument.get_num_args().is_none_or(|number| number.min_values() > 0);
    if !takes_one {
        return argument;
    }
    let argument = argument.allow_hyphen_values(true);
    match argument.get_action() {
        // Of one that has a single value the last holds, as there.
        ArgAction::Set => {
            let id = argument.get_id().clone();
            argument.overrides_with(id)
        }
        _ => argument,
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::{Cli, Command, RunArgs};
    use std::ffi::OsString;

    fn parsed(line: &str) -> Command {
        let line: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        Cli::parse_line(&line).unwrap_or_else(|error| panic!("{line:?}: {error}")).command
    }

    fn run(line: &str) -> RunArgs {
        match parsed(&format!("nman run {line} image")) {
            Command::Run(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_flag_takes_every_value_that_go_takes() {
        for on in ["--rm", "--rm=true", "--rm=1", "--rm=t", "--rm=T", "--rm=TRUE", "--rm=True"] {
            assert!(run(on).create.supervision.rm, "{on}");
        }
        for off in ["-t", "--rm=false", "--rm=0", "--rm=f", "--rm=F", "--rm=FALSE", "--rm=False"] {
            assert!(!run(off).create.supervision.rm, "{off}");
        }
        // The last one holds.
        assert!(!run("--rm --rm=false").create.supervision.rm);
        assert!(run("--rm=false --rm").create.supervision.rm);
    }

    #[test]
    fn a_value_belongs_to_the_last_flag_of_several_in_one_word() {
        let shape = |line: &str| {
            let args = run(line);
            (args.create.interactive, args.create.tty, args.detach)
        };
        assert_eq!(shape("-itd"), (true, true, true));
        assert_eq!(shape("-itd=true"), (true, true, true));
        assert_eq!(shape("-it=false"), (true, false, false));
        assert_eq!(shape("-d=true -t=0"), (false, false, true));
        assert_eq!(shape("-it --name ab"), (true, true, false));
    }

    #[test]
    fn a_flag_takes_no_word_that_follows() {
        let Command::Run(args) = parsed("nman run --rm true -t") else { panic!("no run") };
        assert_eq!(args.create.image(), "true");
        assert_eq!(args.create.command(), ["-t"]);
        let Command::Rm(args) = parsed("nman rm -f=false true") else { panic!("no rm") };
        assert!(!args.force && args.names == ["true"]);
    }

    #[test]
    fn an_option_takes_the_word_that_follows_whatever_it_begins_with() {
        let args = run("-e -x=1 -l -y --health-cmd -f --memory-swap -1 -w --rm --entrypoint --");
        let process = &args.create.process;
        assert_eq!(process.env, [("-x".to_owned(), Some("1".to_owned()))]);
        assert_eq!(process.label, ["-y"]);
        assert_eq!(process.workdir.as_deref(), Some("--rm"));
        assert_eq!(process.entrypoint.as_deref(), Some("--"));
        assert_eq!(args.create.supervision.health_cmd.as_deref(), Some("-f"));
        assert!(!args.create.supervision.rm);
        assert_eq!(args.create.image(), "image");
    }

    #[test]
    fn flags_of_every_command_and_those_that_are_on_by_default_take_the_same() {
        assert!(!run("--sig-proxy=0").sig_proxy);
        assert!(run("--sig-proxy").sig_proxy);
        let Command::Start(args) = parsed("nman start --by-policy=false x") else { panic!() };
        assert!(!args.by_policy && args.names == ["x"]);
        // One that is parsed by the whole definition.
        assert!(matches!(parsed("nman volume ls -q=True"), Command::Volume(_)));
        assert!(matches!(parsed("nman --debug=false info"), Command::Info(_)));
    }
}
