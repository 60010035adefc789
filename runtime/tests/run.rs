//! `run` in the foreground: what it passes on, what it returns, and what it removes.

use std::ffi::CString;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nconform::fixture::{BundleDir, Runtime, Sandbox, scratch_dir};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

#[test]
fn run_exits_with_the_status_of_the_container() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for (script, status) in [("exit 0", 0), ("exit 3", 3), ("exit 255", 255)] {
        let _ = runtime.run(&BundleDir::new().shell(script)).exits(status);
    }
    // The first process of a pid namespace cannot kill itself: the signal comes from outside it.
    for signal in [9, 15] {
        let script = format!("kill -{signal} $$");
        let bundle = BundleDir::new().shell(&script).without_namespace("pid");
        let _ = runtime.run(&bundle).exits(128 + signal);
    }
    assert_eq!(fs::read_dir(runtime.root()).expect("the root").count(), 0, "run deletes");
    sandbox.assert_clean();
}

#[test]
fn run_passes_both_streams_and_standard_input_on() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().shell("cat; echo err >&2");
    let id = runtime.new_id();
    let output = runtime.bundle_call("run", &bundle, [""; 0], &id).stdin("typed").run().ok();
    assert_eq!((output.stdout().as_str(), output.stderr().as_str()), ("typed", "err\n"));
}

#[test]
fn run_keep_leaves_a_stopped_container() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), BundleDir::new().shell("exit 4"));
    let id = runtime.new_id();
    let _ = runtime.bundle_call("run", &bundle, ["--keep"], &id).run().exits(4);
    assert_eq!(runtime.call(["state", &id]).run().ok().json()["status"], "stopped");
    let _ = runtime.call(["delete", &id]).run().ok();
}

#[test]
fn run_forwards_signals_to_the_container() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let script = "trap 'echo got; exit 42' TERM; echo ready; while :; do sleep 0.05; done";
    let bundle = BundleDir::new().shell(script);
    let id = runtime.new_id();
    let (mut child, output) = runtime.bundle_call("run", &bundle, [""; 0], &id).start();
    output.wait_for("ready");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("signal nrun");
    assert_eq!(child.wait().expect("wait for nrun").code(), Some(42));
    assert_eq!(output.stdout(), "ready\ngot\n");
}

#[test]
fn the_container_outlives_the_one_who_ran_it_in_the_foreground_and_can_be_deleted() {
    let sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), BundleDir::new().shell("echo on; sleep 600"));
    let id = runtime.new_id();
    let (mut child, output) = runtime.bundle_call("run", &bundle, [""; 0], &id).start();
    output.wait_for("on");
    child.kill().expect("kill nrun");
    assert_eq!(child.wait().expect("wait for nrun").signal(), Some(9));
    assert_eq!(runtime.call(["state", &id]).run().ok().json()["status"], "running");
    let _ = runtime.call(["delete", "--force", &id]).run().ok();
    sandbox.assert_clean();
}

/// What cannot be removed is worth less than how the program ended.
#[test]
fn run_has_the_status_of_a_container_that_cannot_be_removed() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), BundleDir::new().shell("sleep 1; exit 7"));
    let id = runtime.new_id();
    let (mut child, output) = runtime.bundle_call("run", &bundle, [""; 0], &id).start();
    let (directory, begin) = (runtime.root().join(&id), Instant::now());
    while fs::symlink_metadata(directory.join("init")).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{output}");
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::write(directory.join("foreign"), "").expect("a file of somebody else's");
    assert_eq!(child.wait().expect("wait for nrun").code(), Some(7), "{output}");
    output.says("warning: cannot remove");
    fs::remove_dir_all(&directory).expect("the directory");
}

/// Nor does it take the place of what went wrong before.
#[test]
fn run_tells_why_it_failed_where_the_container_cannot_be_removed() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for options in [&["-d"][..], &[]] {
        let id = runtime.new_id();
        let directory = runtime.root().join(&id);
        let script = format!("echo > {}/foreign; exit 3", directory.display());
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
        let bundle = BundleDir::new().args(["sleep", "600"]).push("/hooks/poststart", hook);
        let call = runtime.bundle_call("run", &bundle, options.iter().copied(), &id);
        let output = call.run().exits(1);
        output.says("error running poststart hook #0: exit status 3");
        output.says("warning: cannot remove");
        fs::remove_dir_all(&directory).expect("the directory");
    }
}

/// A hook that runs a script.
fn shell_hook(script: &str) -> Value {
    json!({"path": "/bin/busybox", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]})
}

/// Waits for a hook to be at work.
#[track_caller]
fn await_file(path: &Path) {
    let begin = Instant::now();
    while !path.exists() {
        assert!(begin.elapsed() < Duration::from_secs(30), "nobody made {}", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Each with a hook that hangs, of the three kinds that run before there is a program.
#[test]
fn run_that_is_told_to_end_while_a_hook_runs_takes_the_container_back() {
    let sandbox = Sandbox::enter();
    let runtime = &Runtime::under_test();
    for (kind, signal) in [
        ("prestart", Signal::TERM),
        ("createRuntime", Signal::INT),
        ("createContainer", Signal::HUP),
        ("createContainer", Signal::QUIT),
    ] {
        for without_pid in [false, true] {
            let (outside, id) = (scratch_dir(), runtime.new_id());
            let [at_work, stopped] = ["at-work", "stopped"].map(|name| outside.path().join(name));
            let bundle = if without_pid {
                BundleDir::new().without_namespace("pid")
            } else {
                BundleDir::new()
            };
            let hanging = shell_hook(&format!("echo > {}; sleep 600", at_work.display()));
            let bundle = bundle
                .args(["sleep", "600"])
                .push(&format!("/hooks/{kind}"), hanging)
                .push("/hooks/poststop", shell_hook(&format!("echo >> {}", stopped.display())));
            let (mut child, output) = runtime.bundle_call("run", &bundle, [""; 0], &id).start();
            await_file(&at_work);
            for other in [Signal::WINCH, Signal::USR1] {
                kill_process(Pid::from_child(&child), other).expect("signal nrun");
            }
            std::thread::sleep(Duration::from_millis(100));
            assert_eq!(child.try_wait().expect("look for nrun"), None, "{kind}: {output}");
            let told = Instant::now();
            kill_process(Pid::from_child(&child), signal).expect("signal nrun");
            let status = child.wait().expect("wait for nrun").code();
            assert_eq!(status, Some(128 + signal.as_raw()), "{kind}: {output}");
            assert!(told.elapsed() < Duration::from_secs(5), "{kind}: {:?}", told.elapsed());
            output.says(&format!("cannot run container `{id}`: told to end by SIG"));
            assert!(!runtime.root().join(&id).exists(), "{kind}");
            assert_eq!(fs::read_to_string(&stopped).expect("it ran"), "\n", "{kind}: once");
            let explained = runtime.call(["explain", &id]).run();
            assert!(!explained.success(), "{kind}: no failure of the container's; {explained}");
            sandbox.assert_clean();
        }
    }
}

/// As where the server of a network's file system is gone: a mount has its target below one that nobody answers for.
#[test]
fn run_that_is_told_to_end_while_a_mount_hangs_takes_the_container_back() {
    let sandbox = Sandbox::enter();
    let (runtime, silent) = (Runtime::under_test(), scratch_dir());
    let fuse = fs::File::options().read(true).write(true).open("/dev/fuse").expect("/dev/fuse");
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", fuse.as_raw_fd());
    let options = CString::new(options).expect("no NUL");
    mount("fuse", silent.path(), "fuse", MountFlags::empty(), Some(&*options)).expect("mount it");
    let bind = json!({"destination": "/silent", "type": "none", "source": silent.path(), "options": ["bind"]});
    let below = json!({"destination": "/silent/below", "type": "tmpfs", "source": "tmpfs"});
    let bundle = BundleDir::new().push("/mounts", bind).push("/mounts", below);
    for signal in [Signal::TERM, Signal::INT] {
        let id = runtime.new_id();
        let (mut child, output) = runtime.bundle_call("run", &bundle, [""; 0], &id).start();
        await_file(&runtime.root().join(&id));
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(child.try_wait().expect("look for nrun"), None, "{output}");
        kill_process(Pid::from_child(&child), signal).expect("signal nrun");
        let status = child.wait().expect("wait for nrun").code();
        assert_eq!(status, Some(128 + signal.as_raw()), "{output}");
        output.says(&format!("cannot run container `{id}`: told to end by SIG"));
        assert!(!runtime.root().join(&id).exists());
    }
    drop(fuse);
    unmount(silent.path(), UnmountFlags::DETACH).expect("unmount it");
    sandbox.assert_clean();
}

/// There is no program yet that could be told.
#[test]
fn run_that_is_told_to_end_while_a_hook_of_the_start_runs_takes_the_container_back() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for signal in [Signal::TERM, Signal::INT] {
        let (outside, id) = (scratch_dir(), runtime.new_id());
        let mount = json!({"destination": "/outside", "type": "none", "source": outside.path(), "options": ["bind"]});
        let bundle = BundleDir::new()
            .args(["sleep", "600"])
            .push("/mounts", mount)
            .push("/hooks/startContainer", shell_hook("echo > /outside/at-work; sleep 600"));
        let (mut child, output) = runtime.bundle_call("run", &bundle, [""; 0], &id).start();
        await_file(&outside.path().join("at-work"));
        let state = runtime.call(["state", &id]).run().ok().json();
        assert_eq!(state["status"], "created", "its program is still to come");
        runtime.call(["start", &id]).run().exits(1).says("it is being started already");
        kill_process(Pid::from_child(&child), Signal::USR1).expect("signal nrun");
        kill_process(Pid::from_child(&child), signal).expect("signal nrun");
        let status = child.wait().expect("wait for nrun").code();
        assert_eq!(status, Some(128 + signal.as_raw()), "{output}");
        output.says(&format!("cannot run container `{id}`: told to end by SIG"));
        assert!(!runtime.root().join(&id).exists());
        sandbox.assert_clean();
    }
}

/// A container that runs ends as its program has it, and not at once.
#[test]
fn run_that_is_told_to_end_while_a_poststart_hook_hangs_ends_that_and_tells_the_program() {
    let sandbox = Sandbox::enter();
    let (runtime, outside) = (Runtime::under_test(), scratch_dir());
    let script = "trap 'echo got; exit 42' TERM; echo ready; while :; do sleep 0.05; done";
    let at_work = outside.path().join("at-work");
    let hanging = shell_hook(&format!("echo > {}; sleep 600", at_work.display()));
    let bundle = BundleDir::new().shell(script).push("/hooks/poststart", hanging);
    let id = runtime.new_id();
    let (mut child, output) = runtime.bundle_call("run", &bundle, [""; 0], &id).start();
    await_file(&at_work);
    output.wait_for("ready");
    assert_eq!(runtime.call(["state", &id]).run().ok().json()["status"], "running");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("signal nrun");
    assert_eq!(child.wait().expect("wait for nrun").code(), Some(42), "{output}");
    assert_eq!(output.stdout(), "ready\ngot\n");
    output.says("error running poststart hook #0: it was ended");
    sandbox.assert_clean();
}

/// Nothing is taken away from the program that has a moment to come.
#[test]
fn a_signal_that_comes_after_the_last_hook_is_for_the_program() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let script = "trap 'echo got; exit 42' TERM; echo ready; while :; do sleep 0.05; done";
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "exit 0"]});
    let bundle = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"]
        .iter()
        .fold(BundleDir::new().shell(script), |bundle, kind| {
            bundle.push(&format!("/hooks/{kind}"), hook.clone())
        });
    let id = runtime.new_id();
    let (mut child, output) = runtime.bundle_call("run", &bundle, [""; 0], &id).start();
    output.wait_for("ready");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("signal nrun");
    assert_eq!(child.wait().expect("wait for nrun").code(), Some(42));
    assert_eq!(output.stdout(), "ready\ngot\n");
    sandbox.assert_clean();
}

/// The id may be another container's by the time that the one of `run` has ended.
#[test]
fn run_removes_its_own_container_and_not_another_of_its_name() {
    let sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), BundleDir::new().shell("echo on; sleep 600"));
    let id = runtime.new_id();
    let (mut child, output) = runtime.bundle_call("run", &bundle, [""; 0], &id).start();
    output.wait_for("on");
    // Stopped, it does not see that its container ends, is deleted, and made again by somebody else.
    kill_process(Pid::from_child(&child), Signal::STOP).expect("stop nrun");
    let _ = runtime.call(["kill", &id, "KILL"]).run().ok();
    let delete = || runtime.call(["delete", "--force", &id]).run().ok();
    let _ = delete();
    let other = BundleDir::new().args(["sleep", "600"]);
    let _ = runtime.bundle_call("run", &other, ["-d"], &id).run().ok();
    kill_process(Pid::from_child(&child), Signal::CONT).expect("let nrun go on");
    assert_eq!(child.wait().expect("wait for nrun").code(), Some(137), "{output}");
    assert_eq!(runtime.call(["state", &id]).run().ok().json()["status"], "running");
    let _ = delete();
    sandbox.assert_clean();
}

/// The kernel keeps no status of a child whose end is ignored, and sends no signal.
#[test]
fn the_status_is_had_when_the_caller_ignores_the_end_of_children() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test().launched_by(["env", "--ignore-signal=CHLD"]);
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "exit 0"]});
    for bundle in [BundleDir::new(), BundleDir::new().push("/hooks/createRuntime", hook)] {
        let _ = runtime.run(&bundle.shell("sleep 0.2; exit 7")).exits(7);
    }
    sandbox.assert_clean();
}

/// What pauses the container `id` from inside a hook of its own, which is paused with it.
fn pausing_hook(id: &str) -> serde_json::Value {
    let script = format!(
        "v1=/sys/fs/cgroup/freezer/{id}/freezer.state; \
         if test -e $v1; then echo FROZEN > $v1; else echo 1 > /sys/fs/cgroup/{id}/cgroup.freeze; fi"
    );
    json!({"path": "/bin/sh", "args": ["sh", "-c", script]})
}

/// The init runs its `createContainer` hooks itself, and is paused with them: nothing more is heard of it.
#[test]
fn a_container_that_pauses_itself_in_a_hook_is_not_waited_for() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for command in ["create", "run"] {
        let id = runtime.new_id();
        let bundle = BundleDir::new()
            .set("/linux/cgroupsPath", format!("/{id}"))
            .push("/hooks/createContainer", pausing_hook(&id));
        let call = runtime.bundle_call(command, &bundle, [""; 0], &id);
        call.limit(Duration::from_secs(20)).run().exits(1).says("a hook has paused it");
        assert!(!runtime.root().join(&id).exists(), "{command}");
    }
    sandbox.assert_clean();
}

/// Its init has a copy of the lock, and would hold it for ever.
#[test]
fn a_container_that_has_paused_itself_is_deleted_by_force_when_its_create_was_killed() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let id = runtime.new_id();
    let bundle = BundleDir::new()
        .set("/linux/cgroupsPath", format!("/{id}"))
        .push("/hooks/createContainer", pausing_hook(&id));
    let (mut create, _) = runtime.bundle_call("create", &bundle, [""; 0], &id).start();
    let paused = || {
        let file = |path: String| std::fs::read_to_string(path).unwrap_or_default();
        file(format!("/sys/fs/cgroup/freezer/{id}/freezer.state")).trim() == "FROZEN"
            || file(format!("/sys/fs/cgroup/{id}/cgroup.events")).contains("frozen 1")
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !paused() {
        assert!(std::time::Instant::now() < deadline, "the hook pauses the container");
        std::thread::sleep(Duration::from_millis(1));
    }
    create.kill().expect("kill the runtime");
    create.wait().expect("wait for the runtime");
    let delete = runtime.call(["delete", "--force", &id]).limit(Duration::from_secs(40));
    let _ = delete.run().ok();
    assert!(!runtime.root().join(&id).exists());
    sandbox.assert_clean();
}

/// Frozen by v1's freezer, a process does not see SIGKILL, and whoever waited for its end would wait for ever.
#[test]
fn a_container_that_its_hook_has_paused_is_removed_when_the_hook_fails_or_nobody_could_set_it_up() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let script = "pid=$(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p'); \
                  v1=/sys/fs/cgroup/freezer$(sed -n 's/.*:freezer://p' /proc/$pid/cgroup)/freezer.state; \
                  v2=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/$pid/cgroup)/cgroup.freeze; \
                  if test -e $v1; then echo FROZEN > $v1; else echo 1 > $v2; fi";
    let hook =
        |end: &str| json!({"path": "/bin/sh", "args": ["sh", "-c", format!("{script}{end}")]});
    let (fails, well) = (" && exit 9", "");
    for (command, options, kind, end, words) in [
        ("create", &[][..], "createRuntime", fails, "exit status 9"),
        ("run", &[], "createRuntime", fails, "exit status 9"),
        ("run", &[], "poststart", fails, "exit status 9"),
        ("run", &["-d"], "poststart", fails, "exit status 9"),
        ("create", &[], "createRuntime", well, "a hook has paused it"),
        ("run", &[], "prestart", well, "a hook has paused it"),
    ] {
        let id = runtime.new_id();
        let bundle = BundleDir::new().args(["sleep", "600"]);
        let bundle = bundle.push(&format!("/hooks/{kind}"), hook(end));
        let call = runtime.bundle_call(command, &bundle, options.iter().copied(), &id);
        let output = call.limit(Duration::from_secs(20)).run();
        output.exits(1).says(words);
        assert!(!runtime.root().join(&id).exists(), "{command} {kind}");
    }
    sandbox.assert_clean();
}
