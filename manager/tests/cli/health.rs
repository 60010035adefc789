//! Health checks, and what the kernel does about memory.

use super::world::{IMAGE, World, eventually};

#[test]
fn a_check_makes_a_container_healthy_and_unhealthy_again() {
    let world = World::new();
    let options = [
        "-d",
        "--name",
        "sick",
        "--health-cmd",
        "echo looked; test -e /well",
        "--health-interval",
        "100ms",
        "--health-retries",
        "2",
    ];
    world.run(&options, &["sleep", "1000"]).ok();
    let status = || world.inspect("sick", "/State/Health/Status");
    assert_eq!(world.inspect("sick", "/Config/Healthcheck/Retries"), 2);
    world.nman(["wait", "--condition", "unhealthy", "sick"]).ok();
    assert!(world.inspect("sick", "/State/Health/FailingStreak").as_u64().unwrap() >= 2);
    world.nman(["exec", "sick", "touch", "/well"]).ok();
    world.nman(["wait", "--condition", "healthy", "sick"]).ok();
    let log = world.inspect("sick", "/State/Health/Log");
    let last = log.as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["ExitCode"], &last["Output"]), (&0.into(), &"looked\n".into()));
    assert!(log.as_array().unwrap().len() <= 5);
    world.nman(["exec", "sick", "rm", "/well"]).ok();
    eventually("it is unhealthy again", || status() == "unhealthy");
    let events = world.nman([
        "events",
        "--since",
        "10m",
        "--until",
        "0s",
        "--filter",
        "event=health_status",
        "--format",
        "{{.Action}}",
    ]);
    assert_eq!(
        events.ok().stdout(),
        "health_status: unhealthy\nhealth_status: healthy\nhealth_status: unhealthy\n"
    );
    world.nman(["rm", "-f", "sick"]).ok();
    world.assert_no_container();
}

#[test]
fn the_check_of_an_image_is_made_unless_it_is_said_otherwise() {
    let world = World::new();
    world.nman(["create", "--name", "plain", IMAGE]).ok();
    let check =
        "HEALTHCHECK --interval=100ms --timeout=20s --retries=2 CMD echo looked; test -e /well";
    world.nman(["commit", "-c", check, "plain", "checked"]).ok();
    let of_image = world.inspect("checked", "/Config/Healthcheck");
    assert_eq!(of_image["Interval"], 100_000_000, "{of_image}");
    let parent = format!("/{}", world.cgroup());
    let run = |name: &str, options: &[&str]| {
        let run = ["run", "-d", "--network", "none", "--cgroup-parent", &parent, "--name", name];
        world.nman([&run[..], options, &["checked", "sleep", "1000"]].concat()).ok();
    };
    run("asked", &[]);
    world.nman(["wait", "--condition", "unhealthy", "asked"]).ok();
    let health = world.inspect("asked", "/State/Health");
    assert!(health["FailingStreak"].as_u64().unwrap() >= 2, "{health}");
    assert_eq!(
        (&health["Log"][0]["ExitCode"], &health["Log"][0]["Output"]),
        (&1.into(), &"looked\n".into())
    );
    assert!(world.nman(["ps"]).ok().stdout().contains("(unhealthy)"));
    world.nman(["exec", "asked", "touch", "/well"]).ok();
    world.nman(["wait", "--condition", "healthy", "asked"]).ok();
    assert!(world.nman(["ps"]).ok().stdout().contains("(healthy)"));
    // What the command line says goes before the image, one by one.
    run("otherwise", &["--health-cmd", "true", "--health-retries", "7"]);
    world.nman(["wait", "--condition", "healthy", "otherwise"]).ok();
    let check = world.inspect("otherwise", "/Config/Healthcheck");
    assert_eq!((&check["Interval"], &check["Retries"]), (&100_000_000.into(), &7.into()));
    run("never", &["--no-healthcheck"]);
    let state = world.inspect("never", "/State");
    assert!(state.get("Health").is_none(), "{state}");
    world.nman(["rm", "-f", "plain", "asked", "otherwise", "never"]).ok();
    world.assert_no_container();
}

#[test]
fn a_check_that_hangs_is_cut_off_and_one_that_talks_is_cut_short() {
    let world = World::new();
    for (name, command, timeout) in [
        ("hangs", "echo begun; sleep 1000", "1s"),
        // Were its output not read to the end, a signal would end it.
        ("talks", "yes | head -c 300000 && exit 3", "100s"),
    ] {
        let options = [
            "-d",
            "--name",
            name,
            "--health-cmd",
            command,
            "--health-interval",
            "100ms",
            "--health-timeout",
            timeout,
            "--health-retries",
            "1",
        ];
        world.run(&options, &["sleep", "1000"]).ok();
        world.nman(["wait", "--condition", "unhealthy", name]).ok();
    }
    let finding = |name: &str| world.inspect(name, "/State/Health/Log/0");
    assert_eq!(finding("hangs")["ExitCode"], -1);
    assert_eq!(finding("hangs")["Output"], "Health check exceeded timeout (1s): begun\n");
    assert_eq!(finding("talks")["ExitCode"], 3);
    assert_eq!(finding("talks")["Output"].as_str().unwrap().len(), 4096);
    // The command is dead, too, and not only the runtime that has run it.
    eventually("no check is left", || {
        let list = world.nman(["top", "hangs", "-eo", "pid,args"]).ok().stdout();
        list.matches("sleep 1000").count() <= 2
    });
    world.nman(["rm", "-f", "hangs", "talks"]).ok();
    world.assert_no_container();
}

#[test]
fn a_container_that_takes_too_much_memory_is_killed_and_it_is_said_why() {
    let world = World::new();
    let options = ["--name", "greedy", "--memory", "8m"];
    let greedy = world.run(&options, &["sh", "-c", "exec tail /dev/zero"]);
    greedy.exits(137);
    assert_eq!(world.inspect("greedy", "/State/OOMKilled"), true);
    let events = world.nman([
        "events",
        "--since",
        "10m",
        "--until",
        "0s",
        "--filter",
        "container=greedy",
        "--format",
        "{{.Action}}",
    ]);
    assert_eq!(events.ok().stdout(), "create\nattach\nstart\noom\ndie\n");
    world.nman(["rm", "greedy"]).ok();
    world.assert_no_container();
}

#[test]
fn what_has_ended_is_healthy_no_longer_and_begins_anew() {
    let world = World::new();
    let options = ["-d", "--name", "well", "--health-cmd", "true", "--health-interval", "100ms"];
    world.run(&options, &["sleep", "1000"]).ok();
    let status = || world.inspect("well", "/State/Health/Status");
    world.nman(["wait", "--condition", "healthy", "well"]).ok();
    world.nman(["stop", "-t", "0", "well"]).ok();
    assert_eq!(status(), "unhealthy");
    assert_eq!(world.inspect("well", "/State/Health/FailingStreak"), 0);
    world.nman(["start", "well"]).ok();
    assert_ne!(status(), "unhealthy");
    world.nman(["wait", "--condition", "healthy", "well"]).ok();
    world.nman(["rm", "-f", "well"]).ok();
    world.assert_no_container();
}

#[test]
fn a_container_that_starts_is_asked_more_often_and_its_failures_do_not_count() {
    let world = World::new();
    let options = [
        "-d",
        "--name",
        "slow",
        "--health-cmd",
        "test -e /well",
        "--health-interval",
        "1h",
        "--health-start-period",
        "1h",
        "--health-start-interval",
        "50ms",
        "--health-retries",
        "1",
    ];
    world.run(&options, &["sleep", "1000"]).ok();
    let health = || world.inspect("slow", "/State/Health");
    eventually("it was asked three times", || {
        health()["Log"].as_array().is_some_and(|log| log.len() >= 3)
    });
    let starting = health();
    assert_eq!((&starting["Status"], &starting["FailingStreak"]), (&"starting".into(), &0.into()));
    world.nman(["exec", "slow", "touch", "/well"]).ok();
    world.nman(["wait", "--condition", "healthy", "slow"]).ok();
    world.nman(["rm", "-f", "slow"]).ok();
    world.assert_no_container();
}

#[test]
fn a_paused_container_is_not_asked_how_it_is() {
    let world = World::new();
    let options = ["-d", "--name", "still", "--health-cmd", "true", "--health-interval", "50ms"];
    world.run(&options, &["sleep", "1000"]).ok();
    world.nman(["wait", "--condition", "healthy", "still"]).ok();
    world.nman(["pause", "still"]).ok();
    // Many times its interval: each answer would be a failure.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let health = world.inspect("still", "/State/Health");
    assert_eq!((&health["Status"], &health["FailingStreak"]), (&"healthy".into(), &0.into()));
    world.nman(["unpause", "still"]).ok();
    world.nman(["exec", "still", "true"]).ok();
    world.nman(["rm", "-f", "still"]).ok();
    world.assert_no_container();
}

#[test]
fn what_one_life_has_died_of_is_not_said_of_the_next() {
    let world = World::new();
    let options = ["-d", "--name", "greedy", "--memory", "8m", "--restart", "on-failure:1"];
    let script = "test -e /again && exit 3; touch /again; exec tail /dev/zero";
    world.run(&options, &["sh", "-c", script]).ok();
    eventually("it has ended for good", || world.inspect("greedy", "/State/Status") == "exited");
    let state = world.inspect("greedy", "/State");
    assert_eq!((&state["ExitCode"], &state["OOMKilled"]), (&3.into(), &false.into()), "{state}");
    world.nman(["rm", "greedy"]).ok();
    world.assert_no_container();
}
