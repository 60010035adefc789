//! `nman network ls`

use super::filter;
use crate::clock::Timestamp;
use crate::connection::ground;
use crate::connection::identity::{PREDEFINED, hex, predefined_driver};
use crate::container::ContainerId;
use crate::error::Result;
use crate::listing::{Column, Filters, List, ListArgs, Row};
use crate::network::{Definition, definition};
use crate::settings::Settings;
use std::collections::BTreeMap;

const NETWORKS: List = List {
    columns: &[
        Column::new("ID", "NETWORK ID"),
        Column::new("Name", "NAME"),
        Column::new("Driver", "DRIVER"),
        Column::new("Scope", "SCOPE"),
        Column::new("CreatedAt", "CREATED AT"),
        Column::new("IPv4", "IPV4"),
        Column::new("IPv6", "IPV6"),
        Column::new("Internal", "INTERNAL"),
        Column::new("Labels", "LABELS"),
    ],
    table: &["ID", "Name", "Driver", "Scope"],
    quiet: "ID",
    filters: &["driver", "id", "label", "label!", "name", "scope", "type", "dangling", "until"],
};

/// One network of the list.
struct Entry {
    id: String,
    name: String,
    driver: String,
    created: Option<Timestamp>,
    ipv4: bool,
    ipv6: bool,
    internal: bool,
    labels: BTreeMap<String, String>,
    builtin: bool,
}

impl Entry {
    fn of(definition: &Definition) -> Self {
        let ranges = definition.ranges();
        Self {
            id: definition.id(),
            name: definition.name.to_string(),
            driver: definition.driver_name().to_owned(),
            created: definition.about.created,
            ipv4: ranges.iter().any(|range| range.subnet.network().is_ipv4()),
            ipv6: definition.has_ipv6(),
            internal: definition.about.internal,
            labels: definition.about.labels.clone(),
            builtin: definition.name.as_str() == definition::DEFAULT_NAME,
        }
    }

    /// `host` and `none`.
    fn predefined(name: &str) -> Self {
        Self {
            id: hex(name),
            name: name.to_owned(),
            driver: predefined_driver(name).to_owned(),
            created: None,
            ipv4: name == "host",
            ipv6: false,
            internal: false,
            labels: BTreeMap::new(),
            builtin: true,
        }
    }

    fn fits(&self, filters: &Filters, used: impl Fn(&str) -> bool) -> Result<bool> {
        let kind = if self.builtin { "builtin" } else { "custom" };
        let dangling = filters.truth("dangling")?;
        if let Some(text) =
            filters.values("type").find(|text| !matches!(*text, "builtin" | "custom"))
        {
            return Err(filters.wrong("type", text, "`builtin` or `custom`"));
        }
        Ok(filters.named("name", &self.name)
            && filters.any("id", |id| self.id.contains(id))
            && filters.any("driver", |driver| self.driver == driver)
            && filters.any("scope", |scope| scope == "local")
            && filters.any("type", |wanted| wanted == kind)
            && filter::takes(filters, &self.labels, self.created)?
            && dangling.is_none_or(|dangling| dangling != (self.builtin || used(&self.name))))
    }

    fn row(&self, no_trunc: bool) -> Row {
        let short = ContainerId::parse(&self.id).map(|id| id.short().to_owned());
        let id = short.filter(|_| !no_trunc).unwrap_or_else(|| self.id.clone());
        Row::new([
            ("ID", id),
            ("Name", self.name.clone()),
            ("Driver", self.driver.clone()),
            ("Scope", "local".to_owned()),
            ("CreatedAt", self.created.map(|created| created.to_string()).unwrap_or_default()),
            ("IPv4", self.ipv4.to_string()),
            ("IPv6", self.ipv6.to_string()),
            ("Internal", self.internal.to_string()),
        ])
        .labels(&self.labels)
    }
}

/// The list as text.
///
/// # Errors
/// A mistake in a filter or a template, or a definition that cannot be read.
pub fn list(settings: &Settings, args: &ListArgs) -> Result<String> {
    let view = NETWORKS.view_by("networksFormat", args, NETWORKS.table)?;
    let all = definition::list(&settings.root)?;
    let mut entries: Vec<Entry> = all.iter().map(Entry::of).collect();
    if !entries.iter().any(|entry| entry.builtin) {
        // Not used yet: it is shown with the subnet that it would get now.
        entries.push(Entry::of(&definition::default(&ground::facts(settings, None)?, &all)?));
    }
    entries.extend(PREDEFINED.map(Entry::predefined));
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let used = if view.filters.has("dangling") {
        super::remove::wanted_networks(settings)?
    } else {
        Vec::new()
    };
    let mut rows = Vec::new();
    for entry in &entries {
        let is_used = |name: &str| used.iter().any(|network| network.as_str() == name);
        if entry.fits(&view.filters, is_used)? {
            rows.push(entry.row(view.no_trunc));
        }
    }
    view.render(&rows)
}
