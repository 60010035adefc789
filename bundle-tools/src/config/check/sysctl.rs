//! Kernel parameters: only those that belong to a namespace of the container.

use oci_spec::runtime::LinuxNamespaceType as Type;

use super::{Check, Report, Subject, is_file_name, member};

pub(super) const CHECKS: &[Check] = &[sysctls];

/// Parameters of the IPC namespace (ipc_namespaces(7)); `fs.mqueue.` is beside them.
const IPC: [&str; 8] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

/// The path of a kernel parameter below `/proc/sys`, or `None` if the name cannot be one.
///
/// As in sysctl(8) either `.` or `/` separates; whichever comes first does, and the other is part
/// of a name: `net.ipv4.conf.eno2/100.rp_filter` and `net/ipv4/conf/eno2.100/rp_filter` are the
/// same. No part of the path is `.` or `..`, so that it stays below the directory of its prefix.
pub fn sysctl_path(name: &str) -> Option<String> {
    let swapped = |character| match character {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let path: String = match name.find(['.', '/']).map(|at| name.as_bytes()[at]) {
        Some(b'/') => name.to_owned(),
        _ => name.chars().map(swapped).collect(),
    };
    path.split('/').all(is_file_name).then_some(path)
}

/// A parameter may be set if it is one of a namespace that the container has (runc's list): all
/// others would be set for the host. That a network namespace to join is not the host's own can be
/// seen on the host only.
fn sysctls(subject: &Subject<'_>, report: &mut Report) {
    let Some(sysctls) = subject.linux().and_then(|linux| linux.sysctl().as_ref()) else { return };
    for name in sysctls.keys() {
        if let Some(message) = refusal(subject, name) {
            report.add(member("/linux/sysctl", name), message);
        }
    }
}

fn refusal(subject: &Subject<'_>, name: &str) -> Option<String> {
    let Some(path) = sysctl_path(name) else {
        return Some(format!("`{name}` is not the name of a kernel parameter"));
    };
    let needs = |typ, label: &str| {
        let message =
            format!("sysctl `{name}` cannot be set without a namespace of type `{label}`");
        (!subject.has(typ)).then_some(message)
    };
    match path.split('/').next() {
        Some("net") => return needs(Type::Network, "network"),
        Some("user") => return needs(Type::User, "user"),
        _ => {}
    }
    if IPC.contains(&path.as_str()) || path.starts_with("fs/mqueue/") {
        return needs(Type::Ipc, "ipc");
    }
    match path.as_str() {
        "kernel/domainname" => needs(Type::Uts, "uts"),
        "kernel/hostname" if subject.has(Type::Uts) => {
            Some(format!("sysctl `{name}` conflicts with the field `hostname`"))
        }
        _ => Some(format!("sysctl `{name}` is not in a separate kernel namespace")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_separator_leads_to_the_same_path() {
        let path = "net/ipv4/conf/eno2.100/rp_filter";
        assert_eq!(sysctl_path("net.ipv4.conf.eno2/100.rp_filter").as_deref(), Some(path));
        assert_eq!(sysctl_path(path).as_deref(), Some(path));
        assert_eq!(sysctl_path("kernel.sem").as_deref(), Some("kernel/sem"));
    }

    #[test]
    fn no_name_leads_out_of_the_directory_of_its_prefix() {
        let names =
            ["net/../kernel/core_pattern", "net.//.kernel.core_pattern", "net./.x", "net/./x"];
        for name in names.into_iter().chain(["", ".", "/", "/net", "net.", "net//x", "net..x"]) {
            assert_eq!(sysctl_path(name), None, "{name}");
        }
    }
}
