//! Which networks a container is to be on: `networks.json` in its directory, which `network connect` and
//! `network disconnect` change. A container that was never changed has what it was made with. `none` and `host` stand on the
//! list as in Docker.

use crate::container::{Dir, Record};
use crate::error::{Error, Result};
use crate::network::{Endpoint, Mode, state};
use std::io::ErrorKind;

const FILE: &str = "networks.json";

/// The networks that a container is to be on.
///
/// # Errors
/// The file cannot be read.
pub fn endpoints(record: &Record, dir: &Dir) -> Result<Vec<Endpoint>> {
    let path = dir.join(FILE);
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|source| Error::Damaged { path, source }),
        Err(error) if error.kind() == ErrorKind::NotFound => made_with(record),
        Err(error) => Err(Error::io("read", &path)(error)),
    }
}

fn made_with(record: &Record) -> Result<Vec<Endpoint>> {
    if !record.network.endpoints.is_empty() {
        return Ok(record.network.endpoints.clone());
    }
    // The record of an older version has the network's name only.
    match record.network.network.parse()? {
        Mode::Network(network) => Ok(vec![Endpoint::on(network)]),
        alone @ (Mode::None | Mode::Host | Mode::User(_)) => {
            Ok(vec![Endpoint::on(alone.to_string().parse()?)])
        }
        Mode::Container(_) | Mode::Namespace(_) => Ok(Vec::new()),
    }
}

/// Whether they were ever changed.
pub(super) fn has_changed(dir: &Dir) -> bool {
    dir.join(FILE).exists()
}

/// Replaces them. The caller has [`lock`]ed them.
pub(super) fn set(dir: &Dir, endpoints: &[Endpoint]) -> Result<()> {
    dir.write(FILE, &endpoints)
}

/// Held while they change: the container's own lock is its monitor's as long as it runs.
pub(super) fn lock(dir: &Dir) -> Result<state::Lock> {
    Ok(state::lock(&dir.join("networks.lock"))?)
}
