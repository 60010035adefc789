//! Bridges that are the host's own: they become again what they were.

use crate::world::{Container, World, output, run, until};
use nman::network::{self, Definition, NetworkPlan, netns, orphan};
use std::os::fd::AsFd as _;

fn sysctl(key: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/net/{key}")).unwrap().trim().to_owned()
}

/// All that can be seen of the host's bridge.
fn look(world: &World) -> Vec<String> {
    vec![
        without_links(&output("ip -o addr show dev host0")),
        local_routes(&output("ip -6 route show table local dev host0")),
        sysctl("ipv4/conf/host0/route_localnet"),
        sysctl("ipv6/conf/host0/accept_ra"),
        format!("{}", world.root.path().join("run/network/borrowed/host0").exists()),
    ]
}

/// The addresses, in whatever order, without the one that the kernel makes when the bridge has its first port.
fn without_links(text: &str) -> String {
    let words = text.lines().map(|line| line.split_whitespace().nth(3).unwrap_or_default());
    let mut words: Vec<&str> =
        words.filter(|word| !word.starts_with("fe80") || *word == "fe80::1/64").collect();
    words.sort_unstable();
    words.join(" ")
}

/// Those for the host's own loopback.
fn local_routes(text: &str) -> String {
    text.lines().filter(|line| line.starts_with("local ::1 ")).collect()
}

/// A bridge with an address, which is the host's, and a network on it.
fn on_a_bridge_of_the_hosts(world: &World) -> Definition {
    // On a host that does not forward, a link that listens to a router is told to go on with that, for good.
    std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    crate::ipv6::switch_bridge_filter("0");
    run("ip link add host0 type bridge");
    run("ip addr add 10.77.0.9/24 dev host0");
    run("ip link set host0 up");
    world.define_dual("web", "host0", "10.77.0.0/24", "fd77::/64")
}

fn tidy(bridge: &str, world: &World) {
    network::tidy(&world.state, &bridge.parse().unwrap()).unwrap();
}

fn end(container: &Container, world: &World) {
    let (plan, netns) = (&container.plan, container.netns.as_fd());
    network::remove_with_namespace(&world.state, plan, netns).unwrap();
}

#[test]
fn a_bridge_of_the_hosts_is_given_back_as_it_was() {
    let world = World::new();
    let web = on_a_bridge_of_the_hosts(&world);
    let before = look(&world);
    assert_eq!(before[0], "10.77.0.9/24");
    // Disconnected, or ended.
    let container = world.try_connect(&web, &["8080:80"]).unwrap();
    assert_eq!(sysctl("ipv4/conf/host0/route_localnet"), "1");
    let changed = look(&world);
    assert!(changed[0].contains("10.77.0.1/24") && changed[1].contains("::1"), "{changed:?}");
    // Who is on it may be the host's router.
    assert_eq!(changed[3], before[3]);
    container.disconnect(&world);
    assert_eq!(look(&world), before);
    let (first, second) =
        (world.try_connect(&web, &[]).unwrap(), world.try_connect(&web, &[]).unwrap());
    end(&first, &world);
    assert_ne!(look(&world), before);
    end(&second, &world);
    assert_eq!(look(&world), before);
    tidy("host0", &world);
    assert_eq!(look(&world), before);
    assert!(!output("nft list ruleset").contains("table ip nman"));
}

#[test]
fn a_crash_after_any_step_leaves_a_bridge_that_is_given_back() {
    let world = World::new();
    let web = on_a_bridge_of_the_hosts(&world);
    let before = look(&world);
    let count = world.plan(&web, &[]).steps.len();
    for taken in 0..=count {
        let mut plan = world.plan(&web, &[]);
        let whole = plan.clone();
        plan.steps.truncate(taken);
        let netns = netns::create().unwrap();
        network::apply(&world.state, &plan, netns.as_fd()).unwrap();
        network::remove(&world.state, &whole, None).unwrap();
        assert_eq!(look(&world), before, "after {taken} steps of\n{whole}");
    }
}

/// A container whose record and whose elements of the rules went, and nothing was given back.
fn abandon(definition: &Definition, world: &World) {
    let container = world.try_connect(definition, &[]).unwrap();
    let NetworkPlan { container: id, network, .. } = &container.plan;
    let records = world.root.path().join("run/network/connected");
    std::fs::remove_file(records.join(format!("{id}@{network}.json"))).unwrap();
    drop(container);
    until(|| !output("ip link").contains("master host0"));
    orphan::forget_lost(&world.state).unwrap();
    assert_eq!(sysctl("ipv4/conf/host0/route_localnet"), "1");
}

#[test]
fn no_bridge_routes_loopback_without_its_guard() {
    let world = World::new();
    let web = on_a_bridge_of_the_hosts(&world);
    let open = || sysctl("ipv4/conf/host0/route_localnet");
    // The tables go with the last container of all networks.
    let container = world.try_connect(&web, &[]).unwrap();
    assert_eq!(open(), "1");
    end(&container, &world);
    drop(container);
    assert_eq!(open(), "0");
    assert!(!output("nft list ruleset").contains("table ip nman"));
    // They are made anew for those that are connected.
    let other = world.connect(&[]);
    abandon(&web, &world);
    network::restore_rules(&world.state).unwrap();
    assert_eq!(open(), "0");
    abandon(&web, &world);
    run("nft flush ruleset");
    world.connect(&[]).disconnect(&world);
    assert_eq!(open(), "0");
    assert_eq!(sysctl("ipv4/conf/nman0/route_localnet"), "1");
    // A bridge of ours that stays for somebody else's interface.
    run("ip link add mine0 type veth peer name mine1");
    run("ip link set mine0 master nman0");
    other.disconnect(&world);
    assert_eq!(sysctl("ipv4/conf/nman0/route_localnet"), "0");
}

#[test]
fn the_rules_forget_a_bridge_while_others_are_in_use() {
    let world = World::new();
    let other = world.connect(&[]);
    let alone = output("nft list table ip nman");
    let mut web = on_a_bridge_of_the_hosts(&world);
    web.about.internal = true;
    let container = world.try_connect(&web, &[]).unwrap();
    assert!(output("nft list set ip nman internal").contains("host0"));
    assert!(output("nft list set ip6 nman internal").contains("host0"));
    end(&container, &world);
    assert_eq!(output("nft list table ip nman"), alone);
    assert!(!output("nft list ruleset").contains("host0"));
    other.disconnect(&world);
}
