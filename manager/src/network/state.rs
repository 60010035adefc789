//! The files that outlive a process: one lock, the leases, the names, and a record per connected container and network.
//!
//! A record is written whole before the first step of its plan is taken and removed after the last is undone,
//! so that whatever is on the host can be found again from here. Lives under `/run`: gone after a reboot, as
//! are links and firewall rules.

use super::error::{Error, RECORDS, Result};
use super::name::{InterfaceName, NetworkName};
use super::netns;
use super::plan::NetworkPlan;
use super::port::Taken;
use crate::id::ContainerId;
use crate::notice;
use crate::pending::create_new;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::Write;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Where the state of all networks is kept.
#[derive(Clone, Debug)]
pub struct State {
    directory: PathBuf,
    /// The network namespace that the networks stand in; without one, the caller's.
    namespace: Option<Arc<OwnedFd>>,
}

/// Held while links, firewall rules or definitions change; let go on drop, also by a crash.
#[derive(Debug)]
pub struct Lock {
    _file: OwnedFd,
    /// What stands for the network namespace, where other state directories have networks in it, too.
    _namespace: Option<OwnedFd>,
}

/// Seconds after which somebody who has waited wants to know for what.
const LONG: u64 = 5;

/// A file that each network namespace has for itself, and that only its administrator may open: whoever else could, could keep us
/// waiting. It is neither read nor written.
const OF_NAMESPACE: &str = "/proc/sys/net/ipv4/tcp_fastopen_key";

impl State {
    /// Uses `<run>/network`, and makes it if it is missing.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(run: &Path) -> Result<Self> {
        let state = Self::at(run);
        for directory in [state.records(), state.directory.join("leases")] {
            if !directory.is_dir() {
                make_directory(&directory)?;
            }
        }
        Ok(state)
    }

    /// Looks at `<run>/network` and makes nothing: where it is missing nobody is connected. For what only tells.
    #[must_use]
    pub fn at(run: &Path) -> Self {
        Self { directory: run.join("network"), namespace: None }
    }

    /// The same for networks whose bridges, addresses and rules are in another network namespace than the caller's: plans call it
    /// the host all the same.
    #[must_use]
    pub fn within(self, namespace: OwnedFd) -> Self {
        Self { namespace: Some(Arc::new(namespace)), ..self }
    }

    /// That namespace.
    #[must_use]
    pub fn namespace(&self) -> Option<&Arc<OwnedFd>> {
        self.namespace.as_ref()
    }

    /// Calls `action` where the networks stand.
    ///
    /// # Errors
    /// Those of `action`, or the namespace cannot be joined.
    pub fn run<T: Send>(&self, action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        match &self.namespace {
            Some(namespace) => netns::run_in(namespace.as_fd(), action),
            None => action(),
        }
    }

    fn records(&self) -> PathBuf {
        self.directory.join(RECORDS)
    }

    /// The directory of what containers are called on their networks.
    pub(crate) fn names(&self) -> PathBuf {
        self.directory.join("names")
    }

    /// What the plug-ins of a container's connection have answered; none is fine.
    pub(crate) fn plugin_result(&self, plan: &NetworkPlan) -> Option<serde_json::Value> {
        let text = std::fs::read(self.result_path(plan)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Keeps what the last plug-in has answered.
    pub(crate) fn keep_plugin_result(
        &self,
        plan: &NetworkPlan,
        result: &serde_json::Value,
    ) -> Result<()> {
        make_directory(&self.directory.join("results"))?;
        self.replace_file(&self.result_path(plan), result.to_string().as_bytes())
    }

    fn result_path(&self, plan: &NetworkPlan) -> PathBuf {
        let name = format!("{}@{}.json", plan.container, plan.network);
        self.directory.join("results").join(name)
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

    /// Every lease of every network: network, address and owner.
    ///
    /// # Errors
    /// A directory of leases cannot be read.
    pub fn leased(&self) -> Result<Vec<(NetworkName, IpAddr, String)>> {
        let directory = self.directory.join("leases");
        let failed = |error| Error::file("read", &directory, error);
        let mut leases = Vec::new();
        for entry in std::fs::read_dir(&directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().into_string().unwrap_or_default();
            let Ok(network) = name.parse::<NetworkName>() else { continue };
            let of_network = super::ipam::read(&directory.join(&name))?;
            leases.extend(
                of_network.into_iter().map(|(address, owner)| (network.clone(), address, owner)),
            );
        }
        Ok(leases)
    }

    /// Gives one address back, whoever has it; none is fine.
    pub(crate) fn forget_lease(&self, network: &NetworkName, address: IpAddr) -> Result<()> {
        remove_file(&self.leases(network)?.join(address.to_string()))
    }

    /// Forgets the leases and names of a network that is no more.
    pub(crate) fn forget_network(&self, network: &NetworkName) {
        for directory in [self.directory.join("leases"), self.names()] {
            // What stays takes a few bytes until the next boot, and is used again by a network of that name.
            let _ = std::fs::remove_dir_all(directory.join(network.as_str()));
        }
    }

    /// Waits until no other process makes or removes definitions.
    ///
    /// # Errors
    /// The lock's file cannot be made.
    pub fn lock_definitions(&self) -> Result<Lock> {
        lock(&self.directory.join("definitions.lock"))
    }

    /// Waits until no other process changes the host's networks, by whatever state directory.
    ///
    /// # Errors
    /// The lock's file cannot be made.
    pub fn lock(&self) -> Result<Lock> {
        let lock = lock(&self.directory.join("lock"))?;
        // A namespace that is given along is this directory's alone.
        let namespace = if self.namespace.is_some() { None } else { lock_namespace()? };
        Ok(Lock { _namespace: namespace, ..lock })
    }

    /// Writes a plan down; refuses if one is there for that container and network.
    pub(crate) fn record(&self, plan: &NetworkPlan) -> Result<()> {
        let path = self.record_path(&plan.container, &plan.network);
        let text = serde_json::to_vec(plan).map_err(|error| Error::file("write", &path, error))?;
        // Atomic, and EEXIST if there is one: a half-written record must not be found, nor one be replaced.
        create_new(&path, &text).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Error::Connected {
                container: plan.container.short().to_owned(),
                network: plan.network.to_string(),
            },
            _ => Error::file("create", path, error),
        })
    }

    /// Replaces a plan's record: plug-ins have said which addresses they gave, or routes or ports have moved. The caller has the lock. One
    /// that is gone stays so: nobody would take it away.
    pub(crate) fn amend(&self, plan: &NetworkPlan) -> Result<()> {
        let path = self.record_path(&plan.container, &plan.network);
        if !path.exists() {
            return Ok(());
        }
        let text = serde_json::to_vec(plan).map_err(|error| Error::file("write", &path, error))?;
        self.replace_file(&path, &text)
    }

    /// Replaces a file by one rename: whoever reads it finds the old one or the new one.
    fn replace_file(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        // Always the same, for whoever writes has the lock: what a kill has left of it is overwritten.
        let temporary = self.directory.join("new");
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::open(&temporary, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| Error::file("create", &temporary, errno))?;
        std::fs::File::from(file)
            .write_all(bytes)
            .map_err(|error| Error::file("write", &temporary, error))?;
        std::fs::rename(&temporary, path).map_err(|error| Error::file("write", path, error))
    }

    fn noted(&self) -> PathBuf {
        self.directory.join("borrowed")
    }

    /// What is noted of a bridge that somebody else has made.
    pub(super) fn noted_bridge<T: DeserializeOwned>(
        &self,
        bridge: &InterfaceName,
    ) -> Result<Option<T>> {
        let path = self.noted().join(bridge.as_str());
        match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            text => text
                .and_then(|text| Ok(Some(serde_json::from_slice(&text)?)))
                .map_err(|error| Error::file("read", path, error)),
        }
    }

    /// Notes it. The caller has the lock.
    pub(super) fn note_bridge<T: Serialize>(&self, bridge: &InterfaceName, it: &T) -> Result<()> {
        let path = self.noted().join(bridge.as_str());
        make_directory(&self.noted())?;
        let text = serde_json::to_vec(it).map_err(|error| Error::file("write", &path, error))?;
        self.replace_file(&path, &text)
    }

    /// Forgets it; none is fine.
    pub(super) fn forget_bridge(&self, bridge: &InterfaceName) -> Result<()> {
        remove_file(&self.noted().join(bridge.as_str()))
    }

    /// The bridges that something is noted of.
    pub(super) fn noted_bridges(&self) -> Result<Vec<InterfaceName>> {
        let directory = self.noted();
        let failed = |error| Error::file("read", &directory, error);
        let entries = match std::fs::read_dir(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut bridges = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name().into_string().unwrap_or_default();
            bridges.extend(name.parse().ok());
        }
        Ok(bridges)
    }

    /// Removes a plan's record; none is fine.
    pub(crate) fn forget(&self, plan: &NetworkPlan) -> Result<()> {
        remove_file(&self.result_path(plan))?;
        remove_file(&self.record_path(&plan.container, &plan.network))
    }

    /// The plans of every connected container, whole or not: what `remove` takes.
    ///
    /// # Errors
    /// A record cannot be read or is not one of ours.
    pub fn connected(&self) -> Result<Vec<NetworkPlan>> {
        self.read_records(|_| true)
    }

    /// The records that do not read back, each with what is wrong with it.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn damaged(&self) -> Result<Vec<(PathBuf, Error)>> {
        let read = |path: PathBuf| Some((read_record(&path).err()?, path));
        let unread = self.record_paths(|_| true)?.into_iter().filter_map(read);
        Ok(unread
            .filter(|(error, _)| error.is_damage())
            .map(|(error, path)| (path, error))
            .collect())
    }

    /// Removes a record that does not read back. What it told of is then known as lost.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn forget_damaged(&self, path: &Path) -> Result<()> {
        let _lock = self.lock()?;
        match read_record(path) {
            Err(error) if error.is_damage() => remove_file(path),
            read => read.map(drop),
        }
    }

    /// The records whose file names are wanted.
    fn read_records(&self, wanted: impl Fn(&str) -> bool) -> Result<Vec<NetworkPlan>> {
        let mut plans = Vec::new();
        for path in self.record_paths(wanted)? {
            plans.extend(read_record(&path)?);
        }
        Ok(plans)
    }

    fn record_paths(&self, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
        let directory = self.records();
        let failed = |error| Error::file("read", &directory, error);
        let mut paths = Vec::new();
        let entries = match std::fs::read_dir(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(paths),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.ends_with(".json") && wanted(name) {
                paths.push(path);
            }
        }
        Ok(paths)
    }

    /// One container's plan for one network, if it is connected.
    ///
    /// # Errors
    /// As [`State::connected`].
    pub fn connection(
        &self,
        container: &ContainerId,
        network: &NetworkName,
    ) -> Result<Option<NetworkPlan>> {
        read_record(&self.record_path(container, network))
    }

    /// Every port that a connected container publishes: what [`super::port::reserve`] passes over.
    ///
    /// # Errors
    /// As [`State::connected`].
    pub fn published(&self) -> Result<Vec<Taken>> {
        let plans = self.connected()?;
        let of_plan = |plan: &NetworkPlan| {
            let holder = plan.holder();
            plan.ports
                .iter()
                .map(|port| Taken { port: *port, holder: holder.clone() })
                .collect::<Vec<_>>()
        };
        Ok(plans.iter().flat_map(of_plan).collect())
    }

    /// The plans recorded for one container, in the order of its interfaces.
    ///
    /// # Errors
    /// As [`State::connected`].
    pub fn connected_to(&self, container: &ContainerId) -> Result<Vec<NetworkPlan>> {
        let prefix = format!("{container}@");
        let mut plans = self.read_records(|name| name.starts_with(&prefix))?;
        plans.sort_by_key(NetworkPlan::number);
        Ok(plans)
    }

    /// The plans recorded for one network.
    ///
    /// # Errors
    /// As [`State::connected`].
    pub fn members(&self, network: &NetworkName) -> Result<Vec<NetworkPlan>> {
        let suffix = format!("@{network}.json");
        self.read_records(|name| name.ends_with(&suffix))
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
    Ok(Lock { _file: wait_for(file, path)?, _namespace: None })
}

/// Waits until nobody else has the network namespace of the calling thread locked. Who may not is kept from changing it anyway.
fn lock_namespace() -> Result<Option<OwnedFd>> {
    let path = Path::new(OF_NAMESPACE);
    match rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => wait_for(file, path).map(Some),
        Err(Errno::NOENT | Errno::ACCESS | Errno::PERM) => Ok(None),
        Err(errno) => Err(Error::file("open", path, errno)),
    }
}

fn wait_for(file: OwnedFd, path: &Path) -> Result<OwnedFd> {
    let begun = Instant::now();
    loop {
        match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
            Ok(()) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::file("lock", path, errno)),
        }
    }
    let waited = begun.elapsed().as_secs();
    if waited >= LONG {
        notice::note(format!(
            "another `nman` was at work on networks for {waited} s, which had to be waited for; a CNI plug-in of it may have taken so long"
        ));
    }
    Ok(file)
}

/// Removes a file; none is fine.
fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::file("remove", path, error))
        }
        _ => Ok(()),
    }
}

pub(crate) fn make_directory(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| Error::file("create", path, error))
}
