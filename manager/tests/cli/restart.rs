//! Restart policies, and what stops them: restart, stop, kill, pause, wait.

use super::world::{World, eventually};

/// Counts its starts in a file of its own layer, and ends with 3.
const FAILS: &str = "echo run >> /count; exit 3";

fn status(world: &World, name: &str) -> String {
    world.inspect(name, "/State/Status").as_str().unwrap_or_default().to_owned()
}

#[test]
fn what_is_removed_when_it_ends_can_be_restarted_and_is_removed_afterwards() {
    let world = World::new();
    world.run(&["-d", "--rm", "--name", "again"], &["sleep", "1000"]).ok();
    let id = world.inspect("again", "/Id");
    world.nman(["exec", "again", "touch", "/kept"]).ok();
    for _ in 0..2 {
        world.nman(["restart", "-t", "0", "again"]).ok();
        world.nman(["exec", "again", "test", "-e", "/kept"]).ok();
        assert_eq!(world.inspect("again", "/Id"), id);
    }
    world.nman(["kill", "again"]).ok();
    eventually("it has removed itself", || world.has_no_container());
    world.assert_no_container();
}

#[test]
fn on_failure_starts_again_so_often_and_then_gives_up() {
    let world = World::new();
    let options = ["-d", "--name", "fails", "--restart", "on-failure:2"];
    world.run(&options, &["sh", "-c", FAILS]).ok();
    eventually("it has given up", || status(&world, "fails") == "exited");
    assert_eq!(world.inspect("fails", "/RestartCount"), 2);
    assert_eq!(world.inspect("fails", "/State/ExitCode"), 3);
    assert_eq!(world.inspect("fails", "/HostConfig/RestartPolicy/MaximumRetryCount"), 2);
    let counted = world.nman(["start", "-a", "fails"]).exits(3);
    assert_eq!(counted.stdout(), "");
    // A start by hand counts from the beginning.
    eventually("it has given up again", || status(&world, "fails") == "exited");
    assert_eq!(world.inspect("fails", "/RestartCount"), 2);
    world.nman(["rm", "fails"]).ok();
    world.assert_no_container();
}

#[test]
fn always_starts_again_until_somebody_stops_it() {
    let world = World::new();
    let options = ["-d", "--name", "always", "--restart", "always", "--network", "bridge"];
    world.run(&options, &["sh", "-c", "echo up; sleep 0.1"]).ok();
    eventually("it was started again", || {
        world.inspect("always", "/RestartCount").as_u64().unwrap() >= 2
    });
    assert!(world.nman(["logs", "always"]).ok().stdout().lines().count() >= 2);
    world.nman(["stop", "-t", "1", "always"]).ok();
    assert_eq!(status(&world, "always"), "exited");
    let table = world.nman(["ps", "-a"]).ok().stdout();
    assert!(table.contains("Exited ("), "{table}");
    world.nman(["rm", "always"]).ok();
    world.assert_no_container();
}

#[test]
fn what_joins_another_container_is_started_again_when_that_one_is() {
    let world = World::new();
    world.run(&["-d", "--name", "donor", "--ipc", "shareable"], &["sleep", "1000"]).ok();
    let options = ["--restart", "always", "--pid", "container:donor", "--ipc", "container:donor"];
    let options = [&["-d", "--name", "guest"], &options[..]].concat();
    world.run(&options, &["sh", "-c", "echo up; sleep 1000"]).ok();
    let is_up = |times| world.nman(["logs", "guest"]).ok().stdout() == "up\n".repeat(times);
    eventually("it is up", || is_up(1));
    // Its init ends with the namespace of process ids that it is in.
    world.nman(["stop", "-t", "0", "donor"]).ok();
    let error = || world.inspect("guest", "/State/Error").as_str().unwrap_or_default().to_owned();
    eventually("it was tried", || error().contains("cannot join PID of a non running container"));
    world.nman(["start", "donor"]).ok();
    eventually("it was started again", || is_up(2));
    let namespaces = |name: &str| {
        let script = "readlink /proc/self/ns/pid; readlink /proc/self/ns/ipc";
        world.nman(["exec", name, "sh", "-c", script]).ok().stdout()
    };
    assert_eq!(namespaces("guest"), namespaces("donor"));
    world.nman(["rm", "-f", "guest", "donor"]).ok();
    world.assert_no_container();
}

#[test]
fn another_policy_holds_from_the_next_end_on() {
    let world = World::new();
    let options = ["-d", "--name", "web", "--restart", "always"];
    world.run(&options, &["sh", "-c", "sleep 0.5"]).ok();
    assert_eq!(world.nman(["update", "--restart", "no", "web"]).ok().stdout(), "web\n");
    assert_eq!(world.inspect("web", "/HostConfig/RestartPolicy/Name"), "no");
    eventually("it stays as it is", || status(&world, "web") == "exited");
    world.nman(["update", "--restart=on-failure:3", "web"]).ok();
    let policy = world.inspect("web", "/HostConfig/RestartPolicy");
    assert_eq!(policy, serde_json::json!({"Name": "on-failure", "MaximumRetryCount": 3}));
    world.nman(["rm", "web"]).ok();

    world.run(&["-d", "--rm", "--name", "gone"], &["sleep", "1000"]).ok();
    let refused = world.nman(["update", "--restart", "always", "gone"]).exits(1).stderr();
    let why = "Restart policy cannot be updated because AutoRemove is enabled for the container";
    assert!(refused.contains(why), "{refused}");
    assert_eq!(world.inspect("gone", "/HostConfig/RestartPolicy/Name"), "no");
    world.nman(["update", "--restart", "sometimes", "gone"]).exits(1);
    world.nman(["rm", "-f", "gone"]).ok();
    world.assert_no_container();
}

#[test]
fn while_it_waits_to_be_started_again_it_can_be_stopped_and_removed() {
    let world = World::new();
    for (name, words) in [
        ("one", &["stop", "one"][..]),
        ("two", &["rm", "-f", "two"]),
        ("three", &["kill", "three"]),
    ] {
        let options = ["-d", "--name", name, "--restart", "always"];
        world.run(&options, &["false"]).ok();
        // Delays double: soon it waits most of the time.
        eventually("it waits", || {
            let state = world.nman(["ps", "-a", "--format", "json"]).ok().stdout();
            state.lines().any(|line| line.contains(name) && line.contains("Restarting (1)"))
        });
        world.nman(words).ok();
    }
    eventually("all have ended", || {
        ["one", "three"].iter().all(|name| status(&world, name) == "exited")
    });
    world.nman(["rm", "one", "three"]).ok();
    world.assert_no_container();
}

#[test]
fn what_is_stopped_while_it_is_about_to_begin_again_does_not_begin() {
    let world = World::new();
    let slow = world.slow_runtime("create", 2);
    let script = "test -e /again && exec sleep 1000; touch /again; exit 3";
    for words in [&["kill", "one"][..], &["stop", "-t", "60", "one"]] {
        let options = ["-d", "--name", "one", "--restart", "always"];
        let run = world.run_command(&options, &["sh", "-c", script]);
        run.env("NMAN_RUNTIME", &slow).run().ok();
        eventually("it is about to begin again", || {
            status(&world, "one") == "restarting" && world.path("begun").exists()
        });
        let limit = std::time::Duration::from_secs(20);
        world.command(words).limit(limit).run().ok();
        assert_eq!(status(&world, "one"), "exited");
        assert_eq!(world.inspect("one", "/State/ExitCode"), 3);
        assert_eq!(world.inspect("one", "/RestartCount"), 0);
        world.nman(["rm", "one"]).ok();
    }
    world.assert_no_container();
}

#[test]
fn what_is_stopped_before_its_program_begins_has_been_stopped() {
    let world = World::new();
    let slow = world.slow_runtime("start", 2);
    for again in [false, true] {
        let script = if again { "exit 3" } else { "exec sleep 1000" };
        let options = ["-d", "--name", "one", "--restart", "always"];
        let run = world.run_command(&options, &["sh", "-c", script]).env("NMAN_RUNTIME", &slow);
        let (mut run, said) = run.start();
        eventually("it is about to begin", || {
            let seen = world.nman(["inspect", "one"]);
            seen.success()
                && seen.json()[0]["RestartCount"] == u32::from(again)
                && seen.json()[0]["State"]["Status"] == "running"
                && world.path("begun").exists()
        });
        world.nman(["stop", "-t", "0", "one"]).ok();
        assert!(run.wait().unwrap().success(), "{said}");
        assert_eq!(status(&world, "one"), "exited");
        assert_eq!(world.inspect("one", "/State/ExitCode"), 137);
        assert_eq!(world.inspect("one", "/State/Error"), "");
        world.nman(["rm", "one"]).ok();
    }
    world.assert_no_container();
}

#[test]
fn what_was_killed_has_ended_and_can_be_started_or_removed_at_once() {
    let world = World::new();
    world.run(&["-d", "--name", "one"], &["sleep", "100"]).ok();
    for _ in 0..3 {
        world.nman(["kill", "one"]).ok();
        assert_eq!(status(&world, "one"), "exited");
        world.nman(["start", "one"]).ok();
        assert_eq!(status(&world, "one"), "running");
    }
    world.nman(["kill", "one"]).ok();
    world.nman(["rm", "one"]).ok();
    world.assert_no_container();
}

#[test]
fn a_stop_between_two_lives_is_no_second_death() {
    let world = World::new();
    world.run(&["-d", "--name", "one", "--restart", "always"], &["false"]).ok();
    let seen = |fields: &[&str]| {
        let fields: Vec<_> = fields.iter().map(|field| format!("{{{{{field}}}}}")).collect();
        world.nman(["inspect", "--format", &fields.join(" "), "one"]).ok().stdout()
    };
    // The pause takes 1.6 seconds then.
    eventually("it waits for long", || {
        seen(&[".State.Status", ".RestartCount"]) == "restarting 5\n"
    });
    let finished = seen(&[".State.FinishedAt"]);
    world.nman(["stop", "one"]).ok();
    eventually("it has ended", || status(&world, "one") == "exited");
    assert_eq!(seen(&[".State.FinishedAt"]), finished, "it died before");
    assert_eq!(seen(&[".State.ExitCode", ".RestartCount"]), "1 4\n");
    let told = |event: &str| {
        let filter = format!("event={event}");
        let args = ["events", "--since", "1h", "--until", "0s", "--filter", &filter];
        world.nman(args).ok().stdout().lines().count()
    };
    assert_eq!((told("start"), told("die"), told("stop")), (5, 5, 1));
    world.nman(["rm", "one"]).ok();
}

#[test]
fn who_waits_between_two_lives_waits_for_the_end_of_the_next_and_not_of_the_policy() {
    let world = World::new();
    world.run(&["-d", "--name", "one", "--restart", "always"], &["sh", "-c", "exit 3"]).ok();
    for condition in ["not-running", "next-exit"] {
        eventually("it waits", || status(&world, "one") == "restarting");
        let limit = std::time::Duration::from_secs(20);
        let waited = world.command(["wait", "--condition", condition, "one"]).limit(limit).run();
        assert_eq!(waited.ok().stdout(), "3\n");
    }
    world.nman(["rm", "-f", "one"]).ok();
    world.assert_no_container();
}

#[test]
fn restart_stops_and_starts_and_a_killed_container_stays_dead() {
    let world = World::new();
    let options = ["-d", "--name", "web", "--restart", "unless-stopped"];
    world.run(&options, &["sleep", "1000"]).ok();
    let before = world.inspect("web", "/State/Pid");
    assert_eq!(world.nman(["restart", "-t", "0", "web"]).ok().stdout(), "web\n");
    assert_ne!(world.inspect("web", "/State/Pid"), before);
    world.nman(["kill", "web"]).ok();
    assert_eq!(world.nman(["wait", "web"]).ok().stdout(), "137\n");
    assert_eq!(status(&world, "web"), "exited");
    // Somebody wanted that, so a reboot does not change it.
    assert_eq!(world.nman(["start", "--by-policy"]).ok().stdout(), "");
    world.nman(["rm", "web"]).ok();
    world.assert_no_container();
}

/// Kills a container and its monitor, so that nobody writes down that it has ended, as a power cut does.
fn kill_with_monitor(world: &World, name: &str) {
    let pid = |pointer| i32::try_from(world.inspect(name, pointer).as_i64().unwrap()).unwrap();
    let init = pid("/State/Pid");
    let status = std::fs::read_to_string(format!("/proc/{init}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    for process in [parent.trim().parse().unwrap(), init] {
        let process = rustix::process::Pid::from_raw(process).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    }
}

#[test]
fn a_policy_starts_what_died_with_its_monitor() {
    let world = World::new();
    for (name, policy) in [("kept", "unless-stopped"), ("left", "no")] {
        world.run(&["-d", "--name", name, "--restart", policy], &["sleep", "1000"]).ok();
        kill_with_monitor(&world, name);
    }
    eventually("both are dead", || {
        ["kept", "left"].iter().all(|name| status(&world, name) == "exited")
    });
    assert_eq!(world.nman(["start", "--by-policy"]).ok().stdout(), "kept\n");
    assert_eq!(status(&world, "kept"), "running");
    world.nman(["rm", "-f", "kept", "left"]).ok();
    world.assert_no_container();
}

#[test]
fn who_joins_another_is_started_by_policy_after_it() {
    let world = World::new();
    // No process namespaces: the kernel keeps one until the processes in it have been waited for, which their monitors do no more.
    let joins = [
        ("first", ["--network", "none", "--ipc", "private"]),
        ("second", ["--network", "container:first", "--ipc", "shareable"]),
        ("third", ["--network", "none", "--ipc", "container:second"]),
        ("fourth", ["--network", "container:third", "--ipc", "private"]),
        ("fifth", ["--network", "container:first", "--ipc", "private"]),
    ];
    let names = joins.map(|(name, _)| name);
    for (name, joined) in joins {
        let options = ["-d", "--name", name, "--restart", "always"].into_iter().chain(joined);
        world.run(&options.collect::<Vec<_>>(), &["sleep", "1000"]).ok();
    }
    // The order of ids is another one each time.
    for _ in 0..2 {
        names.iter().rev().for_each(|name| kill_with_monitor(&world, name));
        eventually("all are dead", || names.iter().all(|name| status(&world, name) == "exited"));
        let started = world.nman(["start", "--by-policy"]).ok().stdout();
        assert_eq!(started, "first\nsecond\nfifth\nthird\nfourth\n");
    }
    let last_first = names.iter().rev().copied();
    world.nman(["restart", "-t", "0"].into_iter().chain(last_first.clone())).ok();
    world.nman(["stop", "-t", "0"].into_iter().chain(names)).ok();
    let started = world.nman(["start"].into_iter().chain(last_first)).ok().stdout();
    assert_eq!(started, "first\nfifth\nsecond\nthird\nfourth\n");
    world.nman(["rm", "-f"].iter().chain(names.iter().rev())).ok();
    world.assert_no_container();
}

#[test]
fn a_paused_container_stands_still_and_can_be_stopped_all_the_same() {
    let world = World::new();
    let script = "trap 'exit 4' TERM; while :; do sleep 0.05; done";
    world.run(&["-d", "--name", "ice"], &["sh", "-c", script]).ok();
    assert_eq!(world.nman(["pause", "ice"]).ok().stdout(), "ice\n");
    assert!(world.nman(["ps"]).ok().stdout().contains("(Paused)"));
    assert_eq!(status(&world, "ice"), "paused");
    let refused = world.nman(["pause", "ice"]).exits(1);
    assert!(refused.stderr().contains("is already paused"), "{refused}");
    world.nman(["start", "ice"]).exits(1);
    let refused = world.nman(["rm", "ice"]).exits(1);
    assert!(refused.stderr().contains("container is paused"), "{refused}");
    world.nman(["unpause", "ice"]).ok();
    assert_eq!(status(&world, "ice"), "running");
    world.nman(["pause", "ice"]).ok();
    world.nman(["stop", "ice"]).ok();
    assert_eq!(world.inspect("ice", "/State/ExitCode"), 4);
    world.nman(["start", "ice"]).ok();
    world.nman(["pause", "ice"]).ok();
    world.nman(["kill", "ice"]).ok();
    eventually("it is dead", || status(&world, "ice") == "exited");
    world.nman(["rm", "ice"]).ok();
    world.assert_no_container();
}

#[test]
fn several_are_stopped_at_the_same_time() {
    let world = World::new();
    let names = ["a1", "a2", "a3", "a4"];
    let met = world.path("met");
    std::fs::create_dir(&met).unwrap();
    let volume = format!("{}:/met", met.display());
    // Each ends only when all have been told to.
    let script = "trap 'touch /met/$HOSTNAME; until [ $(ls /met | wc -l) = 4 ]; do sleep 0.1; done; exit 5' TERM
                  while :; do sleep 0.1; done";
    for name in names {
        world.run(&["-d", "--name", name, "-v", &volume], &["sh", "-c", script]).ok();
    }
    let stopped = world.nman(["stop", "-t", "60"].iter().chain(&names)).ok();
    assert_eq!(stopped.stdout(), "a1\na2\na3\na4\n");
    for name in names {
        assert_eq!(world.inspect(name, "/State/ExitCode"), 5, "{name}");
    }
    assert_eq!(world.nman(["start"].iter().chain(&names)).ok().stdout(), "a1\na2\na3\na4\n");
    world.nman(["kill"].iter().chain(&names)).ok();
    assert_eq!(world.nman(["wait"].iter().chain(&names)).ok().stdout(), "137\n".repeat(4));
    let pruned = world.nman(["container", "prune", "-f", "--filter", "label!=keep"]).ok().stdout();
    assert!(pruned.starts_with("Deleted Containers:\n"), "{pruned}");
    assert!(pruned.contains("\nTotal reclaimed space: "), "{pruned}");
    world.assert_no_container();
}

#[test]
fn wait_hears_the_exit_code_of_what_removes_itself() {
    let world = World::new();
    let id = world
        .run(&["-d", "--rm"], &["sh", "-c", "read x < /dev/zero & sleep 0.5; exit 9"])
        .ok()
        .stdout();
    assert_eq!(world.nman(["wait", "--condition", "removed", id.trim()]).ok().stdout(), "9\n");
    world.assert_no_container();
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let world = World::new();
    let refused = world.run(&["--rm", "--restart", "always"], &["true"]).exits(125);
    assert_eq!(
        refused.stderr(),
        "nman: conflicting options: cannot specify both --restart and --rm\n"
    );
    let refused = world.run(&["--restart", "sometimes"], &["true"]).exits(125);
    assert!(refused.stderr().contains("unknown policy 'sometimes'"), "{refused}");
    let refused = world.run(&["--log-driver", "paper"], &["true"]).exits(125);
    assert!(refused.stderr().contains("no log driver named 'paper' is registered"), "{refused}");
    world.assert_no_container();
}

#[test]
fn a_start_waits_for_who_still_has_the_container() {
    let world = World::new();
    world.run(&["--name", "held"], &["true"]).ok();
    let id = world.inspect("held", "/Id").as_str().unwrap().to_owned();
    let lock = std::fs::File::open(world.root().join("containers").join(id).join("lock")).unwrap();
    lock.lock().unwrap();
    let (mut starts, said) = world.command(["start", "held"]).start();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(starts.try_wait().unwrap().is_none(), "somebody has it");
    lock.unlock().unwrap();
    assert!(starts.wait().unwrap().success(), "{}", said.stderr());
    assert_eq!(said.stdout(), "held\n");
    world.nman(["wait", "held"]).ok();
    world.nman(["rm", "held"]).ok();
    world.assert_no_container();
}
