//! The same promises over IPv6.

use crate::world::{
    Container, HOST6, OUTSIDE6, World, converse, inside, output, reaches, run, serve6, to,
};
use nman::id::ContainerId;
use nman::network::{self, Appearance, HostFacts, ipam, netns};
use std::collections::BTreeSet;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::Duration;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A container on a network with both families.
fn connect(world: &World, name: &str, number: u8, ports: &[&str]) -> Container {
    let (v4, v6) = (format!("10.78.{number}.0/24"), format!("fd00:{number}::/64"));
    let definition = world.define_dual(name, &format!("{name}0"), &v4, &v6);
    world.try_connect(&definition, ports).unwrap()
}

fn serve(container: &Container, port: u16) -> TcpListener {
    inside(&container.netns, || serve6(port))
}

/// With `br_netfilter` the bridge itself would undo translations. Each namespace has a switch of its own.
pub(crate) fn switch_bridge_filter(value: &str) {
    let path = "/proc/sys/net/bridge/bridge-nf-call-ip6tables";
    if std::fs::exists(path).unwrap() {
        std::fs::write(path, value).unwrap();
    }
}

#[test]
fn a_container_reaches_the_outside_under_the_hosts_address() {
    let world = World::new();
    let container = connect(&world, "web", 1, &[]);
    assert_eq!(container.address6(), ip("fd00:1::2"));
    let outside = inside(&world.outside, || serve6(80));
    assert_eq!(converse(Some(&container.netns), to(OUTSIDE6, 80), &outside), ip(HOST6));
    container.disconnect(&world);
}

#[test]
fn a_published_port_is_reached_from_everywhere_and_the_client_keeps_its_address() {
    let world = World::new();
    let container = connect(&world, "web", 1, &["[::]:8080:80", "[2001:db8::1]:8081:81"]);
    let neighbour = connect(&world, "web", 1, &[]);
    let (any, one) = (serve(&container, 80), serve(&container, 81));
    assert_eq!(converse(Some(&world.outside), to(HOST6, 8080), &any), ip(OUTSIDE6));
    assert_eq!(converse(Some(&world.outside), to(HOST6, 8081), &one), ip(OUTSIDE6));
    converse(None, to(HOST6, 8080), &any);
    converse(None, to("fd00:1::1", 8080), &any);
    for client in [&container, &neighbour] {
        converse(Some(&client.netns), to(HOST6, 8080), &any);
    }
    assert_eq!(
        converse(Some(&neighbour.netns), to(container.address6(), 80), &any),
        neighbour.address6()
    );
}

#[test]
fn the_table_is_exactly_this() {
    let world = World::new();
    switch_bridge_filter("0");
    let _container = connect(&world, "web", 1, &["[::]:8080:80", "[2001:db8::1]:8081:81"]);
    assert_eq!(output("nft list table ip6 nman"), include_str!("table6.nft"));
}

#[test]
fn a_new_bridge_resolves_neighbours_from_the_first_packet_on() {
    let world = World::new();
    let container = connect(&world, "web", 1, &["[::]:5353:53/udp"]);
    let server = inside(&container.netns, || UdpSocket::bind("[::]:53").unwrap());
    let client = inside(&world.outside, || UdpSocket::bind("[::]:0").unwrap());
    // Until then the kernel, which takes its time for that on a machine that is busy, drops whatever is sent.
    let up = |link: &str| output(&format!("ip -o link show {link}")).contains("state UP");
    crate::world::until(|| inside(&container.netns, || up("eth0")) && up("web0"));
    // The kernel's link-local address may come after a second, and is tried for one more.
    let half = Duration::from_millis(500);
    server.set_read_timeout(Some(half)).unwrap();
    client.send_to(b"ping", to(HOST6, 5353)).unwrap();
    assert_eq!(server.recv_from(&mut [0; 4]).expect("the first packet").1.ip(), ip(OUTSIDE6));
}

#[test]
fn the_host_reaches_a_published_port_by_its_own_loopback_address() {
    let world = World::new();
    switch_bridge_filter("0");
    let container =
        connect(&world, "web", 1, &["[::]:8080:80", "[::1]:8081:81", "[::]:5353:53/udp"]);
    let (any, own) = (serve(&container, 80), serve(&container, 81));
    converse(None, to("::1", 8080), &any);
    converse(None, to("::1", 8081), &own);
    assert!(!inside(&world.outside, || reaches(to(HOST6, 8081))));
    let server = inside(&container.netns, || UdpSocket::bind("[::]:53").unwrap());
    let client = UdpSocket::bind("[::1]:0").unwrap();
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    }
    client.connect(to("::1", 5353)).unwrap();
    client.send(b"ping").unwrap();
    let (_, peer) = server.recv_from(&mut [0; 4]).unwrap();
    server.send_to(b"pong", peer).unwrap();
    client.recv(&mut [0; 4]).unwrap();
    // A bridge that somebody deleted takes that along.
    run("ip link delete web0");
    nman::network::reload(&world.state).unwrap();
    converse(None, to("::1", 8080), &any);
    container.disconnect(&world);
    assert!(!output("ip -6 route show table local").contains("web0"));
}

#[test]
fn the_hosts_loopback_address_stays_its_own_where_the_bridge_filters() {
    let world = World::new();
    let definition = world.define_dual("web", "web0", "10.78.1.0/24", "fd00:1::/64");
    let id = ContainerId::random();
    let lease = ipam::reserve(&world.state, &definition, &id, &[], &BTreeSet::new()).unwrap();
    let host = HostFacts { bridge_filters_ipv6: true, ..HostFacts::probe().unwrap() };
    let ports = ["[::]:8080:80".parse().unwrap()];
    let plan = network::plan(&definition, &lease, &Appearance::default(), &ports, &host).unwrap();
    let netns = netns::create().unwrap();
    network::apply(&world.state, &plan, netns.as_fd()).unwrap();
    let container = Container { netns, plan };
    let server = serve(&container, 80);
    converse(None, to(HOST6, 8080), &server);
    // Refused at once: who tries it first goes on to 127.0.0.1.
    let refused = std::net::TcpStream::connect(to("::1", 8080)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let own = TcpListener::bind("[::1]:8080").unwrap();
    own.set_nonblocking(true).unwrap();
    converse(None, to("::1", 8080), &own);
}

#[test]
fn a_container_cannot_reach_the_hosts_loopback_address() {
    let world = World::new();
    switch_bridge_filter("0");
    let container = connect(&world, "web", 1, &["[::]:8080:80"]);
    assert!(output("ip -6 route show table local").contains("local ::1 dev web0"));
    let secret = UdpSocket::bind("[::]:6379").unwrap();
    secret.set_nonblocking(true).unwrap();
    inside(&container.netns, || {
        run("ip -6 addr del ::1/128 dev lo");
        run("ip -6 route add ::1/128 via fd00:1::1 dev eth0");
        let honest = UdpSocket::bind("[::]:0").unwrap();
        honest.send_to(b"x", to("::1", 6379)).unwrap();
        // In order behind the other, by the same way.
        honest.send_to(b"y", to("fd00:1::1", 6379)).unwrap();
    });
    let (mut byte, mut from) = ([0; 1], None);
    crate::world::until(|| {
        from = secret.recv_from(&mut byte).ok().map(|(_, from)| from.ip());
        from.is_some()
    });
    assert_eq!((byte, from), (*b"y", Some(container.address6())));
    // It did come in, and was dropped for its header.
    let seen = std::fs::read_to_string("/proc/thread-self/net/snmp6").unwrap();
    let dropped = seen.lines().find_map(|line| line.strip_prefix("Ip6InHdrErrors"));
    assert_eq!(dropped.unwrap().trim(), "1");
}

#[test]
fn networks_are_kept_apart_also_after_a_flush() {
    let world = World::new();
    let (a, b) = (connect(&world, "a", 1, &[]), connect(&world, "b", 2, &[]));
    let (_on_a, _on_b) = (serve(&a, 80), serve(&b, 80));
    let apart = || {
        assert!(!inside(&a.netns, || reaches(to(b.address6(), 80))));
        assert!(!inside(&b.netns, || reaches(to(a.address6(), 80))));
        inside(&world.outside, || run(&format!("ip -6 route replace fd00:1::/64 via {HOST6}")));
        assert!(!inside(&world.outside, || reaches(to(a.address6(), 80))));
    };
    apart();
    run("nft flush ruleset");
    nman::network::restore_rules(&world.state).unwrap();
    apart();
}

#[test]
fn a_packet_for_elsewhere_is_not_taken_for_a_published_port() {
    let world = World::new();
    let container = connect(&world, "web", 1, &["[::]:8080:80"]);
    let server = serve(&container, 80);
    inside(&world.outside, || run(&format!("ip -6 route add 2001:db8:9::/64 via {HOST6}")));
    assert!(!inside(&world.outside, || reaches(to("2001:db8:9::9", 8080))));
    assert!(server.accept().is_err());
    let outside = inside(&world.outside, || serve6(8080));
    converse(Some(&container.netns), to(OUTSIDE6, 8080), &outside);
}

#[test]
fn an_internal_network_has_no_way_out_in_either_family() {
    let world = World::new();
    let mut definition = world.define_dual("vault", "vault0", "10.78.9.0/24", "fd00:9::/64");
    definition.about.internal = true;
    let container = world.try_connect(&definition, &[]).unwrap();
    let neighbour = world.try_connect(&definition, &[]).unwrap();
    let (four, six) = inside(&world.outside, || (crate::world::serve(80), serve6(81)));
    inside(&container.netns, || {
        // As its own root could.
        run("ip route add default via 10.78.9.1");
        run("ip -6 route add default via fd00:9::1");
        assert!(!reaches(to(crate::world::OUTSIDE, 80)));
        assert!(!reaches(to(OUTSIDE6, 81)));
    });
    assert!(four.accept().is_err() && six.accept().is_err());
    let server = serve(&neighbour, 80);
    converse(Some(&container.netns), to(neighbour.address6(), 80), &server);
    // Nor by a port that a neighbour network publishes.
    let web = world.connect(&["8080:80"]);
    let _published = web.serve(80);
    assert!(!inside(&container.netns, || reaches(to(crate::world::HOST, 8080))));
}

#[test]
fn a_host_that_begins_to_forward_still_listens_to_its_router() {
    let world = World::new();
    let accept_ra = || {
        std::fs::read_to_string("/proc/sys/net/ipv6/conf/up0/accept_ra").unwrap().trim().to_owned()
    };
    assert_eq!(accept_ra(), "1");
    let container = connect(&world, "web", 1, &[]);
    assert_eq!(accept_ra(), "2");
    let own = std::fs::read_to_string("/proc/sys/net/ipv6/conf/web0/accept_ra").unwrap();
    assert_eq!(own, "0\n");
    container.disconnect(&world);
}

#[test]
fn the_last_container_of_the_family_takes_its_table_along() {
    let world = World::new();
    let _other = world.connect(&[]);
    let before = output("nft list ruleset");
    let container = connect(&world, "web", 1, &["[::]:8080:80"]);
    container.disconnect(&world);
    assert_eq!(output("nft list ruleset"), before);
    assert!(!output("ip link").contains("web0"));
}

#[test]
fn containers_that_are_isolated_from_each_other_reach_the_outside_only() {
    let world = World::new();
    let mut definition = world.define("web", "web0", "10.77.0.0/24");
    let nman::network::definition::Driver::Bridge(bridge) = &mut definition.driver else {
        panic!("{definition:?}")
    };
    bridge.port_isolation = true;
    let (a, b) = (
        world.try_connect(&definition, &[]).unwrap(),
        world.try_connect(&definition, &[]).unwrap(),
    );
    let _server = b.serve(80);
    assert!(!inside(&a.netns, || reaches(to(b.address(), 80))));
    let outside = inside(&world.outside, || crate::world::serve(80));
    converse(Some(&a.netns), to(crate::world::OUTSIDE, 80), &outside);
}

/// A router advertisement that offers a prefix, from whoever is in the namespace, to everybody on the link.
fn advertise(netns: &std::os::fd::OwnedFd) {
    use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket, sockopt};
    use std::net::{Ipv6Addr, SocketAddrV6};
    inside(netns, || {
        let index = output("ip -o link show eth0").split(':').next().unwrap().parse().unwrap();
        let socket = socket(AddressFamily::INET6, SocketType::RAW, Some(ipproto::ICMPV6)).unwrap();
        sockopt::set_ipv6_multicast_hops(&socket, 255).unwrap();
        let mut message = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        message.extend([3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 0, 0]);
        message.extend("2001:db8:bad::".parse::<Ipv6Addr>().unwrap().octets());
        let everybody = SocketAddrV6::new("ff02::1".parse().unwrap(), 0, 0, index);
        sendto(&socket, &message, SendFlags::empty(), &everybody).unwrap();
    });
}

#[test]
fn a_container_cannot_make_itself_the_router_of_its_neighbours_or_of_the_host() {
    let world = World::new();
    let (attacker, victim) = (connect(&world, "web", 1, &[]), connect(&world, "web", 1, &[]));
    // One that listens, to know when the advertisement has arrived.
    let gullible = connect(&world, "web", 1, &[]);
    inside(&gullible.netns, || {
        std::fs::write("/proc/sys/net/ipv6/conf/eth0/accept_ra", "2").unwrap();
    });
    let ready = || {
        let address = inside(&attacker.netns, || output("ip -6 addr show dev eth0 scope link"));
        address.contains("fe80") && !address.contains("tentative")
    };
    crate::world::until(ready);
    let fooled = |netns| inside(netns, || output("ip -6 addr")).contains("2001:db8:bad:");
    crate::world::until(|| {
        advertise(&attacker.netns);
        fooled(&gullible.netns)
    });
    assert!(!fooled(&victim.netns));
    assert!(!inside(&victim.netns, || output("ip -6 route")).contains("via fe80"));
    assert!(!output("ip -6 addr").contains("2001:db8:bad:"));
    assert!(!output("ip -6 route").contains("2001:db8:bad:"));
}
