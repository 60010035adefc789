//! `nman build`: where a context comes from, and what becomes of the result.

use super::build::{assert_nothing_left, build, command, config, context, dockerfile, shell};
use super::faithful::CAPABILITY;
use super::server::{Answer, Server};
use super::world::{IMAGE, World, entries, eventually};
use nconform::fixture::{Capture, Registry};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

/// An archive of a directory.
fn packed(world: &World, root: &str) -> Vec<u8> {
    let path = world.path("packed.tar.gz");
    let shown = path.display().to_string();
    Capture::of("tar").args(["-C", root, "-czf", &shown, "."]).run().ok();
    fs::read(path).unwrap()
}

#[test]
fn files_are_written_to_a_directory_or_an_archive_and_no_image_is_kept() {
    let world = World::new();
    let text = format!(
        "FROM {IMAGE} AS made\nRUN mkdir -p /out/sub && echo one > /out/one && echo two > /out/sub/two && \
         ln -s /etc/passwd /out/link && chown 5:6 /out/one && chmod 4750 /out/one\n\
         FROM scratch\nCOPY --from=made /out/ /\n"
    );
    let context = context(&world, "context", &[("Dockerfile", &text)]);
    let images = || world.nman(["images", "-q"]).ok().stdout();
    let before = images();
    let out = world.path("out");
    let shown = out.display().to_string();
    assert_eq!(build(&world, &["-t", "none", "-o", &shown], &context).ok().stdout(), "");
    assert!(entries(&out).len() == 3 && out.join("sub/two").exists());
    // They are whoever's builds, and a program that ran as another does not run as that.
    let metadata = fs::metadata(out.join("one")).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o7777), (0, 0, 0o750));
    assert_eq!(fs::read_link(out.join("link")).unwrap().to_str(), Some("/etc/passwd"));
    let archive = world.path("out.tar").display().to_string();
    let option = format!("type=tar,dest={archive}");
    build(&world, &["-q", "-o", &option], &context).ok();
    let list = |args: &[&str]| Capture::of("tar").args(args).run().ok().stdout();
    let listed = list(&["--numeric-owner", "-tvf", &archive]);
    assert!(listed.contains("-rwsr-x--- 5/6") && listed.contains("sub/two"), "{listed}");
    let streamed = build(&world, &["-o", "-"], &context).ok();
    assert_eq!(streamed.stdout(), String::from_utf8_lossy(&fs::read(&archive).unwrap()));
    assert_eq!(images(), before);
    // What lies there already leads nowhere else.
    fs::remove_dir_all(out.join("sub")).unwrap();
    fs::create_dir(world.path("outside")).unwrap();
    symlink(world.path("outside"), out.join("sub")).unwrap();
    let refused = build(&world, &["-o", &shown], &context).exits(1).stderr();
    assert!(refused.contains("cannot overwrite non-directory with directory"), "{refused}");
    assert!(entries(&world.path("outside")).is_empty());
    // One that fails leaves no archive.
    fs::write(world.path("context/Dockerfile"), dockerfile("RUN false\n")).unwrap();
    let never = world.path("never.tar");
    build(&world, &["-o", &format!("type=tar,dest={}", never.display())], &context).exits(1);
    assert!(!never.exists());
    let both = dockerfile("RUN echo > /x\n");
    fs::write(world.path("context/Dockerfile"), both).unwrap();
    build(&world, &["-t", "both", "-o", "type=image", "-o", &option], &context).ok();
    assert_eq!(shell(&world, "both", "test -f /x && echo there"), "there\n");
    assert_nothing_left(&world);
}

#[test]
fn what_is_written_to_the_host_gives_nobody_more_than_they_have() {
    let world = World::new();
    let privileged = dockerfile(
        "COPY caps /d/caps\nRUN touch /d/own /d/plain && chmod 6755 /d/own && chmod 3777 /d && mknod /d/null c 1 3 && mknod /d/loop b 7 0\n",
    );
    let context = context(&world, "context", &[("Dockerfile", &privileged), ("caps", "")]);
    let caps = world.path("context/caps");
    let create = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(&caps, "security.capability", &CAPABILITY, create).unwrap();
    let host = world.path("host");
    let shown = host.display().to_string();
    let said = build(&world, &["-o", &shown], &context).ok().stderr();
    let expected = format!("WARNING: devices are not copied to `{shown}`: `d/");
    assert!(said.contains(&expected) && said.contains("` and 1 more\n"), "{said}");
    let mut found = entries(&host.join("d"));
    found.sort();
    assert_eq!(found, ["caps", "own", "plain"].map(|name| host.join("d").join(name)));
    let mut value = [0; 32];
    let none = rustix::fs::getxattr(host.join("d/caps"), "security.capability", &mut value);
    assert_eq!(none, Err(rustix::io::Errno::NODATA));
    // The image has it.
    let archive = build(&world, &["-o", "-"], &context).ok().stdout();
    assert!(archive.contains("security.capability"), "an archive has all of it");
    let mode = |name: &str| fs::metadata(host.join(name)).unwrap().mode() & 0o7777;
    assert_eq!([mode("d"), mode("d/own")], [0o1777, 0o755]);
    assert_nothing_left(&world);
}

#[test]
fn what_steps_have_made_becomes_one_layer() {
    let world = World::new();
    let text = dockerfile(
        "RUN echo a > /a && echo b > /b && mkdir /d && echo x > /d/x && chown 5:6 /d\n\
         RUN rm /b /etc/text && echo more >> /a && rm -r /d && mkdir /d && echo y > /d/y\nENV V=1\nRUN ln /a /again\n",
    );
    let context = context(&world, "context", &[("Dockerfile", &text)]);
    build(&world, &["-t", "plain"], &context).ok();
    build(&world, &["-t", "squashed", "--squash"], &context).ok();
    let layers = |image: &str| {
        let format = "{{len .RootFS.Layers}}";
        world.nman(["image", "inspect", "-f", format, image]).ok().text().parse::<usize>().unwrap()
    };
    assert_eq!((layers("plain"), layers("squashed")), (layers(IMAGE) + 3, layers(IMAGE) + 1));
    let look = "cat /a /again; ls /b /etc/text 2>/dev/null; ls /d; stat -c '%u %h' /d /a; echo $V";
    let said = shell(&world, "plain", look);
    assert_eq!(shell(&world, "squashed", look), said);
    assert!(said.starts_with("a\nmore\na\nmore\ny\n0 "), "{said}");
    let history = world.nman(["history", "--format", "{{.Comment}}", "squashed"]).ok().stdout();
    assert!(history.starts_with("3 layers in one\n"), "{history}");
    // What later builds take is what the steps have made.
    let again = build(&world, &["-t", "plain"], &context).ok().stderr();
    assert_eq!(again.matches("Using cache").count(), 3);
    world.nman(["rmi", "plain"]).ok();
    assert_eq!(shell(&world, "squashed", look), said);
    assert_nothing_left(&world);
}

#[test]
fn a_context_comes_from_a_url_or_a_repository() {
    let world = World::new();
    let text = dockerfile("COPY file /file\n");
    let root = context(
        &world,
        "context",
        &[("sub/Dockerfile", &text), ("sub/file", "sub"), ("Dockerfile", &text), ("file", "top")],
    );
    let archive = packed(&world, &root);
    let git = |args: &[&str]| {
        let own = ["-C", root.as_str(), "-c", "user.name=t", "-c", "user.email=t@t"];
        Capture::of("git").args(own).args(args).run().ok().text()
    };
    symlink("/etc", world.path("context/link")).unwrap();
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "one"]);
    git(&["update-server-info"]);
    let repository = world.path("context/.git");
    let alone = dockerfile("RUN echo alone > /file\n");
    let server = Server::start(move |request| {
        let path = request.path.split('?').next().unwrap_or_default();
        match path.strip_prefix("/repo.git/") {
            Some(path) => fs::read(repository.join(path)).map_or(Answer::status(404), Answer::ok),
            None if path == "/x.tar.gz" => Answer::ok(archive.clone()),
            None if path == "/Dockerfile" => Answer::ok(alone.clone()),
            None => Answer::status(404),
        }
    });
    let url = format!("http://jo:secret@{}", server.address());
    let built = |options: &[&str], path: &str| {
        let options = [&["-t", "remote"], options].concat();
        build(&world, &options, &format!("{url}/{path}"))
    };
    for (options, path, content) in [
        (&[][..], "x.tar.gz", "top"),
        (&["-f", "sub/Dockerfile"], "x.tar.gz", "top"),
        (&[], "Dockerfile", "alone\n"),
        (&[], "repo.git", "top"),
        (&[], "repo.git#main:sub", "sub"),
        // Not further up than the repository.
        (&[], "repo.git#main:../..", "top"),
    ] {
        built(options, path).ok();
        assert_eq!(shell(&world, "remote", "cat /file"), content, "{path}");
    }
    let refused = built(&[], "none").exits(1).stderr();
    let shown = format!("cannot build from `http://{}/none`: ", server.address());
    assert!(refused.contains(&shown) && refused.contains("404"), "{refused}");
    let refused = built(&[], "repo.git#main:link").exits(1).stderr();
    assert!(refused.contains("cannot open `link` of `http://127.0.0.1:"), "{refused}");
    assert_nothing_left(&world);
}

#[test]
fn contexts_have_names_and_go_before_stages_and_images() {
    let world = World::new();
    let text = format!(
        "FROM nowhere.invalid/base:latest AS one\nFROM {IMAGE} AS tools\nRUN false\nFROM one\nCOPY --from=tools a /a\n\
         RUN --mount=from=tools,target=/t cat /t/dir/b > /b\nCOPY --from=seen /etc/text /text\n"
    );
    let main = context(&world, "context", &[("Dockerfile", &text), ("a", "wrong")]);
    let more = context(
        &world,
        "more",
        &[("a", "a"), ("dir/b", "b"), (".dockerignore", "left\n"), ("left", "")],
    );
    let image = format!("nowhere.invalid/base=docker-image://{IMAGE}");
    let seen = format!("seen=docker-image://{IMAGE}");
    let tools = format!("tools={more}");
    let named = ["--build-context", &image, "--build-context", &tools, "--build-context", &seen];
    build(&world, &[&["-t", "named"], &named[..]].concat(), &main).ok();
    assert_eq!(shell(&world, "named", "cat /a /b /text"), "abnot a program\n");
    fs::write(world.path("context/Dockerfile"), dockerfile("COPY --from=tools left /x\n")).unwrap();
    let refused = build(&world, &named, &main).exits(1).stderr();
    assert!(refused.contains("\"left\" was not found in the build context `tools`"), "{refused}");
    fs::write(world.path("context/Dockerfile"), "FROM tools\nCOPY a /own\n").unwrap();
    let out = world.path("out").display().to_string();
    let based = [&["-o", &out], &named[..]].concat();
    build(&world, &based, &main).ok();
    let content = |name: &str| fs::read_to_string(world.path("out").join(name)).unwrap();
    assert_eq!([content("a"), content("dir/b"), content("own")], ["a", "b", "wrong"]);
    assert!(!world.path("out/left").exists());
    assert_eq!(build(&world, &based, &main).ok().stderr().matches("Using cache").count(), 2);
    assert_nothing_left(&world);
}

#[test]
fn a_stage_is_made_anew_if_that_is_asked_for_and_a_manifest_has_annotations() {
    let world = World::new();
    let text = format!(
        "FROM {IMAGE} AS one\nRUN cat /proc/sys/kernel/random/uuid > /id\nFROM {IMAGE}\nRUN echo two > /two\nCOPY --from=one /id /id\n"
    );
    let context = context(&world, "context", &[("Dockerfile", &text)]);
    let built = |options: &[&str]| {
        let options = [&["-t", "partly", "--cache-from", "some/image"], options].concat();
        build(&world, &options, &context).ok().stderr().matches("Using cache").count()
    };
    assert_eq!((built(&[]), built(&[])), (0, 3));
    assert_eq!(built(&["--no-cache-filter", "One,other"]), 1);
    built(&["--annotation", "a=b", "--annotation", "manifest:c=d", "--label", "l=m"]);
    assert_eq!(config(&world, "partly")["Labels"]["l"], "m");
    let archive = world.path("annotated.tar").display().to_string();
    world.nman(["save", "-o", &archive, "partly"]).ok();
    let unpacked = world.path("annotated");
    fs::create_dir(&unpacked).unwrap();
    let shown = unpacked.display().to_string();
    Capture::of("tar").args(["-C", &shown, "-xf", &archive]).run().ok();
    let found = Capture::of("grep")
        .args(["-rhoE", r#""annotations":\{"[ac]":"[bd]","[ac]":"[bd]"\}"#, &shown])
        .run();
    assert!(!found.ok().stdout().is_empty());
    assert_nothing_left(&world);
}

#[test]
fn an_image_that_is_removed_during_the_first_step_fails_no_build() {
    let world = World::new();
    world.nman(["tag", IMAGE, "base"]).ok();
    let gate = world.path("gate");
    // What the first step adds comes when the image is gone.
    let server = Server::start(move |_| {
        while !gate.exists() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Answer::ok("go")
    });
    let url = format!("http://{}/go", server.address());
    let text = format!("FROM base\nADD {url} /in/go\nRUN test -f /in/go && test -f /etc/text\n");
    let root = context(&world, "context", &[("Dockerfile", &text)]);
    let (mut running, said) = command(&world, &["-t", "late"], &root).start();
    eventually("the step waits", || said.stderr().contains("Step 2/3"));
    world.nman(["rmi", "-f", "base", IMAGE]).ok();
    world.nman(["image", "prune", "-af"]).ok();
    fs::write(world.path("gate"), "").unwrap();
    assert!(running.wait().unwrap().success(), "{}", said.stderr());
    assert_eq!(shell(&world, "late", "cat /in/go"), "go");
    world.nman(["rmi", "late"]).ok();
    world.nman(["system", "check"]).ok();
    // Nothing is kept any more.
    let blobs = world.root().join("images/blobs/sha256");
    assert_eq!(entries(&blobs), Vec::<std::path::PathBuf>::new());
    assert_nothing_left(&world);
}

#[test]
fn what_was_built_is_written_for_whoever_deploys_it() {
    let world = World::new();
    let registry = Registry::start();
    let name = format!("{}/app:one", registry.address());
    let text = "FROM scratch\nCOPY file /file\n";
    let context = context(&world, "context", &[("Dockerfile", text), ("file", "1")]);
    let file = world.path("metadata.json");
    let options = ["--metadata-file", file.to_str().unwrap()];
    build(&world, &[&options[..], &["-t", &name, "--push"]].concat(), &context).ok();
    let written =
        || serde_json::from_slice::<serde_json::Value>(&fs::read(&file).unwrap()).unwrap();
    let metadata = written();
    let inspected = world.nman(["image", "inspect", &name]).ok().json();
    assert_eq!(metadata["containerimage.config.digest"], inspected[0]["Id"]);
    assert_eq!(metadata["containerimage.digest"], inspected[0]["Digest"]);
    let descriptor = &metadata["containerimage.descriptor"];
    assert_eq!(descriptor["digest"], inspected[0]["Digest"]);
    assert_eq!(descriptor["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(metadata["image.name"], name);
    // By that digest the registry has it.
    let pinned = format!(
        "{}@{}",
        name.trim_end_matches(":one"),
        metadata["containerimage.digest"].as_str().unwrap()
    );
    world.nman(["pull", "-q", &pinned]).ok();
    // Of files alone there is nothing to be said, and of a build that fails nothing is.
    let out = world.path("out").display().to_string();
    build(&world, &[&options[..], &["-o", &out]].concat(), &context).ok();
    assert_eq!(written(), json!({}));
    fs::remove_file(world.path("context/file")).unwrap();
    build(&world, &options, &context).exits(1);
    assert!(!file.exists());
    // Nor of one that the registry does not take.
    drop(registry);
    fs::write(world.path("context/file"), "1").unwrap();
    let id = world.path("id");
    let options = [&options[..], &["--iidfile", id.to_str().unwrap()]].concat();
    build(&world, &[&options[..], &["-t", &name, "--push"]].concat(), &context).exits(1);
    assert!(!file.exists() && !id.exists());
    build(&world, &[&options[..], &["-t", &name]].concat(), &context).ok();
    assert!(file.exists() && id.exists());
    world.assert_no_container();
}

#[test]
fn what_is_written_of_several_platforms_is_their_list() {
    let world = World::new();
    let context = context(
        &world,
        "context",
        &[("Dockerfile", "FROM scratch\nCOPY file /file\n"), ("file", "1")],
    );
    let file = world.path("metadata.json");
    let options = ["--platform", "linux/amd64,linux/arm64", "-t", "multi", "-t", "more"];
    let written = ["--metadata-file", file.to_str().unwrap()];
    build(&world, &[&options[..], &written].concat(), &context).ok();
    let metadata: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let descriptor = &metadata["containerimage.descriptor"];
    assert_eq!(descriptor["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(metadata["containerimage.digest"], descriptor["digest"]);
    assert_eq!(
        metadata["image.name"],
        "docker.io/library/multi:latest,docker.io/library/more:latest"
    );
    assert!(metadata.get("containerimage.config.digest").is_none(), "{metadata}");
    world.assert_no_container();
}

#[test]
fn what_is_built_for_several_platforms_is_in_one_list() {
    let world = World::new();
    let text = "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH.txt /text\n";
    let files = [("Dockerfile", text), ("amd64.txt", "a"), ("arm64.txt", "b"), ("s390x.txt", "c")];
    let context = context(&world, "context", &files);
    let list = |name: &str| -> serde_json::Value {
        let shown = world.nman(["manifest", "inspect", name]).ok().stdout();
        serde_json::from_str(&shown).unwrap()
    };
    let platforms = |name: &str| -> Vec<String> {
        let list = list(name);
        let entries = list["manifests"].as_array().unwrap().iter();
        entries.map(|one| one["platform"]["architecture"].as_str().unwrap().to_owned()).collect()
    };
    let ids = world.path("ids").display().to_string();
    let both = ["-q", "--platform", "linux/amd64,linux/arm64", "-t", "multi", "-t", "more"];
    let said = build(&world, &[&both[..], &["--iidfile", &ids]].concat(), &context).ok().stdout();
    assert_eq!(said, format!("{}\n", fs::read_to_string(&ids).unwrap()));
    assert_eq!(platforms("multi"), ["amd64", "arm64"]);
    assert_eq!(list("multi"), list("more"));
    // Each has its own file; and the name alone is this machine's.
    let archive = world.path("image.tar").display().to_string();
    for (platform, expected) in [("linux/amd64", "a"), ("linux/arm64", "b")] {
        let from = format!("FROM --platform={platform} multi\n");
        let based = super::build::context(&world, expected, &[("Dockerfile", &from)]);
        build(&world, &["--platform", platform, "-o", &format!("type=tar,dest={archive}")], &based)
            .ok();
        let text = Capture::of("tar").args(["-xOf", &archive, "text"]).run().ok().stdout();
        assert_eq!(text, expected);
    }

    // Another list is added to; a platform that is in it already is replaced.
    let one = |platform: &str| {
        build(&world, &["--platform", platform, "--manifest", "own", "-t", "single"], &context)
            .ok();
    };
    one("linux/s390x");
    fs::write(world.path("context/arm64.txt"), "new").unwrap();
    one("linux/arm64");
    let before = list("own");
    fs::write(world.path("context/arm64.txt"), "newer").unwrap();
    one("linux/arm64");
    assert_eq!(platforms("own"), ["s390x", "arm64"]);
    assert_ne!(list("own")["manifests"][1], before["manifests"][1]);
    assert!(world.nman(["image", "inspect", "single"]).ok().stdout().contains("\"arm64\""));

    // One that fails for a platform leaves all as it is.
    fs::remove_file(world.path("context/s390x.txt")).unwrap();
    let images = || world.nman(["images", "-q", "--no-trunc"]).ok().stdout();
    let before = images();
    let failing = ["--platform", "linux/amd64,linux/s390x", "-t", "multi"];
    build(&world, &failing, &context).exits(1);
    assert_eq!(images(), before);
    let refused = build(&world, &["--manifest", "single", "-t", "x"], &context).exits(1).stderr();
    assert!(refused.contains("single:latest: image is not a manifest list"), "{refused}");

    let out = world.path("out");
    let shown = out.display().to_string();
    build(&world, &["--platform", "linux/amd64,arm64", "-o", &shown], &context).ok();
    assert_eq!(fs::read_to_string(out.join("linux_amd64/text")).unwrap(), "a");
    assert_eq!(fs::read_to_string(out.join("linux_arm64/text")).unwrap(), "newer");
    let one_file = ["--platform", "linux/amd64,arm64", "-o", "-"];
    let refused = build(&world, &one_file, &context).exits(1).stderr();
    assert!(refused.contains("an archive has the files of one platform"), "{refused}");
    assert_nothing_left(&world);
}

#[test]
fn a_list_has_an_entry_for_each_platform_that_was_built_for_whatever_its_image_says() {
    let world = World::new();
    let entries = |name: &str| {
        let list = world.nman(["manifest", "inspect", name]).ok().json();
        list["manifests"].as_array().unwrap().clone()
    };
    let empty = context(&world, "empty", &[("Dockerfile", "FROM scratch\nLABEL a=b\n")]);
    build(&world, &["--platform", "linux/arm/v6,linux/arm/v7", "-t", "arm"], &empty).ok();
    let of = |variant: &str| json!({"os": "linux", "architecture": "arm", "variant": variant});
    let arm = entries("arm");
    assert_eq!([&arm[0]["platform"], &arm[1]["platform"]], [&of("v6"), &of("v7")]);
    assert_eq!(arm.len(), 2);
    // Each says itself what it is for.
    assert_ne!(arm[0]["digest"], arm[1]["digest"]);

    let refused = build(&world, &["--manifest", "fresh", "-t", "fresh"], &empty).exits(1).stderr();
    assert!(refused.contains("the name of the image and of the list"), "{refused}");
    world.nman(["image", "inspect", "fresh"]).exits(1);

    let text = format!("FROM --platform=$BUILDPLATFORM {IMAGE}\n");
    let root = context(&world, "same", &[("Dockerfile", &text)]);
    let platforms = ["--platform", "linux/amd64,linux/arm64"];
    for _ in 0..2 {
        build(&world, &[&platforms[..], &["-t", "same", "--manifest", "own"]].concat(), &root).ok();
        for name in ["same", "own"] {
            let same = entries(name);
            let shown: Vec<_> = same.iter().map(|one| &one["platform"]["architecture"]).collect();
            assert_eq!(shown, ["amd64", "arm64"], "{name}");
            assert_eq!(same[0]["digest"], same[1]["digest"], "{name}");
        }
    }
    assert_nothing_left(&world);
}

#[test]
fn what_scripts_ask_of_dockers_builder_is_done_or_refused_by_its_name() {
    let world = World::new();
    let text = dockerfile("RUN echo > /x\n");
    let context = context(&world, "context", &[("Dockerfile", &text)]);
    let accepted =
        ["--load", "--provenance=false", "--sbom=false", "--compress", "--isolation=default", "-q"];
    let id = build(&world, &accepted, &context).ok().text();
    assert!(id.starts_with("sha256:"), "{id}");
    // Beside another output, the image is kept only if that is said.
    let out = world.path("out").display().to_string();
    build(&world, &["-t", "written", "-o", &out], &context).ok();
    build(&world, &["-t", "loaded", "--load", "-o", &out], &context).ok();
    assert!(world.path("out/x").exists());
    assert_eq!(world.nman(["images", "-q", "--no-trunc", "loaded"]).ok().text(), id);
    assert_eq!(world.nman(["images", "-q", "written"]).ok().text(), "");
    for flag in ["--provenance=mode=max", "--sbom=true"] {
        let refused = build(&world, &[flag], &context).exits(125).stderr();
        assert!(refused.contains("nothing is attested of an image"), "{refused}");
    }
    let refused = build(&world, &["--push"], &context).exits(1).stderr();
    assert!(refused.contains("tag is needed when pushing to registry"), "{refused}");
    // A registry that takes nothing.
    let server = Server::start(|_| Answer::status(405));
    let tag = format!("{}/app:1", server.address());
    build(&world, &["--push", "--tls-verify=false", "-t", &tag], &context).exits(1);
    assert!(server.requests().iter().any(|request| request.path.starts_with("/v2/app/")));
    assert_eq!(world.nman(["images", "-q", "--no-trunc", &tag]).ok().text(), id);
    world.nman(["-D", "ps"]).ok();
    assert_eq!(world.nman(["volume", "create", "--name", "kept"]).ok().text(), "kept");
    world.nman(["volume", "create", "--name", "kept", "other"]).exits(1);
    world.nman(["volume", "rm", "kept"]).ok();
    world.assert_no_container();
}

#[test]
fn the_time_that_everything_is_to_have_is_a_variable_and_a_build_argument() {
    let world = World::new();
    let text = dockerfile("ARG SOURCE_DATE_EPOCH\nRUN echo \"<$SOURCE_DATE_EPOCH>\" > /epoch\n");
    let root = context(&world, "context", &[("Dockerfile", &text)]);
    let dated = |options: &[&str]| {
        let options = [&["-t", "dated"], options].concat();
        let built = command(&world, &options, &root).env("SOURCE_DATE_EPOCH", "1000000000").run();
        let said = built.ok().stderr();
        assert!(!said.contains("consumed"), "{said}");
        let archive = world.path("dated.tar").display().to_string();
        world.nman(["save", "-o", &archive, "dated"]).ok();
        let words = ["-ao", "\"created\":\"[-0-9T:]*", &archive];
        let created = Capture::of("grep").args(words).run().ok().stdout();
        (shell(&world, "dated", "cat /epoch; stat -c %Y /epoch"), created)
    };
    let (said, created) = dated(&[]);
    assert_eq!(said, "<1000000000>\n1000000000\n");
    assert!(created.contains("2001-09-09T01:46:40"), "{created}");
    let (said, created) = dated(&["--build-arg", "SOURCE_DATE_EPOCH=86400"]);
    assert_eq!(said, "<86400>\n86400\n");
    assert!(created.contains("1970-01-02T00:00:00"), "{created}");
    let (said, _) = dated(&["--build-arg", "SOURCE_DATE_EPOCH="]);
    assert!(said.starts_with("<>\n") && said != "<>\n1000000000\n", "{said}");
    fs::write(
        world.path("context/Dockerfile"),
        dockerfile("RUN echo \"<$SOURCE_DATE_EPOCH>\" > /epoch\n"),
    )
    .unwrap();
    assert_eq!(dated(&[]).0, "<>\n1000000000\n");
    let refused = build(&world, &["--build-arg", "SOURCE_DATE_EPOCH=x"], &root).exits(1).stderr();
    assert!(refused.contains("SOURCE_DATE_EPOCH is `x`, not a number"), "{refused}");
    assert_nothing_left(&world);
}
