//! How the kernel executes the calling process: the domain that it shows, and where its memory comes from.

use crate::{Result, check};

/// Sets the execution domain (personality(2)): 0 is Linux, 8 makes uname(2) show a 32-bit machine. Flags that the caller was
/// started with are cleared.
///
/// # Errors
/// None on Linux; it may be filtered.
pub fn set_personality(domain: u32) -> Result<()> {
    // SAFETY: the argument is a plain number.
    check(unsafe { libc::syscall(libc::SYS_personality, libc::c_ulong::from(domain)) }).map(drop)
}

/// Sets the memory policy of the calling thread (set_mempolicy(2)), which survives an exec. `mode` is `MPOL_*` with
/// `MPOL_F_*`, bit N of the words of `nodes` is for node N.
///
/// # Errors
/// `ENOSYS` without NUMA, `EINVAL` for a mode that the kernel does not know, or when none of the nodes is there and allowed.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<()> {
    // The kernel reads one bit less than it is told.
    let bits = size_of_val(nodes) * 8 + 1;
    // SAFETY: the kernel reads as many bits behind the pointer as the slice has, none of an empty one.
    check(unsafe {
        libc::syscall(libc::SYS_set_mempolicy, mode as libc::c_int, nodes.as_ptr(), bits)
    })
    .map(drop)
}

/// Whether the kernel has memory policies at all.
pub fn has_memory_policies() -> bool {
    let null = std::ptr::null::<u64>();
    // SAFETY: with null pointers get_mempolicy(2) writes nothing; it is asked for nothing.
    let asked = check(unsafe { libc::syscall(libc::SYS_get_mempolicy, null, null, 0, 0, 0) });
    asked != Err(rustix::io::Errno::NOSYS)
}
