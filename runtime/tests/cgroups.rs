//! Limits: as the kernel shows them for the container's cgroup, and as the container feels them.
//!
//! The files are named for v1 and v2; which of the two is looked for follows from the machine.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nconform::fixture::{
    BundleDir, Capture, Container, Runtime, Sandbox, cgroups, scratch_dir, unique_name, untried,
};
use serde_json::{Value, json};

fn with_resources(resources: &Value) -> BundleDir {
    let bundle = BundleDir::new().args(["sleep", "600"]);
    resources.as_object().expect("an object").iter().fold(bundle, |bundle, (name, value)| {
        bundle.set(&format!("/linux/resources/{name}"), value.clone())
    })
}

/// A container with these resources has these values in these files: `(v1, value, v2, value)`.
#[track_caller]
fn assert_limits(resources: &Value, files: &[(&str, &str, &str, &str)]) {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = with_resources(resources);
    let container = runtime.create(&bundle, [""; 0]);
    for (v1, v1_value, v2, v2_value) in files {
        let (file, value) = if cgroups::unified() { (v2, v2_value) } else { (v1, v1_value) };
        assert_eq!(cgroups::read(container.id(), file).as_deref(), Some(*value), "{file}");
    }
    let _ = container.start().ok();
    let _ = container.exec(["true"]).ok();
}

#[test]
fn memory_is_limited() {
    assert_limits(
        &json!({"memory": {"limit": 64 << 20, "reservation": 32 << 20}}),
        &[
            ("memory.limit_in_bytes", "67108864", "memory.max", "67108864"),
            ("memory.soft_limit_in_bytes", "33554432", "memory.low", "33554432"),
        ],
    );
}

#[test]
fn processor_time_is_limited() {
    assert_limits(
        &json!({"cpu": {"quota": 50_000, "period": 200_000, "shares": 512}}),
        &[
            ("cpu.cfs_quota_us", "50000", "cpu.max", "50000 200000"),
            ("cpu.cfs_period_us", "200000", "cpu.max", "50000 200000"),
        ],
    );
    if !cgroups::unified() {
        let runtime = Runtime::under_test();
        let bundle = with_resources(&json!({"cpu": {"shares": 512}}));
        let container = runtime.create(&bundle, [""; 0]);
        assert_eq!(cgroups::read(container.id(), "cpu.shares").as_deref(), Some("512"));
    }
}

#[test]
fn processors_are_chosen() {
    assert_limits(
        &json!({"cpu": {"cpus": "0", "mems": "0"}}),
        &[("cpuset.cpus", "0", "cpuset.cpus", "0"), ("cpuset.mems", "0", "cpuset.mems", "0")],
    );
}

#[test]
fn the_number_of_processes_is_limited() {
    assert_limits(&json!({"pids": {"limit": 33}}), &[("pids.max", "33", "pids.max", "33")]);
}

#[test]
fn the_container_runs_on_its_processors_only() {
    let _sandbox = Sandbox::enter();
    let bundle = with_resources(&json!({"cpu": {"cpus": "0"}}));
    let bundle = bundle.shell("grep Cpus_allowed_list /proc/self/status | cut -f2");
    assert_eq!(Runtime::under_test().run(&bundle).ok().text(), "0");
}

#[test]
fn a_fork_beyond_the_limit_fails() {
    let _sandbox = Sandbox::enter();
    let bundle = with_resources(&json!({"pids": {"limit": 5}}));
    let bundle = bundle.shell("for i in 1 2 3 4 5 6 7; do sleep 20 & done; echo all");
    let output = Runtime::under_test().run(&bundle).exits(2);
    assert!(output.stderr().contains("can't fork"), "{output}");
    assert_eq!(output.stdout(), "");
}

#[test]
fn a_container_that_takes_too_much_memory_is_killed() {
    let sandbox = Sandbox::enter();
    let resources = json!({"memory": {"limit": 16 << 20, "swap": 16 << 20}});
    let runtime = Runtime::under_test();
    let hungry = with_resources(&resources).shell("exec tail -c 100m /dev/zero");
    let _ = runtime.run(&hungry).exits(128 + 9);
    let frugal = with_resources(&resources).args(["true"]);
    let _ = runtime.run(&frugal).ok();
    sandbox.assert_clean();
}

#[test]
fn the_limits_are_seen_inside() {
    let _sandbox = Sandbox::enter();
    let resources = json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 44}});
    let script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max 2>/dev/null \
                  || cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max";
    for cgroup_namespace in [false, true] {
        let mut bundle = with_resources(&resources).shell(script);
        // On v2 without a namespace of its own the container sees the host's tree.
        if cgroup_namespace || cgroups::unified() {
            bundle = bundle.push("/linux/namespaces", json!({"type": "cgroup"}));
        }
        let output = Runtime::under_test().run(&bundle).ok();
        assert_eq!(output.stdout(), "67108864\n44\n", "cgroup namespace: {cgroup_namespace}");
    }
}

#[test]
fn the_cgroup_is_where_the_configuration_puts_it_and_goes_with_the_container() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let parent = unique_name();
    let bundle = with_resources(&json!({"pids": {"limit": 22}}))
        .set("/linux/cgroupsPath", format!("/{parent}/inner"));
    let container = runtime.start(&bundle);
    let groups = cgroups::named("inner");
    let ours: Vec<_> = groups
        .iter()
        .filter(|path| path.parent().and_then(Path::file_name) == Some(parent.as_ref()))
        .collect();
    assert!(!ours.is_empty());
    let pids = ours.iter().find_map(|path| std::fs::read_to_string(path.join("pids.max")).ok());
    assert_eq!(pids.as_deref(), Some("22\n"));
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    assert!(ours.iter().all(|path| !path.exists()), "{ours:?}");
    // The directory above may be shared with other containers, and is not the runtime's to remove.
    cgroups::destroy(&parent);
    sandbox.assert_clean();
}

#[test]
fn every_process_of_the_container_is_in_its_cgroups() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = with_resources(&json!({})).shell("sleep 600 & sleep 600");
    let container = runtime.start(&bundle);
    let pid = container.pid().as_raw_nonzero().to_string();
    let members = |path: &Path| {
        std::fs::read_to_string(path.join("cgroup.procs"))
            .expect("the members")
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    for _ in 0..1000 {
        if cgroups::named(container.id()).iter().all(|group| members(group).len() == 2) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let groups = cgroups::named(container.id());
    assert!(!groups.is_empty(), "it has a cgroup");
    for group in groups {
        let members = members(&group);
        assert!(members.contains(&pid), "{}: {members:?}", group.display());
        assert_eq!(members.len(), 2, "a sleep and what was its shell, in {}", group.display());
    }
}

#[test]
fn a_limit_that_the_kernel_refuses_is_reported_and_nothing_is_left() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = with_resources(&json!({"cpu": {"cpus": "4000"}}));
    let output = runtime.try_create(&bundle).exits(1);
    assert!(output.stderr().contains("/linux/resources/cpu/cpus"), "{output}");
    assert_eq!(std::fs::read_dir(runtime.root()).expect("the root").count(), 0);
    sandbox.assert_clean();
}

#[test]
fn a_memory_limit_below_the_use_is_refused_where_that_is_asked_for() {
    let _sandbox = Sandbox::enter();
    let memory = json!({"memory": {"limit": 64 << 20, "checkBeforeUpdate": true}});
    let bundle = with_resources(&memory);
    let runtime = Runtime::under_test();
    let container = runtime.start(&bundle);
    let update = |limit: &str| runtime.call(["update", "--memory", limit, container.id()]).run();
    let output = update("4096").exits(1);
    assert!(output.stderr().contains("bytes are in use"), "{output}");
    assert_eq!(container.status(), "running");
    let file = if cgroups::unified() { "memory.max" } else { "memory.limit_in_bytes" };
    assert_eq!(cgroups::read(container.id(), file).as_deref(), Some("67108864"));
    let _ = update("32M").ok();
    assert_eq!(cgroups::read(container.id(), file).as_deref(), Some("33554432"));
}

#[test]
fn a_limit_of_no_processes_is_one() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = with_resources(&json!({"pids": {"limit": 0}}));
    let container = runtime.create(&bundle, [""; 0]);
    assert_eq!(cgroups::read(container.id(), "pids.max").as_deref(), Some("1"));
}

#[test]
fn an_absent_limit_of_processes_is_none() {
    assert_limits(&json!({"pids": {}}), &[("pids.max", "max", "pids.max", "max")]);
}

#[test]
fn cache_allocation_without_resctrl_is_refused_before_anything_is_made() {
    let _sandbox = Sandbox::enter();
    if Path::new("/sys/fs/resctrl/schemata").exists() {
        // The mounts are the sandbox's own.
        let _ = Capture::of("umount").args(["/sys/fs/resctrl"]).run().ok();
    }
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().set("/linux/intelRdt/closID", "gold");
    let output = runtime.try_create(&bundle).exits(1);
    assert!(
        output.stderr().contains("config.json /linux/intelRdt: needs the `resctrl`"),
        "{output}"
    );
    assert_eq!(std::fs::read_dir(runtime.root()).expect("the root").count(), 0);
}

/// A container with a user and a cgroup namespace, whose cgroup mount may be written to.
fn owner_of_its_cgroup() -> BundleDir {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    BundleDir::new()
        .args(["sleep", "600"])
        .push("/linux/namespaces", json!({"type": "user"}))
        .push("/linux/namespaces", json!({"type": "cgroup"}))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .set("/mounts/6/options", json!(["nosuid", "noexec", "nodev"]))
}

#[test]
fn a_container_that_may_write_to_its_cgroup_owns_it_on_v2_and_not_on_v1() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = owner_of_its_cgroup();
    let container = runtime.start(&bundle);
    let owner = if cgroups::unified() { 100_000 } else { 0 };
    let directories = cgroups::named(container.id());
    assert!(!directories.is_empty(), "it has a cgroup");
    for directory in directories {
        let found = std::fs::metadata(&directory).expect("a cgroup").uid();
        assert_eq!(found, owner, "{}", directory.display());
        let limit = std::fs::metadata(directory.join("memory.max"));
        assert!(
            limit.is_ok_and(|limit| limit.uid() == 0) || !cgroups::unified(),
            "the limit is ours"
        );
    }
    if cgroups::unified() {
        let _ = container.exec(["mkdir", "/sys/fs/cgroup/inner"]).ok();
        let script =
            "echo 0 >/sys/fs/cgroup/inner/cgroup.procs && ! echo max >/sys/fs/cgroup/memory.max";
        let _ = container.exec(["sh", "-c", script]).ok();
    }
}

/// The delegated cgroup of crun's annotation: the payload may divide it, and the limits are above it.
#[test]
fn a_delegated_cgroup_is_below_the_limits_on_v2_and_refused_on_v1() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = owner_of_its_cgroup()
        .set("/linux/resources/pids", json!({"limit": 20}))
        .set("/annotations", json!({"run.oci.delegate-cgroup": "payload"}));
    if !cgroups::unified() {
        let output = runtime.try_create(&bundle).exits(1);
        assert!(output.stderr().contains("/annotations/run.oci.delegate-cgroup"), "{output}");
        assert!(output.stderr().contains("not supported on cgroup v1"), "{output}");
        sandbox.assert_clean();
        return;
    }
    let container = runtime.start(&bundle);
    let [own] = &cgroups::named(container.id())[..] else { panic!("one cgroup") };
    let payload = own.join("payload");
    let read =
        |path: std::path::PathBuf| std::fs::read_to_string(path).expect("a file of a cgroup");
    assert_eq!(read(own.join("pids.max")).trim(), "20");
    assert_eq!(read(own.join("cgroup.procs")), "", "the processes are below");
    let pid = container.pid().as_raw_nonzero().to_string();
    assert_eq!(read(payload.join("cgroup.procs")).trim(), pid);
    assert!(read(payload.join("cgroup.controllers")).contains("pids"));
    let owner = |path: &Path| std::fs::metadata(path).expect("a cgroup").uid();
    assert_eq!((owner(own), owner(&payload)), (0, 100_000));
    // It is the root of what the container sees; a further process joins it there.
    let divide = "cd /sys/fs/cgroup && mkdir a && echo 1 >a/cgroup.procs && echo $$ >a/cgroup.procs && \
        echo +pids >cgroup.subtree_control && echo 5 >a/pids.max && cat /proc/1/cgroup";
    let output = container.exec(["sh", "-c", divide]).ok();
    assert_eq!(output.stdout().trim(), "0::/a", "{output}");
    let _ = container.kill("KILL").ok();
    container.wait();
    let _ = container.delete().ok();
    sandbox.assert_clean();
}

/// The record of a stopped container names its cgroup for as long as it is kept, and whoever comes next takes it over.
#[test]
fn a_stopped_container_takes_no_other_along_that_has_its_cgroup_by_now() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let name = unique_name();
    let path = if runtime.uses_systemd() { format!(":nrt:{name}") } else { format!("/{name}") };
    let bundle = |args: &[&str]| {
        BundleDir::new().args(args.iter().copied()).set("/linux/cgroupsPath", path.as_str())
    };
    let (short, long) = (bundle(&["true"]), bundle(&["sleep", "600"]));
    let stopped: Vec<Container<'_>> = (0..2)
        .map(|_| {
            let container = runtime.start(&short);
            container.wait();
            container
        })
        .collect();
    let running = runtime.start(&long);
    for container in &stopped {
        for words in [&["kill", container.id(), "KILL"][..], &["kill", container.id(), "TERM"]] {
            runtime.call(words).run().exits(1).says("container not running");
        }
        for signal in ["TERM", "KILL"] {
            let _ = runtime.call(["kill", "--all", container.id(), signal]).run().ok();
        }
        let processes = runtime.call(["ps", "--format", "json", container.id()]).run().ok();
        assert_eq!(processes.stdout(), "null\n");
    }
    stopped[0].delete().ok().says(running.id());
    runtime.call(["delete", "--force", stopped[1].id()]).run().ok().says(running.id());
    let echo = running.exec(["echo", "alive"]).ok();
    assert_eq!(echo.stdout(), "alive\n");
    assert_eq!(running.status(), "running");
    let _ = runtime.call(["delete", "--force", running.id()]).run().ok();
    assert!(cgroups::named(&name).is_empty(), "its own goes with it");
    sandbox.assert_clean();
}

/// Writes over the mark that a container's cgroup has.
fn mark(id: &str, text: &str) {
    let name = "trusted.nrun";
    let marked = |path: &PathBuf| rustix::fs::getxattr(path, name, &mut [0; 512][..]).is_ok();
    let directory = cgroups::named(id).into_iter().find(marked).expect("a cgroup with a mark");
    mark_directory(&directory, text);
}

fn mark_directory(directory: &Path, text: &str) {
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(directory, "trusted.nrun", text.as_bytes(), flags).expect("write it");
}

/// A container that owns its cgroup may write on it where the mark is an attribute that any owner can set.
#[test]
fn a_container_that_runs_keeps_its_cgroup_whatever_is_written_on_it() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for end in
        [&["kill", "--all", "ID", "KILL"][..], &["kill", "ID", "KILL"], &["delete", "-f", "ID"]]
    {
        let bundle = BundleDir::new().shell("sleep 600 & sleep 601; true").without_namespace("pid");
        let container = runtime.start(&bundle);
        let id = container.id();
        mark(id, "other 2000-01-01T00:00:00.000000000Z");
        let pid = container.pid().as_raw_nonzero().get();
        let processes = || runtime.call(["ps", "--format", "json", id]).run().ok().json();
        let listed = processes().as_array().is_some_and(|pids| pids.contains(&pid.into()));
        assert!(listed, "{end:?}: {}", processes());
        let words = end.iter().map(|word| if *word == "ID" { id } else { *word });
        let _ = runtime.call(words).run().ok();
        if end[0] == "kill" {
            container.wait();
            // What was killed with the init may end after it.
            let begin = Instant::now();
            while processes() != Value::Null {
                assert!(begin.elapsed() < Duration::from_secs(30), "{end:?}: {}", processes());
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = container.delete().ok();
        }
        assert!(cgroups::named(id).is_empty(), "{end:?}: the cgroup goes with it");
        sandbox.assert_clean();
    }
}

/// Limits of one container that count for another as well are had by a `cgroupsPath` below its own.
#[test]
fn the_end_of_a_container_takes_none_along_whose_cgroup_is_below_its_own() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    if runtime.uses_systemd() {
        return untried("with systemd's driver no scope is below another");
    }
    let sleeper = |path: &str| {
        let bundle = BundleDir::new().shell("sleep 600 & exec sleep 601");
        bundle.set("/linux/cgroupsPath", path)
    };
    for end in [&["kill", "ID", "KILL"][..], &["kill", "--all", "ID", "KILL"], &[]] {
        let name = unique_name();
        let (outer, inner) =
            (sleeper(&format!("/{name}")), sleeper(&format!("/{name}/{name}-inner")));
        let (outer, inner) = (runtime.start(&outer), runtime.start(&inner));
        let processes = runtime.call(["ps", "--format", "json", outer.id()]).run().ok().json();
        assert_eq!(processes.as_array().map(Vec::len), Some(2), "{processes}");
        if end.is_empty() {
            let deleted = runtime.call(["delete", "--force", outer.id()]).run().ok();
            deleted.says(&format!("is in it, `{}", inner.id()));
        } else {
            let words = end.iter().map(|word| if *word == "ID" { outer.id() } else { *word });
            let _ = runtime.call(words).run().ok();
            outer.wait();
            runtime.call(["kill", outer.id(), "KILL"]).run().exits(1).says("container not running");
            outer.delete().ok().says(&format!("is in it, `{}", inner.id()));
        }
        assert_eq!(inner.status(), "running", "{end:?}");
        assert_eq!(inner.exec(["echo", "alive"]).ok().stdout(), "alive\n", "{end:?}");
        let _ = runtime.call(["delete", "--force", inner.id()]).run().ok();
        assert!(cgroups::named(&format!("{name}-inner")).is_empty(), "{end:?}");
        cgroups::destroy(&name);
        sandbox.assert_clean();
    }
}

/// Those of an engine that runs in a container have marks as well, below the container's cgroup.
#[test]
fn containers_within_a_container_end_with_it() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for has_pid_namespace in [true, false] {
        let bundle = BundleDir::new().shell("sleep 601 & exec sleep 600");
        let bundle = if has_pid_namespace { bundle } else { bundle.without_namespace("pid") };
        let container = runtime.start(&bundle);
        let listed = runtime.call(["ps", "--format", "json", container.id()]).run().ok().json();
        let init = i64::from(container.pid().as_raw_nonzero().get());
        let pids = listed.as_array().into_iter().flatten().filter_map(Value::as_i64);
        let pid = pids.max_by_key(|pid| *pid != init).expect("a second process").to_string();
        for own in cgroups::named(container.id()) {
            let inner = own.join("inner");
            std::fs::create_dir(&inner).expect("a cgroup");
            // On v1 a new one has none; on v2 it has no such files.
            for list in ["cpuset.cpus", "cpuset.mems"].map(|name| inner.join(name)) {
                let above = own.join(list.file_name().expect("a name"));
                if list.exists() {
                    std::fs::write(&list, std::fs::read(above).expect("a list")).expect("as above");
                }
            }
            std::fs::write(inner.join("cgroup.procs"), &pid).expect("move the process");
            mark_directory(&inner, "within 2000-01-01T00:00:00.000000000Z");
        }
        let deleted = runtime.call(["delete", "--force", container.id()]).run().ok();
        assert_eq!(deleted.stderr(), "", "pid namespace: {has_pid_namespace}");
        assert!(cgroups::named(container.id()).is_empty(), "pid namespace: {has_pid_namespace}");
        assert!(!Path::new(&format!("/proc/{pid}/root/bin")).exists(), "{has_pid_namespace}");
        sandbox.assert_clean();
    }
}

/// The class bears the id as well, and takes its tasks back into the default one when it goes. On a plain directory, which stands for it.
#[test]
fn a_stopped_container_leaves_its_class_of_cache_to_who_has_its_cgroup_by_now() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), BundleDir::new().args(["true"]));
    for is_taken in [true, false] {
        let (resctrl, container) = (scratch_dir(), runtime.start(&bundle));
        container.wait();
        let class = resctrl.path().join("class");
        std::fs::create_dir(&class).expect("a directory");
        let file = runtime.root().join(container.id()).join("state.json");
        let text = std::fs::read(&file).expect("the state");
        let mut state: Value = serde_json::from_slice(&text).expect("JSON");
        state["intelRdt"] = json!({"directory": class, "own": true});
        std::fs::write(&file, state.to_string()).expect("the state");
        if is_taken {
            mark(container.id(), "other 2000-01-01T00:00:00Z");
        }
        let _ = container.delete().ok();
        assert_eq!(class.exists(), is_taken);
        cgroups::destroy(container.id());
    }
}

/// What is no mark of nrun's is not shown: it may be anything, and was written by anybody.
#[test]
fn what_is_written_on_a_cgroup_is_not_shown_unless_it_is_a_mark() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), BundleDir::new().args(["true"]));
    let container = runtime.start(&bundle);
    container.wait();
    mark(container.id(), "x\nnrun: all is well");
    let output = container.delete().ok();
    output.says("by now, `?`");
    assert!(!output.stderr().contains("all is well"), "{output}");
    cgroups::destroy(container.id());
}

/// Without a path, the id is the cgroup's name, whichever the root.
#[test]
fn a_stopped_container_takes_no_other_along_that_has_its_id_under_another_root() {
    let sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), BundleDir::new().args(["true"]));
    let stopped = runtime.start(&bundle);
    stopped.wait();
    let root = scratch_dir();
    let root = root.path().to_str().expect("UTF-8");
    let (long, id) = (BundleDir::new().args(["sleep", "600"]), stopped.id());
    let path = long.path().to_str().expect("UTF-8");
    let call = |args: &[&str]| {
        // The last counts.
        runtime.call(["--root", root].iter().chain(args)).run()
    };
    // The second finds no directory that the first has left, and is known all the same.
    for _ in 0..2 {
        let _ = call(&["create", "--bundle", path, id]).ok();
        runtime.call(["kill", id, "KILL"]).run().exits(1).says("container not running");
        assert_eq!(call(&["state", id]).ok().json()["status"], "created");
        let _ = call(&["start", id]).ok();
        runtime.call(["kill", id, "KILL"]).run().exits(1).says("container not running");
        assert_eq!(call(&["state", id]).ok().json()["status"], "running");
        let _ = call(&["delete", "--force", id]).ok();
    }
    let _ = call(&["create", "--bundle", path, id]).ok();
    let _ = stopped.delete().ok();
    assert_eq!(call(&["state", id]).ok().json()["status"], "created");
    let _ = call(&["delete", "--force", id]).ok();
    assert!(cgroups::named(id).is_empty());
    sandbox.assert_clean();
}
