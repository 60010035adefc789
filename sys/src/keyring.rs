//! Session keyrings (keyctl(2)).

use crate::{Result, check};
use std::ffi::CStr;

/// Joins a session keyring of this name, making it if it does not exist, so that a container does not see the keys of
/// whoever started it.
///
/// # Errors
/// `ENOSYS` where the kernel has no keyrings, `EDQUOT` at the user's quota, `EACCES`.
pub fn join_session(name: &CStr) -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_ulong = 1;
    // SAFETY: the name is a C string that the kernel only reads.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) })
        .map(drop)
}
