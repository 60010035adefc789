//! `start`: what it goes by, and how it knows that the program was executed.

use std::process::Child;
use std::time::{Duration, Instant};

use nconform::fixture::{BundleDir, Container, Output, Runtime, Sandbox};
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketType, connect, send, socket};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// A bundle with a `startContainer` hook that runs a shell script.
fn hooked(bundle: BundleDir, script: &str) -> BundleDir {
    let hook: Value =
        json!({"path": "/bin/busybox", "args": ["sh", "-c", script], "env": ["PATH=/bin"]});
    bundle.push("/hooks/startContainer", hook)
}

#[test]
fn start_says_what_the_created_container_was_made_from() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = hooked(BundleDir::new(), "exit 9");
    let container = runtime.create(&bundle, [""; 0]);
    let _changed = bundle.raw_config("no JSON any more");
    container.start().exits(1).says("error running startContainer hook #0: exit status 9");
}

/// Starts `start` and returns when it waits for the init: when it has not run for a while.
fn starting(runtime: &Runtime, container: &Container<'_>) -> (Child, Output) {
    let started = runtime.call(["start", container.id()]).start();
    let asleep = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", started.0.id())).ok()?;
        let fields: Vec<_> =
            stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect();
        // proc_pid_stat(5): the state is the third field, the times are the 14th and 15th.
        matches!(&*fields[0], "S" | "Z").then(|| (fields[11].clone(), fields[12].clone()))
    };
    let mut seen = (Instant::now(), None);
    while seen.0.elapsed() < Duration::from_millis(300) {
        let now = asleep();
        if now.is_none() || now != seen.1 {
            seen = (Instant::now(), now);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    started
}

#[test]
fn what_ends_a_container_does_not_wait_for_hooks_of_its_start() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for end in [&["kill"][..], &["delete", "--force"]] {
        let bundle = hooked(BundleDir::new(), "sleep 600");
        let container = runtime.create(&bundle, [""; 0]);
        let (mut child, output) = starting(&runtime, &container);
        let begin = Instant::now();
        let signal = if end == ["kill"] { &["KILL"][..] } else { &[] };
        let _ = runtime.call(end).args([container.id()]).args(signal).run().ok();
        assert!(begin.elapsed() < Duration::from_secs(5), "{end:?} took {:?}", begin.elapsed());
        assert!(!child.wait().expect("wait for nrun").success(), "{output}");
    }
    drop(runtime);
    sandbox.assert_clean();
}

#[test]
fn start_fails_when_the_init_is_killed_before_its_exec() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    // Stopped before it hears of the start; in a hook.
    let stopped = BundleDir::new().args(["sleep", "600"]);
    let in_hook = hooked(BundleDir::new(), "sleep 600");
    for (bundle, stop) in [(stopped, true), (in_hook, false)] {
        let container = runtime.create(&bundle, [""; 0]);
        let pid: Pid = container.pid();
        if stop {
            kill_process(pid, Signal::STOP).expect("stop the init");
        }
        let (mut child, output) = starting(&runtime, &container);
        assert_eq!(child.try_wait().expect("wait"), None, "it waits; {output}");
        kill_process(pid, Signal::KILL).expect("kill the init");
        assert_eq!(child.wait().expect("wait for start").code(), Some(1), "{output}");
        output.says("was killed before it could execute the program");
        container.wait();
        assert_eq!(container.status(), "stopped");
        let _ = container.delete().ok();
    }
    sandbox.assert_clean();
}

#[test]
fn a_container_is_created_until_the_hooks_of_its_start_are_done_and_started_but_once() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = hooked(BundleDir::new().args(["sleep", "600"]), "read line </go");
    let go = bundle.rootfs().join("go");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &go, rustix::fs::FileType::Fifo, mode, 0).expect("a FIFO");
    let container = runtime.create(&bundle, [""; 0]);
    let (mut child, output) = starting(&runtime, &container);
    assert_eq!(container.status(), "created");
    container.start().exits(1).says("it is being started already");
    container.delete().exits(1).says("that is not stopped: being started");
    std::fs::write(go, "go\n").expect("let the hook go on");
    assert!(child.wait().expect("wait for start").success(), "{output}");
    assert_eq!(container.status(), "running");
    container.start().exits(1).says("cannot start an already running container");
}

/// As a scanner of sockets does it.
#[test]
fn who_connects_and_leaves_again_has_started_nothing() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().shell("echo started");
    let container = runtime.create(&bundle, [""; 0]);
    let path = runtime.root().join(container.id()).join("start");
    let address = SocketAddrUnix::new(&path).expect("a path that fits");
    for words in [&b""[..], b"no"] {
        let socket = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).expect("a socket");
        connect(&socket, &address).expect("the init listens");
        if !words.is_empty() {
            let _ = send(&socket, words, SendFlags::NOSIGNAL).expect("send");
        }
    }
    assert_eq!(container.status(), "created");
    let _ = container.start().ok();
    container.wait();
    assert_eq!(container.output().stdout(), "started\n");
}
