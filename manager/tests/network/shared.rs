//! Two state directories on one host: neither takes away what the other's containers use.

use crate::world::{Container, HOST, World, converse, output, run, to};
use nman::network::{self, orphan, survey};
use std::os::fd::AsFd as _;

fn tidy(world: &World, bridge: &str) {
    network::tidy(&world.state, &bridge.parse().unwrap()).unwrap();
}

fn end(world: &World, container: &Container) {
    let (plan, netns) = (&container.plan, container.netns.as_fd());
    network::remove_with_namespace(&world.state, plan, netns).unwrap();
}

/// The rules, with the elements of their sets.
fn rules() -> String {
    output("nft list table ip nman") + &output("nft list table ip6 nman")
}

fn sysctl(key: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/net/{key}")).unwrap().trim().to_owned()
}

#[test]
fn what_containers_on_record_elsewhere_use_stays_whoever_tidies_up() {
    let world = World::new();
    let other = world.with_another_state();
    let web = world.define_dual("web", "web0", "10.77.0.0/24", "fd77::/64");
    let both = world.try_connect(&web, &["8081:80"]).unwrap();
    let one = world.connect(&["8080:80"]);
    let servers = [(one.serve(80), 8080), (both.serve(80), 8081)];
    let (before, links) = (rules(), output("ip -o link"));
    let check = |after: &str| {
        for (server, port) in &servers {
            converse(Some(&world.outside), to(HOST, *port), server);
        }
        assert_eq!(rules(), before, "after {after}");
        assert_eq!(output("ip -o link").lines().count(), links.lines().count(), "after {after}");
        assert_eq!(sysctl("ipv4/conf/nman0/route_localnet"), "1", "after {after}");
    };
    tidy(&other, "other0");
    check("a network that nobody was on");
    tidy(&other, "nman0");
    check("the default network");
    let theirs = other.connect(&["8082:80"]);
    assert_ne!(theirs.address(), one.address());
    theirs.disconnect(&other);
    check("a container that was disconnected");
    let theirs = other.connect(&[]);
    end(&other, &theirs);
    drop(theirs);
    tidy(&other, "nman0");
    crate::world::until(|| output("ip -o link").lines().count() == links.lines().count());
    check("a container that ended");
    one.disconnect(&world);
    both.disconnect(&world);
    assert!(!output("nft list ruleset").contains("nman"));
    assert!(!output("ip link").contains("nman0"));
}

#[test]
fn rules_that_are_made_anew_keep_what_containers_on_record_elsewhere_have_in_them() {
    let world = World::new();
    let other = world.with_another_state();
    let web = world.define_dual("web", "web0", "10.77.0.0/24", "fd77::/64");
    let both = world.try_connect(&web, &["8081:80"]).unwrap();
    let server = both.serve(80);
    let before = rules();
    let check = || {
        converse(Some(&world.outside), to(HOST, 8081), &server);
        assert_eq!(sysctl("ipv4/conf/web0/route_localnet"), "1");
        let now = rules();
        for line in
            before.lines().filter(|line| line.contains("10.77.0.2") || line.contains("fd77::2"))
        {
            let element = line.trim().trim_start_matches("elements = { ").trim_end_matches(" }");
            assert!(now.contains(element), "{element}: {now}");
        }
        assert!(now.contains("web0"), "{now}");
    };
    let theirs = other.connect(&["8080:80"]);
    network::restore_rules(&other.state).unwrap();
    check();
    network::reload(&other.state).unwrap();
    check();
    // By who comes next.
    run("nft flush chain ip nman forward");
    let next = other.connect(&["8082:80"]);
    check();
    next.disconnect(&other);
    theirs.disconnect(&other);
    assert_eq!(rules(), before);
    both.disconnect(&world);
}

#[test]
fn a_bridge_of_the_hosts_stays_as_it_is_while_a_container_on_record_elsewhere_is_on_it() {
    let world = World::new();
    let other = world.with_another_state();
    run("ip link add host0 type bridge");
    run("ip addr add 10.77.0.9/24 dev host0");
    run("ip link set host0 up");
    let networks = [&world, &other].map(|one| one.define("web", "host0", "10.77.0.0/24"));
    let open = || sysctl("ipv4/conf/host0/route_localnet");
    let first = world.try_connect(&networks[0], &[]).unwrap();
    let last = other.try_connect(&networks[1], &[]).unwrap();
    first.disconnect(&world);
    tidy(&world, "host0");
    assert_eq!(open(), "1");
    assert!(output("ip addr show dev host0").contains("10.77.0.1/24"));
    // It was open when this one came, and its guard goes with it.
    last.disconnect(&other);
    assert_eq!(open(), "0");
    assert!(!output("nft list ruleset").contains("nman"));
    tidy(&world, "host0");
    assert!(!output("ip addr show dev host0").contains("10.77.0.1/24"));
}

#[test]
fn what_the_rules_know_of_containers_on_record_elsewhere_is_not_lost() {
    let world = World::new();
    let other = world.with_another_state();
    let one = world.connect(&["8080:80"]);
    let theirs = other.connect(&[]);
    let before = rules_of_ipv4();
    assert!(orphan::lost(&other.state).unwrap().is_empty());
    orphan::forget_lost(&other.state).unwrap();
    assert_eq!(rules_of_ipv4(), before);
    // Its link went with its namespace, and nobody has undone the rest.
    let (address, plan) = (one.address(), one.plan);
    drop(one.netns);
    crate::world::until(|| orphan::lost(&other.state).unwrap().contains(&address));
    orphan::forget_lost(&other.state).unwrap();
    assert!(!rules_of_ipv4().contains(&address.to_string()));
    network::remove(&world.state, &plan, None).unwrap();
    theirs.disconnect(&other);
}

fn rules_of_ipv4() -> String {
    output("nft list table ip nman")
}

#[test]
fn a_container_whose_elements_are_gone_is_found() {
    let world = World::new();
    let container = world.connect(&["8080:80"]);
    let find = || survey::find(&world.state, &|_| Some("web".to_owned())).unwrap();
    assert_eq!(find(), []);
    for set in ["map ip nman published", "set ip nman isolated", "set ip nman masqueraded"] {
        run(&format!("nft flush {set}"));
        assert_eq!(find().len(), 1, "{set}");
        assert!(find()[0].what.contains("the packet filter lacks rules"), "{set}");
        network::reload(&world.state).unwrap();
        assert_eq!(find(), []);
    }
    container.disconnect(&world);
}

/// Each comes and goes as if it were alone: nobody else's bridge goes as a container comes to it, and no address is given twice.
#[test]
fn those_who_come_and_go_at_once_do_not_get_in_each_others_way() {
    let world = World::new();
    let others = [world.with_another_state(), world.with_another_state()];
    std::thread::scope(|scope| {
        for other in &others {
            scope.spawn(|| {
                for _ in 0..15 {
                    let container = other.connect(&[]);
                    let address = container.address().to_string();
                    let set = output("nft list set ip nman home");
                    assert_eq!(set.matches(&format!("{address} ")).count(), 1, "{set}");
                    let name = container.plan.container.short()[..12].to_owned();
                    let links = output("ip -o link show master nman0");
                    assert!(links.contains(&name), "{name} is no port of {links}");
                    container.disconnect(other);
                    tidy(other, "nman0");
                }
            });
        }
    });
    assert!(!output("nft list ruleset").contains("nman"));
    assert!(!output("ip link").contains("nman0"));
}
