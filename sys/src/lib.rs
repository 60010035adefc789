//! The system calls that rustix does not have, and those that it marks unsafe.
//!
//! This is the only crate of the workspace that may contain `unsafe` (invariant I4). Every function here is safe to
//! call: where the kernel's rule cannot be expressed in types, the module says who upholds it and checks it in debug
//! builds. Nothing in here allocates after a `clone`, logs, or resolves a path outside a directory fd it was given.

pub mod beneath;
pub mod clone;
pub mod exec;
pub mod fd;
pub mod keyring;
pub mod mount;
pub mod namespace;
pub mod seccomp;
pub mod signals;
pub mod wait;

/// The error type of every call in this crate: a bare errno, because the callers know the object and the reason.
pub type Result<T> = std::result::Result<T, rustix::io::Errno>;

/// Turns the return value of a raw system call into a result.
fn check(ret: libc::c_long) -> Result<libc::c_long> {
    if ret == -1 { Err(last_errno()) } else { Ok(ret) }
}

/// The calling thread's errno.
fn last_errno() -> rustix::io::Errno {
    rustix::io::Errno::from_io_error(&std::io::Error::last_os_error())
        .expect("errno was set by a failed call")
}
