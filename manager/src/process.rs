//! Who a process id stands for: ids are used again, the moment at which a process began is not, until the machine is started anew.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fmt::Display;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The name under which `main` runs a container's monitor instead of the command line.
pub const MONITOR: &str = "nman-monitor";

/// A process that is held on to: whoever has this never takes another one for it, although its id may be used again.
#[derive(Debug)]
pub struct Process {
    id: i32,
    pidfd: OwnedFd,
}

impl Process {
    /// Opens the process that has an id, if it is the one that is meant. `is_it` is asked after it was opened: the id may have been
    /// used again before.
    #[must_use]
    pub fn open(id: i32, is_it: impl FnOnce(&Self) -> bool) -> Option<Self> {
        let pidfd = pidfd_open(Pid::from_raw(id)?, PidfdFlags::empty()).ok()?;
        Some(Self { id, pidfd }).filter(is_it)
    }

    /// Opens the process that has an id and began at that moment ([`birth`]).
    #[must_use]
    pub fn born(id: i32, born: u64) -> Option<Self> {
        Self::open(id, |_| birth(id) == Some(born))
    }

    /// Its id, which is its own until it has ended.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.id
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn send(&self, signal: Signal) -> Result<(), Errno> {
        pidfd_send_signal(&self.pidfd, signal)
    }

    /// Waits until it has ended; `false` if that takes longer than `timeout`.
    pub fn wait_for_exit(&self, timeout: Option<Duration>) -> Result<bool, Errno> {
        wait_for_exit(&self.pidfd, timeout)
    }

    /// Opens a file of its own in `/proc`, such as `ns/net` or `root`.
    ///
    /// # Errors
    /// `ESRCH` when it has ended, and else what open(2) says.
    pub fn open_file(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = format!("/proc/{}/{name}", self.id);
        let opened = rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty());
        // As long as it is there its id is nobody else's, and so it was its file.
        if self.wait_for_exit(Some(Duration::ZERO))? { Err(Errno::SRCH) } else { opened }
    }
}

impl From<Process> for OwnedFd {
    fn from(process: Process) -> Self {
        process.pidfd
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// When a process began, in the kernel's ticks since the machine was started; `None` when it has ended, also if nobody has
/// collected it yet.
#[must_use]
pub fn birth(pid: i32) -> Option<u64> {
    let stat = sys::process::stat(Pid::from_raw(pid)?).ok()??;
    (!stat.ended).then_some(stat.start)
}

/// The text of a file in `/proc/PID`; `None` when the process has ended. Names in there are the process's own choice: what is no
/// text in them is replaced.
pub(crate) fn text(pid: impl Display, name: &str) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/{name}")).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Which start of the machine this is; `None` where the kernel does not say.
#[must_use]
pub fn boot() -> Option<&'static str> {
    static BOOT: OnceLock<Option<String>> = OnceLock::new();
    let read = || fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    BOOT.get_or_init(|| read().map(|id| id.trim_end().to_owned())).as_deref()
}

/// Whether a process is there and has not ended. A zombie is dead, whoever its new parent is.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    birth(pid).is_some()
}

/// Whether two processes are in one namespace of a kind, by its name in `/proc/PID/ns`; false for what has ended or is not ours.
#[must_use]
pub fn share_namespace(one: i32, other: i32, kind: &str) -> bool {
    let link = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    link(one).is_some_and(|own| link(other) == Some(own))
}

/// Every process that is there.
#[must_use]
pub fn all() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Waits until a process has ended; `false` if that takes longer than `timeout`.
pub fn wait_for_exit(pidfd: impl AsFd, timeout: Option<Duration>) -> Result<bool, Errno> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], left.as_ref()) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn a_process_is_held_on_to_only_if_it_is_the_one_that_is_meant() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let id = i32::try_from(child.id()).unwrap();
        let born = birth(id).unwrap();
        assert!(Process::born(id, born + 1).is_none() && Process::open(id, |_| false).is_none());
        let process = Process::born(id, born).unwrap();
        assert!(process.open_file("ns/net", OFlags::RDONLY).is_ok());
        assert_eq!(process.wait_for_exit(Some(Duration::ZERO)), Ok(false));
        process.send(Signal::KILL).unwrap();
        assert_eq!(process.wait_for_exit(None), Ok(true));
        assert_eq!(process.open_file("stat", OFlags::RDONLY).unwrap_err(), Errno::SRCH);
        assert!(Process::born(id, born).is_none());
        child.wait().unwrap();
    }

    #[test]
    fn who_is_there_has_a_moment_of_birth_and_namespaces() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(birth(own).is_some() && is_alive(own));
        assert!(share_namespace(own, own, "mnt") && all().contains(&own));
        assert!(!share_namespace(own, i32::MAX, "mnt") && !is_alive(i32::MAX));
    }

    #[test]
    fn a_process_whose_name_is_no_text_is_found_as_any_other() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "printf '\\377' >/proc/$$/comm; echo; read line"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let id = i32::try_from(child.id()).unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        assert_eq!(fs::read(format!("/proc/{id}/comm")).unwrap(), b"\xff\n");
        assert!(Process::born(id, birth(id).unwrap()).is_some());
        assert!(text(id, "status").unwrap().contains("\nPid:"));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!((birth(id), text(id, "status")), (None, None));
    }
}
