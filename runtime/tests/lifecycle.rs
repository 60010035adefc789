//! The life of a container, command by command: states, texts, exit statuses, files.
//!
//! Texts and statuses are the ones that engines match; what nobody matches is not tested word for word.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nconform::fixture::{BundleDir, Capture, Container, Runtime, Sandbox, cgroups};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::{Value, json};

fn sleeper() -> BundleDir {
    BundleDir::new().args(["sleep", "600"])
}

#[test]
fn a_container_is_created_started_killed_and_deleted() {
    let sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), BundleDir::new().shell("echo on; sleep 600"));
    let container = runtime.create(&bundle, [""; 0]);
    assert_eq!(container.status(), "created");
    assert_eq!(container.output().stdout(), "", "nothing of the container runs before `start`");
    assert!(!cgroups::named(container.id()).is_empty());
    let _ = container.start().ok();
    assert_eq!(container.status(), "running");
    container.output().wait_for("on\n");
    let _ = container.kill("KILL").ok();
    container.wait();
    assert_eq!(container.status(), "stopped");
    let _ = container.delete().ok();
    let gone = runtime.call(["state", container.id()]).run().exits(1);
    gone.says("does not exist");
    assert_eq!(fs::read_dir(runtime.root()).expect("the root").count(), 0);
    sandbox.assert_clean();
}

/// A disk that was full, or a power cut: who has an init had a whole state once, and `delete` would leave its processes to nobody.
#[test]
fn a_container_that_runs_is_not_forgotten_for_a_state_that_was_cut() {
    let sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let container = runtime.start(&bundle);
    let id = container.id();
    let directory = runtime.root().join(id);
    let (path, pid) = (directory.join("state.json"), container.pid().as_raw_nonzero());
    let whole = fs::read(&path).expect("its state");
    for length in [Some(0), Some(1), Some(whole.len() / 2), None] {
        let why = match length {
            Some(length) => {
                fs::write(&path, &whole[..length]).expect("a cut state");
                "it is no state of nrun's"
            }
            None => {
                fs::remove_file(&path).expect("no state");
                "it is not there"
            }
        };
        for words in [&["delete"][..], &["delete", "--force"], &["state"], &["kill"]] {
            let output = runtime.call(words.iter().copied().chain([id])).run().exits(1);
            output.says(why);
            output.says(&format!("hint: its init runs in the cgroups that `cat /proc/{pid}/cgroup` shows, `kill -9 {pid}` ends it"));
            output.says(&format!("`rm -r {}` removes it", directory.display()));
        }
        runtime.call(["list"]).run().ok().says(why);
    }
    fs::write(&path, &whole).expect("the whole state");
    let _ = container.kill("KILL").ok();
    container.wait();
    fs::write(&path, b"").expect("a cut state");
    runtime.call(["delete", "--force", id]).run().exits(1).says("its init does not run");
    fs::write(&path, whole).expect("the whole state");
    let _ = runtime.call(["delete", "--force", id]).run().ok();
    sandbox.assert_clean();
}

#[test]
fn the_state_has_the_fields_of_the_specification_and_of_runc() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleeper().set("/annotations", json!({"org.example.key": "value"}));
    let container = runtime.create(&bundle, [""; 0]);
    let state = container.state();
    let keys: Vec<&str> =
        state.as_object().expect("an object").keys().map(String::as_str).collect();
    let wanted = [
        "ociVersion",
        "id",
        "pid",
        "status",
        "bundle",
        "rootfs",
        "created",
        "annotations",
        "owner",
    ];
    assert_eq!(keys, wanted);
    assert_eq!(state["ociVersion"], bundle.config()["ociVersion"]);
    assert_eq!(state["id"], container.id());
    assert_eq!(state["bundle"], bundle.path().display().to_string());
    assert_eq!(state["rootfs"], bundle.rootfs().display().to_string());
    assert_eq!(state["annotations"]["org.example.key"], "value");
    assert_eq!(state["owner"], "root");
    let created = state["created"].as_str().expect("a time");
    assert!(
        created.starts_with("20") && created.ends_with('Z'),
        "{created} is not RFC 3339 in UTC"
    );
    let directory = format!("/proc/{}", container.pid().as_raw_nonzero());
    assert!(fs::exists(directory).expect("/proc"), "the pid is that of a process on the host");
    let _ = container.kill("KILL").ok();
    container.wait();
    assert_eq!(container.state()["pid"], 0, "a stopped container has no process");
}

#[test]
fn list_shows_containers_as_a_table_as_json_and_as_ids() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    assert_eq!(runtime.call(["list", "--format", "json"]).run().ok().stdout(), "null\n");
    let containers = [runtime.create(&bundle, [""; 0]), runtime.start(&bundle)];
    let table = runtime.call(["list"]).run().ok().stdout();
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    for (container, status) in containers.iter().zip(["created", "running"]) {
        let row = rows.iter().find(|row| row[0] == container.id()).expect("a row");
        assert_eq!(row[1], container.pid().as_raw_nonzero().to_string());
        assert_eq!(row[2], status);
        assert_eq!(row[5], "root");
    }
    let json = runtime.call(["list", "-f", "json"]).run().ok().json();
    let states = json.as_array().expect("an array");
    assert_eq!(states.len(), 2);
    for container in &containers {
        assert!(states.contains(&container.state()), "{json}");
    }
    let ids = runtime.call(["list", "-q"]).run().ok().stdout();
    assert!(containers.iter().all(|container| ids.lines().any(|id| id == container.id())), "{ids}");
}

#[test]
fn list_does_not_make_the_root_and_fails_without_the_one_that_is_named() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let root = runtime.root().join("none");
    let output = Capture::of(runtime.program()).args(["--root".as_ref(), root.as_os_str()]);
    let output = output.args(["list"]).run().exits(1);
    output.says(&format!("cannot read `{}`: no such file or directory", root.display()));
    assert!(!root.exists());
}

#[test]
fn the_pid_file_is_there_when_create_run_and_exec_return() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let file = bundle.path().join("pid");
    let path = file.to_str().expect("UTF-8");
    let read = || fs::read_to_string(&file).expect("a pid file");
    let neighbour = bundle.path().join(".pid");
    fs::write(&neighbour, "somebody's").expect("write a file");
    let container = runtime.create(&bundle, ["--pid-file", path]);
    assert_eq!(fs::read_to_string(neighbour).expect("a file"), "somebody's");
    assert_eq!(read(), container.pid().as_raw_nonzero().to_string(), "no newline: shims parse it");
    let root = bundle.rootfs().display().to_string();
    let none = runtime.bundle_call("create", &bundle, ["--pid-file", &root], &runtime.new_id());
    none.run().exits(1).says("is a directory");
    let made = fs::read_dir(bundle.path()).expect("the bundle").map(|entry| entry.expect("one"));
    let left = made.filter(|entry| entry.file_name().to_string_lossy().starts_with(".rootfs"));
    assert_eq!(left.count(), 0, "what was to become it");

    let id = runtime.new_id();
    let _ = runtime.bundle_call("run", &bundle, ["-d", "--pid-file", path], &id).run().ok();
    let state = runtime.call(["state", &id]).run().ok().json();
    assert_eq!((read(), &state["status"]), (state["pid"].to_string(), &json!("running")));

    let exec = ["exec", "-d", "--pid-file", path, &id, "sleep", "500"];
    let _ = runtime.call(exec).run().ok();
    let command = fs::read(format!("/proc/{}/cmdline", read())).expect("the exec'd process");
    assert_eq!(command, b"sleep\x00500\0");
    // Ours since its parent ended, and the container's init cannot end before it is reaped.
    let pid = read().parse().ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a pid"), Signal::KILL).expect("kill the exec'd process");
    waitpid(pid, WaitOptions::empty()).expect("reap the exec'd process");
}

#[test]
fn commands_on_an_unknown_container_fail_with_the_words_that_engines_match() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for command in ["state", "start", "kill", "delete"] {
        let output = runtime.call([command, "nobody"]).run().exits(1);
        output.says("container does not exist");
        assert_eq!(output.stdout(), "");
    }
    let _ = runtime.call(["exec", "nobody", "true"]).run().exits(255);
    let forced = runtime.call(["delete", "--force", "nobody"]).run().ok();
    assert_eq!((forced.stdout(), forced.stderr()), (String::new(), String::new()));
}

#[test]
fn commands_in_the_wrong_state_fail_with_the_words_that_engines_match() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let container = runtime.create(&bundle, [""; 0]);
    let id = container.id();
    let again = runtime.bundle_call("create", &bundle, [""; 0], id).run().exits(1);
    again.says("container with given ID already exists");
    assert_eq!(container.status(), "created", "the failed create left the first container alone");
    let _ = container.start().ok();
    container.start().exits(1).says("cannot start an already running container");
    let deleted = container.delete().exits(1);
    deleted.says(&format!("cannot delete container `{id}` that is not stopped: running"));
    let _ = container.kill("KILL").ok();
    container.wait();
    container.kill("TERM").exits(1).says("container not running");
    container.exec(["true"]).exits(255).says("cannot exec in a stopped container");
    container.start().exits(1).says("cannot start a container that has stopped");
    let _ = runtime.call(["kill", "--all", id, "9"]).run().ok();
}

#[test]
fn a_container_that_exits_at_once_is_never_missed() {
    let sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), BundleDir::new().shell("exit 7"));
    for _ in 0..50 {
        let _ = runtime.run(&bundle).exits(7);
    }
    sandbox.assert_clean();
}

#[test]
fn a_started_container_that_exits_at_once_is_stopped_and_can_be_deleted() {
    let sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), BundleDir::new());
    for _ in 0..10 {
        let container = runtime.start(&bundle);
        container.wait();
        assert_eq!(container.status(), "stopped");
        let _ = container.delete().ok();
    }
    sandbox.assert_clean();
}

#[test]
fn kill_takes_names_and_numbers_and_sends_term_by_default() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let script = "for s in HUP USR1 USR2 TERM; do trap \"echo $s\" $s; done; echo ready; \
                  while :; do sleep 0.02; done";
    let container = runtime.start(&BundleDir::new().shell(script));
    container.output().wait_for("ready");
    for (signal, name) in [("SIGHUP", "HUP"), ("usr1", "USR1"), ("12", "USR2")] {
        let _ = container.kill(signal).ok();
        container.output().wait_for(&format!("{name}\n"));
    }
    let _ = runtime.call(["kill", container.id()]).run().ok();
    container.output().wait_for("TERM\n");
    container.kill("NOSUCH").exits(1).says("unknown signal");
}

#[test]
fn a_container_that_was_never_started_ends_of_what_asks_it_to() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    // Each is the STOPSIGNAL of some image.
    for signal in ["TERM", "INT", "QUIT", "HUP"] {
        let container = runtime.create(&sleeper(), [""; 0]);
        let _ = container.kill(signal).ok();
        container.wait();
        assert_eq!(container.status(), "stopped", "{signal}");
    }
}

#[test]
fn kill_asks_with_signal_zero_and_knows_real_time_signals() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle =
        BundleDir::new().shell("trap 'exit 5' 37; echo ready; while :; do sleep 0.01; done");
    for signal in ["RTMIN+3", "SIGRTMIN+3", "37"] {
        let id = runtime.new_id();
        let (mut child, output) = runtime.bundle_call("run", &bundle, [""; 0], &id).start();
        output.wait_for("ready");
        let _ = runtime.call(["kill", &id, "0"]).run().ok();
        let _ = runtime.call(["kill", &id, signal]).run().ok();
        assert_eq!(child.wait().expect("wait for nrun").code(), Some(5), "{output}");
    }
    let stopped = runtime.start(&BundleDir::new());
    stopped.wait();
    stopped.kill("0").exits(1).says("container not running");
    stopped.kill("NONE").exits(1).says("unknown signal `NONE`");
}

/// Without a pid namespace of its own, nothing else would end the others.
#[test]
fn kill_ends_every_process_of_a_container_that_shares_its_pid_namespace() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new()
        .without_namespace("pid")
        .without_namespace("network")
        .shell("sleep 600 & sleep 600 & echo ready; exec sleep 600");
    let container = runtime.start(&bundle);
    container.output().wait_for("ready");
    let _ = container.kill("TERM").ok();
    // Only the init has got it.
    container.wait();
    let members = |id: &str| cgroups::read(id, "cgroup.procs").unwrap_or_default();
    assert_eq!(members(container.id()).lines().count(), 2);
    assert_eq!(container.status(), "stopped");
    let assert_nobody_is_left = |id: &str| {
        for _ in 0..1000 {
            if members(id).is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(members(id), "");
    };
    let _ = container.kill("KILL").ok();
    assert_nobody_is_left(container.id());
    container.kill("KILL").exits(1).says("container not running");
    let _ = container.delete().ok();

    let container = runtime.start(&bundle);
    container.output().wait_for("ready");
    let _ = container.kill("KILL").ok();
    container.wait();
    // Before `delete`, which would end them, too.
    assert_nobody_is_left(container.id());
    let _ = container.delete().ok();
    sandbox.assert_clean();
}

/// A process may call itself what it likes, and `/proc/PID/status` begins with that.
#[test]
fn kill_ends_a_container_whose_init_has_a_name_that_is_no_text() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let script = "printf '\\377' >/proc/$$/comm; echo ready; while :; do sleep 1; done";
    let container = runtime.start(&BundleDir::new().shell(script));
    container.output().wait_for("ready");
    let _ = container.kill("KILL").ok();
    container.wait();
    let _ = container.delete().ok();
    sandbox.assert_clean();
}

#[test]
fn kill_all_reaches_every_process_of_the_container() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let script = "(trap '' HUP; sleep 500) & sleep 500 & echo ready; wait; sleep 500";
    let bundle = BundleDir::new().shell(script).without_namespace("pid");
    let container = runtime.start(&bundle);
    container.output().wait_for("ready");
    let _ = runtime.call(["kill", "--all", container.id(), "KILL"]).run().ok();
    container.wait();
    let _ = container.delete().ok();
    sandbox.assert_clean();
}

#[test]
fn delete_force_removes_a_container_in_any_state() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    // Without a pid namespace nothing but the cgroup tells what belongs to the container.
    let shared = || BundleDir::new().shell("sleep 500 & sleep 500").without_namespace("pid");
    let stopped = |bundle: BundleDir| {
        let container = runtime.start(&bundle);
        let _ = container.kill("KILL").ok();
        container.wait();
        container
    };
    let frozen = |bundle: BundleDir| {
        let container = runtime.start(&bundle);
        freeze(&container);
        container
    };
    let containers = [
        ("created", runtime.create(&sleeper(), [""; 0])),
        ("created", runtime.create(&shared(), [""; 0])),
        ("running", runtime.start(&sleeper())),
        ("running", runtime.start(&shared())),
        ("paused", frozen(sleeper())),
        ("paused", frozen(shared())),
        ("stopped", stopped(sleeper())),
        ("stopped", stopped(shared())),
    ];
    for (status, container) in &containers {
        assert_eq!(container.status(), *status);
        let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
        let left = cgroups::named(container.id());
        assert!(left.is_empty(), "{status}: {left:?}");
    }
    assert_eq!(fs::read_dir(runtime.root()).expect("the root").count(), 0);
    sandbox.assert_clean();
}

/// Freezes a container behind the runtime's back.
#[track_caller]
fn freeze(container: &Container<'_>) {
    let groups = cgroups::named(container.id());
    let file = |name: &str| groups.iter().map(|group| group.join(name)).find(|path| path.exists());
    match (file("freezer.state"), file("cgroup.freeze")) {
        (Some(path), _) => fs::write(path, "FROZEN").expect("freeze"),
        (None, Some(path)) => fs::write(path, "1").expect("freeze"),
        (None, None) => panic!("`{}` has no cgroup that can be frozen", container.id()),
    }
    for _ in 0..1000 {
        if container.status() == "paused" {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("never became frozen");
}

#[test]
fn a_created_container_may_be_deleted_without_force() {
    let sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let _ = runtime.create(&bundle, [""; 0]).delete().ok();
    sandbox.assert_clean();
}

#[test]
fn sixteen_containers_run_side_by_side() {
    let sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), BundleDir::new().shell("cat; exit 5"));
    let running: Vec<_> = (0..16)
        .map(|i| {
            let id = runtime.new_id();
            let call = runtime.bundle_call("run", &bundle, [""; 0], &id);
            (i, call.stdin(i.to_string()).start())
        })
        .collect();
    for (i, (mut child, output)) in running {
        assert_eq!(child.wait().expect("wait for nrun").code(), Some(5), "{output}");
        assert_eq!(output.stdout(), i.to_string());
    }
    sandbox.assert_clean();
}

#[test]
fn a_root_longer_than_a_socket_address_works() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let root = runtime.root().join("x".repeat(120)).join("y".repeat(120));
    let id = runtime.new_id();
    let call = |args: &[&str]| {
        let root = [String::from("--root"), root.display().to_string()];
        Capture::of(runtime.program()).args(root).args(args).run().ok()
    };
    let path = bundle.path().display().to_string();
    let _ = call(&["create", "--bundle", &path, &id]);
    let _ = call(&["start", &id]);
    assert_eq!(call(&["state", &id]).json()["status"], "running");
    let _ = call(&["delete", "--force", &id]);
    assert!(!root.join(&id).exists());
}

#[test]
fn the_state_is_for_its_owner_only() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let container = runtime.create(&bundle, [""; 0]);
    let directory = runtime.root().join(container.id());
    let mode = |path: &std::path::Path| {
        fs::symlink_metadata(path).expect("a file of the state").permissions().mode() & 0o777
    };
    assert_eq!(mode(&directory), 0o700);
    let paths = fs::read_dir(&directory).expect("the state");
    // A link has no mode of its own.
    let files =
        paths.map(|entry| entry.expect("an entry").path()).filter(|path| !path.is_symlink());
    for path in files {
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
}

#[test]
fn a_program_without_its_interpreter_is_reported_by_start() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().args(["/bin/script"]);
    let script = bundle.rootfs().join("bin/script");
    fs::write(&script, "#!/no/such/interpreter\n").expect("write a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("set a mode");
    let container = runtime.create(&bundle, [""; 0]);
    container.start().exits(1).says("no such file or directory");
    container.wait();
    assert_eq!(container.status(), "stopped");
    let _ = container.delete().ok();
    runtime.run(&bundle).exits(1).says("no such file or directory");
    sandbox.assert_clean();
}

#[test]
fn errors_go_to_the_log_in_the_form_that_containerd_reads() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let log = runtime.root().join("log.json");
    let globals = ["--log", log.to_str().expect("UTF-8"), "--log-format", "json"];
    let call = runtime.call(globals).args(["state", "nobody"]);
    let output = call.run().exits(1);
    let text = fs::read_to_string(&log).expect("the log");
    let line: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    assert_eq!(line["level"], "error");
    let message = line["msg"].as_str().expect("a message");
    assert!(output.stderr().contains(message), "the same text on stderr; {output}");
    assert!(line["time"].as_str().is_some_and(|time| time.ends_with('Z')));
}

#[test]
fn version_has_the_lines_that_engines_parse() {
    let _sandbox = Sandbox::enter();
    let version = Runtime::under_test().call(["--version"]).run().ok().stdout();
    let lines: Vec<&str> = version.lines().collect();
    assert!(lines[0].starts_with("nrun version "), "{version}");
    for prefix in ["commit: ", "spec: "] {
        assert!(lines.iter().any(|line| line.starts_with(prefix)), "no {prefix:?}: {version}");
    }
}

#[test]
fn features_tell_what_cri_asks_for() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let features = Capture::of(runtime.program()).args(["features"]).run().ok().json();
    let has = |pointer: &str, name: &str| {
        let list = features.pointer(pointer).and_then(Value::as_array).expect("a list");
        assert!(list.iter().any(|entry| entry == name), "{pointer} without {name}");
    };
    has("/mountOptions", "rro");
    for kind in ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"] {
        has("/linux/namespaces", kind);
    }
    has("/linux/capabilities", "CAP_SYS_ADMIN");
    has("/linux/seccomp/actions", "SCMP_ACT_ERRNO");
    has("/linux/seccomp/archs", "SCMP_ARCH_X86_64");
    assert!(features["linux"]["mountExtensions"]["idmap"]["enabled"].is_boolean());
}

#[test]
fn spec_writes_a_configuration_that_runs_and_keeps_one_that_is_there() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), BundleDir::new());
    let config = bundle.path().join("config.json");
    fs::remove_file(&config).expect("remove config.json");
    let _ = runtime.call(["spec"]).directory(bundle.path()).run().ok();
    let text = fs::read_to_string(&config).expect("config.json");
    assert_eq!(
        serde_json::from_str::<Value>(&text).expect("JSON")["process"]["args"],
        json!(["sh"])
    );
    let again = runtime.call(["spec"]).directory(bundle.path()).run().exits(1);
    again.says("exists. Remove it first");
    assert_eq!(fs::read_to_string(&config).expect("config.json"), text);
    // As it stands but for the terminal, which a test does not have.
    let text = text.replace("\"terminal\": true", "\"terminal\": false");
    let bundle = bundle.raw_config(text);
    let id = runtime.new_id();
    let call = runtime.bundle_call("run", &bundle, [""; 0], &id).stdin("hostname; touch /x\n");
    let output = call.run().exits(1);
    assert_eq!(output.stdout(), "nrun\n");
    output.says("Read-only file system");
}

#[test]
fn plan_and_check_do_nothing() {
    let sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let call = |command: &str| {
        let path = bundle.path().display().to_string();
        runtime.call([command, "--bundle", &path]).run().ok().stdout()
    };
    let plan = call("plan");
    for pointer in ["/mounts/0", "/linux/maskedPaths/0", "/process/args", "/hostname"] {
        assert!(plan.contains(pointer), "no step for {pointer}:\n{plan}");
    }
    assert!(call("check").ends_with(": ok\n"));
    assert_eq!(fs::read_dir(runtime.root()).expect("the root").count(), 0);
    sandbox.assert_clean();
}

#[test]
fn who_asks_for_a_container_that_is_not_there_hears_where_it_was_looked_for() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let place = format!("`{}` was searched", runtime.root().display());
    for command in ["state", "start", "kill", "delete", "ps", "explain"] {
        let output = runtime.call([command, "nobody"]).run().exits(1);
        output.says("cannot find `nobody`: container does not exist\n");
        output.says(&place);
        output.says("--root");
    }
}
