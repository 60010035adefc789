//! `nman ps`: the table of containers, in Docker's words.

use crate::cli::{Format, PsArgs};
use crate::clock::human;
use crate::container::{Containers, Record, State, Status};
use crate::error::Result;
use crate::settings::Settings;
use crate::table::{Table, plain, shorten};
use serde_json::json;

const HEADS: [&str; 7] = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];

/// The list as text.
pub fn ps(settings: &Settings, args: &PsArgs) -> Result<String> {
    let mut containers = Containers::open(&settings.containers())?.list()?;
    containers.retain(|(_, state)| args.all || state.status == Status::Running);
    if args.quiet {
        let id = |record: &Record| if args.no_trunc { record.id.as_str() } else { record.id.short() }.to_owned();
        return Ok(containers.iter().map(|(record, _)| id(record) + "\n").collect());
    }
    match args.format {
        Format::Table => {
            let mut table = Table::new(&HEADS);
            for (record, state) in &containers {
                table.push(row(record, state, args.no_trunc));
            }
            Ok(table.render())
        }
        Format::Json => {
            Ok(containers.iter().map(|(record, state)| object(record, state).to_string() + "\n").collect())
        }
    }
}

fn row(record: &Record, state: &State, no_trunc: bool) -> Vec<String> {
    let command = plain(&record.command.join(" "));
    let (id, command) = if no_trunc {
        (record.id.as_str(), format!("\"{command}\""))
    } else {
        (record.id.short(), format!("\"{}\"", shorten(&command, 20)))
    };
    vec![
        id.to_owned(),
        plain(&record.image.name),
        command,
        format!("{} ago", human(record.created.age())),
        status(state),
        ports(record, state),
        record.name.to_string(),
    ]
}

fn status(state: &State) -> String {
    state.sentence()
}

fn ports(_record: &Record, _state: &State) -> String {
    String::new()
}

fn object(record: &Record, state: &State) -> serde_json::Value {
    let labels: Vec<String> = record.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    json!({
        "Command": format!("\"{}\"", record.command.join(" ")),
        "CreatedAt": record.created,
        "ID": record.id,
        "Image": record.image.name,
        "Labels": labels.join(","),
        "Names": record.name,
        "Ports": ports(record, state),
        "RunningFor": format!("{} ago", human(record.created.age())),
        "State": state.status.as_str(),
        "Status": status(state),
    })
}
