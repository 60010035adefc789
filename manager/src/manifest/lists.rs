//! `nman manifest create`, `add`, `annotate`, `remove`, `rm`, `exists` and `push`: lists that are kept here.

use super::member::{self, Which};
use super::remote_name;
use crate::cli::{
    ManifestAddArgs, ManifestAnnotateArgs, ManifestCreateArgs, ManifestPushArgs,
    ManifestRemoveArgs, TlsArgs,
};
use crate::error::{Error, Result};
use crate::event::{Kind, emit};
use crate::push::{PushOptions, Sent, push_list};
use crate::reference::Reference;
use crate::registry::Access;
use crate::registry::list::{Format, List, Traits};
use crate::settings::Settings;
use crate::store::{Image, ManifestList, Occupant, Store};
use crate::{rmi, tag, transfer};
use bundle::digest::Digest;
use serde_json::Value;

/// Makes a list of the images; its id, in podman's form.
pub fn create(settings: &Settings, args: &ManifestCreateArgs) -> Result<String> {
    let store = Store::open(&settings.root)?;
    let name = tag::target(&args.list)?;
    let traits = Traits::default();
    let which = if args.all { Which::All } else { Which::For(&traits) };
    let entries = all_entries(&store, &args.images, which, &args.tls.tls())?;
    let made = store.change_list(&name, |occupant| {
        let mut list = match occupant {
            Occupant::Nobody => List::default(),
            Occupant::List(_, list) if args.amend => list,
            Occupant::Other(_) if args.amend => return Err(no_list(&name)),
            Occupant::List(id, _) | Occupant::Other(id) => return Err(taken(&name, &id)),
        };
        list.annotate(&args.annotation);
        entries.into_iter().for_each(|entry| list.add(entry));
        Ok(list)
    })?;
    emit(settings, Kind::Image, "tag", made.digest.as_str(), &[("name", &name.to_string())]);
    Ok(id(&made))
}

/// Adds images to a list; its id.
pub fn add(settings: &Settings, args: &ManifestAddArgs) -> Result<String> {
    let store = Store::open(&settings.root)?;
    // Before a registry is asked.
    named(&store, &args.list)?;
    let traits = args.member.traits();
    let which = if args.all { Which::All } else { Which::For(&traits) };
    let mut entries = all_entries(&store, &args.images, which, &args.tls.tls())?;
    entries.iter_mut().for_each(|entry| traits.apply(entry));
    change(&store, &args.list, |list| {
        entries.into_iter().for_each(|entry| list.add(entry));
        Ok(())
    })
}

/// Says something else of an image of a list, or of the list; its id.
pub fn annotate(settings: &Settings, args: &ManifestAnnotateArgs) -> Result<String> {
    let store = Store::open(&settings.root)?;
    let traits = args.member.traits();
    let Some(image) = args.image.as_deref().filter(|_| !args.index) else {
        return change(&store, &args.list, |list| {
            list.annotate(&traits.annotations);
            Ok(())
        });
    };
    let digest = digest(&store, &args.list, image, &args.tls.tls())?;
    change(&store, &args.list, |list| match list.annotate_entry(&digest, &traits) {
        true => Ok(()),
        false => Err(not_in(&args.list, &digest)),
    })
}

/// Takes an image out of a list; the list's id.
pub fn remove(settings: &Settings, args: &ManifestRemoveArgs) -> Result<String> {
    let store = Store::open(&settings.root)?;
    let digest = digest(&store, &args.list, &args.image, &args.tls.tls())?;
    change(&store, &args.list, |list| match list.remove(&digest) {
        true => Ok(()),
        false => Err(not_in(&args.list, &digest)),
    })
}

/// Removes lists, and nothing else; what was done, and what went wrong.
pub fn rm(settings: &Settings, names: &[String]) -> Result<(Vec<String>, Vec<Error>)> {
    let store = Store::open(&settings.root)?;
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for name in names {
        match remove_whole(settings, &store, name) {
            Ok(lines) => done.extend(lines),
            Err(error) => errors.push(error),
        }
    }
    Ok((done, errors))
}

fn remove_whole(settings: &Settings, store: &Store, name: &str) -> Result<Vec<String>> {
    // Containers are of images: what a list is to them, `rmi` asks.
    let none = |_: &Image, lists: Option<&[Reference]>| match lists {
        None => Err(absent(store, name)),
        Some(_) => Ok(Vec::new()),
    };
    // One that does not read back can be removed, too.
    if !store.has_list(name)? {
        return Err(absent(store, name));
    }
    let removed = store.remove::<Error>(name, false, none)?;
    Ok(removed.iter().map(|removed| rmi::told(settings, removed)).collect())
}

/// Whether there is a list of this name.
pub fn exists(settings: &Settings, name: &str) -> Result<bool> {
    Ok(Store::open(&settings.root)?.find_list(name)?.is_some())
}

/// Pushes a list; the digest that it has in the registry.
pub fn push(settings: &Settings, args: &ManifestPushArgs) -> Result<String> {
    let store = Store::open(&settings.root)?;
    let list = named(&store, &args.list)?;
    let destination = match args.destination.as_deref() {
        Some(text) => Some(remote_name(text).unwrap_or(text)),
        None => None,
    };
    let destination: Reference = match destination {
        Some(text) => text.parse()?,
        None => own_name(&list, &args.list)?,
    };
    let format = args.format.map(Format::from);
    let sent = Sent { list: &list.list, format, images: args.all };
    let access = Access { credentials: None, tls: transfer::tls(&args.tls.tls()) };
    let options = PushOptions { access, ..PushOptions::default() };
    let progress = transfer::reporter(args.quiet);
    progress.note(&format!("The push refers to repository [{}]", destination.canonical_name()));
    let pushed = push_list(&destination, sent, &options, &store, &*progress)?.digest;
    let name = [("name", destination.repository())];
    emit(settings, Kind::Image, "push", &destination.to_string(), &name);
    if let Some(path) = &args.digestfile {
        std::fs::write(path, pushed.as_str()).map_err(Error::io("write the digest to", path))?;
    }
    if args.purge {
        remove_whole(settings, &store, &args.list)?;
    }
    Ok(format!("{pushed}\n"))
}

fn all_entries(
    store: &Store,
    images: &[String],
    which: Which<'_>,
    tls: &TlsArgs,
) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for image in images {
        all.extend(member::entries(store, image, which, tls)?);
    }
    Ok(all)
}

/// Changes the list of this name; its id.
fn change(
    store: &Store,
    name: &str,
    change: impl FnOnce(&mut List) -> Result<()>,
) -> Result<String> {
    let reference = own_name(&named(store, name)?, name)?;
    let changed = store.change_list(&reference, |occupant| match occupant {
        Occupant::List(_, mut list) => change(&mut list).map(|()| list),
        Occupant::Nobody | Occupant::Other(_) => Err(absent(store, name)),
    })?;
    Ok(id(&changed))
}

/// The digest of an image of a list, by which or by whose name it is called.
fn digest(store: &Store, list: &str, image: &str, tls: &TlsArgs) -> Result<Digest> {
    if let Ok(digest) = image.parse() {
        return Ok(digest);
    }
    named(store, list)?;
    let traits = Traits::default();
    let entries = member::entries(store, image, Which::For(&traits), tls)?;
    let digest = entries.first().and_then(|entry| entry["digest"].as_str()?.parse().ok());
    digest.ok_or_else(|| Error::refusal(format!("`{image}` has no digest")))
}

/// The name of a list by which it was called, or, where that was by its id, its first.
fn own_name(list: &ManifestList, typed: &str) -> Result<Reference> {
    let typed_name = typed.parse().ok().filter(|name| list.names.contains(name));
    typed_name.or_else(|| list.names.first().cloned()).ok_or_else(|| Error::Rejected {
        message: format!("manifest list `{typed}` has no name"),
        hint: Some(format!("`nman tag {typed} NAME` gives it one")),
    })
}

/// A list that has to be there.
fn named(store: &Store, name: &str) -> Result<ManifestList> {
    store.find_list(name)?.ok_or_else(|| absent(store, name))
}

fn id(list: &ManifestList) -> String {
    format!("{}\n", list.digest.hex())
}

/// That there is no such list, in Docker's words, or that it is something else, in podman's.
fn absent(store: &Store, name: &str) -> Error {
    match name.parse::<Reference>() {
        Ok(reference) if matches!(store.named(&reference), Ok(Some(_))) => no_list(&reference),
        _ => Error::Rejected {
            message: format!("No such manifest: {name}"),
            hint: Some(format!("`nman manifest create {name}` makes a list of this name")),
        },
    }
}

/// That a name is that of an image, where it should be that of a list.
pub(crate) fn no_list(name: &Reference) -> Error {
    Error::refusal(format!("{name}: image is not a manifest list"))
}

fn taken(name: &Reference, id: &Digest) -> Error {
    Error::Rejected {
        message: format!(
            "image name \"{name}\" is already associated with image \"{}\": that name is already in use",
            id.hex()
        ),
        hint: Some("`--amend` adds to a list that is there".to_owned()),
    }
}

fn not_in(list: &str, digest: &Digest) -> Error {
    Error::refusal(format!("no image with digest {digest} in manifest list {list}"))
}
