//! Id mappings of a new user namespace.

use crate::host::Host;
use oci_spec::runtime::LinuxIdMapping;

/// What the parent writes for the child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMaps {
    /// Contents of /proc/PID/uid_map: lines of `inside outside count`.
    pub uid: String,
    /// Contents of /proc/PID/gid_map.
    pub gid: String,
    /// Write `deny` to /proc/PID/setgroups first: what an unprivileged writer of gid_map must do (user_namespaces(7)).
    pub deny_setgroups: bool,
}

/// The mappings of config.json. Where it has none, a rootless caller is mapped to root: what every rootless engine writes.
pub fn plan(uid: Option<&[LinuxIdMapping]>, gid: Option<&[LinuxIdMapping]>, host: &Host) -> IdMaps {
    IdMaps {
        uid: lines(uid, host.uid),
        gid: lines(gid, host.gid),
        deny_setgroups: !host.privileged(),
    }
}

/// The mappings of a mount: from ids in the file system to ids on the host. The writer is privileged.
pub fn of_mount(uid: Option<&[LinuxIdMapping]>, gid: Option<&[LinuxIdMapping]>) -> IdMaps {
    IdMaps { uid: lines(uid, 0), gid: lines(gid, 0), deny_setgroups: false }
}

fn lines(mappings: Option<&[LinuxIdMapping]>, own: u32) -> String {
    let mappings = mappings.unwrap_or_default();
    if mappings.is_empty() {
        return format!("0 {own} 1\n");
    }
    let line =
        |map: &LinuxIdMapping| format!("{} {} {}\n", map.container_id(), map.host_id(), map.size());
    mappings.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_written_in_the_kernels_form() {
        let maps: Vec<LinuxIdMapping> =
            serde_json::from_str(r#"[{"containerID": 0, "hostID": 1000, "size": 1}, {"containerID": 1, "hostID": 100000, "size": 65536}]"#)
                .unwrap();
        let planned = plan(Some(&maps), None, &Host::for_tests());
        assert_eq!(planned.uid, "0 1000 1\n1 100000 65536\n");
        assert_eq!(planned.gid, "0 0 1\n");
        assert!(!planned.deny_setgroups);
    }

    #[test]
    fn without_privilege_setgroups_is_denied_before_the_mapping() {
        let host = Host { uid: 1000, gid: 1000, capabilities: 0, ..Host::for_tests() };
        assert!(plan(None, None, &host).deny_setgroups);
        assert_eq!(plan(None, None, &host).uid, "0 1000 1\n");
    }
}
