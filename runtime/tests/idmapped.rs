//! Idmapped mounts: the ids of files as the container sees them, and as they are on the host.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use nconform::fixture::{BundleDir, Runtime, Sandbox, idmappable_dir};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use serde_json::{Value, json};

/// Root in the container is this user on the host.
const FIRST: u32 = 100_000;

/// A directory with a file of user 0 and one of user 3, and the same in a mount below it.
struct Source(tempfile::TempDir);

impl Source {
    fn new() -> Self {
        let source = Self(idmappable_dir());
        let sub = source.path().join("sub");
        fs::create_dir(&sub).expect("make a directory");
        mount_bind(&sub, &sub).expect("make it a mount");
        for directory in [source.path(), &sub] {
            for (name, id) in [("zero", 0), ("three", 3)] {
                fs::write(directory.join(name), name).expect("write a file");
                chown(directory.join(name), Some(id), Some(id + 10)).expect("give it away");
            }
        }
        source
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let _ = unmount(self.path().join("sub"), UnmountFlags::DETACH);
    }
}

fn mapping(container: u32, host: u32, size: u32) -> Value {
    json!([{"containerID": container, "hostID": host, "size": size}])
}

fn in_user_namespace(bundle: BundleDir) -> BundleDir {
    // The container's root may not make them in an image that belongs to the host's.
    for point in ["mapped", "plain", "own", "again", "other"] {
        fs::create_dir(bundle.rootfs().join(point)).expect("make a directory");
    }
    bundle
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", mapping(0, FIRST, 65536))
        .set("/linux/gidMappings", mapping(0, FIRST, 65536))
}

fn bind(source: &Source, at: &str, options: &[&str]) -> Value {
    json!({"destination": at, "type": "bind", "source": source.path(), "options": options})
}

fn mapped(source: &Source, at: &str, options: &[&str], maps: &Value) -> Value {
    let mut mount = bind(source, at, options);
    mount["uidMappings"] = maps.clone();
    mount["gidMappings"] = maps.clone();
    mount
}

#[track_caller]
fn owners(bundle: BundleDir, files: &[&str]) -> Vec<String> {
    let bundle = bundle.args([&["stat", "-c", "%u:%g"], files].concat());
    let output = Runtime::under_test().run(&bundle).ok().stdout();
    output.lines().map(str::to_owned).collect()
}

#[test]
fn a_mount_takes_the_mapping_of_the_containers_user_namespace() {
    let sandbox = Sandbox::enter();
    let source = Source::new();
    let bundle = in_user_namespace(BundleDir::new())
        .push("/mounts", bind(&source, "/mapped", &["bind", "idmap"]))
        .push("/mounts", bind(&source, "/plain", &["bind"]));
    let seen = owners(bundle, &["/mapped/zero", "/mapped/three", "/plain/zero"]);
    assert_eq!(seen, ["0:10", "3:13", "65534:65534"]);
    drop(source);
    sandbox.assert_clean();
}

#[test]
fn files_made_through_the_mount_belong_to_the_mapped_user() {
    let _sandbox = Sandbox::enter();
    let source = Source::new();
    let bundle = in_user_namespace(BundleDir::new())
        .push("/mounts", bind(&source, "/mapped", &["bind", "idmap"]))
        .set("/process/user", json!({"uid": 0, "gid": 8}))
        .shell("touch /mapped/new && stat -c %u:%g /mapped/new");
    assert_eq!(Runtime::under_test().run(&bundle).ok().text(), "0:8");
    let file = fs::metadata(source.path().join("new")).expect("the file on the host");
    assert_eq!((file.uid(), file.gid()), (0, 8), "not ids of the user namespace's range");
}

#[test]
fn a_mount_may_have_mappings_of_its_own() {
    let _sandbox = Sandbox::enter();
    let source = Source::new();
    let own = mapping(0, FIRST + 500, 100);
    let mounts = [
        mapped(&source, "/own", &["bind"], &own),
        mapped(&source, "/again", &["bind", "idmap"], &own),
        mapped(&source, "/other", &["bind", "idmap"], &mapping(3, FIRST, 1)),
    ];
    let files = ["/own/zero", "/own/three", "/again/three", "/other/three", "/other/zero"];
    let with = |bundle: BundleDir| {
        mounts.iter().fold(bundle, |bundle, mount| bundle.push("/mounts", mount.clone()))
    };
    let inside = owners(with(in_user_namespace(BundleDir::new())), &files);
    assert_eq!(inside, ["500:510", "503:513", "503:513", "0:65534", "65534:65534"]);
    let host = owners(with(BundleDir::new()), &files);
    assert_eq!(
        host,
        ["100500:100510", "100503:100513", "100503:100513", "100000:65534", "65534:65534"]
    );
}

#[test]
fn user_and_group_mappings_may_differ_and_have_several_ranges() {
    let _sandbox = Sandbox::enter();
    let source = Source::new();
    let mut mount = bind(&source, "/mapped", &["bind", "idmap"]);
    mount["uidMappings"] = json!([
        {"containerID": 0, "hostID": 40, "size": 1}, {"containerID": 3, "hostID": 50, "size": 1}
    ]);
    mount["gidMappings"] = mapping(10, 60, 10);
    let seen = owners(BundleDir::new().push("/mounts", mount), &["/mapped/zero", "/mapped/three"]);
    assert_eq!(seen, ["40:60", "50:63"]);
}

/// crun(1), "idmap mount options".
#[test]
fn mappings_may_stand_in_the_option() {
    let _sandbox = Sandbox::enter();
    let source = Source::new();
    let absolute = "idmap=uids=0-40-1#3-50-1;gids=10-60-10";
    let mount = bind(&source, "/mapped", &["bind", absolute]);
    let seen = owners(BundleDir::new().push("/mounts", mount), &["/mapped/zero", "/mapped/three"]);
    assert_eq!(seen, ["40:60", "50:63"]);
    // From the ids of the container's user namespace: what is 0 in the file system is 7 in there.
    let relative = "ridmap=uids=@0-7-10;gids=@0-0-100";
    let mount = bind(&source, "/mapped", &["rbind", relative]);
    let bundle = in_user_namespace(BundleDir::new()).push("/mounts", mount);
    let seen = owners(bundle, &["/mapped/three", "/mapped/sub/zero"]);
    assert_eq!(seen, ["10:13", "7:10"]);
}

#[test]
fn what_an_earlier_mount_brought_into_the_root_can_be_mapped() {
    let sandbox = Sandbox::enter();
    let (source, bundle) = (Source::new(), BundleDir::new());
    let mut again = bind(&source, "/mapped", &["rbind", "idmap"]);
    again["source"] = json!(bundle.rootfs().join("brought"));
    again["uidMappings"] = mapping(0, FIRST, 100);
    again["gidMappings"] = mapping(0, FIRST, 100);
    let mounts = |bundle: BundleDir| {
        let brought = bind(&source, "/brought", &["rbind"]);
        bundle.push("/mounts", brought).push("/mounts", again.clone())
    };
    let seen = owners(mounts(bundle), &["/brought/three", "/mapped/three", "/mapped/sub/zero"]);
    assert_eq!(seen, ["3:13", "100003:100013", "0:10"]);
    drop(source);
    sandbox.assert_clean();
}

/// runc does the same: the parent, which has the privilege over the file system, maps what the init has found.
#[test]
fn so_it_can_in_a_user_namespace() {
    let sandbox = Sandbox::enter();
    let (source, bundle) = (Source::new(), in_user_namespace(BundleDir::new()));
    fs::create_dir(bundle.rootfs().join("brought")).expect("make a directory");
    let again = |at: &str, option: &str| {
        let mut again = bind(&source, at, &["rbind", option]);
        again["source"] = json!(bundle.rootfs().join("brought"));
        again
    };
    let (mapped, all) = (again("/mapped", "idmap"), again("/again", "ridmap"));
    let mut own = again("/own", "idmap");
    own["uidMappings"] = mapping(0, FIRST + 7, 100);
    own["gidMappings"] = mapping(0, FIRST + 8, 100);
    let bundle = bundle.push("/mounts", bind(&source, "/brought", &["rbind"]));
    let bundle =
        [mapped, all, own].into_iter().fold(bundle, |bundle, mount| bundle.push("/mounts", mount));
    let files =
        ["/brought/three", "/mapped/three", "/mapped/sub/three", "/again/sub/three", "/own/three"];
    let seen = owners(bundle, &files);
    assert_eq!(seen, ["65534:65534", "3:13", "65534:65534", "3:13", "10:21"]);
    drop(source);
    sandbox.assert_clean();
}

#[test]
fn only_ridmap_maps_the_mounts_below() {
    let _sandbox = Sandbox::enter();
    let source = Source::new();
    let own = mapping(0, FIRST, 100);
    let bundle = BundleDir::new()
        .push("/mounts", mapped(&source, "/top", &["rbind", "idmap"], &own))
        .push("/mounts", mapped(&source, "/all", &["rbind", "ridmap"], &own))
        .push("/mounts", mapped(&source, "/unsaid", &["rbind"], &own));
    let files = ["/top/zero", "/top/sub/zero", "/all/zero", "/all/sub/zero", "/unsaid/sub/zero"];
    let seen = owners(bundle, &files);
    assert_eq!(seen, ["100000:100010", "0:10", "100000:100010", "100000:100010", "0:10"]);
}

#[test]
fn a_mount_takes_the_mapping_of_a_user_namespace_that_is_joined() {
    let _sandbox = Sandbox::enter();
    let (source, runtime) = (Source::new(), Runtime::under_test());
    let holding = in_user_namespace(BundleDir::new()).args(["sleep", "600"]);
    let holder = runtime.start(&holding);
    let process = format!("/proc/{}/ns", holder.pid().as_raw_nonzero());
    let join = |kind: &str, file: &str| json!({"type": kind, "path": format!("{process}/{file}")});
    let namespaces = json!([
        {"type": "mount"}, join("user", "user"), join("pid", "pid"), join("network", "net"),
        join("ipc", "ipc"), join("uts", "uts"),
    ]);
    let bundle = BundleDir::new().set("/linux/namespaces", namespaces).remove("/hostname");
    fs::create_dir(bundle.rootfs().join("mapped")).expect("make a directory");
    let bundle = bundle
        .push("/mounts", bind(&source, "/mapped", &["bind", "idmap", "ro", "noexec"]))
        .args(["stat", "-c", "%u:%g", "/mapped/three"]);
    assert_eq!(runtime.run(&bundle).ok().text(), "3:13");
}

#[test]
fn a_file_and_the_other_options_of_a_bind_work_with_a_mapping() {
    let _sandbox = Sandbox::enter();
    let source = Source::new();
    let own = mapping(0, 5, 100);
    let mut file = mapped(&source, "/data/file", &["bind", "ro", "rprivate"], &own);
    file["source"] = json!(source.path().join("three"));
    let bundle = BundleDir::new().push("/mounts", file).shell(
        "stat -c %u:%g /data/file; echo x > /data/file; grep -c idmapped /proc/self/mountinfo",
    );
    let output = Runtime::under_test().run(&bundle).ok();
    assert_eq!(output.stdout(), "8:18\n1\n");
    assert!(output.stderr().contains("Read-only file system"), "{output}");
}

#[test]
fn what_cannot_be_mapped_is_refused_with_its_place_and_nothing_is_left() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let source = Source::new();
    let own = mapping(0, FIRST, 100);
    let mut proc = mapped(&source, "/x", &["bind"], &own);
    proc["source"] = json!("/proc/sys");
    let mut own_namespace = bind(&source, "/x", &["bind", "idmap"]);
    own_namespace["gidMappings"] = own.clone();
    for (mount, words) in [
        // procfs cannot be idmapped on any kernel.
        (proc, ["/mounts/7/source", "hint: its file system cannot be idmapped"]),
        (bind(&source, "/x", &["bind", "idmap"]), ["/mounts/7/options", "needs mappings"]),
        (own_namespace, ["/mounts/7/uidMappings", "is missing"]),
        (
            bind(&source, "/x", &["bind", "idmap=uids=@0-0-1;gids=0-0-1"]),
            ["/mounts/7/options/1", "`@0-0-1` is not inside one of the id mappings"],
        ),
        (
            json!({"destination": "/x", "type": "tmpfs", "uidMappings": own, "gidMappings": own}),
            ["/mounts/7", "only a bind mount"],
        ),
    ] {
        let output = runtime.try_create(&BundleDir::new().push("/mounts", mount)).exits(1);
        for words in words {
            assert!(output.stderr().contains(words), "{words}: {output}");
        }
    }
    assert_eq!(fs::read_dir(runtime.root()).expect("the root").count(), 0);
    drop(source);
    sandbox.assert_clean();
}
