//! Manual pages in the man(7) macros, made from the table: one for nrun and one for each command.

use super::definition::{COMMANDS, Command, Flag, GLOBALS};
use super::help::{flag_name, usage};
use super::words::{self, GROUPS};
use std::fmt::Write;

/// What a caller may do with the exit status.
const EXIT_STATUS: &str = "0 when everything was done, and 1 when not. `run` in the foreground and `exec` give the status of \
    the process, or 128 and the number of the signal that ended it; `exec` gives 255 when there was none. A command that does \
    not exist gives 3.";

/// The files that concern an operator.
const FILES: &[(&str, &str)] = &[
    (
        "/run/nrun",
        "the state of containers where --root does not say; XDG_RUNTIME_DIR/nrun for a user who is not root",
    ),
    ("/run/nrun-failures", "what `explain` reads, at most 32 small files"),
    ("config.json", "what a container is to be, in its bundle"),
];

/// Every page: the name of its file, and its text.
pub fn pages() -> Vec<(String, String)> {
    let first = ("nrun.8".to_owned(), page(None));
    let others =
        COMMANDS.iter().map(|command| (format!("nrun-{}.8", command.name), page(Some(command))));
    std::iter::once(first).chain(others).collect()
}

/// The page of a command, or the first one.
pub fn page(command: Option<&Command>) -> String {
    match command {
        Some(command) => page_of(command),
        None => first_page(),
    }
}

fn first_page() -> String {
    let mut text = head("nrun", "a low-level OCI runtime");
    text.push_str(
        ".B nrun\n[\\fIGLOBAL OPTIONS\\fR] \\fICOMMAND\\fR [\\fIOPTIONS\\fR] [\\fIARGUMENTS\\fR]\n",
    );
    text.push_str(".SH DESCRIPTION\n");
    paragraph(&mut text, words::NRUN);
    text.push_str(".SH COMMANDS\n");
    for (group, names) in GROUPS {
        let commands = || {
            names.iter().filter_map(|name| COMMANDS.iter().find(|command| command.name == *name))
        };
        if commands().next().is_some() {
            let _ = writeln!(text, ".SS {}", escape(group));
        }
        for command in commands() {
            let _ = writeln!(text, ".TP\n.BR nrun\\-{} (8)", escape(command.name));
            paragraph(&mut text, command.about);
        }
    }
    text.push_str(".SH GLOBAL OPTIONS\n");
    flags(&mut text, GLOBALS);
    paragraph(
        &mut text,
        ".PP\nA long flag may have one dash or two, and its value may follow an equals sign. Flags of a \
         command are taken before and after the id of the container; what follows `--` is no flag.",
    );
    text.push_str(".SH EXIT STATUS\n");
    paragraph(&mut text, EXIT_STATUS);
    text.push_str(".SH FILES\n");
    for (name, about) in FILES {
        let _ = writeln!(text, ".TP\n.I {}", escape(name));
        paragraph(&mut text, about);
    }
    text
}

fn page_of(command: &Command) -> String {
    let mut text = head(&format!("nrun-{}", command.name), command.about);
    let rest = usage(command).split_off(format!("nrun {}", command.name).len());
    let _ = writeln!(text, ".B nrun {}\n{}", escape(command.name), escape(rest.trim_start()));
    let words = words::of(command.name);
    let paragraphs = words.map(|words| words.paragraphs).unwrap_or_default();
    if !paragraphs.is_empty() {
        text.push_str(".SH DESCRIPTION\n");
    }
    for (number, words) in paragraphs.iter().enumerate() {
        if number > 0 {
            text.push_str(".PP\n");
        }
        paragraph(&mut text, words);
    }
    if !command.flags.is_empty() {
        text.push_str(".SH OPTIONS\n");
        flags(&mut text, command.flags);
    }
    let examples = words.map(|words| words.examples).unwrap_or_default();
    if !examples.is_empty() {
        text.push_str(".SH EXAMPLES\n");
    }
    for (line, about) in examples {
        let _ = writeln!(text, ".TP\n.B {}", escape(line));
        paragraph(&mut text, about);
    }
    text.push_str(".SH SEE ALSO\n.BR nrun (8)\n");
    text
}

/// Title, name, and the heading of what follows. No date: the same version always gives the same page.
fn head(name: &str, about: &str) -> String {
    let title = escape(&name.to_uppercase());
    let version = escape(env!("CARGO_PKG_VERSION"));
    format!(
        ".TH {title} 8 \"\" \"nrun {version}\" \"nrun\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n",
        escape(name),
        marked(about)
    )
}

fn flags(text: &mut String, flags: &[Flag]) {
    for flag in flags {
        let _ = writeln!(text, ".TP\n.B {}", escape(&flag_name(flag)));
        paragraph(text, flag.about);
    }
}

fn paragraph(text: &mut String, words: &str) {
    let (request, words) = match words.split_once('\n') {
        Some((request, words)) if request.starts_with('.') => (format!("{request}\n"), words),
        _ => (String::new(), words),
    };
    // A sentence on a line of its own, as groff(7) wants it, so that its end is known.
    let _ = writeln!(text, "{request}{}", marked(words).replace(". ", ".\n"));
}

/// What stands between back-ticks is bold.
fn marked(words: &str) -> String {
    let parts = words.split('`').enumerate();
    parts
        .map(
            |(i, part)| if i % 2 == 0 { escape(part) } else { format!("\\fB{}\\fR", escape(part)) },
        )
        .collect()
}

fn escape(text: &str) -> String {
    let text =
        text.replace('\\', "\\e").replace('-', "\\-").replace('~', "\\(ti").replace('^', "\\(ha");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// The pages in docs/man are what the binary writes. `UPDATE_MAN=1 cargo nextest run -p nrun cli::man` writes them anew.
    #[test]
    fn the_committed_pages_are_current() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/man");
        let pages = pages();
        if std::env::var_os("UPDATE_MAN").is_some() {
            std::fs::create_dir_all(&directory).unwrap();
            for (name, text) in &pages {
                std::fs::write(directory.join(name), text).unwrap();
            }
        }
        for (name, text) in &pages {
            let committed = std::fs::read_to_string(directory.join(name)).unwrap_or_default();
            assert!(committed == *text, "docs/man/{name} is not current: UPDATE_MAN=1 writes it");
        }
        // nman's lie beside them.
        let ours = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("nrun");
        let committed = std::fs::read_dir(directory).unwrap().flatten();
        let committed = committed.filter(|file| ours(&file.file_name())).count();
        assert_eq!(committed, pages.len(), "docs/man has a page of a command that is gone");
    }

    #[test]
    fn no_line_of_text_is_taken_for_a_request() {
        for (name, text) in pages() {
            for line in text.lines().filter(|line| line.starts_with('.')) {
                let request = line.split(' ').next().unwrap_or_default();
                assert!(
                    [".TH", ".SH", ".SS", ".TP", ".PP", ".B", ".BR", ".I"].contains(&request),
                    "{name}: {line}"
                );
            }
            assert!(
                !text.contains('`') && !text.lines().any(|line| line.starts_with('\'')),
                "{name}"
            );
        }
    }
}
