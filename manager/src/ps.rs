//! `nman ps`: the list of containers, in Docker's words.
//!
//! Only what is shown or filtered is looked at: without a port in the list no network's record is read, and without
//! a mount no bundle.

mod filter;
mod ports;

use crate::cli::PsArgs;
use crate::clock::{Timestamp, human};
use crate::connection;
use crate::container::{ContainerId, Containers, MountKind, MountPoint, Record, State};
use crate::disk;
use crate::error::Result;
use crate::health;
use crate::listing::{Column, List, Row, View, human_size};
use crate::network::{self, Endpoint, NetworkPlan, PortMapping};
use crate::notice;
use crate::settings::Settings;
use crate::store::Store;
use crate::table::{plain, shorten};
use filter::Wanted;
use std::collections::BTreeMap;

const LIST: List = List {
    columns: &[
        Column::new("ID", "CONTAINER ID"),
        Column::new("Image", "IMAGE"),
        Column::new("Command", "COMMAND"),
        Column::new("CreatedAt", "CREATED AT"),
        Column::new("RunningFor", "CREATED"),
        Column::new("Ports", "PORTS"),
        Column::new("State", "STATE"),
        Column::new("Status", "STATUS"),
        Column::new("Size", "SIZE"),
        Column::new("Names", "NAMES"),
        Column::new("Labels", "LABELS"),
        Column::new("Mounts", "MOUNTS"),
        Column::new("LocalVolumes", "LOCAL VOLUMES"),
        Column::new("Networks", "NETWORKS"),
    ],
    table: &["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"],
    quiet: "ID",
    filters: filter::KEYS,
};
/// With `-s`.
const WITH_SIZE: &[&str] =
    &["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names", "Size"];

/// A container of the list, with what had to be looked up for it.
struct Entry {
    record: Record,
    state: State,
    networks: Vec<NetworkPlan>,
    /// What is published of it without root.
    by_user: Vec<PortMapping>,
    /// Those that it is to be on.
    endpoints: Vec<Endpoint>,
    /// What its health check says, if it has one.
    health: Option<&'static str>,
}

/// The list as text.
pub fn ps(settings: &Settings, args: &PsArgs) -> Result<String> {
    let table = if args.size { WITH_SIZE } else { LIST.table };
    let mut list = args.list.clone();
    // Of this list alone Docker takes `-q` for the stronger.
    if list.quiet && list.format.take().is_some_and(|format| !format.is_empty()) {
        notice::note(
            "Ignoring custom format, because both --format and --quiet are set.".to_owned(),
        );
    }
    let view = LIST.view_by("psFormat", &list, table)?;
    let containers = Containers::open(&settings.containers())?;
    let wanted = Wanted::resolve(&view.filters, &containers, settings)?;
    let mut entries = entries(settings, &view, &containers, |state| {
        args.all || args.count().is_some() || wanted.covers_stopped() || state.status.is_up()
    })?;
    entries.retain(|entry| wanted.fits(entry));
    if let Some(count) = args.count() {
        entries.truncate(count);
    }
    let with_size = args.size || view.shows("Size") && !view.is_json();
    let store = if with_size { Some(Store::open(&settings.root)?) } else { None };
    let rows: Vec<Row> = entries.iter().map(|entry| row(entry, &view, store.as_ref())).collect();
    view.render(&rows)
}

/// The containers that may be shown, newest first.
fn entries(
    settings: &Settings,
    view: &View,
    containers: &Containers,
    is_wanted: impl Fn(&State) -> bool,
) -> Result<Vec<Entry>> {
    let filtered = |keys: &[&str]| keys.iter().any(|key| view.filters.has(key));
    let named = view.shows("Networks") || filtered(&["network"]);
    // By container, so that each looks at its own alone: there may be thousands of both.
    let mut networks: BTreeMap<ContainerId, Vec<NetworkPlan>> = BTreeMap::new();
    if view.shows("Ports") || named {
        for plan in network::State::at(&settings.state).connected()? {
            networks.entry(plan.container.clone()).or_default().push(plan);
        }
    }
    let mut entries = Vec::new();
    for (record, state) in containers.list()? {
        if !is_wanted(&state) {
            continue;
        }
        let own = networks.remove(&record.id).unwrap_or_default();
        let directory = containers.dir(&record.id);
        let health = record.supervision.health.as_ref().map(|_| health::word(&directory));
        let endpoints = match named {
            true => connection::endpoints(&record, &directory)?,
            false => Vec::new(),
        };
        let by_user = match view.shows("Ports") || filtered(&["publish"]) {
            true => connection::published_by_user(&record, &directory),
            false => Vec::new(),
        };
        entries.push(Entry { record, state, networks: own, by_user, endpoints, health });
    }
    Ok(entries)
}

fn row(entry: &Entry, view: &View, store: Option<&Store>) -> Row {
    let Entry { record, state, .. } = entry;
    let command = plain(&record.command.join(" "));
    let (id, command) = match view.no_trunc {
        true => (record.id.as_str(), command),
        false => (record.id.short(), shorten(&command, 20)),
    };
    let mounts = record.mounts.iter().map(|mount| match view.no_trunc {
        true => shown(mount).to_owned(),
        false => shorten(shown(mount), 15),
    });
    let size = store.map_or("0B".to_owned(), |store| size_of(record, store));
    let volumes = record.mounts.iter().filter(|mount| mount.kind == MountKind::Volume).count();
    Row::new([
        ("ID", id.to_owned()),
        ("Image", record.image.name.clone()),
        ("Command", format!("\"{command}\"")),
        ("CreatedAt", spelled(record.created)),
        ("RunningFor", format!("{} ago", human(record.created.age()))),
        ("Ports", entry.ports()),
        ("State", state.status.as_str().to_owned()),
        ("Status", entry.status()),
        ("Size", size),
        ("Names", record.name.to_string()),
        ("Mounts", mounts.collect::<Vec<_>>().join(",")),
        ("LocalVolumes", volumes.to_string()),
        ("Networks", entry.network_names().join(",")),
    ])
    .labels(&record.labels)
}

impl Entry {
    /// `Up 3 minutes (healthy)`
    fn status(&self) -> String {
        let sentence = self.state.sentence();
        match self.health {
            Some(word) if self.state.status.is_up() => format!("{sentence} ({word})"),
            _ => sentence,
        }
    }

    /// What is published and exposed while the container is connected.
    fn ports(&self) -> String {
        if self.networks.is_empty() && self.by_user.is_empty() {
            return String::new();
        }
        let published = self.networks.iter().flat_map(|plan| &plan.ports).chain(&self.by_user);
        let published = published.copied();
        ports::column(&self.record.network.exposed, published)
    }

    /// The networks that it is connected to; while it is not running, those that it will be.
    fn network_names(&self) -> Vec<String> {
        let mode = &self.record.network.network;
        match self.networks.is_empty() {
            false => self.networks.iter().map(|plan| plan.network.to_string()).collect(),
            true if mode.starts_with("container:") || mode.starts_with("ns:") => vec![mode.clone()],
            true => self.endpoints.iter().map(|end| end.network.to_string()).collect(),
        }
    }
}

/// `2024-05-01 12:00:00 +0000 UTC`, as Go prints a time.
fn spelled(time: Timestamp) -> String {
    let text = time.to_string();
    format!("{} {} +0000 UTC", &text[..10], &text[11..19])
}

/// What the container has written, and what it stands on.
fn size_of(record: &Record, store: &Store) -> String {
    let own = store.snapshots().resume(record.id.as_str());
    let written = own.map_or(0, |own| disk::usage(&own.upper));
    let image = store.find(&record.image.id).map_or(0, |image| image.size);
    format!("{} (virtual {})", human_size(written), human_size(written + image))
}

/// The name of a volume, or the path on the host.
fn shown(mount: &MountPoint) -> &str {
    if mount.name.is_empty() { &mount.source } else { &mount.name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_spelled_as_go_does() {
        let time = Timestamp::parse("2024-05-01T12:00:01.5Z").unwrap();
        assert_eq!(spelled(time), "2024-05-01 12:00:01 +0000 UTC");
    }
}
