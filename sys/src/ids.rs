//! Who we are, without asking the kernel again: it has told us when it started the program. And who we are to files.

/// Effective user and group id at the time of the last exec, as our user namespace has them (`AT_EUID` and `AT_EGID` of getauxval(3)).
///
/// They are the present ones of every process that has not changed its ids itself.
pub fn effective_at_exec() -> (u32, u32) {
    // The kernel has widened 32-bit numbers: nothing is cut off.
    (auxiliary(libc::AT_EUID) as u32, auxiliary(libc::AT_EGID) as u32)
}

fn auxiliary(entry: libc::c_ulong) -> libc::c_ulong {
    // SAFETY: getauxval(3) only reads a table that the kernel has put on the stack and that nobody changes, and takes any number.
    unsafe { libc::getauxval(entry) }
}

/// Changes the ids that the calling thread has towards file systems (setfsuid(2)). From root to another user, the kernel takes
/// the capabilities about files out of the effective set; the caller may raise them again.
pub fn set_file_system_ids(uid: u32, gid: u32) {
    // SAFETY: both change credentials of the calling thread only, take numbers, and cannot fail: they return the former id.
    let _ = unsafe { libc::syscall(libc::SYS_setfsgid, gid) };
    // SAFETY: as above.
    let _ = unsafe { libc::syscall(libc::SYS_setfsuid, uid) };
}

#[cfg(test)]
mod tests {
    #[test]
    fn they_are_the_ids_that_the_kernel_tells_when_asked() {
        let asked = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        assert_eq!(super::effective_at_exec(), asked);
    }
}
