//! `nman ps`: the list of containers, in Docker's words.
//!
//! Only what is shown or filtered is looked at: without a port in the list no network's record is read, and without
//! a mount no bundle.

mod filter;
mod size;

use crate::cli::PsArgs;
use crate::clock::{Timestamp, human};
use crate::container::{Containers, Record, State};
use crate::error::{Error, Result};
use crate::health;
use crate::listing::{Column, List, Row, View, human_size};
use crate::network::{self, NetworkPlan};
use crate::settings::Settings;
use crate::store::Store;
use crate::table::{plain, shorten};
use filter::Wanted;
use serde::Deserialize;
use std::path::{Path, PathBuf};

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
    mounts: Vec<Mount>,
    /// What its health check says, if it has one.
    health: Option<&'static str>,
}

/// What a container has mounted besides its root.
struct Mount {
    /// The name of a volume, or the path on the host.
    name: String,
    destination: String,
    is_volume: bool,
}

/// The list as text.
pub fn ps(settings: &Settings, args: &PsArgs) -> Result<String> {
    let table = if args.size { WITH_SIZE } else { LIST.table };
    let view = LIST.view_of(&args.list, table)?;
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
    let rows: Vec<Row> =
        entries.iter().map(|entry| row(entry, &view, settings, store.as_ref())).collect();
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
    let mut networks = if view.shows("Ports") || view.shows("Networks") || filtered(&["network"]) {
        network::State::open(&settings.state)?.connected()?
    } else {
        Vec::new()
    };
    let with_mounts = view.shows("Mounts") || view.shows("LocalVolumes") || filtered(&["volume"]);
    let mut entries = Vec::new();
    for (record, state) in containers.list()? {
        if !is_wanted(&state) {
            continue;
        }
        let (own, others) = networks.into_iter().partition(|plan| plan.container == record.id);
        networks = others;
        let directory = containers.dir(&record.id);
        let mounts = if with_mounts { mounts(directory.path(), settings)? } else { Vec::new() };
        let health = record.supervision.health.as_ref().map(|_| health::word(&directory));
        entries.push(Entry { record, state, networks: own, mounts, health });
    }
    Ok(entries)
}

fn row(entry: &Entry, view: &View, settings: &Settings, store: Option<&Store>) -> Row {
    let Entry { record, state, .. } = entry;
    let command = plain(&record.command.join(" "));
    let (id, command) = match view.no_trunc {
        true => (record.id.as_str(), command),
        false => (record.id.short(), shorten(&command, 20)),
    };
    let names = |mount: &Mount| match view.no_trunc {
        true => mount.name.clone(),
        false => shorten(&mount.name, 15),
    };
    let size = store.map_or("0B".to_owned(), |store| size_of(record, settings, store));
    let volumes = entry.mounts.iter().filter(|mount| mount.is_volume).count();
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
        ("Mounts", entry.mounts.iter().map(names).collect::<Vec<_>>().join(",")),
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

    /// What is published while the container is connected.
    fn ports(&self) -> String {
        let ports = self.networks.iter().flat_map(|plan| &plan.ports);
        ports.map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// The networks that it is connected to; while it is not running, those that it will be.
    fn network_names(&self) -> Vec<String> {
        match self.networks.is_empty() {
            true => vec![self.record.network.network.clone()],
            false => self.networks.iter().map(|plan| plan.network.to_string()).collect(),
        }
    }
}

/// `2024-05-01 12:00:00 +0000 UTC`, as Go prints a time.
fn spelled(time: Timestamp) -> String {
    let text = time.to_string();
    format!("{} {} +0000 UTC", &text[..10], &text[11..19])
}

/// What the container has written, and what it stands on.
fn size_of(record: &Record, settings: &Settings, store: &Store) -> String {
    let written = size::written(settings, &record.id);
    let image = store.find(&record.image.id).map_or(0, |image| image.size);
    format!("{} (virtual {})", human_size(written), human_size(written + image))
}

/// The part of config.json that says what is mounted.
#[derive(Deserialize)]
struct Bundle {
    #[serde(default)]
    mounts: Vec<BundleMount>,
}

#[derive(Deserialize)]
struct BundleMount {
    destination: String,
    #[serde(default)]
    source: Option<PathBuf>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

/// The container's binds, without the files that nman makes for it itself.
fn mounts(directory: &Path, settings: &Settings) -> Result<Vec<Mount>> {
    let path = directory.join("config.json");
    let Ok(text) = std::fs::read(&path) else {
        // It is being made, or was killed while it was.
        return Ok(Vec::new());
    };
    let bundle: Bundle =
        serde_json::from_slice(&text).map_err(|source| Error::Damaged { path, source })?;
    let volumes = settings.volumes();
    let mount = |mount: BundleMount| {
        let source = mount.source.filter(|_| mount.kind.as_deref() == Some("bind"))?;
        if let Ok(own) = source.strip_prefix(directory) {
            // An anonymous volume may be a directory of the container's own; single files are its /etc/hosts and such.
            own.starts_with("volumes").then_some(())?;
        }
        let volume = source.strip_prefix(&volumes).ok();
        let name = volume.and_then(|rest| rest.components().next());
        Some(Mount {
            is_volume: name.is_some(),
            name: name
                .map_or(source.as_path(), |name| Path::new(name.as_os_str()))
                .display()
                .to_string(),
            destination: mount.destination,
        })
    };
    Ok(bundle.mounts.into_iter().filter_map(mount).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_spelled_as_go_does() {
        let time = Timestamp::parse("2024-05-01T12:00:01.5Z").unwrap();
        assert_eq!(spelled(time), "2024-05-01 12:00:01 +0000 UTC");
    }

    #[test]
    fn only_what_somebody_asked_for_counts_as_mounted() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let container = root.join("containers/c");
        std::fs::create_dir_all(&container).unwrap();
        let source = |path: &str| root.join(path).display().to_string();
        let config = serde_json::json!({"ociVersion": "1.0", "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/etc/hosts", "type": "bind", "source": source("containers/c/hosts")},
            {"destination": "/data", "type": "bind", "source": source("volumes/db/_data")},
            {"destination": "/src", "type": "bind", "source": "/home/me"},
        ]});
        std::fs::write(container.join("config.json"), config.to_string()).unwrap();
        let settings = Settings {
            root: root.to_owned(),
            state: root.join("state"),
            runtime: None,
            debug: false,
        };
        let mounts = mounts(&container, &settings).unwrap();
        let seen: Vec<_> = mounts
            .iter()
            .map(|mount| (mount.name.as_str(), mount.destination.as_str(), mount.is_volume))
            .collect();
        assert_eq!(seen, [("db", "/data", true), ("/home/me", "/src", false)]);
    }
}
