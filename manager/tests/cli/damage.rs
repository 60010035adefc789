//! Files that a power cut or a bad disk has emptied: one of them takes nothing else from view, prune keeps what may belong
//! to it, and `rm -f`, `rmi` and `system check --repair` clear it away.

use super::world::{World, entries};
use std::fs;
use std::path::PathBuf;

/// What a file may have become.
const WRECKS: [&str; 2] = ["", "{\"id\": \"0"];

/// A file of a container, and the container's id.
fn file_of(world: &World, name: &str, file: &str) -> (PathBuf, String) {
    let id = world.inspect(name, "/Id").as_str().unwrap().to_owned();
    (world.path("root/containers").join(&id).join(file), id)
}

fn is_there(world: &World, args: &[&str]) -> bool {
    world.nman(args).ok().stdout().lines().count() > 0
}

#[test]
fn a_container_without_a_record_is_left_out_and_told_once_and_rm_or_repair_clears_it() {
    let world = World::new();
    world.run(&["--name", "whole"], &["true"]).ok();
    for (wreck, by_name) in WRECKS.into_iter().zip([true, false]) {
        for repairs in [false, true] {
            world.run(&["--name", "wreck", "-v", "kept:/kept"], &["true"]).ok();
            let (record, id) = file_of(&world, "wreck", "container.json");
            fs::write(&record, wreck).unwrap();

            let listed = world.nman(["ps", "-a", "--format", "{{.Names}}"]).ok();
            assert_eq!(listed.stdout(), "whole\n");
            let told = listed.stderr();
            assert_eq!(told.matches("a damaged container is left out").count(), 1, "{told}");
            assert!(told.contains(record.to_str().unwrap()), "{told}");
            assert!(told.contains(&format!("`nman rm -f {}`", &id[..12])), "{told}");
            let refused = world.nman(["rm", "wreck"]).exits(1).stderr();
            assert!(refused.contains("hint: `nman rm -f"), "{refused}");
            let said = world.nman(["system", "check"]).exits(1).stdout();
            assert!(said.starts_with(&format!("damaged: container {}: ", &id[..12])), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
            for args in [&["system", "df"][..], &["info"], &["images"], &["volume", "ls"]] {
                world.nman(args).ok();
            }

            if repairs {
                let said = world.nman(["system", "check", "--repair"]).ok().stdout();
                assert!(said.starts_with("repaired: container "), "{said}");
            } else {
                world.nman(["rm", "-f", if by_name { "wreck" } else { &id[..12] }]).ok();
            }
            assert!(!world.nman(["ps", "-a"]).ok().stderr().contains("damaged"));
            assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n");
        }
    }
    world.nman(["rm", "whole"]).ok();
    world.assert_no_container();
}

#[test]
fn prune_keeps_what_a_container_without_a_record_may_need() {
    let world = World::new();
    world.nman(["network", "create", "mesh"]).ok();
    world.run(&["--name", "wreck", "-v", "kept:/kept"], &["true"]).ok();
    world.nman(["volume", "create", "unused"]).ok();
    let (record, id) = file_of(&world, "wreck", "container.json");
    fs::write(&record, "").unwrap();
    for args in [
        &["container", "prune", "-f"][..],
        &["image", "prune", "-a", "-f"],
        &["network", "prune", "-f"],
        &["system", "prune", "-a", "-f", "--volumes"],
        &["volume", "prune", "-a", "-f"],
    ] {
        let pruned = world.nman(args).ok();
        assert!(pruned.stderr().contains("a damaged container is left out"), "{args:?} {pruned}");
    }
    assert!(record.exists());
    assert!(is_there(&world, &["images", "-q"]));
    assert!(is_there(&world, &["volume", "ls", "-q", "-f", "name=kept"]));
    assert!(is_there(&world, &["network", "ls", "-q", "-f", "name=mesh"]));
    // Its bundle says that it does not use this one.
    assert!(!is_there(&world, &["volume", "ls", "-q", "-f", "name=unused"]));
    let refused = world.nman(["volume", "rm", "kept"]).exits(1).stderr();
    assert!(refused.contains(&id), "{refused}");

    world.nman(["rm", "-f", &id]).ok();
    world.nman(["system", "prune", "-a", "-f"]).ok();
    world.nman(["volume", "prune", "-a", "-f"]).ok();
    assert!(!is_there(&world, &["images", "-q"]));
    assert!(!is_there(&world, &["volume", "ls", "-q"]));
    world.assert_no_container();
}

#[test]
fn a_container_without_a_state_counts_as_ended_and_goes_on_when_it_is_started() {
    let world = World::new();
    for wreck in WRECKS {
        world.run(&["--name", "lost"], &["true"]).ok();
        let (state, _) = file_of(&world, "lost", "state.json");
        let damage = || fs::write(&state, wreck).unwrap();
        damage();
        let listed = world.nman(["ps", "-a", "--format", "{{.Names}} {{.Status}}"]).ok();
        assert_eq!(listed.stdout(), "lost Exited (255)\n");
        assert!(listed.stderr().contains("the state of container `lost` is not known"), "{listed}");
        for args in [&["system", "prune", "-f"][..], &["container", "prune", "-f"]] {
            world.nman(args).ok();
        }
        assert!(state.exists(), "an unknown state is no reason to remove it");
        assert!(world.nman(["system", "check"]).exits(1).stdout().contains("state.json"));
        let said = world.nman(["system", "check", "--repair"]).ok().stdout();
        assert!(said.starts_with("repaired: container "), "{said}");
        assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n");
        damage();
        world.nman(["start", "-a", "lost"]).ok();
        assert_eq!(world.inspect("lost", "/State/ExitCode"), 0);
        damage();
        world.nman(["rm", "-f", "lost"]).ok();
    }
    world.assert_no_container();
}

#[test]
fn a_container_that_runs_without_its_records_is_removed_wholly() {
    let world = World::new();
    for files in [&["container.json"][..], &["state.json"], &["container.json", "state.json"]] {
        let options = ["-d", "--name", "wreck", "--network", "bridge"];
        world.run(&options, &["sleep", "1000"]).ok();
        let (_, id) = file_of(&world, "wreck", "");
        for file in files {
            fs::write(world.path("root/containers").join(&id).join(file), "").unwrap();
        }
        world.nman(["ps", "-a"]).ok();
        world.nman(["rm", "-f", "wreck"]).ok();
        world.assert_no_container();
        assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n");
        assert!(
            entries(&world.path("root/containers"))
                .iter()
                .all(|path| { path.ends_with("names") || path.ends_with("lock") })
        );
    }
}
