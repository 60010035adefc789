//! What is on disk: `df` against `du`, what prune frees, what check finds and mends.

use super::world::{IMAGE, World, entries, eventually};
use nconform::fixture::Capture;
use std::fs;
use std::path::{Path, PathBuf};

/// What `du` says of a path, in bytes.
fn du(path: &Path) -> u64 {
    let said = Capture::of("du").args(["-s", "--block-size=1"]).args([path]).run().ok().stdout();
    said.split_whitespace().next().unwrap().parse().unwrap()
}

fn bytes(world: &World, field: &str) -> Vec<u64> {
    let format = format!("{{{{.{field}}}}}");
    let said = world.nman(["system", "df", "--format", &format]).ok().stdout();
    said.lines().map(|line| line.parse().unwrap()).collect()
}

/// One more image, of a file that does not compress.
fn further_image(world: &World, name: &str) {
    let options = ["--name", "maker", "-v", "kept:/kept"];
    let script = "dd if=/dev/urandom of=/big bs=1M count=3 2>/dev/null; cp /big /kept/big";
    world.run(&options, &["sh", "-c", script]).ok();
    world.nman(["commit", "maker", name]).ok();
}

/// What the tables show is one object for a format, with whole ids and commands.
#[track_caller]
fn assert_details(world: &World) {
    let found = world.nman(["system", "df", "-v", "--format", "json"]).ok().json();
    let names = |kind: &str, field: &str| -> Vec<&str> {
        let objects = found[kind].as_array().unwrap();
        objects.iter().map(|object| object[field].as_str().unwrap()).collect()
    };
    assert!(names("Images", "Repository").contains(&"further"), "{found}");
    assert_eq!(names("Containers", "Names"), ["maker"]);
    assert_eq!(names("Containers", "ID"), [world.inspect("maker", "/Id").as_str().unwrap()]);
    assert!(names("Containers", "Command")[0].ends_with("cp /big /kept/big\""), "{found}");
    assert!(names("Volumes", "Name").contains(&"kept"), "{found}");
    assert_eq!(found["BuildCache"], serde_json::json!([]));
    let format = "{{range .Containers}}{{.Names}} {{.LocalVolumes}}{{end}}";
    assert_eq!(world.nman(["system", "df", "-v", "--format", format]).ok().stdout(), "maker 2\n");
    let table = world.nman(["system", "df", "-v", "--format", "table"]).ok().stdout();
    assert!(table.contains("   \"sh -c dd if=/dev/ur…\"   2               "), "{table}");
}

#[test]
fn df_adds_up_to_du_and_prune_frees_what_it_says() {
    let world = World::new();
    further_image(&world, "further");
    let root = world.path("root");
    assert_eq!(bytes(&world, "Bytes").iter().sum::<u64>(), du(&root));
    let table = world.nman(["system", "df"]).ok().stdout();
    for line in [
        "Images          2         1",
        "Containers      1         0",
        "Local Volumes   2         2",
    ] {
        assert!(table.contains(line), "{table}");
    }
    let details = world.nman(["system", "df", "-v"]).ok().stdout();
    assert!(
        details.contains("further") && details.contains("maker") && details.contains("kept"),
        "{details}"
    );

    assert_details(&world);

    let reclaimable = bytes(&world, "ReclaimableBytes");
    assert!(reclaimable[0] > 6 << 20, "{reclaimable:?}");
    let before = du(&root);
    let said = world.nman(["image", "prune", "-a", "-f"]).ok().stdout();
    assert!(
        said.starts_with("Deleted Images:\nuntagged: further:latest\ndeleted: sha256:"),
        "{said}"
    );
    assert!(said.contains("Total reclaimed space: 6."), "{said}");
    assert_eq!(before - du(&root), reclaimable[0]);

    let refused = world.command(["system", "prune"]).stdin("n\n").run().ok();
    assert_eq!(refused.stderr(), "");
    assert!(refused.stdout().contains("  - all stopped containers\n"), "{refused}");
    let before = du(&root);
    let said = world.nman(["system", "prune", "-a", "-f"]).ok().stdout();
    assert!(said.contains("Deleted Containers:\n") && said.contains("Deleted Images:\n"), "{said}");
    assert!(before - du(&root) > 3 << 20);
    assert_eq!(world.nman(["images", "-q"]).ok().stdout(), "");
    assert_eq!(bytes(&world, "Bytes").iter().sum::<u64>(), du(&root));
    assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n");
    world.assert_no_container();
}

#[test]
fn images_that_containers_use_are_removed_by_dockers_rules() {
    let world = World::new();
    world.nman(["tag", IMAGE, "alias:1"]).ok();
    world.run(&["-d", "--name", "user"], &["sleep", "1000"]).ok();
    assert_eq!(world.nman(["rmi", "alias:1"]).ok().stdout(), "Untagged: alias:1\n");
    let error = world.nman(["rmi", IMAGE]).exits(1).stderr();
    assert!(
        error.contains(
            "conflict: unable to remove repository reference \"test/busybox:latest\" (must force)"
        ),
        "{error}"
    );
    let id = world.nman(["images", "-q"]).ok().text();
    let error = world.nman(["rmi", "-f", &id]).exits(1).stderr();
    assert!(
        error.contains("(cannot be forced) - image is being used by running container"),
        "{error}"
    );
    assert_eq!(world.nman(["rmi", "-f", IMAGE]).ok().stdout(), "Untagged: test/busybox:latest\n");
    let dangling =
        world.nman(["images", "-f", "dangling=true", "--format", "{{.Repository}} {{.ID}}"]).ok();
    assert_eq!(dangling.text(), format!("<none> {id}"));
    assert_eq!(world.nman(["image", "prune", "-f"]).ok().stdout(), "Total reclaimed space: 0B\n");
    world.nman(["rm", "-f", "user"]).ok();
    let pruned = world.nman(["image", "prune", "-f"]).ok().stdout();
    assert!(pruned.starts_with("Deleted Images:\ndeleted: sha256:"), "{pruned}");
    world.assert_no_container();
}

fn layers(world: &World) -> Vec<PathBuf> {
    let mut all = entries(&world.path("root/snapshots"));
    all.retain(|path| !path.ends_with("active"));
    all
}

#[test]
fn check_names_what_is_damaged_and_repair_mends_it() {
    let world = World::new();
    let check = |args: &[&str]| world.nman(["system", "check"].iter().chain(args));
    assert_eq!(check(&[]).ok().stdout(), "No problems found\n");

    // A layer that lost a file is unpacked again.
    let layer = layers(&world).remove(0).join("fs/etc/passwd");
    fs::remove_file(&layer).unwrap();
    let said = check(&[]).exits(1).stdout();
    assert!(said.contains("of image `test/busybox:latest`: what was unpacked of it in"), "{said}");
    assert!(said.contains("lacks `etc/passwd`"), "{said}");
    assert!(check(&["--repair"]).ok().stdout().starts_with("repaired: layer "));
    assert!(layer.exists());
    fs::remove_dir_all(layers(&world).remove(0)).unwrap();
    assert!(check(&["--repair"]).ok().stdout().contains("is missing"));

    // What belongs to nothing goes.
    let stray = "1".repeat(64);
    for place in [
        "root/snapshots/active",
        "state/containers",
        "root/images/blobs/sha256",
        "root/snapshots",
        "root/staging",
    ] {
        fs::create_dir_all(world.path(place)).unwrap();
        let path = world.path(place).join(&stray);
        if place.ends_with("sha256") {
            fs::write(path, "x").unwrap();
        } else {
            fs::create_dir(path).unwrap();
        }
    }
    std::os::unix::fs::symlink(&stray, world.path("root/containers/names/ghost")).unwrap();
    let said = check(&[]).exits(1).stdout();
    assert_eq!(said.lines().count(), 6, "{said}");
    let said = check(&["--repair"]).ok().stdout();
    assert!(said.lines().all(|line| line.starts_with("repaired: ")), "{said}");
    assert_eq!(check(&[]).ok().stdout(), "No problems found\n");

    // A blob that is not what its name says cannot be mended here, and does not pass for good.
    let largest = entries(&world.path("root/images/blobs/sha256"));
    let largest = largest.into_iter().max_by_key(|blob| blob.metadata().unwrap().len()).unwrap();
    let mut content = fs::read(&largest).unwrap();
    content[5000] ^= 1;
    fs::write(&largest, content).unwrap();
    let said = check(&[]).exits(1).stdout();
    assert!(said.contains("(`nman system check --repair` removes it, and `nman pull "), "{said}");
    let refused = world.nman(["save", "-o", "/dev/null", IMAGE]).exits(1).stderr();
    assert!(refused.starts_with("nman: layer `sha256:"), "{refused}");
    assert!(refused.contains("\n\nhint: `nman system check --repair` removes what"), "{refused}");
    let said = check(&["--repair"]).exits(1).stdout();
    assert!(said.contains("its blob does not have this digest"), "{said}");
    assert!(said.contains("`nman pull test/busybox:latest`"), "{said}");
    assert!(!largest.exists());
    world.nman(["load", "-i", world.path("image.tar").to_str().unwrap()]).ok();
    assert_eq!(check(&[]).ok().stdout(), "No problems found\n");
    world.assert_no_container();
}

#[test]
fn the_layers_of_images_that_a_container_mounts_are_looked_at_as_its_own() {
    let world = World::new();
    world.run(&["--name", "maker"], &["touch", "/of-further"]).ok();
    world.nman(["commit", "maker", "further"]).ok();
    world.nman(["rm", "-v", "maker"]).ok();
    let mount = ["--network", "none", "--mount", "type=image,source=further,target=/img"];
    world.run(&[&["-d", "--name", "runs"], &mount[..]].concat(), &["sleep", "1000"]).ok();
    world.nman([&["create", "--name", "rests"], &mount[..], &[IMAGE, "true"]].concat()).ok();
    let check = |args: &[&str]| world.nman(["system", "check"].iter().chain(args));
    assert_eq!(check(&["--repair"]).ok().stdout(), "No problems found\n");
    world.nman(["restart", "-t", "0", "runs"]).ok();
    world.nman(["exec", "runs", "test", "-e", "/img/of-further"]).ok();

    // It is mounted: nothing is put in its place.
    let file = layers(&world).into_iter().map(|layer| layer.join("fs/of-further"));
    let file = file.into_iter().find(|file| file.exists()).unwrap();
    fs::remove_file(&file).unwrap();
    let said = check(&["--repair"]).exits(1).stdout();
    assert!(
        said.contains("lacks `of-further` (container runs runs on it: stop it first)"),
        "{said}"
    );
    world.nman(["rm", "-f", "runs"]).ok();
    check(&["--repair"]).ok();
    assert!(file.exists());

    let id = world.inspect("rests", "/Id").as_str().unwrap().to_owned();
    fs::remove_dir_all(world.path(&format!("root/snapshots/active/{id}.0"))).unwrap();
    let said = check(&[]).exits(1).stdout();
    assert!(said.starts_with(&format!("damaged: container {}: cannot read", &id[..12])), "{said}");
    world.nman(["rm", "rests"]).ok();
    world.assert_no_container();
}

#[test]
fn a_container_that_is_made_during_a_repair_is_no_orphan() {
    let world = World::new();
    let id = world.run(&["-d", "--name", "wreck"], &["sleep", "1000"]).ok().text();
    let state = world.path(&format!("root/containers/{id}/state.json"));
    let state: serde_json::Value = serde_json::from_slice(&fs::read(state).unwrap()).unwrap();
    for process in ["monitor", "pid"] {
        let pid = i32::try_from(state[process].as_i64().unwrap()).unwrap();
        let process = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    }
    eventually("it has ended", || world.inspect("wreck", "/State/Status") == "exited");
    fs::write(world.path(&format!("root/containers/{id}/container.json")), "").unwrap();

    let slow = world.slow_runtime("delete", 3);
    let repair = world.command(["system", "check", "--repair"]).env("NMAN_RUNTIME", slow);
    let (mut repair, said) = repair.start();
    eventually("it removes the wreck", || world.path("begun").exists());
    world.run(&["-d", "--name", "fresh"], &["sleep", "1000"]).ok();
    assert!(repair.wait().unwrap().success(), "{said}");
    assert_eq!(said.stdout().lines().count(), 1, "{said}");
    world.nman(["exec", "fresh", "true"]).ok();
    world.nman(["rm", "-f", "fresh"]).ok();
    world.assert_no_container();
}

#[test]
fn a_commit_or_import_that_is_killed_leaves_nothing_that_repair_does_not_remove() {
    let world = World::new();
    world.run(&["--name", "large"], &["dd", "if=/dev/urandom", "of=/big", "bs=1M", "count=8"]).ok();
    let archive = world.path("root.tar");
    world.nman(["export", "-o", archive.to_str().unwrap(), "large"]).ok();
    for delay in [5, 20, 60, 120, 250] {
        for args in
            [vec!["commit", "large", "cut"], vec!["import", archive.to_str().unwrap(), "cut2"]]
        {
            let (mut child, _) = world.command(args).start();
            std::thread::sleep(std::time::Duration::from_millis(delay));
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
    world.nman(["system", "check", "--repair"]);
    assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n");
    eventually("the store is empty", || entries(&world.path("root/staging")).is_empty());
    world.nman(["rm", "large"]).ok();
    world.nman(["system", "prune", "-a", "-f"]).ok();
    assert_eq!(layers(&world), Vec::<PathBuf>::new());
    assert_eq!(entries(&world.path("root/images/blobs/sha256")), Vec::<PathBuf>::new());
    world.assert_no_container();
}

#[test]
fn an_image_is_not_removed_while_a_container_of_it_takes_its_place() {
    let world = World::new();
    world.nman(["create", "--name", "base", "--network", "none", IMAGE]).ok();
    // The same layers, so that they stay.
    world.nman(["commit", "-c", "LABEL a=b", "base", "twin"]).ok();
    let lock = std::fs::File::open(world.path("root/containers/lock")).unwrap();
    lock.lock().unwrap();
    let create = ["create", "--name", "late", "--network", "none", "twin"];
    let (mut creating, said) = world.command(create).start();
    let waits = |pid: u32| {
        let wanted = format!("-> FLOCK  ADVISORY  WRITE {pid} ");
        std::fs::read_to_string("/proc/locks").unwrap().contains(&wanted)
    };
    eventually("it has its image and waits for its place", || waits(creating.id()));
    let (mut removing, refused) = world.command(["rmi", "twin"]).start();
    eventually("who removes images waits for it", || waits(removing.id()));
    lock.unlock().unwrap();
    assert!(creating.wait().unwrap().success(), "{said}");
    assert_eq!(removing.wait().unwrap().code(), Some(1), "{refused}");
    assert!(refused.stderr().contains("is using its referenced image"), "{refused}");
    world.nman(["rm", "late"]).ok();
    world.nman(["rmi", "twin"]).ok();
    world.nman(["rm", "base"]).ok();
    world.assert_no_container();
}

/// A disk of 64 MiB with a copy of the world's store on it, at `root`.
fn small_disk(world: &World) -> PathBuf {
    let root = world.root().to_owned();
    let small = world.path("small");
    fs::create_dir(&small).unwrap();
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", &small, "tmpfs", flags, Some(c"size=64m")).unwrap();
    Capture::of("cp").args(["-a".as_ref(), root.as_path(), &small]).run().ok();
    small
}

/// Takes all that is left of a disk, with the file that is returned.
fn fill(small: &Path) -> PathBuf {
    let filler = small.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    let full = std::io::copy(&mut std::io::repeat(1), &mut file).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    filler
}

#[test]
fn what_ends_while_the_disk_is_full_has_its_exit_code_written_down() {
    let world = World::new();
    let small = small_disk(&world);
    let nman = |words: &[&str]| world.command(words).env("NMAN_ROOT", small.join("root")).run();
    let script = |code| format!("trap 'exit {code}' USR1; echo up; while :; do sleep 0.05; done");
    for (name, policy, code) in [("plain", "no", 7), ("policy", "on-failure", 0)] {
        let script = script(code);
        let options = ["run", "-d", "--network", "none", "--name", name, "--restart", policy];
        nman(&[&options[..], &[IMAGE, "sh", "-c", &script]].concat()).ok();
        eventually("it is up", || nman(&["logs", name]).stdout() == "up\n");
    }
    let filler = fill(&small);
    let seen = |name| {
        let format = "{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}";
        nman(&["inspect", "--format", format, name]).ok().text()
    };
    for (name, code) in [("plain", 7), ("policy", 0)] {
        nman(&["kill", "-s", "USR1", name]).ok();
        assert_eq!(nman(&["wait", name]).ok().text(), code.to_string());
        assert_eq!(seen(name), format!("exited {code}"));
    }
    fs::remove_file(&filler).unwrap();
    assert_eq!(nman(&["start", "--by-policy"]).ok().text(), "");
    assert_eq!(seen("plain"), "exited 7");
    nman(&["rm", "plain", "policy"]).ok();
    rustix::mount::unmount(&small, rustix::mount::UnmountFlags::DETACH).unwrap();
    world.assert_no_container();
}

#[test]
fn a_full_disk_is_named_with_what_frees_it_and_nothing_half_made_stays() {
    let world = World::new();
    world.run(&["--name", "stopped"], &["true"]).ok();
    // As much as there is, and a little room for what makes room.
    let small = small_disk(&world);
    let command = |words: &[&str]| world.command(words).env("NMAN_ROOT", small.join("root"));
    let filler = fill(&small);
    let archive = world.path("image.tar").display().to_string();
    for words in [
        &["start", "stopped"][..],
        &["create", "--network", "none", IMAGE, "true"],
        &["run", "--network", "none", IMAGE, "true"],
        &["import", &archive, "some:1"],
    ] {
        let refused = command(words).run().stderr();
        let hint = format!(
            "no space left on device\n\nhint: the disk of `{}` is full: `nman system df` shows",
            small.join("root").display()
        );
        assert!(refused.contains(&hint), "{words:?}: {refused}");
    }
    assert_eq!(command(&["ps", "-aq"]).run().ok().stdout().lines().count(), 1);
    command(&["rm", "stopped"]).run().ok();
    // What that has freed.
    fill(&small);
    let removed = command(&["rmi", IMAGE]).run().ok().stdout();
    assert!(removed.contains("Deleted: sha256:"), "{removed}");
    fs::remove_file(&filler).unwrap();
    assert_eq!(command(&["system", "check"]).run().ok().text(), "No problems found");
    rustix::mount::unmount(&small, rustix::mount::UnmountFlags::DETACH).unwrap();
    world.nman(["rm", "stopped"]).ok();
    world.assert_no_container();
}

#[test]
fn images_and_containers_are_where_a_path_says_whatever_characters_it_has() {
    let world = World::new();
    let archive = world.path("image.tar").display().to_string();
    world.nman(["save", "-o", &archive, IMAGE]).ok();
    let root = world.path("a b\\c:d,e=\"f/root");
    fs::create_dir_all(&root).unwrap();
    let command = |words: &[&str]| world.command(words).env("NMAN_ROOT", &root).run().ok().stdout();
    command(&["load", "-i", &archive]);
    let words = ["run", "--rm", "--network", "none", "-v", "kept:/kept", IMAGE, "sh", "-c"];
    command(&[&words[..], &["echo content > /kept/file"]].concat());
    assert_eq!(command(&[&words[..], &["cat /kept/file"]].concat()), "content\n");
    world.assert_no_container();
}
