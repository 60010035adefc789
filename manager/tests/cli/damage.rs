//! Files that a power cut or a bad disk has emptied: one of them takes nothing else from view, prune keeps what may belong
//! to it, and `rm -f`, `rmi` and `system check --repair` clear it away.

use super::world::{IMAGE, World, entries, eventually};
use nconform::fixture::strace;
use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_remount, unmount};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

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
        assert!(entries(&world.path("root/containers")).iter().all(|path| {
            ["names", "lock", "unfinished"].iter().any(|name| path.ends_with(name))
        }));
    }
}

#[test]
fn a_container_that_runs_without_its_state_is_waited_for_and_stopped_also_while_it_is_paused() {
    let world = World::new();
    for pauses in [false, true] {
        world.run(&["-d", "--name", "wreck", "--stop-signal", "KILL"], &["sleep", "1000"]).ok();
        let (state, _) = file_of(&world, "wreck", "state.json");
        if pauses {
            world.nman(["pause", "wreck"]).ok();
        }
        fs::write(&state, "").unwrap();
        for words in [["exec", "wreck", "true"], ["cp", "wreck:/etc/passwd", "-"]] {
            let refused = world.nman(words).exits(1).stderr();
            assert!(refused.contains("which processes container wreck has"), "{refused}");
            assert!(refused.contains("hint: `nman restart wreck`"), "{refused}");
        }
        let (mut waits, said) = world.command(["wait", "wreck"]).start();
        std::thread::sleep(Duration::from_millis(300));
        assert!(waits.try_wait().unwrap().is_none(), "nothing has ended yet");

        world.nman(["stop", "wreck"]).ok();
        assert!(waits.wait().unwrap().success());
        assert_eq!(said.stdout(), "137\n");
        let listed = world.nman(["ps", "-a", "--format", "{{.State}} {{.Status}}"]).ok().stdout();
        assert!(listed.starts_with("exited Exited (137) "), "{listed}");
        assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n");
        world.nman(["rm", "wreck"]).ok();
    }
    world.assert_no_container();
}

#[test]
fn a_container_without_a_state_that_waits_to_be_started_again_is_stopped_and_removed_at_once() {
    let world = World::new();
    let cases = [("stopped", &["stop", "stopped"][..]), ("removed", &["rm", "-f", "removed"])];
    for (name, _) in cases {
        world.run(&["-d", "--name", name, "--restart", "always"], &["false"]).ok();
    }
    for (name, words) in cases {
        // The pause is 6.4 s by then.
        eventually("it waits", || {
            world.inspect(name, "/RestartCount").as_u64().unwrap() >= 7
                && world.inspect(name, "/State/Status") == "restarting"
        });
        let (state, _) = file_of(&world, name, "state.json");
        fs::write(&state, "").unwrap();
        let before = Instant::now();
        world.nman(words).ok();
        assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    }
    assert_eq!(world.inspect("stopped", "/State/Status"), "exited");
    world.nman(["rm", "stopped"]).ok();
    world.assert_no_container();
}

#[test]
fn what_a_container_is_started_from_is_on_the_disk_unless_it_goes_when_it_ends() {
    let world = World::new();
    for removes in [false, true] {
        let options = ["-y", "-f", "-e", "trace=fdatasync"];
        let (root, state) = (world.path("root"), world.path("state"));
        let place = ["--root", root.to_str().unwrap(), "--state", state.to_str().unwrap()];
        let command = ["create", "--name", "lasting", "--network", "none"];
        let words = [if removes { "--rm=true" } else { "--rm=false" }, IMAGE, "true"];
        let args: Vec<&str> = place.into_iter().chain(command).chain(words).collect();
        let (made, calls) = strace(&options, Path::new(env!("CARGO_BIN_EXE_nman")), &args);
        let id = made.ok().text();
        for (directory, file) in [
            ("containers/.half-", "container.json.new"),
            ("snapshots/active/", "chain.json"),
            ("containers/", "config.json.new"),
        ] {
            let path = format!("/{directory}{id}/{file}>) = 0");
            let synced = calls.iter().any(|call| call.ends_with(&path));
            assert_eq!(synced, !removes, "{file}: {calls:#?}");
        }
        world.nman(["rm", "lasting"]).ok();
    }
    world.assert_no_container();
}

/// The blobs that are JSON with this key.
fn documents(world: &World, key: &str) -> Vec<PathBuf> {
    let mut blobs = entries(&world.path("root/images/blobs/sha256"));
    blobs.retain(|blob| {
        let content = fs::read(blob).unwrap();
        serde_json::from_slice::<serde_json::Value>(&content).is_ok_and(|json| !json[key].is_null())
    });
    blobs
}

fn layers(world: &World) -> Vec<PathBuf> {
    let mut all = entries(&world.path("root/snapshots"));
    all.retain(|path| !path.ends_with("active"));
    all
}

fn reload(world: &World) {
    world.nman(["load", "-i", world.path("image.tar").to_str().unwrap()]).ok();
}

/// What of an image is damaged: its manifest, its configuration.
const DOCUMENTS: [&str; 2] = ["layers", "rootfs"];

#[test]
fn a_damaged_image_is_left_out_and_keeps_its_layers_until_it_is_whole_again() {
    let world = World::new();
    world.nman(["import", world.path("image.tar").to_str().unwrap(), "other"]).ok();
    let id = world.nman(["images", "-q", "--no-trunc", IMAGE]).ok().text();
    let config = world.path("root/images/blobs/sha256").join(id.trim_start_matches("sha256:"));
    for key in DOCUMENTS {
        let is_its = |blob: &PathBuf| match key {
            "rootfs" => *blob == config,
            _ => fs::read_to_string(blob).unwrap().contains(id.as_str()),
        };
        let blob = documents(&world, key).into_iter().find(is_its).unwrap();
        fs::write(&blob, "").unwrap();
        let (kept, blobs) = (layers(&world), entries(&world.path("root/images/blobs/sha256")));

        let listed = world.nman(["images", "--format", "{{.Repository}}"]).ok();
        assert_eq!(listed.stdout(), "other\n");
        assert!(
            listed.stderr().contains(&format!("image `{IMAGE}:latest` is left out")),
            "{listed}"
        );
        let refused = world.run(&["--pull", "never"], &["true"]).exits(125).stderr();
        assert!(refused.contains("is damaged"), "{refused}");
        for args in [
            &["image", "prune", "-f"][..],
            &["system", "df"],
            &["system", "df", "-v"],
            &["info"],
            &["system", "prune", "-f"],
            &["tag", "other", "further"],
            &["rmi", "further"],
        ] {
            world.nman(args).ok();
        }
        assert_eq!(layers(&world), kept);
        assert_eq!(entries(&world.path("root/images/blobs/sha256")), blobs);
        let said = world.nman(["system", "check"]).exits(1).stdout();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("loading it again mends it"), "{said}");

        reload(&world);
        assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n");
        world.run(&["--rm", "--pull", "never"], &["true"]).ok();
    }
    let last = documents(&world, "layers").remove(0);
    fs::write(last, "").unwrap();
    let kept = layers(&world);
    world.nman(["image", "prune", "-a", "-f"]).ok();
    assert_eq!(layers(&world), kept, "they may be of the image that does not tell");
    world.assert_no_container();
}

#[test]
fn a_damaged_image_is_removed_by_name_or_given_up_by_repair() {
    let world = World::new();
    for key in DOCUMENTS {
        for args in [
            &["rmi", IMAGE][..],
            &["rmi", "-f", IMAGE],
            &["rmi", "DIGEST"],
            &["system", "check", "--repair"],
        ] {
            reload(&world);
            world.nman(["tag", IMAGE, "alias"]).ok();
            let manifest = documents(&world, "layers").remove(0);
            let digest = manifest.file_name().unwrap().to_str().unwrap()[..12].to_owned();
            fs::write(documents(&world, key).remove(0), "").unwrap();
            let args = args.iter().map(|arg| if *arg == "DIGEST" { digest.as_str() } else { *arg });
            let said = world.nman(args).ok().stdout();
            if said.starts_with(&format!("Untagged: {IMAGE}:latest\n")) && !said.contains("Deleted")
            {
                let said = world.nman(["rmi", "alias"]).ok().stdout();
                assert!(said.contains("Deleted: sha256:"), "{said}");
            }
            assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n");
            assert_eq!(world.nman(["images", "-q"]).ok().stdout(), "");
            assert_eq!(layers(&world), Vec::<PathBuf>::new());
            assert_eq!(entries(&world.path("root/images/blobs/sha256")), Vec::<PathBuf>::new());
        }
    }
    world.assert_no_container();
}

#[test]
fn a_layer_whose_record_is_empty_is_unpacked_again() {
    let world = World::new();
    fs::write(layers(&world).remove(0).join("layer.json"), "").unwrap();
    world.nman(["images"]).ok();
    let archive = world.path("image.tar").display().to_string();
    let found = world.nman(["system", "check"]).exits(1).stdout();
    assert!(found.contains("layer "), "{found}");
    world.nman(["load", "-i", &archive]).ok();
    world.run(&["--rm"], &["true"]).ok();
    assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n");
}

#[test]
fn what_is_on_a_disk_that_has_become_read_only_is_listed_and_not_changed() {
    let world = World::new();
    world.run(&["--name", "old"], &["true"]).ok();
    let root = world.path("root");
    mount_bind(&root, &root).unwrap();
    mount_remount(&root, MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
    assert!(is_there(&world, &["images", "-q"]));
    assert_eq!(world.nman(["ps", "-aq"]).ok().stdout().lines().count(), 1);
    world.nman(["history", IMAGE]).ok();
    for args in [&["tag", IMAGE, "other"][..], &["run", "--network", "none", IMAGE], &["rm", "old"]]
    {
        let refused = world.nman(args).stderr();
        assert!(refused.contains("read-only file system"), "{args:?}: {refused}");
    }
    assert_eq!(world.nman(["system", "check"]).ok().text(), "No problems found");
    let said = world.nman(["system", "check", "--repair"]).exits(1);
    let refusal = format!("nman: cannot repair `{}`: read-only file system\n\n", root.display());
    assert!(said.stdout().is_empty() && said.stderr().starts_with(&refusal), "{said}");
    unmount(&root, UnmountFlags::empty()).unwrap();
    world.nman(["rm", "old"]).ok();
    world.assert_no_container();
}

#[test]
fn a_bundle_and_a_network_that_do_not_read_back_are_told() {
    let world = World::new();
    world.run(&["--name", "ended"], &["true"]).ok();
    world.run(&["-d", "--name", "up"], &["sleep", "1000"]).ok();
    world.nman(["network", "create", "torn"]).ok();
    assert_eq!(world.nman(["system", "check"]).ok().text(), "No problems found");
    let network = world.path("root/networks/torn.conflist");
    fs::write(&network, "{").unwrap();
    for name in ["ended", "up"] {
        fs::write(file_of(&world, name, "config.json").0, "").unwrap();
    }
    for args in [&["system", "check"][..], &["system", "check", "--repair"]] {
        let said = world.nman(args).exits(1).stdout();
        assert_eq!(said.lines().count(), 3, "{said}");
        assert_eq!(said.matches("/config.json`: EOF").count(), 2, "{said}");
        let end = "(`nman network rm -f torn` removes it)\n";
        let line =
            format!("network torn: cannot use the network definition `{}`", network.display());
        assert!(said.contains(&line) && said.contains(end), "{said}");
    }
    for args in [&["inspect", "torn"][..], &["inspect", "--type", "network", "torn"]] {
        let said = world.nman(args).exits(1).stderr();
        assert!(said.contains("cannot use the network definition"), "{said}");
    }
    world.nman(["network", "rm", "-f", "torn"]).ok();
    world.nman(["rm", "-f", "up"]).ok();
    fs::remove_file(file_of(&world, "ended", "config.json").0).unwrap();
    let said = world.nman(["system", "check"]).exits(1).stdout();
    assert!(said.contains("/config.json`: no such file or directory"), "{said}");
    world.nman(["rm", "ended"]).ok();
    assert_eq!(world.nman(["system", "check"]).ok().text(), "No problems found");
    world.assert_no_container();
}

#[test]
fn where_no_container_was_ever_made_and_nothing_can_be_written_there_is_none() {
    let world = World::new();
    let root = world.path("bare");
    std::fs::create_dir(&root).unwrap();
    mount_bind(&root, &root).unwrap();
    mount_remount(&root, MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
    let nman = |words: &[&str]| world.command(words).env("NMAN_ROOT", &root).run();
    assert_eq!(nman(&["ps", "-aq"]).ok().stdout(), "");
    assert_eq!(nman(&["container", "prune", "-f"]).ok().text(), "Total reclaimed space: 0B");
    for command in ["logs", "rm", "start", "top"] {
        let refused = nman(&[command, "no"]).exits(1).stderr();
        assert!(refused.contains("No such container"), "{refused}");
    }
    let refused = nman(&["create", IMAGE]).exits(1).stderr();
    assert!(refused.contains("read-only file system"), "{refused}");
    unmount(&root, UnmountFlags::DETACH).unwrap();
}

#[test]
fn where_nothing_was_ever_made_and_nothing_can_be_written_there_is_nothing() {
    let world = World::new();
    let bare = world.path("bare");
    std::fs::create_dir(&bare).unwrap();
    mount_bind(&bare, &bare).unwrap();
    mount_remount(&bare, MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
    let nman = |line: &str| {
        let words = line.split(' ').collect::<Vec<_>>();
        world
            .command(words)
            .env("NMAN_ROOT", bare.join("root"))
            .env("NMAN_STATE", bare.join("state"))
            .run()
    };
    for line in ["images -q", "volume ls -q", "network prune -f", "network ls -qf dangling=true"] {
        assert_eq!(nman(line).ok().stdout(), "", "{line}");
    }
    assert_eq!(nman("events --since 1s --until 0s").ok().stdout(), "");
    let prunes = ["image prune -af", "volume prune -af", "system prune -af --volumes"];
    for line in prunes {
        assert_eq!(nman(line).ok().text(), "Total reclaimed space: 0B", "{line}");
    }
    assert_eq!(nman("info -f {{.Images}}").ok().text(), "0");
    assert_eq!(nman("network inspect -f {{.Name}} bridge").ok().text(), "nman");
    assert!(nman("system df").ok().stdout().contains("Local Volumes   0"));
    assert_eq!(nman("system check").ok().text(), "No problems found");
    for line in ["history no", "rmi no", "save no", "tag no other", "image inspect no"] {
        let refused = nman(line).exits(1).stderr();
        assert!(refused.contains("No such image: no:latest"), "{line}: {refused}");
    }
    for line in ["volume inspect no", "volume rm no"] {
        assert!(nman(line).exits(1).stderr().contains("get no: no such volume"), "{line}");
    }
    assert!(nman("network rm no").exits(1).stderr().contains("network `no` not found"));
    for line in ["volume create some", "network create some", "load", "import -", "pull some"] {
        let refused = nman(line).exits(1).stderr();
        let said = "read-only file system\n\nhint: `";
        assert!(refused.contains(said), "{line}: {refused}");
        assert!(refused.contains("cannot be written: mount it writable"), "{line}: {refused}");
    }
    unmount(&bare, UnmountFlags::DETACH).unwrap();
}

#[test]
fn containers_are_listed_and_shown_where_the_state_directory_cannot_be_written() {
    let world = World::new();
    world
        .run(&["-d", "--name", "up", "--network", "bridge", "-p", "8080:80"], &["sleep", "1000"])
        .ok();
    let (state, empty) = (world.state().to_owned(), world.path("empty"));
    std::fs::create_dir(&empty).unwrap();
    for directory in [&state, &empty] {
        mount_bind(directory, directory).unwrap();
        mount_remount(directory, MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
    }
    for (directory, ports) in [(&state, "0.0.0.0:8080->80/tcp"), (&empty, "")] {
        let nman = |args: &[&str]| {
            world.nman([&["--state", directory.to_str().unwrap()], args].concat()).ok().stdout()
        };
        let listed = nman(&["ps", "-a", "--format", "{{.Names}} {{.Ports}}"]);
        assert_eq!(listed, format!("up {ports}\n"));
        assert_eq!(nman(&["port", "up"]).is_empty(), ports.is_empty());
        assert_eq!(nman(&["inspect", "-f", "{{.Name}}", "up"]), "/up\n");
        nman(&["network", "inspect", "nman"]);
    }
    for directory in [&state, &empty] {
        unmount(directory, UnmountFlags::empty()).unwrap();
    }
    world.nman(["rm", "-f", "up"]).ok();
    world.assert_no_container();
}

#[test]
fn a_volume_whose_record_is_damaged_is_told_and_keeps_what_is_in_it() {
    let world = World::new();
    world.shell(&["-v", "kept:/kept"], "echo content > /kept/file").ok();
    let record = world.path("root/volumes/kept/volume.json");
    for wreck in WRECKS {
        fs::write(&record, wreck).unwrap();
        let listed = world.nman(["volume", "ls", "-q"]).ok();
        assert_eq!(listed.stdout(), "");
        assert!(listed.stderr().contains("volume `kept` is left out: "), "{listed}");
        for args in [
            &["volume", "create", "kept"][..],
            &["volume", "inspect", "kept"],
            &["inspect", "kept"],
        ] {
            let refused = world.nman(args).exits(1).stderr();
            assert!(refused.contains("hint: `nman system check --repair` writes it"), "{refused}");
        }
        let said = world.nman(["system", "check"]).exits(1).stdout();
        assert!(said.starts_with("damaged: volume kept: "), "{said}");
        world.nman(["system", "check", "--repair"]).ok();
        assert_eq!(world.nman(["volume", "ls", "-q"]).ok().text(), "kept");
        assert_eq!(world.shell(&["-v", "kept:/kept"], "cat /kept/file").ok().text(), "content");
    }
    fs::write(&record, "").unwrap();
    world.nman(["volume", "rm", "kept"]).exits(1);
    assert!(record.exists());
    world.nman(["volume", "rm", "-f", "kept", "never"]).ok();
    assert!(!record.exists());
    assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n");
    world.assert_no_container();
}

#[test]
fn nothing_is_garbage_as_long_as_the_index_of_images_does_not_read_back() {
    let world = World::new();
    let index = world.path("root/images/index.json");
    let blobs = || entries(&world.path("root/images/blobs/sha256")).len();
    let (before, id) = (blobs(), world.nman(["images", "-q", "--no-trunc"]).ok().text());
    for wreck in [None, Some(""), Some("{"), Some("[]"), Some("{}")] {
        match wreck {
            None => fs::remove_file(&index).unwrap(),
            Some(wreck) => fs::write(&index, wreck).unwrap(),
        }
        for args in [
            &["image", "prune", "-f"][..],
            &["system", "prune", "-af"],
            &["images"],
            &["inspect", IMAGE],
        ] {
            let refused = world.nman(args).exits(1).stderr();
            assert!(refused.contains("which says what images there are"), "{refused}");
            assert!(refused.contains("hint: put a copy of it back, or"), "{refused}");
        }
        let said = world.nman(["system", "check"]).exits(1).stdout();
        assert_eq!(said.lines().count(), 1, "{said}");
        world.nman(["system", "check", "--repair"]).ok();
        assert_eq!(blobs(), before);
        assert_eq!(world.nman(["images", "-q", "--no-trunc"]).ok().text(), id);
        reload(&world);
        world.shell(&[], "true").ok();
    }
    assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n");
    world.assert_no_container();
}

#[test]
fn what_is_damaged_of_a_container_that_runs_is_told_and_left_to_its_end() {
    let world = World::new();
    world.run(&["-d", "--name", "up"], &["sleep", "1000"]).ok();
    for file in ["state.json", "container.json"] {
        let (path, _) = file_of(&world, "up", file);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, "{").unwrap();
        for args in [&["system", "check"][..], &["system", "check", "--repair"]] {
            let said = world.nman(args).exits(1).stdout();
            assert!(said.contains(", which runs: cannot read `"), "{said}");
        }
        let listed = world.nman(["ps", "-a"]).ok().stderr();
        assert!(!listed.contains("check --repair` mends"), "{listed}");
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n");
    world.nman(["rm", "-f", "up"]).ok();
    world.assert_no_container();
}
