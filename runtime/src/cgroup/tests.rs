//! Golden plans: a configuration and a host's layout in, the text of the plan out. No root, no cgroup.

use std::path::Path;

use oci_spec::runtime::LinuxResources;

use super::*;

const V1: [&str; 14] = [
    "cpu,cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "rdma",
    "misc",
    "name=systemd",
];

fn hierarchies(names: &[&str]) -> Vec<Hierarchy> {
    let hierarchy = |name: &&str| Hierarchy {
        mount: Path::new("/sys/fs/cgroup").join(name.trim_start_matches("name=")),
        controllers: name.split(',').map(str::to_owned).collect(),
        own: "/user/us".into(),
    };
    names.iter().map(hierarchy).collect()
}

fn unified(mount: &str, controllers: &str) -> Unified {
    Unified {
        mount: mount.into(),
        controllers: controllers.split_whitespace().map(str::to_owned).collect(),
        own: "/user/us".into(),
    }
}

fn v1() -> Layout {
    Layout::Legacy(hierarchies(&V1))
}

fn hybrid() -> Layout {
    let unified = unified("/sys/fs/cgroup/unified", "hugetlb");
    Layout::Hybrid(hierarchies(&["cpu", "memory", "pids", "devices", "name=systemd"]), unified)
}

fn v2() -> Layout {
    Layout::Unified(unified("/sys/fs/cgroup", "cpuset cpu io memory hugetlb pids rdma misc"))
}

fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

fn planned(path: Option<&str>, json: &str, layout: &Layout) -> Result<CgroupPlan, Error> {
    let resources = resources(json);
    let request = Request {
        id: "web",
        path: path.map(Path::new),
        resources: Some(&resources),
        ..Request::default()
    };
    plan(&request, layout, &Options::default())
}

/// The lines of a plan, without the default device rules, which every plan ends with.
fn text(json: &str, layout: &Layout) -> String {
    let plan = planned(Some("/docker/web"), json, layout).unwrap().to_string();
    let (limits, _) = plan.split_once("devices ").unwrap();
    limits.to_owned()
}

fn refusal(json: &str, layout: &Layout) -> String {
    planned(Some("/docker/web"), json, layout).unwrap_err().to_string()
}

const EVERYTHING: &str = r#"{
    "memory": {"limit": 1000, "swap": 3000, "reservation": 500, "kernel": 7, "kernelTCP": 7},
    "cpu": {"shares": 512, "quota": 20000, "period": 50000, "burst": 1000, "idle": 0, "cpus": "0-1", "mems": "0"},
    "pids": {"limit": 30},
    "blockIO": {
        "weight": 100,
        "weightDevice": [{"major": 8, "minor": 0, "weight": 500}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 0}]
    },
    "hugepageLimits": [{"pageSize": "2MB", "limit": 4096}],
    "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}, "mlx4_0": {"hcaObjects": 5}}
}"#;

#[test]
fn all_limits_on_v1() {
    let expected = r#"cgroup /sys/fs/cgroup/cpu,cpuacct/docker/web
  cpu.shares = "512" (/linux/resources/cpu/shares)
  cpu.cfs_period_us = "50000" (/linux/resources/cpu/period)
  cpu.cfs_quota_us = "20000" (/linux/resources/cpu/quota)
  cpu.cfs_burst_us = "1000" (/linux/resources/cpu/burst)
  cpu.idle = "0" (/linux/resources/cpu/idle) if it exists
cgroup /sys/fs/cgroup/cpuset/docker/web
  cpuset.cpus = "0-1" (/linux/resources/cpu/cpus)
  cpuset.mems = "0" (/linux/resources/cpu/mems)
cgroup /sys/fs/cgroup/memory/docker/web
  memory.limit_in_bytes = "1000" (/linux/resources/memory/limit)
  memory.memsw.limit_in_bytes = "3000" (/linux/resources/memory/swap)
  memory.soft_limit_in_bytes = "500" (/linux/resources/memory/reservation)
cgroup /sys/fs/cgroup/devices/docker/web
cgroup /sys/fs/cgroup/freezer/docker/web
cgroup /sys/fs/cgroup/blkio/docker/web
  blkio.weight = "100" (/linux/resources/blockIO/weight) or else
  blkio.bfq.weight = "100" (/linux/resources/blockIO/weight)
  blkio.weight_device = "8:0 500" (/linux/resources/blockIO/weightDevice/0/weight) or else
  blkio.bfq.weight_device = "8:0 500" (/linux/resources/blockIO/weightDevice/0/weight)
  blkio.throttle.read_bps_device = "8:0 600" (/linux/resources/blockIO/throttleReadBpsDevice/0)
  blkio.throttle.write_iops_device = "8:16 0" (/linux/resources/blockIO/throttleWriteIOPSDevice/0)
cgroup /sys/fs/cgroup/pids/docker/web
  pids.max = "30" (/linux/resources/pids/limit)
cgroup /sys/fs/cgroup/hugetlb/docker/web
  hugetlb.2MB.limit_in_bytes = "4096" (/linux/resources/hugepageLimits/0/limit)
  hugetlb.2MB.rsvd.limit_in_bytes = "4096" (/linux/resources/hugepageLimits/0/limit) if it exists
cgroup /sys/fs/cgroup/net_cls/docker/web
cgroup /sys/fs/cgroup/net_prio/docker/web
cgroup /sys/fs/cgroup/perf_event/docker/web
cgroup /sys/fs/cgroup/rdma/docker/web
  rdma.max = "mlx4_0 hca_object=5" (/linux/resources/rdma/mlx4_0)
  rdma.max = "mlx5_1 hca_handle=3 hca_object=10000" (/linux/resources/rdma/mlx5_1)
cgroup /sys/fs/cgroup/misc/docker/web
cgroup /sys/fs/cgroup/systemd/docker/web if permitted
"#;
    assert_eq!(text(EVERYTHING, &v1()), expected);
}

#[test]
fn all_limits_on_v2() {
    let expected = r#"cgroup /sys/fs/cgroup/docker/web
  enable cpuset cpu io memory hugetlb pids rdma misc
  memory.swap.max = "2000" (/linux/resources/memory/swap)
  memory.max = "1000" (/linux/resources/memory/limit)
  memory.low = "500" (/linux/resources/memory/reservation)
  cpu.idle = "0" (/linux/resources/cpu/idle) if it exists
  cpu.weight = "59" (/linux/resources/cpu/shares)
  cpu.max = "20000 50000" (/linux/resources/cpu/quota)
  cpu.max.burst = "1000" (/linux/resources/cpu/burst)
  cpuset.cpus = "0-1" (/linux/resources/cpu/cpus)
  cpuset.mems = "0" (/linux/resources/cpu/mems)
  pids.max = "30" (/linux/resources/pids/limit)
  io.bfq.weight = "100" (/linux/resources/blockIO/weight) or else
  io.weight = "910" (/linux/resources/blockIO/weight)
  io.bfq.weight = "8:0 500" (/linux/resources/blockIO/weightDevice/0/weight) or else
  io.weight = "8:0 4950" (/linux/resources/blockIO/weightDevice/0/weight)
  io.max = "8:0 rbps=600" (/linux/resources/blockIO/throttleReadBpsDevice/0)
  io.max = "8:16 wiops=max" (/linux/resources/blockIO/throttleWriteIOPSDevice/0)
  hugetlb.2MB.max = "4096" (/linux/resources/hugepageLimits/0/limit)
  hugetlb.2MB.rsvd.max = "4096" (/linux/resources/hugepageLimits/0/limit) if it exists
  rdma.max = "mlx4_0 hca_object=5" (/linux/resources/rdma/mlx4_0)
  rdma.max = "mlx5_1 hca_handle=3 hca_object=10000" (/linux/resources/rdma/mlx5_1)
"#;
    assert_eq!(text(EVERYTHING, &v2()), expected);
}

#[test]
fn on_a_hybrid_host_each_limit_goes_where_its_controller_is() {
    let json = r#"{"memory": {"limit": 1000}, "pids": {"limit": -1},
                   "hugepageLimits": [{"pageSize": "1GB", "limit": -1}]}"#;
    let expected = r#"cgroup /sys/fs/cgroup/cpu/docker/web
cgroup /sys/fs/cgroup/memory/docker/web
  memory.limit_in_bytes = "1000" (/linux/resources/memory/limit)
cgroup /sys/fs/cgroup/pids/docker/web
  pids.max = "max" (/linux/resources/pids/limit)
cgroup /sys/fs/cgroup/devices/docker/web
cgroup /sys/fs/cgroup/systemd/docker/web if permitted
cgroup /sys/fs/cgroup/unified/docker/web
  enable hugetlb
  hugetlb.1GB.max = "max" (/linux/resources/hugepageLimits/0/limit)
  hugetlb.1GB.rsvd.max = "max" (/linux/resources/hugepageLimits/0/limit) if it exists
"#;
    assert_eq!(text(json, &hybrid()), expected);
}

#[test]
fn without_limits_a_hybrid_host_enables_nothing() {
    let text = text("{}", &hybrid());
    assert!(text.ends_with("cgroup /sys/fs/cgroup/unified/docker/web if permitted\n"), "{text}");
    assert!(!text.contains("enable"));
}

#[test]
fn without_a_path_the_directory_is_below_our_own_on_v1_and_beside_it_on_v2() {
    let plan = planned(None, "{}", &hybrid()).unwrap();
    let paths = plan.paths();
    let path = |path: &str| Some(Path::new(path).to_owned());
    assert_eq!(
        paths.controller("pids").map(Path::to_owned),
        path("/sys/fs/cgroup/pids/user/us/web")
    );
    assert_eq!(paths.unified().map(Path::to_owned), path("/sys/fs/cgroup/unified/user/web"));
}

#[test]
fn realtime_swappiness_oom_and_network_limits_exist_on_v1() {
    let json = r#"{"memory": {"limit": -1, "swappiness": 60, "disableOOMKiller": true, "useHierarchy": true},
                   "cpu": {"realtimeRuntime": 950000, "realtimePeriod": 1000000},
                   "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 5}]},
                   "blockIO": {"leafWeight": 10}}"#;
    let text = text(json, &v1());
    for line in [
        "cpu.rt_period_us = \"1000000\" (/linux/resources/cpu/realtimePeriod)\n  cpu.rt_runtime_us = \"950000\"",
        "memory.limit_in_bytes = \"-1\" (/linux/resources/memory/limit)\n  memory.memsw.limit_in_bytes = \"-1\" \
         (/linux/resources/memory/limit) if it exists",
        "memory.oom_control = \"1\" (/linux/resources/memory/disableOOMKiller)",
        "memory.use_hierarchy = \"1\" (/linux/resources/memory/useHierarchy)",
        "memory.swappiness = \"60\" (/linux/resources/memory/swappiness)",
        "net_cls.classid = \"1048577\" (/linux/resources/network/classID)",
        "net_prio.ifpriomap = \"eth0 5\" (/linux/resources/network/priorities/0)",
        "blkio.leaf_weight = \"10\" (/linux/resources/blockIO/leafWeight)",
    ] {
        assert!(text.contains(line), "{line}\n--- not in\n{text}");
    }
}

#[test]
fn what_v2_does_not_have_is_refused_by_name() {
    for (json, place) in [
        (r#"{"memory": {"swappiness": 60}}"#, "memory/swappiness"),
        (r#"{"memory": {"disableOOMKiller": true}}"#, "memory/disableOOMKiller"),
        (r#"{"memory": {"swap": 5}}"#, "memory/swap"),
        (r#"{"cpu": {"realtimeRuntime": 1}}"#, "cpu/realtimeRuntime"),
        (r#"{"cpu": {"realtimePeriod": 1}}"#, "cpu/realtimePeriod"),
        (r#"{"blockIO": {"leafWeight": 10}}"#, "blockIO/leafWeight"),
        (
            r#"{"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 10}]}}"#,
            "blockIO/weightDevice/0/leafWeight",
        ),
        (r#"{"network": {"classID": 5}}"#, "network/classID"),
        (r#"{"network": {"priorities": [{"name": "lo", "priority": 1}]}}"#, "network/priorities/0"),
        (r#"{"unified": {"nope.max": "1"}}"#, "unified/nope.max"),
        (r#"{"unified": {"../memory.max": "1"}}"#, "unified/..~1memory.max"),
        (r#"{"unified": {"memory": "1"}}"#, "unified/memory"),
    ] {
        let error = refusal(json, &v2());
        assert!(
            error.contains(&format!("(config.json /linux/resources/{place})")),
            "{json}: {error}"
        );
    }
}

#[test]
fn a_limit_without_its_controller_is_refused_by_name() {
    assert_eq!(
        refusal(r#"{"cpu": {"cpus": "0"}}"#, &hybrid()),
        "cannot set `cpuset.cpus` to `0` (config.json /linux/resources/cpu/cpus): this host has no `cpuset` controller"
    );
    let layout = Layout::Unified(unified("/sys/fs/cgroup", "cpu"));
    assert_eq!(
        refusal(r#"{"memory": {"limit": 4096}}"#, &layout),
        "cannot set `memory.max` to `4096` (config.json /linux/resources/memory/limit): this host has no `memory` \
         controller"
    );
}

#[test]
fn what_asks_for_nothing_needs_no_controller() {
    let nothing = r#"{"memory": {"limit": 0, "swap": 0, "disableOOMKiller": false, "swappiness": 18446744073709551615},
                      "cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": "", "realtimeRuntime": 0},
                      "blockIO": {"weight": 0, "weightDevice": []}, "network": {"classID": 0, "priorities": []},
                      "hugepageLimits": [], "rdma": {}, "unified": {}}"#;
    for layout in [Layout::Legacy(hierarchies(&["devices"])), Layout::Unified(unified("/c", ""))] {
        assert!(!text(nothing, &layout).contains('='), "{layout:?}");
    }
}

#[test]
fn values_out_of_range_are_refused_instead_of_clamped() {
    for (json, words) in [
        (r#"{"cpu": {"shares": 1}}"#, "the minimum allowed cpu-shares is 2"),
        (r#"{"cpu": {"shares": 300000}}"#, "the maximum allowed cpu-shares is 262144"),
        (r#"{"memory": {"swappiness": 101}}"#, "the valid range is 0 to 100"),
        (
            r#"{"memory": {"limit": 100, "swap": 50}}"#,
            "it includes memory, which is limited to 100",
        ),
        (r#"{"hugepageLimits": [{"pageSize": "../2MB", "limit": 1}]}"#, "a page size is a number"),
        (r#"{"unified": {"memory.max": "1"}}"#, "this host has no cgroup v2"),
    ] {
        let error = refusal(json, &v1());
        assert!(error.contains(words), "{json}: {error}");
    }
}

#[test]
fn names_of_v2_itself_come_last_a_write_per_line() {
    let json = r#"{"memory": {"limit": 1000},
                   "unified": {"memory.high": "900", "io.max": "8:0 rbps=1\n8:16 wbps=2", "cgroup.max.depth": "3"}}"#;
    let text = text(json, &v2());
    let expected = r#"
  memory.max = "1000" (/linux/resources/memory/limit)
  cgroup.max.depth = "3" (/linux/resources/unified/cgroup.max.depth)
  io.max = "8:0 rbps=1" (/linux/resources/unified/io.max)
  io.max = "8:16 wbps=2" (/linux/resources/unified/io.max)
  memory.high = "900" (/linux/resources/unified/memory.high)
"#;
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn device_rules_are_files_on_v1_and_a_program_on_v2() {
    let json = r#"{"devices": [{"allow": false, "access": "rwm"},
                               {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}]}"#;
    let devices = |layout: &Layout| {
        let plan = planned(None, json, layout).unwrap().to_string();
        plan.split_once("devices by").unwrap().1.to_owned()
    };
    let expected = r#" files
  devices.deny = "a"
  devices.allow = "c 10:229 rw"
  devices.allow = "c *:* m"
  devices.allow = "b *:* m"
  devices.allow = "c 1:3 rwm"
  devices.allow = "c 1:5 rwm"
  devices.allow = "c 1:7 rwm"
  devices.allow = "c 1:8 rwm"
  devices.allow = "c 1:9 rwm"
  devices.allow = "c 5:0 rwm"
  devices.allow = "c 136:* rwm"
  devices.allow = "c 5:2 rwm"
  devices.allow = "c 10:200 rwm"
"#;
    assert_eq!(devices(&v1()), expected);
    assert!(
        devices(&v2()).contains(" instructions\n  deny a\n  allow c 10:229 rw\n  allow c *:* m\n")
    );
}

#[test]
fn without_anything_to_restrict_devices_with_a_container_is_refused() {
    let error = refusal("{}", &Layout::Legacy(hierarchies(&["memory"])));
    assert!(error.contains("/linux/resources/devices"), "{error}");
}

/// A user's plan, to whom these hierarchies are delegated.
fn users_plan(
    rootless: bool,
    delegated: &[std::path::PathBuf],
    path: Option<&str>,
    json: &str,
) -> Result<CgroupPlan, Error> {
    let resources = resources(json);
    let request = Request {
        id: "web",
        path: path.map(Path::new),
        resources: Some(&resources),
        ..Request::default()
    };
    let options = Options { rootless, delegated: Some(delegated), ..Options::default() };
    plan(&request, &v2(), &options)
}

#[test]
fn rootless_leaves_out_what_is_not_permitted_unless_it_was_asked_for() {
    let members = |path, json| users_plan(true, &[], path, json).unwrap().members.len();
    assert_eq!(members(None, "{}"), 0);
    assert_eq!(members(Some(""), "{}"), 0, "as without one");
    assert_eq!(members(Some("/mine"), "{}"), 1);
    assert_eq!(users_plan(false, &[], None, "{}").unwrap().members.len(), 1, "--rootless false");
    let error = users_plan(true, &[], None, r#"{"pids": {"limit": 5}}"#).unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot set `pids.max` to `5` (config.json /linux/resources/pids/limit): \
         rootless needs no limits + no cgrouppath when no permission is granted for cgroups"
    );
}

#[test]
fn rootless_uses_what_is_delegated_but_for_device_rules() {
    let delegated = [v2().unified().unwrap().mount.clone()];
    let plan = users_plan(true, &delegated, None, r#"{"pids": {"limit": 5}}"#).unwrap();
    assert_eq!(plan.devices, Devices::Inherit);
    assert!(!plan.members[0].optional);
    assert!(users_plan(true, &delegated, None, "{}").unwrap().members[0].optional);
    assert!(!users_plan(true, &delegated, Some("/mine"), "{}").unwrap().members[0].optional);
}

#[test]
fn a_disabled_manager_makes_nothing_and_refuses_limits() {
    let with = |json: &str| {
        let resources = resources(json);
        let request = Request { id: "web", resources: Some(&resources), ..Request::default() };
        let options = Options { manager: Manager::Disabled, ..Options::default() };
        plan(&request, &v1(), &options)
    };
    let plan = with(r#"{"devices": [{"allow": false, "access": "rwm"}]}"#).unwrap();
    assert!(plan.members.is_empty() && plan.paths().is_empty());
    let error = with(r#"{"pids": {"limit": 5}}"#).unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot set `pids.max` to `5` (config.json /linux/resources/pids/limit): cgroups are disabled"
    );
}

#[test]
fn a_failure_is_one_line_in_lower_case_and_its_hint_says_what_to_do() {
    let error = Error::System {
        what: "enable the `memory` controller in cgroup `/x`".into(),
        pointer: "/linux/resources/memory/limit".into(),
        errno: rustix::io::Errno::BUSY,
    };
    let text = error.to_string();
    assert!(
        text.starts_with(
            "cannot enable the `memory` controller in cgroup `/x` (config.json /linux/resources/memory/limit): "
        ),
        "{text}"
    );
    assert_eq!(text.rsplit(": ").next(), Some("resource busy"));
    assert!(error.hint().unwrap().contains("cgroupsPath"));
}

fn by_systemd(
    json: &str,
    layout: &Layout,
    facts: Option<&systemd::Facts>,
) -> Result<CgroupPlan, Error> {
    let resources = resources(json);
    let path = Some(Path::new("machine-pods.slice:libpod:1f"));
    let request = Request { id: "web", path, resources: Some(&resources), ..Request::default() };
    plan(
        &request,
        layout,
        &Options { manager: Manager::Systemd, systemd: facts, ..Options::default() },
    )
}

fn facts(user: bool) -> systemd::Facts {
    let group = if user { "/user.slice/user-7.slice/user@7.service" } else { "/" };
    systemd::Facts { version: 252, user, control_group: group.into() }
}

#[test]
fn with_systemd_limits_are_properties_of_the_unit_and_values_in_its_files() {
    let json = r#"{"memory": {"limit": 1000}, "cpu": {"quota": 1001, "period": 100000}}"#;
    let plan = by_systemd(json, &v2(), Some(&facts(false))).unwrap().to_string();
    let (limits, devices) = plan.split_once("devices by").unwrap();
    let expected = r#"unit libpod-1f.scope of the system's systemd
  Description = "nrun container web"
  Slice = "machine-pods.slice"
  Delegate = true
  CollectMode = "inactive-or-failed"
  DefaultDependencies = false
  MemoryAccounting = true
  CPUAccounting = true
  IOAccounting = true
  TasksAccounting = true
  MemoryMax = 1000
  CPUQuotaPeriodUSec = 100000
  CPUQuotaPerSecUSec = 20000
unit when it is ready
  DeviceAllow = []
  DevicePolicy = "strict"
  DeviceAllow = [("char-*", "m"), ("block-*", "m"), ("/dev/char/1:3", "rwm"), ("/dev/char/1:5", "rwm"), ("/dev/char/1:7", "rwm"), ("/dev/char/1:8", "rwm"), ("/dev/char/1:9", "rwm"), ("/dev/char/5:0", "rwm"), ("char-136", "rwm"), ("/dev/char/5:2", "rwm"), ("/dev/char/10:200", "rwm")]
cgroup /sys/fs/cgroup/machine.slice/machine-pods.slice/libpod-1f.scope
  enable cpuset cpu io memory hugetlb pids rdma misc
  memory.max = "1000" (/linux/resources/memory/limit)
  cpu.max = "2000 100000" (/linux/resources/cpu/quota)
"#;
    assert_eq!(limits, expected);
    assert!(devices.contains("a program of"), "{devices}");
}

#[test]
fn a_users_systemd_has_its_slices_below_its_own_cgroup_and_keeps_no_device_rules() {
    let plan = by_systemd("{}", &v2(), Some(&facts(true))).unwrap();
    let below =
        "user.slice/user-7.slice/user@7.service/machine.slice/machine-pods.slice/libpod-1f.scope";
    assert_eq!(plan.members[0].path, Path::new(below));
    assert!(!plan.members[0].optional, "systemd has made it: it is ours to use");
    assert_eq!(plan.devices, Devices::Inherit);
    assert_eq!(plan.unit.unwrap().devices, []);
    let error = by_systemd("{}", &hybrid(), Some(&facts(true))).unwrap_err().to_string();
    assert!(error.contains("cgroup v1"), "{error}");
}

#[test]
fn on_v1_a_unit_has_a_directory_in_every_hierarchy() {
    let plan = by_systemd("{}", &hybrid(), Some(&facts(false))).unwrap();
    let below = Path::new("machine.slice/machine-pods.slice/libpod-1f.scope");
    assert!(plan.members.iter().all(|member| member.path == below));
    assert_eq!(plan.members.len(), 6);
    let unit = plan.unit.unwrap().to_string();
    assert!(unit.contains("BlockIOAccounting"), "{unit}");
}

#[test]
fn a_scheduler_without_weights_is_what_a_refused_weight_of_a_device_hints_at() {
    let refused = |what: &str| {
        let (pointer, errno) = (String::new(), rustix::io::Errno::OPNOTSUPP);
        Error::System { what: what.into(), pointer, errno }.hint().unwrap()
    };
    assert!(refused("set `blkio.bfq.weight_device` to `8:0 100`").contains("queue/scheduler"));
    assert!(refused("add process 7 to cgroup `/x`").contains("threaded"));
}

#[test]
fn systemd_is_refused_where_it_does_not_run() {
    let error = by_systemd("{}", &v2(), None).unwrap_err();
    let text =
        "systemd cgroup flag passed, but systemd support for managing cgroups is not available";
    assert_eq!(error.to_string(), text);
    assert!(error.hint().is_some());
}

#[test]
fn what_is_delegated_is_below_the_limits_and_only_where_v2_is_alone() {
    let annotations = [("run.oci.delegate-cgroup".to_owned(), "payload".to_owned())].into();
    let asked = |layout: &Layout, manager| {
        let request = Request { id: "web", annotations: Some(&annotations), ..Request::default() };
        plan(&request, layout, &Options { manager, ..Options::default() })
    };
    let planned = asked(&v2(), Manager::Cgroupfs).unwrap();
    assert!(planned.to_string().contains("  delegate payload\n"), "{planned}");
    let directory = planned.paths().unified().unwrap().to_owned();
    assert!(
        directory.ends_with("web"),
        "the container's own is what is frozen, killed and removed"
    );
    for (layout, manager, why) in [
        (v1(), Manager::Cgroupfs, "not supported on cgroup v1"),
        (hybrid(), Manager::Cgroupfs, "not supported on cgroup v1"),
        (v2(), Manager::Disabled, "gets no cgroup of its own"),
    ] {
        let error = asked(&layout, manager).unwrap_err().to_string();
        assert!(error.contains("/annotations/run.oci.delegate-cgroup"), "{error}");
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_limit_of_no_processes_is_one_and_an_absent_limit_is_none() {
    let with = |no_pids_limit| {
        let resources = resources(r#"{"pids": {"limit": 0}}"#);
        let path = Some(Path::new("/web"));
        let request =
            Request { path, resources: Some(&resources), no_pids_limit, ..Request::default() };
        plan(&request, &v2(), &Options::default()).unwrap().to_string()
    };
    assert!(with(false).contains(r#"pids.max = "1""#));
    assert!(!with(true).contains("pids.max"));
}
