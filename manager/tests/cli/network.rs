//! Containers on networks. The network's own tests look closer; these go through the whole of `nman run`.

use super::world::{World, eventually};
use nconform::fixture::{Capture, HostNetwork};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;

#[test]
fn none_has_loopback_only_and_host_has_the_hosts() {
    let world = World::new();
    let interfaces = "ls /sys/class/net | tr '\\n' ' '";
    assert_eq!(world.shell(&["--network", "none"], interfaces).ok().stdout(), "lo ");
    let host = HostNetwork::connect(&world.sandbox);
    let seen = world.shell(&["--network", "host"], "cat /proc/net/dev").ok().stdout();
    assert!(seen.contains(HostNetwork::UPLINK), "{seen}");
    drop(host);
    world.assert_no_container();
}

#[test]
fn a_bridged_container_reaches_out_and_its_port_is_published() {
    let world = World::new();
    let host = HostNetwork::connect(&world.sandbox);
    let page = "echo page > /tmp/index.html; exec httpd -f -p 80 -h /tmp";
    let options = ["-d", "--name", "web", "--network", "bridge", "-p", "8080:80"];
    world.run(&options, &["sh", "-c", page]).ok();
    let outside = HostNetwork::WORLD.to_string();
    let ping = format!("ping -c 1 -w 5 {outside}");
    world.shell(&["--network", "bridge"], &ping).ok();
    let fetch = |url: String| Capture::of("/bin/busybox").args(["wget", "-qO-", &url]).run();
    let published = format!("http://{}:8080/", HostNetwork::HOST);
    eventually("the page is served", || {
        host.world().run(|| fetch(published.clone()).stdout()) == "page\n"
    });
    assert_eq!(fetch("http://127.0.0.1:8080/".to_owned()).ok().stdout(), "page\n");
    assert!(world.nman(["ps"]).ok().stdout().contains("0.0.0.0:8080->80/tcp"));
    let address = world.inspect("web", "/NetworkSettings/IPAddress");
    let hosts = world.nman(["exec", "web", "cat", "/etc/hosts"]).ok().stdout();
    assert!(hosts.contains(address.as_str().unwrap()), "{hosts}");
    let taken = world.run(&["--rm", "--network", "bridge", "-p", "8080:80"], &["true"]).exits(125);
    assert!(taken.stderr().contains("port is already allocated"), "{taken}");
    // Stopping gives the port back; starting takes it again.
    world.nman(["stop", "-t", "0", "web"]).ok();
    world.nman(["start", "web"]).ok();
    eventually("the page is served again", || fetch("http://127.0.0.1:8080/".to_owned()).success());
    world.nman(["rm", "-f", "web"]).ok();
    drop(host);
    world.assert_no_container();
}

#[test]
fn a_port_is_answered_from_outside_whatever_networks_a_container_joins_and_leaves() {
    let world = World::new();
    let host = HostNetwork::connect(&world.sandbox);
    for network in ["aaa", "mmm", "web"] {
        world.nman(["network", "create", network]).ok();
    }
    // An answer that leaves by another interface than its request came in by is dropped.
    std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "1").unwrap();
    let page = "echo page > /tmp/index.html; exec httpd -f -p 80 -h /tmp";
    let strict = ["--sysctl", "net.ipv4.conf.all.rp_filter=1"];
    let options = ["-d", "--name", "cc", "--network", "web", "-p", "8080:80", "-p", "80"];
    world.run(&[&options[..], &strict].concat(), &["sh", "-c", page]).ok();
    let published = format!("http://{}:8080/", HostNetwork::HOST);
    let wget = ["5", "/bin/busybox", "wget", "-qO-", published.as_str()];
    let fetch = || host.world().run(|| Capture::of("timeout").args(wget).run().stdout());
    eventually("the page is served", || fetch() == "page\n");
    let before = world.nman(["port", "cc"]).ok().stdout();
    for step in [
        &["connect", "mmm"][..],
        &["connect", "aaa"],
        &["disconnect", "mmm"],
        &["connect", "--gw-priority", "7", "mmm"],
        &["disconnect", "aaa"],
        &["disconnect", "web"],
        &["connect", "--gw-priority", "9", "web"],
        &["connect", "aaa"],
        &["disconnect", "web"],
    ] {
        world.nman([&["network"], step, &["cc"]].concat()).ok();
        assert_eq!(fetch(), "page\n", "after {step:?}");
        assert_eq!(world.nman(["port", "cc"]).ok().stdout(), before, "after {step:?}");
    }
    world.nman(["rm", "-f", "cc"]).ok();
    world.nman(["network", "rm", "aaa", "mmm", "web"]).ok();
    drop(host);
    world.assert_no_container();
}

#[test]
fn a_port_moves_to_another_network_when_the_one_that_carries_it_is_left() {
    let world = World::new();
    for network in ["one", "two"] {
        world.nman(["network", "create", network]).ok();
    }
    let page = "echo page > /tmp/index.html; exec httpd -f -p 80 -h /tmp";
    let options = ["-d", "--name", "web", "--network", "one", "-p", "8080:80", "-p", "80"];
    world.run(&options, &["sh", "-c", page]).ok();
    let ports = || world.nman(["port", "web"]).ok().stdout();
    let before = ports();
    let fetch =
        || Capture::of("/bin/busybox").args(["wget", "-qO-", "http://127.0.0.1:8080/"]).run();
    eventually("the page is served", || fetch().success());
    world.nman(["network", "connect", "two", "web"]).ok();
    world.nman(["network", "disconnect", "one", "web"]).ok();
    assert_eq!(ports(), before, "the one that was chosen, too");
    assert_eq!(fetch().ok().stdout(), "page\n");
    // Nobody carries them any more.
    world.nman(["network", "disconnect", "two", "web"]).ok();
    assert_eq!(ports(), "");
    assert!(!fetch().success());
    world.nman(["rm", "-f", "web"]).ok();
    world.nman(["network", "rm", "one", "two"]).ok();
    world.assert_no_container();
}

#[test]
fn each_family_of_a_port_is_published_on_the_first_network_that_has_it() {
    let world = World::new();
    world.nman(["network", "create", "--subnet", "10.7.4.0/24", "four"]).ok();
    world.nman(["network", "create", "--ipv4=false", "--ipv6", "six"]).ok();
    world.nman(["network", "create", "--ipv6", "both"]).ok();
    let run = |networks: &[&str], port: &str| {
        let networks = networks.iter().flat_map(|network| ["--network", network]);
        let options: Vec<&str> =
            ["-d", "--name", "web", "-p", port].into_iter().chain(networks).collect();
        world.run(&options, &["sleep", "1000"])
    };
    let ports = || world.nman(["port", "web"]).ok().text();
    for networks in [["four", "six"], ["six", "four"], ["six", "both"]] {
        run(&networks, "8080:80").ok();
        assert_eq!(ports(), "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080", "{networks:?}");
        world.nman(["rm", "-f", "web"]).ok();
    }
    // One that comes later carries what nobody did, and what is left behind.
    run(&["four"], "8000-8010:80").ok();
    assert_eq!(ports(), "80/tcp -> 0.0.0.0:8000");
    world.nman(["network", "connect", "both", "web"]).ok();
    assert_eq!(ports(), "80/tcp -> 0.0.0.0:8000\n80/tcp -> [::]:8000");
    world.nman(["network", "disconnect", "four", "web"]).ok();
    assert_eq!(ports(), "80/tcp -> 0.0.0.0:8000\n80/tcp -> [::]:8000");
    world.nman(["rm", "-f", "web"]).ok();
    let refused = run(&["four"], "[::]:8080:80").exits(125);
    let said = "cannot publish port 80/tcp on ::: no network of the container has IPv6";
    assert!(refused.stderr().contains(said), "{refused}");
    run(&["four", "six"], "[::]:8080:80").ok();
    assert_eq!(ports(), "80/tcp -> [::]:8080");
    world.nman(["rm", "-f", "web"]).ok();
    world.nman(["network", "rm", "four", "six", "both"]).ok();
    world.assert_no_container();
}

#[test]
fn an_unknown_network_is_refused_and_nothing_is_left() {
    let world = World::new();
    let refused = world.run(&["--rm", "--network", "nonet"], &["true"]).exits(125);
    assert!(refused.stderr().starts_with("nman: network `nonet` not found\n"), "{refused}");
    world.assert_no_container();
}

/// What an eager clean-up of /run does.
fn empty_the_state(world: &World) {
    for entry in super::world::entries(world.state()) {
        let removed =
            if entry.is_dir() { fs::remove_dir_all(&entry) } else { fs::remove_file(&entry) };
        removed.unwrap();
    }
}

#[test]
fn a_port_of_a_container_whose_records_went_leads_to_nobody_else() {
    let world = World::new();
    let options = ["-d", "--name", "web", "--network", "bridge", "-p", "8080:80"];
    world.run(&options, &["sleep", "1000"]).ok();
    let address = world.inspect("web", "/NetworkSettings/IPAddress");
    empty_the_state(&world);
    let said = world.nman(["system", "check"]).exits(1).stdout();
    assert!(said.contains("container web is on network `nman`, and no record says so"), "{said}");
    // While it has the address, and when the packet filter still leads there.
    for other in ["first", "second"] {
        let page = "echo secret > /tmp/index.html; exec httpd -f -p 80 -h /tmp";
        world.run(&["-d", "--name", other, "--network", "bridge"], &["sh", "-c", page]).ok();
        assert_ne!(world.inspect(other, "/NetworkSettings/IPAddress"), address);
        if other == "first" {
            // Its monitor would take away what leads to it.
            let monitor = super::monitor::monitor_of(&world, "web");
            let monitor = Pid::from_raw(i32::try_from(monitor).unwrap()).unwrap();
            kill_process(monitor, Signal::KILL).unwrap();
            world.nman(["rm", "-f", "web"]).ok();
        }
    }
    let url = "http://127.0.0.1:8080/";
    let fetched = Capture::of("timeout").args(["3", "/bin/busybox", "wget", "-qO-", url]).run();
    assert!(!fetched.success(), "{fetched}");
    let said = world.nman(["system", "check"]).exits(1).stdout();
    let stray = format!("the packet filter knows {}", address.as_str().unwrap());
    assert!(said.contains(&stray), "{said}");
    assert!(said.contains("`nman system check --repair` removes it"), "{said}");
    world.nman(["system", "check", "--repair"]).ok();
    assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n");
    world.run(&["--rm", "--network", "bridge", "-p", "8080:80"], &["true"]).ok();
    world.nman(["rm", "-f", "first", "second"]).ok();
    world.assert_no_container();
}

#[test]
fn a_record_of_a_connection_that_does_not_read_back_is_taken_away_by_repair() {
    let world = World::new();
    let options = ["-d", "--name", "web", "--network", "bridge", "-p", "8080:80"];
    world.run(&options, &["sleep", "1000"]).ok();
    let record = super::world::entries(&world.state().join("network/connected")).pop().unwrap();
    fs::write(&record, "{").unwrap();
    fs::write(world.state().join("network/leases/nman/10.90.0.77"), "").unwrap();
    let hint = "`nman system check --repair` removes a record that does not read back";
    world.nman(["ps"]).exits(1).says(hint);
    world.run(&["--rm", "--network", "bridge"], &["true"]).exits(125).says(hint);
    let what = format!("the record of a connection: cannot read `{}`", record.display());
    let said = world.nman(["system", "check"]).exits(1).stdout();
    assert!(said.starts_with(&format!("damaged: {what}")) && said.lines().count() == 1, "{said}");
    let said = world.nman(["system", "check", "--repair"]).exits(1).stdout();
    assert!(said.starts_with(&format!("repaired: {what}")), "{said}");
    let lease = "repaired: the address 10.90.0.77 of network `nman` belongs to no container";
    let lost = "damaged: container web is on network `nman`, and no record says so";
    assert!(said.contains(lease) && said.contains(lost), "{said}");
    world.nman(["restart", "-t", "0", "web"]).ok();
    assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n");
    world.nman(["rm", "-f", "web"]).ok();
    world.assert_no_container();
}

/// The kernel takes a link away when it comes to the namespace at its other end, and not as long as somebody has that open.
#[test]
fn a_container_whose_records_went_takes_its_link_along() {
    let world = World::new();
    world.nman(["network", "create", "other"]).ok();
    let options = ["-d", "--name", "web", "--network", "bridge", "-p", "8080:80"];
    world.run(&options, &["sleep", "1000"]).ok();
    world.nman(["network", "connect", "other", "web"]).ok();
    let address = world.inspect("web", "/NetworkSettings/IPAddress");
    let namespace = format!("/proc/{}/ns/net", world.inspect("web", "/State/Pid"));
    let namespace = fs::File::open(namespace).unwrap();
    empty_the_state(&world);
    let monitor = super::monitor::monitor_of(&world, "web");
    kill_process(Pid::from_raw(i32::try_from(monitor).unwrap()).unwrap(), Signal::KILL).unwrap();
    world.nman(["rm", "-f", "web"]).ok();
    let said = world.nman(["system", "check"]).exits(1).stdout();
    let stray = format!("the packet filter knows {}", address.as_str().unwrap());
    assert!(said.contains(&stray), "{said}");
    world.nman(["system", "check", "--repair"]).ok();
    assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n");
    drop(namespace);
    world.nman(["network", "rm", "other"]).ok();
    world.assert_no_container();
}

#[test]
fn a_container_whose_records_went_can_be_stopped_and_is_connected_by_a_restart() {
    let world = World::new();
    let options = ["-d", "--name", "web", "--network", "bridge", "-p", "8080:80"];
    world.run(&options, &["sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.1; done"]).ok();
    empty_the_state(&world);
    world.nman(["restart", "web"]).ok();
    assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n");
    empty_the_state(&world);
    world.nman(["stop", "web"]).ok();
    assert_eq!(world.inspect("web", "/State/ExitCode"), 5);
    world.nman(["rm", "web"]).ok();
    world.assert_no_container();
}
