//! `nman network`, and containers on several networks, as a user of Docker types it.

use super::world::{IMAGE, World, eventually};
use nconform::fixture::{Capture, HostNetwork};

/// What the container's own shell says about its interfaces' addresses: `eth0=10.1.0.2/24 `.
const ADDRESSES: &str =
    "ip -o addr | awk '$2 ~ /eth/ && $4 !~ /^fe80/ {printf \"%s=%s \", $2, $4}'";

fn sleeper(world: &World, options: &[&str]) {
    let options: Vec<&str> = ["-d"].iter().chain(options).copied().collect();
    world.run(&options, &["sleep", "1000"]).ok();
}

fn exec(world: &World, container: &str, script: &str) -> String {
    world.nman(["exec", container, "sh", "-c", script]).ok().stdout()
}

fn field(world: &World, network: &str, format: &str) -> String {
    world
        .nman(["network", "inspect", "--format", format, network])
        .ok()
        .stdout()
        .trim_end()
        .to_owned()
}

#[test]
fn each_network_that_is_listed_is_found_by_its_id() {
    let world = World::new();
    let shown = world.nman(["network", "ls", "-q"]).ok().stdout();
    let ids: Vec<&str> = shown.lines().collect();
    let inspect = ["network", "inspect", "-f", "{{.Name}}"];
    let names = world.nman(inspect.iter().chain(&ids)).ok().stdout();
    assert_eq!(names, "host\nnman\nnone\n");
    world.nman(["network", "inspect", "4740"]).ok();
    world.nman(["network", "inspect", "474"]).exits(1);
}

#[test]
fn a_network_is_made_listed_shown_and_removed() {
    let world = World::new();
    let id = world
        .nman([
            "network",
            "create",
            "--subnet",
            "10.7.0.0/24",
            "--gateway",
            "10.7.0.9",
            "--ip-range",
            "10.7.0.128/25",
            "--aux-address",
            "router=10.7.0.129",
            "--label",
            "tier=front",
            "-o",
            "com.docker.network.driver.mtu=1400",
            "web",
        ])
        .ok()
        .stdout();
    assert_eq!(id.trim_end().len(), 64);
    let all = world.nman(["network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}"]).ok();
    assert_eq!(
        all.stdout(),
        "host host local\nnman bridge local\nnone null local\nweb bridge local\n"
    );
    let labelled =
        world.nman(["network", "ls", "-q", "--no-trunc", "--filter", "label=tier=front"]).ok();
    assert_eq!(labelled.stdout(), id);
    assert_eq!(
        world.nman(["network", "list", "-f", "type=custom", "-q"]).ok().stdout().trim_end(),
        &id[..12]
    );
    let web: serde_json::Value = world.nman(["network", "inspect", &id[..10]]).ok().json();
    let web = &web[0];
    assert_eq!((&web["Name"], &web["Id"]), (&"web".into(), &id.trim_end().into()));
    assert_eq!(web["IPAM"]["Config"][0]["Gateway"], "10.7.0.9");
    assert_eq!(web["IPAM"]["Config"][0]["IPRange"], "10.7.0.128/25");
    assert_eq!(web["IPAM"]["Config"][0]["AuxiliaryAddresses"]["router"], "10.7.0.129");
    assert_eq!((&web["Internal"], &web["Labels"]["tier"]), (&false.into(), &"front".into()));
    sleeper(&world, &["--name", "aa", "--network", "web"]);
    // The first of the range that is nobody's else.
    assert_eq!(exec(&world, "aa", ADDRESSES), "eth0=10.7.0.128/24 ");
    assert!(exec(&world, "aa", "ip link show eth0").contains("mtu 1400"));
    assert_eq!(
        field(&world, "web", "{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}"),
        "aa 10.7.0.128/24"
    );
    let used = world.nman(["network", "rm", "web"]).exits(1);
    assert!(used.stderr().contains("network web has active endpoints (name:\"aa\""), "{used}");
    assert_eq!(world.nman(["network", "prune", "-f"]).ok().stdout(), "");
    world.nman(["rm", "-f", "aa"]).ok();
    world.nman(["network", "create", "spare"]).ok();
    assert_eq!(world.nman(["network", "rm", "web"]).ok().stdout(), "web\n");
    assert_eq!(
        world.nman(["network", "prune", "-f"]).ok().stdout(),
        "Deleted Networks:\nspare\n\n"
    );
    world.assert_no_container();
}

#[test]
fn what_cannot_be_a_network_is_refused() {
    let world = World::new();
    world.nman(["network", "create", "--subnet", "10.7.0.0/24", "web"]).ok();
    for (args, code, message) in [
        (&["create", "web"][..], 1, "network with name web already exists"),
        (&["create", "host"], 1, "operation is not permitted on predefined host network"),
        (&["create", "../x"], 125, "invalid network name `../x`"),
        (
            &["create", "--subnet", "10.7.0.0/16", "x"],
            1,
            "Pool overlaps with other one on this address space",
        ),
        (&["create", "-d", "../bridge", "x"], 1, "is not the name of a plug-in"),
        (&["create", "-d", "overlay", "x"], 1, "cannot find the network plug-in `overlay`"),
        (&["rm", "nman"], 1, "nman is a pre-defined network and cannot be removed"),
        (&["rm", "nonet"], 1, "network `nonet` not found"),
        (&["inspect", "nonet"], 1, "network `nonet` not found"),
        (&["connect", "web", "nobody"], 1, "No such container: nobody"),
    ] {
        let args: Vec<&str> = ["network"].iter().chain(args).copied().collect();
        let refused = world.nman(&args).exits(code);
        assert!(refused.stderr().contains(message), "{args:?}: {refused}");
    }
    world.nman(["network", "rm", "-f", "nonet"]).ok();
}

#[test]
fn a_running_container_is_connected_and_disconnected_and_remembers_it() {
    let world = World::new();
    for (name, subnet) in [("one", "10.7.1.0/24"), ("two", "10.7.2.0/24")] {
        world.nman(["network", "create", "--subnet", subnet, name]).ok();
    }
    sleeper(&world, &["--name", "aa", "--network", "one"]);
    world.nman(["network", "connect", "--ip", "10.7.2.77", "--alias", "other", "two", "aa"]).ok();
    assert_eq!(exec(&world, "aa", ADDRESSES), "eth0=10.7.1.2/24 eth1=10.7.2.77/24 ");
    assert!(exec(&world, "aa", "cat /etc/hosts").contains("10.7.2.77\t"));
    assert_eq!(exec(&world, "aa", "ip route | grep -c default"), "2\n");
    let twice = world.nman(["network", "connect", "two", "aa"]).exits(1);
    assert!(
        twice.stderr().contains("endpoint with name aa already exists in network two"),
        "{twice}"
    );
    world.nman(["stop", "-t", "0", "aa"]).ok();
    world.nman(["start", "aa"]).ok();
    assert!(exec(&world, "aa", ADDRESSES).ends_with("eth1=10.7.2.77/24 "));
    world.nman(["network", "disconnect", "one", "aa"]).ok();
    assert_eq!(exec(&world, "aa", ADDRESSES), "eth1=10.7.2.77/24 ");
    assert!(!exec(&world, "aa", "cat /etc/hosts").contains("10.7.1."));
    let absent = world.nman(["network", "disconnect", "one", "aa"]).exits(1);
    assert!(absent.stderr().contains("is not connected to the network one"), "{absent}");
    // While it is stopped, it is only written down.
    world.nman(["stop", "-t", "0", "aa"]).ok();
    world.nman(["network", "connect", "one", "aa"]).ok();
    world.nman(["start", "aa"]).ok();
    assert!(exec(&world, "aa", ADDRESSES).contains("eth1=10.7.1."));
    world.nman(["rm", "-f", "aa"]).ok();
    world.nman(["network", "rm", "one", "two"]).ok();
    world.assert_no_container();
}

#[test]
fn several_networks_have_an_interface_each_with_its_own_wishes() {
    let world = World::new();
    world.nman(["network", "create", "--subnet", "10.7.1.0/24", "one"]).ok();
    world
        .nman([
            "network",
            "create",
            "--subnet",
            "10.7.2.0/24",
            "--ipv6",
            "--subnet",
            "fd07::/64",
            "two",
        ])
        .ok();
    let options = [
        "--network",
        "name=one,ip=10.7.1.50,mac-address=02:00:00:00:00:50",
        "--network",
        "name=two,ip=10.7.2.60,ip6=fd07::60",
        "--add-host",
        "gate:host-gateway",
        "--add-host",
        "db:10.9.9.9",
        "--dns-search",
        "a.test",
        "--dns-option",
        "use-vc",
    ];
    let script = format!(
        "{ADDRESSES}; cat /sys/class/net/eth0/address; grep -wE 'gate|db' /etc/hosts; cat /etc/resolv.conf"
    );
    let seen = world.shell(&options, &script).ok().stdout();
    assert_eq!(
        seen,
        "eth0=10.7.1.50/24 eth1=10.7.2.60/24 eth1=fd07::60/64 02:00:00:00:00:50\n10.7.1.1\tgate\n10.9.9.9\tdb\n\
         nameserver 127.0.0.11\nsearch a.test\noptions use-vc ndots:0\n"
    );
    let taken = world.run(&["--rm", "--network", "one", "--ip", "10.9.0.1"], &["true"]).exits(125);
    assert!(
        taken.stderr().contains("no configured subnet contains IP address 10.9.0.1"),
        "{taken}"
    );
    sleeper(&world, &["--name", "aa", "--network", "one"]);
    let address = world.inspect("aa", "/NetworkSettings/Networks/one/IPAddress");
    let address = address.as_str().unwrap();
    let taken = world.run(&["--rm", "--network", "one", "--ip", address], &["true"]).exits(125);
    taken.says(&format!("address {address} is already in use, by container `aa`"));
    world.nman(["rm", "-f", "aa"]).ok();
    world.nman(["network", "rm", "one", "two"]).ok();
    world.assert_no_container();
}

#[test]
fn a_container_shares_the_network_of_another() {
    let world = World::new();
    sleeper(&world, &["--name", "aa", "--network", "bridge", "--hostname", "first"]);
    let own = exec(&world, "aa", ADDRESSES);
    let script = format!("{ADDRESSES}; hostname; grep -c first /etc/hosts");
    let shared = world.shell(&["--network", "container:aa"], &script).ok().stdout();
    assert_eq!(shared, format!("{own}first\n1\n"));
    world.nman(["stop", "-t", "0", "aa"]).ok();
    let refused = world.run(&["--rm", "--network", "container:aa"], &["true"]).exits(125);
    assert!(
        refused.stderr().contains("cannot join network of a non running container"),
        "{refused}"
    );
    let refused = world.run(&["--rm", "--network", "container:nobody"], &["true"]).exits(125);
    assert!(refused.stderr().contains("No such container: nobody"), "{refused}");
    world.nman(["rm", "aa"]).ok();
    world.assert_no_container();
}

#[test]
fn who_has_a_port_is_named() {
    let world = World::new();
    let host = HostNetwork::connect(&world.sandbox);
    sleeper(
        &world,
        &["--name", "web", "--network", "bridge", "-p", "8080:80", "-p", "127.0.0.1::81"],
    );
    let refuse = |port: &str| {
        let refused = world.run(&["--rm", "--network", "bridge", "-p", port], &["true"]).exits(125);
        refused.stderr()
    };
    let taken = refuse("8080:80");
    assert!(
        taken.contains(
            "for 0.0.0.0:8080 failed: port is already allocated (tcp, by container `web`)"
        ),
        "{taken}"
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:8090").unwrap();
    let taken = refuse("8090:80");
    let process = format!("by process {} (", std::process::id());
    assert!(taken.contains("port is already allocated") && taken.contains(&process), "{taken}");
    drop((listener, host));
    world.nman(["rm", "-f", "web"]).ok();
    world.assert_no_container();
}

#[test]
fn exposed_ports_are_published_where_that_is_asked_for() {
    let world = World::new();
    let host = HostNetwork::connect(&world.sandbox);
    let script = "echo page > /tmp/index.html; exec httpd -f -p 80 -h /tmp";
    let options = [
        "-d",
        "--name",
        "web",
        "--network",
        "bridge",
        "-P",
        "--expose",
        "80",
        "--expose",
        "90-91/udp",
    ];
    world.run(&options, &["sh", "-c", script]).ok();
    let ports = world.inspect("web", "/NetworkSettings/Ports");
    let port = ports["80/tcp"][0]["HostPort"].as_str().unwrap();
    assert!(
        ports["90/udp"][0]["HostPort"].is_string() && ports["91/udp"][0]["HostPort"].is_string()
    );
    assert_eq!(world.inspect("web", "/HostConfig/PublishAllPorts"), true);
    let url = format!("http://127.0.0.1:{port}/");
    eventually("the page is served", || {
        Capture::of("/bin/busybox").args(["wget", "-qO-", &url]).run().success()
    });
    world.nman(["rm", "-f", "web"]).ok();
    drop(host);
    world.assert_no_container();
}

#[test]
fn rules_that_were_flushed_are_reloaded() {
    let world = World::new();
    let host = HostNetwork::connect(&world.sandbox);
    // Which switches forwarding on, and goes.
    sleeper(&world, &["--name", "first", "--network", "bridge"]);
    sleeper(&world, &["--name", "web", "--network", "bridge", "-p", "8080:80"]);
    world.nman(["rm", "-f", "first"]).ok();
    let table = || Capture::of("nft").args(["list", "table", "ip", "nman"]).run();
    let before = table().ok().stdout();
    Capture::of("nft").args(["flush", "ruleset"]).run().ok();
    let said = world.nman(["system", "check"]).exits(1).stdout();
    assert!(said.starts_with("damaged: the packet filter lacks rules for containers ("), "{said}");
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
    let id = world.nman(["ps", "-q", "--no-trunc"]).ok().stdout();
    assert_eq!(world.nman(["network", "reload"]).ok().stdout(), id);
    assert_eq!(table().ok().stdout(), before);
    assert_eq!(std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), "1\n");
    world.nman(["rm", "-f", "web"]).ok();
    drop(host);
    world.assert_no_container();
}

#[test]
fn what_a_bridge_and_the_host_have_lost_is_found_and_put_back() {
    let world = World::new();
    let host = HostNetwork::connect(&world.sandbox);
    let subnets = ["--subnet", "10.7.0.0/24", "--ipv6", "--subnet", "fd00:7::/64"];
    world.nman([&["network", "create"][..], &subnets, &["web"]].concat()).ok();
    sleeper(&world, &["--name", "aa", "--network", "web"]);
    let bridge = field(&world, "web", "{{.Bridge}}");
    let ip = |args: &[&str]| drop(Capture::of("ip").args(args).run().ok());
    ip(&["link", "set", &bridge, "down"]);
    ip(&["address", "flush", "dev", &bridge]);
    for family in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        std::fs::write(format!("/proc/sys/net/{family}"), "0").unwrap();
    }
    for (key, value) in [("ipv4/conf/{}/route_localnet", "0"), ("ipv6/conf/{}/accept_ra", "1")] {
        std::fs::write(format!("/proc/sys/net/{}", key.replace("{}", &bridge)), value).unwrap();
    }
    let setting = format!("the bridge `{bridge}` of network `web` has lost its setting `net");
    let losses = [
        format!("the bridge `{bridge}` of network `web` has lost its address 10.7.0.1"),
        format!("the bridge `{bridge}` of network `web` has lost its address fd00:7::1"),
        format!("the bridge `{bridge}` of network `web` has lost its address fe80::1"),
        format!("{setting}.ipv4.conf.{bridge}.route_localnet`, which was 1"),
        format!("{setting}.ipv6.conf.{bridge}.accept_ra`, which was 0"),
        format!("the bridge `{bridge}` of network `web` is down"),
        "the host no longer forwards packets: `net.ipv4.ip_forward` is 0".to_owned(),
        "the host no longer forwards packets: `net.ipv6.conf.all.forwarding` is 0".to_owned(),
    ];
    let found = world.nman(["system", "check"]).exits(1).stdout();
    let mut found: Vec<&str> = found.lines().collect();
    found.sort_unstable();
    for (line, loss) in found.iter().zip(&losses) {
        assert!(line.starts_with(&format!("damaged: {loss} (`nman network reload` or ")), "{line}");
    }
    assert_eq!(found.len(), losses.len(), "{found:?}");
    let repaired = world.nman(["system", "check", "--repair"]).ok().stdout();
    assert_eq!(repaired.lines().count(), losses.len(), "{repaired}");
    assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n");
    for address in ["10.7.0.1", "fd00:7::1"] {
        world.nman(["exec", "aa", "ping", "-c", "1", "-W", "2", address]).ok();
    }
    world.nman(["rm", "-f", "aa"]).ok();
    world.nman(["network", "rm", "web"]).ok();
    drop(host);
    world.assert_no_container();
}

#[test]
fn a_bridge_that_somebody_deletes_is_put_back_with_its_ports() {
    let world = World::new();
    world
        .nman(["network", "create", "--subnet", "10.7.0.0/24", "--gateway", "10.7.0.1", "web"])
        .ok();
    for name in ["aa", "bb"] {
        sleeper(&world, &["--name", name, "--network", "web"]);
    }
    let bridge = field(&world, "web", "{{.Bridge}}");
    let reaches =
        |whom: &str| world.nman(["exec", "aa", "ping", "-c", "1", "-W", "2", whom]).success();
    assert!(reaches("10.7.0.1") && reaches("bb"));
    Capture::of("ip").args(["link", "delete", &bridge]).run().ok();
    let check = |args: &[&str]| world.nman(["system", "check"].iter().chain(args));
    let lost = format!("the bridge `{bridge}` of network `web` is gone");
    let hint = "(`nman network reload` or `nman system check --repair` puts it back)";
    assert_eq!(check(&[]).exits(1).stdout(), format!("damaged: {lost} {hint}\n"));
    assert!(!reaches("10.7.0.1") && !reaches("10.7.0.3"));
    assert_eq!(world.nman(["network", "reload"]).ok().stdout().lines().count(), 2);
    assert!(reaches("10.7.0.1") && reaches("bb"));
    assert_eq!(check(&[]).ok().stdout(), "No problems found\n");
    Capture::of("ip").args(["link", "delete", &bridge]).run().ok();
    assert_eq!(check(&["--repair"]).ok().stdout(), format!("repaired: {lost}\n"));
    assert!(reaches("10.7.0.1") && reaches("bb"));
    // What is as it should be stays so.
    world.nman(["network", "reload"]).ok();
    assert!(reaches("10.7.0.1") && reaches("bb"));

    let id = world.nman(["ps", "-q", "--no-trunc", "-f", "name=bb"]).ok().text();
    let link = format!("nm{}", &id[..12]);
    Capture::of("ip").args(["link", "delete", &link]).run().ok();
    let said = world.nman(["network", "reload"]).exits(1);
    let message = format!(
        "nman: container `bb` is cut off from network `web`: its interface `{link}` is gone\n"
    );
    assert!(said.stderr().starts_with(&message), "{said}");
    assert!(said.stderr().contains("hint: `nman restart bb` connects it again"), "{said}");
    let lost = format!(
        "damaged: container `bb` is cut off from network `web`: its interface `{link}` is gone \
         (`nman restart bb` connects it again)\n"
    );
    assert_eq!(check(&[]).exits(1).stdout(), lost);
    world.nman(["rename", "bb", "cc"]).ok();
    let renamed = lost.replace("`bb`", "`cc`").replace("restart bb", "restart cc");
    assert_eq!(check(&[]).exits(1).stdout(), renamed);
    world.nman(["rename", "cc", "bb"]).ok();
    // That is not mended behind anybody's back.
    assert_eq!(check(&["--repair"]).exits(1).stdout(), lost);
    assert_eq!(said.stdout().lines().count(), 1);
    world.nman(["restart", "-t", "0", "bb"]).ok();
    assert!(reaches("bb"));
    world.nman(["network", "reload"]).ok();
    world.nman(["rm", "-f", "aa", "bb"]).ok();
    world.nman(["network", "rm", "web"]).ok();
    world.assert_no_container();
}

#[test]
fn ports_of_any_number_and_exposed_ones_are_listed() {
    let world = World::new();
    let options =
        ["-d", "--name", "web", "--network", "bridge", "-p", "0:80", "--expose", "443-444"];
    let more = ["-p", "127.0.0.1:0:81", "-p", "18090-18092:90-92"];
    world.run(&[&options[..], &more[..]].concat(), &["sleep", "1000"]).ok();
    let ports = world.nman(["ps", "--format", "{{.Ports}}"]).ok().text();
    assert!(ports.starts_with("443-444/tcp, 0.0.0.0:"), "{ports}");
    assert!(ports.contains("0.0.0.0:18090-18092->90-92/tcp"), "{ports}");
    for (address, port) in [("0.0.0.0", 80), ("127.0.0.1", 81)] {
        let bound = world.nman(["port", "web", &port.to_string()]).ok().text();
        let number = bound.lines().next().unwrap().strip_prefix(&format!("{address}:")).unwrap();
        assert_ne!(number, "0");
        assert!(ports.contains(&format!("{address}:{number}->{port}/tcp")), "{ports}");
    }
    world.nman(["rm", "-f", "web"]).ok();
    world.assert_no_container();
}

#[test]
fn a_network_stays_for_a_container_that_is_made_while_prune_waits() {
    let world = World::new();
    world.nman(["network", "create", "web"]).ok();
    let lock = std::fs::File::open(world.state().join("network/definitions.lock")).unwrap();
    lock.lock().unwrap();
    let (mut pruning, said) = world.command(["network", "prune", "-f"]).start();
    let waits = format!("-> FLOCK  ADVISORY  WRITE {} ", pruning.id());
    eventually("prune waits", || std::fs::read_to_string("/proc/locks").unwrap().contains(&waits));
    world.nman(["create", "--name", "late", "--network", "web", IMAGE]).ok();
    lock.unlock().unwrap();
    assert!(pruning.wait().unwrap().success() && said.stdout().is_empty(), "{said}");
    assert!(world.nman(["network", "ls", "-q", "-f", "name=web"]).ok().stdout().len() > 1);
    world.nman(["rm", "late"]).ok();
    world.nman(["network", "rm", "web"]).ok();
    world.assert_no_container();
}

#[test]
fn who_comes_to_a_network_that_is_removed_meanwhile_leaves_nothing() {
    let world = World::new();
    world.nman(["network", "create", "web"]).ok();
    let lock = std::fs::File::create(world.state().join("network/lock")).unwrap();
    lock.lock().unwrap();
    let (mut running, said) = world.run_command(&["--network", "web"], &["true"]).start();
    let waits = format!("-> FLOCK  ADVISORY  WRITE {} ", running.id());
    let locks = || std::fs::read_to_string("/proc/locks").unwrap();
    // It has read the definition, and is not on record yet.
    eventually("the container waits", || locks().contains(&waits));
    std::fs::remove_file(world.root().join("networks/web.conflist")).unwrap();
    lock.unlock().unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(125), "{said}");
    assert!(said.stderr().contains("network `web` not found"), "{said}");
    world.assert_no_container();
}

#[test]
fn networks_are_pruned_by_age_and_a_subnet_of_the_hosts_is_told() {
    let world = World::new();
    let host = HostNetwork::connect(&world.sandbox);
    let subnet = format!("{}/32", HostNetwork::WORLD);
    Capture::of("ip").args(["route", "add", &subnet, "dev", HostNetwork::UPLINK]).run().ok();
    let wider = format!("{}.0/24", HostNetwork::WORLD.to_string().rsplit_once('.').unwrap().0);
    let made = world.nman(["network", "create", "--subnet", &wider, "web"]).ok();
    let warning = format!("which subnet {wider} overlaps: what is there is out of reach");
    assert!(made.stderr().starts_with("WARNING: the host has a route to "), "{made}");
    assert!(made.stderr().contains(&warning), "{made}");
    let route = ["-6", "route", "add", "fd00:9::/64", "dev", HostNetwork::UPLINK];
    Capture::of("ip").args(route).run().ok();
    let ipv6 = ["network", "create", "--ipv6", "--subnet", "fd00:9::/48", "six"];
    let made = world.nman(ipv6).ok();
    assert!(made.stderr().contains("route to fd00:9::/64, which subnet fd00:9::/48"), "{made}");
    world.nman(["network", "rm", "six"]).ok();
    assert_eq!(world.nman(["network", "create", "--ipv6", "quiet"]).ok().stderr(), "");
    let prune = |until: &str| world.nman(["network", "prune", "-f", "--filter", until]);
    for too_early in ["until=1h", "until=2020-01-01", "until=1577836800"] {
        assert_eq!(prune(too_early).ok().stdout(), "", "{too_early}");
    }
    assert!(prune("until=soon").exits(1).stderr().contains("`soon` is no time"));
    let pruned = prune("until=2222-01-01T10:00:00").ok().stdout();
    assert_eq!(pruned, "Deleted Networks:\nquiet\nweb\n\n");
    drop(host);
}

#[test]
fn a_network_that_is_left_while_the_container_is_being_started_is_left() {
    let world = World::new();
    world.nman(["network", "create", "one"]).ok();
    world.nman(["create", "--name", "aa", "--network", "one", IMAGE, "sleep", "1000"]).ok();
    let lock = std::fs::File::create(world.state().join("network/lock")).unwrap();
    lock.lock().unwrap();
    let waits = |id: u32| {
        let waits = format!("-> FLOCK  ADVISORY  WRITE {id} ");
        eventually("it waits", || std::fs::read_to_string("/proc/locks").unwrap().contains(&waits));
    };
    // It has read which networks it is to be on.
    let (mut starting, started) = world.command(["start", "aa"]).start();
    waits(starting.id());
    let (mut leaving, left) = world.command(["network", "disconnect", "one", "aa"]).start();
    waits(leaving.id());
    lock.unlock().unwrap();
    assert!(starting.wait().unwrap().success(), "{started}");
    assert!(leaving.wait().unwrap().success(), "{left}");
    assert_eq!(exec(&world, "aa", "echo $(ls /sys/class/net)"), "lo\n");
    assert_eq!(world.inspect("aa", "/NetworkSettings/Networks"), serde_json::json!({}));
    world.nman(["rm", "-f", "aa"]).ok();
    world.nman(["network", "rm", "one"]).ok();
    world.assert_no_container();
}

#[test]
fn a_network_on_a_link_that_is_not_there_is_refused() {
    let world = World::new();
    let create = ["network", "create", "-d", "macvlan", "lan", "-o"];
    for (parent, hint) in [
        ("parent=nosuch0", "`ip link` shows"),
        ("master=nosuch0.7", "`ip link add link nosuch0 name nosuch0.7 type vlan id 7`"),
    ] {
        let refused = world.nman([&create[..], &[parent]].concat()).exits(1).stderr();
        let name = parent.split_once('=').unwrap().1;
        assert!(refused.contains(&format!("parent interface {name} does not exist")), "{refused}");
        assert!(refused.contains(hint), "{refused}");
    }
    assert_eq!(world.nman(["network", "ls", "-q", "-f", "name=lan"]).ok().stdout(), "");
}

#[test]
fn a_container_that_waits_to_be_started_again_is_connected_and_disconnected_all_the_same() {
    let world = World::new();
    world.nman(["network", "create", "late"]).ok();
    let options = ["-d", "--name", "loop", "--restart", "always", "--network", "bridge"];
    world.run(&options, &["sh", "-c", "echo $(ls /sys/class/net); false"]).ok();
    for (action, links) in [("connect", "eth0 eth1 lo"), ("disconnect", "eth0 lo")] {
        let last = || {
            let logged = world.nman(["logs", "loop"]).ok().stdout();
            logged.lines().last().map(str::to_owned)
        };
        let restarts = || world.inspect("loop", "/RestartCount").as_u64().unwrap();
        eventually("it waits for some time", || {
            restarts() >= 5 && world.inspect("loop", "/State/Status") == "restarting"
        });
        world.nman(["network", action, "late", "loop"]).ok();
        eventually("it sees that", || last().as_deref() == Some(links));
    }
    world.nman(["rm", "-f", "loop"]).ok();
    world.nman(["network", "rm", "late"]).ok();
    world.assert_no_container();
}

#[test]
fn a_network_whose_definition_is_damaged_is_left_out_and_told_and_removed_by_force() {
    let world = World::new();
    world.nman(["network", "create", "whole"]).ok();
    let bad = world.root().join("networks/bad.conflist");
    std::fs::write(&bad, "{").unwrap();
    let names = ["network", "ls", "--format", "{{.Name}}"];
    let listed = world.nman(names).ok();
    assert_eq!(listed.stdout(), "host\nnman\nnone\nwhole\n");
    let told = "WARNING: a network is left out: cannot use the network definition";
    assert_eq!(listed.stderr().matches(told).count(), 1, "{listed}");
    assert!(listed.stderr().contains("(`nman network rm -f bad` removes it)"), "{listed}");
    world.nman(["network", "create", "more"]).ok();
    let pruned = world.nman(["network", "prune", "-f"]).ok().stdout();
    assert_eq!(pruned, "Deleted Networks:\nmore\nwhole\n\n");
    assert!(world.nman(["network", "rm", "bad"]).exits(1).stderr().contains("bad.conflist"));
    assert_eq!(world.nman(["network", "rm", "-f", "bad"]).ok().stdout(), "bad\n");
    assert!(!bad.exists());
    let listed = world.nman(names).ok();
    assert_eq!((listed.stdout().as_str(), listed.stderr().as_str()), ("host\nnman\nnone\n", ""));
}
