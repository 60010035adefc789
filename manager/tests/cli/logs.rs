//! `nman logs` and the log drivers.

use super::world::{World, entries, eventually};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

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

/// Shell that waits for a file in the container's root.
fn until_there(file: &str) -> String {
    format!("until [ -e /{file} ]; do sleep 0.05; done")
}

#[test]
fn a_log_goes_on_when_its_disk_is_no_longer_full_and_says_what_it_lacks() {
    let world = World::new();
    let small = world.path("small");
    std::fs::create_dir(&small).unwrap();
    mount("tmpfs", &small, "tmpfs", MountFlags::empty(), Some(c"size=512k")).unwrap();
    for driver in ["local", "json-file"] {
        let script = format!(
            "[ ! -e /on ] || exec sleep 1000; echo first; {}; seq 1 30000; touch /done; {}; echo last; sleep 1000",
            until_there("go"),
            until_there("on")
        );
        let options = ["create", "--name", "full", "--network", "none", "--log-driver", driver];
        let words = [super::world::IMAGE, "sh", "-c", &script];
        let id = world.nman(options.iter().chain(&words)).ok().text();
        let ballast = small.join("ballast");
        std::fs::write(&ballast, vec![0; 448 << 10]).unwrap();
        let log = world.root().join("containers").join(&id).join("log");
        std::os::unix::fs::symlink(small.join(driver), &log).unwrap();
        world.nman(["start", "full"]).ok();
        let (mut follower, followed) = world.command(["logs", "-f", "full"]).start();
        // A follower hears what changes in the container's directory, which the files on the small disk are not in.
        let follow = || {
            std::fs::write(log.with_file_name("changed"), "").unwrap();
            followed.stdout()
        };
        eventually("the follower reads", || follow() == "first\n");
        let touch = |file: &str| drop(world.nman(["exec", "full", "touch", file]).ok());
        touch("/go");
        eventually("the disk is full, which is said at once", || {
            let error = world.inspect("full", "/State/Error");
            error.as_str().unwrap().contains("No space left on device")
        });
        let is_done = || world.nman(["exec", "full", "test", "-e", "/done"]).success();
        eventually("all is written", is_done);
        std::fs::remove_file(&ballast).unwrap();
        touch("/on");
        eventually("the log goes on", || follow().ends_with("last\n"));
        let logged = world.nman(["logs", "full"]).ok().stdout();
        assert!(logged.starts_with("first\n") && logged.ends_with("\nlast\n"), "{logged}");
        // Whole lines are missing, and no half ones are left.
        let numbers: Vec<u32> = logged.lines().filter_map(|line| line.parse().ok()).collect();
        assert_eq!(numbers.len() + 2, logged.lines().count());
        assert!(numbers.is_sorted_by(|one, next| one < next), "{logged}");
        let written: usize = (1..=30_000).map(|n: u32| n.to_string().len() + 1).sum();
        let lost = written + "first\nlast\n".len() - logged.len();
        eventually("what is lost is counted", || {
            let error = world.inspect("full", "/State/Error");
            error.as_str().unwrap().ends_with(&format!("; {lost} bytes of output are lost"))
        });
        assert_eq!(world.inspect("full", "/State/Status"), "running");
        world.nman(["stop", "-t", "0", "full"]).ok();
        follower.wait().unwrap();
        assert!(followed.stdout() == logged, "the follower saw something else");
        assert_ne!(world.inspect("full", "/State/Error"), "");
        world.nman(["start", "full"]).ok();
        assert_eq!(world.inspect("full", "/State/Error"), "");
        world.nman(["rm", "-f", "full"]).ok();
        std::fs::remove_file(small.join(driver)).unwrap();
    }
    unmount(&small, UnmountFlags::DETACH).unwrap();
    world.assert_no_container();
}
