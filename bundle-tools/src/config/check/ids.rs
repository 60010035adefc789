//! The user namespace's mappings, and that the process's own ids are in them.

use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType as Type};

use super::{Check, Report, Subject, elements};

pub(super) const CHECKS: &[Check] = &[user_namespace_mappings, process_ids];

/// The kernel's limit for one map (user_namespaces(7)).
const MAX_MAPPINGS: usize = 340;

/// A new user namespace needs mappings, mappings need a user namespace (runc). Mappings beside the
/// path of one to join are taken, as containerd and CRI-O write them; that they are those of that
/// namespace can be seen on the host only.
fn user_namespace_mappings(subject: &Subject<'_>, report: &mut Report) {
    let Some(linux) = subject.linux() else { return };
    let lists = [("uidMappings", linux.uid_mappings()), ("gidMappings", linux.gid_mappings())];
    for (name, list) in lists {
        let pointer = format!("/linux/{name}");
        let list = list.as_deref().unwrap_or_default();
        if list.is_empty() {
            if subject.has_new(Type::User) {
                report.add(pointer, "is missing: a new user namespace needs mappings");
            }
            continue;
        }
        if !subject.has(Type::User) {
            let hint = "add `{\"type\": \"user\"}` to /linux/namespaces";
            report.add_with_hint(&pointer, "cannot be set without a user namespace", hint);
        }
        mappings(list, &pointer, report);
    }
}

/// What the kernel refuses in an id map (user_namespaces(7), "defining user and group ID
/// mappings"): too many entries, empty ranges, ranges past the last id or that overlap.
pub(super) fn mappings(list: &[LinuxIdMapping], pointer: &str, report: &mut Report) {
    mappings_at(list, pointer, &|index, name| format!("{pointer}/{index}/{name}"), report);
}

/// The same, of a list that is not written as one: `place` says where a member of an entry is.
pub(super) fn mappings_at(
    list: &[LinuxIdMapping],
    pointer: &str,
    place: &dyn Fn(usize, &str) -> String,
    report: &mut Report,
) {
    if list.len() > MAX_MAPPINGS {
        let message = format!("has {} entries; the kernel takes {MAX_MAPPINGS}", list.len());
        report.add(pointer, message);
        return;
    }
    for (index, mapping) in list.iter().enumerate() {
        if mapping.size() == 0 {
            report.add(place(index, "size"), "must not be 0");
        }
    }
    ranges(list, "containerID", LinuxIdMapping::container_id, place, report);
    ranges(list, "hostID", LinuxIdMapping::host_id, place, report);
}

fn ranges(
    list: &[LinuxIdMapping],
    name: &str,
    start: fn(&LinuxIdMapping) -> u32,
    place: &dyn Fn(usize, &str) -> String,
    report: &mut Report,
) {
    let end = |mapping| u64::from(start(mapping)) + u64::from(LinuxIdMapping::size(mapping));
    let mut order: Vec<usize> = (0..list.len()).filter(|index| list[*index].size() > 0).collect();
    order.sort_by_key(|index| start(&list[*index]));
    for index in &order {
        // The last id, 2^32 - 1, means "no id".
        if end(&list[*index]) > u64::from(u32::MAX) {
            let message = "the range goes past the last id, 4294967294".to_owned();
            report.add(place(*index, name), message);
        }
    }
    for pair in order.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        if end(&list[before]) > u64::from(start(&list[after])) {
            let (first, second) = (before.min(after), before.max(after));
            let message = format!("the range overlaps that of entry {first}");
            report.add(place(second, name), message);
        }
    }
}

/// The process cannot take an id that its user namespace does not have (runc: "cannot set uid to
/// unmapped user in user namespace").
fn process_ids(subject: &Subject<'_>, report: &mut Report) {
    let (Some(linux), Some(process)) = (subject.linux(), subject.spec.process()) else { return };
    if !subject.has_new(Type::User) {
        return;
    }
    let user = process.user();
    let uids = linux.uid_mappings().as_deref().unwrap_or_default();
    if !uids.is_empty() && !is_mapped(uids, user.uid()) {
        report.add("/process/user/uid", not_mapped("uid", user.uid()));
    }
    let gids = linux.gid_mappings().as_deref().unwrap_or_default();
    if gids.is_empty() {
        return;
    }
    if !is_mapped(gids, user.gid()) {
        report.add("/process/user/gid", not_mapped("gid", user.gid()));
    }
    for (index, gid) in elements(user.additional_gids()) {
        if !is_mapped(gids, *gid) {
            let pointer = format!("/process/user/additionalGids/{index}");
            report.add(pointer, not_mapped("gid", *gid));
        }
    }
}

fn not_mapped(kind: &str, id: u32) -> String {
    format!("{kind} {id} is not in /linux/{kind}Mappings")
}

/// Whether an id of the container has one on the host.
pub(super) fn is_mapped(list: &[LinuxIdMapping], id: u32) -> bool {
    let inside = |mapping: &LinuxIdMapping| {
        id.checked_sub(mapping.container_id()).is_some_and(|offset| offset < mapping.size())
    };
    list.iter().any(inside)
}
