//! Plug-ins that are not built in: Debian's, and one that writes down what it is told.

use super::world::{World, eventually};
use nconform::fixture::{Capture, HostNetwork};
use std::os::unix::fs::PermissionsExt as _;

fn ip(args: &[&str]) -> String {
    Capture::of("ip").args(args).run().ok().stdout()
}

fn define(world: &World, name: &str, plugins: &str) {
    let directory = world.path("root/networks");
    std::fs::create_dir_all(&directory).unwrap();
    let text = format!(r#"{{"cniVersion":"1.0.0","name":"{name}","plugins":[{plugins}]}}"#);
    std::fs::write(directory.join(format!("{name}.conflist")), text).unwrap();
}

/// Kills a container and its monitor, and waits until that is seen: nobody has called a plug-in for its end.
fn kill_with_its_monitor(world: &World, name: &str) {
    let pid = world.inspect(name, "/State/Pid");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let monitor = stat.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().to_owned();
    for pid in [monitor, pid.to_string()] {
        Capture::of("kill").args(["-9", &pid]).run().ok();
    }
    eventually("it is seen that it has ended", || {
        world.inspect(name, "/State/Running") == serde_json::json!(false)
    });
}

#[test]
fn a_macvlan_network_leads_to_the_hosts_own_segment() {
    let world = World::new();
    let host = HostNetwork::connect(&world.sandbox);
    let parent = format!("parent={}", HostNetwork::UPLINK);
    let subnet = [
        "--subnet",
        "203.0.113.0/24",
        "--gateway",
        "203.0.113.254",
        "--ip-range",
        "203.0.113.64/26",
    ];
    let args =
        [&["network", "create", "-d", "macvlan", "-o", &parent][..], &subnet, &["lan"]].concat();
    world.nman(args).ok();
    let options =
        ["-d", "--name", "aa", "--network", "name=lan,ip=203.0.113.70", "--network-alias", "store"];
    world.run(&options, &["sleep", "1000"]).ok();
    let world_address = HostNetwork::WORLD.to_string();
    world.nman(["exec", "aa", "ping", "-c", "1", "-w", "5", &world_address]).ok();
    assert_eq!(world.inspect("aa", "/NetworkSettings/Networks/lan/IPAddress"), "203.0.113.70");
    let hosts = world.nman(["exec", "aa", "cat", "/etc/hosts"]).ok().stdout();
    assert!(hosts.contains("203.0.113.70\t"), "{hosts}");
    world.run(&["-d", "--name", "bb", "--network", "lan"], &["sleep", "1000"]).ok();
    world.nman(["exec", "bb", "ping", "-c", "1", "-w", "5", "store"]).ok();
    let used = world.nman(["network", "rm", "lan"]).exits(1);
    assert!(used.stderr().contains("has active endpoints"), "{used}");
    world.nman(["rm", "-f", "aa", "bb"]).ok();
    // host-local has given the address back.
    let again = ["--rm", "--network", "name=lan,ip=203.0.113.70"];
    world.run(&again, &["true"]).ok();
    world.nman(["network", "rm", "lan"]).ok();
    drop(host);
    world.assert_no_container();
}

#[test]
fn a_running_container_comes_to_a_macvlan_network_and_leaves_it() {
    let world = World::new();
    let host = HostNetwork::connect(&world.sandbox);
    let parent = format!("parent={}", HostNetwork::UPLINK);
    world
        .nman([
            "network",
            "create",
            "-d",
            "macvlan",
            "-o",
            &parent,
            "--subnet",
            "10.8.0.0/24",
            "lan",
        ])
        .ok();
    world.run(&["-d", "--name", "aa", "--network", "bridge"], &["sleep", "1000"]).ok();
    world.nman(["network", "connect", "lan", "aa"]).ok();
    let links = || world.nman(["exec", "aa", "ls", "/sys/class/net"]).ok().stdout();
    assert!(links().contains("eth1"));
    world.nman(["network", "disconnect", "lan", "aa"]).ok();
    assert!(!links().contains("eth1"));
    world.nman(["rm", "-f", "aa"]).ok();
    world.nman(["network", "rm", "lan"]).ok();
    drop(host);
    world.assert_no_container();
}

#[test]
fn bandwidth_comes_after_the_built_in_bridge_and_goes_with_the_container() {
    let world = World::new();
    let host = HostNetwork::connect(&world.sandbox);
    define(
        &world,
        "slow",
        r#"{"type":"bridge","bridge":"slow0","isGateway":true,"ipMasq":true,
            "ipam":{"type":"host-local","ranges":[[{"subnet":"10.8.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
           {"type":"portmap"},{"type":"firewall"},
           {"type":"bandwidth","ingressRate":800000,"ingressBurst":80000,"egressRate":800000,"egressBurst":80000}"#,
    );
    world
        .run(&["-d", "--name", "aa", "--network", "slow", "-p", "8080:80"], &["sleep", "1000"])
        .ok();
    let limits = Capture::of("tc").args(["qdisc", "show"]).run().ok().stdout();
    assert!(limits.contains("tbf") && limits.contains("ingress"), "{limits}");
    assert!(ip(&["link"]).contains("bwp"), "bandwidth's own interface");
    world.nman(["network", "reload"]).ok();
    world.nman(["stop", "-t", "0", "aa"]).ok();
    assert!(!ip(&["link"]).contains("bwp"));
    world.nman(["rm", "aa"]).ok();
    drop(host);
    world.assert_no_container();
}

/// A plug-in that writes down what it is told, and fails when there is a file that says so.
fn spy(world: &World) -> std::path::PathBuf {
    let directory = world.path("cni");
    std::fs::create_dir_all(&directory).unwrap();
    let program = directory.join("spy");
    let script = format!(
        "#!/bin/sh\nconfig=$(cat)\necho \"$CNI_COMMAND $CNI_IFNAME netns=${{CNI_NETNS:+yes}} $config\" >>{0}/log\n\
         if [ -e {0}/fail-$CNI_COMMAND ]; then echo '{{\"code\":7,\"msg\":\"no luck\",\"details\":\"today\"}}'; exit 1; fi\n\
         [ $CNI_COMMAND = ADD ] && echo '{{\"cniVersion\":\"1.0.0\",\"ips\":[{{\"address\":\"10.8.0.5/24\"}}],\"mine\":1}}'\nexit 0\n",
        directory.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

fn log(directory: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn run_spied(
    world: &World,
    directory: &std::path::Path,
    options: &[&str],
) -> nconform::fixture::Output {
    let command = world.run_command(options, &["sleep", "1000"]);
    command.env("CNI_PATH", directory).run()
}

#[test]
fn a_plugin_is_told_what_was_added_when_it_is_to_delete_also_after_a_crash() {
    let world = World::new();
    let directory = spy(&world);
    define(&world, "odd", r#"{"type":"spy","colour":"blue"}"#);
    run_spied(&world, &directory, &["-d", "--name", "aa", "--network", "odd"]).ok();
    let added = &log(&directory)[0];
    assert!(
        added.starts_with("ADD eth0 netns=yes ") && added.contains("\"colour\":\"blue\""),
        "{added}"
    );
    assert_eq!(world.inspect("aa", "/NetworkSettings/IPAddress"), "10.8.0.5");
    kill_with_its_monitor(&world, "aa");
    world.command(["rm", "-f", "aa"]).env("CNI_PATH", &directory).run().ok();
    let deleted = log(&directory).pop().unwrap();
    assert!(deleted.starts_with("DEL eth0 netns= ") && deleted.contains("\"mine\":1"), "{deleted}");
    world.assert_no_container();
}

#[test]
fn a_plugin_that_fails_is_quoted_and_what_came_before_is_undone() {
    let world = World::new();
    let directory = spy(&world);
    define(
        &world,
        "odd",
        r#"{"type":"bridge","bridge":"odd0","ipam":{"type":"host-local","subnet":"10.8.0.0/24"}},{"type":"spy"}"#,
    );
    std::fs::write(directory.join("fail-ADD"), "").unwrap();
    let failed = run_spied(&world, &directory, &["--rm", "--network", "odd"]).exits(125);
    let message = "plug-in `spy` failed (ADD for network `odd`): no luck: today";
    assert!(failed.stderr().contains(message), "{failed}");
    let seen = log(&directory);
    assert!(seen[0].contains("\"prevResult\"") && seen[0].contains("10.8.0.2/24"), "{seen:?}");
    assert!(seen[1].starts_with("DEL "), "a plug-in that failed is asked to clean up: {seen:?}");
    assert!(!ip(&["link"]).contains("odd0"));
    world.assert_no_container();
}

#[test]
fn who_waits_for_a_plugin_of_another_container_is_told_for_what() {
    let world = World::new();
    let directory = spy(&world);
    // It has said all, and takes its time to end.
    let begun = directory.join("begun");
    let script = format!(
        "#!/bin/sh\ncat >/dev/null\n[ $CNI_COMMAND = ADD ] || exit 0\n: >{}\n\
         echo '{{\"cniVersion\":\"1.0.0\",\"ips\":[{{\"address\":\"10.8.0.5/24\"}}]}}'\nexec sleep 7 >&-\n",
        begun.display()
    );
    std::fs::write(directory.join("spy"), script).unwrap();
    define(&world, "odd", r#"{"type":"spy"}"#);
    let command = world.run_command(&["-d", "--name", "aa", "--network", "odd"], &["sleep", "9"]);
    let (mut first, said) = command.env("CNI_PATH", &directory).start();
    eventually("the plug-in is at work", || begun.exists());
    let waited = world.run(&["--rm", "--network", "bridge"], &["true"]).ok();
    waited.says("another `nman` was at work on networks for ");
    assert!(first.wait().unwrap().success(), "{said}");
    world.command(["rm", "-f", "aa"]).env("CNI_PATH", &directory).run().ok();
    world.assert_no_container();
}

#[test]
fn a_plugin_that_cannot_clean_up_is_quoted_and_keeps_nothing_for_ever() {
    let world = World::new();
    let directory = spy(&world);
    define(&world, "odd", r#"{"type":"spy"}"#);
    for command in ["ADD", "DEL"] {
        std::fs::write(directory.join(format!("fail-{command}")), "").unwrap();
    }
    // It has connected nothing, and says so twice.
    let failed = run_spied(&world, &directory, &["--rm", "--network", "odd"]).exits(125);
    assert_eq!(failed.stderr().matches("no luck: today").count(), 1, "{failed}");
    world.assert_no_container();
    define(&world, "odd", r#"{"type":"spy"}"#);
    std::fs::remove_file(directory.join("fail-ADD")).unwrap();
    run_spied(&world, &directory, &["-d", "--name", "aa", "--network", "odd"]).ok();
    kill_with_its_monitor(&world, "aa");
    let remove = || world.command(["rm", "-f", "aa"]).env("CNI_PATH", &directory).run();
    let complaint = remove().exits(1);
    assert!(complaint.stderr().contains("(DEL for network `odd`): no luck: today"), "{complaint}");
    remove().ok();
    world.assert_no_container();
}

#[test]
fn a_plugin_is_asked_to_check_where_its_list_and_its_version_have_that() {
    let world = World::new();
    let directory = spy(&world);
    std::fs::write(directory.join("fail-CHECK"), "").unwrap();
    let list = |keys: &str| {
        let text = format!(r#"{{{keys},"name":"odd","plugins":[{{"type":"spy"}}]}}"#);
        std::fs::write(world.root().join("networks/odd.conflist"), text).unwrap();
    };
    define(&world, "odd", r#"{"type":"spy"}"#);
    let reload = || world.command(["network", "reload"]).env("CNI_PATH", &directory).run();
    let start = || {
        run_spied(&world, &directory, &["-d", "--name", "aa", "--network", "odd"]).ok();
    };
    let remove = || {
        world.command(["rm", "-f", "aa"]).env("CNI_PATH", &directory).run().ok();
    };
    for keys in [r#""cniVersion":"0.3.1""#, r#""cniVersion":"1.0.0","disableCheck":true"#] {
        list(keys);
        start();
        reload().ok();
        remove();
    }
    assert!(log(&directory).iter().all(|line| !line.starts_with("CHECK ")));
    list(r#""cniVersion":"1.0.0""#);
    start();
    reload().exits(1).says("(CHECK for network `odd`): no luck: today");
    remove();
    world.assert_no_container();
}

#[test]
fn what_fails_while_a_refused_network_is_left_does_not_hide_why_it_was_refused() {
    let world = World::new();
    let directory = spy(&world);
    world.nman(["network", "create", "web"]).ok();
    world.run(&["-d", "--name", "aa", "--network", "web"], &["sleep", "1000"]).ok();
    // Its default route is to make way, by an interface that is called otherwise by now.
    let pid = world.inspect("aa", "/State/Pid").to_string();
    let inside = |args: &[&str]| {
        let words = ["-t", &pid, "-n", "ip"].into_iter().chain(args.iter().copied());
        Capture::of("nsenter").args(words).run().ok();
    };
    inside(&["link", "set", "eth0", "down"]);
    inside(&["link", "set", "eth0", "name", "other"]);
    define(
        &world,
        "odd",
        r#"{"type":"bridge","bridge":"odd0","isDefaultGateway":true,
            "ipam":{"type":"host-local","subnet":"10.8.0.0/24"}},{"type":"spy"}"#,
    );
    std::fs::write(directory.join("fail-DEL"), "").unwrap();
    let connect = world.command(["network", "connect", "odd", "aa"]).env("CNI_PATH", &directory);
    let refused = connect.run().exits(1);
    refused.says("find interface `eth0`");
    refused.says("(DEL for network `odd`): no luck: today");
    std::fs::remove_file(directory.join("fail-DEL")).unwrap();
    world.command(["rm", "-f", "aa"]).env("CNI_PATH", &directory).run().ok();
    world.nman(["network", "rm", "web", "odd"]).ok();
    world.assert_no_container();
}
