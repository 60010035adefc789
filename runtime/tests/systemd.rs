//! Containers whose cgroup systemd makes, where systemd runs; where it does not, that this is said and nothing is left.
//!
//! Most of these tests keep the host's own /run, and all clean up by the names of their units. As another
//! user than root they talk to that user's systemd.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nconform::fixture::{BundleDir, Capture, Runtime, Sandbox, cgroups, unique_name, untried};
use serde_json::json;

const FLAG: &str = "--systemd-cgroup";

/// A test of the system's systemd. Where none runs, the refusal is all that there is to see.
fn is_here() -> bool {
    if Path::new("/run/systemd/system").is_dir() {
        assert!(rustix::process::geteuid().is_root(), "this test needs root");
        return true;
    }
    let runtime = Runtime::under_test().with_globals([FLAG]);
    let output = runtime.try_create(&sleeper()).exits(1);
    let text =
        "systemd cgroup flag passed, but systemd support for managing cgroups is not available";
    assert!(output.stderr().contains(text), "{output}");
    assert_eq!(std::fs::read_dir(runtime.root()).expect("the root").count(), 0);
    untried("no systemd as the first process");
    false
}

fn sleeper() -> BundleDir {
    BundleDir::new().args(["sleep", "600"])
}

fn with_systemd() -> Runtime {
    Runtime::under_test().with_globals([FLAG])
}

/// `systemctl` with these words.
fn systemctl(args: &[&str]) -> String {
    let mut command = Command::new("systemctl");
    if !rustix::process::geteuid().is_root() {
        command.arg("--user");
    }
    let output = command.args(args).output().expect("systemctl");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "systemctl {args:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A property of a unit.
fn property(unit: &str, name: &str) -> String {
    systemctl(&["show", "--value", "-p", name, unit])
}

#[track_caller]
fn assert_gone(unit: &str, id: &str) {
    assert_eq!(property(unit, "LoadState"), "not-found", "{unit}");
    let left = cgroups::named(unit);
    assert!(left.is_empty(), "{left:?}");
    let left = cgroups::named(id);
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_container_is_a_scope_with_its_limits() {
    if !is_here() {
        return;
    }
    let runtime = with_systemd();
    let bundle = sleeper().set(
        "/linux/resources",
        json!({
            "devices": [{"allow": false, "access": "rwm"}],
            "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20},
            "cpu": {"shares": 512, "quota": 20_001, "period": 50_000, "cpus": "0", "mems": "0"},
            "pids": {"limit": 40},
        }),
    );
    let container = runtime.create(&bundle, [""; 0]);
    let unit = format!("nrun-{}.scope", container.id());
    let v2 = cgroups::unified();
    let quota = if v2 { "20500 50000" } else { "20500" };
    let table = [
        ("ActiveState", "active"),
        ("Slice", "system.slice"),
        ("Delegate", "yes"),
        ("CollectMode", "inactive-or-failed"),
        ("MemoryAccounting", "yes"),
        ("TasksMax", "40"),
        ("CPUQuotaPerSecUSec", "410ms"),
        ("CPUQuotaPeriodUSec", "50ms"),
        ("AllowedCPUs", "0"),
        ("AllowedMemoryNodes", "0"),
        ("DevicePolicy", "strict"),
        (if v2 { "MemoryMax" } else { "MemoryLimit" }, "67108864"),
        (if v2 { "CPUWeight" } else { "CPUShares" }, if v2 { "59" } else { "512" }),
    ];
    for (name, value) in table {
        assert_eq!(property(&unit, name), value, "{name}");
    }
    assert!(property(&unit, "DeviceAllow").contains("/dev/char/1:3 rwm"));
    let files = [
        ("memory.limit_in_bytes", "67108864", "memory.max", "67108864"),
        ("memory.memsw.limit_in_bytes", "100663296", "memory.swap.max", "33554432"),
        ("cpu.cfs_quota_us", quota, "cpu.max", quota),
        ("pids.max", "40", "pids.max", "40"),
        ("cpuset.cpus", "0", "cpuset.cpus", "0"),
    ];
    for (v1_file, v1, v2_file, v2_value) in files {
        let (file, value) = if v2 { (v2_file, v2_value) } else { (v1_file, v1) };
        assert_eq!(cgroups::read(&unit, file).as_deref(), Some(value), "{file}");
    }
    let pid = container.pid().as_raw_nonzero().to_string();
    let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its cgroups");
    let place = format!("/system.slice/{unit}");
    assert!(own.lines().all(|line| line.ends_with(&place) || line.contains(":misc:")), "{own}");
    let _ = container.start().ok();
    let _ = container.exec(["true"]).ok();
    assert_eq!(container.status(), "running");
    let _ = container.kill("KILL").ok();
    container.wait();
    let _ = container.delete().ok();
    assert_gone(&unit, container.id());
}

#[test]
fn device_rules_hold_and_survive_a_reload_of_systemd() {
    if !is_here() {
        return;
    }
    let runtime = with_systemd();
    let bundle = sleeper().set(
        "/linux/resources/devices",
        json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "w"},
        ]),
    );
    let caps = json!(["CAP_MKNOD", "CAP_SYSLOG"]);
    let bundle = ["bounding", "effective", "permitted"].iter().fold(bundle, |bundle, set| {
        bundle.set(&format!("/process/capabilities/{set}"), caps.clone())
    });
    let container = runtime.start(&bundle);
    let check = || {
        let script = "mknod /tmp/k c 1 11; mknod /tmp/m c 1 4; echo x >/dev/null || exit 2; \
                      (: >>/tmp/k) || exit 3; (: </tmp/k) && exit 4; (: </tmp/m) && exit 5; rm /tmp/k /tmp/m";
        let _ = container.exec(["sh", "-c", script]).exits(0);
    };
    check();
    systemctl(&["daemon-reload"]);
    check();
    let unit = format!("nrun-{}.scope", container.id());
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    assert_gone(&unit, container.id());
}

#[test]
fn the_path_names_slice_and_scope_and_annotations_set_properties() {
    if !is_here() {
        return;
    }
    let runtime = with_systemd();
    let name = unique_name();
    let slice = format!("nrt{}-inner.slice", std::process::id());
    let bundle = sleeper()
        .set("/linux/cgroupsPath", format!("{slice}:libpod:{name}"))
        .set("/annotations/org.systemd.property.TimeoutStopSec", "uint64 7")
        .set("/annotations/org.systemd.property.Description", "'a test'")
        .set("/annotations/org.systemd.property.CollectMode", "'inactive'");
    let container = runtime.create(&bundle, [""; 0]);
    let unit = format!("libpod-{name}.scope");
    let expected = [
        ("Slice", slice.as_str()),
        ("TimeoutStopUSec", "7s"),
        ("Description", "a test"),
        ("CollectMode", "inactive"),
    ];
    for (property_name, value) in expected {
        assert_eq!(property(&unit, property_name), value, "{property_name}");
    }
    let group = property(&unit, "ControlGroup");
    let outer = format!("nrt{}.slice", std::process::id());
    assert_eq!(group, format!("/{outer}/{slice}/{unit}"));
    assert_eq!(container.status(), "created");
    let _ = container.delete().ok();
    assert_gone(&unit, &name);
    systemctl(&["stop", &slice, &outer]);
    cgroups::destroy(&slice);
    cgroups::destroy(&outer);
}

#[test]
fn wrong_paths_and_annotations_are_refused_before_anything_is_made() {
    if !is_here() {
        return;
    }
    let runtime = with_systemd();
    let refused = [
        ("/linux/cgroupsPath", "/docker/a", "`slice:prefix:name`"),
        ("/linux/cgroupsPath", "a--b.slice:x:y", "a slice is"),
        ("/annotations/org.systemd.property.TimeoutStopSec", "'x'", "number of seconds"),
    ];
    for (pointer, value, why) in refused {
        let output = runtime.try_create(&sleeper().set(pointer, value)).exits(1);
        let text = output.stderr();
        assert!(text.contains(why) && text.contains(pointer), "{output}");
    }
    // systemd's own refusal.
    let odd = sleeper().set("/annotations/org.systemd.property.NoSuchThing", "true");
    let output = runtime.try_create(&odd).exits(1);
    assert!(output.stderr().contains("NoSuchThing"), "{output}");
    assert_eq!(std::fs::read_dir(runtime.root()).expect("the root").count(), 0);
}

#[test]
fn a_unit_in_use_is_left_alone_and_one_that_failed_is_cleared_away() {
    if !is_here() {
        return;
    }
    let runtime = with_systemd();
    let name = unique_name();
    let unit = format!("libpod-{name}.scope");
    let bundle = sleeper().set("/linux/cgroupsPath", format!("system.slice:libpod:{name}"));
    let first = runtime.start(&bundle);
    let output = runtime.try_create(&bundle).exits(1);
    assert!(output.stderr().contains(&unit), "{output}");
    assert!(output.stderr().contains("hint:"), "{output}");
    assert_eq!(first.status(), "running");
    assert_eq!(property(&unit, "ActiveState"), "active");
    let _ = runtime.call(["delete", "--force", first.id()]).run().ok();
    assert_gone(&unit, &name);

    // A scope fails when its processes do not end in time.
    let mut stubborn = Command::new("systemd-run")
        .args([
            "--scope",
            "--quiet",
            "--unit",
            &unit,
            "-p",
            "TimeoutStopSec=1",
            "-p",
            "SendSIGKILL=no",
        ])
        .args(["sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
        .spawn()
        .expect("systemd-run");
    for _ in 0..200 {
        if property(&unit, "ActiveState") == "active" {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(500));
    // It does not stop in time, which is what this is about.
    let _ = Command::new("systemctl").args(["stop", &unit]).status();
    stubborn.kill().expect("kill it");
    stubborn.wait().expect("wait for it");
    assert_eq!(property(&unit, "ActiveState"), "failed");
    cgroups::destroy(&unit);
    let second = runtime.create(&bundle, [""; 0]);
    assert_eq!(property(&unit, "ActiveState"), "active");
    let _ = second.delete().ok();
    assert_gone(&unit, &name);
}

#[test]
fn a_sub_cgroup_is_made_where_it_is_asked_for() {
    if !is_here() {
        return;
    }
    let runtime = with_systemd();
    let bundle = sleeper()
        .set("/linux/resources/pids/limit", 50)
        .set("/annotations/run.oci.systemd.subgroup", "container");
    let container = runtime.start(&bundle);
    let unit = format!("nrun-{}.scope", container.id());
    let pid = container.pid().as_raw_nonzero().to_string();
    let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its cgroups");
    let place = format!("/system.slice/{unit}/container");
    assert!(own.lines().any(|line| line.ends_with(&place)), "{own}");
    assert_eq!(cgroups::read("container", "pids.max").as_deref(), Some("50"));
    let _ = container.exec(["true"]).ok();
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    assert_gone(&unit, container.id());
}

#[test]
fn an_update_changes_the_unit_and_the_files() {
    if !is_here() {
        return;
    }
    let runtime = with_systemd();
    let bundle = sleeper().set("/linux/resources/memory/limit", 64 << 20);
    let container = runtime.start(&bundle);
    let unit = format!("nrun-{}.scope", container.id());
    let update = |args: &[&str]| {
        // Without the flag: which manager it is stands in the state.
        Capture::of(runtime.program())
            .args([OsStr::new("--root"), runtime.root().as_os_str(), OsStr::new("update")])
            .args(args)
            .args([container.id()])
            .run()
    };
    let limits = ["--memory", "100M", "--pids-limit", "50", "--cpu-quota", "30001"];
    let _ = update(&limits).ok();
    let v2 = cgroups::unified();
    let quota = if v2 { "31000 100000" } else { "31000" };
    assert_eq!(property(&unit, if v2 { "MemoryMax" } else { "MemoryLimit" }), "104857600");
    assert_eq!(property(&unit, "TasksMax"), "50");
    assert_eq!(property(&unit, "CPUQuotaPerSecUSec"), "310ms");
    let files = [
        ("memory.limit_in_bytes", "memory.max", "104857600"),
        ("pids.max", "pids.max", "50"),
        ("cpu.cfs_quota_us", "cpu.max", quota),
    ];
    let check = || {
        for (v1_file, v2_file, value) in files {
            let file = if v2 { v2_file } else { v1_file };
            assert_eq!(cgroups::read(&unit, file).as_deref(), Some(value), "{file}");
        }
    };
    check();
    systemctl(&["daemon-reload"]);
    check();
    let _ = update(&["--cpuset-cpus", "4000"]).exits(1);
    assert_eq!(property(&unit, "TasksMax"), "50");
    check();
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    assert_gone(&unit, container.id());
}

/// In a user's session: with that user's systemd, over that user's bus.
#[test]
fn a_users_container_is_a_scope_of_the_users_systemd() {
    if rustix::process::geteuid().is_root() {
        return untried("no session of an ordinary user");
    }
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let map = |id| json!([{"containerID": 0, "hostID": id, "size": 1}]);
    let bundle = sleeper()
        .push("/linux/namespaces", json!({"type": "user"}))
        .push("/linux/namespaces", json!({"type": "cgroup"}))
        .set("/linux/uidMappings", map(uid))
        .set("/linux/gidMappings", map(gid))
        .set(
            "/mounts/2/options",
            json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
        )
        .set("/linux/resources/memory/limit", 64 << 20)
        .set("/linux/resources/pids/limit", 40);
    for private in [false, true] {
        let globals = Runtime::under_test().with_globals([FLAG]);
        let runtime = &globals;
        let id = runtime.new_id();
        let mut create = runtime.bundle_call("create", &bundle, [""; 0], &id);
        if private {
            // Without a bus there is the manager's own socket.
            create = create.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent");
        }
        let _ = create.run().ok();
        let _ = runtime.call(["start", &id]).run().ok();
        let unit = format!("nrun-{id}.scope");
        assert_eq!(property(&unit, "ActiveState"), "active");
        assert_eq!(property(&unit, "TasksMax"), "40");
        assert_eq!(property(&unit, "MemoryMax"), "67108864");
        assert_eq!(cgroups::read(&unit, "memory.max").as_deref(), Some("67108864"));
        let group = property(&unit, "ControlGroup");
        assert!(group.ends_with(&format!("/user@{uid}.service/user.slice/{unit}")), "{group}");
        let exec = runtime.call(["exec", &id, "cat", "/proc/self/cgroup"]).run().ok();
        assert_eq!(exec.text(), "0::/", "it is where the container is, the root of its namespace");
        let _ = runtime.call(["update", "--pids-limit", "50", &id]).run().ok();
        assert_eq!(property(&unit, "TasksMax"), "50");
        let _ = runtime.call(["delete", "--force", &id]).run().ok();
        assert_gone(&unit, &id);
    }
}

#[test]
fn a_create_that_is_killed_leaves_nothing_that_delete_cannot_remove() {
    if !is_here() {
        return;
    }
    const MOMENTS: u32 = 8;
    let (runtime, bundle) = (with_systemd(), sleeper());
    let started = std::time::Instant::now();
    let id = runtime.new_id();
    let _ = runtime.bundle_call("create", &bundle, [""; 0], &id).run().ok();
    let duration = started.elapsed();
    let _ = runtime.call(["delete", "--force", &id]).run().ok();
    for moment in 0..MOMENTS {
        let id = runtime.new_id();
        let (mut child, _) = runtime.bundle_call("create", &bundle, [""; 0], &id).start();
        std::thread::sleep(duration * moment / MOMENTS);
        child.kill().expect("kill the runtime");
        child.wait().expect("wait for the runtime");
        let _ = runtime.call(["delete", "--force", &id]).run().ok();
        assert_gone(&format!("nrun-{id}.scope"), &id);
        assert!(!runtime.root().join(&id).exists(), "killed at {moment}/{MOMENTS}");
    }
}

#[test]
fn a_restored_container_is_a_scope_of_its_own() {
    if !is_here() {
        return;
    }
    let _sandbox = Sandbox::enter();
    let runtime = with_systemd();
    let script = "exec </dev/null >/dev/null 2>&1; echo >/ready; exec sleep 600";
    let bundle = BundleDir::new().shell(script).set("/linux/resources/pids/limit", 40);
    let container = runtime.start(&bundle);
    while !bundle.rootfs().join("ready").exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let images = bundle.path().join("images");
    let place = ["--image-path", images.to_str().expect("UTF-8")];
    let _ = runtime.call(["checkpoint"]).args(place).args([container.id()]).run().ok();
    assert_gone(&format!("nrun-{}.scope", container.id()), container.id());

    let id = runtime.new_id();
    let options = [&["--detach"], &place[..]].concat();
    let _ = runtime.bundle_call("restore", &bundle, &options, &id).run().ok();
    let unit = format!("nrun-{id}.scope");
    for (name, value) in [("ActiveState", "active"), ("TasksMax", "40"), ("DevicePolicy", "strict")]
    {
        assert_eq!(property(&unit, name), value, "{name}");
    }
    assert_eq!(cgroups::read(&unit, "pids.max").as_deref(), Some("40"));
    let state = runtime.call(["state", &id]).run().ok().json();
    let own = std::fs::read_to_string(format!("/proc/{}/cgroup", state["pid"])).expect("cgroups");
    let place = format!("/system.slice/{unit}");
    assert!(own.lines().all(|line| line.ends_with(&place) || line.contains(":misc:")), "{own}");
    let device = "mknod /tmp/sda b 8 0 && cat /tmp/sda";
    let opened = runtime.call(["exec", &id, "sh", "-c", device]).run();
    assert!(!opened.success(), "the device rules are in force: {opened}");
    let _ = runtime.call(["exec", &id, "sh", "-c", ": >/dev/null"]).run().ok();
    let _ = runtime.call(["delete", "--force", &id]).run().ok();
    assert_gone(&unit, &id);

    std::fs::remove_file(images.join("inventory.img")).expect("the list of the images");
    let id = runtime.new_id();
    let _ = runtime.bundle_call("restore", &bundle, &options, &id).run().exits(1);
    assert_gone(&format!("nrun-{id}.scope"), &id);
}

#[test]
fn cgroups_can_be_left_to_nobody() {
    let runtime = Runtime::under_test().with_globals(["--cgroup-manager", "disabled"]);
    let bundle = BundleDir::new().args(["cat", "/proc/self/cgroup"]);
    let own = std::fs::read_to_string("/proc/self/cgroup").expect("our cgroups");
    assert_eq!(runtime.run(&bundle).ok().stdout(), own);
    let wrong = Runtime::under_test().with_globals(["--cgroup-manager", "docker"]);
    let output = wrong.try_create(&bundle).exits(1);
    assert!(output.stderr().contains("cgroupfs, systemd or disabled"), "{output}");
}

#[test]
fn a_delegated_cgroup_is_below_the_unit_s() {
    if !is_here() {
        return;
    }
    let runtime = with_systemd();
    let bundle = sleeper()
        .push("/linux/namespaces", json!({"type": "cgroup"}))
        .set("/linux/resources/pids", json!({"limit": 20}))
        .set("/annotations", json!({"run.oci.delegate-cgroup": "payload"}));
    if !cgroups::unified() {
        let output = runtime.try_create(&bundle).exits(1);
        assert!(output.stderr().contains("not supported on cgroup v1"), "{output}");
        return;
    }
    let container = runtime.create(&bundle, [""; 0]);
    let unit = format!("nrun-{}.scope", container.id());
    assert_eq!(cgroups::read(&unit, "pids.max").as_deref(), Some("20"));
    assert_eq!(cgroups::read(&unit, "cgroup.procs").as_deref(), Some(""));
    let pid = container.pid().as_raw_nonzero().to_string();
    let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its cgroup");
    assert_eq!(own.trim(), format!("0::/system.slice/{unit}/payload"));
    let _ = container.start().ok();
    let output = container.exec(["cat", "/proc/self/cgroup"]).ok();
    assert_eq!(output.stdout().trim(), "0::/", "{output}");
    let _ = container.kill("KILL").ok();
    container.wait();
    let _ = container.delete().ok();
    assert_gone(&unit, container.id());
}
