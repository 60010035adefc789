//! seccomp user notification, with an agent that answers.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nconform::fixture::{BundleDir, Runtime, Sandbox, SeccompAgent, scratch_dir};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use rustix::process::{Pid, WaitOptions, waitpid};
use serde_json::{Value, json};
use sys::notification::{Answer, Notification};

/// "No medium found": no container gets that from a real mkdir(2).
const ENOMEDIUM: i32 = 123;

fn no_medium(_: &Notification) -> Answer {
    Answer::Error(ENOMEDIUM)
}

fn go_on(_: &Notification) -> Answer {
    Answer::Continue
}

fn pretend(_: &Notification) -> Answer {
    Answer::Value(0)
}

/// Not every machine has the first.
const MKDIR: [&str; 2] = ["mkdir", "mkdirat"];

fn profile(names: &[&str], agent: &Path) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        "listenerPath": agent.to_str().expect("UTF-8"),
        "listenerMetadata": "some metadata",
        "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}]
    })
}

fn asking(agent: &SeccompAgent, no_new_privileges: bool) -> BundleDir {
    BundleDir::new()
        .set("/linux/seccomp", profile(&MKDIR, &agent.path()))
        .set("/process/noNewPrivileges", no_new_privileges)
}

#[test]
fn the_agent_decides_what_a_system_call_of_run_returns() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for no_new_privileges in [true, false] {
        for uid in [0, 1000] {
            let agent = SeccompAgent::start(no_medium);
            let bundle = asking(&agent, no_new_privileges)
                .set("/process/user/uid", uid)
                .args(["mkdir", "/tmp/x"]);
            runtime.run(&bundle).exits(1).says("No medium found");
            assert_eq!((agent.states().len(), agent.calls().len()), (1, 1));
            let agent = SeccompAgent::start(pretend);
            let bundle = asking(&agent, no_new_privileges).shell("mkdir /tmp/x && ls -d /tmp/x");
            runtime.run(&bundle).exits(1).says("/tmp/x: No such file or directory");
            let agent = SeccompAgent::start(go_on);
            let bundle = asking(&agent, no_new_privileges).shell("mkdir /tmp/x && ls -d /tmp/x");
            assert_eq!(runtime.run(&bundle).ok().stdout(), "/tmp/x\n");
        }
    }
    sandbox.assert_clean();
}

#[test]
fn the_agent_is_told_of_the_process_and_the_container() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let agent = SeccompAgent::start(go_on);
    let bundle = asking(&agent, true)
        .set("/annotations", json!({"org.example.key": "x".repeat(200_000)}))
        .args(["sleep", "600"]);
    let container = runtime.create(&bundle, [""; 0]);
    assert_eq!(agent.states(), [] as [Value; 0], "`create` leaves it to `start`");
    let pid = container.pid().as_raw_nonzero().get();
    let _ = container.start().ok();
    let states = wait_for_states(&agent, 1);
    let state = &states[0];
    assert_eq!(state["fds"], json!(["seccompFd"]));
    assert_eq!(state["pid"], pid);
    assert_eq!(state["ociVersion"], "1.0.2");
    assert_eq!(state["metadata"], "some metadata");
    let inner = &state["state"];
    assert_eq!((&inner["id"], &inner["pid"]), (&json!(container.id()), &json!(pid)));
    assert_eq!(inner["status"], "created");
    assert_eq!(inner["bundle"], bundle.path().to_str().expect("UTF-8"));
    assert_eq!(inner["annotations"]["org.example.key"].as_str().map(str::len), Some(200_000));

    let pid_file = bundle.path().join("exec.pid");
    let exec = ["exec", "--pid-file", pid_file.to_str().expect("UTF-8"), container.id()];
    let _ = runtime.call(exec).args(["mkdir", "/tmp/x"]).run().ok();
    let states = wait_for_states(&agent, 2);
    let execed = std::fs::read_to_string(&pid_file).expect("a pid file");
    assert_eq!(states[1]["pid"].to_string(), execed, "the process of exec");
    assert_eq!(
        (&states[1]["state"]["pid"], &states[1]["state"]["status"]),
        (&json!(pid), &json!("running"))
    );
    assert_eq!(agent.calls().len(), 1);
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    sandbox.assert_clean();
}

/// The agent's threads are not ours: the runtime is done when all is sent.
fn wait_for_states(agent: &SeccompAgent, count: usize) -> Vec<Value> {
    for _ in 0..1000 {
        if agent.states().len() >= count {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let states = agent.states();
    assert_eq!(states.len(), count, "{states:?}");
    states
}

#[test]
fn exec_asks_the_agent_in_the_foreground_and_detached_with_and_without_a_file() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let agent = SeccompAgent::start(no_medium);
    for no_new_privileges in [true, false] {
        let bundle = asking(&agent, no_new_privileges).args(["sleep", "600"]);
        let container = runtime.start(&bundle);
        container.exec(["mkdir", "/tmp/x"]).says("No medium found");
        let process = json!({"args": ["mkdir", "/tmp/x"], "cwd": "/", "user": {"uid": 1000, "gid": 0}, "env": ["PATH=/bin"]});
        let file = bundle.path().join("process.json");
        std::fs::write(&file, process.to_string()).expect("write process.json");
        let path = file.to_str().expect("UTF-8");
        let pid_file = file.with_file_name("pid");
        let pid = pid_file.to_str().expect("UTF-8");
        let detached = ["exec", "-d", "--pid-file", pid, "--process", path, container.id()];
        let _ = runtime.call(detached).run().ok();
        // It is ours, as a subreaper, and its pid namespace does not end before it is reaped.
        let pid = std::fs::read_to_string(&pid_file).expect("a pid file").parse().ok();
        let ended = waitpid(pid.and_then(Pid::from_raw), WaitOptions::empty()).expect("its end");
        assert_eq!(ended.and_then(|(_, status)| status.exit_status()), Some(1));
        let from_file = runtime.call(["exec", "--process", path, container.id()]).run();
        from_file.says("No medium found");
        let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    }
    assert_eq!(wait_for_states(&agent, 8).len(), 8);
    sandbox.assert_clean();
}

#[test]
fn calls_that_the_runtime_makes_itself_may_be_the_agent_s() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let agent = SeccompAgent::start(go_on);
    let names = [
        "execve", "openat", "open", "read", "close", "fcntl", "clone3", "poll", "sendto",
        "recvfrom", "wait4",
    ];
    for no_new_privileges in [true, false] {
        let bundle = asking(&agent, no_new_privileges)
            .set("/linux/seccomp", profile(&names, &agent.path()))
            .push("/hooks/startContainer", json!({"path": "/bin/true"}));
        let _ = runtime.run(&bundle).ok();
    }
    sandbox.assert_clean();
}

#[test]
fn a_start_container_hook_has_a_listener_of_its_own_and_no_fd_of_it() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let agent = SeccompAgent::start(no_medium);
    let script = "mkdir /tmp/x; ls /proc/self/fd | wc -l; grep Seccomp: /proc/self/status; exit 5";
    let bundle = asking(&agent, false)
        .push("/hooks/startContainer", json!({"path": "/bin/sh", "args": ["sh", "-c", script]}));
    let container = runtime.create(&bundle, [""; 0]);
    let output = container.start().exits(1);
    output.says("error running startContainer hook #0: exit status 5, stdout: 4\nSeccomp:\t2");
    output.says("No medium found");
    let states = wait_for_states(&agent, 1);
    assert_ne!(states[0]["pid"], states[0]["state"]["pid"], "the hook's process is not the init");
    let _ = container.delete().ok();
    sandbox.assert_clean();
}

#[test]
fn an_annotation_names_the_agent_where_the_profile_does_not() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let agent = SeccompAgent::start(no_medium);
    let bundle = asking(&agent, true)
        .remove("/linux/seccomp/listenerPath")
        .remove("/linux/seccomp/listenerMetadata")
        .set("/annotations", json!({"run.oci.seccomp.receiver": agent.path().to_str()}))
        .args(["mkdir", "/tmp/x"]);
    runtime.run(&bundle).exits(1).says("No medium found");
    let bundle = bundle.args(["sleep", "600"]);
    let container = runtime.start(&bundle);
    container.exec(["mkdir", "/tmp/x"]).says("No medium found");
}

#[test]
fn a_profile_that_asks_nobody_needs_no_agent() {
    let _sandbox = Sandbox::enter();
    let mut allowing = profile(&MKDIR, Path::new("/no/such/agent"));
    allowing["syscalls"] = json!([]);
    let bundle = BundleDir::new().set("/linux/seccomp", allowing);
    let _ = Runtime::under_test().run(&bundle).ok();
}

#[test]
fn an_agent_that_cannot_be_reached_or_asked_is_refused_before_anything_is_made() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let agent = SeccompAgent::start(go_on);
    let with = |path: &Path| BundleDir::new().set("/linux/seccomp", profile(&MKDIR, path));
    let file = agent.path().with_file_name("file");
    std::fs::write(&file, "").expect("a file");
    for path in [agent.dead_path(), file, "/no/such/agent".into()] {
        let bundle = with(&path);
        let output = runtime.run(&bundle).exits(1);
        output.says("failed to connect with seccomp agent");
        output.says("/linux/seccomp/listenerPath");
    }
    for path in ["relative", "@abstract", ""] {
        runtime.run(&with(Path::new(path))).exits(1).says("/linux/seccomp/listenerPath");
    }
    let output = runtime.try_create(&with(Path::new("/no/such/agent"))).exits(1);
    output.says("failed to connect with seccomp agent");
    let writes = BundleDir::new().set("/linux/seccomp", profile(&["write"], &agent.path()));
    runtime.run(&writes).exits(1).says("SCMP_ACT_NOTIFY cannot be used for the write syscall");
    assert_eq!(std::fs::read_dir(runtime.root()).expect("the root").count(), 0);
    assert!(agent.states().is_empty());
    // Gone between `create` and `start`.
    let doomed = SeccompAgent::start(go_on);
    let bundle = asking(&doomed, true).args(["sleep", "600"]);
    let container = runtime.create(&bundle, [""; 0]);
    drop(doomed);
    container.start().exits(1).says("failed to connect with seccomp agent");
    assert_eq!(container.status(), "created", "nothing has happened to it");
    let _ = container.delete().ok();
    sandbox.assert_clean();
}

#[test]
fn a_received_call_can_be_made_killable_only() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let agent = SeccompAgent::start(no_medium);
    let bundle = asking(&agent, true)
        .set("/linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]))
        .args(["mkdir", "/tmp/x"]);
    runtime.run(&bundle).exits(1).says("No medium found");
    let features = runtime.call(["features"]).run().ok().json();
    let has = |list: &str, name: &str| {
        features["linux"]["seccomp"][list]
            .as_array()
            .is_some_and(|list| list.contains(&name.into()))
    };
    assert!(has("actions", "SCMP_ACT_NOTIFY"));
    assert!(has("supportedFlags", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"));
}

#[test]
fn in_a_user_namespace_the_agent_decides_too() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let agent = SeccompAgent::start(no_medium);
    let bundle = asking(&agent, true)
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", mapping.clone())
        .set("/linux/gidMappings", mapping)
        .args(["mkdir", "/tmp/x"]);
    runtime.run(&bundle).exits(1).says("No medium found");
    let bundle = bundle.args(["sleep", "600"]);
    let container = runtime.start(&bundle);
    container.exec(["mkdir", "/tmp/x"]).says("No medium found");
}

/// Who listens there accepts nothing, and as many wait as may.
fn full_socket(path: &Path) -> (OwnedFd, Vec<OwnedFd>) {
    let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
    let socket = |flags| socket_with(family, kind, flags, None).expect("a socket");
    let (listener, address) = (socket(SocketFlags::CLOEXEC), SocketAddrUnix::new(path));
    let address = address.expect("an address");
    bind(&listener, &address).and_then(|()| listen(&listener, 0)).expect("listen on a socket");
    let mut waiting = Vec::new();
    loop {
        let client = socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
        match connect(&client, &address) {
            Ok(()) => waiting.push(client),
            Err(_) => return (listener, waiting),
        }
    }
}

#[test]
fn an_agent_or_an_engine_that_does_not_accept_holds_nobody_up() {
    let _sandbox = Sandbox::enter();
    let (runtime, directory) = (Runtime::under_test(), scratch_dir());
    let socket = directory.path().join("full");
    let _full = full_socket(&socket);
    let begin = Instant::now();
    let bundle = BundleDir::new().set("/linux/seccomp", profile(&MKDIR, &socket));
    let words = "failed to connect with seccomp agent";
    runtime.run(&bundle).exits(1).says(words);
    for kills in [true, false] {
        let container = runtime.create(&bundle, [""; 0]);
        let id = container.id();
        let end = if kills { ["kill", id, "KILL"] } else { ["delete", "--force", id] };
        let (mut child, output) = runtime.call(["start", id]).start();
        std::thread::sleep(Duration::from_millis(200));
        let _ = runtime.call(end).run().ok();
        assert!(!child.wait().expect("wait for nrun").success(), "{output}");
    }
    let (terminal, path) = (BundleDir::new().set("/process/terminal", true), socket.display());
    let console = [format!("--console-socket={path}")];
    let refused = runtime.bundle_call("create", &terminal, console, &runtime.new_id()).run();
    refused.exits(1).says("connect to the console socket");
    let pidfd = [format!("--pidfd-socket={path}")];
    let refused = runtime.bundle_call("create", &BundleDir::new(), pidfd, &runtime.new_id()).run();
    refused.exits(1).says("connect to the pidfd socket");
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
}
