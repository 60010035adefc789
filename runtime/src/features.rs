//! `nrun features`: what this binary can do (runtime-spec, "Features Structure").
//!
//! What has a table is read from it: the two cannot come to differ.

use crate::plan::hooks::Kind;
use bundle::config::mount_options;
use serde_json::Value;

/// What has no table: of lists that the kernel or the specification makes, those that are taken. Code that put it together would be five
/// times as long.
const TEXT: &[u8] = include_bytes!("features.json");

/// The structure as JSON. It says what is true of this binary on any kernel: what the kernel lacks, it refuses by name.
pub fn run() -> String {
    let mut features: Value = serde_json::from_slice(TEXT).expect("a text of this program's own");
    features["hooks"] = Kind::ALL.map(Kind::name).as_slice().into();
    features["mountOptions"] = mount_options::names().into();
    let annotations = &mut features["annotations"];
    annotations["run.oci.nrun.commit"] = crate::cli::commit().into();
    annotations["run.oci.nrun.version"] = env!("CARGO_PKG_VERSION").into();
    crate::state::to_json(&features) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::{Arch, Features};
    use serde_json::json;

    fn features() -> Value {
        serde_json::from_str(&run()).unwrap()
    }

    #[test]
    fn every_capability_is_listed_in_order() {
        let mut all: Vec<String> = caps::all().iter().map(ToString::to_string).collect();
        all.sort_unstable();
        assert_eq!(features()["linux"]["capabilities"], json!(all));
    }

    type Is = fn(&Value) -> bool;

    /// The names that must be there, and what they are: the specification's features.md and features-linux.md.
    const SHAPE: &[(&str, Is)] = &[
        ("/ociVersionMin", Value::is_string),
        ("/ociVersionMax", Value::is_string),
        ("/hooks", is_list_of_names),
        ("/mountOptions", is_list_of_names),
        ("/annotations", is_map_of_strings),
        ("/potentiallyUnsafeConfigAnnotations", is_list_of_names),
        ("/linux/namespaces", is_list_of_names),
        ("/linux/capabilities", is_list_of_names),
        ("/linux/cgroup/v1", Value::is_boolean),
        ("/linux/cgroup/v2", Value::is_boolean),
        ("/linux/cgroup/systemd", Value::is_boolean),
        ("/linux/cgroup/systemdUser", Value::is_boolean),
        ("/linux/cgroup/rdma", Value::is_boolean),
        ("/linux/seccomp/enabled", Value::is_boolean),
        ("/linux/seccomp/actions", is_list_of_names),
        ("/linux/seccomp/operators", is_list_of_names),
        ("/linux/seccomp/archs", is_list_of_names),
        ("/linux/seccomp/knownFlags", is_list_of_names),
        ("/linux/seccomp/supportedFlags", is_list_of_names),
        ("/linux/apparmor/enabled", Value::is_boolean),
        ("/linux/selinux/enabled", Value::is_boolean),
        ("/linux/intelRdt/enabled", Value::is_boolean),
        ("/linux/intelRdt/schemata", Value::is_boolean),
        ("/linux/intelRdt/monitoring", Value::is_boolean),
        ("/linux/memoryPolicy/modes", is_list_of_names),
        ("/linux/memoryPolicy/flags", is_list_of_names),
        ("/linux/mountExtensions/idmap/enabled", Value::is_boolean),
        ("/linux/netDevices/enabled", Value::is_boolean),
    ];

    fn is_list_of_names(value: &Value) -> bool {
        value.as_array().is_some_and(|list| list.iter().all(Value::is_string))
    }

    fn is_map_of_strings(value: &Value) -> bool {
        value.as_object().is_some_and(|map| map.values().all(Value::is_string))
    }

    #[test]
    fn the_structure_is_whole_and_has_nothing_that_the_specification_has_not() {
        let features = features();
        for (pointer, is_right) in SHAPE {
            let value = features.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}"));
            assert!(is_right(value), "{pointer}: {value}");
        }
        // A name that the types do not know would be lost on the way.
        let known: Features = serde_json::from_value(features.clone()).unwrap();
        assert_eq!(serde_json::to_value(known).unwrap(), features);
    }

    #[test]
    fn the_architectures_are_those_that_a_profile_may_list() {
        let features = features();
        let names = features["linux"]["seccomp"]["archs"].as_array().unwrap();
        for name in names {
            assert!(serde_json::from_value::<Arch>(name.clone()).is_ok(), "{name}");
        }
        assert!(names.iter().map(Value::as_str).is_sorted());
    }

    #[test]
    fn what_is_said_of_commands_and_annotations_is_true() {
        let features = features();
        assert!(crate::cli::COMMANDS.iter().any(|command| command.name == "checkpoint"));
        assert_eq!(features["annotations"]["run.oci.nrun.checkpoint.enabled"], "true");
        let unsafe_ones = features["potentiallyUnsafeConfigAnnotations"].as_array().unwrap();
        assert!(unsafe_ones.contains(&json!(crate::checkpoint::CRIU_CONFIG)));
    }
}
