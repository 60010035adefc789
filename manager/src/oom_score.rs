//! The score by which the kernel chooses whom to kill for want of memory (proc_pid_oom_score_adj(5)).
//!
//! Only the host's root lowers one. A user's container has at least the score of whoever starts it, and that is not always the same: a
//! service of the user's systemd has 100 or 200, a session 0.

use crate::bundle::amend;
use crate::container::{Dir, Record};
use crate::error::Result;
use crate::rootless::is_in_namespace;
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

/// Gives a user's container the score that it can have when it is started by us.
///
/// # Errors
/// Its config.json cannot be read or written.
pub fn adapt(record: &Record, dir: &Dir) -> Result<()> {
    if !is_in_namespace() {
        return Ok(());
    }
    let score = Some(had(record.host_config.oom_score_adj, own()));
    amend(record, dir, |spec| {
        let process =
            spec.process_mut().as_mut().filter(|process| process.oom_score_adj() != score);
        process.map(|process| process.set_oom_score_adj(score)).is_some()
    })
}

/// The same for a command in it: one in a service may not have that of a container that a session has started.
pub fn adapt_process(process: &mut Process) {
    if is_in_namespace() {
        process.set_oom_score_adj(process.oom_score_adj().map(|score| had(score, own())));
    }
}
