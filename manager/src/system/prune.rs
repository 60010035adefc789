//! `nman system prune`: everything that is not used, kind by kind.

use crate::cli::{ImagePruneArgs, NetworkPruneArgs, SystemPruneArgs};
use crate::error::{Error, Result};
use crate::images::ImagePrune;
use crate::listing::precise_size;
use crate::networks;
use crate::prune::{self, Filter};
use crate::settings::Settings;

/// What is to be removed.
#[derive(Debug)]
pub struct SystemPrune {
    containers: Vec<Filter>,
    networks: networks::Prune,
    images: ImagePrune,
    all: bool,
}

impl SystemPrune {
    /// Takes apart what was typed.
    pub fn new(args: &SystemPruneArgs) -> Result<Self> {
        let containers =
            args.filter.iter().map(|text| Filter::parse(text)).collect::<Result<_>>()?;
        let images =
            ImagePruneArgs { all: args.all, force: args.force, filter: args.filter.clone() };
        let networks = NetworkPruneArgs { force: args.force, filter: args.filter.clone() };
        Ok(Self {
            containers,
            networks: networks::Prune::new(&networks)?,
            images: ImagePrune::new(&images)?,
            all: args.all,
        })
    }

    /// Docker's question.
    #[must_use]
    pub fn warning(&self) -> String {
        let images = match self.all {
            true => "all images without at least one container associated to them",
            false => "all dangling images",
        };
        let items =
            ["all stopped containers", "all networks not used by at least one container", images];
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
        let (lines, bytes) = self.images.run(settings)?;
        freed += bytes;
        text.push_str(&section("Deleted Images:", &lines));
        text.push_str(&format!("Total reclaimed space: {}\n", precise_size(freed)));
        Ok((text, errors))
    }
}

fn section(head: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("{head}\n{}\n\n", lines.join("\n"))
}
