//! `nman volume ls`, and what `prune` reports.

use super::{Volumes, users};
use crate::error::Result;
use crate::listing::{Column, List, ListArgs, Row, human_size};
use crate::settings::Settings;

/// Docker's columns.
const VOLUMES: List = List {
    columns: &[
        Column::new("Availability", "AVAILABILITY"),
        Column::new("Driver", "DRIVER"),
        Column::new("Group", "GROUP"),
        Column::new("Labels", "LABELS"),
        Column::new("Links", "LINKS"),
        Column::new("Mountpoint", "MOUNTPOINT"),
        Column::new("Name", "VOLUME NAME"),
        Column::new("Scope", "SCOPE"),
        Column::new("Size", "SIZE"),
        Column::new("Status", "STATUS"),
    ],
    table: &["Driver", "Name"],
    quiet: "Name",
    filters: &["dangling", "driver", "label", "name"],
};

/// `nman volume ls`: the list as text.
pub fn ls(settings: &Settings, args: &ListArgs) -> Result<String> {
    let view = VOLUMES.view_by("volumesFormat", args, VOLUMES.table)?;
    let dangling = view.filters.truth("dangling")?;
    let volumes = Volumes::of(settings);
    let mut rows = Vec::new();
    for volume in volumes.list()? {
        let name = volume.name.as_str();
        let fits = view.filters.named("name", name)
            && view.filters.any("driver", |driver| driver == "local")
            && view.filters.labelled(&volume.labels);
        if !fits {
            continue;
        }
        if let Some(dangling) = dangling
            && users(settings, name)?.is_empty() != dangling
        {
            continue;
        }
        let data = volumes.data(&volume.name);
        let mut row = Row::new([
            ("Availability", "N/A"),
            ("Driver", "local"),
            ("Group", "N/A"),
            ("Links", "N/A"),
            ("Name", name),
            ("Scope", "local"),
            ("Size", "N/A"),
            ("Status", "N/A"),
        ]);
        row = row.with("Mountpoint", data.display().to_string()).labels(&volume.labels);
        if view.shows("Links") && !view.is_json() {
            row = row.with("Links", users(settings, name)?.len().to_string());
        }
        if view.shows("Size") && !view.is_json() {
            row = row.with("Size", human_size(crate::disk::usage(&data)));
        }
        rows.push(row);
    }
    view.render(&rows)
}

/// What `prune` has removed, in Docker's words.
#[must_use]
pub fn prune_report((removed, freed): &(Vec<String>, u64)) -> String {
    let mut text = String::new();
    if !removed.is_empty() {
        text.push_str("Deleted Volumes:\n");
        for name in removed {
            text.push_str(&format!("{name}\n"));
        }
        text.push('\n');
    }
    text + &format!("Total reclaimed space: {}\n", human_size(*freed))
}
