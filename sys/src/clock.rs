//! The time of day, asked of the kernel.

use crate::{Result, check};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time of day, by a system call.
///
/// clock_gettime(3) asks the vdso, which is faster by half a microsecond, but three pages have to be mapped for the first question: for
/// a program that asks once, that costs ten times as much (vdso(7)).
///
/// # Errors
/// None on Linux; it may be filtered.
pub fn now() -> Result<SystemTime> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the kernel to write to.
    check(unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_REALTIME, &raw mut time) })?;
    let seconds = Duration::from_secs(time.tv_sec.unsigned_abs());
    let rest = Duration::from_nanos(time.tv_nsec.unsigned_abs());
    Ok(if time.tv_sec < 0 { UNIX_EPOCH - seconds + rest } else { UNIX_EPOCH + seconds + rest })
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_the_time_that_the_library_tells() {
        let before = std::time::SystemTime::now();
        let now = super::now().unwrap();
        assert!(before <= now && now <= std::time::SystemTime::now(), "{before:?} {now:?}");
    }
}
