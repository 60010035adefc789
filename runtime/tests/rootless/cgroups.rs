//! Cgroups of a caller to whom none, or a subtree of v2, was delegated.

use nconform::fixture::{Capture, User, cgroups, unique_name};
use rustix::fs::XattrFlags;
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use serde_json::json;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

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

/// A part of v2 that root has given to the user whom it has made. We are in it; on a host of v1 and v2 both, v2 is all there is.
struct Delegated {
    top: PathBuf,
    is_bound: bool,
}

impl Delegated {
    fn enter(user: &User) -> Delegated {
        let is_bound = !cgroups::unified();
        if is_bound {
            mount_bind("/sys/fs/cgroup/unified", "/sys/fs/cgroup").expect("mount v2 alone");
        }
        let top = Path::new("/sys/fs/cgroup").join(unique_name());
        let delegated = Delegated { top, is_bound };
        let top = &delegated.top;
        let ours = top.join("us");
        fs::create_dir_all(&ours).expect("make cgroups");
        for path in [top, &ours, &top.join("cgroup.procs"), &ours.join("cgroup.procs")] {
            chown(path, Some(user.uid()), Some(user.gid())).expect("give it away");
        }
        fs::write(ours.join("cgroup.procs"), "0").expect("go there");
        delegated
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        let _ = fs::write("/sys/fs/cgroup/cgroup.procs", "0");
        cgroups::destroy(self.top.file_name().and_then(|name| name.to_str()).unwrap_or("none"));
        if self.is_bound {
            let _ = unmount("/sys/fs/cgroup", UnmountFlags::DETACH);
        }
    }
}

/// The mark of a user's container is an attribute that the container can write itself, where it owns its cgroup.
#[test]
fn a_forged_mark_saves_no_process_of_a_users_container() {
    let user = User::enter();
    if !user.is_made() {
        return;
    }
    let delegated = Delegated::enter(&user);
    let runtime = user.runtime();
    for (end, own_pids) in [("kill", false), ("delete", false), ("kill", true), ("delete", true)] {
        let bundle = user.bundle().shell("sleep 600 & echo made; exec sleep 601");
        let bundle = match own_pids {
            true => bundle,
            // A new procfs takes a pid namespace there.
            false => bundle.without_namespace("pid").set(
                "/mounts/0",
                json!({"destination": "/proc", "type": "none", "source": "/proc", "options": ["rbind"]}),
            ),
        };
        let container = runtime.start(&bundle);
        let (id, cgroup) = (container.id(), delegated.top.join(container.id()));
        let mut mark = [0; 512];
        let length = rustix::fs::getxattr(&cgroup, "user.nrun", &mut mark[..]).expect("a mark");
        assert!(mark[..length].starts_with(format!("{id} ").as_bytes()));
        let init = container.pid().as_raw_nonzero().to_string();
        container.output().wait_for("made");
        let listed = fs::read_to_string(cgroup.join("cgroup.procs")).expect("its processes");
        let other = listed.lines().find(|pid| **pid != init).expect("a second process").to_owned();
        let below = cgroup.join("below");
        fs::create_dir(&below).expect("a cgroup");
        fs::write(below.join("cgroup.procs"), &other).expect("move the process");
        for directory in [&cgroup, &below] {
            let text = b"other 2000-01-01T00:00:00.000000000Z";
            rustix::fs::setxattr(directory, "user.nrun", text, XattrFlags::empty()).expect("forge");
        }
        let processes = runtime.call(["ps", "--format", "json", id]).run().ok().json();
        assert_eq!(processes.as_array().map(Vec::len), Some(2), "{end} {own_pids}: {processes}");
        if end == "kill" {
            let _ = runtime.call(["kill", "--all", id, "KILL"]).run().ok();
            container.wait();
        }
        let _ = runtime.call(["delete", "--force", id]).run().ok();
        assert!(!cgroup.exists(), "{end} {own_pids}: the cgroup goes with it");
        assert!(!Path::new(&format!("/proc/{other}/root/bin")).exists(), "{end} {own_pids}");
    }
}
