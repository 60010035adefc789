//! config-linux.md, control groups: where they are and what is written into them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::fixture::cgroups;
use crate::suite::case::{Finding, Topic, Verdict, crun, must, old_runc};
use crate::suite::expect::{contains, has, holds, same};
use crate::suite::facts::{
    BFQ_ALONE, BLKIO_THROTTLE, BLKIO_WEIGHT, CPU, CPUSET, HUGE_PAGES, MEMORY, NET_CLS, NET_PRIO,
    PIDS, RDMA, SWAP_ACCOUNT, V2, rdma_device,
};
use crate::suite::trial::Trial;

/// 64 MiB.
const LIMIT: u64 = 64 << 20;

pub(super) const CGROUPS_PATH: Topic = Topic {
    name: "cgroups-path",
    title: "where the container's cgroup is",
    section: "config-linux.md#cgroups-path",
    cases: &[
        must("an absolute path is taken from the root of the hierarchy", |t| {
            let id = t.new_id();
            let path = format!("/{id}-parent/{id}-child");
            let bundle = t.bundle().args(["sleep", "60"]).set("/linux/cgroupsPath", path.clone());
            let live = t.start(&bundle)?;
            let groups =
                fs::read_to_string(format!("/proc/{}/cgroup", live.pid()?.as_raw_nonzero()))
                    .unwrap_or_default();
            let own = groups.lines().filter(|line| line.ends_with(&path)).count();
            holds(own > 0, &format!("cgroups with the path {path}"), &groups)?;
            live.end()?;
            let left = cgroups::named(&format!("{id}-child"));
            holds(left.is_empty(), "no cgroup after delete", &left)?;
            for parent in cgroups::named(&format!("{id}-parent")) {
                let _ = fs::remove_dir(parent);
            }
            Ok(())
        })
        .cgroupfs_only(),
        must("a relative path is taken", |t| {
            let id = t.new_id();
            let bundle = t
                .bundle()
                .args(["sleep", "60"])
                .set("/linux/cgroupsPath", format!("{id}-relative"));
            let _live = t.start(&bundle)?;
            let groups = cgroups::named(&format!("{id}-relative"));
            holds(!groups.is_empty(), "a cgroup of that name", &cgroups::named(&id))
        })
        .cgroupfs_only(),
        must("without a path the container has a cgroup of its own nevertheless", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            let pid = live.pid()?.as_raw_nonzero();
            let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
            let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            holds(groups != own, "other cgroups than the caller's", &groups)
        }),
        must("two containers with the same path share the limits", |t| {
            // Either is allowed: to share the cgroup, or to refuse the second container.
            let id = t.new_id();
            let path = format!("/{id}-shared");
            let bundle =
                || t.bundle().args(["sleep", "60"]).set("/linux/cgroupsPath", path.clone());
            let (first, second) = (bundle(), bundle());
            let _one = t.start(&first)?;
            let Ok(other) = t.start(&second) else { return Ok(()) };
            let groups =
                fs::read_to_string(format!("/proc/{}/cgroup", other.pid()?.as_raw_nonzero()))
                    .unwrap_or_default();
            holds(
                groups.lines().any(|line| line.ends_with(&path)),
                &format!("a cgroup {path}"),
                &groups,
            )
        })
        .cgroupfs_only(),
    ],
};

pub(super) const MEMORY_TOPIC: Topic = Topic {
    name: "memory",
    title: "limits of memory",
    section: "config-linux.md#memory",
    cases: &[
        must("the limit is the configured one", |t| {
            written(t, "/linux/resources/memory", json!({"limit": LIMIT}), &["memory.limit_in_bytes", "memory.max"], &LIMIT.to_string())
        })
        .needs(&[MEMORY]),
        must("the reservation is the configured one", |t| {
            written(t, "/linux/resources/memory", json!({"reservation": LIMIT}), &["memory.soft_limit_in_bytes", "memory.low"], &LIMIT.to_string())
        })
        .needs(&[MEMORY]),
        must("the limit of memory and swap is the configured one", |t| {
            let memory = json!({"limit": LIMIT, "swap": 2 * LIMIT});
            let swap = if t.facts().unified() { LIMIT } else { 2 * LIMIT };
            written(t, "/linux/resources/memory", memory, &["memory.memsw.limit_in_bytes", "memory.swap.max"], &swap.to_string())
        })
        .needs(&[MEMORY, SWAP_ACCOUNT]),
        must("a limit of -1 is none", |t| {
            let file = &["memory.limit_in_bytes", "memory.max"];
            let bundle = t.bundle().args(["sleep", "60"]).set("/linux/resources/memory", json!({"limit": -1}));
            let live = t.start(&bundle)?;
            let seen = live.cgroup(file)?;
            holds(seen == "max" || seen.parse::<u64>().is_ok_and(|limit| limit > 1 << 60), "no limit", &seen)
        })
        .needs(&[MEMORY]),
        must("a process that needs more than the limit is killed", |t| {
            let bundle = t
                .bundle()
                .set("/linux/resources/memory", json!({"limit": 24 << 20, "swap": 24 << 20}))
                .shell("head -c 200000000 /dev/zero | tail -c 190000000 | wc -c; echo status $?");
            let output = t.run(&bundle)?;
            // The shell survives or not: the data never come through.
            holds(!output.stdout().contains("190000000"), "less than all bytes", &output.to_string())
        })
        .needs(&[MEMORY]),
        must("checkBeforeUpdate refuses a limit below what is in use", |t| {
            let bundle = t
                .bundle()
                .set("/linux/resources/memory", json!({"limit": 256 << 20}))
                // What the shell holds is memory in use, also after the pipe has ended.
                .shell("dd if=/dev/zero of=/dev/shm/held bs=1M count=32 2>/dev/null; echo held; sleep 60");
            let live = t.start(&bundle)?;
            t.wait_for("32 MiB in use", || if live.stdout().contains("held") { Ok(()) } else { Err(live.stdout()) })?;
            let wanted = json!({"memory": {"limit": 8 << 20, "checkBeforeUpdate": true}});
            let update = t.finish_call(t.runtime().call(["update", "--resources", "-", live.id()]).stdin(wanted.to_string()))?;
            holds(!update.success(), "a refusal", &update.to_string())?;
            same("the limit", (256_u64 << 20).to_string().as_str(), live.cgroup(&["memory.limit_in_bytes", "memory.max"])?.as_str())
        })
        .needs(&[MEMORY]),
    ],
};

pub(super) const CPU_TOPIC: Topic = Topic {
    name: "cpu",
    title: "shares, quota and processors",
    section: "config-linux.md#cpu",
    cases: &[
        must("shares are the configured ones", |t| {
            if t.facts().unified() {
                // The conversion to weights is a runtime's own; more shares are more weight than the default.
                let bundle = t
                    .bundle()
                    .args(["sleep", "60"])
                    .set("/linux/resources/cpu", json!({"shares": 4096}));
                let weight = t.start(&bundle)?.cgroup(&["cpu.weight"])?;
                return holds(
                    weight.parse::<u32>().is_ok_and(|weight| weight > 100),
                    "more than 100",
                    &weight,
                );
            }
            written(t, "/linux/resources/cpu", json!({"shares": 2048}), &["cpu.shares"], "2048")
        })
        .needs(&[CPU]),
        must("quota and period are the configured ones", |t| {
            let bundle = t
                .bundle()
                .args(["sleep", "60"])
                .set("/linux/resources/cpu", json!({"quota": 40_000, "period": 80_000}));
            let live = t.start(&bundle)?;
            if t.facts().unified() {
                return same("cpu.max", "40000 80000", live.cgroup(&["cpu.max"])?.as_str());
            }
            same("the quota", "40000", live.cgroup(&["cpu.cfs_quota_us"])?.as_str())?;
            same("the period", "80000", live.cgroup(&["cpu.cfs_period_us"])?.as_str())
        })
        .needs(&[CPU]),
        must("the process runs on the configured processors", |t| {
            let bundle = t.bundle().set("/linux/resources/cpu", json!({"cpus": "0"}));
            has(&t.observe(bundle)?, "/affinity", "0")
        })
        .needs(&[CPUSET]),
        must("memory comes from the configured nodes", |t| {
            written(
                t,
                "/linux/resources/cpu",
                json!({"cpus": "0", "mems": "0"}),
                &["cpuset.mems"],
                "0",
            )
        })
        .needs(&[CPUSET]),
        must("the idle class of a cgroup is set", |t| {
            written(t, "/linux/resources/cpu", json!({"idle": 1}), &["cpu.idle"], "1")
        })
        .needs(&[CPU])
        .known(&[old_runc("knows no cpu.idle")]),
        must("a processor that is not there is refused", |t| {
            t.refused(
                &t.bundle().set("/linux/resources/cpu", json!({"cpus": "9999"})),
                "there is no such processor",
            )
            .map(drop)
        })
        .needs(&[CPUSET])
        .known(&[crun("leaves the cgroups behind")]),
    ],
};

pub(super) const PIDS_TOPIC: Topic = Topic {
    name: "pids",
    title: "limit of processes",
    section: "config-linux.md#pids",
    cases: &[
        must("the limit is the configured one", |t| {
            written(t, "/linux/resources/pids", json!({"limit": 50}), &["pids.max"], "50")
        })
        .needs(&[PIDS]),
        must("processes beyond the limit cannot be made", |t| {
            let bundle = t
                .bundle()
                .set("/linux/resources/pids", json!({"limit": 8}))
                .shell("for i in 1 2 3 4 5 6 7 8 9 10; do sleep 5 & done; echo all");
            let output = t.run(&bundle)?;
            contains("the message", &(output.stderr() + &output.stdout()), "can't fork")
        })
        .needs(&[PIDS]),
    ],
};

pub(super) const BLOCK_IO: Topic = Topic {
    name: "block-io",
    title: "weights and limits of block I/O",
    section: "config-linux.md#block-io",
    cases: &[
        must("the weight is the configured one", |t| {
            let block = json!({"weight": 500});
            let bundle = t.bundle().args(["sleep", "60"]).set("/linux/resources/blockIO", block);
            let seen = t.start(&bundle)?.cgroup(&["blkio.weight", "io.bfq.weight", "io.weight"])?;
            // io.weight has another range: the conversion is a runtime's own.
            let is_like = ["500", "4950", "4949"].iter().any(|weight| seen.contains(weight));
            holds(is_like, "500, or its like in io.weight", &seen)
        })
        .needs(&[BLKIO_WEIGHT]),
        must("the weight is given to BFQ where it is the only one to have weights", |t| {
            written(t, "/linux/resources/blockIO", json!({"weight": 500}), &["blkio.bfq.weight"], "500")
        })
        .needs(&[BFQ_ALONE])
        .known(&[crun("writes blkio.weight only")]),
        must("reads and writes of a device are limited", |t| {
            let Some((major, minor)) = block_device() else {
                return Err(Finding::skip("the host has no block device"));
            };
            let entry = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
            let block = json!({"throttleReadBpsDevice": entry(1_048_576), "throttleWriteIOPSDevice": entry(300)});
            let bundle = t.bundle().args(["sleep", "60"]).set("/linux/resources/blockIO", block);
            let live = t.start(&bundle)?;
            if t.facts().unified() {
                let seen = live.cgroup(&["io.max"])?;
                contains("io.max", &seen, "rbps=1048576")?;
                return contains("io.max", &seen, "wiops=300");
            }
            contains("the rate", &live.cgroup(&["blkio.throttle.read_bps_device"])?, &format!("{major}:{minor} 1048576"))?;
            contains("the rate", &live.cgroup(&["blkio.throttle.write_iops_device"])?, &format!("{major}:{minor} 300"))
        })
        .needs(&[BLKIO_THROTTLE]),
    ],
};

pub(super) const OTHER_CONTROLLERS: Topic = Topic {
    name: "controllers",
    title: "huge pages, network classes, RDMA, unified",
    section: "config-linux.md#control-groups",
    cases: &[
        must("a limit of huge pages is the configured one", |t| {
            let limit = json!([{"pageSize": "2MB", "limit": 4_194_304}]);
            written(
                t,
                "/linux/resources/hugepageLimits",
                limit,
                &["hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"],
                "4194304",
            )
        })
        .needs(&[HUGE_PAGES]),
        must("a size of huge pages that the kernel has not is refused", |t| {
            let limit = json!([{"pageSize": "3MB", "limit": 4_194_304}]);
            t.refused(
                &t.bundle().set("/linux/resources/hugepageLimits", limit),
                "there is no such size",
            )
            .map(drop)
        })
        .known(&[crun("leaves the cgroups behind")]),
        must("the class of network packets is the configured one", |t| {
            written(
                t,
                "/linux/resources/network",
                json!({"classID": 1_048_577}),
                &["net_cls.classid"],
                "1048577",
            )
        })
        .needs(&[NET_CLS]),
        must("the priority of network packets is the configured one", |t| {
            let network = json!({"priorities": [{"name": "lo", "priority": 500}]});
            let bundle = t.bundle().args(["sleep", "60"]).set("/linux/resources/network", network);
            contains(
                "the priorities",
                &t.start(&bundle)?.cgroup(&["net_prio.ifpriomap"])?,
                "lo 500",
            )
        })
        .needs(&[NET_PRIO]),
        must("a limit of an RDMA device is the configured one", |t| {
            let device = rdma_device().unwrap_or_default();
            let rdma = json!({device: {"hcaHandles": 3, "hcaObjects": 10}});
            let bundle = t.bundle().args(["sleep", "60"]).set("/linux/resources/rdma", rdma);
            contains("the limits", &t.start(&bundle)?.cgroup(&["rdma.max"])?, "hca_handle=3")
        })
        .needs(&[RDMA]),
        must("files of cgroup v2 are written as `unified` says", |t| {
            written(
                t,
                "/linux/resources/unified",
                json!({"memory.high": "67108864"}),
                &["memory.high"],
                "67108864",
            )
        })
        .needs(&[V2]),
        must("a file of `unified` that is not there is refused", |t| {
            t.refused(
                &t.bundle().set("/linux/resources/unified", json!({"no.such.file": "1"})),
                "there is no such file",
            )
            .map(drop)
        })
        .known(&[crun("leaves the cgroups behind")]),
    ],
};

/// A value of the configuration shows in a file of the container's cgroup: the first of them that exists.
fn written(trial: &Trial, pointer: &str, value: Value, files: &[&str], expected: &str) -> Verdict {
    let bundle = trial.bundle().args(["sleep", "60"]).set(pointer, value);
    let live = trial.start(&bundle)?;
    same(files[0], expected, live.cgroup(files)?.as_str())
}

/// The numbers of some block device of the machine, not of a partition.
fn block_device() -> Option<(u32, u32)> {
    let entries = fs::read_dir("/sys/block").ok()?;
    let numbers = |name: &Path| {
        let text = fs::read_to_string(name.join("dev")).ok()?;
        let (major, minor) = text.trim().split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    entries.flatten().find_map(|entry| numbers(&entry.path()))
}
