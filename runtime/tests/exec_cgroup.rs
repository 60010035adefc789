//! `exec`: which cgroup the process is in, and a container that is paused.

use std::fs;
use std::time::{Duration, Instant};

use nconform::fixture::{BundleDir, Console, Container, Output, Runtime, Sandbox, cgroups, strace};
use rustix::process::{Pid, WaitOptions, waitpid};
use serde_json::json;

fn sleeper() -> BundleDir {
    BundleDir::new().args(["sleep", "600"])
}

/// Makes a cgroup below the container's in every hierarchy.
fn make_below(container: &Container<'_>, name: &str) {
    for group in cgroups::named(container.id()) {
        let below = group.join(name);
        fs::create_dir(&below).expect("make a cgroup");
        // A v1 cpuset takes no process before it has both lists.
        for list in ["cpuset.cpus", "cpuset.mems"] {
            let own = fs::read_to_string(group.join(list)).unwrap_or_default();
            if !cgroups::unified() && !own.is_empty() {
                fs::write(below.join(list), own).expect("fill a cpuset");
            }
        }
    }
}

/// `exec FLAGS ID cat /proc/self/cgroup`
#[track_caller]
fn show(runtime: &Runtime, container: &Container<'_>, flags: &[&str]) -> Output {
    runtime.call(["exec"]).args(flags).args([container.id(), "cat", "/proc/self/cgroup"]).run()
}

/// The lines of hierarchies whose directory ends so.
fn ending<'a>(text: &'a str, end: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.ends_with(end)).collect()
}

#[test]
fn a_process_can_be_put_into_a_cgroup_below_the_containers() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper();
    let container = runtime.start(&bundle);
    make_below(&container, "below");
    let own = format!("/{}", container.id());
    let everywhere = show(&runtime, &container, &["--cgroup", "/"]).ok().stdout();
    let count = ending(&everywhere, &own).len();
    assert_eq!(count, cgroups::named(container.id()).len(), "{everywhere}");
    for path in ["below", "/below", "./below/"] {
        let shown = show(&runtime, &container, &["--cgroup", path]).ok().stdout();
        assert_eq!(ending(&shown, &format!("{own}/below")).len(), count, "{shown}");
    }
    if !cgroups::unified() {
        let flags = ["--cgroup", "memory:below", "--cgroup=cpu,cpuacct:/below"];
        let shown = show(&runtime, &container, &flags).ok().stdout();
        for line in shown.lines().filter(|line| line.contains(container.id())) {
            let named = ["memory", "cpu", "cpuacct"];
            let of = line.split(':').nth(1).unwrap_or_default();
            let below = of.split(',').any(|controller| named.contains(&controller));
            assert_eq!(line.ends_with("/below"), below, "{shown}");
        }
    }
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    sandbox.assert_clean();
}

#[test]
fn no_cgroup_but_one_below_can_be_named() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper();
    let container = runtime.start(&bundle);
    let missing = match cgroups::unified() {
        true => "/nonexistent`: no such file or directory",
        false => "/nonexistent/tasks`: no such file or directory",
    };
    for (flags, words) in [
        (&["--cgroup", ".."][..], "bad sub cgroup path: .."),
        (&["--cgroup", "/../.."], "bad sub cgroup path"),
        (&["--cgroup", "memory:../x"], "bad sub cgroup path"),
        (&["--cgroup", "whaaat:/"], "unknown controller whaaat"),
        (&["--cgroup", ":x"], "empty <controller> prefix"),
        (&["--cgroup", "x", "--cgroup", "y"], "missing <controller>: prefix"),
        (&["--cgroup", "nonexistent"], missing),
    ] {
        let output = show(&runtime, &container, flags).exits(255);
        assert!(output.stderr().contains(words), "{output}");
    }
    assert_eq!(container.status(), "running");
}

/// On v2 a cgroup that has passed controllers on takes no processes.
#[test]
fn a_process_follows_an_init_that_has_moved_below() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper();
    let container = runtime.start(&bundle);
    if !cgroups::unified() {
        // v1 has no such rule, and there a process is always put into the container's own.
        make_below(&container, "init");
        let group = cgroups::named(container.id())
            .into_iter()
            .find(|path| path.join("memory.stat").exists());
        let procs = group.expect("a memory cgroup").join("init/cgroup.procs");
        fs::write(procs, container.pid().as_raw_nonzero().to_string()).expect("move the init");
        let shown = show(&runtime, &container, &[]).ok().stdout();
        assert_eq!(ending(&shown, "/init").len(), 0, "{shown}");
        return;
    }
    let group = cgroups::named(container.id()).remove(0);
    make_below(&container, "init");
    fs::write(group.join("init/cgroup.procs"), container.pid().as_raw_nonzero().to_string())
        .expect("move the init");
    let shown = show(&runtime, &container, &[]).ok().stdout();
    assert_eq!(ending(&shown, container.id()).len(), 1, "{shown}");
    fs::write(group.join("cgroup.subtree_control"), "+memory").expect("pass a controller on");
    let shown = show(&runtime, &container, &[]).ok().stdout();
    assert_eq!(ending(&shown, "/init").len(), 1, "{shown}");
    let output = show(&runtime, &container, &["--cgroup", "/"]).exits(255);
    assert!(output.stderr().contains("resource busy"), "{output}");
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    sandbox.assert_clean();
}

#[test]
fn an_exec_into_a_paused_container_waits_for_it_if_it_is_told_to() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper();
    let container = runtime.start(&bundle);
    let _ = runtime.call(["pause", container.id()]).run().ok();
    let output = container.exec(["true"]).exits(255);
    let words = "cannot exec in a paused container (use --ignore-paused to override)";
    assert!(output.stderr().contains(words), "{output}");
    let (mut exec, output) =
        runtime.call(["exec", "--ignore-paused", container.id(), "echo", "awake"]).start();
    let end = Instant::now() + Duration::from_millis(500);
    while Instant::now() < end {
        assert!(exec.try_wait().expect("nrun").is_none(), "{output}");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(container.status(), "paused");
    let _ = runtime.call(["resume", container.id()]).run().ok();
    assert!(exec.wait().expect("wait for nrun").success(), "{output}");
    assert_eq!(output.stdout(), "awake\n");
}

/// What a call opens and what it clones, by all its processes.
fn traced(runtime: &Runtime, args: &[&str]) -> Vec<String> {
    let root = runtime.root().to_string_lossy();
    let command = [&["--root", &root], args].concat();
    let options = ["-f", "-e", "trace=open,openat,clone3"];
    let (output, calls) = strace(&options, runtime.program(), &command);
    let _ = output.ok();
    calls
}

/// To write to `cgroup.procs` stops all forks and exits of the machine, and on a quiet one waits for a grace period of RCU first.
#[test]
fn a_process_enters_its_cgroups_without_waiting_for_those_of_the_machine() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper();
    let container = runtime.start(&bundle);
    let short = BundleDir::new();
    let (path, id) = (short.path().to_string_lossy().into_owned(), runtime.new_id());
    for args in [&["run", "--bundle", &path, &id][..], &["exec", container.id(), "true"]] {
        let calls = traced(&runtime, args);
        let waits: Vec<_> = calls.iter().filter(|call| call.contains("/cgroup.procs")).collect();
        assert!(waits.is_empty(), "{waits:#?}");
        let entered = |call: &&String| call.contains("/tasks\"") || call.contains("_INTO_CGROUP");
        let count = cgroups::named(container.id()).len();
        assert_eq!(calls.iter().filter(entered).count(), count, "{calls:#?}");
    }
}

/// The processors that it is bound to before it enters need not be among the cgroup's.
#[test]
fn a_process_with_processors_of_its_own_is_bound_to_them_before_it_enters() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper().set("/process/execCPUAffinity", json!({"initial": "0"}));
    let container = runtime.start(&bundle);
    let calls = traced(&runtime, &["exec", container.id(), "true"]);
    assert!(!calls.iter().any(|call| call.contains("_INTO_CGROUP")), "{calls:#?}");
    let shown = show(&runtime, &container, &[]).ok().stdout();
    let count = cgroups::named(container.id()).len();
    assert_eq!(ending(&shown, &format!("/{}", container.id())).len(), count, "{shown}");
}

/// The kernel counts what is forked, and lets everybody move in: whoever looks for the reason must get in.
#[test]
fn a_process_gets_into_a_container_that_is_at_its_limit_of_processes() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for limit in [3, 4] {
        let bundle = BundleDir::new()
            .set("/linux/resources/pids/limit", limit)
            .shell("sleep 600 & sleep 600 & echo ready; wait");
        let container = runtime.start(&bundle);
        container.output().wait_for("ready");
        let exec = |args: &[&str]| runtime.call(["exec"]).args([container.id()]).args(args).run();
        assert_eq!(exec(&["echo", "in"]).ok().text(), "in", "limit {limit}");
        let shown = exec(&["cat", "/proc/self/cgroup"]).ok().stdout();
        let count = ending(&shown, &format!("/{}", container.id())).len();
        assert_eq!(count, cgroups::named(container.id()).len(), "{shown}");
        // With a terminal, whose master is sent once.
        let (console, file) = (Console::listen(), bundle.path().join("pid"));
        let (socket, path) = (console.path().display().to_string(), file.display().to_string());
        let options = ["-d", "-t", "--console-socket", &socket, "--pid-file", &path];
        let call = runtime.call(["exec"]).args(options).args([container.id(), "echo", "typed"]);
        let (mut child, output) = call.start();
        let _ = console.receive().expect("typed");
        assert!(child.wait().expect("wait for nrun").success(), "{output}");
        let pid = fs::read_to_string(file).expect("a pid file").parse().ok();
        let pid = pid.and_then(Pid::from_raw).expect("a pid");
        waitpid(Some(pid), WaitOptions::empty()).expect("ours since its parent ended");
    }
}
