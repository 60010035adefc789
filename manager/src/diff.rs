//! `nman diff`: what a container has changed in its root file system.

use crate::changes::{Changes, changes};
use crate::container::{Containers, Dir, Record};
use crate::error::{Error, Result};
use crate::path::clean;
use crate::settings::Settings;
use crate::store::Store;
use crate::table::plain;
use std::collections::BTreeSet;

/// A line for each path: `C`, `A` or `D`, and the path.
pub fn diff(settings: &Settings, name: &str) -> Result<String> {
    let dir = Containers::open(&settings.containers())?.find(name)?;
    let store = Store::open(&settings.root)?;
    let found = of_container(&store, &dir, &dir.record()?)?;
    let line = |(path, kind): &(Vec<u8>, crate::changes::Kind)| {
        format!("{} {}\n", kind.letter(), plain(&String::from_utf8_lossy(path)))
    };
    Ok(found.list.iter().map(line).collect())
}

/// The changes of a container, without what was made to mount things on.
pub(crate) fn of_container(store: &Store, dir: &Dir, record: &Record) -> Result<Changes> {
    let layers = store.snapshots().layers(record.id.as_str())?;
    changes(&layers, &mount_points(dir)?)
}

/// Where things are mounted in the container, by its config.json. One that was never made has none.
fn mount_points(dir: &Dir) -> Result<BTreeSet<Vec<u8>>> {
    let path = dir.join("config.json");
    let text = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        text => text.map_err(Error::io("read", &path))?,
    };
    let config: serde_json::Value =
        serde_json::from_slice(&text).map_err(|source| Error::Damaged { path, source })?;
    let mounts = config["mounts"].as_array().into_iter().flatten();
    let places = mounts.filter_map(|mount| mount["destination"].as_str());
    Ok(places.map(|place| clean(place).into_bytes()).collect())
}
