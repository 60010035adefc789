//! What a container sees of the host and of volumes, each as it is decided when the container is made.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// One mount of a container: Docker's `Mounts` of `inspect`, and what it takes to make it at every start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MountPoint {
    /// What is mounted.
    #[serde(rename = "Type")]
    pub kind: MountKind,
    /// The volume's name, or the image's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// On the host.
    pub source: String,
    /// In the container.
    pub destination: String,
    /// `local`, for volumes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// The options as they were typed.
    pub mode: String,
    /// Whether it can be written to.
    #[serde(rename = "RW")]
    pub writable: bool,
    /// `rprivate`, `rslave`, `rshared` and their like.
    pub propagation: String,
    /// What Docker does not show.
    #[serde(rename = "Detail", default)]
    pub detail: Detail,
}

/// Who is to have the files of a mount, where SELinux keeps containers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relabel {
    /// `z`: every container.
    Shared,
    /// `Z`: this one.
    Private,
}

impl Relabel {
    /// As an option of `-v` has it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Shared => "z",
            Self::Private => "Z",
        }
    }
}

impl MountPoint {
    /// Whether its files get a label, and whose: `z` or `Z` among its options.
    #[must_use]
    pub fn relabel(&self) -> Option<Relabel> {
        let both = [Relabel::Shared, Relabel::Private];
        both.into_iter().find(|wish| self.mode.split(',').any(|option| option == wish.word()))
    }

    /// Takes `z` and `Z` out of its options.
    pub fn forget_relabel(&mut self) {
        let both = [Relabel::Shared, Relabel::Private].map(Relabel::word);
        let rest: Vec<&str> =
            self.mode.split(',').filter(|option| !both.contains(option)).collect();
        self.mode = rest.join(",");
    }

    /// What a message calls it by: a volume's or an image's name, or the path on the host.
    #[must_use]
    pub fn shown(&self) -> &str {
        if self.name.is_empty() { &self.source } else { &self.name }
    }

    /// What a `--mount` asks for, as Docker's `HostConfig.Mounts` shows it: without what is not set.
    #[must_use]
    pub fn asked(&self) -> Value {
        let detail = &self.detail;
        let source = if self.source.is_empty() { &self.name } else { &self.source };
        let options = match self.kind {
            MountKind::Bind => json!({
                // What it is where nothing is said.
                "Propagation": Some(&self.propagation).filter(|word| *word != "rprivate"),
                "NonRecursive": detail.non_recursive,
                "CreateMountpoint": detail.create_source,
                "ReadOnlyNonRecursive": detail.read_only_top,
            }),
            MountKind::Volume => {
                let driver = json!({ "Name": self.driver, "Options": detail.volume_options });
                let driver = if detail.volume_options.is_empty() { json!({}) } else { set(driver) };
                json!({
                    "NoCopy": detail.no_copy, "Labels": detail.labels, "Subpath": detail.subpath,
                    "DriverConfig": driver,
                })
            }
            MountKind::Image => json!({ "Subpath": detail.subpath }),
            MountKind::Tmpfs => {
                let value =
                    |key: &str| detail.options.iter().find_map(|word| word.strip_prefix(key));
                json!({
                    "SizeBytes": value("size=").and_then(|size| size.parse::<u64>().ok()),
                    "Mode": value("mode=").and_then(|mode| u32::from_str_radix(mode, 8).ok()),
                })
            }
        };
        let of_kind = match self.kind {
            MountKind::Bind => "BindOptions",
            MountKind::Volume => "VolumeOptions",
            MountKind::Image => "ImageOptions",
            MountKind::Tmpfs => "TmpfsOptions",
        };
        set(json!({
            "Type": self.kind, "Source": source, "Target": self.destination,
            "ReadOnly": !self.writable, of_kind: set(options),
        }))
    }
}

/// The members of an object that say something.
fn set(object: Value) -> Value {
    let says = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(all) => !all.is_empty(),
        Value::Object(all) => !all.is_empty(),
        _ => true,
    };
    match object {
        Value::Object(all) => {
            Value::Object(all.into_iter().filter(|(_, value)| says(value)).collect::<Map<_, _>>())
        }
        other => other,
    }
}

/// What is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A path of the host.
    Bind,
    /// A volume.
    Volume,
    /// A file system in memory.
    Tmpfs,
    /// An image's files.
    Image,
}

/// What it takes to make a mount, beside what Docker shows of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Detail {
    /// A path within the volume or image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subpath: String,
    /// The volume is not filled with what the image has there.
    pub no_copy: bool,
    /// The volume was made for this container and has no name of its own.
    pub anonymous: bool,
    /// Mounts below the source stay away.
    pub non_recursive: bool,
    /// Read-only for the mount itself, not for those below it.
    pub read_only_top: bool,
    /// A missing source is made, as a directory.
    pub create_source: bool,
    /// The ids of a container's user namespace are mapped, so that its root is the owner of root's files.
    pub id_map: bool,
    /// Options of a tmpfs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Labels of a volume that is made for this mount.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Options of a volume that is made for this mount.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volume_options: BTreeMap<String, String>,
}
