//! How the container's process is scheduled, and on which processors a process of exec runs.

use std::fs;

use serde_json::json;

use crate::fixture::{BundleDir, Capture};
use crate::suite::case::{Finding, Topic, crun, must, old_runc};
use crate::suite::expect::{contains, has, holds, same};
use crate::suite::facts::{CHRT, DEADLINE, REALTIME, TWO_PROCESSORS, has_realtime_groups};
use crate::suite::live::Live;
use crate::suite::trial::{exits, fails, report_of};

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
        must("a realtime policy has the configured priority", |t| {
            for (policy, number) in [("SCHED_FIFO", 1), ("SCHED_RR", 2)] {
                let scheduler = json!({"policy": policy, "priority": 11});
                let seen = t.observe(with_budget(t.bundle()).set("/process/scheduler", scheduler))?;
                has(&seen, "/policy", number)?;
                has(&seen, "/realtimePriority", 11)?;
            }
            Ok(())
        })
        .needs(&[REALTIME])
        .known(&[old_runc("knows no scheduler"), crun("knows no scheduler")]),
        must("a priority beyond those of the policy is refused", |t| {
            let scheduler = json!({"policy": "SCHED_FIFO", "priority": 4711});
            let bundle = with_budget(t.bundle()).set("/process/scheduler", scheduler);
            let output = t.run(&bundle)?;
            fails("a failure", &output)
        })
        .known(&[old_runc("knows no scheduler"), crun("knows no scheduler")]),
        must("a deadline has the configured runtime, deadline and period", |t| {
            let scheduler = json!({"policy": "SCHED_DEADLINE", "flags": ["SCHED_FLAG_RESET_ON_FORK"],
                "runtime": 1_000_000, "deadline": 50_000_000, "period": 100_000_000});
            let bundle = t.bundle().args(["sleep", "60"]).set("/process/scheduler", scheduler);
            let live = t.start(&bundle)?;
            contains("chrt", &chrt(&live)?, "1000000/50000000/100000000")
        })
        .needs(&[DEADLINE])
        .known(&[old_runc("knows no scheduler"), crun("knows no scheduler")]),
        must("flags of the scheduler are set", |t| {
            let scheduler =
                json!({"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
            let bundle = t.bundle().args(["sleep", "60"]).set("/process/scheduler", scheduler);
            let live = t.start(&bundle)?;
            contains("chrt", &chrt(&live)?, "SCHED_BATCH|SCHED_RESET_ON_FORK")
        })
        .needs(&[CHRT])
        .known(&[old_runc("knows no scheduler"), crun("knows no scheduler")]),
        must("a process of exec has the policy of its own configuration", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            let process = json!({
                "args": ["/bin/nprobe"], "cwd": "/", "env": [], "user": {"uid": 0, "gid": 0},
                "scheduler": {"policy": "SCHED_BATCH", "nice": 3}
            });
            let file = bundle.path().join("process.json");
            fs::write(&file, process.to_string()).expect("write a file");
            let output = live.try_exec(&["--process", &file.display().to_string()], &[])?;
            let seen = report_of(&exits(output, 0)?)?;
            has(&seen, "/policy", 3)?;
            has(&seen, "/nice", 3)
        })
        .known(&[old_runc("knows no scheduler"), crun("knows no scheduler")]),
        must("a policy that there is none of is refused", |t| {
            let scheduler = json!({"policy": "SCHED_TOMORROW"});
            let output = t.run(&t.bundle().set("/process/scheduler", scheduler))?;
            fails("a failure", &output)
        })
        .rootless()
        .known(&[old_runc("knows no scheduler"), crun("knows no scheduler")]),
        must("without a scheduler policy and nice value are the caller's", |t| {
            let seen = t.observe_after("set -- nice -n 3 \"$@\"", t.bundle())?;
            has(&seen, "/policy", 0)?;
            has(&seen, "/nice", (own_nice() + 3).min(19))
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
            fails("a failure", &output)
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

/// Lends the container processor time for realtime policies, where its cgroup starts with none: on v1, in kernels with RT_GROUP_SCHED.
/// A tenth of each second, for its program has to get through its own start with that, on a slow and busy machine, too.
fn with_budget(bundle: BundleDir) -> BundleDir {
    if !has_realtime_groups() {
        return bundle;
    }
    bundle.set("/linux/resources/cpu", json!({"realtimeRuntime": 100_000}))
}

/// What chrt(1) tells of a container's first process.
fn chrt(live: &Live) -> Result<String, Finding> {
    let pid = live.pid()?.as_raw_nonzero().to_string();
    Ok(Capture::of("chrt").args(["--pid", &pid]).run().stdout())
}

/// The nice value of this process.
fn own_nice() -> i64 {
    let text = fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields);
    fields.split(' ').nth(16).and_then(|nice| nice.parse().ok()).unwrap_or(0)
}
