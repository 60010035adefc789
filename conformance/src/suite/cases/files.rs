//! config.md, root and mounts; config-linux.md, default file systems, masked and read-only paths, propagation.

use std::fs;
use std::path::Path;

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};
use serde_json::{Value, json};

use super::process::write_file;
use crate::suite::case::{Finding, Topic, Verdict, contract, crun, must, runc, should};
use crate::suite::expect::{contains, has, has_option, has_options, holds, mount_at, same};
use crate::suite::facts::MOUNT_SETATTR;
use crate::suite::trial::{Trial, fails};

pub(super) const ROOT: Topic = Topic {
    name: "root",
    title: "the root file system",
    section: "config.md#root",
    cases: &[
        must("a read-only root cannot be written to", |t| {
            let seen = t.shell(
                t.bundle().set("/root/readonly", true),
                "touch /file 2>&1; touch /dev/shm/file && echo shm; true",
            )?;
            contains("the message", &seen, "read-only file system")?;
            contains("output", &seen, "shm")
        })
        .rootless(),
        must("a writable root can be written to", |t| {
            let bundle = t.bundle().shell("echo text >/file");
            t.run_ok(&bundle)?;
            let text = fs::read_to_string(bundle.rootfs().join("file")).unwrap_or_default();
            same("the file in the bundle", "text\n", text.as_str())
        })
        .rootless(),
        must("the root of the container is the bundle's and not the host's", |t| {
            let bundle = t.bundle();
            write_file(&bundle, "marker", "of the bundle", 0o644);
            let seen = t.shell(bundle, "cat /marker; echo; ls /../../marker")?;
            same("output", "of the bundle\n/../../marker", seen.as_str())
        })
        .rootless(),
        must("an absolute path of the root is taken", |t| {
            let other = t.bundle();
            write_file(&other, "marker", "elsewhere", 0o644);
            let bundle = t.bundle().set("/root/path", other.rootfs().display().to_string());
            same("output", "elsewhere", t.shell(bundle, "cat /marker")?.as_str())
        })
        .rootless(),
        must("a root that is not there is refused", |t| {
            t.refused(&t.bundle().set("/root/path", "nowhere"), "root.path does not exist")
                .map(drop)
        })
        .rootless(),
    ],
};

/// The options with MUST in config.md's table that change nothing to be seen, or what is there without them; the others have cases of
/// their own.
const REQUIRED_OPTIONS: &[&str] = &[
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "iversion",
    "lazytime",
    "loud",
    "noatime",
    "nodiratime",
    "noiversion",
    "nolazytime",
    "norelatime",
    "nostrictatime",
    "relatime",
    "rw",
    "silent",
    "strictatime",
    "suid",
    "sync",
];

pub(super) const MOUNTS: Topic = Topic {
    name: "mounts",
    title: "mounts and their options",
    section: "config.md#mounts",
    cases: &[
        must("mounts are made in the order of the list", |t| {
            let bundle = t
                .bundle()
                .push("/mounts", tmpfs("/outer", &[]))
                .push("/mounts", tmpfs("/outer/inner", &[]));
            let seen = t.observe(bundle)?;
            let points: Vec<&str> = seen["mounts"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|mount| mount["point"].as_str())
                .collect();
            let place = |point| points.iter().position(|own| *own == point);
            holds(
                place("/outer") < place("/outer/inner") && place("/outer").is_some(),
                "/outer before /outer/inner",
                &points,
            )
        })
        .rootless(),
        must("a mount point that is not there is made", |t| {
            let seen = t.observe(t.bundle().push("/mounts", tmpfs("/made/on/the/way", &[])))?;
            mount_at(&seen, "/made/on/the/way").map(drop)
        })
        .rootless(),
        must("a directory is bound with what it holds", |t| {
            let source = t.directory();
            fs::write(source.path().join("file"), "bound").expect("write a file");
            let bundle = t.bundle().push("/mounts", bind(source.path(), "/mnt", &["rbind"]));
            same("output", "bound", t.shell(bundle, "cat /mnt/file")?.as_str())
        })
        .rootless(),
        must("a file is bound, over a file that is made for it", |t| {
            let source = t.directory();
            let file = source.path().join("file");
            fs::write(&file, "bound").expect("write a file");
            let bundle = t.bundle().push("/mounts", bind(&file, "/new/file", &["bind"]));
            same("output", "bound", t.shell(bundle, "cat /new/file")?.as_str())
        })
        .rootless(),
        must("a bind that is read-only cannot be written to", |t| {
            let source = t.directory();
            let bundle = t.bundle().push("/mounts", bind(source.path(), "/mnt", &["rbind", "ro"]));
            contains(
                "output",
                &t.shell(bundle, "touch /mnt/file 2>&1; true")?,
                "read-only file system",
            )
        })
        .rootless(),
        must("a bind has the options nosuid, nodev and noexec", |t| {
            let source = t.directory();
            let options = ["bind", "nosuid", "nodev", "noexec"];
            let seen =
                t.observe(t.bundle().push("/mounts", bind(source.path(), "/mnt", &options)))?;
            has_options(mount_at(&seen, "/mnt")?, &options[1..])
        })
        .rootless(),
        must("a tmpfs has its size, mode and options", |t| {
            let options = ["nosuid", "nodev", "noexec", "size=1m", "mode=1750"];
            let bundle = t.bundle().push("/mounts", tmpfs("/mnt", &options));
            let seen = t.shell(bundle, "stat -c %a /mnt; grep ' /mnt ' /proc/self/mountinfo")?;
            contains("the mode", &seen, "1750\n")?;
            for word in ["nosuid", "nodev", "noexec", "size=1024k"] {
                contains("the mount", &seen, word)?;
            }
            Ok(())
        })
        .rootless(),
        must("access times are kept as the options say", |t| {
            let bundle = t
                .bundle()
                .push("/mounts", tmpfs("/no", &["noatime"]))
                .push("/mounts", tmpfs("/relative", &["relatime"]))
                .push("/mounts", tmpfs("/no-directories", &["nodiratime"]));
            let seen = t.observe(bundle)?;
            has_options(mount_at(&seen, "/no")?, &["noatime"])?;
            has_options(mount_at(&seen, "/relative")?, &["relatime"])?;
            has_options(mount_at(&seen, "/no-directories")?, &["nodiratime"])
        })
        .rootless(),
        must("a bind without recursion leaves out the mounts below it, rbind takes them", |t| {
            let source = tree(t)?;
            let bundle = t
                .bundle()
                .push("/mounts", bind(source.path(), "/flat", &["bind"]))
                .push("/mounts", bind(source.path(), "/deep", &["rbind"]));
            let seen = t.shell(bundle, "ls /flat/below; echo -; ls /deep/below");
            release(&source);
            same("the files", "-\nfile", seen?.as_str())
        }),
        must("rro makes a bind and all mounts below it read-only", |t| recursive(t, "rro", "ro"))
            .needs(&[MOUNT_SETATTR]),
        must("rnosuid, rnodev and rnoexec reach the mounts below", |t| {
            for (option, flag) in
                [("rnosuid", "nosuid"), ("rnodev", "nodev"), ("rnoexec", "noexec")]
            {
                recursive(t, option, flag)?;
            }
            Ok(())
        })
        .needs(&[MOUNT_SETATTR]),
        must("rnoatime reaches the mounts below", |t| recursive(t, "rnoatime", "noatime"))
            .needs(&[MOUNT_SETATTR])
            .known(&[crun("asks the kernel for two access time modes at once")]),
        must("ro without the r leaves the mounts below as they are", |t| {
            let source = tree(t)?;
            let bundle = t.bundle().push("/mounts", bind(source.path(), "/mnt", &["rbind", "ro"]));
            let seen = t.observe(bundle);
            release(&source);
            let seen = seen?;
            has_options(mount_at(&seen, "/mnt")?, &["ro"])?;
            holds(
                !has_option(mount_at(&seen, "/mnt/below")?, "ro"),
                "a writable mount below",
                &seen["mounts"],
            )
        }),
        must("a mount has the propagation of its options", |t| {
            let source = t.directory();
            let _shared = Shared::make(source.path())?;
            let all = [
                ("shared", "shared:"),
                ("rshared", "shared:"),
                ("slave", "master:"),
                ("rslave", "master:"),
                ("private", "[]"),
                ("rprivate", "[]"),
                ("unbindable", "unbindable"),
                ("runbindable", "unbindable"),
            ];
            let bundle = all.iter().fold(t.bundle(), |bundle, (option, _)| {
                let point = format!("/{option}");
                bundle.push("/mounts", bind(source.path(), &point, &["bind", option]))
            });
            let seen = t.observe(bundle)?;
            for (option, tag) in all {
                let tags = mount_at(&seen, &format!("/{option}"))?["propagation"].to_string();
                contains(option, &tags, tag)?;
            }
            Ok(())
        })
        .known(&[crun("does not keep rshared")]),
        must("a mount with the option remount changes the one that is there", |t| {
            let bundle = t
                .bundle()
                .push("/mounts", tmpfs("/mnt", &["nosuid"]))
                .push("/mounts", tmpfs("/mnt", &["remount", "nosuid", "noexec"]));
            let seen = t.observe(bundle)?;
            has_options(mount_at(&seen, "/mnt")?, &["nosuid", "noexec"])?;
            let all = seen["mounts"].as_array().into_iter().flatten();
            same("mounts at /mnt", &1, &all.filter(|mount| mount["point"] == "/mnt").count())
        }),
        contract("tmpcopyup fills a tmpfs with what the image has there", |t| {
            let bundle = t.bundle();
            write_file(&bundle, "data/file", "of the image", 0o644);
            let bundle = bundle.push("/mounts", tmpfs("/data", &["tmpcopyup"]));
            let seen =
                t.shell(bundle, "cat /data/file; echo; grep -c ' /data tmpfs ' /proc/mounts")?;
            same("output", "of the image\n1", seen.as_str())
        }),
        must("a bind whose source is not there is refused", |t| {
            let nowhere = Path::new("/nowhere/at/all");
            let bundle = t.bundle().push("/mounts", bind(nowhere, "/mnt", &["bind"]));
            t.refused(&bundle, "the source does not exist").map(drop)
        })
        .rootless(),
        must("a file system that the kernel does not know is refused", |t| {
            let mount = json!({"destination": "/mnt", "type": "nofs", "source": "none"});
            t.refused(&t.bundle().push("/mounts", mount), "there is no such file system").map(drop)
        })
        .rootless(),
        must("a relative destination is one from the root", |t| {
            let bundle = t.bundle().push("/mounts", tmpfs("relative/deep", &[]));
            mount_at(&t.observe(bundle)?, "/relative/deep").map(drop)
        })
        .rootless(),
        must("every option is taken that a runtime must know", |t| {
            let source = t.directory();
            for option in REQUIRED_OPTIONS {
                let mount = bind(source.path(), "/mnt", &["rbind", option]);
                let output = t.run(&t.bundle().push("/mounts", mount))?;
                holds(output.success(), &format!("a mount with `{option}`"), &output.to_string())?;
            }
            Ok(())
        }),
        contract("a destination that leads out of the root by a link stays inside", |t| {
            let bundle = t.bundle();
            std::os::unix::fs::symlink("../../../../tmp", bundle.rootfs().join("out"))
                .expect("a link");
            let seen = t.observe(bundle.push("/mounts", tmpfs("/out/deep", &[])))?;
            mount_at(&seen, "/tmp/deep").map(drop)
        })
        .rootless(),
    ],
};

pub(super) const DEFAULT_FILESYSTEMS: Topic = Topic {
    name: "default-filesystems",
    title: "proc, sysfs, devpts and shm",
    section: "config-linux.md#default-filesystems",
    cases: &[
        should("/proc is a proc", |t| is_mounted(t, "/proc", "proc")).rootless(),
        should("/sys is a sysfs", |t| is_mounted(t, "/sys", "sysfs")),
        should("/dev/pts is a devpts of the container's own", |t| {
            is_mounted(t, "/dev/pts", "devpts")
        })
        .rootless(),
        should("/dev/shm is a tmpfs", |t| is_mounted(t, "/dev/shm", "tmpfs")).rootless(),
        should("/dev/mqueue is an mqueue", |t| is_mounted(t, "/dev/mqueue", "mqueue")).rootless(),
        must("/proc shows the container's processes alone", |t| {
            let seen = t.shell(t.bundle(), "ls /proc | grep -c '^[0-9]*$'")?;
            let count: u32 = seen.parse().unwrap_or(u32::MAX);
            holds(count <= 4, "the shell and its children", &count)
        })
        .rootless(),
        contract("the cgroups that are mounted show the container's own", |t| {
            // On v2 a mount begins where the cgroup namespace does, which is the host's otherwise.
            let bundle = match t.facts().unified() {
                true => t.bundle().push("/linux/namespaces", json!({"type": "cgroup"})),
                false => t.bundle(),
            };
            let seen = t.shell(
                bundle,
                "find /sys/fs/cgroup -name cgroup.procs -maxdepth 3 | head -n 1 | xargs cat",
            )?;
            holds(seen.lines().any(|pid| pid == "1"), "process 1 of the container", &seen)
        }),
    ],
};

pub(super) const MASKED: Topic = Topic {
    name: "masked-paths",
    title: "masked paths",
    section: "config-linux.md#masked-paths",
    cases: &[
        must("a masked file reads as empty", |t| {
            let bundle = t.bundle();
            write_file(&bundle, "etc/secret", "secret", 0o644);
            let bundle = bundle.set("/linux/maskedPaths", json!(["/etc/secret"]));
            same("output", "0", t.shell(bundle, "cat /etc/secret | wc -c")?.as_str())
        })
        .rootless(),
        must("a masked directory is empty and cannot be written to", |t| {
            let bundle = t.bundle();
            write_file(&bundle, "etc/secrets/one", "secret", 0o644);
            let bundle = bundle.set("/linux/maskedPaths", json!(["/etc/secrets"]));
            let seen = t.shell(bundle, "ls /etc/secrets; touch /etc/secrets/two 2>&1; true")?;
            contains("output", &seen, "read-only file system")?;
            holds(!seen.contains("one\n"), "nothing of the directory", &seen)
        })
        .rootless(),
        must("a masked path that is not there is passed over", |t| {
            t.run_ok(&t.bundle().set("/linux/maskedPaths", json!(["/not/there"]))).map(drop)
        })
        .rootless(),
        must("a path in /proc is masked", |t| {
            let bundle =
                t.bundle().set("/linux/maskedPaths", json!(["/proc/timer_list", "/proc/meminfo"]));
            same("output", "", t.shell(bundle, "cat /proc/meminfo")?.as_str())
        })
        .rootless(),
    ],
};

pub(super) const READONLY: Topic = Topic {
    name: "readonly-paths",
    title: "read-only paths",
    section: "config-linux.md#readonly-paths",
    cases: &[
        must("a file that is to be read-only can be read and not written", |t| {
            let bundle = t.bundle();
            write_file(&bundle, "etc/fixed", "text", 0o666);
            let bundle = bundle.set("/linux/readonlyPaths", json!(["/etc/fixed"]));
            let seen = t.shell(bundle, "cat /etc/fixed; (echo x >/etc/fixed) 2>&1; true")?;
            holds(seen.starts_with("text"), "text", &seen)?;
            contains("output", &seen, "read-only file system")
        })
        .rootless(),
        must("everything below a read-only directory is read-only", |t| {
            let bundle = t.bundle();
            write_file(&bundle, "etc/fixed/deep/file", "text", 0o666);
            let bundle = bundle.set("/linux/readonlyPaths", json!(["/etc/fixed"]));
            let seen = t.shell(bundle, "(echo x >/etc/fixed/deep/file) 2>&1; touch /etc/fixed/new 2>&1; touch /etc/free; true")?;
            same("refusals", &2, &seen.matches("Read-only").count())
        })
        .rootless(),
        must("a read-only path that is not there is passed over", |t| {
            t.run_ok(&t.bundle().set("/linux/readonlyPaths", json!(["/not/there"]))).map(drop)
        })
        .rootless(),
        must("/proc/sys cannot be written to where it is read-only", |t| {
            let seen = t.shell(t.bundle(), "(echo x >/proc/sys/kernel/hostname) 2>&1; true")?;
            contains("output", &seen, "read-only file system")
        })
        .rootless(),
    ],
};

pub(super) const PROPAGATION: Topic = Topic {
    name: "rootfs-propagation",
    title: "propagation of mounts from and to the root",
    section: "config-linux.md#rootfs-mount-propagation",
    cases: &[
        must("a shared root has peers", |t| {
            let seen = t.observe(t.bundle().set("/linux/rootfsPropagation", "shared"))?;
            contains("the root", &mount_at(&seen, "/")?["propagation"].to_string(), "shared:")
        })
        .known(&[runc("the root ends up private")]),
        must("a private root has neither, and no mount of the host comes in", |t| {
            let (tags, comes_in) = root_on_shared(t, "private")?;
            holds(!tags.contains("shared:") && !tags.contains("master:"), "no tag", &tags)?;
            same("a mount of the host comes in", &false, &comes_in)
        }),
        must("a slave root has a master and no peers, and mounts of the host come in", |t| {
            let (tags, comes_in) = root_on_shared(t, "slave")?;
            holds(!tags.contains("shared:"), "no peer", &tags)?;
            contains("the root", &tags, "master:")?;
            same("a mount of the host comes in", &true, &comes_in)
        })
        .known(&[runc("the root ends up private"), crun("the root ends up private")]),
        must("an unbindable root cannot be bound", |t| {
            let seen = t.observe(t.bundle().set("/linux/rootfsPropagation", "unbindable"))?;
            contains("the root", &mount_at(&seen, "/")?["propagation"].to_string(), "unbindable")
        })
        .known(&[runc("the root ends up private")]),
        must("a propagation that there is none of is refused", |t| {
            let bundle = t.bundle().set("/linux/rootfsPropagation", "sideways");
            let output = t.run(&bundle)?;
            fails("a failure", &output)
        })
        .rootless()
        .known(&[crun("takes no notice of it")]),
    ],
};

fn tmpfs(destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options})
}

/// A bind mount.
pub(super) fn bind(source: &Path, destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": options})
}

fn is_mounted(trial: &Trial, point: &str, kind: &str) -> Verdict {
    let seen = trial.observe(trial.bundle())?;
    has(mount_at(&seen, point)?, "/type", kind)
}

/// A directory with a tmpfs on `below` in it, which holds a file.
fn tree(trial: &Trial) -> Result<tempfile::TempDir, Finding> {
    let source = trial.directory();
    let below = source.path().join("below");
    fs::create_dir(&below).expect("make a directory");
    mount("tmpfs", &below, "tmpfs", MountFlags::empty(), None)
        .map_err(|errno| Finding::skip(format!("cannot mount a tmpfs: {}", sys::text(errno))))?;
    fs::write(below.join("file"), "below").expect("write a file");
    Ok(source)
}

fn release(source: &tempfile::TempDir) {
    let _ = unmount(source.path().join("below"), UnmountFlags::DETACH);
}

/// A directory that is a mount of its own, and passes on what is mounted below it.
struct Shared<'d>(&'d Path);

impl<'d> Shared<'d> {
    fn make(directory: &'d Path) -> Result<Self, Finding> {
        let failed =
            |errno| Finding::skip(format!("cannot make a shared mount: {}", sys::text(errno)));
        mount_bind(directory, directory).map_err(failed)?;
        let shared = Self(directory);
        mount_change(directory, MountPropagationFlags::SHARED).map_err(failed)?;
        Ok(shared)
    }
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        let _ = unmount(self.0, UnmountFlags::DETACH);
    }
}

/// A container whose root lies on a shared mount: the tags of the root, and whether what the host mounts there later comes in.
fn root_on_shared(trial: &Trial, propagation: &str) -> Result<(String, bool), Finding> {
    let bundle = trial.bundle().args(["sleep", "60"]).set("/linux/rootfsPropagation", propagation);
    let later = bundle.rootfs().join("later");
    fs::create_dir(&later).expect("make a directory");
    let _shared = Shared::make(bundle.path())?;
    let live = trial.start(&bundle)?;
    mount("tmpfs", &later, "tmpfs", MountFlags::empty(), None)
        .map_err(|errno| Finding::skip(format!("cannot mount a tmpfs: {}", sys::text(errno))))?;
    let seen = live.observe(&[])?;
    let tags = mount_at(&seen, "/")?["propagation"].to_string();
    Ok((tags, mount_at(&seen, "/later").is_ok()))
}

/// A recursive option gives a bind, and the mount below it, the flag.
fn recursive(trial: &Trial, option: &str, flag: &str) -> Verdict {
    let source = tree(trial)?;
    let bundle = trial.bundle().push("/mounts", bind(source.path(), "/mnt", &["rbind", option]));
    let seen = trial.observe(bundle);
    release(&source);
    let seen = seen?;
    has_options(mount_at(&seen, "/mnt")?, &[flag])?;
    has_options(mount_at(&seen, "/mnt/below")?, &[flag])
}
