//! Execution domain and memory policy of a process; kernel parameters; cache allocation.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::suite::case::{Topic, contract, crun, must, old_runc};
use crate::suite::expect::{has, holds, same};
use crate::suite::facts::{NO_RESCTRL, NUMA, RESCTRL};
use crate::suite::trial::fails;

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
            // Who says nothing passes on the caller's, which is LINUX nearly always.
            let bundle = t.bundle().set("/linux/personality", json!({"domain": "LINUX"}));
            let seen = t.observe_after("set -- setarch linux32 \"$@\"", bundle)?;
            has(&seen, "/personality", "00000000")
        })
        .rootless()
        .known(&[old_runc("knows no personality")]),
        must("a domain that there is none of is refused", |t| {
            let bundle = t.bundle().set("/linux/personality", json!({"domain": "PLAN9"}));
            let output = t.run(&bundle)?;
            fails("a failure", &output)
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
        must("flags of the policy are set", |t| {
            let policy =
                json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]});
            let bundle = t.bundle().set("/linux/memoryPolicy", policy);
            has(&t.observe(bundle)?, "/memoryPolicy", "bind=static:0")
        })
        .rootless()
        .needs(&[NUMA])
        .known(&[old_runc("knows no memoryPolicy"), crun("knows no memoryPolicy")]),
        must("a mode that there is none of is refused", |t| {
            let policy = json!({"mode": "MPOL_TOMORROW", "nodes": "0"});
            let output = t.run(&t.bundle().set("/linux/memoryPolicy", policy))?;
            fails("a failure", &output)
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
            // A new namespace begins with the machine's value, which need not be the caller's.
            let first = t.shell(t.bundle(), "cat /proc/sys/net/ipv4/ip_forward")?;
            let other = if first == "1" { "0" } else { "1" };
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
            fails("a failure", &output)
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
