//! `nman save`: images as one archive, for `load` here and everywhere else.
//!
//! Which images and which of their names is decided first; then their blobs are copied as they are, so the same images
//! always give the same bytes.

use crate::cli::SaveArgs;
use crate::error::{Error, Result};
use crate::event::{Kind, emit};
use crate::output::Output;
use crate::reference::Reference;
use crate::registry::Platform;
use crate::settings::Settings;
use crate::store::{self, Image, Store};
use bundle::archive::{self, Name, Outgoing, write};
use bundle::digest::Mismatch;
use bundle::{layout, platform};
use oci_spec::image::{Descriptor, MediaType};
use std::io::Write as _;

/// Writes the named images to a file, or to stdout if that is no terminal.
pub fn save(settings: &Settings, args: &SaveArgs) -> Result<()> {
    let store = Store::open(&settings.root)?;
    let chosen = choose(&store, &args.images)?;
    if let Some(platform) = &args.platform {
        chosen.iter().try_for_each(|(image, _)| check_platform(image, platform))?;
    }
    let outgoing: Vec<Outgoing> = chosen
        .iter()
        .map(|(image, names)| outgoing(&store, image, names))
        .collect::<Result<_>>()?;
    let mut output = Output::open(args.output.as_deref(), "save")?;
    write(store.layout(), &outgoing, args.format.into(), &mut output).map_err(unsaved)?;
    output.flush().map_err(Error::system("write the archive"))?;
    output.keep()?;
    for (image, names) in &chosen {
        let name = names.first().map_or_else(|| image.id.to_string(), ToString::to_string);
        emit(settings, Kind::Image, "save", image.id.as_str(), &[("name", &name)]);
    }
    Ok(())
}

/// Refuses an image for another platform than the one that was asked for: of an image for several, the store has one.
fn check_platform(image: &Image, platform: &Platform) -> Result<()> {
    if platform.fits(&image.config) {
        return Ok(());
    }
    let name = image.names.first().map_or_else(|| image.id.to_string(), ToString::to_string);
    Err(Error::Rejected {
        message: format!("no suitable export target found for platform {platform}"),
        hint: Some(format!(
            "`{name}` is here for {}; `nman pull --platform {platform} {name}` may get it for {platform}",
            platform::name(&image.config)
        )),
    })
}

/// A blob that is not what its name says is damaged here: what to do about that, the archive's writer does not know.
fn unsaved(error: archive::Error) -> Error {
    match &error {
        archive::Error::Layout(layout::Error::Blob { digest, source })
            if Mismatch::within(source).is_some() =>
        {
            match digest.parse() {
                Ok(digest) => store::Error::layer_damaged(digest, source).into(),
                Err(_) => error.into(),
            }
        }
        _ => error.into(),
    }
}

/// The images that are meant, each once, with the names that were asked for: all tags of a repository that is named without
/// one, and none for an id.
fn choose(store: &Store, texts: &[String]) -> Result<Vec<(Image, Vec<Reference>)>> {
    let all = store.list()?;
    let mut chosen: Vec<(Image, Vec<Reference>)> = Vec::new();
    for text in texts {
        let tags = if is_repository(text) { tags_of(&all, text) } else { Vec::new() };
        if tags.is_empty() {
            let image = store.find(text)?;
            let name = text.parse().ok().filter(|name| image.names.contains(name));
            add(&mut chosen, image, name);
        }
        for (image, name) in tags {
            add(&mut chosen, image, Some(name));
        }
    }
    Ok(chosen)
}

fn add(chosen: &mut Vec<(Image, Vec<Reference>)>, image: Image, name: Option<Reference>) {
    let known = chosen.iter_mut().find(|(known, _)| known.manifest_digest == image.manifest_digest);
    match known {
        Some((_, names)) => names.extend(name.filter(|name| !names.contains(name))),
        None => chosen.push((image, name.into_iter().collect())),
    }
}

/// Whether `text` is a name without tag and digest.
fn is_repository(text: &str) -> bool {
    !text.rsplit('/').next().unwrap_or(text).contains([':', '@'])
}

fn tags_of(images: &[Image], text: &str) -> Vec<(Image, Reference)> {
    let Ok(repository) = text.parse::<Reference>() else { return Vec::new() };
    let is_of = |name: &&Reference| {
        (name.domain(), name.repository()) == (repository.domain(), repository.repository())
    };
    images
        .iter()
        .flat_map(|image| {
            image.names.iter().filter(is_of).map(|name| (image.clone(), name.clone()))
        })
        .collect()
}

fn outgoing(store: &Store, image: &Image, names: &[Reference]) -> Result<Outgoing> {
    let path = store.layout().blob_path(&image.manifest_digest);
    let size = std::fs::metadata(&path).map_err(Error::io("read", &path))?.len();
    let names = names.iter().filter_map(|name| {
        Some(Name {
            full: name.canonical(),
            familiar: name.to_string(),
            tag: name.tag()?.to_owned(),
        })
    });
    Ok(Outgoing {
        manifest: Descriptor::new(MediaType::ImageManifest, size, &image.manifest_digest),
        names: names.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_tag_is_a_repository_even_behind_a_port() {
        assert!(is_repository("alpine"));
        assert!(is_repository("localhost:5000/app"));
        assert!(!is_repository("localhost:5000/app:1"));
        assert!(!is_repository("alpine:3"));
        assert!(!is_repository("alpine@sha256:0"));
    }
}
