//! `nrun list`: the containers under a root.

use crate::args;
use crate::cli::Parsed;
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::log;
use crate::record::{self, Saved};
use crate::state::State;
use std::fmt::Write;
use std::path::Path;

/// Lists them. A default root that does not exist has none, and is not made; one that `--root` names must exist (as in runc).
///
/// # Errors
/// When the root cannot be read. A container that goes away meanwhile is left out.
pub fn run(parsed: &Parsed) -> Result<String> {
    let root = args::root(parsed);
    let json = parsed.wants_json()?;
    let mut names = match std::fs::read_dir(&root) {
        Ok(entries) => entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect::<Vec<_>>(),
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound && parsed.value("root").is_none() =>
        {
            Vec::new()
        }
        Err(error) => return Err(Error::io(format!("read `{}`", root.display()), &error)),
    };
    names.sort_unstable();
    let ids = names.iter().filter_map(|name| ContainerId::new(name).ok());
    let containers: Vec<_> = ids.filter_map(|id| look(&root, &id)).collect();
    if parsed.is_set("quiet") {
        return Ok(containers.iter().map(|(saved, _)| format!("{}\n", saved.id)).collect());
    }
    let states: Vec<_> = containers
        .iter()
        .filter_map(|(saved, awaits_start)| told(State::of(saved, *awaits_start)))
        .collect();
    if json {
        // runc writes `null` for none, and parsers expect it.
        return Ok(if states.is_empty() {
            "null\n".to_owned()
        } else {
            serde_json::to_string(&states).unwrap_or_default() + "\n"
        });
    }
    Ok(table(&states))
}

fn look(root: &Path, id: &ContainerId) -> Option<(Saved, bool)> {
    told(record::peek(root, id))
}

/// A container that cannot be told of must not be forgotten either, nor keep the others from being told of; one that goes away meanwhile
/// is none.
fn told<T>(found: Result<T>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(Error::NoContainer { .. }) => None,
        Err(error) => {
            let hint = error.hint().map(|hint| format!(": {hint}")).unwrap_or_default();
            log::warning(&format!("{error}{hint}"));
            None
        }
    }
}

fn table(states: &[State<'_>]) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let row = |state: &State<'_>| {
        let bundle = state.bundle.display().to_string();
        let status = state.status.as_str().to_owned();
        [
            state.id.to_owned(),
            state.pid.to_string(),
            status,
            bundle,
            state.created.to_owned(),
            state.owner.clone(),
        ]
    };
    let rows: Vec<[String; 6]> = std::iter::once(header).chain(states.iter().map(row)).collect();
    let width =
        |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0).max(9) + 3;
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "{cell:<width$}");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}
