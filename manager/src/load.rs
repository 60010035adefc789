//! Loading images from an archive: what `docker save`, `podman save` and `skopeo` write.
//!
//! The archive is first read into an image layout in a staging directory, where every digest is
//! checked; from there its images take the same way into the store as from a registry.

use crate::cli::LoadArgs;
use crate::event::{Kind, emit};
use crate::settings::Settings;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use bundle::archive::{self, Loaded};
use bundle::layer::Limits;
use bundle::layout::Layout;

use crate::progress::NoProgress;
use crate::pull::{Cause, Error, Source, install};
use crate::reference::Reference;
use crate::registry::{Platform, Registry};
use crate::store::{self, Image, Store};

/// `nman load`: what was loaded, in Docker's words.
pub fn load_archive(settings: &Settings, args: &LoadArgs) -> crate::error::Result<String> {
    let store = Store::open(&settings.root)?;
    let platform = args.platform.as_ref();
    let images = match &args.input {
        Some(path) => load_file(path, platform, &store)?,
        None if crate::terminal::stdin_is_terminal() => {
            return Err(crate::error::Error::refusal(
                "requested load from stdin, but stdin is empty".to_owned(),
            ));
        }
        None => load(std::io::stdin(), "stdin", platform, &store)?,
    };
    let mut text = String::new();
    for image in &images {
        emit(settings, Kind::Image, "load", image.id.as_str(), &[("name", image.id.as_str())]);
        for name in &image.names {
            text.push_str(&format!("Loaded image: {name}\n"));
        }
        if image.names.is_empty() {
            text.push_str(&format!("Loaded image ID: {}\n", image.id));
        }
    }
    Ok(text)
}

/// Loads the images of the archive in the file `path`, plain or compressed; see [`load`].
pub fn load_file(
    path: &Path,
    platform: Option<&Platform>,
    store: &Store,
) -> Result<Vec<Image>, Error> {
    let name = path.display().to_string();
    let file = File::open(path);
    let file = file.map_err(|error| Error::new("load", name.clone(), Cause::Open(error)))?;
    load(file, &name, platform, store)
}

/// Loads the images of an archive that is read once, from front to back, so it may be a pipe.
/// `name` is what messages call it. With a platform those that are for it, of which there must be one; without, all, and from an
/// image for several the one for this machine.
pub fn load(
    archive: impl Read + Send,
    name: &str,
    platform: Option<&Platform>,
    store: &Store,
) -> Result<Vec<Image>, Error> {
    let result = unpack_and_install(archive, platform, store);
    result.map_err(|cause| Error::new("load", name.to_owned(), cause))
}

fn unpack_and_install(
    archive: impl Read + Send,
    platform: Option<&Platform>,
    store: &Store,
) -> Result<Vec<Image>, Cause> {
    let staging = store.stage()?;
    let layout = Layout::create(staging.path("layout")).map_err(store::Error::from)?;
    let loaded = archive::load(archive, &layout, &Limits::default())?;
    let host = Platform::host();
    let asked = platform.is_some();
    let source = Source { registry: &layout, platform: platform.unwrap_or(&host), asked };
    let mut images = Vec::with_capacity(loaded.len());
    let mut unfit = None;
    for image in &loaded {
        let document = layout.manifest(&image.descriptor)?;
        match install(&source, document, &names(image), store, &NoProgress) {
            // Others of the archive may be what was asked for.
            Err(cause @ Cause::NoPlatform { .. }) if asked => unfit = Some(cause),
            installed => images.push(installed?),
        }
    }
    match unfit {
        Some(cause) if images.is_empty() => Err(cause),
        _ => Ok(images),
    }
}

/// The names that say which image it is. A mere tag, as an image layout may have it, does not.
fn names(image: &Loaded) -> Vec<Reference> {
    let is_name = |name: &&String| name.contains([':', '/']);
    image.names.iter().filter(is_name).filter_map(|name| name.parse().ok()).collect()
}
