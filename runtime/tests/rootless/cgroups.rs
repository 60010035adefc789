//! Cgroups of a caller to whom none, or a subtree of v2, was delegated.

use nconform::fixture::{Capture, User, cgroups, unique_name};
use serde_json::json;
use std::fs;
use std::path::Path;

#[test]
fn without_a_path_and_limits_the_container_goes_without_or_gets_its_own() {
    let user = User::enter();
    let runtime = user.runtime();
    let bundle = user.bundle().args(["sleep", "60"]);
    let container = runtime.start(&bundle);
    let path = format!("/proc/{}/cgroup", container.pid().as_raw_nonzero());
    let theirs = fs::read_to_string(path).expect("its cgroups");
    let ours = fs::read_to_string("/proc/self/cgroup").expect("our cgroups");
    if user.has_cgroups() {
        assert!(theirs.trim_end().ends_with(container.id()), "{theirs}");
    } else {
        assert_eq!(theirs, ours);
    }
    assert_eq!(cgroups::named(container.id()).len(), usize::from(user.has_cgroups()));
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    assert_eq!(cgroups::named(container.id()), Vec::<std::path::PathBuf>::new());
}

#[test]
fn limits_take_a_delegated_cgroup() {
    let user = User::enter();
    let runtime = user.runtime();
    let bundle = user.bundle().set("/linux/resources/pids/limit", 37).args(["sleep", "60"]);
    if !user.has_cgroups() {
        let output = runtime.try_create(&bundle).exits(1);
        let words =
            "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";
        assert!(output.stderr().contains(words), "{output}");
        assert!(output.stderr().contains("/linux/resources/pids/limit"), "{output}");
        return;
    }
    let container = runtime.start(&bundle);
    assert_eq!(cgroups::read(container.id(), "pids.max").as_deref(), Some("37"));
    let text = container.exec(["cat", "/proc/self/cgroup"]).ok().stdout();
    assert!(text.trim_end().ends_with(container.id()), "{text}");
    let memory = user.bundle().set("/linux/resources/memory/limit", 64 << 20).args(["sleep", "60"]);
    let limited = runtime.start(&memory);
    assert_eq!(cgroups::read(limited.id(), "memory.max").as_deref(), Some("67108864"));
}

#[test]
fn a_path_that_may_not_be_made_is_an_error() {
    let user = User::enter();
    let bundle = user.bundle().set("/linux/cgroupsPath", format!("/{}", unique_name()));
    let output = user.runtime().try_create(&bundle).exits(1);
    assert!(output.stderr().to_lowercase().contains("permission denied"), "{output}");
}

#[test]
fn a_path_below_a_delegated_cgroup_is_used() {
    let user = User::enter();
    if !user.has_cgroups() {
        let bundle = user.bundle().set("/linux/cgroupsPath", format!("/us/{}", unique_name()));
        let output = user.runtime().try_create(&bundle).exits(1);
        assert!(output.stderr().to_lowercase().contains("permission denied"), "{output}");
        return;
    }
    let own = fs::read_to_string("/proc/self/cgroup").expect("our cgroup");
    let own = own.lines().find_map(|line| line.strip_prefix("0::")).expect("a path");
    let name = unique_name();
    let path = Path::new(own).parent().expect("a parent").join(&name);
    let bundle =
        user.bundle().set("/linux/cgroupsPath", path.display().to_string()).args(["sleep", "60"]);
    let runtime = user.runtime();
    let container = runtime.start(&bundle);
    let procs = cgroups::read(&name, "cgroup.procs").expect("the cgroup");
    assert_eq!(procs, container.pid().as_raw_nonzero().to_string());
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    assert!(cgroups::named(&name).is_empty());
}

#[test]
fn a_strict_caller_is_told_that_no_cgroup_can_be_made() {
    let user = User::enter();
    let bundle = user.bundle();
    let call = |when: &str| {
        let runtime = user.runtime().with_globals(["--rootless", when]);
        runtime.run(&bundle)
    };
    let strict = call("false");
    if user.has_cgroups() {
        let _ = strict.ok();
    } else {
        let strict = strict.exits(1);
        assert!(strict.stderr().contains("cgroup"), "{strict}");
    }
    for when in ["true", "auto"] {
        let _ = call(when).ok();
    }
    let wrong = call("perhaps").exits(1);
    assert!(wrong.stderr().contains("invalid value `perhaps` for flag --rootless"), "{wrong}");
}

/// CVE-2023-25809: /sys is bound from the host there, with all that is mounted below it, and `ro` covers the top alone.
#[test]
fn the_cgroup_file_system_is_read_only_without_a_cgroup_namespace() {
    let user = User::enter();
    let script = "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do [ -d $d ] && mkdir $d/x 2>/dev/null && echo made $d; done; \
                  mount | grep -c ' /sys/fs/cgroup.*(rw'; true";
    for kind in ["bound", "new"] {
        let mut bundle = user.bundle();
        if kind == "bound" {
            bundle = bundle.without_namespace("network").set(
                "/mounts/5",
                json!({"destination": "/sys", "type": "none", "source": "/sys",
                    "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]}),
            );
        }
        let text = user.runtime().run(&bundle.shell(script)).ok().stdout();
        assert!(!text.contains("made"), "{kind}: {text}");
    }
}

#[test]
fn what_takes_a_cgroup_works_with_a_delegated_one_and_is_refused_without() {
    let user = User::enter();
    let runtime = user.runtime();
    let bundle = user.bundle().args(["sleep", "60"]);
    let container = runtime.start(&bundle);
    let call = |words: &[&str]| runtime.call(words.iter().chain(&[container.id()])).run();
    let (pause, limit) = (call(&["pause"]), call(&["update", "--pids-limit", "30"]));
    if !user.has_cgroups() {
        let words = "cannot toggle freezer: cgroups not configured for container";
        assert!(pause.exits(1).stderr().contains(words));
        assert!(limit.exits(1).stderr().contains("pids"));
        assert!(call(&["ps"]).exits(1).stderr().contains("unable to get all container pids"));
        return;
    }
    let _ = (pause.ok(), limit.ok());
    assert_eq!(container.status(), "paused");
    assert_eq!(cgroups::read(container.id(), "pids.max").as_deref(), Some("30"));
    let _ = call(&["resume"]).ok();
    let pids = call(&["ps", "--format", "json"]).ok().json();
    assert_eq!(pids, json!([container.pid().as_raw_nonzero().get()]));
}

/// The options of a cgroup mount need not name the flags that the host's hierarchies have, and cannot take them away.
#[test]
fn flags_of_the_hosts_hierarchies_stay() {
    let user = User::enter();
    if user.is_made() {
        // Flags of mounts in this mount namespace alone: a bind remount does not touch the file system.
        for mount in cgroups::hierarchies() {
            let words = ["-o", "remount,bind,nosuid,noexec"];
            let _ = Capture::of("mount").args(words).args([mount]).run().ok();
        }
    }
    let bundle = user.bundle().set("/mounts/6/options", json!(["ro"])).shell(
        "grep -E '^[a-z0-9]+ /sys/fs/cgroup[^ ]* cgroup2? ' /proc/mounts | tail -n 1 | cut -d' ' -f4",
    );
    let text = user.runtime().run(&bundle).ok().text();
    assert!(text.starts_with("ro,nosuid") && text.contains("noexec"), "{text}");
}
