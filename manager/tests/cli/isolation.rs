//! A container that was started on `none`, and leaves it.

use super::world::{IMAGE, World, eventually};
use nconform::fixture::Capture;

/// Sleeps, and says on the way what interfaces there were at its start.
const SAY_LINKS: &str = "echo $(ls /sys/class/net); exec sleep 1000";

fn links(world: &World, container: &str) -> String {
    let seen = world.nman(["exec", container, "sh", "-c", "echo $(ls /sys/class/net)"]);
    seen.ok().text()
}

/// What `inspect` and `ps` say of its networks.
#[track_caller]
fn assert_networks(world: &World, container: &str, expected: &[&str]) {
    let networks = world.inspect(container, "/NetworkSettings/Networks");
    let names: Vec<&str> = networks.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, expected);
    let listed = ["ps", "-a", "--format", "{{.Networks}}", "--filter"];
    let name = format!("name={container}");
    let listed = world.nman(listed.iter().copied().chain([name.as_str()])).ok().text();
    assert_eq!(listed, expected.join(","));
}

fn refusal(world: &World, verb: &str, network: &str, container: &str) -> String {
    world.nman(["network", verb, network, container]).exits(1).stderr()
}

#[test]
fn a_running_container_leaves_none_for_a_network_and_remembers_it() {
    let world = World::new();
    world.nman(["network", "create", "--subnet", "10.7.1.0/24", "one"]).ok();
    world.run(&["-d", "--name", "peer", "--network", "one"], &["sleep", "1000"]).ok();
    world.run(&["-d", "--name", "aa", "-p", "8080:80"], &["sh", "-c", SAY_LINKS]).ok();
    assert_networks(&world, "aa", &["none"]);
    let text = refusal(&world, "connect", "one", "aa");
    assert!(text.contains("one of the networks in private (none) mode"), "{text}");
    assert!(text.contains("`nman network disconnect none aa` takes it off that"), "{text}");
    let text = refusal(&world, "disconnect", "one", "aa");
    assert!(text.contains("is not connected to the network one"), "{text}");

    world.nman(["network", "disconnect", "none", "aa"]).ok();
    assert_networks(&world, "aa", &[]);
    let text = refusal(&world, "disconnect", "none", "aa");
    assert!(text.contains("is not connected to the network none"), "{text}");
    world.nman(["network", "connect", "--alias", "store", "one", "aa"]).ok();
    assert_networks(&world, "aa", &["one"]);
    assert_eq!(links(&world, "aa"), "eth0 lo");
    // By name, both ways.
    for (from, whom) in [("aa", "peer"), ("peer", "store")] {
        world.nman(["exec", from, "ping", "-c", "1", "-w", "5", whom]).ok();
    }
    assert_eq!(world.nman(["port", "aa"]).ok().text(), "80/tcp -> 0.0.0.0:8080");
    let text = refusal(&world, "connect", "none", "aa");
    assert!(text.contains("one of the networks in private (none) mode"), "{text}");

    world.nman(["restart", "-t", "0", "aa"]).ok();
    assert_eq!(links(&world, "aa"), "eth0 lo");
    world.nman(["exec", "aa", "ping", "-c", "1", "-w", "5", "peer"]).ok();
    assert_networks(&world, "aa", &["one"]);
    assert_eq!(world.inspect("aa", "/HostConfig/NetworkMode"), "none");

    // And back.
    world.nman(["network", "disconnect", "one", "aa"]).ok();
    world.nman(["network", "connect", "none", "aa"]).ok();
    world.nman(["restart", "-t", "0", "aa"]).ok();
    assert_eq!(links(&world, "aa"), "lo");
    assert!(world.nman(["exec", "aa", "ping", "-c", "1", "-w", "5", "127.0.0.1"]).success());
    assert_networks(&world, "aa", &["none"]);
    world.nman(["rm", "-f", "aa", "peer"]).ok();
    world.nman(["network", "rm", "one"]).ok();
    world.assert_no_container();
}

#[test]
fn a_stopped_container_leaves_none_for_its_next_start() {
    let world = World::new();
    world.nman(["network", "create", "one"]).ok();
    world.nman(["create", "--name", "aa", "--network", "none", IMAGE, "sleep", "1000"]).ok();
    assert!(refusal(&world, "connect", "one", "aa").contains("private (none) mode"));
    world.nman(["network", "disconnect", "none", "aa"]).ok();
    world.nman(["network", "connect", "one", "aa"]).ok();
    assert_networks(&world, "aa", &["one"]);
    world.nman(["start", "aa"]).ok();
    assert_eq!(links(&world, "aa"), "eth0 lo");
    assert_networks(&world, "aa", &["one"]);
    // Of no network at all it has its loopback interface, as any container.
    world.nman(["stop", "-t", "0", "aa"]).ok();
    world.nman(["network", "disconnect", "one", "aa"]).ok();
    world.nman(["start", "aa"]).ok();
    assert_networks(&world, "aa", &[]);
    world.nman(["exec", "aa", "ping", "-c", "1", "-w", "5", "127.0.0.1"]).ok();
    world.nman(["rm", "-f", "aa"]).ok();
    world.nman(["network", "rm", "one"]).ok();
    world.assert_no_container();
}

#[test]
fn a_container_that_its_policy_starts_again_has_left_none_for_good() {
    let world = World::new();
    world.nman(["network", "create", "one"]).ok();
    let options = ["-d", "--name", "aa", "--restart", "always"];
    world.run(&options, &["sh", "-c", SAY_LINKS]).ok();
    world.nman(["network", "disconnect", "none", "aa"]).ok();
    world.nman(["network", "connect", "one", "aa"]).ok();
    let last = || world.nman(["logs", "aa"]).ok().stdout().lines().last().map(str::to_owned);
    assert_eq!(last().as_deref(), Some("lo"));
    let pid = world.inspect("aa", "/State/Pid").to_string();
    Capture::of("kill").args(["-9", &pid]).run().ok();
    eventually("it sees its network", || last().as_deref() == Some("eth0 lo"));
    world.nman(["exec", "aa", "nslookup", "aa"]).ok();
    world.nman(["rm", "-f", "aa"]).ok();
    // The same in the pause between two lives.
    let again = ["sh", "-c", "echo $(ls /sys/class/net); false"];
    world.run(&options, &again).ok();
    eventually("it waits for some time", || {
        world.inspect("aa", "/RestartCount").as_u64().unwrap() >= 5
            && world.inspect("aa", "/State/Status") == "restarting"
    });
    world.nman(["network", "disconnect", "none", "aa"]).ok();
    world.nman(["network", "connect", "one", "aa"]).ok();
    eventually("it sees its network", || last().as_deref() == Some("eth0 lo"));
    world.nman(["rm", "-f", "aa"]).ok();
    world.nman(["network", "rm", "one"]).ok();
    world.assert_no_container();
}

#[test]
fn a_container_on_none_may_name_the_host() {
    let world = World::new();
    let hosts = world.shell(&["--add-host", "gate:host-gateway"], "grep gate /etc/hosts").ok();
    assert_eq!(hosts.stdout(), "10.90.0.1\tgate\n");
    world.assert_no_container();
}
