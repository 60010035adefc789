//! Golden plans, and a test for each rule about the order of steps. No root is needed: planning is pure.
//!
//! `UPDATE_GOLDEN=1 cargo nextest run -p nrun golden` writes the expected texts anew; the difference is for review.

mod devices;
mod exec;
mod hooks;
mod sd_notify;
mod start;

use super::attributes::Attribute;
use super::op::{Barrier, Op, Step};
use super::{Options, Plan};
use crate::cgroup::{Hierarchy, Layout, Unified};
use crate::error::Error;
use crate::host::{AppArmor, Host};
use serde_json::{Value, json};
use std::path::Path;

/// The config.json of `nrun spec` without a terminal, changed by `edit`, as a plan on `host`.
fn plan(host: &Host, options: &Options, edit: impl FnOnce(&mut Value)) -> Result<Plan, Error> {
    let bundle = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir(bundle.path().join("rootfs")).expect("a directory for the root");
    let mut config: Value = serde_json::from_str(&bundle::generate::to_json(
        &bundle::generate::spec(Default::default()),
    ))
    .expect("a generated config.json");
    config["process"]["terminal"] = json!(false);
    edit(&mut config);
    std::fs::write(bundle.path().join("config.json"), config.to_string()).expect("a file");
    let checked =
        bundle::check(bundle::load(bundle.path()).expect("loads")).expect("has no findings");
    super::create(&checked, host, options)
}

fn options() -> Options {
    Options { id: "c1".into(), await_start: true, ..Options::default() }
}

fn hierarchy(name: &str, controllers: &[&str]) -> Hierarchy {
    Hierarchy {
        mount: Path::new("/sys/fs/cgroup").join(name),
        controllers: controllers.iter().map(ToString::to_string).collect(),
        own: "/".into(),
    }
}

/// A host with v1 hierarchies, two controllers on one mount, and v2 beside them.
fn hybrid() -> Host {
    let hierarchies = vec![
        hierarchy("cpu,cpuacct", &["cpu", "cpuacct"]),
        hierarchy("memory", &["memory"]),
        hierarchy("pids", &["pids"]),
        hierarchy("devices", &["devices"]),
        hierarchy("systemd", &["name=systemd"]),
    ];
    let unified = Unified {
        mount: "/sys/fs/cgroup/unified".into(),
        controllers: Vec::new(),
        own: "/".into(),
    };
    Host { cgroup: Layout::Hybrid(hierarchies, unified), ..Host::for_tests() }
}

/// A host with v2 only.
fn unified() -> Host {
    let controllers = ["cpuset", "cpu", "io", "memory", "pids"].map(str::to_owned).to_vec();
    let unified = Unified { mount: "/sys/fs/cgroup".into(), controllers, own: "/".into() };
    Host { cgroup: Layout::Unified(unified), ..Host::for_tests() }
}

fn golden(name: &str, plan: &Plan) {
    let bundle = plan.sources.first().map(|source| source.path.to_string_lossy().into_owned());
    let root = bundle.unwrap_or_default();
    let directory = root.trim_end_matches("/rootfs");
    let text = plan.to_string().replace(directory, "/bundle");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/plan/golden/{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("the golden file can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{} differs; the plan is now:\n{text}", path.display());
}

fn limits(config: &mut Value) {
    config["linux"]["resources"]["memory"] = json!({"limit": 67_108_864, "swap": 134_217_728});
    config["linux"]["resources"]["cpu"] =
        json!({"shares": 512, "quota": 50_000, "period": 100_000});
    config["linux"]["resources"]["pids"] = json!({"limit": 32});
}

#[test]
fn golden_default_container_on_a_hybrid_host() {
    golden("default-hybrid", &plan(&hybrid(), &options(), |_| {}).unwrap());
}

#[test]
fn golden_default_container_on_v2_with_limits() {
    let edit = |config: &mut Value| {
        limits(config);
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "cgroup"}));
    };
    golden("limits-v2", &plan(&unified(), &options(), edit).unwrap());
}

/// A host with v2 only, that systemd manages.
fn with_systemd() -> Host {
    let facts =
        crate::cgroup::systemd::Facts { version: 252, user: false, control_group: "/".into() };
    Host { systemd: Some(facts), ..unified() }
}

#[test]
fn golden_systemd_makes_the_cgroup_around_the_first_process() {
    let edit = |config: &mut Value| {
        limits(config);
        config["linux"]["cgroupsPath"] = json!("machine.slice:libpod:c1");
        config["annotations"] = json!({
            "org.systemd.property.TimeoutStopSec": "uint64 5",
            "org.systemd.property.After": "['a.service', 'b.service']",
            "run.oci.systemd.subgroup": "container",
        });
    };
    let options = Options { cgroup_manager: crate::cgroup::Manager::Systemd, ..options() };
    golden("systemd", &plan(&with_systemd(), &options, edit).unwrap());
}

#[test]
fn a_container_that_may_write_to_its_cgroup_owns_it_on_v2() {
    let owner = |host: &Host, options: Value, namespaces: &[&str]| {
        let edit = |config: &mut Value| {
            config["process"]["user"] = json!({"uid": 5, "gid": 0});
            let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
            if namespaces.contains(&"user") {
                config["linux"]["uidMappings"] = map.clone();
                config["linux"]["gidMappings"] = map;
            }
            for kind in namespaces {
                let list = config["linux"]["namespaces"].as_array_mut().unwrap();
                list.retain(|namespace| namespace["type"] != **kind);
                list.push(json!({"type": kind}));
            }
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
            mounts.push(json!({"destination": "/sys/fs/cgroup", "type": "cgroup",
                "source": "cgroup", "options": options}));
        };
        plan(host, &Options { id: "c1".into(), ..Options::default() }, edit)
            .unwrap()
            .cgroup
            .unwrap()
            .owner
    };
    let (both, rw) = (["user", "cgroup"], json!(["nosuid"]));
    assert_eq!(owner(&unified(), rw.clone(), &both), Some(100_005));
    assert_eq!(owner(&unified(), json!(["ro"]), &both), None);
    assert_eq!(
        owner(&unified(), rw.clone(), &["cgroup"]),
        None,
        "it is root's, and so is the container"
    );
    assert_eq!(owner(&hybrid(), rw, &both), None, "v1 is not given away");
}

#[test]
fn golden_user_namespace_with_joined_network() {
    let edit = |config: &mut Value| {
        config["linux"]["uidMappings"] =
            json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
        config["linux"]["gidMappings"] =
            json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({"type": "user"}));
        for namespace in namespaces {
            if namespace["type"] == "network" {
                namespace["path"] = json!("/run/netns/blue");
            }
        }
        config["process"]["oomScoreAdj"] = json!(-500);
    };
    golden("user-namespace", &plan(&hybrid(), &options(), edit).unwrap());
}

#[test]
fn golden_terminal_binds_sysctls_and_a_read_only_root() {
    let edit = |config: &mut Value| {
        config["process"]["terminal"] = json!(true);
        config["process"]["user"] =
            json!({"uid": 1000, "gid": 100, "additionalGids": [10, 20], "umask": 7});
        config["process"]["cwd"] = json!("/srv/app");
        config["process"]["env"] = json!(["PATH=/usr/bin:/bin", "HOME=/srv"]);
        config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(json!({"destination": "/data", "source": "/srv/data", "type": "bind",
            "options": ["rbind", "ro", "nosuid", "rnoexec", "rslave"]}));
    };
    golden("terminal-and-binds", &plan(&hybrid(), &options(), edit).unwrap());
}

#[test]
fn golden_mounts_of_every_kind() {
    let edit = |config: &mut Value| {
        let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
        config["linux"]["uidMappings"] = mapping.clone();
        config["linux"]["gidMappings"] = mapping;
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        config["linux"]["mountLabel"] = json!("system_u:object_r:container_file_t:s0:c1,c2");
        let own = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.extend([
            json!({"destination": "/mapped", "source": "/srv/a", "type": "bind", "options": ["rbind", "ridmap", "rro"]}),
            json!({"destination": "/own", "source": "/srv/b", "options": ["bind", "nosuid"],
                "uidMappings": own, "gidMappings": own}),
            json!({"destination": "/var/cache", "type": "tmpfs", "options": ["tmpcopyup", "ro", "size=1m"]}),
            json!({"destination": "/counted", "type": "tmpfs", "options": ["iversion", "mode=700"]}),
            json!({"destination": "/dev/shm", "options": ["remount", "ro", "size=2m"]}),
            json!({"destination": "/sys", "type": "sysfs", "options": ["remount", "ro", "nosuid"]}),
        ]);
    };
    let host = Host { selinux: true, ..hybrid() };
    golden("mounts", &plan(&host, &options(), edit).unwrap());
}

/// An ordinary user without anything that was delegated, and the container of `spec --rootless`.
fn user() -> Host {
    Host { uid: 1000, gid: 1000, capabilities: 0, ..hybrid() }
}

fn rootless_config(config: &mut Value) {
    let options = bundle::generate::Options { rootless: Some((1000, 1000)), ..Default::default() };
    let text = bundle::generate::to_json(&bundle::generate::spec(options));
    *config = serde_json::from_str(&text).expect("a generated config.json");
    config["process"]["terminal"] = json!(false);
}

#[test]
fn golden_rootless_without_delegation() {
    golden("rootless", &plan(&user(), &options(), rootless_config).unwrap());
}

#[test]
fn golden_rootless_with_subordinate_ids_and_a_delegated_cgroup() {
    let mut host = Host { cgroup: unified().cgroup, ..user() };
    if let Layout::Unified(unified) = &mut host.cgroup {
        unified.own = "/user.slice/user-1000.slice/user@1000.service/app.slice/shell.scope".into();
    }
    host.rootless.cgroups = vec!["/sys/fs/cgroup".into()];
    host.rootless.newuidmap = Some("/usr/bin/newuidmap".into());
    host.rootless.newgidmap = Some("/usr/bin/newgidmap".into());
    let edit = |config: &mut Value| {
        rootless_config(config);
        let mapping = json!([{"containerID": 0, "hostID": 1000, "size": 1},
            {"containerID": 1, "hostID": 100_000, "size": 65_536}]);
        config["linux"]["uidMappings"] = mapping.clone();
        config["linux"]["gidMappings"] = mapping;
        config["process"]["user"] = json!({"uid": 5, "gid": 5, "additionalGids": [7]});
        config["linux"]["resources"]["pids"] = json!({"limit": 32});
    };
    golden("rootless-delegated", &plan(&host, &options(), edit).unwrap());
}

#[test]
fn golden_root_of_a_user_namespace() {
    let host = Host { in_user_namespace: true, ..hybrid() };
    golden("nested-root", &plan(&host, &options(), |_| {}).unwrap());
}

#[test]
fn root_of_a_user_namespace_is_shown_the_containers_own_cgroup() {
    let host = Host { in_user_namespace: true, ..unified() };
    let plan = plan(&host, &options(), |_| {}).unwrap();
    let shown = plan.steps.iter().find(|step| step.pointer == "/mounts/6").unwrap();
    assert!(matches!(shown.op, Op::Bind(_)), "{shown:?}");
}

#[test]
fn groups_that_cannot_be_set_are_refused_before_anything_is_made() {
    let edit = |config: &mut Value| {
        rootless_config(config);
        config["process"]["user"]["additionalGids"] = json!([0]);
    };
    let error = plan(&user(), &options(), edit).unwrap_err().to_string();
    assert!(error.starts_with("config.json /process/user/additionalGids: "), "{error}");
}

#[test]
fn a_strict_caller_does_not_go_without_cgroups() {
    let strict = Options { rootless_cgroups: crate::rootless::Cgroups::Strict, ..options() };
    let members = |options: &Options| {
        let plan = plan(&user(), options, rootless_config).unwrap();
        plan.cgroup.map_or(0, |cgroup| cgroup.members.len())
    };
    assert_eq!(members(&options()), 0);
    assert!(members(&strict) > 0);
}

#[test]
fn a_user_is_hidden_before_it_enters_somebody_elses_namespaces_and_after_its_limits() {
    let edit = |config: &mut Value| {
        rootless_config(config);
        config["linux"].as_object_mut().unwrap().retain(|key, _| !key.ends_with("Mappings"));
        config["process"]["oomScoreAdj"] = json!(7);
        for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
            if namespace["type"] == "user" || namespace["type"] == "pid" {
                namespace["path"] = json!("/proc/7/ns/x");
            }
        }
    };
    let plan = plan(&user(), &options(), edit).unwrap();
    let hidden = place(&plan, |op| matches!(op, Op::NotDumpable));
    assert!(last(&plan, |op| matches!(op, Op::WriteProc { .. })) < hidden);
    assert!(hidden < place(&plan, |op| matches!(op, Op::JoinNamespace { .. })));
    assert!(plan.by_parent.is_empty());
}

/// The place of the first step that is wanted.
fn place(plan: &Plan, wanted: impl Fn(&Op) -> bool) -> usize {
    let found = plan.steps.iter().position(|step| wanted(&step.op));
    found.unwrap_or_else(|| panic!("no such step in:\n{plan}"))
}

fn last(plan: &Plan, wanted: impl Fn(&Op) -> bool) -> usize {
    let found = plan.steps.iter().rposition(|step| wanted(&step.op));
    found.unwrap_or_else(|| panic!("no such step in:\n{plan}"))
}

/// A container that has a step of nearly every kind.
fn full() -> Plan {
    let edit = |config: &mut Value| {
        config["process"]["terminal"] = json!(true);
        config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "cgroup"}));
        config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]});
    };
    plan(&hybrid(), &options(), edit).unwrap()
}

#[test]
fn the_cgroup_is_entered_before_its_namespace_is_made() {
    let plan = full();
    assert!(
        place(&plan, |op| matches!(op, Op::JoinCgroup))
            < place(&plan, |op| matches!(op, Op::Unshare(_)))
    );
}

#[test]
fn the_hosts_proc_is_written_before_anything_of_the_container_is_mounted() {
    let plan = full();
    assert!(
        last(&plan, |op| matches!(op, Op::WriteProc { .. }))
            < place(&plan, |op| matches!(op, Op::Root { .. }))
    );
}

#[test]
fn propagation_is_cut_before_the_first_mount() {
    let plan = full();
    assert!(
        place(&plan, |op| matches!(op, Op::Propagation { .. }))
            < place(&plan, |op| matches!(op, Op::Root { .. }))
    );
}

#[test]
fn the_terminal_comes_after_its_devpts_and_before_the_pivot() {
    let plan = full();
    let console = place(&plan, |op| matches!(op, Op::Console(_)));
    assert!(last(&plan, |op| matches!(op, Op::Mount(_))) < console);
    assert!(console < place(&plan, |op| matches!(op, Op::Pivot { .. })));
}

#[test]
fn nodes_are_made_with_a_umask_of_zero() {
    let plan = full();
    assert!(
        place(&plan, |op| matches!(op, Op::Umask(0)))
            < place(&plan, |op| matches!(op, Op::Device(_)))
    );
}

#[test]
fn paths_are_protected_after_the_pivot_and_the_root_last() {
    let plan = full();
    let pivot = place(&plan, |op| matches!(op, Op::Pivot { .. }));
    let root = place(&plan, |op| matches!(op, Op::ReadOnlyRoot));
    assert!(pivot < place(&plan, |op| matches!(op, Op::ReadOnly { .. })));
    assert!(
        last(&plan, |op| matches!(op, Op::ReadOnly { .. }))
            < place(&plan, |op| matches!(op, Op::Mask { .. }))
    );
    assert!(last(&plan, |op| matches!(op, Op::Mask { .. })) < root);
}

#[test]
fn a_missing_program_is_found_before_create_returns() {
    let plan = full();
    let find = place(&plan, |op| matches!(op, Op::FindExecutable { .. }));
    assert!(
        place(&plan, |op| matches!(op, Op::Capabilities(_))) < find,
        "with the container's own rights"
    );
    assert!(find < place(&plan, |op| matches!(op, Op::Wait(Barrier::Ready))));
}

#[test]
fn the_filter_is_the_last_thing_before_the_exec() {
    let plan = full();
    let [.., close, seccomp, exec] = &plan.steps[..] else { panic!("{plan}") };
    assert!(matches!(close.op, Op::CloseFds { first: 3 }));
    assert!(matches!(seccomp.op, Op::Seccomp { .. }));
    assert!(matches!(exec.op, Op::Exec { .. }));
}

#[test]
fn in_a_user_namespace_limits_are_set_by_the_parent_before_the_child_is_hidden() {
    let edit = |config: &mut Value| {
        config["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        config["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    };
    let rootless = Host { uid: 1000, gid: 1000, capabilities: 0, ..hybrid() };
    let plan = plan(&rootless, &options(), edit).unwrap();
    assert!(plan.by_parent.iter().any(|step| matches!(step.op, Op::Rlimit { .. })));
    assert!(!plan.steps.iter().any(|step| matches!(step.op, Op::Rlimit { .. })));
    let maps = place(&plan, |op| matches!(op, Op::Wait(Barrier::Maps)));
    assert!(maps < place(&plan, |op| matches!(op, Op::NotDumpable)));
}

#[test]
fn with_privilege_the_child_is_hidden_before_it_enters_anything() {
    let plan = full();
    assert!(
        place(&plan, |op| matches!(op, Op::NotDumpable))
            < place(&plan, |op| matches!(op, Op::JoinCgroup))
    );
}

#[test]
fn file_systems_become_read_only_after_everything_is_in_them() {
    let edit = |config: &mut Value| {
        config["mounts"][1]["options"].as_array_mut().unwrap().push(json!("ro"));
    };
    let plan = plan(&hybrid(), &options(), edit).unwrap();
    let read_only = place(&plan, |op| matches!(op, Op::ReadOnlyMounts));
    assert!(last(&plan, |op| matches!(op, Op::Device(_) | Op::Symlink { .. })) < read_only);
    assert!(place(&plan, |op| matches!(op, Op::Pivot { .. })) < read_only);
    assert!(read_only < place(&plan, |op| matches!(op, Op::ReadOnlyRoot)));
}

/// Asks for every attribute of a process that there is.
fn attributes(config: &mut Value) {
    let wanted = json!({
        "process": {
            "scheduler": {"policy": "SCHED_DEADLINE", "flags": ["SCHED_FLAG_RESET_ON_FORK"],
                "runtime": 42_000, "deadline": 100_000, "period": 1_000_000},
            "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
            "execCPUAffinity": {"initial": "0", "final": "1-3"},
            "apparmorProfile": "acme",
            "selinuxLabel": "system_u:system_r:container_t:s0"
        },
        "linux": {
            "personality": {"domain": "LINUX32"},
            "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0,64", "flags": ["MPOL_F_STATIC_NODES"]},
            "netDevices": {"eth1": {}, "eth0": {"name": "ctr%d"}}
        },
        "annotations": {"run.oci.keep_original_groups": "1"}
    });
    merge(config, &wanted);
}

fn add_user_namespace(config: &mut Value) {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
}

#[test]
fn golden_attributes_of_a_process() {
    golden("attributes", &plan(&hybrid(), &options(), attributes).unwrap());
}

#[test]
fn labels_are_written_before_anything_of_somebody_else_can_be_in_the_way() {
    let plan = plan(&hybrid(), &options(), |config| {
        attributes(config);
        for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
            if namespace["type"] == "mount" {
                namespace["path"] = json!("/proc/7/ns/mnt");
            }
        }
    })
    .unwrap();
    let label = last(&plan, |op| matches!(op, Op::Attribute(Attribute::Label(_))));
    assert!(label < place(&plan, |op| matches!(op, Op::JoinNamespace { .. })));
    assert!(label < place(&plan, |op| matches!(op, Op::Root { .. })));
}

#[test]
fn with_a_user_namespace_the_parent_schedules_and_the_child_does_not() {
    let edit = |config: &mut Value| {
        attributes(config);
        add_user_namespace(config);
    };
    let plan = plan(&hybrid(), &options(), edit).unwrap();
    let scheduler = |step: &Step| matches!(step.op, Op::Attribute(Attribute::Scheduler { .. }));
    assert!(plan.scheduled_by_parent.iter().any(scheduler));
    assert!(!plan.steps.iter().any(scheduler));
}

#[test]
fn the_process_is_scheduled_while_it_has_the_privilege_and_after_the_last_fork() {
    let plan = plan(&hybrid(), &options(), |config| {
        attributes(config);
        for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
            if namespace["type"] == "pid" {
                namespace["path"] = json!("/proc/7/ns/pid");
            }
        }
    })
    .unwrap();
    let scheduler = place(&plan, |op| matches!(op, Op::Attribute(Attribute::Scheduler { .. })));
    assert!(place(&plan, |op| matches!(op, Op::Fork { .. })) < scheduler);
    assert!(scheduler < place(&plan, |op| matches!(op, Op::Capabilities(_))));
}

#[test]
fn network_devices_are_there_before_kernel_parameters_are_set() {
    let plan = plan(&hybrid(), &options(), |config| {
        attributes(config);
        config["linux"]["sysctl"] = json!({"net.ipv4.conf.eth1.forwarding": "1"});
    })
    .unwrap();
    assert!(
        place(&plan, |op| matches!(op, Op::Wait(Barrier::NetDevices)))
            < place(&plan, |op| matches!(op, Op::WriteProc { .. }))
    );
}

#[test]
fn what_the_host_does_not_have_is_refused_by_name() {
    let bare =
        Host { apparmor: AppArmor::Disabled, selinux: false, memory_policies: false, ..hybrid() };
    let rootless = Host { uid: 1000, gid: 1000, capabilities: 0, ..hybrid() };
    let refused = [
        (&bare, "/process/apparmorProfile", json!({"process": {"apparmorProfile": "x"}})),
        (&bare, "/process/selinuxLabel", json!({"process": {"selinuxLabel": "x"}})),
        (&bare, "/linux/memoryPolicy", json!({"linux": {"memoryPolicy": {"mode": "MPOL_LOCAL"}}})),
        (
            &bare,
            "/process/scheduler/policy",
            json!({"process": {"scheduler": {"policy": "SCHED_ISO"}}}),
        ),
        (&rootless, "/linux/netDevices", json!({"linux": {"netDevices": {"eth0": {}}}})),
    ];
    for (host, pointer, wanted) in refused {
        let edit = |config: &mut Value| {
            merge(config, &wanted);
            if host.uid != 0 {
                add_user_namespace(config);
                let own = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
                config["linux"]["uidMappings"] = own.clone();
                config["linux"]["gidMappings"] = own;
            }
        };
        let error = plan(host, &options(), edit).unwrap_err().to_string();
        assert!(error.starts_with(&format!("config.json {pointer}: ")), "{error}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    let refused = [("/linux/intelRdt", json!({"linux": {"intelRdt": {"closID": "class"}}}))];
    for (pointer, wanted) in refused {
        let edit = |config: &mut Value| merge(config, &wanted);
        let error = plan(&hybrid(), &options(), edit).unwrap_err().to_string();
        assert!(error.starts_with(&format!("config.json {pointer}: ")), "{error}");
    }
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}
