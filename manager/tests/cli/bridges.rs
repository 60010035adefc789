//! Bridges that are not one state directory's alone: the host's own, and the one that every state directory has.

use super::world::{World, eventually};
use nconform::fixture::{Capture, HostNetwork, Output};

fn ip(args: &str) -> Output {
    Capture::of("ip").args(args.split(' ')).run().ok()
}

#[test]
fn another_root_takes_nothing_away_from_a_container_that_runs() {
    let world = World::new();
    let page = "echo here > /tmp/index.html; exec httpd -f -p 80 -h /tmp";
    let options = ["-d", "--name", "web", "--network", "bridge", "-p", "8080:80"];
    world.run(&options, &["sh", "-c", page]).ok();
    let table = || Capture::of("nft").args(["list", "table", "ip", "nman"]).run().ok().stdout();
    let is_served = || {
        let fetch = ["3", "/bin/busybox", "wget", "-qO-", "http://127.0.0.1:8080/"];
        Capture::of("timeout").args(fetch).run().stdout() == "here\n"
    };
    eventually("the page is served", is_served);
    let before = table();
    let (root, state) = (world.path("other-root"), world.path("other-state"));
    let other = ["--root", root.to_str().unwrap(), "--state", state.to_str().unwrap()];
    let other = |args: &[&str]| world.nman(other.iter().chain(args)).ok().stdout();
    other(&["network", "create", "x"]);
    for args in [&["network", "rm", "x"][..], &["network", "prune", "-f"]] {
        other(args);
        assert_eq!(table(), before, "after {args:?}");
    }
    assert_eq!(other(&["system", "check", "--repair"]), "No problems found\n");
    assert_eq!(table(), before);
    assert!(is_served());
    // Whoever's container has lost its port is told.
    Capture::of("nft").args(["flush", "map", "ip", "nman", "published"]).run().ok();
    let said = world.nman(["system", "check"]).exits(1).stdout();
    assert!(said.starts_with("damaged: the packet filter lacks rules for containers ("), "{said}");
    world.nman(["system", "check", "--repair"]).ok();
    assert!(is_served() && table() == before);
    world.nman(["rm", "-f", "web"]).ok();
    world.assert_no_container();
}

#[test]
fn a_container_on_a_bridge_of_the_hosts_has_no_address_of_the_hosts() {
    let world = World::new();
    ip("link add host0 type bridge");
    ip("address add 10.7.0.2/24 dev host0");
    ip("address add 10.7.0.200/24 dev host0");
    ip("link set host0 up");
    let bridge = ["-o", "com.docker.network.bridge.name=host0"];
    let subnet = ["--subnet", "10.7.0.0/24", "--gateway", "10.7.0.1"];
    let made = world.nman([&["network", "create"][..], &subnet, &bridge, &["lan"]].concat()).ok();
    assert_eq!(made.stderr(), "", "what the bridge leads to is not hidden by a network on it");
    for at in ["10.7.0.3", "10.7.0.4"] {
        world.run(&["-d", "--name", at, "--network", "lan"], &["sleep", "1000"]).ok();
        assert_eq!(world.inspect(at, "/NetworkSettings/Networks/lan/IPAddress"), at);
    }
    let refused = world.run(&["--rm", "--network", "lan", "--ip", "10.7.0.200"], &["true"]);
    let refused = refused.exits(125);
    assert!(refused.stderr().contains("address 10.7.0.200 is already in use"), "{refused}");
    world.nman(["rm", "-f", "10.7.0.3", "10.7.0.4"]).ok();
    let left = ip("-o -4 address show dev host0").stdout();
    assert!(!left.contains("10.7.0.1/"), "{left}");
    ip("link delete host0");
    world.assert_no_container();
}

#[test]
fn an_auxiliary_address_is_somebodys_alone() {
    let world = World::new();
    let create = ["network", "create", "--subnet", "10.5.0.0/24", "--aux-address", "r=10.5.0.1"];
    let refused = world.nman(create.iter().chain(&["web"])).exits(1);
    let why = "failed to allocate secondary ip address (r:10.5.0.1): Address already in use";
    assert!(refused.stderr().contains(why), "{refused}");
    world.nman(["network", "inspect", "web"]).exits(1);
}

#[test]
fn a_network_may_be_too_small_for_ipv6() {
    let world = World::new();
    let host = HostNetwork::connect(&world.sandbox);
    ip(&format!("link set {} mtu 1200", HostNetwork::UPLINK));
    world.nman(["network", "create", "-o", "mtu=1000", "small"]).ok();
    world.nman(["network", "create", "--ipv6", "both"]).ok();
    for (network, mtu) in [("bridge", "1200"), ("small", "1000"), ("both", "1280")] {
        let script = "ping -c 1 -w 5 $(ip route | awk '/^default/ { print $3 }') >/dev/null &&
            cat /sys/class/net/eth0/mtu";
        let said = world.shell(&["--network", network], script).ok().text();
        assert_eq!(said, mtu, "{network}");
    }
    let refused = ["network", "create", "--ipv6", "-o", "mtu=1000", "smaller"];
    world.nman(refused).exits(1).says("1000 is too little for IPv6, which takes 1280 at least");
    world.nman(["network", "rm", "small", "both"]).ok();
    drop(host);
    world.assert_no_container();
}

#[test]
fn what_keeps_one_bridge_from_being_made_again_keeps_no_other() {
    let world = World::new();
    let ids: Vec<String> = ["one0", "two0"]
        .into_iter()
        .map(|name| {
            let bridge = format!("com.docker.network.bridge.name={name}");
            world.nman(["network", "create", "-o", &bridge, name]).ok();
            world.run(&["-d", "--name", name, "--network", name], &["sleep", "1000"]).ok().stdout()
        })
        .collect();
    let reaches_gateway = |container: &str| {
        let script = "ping -c 1 -W 2 $(ip route | awk '/default/ {print $3}')";
        world.nman(["exec", container, "sh", "-c", script]).success()
    };
    // In both orders: one of them is that of the records.
    for (blocked, other, id) in [("one0", "two0", &ids[1]), ("two0", "one0", &ids[0])] {
        ip("link delete one0");
        ip("link delete two0");
        ip(&format!("link add {blocked} type veth peer name peer0"));
        let said = world.nman(["network", "reload"]).exits(1);
        said.says(&format!(
            "cannot create bridge `{blocked}`: an interface of that name is not a bridge"
        ));
        said.says(&format!("ip link set {blocked} name OTHER"));
        assert_eq!(said.stdout(), *id);
        assert!(reaches_gateway(other));
        ip("link delete peer0");
        world.nman(["network", "reload"]).ok();
        assert!(reaches_gateway(blocked));
    }
    world.nman(["rm", "-f", "one0", "two0"]).ok();
    world.nman(["network", "rm", "one0", "two0"]).ok();
    world.assert_no_container();
}
