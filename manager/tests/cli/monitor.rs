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

#[test]
fn a_monitor_is_small_and_stays_so_whatever_it_has_to_do() {
    // A development build is five times as large, code and relocated data alike.
    const BAR: u64 = if cfg!(debug_assertions) { 4096 } else { 1536 };
    let world = World::new();
    let script = "until [ -e /go ]; do sleep 0.1; done; yes $(seq -s , 1 200) | head -c 50000000; touch /done; sleep 1000";
    let options = ["-d", "-t", "--name", "small", "--log-opt", "max-size=1m"];
    world.run(&options, &["sh", "-c", script]).ok();
    let pid = monitor_of(&world, "small");
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(name, "nman-monitor\n", "as `ps` on the host shows it");
    eventually("it has given back what it has used to start", || memory(pid, "VmRSS") < BAR);
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
    eventually("it is small again", || memory(pid, "VmRSS") < BAR);
    let after = memory(pid, "RssAnon");
    // The buffers of a moment: 32 KiB of output, its copy for clients, and a write of the log.
    assert!(after <= own + 256, "{own} kB of its own before, {after} kB after");
    world.nman(["rm", "-f", "small"]).ok();
    world.assert_no_container();
}
