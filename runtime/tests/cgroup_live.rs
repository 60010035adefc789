//! Cgroups on the running kernel, as root. Each test makes cgroups of its own (`/nrun-test-<pid>-...`) and removes them.
//!
//! What is expected follows from the layout that is found: v1, hybrid or v2. On a hybrid host, tests that depend on the
//! version run again as if one of its two parts were not there.

use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nrun::cgroup::{
    Cgroup, CgroupPlan, Error, Layout, Mark, Options, Paths, Request, Subgroups, Unified, plan,
    probe,
};
use nrun::id::ContainerId;
use nrun::record::{Saved, Slot};
use oci_spec::runtime::LinuxResources;
use rustix::io::Errno;
use rustix::process::Pid;

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// Layouts to test with: the host's, and its v1 part alone.
fn layouts() -> Vec<Layout> {
    assert!(rustix::process::geteuid().is_root(), "this test needs root");
    let layout = probe().unwrap();
    let v1 = match &layout {
        Layout::Hybrid(hierarchies, _) => Some(Layout::Legacy(hierarchies.clone())),
        Layout::Legacy(_) | Layout::Unified(_) => None,
    };
    std::iter::once(layout).chain(v1).collect()
}

/// The same, and the v2 part of a hybrid host alone, which has no controllers worth the name.
fn layouts_for_no_limits() -> Vec<Layout> {
    let mut layouts = layouts();
    if let Layout::Hybrid(_, unified) = &layouts[0] {
        layouts.push(Layout::Unified(Unified { controllers: Vec::new(), ..unified.clone() }));
    }
    layouts
}

fn is_v2(layout: &Layout) -> bool {
    matches!(layout, Layout::Unified(_))
}

/// A name that no other test uses.
fn name(test: &str) -> String {
    format!("/nrun-test-{}-{test}", std::process::id())
}

fn planned(name: &str, json: &str, layout: &Layout) -> CgroupPlan {
    let resources: LinuxResources = serde_json::from_str(json).unwrap();
    let path = Some(Path::new(name));
    let request = Request { path, resources: Some(&resources), ..Request::default() };
    plan(&request, layout, &Options::default()).unwrap()
}

fn mark() -> Mark {
    Mark::new("c", "2026-01-01T00:00:00Z")
}

/// A cgroup that is killed and removed at the end of the test, however it ends.
struct Owned(Option<Cgroup>);

impl Owned {
    fn create(name: &str, json: &str, layout: &Layout) -> Owned {
        Owned::make(&planned(name, json, layout))
    }

    fn make(plan: &CgroupPlan) -> Owned {
        Owned(Some(Cgroup::create(plan, mark()).unwrap()))
    }
}

impl std::ops::Deref for Owned {
    type Target = Cgroup;
    fn deref(&self) -> &Cgroup {
        self.0.as_ref().unwrap()
    }
}

impl std::ops::DerefMut for Owned {
    fn deref_mut(&mut self) -> &mut Cgroup {
        self.0.as_mut().unwrap()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(cgroup) = self.0.take() {
            let _ = cgroup.kill();
            let result = cgroup.undo();
            if !std::thread::panicking() {
                result.unwrap();
            }
        }
    }
}

/// A shell that runs the lines it is given, each when it is given.
struct Shell(Child);

impl Shell {
    fn start() -> Shell {
        let mut command = Command::new("sh");
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        Shell(command.spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    fn say(&mut self, line: &str) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Runs a command and returns its exit status.
    fn run(&mut self, line: &str) -> String {
        self.say(&format!("({line}) >/dev/null; echo $?"));
        self.read()
    }

    fn read(&mut self) -> String {
        let mut line = String::new();
        BufReader::with_capacity(1, self.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn content(path: &Path) -> String {
    let text = std::fs::read_to_string(path);
    text.unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

/// What is in the file of a controller, by its name on v1 or on v2.
fn value(cgroup: &Cgroup, controller: &str, v1: &str, v2: &str) -> String {
    match cgroup.paths().controller(controller) {
        Some(directory) => content(&directory.join(v1)),
        None => content(&cgroup.paths().unified().unwrap().join(v2)),
    }
}

fn gone(plan: &CgroupPlan) -> bool {
    plan.members.iter().all(|member| !member.directory().exists())
}

#[test]
fn limits_arrive_in_the_files() {
    for layout in layouts() {
        let json = r#"{"memory": {"limit": 67108864, "swap": 100663296, "reservation": 33554432},
                       "cpu": {"shares": 512, "quota": 20000, "period": 50000, "cpus": "0"},
                       "pids": {"limit": 17}}"#;
        let cgroup = Owned::create(&name("limits/inner"), json, &layout);
        let table = [
            (("pids", "pids.max", "pids.max"), ("17", "17")),
            (("memory", "memory.limit_in_bytes", "memory.max"), ("67108864", "67108864")),
            (
                ("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
                ("100663296", "33554432"),
            ),
            (("memory", "memory.soft_limit_in_bytes", "memory.low"), ("33554432", "33554432")),
            (("cpu", "cpu.shares", "cpu.weight"), ("512", "59")),
            (("cpu", "cpu.cfs_quota_us", "cpu.max"), ("20000", "20000 50000")),
            (("cpuset", "cpuset.cpus", "cpuset.cpus"), ("0", "0")),
        ];
        for ((controller, v1, v2), (in_v1, in_v2)) in table {
            let expected = if is_v2(&layout) { in_v2 } else { in_v1 };
            assert_eq!(value(&cgroup, controller, v1, v2), expected, "{v1} or {v2}");
        }
    }
}

#[test]
fn a_v1_cpuset_is_filled_from_its_parent_all_the_way_down() {
    for layout in layouts().iter().filter(|layout| !is_v2(layout)) {
        let cgroup = Owned::create(&name("cpuset/a/b"), r#"{"cpu": {"mems": "0"}}"#, layout);
        let directory = cgroup.paths().controller("cpuset").unwrap();
        let root = directory.ancestors().nth(3).unwrap();
        let cpus = content(&root.join("cpuset.cpus"));
        for directory in directory.ancestors().take(3) {
            assert_eq!(content(&directory.join("cpuset.cpus")), cpus);
            assert_eq!(content(&directory.join("cpuset.mems")), "0");
        }
    }
}

#[test]
fn a_process_joins_every_hierarchy_and_dies_with_the_cgroup() {
    for layout in layouts_for_no_limits() {
        let name = name("life");
        let plan = planned(&name, "{}", &layout);
        let mut cgroup = Owned::make(&plan);
        assert_eq!(*cgroup.paths(), plan.paths());
        let mut shell = Shell::start();
        cgroup.add(shell.pid()).unwrap();
        let lines = content(Path::new(&format!("/proc/{}/cgroup", shell.0.id())));
        let joined = lines.lines().filter(|line| line.ends_with(&name)).count();
        assert_eq!(joined, plan.members.len(), "{lines}");
        assert_eq!(cgroup.processes().unwrap(), [shell.pid()]);

        // A later command knows the paths only.
        let later = Cgroup::open(cgroup.paths().clone());
        later.kill().unwrap();
        assert_eq!(shell.0.wait().unwrap().signal(), Some(SIGKILL));
        later.remove().unwrap();
        assert!(gone(&plan));
        later.remove().unwrap();
        assert_eq!(later.processes().unwrap(), []);
        later.kill().unwrap();
    }
}

#[test]
fn a_frozen_container_stands_still_until_it_is_thawed_and_can_be_killed() {
    for layout in layouts_for_no_limits() {
        let mut cgroup = Owned::create(&name("freeze"), "{}", &layout);
        let mut shell = Shell::start();
        cgroup.add(shell.pid()).unwrap();
        shell.say("trap 'exit 7' TERM; echo ready; sleep 1000 & wait");
        assert_eq!(shell.read(), "ready");
        assert!(!cgroup.is_frozen().unwrap());
        cgroup.freeze().unwrap();
        assert!(cgroup.is_frozen().unwrap());
        // It cannot handle the signal that it is sent until it is thawed.
        cgroup.signal(SIGTERM).unwrap();
        assert!(cgroup.is_frozen().unwrap());
        assert_eq!(shell.0.try_wait().unwrap(), None);
        cgroup.thaw().unwrap();
        assert!(!cgroup.is_frozen().unwrap());
        assert_eq!(shell.0.wait().unwrap().code(), Some(7));

        let mut shell = Shell::start();
        cgroup.add(shell.pid()).unwrap();
        cgroup.freeze().unwrap();
        cgroup.kill().unwrap();
        assert_eq!(shell.0.wait().unwrap().signal(), Some(SIGKILL));
    }
}

#[test]
fn a_container_that_somebody_froze_with_the_v1_freezer_is_frozen_and_can_be_killed() {
    for layout in layouts().iter().filter(|layout| !is_v2(layout)) {
        let mut cgroup = Owned::create(&name("foreign"), "{}", layout);
        let mut shell = Shell::start();
        cgroup.add(shell.pid()).unwrap();
        let freezer = cgroup.paths().controller("freezer").unwrap();
        // Below the container's own directory, as a process with access to the hierarchy could.
        let below = freezer.join("below");
        std::fs::create_dir(&below).unwrap();
        std::fs::write(below.join("cgroup.procs"), shell.0.id().to_string()).unwrap();
        std::fs::write(below.join("freezer.state"), "FROZEN").unwrap();
        assert!(!cgroup.is_frozen().unwrap());
        std::fs::write(freezer.join("freezer.state"), "FROZEN").unwrap();
        assert!(cgroup.is_frozen().unwrap());
        cgroup.kill().unwrap();
        assert_eq!(shell.0.wait().unwrap().signal(), Some(SIGKILL));
    }
}

#[test]
fn processes_that_keep_forking_are_all_killed_and_cgroups_below_are_removed() {
    for layout in layouts() {
        let plan = planned(&name("forks"), r#"{"pids": {"limit": 60}}"#, &layout);
        let mut cgroup = Owned::make(&plan);
        for directory in cgroup.paths().all() {
            std::fs::create_dir_all(directory.join("below/that")).unwrap();
        }
        let mut shell = Shell::start();
        cgroup.add(shell.pid()).unwrap();
        shell.say("trap '' TERM; fork() { while :; do (:) & done; }; fork & echo running; wait");
        assert_eq!(shell.read(), "running");
        cgroup.kill().unwrap();
        assert_eq!(shell.0.wait().unwrap().signal(), Some(SIGKILL));
        cgroup.remove().unwrap();
        assert!(gone(&plan));
    }
}

#[test]
fn the_limit_on_processes_holds() {
    for layout in layouts() {
        let mut cgroup = Owned::create(&name("pids"), r#"{"pids": {"limit": 1}}"#, &layout);
        let mut shell = Shell::start();
        assert_eq!(shell.run("true"), "0");
        cgroup.add(shell.pid()).unwrap();
        // A shell that cannot fork gives up.
        shell.say("(true); exit 0");
        let status = shell.0.wait().unwrap();
        assert!(!status.success(), "{status}");
    }
}

#[test]
fn the_limit_on_memory_holds() {
    for layout in layouts() {
        let json = r#"{"memory": {"limit": 20971520, "swap": 20971520}}"#;
        let mut cgroup = Owned::create(&name("memory"), json, &layout);
        let mut shell = Shell::start();
        cgroup.add(shell.pid()).unwrap();
        // tail holds what has no line break in memory; the kernel kills it for it.
        assert_eq!(shell.run("head -c 100000000 /dev/zero | tail -n 1"), "137");
    }
}

#[test]
fn devices_that_no_rule_allows_cannot_be_opened() {
    let nodes = tempfile::tempdir().unwrap();
    let kmsg = nodes.path().join("kmsg");
    let made = Command::new("mknod").arg(&kmsg).args(["c", "1", "11"]).status().unwrap();
    assert!(made.success());
    let kmsg = kmsg.display();
    let port = nodes.path().join("port");
    let port = port.display();
    for layout in layouts_for_no_limits() {
        let json = r#"{"devices": [{"allow": false, "access": "rwm"},
                                   {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "w"}]}"#;
        let plan = planned(&name("devices"), json, &layout);
        let mut cgroup = Owned::make(&plan);
        let mut shell = Shell::start();
        cgroup.add(shell.pid()).unwrap();
        assert_eq!(shell.run(&format!(": <{kmsg}")), "0", "before the rules are in force");
        cgroup.restrict_devices(&plan).unwrap();
        assert_ne!(shell.run(&format!(": <{kmsg}")), "0", "reading is not allowed");
        assert_eq!(shell.run(&format!(": >>{kmsg}")), "0", "writing is allowed");
        assert_eq!(shell.run(": <>/dev/null"), "0", "a default device");
        assert_eq!(shell.run(&format!("rm -f {port}; mknod {port} c 1 4")), "0", "any may be made");
        assert_ne!(shell.run(&format!(": <{port}")), "0", "made, but not opened");
    }
}

#[test]
fn new_device_rules_replace_the_old_ones() {
    for layout in layouts_for_no_limits() {
        let name = name("again");
        let strict = planned(&name, "{}", &layout);
        let open = planned(&name, r#"{"devices": [{"allow": true, "access": "rwm"}]}"#, &layout);
        let mut cgroup = Owned::make(&strict);
        cgroup.restrict_devices(&strict).unwrap();
        let later = Cgroup::open(cgroup.paths().clone());
        let mut shell = Shell::start();
        cgroup.add(shell.pid()).unwrap();
        assert_ne!(shell.run(": </dev/kmsg"), "0");
        later.restrict_devices(&open).unwrap();
        assert_eq!(shell.run(": </dev/kmsg"), "0");
        later.restrict_devices(&strict).unwrap();
        later.restrict_devices(&strict).unwrap();
        assert_ne!(shell.run(": </dev/kmsg"), "0");
        if is_v2(&layout) {
            let directory = cgroup.open_entrance().unwrap().unwrap();
            assert_eq!(sys::bpf::device_programs(directory).unwrap().len(), 1);
        }
    }
}

#[test]
fn a_cgroup_with_processes_is_not_taken_over() {
    for layout in layouts() {
        let name = name("occupied");
        let mut cgroup = Owned::create(&name, r#"{"pids": {"limit": 9}}"#, &layout);
        let shell = Shell::start();
        cgroup.add(shell.pid()).unwrap();
        let again = planned(&name, r#"{"pids": {"limit": 5}}"#, &layout);
        let error = Cgroup::create(&again, mark()).unwrap_err();
        assert!(matches!(error, Error::Occupied { processes: 1, .. }), "{error}");
        assert_eq!(value(&cgroup, "pids", "pids.max", "pids.max"), "9", "it is left as it was");
    }
}

/// Noted, it would be ended by the `delete --force` of a container whose `create` was killed before it found out.
#[test]
fn a_cgroup_with_processes_is_not_even_noted() {
    let root = tempfile::tempdir().unwrap();
    let id = ContainerId::new("c").unwrap();
    for layout in layouts() {
        let name = name("noted");
        let _cgroup = Owned::create(&name, "{}", &layout);
        let cgroups = planned(&name, "{}", &layout).paths();
        let reserve = |cgroups: &Paths| {
            let saved = Saved { cgroups: cgroups.clone(), ..Saved::default() };
            Slot::reserve(root.path(), &id, saved, "{}")
        };
        drop(reserve(&cgroups).unwrap());
        // Those through which `delete --force` finds and thaws processes.
        let listed = cgroups.all().first().copied();
        for hierarchy in listed.into_iter().chain(cgroups.controller("freezer")) {
            let shell = Shell::start();
            std::fs::write(hierarchy.join("cgroup.procs"), shell.pid().to_string()).unwrap();
            let error = reserve(&cgroups).unwrap_err();
            let nrun::error::Error::Cgroup(error) = error else { panic!("{error}") };
            assert!(matches!(error, Error::Occupied { processes: 1, .. }), "{error}");
            assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "nothing is left");
        }
    }
}

#[test]
fn a_frozen_cgroup_is_not_taken_over() {
    for layout in layouts_for_no_limits() {
        let name = name("frozen");
        let cgroup = Owned::create(&name, "{}", &layout);
        cgroup.freeze().unwrap();
        let error = Cgroup::create(&planned(&name, "{}", &layout), mark()).unwrap_err();
        assert!(matches!(error, Error::Frozen { .. }), "{error}");
        cgroup.thaw().unwrap();
    }
}

#[test]
fn an_empty_cgroup_is_used_again_whatever_its_old_limits_were() {
    for layout in layouts() {
        let name = name("reuse");
        let json = |bytes: u32| format!(r#"{{"memory": {{"limit": {bytes}, "swap": {bytes}}}}}"#);
        let _old = Owned::create(&name, &json(16 << 20), &layout);
        // The new limit is above the old limit with swap: the kernel takes it only after that one.
        let new = Owned::create(&name, &json(64 << 20), &layout);
        let limit = value(&new, "memory", "memory.limit_in_bytes", "memory.max");
        assert_eq!(limit, (64 << 20).to_string());
    }
}

#[test]
fn a_failure_names_the_limit_and_leaves_nothing() {
    for layout in layouts() {
        let name = name("failure");
        let json = r#"{"pids": {"limit": 5}, "cpu": {"cpus": "x"}}"#;
        let plan = planned(&format!("{name}/a/b"), json, &layout);
        let error = Cgroup::create(&plan, mark()).unwrap_err().to_string();
        assert!(error.starts_with("cannot set `cpuset.cpus` to `x` in cgroup `"), "{error}");
        assert!(
            error.ends_with("(config.json /linux/resources/cpu/cpus): invalid argument"),
            "{error}"
        );
        for member in &plan.members {
            assert!(!member.mount.join(&name[1..]).exists(), "{}", member.mount.display());
        }
    }
}

#[test]
fn a_limit_that_the_kernel_does_not_have_is_refused() {
    for layout in layouts() {
        // CFQ's leaf weights are gone; memory.nope has never been there.
        let json = match is_v2(&layout) {
            false => r#"{"blockIO": {"leafWeight": 10}}"#,
            true => r#"{"unified": {"memory.nope": "1"}}"#,
        };
        let plan = planned(&name("missing"), json, &layout);
        let error = Cgroup::create(&plan, mark()).unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
        assert!(error.to_string().ends_with("this kernel has no such limit"), "{error}");
        assert!(gone(&plan));
    }
}

#[test]
fn an_executed_process_follows_an_init_that_moved_into_a_cgroup_of_its_own() {
    let layout = probe().unwrap();
    let mut cgroup = Owned::create(&name("inner"), "{}", &layout);
    let (init, other) = (Shell::start(), Shell::start());
    if !is_v2(&layout) {
        // The rule that inner cgroups have no processes is v2's, and needs a controller to show: there the init is not followed.
        let below = cgroup.paths().controller("pids").unwrap().join("init.scope");
        std::fs::create_dir(&below).unwrap();
        std::fs::write(below.join("cgroup.procs"), init.0.id().to_string()).unwrap();
        let init = init.pid().as_raw_nonzero().get();
        let mount = layout.unified().map(|unified| unified.mount.as_path());
        let beside = cgroup.for_another(&Subgroups::default(), init, mount).unwrap();
        assert_eq!(beside.paths(), cgroup.paths());
        cgroup.add(other.pid()).unwrap();
        let lines = content(&PathBuf::from(format!("/proc/{}/cgroup", other.0.id())));
        let place = format!(":pids:{}", name("inner"));
        assert!(lines.lines().any(|line| line.ends_with(&place)), "{lines}");
        return;
    }
    let own = cgroup.paths().unified().unwrap();
    let below = own.join("init.scope");
    std::fs::create_dir(&below).unwrap();
    std::fs::write(below.join("cgroup.procs"), init.0.id().to_string()).unwrap();
    std::fs::write(own.join("cgroup.subtree_control"), "+memory").unwrap();
    let error = cgroup.add(other.pid()).unwrap_err();
    assert!(matches!(error, Error::System { errno: Errno::BUSY, .. }), "{error}");
    let init = init.pid().as_raw_nonzero().get();
    let mount = layout.unified().map(|unified| unified.mount.as_path());
    let mut beside = cgroup.for_another(&Subgroups::default(), init, mount).unwrap();
    beside.add(other.pid()).unwrap();
    assert_eq!(cgroup.processes().unwrap().len(), 2);
    let lines = content(&PathBuf::from(format!("/proc/{}/cgroup", other.0.id())));
    assert!(lines.ends_with("init.scope"), "{lines}");
}

#[test]
fn a_parent_with_processes_cannot_pass_controllers_on() {
    let layout = probe().unwrap();
    let mut outer = Owned::create(&name("parent"), "{}", &layout);
    let shell = Shell::start();
    outer.add(shell.pid()).unwrap();
    let json = r#"{"memory": {"limit": 67108864}}"#;
    let below = planned(&format!("{}/below", name("parent")), json, &layout);
    let Layout::Unified(unified) = &layout else {
        // Every v1 cgroup has all of its hierarchy's controllers, and may have processes beside cgroups.
        let below = Owned::make(&below);
        let limit = below.paths().controller("memory").unwrap().join("memory.limit_in_bytes");
        assert_eq!(content(&limit), "67108864");
        return;
    };
    let error = Cgroup::create(&below, mark()).unwrap_err();
    assert!(error.to_string().contains("enable the `memory` controller"), "{error}");
    assert!(matches!(error, Error::System { errno: Errno::BUSY, .. }), "{error}");
    assert!(error.hint().is_some());
    assert!(gone(&below));
    // Without a limit nothing has to be passed on; such a container is not measured, but runs.
    let relative = Unified { own: Path::new(&name("parent")).join("us"), ..unified.clone() };
    let request = Request { id: "below", ..Request::default() };
    let below = plan(&request, &Layout::Unified(relative), &Options::default()).unwrap();
    let mut below = Owned::make(&below);
    below.add(Shell::start().pid()).unwrap();
}

#[test]
fn a_parent_without_processes_passes_on_what_it_did_not() {
    let layout = probe().unwrap();
    // On v1 nothing has to be passed on: the limits arrive as they do here.
    let controllers = match &layout {
        Layout::Unified(unified) => &unified.controllers[..],
        _ => &[],
    };
    let outer = Owned::create(&name("outer"), "{}", &layout);
    let passed_on = || {
        let directory = outer.paths().unified().filter(|_| !controllers.is_empty());
        directory.map_or(String::new(), |path| content(&path.join("cgroup.subtree_control")))
    };
    assert_eq!(passed_on(), "");
    let json = r#"{"memory": {"limit": 67108864}}"#;
    let limit = |cgroup: &Owned| value(cgroup, "memory", "memory.limit_in_bytes", "memory.max");
    let below = Owned::create(&format!("{}/below", name("outer")), json, &layout);
    assert_eq!(limit(&below), "67108864");
    // All of them, for measuring, and for the next container, which finds them there.
    let enabled = passed_on();
    for controller in controllers {
        assert!(enabled.split(' ').any(|name| name == controller), "{controller}: {enabled}");
    }
    let next = Owned::create(&format!("{}/next", name("outer")), json, &layout);
    assert_eq!(limit(&next), "67108864");
}

#[test]
fn a_container_without_cgroups_has_nothing_to_kill_or_remove() {
    let mut cgroup = Cgroup::open(Paths::default());
    assert!(cgroup.open_entrance().unwrap().is_none());
    assert_eq!(cgroup.processes().unwrap(), []);
    assert!(!cgroup.is_frozen().unwrap());
    assert!(cgroup.freeze().is_err());
    cgroup.thaw().unwrap();
    cgroup.kill().unwrap();
    cgroup.remove().unwrap();
}
