//! Removing a container's cgroup: every directory, with those that the container made below it.
//!
//! Goes on after a failure and reports the first. A directory that is gone is removed. Processes that were killed may take
//! a moment to leave: the v2 directory tells when the last has left, and the v1 directories, which learn it in the same
//! instant, are tried again for a while.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::control::{PATIENCE, await_event, tree};
use super::systemd::Unit;
use super::{Cgroup, Error, files};

impl Cgroup {
    /// Kills every process that is left, and removes every directory. A cgroup that can be removed at once has none, and then the
    /// files to kill and thaw them need not be opened. Where another container's cgroup is below it, which has processes, all stays but the
    /// container's own processes, and that container is returned.
    pub fn clear(&self) -> Result<Option<String>, Error> {
        // The directories through which processes are found and thawed.
        let listed = self.paths.all().into_iter().take(1);
        let looked_at: Vec<&Path> = listed.chain(self.paths.controller("freezer")).collect();
        if self.unit.is_none() && looked_at.iter().all(|path| remove_directory(path).is_ok()) {
            return self.remove_all_but(&looked_at).map(|()| None);
        }
        self.kill()?;
        match self.others_below()?.pop() {
            Some((_, other)) => Ok(Some(other)),
            None => self.remove().map(|()| None),
        }
    }

    /// Removes every directory. The directories above, which other containers may share, stay.
    pub fn remove(&self) -> Result<(), Error> {
        self.remove_all_but(&[])
    }

    fn remove_all_but(&self, gone: &[&Path]) -> Result<(), Error> {
        // systemd first, which then has nothing left to tidy up.
        let mut result = self.unit.as_ref().map_or(Ok(()), Unit::stop);
        let is_left = |path: &&Path| !gone.contains(path);
        if let Some(directory) = self.paths.unified().filter(is_left) {
            result = result.and(remove_v2(directory));
        }
        let mut end = None;
        for directory in self.paths.legacy().into_iter().filter(is_left) {
            result = result.and(remove_v1(directory, &mut end));
        }
        for directory in self.paths.all().iter().filter_map(|path| self.above(path)) {
            result = result.and(remove_v1(directory, &mut end));
        }
        result
    }

    /// The unit's own cgroup, where the container's is below it.
    fn above<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        let unit = self.unit.as_ref().filter(|unit| unit.subgroup.is_some())?;
        path.ancestors().find(|above| above.ends_with(&unit.name))
    }
}

fn remove_v2(directory: &Path) -> Result<(), Error> {
    match remove_directory(directory) {
        Err(Errno::BUSY) => {
            await_event(directory, "populated 0", "empty")?;
            remove_tree(directory, &mut None)
        }
        other => other.map_err(|errno| failed(directory, errno)),
    }
}

fn remove_v1(directory: &Path, end: &mut Option<Instant>) -> Result<(), Error> {
    match remove_directory(directory) {
        Err(Errno::BUSY) => remove_tree(directory, end),
        other => other.map_err(|errno| failed(directory, errno)),
    }
}

/// Removes what is below, the deepest first, then the directory. The time until `end` begins when there is something to wait for: most
/// often there is nothing, and no clock is asked.
fn remove_tree(directory: &Path, end: &mut Option<Instant>) -> Result<(), Error> {
    let mut result = Ok(());
    for directory in tree(directory)?.iter().rev() {
        result = result.and(remove_patiently(directory, end));
    }
    result
}

fn remove_patiently(directory: &Path, end: &mut Option<Instant>) -> Result<(), Error> {
    let mut pause = Duration::from_millis(1);
    loop {
        match remove_directory(directory) {
            Err(Errno::BUSY)
                if Instant::now() < *end.get_or_insert_with(|| Instant::now() + PATIENCE) =>
            {
                std::thread::sleep(pause);
            }
            other => return other.map_err(|errno| failed(directory, errno)),
        }
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// EBUSY: it has processes, or cgroups below it.
fn remove_directory(directory: &Path) -> Result<(), Errno> {
    match files::remove_directory(directory) {
        Err(Errno::NOENT) => Ok(()),
        // A read-only mount, or one that is not ours, is asked about permission before existence.
        Err(errno @ (Errno::ROFS | Errno::ACCESS | Errno::PERM)) => {
            if files::exists(directory) == Ok(false) { Ok(()) } else { Err(errno) }
        }
        other => other,
    }
}

fn failed(directory: &Path, errno: Errno) -> Error {
    Error::system(format!("remove cgroup `{}`", directory.display()), errno)
}
