//! The directory of containers: reserve, find, list, remove.
//!
//! A container's directory is filled under a temporary name and put in place by one rename, together with its name
//! (a symlink in `names/`), under the lock of the whole directory; that lock is held for little else. What a killed
//! `nman` left under a temporary name is removed by whoever makes the next. It goes the same way: hidden by one rename,
//! and then removed with all that it had, so that whoever looks sees a whole container or none.

mod half;
mod lock;
mod mark;
mod overwrite;
mod processes;
mod unfinished;

pub use half::Census;
pub use lock::{Guard, Turn};
pub use mark::Mark;

use super::{ContainerId, ContainerName, Record, State, Status, is_hex};
use crate::error::{Error, Result};
use crate::notice;
use crate::process;
use crate::selinux::{Labels, label_file};
use crate::snapshot::remove_tree;
use lock::lock_file;
use rustix::fs::{FlockOperation, Mode};
use rustix::io::Errno;
use serde::{Serialize, de::DeserializeOwned};
use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// What begins the name of a container's directory that is being made, or removed. No id does.
const HALF: &str = ".half-";

/// `<root>/containers`.
#[derive(Clone, Debug)]
pub struct Containers {
    root: PathBuf,
}

/// One container's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dir {
    path: PathBuf,
}

impl Containers {
    /// Opens the directory below `root`, making it (mode 0700) if need be. Where nothing can be written, it is enough that
    /// there is no container: whoever makes one hears of it then.
    pub fn open(root: &Path) -> Result<Self> {
        let containers = Self { root: root.to_owned() };
        match make_private(&containers.names()) {
            Err(error) if error.is_read_only() => {}
            made => made?,
        }
        Ok(containers)
    }

    fn names(&self) -> PathBuf {
        self.root.join("names")
    }

    /// Where a container of this id is, or would be.
    #[must_use]
    pub fn dir(&self, id: &ContainerId) -> Dir {
        Dir { path: self.root.join(id.as_str()) }
    }

    fn hidden(&self, id: &ContainerId) -> Dir {
        Dir { path: self.root.join(format!("{HALF}{id}")) }
    }

    /// Puts a new container in place, under its name, locked. First `complete` gives its record what no other container has: the
    /// records of all others are there, and nobody else makes one meanwhile. The last is the lock of [`Dir::lock_changes`].
    pub fn reserve_with(
        &self,
        record: &mut Record,
        complete: impl FnOnce(&mut Record) -> Result<()>,
    ) -> Result<(Dir, Guard, OwnedFd)> {
        let hidden = self.hidden(&record.id);
        // Before there is anything to sweep: a directory whose lock nobody has yet looks like a killed process's.
        let _all = self.lock_all()?;
        complete(record)?;
        make_private(&hidden.path)?;
        let placed = self.place(record, &hidden);
        if placed.is_err() {
            // The error that is returned says more than one about this would.
            let _ = fs::remove_dir_all(&hidden.path);
        }
        placed
    }

    /// The same of a record that is complete.
    #[cfg(test)]
    pub(crate) fn reserve(&self, record: &Record) -> Result<(Dir, Guard)> {
        self.reserve_with(&mut record.clone(), |_| Ok(())).map(|(dir, guard, _)| (dir, guard))
    }

    fn place(&self, record: &Record, hidden: &Dir) -> Result<(Dir, Guard, OwnedFd)> {
        let (guard, changes) = (hidden.lock()?, hidden.lock_changes()?);
        hidden.write_record(record)?;
        hidden.set_state(&State::created())?;
        unfinished::sweep(self, &record.id);
        self.take_name(&record.name, &record.id)?;
        unfinished::note(self, &record.id)?;
        let dir = self.dir(&record.id);
        fs::rename(&hidden.path, &dir.path).map_err(Error::io("make", &dir.path))?;
        Ok((dir, guard, changes))
    }

    fn lock_all(&self) -> Result<OwnedFd> {
        lock_file(&self.root.join("lock"), FlockOperation::LockExclusive)
    }

    fn take_name(&self, name: &ContainerName, id: &ContainerId) -> Result<()> {
        let link = self.names().join(name.as_str());
        loop {
            match rustix::fs::symlink(id.as_str(), &link) {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::io("make", &link)(errno)),
            }
            let owner = self.named(name.as_str());
            match owner {
                // Who was killed while it gave its container this name has left that.
                Some(owner) if owner == *id => return Ok(()),
                Some(owner) if self.is_called(&owner, name) => {
                    return Err(Error::NameTaken { name: name.to_string(), id: owner.to_string() });
                }
                // Its container is gone, or has another name: a kill between two steps has left this.
                _ => fs::remove_file(&link).map_err(Error::io("remove", &link))?,
            }
        }
    }

    /// Whether a container is there and has this name. One that does not read back may have it.
    fn is_called(&self, id: &ContainerId, name: &ContainerName) -> bool {
        let dir = self.dir(id);
        match dir.record() {
            Ok(record) => record.name == *name,
            Err(_) => dir.path.is_dir(),
        }
    }

    fn named(&self, name: &str) -> Option<ContainerId> {
        let target = fs::read_link(self.names().join(name)).ok()?;
        ContainerId::parse(target.to_str()?)
    }

    /// Finds a container by its id, its name, or the unambiguous beginning of its id, in this order: who has an id means that
    /// container, whatever others have for names.
    pub fn find(&self, wanted: &str) -> Result<Dir> {
        let missing = || Error::NoSuchContainer(wanted.to_owned());
        if let Some(id) = ContainerId::parse(wanted)
            && self.dir(&id).path.is_dir()
        {
            return Ok(self.dir(&id));
        }
        if let Ok(name) = ContainerName::parse(wanted)
            && let Some(id) = self.named(name.as_str())
            && self.dir(&id).path.is_dir()
        {
            return Ok(self.dir(&id));
        }
        if !is_hex(wanted) {
            return Err(missing());
        }
        let ids = self.ids()?;
        let mut fitting = ids.iter().filter(|id| id.as_str().starts_with(wanted));
        match (fitting.next(), fitting.next()) {
            (None, _) => Err(missing()),
            (Some(id), None) => Ok(self.dir(id)),
            (Some(_), Some(_)) => Err(Error::AmbiguousPrefix(wanted.to_owned())),
        }
    }

    /// Every container's id, in no order.
    pub fn ids(&self) -> Result<Vec<ContainerId>> {
        ids_in(&self.root)
    }

    /// Every container with its record and state, newest first. One that is removed meanwhile is left out; so is one
    /// whose record does not read back, which is told: one wreck must not take all others from view.
    pub fn list(&self) -> Result<Vec<(Record, State)>> {
        let mut all = Vec::new();
        for id in self.ids()? {
            let dir = self.dir(&id);
            match dir.record().and_then(|record| Ok((record, dir.state()?))) {
                Ok((record, state)) => {
                    note_unknown_state(&dir, &record);
                    all.push((record, state));
                }
                Err(Error::NoSuchContainer(_)) => {}
                Err(error) if error.is_damage() => notice::note(format!(
                    "a damaged container is left out: {error} (`nman rm -f {}` or `nman system check --repair` removes it)",
                    id.short()
                )),
                Err(error) => return Err(error),
            }
        }
        all.sort_by_key(|(record, _)| std::cmp::Reverse(record.created));
        Ok(all)
    }

    /// The containers whose records do not read back: what may belong to them is not unused.
    pub fn unreadable(&self) -> Result<Vec<ContainerId>> {
        let mut ids = self.ids()?;
        ids.retain(|id| self.dir(id).record().is_err_and(|error| error.is_damage()));
        Ok(ids)
    }

    /// Gives a container another name, and writes it down. Its directory is the same.
    pub fn rename(&self, dir: &Dir, name: &ContainerName) -> Result<Record> {
        let _all = self.lock_all()?;
        let mut record = dir.record()?;
        if record.name == *name {
            return Ok(record);
        }
        let old = self.names().join(record.name.as_str());
        self.take_name(name, &record.id)?;
        record.name = name.clone();
        dir.write_record(&record)?;
        fs::remove_file(&old).map_err(Error::io("remove", &old))?;
        Ok(record)
    }

    /// Changes what is written down about a container, while nobody else does. If `change` fails, the record stays as it is.
    pub fn change(&self, dir: &Dir, change: impl FnOnce(&mut Record) -> Result<()>) -> Result<()> {
        let _all = self.lock_all()?;
        let mut record = dir.record()?;
        change(&mut record)?;
        dir.write_record(&record)
    }

    /// Takes a container out of sight: until then it is whole, from then on it is gone. The caller holds its lock, has taken down what
    /// it has while it runs, removes what else it has, and last its directory ([`Self::discard`]).
    pub fn hide(&self, id: &ContainerId) -> Result<()> {
        let (dir, hidden) = (self.dir(id), self.hidden(id));
        dir.clear_places()?;
        let _all = self.lock_all()?;
        // First out of sight, and then without a name: who is killed in between leaves one that is gone.
        match fs::rename(&dir.path, &hidden.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            result => result.map_err(Error::io("remove", &dir.path))?,
        }
        self.forget_names(id)?;
        // What stays is swept by the next reservation.
        let _ = self.finished(id);
        Ok(())
    }

    /// Removes what is left of a hidden container: its directory, which says for as long as it is there that there may be more.
    pub fn discard(&self, id: &ContainerId) -> Result<()> {
        Ok(remove_tree(&self.hidden(id).path)?)
    }

    /// The caller has the lock of all.
    fn forget_names(&self, id: &ContainerId) -> Result<()> {
        // The name may have been changed since somebody has read it, or half changed by one who was killed.
        let names = self.names();
        for entry in fs::read_dir(&names).map_err(Error::io("read", &names))?.flatten() {
            let link = entry.path();
            let target = fs::read_link(&link).ok();
            if target.is_some_and(|target| target.as_os_str() == id.as_str()) {
                fs::remove_file(&link).map_err(Error::io("remove", &link))?;
            }
        }
        Ok(())
    }
}

impl Dir {
    /// The directory itself: the OCI bundle.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The container's output.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.join("log")
    }

    /// Where its root file system is mounted, in the mount namespace of its monitor.
    #[must_use]
    pub fn rootfs(&self) -> PathBuf {
        self.join("rootfs")
    }

    /// What it was made from.
    pub fn record(&self) -> Result<Record> {
        self.read("container.json")
    }

    /// How far it got, as the file says, without processes of an earlier start of the machine; whether that still holds is for [`Dir::state`] to find out.
    pub(crate) fn recorded_state(&self) -> Result<State> {
        let state: State = self.read("state.json")?;
        Ok(state.since(process::boot()))
    }

    /// How far it got. A container that is written down as running, but whose monitor and process are both gone,
    /// has ended without anybody noticing.
    pub fn state(&self) -> Result<State> {
        let state = match self.recorded_state() {
            Err(error) if error.is_damage() => {
                return Ok(self.seen(State::unknown(self.is_held())));
            }
            read => read?,
        };
        if !state.status.is_up() || self.is_held() {
            return Ok(self.seen(state));
        }
        // The monitor may have ended properly between the two looks.
        let state = self.recorded_state()?;
        if state.status.is_up() && !state.pid.is_some_and(|pid| self.has_process(pid)) {
            return Ok(state.lost());
        }
        Ok(self.seen(state))
    }

    /// Why its state does not read back, if it does not.
    #[must_use]
    pub fn state_damage(&self) -> Option<Error> {
        self.recorded_state().err().filter(Error::is_damage)
    }

    /// Why a container that runs cannot be entered whose state does not read back: nothing else says which its processes are. `name` is
    /// the container's.
    #[must_use]
    pub fn lost_processes(&self, name: &str) -> Option<Error> {
        let damage = self.state_damage().filter(|_| self.is_held())?;
        Some(Error::WrongState {
            message: format!("cannot tell which processes container {name} has: {damage}"),
            hint: Some(format!("`nman restart {name}` writes its state anew")),
        })
    }

    /// What is written down, with what the marks say.
    fn seen(&self, mut state: State) -> State {
        if state.status == Status::Running && self.has(Mark::Paused) {
            state.status = Status::Paused;
        }
        state
    }

    /// Whether it was running when its monitor was killed: a monitor that ends by itself leaves another state.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        !self.is_held() && self.recorded_state().is_ok_and(|state| state.status.is_up())
    }

    /// The container's id, by the directory's name.
    pub(crate) fn id(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Replaces the state. Where the disk has no room for a new file, the old one is written over: what a container has ended
    /// with is not found out again.
    pub fn set_state(&self, state: &State) -> Result<()> {
        match self.write("state.json", state) {
            Err(error) if error.is_full() => {
                overwrite::overwrite(&self.join("state.json"), state).map_err(|_| error)
            }
            written => written,
        }
    }

    /// Writes down what is wrong with a container whose state stays as it is.
    pub fn set_error(&self, error: &str) -> Result<()> {
        let mut state = self.recorded_state()?;
        state.error = Some(error.to_owned());
        self.set_state(&state)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let path = self.join(name);
        let bytes = match fs::read(&path) {
            // Removed since it was found.
            Err(_) if !self.path.is_dir() => {
                return Err(Error::NoSuchContainer(self.id().to_owned()));
            }
            read => read.map_err(Error::io("read", &path))?,
        };
        serde_json::from_slice(&bytes).map_err(|source| Error::Damaged { path, source })
    }

    /// Writes a file of the container by atomic rename.
    pub fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        self.replace(name, value, |_| Ok(()))
    }

    /// Writes what the container was made from: on the disk before it has its name, because file systems may make a
    /// rename last before the content, and after a power cut the record would be empty. The state is not worth that
    /// wait at every turn: one that is lost counts as unknown.
    ///
    /// A container that is removed when it ends survives no power cut in any case, and does not wait: that takes some
    /// 3 ms, of a run that takes 40 to 100. Neither does any for the directory: what is cut off there has never been, and is whole otherwise.
    fn write_record(&self, record: &Record) -> Result<()> {
        self.replace("container.json", record, lasting(record))
    }

    /// Writes the bundle's config.json, which lasts as the record does: nothing else says what is to be started.
    pub fn write_bundle<T: Serialize>(&self, record: &Record, spec: &T) -> Result<()> {
        self.replace("config.json", spec, lasting(record))
    }

    /// Writes a file that is bound into the container: readable for everybody there, and the same file for ever. It has the
    /// container's label, if there is one.
    pub fn write_shared(&self, name: &str, bytes: &[u8], labels: Option<&Labels>) -> Result<()> {
        let path = self.join(name);
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o644);
        let write = || {
            let mut file = options.open(&path)?;
            // The mode of open is subject to the umask.
            rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644))?;
            label(&file, labels)?;
            file.write_all(bytes)
        };
        write().map_err(Error::io("write", &path))
    }

    /// Writes a program that is bound into the container, with the container's label, if there is one.
    pub fn write_program(
        &self,
        name: &str,
        bytes: &[u8],
        labels: Option<&Labels>,
    ) -> Result<PathBuf> {
        let path = self.join(name);
        let write = || {
            let mut options = fs::OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o755).open(&path)?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(0o755))?;
            label(&file, labels)?;
            file.write_all(bytes)
        };
        write().map_err(Error::io("write", &path))?;
        Ok(path)
    }

    fn replace<T: Serialize>(
        &self,
        name: &str,
        value: &T,
        make_last: fn(&fs::File) -> std::io::Result<()>,
    ) -> Result<()> {
        let (path, new) = (self.join(name), self.join(&format!("{name}.new")));
        let text = serde_json::to_vec_pretty(value)
            .map_err(|source| Error::Damaged { path: path.clone(), source })?;
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options
            .open(&new)
            .and_then(|mut file| file.write_all(&text).and_then(|()| make_last(&file)))
            .and_then(|()| fs::rename(&new, &path));
        if written.is_err() {
            // The error that is returned says more than one about this would.
            let _ = fs::remove_file(&new);
        }
        written.map_err(Error::io("write", &path))
    }

    /// Removes the places where something of the host may be mounted, each by itself: one that still is mounted refuses, and
    /// nothing of the host's can be taken for a part of the container.
    fn clear_places(&self) -> Result<()> {
        let below = |name: &str| fs::read_dir(self.join(name)).into_iter().flatten().flatten();
        let mounts = below("mounts").chain(below("layers"));
        let places = mounts.map(|entry| entry.path()).chain([self.rootfs(), self.join("shm")]);
        for place in places {
            let removed = match fs::symlink_metadata(&place) {
                Ok(data) if data.is_dir() => fs::remove_dir(&place),
                Ok(_) => fs::remove_file(&place),
                Err(_) => continue,
            };
            removed.map_err(Error::io("remove", &place))?;
        }
        Ok(())
    }
}

/// Tells of a container whose state does not read back what mends it.
fn note_unknown_state(dir: &Dir, record: &Record) {
    let Some(error) = dir.state_damage() else { return };
    let what = match dir.is_held() {
        true => "its end",
        false => "`nman system check --repair`",
    };
    notice::note(format!(
        "the state of container `{}` is not known: {error} ({what} mends it)",
        record.name
    ));
}

/// The ids that entries of a directory have for names; none where there is no such directory.
fn ids_in(directory: &Path) -> Result<Vec<ContainerId>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("read", directory))?,
    };
    let id = |entry: fs::DirEntry| ContainerId::parse(entry.file_name().to_str()?);
    Ok(entries.flatten().filter_map(id).collect())
}

fn label(file: &fs::File, labels: Option<&Labels>) -> rustix::io::Result<()> {
    labels.map_or(Ok(()), |labels| label_file(file, &labels.mount))
}

/// What makes a file of this container outlive a power cut, if it is to.
fn lasting(record: &Record) -> fn(&fs::File) -> std::io::Result<()> {
    if record.remove { |_| Ok(()) } else { fs::File::sync_data }
}

/// Makes a directory, and those on the way, for root's eyes only.
pub(crate) fn make_private(path: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path).map_err(Error::io("make", path))
}

#[cfg(test)]
mod tests;
