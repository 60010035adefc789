//! `nman system df --verbose`: each image, container and volume. One object in Docker's words, from which its tables are made, too.

use super::{Inventory, container_size};
use crate::container::MountKind;
use crate::disk::usage;
use crate::images::{at, since};
use crate::listing::{joined, precise_size};
use crate::rmi;
use crate::settings::Settings;
use crate::table::{Table, plain, shorten};
use serde_json::{Value, json};

/// A kind's name in the object, its title, and its columns: the head and the field of each.
type Part = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const PARTS: [Part; 3] = [
    (
        "Images",
        "Images space usage:",
        &[
            ("REPOSITORY", "Repository"),
            ("TAG", "Tag"),
            ("IMAGE ID", "ID"),
            ("CREATED", "CreatedSince"),
            ("SIZE", "Size"),
            ("SHARED SIZE", "SharedSize"),
            ("UNIQUE SIZE", "UniqueSize"),
            ("CONTAINERS", "Containers"),
        ],
    ),
    (
        "Containers",
        "Containers space usage:",
        &[
            ("CONTAINER ID", "ID"),
            ("IMAGE", "Image"),
            ("COMMAND", "Command"),
            ("LOCAL VOLUMES", "LocalVolumes"),
            ("SIZE", "Size"),
            ("CREATED", "RunningFor"),
            ("STATUS", "Status"),
            ("NAMES", "Names"),
        ],
    ),
    (
        "Volumes",
        "Local Volumes space usage:",
        &[("VOLUME NAME", "Name"), ("LINKS", "Links"), ("SIZE", "Size")],
    ),
];

/// As many digits of an id as a table shows.
const SHORT_ID: usize = 12;

/// As much of a command as a table shows.
const SHORT_COMMAND: usize = 20;

impl Inventory {
    /// Everything, under Docker's names; nothing is shortened.
    pub(super) fn details(&self, settings: &Settings) -> Value {
        json!({
            "Images": self.images(),
            "Containers": self.containers(settings),
            "Volumes": self.volumes(),
            "BuildCache": [],
        })
    }

    fn images(&self) -> Vec<Value> {
        let describe = |image| {
            let (shared, unique) = self.store.shares(image, &self.images);
            let none = || "<none>".to_owned();
            let name = image.names.first();
            json!({
                "Containers": rmi::users(&self.containers, image).len().to_string(),
                "CreatedAt": at(image.time()),
                "CreatedSince": since(image.time()),
                "Digest": image.repo_digests.first().map_or_else(none, ToString::to_string),
                "ID": image.id.as_str(),
                "Repository": name.map_or_else(none, |name| name.familiar_name()),
                "SharedSize": precise_size(shared),
                "Size": precise_size(shared + unique),
                "Tag": name.and_then(|name| name.tag()).map_or_else(none, str::to_owned),
                "UniqueSize": precise_size(unique),
            })
        };
        self.images.iter().map(describe).collect()
    }

    fn containers(&self, settings: &Settings) -> Vec<Value> {
        let mut all = Vec::new();
        for (record, state) in &self.containers {
            let volumes = record.mounts.iter().filter(|point| point.kind == MountKind::Volume);
            all.push(json!({
                "Command": format!("\"{}\"", plain(&record.command.join(" "))),
                "CreatedAt": at(Some(record.created)),
                "ID": record.id.as_str(),
                "Image": plain(&record.image.name),
                "Labels": plain(&joined(&record.labels)),
                "LocalVolumes": volumes.count().to_string(),
                "Names": record.name.as_str(),
                "RunningFor": since(Some(record.created)),
                "Size": precise_size(container_size(settings, record)),
                "State": state.status.as_str(),
                "Status": state.sentence(),
            }));
        }
        all
    }

    fn volumes(&self) -> Vec<Value> {
        let describe = |volume: &super::VolumeUse| {
            json!({
                "Driver": "local",
                "Labels": plain(&joined(&volume.labels)),
                "Links": volume.links.to_string(),
                "Mountpoint": volume.path,
                "Name": volume.name,
                "Scope": "local",
                "Size": precise_size(usage(&volume.path)),
            })
        };
        self.volumes.iter().map(describe).collect()
    }
}

/// The tables, one below the other.
pub(super) fn tables(details: &Value) -> String {
    let mut parts = Vec::new();
    for (kind, title, columns) in PARTS {
        let heads: Vec<&str> = columns.iter().map(|(head, _)| *head).collect();
        let mut table = Table::new(&heads);
        for object in details[kind].as_array().into_iter().flatten() {
            table.push(columns.iter().map(|(_, field)| cell(kind, field, object)).collect());
        }
        parts.push(format!("{title}\n\n{}", table.render()));
    }
    parts.join("\n")
}

fn cell(kind: &str, field: &str, object: &Value) -> String {
    let text = object[field].as_str().unwrap_or_default();
    match (kind, field) {
        (_, "ID") => text.trim_start_matches("sha256:").chars().take(SHORT_ID).collect(),
        (_, "Command") => {
            // Between quotes of ours, whatever it has of its own.
            let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            format!("\"{}\"", shorten(bare.unwrap_or(text), SHORT_COMMAND))
        }
        _ => text.to_owned(),
    }
}
