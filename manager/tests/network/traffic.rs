//! Packets that must arrive, and from whom they seem to come.

use crate::world::{
    HOST, OUTSIDE, World, bind_udp, converse, converse_udp, inside, reserve, run, serve, to,
};
use nman::network::{self, Appearance, NetworkPlan, port};
use std::collections::BTreeSet;
use std::net::IpAddr;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_container_reaches_the_outside_under_the_hosts_address() {
    let world = World::new();
    let container = world.connect(&[]);
    let (tcp, udp) = inside(&world.outside, || (serve(80), bind_udp(53)));
    assert_eq!(converse(Some(&container.netns), to(OUTSIDE, 80), &tcp), ip(HOST));
    assert_eq!(converse_udp(Some(&container.netns), to(OUTSIDE, 53), &udp), ip(HOST));
}

#[test]
fn a_container_reaches_its_own_loopback_and_the_host() {
    let world = World::new();
    let container = world.connect(&[]);
    let own = container.serve(80);
    assert_eq!(converse(Some(&container.netns), to("127.0.0.1", 80), &own), ip("127.0.0.1"));
    let host = serve(81);
    assert_eq!(converse(Some(&container.netns), to("10.90.0.1", 81), &host), container.address());
}

#[test]
fn the_outside_reaches_a_published_port_and_keeps_its_address() {
    let world = World::new();
    let container = world.connect(&["8080:80", "5353:53/udp"]);
    let (tcp, udp) = (container.serve(80), container.bind_udp(53));
    assert_eq!(converse(Some(&world.outside), to(HOST, 8080), &tcp), ip(OUTSIDE));
    assert_eq!(converse_udp(Some(&world.outside), to(HOST, 5353), &udp), ip(OUTSIDE));
}

#[test]
fn the_host_reaches_a_published_port_by_every_address_of_its_own() {
    let world = World::new();
    let container = world.connect(&["8080:80", "5353:53/udp"]);
    let (tcp, udp) = (container.serve(80), container.bind_udp(53));
    for address in ["127.0.0.1", "127.0.0.2", HOST, "10.90.0.1"] {
        converse(None, to(address, 8080), &tcp);
        converse_udp(None, to(address, 5353), &udp);
    }
    // Directly, too.
    assert_eq!(converse(None, to(container.address(), 80), &tcp), ip("10.90.0.1"));
}

#[test]
fn the_ports_sockets_can_be_held_while_the_port_is_published() {
    let world = World::new();
    let held = reserve("8080:80").unwrap();
    let container = world.connect(&["8080:80"]);
    let tcp = container.serve(80);
    converse(None, to("127.0.0.1", 8080), &tcp);
    converse(Some(&world.outside), to(HOST, 8080), &tcp);
    assert!(reserve("8080:80").is_err());
    drop(held);
}

#[test]
fn a_second_container_gets_the_next_port_of_the_range() {
    let world = World::new();
    let ports = port::parse("8000-8001:80").unwrap();
    let everywhere = [ip("0.0.0.0")];
    let mut got = Vec::new();
    for _ in 0..2 {
        // The sockets are let go at once: the record alone must keep the port.
        let chosen =
            port::reserve(&ports, &everywhere, &world.state.published().unwrap()).unwrap().ports[0]
                .host_port;
        world.connect(&[&format!("{chosen}:80")]);
        got.push(chosen);
    }
    assert_eq!(got, [8000, 8001]);
    assert!(port::reserve(&ports, &everywhere, &world.state.published().unwrap()).is_err());
}

#[test]
fn a_port_published_on_one_address_is_there_only() {
    let world = World::new();
    run("ip addr add 192.0.2.7/24 dev up0");
    let container = world.connect(&["192.0.2.7:8080:80"]);
    let tcp = container.serve(80);
    converse(Some(&world.outside), to("192.0.2.7", 8080), &tcp);
    let elsewhere = inside(&world.outside, || crate::world::reaches(to(HOST, 8080)));
    assert!(!elsewhere);
}

#[test]
fn containers_of_one_network_reach_each_other_directly() {
    let world = World::new();
    let (a, b) = (world.connect(&[]), world.connect(&[]));
    assert_ne!(a.address(), b.address());
    let tcp = b.serve(80);
    assert_eq!(converse(Some(&a.netns), to(b.address(), 80), &tcp), a.address());
}

#[test]
fn a_container_reaches_ports_that_it_and_its_neighbours_publish() {
    let world = World::new();
    let (a, b) = (world.connect(&["8080:80", "5353:53/udp"]), world.connect(&[]));
    let (tcp, udp) = (a.serve(80), a.bind_udp(53));
    for client in [&a, &b] {
        for address in [HOST, "10.90.0.1"] {
            converse(Some(&client.netns), to(address, 8080), &tcp);
            converse_udp(Some(&client.netns), to(address, 5353), &udp);
        }
    }
}

#[test]
fn a_container_of_another_network_reaches_published_ports_only() {
    let world = World::new();
    let web = world.define("web", "web0", "10.77.0.0/24");
    let (a, b) = (world.connect(&["8080:80"]), world.try_connect(&web, &[]).unwrap());
    let tcp = a.serve(80);
    converse(Some(&b.netns), to(HOST, 8080), &tcp);
}

#[test]
fn eight_containers_connect_and_disconnect_at_once() {
    let world = World::new();
    let before = world.snapshot();
    let definition = world.network("nman");
    std::thread::scope(|scope| {
        for index in 0..8 {
            let (world, definition) = (&world, &definition);
            scope.spawn(move || {
                for _ in 0..4 {
                    let container =
                        world.try_connect(definition, &[&format!("{}:80", 8000 + index)]).unwrap();
                    let tcp = container.serve(80);
                    converse(None, to("127.0.0.1", 8000 + index), &tcp);
                    container.disconnect(world);
                }
            });
        }
    });
    let after = world.snapshot();
    assert_eq!(
        crate::cleanup::without_forwarding(&after),
        crate::cleanup::without_forwarding(&before)
    );
}

#[test]
fn a_whole_range_of_ports_is_one_batch() {
    let world = World::new();
    let definition = world.network("nman");
    let plan = world.plan(&definition, &[]);
    let lease = nman::network::ipam::reserve(
        &world.state,
        &definition,
        &plan.container,
        &[],
        &BTreeSet::new(),
    )
    .unwrap();
    let ports: Vec<_> =
        (10000..14000).map(|port| format!("{port}:{port}").parse().unwrap()).collect();
    let plan: NetworkPlan = network::plan(
        &definition,
        &lease,
        &Appearance::default(),
        &ports,
        &network::HostFacts::probe().unwrap(),
    )
    .unwrap();
    let netns = network::netns::create().unwrap();
    network::apply(&world.state, &plan, std::os::fd::AsFd::as_fd(&netns)).unwrap();
    let tcp = inside(&netns, || serve(13999));
    converse(Some(&world.outside), to(HOST, 13999), &tcp);
    // With a second container connected the table stays, and every element is taken out of it.
    let other = world.connect(&[]);
    network::remove(&world.state, &plan, None).unwrap();
    assert!(!crate::world::output("nft list map ip nman published").contains("elements"));
    other.disconnect(&world);
}

#[test]
fn a_client_that_never_pauses_follows_a_port_to_its_new_container() {
    let world = World::new();
    // Connection tracking begins with the first container.
    let _first = world.connect(&[]);
    let client = inside(&world.outside, || bind_udp(0));
    let send = || {
        // An earlier datagram's "port unreachable" is reported by the next send.
        while client.send_to(b"ping", to(HOST, 5353)).is_err() {}
    };
    send();
    for _ in 0..2 {
        let container = world.connect(&["5353:53/udp"]);
        let server = container.bind_udp(53);
        send();
        assert_eq!(server.recv_from(&mut [0; 4]).unwrap().1.ip(), ip(OUTSIDE));
        container.disconnect(&world);
        send();
    }
}
