//! Changing the limits of a container that exists: decided purely, as a list of (file, value), then written in one go.
//!
//! The tables are those that the limits were made from. They are asked twice, for the resources as they were and as they are to
//! be: what is written is what comes out differently, and whatever was asked for by name. So a value that depends on two limits
//! follows when one of them changes, and nothing else is touched. Device rules never are. What cannot be set is taken back as
//! a whole: a container has its new limits or its old ones.

use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxResources;
use rustix::io::Errno;

use super::plan::{Member, OnMissing, Version, Write, place_limits};
use super::{Cgroup, Error, Paths, files, v1};

/// What is changed about a container's limits.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    /// The resources as they were.
    pub old: &'a LinuxResources,
    /// The resources as they are to be, those that stay included.
    pub new: &'a LinuxResources,
    /// Whether the value at a JSON pointer, such as `/memory/limit`, was asked for: it is written even where it does not change.
    pub asked: &'a dyn Fn(&str) -> bool,
    /// The container is a unit of systemd's.
    pub in_unit: bool,
}

/// The writes that change the limits.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UpdatePlan {
    /// A directory, and what is written there, in this order.
    pub directories: Vec<(PathBuf, Vec<Write>)>,
}

/// Where all pointers of the tables begin.
const RESOURCES: &str = "/linux/resources";

/// Files whose value comes from two limits.
const COUPLED: [(&str, [&str; 2]); 2] = [
    ("cpu.max", ["/cpu/quota", "/cpu/period"]),
    ("memory.swap.max", ["/memory/swap", "/memory/limit"]),
];

/// Decides what is written where. `available` are the controllers of the container's directory on v2.
///
/// # Errors
/// When a limit that is asked for has no controller, or cannot be kept; nothing was changed.
pub fn plan_update(
    change: &Change<'_>,
    paths: &Paths,
    available: &[String],
) -> Result<UpdatePlan, Error> {
    let writes = |resources| {
        let mut members = members(paths);
        place_limits(resources, &mut members, available, "the container's cgroup", change.in_unit)?;
        Ok(members)
    };
    let mut new = writes(change.new).map_err(Error::in_resources)?;
    enable_oom_killer(change, &mut new);
    // Limits that could not be planned now were never set: all that is asked for differs from them.
    let old = writes(change.old).unwrap_or_else(|_: Error| members(paths));
    let mut directories = Vec::new();
    for (new, old) in new.into_iter().zip(&old) {
        let directory = new.mount.clone();
        let wanted = |write: &Write| is_asked(change, write) || !old.writes.contains(write);
        let writes: Vec<Write> = new.writes.into_iter().filter(wanted).collect();
        if !writes.is_empty() {
            directories.push((directory, writes));
        }
    }
    Ok(UpdatePlan { directories })
}

fn members(paths: &Paths) -> Vec<Member> {
    let member = |version, mount: &Path, controllers| Member {
        version,
        mount: mount.to_owned(),
        path: PathBuf::new(),
        controllers,
        writes: Vec::new(),
        optional: false,
    };
    let v1 = paths
        .legacy()
        .into_iter()
        .map(|directory| member(Version::V1, directory, paths.controllers_of(directory)));
    let v2 = paths.unified().map(|directory| member(Version::V2, directory, Vec::new()));
    v1.chain(v2).collect()
}

/// Where it was disabled before. When a container is made, `false` is what its cgroup has anyway, and most engines say it.
fn enable_oom_killer(change: &Change<'_>, members: &mut [Member]) {
    let disabled = change.new.memory().as_ref().and_then(|memory| memory.disable_oom_killer());
    let has_memory = |member: &&mut Member| {
        member.version == Version::V1 && member.controllers.iter().any(|name| name == "memory")
    };
    if disabled == Some(false)
        && (change.asked)("/memory/disableOOMKiller")
        && let Some(member) = members.iter_mut().find(has_memory)
    {
        member.writes.push(v1::oom_killer(false));
    }
}

fn is_asked(change: &Change<'_>, write: &Write) -> bool {
    let coupled = COUPLED.iter().find(|(file, _)| *file == write.file);
    match (coupled, write.pointer.strip_prefix(RESOURCES)) {
        (Some((_, pointers)), _) => pointers.iter().any(|pointer| (change.asked)(pointer)),
        (None, Some(pointer)) => (change.asked)(pointer),
        (None, None) => false,
    }
}

impl Cgroup {
    /// The controllers of the container's directory on v2; none where there is no such directory.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn controllers(&self) -> Result<Vec<String>, Error> {
        let Some(directory) = self.paths.unified() else { return Ok(Vec::new()) };
        let list = files::read(directory, "cgroup.controllers").map_err(|errno| {
            Error::system(format!("read `{}/cgroup.controllers`", directory.display()), errno)
        })?;
        Ok(list.split_whitespace().map(str::to_owned).collect())
    }

    /// Writes the new limits, and returns what there was before. On failure the files have their former values again.
    ///
    /// # Errors
    /// The first value that the kernel did not take; [`Error::HalfChanged`] when a former one could not be put back either.
    pub fn update(&self, plan: &UpdatePlan) -> Result<Former, Error> {
        let mut changed = Former(Vec::new());
        for (directory, writes) in &plan.directories {
            let former: Vec<Option<Write>> =
                writes.iter().map(|write| former(directory, write)).collect();
            let mut written = Vec::new();
            let result = super::create::apply_noting(directory, writes, &mut written);
            let of = |index: usize| Some((directory.clone(), former[index].clone()?));
            changed.0.extend(written.into_iter().filter_map(of));
            if let Err(error) = result {
                let error = in_use(directory, error).in_resources();
                return Err(match changed.put_back() {
                    Ok(()) => error,
                    Err(undo) => {
                        Error::HalfChanged { error: Box::new(error), undo: Box::new(undo) }
                    }
                });
            }
        }
        Ok(changed)
    }
}

/// What files held before they were changed, in this order.
#[derive(Debug)]
pub struct Former(Vec<(PathBuf, Write)>);

impl Former {
    /// Puts it back, the last first. Goes on after a failure; what the kernel refuses because of a value that is put back later is tried
    /// once more at the end.
    ///
    /// # Errors
    /// The first value that the kernel did not take.
    pub fn put_back(self) -> Result<(), Error> {
        let mut left: Vec<_> = self.0.into_iter().rev().collect();
        let mut undone = Ok(());
        for _ in 0..2 {
            undone = Ok(());
            left.retain(|(directory, write)| {
                let result = super::create::apply(directory, std::slice::from_ref(write));
                let failed = result.is_err();
                if undone.is_ok() {
                    undone = result.map_err(Error::in_resources);
                }
                failed
            });
        }
        undone
    }
}

/// What the file of a write holds now, as a write.
fn former(directory: &Path, write: &Write) -> Option<Write> {
    let mut content = files::read_all(directory, &write.file).ok()?;
    let effective = format!("{}.effective", write.file);
    if content.trim().is_empty()
        && let Ok(list) = files::read_all(directory, &effective)
    {
        // v2: a cpuset without a list has its parent's, and takes no empty one while it has processes.
        content = list;
    }
    let value = former_value(&write.file, &write.value, &content)?;
    Some(Write { value, on_missing: OnMissing::Skip, ..write.clone() })
}

/// What has to be written to a file to undo a write of `value`. Some files hold a line for each device, interface or resource, and take
/// one at a time; what has no line is not limited.
fn former_value(file: &str, value: &str, content: &str) -> Option<String> {
    let unlimited = match file {
        "io.max" => "rbps=max wbps=max riops=max wiops=max",
        "rdma.max" => "hca_handle=max hca_object=max",
        "blkio.weight_device" | "blkio.bfq.weight_device" => "default",
        _ if file.starts_with("blkio.throttle.") => "0",
        "io.weight" | "io.bfq.weight" if value.contains(' ') => "default",
        "io.weight" | "io.bfq.weight" => {
            let own = content.lines().find_map(|line| line.strip_prefix("default "));
            return Some(own.unwrap_or(content.trim()).to_owned());
        }
        "net_prio.ifpriomap" => "0",
        "misc.max" => "max",
        "memory.oom_control" => {
            let own = content.lines().find_map(|line| line.strip_prefix("oom_kill_disable "));
            return own.map(str::to_owned);
        }
        _ => return Some(content.trim().to_owned()).filter(|value| !value.is_empty()),
    };
    let device = value.split(' ').next()?;
    let line = content.lines().find(|line| line.split(' ').next() == Some(device));
    Some(line.map_or_else(|| format!("{device} {unlimited}"), str::to_owned))
}

/// v1 refuses a memory limit below what cannot be reclaimed: how much that is tells what would be possible. The words are runc's.
fn in_use(directory: &Path, error: Error) -> Error {
    let Error::System { what, pointer, errno: Errno::BUSY } = &error else { return error };
    let read = |file| files::read(directory, file).ok().map(|text| text.trim().to_owned());
    match (read("memory.usage_in_bytes"), read("memory.max_usage_in_bytes")) {
        (Some(usage), Some(peak)) if pointer.ends_with("/memory/limit") => {
            let why = format!("too much is in use (current usage: {usage}, peak usage: {peak})");
            Error::refused(what, pointer, why)
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "cpuset cpu io memory hugetlb pids rdma";

    fn v1() -> Paths {
        let mut paths = Paths::default();
        for names in ["cpu,cpuacct", "cpuset", "memory", "blkio", "pids", "freezer"] {
            let controllers: Vec<String> = names.split(',').map(str::to_owned).collect();
            paths.insert(&controllers, &Path::new("/sys/fs/cgroup").join(names).join("web"));
        }
        paths
    }

    fn v2() -> Paths {
        let mut paths = Paths::default();
        paths.insert(&[], Path::new("/sys/fs/cgroup/web"));
        paths
    }

    fn resources(json: &str) -> LinuxResources {
        serde_json::from_str(json).unwrap()
    }

    fn planned(old: &str, new: &str, asked: &[&str], paths: &Paths) -> Result<UpdatePlan, Error> {
        let change = Change {
            old: &resources(old),
            new: &resources(new),
            asked: &|pointer| asked.contains(&pointer),
            in_unit: false,
        };
        let available: Vec<String> = V2.split(' ').map(str::to_owned).collect();
        plan_update(&change, paths, &available)
    }

    /// `directory/file = value`, one a line.
    fn text(old: &str, new: &str, asked: &[&str], paths: &Paths) -> Vec<String> {
        let plan = planned(old, new, asked, paths).unwrap();
        let mut lines = Vec::new();
        for (directory, writes) in plan.directories {
            let directory = directory.display().to_string();
            let directory = directory.trim_start_matches("/sys/fs/cgroup/");
            lines.extend(
                writes.iter().map(|write| format!("{directory}/{} = {}", write.file, write.value)),
            );
        }
        lines
    }

    const OLD: &str = r#"{"memory": {"limit": 100, "swap": 300, "reservation": 50},
        "cpu": {"shares": 512, "quota": 20000, "period": 50000, "cpus": "0"}, "pids": {"limit": 20}}"#;

    #[test]
    fn only_what_is_asked_for_is_written() {
        let new = OLD.replace(r#""limit": 20"#, r#""limit": 30"#);
        assert_eq!(text(OLD, &new, &["/pids/limit"], &v1()), ["pids/web/pids.max = 30"]);
        assert_eq!(text(OLD, &new, &["/pids/limit"], &v2()), ["web/pids.max = 30"]);
        // The same once more: somebody else may have changed it.
        assert_eq!(text(OLD, OLD, &["/pids/limit"], &v2()), ["web/pids.max = 20"]);
        assert!(text(OLD, OLD, &[], &v1()).is_empty());
    }

    #[test]
    fn a_value_of_two_limits_follows_either() {
        let new = OLD.replace(r#""limit": 100"#, r#""limit": 200"#);
        let limit = &["/memory/limit"];
        let swap_first = ["web/memory.swap.max = 100", "web/memory.max = 200"];
        assert_eq!(text(OLD, &new, limit, &v2()), swap_first);
        assert_eq!(text(OLD, &new, limit, &v1()), ["memory/web/memory.limit_in_bytes = 200"]);
        let new = OLD.replace("50000", "90000");
        let period = &["/cpu/period"];
        assert_eq!(text(OLD, &new, period, &v2()), ["web/cpu.max = 20000 90000"]);
        assert_eq!(text(OLD, &new, period, &v1()), ["cpu,cpuacct/web/cpu.cfs_period_us = 90000"]);
        assert_eq!(text(OLD, OLD, period, &v2()), ["web/cpu.max = 20000 50000"]);
    }

    #[test]
    fn a_period_or_quota_alone_has_the_kernels_default_for_the_other() {
        let text = |new| text("{}", new, &[], &v2());
        assert_eq!(text(r#"{"cpu": {"period": 50000}}"#), ["web/cpu.max = max 50000"]);
        assert_eq!(text(r#"{"cpu": {"quota": 30000}}"#), ["web/cpu.max = 30000 100000"]);
        assert_eq!(text(r#"{"cpu": {"quota": -1, "period": 7}}"#), ["web/cpu.max = max 7"]);
    }

    #[test]
    fn no_limit_on_memory_is_none_on_swap() {
        let new = r#"{"memory": {"limit": -1}}"#;
        let asked = &["/memory/limit"];
        assert_eq!(
            text(OLD, new, asked, &v1()),
            [
                "memory/web/memory.limit_in_bytes = -1",
                "memory/web/memory.memsw.limit_in_bytes = -1"
            ]
        );
        assert_eq!(
            text(OLD, new, asked, &v2()),
            ["web/memory.swap.max = max", "web/memory.max = max"]
        );
    }

    #[test]
    fn every_limit_on_both_versions() {
        let new = r#"{"memory": {"limit": 1000, "swap": 1000, "reservation": 500},
            "cpu": {"shares": 200, "quota": 1, "period": 2, "burst": 3, "idle": 0, "cpus": "1", "mems": "0"},
            "blockIO": {"weight": 100, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 9}]}}"#;
        let v1 = text(
            "{}",
            &new.replace(r#""idle""#, r#""realtimePeriod": 5, "realtimeRuntime": 4, "idle""#),
            &[],
            &v1(),
        );
        let expected = "blkio/web/blkio.weight = 100
blkio/web/blkio.bfq.weight = 100
blkio/web/blkio.throttle.read_bps_device = 8:0 9
cpu,cpuacct/web/cpu.shares = 200
cpu,cpuacct/web/cpu.rt_period_us = 5
cpu,cpuacct/web/cpu.rt_runtime_us = 4
cpu,cpuacct/web/cpu.cfs_period_us = 2
cpu,cpuacct/web/cpu.cfs_quota_us = 1
cpu,cpuacct/web/cpu.cfs_burst_us = 3
cpu,cpuacct/web/cpu.idle = 0
cpuset/web/cpuset.cpus = 1
cpuset/web/cpuset.mems = 0
memory/web/memory.limit_in_bytes = 1000
memory/web/memory.memsw.limit_in_bytes = 1000
memory/web/memory.soft_limit_in_bytes = 500";
        assert_eq!(v1.join("\n"), expected);
        let v2 = text("{}", new, &[], &v2());
        let expected = "web/memory.swap.max = 0
web/memory.max = 1000
web/memory.low = 500
web/cpu.idle = 0
web/cpu.weight = 29
web/cpu.max = 1 2
web/cpu.max.burst = 3
web/cpuset.cpus = 1
web/cpuset.mems = 0
web/io.bfq.weight = 100
web/io.weight = 910
web/io.max = 8:0 rbps=9";
        assert_eq!(v2.join("\n"), expected);
    }

    #[test]
    fn what_the_container_has_no_controller_for_is_refused_by_its_own_pointer() {
        for (paths, new, message) in [
            (
                v1(),
                r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}"#,
                "cannot set `hugetlb.2MB.limit_in_bytes` to `1` (resources /hugepageLimits/0/limit): the container's cgroup \
                 has no `hugetlb` controller",
            ),
            (
                v2(),
                r#"{"unified": {"misc.max": "a 1"}}"#,
                "cannot set `misc.max` to `a 1` (resources /unified/misc.max): the container's cgroup has no `misc` \
                 controller on cgroup v2",
            ),
            (
                Paths::default(),
                r#"{"memory": {"limit": 5}}"#,
                "cannot set `memory.limit_in_bytes` to `5` (resources /memory/limit): the container's cgroup has no \
                 `memory` controller",
            ),
            (
                v2(),
                r#"{"memory": {"swap": 5}}"#,
                "cannot limit memory and swap to 5 (resources /memory/swap): no memory limit is given to take it from",
            ),
            (
                v2(),
                r#"{"cpu": {"realtimePeriod": 5}}"#,
                "cannot set a realtime budget (resources /cpu/realtimePeriod): cgroup v2 has no such limit",
            ),
        ] {
            let error = planned("{}", new, &[], &paths).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn former_values_are_in_the_form_in_which_they_can_be_written() {
        for (file, value, content, former) in [
            ("pids.max", "5", "max\n", "max"),
            ("cpu.max", "1 2", "20000 100000\n", "20000 100000"),
            (
                "io.max",
                "8:0 rbps=5",
                "8:16 rbps=1 wbps=max\n8:0 rbps=7 wbps=max\n",
                "8:0 rbps=7 wbps=max",
            ),
            ("io.max", "8:0 rbps=5", "", "8:0 rbps=max wbps=max riops=max wiops=max"),
            ("blkio.throttle.read_bps_device", "8:0 5", "8:0 600\n", "8:0 600"),
            ("blkio.throttle.read_bps_device", "8:0 5", "8:16 600\n", "8:0 0"),
            ("io.weight", "5", "default 100\n8:0 7\n", "100"),
            ("io.weight", "8:0 5", "default 100\n8:0 7\n", "8:0 7"),
            ("io.bfq.weight", "8:0 5", "default 100\n", "8:0 default"),
            (
                "rdma.max",
                "mlx hca_handle=1",
                "mlx hca_handle=2 hca_object=max\n",
                "mlx hca_handle=2 hca_object=max",
            ),
            ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "0"),
            ("net_prio.ifpriomap", "eth0 5", "lo 1\neth0 2\n", "eth0 2"),
            ("misc.max", "sev 5", "sev_es max\nsev 9\n", "sev 9"),
            ("misc.max", "sev 5", "", "sev max"),
        ] {
            assert_eq!(
                former_value(file, value, content).as_deref(),
                Some(former),
                "{file} {value}"
            );
        }
        assert_eq!(former_value("cpuset.cpus", "0", "\n"), None);
    }

    #[test]
    fn a_cpuset_that_had_no_list_gets_what_was_in_force() {
        let directory = tempfile::tempdir().unwrap();
        let put = |file, text| std::fs::write(directory.path().join(file), text).unwrap();
        let write = Write::new("cpuset.cpus", "0", "/linux/resources/cpu/cpus");
        let value = || former(directory.path(), &write).map(|write| write.value);
        put("cpuset.cpus", "\n");
        assert_eq!(value(), None, "v1 has no such file");
        put("cpuset.cpus.effective", "0-3\n");
        assert_eq!(value().as_deref(), Some("0-3"));
        put("cpuset.cpus", "1\n");
        assert_eq!(value().as_deref(), Some("1"));
        put("io.max", "");
        let write = Write::new("io.max", "8:0 rbps=5", "/linux/resources/blockIO");
        assert!(former(directory.path(), &write).is_some(), "empty without limits");
    }

    #[test]
    fn only_what_was_written_is_put_back() {
        let directory = tempfile::tempdir().unwrap();
        let read = |file| std::fs::read_to_string(directory.path().join(file)).unwrap();
        for file in ["a", "c"] {
            std::fs::write(directory.path().join(file), "1").unwrap();
        }
        let write = |file: &'static str| Write::new(file, 2, format!("{RESOURCES}/{file}"));
        let writes = ["a", "b", "c"].map(write).to_vec();
        let plan = UpdatePlan { directories: vec![(directory.path().to_owned(), writes)] };
        let mut written = Vec::new();
        let (path, writes) = &plan.directories[0];
        super::super::create::apply_noting(path, writes, &mut written).unwrap_err();
        assert_eq!((written, read("a"), read("c")), (vec![0], "2".into(), "1".into()));
        std::fs::write(directory.path().join("a"), "1").unwrap();
        let error = Cgroup::open(Paths::default()).update(&plan).unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
        assert_eq!((read("a"), read("c")), ("1".into(), "1".into()));
    }

    #[test]
    fn the_oom_killer_is_enabled_again_where_that_is_asked_for() {
        let (disabled, enabled) = (
            r#"{"memory": {"disableOOMKiller": true}}"#,
            r#"{"memory": {"disableOOMKiller": false}}"#,
        );
        let asked = &["/memory/disableOOMKiller"];
        assert_eq!(text(disabled, enabled, asked, &v1()), ["memory/web/memory.oom_control = 0"]);
        assert!(text(disabled, enabled, &[], &v1()).is_empty());
        assert!(text(disabled, enabled, asked, &v2()).is_empty(), "v2 cannot disable it");
    }
}
