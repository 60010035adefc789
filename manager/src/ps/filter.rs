//! `ps --filter`: which containers are meant. What a value refers to is looked up once, the rest is pure.

use super::Entry;
use crate::clock::Timestamp;
use crate::container::{Containers, Status};
use crate::error::Result;
use crate::listing::Filters;
use crate::reference::Reference;
use crate::settings::Settings;
use crate::store::Store;

/// What can be filtered by.
pub(super) const KEYS: &[&str] = &[
    "ancestor", "before", "exited", "expose", "health", "id", "is-task", "label", "name",
    "network", "publish", "since", "status", "volume",
];
/// Docker's words for the turns of a container's life; those that nman does not know fit nothing.
const STATUSES: &[&str] =
    &["created", "running", "paused", "restarting", "removing", "exited", "dead"];
const HEALTH: &[&str] = &["starting", "healthy", "unhealthy", "none"];

/// Filters whose references have been looked up.
pub(super) struct Wanted<'f> {
    filters: &'f Filters,
    before: Vec<Timestamp>,
    since: Vec<Timestamp>,
    exited: Vec<u8>,
    ports: Vec<(&'static str, Ports)>,
    task: Option<bool>,
    ancestors: Option<Vec<Ancestor>>,
}

/// An image that a container may come from.
struct Ancestor {
    reference: Option<Reference>,
    /// The ids of the image and of those that are made from it.
    ids: Vec<String>,
}

/// A port, or a range of them, of one protocol.
#[derive(Debug, PartialEq, Eq)]
struct Ports {
    first: u16,
    last: u16,
    protocol: String,
}

impl<'f> Wanted<'f> {
    /// Checks the values, and looks up what they refer to.
    pub(super) fn resolve(
        filters: &'f Filters,
        containers: &Containers,
        settings: &Settings,
    ) -> Result<Self> {
        let created = |key: &str| -> Result<Vec<Timestamp>> {
            filters.values(key).map(|name| Ok(containers.find(name)?.record()?.created)).collect()
        };
        one_of(filters, "status", STATUSES)?;
        one_of(filters, "health", HEALTH)?;
        let mut ports = Vec::new();
        for key in ["publish", "expose"] {
            for text in filters.values(key) {
                let wrong = || filters.wrong(key, text, "PORT[-PORT][/PROTOCOL]");
                ports.push((key, Ports::parse(text).ok_or_else(wrong)?));
            }
        }
        let code = |text: &str| {
            text.parse::<u8>().map_err(|_| filters.wrong("exited", text, "an exit code, 0 to 255"))
        };
        Ok(Self {
            before: created("before")?,
            since: created("since")?,
            exited: filters.values("exited").map(code).collect::<Result<_>>()?,
            ports,
            task: filters.truth("is-task")?,
            ancestors: ancestors(filters, settings)?,
            filters,
        })
    }

    /// Whether containers that do not run are meant even without `-a`: whoever asks for a status means all that have it.
    pub(super) fn covers_stopped(&self) -> bool {
        self.filters.has("status")
    }

    pub(super) fn fits(&self, entry: &Entry) -> bool {
        let Entry { record, state, .. } = entry;
        let filters = self.filters;
        let ended = state.status == Status::Exited;
        let code = state.exit_code.unwrap_or(255);
        filters.named("id", record.id.as_str())
            // Docker's names begin with a slash, and patterns may.
            && ["", "/"].iter().any(|before| filters.named("name", &format!("{before}{}", record.name)))
            && filters.labelled(&record.labels)
            && filters.any("status", |status| status == state.status.as_str())
            && (self.exited.is_empty() || ended && self.exited.contains(&code))
            && self.before.iter().all(|time| record.created < *time)
            && self.since.iter().all(|time| record.created > *time)
            && self.ports_fit(entry)
            && filters.any("network", |name| entry.network_names().iter().any(|own| own == name))
            && filters.any("volume", |name| {
                record.mounts.iter().any(|mount| {
                    [&mount.name, &mount.source, &mount.destination].iter().any(|own| *own == name)
                })
            })
            && filters.any("health", |health| entry.health() == health)
            // There is no swarm whose task a container could be.
            && self.task != Some(true)
            && self.ancestors.as_ref().is_none_or(|all| all.iter().any(|one| one.covers(entry)))
    }

    /// What is published counts as exposed, too.
    fn ports_fit(&self, entry: &Entry) -> bool {
        ["publish", "expose"].iter().all(|key| {
            let mut wanted = self.ports.iter().filter(|(own, _)| own == key).peekable();
            wanted.peek().is_none()
                || wanted.any(|(_, ports)| {
                    let wish = &entry.record.network;
                    let exposed = wish.exposed.iter().filter(|_| *key == "expose");
                    wish.publish.iter().chain(exposed).any(|text| ports.meet(text))
                })
        })
    }
}

impl Entry {
    /// What its health check says, in Docker's words.
    fn health(&self) -> &'static str {
        match self.health {
            None => "none",
            Some("health: starting") => "starting",
            Some(word) => word,
        }
    }
}

impl Ancestor {
    fn covers(&self, entry: &Entry) -> bool {
        let image = &entry.record.image;
        let named = || image.name.parse::<Reference>().ok();
        self.ids.contains(&image.id) || self.reference.is_some() && self.reference == named()
    }
}

fn one_of(filters: &Filters, key: &str, words: &[&str]) -> Result<()> {
    match filters.values(key).find(|value| !words.contains(value)) {
        None => Ok(()),
        Some(value) => Err(filters.wrong(key, value, &format!("one of {}", words.join(", ")))),
    }
}

/// The images that are meant, each with those that have all of its layers below their own.
fn ancestors(filters: &Filters, settings: &Settings) -> Result<Option<Vec<Ancestor>>> {
    if !filters.has("ancestor") {
        return Ok(None);
    }
    let store = Store::open(&settings.root)?;
    let images = store.list()?;
    let ancestor = |name: &str| {
        let ids = match store.find(name) {
            Ok(found) => images
                .iter()
                .filter(|image| {
                    image.id == found.id || image.chain_ids.starts_with(&found.chain_ids)
                })
                .map(|image| image.id.to_string())
                .collect(),
            // The image may be gone while containers of it are still there.
            Err(_) => Vec::new(),
        };
        Ancestor { reference: name.parse().ok(), ids }
    };
    let all: Vec<Ancestor> = filters.values("ancestor").map(ancestor).collect();
    Ok(Some(all))
}

impl Ports {
    fn parse(text: &str) -> Option<Self> {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last && !protocol.is_empty()).then(|| Self {
            first,
            last,
            protocol: protocol.to_lowercase(),
        })
    }

    /// Whether they have a port in common with the container's side of one `-p`.
    fn meet(&self, published: &str) -> bool {
        let inside = published.rsplit(':').next().unwrap_or(published);
        Self::parse(inside).is_some_and(|own| {
            own.protocol == self.protocol && own.first <= self.last && self.first <= own.last
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_found_on_the_containers_side() {
        let meets = |filter: &str, published: &str| Ports::parse(filter).unwrap().meet(published);
        assert!(meets("80", "127.0.0.1:8080:80"));
        assert!(meets("80/tcp", "80"));
        assert!(meets("7000-8000", "1:7999-8010/tcp"));
        assert!(!meets("8080", "8080:80"));
        assert!(!meets("53", "53:53/udp"));
        assert!(meets("53/udp", "53:53/udp"));
        for wrong in ["", "x", "9-8", "80/"] {
            assert_eq!(Ports::parse(wrong), None, "{wrong}");
        }
    }
}
