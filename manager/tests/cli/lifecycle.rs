//! Containers in the background: ps, logs, exec, stop, start, rm.

use super::world::{IMAGE, World, eventually, no_such_container};
use nconform::fixture::Capture;

/// Ends with 7 when it is asked to.
const SERVICE: &str = "trap 'exit 7' TERM; echo one; echo two >&2; while :; do sleep 0.05; done";

fn service(world: &World) -> String {
    let id = world.run(&["-d", "--name", "web", "-l", "k=v"], &["sh", "-c", SERVICE]).ok().stdout();
    eventually("the service has written", || world.nman(["logs", "web"]).stdout() == "one\n");
    id.trim().to_owned()
}

#[test]
fn a_background_container_is_listed_logged_stopped_and_removed() {
    let world = World::new();
    let id = service(&world);
    assert_eq!(id.len(), 64);
    let table = world.nman(["ps"]).ok().stdout();
    assert!(table.starts_with("CONTAINER ID   IMAGE          COMMAND"), "{table}");
    assert!(table.contains(&id[..12]) && table.contains("Up ") && table.contains("web"), "{table}");
    assert_eq!(world.nman(["ps", "-q", "--no-trunc"]).ok().stdout().trim(), id);
    let object = world.nman(["ps", "--format", "json"]).ok().json();
    assert_eq!((&object["Names"], &object["State"]), (&"web".into(), &"running".into()));
    let logs = world.nman(["logs", "web"]).ok();
    assert_eq!((logs.stdout().as_str(), logs.stderr().as_str()), ("one\n", "two\n"));
    assert_eq!(world.nman(["stop", "web"]).ok().stdout(), "web\n");
    assert_eq!(world.nman(["ps", "-q"]).ok().stdout(), "");
    assert!(world.nman(["ps", "-a"]).ok().stdout().contains("Exited (7)"));
    assert_eq!(world.inspect("web", "/State/ExitCode"), 7);
    assert_eq!(world.inspect("web", "/Config/Labels/k"), "v");
    world.nman(["rm", &id[..6]]).ok();
    world.assert_no_container();
}

#[test]
fn a_running_container_is_removed_by_force_only() {
    let world = World::new();
    service(&world);
    let refused = world.nman(["rm", "web"]).exits(1);
    assert!(refused.stderr().contains("container is running"), "{refused}");
    world.nman(["rm", "-f", "web"]).ok();
    world.nman(["rm", "-f", "web"]).ok();
    let gone = world.nman(["rm", "web"]).exits(1);
    assert_eq!(gone.stderr(), no_such_container("web"));
    world.assert_no_container();
}

#[test]
fn a_stopped_container_starts_again_with_what_it_has_written() {
    let world = World::new();
    let script = "echo run >> /count; wc -l < /count";
    world.run(&["--name", "again"], &["sh", "-c", script]).ok();
    let second = world.nman(["start", "-a", "again"]).ok();
    assert_eq!(second.stdout().trim(), "2");
    assert_eq!(
        world.nman(["logs", "again"]).ok().stdout().split_whitespace().collect::<Vec<_>>(),
        ["1", "2"]
    );
    world.nman(["rm", "again"]).ok();
    world.assert_no_container();
}

#[test]
fn logs_follow_to_the_end_and_show_the_last_lines() {
    let world = World::new();
    let script = "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done; printf end";
    world.run(&["-d", "--name", "counter"], &["sh", "-c", script]).ok();
    assert_eq!(world.nman(["logs", "-f", "counter"]).ok().stdout(), "1\n2\n3\n4\n5\nend");
    assert_eq!(world.nman(["logs", "--tail", "2", "counter"]).ok().stdout(), "5\nend");
    let stamped = world.nman(["logs", "-t", "-n", "1", "counter"]).ok().stdout();
    assert!(stamped.starts_with("20") && stamped.ends_with("Z end"), "{stamped}");
    world.nman(["rm", "counter"]).ok();
}

#[test]
fn exec_runs_a_further_process_in_the_container() {
    let world = World::new();
    service(&world);
    assert_eq!(world.nman(["exec", "web", "echo", "-n", "hi"]).ok().stdout(), "hi");
    let args = [
        "exec",
        "-e",
        "A=1",
        "-w",
        "/tmp",
        "-u",
        "mail",
        "web",
        "sh",
        "-c",
        "echo $A $PWD $HOME; id -G",
    ];
    assert_eq!(world.nman(args).ok().stdout(), "1 /tmp /var/mail\n12 27\n");
    let piped = world.command(["exec", "-i", "web", "cat"]).stdin(*b"piped").run().ok();
    assert_eq!(piped.stdout(), "piped");
    world.nman(["exec", "web", "sh", "-c", "exit 9"]).exits(9);
    world.nman(["exec", "web", "sh", "-c", "kill -9 $$"]).exits(137);
    world.nman(["exec", "web", "no-such-program"]).exits(127);
    world.nman(["exec", "-d", "web", "touch", "/made"]).ok();
    eventually("the detached command has run", || {
        world.nman(["exec", "web", "test", "-e", "/made"]).success()
    });
    let status = "grep -E '^(Cap|Seccomp:|NoNew|Groups)' /proc/self/status";
    let of_exec = world.nman(["exec", "web", "sh", "-c", status]).ok().stdout();
    assert_eq!(of_exec, world.shell(&[], status).ok().stdout(), "exec and run differ");
    world.nman(["stop", "web"]).ok();
    let refused = world.nman(["exec", "web", "true"]).exits(1);
    assert!(refused.stderr().contains("is not running"), "{refused}");
    world.nman(["rm", "web"]).ok();
    world.assert_no_container();
}

#[test]
fn stop_kills_what_does_not_listen() {
    let world = World::new();
    world
        .run(&["-d", "--name", "deaf"], &["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"])
        .ok();
    world.nman(["stop", "-t", "0", "deaf"]).ok();
    assert_eq!(world.inspect("deaf", "/State/ExitCode"), 137);
    world.nman(["rm", "deaf"]).ok();
    world.assert_no_container();
}

/// The first process may call itself what it likes, and `/proc` tells it as it is.
#[test]
fn a_container_whose_process_has_a_name_that_is_no_text_is_reached_and_stopped() {
    let world = World::new();
    let script = "printf '\\377' >/proc/$$/comm; echo ready; while :; do sleep 1; done";
    world.run(&["-d", "--name", "nameless"], &["sh", "-c", script]).ok();
    eventually("it has its name", || world.nman(["logs", "nameless"]).stdout() == "ready\n");
    assert_eq!(world.nman(["exec", "nameless", "echo", "hi"]).ok().stdout(), "hi\n");
    world.nman(["stop", "-t", "0", "nameless"]).ok();
    assert_eq!(world.inspect("nameless", "/State/ExitCode"), 137);
    world.nman(["rm", "nameless"]).ok();
    world.assert_no_container();
}

#[test]
fn a_background_container_with_rm_removes_itself() {
    let world = World::new();
    let id = world.run(&["-d", "--rm"], &["sleep", "0.2"]).ok().stdout();
    world.nman(["wait", id.trim()]);
    eventually("it is gone", || world.has_no_container());
    eventually("its monitor has ended", || {
        world.sandbox.leftovers().iter().all(|l| !l.contains("process"))
    });
    world.assert_no_container();
}

#[test]
fn a_container_that_is_started_while_its_removal_waits_for_it_is_not_killed() {
    let world = World::new();
    world.nman(["create", "--name", "waits", "--network", "none", IMAGE]).ok();
    let id = world.inspect("waits", "/Id").as_str().unwrap().to_owned();
    let dir = world.path("root/containers").join(id);
    // As a start has it: the lock, then a monitor and the state.
    let lock = std::fs::File::open(dir.join("lock")).unwrap();
    lock.lock().unwrap();
    let (mut removing, said) = world.command(["rm", "waits"]).start();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let (mut monitor, _) = Capture::of("sleep").args(["1000"]).start();
    let before = std::fs::read_to_string(dir.join("state.json")).unwrap();
    let mut state: serde_json::Value = serde_json::from_str(&before).unwrap();
    (state["status"], state["monitor"]) = ("running".into(), monitor.id().into());
    std::fs::write(dir.join("new"), state.to_string()).unwrap();
    std::fs::rename(dir.join("new"), dir.join("state.json")).unwrap();
    let code = removing.wait().unwrap().code();
    let lives = monitor.try_wait().unwrap().is_none();
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    std::fs::write(dir.join("state.json"), before).unwrap();
    lock.unlock().unwrap();
    assert!(lives && code == Some(1), "{said}");
    let words = "cannot remove container \"/waits\": container is running";
    assert!(said.stderr().contains(words), "{said}");
    world.nman(["rm", "waits"]).ok();
    world.assert_no_container();
}
