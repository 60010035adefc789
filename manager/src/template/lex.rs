//! A template as text and actions, and an action as tokens.

use super::Fault;
use serde_json::{Value, json};

/// Where something stands: an offset in bytes.
pub(super) type Offset = usize;

/// A piece of a template.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Action(Vec<Token>, Offset),
}

/// A token of an action, with its place and whether white space stands before it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: Offset,
    pub(super) spaced: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// `.Name`
    Field(String),
    /// `.` alone
    Dot,
    /// `$` or `$name`
    Variable(String),
    /// A word: a keyword or a function.
    Word(String),
    /// A string, a number or a truth value.
    Literal(Value),
    /// One of `|` `,` `(` `)` `=` and `:` for `:=`.
    Sign(char),
}

/// Takes a template apart. `{{-` and `-}}` take white space of the text beside them away.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, Fault> {
    let mut pieces = Vec::new();
    let mut at = 0;
    let mut trim = false;
    while at < text.len() {
        let open = text[at..].find("{{").map_or(text.len(), |found| at + found);
        let mut plain = &text[at..open];
        if trim {
            plain = plain.trim_start();
        }
        let Some(inside) = text.get(open + 2..) else {
            push_text(&mut pieces, plain);
            break;
        };
        let leading = inside.starts_with('-') && inside[1..].starts_with(char::is_whitespace);
        push_text(&mut pieces, if leading { plain.trim_end() } else { plain });
        let start = open + 2 + usize::from(leading);
        let mut scanner = Scanner { text, at: start };
        let tokens = scanner.action(open)?;
        trim = scanner.trims_after();
        at = scanner.at;
        if let Some(tokens) = tokens {
            pieces.push(Piece::Action(tokens, open));
        }
    }
    Ok(pieces)
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

struct Scanner<'t> {
    text: &'t str,
    at: Offset,
}

impl Scanner<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// The tokens up to `}}`, which is passed; nothing for a comment.
    fn action(&mut self, open: Offset) -> Result<Option<Vec<Token>>, Fault> {
        let unclosed = || Fault::parse(self.text, open, "unclosed action");
        if let Some(comment) = self.rest().trim_start().strip_prefix("/*") {
            let end = comment.find("*/").ok_or_else(unclosed)?;
            let after = &comment[end + 2..];
            let close = after.find("}}").ok_or_else(unclosed)?;
            self.at = self.text.len() - after.len() + close + 2;
            return Ok(None);
        }
        let mut tokens = Vec::new();
        loop {
            let before = self.at;
            self.at += self.rest().len() - self.rest().trim_start().len();
            let spaced = self.at > before;
            if self.rest().starts_with("}}") || spaced && self.rest().starts_with("-}}") {
                self.at += self.rest().find("}}").unwrap_or(0) + 2;
                return Ok(Some(tokens));
            }
            if self.rest().is_empty() {
                return Err(Fault::parse(self.text, open, "unclosed action"));
            }
            let at = self.at;
            let kind = self.token()?;
            tokens.push(Token { kind, at, spaced });
        }
    }

    /// Whether the action that has just been passed ends with `-}}`.
    fn trims_after(&self) -> bool {
        let before = self.text[..self.at].trim_end_matches("}}");
        before.strip_suffix('-').is_some_and(|text| text.ends_with(char::is_whitespace))
    }

    fn token(&mut self) -> Result<Kind, Fault> {
        let first = self.rest().chars().next().unwrap_or_default();
        match first {
            '"' => self.quoted(),
            '`' => {
                let end = self.rest()[1..].find('`');
                let end = end.ok_or_else(|| self.fault("unterminated raw quoted string"))?;
                let raw = self.rest()[1..=end].to_owned();
                self.at += end + 2;
                Ok(Kind::Literal(Value::String(raw)))
            }
            '|' | ',' | '(' | ')' | '=' => {
                self.at += 1;
                Ok(Kind::Sign(first))
            }
            ':' if self.rest().starts_with(":=") => {
                self.at += 2;
                Ok(Kind::Sign(':'))
            }
            '.' => {
                self.at += 1;
                let name = self.name();
                Ok(if name.is_empty() { Kind::Dot } else { Kind::Field(name) })
            }
            '$' => {
                self.at += 1;
                Ok(Kind::Variable(self.name()))
            }
            '0'..='9' | '+' | '-' => self.number(),
            _ if first == '_' || first.is_alphabetic() => Ok(match self.name() {
                word if word == "true" || word == "false" => Kind::Literal(json!(word == "true")),
                word if word == "nil" => Kind::Literal(Value::Null),
                word => Kind::Word(word),
            }),
            _ => Err(self.fault(&format!("unexpected {first:?} in operand"))),
        }
    }

    fn name(&mut self) -> String {
        let end = self.rest().find(|c: char| c != '_' && !c.is_alphanumeric());
        let name = self.rest()[..end.unwrap_or(self.rest().len())].to_owned();
        self.at += name.len();
        name
    }

    fn number(&mut self) -> Result<Kind, Fault> {
        let end = self.rest()[1..].find(|c: char| c != '.' && c != '_' && !c.is_alphanumeric());
        let text = &self.rest()[..end.map_or(self.rest().len(), |end| end + 1)];
        let value = text
            .parse::<i64>()
            .map(Value::from)
            .or_else(|_| text.parse::<f64>().map(Value::from))
            .map_err(|_| self.fault(&format!("bad number syntax: {text:?}")))?;
        self.at += text.len();
        Ok(Kind::Literal(value))
    }

    fn quoted(&mut self) -> Result<Kind, Fault> {
        let mut value = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((index, c)) = characters.next() {
            match c {
                '"' => {
                    self.at += index + 1;
                    return Ok(Kind::Literal(Value::String(value)));
                }
                '\\' => match characters.next().map(|(_, escaped)| escaped) {
                    Some('n') => value.push('\n'),
                    Some('t') => value.push('\t'),
                    Some('r') => value.push('\r'),
                    Some(same @ ('"' | '\\' | '\'')) => value.push(same),
                    _ => return Err(self.fault("invalid escape in a string")),
                },
                '\n' => break,
                _ => value.push(c),
            }
        }
        Err(self.fault("unterminated quoted string"))
    }

    fn fault(&self, message: &str) -> Fault {
        Fault::parse(self.text, self.at, message)
    }
}
