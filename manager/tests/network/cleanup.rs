//! What is left behind: nothing, whatever happened.

use crate::world::{World, inside, output, run};
use nman::network::{self, Error, NetworkPlan, netns};
use std::os::fd::AsFd;

/// A snapshot without the one switch that stays on (its last but one part, before the records).
pub(crate) fn without_forwarding(snapshot: &str) -> String {
    let lines: Vec<&str> = snapshot.lines().filter(|line| !matches!(*line, "0" | "1")).collect();
    lines.join("\n")
}

#[test]
fn the_last_container_takes_everything_with_it() {
    let world = World::new();
    let before = world.snapshot();
    let (a, b) = (world.connect(&["8080:80"]), world.connect(&["8081:80"]));
    a.disconnect(&world);
    assert!(output("ip link show nman0").contains("nman0"));
    let rules = output("nft list table ip nman");
    assert!(
        !rules.contains(&a.address().to_string()) && rules.contains(&b.address().to_string()),
        "{rules}"
    );
    b.disconnect(&world);
    let after = world.snapshot();
    assert_eq!(without_forwarding(&after), without_forwarding(&before));
    assert!(after.contains("\n1\n") && before.contains("\n0\n"), "forwarding stays on");
}

#[test]
fn the_last_container_of_one_network_leaves_the_other_network_alone() {
    let world = World::new();
    let web = world.define("web", "web0", "10.77.0.0/24");
    let a = world.connect(&[]);
    let before = world.snapshot();
    let b = world.try_connect(&web, &["8080:80"]).unwrap();
    assert_ne!(world.snapshot(), before);
    b.disconnect(&world);
    assert_eq!(world.snapshot(), before);
    a.disconnect(&world);
}

#[test]
fn a_namespace_that_ends_takes_its_links_along_and_the_bridge_stays_until_it_is_tidied() {
    let world = World::new();
    let before = world.snapshot();
    let container = world.connect(&["8080:80"]);
    let (plan, netns) = (container.plan, container.netns);
    network::remove_with_namespace(&world.state, &plan, netns.as_fd()).unwrap();
    let rules = output("nft list table ip nman");
    assert!(!rules.contains("10.90.0.2"), "{rules}");
    // The port is free at once, and the next container uses what is there.
    let next = world.connect(&["8080:80"]);
    drop(netns);
    let veth = plan.steps.iter().find_map(|step| match step {
        network::Step::Veth { name, .. } => Some(name.to_string()),
        _ => None,
    });
    let veth = veth.unwrap();
    crate::world::until(|| !output("ip link").contains(&veth));
    network::remove_with_namespace(&world.state, &next.plan, next.netns.as_fd()).unwrap();
    assert!(output("ip link").contains("nman0"));
    // Also while the kernel has not come to the namespace yet.
    network::tidy(&world.state, &"nman0".parse().unwrap()).unwrap();
    drop(next);
    crate::world::until(|| !output("ip link").contains("master nman0"));
    crate::world::until(|| without_forwarding(&world.snapshot()) == without_forwarding(&before));
}

#[test]
fn a_container_that_starts_again_at_once_does_not_wait_for_its_old_namespace() {
    let world = World::new();
    let container = world.connect(&["8080:80"]);
    let plan = &container.plan;
    network::remove_with_namespace(&world.state, plan, container.netns.as_fd()).unwrap();
    let netns = netns::create().unwrap();
    network::apply(&world.state, plan, netns.as_fd()).unwrap();
    let server = inside(&netns, || crate::world::serve(80));
    crate::world::converse(
        Some(&world.outside),
        crate::world::to(crate::world::HOST, 8080),
        &server,
    );
    network::remove(&world.state, plan, None).unwrap();
}

/// The interface of that number was another network's in the container's last life, and its link is still there.
#[test]
fn a_container_that_starts_again_at_once_may_have_changed_its_network() {
    let world = World::new();
    let web = world.define("web", "web0", "10.77.0.0/24");
    let first = world.connect(&[]);
    network::remove_with_namespace(&world.state, &first.plan, first.netns.as_fd()).unwrap();
    let plan = world.plan_for(&first.plan.container, &web, &[]);
    let netns = netns::create().unwrap();
    network::apply(&world.state, &plan, netns.as_fd()).unwrap();
    let links = output("ip link");
    assert!(links.contains("master web0") && !links.contains("master nman0"), "{links}");
    network::remove(&world.state, &plan, None).unwrap();
    network::tidy(&world.state, &"nman0".parse().unwrap()).unwrap();
}

#[test]
fn a_bridge_in_use_is_not_tidied() {
    let world = World::new();
    let container = world.connect(&["8080:80"]);
    let server = container.serve(80);
    network::tidy(&world.state, &"nman0".parse().unwrap()).unwrap();
    crate::world::converse(
        Some(&world.outside),
        crate::world::to(crate::world::HOST, 8080),
        &server,
    );
    container.disconnect(&world);
}

#[test]
fn removing_twice_is_fine() {
    let world = World::new();
    let container = world.connect(&[]);
    container.disconnect(&world);
    container.disconnect(&world);
}

#[test]
fn a_container_whose_namespace_is_gone_can_be_removed() {
    let world = World::new();
    let before = world.snapshot();
    let container = world.connect(&["8080:80"]);
    let plan = container.plan;
    drop(container.netns);
    network::remove(&world.state, &plan, None).unwrap();
    assert_eq!(without_forwarding(&world.snapshot()), without_forwarding(&before));
}

#[test]
fn a_crash_after_any_step_leaves_nothing_that_remove_does_not_find() {
    let world = World::new();
    let definition = world.network("nman");
    let before = without_forwarding(&world.snapshot());
    let steps = world.plan(&definition, &["8080:80"]).steps.len();
    assert!(!world.plan(&definition, &[]).names().is_empty());
    for taken in 0..=steps {
        let plan = world.plan(&definition, &["8080:80"]);
        let netns = netns::create().unwrap();
        // A crash: the whole plan is on record, its first steps are taken, nothing is undone.
        let mut cut = plan.clone();
        cut.steps.truncate(taken);
        network::apply(&world.state, &cut, netns.as_fd()).unwrap();
        let record =
            std::fs::read_dir(world.root.path().join("run/network/connected")).unwrap().next();
        std::fs::write(record.unwrap().unwrap().path(), serde_json::to_vec(&plan).unwrap())
            .unwrap();

        let found = world.state.connected_to(&plan.container).unwrap();
        assert_eq!(found, [plan]);
        network::remove(&world.state, &found[0], None).unwrap();
        assert_eq!(without_forwarding(&world.snapshot()), before, "after {taken} steps");
    }
}

#[test]
fn a_failure_at_any_step_leaves_nothing() {
    let world = World::new();
    let definition = world.network("nman");
    let before = world.snapshot();
    let steps = world.plan(&definition, &[]).steps;
    for (failing, step) in steps.iter().enumerate() {
        let mut plan = world.plan(&definition, &["8080:80"]);
        plan.steps.insert(failing, broken(&plan, failing));
        let netns = netns::create().unwrap();
        let error = network::apply(&world.state, &plan, netns.as_fd()).unwrap_err();
        assert!(error.to_string().contains("nosuch"), "{error}");
        assert_eq!(world.snapshot(), before, "failure before `{step}`");
    }
}

/// A step that fails where it stands.
fn broken(plan: &NetworkPlan, index: usize) -> network::Step {
    network::Step::Up { place: plan.steps[index].place(), interface: "nosuch".parse().unwrap() }
}

#[test]
fn a_container_that_has_the_interface_already_is_refused_and_left_as_it_was() {
    let world = World::new();
    let before = world.snapshot();
    let plan = world.plan(&world.network("nman"), &[]);
    let netns = netns::create().unwrap();
    inside(&netns, || run("ip link add eth0 type veth peer name other"));
    let error = network::apply(&world.state, &plan, netns.as_fd()).unwrap_err();
    assert!(error.to_string().contains("file exists"), "{error}");
    assert_eq!(world.snapshot(), before);
    assert!(inside(&netns, || output("ip link")).contains("eth0"));
}

#[test]
fn a_port_of_another_container_is_allocated_and_stays_its_own() {
    let world = World::new();
    let definition = world.network("nman");
    let first = world.connect(&["8080:80", "127.0.0.1:8081:80"]);
    let before = world.snapshot();
    for taken in ["8080:80", "127.0.0.1:8081:80"] {
        let Err(error) = world.try_connect(&definition, &["9000:1", taken]) else {
            panic!("{taken} was given twice")
        };
        assert!(matches!(error, Error::PortAllocated { .. }), "{error}");
        let host = taken.rsplit_once(':').unwrap().0;
        assert!(
            error.to_string().contains(&format!("{host} failed: port is already allocated")),
            "{error}"
        );
        assert_eq!(world.snapshot(), before);
    }
    // Also when the loser's record outlived it.
    let loser = world.plan(&definition, &["8080:80"]);
    network::remove(&world.state, &loser, None).unwrap();
    assert_eq!(world.snapshot(), before);
    first.disconnect(&world);
}

#[test]
fn a_container_is_connected_once() {
    let world = World::new();
    let container = world.connect(&[]);
    let before = world.snapshot();
    let error = network::apply(&world.state, &container.plan, container.netns.as_fd()).unwrap_err();
    assert!(error.to_string().contains("is already connected to network `nman`"), "{error}");
    assert_eq!(world.snapshot(), before);
}

#[test]
fn what_others_made_is_not_deleted() {
    let world = World::new();
    run("ip link add nman0 type bridge");
    run("nft add table ip other");
    run("nft add chain ip other x { type filter hook forward priority 0 ; }");
    let container = world.connect(&[]);
    container.disconnect(&world);
    assert!(output("ip link").contains("nman0"), "a bridge with another link address is not ours");
    assert!(output("nft list ruleset").contains("table ip other"));
    assert!(!output("nft list ruleset").contains("table ip nman"));
}

#[test]
fn a_bridge_that_somebody_elses_interface_is_a_port_of_stays_until_that_is_gone() {
    let world = World::new();
    let container = world.connect(&[]);
    run("ip link add mine0 type veth peer name mine1");
    run("ip link set mine0 master nman0");
    container.disconnect(&world);
    assert!(output("ip link show mine0").contains("master nman0"));
    run("ip link del mine0");
    world.connect(&[]).disconnect(&world);
    assert!(!output("ip link").contains("nman0"));
}

#[test]
fn a_record_that_cannot_be_read_keeps_what_is_shared_and_nothing_else() {
    let world = World::new();
    let container = world.connect(&["8080:80"]);
    let bad = world.root.path().join("run/network/connected/bad.json");
    std::fs::write(&bad, "{").unwrap();
    let error = network::remove(&world.state, &container.plan, None).unwrap_err();
    assert!(error.to_string().contains("bad.json"), "{error}");
    assert!(
        output("ip link").contains("nman0") && !output("ip link").contains("master nman0"),
        "the veth stays"
    );
    let rules = output("nft list table ip nman");
    assert!(
        rules.contains("nman0") && !rules.contains(&container.address().to_string()),
        "{rules}"
    );
    std::fs::remove_file(&bad).unwrap();
    network::remove(&world.state, &container.plan, None).unwrap();
    assert!(!output("nft list ruleset").contains("table ip nman"));
}

#[test]
fn no_flow_outlives_its_published_port() {
    let world = World::new();
    let (_first, container) = (world.connect(&[]), world.connect(&["5353:53/udp"]));
    let server = container.bind_udp(53);
    crate::world::converse_udp(
        Some(&world.outside),
        crate::world::to(crate::world::HOST, 5353),
        &server,
    );
    // Whoever leases the address next must not get what a client still sends to the old one.
    let tracked = || {
        std::fs::read_to_string("/proc/thread-self/net/nf_conntrack")
            .unwrap()
            .contains("dport=5353")
    };
    assert!(tracked());
    container.disconnect(&world);
    assert!(!tracked());
}

#[test]
fn an_interface_that_only_has_the_bridges_name_is_refused() {
    let world = World::new();
    run("ip link add nman0 type veth peer name other");
    let before = world.snapshot();
    let Err(error) = world.try_connect(&world.network("nman"), &[]) else {
        panic!("a veth was taken for a bridge")
    };
    assert!(error.to_string().contains("create bridge `nman0`"), "{error}");
    assert_eq!(world.snapshot(), before);
}

#[test]
fn a_foreign_interface_with_the_veths_name_is_not_deleted() {
    let world = World::new();
    let plan = world.plan(&world.network("nman"), &[]);
    let name = plan
        .steps
        .iter()
        .find_map(|step| match step {
            network::Step::Veth { name, .. } => Some(name.to_string()),
            _ => None,
        })
        .unwrap();
    run(&format!("ip link add {name} type veth peer name other"));
    let before = world.snapshot();
    let netns = netns::create().unwrap();
    network::apply(&world.state, &plan, netns.as_fd()).unwrap_err();
    network::remove(&world.state, &plan, None).unwrap();
    assert_eq!(world.snapshot(), before);
}

#[test]
fn the_state_directory_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let container = world.connect(&[]);
    let mut directories = vec![world.root.path().join("run/network")];
    while let Some(directory) = directories.pop() {
        let mode = std::fs::metadata(&directory).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", directory.display());
        for entry in std::fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
            }
        }
    }
    container.disconnect(&world);
}
