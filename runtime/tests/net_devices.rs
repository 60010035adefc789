//! Network devices are moved into the container's namespace with what belongs to them, and come back if it does not come about.
//!
//! A sandbox's own network namespace plays the host; one end of a veth pair is what is moved.

use std::os::fd::{AsFd, AsRawFd};

use nconform::fixture::{BundleDir, Capture, Container, Namespace, Runtime, Sandbox};
use serde_json::{Value, json};

#[track_caller]
fn ip(args: &str) -> String {
    Capture::of("ip").args(args.split(' ')).run().ok().stdout()
}

/// A pair of which `moved0` is to be moved and `stays0` stays.
fn pair() {
    let _ = ip("link add moved0 type veth peer name stays0");
}

fn remove_pair() {
    let _ = ip("link delete stays0");
}

/// The kernel takes a network namespace apart in its own time.
fn wait_for_the_end_of_the_pair() {
    for _ in 0..1000 {
        if !ip("link").contains("stays0") {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("`stays0` is still there");
}

fn bundle(devices: Value) -> BundleDir {
    BundleDir::new().args(["sleep", "600"]).set("/linux/netDevices", devices)
}

/// What `ip -json` in the container's network namespace shows of its devices.
#[track_caller]
fn inside(container: &Container<'_>) -> Value {
    let pid = container.pid().as_raw_nonzero().to_string();
    Capture::of("nsenter").args(["-n", "-t", &pid, "ip", "-json", "address"]).run().ok().json()
}

#[track_caller]
fn device<'a>(all: &'a Value, name: &str) -> &'a Value {
    let found = all.as_array().expect("devices").iter().find(|device| device["ifname"] == name);
    found.unwrap_or_else(|| panic!("no `{name}` in {all}"))
}

/// `ADDRESS/PREFIX` of a device's global addresses.
fn addresses(device: &Value) -> Vec<String> {
    let all = device["addr_info"].as_array().expect("addresses").iter();
    all.filter(|address| address["scope"] == "global")
        .map(|a| format!("{}/{}", a["local"].as_str().expect("an address"), a["prefixlen"]))
        .collect()
}

#[test]
fn a_device_is_moved_with_its_addresses_its_mtu_and_its_hardware_address_and_taken_up() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for (name, up) in [("moved0", true), ("ctr0", false)] {
        pair();
        let _ = ip("link set moved0 mtu 1789 address 02:11:22:33:44:55");
        if up {
            let _ = ip("link set stays0 up");
            let _ = ip("link set moved0 up");
        }
        let _ = ip("address add 192.0.2.7/24 dev moved0 label moved0");
        let _ = ip("address add 198.51.100.1 peer 198.51.100.2/32 dev moved0");
        let _ = ip("address add 2001:db8::7/64 dev moved0 nodad");
        let _ = ip("address add 203.0.113.9/32 scope link dev moved0");
        let _ = ip("address add 203.0.113.8/32 dev moved0 valid_lft 1000 preferred_lft 1000");
        let bundle = bundle(json!({"moved0": {"name": name}}));
        let container = runtime.start(&bundle);
        let all = inside(&container);
        let moved = device(&all, name);
        assert_eq!(moved["mtu"], 1789);
        assert_eq!(moved["address"], "02:11:22:33:44:55");
        assert!(
            moved["flags"].as_array().expect("flags").iter().any(|flag| flag == "UP"),
            "{moved}"
        );
        let global = addresses(moved);
        assert_eq!(global, ["192.0.2.7/24", "198.51.100.1/32", "2001:db8::7/64"], "{moved}");
        assert!(moved.to_string().contains(r#""address":"198.51.100.2""#), "the peer: {moved}");
        assert!(
            !moved.to_string().contains("203.0.113"),
            "what is local or runs out stays: {moved}"
        );
        let left = Capture::of("ip").args(["link", "show", "moved0"]).run();
        assert!(left.stderr().contains("does not exist"), "{left}");
        // The kernel ends a virtual device with its namespace.
        let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
        wait_for_the_end_of_the_pair();
    }
    sandbox.assert_clean();
}

#[test]
fn several_devices_are_moved_and_a_template_gets_the_least_free_number() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let _ = ip("link add a0 type veth peer name a1");
    let _ = ip("link add b0 type veth peer name b1");
    let bundle = bundle(json!({"a0": {"name": "eth%d"}, "b0": {"name": "eth%d"}, "b1": {}}));
    let container = runtime.start(&bundle);
    let all = inside(&container);
    for name in ["eth0", "eth1", "b1"] {
        let _ = device(&all, name);
    }
    let _ = ip("link delete a1");
}

#[test]
fn a_device_is_moved_into_a_namespace_that_belongs_to_a_user_namespace() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    pair();
    let _ = ip("address add 192.0.2.7/24 dev moved0");
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    let bundle = bundle(json!({"moved0": {}}))
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map);
    let container = runtime.start(&bundle);
    assert_eq!(addresses(device(&inside(&container), "moved0")), ["192.0.2.7/24"]);
    let shown = container.exec(["ip", "address", "show", "dev", "moved0"]).ok();
    assert!(shown.stdout().contains("192.0.2.7/24"), "{shown}");
    remove_pair();
}

#[test]
fn a_device_stays_in_a_namespace_that_outlives_the_container() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    pair();
    let kept = Namespace::create();
    let path = format!("/proc/{}/fd/{}", std::process::id(), kept.as_fd().as_raw_fd());
    let bundle = bundle(json!({"moved0": {}}))
        .without_namespace("network")
        .push("/linux/namespaces", json!({"type": "network", "path": path}));
    let container = runtime.start(&bundle);
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    let left = kept.run(|| ip("link show moved0"));
    assert!(left.contains("UP"), "{left}");
    // A name that is taken there is found out before anything is moved.
    let _ = ip("link add other0 type veth peer name other1");
    let refused =
        runtime.run(&bundle.set("/linux/netDevices", json!({"other0": {"name": "moved0"}})));
    let text = refused.exits(1).stderr();
    assert!(text.contains("its namespace has a device `moved0`"), "{text}");
    assert!(text.contains("(config.json /linux/netDevices/other0)"), "{text}");
    let _ = ip("link delete other0");
    remove_pair();
}

#[test]
fn devices_come_back_as_they_were_when_the_container_does_not_come_about() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    pair();
    let _ = ip("link set stays0 up");
    let _ = ip("link set moved0 up");
    let _ = ip("address add 192.0.2.7/24 dev moved0");
    let _ = ip("address add 2001:db8::7/64 dev moved0 nodad");
    let of_both = || {
        let all: Value = serde_json::from_str(&ip("-json address")).expect("JSON");
        let moved = device(&all, "moved0");
        (addresses(moved), moved["flags"].to_string().contains("UP"), moved["address"].clone())
    };
    let before = of_both();
    let cases = [
        bundle(json!({"moved0": {"name": "ctr0"}})).args(["no-such-program"]),
        bundle(json!({"moved0": {"name": "ctr0"}, "stays0": {"name": "lo"}})),
        bundle(json!({"lo": {"name": "ctr1"}, "moved0": {"name": "ctr0"}})),
    ];
    for bundle in cases {
        let _ = runtime.run(&bundle).exits(1);
        assert_eq!(of_both(), before);
    }
    remove_pair();
    sandbox.assert_clean();
}

#[test]
fn what_cannot_be_moved_is_refused_with_its_place() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    pair();
    let cases = [
        (json!({"absent0": {}}), "cannot find the network device `absent0`"),
        (json!({"lo": {"name": "other"}}), "cannot leave their network namespace"),
        (json!({"moved0": {"name": "lo"}}), "its namespace has a device `lo`"),
        (
            json!({"moved0": {"name": "x"}, "stays0": {"name": "x"}}),
            "another device gets the name `x`",
        ),
        (json!({"moved0": {"name": "a/b"}}), "is not a name for a network device"),
        (json!({"moved0": {"name": "%s"}}), "is not a name for a network device"),
        (json!({"moved0": {"name": "0123456789abcdef"}}), "is not a name for a network device"),
    ];
    for (devices, text) in cases {
        let refused = runtime.run(&bundle(devices)).exits(1);
        assert!(refused.stderr().contains(text), "{text}: {refused}");
        assert!(refused.stderr().contains("/linux/netDevices"), "{refused}");
    }
    let without = bundle(json!({"moved0": {}})).without_namespace("network");
    let refused = runtime.run(&without).exits(1);
    assert!(refused.stderr().contains("cannot be moved without a network namespace"), "{refused}");
    let own =
        without.push("/linux/namespaces", json!({"type": "network", "path": "/proc/self/ns/net"}));
    let refused = runtime.run(&own).exits(1);
    assert!(refused.stderr().contains("the network namespace is nrun's own"), "{refused}");
    assert!(ip("link show moved0").contains("moved0"));
    remove_pair();
    sandbox.assert_clean();
}
