//! The score by which the kernel chooses whom to kill for want of memory (proc_pid_oom_score_adj(5)).
//!
//! Only who has CAP_SYS_RESOURCE on the host sets any. A user may raise one, and lower it to what it was last set to by who has that:
//! `oom_score_adj_min`, which the kernel shows to nobody. So our own is taken for the lowest: a user's container has at least the
//! score of whoever starts it, and that is not always the same: a service of the user's systemd has 100 or 200, a session 0.

use crate::privilege::is_in_namespace;
use oci_spec::runtime::Process;

/// Our own.
#[must_use]
pub fn own() -> i32 {
    let text = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// Of what was asked for, what can be had by whoever has `own` and is not root.
#[must_use]
pub fn had(asked: i32, own: i32) -> i32 {
    asked.max(own)
}

/// The same for a command in it: one in a service may not have that of a container that a session has started.
pub fn adapt_process(process: &mut Process) {
    if is_in_namespace() {
        process.set_oom_score_adj(process.oom_score_adj().map(|score| had(score, own())));
    }
}
