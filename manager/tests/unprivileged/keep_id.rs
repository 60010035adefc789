//! User namespaces of containers of a user's: who is who in them, on disk and in the files of the image.

use crate::network::Outside;
use crate::world::{IMAGE, Layers, World, entries, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

const KEEP: [&str; 2] = ["--userns", "keep-id"];

/// A directory of the user's, bound to /own.
fn own(world: &World) -> (PathBuf, String) {
    let own = world.user.home().join("own");
    fs::create_dir(&own).unwrap();
    world.user.give(&own);
    let bind = format!("{}:/own", own.display());
    (own, bind)
}

/// Copies of layers with other owners.
fn copies(world: &World) -> Vec<PathBuf> {
    let layers = entries(&world.root().join("snapshots"));
    layers.iter().flat_map(|layer| entries(&layer.join("mapped"))).collect()
}

#[test]
fn with_keep_id_the_user_is_who_it_is_on_the_host() {
    let world = World::new();
    let (own, bind) = own(&world);
    let uid = world.user.uid();
    let script = "id -u; id -un; id -g; stat -c %u /own /bin /volume; touch /own/file; grep -c . /proc/self/uid_map";
    let output = world.shell(&["--userns", "keep-id", "-v", &bind], script).ok().stdout();
    assert_eq!(output, format!("{uid}\nnrt\n{uid}\n{uid}\n0\n5\n3\n"));
    assert_eq!(fs::metadata(own.join("file")).unwrap().uid(), uid);
    // Its root and all others are there as well, and have the image's files.
    let script = "id -u; touch /own/root /own/mail; chown 8 /own/mail; chown 5 /bin/busybox; stat -c %u:%a /bin/busybox";
    let root = ["--userns", "keep-id", "-u", "0", "-v", &bind];
    assert_eq!(world.shell(&root, script).ok().stdout(), "0\n5:755\n");
    let (first, _) = world.user.subordinate().unwrap();
    let owner = |name: &str| fs::metadata(own.join(name)).unwrap().uid();
    assert_eq!((owner("root"), owner("mail")), (first, first + 8));
    world.assert_no_container();
}

#[test]
fn with_keep_id_the_user_is_in_the_files_of_the_container_at_home() {
    let world = World::new();
    let uid = world.user.uid();
    let line = |options: &[&str]| {
        let options: Vec<&str> = KEEP.iter().chain(options).copied().collect();
        world.shell(&options, "tail -n 1 /etc/passwd; echo $HOME").ok().stdout()
    };
    let entry = |home: &str| format!("nrt:*:{uid}:{uid}::{home}:/bin/sh\n{home}\n");
    assert_eq!(line(&["-w", "/tmp"]), entry("/tmp"));
    assert_eq!(line(&["--read-only"]), entry("/"));
    let home = "/nonexistent";
    let bind = format!("{}:{home}", world.user.home().display());
    assert_eq!(line(&["-v", &bind, "-w", "/tmp"]), entry(home));
    // A file of somebody's own stays as it is.
    let text = format!("root:x:0:0:root:/root:/bin/sh\napp:x:{uid}:7::/srv:/bin/sh\n");
    let file = world.user.home().join("passwd");
    fs::write(&file, text).unwrap();
    let mounted = format!("{}:/etc/passwd:ro", file.display());
    assert!(line(&["-v", &mounted]).starts_with("app:x:"));
    // Nobody is added for a container that has not asked.
    assert!(!world.shell(&[], "cat /etc/passwd").ok().stdout().contains("nrt"));
}

#[test]
fn keep_id_has_podmans_options_and_gives_way_to_other_users() {
    let world = World::new();
    let (own, bind) = own(&world);
    let options = ["--userns", "keep-id:uid=200,gid=210", "-v", &bind];
    let script = "id -u; id -g; stat -c %u:%g /own; touch /own/file; tail -n 1 /etc/passwd";
    let output = world.shell(&options, script).ok().stdout();
    assert_eq!(output, "200\n210\n200:210\n200:*:200:210:container user:/:/bin/sh\n");
    assert_eq!(fs::metadata(own.join("file")).unwrap().uid(), world.user.uid());
    let user = world.shell(&["--userns", "keep-id", "-u", "mail"], "id -u; id -g").ok().stdout();
    assert_eq!(user, "8\n12\n");
    for (mode, what) in [
        ("keep-id:size=0", "invalid size for --userns keep-id"),
        ("keep-id:uid=x", "invalid uid for --userns keep-id"),
        ("keep", "invalid USER mode"),
    ] {
        let refused = world.run(&["--userns", mode], &["true"]).exits(125);
        assert!(refused.stderr().contains(what), "{refused}");
    }
    let both = ["--userns", "keep-id", "--uidmap", "0:1:10"];
    let refused = world.run(&both, &["true"]).exits(125);
    assert!(refused.stderr().contains("keep-id and --uidmap contradict each other"), "{refused}");
    world.assert_no_container();
}

/// The runtime is nrun: runc goes to the root file system as the container's root, whom the user's home, which is not among its
/// ids, does not let through.
#[test]
fn other_mappings_are_some_of_the_users_ids() {
    let world = World::with_nrun();
    let map = |options: &[&str]| {
        let script = "cat /proc/self/uid_map; stat -c %u /bin /volume";
        let text = world.shell(options, script).ok().stdout();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(map(&["--userns", "nomap"]), "0 1 65536 0 5");
    assert_eq!(map(&["--userns", "auto"]), "0 1 1024 0 5");
    assert_eq!(map(&["--userns", "auto:size=100"]), "0 1 100 0 5");
    assert_eq!(map(&["--uidmap", "0:7:50"]), "0 7 50 0 5");
    let few = ["--userns", "keep-id:size=20"];
    assert_eq!(map(&few), format!("0 1 20 {} 0 1 0 5", world.user.uid()));
    world.run(&[&["-d", "--name", "few"], &few[..]].concat(), &["sleep", "1000"]).ok();
    assert_eq!(map(&["--userns", "auto"]), "0 21 1024 0 5", "ids that it has left");
    world.nman(["rm", "-f", "few"]).ok();
    world.run(&["-d", "--name", "first", "--userns", "auto"], &["sleep", "1000"]).ok();
    assert_eq!(map(&["--userns", "auto"]), "0 1025 1024 0 5", "ids that no other one has");
    world.nman(["rm", "-f", "first"]).ok();
    for (options, what) in [
        (
            &["--uidmap", "0:65000:1000"][..],
            "cannot map `0:65000:1000`: user `nrt` has the ids 0 to 65536",
        ),
        (&["--uidmap", "1:1:10"], "it has no id 0"),
        (&["--userns", "auto:size=3"], "`/volume` of the image belongs to an id"),
        (&["--userns", "auto:size=70000"], "cannot find 70000 unused ids of user `nrt`"),
        (
            &["--userns", "keep-id:size=70000"],
            "cannot map 70000 ids: user `nrt` has 65536 beside its own",
        ),
        (&["--userns", "private"], "needs the ids"),
    ] {
        let refused = world.run(options, &["true"]).exits(125);
        assert!(refused.stderr().contains(what), "{refused}");
    }
    world.assert_no_container();
}

#[test]
fn containers_that_are_made_at_the_same_moment_have_different_ids_of_the_users() {
    let world = World::with_nrun();
    let create =
        || world.command(["create", "--userns", "auto:size=1000", "--network", "none", IMAGE]);
    let started: Vec<_> = (0..4).map(|_| create().start()).collect();
    for (mut child, output) in started {
        assert!(child.wait().unwrap().success(), "{output}");
    }
    let ids = world.nman(["ps", "-aq", "--no-trunc"]).ok().stdout();
    let mut maps: Vec<_> = ids
        .lines()
        .map(|id| world.inspect(id, "/HostConfig/IDMappings/UidMap/0").as_str().unwrap().to_owned())
        .collect();
    maps.sort();
    assert_eq!(maps, ["0:1001:1000", "0:1:1000", "0:2001:1000", "0:3001:1000"]);
    let rm: Vec<&str> = ["rm"].into_iter().chain(ids.lines()).collect();
    world.nman(rm).ok();
    world.assert_no_container();
}

#[test]
fn without_ranges_there_is_no_root_for_a_mapping() {
    let world = World::without_image();
    for file in ["/etc/subuid", "/etc/subgid"] {
        fs::write(file, "").unwrap();
    }
    use tar::EntryType::{Directory, Regular};
    let busybox = fs::read("/bin/busybox").unwrap();
    let own = Layers::default()
        .layer(&[(Directory, "bin", 0, 0o755, b""), (Regular, "bin/busybox", 0, 0o755, &busybox)]);
    world.load(&own, IMAGE).ok();
    let refused = world.run(&KEEP, &["/bin/busybox", "true"]).exits(125);
    assert!(refused.stderr().contains("user `nrt` has no ids but its own"), "{refused}");
    assert!(refused.stderr().contains("usermod --add-subuids"), "{refused}");
    world.assert_no_container();
}

/// Ids of the container are the same in an image, in an archive and in its shell, whatever they are on disk.
#[test]
fn commands_of_a_container_with_other_ids_know_who_is_who() {
    let world = World::new();
    let uid = world.user.uid();
    let script = "echo out; exec sleep 1000";
    world.run(&["-d", "--name", "web", "--userns", "keep-id"], &["sh", "-c", script]).ok();
    eventually("it has written", || world.nman(["logs", "web"]).ok().stdout() == "out\n");
    assert_eq!(world.inspect("web", "/HostConfig/UsernsMode"), "keep-id");
    assert_eq!(world.inspect("web", "/Config/User"), format!("{uid}:{uid}"));
    let exec = |user: &str, script: &str| {
        world.nman(["exec", "-u", user, "web", "sh", "-c", script]).ok().stdout()
    };
    assert_eq!(world.nman(["exec", "web", "id", "-u"]).ok().stdout(), format!("{uid}\n"));
    assert_eq!(exec("0", "id -u; chown 8:12 /volume; touch /tmp/root; rm /bin/cat"), "0\n");
    world.nman(["exec", "web", "touch", "/tmp/own"]).ok();
    let top = world.nman(["top", "web", "-o", "pid,args"]).ok().stdout();
    assert!(top.contains("sleep 1000"), "{top}");

    // With -a, what is the user's on one side is on the other.
    let path = |name: &str| world.user.home().join(name).display().to_string();
    fs::write(path("in"), "text\n").unwrap();
    world.user.give(&world.user.home().join("in"));
    world.nman(["cp", &path("in"), "web:/tmp/given"]).ok();
    world.nman(["cp", "-a", &path("in"), "web:/tmp/kept"]).ok();
    assert_eq!(exec("0", "stat -c %u /tmp/given /tmp/kept"), format!("0\n{uid}\n"));
    world.nman(["cp", "-a", "web:/tmp/own", &path("out")]).ok();
    assert_eq!(fs::metadata(path("out")).unwrap().uid(), uid);

    let diff = world.nman(["diff", "web"]).ok().stdout();
    assert!(diff.contains("C /volume\n") && diff.contains("D /bin/cat\n"), "{diff}");
    assert!(!diff.contains("busybox"), "nothing else is another: {diff}");
    world.nman(["commit", "web", "test/changed"]).ok();
    world.nman(["export", "-o", &path("tree.tar"), "web"]).ok();
    let list = nconform::fixture::Capture::of("tar").args(["tvf", &path("tree.tar")]).run().ok();
    assert!(list.stdout().contains(&format!("{uid}/{uid}")), "{list}");
    assert!(list.stdout().contains("8/12"), "{list}");

    world.nman(["restart", "-t", "0", "web"]).ok();
    assert_eq!(exec("0", "stat -c %u /volume /tmp/own"), format!("8\n{uid}\n"));
    world.nman(["rm", "-f", "web"]).ok();
    // In another mapping, and in none.
    let look =
        "stat -c %u /volume /tmp/own /tmp/root; test -e /bin/cat || echo gone; busybox id -u";
    for options in [&["-u", "0"][..], &["-u", "0", "--userns", "keep-id"]] {
        let mut words = vec!["run", "--rm", "--network", "none"];
        words.extend(options);
        words.extend(["test/changed", "sh", "-c", look]);
        assert_eq!(world.nman(words).ok().stdout(), format!("8\n{uid}\n0\ngone\n0\n"));
    }
    world.assert_no_container();
}

/// Files that several layers have, that one removes and that another replaces, are what they are without a mapping.
#[test]
fn a_mapped_container_sees_what_the_layers_show() {
    use tar::EntryType::{Directory, Regular, Symlink};
    let world = World::without_image();
    let layers = Layers::busybox()
        .layer(&[
            (Directory, "srv", 3, 0o750, b""),
            (Regular, "srv/kept", 3, 0o4755, b"first\n"),
            (Regular, "srv/other", 4, 0o644, b"first\n"),
            (Regular, "srv/gone", 4, 0o644, b"first\n"),
            (Regular, "etc/passwd", 0, 0o644, b"root:x:0:0::/:/bin/sh\n"),
        ])
        .layer(&[
            (Regular, "srv/other", 6, 0o600, b"second\n"),
            (Regular, "srv/.wh.gone", 0, 0o644, b""),
            (Symlink, "srv/link", 7, 0o777, b"other"),
        ]);
    world.load(&layers, "test/layers").ok();
    let look = |options: &[&str]| {
        let script = "cd /srv; stat -c '%n %u %a %s' * . /etc/passwd; cat kept other link /etc/passwd; sha256sum /bin/busybox";
        let mut words = vec!["run", "--rm", "--network", "none", "-u", "0"];
        words.extend(options);
        words.extend(["test/layers", "sh", "-c", script]);
        world.nman(words).ok().stdout()
    };
    let plain = look(&[]);
    assert!(plain.contains("kept 3 4755 6\n") && plain.contains("other 6 600 7\n"), "{plain}");
    assert!(!plain.contains("gone"), "{plain}");
    // The user itself is added to the one, so that the file is another.
    let without = |text: &str| -> String {
        text.lines().filter(|line| !line.contains("passwd") && !line.contains("nrt:")).collect()
    };
    assert_eq!(without(&look(&KEEP)), without(&plain));
}

#[test]
fn layers_are_copied_once_for_a_mapping_and_pruned_with_it() {
    use tar::EntryType::{Directory, Link, Regular};
    let world = World::without_image();
    // The content of a file with two names is copied, so that there is something to count.
    let large = vec![1; 1 << 20];
    let layers = Layers::busybox().layer(&[
        (Directory, "srv", 0, 0o755, b""),
        (Regular, "srv/one", 4, 0o644, &large),
        (Link, "srv/two", 4, 0o644, b"srv/one"),
    ]);
    world.load(&layers, IMAGE).ok();
    let links = world.shell(&KEEP, "stat -c '%h %u %s' /srv/one /srv/two").ok().stdout();
    assert_eq!(links, "2 4 1048576\n2 4 1048576\n");
    world.shell(&KEEP, "true").ok();
    let made = copies(&world);
    assert_eq!(made.len(), 1, "{made:?}");
    let look = |path: &PathBuf| fs::metadata(path).unwrap().ino();
    let first = look(&made[0]);
    world.run(&["--name", "web", "--userns", "keep-id"], &["true"]).ok();
    world.shell(&["--userns", "keep-id:uid=7"], "true").ok();
    assert_eq!((copies(&world).len(), look(&made[0])), (2, first));
    assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n");
    let reclaimable = || {
        let words = ["system", "df", "--format", "{{.Type}} {{.ReclaimableBytes}}"];
        let text = world.nman(words).ok().stdout();
        let line = text.lines().find_map(|line| line.strip_prefix("Images ")).unwrap().to_owned();
        line.parse::<u64>().unwrap()
    };
    let unused = reclaimable();
    let other = copies(&world).into_iter().find(|copy| *copy != made[0]).unwrap();
    assert_eq!(unused, nman::disk::usage(&other), "the copy that no container stands on");
    assert!(unused >= 1 << 20, "{unused}");
    let pruned = world.nman(["image", "prune", "-f"]).ok().stdout();
    assert!(!pruned.contains("space: 0B"), "{pruned}");
    assert_eq!(copies(&world), made, "a container stands on it");
    assert!(reclaimable() < unused);
    world.nman(["start", "-a", "web"]).ok();
    world.nman(["system", "prune", "-f"]).ok();
    assert_eq!(copies(&world), Vec::<PathBuf>::new());
    assert_eq!(world.nman(["images", "-q"]).ok().stdout().lines().count(), 1, "the image stays");
    world.shell(&KEEP, "true").ok();
    world.nman(["rmi", IMAGE]).ok();
    assert_eq!(copies(&world), Vec::<PathBuf>::new());
    world.assert_no_container();
}

#[test]
fn volumes_and_images_are_mounted_with_the_containers_ids() {
    let world = World::new();
    let uid = world.user.uid();
    let options = ["--userns", "keep-id", "-v", "data:/volume", "-v", "new:/new"];
    let script = "stat -c %u:%a /volume /new; touch /new/file";
    assert_eq!(world.shell(&options, script).ok().stdout(), format!("5:751\n{uid}:755\n"));
    let mount = format!("type=image,source={IMAGE},target=/image");
    let image = ["--userns", "keep-id", "--mount", &mount];
    assert_eq!(world.shell(&image, "stat -c %u /image /image/volume").ok().stdout(), "0\n5\n");
    let refused = world
        .run(&["--userns", "keep-id", "--mount", "type=bind,src=/tmp,dst=/x,idmap"], &["true"])
        .exits(125);
    assert!(refused.stderr().contains("mount option idmap needs root"), "{refused}");
    world.nman(["volume", "rm", "data", "new"]).ok();
    world.assert_no_container();
}

#[test]
fn a_mapped_container_shares_the_hosts_namespaces_and_is_privileged_as_any_other() {
    let world = World::new();
    let uid = world.user.uid();
    let host = ["--userns", "keep-id", "--network", "host", "--pid", "host", "--ipc", "host"];
    let script = "id -u; ls /sys/class/net; test -d /proc/1 && echo proc";
    let output = world.shell(&host, script).ok().stdout();
    assert!(output.starts_with(&format!("{uid}\n")), "{output}");
    assert!(output.contains("lo\n") && output.ends_with("proc\n"), "{output}");
    let root = ["--userns", "keep-id", "-u", "0", "--privileged"];
    assert_eq!(world.shell(&root, "mount -t tmpfs x /tmp && id -u").ok().stdout(), "0\n");
    world.assert_no_container();
}

/// The network belongs to the other one's user namespace, and its kernel parameters do. The runtime is nrun: runc enters the user
/// namespace first, in which nobody may enter that network.
#[test]
fn a_mapped_container_is_in_the_network_of_another_one() {
    let world = World::with_nrun();
    let uid = world.user.uid();
    world.run(&["-d", "--name", "first", "--userns", "keep-id"], &["sleep", "1000"]).ok();
    let beside = ["--userns", "keep-id", "--network", "container:first"];
    assert_eq!(world.shell(&beside, "id -u").ok().stdout(), format!("{uid}\n"));
    assert_eq!(world.shell(&beside[2..], "id -u").ok().stdout(), "0\n");
    world.nman(["rm", "-f", "first"]).ok();
    world.assert_no_container();
}

#[test]
fn a_mapped_container_is_connected_and_may_ping() {
    let world = World::new();
    let _outside = Outside::make();
    for carrier in ["pasta", "slirp4netns"] {
        let options = ["--userns", "keep-id", "--network", carrier];
        let script = "ip -4 -o addr show dev eth0; cat /proc/sys/net/ipv4/ping_group_range";
        let output = world.shell(&options, script).ok().stdout();
        let range = format!("\n{}\t65536\n", world.user.uid());
        assert!(output.contains("10.0.2.100/24") && output.ends_with(&range), "{output}");
    }
    world.assert_no_container();
}

/// Its init is in a namespace below the user's: what is joined in place of a holder that was killed is the one above.
#[test]
fn a_mapped_container_is_reached_when_its_monitor_and_the_holder_were_killed() {
    let world = World::new();
    let kill = |pid: i32| kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    world.run(&["-d", "--name", "web", "--userns", "keep-id"], &["sleep", "1000"]).ok();
    let of_user = namespace(world.holder());
    let id = world.inspect("web", "/Id").as_str().unwrap().to_owned();
    let path = world.root().join("containers").join(id).join("state.json");
    let state: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    kill(state["monitor"].as_i64().unwrap().try_into().unwrap());
    kill(world.holder());
    let uid = world.user.uid();
    assert_eq!(world.nman(["exec", "web", "id", "-u"]).ok().stdout(), format!("{uid}\n"));
    assert_eq!(namespace(world.holder()), of_user);
    world.nman(["rm", "-f", "web"]).ok();
    world.assert_no_container();
}

/// What is secret to others on the host is to the container's other users.
#[test]
fn the_home_of_the_user_is_the_users_in_there() {
    let world = World::new();
    let secret = world.user.home().join("secret");
    fs::write(&secret, "text\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    world.user.give(&secret);
    let bind = format!("{}:/secret", secret.display());
    let options = ["--userns", "keep-id", "-v", &bind];
    assert_eq!(world.shell(&options, "cat /secret").ok().stdout(), "text\n");
    let refused = world.shell(&[&options[..], &["-u", "8"]].concat(), "cat /secret").exits(1);
    assert!(refused.stderr().contains("Permission denied"), "{refused}");
}
