//! `/dev`: the default devices and links, those of config.json, and who may use them.

use nconform::fixture::{BundleDir, Runtime, Sandbox, cgroups, scratch_dir, unique_name};
use serde_json::{Value, json};
use std::path::Path;

#[test]
fn every_container_has_the_default_devices() {
    let _sandbox = Sandbox::enter();
    let script = "cd /dev; stat -c '%n %F %t:%T %a %u:%g' null zero full random urandom tty";
    let output = Runtime::under_test().run(&BundleDir::new().shell(script)).ok();
    let wanted = [
        ("null", "1:3"),
        ("zero", "1:5"),
        ("full", "1:7"),
        ("random", "1:8"),
        ("urandom", "1:9"),
        ("tty", "5:0"),
    ];
    let line =
        |(name, number): &(&str, &str)| format!("{name} character special file {number} 666 0:0\n");
    assert_eq!(output.stdout(), wanted.iter().map(line).collect::<String>());
}

#[test]
fn the_default_devices_work_for_any_user() {
    let _sandbox = Sandbox::enter();
    let script = "echo x > /dev/null && head -c 4 /dev/zero | wc -c && head -c 4 /dev/urandom | wc -c; echo x > /dev/full";
    let bundle = BundleDir::new().shell(script).set("/process/user/uid", 1000);
    let output = Runtime::under_test().run(&bundle).exits(1);
    assert_eq!(output.stdout(), "4\n4\n");
    assert!(output.stderr().contains("No space left on device"), "{output}");
}

#[test]
fn every_container_has_the_default_links() {
    let _sandbox = Sandbox::enter();
    let script = "cd /dev; for l in fd stdin stdout stderr ptmx; do readlink $l; done";
    let output = Runtime::under_test().run(&BundleDir::new().shell(script)).ok();
    let wanted = "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n";
    assert_eq!(output.stdout(), wanted);
}

#[test]
fn devices_of_the_configuration_have_their_kind_number_mode_and_owner() {
    let _sandbox = Sandbox::enter();
    let bundle = BundleDir::new()
        .set("/linux/devices", json!([
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 5, "gid": 6},
            {"path": "/dev/deep/er/loop", "type": "b", "major": 7, "minor": 0, "fileMode": 0o600},
            {"path": "/dev/pipe", "type": "p", "fileMode": 0o622},
            {"path": "/dev/plain", "type": "u", "major": 1, "minor": 3}
        ]))
        .shell("cd /dev; stat -c '%n %F %t:%T %a %u:%g' fuse deep/er/loop pipe plain");
    let output = Runtime::under_test().run(&bundle).ok();
    let lines: Vec<String> = output.stdout().lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "fuse character special file a:e5 640 5:6");
    assert_eq!(lines[1], "deep/er/loop block special file 7:0 600 0:0");
    assert_eq!(lines[2], "pipe fifo 0:0 622 0:0");
    assert_eq!(lines[3], "plain character special file 1:3 666 0:0");
}

#[test]
fn a_device_of_the_configuration_replaces_a_default_one() {
    let _sandbox = Sandbox::enter();
    let bundle = BundleDir::new()
        .push("/linux/devices", json!({"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600, "gid": 7}))
        .shell("stat -c '%a %g' /dev/null");
    assert_eq!(Runtime::under_test().run(&bundle).ok().text(), "600 7");
}

/// A bundle whose process may make device nodes, and may use what `rules` allow.
#[test]
fn a_device_of_the_configuration_does_not_replace_another_file() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let device = |path| json!({"path": path, "type": "c", "major": 1, "minor": 3});
    let bundle = BundleDir::new().push("/linux/devices", device("/file"));
    let file = bundle.rootfs().join("file");
    std::fs::write(&file, "kept").expect("write a file");
    let refused = runtime.run(&bundle).exits(1).stderr();
    assert!(refused.contains("`/file`") && refused.contains("another file is there"), "{refused}");
    assert_eq!(std::fs::read(&file).expect("it is there"), b"kept");
    // A second container finds the node of the first, which is the device that is asked for.
    let bundle = BundleDir::new().push("/linux/devices", device("/null"));
    let bundle = bundle.args(["test", "-c", "/null"]);
    for _ in 0..2 {
        let _ = runtime.run(&bundle).ok();
    }
}

fn maker(rules: serde_json::Value) -> BundleDir {
    let capabilities = json!(["CAP_MKNOD"]);
    ["bounding", "permitted", "effective"]
        .iter()
        .fold(BundleDir::new(), |bundle, set| {
            bundle.set(&format!("/process/capabilities/{set}"), capabilities.clone())
        })
        .set("/linux/resources/devices", rules)
}

#[test]
fn only_devices_that_a_rule_allows_can_be_used() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let script = "mknod /dev/new c 10 229 && : < /dev/new";
    let denied = runtime.run(&maker(json!([{"allow": false, "access": "rwm"}])).shell(script));
    assert!(denied.stderr().contains("Operation not permitted"), "{denied}");
    assert_ne!(denied.code(), 0);
    let allowed = json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rm"}
    ]);
    let _ = runtime.run(&maker(allowed.clone()).shell(script)).ok();
    let written = runtime.run(&maker(allowed).shell("mknod /dev/new c 10 229 && : > /dev/new"));
    assert!(written.stderr().contains("Operation not permitted"), "read, not write; {written}");
}

/// A rule that engines leave to the runtime: without it, no program for private networks works that makes the node itself.
#[test]
fn a_tunnel_can_be_opened_by_whoever_makes_the_node() {
    let _sandbox = Sandbox::enter();
    let bundle = maker(json!([{"allow": false, "access": "rwm"}]));
    let script = "mkdir /dev/net && mknod /dev/net/tun c 10 200 && : <> /dev/net/tun";
    let output = Runtime::under_test().run(&bundle.shell(script));
    // A kernel without the driver has nothing there.
    let may = output.success() || output.stderr().contains("No such device");
    assert!(may, "{output}");
}

/// As one of LXC's may, or a service's with a strict `DevicePolicy=`: on v1 no cgroup below gives what the one above has not.
#[test]
fn a_cgroup_that_does_not_permit_tunnels_keeps_nobody_from_running() {
    let sandbox = Sandbox::enter();
    let hierarchy = Path::new("/sys/fs/cgroup/devices");
    if !hierarchy.join("devices.deny").exists() {
        let bundle = BundleDir::new().set("/linux/resources/devices", json!([]));
        let _ = Runtime::under_test().run(&bundle).ok();
        return sandbox.assert_clean();
    }
    let parent = unique_name();
    let above = hierarchy.join(&parent);
    std::fs::create_dir(&above).expect("make a cgroup");
    std::fs::write(above.join("devices.deny"), "a").expect("deny all devices");
    for rule in ["c *:* m", "b *:* m", "c 1:* rwm", "c 5:* rwm", "c 136:* rwm"] {
        std::fs::write(above.join("devices.allow"), rule).expect("allow devices");
    }
    let with = |rules: Value| {
        BundleDir::new()
            .set("/linux/cgroupsPath", format!("/{parent}/inside"))
            .set("/linux/resources/devices", rules)
    };
    let all = json!({"allow": false, "access": "rwm"});
    let _ = Runtime::under_test().run(&with(json!([all]))).ok();
    let asked = json!({"allow": true, "type": "c", "major": 10, "minor": 200, "access": "rw"});
    let refused = Runtime::under_test().run(&with(json!([all, asked]))).exits(1);
    assert!(refused.stderr().contains("devices.allow` to `c 10:200 rwm`"), "{refused}");
    // In the other hierarchies it was made for the container.
    cgroups::destroy(&parent);
    sandbox.assert_clean();
}

#[test]
fn a_bound_dev_is_left_as_it_is() {
    let _sandbox = Sandbox::enter();
    let bundle = BundleDir::new();
    let dev = bundle.path().join("dev");
    std::fs::create_dir(&dev).expect("make a directory");
    std::fs::write(dev.join("mark"), "").expect("make a file");
    let bundle = bundle
        .set("/mounts", json!([
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "bind", "source": "dev", "options": ["rbind", "rprivate"]}
        ]))
        .remove("/linux/maskedPaths")
        .args(["ls", "/dev"]);
    assert_eq!(Runtime::under_test().run(&bundle).ok().stdout(), "mark\n");
}

#[test]
fn what_the_bundle_mounts_in_the_place_of_a_default_device_stays() {
    let _sandbox = Sandbox::enter();
    let source = scratch_dir();
    let file = source.path().join("file");
    std::fs::write(&file, "of the bundle").expect("write a file");
    let bind =
        json!({"destination": "/dev/full", "type": "bind", "source": file, "options": ["bind"]});
    let bundle = BundleDir::new().push("/mounts", bind).args(["cat", "/dev/full"]);
    let output = Runtime::under_test().run(&bundle).ok();
    assert_eq!(output.stdout(), "of the bundle");
}
