//! `nman images` and what else is asked of images that are here: history, inspect, prune.

mod describe;
mod filter;
mod history;
mod prune;

pub use describe::describe;
pub use history::history;
pub use prune::{ImagePrune, prune_report};

use crate::cli::{ImagesArgs, InspectImagesArgs};
use crate::clock::{Timestamp, human};
use crate::container::{Containers, Record, State};
use crate::error::Result;
use crate::image;
use crate::listing::{Column, List, Row, human_size, objects};
use crate::reference::Reference;
use crate::settings::Settings;
use crate::store::{Image, ManifestList, Store};
use crate::{error::Error, rmi};
use bundle::digest::Digest;
use filter::Choice;
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::BTreeMap;

const LIST: List = List {
    columns: &[
        Column::new("Repository", "REPOSITORY"),
        Column::new("Tag", "TAG"),
        Column::new("Digest", "DIGEST"),
        Column::new("ID", "IMAGE ID"),
        Column::new("CreatedSince", "CREATED"),
        Column::new("CreatedAt", "CREATED AT"),
        Column::new("Size", "SIZE"),
        Column::new("VirtualSize", "VIRTUAL SIZE"),
        Column::new("SharedSize", "SHARED SIZE"),
        Column::new("UniqueSize", "UNIQUE SIZE"),
        Column::new("Containers", "CONTAINERS"),
        Column::new("Labels", "LABELS"),
    ],
    table: &["Repository", "Tag", "ID", "CreatedSince", "Size"],
    quiet: "ID",
    filters: &["dangling", "reference", "label", "before", "since", "until"],
};

const WITH_DIGESTS: [&str; 6] = ["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"];

/// The list as text, newest image first.
pub fn images(settings: &Settings, args: &ImagesArgs) -> Result<String> {
    let table = if args.digests { &WITH_DIGESTS[..] } else { LIST.table };
    let view = LIST.view_by("imagesFormat", &args.list, table)?;
    let store = Store::open(&settings.root)?;
    let choice = Choice::new(&store, &view.filters, args.name.as_deref())?;
    let containers = match view.shows("Containers") {
        true => Containers::open(&settings.containers())?.list()?,
        false => Vec::new(),
    };
    let images = store.list()?;
    let taken = images.iter().filter(|image| choice.takes(image));
    let lists = store.lists()?;
    let lists = lists.iter().filter(|list| choice.takes_list(list)).map(Shown::of_list);
    let mut all: Vec<Shown<'_>> =
        taken.map(|image| Shown::of(image, &containers)).chain(lists).collect();
    all.sort_by_key(|shown| Reverse(shown.time));
    let mut rows = Vec::new();
    for shown in &all {
        // An id is one thing, however many names it has.
        let mut names = choice.names(shown.names);
        if args.list.quiet {
            names.truncate(1);
        }
        rows.extend(names.iter().map(|name| shown.row(name.as_ref(), view.no_trunc)));
    }
    view.render(&rows)
}

/// What a row shows: an image, or a list of images for several platforms.
struct Shown<'a> {
    id: &'a Digest,
    names: &'a [Reference],
    digest: Option<&'a Digest>,
    time: Option<Timestamp>,
    size: u64,
    users: usize,
    labels: BTreeMap<String, String>,
}

impl<'a> Shown<'a> {
    fn of(image: &'a Image, containers: &[(Record, State)]) -> Self {
        Self {
            id: &image.id,
            names: &image.names,
            digest: image.repo_digests.first(),
            time: image.time(),
            size: image.size,
            users: rmi::users(containers, image).len(),
            labels: labels(image),
        }
    }

    /// Its images are rows of their own: what it has itself is its text.
    fn of_list(list: &'a ManifestList) -> Self {
        Self {
            id: &list.digest,
            names: &list.names,
            digest: Some(&list.digest),
            time: list.made,
            size: list.list.kept().len() as u64,
            users: 0,
            labels: BTreeMap::new(),
        }
    }

    fn row(&self, name: Option<&Reference>, no_trunc: bool) -> Row {
        let none = || "<none>".to_owned();
        let id = if no_trunc { self.id.as_str() } else { self.id.short() };
        let size = human_size(self.size);
        // What is pinned by a digest has no tag, whatever was typed beside it.
        let tag = name.filter(|name| name.digest().is_none()).and_then(Reference::tag);
        Row::new([("ID", id.to_owned()), ("Size", size.clone()), ("VirtualSize", size)])
            .with("Repository", name.map_or_else(none, Reference::familiar_name))
            .with("Tag", tag.map_or_else(none, str::to_owned))
            .with("Digest", self.digest.map_or_else(none, ToString::to_string))
            .with("CreatedSince", since(self.time))
            .with("CreatedAt", at(self.time))
            .with("SharedSize", "N/A")
            .with("UniqueSize", "N/A")
            .with("Containers", self.users.to_string())
            .labels(&self.labels)
    }
}

/// `3 weeks ago`, or what Docker shows where nothing is known.
pub(crate) fn since(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "N/A".to_owned(), |time| format!("{} ago", human(time.age())))
}

/// `2024-01-02 03:04:05 +0000 UTC`
pub(crate) fn at(time: Option<Timestamp>) -> String {
    time.map_or_else(
        || "N/A".to_owned(),
        |time| {
            let text = time.to_string();
            let (date, clock) = text.split_once('T').unwrap_or((&text, ""));
            format!("{date} {} +0000 UTC", clock.get(..8).unwrap_or(clock))
        },
    )
}

/// The labels of an image.
pub(crate) fn labels(image: &Image) -> BTreeMap<String, String> {
    let config = image.config.config().as_ref();
    config.and_then(|config| config.labels().clone()).unwrap_or_default().into_iter().collect()
}

/// `nman image inspect`: the objects as text, and what went wrong with those that are not there.
pub fn inspect(settings: &Settings, args: &InspectImagesArgs) -> Result<(String, Vec<Error>)> {
    let store = Store::open(&settings.root)?;
    let (mut found, mut errors): (Vec<Value>, Vec<Error>) = (Vec::new(), Vec::new());
    for name in &args.names {
        let described = image::find(&store, name, args.platform.as_ref())
            .and_then(|image| describe(&store, &image));
        match described {
            Ok(object) => found.push(object),
            Err(error) => errors.push(error),
        }
    }
    Ok((objects(args.format.as_deref(), &found)?, errors))
}
