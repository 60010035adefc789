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
use crate::store::{Image, Store};

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
            |mut images| {
                let (unreadable, containers) = (containers.unreadable()?, containers.list()?);
                images.retain(|image| {
                    (all || image.names.is_empty())
                        && choice.takes(image)
                        && rmi::users(&containers, image).is_empty()
                        && !unreadable.iter().any(|id| may_stand_on(&store, id, image))
                });
                Ok::<_, Error>(images)
            },
            self.with_steps,
        )?;
        let mut lines = Vec::new();
        for image in &unused {
            for name in &image.names {
                emit(
                    settings,
                    Kind::Image,
                    "untag",
                    image.id.as_str(),
                    &[("name", &name.to_string())],
                );
                lines.push(format!("untagged: {name}"));
            }
            emit(
                settings,
                Kind::Image,
                "delete",
                image.id.as_str(),
                &[("name", image.id.as_str())],
            );
            lines.push(format!("deleted: {}", image.id));
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
