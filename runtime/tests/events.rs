//! `events`: statistics in the form of runc's, and word when a container is out of memory.

use std::fs;
use std::time::{Duration, Instant};

use nconform::fixture::{BundleDir, Capture, Container, Output, Runtime, Sandbox, cgroups};
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;

fn sleeper() -> BundleDir {
    BundleDir::new().args(["sleep", "600"])
}

#[track_caller]
fn stats(runtime: &Runtime, container: &Container<'_>) -> Value {
    let output = runtime.call(["events", "--stats", container.id()]).run().ok();
    let text = output.stdout();
    let prefix = format!(r#"{{"type":"stats","id":"{}","data":{{"#, container.id());
    assert!(text.starts_with(&prefix) && text.ends_with("}\n"), "{output}");
    assert_eq!(text.lines().count(), 1, "{output}");
    output.json()["data"].take()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().map(|object| object.keys().map(String::as_str).collect()).unwrap_or_default()
}

fn lines(output: &Output) -> Vec<Value> {
    let text = output.stdout();
    // The last may be half written.
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    whole.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// Waits until a line of a type has come.
#[track_caller]
fn expect(output: &Output, kind: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    while !lines(output).iter().any(|line| line["type"] == kind) {
        assert!(Instant::now() < end, "no line of type {kind}: {output}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn statistics_have_the_members_of_runcs() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper();
    let container = runtime.start(&bundle);
    let data = stats(&runtime, &container);
    let sections =
        ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"];
    assert_eq!(keys(&data), sections);
    // A unit of systemd's has a limit of its own where config.json has none.
    assert_eq!(data["pids"]["current"], 1);
    assert_eq!((&data["intel_rdt"], &data["network_interfaces"]), (&json!({}), &Value::Null));
    let cpu = &data["cpu"];
    assert!(cpu["usage"]["total"].as_u64().expect("a number") > 0, "{data}");
    let memory = &data["memory"];
    assert!(memory["usage"]["usage"].as_u64().expect("a number") > 0, "{data}");
    assert!(!keys(&memory["raw"]).is_empty(), "{data}");
    for section in ["usage", "swap", "kernel", "kernelTCP"] {
        assert!(memory[section]["limit"].is_u64() && memory[section]["failcnt"].is_u64(), "{data}");
    }
    let cpuset = [
        "cpu_exclusive",
        "mem_hardwall",
        "mem_exclusive",
        "memory_migrate",
        "memory_spread_page",
        "memory_spread_slab",
        "memory_pressure",
        "sched_load_balance",
        "sched_relax_domain_level",
    ];
    let missing: Vec<_> =
        cpuset.iter().filter(|name| data["cpuset"].get(**name).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}: {data}");
    if cgroups::unified() {
        assert_eq!(keys(&cpu["usage"]), ["total", "kernel", "user"]);
        return;
    }
    assert_eq!(
        keys(&cpu["usage"]),
        ["total", "percpu", "percpu_kernel", "percpu_user", "kernel", "user"]
    );
    let processors = cpu["usage"]["percpu"].as_array().expect("a list").len();
    assert_eq!(cpu["usage"]["percpu_user"].as_array().expect("a list").len(), processors);
    assert_eq!(data["cpuset"]["mems"], json!([0]));
    assert_eq!(data["cpuset"]["sched_relax_domain_level"], -1);
}

#[test]
fn limits_and_use_are_told() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper()
        .set("/linux/resources/memory/limit", 64 * MIB)
        .set("/linux/resources/pids/limit", 7)
        .set("/linux/resources/cpu", json!({"quota": 5000, "period": 100_000}));
    let container = runtime.start(&bundle);
    let _ = container.exec(["sh", "-c", "i=0; while [ $i -lt 30000 ]; do i=$((i + 1)); done"]).ok();
    let data = stats(&runtime, &container);
    assert_eq!(data["memory"]["usage"]["limit"], 64 * MIB);
    assert_eq!(data["pids"], json!({"current": 1, "limit": 7}));
    let throttling = &data["cpu"]["throttling"];
    assert!(throttling["periods"].as_u64().is_some_and(|periods| periods > 0), "{data}");
    assert!(throttling["throttledTime"].as_u64().is_some_and(|time| time > 1_000_000), "{data}");
}

#[test]
fn a_paused_container_has_statistics_too() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper();
    let container = runtime.start(&bundle);
    let _ = runtime.call(["pause", container.id()]).run().ok();
    assert_eq!(stats(&runtime, &container)["pids"]["current"], 1);
}

#[test]
fn statistics_come_at_each_interval_until_the_container_ends() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper();
    let container = runtime.start(&bundle);
    let (mut events, output) =
        runtime.call(["events", "--interval", "50ms", container.id()]).start();
    let end = Instant::now() + Duration::from_secs(60);
    while lines(&output).len() < 3 {
        assert!(Instant::now() < end, "{output}");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(
        lines(&output)
            .iter()
            .all(|line| line["type"] == "stats" && line["data"]["cpu"].is_object())
    );
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    assert!(events.wait().expect("wait for events").success(), "{output}");
    assert_eq!(output.stderr(), "");
    sandbox.assert_clean();
}

#[test]
fn being_out_of_memory_is_told_at_once() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper().set("/linux/resources/memory", json!({"limit": 16 * MIB}));
    let container = runtime.start(&bundle);
    // No swap to go to.
    if let Some(group) = cgroups::named(container.id())
        .into_iter()
        .find(|group| group.join("memory.swap.max").exists())
    {
        fs::write(group.join("memory.swap.max"), "0").expect("forbid swap");
    }
    let (mut events, output) =
        runtime.call(["events", "--interval", "100ms", container.id()]).start();
    // By then it watches.
    expect(&output, "stats");
    let _ = container.exec(["tail", "/dev/zero"]).exits(128 + 9);
    expect(&output, "oom");
    let oom = lines(&output).into_iter().find(|line| line["type"] == "oom");
    assert_eq!(oom, Some(json!({"type": "oom", "id": container.id()})));
    let _ = container.kill("KILL").ok();
    assert!(events.wait().expect("wait for events").success(), "{output}");
}

#[test]
fn an_init_that_is_killed_for_want_of_memory_is_told_of_before_the_end() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new()
        .shell("while [ ! -e /tmp/go ]; do sleep 0.01; done; exec tail /dev/zero")
        .set("/linux/resources/memory", json!({"limit": 16 * MIB}))
        .set("/root/readonly", false);
    let container = runtime.start(&bundle);
    let (mut events, output) =
        runtime.call(["events", "--interval", "100ms", container.id()]).start();
    expect(&output, "stats");
    // For longer than what was heard of others last counts as what they are at the end.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    fs::write(bundle.rootfs().join("tmp/go"), "").expect("write a file of the rootfs");
    assert!(events.wait().expect("wait for events").success(), "{output}");
    expect(&output, "oom");
    assert_eq!(container.status(), "stopped");
}

#[test]
fn events_of_a_container_that_does_not_run_are_refused() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new();
    let container = runtime.start(&bundle);
    container.wait();
    let stopped = format!("container with id {} is not running", container.id());
    for (args, words) in [
        (&["events", container.id()][..], stopped.as_str()),
        (&["events", "--stats", container.id()], &stopped),
        (&["events", "nobody"], "container does not exist"),
        (&["events", "--interval", "0", "nobody"], "duration interval must be greater than 0"),
        (&["events", "--interval=-1s", "nobody"], "duration interval must be greater than 0"),
        (&["events", "--interval", "soon", "nobody"], "invalid value `soon` for flag --interval"),
    ] {
        let output = runtime.call(args).run().exits(1);
        assert!(output.stderr().contains(words), "{output}");
    }
}

#[test]
fn a_reader_who_has_gone_is_no_error() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let container = runtime.start(&bundle);
    let script = r#"{ "$0" --root "$1" events --interval 100ms "$2"; echo $? >&2; } | head -n 1"#;
    let names =
        [runtime.program().as_os_str(), runtime.root().as_os_str(), container.id().as_ref()];
    let output = Capture::of("sh").args(["-c", script]).args(names).run().ok();
    assert_eq!((output.stderr().as_str(), output.stdout().lines().count()), ("0\n", 1), "{output}");
}
