//! Resource limits, as the kernel has them.

use super::world::{IMAGE, World, eventually};
use nconform::fixture::cgroups;

#[test]
fn memory_and_cpu_limits_are_in_the_cgroup() {
    let world = World::new();
    let options = ["-d", "--name", "small", "-m", "64m", "--cpus", "0.5", "--cpuset-cpus", "0"];
    world.run(&options, &["sleep", "1000"]).ok();
    let id = world.inspect("small", "/Id");
    let read = |file: &str| cgroups::read(id.as_str().unwrap(), file);
    if cgroups::unified() {
        assert_eq!(read("memory.max").as_deref(), Some("67108864"));
        assert_eq!(read("cpu.max").as_deref(), Some("50000 100000"));
    } else {
        assert_eq!(read("memory.limit_in_bytes").as_deref(), Some("67108864"));
        assert_eq!(read("cpu.cfs_quota_us").as_deref(), Some("50000"));
    }
    assert_eq!(read("cpuset.cpus").as_deref(), Some("0"));
    world.nman(["rm", "-f", "small"]).ok();
    world.assert_no_container();
}

#[test]
fn limits_of_a_paused_container_hold_at_once() {
    let world = World::new();
    world.run(&["-d", "--name", "ice"], &["sleep", "1000"]).ok();
    let id = world.inspect("ice", "/Id");
    world.nman(["pause", "ice"]).ok();
    world.nman(["update", "-m", "64m", "--memory-swap", "-1", "ice"]).ok();
    let file = if cgroups::unified() { "memory.max" } else { "memory.limit_in_bytes" };
    assert_eq!(cgroups::read(id.as_str().unwrap(), file).as_deref(), Some("67108864"));
    assert_eq!(world.inspect("ice", "/State/Status"), "paused");
    world.nman(["unpause", "ice"]).ok();
    world.nman(["rm", "-f", "ice"]).ok();
    world.assert_no_container();
}

#[test]
fn limits_that_are_changed_while_a_container_is_started_hold() {
    let world = World::new();
    let slow = world.runtime_slow_to_end("create", 2);
    for (name, restart, script) in [
        ("first", "no", "exec sleep 1000"),
        ("again", "always", "[ -e /again ] && exec sleep 1000; touch /again"),
    ] {
        let options = ["-d", "--name", name, "--restart", restart];
        let run = world.run_command(&options, &["sh", "-c", script]).env("NMAN_RUNTIME", &slow);
        let (mut run, said) = run.start();
        eventually("it was created", || world.path("begun").exists());
        if restart == "always" {
            assert!(run.wait().unwrap().success(), "{said}");
            eventually("it was created again", || {
                world.inspect(name, "/RestartCount") == 1 && world.path("begun").exists()
            });
        }
        world.nman(["update", "--pids-limit", "77", name]).ok();
        assert!(run.wait().unwrap().success(), "{said}");
        let id = world.inspect(name, "/Id");
        assert_eq!(world.inspect(name, "/HostConfig/PidsLimit"), 77);
        assert_eq!(
            cgroups::read(id.as_str().unwrap(), "pids.max").as_deref(),
            Some("77"),
            "{name}"
        );
        world.nman(["rm", "-f", name]).ok();
    }
    world.assert_no_container();
}

#[test]
fn cpus_that_the_machine_has_not_are_refused_now_as_at_the_start() {
    let world = World::new();
    world.run(&["-d", "--name", "small", "--cpus", "0.5"], &["sleep", "1000"]).ok();
    let refusals = [
        (["--cpus", "4096"], "nman: Range of CPUs is from 0.01 to "),
        (
            ["--cpuset-cpus", "0-4096"],
            "nman: Requested CPUs are not available - requested 0-4096, available: 0",
        ),
    ];
    for (option, message) in refusals {
        for refused in [
            world.nman([&["update"], &option[..], &["small"]].concat()).exits(1),
            world.shell(&option, "true").exits(125),
            world.nman([&["create"], &option[..], &[IMAGE]].concat()).exits(125),
        ] {
            assert!(refused.stderr().starts_with(message), "{refused}");
        }
    }
    // Docker's daemon refuses this one, too.
    let refused = world.nman(["update", "--cpu-period", "100000", "small"]).exits(1);
    let message = "nman: Conflicting options: Nano CPUs and CPU Period cannot both be set\n";
    assert_eq!(refused.stderr(), message);
    world.nman(["update", "--nosuch", "small"]).exits(125);
    assert_eq!(world.inspect("small", "/HostConfig/NanoCpus"), 500_000_000);
    world.nman(["rm", "-f", "small"]).ok();
    world.assert_no_container();
}

#[test]
fn a_container_that_takes_too_much_memory_is_killed() {
    let world = World::new();
    world.shell(&["-m", "16m"], "exec tail -c 200000000 /dev/zero").exits(137);
    world.assert_no_container();
}

#[test]
fn a_command_that_others_keep_waiting_says_so_in_the_end() {
    let world = World::new();
    let slow = world.slow_runtime("create", 14);
    let run = world.run_command(&["-d", "--name", "slow"], &["true"]).env("NMAN_RUNTIME", &slow);
    let (mut run, _) = run.start();
    eventually("it is being created", || world.path("begun").exists());
    let id = world.inspect("slow", "/Id").as_str().unwrap().to_owned();
    let commands = [
        &["update", "--restart", "always", "slow"][..],
        &["pause", "slow"],
        &["unpause", "slow"],
        &["start", "slow"],
    ];
    // All at once: each waits for ten seconds.
    let waiting = commands.map(|words| (words[0], world.command(words).start()));
    let at_work = nconform::fixture::Capture::of("pgrep").args(["-af", &id]).run().ok().stdout();
    for what in ["nman-monitor", "create"] {
        assert!(at_work.contains(what), "{at_work}");
    }
    for (command, (mut waiting, said)) in waiting {
        assert_eq!(waiting.wait().unwrap().code(), Some(1));
        let expected = format!(
            "nman: cannot {command} container slow: another nman has been at work on it for 10 s\n\n\
             hint: try again in a moment; `pgrep -af {id}` shows what is at work on it\n"
        );
        assert_eq!(said.stderr(), expected, "{command}");
    }
    assert!(run.wait().unwrap().success());
    world.nman(["rm", "-f", "slow"]).ok();
    world.assert_no_container();
}
