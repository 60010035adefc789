//! `nman image prune`: removes images that nothing needs.

use super::filter::Choice;
use crate::cli::ImagePruneArgs;
use crate::container::{ContainerId, Containers};
use crate::error::{Error, Result};
use crate::event::{Kind, emit};
use crate::listing::{Filters, precise_size};
use crate::preferences;
use crate::rmi;
use crate::settings::Settings;
use crate::store::{Image, ManifestList, Stock, Store};
use std::collections::HashSet;

/// What is to be removed: images without a name, or all that no container uses.
#[derive(Debug)]
pub struct ImagePrune {
    all: bool,
    filters: Filters,
    /// What steps of builds have made goes as well: it has neither labels nor an age of its own.
    with_steps: bool,
}

impl ImagePrune {
    /// Takes apart what was typed.
    pub fn new(args: &ImagePruneArgs) -> Result<Self> {
        let filters = preferences::prune_filters(&args.filter);
        let with_steps = filters.iter().all(|filter| filter.starts_with("dangling"));
        let filters = Filters::parse(&filters, &["until", "label", "label!", "dangling"])?;
        Ok(Self { all: args.all, filters, with_steps })
    }

    /// Docker's question.
    #[must_use]
    pub fn warning(&self) -> &'static str {
        if self.all {
            "WARNING! This will remove all images without at least one container associated to them."
        } else {
            "WARNING! This will remove all dangling images."
        }
    }

    /// Removes them; a line for each name and each image, and how many bytes of disk that freed.
    pub fn run(&self, settings: &Settings) -> Result<(Vec<String>, u64)> {
        let store = Store::open(&settings.root)?;
        let containers = Containers::open(&settings.containers())?;
        let choice = Choice::new(&store, &self.filters, None)?;
        let all = self.all || self.filters.truth("dangling")? == Some(false);
        let (unused, freed) = store.prune(
            |Stock { mut images, lists }| {
                let (unreadable, containers) = (containers.unreadable()?, containers.list()?);
                let is_used = |list: &ManifestList| {
                    let own: Vec<_> = list.list.own().collect();
                    images
                        .iter()
                        .filter(|image| own.iter().any(|digest| image.goes_by(digest.as_str())))
                        .any(|image| !rmi::users_by(&containers, image, &list.names).is_empty())
                };
                let goes = |list: &ManifestList| {
                    (all || list.names.is_empty()) && choice.takes_list(list) && !is_used(list)
                };
                let (lists, kept): (Vec<_>, Vec<_>) = lists.into_iter().partition(goes);
                // What is in a list that stays is not dangling: that is where its name is.
                let held: HashSet<String> = kept
                    .iter()
                    .flat_map(|list| list.list.own())
                    .map(|digest| digest.to_string())
                    .collect();
                images.retain(|image| {
                    (all || image.names.is_empty())
                        && !held.iter().any(|digest| image.goes_by(digest))
                        && choice.takes(image)
                        && rmi::users(&containers, image).is_empty()
                        && !unreadable.iter().any(|id| may_stand_on(&store, id, image))
                });
                Ok::<_, Error>(Stock { images, lists })
            },
            self.with_steps,
        )?;
        let images = unused.images.iter().map(|image| (&image.names, &image.id));
        let lists = unused.lists.iter().map(|list| (&list.names, &list.digest));
        let mut lines = Vec::new();
        for (names, id) in images.chain(lists) {
            let id = id.as_str();
            for name in names {
                emit(settings, Kind::Image, "untag", id, &[("name", &name.to_string())]);
                lines.push(format!("untagged: {name}"));
            }
            emit(settings, Kind::Image, "delete", id, &[("name", id)]);
            lines.push(format!("deleted: {id}"));
        }
        emit(settings, Kind::Image, "prune", "", &[("reclaimed", &freed.to_string())]);
        Ok((lines, freed))
    }
}

/// Whether a container whose record does not read back may be of an image: its layers say so, if they can be told.
fn may_stand_on(store: &Store, id: &ContainerId, image: &Image) -> bool {
    store.snapshots().layers(id.as_str()).map_or(true, |layers| layers.chain == image.chain_ids)
}

/// What Docker prints of it.
#[must_use]
pub fn prune_report(lines: &[String], freed: u64) -> String {
    let mut text = String::new();
    if !lines.is_empty() {
        text.push_str("Deleted Images:\n");
        text.extend(lines.iter().map(|line| format!("{line}\n")));
        text.push('\n');
    }
    text + &format!("Total reclaimed space: {}\n", precise_size(freed))
}
