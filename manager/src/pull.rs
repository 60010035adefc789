//! Pulling: from a name to an image whose layers are unpacked.
//!
//! [`pull`] reads from top to bottom: the name is resolved to a manifest, the layers that are not
//! here yet come in side by side into a staging directory, and when all are found right they are
//! committed and named under a lock. A pull that is killed leaves its staging directory, which the
//! next one sweeps.

mod error;
mod install;
mod unpack;

pub use error::{Cause, Error};
pub(crate) use install::{Called, Source, install, install_as, look_at, unpack_again};

use crate::progress::Progress;
use crate::reference::Reference;
use crate::registry::list::List;
use crate::registry::{self, Access, Credentials, Mirrors, Platform, Registry, Tls};
use crate::store::{Image, Store};
use bundle::digest::Digest;
use bundle::platform;

/// When a registry is asked for an image that may be here already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Every time: the name may stand for something newer.
    Always,
    /// Only if no image here has the name.
    #[default]
    Missing,
    /// Not at all.
    Never,
}

/// Choices of the caller.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// The platform to choose from an image for several; this machine's, if not given.
    pub platform: Option<Platform>,
    /// What to log in with; what `nman login` or `docker login` stored for the registry, if not given.
    pub credentials: Option<Credentials>,
    /// How far the registry's identity is checked.
    pub tls: Tls,
    /// When the registry is asked at all.
    pub policy: Policy,
}

/// Makes sure that the image `reference` is in the store with its layers unpacked, and returns it.
pub fn pull(
    reference: &Reference,
    options: &PullOptions,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Image, Error> {
    let result = match options.policy {
        Policy::Always => fetch(reference, options, store, progress),
        Policy::Missing => match here(reference, options, store) {
            Ok(Some(image)) => Ok(image),
            Ok(None) => match store.named_list(reference) {
                Ok(Some(list)) => of_list(&list.list, options, store, progress),
                Ok(None) => fetch(reference, options, store, progress),
                Err(error) => Err(error.into()),
            },
            Err(cause) => Err(cause),
        },
        Policy::Never => here(reference, options, store)
            .and_then(|image| image.map_or_else(|| Err(missing(reference, options, store)), Ok)),
    };
    result.map_err(|cause| Error::new("pull", reference.to_string(), cause))
}

/// The image as it is in the store, if it is for the right platform, with layers unpacked again that
/// were removed.
fn here(
    reference: &Reference,
    options: &PullOptions,
    store: &Store,
) -> Result<Option<Image>, Cause> {
    let Some(image) = store.named_for(reference, options.platform.as_ref())? else {
        return Ok(None);
    };
    // What an image of a list is for, the list says.
    if options.platform.as_ref().is_some_and(|platform| !platform.fits(&image.config))
        && store.named_list(reference)?.is_none()
    {
        return Ok(None);
    }
    if store.is_unpacked(&image) {
        return Ok(Some(image));
    }
    unpack_again(store, &image).map(Some)
}

/// An image of a list that is not here, from the repository that has it. It is nothing but what the list names: nobody has asked for
/// what a registry has under the list's name, which stays the list's.
fn of_list(
    list: &List,
    options: &PullOptions,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Image, Cause> {
    let Some((descriptor, source)) = list.choose(options.platform.as_ref()) else {
        return Err(not_in(list, options));
    };
    let Some(source) = source else {
        // It ought to be here: this says what of it is not.
        store.content(&Digest::try_from(&descriptor).map_err(invalid)?)?;
        return Err(not_in(list, options));
    };
    store.check_writable()?;
    let source: Reference =
        source.parse().map_err(|_| invalid(format!("`{source}` is no repository")))?;
    let registry = Mirrors::new(&source, &options.access())?;
    let document = registry.manifest(&descriptor)?;
    progress.note(&format!("{}: Pulling from {}", document.digest, source.repository()));
    let host = Platform::host();
    let source = Source::new(&registry, &host);
    install(&source, document, &[], store, progress)
}

fn invalid(why: impl std::fmt::Display) -> registry::Error {
    registry::Error::Invalid(why.to_string())
}

/// That a list has nothing for the platform.
fn not_in(list: &List, options: &PullOptions) -> Cause {
    let wanted = options.platform.clone().unwrap_or_else(Platform::host);
    Cause::NoPlatform { wanted, offered: list.offered() }
}

/// Why nothing here is what was asked for.
fn missing(reference: &Reference, options: &PullOptions, store: &Store) -> Cause {
    if let Ok(Some(list)) = store.named_list(reference) {
        return not_in(&list.list, options);
    }
    match (&options.platform, store.named(reference)) {
        (Some(wanted), Ok(Some(image))) => {
            Cause::NoPlatform { wanted: wanted.clone(), offered: platform::name(&image.config) }
        }
        _ => Cause::NotHere,
    }
}

/// The tags that the registry has for the repository of `reference`.
pub fn tags(reference: &Reference, options: &PullOptions) -> Result<Vec<String>, Error> {
    let tags = Mirrors::new(reference, &options.access()).and_then(|mirrors| mirrors.tags());
    tags.map_err(|error| Error::new("list the tags of", reference.familiar_name(), error.into()))
}

impl PullOptions {
    pub(crate) fn access(&self) -> Access {
        Access { credentials: self.credentials.clone(), tls: self.tls.clone() }
    }
}

/// Asks the registry.
fn fetch(
    reference: &Reference,
    options: &PullOptions,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Image, Cause> {
    store.check_writable()?;
    let before = store.named(reference).ok().flatten();
    let registry = Mirrors::new(reference, &options.access())?;
    let document = registry.resolve(&reference.selector())?;
    let what = reference.tag().map_or_else(|| reference.selector(), str::to_owned);
    progress.note(&format!("{what}: Pulling from {}", reference.repository()));
    let platform = options.platform.clone().unwrap_or_else(Platform::host);
    let asked = options.platform.is_some();
    let source = Source { asked, ..Source::new(&registry, &platform) };
    let digest = document.digest.clone();
    let image = install(&source, document, std::slice::from_ref(reference), store, progress)?;
    let is_same = before.is_some_and(|before| before.manifest_digest == image.manifest_digest);
    progress.note(&format!("Digest: {digest}"));
    progress.note(&if is_same {
        format!("Status: Image is up to date for {reference}")
    } else {
        format!("Status: Downloaded newer image for {reference}")
    });
    Ok(image)
}
