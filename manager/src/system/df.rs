//! `nman system df`: what takes how much of the disk. The lines add up to what `du` says of the root directory.

mod details;

use crate::cli::DfArgs;
use crate::container::{Containers, MountKind, Record, State};
use crate::disk::{Census, usage};
use crate::error::Result;
use crate::listing::{Column, List, ListArgs, Row, object, precise_size};
use crate::rmi;
use crate::settings::Settings;
use crate::store::{Image, Store};
use crate::volume::Volumes;
use std::collections::BTreeMap;
use std::path::PathBuf;

const LIST: List = List {
    columns: &[
        Column::new("Type", "TYPE"),
        Column::new("TotalCount", "TOTAL"),
        Column::new("Active", "ACTIVE"),
        Column::new("Size", "SIZE"),
        Column::new("Reclaimable", "RECLAIMABLE"),
        Column::new("Bytes", "BYTES"),
        Column::new("ReclaimableBytes", "RECLAIMABLE BYTES"),
    ],
    table: &["Type", "TotalCount", "Active", "Size", "Reclaimable"],
    quiet: "Type",
    filters: &[],
};

/// One line.
struct Line {
    kind: &'static str,
    total: usize,
    active: usize,
    bytes: u64,
    reclaimable: u64,
}

impl Line {
    fn row(&self) -> Row {
        let reclaimable = match (self.reclaimable * 100).checked_div(self.bytes) {
            Some(percent) if self.reclaimable > 0 => {
                format!("{} ({percent}%)", precise_size(self.reclaimable))
            }
            _ => precise_size(self.reclaimable),
        };
        Row::new([("Type", self.kind.to_owned()), ("Reclaimable", reclaimable)])
            .with("TotalCount", self.total.to_string())
            .with("Active", self.active.to_string())
            .with("Size", precise_size(self.bytes))
            .with("Bytes", self.bytes.to_string())
            .with("ReclaimableBytes", self.reclaimable.to_string())
    }
}

/// Everything that is counted, read once.
struct Inventory {
    store: Store,
    images: Vec<Image>,
    containers: Vec<(Record, State)>,
    volumes: Vec<VolumeUse>,
}

/// A volume and how many containers use it.
struct VolumeUse {
    name: String,
    path: PathBuf,
    labels: BTreeMap<String, String>,
    links: usize,
}

/// The table as text; with `--verbose`, a table for each kind, or what a format makes of one object with all of them.
pub fn df(settings: &Settings, args: &DfArgs) -> Result<String> {
    if args.verbose {
        let found = Inventory::take(settings)?.details(settings);
        return match args.format.as_deref() {
            None | Some("" | "table") => Ok(details::tables(&found)),
            Some(format) => object(format, &found),
        };
    }
    let list = ListArgs { format: args.format.clone(), ..ListArgs::default() };
    let view = LIST.view(&list)?;
    let inventory = Inventory::take(settings)?;
    let rows: Vec<Row> = inventory.lines(settings)?.iter().map(Line::row).collect();
    view.render(&rows)
}

impl Inventory {
    fn take(settings: &Settings) -> Result<Self> {
        let store = Store::open(&settings.root)?;
        let containers = Containers::open(&settings.containers())?;
        let containers = containers.list()?;
        let volumes = Volumes::of(settings);
        let links =
            |name: &str| containers.iter().filter(|(record, _)| uses_volume(record, name)).count();
        let volumes = volumes.list()?.into_iter().map(|volume| VolumeUse {
            links: links(volume.name.as_str()),
            path: volumes.data(&volume.name),
            name: volume.name.to_string(),
            labels: volume.labels,
        });
        let volumes = volumes.collect();
        Ok(Self { images: store.list()?, containers, volumes, store })
    }

    fn lines(&self, settings: &Settings) -> Result<Vec<Line>> {
        let root = &settings.root;
        let all = usage(root);
        let active = root.join("snapshots/active");
        let containers = usage(&settings.containers()) + usage(&active);
        let volumes = usage(&settings.volumes());
        let mut census = Census::default();
        let images = census.count(&root.join("images"))
            + census.count_except(&root.join("snapshots"), &|path| path == active)
            + census.count(&root.join("staging"))
            + census.count(&root.join("images.lock"));
        let is_used = |image: &Image| !rmi::users(&self.containers, image).is_empty();
        let stopped = self.containers.iter().filter(|(_, state)| !is_up(state));
        let stopped: u64 = stopped.map(|(record, _)| container_size(settings, record)).sum();
        let unused = self.volumes.iter().filter(|volume| volume.links == 0);
        Ok(vec![
            Line {
                kind: "Images",
                total: self.images.len(),
                active: self.images.iter().filter(|image| is_used(image)).count(),
                bytes: images,
                reclaimable: self.store.reclaimable(&is_used)?,
            },
            Line {
                kind: "Containers",
                total: self.containers.len(),
                active: self.containers.iter().filter(|(_, state)| is_up(state)).count(),
                bytes: containers,
                reclaimable: stopped,
            },
            Line {
                kind: "Local Volumes",
                total: self.volumes.len(),
                active: self.volumes.iter().filter(|volume| volume.links > 0).count(),
                bytes: volumes,
                reclaimable: unused.map(|volume| usage(&volume.path)).sum(),
            },
            Line {
                kind: "Other",
                total: 0,
                active: 0,
                bytes: all.saturating_sub(images + containers + volumes),
                reclaimable: 0,
            },
        ])
    }
}

fn is_up(state: &State) -> bool {
    state.status.is_up()
}

/// What a container takes: its directory with its log, and what it wrote.
fn container_size(settings: &Settings, record: &Record) -> u64 {
    let id = record.id.as_str();
    usage(&settings.containers().join(id)) + usage(&settings.root.join("snapshots/active").join(id))
}

fn uses_volume(record: &Record, name: &str) -> bool {
    record.mounts.iter().any(|point| point.kind == MountKind::Volume && point.name == name)
}
