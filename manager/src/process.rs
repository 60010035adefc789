//! Who a process id stands for: ids are used again, the moment at which a process began is not.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::fs;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// The name under which `main` runs a container's monitor instead of the command line.
pub const MONITOR: &str = "nman-monitor";

/// When a process began, in the kernel's ticks since the machine was started (field 22 of proc(5)'s `stat`); `None` when it has
/// ended, also if nobody has collected it yet.
#[must_use]
pub fn birth(pid: i32) -> Option<u64> {
    birth_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
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
pub fn wait_for_exit(pidfd: &OwnedFd, timeout: Option<Duration>) -> Result<bool, Errno> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], left.as_ref()) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn birth_in(stat: &str) -> Option<u64> {
    // The name before them may contain anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_of_birth_is_found_behind_any_name() {
        let fields = |name: &str, state: &str| {
            format!("7 ({name}) {state} 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0\n")
        };
        assert_eq!(birth_in(&fields("a) Z 1 (b", "S")), Some(4711));
        assert_eq!(birth_in(&fields("sh", "Z")), None);
        assert_eq!(birth_in(""), None);
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(birth(own).is_some() && is_alive(own));
        assert!(share_namespace(own, own, "mnt") && all().contains(&own));
        assert!(!share_namespace(own, i32::MAX, "mnt") && !is_alive(i32::MAX));
    }
}
