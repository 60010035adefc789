//! Containers that are being made or removed: their directories have a temporary name, and whoever is at work on one holds its lock.
//! A killed `nman` leaves one that nobody holds.

use super::{Containers, Dir, Guard, HALF};
use crate::container::ContainerId;
use crate::error::Result;
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// What there is of containers. For as long as this is kept none is made, named or removed.
#[derive(Debug)]
pub struct Census {
    /// Whose parts are somebody's: containers that are there, and those that somebody is making or removing.
    known: BTreeSet<ContainerId>,
    /// Names that stand for none of them, and directories that a killed `nman` has left half made or half removed.
    pub left: Vec<PathBuf>,
    /// The lock of all.
    _all: Option<OwnedFd>,
}

impl Census {
    /// Lets others make, name and remove containers again: it is known whose parts are somebody's.
    #[must_use]
    pub fn into_known(self) -> BTreeSet<ContainerId> {
        self.known
    }
}

impl Containers {
    /// Takes stock of all containers.
    pub fn census(&self) -> Result<Census> {
        let all = match self.lock_all() {
            // On a disk that cannot be written there never was one, and nothing changes.
            Err(error) if self.root.join("lock").exists() => return Err(error),
            locked => locked.ok(),
        };
        let mut known: BTreeSet<ContainerId> = self.ids()?.into_iter().collect();
        let (held, half): (Vec<_>, Vec<_>) =
            self.halves().into_iter().partition(|(_, dir)| dir.is_held());
        known.extend(held.into_iter().filter_map(|(id, _)| id));
        let names = fs::read_dir(self.names()).into_iter().flatten().flatten();
        let mut left: Vec<PathBuf> = names.map(|name| name.path()).collect();
        left.retain(|link| {
            let target = fs::read_link(link).ok();
            let id = target.and_then(|id| ContainerId::parse(id.to_str()?));
            !id.is_some_and(|id| known.contains(&id))
        });
        left.extend(half.into_iter().map(|(_, dir)| dir.path));
        Ok(Census { known, left, _all: all })
    }

    /// Those whose making or removal was cut short by a kill, each with its lock and without its names.
    #[must_use]
    pub fn cut_short(&self) -> Vec<(ContainerId, Dir, Guard)> {
        if self.halves().is_empty() {
            return Vec::new();
        }
        // Only then: one that is being made gets its lock while this one is held.
        let Ok(_all) = self.lock_all() else { return Vec::new() };
        let cut = |(id, dir): (Option<ContainerId>, Dir)| {
            let (id, guard) = (id?, dir.try_lock().ok().flatten()?);
            self.forget_names(&id).ok()?;
            Some((id, dir, guard))
        };
        self.halves().into_iter().filter_map(cut).collect()
    }

    /// Directories under a temporary name, with the ids of their containers.
    fn halves(&self) -> Vec<(Option<ContainerId>, Dir)> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let half = |entry: fs::DirEntry| {
            let name = entry.file_name();
            let id = ContainerId::parse(name.to_str()?.strip_prefix(HALF)?);
            Some((id, Dir { path: entry.path() }))
        };
        entries.filter_map(half).collect()
    }
}
