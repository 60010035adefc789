//! Clients whose output nobody reads, or whose input nobody takes: what else is asked of a container still happens.

use super::world::{IMAGE, World, eventually};
use rustix::io::ioctl_fionread;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `nman` with pipes that nobody reads, and a stdin that nobody writes to.
fn unread<S: AsRef<str>>(world: &World, args: impl IntoIterator<Item = S>) -> Child {
    Command::new(env!("CARGO_BIN_EXE_nman"))
        .args(args.into_iter().map(|arg| arg.as_ref().to_owned()))
        .env("NMAN_ROOT", world.path("root"))
        .env("NMAN_STATE", world.path("state"))
        .env("NMAN_RUNTIME", super::world::runtime())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn unread_run(world: &World, options: &[&str], script: &str) -> Child {
    let parent = format!("/{}", world.cgroup());
    let before = ["run", "--network", "none", "--cgroup-parent", &parent];
    unread(world, before.iter().chain(options).chain(&[IMAGE, "sh", "-c", script]))
}

/// Until the client's stdout holds all that it can.
#[track_caller]
fn until_full(client: &Child) {
    let stdout = client.stdout.as_ref().unwrap();
    let (mut before, mut same) = (0, 0);
    eventually("the client's stdout is full", || {
        let now = ioctl_fionread(stdout).unwrap();
        same = if now == before { same + 1 } else { 0 };
        before = now;
        now > 30_000 && same > 4
    });
}

/// What the client has written and the code that it ends with.
fn read_all(mut client: Child) -> (String, Option<i32>) {
    let mut text = String::new();
    client.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    (text, client.wait().unwrap().code())
}

#[test]
fn a_client_that_does_not_read_keeps_no_container_from_being_stopped_and_misses_nothing() {
    let world = World::new();
    let client = unread_run(&world, &["--name", "slow"], "exec yes");
    until_full(&client);
    let before = Instant::now();
    world.nman(["stop", "-t", "0", "slow"]).ok();
    assert!(before.elapsed() < Duration::from_secs(8), "{:?}", before.elapsed());
    assert_eq!(world.inspect("slow", "/State/Status"), "exited");
    let logged = world.nman(["logs", "slow"]).ok().stdout();
    let (seen, code) = read_all(client);
    assert_eq!((seen.len(), code), (logged.len(), Some(137)));
    world.nman(["rm", "slow"]).ok();
    world.assert_no_container();
}

#[test]
fn a_client_that_does_not_read_keeps_no_container_from_being_started_again() {
    let world = World::new();
    let script = "trap 'exit 3' TERM; yes & while :; do sleep 0.1; done";
    let options = ["--name", "again", "--restart", "on-failure:1"];
    let client = unread_run(&world, &options, script);
    until_full(&client);
    world.nman(["exec", "again", "kill", "1"]).ok();
    eventually("it was started again", || world.inspect("again", "/RestartCount") == 1);
    assert_eq!(read_all(client).1, Some(3));
    world.nman(["rm", "-f", "again"]).ok();
    world.assert_no_container();
}

#[test]
fn who_outlives_the_init_and_writes_on_does_not_keep_the_container_from_ending() {
    let world = World::new();
    let mut client =
        unread_run(&world, &["--name", "left", "--pid", "host"], "yes & sleep 0.5; exit 4");
    // More than the kernel keeps for it: it is let go.
    eventually("it has ended", || {
        let state = world.nman(["inspect", "left"]);
        state.success() && state.json()[0].pointer("/State/Status").unwrap() == "exited"
    });
    assert_eq!(world.inspect("left", "/State/ExitCode"), 4);
    client.kill().unwrap();
    client.wait().unwrap();
    world.nman(["rm", "left"]).ok();
    world.assert_no_container();
}
