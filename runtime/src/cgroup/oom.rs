//! Word from the kernel that a container is out of memory.
//!
//! v1 signals an eventfd (`cgroup.event_control`), v2 changes `memory.events`. Both are one fd to poll.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use rustix::fs::{Access, OFlags};
use rustix::io::Errno;

use super::{Cgroup, Error, files};

/// A watch on a container's memory.
#[derive(Debug)]
pub enum OomWatch {
    /// v1: every time that a process finds no memory.
    Signalled {
        /// What the kernel counts up.
        events: OwnedFd,
        /// The file whose events they are, which has to stay open.
        control: OwnedFd,
        /// The container's directory in the hierarchy: the kernel signals its removal, too.
        directory: PathBuf,
    },
    /// v2: processes that were killed.
    Counted {
        /// `memory.events`, which polls as changed until it is read.
        events: OwnedFd,
        /// How many were killed before.
        killed: u64,
        /// The same of the cgroup above, which is still there when the container's own is gone.
        above: Option<Above>,
    },
}

/// What the cgroup above the container's counts: its own events and those of all below it.
#[derive(Debug)]
pub struct Above {
    /// `memory.events`.
    events: OwnedFd,
    /// How many were killed when the container's own was read last.
    killed: u64,
    /// When that was.
    read: Instant,
}

/// How soon after its last word a container that was out of memory is gone. systemd removes a cgroup as soon as it is empty, and the
/// kernel holds back word of a change for up to 10 ms after the one before.
const LAST_WORD: Duration = Duration::from_secs(2);

impl Above {
    fn of(directory: &Path) -> Option<Above> {
        // The root of all has no such file.
        let events = files::open(directory.parent()?, "memory.events", OFlags::RDONLY).ok()?;
        Some(Above { killed: killed(&events).ok()?, events, read: Instant::now() })
    }

    /// The container's own was read: what is killed from here on counts.
    fn note(&mut self) {
        self.read = Instant::now();
        self.killed = killed(&self.events).unwrap_or(u64::MAX);
    }

    /// Whether something below was killed since. That it was another container's would take two that are out of memory at one moment.
    fn has_more(&self) -> bool {
        self.read.elapsed() < LAST_WORD
            && killed(&self.events).is_ok_and(|killed| killed > self.killed)
    }
}

impl Cgroup {
    /// Watches for the container being out of memory, from now on.
    ///
    /// # Errors
    /// When it has no `memory` controller.
    pub fn watch_memory(&self) -> Result<OomWatch, Error> {
        if let Some(directory) = self.paths.controller("memory") {
            return signalled(directory);
        }
        let Some(directory) = self.paths.unified() else {
            return Err(unwatched("the container has no cgroup of its own", Errno::NOENT));
        };
        let events = files::open(directory, "memory.events", OFlags::RDONLY);
        let events = events.map_err(|errno| unwatched(directory.display(), errno))?;
        let killed = killed(&events).map_err(|errno| unwatched(directory.display(), errno))?;
        Ok(OomWatch::Counted { events, killed, above: Above::of(directory) })
    }
}

fn signalled(directory: &Path) -> Result<OomWatch, Error> {
    let register = || {
        let events = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let control = files::open(directory, "memory.oom_control", OFlags::RDONLY)?;
        let request = format!("{} {}", events.as_raw_fd(), control.as_raw_fd());
        files::write(directory, "cgroup.event_control", &request)?;
        Ok((events, control))
    };
    let (events, control) = register().map_err(|errno| unwatched(directory.display(), errno))?;
    Ok(OomWatch::Signalled { events, control, directory: directory.to_owned() })
}

fn unwatched(place: impl std::fmt::Display, errno: Errno) -> Error {
    match errno {
        // Not the kernel's words: to an engine they would mean that the container's executable is missing.
        Errno::NOENT => Error::NoMemoryEvents { place: place.to_string() },
        errno => Error::system(format!("watch the memory of cgroup `{place}`"), errno),
    }
}

impl OomWatch {
    /// What to poll for.
    pub fn poll(&self) -> PollFd<'_> {
        match self {
            OomWatch::Signalled { events, .. } => {
                PollFd::from_borrowed_fd(events.as_fd(), PollFlags::IN)
            }
            OomWatch::Counted { events, .. } => {
                PollFd::from_borrowed_fd(events.as_fd(), PollFlags::PRI)
            }
        }
    }

    /// Whether the container was out of memory since the last time that this was asked.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn happened(&mut self) -> Result<bool, Error> {
        let failed = |errno| Error::system("read the memory events of the container", errno);
        match self {
            OomWatch::Signalled { events, directory, .. } => {
                let mut count = [0; 8];
                match rustix::io::read(&*events, &mut count) {
                    Ok(_) => {}
                    Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
                    Err(errno) => return Err(failed(errno)),
                }
                let control = directory.join("cgroup.event_control");
                Ok(rustix::fs::access(control, Access::EXISTS).is_ok())
            }
            OomWatch::Counted { events, killed: before, above } => {
                let now = match killed(&*events) {
                    // Gone with its container.
                    Err(Errno::NODEV) => {
                        return Ok(above.take().is_some_and(|above| above.has_more()));
                    }
                    now => now.map_err(failed)?,
                };
                above.iter_mut().for_each(Above::note);
                Ok(std::mem::replace(before, now) < now)
            }
        }
    }
}

/// How many processes were killed for want of memory, in the directory and below it.
fn killed(events: &OwnedFd) -> Result<u64, Errno> {
    let mut buffer = [0; 512];
    let length = rustix::io::pread(events, &mut buffer, 0)?;
    let text = String::from_utf8_lossy(&buffer[..length]);
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
    count.ok_or(Errno::BADMSG)
}
