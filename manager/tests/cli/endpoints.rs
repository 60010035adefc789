//! What is asked for about one network of a container: Docker's wishes beyond addresses and aliases.

use super::world::World;

fn sleeper(world: &World, options: &[&str]) {
    let options: Vec<&str> = ["-d"].iter().chain(options).copied().collect();
    world.run(&options, &["sleep", "1000"]).ok();
}

fn exec(world: &World, script: &str) -> String {
    world.nman(["exec", "aa", "sh", "-c", script]).ok().stdout()
}

/// The gateways of a container's default routes, the one that is used first.
fn gateways(world: &World) -> String {
    let script = "ip route | awk '/^default/ { m = 0; for (i = 1; i < NF; i++) if ($i == \"metric\") m = $(i + 1); print m, $3 }' | sort -n | cut -d' ' -f2 | xargs";
    exec(world, script).trim_end().to_owned()
}

/// Three networks with a way out, and one without.
fn four_networks(world: &World) {
    for (name, subnet) in [("b", "10.7.1.0/24"), ("c", "10.7.2.0/24"), ("a", "10.7.3.0/24")] {
        world.nman(["network", "create", "--subnet", subnet, name]).ok();
    }
    world.nman(["network", "create", "--internal", "--subnet", "10.7.4.0/24", "0"]).ok();
}

#[test]
fn the_default_route_is_the_networks_of_the_highest_priority_or_of_the_first_name() {
    let world = World::new();
    four_networks(&world);
    let networks = ["--network", "0", "--network", "c", "--network", "b"];
    sleeper(&world, &[&["--name", "aa", "-p", "18180:80"], &networks[..]].concat());
    // An internal network has none, whatever it is called; interfaces are numbered as the networks were given.
    assert_eq!(gateways(&world), "10.7.1.1 10.7.2.1");
    let script = "ip -o addr | awk '$2 ~ /eth/ && $4 !~ /^fe80/ { print $2, $4 }' | xargs";
    let interfaces = exec(&world, script);
    assert!(interfaces.starts_with("eth0 10.7.4."), "{interfaces}");
    assert!(interfaces.contains("eth1 10.7.2.") && interfaces.contains("eth2 10.7.1."));
    // Ports are published where answers leave.
    let rules = nconform::fixture::Capture::of("nft").args(["list", "table", "ip", "nman"]).run();
    assert!(rules.ok().stdout().contains("18180 : 10.7.1."));
    world.nman(["rm", "-f", "aa"]).ok();
    let networks = ["--network", "b", "--network", "name=c,gw-priority=7"];
    sleeper(&world, &[&["--name", "aa"], &networks[..]].concat());
    assert_eq!(gateways(&world), "10.7.2.1 10.7.1.1");
    assert_eq!(world.inspect("aa", "/NetworkSettings/Networks/c/GwPriority"), 7);
    assert_eq!(world.inspect("aa", "/NetworkSettings/Networks/b/GwPriority"), 0);
    world.nman(["rm", "-f", "aa"]).ok();
    world.nman(["network", "rm", "a", "b", "c", "0"]).ok();
}

#[test]
fn a_network_that_a_running_container_comes_to_takes_its_place_among_the_others() {
    let world = World::new();
    four_networks(&world);
    sleeper(&world, &["--name", "aa", "--network", "b", "--network", "c"]);
    assert_eq!(gateways(&world), "10.7.1.1 10.7.2.1");
    world.nman(["network", "connect", "a", "aa"]).ok();
    assert_eq!(gateways(&world), "10.7.3.1 10.7.1.1 10.7.2.1");
    world.nman(["network", "disconnect", "a", "aa"]).ok();
    assert_eq!(gateways(&world), "10.7.1.1 10.7.2.1");
    world.nman(["network", "connect", "--gw-priority", "-1", "a", "aa"]).ok();
    assert_eq!(gateways(&world), "10.7.1.1 10.7.2.1 10.7.3.1");
    world.nman(["network", "disconnect", "b", "aa"]).ok();
    world.nman(["network", "connect", "--gw-priority=1", "b", "aa"]).ok();
    assert_eq!(gateways(&world), "10.7.1.1 10.7.2.1 10.7.3.1");
    // The next start finds the same.
    world.nman(["restart", "-t", "0", "aa"]).ok();
    assert_eq!(gateways(&world), "10.7.1.1 10.7.2.1 10.7.3.1");
    world.nman(["rm", "-f", "aa"]).ok();
    world.nman(["network", "rm", "a", "b", "c", "0"]).ok();
}

#[test]
fn a_network_that_a_running_container_cannot_come_to_leaves_its_routes_and_ports_alone() {
    let world = World::new();
    four_networks(&world);
    sleeper(&world, &["--name", "aa", "--network", "b", "--network", "c", "-p", "18181:80"]);
    let rules = || {
        let listed = nconform::fixture::Capture::of("nft").args(["list", "table", "ip", "nman"]);
        listed.run().ok().stdout().contains("18181 : 10.7.1.")
    };
    let records = || world.nman(["inspect", "-f", "{{json .NetworkSettings}}", "aa"]).ok().stdout();
    let (routes, before) = (exec(&world, "ip route"), records());
    // One is refused before anything is made, and one when the interface is there.
    let sysctl = "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.no=1";
    for wish in [["--ip", "1.2.3.4"], ["--driver-opt", sysctl]] {
        world.nman([&["network", "connect"][..], &wish, &["a", "aa"]].concat()).exits(1);
        assert_eq!(exec(&world, "ip route"), routes, "{wish:?}");
        assert_eq!(records(), before, "{wish:?}");
        assert!(rules(), "{wish:?}");
    }
    // What is on record has not moved either: the next one finds its place.
    world.nman(["network", "connect", "a", "aa"]).ok();
    assert_eq!(gateways(&world), "10.7.3.1 10.7.1.1 10.7.2.1");
    assert!(!rules(), "ports have gone along");
    world.nman(["rm", "-f", "aa"]).ok();
    world.nman(["network", "rm", "a", "b", "c", "0"]).ok();
}

#[test]
fn an_interface_has_the_name_the_parameters_and_the_addresses_that_were_asked_for() {
    let world = World::new();
    four_networks(&world);
    let name = "driver-opt=com.docker.network.endpoint.ifname=wan";
    let sysctls = "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.neigh.ifname.ucast_solicit=5";
    let first = format!("name=b,{name},\"driver-opt={sysctls}\",driver-opt=other=1");
    let links = ["--link-local-ip", "169.254.8.8", "--link-local-ip", "fe80::8:8"];
    let options = [&["--name", "aa", "--network", &first, "--network", "c"], &links[..]].concat();
    sleeper(&world, &options);
    let parameters = "cd /proc/sys/net/ipv4; cat conf/wan/log_martians neigh/wan/ucast_solicit conf/eth0/log_martians | xargs";
    assert_eq!(exec(&world, parameters), "1 5 0\n");
    let addresses = exec(&world, "ip -o addr show dev wan | awk '{ print $4 }' | xargs");
    let addresses: Vec<&str> = addresses.split_whitespace().collect();
    assert!(addresses.contains(&"169.254.8.8/16"), "{addresses:?}");
    assert!(addresses.contains(&"fe80::8:8/64"), "{addresses:?}");
    let of_b = "/NetworkSettings/Networks/b";
    let options = world.inspect("aa", &format!("{of_b}/DriverOpts"));
    assert_eq!(options["com.docker.network.endpoint.ifname"], "wan");
    assert_eq!(options["other"], "1", "kept and shown, as in Docker");
    let links = world.inspect("aa", &format!("{of_b}/IPAMConfig/LinkLocalIPs"));
    assert_eq!(links, serde_json::json!(["169.254.8.8", "fe80::8:8"]));
    assert!(world.inspect("aa", "/NetworkSettings/Networks/c/DriverOpts").is_null());
    // The same while it runs.
    let connect = ["network", "connect", "--link-local-ip", "169.254.9.9", "--driver-opt"];
    let refused = [&connect[..], &["com.docker.network.endpoint.ifname=eth0", "a", "aa"]].concat();
    let refused = world.nman(refused).exits(1);
    assert!(refused.stderr().contains("the one on network `c` is called so"), "{refused}");
    let quoted = format!("\"{sysctls}\",com.docker.network.endpoint.ifname=lan");
    world.nman([&connect[..], &[quoted.as_str(), "a", "aa"]].concat()).ok();
    let parameters = "cat /proc/sys/net/ipv4/conf/lan/log_martians; ip -o addr show dev lan";
    let shown = exec(&world, parameters);
    assert!(shown.starts_with("1\n") && shown.contains("169.254.9.9/16"), "{shown}");
    world.nman(["restart", "-t", "0", "aa"]).ok();
    assert_eq!(exec(&world, "ls /sys/class/net | xargs"), "eth0 lan lo wan\n");
    world.nman(["rm", "-f", "aa"]).ok();
    let other = "name=b,driver-opt=com.docker.network.endpoint.sysctls=kernel.shmmax=1";
    let refused = world.run(&["--rm", "--network", other], &["true"]).exits(125);
    assert!(refused.stderr().contains("unrecognised network interface sysctl"), "{refused}");
    let missing = "name=b,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.no=1";
    let refused = world.run(&["--rm", "--network", missing], &["true"]).exits(125);
    assert!(refused.stderr().contains("net/ipv4/conf/eth0/no"), "{refused}");
    world.nman(["network", "rm", "a", "b", "c", "0"]).ok();
}

#[test]
fn what_a_container_has_written_into_its_files_stays_when_it_comes_to_a_network_or_leaves_one() {
    let world = World::new();
    world.nman(["network", "create", "--subnet", "10.7.1.0/24", "one"]).ok();
    let options = ["-d", "--name", "aa", "--network", "bridge", "--add-host", "gate:host-gateway"];
    world.run(&options, &["sleep", "1000"]).ok();
    let shell = |script: &str| exec(&world, script);
    shell("echo 192.0.2.9 mine >>/etc/hosts; echo options rotate >>/etc/resolv.conf");
    let own = world.inspect("aa", "/NetworkSettings/IPAddress");
    let says = |text: &str| shell("cat /etc/hosts /etc/resolv.conf").contains(text);
    let all_of_ours = || says("192.0.2.9 mine\n") && says("\noptions rotate\n");
    world.nman(["network", "connect", "one", "aa"]).ok();
    assert!(all_of_ours() && says("10.7.1.2\t") && says(own.as_str().unwrap()));
    world.nman(["network", "disconnect", "one", "aa"]).ok();
    assert!(all_of_ours() && !says("10.7.1.2\t"));
    // Also the last one, where no network's gateway is the host by then.
    world.nman(["network", "disconnect", "bridge", "aa"]).ok();
    assert!(all_of_ours() && !says(own.as_str().unwrap()) && says("10.90.0.1\tgate\n"));
    // A new life begins with what is so then.
    world.nman(["restart", "-t", "0", "aa"]).ok();
    assert!(!says("mine"));
    world.nman(["rm", "-f", "aa"]).ok();
    world.nman(["network", "rm", "one"]).ok();
    world.assert_no_container();
}
