//! How a process is scheduled, its processors, execution domain and memory policy; kernel parameters; cache allocation.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::suite::case::{Topic, contract, crun, must, old_runc};
use crate::suite::expect::{has, holds, same};
use crate::suite::facts::{NO_RESCTRL, NUMA, RESCTRL, TWO_PROCESSORS};
use crate::suite::trial::{exits, report_of};

pub(super) const SCHEDULING: Topic = Topic {
    name: "scheduling",
    title: "policy, nice value, I/O priority, processors of exec",
    section: "config.md#linux-process",
    cases: &[
        must("the policy is the configured one", |t| {
            for (policy, number) in [("SCHED_BATCH", 3), ("SCHED_IDLE", 5), ("SCHED_OTHER", 0)] {
                let seen =
                    t.observe(t.bundle().set("/process/scheduler", json!({"policy": policy})))?;
                has(&seen, "/policy", number)?;
            }
            Ok(())
        })
        .known(&[old_runc("knows no scheduler"), crun("knows no scheduler")]),
        must("the nice value is the configured one", |t| {
            let scheduler = json!({"policy": "SCHED_OTHER", "nice": 7});
            has(&t.observe(t.bundle().set("/process/scheduler", scheduler))?, "/nice", 7)
        })
        .known(&[old_runc("knows no scheduler"), crun("knows no scheduler")]),
        must("a policy that there is none of is refused", |t| {
            let scheduler = json!({"policy": "SCHED_TOMORROW"});
            let output = t.run(&t.bundle().set("/process/scheduler", scheduler))?;
            holds(!output.success(), "a failure", &output.to_string())
        })
        .rootless()
        .known(&[old_runc("knows no scheduler"), crun("knows no scheduler")]),
        must("without a scheduler policy and nice value are the caller's", |t| {
            let seen = t.observe(t.bundle())?;
            has(&seen, "/policy", 0)?;
            has(&seen, "/nice", own_nice())
        })
        .rootless(),
        must("the priority of I/O is the configured one", |t| {
            let priority = json!({"class": "IOPRIO_CLASS_BE", "priority": 6});
            let seen = t.shell(t.bundle().set("/process/ioPriority", priority), "ionice -p $$")?;
            same("the priority", "best-effort: prio 6", seen.as_str())
        })
        .rootless()
        .known(&[old_runc("knows no ioPriority"), crun("knows no ioPriority")]),
        must("the idle class of I/O is set", |t| {
            let priority = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0});
            let seen = t.shell(t.bundle().set("/process/ioPriority", priority), "ionice -p $$")?;
            holds(seen.starts_with("idle"), "idle", &seen)
        })
        .rootless()
        .known(&[old_runc("knows no ioPriority"), crun("knows no ioPriority")]),
        must("a class of I/O that there is none of is refused", |t| {
            let priority = json!({"class": "IOPRIO_CLASS_TOMORROW", "priority": 1});
            let output = t.run(&t.bundle().set("/process/ioPriority", priority))?;
            holds(!output.success(), "a failure", &output.to_string())
        })
        .rootless()
        .known(&[old_runc("knows no ioPriority"), crun("knows no ioPriority")]),
        must("an exec ends up on its final processors", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            for processor in ["0", "1"] {
                let process = json!({
                    "args": ["/bin/nprobe"], "cwd": "/", "env": [], "user": {"uid": 0, "gid": 0},
                    "execCPUAffinity": {"initial": "0", "final": processor}
                });
                let file = bundle.path().join("process.json");
                fs::write(&file, process.to_string()).expect("write a file");
                let output = live.try_exec(&["--process", &file.display().to_string()], &[])?;
                has(&report_of(&exits(output, 0)?)?, "/affinity", processor)?;
            }
            Ok(())
        })
        .needs(&[TWO_PROCESSORS])
        .known(&[old_runc("knows no execCPUAffinity"), crun("knows no execCPUAffinity")]),
    ],
};

pub(super) const PERSONALITY: Topic = Topic {
    name: "personality",
    title: "execution domain",
    section: "config-linux.md#personality",
    cases: &[
        must("the domain LINUX32 shows a 32-bit machine", |t| {
            let bundle = t.bundle().set("/linux/personality", json!({"domain": "LINUX32"}));
            has(&t.observe(bundle)?, "/personality", "00000008")
        })
        .rootless()
        .known(&[old_runc("knows no personality")]),
        must("the domain LINUX is the kernel's own", |t| {
            let bundle = t.bundle().set("/linux/personality", json!({"domain": "LINUX"}));
            has(&t.observe(bundle)?, "/personality", "00000000")
        })
        .rootless(),
        must("a domain that there is none of is refused", |t| {
            let bundle = t.bundle().set("/linux/personality", json!({"domain": "PLAN9"}));
            let output = t.run(&bundle)?;
            holds(!output.success(), "a failure", &output.to_string())
        })
        .rootless()
        .known(&[old_runc("knows no personality")]),
    ],
};

pub(super) const MEMORY_POLICY: Topic = Topic {
    name: "memory-policy",
    title: "nodes that memory comes from",
    section: "config-linux.md#memory-policy",
    cases: &[
        must("the policy is the configured one", |t| {
            let policy = json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": []});
            has(
                &t.observe(t.bundle().set("/linux/memoryPolicy", policy))?,
                "/memoryPolicy",
                "interleave:0",
            )
        })
        .rootless()
        .needs(&[NUMA])
        .known(&[old_runc("knows no memoryPolicy"), crun("knows no memoryPolicy")]),
        must("a mode that there is none of is refused", |t| {
            let policy = json!({"mode": "MPOL_TOMORROW", "nodes": "0"});
            let output = t.run(&t.bundle().set("/linux/memoryPolicy", policy))?;
            holds(!output.success(), "a failure", &output.to_string())
        })
        .rootless()
        .known(&[old_runc("knows no memoryPolicy"), crun("knows no memoryPolicy")]),
        must("without a policy it is the kernel's own", |t| {
            has(&t.observe(t.bundle())?, "/memoryPolicy", "default")
        })
        .rootless()
        .needs(&[NUMA]),
    ],
};

pub(super) const SYSCTL: Topic = Topic {
    name: "sysctl",
    title: "kernel parameters",
    section: "config-linux.md#sysctl",
    cases: &[
        must("a parameter of the network is set in the container alone", |t| {
            let own = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap_or_default();
            let other = if own.trim() == "1" { "0" } else { "1" };
            let bundle = t.bundle().set("/linux/sysctl", json!({"net.ipv4.ip_forward": other}));
            let seen = t.shell(bundle, "cat /proc/sys/net/ipv4/ip_forward")?;
            same("the value", other, seen.as_str())?;
            let now = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap_or_default();
            same("the caller's value", own.as_str(), now.as_str())
        }),
        must("a parameter of the IPC namespace is set", |t| {
            let bundle = t.bundle().set("/linux/sysctl", json!({"kernel.msgmax": "65536"}));
            same("the value", "65536", t.shell(bundle, "cat /proc/sys/kernel/msgmax")?.as_str())
        }),
        contract("a name with slashes is one with dots", |t| {
            let bundle = t.bundle().set("/linux/sysctl", json!({"kernel/msgmax": "65536"}));
            same("the value", "65536", t.shell(bundle, "cat /proc/sys/kernel/msgmax")?.as_str())
        }),
        contract("a parameter whose namespace is the caller's is refused", |t| {
            let bundle = t
                .bundle()
                .without_namespace("ipc")
                .set("/linux/sysctl", json!({"kernel.msgmax": "65536"}));
            t.refused(&bundle, "it would change the caller's").map(drop)
        }),
        contract("a parameter of the whole machine is refused", |t| {
            let bundle = t.bundle().set("/linux/sysctl", json!({"vm.swappiness": "61"}));
            t.refused(&bundle, "it would change the machine's").map(drop)
        }),
        must("a parameter that there is none of is refused", |t| {
            let bundle = t.bundle().set("/linux/sysctl", json!({"net.no.such.parameter": "1"}));
            let output = t.run(&bundle)?;
            holds(!output.success(), "a failure", &output.to_string())
        }),
    ],
};

pub(super) const INTEL_RDT: Topic = Topic {
    name: "intel-rdt",
    title: "allocation of caches and memory bandwidth",
    section: "config-linux.md#intelrdt",
    cases: &[
        must(
            "a class of service is made, has the container's processes, and is gone with it",
            |t| {
                let id = t.new_id();
                let group = Path::new("/sys/fs/resctrl").join(&id);
                let bundle =
                    t.bundle().args(["sleep", "60"]).set("/linux/intelRdt", json!({"closID": id}));
                let live = t.start(&bundle)?;
                let tasks = fs::read_to_string(group.join("tasks")).unwrap_or_default();
                let pid = live.pid()?.as_raw_nonzero().to_string();
                holds(tasks.lines().any(|line| line == pid), &format!("process {pid}"), &tasks)?;
                live.end()?;
                holds(!group.exists(), "no group after delete", &group)
            },
        )
        .needs(&[RESCTRL]),
        must("a class of service is refused where the machine has none", |t| {
            let bundle = t
                .bundle()
                .set("/linux/intelRdt", json!({"closID": "gold", "l3CacheSchema": "L3:0=f"}));
            t.refused(&bundle, "there is no resctrl").map(drop)
        })
        .needs(&[NO_RESCTRL])
        .known(&[crun("takes no notice of it")]),
    ],
};

/// The nice value of the caller.
fn own_nice() -> i64 {
    let text = fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields);
    fields.split(' ').nth(16).and_then(|nice| nice.parse().ok()).unwrap_or(0)
}
