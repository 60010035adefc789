//! Go's templates, as far as people write them after `--format`, over JSON.
//!
//! There are fields, variables, `if`, `with`, `range`, pipelines, parentheses, comments, trimming of white space, Go's
//! and Docker's functions. A template is checked before it is filled, so that a slip in a field's name is found even
//! if there is nothing to show. Text is bounded by what was typed: there is no recursion and no loop but over data.

mod function;
mod lex;
mod parse;
mod print;
mod run;
#[cfg(test)]
mod tests;

pub use print::text_of;
pub use run::Context;

use crate::suggest::nearest;
use parse::{Choice, Command, Node, Operand, Pipeline, Term};
use serde_json::Value;
use std::collections::BTreeSet;

/// The method by which a template gets at one label: `{{.Label "key"}}`.
pub const LABEL: &str = "Label";

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    text: String,
    nodes: Vec<Node>,
}

/// What is wrong with a template, where it is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template parsing error: template: {message}")]
pub struct Fault {
    message: String,
    hint: Option<String>,
    /// The template is none, whatever it may be used for.
    is_of_form: bool,
}

impl Fault {
    /// What to write instead, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        self.hint.clone()
    }

    /// Whether the template is none, whatever it may be used for.
    #[must_use]
    pub fn is_of_form(&self) -> bool {
        self.is_of_form
    }

    fn parse(text: &str, at: usize, message: &str) -> Self {
        let (line, _) = place(text, at);
        let hint = Some("templates are Go's: `{{.Field}}`, `{{json .}}`".to_owned());
        Self { message: format!(":{line}: {message}"), hint, is_of_form: true }
    }

    fn run(text: &str, term: &Term, message: &str) -> Self {
        let (line, column) = place(text, term.at);
        let written = term.written();
        Self {
            message: format!(":{line}:{column}: executing \"\" at <{written}>: {message}"),
            hint: None,
            is_of_form: false,
        }
    }

    fn with_fields<'f>(mut self, typed: &str, fields: impl IntoIterator<Item = &'f str>) -> Self {
        let fields: Vec<&str> = fields.into_iter().collect();
        let near = nearest(typed, fields.iter().copied());
        let meant = near.map_or_else(String::new, |near| format!("did you mean `.{near}`? "));
        let all: Vec<String> = fields.iter().map(|field| format!(".{field}")).collect();
        self.hint = Some(format!("{meant}fields are {}", all.join(" ")));
        self
    }
}

/// Line and column of an offset, as Go counts them: columns from zero.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    (line, before.rsplit('\n').next().unwrap_or_default().len())
}

impl Template {
    /// Parses.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let nodes = parse::parse(text)?;
        function::check(text, &nodes)?;
        Ok(Self { text: text.to_owned(), nodes })
    }

    /// The same for a list: `\t` and `\n` that a shell has left as two characters are tab and newline, as in Docker. In
    /// actions they stay: there they are Go's.
    pub fn parse_line(text: &str) -> Result<Self, Fault> {
        let spaced = |text: &str| text.replace("\\t", "\t").replace("\\n", "\n");
        let mut parts = text.split("{{");
        let mut whole = spaced(parts.next().unwrap_or_default());
        for part in parts {
            let (action, after) = part.split_at(part.find("}}").unwrap_or(part.len()));
            whole.extend(["{{", action, &spaced(after)]);
        }
        Self::parse(&whole)
    }

    /// A template of one field.
    pub(super) fn of_field(field: &str) -> Self {
        let operator = Term { operand: Operand::Dot, fields: vec![field.to_owned()], at: 2 };
        let command = Command { operator, arguments: Vec::new() };
        let commands = vec![command];
        let pipeline = Pipeline { variables: Vec::new(), assigns: false, commands };
        Self { text: format!("{{{{.{field}}}}}"), nodes: vec![Node::Print(pipeline)] }
    }

    /// Refuses fields of the object itself that are not among `fields`.
    pub fn check(&self, fields: &[&str]) -> Result<(), Fault> {
        let mut fault = None;
        self.visit(&mut |term, field, _| {
            if let Some(field) = field
                && !fields.contains(&field)
                && fault.is_none()
            {
                let message = format!("can't evaluate field {field}");
                let wrong = Fault::run(&self.text, term, &message);
                fault = Some(wrong.with_fields(field, fields.iter().copied()));
            }
        });
        fault.map_or(Ok(()), Err)
    }

    /// Whether a field of the object is looked at, by its name or with the whole object.
    #[must_use]
    pub fn uses(&self, wanted: &str) -> bool {
        let mut used = false;
        self.visit(&mut |_, field, _| used |= field.is_none_or(|field| field == wanted));
        used
    }

    /// The labels that are asked for one by one: `.Label "key"`.
    pub(super) fn labels(&self) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        self.visit(&mut |_, field, argument| {
            if field == Some(LABEL)
                && let Some(Operand::Literal(Value::String(key))) =
                    argument.map(|term| &term.operand)
            {
                keys.insert(key.clone());
            }
        });
        keys
    }

    /// Fills the template.
    pub fn render(&self, context: &Context<'_>) -> Result<String, Fault> {
        run::run(&self.text, &self.nodes, context)
    }

    /// Calls `seen` for each use of the object itself: with the field, or without one if it is used whole; and with
    /// the first argument.
    fn visit<'t>(&'t self, seen: &mut dyn FnMut(&'t Term, Option<&'t str>, Option<&'t Term>)) {
        visit_nodes(&self.nodes, true, seen);
    }
}

type Seen<'t, 's> = &'s mut dyn FnMut(&'t Term, Option<&'t str>, Option<&'t Term>);

/// `whole` says whether the dot is the object itself, which it is outside of `range` and `with`.
fn visit_nodes<'t>(nodes: &'t [Node], whole: bool, seen: Seen<'t, '_>) {
    for node in nodes {
        match node {
            Node::Text(_) | Node::Break | Node::Continue => {}
            Node::Print(pipeline) => visit_pipeline(pipeline, whole, seen),
            Node::If(choice) => visit_choice(choice, whole, whole, seen),
            Node::With(choice) | Node::Range(choice) => visit_choice(choice, whole, false, seen),
        }
    }
}

fn visit_choice<'t>(choice: &'t Choice, whole: bool, inside: bool, seen: Seen<'t, '_>) {
    visit_pipeline(&choice.pipeline, whole, seen);
    visit_nodes(&choice.then, inside, seen);
    visit_nodes(&choice.otherwise, whole, seen);
}

fn visit_pipeline<'t>(pipeline: &'t Pipeline, whole: bool, seen: Seen<'t, '_>) {
    for Command { operator, arguments } in &pipeline.commands {
        for (index, term) in std::iter::once(operator).chain(arguments).enumerate() {
            let is_root = match &term.operand {
                Operand::Dot => whole,
                Operand::Variable(name) => name.is_empty(),
                Operand::Parens(inner) => {
                    visit_pipeline(inner, whole, seen);
                    false
                }
                Operand::Literal(_) | Operand::Function(_) => false,
            };
            if is_root {
                let argument = if index == 0 { arguments.first() } else { None };
                seen(term, term.fields.first().map(String::as_str), argument);
            }
        }
    }
}
