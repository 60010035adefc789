//! What a file's mode lets a process do.

use oci_spec::runtime::{LinuxIdMapping, Process, Spec};
use rustix::fs::Stat;
use std::fmt;

/// The user as whom a program is to run, with ids as the host's files have them.
pub(super) struct Identity {
    /// As the container sees it.
    uid: u32,
    gid: u32,
    on_host: u32,
    groups_on_host: Vec<u32>,
    /// CAP_DAC_OVERRIDE: enough for files that anybody may execute at all.
    overrides: bool,
}

impl Identity {
    pub(super) fn of(process: &Process, spec: &Spec) -> Identity {
        let user = process.user();
        let linux = spec.linux().as_ref();
        let uids = linux.and_then(|linux| linux.uid_mappings().as_deref()).unwrap_or_default();
        let gids = linux.and_then(|linux| linux.gid_mappings().as_deref()).unwrap_or_default();
        let groups = user
            .additional_gids()
            .iter()
            .flatten()
            .chain([&user.gid()])
            .copied()
            .collect::<Vec<u32>>();
        let held = process.capabilities().as_ref().and_then(|sets| sets.effective().as_ref());
        // Root of the container has it until the exec; a user keeps what is in his effective set.
        let overrides =
            held.is_some_and(|held| held.contains(&oci_spec::runtime::Capability::DacOverride));
        Identity {
            uid: user.uid(),
            gid: user.gid(),
            on_host: on_host(uids, user.uid()),
            groups_on_host: groups.into_iter().map(|gid| on_host(gids, gid)).collect(),
            overrides,
        }
    }

    pub(super) fn may_execute(&self, stat: &Stat) -> bool {
        self.has_x(stat) || self.overrides && stat.st_mode & 0o111 != 0
    }

    pub(super) fn may_search(&self, stat: &Stat) -> bool {
        self.has_x(stat) || self.overrides
    }

    /// The `x` bit of the first class that the user is in, as the kernel looks at it.
    fn has_x(&self, stat: &Stat) -> bool {
        let shift = if stat.st_uid == self.on_host {
            6
        } else if self.groups_on_host.contains(&stat.st_gid) {
            3
        } else {
            0
        };
        stat.st_mode >> shift & 1 == 1
    }
}

/// "user 1000 (group 100)"
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {} of group {}", self.uid, self.gid)?;
        if self.on_host != self.uid {
            write!(f, " ({} on the host)", self.on_host)?;
        }
        Ok(())
    }
}

fn on_host(mappings: &[LinuxIdMapping], id: u32) -> u32 {
    let within = |mapping: &&LinuxIdMapping| {
        id.checked_sub(mapping.container_id()).is_some_and(|offset| offset < mapping.size())
    };
    match mappings.iter().find(within) {
        Some(mapping) => mapping.host_id().saturating_add(id - mapping.container_id()),
        None => id,
    }
}
