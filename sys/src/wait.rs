//! Waiting for a child together with what it used.

use std::time::Duration;

use rustix::process::Pid;

use crate::{Result, check};

/// What a process used, with all the children that it waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time on a CPU, in user and kernel mode.
    pub cpu: Duration,
    /// The largest resident set that one of the processes had, in KiB. The kernel carries it over
    /// execve(2), so it is never less than what the process had before.
    pub peak_kib: u64,
}

/// Waits until the child has ended and returns its wait status, as wait(2) encodes it, and what it used (wait4(2)).
///
/// # Errors
/// `ECHILD` when it is no child of this process or something else has waited for it.
pub fn wait_with_usage(pid: Pid) -> Result<(i32, Usage)> {
    let mut status = 0;
    loop {
        // SAFETY: all zeros is a valid value of this plain struct of integers.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to live locals of the types that wait4 writes.
        let ret = check(
            unsafe { libc::wait4(pid.as_raw_nonzero().get(), &mut status, 0, &mut usage) }.into(),
        );
        match ret {
            Ok(_) => {
                let cpu = duration(usage.ru_utime) + duration(usage.ru_stime);
                let peak_kib = usage.ru_maxrss.try_into().unwrap_or(0);
                return Ok((status, Usage { cpu, peak_kib }));
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn duration(time: libc::timeval) -> Duration {
    let micros = time.tv_sec * 1_000_000 + time.tv_usec;
    Duration::from_micros(micros.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::zombie_processes, reason = "it is waited for by the function under test")]
    fn a_child_is_waited_for_once_and_its_usage_is_seen() {
        let child = std::process::Command::new("sh").args(["-c", "exit 3"]).spawn().expect("sh");
        let pid = Pid::from_child(&child);
        let (status, usage) = wait_with_usage(pid).expect("an ended child");
        assert_eq!(status, 3 << 8);
        assert!(usage.peak_kib > 100 && usage.cpu > Duration::ZERO, "{usage:?}");
        assert_eq!(wait_with_usage(pid), Err(rustix::io::Errno::CHILD));
    }
}
