//! What happened to containers, images, networks and volumes: one JSON object a line, for `nman events`.
//!
//! There is no daemon that could tell: whoever does something appends a line to `<state>/events`, in one write, so
//! that lines of several processes never mix. Telling is never worth failing for: what cannot be written is lost.

use crate::clock::Timestamp;
use crate::container::Record;
use crate::settings::Settings;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

/// What something happened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A network.
    Network,
    /// A volume.
    Volume,
}

/// Something that happened, in Docker's words and under its names.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Event {
    /// To what.
    #[serde(rename = "Type")]
    pub kind: Kind,
    /// What: `create`, `start`, `die`, `pull`, `connect` and the like.
    pub action: String,
    /// The object's id; the name of a volume.
    #[serde(rename = "ID")]
    pub id: String,
    /// `name`, `image`, `exitCode`, labels.
    pub attributes: BTreeMap<String, String>,
    /// When.
    pub time: Timestamp,
}

/// Appends an event of a container, with the attributes that Docker gives to every one of them.
pub fn emit_container(
    settings: &Settings,
    record: &Record,
    action: &str,
    attributes: &[(&str, &str)],
) {
    let own = [("image", record.image.name.as_str()), ("name", record.name.as_str())];
    let labels = record.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let all: Vec<(&str, &str)> = labels.chain(own).chain(attributes.iter().copied()).collect();
    emit(settings, Kind::Container, action, record.id.as_str(), &all);
}

/// Appends an event.
pub fn emit(settings: &Settings, kind: Kind, action: &str, id: &str, attributes: &[(&str, &str)]) {
    let event = Event {
        kind,
        action: action.to_owned(),
        id: id.to_owned(),
        attributes: attributes
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        time: Timestamp::now(),
    };
    let Ok(mut line) = serde_json::to_string(&event) else { return };
    line.push('\n');
    if let Ok(mut file) =
        OpenOptions::new().append(true).create(true).mode(0o600).open(settings.state.join("events"))
    {
        let _ = file.write_all(line.as_bytes());
    }
}
