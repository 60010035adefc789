//! `tmpcopyup`: a tmpfs that begins with a copy of what it covers, and trees of an image that are made to do harm by that.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use nconform::fixture::{BundleDir, Output, Runtime, Sandbox, scratch_dir};
use rustix::fs::{CWD, FileType, Mode, RenameFlags, XattrFlags, makedev, mknodat, renameat_with};
use serde_json::{Value, json};

/// A tmpfs on a directory of the image, with a copy of what is there.
fn copied_up(at: &str, options: &[&str]) -> Value {
    let options = [&["tmpcopyup"], options].concat();
    json!({"destination": at, "type": "tmpfs", "source": "tmpfs", "options": options})
}

/// A bundle with a directory `/data`, filled by `fill`.
fn with_data(fill: impl FnOnce(&Path)) -> BundleDir {
    let bundle = BundleDir::new();
    let data = bundle.rootfs().join("data");
    fs::create_dir(&data).expect("make a directory");
    fill(&data);
    bundle
}

fn write(path: PathBuf, text: impl AsRef<[u8]>) -> PathBuf {
    fs::write(&path, text).expect("write a file");
    path
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set a mode");
}

#[track_caller]
fn run(bundle: BundleDir, options: &[&str], script: &str) -> Output {
    let bundle = bundle.push("/mounts", copied_up("/data", options)).shell(script);
    Runtime::under_test().run(&bundle)
}

#[test]
fn content_modes_owners_and_times_are_those_of_the_image() {
    let _sandbox = Sandbox::enter();
    let bundle = with_data(|data| {
        fs::create_dir_all(data.join("deep/er")).expect("make directories");
        let file = write(data.join("deep/er/file"), "text\n");
        chown(&file, Some(7), Some(8)).expect("give it away");
        set_mode(&file, 0o4755);
        let old = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        fs::File::open(&file).and_then(|file| file.set_modified(old)).expect("set a time");
        for (directory, mode) in [("deep/er", 0o2711), ("deep", 0o700), ("", 0o1773)] {
            let directory = data.join(directory);
            set_mode(&directory, mode);
            fs::File::open(&directory).and_then(|file| file.set_modified(old)).expect("set a time");
        }
        chown(data, Some(3), Some(4)).expect("give it away");
    });
    let script = "cat /data/deep/er/file; stat -c '%a %u:%g %Y' /data /data/deep /data/deep/er /data/deep/er/file; \
                  touch /data/new && grep -c ' /data tmpfs ' /proc/mounts";
    let output = run(bundle, &["size=1m"], script).ok();
    let wanted = "text\n1773 3:4 1000000000\n700 0:0 1000000000\n2711 0:0 1000000000\n4755 7:8 1000000000\n1\n";
    assert_eq!(output.stdout(), wanted);
}

#[test]
fn the_image_is_as_it_was() {
    let _sandbox = Sandbox::enter();
    let bundle = with_data(|data| drop(write(data.join("file"), "old")))
        .push("/mounts", copied_up("/data", &[]))
        .shell("echo new > /data/file; touch /data/made; rm -r /data/file");
    let _ = Runtime::under_test().run(&bundle).ok();
    let data = bundle.rootfs().join("data");
    assert_eq!(fs::read_to_string(data.join("file")).expect("the file"), "old");
    assert!(!data.join("made").exists());
}

#[test]
fn links_devices_and_special_files_are_copied_as_such() {
    let _sandbox = Sandbox::enter();
    let bundle = with_data(|data| {
        fs::create_dir(data.join("sub")).expect("make a directory");
        let file = write(data.join("one"), "same");
        fs::hard_link(&file, data.join("sub/two")).expect("link");
        symlink("/no/where", data.join("dangling")).expect("link");
        for (name, kind, number) in [
            ("null", FileType::CharacterDevice, makedev(1, 3)),
            ("fifo", FileType::Fifo, 0),
            ("socket", FileType::Socket, 0),
        ] {
            mknodat(CWD, data.join(name), kind, Mode::from_raw_mode(0o640), number).expect("mknod");
        }
    });
    let script = "readlink /data/dangling; stat -c '%F %a %t:%T' /data/null /data/fifo /data/socket; \
                  stat -c '%i' /data/one /data/sub/two | uniq | wc -l; stat -c %h /data/one";
    let output = run(bundle, &[], script).ok();
    let wanted = "/no/where\ncharacter special file 640 1:3\nfifo 640 0:0\nsocket 640 0:0\n1\n2\n";
    assert_eq!(output.stdout(), wanted);
}

#[test]
fn extended_attributes_are_copied() {
    let _sandbox = Sandbox::enter();
    let bundle = with_data(|data| {
        let file = write(data.join("file"), "");
        for path in [file, data.to_owned()] {
            rustix::fs::setxattr(path, "trusted.mark", b"value", XattrFlags::empty())
                .expect("set an attribute");
        }
    });
    let bundle = bundle.push("/mounts", copied_up("/data", &[])).args(["sleep", "600"]);
    let runtime = Runtime::under_test();
    let container = runtime.start(&bundle);
    let root = PathBuf::from(format!("/proc/{}/root", container.pid().as_raw_nonzero()));
    for path in ["data", "data/file"] {
        let mut value = [0; 16];
        let length = rustix::fs::getxattr(root.join(path), "trusted.mark", &mut value[..])
            .expect("the attribute");
        assert_eq!(&value[..length], b"value", "{path}");
    }
}

#[test]
fn options_win_over_what_is_covered_and_later_mounts_find_their_place() {
    let _sandbox = Sandbox::enter();
    let bundle = with_data(|data| {
        drop(write(data.join("file"), "text\n"));
        set_mode(data, 0o700);
    })
    .push("/mounts", copied_up("/data", &["ro", "mode=0751", "uid=5", "noexec"]))
    .push("/mounts", json!({"destination": "/data/inner", "type": "tmpfs", "options": []}))
    .shell("stat -c '%a %u' /data; cat /data/file; touch /data/inner/x && touch /data/y");
    let output = Runtime::under_test().run(&bundle).exits(1);
    assert_eq!(output.stdout(), "751 5\ntext\n");
    assert!(output.stderr().contains("/data/y: Read-only file system"), "{output}");
}

#[test]
fn what_an_earlier_mount_brought_is_copied_too_and_nothing_where_nothing_is() {
    let _sandbox = Sandbox::enter();
    let source = scratch_dir();
    drop(write(source.path().join("from-the-host"), ""));
    let bundle = BundleDir::new()
        .push(
            "/mounts",
            json!({"destination": "/data", "source": source.path(), "options": ["bind"]}),
        )
        .push("/mounts", copied_up("/data", &[]))
        .push("/mounts", copied_up("/made/for/this", &[]))
        .shell("ls /data; touch /data/x; ls -A /made/for/this; stat -c %a /made/for/this");
    let output = Runtime::under_test().run(&bundle).ok();
    assert_eq!(output.stdout(), "from-the-host\n1777\n", "the default of tmpfs");
    assert!(!source.path().join("x").exists());
}

#[test]
fn in_a_user_namespace_owners_are_mapped_and_devices_refused() {
    let sandbox = Sandbox::enter();
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let mapped = |bundle: BundleDir| {
        bundle
            .push("/linux/namespaces", json!({"type": "user"}))
            .set("/linux/uidMappings", mapping.clone())
            .set("/linux/gidMappings", mapping.clone())
    };
    let own = |path: &Path| chown(path, Some(100_003), Some(100_004)).expect("give it away");
    let bundle = mapped(with_data(|data| {
        own(data);
        own(&write(data.join("file"), ""));
    }));
    let output = run(bundle, &[], "stat -c '%u:%g' /data /data/file").ok();
    assert_eq!(output.stdout(), "3:4\n3:4\n");
    let bundle = mapped(with_data(|data| {
        own(data);
        let mode = Mode::from_raw_mode(0o666);
        mknodat(CWD, data.join("null"), FileType::CharacterDevice, mode, makedev(1, 3))
            .expect("mknod");
    }));
    let output = run(bundle, &[], "true").exits(1);
    assert!(output.stderr().contains("/mounts/7"), "{output}");
    assert!(output.stderr().contains("hint: what is copied up has an owner"), "{output}");
    sandbox.assert_clean();
}

#[test]
fn a_tree_that_is_too_large_is_an_error_and_leaves_nothing() {
    let sandbox = Sandbox::enter();
    let bundle = with_data(|data| drop(write(data.join("large"), vec![1; 300_000])));
    let output = run(bundle, &["size=64k"], "true").exits(1);
    assert!(output.stderr().contains("no space left on device"), "{output}");
    assert!(output.stderr().contains("hint: what is copied up needs more room"), "{output}");
    sandbox.assert_clean();
}

#[test]
fn a_sparse_file_keeps_its_holes() {
    let _sandbox = Sandbox::enter();
    let bundle = with_data(|data| {
        let file = fs::File::create(data.join("sparse")).expect("make a file");
        file.set_len(1 << 40).expect("make it large");
        std::os::unix::fs::FileExt::write_at(&file, b"middle", 1 << 39).expect("write");
    });
    let script =
        "stat -c %s /data/sparse; dd if=/data/sparse bs=1 skip=549755813888 count=6 2>/dev/null";
    let output = run(bundle, &["size=1m"], script).ok();
    assert_eq!(output.stdout(), "1099511627776\nmiddle");
}

/// Class C: what the image has under a name is never followed out of the directory that is copied.
#[test]
fn links_of_the_image_bring_nothing_of_the_host_into_the_copy() {
    let sandbox = Sandbox::enter();
    let secret = scratch_dir();
    drop(write(secret.path().join("key"), "confidential"));
    let bundle = with_data(|data| {
        symlink(secret.path(), data.join("directory")).expect("link");
        symlink(secret.path().join("key"), data.join("file")).expect("link");
        symlink("/proc/self/fd", data.join("magic")).expect("link");
        // A FIFO would hang whoever opens it.
        mknodat(CWD, data.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o666), 0)
            .expect("mknod");
        assert!(
            fs::symlink_metadata(data.join("fifo")).is_ok_and(|data| data.file_type().is_fifo())
        );
    });
    let output = run(bundle, &[], "find /data -type f | wc -l; find /data -type l | wc -l").ok();
    assert_eq!(output.stdout(), "0\n3\n");
    // The target itself is a link out of the image: it leads to a place inside.
    let bundle = BundleDir::new();
    symlink(secret.path(), bundle.rootfs().join("data")).expect("link");
    let output = run(bundle, &[], "ls -A /data/").ok();
    assert_eq!(output.stdout(), "");
    assert_eq!(fs::metadata(secret.path().join("key")).expect("the key").len(), 12);
    sandbox.assert_clean();
}

#[test]
fn a_directory_that_is_swapped_for_a_link_all_the_time_is_not_followed() {
    let _sandbox = Sandbox::enter();
    let (secret, volume) = (scratch_dir(), scratch_dir());
    drop(write(secret.path().join("key"), "confidential"));
    drop(write(volume.path().join("file"), "plain"));
    fs::create_dir(volume.path().join("directory")).expect("make a directory");
    symlink(secret.path(), volume.path().join("link")).expect("link");
    symlink(secret.path().join("key"), volume.path().join("other")).expect("link");
    let stop = AtomicBool::new(false);
    let exchange = |one: &str, other: &str| {
        let (one, other) = (volume.path().join(one), volume.path().join(other));
        renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).expect("exchange two names");
    };
    let bundle = BundleDir::new()
        .push(
            "/mounts",
            json!({"destination": "/data", "source": volume.path(), "options": ["bind"]}),
        )
        .push("/mounts", copied_up("/data", &[]))
        .shell("cat /data/*/key /data/* 2>/dev/null; true");
    let runtime = Runtime::under_test();
    let mut made = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                exchange("directory", "link");
                exchange("file", "other");
            }
        });
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end {
            // Whether it starts is chance: what counts is what was copied.
            let output = runtime.run(&bundle);
            made += u32::from(output.stdout().contains("plain"));
            if output.stdout().contains("confidential") {
                stop.store(true, Ordering::Relaxed);
                panic!("a file of the host was copied: {output}");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(made > 0, "no copy was made at all");
}

#[test]
fn a_tree_that_is_deeper_than_a_path_can_say_is_an_error() {
    let sandbox = Sandbox::enter();
    let bundle = with_data(|data| {
        let name = "d".repeat(250);
        let mut at = fs::File::open(data).expect("open a directory");
        for _ in 0..20 {
            rustix::fs::mkdirat(&at, &name, Mode::from_raw_mode(0o755)).expect("make a directory");
            let flags = rustix::fs::OFlags::DIRECTORY;
            at = rustix::fs::openat(&at, &name, flags, Mode::empty()).expect("open it").into();
        }
    });
    let output = run(bundle, &[], "true").exits(1);
    assert!(output.stderr().contains("name too long"), "{output}");
    sandbox.assert_clean();
}

/// With and without the right to raise it again; where it is the runtime that sets the limits of a process in a user namespace.
#[test]
fn the_limit_on_the_size_of_a_file_is_the_processs_and_not_that_of_the_copy() {
    let _sandbox = Sandbox::enter();
    let mapping = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    for (hard, user) in [(json!(8192), false), (json!(u64::MAX), false), (json!(8192), true)] {
        let bundle = with_data(|data| {
            write(data.join("large"), [b'x'; 100_000]);
        });
        let limit = json!([{"type": "RLIMIT_FSIZE", "soft": 4096, "hard": hard}]);
        let mut bundle = bundle.set("/process/rlimits", limit);
        if user {
            bundle = bundle
                .push("/linux/namespaces", json!({"type": "user"}))
                .set("/linux/uidMappings", mapping.clone())
                .set("/linux/gidMappings", mapping.clone());
        }
        let script = "stat -c %s /data/large; ulimit -Sf; ulimit -Hf";
        let hard = hard.as_u64().filter(|hard| *hard != u64::MAX);
        let hard = hard.map_or("unlimited".to_owned(), |bytes| (bytes / 512).to_string());
        let wanted = format!("100000\n8\n{hard}\n");
        assert_eq!(run(bundle, &[], script).ok().stdout(), wanted);
    }
}
