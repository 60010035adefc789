//! `nman inspect`: everything that is written down about a container, an image, a network or a volume, in Docker's
//! structure.

mod container;
mod network;
pub mod state;

pub(crate) use network::exposed;

use crate::cli::{InspectArgs, InspectType};
use crate::container::Containers;
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::store::{self, Store};
use crate::{images, network as networking, networks, volume};
use serde_json::Value;

/// The objects of those that were found, and what went wrong with the others. A name that several kinds of objects have is
/// the container's, then the image's, the network's and the volume's, unless the kind is given.
pub fn inspect(settings: &Settings, args: &InspectArgs) -> Result<(Vec<Value>, Vec<Error>)> {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for name in &args.names {
        match object(settings, args, name) {
            Ok(object) => found.push(object),
            Err(error) => errors.push(error),
        }
    }
    Ok((found, errors))
}

fn object(settings: &Settings, args: &InspectArgs, name: &str) -> Result<Value> {
    let wanted = |kind| args.kind.is_none_or(|wanted| wanted == kind);
    let mut damage = None;
    if wanted(InspectType::Container) {
        match Containers::open(&settings.containers())?.find(name) {
            Err(Error::NoSuchContainer(_)) if args.kind.is_none() => {}
            found => return container::object(settings, &found?, args.size),
        }
    }
    if wanted(InspectType::Image)
        && let store = Store::open(&settings.root)?
    {
        match store.find(name) {
            Ok(image) => return images::describe(&store, &image),
            Err(error @ store::Error::NotInList { .. }) => return Err(error.into()),
            Err(error) => damage = Some(error.into()).filter(is_damage),
        }
    }
    if wanted(InspectType::Network) {
        match networks::object(settings, name) {
            Ok(network) => return Ok(network),
            Err(error) => damage = damage.or(Some(error).filter(is_damage)),
        }
    }
    if wanted(InspectType::Volume) {
        match volume::object(settings, name) {
            Ok(volume) => return Ok(volume),
            Err(error) => damage = damage.or(Some(error).filter(is_damage)),
        }
    }
    let kind = match args.kind {
        Some(InspectType::Image) => "image",
        Some(InspectType::Network) => "network",
        Some(InspectType::Volume) => "volume",
        Some(InspectType::Container) | None => "object",
    };
    let missing = || Error::Rejected { message: format!("No such {kind}: {name}"), hint: None };
    Err(damage.unwrap_or_else(missing))
}

/// Whether it is not known that something is not there, because a record does not read back.
fn is_damage(error: &Error) -> bool {
    use store::Error::{Damaged, NoIndex};
    match error {
        Error::Damaged { .. } | Error::Store(Damaged { .. } | NoIndex { .. }) => true,
        Error::Network(error) => matches!(error, networking::Error::Definition { .. }),
        _ => false,
    }
}
