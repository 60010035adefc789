//! The files that outlive a process: one lock, the leases, and a record per connected container.
//!
//! A record is written whole before the first step of its plan is taken and removed after the last is undone,
//! so that whatever is on the host can be found again from here. Lives under `/run`: gone after a reboot, as
//! are links and firewall rules.

use super::error::{Error, Result};
use super::name::NetworkName;
use super::plan::NetworkPlan;
use super::port::PortMapping;
use crate::container::id::ContainerId;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Where the state of all networks is kept.
#[derive(Clone, Debug)]
pub struct State {
    directory: PathBuf,
}

/// Held while links or firewall rules change; let go on drop, also by a crash.
pub(crate) struct Lock(#[expect(dead_code, reason = "closing it is what it is for")] OwnedFd);

impl State {
    /// Uses `<run>/network`, and makes it if it is missing.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(run: &Path) -> Result<Self> {
        let state = Self { directory: run.join("network") };
        for directory in [state.records(), state.directory.join("leases")] {
            make_directory(&directory)?;
        }
        Ok(state)
    }

    fn records(&self) -> PathBuf {
        self.directory.join("connected")
    }

    fn record_path(&self, container: &ContainerId, network: &NetworkName) -> PathBuf {
        // `@` is in neither alphabet, so the name is unambiguous.
        self.records().join(format!("{container}@{network}.json"))
    }

    /// The directory of one network's leases, made if it is missing.
    pub(crate) fn leases(&self, network: &NetworkName) -> Result<PathBuf> {
        let directory = self.directory.join("leases").join(network.as_str());
        make_directory(&directory)?;
        Ok(directory)
    }

    /// Waits until no other process changes the host's networks.
    pub(crate) fn lock(&self) -> Result<Lock> {
        lock(&self.directory.join("lock"))
    }

    /// Writes a plan down; refuses if one is there for that container and network.
    pub(crate) fn record(&self, plan: &NetworkPlan) -> Result<()> {
        let path = self.record_path(&plan.container, &plan.network);
        let text = serde_json::to_vec(plan).map_err(|error| Error::file("write", &path, error))?;
        let temporary = path.with_extension("tmp");
        write_file(&temporary, &text)?;
        // Atomic, and EEXIST if there is one: a half-written record must not be found, nor one be replaced.
        let linked = rustix::fs::link(&temporary, &path);
        let _ = std::fs::remove_file(&temporary);
        linked.map_err(|errno| match errno {
            Errno::EXIST => Error::Connected {
                container: plan.container.short().to_owned(),
                network: plan.network.to_string(),
            },
            errno => Error::file("create", path, errno),
        })
    }

    /// Removes a plan's record; none is fine.
    pub(crate) fn forget(&self, plan: &NetworkPlan) -> Result<()> {
        let path = self.record_path(&plan.container, &plan.network);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::file("remove", path, error))
            }
            _ => Ok(()),
        }
    }

    /// The plans of every connected container, whole or not: what `remove` takes.
    ///
    /// # Errors
    /// A record cannot be read or is not one of ours.
    pub fn connected(&self) -> Result<Vec<NetworkPlan>> {
        let directory = self.records();
        let failed = |error| Error::file("read", &directory, error);
        let mut plans = Vec::new();
        for entry in std::fs::read_dir(&directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                plans.extend(read_record(&path)?);
            }
        }
        Ok(plans)
    }

    /// Every port that a connected container publishes: what [`super::port::reserve_beside`] passes over.
    ///
    /// # Errors
    /// As [`State::connected`].
    pub fn published(&self) -> Result<Vec<PortMapping>> {
        Ok(self.connected()?.into_iter().flat_map(|plan| plan.ports).collect())
    }

    /// The plans recorded for one container.
    ///
    /// # Errors
    /// As [`State::connected`].
    pub fn connected_to(&self, container: &ContainerId) -> Result<Vec<NetworkPlan>> {
        let mut plans = self.connected()?;
        plans.retain(|plan| plan.container == *container);
        Ok(plans)
    }
}

/// `None` when the record went away meanwhile.
fn read_record(path: &Path) -> Result<Option<NetworkPlan>> {
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| Error::file("read", path, error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("read", path, error)),
    }
}

/// Takes an exclusive lock on a file that it makes if needed.
pub(crate) fn lock(path: &Path) -> Result<Lock> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|errno| Error::file("open", path, errno))?;
    loop {
        match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
            Ok(()) => return Ok(Lock(file)),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::file("lock", path, errno)),
        }
    }
}

/// Writes a file whole; an old one of that name is replaced.
fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|errno| Error::file("create", path, errno))?;
    std::fs::File::from(file).write_all(bytes).map_err(|error| Error::file("write", path, error))
}

fn make_directory(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| Error::file("create", path, error))
}
