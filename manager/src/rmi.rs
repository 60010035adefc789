//! `nman rmi`: takes names from images, and removes images with their last name.

use crate::cli::RmiArgs;
use crate::container::{Containers, Record, State};
use crate::error::{Error, Result};
use crate::event::{Kind, emit};
use crate::image::check_platform;
use crate::notice;
use crate::settings::Settings;
use crate::store::{Image, Removed, Store, User};

/// Removes each of the named images; what was done, in Docker's words, and what went wrong.
pub fn rmi(settings: &Settings, args: &RmiArgs) -> Result<(Vec<String>, Vec<Error>)> {
    let store = Store::open(&settings.root)?;
    let containers = Containers::open(&settings.containers())?;
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for name in &args.names {
        let users = |image: &Image| {
            check_platform(image, name, args.platform.as_ref())?;
            Ok(users(&containers.list()?, image))
        };
        match store.remove(name, args.force, users) {
            Ok(removed) => done.extend(removed.iter().map(|removed| told(settings, removed))),
            // Said as in Docker, and no failure.
            Err(error @ Error::Store(crate::store::Error::NoSuchImage(_))) if args.force => {
                notice::note(error.to_string());
            }
            Err(error) => errors.push(error),
        }
    }
    Ok((done, errors))
}

/// The containers that were made from an image.
pub(crate) fn users(containers: &[(Record, State)], image: &Image) -> Vec<User> {
    containers
        .iter()
        .filter(|(record, _)| record.image.id == image.id.as_str())
        .map(|(record, state)| User {
            container: record.id.short().to_owned(),
            running: state.status.is_up(),
        })
        .collect()
}

/// Docker's line for what was removed, which is also told to whoever listens for events.
pub(crate) fn told(settings: &Settings, removed: &Removed) -> String {
    match removed {
        Removed::Untagged(name) => {
            let name = name.to_string();
            emit(settings, Kind::Image, "untag", &name, &[("name", &name)]);
            format!("Untagged: {name}")
        }
        Removed::Deleted(id) => {
            emit(settings, Kind::Image, "delete", id.as_str(), &[("name", id.as_str())]);
            format!("Deleted: {id}")
        }
    }
}
