//! What happened to containers, images, networks and volumes: one JSON object a line, for `nman events`.
//!
//! There is no daemon that could tell: whoever does something appends a line to `<state>/events`, in one write and
//! under the file's lock. A file that has grown too long becomes `events.1`, and the one before that is forgotten.
//! Telling is never worth failing for: what cannot be written is lost.

use crate::clock::Timestamp;
use crate::container::{Containers, Record, make_private};
use crate::settings::Settings;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A file is put aside when it has grown to this: some thousand events.
const LONGEST: u64 = 1 << 20;

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

impl Kind {
    /// Docker's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
        }
    }
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

/// The same by who has read the record long ago: the container may have been renamed since.
pub fn emit_of_running(
    settings: &Settings,
    record: &Record,
    action: &str,
    attributes: &[(&str, &str)],
) {
    let now = Containers::open(&settings.containers()).and_then(|all| all.dir(&record.id).record());
    emit_container(settings, now.as_ref().unwrap_or(record), action, attributes);
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
    let path = path(settings);
    if append(&path, line.as_bytes(), LONGEST).is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
        && make_private(&settings.state).is_ok()
    {
        let _ = append(&path, line.as_bytes(), LONGEST);
    }
}

/// Where events are.
#[must_use]
pub fn path(settings: &Settings) -> PathBuf {
    settings.state.join("events")
}

/// Where those are that came before them.
#[must_use]
pub fn path_before(path: &Path) -> PathBuf {
    path.with_extension("1")
}

fn append(path: &Path, line: &[u8], longest: u64) -> io::Result<()> {
    loop {
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).mode(0o600).open(path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        // It may have been put aside between the opening and the locking.
        if !is_current(&file, path) {
            continue;
        }
        file.write_all(line)?;
        if file.metadata()?.len() >= longest {
            std::fs::rename(path, path_before(path))?;
        }
        return Ok(());
    }
}

/// Whether an open file is the one at this path.
#[must_use]
pub fn is_current(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(own), Ok(there)) => (own.dev(), own.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_bounded_and_the_last_events_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        for n in 0..1000 {
            append(&path, format!("{n}\n").as_bytes(), 100).unwrap();
        }
        let before = std::fs::read_to_string(path_before(&path)).unwrap();
        let now = std::fs::read_to_string(&path).unwrap_or_default();
        assert!((before.len() + now.len()) < 220);
        let all: Vec<u32> = before.lines().chain(now.lines()).map(|l| l.parse().unwrap()).collect();
        assert!(all.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{all:?}");
        assert_eq!(all.last(), Some(&999));
    }

    #[test]
    fn many_who_tell_at_once_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| append(&path, b"line\n", 900).unwrap()));
            }
        });
        let before = std::fs::read_to_string(path_before(&path)).unwrap();
        let now = std::fs::read_to_string(&path).unwrap_or_default();
        // 400 lines of 5 bytes: two files were put aside, and 900 bytes of them are left.
        assert_eq!(before.len() + now.len(), 400 * 5 - 900);
    }
}
