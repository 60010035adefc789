//! `nman volume ls`, and what `prune` reports.

use super::{Volume, Volumes, users};
use crate::cli::VolumeLsArgs;
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::table::{Table, plain};
use serde_json::json;
use std::str::FromStr;

/// A filter of `volume ls`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Filter {
    Dangling(bool),
    Driver(String),
    Name(String),
    Label(String, Option<String>),
}

impl FromStr for Filter {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: &str| Error::Usage(format!("invalid filter '{text}': {why}"));
        let (key, value) = text.split_once('=').ok_or_else(|| wrong("it is NAME=VALUE"))?;
        match (key, value) {
            ("dangling", "1" | "true") => Ok(Self::Dangling(true)),
            ("dangling", "0" | "false") => Ok(Self::Dangling(false)),
            ("dangling", _) => Err(wrong("dangling is true or false")),
            ("driver", driver) => Ok(Self::Driver(driver.to_owned())),
            ("name", name) => Ok(Self::Name(name.to_owned())),
            ("label", label) => Ok(match label.split_once('=') {
                Some((name, value)) => Self::Label(name.to_owned(), Some(value.to_owned())),
                None => Self::Label(label.to_owned(), None),
            }),
            _ => Err(wrong("there are dangling, driver, label and name")),
        }
    }
}

impl Filter {
    fn fits(&self, settings: &Settings, volume: &Volume) -> Result<bool> {
        Ok(match self {
            Self::Dangling(wanted) => users(settings, volume.name.as_str())?.is_empty() == *wanted,
            Self::Driver(driver) => driver == "local",
            Self::Name(part) => volume.name.as_str().contains(part),
            Self::Label(name, value) => volume
                .labels
                .get(name)
                .is_some_and(|own| value.as_ref().is_none_or(|value| value == own)),
        })
    }
}

/// `nman volume ls`: the list as text.
pub fn ls(settings: &Settings, args: &VolumeLsArgs) -> Result<String> {
    let filters: Vec<Filter> = args.filter.iter().map(|text| text.parse()).collect::<Result<_>>()?;
    let volumes = Volumes::open(settings)?;
    let mut list = Vec::new();
    for volume in volumes.list()? {
        let mut fits = true;
        for filter in &filters {
            fits &= filter.fits(settings, &volume)?;
        }
        if fits {
            list.push(volume);
        }
    }
    if args.quiet {
        return Ok(list.iter().map(|volume| format!("{}\n", volume.name)).collect());
    }
    let mut table = Table::new(&["DRIVER", "VOLUME NAME"]);
    let mut objects = String::new();
    for volume in &list {
        table.push(vec!["local".to_owned(), plain(volume.name.as_str())]);
        let labels: Vec<String> = volume.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let object = json!({
            "Driver": "local", "Labels": labels.join(","), "Mountpoint": volumes.data(&volume.name),
            "Name": volume.name, "Scope": "local",
        });
        objects.push_str(&format!("{object}\n"));
    }
    Ok(if args.format == "json" { objects } else { table.render() })
}

/// What `prune` has removed, in Docker's words.
#[must_use]
pub fn prune_report((removed, freed): &(Vec<String>, u64)) -> String {
    let mut text = String::new();
    if !removed.is_empty() {
        text.push_str("Deleted Volumes:\n");
        for name in removed {
            text.push_str(&format!("{name}\n"));
        }
        text.push('\n');
    }
    text + &format!("Total reclaimed space: {}\n", crate::image::human_size(*freed))
}
