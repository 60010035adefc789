//! The configuration to start from: what `runc spec` writes, with a few differences.
//!
//! - `ociVersion` is that of the specification implemented here.
//! - The host name is `nrun`.
//! - No ambient capabilities: without inheritable ones, which runc left out for CVE-2022-29162,
//!   they cannot be raised. Later versions of runc leave them out as well.
//! - `/sys/devices/virtual/powercap` is masked: what it tells about power is enough to read keys
//!   from another process (GHSA-7ww5-4wqc-m92c).

use std::path::Path;

use oci_spec::runtime::{
    LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespace, LinuxNamespaceType, Mount, Spec,
};
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

/// As one would write it by hand; `generate` and everything made from it starts here.
const CONFIG: &str = include_str!("generate/config.json");

/// What the configuration is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The ids of a caller without root's privileges, who is to be root in the container.
    pub rootless: Option<(u32, u32)>,
    /// Whether the container gets a cgroup namespace. runc gives one where the host has cgroup v2
    /// alone.
    pub cgroup_namespace: bool,
}

/// The configuration of a container that runs `sh` in `rootfs`.
///
/// # Panics
/// Never: the text that is built in is a configuration, as a test makes sure.
pub fn spec(options: Options) -> Spec {
    let mut spec: Spec = serde_json::from_str(CONFIG).expect("the built-in text is a Spec");
    if options.cgroup_namespace {
        add_namespace(&mut spec, LinuxNamespaceType::Cgroup);
    }
    if let Some((uid, gid)) = options.rootless {
        make_rootless(&mut spec, uid, gid);
    }
    spec
}

/// Takes out what only root may do: network and device settings, other ids than the caller's own,
/// and a sysfs of its own, which the kernel gives only with a network namespace.
fn make_rootless(spec: &mut Spec, uid: u32, gid: u32) {
    if let Some(linux) = spec.linux_mut() {
        linux.set_resources(None);
        linux.set_uid_mappings(Some(vec![to_root(uid)]));
        linux.set_gid_mappings(Some(vec![to_root(gid)]));
        let namespaces = linux.namespaces_mut().get_or_insert_default();
        namespaces.retain(|namespace| namespace.typ() != LinuxNamespaceType::Network);
    }
    add_namespace(spec, LinuxNamespaceType::User);
    for mount in spec.mounts_mut().iter_mut().flatten() {
        if mount.destination() == Path::new("/sys") {
            *mount = host_sysfs(mount);
        }
        if let Some(options) = mount.options_mut() {
            options.retain(|option| !option.starts_with("uid=") && !option.starts_with("gid="));
        }
    }
}

fn add_namespace(spec: &mut Spec, typ: LinuxNamespaceType) {
    let mut namespace = LinuxNamespace::default();
    namespace.set_typ(typ);
    if let Some(linux) = spec.linux_mut() {
        linux.namespaces_mut().get_or_insert_default().push(namespace);
    }
}

fn to_root(id: u32) -> LinuxIdMapping {
    let mapping = LinuxIdMappingBuilder::default().container_id(0_u32).host_id(id).size(1_u32);
    mapping.build().expect("every field has a default")
}

fn host_sysfs(sysfs: &Mount) -> Mount {
    let mut mount = sysfs.clone();
    mount.set_typ(Some("none".to_owned()));
    mount.set_source(Some("/sys".into()));
    mount.options_mut().get_or_insert_default().insert(0, "rbind".to_owned());
    mount
}

/// The configuration as text, in the order of the specification and indented by tabs, as runc
/// writes it; the same text for equal configurations.
///
/// # Panics
/// Never: all keys of a configuration are strings.
pub fn to_json(spec: &Spec) -> String {
    let mut value = serde_json::to_value(spec).expect("a Spec has string keys only");
    reorder(&mut value, &["ociVersion", "process", "root", "hostname", "domainname", "mounts"]);
    for list in ["/linux/uidMappings", "/linux/gidMappings"] {
        for mapping in value.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            reorder(mapping, &["containerID", "hostID", "size"]);
        }
    }
    let sets = value.pointer_mut("/process/capabilities").and_then(Value::as_object_mut);
    for set in sets.into_iter().flat_map(|sets| sets.values_mut()) {
        // They come out of a hash set.
        let mut names: Vec<String> = serde_json::from_value(set.take()).unwrap_or_default();
        names.sort_unstable();
        *set = names.into();
    }
    let mut text = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"\t");
    let mut serializer = Serializer::with_formatter(&mut text, formatter);
    value.serialize(&mut serializer).expect("a value is written to memory");
    String::from_utf8(text).expect("JSON is UTF-8")
}

/// Puts the members that are named first, in that order.
fn reorder(value: &mut Value, first: &[&str]) {
    let Some(object) = value.as_object_mut() else { return };
    let mut rest = std::mem::take(object);
    for name in first {
        if let Some(value) = rest.shift_remove(*name) {
            object.insert((*name).to_owned(), value);
        }
    }
    object.append(&mut rest);
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What `runc spec` writes, or nothing, loudly, where there is no runc of a version known.
    fn runc_spec(arguments: &[&str]) -> Option<String> {
        let version = Command::new("runc").arg("--version").output().ok()?;
        if !String::from_utf8_lossy(&version.stdout).starts_with("runc version 1.1.") {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("runc");
        let status = command.arg("spec").args(arguments).current_dir(&directory).status().unwrap();
        assert!(status.success());
        Some(std::fs::read_to_string(directory.path().join("config.json")).unwrap())
    }

    /// Makes the differences that the module's documentation lists.
    fn with_differences(runc: &str) -> String {
        let ambient = "\
,
\t\t\t\"ambient\": [
\t\t\t\t\"CAP_AUDIT_WRITE\",
\t\t\t\t\"CAP_KILL\",
\t\t\t\t\"CAP_NET_BIND_SERVICE\"
\t\t\t]";
        let firmware = "\t\t\t\"/sys/firmware\",\n";
        let powercap = "\t\t\t\"/sys/devices/virtual/powercap\",\n";
        let changes = [
            ("\"ociVersion\": \"1.0.2-dev\"", "\"ociVersion\": \"1.3.0\"".to_owned()),
            ("\"hostname\": \"runc\"", "\"hostname\": \"nrun\"".to_owned()),
            (ambient, String::new()),
            (firmware, format!("{firmware}{powercap}")),
        ];
        changes.iter().fold(runc.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "runc wrote no {from}: {text}");
            text.replace(from, to)
        })
    }

    fn cgroup_namespace_in(text: &str) -> bool {
        text.contains("\"type\": \"cgroup\"\n")
    }

    #[test]
    fn it_is_byte_for_byte_what_runc_writes_but_for_the_listed_differences() {
        let Some(runc) = runc_spec(&[]) else {
            eprintln!("SKIPPED: there is no runc 1.1 to compare with");
            return;
        };
        let cgroup_namespace = cgroup_namespace_in(&runc);
        let ours = to_json(&spec(Options { rootless: None, cgroup_namespace }));
        assert_eq!(ours, with_differences(&runc));
    }

    #[test]
    fn rootless_is_byte_for_byte_what_runc_writes_but_for_the_listed_differences() {
        let Some(runc) = runc_spec(&["--rootless"]) else {
            eprintln!("SKIPPED: there is no runc 1.1 to compare with");
            return;
        };
        let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let cgroup_namespace = cgroup_namespace_in(&runc);
        let ours = to_json(&spec(Options { rootless: Some(ids), cgroup_namespace }));
        assert_eq!(ours, with_differences(&runc));
    }

    #[test]
    fn the_text_is_the_same_each_time_and_reads_back_as_the_same_configuration() {
        for rootless in [None, Some((1000, 100))] {
            let spec = spec(Options { rootless, cgroup_namespace: true });
            let text = to_json(&spec);
            assert_eq!(text, to_json(&spec.clone()));
            assert_eq!(serde_json::from_str::<Spec>(&text).unwrap(), spec);
        }
    }

    #[test]
    fn rootless_maps_the_caller_to_root() {
        let spec = spec(Options { rootless: Some((1000, 100)), cgroup_namespace: false });
        let linux = spec.linux().as_ref().unwrap();
        let uids = linux.uid_mappings().as_ref().unwrap();
        let gids = linux.gid_mappings().as_ref().unwrap();
        assert_eq!((uids[0].container_id(), uids[0].host_id(), uids[0].size()), (0, 1000, 1));
        assert_eq!((gids[0].container_id(), gids[0].host_id(), gids[0].size()), (0, 100, 1));
    }

    #[test]
    fn a_cgroup_namespace_is_given_on_request() {
        for cgroup_namespace in [false, true] {
            let text = to_json(&spec(Options { rootless: None, cgroup_namespace }));
            assert_eq!(cgroup_namespace_in(&text), cgroup_namespace);
        }
    }
}
