//! clone3(2) without shared memory: fork, with namespaces, a pidfd and a target cgroup in the same call.

use crate::namespace::Kinds;
use crate::{Result, check};
use rustix::process::Pid;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// What the child starts with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'fd> {
    /// The namespaces that are made for the child.
    pub namespaces: Kinds,
    /// The cgroup (v2) that the child starts in, saving a migration; Linux 5.7.
    pub into_cgroup: Option<BorrowedFd<'fd>>,
    /// The child becomes a sibling: its parent is the caller's parent (`CLONE_PARENT`).
    pub sibling: bool,
}

/// A child process that has not been waited for.
#[derive(Debug)]
pub struct Child {
    /// Its process id in the caller's pid namespace.
    pub pid: Pid,
    /// A close-on-exec fd that refers to exactly this process.
    pub pidfd: OwnedFd,
}

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Makes a child with a copy of the caller's memory that runs `body` and exits with the status it returns.
///
/// The caller has a single thread (checked in debug builds): a lock that another thread holds, the allocator's among
/// them, would stay locked in the child for ever. The libc is not told about the new process, so that its idea of the thread's
/// id is stale in the child: `body` must not abort or use pthreads; it may exec or exit.
///
/// # Errors
/// `EPERM` for namespaces that the caller may not make, `EINVAL` for kinds that the kernel lacks, `EAGAIN` at a limit on
/// processes, `EBUSY` or `EOPNOTSUPP` when the cgroup takes no processes.
pub fn spawn(options: &Options<'_>, body: impl FnOnce() -> i32) -> Result<Child> {
    debug_assert!(is_single_threaded(), "clone needs a process with one thread");
    clone3(options, body)
}

/// Makes a child that holds new namespaces until it is killed, or whoever has made it ends.
///
/// The caller may have any number of threads: the child takes no lock and touches no memory but its own stack.
///
/// # Errors
/// As [`spawn`].
pub fn hold(namespaces: Kinds) -> Result<Child> {
    let parent = rustix::process::getpid().as_raw_nonzero().get();
    clone3(&Options { namespaces, ..Options::default() }, || {
        // SAFETY: prctl with this option touches no memory.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        // SAFETY: getppid has no preconditions.
        let current_parent = || unsafe { libc::getppid() };
        // It may have ended before it was listened for.
        while current_parent() == parent {
            // SAFETY: pause has no preconditions.
            unsafe { libc::pause() };
        }
        0
    })
}

/// The child must be able to do with the memory of a process whose other threads have stopped wherever they were.
fn clone3(options: &Options<'_>, body: impl FnOnce() -> i32) -> Result<Child> {
    let mut pidfd: libc::c_int = -1;
    let mut flags = options.namespaces.bits() | libc::CLONE_PIDFD as u64;
    if options.sibling {
        flags |= libc::CLONE_PARENT as u64;
    }
    if options.into_cgroup.is_some() {
        flags |= 0x2_0000_0000; // CLONE_INTO_CGROUP, which does not fit the C int that the libc crate declares
    }
    let mut args = CloneArgs {
        flags,
        // Exposed: the kernel writes through it, behind the compiler's back.
        pidfd: (&raw mut pidfd).expose_provenance() as u64,
        // With CLONE_PARENT the kernel takes the exit signal from the caller itself and refuses one given here.
        exit_signal: if options.sibling { 0 } else { libc::SIGCHLD as u64 },
        cgroup: options.into_cgroup.map_or(0, |fd| fd.as_raw_fd() as u64),
        ..CloneArgs::default()
    };
    crate::heap::keep_what_is_there();
    // SAFETY: without CLONE_VM and CLONE_FILES the child works on copies of memory and fd table, as after fork(2); stack 0
    // keeps the copied stack; `pidfd` is a valid place for the kernel to write to. What `body` may do: see above.
    let pid =
        check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) })?;
    if pid == 0 {
        exit(body());
    }
    let pid =
        i32::try_from(pid).ok().and_then(Pid::from_raw).expect("clone3 returns a positive pid");
    // SAFETY: the kernel has just made this fd for us, and nobody else knows it.
    Ok(Child { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

/// Ends the calling process at once: no destructors, no exit handlers, which belong to the parent's copy.
pub fn exit(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Whether this process has one thread: /proc/self/task has a link for each, beside `.` and `..`.
fn is_single_threaded() -> bool {
    rustix::fs::stat("/proc/self/task").map_or(true, |stat| stat.st_nlink == 3)
}
