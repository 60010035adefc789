//! The part of config.json that is the same for every container: Docker's defaults.

use super::Built;
use oci_spec::runtime::{
    LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType, Mount, MountBuilder,
};

/// What a container has below /proc, /dev and /sys.
pub(super) fn mounts() -> Built<Vec<Mount>> {
    const PLAIN: [&str; 3] = ["nosuid", "noexec", "nodev"];
    Ok(vec![
        mount("proc", "proc", "/proc", &PLAIN)?,
        mount("tmpfs", "tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"])?,
        mount(
            "devpts",
            "devpts",
            "/dev/pts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        )?,
        mount("sysfs", "sysfs", "/sys", &["nosuid", "noexec", "nodev", "ro"])?,
        mount("cgroup", "cgroup", "/sys/fs/cgroup", &["ro", "nosuid", "noexec", "nodev"])?,
        mount("mqueue", "mqueue", "/dev/mqueue", &PLAIN)?,
        mount(
            "tmpfs",
            "shm",
            "/dev/shm",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        )?,
    ])
}

pub(super) fn mount(kind: &str, source: &str, target: &str, options: &[&str]) -> Built<Mount> {
    let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
    MountBuilder::default().typ(kind).source(source).destination(target).options(options).build()
}

/// What is hidden: Docker's list, and the energy counters (GHSA-7ww5-4wqc-m92c).
pub(super) fn masked_paths() -> Vec<String> {
    [
        "/proc/asound",
        "/proc/acpi",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// What cannot be written to.
pub(super) fn read_only_paths() -> Vec<String> {
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        .map(str::to_owned)
        .to_vec()
}

/// Everything is denied but making nodes, and the devices that every container has.
pub(super) fn device_rules() -> Built<Vec<LinuxDeviceCgroup>> {
    let character = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)];
    let rule = |allow, kind, major: Option<i64>, minor: Option<i64>, access: &str| {
        let mut rule = LinuxDeviceCgroupBuilder::default().allow(allow).access(access);
        if let Some(kind) = kind {
            rule = rule.typ(kind);
        }
        if let Some(major) = major {
            rule = rule.major(major);
        }
        if let Some(minor) = minor {
            rule = rule.minor(minor);
        }
        rule.build()
    };
    let mut rules = vec![
        rule(false, None, None, None, "rwm")?,
        rule(true, Some(LinuxDeviceType::C), None, None, "m")?,
        rule(true, Some(LinuxDeviceType::B), None, None, "m")?,
        rule(true, Some(LinuxDeviceType::C), Some(136), None, "rwm")?,
    ];
    for (major, minor) in character {
        rules.push(rule(true, Some(LinuxDeviceType::C), Some(major), Some(minor), "rwm")?);
    }
    Ok(rules)
}
