//! Options that count as not given where their value is empty, as with Docker: scripts write `--platform "$PLATFORM"` and leave the
//! variable empty where there is nothing to say.
//!
//! They are taken out of the line before it is parsed, so that no value of the program is an empty one. What stands behind the image
//! belongs to the container and stays.

use super::Cli;
use clap::{Arg, Command, CommandFactory as _};
use std::borrow::Cow;
use std::ffi::OsString;

/// Their long names. Others have a meaning when empty (`--entrypoint`), or Docker refuses them (`--memory`).
const OPTIONS: [&str; 19] = [
    "cgroup-parent",
    "cidfile",
    "cpuset-cpus",
    "cpuset-mems",
    "dns-option",
    "domainname",
    "hostname",
    "ip",
    "ip6",
    "log-driver",
    "mac-address",
    "name",
    "platform",
    "pull",
    "runtime",
    "stop-signal",
    "user",
    "volume-driver",
    "workdir",
];

/// The line without such options.
pub(super) fn without_empty_options(line: &[OsString]) -> Cow<'_, [OsString]> {
    // Nearly every line: the definition, which is dear, is not needed.
    if !line.iter().any(|word| may_be_empty(word.as_encoded_bytes())) {
        return line.into();
    }
    let mut root = Cli::command();
    root.build();
    let mut command = &root;
    let mut kept = Vec::with_capacity(line.len());
    let mut words = line.iter();
    kept.extend(words.next().cloned());
    while let Some(word) = words.next() {
        let text = word.to_str().unwrap_or_default();
        if !text.starts_with('-') || text == "-" {
            kept.push(word.clone());
            match command.find_subcommand(text) {
                Some(found) => command = found,
                None => break,
            }
            continue;
        }
        let (argument, has_value) = option(command, text);
        let takes_next = !has_value && argument.is_some_and(takes_a_word);
        let value = if takes_next { words.next() } else { None };
        let is_empty = match value {
            Some(value) => value.is_empty(),
            None => has_value && text.ends_with('='),
        };
        let is_one = argument.and_then(Arg::get_long).is_some_and(|name| OPTIONS.contains(&name));
        if !(is_one && is_empty) {
            kept.push(word.clone());
            kept.extend(value.cloned());
        }
    }
    kept.extend(words.cloned());
    kept.into()
}

/// Whether a word can be an empty value, or an option with one.
fn may_be_empty(word: &[u8]) -> bool {
    word.is_empty() || word.starts_with(b"-") && word.ends_with(b"=")
}

/// The option that a word names, and whether its value is in the word, too. Of several letters in one word, it is the last.
fn option<'c>(command: &'c Command, word: &str) -> (Option<&'c Arg>, bool) {
    let find = |is: &dyn Fn(&Arg) -> bool| command.get_arguments().find(|argument| is(argument));
    if let Some(long) = word.strip_prefix("--") {
        let (name, has_value) = match long.split_once('=') {
            Some((name, _)) => (name, true),
            None => (long, false),
        };
        let is = |argument: &Arg| {
            argument.get_long() == Some(name)
                || argument.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
        };
        return (find(&is), has_value);
    }
    let letters = &word[1..];
    for (at, letter) in letters.char_indices() {
        let Some(found) = find(&|argument| argument.get_short() == Some(letter)) else { break };
        if takes_a_word(found) {
            // `-eA=1` and `-it` with something before it: neither can be left out alone.
            let rest = &letters[at + letter.len_utf8()..];
            return if at == 0 { (Some(found), !rest.is_empty()) } else { (None, true) };
        }
    }
    (None, true)
}

fn takes_a_word(argument: &Arg) -> bool {
    argument.get_action().takes_values() && !argument.is_require_equals_set()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_with_an_empty_value_is_left_out_up_to_the_image() {
        for (line, kept) in [
            ("nman run --name  x", "nman run x"),
            ("nman run --name= -h  x", "nman run x"),
            ("nman run -e A= --name  x", "nman run -e A= x"),
            (
                "nman --root / container run --rm --platform  x",
                "nman --root / container run --rm x",
            ),
            ("nman --runtime  ps -a", "nman ps -a"),
            ("nman run --entrypoint  x", "nman run --entrypoint  x"),
            ("nman run -e --name x --name ", "nman run -e --name x --name "),
            ("nman run x prog --name  --platform=", "nman run x prog --name  --platform="),
            ("nman run -v /a:/b --net  --ip  x ", "nman run -v /a:/b --net  x "),
        ] {
            let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
            assert_eq!(*without_empty_options(&words(line)), words(kept), "{line}");
        }
    }

    #[test]
    fn the_options_are_those_of_the_definition() {
        let mut root = Cli::command();
        root.build();
        let run = root.find_subcommand("run").unwrap();
        for name in OPTIONS {
            let found = run.get_arguments().find(|argument| argument.get_long() == Some(name));
            assert!(found.is_some_and(takes_a_word), "{name}");
        }
    }
}
