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

/// How many seconds the local time of this machine is ahead of UTC at a time, which is in seconds since the beginning of 1970; 0
/// where the C library does not know.
///
/// The zone is that of `TZ`, or of `/etc/localtime` (localtime(3)); it is read once.
#[must_use]
pub fn offset_from_utc(unix_seconds: i64) -> i64 {
    let mut fields = std::mem::MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are to live places of the right types, and the result is used when the call has filled it.
    let filled = unsafe { libc::localtime_r(&raw const unix_seconds, fields.as_mut_ptr()) };
    if filled.is_null() {
        return 0;
    }
    // SAFETY: localtime_r(3) returns its second argument only when it has filled it.
    unsafe { fields.assume_init() }.tm_gmtoff
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_year_that_is_in_no_calendar_has_no_zone() {
        assert_eq!(super::offset_from_utc(i64::MAX), 0);
    }

    #[test]
    fn it_is_the_time_that_the_library_tells() {
        let before = std::time::SystemTime::now();
        let now = super::now().unwrap();
        assert!(before <= now && now <= std::time::SystemTime::now(), "{before:?} {now:?}");
    }
}
