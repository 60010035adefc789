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
use bundle::digest::Digest;
use bundle::layer::Limits;
use bundle::layout::Layout;

use crate::progress::NoProgress;
use crate::pull::{Cause, Error, Source, install};
use crate::reference::Reference;
use crate::registry::{Platform, Registry};
use crate::store::{self, Image, Store};
use crate::table::plain;

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
    let disk = File::open(layout.path()).map_err(store::Error::file("open", layout.path()))?;
    let loaded = archive::load(archive, &layout, &Limits::on_disk(disk))?;
    let host = Platform::host();
    let asked = platform.is_some();
    let platform = platform.unwrap_or(&host);
    let staged = Some(&layout);
    let source = Source { asked, staged, ..Source::new(&layout, platform) };
    let named: Result<Vec<_>, Cause> = loaded
        .iter()
        .map(|image| {
            let document = layout.manifest(&image.descriptor)?;
            let names = names(image, &document.digest)?;
            Ok((document, names))
        })
        .collect();
    let mut images = Vec::with_capacity(loaded.len());
    let mut unfit = None;
    for (document, names) in named? {
        match install(&source, document, &names, store, &NoProgress) {
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

/// The names that say which image it is. A mere tag, as an image layout may have it, does not. One that is pinned to a digest
/// must tell the truth: who runs `NAME@DIGEST` trusts that it is this content, wherever it came from.
fn names(image: &Loaded, manifest: &Digest) -> Result<Vec<Reference>, Cause> {
    let is_name = |name: &&String| name.contains([':', '/']);
    let parse = |name: &String| {
        let wrong = |why: String| Cause::Name { name: plain(name), why };
        let parsed: Reference = name.parse().map_err(|_| wrong("that is no name".to_owned()))?;
        match parsed.digest() {
            Some(digest) if digest != manifest => {
                Err(wrong(format!("the digest of its manifest is `{manifest}`")))
            }
            _ => Ok(parsed),
        }
    };
    image.names.iter().filter(is_name).map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::image::{Descriptor, MediaType};

    #[test]
    fn an_archive_cannot_take_a_name_that_stands_for_other_content() {
        let (own, other) = (Digest::of(b"manifest"), Digest::of(b"other"));
        let names = |names: &[String]| {
            let descriptor = Descriptor::new(MediaType::ImageManifest, 8, &own);
            let names = names.to_vec();
            super::names(&Loaded { names, descriptor }, &own)
        };
        let given = ["latest".to_owned(), "app:1".to_owned(), format!("app@{own}")];
        let taken: Vec<Reference> = given[1..].iter().map(|name| name.parse().unwrap()).collect();
        assert_eq!(names(&given).unwrap(), taken);
        for (name, why) in [
            (format!("app@{other}"), format!("the digest of its manifest is `{own}`")),
            (format!("app:1@{other}"), format!("the digest of its manifest is `{own}`")),
            ("App:1".to_owned(), "that is no name".to_owned()),
            ("a\x1b[31m:1".to_owned(), "that is no name".to_owned()),
        ] {
            let error = names(&["fine:1".to_owned(), name.clone()]).unwrap_err().to_string();
            assert_eq!(error, format!("it calls an image `{}`: {why}", plain(&name)));
        }
    }
}
