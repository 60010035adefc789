//! Mounts, read from the container's own /proc/self/mountinfo and tried from inside.

use std::fs;
use std::path::{Path, PathBuf};

use nconform::fixture::{BundleDir, Output, Runtime, Sandbox, scratch_dir};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};
use serde_json::json;

/// A line of /proc/PID/mountinfo.
#[derive(Debug)]
struct Mount {
    point: String,
    /// Flags of this mount, each between commas.
    flags: String,
    /// `shared:N`, `master:N`, `unbindable`; empty for a private mount.
    propagation: String,
    kind: String,
    /// Options of the file system, each between commas.
    options: String,
}

impl Mount {
    #[track_caller]
    fn has(&self, flags: &[&str]) {
        for flag in flags {
            assert!(self.flags.contains(&format!(",{flag},")), "no {flag}: {self:?}");
        }
    }

    #[track_caller]
    fn lacks(&self, flags: &[&str]) {
        for flag in flags {
            assert!(!self.flags.contains(&format!(",{flag},")), "{flag}: {self:?}");
        }
    }
}

/// The mounts that an output of `cat /proc/self/mountinfo` shows.
struct Table(Vec<Mount>);

impl Table {
    #[track_caller]
    fn of(output: Output) -> Self {
        let line = |line: &str| {
            let (mount, file_system) = line.split_once(" - ")?;
            let mount: Vec<&str> = mount.split(' ').collect();
            let file_system: Vec<&str> = file_system.split(' ').collect();
            Some(Mount {
                point: mount[4].to_owned(),
                flags: format!(",{},", mount[5]),
                propagation: mount[6..].join(" "),
                kind: file_system[0].to_owned(),
                options: format!(",{},", file_system[2]),
            })
        };
        Self(output.ok().stdout().lines().filter_map(line).collect())
    }

    /// The topmost mount at a point.
    #[track_caller]
    fn at(&self, point: &str) -> &Mount {
        let found = self.0.iter().rev().find(|mount| mount.point == point);
        found.unwrap_or_else(|| panic!("no mount at {point}: {:?}", self.0))
    }
}

/// The mounts of a container.
#[track_caller]
fn table(bundle: BundleDir) -> Table {
    Table::of(Runtime::under_test().run(&bundle.args(["cat", "/proc/self/mountinfo"])))
}

fn entry(
    destination: &str,
    kind: &str,
    source: impl AsRef<Path>,
    options: &[&str],
) -> serde_json::Value {
    json!({"destination": destination, "type": kind, "source": source.as_ref(), "options": options})
}

fn bind(destination: &str, source: impl AsRef<Path>, options: &[&str]) -> serde_json::Value {
    entry(destination, "bind", source, options)
}

fn tmpfs(path: &Path) {
    fs::create_dir_all(path).expect("make a directory");
    mount("tmpfs", path, "tmpfs", MountFlags::empty(), c"mode=755").expect("mount a tmpfs");
}

/// A directory of the host with a mount on it, another below, and a file in each.
struct Source(tempfile::TempDir);

impl Source {
    fn new() -> Self {
        let source = Self(scratch_dir());
        tmpfs(source.path());
        tmpfs(&source.path().join("sub"));
        for file in ["file", "sub/file"] {
            fs::write(source.path().join(file), file).expect("write a file");
        }
        source
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn propagation(self, flags: MountPropagationFlags) -> Self {
        mount_change(self.path(), flags).expect("set the propagation of a source");
        self
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        for path in [self.path().join("late"), self.path().join("sub"), self.path().to_owned()] {
            let _ = unmount(&path, UnmountFlags::DETACH);
        }
    }
}

#[test]
fn the_mounts_of_the_default_configuration_have_their_types_and_options() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), BundleDir::new());
    let config = bundle.path().join("config.json");
    fs::remove_file(&config).expect("remove config.json");
    let _ = runtime.call(["spec"]).directory(bundle.path()).run().ok();
    let text = fs::read_to_string(&config).expect("config.json");
    let bundle = bundle.raw_config(text.replace("\"terminal\": true", "\"terminal\": false"));
    let id = runtime.new_id();
    let call = runtime.bundle_call("run", &bundle, [""; 0], &id);
    let table = Table::of(call.stdin("cat /proc/self/mountinfo").run());
    for (point, kind, flags) in [
        ("/proc", "proc", &["rw"][..]),
        ("/dev", "tmpfs", &["nosuid"]),
        ("/dev/pts", "devpts", &["nosuid", "noexec"]),
        ("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev"]),
        ("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        ("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ] {
        let mount = table.at(point);
        assert_eq!(mount.kind, kind, "{point}");
        mount.has(flags);
    }
    table.at("/sys/fs/cgroup").has(&["ro", "nosuid", "noexec", "nodev"]);
    table.at("/").has(&["ro"]);
    table.at("/dev").lacks(&["relatime", "noatime"]);
    assert!(table.at("/dev").options.contains(",size=65536k,"));
    assert!(table.at("/dev/pts").options.contains(",gid=5,mode=620,ptmxmode=666,"));
    assert_eq!(table.0.iter().filter(|mount| mount.kind == "devpts").count(), 1);
}

#[test]
fn nothing_of_the_host_is_mounted_in_the_container() {
    let _sandbox = Sandbox::enter();
    let bundle = BundleDir::new();
    let rootfs = bundle.rootfs().display().to_string();
    let table = table(bundle);
    assert!(table.0.iter().all(|mount| !mount.point.contains(&rootfs)));
    let ours = ["/", "/proc", "/dev", "/sys"];
    let foreign: Vec<&Mount> = table
        .0
        .iter()
        .filter(|mount| {
            !ours
                .iter()
                .any(|own| mount.point == *own || mount.point.starts_with(&format!("{own}/")))
        })
        .filter(|mount| mount.point != "/")
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}

#[test]
fn a_bind_has_the_flags_that_it_asks_for() {
    let _sandbox = Sandbox::enter();
    let source = Source::new();
    let options: [(&str, &[&str], &[&str]); 14] = [
        ("/a", &["bind", "ro"], &["ro"]),
        ("/b", &["bind", "nosuid", "nodev", "noexec"], &["nosuid", "nodev", "noexec", "rw"]),
        ("/c", &["bind", "ro", "rw"], &["rw"]),
        ("/d", &["bind", "noatime"], &["noatime"]),
        ("/e", &["bind", "relatime", "nodiratime"], &["relatime", "nodiratime"]),
        ("/f", &["bind", "nosymfollow"], &["nosymfollow"]),
        ("/g", &["rbind", "ro"], &["ro"]),
        ("/h", &["rbind", "rro", "rnosuid"], &["ro", "nosuid"]),
        ("/i", &["bind", "strictatime"], &["rw"]),
        // What is recursive counts whatever stands beside it.
        ("/j", &["rbind", "rro", "nosuid"], &["ro", "nosuid"]),
        ("/k", &["rbind", "rw", "rro"], &["ro"]),
        ("/l", &["rbind", "rro", "rw"], &["ro"]),
        ("/m", &["rbind", "nosuid", "rnoexec"], &["rw", "nosuid", "noexec"]),
        ("/n", &["rbind", "ro", "rrw"], &["rw"]),
    ];
    let bundle = options.iter().fold(BundleDir::new(), |bundle, (at, options, _)| {
        bundle.push("/mounts", bind(at, source.path(), options))
    });
    let table = table(bundle);
    for (at, _, flags) in options {
        table.at(at).has(flags);
    }
    table.at("/a").lacks(&["nosuid", "nodev", "noexec"]);
    table.at("/i").lacks(&["relatime", "noatime"]);
    table.at("/g/sub").has(&["rw"]);
    table.at("/h/sub").has(&["ro", "nosuid"]);
    table.at("/j/sub").has(&["ro"]);
    table.at("/j/sub").lacks(&["nosuid"]);
    assert!(!table.0.iter().any(|mount| mount.point == "/a/sub"), "`bind` is not recursive");
    let host = fs::read_to_string("/proc/thread-self/mountinfo").expect("own mounts");
    let own = host.lines().find(|line| line.contains(&format!(" {} ", source.path().display())));
    assert!(
        own.is_some_and(|line| line.contains(" rw,relatime ")),
        "the source itself is as it was"
    );
}

#[test]
fn a_read_only_bind_cannot_be_written_and_a_plain_one_can() {
    let _sandbox = Sandbox::enter();
    let source = Source::new();
    let bundle = BundleDir::new()
        .push("/mounts", bind("/plain", source.path(), &["rbind"]))
        .push("/mounts", bind("/closed", source.path(), &["rbind", "rro"]))
        .shell("echo new > /plain/file && cat /closed/file; echo x > /closed/file; echo x > /closed/sub/file");
    let output = Runtime::under_test().run(&bundle).exits(1);
    assert_eq!(output.stdout(), "new\n");
    assert_eq!(output.stderr().matches("Read-only file system").count(), 2, "{output}");
    assert_eq!(fs::read_to_string(source.path().join("file")).expect("a file"), "new\n");
}

#[test]
fn a_file_is_bound_on_a_file_that_is_made_for_it() {
    let _sandbox = Sandbox::enter();
    let bundle = BundleDir::new();
    fs::write(bundle.path().join("data"), "from the bundle\n").expect("write a file");
    let bundle = bundle
        .push("/mounts", bind("/made/here/data", "data", &["bind", "ro"]))
        .push("/mounts", bind("/etc/hosts", "data", &["bind"]))
        .shell("cat /made/here/data /etc/hosts");
    let output = Runtime::under_test().run(&bundle).ok();
    assert_eq!(output.stdout(), "from the bundle\nfrom the bundle\n", "relative to the bundle");
    let host = fs::read_to_string(bundle.rootfs().join("etc/hosts")).expect("the file below");
    assert_eq!(host, "127.0.0.1 localhost\n");
}

#[test]
fn later_mounts_may_lie_in_earlier_ones() {
    let _sandbox = Sandbox::enter();
    let source = Source::new();
    let bundle = BundleDir::new()
        .push("/mounts", entry("/data", "tmpfs", "tmpfs", &["mode=700"]))
        .push("/mounts", bind("/data/inner", source.path(), &["bind"]))
        .shell("ls /data; cat /data/inner/file");
    let output = Runtime::under_test().run(&bundle).ok();
    assert_eq!(output.stdout(), "inner\nfile");
    assert!(!bundle.rootfs().join("data/inner").exists(), "made in the tmpfs, not in the image");
}

#[test]
fn a_tmpfs_has_its_size_mode_and_owner() {
    let _sandbox = Sandbox::enter();
    let options = ["size=128k", "mode=0751", "uid=3", "gid=4", "nr_inodes=50", "noexec"];
    let bundle = BundleDir::new()
        .push("/mounts", entry("/data", "tmpfs", "tmpfs", &options))
        .shell("stat -c '%a %u:%g' /data; df -k /data | tail -n1 | awk '{print $2}'; grep ' /data ' /proc/mounts");
    let text = Runtime::under_test().run(&bundle).ok().stdout();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["751 3:4", "128"]);
    assert!(lines[2].contains("noexec") && lines[2].contains("nr_inodes=50"), "{text}");
    let closed = BundleDir::new()
        .push("/mounts", entry("/data", "tmpfs", "tmpfs", &["ro"]))
        .shell("touch /data/x");
    let output = Runtime::under_test().run(&closed).exits(1);
    assert!(output.stderr().contains("Read-only file system"), "{output}");
}

#[test]
fn a_devpts_is_an_instance_of_its_own_and_a_mqueue_belongs_to_the_container() {
    let _sandbox = Sandbox::enter();
    let script = "ls /dev/pts; stat -c %a /dev/pts/ptmx; touch /dev/mqueue/mine && ls /dev/mqueue";
    let output = Runtime::under_test().run(&BundleDir::new().shell(script)).ok();
    assert_eq!(output.stdout(), "ptmx\n666\nmine\n");
}

#[test]
fn a_bind_has_the_propagation_that_it_asks_for() {
    let _sandbox = Sandbox::enter();
    let source =
        Source::new().propagation(MountPropagationFlags::SHARED | MountPropagationFlags::REC);
    let bundle = ["private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable"]
        .iter()
        .fold(BundleDir::new(), |bundle, word| {
            bundle.push("/mounts", bind(&format!("/{word}"), source.path(), &["rbind", word]))
        });
    let table = table(bundle);
    for (point, wanted) in [
        ("/private", ""),
        ("/rprivate", ""),
        ("/slave", "master:"),
        ("/rslave", "master:"),
        ("/shared", "shared:"),
        ("/rshared", "shared:"),
        ("/unbindable", "unbindable"),
        ("/rprivate/sub", ""),
        ("/rslave/sub", "master:"),
        ("/rshared/sub", "shared:"),
    ] {
        let found = &table.at(point).propagation;
        assert!(
            found.starts_with(wanted) && found.is_empty() == wanted.is_empty(),
            "{point}: {found}"
        );
    }
}

#[test]
fn mounts_made_later_on_the_host_arrive_where_the_propagation_says_so() {
    let _sandbox = Sandbox::enter();
    let source = Source::new().propagation(MountPropagationFlags::SHARED);
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new()
        .push("/mounts", bind("/slave", source.path(), &["rbind", "rslave"]))
        .push("/mounts", bind("/private", source.path(), &["rbind", "rprivate"]))
        .args(["sleep", "600"]);
    let container = runtime.start(&bundle);
    tmpfs(&source.path().join("late"));
    fs::write(source.path().join("late/mark"), "").expect("write a file");
    let seen = container.exec(["find", "/slave/late", "/private/late"]).ok().stdout();
    assert_eq!(seen, "/slave/late\n/slave/late/mark\n/private/late\n");
}

/// As with runc: without a word of `rootfsPropagation`, what is shared is shared within the container.
#[test]
fn mounts_of_the_container_reach_the_host_only_through_a_shared_bind_of_a_shared_root() {
    let sandbox = Sandbox::enter();
    let source =
        Source::new().propagation(MountPropagationFlags::SHARED | MountPropagationFlags::REC);
    let words = ["shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable"];
    for directory in [source.path().to_owned(), source.path().join("sub")] {
        for word in words {
            fs::create_dir(directory.join(word)).expect("make a directory");
        }
    }
    let all = words.iter().fold(BundleDir::new(), |bundle, word| {
        bundle.push("/mounts", bind(&format!("/{word}"), source.path(), &["rbind", word]))
    });
    let all = ["bounding", "permitted", "effective"].iter().fold(all, |bundle, set| {
        bundle.set(&format!("/process/capabilities/{set}"), json!(["CAP_SYS_ADMIN"]))
    });
    let all = all.shell(
        "for word in shared rshared slave rslave private rprivate unbindable; do
             mount -t tmpfs x /$word/$word && mount -t tmpfs x /$word/sub/$word || exit
         done",
    );
    let reached = |bundle: &BundleDir| {
        let _ = Runtime::under_test().run(bundle).ok();
        let host = fs::read_to_string("/proc/thread-self/mountinfo").expect("own mounts");
        let points = host.lines().filter_map(|line| line.split(' ').nth(4));
        let below = points.filter_map(|point| Path::new(point).strip_prefix(source.path()).ok());
        let is_made = |path: &&Path| path.file_name().is_some_and(|name| name != "sub");
        let mut made: Vec<PathBuf> = below.filter(is_made).map(Path::to_owned).collect();
        for point in made.iter().rev() {
            unmount(source.path().join(point), UnmountFlags::DETACH).expect("unmount");
        }
        made.sort_unstable();
        made
    };
    assert_eq!(reached(&all), Vec::<PathBuf>::new());
    let shared = all.set("/linux/rootfsPropagation", "rshared");
    let wanted = [
        "rshared",
        "shared",
        "sub/private",
        "sub/rshared",
        "sub/shared",
        "sub/slave",
        "sub/unbindable",
    ];
    assert_eq!(reached(&shared), wanted.map(PathBuf::from));
    drop(source);
    sandbox.assert_clean();
}

#[test]
fn the_root_has_the_propagation_that_the_configuration_asks_for() {
    let sandbox = Sandbox::enter();
    for (word, wanted) in [
        ("private", ""),
        ("rprivate", ""),
        ("slave", ""),
        ("rslave", ""),
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("unbindable", "unbindable"),
    ] {
        let table = table(BundleDir::new().set("/linux/rootfsPropagation", word));
        let found = &table.at("/").propagation;
        // The rootfs of this bundle lies on a private mount, so there is nothing to be a slave of.
        assert!(
            found.starts_with(wanted) && found.is_empty() == wanted.is_empty(),
            "{word}: {found}"
        );
    }
    sandbox.assert_clean();
}

#[test]
fn a_shared_root_takes_nothing_away_from_a_host_with_shared_mounts() {
    let sandbox = Sandbox::enter();
    mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC)
        .expect("what systemd does on a host");
    let before = fs::read_to_string("/proc/thread-self/mountinfo").expect("own mounts");
    for word in ["shared", "rshared", "rslave", "rprivate"] {
        let bundle = BundleDir::new().set("/linux/rootfsPropagation", word);
        let _ = Runtime::under_test().run(&bundle).ok();
        let after = fs::read_to_string("/proc/thread-self/mountinfo").expect("own mounts");
        assert_eq!(after, before, "{word}");
    }
    sandbox.assert_clean();
}

#[test]
fn a_readonly_root_is_so_itself_and_its_mounts_are_not() {
    let _sandbox = Sandbox::enter();
    let bundle = BundleDir::new()
        .set("/root/readonly", true)
        .push("/mounts", entry("/tmp", "tmpfs", "tmpfs", &[]))
        .shell("touch /tmp/x /dev/shm/x && touch /x");
    let output = Runtime::under_test().run(&bundle).exits(1);
    assert!(output.stderr().contains("/x: Read-only file system"), "{output}");
    let writable = BundleDir::new().shell("touch /x");
    let _ = Runtime::under_test().run(&writable).ok();
    assert!(writable.rootfs().join("x").exists());
}

#[test]
fn the_cgroups_of_the_container_are_shown_read_only() {
    let _sandbox = Sandbox::enter();
    let script = "find /sys/fs/cgroup -name cgroup.procs -maxdepth 2 | head -n 1; \
                  mkdir $(dirname $(find /sys/fs/cgroup -name cgroup.procs -maxdepth 2 | head -n 1))/x";
    let output = Runtime::under_test().run(&BundleDir::new().shell(script)).exits(1);
    assert!(output.stdout().contains("cgroup.procs"), "{output}");
    assert!(output.stderr().contains("Read-only file system"), "{output}");
}

#[test]
fn without_pivot_root_the_hosts_proc_does_not_stay_below() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    // The kernel lets a user namespace mount what is visible in full: an unmasked /proc that is only covered would do.
    let bundle = BundleDir::new()
        .push("/process/capabilities/bounding", "CAP_SETFCAP")
        .push("/process/capabilities/permitted", "CAP_SETFCAP")
        .args(["unshare", "-mrpf", "mount", "-t", "proc", "none", "/proc"]);
    for options in [&[][..], &["--no-pivot"]] {
        let call = runtime.bundle_call("run", &bundle, options, &runtime.new_id());
        let output = call.run().exits(1);
        assert!(output.stderr().contains("ermission denied"), "{options:?}: {output}");
    }
    assert!(std::path::Path::new("/proc/self/stat").exists(), "it stays on the host");
    sandbox.assert_clean();
}

#[test]
fn without_pivot_root_the_container_sees_the_same() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().shell("ls -d /*");
    let id = runtime.new_id();
    let moved = runtime.bundle_call("run", &bundle, ["--no-pivot"], &id).run().ok();
    assert_eq!(moved.stdout(), runtime.run(&bundle).ok().stdout());
    sandbox.assert_clean();
}

#[test]
fn a_source_or_target_that_does_not_fit_is_reported_with_its_place() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let directory = scratch_dir();
    for (mount, place) in [
        (bind("/data", "/no/such/source", &["bind"]), "/mounts/7"),
        (bind("/etc/hosts", directory.path(), &["bind"]), "/mounts/7"),
        (entry("/data", "nosuchfs", "none", &[]), "/mounts/7"),
        (entry("/data", "tmpfs", "tmpfs", &["nosuchoption"]), "/mounts/7"),
        (entry("/proc/sys", "tmpfs", "tmpfs", &[]), "/mounts/7/destination"),
    ] {
        let output = runtime.try_create(&BundleDir::new().push("/mounts", mount)).exits(1);
        assert!(output.stderr().contains(place), "{output}");
        assert!(output.stderr().starts_with("nrun: "), "{output}");
    }
    assert_eq!(fs::read_dir(runtime.root()).expect("the root").count(), 0);
    sandbox.assert_clean();
}

#[test]
fn links_in_the_image_lead_to_places_in_the_image() {
    let _sandbox = Sandbox::enter();
    let outside = scratch_dir();
    let bundle = BundleDir::new();
    let link = |to: PathBuf, name: &str| {
        std::os::unix::fs::symlink(to, bundle.rootfs().join(name)).expect("make a link");
    };
    link(outside.path().to_owned(), "absolute");
    fs::create_dir_all(bundle.rootfs().join(outside.path().strip_prefix("/").expect("absolute")))
        .expect("the same path in the image");
    link(PathBuf::from("../../../../../../tmp"), "relative");
    let bundle = bundle
        .push("/mounts", entry("/absolute/data", "tmpfs", "tmpfs", &[]))
        .push("/mounts", entry("/relative/data", "tmpfs", "tmpfs", &[]))
        .shell("grep -c /data /proc/mounts");
    assert_eq!(Runtime::under_test().run(&bundle).ok().text(), "2");
    assert!(!outside.path().join("data").exists() && !Path::new("/tmp/data").exists());
    assert!(bundle.rootfs().join("tmp/data").exists());
}

#[test]
fn a_container_may_have_more_mounts_and_masked_paths_than_files_and_its_limit_is_the_callers() {
    let _sandbox = Sandbox::enter();
    let (volume, masked) = (scratch_dir(), scratch_dir());
    let runtime = Runtime::under_test();
    let mount = |destination: String, source: &Path| json!({"destination": destination, "type": "bind", "source": source, "options": ["rbind", "ro"]});
    let path = |i: usize| format!("/many/{i}");
    let mut bundle = BundleDir::new().push("/mounts", mount("/many".into(), masked.path()));
    for i in 0..700 {
        fs::create_dir(masked.path().join(i.to_string())).expect("make a directory");
        bundle = bundle.push("/mounts", mount(format!("/tmp/{i}"), volume.path()));
    }
    let bundle = bundle
        .remove("/process/rlimits")
        .set("/linux/maskedPaths", (0..700).map(path).collect::<Vec<_>>())
        .shell(
            "ulimit -Sn; ulimit -Hn; grep -c ' /tmp/' /proc/mounts; grep -c ' /many/' /proc/mounts",
        );
    let run = |script: &str, bundle: &BundleDir| {
        let (id, path) = (runtime.new_id(), bundle.path().display().to_string());
        runtime.call_after(script, ["run", "--bundle", &path, &id]).run().ok().text()
    };
    let script = "ulimit -Sn 600; ulimit -Hn 8000";
    let limit = json!([{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}]);
    assert_eq!(run(script, &bundle).replace('\n', " "), "600 8000 700 700");
    let bundle = bundle.set("/process/rlimits", limit);
    assert_eq!(run(script, &bundle).replace('\n', " "), "1024 1024 700 700");
}

/// `/proc/self/fd/7` is a file that the runtime has open, not one that config.json can mean.
#[test]
fn the_source_of_a_bind_is_found_through_no_magic_link() {
    let sandbox = Sandbox::enter();
    for source in ["/proc/self/exe", "/proc/self/fd/0", "/dev/stdin", "/proc/self/root/etc/passwd"]
    {
        let bind = json!({"destination": "/mnt/it", "type": "bind", "source": source, "options": ["bind"]});
        let output = Runtime::under_test().run(&BundleDir::new().push("/mounts", bind)).exits(1);
        output.says("the path leads through a link to what a process has open");
    }
    sandbox.assert_clean();
}

/// The host's mounts stay below the root there, and would be kept in use for as long as the container runs.
#[test]
fn without_pivot_a_private_root_is_refused() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for (propagation, code) in [("private", 1), ("rprivate", 1), ("rslave", 0)] {
        let bundle = BundleDir::new().set("/linux/rootfsPropagation", propagation);
        let id = runtime.new_id();
        let output = runtime.bundle_call("run", &bundle, ["--no-pivot"], &id).run().exits(code);
        let is_told = output.stderr().contains("/linux/rootfsPropagation");
        assert_eq!(is_told, code == 1, "{output}");
    }
    sandbox.assert_clean();
}
