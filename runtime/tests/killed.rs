//! Invariant I8: after a SIGKILL to `create` or `run` at any moment, `delete --force` leaves nothing; after one to the init, they do not.
//!
//! The moments are spread over the time that the command takes, measured in the same run.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nconform::fixture::{
    BundleDir, Capture, Container, Output, Runtime, Sandbox, cgroups, criu, idmappable_dir,
    scratch_dir, strace,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::{Value, json};

const MOMENTS: u32 = 40;

/// Kills the command at moments from its first to its last instant, and deletes what it left each time.
#[track_caller]
fn survive_kills(command: &str, bundle: impl FnOnce() -> BundleDir) {
    let sandbox = Sandbox::enter();
    let bundle = &bundle();
    let runtime = Runtime::under_test();
    let detached: &[&str] = if command == "run" { &["-d"] } else { &[] };
    let call = |id: &str| runtime.bundle_call(command, bundle, detached, id);
    let _ = survive_kills_of(&runtime, call, || {}).ok();
    sandbox.assert_clean();
}

/// The same for any call that makes a container with the id that it is given, after something was `prepare`d for it. Returns what
/// came of the one that was not killed.
#[track_caller]
fn survive_kills_of(
    runtime: &Runtime,
    call: impl Fn(&str) -> Capture,
    prepare: impl Fn(),
) -> Output {
    prepare();
    let started = Instant::now();
    let id = runtime.new_id();
    let unharmed = call(&id).run();
    let duration = started.elapsed().max(Duration::from_millis(4));
    let _ = runtime.call(["delete", "--force", &id]).run().ok();

    for moment in 0..MOMENTS {
        prepare();
        let id = runtime.new_id();
        let (mut child, _) = call(&id).start();
        // A machine with other work takes longer than it did for the one that was measured.
        std::thread::sleep(duration * moment / MOMENTS * 3 / 2);
        child.kill().expect("kill the runtime");
        child.wait().expect("wait for the runtime");
        let delete = runtime.call(["delete", "--force", &id]).limit(Duration::from_secs(30));
        let output = delete.run();
        assert!(output.success(), "killed at {moment}/{MOMENTS} of {duration:?}; {output}");
        let left = cgroups::named(&id);
        assert!(left.is_empty(), "killed at {moment}/{MOMENTS} of {duration:?}: {left:?}");
        assert!(!runtime.root().join(&id).exists(), "killed at {moment}/{MOMENTS} of {duration:?}");
    }
    assert_eq!(fs::read_dir(runtime.root()).expect("the root").count(), 0);
    unharmed
}

fn sleeper() -> BundleDir {
    BundleDir::new().args(["sleep", "600"])
}

#[test]
fn a_create_that_is_killed_leaves_nothing_that_delete_cannot_remove() {
    survive_kills("create", sleeper);
}

#[test]
fn a_run_that_is_killed_leaves_nothing_that_delete_cannot_remove() {
    survive_kills("run", sleeper);
}

#[test]
fn a_create_without_pid_namespace_that_is_killed_leaves_nothing_that_delete_cannot_remove() {
    survive_kills("create", || sleeper().without_namespace("pid"));
}

#[test]
fn a_create_with_a_helper_stage_that_is_killed_leaves_nothing_that_delete_cannot_remove() {
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    survive_kills("create", || {
        sleeper()
            .without_namespace("uts")
            .remove("/hostname")
            .push("/linux/namespaces", json!({"type": "user"}))
            .push("/linux/namespaces", json!({"type": "uts", "path": "/proc/self/ns/uts"}))
            .set("/linux/uidMappings", mapping.clone())
            .set("/linux/gidMappings", mapping)
    });
}

/// Whoever reads the pid file may kill the init before it is let go on.
#[test]
fn a_create_whose_init_is_killed_at_its_end_leaves_nothing() {
    let sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let (root, id) = (runtime.root().display().to_string(), runtime.new_id());
    let paths = [bundle.path().to_owned(), bundle.path().join("pid")];
    let [path, file] = paths.map(|path| path.display().to_string());
    let noted = runtime.root().join(&id).join("init");
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            let noted = || fs::read_link(&noted).ok()?.into_os_string().into_string().ok();
            let pid = || noted()?.split(':').next()?.parse().ok().and_then(Pid::from_raw);
            let found = std::iter::repeat_with(pid).take(1000).find_map(|pid| {
                std::thread::sleep(Duration::from_millis(10));
                pid
            });
            kill_process(found.expect("an init to be noted"), Signal::KILL).expect("kill it");
        });
        let slowly = ["-e", "inject=linkat:delay_enter=1000000"];
        let create = ["--root", &root, "create", "--pid-file", &file, "--bundle", &path, &id];
        strace(&slowly, runtime.program(), &create).0
    });
    output.exits(1).says("did not get ready: its init was killed by signal 9");
    assert!(!runtime.root().join(&id).exists());
    sandbox.assert_clean();
}

/// Runs the command under strace with one call `delayed` for two seconds, and kills the container's init meanwhile, once it is `time`.
fn kill_the_init_meanwhile(
    container: &Container<'_>,
    runtime: &Runtime,
    delayed: &str,
    command: &[&str],
    time: impl Fn() -> bool + Send + Sync,
) -> Output {
    let init = container.pid();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let begin = Instant::now();
            while !time() {
                assert!(begin.elapsed() < Duration::from_secs(20), "{command:?} did not begin");
                std::thread::sleep(Duration::from_millis(5));
            }
            std::thread::sleep(Duration::from_millis(500));
            kill_process(init, Signal::KILL).expect("kill the init");
        });
        let root = runtime.root().display().to_string();
        let options = ["-e", &format!("inject={delayed}=2000000")];
        let command = [&["--root", &root][..], command].concat();
        strace(&options, runtime.program(), &command).0
    })
}

#[test]
fn an_exec_whose_container_is_killed_when_it_is_ready_says_that_it_was_killed() {
    let sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let container = runtime.start(&bundle);
    let file = runtime.root().join("exec.pid").display().to_string();
    let exec = ["exec", "--pid-file", &file, container.id(), "true"];
    let has_two = || {
        let groups = cgroups::named(container.id());
        let processes = |group: &PathBuf| fs::read_to_string(group.join("cgroup.procs"));
        groups
            .iter()
            .filter_map(|group| processes(group).ok())
            .any(|list| list.lines().count() == 2)
    };
    let delayed = "linkat:delay_enter";
    let output = kill_the_init_meanwhile(&container, &runtime, delayed, &exec, has_two);
    let words = format!("cannot exec in container `{}`: its process was killed", container.id());
    output.exits(255).says(&words);
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    sandbox.assert_clean();
}

/// Its namespaces cannot be joined any more then, and which of the steps to them fails is nobody's business.
#[test]
fn an_exec_whose_container_is_killed_before_it_is_entered_says_that_it_is_stopped() {
    let sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let container = runtime.start(&bundle);
    let (exec, delayed) = (["exec", container.id(), "true"], "socketpair:delay_enter");
    let output = kill_the_init_meanwhile(&container, &runtime, delayed, &exec, || true);
    output.exits(255).says("cannot exec in a stopped container");
    let _ = runtime.call(["delete", container.id()]).run().ok();
    sandbox.assert_clean();
}

#[test]
fn a_start_whose_container_is_killed_before_it_is_told_to_go_on_says_that_it_was_killed() {
    let sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    for delayed in ["connect:delay_enter", "connect:delay_exit"] {
        let container = runtime.create(&bundle, [""; 0]);
        let directory = fs::File::open(runtime.root().join(container.id())).expect("its directory");
        // Its lock is held as long as the command is at work.
        let is_locked = || match flock(&directory, FlockOperation::NonBlockingLockShared) {
            Ok(()) => flock(&directory, FlockOperation::Unlock).is_err(),
            Err(_) => true,
        };
        let start = ["start", container.id()];
        let output = kill_the_init_meanwhile(&container, &runtime, delayed, &start, is_locked);
        let words = format!("cannot start container `{}`: its process was killed", container.id());
        output.exits(1).says(&words);
        let _ = runtime.call(["delete", container.id()]).run().ok();
    }
    sandbox.assert_clean();
}

/// Under a name of its own, it would be in the way of a later one with the same process id.
#[test]
fn a_create_that_is_killed_while_it_writes_its_pid_file_leaves_none() {
    let sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let (root, id) = (runtime.root().display().to_string(), runtime.new_id());
    let paths = [bundle.path().to_owned(), bundle.path().join("pid")];
    let [path, file] = paths.map(|path| path.display().to_string());
    let killed = ["-e", "inject=linkat,/^rename:signal=KILL"];
    let create = ["--root", &root, "create", "--pid-file", &file, "--bundle", &path, &id];
    let (output, _) = strace(&killed, runtime.program(), &create);
    assert!(!output.success(), "{output}");
    let _ = runtime.call(["delete", "--force", &id]).run().ok();
    let names = fs::read_dir(bundle.path()).expect("the bundle").flatten();
    let left: Vec<_> = names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("pid"))
        .collect();
    assert_eq!(left, [""; 0], "{output}");
    sandbox.assert_clean();
}

/// Takes a little time, so that the runtime is killed while it runs, too.
fn hook(script: &str) -> Value {
    let script = format!("sleep 0.01; {script}");
    json!({"path": "/bin/busybox", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]})
}

#[test]
fn a_run_with_hooks_that_is_killed_leaves_nothing_and_its_poststop_hooks_run_at_the_delete() {
    let sandbox = Sandbox::enter();
    let (runtime, outside) = (Runtime::under_test(), scratch_dir());
    let file = outside.path().join("stopped");
    let kinds = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"];
    let bundle = kinds
        .iter()
        .fold(sleeper(), |bundle, kind| bundle.push(&format!("/hooks/{kind}"), hook("true")));
    let bundle = bundle.push("/hooks/poststop", hook(&format!("echo >> {}", file.display())));
    let _ = survive_kills_of(&runtime, |id| runtime.bundle_call("run", &bundle, ["-d"], id), || {})
        .ok();
    let ran = fs::read_to_string(&file).expect("what the hooks wrote").lines().count();
    // Killed before there was a state, nothing was to be cleaned up after: what comes before it is a larger part of a slow machine's run.
    assert!((MOMENTS as usize / 8..=MOMENTS as usize + 1).contains(&ran), "{ran} of {MOMENTS}");
    sandbox.assert_clean();
}

/// A hook that hangs, and a file that is there when it does.
fn hanging(outside: &std::path::Path) -> (Value, std::path::PathBuf) {
    let at_work = outside.join("at-work");
    (hook(&format!("echo > {}; sleep 600", at_work.display())), at_work)
}

fn await_file(path: &std::path::Path) {
    let begin = Instant::now();
    while !path.exists() {
        assert!(begin.elapsed() < Duration::from_secs(30), "the hook runs");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The init follows its hook, with a copy of the lock.
#[test]
fn a_create_that_is_killed_while_its_hook_hangs_is_deleted_by_force_at_once() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for bundle in [sleeper(), sleeper().without_namespace("pid")] {
        let (outside, id) = (scratch_dir(), runtime.new_id());
        let (hook, at_work) = hanging(outside.path());
        let bundle = bundle.push("/hooks/createContainer", hook);
        let (mut create, _) = runtime.bundle_call("create", &bundle, [""; 0], &id).start();
        await_file(&at_work);
        create.kill().expect("kill the runtime");
        create.wait().expect("wait for the runtime");
        let begin = Instant::now();
        let _ = runtime.call(["delete", "--force", &id]).run().ok();
        assert!(begin.elapsed() < Duration::from_secs(8), "it took {:?}", begin.elapsed());
        assert!(!runtime.root().join(&id).exists());
        sandbox.assert_clean();
    }
}

/// Nobody wants what it does any more, and nobody else knows of it: it is in no cgroup and no namespace of the container's.
#[test]
fn a_hook_of_the_runtime_ends_with_a_create_that_is_killed() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for kind in ["prestart", "createRuntime"] {
        let (outside, id) = (scratch_dir(), runtime.new_id());
        let at_work = outside.path().join("at-work");
        let hanging =
            format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", at_work.display());
        let bundle = sleeper().push(&format!("/hooks/{kind}"), hook(&hanging));
        let (mut create, _) = runtime.bundle_call("create", &bundle, [""; 0], &id).start();
        await_file(&at_work);
        let pid = fs::read_to_string(&at_work).expect("its process id");
        let pid = pid.trim().parse().ok().and_then(Pid::from_raw).expect("a process id");
        let hook = pidfd_open(pid, PidfdFlags::empty()).expect("it runs");
        create.kill().expect("kill the runtime");
        create.wait().expect("wait for the runtime");
        let limit = Timespec { tv_sec: 30, tv_nsec: 0 };
        let ended = poll(&mut [PollFd::new(&hook, PollFlags::IN)], Some(&limit));
        assert_eq!(ended, Ok(1), "{kind}: the hook lives on");
        let _ = runtime.call(["delete", "--force", &id]).run().ok();
        sandbox.assert_clean();
    }
}

#[test]
fn a_create_whose_hook_hangs_takes_itself_back_when_it_is_deleted_by_force() {
    let sandbox = Sandbox::enter();
    let runtime = &Runtime::under_test();
    std::thread::scope(|scope| {
        for kind in ["prestart", "createRuntime", "createContainer"] {
            scope.spawn(move || {
                let (outside, id) = (scratch_dir(), runtime.new_id());
                let (hanging, at_work) = hanging(outside.path());
                let stopped = outside.path().join("stopped");
                let poststop = hook(&format!("echo >> {}", stopped.display()));
                let bundle = sleeper()
                    .push(&format!("/hooks/{kind}"), hanging)
                    .push("/hooks/poststop", poststop);
                let (mut create, output) =
                    runtime.bundle_call("create", &bundle, [""; 0], &id).start();
                await_file(&at_work);
                let _ = runtime.call(["delete", "--force", &id]).run().ok();
                assert_eq!(create.wait().expect("wait for nrun").code(), Some(1), "{output}");
                output.says("did not get ready: its init was killed by signal 9 (`delete --force`");
                assert!(!runtime.root().join(&id).exists(), "{kind}");
                assert_eq!(fs::read_to_string(&stopped).expect("it ran"), "\n", "{kind}: once");
            });
        }
    });
    sandbox.assert_clean();
}

/// What it has noted may be somebody else's by the time that it hangs.
#[test]
fn what_ends_a_create_by_force_ends_nobody_in_a_cgroup_that_is_not_marked_as_its_own() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for mark in [Some("other 2000-01-01T00:00:00.000000000Z"), None] {
        let (outside, id) = (scratch_dir(), runtime.new_id());
        let (hook, at_work) = hanging(outside.path());
        let bundle = sleeper().push("/hooks/createRuntime", hook);
        let (mut create, output) = runtime.bundle_call("create", &bundle, [""; 0], &id).start();
        await_file(&at_work);
        let (name, directories) = ("trusted.nrun", cgroups::named(&id));
        let own = |directory: &&std::path::PathBuf| {
            rustix::fs::getxattr(*directory, name, &mut [0; 512][..]).is_ok()
        };
        let directory = directories.iter().find(own).expect("a cgroup with a mark");
        match mark {
            Some(mark) => {
                let flags = rustix::fs::XattrFlags::empty();
                rustix::fs::setxattr(directory, name, mark.as_bytes(), flags).expect("mark it");
            }
            None => rustix::fs::removexattr(directory, name).expect("take the mark off"),
        }
        let delete = runtime.call(["delete", "--force", &id]).run().exits(1);
        delete.says("is still being created");
        assert_eq!(create.try_wait().expect("look for nrun"), None, "{output}");
        for path in &directories {
            let procs = fs::read_to_string(path.join("cgroup.procs")).expect("its processes");
            assert!(!procs.is_empty(), "the init lives");
        }
        create.kill().expect("kill the runtime");
        create.wait().expect("wait for the runtime");
        // The hook of a runtime that is killed goes on, as any process whose parent is gone.
        for line in sandbox.leftovers().iter().filter(|line| line.contains("sleep")) {
            let pid = line.split(' ').nth(1).and_then(|pid| pid.parse().ok());
            let _ = pid.and_then(Pid::from_raw).map(|pid| kill_process(pid, Signal::KILL));
        }
        if mark.is_some() {
            rustix::fs::removexattr(directory, name).expect("take the mark off");
        }
        let _ = runtime.call(["delete", "--force", &id]).run().ok();
    }
}

#[test]
fn a_create_with_idmapped_mounts_that_is_killed_leaves_nothing() {
    let sandbox = Sandbox::enter();
    let (runtime, source) = (Runtime::under_test(), idmappable_dir());
    let map = |host: u32| json!([{"containerID": 0, "hostID": host, "size": 65536}]);
    let mount = |at: &str, host: u32| {
        json!({"destination": at, "type": "bind", "source": source.path(), "options": ["rbind"],
               "uidMappings": map(host), "gidMappings": map(host)})
    };
    let bundle = sleeper().push("/mounts", mount("/a", 1000)).push("/mounts", mount("/b", 2000));
    let call = |id: &str| runtime.bundle_call("create", &bundle, [""; 0], id);
    let _ = survive_kills_of(&runtime, call, || {}).ok();
    sandbox.assert_clean();
}

#[test]
fn a_create_with_network_devices_that_is_killed_leaves_them_here_or_to_the_kernel() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let ip = |args: &str| Capture::of("ip").args(args.split(' ')).run();
    let bundle = sleeper().set("/linux/netDevices", json!({"moved0": {"name": "eth0"}}));
    let call = |id: &str| runtime.bundle_call("create", &bundle, [""; 0], id);
    let renew = || {
        // Where the other end went into a namespace that is no more, it may take this one with it at any time.
        let _ = ip("link delete stays0");
        let made = Instant::now();
        while !ip("link add moved0 type veth peer name stays0").success() {
            assert!(made.elapsed() < Duration::from_secs(10), "{}", ip("link").stdout());
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let _ = survive_kills_of(&runtime, call, renew).ok();
    let _ = ip("link delete stays0");
    for _ in 0..200 {
        if !ip("link").stdout().contains("stays0") {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    sandbox.assert_clean();
}

#[test]
fn a_restore_that_is_killed_leaves_nothing_that_delete_cannot_remove() {
    let sandbox = Sandbox::enter();
    let (runtime, bin, bundle) = (Runtime::under_test(), scratch_dir(), sleeper());
    let path = criu::stand_in(bin.path());
    let images = bundle.path().join("images");
    fs::create_dir(&images).expect("a directory");
    fs::write(images.join("descriptors.json"), "[]").expect("a file");
    let options = ["--detach", "--image-path", images.to_str().expect("UTF-8")];
    let call = |id: &str| runtime.bundle_call("restore", &bundle, options, id).env("PATH", &path);
    let _ = survive_kills_of(&runtime, call, || {}).exits(1);
    // criu is not killed: it ends when it asks its caller for the next request and nobody is there.
    let ended = Instant::now();
    while !sandbox.leftovers().is_empty() && ended.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
    }
    sandbox.assert_clean();
}

/// There is nothing yet that could be told.
#[test]
fn a_restore_that_is_told_to_end_while_a_hook_runs_takes_the_container_back() {
    let sandbox = Sandbox::enter();
    let (runtime, bin, bundle) = (Runtime::under_test(), scratch_dir(), sleeper());
    let path = criu::stand_in_with_namespaces(bin.path());
    let images = bundle.path().join("images");
    fs::create_dir(&images).expect("a directory");
    fs::write(images.join("descriptors.json"), "[]").expect("a file");
    let at_work = bin.path().join("at-work");
    let script = format!("echo > {}; sleep 600", at_work.display());
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
    let bundle = bundle.without_namespace("network").push("/hooks/createRuntime", hook);
    let (options, id) = (["--image-path", images.to_str().expect("UTF-8")], runtime.new_id());
    let restore = runtime.bundle_call("restore", &bundle, options, &id).env("PATH", &path);
    let (mut child, output) = restore.start();
    let begin = Instant::now();
    while !at_work.exists() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{output}");
        std::thread::sleep(Duration::from_millis(5));
    }
    let told = Instant::now();
    kill_process(Pid::from_child(&child), Signal::TERM).expect("signal nrun");
    let status = child.wait().expect("wait for nrun").code();
    assert_eq!(status, Some(128 + Signal::TERM.as_raw()), "{output}");
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    output.says(&format!("cannot run container `{id}`: told to end by SIGTERM"));
    assert!(!runtime.root().join(&id).exists());
    sandbox.assert_clean();
}

/// The socket of a container that waits for its start is still there, and its program runs.
#[test]
fn a_container_whose_start_was_killed_when_it_had_said_go_counts_as_running() {
    let sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    let container = runtime.create(&bundle, [""; 0]);
    let root = runtime.root().display().to_string();
    let killed = ["-e", "inject=unlinkat:signal=KILL"];
    let (output, _) =
        strace(&killed, runtime.program(), &["--root", &root, "start", container.id()]);
    assert!(!output.success(), "{output}");
    assert!(runtime.root().join(container.id()).join("start").exists(), "killed before; {output}");
    let begin = Instant::now();
    // The init may be on its way.
    while container.status() == "created" && begin.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(container.status(), "running");
    container.start().exits(1).says("cannot start an already running container");
    container.delete().exits(1).says("cannot delete container");
    assert_eq!(container.status(), "running");
    let _ = container.exec(["true"]).ok();
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    sandbox.assert_clean();
}

#[test]
fn a_start_or_delete_that_is_killed_can_be_followed_by_a_delete() {
    let sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), sleeper());
    for command in [&["start"][..], &["delete", "--force"]] {
        for moment in 0..MOMENTS / 2 {
            let container = runtime.create(&bundle, [""; 0]);
            let (mut child, _) = runtime.call(command).args([container.id()]).start();
            std::thread::sleep(Duration::from_micros(200) * moment);
            child.kill().expect("kill the runtime");
            child.wait().expect("wait for the runtime");
            let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
            let left = cgroups::named(container.id());
            assert!(left.is_empty(), "killed {command:?}: {left:?}");
            assert!(!runtime.root().join(container.id()).exists(), "killed {command:?}");
        }
    }
    sandbox.assert_clean();
}
