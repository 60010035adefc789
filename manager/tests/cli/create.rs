//! `create`, `rename`, `update` and `inspect` of a container.

use super::world::{IMAGE, World, eventually, no_such_container};
use nconform::fixture::{Capture, cgroups};
use std::io::Write as _;

fn create(world: &World, options: &[&str], words: &[&str]) -> String {
    let mut args = vec!["create", "--network", "none"];
    args.extend(options);
    args.push(IMAGE);
    args.extend(words);
    world.nman(args).ok().stdout().trim().to_owned()
}

#[test]
fn a_created_container_has_everything_but_a_process() {
    let world = World::new();
    let id = create(
        &world,
        &["--name", "made", "-v", "data:/data"],
        &["sh", "-c", "echo ran; cat /data/file"],
    );
    assert_eq!(id.len(), 64);
    assert_eq!(world.inspect("made", "/State/Status"), "created");
    assert_eq!(world.inspect("made", "/State/StartedAt"), "0001-01-01T00:00:00Z");
    assert_eq!(world.inspect("made", "/State/Running"), false);
    assert!(world.nman(["ps", "-a"]).ok().stdout().contains("Created"), "not listed");
    assert_eq!(world.nman(["ps", "-q"]).ok().stdout(), "");
    world.sandbox.assert_clean();
    world.shell(&["-v", "data:/data"], "echo from volume > /data/file").ok();
    assert_eq!(world.nman(["start", "-a", "made"]).ok().stdout(), "ran\nfrom volume\n");
    assert_eq!(world.inspect("made", "/State/Status"), "exited");
    world.nman(["rm", "made"]).ok();
    create(&world, &["--name", "never"], &["true"]);
    world.nman(["rm", "never"]).ok();
    world.assert_no_container();
}

#[test]
fn a_container_is_renamed_while_it_runs() {
    let world = World::new();
    world.run(&["-d", "--rm", "--name", "old"], &["sleep", "1000"]).ok();
    create(&world, &["--name", "other"], &["true"]);
    world.nman(["rename", "old", "new"]).ok();
    assert_eq!(world.inspect("new", "/Name"), "/new");
    assert_eq!(world.nman(["rename", "old", "x1"]).exits(1).stderr(), no_such_container("old"));
    let refused = world.nman(["rename", "new", "other"]).exits(1);
    assert!(
        refused.stderr().contains("The container name \"/other\" is already in use"),
        "{refused}"
    );
    let refused = world.nman(["rename", "new", "new"]).exits(1);
    assert!(refused.stderr().contains("same name as its current name"), "{refused}");
    world.nman(["stop", "-t", "0", "new"]).ok();
    eventually("its monitor has removed it", || world.nman(["inspect", "new"]).stdout() == "[]\n");
    // Its monitor has known it by the other name.
    let filters =
        ["--filter", "type=container", "--filter", "event=die", "--filter", "event=destroy"];
    let form = ["--format", "{{.Action}} {{.Actor.Attributes.name}}"];
    let args = [&["events", "--since", "10m", "--until", "0s"][..], &filters, &form].concat();
    assert_eq!(world.nman(args).ok().stdout(), "die new\ndestroy new\n");
    world.nman(["rm", "other"]).ok();
    world.assert_no_container();
}

/// Memory, its reservation, processes and CPUs, as the kernel has them.
fn shown(id: &str) -> [String; 4] {
    let v2 = cgroups::unified();
    let names = [
        ("memory.limit_in_bytes", "memory.max"),
        ("memory.soft_limit_in_bytes", "memory.low"),
        ("pids.max", "pids.max"),
        ("cpuset.cpus", "cpuset.cpus"),
    ];
    names.map(|(old, new)| cgroups::read(id, if v2 { new } else { old }).unwrap_or_default())
}

#[test]
fn limits_are_set_and_changed_now_and_for_the_next_start() {
    let world = World::new();
    let options = [
        "-d",
        "--name",
        "lim",
        "-m",
        "64m",
        "--memory-reservation",
        "32m",
        "-c",
        "512",
        "--cpu-period",
        "50000",
        "--cpu-quota",
        "25000",
        "--pids-limit",
        "50",
        "--cpuset-cpus",
        "0-1",
    ];
    world.run(&options, &["sleep", "1000"]).ok();
    let id = world.inspect("lim", "/Id").as_str().unwrap().to_owned();
    assert_eq!(shown(&id), ["67108864", "33554432", "50", "0-1"]);
    if !cgroups::unified() {
        assert_eq!(cgroups::read(&id, "cpu.shares").as_deref(), Some("512"));
        assert_eq!(cgroups::read(&id, "cpu.cfs_quota_us").as_deref(), Some("25000"));
    }
    let update = [
        "update",
        "-m",
        "128m",
        "--memory-swap",
        "256m",
        "--pids-limit",
        "-1",
        "--cpuset-cpus",
        "0",
        "lim",
    ];
    assert_eq!(world.nman(update).ok().stdout(), "lim\n");
    let after = ["134217728", "33554432", "max", "0"];
    assert_eq!(shown(&id), after);
    assert_eq!(world.inspect("lim", "/HostConfig/Memory"), 128 << 20);
    let refused = world.nman(["update", "--memory-swap", "64m", "lim"]).exits(1);
    assert!(refused.stderr().contains("Minimum memoryswap limit"), "{refused}");
    world.nman(["stop", "-t", "0", "lim"]).ok();
    world.nman(["start", "lim"]).ok();
    assert_eq!(shown(&id), after, "after the next start");
    world.nman(["rm", "-f", "lim"]).ok();
    assert_eq!(
        world.nman(["update", "-m", "1g", "lim"]).exits(1).stderr(),
        no_such_container("lim")
    );
    world.assert_no_container();
}

#[test]
fn inspect_has_dockers_structure_and_takes_templates() {
    let world = World::new();
    let options = [
        "--name",
        "seen",
        "-m",
        "64m",
        "--cpus",
        "0.5",
        "-v",
        "data:/data:ro",
        "--tmpfs",
        "/t",
        "-u",
        "mail",
        "--cap-add",
        "SYS_TIME",
        "-e",
        "A=1",
        "--read-only",
        "-w",
        "/tmp",
    ];
    world.run(&options, &["sh", "-c", "exit 3"]).exits(3);
    let template = "{{.State.Status}} {{.State.ExitCode}} {{.Config.User}} {{.HostConfig.NanoCpus}} {{index .HostConfig.CapAdd 0}} \
        {{range .Mounts}}{{if eq .Destination \"/data\"}}{{.Type}}:{{.Name}}:{{.RW}}{{end}}{{end}} {{.Config.WorkingDir}}";
    let said = world.nman(["inspect", "-f", template, "seen"]).ok().stdout();
    assert_eq!(said, "exited 3 mail 500000000 CAP_SYS_TIME volume:data:false /tmp\n");
    for (pointer, value) in [
        ("/HostConfig/Memory", serde_json::json!(64 << 20)),
        ("/HostConfig/ReadonlyRootfs", true.into()),
        ("/HostConfig/NetworkMode", "none".into()),
        ("/HostConfig/Tmpfs//t", "".into()),
        ("/Config/Cmd/0", "sh".into()),
        ("/Config/Env/0", "A=1".into()),
        ("/Args/1", "exit 3".into()),
        ("/GraphDriver/Name", "overlay2".into()),
    ] {
        let pointer = pointer.replace("//t", "/~1t");
        assert_eq!(world.inspect("seen", &pointer), value, "{pointer}");
    }
    let size = world.nman(["inspect", "-s", "-f", "{{.SizeRootFs}}", "seen"]).ok().stdout();
    assert!(size.trim().parse::<u64>().unwrap() > 100_000, "{size}");
    assert_eq!(
        world.nman(["inspect", "--type", "volume", "-f", "{{.Driver}}", "data"]).ok().stdout(),
        "local\n"
    );
    let refused = world.nman(["inspect", "--type", "image", "seen"]).exits(1);
    assert_eq!(refused.stderr(), "nman: No such image: seen\n");
    world.nman(["rm", "seen"]).ok();
    world.assert_no_container();
}

#[test]
fn a_container_without_a_network_or_on_the_hosts_is_shown_on_that() {
    let world = World::new();
    for network in ["none", "host"] {
        world.nman(["create", "--name", "aa", "--network", network, IMAGE, "true"]).ok();
        let id = world.nman(["network", "inspect", "-f", "{{.Id}}", network]).ok().text();
        let all = "{{range $name, $end := .NetworkSettings.Networks}}{{$name}} {{$end.NetworkID}} \
                   {{$end.IPAddress}}.{{end}}";
        let shown = world.nman(["inspect", "-f", all, "aa"]).ok().text();
        let lines = world.nman(["inspect", "-f", r#"{{.Name}}{{"\n"}}{{.Path}}\t"#, "aa"]).ok();
        assert_eq!(lines.stdout(), "/aa\ntrue\\t\n");
        assert_eq!(shown, format!("{network} {id} ."));
        world.nman(["rm", "aa"]).ok();
    }
    world.assert_no_container();
}

#[test]
fn the_swap_that_follows_from_the_memory_is_shown_and_taken_along() {
    let world = World::new();
    let swap = || world.inspect("aa", "/HostConfig/MemorySwap");
    world.nman(["create", "--name", "aa", "-m", "64m", IMAGE, "true"]).ok();
    assert_eq!(swap(), 128 << 20);
    world.nman(["update", "-m", "96m", "aa"]).ok();
    assert_eq!(swap(), 192 << 20);
    world.nman(["update", "--memory-swap", "-1", "aa"]).ok();
    assert_eq!(swap(), -1);
    world.nman(["rm", "aa"]).ok();
    world.nman(["create", "--name", "aa", IMAGE, "true"]).ok();
    assert_eq!(swap(), 0);
    world.nman(["rm", "aa"]).ok();
    world.assert_no_container();
}

/// Between the look for the image and the container's record nothing keeps the image.
#[test]
fn an_image_that_is_replaced_while_a_container_is_made_is_looked_for_again() {
    let world = World::new();
    let variables = world.path("variables");
    Capture::of("mkfifo").args([variables.to_str().unwrap()]).run().ok();
    world.nman(["tag", IMAGE, "one"]).ok();
    for replaced in [true, false] {
        let commit = ["commit", "-c", "LABEL which=other", "base", "other"];
        world.nman(["create", "--name", "base", IMAGE]).ok();
        world.nman(commit).ok();
        world.nman(["rm", "base"]).ok();
        world.nman(["tag", "other", "moved"]).ok();
        world.nman(["rmi", "other"]).ok();
        let options = ["create", "--name", "late", "--pull", "never", "--env-file"];
        let words = [&options[..], &[variables.to_str().unwrap(), "moved"]].concat();
        let (mut making, said) = world.command(words).start();
        // It has found the image when it reads this.
        let mut file = std::fs::OpenOptions::new().write(true).open(&variables).unwrap();
        world.nman(["rmi", "moved"]).ok();
        if replaced {
            world.nman(["tag", "one", "moved"]).ok();
        }
        file.write_all(b"A=1\n").unwrap();
        drop(file);
        assert_eq!(making.wait().unwrap().success(), replaced, "{said}");
        if replaced {
            let labels = world.inspect("late", "/Config/Labels");
            assert!(labels.get("which").is_none(), "made of the one that has gone: {labels}");
            world.nman(["rm", "late"]).ok();
            world.nman(["rmi", "moved"]).ok();
        } else {
            assert!(said.stderr().contains("it is not in the store"), "{said}");
        }
    }
    world.assert_no_container();
}

#[test]
fn what_could_not_be_started_has_never_run() {
    let world = World::new();
    world.nman(["create", "--name", "none", "--network", "none", IMAGE, "/no/such"]).ok();
    world.nman(["start", "none"]).exits(127);
    let state = world.inspect("none", "/State");
    assert_eq!((&state["Status"], &state["ExitCode"]), (&"created".into(), &127.into()), "{state}");
    assert!(state["Error"].as_str().unwrap().contains("/no/such"), "{state}");
    world.nman(["rm", "none"]).ok();
    world.assert_no_container();
}
