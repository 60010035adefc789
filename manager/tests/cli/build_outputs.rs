//! `nman build --output`: the image as an archive, or in an image layout, for other tools and other machines.

use super::build::{assert_nothing_left, build, context, dockerfile, shell};
use super::world::{IMAGE, World};
use nconform::fixture::Capture;
use serde_json::Value;
use std::fs;

/// What skopeo sees of an image at a place of its own words; it reads each blob, and verifies it.
fn configured(world: &World, place: &str) -> Value {
    let copy = world.path("copied").display().to_string();
    let args = ["copy", "-q", "--insecure-policy", place, &format!("dir:{copy}")];
    Capture::of("skopeo").args(args).run().ok();
    Capture::of("skopeo").args(["inspect", "--config", place]).run().ok().json()
}

fn images(world: &World) -> String {
    world.nman(["images", "-q", "--no-trunc"]).ok().stdout()
}

#[test]
fn an_image_is_written_as_an_archive_in_either_form_and_not_kept() {
    let world = World::new();
    let text = dockerfile("RUN echo made > /made\nENV V=1\n");
    let context = context(&world, "context", &[("Dockerfile", &text)]);
    let before = images(&world);
    for kind in ["oci", "docker"] {
        let archive = world.path(kind).display().to_string();
        let output = format!("type={kind},dest={archive}");
        let ids = world.path("id").display().to_string();
        let options = ["-q", "-t", "app:1", "--label", "a=b", "--iidfile", &ids, "-o", &output];
        let id = build(&world, &options, &context).ok().stdout();
        assert_eq!(id.trim_end(), fs::read_to_string(&ids).unwrap());
        assert_eq!(images(&world), before);
        world.nman(["image", "inspect", id.trim_end()]).exits(1);
        let listed = Capture::of("tar").args(["-tf", &archive]).run().ok().stdout();
        assert_eq!(listed.contains("manifest.json"), kind == "docker", "{listed}");
        let config = configured(&world, &format!("{kind}-archive:{archive}"));
        assert_eq!(config["config"]["Labels"]["a"], "b");
        world.nman(["load", "-i", &archive]).ok();
        assert_eq!(shell(&world, "app:1", "cat /made; echo $V"), "made\n1\n");
        assert_eq!(world.nman(["images", "-q", "--no-trunc", "app:1"]).ok().stdout(), id);
        world.nman(["rmi", "app:1"]).ok();
    }
    // What goes to stdout is the archive, and nothing else.
    let file = world.path("file");
    let output = format!("type=oci,dest={}", file.display());
    build(&world, &["-t", "app:1", "-o", &output], &context).ok();
    let streamed = build(&world, &["-q", "-t", "app:1", "-o", "type=oci"], &context).ok();
    assert!(streamed.stdout() == String::from_utf8_lossy(&fs::read(&file).unwrap()));
    assert_eq!(images(&world), before);
    // It is kept where that was asked for, too.
    let output = format!("type=docker,dest={}", world.path("again").display());
    build(&world, &["-t", "kept", "-o", "type=docker", "-o", &output], &context).ok();
    assert_eq!(shell(&world, "kept", "cat /made"), "made\n");
    // One that fails leaves no archive.
    fs::write(world.path("context/Dockerfile"), dockerfile("RUN false\n")).unwrap();
    let never = world.path("never");
    build(&world, &["-o", &format!("type=oci,dest={}", never.display())], &context).exits(1);
    assert!(!never.exists());
    assert_nothing_left(&world);
}

#[test]
fn an_image_layout_in_a_directory_has_each_image_under_the_name_that_it_has_last() {
    let world = World::new();
    let text = dockerfile("RUN echo one > /made\n");
    let context = context(&world, "context", &[("Dockerfile", &text)]);
    let layout = world.path("layout").display().to_string();
    let output = format!("type=oci,dest={layout},tar=false");
    let entries = || {
        let index = fs::read(world.path("layout/index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        index["manifests"].as_array().unwrap().len()
    };
    build(&world, &["-t", "app:1", "-o", &output], &context).ok();
    build(&world, &["-t", "app:2", "-t", "other:1", "-o", &output], &context).ok();
    assert_eq!(entries(), 3);
    fs::write(world.path("context/Dockerfile"), dockerfile("ENV V=two\n")).unwrap();
    build(&world, &["-t", "app:2", "-o", &output], &context).ok();
    assert_eq!(entries(), 3);
    let config = configured(&world, &format!("oci:{layout}:2"));
    assert!(config["config"]["Env"].as_array().unwrap().contains(&"V=two".into()), "{config}");
    // A directory with other things in it stays what it is.
    let other = world.path("context").display().to_string();
    let output = format!("type=oci,dest={other},tar=false");
    let refused = build(&world, &["-o", &output], &context).exits(1).stderr();
    assert!(refused.contains("it is a directory with other things in it"), "{refused}");
    assert_nothing_left(&world);
}

#[test]
fn images_for_several_platforms_are_in_one_archive() {
    let world = World::new();
    let text = "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH.txt /text\n";
    let files = [("Dockerfile", text), ("amd64.txt", "a"), ("arm64.txt", "b")];
    let context = context(&world, "context", &files);
    let archive = world.path("multi.tar").display().to_string();
    let output = format!("type=oci,dest={archive}");
    let both = ["--platform", "linux/amd64,linux/arm64", "-t", "multi:1"];
    build(&world, &[&both[..], &["-o", &output]].concat(), &context).ok();
    assert_eq!(world.nman(["manifest", "exists", "multi:1"]).exits(1).stdout(), "");
    for (platform, expected) in [("amd64", "a"), ("arm64", "b")] {
        let place = format!("oci-archive:{archive}");
        let inspect = ["--override-arch", platform, "inspect", "--config", &place];
        let config = Capture::of("skopeo").args(inspect).run().ok().json();
        assert_eq!(config["architecture"], platform);
        world.nman(["load", "--platform", &format!("linux/{platform}"), "-i", &archive]).ok();
        world.nman(["create", "--name", "one", "multi:1", "x"]).ok();
        let text = world.nman(["cp", "one:/text", "-"]).ok().stdout();
        assert!(text.contains(&format!("\0{expected}\0")), "{platform}");
        world.nman(["rm", "one"]).ok();
    }
    let refused = ["-o", "type=docker,dest=never"];
    let refused = build(&world, &[&both[..], &refused].concat(), &context).exits(1).stderr();
    assert!(refused.contains("has the image of one platform\n\nhint: `type=oci`"), "{refused}");
    world.nman(["rmi", "-f", "multi:1"]).ok();
    assert!(images(&world).lines().count() <= 2, "{}", images(&world));
    world.nman(["image", "inspect", IMAGE]).ok();
    assert_nothing_left(&world);
}

#[test]
fn an_image_of_a_layout_is_a_context_that_only_the_command_line_can_name() {
    let world = World::new();
    let base = context(&world, "base", &[("Dockerfile", &dockerfile("RUN echo one > /made\n"))]);
    let layout = world.path("layout").display().to_string();
    let output = format!("type=oci,dest={layout},tar=false");
    build(&world, &["-t", "base:1", "-o", &output], &base).ok();
    let text = "FROM base\nRUN echo $(cat /made) more > /more\n\
                FROM busy\nCOPY --from=base /made /copied\nCOPY --from=0 /more /more\n";
    let root = context(&world, "context", &[("Dockerfile", text)]);
    let busy = format!("busy=docker-image://{IMAGE}");
    let built = |source: &str| {
        let named = format!("base=oci-layout://{source}");
        let options = ["-t", "app", "--build-context", &busy, "--build-context"];
        build(&world, &[&options[..], &[&named]].concat(), &root)
    };
    // The only one; and nothing of it is kept but what the steps have made.
    let before = images(&world);
    built(&layout).ok();
    assert_eq!(shell(&world, "app", "cat /copied /more"), "one\none more\n");
    assert_eq!(images(&world).lines().count(), before.lines().count() + 1);
    // By its tag, and by its digest, of several.
    fs::write(world.path("base/Dockerfile"), dockerfile("RUN echo two > /made\n")).unwrap();
    build(&world, &["-t", "base:2", "-o", &output], &base).ok();
    built(&format!("{layout}:2")).ok();
    assert_eq!(shell(&world, "app", "cat /copied /more"), "two\ntwo more\n");
    let index = fs::read(world.path("layout/index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let first = index["manifests"][0]["digest"].as_str().unwrap();
    let said = built(&format!("{layout}@{first}")).ok().stderr();
    assert_eq!(said.matches("Using cache").count(), 3, "{said}");
    assert_eq!(shell(&world, "app", "cat /copied /more"), "one\none more\n");
    // The digest counts, whatever the tag is.
    let said = built(&format!("{layout}:2@{first}")).ok().stderr();
    assert_eq!(said.matches("Using cache").count(), 3, "{said}");
    for (source, why) in [
        (layout.clone(), "2 images, and no name was given"),
        (format!("{layout}:3"), "no image `3`"),
        (format!("{layout}@{}", bundle::digest::Digest::of(b"x")), "has the digest"),
        (base.clone(), "oci-layout"),
    ] {
        let refused = built(&source).exits(1).stderr();
        assert!(
            refused.contains("cannot take `oci-layout://") && refused.contains(why),
            "{refused}"
        );
    }
    // A Dockerfile alone opens no directory.
    let text = format!("FROM oci-layout://{layout}:1\n");
    let alone = context(&world, "alone", &[("Dockerfile", &text)]);
    let refused = build(&world, &[], &alone).exits(1).stderr();
    assert!(refused.contains("invalid reference format"), "{refused}");
    assert_nothing_left(&world);
}

#[test]
fn an_image_that_only_an_index_in_a_layout_names_is_a_context_by_its_digest() {
    let world = World::new();
    let several = world.path("several").display().to_string();
    let output = format!("type=oci,dest={several},tar=false");
    let text = "FROM scratch\nARG TARGETARCH\nENV FOR=$TARGETARCH\nCOPY Dockerfile /made\n";
    let base = context(&world, "base", &[("Dockerfile", text)]);
    build(&world, &["--platform", "linux/amd64,linux/arm64", "-o", &output], &base).ok();
    let read = |path: String| -> Value {
        serde_json::from_slice(&fs::read(world.path(&format!("several/{path}"))).unwrap()).unwrap()
    };
    let list = read("index.json".to_owned())["manifests"][0]["digest"].clone();
    let list = read(format!("blobs/{}", list.as_str().unwrap().replace(':', "/")));
    let on = context(&world, "on", &[("Dockerfile", "FROM base\nLABEL a=b\n")]);
    for (at, platform) in ["amd64", "arm64"].into_iter().enumerate() {
        let digest = list["manifests"][at]["digest"].as_str().unwrap();
        let named = format!("base=oci-layout://{several}@{digest}");
        build(&world, &["-t", "on", "--build-context", &named], &on).ok();
        let variables = super::build::config(&world, "on")["Env"].clone();
        let own = Value::from(format!("FOR={platform}"));
        assert!(variables.as_array().unwrap().contains(&own), "{variables}");
    }
    assert_nothing_left(&world);
}
