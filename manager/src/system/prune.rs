//! `nman system prune`: everything that is not used, kind by kind.

use crate::cli::{ImagePruneArgs, NetworkPruneArgs, SystemPruneArgs, VolumePruneArgs};
use crate::error::{Error, Result};
use crate::images::ImagePrune;
use crate::listing::precise_size;
use crate::networks;
use crate::preferences;
use crate::prune::{self, Filter};
use crate::settings::Settings;
use crate::volume;

/// What is to be removed.
#[derive(Debug)]
pub struct SystemPrune {
    containers: Vec<Filter>,
    networks: networks::Prune,
    images: ImagePrune,
    all: bool,
    /// Anonymous volumes go too, with these filters.
    volumes: Option<VolumePruneArgs>,
}

impl SystemPrune {
    /// Takes apart what was typed.
    pub fn new(args: &SystemPruneArgs) -> Result<Self> {
        let filter = preferences::prune_filters(&args.filter);
        let dated = filter.iter().any(|filter| filter.starts_with("until="));
        if args.volumes && dated {
            return Err(Error::refusal("the \"until\" filter is not supported with \"--volumes\""));
        }
        let volumes = VolumePruneArgs { all: false, force: true, filter: filter.clone() };
        let containers = filter.iter().map(|text| Filter::parse(text)).collect::<Result<_>>()?;
        let images = ImagePruneArgs { all: args.all, force: args.force, filter: filter.clone() };
        let networks = NetworkPruneArgs { force: args.force, filter: filter.clone() };
        Ok(Self {
            containers,
            networks: networks::Prune::new(&networks)?,
            images: ImagePrune::new(&images)?,
            all: args.all,
            volumes: args.volumes.then_some(volumes),
        })
    }

    /// Docker's question.
    #[must_use]
    pub fn warning(&self) -> String {
        let images = match self.all {
            true => "all images without at least one container associated to them",
            false => "all dangling images",
        };
        let mut items =
            vec!["all stopped containers", "all networks not used by at least one container"];
        if self.volumes.is_some() {
            items.push("all anonymous volumes not used by at least one container");
        }
        items.push(images);
        let list: String = items.iter().map(|item| format!("  - {item}\n")).collect();
        format!("WARNING! This will remove:\n{list}")
    }

    /// Removes it all; what is printed of it, and what went wrong.
    pub fn run(&self, settings: &Settings) -> Result<(String, Vec<Error>)> {
        // Containers go first: networks and images are then no longer used by them.
        let (ids, mut freed, mut errors) = prune::prune(settings, &self.containers)?;
        let mut text = section("Deleted Containers:", &ids);
        let (names, failed) = self.networks.run(settings)?;
        errors.extend(failed);
        text.push_str(&section("Deleted Networks:", &names));
        if let Some(args) = &self.volumes {
            let (names, bytes) = volume::prune(settings, args)?;
            freed += bytes;
            text.push_str(&section("Deleted Volumes:", &names));
        }
        let (lines, bytes) = self.images.run(settings)?;
        freed += bytes;
        text.push_str(&section("Deleted Images:", &lines));
        text.push_str(&format!("Total reclaimed space: {}\n", precise_size(freed)));
        Ok((text, errors))
    }
}

/// What a prune prints of one kind: nothing, where there is nothing of it.
pub(crate) fn section(head: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("{head}\n{}\n\n", lines.join("\n"))
}
