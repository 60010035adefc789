//! Commands that find the lock of a container taken.

use std::fs;
use std::time::{Duration, Instant};

use nconform::fixture::{BundleDir, Container, Runtime, Sandbox, criu, scratch_dir};

/// Kills the container, and returns how long that took.
fn kill(container: &Container<'_>) -> Duration {
    let begin = Instant::now();
    let _ = container.kill("KILL").ok();
    container.wait();
    assert_eq!(container.status(), "stopped");
    begin.elapsed()
}

#[test]
fn a_command_that_has_the_lock_and_hangs_is_not_waited_for_without_end() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), BundleDir::new().args(["sleep", "600"]));
    let container = runtime.start(&bundle);
    let directory = fs::File::open(runtime.root().join(container.id())).expect("the state");
    directory.lock().expect("nobody else has the lock");
    let begin = Instant::now();
    let pause = runtime.call(["pause", container.id()]).run().exits(1);
    pause.says("another command on this container hangs, was stopped or takes long");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    // What ends a container does not need it.
    let took = kill(&container);
    assert!(took < Duration::from_secs(20), "{took:?}");
    directory.unlock().expect("it is ours");
    let _ = container.delete().ok();
}

#[test]
fn kill_does_not_fail_while_a_checkpoint_takes_long() {
    let sandbox = Sandbox::enter();
    let (runtime, bin) = (Runtime::under_test(), scratch_dir());
    let path = criu::stand_in(bin.path());
    let (program, at_work) = (bin.path().join("criu"), bin.path().join("at-work"));
    let script = fs::read_to_string(&program).expect("a script");
    let slowly = format!("echo > {}; exec sleep 600", at_work.display());
    fs::write(&program, script.replace("sleep 0.05", &slowly)).expect("a slow one");
    let bundle = BundleDir::new().args(["sleep", "600"]);
    let container = runtime.start(&bundle);
    let images = bundle.path().join("images").display().to_string();
    let checkpoint = runtime.call(["checkpoint", "--image-path", &images, container.id()]);
    let (mut child, output) = checkpoint.env("PATH", &path).start();
    let begin = Instant::now();
    while !at_work.exists() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{output}");
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = kill(&container);
    assert!(took < Duration::from_secs(20), "{took:?}");
    // What it has started runs under it, and the sandbox ends what is left.
    child.kill().expect("end the checkpoint");
    child.wait().expect("wait for nrun");
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    for line in sandbox.leftovers().iter().filter(|line| line.contains("sleep")) {
        let pid = line.split(' ').nth(1).and_then(|pid| pid.parse().ok());
        let pid = pid.and_then(rustix::process::Pid::from_raw).expect("a process");
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}
