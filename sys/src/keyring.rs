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

/// Lets the user who owns the session keyring search it, which is what joining it by its name takes (keyctl(2)): without
/// this, a process that is executed later makes another keyring of the same name.
///
/// # Errors
/// `EACCES` when the keyring is somebody else's.
pub fn let_user_search_session() -> Result<()> {
    const KEYCTL_SETPERM: libc::c_ulong = 5;
    const KEY_SPEC_SESSION_KEYRING: libc::c_long = -3;
    // What the kernel gives a new one: all to its possessor, view, read and link to its user. And search to the user.
    const PERMISSIONS: libc::c_ulong = 0x3f13_0000 | 0x0008_0000;
    // SAFETY: all arguments are plain numbers.
    check(unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, KEY_SPEC_SESSION_KEYRING, PERMISSIONS)
    })
    .map(drop)
}
