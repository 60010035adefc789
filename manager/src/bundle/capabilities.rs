//! Which capabilities a container has.

use crate::container::HostConfig;
use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities};

/// Docker's fourteen.
const DEFAULT: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::Mknod,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
    Capability::AuditWrite,
];

/// Docker's rules: `--privileged` gives all, `--cap-drop ALL` leaves those that are added, and a capability that is both
/// added and dropped is there. All are those that `available` has, for nobody gives what he has not.
pub(super) fn plan(config: &HostConfig, available: &Capabilities) -> Capabilities {
    let named = |list: &[String]| -> Capabilities {
        let parse = |name: &String| name.strip_prefix("CAP_").and_then(|name| name.parse().ok());
        list.iter().filter_map(parse).collect()
    };
    let has_all = |list: &[String]| list.iter().any(|name| name == "ALL");
    if config.privileged {
        return available.clone();
    }
    let (added, dropped) = (named(&config.cap_add), named(&config.cap_drop));
    match (has_all(&config.cap_add), has_all(&config.cap_drop)) {
        (true, _) => available.difference(&dropped).copied().collect(),
        (false, true) => added,
        (false, false) => {
            DEFAULT.into_iter().filter(|name| !dropped.contains(name)).chain(added).collect()
        }
    }
}

/// The sets of a process: the inheritable and the ambient one stay empty (CVE-2022-24769).
pub(super) fn sets(set: &Capabilities) -> LinuxCapabilities {
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(set.clone()));
    sets.set_effective(Some(set.clone()));
    sets.set_permitted(Some(set.clone()));
    sets.set_inheritable(Some(Capabilities::new()));
    sets.set_ambient(Some(Capabilities::new()));
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(privileged: bool, add: &[&str], drop: &[&str]) -> Vec<String> {
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let config = HostConfig {
            privileged,
            cap_add: list(add),
            cap_drop: list(drop),
            ..HostConfig::default()
        };
        let available = Capabilities::from([Capability::Chown, Capability::SysAdmin]);
        let mut names: Vec<String> =
            plan(&config, &available).iter().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn capabilities_are_added_and_dropped_as_in_docker() {
        assert_eq!(planned(false, &[], &[]).len(), 14);
        assert_eq!(planned(true, &[], &["ALL"]).len(), 2);
        assert_eq!(planned(false, &["CAP_SYS_ADMIN"], &[]).len(), 15);
        assert_eq!(planned(false, &[], &["CAP_CHOWN", "CAP_KILL"]).len(), 12);
        assert_eq!(planned(false, &["CAP_SYS_ADMIN"], &["ALL"]).len(), 1);
        assert_eq!(planned(false, &["ALL"], &["CAP_CHOWN"]).len(), 1);
        assert_eq!(planned(false, &["CAP_CHOWN"], &["CAP_CHOWN"]).len(), 14);
    }
}
