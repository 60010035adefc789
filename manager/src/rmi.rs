//! `nman rmi`: takes names from images, and removes images with their last name.

use crate::cli::RmiArgs;
use crate::container::{Containers, Record, State};
use crate::error::{Error, Result};
use crate::event::{Kind, emit};
use crate::notice;
use crate::reference::Reference;
use crate::settings::Settings;
use crate::store::{Found, Image, Removed, Store, User};
use crate::transfer::check_platform;

/// Removes each of the named images; what was done, in Docker's words, and what went wrong.
pub fn rmi(settings: &Settings, args: &RmiArgs) -> Result<(Vec<String>, Vec<Error>)> {
    let store = Store::open(&settings.root)?;
    let containers = Containers::open(&settings.containers())?;
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for name in &args.names {
        let users = |image: &Image, lists: Option<&[Reference]>| {
            let containers = containers.list()?;
            let Some(lists) = lists else {
                check_platform(image, name, args.platform.as_ref())?;
                return Ok(users(&containers, image));
            };
            Ok(users_by(&containers, image, lists))
        };
        if let Err(error) = check_whole(&store, args, name) {
            errors.push(error);
            continue;
        }
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

/// Refuses one image of a list, which goes with its names, or is taken out of it.
fn check_whole(store: &Store, args: &RmiArgs, name: &str) -> Result<()> {
    let Some(platform) = &args.platform else { return Ok(()) };
    if !matches!(store.find_any(name), Ok(Found::List(_))) {
        return Ok(());
    }
    Err(Error::Rejected {
        message: format!(
            "cannot remove the image for {platform} of `{name}`: it is a list of images for several platforms"
        ),
        hint: Some(format!("`nman manifest remove {name} DIGEST` takes an image out of it")),
    })
}

/// The containers that were made from an image by a name of a list.
pub(crate) fn users_by(
    containers: &[(Record, State)],
    image: &Image,
    lists: &[Reference],
) -> Vec<User> {
    let by_list = |(record, _): &&(Record, State)| {
        let name = record.image.name.parse::<Reference>();
        name.is_ok_and(|name| lists.contains(&name))
    };
    users_among(containers.iter().filter(by_list), image)
}

/// The containers that were made from an image.
pub(crate) fn users(containers: &[(Record, State)], image: &Image) -> Vec<User> {
    users_among(containers.iter(), image)
}

fn users_among<'a>(
    containers: impl Iterator<Item = &'a (Record, State)>,
    image: &Image,
) -> Vec<User> {
    containers
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
