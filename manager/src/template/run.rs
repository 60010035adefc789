//! A parsed template filled from data.

use super::parse::{Choice, Command, Node, Operand, Pipeline, Term};
use super::print::{is_ours, text_in, text_of};
use super::{Fault, function};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// What a template is filled from.
#[derive(Clone, Copy, Debug)]
pub struct Context<'c> {
    /// The object.
    pub dot: &'c Value,
    /// For each method that takes a key, the values by key: `.Label "key"`.
    pub methods: &'c Map<String, Value>,
    /// The fields are text that somebody else chose and that goes to a terminal: what would move the cursor is
    /// escaped.
    pub foreign: bool,
}

/// Fields that Docker leaves out of an object where they are nil, and that its templates know all the same; each behind one that
/// the same object always has.
const NIL: [(&str, &str); 5] = [
    ("OOMKilled", "Health"),
    ("RestartCount", "SizeRw"),
    ("RestartCount", "SizeRootFs"),
    ("ContainerIDFile", "Mounts"),
    ("IPAMConfig", "Links"),
];

/// The same of texts, which are empty there.
const EMPTY: [(&str, &str); 3] =
    [("SandboxKey", "Bridge"), ("SandboxKey", "SandboxID"), ("RootFS", "Variant")];

/// The same of a configuration, of which an image's may lack everything.
const NIL_OF_CONFIG: [&str; 10] = [
    "Cmd",
    "Entrypoint",
    "Env",
    "ExposedPorts",
    "Healthcheck",
    "Labels",
    "OnBuild",
    "Shell",
    "StopTimeout",
    "Volumes",
];
const EMPTY_IN_CONFIG: [&str; 3] = ["StopSignal", "User", "WorkingDir"];

/// Fills `nodes`; `source` is what they were parsed from, for messages.
pub(super) fn run(source: &str, nodes: &[Node], context: &Context<'_>) -> Result<String, Fault> {
    let variables = vec![(String::new(), context.dot.clone())];
    let mut run = Run { source, context, variables, lenient: false, text: String::new() };
    run.nodes(nodes, context.dot)?;
    Ok(run.text)
}

/// Whether the next node follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Run<'r> {
    source: &'r str,
    context: &'r Context<'r>,
    variables: Vec<(String, Value)>,
    /// In a condition a field that is not there is false: `inspect` leaves out what an object has not.
    lenient: bool,
    text: String,
}

type Got<'v> = Result<Cow<'v, Value>, Fault>;

impl Run<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, Fault> {
        for node in nodes {
            let flow = match node {
                Node::Text(text) => {
                    self.text.push_str(text);
                    Flow::On
                }
                Node::Print(pipeline) => self.print(pipeline, dot)?,
                Node::If(choice) => self.choose(choice, dot, false)?,
                Node::With(choice) => self.choose(choice, dot, true)?,
                Node::Range(choice) => self.range(choice, dot)?,
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn print(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Flow, Fault> {
        let value = self.pipeline(pipeline, dot)?.into_owned();
        if !pipeline.variables.is_empty() {
            self.declare(pipeline, value);
            return Ok(Flow::On);
        }
        let is_field = matches!(&pipeline.commands[..], [Command { operator, .. }]
            if !matches!(operator.operand, Operand::Function(_) | Operand::Literal(_)));
        let field = match &pipeline.commands[..] {
            [Command { operator, .. }] => operator.fields.last().map_or("", String::as_str),
            _ => "",
        };
        let text = text_in(field, &value);
        match self.context.foreign && is_field {
            true => self.text.push_str(&crate::table::plain(&text)),
            false => self.text.push_str(&text),
        }
        Ok(Flow::On)
    }

    fn choose(&mut self, choice: &Choice, dot: &Value, moves: bool) -> Result<Flow, Fault> {
        let kept = self.variables.len();
        let value = self.condition(&choice.pipeline, dot)?;
        self.declare(&choice.pipeline, value.clone());
        let flow = if function::is_true(&value) {
            self.nodes(&choice.then, if moves { &value } else { dot })
        } else {
            self.nodes(&choice.otherwise, dot)
        };
        self.variables.truncate(kept);
        flow
    }

    fn condition(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Fault> {
        // A list's fields are all there: a slip has been found before.
        self.lenient = !self.context.foreign;
        let value = self.pipeline(pipeline, dot).map(Cow::into_owned);
        self.lenient = false;
        value
    }

    fn range(&mut self, choice: &Choice, dot: &Value) -> Result<Flow, Fault> {
        let list = self.condition(&choice.pipeline, dot)?;
        let items: Vec<(Value, Value)> = match list {
            Value::Array(items) => {
                items.into_iter().enumerate().map(|(at, item)| (Value::from(at), item)).collect()
            }
            Value::Object(map) => {
                let mut pairs: Vec<_> = map.into_iter().collect();
                pairs.sort_by(|a, b| a.0.cmp(&b.0));
                pairs.into_iter().map(|(key, value)| (Value::from(key), value)).collect()
            }
            Value::Null => Vec::new(),
            other => {
                let message = format!("range can't iterate over {}", text_of(&other));
                return Err(self.fault(&choice.pipeline.commands[0].operator, &message));
            }
        };
        if items.is_empty() {
            return self.nodes(&choice.otherwise, dot);
        }
        for (key, item) in items {
            let kept = self.variables.len();
            match &choice.pipeline.variables[..] {
                [] => {}
                [value] => self.variables.push((value.clone(), item.clone())),
                [index, value, ..] => {
                    self.variables.push((index.clone(), key));
                    self.variables.push((value.clone(), item.clone()));
                }
            }
            let flow = self.nodes(&choice.then, &item)?;
            self.variables.truncate(kept);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn declare(&mut self, pipeline: &Pipeline, value: Value) {
        let Some(name) = pipeline.variables.first() else { return };
        let old = self.variables.iter_mut().rev().find(|(own, _)| own == name);
        match old {
            Some((_, old)) if pipeline.assigns => *old = value,
            _ => self.variables.push((name.clone(), value)),
        }
    }

    fn pipeline<'v>(&self, pipeline: &Pipeline, dot: &'v Value) -> Got<'v> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        Ok(value.unwrap_or(Cow::Owned(Value::Null)))
    }

    /// `last` is what comes through the pipe: the last argument.
    fn command<'v>(
        &self,
        command: &Command,
        dot: &'v Value,
        last: Option<Cow<'_, Value>>,
    ) -> Got<'v> {
        let Command { operator, arguments } = command;
        if let Operand::Function(name) = &operator.operand {
            return self.call(name, operator, arguments, dot, last);
        }
        let argument = arguments.first().map(|term| self.term(term, dot)).transpose()?.or(last);
        let method = match &operator.fields[..] {
            [method] => self.context.methods.get(method),
            _ => None,
        };
        let Some(argument) = argument else {
            return match method {
                Some(_) => {
                    let message =
                        format!("wrong number of args for {}: want 1 got 0", operator.fields[0]);
                    Err(self.fault(operator, &message))
                }
                None => self.term(operator, dot),
            };
        };
        match (method, argument.as_str()) {
            (Some(values), Some(key)) => {
                Ok(Cow::Owned(values.get(key).cloned().unwrap_or_else(|| Value::from(""))))
            }
            _ => Err(self.fault(
                operator,
                &format!("can't give argument to non-function {}", operator.written()),
            )),
        }
    }

    fn call<'v>(
        &self,
        name: &str,
        operator: &Term,
        arguments: &[Term],
        dot: &'v Value,
        last: Option<Cow<'_, Value>>,
    ) -> Got<'v> {
        let stop = match name {
            "and" => Some(false),
            "or" => Some(true),
            _ => None,
        };
        let mut values = Vec::with_capacity(arguments.len() + 1);
        for term in arguments {
            let value = self.term(term, dot)?.into_owned();
            // What follows may make sense only if this is so: `and .X .X.Y`.
            if stop == Some(function::is_true(&value)) {
                return Ok(Cow::Owned(value));
            }
            values.push(value);
        }
        values.extend(last.map(Cow::into_owned));
        let value = function::call(name, values)
            .map_err(|message| self.fault(operator, &format!("error calling {name}: {message}")))?;
        self.fields(operator, Cow::Owned(value))
    }

    fn term<'v>(&self, term: &Term, dot: &'v Value) -> Got<'v> {
        let start = match &term.operand {
            Operand::Dot => Cow::Borrowed(dot),
            Operand::Literal(value) => Cow::Owned(value.clone()),
            Operand::Variable(name) => {
                let found = self.variables.iter().rev().find(|(own, _)| own == name);
                let message = || self.fault(term, &format!("undefined variable: ${name}"));
                Cow::Owned(found.ok_or_else(message)?.1.clone())
            }
            Operand::Function(name) => return self.call(name, term, &[], dot, None),
            Operand::Parens(pipeline) => self.pipeline(pipeline, dot)?,
        };
        self.fields(term, start)
    }

    fn fields<'v>(&self, term: &Term, start: Cow<'v, Value>) -> Got<'v> {
        let mut value = start;
        let mut of = "";
        for name in &term.fields {
            value = match value {
                Cow::Borrowed(value) => match value.get(name) {
                    Some(field) => Cow::Borrowed(field),
                    None => Cow::Owned(self.missing(term, value, of, name)?),
                },
                Cow::Owned(mut value) => match value.get_mut(name) {
                    Some(field) => Cow::Owned(field.take()),
                    None => Cow::Owned(self.missing(term, &value, of, name)?),
                },
            };
            of = name;
        }
        Ok(value)
    }

    /// A field that is not there, of an object that is the field `of` itself: no value in a map with keys of others' choice, a
    /// mistake in an object of ours.
    fn missing(&self, term: &Term, value: &Value, of: &str, name: &str) -> Result<Value, Fault> {
        let of_docker = value
            .as_object()
            .and_then(|map| unset(map, of, name).or_else(|| spelled_otherwise(map, name).cloned()));
        if let Some(field) = of_docker {
            return Ok(field);
        }
        match value {
            _ if self.lenient => Ok(Value::Null),
            Value::Object(map) if is_ours(map) => {
                let message = format!("map has no entry for key \"{name}\"");
                Err(self.fault(term, &message).with_fields(name, map.keys().map(String::as_str)))
            }
            Value::Object(_) => Ok(Value::Null),
            Value::Null => Err(self.fault(term, &format!("nil pointer evaluating .{name}"))),
            _ => Err(self.fault(term, &format!("can't evaluate field {name}"))),
        }
    }

    fn fault(&self, term: &Term, message: &str) -> Fault {
        Fault::run(self.source, term, message)
    }
}

/// What a field is that this object has not, and Docker's has always: nil, or empty.
fn unset(map: &Map<String, Value>, of: &str, name: &str) -> Option<Value> {
    let is_in = |fields: &[(&str, &str)]| {
        fields.iter().any(|(beside, field)| *field == name && map.contains_key(*beside))
    };
    let is_config = of == "Config" || map.contains_key("AttachStdin");
    if is_in(&NIL) || is_config && NIL_OF_CONFIG.contains(&name) {
        return Some(Value::Null);
    }
    (is_in(&EMPTY) || is_config && EMPTY_IN_CONFIG.contains(&name)).then(|| json!(""))
}

/// A field that Go's structure has by another spelling than JSON: `ID` is `Id` there, and `NanoCPUs` `NanoCpus`.
fn spelled_otherwise<'m>(map: &'m Map<String, Value>, name: &str) -> Option<&'m Value> {
    let is_field = name.starts_with(|c: char| c.is_ascii_uppercase()) && is_ours(map);
    let mut fields = map.iter().filter(|_| is_field);
    fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}
