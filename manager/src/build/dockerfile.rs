//! The text of a Dockerfile, taken apart into instructions: directives, comments, continued lines and here-documents.
//!
//! Pure. What an instruction's words mean is not decided here: variables have their values only when its turn has come.

use crate::expand::exec_form;
use crate::suggest::nearest;

/// The instructions that there are.
const INSTRUCTIONS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];
/// Those that take options before their arguments. HEALTHCHECK has them too, and reads them itself.
const WITH_FLAGS: [&str; 4] = ["ADD", "COPY", "FROM", "RUN"];
/// Those that may have here-documents; as triggers (ONBUILD), too.
const WITH_HEREDOCS: [&str; 3] = ["ADD", "COPY", "RUN"];

/// What is wrong with a Dockerfile, and on which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub why: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Fault {
    /// One that says it all.
    pub fn new(line: usize, why: impl Into<String>) -> Self {
        Self { line, why: why.into(), hint: None }
    }
}

/// An option of an instruction: `--from=build`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Its name, without the dashes.
    pub name: String,
    /// What stands behind `=`.
    pub value: Option<String>,
}

/// A here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it.
    pub name: String,
    /// The word as it stands on the instruction's line, such as `<<-"EOF"`.
    pub word: String,
    /// Variables in it have their values: its word is not quoted.
    pub expands: bool,
    /// Its text, with the line end of the last line.
    pub text: String,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The line on which it begins, counted from 1.
    pub line: usize,
    /// Its name in capital letters.
    pub word: String,
    /// Its options.
    pub flags: Vec<Flag>,
    /// Everything behind them.
    pub rest: String,
    /// Its here-documents, in their order.
    pub heredocs: Vec<Heredoc>,
}

impl Instruction {
    /// The instruction in a line, as it is shown and kept in a history; of here-documents only their words are, and of what is added
    /// from elsewhere no password.
    #[must_use]
    pub fn text(&self) -> String {
        let flags = self.flags.iter().map(|flag| match &flag.value {
            Some(value) => format!(" --{}={value}", flag.name),
            None => format!(" --{}", flag.name),
        });
        let flags = flags.collect::<String>();
        match self.word.as_str() {
            "ADD" => format!("ADD{flags} {}", without_passwords(&self.rest)),
            word => format!("{word}{flags} {}", self.rest),
        }
    }

    /// What messages call it: the first line of its text.
    #[must_use]
    pub fn title(&self) -> String {
        self.text().lines().next().unwrap_or_default().trim().to_owned()
    }

    /// Whether variables may be put into it.
    #[must_use]
    pub fn has_variables(&self) -> bool {
        let values = self.flags.iter().filter_map(|flag| flag.value.as_ref());
        let texts = self.heredocs.iter().filter(|heredoc| heredoc.expands).map(|one| &one.text);
        values.chain(texts).chain([&self.rest]).any(|text| text.contains('$'))
    }
}

/// A text without what stands before the hosts of URLs in it; who logs in by SSH is no secret.
fn without_passwords(text: &str) -> String {
    let mut pieces = text.split("://");
    let mut shown = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let is_end = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | ',');
        let (authority, rest) = piece.split_at(piece.find(is_end).unwrap_or(piece.len()));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let authority = if shown.ends_with("ssh") { authority } else { host };
        shown = format!("{shown}://{authority}{rest}");
    }
    shown
}

/// A Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// The character that takes the meaning from the next one, and continues lines: `\`, or what the directive `escape` says.
    pub escape: char,
    /// Its instructions.
    pub instructions: Vec<Instruction>,
}

/// Takes a Dockerfile apart.
pub fn parse(text: &str) -> Result<Dockerfile, Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> =
        text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
    let escape = directives(&lines)?;
    let mut reader = Reader { lines: &lines, at: 0, escape };
    let mut instructions = Vec::new();
    while let Some(instruction) = reader.instruction()? {
        instructions.push(instruction);
    }
    if instructions.is_empty() {
        return Err(Fault::new(1, "file with no instructions"));
    }
    Ok(Dockerfile { escape, instructions })
}

/// The one instruction of a trigger that a base image has left (ONBUILD).
pub fn parse_trigger(text: &str, escape: char, line: usize) -> Result<Instruction, Fault> {
    let lines: Vec<&str> = text.split('\n').collect();
    let mut reader = Reader { lines: &lines, at: 0, escape };
    let found = reader.instruction().map_err(|fault| Fault { line, ..fault })?;
    let found = found.ok_or_else(|| Fault::new(line, "an ONBUILD trigger is empty"))?;
    Ok(Instruction { line, ..found })
}

/// The escape character that the directives at the beginning choose. `syntax` and `check` are for other builders.
fn directives(lines: &[&str]) -> Result<char, Fault> {
    let mut escape = None;
    for (at, line) in lines.iter().enumerate() {
        let Some((key, value)) = line
            .trim_start()
            .strip_prefix('#')
            .and_then(|directive| directive.split_once('='))
            .map(|(key, value)| (key.trim().to_ascii_lowercase(), value.trim()))
        else {
            break;
        };
        match (key.as_str(), value) {
            ("syntax" | "check", _) => {}
            ("escape", _) if escape.is_some() => {
                return Err(Fault::new(at + 1, "only one escape parser directive can be used"));
            }
            ("escape", "\\" | "`") => escape = value.chars().next(),
            ("escape", _) => {
                return Err(Fault::new(
                    at + 1,
                    format!("invalid escape token '{value}' does not match ` or \\"),
                ));
            }
            _ => break,
        }
    }
    Ok(escape.unwrap_or('\\'))
}

struct Reader<'a> {
    lines: &'a [&'a str],
    at: usize,
    escape: char,
}

impl Reader<'_> {
    fn instruction(&mut self) -> Result<Option<Instruction>, Fault> {
        while self.lines.get(self.at).is_some_and(|line| is_nothing(line)) {
            self.at += 1;
        }
        let line = self.at + 1;
        let Some(text) = self.logical_line() else { return Ok(None) };
        let text = text.trim();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let upper = word.to_ascii_uppercase();
        if !INSTRUCTIONS.contains(&upper.as_str()) {
            let hint = nearest(&upper, INSTRUCTIONS).map(|name| format!("did you mean `{name}`?"));
            return Err(Fault { line, why: format!("unknown instruction: {word}"), hint });
        }
        let has_flags = WITH_FLAGS.contains(&upper.as_str());
        let (flags, rest) = if has_flags {
            flags(rest.trim(), line)?
        } else {
            (Vec::new(), rest.trim().to_owned())
        };
        if rest.is_empty() {
            return Err(Fault::new(line, format!("{upper} requires at least one argument")));
        }
        let heredocs = match upper.as_str() {
            "ONBUILD" => {
                let (word, rest) = rest.split_once(char::is_whitespace).unwrap_or((&rest, ""));
                self.heredocs(word, rest.trim(), line)?
            }
            word => self.heredocs(word, &rest, line)?,
        };
        Ok(Some(Instruction { line, word: upper, flags, rest, heredocs }))
    }

    /// A line with those that continue it. Comments and empty lines in between do not end it.
    fn logical_line(&mut self) -> Option<String> {
        let mut text = (*self.lines.get(self.at)?).to_owned();
        self.at += 1;
        while let Some(begun) = continued(&text, self.escape) {
            text.truncate(begun);
            while self.lines.get(self.at).is_some_and(|line| is_nothing(line)) {
                self.at += 1;
            }
            let Some(next) = self.lines.get(self.at) else { break };
            text.push_str(next);
            self.at += 1;
        }
        Some(text)
    }

    /// Those of an instruction, if it may have any. A list in JSON has none; what merely begins like one is a shell's.
    fn heredocs(&mut self, word: &str, rest: &str, line: usize) -> Result<Vec<Heredoc>, Fault> {
        let mut all = Vec::new();
        let may_have = WITH_HEREDOCS.iter().any(|with| with.eq_ignore_ascii_case(word));
        if !may_have || !matches!(exec_form(rest), Ok(None)) {
            return Ok(all);
        }
        for word in crate::expand::split(rest, self.escape) {
            let Some((name, expands, strips)) = heredoc(&word) else { continue };
            let mut text = String::new();
            loop {
                let Some(next) = self.lines.get(self.at) else {
                    return Err(Fault::new(line, format!("unterminated heredoc: {name}")));
                };
                self.at += 1;
                let next = if strips { next.trim_start_matches('\t') } else { next };
                if next == name {
                    break;
                }
                text.push_str(next);
                text.push('\n');
            }
            all.push(Heredoc { name, word, expands, text });
        }
        Ok(all)
    }
}

/// An empty line, or a comment.
fn is_nothing(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// Where the text ends that the next line continues; nothing if it does not.
fn continued(text: &str, escape: char) -> Option<usize> {
    let trimmed = text.trim_end_matches([' ', '\t']);
    let before = trimmed.strip_suffix(escape)?;
    (!before.ends_with(escape)).then_some(before.len())
}

/// `<<EOF`, `<<-EOF` (without the tabs at the beginnings of lines), `<<"EOF"` (without variables).
fn heredoc(word: &str) -> Option<(String, bool, bool)> {
    let name = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (strips, name) = match name.strip_prefix('-') {
        Some(name) => (true, name),
        None => (false, name),
    };
    let bare = ['"', '\'']
        .iter()
        .find_map(|quote| name.strip_prefix(*quote).and_then(|name| name.strip_suffix(*quote)));
    let expands = bare.is_none();
    let name = bare.unwrap_or(name);
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_a_name = name.chars().all(is_name) && name.chars().any(char::is_alphanumeric);
    is_a_name.then(|| (name.to_owned(), expands, strips))
}

/// The options at the beginning of `rest`, and what is behind them. A value may be quoted.
fn flags(rest: &str, line: usize) -> Result<(Vec<Flag>, String), Fault> {
    let mut flags: Vec<Flag> = Vec::new();
    let mut rest = rest;
    while let Some(option) = rest.strip_prefix("--") {
        let mut quote = None;
        let end = option.find(|c: char| match quote {
            Some(open) => {
                if c == open {
                    quote = None;
                }
                false
            }
            None if matches!(c, '"' | '\'') => {
                quote = Some(c);
                false
            }
            None => c.is_whitespace(),
        });
        let (option, after) = option.split_at(end.unwrap_or(option.len()));
        rest = after.trim_start();
        if option.is_empty() {
            break;
        }
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value.replace(['"', '\''], ""))),
            None => (option, None),
        };
        let again = flags.iter().any(|flag| flag.name == name);
        if again && !matches!(name, "mount" | "exclude") {
            return Err(Fault::new(line, format!("Duplicate flag specified: {name}")));
        }
        flags.push(Flag { name: name.to_owned(), value });
    }
    Ok((flags, rest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<(usize, String)> {
        let parsed = parse(text).unwrap();
        parsed.instructions.iter().map(|one| (one.line, one.text())).collect()
    }

    fn wrong(text: &str) -> String {
        let fault = parse(text).unwrap_err();
        format!("{}: {}", fault.line, fault.why)
    }

    #[test]
    fn lines_are_continued_over_comments_and_numbered_where_they_begin() {
        let text = "# a comment\nFROM x\n\nRUN a && \\\n  # not the end\n\n  b \\ \n c\nENV A=1";
        let expected = [(2, "FROM x"), (4, "RUN a &&   b  c"), (9, "ENV A=1")];
        let expected = expected.map(|(line, text)| (line, text.to_owned()));
        assert_eq!(texts(text), expected);
        // An escaped escape ends the line, and carriage returns are no part of it.
        assert_eq!(texts("FROM x\r\nCMD a\\\\\r\nUSER b\r\n").len(), 3);
    }

    #[test]
    fn directives_stand_before_everything_else() {
        let text = "# syntax=docker/dockerfile:1\n# Escape=`\nFROM x\nRUN dir c:\\\nRUN a `\nb";
        let parsed = parse(text).unwrap();
        assert_eq!(parsed.escape, '`');
        assert_eq!(parsed.instructions[1].rest, "dir c:\\");
        assert_eq!(parsed.instructions[2].rest, "a b");
        assert_eq!(parse("# comment\n# escape=`\nFROM x").unwrap().escape, '\\');
        assert!(wrong("# escape=x\nFROM y").starts_with("1: invalid escape token 'x'"));
    }

    #[test]
    fn options_are_told_from_arguments() {
        let parsed =
            parse("FROM --platform=linux/amd64 x\nCOPY --from=a --chown='b c' -- --d e").unwrap();
        let copy = &parsed.instructions[1];
        let flag = |name: &str, value: &str| Flag { name: name.into(), value: Some(value.into()) };
        assert_eq!(copy.flags, [flag("from", "a"), flag("chown", "b c")]);
        assert_eq!(copy.rest, "--d e");
        assert_eq!(
            wrong("FROM x\nCOPY --from=a --from=b c d"),
            "2: Duplicate flag specified: from"
        );
        // A shell form keeps its own.
        assert_eq!(parse("FROM x\nCMD --help").unwrap().instructions[1].rest, "--help");
    }

    #[test]
    fn passwords_of_urls_are_not_shown() {
        let text = "FROM x\nADD --unpack http://a:b@h/x@y https://t@h.git#v ssh://git@h/z /d/\n\
                    ADD [\"https://a:b@h\", \"/d@\"]\nRUN get http://a:b@h/x";
        let shown = texts(text).into_iter().map(|(_, text)| text).skip(1).collect::<Vec<_>>();
        let expected = [
            "ADD --unpack http://h/x@y https://h.git#v ssh://git@h/z /d/",
            "ADD [\"https://h\", \"/d@\"]",
            "RUN get http://a:b@h/x",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn here_documents_are_taken_to_the_word_that_ends_them() {
        let text = "FROM x\nRUN <<EOF\n# no comment\necho $A \\\n\nEOF\nCOPY <<-\"one\" <<two /to/\n\tkept\n\tone\n\ttab\ntwo\nUSER y";
        let parsed = parse(text).unwrap();
        assert_eq!(parsed.instructions.len(), 4);
        let run = &parsed.instructions[1].heredocs[0];
        assert_eq!((run.text.as_str(), run.expands), ("# no comment\necho $A \\\n\n", true));
        let copy = &parsed.instructions[2].heredocs;
        assert_eq!((copy[0].text.as_str(), copy[0].expands), ("kept\n", false));
        assert_eq!((copy[1].text.as_str(), copy[1].word.as_str()), ("\ttab\n", "<<two"));
        assert_eq!(parsed.instructions[3].line, 12);
        assert_eq!(wrong("FROM x\nRUN <<EOF\nnever"), "2: unterminated heredoc: EOF");
        // What only begins like a list in JSON is a shell's test; a list has none.
        let text = "FROM x\nRUN [ -e /x ] || cat <<EOT\nhello\nEOT\nRUN [[ -f x ]] || cat <<E\nCOPY a b\nE\nRUN [\"<<E\"]\nUSER y";
        let parsed = parse(text).unwrap().instructions;
        let counts: Vec<usize> = parsed.iter().map(|one| one.heredocs.len()).collect();
        assert_eq!(counts, [0, 1, 1, 0, 0]);
        let trigger =
            &parse("FROM x\nONBUILD run <<E\necho hi\nE\nONBUILD CMD <<E").unwrap().instructions;
        assert_eq!(trigger[1].heredocs[0].text, "echo hi\n");
        assert!(trigger[2].heredocs.is_empty());
        // A shell's shift and here-string are none.
        assert!(
            parse("FROM x\nRUN cat <<< y && echo $((1 << 2))").unwrap().instructions[1]
                .heredocs
                .is_empty()
        );
    }

    #[test]
    fn what_is_no_instruction_is_refused_with_its_line_and_the_nearest_one() {
        let fault = parse("FROM x\n\nRUM make").unwrap_err();
        assert_eq!((fault.line, fault.why.as_str()), (3, "unknown instruction: RUM"));
        assert_eq!(fault.hint.as_deref(), Some("did you mean `RUN`?"));
        assert_eq!(wrong("FROM x\nENV"), "2: ENV requires at least one argument");
        assert_eq!(wrong("\n# only\n"), "1: file with no instructions");
    }
}
