//! Id mappings of a new user namespace.

use super::Error;
use crate::host::Host;
use oci_spec::runtime::{Linux, LinuxIdMapping};
use std::path::PathBuf;

/// What the parent writes for the child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMaps {
    /// Of users.
    pub uid: IdMap,
    /// Of groups.
    pub gid: IdMap,
    /// Write `deny` to /proc/PID/setgroups first: what an unprivileged writer of gid_map must do (user_namespaces(7)).
    pub deny_setgroups: bool,
}

/// One mapping and who writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMap {
    /// Contents of /proc/PID/uid_map or gid_map: lines of `inside outside count`.
    pub lines: String,
    /// The program that has the privilege to write it, where we do not: `newuidmap` or `newgidmap`.
    pub tool: Option<PathBuf>,
}

/// The mappings of a mount: from ids in the file system to ids on the host. The writer is privileged.
pub fn of_mount(uid: &[LinuxIdMapping], gid: &[LinuxIdMapping]) -> IdMaps {
    let map = |mappings| IdMap { lines: lines(mappings, 0), tool: None };
    IdMaps { uid: map(uid), gid: map(gid), deny_setgroups: false }
}

/// Whether a user needs help with the mappings of config.json.
pub fn maps_more_than_one(linux: &Linux) -> bool {
    let more = |list: &Option<Vec<LinuxIdMapping>>| match list.as_deref().unwrap_or_default() {
        [] => false,
        [only] => only.size() != 1,
        _ => true,
    };
    more(linux.uid_mappings()) || more(linux.gid_mappings())
}

/// The mappings of config.json. A user may map itself, to any one id; for more there are programs with the privilege, which look into
/// /etc/subuid and /etc/subgid.
///
/// # Errors
/// When such a program is needed and not there.
pub fn plan(linux: &Linux, host: &Host) -> Result<IdMaps, Error> {
    let (uids, gids) = (linux.uid_mappings().as_deref(), linux.gid_mappings().as_deref());
    let (uids, gids) = (uids.unwrap_or_default(), gids.unwrap_or_default());
    let rootless = &host.rootless;
    let uid_tool = tool(uids, host.uid, host, rootless.newuidmap.as_ref())
        .map_err(|()| needs("uid", "newuidmap"))?;
    let gid_tool = tool(gids, host.gid, host, rootless.newgidmap.as_ref())
        .map_err(|()| needs("gid", "newgidmap"))?;
    Ok(IdMaps {
        // newgidmap decides itself, from whose groups are mapped.
        deny_setgroups: !host.administers() && gid_tool.is_none(),
        uid: IdMap { lines: lines(uids, host.uid), tool: uid_tool },
        gid: IdMap { lines: lines(gids, host.gid), tool: gid_tool },
    })
}

/// The program that writes a mapping, none where we may do it.
fn tool(
    mappings: &[LinuxIdMapping],
    own: u32,
    host: &Host,
    found: Option<&PathBuf>,
) -> Result<Option<PathBuf>, ()> {
    let itself = match mappings {
        [] => true,
        [only] => only.size() == 1 && only.host_id() == own,
        _ => false,
    };
    if host.administers() || itself {
        return Ok(None);
    }
    found.cloned().map(Some).ok_or(())
}

fn needs(kind: &str, name: &str) -> Error {
    Error::new(
        format!("/linux/{kind}Mappings"),
        format!(
            "an ordinary user may map no other {kind} than its own: more of them take `{name}` (package uidmap), which is not in PATH"
        ),
    )
}

/// Where there are no mappings, the caller is root: what every rootless engine writes.
fn lines(mappings: &[LinuxIdMapping], own: u32) -> String {
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
    use crate::rootless::Facts;

    fn linux(json: &str) -> Linux {
        serde_json::from_str(json).unwrap()
    }

    const TWO: &str = r#"{"uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}, {"containerID": 1, "hostID": 100000, "size": 65536}],
        "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}]}"#;
    const ITSELF: &str = r#"{"uidMappings": [{"containerID": 5, "hostID": 1000, "size": 1}],
        "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}]}"#;

    fn user(newuidmap: Option<&str>) -> Host {
        let rootless = Facts { newuidmap: newuidmap.map(PathBuf::from), ..Facts::default() };
        Host { uid: 1000, gid: 1000, capabilities: 0, rootless, ..Host::for_tests() }
    }

    #[test]
    fn ranges_are_written_in_the_kernels_form() {
        let planned = plan(&linux(TWO), &Host::for_tests()).unwrap();
        assert_eq!(planned.uid.lines, "0 1000 1\n1 100000 65536\n");
        assert_eq!(planned.gid.lines, "0 1000 1\n");
        assert!(!planned.deny_setgroups);
        assert_eq!((planned.uid.tool, planned.gid.tool), (None, None), "root needs no help");
    }

    #[test]
    fn a_user_maps_itself_and_denies_setgroups_before() {
        let planned = plan(&linux(ITSELF), &user(None)).unwrap();
        assert!(planned.deny_setgroups);
        assert_eq!(planned.uid, IdMap { lines: "5 1000 1\n".into(), tool: None });
        assert!(!maps_more_than_one(&linux(ITSELF)));
    }

    #[test]
    fn more_than_itself_takes_the_program_for_it() {
        let planned = plan(&linux(TWO), &user(Some("/usr/bin/newuidmap"))).unwrap();
        assert_eq!(planned.uid.tool, Some(PathBuf::from("/usr/bin/newuidmap")));
        assert_eq!(planned.gid.tool, None, "one group, its own");
        assert!(maps_more_than_one(&linux(TWO)));
        let error = plan(&linux(TWO), &user(None)).unwrap_err();
        assert_eq!(error.pointer, "/linux/uidMappings");
        assert!(error.message.contains("`newuidmap`"), "{error}");
    }

    #[test]
    fn one_that_is_not_its_own_takes_the_program_too() {
        let other = linux(&ITSELF.replacen("1000", "1001", 1));
        let error = plan(&other, &user(None)).unwrap_err();
        assert_eq!(error.pointer, "/linux/uidMappings");
        let planned = plan(&other, &user(Some("/usr/bin/newuidmap"))).unwrap();
        assert_eq!(planned.uid.tool, Some(PathBuf::from("/usr/bin/newuidmap")));
    }

    #[test]
    fn root_of_a_user_namespace_writes_what_it_has_itself() {
        let host = Host { in_user_namespace: true, ..Host::for_tests() };
        assert!(!host.privileged());
        let planned = plan(&linux(TWO), &host).unwrap();
        assert_eq!((planned.uid.tool, planned.deny_setgroups), (None, false));
    }
}
