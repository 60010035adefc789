//! Containers in network namespaces that somebody else has made, `--network ns:PATH`, and what `--network` does not take.

use super::world::World;
use nconform::fixture::{HostNetwork, find_binary};
use std::os::fd::{AsFd as _, AsRawFd as _};

#[test]
fn a_container_comes_into_a_namespace_by_its_path_and_leaves_it_as_it_was() {
    let world = World::new();
    let host = HostNetwork::connect(&world.sandbox);
    let namespace = host.world().as_fd().as_raw_fd();
    let mode = format!("ns:/proc/{}/fd/{namespace}", std::process::id());
    world.run(&["-d", "--name", "aa", "--network", &mode], &["sleep", "1000"]).ok();
    let addresses = || world.nman(["exec", "aa", "ip", "-o", "-4", "addr"]).ok().stdout();
    let outside = HostNetwork::WORLD.to_string();
    assert!(addresses().contains(&outside), "{}", addresses());
    assert_eq!(world.inspect("aa", "/HostConfig/NetworkMode"), mode);
    let listed = world.nman(["ps", "--format", "{{.Networks}}"]).ok().stdout();
    assert_eq!(listed.trim_end(), mode);
    world.nman(["restart", "-t", "0", "aa"]).ok();
    assert!(addresses().contains(&outside));
    let shared = world.shell(&["--network", "container:aa"], "ip -o -4 addr").ok().stdout();
    assert!(shared.contains(&outside), "{shared}");
    let refused = world.nman(["network", "connect", "bridge", "aa"]).exits(1);
    refused.says("container sharing network namespace with another container or host");
    // What others have in there stays as it is: each container of our own may use low ports.
    let key = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start";
    assert_eq!(world.nman(["exec", "aa", "sh", "-c", key]).ok().stdout(), "1024\n");
    world.nman(["rm", "-f", "aa"]).ok();
    // The way there is still there.
    host.world().run(|| std::net::TcpListener::bind((HostNetwork::WORLD, 0)).unwrap());
    drop(host);
    world.assert_no_container();
}

#[test]
fn a_container_with_ids_of_its_own_shares_the_network_of_one_without() {
    let world = World::new();
    world.run(&["-d", "--name", "aa", "--network", "bridge"], &["sleep", "1000"]).ok();
    let own = world.inspect("aa", "/NetworkSettings/IPAddress");
    // Other runtimes enter the user namespace first, and may not enter that network's from there.
    let nrun = find_binary("nrun").expect("nrun is built");
    let runtime = ["--runtime", nrun.to_str().unwrap()];
    let options =
        [&runtime[..], &["--uidmap", "0:200000:65536", "--network", "container:aa"]].concat();
    let script = "ip -o -4 addr; grep -c ' /sys sysfs ro,' /proc/mounts; cat /proc/self/uid_map";
    let said = world.shell(&options, script).ok();
    assert!(said.stdout().contains(own.as_str().unwrap()), "{said}");
    assert!(said.stdout().contains("\n1\n"), "it may not write there: {said}");
    assert!(said.stdout().ends_with("     200000      65536\n"), "{said}");
    world.nman(["rm", "-f", "aa"]).ok();
    world.assert_no_container();
}

#[test]
fn what_is_no_namespace_for_a_container_is_refused_with_the_reason() {
    let world = World::new();
    let ours = |kind: &str| format!("ns:/proc/{}/ns/{kind}", std::process::id());
    let fifo = world.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o600.into()).unwrap();
    for (options, message) in [
        (&["--network", "ns:/nowhere"][..], "/nowhere: no such file or directory"),
        (&["--network", "ns:/etc/passwd"], "/etc/passwd: it is not a namespace"),
        (&["--network", &format!("ns:{}", fifo.display())], "fifo: it is not a namespace"),
        (&["--network", &ours("uts")], "ns/uts: it is a namespace of another kind"),
        (&["--network", "ns:net"], "an absolute path has to follow"),
        (&["--network", ""], "no name set for network: left out it is the default one"),
        (&["--network", "private"], "leave --network out, or say `bridge`"),
        (&["--network", &ours("net"), "-p", "80"], "port publishing and the ns type network mode"),
        (&["--network", &ours("net"), "--ip", "10.1.0.5"], "user defined networks"),
        (
            &["--network", &ours("net"), "--sysctl", "net.ipv4.ip_forward=1"],
            "sysctl 'net.ipv4.ip_forward' is not allowed with a network namespace that is there",
        ),
        (&["--network", "bridge", "--network", &ours("net")], "non-user-defined network-modes"),
    ] {
        let options = [&["--rm"], options].concat();
        let refused = world.run(&options, &["true"]).exits(125);
        assert!(refused.stderr().contains(message), "{options:?}: {refused}");
    }
    world.assert_no_container();
}

#[test]
fn whose_network_is_gone_that_a_container_shared_is_told_so() {
    let world = World::new();
    let other = world.run(&["-d", "--name", "aa", "--network", "bridge"], &["sleep", "1000"]).ok();
    world.run(&["-d", "--name", "bb", "--network", "container:aa"], &["sleep", "1000"]).ok();
    world.nman(["stop", "-t", "0", "bb"]).ok();
    world.nman(["rm", "-f", "aa"]).ok();
    let gone = world.nman(["start", "bb"]).exits(1);
    gone.says(&format!(
        "cannot join network of container {}, which is no more",
        other.stdout().trim_end()
    ));
    world.nman(["rm", "bb"]).ok();
    world.assert_no_container();
}
