//! Packets that must not arrive.

use nman::network::definition;

use crate::world::{
    Container, ELSEWHERE, HOST, OUTSIDE, World, converse, inside, output, reaches, run, serve, to,
};

/// Makes a namespace send 127.0.0.1 to a neighbour instead of to itself, as an attacker would.
fn send_loopback_to(neighbour: &str, device: &str) {
    std::fs::write(format!("/proc/sys/net/ipv4/conf/{device}/route_localnet"), "1").unwrap();
    run("ip addr del 127.0.0.1/8 dev lo");
    run(&format!("ip route add 127.0.0.0/8 via {neighbour} dev {device}"));
}

fn cannot_reach(container: &Container, address: std::net::SocketAddr) {
    assert!(!inside(&container.netns, || reaches(address)), "{address} was reached");
}

#[test]
fn networks_are_kept_apart() {
    let world = World::new();
    let web = world.define("web", "web0", "10.77.0.0/24");
    let (a, b) = (world.connect(&[]), world.try_connect(&web, &[]).unwrap());
    let (_serve_a, _serve_b) = (a.serve(80), b.serve(80));
    cannot_reach(&a, to(b.address(), 80));
    cannot_reach(&b, to(a.address(), 80));
}

#[test]
fn a_network_without_the_firewall_plugin_is_open() {
    let world = World::new();
    let mut open = world.define("web", "web0", "10.77.0.0/24");
    let definition::Driver::Bridge(bridge) = &mut open.driver else { panic!("{open:?}") };
    bridge.firewall = false;
    let (a, b) = (world.connect(&[]), world.try_connect(&open, &[]).unwrap());
    let server = b.serve(80);
    converse(Some(&a.netns), to(b.address(), 80), &server);
}

#[test]
fn who_routes_to_a_container_past_its_published_ports_is_dropped() {
    let world = World::new();
    let container = world.connect(&["8080:80"]);
    let (published, private) = (container.serve(80), container.serve(81));
    inside(&world.outside, || run(&format!("ip route add 10.90.0.0/16 via {HOST}")));
    assert!(!inside(&world.outside, || reaches(to(container.address(), 81))));
    converse(Some(&world.outside), to(HOST, 8080), &published);
    drop(private);
}

#[test]
fn a_packet_for_elsewhere_is_not_taken_for_a_published_port() {
    let world = World::new();
    let container = world.connect(&["8080:80"]);
    let server = container.serve(80);
    assert!(!inside(&world.outside, || reaches(to(ELSEWHERE, 8080))));
    assert!(server.accept().is_err());
    // A container's own traffic to a like-numbered port outside is not taken either.
    let outside = inside(&world.outside, || serve(8080));
    converse(Some(&container.netns), to(OUTSIDE, 8080), &outside);
    // Nor is the host's.
    converse(None, to(OUTSIDE, 8080), &outside);
}

#[test]
fn what_is_published_on_loopback_is_for_the_host_alone() {
    let world = World::new();
    let container = world.connect(&["127.0.0.1:8080:80", "8081:81"]);
    let (private, public) = (container.serve(80), container.serve(81));
    converse(None, to("127.0.0.1", 8080), &private);
    inside(&world.outside, || send_loopback_to(HOST, "out0"));
    for port in [8080, 8081] {
        assert!(!inside(&world.outside, || reaches(to("127.0.0.1", port))), "{port} was reached");
    }
    converse(Some(&world.outside), to(HOST, 8081), &public);
}

#[test]
fn a_container_cannot_reach_the_hosts_loopback() {
    let world = World::new();
    let container = world.connect(&["8080:80"]);
    let _secret = std::net::TcpListener::bind("127.0.0.1:6379").unwrap();
    inside(&container.netns, || send_loopback_to("10.90.0.1", "eth0"));
    cannot_reach(&container, to("127.0.0.1", 6379));
}

#[test]
fn a_container_cannot_pretend_to_be_the_hosts_loopback() {
    let world = World::new();
    let container = world.connect(&["8080:80"]);
    let secret = std::net::UdpSocket::bind("0.0.0.0:6379").unwrap();
    secret.set_nonblocking(true).unwrap();
    inside(&container.netns, || {
        std::fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").unwrap();
        let spoofed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        spoofed.send_to(b"x", to("10.90.0.1", 6379)).unwrap();
        // In order behind the spoofed one, by the same way.
        let honest = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        honest.send_to(b"y", to("10.90.0.1", 6379)).unwrap();
    });
    let mut from = None;
    crate::world::until(|| {
        from = secret.recv_from(&mut [0; 1]).ok().map(|(_, from)| from.ip());
        from.is_some()
    });
    assert_eq!(from, Some(container.address()));
}

#[test]
fn nobody_takes_router_advertisements() {
    let world = World::new();
    let container = world.connect(&[]);
    let accept_ra = |device: &str| {
        std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{device}/accept_ra"))
    };
    assert_eq!(accept_ra("nman0").unwrap().trim(), "0");
    // Without an address of that family it has nothing of it (CVE-2024-32473).
    assert_eq!(inside(&container.netns, || output("ip -6 addr show dev eth0")), "");
    assert_eq!(accept_ra("up0").unwrap().trim(), "1", "the host's other links are left alone");
}

#[test]
fn isolation_is_back_after_the_ruleset_was_flushed() {
    let world = World::new();
    let web = world.define("web", "web0", "10.77.0.0/24");
    let (a, b) = (world.connect(&["8080:80"]), world.try_connect(&web, &[]).unwrap());
    let (server, _other) = (a.serve(80), b.serve(80));
    run("nft flush ruleset");
    // The next container that connects, to whichever network, puts everybody's rules back.
    let c = world.try_connect(&web, &[]).unwrap();
    cannot_reach(&a, to(b.address(), 80));
    converse(Some(&world.outside), to(HOST, 8080), &server);
    run("nft flush ruleset");
    nman::network::restore_rules(&world.state).unwrap();
    cannot_reach(&a, to(c.address(), 80));
    converse(None, to("127.0.0.1", 8080), &server);
}

#[test]
fn a_damaged_table_is_whole_again_after_the_next_connection() {
    let world = World::new();
    let a = world.connect(&["8080:80"]);
    let server = a.serve(80);
    let before = output("nft list table ip nman");
    run("nft flush chain ip nman prerouting");
    run("nft flush chain ip nman forward");
    let b = world.connect(&[]);
    converse(Some(&world.outside), to(HOST, 8080), &server);
    b.disconnect(&world);
    assert_eq!(output("nft list table ip nman"), before);
}
