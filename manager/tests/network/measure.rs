//! What connecting costs. Figures to read, never to fail on: `cargo test --test network measure -- --ignored --nocapture`.

use crate::world::World;
use nman::network::resolver::{Directory, Resolver, Upstream};
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

/// As a container that is run and ends: with its resolver, and its namespace gone afterwards.
#[test]
#[ignore = "prints figures, to be run by hand"]
fn of_a_container_that_comes_and_goes() {
    let world = World::new();
    let definition = world.network("nman");
    let (mut apply, mut resolver, mut remove) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let plan = world.plan(&definition, &["8080:80"]);
        let netns = netns::create().unwrap();
        apply.push(timed(|| network::apply(&world.state, &plan, netns.as_fd()).unwrap()));
        let directory = Directory {
            state: world.state.clone(),
            names: world.root.path().join("names"),
            container: plan.container.clone(),
        };
        let copy = netns.try_clone().unwrap();
        resolver.push(timed(|| drop(Resolver::open(copy, directory, Upstream::Host).unwrap())));
        remove.push(timed(|| {
            network::remove_with_namespace(&world.state, &plan, netns.as_fd()).unwrap();
        }));
        network::ipam::release(&world.state, &plan.network, &plan.container).unwrap();
    }
    println!(
        "apply {:?}, resolver {:?}, remove {:?} (medians of {ROUNDS})",
        median(apply),
        median(resolver),
        median(remove)
    );
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
