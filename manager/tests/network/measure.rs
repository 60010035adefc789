//! What connecting costs. Figures to read, never to fail on: `cargo test --test network measure -- --ignored --nocapture`.

use crate::world::World;
use nman::network::{self, netns};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

const ROUNDS: usize = 200;

#[test]
#[ignore = "prints figures, to be run by hand"]
fn of_connecting_and_disconnecting() {
    let world = World::new();
    let definition = world.network("nman");
    // The bridge and the table are there, as on a host in use; without `_first`, each round makes and removes them.
    let _first = std::env::var_os("COLD").is_none().then(|| world.connect(&[]));
    let (mut apply, mut remove) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let plan = world.plan(&definition, &["8080:80"]);
        let netns = netns::create().unwrap();
        apply.push(timed(|| network::apply(&world.state, &plan, netns.as_fd()).unwrap()));
        remove.push(timed(|| network::remove(&world.state, &plan, None).unwrap()));
        network::ipam::release(&world.state, &plan.network, &plan.container).unwrap();
    }
    println!("apply {:?}, remove {:?} (medians of {ROUNDS})", median(apply), median(remove));
}

fn timed(action: impl FnOnce()) -> Duration {
    let start = Instant::now();
    action();
    start.elapsed()
}

fn median(mut durations: Vec<Duration>) -> Duration {
    durations.sort_unstable();
    durations[durations.len() / 2]
}
