//! The score for the OOM killer that a user's container has at this start.

use super::{amend, read};
use crate::container::{Containers, Dir, Record};
use crate::error::Result;
use crate::health;
use crate::oom_score::{had, own};
use crate::privilege::is_in_namespace;
use oci_spec::runtime::Spec;

/// Gives a user's container the score that it can have when it is started by us. Its health check has the container's.
///
/// # Errors
/// Its config.json or the process of its check cannot be read or written.
pub fn adapt_oom_score(containers: &Containers, record: &Record, dir: &Dir) -> Result<()> {
    if !is_in_namespace() {
        return Ok(());
    }
    health::forget_score(dir)?;
    let score = Some(had(record.host_config.oom_score_adj, own()));
    // Mostly it is the same as before: then nobody is waited for, and nothing is written to disk.
    match has_score(&read(dir)?, score) {
        true => Ok(()),
        false => write_down(containers, dir, score),
    }
}

fn has_score(spec: &Spec, score: Option<i32>) -> bool {
    spec.process().as_ref().is_none_or(|process| process.oom_score_adj() == score)
}

/// While nobody else changes the container: an `update` at the same moment would write what it has read before.
fn write_down(containers: &Containers, dir: &Dir, score: Option<i32>) -> Result<()> {
    containers.change(dir, |record| {
        amend(record, dir, |spec| {
            let process = spec.process_mut().as_mut();
            process.map(|process| process.set_oom_score_adj(score)).is_some()
        })
    })
}
