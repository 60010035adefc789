//! What the kernel says of a process in `/proc/PID/stat` (proc_pid_stat(5)): whether it has ended, and when it was started, which
//! with its id names one process for ever.
//!
//! All is read as bytes: the name in there is the process's own choice, and need not be text.

use crate::Result;
use crate::fd::until_exec;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use std::os::fd::{AsFd, OwnedFd};

/// What is known of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// It has: what is left of it waits for its parent only.
    pub ended: bool,
    flags: u32,
    /// As wait(2) gives it; 0 for whoever may not know.
    pub exit_code: Option<i32>,
    /// When it was started, in clock ticks since boot.
    pub start: u64,
}

impl Stat {
    /// Whether it still is what it was forked as: the flag `PF_FORKNOEXEC` (linux/sched.h) goes away with the first exec, before any
    /// fd is closed by it, and a zombie keeps it.
    pub fn never_executed(&self) -> bool {
        const PF_FORKNOEXEC: u32 = 0x40;
        self.flags & PF_FORKNOEXEC != 0
    }
}

/// What is known of a process; `None` when there is none of this id.
///
/// # Errors
/// As open(2) and read(2), when /proc cannot be read.
pub fn stat(pid: Pid) -> Result<Option<Stat>> {
    unless_gone(open(pid).and_then(read))
}

/// The same for whoever asks once and ends or execs soon: that closes the file, without a system call for it.
///
/// # Errors
/// As [`stat`].
pub fn stat_once(pid: Pid) -> Result<Option<Stat>> {
    unless_gone(open(pid).and_then(|file| read(until_exec(file))))
}

/// The file that is read.
pub fn stat_path(pid: Pid) -> String {
    format!("/proc/{}/stat", pid.as_raw_nonzero())
}

fn open(pid: Pid) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, stat_path(pid), flags, Mode::empty())
}

/// 52 numbers and a name: the kernel gives them in one read.
fn read(file: impl AsFd) -> Result<Option<Stat>> {
    let mut text = [0; 2048];
    let length = rustix::io::read(file, &mut text)?;
    Ok(parse(&text[..length]))
}

fn unless_gone(read: Result<Option<Stat>>) -> Result<Option<Stat>> {
    match read {
        Err(Errno::NOENT | Errno::SRCH) => Ok(None),
        read => read,
    }
}

/// Fields 3 (state), 9 (flags), 22 (start time) and 52 (exit code). Field 2, the name, may contain anything, brackets and spaces too.
fn parse(text: &[u8]) -> Option<Stat> {
    let name_end = text.iter().rposition(|&byte| byte == b')')?;
    let mut fields = std::str::from_utf8(&text[name_end + 1..]).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let flags = fields.nth(5)?.parse().ok()?;
    let start = fields.nth(12)?.parse().ok()?;
    let exit_code = fields.nth(29).and_then(|code| code.parse().ok());
    Some(Stat { ended: matches!(state, "Z" | "X" | "x"), flags, exit_code, start })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_shifts_the_fields() {
        for name in [&b"sh"[..], b"a) Z (b", b"\xff"] {
            let fields = b") S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 1";
            let stat = parse(&[b"7 (", name, fields].concat()).unwrap();
            assert_eq!((stat.ended, stat.start), (false, 4242), "{name:?}");
            assert!(!stat.never_executed());
        }
        let left = parse(b"7 (sh) Z 1 7 7 0 -1 64 0 0 0 0 0 0 0 0 20 0 1 0 4242").unwrap();
        assert!(left.ended && left.never_executed());
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn we_are_there_and_who_has_ended_is_known_until_it_is_waited_for() {
        let own = stat(rustix::process::getpid()).unwrap().unwrap();
        assert!(!own.ended && own.start > 0);
        assert_eq!(stat_once(rustix::process::getpid()).unwrap().unwrap().start, own.start);
        let mut child = std::process::Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let options =
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), options).unwrap();
        let left = stat(pid).unwrap().unwrap();
        assert!(left.ended && left.start >= own.start);
        child.wait().unwrap();
        assert_eq!(stat(pid), Ok(None));
    }
}
