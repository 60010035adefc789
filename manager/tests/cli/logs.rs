//! `nman logs` and the log drivers.

use super::world::{World, entries, eventually};

#[test]
fn both_drivers_rotate_and_followers_lose_nothing() {
    let world = World::new();
    for driver in ["json-file", "local"] {
        let options = [
            "-d",
            "--name",
            driver,
            "--log-driver",
            driver,
            "--log-opt",
            "max-size=20k",
            "--log-opt",
            "max-file=200",
        ];
        // Waits for the follower, then writes more than ten files full.
        let script = "echo ready; until [ -e /go ]; do sleep 0.1; done; seq 1 20000; printf end";
        world.run(&options, &["sh", "-c", script]).ok();
        let (mut follower, followed) = world.command(["logs", "-f", driver]).start();
        eventually("the follower reads", || followed.stdout() == "ready\n");
        world.nman(["exec", driver, "touch", "/go"]).ok();
        assert!(follower.wait().unwrap().success(), "{followed}");
        let expected: String = std::iter::once("ready\n".to_owned())
            .chain((1..=20_000).map(|n| format!("{n}\n")))
            .chain(["end".to_owned()])
            .collect();
        assert!(followed.stdout() == expected, "{driver}: the follower saw something else");
        let logs = world.nman(["logs", driver]).ok().stdout();
        assert!(logs == expected, "{driver}: {} bytes of {}", logs.len(), expected.len());
        let path = world.inspect(driver, "/LogPath");
        let directory = std::path::Path::new(path.as_str().unwrap()).parent().unwrap().to_owned();
        let files = entries(&directory)
            .iter()
            .filter(|path| path.to_string_lossy().contains("/log"))
            .count();
        assert!(files > 3, "{driver}: {files} files");
        let last = world.nman(["logs", "--tail", "3", driver]).ok().stdout();
        assert_eq!(last, "19999\n20000\nend", "{driver}");
        world.nman(["rm", driver]).ok();
    }
    world.assert_no_container();
}

#[test]
fn old_files_go_and_what_is_left_can_be_compressed() {
    let world = World::new();
    for (driver, size, least, most) in [("json-file", "10k", 50, 600), ("local", "2k", 100, 3000)] {
        old_files_go(&world, driver, size, least..most);
    }
    world.assert_no_container();
}

fn old_files_go(world: &World, driver: &str, size: &str, lines_left: std::ops::Range<usize>) {
    let size = format!("max-size={size}");
    let options = [
        "--name",
        "small",
        "--log-driver",
        driver,
        "--log-opt",
        &size,
        "--log-opt",
        "max-file=3",
        "--log-opt",
        "compress=true",
        "--log-opt",
        "tag={{.Name}}",
        "--log-opt",
        "labels=of",
    ];
    world.run(&options, &["seq", "1", "5000"]).ok();
    let logs = world.nman(["logs", "small"]).ok().stdout();
    let lines: Vec<&str> = logs.lines().collect();
    assert_eq!(lines.last(), Some(&"5000"));
    assert!(lines_left.contains(&lines.len()), "{} lines", lines.len());
    assert_eq!(lines[0].parse::<usize>().unwrap(), 5001 - lines.len());
    let details = world.nman(["logs", "--details", "-n", "1", "small"]).ok().stdout();
    assert_eq!(details, "of=image,tag=small 5000\n");
    world.nman(["rm", "small"]).ok();
}

#[test]
fn times_select_lines_and_nothing_is_kept_without_a_driver() {
    let world = World::new();
    world.run(&["--name", "one"], &["sh", "-c", "echo a; sleep 0.2; echo b"]).ok();
    let stamped = world.nman(["log", "-t", "one"]).ok().stdout();
    let second = stamped.lines().nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(world.nman(["logs", "--since", &second, "one"]).ok().stdout(), "b\n");
    assert_eq!(world.nman(["logs", "--until", "1h", "one"]).ok().stdout(), "");
    assert_eq!(world.nman(["logs", "--since", "1h", "one"]).ok().stdout(), "a\nb\n");
    let wrong = world.nman(["logs", "--since", "yesterday", "one"]);
    assert!(wrong.stderr().contains("is no time"), "{wrong}");
    let shown = world.run(&["--name", "none", "--log-driver", "none"], &["echo", "seen"]).ok();
    assert_eq!(shown.stdout(), "seen\n");
    let refused = world.nman(["logs", "none"]).exits(1);
    assert!(
        refused.stderr().starts_with("nman: configured logging driver does not support reading"),
        "{refused}"
    );
    world.nman(["rm", "one", "none"]).ok();
    world.assert_no_container();
}
