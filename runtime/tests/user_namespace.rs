//! Containers with a user namespace: ids, what root in it may do, and what is done for it from outside.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nconform::fixture::{BundleDir, Console, Runtime, Sandbox, scratch_dir};
use serde_json::json;

/// Root in the container is this user on the host.
const FIRST: u32 = 100_000;

fn mapped() -> BundleDir {
    with_user_namespace(BundleDir::new())
}

fn with_user_namespace(bundle: BundleDir) -> BundleDir {
    let mapping = json!([{"containerID": 0, "hostID": FIRST, "size": 65536}]);
    bundle
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", mapping.clone())
        .set("/linux/gidMappings", mapping)
}

#[test]
fn ids_are_mapped() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let two = json!([
        {"containerID": 0, "hostID": FIRST, "size": 10},
        {"containerID": 1000, "hostID": 7, "size": 1}
    ]);
    let bundle = mapped()
        .set("/linux/uidMappings", two)
        .shell("id -u; cat /proc/self/uid_map /proc/self/gid_map; cat /proc/self/setgroups");
    let text = runtime.run(&bundle).ok().stdout();
    let words: Vec<&str> = text.split_whitespace().collect();
    let wanted = ["0", "0", "100000", "10", "1000", "7", "1", "0", "100000", "65536", "allow"];
    assert_eq!(words, wanted);
}

#[test]
fn root_in_the_container_is_somebody_else_on_the_host() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = mapped().args(["sleep", "600"]);
    let container = runtime.start(&bundle);
    let process = format!("/proc/{}", container.pid().as_raw_nonzero());
    let status = fs::read_to_string(format!("{process}/status")).expect("the status");
    assert!(status.contains("Uid:\t100000\t100000\t100000\t100000"), "{status}");
    assert!(status.contains("Gid:\t100000\t100000\t100000\t100000"), "{status}");
    assert_ne!(
        fs::metadata(format!("{process}/ns/user")).expect("a namespace").ino(),
        fs::metadata("/proc/self/ns/user").expect("a namespace").ino()
    );
}

#[test]
fn the_container_is_furnished_as_without_a_user_namespace() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let script = "hostname; echo x > /dev/null && head -c 2 /dev/zero | wc -c; touch /dev/shm/x /tmp/x; \
                  ls /dev/pts; cat /proc/sys/net/ipv4/ip_forward; ls -d /sys/class/net/*; cat /proc/keys; \
                  touch /proc/sysrq-trigger /proc/sys/kernel/x";
    let bundle = mapped().set("/linux/sysctl/net.ipv4.ip_forward", "1").shell(script);
    let output = runtime.run(&bundle).exits(1);
    assert_eq!(output.stdout(), "sandbox\n2\nptmx\n1\n/sys/class/net/lo\n");
}

#[test]
fn users_groups_and_limits_inside_are_as_configured() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = mapped()
        .set("/process/user", json!({"uid": 1000, "gid": 1001, "additionalGids": [7, 8]}))
        .set("/process/oomScoreAdj", 222)
        .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 70, "hard": 80}]))
        .shell("id -u; id -G; cat /proc/self/oom_score_adj; ulimit -Sn; ulimit -Hn; grep CapEff /proc/self/status | cut -f2");
    let wanted = "1000\n1001 7 8\n222\n70\n80\n0000000000000000\n";
    assert_eq!(runtime.run(&bundle).ok().stdout(), wanted);
}

#[test]
fn capabilities_hold_inside_only() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let names = json!(["CAP_SYS_ADMIN", "CAP_MKNOD", "CAP_CHOWN"]);
    let bundle = ["bounding", "permitted", "effective"]
        .iter()
        .fold(mapped(), |bundle, set| {
            bundle.set(&format!("/process/capabilities/{set}"), names.clone())
        })
        .shell("hostname other && hostname; mount -t tmpfs x /tmp && echo mounted; mknod /tmp/n c 1 3 || echo refused");
    let output = runtime.run(&bundle).ok();
    assert_eq!(output.stdout(), "other\nmounted\nrefused\n");
}

#[test]
fn files_of_the_hosts_root_belong_to_nobody() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = mapped().shell("stat -c '%u %g' /etc/passwd; echo x >> /etc/passwd");
    let output = runtime.run(&bundle).exits(1);
    assert_eq!(output.stdout(), "65534 65534\n");
    assert!(output.stderr().contains("Permission denied"), "{output}");
}

#[test]
fn binds_keep_their_flags() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = mapped();
    let data = bundle.path().join("data");
    fs::create_dir(&data).expect("make a directory");
    fs::create_dir(bundle.rootfs().join("data")).expect("make a directory");
    let bundle = bundle
        .push("/mounts", json!({"destination": "/data", "type": "bind", "source": data, "options": ["rbind", "ro", "nosuid"]}))
        .shell("grep ' /data ' /proc/mounts | cut -d' ' -f4");
    let text = runtime.run(&bundle).ok().stdout();
    assert!(text.starts_with("ro,nosuid"), "{text}");
}

#[test]
fn exec_enters_the_user_namespace() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = mapped().args(["sleep", "600"]);
    let container = runtime.start(&bundle);
    let script = "id -u; readlink /proc/self/ns/user; cat /proc/self/uid_map; grep CapEff /proc/self/status | cut -f2";
    let text = container.exec(["sh", "-c", script]).ok().stdout();
    let path = format!("/proc/{}/ns/user", container.pid().as_raw_nonzero());
    let link = fs::read_link(path).expect("a namespace").display().to_string();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words, ["0", &link, "0", "100000", "65536", "0000000020000420"]);
    let as_user = runtime.call(["exec", "-u", "1000", container.id(), "id", "-u"]).run().ok();
    assert_eq!(as_user.text(), "1000");
}

#[test]
fn a_user_namespace_and_what_belongs_to_it_can_be_joined() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let holding = mapped().args(["sleep", "600"]);
    let holder = runtime.start(&holding);
    let pid = holder.pid().as_raw_nonzero();
    let kinds =
        [("user", "user"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")];
    let bundle = kinds
        .iter()
        .fold(
            BundleDir::new().set("/linux/namespaces", json!([{"type": "mount"}])),
            |bundle, (kind, file)| {
                let path = format!("/proc/{pid}/ns/{file}");
                bundle.push("/linux/namespaces", json!({"type": kind, "path": path}))
            },
        )
        .remove("/hostname")
        .shell(
            "for n in user net ipc uts pid; do readlink /proc/self/ns/$n; done; id -u; hostname",
        );
    let text = runtime.run(&bundle).ok().stdout();
    let link = |(_, file): &(&str, &str)| {
        fs::read_link(format!("/proc/{pid}/ns/{file}")).expect("a namespace").display().to_string()
    };
    let mut wanted: Vec<String> = kinds.iter().map(link).collect();
    wanted.extend(["0".to_owned(), "sandbox".to_owned()]);
    assert_eq!(text.lines().collect::<Vec<_>>(), wanted);
}

#[test]
fn a_user_namespace_is_joined_with_the_mount_namespace_that_belongs_to_it() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let holding = mapped().args(["sleep", "600"]);
    let holder = runtime.start(&holding);
    let pid = holder.pid().as_raw_nonzero();
    // The holder's /proc, in which the paths of the host lead nowhere, is that of its own pid namespace.
    let kinds = [("mount", "mnt"), ("user", "user")];
    let bundle = kinds
        .iter()
        .fold(
            BundleDir::new().set("/linux/namespaces", json!([{"type": "pid"}])),
            |bundle, (kind, file)| {
                let path = format!("/proc/{pid}/ns/{file}");
                bundle.push("/linux/namespaces", json!({"type": kind, "path": path}))
            },
        )
        .set("/mounts", json!([{"destination": "/proc", "type": "proc"}, {"destination": "/dev", "type": "tmpfs"}]))
        .remove("/hostname")
        .shell("readlink /proc/self/ns/mnt; readlink /proc/self/ns/user; id -u");
    let link = |(_, file): &(&str, &str)| {
        fs::read_link(format!("/proc/{pid}/ns/{file}")).expect("a namespace").display().to_string()
    };
    let mut wanted: Vec<String> = kinds.iter().map(link).collect();
    wanted.push("0".to_owned());
    let text = runtime.run(&bundle).ok().stdout();
    assert_eq!(text.lines().collect::<Vec<_>>(), wanted);
}

#[test]
fn a_new_user_namespace_beside_a_joined_one_of_the_hosts() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = mapped()
        .without_namespace("uts")
        .remove("/hostname")
        .push("/linux/namespaces", json!({"type": "uts", "path": "/proc/self/ns/uts"}))
        .shell("id -u; readlink /proc/self/ns/uts; cat /proc/sys/net/ipv4/ip_forward > /dev/null && echo $$");
    let text = runtime.run(&bundle).ok().stdout();
    let own = fs::read_link("/proc/thread-self/ns/uts").expect("a namespace").display().to_string();
    assert_eq!(text.lines().collect::<Vec<_>>(), ["0", &own, "1"]);
}

#[test]
fn a_terminal_belongs_to_the_containers_root() {
    let _sandbox = Sandbox::enter();
    let (runtime, console) = (Runtime::under_test(), Console::listen());
    let bundle = mapped().set("/process/terminal", true).shell("tty; stat -c %u $(tty); echo end");
    let socket = console.path().display().to_string();
    let container = runtime.create(&bundle, ["--console-socket", &socket]);
    let mut terminal = console.receive();
    let _ = container.start().ok();
    assert_eq!(terminal.expect("end\r\n"), "/dev/pts/0\r\n0\r\nend\r\n");
    container.wait();
}

#[test]
fn seccomp_is_in_force() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]
    });
    for no_new_privileges in [true, false] {
        let bundle = mapped()
            .set("/linux/seccomp", profile.clone())
            .set("/process/noNewPrivileges", no_new_privileges)
            .args(["mkdir", "/tmp/x"]);
        let output = runtime.run(&bundle).exits(1);
        assert!(output.stderr().contains("Function not implemented"), "{output}");
    }
}

#[test]
fn a_root_that_the_user_cannot_reach_is_reported_with_what_to_do() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = mapped();
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(bundle.rootfs(), closed).expect("set a mode");
    let output = runtime.try_create(&bundle).exits(1);
    assert!(output.stderr().contains("permission denied"), "{output}");
    assert!(output.stderr().contains("hint: "), "{output}");
    sandbox.assert_clean();
}

#[test]
fn devices_are_not_made_through_a_link_of_the_image() {
    let _sandbox = Sandbox::enter();
    let (runtime, volume) = (Runtime::under_test(), scratch_dir());
    fs::set_permissions(volume.path(), fs::Permissions::from_mode(0o777)).expect("open to all");
    let bind = json!({"destination": "/vol", "type": "bind", "source": volume.path(), "options": ["rbind"]});
    let bundle = with_user_namespace(BundleDir::with_the_images_dev()).push("/mounts", bind);
    fs::create_dir(bundle.rootfs().join("vol")).expect("make a directory");
    bundle.plant("/dev", Path::new("/vol"));
    runtime.run(&bundle).exits(1).says("the image has a symbolic link there");
    let made: Vec<_> = fs::read_dir(volume.path()).expect("the volume").collect();
    assert!(made.is_empty(), "{made:?}");
}

/// What the host has at the path of a device may be another one, or a file.
#[test]
fn only_the_device_that_was_asked_for_is_taken_from_the_host() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let file = scratch_dir();
    let path = file.path().join("file");
    fs::write(&path, "of the host\n").expect("write a file");
    let device = |path: &Path, typ: &str, minor: u32| json!({"path": path, "type": typ, "major": 1, "minor": minor});
    let bundle = |device| mapped().push("/linux/devices", device).shell("ls /dev/zero");
    let zero = Path::new("/dev/zero");
    let _ = runtime.run(&bundle(device(zero, "c", 5))).ok();
    for other in [device(zero, "c", 7), device(zero, "b", 5), device(&path, "c", 5)] {
        let output = runtime.run(&bundle(other.clone())).exits(1);
        assert!(output.stderr().contains("/linux/devices/0"), "{other}: {output}");
        output.says("what the host has there is not this device");
    }
}
