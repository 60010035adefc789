//! Where a step is looked for before it is made: among what earlier builds have left here, and in caches elsewhere.

use super::builder::{Builder, Stand};
use super::cache::export::Step;
use super::cache::history::{Told, tells_of};
use super::state::Run;
use crate::error::Result;
use crate::store::Image;
use bundle::digest::Digest;
use serde_json::Value;
use std::sync::PoisonError;

/// A key, and the place of the stage that has the step.
pub(super) struct Key {
    /// The place.
    pub(super) stage: usize,
    /// The key.
    pub(super) digest: Digest,
}

impl Builder<'_> {
    /// What earlier builds, or the caches, have for a key.
    pub(super) fn cached(
        &self,
        key: &Key,
        stand: &Stand,
        told: Option<Told<'_>>,
    ) -> Result<Option<Image>> {
        let name = self.plan.stages[key.stage].name.as_deref();
        let is_it = |filter: &String| name.is_some_and(|name| name.eq_ignore_ascii_case(filter));
        if self.args.no_cache || self.args.no_cache_filter.iter().any(is_it) {
            return Ok(None);
        }
        if let Some(found) = self.store.step(&key.digest)? {
            self.report.cached(None);
            self.record(key, &found);
            return Ok(Some(found));
        }
        let taken = self.caches.take(&key.digest, told, stand.chain(), &self.report);
        Ok(taken.map(|(image, cache)| {
            self.report.cached(Some(cache));
            self.record(key, &image);
            image
        }))
    }

    /// Notes what a step has come to.
    pub(super) fn record(&self, key: &Key, image: &Image) {
        let step = Step { stage: key.stage, key: key.digest.clone(), image: image.clone() };
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).push(step);
    }

    /// What a history would tell of a command, if that is all there is to it.
    pub(super) fn told<'a>(
        &self,
        run: &Run,
        document: &'a Value,
        stand: &Stand,
        by: &'a str,
    ) -> Option<Told<'a>> {
        if tells_of(run) { self.told_if_timeless(document, stand, by) } else { None }
    }

    /// The same of any step. No history says what time its files were given.
    pub(super) fn told_if_timeless<'a>(
        &self,
        document: &'a Value,
        stand: &Stand,
        by: &'a str,
    ) -> Option<Told<'a>> {
        let base = stand.begins_with.1;
        self.epoch.is_none().then_some(Told { document, base, by })
    }
}
