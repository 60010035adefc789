//! Cgroups of a user to whom some are delegated, by a systemd of the user's own; and what is said where none are.

use crate::world::{IMAGE, World, eventually};
use nconform::fixture::{cgroups, unique_name, untried};
use std::fs;
use std::path::Path;

/// A user who has a systemd of its own. The one that root makes for a test has none: then that is said, and all that there is to see.
fn delegated() -> Option<World> {
    let world = World::new();
    if world.user.is_made() {
        let info = world.nman(["info", "--format", "{{.CgroupDriver}} {{.Warnings}}"]).ok();
        assert!(info.stdout().starts_with("none [no delegated cgroup: "), "{info}");
        untried("no session of an ordinary user with a delegated cgroup");
        return None;
    }
    assert!(cgroups::unified() && Path::new("/run/systemd/system").is_dir());
    Some(world)
}

/// The cgroup of a process, from the root of the hierarchy.
fn group_of(pid: impl std::fmt::Display) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned()
}

/// Nothing of a container is left in the cgroups: systemd removes a scope in its own time.
#[track_caller]
fn assert_gone(id: &str) {
    eventually("the scope is gone", || {
        cgroups::named(id).is_empty() && cgroups::named(&scope(id)).is_empty()
    });
}

fn scope(id: &str) -> String {
    format!("nman-{}.scope", &id[..12])
}

#[test]
fn limits_of_delegated_controllers_are_in_force_and_others_are_named() {
    let Some(world) = delegated() else { return };
    let script = "cd /sys/fs/cgroup; cat memory.max memory.swap.max pids.max cpu.max";
    let limits = ["-m", "64m", "--memory-swap", "80m", "--pids-limit", "50", "--cpus", "0.5"];
    let output = world.shell(&limits, script).ok();
    assert_eq!(output.stdout(), "67108864\n16777216\n50\n50000 100000\n");
    assert_eq!(output.stderr(), "");
    let output = world.shell(&["--cpuset-cpus", "0", "--cgroup-parent", "a-b.slice"], "true").ok();
    let warning = "WARNING: The cgroup controller `cpuset` is not delegated to you: limits of it are ignored.\n";
    assert_eq!(output.stderr(), warning);
    let refused = world.shell(&["--cgroup-parent", "/mine"], "true").exits(125);
    assert!(refused.stderr().contains("it has to be a slice of the user's systemd"), "{refused}");
    world.assert_no_container();
}

#[test]
fn a_container_is_frozen_counted_changed_and_removed_by_its_cgroup() {
    let Some(world) = delegated() else { return };
    let words = ["sh", "-c", "sleep 1000 & exec sleep 2000"];
    let id = world.run(&["-d", "--name", "web", "-m", "64m"], &words).ok().text();
    world.nman(["pause", "web"]).ok();
    assert_eq!(cgroups::read(&id, "cgroup.freeze").as_deref(), Some("1"));
    assert_eq!(world.inspect("web", "/State/Status"), "paused");
    world.nman(["unpause", "web"]).ok();
    assert_eq!(cgroups::read(&id, "cgroup.freeze").as_deref(), Some("0"));
    let format = "{{.MemUsage}} {{.PIDs}}";
    let stats = world.nman(["stats", "--no-stream", "--format", format, "web"]).ok().text();
    assert!(stats.ends_with("/ 64MiB 2") && !stats.starts_with("0B"), "{stats}");
    let top = world.nman(["top", "web", "-o", "pid,args"]).ok().stdout();
    assert!(top.contains("sleep 1000") && top.contains("sleep 2000"), "{top}");
    let update = ["update", "-m", "128m", "--pids-limit", "30", "--cpuset-cpus", "0", "web"];
    let output = world.nman(update).ok();
    assert!(output.stderr().contains("`cpuset` is not delegated"), "{output}");
    let read = ["exec", "web", "cat", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/pids.max"];
    assert_eq!(world.nman(read).ok().stdout(), "134217728\n30\n");
    world.nman(["commit", "web", &format!("test/{}", unique_name().to_lowercase())]).ok();
    world.nman(["rm", "-f", "web"]).ok();
    assert_gone(&id);
    world.assert_no_container();
}

#[test]
fn a_container_that_is_out_of_memory_is_told_from_one_that_was_killed() {
    let Some(world) = delegated() else { return };
    let limits = ["--name", "full", "-m", "8m", "--memory-swap", "8m"];
    world.run(&limits, &["sh", "-c", "exec tail /dev/zero"]).exits(137);
    assert_eq!(world.inspect("full", "/State/OOMKilled"), true);
    // A second life has a scope of the same name, and a count of its own.
    let id = world.run(&["-d", "--name", "web"], &["sleep", "1000"]).ok().text();
    world.nman(["kill", "web"]).ok();
    world.nman(["wait", "web"]).ok();
    assert_eq!(world.inspect("web", "/State/OOMKilled"), false);
    world.nman(["start", "web"]).ok();
    assert!(group_of(world.inspect("web", "/State/Pid")).ends_with(&id));
    world.nman(["rm", "-f", "web", "full"]).ok();
    assert_gone(&id);
    world.assert_no_container();
}

#[test]
fn the_monitor_is_beside_its_container_and_what_it_leaves_is_removed_with_that() {
    let Some(world) = delegated() else { return };
    let id = world.run(&["-d", "--name", "web"], &["sleep", "1000"]).ok().text();
    let group = group_of(world.inspect("web", "/State/Pid"));
    let unit = format!("/user@{}.service/user.slice/{}", world.user.uid(), scope(&id));
    assert!(group.ends_with(&format!("{unit}/{id}")), "{group}");
    let place = Path::new("/sys/fs/cgroup").join(group.trim_start_matches('/'));
    let list = place.parent().unwrap().join("monitor/cgroup.procs");
    let monitor = fs::read_to_string(list).unwrap();
    assert_eq!(monitor.lines().count(), 1, "{monitor}");
    let holder = group_of(world.holder());
    assert!(holder.ends_with(&format!("nman-pause-{}.scope", world.holder())), "{holder}");
    nconform::fixture::Capture::of("kill").args(["-9", monitor.trim()]).run().ok();
    eventually("the monitor is gone", || !Path::new("/proc").join(monitor.trim()).exists());
    assert_eq!(world.inspect("web", "/State/Status"), "running");
    world.nman(["exec", "web", "true"]).ok();
    world.nman(["rm", "-f", "web"]).ok();
    assert_gone(&id);
    world.assert_no_container();
}

/// As a client of `exec` is whose output nobody reads.
#[test]
fn a_container_begins_again_in_a_scope_that_somebody_has_stayed_in() {
    let Some(world) = delegated() else { return };
    let id = world.run(&["-d", "--name", "web"], &["sleep", "1000"]).ok().text();
    let group = group_of(world.inspect("web", "/State/Pid"));
    let unit = Path::new(&group).parent().unwrap();
    let monitor = Path::new("/sys/fs/cgroup").join(unit.strip_prefix("/").unwrap()).join("monitor");
    let (mut straggler, _) = nconform::fixture::Capture::of("sleep").args(["1000"]).start();
    fs::write(monitor.join("cgroup.procs"), straggler.id().to_string()).unwrap();
    world.nman(["kill", "web"]).ok();
    world.nman(["wait", "web"]).ok();
    world.nman(["start", "web"]).ok();
    assert_eq!(group_of(world.inspect("web", "/State/Pid")), group);
    let inside = fs::read_to_string(monitor.join("cgroup.procs")).unwrap();
    assert_eq!(inside.lines().count(), 2, "it and the monitor: {inside}");
    straggler.kill().unwrap();
    straggler.wait().unwrap();
    world.nman(["rm", "-f", "web"]).ok();
    assert_gone(&id);
    world.assert_no_container();
}

#[test]
fn info_and_doctor_say_what_is_delegated() {
    let Some(world) = delegated() else { return };
    let format = "{{.CgroupDriver}} {{.CgroupVersion}} {{.MemoryLimit}} {{.CPUShares}} {{.PidsLimit}} {{.CPUSet}}";
    let info = world.nman(["info", "--format", format]).ok().text();
    assert_eq!(info, "systemd 2 true true true false");
    let format = "{{.Check}}: {{.Status}}: {{.Found}}";
    let found = world.nman(["doctor", "--format", format]).stdout();
    assert!(found.contains("delegated cgroup: ok: by systemd: cpu memory pids"), "{found}");
}

/// The service that the tests run in lies in a slice of the user's.
#[test]
fn where_systemd_is_not_to_be_had_the_cgroup_is_made_beside_the_callers() {
    let Some(world) = delegated() else { return };
    let deaf = |words: &[&str]| {
        let command = world.command(words).env("XDG_RUNTIME_DIR", "/nonexistent");
        command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent").run()
    };
    assert_eq!(deaf(&["info", "--format", "{{.CgroupDriver}}"]).ok().text(), "cgroupfs");
    let run =
        ["run", "-d", "--name", "web", "-m", "64m", "--network", "none", IMAGE, "sleep", "1000"];
    let id = deaf(&run).ok().text();
    let (own, theirs) = (group_of("self"), group_of(world.inspect("web", "/State/Pid")));
    assert_eq!(Path::new(&theirs), Path::new(&own).with_file_name(&id));
    assert_eq!(cgroups::read(&id, "memory.max").as_deref(), Some("67108864"));
    deaf(&["pause", "web"]).ok();
    deaf(&["rm", "-f", "web"]).ok();
    assert_gone(&id);
    world.assert_no_container();
}
