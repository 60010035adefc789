//! What planning a bundle has to know about the host, read once.

use crate::cli::CpuSet;
use crate::id_map;
use crate::oom_score;
use crate::privilege::is_in_namespace;
use crate::rootless::Delegation;
use crate::settings::Settings;
use oci_spec::runtime::Capabilities;
use std::fs;
use std::path::Path;

/// Facts of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// The largest number of open files that a child of ours may have.
    pub open_files: u64,
    /// The host's name, for containers that share the host's network.
    pub hostname: String,
    /// The capabilities that we can pass on.
    pub capabilities: Capabilities,
    /// Version of the kernel.
    pub kernel: (u32, u32),
    /// What can be limited.
    pub cgroups: CgroupFacts,
    /// Where a user without root may make cgroups; `None` for root, and where that is nowhere.
    pub delegation: Option<Delegation>,
    /// CPUs that are online, as a list of ranges.
    pub cpus: String,
    /// Memory nodes that are online, as a list of ranges.
    pub memory_nodes: String,
    /// Whether programs can be confined by AppArmor.
    pub apparmor: bool,
    /// Whether SELinux labels mean something.
    pub selinux: bool,
    /// What there is less of because we are root of a user namespace only; `None` for the host's root.
    pub namespace: Option<NamespaceFacts>,
}

/// What binds root of a user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// The last of the groups that are mapped without a gap, from 0 on.
    pub last_group: u32,
    /// Our own score for the killer of processes that take the memory: nothing below us can have a lower one.
    pub oom_score_adj: i32,
    /// Whether the host has its POSIX message queues in /dev/mqueue.
    pub message_queues: bool,
}

/// What can be limited on this host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupFacts {
    /// There is one hierarchy only, version 2.
    pub unified: bool,
    /// Memory.
    pub memory: bool,
    /// Swap; asking for it where it cannot be limited is an error of the runtime.
    pub swap: bool,
    /// How gladly memory is swapped, for each group.
    pub swappiness: bool,
    /// Whether a group is killed when its memory is used up.
    pub oom_control: bool,
    /// CPU time.
    pub cpu: bool,
    /// Realtime CPU time.
    pub realtime: bool,
    /// Sets of CPUs and memory nodes.
    pub cpuset: bool,
    /// Processes.
    pub pids: bool,
    /// Weights of block input and output.
    pub io_weight: bool,
    /// Rates of block input and output.
    pub io_rate: bool,
}

impl HostFacts {
    /// Reads them for whoever calls: a user has the cgroups that are delegated.
    #[must_use]
    pub fn of_caller(settings: &Settings) -> Self {
        let mut facts = Self::probe();
        if settings.rootless
            && let Ok(delegation) = Delegation::probe()
        {
            facts.cgroups = CgroupFacts::of(&delegation);
            facts.delegation = Some(delegation);
        }
        facts
    }

    /// Reads them.
    #[must_use]
    pub fn probe() -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let name = rustix::system::uname();
        let online = |of: &str| {
            fs::read_to_string(format!("/sys/devices/system/{of}/online"))
                .map_or_else(|_| "0".to_owned(), |text| text.trim().to_owned())
        };
        Self {
            open_files: limit.maximum.unwrap_or(u64::MAX),
            hostname: name.nodename().to_string_lossy().into_owned(),
            capabilities: capabilities(),
            kernel: version(&name.release().to_string_lossy()),
            cgroups: CgroupFacts::probe(Path::new("/sys/fs/cgroup")),
            delegation: None,
            cpus: online("cpu"),
            memory_nodes: online("node"),
            apparmor: has_apparmor(),
            selinux: sys::selinux::is_enabled(),
            namespace: is_in_namespace().then(NamespaceFacts::probe),
        }
    }

    /// How many CPUs there are.
    #[must_use]
    pub fn cpu_count(&self) -> i64 {
        let ranges = CpuSet::ranges(&self.cpus).unwrap_or_default();
        ranges.iter().map(|(first, last)| i64::from(last - first) + 1).sum()
    }
}

impl NamespaceFacts {
    fn probe() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self {
            last_group: id_map::count(&read("/proc/self/gid_map")).saturating_sub(1),
            oom_score_adj: oom_score::own(),
            message_queues: Path::new("/dev/mqueue").is_dir(),
        }
    }
}

impl CgroupFacts {
    fn probe(root: &Path) -> Self {
        let has = |file: &str| root.join(file).exists();
        let Ok(controllers) = fs::read_to_string(root.join("cgroup.controllers")) else {
            return Self {
                unified: false,
                memory: has("memory"),
                swap: has("memory/memory.memsw.limit_in_bytes"),
                swappiness: has("memory/memory.swappiness"),
                oom_control: has("memory/memory.oom_control"),
                cpu: has("cpu/cpu.shares"),
                realtime: has("cpu/cpu.rt_runtime_us"),
                cpuset: has("cpuset"),
                pids: has("pids"),
                // The root group of bfq has no weight, but statistics.
                io_weight: has("blkio/blkio.weight") || has("blkio/blkio.bfq.io_serviced"),
                io_rate: has("blkio/blkio.throttle.read_bps_device"),
            };
        };
        let has = |name: &str| controllers.split_whitespace().any(|known| known == name);
        // The root group has no file that says so; any other one shows it.
        Self::of_v2(&has, has("memory") && Path::new("/proc/swaps").exists())
    }

    /// What is delegated of v2.
    fn of(delegation: &Delegation) -> Self {
        let has = |name: &str| delegation.controllers.iter().any(|known| known == name);
        Self::of_v2(&has, delegation.swap)
    }

    fn of_v2(has: &dyn Fn(&str) -> bool, swap: bool) -> Self {
        Self {
            unified: true,
            memory: has("memory"),
            swap,
            swappiness: false,
            oom_control: false,
            cpu: has("cpu"),
            realtime: false,
            cpuset: has("cpuset"),
            pids: has("pids"),
            io_weight: has("io"),
            io_rate: has("io"),
        }
    }
}

/// The bounding set: what of it the program has lost cannot be had again by anybody below it.
pub(super) fn capabilities() -> Capabilities {
    let set = caps::read(None, caps::CapSet::Bounding).unwrap_or_default();
    let name = |capability: caps::Capability| capability.to_string();
    set.into_iter()
        .filter_map(|capability| name(capability).strip_prefix("CAP_")?.parse().ok())
        .collect()
}

fn version(release: &str) -> (u32, u32) {
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Whether programs can be confined by AppArmor.
#[must_use]
pub fn has_apparmor() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|text| text.starts_with(b"Y"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_has_a_version_of_two_numbers() {
        assert_eq!(version("6.18.5-amd64"), (6, 18));
        assert_eq!(version("5.4"), (5, 4));
        assert_eq!(version("x"), (0, 0));
    }

    #[test]
    fn controllers_of_both_versions_are_found() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("memory")).unwrap();
        fs::write(root.path().join("memory/memory.swappiness"), "").unwrap();
        let v1 = CgroupFacts::probe(root.path());
        assert!(!v1.unified && v1.memory && v1.swappiness && !v1.swap && !v1.pids);
        fs::write(root.path().join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        let v2 = CgroupFacts::probe(root.path());
        assert!(v2.unified && v2.memory && v2.pids && !v2.swappiness && !v2.io_rate);
    }
}
