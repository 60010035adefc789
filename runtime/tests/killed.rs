//! Invariant I8: after a SIGKILL to `create` or `run` at any moment, `delete --force` leaves nothing.
//!
//! The moments are spread over the time that the command takes, measured in the same run.

use std::fs;
use std::time::{Duration, Instant};

use nconform::fixture::{BundleDir, Runtime, Sandbox, cgroups};
use serde_json::json;

const MOMENTS: u32 = 40;

/// Kills the command at moments from its first to its last instant, and deletes what it left each time.
#[track_caller]
fn survive_kills(command: &str, bundle: impl FnOnce() -> BundleDir) {
    let sandbox = Sandbox::enter();
    let bundle = &bundle();
    let runtime = Runtime::under_test();
    let started = Instant::now();
    let id = runtime.new_id();
    let detached: &[&str] = if command == "run" { &["-d"] } else { &[] };
    let _ = runtime.bundle_call(command, bundle, detached, &id).run().ok();
    let duration = started.elapsed().max(Duration::from_millis(4));
    let _ = runtime.call(["delete", "--force", &id]).run().ok();

    for moment in 0..MOMENTS {
        let id = runtime.new_id();
        let (mut child, _) = runtime.bundle_call(command, bundle, [""; 0], &id).start();
        std::thread::sleep(duration * moment / MOMENTS);
        child.kill().expect("kill the runtime");
        child.wait().expect("wait for the runtime");
        let delete = runtime.call(["delete", "--force", &id]).limit(Duration::from_secs(30));
        let output = delete.run();
        assert!(output.success(), "killed at {moment}/{MOMENTS} of {duration:?}; {output}");
        let left = cgroups::named(&id);
        assert!(left.is_empty(), "killed at {moment}/{MOMENTS} of {duration:?}: {left:?}");
        assert!(!runtime.root().join(&id).exists(), "killed at {moment}/{MOMENTS} of {duration:?}");
    }
    assert_eq!(fs::read_dir(runtime.root()).expect("the root").count(), 0);
    sandbox.assert_clean();
}

fn sleeper() -> BundleDir {
    BundleDir::new().args(["sleep", "60"])
}

#[test]
fn a_create_that_is_killed_leaves_nothing_that_delete_cannot_remove() {
    survive_kills("create", sleeper);
}

#[test]
fn a_run_that_is_killed_leaves_nothing_that_delete_cannot_remove() {
    survive_kills("run", sleeper);
}

#[test]
fn a_create_without_pid_namespace_that_is_killed_leaves_nothing_that_delete_cannot_remove() {
    survive_kills("create", || sleeper().without_namespace("pid"));
}

#[test]
fn a_create_with_a_helper_stage_that_is_killed_leaves_nothing_that_delete_cannot_remove() {
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    survive_kills("create", || {
        sleeper()
            .without_namespace("uts")
            .remove("/hostname")
            .push("/linux/namespaces", json!({"type": "user"}))
            .push("/linux/namespaces", json!({"type": "uts", "path": "/proc/self/ns/uts"}))
            .set("/linux/uidMappings", mapping.clone())
            .set("/linux/gidMappings", mapping)
    });
}

#[test]
fn a_start_or_delete_that_is_killed_can_be_followed_by_a_delete() {
    let sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    for command in [&["start"][..], &["delete", "--force"]] {
        for moment in 0..MOMENTS / 2 {
            let container = runtime.create(&bundle, [""; 0]);
            let (mut child, _) = runtime.call(command).args([container.id()]).start();
            std::thread::sleep(Duration::from_micros(200) * moment);
            child.kill().expect("kill the runtime");
            child.wait().expect("wait for the runtime");
            let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
            let left = cgroups::named(container.id());
            assert!(left.is_empty(), "killed {command:?}: {left:?}");
            assert!(!runtime.root().join(container.id()).exists(), "killed {command:?}");
        }
    }
    sandbox.assert_clean();
}
