//! A container's way into the network: from `--network` and `-p` to a namespace that is connected.
//!
//! The namespace is bound to a file of the container's directory, in the mount namespace of its monitor: config.json
//! can name it before anything runs, and nothing has to be removed when everything dies.

use crate::bundle::NetworkNamespace;
use crate::bundle::host::HostFacts;
use crate::container::{ContainerId, Dir};
use crate::error::Result;
use crate::error::Error;
use crate::network::Mode;
use crate::settings::Settings;
use std::path::PathBuf;

/// Where a container's network namespace is bound.
#[must_use]
pub fn namespace_path(dir: &Dir) -> PathBuf {
    dir.join("netns")
}

/// What config.json says about the network.
#[must_use]
pub fn namespace(mode: &Mode, dir: &Dir) -> NetworkNamespace {
    match mode {
        Mode::Host => NetworkNamespace::Host,
        Mode::None => NetworkNamespace::New,
        Mode::Bridge(_) => NetworkNamespace::Prepared(namespace_path(dir)),
    }
}

/// The container's host name.
#[must_use]
pub fn hostname(wanted: Option<&str>, mode: &Mode, id: &ContainerId, host: &HostFacts) -> String {
    match (wanted, mode) {
        (Some(name), _) => name.to_owned(),
        (None, Mode::Host) => host.hostname.clone(),
        (None, _) => id.short().to_owned(),
    }
}

/// Takes down what connects a container. Nothing to take down is a success.
pub fn disconnect(_settings: &Settings, _id: &ContainerId) -> Vec<Error> {
    Vec::new()
}

/// Writes the three files about the network that every container sees.
pub fn write_files(dir: &Dir, hostname: &str) -> Result<()> {
    dir.write_bytes("hostname", format!("{hostname}\n").as_bytes())?;
    dir.write_bytes("hosts", b"127.0.0.1\tlocalhost\n")?;
    dir.write_bytes("resolv.conf", b"")
}
