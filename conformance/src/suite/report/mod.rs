//! Reports of a run, for people and for programs.

mod html;
mod json;
mod junit;
mod tap;
mod text;

pub use html::html;
pub use json::json;
pub use junit::junit;
pub use tap::tap;
pub use text::text;

use super::case::Topic;
use super::results::{Record, Row};

/// Where the section of the specification is to be read that a topic is about; `None` where it is a page of this project's.
fn address(topic: &Topic) -> Option<String> {
    const SPECIFICATION: &str = "https://github.com/opencontainers/runtime-spec/blob/v1.3.0/";
    let is_ours = topic.section.starts_with("docs/");
    (!is_ours).then(|| format!("{SPECIFICATION}{}", topic.section))
}

/// What somebody needs to look into a failure: how binding the clause is and where it stands, and the configuration that ran.
fn background(row: &Row, record: &Record) -> Vec<(&'static str, String)> {
    let place = address(row.topic).unwrap_or_else(|| row.topic.section.to_owned());
    let mut lines = vec![("clause", format!("{}, {place}", row.case.level))];
    if !record.config.is_empty() {
        lines.push(("config", record.config.join("\n")));
    }
    lines
}

#[cfg(test)]
mod example;
