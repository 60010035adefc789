//! The image that a container is made from.

use crate::cli::{PullWhen, RegistryArgs};
use crate::error::{Error, Result};
use crate::event;
use crate::pull::{Policy, pull};
use crate::reference::{ParseError, Reference};
use crate::registry::Platform;
use crate::settings::Settings;
use crate::store::{self, Image, Store};
use crate::transfer;
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
    let fits = |image: &Image| {
        registry.platform.as_ref().is_none_or(|platform| platform.fits(&image.config))
            && store.is_unpacked(image)
    };
    if when != PullWhen::Always
        && let Ok(image) = store.find_for(name, registry.platform.as_ref())
        && fits(&image)
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
    let image = pull(&reference, &options, store, &*transfer::reporter(quiet))?;
    let attributes = [("name", reference.repository())];
    event::emit(settings, event::Kind::Image, "pull", &reference.to_string(), &attributes);
    Ok(image)
}

/// Refuses an image that is for another platform than the one that was asked for; `typed` is what it was called. Of an image for
/// several platforms the store has one.
pub fn check_platform(image: &Image, typed: &str, platform: Option<&Platform>) -> Result<()> {
    let Some(wanted) = platform.filter(|wanted| !wanted.fits(&image.config)) else { return Ok(()) };
    let of_image = platform::name(&image.config);
    Err(Error::Rejected {
        message: format!(
            "image with reference {typed} was found but its platform ({of_image}) does not match the specified platform ({wanted})"
        ),
        hint: Some(format!("`nman pull --platform {wanted} {typed}` may get it for {wanted}")),
    })
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
