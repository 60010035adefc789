//! Scheduling of processor time and of block I/O: policies, priorities, and the processors that a process may run on.
//!
//! Process ids are those of the caller's pid namespace; `None` is the calling thread.

use crate::{Result, check};
use rustix::process::Pid;

/// A scheduling policy with its parameters (sched_setattr(2)). Those that a policy does not use are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduler {
    /// `SCHED_*`
    pub policy: u32,
    /// `SCHED_FLAG_*`
    pub flags: u64,
    /// From -20 to 19, for `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// From 1 to 99, for `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub runtime: u64,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub deadline: u64,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub period: u64,
}

/// `struct sched_attr` with the bounds of utilisation, which Linux 5.3 added; older kernels take it when those are 0.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

/// Sets policy and parameters.
///
/// # Errors
/// `EPERM` without CAP_SYS_NICE where the policy takes it, in a v1 group without a realtime budget, or for a deadline on a
/// process that may not run on every processor; `EBUSY` when the deadline cannot be met; `EINVAL`; `EOPNOTSUPP`.
pub fn set_scheduler(pid: Option<Pid>, scheduler: &Scheduler) -> Result<()> {
    let attr = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: scheduler.policy,
        flags: scheduler.flags,
        nice: scheduler.nice,
        priority: scheduler.priority,
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
        util_min: 0,
        util_max: 0,
    };
    // SAFETY: the kernel reads as many bytes behind the pointer as `size` says, which is the size of the struct.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, raw(pid), &raw const attr, 0) }).map(drop)
}

/// Sets the I/O priority of a process: the class (1 realtime, 2 best effort, 3 idle), and 0 to 7 within it.
///
/// # Errors
/// `EPERM` for the realtime class without CAP_SYS_NICE or CAP_SYS_ADMIN.
pub fn set_io_priority(pid: Option<Pid>, class: u32, priority: u32) -> Result<()> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    let value = class << 13 | priority;
    // SAFETY: all three arguments are plain numbers.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, raw(pid), value) })
        .map(drop)
}

/// Sets the processors that the calling thread may run on, bit N of the words for processor N. The kernel leaves out those
/// that its cpuset does not have, and does not read further than the number of processors it was built for.
///
/// # Errors
/// `EINVAL` when none is left.
pub fn set_affinity(mask: &[u64]) -> Result<()> {
    // SAFETY: the kernel reads no more bytes behind the pointer than the second argument says, which is the slice's length.
    check(unsafe {
        libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(mask), mask.as_ptr())
    })
    .map(drop)
}

fn raw(pid: Option<Pid>) -> libc::pid_t {
    pid.map_or(0, |pid| pid.as_raw_nonzero().get())
}
