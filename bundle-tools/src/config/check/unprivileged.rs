//! What a caller without root's privileges cannot do (runc's rootless checks).

use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType as Type, Mount, Spec};

use super::ids::is_mapped;
use super::mounts::is_id_mapped;
use super::{Check, Report, Subject, elements};
use crate::config::error::Problem;

const CHECKS: &[Check] = &[user_namespace, mounts, net_devices];

/// What is wrong with a configuration for such a caller.
pub(in crate::config) fn unprivileged(spec: &Spec) -> Vec<Problem> {
    let mut report = Report::new("");
    for rule in CHECKS {
        rule(&Subject { spec }, &mut report);
    }
    report.problems
}

/// Everything else that a container is made of needs the privileges of one.
fn user_namespace(subject: &Subject<'_>, report: &mut Report) {
    if !subject.has(Type::User) {
        let message = "has no user namespace, without which only root can make a container";
        let hint = "the command `spec --rootless` writes a configuration that has one";
        report.add_with_hint("/linux/namespaces", message, hint);
    }
}

/// The kernel takes `uid=` and `gid=` as ids of the container, if it has them. Of a namespace that
/// is joined the mappings are not known here.
fn mounts(subject: &Subject<'_>, report: &mut Report) {
    let maps = subject.linux().filter(|_| subject.has_new(Type::User));
    let uids = maps.and_then(|linux| linux.uid_mappings().as_deref());
    let gids = maps.and_then(|linux| linux.gid_mappings().as_deref());
    for (index, mount) in elements(subject.spec.mounts()) {
        ids_in_options(mount, index, "uid=", uids, report);
        ids_in_options(mount, index, "gid=", gids, report);
        if is_id_mapped(mount) {
            let message = "only root can have the ids of a mount mapped";
            report.add(format!("/mounts/{index}"), message);
        }
    }
}

fn ids_in_options(
    mount: &Mount,
    index: usize,
    prefix: &str,
    map: Option<&[LinuxIdMapping]>,
    report: &mut Report,
) {
    let Some(map) = map else { return };
    for (at, option) in elements(mount.options()) {
        let id = option.strip_prefix(prefix).and_then(|id| id.parse().ok());
        if id.is_some_and(|id| !is_mapped(map, id)) {
            let message = format!("`{option}` is not an id of the container's user namespace");
            report.add(format!("/mounts/{index}/options/{at}"), message);
        }
    }
}

/// Moving a device takes privileges over the network namespace that it is in.
fn net_devices(subject: &Subject<'_>, report: &mut Report) {
    let devices = subject.linux().and_then(|linux| linux.net_devices().as_ref());
    if devices.is_some_and(|devices| !devices.is_empty()) {
        report.add("/linux/netDevices", "only root can move network devices");
    }
}
