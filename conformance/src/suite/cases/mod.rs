//! The cases, a file for each part of the specification.

mod attributes;
mod cgroup_place;
mod cgroups;
mod checkpoint;
mod command_line;
mod descriptors;
mod devices;
mod exec;
mod files;
mod hooks;
mod labels;
mod lifecycle;
mod namespaces;
mod process;
mod scheduling;
mod seccomp;
mod systemd;
mod terminal;

use super::case::{Case, Topic};

/// Every topic, in the order of the specification.
pub const TOPICS: &[&Topic] = &[
    &command_line::CONFIGURATION,
    &files::ROOT,
    &files::MOUNTS,
    &process::PROCESS,
    &terminal::TERMINAL,
    &process::USER,
    &process::CAPABILITIES,
    &process::LIMITS,
    &scheduling::SCHEDULING,
    &labels::LABELS,
    &namespaces::HOSTNAME,
    &hooks::HOOKS,
    &files::DEFAULT_FILESYSTEMS,
    &namespaces::NAMESPACES,
    &namespaces::TIME,
    &namespaces::USER_NAMESPACE,
    &namespaces::IDMAPPED,
    &devices::DEVICES,
    &devices::DEFAULT_DEVICES,
    &devices::NET_DEVICES,
    &cgroup_place::CGROUPS_PATH,
    &cgroup_place::CGROUP_VIEW,
    &devices::DEVICE_RULES,
    &cgroups::MEMORY_TOPIC,
    &cgroups::CPU_TOPIC,
    &cgroups::PIDS_TOPIC,
    &cgroups::BLOCK_IO,
    &cgroups::OTHER_CONTROLLERS,
    &attributes::INTEL_RDT,
    &attributes::MEMORY_POLICY,
    &attributes::SYSCTL,
    &seccomp::SECCOMP,
    &files::PROPAGATION,
    &files::MASKED,
    &files::READONLY,
    &attributes::PERSONALITY,
    &lifecycle::STATE,
    &lifecycle::OPERATIONS,
    &command_line::FEATURES,
    &command_line::COMMAND_LINE,
    &descriptors::DESCRIPTORS,
    &exec::EXEC,
    &systemd::SYSTEMD,
    &checkpoint::CHECKPOINT,
];

/// Every case with its topic; a case's number is its place here.
pub(super) fn all() -> impl Iterator<Item = (&'static Topic, &'static Case)> {
    TOPICS.iter().flat_map(|topic| topic.cases.iter().map(|case| (*topic, case)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn topics_and_the_cases_of_a_topic_have_names_of_their_own() {
        let mut topics = BTreeSet::new();
        for topic in TOPICS {
            assert!(topics.insert(topic.name), "two topics are called {}", topic.name);
            let mut names = BTreeSet::new();
            for case in topic.cases {
                assert!(names.insert(case.name), "{}: two cases: {}", topic.name, case.name);
                assert!(!case.name.ends_with('.'), "{}: {}", topic.name, case.name);
            }
        }
    }
}
