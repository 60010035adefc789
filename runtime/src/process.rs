//! Processes on the host: when one was started, and whether it is still there.

use crate::error::{Error, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use std::os::fd::{AsFd, OwnedFd};
use sys::fd::until_exec;

/// When a process was started, in clock ticks since boot: with it, a process id names one process for ever.
///
/// # Errors
/// When there is no such process.
pub fn start_time(pid: Pid) -> Result<u64> {
    // Asked once, by whoever makes a container: the end of the process closes the file.
    let read = open_stat(pid).and_then(|file| read_stat(until_exec(file)));
    stat_of(pid, read)?
        .map(|stat| stat.start)
        .ok_or_else(|| Error::system(format!("find process {}", pid.as_raw_nonzero()), Errno::SRCH))
}

/// Whether a process still is what it was forked as. Of a process that is gone nobody can tell, and this is false.
///
/// # Errors
/// When /proc cannot be read.
pub fn never_executed(pid: Pid) -> Result<bool> {
    Ok(stat(pid)?.is_some_and(|stat| stat.never_executed()))
}

/// Whether the process that had this id at this time still runs. A zombie does not: it waits for its parent only.
///
/// # Errors
/// When /proc cannot be read.
pub fn is_alive(pid: i32, start: u64) -> Result<bool> {
    Ok(alive(pid, start)?.is_some())
}

/// The same, and whether it has executed anything since it was forked; `None` when it does not run.
///
/// # Errors
/// When /proc cannot be read.
pub fn has_executed(pid: i32, start: u64) -> Result<Option<bool>> {
    Ok(alive(pid, start)?.map(|stat| !stat.never_executed()))
}

fn alive(pid: i32, start: u64) -> Result<Option<Stat>> {
    let Some(pid) = Pid::from_raw(pid) else { return Ok(None) };
    Ok(stat(pid)?.filter(|stat| stat.start == start && !stat.ended))
}

/// The exit status of a process that has ended and that its parent has not asked for, as a shell would tell it. `None` when the kernel
/// has forgotten it.
pub fn exit_status(pid: i32, start: u64) -> Option<u8> {
    let stat = stat(Pid::from_raw(pid)?).ok()??;
    let code = stat.exit_code.filter(|_| stat.ended && stat.start == start)?;
    let signal = code & 0x7f;
    u8::try_from(if signal == 0 { code >> 8 & 0xff } else { 128 + signal }).ok()
}

struct Stat {
    ended: bool,
    flags: u32,
    /// As wait(2) gives it.
    exit_code: Option<i32>,
    start: u64,
}

impl Stat {
    /// The flag `PF_FORKNOEXEC` (linux/sched.h) goes away with the first exec, before any fd is closed by it, and a zombie keeps it.
    fn never_executed(&self) -> bool {
        const PF_FORKNOEXEC: u32 = 0x40;
        self.flags & PF_FORKNOEXEC != 0
    }
}

fn stat(pid: Pid) -> Result<Option<Stat>> {
    stat_of(pid, open_stat(pid).and_then(read_stat))
}

fn open_stat(pid: Pid) -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::open(path(pid), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// 52 numbers and a name: the kernel gives them in one read.
fn read_stat(file: impl AsFd) -> std::result::Result<Option<Stat>, Errno> {
    let mut text = [0; 2048];
    let length = rustix::io::read(file, &mut text)?;
    Ok(parse(&String::from_utf8_lossy(&text[..length])))
}

fn stat_of(pid: Pid, read: std::result::Result<Option<Stat>, Errno>) -> Result<Option<Stat>> {
    match read {
        Err(Errno::NOENT | Errno::SRCH) => Ok(None),
        read => read.map_err(|errno| Error::system(format!("read `{}`", path(pid)), errno)),
    }
}

fn path(pid: Pid) -> String {
    format!("/proc/{}/stat", pid.as_raw_nonzero())
}

/// Fields 3 (state), 9 (flags), 22 (start time) and 52 (exit code) of proc_pid_stat(5). Field 2, the name, may contain anything,
/// brackets and spaces too.
fn parse(text: &str) -> Option<Stat> {
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
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
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let text = "7 (a) R (b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 1";
        let stat = parse(text).unwrap();
        assert_eq!(stat.start, 4242);
        assert_eq!(stat.flags, 4_194_560);
        assert!(!stat.ended);
    }

    #[test]
    fn we_are_alive_and_nobody_else_is_us() {
        let pid = rustix::process::getpid();
        let start = start_time(pid).unwrap();
        assert!(is_alive(pid.as_raw_nonzero().get(), start).unwrap());
        assert!(!is_alive(pid.as_raw_nonzero().get(), start + 1).unwrap());
        assert!(!is_alive(0, 0).unwrap());
    }
}
