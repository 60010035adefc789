//! The network namespace of a user: the bridges, addresses and rules of the user's networks are in it, as root's are in the host's.
//!
//! It is made for the first container that is put onto a network, and goes with the last. A process holds it (`pause`), known
//! by `network/namespace` in the state directory, and so does the monitor of each container that is connected: if the process was
//! killed, the namespace is taken from a monitor, and held anew. It belongs to the user's user namespace, which all commands are in.

use super::pause::{NOTE, Note, Purpose, read, start};
use crate::container::Containers;
use crate::error::{Error, Result};
use crate::network::{State, netns};
use crate::process::{birth, share_namespace};
use crate::settings::Settings;
use rustix::fs::{Mode, OFlags};
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A link in its place that leads to what the kernel calls the namespace: `net:[4026532008]`.
const NAME: &str = "namespace.name";

/// Between two looks whether somebody else still has it.
const PAUSE: Duration = Duration::from_millis(5);

/// The namespace's place in the state directory, locked.
pub struct Place<'a> {
    settings: &'a Settings,
    note: Note,
}

/// Where that place is.
fn directory(settings: &Settings) -> PathBuf {
    settings.state.join("network")
}

/// Where the namespace can be opened, as long as its holder is there.
#[must_use]
pub fn path_of(holder: i32) -> PathBuf {
    PathBuf::from(format!("/proc/{holder}/ns/net"))
}

/// The process that holds the namespace at this moment, as it is written down: for whoever only tells.
#[must_use]
pub fn holder(settings: &Settings) -> Option<i32> {
    let (pid, born) = read(&fs::read_to_string(directory(settings).join(NOTE)).ok()?)?;
    (birth(pid) == Some(born)).then_some(pid)
}

/// The namespace as that process has it: for whoever enters it, and neither makes it nor takes it away. Nobody is waited for.
#[must_use]
pub fn current(settings: &Settings) -> Option<OwnedFd> {
    let namespace = open(&path_of(holder(settings).filter(is_enterable)?))?;
    // After it was opened: it is this process that the namespace is of.
    holder(settings).map(|_| namespace)
}

impl<'a> Place<'a> {
    /// Waits until nobody else looks for the namespace, makes it, is being connected in it, or takes it away.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn lock(settings: &'a Settings) -> Result<Self> {
        let directory = directory(settings);
        crate::container::make_private(&directory)?;
        Ok(Self { settings, note: Note::lock(&directory)? })
    }

    /// The same if there has been a namespace.
    ///
    /// # Errors
    /// As [`Place::lock`].
    pub fn lock_known(settings: &'a Settings) -> Result<Option<Self>> {
        Self::is_known(settings).then(|| Self::lock(settings)).transpose()
    }

    /// The same until `is_needless` says that there is no need for it, which is asked beforehand and for as long as somebody else
    /// has it: who does may be starting the way out, or calling plug-ins.
    ///
    /// # Errors
    /// As [`Place::lock`], or those of `is_needless`.
    pub fn lock_unless(
        settings: &'a Settings,
        mut is_needless: impl FnMut() -> Result<bool>,
    ) -> Result<Option<Self>> {
        while Self::is_known(settings) && !is_needless()? {
            if let Some(note) = Note::try_lock(&directory(settings))? {
                return Ok(Some(Self { settings, note }));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(None)
    }

    fn is_known(settings: &Settings) -> bool {
        directory(settings).join(NOTE).exists()
    }

    /// The namespace, if it is still there.
    ///
    /// # Errors
    /// The process cannot be started that holds what was found with a monitor.
    pub fn find(&self) -> Result<Option<OwnedFd>> {
        if let Some(namespace) = self.held() {
            return Ok(Some(namespace));
        }
        let Some(namespace) = self.kept_by_monitor() else { return Ok(None) };
        let held = netns::run_in(namespace.as_fd(), || Ok(start(&self.note, Purpose::Network)))?;
        held.map(|_| Some(namespace))
    }

    /// The process that holds it.
    #[must_use]
    pub fn holder(&self) -> Option<i32> {
        let (pid, born) = self.note.written()?;
        (birth(pid) == Some(born) && is_enterable(&pid)).then_some(pid)
    }

    fn held(&self) -> Option<OwnedFd> {
        let namespace = open(&path_of(self.holder()?))?;
        // After it was opened: it is this process that the namespace is of.
        self.holder().map(|_| namespace)
    }

    /// The namespace as the monitor of a container has it open that is connected in it. While one is, the kernel gives the
    /// namespace's number to no other; of any other container the number may be that of its own.
    fn kept_by_monitor(&self) -> Option<OwnedFd> {
        let name = fs::read_link(directory(self.settings).join(NAME)).ok()?;
        let containers = Containers::open(&self.settings.containers()).ok()?;
        let plans = State::at(&self.settings.state).connected().ok()?;
        plans.iter().find_map(|plan| {
            let dir = containers.dir(&plan.container);
            let state = dir.recorded_state().ok()?;
            let monitor = dir.monitor(&state)?;
            let files = fs::read_dir(format!("/proc/{}/fd", monitor.id())).ok()?.flatten();
            let mut files = files.map(|file| file.path());
            let is_wanted = |path: &PathBuf| fs::read_link(path).is_ok_and(|link| link == name);
            let namespace = open(&files.find(is_wanted)?)?;
            // The monitor may have put something else there meanwhile.
            (netns::name(namespace.as_fd()).ok()? == name).then_some(namespace)
        })
    }

    /// Makes it; only its loopback interface is there, and up.
    ///
    /// # Errors
    /// The kernel refuses, as it does beyond `user.max_net_namespaces`.
    pub fn make(&self) -> Result<OwnedFd> {
        start(&self.note, Purpose::NewNetwork)?;
        let failed = || Error::system("open the network namespace")(rustix::io::Errno::SRCH);
        let namespace = self.held().ok_or_else(failed)?;
        crate::network::set_loopback_up(namespace.as_fd())?;
        let link = directory(self.settings).join(NAME);
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(netns::name(namespace.as_fd())?, &link)
            .map_err(Error::io("make", &link))?;
        Ok(namespace)
    }

    /// Ends the process that holds it: it goes when nobody has it open any more.
    ///
    /// # Errors
    /// Its file cannot be removed.
    pub fn end(self) -> Result<()> {
        let _ = fs::remove_file(directory(self.settings).join(NAME));
        self.note.remove()
    }
}

/// What another user namespace of the user's has left cannot be entered.
fn is_enterable(holder: &i32) -> bool {
    share_namespace(*holder, rustix::process::getpid().as_raw_pid(), "user")
}

fn open(path: &Path) -> Option<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
}
