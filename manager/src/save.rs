//! `nman save`: images as one archive, for `load` here and everywhere else.
//!
//! Which images and which of their names is decided first; then their blobs are copied as they are, so the same images
//! always give the same bytes.

use crate::cli::SaveArgs;
use crate::error::{Error, Result};
use crate::event::{Kind, emit};
use crate::output::Output;
use crate::pull;
use crate::reference::Reference;
use crate::registry::Platform;
use crate::settings::Settings;
use crate::store::{self, Chosen, Image, ManifestList, Store};
use bundle::archive::{self, Name, Outgoing, write};
use bundle::digest::Mismatch;
use bundle::{layout, platform};
use oci_spec::image::{Descriptor, MediaType};
use std::io::Write as _;

/// Writes the named images to a file, or to stdout if that is no terminal.
pub fn save(settings: &Settings, args: &SaveArgs) -> Result<()> {
    let store = Store::open(&settings.root)?;
    let chosen = choose(&store, &args.images, args.platform.as_ref())?;
    let chosen: Vec<(Image, Vec<Reference>)> = chosen
        .into_iter()
        .map(|(image, names)| Ok((installed(&store, image)?, names)))
        .collect::<Result<_>>()?;
    let outgoing: Vec<Outgoing> = chosen
        .iter()
        .map(|(image, names)| outgoing(&store, image, names))
        .collect::<Result<_>>()?;
    let mut output = Output::open(args.output.as_deref(), "save")?;
    let written = write(store.layout(), &outgoing, args.format.into(), &mut output);
    written.map_err(|error| gone(&store, &chosen, &error).unwrap_or_else(|| unsaved(error)))?;
    output.flush().map_err(Error::system("write the archive"))?;
    output.keep()?;
    for (image, names) in &chosen {
        let name = names.first().map_or_else(|| image.id.to_string(), ToString::to_string);
        emit(settings, Kind::Image, "save", image.id.as_str(), &[("name", &name)]);
    }
    Ok(())
}

/// A blob that is missing because somebody has removed the image since the archive was begun. Nobody is kept from that meanwhile: whoever reads
/// the archive may take hours.
fn gone(
    store: &Store,
    chosen: &[(Image, Vec<Reference>)],
    error: &archive::Error,
) -> Option<Error> {
    if !matches!(error, archive::Error::Layout(layout::Error::MissingBlob { .. })) {
        return None;
    }
    let is_gone = |image: &Image| matches!(store.hold(image), Ok(None));
    let (image, names) = chosen.iter().find(|(image, _)| is_gone(image))?;
    let name = names.first().map_or_else(|| image.id.to_string(), ToString::to_string);
    Some(Error::Rejected {
        message: format!("image `{name}` was removed while it was saved"),
        hint: Some(
            "the archive is not complete: pull or load the image again, and save it".to_owned(),
        ),
    })
}

/// What only a list keeps may be in Docker's words, which is nothing that an archive of OCI's has: it becomes an image here first.
fn installed(store: &Store, image: Image) -> Result<Image> {
    if store.hold(&image)?.is_some() {
        return Ok(image);
    }
    let id = image.id.to_string();
    pull::unpack_again(store, &image).map_err(|cause| pull::Error::new("save", id, cause).into())
}

/// Refuses an image for another platform than the one that was asked for: of an image for several, the store has one.
fn check_platform(image: &Image, platform: Option<&Platform>) -> Result<()> {
    let Some(platform) = platform.filter(|platform| !platform.fits(&image.config)) else {
        return Ok(());
    };
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
pub(crate) fn unsaved(error: archive::Error) -> Error {
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
fn choose(
    store: &Store,
    texts: &[String],
    platform: Option<&Platform>,
) -> Result<Vec<(Image, Vec<Reference>)>> {
    let (all, lists) = (store.list()?, store.lists()?);
    let mut chosen: Vec<(Image, Vec<Reference>)> = Vec::new();
    for text in texts {
        let (tags, tags_of_lists) = match is_repository(text) {
            true => (tags_of(&all, text), tags_of_lists(&lists, text)),
            false => (Vec::new(), Vec::new()),
        };
        if tags.is_empty() && tags_of_lists.is_empty() {
            let Chosen { image, is_of_list } = store.find_for(text, platform)?;
            let name: Option<Reference> = text.parse().ok();
            let called =
                |names: &[Reference]| name.as_ref().is_some_and(|name| names.contains(name));
            let by_list = lists.iter().any(|list| called(&list.names));
            if !is_of_list {
                check_platform(&image, platform)?;
            }
            let name = name.clone().filter(|_| by_list || called(&image.names));
            add(&mut chosen, image, name);
        }
        for (image, name) in tags {
            check_platform(&image, platform)?;
            add(&mut chosen, image, Some(name));
        }
        for name in tags_of_lists {
            let of_list = store.find_for(&name.to_string(), platform)?;
            add(&mut chosen, of_list.image, Some(name));
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
    let of_image = |image: &Image| {
        let names = of_repository(&image.names, text);
        names.into_iter().map(|name| (image.clone(), name)).collect::<Vec<_>>()
    };
    images.iter().flat_map(of_image).collect()
}

fn tags_of_lists(lists: &[ManifestList], text: &str) -> Vec<Reference> {
    lists.iter().flat_map(|list| of_repository(&list.names, text)).collect()
}

/// Those of the names that are of a repository.
fn of_repository(names: &[Reference], text: &str) -> Vec<Reference> {
    let Ok(repository) = text.parse::<Reference>() else { return Vec::new() };
    let is_of = |name: &&Reference| {
        (name.domain(), name.repository()) == (repository.domain(), repository.repository())
    };
    names.iter().filter(is_of).cloned().collect()
}

/// An image on its way out, with those of the names that have a tag.
pub(crate) fn outgoing(store: &Store, image: &Image, names: &[Reference]) -> Result<Outgoing> {
    let path = store.layout().blob_path(&image.manifest_digest);
    let size = std::fs::metadata(&path).map_err(Error::io("read", &path))?.len();
    let manifest = Descriptor::new(MediaType::ImageManifest, size, &image.manifest_digest);
    Ok(Outgoing { manifest, index: None, names: spelled(names) })
}

/// Names as an archive has them. A digest is none: it names the manifest, which is not always the one that is in it.
pub(crate) fn spelled(names: &[Reference]) -> Vec<Name> {
    let spelled = |name: &Reference| {
        Some(Name {
            full: name.canonical(),
            familiar: name.to_string(),
            tag: name.tag()?.to_owned(),
        })
    };
    names.iter().filter(|name| name.digest().is_none()).filter_map(spelled).collect()
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
