//! `nman run`: what the container gets, and what comes back.

use super::world::World;

#[test]
fn output_comes_back_whole_each_stream_on_its_own() {
    let world = World::new();
    let output = world.shell(&[], "echo out; echo err >&2").ok();
    assert_eq!((output.stdout().as_str(), output.stderr().as_str()), ("out\n", "err\n"));
    let many = world.shell(&[], "seq 1 200000").ok().stdout();
    assert_eq!(many.lines().count(), 200_000);
    assert!(many.ends_with("199999\n200000\n"));
    world.assert_no_container();
}

#[test]
fn exit_codes_come_back() {
    let world = World::new();
    world.shell(&[], "exit 0").exits(0);
    world.shell(&[], "exit 3").exits(3);
    world.shell(&[], "exit 255").exits(255);
    world.run(&["--rm"], &["no-such-program"]).exits(127);
    world.run(&["--rm"], &["/etc/text"]).exits(126);
    world.assert_no_container();
}

#[test]
fn a_program_that_a_signal_ended_counts_as_128_and_the_signal() {
    let world = World::new();
    world.run(&["-d", "--name", "victim"], &["sleep", "1000"]).ok();
    world.nman(["kill", "victim"]).ok();
    assert_eq!(world.nman(["wait", "victim"]).ok().stdout(), "137\n");
    world.nman(["rm", "victim"]).ok();
    world.assert_no_container();
}

/// The kernel keeps no status of a child whose end is ignored, and sends no signal.
#[test]
fn the_exit_code_comes_back_when_the_caller_ignores_the_end_of_children() {
    let world = World::new();
    let ignoring = ["--ignore-signal=CHLD"];
    let run = world.run_command_by("/usr/bin/env", &ignoring, &["--rm"], &["sh", "-c", "exit 7"]);
    run.run().exits(7);
    world.assert_no_container();
}

#[test]
fn stdin_is_passed_on_with_i_and_empty_without() {
    let world = World::new();
    // Far more than all pipes and sockets on the way hold: neither direction may wait for the other.
    let input: String = (0..1_000_000).map(|n| format!("{n}\n")).collect();
    let back = world.run_command(&["--rm", "-i"], &["cat"]).stdin(input.clone()).run().ok();
    assert!(back.stdout() == input, "what came back is not what went in");
    let without = world.run_command(&["--rm"], &["cat"]).stdin(*b"unseen").run().ok();
    assert_eq!(without.stdout(), "");
    world.assert_no_container();
}

#[test]
fn the_environment_is_the_images_then_the_command_lines() {
    let world = World::new();
    let file = world.path("env");
    std::fs::write(&file, "# comment\nFILE=1\nBOTH=file\n").unwrap();
    let options = [
        "--env-file",
        file.to_str().unwrap(),
        "-e",
        "BOTH=line",
        "-e",
        "X=a=b",
        "--hostname",
        "hh",
    ];
    let env = world.run(&[&["--rm"], &options[..]].concat(), &["env"]).ok().stdout();
    for line in
        ["PATH=/bin", "FROM_IMAGE=yes", "FILE=1", "BOTH=line", "X=a=b", "HOSTNAME=hh", "HOME=/root"]
    {
        assert!(env.lines().any(|own| own == line), "no {line} in\n{env}");
    }
    assert!(!env.contains("NMAN_"), "our own environment leaks:\n{env}");
}

#[test]
fn user_working_directory_and_entry_point_are_as_asked() {
    let world = World::new();
    let ids =
        |user: &str| world.shell(&["-u", user], "id -u; id -g; id -G; echo $HOME").ok().stdout();
    assert_eq!(ids("mail"), "8\n12\n12 27\n/var/mail\n");
    assert_eq!(ids("8:video"), "8\n27\n27\n/var/mail\n");
    assert_eq!(ids("4242"), "4242\n0\n0\n/\n");
    assert_eq!(world.run(&["--rm", "-w", "/new/dir"], &["pwd"]).ok().stdout(), "/new/dir\n");
    assert_eq!(world.run(&["--rm", "--entrypoint", "echo"], &["a", "b"]).ok().stdout(), "a b\n");
}

#[test]
fn the_process_has_dockers_capabilities_and_a_seccomp_filter() {
    let world = World::new();
    let status = world.run(&["--rm"], &["cat", "/proc/self/status"]).ok().stdout();
    let value = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(value("CapBnd:"), "00000000a80425fb");
    assert_eq!(value("CapEff:"), "00000000a80425fb");
    assert_eq!(value("CapInh:"), "0000000000000000");
    assert_eq!(value("CapAmb:"), "0000000000000000");
    assert_eq!(value("Seccomp:"), "2");
}

#[test]
fn no_descriptor_of_ours_reaches_the_container() {
    let world = World::new();
    let list = world.shell(&[], "ls /proc/self/fd | sort -n | tr '\\n' ' '").ok().stdout();
    // The fourth is the directory that ls reads.
    assert_eq!(list, "0 1 2 3 ");
}

#[test]
fn volumes_are_mounted_writable_and_read_only() {
    let world = World::new();
    let source = world.path("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), "host\n").unwrap();
    let writable = format!("{}:/mnt", source.display());
    world.shell(&["-v", &writable], "cat /mnt/file; echo from inside > /mnt/new").ok();
    assert_eq!(std::fs::read_to_string(source.join("new")).unwrap(), "from inside\n");
    let read_only = format!("{writable}:ro");
    let refused = world.shell(&["-v", &read_only], "echo x > /mnt/other").exits(1);
    assert!(refused.stderr().contains("Read-only file system"), "{refused}");
    assert!(!source.join("other").exists());
    world.shell(&["-v", "named:/mnt"], "echo kept > /mnt/file").ok();
    assert_eq!(world.shell(&["-v", "named:/mnt"], "cat /mnt/file").ok().stdout(), "kept\n");
    world.assert_no_container();
}

#[test]
fn an_images_volume_is_the_containers_own_with_the_images_owner() {
    let world = World::new();
    let seen = world.shell(&[], "stat -c '%u %a' /volume; grep -c ' /volume ' /proc/mounts").ok();
    assert_eq!(seen.stdout(), "5 751\n1\n");
    world.assert_no_container();
}

#[test]
fn a_read_only_root_is_read_only() {
    let world = World::new();
    let refused = world.shell(&["--read-only"], "echo x > /new").exits(1);
    assert!(refused.stderr().contains("Read-only file system"), "{refused}");
}

#[test]
fn eight_at_a_time_do_not_disturb_each_other() {
    let world = World::new();
    let started: Vec<_> =
        (0..8).map(|n| world.run_command(&["--rm"], &["echo", &n.to_string()]).start()).collect();
    for (n, (mut child, output)) in started.into_iter().enumerate() {
        assert!(child.wait().unwrap().success(), "{output}");
        assert_eq!(output.stdout(), format!("{n}\n"));
    }
    world.assert_no_container();
}
