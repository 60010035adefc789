use super::*;
use crate::network::definition;
use std::collections::BTreeSet;

fn container() -> ContainerId {
    ContainerId::parse(&"3fa2c0de".repeat(8)).unwrap()
}

fn lease(definition: &Definition) -> Lease {
    let range = definition.ranges()[0];
    let addresses = vec![range.lease("10.90.0.2".parse().unwrap())];
    Lease { network: definition.name.clone(), container: container(), addresses }
}

pub(super) fn network() -> Definition {
    definition::built_in("10.90.0.0/16".parse().unwrap())
}

pub(super) fn ports(texts: &[&str]) -> Vec<PortMapping> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// The default network with its bridge changed.
fn with_bridge(change: impl FnOnce(&mut Bridge)) -> Definition {
    let mut network = network();
    if let Driver::Bridge(bridge) = &mut network.driver {
        change(bridge);
    }
    network
}

fn plan_ports(network: &Definition, texts: &[&str]) -> Result<NetworkPlan> {
    plan(network, &lease(network), &Appearance::default(), &ports(texts), &fresh_host())
}

/// A connection to a network of that name.
pub(super) fn connected(name: &str) -> NetworkPlan {
    let network = Definition { name: name.parse().unwrap(), ..network() };
    plan(&network, &lease(&network), &Appearance::default(), &[], &fresh_host()).unwrap()
}

fn fresh_host() -> HostFacts {
    HostFacts { ipv6: true, ..HostFacts::default() }
}

#[test]
fn the_default_network_on_a_fresh_host() {
    let network = network();
    let ports = ports(&["8080:80", "127.0.0.1:5353:53/udp"]);
    let plan =
        plan(&network, &lease(&network), &Appearance::default(), &ports, &fresh_host()).unwrap();
    let expected = "\
host: sysctl net/ipv4/ip_forward = 1
host: bridge nman0 02:BRIDGE mtu 1500
host: sysctl net/ipv6/conf/nman0/accept_ra = 0
host: address 10.90.0.1/16 on nman0
host: set nman0 up
host: firewall for 10.90.0.2 on nman0, masqueraded, isolated, tcp 0.0.0.0:8080 to 10.90.0.2:80, \
udp 127.0.0.1:5353 to 10.90.0.2:53
host: sysctl net/ipv4/conf/nman0/route_localnet = 1
host: veth nm3fa2c0de3fa2 02:VETH on nman0 hairpin, eth0 02:6e:0a:5a:00:02 in container, mtu 1500
container: set lo up
container: sysctl net/ipv6/conf/eth0/disable_ipv6 = 1
container: address 10.90.0.2/16 on eth0
container: set eth0 up
container: route 0.0.0.0/0 via 10.90.0.1 on eth0
";
    let veth = MacAddress::derived(&format!("{}#0", container())).to_string();
    let expected = expected
        .replace("02:BRIDGE", &bridge_mac(&"nman0".parse().unwrap()).to_string())
        .replace("02:VETH", &veth);
    assert_eq!(plan.to_string(), expected);
}

#[test]
fn a_host_that_forwards_and_has_no_ipv6_is_left_as_it_is() {
    let network = network();
    let host = HostFacts { forwarding: true, uplink_mtu: Some(1400), ..HostFacts::default() };
    let text =
        plan(&network, &lease(&network), &Appearance::default(), &[], &host).unwrap().to_string();
    assert!(!text.contains("ip_forward") && !text.contains("ipv6"), "{text}");
    assert_eq!(text.matches("mtu 1400").count(), 2, "{text}");
}

#[test]
fn a_link_that_is_too_small_for_ipv6_has_none_of_its_switches() {
    let host = HostFacts { uplink_mtu: Some(1200), ..fresh_host() };
    let text = |network: &Definition, lease: &Lease| {
        plan(network, lease, &Appearance::default(), &[], &host).unwrap().to_string()
    };
    let network = network();
    let plain = text(&network, &lease(&network));
    assert!(plain.matches("mtu 1200").count() == 2 && !plain.contains("ipv6"), "{plain}");
    // One that has IPv6 is as small as it can be.
    let network = definition::built_in("fd00:9::/64".parse().unwrap());
    let addresses = vec![network.ranges()[0].lease("fd00:9::2".parse().unwrap())];
    let lease = Lease { network: network.name.clone(), container: container(), addresses };
    assert_eq!(text(&network, &lease).matches("mtu 1280").count(), 2);
}

#[test]
fn a_network_without_a_gateway_touches_only_links() {
    let network = with_bridge(|bridge| {
        (bridge.is_gateway, bridge.masquerade) = (false, false);
        bridge.routes.clear();
    });
    let text = plan(&network, &lease(&network), &Appearance::default(), &[], &fresh_host())
        .unwrap()
        .to_string();
    for absent in ["ip_forward", "route_localnet", "10.90.0.1", "route ", "masqueraded"] {
        assert!(!text.contains(absent), "{absent}: {text}");
    }
}

#[test]
fn the_firewall_is_up_before_the_container_has_a_link() {
    let network = network();
    let plan =
        plan(&network, &lease(&network), &Appearance::default(), &[], &fresh_host()).unwrap();
    let place = |wanted: fn(&Step) -> bool| plan.steps.iter().position(wanted).unwrap();
    let firewall = place(|step| matches!(step, Step::Firewall(_)));
    assert!(firewall < place(|step| matches!(step, Step::Veth { .. })));
}

#[test]
fn loopback_is_routed_behind_its_guard_and_only_where_there_is_one() {
    let network = network();
    let of = |lease: &Lease| {
        let host = fresh_host();
        plan(&network, lease, &Appearance::default(), &[], &host).unwrap().steps
    };
    let is_route =
        |step: &Step| matches!(step, Step::Sysctl { key, .. } if key.ends_with("/route_localnet"));
    let steps = of(&lease(&network));
    let guarded = steps.iter().position(|step| matches!(step, Step::Firewall(_))).unwrap();
    assert!(steps.iter().position(is_route).unwrap() > guarded);
    // The guard is of IPv4's table, which knows no bridge without such an address.
    let v6 = definition::built_in("fd00:9::/64".parse().unwrap()).ranges()[0];
    let addresses = vec![v6.lease("fd00:9::2".parse().unwrap())];
    assert!(!of(&Lease { addresses, ..lease(&network) }).iter().any(is_route));
}

#[test]
fn a_bridge_that_was_there_before_goes_on_listening_to_its_router() {
    let network = network();
    let host = HostFacts { lent: Some(BTreeSet::new()), ..fresh_host() };
    let plan = plan(&network, &lease(&network), &Appearance::default(), &[], &host).unwrap();
    assert!(!plan.to_string().contains("nman0/accept_ra"), "{plan}");
}

#[test]
fn no_interface_is_up_before_it_refuses_router_advertisements() {
    let network = network();
    let plan =
        plan(&network, &lease(&network), &Appearance::default(), &[], &fresh_host()).unwrap();
    for (where_, name, switch) in
        [(Place::Host, "nman0", "accept_ra"), (Place::Container, "eth0", "disable_ipv6")]
    {
        let refused = plan.steps.iter().position(|step| {
            matches!(step, Step::Sysctl { place, key, .. } if *place == where_ && key.ends_with(&format!("{name}/{switch}")))
        });
        let up = plan.steps.iter().position(|step| {
            matches!(step, Step::Up { place, interface } if *place == where_ && interface.as_str() == name)
        });
        assert!(refused.unwrap() < up.unwrap(), "{name}");
    }
}

#[test]
fn host_steps_come_before_the_containers() {
    let network = network();
    let plan =
        plan(&network, &lease(&network), &Appearance::default(), &[], &fresh_host()).unwrap();
    assert_eq!(plan.steps.chunk_by(|a, b| a.place() == b.place()).count(), 2);
}

#[test]
fn a_port_published_twice_is_allocated() {
    let network = network();
    for (first, second) in
        [("80:1", "80:2"), ("80:1", "127.0.0.1:80:2"), ("127.0.0.1:80:2", "80:1")]
    {
        let error = plan_ports(&network, &[first, second]).unwrap_err();
        assert!(error.to_string().contains("port is already allocated"), "{error}");
    }
    let different = ports(&["80:1", "80:1/udp", "127.0.0.1:81:1", "127.0.0.2:81:1"]);
    assert!(
        plan(&network, &lease(&network), &Appearance::default(), &different, &fresh_host()).is_ok()
    );
}

#[test]
fn what_the_definition_does_not_allow_is_refused() {
    let base = network();
    for (network, port, reason) in [
        (with_bridge(|bridge| bridge.portmap = false), "80:80", "no `portmap`"),
        (with_bridge(|bridge| bridge.is_gateway = false), "80:80", "no gateway"),
        (base.clone(), "[::1]:80:80", "no IPv6 subnet"),
        (
            Definition { name: "web".parse().unwrap(), ..base.clone() },
            "80:80",
            "lease is of network `nman`",
        ),
    ] {
        let error =
            plan(&network, &lease(&base), &Appearance::default(), &ports(&[port]), &fresh_host())
                .unwrap_err()
                .to_string();
        assert!(error.contains(reason), "{error}");
        assert!(error.starts_with("cannot connect container `3fa2c0de3fa2` to network"), "{error}");
    }
}

#[test]
fn loopback_is_not_published_where_the_bridge_filters() {
    let network = crate::network::definition::built_in("fd00:1::/64".parse().unwrap());
    let lease = Lease {
        container: container(),
        network: network.name.clone(),
        addresses: vec![network.ranges()[0].lease("fd00:1::2".parse().unwrap())],
    };
    let plan_on = |host: &HostFacts, port: &str| {
        plan(&network, &lease, &Appearance::default(), &ports(&[port]), host)
    };
    let text = plan_on(&fresh_host(), "[::]:80:80").unwrap().to_string();
    assert!(
        text.contains("tcp [::]:80 to [fd00:1::2]:80, tcp [::1]:80 to [fd00:1::2]:80"),
        "{text}"
    );
    assert!(text.contains("host: local route ::1 on nman0\n"), "{text}");
    let filtering = HostFacts { bridge_filters_ipv6: true, ..fresh_host() };
    let text = plan_on(&filtering, "[::]:80:80").unwrap().to_string();
    assert!(text.contains("tcp [::]:80 to") && !text.contains("::1]:80"), "{text}");
    let refused = plan_on(&filtering, "[::1]:80:80").unwrap_err().to_string();
    assert!(refused.contains("br_netfilter keeps answers from [::1]"), "{refused}");
}

#[test]
fn a_plan_reads_back_from_its_record() {
    let network = network();
    let plan = plan_ports(&network, &["8080:80"]).unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<NetworkPlan>(&text).unwrap(), plan);
}

#[test]
fn every_interface_name_fits_the_kernel() {
    let network = network();
    let plan =
        plan(&network, &lease(&network), &Appearance::default(), &[], &fresh_host()).unwrap();
    let veth = plan.steps.iter().find_map(|step| match step {
        Step::Veth { name, .. } => Some(name.as_str()),
        _ => None,
    });
    assert!(veth.unwrap().len() <= 15);
}

#[test]
fn what_was_asked_for_of_an_interface_is_there_before_it_is_up() {
    let mut wishes = crate::network::Wishes::default();
    let sysctls = "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1";
    wishes.add_driver_opt(sysctls).unwrap();
    let appearance = Appearance {
        number: 1,
        interface: Some("wan".parse().unwrap()),
        sysctls: wishes.sysctls().unwrap(),
        link_local: ["169.254.8.8", "fe80::88"].map(|text| text.parse().unwrap()).into(),
        rank: 1,
        ..Appearance::default()
    };
    let network = network();
    let plan = plan(&network, &lease(&network), &appearance, &[], &fresh_host()).unwrap();
    assert_eq!((plan.number(), plan.interface.as_str()), (1, "wan"));
    let text = plan.to_string();
    let inside = "\
container: address 10.90.0.2/16 on wan
container: sysctl net/ipv6/conf/wan/accept_ra = 0
container: sysctl net/ipv6/conf/wan/disable_ipv6 = 0
container: address 169.254.8.8/16 on wan
container: address fe80::88/64 on wan
container: sysctl net/ipv4/conf/wan/log_martians = 1
container: set wan up
container: route 0.0.0.0/0 via 10.90.0.1 on wan metric 100
";
    assert!(text.ends_with(inside), "{text}");
}
