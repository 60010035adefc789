//! Images, layers, volumes and copies of a user.

use crate::world::{IMAGE, Layers, World};
use nconform::fixture::Registry;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

/// Two layers more: the upper one takes a file away, hides a directory, and has a device.
fn marked() -> Layers {
    use tar::EntryType::{Char, Directory, Regular};
    Layers::busybox()
        .layer(&[
            (Directory, "data", 0, 0o755, b""),
            (Regular, "data/gone", 0, 0o644, b"lower\n"),
            (Directory, "opaque", 0, 0o755, b""),
            (Regular, "opaque/old", 0, 0o644, b"lower\n"),
            (Regular, "mails", 8, 0o640, b"lower\n"),
        ])
        .layer(&[
            (Regular, "data/.wh.gone", 0, 0o644, b""),
            (Directory, "opaque", 0, 0o755, b""),
            (Regular, "opaque/.wh..wh..opq", 0, 0o644, b""),
            (Regular, "opaque/new", 0, 0o644, b"upper\n"),
            (Char, "opaque/null", 0, 0o666, b""),
        ])
}

/// What there is to see of it.
const LOOK: &str = "ls /data /opaque; stat -c '%u:%g %a' /mails /volume";
const SEEN: &str = "/data:\n\n/opaque:\nnew\n8:8 640\n5:5 751\n";

#[test]
fn whiteouts_and_owners_of_an_image_from_a_registry_hold() {
    let world = World::without_image();
    let registry = Registry::start();
    let archive = world.user.home().join("marked.tar");
    fs::write(&archive, marked().archive("test/marked")).unwrap();
    let source = format!("docker-archive:{}", archive.display());
    let name = registry.push(&source, "test/marked:latest");
    world.nman(["pull", &name]).ok();
    let words = ["run", "--rm", "--network", "none", &name, "sh", "-c", LOOK];
    assert_eq!(world.nman(words).ok().stdout(), SEEN);
    let check = world.nman(["system", "check"]).ok().stdout();
    assert_eq!(check, "No problems found\n");
}

/// What a container hides is a mark of overlayfs, which a commit reads and the next image has.
#[test]
fn a_commit_has_what_a_container_removed_and_made_anew() {
    let world = World::without_image();
    world.load(&marked(), "test/marked").ok();
    let script = "rm /mails; rm -r /opaque; mkdir /opaque; touch /opaque/own; chown 7:9 /opaque/own; sleep 1000";
    let words =
        ["run", "-d", "--name", "web", "--network", "none", "test/marked", "sh", "-c", script];
    world.nman(words).ok();
    let diff = || world.nman(["diff", "web"]).ok().stdout();
    crate::world::eventually("it has done that", || diff().contains("/opaque/own"));
    assert!(diff().contains("D /mails\n"), "{}", diff());
    world.nman(["commit", "web", "test/changed"]).ok();
    world.nman(["rm", "-f", "web"]).ok();
    let look = "ls /opaque; stat -c %u:%g /opaque/own; test -e /mails || echo gone";
    let words = ["run", "--rm", "--network", "none", "test/changed", "sh", "-c", look];
    assert_eq!(world.nman(words).ok().stdout(), "own\n7:9\ngone\n");
    // To a file, and back from there.
    let archive = world.user.home().join("saved.tar");
    world.nman(["save", "-o", archive.to_str().unwrap(), "test/changed"]).ok();
    assert_eq!(fs::metadata(&archive).unwrap().uid(), world.user.uid());
    world.nman(["rmi", "test/changed"]).ok();
    world.nman(["load", "-i", archive.to_str().unwrap()]).ok();
    assert_eq!(world.nman(words).ok().stdout(), "own\n7:9\ngone\n");
    world.assert_no_container();
}

#[test]
fn volumes_and_binds_belong_to_the_users_ids() {
    let world = World::new();
    let own = world.user.home().join("own");
    fs::create_dir(&own).unwrap();
    world.user.give(&own);
    let bind = format!("{}:/own", own.display());
    let script = "touch /own/root /own/mail; chown 8:12 /own/mail; echo kept >/volume/file; stat -c %u:%g /volume";
    let options = ["-v", &bind, "-v", "data:/volume"];
    assert_eq!(world.shell(&options, script).ok().stdout(), "5:5\n", "filled from the image");
    let uid = |name: &str| fs::metadata(own.join(name)).unwrap().uid();
    let (first, _) = world.user.subordinate().unwrap();
    assert_eq!((uid("root"), uid("mail")), (world.user.uid(), first + 7));
    assert_eq!(world.shell(&options, "cat /volume/file").ok().stdout(), "kept\n");
    let data = world.root().join("volumes/data/_data");
    assert_eq!(fs::metadata(data).unwrap().uid(), first + 4);
    // What the user cannot read, its container cannot either.
    fs::write("/etc/secret", "root's\n").unwrap();
    fs::set_permissions("/etc/secret", std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    let refused = world.shell(&["-v", "/etc/secret:/secret"], "cat /secret").exits(1);
    assert!(refused.stderr().contains("Permission denied"), "{refused}");
    world.nman(["volume", "rm", "data"]).ok();
    world.assert_no_container();
}

#[test]
fn files_are_copied_both_ways_and_exported() {
    let world = World::new();
    let home = world.user.home();
    fs::write(home.join("file"), "hello\n").unwrap();
    world.user.give(&home.join("file"));
    world.run(&["-d", "--name", "web"], &["sleep", "1000"]).ok();
    let outside = |name: &str| home.join(name).display().to_string();
    world.nman(["cp", &outside("file"), "web:/tmp/in"]).ok();
    assert_eq!(world.nman(["exec", "web", "stat", "-c", "%u", "/tmp/in"]).ok().stdout(), "0\n");
    world.nman(["stop", "-t", "0", "web"]).ok();
    // Of a container that does not run as well.
    world.nman(["cp", "web:/tmp/in", &outside("out")]).ok();
    let out = home.join("out");
    assert_eq!(fs::read_to_string(&out).unwrap(), "hello\n");
    assert_eq!(fs::metadata(&out).unwrap().uid(), world.user.uid());
    world.nman(["export", "-o", &outside("tree.tar"), "web"]).ok();
    let list = nconform::fixture::Capture::of("tar").args(["tvf", &outside("tree.tar")]).run().ok();
    assert!(list.stdout().contains("5/5"), "owners are the container's: {list}");
    world.nman(["import", &outside("tree.tar"), "test/imported"]).ok();
    let words = ["run", "--rm", "--network", "none", "test/imported", "/bin/cat", "/tmp/in"];
    assert_eq!(world.nman(words).ok().stdout(), "hello\n");
    world.nman(["rm", "web"]).ok();
    world.assert_no_container();
}

#[test]
fn what_is_not_used_is_pruned() {
    let world = World::new();
    world.run(&["--name", "ended"], &["true"]).ok();
    world.nman(["volume", "create", "unused"]).ok();
    let df = world.nman(["system", "df"]).ok().stdout();
    assert!(df.contains("Images          1         1"), "{df}");
    world.nman(["system", "prune", "-af", "--volumes"]).ok();
    assert_eq!(world.nman(["ps", "-aq"]).ok().stdout(), "");
    assert_eq!(world.nman(["images", "-q"]).ok().stdout(), "");
    world.nman(["system", "check"]).ok();
    world.assert_no_container();
    assert!(world.nman(["run", "--pull", "never", IMAGE]).exits(125).stderr().contains(IMAGE));
}

/// The working directory and relative paths are the caller's own.
#[test]
fn relative_paths_are_looked_up_where_the_user_stands() {
    let world = World::new();
    let home = world.user.home();
    fs::create_dir(home.join("site")).unwrap();
    fs::write(home.join("site/index"), "here\n").unwrap();
    let words =
        ["run", "--rm", "--network", "none", "-v", "./site:/site", IMAGE, "cat", "/site/index"];
    let output = world.command(words).directory(home).run().ok();
    assert_eq!(output.stdout(), "here\n");
}

/// What the host has said of the source stays: nobody but the host's root may take it away, which is what asking for `ro` alone is.
#[test]
fn a_read_only_mount_keeps_the_flags_of_its_source() {
    let world = World::new();
    let source = world.user.home().join("source");
    fs::create_dir(&source).unwrap();
    let flags = rustix::mount::MountFlags::NOSUID | rustix::mount::MountFlags::NODEV;
    rustix::mount::mount("tmpfs", &source, "tmpfs", flags, Some(c"mode=777")).unwrap();
    let bind = format!("{}:/source:ro", source.display());
    let seen = world.shell(&["-v", &bind], "grep ' /source ' /proc/mounts; ! touch /source/x");
    rustix::mount::unmount(&source, rustix::mount::UnmountFlags::empty()).unwrap();
    let seen = seen.ok().stdout();
    assert!(seen.contains(" ro,nosuid,nodev"), "{seen}");
}

/// Root's own directories are there, and only what is in them cannot be reached.
#[test]
fn directories_of_somebody_else_are_said_to_be_none_of_the_users() {
    let world = World::without_image();
    let of_root = nconform::fixture::scratch_dir();
    fs::set_permissions(of_root.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let there = of_root.path().display().to_string();
    let missing = of_root.path().join("nman").display().to_string();
    for given in [["--root", &there], ["--root", &missing], ["--state", &there]] {
        for words in [&["ps", "-a"][..], &["images"], &["run", "--rm", IMAGE, "true"]] {
            let said = world.nman(given.iter().chain(words).copied());
            assert!(!said.success());
            let hint = "permission denied\n\nhint: without root, leave --root, --state and their variables out";
            assert!(said.stderr().contains(hint), "{given:?} {words:?}: {said}");
        }
    }
}
