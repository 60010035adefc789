//! Network namespaces: made, held by a descriptor, and entered on threads of their own.
//!
//! The calling thread never changes its namespace, so no early return can leave it in the wrong one.

use super::error::{Error, Result};
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use sys::namespace::{Kinds, join, unshare};

/// Makes a new network namespace. It lives as long as the descriptor, or a process in it, does.
///
/// # Errors
/// The kernel's answer to unshare(2): without CAP_SYS_ADMIN, or beyond `user.max_net_namespaces`.
pub fn create() -> Result<OwnedFd> {
    create_and(|| Ok(()))
}

/// The same, and calls `action` in it before it leaves it.
///
/// # Errors
/// As [`create`], or those of `action`.
pub fn create_and(action: impl FnOnce() -> Result<()> + Send) -> Result<OwnedFd> {
    on_a_thread(|| {
        unshare(Kinds::NETWORK)
            .map_err(|errno| Error::kernel("create a network namespace", errno))?;
        action()?;
        current()
    })
}

/// The calling thread's own network namespace.
///
/// # Errors
/// `/proc` is not mounted.
pub fn current() -> Result<OwnedFd> {
    const PATH: &str = "/proc/thread-self/ns/net";
    rustix::fs::open(PATH, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::file("open", PATH, errno))
}

/// What the kernel calls a namespace, as `net:[4026532008]`: as long as it lives, no other is called so.
///
/// # Errors
/// `/proc` is not mounted.
pub fn name(netns: BorrowedFd<'_>) -> Result<PathBuf> {
    let path = format!("/proc/self/fd/{}", netns.as_raw_fd());
    std::fs::read_link(&path).map_err(|error| Error::file("read", &path, error))
}

/// Calls `action` on a thread that has joined `netns`, and returns what it returns.
///
/// # Errors
/// `netns` is not a network namespace, or the kernel refuses the join.
pub fn run_in<T: Send>(
    netns: BorrowedFd<'_>,
    action: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    on_a_thread(|| {
        join(netns, Kinds::NETWORK)
            .map_err(|errno| Error::kernel("join the network namespace", errno))?;
        action()
    })
}

fn on_a_thread<T: Send>(action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let spawned = std::thread::Builder::new()
            .spawn_scoped(scope, action)
            .map_err(|error| Error::kernel("start a thread for a network namespace", error))?;
        // A panic there is a panic here: the thread is only a place to stand.
        spawned.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
