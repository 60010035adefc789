//! Monitors that are killed while a client counts on them, and process ids that are somebody else's by now.

use super::world::{IMAGE, World, entries, eventually, no_such_container, runtime};
use nconform::fixture::{Capture, Output};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

fn directory(world: &World, name: &str) -> PathBuf {
    let id = world.inspect(name, "/Id");
    world.root().join("containers").join(id.as_str().unwrap())
}

fn state(world: &World, name: &str) -> Value {
    serde_json::from_slice(&fs::read(directory(world, name).join("state.json")).unwrap()).unwrap()
}

fn kill(pid: &Value) {
    let pid = i32::try_from(pid.as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

fn kill_monitor(world: &World, name: &str) {
    kill(&state(world, name)["monitor"]);
    let lock = File::open(directory(world, name).join("lock")).unwrap();
    eventually("its lock is free", || {
        flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
    });
}

/// A process of the host, and what is written down of a container with its id in place of another's: as if that had ended, and the
/// id were used again.
fn used_again(world: &World, name: &str, whose: &str) -> Child {
    let other = Command::new("sleep").arg("1000").spawn().unwrap();
    let mut state = state(world, name);
    state[whose] = json!(other.id());
    fs::write(directory(world, name).join("state.json"), state.to_string()).unwrap();
    other
}

#[track_caller]
fn assert_lives(mut other: Child) {
    assert_eq!(
        other.try_wait().unwrap(),
        None,
        "a process that is none of the container's has ended"
    );
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn who_has_a_monitors_id_by_now_is_neither_waited_for_nor_killed() {
    let world = World::new();
    let commands: [&[&str]; 3] = [&["stop", "-t", "0"], &["kill"], &["rm", "-f"]];
    for command in commands {
        world.run(&["-d", "--name", "orphan"], &["sleep", "1000"]).ok();
        kill_monitor(&world, "orphan");
        let other = used_again(&world, "orphan", "monitor");
        // Somebody is at work on it, such as a `start` that takes down what is left.
        let lock = File::open(directory(&world, "orphan").join("lock")).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        let (mut client, _) = world.command(command.iter().chain(&["orphan"])).start();
        std::thread::sleep(Duration::from_secs(if command[0] == "rm" { 11 } else { 1 }));
        drop(lock);
        assert!(client.wait().unwrap().success(), "{command:?}");
        assert_lives(other);
        world.nman(["rm", "-f", "orphan"]).ok();
    }
    world.assert_no_container();
}

#[test]
fn a_namespace_is_joined_only_if_it_is_the_containers() {
    let world = World::new();
    world.run(&["-d", "--name", "donor", "--ipc", "shareable"], &["sleep", "1000"]).ok();
    let whole = fs::read(directory(&world, "donor").join("state.json")).unwrap();
    for (option, whose, why) in [
        ("--pid", "pid", "cannot join PID of a non running container"),
        ("--ipc", "pid", "cannot join IPC of a non running container"),
        ("--ipc", "monitor", ": its monitor is gone"),
    ] {
        let other = used_again(&world, "donor", whose);
        let refused = world.run(&["--rm", option, "container:donor"], &["true"]).exits(125);
        refused.says(why);
        assert_lives(other);
        fs::write(directory(&world, "donor").join("state.json"), &whole).unwrap();
        world.run(&["--rm", option, "container:donor"], &["true"]).ok();
    }
    world.nman(["rm", "-f", "donor"]).ok();
    world.assert_no_container();
}

#[test]
fn who_waits_for_a_container_whose_monitor_is_killed_waits_for_the_container() {
    let world = World::new();
    world.run(&["-d", "--name", "orphan"], &["sleep", "1000"]).ok();
    let (mut client, said) = world.command(["wait", "orphan"]).start();
    eventually("it asks the monitor", || {
        let files = fs::read_dir(format!("/proc/{}/fd", client.id())).unwrap();
        let mut links = files.filter_map(|file| fs::read_link(file.unwrap().path()).ok());
        links.any(|link| link.to_string_lossy().starts_with("socket:"))
    });
    kill_monitor(&world, "orphan");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(client.try_wait().unwrap(), None, "{said}");
    kill(&state(&world, "orphan")["pid"]);
    assert!(client.wait().unwrap().success());
    assert_eq!(said.stdout(), "255\n");
    world.nman(["rm", "orphan"]).ok();
    world.assert_no_container();
}

#[test]
fn what_is_being_stopped_is_stopped_although_its_monitor_is_killed() {
    let world = World::new();
    for (verb, left) in [("stop", "exited"), ("restart", "running")] {
        world.run(&["-d", "--name", "orphan"], &["sleep", "1000"]).ok();
        let old = state(&world, "orphan");
        let (mut client, said) = world.command([verb, "-t", "3", "orphan"]).start();
        let mark = directory(&world, "orphan").join("stopped");
        eventually("it is being stopped", || mark.exists());
        kill_monitor(&world, "orphan");
        assert!(client.wait().unwrap().success(), "{said}");
        assert_eq!(world.inspect("orphan", "/State/Status"), left, "{verb}");
        let init = format!("/proc/{}", old["pid"]);
        eventually("its old init is gone", || {
            let _ = rustix::process::wait(WaitOptions::NOHANG);
            !fs::exists(&init).unwrap()
        });
        world.nman(["rm", "-f", "orphan"]).ok();
    }
    world.assert_no_container();
}

#[test]
fn what_a_killed_start_has_left_does_not_keep_the_next_one_from_starting() {
    let world = World::new();
    world.run(&["--name", "left", "--network", "bridge"], &["sh", "-c", "echo data >/kept"]).ok();
    let connected = || entries(&world.state().join("network/connected")).len();
    // When everything is ready for the monitor.
    let ended = Capture::of("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=socketpair"])
        .args(["-e", "inject=socketpair:signal=KILL"])
        .args([env!("CARGO_BIN_EXE_nman"), "start", "left"])
        .env("NMAN_ROOT", world.root())
        .env("NMAN_STATE", world.state())
        .env("NMAN_RUNTIME", runtime())
        .run();
    assert!(!ended.success() && connected() == 1, "{ended}");
    world.nman(["start", "left"]).ok();
    eventually("it has ended", || world.inspect("left", "/State/Status") == "exited");
    assert_eq!((world.inspect("left", "/State/ExitCode"), connected()), (json!(0), 0));
    world.nman(["rm", "left"]).ok();
    world.assert_no_container();
}

#[test]
fn an_init_of_which_nothing_is_written_down_makes_way_for_the_next() {
    let world = World::new();
    world.run(&["-d", "--name", "left"], &["sleep", "1000"]).ok();
    let old = state(&world, "left");
    kill_monitor(&world, "left");
    // As it is when the monitor was killed between the runtime's call and the first thing that it writes.
    let written = json!({"status": "exited", "exitCode": 0});
    fs::write(directory(&world, "left").join("state.json"), written.to_string()).unwrap();
    world.nman(["start", "left"]).ok();
    assert_ne!(state(&world, "left")["pid"], old["pid"]);
    assert_eq!(world.nman(["exec", "left", "echo", "up"]).ok().stdout(), "up\n");
    world.nman(["rm", "-f", "left"]).ok();
    world.assert_no_container();
}

#[test]
fn what_a_client_of_exec_has_left_that_was_killed_is_removed_by_the_next() {
    let world = World::new();
    world.run(&["-d", "--name", "host"], &["sleep", "1000"]).ok();
    let (mut client, _) = world.command(["exec", "host", "sleep", "1000"]).start();
    let pids = || {
        let listed = world.nman(["top", "host", "-eo", "pid,args"]).ok().stdout();
        let sleeps = listed.lines().filter(|line| line.ends_with("sleep 1000"));
        sleeps
            .map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
            .collect::<Vec<i32>>()
    };
    eventually("it runs", || pids().len() == 2);
    let init = state(&world, "host")["pid"].clone();
    let command = pids().into_iter().find(|pid| init != *pid).and_then(Pid::from_raw);
    client.kill().unwrap();
    client.wait().unwrap();
    let id = directory(&world, "host");
    let state = world.path("state/containers").join(id.file_name().unwrap());
    let files = || {
        let all = entries(&state).into_iter();
        let own = all.filter(|path| path.to_string_lossy().contains("/exec-")).count();
        (own, entries(&state.join("execs")).len())
    };
    assert_eq!((files().0 > 0, files().1), (true, 1));
    world.nman(["exec", "host", "true"]).ok();
    assert_eq!(files(), (0, 0));
    // Its command has this test for a parent now, and nothing of the container ends before that has collected it. What else
    // the client has left (a runtime of that moment) may end before it.
    world.nman(["exec", "host", "killall", "sleep"]).ok();
    eventually("it is collected", || {
        waitpid(command, WaitOptions::NOHANG).is_ok_and(|ended| ended.is_some())
    });
    world.nman(["rm", "-f", "host"]).ok();
    world.assert_no_container();
}

/// `nman` held up for a second and a half at the first of these calls, about a file of a container where one is named.
fn held_up(world: &World, calls: &str, path: Option<&str>, words: &[&str]) -> (Child, Output) {
    let path = path.map(|path| world.root().join("containers").join(path).display().to_string());
    let inject = format!("inject={calls}:delay_enter=1500000:when=1");
    let client = Capture::of("strace")
        .args(["-qq", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", &inject])
        .args(path.iter().flat_map(|path| ["-P", path]))
        .args([env!("CARGO_BIN_EXE_nman")])
        .args(words)
        .env("NMAN_ROOT", world.root())
        .env("NMAN_STATE", world.state())
        .env("NMAN_RUNTIME", runtime())
        .start();
    std::thread::sleep(Duration::from_millis(700));
    client
}

#[test]
fn of_two_updates_at_once_none_is_lost() {
    let world = World::new();
    world.run(&["-d", "--name", "two"], &["sleep", "1000"]).ok();
    let words = ["update", "-m", "100m", "--memory-swap", "-1", "two"];
    let (mut first, said) = held_up(&world, "open,openat", Some("lock"), &words);
    world.nman(["update", "--cpus", "0.5", "two"]).ok();
    assert!(first.wait().unwrap().success(), "{said}");
    assert_eq!(world.inspect("two", "/HostConfig/Memory"), 104_857_600);
    assert_eq!(world.inspect("two", "/HostConfig/NanoCpus"), 500_000_000);
    world.nman(["rm", "-f", "two"]).ok();
    world.assert_no_container();
}

#[test]
fn of_two_that_pause_at_once_one_is_refused_and_the_container_counts_as_paused() {
    let world = World::new();
    let id = world.run(&["-d", "--name", "two"], &["sleep", "1000"]).ok().stdout();
    let mark = format!("{}/paused", id.trim());
    let (mut first, said) = held_up(&world, "open,openat", Some(&mark), &["pause", "two"]);
    let second = world.nman(["pause", "two"]);
    assert!(first.wait().unwrap().success(), "{said}");
    second.exits(1).says("is already paused");
    assert_eq!(world.inspect("two", "/State/Status"), "paused");
    world.nman(["unpause", "two"]).ok();
    assert_eq!(world.nman(["exec", "two", "echo", "up"]).ok().stdout(), "up\n");
    world.nman(["rm", "-f", "two"]).ok();
    world.assert_no_container();
}

#[test]
fn who_is_killed_while_it_removes_a_container_leaves_it_whole_or_none_of_it() {
    let world = World::new();
    let calls = "rename,rmdir,unlink,unlinkat";
    let whole = "test ! -e /ran || test -e /data/kept; code=$?; touch /ran /data/kept; exit $code";
    let mut cut = [0, 0];
    for when in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 19, 24, 30, 40, 60, 100, 200] {
        world.run(&["--name", "cut", "-v", "/data"], &["sh", "-c", whole]).ok();
        let inject = format!("inject={calls}:signal=KILL:when={when}");
        let ended = Capture::of("strace")
            .args(["-qq", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", &inject])
            .args([env!("CARGO_BIN_EXE_nman"), "rm", "-v", "cut"])
            .env("NMAN_ROOT", world.root())
            .env("NMAN_STATE", world.state())
            .run();
        // Killed at the entry or the exit of the call.
        let is_there = !world.nman(["ps", "-aq"]).ok().text().is_empty();
        assert!(!(is_there && ended.success()), "{when}: {ended}");
        if is_there {
            world.nman(["start", "-a", "cut"]).ok();
            world.nman(["rm", "-v", "cut"]).ok();
        }
        // Whoever makes the next removes what is left, and has the name.
        world.run(&["--rm", "--name", "cut"], &["true"]).ok();
        assert_eq!(entries(&world.path("root/snapshots/active")), Vec::<PathBuf>::new(), "{when}");
        let directories = entries(&world.path("root/containers"));
        let is_half = |path: &PathBuf| path.to_string_lossy().contains(".half-");
        assert!(!directories.iter().any(is_half), "{when}: {directories:?}");
        assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n", "{when}");
        if ended.success() {
            break;
        }
        cut[usize::from(is_there)] += 1;
    }
    assert!(cut.iter().all(|count| *count > 1), "{cut:?}");
    world.assert_no_container();
}

#[test]
fn who_comes_to_start_what_is_removed_in_that_moment_leaves_nothing_of_it() {
    let world = World::new();
    let create = ["create", "--name", "gone", "--network", "none", IMAGE, "true"];
    let id = world.nman(create).ok().text();
    let lock = format!("{id}/lock");
    let (mut late, said) = held_up(&world, "flock", Some(&lock), &["start", "gone"]);
    world.nman(["rm", "gone"]).ok();
    assert_eq!(late.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.stderr().ends_with(&no_such_container("gone")), "{said}");
    assert!(!world.root().join("containers").join(id).exists());
    world.assert_no_container();
}

#[test]
fn what_died_unseen_counts_as_ended_while_it_is_started_again() {
    let world = World::new();
    world.run(&["-d", "--name", "lost"], &["sleep", "1000"]).ok();
    let old = state(&world, "lost");
    kill_monitor(&world, "lost");
    kill(&old["pid"]);
    eventually("its end is seen", || world.inspect("lost", "/State/Status") == "exited");
    let (mut client, said) = held_up(&world, "unshare", None, &["start", "lost"]);
    assert_eq!(world.inspect("lost", "/State/Status"), "exited");
    assert_eq!(world.nman(["wait", "lost"]).ok().text(), "255");
    assert!(client.wait().unwrap().success(), "{said}");
    world.nman(["exec", "lost", "true"]).ok();
    world.nman(["rm", "-f", "lost"]).ok();
    world.assert_no_container();
}

#[test]
fn two_containers_join_the_network_of_a_third_at_once() {
    let world = World::new();
    let id = world.run(&["-d", "--name", "donor"], &["sleep", "1000"]).ok().text();
    let parent = format!("/{}", world.cgroup());
    let join = ["--rm", "--network", "container:donor"];
    let words = [&["run", "--cgroup-parent", &parent][..], &join, &[IMAGE, "true"]].concat();
    let shared = format!("{id}/netns.shared.new");
    let (mut first, said) = held_up(&world, "rename", Some(&shared), &words);
    world.run(&join, &["true"]).ok();
    assert!(first.wait().unwrap().success(), "{said}");
    world.nman(["rm", "-f", "donor"]).ok();
    world.assert_no_container();
}
