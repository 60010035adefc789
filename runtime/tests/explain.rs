//! `explain`, and the hints that come with an error: why a container did not start.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nconform::fixture::{BundleDir, Runtime, Sandbox};
use serde_json::json;

/// Where the last failures are kept; the sandbox has a /run of its own.
const KEPT: &str = "/run/nrun-failures";

fn file(bundle: &BundleDir, name: &str, bytes: impl AsRef<[u8]>, mode: u32) {
    let path = bundle.rootfs().join(name);
    fs::write(&path, bytes).expect("write a program");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// busybox, told to be a program for another machine, whose programs no emulator is installed for (binfmt_misc).
fn for_another_machine(bundle: &BundleDir) -> Vec<u8> {
    let mut program = fs::read(bundle.rootfs().join("bin/busybox")).expect("busybox");
    program[18..20].copy_from_slice(&9999_u16.to_le_bytes());
    program
}

fn explain(runtime: &Runtime, id: &str) -> String {
    runtime.call(["explain", id]).run().ok().stdout()
}

/// A create that fails is explained at once and afterwards.
#[track_caller]
fn create_fails(bundle: &BundleDir, why: &str) {
    let runtime = Runtime::under_test();
    let id = runtime.new_id();
    let said = runtime.bundle_call("create", bundle, [""; 0], &id).run().exits(1).stderr();
    assert!(said.contains("\n\nhint: ") && said.contains(why), "{said}");
    let told = explain(&runtime, &id);
    assert!(told.contains(&format!("tried:   `nrun create {id}` at 20")), "{told}");
    assert!(told.contains("failed:  cannot start container") && told.contains(why), "{told}");
    assert!(fs::read_dir(runtime.root()).expect("the root").next().is_none(), "nothing is left");
}

/// A program that `create` finds and `start` cannot execute.
#[track_caller]
fn start_fails(bundle: &BundleDir, why: &str) {
    let runtime = Runtime::under_test();
    let container = runtime.create(bundle, [""; 0]);
    let said = container.start().exits(1).stderr();
    assert!(said.contains(why), "{said}");
    container.wait();
    let told = explain(&runtime, container.id());
    assert!(told.contains("status:  stopped") && told.contains(why), "{told}");
    let _ = container.delete().ok();
    assert!(
        explain(&runtime, container.id()).contains(why),
        "still known after an engine's delete"
    );
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    let gone = runtime.call(["explain", container.id()]).run().exits(1);
    assert!(gone.stderr().contains("does not exist"), "{gone}");
}

#[test]
fn a_create_that_fails_is_explained() {
    let sandbox = Sandbox::enter();
    create_fails(&BundleDir::new().args(["nginx"]), "no directory of PATH has a program `nginx`");
    create_fails(&BundleDir::new().args(["sh -c true"]), "whole command line");
    create_fails(&BundleDir::new().args(["/srv/run"]), "the root file system has no `/srv`");
    create_fails(&BundleDir::new().args(["/etc"]), "`/etc` is a directory");
    let bundle = BundleDir::new().args(["/bin/plain"]);
    file(&bundle, "bin/plain", "#!/bin/sh\n", 0o644);
    create_fails(&bundle, "has mode 0644");
    let bundle = BundleDir::new().args(["/data/run"]).push(
        "/mounts",
        json!({"destination": "/data", "source": "volume", "options": ["bind", "noexec"]}),
    );
    fs::create_dir(bundle.path().join("volume")).expect("a volume");
    fs::copy("/bin/busybox", bundle.path().join("volume/run")).expect("a program");
    create_fails(&bundle, "option `noexec` (config.json /mounts/7)");
    let bundle = BundleDir::new()
        .args(["/bin/private/run"])
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    fs::create_dir(bundle.rootfs().join("bin/private")).expect("a directory");
    file(&bundle, "bin/private/run", "#!/bin/sh\n", 0o755);
    fs::set_permissions(bundle.rootfs().join("bin/private"), fs::Permissions::from_mode(0o700))
        .expect("chmod");
    create_fails(&bundle, "may not search the directory `/bin/private`");
    sandbox.assert_clean();
}

#[test]
fn a_start_that_fails_is_explained_until_the_id_is_deleted_by_force() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let with = |bytes: &[u8]| {
        let bundle = BundleDir::new().args(["/bin/program"]);
        file(&bundle, "bin/program", bytes, 0o755);
        bundle
    };
    start_fails(&with(b"#!/bin/sh\r\necho\r\n"), "carriage return");
    start_fails(&with(b"#!/usr/bin/python3\n"), "its interpreter `/usr/bin/python3` is not");
    start_fails(&with(b"echo\n"), "text without a `#!` line");
    start_fails(&with(b""), "is empty");
    let bundle = BundleDir::new().args(["/bin/program"]);
    file(&bundle, "bin/program", for_another_machine(&bundle), 0o755);
    let ours = std::env::consts::ARCH;
    start_fails(&bundle, &format!("is a program for machine 9999, and this machine is {ours}"));
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["execve"], "action": "SCMP_ACT_ERRNO"}]});
    start_fails(&BundleDir::new().set("/linux/seccomp", profile), "does not allow `execve`");
    // A filter that kills the process at its exec leaves no errno behind.
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["execve"], "action": "SCMP_ACT_KILL_PROCESS"}]});
    let bundle = BundleDir::new().set("/linux/seccomp", profile);
    let container = runtime.create(&bundle, [""; 0]);
    let _ = container.start();
    container.wait();
    assert!(explain(&runtime, container.id()).contains("does not allow `execve`"));
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    assert!(!Path::new(KEPT).exists(), "nothing is kept any more");
    sandbox.assert_clean();
}

#[test]
fn an_exec_that_fails_is_explained_with_what_the_container_sees() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().args(["sleep", "100"]);
    let container = runtime.start(&bundle);
    assert!(explain(&runtime, container.id()).contains("nothing has failed since it was created"));
    // Made after the start, in a tmpfs that only the container has.
    let script =
        "printf '#!/bin/sh\\r\\n' | tee /dev/shm/run > /tmp/run; chmod 755 /dev/shm/run /tmp/run";
    let _ = container.exec(["sh", "-c", script]).ok();
    for (program, why) in [("/dev/shm/run", "`noexec`"), ("/tmp/run", "carriage return")] {
        let said = container.exec([program]).exits(255).stderr();
        assert!(said.contains(why), "{said}");
    }
    let told = explain(&runtime, container.id());
    assert!(told.contains("status:  running") && told.contains("tried:   `nrun exec"), "{told}");
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    sandbox.assert_clean();
}

#[test]
fn a_container_that_ended_at_once_is_explained_by_its_status() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let run = |bundle: &BundleDir, status: i32, why: &str| {
        let id = runtime.new_id();
        let _ = runtime.bundle_call("run", bundle, [""; 0], &id).run().exits(status);
        let told = explain(&runtime, &id);
        assert!(
            told.contains(&format!("with exit status {status}")) && told.contains(why),
            "{told}"
        );
    };
    run(&BundleDir::new().shell("nginx"), 127, "did not find a program");
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]});
    run(&BundleDir::new().set("/linux/seccomp", profile).args(["mkdir", "/tmp/x"]), 159, "SIGSYS");
    let id = runtime.new_id();
    let _ =
        runtime.bundle_call("run", &BundleDir::new().shell("exit 3"), [""; 0], &id).run().exits(3);
    let unknown = runtime.call(["explain", &id]).run().exits(1);
    assert!(
        unknown.stderr().contains("does not exist"),
        "a status of its own says nothing: {unknown}"
    );
    sandbox.assert_clean();
}

/// Allocates 100 MiB at once under a limit of 16.
fn too_large() -> BundleDir {
    BundleDir::new()
        .args(["dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"])
        .set("/linux/resources/memory", json!({"limit": 16 << 20}))
}

#[test]
fn a_kill_for_the_memory_limit_is_told_in_the_foreground_and_of_a_container_that_stays() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let why = format!("for the memory limit of {} bytes", 16 << 20);
    let id = runtime.new_id();
    let bundle = too_large();
    let _ = runtime.bundle_call("run", &bundle, [""; 0], &id).run().exits(137);
    let told = explain(&runtime, &id);
    assert!(told.contains(&why), "{told}");
    let container = runtime.start(&bundle);
    container.wait();
    let told = explain(&runtime, container.id());
    assert!(told.contains("status:  stopped") && told.contains(&why), "{told}");
    let _ = container.delete().ok();
    sandbox.assert_clean();
}

#[test]
fn what_comes_from_an_image_does_not_reach_the_terminal_as_it_is() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().args(["/bin/program"]);
    file(&bundle, "bin/program", "#!/\u{1b}[31mred\n", 0o755);
    let container = runtime.create(&bundle, [""; 0]);
    let said = container.start().exits(1).stderr();
    let told = explain(&runtime, container.id());
    for text in [&said, &told] {
        assert!(text.contains("red") && !text.contains('\u{1b}'), "{text:?}");
    }
}
