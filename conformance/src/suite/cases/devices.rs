//! config-linux.md, devices: nodes, and who may use them; network devices.

use std::fs;

use serde_json::{Value, json};

use super::namespaces::in_user_namespace;
use crate::fixture::Capture;
use crate::suite::case::{Finding, Topic, Verdict, crun, must, runc};
use crate::suite::expect::{contains, has, holds, same};
use crate::suite::facts::{IP, NSENTER};
use crate::suite::trial::Trial;

pub(super) const DEVICES: Topic = Topic {
    name: "devices",
    title: "device nodes",
    section: "config-linux.md#devices",
    cases: &[
        must("a device has its type, numbers, mode and owner", |t| {
            let device = json!({"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 7, "gid": 8});
            let seen = t.observe(t.bundle().push("/linux/devices", device))?;
            for (key, value) in [
                ("type", json!("c")),
                ("major", json!(1)),
                ("minor", json!(5)),
                ("mode", json!("0640")),
                ("uid", json!(7)),
                ("gid", json!(8)),
            ] {
                has(&seen, &format!("/devices/mine/{key}"), value)?;
            }
            Ok(())
        }),
        must("a block device is made", |t| {
            let device = json!({"path": "/dev/block", "type": "b", "major": 7, "minor": 200, "fileMode": 0o600, "uid": 0, "gid": 0});
            has(&t.observe(t.bundle().push("/linux/devices", device))?, "/devices/block/type", "b")
        }),
        must("a fifo is made", |t| {
            let device =
                json!({"path": "/dev/fifo", "type": "p", "fileMode": 0o666, "uid": 0, "gid": 0});
            has(&t.observe(t.bundle().push("/linux/devices", device))?, "/devices/fifo/type", "p")
        }),
        must("a device outside /dev is made with the directories on its way", |t| {
            let device = json!({"path": "/opt/deep/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 0, "gid": 0});
            let bundle = t.bundle().push("/linux/devices", device);
            same(
                "type of the file",
                "character special file",
                t.shell(bundle, "stat -c %F /opt/deep/null")?.as_str(),
            )
        }),
        must("another file in the place of a device is an error", |t| {
            let bundle = t.bundle();
            fs::write(bundle.rootfs().join("null"), "a file").expect("write a file");
            let device = json!({"path": "/null", "type": "c", "major": 1, "minor": 3});
            t.refused(&bundle.push("/linux/devices", device), "a file is there").map(drop)
        })
        .known(&[
            runc("leaves the file, and the device is not there"),
            crun("leaves the file, and the device is not there"),
        ]),
        must("a device of a type that there is none of is refused", |t| {
            let device = json!({"path": "/dev/strange", "type": "x", "major": 1, "minor": 3});
            t.refused(&t.bundle().push("/linux/devices", device), "the type is unknown").map(drop)
        })
        .rootless()
        .known(&[crun("takes it for a character device").for_root()]),
    ],
};

pub(super) const DEFAULT_DEVICES: Topic = Topic {
    name: "default-devices",
    title: "devices that every container has",
    section: "config-linux.md#default-devices",
    cases: &[
        must("null, zero, full, random, urandom and tty are there", |t| {
            let seen = t.observe(t.bundle())?;
            for (name, major, minor) in [
                ("null", 1, 3),
                ("zero", 1, 5),
                ("full", 1, 7),
                ("random", 1, 8),
                ("urandom", 1, 9),
                ("tty", 5, 0),
            ] {
                for (key, value) in [
                    ("type", json!("c")),
                    ("major", json!(major)),
                    ("minor", json!(minor)),
                    ("mode", json!("0666")),
                ] {
                    has(&seen, &format!("/devices/{name}/{key}"), value)?;
                }
            }
            Ok(())
        })
        .rootless(),
        must("ptmx leads to the container's own pts", |t| {
            has(&t.observe(t.bundle())?, "/devices/ptmx/target", "pts/ptmx")
                .or_else(|_| has(&t.observe(t.bundle())?, "/devices/ptmx/target", "/dev/pts/ptmx"))
        })
        .rootless(),
        must("fd, stdin, stdout and stderr are links into /proc", |t| {
            let seen = t.observe(t.bundle())?;
            for (name, target) in [
                ("fd", "/proc/self/fd"),
                ("stdin", "/proc/self/fd/0"),
                ("stdout", "/proc/self/fd/1"),
                ("stderr", "/proc/self/fd/2"),
            ] {
                has(&seen, &format!("/devices/{name}/target"), target)?;
            }
            Ok(())
        })
        .rootless(),
        must("the default devices can be used, whatever the list of allowed devices says", |t| {
            let rules = json!([{"allow": false, "access": "rwm"}]);
            let bundle = t.bundle().set("/linux/resources/devices", rules);
            let seen = t.attempt(
                bundle,
                &[
                    "open-rw:/dev/null",
                    "open:/dev/zero",
                    "open:/dev/full",
                    "open:/dev/random",
                    "open:/dev/urandom",
                ],
            )?;
            holds(
                seen.as_object().is_some_and(|all| all.values().all(|errno| *errno == 0)),
                "all can be opened",
                &seen,
            )
        }),
        must("in a user namespace the default devices can be used as well", |t| {
            let seen = t.attempt(
                in_user_namespace(t),
                &["open-rw:/dev/null", "open:/dev/zero", "open:/dev/urandom"],
            )?;
            holds(
                seen.as_object().is_some_and(|all| all.values().all(|errno| *errno == 0)),
                "all can be opened",
                &seen,
            )
        }),
    ],
};

/// A device that no rule allows by default: /dev/loop-control.
const CONTROL: (u32, u32) = (10, 237);

pub(super) const DEVICE_RULES: Topic = Topic {
    name: "device-rules",
    title: "allowed devices",
    section: "config-linux.md#allowed-device-list",
    cases: &[
        must("a device that no rule allows cannot be opened, also where its node is there", |t| {
            same("errno of open", &Some(1), &opened(t, json!([{"allow": false, "access": "rwm"}]))?)
        }),
        must("a device that a rule allows can be opened", |t| {
            let rules = json!([{"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": CONTROL.0, "minor": CONTROL.1, "access": "rw"}]);
            not_forbidden(opened(t, rules)?)
        }),
        must("a wildcard allows all minor numbers", |t| {
            let rules = json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": CONTROL.0, "access": "rw"}]);
            not_forbidden(opened(t, rules)?)
        }),
        must("the last rule that matches counts", |t| {
            let rules = json!([{"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": CONTROL.0, "minor": CONTROL.1, "access": "rw"},
                {"allow": false, "type": "c", "major": CONTROL.0, "minor": CONTROL.1, "access": "rw"}]);
            same("errno of open", &Some(1), &opened(t, rules)?)
        }),
        must("the right to read is not the right to write", |t| {
            let rules = json!([{"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": CONTROL.0, "minor": CONTROL.1, "access": "r"}]);
            same("errno of open", &Some(1), &opened(t, rules)?)
        }),
    ],
};

pub(super) const NET_DEVICES: Topic = Topic {
    name: "net-devices",
    title: "network devices that are moved into the container",
    section: "config-linux.md#network-devices",
    cases: &[
        must("a device is moved, under its name and under a new one", |t| {
            let _pairs = Pairs::new(&[("conf0", "stay0"), ("conf1", "stay1")]);
            let bundle = t
                .bundle()
                .set("/linux/netDevices", json!({"conf0": {}, "conf1": {"name": "inside1"}}));
            let seen = t.observe(bundle)?;
            let names = seen["interfaces"].as_array().cloned().unwrap_or_default();
            for name in ["conf0", "inside1"] {
                holds(names.contains(&json!(name)), &format!("an interface {name}"), &names)?;
            }
            Ok(())
        })
        .needs(&[IP])
        .known(&[runc("knows no netDevices"), crun("knows no netDevices")]),
        must("a device keeps its addresses and its MTU", |t| {
            let _pairs = Pairs::new(&[("conf0", "stay0")]);
            ip("address add 192.0.2.7/24 dev conf0");
            ip("link set conf0 mtu 1400 up");
            let bundle =
                t.bundle().args(["sleep", "60"]).set("/linux/netDevices", json!({"conf0": {}}));
            let live = t.start(&bundle)?;
            let pid = live.pid()?.as_raw_nonzero().to_string();
            let seen = Capture::of("nsenter")
                .args(["-n", "-t", &pid, "ip", "address", "show", "conf0"])
                .run()
                .stdout();
            contains("the device", &seen, "192.0.2.7/24")?;
            contains("the device", &seen, "mtu 1400")
        })
        .needs(&[IP, NSENTER])
        .known(&[runc("knows no netDevices"), crun("knows no netDevices")]),
        must("a device that is not there is refused", |t| {
            t.refused(
                &t.bundle().set("/linux/netDevices", json!({"nosuch0": {}})),
                "there is no such device",
            )
            .map(drop)
        })
        .known(&[runc("knows no netDevices"), crun("knows no netDevices")]),
        must("a device without a network namespace of the container is refused", |t| {
            let bundle =
                t.bundle().without_namespace("network").set("/linux/netDevices", json!({"lo": {}}));
            t.refused(&bundle, "the container has no network namespace").map(drop)
        })
        .known(&[runc("knows no netDevices"), crun("knows no netDevices")]),
        must("two devices of one name in the container are refused", |t| {
            let _pairs = Pairs::new(&[("conf0", "stay0"), ("conf1", "stay1")]);
            let devices = json!({"conf0": {"name": "same0"}, "conf1": {"name": "same0"}});
            t.refused(&t.bundle().set("/linux/netDevices", devices), "the names are the same")?;
            let left = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
            contains("the caller's devices", &left, "conf0:")?;
            contains("the caller's devices", &left, "conf1:")
        })
        .needs(&[IP])
        .known(&[runc("knows no netDevices"), crun("knows no netDevices")]),
    ],
};

/// Errno of opening, for reading and writing, a node that is made by the configuration.
fn opened(trial: &Trial, rules: Value) -> Result<Option<i64>, Finding> {
    let device = json!({"path": "/dev/control", "type": "c", "major": CONTROL.0, "minor": CONTROL.1, "fileMode": 0o666, "uid": 0, "gid": 0});
    let bundle =
        trial.bundle().push("/linux/devices", device).set("/linux/resources/devices", rules);
    Ok(trial.attempt(bundle, &["open-rw:/dev/control"])?["open-rw:/dev/control"].as_i64())
}

/// Whatever else the kernel says of the device (it may have no driver for it), it is not forbidden.
fn not_forbidden(errno: Option<i64>) -> Verdict {
    holds(errno.is_some_and(|errno| ![1, 13].contains(&errno)), "no refusal", &errno)
}

fn ip(words: &str) {
    let _ = Capture::of("ip").args(words.split(' ')).run();
}

/// Pairs of network devices in the caller's namespace, gone with this.
struct Pairs(Vec<&'static str>);

impl Pairs {
    fn new(names: &[(&'static str, &'static str)]) -> Self {
        for (moved, stays) in names {
            ip(&format!("link add {moved} type veth peer name {stays}"));
        }
        Self(names.iter().map(|(_, stays)| *stays).collect())
    }
}

impl Drop for Pairs {
    fn drop(&mut self) {
        for stays in &self.0 {
            ip(&format!("link delete {stays}"));
        }
    }
}
