//! Annotations that set properties of the unit: `org.systemd.property.NAME` with a value in GVariant's text form.
//!
//! runc's rules, which engines write for: a name of letters; a whole number without a type is an `int32`; a name that ends in
//! `Sec` is given in seconds, and becomes `USec` in microseconds. Values are what units have: booleans, numbers, strings, and
//! lists of one of these. Dictionaries, tuples and variants are refused.

use std::collections::HashMap;

use super::super::Error;
use super::super::v1::member;
use ::systemd::{Property, Value};

const PREFIX: &str = "org.systemd.property.";

/// The properties that annotations ask for, in the order of their names.
pub(super) fn properties(annotations: &HashMap<String, String>) -> Result<Vec<Property>, Error> {
    let mut given: Vec<(&str, &str)> = annotations
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value.as_str())))
        .collect();
    given.sort_unstable();
    given.into_iter().map(|(name, text)| property(name, text)).collect()
}

fn property(name: &str, text: &str) -> Result<Property, Error> {
    let refuse = |why: &str| {
        let pointer = member("/annotations", &format!("{PREFIX}{name}"));
        Error::refused(format!("set the unit's property `{name}` to `{text}`"), pointer, why)
    };
    if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(refuse("a property's name is three letters or more, and nothing but letters"));
    }
    let value = parse(text).map_err(&refuse)?;
    match name
        .strip_suffix("Sec")
        .filter(|stem| stem.ends_with(|last: char| last.is_ascii_lowercase()))
    {
        Some(stem) => {
            let value = microseconds(&value)
                .ok_or_else(|| refuse("a time is a number of seconds, 0 or more"))?;
            Ok(Property::new(format!("{stem}USec"), value))
        }
        None => Ok(Property::new(name.to_owned(), value)),
    }
}

fn microseconds(value: &Value) -> Option<Value> {
    let seconds = match *value {
        Value::Byte(value) => value.into(),
        Value::Int16(value) => value.try_into().ok()?,
        Value::Uint16(value) => value.into(),
        Value::Int32(value) => value.try_into().ok()?,
        Value::Uint32(value) => value.into(),
        Value::Int64(value) => value.try_into().ok()?,
        Value::Uint64(value) => value,
        // Exact up to 2^53 microseconds, which is three hundred years.
        Value::Double(value) if (0.0..9e9).contains(&value) => {
            return Some(Value::Uint64((value * 1e6) as u64));
        }
        _ => return None,
    };
    Some(Value::Uint64(seconds.checked_mul(1_000_000)?))
}

/// A value in GVariant's text form.
fn parse(text: &str) -> Result<Value, &'static str> {
    let mut parser = Parser { rest: text, depth: 0 };
    let value = parser.value(None)?;
    parser.space();
    if parser.rest.is_empty() { Ok(value) } else { Err("something follows the value") }
}

/// No property of a unit has lists in lists in lists; a text of brackets must not exhaust our stack.
const DEEPEST: usize = 8;

struct Parser<'a> {
    rest: &'a str,
    /// How many values we are inside of.
    depth: usize,
}

/// Why a text is no value.
type Parsed<T> = Result<T, &'static str>;

impl<'a> Parser<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, what: char) -> bool {
        self.space();
        let after = self.rest.strip_prefix(what);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    /// Letters, digits and what numbers are made of, up to the next character that ends a value.
    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| c.is_whitespace() || ",[](){}<>'\":".contains(c));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    /// A value, of the type that stands before it or that is known already.
    fn value(&mut self, kind: Option<&str>) -> Parsed<Value> {
        if self.depth == DEEPEST {
            return Err("there are lists or types too deep in one another");
        }
        self.depth += 1;
        let value = self.value_here(kind);
        self.depth -= 1;
        value
    }

    fn value_here(&mut self, kind: Option<&str>) -> Parsed<Value> {
        self.space();
        match self.rest.chars().next() {
            None => Err("a value is missing"),
            Some('[') => self.array(kind),
            Some(quote @ ('\'' | '"')) => self.string(quote, kind),
            Some('@') => {
                self.rest = &self.rest[1..];
                let kind = self.word();
                self.value(Some(kind))
            }
            Some('(' | '{' | '<') => Err("tuples, dictionaries and variants are not taken"),
            Some(_) => {
                let word = self.word();
                match keyword(word) {
                    Some(kind) => self.value(Some(kind)),
                    None => scalar(word, kind),
                }
            }
        }
    }

    fn array(&mut self, kind: Option<&str>) -> Parsed<Value> {
        let element = match kind {
            None => None,
            Some(kind) => Some(kind.strip_prefix('a').ok_or("a list is not of that type")?),
        };
        self.eat('[');
        let mut values: Vec<Value> = Vec::new();
        while !self.eat(']') {
            if !values.is_empty() && !self.eat(',') {
                return Err("a list ends with `]`");
            }
            // The first element's type is that of all.
            let known = values.first().map(Value::signature);
            values.push(self.value(known.as_deref().or(element))?);
        }
        let found = values.first().map(Value::signature);
        let Some(element) = found.or(element.map(|kind| kind.to_owned().into())) else {
            return Err("an empty list needs a type: `@as []`");
        };
        Ok(Value::Array(element, values))
    }

    fn string(&mut self, quote: char, kind: Option<&str>) -> Parsed<Value> {
        let mut text = String::new();
        let mut chars = self.rest[1..].char_indices();
        while let Some((place, c)) = chars.next() {
            match c {
                '\\' => text.push(match chars.next().ok_or("a string without its end")?.1 {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    c @ ('\\' | '\'' | '"') => c,
                    _ => return Err("an escape that is not known"),
                }),
                '\0' => return Err("a string holds no nul character"),
                c if c == quote => {
                    self.rest = &self.rest[1 + place + 1..];
                    return match kind {
                        None | Some("s") => Ok(Value::Text(text)),
                        Some("o") => Ok(Value::ObjectPath(text)),
                        Some(_) => Err("a string is not of that type"),
                    };
                }
                c => text.push(c),
            }
        }
        Err("a string without its end")
    }
}

/// The types that have a name of their own.
fn keyword(word: &str) -> Option<&'static str> {
    Some(match word {
        "boolean" => "b",
        "byte" => "y",
        "int16" => "n",
        "uint16" => "q",
        "int32" => "i",
        "uint32" => "u",
        "int64" => "x",
        "uint64" => "t",
        "double" => "d",
        "string" => "s",
        "objectpath" => "o",
        _ => return None,
    })
}

fn scalar(word: &str, kind: Option<&str>) -> Parsed<Value> {
    let kind = match (kind, word) {
        (Some(kind), _) => kind,
        (None, "true" | "false") => "b",
        (None, word) if word.contains(['.', 'e', 'E']) && !word.starts_with("0x") => "d",
        (None, _) => "i",
    };
    let parsed = match kind {
        "b" => word.parse().ok().map(Value::Bool),
        "y" => whole(word).map(Value::Byte),
        "n" => whole(word).map(Value::Int16),
        "q" => whole(word).map(Value::Uint16),
        "i" => whole(word).map(Value::Int32),
        "u" => whole(word).map(Value::Uint32),
        "x" => whole(word).map(Value::Int64),
        "t" => whole(word).map(Value::Uint64),
        "d" => word.parse().ok().map(Value::Double),
        _ => None,
    };
    parsed.ok_or("it is neither `true` or `false`, nor a number of its type, nor in quotes")
}

/// A whole number: decimal, `0x`, or octal with a `0` before it.
fn whole<T: TryFrom<i128>>(word: &str) -> Option<T> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let (digits, radix) = match (digits.strip_prefix("0x"), digits.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (digits, 10),
    };
    let number = i128::from(u64::from_str_radix(digits, radix).ok()?);
    T::try_from(if negative { -number } else { number }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, text: &str) -> Result<Property, Error> {
        property(name, text)
    }

    fn texts(list: &[&str]) -> Value {
        Value::Array("s".into(), list.iter().map(|text| Value::text(*text)).collect())
    }

    #[test]
    fn values_have_the_types_that_runc_gives_them() {
        let table = [
            ("true", Value::Bool(true)),
            ("5", Value::Int32(5)),
            ("-5", Value::Int32(-5)),
            ("0x10", Value::Int32(16)),
            ("010", Value::Int32(8)),
            ("uint64 18446744073709551615", Value::Uint64(u64::MAX)),
            ("@t 3", Value::Uint64(3)),
            ("byte 255", Value::Byte(255)),
            ("'inactive-or-failed'", Value::text("inactive-or-failed")),
            (r#""it's \"so\"""#, Value::text("it's \"so\"")),
            (r"'a\'b\\'", Value::text(r"a'b\")),
            ("objectpath '/a'", Value::ObjectPath("/a".into())),
            ("['a', 'b',  'c']", texts(&["a", "b", "c"])),
            ("@as []", texts(&[])),
            (
                " [ uint32 1 , 2 ] ",
                Value::Array("u".into(), vec![Value::Uint32(1), Value::Uint32(2)]),
            ),
        ];
        for (text, value) in table {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for text in [
            "",
            "yes",
            "'open",
            "[1",
            "[1,",
            "[1 2]",
            "[]",
            "1 2",
            "uint32 -1",
            "byte 256",
            "int32 5.5",
            "('a', 'b')",
            "{'a': 1}",
            "<5>",
            "['a', 1]",
            "@as 5",
            "uint64 'x'",
            "9999999999",
            r"'\q'",
            "1e",
        ] {
            assert!(parse(text).is_err(), "{text}: {:?}", parse(text));
        }
    }

    #[test]
    fn what_is_nested_without_end_is_refused() {
        for text in ["[".repeat(1 << 20), "@i ".repeat(1 << 20), "uint32 ".repeat(1 << 20)] {
            assert!(parse(&text).is_err());
        }
        assert!(parse("[[['a']], [['b']]]").is_ok());
    }

    #[test]
    fn a_time_is_given_in_seconds_and_set_in_microseconds() {
        let set = |name, text| one(name, text).map(|property| property.to_string());
        assert_eq!(set("TimeoutStopSec", "60").unwrap(), "TimeoutStopUSec = 60000000");
        assert_eq!(set("TimeoutStopSec", "uint64 1").unwrap(), "TimeoutStopUSec = 1000000");
        assert_eq!(set("TimeoutStopSec", "0.5").unwrap(), "TimeoutStopUSec = 500000");
        assert_eq!(set("TimeoutStopUSec", "uint64 7").unwrap(), "TimeoutStopUSec = 7");
        for text in ["true", "'5'", "-1", "uint64 18446744073709551615", "1e300"] {
            assert!(set("TimeoutStopSec", text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_annotations_with_the_prefix_are_read_and_a_wrong_one_is_named() {
        let annotations = |pairs: &[(&str, &str)]| {
            let owned = pairs.iter().map(|(key, value)| (key.to_string(), value.to_string()));
            properties(&owned.collect())
        };
        let pairs = [("com.example", "("), ("org.systemd.property.CollectMode", "'inactive'")];
        let found = annotations(&pairs).unwrap();
        assert_eq!(found, [Property::new("CollectMode", Value::text("inactive"))]);
        let error = annotations(&[("org.systemd.property.Bad-Name", "1")]).unwrap_err();
        assert!(
            error.to_string().contains("(config.json /annotations/org.systemd.property.Bad-Name)")
        );
        assert!(annotations(&[("org.systemd.property.A", "1")]).is_err());
    }
}
