//! Whose a cgroup is, written on it: an extended attribute with the container's id and the time at which it was created.
//!
//! The record of a stopped container still names its cgroup, and by then that may be another container's: one with the same
//! `cgroupsPath`, or with the same id under another `--root`, takes over what it finds empty. What is in it is not the record's to
//! signal or to remove then. A cgroup without a mark, of another runtime or of an nrun that wrote none, is the record's as it always was.
//! A container may own its cgroup and write there itself: as long as its init is in it, no mark makes it another's.
//!
//! A cgroup may also lie below another container's, by its `cgroupsPath`, for the limits there to count for both. It does not end with that.

use std::path::{Path, PathBuf};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::control::{processes, tree};
use super::{Cgroup, Error};
use crate::id::ContainerId;
use crate::process;

/// The first is beyond the reach of a container that owns its cgroup, the second what a user without root can set.
const NAMES: [&str; 2] = ["trusted.nrun", "user.nrun"];

/// What is written on a container's cgroup.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mark(String);

impl Mark {
    /// `created` tells it from earlier and later containers of that id.
    pub fn new(id: &str, created: &str) -> Mark {
        Mark(format!("{id} {created}"))
    }

    /// Writes it, over what is there. Where the kernel takes none, the cgroup is as good as one that nobody else names.
    pub(super) fn write(&self, directory: &Path) {
        let set = |name| {
            rustix::fs::setxattr(directory, name, self.0.as_bytes(), XattrFlags::empty()).is_ok()
        };
        let _ = NAMES.into_iter().any(set);
    }

    /// What is in the place of a mark on a directory, whose ever it is.
    fn on(directory: &Path) -> Option<Vec<u8>> {
        NAMES.into_iter().find_map(|name| Mark::called(name, directory))
    }

    fn called(name: &str, directory: &Path) -> Option<Vec<u8>> {
        // An id has at most 255 bytes.
        let mut buffer = [0; 512];
        match rustix::fs::getxattr(directory, name, &mut buffer[..]) {
            Ok(length) => Some(buffer[..length].to_vec()),
            // Too long to be ours.
            Err(Errno::RANGE) => Some(b"?".to_vec()),
            Err(_) => None,
        }
    }

    fn is(&self, found: &[u8]) -> bool {
        found == self.0.as_bytes()
    }

    /// The mark of another container on this directory.
    fn other(&self, directory: &Path) -> Option<String> {
        Mark::on(directory).filter(|found| !self.is(found)).map(|found| shown(&found))
    }
}

/// What is written somewhere, as a person may read it: anything but a mark may hold anything.
fn shown(text: &[u8]) -> String {
    let is_mark = |text: &str| {
        let (id, created) = text.split_once(' ')?;
        let is_time = created
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b':' | b'.' | b'T' | b'Z'));
        (is_time && ContainerId::new(id).is_ok()).then(|| text.to_owned())
    };
    str::from_utf8(text).ok().and_then(is_mark).unwrap_or_else(|| "?".to_owned())
}

impl Cgroup {
    /// The same, known by its mark.
    pub fn of(mut self, mark: Mark) -> Cgroup {
        self.mark = Some(mark);
        self
    }

    /// The same, with its container's init and when that was started.
    pub fn of_init(mut self, pid: i32, start: u64) -> Cgroup {
        self.init = Some((pid, start));
        self
    }

    /// The same, of a container with a pid namespace: what it has started ends with its init, containers of an engine that runs in it
    /// included. What else is in a cgroup of another container below its own is nobody's but that container's.
    pub fn sparing_others(mut self, has_pid_namespace: bool) -> Cgroup {
        self.spares_others = has_pid_namespace;
        self
    }

    /// The cgroups below its own that are other containers' and have processes, with whose they are. The mark that a user without root
    /// can set does not count: the container could hide its own processes behind it.
    pub(super) fn others_below(&self) -> Result<Vec<(PathBuf, String)>, Error> {
        let (directories, mut found) = (self.paths.all(), Vec::new());
        let Some(own) = directories.first().filter(|_| self.spares_others) else {
            return Ok(found);
        };
        for directory in tree(own)?.into_iter().skip(1) {
            if let Some(text) = Mark::called(NAMES[0], &directory)
                && self.mark.as_ref().is_some_and(|mark| !mark.is(&text))
                && !processes(&directory)?.is_empty()
            {
                found.push((directory, shown(&text)));
            }
        }
        Ok(found)
    }

    /// Marks the directory through which the processes are found, of all the first: whoever takes over one takes over all.
    pub(super) fn write_mark(&self) {
        if let (Some(mark), Some(directory)) = (&self.mark, self.paths.all().first()) {
            mark.write(directory);
        }
    }

    /// Whether its mark is on it: it was made for this container, and nobody has taken it over.
    pub fn is_marked(&self) -> bool {
        let directories = self.paths.all();
        let (Some(mark), Some(directory)) = (&self.mark, directories.first()) else { return false };
        Mark::on(directory).is_some_and(|found| mark.is(&found))
    }

    /// The container whose it is by now, if that is another one: its id and when it was created, or `?` for what is no mark.
    pub fn taken_by(&self) -> Option<String> {
        let directories = self.paths.all();
        let directory = directories.first()?;
        self.mark.as_ref()?.other(directory).filter(|_| !self.has_init(directory))
    }

    /// Whether its init runs, and in this directory: one that is listed and then still runs was the one that was listed.
    fn has_init(&self, directory: &Path) -> bool {
        let Some((pid, start)) = self.init else { return false };
        let is_listed = processes(directory)
            .is_ok_and(|listed| listed.iter().any(|found| found.as_raw_nonzero().get() == pid));
        is_listed && process::is_alive(pid, start).unwrap_or(false)
    }
}
