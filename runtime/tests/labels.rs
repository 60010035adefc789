//! Labels of security modules: given to the container and to what is executed in it where the host has the module, and refused
//! where it has not. A container that was to be confined never runs without.

use std::fs;

use nconform::fixture::apparmor::{self, Profile};
use nconform::fixture::{BundleDir, Runtime, Sandbox};
use serde_json::json;

fn has_selinux() -> bool {
    fs::read_to_string("/proc/filesystems").is_ok_and(|text| text.contains("selinuxfs"))
        && std::path::Path::new("/sys/fs/selinux/policy").exists()
}

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
        assert!(exec.exits(255).stderr().contains("AppArmor is disabled"));
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

#[test]
fn an_selinux_label_is_refused_where_there_is_no_selinux() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let label = "system_u:system_r:container_t:s0";
    assert!(
        !has_selinux(),
        "no machine with SELinux is among those that these tests are written for"
    );
    let words = "selinux label is specified in config, but selinux is disabled or not supported";
    let refused = runtime.run(&BundleDir::new().set("/process/selinuxLabel", label)).exits(1);
    assert!(
        refused.stderr().contains(&format!("config.json /process/selinuxLabel: {words}")),
        "{refused}"
    );
    let bundle = BundleDir::new().args(["sleep", "600"]);
    let container = runtime.start(&bundle);
    let exec = runtime.call(["exec", "--process-label", label, container.id(), "true"]).run();
    assert!(exec.exits(255).stderr().contains(words));
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    sandbox.assert_clean();
}
