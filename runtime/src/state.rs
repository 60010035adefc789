//! `nrun state`, and what a container's status is.

use crate::args;
use crate::cli::Parsed;
use crate::error::Result;
use crate::id::ContainerId;
use crate::process;
use crate::record::{self, Saved};
use serde::Serialize;
use std::collections::HashMap;
use std::path::Path;

/// A container's status (runtime-spec, "State").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Somebody is making it: its hooks of the create phase may be running.
    Creating,
    /// Set up, and waiting for `start`.
    Created,
    /// Its process was started and has not ended.
    Running,
    /// Frozen.
    Paused,
    /// Its process has ended, or was never there.
    Stopped,
}

impl Status {
    /// The status, from what is on disk and whether the process is still there.
    ///
    /// # Errors
    /// When /proc or the cgroup cannot be read.
    pub fn of(saved: &Saved, awaits_start: bool) -> Result<Status> {
        if saved.creating {
            return Ok(Status::Creating);
        }
        let Some(has_executed) = process::has_executed(saved.pid, saved.pid_start)? else {
            return Ok(Status::Stopped);
        };
        if crate::cgroup::Cgroup::open(saved.cgroups.clone()).is_frozen().unwrap_or(false) {
            return Ok(Status::Paused);
        }
        // A `start` that was killed when it had said go has not taken away what its socket says.
        Ok(if awaits_start && !has_executed { Status::Created } else { Status::Running })
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// The state as it is shown: the fields of runtime-spec with runc's additions, in runc's order.
#[derive(Debug, Serialize)]
pub struct State<'a> {
    #[serde(rename = "ociVersion")]
    oci_version: &'a str,
    /// The id.
    pub id: &'a str,
    /// The init's process id, 0 when it has stopped or is not ready.
    pub pid: i32,
    /// The status.
    pub status: Status,
    /// The bundle.
    pub bundle: &'a Path,
    rootfs: &'a Path,
    /// When it was created.
    pub created: &'a str,
    #[serde(skip_serializing_if = "HashMap::is_empty")]
    annotations: &'a HashMap<String, String>,
    /// Name of the user who created it.
    pub owner: String,
}

impl<'a> State<'a> {
    /// The state of a container.
    ///
    /// # Errors
    /// As [`Status::of`].
    pub fn of(saved: &'a Saved, awaits_start: bool) -> Result<State<'a>> {
        let status = Status::of(saved, awaits_start)?;
        Ok(State {
            oci_version: &saved.oci_version,
            id: &saved.id,
            pid: if status == Status::Stopped { 0 } else { saved.pid },
            status,
            bundle: &saved.bundle,
            rootfs: &saved.rootfs,
            created: &saved.created,
            annotations: &saved.annotations,
            owner: owner(saved.owner),
        })
    }
}

/// The user's name on the host, or the number where there is none, in the form that runc has for it.
fn owner(uid: u32) -> String {
    if uid == 0 {
        return "root".to_owned();
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    };
    passwd.lines().find_map(name).unwrap_or_else(|| format!("#{uid}"))
}

/// Shows the state of a container.
///
/// # Errors
/// When it does not exist.
pub fn run(parsed: &Parsed) -> Result<String> {
    let id = ContainerId::new(&parsed.operands[0])?;
    let (saved, awaits_start) = record::peek(&args::root(parsed), &id)?;
    Ok(to_json(&State::of(&saved, awaits_start)?) + "\n")
}

/// Indented by two spaces, like runc's.
pub fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("a struct of strings and numbers has a JSON form")
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_owner_without_a_name_is_told_by_number() {
        assert_eq!(super::owner(0), "root");
        assert_eq!(super::owner(4_000_000_000), "#4000000000");
    }
}
