//! What config.json and the command line say about the container's cgroup, as the planner of cgroups asks for it.

use super::Options;
use crate::cgroup::{self, CgroupPlan};
use crate::host::Host;
use crate::rootless;
use bundle::Checked;
use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, Mount, Spec};
use std::path::Path;

/// Decides where the container's cgroup is and what is written to it.
pub(super) fn plan(
    checked: &Checked,
    host: &Host,
    options: &Options,
) -> Result<CgroupPlan, cgroup::Error> {
    let linux = checked.spec.linux().as_ref();
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    let pids = resources.and_then(|resources| resources.pids().as_ref());
    let request = cgroup::Request {
        id: &options.id,
        path: linux.and_then(|linux| linux.cgroups_path().as_deref()),
        resources,
        no_pids_limit: pids.is_some_and(|pids| pids.limit() == 0)
            && !cgroup::pids_limit_is_given(checked.text()),
        devices: linux.and_then(|linux| linux.devices().as_deref()).unwrap_or_default(),
        owner: owner(&checked.spec, host),
        annotations: checked.spec.annotations().as_ref(),
    };
    let options = cgroup::Options {
        manager: options.cgroup_manager,
        rootless: match options.rootless_cgroups {
            rootless::Cgroups::Auto => !host.privileged(),
            rootless::Cgroups::Lenient => true,
            rootless::Cgroups::Strict => false,
        },
        delegated: (!host.privileged()).then_some(&host.rootless.cgroups),
        systemd: host.systemd.as_ref(),
    };
    cgroup::plan(&request, &host.cgroup, &options)
}

/// The user of the host who is the container's process, if the container has a cgroup namespace of its own and its cgroups are
/// mounted in it for writing: config-linux.md, Cgroup ownership. `None` where that user has them anyway.
fn owner(spec: &Spec, host: &Host) -> Option<u32> {
    let linux = spec.linux().as_ref()?;
    let new = |kind| {
        let all = linux.namespaces().iter().flatten();
        let mut these = all.filter(|namespace| namespace.typ() == kind);
        these.any(|namespace| namespace.path().is_none())
    };
    let writable = |mount: &Mount| {
        let is = |option| mount.options().iter().flatten().any(|given| given == option);
        mount.destination() == Path::new("/sys/fs/cgroup")
            && matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2"))
            && !is("ro")
    };
    if !new(LinuxNamespaceType::Cgroup)
        || !new(LinuxNamespaceType::User)
        || !spec.mounts().iter().flatten().any(writable)
    {
        return None;
    }
    let user = spec.process().as_ref()?.user().uid();
    let outside = |map: &LinuxIdMapping| {
        let offset = user.checked_sub(map.container_id()).filter(|offset| *offset < map.size())?;
        map.host_id().checked_add(offset)
    };
    let owner = linux.uid_mappings().iter().flatten().find_map(outside)?;
    // A user can give nothing away, and root of a user namespace means the same ids as config.json.
    (owner != host.uid && host.administers()).then_some(owner)
}
