//! Looking at containers: events, stats, top, port.

use super::world::{World, eventually};

#[test]
fn events_tell_a_containers_life_in_dockers_words() {
    let world = World::new();
    let (mut follower, followed) = world
        .command([
            "events",
            "--since",
            "1h",
            "--filter",
            "type=container",
            "--format",
            "{{.Action}}",
        ])
        .start();
    world.run(&["-d", "--name", "life", "-l", "app=x"], &["sleep", "1000"]).ok();
    world.nman(["exec", "life", "true"]).ok();
    world.nman(["pause", "life"]).ok();
    world.nman(["unpause", "life"]).ok();
    world.nman(["restart", "-t", "0", "life"]).ok();
    world.nman(["kill", "life"]).ok();
    world.nman(["wait", "life"]).ok();
    world.nman(["rm", "life"]).ok();
    let expected = "create\nstart\nexec_create: true\nexec_start: true\nexec_die\npause\nunpause\n\
                    kill\nkill\ndie\nstop\nstart\nrestart\nkill\ndie\ndestroy\n";
    eventually("the follower has seen the end", || followed.stdout().ends_with("destroy\n"));
    follower.kill().unwrap();
    follower.wait().unwrap();
    // Whether the death or the second signal is told first is for the kernel to decide.
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&followed.stdout()), sorted(expected), "{followed}");
    assert_history(&world);
    world.assert_no_container();
}

/// What is told of it afterwards.
#[track_caller]
fn assert_history(world: &World) {
    let told = world.nman([
        "events",
        "--since",
        "1h",
        "--until",
        "0s",
        "--filter",
        "event=die",
        "--filter",
        "label=app=x",
    ]);
    let told = told.ok().stdout();
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(
        told.contains(" container die ")
            && told.contains("(app=x, execDuration=")
            && told.contains(", exitCode=137, image=test/busybox, "),
        "{told}"
    );
    let json = world
        .nman([
            "events",
            "--since",
            "1h",
            "--until",
            "0s",
            "--filter",
            "event=create",
            "--filter",
            "type=container",
            "--format",
            "json",
        ])
        .ok()
        .json();
    assert_eq!((&json["Type"], &json["status"]), (&"container".into(), &"create".into()));
    let wrong = world.nman(["events", "--filter", "colour=red"]).exits(1);
    assert!(wrong.stderr().contains("invalid filter 'colour'"), "{wrong}");
}

#[test]
fn whatever_is_done_to_a_container_is_told_with_its_image_and_its_labels() {
    let world = World::new();
    world.run(&["-d", "--name", "old", "-l", "app=x"], &["sleep", "1000"]).ok();
    let file = world.path("file");
    std::fs::write(&file, "").unwrap();
    world.nman(["rename", "old", "new"]).ok();
    world.nman(["update", "--memory", "64m", "new"]).ok();
    world.nman(["cp", file.to_str().unwrap(), "new:/tmp/file"]).ok();
    world.nman(["cp", "new:/tmp/file", world.path("back").to_str().unwrap()]).ok();
    world.nman(["top", "new"]).ok();
    world.nman(["export", "-o", world.path("tar").to_str().unwrap(), "new"]).ok();
    world.nman(["commit", "--pause=false", "new"]).ok();
    let since = ["events", "--since", "1h", "--until", "0s", "--format"];
    let filters = ["--filter", "label=app=x", "--filter", "image=test/busybox"];
    let line = "{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.oldName}}";
    let told = world.nman([&since[..], &[line], &filters].concat()).ok().stdout();
    let expected = [
        "create old <no value>",
        "start old <no value>",
        "rename new /old",
        "update new <no value>",
        "extract-to-dir new <no value>",
        "archive-path new <no value>",
        "top new <no value>",
        "export new <no value>",
        "commit new <no value>",
    ];
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
    world.nman(["rm", "-f", "new"]).ok();
    world.assert_no_container();
}

#[test]
fn the_event_of_a_death_says_how_long_the_container_ran() {
    let world = World::new();
    let told = |name: &str| {
        let filters = ["--filter", "event=die", "--filter", &format!("container={name}")];
        let format =
            ["--format", "{{.Actor.Attributes.execDuration}} {{.Actor.Attributes.exitCode}}"];
        let since = ["events", "--since", "1h", "--until", "0s"];
        world.nman(since.iter().chain(&filters).chain(&format)).ok().stdout()
    };
    let mut before = std::time::Instant::now();
    world.run(&["--name", "short"], &["sh", "-c", "exit 3"]).exits(3);
    let short = told("short");
    let limit = before.elapsed().as_secs();
    assert!((0..=limit).any(|seconds| short == format!("{seconds} 3\n")), "{short}");
    before = std::time::Instant::now();
    world.run(&["--name", "long"], &["sleep", "2"]).ok();
    let long = told("long");
    let limit = before.elapsed().as_secs();
    assert!((2..=limit).any(|seconds| long == format!("{seconds} 0\n")), "{long}");
    world.nman(["rm", "short", "long"]).ok();
    world.assert_no_container();
}

#[test]
fn stats_top_and_port_show_what_a_container_does() {
    let world = World::new();
    let options = [
        "-d",
        "--name",
        "busy",
        "--network",
        "bridge",
        "-p",
        "127.0.0.1:18080:80",
        "--memory",
        "64m",
    ];
    world.run(&options, &["sh", "-c", "while :; do :; done"]).ok();
    let stats = world.nman(["stats", "--no-stream", "--format", "json"]).ok().json();
    let share: f64 = stats["CPUPerc"].as_str().unwrap().trim_end_matches('%').parse().unwrap();
    assert!(share > 0.5, "{stats}");
    assert!(stats["MemUsage"].as_str().unwrap().ends_with(" / 64MiB"), "{stats}");
    assert_eq!((&stats["Name"], &stats["PIDs"]), (&"busy".into(), &"1".into()));
    let table = world.nman(["stats", "--no-stream", "busy"]).ok().stdout();
    assert!(table.starts_with("CONTAINER ID   NAME ") && table.contains("   CPU %"), "{table}");
    let top = world.nman(["top", "busy"]).ok().stdout();
    assert!(top.starts_with("UID") && top.contains("while :; do :; done"), "{top}");
    assert_eq!(top.lines().count(), 2, "{top}");
    let columns = world.nman(["top", "busy", "-o", "pid,comm"]).ok().stdout();
    assert!(columns.starts_with("PID") && columns.contains("sh"), "{columns}");
    let refused = world.nman(["top", "busy", "-o", "comm"]).exits(1);
    assert!(refused.stderr().contains("Couldn't find PID field in ps output"), "{refused}");
    assert_eq!(world.nman(["port", "busy"]).ok().stdout(), "80/tcp -> 127.0.0.1:18080\n");
    assert_eq!(world.nman(["port", "busy", "80"]).ok().stdout(), "127.0.0.1:18080\n");
    let refused = world.nman(["port", "busy", "81/udp"]).exits(1);
    assert!(refused.stderr().contains("no public port '81/udp' published for busy"), "{refused}");
    world.nman(["rm", "-f", "busy"]).ok();
    world.nman(["top", "busy"]).exits(1);
    world.assert_no_container();
}

#[test]
fn an_init_collects_orphans_and_passes_signals_on() {
    let world = World::new();
    let script = "(sleep 0.1 & exec sleep 0) & trap 'exit 6' TERM; while :; do sleep 0.1; done";
    world.run(&["-d", "--name", "reaped", "--init"], &["sh", "-c", script]).ok();
    assert_eq!(world.inspect("reaped", "/HostConfig/Init"), true);
    assert_eq!(world.inspect("reaped", "/Path"), "sh");
    let first = world.nman(["exec", "reaped", "cat", "/proc/1/cmdline"]).ok().stdout();
    assert!(first.starts_with("/sbin/docker-init\0--\0sh\0"), "{first}");
    eventually("no zombie is left", || {
        let list = world.nman(["top", "reaped", "-eo", "pid,stat,comm"]).ok().stdout();
        !list.contains("Z")
    });
    world.nman(["stop", "-t", "60", "reaped"]).ok();
    assert_eq!(world.inspect("reaped", "/State/ExitCode"), 6);
    world.nman(["rm", "reaped"]).ok();
    // Without one, the same program is process 1, and a program that does not exist is an error of the runtime.
    let missing = world.run(&["--rm", "--init"], &["no-such-program"]).exits(127);
    assert!(missing.stderr().contains("no-such-program"), "{missing}");
    world.assert_no_container();
}

#[test]
fn exec_takes_files_of_variables_and_every_capability() {
    let world = World::new();
    world.run(&["-d", "--name", "host"], &["sleep", "1000"]).ok();
    let file = world.path("env");
    std::fs::write(&file, "FROM_FILE=1\n").unwrap();
    let file = file.to_str().unwrap();
    let env = world.nman(["exec", "--env-file", file, "host", "sh", "-c", "echo $FROM_FILE"]).ok();
    assert_eq!(env.stdout(), "1\n");
    let effective = |options: &[&str]| {
        let words = ["host", "grep", "CapEff", "/proc/self/status"];
        world.nman(["exec"].iter().chain(options).chain(&words)).ok().stdout()
    };
    assert_eq!(effective(&[]), "CapEff:\t00000000a80425fb\n");
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap();
    assert_eq!(effective(&["--privileged"]), format!("CapEff:{own}\n"));
    world.nman(["pause", "host"]).ok();
    let refused = world.nman(["exec", "host", "true"]).exits(1);
    assert!(refused.stderr().contains("is paused, unpause the container before exec"), "{refused}");
    world.nman(["rm", "-f", "host"]).ok();
    world.assert_no_container();
}

#[test]
fn an_event_about_a_container_on_a_network_is_of_the_networks_id() {
    let world = World::new();
    let id = world.nman(["network", "create", "one"]).ok().text();
    let container = world.run(&["-d", "--network", "bridge"], &["sleep", "1000"]).ok().text();
    for verb in ["connect", "disconnect"] {
        world.nman(["network", verb, "one", &container]).ok();
    }
    world.nman(["network", "rm", "one"]).ok();
    let format = "{{.Action}} {{.Actor.ID}} {{.Actor.Attributes.container}} \
                  {{.Actor.Attributes.name}} {{.Actor.Attributes.type}}";
    let since = ["events", "--since", "1h", "--until", "0s", "--format", format];
    let told = |filter: &str| world.nman(since.iter().chain(&["--filter", filter])).ok().stdout();
    let of_container =
        ["connect", "disconnect"].map(|verb| format!("{verb} {id} {container} one bridge\n"));
    let told = told(&format!("network={id}"));
    assert!(told.contains(&of_container.concat()), "{told}");
    // From its creation to its end, all of them are found by the id.
    assert_eq!(told.lines().count(), 4, "{told}");
    world.nman(["rm", "-f", &container]).ok();
    world.assert_no_container();
}

/// Actions and what they are about, of all events of these types so far.
#[track_caller]
fn told(world: &World, kinds: &[&str], form: &str) -> Vec<String> {
    let kinds = kinds.iter().map(|kind| format!("type={kind}"));
    let mut args: Vec<String> =
        ["events", "--since", "1h", "--until", "0s", "--format", form].map(str::to_owned).into();
    kinds.for_each(|kind| args.extend(["--filter".to_owned(), kind]));
    world.nman(args).ok().stdout().lines().map(str::to_owned).collect()
}

#[test]
fn volumes_and_the_networks_none_and_host_are_told_of_while_a_container_has_them() {
    let world = World::new();
    let words = ["-v", "data:/data", "-v", "data:/again:ro"];
    world.run(&[&["--name", "alone"], &words[..]].concat(), &["true"]).ok();
    world.run(&["--rm", "--network", "host"], &["true"]).ok();
    world.nman(["rm", "alone"]).ok();
    let attributes = "{{.Actor.Attributes.destination}} {{index .Actor.Attributes \"read/write\"}}";
    let form = format!("{{{{.Action}}}} {{{{.Actor.ID}}}} {attributes}");
    let volumes = told(&world, &["volume"], &form);
    let of_data: Vec<&str> = volumes
        .iter()
        .filter(|line| line.contains(" data "))
        .map(|line| line.trim_end_matches("<no value> "))
        .collect();
    let expected =
        ["create data ", "mount data /data true", "mount data /again false", "unmount data "];
    assert_eq!(of_data[..4], expected, "{volumes:?}");
    assert_eq!(of_data[4..], ["unmount data "], "{volumes:?}");
    let form = "{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}}";
    let expected =
        ["connect none null", "disconnect none null", "connect host host", "disconnect host host"];
    assert_eq!(told(&world, &["network"], form), expected);
    let id = world.nman(["network", "inspect", "-f", "{{.Id}}", "host"]).ok().text();
    let ids = told(&world, &["network"], "{{.Actor.ID}}");
    assert_eq!(ids[2..], [id.clone(), id]);
    world.assert_no_container();
}

#[test]
fn a_container_that_leaves_none_tells_and_does_not_leave_it_twice() {
    let world = World::new();
    world.run(&["-d", "--name", "mover"], &["sleep", "1000"]).ok();
    world.nman(["network", "disconnect", "none", "mover"]).ok();
    world.nman(["network", "connect", "bridge", "mover"]).ok();
    world.nman(["rm", "-f", "mover"]).ok();
    let told = told(&world, &["network"], "{{.Action}} {{.Actor.Attributes.name}}");
    assert_eq!(told, ["connect none", "disconnect none", "connect nman", "disconnect nman"]);
    world.assert_no_container();
}

#[test]
fn an_exec_has_an_id_in_its_events_and_in_inspect_as_long_as_it_runs() {
    let world = World::new();
    world.run(&["-d", "--name", "up"], &["sleep", "1000"]).ok();
    let ids = || world.nman(["inspect", "-f", "{{json .ExecIDs}}", "up"]).ok().text();
    assert_eq!(ids(), "null");
    world.nman(["exec", "-d", "up", "sh", "-c", "while test ! -e /go; do sleep 0.05; done"]).ok();
    let running = ids();
    world.nman(["exec", "up", "touch", "/go"]).ok();
    eventually("the exec has ended", || ids() == "null");
    let lines = told(&world, &["container"], "{{.Action}} {{.Actor.Attributes.execID}}");
    let of_execs: Vec<(&str, &str)> = lines
        .iter()
        .filter(|line| line.starts_with("exec_"))
        .filter_map(|line| line.rsplit_once(' '))
        .collect();
    let first = of_execs[0].1;
    assert_eq!(running, format!("[\"{first}\"]"));
    assert_eq!(first.len(), 64);
    let actions: Vec<&str> = of_execs
        .iter()
        .filter(|(_, id)| *id == first)
        .map(|(action, _)| action.split(':').next().unwrap())
        .collect();
    assert_eq!(actions, ["exec_create", "exec_start", "exec_die"]);
    assert_eq!(of_execs.len(), 6);
    // A client that was killed leaves a file behind, and nothing that runs.
    let directory =
        world.state().join("containers").join(world.inspect("up", "/Id").as_str().unwrap());
    std::fs::write(directory.join("execs/abc"), "").unwrap();
    assert_eq!(ids(), "null");
    world.nman(["rm", "-f", "up"]).ok();
    world.assert_no_container();
}

#[test]
fn what_docker_leaves_out_where_it_is_nil_is_null_for_templates() {
    let world = World::new();
    world.run(&["--name", "one", "--volume-driver", "local"], &["true"]).ok();
    let form = "{{json .State.Health}} {{json .SizeRw}} {{json .HostConfig.Links}} \
                {{.HostConfig.VolumeDriver}} {{json .HostConfig.ConsoleSize}}";
    let shown = world.nman(["inspect", "-f", form, "one"]).ok().text();
    assert_eq!(shown, "null null null local [0,0]");
    let wrong = world.nman(["inspect", "-f", "{{.State.Health.Status}}", "one"]).exits(1);
    assert!(wrong.stderr().contains("nil pointer evaluating .Status"), "{wrong}");
    let whole = world.nman(["inspect", "one"]).ok().stdout();
    assert!(!whole.contains("\"Health\"") && !whole.contains("\"SizeRw\""), "{whole}");
    world.nman(["rm", "one"]).ok();
    world.assert_no_container();
}

#[test]
fn each_prune_is_told_with_what_it_has_freed() {
    let world = World::new();
    let name = world.nman(["volume", "create"]).ok().text();
    std::fs::write(world.root().join("volumes").join(name).join("_data/file"), "content").unwrap();
    for kind in ["container", "network", "volume", "image"] {
        world.nman([kind, "prune", "-f"]).ok();
        let told = told(&world, &[kind], "{{.Action}} {{.Actor.Attributes.reclaimed}}");
        let (action, freed) = told.last().unwrap().split_once(' ').unwrap();
        assert_eq!(action, "prune", "{told:?}");
        assert_eq!(freed.parse::<u64>().unwrap() > 0, kind == "volume", "{told:?}");
    }
    world.assert_no_container();
}
