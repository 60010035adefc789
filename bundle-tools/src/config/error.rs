//! What is wrong with a configuration, and where in its text.
//!
//! A check works on parsed values and reports [`Problem`]s by JSON pointer; [`Source`] turns them
//! into [`Findings`] with lines and columns once there is something to report.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::scan::{self, Counter, Position};

/// A fault of a value, named by its JSON pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The JSON pointer of the value, such as `/mounts/3/destination`.
    pub pointer: String,
    /// What is wrong, as one lower-case line.
    pub message: String,
    /// What to do about it, where that is not plain from the message.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.pointer.is_empty() {
            write!(f, "{}: ", OneLine(&self.pointer))?;
        }
        write!(f, "{}", OneLine(&self.message))
    }
}

/// A fault of a file: what is wrong, and the line and column at which it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The JSON pointer of the value, such as `/mounts/3/destination`; empty for the whole text.
    pub pointer: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The character in the line, counted from 1.
    pub column: usize,
    /// What is wrong, as one lower-case line.
    pub message: String,
    /// What to do about it, where that is not plain from the message.
    pub hint: Option<String>,
}

impl Finding {
    fn new(problem: Problem, Position { line, column }: Position) -> Self {
        let Problem { pointer, message, hint } = problem;
        Finding { pointer, line, column, message, hint }
    }

    /// The same of what is no fault, as a compiler shows it: `31:5: warning: /hostname: is too long`.
    #[must_use]
    pub fn as_warning(&self) -> String {
        format!("{}:{}: warning: {}", self.line, self.column, self.what())
    }

    /// The value and what is wrong with it.
    fn what(&self) -> String {
        match &*self.pointer {
            "" => OneLine(&self.message).to_string(),
            pointer => format!("{}: {}", OneLine(pointer), OneLine(&self.message)),
        }
    }
}

/// Without the file's name, which [`Findings`] puts in front: `31:5: /hostname: is too long`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.what())
    }
}

/// Everything that is wrong with one file, in the order of the text. Never empty as an error.
///
/// It is shown as a line for each finding: `/bundle/config.json:31:5: /hostname: is too long`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// The file.
    pub path: PathBuf,
    /// Its faults, sorted by position.
    pub list: Vec<Finding>,
}

impl Findings {
    /// What to do about the findings: their hints, each once, in one line.
    pub fn hint(&self) -> Option<String> {
        let mut hints: Vec<&str> = Vec::new();
        for hint in self.list.iter().filter_map(|finding| finding.hint.as_deref()) {
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
        (!hints.is_empty()).then(|| hints.join("; "))
    }
}

impl std::error::Error for Findings {}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.list.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{}:{finding}", OneLine(&self.path.to_string_lossy()))?;
        }
        Ok(())
    }
}

/// Why a configuration could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error("cannot read `{}`: {reason}", OneLine(&path.to_string_lossy()))]
    Read {
        /// The file.
        path: PathBuf,
        /// For callers that tell a missing file from one that is in the way.
        kind: io::ErrorKind,
        /// Why, in lower case.
        reason: String,
    },
    /// The file was read and is wrong.
    #[error(transparent)]
    Invalid(#[from] Findings),
}

impl Error {
    pub(super) fn read(path: &Path, error: impl Into<io::Error>) -> Self {
        let error = error.into();
        let reason = sys::mid_sentence(&error.to_string());
        Error::Read { path: path.to_owned(), kind: error.kind(), reason }
    }

    /// What to do about it, where there is something better to say than the message.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Read { path, kind: io::ErrorKind::NotFound, .. } if is_of_a_bundle(path) => Some(
                "a bundle is a directory with a file `config.json` and the container's root file \
                 system; the command `spec` writes a `config.json` to start from"
                    .to_owned(),
            ),
            Error::Read { .. } => None,
            Error::Invalid(findings) => findings.hint(),
        }
    }
}

/// A text and the file that it came from.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Source {
    /// Finds the lines and columns of problems that are known by their pointers.
    pub(super) fn findings(&self, problems: Vec<Problem>) -> Findings {
        let offsets = scan::locate(&self.text, problems.iter().map(|p| p.pointer.as_str()));
        let offsets: Vec<usize> = problems.iter().map(|p| offsets[p.pointer.as_str()]).collect();
        let mut placed: Vec<(usize, Problem)> = offsets.into_iter().zip(problems).collect();
        // Stable: problems of one value stay in the order of the checks.
        placed.sort_by_key(|(offset, _)| *offset);
        let mut counter = Counter::new(self.text.as_bytes());
        let place = |(offset, problem)| Finding::new(problem, counter.advance(offset));
        Findings { path: self.path.clone(), list: placed.into_iter().map(place).collect() }
    }

    pub(super) fn position(&self, pointer: &str) -> Position {
        let offset = scan::locate(&self.text, [pointer].into_iter())[pointer];
        Position::of(self.text.as_bytes(), offset)
    }
}

/// A single finding about the text of `path` as such, at a byte offset.
pub(super) fn at_offset(
    path: &Path,
    text: &[u8],
    offset: usize,
    message: String,
    hint: Option<&str>,
) -> Findings {
    let problem = Problem { pointer: String::new(), message, hint: hint.map(str::to_owned) };
    let finding = Finding::new(problem, Position::of(text, offset));
    Findings { path: path.to_owned(), list: vec![finding] }
}

/// Shows a text from the input on one line, and harmless to a terminal.
pub(super) struct OneLine<'a>(pub(super) &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(char::is_control) {
            match part.chars().next_back() {
                Some(last) if last.is_control() => {
                    f.write_str(&part[..part.len() - last.len_utf8()])?;
                    write!(f, "{}", last.escape_default())?;
                }
                _ => f.write_str(part)?,
            }
        }
        Ok(())
    }
}

/// A bundle's directory or its config.json, and not the file of a process, which has no such place.
fn is_of_a_bundle(path: &Path) -> bool {
    path.extension().is_none_or(|extension| extension != "json") || path.ends_with("config.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(pointer: &str, message: &str, hint: Option<&str>) -> Problem {
        let hint = hint.map(str::to_owned);
        Problem { pointer: pointer.to_owned(), message: message.to_owned(), hint }
    }

    #[test]
    fn findings_are_shown_in_the_order_of_the_text_with_one_line_each() {
        let text = "{\n \"b\": 1,\n \"a\": [2, 3]\n}".to_owned();
        let source = Source { path: "/x/config.json".into(), text };
        let findings = source.findings(vec![
            problem("/a/1", "is bad", Some("do that")),
            problem("/a/7", "is missing", Some("do that")),
            problem("/b", "is odd", Some("do this")),
        ]);
        let shown = "/x/config.json:2:7: /b: is odd\n\
                     /x/config.json:3:7: /a/7: is missing\n\
                     /x/config.json:3:11: /a/1: is bad";
        assert_eq!(findings.to_string(), shown);
        assert_eq!(findings.hint().as_deref(), Some("do this; do that"));
    }

    #[test]
    fn input_in_a_message_can_neither_break_the_line_nor_reach_the_terminal() {
        let findings =
            at_offset(Path::new("a\nb"), b"", 0, "`\u{1b}[2J\n\u{9b}é` is bad".into(), None);
        assert_eq!(findings.to_string(), "a\\nb:1:1: `\\u{1b}[2J\\n\\u{9b}é` is bad");
    }

    #[test]
    fn a_reason_is_in_lower_case_without_its_number() {
        let error = Error::read(Path::new("/x"), rustix::io::Errno::NOENT);
        assert_eq!(error.to_string(), "cannot read `/x`: no such file or directory");
        assert!(error.hint().is_some_and(|hint| hint.contains("config.json")));
    }
}
