//! Lists as a Docker user knows them: `--format`, `--filter`, `-q` and `--no-trunc`, the same for everything listed.
//!
//! A list is declared once, and hands over a [`Row`] for each object:
//!
//! ```
//! use nman::listing::{Column, List, ListArgs, Row};
//!
//! const VOLUMES: List = List {
//!     columns: &[
//!         Column::new("Driver", "DRIVER"),
//!         Column::new("Name", "VOLUME NAME"),
//!         Column::new("Size", "SIZE"),
//!     ],
//!     table: &["Driver", "Name"],
//!     quiet: "Name",
//!     filters: &["name", "label"],
//! };
//!
//! let args = ListArgs { format: Some("{{.Name}} {{.Size}}".into()), ..ListArgs::default() };
//! // Everything that was typed is checked here, before anything is looked at.
//! let view = VOLUMES.view(&args).unwrap();
//! let labels = std::collections::BTreeMap::from([("app".to_owned(), "web".to_owned())]);
//! let mut rows = Vec::new();
//! if view.filters.named("name", "data") && view.filters.labelled(&labels) {
//!     let mut row = Row::new([("Driver", "local"), ("Name", "data")]).labels(&labels);
//!     // What is dear to find out is only asked for if it is shown.
//!     if view.shows("Size") {
//!         row = row.with("Size", "3B");
//!     }
//!     rows.push(row);
//! }
//! assert_eq!(view.render(&rows).unwrap(), "data 3B\n");
//! ```
//!
//! `inspect --format` is [`objects`], and any other object with a template, as of `info` and `version`, [`object`].

mod filter;
mod objects;
mod size;

pub use crate::template::Template;
pub use filter::{Filters, has_label};
pub use objects::{object, objects, pretty};
pub use size::{binary_size, human_size, precise_size};

use crate::error::{Error, Result};
use crate::preferences;
use crate::table::{Table, plain};
use crate::template::{self, Context, LABEL};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Options that every list takes.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ListArgs {
    /// Show only what fits; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub filter: Vec<String>,
    /// Print a `table`, `json`, `table TEMPLATE`, or a Go template for each line
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Do not shorten what is shown
    #[arg(long)]
    pub no_trunc: bool,
    /// Show ids or names only
    #[arg(short, long)]
    pub quiet: bool,
}

/// A field of a list: what templates and JSON call it, and what stands above its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    field: &'static str,
    head: &'static str,
}

impl Column {
    /// A field and its head.
    #[must_use]
    pub const fn new(field: &'static str, head: &'static str) -> Self {
        Self { field, head }
    }
}

/// What a list has to show.
#[derive(Clone, Copy, Debug)]
pub struct List {
    /// Every field there is.
    pub columns: &'static [Column],
    /// The fields of the table that is printed without `--format`, in order.
    pub table: &'static [&'static str],
    /// The field that `-q` shows.
    pub quiet: &'static str,
    /// The keys that `--filter` takes.
    pub filters: &'static [&'static str],
}

/// A list as it was asked for.
#[derive(Debug)]
pub struct View {
    list: List,
    form: Form,
    /// What was asked to be left out.
    pub filters: Filters,
    /// Whether ids and the like are shown in full.
    pub no_trunc: bool,
}

/// How the rows are printed.
#[derive(Debug)]
enum Form {
    Table(Vec<&'static str>),
    Json,
    Lines(Template),
    Columns(Template),
}

impl List {
    /// Takes what was typed apart; a mistake in a template or a filter is found here.
    pub fn view(&self, args: &ListArgs) -> Result<View> {
        self.view_of(args, self.table)
    }

    /// The same with other columns in the table, such as `ps -s` has.
    pub fn view_of(&self, args: &ListArgs, table: &[&'static str]) -> Result<View> {
        let filters = Filters::parse(&args.filter, self.filters)?;
        let form = self.form(args, table)?;
        Ok(View { list: *self, form, filters, no_trunc: args.no_trunc })
    }

    /// The same in the form that the user's configuration names under `key`, unless one was typed.
    pub fn view_by(&self, key: &str, args: &ListArgs, table: &[&'static str]) -> Result<View> {
        let is_typed = args.quiet || args.format.as_deref().is_some_and(|typed| !typed.is_empty());
        let Some(format) = preferences::text(key).filter(|_| !is_typed) else {
            return self.view_of(args, table);
        };
        let args = ListArgs { format: Some(format), ..args.clone() };
        self.view_of(&args, table).map_err(|error| match error {
            Error::Template(fault) => Error::Rejected {
                message: format!("`{key}` in `{}`: {fault}", preferences::place()),
                hint: fault.hint(),
            },
            other => other,
        })
    }

    fn form(&self, args: &ListArgs, table: &[&'static str]) -> Result<Form> {
        let format = args.format.as_deref().unwrap_or_default().trim_matches(' ');
        let quiet = || Template::of_field(self.quiet);
        let template = |text: &str| -> Result<Template> {
            let template = Template::parse_line(text)?;
            template.check(&self.fields())?;
            Ok(template)
        };
        Ok(match format {
            "" | "table" if args.quiet => Form::Lines(quiet()),
            "" | "table" => Form::Table(table.to_vec()),
            "json" => Form::Json,
            text => {
                match text.strip_prefix("table").filter(|rest| rest.starts_with([' ', '\t', '\\']))
                {
                    Some(rest) => Form::Columns(template(rest.trim_start_matches(' '))?),
                    None => Form::Lines(template(text)?),
                }
            }
        })
    }

    fn fields(&self) -> Vec<&'static str> {
        let mut fields: Vec<_> = self.columns.iter().map(|column| column.field).collect();
        if fields.contains(&"Labels") {
            fields.push(LABEL);
        }
        fields
    }

    fn head(&self, field: &str) -> &'static str {
        self.columns.iter().find(|column| column.field == field).map_or("", |column| column.head)
    }
}

impl View {
    /// Whether a field will be looked at: what is dear to find out need not be found out otherwise.
    #[must_use]
    pub fn shows(&self, field: &str) -> bool {
        match &self.form {
            Form::Table(fields) => fields.contains(&field),
            Form::Json => true,
            Form::Lines(template) | Form::Columns(template) => {
                template.uses(field) || field == "Labels" && template.uses(LABEL)
            }
        }
    }

    /// Whether every field is printed, whether asked for by name or not.
    #[must_use]
    pub fn is_json(&self) -> bool {
        matches!(self.form, Form::Json)
    }

    /// The list as text.
    pub fn render(&self, rows: &[Row]) -> Result<String> {
        match &self.form {
            Form::Table(fields) => Ok(self.table(fields, rows)),
            Form::Json => Ok(rows.iter().map(|row| format!("{}\n", row.object())).collect()),
            Form::Lines(template) => {
                let mut text = String::new();
                for row in rows {
                    text.push_str(&row.fill(template)?);
                    text.push('\n');
                }
                Ok(text)
            }
            Form::Columns(template) => self.columns(template, rows),
        }
    }

    /// One row as text, for what is printed while it happens.
    pub fn line(&self, row: &Row) -> Result<String> {
        self.render(std::slice::from_ref(row))
    }

    fn table(&self, fields: &[&str], rows: &[Row]) -> String {
        let heads: Vec<&str> = fields.iter().map(|field| self.list.head(field)).collect();
        let mut table = Table::new(&heads);
        for row in rows {
            table.push(fields.iter().map(|field| row.cell(field)).collect());
        }
        table.render()
    }

    /// A template whose tabs are the borders of columns, under the heads of the fields that it uses.
    fn columns(&self, template: &Template, rows: &[Row]) -> Result<String> {
        let mut heads =
            Row::new(self.list.columns.iter().map(|column| (column.field, column.head)));
        // Docker's head of a label: the last part of its key.
        heads.methods.insert(LABEL.to_owned(), Value::Object(label_heads(&template.labels())));
        let head = heads.fill(template)?;
        let cells = |line: &str| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
        let mut table = Table::new(&head.split('\t').collect::<Vec<_>>());
        for row in rows {
            for line in row.fill(template)?.lines() {
                table.push(cells(line));
            }
        }
        Ok(table.render())
    }
}

fn label_heads(keys: &BTreeSet<String>) -> Map<String, Value> {
    let head = |key: &str| key.rsplit('.').next().unwrap_or(key).replace(['-', '_'], " ");
    keys.iter().map(|key| (key.clone(), json!(head(key)))).collect()
}

/// One object of a list.
#[derive(Clone, Debug, Default)]
pub struct Row {
    fields: Map<String, Value>,
    methods: Map<String, Value>,
}

impl Row {
    /// A row with these fields.
    pub fn new<V: Into<Value>>(fields: impl IntoIterator<Item = (&'static str, V)>) -> Self {
        let fields =
            fields.into_iter().map(|(field, value)| (field.to_owned(), value.into())).collect();
        Self { fields, methods: Map::new() }
    }

    /// The row with one more field.
    #[must_use]
    pub fn with(mut self, field: &'static str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.to_owned(), value.into());
        self
    }

    /// The row with labels, under `.Labels` as `key=value,…` and one by one under `.Label "key"`.
    #[must_use]
    pub fn labels(mut self, labels: &BTreeMap<String, String>) -> Self {
        self.methods.insert(LABEL.to_owned(), json!(labels));
        self.with("Labels", joined(labels))
    }

    fn cell(&self, field: &str) -> String {
        plain(&self.fields.get(field).map_or_else(String::new, template::text_of))
    }

    /// The fields in alphabetical order, as Docker has them.
    fn object(&self) -> Value {
        let sorted: BTreeMap<_, _> = self.fields.iter().collect();
        Value::Object(sorted.into_iter().map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    fn fill(&self, template: &Template) -> Result<String> {
        let dot = self.object();
        let context = Context { dot: &dot, methods: &self.methods, foreign: true };
        Ok(template.render(&context)?)
    }
}

/// Labels as one text: `key=value,…`
pub(crate) fn joined(labels: &BTreeMap<String, String>) -> String {
    let all: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    all.join(",")
}

#[cfg(test)]
mod tests;
