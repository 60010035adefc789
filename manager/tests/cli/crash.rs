//! kill -9 at any moment leaves nothing that `rm -f` cannot remove (invariant I8).

use super::world::{IMAGE, World, entries, eventually, runtime};
use nconform::fixture::Capture;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// The container's init and its monitor.
fn processes(world: &World, name: &str) -> (i32, i32) {
    let init = world.inspect(name, "/State/Pid").as_i64().unwrap();
    let status = fs::read_to_string(format!("/proc/{init}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    (i32::try_from(init).unwrap(), parent.trim().parse().unwrap())
}

fn has_ended(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

#[test]
fn a_container_whose_monitor_was_killed_still_runs_and_can_be_removed() {
    let world = World::new();
    world.run(&["-d", "--name", "orphan", "--network", "bridge"], &["sleep", "1000"]).ok();
    let (init, monitor) = processes(&world, "orphan");
    kill(monitor);
    assert!(world.nman(["ps"]).ok().stdout().contains("orphan"));
    assert_eq!(world.nman(["exec", "orphan", "echo", "alive"]).ok().stdout(), "alive\n");
    let refused = world.nman(["attach", "orphan"]).exits(1).stderr();
    assert!(refused.contains(": its monitor is gone\n\nhint: it may run on"), "{refused}");
    world.nman(["rm", "-f", "orphan"]).ok();
    eventually("its init is dead", || has_ended(init));
    world.assert_no_container();
}

#[test]
fn a_container_that_its_runtime_does_not_know_any_more_is_stopped_all_the_same() {
    let world = World::new();
    world.run(&["-d", "--name", "lost"], &["sleep", "1000"]).ok();
    let (init, monitor) = processes(&world, "lost");
    fs::remove_dir_all(world.path("state/runtime")).unwrap();
    kill(monitor);
    eventually("its monitor is dead", || processes(&world, "lost").1 != monitor);

    // It does not hear of SIGTERM, as the first process of a namespace.
    world.nman(["stop", "-t", "1", "lost"]).ok();
    assert!(has_ended(init));
    world.nman(["rm", "lost"]).ok();
    world.assert_no_container();
}

#[test]
fn a_container_that_died_unseen_counts_as_exited_and_starts_again() {
    let world = World::new();
    world.run(&["-d", "--name", "lost"], &["sleep", "1000"]).ok();
    let (init, monitor) = processes(&world, "lost");
    kill(monitor);
    kill(init);
    eventually("its end is seen", || world.nman(["ps", "-a"]).stdout().contains("Exited (255)"));
    world.nman(["start", "lost"]).ok();
    assert!(world.nman(["ps"]).ok().stdout().contains("lost"));
    world.nman(["rm", "-f", "lost"]).ok();
    world.assert_no_container();
}

#[test]
fn run_killed_at_any_moment_can_be_cleaned_up() {
    let world = World::new();
    for delay in (0..60).step_by(4) {
        let name = format!("cut-{delay}");
        let options = ["--name", &name, "--network", "bridge"];
        let (mut child, _) = world.run_command(&options, &["sleep", "1000"]).start();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // Monitors that were started meanwhile go on by themselves.
    eventually("every container can be removed", || {
        let ids = world.nman(["ps", "-aq"]).ok().stdout();
        let _ = world.nman(["rm", "-f", "none"].into_iter().chain(ids.lines()));
        ids.is_empty()
    });
    // What was killed before it had a name is swept by the next one.
    world.run(&["--rm"], &["true"]).ok();
    let hidden = entries(&world.path("root/containers"));
    let hidden: Vec<_> =
        hidden.iter().filter(|path| path.to_string_lossy().contains(".half-")).collect();
    assert!(hidden.is_empty(), "{hidden:?}");
    world.assert_no_container();
}

#[test]
fn what_was_being_made_by_who_was_killed_is_removed_by_who_makes_the_next() {
    let world = World::new();
    world.nman(["create", "--name", "kept", "--network", "none", IMAGE, "true"]).ok();
    // Before there are mounts, and when all is ready for the monitor.
    for (call, command) in [("unshare", "create"), ("unshare", "run"), ("socketpair", "run")] {
        let inject = format!("inject={call}:signal=KILL");
        let options = ["--rm", "--name", "cut", "-v", "/anonymous", "--network", "none"];
        let ended = Capture::of("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject])
            .args([env!("CARGO_BIN_EXE_nman"), command])
            .args(["--cgroup-parent", &format!("/{}", world.cgroup())])
            .args(options)
            .args([IMAGE, "sleep", "1000"])
            .env("NMAN_ROOT", world.root())
            .env("NMAN_STATE", world.state())
            .env("NMAN_RUNTIME", runtime())
            .run();
        assert!(!ended.success(), "{ended}");
        assert_eq!(world.inspect("cut", "/State/Status"), "created", "{call} {command}");
        // Its name is free again, too.
        world.run(&["--rm", "--name", "cut"], &["true"]).ok();
        assert_eq!(world.nman(["ps", "-a", "--format", "{{.Names}}"]).ok().stdout(), "kept\n");
    }
    assert_eq!(world.nman(["volume", "ls", "-q"]).ok().stdout().lines().count(), 1);
    world.nman(["rm", "-v", "kept"]).ok();
    world.assert_no_container();
}

#[test]
fn who_stops_or_kills_what_was_to_be_removed_removes_it_where_no_monitor_does() {
    let world = World::new();
    for verb in [&["stop", "-t", "0"][..], &["kill"]] {
        for options in [&["-d", "--rm"][..], &["-d"]] {
            world.run(&[options, &["--name", "orphan"]].concat(), &["sleep", "1000"]).ok();
            let (init, monitor) = processes(&world, "orphan");
            kill(monitor);
            eventually("its monitor is dead", || processes(&world, "orphan").1 != monitor);
            world.nman(verb.iter().chain(&["orphan"])).ok();
            assert!(has_ended(init));
            let left = world.nman(["ps", "-aq"]).ok().stdout().lines().count();
            assert_eq!(left, usize::from(!options.contains(&"--rm")), "{verb:?} {options:?}");
            world.nman(["rm", "-f", "orphan"]).ok();
        }
    }
    world.assert_no_container();
}

#[test]
fn who_ends_a_container_whose_monitor_is_gone_takes_it_down_and_writes_down_its_end() {
    let world = World::new();
    let published = ["-d", "--network", "bridge", "-p", "127.0.0.1:28471:80", "--name"];
    let obeys = "trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done";
    // What it has ended with only its monitor could have heard.
    for (verb, script, code) in [
        (&["stop", "-t", "60"][..], obeys, 255),
        (&["stop", "-t", "0"], "echo up; exec sleep 1000", 137),
        (&["kill"], obeys, 137),
    ] {
        world.run(&[&published[..], &["orphan"]].concat(), &["sh", "-c", script]).ok();
        eventually("it is up", || world.nman(["logs", "orphan"]).ok().stdout() == "up\n");
        let (_, monitor) = processes(&world, "orphan");
        kill(monitor);
        eventually("its monitor is dead", || processes(&world, "orphan").1 != monitor);
        world.nman(verb.iter().chain(&["orphan"])).ok();
        let state = world.inspect("orphan", "/State");
        assert_eq!((&state["Status"], &state["ExitCode"]), (&"exited".into(), &code.into()));
        assert_eq!(state["Error"], "", "{verb:?}");
        assert!(!state["FinishedAt"].as_str().unwrap().starts_with("0001"), "{state}");
        let ports = world.nman(["ps", "-a", "--format", "{{.Names}}:{{.Ports}}"]).ok();
        assert_eq!(ports.text(), "orphan:");
        world.run(&[&published[..], &["other"]].concat(), &["sleep", "1000"]).ok();
        world.nman(["rm", "-f", "other", "orphan"]).ok();
    }
    world.assert_no_container();
}

#[test]
fn what_was_to_be_removed_and_ended_unseen_is_removed_when_the_policies_are_looked_after() {
    let world = World::new();
    for (name, options) in [("gone", &["-d", "--rm"][..]), ("kept", &["-d"])] {
        world.run(&[options, &["--name", name]].concat(), &["sleep", "1000"]).ok();
        let (init, monitor) = processes(&world, name);
        kill(monitor);
        kill(init);
    }
    let list = || world.nman(["ps", "-a", "--format", "{{.Names}} {{.Status}}"]).ok().stdout();
    eventually("their ends are seen", || list().matches("Exited (255)").count() == 2);
    world.nman(["start", "--by-policy"]).ok();
    assert!(list().starts_with("kept ") && list().lines().count() == 1, "{}", list());
    world.nman(["rm", "kept"]).ok();
    world.assert_no_container();
}

#[test]
fn who_is_killed_while_it_writes_down_a_network_or_a_connection_leaves_no_piece_of_it() {
    let world = World::new();
    let traced = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=linkat"];
    // First the default network is defined, then somebody is connected to it.
    for (when, place) in
        [(1, world.path("root/networks")), (2, world.path("state/network/connected"))]
    {
        let inject = format!("inject=linkat:signal=KILL:when={when}");
        let before = [&traced[..], &["-e", &inject]].concat();
        let options = ["--name", "cut", "--network", "bridge"];
        let ended = world.run_command_by("strace", &before, &options, &["sleep", "1000"]).run();
        assert!(!ended.success(), "{ended}");
        assert_eq!(entries(&place), Vec::<std::path::PathBuf>::new(), "{when}");
        world.nman(["rm", "-f", "cut"]).ok();
    }
    world.assert_no_container();
}

#[test]
fn a_container_that_could_not_remove_itself_says_why_and_is_removed_by_hand() {
    let world = World::new();
    let id = world.run(&["-d", "--rm", "--name", "stays"], &["sleep", "1000"]).ok().stdout();
    // What is not empty may be a mount that is still there: it is not removed with the rest.
    let in_use = world.path(&format!("root/containers/{}/mounts/in-use/file", id.trim()));
    fs::create_dir_all(in_use.parent().unwrap()).unwrap();
    fs::write(&in_use, "").unwrap();
    world.nman(["kill", "stays"]).ok();
    eventually("its monitor has given up", || {
        let error = world.inspect("stays", "/State/Error");
        error.as_str().unwrap().starts_with("it was to be removed: cannot remove `")
    });
    fs::remove_file(&in_use).unwrap();
    world.nman(["rm", "stays"]).ok();
    world.assert_no_container();
}

#[test]
fn a_client_that_is_killed_leaves_the_container_running() {
    let world = World::new();
    let (mut client, _) = world.run_command(&["--name", "stays"], &["sleep", "1000"]).start();
    eventually("it runs", || world.nman(["ps", "-q"]).stdout().len() > 5);
    client.kill().unwrap();
    client.wait().unwrap();
    assert!(world.nman(["ps"]).ok().stdout().contains("stays"));
    world.nman(["rm", "-f", "stays"]).ok();
    world.assert_no_container();
}

#[test]
fn no_mount_of_a_container_is_seen_on_the_host() {
    let world = World::new();
    world.run(&["-d", "--name", "unseen", "--network", "bridge"], &["sleep", "1000"]).ok();
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let root = world.path("root").display().to_string();
    assert!(!mounts.contains(&root), "{mounts}");
    world.nman(["rm", "-f", "unseen"]).ok();
    world.assert_no_container();
}

#[test]
fn the_control_socket_is_for_root_only() {
    use std::os::unix::fs::MetadataExt as _;
    let world = World::new();
    world.run(&["-d", "--name", "private"], &["sleep", "1000"]).ok();
    let id = world.inspect("private", "/Id");
    let socket = world.path(&format!("state/containers/{}/attach", id.as_str().unwrap()));
    let mode = |path: &std::path::Path| fs::symlink_metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(mode(socket.parent().unwrap()), 0o700);
    assert_eq!(mode(&world.path("root/containers")), 0o700);
    world.nman(["rm", "-f", "private"]).ok();
}

/// What a `network disconnect` leaves that is killed once it has written down that the container is to leave: the connection itself.
#[test]
fn a_disconnection_that_was_killed_is_finished_by_the_next_connection() {
    let world = World::new();
    for (name, subnet) in [("one", "10.7.1.0/24"), ("two", "10.7.2.0/24")] {
        world.nman(["network", "create", "--subnet", subnet, name]).ok();
    }
    world.run(&["-d", "--name", "aa", "--network", "one"], &["sleep", "1000"]).ok();
    world.nman(["network", "connect", "--ip", "10.7.2.77", "two", "aa"]).ok();
    let id = world.inspect("aa", "/Id").as_str().unwrap().to_owned();
    fs::remove_file(world.root().join(format!("containers/{id}/networks.json"))).unwrap();
    world.nman(["network", "connect", "--ip", "10.7.2.78", "two", "aa"]).ok();
    let addresses = world.nman(["exec", "aa", "ip", "-4", "addr"]).ok().stdout();
    assert!(addresses.contains("10.7.2.78/24") && !addresses.contains("10.7.2.77"), "{addresses}");
    // It is leased to it, and to nobody else.
    let lease = world.state().join("network/leases/two/10.7.2.78");
    assert_eq!(fs::read_link(&lease).unwrap(), std::path::Path::new(&id));
    assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n");
    fs::remove_file(&lease).unwrap();
    let found = world.nman(["system", "check"]).exits(1).stdout();
    let expected = "container `aa` has the address 10.7.2.78 of network `two`, which is not leased to it \
        (`nman restart aa` connects it again)";
    assert!(found.contains(expected), "{found}");
    world.nman(["restart", "-t", "0", "aa"]).ok();
    assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n");
    world.nman(["rm", "-f", "aa"]).ok();
    world.nman(["network", "rm", "one", "two"]).ok();
    world.assert_no_container();
}

/// As a service manager or a shutdown does that ends all that it finds.
#[test]
fn who_tells_a_monitor_to_end_tells_its_container() {
    let world = World::new();
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    world.run(&["-d", "--name", "told"], &["sh", "-c", script]).ok();
    eventually("it listens", || world.nman(["logs", "told"]).ok().stdout() == "ready\n");
    let (_, monitor) = processes(&world, "told");
    kill_process(Pid::from_raw(monitor).unwrap(), Signal::TERM).unwrap();
    assert_eq!(world.nman(["wait", "told"]).ok().stdout(), "7\n");
    assert_eq!(world.inspect("told", "/State/Status"), "exited");
    world.nman(["rm", "told"]).ok();
    world.assert_no_container();
}
