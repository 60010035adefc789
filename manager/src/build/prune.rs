//! `nman builder prune`: what builds have kept for later ones goes: steps, and the caches of their commands.

use crate::cli::BuilderPruneArgs;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::listing::{Filters, precise_size};
use crate::notice::note;
use crate::settings::Settings;
use crate::store::Store;
use crate::system::section;
use crate::volume;

/// What is to be removed.
#[derive(Debug)]
pub struct BuilderPrune {
    all: bool,
    /// Only steps from before this time.
    until: Option<Timestamp>,
}

impl BuilderPrune {
    /// Takes apart what was typed.
    ///
    /// # Errors
    /// A filter that there is not, or a time that is none.
    pub fn new(args: &BuilderPruneArgs) -> Result<Self> {
        let until = Filters::parse(&args.filter, &["until"])?.until()?;
        Ok(Self { all: args.all, until })
    }

    /// Docker's question.
    #[must_use]
    pub fn warning(&self) -> &'static str {
        match self.all {
            true => "WARNING! This will remove all build cache.",
            false => "WARNING! This will remove all dangling build cache.",
        }
    }

    /// Removes it, unless a build is under way; what is printed of it.
    ///
    /// # Errors
    /// Images or volumes cannot be read or removed.
    pub fn run(&self, settings: &Settings) -> Result<String> {
        let store = Store::open(&settings.root)?;
        let Some(_no_build) = store.hold_off_builds()? else {
            note(
                "a build is under way, which may need what others have kept: nothing is removed"
                    .to_owned(),
            );
            return Ok(report(&[], 0));
        };
        let is_old = |time: Option<Timestamp>| {
            self.until.is_none_or(|until| time.is_none_or(|time| time < until))
        };
        let (ids, mut freed) = store.prune_steps(self.all, |image| is_old(image.time()))?;
        let mut lines: Vec<String> = ids.iter().map(ToString::to_string).collect();
        // When a cache was last used, nobody knows.
        if self.all && self.until.is_none() {
            let (names, bytes) = volume::prune_caches(settings)?;
            lines.extend(names);
            freed += bytes;
        }
        Ok(report(&lines, freed))
    }
}

fn report(lines: &[String], freed: u64) -> String {
    let head = section("Deleted build cache objects:", lines);
    format!("{head}Total reclaimed space: {}\n", precise_size(freed))
}
