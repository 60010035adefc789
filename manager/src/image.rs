//! The image that a container is made from.

use crate::cli::{PullWhen, RegistryArgs};
use crate::error::{Error, Result};
use crate::event;
use crate::pull::{self, Policy, pull};
use crate::reference::{ParseError, Reference};
use crate::registry::Platform;
use crate::settings::Settings;
use crate::store::{self, Chosen, Image, Store};
use crate::suggest::nearest;
use crate::transfer::{self, check_platform};
use bundle::platform;

/// The image that `run` names, by name or id: from the store, or from its registry.
pub fn obtain(
    settings: &Settings,
    store: &Store,
    name: &str,
    when: PullWhen,
    quiet: bool,
    registry: &RegistryArgs,
) -> Result<Image> {
    if when != PullWhen::Always
        && let Some(image) = here(store, name, registry.platform.as_ref())?
    {
        return Ok(image);
    }
    let policy = match when {
        PullWhen::Always => Policy::Always,
        PullWhen::Missing => Policy::Missing,
        PullWhen::Never => Policy::Never,
    };
    let options = transfer::options(registry, policy);
    let reference: Reference = name.parse().map_err(|error| match error {
        // It was meant as an id, and no image here has it.
        ParseError::Algorithm(_) => store::Error::NoSuchImage(name.to_owned()).into(),
        error => Error::from(error),
    })?;
    let image = pull(&reference, &options, store, &*transfer::reporter(quiet))
        .map_err(|error| with_neighbour(store, &reference, error))?;
    let attributes = [("name", reference.repository())];
    event::emit(settings, event::Kind::Image, "pull", &reference.to_string(), &attributes);
    Ok(image)
}

/// An image that no registry has may be one of those that are here, misspelt: the hint has its name as well.
fn with_neighbour(store: &Store, wanted: &Reference, error: pull::Error) -> Error {
    let (wanted, known) = (wanted.to_string(), store.list().unwrap_or_default());
    let names: Vec<String> =
        known.iter().flat_map(|image| &image.names).map(ToString::to_string).collect();
    match nearest(&wanted, names.iter().map(String::as_str).filter(|name| **name != wanted)) {
        None => error.into(),
        Some(name) => Error::Rejected {
            message: error.to_string(),
            hint: Some(match error.hint() {
                None => format!("`{name}` is here"),
                Some(hint) => format!("`{name}` is here; else {hint}"),
            }),
        },
    }
}

/// The image that is here, with its layers; of a list, what the list says is for the platform.
fn here(store: &Store, name: &str, platform: Option<&Platform>) -> Result<Option<Image>> {
    let Chosen { image, is_of_list } = match store.find_for(name, platform) {
        Ok(chosen) => chosen,
        // By its name, it is known which repository has what is not here.
        Err(error @ store::Error::NotInList { .. }) if !is_named_list(store, name)? => {
            return Err(error.into());
        }
        Err(_) => return Ok(None),
    };
    let fits = |platform: &Platform| platform.fits(&image.config);
    if !platform.is_none_or(fits) && !is_of_list {
        return Ok(None);
    }
    if store.is_unpacked(&image) {
        return Ok(Some(image));
    }
    let unpacked = pull::unpack_again(store, &image);
    Ok(Some(unpacked.map_err(|cause| pull::Error::new("pull", name.to_owned(), cause))?))
}

/// The image that is called `typed` here; of a list, what the list says is for the platform. Any other image
/// that is for another platform is refused.
pub fn find(store: &Store, typed: &str, platform: Option<&Platform>) -> Result<Image> {
    let Chosen { image, is_of_list } = store.find_for(typed, platform)?;
    if !is_of_list {
        check_platform(&image, typed, platform)?;
    }
    Ok(image)
}

fn is_named_list(store: &Store, name: &str) -> Result<bool> {
    let Ok(name) = name.parse::<Reference>() else { return Ok(false) };
    Ok(store.named_list(&name)?.is_some())
}

/// Docker's warning about an image that nobody has asked for to be of another platform than this machine's.
pub fn foreign(image: &Image, registry: &RegistryArgs) -> Option<String> {
    let host = Platform::host();
    if registry.platform.is_some() || host.runs_image(&image.config) {
        return None;
    }
    let of_image = platform::name(&image.config);
    Some(format!(
        "The requested image's platform ({of_image}) does not match the detected host platform ({host}) and no specific platform was requested"
    ))
}
