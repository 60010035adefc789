//! User namespaces: root of the container is nobody on the host, and nothing on disk is chowned for it.

use super::world::{IMAGE, World, eventually};
use nconform::fixture::Capture;
use std::os::unix::fs::MetadataExt as _;

#[test]
fn root_of_the_container_is_nobody_on_the_host_and_owns_what_root_owns() {
    let world = World::new();
    let options = ["--name", "mapped", "--uidmap", "0:200000:65536", "-v", "data:/data"];
    let script = "cat /proc/self/uid_map; stat -c %u /etc/passwd /volume /data; touch /new /data/file; \
        stat -c %u /new; echo '1.2.3.4 x' >> /etc/hosts && echo changed; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; \
        chown 7 /new && mount -t tmpfs x /tmp 2>/dev/null || echo confined";
    let said = world.run(&options, &["sh", "-c", script]).ok().stdout();
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(
        words,
        ["0", "200000", "65536", "0", "5", "0", "0", "changed", "0", "confined"],
        "{said}"
    );
    // On disk everything belongs to those whom the container names: another one may map them elsewhere.
    let upper = world.inspect("mapped", "/GraphDriver/Data/UpperDir");
    let owner = |path: String| std::fs::metadata(path).unwrap().uid();
    assert_eq!(owner(format!("{}/new", upper.as_str().unwrap())), 7);
    let data = world.nman(["volume", "inspect", "-f", "{{.Mountpoint}}", "data"]).ok().stdout();
    assert_eq!(owner(format!("{}/file", data.trim())), 0);
    assert_eq!(world.inspect("mapped", "/HostConfig/IDMappings/UidMap/0"), "0:200000:65536");
    assert_eq!(
        world.nman(["start", "-a", "mapped"]).ok().stdout().lines().next(),
        said.lines().next()
    );
    assert_eq!(world.shell(&["-v", "data:/data"], "stat -c %u /data/file").ok().stdout(), "0\n");
    // A volume that is filled has the owners that the image has.
    let options = ["--uidmap", "0:200000:65536", "-v", "filled:/bin"];
    let said = world.shell(&options, "touch /bin/new; stat -c %u /bin /bin/busybox /bin/new").ok();
    assert_eq!(said.stdout(), "0\n0\n0\n");
    assert_eq!(owner(data.trim().replace("/data/", "/filled/") + "/busybox"), 0);
    world.nman(["rm", "mapped"]).ok();
    world.assert_no_container();
}

#[test]
fn what_is_copied_changes_sides_with_its_owner() {
    let world = World::new();
    let options = ["-d", "--name", "mapped", "--uidmap", "0:200000:65536"];
    world.run(&options, &["sh", "-c", "echo text >/own; chown 7:8 /own; sleep 1000"]).ok();
    let scratch = nconform::fixture::scratch_dir();
    let path = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(path("tree")).unwrap();
    std::fs::write(path("tree/file"), "x").unwrap();
    std::os::unix::fs::chown(path("tree/file"), Some(5), Some(6)).unwrap();
    let inside = |name: &str| {
        let list = ["exec", "mapped", "stat", "-c", "%u:%g", name];
        world.nman(list).ok().stdout().trim_end().to_owned()
    };
    let outside = |name: &str| {
        let meta = std::fs::metadata(path(name)).unwrap();
        (meta.uid(), meta.gid())
    };
    eventually("the container has made its file", || {
        world.nman(["cp", "-a", "mapped:/own", &path("kept")]).success()
            && outside("kept") == (7, 8)
    });
    world.nman(["cp", "mapped:/own", &path("given")]).ok();
    assert_eq!(outside("given"), (0, 0));
    for _running_and_stopped in 0..2 {
        world.nman(["cp", &path("tree"), "mapped:/tree"]).ok();
        world.nman(["cp", "-a", &path("tree"), "mapped:/archived"]).ok();
        world.nman(["stop", "-t", "0", "mapped"]).ok();
        world.nman(["start", "mapped"]).ok();
        assert_eq!(inside("/tree/file"), "0:0");
        assert_eq!(inside("/archived/file"), "5:6");
        world.nman(["exec", "mapped", "rm", "-r", "/tree", "/archived"]).ok();
        world.nman(["stop", "-t", "0", "mapped"]).ok();
    }
    world.nman(["start", "mapped"]).ok();
    let listed = |archive: String| {
        Capture::of("tar").args(["--numeric-owner", "-tvf", "-"]).stdin(archive).run().ok().stdout()
    };
    let copied = listed(world.nman(["cp", "mapped:/own", "-"]).ok().stdout());
    assert!(copied.contains(" 7/8 "), "{copied}");
    world.nman(["export", "-o", &path("exported"), "mapped"]).ok();
    let exported = Capture::of("tar").args(["--numeric-owner", "-tvf", &path("exported")]);
    let exported = exported.run().ok().stdout();
    assert!(
        exported.lines().any(|line| line.contains(" 7/8 ") && line.ends_with("own")),
        "{exported}"
    );
    let archive = Capture::of("tar").args(["-C", &path("tree"), "-cf", "-", "file"]).run().ok();
    world.command(["cp", "-", "mapped:/tmp"]).stdin(archive.stdout()).run().ok();
    assert_eq!(inside("/tmp/file"), "5:6");
    world.nman(["rm", "-f", "mapped"]).ok();
    world.assert_no_container();
}

#[test]
fn containers_get_ids_that_no_other_one_has() {
    let world = World::new();
    for file in ["/etc/subuid", "/etc/subgid"] {
        std::fs::write(file, "containers:300000:131072\n").unwrap();
    }
    for (name, first) in [("one", "300000"), ("two", "365536")] {
        world.run(&["-d", "--name", name, "--userns", "auto"], &["sleep", "1000"]).ok();
        let map = world.nman(["exec", name, "cat", "/proc/1/uid_map"]).ok().stdout();
        assert_eq!(map.split_whitespace().nth(1), Some(first));
    }
    let refused = world.shell(&["--userns", "auto"], "true").exits(125);
    assert!(
        refused
            .stderr()
            .contains("cannot find 65536 unused ids for user \"containers\" in /etc/subuid"),
        "{refused}"
    );
    world.nman(["rm", "-f", "one", "two"]).ok();
    world.shell(&["--userns", "auto:size=1000"], "grep -q ' 1000$' /proc/self/uid_map").ok();
    for (options, why) in [
        (
            &["--userns", "auto", "--privileged"][..],
            "privileged mode is incompatible with user namespaces",
        ),
        (&["--userns", "auto", "--pid", "host"], "cannot share the host PID namespace"),
        (&["--userns", "auto", "--network", "host"], "cannot share the host's network namespace"),
        (&["--userns", "private"], "needs the ids"),
        (&["--userns", "keep"], "invalid USER mode"),
        (&["--userns", "keep-id"], "keep-id is only supported in rootless mode"),
        (&["--userns", "nomap"], "nomap is only supported in rootless mode"),
        (&["--uidmap", "x"], "invalid mapping 'x'"),
        (&["--mount", "type=bind,source=/,target=/x,idmap"], "needs a user namespace"),
    ] {
        let refused = world.shell(options, "true").exits(125);
        assert!(refused.stderr().contains(why), "no `{why}` in {refused}");
    }
    world.shell(&["--userns", "host"], "true").ok();
    world.assert_no_container();
}

#[test]
fn containers_that_are_made_at_the_same_moment_have_different_ids() {
    let world = World::new();
    for file in ["/etc/subuid", "/etc/subgid"] {
        std::fs::write(file, "containers:300000:6000\n").unwrap();
    }
    let create =
        || world.command(["create", "--userns", "auto:size=1000", "--network", "none", IMAGE]);
    let started: Vec<_> = (0..6).map(|_| create().start()).collect();
    for (mut child, output) in started {
        assert!(child.wait().unwrap().success(), "{output}");
    }
    let ids = world.nman(["ps", "-aq", "--no-trunc"]).ok().stdout();
    for kind in ["UidMap", "GidMap"] {
        let map = |id: &str| world.inspect(id, &format!("/HostConfig/IDMappings/{kind}/0"));
        let mut maps: Vec<_> = ids.lines().map(|id| map(id).as_str().unwrap().to_owned()).collect();
        maps.sort();
        let wanted: Vec<_> = (300..306).map(|first| format!("0:{first}000:1000")).collect();
        assert_eq!(maps, wanted);
    }
    world.command(["create", "--userns", "auto", "--network", "none", IMAGE]).run().exits(1);
    let rm: Vec<&str> = ["rm"].into_iter().chain(ids.lines()).collect();
    world.nman(rm).ok();
    world.assert_no_container();
}

#[test]
fn a_container_in_a_user_namespace_is_on_networks_as_any_other() {
    let world = World::new();
    world.nman(["network", "create", "--subnet", "10.7.1.0/24", "one"]).ok();
    world.run(&["-d", "--name", "peer", "--network", "one"], &["sleep", "1000"]).ok();
    let mapped = ["-d", "--uidmap", "0:200000:65536", "--name"];
    let options = [&mapped[..], &["born", "--network", "one", "-p", "8080:80"]].concat();
    world.run(&options, &["sleep", "1000"]).ok();
    // And one that comes from `none`.
    world.run(&[&mapped[..], &["late"]].concat(), &["sleep", "1000"]).ok();
    world.nman(["network", "disconnect", "none", "late"]).ok();
    world.nman(["network", "connect", "one", "late"]).ok();
    for life in ["first", "second"] {
        for (from, whom) in [("born", "late"), ("late", "born"), ("peer", "late")] {
            let ping = world.nman(["exec", from, "ping", "-c", "1", "-w", "5", whom]);
            assert!(ping.success(), "{life}: {ping}");
        }
        // The namespace is its own, and so are the interfaces in it.
        let change = ["exec", "--privileged", "late", "ip", "link", "set", "eth0", "mtu", "1400"];
        world.nman(change).ok();
        world.nman(["restart", "-t", "0", "born", "late"]).ok();
    }
    assert_eq!(world.nman(["port", "born"]).ok().text(), "80/tcp -> 0.0.0.0:8080");
    world.nman(["rm", "-f", "born", "late", "peer"]).ok();
    world.nman(["network", "rm", "one"]).ok();
    world.assert_no_container();
}
