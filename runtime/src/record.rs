//! The container's state on disk: a directory per container under `--root`, mode 0700, locked while a command changes it.
//!
//! A directory is reserved, with the cgroups that are about to be made in it, before anything else of the container exists:
//! whenever we are killed, what is left can be found and removed by `delete --force` (invariant I8). It holds `state.json`,
//! `config.json` as it was when the container was created, the symbolic link `init` to the process that became its init, and the
//! socket `start` while the container waits for it, which is called `starting` while hooks of its start run, and the directory `notify` where somebody waits for it to be ready.
//!
//! All of `state.json` is known before there is an init. A link comes about in one step, with its text in its inode: nothing has to be
//! written anew and renamed, and there is never half of it.

use crate::cgroup::systemd::Unit;
use crate::cgroup::{Cgroup, Mark, Paths};
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::intel_rdt;
use crate::plan::seccomp::Listener;
use crate::rootless;
use oci_spec::runtime::Hook;
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use sys::fd::until_exec;
use sys::namespace::Kinds;

mod notify;
mod read;
mod starting;

pub use notify::{datagrams, notify_directory};
pub use read::{config, peek};
use read::{read_config, read_init, read_state};

const STATE: &str = "state.json";
const CONFIG: &str = "config.json";
/// Leads to `PID:START`, which is no path: the init's process id, and when it was started. Without it there is no init yet.
const INIT: &str = "init";
const START: &str = "start";
const STARTING: &str = "starting";
/// Where `restore` attaches the root file system, in a mount namespace of its own: an empty directory to everybody else.
const CRIU_ROOT: &str = "criu-root";

/// What `state.json` holds.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Saved {
    /// The `ociVersion` of config.json.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// The init's process id; 0 until it is ready. Not in the file, but in the link.
    #[serde(skip)]
    pub pid: i32,
    /// No init is noted, and somebody who is at work on that holds the lock. Seen by [`peek`], and not in the file.
    #[serde(skip)]
    pub creating: bool,
    /// When the init was started, in clock ticks since boot: a process id alone may be somebody else's by now. In the link, too.
    #[serde(skip)]
    pub pid_start: u64,
    /// The bundle, an absolute path.
    pub bundle: PathBuf,
    /// The root file system, an absolute path.
    pub rootfs: PathBuf,
    /// When it was created, RFC 3339 in UTC.
    pub created: String,
    /// The annotations of config.json.
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    pub annotations: HashMap<String, String>,
    /// The user who created it.
    pub owner: u32,
    /// Its cgroup directories.
    pub cgroups: Paths,
    /// `create` was told to keep the caller's keyring: with config.json, what the plan was made from.
    #[serde(default)]
    pub no_new_keyring: bool,
    /// `CLONE_NEW*` bits of the namespaces in which it differs from the host. Never guessed: an exec joins no others.
    pub namespaces: u64,
    /// The `poststart` hooks of config.json, for `start`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    /// The `poststop` hooks of config.json, for `delete`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
    /// There are `startContainer` hooks, and the init tells when they are done.
    #[serde(default)]
    pub start_hooks: bool,
    /// Who decides on system calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<Listener>,
    /// systemd's unit, where systemd made the cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// Its class of cache and memory bandwidth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<intel_rdt::Group>,
    /// It has a place for a socket by which it tells that it is ready.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub notify: bool,
}

impl Saved {
    /// Its cgroup.
    pub fn cgroup(&self) -> Cgroup {
        Cgroup::open(self.cgroups.clone())
            .of_unit(self.unit.clone())
            .of(self.mark())
            .of_init(self.pid, self.pid_start)
            .sparing_others(Kinds::from_bits(self.namespaces).contains(Kinds::PID))
    }

    /// What its cgroup is known by.
    pub fn mark(&self) -> Mark {
        Mark::new(&self.id, &self.created)
    }

    /// Puts a further process into the container's class of cache and memory bandwidth, if it has one.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn classify(&self, process: Pid) -> Result<()> {
        self.intel_rdt.as_ref().map_or(Ok(()), |class| class.add(process))
    }
}

/// An open, locked container directory.
#[derive(Debug)]
pub struct Record {
    directory: OwnedFd,
    path: PathBuf,
    /// What `state.json` held when the record was opened.
    pub saved: Saved,
}

impl Record {
    /// Opens a container's directory and locks it.
    ///
    /// # Errors
    /// [`Error::NoContainer`]; or that its state cannot be read.
    pub fn open(root: &Path, id: &ContainerId) -> Result<Record> {
        Record::open_by_force(root, id, |_| Err(Error::Creating(id.to_string())))
    }

    /// The same. Where somebody has been creating it for long, `end` ends that, and it is waited for once more.
    ///
    /// # Errors
    /// As [`Record::open`]; that of `end`.
    pub fn open_by_force(
        root: &Path,
        id: &ContainerId,
        end: impl FnOnce(&Saved) -> Result<()>,
    ) -> Result<Record> {
        rootless::refuse_foreign(root)?;
        let path = root.join(id.as_str());
        let directory = open_own(root, id, &path)?;
        let is_there = match lock(&directory, &path, id.as_str()) {
            // By the same fd: what has the name may be another container by now.
            Err(creating @ Error::Creating(_)) => match read_state(&directory, &path)? {
                None => return Err(creating),
                Some(saved) => {
                    end(&saved)?;
                    lock(&directory, &path, id.as_str())?
                }
            },
            locked => locked?,
        };
        if !is_there {
            return Err(Error::no_container(root, id));
        }
        let saved = read_state(&directory, &path)?
            .unwrap_or_else(|| Saved { id: id.to_string(), ..Saved::default() });
        Ok(Record { directory, path, saved })
    }

    /// The cgroup.
    pub fn cgroup(&self) -> Cgroup {
        self.saved.cgroup()
    }

    /// The config.json that the container was created from, with the limits as they are now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn config(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&read_config(&self.directory, &self.path)?).map_err(|error| {
            Error::io(format!("read `{}`", self.path.join(CONFIG).display()), &error.into())
        })
    }

    /// Writes what is to take the place of that config.json, beside it: a full disk is found out before anything is changed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn prepare_config(&self, config: &serde_json::Value) -> Result<()> {
        self.write(TEMPORARY, config.to_string().as_bytes())
    }

    /// Puts what was prepared in its place. Readers never see half of it.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn replace_config(&self) -> Result<()> {
        self.put_in_place(CONFIG)
    }

    /// Whether the container still waits for `start`, or for the hooks of its start.
    pub fn awaits_start(&self) -> bool {
        awaits_start(&self.directory)
    }

    /// Connects to the waiting container.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect_start(&self) -> Result<OwnedFd> {
        let what = || format!("reach the init of container `{}`", self.saved.id);
        let socket = seqpacket().map_err(|errno| Error::system(what(), errno))?;
        let address = address(&self.directory).map_err(|errno| Error::system(what(), errno))?;
        rustix::net::connect(&socket, &address).map_err(|errno| Error::system(what(), errno))?;
        Ok(socket)
    }

    /// Gives the lock back, for other commands to change the container.
    #[inline(never)]
    pub fn unlock(&self) {
        let _ = rustix::fs::flock(&self.directory, FlockOperation::Unlock);
    }

    /// Removes the directory and everything in it, `state.json` last: as long as it is there the rest can be found again.
    ///
    /// # Errors
    /// When the directory cannot be removed.
    pub fn remove(self) -> Result<()> {
        let _ = rustix::fs::unlinkat(&self.directory, CRIU_ROOT, AtFlags::REMOVEDIR);
        self.remove_notify();
        for name in [START, STARTING, CONFIG, TEMPORARY, INIT, STATE] {
            let _ = rustix::fs::unlinkat(&self.directory, name, AtFlags::empty());
        }
        match rustix::fs::unlinkat(CWD, &self.path, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::system(format!("remove `{}`", self.path.display()), errno)),
        }
    }
}

/// A container that this process has made.
///
/// It is known by the directory, not by its name: what has that name may be another container by the time that this one ends.
#[derive(Debug)]
pub struct Made {
    record: Record,
}

impl Made {
    /// What its `state.json` holds.
    pub fn saved(&self) -> &Saved {
        &self.record.saved
    }

    /// Its directory.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Its cgroup.
    pub fn cgroup(&self) -> Cgroup {
        self.record.cgroup()
    }

    /// Lets others at it: from here on anybody may delete it. For who does not end at once.
    pub fn unlock(&self) {
        self.record.unlock();
    }

    /// Locks its directory again; `None` when somebody has deleted it.
    ///
    /// # Errors
    /// When it cannot be locked.
    pub fn lock(self) -> Result<Option<Record>> {
        let Record { directory, path, saved } = &self.record;
        let is_there = lock(directory, path, &saved.id)?;
        Ok(is_there.then_some(self.record))
    }
}

/// A container that is being created. Dropped before it is committed, it takes back what was made.
#[derive(Debug)]
pub struct Slot {
    record: Option<Record>,
    cgroup: Option<Cgroup>,
    intel_rdt: Option<intel_rdt::Group>,
}

impl Slot {
    /// Makes the container's directory and notes in it what is about to be made on the host.
    ///
    /// # Errors
    /// [`Error::Exists`]; that somebody else is in the cgroup; or that the directory cannot be made.
    pub fn reserve(root: &Path, id: &ContainerId, saved: Saved, config: &str) -> Result<Slot> {
        let path = root.join(id.as_str());
        let mut made = rustix::fs::mkdir(&path, Mode::RWXU);
        if made == Err(Errno::NOENT) {
            let failed = |error| Error::io(format!("make `{}`", root.display()), &error);
            make_private(root).map_err(failed)?;
            made = rustix::fs::mkdir(&path, Mode::RWXU);
        }
        let take_back = || {
            let _ = rustix::fs::unlinkat(CWD, &path, AtFlags::REMOVEDIR);
        };
        if let Err(error) = rootless::refuse_foreign(root) {
            if made.is_ok() {
                take_back();
            }
            return Err(error);
        }
        match made {
            Err(Errno::EXIST) => {
                return Err(Error::Exists { id: id.to_string(), root: root.to_owned() });
            }
            made => {
                made.map_err(|errno| Error::system(format!("make `{}`", path.display()), errno))?;
            }
        }
        let opened = open_directory(&path).and_then(|directory| {
            rustix::fs::flock(&directory, FlockOperation::LockExclusive).map(|()| directory)
        });
        let directory = opened
            .inspect_err(|_| take_back())
            .map_err(|errno| Error::system(format!("lock `{}`", path.display()), errno))?;
        let record = Record { directory, path, saved };
        let slot = Slot { record: Some(record), cgroup: None, intel_rdt: None };
        // Killed after this is noted, we could leave a state whose `delete --force` ends another container's processes.
        Cgroup::refuse_used(&slot.record().saved.cgroups)?;
        slot.record().write(STATE, &slot.record().text()?)?;
        slot.record().write(CONFIG, config.as_bytes())?;
        Ok(slot)
    }

    fn record(&self) -> &Record {
        self.record.as_ref().expect("a slot has its record until it is committed or dropped")
    }

    /// What the cgroup is to be known by.
    pub fn mark(&self) -> Mark {
        self.record().saved.mark()
    }

    /// Takes charge of the cgroup.
    pub fn own(&mut self, cgroup: Cgroup) -> &mut Cgroup {
        self.cgroup.insert(cgroup)
    }

    /// Takes charge of the class of cache and memory bandwidth, which until the container is there goes again if it was `made`.
    pub fn own_class(&mut self, class: intel_rdt::Group, made: bool) {
        self.intel_rdt = Some(intel_rdt::Group { own: made, ..class });
    }

    /// Puts the init into its class.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn classify(&self, init: Pid) -> Result<()> {
        self.intel_rdt.as_ref().map_or(Ok(()), |class| class.add(init))
    }

    /// The cgroup that [`Slot::own`] was given.
    pub fn cgroup(&self) -> Option<&Cgroup> {
        self.cgroup.as_ref()
    }

    /// The same, to put processes into.
    pub fn cgroup_mut(&mut self) -> Option<&mut Cgroup> {
        self.cgroup.as_mut()
    }

    /// The socket on which the container will wait for `start`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn listen(&self) -> Result<OwnedFd> {
        let record = self.record();
        let made = seqpacket().and_then(|socket| {
            // The mode of a socket is that of its inode before it is bound (unix(7)).
            rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
            rustix::net::bind(&socket, &address(&record.directory)?)?;
            rustix::net::listen(&socket, 1)?;
            Ok(socket)
        });
        made.map_err(|errno| {
            Error::system(
                format!("make the socket `{START}` in `{}`", record.path.display()),
                errno,
            )
        })
    }

    /// Makes the directory on which `restore` attaches the root file system for criu, and returns its path.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn criu_root(&self) -> Result<PathBuf> {
        let record = self.record();
        let path = record.path.join(CRIU_ROOT);
        match rustix::fs::mkdirat(&record.directory, CRIU_ROOT, Mode::RWXU) {
            Ok(()) => Ok(path),
            Err(errno) => Err(Error::system(format!("make `{}`", path.display()), errno)),
        }
    }

    /// Notes in which namespaces the container differs from the host, before its init: what a restore makes is known only when it is
    /// done.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn note_namespaces(&mut self, kinds: Kinds) -> Result<()> {
        let Some(record) = &mut self.record else { return Ok(()) };
        record.saved.namespaces = kinds.bits();
        record.replace_state()
    }

    /// Notes the init, which is set up now.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn note_init(&mut self, pid: Pid) -> Result<()> {
        let start = crate::process::start_time(pid)?;
        let paths = self.cgroup.as_ref().map(|cgroup| cgroup.paths().clone()).unwrap_or_default();
        let Some(record) = &mut self.record else { return Ok(()) };
        // First what else is new: whoever finds an init reads the rest as it is with one.
        if record.saved.cgroups != paths {
            record.saved.cgroups = paths;
            record.replace_state()?;
        }
        record.saved.pid = pid.as_raw_nonzero().get();
        record.saved.pid_start = start;
        record.link_init()
    }

    /// The container is there: from here on it stays until it is deleted. Its directory is locked until [`Made::unlock`] or the end of
    /// this process, whichever comes first: the init, made while it was locked, has closed its copy of the fd before it was ready.
    pub fn commit(mut self) -> Made {
        self.cgroup = None;
        self.intel_rdt = None;
        Made { record: self.record.take().expect("a slot has its record until it is committed") }
    }

    /// Takes back what was made, and returns what was noted of it.
    pub fn undo(self) -> Saved {
        self.record().saved.clone()
    }
}

impl Drop for Slot {
    /// In reverse of how it was made. A cgroup that cannot be removed keeps the directory, so that `delete --force` finds it.
    fn drop(&mut self) {
        let removed = self.cgroup.take().is_none_or(|cgroup| cgroup.undo().is_ok())
            && self.intel_rdt.take().is_none_or(|class| class.remove().is_ok());
        if let Some(record) = self.record.take().filter(|_| removed) {
            let _ = record.remove();
        }
    }
}

const TEMPORARY: &str = "state.json.new";

impl Record {
    /// Only a path can fail: JSON has no bytes that are not UTF-8.
    fn text(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(&self.saved).map_err(|error| {
            Error::State(format!("cannot note the state of container `{}`: {error}", self.saved.id))
        })
    }

    fn write(&self, name: &str, text: &[u8]) -> Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let written = rustix::fs::openat(&self.directory, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(std::io::Error::from)
            .and_then(|file| {
                let mut file = std::fs::File::from(file);
                let written = file.write_all(text);
                // A handful of writes in the life of a process, whose end closes them all.
                until_exec(file.into());
                written
            });
        written.map_err(|error| {
            Error::io(format!("write `{}`", self.path.join(name).display()), &error)
        })
    }

    fn link_init(&self) -> Result<()> {
        let Saved { pid, pid_start, .. } = self.saved;
        let linked = rustix::fs::symlinkat(format!("{pid}:{pid_start}"), &self.directory, INIT);
        linked.map_err(|errno| {
            Error::system(format!("make `{}`", self.path.join(INIT).display()), errno)
        })
    }

    /// Readers never see half a state.
    fn replace_state(&self) -> Result<()> {
        self.write(TEMPORARY, &self.text()?)?;
        self.put_in_place(STATE)
    }

    fn put_in_place(&self, name: &str) -> Result<()> {
        let (directory, old) = (&self.directory, TEMPORARY);
        // What was there goes with the container: where a file takes the place of another, ext4 and btrfs write it to the disk first.
        let exchanged =
            rustix::fs::renameat_with(directory, old, directory, name, RenameFlags::EXCHANGE);
        exchanged.or_else(|_| rustix::fs::renameat(directory, old, directory, name)).map_err(
            |errno| Error::system(format!("write `{}`", self.path.join(name).display()), errno),
        )
    }
}

/// How long a command waits for another that is at work on the container.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks meanwhile.
const PAUSE: Duration = Duration::from_millis(10);

/// Takes the lock; `false` when the directory is gone: another command may have deleted it while we waited.
///
/// Other commands give it back by themselves, unless they hang or were stopped. `create` may run hooks, and a hook that changes the
/// container would wait for `create`, which waits for the hook. A `create` that was killed is followed by its init, which has a copy of
/// the lock, as soon as that has been told or looks: a hook of its own it ends at once, but not while it is paused.
fn lock(directory: &OwnedFd, path: &Path, id: &str) -> Result<bool> {
    let failed = |errno| Error::system(format!("lock `{}`", path.display()), errno);
    let mut deadline = None;
    loop {
        match rustix::fs::flock(directory, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {}
            locked => break locked.map_err(failed)?,
        }
        if Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + PATIENCE) {
            return Err(match read_init(directory, path)? {
                Some(_) => Error::Locked(path.to_owned()),
                None => Error::Creating(id.to_owned()),
            });
        }
        std::thread::sleep(PAUSE);
    }
    Ok(rustix::fs::fstat(directory).map_or(true, |stat| stat.st_nlink > 0))
}

/// Whether somebody holds the lock.
fn is_locked(directory: &OwnedFd) -> bool {
    // Given back with the fd, which the caller is about to close.
    rustix::fs::flock(directory, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
}

fn awaits_start(directory: &OwnedFd) -> bool {
    has(directory, START) || has(directory, STARTING)
}

fn has(directory: &OwnedFd, name: &str) -> bool {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// Opens the directory of a container, if there is one.
fn open_container(root: &Path, id: &ContainerId, path: &Path) -> Result<OwnedFd> {
    match open_directory(path) {
        Err(Errno::NOENT | Errno::NOTDIR) => Err(Error::no_container(root, id)),
        opened => {
            opened.map_err(|errno| Error::system(format!("open `{}`", path.display()), errno))
        }
    }
}

/// The same, of one that is ours.
fn open_own(root: &Path, id: &ContainerId, path: &Path) -> Result<OwnedFd> {
    let directory = open_container(root, id, path)?;
    rootless::refuse_foreign_container(directory.as_fd(), path)?;
    Ok(directory)
}

fn open_directory(path: &Path) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(path, flags, Mode::empty())
}

fn seqpacket() -> std::result::Result<OwnedFd, Errno> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Through the fd of the directory: a socket's address holds 107 bytes, which `--root` and an id of 64 may exceed.
fn address(directory: &OwnedFd) -> std::result::Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{START}", directory.as_fd().as_raw_fd()))
}

/// Makes a directory that only its owner may enter, and those above it.
fn make_private(path: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(rootless::root_mode(path)).create(path)
}
