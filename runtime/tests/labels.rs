//! Labels of security modules: given to the container and to what is executed in it where the host has the module, and refused
//! where it has not. A container that was to be confined never runs without.

use std::fs;

use nconform::fixture::apparmor::{self, Profile};
use nconform::fixture::{BundleDir, Runtime, Sandbox, selinux};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::json;

const CONFINED: &str = "cat /proc/self/attr/current; cat /etc/group >/dev/null 2>&1 || echo denied";

#[test]
fn a_profile_confines_the_container_and_what_is_executed_in_it() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().args(["sleep", "600"]);
    if !apparmor::is_enabled() {
        let refused = runtime.run(&bundle.set("/process/apparmorProfile", "anything")).exits(1);
        let text = "config.json /process/apparmorProfile: asks for the profile `anything`, but AppArmor is disabled";
        assert!(refused.stderr().contains(text), "{refused}");
        let bundle = BundleDir::new().args(["sleep", "600"]);
        let container = runtime.start(&bundle);
        let exec = runtime.call(["exec", "--apparmor", "anything", container.id(), "true"]).run();
        exec.exits(255).says("nrun: --apparmor: asks for the profile `anything`, but AppArmor is");
        let file = runtime.root().join("process.json");
        let process = json!({"args": ["true"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "apparmorProfile": "x"});
        fs::write(&file, process.to_string()).expect("write process.json");
        let exec = ["exec", "--process", file.to_str().expect("UTF-8"), container.id()];
        let exec = runtime.call(exec).run().exits(255);
        exec.says("nrun: process.json /apparmorProfile: asks for the profile `x`, but AppArmor is");
        let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
        return sandbox.assert_clean();
    }
    let (profile, other) = (Profile::load(), Profile::load());
    let shown = |name: &str| format!("{name} (enforce)\ndenied\n");
    for no_new_privileges in [true, false] {
        let bundle = BundleDir::new()
            .set("/process/apparmorProfile", profile.name.as_str())
            .set("/process/noNewPrivileges", no_new_privileges);
        let run = runtime.run(&bundle.shell(CONFINED)).ok();
        assert_eq!(run.stdout(), shown(&profile.name));
    }
    let bundle = bundle.set("/process/apparmorProfile", profile.name.as_str());
    let container = runtime.start(&bundle);
    let script = ["sh", "-c", CONFINED];
    assert_eq!(container.exec(script).ok().stdout(), shown(&profile.name));
    let flag = ["exec", "--apparmor", other.name.as_str(), container.id()];
    assert_eq!(runtime.call(flag).args(script).run().ok().stdout(), shown(&other.name));
    let file = runtime.root().join("process.json");
    let mut process =
        json!({"args": script, "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}});
    for (asked, name) in [(None, &profile.name), (Some(&other.name), &other.name)] {
        if let Some(asked) = asked {
            process["apparmorProfile"] = json!(asked);
        }
        fs::write(&file, process.to_string()).expect("write process.json");
        let call =
            runtime.call(["exec", "--process", file.to_str().expect("UTF-8"), container.id()]);
        assert_eq!(call.run().ok().stdout(), shown(name), "what is left open is the container's");
    }
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    sandbox.assert_clean();
}

/// An image that is mounted over /proc, or that has a file where the profile is written to, takes no profile away
/// (CVE-2019-16884, CVE-2019-19921, CVE-2023-28642).
#[test]
fn a_proc_of_the_images_own_takes_no_profile_away() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let profile = apparmor::is_enabled().then(Profile::load);
    let name = profile.as_ref().map_or("anything", |profile| profile.name.as_str());
    let script = "cat /etc/group >/dev/null 2>&1 || echo denied";
    let bundle = BundleDir::new().set("/process/apparmorProfile", name).shell(script);
    let own = bundle.rootfs().join("proc/self/attr/apparmor");
    fs::create_dir_all(&own).expect("a directory of the image");
    for file in [own.join("exec"), bundle.rootfs().join("proc/self/attr/exec")] {
        fs::write(file, "").expect("a file of the image");
    }
    // No procfs, so that it is the image's files that are seen; nothing to be masked in it.
    let bundle =
        bundle.remove("/mounts/0").remove("/linux/maskedPaths").remove("/linux/readonlyPaths");
    let output = runtime.run(&bundle);
    if profile.is_some() {
        assert_eq!(output.ok().text(), "denied");
    } else {
        output.exits(1).says("AppArmor is disabled");
    }
    assert_eq!(fs::read(own.join("exec")).expect("the image's file"), b"");
}

#[test]
fn a_profile_that_is_not_loaded_is_reported_with_its_place() {
    let sandbox = Sandbox::enter();
    let bundle = BundleDir::new().set("/process/apparmorProfile", "not-loaded-anywhere");
    let refused = Runtime::under_test().run(&bundle).exits(1);
    assert!(refused.stderr().contains("config.json /process/apparmorProfile"), "{refused}");
    if apparmor::is_enabled() {
        assert!(refused.stderr().contains("no such file or directory"), "{refused}");
        assert!(refused.stderr().contains("apparmor_parser"), "{refused}");
    }
    sandbox.assert_clean();
}

/// Debian's policy has no domain for containers. This is one that may be entered from the kernel's, in which the guest with SELinux runs
/// the tests, by programs of this type.
const DOMAIN: &str = "system_u:system_r:kmod_t:s0";
const ENTRY: &str = "system_u:object_r:kmod_exec_t:s0";
/// What the files of a container's own file systems are, as far as that domain goes.
const FILES: &str = "system_u:object_r:tmp_t:s0:c1,c2";

/// A bundle whose programs are of the type by which the domain is entered.
fn enterable() -> BundleDir {
    let bundle = BundleDir::new();
    selinux::set_label(&bundle.rootfs().join("bin/busybox"), ENTRY);
    // Which domains may be entered so, the policy says of each pair.
    bundle.set("/process/noNewPrivileges", false)
}

#[test]
fn an_selinux_label_is_the_processes_or_refused() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    if !selinux::is_enabled() {
        let words =
            "selinux label is specified in config, but selinux is disabled or not supported";
        let refused = runtime.run(&BundleDir::new().set("/process/selinuxLabel", DOMAIN)).exits(1);
        assert!(
            refused.stderr().contains(&format!("config.json /process/selinuxLabel: {words}")),
            "{refused}"
        );
        return sandbox.assert_clean();
    }
    // What is said on stdout does not leave the domain, into which our files are not passed on: it shows from outside.
    let own = selinux::label_of_process("thread-self");
    for (label, writes) in [(DOMAIN, false), (own.as_str(), true)] {
        let bundle = enterable().set("/process/selinuxLabel", label).shell("echo >/etc/new");
        let _ = runtime.run(&bundle);
        assert_eq!(bundle.rootfs().join("etc/new").exists(), writes, "{label}");
    }
    let bundle = enterable().set("/process/selinuxLabel", DOMAIN).args(["sleep", "600"]);
    let container = runtime.start(&bundle);
    assert_eq!(selinux::label_of_process(&container.pid().as_raw_nonzero().to_string()), DOMAIN);
    let pid_file = runtime.root().join("exec.pid");
    for (more, label) in [(&[][..], DOMAIN), (&["--process-label", own.as_str()], own.as_str())] {
        let exec = ["exec", "--detach", "--pid-file", pid_file.to_str().expect("UTF-8")];
        let call = runtime.call(exec).args(more).args([container.id(), "sleep", "600"]);
        let _ = call.run().ok();
        let pid = fs::read_to_string(&pid_file).expect("the pid");
        assert_eq!(selinux::label_of_process(&pid), label);
        // As long as nobody has collected it, its PID namespace does not end.
        let pid = pid.parse().ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, Signal::KILL).expect("kill it");
        waitpid(Some(pid), WaitOptions::empty()).expect("collect it");
    }
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    let unknown = enterable().set("/process/selinuxLabel", "system_u:system_r:nosuch_t:s0");
    let refused = runtime.run(&unknown).exits(1);
    refused.says("config.json /process/selinuxLabel");
    refused.says("SELinux policy does not know the label");
    sandbox.assert_clean();
}

#[test]
fn file_systems_of_a_containers_own_have_the_mount_label() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new()
        .set("/linux/mountLabel", FILES)
        .push("/linux/maskedPaths", "/proc/acpi")
        .shell("cat /proc/mounts");
    if !selinux::is_enabled() {
        let refused = runtime.run(&bundle).exits(1);
        refused.says("config.json /linux/mountLabel");
        refused.says("SELinux is not enabled on this host");
        return sandbox.assert_clean();
    }
    let mounts = runtime.run(&bundle).ok().stdout();
    let options = |place: &str| {
        let mut lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let line =
            lines.find(|line| line[1] == place).unwrap_or_else(|| panic!("{place}: {mounts}"));
        line[3].to_owned()
    };
    let labelled = format!("context=\"{FILES}\"");
    for place in ["/dev", "/dev/shm", "/dev/pts", "/proc/acpi"] {
        assert!(options(place).contains(&labelled), "{place}: {}", options(place));
    }
    for place in ["/proc", "/sys"] {
        assert!(!options(place).contains("context="), "{place}: {}", options(place));
    }
    let unknown = BundleDir::new().set("/linux/mountLabel", "system_u:object_r:nosuch_t:s0");
    runtime.run(&unknown).exits(1).says("does not know the label of /linux/mountLabel");
    // Where a mask is the first that takes the label.
    let unknown = unknown
        .set("/mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}]))
        .set("/linux/maskedPaths", json!(["/proc/acpi"]));
    let refused = runtime.run(&unknown).exits(1);
    refused.says("config.json /linux/maskedPaths/0");
    refused.says("hint: the host's SELinux policy does not know the label of /linux/mountLabel");
    sandbox.assert_clean();
}
