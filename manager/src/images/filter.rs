//! Which images a list or a prune is about: `--filter`, and the name behind the command.

use crate::clock::Timestamp;
use crate::duration;
use crate::error::Result;
use crate::listing::Filters;
use crate::reference::Reference;
use crate::store::{Image, Store};

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
            let found = filters.values(key).map(|name| Ok(store.find(name)?.time()));
            let found: Result<Vec<Option<Timestamp>>> = found.collect();
            Ok(found?.into_iter().flatten().collect())
        };
        let mut before = times("before")?;
        for text in filters.values("until") {
            before.push(duration::moment(text).map_err(|_| {
                filters.wrong("until", text, "a time, or a duration such as `24h`")
            })?);
        }
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
        let excluded = |wanted: &str| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|own| own == value),
            None => labels.contains_key(wanted),
        };
        let time = image.time();
        self.dangling.is_none_or(|dangling| dangling == image.names.is_empty())
            && self.before.is_none_or(|before| time.is_none_or(|time| time < before))
            && self.since.is_none_or(|since| time.is_some_and(|time| time > since))
            && self.filters.labelled("label", &labels)
            && self.filters.all("label!", |label| !excluded(label))
            && (!self.names_are_chosen() || image.names.iter().any(|name| self.fits(name)))
    }

    /// The names of an image that are shown; one that has none, or has none left, once without. As in Docker, a digest that it was
    /// pulled by is shown only where no tag of that repository is.
    pub(super) fn names(&self, image: &Image) -> Vec<Option<Reference>> {
        let is_tag = |name: &Reference| name.digest().is_none();
        let tagged = |repository: &Reference| {
            image
                .names
                .iter()
                .any(|name| is_tag(name) && name.canonical_name() == repository.canonical_name())
        };
        let shown = |name: &&Reference| self.fits(name) && (is_tag(name) || !tagged(name));
        let names: Vec<_> = image.names.iter().filter(shown).cloned().map(Some).collect();
        if names.is_empty() { vec![None] } else { names }
    }

    fn names_are_chosen(&self) -> bool {
        self.name.is_some() || self.filters.has("reference")
    }

    fn fits(&self, name: &Reference) -> bool {
        let of_pattern = |pattern: &str| {
            glob(pattern, &name.to_string()) || glob(pattern, &name.familiar_name())
        };
        self.filters.any("reference", of_pattern)
            && self.name.is_none_or(|wanted| {
                of_pattern(wanted)
                    || wanted.parse::<Reference>().is_ok_and(|wanted| wanted == *name)
            })
    }
}

/// Go's `path.Match`, by which Docker compares names: `*` and `?` stand for anything but `/`.
fn glob(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    matches(&pattern, &text)
}

fn matches(pattern: &[char], text: &[char]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return text.is_empty() };
    match first {
        '*' => {
            // Every length that has no border of a component in it.
            let longest = text.iter().position(|c| *c == '/').unwrap_or(text.len());
            (0..=longest).any(|length| matches(rest, &text[length..]))
        }
        '?' => text.first().is_some_and(|c| *c != '/') && matches(rest, &text[1..]),
        '[' => {
            let Some(end) = rest.iter().position(|c| *c == ']') else { return false };
            let Some(c) = text.first() else { return false };
            is_in(&rest[..end], *c) && matches(&rest[end + 1..], &text[1..])
        }
        '\\' if !rest.is_empty() => text.first() == rest.first() && matches(&rest[1..], &text[1..]),
        c => text.first() == Some(c) && matches(rest, &text[1..]),
    }
}

fn is_in(class: &[char], c: char) -> bool {
    let (class, negated) = match class.split_first() {
        Some(('^', rest)) => (rest, true),
        _ => (class, false),
    };
    let mut found = false;
    let mut rest = class;
    while let Some((first, after)) = rest.split_first() {
        if let ['-', last, ..] = after {
            found |= (*first..=*last).contains(&c);
            rest = &after[2..];
        } else {
            found |= *first == c;
            rest = after;
        }
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, text, expected) in [
            ("alpine", "alpine", true),
            ("alp*", "alpine", true),
            ("alp*", "alpine/x", false),
            ("*/app:*", "team/app:1", true),
            ("*:la?est", "alpine:latest", true),
            ("bb:[1-3]", "bb:2", true),
            ("bb:[^1-3]", "bb:2", false),
            ("*", "", true),
            ("a", "", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
