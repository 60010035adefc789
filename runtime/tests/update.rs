//! `update`: limits change in the kernel and in the container's state, all of them or none.

use std::fs;

use nconform::fixture::{
    BundleDir, Container, Output, Runtime, Sandbox, cgroups, scratch_dir, strace,
};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;

fn limited() -> BundleDir {
    let resources = json!({
        "memory": {"limit": 32 * MIB, "reservation": 24 * MIB},
        "cpu": {"shares": 100, "quota": 500_000, "period": 1_000_000},
        "pids": {"limit": 20}
    });
    BundleDir::new().args(["sleep", "600"]).set("/linux/resources", resources)
}

#[track_caller]
fn update(runtime: &Runtime, container: &Container<'_>, flags: &[&str]) -> Output {
    runtime.call(["update"]).args(flags).args([container.id()]).run()
}

/// `update -r -`, with the JSON on standard input.
#[track_caller]
fn resources(runtime: &Runtime, container: &Container<'_>, json: &Value) -> Output {
    runtime.call(["update", "-r", "-", container.id()]).stdin(json.to_string()).run()
}

/// The value of a limit: the text of the file that has it on v1, or of the one on v2.
#[track_caller]
fn value(container: &Container<'_>, v1: &str, v2: &str) -> String {
    let file = if cgroups::unified() { v2 } else { v1 };
    cgroups::read(container.id(), file).unwrap_or_else(|| panic!("no {file}"))
}

#[track_caller]
fn memory(container: &Container<'_>) -> String {
    value(container, "memory.limit_in_bytes", "memory.max")
}

/// Memory and swap on v1, swap alone on v2. `None` on a host that does not count swap.
fn swap(container: &Container<'_>) -> Option<String> {
    let v1 = cgroups::read(container.id(), "memory.memsw.limit_in_bytes");
    v1.or_else(|| cgroups::read(container.id(), "memory.swap.max"))
}

/// `quota period`, as v2 has them.
#[track_caller]
fn cpu(container: &Container<'_>) -> String {
    if cgroups::unified() {
        return value(container, "", "cpu.max");
    }
    let [quota, period] =
        ["cpu.cfs_quota_us", "cpu.cfs_period_us"].map(|file| value(container, file, ""));
    format!("{} {period}", if quota == "-1" { "max".into() } else { quota })
}

/// What [`cpu`] reads for a quota that was asked for: systemd keeps it as whole percents of a processor, rounded up.
fn quota(runtime: &Runtime, asked: u64, period: u64) -> String {
    let percents = (asked * 100).div_ceil(period);
    let kept = if runtime.uses_systemd() { percents * period / 100 } else { asked };
    format!("{kept} {period}")
}

fn pids(container: &Container<'_>) -> String {
    value(container, "pids.max", "pids.max")
}

#[test]
fn each_flag_changes_its_limit_and_no_other() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = limited();
    let container = runtime.start(&bundle);
    let set = |flags: &[&str]| {
        let _ = update(&runtime, &container, flags).ok();
    };
    set(&["--memory", "67108864"]);
    assert_eq!(memory(&container), (64 * MIB).to_string());
    set(&["--memory", "50M"]);
    assert_eq!(memory(&container), (50 * MIB).to_string());
    set(&["--memory-reservation=32MiB"]);
    let reservation = value(&container, "memory.soft_limit_in_bytes", "memory.low");
    assert_eq!(reservation, (32 * MIB).to_string());
    set(&["--pids-limit", "10"]);
    assert_eq!(pids(&container), "10");
    set(&["--pids-limit", "-1"]);
    assert_eq!(pids(&container), "max");
    set(&["--pids-limit", "0"]);
    assert_eq!(pids(&container), "1");
    assert_eq!(cpu(&container), "500000 1000000");
    set(&["--cpu-period", "900000"]);
    assert_eq!(cpu(&container), quota(&runtime, 500_000, 900_000));
    set(&["--cpu-quota", "600000"]);
    assert_eq!(cpu(&container), quota(&runtime, 600_000, 900_000));
    set(&["--cpu-quota", "-1"]);
    assert_eq!(cpu(&container), "max 900000");
    set(&["--cpu-share", "200"]);
    assert_eq!(
        value(&container, "cpu.shares", "cpu.weight"),
        if cgroups::unified() { "29" } else { "200" }
    );
    set(&["--cpu-period", "900000", "--cpu-quota", "-1", "--cpu-burst", "0"]);
    assert_eq!(value(&container, "cpu.cfs_burst_us", "cpu.max.burst"), "0");
    set(&["--cpu-quota", "600000", "--cpu-burst", "500000"]);
    assert_eq!(value(&container, "cpu.cfs_burst_us", "cpu.max.burst"), "500000");
    set(&["--cpuset-cpus", "0", "--cpuset-mems", "0"]);
    assert_eq!(value(&container, "cpuset.cpus", "cpuset.cpus"), "0");
    assert_eq!(memory(&container), (50 * MIB).to_string());
    for idle in ["1", "0", "1"] {
        set(&["--cpu-idle", idle]);
        assert_eq!(value(&container, "cpu.idle", "cpu.idle"), idle);
    }
    set(&["--cpu-period", "10000", "--cpu-quota", "5000", "--cpu-burst", "0"]);
    assert_eq!(value(&container, "cpu.idle", "cpu.idle"), "1");
}

#[test]
fn memory_and_swap_grow_and_shrink_together_in_any_order() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = limited();
    let container = runtime.start(&bundle);
    let Some(_) = swap(&container) else {
        // Without swap accounting a limit on it cannot be kept.
        let flags = ["--memory", "30M", "--memory-swap", "50M"];
        let output = update(&runtime, &container, &flags).exits(1);
        assert!(output.stderr().contains("/memory/swap"), "{output}");
        return;
    };
    let unlimited =
        if cgroups::unified() { "max".to_owned() } else { (i64::MAX / 4096 * 4096).to_string() };
    for (limit, total) in [(30, 50), (60, 80), (30, 30), (100, 100), (20, 40)] {
        let (memory_flag, swap_flag) = (format!("{limit}M"), format!("{total}M"));
        let _ =
            update(&runtime, &container, &["--memory", &memory_flag, "--memory-swap", &swap_flag])
                .ok();
        assert_eq!(memory(&container), (limit * MIB).to_string());
        let wanted = if cgroups::unified() { total - limit } else { total };
        assert_eq!(swap(&container), Some((wanted * MIB).to_string()));
    }
    // One of them alone: the other is known from before.
    let _ = update(&runtime, &container, &["--memory-swap", "70M"]).ok();
    let wanted = if cgroups::unified() { 50 } else { 70 };
    assert_eq!(swap(&container), Some((wanted * MIB).to_string()));
    let _ = update(&runtime, &container, &["--memory", "40M"]).ok();
    let wanted = if cgroups::unified() { 30 } else { 70 };
    assert_eq!(swap(&container), Some((wanted * MIB).to_string()));
    let _ = update(&runtime, &container, &["--memory-swap", "-1"]).ok();
    assert_eq!(swap(&container), Some(unlimited.clone()));
    let _ = update(&runtime, &container, &["--memory", "30M", "--memory-swap", "50M"]).ok();
    let _ = update(&runtime, &container, &["--memory", "-1"]).ok();
    assert_eq!((memory(&container), swap(&container)), (unlimited.clone(), Some(unlimited)));
}

#[test]
fn resources_come_from_a_file_or_from_standard_input() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = limited();
    let container = runtime.start(&bundle);
    let _ = resources(&runtime, &container, &json!({"memory": {"limit": 40 * MIB}})).ok();
    assert_eq!(memory(&container), (40 * MIB).to_string());
    let file = bundle.path().join("resources.json");
    let file = file.to_str().expect("UTF-8");
    fs::write(
        file,
        r#"{"CPU": {"Period": 900000, "Quota": 600000}, "pids": null, "memory": {"limit": 0}}"#,
    )
    .expect("write resources.json");
    // What engines write: containerd, Docker, Podman.
    for (form, stdin, limit) in [
        (&["update", "--resources=-", container.id()][..], r#"{"pids": {"limit": 11}}"#, "11"),
        (&["update", "--resources", "-", container.id()], r#"{"pids": {"limit": 12}}"#, "12"),
        (&["update", "--resources", "-", container.id()], "null", "12"),
        (
            &["update", &format!("--resources={file}"), container.id(), "--pids-limit", "9"],
            "",
            "12",
        ),
    ] {
        let _ = runtime.call(form).stdin(stdin).run().ok();
        assert_eq!(pids(&container), limit);
    }
    assert_eq!(cpu(&container), quota(&runtime, 600_000, 900_000));
    assert_eq!(memory(&container), (40 * MIB).to_string());
}

#[test]
fn device_rules_stay_as_they_are() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = limited();
    let container = runtime.start(&bundle);
    let rules = cgroups::read(container.id(), "devices.list");
    let all = json!({"devices": [{"allow": true, "access": "rwm"}], "pids": {"limit": 15}});
    let _ = resources(&runtime, &container, &all).ok();
    assert_eq!(cgroups::read(container.id(), "devices.list"), rules);
    let node = ["sh", "-c", "mknod /dev/kmsg2 c 1 11; cat < /dev/kmsg2"];
    assert!(!container.exec(node).success());
    assert_eq!(pids(&container), "15");
}

#[test]
fn what_cannot_be_set_changes_nothing() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = limited();
    let container = runtime.start(&bundle);
    let config = || fs::read_to_string(runtime.root().join(container.id()).join("config.json"));
    let before = config().expect("the container's config.json");
    let asked = json!({
        "memory": {"limit": 50 * MIB},
        "cpu": {"quota": 600_000, "cpus": "4000"},
        "pids": {"limit": 30}
    });
    let output = resources(&runtime, &container, &asked).exits(1);
    assert!(output.stderr().contains("(resources /cpu/cpus)"), "{output}");
    assert_eq!(memory(&container), (32 * MIB).to_string());
    assert_eq!(cpu(&container), "500000 1000000");
    assert_eq!(pids(&container), "20");
    assert_eq!(config().expect("the container's config.json"), before);
}

/// Of what was given no limit before, as well: the OOM killer would leave whoever is out of memory hanging.
#[test]
fn what_was_not_written_is_not_put_back_and_what_was_is() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().args(["sleep", "600"]);
    let container = runtime.start(&bundle);
    let failed = |asked: &Value| {
        let output = resources(&runtime, &container, asked).exits(1);
        assert!(!output.stderr().contains("put back"), "{output}");
    };
    failed(
        &json!({"blockIO": {"throttleReadBpsDevice": [{"major": 250, "minor": 99, "rate": 1}]}}),
    );
    failed(&json!({"memory": {"disableOOMKiller": true, "swap": 32 * MIB}}));
    let killer = || cgroups::read(container.id(), "memory.oom_control");
    let says = |disabled| {
        let line = format!("oom_kill_disable {disabled}");
        killer().is_none_or(|text| text.lines().any(|own| own == line))
    };
    assert!(says(0), "{:?}", killer());
    if killer().is_some() {
        for (disable, disabled) in [(true, 1), (false, 0)] {
            let asked = json!({"memory": {"disableOOMKiller": disable}});
            let _ = resources(&runtime, &container, &asked).ok();
            assert!(says(disabled), "{:?}", killer());
        }
    }
}

/// The next update would start from limits that are not those in force.
#[test]
fn limits_that_cannot_be_noted_are_not_set() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().args(["sleep", "600"]);
    let directory = scratch_dir();
    let root = directory.path().to_str().expect("UTF-8");
    mount("none", root, "tmpfs", MountFlags::empty(), Some(c"size=256k")).expect("a small disk");
    let (id, path) = (runtime.new_id(), bundle.path().to_str().expect("UTF-8"));
    // The last root counts.
    let call = |args: &[&str]| runtime.call(["--root", root].iter().chain(args)).run();
    let _ = call(&["create", "--bundle", path, &id]).ok();
    let file = if cgroups::unified() { "pids.max" } else { "memory.limit_in_bytes" };
    let before = cgroups::read(&id, file);
    let filler = directory.path().join("filler");
    let full = fs::write(&filler, vec![0; 1 << 20]).expect_err("a full disk");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    call(&["update", "--memory", "64M", "--pids-limit", "9", &id]).exits(1).says("no space left");
    assert_eq!(cgroups::read(&id, file), before);
    assert_eq!(cgroups::read(&id, "pids.max").as_deref(), Some("max"));
    fs::remove_file(&filler).expect("the filler is there");
    let _ = call(&["update", "--pids-limit", "9", &id]).ok();
    assert_eq!(cgroups::read(&id, "pids.max").as_deref(), Some("9"));
    let _ = call(&["delete", "--force", &id]).ok();
    unmount(root, UnmountFlags::DETACH).expect("the mount is there");
    sandbox.assert_clean();
}

/// What had no limit before has none after, either.
#[test]
fn limits_that_cannot_be_put_in_their_place_are_taken_back() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new()
        .args(["sleep", "600"])
        .set("/linux/resources/pids", json!({"limit": 50}))
        .remove("/linux/resources/cpu");
    let container = runtime.start(&bundle);
    let id = container.id();
    let shares = if cgroups::unified() { "cpu.weight" } else { "cpu.shares" };
    let values = || ["pids.max", shares].map(|file| cgroups::read(id, file));
    let before = values();
    let root = runtime.root().display().to_string();
    let words = ["--root", &root, "update", "--pids-limit", "70", "--cpu-share", "555", id];
    let failing = ["-e", "inject=/^renameat:error=EIO"];
    let (output, _) = strace(&failing, runtime.program(), &words);
    output.exits(1).says("I/O error");
    assert_eq!(values(), before);
    let _ = update(&runtime, &container, &words[3..7]).ok();
    assert_ne!(values(), before);
    let _ = runtime.call(["delete", "--force", id]).run().ok();
    sandbox.assert_clean();
}

/// v2 takes any limit, and kills what is above it.
#[test]
fn a_memory_limit_below_what_is_in_use_tells_how_much_that_is() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = limited();
    let container = runtime.start(&bundle);
    let output = update(&runtime, &container, &["--memory", "4096"]);
    if cgroups::unified() {
        container.wait();
        assert_eq!(container.status(), "stopped");
        return;
    }
    let output = output.exits(1);
    assert!(output.stderr().contains("(resources /memory/limit)"), "{output}");
    assert!(output.stderr().contains("(current usage: "), "{output}");
    assert_eq!(memory(&container), (32 * MIB).to_string());
    assert_eq!(container.status(), "running");
}

#[test]
fn a_limit_that_is_none_is_named() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = limited();
    let container = runtime.start(&bundle);
    for (flags, words) in [
        (&["--memory", "5Q"][..], "invalid value for memory"),
        (&["--cpu-period", "x"], "invalid value for cpu-period"),
        (&["--cpu-idle", "2"], "/cpu/idle"),
        (&["--blkio-weight", "70000"], "invalid value for blkio-weight"),
        (&["--cpu-share", "1"], "minimum allowed cpu-shares"),
        (&["--resources", "/no/such/file"], "/no/such/file"),
        (&["--l3-cache-schema", "L3:0=f"], "Intel RDT/CAT: l3 cache schema is not enabled"),
        (&["--mem-bw-schema", "MB:0=5"], "Intel RDT/MBA: memory bandwidth schema is not enabled"),
    ] {
        if cgroups::unified() && flags[0] == "--cpu-share" {
            continue;
        }
        let output = update(&runtime, &container, flags).exits(1);
        assert!(output.stderr().contains(words), "{output}");
    }
    for (json, words) in [
        (json!({"memory": {"limit": "x"}}), "`memory`"),
        (json!([]), "JSON object"),
        (json!({"memory": {"limit": 10 * MIB, "swap": 5 * MIB}}), "/memory/swap"),
    ] {
        let output = resources(&runtime, &container, &json).exits(1);
        assert!(output.stderr().contains(words), "{output}");
    }
    assert_eq!(memory(&container), (32 * MIB).to_string());
}

#[test]
fn kernel_memory_is_ignored_with_a_warning() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = limited();
    let container = runtime.start(&bundle);
    for flag in ["--kernel-memory", "--kernel-memory-tcp"] {
        let output = update(&runtime, &container, &[flag, "50M"]).ok();
        let warning = format!("Setting {flag} is ignored and will be removed");
        assert!(output.stderr().contains(&warning), "{output}");
    }
    let log = bundle.path().join("log");
    let log = log.to_str().expect("UTF-8");
    let globals = ["--log", log, "--log-format", "json", "update", "-r", "-", container.id()];
    let _ = runtime.call(globals).stdin(r#"{"memory": {"kernel": 5}, "cpus": {}}"#).run().ok();
    let log = fs::read_to_string(log).expect("a log");
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let texts: Vec<&str> = lines.iter().filter_map(|line| line["msg"].as_str()).collect();
    assert_eq!(
        texts,
        [
            "unknown resource `cpus` is ignored",
            "Kernel memory settings are ignored and will be removed"
        ]
    );
    assert!(lines.iter().all(|line| line["level"] == "warning"), "{log}");
}

#[test]
fn a_created_or_paused_container_can_be_updated_and_stays_as_it_is() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = limited();
    let container = runtime.create(&bundle, [""; 0]);
    let _ = update(&runtime, &container, &["--pids-limit", "31"]).ok();
    assert_eq!(container.status(), "created");
    let _ = container.start().ok();
    let _ = runtime.call(["pause", container.id()]).run().ok();
    let _ = update(&runtime, &container, &["--pids-limit", "32", "--memory", "40M"]).ok();
    assert_eq!(container.status(), "paused");
    assert_eq!(pids(&container), "32");
    let _ = runtime.call(["resume", container.id()]).run().ok();
}

#[test]
fn a_stopped_or_unknown_container_cannot_be_updated() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new();
    let container = runtime.start(&bundle);
    container.wait();
    let output = update(&runtime, &container, &["--pids-limit", "5"]).exits(1);
    assert!(output.stderr().contains("container not running"), "{output}");
    let output = runtime.call(["update", "--pids-limit", "5", "nobody"]).run().exits(1);
    assert!(output.stderr().contains("container does not exist"), "{output}");
}

#[test]
fn limits_are_kept_for_the_next_update_and_exec_still_works() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = limited();
    let container = runtime.start(&bundle);
    let _ = update(&runtime, &container, &["--cpu-quota", "700000", "--memory", "48M"]).ok();
    let path = runtime.root().join(container.id()).join("config.json");
    let config: Value =
        serde_json::from_slice(&fs::read(&path).expect("config.json")).expect("JSON");
    assert_eq!(
        config["linux"]["resources"],
        json!({
            "memory": {"limit": 48 * MIB, "reservation": 24 * MIB},
            "cpu": {"shares": 100, "quota": 700_000, "period": 1_000_000},
            "pids": {"limit": 20}
        })
    );
    assert_eq!(config["process"], bundle.config()["process"]);
    let _ = container.exec(["true"]).ok();
    let _ = update(&runtime, &container, &["--cpu-period", "800000"]).ok();
    assert_eq!(cpu(&container), quota(&runtime, 700_000, 800_000));
}
