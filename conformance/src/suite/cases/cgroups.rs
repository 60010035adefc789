//! config-linux.md, control groups: what is written into them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::suite::case::{
    CRUN_LEAVES_CGROUP, Finding, Topic, Verdict, contract, crun, must, old_runc, runc,
};
use crate::suite::expect::{contains, has, holds, same};
use crate::suite::facts::{
    BFQ_ALONE, BLKIO_THROTTLE, BLKIO_WEIGHT, CPU, CPU_BURST, CPUSET, HUGE_PAGES, MEMORY, NET_CLS,
    NET_PRIO, OOM_CONTROL, PIDS, RDMA, REALTIME_GROUPS, SWAP_ACCOUNT, SWAPPINESS, TWO_NODES, V2,
    rdma_device,
};
use crate::suite::trial::{Trial, fails};

/// 64 MiB.
const LIMIT: u64 = 64 << 20;

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
        must("the swappiness is the configured one", |t| {
            written(t, "/linux/resources/memory", json!({"swappiness": 17}), &["memory.swappiness"], "17")
        })
        .needs(&[SWAPPINESS]),
        must("the killer of processes out of memory is disabled where that is asked for", |t| {
            let memory = json!({"limit": LIMIT, "disableOOMKiller": true});
            let bundle = t.bundle().args(["sleep", "60"]).set("/linux/resources/memory", memory);
            let seen = t.start(&bundle)?.cgroup(&["memory.oom_control"])?;
            contains("memory.oom_control", &seen, "oom_kill_disable 1")
        })
        .needs(&[OOM_CONTROL]),
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
                .shell("echo begun; head -c 200000000 /dev/zero | tail -c 190000000 >/dev/null; echo status $?");
            let output = t.run(&bundle)?;
            // The shell survives or not.
            let is_killed = output.stdout().contains("status 137") || output.code() == 137;
            holds(output.stdout().starts_with("begun") && is_killed, "a begin, and a kill", &output.to_string())
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
            fails("a refusal", &update)?;
            same("the limit", (256_u64 << 20).to_string().as_str(), live.cgroup(&["memory.limit_in_bytes", "memory.max"])?.as_str())
        })
        .needs(&[MEMORY])
        .known(&[runc("leaves it to the kernel, which on v2 takes any limit").on_v2()]),
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
        must("a burst is the configured one", |t| {
            let cpu = json!({"quota": 40_000, "period": 80_000, "burst": 20_000});
            written(t, "/linux/resources/cpu", cpu, &["cpu.cfs_burst_us", "cpu.max.burst"], "20000")
        })
        .needs(&[CPU_BURST])
        .known(&[old_runc("knows no burst"), crun("knows no burst")]),
        must("runtime and period of realtime are the configured ones", |t| {
            let cpu = json!({"realtimeRuntime": 20_000, "realtimePeriod": 500_000});
            let bundle = t.bundle().args(["sleep", "60"]).set("/linux/resources/cpu", cpu);
            let live = t.start(&bundle)?;
            same("the runtime", "20000", live.cgroup(&["cpu.rt_runtime_us"])?.as_str())?;
            same("the period", "500000", live.cgroup(&["cpu.rt_period_us"])?.as_str())
        })
        .needs(&[REALTIME_GROUPS]),
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
        // Of a single node it is the configured one whatever a runtime does.
        .needs(&[CPUSET, TWO_NODES]),
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
        .known(&[crun("leaves the cgroups behind").without_systemd()]),
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
        must("the weight for a device is the configured one", |t| {
            let Some((major, minor)) = block_device(Some("[bfq]")) else {
                return Err(Finding::skip("the host has no block device with the scheduler BFQ"));
            };
            let devices = json!([{"major": major, "minor": minor, "weight": 300}]);
            let block = json!({"weightDevice": devices});
            let bundle = t.bundle().args(["sleep", "60"]).set("/linux/resources/blockIO", block);
            let files = ["blkio.weight_device", "blkio.bfq.weight_device", "io.bfq.weight"];
            let seen = t.start(&bundle)?.cgroup(&files)?;
            contains("the weights", &seen, &format!("{major}:{minor} 300"))
        })
        .known(&[crun("opens blkio.weight_device only").on_v1()]),
        must("reads and writes of a device are limited, in bytes and in operations", |t| {
            let Some((major, minor)) = block_device(None) else {
                return Err(Finding::skip("the host has no block device"));
            };
            let entry = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
            let block = json!({
                "throttleReadBpsDevice": entry(1_048_576), "throttleWriteBpsDevice": entry(2_097_152),
                "throttleReadIOPSDevice": entry(200), "throttleWriteIOPSDevice": entry(300)
            });
            let bundle = t.bundle().args(["sleep", "60"]).set("/linux/resources/blockIO", block);
            let live = t.start(&bundle)?;
            for (v2, v1, rate) in [
                ("rbps", "blkio.throttle.read_bps_device", 1_048_576),
                ("wbps", "blkio.throttle.write_bps_device", 2_097_152),
                ("riops", "blkio.throttle.read_iops_device", 200),
                ("wiops", "blkio.throttle.write_iops_device", 300),
            ] {
                if t.facts().unified() {
                    contains("io.max", &live.cgroup(&["io.max"])?, &format!("{v2}={rate}"))?;
                } else {
                    contains(v1, &live.cgroup(&[v1])?, &format!("{major}:{minor} {rate}"))?;
                }
            }
            Ok(())
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
        .known(&[crun("leaves the cgroups behind").without_systemd()]),
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
        must("files of several controllers are written as `unified` says", |t| {
            let unified = json!({"pids.max": "33", "cpu.weight": "55", "memory.low": "16777216"});
            let bundle = t.bundle().args(["sleep", "60"]).set("/linux/resources/unified", unified);
            let live = t.start(&bundle)?;
            for (file, value) in
                [("pids.max", "33"), ("cpu.weight", "55"), ("memory.low", "16777216")]
            {
                same(file, value, live.cgroup(&[file])?.as_str())?;
            }
            Ok(())
        })
        .needs(&[V2]),
        contract("a key of `unified` that leads elsewhere is refused", |t| {
            let unified = json!({"../pids.max": "33"});
            t.refused(
                &t.bundle().set("/linux/resources/unified", unified),
                "it is no file of the cgroup",
            )
            .map(drop)
        })
        .needs(&[V2])
        .known(&[CRUN_LEAVES_CGROUP]),
        must("a file of `unified` that is not there is refused", |t| {
            t.refused(
                &t.bundle().set("/linux/resources/unified", json!({"no.such.file": "1"})),
                "there is no such file",
            )
            .map(drop)
        })
        .known(&[crun("leaves the cgroups behind").without_systemd()]),
    ],
};

/// A value of the configuration shows in a file of the container's cgroup: the first of them that exists.
fn written(trial: &Trial, pointer: &str, value: Value, files: &[&str], expected: &str) -> Verdict {
    let bundle = trial.bundle().args(["sleep", "60"]).set(pointer, value);
    let live = trial.start(&bundle)?;
    same(files[0], expected, live.cgroup(files)?.as_str())
}

/// The numbers of some block device of the machine, not of a partition; of one with this scheduler.
fn block_device(scheduler: Option<&str>) -> Option<(u32, u32)> {
    let entries = fs::read_dir("/sys/block").ok()?;
    let numbers = |name: &Path| {
        let schedulers = fs::read_to_string(name.join("queue/scheduler")).unwrap_or_default();
        if scheduler.is_some_and(|wanted| !schedulers.contains(wanted)) {
            return None;
        }
        let text = fs::read_to_string(name.join("dev")).ok()?;
        let (major, minor) = text.trim().split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    entries.flatten().find_map(|entry| numbers(&entry.path()))
}
