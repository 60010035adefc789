//! `nrun features`: what this binary can do (runtime-spec, "Features Structure").
//!
//! What has a table is read from it: the two cannot come to differ.

use crate::checkpoint::CRIU_CONFIG;
use crate::cli::COMMANDS;
use crate::plan::hooks::Kind;
use bundle::config::mount_options;
use serde_json::{Value, json};

/// Annotations of config.json that change what is done; one that ends with a dot stands for all that begin so.
const UNSAFE_ANNOTATIONS: &[&str] = &[CRIU_CONFIG, "org.systemd.property.", "run.oci."];

/// The structure as JSON. It says what is true of this binary on any kernel: what the kernel lacks, it refuses by name.
pub fn run() -> String {
    let capabilities: Vec<String> = CAPABILITIES.iter().map(caps::Capability::to_string).collect();
    let features = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": Kind::ALL.map(Kind::name),
        "mountOptions": mount_options::names(),
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": capabilities,
            "cgroup": {"v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true},
            "seccomp": seccomp(),
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": true, "schemata": true, "monitoring": true},
            "memoryPolicy": {"modes": MEMORY_MODES, "flags": MEMORY_FLAGS},
            "mountExtensions": {"idmap": {"enabled": true}},
            "netDevices": {"enabled": true},
        },
        "annotations": annotations(),
        "potentiallyUnsafeConfigAnnotations": UNSAFE_ANNOTATIONS,
    });
    crate::state::to_json(&features) + "\n"
}

/// All that `caps` knows, by their names' order: its own list is a table of hashes, which took 3 KB of code for this alone.
#[rustfmt::skip]
const CAPABILITIES: [caps::Capability; 41] = {
    use caps::Capability::*;
    [
        CAP_AUDIT_CONTROL, CAP_AUDIT_READ, CAP_AUDIT_WRITE, CAP_BLOCK_SUSPEND, CAP_BPF,
        CAP_CHECKPOINT_RESTORE, CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER,
        CAP_FSETID, CAP_IPC_LOCK, CAP_IPC_OWNER, CAP_KILL, CAP_LEASE, CAP_LINUX_IMMUTABLE,
        CAP_MAC_ADMIN, CAP_MAC_OVERRIDE, CAP_MKNOD, CAP_NET_ADMIN, CAP_NET_BIND_SERVICE,
        CAP_NET_BROADCAST, CAP_NET_RAW, CAP_PERFMON, CAP_SETFCAP, CAP_SETGID, CAP_SETPCAP, CAP_SETUID,
        CAP_SYSLOG, CAP_SYS_ADMIN, CAP_SYS_BOOT, CAP_SYS_CHROOT, CAP_SYS_MODULE, CAP_SYS_NICE,
        CAP_SYS_PACCT, CAP_SYS_PTRACE, CAP_SYS_RAWIO, CAP_SYS_RESOURCE, CAP_SYS_TIME,
        CAP_SYS_TTY_CONFIG, CAP_WAKE_ALARM,
    ]
};

/// Memory policies of the specification.
const MEMORY_MODES: &[&str] = &[
    "MPOL_BIND",
    "MPOL_DEFAULT",
    "MPOL_INTERLEAVE",
    "MPOL_LOCAL",
    "MPOL_PREFERRED",
    "MPOL_PREFERRED_MANY",
    "MPOL_WEIGHTED_INTERLEAVE",
];
const MEMORY_FLAGS: &[&str] =
    &["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];

/// What a profile may list: all of the specification. Those of other machines are valid there, and nothing comes from them here.
const ARCHITECTURES: &[&str] = &[
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
];

/// Under crun's convention for a runtime's own names.
fn annotations() -> Value {
    let checkpoint = COMMANDS.iter().any(|command| command.name == "checkpoint");
    json!({
        "run.oci.nrun.checkpoint.enabled": checkpoint.to_string(),
        "run.oci.nrun.commit": crate::cli::commit(),
        "run.oci.nrun.version": env!("CARGO_PKG_VERSION"),
    })
}

fn seccomp() -> Value {
    json!({
        "enabled": true,
        "actions": [
            "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
            "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP",
        ],
        "operators": [
            "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE",
        ],
        "archs": ARCHITECTURES,
        "knownFlags": [
            "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC",
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
        ],
        "supportedFlags": [
            "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC",
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::{Arch, Features};

    fn features() -> Value {
        serde_json::from_str(&run()).unwrap()
    }

    #[test]
    fn every_capability_is_listed_in_order() {
        assert_eq!(caps::CapsHashSet::from(CAPABILITIES), caps::all());
        assert!(CAPABILITIES.map(|capability| capability.to_string()).is_sorted());
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
        for name in ARCHITECTURES {
            assert!(serde_json::from_value::<Arch>(json!(name)).is_ok(), "{name}");
        }
        assert!(ARCHITECTURES.is_sorted());
    }
}
