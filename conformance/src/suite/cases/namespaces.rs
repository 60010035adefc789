//! config-linux.md, namespaces, id mappings and clocks; config.md, host and domain name.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, chown};

use serde_json::{Value, json};

use super::files::bind;
use crate::fixture::{BundleDir, Namespace};
use crate::suite::case::{CRUN_LEAVES_CGROUP, Finding, Known, Topic, crun, must, old_runc, runc};
use crate::suite::expect::{contains, has, holds, same};
use crate::suite::facts::{CGROUP_NAMESPACE, IDMAPPED_TMPFS, IP, TIME_NAMESPACE};
use crate::suite::trial::Trial;

pub(super) const NAMESPACES: Topic = Topic {
    name: "namespaces",
    title: "new, joined and shared namespaces",
    section: "config-linux.md#namespaces",
    cases: &[
        must("each namespace of the list is a new one", |t| {
            let seen = t.observe(t.bundle())?;
            for kind in ["pid", "net", "ipc", "uts", "mnt"] {
                let (own, inside) = (own(kind), &seen["namespaces"][kind]);
                holds(
                    inside.is_string() && *inside != own.as_str(),
                    &format!("a {kind} namespace other than {own}"),
                    inside,
                )?;
            }
            Ok(())
        })
        .rootless(),
        must("a namespace that is not in the list is the caller's", |t| {
            for (kind, file) in [("ipc", "ipc"), ("network", "net")] {
                let mut bundle = t.bundle().without_namespace(kind);
                if kind == "network" {
                    // A sysfs shows network devices: it can be mounted only by who owns the namespace.
                    bundle = bundle.remove("/mounts/5");
                }
                has(&t.observe(bundle)?, &format!("/namespaces/{file}"), own(file))?;
            }
            Ok(())
        }),
        must("the process is the first of a new pid namespace", |t| {
            has(&t.observe(t.bundle())?, "/pid", 1)
        })
        .rootless(),
        must("a new network namespace has a loopback device and no other", |t| {
            has(&t.observe(t.bundle())?, "/interfaces", json!(["lo"]))
        })
        .rootless(),
        must("a new cgroup namespace shows the container's cgroup as its root", |t| {
            let seen =
                t.observe(t.bundle().push("/linux/namespaces", json!({"type": "cgroup"})))?;
            let groups = seen["cgroup"].as_str().unwrap_or_default();
            // On a hybrid host not every runtime has a cgroup on v2.
            let counts = |line: &&str| {
                t.facts().unified() || !line.contains(":name=") && !line.starts_with("0:")
            };
            holds(
                !groups.is_empty()
                    && groups.lines().filter(counts).all(|line| line.ends_with(":/")),
                "`/` as the path of each controller's cgroup",
                groups,
            )
        })
        .needs(&[CGROUP_NAMESPACE]),
        must("a network namespace is joined by its path", |t| {
            let namespace = Namespace::create();
            let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_fd().as_raw_fd());
            let inode = fs::metadata(&path).expect("a namespace").ino();
            let bundle = with_path(t.bundle(), "network", &path);
            has(&t.observe(bundle)?, "/namespaces/net", format!("net:[{inode}]"))
        })
        .needs(&[IP]),
        must("the namespaces of another container are joined", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let other = t.start(&bundle)?;
            let pid = other.pid()?.as_raw_nonzero();
            let mut bundle = t.bundle();
            let kinds = [("pid", "pid"), ("ipc", "ipc"), ("uts", "uts"), ("network", "net")];
            for (kind, file) in kinds {
                bundle = with_path(bundle, kind, &format!("/proc/{pid}/ns/{file}"));
            }
            let seen = t.observe(bundle.remove("/hostname"))?;
            for (_, file) in kinds {
                let link = fs::read_link(format!("/proc/{pid}/ns/{file}")).unwrap_or_default();
                has(&seen, &format!("/namespaces/{file}"), link.display().to_string())?;
            }
            Ok(())
        }),
        must("a path that is no namespace is refused", |t| {
            let bundle = with_path(t.bundle(), "network", "/proc/self/status");
            t.refused(&bundle, "the path must be associated with a namespace").map(drop)
        })
        .known(&[CRUN_LEAVES_CGROUP]),
        must("a path of a namespace of another type is refused", |t| {
            let bundle = with_path(t.bundle(), "network", "/proc/self/ns/uts");
            t.refused(&bundle, "the namespace is of another type").map(drop)
        })
        .known(&[CRUN_LEAVES_CGROUP]),
        must("a type that is there twice is refused", |t| {
            let bundle = t.bundle().push("/linux/namespaces", json!({"type": "network"}));
            t.refused(&bundle, "duplicates must be an error").map(drop)
        })
        .rootless()
        .known(&[crun("takes it")]),
        must("a type that nobody knows is refused", |t| {
            let bundle = t.bundle().push("/linux/namespaces", json!({"type": "weather"}));
            t.refused(&bundle, "the type is unknown").map(drop)
        })
        .rootless()
        .known(&[CRUN_LEAVES_CGROUP]),
    ],
};

pub(super) const HOSTNAME: Topic = Topic {
    name: "hostname",
    title: "host and domain name",
    section: "config.md#hostname",
    cases: &[
        must("the host name is the configured one", |t| {
            has(&t.observe(t.bundle().set("/hostname", "conform"))?, "/hostname", "conform")
        })
        .rootless(),
        must("the caller keeps its host name", |t| {
            let before = rustix::system::uname().nodename().to_owned();
            t.observe(t.bundle().set("/hostname", "conform"))?;
            same("the host name", &before, &rustix::system::uname().nodename().to_owned())
        })
        .rootless(),
        must("a host name without a namespace for it is refused", |t| {
            let bundle = t.bundle().without_namespace("uts");
            t.refused(&bundle, "it would change the host's name").map(drop)
        })
        .rootless(),
        must("the domain name is the configured one", |t| {
            has(
                &t.observe(t.bundle().set("/domainname", "example.org"))?,
                "/domainname",
                "example.org",
            )
        })
        .rootless()
        .known(&[old_runc("knows no domainname")]),
    ],
};

pub(super) const TIME: Topic = Topic {
    name: "time-namespace",
    title: "clocks of a time namespace",
    section: "config-linux.md#offset-for-time-namespace",
    cases: &[
        must("clocks are moved by their offsets", |t| {
            let bundle = t
                .bundle()
                .push("/linux/namespaces", json!({"type": "time"}))
                .set("/linux/timeOffsets", json!({
                    "monotonic": {"secs": 1000, "nanosecs": 5}, "boottime": {"secs": 1_000_000, "nanosecs": 0}}));
            let seen = t.shell(bundle, "cut -d. -f1 /proc/uptime; cat /proc/self/timens_offsets")?;
            let inside: f64 = seen.lines().next().and_then(|line| line.parse().ok()).unwrap_or(0.0);
            let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
            let outside: f64 = uptime.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
            let ahead = inside - outside;
            holds((999_900.0..1_000_001.0).contains(&ahead), "an uptime 1000000 s ahead", &ahead)?;
            let offsets: Vec<Vec<&str>> = seen.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
            holds(offsets.contains(&vec!["monotonic", "1000", "5"]), "monotonic 1000 5", &offsets)
        })
        .needs(&[TIME_NAMESPACE])
        .known(NO_TIME),
        must("the process is in a new time namespace", |t| {
            let seen = t.observe(t.bundle().push("/linux/namespaces", json!({"type": "time"})))?;
            let inside = &seen["namespaces"]["time"];
            holds(inside.is_string() && *inside != own("time").as_str(), "another time namespace", inside)
        })
        .needs(&[TIME_NAMESPACE])
        .known(NO_TIME),
        must("offsets without a new time namespace are refused", |t| {
            let offsets = json!({"boottime": {"secs": 10, "nanosecs": 0}});
            t.refused(&t.bundle().set("/linux/timeOffsets", offsets), "there is no time namespace").map(drop)
        })
        .needs(&[TIME_NAMESPACE])
        .known(&[
            old_runc("ignores timeOffsets"),
            crun("ignores offsets without a namespace"),
        ]),
    ],
};

pub(super) const USER_NAMESPACE: Topic = Topic {
    name: "user-namespace",
    title: "id mappings",
    section: "config-linux.md#user-namespace-mappings",
    cases: &[
        must("ids are mapped as configured", |t| {
            let seen = t.observe(in_user_namespace(t))?;
            let words = |text: &Value| -> Vec<String> {
                text.as_str().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
            };
            for map in ["uidMap", "gidMap"] {
                same(map, &["0", "100000", "65536"][..], &words(&seen[map])[..])?;
            }
            has(&seen, "/uids/0", 0)
        }),
        must("several ranges are mapped", |t| {
            let map = json!([
                {"containerID": 0, "hostID": 100_000, "size": 10},
                {"containerID": 1000, "hostID": 200_000, "size": 5}
            ]);
            let bundle = in_user_namespace(t)
                .set("/linux/uidMappings", map.clone())
                .set("/linux/gidMappings", map);
            let seen = t.observe(bundle)?;
            let lines = seen["uidMap"].as_str().unwrap_or_default().lines().count();
            same("lines of the map", &2, &lines)
        }),
        must("the process is its user on the host", |t| {
            let bundle = in_user_namespace(t)
                .args(["sleep", "60"])
                .set("/process/user", json!({"uid": 5, "gid": 6}));
            let live = t.start(&bundle)?;
            let path = format!("/proc/{}", live.pid()?.as_raw_nonzero());
            let status = fs::read_to_string(format!("{path}/status")).unwrap_or_default();
            contains("the status", &status, "Uid:\t100005")?;
            contains("the status", &status, "Gid:\t100006")
        }),
        must("capabilities are those of the user namespace", |t| {
            let seen = t.observe(in_user_namespace(t))?;
            holds(
                seen["capabilities"]["effective"].as_array().is_some_and(|set| !set.is_empty()),
                "capabilities",
                &seen["capabilities"],
            )
        }),
        must("mappings without a user namespace are refused", |t| {
            let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
            let bundle =
                t.bundle().set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
            t.refused(&bundle, "there is no user namespace").map(drop)
        })
        .known(&[runc("ignores them"), crun("ignores them")]),
    ],
};

pub(super) const IDMAPPED: Topic = Topic {
    name: "idmapped-mounts",
    title: "mounts with id mappings of their own",
    section: "config.md#posix-platform-mounts",
    cases: &[
        must("files of an idmapped bind belong to the mapped ids", |t| {
            let source = owned(t);
            let map = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
            let mut mount = bind(source.path(), "/mnt", &["rbind"]);
            mount["uidMappings"] = map.clone();
            mount["gidMappings"] = map;
            let bundle = t.bundle().push("/mounts", mount);
            same(
                "owner of the file",
                "1003:1004",
                t.shell(bundle, "stat -c %u:%g /mnt/file")?.as_str(),
            )
        })
        .needs(&[IDMAPPED_TMPFS])
        .known(NO_IDMAP),
        must("an idmapped bind takes the mapping of the container where it says so", |t| {
            let source = owned(t);
            let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
            let mut mount = bind(source.path(), "/mnt", &["rbind"]);
            mount["uidMappings"] = map.clone();
            mount["gidMappings"] = map;
            let bundle = in_user_namespace(t).push("/mounts", mount);
            fs::create_dir(bundle.rootfs().join("mnt")).expect("a mount point");
            same("owner of the file", "3:4", t.shell(bundle, "stat -c %u:%g /mnt/file")?.as_str())
        })
        .needs(&[IDMAPPED_TMPFS])
        .known(NO_IDMAP),
        must("what is written through an idmapped bind belongs to the unmapped id", |t| {
            let source = owned(t);
            let map = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
            let mut mount = bind(source.path(), "/mnt", &["bind"]);
            mount["uidMappings"] = map.clone();
            mount["gidMappings"] = map;
            let bundle = t
                .bundle()
                .push("/mounts", mount)
                .set("/process/user", json!({"uid": 1007, "gid": 1008}));
            fs::set_permissions(source.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))
                .expect("a mode");
            t.shell(bundle, "touch /mnt/new")?;
            let meta = fs::metadata(source.path().join("new"))
                .map_err(|error| Finding::fail("a file", error.to_string()))?;
            same("owner on the host", &(7, 8), &(meta.uid(), meta.gid()))
        })
        .needs(&[IDMAPPED_TMPFS])
        .known(NO_IDMAP),
    ],
};

const NO_TIME: &[Known] = &[
    old_runc("knows no time namespace"),
    crun("its child dies before it has written the offsets"),
];
const NO_IDMAP: &[Known] = &[old_runc("knows no idmapped mounts")];

/// The caller's own namespace, as its link shows it.
fn own(kind: &str) -> String {
    fs::read_link(format!("/proc/thread-self/ns/{kind}")).unwrap_or_default().display().to_string()
}

fn with_path(bundle: BundleDir, kind: &str, path: &str) -> BundleDir {
    bundle.without_namespace(kind).push("/linux/namespaces", json!({"type": kind, "path": path}))
}

/// A bundle whose root is user 100000 on the host.
pub(super) fn in_user_namespace(trial: &Trial) -> BundleDir {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    trial
        .bundle()
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
}

/// A directory with a file of user 3 and group 4.
pub(super) fn owned(trial: &Trial) -> tempfile::TempDir {
    let source = trial.directory();
    fs::set_permissions(source.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("a mode");
    let file = source.path().join("file");
    fs::write(&file, "text").expect("write a file");
    chown(&file, Some(3), Some(4)).expect("give it away");
    source
}
