//! What is known about the host and the way in which the runtime is run, before any case starts.

use std::fs;
use std::path::Path;

use crate::contender::Release;
use crate::fixture::{Capture, apparmor, cgroups, find_tool, selinux};

use super::case::Need;

/// The facts that cases depend on.
#[derive(Debug)]
pub struct Facts {
    kernel: Release,
    unified: bool,
    systemd: bool,
}

impl Facts {
    /// Looks at the machine as the calling thread sees it.
    #[must_use]
    pub fn probe() -> Self {
        Self {
            kernel: Release::of(&rustix::system::uname().release().to_string_lossy()),
            unified: cgroups::unified(),
            systemd: Path::new("/run/systemd/system").is_dir(),
        }
    }

    /// The machine in one line.
    #[must_use]
    pub fn host(&self) -> String {
        let uname = rustix::system::uname();
        let v2 = cgroups::hierarchies().iter().any(|root| {
            root.join("cgroup.procs").exists() && root.join("cgroup.controllers").exists()
        });
        let layout = match (self.unified, v2) {
            (true, _) => "v2",
            (false, true) => "hybrid",
            (false, false) => "v1",
        };
        let systemd = if self.systemd { ", systemd" } else { "" };
        format!(
            "Linux {} on {}, cgroups {layout}{systemd}",
            uname.release().to_string_lossy(),
            uname.machine().to_string_lossy()
        )
    }

    /// Whether every controller is on the one v2 hierarchy.
    #[must_use]
    pub fn unified(&self) -> bool {
        self.unified
    }

    /// Whether systemd manages the machine.
    #[must_use]
    pub fn systemd(&self) -> bool {
        self.systemd
    }
}

/// Whether a controller can be used on one of the hierarchies.
fn controller(name: &str) -> bool {
    cgroups::hierarchies().iter().any(|root| {
        let v2 = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        root.file_name()
            .is_some_and(|last| last.to_string_lossy().split(',').any(|own| own == name))
            || v2.split_whitespace().any(|own| own == name)
    })
}

/// A file that a hierarchy has in some cgroup below its root, as in what a container would get.
fn cgroup_file(name: &str) -> bool {
    cgroups::hierarchies().iter().any(|root| root.join(name).exists())
        || cgroups::all().iter().any(|group| group.join(name).exists())
}

/// An RDMA device of the machine.
pub(super) fn rdma_device() -> Option<String> {
    let mut all = fs::read_dir("/sys/class/infiniband").ok()?.flatten();
    all.next().map(|entry| entry.file_name().to_string_lossy().into_owned())
}

/// Whether cgroups of v1 have realtime budgets of their own (RT_GROUP_SCHED): new ones start with none.
pub(super) fn has_realtime_groups() -> bool {
    cgroup_file("cpu.rt_runtime_us")
}

pub(super) const V2: Need =
    Need { what: "cgroup v2 (its controllers are on v1)", is_met: |facts| facts.unified };
pub(super) const MEMORY: Need =
    Need { what: "memory controller", is_met: |_| controller("memory") };
pub(super) const CPU: Need = Need { what: "cpu controller", is_met: |_| controller("cpu") };
pub(super) const CPUSET: Need =
    Need { what: "cpuset controller", is_met: |_| controller("cpuset") };
pub(super) const PIDS: Need = Need { what: "pids controller", is_met: |_| controller("pids") };
pub(super) const RDMA: Need = Need {
    what: "RDMA device with a controller",
    is_met: |_| controller("rdma") && rdma_device().is_some(),
};
pub(super) const NET_CLS: Need =
    Need { what: "net_cls controller", is_met: |_| controller("net_cls") };
pub(super) const NET_PRIO: Need =
    Need { what: "net_prio controller", is_met: |_| controller("net_prio") };
pub(super) const HUGE_PAGES: Need = Need {
    what: "huge pages with a hugetlb controller that runtimes use (v1, or v2 alone)",
    is_met: |facts| {
        let sizes =
            fs::read_dir("/sys/kernel/mm/hugepages").is_ok_and(|mut all| all.next().is_some());
        let v1 = cgroups::hierarchies().iter().any(|root| root.ends_with("hugetlb"));
        sizes && (v1 || facts.unified && controller("hugetlb"))
    },
};
pub(super) const BLKIO_WEIGHT: Need = Need {
    what: "weights of block I/O (blkio.weight or io.weight)",
    is_met: |_| ["blkio.weight", "io.weight", "io.bfq.weight"].into_iter().any(cgroup_file),
};
pub(super) const BFQ_ALONE: Need = Need {
    what: "blkio.bfq.weight without blkio.weight",
    is_met: |_| cgroup_file("blkio.bfq.weight") && !cgroup_file("blkio.weight"),
};
pub(super) const BLKIO_THROTTLE: Need = Need {
    what: "limits of block I/O",
    is_met: |_| ["blkio.throttle.read_bps_device", "io.max"].into_iter().any(cgroup_file),
};
pub(super) const SWAPPINESS: Need =
    Need { what: "memory.swappiness (v1)", is_met: |_| cgroup_file("memory.swappiness") };
pub(super) const OOM_CONTROL: Need =
    Need { what: "memory.oom_control (v1)", is_met: |_| cgroup_file("memory.oom_control") };
pub(super) const CPU_BURST: Need = Need {
    what: "bursts of processor time (Linux 5.14)",
    is_met: |_| ["cpu.cfs_burst_us", "cpu.max.burst"].into_iter().any(cgroup_file),
};
pub(super) const REALTIME_GROUPS: Need = Need {
    what: "realtime budgets of cgroups (v1, RT_GROUP_SCHED)",
    is_met: |_| has_realtime_groups(),
};
pub(super) const SWAP_ACCOUNT: Need = Need {
    what: "account of swap",
    is_met: |_| ["memory.memsw.limit_in_bytes", "memory.swap.max"].into_iter().any(cgroup_file),
};
pub(super) const TIME_NAMESPACE: Need =
    Need { what: "time namespaces", is_met: |_| Path::new("/proc/self/ns/time").exists() };
pub(super) const CGROUP_NAMESPACE: Need =
    Need { what: "cgroup namespaces", is_met: |_| Path::new("/proc/self/ns/cgroup").exists() };
pub(super) const IDMAPPED_TMPFS: Need = Need {
    what: "idmapped mounts of tmpfs (Linux 6.3)",
    is_met: |facts| facts.kernel >= Release(6, 3, 0),
};
pub(super) const MOUNT_SETATTR: Need = Need {
    what: "mount_setattr(2) (Linux 5.12)",
    is_met: |facts| facts.kernel >= Release(5, 12, 0),
};
pub(super) const IP: Need = Need { what: "`ip` command", is_met: |_| find_tool("ip").is_some() };
pub(super) const NSENTER: Need =
    Need { what: "`nsenter` command", is_met: |_| find_tool("nsenter").is_some() };
pub(super) const OOM_MAY_SINK: Need = Need {
    what: "CAP_SYS_RESOURCE for us",
    is_met: |_| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .is_some_and(|mask| mask & (1 << 24) != 0)
    },
};
pub(super) const CHRT: Need =
    Need { what: "`chrt` command", is_met: |_| find_tool("chrt").is_some() };
pub(super) const REALTIME: Need = Need {
    what: "right to realtime policies for us",
    is_met: |_| {
        find_tool("chrt")
            .is_some_and(|chrt| Capture::of(chrt).args(["--fifo", "11", "true"]).run().success())
    },
};
pub(super) const DEADLINE: Need = Need {
    what: "right to a deadline for us",
    is_met: |_| {
        let deadline = ["--sched-runtime", "1000000", "--sched-deadline", "50000000"];
        find_tool("chrt").is_some_and(|chrt| {
            let chrt = Capture::of(chrt).args(["--deadline"]).args(deadline);
            chrt.args(["--sched-period", "100000000", "0", "true"]).run().success()
        })
    },
};
pub(super) const APPARMOR: Need = Need {
    what: "AppArmor, with its parser",
    is_met: |_| apparmor::is_enabled() && find_tool("apparmor_parser").is_some(),
};
pub(super) const NO_APPARMOR: Need =
    Need { what: "lack of AppArmor", is_met: |_| !apparmor::is_enabled() };
pub(super) const NO_SELINUX: Need =
    Need { what: "lack of SELinux", is_met: |_| !selinux::is_enabled() };
pub(super) const NUMA: Need =
    Need { what: "NUMA in its kernel", is_met: |_| Path::new("/proc/self/numa_maps").exists() };
pub(super) const RESCTRL: Need = Need {
    what: "resctrl",
    is_met: |_| {
        fs::read_to_string("/proc/filesystems").is_ok_and(|text| text.contains("resctrl"))
            && Path::new("/sys/fs/resctrl/schemata").exists()
    },
};
pub(super) const NO_RESCTRL: Need =
    Need { what: "lack of resctrl", is_met: |facts| !(RESCTRL.is_met)(facts) };
pub(super) const TWO_NODES: Need = Need {
    what: "second node of memory",
    is_met: |_| {
        let nodes = fs::read_to_string("/sys/devices/system/node/has_memory");
        nodes.is_ok_and(|nodes| nodes.trim() != "0" && !nodes.trim().is_empty())
    },
};

pub(super) const TWO_PROCESSORS: Need = Need {
    what: "second processor",
    is_met: |_| std::thread::available_parallelism().is_ok_and(|count| count.get() > 1),
};
