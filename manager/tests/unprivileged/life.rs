//! A user's container from `run` to `rm`, and what holds the user's namespace meanwhile.

use crate::world::{IMAGE, World, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

fn pid(world: &World, name: &str) -> i32 {
    world.inspect(name, "/State/Pid").as_i64().unwrap().try_into().unwrap()
}

#[test]
fn a_container_lives_from_run_to_rm() {
    let world = World::new();
    let script = "echo out; echo err >&2; id -u; exec sleep 1000";
    world.run(&["-d", "--name", "web"], &["sh", "-c", script]).ok();
    let logs = || world.nman(["logs", "web"]).ok();
    eventually("it has written", || logs().stdout() == "out\n0\n");
    assert_eq!(logs().stderr(), "err\n");
    let ps = world.nman(["ps", "--format", "{{.Names}} {{.Image}} {{.Status}}"]).ok().stdout();
    assert!(ps.starts_with("web test/busybox Up "), "{ps}");
    let process = format!("/proc/{}", pid(&world, "web"));
    assert_eq!(fs::metadata(process).unwrap().uid(), world.user.uid(), "its root is the user");

    assert_eq!(world.nman(["exec", "web", "id", "-u"]).ok().stdout(), "0\n");
    assert_eq!(world.nman(["exec", "-u", "mail", "web", "id", "-un"]).ok().stdout(), "mail\n");
    world.nman(["exec", "web", "sh", "-c", "exit 3"]).exits(3);
    world.nman(["exec", "-d", "web", "sleep", "2000"]).ok();
    let top = world.nman(["top", "web", "-o", "pid,args"]).ok().stdout();
    assert!(top.contains("sleep 1000") && top.contains("sleep 2000"), "{top}");
    assert_eq!(top.lines().count(), 3, "nothing but its processes: {top}");

    assert_eq!(world.nman(["stop", "-t", "0", "web"]).ok().stdout(), "web\n");
    assert_eq!(world.inspect("web", "/State/ExitCode"), 137);
    assert_eq!(world.nman(["start", "web"]).ok().stdout(), "web\n");
    world.nman(["restart", "-t", "0", "web"]).ok();
    world.nman(["kill", "web"]).ok();
    assert_eq!(world.nman(["wait", "web"]).ok().stdout(), "137\n");
    assert_eq!(world.nman(["rm", "web"]).ok().stdout(), "web\n");
    world.assert_no_container();
}

#[test]
fn a_container_in_the_foreground_reads_writes_and_ends_as_it_likes() {
    let world = World::new();
    let mut args = vec!["run", "--rm", "-i", "--network", "none"];
    args.extend([IMAGE, "sh", "-c", "cat; exit 7"]);
    let output = world.command(args).stdin("hello\n").run().exits(7);
    assert_eq!((output.stdout(), output.stderr()), ("hello\n".to_owned(), String::new()));
    assert_eq!(world.shell(&["-u", "8"], "id -u; id -g").ok().stdout(), "8\n12\n");
    let refused = world.run(&["--rm"], &["/no/such/program"]).exits(127);
    assert!(refused.stderr().contains("/no/such/program"), "{refused}");
    world.assert_no_container();
}

#[test]
fn all_commands_of_a_user_share_one_namespace() {
    let world = World::new();
    // Nobody holds it, so that each would make one.
    fs::remove_dir_all(world.state()).unwrap();
    let words = ["run", "--rm", "--network", "none", IMAGE, "readlink", "/proc/self/ns/user"];
    let started: Vec<_> = (0..4).map(|_| world.command(words).start()).collect();
    let mut links: Vec<String> = started
        .into_iter()
        .map(|(mut child, output)| {
            assert!(child.wait().unwrap().success(), "{output}");
            output.stdout()
        })
        .collect();
    links.push(world.shell(&[], "readlink /proc/self/ns/user").ok().stdout());
    links.dedup();
    assert_eq!(links.len(), 1, "{links:?}");
    assert!(links[0].starts_with("user:["), "{links:?}");
    world.assert_no_container();
}

/// The namespace is then the one that the container's monitor is in.
#[test]
fn a_container_is_reached_when_the_holder_of_the_namespace_was_killed() {
    let world = World::new();
    world.run(&["-d", "--name", "web", "-u", "8"], &["sleep", "1000"]).ok();
    kill(world.holder());
    let own = fs::read_link(format!("/proc/{}/ns/user", pid(&world, "web"))).unwrap();
    assert_eq!(world.nman(["exec", "web", "id", "-u"]).ok().stdout(), "8\n");
    let held = fs::read_link(format!("/proc/{}/ns/user", world.holder())).unwrap();
    assert_eq!(held, own, "and it is held again");
    world.nman(["rm", "-f", "web"]).ok();
    world.assert_no_container();
}

/// In another namespace nobody may signal the container's user, whom it has the same ids for.
#[test]
fn a_container_is_reached_when_its_monitor_was_killed_as_well() {
    let world = World::new();
    world.run(&["-d", "--name", "web", "-u", "8"], &["sleep", "1000"]).ok();
    let id = world.inspect("web", "/Id").as_str().unwrap().to_owned();
    let path = world.root().join("containers").join(id).join("state.json");
    let state: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let init = pid(&world, "web");
    kill(state["monitor"].as_i64().unwrap().try_into().unwrap());
    kill(world.holder());
    assert_eq!(world.nman(["exec", "web", "id", "-u"]).ok().stdout(), "8\n");
    world.nman(["rm", "-f", "web"]).ok();
    let process = format!("/proc/{init}/cmdline");
    eventually("it has ended", || fs::read(&process).unwrap_or_default().is_empty());
    world.assert_no_container();
}

#[test]
fn the_holder_of_the_namespace_ends_with_the_state_directory() {
    let world = World::new();
    let holder = format!("/proc/{}/cmdline", world.holder());
    assert!(fs::read_to_string(&holder).unwrap().starts_with("nman-pause"));
    fs::remove_dir_all(world.state()).unwrap();
    eventually("it has ended", || fs::read(&holder).unwrap_or_default().is_empty());
}

/// What is written there may be of another process that has the id now.
#[test]
fn a_process_that_only_has_the_holders_id_is_left_alone() {
    let world = World::new();
    let note = world.state().join("namespace");
    kill(world.holder());
    fs::write(&note, format!("{} 1\n", std::process::id())).unwrap();
    assert_eq!(world.shell(&[], "id -u").ok().stdout(), "0\n");
    assert_ne!(world.holder(), i32::try_from(std::process::id()).unwrap());
    fs::write(&note, "nonsense").unwrap();
    assert_eq!(world.shell(&[], "id -u").ok().stdout(), "0\n");
}

/// The end of a session takes the run directory away, and lets containers run on.
#[test]
fn a_container_that_has_outlived_the_run_directory_is_seen_and_removed() {
    let world = World::new();
    world.run(&["-d", "--name", "web", "-u", "8"], &["sleep", "1000"]).ok();
    let init = pid(&world, "web");
    fs::remove_dir_all(world.state()).unwrap();
    let ps = || world.nman(["ps", "--format", "{{.Names}}"]).ok().stdout();
    assert_eq!(ps(), "web\n");
    world.nman(["rm", "-f", "web"]).ok();
    let process = format!("/proc/{init}/cmdline");
    eventually("it has ended", || fs::read(&process).unwrap_or_default().is_empty());
    assert_eq!(ps(), "");
    world.assert_no_container();
}

/// After a reboot no process is left, and the run directory is empty.
#[test]
fn a_container_is_started_again_after_a_reboot() {
    let world = World::new();
    world.run(&["-d", "--name", "web"], &["sleep", "1000"]).ok();
    let monitor: i32 = {
        let id = world.inspect("web", "/Id");
        let path = world.root().join("containers").join(id.as_str().unwrap()).join("state.json");
        let state: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        state["monitor"].as_i64().unwrap().try_into().unwrap()
    };
    let init = pid(&world, "web");
    [monitor, init, world.holder()].into_iter().for_each(kill);
    let gone = |pid: i32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().is_empty();
    eventually("all have ended", || gone(monitor) && gone(init));
    fs::remove_dir_all(world.state()).unwrap();

    let status = world.nman(["ps", "-a", "--format", "{{.Names}} {{.Status}}"]).ok().stdout();
    assert!(status.starts_with("web Exited (255)"), "{status}");
    world.nman(["start", "web"]).ok();
    assert_eq!(world.nman(["exec", "web", "id", "-u"]).ok().stdout(), "0\n");
    world.nman(["rm", "-f", "web"]).ok();
    world.assert_no_container();
}

/// Its init is known by when it began: nothing else says that a process is the container's.
#[test]
fn a_container_whose_monitor_was_killed_is_seen_and_removed() {
    let world = World::new();
    world.run(&["-d", "--name", "web"], &["sleep", "1000"]).ok();
    let id = world.inspect("web", "/Id").as_str().unwrap().to_owned();
    let path = world.root().join("containers").join(id).join("state.json");
    let state: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let init = pid(&world, "web");
    kill(state["monitor"].as_i64().unwrap().try_into().unwrap());
    let status = || world.nman(["ps", "-a", "--format", "{{.Status}}"]).ok().stdout();
    assert!(status().starts_with("Up "), "{}", status());
    world.nman(["rm", "-f", "web"]).ok();
    let process = format!("/proc/{init}/cmdline");
    eventually("it has ended", || fs::read(&process).unwrap_or_default().is_empty());
    assert!(!Path::new(&path).exists());
    world.assert_no_container();
}
