//! Words and variables, as Dockerfiles have them: quotes, escapes, `$NAME`, `${NAME:-word}`.
//!
//! Pure. Docker's rules are a shell's, without commands and arithmetic.

mod substitution;

use serde_json::Value;
use substitution::{Pattern, Reach};

/// Says what a variable's value is, if it has one.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Words between white space, with their quotes and escapes still in them.
#[must_use]
pub fn split(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (String::new(), None);
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match quote {
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if matches!(c, '\'' | '"') => quote = Some(c),
            Some(open) if open == c => quote = None,
            _ => {}
        }
        word.push(c);
        if c == escape && quote != Some('\'') {
            word.extend(characters.next());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Takes quotes and escapes away and puts variables' values in.
pub fn expand(text: &str, escape: char, lookup: Lookup<'_>) -> Result<String, String> {
    Expander { rest: text, escape, lookup, quotes: true, raw: false, depth: 0 }.until(None)
}

/// Puts variables' values in and leaves quotes as they are: the text of a here-document.
pub fn expand_text(text: &str, escape: char, lookup: Lookup<'_>) -> Result<String, String> {
    Expander { rest: text, escape, lookup, quotes: false, raw: false, depth: 0 }.until(None)
}

struct Expander<'a> {
    rest: &'a str,
    escape: char,
    lookup: Lookup<'a>,
    /// Quotes mean something.
    quotes: bool,
    /// Escapes stay: what is read is a pattern, in which they mean something.
    raw: bool,
    /// In how many substitutions this is.
    depth: u32,
}

/// Deeper than anybody writes by hand, and far from the end of the stack.
const DEEPEST: u32 = 100;

impl Expander<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    /// Up to the character `end`, which is taken, or to the end of the text.
    fn until(&mut self, end: Option<char>) -> Result<String, String> {
        let mut out = String::new();
        while let Some(c) = self.next() {
            match c {
                c if Some(c) == end => return Ok(out),
                '\'' if self.quotes => self.single(&mut out)?,
                '"' if self.quotes => self.double(&mut out)?,
                '$' => out.push_str(&self.variable()?),
                c if c == self.escape => self.escaped(&mut out),
                c => out.push(c),
            }
        }
        match end {
            Some(end) => Err(format!("syntax error: missing `{end}`")),
            None => Ok(out),
        }
    }

    /// The same with escapes left in it.
    fn raw_until(&mut self, end: char) -> Result<String, String> {
        let before = std::mem::replace(&mut self.raw, true);
        let found = self.until(Some(end));
        self.raw = before;
        found
    }

    fn escaped(&mut self, out: &mut String) {
        match self.next() {
            Some(next) => {
                // In a text, only what would mean something needs one.
                if self.raw || (!self.quotes && next != '$' && next != self.escape) {
                    out.push(self.escape);
                }
                out.push(next);
            }
            None => out.push(self.escape),
        }
    }

    fn single(&mut self, out: &mut String) -> Result<(), String> {
        let (quoted, rest) = self
            .rest
            .split_once('\'')
            .ok_or("unexpected end of statement while looking for matching single-quote")?;
        out.push_str(quoted);
        self.rest = rest;
        Ok(())
    }

    fn double(&mut self, out: &mut String) -> Result<(), String> {
        while let Some(c) = self.next() {
            match c {
                '"' => return Ok(()),
                '$' => out.push_str(&self.variable()?),
                c if c == self.escape => match self.next() {
                    Some(next) if self.raw => out.extend([c, next]),
                    Some(next @ ('"' | '$')) => out.push(next),
                    Some(next) if next == self.escape => out.push(next),
                    Some(next) => out.extend([c, next]),
                    None => out.push(c),
                },
                c => out.push(c),
            }
        }
        Err("unexpected end of statement while looking for matching double-quote".to_owned())
    }

    /// What stands for the variable behind a `$`.
    fn variable(&mut self) -> Result<String, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("substitutions are nested more than {DEEPEST} deep"));
        }
        let value = self.substituted();
        self.depth -= 1;
        value
    }

    fn substituted(&mut self) -> Result<String, String> {
        if !self.rest.starts_with('{') {
            let name = self.name();
            return Ok(match name.as_str() {
                "" => "$".to_owned(),
                name => (self.lookup)(name).unwrap_or_default(),
            });
        }
        self.next();
        let name = self.name();
        if name.is_empty() {
            return Err("syntax error: bad substitution".to_owned());
        }
        let value = (self.lookup)(&name);
        let mut operator = self.next();
        // With a colon, an empty value counts as none.
        let value = match operator {
            Some(':') => {
                operator = self.next();
                value.filter(|value| !value.is_empty())
            }
            _ => value,
        };
        let Some(operator) = operator else {
            return Err(format!("syntax error: missing `}}` of `${{{name}`"));
        };
        match operator {
            '}' => Ok(value.unwrap_or_default()),
            '-' => self.until(Some('}')).map(|word| value.unwrap_or(word)),
            '+' => self.until(Some('}')).map(|word| value.map_or(String::new(), |_| word)),
            '?' => {
                let word = self.until(Some('}'))?;
                let why = if word.is_empty() { "not allowed to be unset" } else { &word };
                value.ok_or_else(|| format!("{name}: {why}"))
            }
            '#' | '%' => self.trimmed(operator, &value.unwrap_or_default()),
            '/' => self.replaced(&value.unwrap_or_default()),
            other => Err(format!("unsupported modifier ({other}) in substitution of `{name}`")),
        }
    }

    /// `#pattern}` and `%pattern}`; twice the sign takes the longest part that fits.
    fn trimmed(&mut self, sign: char, value: &str) -> Result<String, String> {
        let word = self.raw_until('}')?;
        let (reach, word) = match word.strip_prefix(sign) {
            Some(word) => (Reach::Longest, word),
            None => (Reach::Shortest, word.as_str()),
        };
        let pattern = Pattern::parse(word, self.escape)?;
        Ok(match sign {
            '#' => pattern.without_prefix(value, reach),
            _ => pattern.without_suffix(value, reach),
        })
    }

    /// `/pattern/replacement}`; with another slash before it, for each part that fits.
    fn replaced(&mut self, value: &str) -> Result<String, String> {
        let each = self.rest.starts_with('/');
        if each {
            self.next();
        }
        let pattern = self.raw_until('/')?;
        let pattern = Pattern::parse(&pattern, self.escape)?;
        let before = std::mem::replace(&mut self.raw, false);
        let replacement = self.until(Some('}'));
        self.raw = before;
        Ok(pattern.replace(value, &replacement?, each))
    }

    fn name(&mut self) -> String {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = self.rest.find(|c: char| !is_name(c)).unwrap_or(self.rest.len());
        // `$1x` is `$1` and an x.
        let end = if self.rest.starts_with(|c: char| c.is_ascii_digit()) { 1 } else { end };
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        name.to_owned()
    }
}

/// `["a", "b"]`, if it is that: a list in JSON.
///
/// # Errors
/// Something in it is no string.
pub fn exec_form(text: &str) -> Result<Option<Vec<String>>, String> {
    if !text.starts_with('[') {
        return Ok(None);
    }
    let Ok(list) = serde_json::from_str::<Vec<Value>>(text) else { return Ok(None) };
    let word = |value| match value {
        Value::String(word) => Ok(word),
        _ => {
            Err("when using JSON array syntax, arrays must be comprised of strings only".to_owned())
        }
    };
    list.into_iter().map(word).collect::<Result<_, _>>().map(Some)
}

/// `NAME=VALUE NAME="VALUE VALUE"`, or `NAME VALUE VALUE`, with quotes and escapes still in them.
pub fn pairs(word: &str, rest: &str, escape: char) -> Result<Vec<(String, String)>, String> {
    let words = split(rest, escape);
    if !words.first().is_some_and(|first| first.contains('=')) {
        let (name, value) = rest
            .split_once(char::is_whitespace)
            .ok_or_else(|| format!("{word} must have two arguments"))?;
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    let pair = |text: &String| match text.split_once('=') {
        Some(("", _)) => Err(format!("{word} names can not be blank")),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(format!(
            "Syntax error - can't find = in \"{text}\". Must be of the form: name=value"
        )),
    };
    words.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "A" => Some("a a".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_quotes_and_escapes_are_a_shells() {
        for (text, expected) in [
            ("x$A.y", "xa a.y"),
            ("${A}b", "a ab"),
            ("$AB|$NONE|", "||"),
            ("'$A'\"$A\"", "$Aa a"),
            (r#"\$A "\$A" '\$A'"#, r"$A $A \$A"),
            (r#""a\n\"""#, r#"a\n""#),
            ("$ 5$", "$ 5$"),
            ("${NONE:-d}${EMPTY:-d}${EMPTY-d}${NONE-d}", "ddd"),
            ("${A:+s}${EMPTY:+s}${EMPTY+s}${NONE+s}", "ss"),
            ("${NONE:-${A}/$A}", "a a/a a"),
            ("$1x", "x"),
        ] {
            assert_eq!(expand(text, '\\', &lookup).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(expand("`$A\\", '`', &lookup).as_deref(), Ok("$A\\"));
    }

    #[test]
    fn patterns_take_parts_out_of_a_value_and_replace_them() {
        let lookup = |name: &str| match name {
            "P" => Some("a/b/a.tar.gz".to_owned()),
            "S" => Some("/".to_owned()),
            other => lookup(other),
        };
        for (text, expected) in [
            ("${P#*/}|${P##*/}", "b/a.tar.gz|a.tar.gz"),
            ("${P%.*}|${P%%.*}|", "a/b/a.tar|a/b/a|"),
            ("${P/a/${S}x}|${P//a/x}", "/x/b/a.tar.gz|x/b/x.txr.gz"),
            (r"${P//\//-}", "a-b-a.tar.gz"),
            ("\"${P##*${S}}\"|${NONE#x}|${NONE/a/b}", "a.tar.gz||"),
            (r"${P/b/\}}", "a/}/a.tar.gz"),
        ] {
            assert_eq!(expand(text, '\\', &lookup).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(expand("${P//`//-}", '`', &lookup).as_deref(), Ok("a-b-a.tar.gz"));
        let refused = expand(r"${P#\a}", '\\', &lookup).unwrap_err();
        assert!(refused.contains("invalid escape"), "{refused}");
    }

    #[test]
    fn what_is_no_substitution_is_refused() {
        for (text, why) in [
            ("${}", "bad substitution"),
            ("${A", "missing `}`"),
            ("${A:-b", "missing `}`"),
            ("${A#b", "missing `}`"),
            ("${A/b}", "missing `/`"),
            ("'a", "single-quote"),
            ("\"a", "double-quote"),
            ("${NONE:?is needed}", "NONE: is needed"),
            ("${A^}", "unsupported modifier (^)"),
        ] {
            let error = expand(text, '\\', &lookup).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_nested_without_end_is_refused() {
        let nested = |depth: usize| format!("{}x{}", "${NONE:-".repeat(depth), "}".repeat(depth));
        assert_eq!(expand(&nested(100), '\\', &lookup).as_deref(), Ok("x"));
        for text in [nested(100_000), "\"${A#".repeat(100_000), "${A/".repeat(100_000)] {
            let error = expand(&text, '\\', &lookup).unwrap_err();
            assert_eq!(error, "substitutions are nested more than 100 deep");
        }
        // Side by side they are any number.
        assert_eq!(expand(&"$EMPTY".repeat(1000), '\\', &lookup).as_deref(), Ok(""));
    }

    #[test]
    fn a_text_keeps_its_quotes() {
        let text = "echo \"$A\" '$A' \\$A \\n\n";
        let expected = "echo \"a a\" 'a a' $A \\n\n";
        assert_eq!(expand_text(text, '\\', &lookup).as_deref(), Ok(expected));
    }

    #[test]
    fn words_are_split_outside_of_quotes_and_pairs_have_two_forms() {
        assert_eq!(split(r#" a "b c"\ d  'e "f' "#, '\\'), ["a", r#""b c"\ d"#, r#"'e "f'"#]);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let found = pairs("ENV", r#"A=1 B="x y""#, '\\').unwrap();
        assert_eq!(found, [pair("A", "1"), pair("B", r#""x y""#)]);
        assert_eq!(pairs("ENV", "A  x = y", '\\').unwrap(), [pair("A", "x = y")]);
        assert!(pairs("ENV", "A=1 B", '\\').unwrap_err().contains("can't find = in \"B\""));
        assert_eq!(pairs("LABEL", "a", '\\').unwrap_err(), "LABEL must have two arguments");
    }
}
