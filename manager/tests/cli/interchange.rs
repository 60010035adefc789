//! Archives that other engines read, and those of theirs that we read.

use super::build::{build, context, shell};
use super::world::{IMAGE, World};
use nconform::fixture::{Capture, Output, Registry};
use std::fs;
use std::path::Path;

fn skopeo(from: &str, to: &str) -> Output {
    Capture::of("skopeo").args(["copy", "-q", "--insecure-policy", from, to]).run().ok()
}

/// podman or buildah with a storage of its own.
fn engine(world: &World, program: &str, args: &[&str]) -> Output {
    let at = |name: &str| world.path(name).display().to_string();
    let storage = ["--root", &at("storage"), "--runroot", &at("run"), "--storage-driver", "vfs"];
    Capture::of(program).args(storage).args(args).run().ok()
}

fn save(world: &World, args: &[&str]) -> String {
    let path = world.path("saved.tar").display().to_string();
    world.nman(["save", "-o", &path].iter().chain(args)).ok();
    path
}

fn id(world: &World, name: &str) -> String {
    world.nman(["image", "inspect", "-f", "{{.Id}}", name]).ok().text()
}

#[test]
fn what_is_saved_is_the_same_bytes_every_time_and_has_the_names_that_were_asked_for() {
    let world = World::new();
    world.nman(["tag", IMAGE, "test/busybox:other"]).ok();
    let first = fs::read(save(&world, &[IMAGE])).unwrap();
    let again = fs::read(save(&world, &[IMAGE])).unwrap();
    assert!(first == again);
    let names = |args: &[&str]| {
        let path = save(&world, args);
        let manifest = Capture::of("tar").args(["-xOf", &path, "manifest.json"]).run().ok().json();
        manifest[0]["RepoTags"].to_string()
    };
    assert_eq!(names(&["test/busybox:other"]), r#"["test/busybox:other"]"#);
    assert_eq!(names(&["test/busybox"]), r#"["test/busybox:latest","test/busybox:other"]"#);
    assert_eq!(names(&[&id(&world, IMAGE)]), "null");
    let oci = save(&world, &["--format", "oci", IMAGE]);
    let members = Capture::of("tar").args(["-tf", &oci]).run().ok().stdout();
    assert!(!members.contains("manifest.json") && members.contains("oci-layout"), "{members}");
    let error = world.nman(["save", "nope"]).exits(1).stderr();
    assert!(error.contains("No such image: nope:latest"), "{error}");
    world.assert_no_container();
}

#[test]
fn skopeo_and_umoci_read_what_is_saved_and_write_what_is_loaded() {
    let world = World::new();
    let original = id(&world, IMAGE);
    let saved = save(&world, &[IMAGE]);
    let at = |name: &str| world.path(name).display().to_string();
    for (from, kind, file) in [
        (format!("docker-archive:{saved}:{IMAGE}:latest"), "docker-archive", "one.tar"),
        (format!("oci-archive:{saved}:latest"), "oci-archive", "two.tar"),
    ] {
        skopeo(&from, &format!("{kind}:{}:example.org/back:1", at(file)));
        world.nman(["load", "-i", &at(file)]).ok();
        // skopeo compresses anew, which is no part of the image's id.
        assert_eq!(id(&world, "example.org/back:1"), original, "{kind}");
        world.nman(["rmi", "example.org/back:1"]).ok();
    }
    let layout = at("layout");
    fs::create_dir(&layout).unwrap();
    Capture::of("tar").args(["-C", &layout, "-xf", &saved]).run().ok();
    let tags = Capture::of("umoci").args(["ls", "--layout", &layout]).run().ok();
    assert_eq!(tags.text(), "latest");
    // What umoci changes, we load.
    let image = format!("{layout}:latest");
    let config =
        ["config", "--image", &image, "--tag", "example.org/changed:1", "--config.cmd", "echo"];
    Capture::of("umoci").args(config).run().ok();
    skopeo(
        &format!("oci:{layout}:example.org/changed:1"),
        &format!("oci-archive:{}:example.org/changed:1", at("three.tar")),
    );
    world.nman(["load", "-i", &at("three.tar")]).ok();
    let command =
        world.nman(["image", "inspect", "-f", "{{json .Config.Cmd}}", "example.org/changed:1"]);
    assert_eq!(command.ok().text(), r#"["echo"]"#);
    world.assert_no_container();
}

#[test]
fn podman_and_buildah_load_what_is_saved_and_save_what_is_loaded() {
    let world = World::new();
    let original = id(&world, IMAGE);
    let saved = save(&world, &[IMAGE]);
    let loaded = engine(&world, "podman", &["load", "-q", "-i", &saved]).stdout();
    assert!(loaded.contains("test/busybox:latest"), "{loaded}");
    let list = engine(&world, "buildah", &["images", "--no-trunc", "--format", "{{.ID}}"]).stdout();
    assert!(list.contains(original.trim_start_matches("sha256:")), "{list}");
    let name = "docker.io/test/busybox:latest";
    let at = |name: &str| world.path(name).display().to_string();
    for format in ["docker-archive", "oci-archive"] {
        let file = at(format);
        engine(&world, "podman", &["save", "-q", "--format", format, "-o", &file, name]);
        world.nman(["rmi", IMAGE]).ok();
        world.nman(["load", "-i", &file]).ok();
        assert_eq!(id(&world, IMAGE), original, "{format}");
    }
    let pushed = at("pushed.tar");
    let target = format!("oci-archive:{pushed}:example.org/pushed:1");
    engine(&world, "buildah", &["push", "-q", name, &target]);
    world.nman(["load", "-i", &pushed]).ok();
    assert_eq!(id(&world, "example.org/pushed:1"), original);
    assert!(Path::new(&pushed).exists());
    world.assert_no_container();
}

/// Starts dockerd with everything of its own, and lets it load one archive and save another.
const DOCKER: &str = r#"
    cd "$1"
    mkdir -p docker
    dockerd --data-root "$PWD/docker/root" --exec-root "$PWD/docker/exec" --pidfile "$PWD/docker/pid" \
        --host "unix://$PWD/docker/sock" --bridge none --iptables=false --ip6tables=false \
        --storage-driver vfs >docker/log 2>&1 &
    daemon=$!
    export DOCKER_HOST="unix://$PWD/docker/sock"
    for try in $(seq 300); do docker version >/dev/null 2>&1 && break; sleep 0.1; done
    docker load -i saved.tar && docker inspect -f '{{.Id}}' "$2" && docker save -o docker.tar "$2"
    result=$?
    [ $result = 0 ] || cat docker/log >&2
    kill $daemon; wait $daemon
    exit $result
"#;

#[test]
fn docker_loads_what_is_saved_and_saves_what_is_loaded() {
    let world = World::new();
    let original = id(&world, IMAGE);
    // A gzipped layer on top of a plain one.
    world.run(&["--name", "more"], &["touch", "/more"]).ok();
    world.nman(["commit", "more", "test/more:1"]).ok();
    let committed = id(&world, "test/more:1");
    save(&world, &["test/more:1"]);
    let directory = world.path("").display().to_string();
    let script = ["-m", "sh", "-c", DOCKER, "docker", &directory, "test/more:1"];
    let said = Capture::of("unshare").args(script).run().ok().stdout();
    assert_eq!(said, format!("Loaded image: test/more:1\n{committed}\n"));
    world.nman(["rm", "more"]).ok();
    world.nman(["rmi", "test/more:1"]).ok();
    world.nman(["load", "-i", world.path("docker.tar").to_str().unwrap()]).ok();
    assert_eq!(id(&world, "test/more:1"), committed);
    assert_eq!(id(&world, IMAGE), original);
    world.assert_no_container();
}

#[test]
fn an_image_that_only_a_list_keeps_or_notes_is_run_and_built_from() {
    let world = World::new();
    let registry = Registry::start();
    let archive = world.path("image.tar").display().to_string();
    world.nman(["save", "--format", "docker-archive", "-o", &archive, IMAGE]).ok();
    let name = format!("{}/docker:1", registry.address());
    let copy = ["copy", "-q", "--insecure-policy", "--dest-tls-verify=false", "--format", "v2s2"];
    let (from, to) = (format!("docker-archive:{archive}"), format!("docker://{name}"));
    Capture::of("skopeo").args(copy).args([&from, &to]).run().ok();
    world.nman(["pull", "-q", &name]).ok();
    let id = id(&world, &name);
    world.nman(["manifest", "create", "kept:1", &name]).ok();
    world.nman(["manifest", "create", "noted:1", &to]).ok();
    world.nman(["rmi", &name, IMAGE]).ok();
    for list in ["kept:1", "noted:1"] {
        assert_eq!(shell(&world, list, "echo ran"), "ran\n");
        world.nman(["rmi", &id]).ok();
        let text = format!("FROM {list}\nRUN echo built > /built\n");
        let root = context(&world, list, &[("Dockerfile", &text)]);
        build(&world, &["-t", "built"], &root).ok();
        assert_eq!(shell(&world, "built", "cat /built"), "built\n");
        world.nman(["rmi", "built", &id]).ok();
        world.nman(["manifest", "exists", list]).ok();
    }
}

#[test]
fn a_list_from_which_a_container_was_made_is_kept() {
    let world = World::new();
    world.nman(["manifest", "create", "used", IMAGE]).ok();
    world.nman(["manifest", "create", "--annotation", "a=b", "unused", IMAGE]).ok();
    world.nman(["create", "--name", "box", "--network", "none", "used", "true"]).ok();
    let refused = world.nman(["rmi", "used"]).exits(1).stderr();
    assert!(refused.contains("conflict: unable to remove repository reference"), "{refused}");
    world.nman(["image", "prune", "-af"]).ok();
    world.nman(["manifest", "exists", "used"]).ok();
    world.nman(["manifest", "exists", "unused"]).exits(1);
    world.nman(["rm", "box"]).ok();
    world.nman(["rmi", "used"]).ok();
    world.nman(["manifest", "exists", "used"]).exits(1);
}
