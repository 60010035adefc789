//! Namespaces: new, shared and joined by path, and what is configured inside them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Child;

use nconform::fixture::{BundleDir, Capture, Container, Runtime, Sandbox, scratch_dir};
use rustix::process::Pid;
use serde_json::json;

/// The types of runtime-spec and the names of the files in /proc/PID/ns.
const KINDS: [(&str, &str); 7] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

/// Prints `NAME LINK` for every namespace of the process.
const SHOW: &str = "cd /proc/self/ns; for n in *; do echo $n $(readlink $n); done";

/// A bundle whose container has a new namespace of exactly these types and `mount`.
fn with_namespaces(kinds: &[&str]) -> BundleDir {
    let list = kinds.iter().map(|kind| json!({"type": kind}));
    // A procfs shows the pid namespace that it was mounted from, whichever that is.
    BundleDir::new().set("/linux/namespaces", list.collect::<Vec<_>>()).remove("/hostname")
}

fn parse(text: &str) -> BTreeMap<String, String> {
    let pair =
        |line: &str| line.split_once(' ').map(|(name, link)| (name.to_owned(), link.to_owned()));
    text.lines().filter_map(pair).collect()
}

/// The namespaces of a process, or of this thread.
fn of(pid: Option<Pid>) -> BTreeMap<String, String> {
    let directory = pid.map_or("/proc/thread-self/ns".to_owned(), |pid| {
        format!("/proc/{}/ns", pid.as_raw_nonzero())
    });
    let link = |name: &str| {
        let path = PathBuf::from(&directory).join(name);
        fs::read_link(path).expect("a namespace").display().to_string()
    };
    KINDS.iter().map(|(_, file)| *file).chain(["user"]).map(|f| (f.to_owned(), link(f))).collect()
}

/// The path of a namespace of a container.
fn path(container: &Container<'_>, file: &str) -> String {
    format!("/proc/{}/ns/{file}", container.pid().as_raw_nonzero())
}

#[test]
fn every_namespace_that_is_listed_is_new() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let kinds: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
    let inside = parse(&runtime.run(&with_namespaces(&kinds).shell(SHOW)).ok().stdout());
    let outside = of(None);
    for (_, file) in KINDS {
        assert_ne!(inside[file], outside[file], "{file}");
    }
    assert_eq!(inside["user"], outside["user"], "not listed");
}

#[test]
fn a_namespace_that_is_not_listed_is_shared_with_the_caller() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let inside = parse(&runtime.run(&with_namespaces(&["mount"]).shell(SHOW)).ok().stdout());
    for (file, link) in of(None) {
        assert_eq!(inside[&file] == link, file != "mnt", "{file}");
    }
}

#[test]
fn a_namespace_with_a_path_is_joined() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let all = ["pid", "network", "ipc", "uts", "mount", "cgroup", "time"];
    let holding = with_namespaces(&all).args(["sleep", "600"]);
    let holder = runtime.start(&holding);
    let outside = of(None);
    for (kind, file) in KINDS.iter().filter(|(kind, _)| *kind != "mount") {
        let bundle = with_namespaces(&["mount"])
            .push("/linux/namespaces", json!({"type": kind, "path": path(&holder, file)}))
            .shell(SHOW);
        let inside = parse(&runtime.run(&bundle).ok().stdout());
        let joined = of(Some(holder.pid()));
        for (_, other) in KINDS.iter().filter(|(kind, _)| *kind != "mount") {
            let wanted = if other == file { &joined } else { &outside };
            assert_eq!(inside[*other], wanted[*other], "{other} when {kind} is joined");
        }
    }
}

#[test]
fn all_namespaces_of_another_container_can_be_joined_at_once() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let all = ["pid", "network", "ipc", "uts", "mount", "cgroup", "time"];
    let holding = with_namespaces(&all).args(["sleep", "600"]);
    let holder = runtime.start(&holding);
    let joined = KINDS.iter().filter(|(kind, _)| *kind != "mount");
    let bundle = joined.fold(with_namespaces(&["mount"]), |bundle, (kind, file)| {
        bundle.push("/linux/namespaces", json!({"type": kind, "path": path(&holder, file)}))
    });
    let output =
        runtime.run(&bundle.shell(&format!("{SHOW}; echo processes $(ps | grep -c sleep)")));
    let inside = parse(&output.ok().stdout());
    let holders = of(Some(holder.pid()));
    for (_, file) in KINDS.iter().filter(|(kind, _)| *kind != "mount") {
        assert_eq!(inside[*file], holders[*file], "{file}");
    }
    assert_ne!(inside["processes"], "0", "its processes are seen");
}

/// A process in a mount namespace of its own, which a script has changed, and the path of that.
fn mount_namespace(script: &str) -> (Child, String) {
    let script = format!("{script} echo ready && exec sleep 600");
    let (mut holder, output) = Capture::of("unshare").args(["-m", "sh", "-c", &script]).start();
    while output.stdout() != "ready\n" {
        assert!(holder.try_wait().expect("the holder").is_none(), "{output}");
        std::thread::yield_now();
    }
    let path = format!("/proc/{}/ns/mnt", holder.id());
    (holder, path)
}

#[test]
fn a_mount_namespace_can_be_joined() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let (mut holder, path) = mount_namespace("");
    let link = fs::read_link(&path).expect("a namespace").display().to_string();
    let bundle = with_namespaces(&[])
        .push("/linux/namespaces", json!({"type": "mount", "path": path}))
        .args(["readlink", "/proc/self/ns/mnt"]);
    let output = runtime.run(&bundle);
    holder.kill().and_then(|()| holder.wait()).expect("end the holder");
    assert_eq!(output.ok().text(), link);
}

#[test]
fn what_is_at_proc_in_a_mount_namespace_that_is_joined_is_not_written_to() {
    let _sandbox = Sandbox::enter();
    let (runtime, kept) = (Runtime::under_test(), scratch_dir());
    let fake = kept.path().display();
    let files = "sys/net/ipv4/ip_default_ttl self/timens_offsets self/ns/time_for_children";
    let (mut holder, path) = mount_namespace(&format!(
        "cd {fake} && mkdir -p sys/net/ipv4 self/ns && touch {files} && mount --bind . /proc &&"
    ));
    let bundle = with_namespaces(&["network", "time"])
        .push("/linux/namespaces", json!({"type": "mount", "path": path}))
        .set("/linux/sysctl", json!({"net.ipv4.ip_default_ttl": "77"}))
        .set("/linux/timeOffsets", json!({"boottime": {"secs": 7_000_000}}))
        .shell("cat /proc/sys/net/ipv4/ip_default_ttl; cut -d. -f1 /proc/uptime");
    let output = runtime.run(&bundle);
    holder.kill().and_then(|()| holder.wait()).expect("end the holder");
    let text = output.ok().stdout();
    let (ttl, uptime) = text.split_once('\n').expect("two lines");
    assert_eq!(ttl, "77");
    assert!(uptime.trim().parse::<u64>().expect("a number") > 7_000_000, "{text}");
    for file in files.split(' ') {
        assert_eq!(fs::read(kept.path().join(file)).expect("a file"), b"", "{file}");
    }
}

#[test]
fn the_container_is_process_1_of_its_pid_namespace() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().shell("echo $$; ls -d /proc/[0-9]*");
    assert_eq!(runtime.run(&bundle).ok().stdout().lines().next(), Some("1"));
    let shared = BundleDir::new().shell("echo $$").without_namespace("pid");
    assert_ne!(runtime.run(&shared).ok().text(), "1");
}

#[test]
fn a_new_network_has_loopback_alone_and_it_is_up() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let script =
        "ls /sys/class/net; cat /sys/class/net/lo/flags; ip -4 addr show lo | grep -o 127.0.0.1/8";
    let output = runtime.run(&BundleDir::new().shell(script)).ok();
    assert_eq!(output.stdout(), "lo\n0x9\n127.0.0.1/8\n", "IFF_UP and IFF_LOOPBACK");
}

#[test]
fn host_and_domain_name_are_set_inside_only() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let before = fs::read_to_string("/proc/sys/kernel/hostname").expect("a host name");
    let bundle = BundleDir::new()
        .set("/hostname", "inside")
        .set("/domainname", "example.org")
        .shell("hostname; cat /proc/sys/kernel/domainname");
    assert_eq!(runtime.run(&bundle).ok().stdout(), "inside\nexample.org\n");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").expect("a host name"), before);
}

/// Without a namespace for them, which empty names do not need, they would be the host's.
#[test]
fn empty_host_and_domain_names_are_none() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let files = ["/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname"];
    let before = files.map(|file| fs::read_to_string(file).expect("a name")).concat();
    let bundle = BundleDir::new().set("/hostname", "").set("/domainname", "");
    let bundle = bundle.args(["cat", files[0], files[1]]);
    assert_eq!(runtime.run(&bundle).ok().stdout(), before);
    let bundle = bundle.without_namespace("uts");
    let plan = runtime.call(["plan", "--bundle"]).args([bundle.path()]).run().ok().stdout();
    assert!(!plan.contains("name to"), "{plan}");
}

#[test]
fn kernel_parameters_are_set_in_the_namespaces_they_belong_to() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let files = "/proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax";
    let before = fs::read_to_string("/proc/sys/kernel/msgmax").expect("msgmax");
    let bundle = BundleDir::new()
        .set("/linux/sysctl/net.ipv4.ip_forward", "1")
        .set("/linux/sysctl/kernel.msgmax", "4321")
        .shell(&format!("cat {files}"));
    assert_eq!(runtime.run(&bundle).ok().stdout(), "1\n4321\n");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/msgmax").expect("msgmax"), before);
}

#[test]
fn kernel_parameters_of_a_joined_namespace_that_is_the_hosts_are_not_set() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for (kind, file, parameter) in [
        ("network", "net", "net.ipv4.ip_forward"),
        ("ipc", "ipc", "kernel.msgmax"),
        ("uts", "uts", "kernel.domainname"),
    ] {
        // What it is already: a runtime that does not look changes nothing.
        let value = fs::read_to_string(format!("/proc/sys/{}", parameter.replace('.', "/")));
        let value = value.expect("a parameter");
        let joining = |path: String| {
            BundleDir::new()
                .remove("/hostname")
                .without_namespace(kind)
                .push("/linux/namespaces", json!({"type": kind, "path": path}))
                .set("/linux/sysctl", json!({parameter: value.trim()}))
                .shell("echo set")
        };
        let output = runtime.run(&joining(format!("/proc/self/ns/{file}"))).exits(1);
        let words = format!("sysctl `{parameter}` not allowed in host {kind} namespace");
        assert!(output.stderr().contains(&words), "{output}");
        let other = runtime.start(&BundleDir::new().args(["sleep", "600"]));
        assert_eq!(runtime.run(&joining(path(&other, file))).ok().stdout(), "set\n");
    }
}

#[test]
fn a_new_cgroup_namespace_begins_at_the_containers_own_cgroup() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let cgroup =
        |bundle: BundleDir| runtime.run(&bundle.args(["cat", "/proc/self/cgroup"])).ok().stdout();
    let own = cgroup(BundleDir::new().push("/linux/namespaces", json!({"type": "cgroup"})));
    // Hierarchies without a cgroup of ours are as they were.
    let roots = own.lines().filter(|line| line.ends_with(":/")).count();
    let shared = cgroup(BundleDir::new());
    let ours = shared.lines().filter(|line| line.contains(nconform::fixture::PREFIX)).count();
    assert!(ours > 0 && roots >= ours, "{own}\n{shared}");
    assert!(!own.contains(nconform::fixture::PREFIX), "{own}");
}

#[test]
fn clocks_of_a_time_namespace_have_their_offsets() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new()
        .push("/linux/namespaces", json!({"type": "time"}))
        .set("/linux/timeOffsets", json!({"boottime": {"secs": 7_000_000}, "monotonic": {"secs": 5_000_000, "nanosecs": 9}}))
        .shell("cat /proc/uptime; cat /proc/self/timens_offsets");
    let text = runtime.run(&bundle).ok().stdout();
    let seconds: f64 = text.split(' ').next().and_then(|word| word.parse().ok()).expect("a number");
    assert!(seconds > 7_000_000.0, "{text}");
    let offsets: Vec<Vec<&str>> =
        text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(offsets, [["monotonic", "5000000", "9"], ["boottime", "7000000", "0"]]);
}

#[test]
fn a_path_that_is_no_such_namespace_is_refused_with_its_place() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for path in ["/no/such/file", "/proc/self/ns/uts"] {
        let bundle = BundleDir::new()
            .without_namespace("network")
            .push("/linux/namespaces", json!({"type": "network", "path": path}));
        let output = runtime.try_create(&bundle).exits(1);
        assert!(output.stderr().contains("/linux/namespaces/4/path"), "{output}");
    }
    sandbox.assert_clean();
}

#[test]
fn what_would_change_the_hosts_mounts_is_refused_without_a_mount_namespace() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bare = || {
        BundleDir::new()
            .without_namespace("mount")
            .remove("/mounts")
            .remove("/linux/maskedPaths")
            .remove("/linux/readonlyPaths")
    };
    let mount = json!([{"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"}]);
    for (pointer, value) in [
        ("/mounts", mount),
        ("/linux/maskedPaths", json!(["/etc/shadow"])),
        ("/linux/readonlyPaths", json!(["/etc"])),
        ("/root/readonly", json!(true)),
        ("/process/terminal", json!(true)),
    ] {
        let output = runtime.run(&bare().set(pointer, value)).exits(1);
        let told = output.stderr();
        assert!(
            told.contains(pointer) && told.contains("mount` namespace")
                || told.contains("a mount namespace"),
            "{output}"
        );
    }
    let _ = runtime.run(&bare()).ok();
    sandbox.assert_clean();
}
