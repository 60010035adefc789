//! Every mount option of runtime-spec, as the kernel shows it in /proc/self/mountinfo.

use std::fs;
use std::path::{Path, PathBuf};

use nconform::fixture::{BundleDir, Runtime, Sandbox, scratch_dir};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::{Value, json};

/// What mountinfo says of a mount: its own flags, its propagation, the flags and data of its file system.
#[derive(Debug)]
struct Shown {
    flags: Vec<String>,
    propagation: String,
    superblock: Vec<String>,
}

/// The topmost mount at a point of a table.
#[track_caller]
fn at(table: &str, point: &str) -> Shown {
    let words = |list: &str| list.split(',').map(str::to_owned).collect();
    let found = table.lines().rev().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mount: Vec<&str> = mount.split(' ').collect();
        (mount[4] == point).then(|| Shown {
            flags: words(mount[5]),
            propagation: mount[6..].join(" "),
            superblock: words(file_system.split(' ').nth(2).unwrap_or_default()),
        })
    });
    found.unwrap_or_else(|| panic!("nothing at {point}: {table}"))
}

/// The mount table of a container with these mounts.
#[track_caller]
fn table(mounts: impl IntoIterator<Item = Value>) -> String {
    let bundle = mounts.into_iter().fold(BundleDir::new(), |bundle, m| bundle.push("/mounts", m));
    let bundle = bundle.args(["cat", "/proc/self/mountinfo"]);
    Runtime::under_test().run(&bundle).ok().stdout()
}

fn tmpfs(at: &str, options: &[&str]) -> Value {
    json!({"destination": at, "type": "tmpfs", "source": "tmpfs", "options": options})
}

fn bind(source: &Path, at: &str, options: &[&str]) -> Value {
    json!({"destination": at, "type": "bind", "source": source, "options": options})
}

/// A tmpfs of the host with these flags, and another below it.
struct Source(tempfile::TempDir);

impl Source {
    fn new(flags: MountFlags) -> Self {
        let source = Self(scratch_dir());
        let make = |path: &Path| {
            fs::create_dir_all(path).expect("make a directory");
            mount("tmpfs", path, "tmpfs", MountFlags::empty(), c"mode=755").expect("mount a tmpfs");
        };
        make(source.path());
        make(&source.path().join("sub"));
        for path in [source.path().join("sub"), source.path().to_owned()] {
            rustix::mount::mount_remount(&path, MountFlags::BIND | flags, c"").expect("set flags");
        }
        source
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        for path in [self.path().join("sub"), self.path().to_owned()] {
            let _ = unmount(&path, UnmountFlags::DETACH);
        }
    }
}

/// For an option of a new file system: what is shown, and what is not.
type Row = (&'static [&'static str], &'static [&'static str], &'static [&'static str]);

/// Mounts a tmpfs for each row, in one container, and looks at the part of what is shown that the options are in.
#[track_caller]
fn assert_rows(rows: &[Row], part: fn(Shown) -> Vec<String>) {
    let point = |i: usize| format!("/options/{i}");
    let table = table(rows.iter().enumerate().map(|(i, row)| tmpfs(&point(i), row.0)));
    for (i, (options, shown, hidden)) in rows.iter().enumerate() {
        let found = part(at(&table, &point(i)));
        let has = |flag: &&&str| found.iter().any(|shown| shown == **flag);
        assert!(shown.iter().all(|flag| has(&flag)), "{options:?}: {found:?}");
        assert!(!hidden.iter().any(|flag| has(&flag)), "{options:?}: {found:?}");
    }
}

#[test]
fn options_of_a_new_file_system() {
    let _sandbox = Sandbox::enter();
    let rows: &[Row] = &[
        (&["defaults"], &["rw", "relatime"], &["nosuid", "nodev", "noexec", "sync"]),
        (&["ro"], &["ro"], &["rw"]),
        (&["ro", "rw"], &["rw"], &["ro"]),
        (&["nosuid", "nodev", "noexec"], &["nosuid", "nodev", "noexec"], &[]),
        (
            &["nosuid", "nodev", "noexec", "suid", "dev", "exec"],
            &[],
            &["nosuid", "nodev", "noexec"],
        ),
        (&["noatime"], &["noatime"], &["relatime"]),
        (&["noatime", "atime"], &["relatime"], &["noatime"]),
        (&["relatime"], &["relatime"], &["noatime"]),
        (&["norelatime"], &["relatime"], &["noatime"]),
        (&["strictatime"], &[], &["relatime", "noatime"]),
        (&["strictatime", "nostrictatime"], &["relatime"], &["noatime"]),
        (&["nodiratime"], &["nodiratime", "relatime"], &[]),
        (&["nodiratime", "diratime"], &["relatime"], &["nodiratime"]),
        (&["nosymfollow"], &["nosymfollow"], &[]),
        (&["nosymfollow", "symfollow"], &[], &["nosymfollow"]),
        (&["silent"], &["rw"], &["silent"]),
        (&["loud"], &["rw"], &["loud"]),
        // Recursive forms, of a mount that has nothing below it.
        (&["rro"], &["ro"], &[]),
        (
            &["rnosuid", "rnodev", "rnoexec", "rnoatime"],
            &["nosuid", "nodev", "noexec", "noatime"],
            &[],
        ),
    ];
    assert_rows(rows, |shown| shown.flags);
}

#[test]
fn a_new_file_system_that_is_read_only_recursively_takes_later_mounts() {
    let _sandbox = Sandbox::enter();
    let bundle = BundleDir::new()
        .push("/mounts", tmpfs("/data", &["rro"]))
        .push("/mounts", tmpfs("/data/inner", &[]))
        .shell("touch /data/inner/file; ls /data; touch /data/file");
    let output = Runtime::under_test().run(&bundle).exits(1);
    assert_eq!(output.text(), "inner");
    output.says("Read-only file system");
}

#[test]
fn options_of_the_superblock() {
    let _sandbox = Sandbox::enter();
    let rows: &[Row] = &[
        (&["sync"], &["sync"], &[]),
        (&["sync", "async"], &[], &["sync"]),
        (&["dirsync"], &["dirsync"], &[]),
        (&["lazytime"], &["lazytime"], &[]),
        (&["lazytime", "nolazytime"], &[], &["lazytime"]),
        (&["mand"], &["mand"], &[]),
        (&["mand", "nomand"], &[], &["mand"]),
        (&["size=64k", "nr_inodes=7", "mode=711"], &["size=64k", "nr_inodes=7", "mode=711"], &[]),
        // The kernel shows no sign of it; the rest of the options goes another way then.
        (&["iversion", "sync", "mode=711", "size=64k"], &["sync", "mode=711", "size=64k"], &[]),
        (&["iversion", "noiversion", "mode=711"], &["mode=711"], &[]),
    ];
    assert_rows(rows, |shown| shown.superblock);
}

#[test]
fn attributes_of_a_new_file_system_that_is_made_by_the_old_call() {
    let _sandbox = Sandbox::enter();
    let bundle = BundleDir::new();
    fs::create_dir(bundle.rootfs().join("data")).expect("make a directory");
    fs::write(bundle.rootfs().join("data/file"), "text\n").expect("write a file");
    let options = ["iversion", "noexec", "noatime", "ro", "tmpcopyup", "rslave"];
    let bundle = bundle
        .push("/mounts", tmpfs("/data", &options))
        .push("/mounts", tmpfs("/data/inner", &[]))
        .shell("cat /data/file; stat -c %a /data; grep ' /data ' /proc/mounts; touch /data/x");
    let output = Runtime::under_test().run(&bundle).exits(1);
    assert!(
        output.stdout().starts_with("text\n755\ntmpfs /data tmpfs ro,noexec,noatime"),
        "{output}"
    );
}

#[test]
fn an_option_may_be_longer_than_the_new_call_takes_and_hold_several() {
    let _sandbox = Sandbox::enter();
    let layers = scratch_dir();
    // Longer than 255 bytes each, as a path and as the list.
    let below: Vec<PathBuf> =
        (0..3).map(|n| layers.path().join("x".repeat(200)).join(n.to_string())).collect();
    for (n, layer) in below.iter().enumerate() {
        fs::create_dir_all(layer).expect("make a directory");
        fs::write(layer.join(n.to_string()), "").expect("write a file");
    }
    let list = below.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":");
    let overlay = json!({"destination": "/layers", "type": "overlay", "source": "overlay",
        "options": [format!("lowerdir={list}"), "ro", "rnoexec"]});
    let bundle = BundleDir::new()
        .push("/mounts", overlay)
        .push("/mounts", tmpfs("/small", &["size=64k,mode=711", "nosuid"]))
        .shell("ls /layers; grep -E ' /(layers|small) ' /proc/self/mounts | cut -d' ' -f2-4");
    let output = Runtime::under_test().run(&bundle).ok().stdout();
    let (files, table) = output.split_once("/layers ").expect("the table");
    assert_eq!(files, "0\n1\n2\n");
    assert!(table.starts_with("overlay ro,noexec,relatime"), "{output}");
    let small = "/small tmpfs rw,nosuid,relatime,size=64k,mode=711";
    assert!(table.contains(small), "{output}");
}

#[test]
fn a_bind_drops_the_flags_of_its_source_that_its_options_do_not_name() {
    let _sandbox = Sandbox::enter();
    let source = Source::new(
        MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NOATIME,
    );
    let rows: &[Row] = &[
        (&["bind"], &["ro", "nosuid", "noexec", "noatime"], &[]),
        (&["bind", "ro"], &["ro", "noatime"], &["nosuid", "noexec"]),
        (&["bind", "nodev"], &["rw", "nodev", "noatime"], &["nosuid", "noexec"]),
        (&["bind", "rw"], &["rw"], &["ro", "nosuid", "noexec"]),
        (&["bind", "exec", "ro"], &["ro"], &["noexec", "nosuid"]),
        (&["bind", "relatime", "ro"], &["ro", "relatime"], &["noatime"]),
        (&["bind", "atime"], &["rw", "relatime"], &["noatime"]),
        (&["bind", "norelatime"], &["ro", "noatime", "nosuid"], &["relatime"]),
        (&["bind", "nodiratime"], &["nodiratime", "relatime"], &["noatime"]),
        (&["bind", "rprivate"], &["ro", "nosuid", "noexec", "noatime"], &[]),
        // What belongs to the file system itself says nothing of a view of it.
        (&["bind", "sync", "lazytime", "iversion", "silent"], &["ro", "noexec"], &[]),
    ];
    let point = |i: usize| format!("/options/{i}");
    let mounts = rows.iter().enumerate().map(|(i, row)| bind(source.path(), &point(i), row.0));
    let table = table(mounts);
    for (i, (options, shown, hidden)) in rows.iter().enumerate() {
        let flags = at(&table, &point(i)).flags;
        let has = |flag: &&&str| flags.iter().any(|shown| shown == **flag);
        assert!(shown.iter().all(|flag| has(&flag)), "{options:?}: {flags:?}");
        assert!(!hidden.iter().any(|flag| has(&flag)), "{options:?}: {flags:?}");
    }
}

#[test]
fn in_a_user_namespace_a_bind_keeps_the_flags_of_its_source() {
    let _sandbox = Sandbox::enter();
    let source = Source::new(MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NOATIME);
    let runtime = Runtime::under_test();
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let mapped = |options: &[&str]| {
        let bundle = BundleDir::new();
        fs::create_dir(bundle.rootfs().join("x")).expect("make a directory");
        bundle
            .push("/linux/namespaces", json!({"type": "user"}))
            .set("/linux/uidMappings", mapping.clone())
            .set("/linux/gidMappings", mapping.clone())
            .push("/mounts", bind(source.path(), "/x", options))
            .args(["cat", "/proc/self/mountinfo"])
    };
    for options in [&["bind", "nodev"][..], &["bind", "ro", "nodev"], &["bind", "nodev", "noatime"]]
    {
        let flags = at(&runtime.run(&mapped(options)).ok().stdout(), "/x").flags;
        for flag in ["ro", "nosuid", "nodev", "noatime"] {
            assert!(flags.iter().any(|shown| shown == flag), "{options:?}: {flags:?}");
        }
    }
    let refused = ["rw", "suid", "strictatime", "rrw", "rsuid", "rstrictatime"];
    for options in refused.map(|option| ["rbind", option]) {
        let output = runtime.run(&mapped(&options)).exits(1);
        assert!(output.stderr().contains("operation not permitted"), "{options:?}: {output}");
        assert!(output.stderr().contains("hint: in a user namespace a bind keeps"), "{output}");
    }
}

/// The flags of a mount that the container itself has made are its own to change.
#[test]
fn in_a_user_namespace_a_remount_takes_no_flag_of_the_hosts_away() {
    let _sandbox = Sandbox::enter();
    let source = Source::new(MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NOATIME);
    let runtime = Runtime::under_test();
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let changed = |option: &str| {
        let bundle = BundleDir::new();
        for name in ["own", "x"] {
            fs::create_dir(bundle.rootfs().join(name)).expect("make a directory");
        }
        let change = |at| json!({"destination": at, "type": "none", "source": "none", "options": ["remount", "bind", option]});
        bundle
            .push("/linux/namespaces", json!({"type": "user"}))
            .set("/linux/uidMappings", mapping.clone())
            .set("/linux/gidMappings", mapping.clone())
            .push("/mounts", tmpfs("/own", &["ro", "nosuid"]))
            .push("/mounts", change("/own"))
            .push("/mounts", bind(source.path(), "/x", &["rbind"]))
            .push("/mounts", change("/x"))
            .args(["cat", "/proc/self/mountinfo"])
    };
    let table = runtime.run(&changed("nodev")).ok().stdout();
    let shows = |point: &str, flag: &str| at(&table, point).flags.iter().any(|shown| shown == flag);
    assert!(["ro", "nosuid", "nodev", "noatime"].iter().all(|flag| shows("/x", flag)), "{table}");
    assert!(shows("/own", "nodev") && !shows("/own", "nosuid"), "{table}");
    for option in ["rw", "suid", "rrw", "relatime"] {
        let output = runtime.run(&changed(option)).exits(1);
        output.says("cannot change the mount on `/x`");
        output.says("hint: in a user namespace a bind keeps");
    }
}

#[test]
fn recursive_options_reach_what_is_below() {
    let _sandbox = Sandbox::enter();
    let plain = Source::new(MountFlags::empty());
    let strict = Source::new(
        MountFlags::RDONLY
            | MountFlags::NOSUID
            | MountFlags::NODEV
            | MountFlags::NOEXEC
            | MountFlags::NOATIME
            | MountFlags::NODIRATIME,
    );
    let rows: &[(&Source, Row)] = &[
        (&plain, (&["rro"], &["ro"], &[])),
        (&plain, (&["rnosuid"], &["nosuid"], &[])),
        (&plain, (&["rnodev"], &["nodev"], &[])),
        (&plain, (&["rnoexec"], &["noexec"], &[])),
        (&plain, (&["rnodiratime"], &["nodiratime"], &[])),
        (&plain, (&["rnoatime"], &["noatime"], &["relatime"])),
        (&plain, (&["rstrictatime"], &[], &["relatime", "noatime"])),
        (&plain, (&["rstrictatime", "rnostrictatime"], &["relatime"], &[])),
        (&plain, (&["rnosymfollow"], &["nosymfollow"], &[])),
        (&plain, (&["rnosymfollow", "rsymfollow"], &[], &["nosymfollow"])),
        (&strict, (&["rrw"], &["rw", "nosuid"], &["ro"])),
        (&strict, (&["rsuid"], &["ro"], &["nosuid"])),
        (&strict, (&["rdev"], &["ro"], &["nodev"])),
        (&strict, (&["rexec"], &["ro"], &["noexec"])),
        (&strict, (&["rdiratime"], &["noatime"], &["nodiratime"])),
        (&strict, (&["ratime"], &["relatime"], &["noatime"])),
        (&strict, (&["rrelatime"], &["relatime"], &["noatime"])),
        (&strict, (&["rnorelatime"], &["noatime"], &[])),
    ];
    let point = |i: usize| format!("/options/{i}");
    let table =
        table(rows.iter().enumerate().map(|(i, (source, row))| {
            bind(source.path(), &point(i), &[&["rbind"], row.0].concat())
        }));
    for (i, (_, (options, shown, hidden))) in rows.iter().enumerate() {
        for point in [point(i), point(i) + "/sub"] {
            let flags = at(&table, &point).flags;
            let has = |flag: &&&str| flags.iter().any(|shown| shown == **flag);
            assert!(shown.iter().all(|flag| has(&flag)), "{point} {options:?}: {flags:?}");
            assert!(!hidden.iter().any(|flag| has(&flag)), "{point} {options:?}: {flags:?}");
        }
    }
}

#[test]
fn propagation_of_a_new_file_system() {
    let _sandbox = Sandbox::enter();
    let words = [
        "private",
        "rprivate",
        "slave",
        "rslave",
        "shared",
        "rshared",
        "unbindable",
        "runbindable",
    ];
    let table = table(words.map(|word| tmpfs(&format!("/p/{word}"), &[word])));
    for word in words {
        let wanted = match word.trim_start_matches('r') {
            "shared" => "shared:",
            "unbindable" => "unbindable",
            _ => "",
        };
        let found = at(&table, &format!("/p/{word}")).propagation;
        assert!(
            found.starts_with(wanted) && found.is_empty() == wanted.is_empty(),
            "{word}: {found}"
        );
    }
}

#[test]
fn a_mount_that_is_there_can_be_changed() {
    let _sandbox = Sandbox::enter();
    let source = Source::new(MountFlags::NOSUID);
    let change = |at: &str, kind: &str, options: &[&str]| {
        let options = [&["remount"], options].concat();
        json!({"destination": at, "type": kind, "options": options})
    };
    let table = table([
        tmpfs("/whole", &["size=64k", "nosuid", "mode=700"]),
        change("/whole", "tmpfs", &["ro", "noexec", "size=128k"]),
        bind(source.path(), "/view", &["rbind"]),
        // There is no source to it, and runc's users leave it out.
        json!({"destination": "/view", "options": ["bind", "remount", "ro", "rnoexec"]}),
        change("/sys", "sysfs", &["noexec", "ro"]),
    ]);
    let whole = at(&table, "/whole");
    assert_eq!(whole.flags, ["ro", "noexec", "relatime"]);
    assert!(whole.superblock.iter().any(|word| word == "size=128k"), "{whole:?}");
    assert!(whole.superblock.iter().any(|word| word == "ro"), "{whole:?}");
    let view = at(&table, "/view");
    assert_eq!(view.flags, ["ro", "noexec", "relatime"]);
    assert_eq!(view.superblock[0], "rw", "the file system is the host's");
    assert_eq!(at(&table, "/view/sub").flags, ["rw", "nosuid", "noexec", "relatime"]);
    let sys = at(&table, "/sys");
    assert_eq!(
        (sys.flags, &*sys.superblock[0]),
        (vec!["ro".into(), "noexec".into(), "relatime".into()], "rw")
    );
}

#[test]
fn a_change_of_what_is_not_mounted_is_an_error() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let mount = json!({"destination": "/tmp", "type": "tmpfs", "options": ["remount", "ro"]});
    let output = runtime.try_create(&BundleDir::new().push("/mounts", mount)).exits(1);
    assert!(output.stderr().contains("change the mount on `/tmp`"), "{output}");
    assert!(output.stderr().contains("hint: nothing is mounted at exactly that place"), "{output}");
    sandbox.assert_clean();
}

#[test]
fn features_list_every_option() {
    let _sandbox = Sandbox::enter();
    let features = Runtime::under_test().call(["features"]).run().ok().json();
    let names: Vec<&str> = features["mountOptions"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let crun = ["src-nofollow", "dest-nofollow", "copy-symlink"];
    let specified =
        ["rro", "tmpcopyup", "idmap", "ridmap", "iversion", "runbindable", "rnosymfollow"];
    for name in specified.into_iter().chain(crun) {
        assert!(names.contains(&name), "{name}");
    }
    assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
}
