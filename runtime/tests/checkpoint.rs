//! checkpoint and restore. Where criu does not work on this kernel, every test here holds the refusal against what it should be
//! instead: a clear error, and a container that runs on.

use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nconform::fixture::{
    BundleDir, Capture, Console, Container, Namespace, Output, Runtime, Sandbox, cgroups, untried,
};
use rustix::process::{Pid, kill_process};
use serde_json::{Value, json};

/// Counts in a file of the root file system, so that it shows whether it goes on where it was.
const COUNTER: &str =
    "exec </dev/null >/dev/null 2>&1; while :; do i=$((i+1)); echo $i >/count; sleep 0.05; done";

fn counter() -> BundleDir {
    BundleDir::new().shell(COUNTER)
}

fn criu_works() -> bool {
    Capture::of("criu").args(["check"]).run().success()
}

fn count(bundle: &BundleDir) -> u64 {
    let text = fs::read_to_string(bundle.rootfs().join("count")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// Waits until the container has counted further than `from`.
#[track_caller]
fn counts_on(bundle: &BundleDir, from: u64) {
    for _ in 0..6000 {
        if count(bundle) > from {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the container stands at {}, after {from}", count(bundle));
}

/// `checkpoint OPTIONS... ID` with images in the bundle. `false` where criu cannot work: that was tested then.
#[track_caller]
fn checkpoint(
    runtime: &Runtime,
    container: &Container<'_>,
    bundle: &BundleDir,
    options: &[&str],
) -> bool {
    let images = bundle.path().join("images");
    let output = runtime
        .call(["checkpoint", "--image-path", images.to_str().expect("UTF-8")])
        .args(options)
        .args([container.id()])
        .run();
    if criu_works() {
        let _ = output.ok();
        return true;
    }
    let output = output.exits(1);
    output.says("criu failed: type ");
    output.says("hint: ");
    output.says(container.id());
    assert_eq!(container.status(), "running", "a checkpoint that fails leaves it running");
    let _ = container.exec(["true"]).ok();
    untried("no criu that works on this kernel");
    false
}

/// `restore --detach OPTIONS... ID`
#[track_caller]
fn restore(runtime: &Runtime, id: &str, bundle: &BundleDir, options: &[&str]) -> Output {
    let images = bundle.path().join("images");
    let images = images.to_str().expect("UTF-8");
    let all = [&["--detach", "--image-path", images], options].concat();
    runtime.bundle_call("restore", bundle, all, id).run()
}

#[test]
fn a_container_goes_on_after_a_checkpoint_and_a_restore() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let source = counter();
    fs::write(source.path().join("file"), "bound\n").expect("a file");
    let bind = |to: &str, from: &Path, option: &str| json!({"destination": to, "type": "bind", "source": from, "options": [option, "ro"]});
    let bundle = counter()
        .push("/mounts", bind("/bound/file", &source.path().join("file"), "bind"))
        .push("/mounts", bind("/bound/tree", source.path(), "rbind"));
    let container = runtime.start(&bundle);
    counts_on(&bundle, 3);
    if !checkpoint(&runtime, &container, &bundle, &[]) {
        return;
    }
    let _ = runtime.call(["state", container.id()]).run().exits(1);
    assert!(cgroups::named(container.id()).is_empty(), "nothing is left of the container");
    let before = count(&bundle);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(count(&bundle), before, "it does not run while it is on disk");

    let pid_file = bundle.path().join("pid");
    let options = ["--pid-file", pid_file.to_str().expect("UTF-8")];
    let _ = restore(&runtime, container.id(), &bundle, &options).ok();
    counts_on(&bundle, before);
    assert!(count(&bundle) < before + 10_000 && before > 1, "it went on from {before}");
    assert_eq!(container.status(), "running");
    let pid = container.pid().as_raw_nonzero().to_string();
    assert_eq!(fs::read_to_string(&pid_file).expect("a pid file"), pid);
    assert!(!cgroups::named(container.id()).is_empty());
    let shown = container.exec(["cat", "/bound/file", "/bound/tree/file"]).ok();
    assert_eq!(shown.stdout(), "bound\nbound\n");
    let write = container.exec(["sh", "-c", "echo x >/bound/file"]);
    assert!(!write.success(), "it is still read-only: {write}");
    // Hidden files and directories, the loopback interface, devices, the cgroup: all as they were.
    let script = "! grep -q . /proc/keys && [ -z \"$(ls /sys/firmware)\" ] && ip addr | grep -q 127.0.0.1 \
                  && [ -c /dev/null ] && hostname";
    assert_eq!(container.exec(["sh", "-c", script]).ok().text(), "sandbox");
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its cgroups");
    assert!(cgroup.contains(container.id()), "{cgroup}");
    let limits = container.exec(["sh", "-c", "mknod /tmp/sda b 8 0 && cat /tmp/sda"]);
    assert!(!limits.success(), "the device rules are in force: {limits}");
    // Nothing of the restore is mounted on the host.
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("our mounts");
    assert!(!mounts.contains("criu-root"), "{mounts}");

    let _ = container.kill("KILL").ok();
    container.wait();
    assert_eq!(container.status(), "stopped");
    let _ = container.delete().ok();
    assert_eq!(fs::read_dir(runtime.root()).expect("the root").count(), 0);
    sandbox.assert_clean();
}

#[test]
fn a_restored_container_can_have_another_id_and_be_checkpointed_again() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = counter().push("/linux/namespaces", json!({"type": "cgroup"}));
    let container = runtime.start(&bundle);
    counts_on(&bundle, 0);
    if !checkpoint(&runtime, &container, &bundle, &["--leave-running", "--leave-running"]) {
        return;
    }
    assert_eq!(container.status(), "running");
    counts_on(&bundle, count(&bundle));
    let _ = container.kill("KILL").ok();
    container.wait();

    let id = runtime.new_id();
    let _ = restore(&runtime, &id, &bundle, &[]).ok();
    counts_on(&bundle, count(&bundle));
    let state = runtime.call(["state", &id]).run().ok().json();
    let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", state["pid"])).expect("cgroups");
    assert!(cgroup.contains(&id) && !cgroup.contains(container.id()), "{cgroup}");
    let second = bundle.path().join("second");
    let second = second.to_str().expect("UTF-8");
    let work = bundle.path().join("work");
    let work = work.to_str().expect("UTF-8");
    let call = ["checkpoint", "--image-path", second, "--work-path", work, &id];
    let _ = runtime.call(call).run().ok();
    assert!(Path::new(work).join("dump.log").is_file(), "the log is in --work-path");
    let before = count(&bundle);
    let again = ["--detach", "--image-path", second, "--work-path", work];
    let _ = runtime.bundle_call("restore", &bundle, again, &id).run().ok();
    counts_on(&bundle, before);
}

#[test]
fn memory_is_written_ahead_and_the_rest_beside_it() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = counter();
    let container = runtime.start(&bundle);
    counts_on(&bundle, 0);
    let parent = bundle.path().join("images/parent");
    let parent = parent.to_str().expect("UTF-8");
    let ahead = runtime.call(["checkpoint", "--pre-dump", "--image-path", parent, container.id()]);
    if !criu_works() {
        ahead.run().exits(1).says("criu");
        assert!(!checkpoint(&runtime, &container, &bundle, &[]));
        return;
    }
    let _ = ahead.run().ok();
    assert_eq!(container.status(), "running", "memory only: it runs on");
    counts_on(&bundle, count(&bundle));
    assert!(checkpoint(&runtime, &container, &bundle, &["--parent-path", "parent"]));
    let before = count(&bundle);
    let _ = restore(&runtime, container.id(), &bundle, &[]).ok();
    counts_on(&bundle, before);
}

#[test]
fn a_terminal_is_made_anew_and_handed_out() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let script = "echo ready; while read line; do echo got $line; done";
    let bundle = BundleDir::new().shell(script).set("/process/terminal", true);
    let console = Console::listen();
    let path = console.path();
    let options = ["--console-socket", path.to_str().expect("UTF-8")];
    let container = runtime.create(&bundle, options);
    let mut terminal = console.receive();
    let _ = container.start().ok();
    terminal.expect("ready\r\n");
    if !checkpoint(&runtime, &container, &bundle, &["--shell-job"]) {
        return;
    }
    drop(terminal);
    let refused = restore(&runtime, container.id(), &bundle, &["--shell-job"]).exits(1);
    refused.says("without setting --console-socket");
    let all = [&options[..], &["--shell-job"]].concat();
    let _ = restore(&runtime, container.id(), &bundle, &all).ok();
    let mut terminal = console.receive();
    terminal.type_in("input\n");
    terminal.expect("got input\r\n");
}

/// The path of a new network namespace, which is there as long as the second value.
fn network() -> (String, mpsc::Sender<()>) {
    let ((tell, path), (hold, held)) = (mpsc::channel(), mpsc::channel());
    std::thread::spawn(move || {
        Namespace::create().run(move || {
            let thread = rustix::thread::gettid().as_raw_nonzero();
            let path = format!("/proc/{}/task/{thread}/ns/net", std::process::id());
            tell.send(path).expect("somebody listens");
            let _ = held.recv();
        });
    });
    (path.recv().expect("a namespace"), hold)
}

#[test]
fn a_network_namespace_by_path_is_there_before_and_after() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let (path, _held) = network();
    let namespace = json!({"type": "network", "path": path});
    let bundle = counter().without_namespace("network").push("/linux/namespaces", namespace);
    let container = runtime.start(&bundle);
    counts_on(&bundle, 0);
    if !checkpoint(&runtime, &container, &bundle, &[]) {
        return;
    }
    let _ = restore(&runtime, container.id(), &bundle, &[]).ok();
    let of = |path: &str| fs::read_link(path).expect("a namespace");
    let pid = container.pid().as_raw_nonzero();
    assert_eq!(of(&format!("/proc/{pid}/ns/net")), of(&path));
}

#[test]
fn standard_streams_that_are_pipes_are_the_restorers() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().shell("while :; do echo line; sleep 0.05; done");
    let id = runtime.new_id();
    let call = |args: &[&str]| {
        let mut command = Command::new(runtime.program());
        command.arg("--root").arg(runtime.root()).args(args).arg("--bundle").arg(bundle.path());
        command.arg(&id).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("a runtime")
    };
    let read_line = |child: &mut std::process::Child| {
        let mut text = [0; 5];
        let out = child.stdout.as_mut().expect("a pipe");
        out.read_exact(&mut text).expect("a line");
        assert_eq!(&text, b"line\n");
    };
    let mut run = call(&["run", "--detach"]);
    assert!(run.wait().expect("wait").success());
    read_line(&mut run);
    let images = bundle.path().join("images");
    let images = images.to_str().expect("UTF-8");
    let output = runtime.call(["checkpoint", "--image-path", images, &id]).run();
    if !criu_works() {
        output.exits(1).says("criu failed");
        return untried("no criu that works on this kernel");
    }
    let _ = output.ok();
    drop(run);
    let mut restored = call(&["restore", "--detach", "--image-path", images]);
    assert!(restored.wait().expect("wait").success());
    read_line(&mut restored);
}

#[test]
fn a_restore_in_the_foreground_returns_the_exit_status_and_removes_the_container() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let script =
        "exec </dev/null >/dev/null 2>&1; trap 'exit 7' TERM; while :; do sleep 0.05; done";
    let bundle = BundleDir::new().shell(script);
    let container = runtime.start(&bundle);
    std::thread::sleep(Duration::from_millis(300));
    if !checkpoint(&runtime, &container, &bundle, &[]) {
        return;
    }
    let images = bundle.path().join("images");
    let options = ["--image-path", images.to_str().expect("UTF-8")];
    let (mut child, output) =
        runtime.bundle_call("restore", &bundle, options, container.id()).start();
    for _ in 0..3000 {
        if runtime.call(["state", container.id()]).run().stdout().contains("running") {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // A signal to nrun goes to the container.
    kill_process(Pid::from_child(&child), rustix::process::Signal::TERM).expect("nrun runs");
    let status = child.wait().expect("wait for nrun");
    assert_eq!(status.code(), Some(7), "{output}");
    let _ = runtime.call(["state", container.id()]).run().exits(1);
    sandbox.assert_clean();
}

#[test]
fn a_container_with_a_user_namespace_can_be_restored() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let mapping = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    let bundle = counter()
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", mapping.clone())
        .set("/linux/gidMappings", mapping);
    let container = runtime.start(&bundle);
    counts_on(&bundle, 0);
    if !checkpoint(&runtime, &container, &bundle, &[]) {
        return;
    }
    let before = count(&bundle);
    let _ = restore(&runtime, container.id(), &bundle, &[]).ok();
    counts_on(&bundle, before);
    let _ = container.exec(["true"]).ok();
}

#[test]
fn hooks_of_the_outside_run_again_on_the_host() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let directory = counter();
    let notes = directory.path().join("notes");
    let note = |word: &str| {
        let script = format!(
            "echo {word} $(readlink /proc/self/ns/mnt) >>{}; cat >/dev/null",
            notes.display()
        );
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
    };
    let bundle = counter()
        .set("/hooks/prestart", note("prestart"))
        .set("/hooks/createRuntime", note("createRuntime"))
        .set("/hooks/poststop", note("poststop"));
    let container = runtime.start(&bundle);
    counts_on(&bundle, 0);
    if !checkpoint(&runtime, &container, &bundle, &[]) {
        return;
    }
    let _ = restore(&runtime, container.id(), &bundle, &[]).ok();
    let own = fs::read_link("/proc/thread-self/ns/mnt").expect("our mount namespace");
    let line = |word: &str| format!("{word} {}", own.display());
    let once = ["prestart", "createRuntime"].map(line);
    let text = fs::read_to_string(&notes).expect("what the hooks noted");
    let seen: Vec<&str> = text.lines().collect();
    assert_eq!(seen[..2], once);
    assert_eq!(seen[2], line("poststop"), "the container was gone from the host");
    assert_eq!(seen[3..], once, "each is in the host's mount namespace");
    let _ = container.kill("KILL").ok();
    container.wait();
    let _ = container.delete().ok();

    // One that fails takes the restore back.
    let failing = json!([{"path": "/bin/sh", "args": ["sh", "-c", "exit 5"]}]);
    let bundle = bundle.set("/hooks/createRuntime", failing);
    let output = restore(&runtime, container.id(), &bundle, &[]).exits(1);
    output.says("error running createRuntime hook #0: exit status 5");
    assert!(cgroups::named(container.id()).is_empty());
    assert_eq!(fs::read_dir(runtime.root()).expect("the root").count(), 0);
    sandbox.assert_clean();
}

#[test]
fn memory_is_brought_over_when_it_is_used() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = counter();
    let container = runtime.start(&bundle);
    counts_on(&bundle, 0);
    let images = bundle.path().join("images");
    let images = images.to_str().expect("UTF-8");
    let (read, write) = rustix::pipe::pipe().expect("a pipe");
    let status_fd = write.as_raw_fd().to_string();
    let server = ["--lazy-pages", "--page-server", "127.0.0.1:2727", "--status-fd", &status_fd];
    let call = runtime.call(["checkpoint", "--image-path", images]).args(server);
    let call = call.args(["--manage-cgroups-mode", "ignore", container.id()]);
    if !criu_works() {
        call.run().exits(1).says("criu");
        assert!(!checkpoint(&runtime, &container, &bundle, &[]));
        return;
    }
    let (mut dump, output) = call.start();
    drop(write);
    let mut byte = [1];
    assert_eq!(rustix::io::read(&read, &mut byte), Ok(1), "{output}");
    assert_eq!(byte, [0], "pages are served now");
    let before = count(&bundle);
    let daemon = ["lazy-pages", "--page-server", "--address", "127.0.0.1", "--port", "2727"];
    let (mut pages, _) = Capture::of("criu").args(daemon).args(["-D", images]).start();
    let id = runtime.new_id();
    let socket = Path::new(images).join("lazy-pages.socket");
    for _ in 0..3000 {
        if socket.exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let options = ["--lazy-pages", "--manage-cgroups-mode", "ignore"];
    let _ = restore(&runtime, &id, &bundle, &options).ok();
    counts_on(&bundle, before);
    assert!(dump.wait().expect("wait for the checkpoint").success(), "{output}");
    let _ = pages.wait();
    let _ = runtime.call(["state", container.id()]).run().exits(1);
}

#[test]
fn the_host_s_files_come_from_config_json_alone() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let plain = counter();
    let bind = json!({"destination": "/host", "type": "bind", "source": plain.path(), "options": ["bind"]});
    let bundle = counter().push("/mounts", bind);
    let container = runtime.start(&bundle);
    counts_on(&bundle, 0);
    if !checkpoint(&runtime, &container, &bundle, &[]) {
        return;
    }
    // The images have a mount that this config.json has not, and a link in the place of the log.
    let last = bundle.config()["mounts"].as_array().map_or(0, Vec::len) - 1;
    let bundle = bundle.remove(&format!("/mounts/{last}"));
    let victim = plain.path().join("victim");
    fs::write(&victim, "kept").expect("a file");
    let log = bundle.path().join("images/restore.log");
    std::os::unix::fs::symlink(&victim, &log).expect("a link");
    let output = restore(&runtime, container.id(), &bundle, &[]).exits(1);
    output.says("criu failed: type RESTORE");
    output.says("restore.log");
    assert_eq!(fs::read_to_string(&victim).expect("the file"), "kept");
    let _ = runtime.call(["state", container.id()]).run().exits(1);
    assert!(cgroups::named(container.id()).is_empty(), "a restore that fails leaves nothing");
    assert_eq!(fs::read_dir(runtime.root()).expect("the root").count(), 0);
    sandbox.assert_clean();
}

#[test]
fn only_a_running_container_can_be_checkpointed() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = counter();
    let images = bundle.path().join("images");
    let call = |id: &str| {
        let call = ["checkpoint", "--image-path", images.to_str().expect("UTF-8"), id];
        runtime.call(call).run().exits(1)
    };
    call("none").says("container does not exist");
    let container = runtime.create(&bundle, [""; 0]);
    call(container.id()).says("Container cannot be checkpointed in created state");
    let _ = container.start().ok();
    let _ = container.kill("KILL").ok();
    container.wait();
    call(container.id()).says("Container cannot be checkpointed in stopped state");
    assert!(!images.exists(), "nothing is made for a checkpoint that cannot be");
    let _ = container.delete().ok();
    sandbox.assert_clean();
}

#[test]
fn what_engines_probe_for_is_there() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let help = runtime.call(["checkpoint", "--help"]).run().ok().stdout();
    for flag in ["--image-path", "--pre-dump", "--status-fd", "--auto-dedup", "--parent-path"] {
        assert!(help.contains(flag), "{help}");
    }
    let output = runtime.call(["restore", "--lsm-mount-context"]).run().exits(1);
    output.says("flag needs an argument");
}

#[test]
fn wrong_options_are_refused_before_criu_is_asked() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = counter();
    let container = runtime.start(&bundle);
    let images = bundle.path().join("images");
    let images = images.to_str().expect("UTF-8");
    for (options, text) in [
        (&["--parent-path", "/abs"][..], "--parent-path must be relative"),
        (&["--parent-path", "none"], "invalid --parent-path"),
        (&["--manage-cgroups-mode", "hard"], "Invalid manage-cgroups-mode value"),
        (&["--page-server", "here"], "Use --page-server ADDRESS:PORT"),
        (&["--page-server", "here:x"], "Invalid port number"),
        (&["--empty-ns", "ipc"], "namespace \"ipc\" is not supported"),
        (&["--status-fd", "777"], "invalid --status-fd argument 777"),
    ] {
        let call = runtime.call(["checkpoint", "--image-path", images]).args(options);
        call.args([container.id()]).run().exits(1).says(text);
    }
    assert_eq!(container.status(), "running");
}

#[test]
fn a_host_without_criu_says_so() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = counter();
    let container = runtime.start(&bundle);
    let images = bundle.path().join("images");
    let images = images.to_str().expect("UTF-8");
    let call = ["checkpoint", "--image-path", images, container.id()];
    let output = runtime.call(call).env("PATH", "/nowhere").run().exits(1);
    output.says("`criu` is not in PATH");
    assert_eq!(container.status(), "running");
    fs::create_dir_all(images).expect("a directory");
    fs::write(Path::new(images).join("descriptors.json"), "[]").expect("a file");
    let id = runtime.new_id();
    let options = ["--detach", "--image-path", images];
    let restore = runtime.bundle_call("restore", &bundle, options, &id);
    restore.env("PATH", "/nowhere").run().exits(1).says("`criu` is not in PATH");
    let _ = runtime.call(["state", &id]).run().exits(1);
    drop(runtime);
    sandbox.assert_clean();
}

#[test]
fn a_restore_that_fails_leaves_nothing() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = counter();
    let id = runtime.new_id();
    let missing = restore(&runtime, &id, &bundle, &[]).exits(1);
    missing.says("open the directory");
    let images = bundle.path().join("images");
    fs::create_dir(&images).expect("a directory");
    restore(&runtime, &id, &bundle, &[]).exits(1).says("descriptors.json");
    // criu finds no images there.
    fs::write(images.join("descriptors.json"), "[]").expect("a file");
    let output = restore(&runtime, &id, &bundle, &[]).exits(1);
    output.says("criu failed: type RESTORE");
    output.says(&images.join("restore.log").display().to_string());
    assert_eq!(fs::read_dir(runtime.root()).expect("the root").count(), 0);
    assert!(cgroups::named(&id).is_empty());
    sandbox.assert_clean();
}

#[test]
fn criu_gets_no_file_descriptor_but_its_own() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = counter();
    let container = runtime.start(&bundle);
    let bin = bundle.path().join("bin");
    fs::create_dir(&bin).expect("a directory");
    let list = bundle.path().join("list");
    let script = format!("#!/bin/sh\n/bin/ls -l /proc/$$/fd >{}\nexit 3\n", list.display());
    fs::write(bin.join("criu"), script).expect("a script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(bin.join("criu"), mode).expect("make it executable");
    let leaked = fs::File::open("/").expect("a directory");
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).expect("an fd to inherit");
    let images = bundle.path().join("images");
    let images = images.to_str().expect("UTF-8");
    let call = ["checkpoint", "--image-path", images, container.id()];
    let output = runtime.call(call).env("PATH", &bin).run().exits(1);
    output.says("it exited with status 3 without an answer");
    let list = fs::read_to_string(list).expect("what criu saw");
    let seen: Vec<&str> = list.lines().filter(|line| line.contains("->")).collect();
    let number = leaked.as_raw_fd();
    assert!(!seen.iter().any(|line| line.ends_with("-> /")), "criu has our fd {number}: {list}");
    let sockets = seen.iter().filter(|line| line.contains("socket:")).count();
    assert_eq!(sockets, 1, "{list}");
    assert_eq!(container.state().get("status"), Some(&Value::from("running")));
}
