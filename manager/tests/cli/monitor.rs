//! The monitor itself: how much memory it takes up, and that this does not grow with what it does.

use super::world::{World, eventually};
use nman::attach;
use nman::container::ContainerId;
use nman::settings::Settings;
use nman::wire::{Request, put};
use std::os::fd::AsFd as _;

/// One line of `/proc/PID/status`, in kB.
pub(crate) fn memory(pid: i64, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

pub(crate) fn monitor_of(world: &World, name: &str) -> i64 {
    let init = world.inspect(name, "/State/Pid");
    let status = std::fs::read_to_string(format!("/proc/{init}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    parent.trim().parse().unwrap()
}

/// A development build is five times as large: what it relocates is memory of its own.
const BAR: u64 = if cfg!(debug_assertions) { 2048 } else { 1536 };

/// Of the program itself, whatever the build: what is between a wait and the next one is dozens of pieces of 32 KiB, what only waits has a
/// few of them.
const OF_PROGRAM: u64 = 1024;

fn is_small(monitor: i64) -> bool {
    memory(monitor, "RssFile") < OF_PROGRAM && memory(monitor, "VmRSS") < BAR
}

#[test]
fn a_monitor_is_small_and_stays_so_whatever_it_has_to_do() {
    let world = World::new();
    let script = "until [ -e /go ]; do sleep 0.1; done; yes $(seq -s , 1 200) | head -c 50000000; touch /done; sleep 1000";
    let options = ["-d", "-t", "--name", "small", "--log-opt", "max-size=1m"];
    world.run(&options, &["sh", "-c", script]).ok();
    let pid = monitor_of(&world, "small");
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(name, "nman-monitor\n", "as `ps` on the host shows it");
    eventually("it has given back what it has used to start", || is_small(pid));
    let own = memory(pid, "RssAnon");
    let id = world.inspect("small", "/Id");
    let id = ContainerId::parse(id.as_str().unwrap()).unwrap();
    let settings = Settings {
        root: world.path("root"),
        state: world.path("state"),
        runtime: None,
        debug: false,
        rootless: false,
    };
    let mut message = Vec::new();
    for round in 0..200_u16 {
        let link = attach::open(&settings, &id).unwrap();
        for columns in 0..50 {
            Request::Resize { rows: round, columns }.encode(&mut message);
            put(link.socket.as_fd(), &message, true).unwrap();
        }
    }
    // Somebody who attaches and never reads must not make it keep what the container writes.
    world.nman(["exec", "small", "touch", "/go"]).ok();
    eventually("everything was written", || {
        world.nman(["exec", "small", "test", "-e", "/done"]).success()
    });
    eventually("it is small again", || is_small(pid));
    let after = memory(pid, "RssAnon");
    // The buffers of a moment: 32 KiB of output, its copy for clients, and a write of the log.
    assert!(after <= own + 256, "{own} kB of its own before, {after} kB after");
    world.nman(["rm", "-f", "small"]).ok();
    world.assert_no_container();
}

#[test]
fn a_monitor_is_small_too_while_its_container_rests_between_two_lives() {
    let world = World::new();
    let script = "[ -e /again ] || { touch /again; sleep 3; }";
    world.run(&["-d", "--name", "rests", "--restart", "always"], &["sh", "-c", script]).ok();
    let pid = monitor_of(&world, "rests");
    // Each rest is twice as long as the one before.
    eventually("it has given its pages back", || {
        world.inspect("rests", "/State/Status") == "restarting" && is_small(pid)
    });
    world.nman(["rm", "-f", "rests"]).ok();
    world.assert_no_container();
}
