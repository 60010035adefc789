//! Processes on the host: when one was started, and whether it is still there.

use crate::error::{Error, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

/// When a process was started, in clock ticks since boot: with it, a process id names one process for ever.
///
/// # Errors
/// When there is no such process.
pub fn start_time(pid: Pid) -> Result<u64> {
    stat(pid)?
        .map(|stat| stat.start)
        .ok_or_else(|| Error::system(format!("find process {}", pid.as_raw_nonzero()), Errno::SRCH))
}

/// Whether the process that had this id at this time still runs. A zombie does not: it waits for its parent only.
///
/// # Errors
/// When /proc cannot be read.
pub fn is_alive(pid: i32, start: u64) -> Result<bool> {
    let Some(pid) = Pid::from_raw(pid) else { return Ok(false) };
    Ok(stat(pid)?.is_some_and(|stat| stat.start == start && !stat.ended))
}

struct Stat {
    ended: bool,
    start: u64,
}

fn stat(pid: Pid) -> Result<Option<Stat>> {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    // 52 numbers and a name: the kernel gives them in one read.
    let mut text = [0; 2048];
    let read = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|file| rustix::io::read(&file, &mut text));
    match read {
        Ok(length) => Ok(parse(&String::from_utf8_lossy(&text[..length]))),
        Err(Errno::NOENT | Errno::SRCH) => Ok(None),
        Err(errno) => Err(Error::system(format!("read `{path}`"), errno)),
    }
}

/// Fields 3 (state) and 22 (start time) of proc_pid_stat(5). Field 2, the name, may contain anything, brackets and spaces too.
fn parse(text: &str) -> Option<Stat> {
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some(Stat { ended: matches!(state, "Z" | "X" | "x"), start })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let text = "7 (a) R (b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 1";
        let stat = parse(text).unwrap();
        assert_eq!(stat.start, 4242);
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
