//! Namespaces, and the settings that would change the host without one of their own.

use std::collections::HashMap;

use oci_spec::runtime::LinuxNamespaceType as Type;
use oci_spec::runtime::Root;

use super::{Check, Report, Subject, elements, joined_path, member};

pub(super) const CHECKS: &[Check] = &[
    namespaces,
    host_names,
    mount_namespace,
    restricted_paths,
    propagation,
    time_offsets,
    net_devices,
];

/// "This value MUST be an absolute path"; "if a `namespaces` field contains duplicated namespaces
/// with same `type`, the runtime MUST generate an error" (config-linux.md, namespaces).
fn namespaces(subject: &Subject<'_>, report: &mut Report) {
    let Some(list) = subject.linux().and_then(|linux| linux.namespaces().as_deref()) else {
        return;
    };
    for (index, namespace) in list.iter().enumerate() {
        if list[..index].iter().any(|other| other.typ() == namespace.typ()) {
            let message = format!("namespace `{}` is given more than once", name(namespace.typ()));
            report.add(format!("/linux/namespaces/{index}/type"), message);
        }
        if let Some(path) = joined_path(namespace).filter(|path| !path.is_absolute()) {
            let message = format!("must be an absolute path, not `{}`", path.display());
            report.add(format!("/linux/namespaces/{index}/path"), message);
        }
    }
}

/// The specification's name of a type; its `Display` is that of a file in `/proc/self/ns`.
fn name(typ: Type) -> &'static str {
    match typ {
        Type::Mount => "mount",
        Type::Cgroup => "cgroup",
        Type::Uts => "uts",
        Type::Ipc => "ipc",
        Type::User => "user",
        Type::Pid => "pid",
        Type::Network => "network",
        Type::Time => "time",
    }
}

/// Without a UTS namespace these would rename the host (runc refuses). The kernel takes 64 bytes.
fn host_names(subject: &Subject<'_>, report: &mut Report) {
    let names = [
        ("/hostname", subject.spec.hostname().as_deref()),
        ("/domainname", subject.spec.domainname().as_deref()),
    ];
    for (pointer, name) in names {
        let Some(name) = name.filter(|name| !name.is_empty()) else { continue };
        if !subject.has(Type::Uts) {
            let hint = "add `{\"type\": \"uts\"}` to /linux/namespaces";
            report.add_with_hint(pointer, "cannot be set without a uts namespace", hint);
        }
        if name.len() > 64 {
            report.add(pointer, format!("is longer than 64 bytes: {}", name.len()));
        }
    }
}

/// Without a mount namespace, mounts would be made on the host. (runc leaves them out without a
/// word, and the container runs in the host's root.)
fn mount_namespace(subject: &Subject<'_>, report: &mut Report) {
    if subject.has(Type::Mount) {
        return;
    }
    let hint = "add `{\"type\": \"mount\"}` to /linux/namespaces";
    if subject.spec.mounts().as_ref().is_some_and(|mounts| !mounts.is_empty()) {
        report.add_with_hint("/mounts", "cannot be made without a mount namespace", hint);
    }
    if subject.spec.root().as_ref().and_then(Root::readonly) == Some(true) {
        report.add_with_hint("/root/readonly", "needs a mount namespace", hint);
    }
}

/// "The values MUST be absolute paths" (config-linux.md, masked and read-only paths): a relative
/// one would be looked up somewhere else, not be found, and silently not be restricted. Needs a
/// mount namespace, as in runc.
fn restricted_paths(subject: &Subject<'_>, report: &mut Report) {
    let Some(linux) = subject.linux() else { return };
    let lists = [("maskedPaths", linux.masked_paths()), ("readonlyPaths", linux.readonly_paths())];
    for (name, list) in lists {
        for (index, path) in elements(list).filter(|(_, path)| !path.starts_with('/')) {
            let message = format!("must be an absolute path, not `{path}`");
            report.add(format!("/linux/{name}/{index}"), message);
        }
        let given = list.as_ref().is_some_and(|list| !list.is_empty());
        if given && !subject.has(Type::Mount) {
            report.add(format!("/linux/{name}"), "cannot be applied without a mount namespace");
        }
    }
}

/// "Its value is either `shared`, `slave`, `private` or `unbindable`" (config-linux.md); runc
/// also takes each of them recursive.
fn propagation(subject: &Subject<'_>, report: &mut Report) {
    let Some(value) = subject.linux().and_then(|linux| linux.rootfs_propagation().as_deref())
    else {
        return;
    };
    let kind = value.strip_prefix('r').unwrap_or(value);
    if !matches!(kind, "" | "shared" | "slave" | "private" | "unbindable") || value == "r" {
        let message = format!(
            "`{value}` is not one of `shared`, `slave`, `private`, `unbindable`, or one of these \
             with an `r` in front"
        );
        report.add("/linux/rootfsPropagation", message);
    }
}

/// Offsets are for a new time namespace (runc), and for the two clocks that time_namespaces(7)
/// names.
fn time_offsets(subject: &Subject<'_>, report: &mut Report) {
    let offsets = subject.linux().and_then(|linux| linux.time_offsets().as_ref());
    let Some(offsets) = offsets.filter(|offsets| !offsets.is_empty()) else { return };
    const POINTER: &str = "/linux/timeOffsets";
    if !subject.has(Type::Time) {
        report.add(POINTER, "cannot be set without a time namespace");
    } else if !subject.has_new(Type::Time) {
        report.add(POINTER, "cannot be set for a time namespace that is joined by its path");
    }
    for (clock, offset) in offsets {
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            let message = format!("clock `{clock}` is neither `monotonic` nor `boottime`");
            report.add(member(POINTER, clock), message);
        }
        if let Some(nanosecs) = offset.nanosecs().filter(|nanosecs| *nanosecs >= 1_000_000_000) {
            let pointer = member(&member(POINTER, clock), "nanosecs");
            report.add(pointer, format!("must be below 1000000000, not {nanosecs}"));
        }
    }
}

/// Devices are moved into a network namespace (runc), under names that the kernel takes.
fn net_devices(subject: &Subject<'_>, report: &mut Report) {
    let devices = subject.linux().and_then(|linux| linux.net_devices().as_ref());
    let Some(devices) = devices.filter(|devices| !devices.is_empty()) else { return };
    const POINTER: &str = "/linux/netDevices";
    if !subject.has(Type::Network) {
        report.add(POINTER, "cannot be moved without a network namespace");
    }
    let mut names = HashMap::new();
    // A map has no order, and the finding is to be at the same place each time.
    let mut host_names: Vec<&String> = devices.keys().collect();
    host_names.sort_unstable();
    for host_name in host_names {
        let device = &devices[host_name];
        let pointer = member(POINTER, host_name);
        if !is_device_name(host_name) {
            report.add(&pointer, format!("`{host_name}` is not a name of a network device"));
        }
        if let Some(name) = device.name().as_deref().filter(|name| !name.is_empty())
            && !(is_device_name(name) && is_template(name))
        {
            let message = format!("`{name}` is not a name for a network device");
            report.add(member(&pointer, "name"), message);
        }
        let name = device.name().as_ref().filter(|name| !name.is_empty()).unwrap_or(host_name);
        if !name.contains("%d") && names.insert(name, host_name).is_some() {
            report.add(&pointer, format!("another device gets the name `{name}` too"));
        }
    }
}

/// "The user has provided a template by appending `%d`": one, and nothing else that begins with `%` (dev_alloc_name in the
/// kernel's net/core/dev.c). A name without is no template and fine.
fn is_template(name: &str) -> bool {
    !name.replacen("%d", "", 1).contains('%')
}

/// `dev_valid_name` in the kernel's net/core/dev.c: at most 15 bytes, without `/`, `:` or a space.
pub(super) fn is_device_name(name: &str) -> bool {
    let bad = |byte: u8| byte == b'/' || byte == b':' || byte.is_ascii_whitespace();
    !matches!(name, "" | "." | "..") && name.len() < 16 && !name.bytes().any(bad)
}
