//! Class D: a /proc that is not the kernel's.

use std::fs;
use std::os::unix::fs::symlink;

use nconform::fixture::{BundleDir, Runtime, Sandbox, scratch_dir};
use serde_json::json;

fn with(destination: &str, kind: &str, source: &str) -> BundleDir {
    let options = if kind == "bind" { vec!["rbind"] } else { vec![] };
    BundleDir::new().push(
        "/mounts",
        json!({"destination": destination, "type": kind, "source": source, "options": options}),
    )
}

#[test]
fn nothing_is_mounted_over_proc_by_name() {
    let _sandbox = Sandbox::enter();
    let (runtime, fake) = (Runtime::under_test(), scratch_dir());
    let source = fake.path().display().to_string();
    for destination in [
        "/proc",
        "/proc/",
        "//proc/.",
        "/x/../proc",
        "/proc/self",
        "/proc/self/attr",
        "/proc/sys",
        "/proc/sysrq-trigger",
    ] {
        for kind in ["tmpfs", "bind"] {
            let output = runtime.run(&with(destination, kind, &source)).exits(1);
            let refused = [
                "cannot be mounted because it is inside /proc",
                "is inside `/proc`",
                "only procfs may be mounted on `/proc`",
            ];
            assert!(
                refused.iter().any(|words| output.stderr().contains(words)),
                "{kind} on {destination}: {output}"
            );
        }
    }
}

#[test]
fn nothing_is_mounted_over_proc_through_a_link_of_the_image() {
    let _sandbox = Sandbox::enter();
    let (runtime, fake) = (Runtime::under_test(), scratch_dir());
    let source = fake.path().display().to_string();
    for (link, to, destination) in [
        ("data", "/proc", "/data"),
        ("data", "proc/sys", "/data"),
        ("data", "/proc/self", "/data/attr"),
        ("data", "../../proc", "/data/1"),
    ] {
        for kind in ["tmpfs", "bind"] {
            let bundle = with(destination, kind, &source);
            symlink(to, bundle.rootfs().join(link)).expect("link");
            let output = runtime.run(&bundle).exits(1);
            assert!(
                output.stderr().contains("leads into /proc"),
                "{kind} on {destination}: {output}"
            );
        }
    }
}

#[test]
fn a_dev_or_sys_of_the_image_or_of_a_volume_leads_no_mount_to_proc() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let tmpfs = |at: &str, options: &[&str]| json!({"destination": at, "type": "tmpfs", "source": "tmpfs", "options": options});
    let bind =
        |at: &str, from: &str| json!({"destination": at, "source": from, "options": ["bind"]});
    let proc = json!({"destination": "/proc", "type": "proc", "source": "proc"});
    let own_dev = tmpfs("/dev", &["mode=755"]);
    for (link, to, mounts) in [
        // There is no file system of ours on the way, or not yet, or it begins with what the image has.
        ("rootfs/dev/shm", "/proc", vec![tmpfs("/dev/shm", &[])]),
        ("rootfs/dev/shm", "../proc/sys", vec![tmpfs("/dev/shm", &["mode=1777"])]),
        ("rootfs/sys/data", "/proc/sys", vec![bind("/sys/data/kernel", "volume")]),
        ("rootfs/dev/data", "/proc/sys", vec![bind("/dev/data", "volume"), own_dev.clone()]),
        (
            "rootfs/dev/data",
            "/proc/sys",
            vec![tmpfs("/dev", &["tmpcopyup"]), bind("/dev/data", "volume")],
        ),
        // What is bound in ours is a volume's.
        (
            "volume/data",
            "/proc/sys",
            vec![own_dev, bind("/dev/v", "volume"), bind("/dev/v/data", "volume")],
        ),
    ] {
        let bundle = BundleDir::new();
        fs::create_dir(bundle.path().join("volume")).expect("a volume");
        for directory in ["dev", "sys"] {
            fs::create_dir_all(bundle.rootfs().join(directory)).expect("a directory of the image");
        }
        symlink(to, bundle.path().join(link)).expect("link");
        let mounts: Vec<_> = std::iter::once(proc.clone()).chain(mounts).collect();
        let output = runtime.run(&bundle.set("/mounts", json!(mounts))).exits(1);
        assert!(output.stderr().contains("leads into /proc"), "{link} -> {to}: {output}");
    }
}

#[test]
fn a_proc_that_is_a_link_is_refused() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for (name, to) in [("proc", "/home"), ("sys", "tmp"), ("dev", "home")] {
        let bundle = BundleDir::new();
        fs::remove_dir(bundle.rootfs().join(name)).expect("remove the directory");
        symlink(to, bundle.rootfs().join(name)).expect("link");
        let output = runtime.run(&bundle).exits(1);
        assert!(
            output.stderr().contains("must be mounted on ordinary directory"),
            "/{name} -> {to}: {output}"
        );
    }
}

#[test]
fn kernel_parameters_are_written_to_the_kernel_and_not_to_the_image() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new()
        .args(["cat", "/proc/sys/net/ipv4/ip_forward"])
        .set("/linux/sysctl/net.ipv4.ip_forward", "1");
    let fake = bundle.rootfs().join("proc/sys/net/ipv4/ip_forward");
    fs::create_dir_all(fake.parent().expect("a parent")).expect("make directories");
    fs::write(&fake, "of the image").expect("write");
    assert_eq!(runtime.run(&bundle).ok().text(), "1");
    assert_eq!(fs::read_to_string(fake).expect("read"), "of the image");
    let escape = BundleDir::new().set("/linux/sysctl", json!({"net/../../sysrq-trigger": "h"}));
    let output = runtime.run(&escape).exits(1);
    assert!(output.stderr().contains("/linux/sysctl/net~1..~1..~1sysrq-trigger"), "{output}");
}
