//! Processes on the host: when one was started, and whether it is still there.

use crate::error::{Error, Result};
use rustix::io::Errno;
use rustix::process::Pid;
use sys::process::{Stat, stat_once, stat_path};

/// When a process was started, in clock ticks since boot: with it, a process id names one process for ever.
///
/// # Errors
/// When there is no such process.
pub fn start_time(pid: Pid) -> Result<u64> {
    // Asked once, by whoever makes a container: the end of the process closes the file.
    stat_once(pid)
        .map_err(unreadable(pid))?
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

fn stat(pid: Pid) -> Result<Option<Stat>> {
    sys::process::stat(pid).map_err(unreadable(pid))
}

/// For `map_err`: that nobody can tell.
fn unreadable(pid: Pid) -> impl FnOnce(Errno) -> Error {
    move |errno| Error::system(format!("read `{}`", stat_path(pid)), errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_alive_and_nobody_else_is_us() {
        let pid = rustix::process::getpid();
        let start = start_time(pid).unwrap();
        assert!(is_alive(pid.as_raw_nonzero().get(), start).unwrap());
        assert!(!is_alive(pid.as_raw_nonzero().get(), start + 1).unwrap());
        assert!(!is_alive(0, 0).unwrap());
    }
}
