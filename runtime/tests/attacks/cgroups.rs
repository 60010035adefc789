//! Class F: out of the cgroup, or into somebody else's.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nconform::fixture::{BundleDir, Runtime, Sandbox, cgroups, unique_name};
use rustix::fs::{Mode, OFlags};
use serde_json::json;

#[test]
fn a_cgroups_path_that_leads_elsewhere_is_refused() {
    let _sandbox = Sandbox::enter();
    let (runtime, name) = (Runtime::under_test(), unique_name());
    for path in [
        "..",
        "../NAME",
        "/../NAME",
        "/NAME/../../NAME",
        "NAME/..",
        "/",
        "//",
        ".",
        "a\nNAME",
        "/NAME/../..",
    ] {
        let path = path.replace("NAME", &name);
        let output =
            runtime.run(&BundleDir::new().set("/linux/cgroupsPath", path.as_str())).exits(1);
        assert!(output.stderr().contains("/linux/cgroupsPath"), "{path:?}: {output}");
        assert_eq!(cgroups::named(&name), Vec::<std::path::PathBuf>::new(), "{path:?}");
    }
}

/// Everything that a container could try on what it sees of its cgroups.
const ESCAPE: &str = r#"
    for directory in /sys/fs/cgroup /sys/fs/cgroup/*; do
        mkdir $directory/escape && echo "made $directory/escape"
        for file in cgroup.procs tasks release_agent notify_on_release devices.allow memory.limit_in_bytes pids.max cgroup.subtree_control; do
            [ -e $directory/$file ] && echo 1 >$directory/$file && echo "wrote $directory/$file"
        done
    done 2>/dev/null
    ls -d /sys/fs/cgroup/* | wc -l"#;

#[test]
fn a_container_can_only_look_at_its_own_cgroups() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let cases =
        [BundleDir::new(), BundleDir::new().push("/linux/namespaces", json!({"type": "cgroup"}))];
    for bundle in cases {
        let said = runtime.run(&bundle.shell(ESCAPE)).ok().text();
        let seen: u32 = said.parse().unwrap_or_else(|_| panic!("out of the cgroup: {said}"));
        assert!(seen > 0, "the container saw no cgroups at all");
    }
}

#[test]
fn a_container_does_not_see_where_on_the_host_its_cgroup_is() {
    let _sandbox = Sandbox::enter();
    let (runtime, name) = (Runtime::under_test(), unique_name());
    let bundle = BundleDir::new()
        .push("/linux/namespaces", json!({"type": "cgroup"}))
        .set("/linux/cgroupsPath", format!("/{name}/inner"))
        .args(["cat", "/proc/self/cgroup"]);
    let seen = runtime.run(&bundle).ok().stdout();
    cgroups::destroy(&name);
    assert!(!seen.contains(&name), "{seen}");
    assert!(seen.lines().any(|line| line.ends_with(":/")), "{seen}");
}

/// A cgroup below one, so deep that no path leads to it, which a container makes step by step. What runs as `pid` is moved there.
fn bury(directory: &Path, pid: &str) {
    let open = |at: BorrowedFd<'_>, name: &str, flags| {
        rustix::fs::openat(at, name, flags | OFlags::CLOEXEC, Mode::empty())
    };
    let name = "d".repeat(250);
    let mut deepest: OwnedFd = fs::File::open(directory).expect("a cgroup").into();
    for _ in 0..40 {
        rustix::fs::mkdirat(&deepest, &*name, Mode::from(0o755)).expect("make a cgroup");
        deepest = open(deepest.as_fd(), &name, OFlags::PATH | OFlags::DIRECTORY).expect("open it");
    }
    // Not every controller takes it without further ado.
    let _ = open(deepest.as_fd(), "cgroup.procs", OFlags::WRONLY)
        .and_then(|file| rustix::io::write(file, pid.as_bytes()));
}

#[test]
fn what_a_container_has_buried_in_its_cgroups_is_found_and_removed() {
    let _sandbox = Sandbox::enter();
    let (runtime, name) = (Runtime::under_test(), unique_name());
    let bundle = BundleDir::new()
        .set("/linux/cgroupsPath", format!("/{name}"))
        .remove("/linux/resources")
        .args(["sleep", "600"]);
    let container = runtime.start(&bundle);
    let pid = container.pid().as_raw_nonzero().to_string();
    cgroups::named(&name).iter().for_each(|directory| bury(directory, &pid));
    let listed = runtime.call(["ps", "--format", "json", container.id()]).run().ok();
    assert_eq!(listed.text(), format!("[{pid}]"));
    for words in [&["pause"][..], &["resume"], &["kill", "--all"], &["delete", "--force"]] {
        let _ = runtime.call([words, &[container.id()]].concat()).run().ok();
    }
    assert_eq!(cgroups::named(&name), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_cgroups_path_that_no_path_can_tell_is_refused_before_any_of_it_is_made() {
    let _sandbox = Sandbox::enter();
    let (runtime, name) = (Runtime::under_test(), unique_name());
    let path = format!("/{name}{}", "/x".repeat(3000));
    let output = runtime.run(&BundleDir::new().set("/linux/cgroupsPath", path)).exits(1);
    output.says("filename too long");
    assert_eq!(cgroups::named(&name), Vec::<std::path::PathBuf>::new());
}
