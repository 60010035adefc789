//! Where mounts come from and where they go: sources and targets of every kind, and links of the image on the way.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use nconform::fixture::{BundleDir, Runtime, Sandbox, scratch_dir};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

fn bind(at: &str, source: impl AsRef<std::path::Path>, options: &[&str]) -> Value {
    json!({"destination": at, "source": source.as_ref(), "options": options})
}

fn tmpfs(at: &str, options: &[&str]) -> Value {
    json!({"destination": at, "type": "tmpfs", "source": "tmpfs", "options": options})
}

#[test]
fn what_a_dangling_link_points_to_is_made_inside_the_root() {
    let _sandbox = Sandbox::enter();
    let outside = scratch_dir();
    let bundle = BundleDir::new();
    let link = |to: &str, name: &str| {
        symlink(to, bundle.rootfs().join(name)).expect("make a link");
    };
    // As in an image with systemd's resolver, through another link, and to a path that the host has.
    link("../run/resolve/stub-resolv.conf", "etc/resolv.conf");
    link("/tmp/foo/bar", "jump");
    link("/jump/baz/hosts", "etc/hostname");
    let there = outside.path().display().to_string();
    link(&there, "data");
    fs::write(bundle.path().join("file"), "bound\n").expect("write a file");
    let bundle = bundle
        .push("/mounts", bind("/etc/resolv.conf", "file", &["bind"]))
        .push("/mounts", bind("/etc/hostname", "file", &["bind"]))
        .push("/mounts", tmpfs("/data", &["mode=711"]))
        .shell(&format!(
            "cat /run/resolve/stub-resolv.conf /etc/resolv.conf /tmp/foo/bar/baz/hosts; stat -c %a {there}; \
             readlink /etc/resolv.conf"
        ));
    let output = Runtime::under_test().run(&bundle).ok();
    let wanted = "bound\nbound\nbound\n711\n../run/resolve/stub-resolv.conf\n";
    assert_eq!(output.stdout(), wanted);
    assert_eq!(fs::read_dir(outside.path()).expect("a directory").count(), 0);
}

#[test]
fn links_that_lead_in_a_circle_are_an_error() {
    let sandbox = Sandbox::enter();
    let bundle = BundleDir::new();
    symlink("b", bundle.rootfs().join("a")).expect("make a link");
    symlink("a", bundle.rootfs().join("b")).expect("make a link");
    let bundle = bundle.push("/mounts", tmpfs("/a/x", &[]));
    let output = Runtime::under_test().try_create(&bundle).exits(1);
    assert!(output.stderr().contains("/mounts/7"), "{output}");
    assert!(output.stderr().contains("or to itself"), "{output}");
    sandbox.assert_clean();
}

#[test]
fn a_directory_on_a_file_or_the_reverse_is_called_what_engines_know() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for mount in [
        bind("/etc/passwd", "directory", &["bind"]),
        bind("/etc", "file", &["bind"]),
        tmpfs("/etc/passwd", &[]),
        tmpfs("/etc/passwd", &["mode=755"]),
        tmpfs("/etc/passwd", &["tmpcopyup"]),
    ] {
        let bundle = BundleDir::new().push("/mounts", mount.clone());
        fs::write(bundle.path().join("file"), "").expect("write a file");
        fs::create_dir(bundle.path().join("directory")).expect("make a directory");
        let output = runtime.run(&bundle).exits(1);
        assert!(
            output.stderr().contains(": not a directory\n\nhint: a directory goes"),
            "{mount}: {output}"
        );
    }
}

#[test]
fn sockets_fifos_and_devices_are_bound_on_files_that_are_made_for_them() {
    let _sandbox = Sandbox::enter();
    let source = scratch_dir();
    let _listener = UnixListener::bind(source.path().join("socket")).expect("a socket");
    mknodat(CWD, source.path().join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o644), 0)
        .expect("a FIFO");
    let bundle = BundleDir::new()
        .push("/mounts", bind("/run/app/socket", source.path().join("socket"), &["bind"]))
        .push("/mounts", bind("/run/app/fifo", source.path().join("fifo"), &["bind", "ro"]))
        .push("/mounts", bind("/run/app/zero", "/dev/zero", &["bind"]))
        .shell("stat -c %F /run/app/socket /run/app/fifo /run/app/zero");
    let output = Runtime::under_test().run(&bundle).ok();
    assert_eq!(output.stdout(), "socket\nfifo\ncharacter special file\n");
    let target = fs::symlink_metadata(bundle.rootfs().join("run/app/socket")).expect("the target");
    assert!(target.is_file() && !target.file_type().is_socket());
}

#[test]
fn a_source_is_not_what_a_process_has_open() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for source in ["/proc/self/fd/0", "/proc/thread-self/root", "/proc/self/exe"] {
        let bundle = BundleDir::new().push("/mounts", bind("/x", source, &["bind"]));
        let output = runtime.try_create(&bundle).exits(1);
        assert!(output.stderr().contains("/mounts/7/source"), "{output}");
        assert!(output.stderr().contains("hint: the path leads through a link"), "{output}");
    }
    sandbox.assert_clean();
}

#[test]
fn a_source_in_the_root_shows_what_earlier_mounts_brought_there() {
    let _sandbox = Sandbox::enter();
    let source = scratch_dir();
    fs::create_dir(source.path().join("sub")).expect("make a directory");
    fs::write(source.path().join("sub/file"), "from the host\n").expect("write a file");
    let bundle = BundleDir::new();
    fs::create_dir_all(bundle.rootfs().join("mnt/sub")).expect("make directories");
    fs::write(bundle.rootfs().join("mnt/sub/file"), "from the image\n").expect("write a file");
    let in_root = bundle.rootfs().join("mnt/sub");
    let bundle = bundle
        .push("/mounts", bind("/before", &in_root, &["bind"]))
        .push("/mounts", bind("/mnt", source.path(), &["rbind"]))
        .push("/mounts", bind("/after", &in_root, &["bind"]))
        .push("/mounts", bind("/relative", "rootfs/mnt/sub/file", &["bind", "ro"]))
        .shell("cat /before/file /after/file /relative; echo x > /relative");
    let output = Runtime::under_test().run(&bundle).exits(1);
    assert_eq!(output.stdout(), "from the image\nfrom the host\nfrom the host\n");
    assert!(output.stderr().contains("Read-only file system"), "{output}");
}

#[test]
fn a_tmpfs_has_the_mode_of_the_directory_that_it_covers() {
    let _sandbox = Sandbox::enter();
    let bundle = BundleDir::new();
    let covered = bundle.rootfs().join("covered");
    fs::create_dir(&covered).expect("make a directory");
    fs::set_permissions(&covered, fs::Permissions::from_mode(0o2710)).expect("set a mode");
    let bundle = bundle
        .push("/mounts", tmpfs("/covered", &["ro"]))
        .push("/mounts", tmpfs("/made/here", &[]))
        .shell("stat -c %a /covered /made/here; grep ' /covered ' /proc/mounts");
    let output = Runtime::under_test().run(&bundle).ok();
    assert!(output.stdout().starts_with("2710\n1777\n"), "{output}");
    assert!(output.stdout().contains("mode=2710"), "{output}");
    let made = fs::metadata(bundle.rootfs().join("made/here")).expect("the target");
    assert_eq!(made.permissions().mode() & 0o7777, 0o755);
}

#[test]
fn a_read_only_dev_has_its_devices_and_a_read_only_tmpfs_its_inner_mounts() {
    let _sandbox = Sandbox::enter();
    let source = scratch_dir();
    let bundle = BundleDir::new()
        .push("/mounts/1/options", "ro")
        .push("/mounts", tmpfs("/data", &["ro", "nosuid"]))
        .push("/mounts", bind("/data/made/inner", source.path(), &["bind"]))
        .shell("echo x > /dev/null && touch /data/made/inner/x /dev/shm/x && touch /data/y; touch /dev/y");
    let output = Runtime::under_test().run(&bundle).exits(1);
    for path in ["/data/y", "/dev/y"] {
        assert!(output.stderr().contains(&format!("{path}: Read-only file system")), "{output}");
    }
    assert!(source.path().join("x").exists());
}

#[test]
fn nothing_is_mounted_on_the_root_itself() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for mount in [tmpfs("/", &[]), bind("/x/..", "/tmp", &["bind"])] {
        let output = runtime.try_create(&BundleDir::new().push("/mounts", mount)).exits(1);
        assert!(output.stderr().contains("/mounts/7/destination"), "{output}");
    }
    sandbox.assert_clean();
}

#[test]
fn a_private_root_that_is_only_moved_is_refused() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().set("/linux/rootfsPropagation", "rprivate");
    let id = runtime.new_id();
    let output = runtime.bundle_call("create", &bundle, ["--no-pivot"], &id).run().exits(1);
    assert!(output.stderr().contains("not safe without pivot_root"), "{output}");
    sandbox.assert_clean();
}

/// The container's own cgroup, or with the host's cgroup namespace on v2 all of them, read-only or not as it was asked.
#[test]
fn cgroups_are_shown_as_the_namespace_sees_them() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let unified = fs::exists("/sys/fs/cgroup/cgroup.controllers").expect("the host's cgroups");
    for (own_namespace, read_only) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut bundle = BundleDir::new();
        if own_namespace {
            bundle = bundle.push("/linux/namespaces", json!({"type": "cgroup"}));
        }
        if !read_only {
            bundle = bundle.set("/mounts/6/options", json!(["nosuid", "noexec", "nodev"]));
        }
        // The directory that our own entry in /proc/self/cgroup names, seen through the mount.
        let find = if unified {
            "d=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)"
        } else {
            "d=/sys/fs/cgroup/pids"
        };
        let script = format!(
            "{find}; grep -qx $$ $d/cgroup.procs && echo found; mkdir $d/x 2>/dev/null && rmdir $d/x && echo written; \
             grep -c '/sys/fs/cgroup/pids\\|/sys/fs/cgroup cgroup2' /proc/mounts"
        );
        let output = runtime.run(&bundle.shell(&script)).ok().stdout();
        let written = if read_only { "" } else { "written\n" };
        assert_eq!(output, format!("found\n{written}1\n"), "own {own_namespace} ro {read_only}");
    }
}

/// A bundle with a file `bound`, and in its root the file `real` and the link `link` to that.
fn with_link() -> BundleDir {
    let bundle = BundleDir::new();
    fs::write(bundle.path().join("bound"), "bound\n").expect("write a file");
    fs::write(bundle.rootfs().join("real"), "real\n").expect("write a file");
    symlink("real", bundle.rootfs().join("link")).expect("make a link");
    bundle
}

#[test]
fn a_link_at_the_destination_is_mounted_over_where_that_is_asked_for() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for (options, shown) in [
        (&["bind"][..], "bound\nbound\nreal\n"),
        (&["bind", "dest-nofollow"], "bound\nreal\nbound\n"),
    ] {
        let bundle = with_link()
            .push("/mounts", bind("/link", "bound", options))
            .push("/mounts", bind("/new/file", "bound", options))
            .shell("cat link real; readlink link || cat new/file");
        assert_eq!(runtime.run(&bundle).ok().stdout(), shown, "{options:?}");
    }
}

#[test]
fn a_link_at_the_source_is_mounted_itself_where_that_is_asked_for() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = with_link();
    symlink("bound", bundle.path().join("to-bound")).expect("make a link");
    let inside = bundle.rootfs().join("link");
    let bundle = bundle
        .push("/mounts", bind("/followed", "to-bound", &["bind"]))
        .push("/mounts", bind("/itself", "to-bound", &["bind", "src-nofollow", "nosuid"]))
        .push("/mounts", bind("/link", "to-bound", &["rbind", "src-nofollow", "dest-nofollow"]))
        .push("/mounts", bind("/again", inside, &["bind", "src-nofollow"]))
        .push("/mounts", bind("/file", "bound", &["bind", "src-nofollow"]))
        .shell("cat followed; readlink itself; readlink link; readlink again; cat real file");
    assert_eq!(runtime.run(&bundle).ok().stdout(), "bound\nbound\nbound\nbound\nreal\nbound\n");
    assert!(bundle.rootfs().join("itself").is_file(), "the link was mounted on a file");
    sandbox.assert_clean();
}

#[test]
fn a_link_at_the_source_is_copied_where_that_is_asked_for() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let with = |options: &[&str], at: &str| {
        let bundle = with_link();
        symlink("real", bundle.path().join("to-real")).expect("make a link");
        symlink("/gone", bundle.rootfs().join("way")).expect("make a link");
        bundle
            .push("/mounts", bind(at, "to-real", options))
            .push("/mounts", bind("/plain", "bound", options))
            .shell(&format!("readlink {at}; cat plain; cut -d' ' -f5 /proc/self/mountinfo"))
    };
    for (at, place) in
        [("/new/place", "new/place"), ("/link", "link"), ("/way/place", "gone/place")]
    {
        let bundle = with(&["bind", "copy-symlink"], at);
        let shown = runtime.run(&bundle).ok().stdout();
        assert!(shown.starts_with("real\nbound\n"), "{shown}");
        assert!(!shown.lines().any(|mount| mount == at), "nothing is mounted: {shown}");
        assert!(bundle.rootfs().join(place).is_symlink());
    }
    for (at, words) in [("/real", "file exists"), ("/etc", "file exists")] {
        let output = runtime.try_create(&with(&["bind", "copy-symlink"], at)).exits(1);
        for words in [words, "/mounts/7", "hint: something else is there"] {
            assert!(output.stderr().contains(words), "{words}: {output}");
        }
    }
    sandbox.assert_clean();
}

/// As a mount through such a link is refused (attacks), so is a link.
#[test]
fn no_link_of_the_image_brings_a_copied_one_to_proc() {
    let _sandbox = Sandbox::enter();
    for options in [&["bind", "copy-symlink"][..], &["bind", "dest-nofollow"]] {
        let bundle = with_link();
        symlink("/proc/self", bundle.rootfs().join("way")).expect("make a link");
        symlink("bound", bundle.path().join("to-bound")).expect("make a link");
        let bundle = bundle.push("/mounts", bind("/way/attr/exec", "to-bound", options));
        let output = Runtime::under_test().try_create(&bundle).exits(1);
        assert!(output.stderr().contains("leads into /proc"), "{options:?}: {output}");
    }
}
