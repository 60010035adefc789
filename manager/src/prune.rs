//! `nman container prune`: removes what does not run.

use crate::cli::ContainerPruneArgs;
use crate::clock::Timestamp;
use crate::container::{Containers, Record, State};
use crate::duration;
use crate::error::{Error, Result};
use crate::event::{Kind, emit};
use crate::forget::Volumes;
use crate::listing::{has_label, precise_size};
use crate::preferences;
use crate::settings::Settings;
use crate::{rm, terminal};
use std::path::Path;

const QUESTION: &str =
    "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] ";

/// Asks, unless `--force` is given, and removes. Returns what is printed.
pub fn containers(settings: &Settings, args: &ContainerPruneArgs) -> Result<String> {
    let filters = preferences::prune_filters(&args.filter);
    let filters = filters.iter().map(|text| Filter::parse(text)).collect::<Result<Vec<_>>>()?;
    if !args.force && !terminal::confirm(QUESTION)? {
        return Ok(String::new());
    }
    let (removed, freed, errors) = prune(settings, &filters)?;
    let mut text = String::new();
    if !removed.is_empty() {
        text.push_str("Deleted Containers:\n");
        removed.iter().for_each(|id| text.push_str(&format!("{id}\n")));
        text.push('\n');
    }
    text.push_str(&format!("Total reclaimed space: {}\n", precise_size(freed)));
    match errors.len() {
        0 => Ok(text),
        _ => Err(Error::Several(errors)),
    }
}

/// Removes every container that does not run and that all filters let through. Returns ids, bytes freed, and what went
/// wrong: one that cannot be removed keeps none of the others.
pub fn prune(settings: &Settings, filters: &[Filter]) -> Result<(Vec<String>, u64, Vec<Error>)> {
    let containers = Containers::open(&settings.containers())?;
    let (mut removed, mut freed, mut errors) = (Vec::new(), 0, Vec::new());
    for (record, state) in containers.list()? {
        let dir = containers.dir(&record.id);
        if !stands_still(&record, &state, filters) || dir.is_held() {
            continue;
        }
        // Whether it has ended is not known, and it may be one that is to be started again.
        if dir.state_damage().is_some() {
            continue;
        }
        let active = settings.root.join("snapshots/active").join(record.id.as_str());
        let size = usage(dir.path()) + usage(&active);
        match rm::remove(settings, &containers, record.id.as_str(), false, Volumes::Keep) {
            Ok(()) => {
                freed += size;
                removed.push(record.id.to_string());
            }
            // Somebody has started or removed it meanwhile.
            Err(Error::WrongState { .. } | Error::NoSuchContainer(_)) => {}
            Err(error) => errors.push(error),
        }
    }
    emit(settings, Kind::Container, "prune", "", &[("reclaimed", &freed.to_string())]);
    Ok((removed, freed, errors))
}

fn stands_still(record: &Record, state: &State, filters: &[Filter]) -> bool {
    !state.status.is_up() && filters.iter().all(|filter| filter.lets_through(record))
}

/// A condition of `--filter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Made before this time.
    Until(Timestamp),
    /// Has the label, with this value if there is one; or has it not.
    Label {
        /// `KEY` or `KEY=VALUE`.
        wanted: String,
        /// `label!=`
        not: bool,
    },
}

impl Filter {
    /// Reads `until=TIME`, `label=KEY[=VALUE]` and `label!=KEY[=VALUE]`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            Error::Usage(format!(
                "invalid filter '{text}': there are until=TIME, label=KEY[=VALUE] and label!=KEY[=VALUE]"
            ))
        };
        let (name, rest) = text.split_once('=').ok_or_else(wrong)?;
        match name {
            "until" => duration::moment(rest).map(Self::Until).map_err(Error::Usage),
            "label" | "label!" => {
                Ok(Self::Label { wanted: rest.to_owned(), not: name == "label!" })
            }
            _ => Err(wrong()),
        }
    }

    fn lets_through(&self, record: &Record) -> bool {
        match self {
            Self::Until(time) => record.created < *time,
            Self::Label { wanted, not } => has_label(&record.labels, wanted) != *not,
        }
    }
}

/// What a directory takes up on the disk. What cannot be read counts nothing.
fn usage(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let own = std::fs::symlink_metadata(path).map_or(0, |data| data.blocks() * 512);
    let below = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => usage(&entry.path()),
            _ => entry.metadata().map_or(0, |data| data.blocks() * 512),
        }
    });
    own + below.sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_and_wrong_ones_named() {
        let label = |wanted: &str, not| Filter::Label { wanted: wanted.to_owned(), not };
        assert_eq!(Filter::parse("label=a").unwrap(), label("a", false));
        assert_eq!(Filter::parse("label=a=b=c").unwrap(), label("a=b=c", false));
        assert_eq!(Filter::parse("label!=a=b").unwrap(), label("a=b", true));
        assert!(matches!(Filter::parse("until=24h"), Ok(Filter::Until(_))));
        let error = Filter::parse("name=x").unwrap_err().to_string();
        assert!(error.starts_with("invalid filter 'name=x'"), "{error}");
    }
}
