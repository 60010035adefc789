//! Which images a list or a prune is about: `--filter`, and the name behind the command.

use crate::clock::Timestamp;
use crate::error::Result;
use crate::listing::Filters;
use crate::pattern;
use crate::reference::Reference;
use crate::store::{Found, Image, ManifestList, Store};

/// The filters, with what they refer to looked up.
pub(super) struct Choice<'a> {
    filters: &'a Filters,
    dangling: Option<bool>,
    /// Made before all of these, and after all of those.
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    name: Option<&'a str>,
}

impl<'a> Choice<'a> {
    pub(super) fn new(store: &Store, filters: &'a Filters, name: Option<&'a str>) -> Result<Self> {
        let times = |key: &str| -> Result<Vec<Timestamp>> {
            let time = |found: Found| match found {
                Found::Image(image) => image.time(),
                Found::List(list) => list.made,
            };
            let found = filters.values(key).map(|name| Ok(time(store.find_any(name)?)));
            let found: Result<Vec<Option<Timestamp>>> = found.collect();
            Ok(found?.into_iter().flatten().collect())
        };
        let mut before = times("before")?;
        before.extend(filters.until()?);
        Ok(Self {
            filters,
            dangling: filters.truth("dangling")?,
            before: before.into_iter().min(),
            since: times("since")?.into_iter().max(),
            name,
        })
    }

    /// Whether the list is about the image.
    pub(super) fn takes(&self, image: &Image) -> bool {
        let labels = super::labels(image);
        let time = image.time();
        self.dangling.is_none_or(|dangling| dangling == image.names.is_empty())
            && self.before.is_none_or(|before| time.is_none_or(|time| time < before))
            && self.since.is_none_or(|since| time.is_some_and(|time| time > since))
            && self.filters.labelled(&labels)
            && (!self.names_are_chosen() || image.names.iter().any(|name| self.fits(name)))
    }

    /// Whether it is about a list: that has no labels.
    pub(super) fn takes_list(&self, list: &ManifestList) -> bool {
        let time = list.made;
        self.dangling.is_none_or(|dangling| dangling == list.names.is_empty())
            && self.before.is_none_or(|before| time.is_none_or(|time| time < before))
            && self.since.is_none_or(|since| time.is_some_and(|time| time > since))
            && !self.filters.has("label")
            && (!self.names_are_chosen() || list.names.iter().any(|name| self.fits(name)))
    }

    /// The names of an image that are shown; one that has none, or has none left, once without. As in Docker, a digest that it was
    /// pulled by is shown only where no tag of that repository is.
    pub(super) fn names(&self, names: &[Reference]) -> Vec<Option<Reference>> {
        let is_tag = |name: &Reference| name.digest().is_none();
        let tagged = |repository: &Reference| {
            names
                .iter()
                .any(|name| is_tag(name) && name.canonical_name() == repository.canonical_name())
        };
        let shown = |name: &&Reference| self.fits(name) && (is_tag(name) || !tagged(name));
        let names: Vec<_> = names.iter().filter(shown).cloned().map(Some).collect();
        if names.is_empty() { vec![None] } else { names }
    }

    fn names_are_chosen(&self) -> bool {
        self.name.is_some() || self.filters.has("reference")
    }

    fn fits(&self, name: &Reference) -> bool {
        let of_pattern = |pattern: &str| {
            pattern::fits(pattern, &name.to_string())
                || pattern::fits(pattern, &name.familiar_name())
        };
        self.filters.any("reference", of_pattern)
            && self.name.is_none_or(|wanted| {
                of_pattern(wanted)
                    || wanted.parse::<Reference>().is_ok_and(|wanted| wanted == *name)
            })
    }
}
