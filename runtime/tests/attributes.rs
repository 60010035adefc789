//! What a process is besides its ids: scheduling, processors, execution domain, memory policy, keyring, groups; and the warnings for
//! what is not given.
//!
//! Everything is read from inside, or from the process's own /proc entry.

use std::fs;
use std::path::Path;

use nconform::fixture::{BundleDir, Capture, Container, Output, Runtime, Sandbox, cgroups};
use serde_json::{Value, json};

fn sleeper() -> BundleDir {
    BundleDir::new().args(["sleep", "600"])
}

/// Nice value (field 19) and policy (field 41) of proc_pid_stat(5), by a shell without builtins for them.
const SCHEDULING: &str = "cut -d' ' -f19,41 /proc/$$/stat; ionice -p $$";

/// What a container with this process shows of its scheduling.
#[track_caller]
fn scheduling(runtime: &Runtime, bundle: BundleDir) -> Output {
    runtime.run(&bundle.shell(SCHEDULING))
}

/// `exec --process FILE`.
#[track_caller]
fn exec_file(runtime: &Runtime, container: &Container<'_>, process: &Value) -> Output {
    let file = runtime.root().join("process.json");
    fs::write(&file, process.to_string()).expect("write process.json");
    let file = file.to_str().expect("UTF-8");
    runtime.call(["exec", "--process", file, container.id()]).run()
}

fn process(script: &str) -> Value {
    json!({"args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}})
}

fn in_user_namespace(bundle: BundleDir) -> BundleDir {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    // The container's root must be able to search the way to its own root.
    bundle
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
}

#[test]
fn policy_nice_value_and_io_priority_are_as_configured() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let cases = [
        (json!({"policy": "SCHED_BATCH", "nice": 7}), "7 3"),
        (json!({"policy": "SCHED_OTHER", "nice": -5}), "-5 0"),
        (json!({"policy": "SCHED_IDLE"}), "0 5"),
        (json!({"policy": "SCHED_BATCH", "nice": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}), "3 3"),
    ];
    for (scheduler, shown) in cases {
        // The first process shows it: what it forks may be reset.
        let bundle = BundleDir::new()
            .set("/process/scheduler", scheduler.clone())
            .set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6}));
        for bundle in [
            bundle,
            in_user_namespace(
                BundleDir::new()
                    .set("/process/scheduler", scheduler)
                    .set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6})),
            ),
        ] {
            let output = scheduling(&runtime, bundle).ok();
            assert_eq!(output.stdout(), format!("{shown}\nbest-effort: prio 6\n"));
        }
    }
}

#[test]
fn the_idle_class_and_the_realtime_class_of_io_are_set() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for (class, shown) in [("IDLE", "idle"), ("RT", "realtime: prio 2")] {
        let class = format!("IOPRIO_CLASS_{class}");
        let bundle =
            BundleDir::new().set("/process/ioPriority", json!({"class": class, "priority": 2}));
        let text = scheduling(&runtime, bundle).ok().stdout();
        assert_eq!(text.lines().nth(1), Some(shown));
    }
}

/// New v1 groups have no realtime budget, so that the kernel refuses there what it grants on v2.
#[test]
fn realtime_policies_are_set_or_refused_with_the_reason() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let has_budget = !Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists();
    for (policy, number) in [("SCHED_FIFO", 1), ("SCHED_RR", 2)] {
        let bundle =
            BundleDir::new().set("/process/scheduler", json!({"policy": policy, "priority": 11}));
        let output = scheduling(&runtime, bundle);
        if has_budget {
            // proc_pid_stat(5) shows the nice value all the same.
            assert_eq!(output.ok().stdout().lines().next(), Some(&*format!("0 {number}")));
        } else {
            let text = output.exits(1).stderr();
            assert!(text.contains(&format!("cannot set the scheduling policy {policy}")), "{text}");
            assert!(
                text.contains("(config.json /process/scheduler): operation not permitted"),
                "{text}"
            );
            assert!(text.contains("hint: ") && text.contains("realtimeRuntime"), "{text}");
        }
    }
    sandbox.assert_clean();
}

#[test]
fn a_deadline_is_set_for_the_container_and_for_an_exec_but_not_beside_a_cpuset() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let scheduler = json!({"policy": "SCHED_DEADLINE", "flags": ["SCHED_FLAG_RESET_ON_FORK"],
        "runtime": 1_000_000, "deadline": 50_000_000, "period": 100_000_000});
    let own = "cut -d' ' -f41 /proc/$$/stat";
    let bundle = BundleDir::new().set("/process/scheduler", scheduler.clone()).shell(own);
    assert_eq!(runtime.run(&bundle).ok().text(), "6");
    let bundle = sleeper();
    let container = runtime.start(&bundle);
    let mut other = process(own);
    other["scheduler"] = scheduler.clone();
    assert_eq!(exec_file(&runtime, &container, &other).ok().text(), "6");
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    let bound = BundleDir::new()
        .set("/process/scheduler", scheduler)
        .set("/linux/resources/cpu", json!({"cpus": "0", "mems": "0"}));
    let refused = runtime.run(&bound).exits(1);
    assert!(refused.stderr().contains("/process/scheduler"), "{refused}");
    assert!(refused.stderr().contains("can't be used together with"), "{refused}");
    sandbox.assert_clean();
}

#[test]
fn an_exec_has_what_the_container_has_unless_it_asks_for_something_else() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for bundle in [sleeper(), in_user_namespace(sleeper())] {
        let bundle = bundle
            .set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 4}))
            .set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 1}))
            .set("/linux/personality", json!({"domain": "LINUX32"}));
        let container = runtime.start(&bundle);
        let script = format!("{SCHEDULING}; uname -m");
        let inherited = "4 3\nbest-effort: prio 1\ni686\n";
        assert_eq!(container.exec(["sh", "-c", &script]).ok().stdout(), inherited);
        assert_eq!(exec_file(&runtime, &container, &process(&script)).ok().stdout(), inherited);
        let mut other = process(&script);
        other["scheduler"] = json!({"policy": "SCHED_OTHER", "nice": -2});
        other["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0});
        let output = exec_file(&runtime, &container, &other).ok();
        assert_eq!(output.stdout(), "-2 0\nidle\ni686\n");
    }
}

#[test]
fn a_policy_that_no_linux_has_is_refused_by_name() {
    let sandbox = Sandbox::enter();
    let bundle = BundleDir::new().set("/process/scheduler", json!({"policy": "SCHED_ISO"}));
    let refused = Runtime::under_test().run(&bundle).exits(1);
    assert!(refused.stderr().contains("/process/scheduler/policy: `SCHED_ISO`"), "{refused}");
    sandbox.assert_clean();
}

#[test]
fn the_execution_domain_is_as_configured_also_where_a_filter_forbids_it() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for (domain, shown) in [("LINUX32", "i686"), ("LINUX", "x86_64")] {
        let bundle = BundleDir::new()
            .set("/linux/personality", json!({"domain": domain}))
            .set(
                "/linux/seccomp",
                json!({"defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["personality"], "action": "SCMP_ACT_ERRNO"}]}),
            )
            .args(["uname", "-m"]);
        assert_eq!(runtime.run(&bundle).ok().text(), shown);
    }
}

#[test]
fn the_memory_policy_is_as_configured() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let show = "head -n 1 /proc/self/numa_maps | cut -d' ' -f2";
    let cases = [
        (json!({"mode": "MPOL_DEFAULT"}), "default"),
        (json!({"mode": "MPOL_LOCAL"}), "local"),
        (json!({"mode": "MPOL_INTERLEAVE", "nodes": "0"}), "interleave:0"),
        (
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}),
            "bind=static:0",
        ),
        (
            json!({"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]}),
            "prefer=relative:0",
        ),
        (json!({"mode": "MPOL_PREFERRED"}), "local"),
        (json!({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}), "prefer (many):0"),
    ];
    for (policy, shown) in cases {
        let bundle = sleeper().set("/linux/memoryPolicy", policy);
        let container = runtime.start(&bundle);
        let text = container.exec(["sh", "-c", show]).ok().text();
        assert!(shown.starts_with(&text), "{text} is not {shown}");
        let own = format!("/proc/{}/numa_maps", container.pid().as_raw_nonzero());
        let own = fs::read_to_string(own).expect("the memory of the init");
        assert!(own.lines().next().is_some_and(|line| line.contains(shown)), "{own}");
    }
}

#[test]
fn a_memory_policy_that_cannot_be_is_reported_with_its_place() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let cases = [
        (json!({"mode": "MPOL_BIND", "nodes": "900"}), "invalid argument"),
        (json!({"mode": "MPOL_BIND", "nodes": "0-9876543210"}), "is not a list"),
        (json!({"mode": "MPOL_DEFAULT", "nodes": "0-7"}), "takes no nodes"),
        (json!({"mode": "MPOL_INTERLEAVE"}), "needs a node"),
        (json!({"nodes": "0"}), "missing field `mode`"),
        (json!({"mode": "INTERLEAVE"}), "INTERLEAVE"),
        (json!({"mode": "MPOL_LOCAL", "flags": ["badflag"]}), "badflag"),
        (json!({"mode": "MPOL_LOCAL", "flags": ["MPOL_F_NUMA_BALANCING"]}), "is for `MPOL_BIND`"),
    ];
    for (policy, text) in cases {
        let refused = runtime.run(&BundleDir::new().set("/linux/memoryPolicy", policy)).exits(1);
        assert!(refused.stderr().contains("/linux/memoryPolicy"), "{refused}");
        assert!(refused.stderr().contains(text), "{text}: {refused}");
    }
    sandbox.assert_clean();
}

const PROCESSORS: &str = "grep Cpus_allowed_list /proc/self/status | cut -f2";

/// The processors that a process without bounds has, as the kernel lists them.
fn all_processors() -> String {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").expect("the processors");
    online.trim().to_owned()
}

/// nrun started on one processor alone.
fn bound_to_the_first(runtime: &Runtime) -> Capture {
    Capture::of("taskset")
        .args(["-c", "0"])
        .args([runtime.program()])
        .args(["--root".as_ref(), runtime.root().as_os_str()])
}

#[test]
fn the_processors_that_nrun_is_bound_to_are_not_the_containers() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().shell(PROCESSORS);
    let id = runtime.new_id();
    let call = bound_to_the_first(&runtime);
    let call = call.args(["run".as_ref(), "--bundle".as_ref(), bundle.path().as_os_str()]);
    assert_eq!(call.args([&id]).run().ok().text(), all_processors());
    let bundle = sleeper();
    let container = runtime.start(&bundle);
    let call = bound_to_the_first(&runtime).args(["exec", container.id(), "sh", "-c", PROCESSORS]);
    assert_eq!(call.run().ok().text(), all_processors());
}

#[test]
fn an_exec_runs_on_its_processors_before_and_after_it_enters_the_cgroup() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper();
    let container = runtime.start(&bundle);
    let shown = |affinity: Value| {
        let mut process = process(PROCESSORS);
        process["execCPUAffinity"] = affinity;
        exec_file(&runtime, &container, &process).ok().text()
    };
    // Entering a cpuset widens it again on kernels before 6.2: what it is then is the kernel's affair.
    let left = shown(json!({"initial": "0"}));
    assert!(left == "0" || left == all_processors(), "{left}");
    assert_eq!(shown(json!({"initial": "0", "final": " 1, "})), "1");
    assert_eq!(shown(json!({"final": "0"})), "0");
    assert_eq!(shown(json!({"initial": "", "final": ""})), all_processors());
    let mut absent = process(PROCESSORS);
    absent["execCPUAffinity"] = json!({"final": "4000"});
    let refused = exec_file(&runtime, &container, &absent).exits(255);
    assert!(refused.stderr().contains("(process.json /execCPUAffinity/final)"), "{refused}");
    for list in ["70000", "2-1", "x"] {
        absent["execCPUAffinity"] = json!({"initial": list});
        let refused = exec_file(&runtime, &container, &absent).exits(255);
        assert!(refused.stderr().contains("/execCPUAffinity/initial"), "{refused}");
    }
}

#[test]
fn the_affinity_of_config_json_is_for_execs_and_not_for_the_container_itself() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper().set("/process/execCPUAffinity", json!({"initial": "0", "final": "1"}));
    let container = runtime.start(&bundle);
    let status = format!("/proc/{}/status", container.pid().as_raw_nonzero());
    let status = fs::read_to_string(status).expect("the status of the init");
    assert!(status.contains(&format!("Cpus_allowed_list:\t{}\n", all_processors())), "{status}");
    assert_eq!(container.exec(["sh", "-c", PROCESSORS]).ok().text(), "1");
    assert_eq!(exec_file(&runtime, &container, &process(PROCESSORS)).ok().text(), "1");
}

#[test]
fn an_exec_shares_the_session_keyring_of_the_container() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper().remove("/linux/maskedPaths");
    let rings = |options: &[&str]| {
        let container = runtime.create(&bundle, options);
        let _ = container.start().ok();
        let keys = container.exec(["cat", "/proc/keys"]).ok().stdout();
        let name = format!("_ses.{}", container.id());
        keys.lines().filter(|line| line.contains(&name)).count()
    };
    assert_eq!(rings(&[]), 1, "and not another one of the same name");
    assert_eq!(rings(&["--no-new-keyring"]), 0);
}

#[test]
fn the_callers_groups_are_kept_where_an_annotation_asks_for_it() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let show = ["grep", "Groups:", "/proc/self/status"];
    for (value, kept) in [("1", true), ("0", false)] {
        let bundle = sleeper()
            .set("/process/user/additionalGids", json!([70]))
            .set("/annotations/run.oci.keep_original_groups", value);
        let container = runtime.start(&bundle);
        let wanted = if kept { "Groups:\t5 6 " } else { "Groups:\t70 " };
        let exec = Capture::of("setpriv")
            .args(["--groups", "5,6"])
            .args([runtime.program()])
            .args(["--root".as_ref(), runtime.root().as_os_str()])
            .args(["exec", container.id()])
            .args(show);
        assert_eq!(exec.run().ok().stdout().trim_end_matches('\n'), wanted);
        let bundle = bundle.args(show);
        let run = Capture::of("setpriv")
            .args(["--groups", "5,6"])
            .args([runtime.program()])
            .args(["--root".as_ref(), runtime.root().as_os_str()])
            .args(["run".as_ref(), "--bundle".as_ref(), bundle.path().as_os_str()])
            .args([&runtime.new_id()]);
        assert_eq!(run.run().ok().stdout().trim_end_matches('\n'), wanted);
    }
}

#[test]
fn all_sixteen_limits_of_linux_are_set() {
    let _sandbox = Sandbox::enter();
    let names = [
        "CPU",
        "FSIZE",
        "DATA",
        "STACK",
        "CORE",
        "RSS",
        "NPROC",
        "NOFILE",
        "MEMLOCK",
        "AS",
        "LOCKS",
        "SIGPENDING",
        "MSGQUEUE",
        "NICE",
        "RTPRIO",
        "RTTIME",
    ];
    let limit = |resource: &str| {
        let output = Capture::of("prlimit")
            .args(["--noheadings", "--raw", "--output", "HARD", &format!("--{resource}")])
            .run()
            .ok();
        output.text().parse::<u64>().unwrap_or(u64::MAX)
    };
    // Within what this process may set: raising a hard limit takes a privilege that not every machine gives.
    let list: Vec<Value> = names
        .iter()
        .map(|name| {
            let hard = limit(&name.to_lowercase()).min(1 << 32);
            json!({"type": format!("RLIMIT_{name}"), "soft": hard - hard / 8, "hard": hard})
        })
        .collect();
    let bundle =
        BundleDir::new().set("/process/rlimits", list.clone()).args(["cat", "/proc/self/limits"]);
    let text = Runtime::under_test().run(&bundle).ok().stdout();
    let shown: Vec<(u64, u64)> = text
        .lines()
        .skip(1)
        .map(|line| {
            let mut words =
                line[26..].split_whitespace().map(|word| word.parse().unwrap_or(u64::MAX));
            (words.next().expect("a soft limit"), words.next().expect("a hard limit"))
        })
        .collect();
    let wanted: Vec<(u64, u64)> = list
        .iter()
        .map(|limit| (limit["soft"].as_u64().expect("soft"), limit["hard"].as_u64().expect("hard")))
        .collect();
    // /proc has them in the order of their numbers, with MEMLOCK after NOFILE, as the list above has.
    assert_eq!(shown, wanted);
}

#[test]
fn what_is_left_out_is_told_on_stderr_or_in_the_log_by_every_command_that_runs_it() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper().push("/process/capabilities/bounding", "CAP_FROM_THE_FUTURE");
    let unknown = "unknown capability `CAP_FROM_THE_FUTURE` is ignored";
    let run = runtime
        .run(&BundleDir::new().push("/process/capabilities/bounding", "CAP_FROM_THE_FUTURE"))
        .ok();
    assert!(run.stderr().starts_with("nrun: warning: ") && run.stderr().contains(unknown), "{run}");
    let sleeping = sleeper();
    let running = runtime.start(&sleeping);
    let mut process = process("true");
    process["capabilities"] = json!({"bounding": ["CAP_FROM_THE_FUTURE"]});
    let exec = exec_file(&runtime, &running, &process).ok();
    assert!(exec.stderr().contains(unknown), "{exec}");
    let log = runtime.root().join("log.json");
    let container = Runtime::create(&runtime, &bundle, [""; 0]);
    assert!(container.output().stderr().contains(unknown), "{}", container.output());
    let logged = Runtime::under_test().with_globals([
        "--log".as_ref(),
        log.as_os_str(),
        "--log-format".as_ref(),
        "json".as_ref(),
    ]);
    let container = logged.create(&bundle, [""; 0]);
    assert_eq!(container.output().stderr(), "", "stderr is the container's where there is a log");
    let text = fs::read_to_string(&log).expect("the log");
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(
        lines.iter().any(|line| line["level"] == "warning"
            && line["msg"].as_str().is_some_and(|msg| msg.contains(unknown))),
        "{text}"
    );
    // The fixture asks for ambient capabilities that are not inheritable.
    assert!(text.contains("/process/capabilities/ambient: leaves out CAP_AUDIT_WRITE"), "{text}");
}

#[test]
fn a_container_in_a_cpuset_runs_on_its_processors_only() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper().set("/linux/resources/cpu", json!({"cpus": "1", "mems": "0"}));
    let container = runtime.start(&bundle);
    assert_eq!(container.exec(["sh", "-c", PROCESSORS]).ok().text(), "1");
    assert_eq!(cgroups::read(container.id(), "cpuset.cpus").as_deref(), Some("1"));
}
