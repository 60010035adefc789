//! `nman ps`: the table of containers, in Docker's words.

use crate::cli::{Format, PsArgs};
use crate::clock::human;
use crate::container::{Containers, Record, State};
use crate::error::Result;
use crate::network::{self, NetworkPlan};
use crate::settings::Settings;
use crate::table::{Table, plain, shorten};
use serde_json::json;

const HEADS: [&str; 7] =
    ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];

/// The list as text.
pub fn ps(settings: &Settings, args: &PsArgs) -> Result<String> {
    let mut containers = Containers::open(&settings.containers())?.list()?;
    // What is published is read once for all of them.
    let networks = network::State::open(&settings.state)?.connected()?;
    containers.retain(|(_, state)| args.all || state.status.is_up());
    if args.quiet {
        let id = |record: &Record| {
            if args.no_trunc { record.id.as_str() } else { record.id.short() }.to_owned()
        };
        return Ok(containers.iter().map(|(record, _)| id(record) + "\n").collect());
    }
    match args.format {
        Format::Table => {
            let mut table = Table::new(&HEADS);
            for (record, state) in &containers {
                table.push(row(record, state, ports(record, &networks), args.no_trunc));
            }
            Ok(table.render())
        }
        Format::Json => Ok(containers
            .iter()
            .map(|(record, state)| {
                object(record, state, &ports(record, &networks)).to_string() + "\n"
            })
            .collect()),
    }
}

fn row(record: &Record, state: &State, ports: String, no_trunc: bool) -> Vec<String> {
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
        state.sentence(),
        ports,
        record.name.to_string(),
    ]
}

/// The PORTS column: what is published while the container is connected.
fn ports(record: &Record, networks: &[NetworkPlan]) -> String {
    let own = networks.iter().filter(|plan| plan.container == record.id);
    let ports: Vec<String> = own.flat_map(|plan| &plan.ports).map(ToString::to_string).collect();
    ports.join(", ")
}

fn object(record: &Record, state: &State, ports: &str) -> serde_json::Value {
    let labels: Vec<String> =
        record.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    json!({
        "Command": format!("\"{}\"", record.command.join(" ")),
        "CreatedAt": record.created,
        "ID": record.id,
        "Image": record.image.name,
        "Labels": labels.join(","),
        "Names": record.name,
        "Ports": ports,
        "RunningFor": format!("{} ago", human(record.created.age())),
        "State": state.status.as_str(),
        "Status": state.sentence(),
    })
}
