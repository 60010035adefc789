//! What a container may not see, or not write to: `maskedPaths` and `readonlyPaths`.

use std::fs;
use std::process::Command;

use nconform::fixture::{BundleDir, Runtime, Sandbox, scratch_dir};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::json;

#[test]
fn masked_paths_are_empty_and_cannot_be_written() {
    let _sandbox = Sandbox::enter();
    let bundle = BundleDir::new();
    for path in ["secret.d/key", "secret"] {
        let path = bundle.rootfs().join("etc").join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("make a directory");
        fs::write(path, "confidential").expect("write a file");
    }
    let bundle = bundle
        .push("/linux/maskedPaths", "/etc/secret.d")
        .push("/linux/maskedPaths", "/etc/secret")
        .push("/linux/maskedPaths", "/no/such/path")
        .shell("cat /etc/secret; ls /etc/secret.d; cat /proc/keys /proc/timer_list; ls /sys/firmware; touch /etc/secret.d/x");
    let output = Runtime::under_test().run(&bundle).exits(1);
    assert_eq!(output.stdout(), "");
    assert!(output.stderr().contains("Read-only file system"), "{output}");
}

#[test]
fn readonly_paths_cannot_be_written_but_read() {
    let _sandbox = Sandbox::enter();
    let bundle = BundleDir::new()
        .push("/linux/readonlyPaths", "/etc")
        .push("/linux/readonlyPaths", "/no/such/path")
        .shell("cat /etc/hosts; echo 1 > /proc/sys/kernel/hostname; echo x > /etc/hosts");
    let output = Runtime::under_test().run(&bundle).exits(1);
    assert_eq!(output.stdout(), "127.0.0.1 localhost\n");
    assert_eq!(output.stderr().matches("Read-only file system").count(), 2, "{output}");
}

#[test]
fn the_root_among_the_read_only_paths_is_read_only() {
    let _sandbox = Sandbox::enter();
    for path in ["/", "/etc/.."] {
        let bundle = BundleDir::new()
            .push("/linux/readonlyPaths", path)
            .push("/linux/maskedPaths", "/etc/passwd")
            .shell("cat /etc/passwd; echo x > /dev/shm/x && cat /dev/shm/x; mkdir /new");
        let output = Runtime::under_test().run(&bundle).exits(1);
        assert_eq!(output.stdout(), "x\n", "{path}: what is mounted below it is as it was");
        assert!(output.stderr().contains("Read-only file system"), "{path}: {output}");
        assert!(!bundle.rootfs().join("new").exists(), "{path}");
    }
}

#[test]
fn what_is_masked_twice_is_masked_once() {
    let _sandbox = Sandbox::enter();
    let bundle = BundleDir::new();
    fs::create_dir(bundle.rootfs().join("secret")).expect("make a directory");
    let bundle = bundle
        .set("/linux/maskedPaths", json!(["/secret", "/etc/passwd", "/secret", "//etc/./passwd"]))
        .shell("cut -d ' ' -f 2 /proc/mounts | grep -E '^/(secret|etc/passwd)$' | sort");
    let output = Runtime::under_test().run(&bundle).ok();
    assert_eq!(output.stdout(), "/etc/passwd\n/secret\n");
}

#[test]
fn what_is_masked_is_what_is_there_whatever_its_name_is_for() {
    let _sandbox = Sandbox::enter();
    let bundle = BundleDir::new();
    let (firmware, secret) = (bundle.rootfs().join("sys/firmware"), bundle.rootfs().join("dir"));
    fs::create_dir_all(firmware.parent().expect("a parent")).expect("make a directory");
    fs::write(firmware, "secret").expect("write a file");
    fs::create_dir_all(secret.join("below")).expect("make a directory");
    let bundle = bundle
        .remove("/mounts/6")
        .remove("/mounts/5")
        .set("/linux/maskedPaths", json!(["/sys/firmware", "/dir", "/proc/scsi", "/proc/acpi"]))
        .shell("cat /sys/firmware; ls /dir; test -c /sys/firmware && test -d /dir && echo masked");
    let output = Runtime::under_test().run(&bundle).ok();
    assert_eq!(output.stdout(), "masked\n");
}

#[test]
fn names_in_proc_are_protected_whichever_of_them_this_host_has() {
    let _sandbox = Sandbox::enter();
    let masked =
        ["asound", "none", "bus", "no_file", "meminfo", "no_other", "acpi", "uptime", "fs"];
    let paths =
        |names: &[&str]| json!(names.iter().map(|n| format!("/proc/{n}")).collect::<Vec<_>>());
    let bundle = BundleDir::new()
        .set("/linux/maskedPaths", paths(&masked))
        .set("/linux/readonlyPaths", paths(&["none", "sys", "cmdline", "no_file"]))
        .shell(
            "pwd; ls /proc/bus /proc/fs | grep -v '^/proc\\|^$'; cat /proc/meminfo /proc/uptime; \
             grep -q . /proc/cmdline && grep -c -E ' /proc/(sys|cmdline) [^ ]+ ro' /proc/mounts; \
             for d in bus fs; do mkdir /proc/$d/x 2>/dev/null && echo \"$d writable\"; done; true",
        );
    let output = Runtime::under_test().run(&bundle).ok();
    assert_eq!(output.stdout(), "/\n2\n");
}

#[test]
fn the_procfs_of_another_pid_namespace_is_protected_too() {
    let _sandbox = Sandbox::enter();
    let bundle = BundleDir::new().remove("/mounts/0");
    let proc = bundle.rootfs().join("proc");
    // Its namespace ends with the shell, and nobody who looks is in it: /proc/self leads nowhere.
    let mount = format!("mount -t proc none {}", proc.display());
    let made = Command::new("unshare").args(["-pf", "sh", "-c", &mount]).status();
    assert!(made.expect("unshare").success());
    let bundle = bundle
        .set("/linux/maskedPaths", json!(["/proc/none", "/proc/fs", "/proc/uptime", "/proc/bus"]))
        .shell(
            "readlink /proc/self; cat /proc/uptime; ls /proc/fs /proc/bus | grep -v '^/\\|^$'; \
             grep -q . /proc/loadavg && echo there",
        );
    let output = Runtime::under_test().run(&bundle).ok();
    assert_eq!(output.stdout(), "there\n");
    unmount(&proc, UnmountFlags::DETACH).expect("it is a mount");
}

#[test]
fn what_the_image_has_in_place_of_proc_is_protected_too() {
    let _sandbox = Sandbox::enter();
    let bundle = BundleDir::new();
    let proc = bundle.rootfs().join("proc");
    fs::create_dir_all(proc.join("sys")).expect("make a directory");
    fs::write(proc.join("secret"), "confidential").expect("write a file");
    let bundle = bundle
        .remove("/mounts/0")
        .set("/linux/maskedPaths", json!(["/proc/secret", "/proc/none"]))
        .set("/linux/readonlyPaths", json!(["/proc/sys"]))
        .shell("pwd; cat /proc/secret; mkdir /proc/sys/x 2>/dev/null || mkdir /proc/y && echo protected");
    let output = Runtime::under_test().run(&bundle).ok();
    assert_eq!(output.stdout(), "/\nprotected\n");
    assert!(!proc.join("sys/x").exists());
}

/// CVE-2025-31133: a volume on /dev may have anything in place of it, for whoever has the volume to read or to write through.
#[test]
fn files_are_hidden_behind_nothing_but_the_null_device() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for (make, is_it) in [
        ("mknod null c 1 3", true),
        ("mknod null c 1 5", false),
        ("mkfifo null", false),
        ("echo mine > null", false),
        ("ln -s ../etc/hosts null", false),
        ("mkdir null", false),
    ] {
        let volume = scratch_dir();
        let made = Command::new("sh").args(["-c", make]).current_dir(&volume).status();
        assert!(made.expect("sh").success(), "{make}");
        let dev = json!({"destination": "/dev", "type": "bind", "source": volume.path(), "options": ["rbind"]});
        let bundle = BundleDir::new()
            .set("/mounts/1", dev)
            .set("/linux/maskedPaths", json!(["/proc/uptime"]))
            .shell("cat /proc/uptime; echo started");
        let output = runtime.run(&bundle);
        if is_it {
            assert_eq!(output.ok().stdout(), "started\n", "{make}");
        } else {
            let output = output.exits(1);
            output.says("cannot mask `/proc/uptime`");
            output.says("hint: files are hidden behind the container's /dev/null");
        }
    }
}

#[test]
fn what_is_mounted_below_a_read_only_path_of_proc_is_read_only_too() {
    let _sandbox = Sandbox::enter();
    // In the mount namespace of the test alone.
    let below = "/proc/sys/kernel/random";
    mount("none", below, "tmpfs", MountFlags::empty(), c"").expect("a mount");
    let bare = || {
        let bind = json!({"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]});
        let bundle = BundleDir::new().without_namespace("pid").set("/mounts/0", bind);
        bundle.remove("/linux/maskedPaths")
    };
    let run = |bundle: BundleDir| {
        Runtime::under_test().run(&bundle.shell(&format!("touch {below}/file && echo written")))
    };
    let output = run(bare().remove("/linux/readonlyPaths")).ok();
    assert_eq!(output.stdout(), "written\n");
    let output = run(bare().set("/linux/readonlyPaths", json!(["/proc/sys"]))).exits(1);
    assert!(output.stderr().contains("Read-only file system"), "{output}");
    unmount(below, UnmountFlags::DETACH).expect("it is a mount");
}
