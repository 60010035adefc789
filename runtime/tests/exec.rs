//! `exec`: a further process has the container's namespaces, cgroups and limits, and what it asks for itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nconform::fixture::{BundleDir, Container, Runtime, Sandbox, cgroups, selinux};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait, waitpid};
use serde_json::{Value, json};

fn sleeper() -> BundleDir {
    BundleDir::new().args(["sleep", "600"])
}

/// `exec OPTIONS ID ARGS`, successful; its standard output.
#[track_caller]
fn exec(runtime: &Runtime, container: &Container<'_>, options: &[&str], args: &[&str]) -> String {
    runtime.call(["exec"]).args(options).args([container.id()]).args(args).run().ok().stdout()
}

/// `exec --process FILE`, successful; its standard output.
#[track_caller]
fn exec_file(runtime: &Runtime, container: &Container<'_>, process: &Value) -> String {
    let file = runtime.root().join("process.json");
    fs::write(&file, process.to_string()).expect("write process.json");
    exec(runtime, container, &["--process", file.to_str().expect("UTF-8")], &[])
}

#[test]
fn a_process_is_in_the_namespaces_of_the_container() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let bundle = bundle
        .push("/linux/namespaces", json!({"type": "cgroup"}))
        .push("/linux/namespaces", json!({"type": "time"}));
    let container = runtime.start(&bundle);
    let script =
        "for n in cgroup ipc mnt net pid time user uts; do readlink /proc/self/ns/$n; done";
    let inside = exec(&runtime, &container, &[], &["sh", "-c", script]);
    let link = |name: &&str| {
        let path = format!("/proc/{}/ns/{name}", container.pid().as_raw_nonzero());
        fs::read_link(path).expect("a namespace").display().to_string()
    };
    let names = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
    let wanted: Vec<String> = names.iter().map(link).collect();
    assert_eq!(inside.lines().collect::<Vec<_>>(), wanted);
}

#[test]
fn a_process_is_in_the_cgroups_of_the_container() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let container = runtime.start(&bundle);
    let of_init = fs::read_to_string(format!("/proc/{}/cgroup", container.pid().as_raw_nonzero()));
    let own = exec(&runtime, &container, &[], &["cat", "/proc/self/cgroup"]);
    assert_eq!(own, of_init.expect("the cgroups of the init"));
    assert!(own.contains(container.id()), "{own}");
}

#[test]
fn the_status_is_the_processs_own_and_255_when_there_is_none() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let container = runtime.start(&bundle);
    for status in [0, 3, 255] {
        let _ = container.exec(["sh", "-c", &format!("exit {status}")]).exits(status);
    }
    let _ = container.exec(["sh", "-c", "kill -9 $$"]).exits(128 + 9);
    for (program, text) in [
        ("no-such-program", "executable file not found in $PATH"),
        ("/no/such/program", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
    ] {
        let output = container.exec([program]).exits(255);
        assert!(output.stderr().contains(text), "{output}");
    }
    assert_eq!(container.status(), "running");
}

#[test]
fn streams_are_those_of_the_caller() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let container = runtime.start(&bundle);
    let call = runtime.call(["exec", container.id(), "sh", "-c", "cat; echo err >&2"]);
    let output = call.stdin("typed").run().ok();
    assert_eq!((output.stdout().as_str(), output.stderr().as_str()), ("typed", "err\n"));
}

#[test]
fn options_change_user_groups_directory_environment_and_capabilities() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper().push("/process/env", "KEPT=1").set("/process/cwd", "/home");
    let container = runtime.start(&bundle);
    let run =
        |options: &[&str], script: &str| exec(&runtime, &container, options, &["sh", "-c", script]);
    assert_eq!(run(&[], "id -u; pwd; echo $KEPT"), "0\n/home\n1\n");
    let options = ["-u", "1000:1001", "-g", "7", "--cwd", "/tmp", "-e", "ADDED=two words"];
    let shown = run(&options, "id -u; id -g; id -G; pwd; echo $KEPT $ADDED $HOME");
    assert_eq!(shown, "1000\n1001\n1001 7\n/tmp\n1 two words /home\n");
    let empty = ["--cwd", "", "--apparmor", "", "--process-label", ""];
    assert_eq!(run(&empty, "id -u; pwd"), "0\n/home\n", "what a script's empty variable gives");
    let status = "grep -E '^(CapEff|NoNewPrivs)' /proc/self/status | cut -f2";
    assert_eq!(run(&[], status), "0000000020000420\n1\n");
    assert_eq!(run(&["--cap", "CAP_SYS_CHROOT"], status), "0000000020040420\n1\n");
    let unknown = runtime.call(["exec", "--cap", "CAP_NONE", container.id(), "true"]).run();
    assert!(unknown.ok().stderr().contains("unknown capability `CAP_NONE` is ignored"));
}

#[test]
fn a_capability_that_is_added_is_ambient_where_the_container_inherits_it() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper().set(
        "/process/capabilities",
        json!({"bounding": ["CAP_KILL", "CAP_SYSLOG"], "inheritable": ["CAP_KILL", "CAP_SYSLOG"],
               "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"], "ambient": ["CAP_KILL"]}),
    );
    let container = runtime.start(&bundle);
    let show = ["sh", "-c", "grep -E 'CapAmb|CapInh' /proc/self/status | cut -f2"];
    let options = ["--cap", "CAP_SYSLOG", "--cap", "CAP_CHOWN"];
    assert_eq!(exec(&runtime, &container, &options, &show), "0000000400000020\n0000000400000020\n");
}

#[test]
fn a_working_directory_that_only_the_runtime_may_enter_is_entered() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper().set("/process/cwd", "/home");
    let home = bundle.rootfs().join("home");
    std::os::unix::fs::chown(&home, Some(42), Some(42)).expect("give the directory away");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).expect("set a mode");
    let container = runtime.start(&bundle);
    assert_eq!(exec(&runtime, &container, &["-u", "0"], &["pwd"]), "/home\n");
    assert_eq!(exec(&runtime, &container, &["-u", "42"], &["stat", "-c", "%u", "."]), "42\n");
}

#[test]
fn a_process_file_may_be_a_pipe() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let container = runtime.start(&bundle);
    let process = json!({"args": ["echo", "here"], "cwd": "/", "env": ["PATH=/bin"]});
    let call = runtime.call(["exec", "--process", "/dev/stdin", container.id()]);
    assert_eq!(call.stdin(process.to_string()).run().ok().stdout(), "here\n");
}

#[test]
fn no_new_privileges_can_be_added() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper().set("/process/noNewPrivileges", false);
    let container = runtime.start(&bundle);
    for (options, shown) in [(&[][..], "0\n"), (&["--no-new-privs"], "1\n")] {
        let script = "grep NoNewPrivs /proc/self/status | cut -f2";
        assert_eq!(exec(&runtime, &container, options, &["sh", "-c", script]), shown);
    }
}

#[test]
fn a_process_has_the_capabilities_limits_and_umask_of_the_container() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper()
        .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 111, "hard": 222}]))
        .set("/process/user/umask", 0o077);
    let container = runtime.start(&bundle);
    let show =
        "grep -E '^(Cap|Groups|Umask)' /proc/self/status; grep 'Max open files' /proc/self/limits";
    let inside = exec(&runtime, &container, &[], &["sh", "-c", show]);
    let of_init = |name: &str| {
        let path = format!("/proc/{}/{name}", container.pid().as_raw_nonzero());
        fs::read_to_string(path).expect("a file of the init")
    };
    let init = of_init("status") + &of_init("limits");
    assert_eq!(inside.lines().count(), 8, "{inside}");
    for line in inside.lines() {
        assert!(init.lines().any(|other| other == line), "{line:?} is not in\n{init}");
    }
    assert!(inside.contains("Umask:\t0077"));
}

#[test]
fn a_process_file_says_everything_and_what_it_leaves_open_is_as_in_the_container() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let container = runtime.start(&bundle);
    let script = "id -u; id -G; pwd; echo $A; umask; cat /proc/self/oom_score_adj; \
                  grep -E '^(CapEff|CapBnd)' /proc/self/status | cut -f2; ulimit -n";
    let process = json!({
        "args": ["sh", "-c", script],
        "cwd": "/tmp",
        "env": ["PATH=/bin", "A=1"],
        "user": {"uid": 5, "gid": 6, "additionalGids": [7], "umask": 0o007},
        "capabilities": {"bounding": ["CAP_KILL"]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}],
        "oomScoreAdj": 456
    });
    let shown = exec_file(&runtime, &container, &process);
    let wanted = "5\n6 7\n/tmp\n1\n0007\n456\n0000000000000000\n0000000000000020\n50\n";
    assert_eq!(shown, wanted);
    let least = json!({
        "args": ["sh", "-c", "grep -E '^(CapBnd|NoNewPrivs)' /proc/self/status | cut -f2; ulimit -n"],
        "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}
    });
    assert_eq!(exec_file(&runtime, &container, &least), "0000000020000420\n1\n1024\n");
}

#[test]
fn a_process_file_that_says_nothing_of_the_oom_score_and_the_umask_means_the_containers() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper().set("/process/oomScoreAdj", 500).set("/process/user/umask", 0o077);
    let container = runtime.start(&bundle);
    let process = json!({
        "args": ["sh", "-c", "umask; cat /proc/self/oom_score_adj"],
        "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}
    });
    assert_eq!(exec_file(&runtime, &container, &process), "0077\n500\n");
}

#[test]
fn a_limit_on_open_files_may_be_lower_than_what_exec_itself_has_open() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let container = runtime.start(&bundle);
    let process = json!({
        "args": ["sh", "-c", "ulimit -Sn; ulimit -Hn"], "cwd": "/", "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 6}]
    });
    assert_eq!(exec_file(&runtime, &container, &process), "5\n6\n");
}

#[test]
fn a_detached_process_goes_on_after_exec() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let container = runtime.start(&bundle);
    let file = bundle.path().join("pid");
    let options = ["--detach", "--pid-file", file.to_str().expect("UTF-8")];
    exec(&runtime, &container, &options, &["sleep", "500"]);
    let pid = fs::read_to_string(file).expect("a pid file").parse().ok().and_then(Pid::from_raw);
    let pid = pid.expect("a pid");
    let inside = exec(&runtime, &container, &[], &["pidof", "sleep"]);
    assert_eq!(inside.split_whitespace().count(), 2, "{inside}");
    kill_process(pid, Signal::KILL).expect("kill it");
    waitpid(Some(pid), WaitOptions::empty()).expect("ours since its parent ended");
}

#[test]
fn signals_are_passed_on() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let container = runtime.start(&bundle);
    let script = "trap 'echo got; exit 41' TERM; echo ready; while :; do sleep 0.02; done";
    let (mut child, output) = runtime.call(["exec", container.id(), "sh", "-c", script]).start();
    while !output.stdout().contains("ready") {
        assert!(child.try_wait().expect("nrun").is_none(), "{output}");
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::TERM).expect("signal nrun");
    assert_eq!(child.wait().expect("wait for nrun").code(), Some(41));
    assert_eq!(output.stdout(), "ready\ngot\n");
}

#[test]
fn a_process_can_be_executed_before_the_container_is_started() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let container = runtime.create(&bundle, [""; 0]);
    assert_eq!(exec(&runtime, &container, &[], &["cat", "/proc/1/comm"]), "nrun\n");
    assert_eq!(container.status(), "created");
    let _ = container.start().ok();
}

#[test]
fn a_container_without_a_pid_namespace_takes_processes_too() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper().without_namespace("pid").without_namespace("network");
    let container = runtime.start(&bundle);
    let _ = container.exec(["sh", "-c", "exit 6"]).exits(6);
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    sandbox.assert_clean();
}

#[test]
fn many_processes_can_be_executed_at_once() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let container = runtime.start(&bundle);
    let running: Vec<_> = (0..12)
        .map(|i| (i, runtime.call(["exec", container.id(), "cat"]).stdin(i.to_string()).start()))
        .collect();
    for (i, (mut child, output)) in running {
        assert!(child.wait().expect("wait for nrun").success(), "{output}");
        assert_eq!(output.stdout(), i.to_string());
    }
}

#[test]
fn an_exec_that_is_killed_leaves_no_process_half_way() {
    let sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let container = runtime.start(&bundle);
    for moment in 0..20 {
        let (mut child, _) = runtime.call(["exec", container.id(), "true"]).start();
        std::thread::sleep(std::time::Duration::from_micros(500 * moment));
        child.kill().expect("kill nrun");
        child.wait().expect("wait for nrun");
    }
    let init = container.pid().as_raw_nonzero().to_string();
    let mut members = String::new();
    for _ in 0..1000 {
        // Who has ended is our child now, and may be listed until it is reaped.
        while matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {}
        members = cgroups::read(container.id(), "cgroup.procs").expect("the container's cgroup");
        if members == init {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(members, init, "{}", cgroups::describe_processes(container.id()));
    // Those that have ended are our children now: the init waits until they are reaped.
    let _ = container.kill("KILL").ok();
    while wait(WaitOptions::empty()).is_ok() {}
    let _ = container.delete().ok();
    sandbox.assert_clean();
}

#[test]
fn a_console_socket_is_for_a_terminal() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let container = runtime.start(&bundle);
    let options = ["exec", "--console-socket", "/no/such/socket"];
    let refused = runtime.call(options).args([container.id(), "true"]).run().exits(255);
    refused.says("cannot use console socket if nrun will not allocate tty");
}

#[test]
fn no_pid_file_is_left_of_a_process_that_was_never_executed() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let container = runtime.start(&bundle);
    let script = bundle.rootfs().join("bin/script");
    fs::write(&script, "#!/no/such/interpreter\n").expect("write a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("set a mode");
    let file = bundle.path().join("pid");
    let path = file.to_str().expect("UTF-8");
    let commands: [&[&str]; 2] = [&["exec"], &["exec", "--detach"]];
    for command in commands {
        let call = runtime.call(command).args(["--pid-file", path, container.id(), "script"]);
        call.run().exits(255).says("no such file or directory");
        assert!(!file.exists(), "conmon takes {command:?} for done");
    }
    let broken = bundle.args(["/bin/script"]);
    let commands: [&[&str]; 2] = [&["--pid-file", path], &["--detach", "--pid-file", path]];
    for options in commands {
        let call = runtime.bundle_call("run", &broken, options, &runtime.new_id());
        call.run().exits(1).says("no such file or directory");
        assert!(!file.exists(), "whoever has that process id by then is somebody else");
    }
}

#[test]
fn a_fault_of_the_process_is_not_looked_for_in_config_json() {
    if selinux::is_enabled() {
        return; // It is the kernel then that refuses a label: runtime/tests/labels.rs.
    }
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let container = runtime.start(&sleeper());
    let options = ["--process-label", "no_such_label"];
    let typed = runtime.call(["exec"]).args(options).args([container.id(), "true"]).run();
    let words = "selinux label is specified in config, but selinux is disabled or not supported";
    typed.exits(255).says(&format!("nrun: --process-label: {words}"));
    let process = json!({"args": ["true"], "cwd": "/", "selinuxLabel": "no_such_label"});
    let file = runtime.root().join("process.json");
    fs::write(&file, process.to_string()).expect("write process.json");
    let read = runtime.call(["exec", "--process"]).args([&file]).args([container.id()]).run();
    let said = read.stderr();
    assert!(said.starts_with("nrun: process.json /selinuxLabel: "), "{said}");
}
