//! A container's processes as a whole: listing, signalling, killing, freezing.
//!
//! Where the cgroup has a v2 directory, on hybrid hosts too, everything goes through it: it kills all at once, freezes
//! reliably, and a process frozen by it can still be killed. v1's freezer has none of that and is used where there is no
//! v2. It is thawed before anything is killed, whoever froze it: its processes ignore even SIGKILL.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use super::{Cgroup, Error, files};
use crate::signal::SIGKILL;

/// How long processes may take to freeze or to go away, all together.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

impl Cgroup {
    /// The processes of the container, those in cgroups below its own included that are no other container's; none where it is another
    /// container's by now.
    pub fn processes(&self) -> Result<Vec<Pid>, Error> {
        let directories = self.paths.all();
        let Some(directory) = directories.first().filter(|_| self.taken_by().is_none()) else {
            return Ok(Vec::new());
        };
        let others = self.others_below()?;
        let is_own = |path: &PathBuf| !others.iter().any(|(other, _)| path.starts_with(other));
        listed(&tree(directory)?.into_iter().filter(is_own).collect::<Vec<_>>())
    }

    /// Sends a signal to every process. SIGKILL reaches those too that are being made meanwhile, or are frozen.
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        if signal == SIGKILL {
            return self.kill();
        }
        if self.taken_by().is_some() {
            return Ok(());
        }
        // Nothing that is frozen can fork away from the list, or end and leave its number to somebody else. A freezer that
        // fails leaves that race, no more; the signals matter.
        let thaw = !self.is_frozen()? && self.freeze().is_ok();
        let result = self.signal_each(signal);
        if thaw {
            self.thaw()?;
        }
        result
    }

    /// Kills every process. Returns when the signals are sent; [`Cgroup::remove`] waits for their end. Nothing is done where it is
    /// another container's by now.
    pub fn kill(&self) -> Result<(), Error> {
        if self.taken_by().is_some() {
            return Ok(());
        }
        let killed = self.kill_all();
        // What the container has written on it ends with the container: nobody is left by whom it could be known.
        if !self.is_marked() {
            self.write_mark();
        }
        killed
    }

    fn kill_all(&self) -> Result<(), Error> {
        let is_alone = self.others_below()?.is_empty();
        let at_once = match self.paths.unified().filter(|_| is_alone) {
            None => false,
            Some(directory) => match files::write(directory, "cgroup.kill", "1") {
                Ok(()) => true,
                // Before Linux 5.14, or gone with all its processes: the list tells.
                Err(Errno::NOENT | Errno::NODEV) => false,
                Err(errno) => {
                    let what = format!("kill the processes in cgroup `{}`", directory.display());
                    return Err(Error::system(what, errno));
                }
            },
        };
        if !at_once {
            let _ = self.freeze();
            let result = self.signal_each(SIGKILL);
            self.thaw()?;
            result?;
        }
        self.thaw_below()
    }

    fn signal_each(&self, signal: i32) -> Result<(), Error> {
        for pid in self.processes()? {
            let sent = rustix::process::pidfd_open(pid, PidfdFlags::empty())
                .and_then(|fd| sys::signals::send(std::os::fd::AsFd::as_fd(&fd), signal));
            match sent {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => {
                    return Err(Error::system(
                        format!("send signal {signal} to process {pid}"),
                        errno,
                    ));
                }
            }
        }
        Ok(())
    }

    /// Stops every process, and returns when all have stopped.
    pub fn freeze(&self) -> Result<(), Error> {
        if let Some(directory) = self.paths.unified() {
            match files::write(directory, "cgroup.freeze", "1") {
                Ok(()) => {
                    return await_event(directory, "frozen 1", "freeze").inspect_err(|_| {
                        let _ = files::write(directory, "cgroup.freeze", "0");
                    });
                }
                // Before Linux 5.2; v1's freezer may be there.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(freezing(directory, errno)),
            }
        }
        match self.paths.controller("freezer") {
            Some(directory) => freeze_v1(directory).inspect_err(|_| {
                // Half frozen is worse than not frozen: those processes could not even be killed.
                let _ = thaw_v1(directory);
            }),
            None => Err(Error::NoFreezer),
        }
    }

    /// Lets every process go on, but for those that somebody has stopped further below: a container may be paused by itself there.
    pub fn thaw(&self) -> Result<(), Error> {
        if let Some(directory) = self.paths.unified() {
            match files::write(directory, "cgroup.freeze", "0") {
                Ok(()) | Err(Errno::NOENT | Errno::NODEV) => {}
                Err(errno) => return Err(freezing(directory, errno)),
            }
        }
        self.paths.controller("freezer").map_or(Ok(()), thaw_v1)
    }

    /// The same for those that are about to end, which a process in the container may have stopped further below to outlive its kill.
    pub fn thaw_to_end(&self) -> Result<(), Error> {
        self.thaw()?;
        self.thaw_below()
    }

    fn thaw_below(&self) -> Result<(), Error> {
        let Some(directory) = self.paths.controller("freezer") else { return Ok(()) };
        tree(directory)?.iter().try_for_each(|directory| thaw_v1(directory))
    }

    /// Whether the container itself was frozen, by us or by somebody who used v1's freezer; not when an ancestor is.
    pub fn is_frozen(&self) -> Result<bool, Error> {
        if self.paths.unified().map_or(Ok(false), frozen_v2)? {
            return Ok(true);
        }
        self.paths.controller("freezer").map_or(Ok(false), frozen_v1)
    }
}

fn freezing(directory: &Path, errno: Errno) -> Error {
    Error::system(format!("freeze or thaw cgroup `{}`", directory.display()), errno)
}

/// The processes in a directory and below it; none when it is gone.
pub(super) fn processes(directory: &Path) -> Result<Vec<Pid>, Error> {
    listed(&tree(directory)?)
}

/// The processes in these directories.
fn listed(directories: &[PathBuf]) -> Result<Vec<Pid>, Error> {
    let mut found = Vec::new();
    for directory in directories {
        match files::read_all(directory, "cgroup.procs") {
            Ok(list) => {
                found.extend(list.lines().filter_map(|pid| pid.parse::<i32>().ok()));
            }
            // Gone, or a threaded cgroup: its processes are listed above it.
            Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => {}
            Err(errno) => {
                let what = format!("list the processes in cgroup `{}`", directory.display());
                return Err(Error::system(what, errno));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found.into_iter().filter_map(Pid::from_raw).collect())
}

/// A directory and all below it, each before those below it.
pub(super) fn tree(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = vec![directory.to_owned()];
    let mut next = 0;
    while let Some(directory) = found.get(next) {
        let below = files::subgroups(directory).map_err(|errno| {
            Error::system(format!("list cgroup `{}`", directory.display()), errno)
        })?;
        found.extend(below);
        next += 1;
    }
    Ok(found)
}

/// Waits for a line in `cgroup.events`: the kernel tells of changes there (POLLPRI).
pub(super) fn await_event(directory: &Path, line: &str, what: &'static str) -> Result<(), Error> {
    let failed = |errno| Error::system(format!("{what} cgroup `{}`", directory.display()), errno);
    let file = match files::open(directory, "cgroup.events", OFlags::RDONLY) {
        Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
        other => other.map_err(failed)?,
    };
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let mut buffer = [0; 256];
        let length = match rustix::io::pread(&file, &mut buffer, 0) {
            Err(Errno::NODEV) => return Ok(()),
            other => other.map_err(failed)?,
        };
        let text = String::from_utf8_lossy(&buffer[..length]);
        if text.lines().any(|found| found == line) {
            return Ok(());
        }
        let left = end.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return Err(Error::Stuck { what, path: directory.to_owned() });
        }
        let timeout =
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&file, PollFlags::PRI)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}

/// Whether a v2 directory was told to freeze.
pub(super) fn frozen_v2(directory: &Path) -> Result<bool, Error> {
    match files::read(directory, "cgroup.freeze") {
        Ok(text) => Ok(text.trim() == "1"),
        Err(Errno::NOENT | Errno::NODEV) => Ok(false),
        Err(errno) => Err(freezing(directory, errno)),
    }
}

/// Whether a v1 directory was told to freeze; `false` in the hierarchies that have no freezer.
pub(super) fn frozen_v1(directory: &Path) -> Result<bool, Error> {
    match files::read(directory, "freezer.self_freezing") {
        Ok(text) => Ok(text.trim() == "1"),
        Err(Errno::NOENT | Errno::NODEV) => Ok(false),
        Err(errno) => Err(freezing(directory, errno)),
    }
}

/// Freezes a v1 directory. Processes that are being made can slip through, and the state stays FREEZING then: the kernel
/// looks again at each write, and now and then everybody has to run for those to get through their fork.
fn freeze_v1(directory: &Path) -> Result<(), Error> {
    let state = "freezer.state";
    let end = std::time::Instant::now() + PATIENCE;
    for round in 1_u32.. {
        files::write(directory, state, "FROZEN").map_err(|errno| freezing(directory, errno))?;
        let text = files::read(directory, state).map_err(|errno| freezing(directory, errno))?;
        if text.trim() == "FROZEN" {
            return Ok(());
        }
        if std::time::Instant::now() > end {
            break;
        }
        if round.is_multiple_of(50) {
            files::write(directory, state, "THAWED").map_err(|errno| freezing(directory, errno))?;
            std::thread::sleep(Duration::from_millis(10));
        } else if round.is_multiple_of(5) {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
    Err(Error::Stuck { what: "freeze", path: directory.to_owned() })
}

fn thaw_v1(directory: &Path) -> Result<(), Error> {
    match files::write(directory, "freezer.state", "THAWED") {
        Ok(()) | Err(Errno::NOENT | Errno::NODEV) => Ok(()),
        Err(errno) => Err(freezing(directory, errno)),
    }
}
