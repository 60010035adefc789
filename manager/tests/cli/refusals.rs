//! Bad input: one line that says what, on which object and why; the exit code; and nothing left behind.

use super::world::{IMAGE, World, no_such_container};

#[test]
fn a_name_is_taken_once() {
    let world = World::new();
    world.run(&["--name", "once"], &["true"]).ok();
    let refused = world.run(&["--name", "once"], &["true"]).exits(125);
    let id = world.inspect("once", "/Id");
    let line = format!(
        "nman: Conflict. The container name \"/once\" is already in use by container \"{}\"\n",
        id.as_str().unwrap()
    );
    assert!(refused.stderr().starts_with(&line), "{refused}");
    world.nman(["rm", "once"]).ok();
    world.assert_no_container();
}

#[test]
fn a_command_that_is_advised_works_on_the_directories_that_were_given() {
    let world = World::new();
    world.nman(["create", "--name", "one", IMAGE, "true"]).ok();
    let (root, state) = (world.root().display().to_string(), world.state().display().to_string());
    let nman = |words: &[&str]| {
        let places = ["--root", &root, "--state", &state];
        let command = world.command([&places[..], words].concat());
        command.env("NMAN_ROOT", "/nowhere").env("NMAN_STATE", "/nowhere").run()
    };
    let own = format!("`nman --root {root} --state {state} ");
    let refused = nman(&["create", "--name", "one", IMAGE]).exits(1).stderr();
    assert!(refused.contains(&format!("{own}rm one`")), "{refused}");
    let refused = nman(&["exec", "one", "true"]).exits(1).stderr();
    assert!(refused.contains(&format!("{own}start one`")), "{refused}");
    let record = world.path("root/containers").join(world.inspect("one", "/Id").as_str().unwrap());
    std::fs::write(record.join("container.json"), "").unwrap();
    let told = nman(&["ps"]).ok().stderr();
    assert!(told.contains(&format!("{own}rm -f ")), "{told}");
    assert!(told.contains(&format!("{own}system check --repair`")), "{told}");
    let said = nman(&["system", "check"]).exits(1).stdout();
    assert!(said.contains(&format!("({own}rm -f ")), "{said}");
    // What the environment says it says the next command as well.
    let told = world.nman(["ps"]).ok().stderr();
    assert!(told.contains("(`nman rm -f "), "{told}");
    nman(&["system", "check", "--repair"]).ok();
    world.assert_no_container();
}

#[test]
fn what_cannot_be_run_says_why() {
    let world = World::new();
    let cases: &[(&[&str], &str, i32)] = &[
        (&["no-such-program"], "\"no-such-program\"", 127),
        (&["/etc/text"], "permission denied", 126),
    ];
    for (words, text, code) in cases {
        let refused = world.run(&["--rm"], words).exits(*code);
        assert!(refused.stderr().contains(text), "{refused}");
        assert_eq!(
            refused.stderr().lines().next().unwrap().matches(" failed: ").count(),
            1,
            "{refused}"
        );
        // Without --rm nothing stays either: it never ran.
        world.run(&[], words).exits(*code);
    }
    world.assert_no_container();
}

#[test]
fn bad_options_are_refused_before_anything_is_made() {
    let world = World::new();
    let cases: &[(&[&str], &str)] = &[
        (&["--user", "nosuch"], "unable to find user nosuch: no matching entries in passwd file"),
        (&["--user", "4294967296"], "range 0-2147483647"),
        (&["--user", "mail:-1"], "unable to find group -1"),
        (&["-w", "relative"], "it needs to be an absolute path"),
        (
            &["--mount", "type=bind,source=/no/such/path,target=/mnt"],
            "bind source path does not exist: /no/such/path",
        ),
        (&["--runtime", "no-such-runtime"], "cannot find the OCI runtime `no-such-runtime`"),
        (&["--memory", "1k"], "Minimum memory limit allowed is 6MB"),
        (&["--cpus", "x"], "a number of CPUs"),
        (&["--name", "a/b"], "Invalid container name (a/b)"),
        (&["--no-such-option"], "unknown flag: --no-such-option"),
    ];
    for (options, text) in cases {
        let options: Vec<&str> = ["--rm"].iter().chain(*options).copied().collect();
        let refused = world.run(&options, &["true"]).exits(125);
        assert!(refused.stderr().starts_with("nman: "), "{refused}");
        assert!(refused.stderr().contains(text), "no `{text}` in {refused}");
    }
    world.assert_no_container();
}

#[test]
fn what_dockers_client_finds_out_by_itself_ends_with_1() {
    let world = World::new();
    world.run(&["-d", "--name", "up"], &["sleep", "1000"]).ok();
    for refused in [world.run(&["-it"], &["true"]), world.nman(["exec", "-it", "up", "true"])] {
        let refused = refused.exits(1);
        assert!(refused.stderr().starts_with("nman: the input device is not a TTY\n"), "{refused}");
    }
    let refused = world.run(&["-d", "-a", "stdout"], &["true"]).exits(1);
    let said = "nman: conflicting options: cannot specify both --attach and --detach\n";
    assert_eq!(refused.stderr(), said);
    world.nman(["rm", "-f", "up"]).ok();
    world.assert_no_container();
}

#[test]
fn an_exec_that_cannot_begin_ends_as_dockers_does() {
    let world = World::new();
    world.run(&["-d", "--name", "up"], &["sleep", "1000"]).ok();
    let cases: &[(&[&str], i32, &str)] = &[
        (
            &["-u", "NOSUCH", "up", "true"],
            126,
            "unable to find user NOSUCH: no matching entries in passwd file",
        ),
        (
            &["-u", "mail:NOSUCH", "up", "true"],
            126,
            "unable to find group NOSUCH: no matching entries in group file",
        ),
        (&["-u", "4294967296", "up", "true"], 126, "range 0-2147483647"),
        (&["up", "no-such-program"], 127, "\"no-such-program\""),
        (&["up", "/etc/text"], 126, "permission denied"),
        // Docker's daemon answers for what is in the background, and its client ends as for every wrong answer.
        (&["-d", "-u", "NOSUCH", "up", "true"], 1, "unable to find user NOSUCH"),
        (&["-d", "up", "no-such-program"], 1, "\"no-such-program\""),
    ];
    for (words, code, text) in cases {
        let refused = world.nman(["exec"].iter().chain(*words)).exits(*code);
        assert!(refused.stderr().starts_with("nman: "), "{refused}");
        assert!(refused.stderr().contains(text), "no `{text}` in {refused}");
    }
    world.nman(["rm", "-f", "up"]).ok();
    world.assert_no_container();
}

#[test]
fn an_unknown_image_and_an_unknown_container_are_named() {
    let world = World::new();
    let refused = world.nman(["run", "--pull", "never", "no/such:image", "true"]).exits(125);
    assert!(refused.stderr().contains("no/such:image"), "{refused}");
    // An id is nothing that a registry is asked for.
    let refused = world.nman(["create", "sha256:dead", "true"]).exits(1);
    assert_eq!(
        refused.stderr(),
        "nman: No such image: sha256:dead\n\nhint: `nman images` lists what is here\n"
    );
    for command in ["stop", "kill", "logs", "start", "wait", "rm"] {
        let refused = world.nman([command, "nosuch"]).exits(1);
        assert_eq!(refused.stderr(), no_such_container("nosuch"));
    }
    let refused = world.nman(["exec", "nosuch", "true"]).exits(1);
    assert_eq!(refused.stderr(), no_such_container("nosuch"));
}

#[test]
fn a_name_that_is_misspelt_is_told_beside_what_is_there() {
    let world = World::new();
    world.nman(["tag", IMAGE, "localhost:1/busybox-static:latest"]).ok();
    let refused = world.nman(["run", "localhost:1/buzybox-static", "true"]).exits(125).stderr();
    let said = "cannot reach `localhost:1`: connection refused\n\nhint: `localhost:1/busybox-static:latest` is here; else check ";
    assert!(refused.contains(said), "{refused}");
    // To pull is to ask a registry.
    let refused = world.nman(["pull", "localhost:1/buzybox-static"]).exits(1).stderr();
    assert!(!refused.contains("is here"), "{refused}");
    let refused = world.nman(["cp", "a", "b"]).exits(1).stderr();
    assert!(refused.ends_with("\n\nhint: one of the two is `CONTAINER:PATH`\n"), "{refused}");
    world.assert_no_container();
}

#[test]
fn what_is_not_there_and_is_removed_by_force_is_told_as_in_docker_and_no_failure() {
    let world = World::new();
    for (words, stdout, stderr) in [
        (&["rm", "-f", "nosuch"][..], "", "WARNING: No such container: nosuch\n"),
        (&["rmi", "-f", "nosuch"], "", "WARNING: No such image: nosuch:latest\n"),
        (&["network", "rm", "-f", "nosuch"], "", ""),
        (&["volume", "rm", "-f", "nosuch"], "nosuch\n", ""),
    ] {
        let said = world.nman(words).ok();
        assert_eq!((said.stdout().as_str(), said.stderr().as_str()), (stdout, stderr), "{words:?}");
    }
}

#[test]
fn an_image_in_use_is_not_removed() {
    let world = World::new();
    world.run(&["--name", "user"], &["true"]).ok();
    let refused = world.nman(["rmi", IMAGE]).exits(1);
    assert!(refused.stderr().contains("is using it"), "{refused}");
    world.nman(["rm", "user"]).ok();
    world.nman(["rmi", IMAGE]).ok();
    assert_eq!(world.nman(["images", "-q"]).ok().stdout(), "");
}

#[test]
fn who_does_not_say_yes_to_a_prune_keeps_everything_and_hears_no_error() {
    let world = World::new();
    world.run(&["--name", "kept"], &["true"]).ok();
    for what in ["container", "image", "network", "system", "volume"] {
        for answer in ["n\n", ""] {
            let asked = world.command([what, "prune"]).stdin(answer).run().ok();
            assert!(asked.stdout().ends_with("continue? [y/N] "), "{what}: {asked}");
            assert_eq!(asked.stderr(), "", "{what}");
        }
    }
    assert_eq!(world.nman(["ps", "-aq"]).ok().stdout().lines().count(), 1);
    assert!(
        world.command(["container", "prune"]).stdin("Y\n").run().ok().stdout().contains("Deleted")
    );
    world.assert_no_container();
}

#[test]
fn a_variable_that_is_empty_counts_as_not_set() {
    let world = World::new();
    let run = |variable: &str, value: &str| {
        world.run_command(&["--rm"], &["true"]).env(variable, value).run()
    };
    run("NMAN_RUNTIME", "").ok();
    run("DOCKER_DEFAULT_PLATFORM", "").ok();
    let refused = run("NMAN_RUNTIME", "no-such-runtime").exits(125).stderr();
    assert!(refused.contains("cannot find the OCI runtime `no-such-runtime`"), "{refused}");
    world.assert_no_container();
}

#[test]
fn an_empty_docker_config_is_not_the_current_directory() {
    let world = World::new();
    std::fs::write(world.path("config.json"), r#"{"detachKeys": "nonsense"}"#).unwrap();
    world.run(&["-d", "--name", "up"], &["sh", "-c", "sleep 1; exit 3"]).ok();
    let attached =
        world.command(["attach", "up"]).directory(world.path("")).env("HOME", "/nowhere");
    attached.env("DOCKER_CONFIG", "").run().exits(3);
    world.nman(["rm", "up"]).ok();
    world.assert_no_container();
}

#[test]
fn nobody_is_put_onto_the_hosts_network_or_onto_none_later() {
    let world = World::new();
    world.nman(["create", "--name", "netted", "--network", "bridge", IMAGE, "true"]).ok();
    for verb in ["connect", "disconnect"] {
        let refused =
            |network: &str| world.nman(["network", verb, network, "netted"]).exits(1).stderr();
        let text = refused("host");
        assert!(
            text.contains("disconnected from host network or connected to host network"),
            "{text}"
        );
    }
    let refused = |verb| world.nman(["network", verb, "none", "netted"]).exits(1).stderr();
    assert!(refused("connect").contains("one of the networks in private (none) mode"));
    assert!(refused("disconnect").contains("is not connected to the network none"));
    world.nman(["rm", "netted"]).ok();
    world.assert_no_container();
}

#[test]
fn a_command_that_lacks_what_it_is_about_says_so_and_ends_with_1() {
    let world = World::new();
    world.nman(["create", "--name", "idle", IMAGE, "true"]).ok();
    let refused = world.nman(["exec", "idle"]).exits(1);
    let said = "nman: \"nman exec\" requires at least 2 arguments.\n";
    assert!(refused.stderr().starts_with(said), "{refused}");
    let refused = world.nman(["update", "idle"]).exits(1);
    let said = "nman: you must provide one or more flags when using this command\n";
    assert!(refused.stderr().starts_with(said), "{refused}");
    world.nman(["rm", "idle"]).ok();
    world.assert_no_container();
}

#[test]
fn a_template_or_a_name_that_does_not_fit_is_no_wrong_flag() {
    let world = World::new();
    world.nman(["create", "--name", "named", IMAGE, "true"]).ok();
    world.nman(["inspect", "-f", "{{", "named"]).exits(64);
    world.nman(["inspect", "-f", "{{.Nothing}}", "named"]).exits(1);
    world.nman(["rename", "named", "a/b"]).exits(1);
    world.nman(["volume", "create", "a!b"]).exits(1);
    world.nman(["volume", "create", "-o", "no=such", "ab"]).exits(1);
    world.run(&["-v", "a!b:/x"], &["true"]).exits(125);
    world.nman(["rm", "named"]).ok();
    world.assert_no_container();
}

#[test]
fn what_dockers_daemon_would_refuse_ends_with_1_and_a_process_without_a_place_with_128() {
    let world = World::new();
    world.run(&["-d", "--name", "up"], &["sleep", "1000"]).ok();
    for (line, code) in [
        ("kill -s BAD up", 1),
        ("update -m 1m up", 1),
        ("update -m x up", 125),
        ("events --since x", 1),
        ("container prune -f --filter until=x", 1),
        ("network prune -f --filter until=x", 1),
        ("volume ls -f x", 125),
        ("port up x", 1),
        ("start -a up up", 1),
        ("pull -a some:1", 1),
        ("login -p x --password-stdin r.example", 1),
        ("exec -w relative up true", 128),
        ("exec -d -w relative up true", 1),
    ] {
        world.nman(line.split(' ')).exits(code);
    }
    assert_eq!(world.inspect("up", "/State/Running"), true);
    world.nman(["rm", "-f", "up"]).ok();
    world.assert_no_container();
}

#[test]
fn a_directory_of_ours_that_is_not_utf8_is_refused_before_anything_is_made_there() {
    use std::os::unix::ffi::OsStrExt as _;
    let world = World::new();
    for option in ["--root", "--state"] {
        let directory = world.path("x").join(std::ffi::OsStr::from_bytes(b"r\xff"));
        let command = world.command(Vec::<&str>::new()).args([option]).args([&directory]);
        let refused = command.args(["volume", "create", "kept"]).run().exits(1).stderr();
        let line = format!(
            "nman: {directory:?} cannot hold images and containers: the path is not UTF-8\n"
        );
        assert!(refused.starts_with(&line), "{refused}");
        assert!(!directory.exists());
    }
    world.assert_no_container();
}

#[test]
fn who_may_open_too_few_files_is_told_how_many() {
    let world = World::new();
    let few = ["-c", "ulimit -n 12 && exec \"$@\"", "sh"];
    let said = world.run_command_by("/bin/sh", &few, &["--rm"], &["true"]).run().exits(125);
    let hint = ": no file descriptors available\n\nhint: no more than 12 files may be open at a time here: `ulimit -n` raises that\n";
    assert!(said.stderr().ends_with(hint), "{said}");
    world.assert_no_container();
}
