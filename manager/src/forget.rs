//! What is left of a container that has been taken down, and its removal: the last step of every way in which one goes.

use crate::container::{Containers, Record};
use crate::error::Result;
use crate::event::emit_container;
use crate::settings::Settings;
use crate::store::Store;
use crate::volume::{self, place};

/// What becomes of the volumes that were made for a container and have no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volumes {
    /// They stay.
    Keep,
    /// They go with it.
    Remove,
}

/// Removes what is left of a container that has been taken down: its volumes if they are to go, its layers, and its directory
/// last, because that says what else there was.
pub fn forget(
    settings: &Settings,
    containers: &Containers,
    record: &Record,
    volumes: Volumes,
) -> Result<()> {
    if volumes == Volumes::Remove {
        volume::remove_anonymous(settings, record)?;
    }
    let snapshots = Store::open(&settings.root)?;
    let snapshots = snapshots.snapshots();
    for key in place::image_keys(record) {
        snapshots.remove(&key)?;
    }
    snapshots.remove(record.id.as_str())?;
    containers.remove(&record.id)?;
    emit_container(settings, record, "destroy", &[]);
    Ok(())
}
