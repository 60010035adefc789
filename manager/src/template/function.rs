//! The functions of templates: Go's own and those that Docker adds.

use super::parse::{Choice, Node, Operand, Pipeline};
use super::print::{formatted, json_of, text_of};
use super::{Fault, Term};
use crate::suggest::nearest;
use serde_json::{Value, json};
use std::cmp::Ordering;

const NAMES: [&str; 26] = [
    "and", "eq", "ge", "gt", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not",
    "or", "pad", "print", "printf", "println", "slice", "split", "title", "trim", "truncate",
    "upper", "html", "urlquery",
];

/// Refuses functions that there are not.
pub(super) fn check(text: &str, nodes: &[Node]) -> Result<(), Fault> {
    for node in nodes {
        match node {
            Node::Text(_) | Node::Break | Node::Continue => {}
            Node::Print(pipeline) => check_pipeline(text, pipeline)?,
            Node::If(choice) | Node::With(choice) | Node::Range(choice) => {
                let Choice { pipeline, then, otherwise } = choice;
                check_pipeline(text, pipeline)?;
                check(text, then)?;
                check(text, otherwise)?;
            }
        }
    }
    Ok(())
}

fn check_pipeline(text: &str, pipeline: &Pipeline) -> Result<(), Fault> {
    for command in &pipeline.commands {
        for term in std::iter::once(&command.operator).chain(&command.arguments) {
            check_term(text, term)?;
        }
    }
    Ok(())
}

fn check_term(text: &str, term: &Term) -> Result<(), Fault> {
    match &term.operand {
        Operand::Parens(inner) => check_pipeline(text, inner),
        Operand::Function(name) if !NAMES.contains(&name.as_str()) => {
            let mut fault = Fault::parse(text, term.at, &format!("function {name:?} not defined"));
            if let Some(near) = nearest(name, NAMES) {
                fault.hint =
                    Some(format!("did you mean `{near}`? a field has a dot before it: `.{name}`"));
            } else {
                fault.hint = Some(format!("a field has a dot before it: `.{name}`"));
            }
            Err(fault)
        }
        _ => Ok(()),
    }
}

/// Go's truth: not false, zero, empty or absent.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// Calls a function; the message of an error is Go's.
pub(super) fn call(name: &str, mut values: Vec<Value>) -> Result<Value, String> {
    let many = |least: usize, most: usize| {
        let count = values.len();
        let wrong = || format!("wrong number of args for {name}: want {least} got {count}");
        if (least..=most).contains(&count) { Ok(()) } else { Err(wrong()) }
    };
    match name {
        "and" | "or" => {
            many(1, usize::MAX)?;
            return Ok(values.pop().unwrap_or_default());
        }
        "print" | "println" | "printf" => return printed(name, &values),
        "eq" => many(2, usize::MAX)?,
        "index" | "slice" => many(1, 4)?,
        "ne" | "lt" | "le" | "gt" | "ge" | "split" | "join" | "trim" | "truncate" => many(2, 2)?,
        "pad" => many(3, 3)?,
        _ => many(1, 1)?,
    }
    let first = values.remove(0);
    Ok(match name {
        "not" => json!(!is_true(&first)),
        "len" => json!(length(&first)?),
        "json" => json!(json_of(&first)),
        "index" => values.iter().try_fold(first, index)?,
        "slice" => slice(&first, &values)?,
        "eq" => json!(values.iter().any(|other| equal(&first, other))),
        "ne" => json!(!equal(&first, &values[0])),
        "lt" | "le" | "gt" | "ge" => json!(compares(name, &first, &values[0])?),
        _ => text_function(name, &first, &values)?,
    })
}

fn text_function(name: &str, first: &Value, rest: &[Value]) -> Result<Value, String> {
    let text = text_of(first);
    let string = |at: usize| rest[at].as_str().ok_or("wrong type for value; expected string");
    let number = |at: usize| {
        let number = rest[at].as_u64().and_then(|number| usize::try_from(number).ok());
        number.filter(|number| *number <= 10_000).ok_or("wrong type for value; expected int")
    };
    Ok(match name {
        "lower" => json!(text.to_lowercase()),
        "upper" => json!(text.to_uppercase()),
        "title" => json!(title(&text)),
        "split" => json!(text.split(string(0)?).collect::<Vec<_>>()),
        "join" => json!(items(first)?.iter().map(text_of).collect::<Vec<_>>().join(string(0)?)),
        "trim" => json!(text.trim_matches(|c| string(0).is_ok_and(|set| set.contains(c)))),
        "truncate" => json!(text.chars().take(number(0)?).collect::<String>()),
        "pad" => json!(format!("{}{text}{}", " ".repeat(number(0)?), " ".repeat(number(1)?))),
        "html" => json!(
            text.replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&#34;")
        ),
        _ => json!(text.bytes().map(url_quoted).collect::<String>()),
    })
}

fn url_quoted(byte: u8) -> String {
    match byte {
        b' ' => "+".to_owned(),
        b if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    }
}

fn printed(name: &str, values: &[Value]) -> Result<Value, String> {
    let texts = || values.iter().map(text_of).collect::<Vec<_>>();
    Ok(Value::String(match (name, values) {
        ("printf", [Value::String(format), arguments @ ..]) => formatted(format, arguments),
        ("printf", _) => return Err("wrong type for value; expected string".to_owned()),
        ("println", _) => texts().join(" ") + "\n",
        // Go puts a space between operands of which neither is text.
        _ => {
            let mut text = String::new();
            for (at, value) in values.iter().enumerate() {
                if at > 0 && !value.is_string() && !values[at - 1].is_string() {
                    text.push(' ');
                }
                text.push_str(&text_of(value));
            }
            text
        }
    }))
}

fn title(text: &str) -> String {
    let mut before = ' ';
    let capital = |c: char| {
        let begins = !before.is_alphanumeric() && before != '_' && before != '\'';
        before = c;
        if begins { c.to_uppercase().collect::<String>() } else { c.to_string() }
    };
    text.chars().map(capital).collect()
}

fn items(value: &Value) -> Result<&[Value], String> {
    match value {
        Value::Array(items) => Ok(items),
        Value::Null => Ok(&[]),
        other => Err(format!("wrong type for value; expected []string; got {}", kind(other))),
    }
}

fn length(value: &Value) -> Result<usize, String> {
    match value {
        Value::String(text) => Ok(text.len()),
        Value::Array(items) => Ok(items.len()),
        Value::Object(map) => Ok(map.len()),
        Value::Null => Ok(0),
        other => Err(format!("len of type {}", kind(other))),
    }
}

/// A key that a map has not gives the value that Go's map of text has for it.
fn index(value: Value, key: &Value) -> Result<Value, String> {
    match (value, key) {
        (Value::Object(mut map), Value::String(key)) => {
            let text_only = map.values().all(Value::is_string);
            let absent = if text_only { json!("") } else { Value::Null };
            Ok(map.remove(key).unwrap_or(absent))
        }
        (Value::Array(mut items), Value::Number(number)) => {
            let at = number.as_u64().and_then(|at| usize::try_from(at).ok());
            match at.filter(|at| *at < items.len()) {
                Some(at) => Ok(items.swap_remove(at)),
                None => Err(format!("index out of range: {number}")),
            }
        }
        (Value::Null, _) => Err("index of untyped nil".to_owned()),
        (Value::Object(_) | Value::Array(_), key) => {
            Err(format!("cannot index with type {}", kind(key)))
        }
        (other, _) => Err(format!("can't index item of type {}", kind(&other))),
    }
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value, String> {
    let all = length(value)?;
    let bound = |at: usize, absent: usize| match bounds.get(at) {
        None => Ok(absent),
        Some(bound) => bound
            .as_u64()
            .and_then(|bound| usize::try_from(bound).ok())
            .filter(|bound| *bound <= all)
            .ok_or_else(|| format!("index out of range: {}", text_of(bound))),
    };
    let (start, end) = (bound(0, 0)?, bound(1, all)?);
    let range = || format!("invalid slice index: {start} > {end}");
    match value {
        // A character that is cut is none any more, and each of its bytes stands for itself.
        Value::String(text) => {
            let part = text.as_bytes().get(start..end).ok_or_else(range)?;
            let lost = |chunk: std::str::Utf8Chunk<'_>| {
                chunk.valid().to_owned() + &"\u{fffd}".repeat(chunk.invalid().len())
            };
            Ok(json!(part.utf8_chunks().map(lost).collect::<String>()))
        }
        Value::Array(items) => items.get(start..end).map(|part| json!(part)).ok_or_else(range),
        other => Err(format!("can't slice item of type {}", kind(other))),
    }
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b) == Ordering::Equal,
        _ => a == b,
    }
}

fn compares(name: &str, a: &Value, b: &Value) -> Result<bool, String> {
    let order = match (a, b) {
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().unwrap_or_default().total_cmp(&b.as_f64().unwrap_or_default())
        }
        _ => return Err("incompatible types for comparison".to_owned()),
    };
    Ok(match name {
        "lt" => order.is_lt(),
        "le" => order.is_le(),
        "gt" => order.is_gt(),
        _ => order.is_ge(),
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
    }
}
