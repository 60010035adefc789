//! What is left of a container that has been taken down, and its removal: the last step of every way in which one goes.

use crate::container::{Containers, Record};
use crate::error::{Error, Result};
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

/// Removes a container that has been taken down. It goes first, and then what it has, its volumes if they are to go and its layers: who is
/// killed leaves all of it, or a rest that the next [`remove_unfinished`](crate::rm::unseen::remove_unfinished) finds by its directory.
pub fn forget(
    settings: &Settings,
    containers: &Containers,
    record: &Record,
    volumes: Volumes,
) -> Result<()> {
    containers.hide(&record.id)?;
    let mut errors = Vec::new();
    if volumes == Volumes::Remove {
        errors.extend(volume::remove_anonymous(settings, record).err());
    }
    let keys = place::image_keys(record).chain([record.id.to_string()]);
    let removed = remove_layers(settings, keys).and_then(|()| containers.discard(&record.id));
    errors.extend(removed.err());
    emit_container(settings, record, "destroy", &[]);
    if errors.is_empty() {
        Ok(())
    } else {
        Err(left(record.name.as_str(), &Error::Several(errors)))
    }
}

/// Removes the layers of a container, by the names of its snapshots.
pub(crate) fn remove_layers(
    settings: &Settings,
    mut keys: impl Iterator<Item = String>,
) -> Result<()> {
    let store = Store::open(&settings.root)?;
    keys.try_for_each(|key| Ok(store.snapshots().remove(&key)?))
}

/// That a container is gone, and something of it is not.
pub(crate) fn left(name: &str, error: &Error) -> Error {
    Error::WrongState {
        message: format!("container `{name}` is gone, but not all that it had: {error}"),
        hint: Some(
            "the next `nman create` or `nman system check --repair` removes the rest, and `nman volume prune` volumes"
                .to_owned(),
        ),
    }
}
