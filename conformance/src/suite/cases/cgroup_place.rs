//! config-linux.md, control groups: where the container's cgroup is, who owns it, and what the container sees of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::namespaces::in_user_namespace;
use crate::fixture::{BundleDir, cgroups};
use crate::suite::case::{Finding, Topic, contract, crun, must, runc, should};
use crate::suite::expect::{holds, same};
use crate::suite::facts::{PIDS, V2};
use crate::suite::live::Live;
use crate::suite::trial::fails;

pub(super) const CGROUPS_PATH: Topic = Topic {
    name: "cgroups-path",
    title: "where the container's cgroup is",
    section: "config-linux.md#cgroups-path",
    cases: &[
        must("an absolute path is taken from the root of the hierarchy", |t| {
            let id = t.new_id();
            let path = format!("/{id}-parent/{id}-child");
            let bundle = t.bundle().args(["sleep", "60"]).set("/linux/cgroupsPath", path.clone());
            let live = t.start(&bundle)?;
            let groups = own_groups(&live)?;
            let own = groups.lines().filter(|line| line.ends_with(&path)).count();
            holds(own > 0, &format!("cgroups with the path {path}"), &groups)?;
            live.end()?;
            let left = cgroups::named(&format!("{id}-child"));
            holds(left.is_empty(), "no cgroup after delete", &left)?;
            for parent in cgroups::named(&format!("{id}-parent")) {
                let _ = fs::remove_dir(parent);
            }
            Ok(())
        })
        .cgroupfs_only(),
        must("a relative path is taken", |t| {
            let id = t.new_id();
            let bundle = t
                .bundle()
                .args(["sleep", "60"])
                .set("/linux/cgroupsPath", format!("{id}-relative"));
            let _live = t.start(&bundle)?;
            let groups = cgroups::named(&format!("{id}-relative"));
            holds(!groups.is_empty(), "a cgroup of that name", &cgroups::named(&id))
        })
        .cgroupfs_only(),
        must("without a path the container has a cgroup of its own nevertheless", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            let pid = live.pid()?.as_raw_nonzero();
            let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
            let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            holds(groups != own, "other cgroups than the caller's", &groups)
        }),
        must("the same path leads to the same place each time", |t| {
            let id = t.new_id();
            for path in [format!("/{id}-again"), format!("{id}-again")] {
                let bundle =
                    t.bundle().args(["sleep", "60"]).set("/linux/cgroupsPath", path.clone());
                let place = || {
                    let live = t.start(&bundle)?;
                    let groups = own_groups(&live)?;
                    live.end().map(|()| groups)
                };
                same(&format!("cgroups of {path}"), place()?.as_str(), place()?.as_str())?;
            }
            Ok(())
        })
        .cgroupfs_only(),
        must("two containers with the same path share the limits", |t| {
            // Either is allowed: to share the cgroup, or to refuse the second container.
            let id = t.new_id();
            let path = format!("/{id}-shared");
            let bundle =
                || t.bundle().args(["sleep", "60"]).set("/linux/cgroupsPath", path.clone());
            let first = bundle().set("/linux/resources/pids", json!({"limit": 77}));
            let (second, other) = (bundle(), t.new_id());
            let _one = t.start(&first)?;
            let create =
                t.finish_call(t.runtime().bundle_call("create", &second, [""; 0], &other))?;
            if !create.success() {
                fails("a refusal", &create)?;
                return fails(
                    "nothing is left of a refused container",
                    &t.call(["state", &other])?,
                );
            }
            t.call_ok(["start", &other])?;
            let state = t.call_ok(["state", &other])?.stdout();
            let state: Value = serde_json::from_str(&state).unwrap_or_default();
            let groups = fs::read_to_string(format!("/proc/{}/cgroup", state["pid"]));
            let groups = groups.unwrap_or_default();
            holds(
                groups.lines().any(|line| line.ends_with(&path)),
                &format!("a cgroup {path}"),
                &groups,
            )?;
            let limit = cgroups::read(&path[1..], "pids.max");
            same("the limit of both", "77", limit.unwrap_or_default().as_str())
        })
        .needs(&[PIDS])
        .cgroupfs_only(),
    ],
};

pub(super) const CGROUP_VIEW: Topic = Topic {
    name: "cgroup-view",
    title: "what a container sees and owns of its cgroup",
    section: "config-linux.md#cgroup-ownership",
    cases: &[
        must("a mount of cgroups shows the limits of the container's own", |t| {
            let bundle =
                with_namespace(t.bundle()).set("/linux/resources/pids", json!({"limit": 77}));
            same("pids.max", "77", t.shell(bundle, "cat /sys/fs/cgroup/pids.max")?.as_str())
        })
        .needs(&[V2, PIDS]),
        must("a mount of cgroups with the option ro cannot be written to", |t| {
            let script = "mkdir /sys/fs/cgroup/child 2>/dev/null || echo refused";
            same("mkdir", "refused", t.shell(with_namespace(t.bundle()), script)?.as_str())
        })
        .needs(&[V2]),
        contract("cgroups that the container has made are gone with it", |t| {
            let bundle = writable(with_namespace(t.bundle()))
                .shell("mkdir -p /sys/fs/cgroup/child/of/it && echo made; sleep 60");
            let live = t.start(&bundle)?;
            t.wait_for("cgroups are made", || match live.stdout() {
                text if text.contains("made") => Ok(()),
                text => Err(text),
            })?;
            live.end()?;
            let left = cgroups::named(live.id());
            holds(left.is_empty(), "no cgroup after delete", &left)
        })
        .needs(&[V2]),
        should("the container's root owns its cgroup where it may write to it", |t| {
            let bundle = writable(with_namespace(in_user_namespace(t))).args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            let group = group_of(&live)?;
            for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
                same(&format!("owner of `{file}`"), &100_000, &owner(&group.join(file))?)?;
            }
            // Limits stay the caller's.
            same("owner of `pids.max`", &0, &owner(&group.join("pids.max"))?)
        })
        .needs(&[V2, PIDS])
        .known(&[runc("does so with systemd only").on_v2().without_systemd()]),
        should("the cgroup stays the caller's where the container may not write to it", |t| {
            let bundle = with_namespace(in_user_namespace(t)).args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            same("owner of the cgroup", &0, &owner(&group_of(&live)?)?)
        })
        .needs(&[V2])
        .known(&[crun("gives it to them always").on_v2()]),
        contract("the cgroup of a paused container is frozen", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            t.call_ok(["pause", live.id()])?;
            // On a hybrid host a runtime may use either.
            let [v1, v2] = ["freezer.state", "cgroup.events"].map(|file| live.cgroup(&[file]).ok());
            t.call_ok(["resume", live.id()])?;
            let is_frozen = v1.as_deref() == Some("FROZEN")
                || v2.as_ref().is_some_and(|events| events.contains("frozen 1"));
            holds(is_frozen, "a frozen cgroup", &(v1, v2))
        }),
    ],
};

/// The cgroups of a container's first process, as the caller sees them.
pub(super) fn own_groups(live: &Live) -> Result<String, Finding> {
    let path = format!("/proc/{}/cgroup", live.pid()?.as_raw_nonzero());
    Ok(fs::read_to_string(path).unwrap_or_default())
}

/// The directory of a container on v2.
fn group_of(live: &Live) -> Result<PathBuf, Finding> {
    let pid = live.pid()?;
    cgroups::unified_of(pid)
        .ok_or_else(|| Finding::fail("a cgroup on v2", format!("none of process {pid:?}")))
}

fn owner(path: &std::path::Path) -> Result<u32, Finding> {
    let seen = |error: std::io::Error| format!("{}: {error}", path.display());
    let meta =
        fs::metadata(path).map_err(|error| Finding::fail("a file of the cgroup", seen(error)))?;
    Ok(meta.uid())
}

fn with_namespace(bundle: BundleDir) -> BundleDir {
    bundle.push("/linux/namespaces", json!({"type": "cgroup"}))
}

/// The mount of cgroups without the option ro.
fn writable(bundle: BundleDir) -> BundleDir {
    bundle.set("/mounts/6/options", json!(["nosuid", "noexec", "nodev", "relatime"]))
}
