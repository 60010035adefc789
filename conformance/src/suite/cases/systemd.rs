//! `--systemd-cgroup`: the container's cgroup is that of a unit which systemd makes.

use serde_json::json;

use crate::fixture::{Capture, cgroups};
use crate::suite::case::{Finding, Topic, Verdict, contract, crun};
use crate::suite::expect::{contains, holds, same};
use crate::suite::live::Live;
use crate::suite::trial::Trial;

pub(super) const SYSTEMD: Topic = Topic {
    name: "systemd",
    title: "cgroups that systemd makes",
    section: "docs/systemd.md",
    cases: &[
        contract("cgroupsPath slice:prefix:name is the scope prefix-name in the slice", |t| {
            let id = t.new_id();
            let bundle = sleeper(t, &format!("system.slice:conform:{id}"));
            let live = t.start(&bundle)?;
            is_in(&live, &format!("/system.slice/conform-{id}.scope"))
        })
        .systemd_only(),
        contract("an empty slice is system.slice", |t| {
            let id = t.new_id();
            let bundle = sleeper(t, &format!(":conform:{id}"));
            let live = t.start(&bundle)?;
            is_in(&live, &format!("/system.slice/conform-{id}.scope"))
        })
        .systemd_only()
        .known(&[crun("asks systemd for a slice without a name")]),
        contract("a slice with a dash lies in the one that its name begins with", |t| {
            let (id, parent) = (t.new_id(), Slice::new());
            let bundle = sleeper(t, &format!("{0}-part.slice:conform:{id}", parent.0));
            let live = t.start(&bundle)?;
            is_in(&live, &format!("/{0}.slice/{0}-part.slice/conform-{id}.scope", parent.0))?;
            live.end()
        })
        .systemd_only(),
        contract("a cgroupsPath that is not slice:prefix:name is refused", |t| {
            let bundle = t.bundle().set("/linux/cgroupsPath", format!("/{}", t.new_id()));
            t.refused(&bundle, "it names no unit").map(drop)
        })
        .systemd_only(),
        contract("without a cgroupsPath there is a unit nevertheless", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            let unit = unit_of(&live)?;
            contains("the unit", &unit, live.id())?;
            same("its state", "active", property(&unit, "ActiveState").as_str())
        })
        .systemd_only(),
        contract("limits are properties of the unit as well", |t| {
            let bundle = t.bundle().args(["sleep", "60"]).set(
                "/linux/resources",
                json!({
                    "devices": [{"allow": false, "access": "rwm"}], "memory": {"limit": 64 << 20},
                    "pids": {"limit": 40}, "cpu": {"quota": 40_000, "period": 80_000}
                }),
            );
            let live = t.start(&bundle)?;
            let unit = unit_of(&live)?;
            let memory = if t.facts().unified() { "MemoryMax" } else { "MemoryLimit" };
            same(memory, "67108864", property(&unit, memory).as_str())?;
            same("TasksMax", "40", property(&unit, "TasksMax").as_str())?;
            let quota = property(&unit, "CPUQuotaPerSecUSec");
            same("CPUQuotaPerSecUSec", "500ms", quota.as_str())
        })
        .systemd_only()
        .known(&[crun("keeps them from systemd")]),
        contract("update changes the properties, too", |t| {
            let bundle = t.bundle().args(["sleep", "60"]).set("/linux/resources/pids/limit", 30);
            let live = t.start(&bundle)?;
            t.call_ok(["update", "--pids-limit", "45", live.id()])?;
            same("TasksMax", "45", property(&unit_of(&live)?, "TasksMax").as_str())
        })
        .systemd_only()
        .known(&[crun("keeps limits from systemd")]),
        contract("limits outlive a reload of systemd", |t| {
            let bundle = t.bundle().args(["sleep", "60"]).set("/linux/resources/pids/limit", 30);
            let live = t.start(&bundle)?;
            systemctl(&["daemon-reload"]);
            same("pids.max", "30", live.cgroup(&["pids.max"])?.as_str())
        })
        .systemd_only(),
        contract("annotations org.systemd.property.NAME are properties of the unit", |t| {
            let annotations = json!({"org.systemd.property.TimeoutStopUSec": "uint64 123000000"});
            let bundle = t.bundle().args(["sleep", "60"]).set("/annotations", annotations);
            let live = t.start(&bundle)?;
            same("the property", "2min 3s", property(&unit_of(&live)?, "TimeoutStopUSec").as_str())
        })
        .systemd_only(),
        contract("the unit is gone with the container", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            let unit = unit_of(&live)?;
            live.end()?;
            t.wait_for("no such unit", || match property(&unit, "LoadState") {
                state if state == "not-found" => Ok(()),
                state => Err(state),
            })?;
            let left = cgroups::named(live.id());
            holds(left.is_empty(), "no cgroup", &left)
        })
        .systemd_only(),
    ],
};

fn sleeper(trial: &Trial, path: &str) -> crate::fixture::BundleDir {
    trial.bundle().args(["sleep", "60"]).set("/linux/cgroupsPath", path)
}

/// Every hierarchy that systemd uses has the container there.
fn is_in(live: &Live, place: &str) -> Verdict {
    let groups = super::cgroup_place::own_groups(live)?;
    let own =
        groups.lines().find(|line| line.starts_with("0::") || line.contains(":name=systemd:"));
    let own = own.unwrap_or_default();
    // crun puts a container into a cgroup below the unit's.
    holds(own.contains(place), &format!("a cgroup {place}"), &groups)
}

/// The name of the container's unit.
fn unit_of(live: &Live) -> Result<String, Finding> {
    let groups = super::cgroup_place::own_groups(live)?;
    let unit = groups.split(['/', '\n']).find(|part| part.ends_with(".scope"));
    unit.map(str::to_owned).ok_or_else(|| Finding::fail("a scope", groups.clone()))
}

fn systemctl(words: &[&str]) -> String {
    Capture::of("systemctl").args(words).run().text()
}

fn property(unit: &str, name: &str) -> String {
    systemctl(&["show", "--value", "--property", name, unit])
}

/// A name for a slice, which is stopped in the end: systemd keeps empty ones.
struct Slice(String);

impl Slice {
    fn new() -> Self {
        Self(format!("conform{}", std::process::id()))
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        systemctl(&["stop", &format!("{}.slice", self.0)]);
    }
}
