//! `pause` and `resume`: every process stops, and goes on; signals, exec and delete of a paused container.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nconform::fixture::{BundleDir, Container, Output, Runtime, Sandbox, cgroups};
use rustix::process::{Pid, Signal, kill_process};

/// Counts on standard output, as fast as it can.
fn counter() -> BundleDir {
    BundleDir::new().shell("i=0; while :; do i=$((i + 1)); echo $i; sleep 0.01; done")
}

#[track_caller]
fn call(runtime: &Runtime, command: &str, id: &str) -> Output {
    runtime.call([command, id]).run()
}

#[track_caller]
fn refused(output: Output, words: &str) {
    output.exits(1).says(words);
}

/// Whether the container still writes.
fn counts(container: &Container<'_>) -> bool {
    let before = container.output().stdout();
    for _ in 0..50 {
        std::thread::sleep(Duration::from_millis(20));
        if container.output().stdout() != before {
            return true;
        }
    }
    false
}

#[test]
fn a_paused_container_stands_still_until_it_is_resumed() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = counter();
    let container = runtime.start(&bundle);
    assert!(counts(&container));
    let _ = call(&runtime, "pause", container.id()).ok();
    assert_eq!(container.status(), "paused");
    assert!(!counts(&container));
    refused(call(&runtime, "pause", container.id()), "container not running");
    let listed = runtime.call(["list"]).run().ok().stdout();
    assert!(listed.contains(" paused "), "{listed}");
    let _ = call(&runtime, "resume", container.id()).ok();
    assert_eq!(container.status(), "running");
    assert!(counts(&container));
    refused(call(&runtime, "resume", container.id()), "container not paused");
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    sandbox.assert_clean();
}

#[test]
fn every_process_of_the_container_is_paused() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().shell("sleep 600 & sleep 600 & sleep 600");
    let container = runtime.start(&bundle);
    let script = "trap 'echo woken' USR1; echo ready; while :; do sleep 0.01; done";
    let (mut exec, output) = runtime.call(["exec", container.id(), "sh", "-c", script]).start();
    let members = || cgroups::read(container.id(), "cgroup.procs").unwrap_or_default();
    let trapping = || {
        let is_it = |pid: &&str| {
            let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.contains("woken")
        };
        let of_exec = members().lines().find(is_it).and_then(|pid| pid.parse().ok());
        of_exec.and_then(Pid::from_raw).expect("the shell of exec")
    };
    output.wait_for("ready");
    for _ in 0..1000 {
        if members().lines().count() >= 5 {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = call(&runtime, "pause", container.id()).ok();
    let paused = members();
    assert!(paused.lines().count() >= 5, "the shells and what they wait for: {paused}");
    // A process that waits for something looks as one that is frozen does: the cgroup tells, and what a signal comes to.
    // On a hybrid host either freezer may be used.
    let states =
        [("freezer.state", "FROZEN"), ("cgroup.events", "frozen 1")].map(|(file, words)| {
            let state = cgroups::read(container.id(), file).unwrap_or_default();
            (state.contains(words), state)
        });
    assert!(states.iter().any(|(is_frozen, _)| *is_frozen), "{states:?}");
    kill_process(trapping(), Signal::USR1).expect("a signal");
    assert_eq!(output.stdout(), "ready\n", "what is paused does not act on a signal");
    let _ = call(&runtime, "resume", container.id()).ok();
    output.wait_for("woken");
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    let _ = exec.wait().expect("wait for exec");
}

#[test]
fn a_created_container_can_be_paused_and_is_created_again_after() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = counter();
    let container = runtime.create(&bundle, [""; 0]);
    let _ = call(&runtime, "pause", container.id()).ok();
    assert_eq!(container.status(), "paused");
    let _ = call(&runtime, "resume", container.id()).ok();
    assert_eq!(container.status(), "created");
    let _ = container.start().ok();
    assert!(counts(&container));
}

#[test]
fn a_stopped_or_unknown_container_cannot_be_paused_or_resumed() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new();
    let container = runtime.start(&bundle);
    container.wait();
    refused(call(&runtime, "pause", container.id()), "container not running");
    refused(call(&runtime, "resume", container.id()), "container not paused");
    for command in ["pause", "resume"] {
        refused(call(&runtime, command, "nobody"), "container does not exist");
    }
}

#[test]
fn a_paused_container_can_be_killed_and_other_signals_wait_for_it() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new()
        .shell("trap 'echo got it; exit 3' TERM; echo ready; while :; do sleep 0.01; done");
    let container = runtime.start(&bundle);
    container.output().wait_for("ready");
    let _ = call(&runtime, "pause", container.id()).ok();
    let _ = container.kill("TERM").ok();
    assert_eq!(container.status(), "paused");
    assert_eq!(container.output().stdout(), "ready\n");
    let _ = call(&runtime, "resume", container.id()).ok();
    container.wait();
    assert_eq!(container.output().stdout(), "ready\ngot it\n");
    let _ = container.delete().ok();

    for kill in [&["kill"][..], &["kill", "--all"]] {
        let container = runtime.start(&bundle);
        let _ = call(&runtime, "pause", container.id()).ok();
        let _ = runtime.call(kill).args([container.id(), "KILL"]).run().ok();
        container.wait();
        let _ = container.delete().ok();
    }
    sandbox.assert_clean();
}

/// As on a host that has v1 only, where there is a v1 freezer: frozen there, a process does not see SIGKILL before it is thawed.
#[test]
fn a_container_that_is_frozen_can_be_killed() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().args(["sleep", "600"]);
    let container = runtime.start(&bundle);
    let groups = cgroups::named(container.id());
    let freezer = groups.iter().map(|group| group.join("freezer.state")).find(|file| file.exists());
    match freezer {
        Some(file) => fs::write(file, "FROZEN").expect("freeze"),
        None => {
            assert!(cgroups::unified(), "a v1 freezer");
            let _ = call(&runtime, "pause", container.id()).ok();
        }
    }
    for _ in 0..1000 {
        if container.status() == "paused" {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(container.status(), "paused");
    let _ = container.kill("KILL").ok();
    container.wait();
    let _ = container.delete().ok();
}

#[test]
fn a_created_container_that_is_paused_starts_when_it_is_resumed() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = counter();
    let container = runtime.create(&bundle, [""; 0]);
    let _ = call(&runtime, "pause", container.id()).ok();
    assert_eq!(container.status(), "paused");
    refused(container.start(), "cannot start a container in the paused state");
    let _ = call(&runtime, "resume", container.id()).ok();
    assert_eq!(container.status(), "created");
    let _ = container.start().ok();
    assert_eq!(container.status(), "running");
}

#[test]
fn a_paused_container_is_not_deleted_without_force() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = counter();
    let container = runtime.start(&bundle);
    let _ = call(&runtime, "pause", container.id()).ok();
    refused(container.delete(), "that is not stopped: paused");
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    sandbox.assert_clean();
}

/// As a container whose cgroup lies below: an engine in the container, or a `cgroupsPath`, has brought it there.
#[test]
fn what_was_paused_by_itself_below_a_container_stays_so_when_that_is_resumed() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().args(["sleep", "600"]);
    let container = runtime.start(&bundle);
    let frozen = ["freezer.state", "cgroup.freeze"];
    let mut below = Vec::new();
    for group in cgroups::named(container.id()) {
        let group = group.join("nested");
        let found = |name: &&str| group.with_file_name(name).exists();
        let Some(name) = frozen.into_iter().find(found) else { continue };
        fs::create_dir(&group).expect("a cgroup below");
        let state = if name == "freezer.state" { "FROZEN" } else { "1" };
        fs::write(group.join(name), state).expect("freeze it");
        below.push((group.join(name), format!("{state}\n")));
    }
    assert!(!below.is_empty(), "something freezes");
    let _ = call(&runtime, "pause", container.id()).ok();
    let _ = call(&runtime, "resume", container.id()).ok();
    let _ = container.kill("USR1").ok();
    for (file, state) in &below {
        assert_eq!(&fs::read_to_string(file).expect("its state"), state, "{}", file.display());
    }
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    assert!(!below[0].0.exists());
}

/// The process is in the container's cgroup from early on, and stands still there. So it would where somebody has paused a cgroup above.
#[test]
fn an_exec_that_waits_for_a_paused_container_can_be_told_to_end() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().args(["sleep", "600"]);
    let container = runtime.start(&bundle);
    let _ = call(&runtime, "pause", container.id()).ok();
    let exec = ["exec", "--ignore-paused", container.id(), "true"];
    let (mut child, output) = runtime.call(exec).start();
    let begin = Instant::now();
    let has_two = |group: &PathBuf| {
        fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|list| list.lines().count() == 2)
    };
    while !cgroups::named(container.id()).iter().any(has_two) {
        assert!(begin.elapsed() < Duration::from_secs(20), "{output}");
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_process(Pid::from_child(&child), Signal::TERM).expect("signal nrun");
    let status = child.wait().expect("wait for nrun").code();
    assert_eq!(status, Some(128 + Signal::TERM.as_raw()), "{output}");
    output.says(&format!("cannot exec in container `{}`: told to end by SIGTERM", container.id()));
    assert_eq!(container.status(), "paused");
    let _ = call(&runtime, "resume", container.id()).ok();
    let _ = container.exec(["true"]).ok();
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    sandbox.assert_clean();
}
