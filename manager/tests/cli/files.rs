//! The files of a container: `cp`, `diff`, `commit` and `export`, and a symlink that is swapped meanwhile.

use super::world::{IMAGE, World};
use nconform::fixture::Capture;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

/// Starts a container that does nothing.
fn idle(world: &World, name: &str, options: &[&str]) {
    let options: Vec<&str> = ["-d", "--name", name].iter().chain(options).copied().collect();
    world.run(&options, &["sleep", "1000"]).ok();
}

fn tree(at: &Path) {
    fs::create_dir_all(at.join("sub")).unwrap();
    fs::write(at.join("one"), "one\n").unwrap();
    fs::set_permissions(at.join("one"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::hard_link(at.join("one"), at.join("sub/again")).unwrap();
    symlink("one", at.join("link")).unwrap();
    let sparse = fs::File::create(at.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    for name in ["one", "sub"] {
        Capture::of("touch").args(["-d", "1960-01-02 03:04:05"]).args([at.join(name)]).run().ok();
    }
}

#[test]
fn files_of_procfs_are_copied_though_they_have_no_size() {
    let world = World::new();
    idle(&world, "web", &[]);
    let to = world.path("version");
    let said = world.nman(["cp", "--quiet=false", "web:/proc/version", to.to_str().unwrap()]);
    let said = said.ok().stderr();
    let expected = fs::read("/proc/version").unwrap();
    assert!(fs::read(&to).unwrap() == expected);
    assert!(said.contains(&format!("{}B", expected.len())), "{said}");
    // One of sysfs says that it has a page.
    for path in ["/proc/version", "/sys/kernel/rcu_expedited"] {
        let archive = world.nman(["cp", &format!("web:{path}"), "-"]).ok();
        let mut archive = tar::Archive::new(std::io::Cursor::new(archive.stdout().into_bytes()));
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        let inside = world.nman(["exec", "web", "cat", path]).ok().stdout();
        assert!(content == inside.as_bytes(), "{path}");
    }
    world.nman(["rm", "-f", "web"]).ok();
    world.assert_no_container();
}

#[test]
fn the_root_of_a_container_that_runs_is_copied_without_what_the_kernel_shows_there() {
    let world = World::new();
    idle(&world, "web", &[]);
    let to = world.path("all");
    world.nman(["cp", "web:/", to.to_str().unwrap()]).ok();
    assert!(to.join("bin/busybox").is_file() && to.join("etc/hostname").is_file());
    for kernel in ["proc", "sys"] {
        assert_eq!(fs::read_dir(to.join(kernel)).unwrap().count(), 0, "{kernel}");
    }
    world.nman(["rm", "-f", "web"]).ok();
    world.assert_no_container();
}

#[test]
fn cp_follows_dockers_rules_both_ways_and_into_volumes() {
    let world = World::new();
    idle(&world, "files", &["-v", "kept:/kept"]);
    let here = world.path("here");
    tree(&here);
    let text = |path: &Path| path.display().to_string();
    let source = text(&here);
    let into = |from: &str, to: &str| world.nman(["cp", "-q", from, &format!("files:{to}")]);
    into(&source, "/new").ok();
    into(&source, "/tmp").ok();
    into(&format!("{source}/."), "/kept").ok();
    into(&format!("{source}/one"), "/tmp/").ok();
    into(&format!("{source}/one"), "/etc/hosts").ok();
    let script = "ls -d /new/sub /tmp/here/link /kept/one /tmp/one && cat /etc/hosts && \
                  stat -c '%a %u %h %Y' /new/one && du -k /new/sparse | cut -f1";
    let seen = world.nman(["exec", "files", "sh", "-c", script]).ok().stdout();
    let expected = "/kept/one\n/new/sub\n/tmp/here/link\n/tmp/one\none\n750 0 2 -315521755\n0\n";
    assert_eq!(seen, expected);
    assert!(world.path("root/volumes/kept/_data/one").exists());
    // The file that is mounted there still is: it was written into, not replaced.
    let mounts = world.nman(["exec", "files", "grep", "-c", " /etc/hosts ", "/proc/mounts"]).ok();
    assert_eq!(mounts.text(), "1");

    for (from, to, message) in [
        (source.as_str(), "/etc/passwd", "cannot copy directory"),
        (&format!("{source}/one"), "/gone/", "no such directory"),
        (&format!("{source}/one"), "/gone/x", "Could not find the file /gone in container files"),
        (&format!("{source}/nope"), "/tmp", "no such file or directory"),
    ] {
        let error = into(from, to).exits(1).stderr();
        assert!(error.contains(message), "{error}");
    }
    let error = world.nman(["cp", "files:/nope", &source]).exits(1).stderr();
    assert!(error.contains("Could not find the file /nope in container files"), "{error}");

    let out = world.path("out");
    let from = |from: &str, to: &Path| world.nman(["cp", &format!("files:{from}"), &text(to)]);
    assert_eq!(from("/new", &out).ok().stderr(), "", "nobody looks on");
    fs::remove_dir_all(&out).unwrap();
    let copied = ["cp", "--quiet=false", "files:/new", &text(&out)];
    let said = world.nman(copied).ok().stderr();
    assert!(said.starts_with("Successfully copied 4B to "), "{said}");
    assert_eq!(fs::read_link(out.join("link")).unwrap(), Path::new("one"));
    assert_eq!(out.join("one").metadata().unwrap().mtime(), -315_521_755);
    let inode = |path: &str| out.join(path).metadata().unwrap().ino();
    assert_eq!(inode("one"), inode("sub/again"));
    assert!(out.join("sparse").metadata().unwrap().blocks() < 1000);
    from("/new/link", &out.join("linked")).ok();
    assert!(out.join("linked").is_symlink());
    world.nman(["cp", "-L", "files:/new/link", &text(&out.join("followed"))]).ok();
    assert_eq!(fs::read_to_string(out.join("followed")).unwrap(), "one\n");
    // A device of the host stays one.
    let (device, zero) = (out.join("device"), rustix::fs::makedev(1, 5));
    let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::RUSR);
    rustix::fs::mknodat(rustix::fs::CWD, &device, kind, mode, zero).unwrap();
    let error = from("/new/one", &device).exits(1).stderr();
    assert!(error.contains("must be a directory or a regular file: got a device"), "{error}");
    assert_eq!(device.metadata().unwrap().rdev(), zero);
    world.nman(["rm", "-f", "files"]).ok();
    world.assert_no_container();
}

#[test]
fn cp_takes_and_gives_archives_and_reaches_a_stopped_container_with_its_volumes() {
    let world = World::new();
    world.run(&["--name", "still", "-v", "kept:/kept"], &["sh", "-c", "echo v >/kept/v"]).ok();
    let here = world.path("here");
    tree(&here);
    let archive = Capture::of("tar")
        .args(["-C"])
        .args([&here])
        .args(["--format=pax", "-c", "one", "sub"])
        .run()
        .ok();
    world.command(["cp", "-", "still:/kept"]).stdin(archive.stdout()).run().ok();
    assert_eq!(
        fs::read_to_string(world.path("root/volumes/kept/_data/sub/again")).unwrap(),
        "one\n"
    );
    let out = world.nman(["cp", "still:/kept", "-"]).ok();
    let list = Capture::of("tar").args(["-t"]).stdin(out.stdout()).run().ok().stdout();
    assert_eq!(list, "kept/\nkept/one\nkept/sub/\nkept/sub/again\nkept/v\n");
    let names = |words: &[&str]| {
        let out = world.nman([&["cp"], words, &["-"]].concat()).ok();
        Capture::of("tar").args(["-t"]).stdin(out.stdout()).run().ok().stdout()
    };
    assert_eq!(names(&["still:/kept/sub/."]), "./\n./again\n");
    world.nman(["cp", world.path("here/link").to_str().unwrap(), "still:/kept/link"]).ok();
    assert_eq!(names(&["still:/kept/link"]), "link\n");
    assert_eq!(names(&["-L", "still:/kept/link"]), "one\n");
    let error = world.command(["cp", "-", "still:/kept/v"]).stdin("").run().exits(1).stderr();
    assert!(error.contains("must be a directory"), "{error}");
    // A directory takes no file's or link's place, nor the other way round.
    for (made, name) in [("mkdir", "v"), ("mkdir", "link"), ("touch", "sub")] {
        let apart = world.path(&format!("apart-{name}"));
        fs::create_dir(&apart).unwrap();
        Capture::of(made).args([apart.join(name)]).run().ok();
        let archive = Capture::of("tar").args(["-C"]).args([&apart]).args(["-c", name]).run().ok();
        let refused = world.command(["cp", "-", "still:/kept"]).stdin(archive.stdout()).run();
        assert!(refused.exits(1).stderr().contains("cannot overwrite"), "{name}");
    }
    // What the archive names cannot lead out of the directory.
    let climb = ["--format=pax", "-cP", "--transform", "s,.*,../../../escaped,", "/etc/hostname"];
    let hostile = Capture::of("tar").args(climb).run().ok();
    let error = world.command(["cp", "-", "still:/tmp"]).stdin(hostile.stdout()).run().exits(1);
    assert!(error.stderr().contains("escaped"), "{error}");
    world.nman(["rm", "-f", "still"]).ok();
    world.assert_no_container();
}

#[test]
fn a_symlink_that_is_swapped_meanwhile_leads_cp_nowhere() {
    let world = World::new();
    let canary = world.path("canary");
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("file"), "secret of the host\n").unwrap();
    let before = snapshot(&canary);
    // In the container, the host's path of the canary is a trap in both directions.
    let trap = canary.display().to_string();
    let script = format!(
        "mkdir -p /a /real{trap} && echo inside >/real/file && echo inside >/real{trap}/file && \
         cp -a /real /a/dir && ln -s {trap} /a/link && ln -s ../../../../../../../..{trap} /a/up && \
         touch /ready && while :; do mv /a/dir /a/x; mv /a/link /a/dir; mv /a/dir /a/link; \
         mv /a/up /a/dir; mv /a/dir /a/up; mv /a/x /a/dir; done"
    );
    world.run(&["-d", "--name", "racer"], &["sh", "-c", &script]).ok();
    super::world::eventually("the racer races", || {
        world.nman(["exec", "racer", "test", "-e", "/ready"]).success()
    });
    let (from, to) = (world.path("from"), world.path("to"));
    fs::create_dir_all(from.join("many")).unwrap();
    // One call looks each of its names up anew: thousands of tries in few processes.
    for number in 0..400 {
        fs::write(from.join(format!("many/{number}")), "from the host\n").unwrap();
    }
    let mut leaked = 0;
    for _ in 0..12 {
        fs::create_dir_all(&to).unwrap();
        let source = format!("{}/many", from.display());
        let _ = world.nman(["cp", "-q", &source, "racer:/a/dir"]);
        let _ = world.nman(["cp", "-q", "racer:/a", to.to_str().unwrap()]);
        let _ = world.nman(["cp", "-q", "racer:/a/dir/file", to.to_str().unwrap()]);
        let found = Capture::of("grep").args(["-rl", "secret of the host"]).args([&to]).run();
        leaked += found.stdout().lines().count();
        assert_eq!(snapshot(&canary), before, "something was written to the host");
        fs::remove_dir_all(&to).unwrap();
    }
    assert_eq!(leaked, 0, "a file of the host was copied");
    world.nman(["rm", "-f", "racer"]).ok();
    world.assert_no_container();
}

fn snapshot(directory: &Path) -> Vec<(String, String)> {
    let mut found: Vec<_> = super::world::entries(directory)
        .into_iter()
        .map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap_or_default()))
        .collect();
    found.sort();
    found
}

#[test]
fn diff_says_what_changed_and_not_what_was_mounted() {
    let world = World::new();
    world.run(&["--name", "same"], &["true"]).ok();
    assert_eq!(world.nman(["diff", "same"]).ok().stdout(), "");
    let script = "echo x >/etc/new; rm /etc/text; rm -r /root; mkdir /root; touch /root/a; \
                  chmod 600 /etc/group; mkdir -p /made/deep";
    world.run(&["--name", "other"], &["sh", "-c", script]).ok();
    let expected = "C /etc\nC /etc/group\nA /etc/new\nD /etc/text\nA /made\nA /made/deep\nC /root\nA /root/a\n";
    assert_eq!(world.nman(["diff", "other"]).ok().stdout(), expected);
    let archive = world.path("other.tar");
    world.nman(["export", "-o", archive.to_str().unwrap(), "other"]).ok();
    let listed = Capture::of("tar").args(["-tf"]).args([&archive]).run().ok().stdout();
    assert!(listed.contains("made/deep/\n") && !listed.contains("etc/text"), "{listed}");
    // A running one, too, without what is mounted in it.
    idle(&world, "running", &[]);
    world.nman(["export", "-o", archive.to_str().unwrap(), "running"]).ok();
    let listed = Capture::of("tar").args(["-tf"]).args([&archive]).run().ok().stdout();
    assert!(listed.contains("\nproc/\n") && !listed.contains("proc/1"), "{listed}");
    world.nman(["rm", "-f", "running"]).ok();
    world.nman(["rm", "same", "other"]).ok();
    world.assert_no_container();
}

#[test]
fn equal_contents_are_committed_to_equal_images_and_the_container_goes_on() {
    let world = World::new();
    let script = "echo hello >/etc/new; rm /etc/text; touch -d '1960-01-01 00:00:00' /etc/old; exec sleep 1000";
    let mut ids = Vec::new();
    for name in ["first", "second"] {
        world.run(&["-d", "--name", name], &["sh", "-c", script]).ok();
        super::world::eventually("it has written", || {
            world.nman(["exec", name, "test", "-e", "/etc/old"]).success()
        });
        let change =
            ["-c", "CMD [\"cat\", \"/etc/new\"]", "-c", "ENV MORE=1", "-m", "why", "-a", "me"];
        let args = ["commit"].into_iter().chain(change).chain([name, "made:1"]);
        ids.push(world.nman(args).ok().text());
        assert_eq!(world.inspect(name, "/State/Status"), "running");
    }
    assert_eq!(ids[0], ids[1]);
    let image = world.nman(["image", "inspect", "made:1"]).ok().json();
    assert_eq!(image[0]["Config"]["Env"][2], "MORE=1");
    assert_eq!((&image[0]["Author"], &image[0]["Comment"]), (&"me".into(), &"why".into()));
    assert_eq!(image[0]["RootFS"]["Layers"].as_array().unwrap().len(), 2);
    let of_image = ["run", "--rm", "--network", "none", "made:1"];
    assert_eq!(world.nman(of_image).ok().stdout(), "hello\n");
    let look = ["sh", "-c", "stat -c %Y /etc/old; ls /etc/text"];
    let old = world.nman(of_image.into_iter().chain(look));
    assert!(old.stdout().starts_with("-315619200"), "{old}");
    assert!(old.stderr().contains("No such file"), "{old}");

    // The time that is asked for is what the image has.
    let dated = world.command(["commit", "first", "dated"]).env("SOURCE_DATE_EPOCH", "1000000000");
    dated.run().ok();
    let created = world.nman(["image", "inspect", "-f", "{{json .}}", "dated"]).ok().json();
    assert!(created["Metadata"]["LastTagTime"].as_str().unwrap() > "2025");
    let saved = world.path("dated.tar");
    world.nman(["save", "-o", saved.to_str().unwrap(), "dated"]).ok();
    let config =
        format!("blobs/sha256/{}", created["Id"].as_str().unwrap().trim_start_matches("sha256:"));
    let config =
        Capture::of("tar").args(["-xO", "-f"]).args([&saved]).args([&config]).run().ok().json();
    assert_eq!(config["created"], "2001-09-09T01:46:40.000000000Z");
    // A person is told when it was made.
    let since = world.nman(["history", "--format", "{{.CreatedSince}}", "dated"]).ok().stdout();
    assert!(since.lines().next().unwrap().contains("second"), "{since}");

    let error = world.nman(["commit", "-c", "RUN x", "first"]).exits(1).stderr();
    assert!(error.contains("RUN is not a valid change command"), "{error}");
    world.nman(["rm", "-f", "first", "second"]).ok();
    assert!(world.nman(["history", IMAGE]).ok().stdout().starts_with("IMAGE"));
    world.assert_no_container();
}

#[test]
fn a_large_file_of_zeros_is_committed_imported_and_loaded() {
    let world = World::new();
    world.run(&["--name", "zeros"], &["truncate", "-s", "300M", "/disk"]).ok();
    world.nman(["commit", "zeros", "zeros:1"]).ok();
    let archive = world.path("zeros.tar.gz");
    let directory = world.path("zeros");
    fs::create_dir(&directory).unwrap();
    fs::File::create(directory.join("disk")).unwrap().set_len(300 << 20).unwrap();
    let tar = Capture::of("tar").args(["-C"]).args([&directory]).args(["-czf"]);
    tar.args([&archive]).args(["disk"]).run().ok();
    let archive = archive.display().to_string();
    world.nman(["import", &archive, "zeros:2"]).ok();
    world.nman(["save", "-o", &archive, "zeros:2"]).ok();
    world.nman(["rmi", "zeros:2"]).ok();
    world.nman(["load", "-i", &archive]).ok();
    for name in ["zeros:1", "zeros:2"] {
        world.nman(["create", "--name", "look", "--network", "none", name, "none"]).ok();
        let packed = world.path("look");
        world.nman(["cp", "look:/disk", packed.to_str().unwrap()]).ok();
        assert_eq!(fs::metadata(packed).unwrap().len(), 300 << 20, "{name}");
        world.nman(["rm", "look"]).ok();
    }
    world.nman(["rm", "zeros"]).ok();
    world.assert_no_container();
}

#[test]
fn a_commit_takes_over_how_the_container_is_stopped_checked_and_reached() {
    let world = World::new();
    let config = |name: &str, options: &[&str], image: &str, change: &[&str]| {
        let args = ["create", "--name", name].into_iter().chain(options.iter().copied());
        world.nman(args.chain([image])).ok();
        let args = ["commit"].into_iter().chain(change.iter().copied());
        world.nman(args.chain([name, &format!("of-{name}")])).ok();
        let object = world.nman(["image", "inspect", &format!("of-{name}")]).ok().json();
        world.nman(["rm", name]).ok();
        object[0]["Config"].clone()
    };
    let options =
        ["--stop-signal", "SIGINT", "--expose", "80", "-p", "90:91", "--health-cmd", "echo x"];
    let told = config("told", &options, IMAGE, &[]);
    assert_eq!(told["StopSignal"], "SIGINT");
    assert_eq!(told["ExposedPorts"], serde_json::json!({"80/tcp": {}, "91/tcp": {}}));
    assert_eq!(told["Healthcheck"]["Test"], serde_json::json!(["CMD-SHELL", "echo x"]));
    // What the command line does not change stays in the image's own words.
    let check = ["-c", "HEALTHCHECK --retries=2 CMD true"];
    let untold = config("untold", &["--network", "none"], IMAGE, &check);
    assert!(untold.get("StopSignal").is_none() && untold.get("ExposedPorts").is_none());
    let same = config("same", &["--network", "none"], "of-untold", &[]);
    assert_eq!(same["Healthcheck"], untold["Healthcheck"]);
    let less = config("less", &["--network", "none", "--no-healthcheck"], "of-untold", &[]);
    assert_eq!(less["Healthcheck"], serde_json::json!({"Test": ["NONE"]}));
    world.assert_no_container();
}

#[test]
fn a_path_that_was_left_out_is_not_the_root() {
    let world = World::new();
    world.nman(["create", "--name", "still", IMAGE, "true"]).ok();
    let here = world.path("here").display().to_string();
    for words in [["still:", &here], ["still:", "-"], [&here, "still:"]] {
        let refused = world.nman([&["cp"], &words[..]].concat()).exits(1).stderr();
        assert_eq!(refused, "nman: bad parameter: path cannot be empty\n", "{words:?}");
    }
    assert!(!world.path("here").exists());
    world.nman(["rm", "still"]).ok();
    world.assert_no_container();
}
