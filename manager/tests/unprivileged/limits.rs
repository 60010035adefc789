//! What a user has not: cgroups of its own, namespaces of the host, ids of other users.

use crate::world::World;

#[test]
fn limits_are_ignored_with_a_warning_and_those_of_processes_hold() {
    let world = World::new();
    let output =
        world.shell(&["-m", "64m", "--cpus", "0.5", "--ulimit", "nofile=50"], "ulimit -n").ok();
    assert_eq!(output.stdout(), "50\n");
    assert_eq!(
        output.stderr(),
        "WARNING: Resource limits and cgroups need root, or a delegated cgroup v2, and are ignored.\n"
    );
    let output = world.shell(&["--cgroup-parent", "/mine"], "true").ok();
    assert!(output.stderr().contains("are ignored"), "{output}");
    assert_eq!(world.shell(&[], "true").ok().stderr(), "", "nothing was asked for");
}

#[test]
fn what_takes_a_cgroup_is_refused_by_its_name() {
    let world = World::new();
    world.run(&["-d", "--name", "web"], &["sleep", "1000"]).ok();
    for (words, what) in [
        (&["pause", "web"][..], "cannot pause container web: it has no cgroup"),
        (&["stats", "--no-stream"], "cannot count what is used by container web: it has no cgroup"),
        (&["update", "-m", "64m", "web"], "cannot limit container web: it has no cgroup"),
    ] {
        let output = world.nman(words).exits(1);
        assert!(output.stderr().contains(what), "{output}");
    }
    world.nman(["update", "--restart", "always", "web"]).ok();
    assert_eq!(world.inspect("web", "/HostConfig/RestartPolicy/Name"), "always");
    assert_eq!(world.inspect("web", "/State/OOMKilled"), false);
    world.nman(["rm", "-f", "web"]).ok();
    world.assert_no_container();
}

#[test]
fn namespaces_of_the_host_are_shared_as_far_as_a_user_can() {
    let world = World::new();
    let script = "readlink /proc/1/ns/mnt /proc/self/ns/mnt | uniq | wc -l; ls /sys/class/net";
    let output = world.shell(&["--pid", "host", "--network", "host", "--ipc", "host"], script).ok();
    assert!(output.stdout().contains("lo\n"), "{output}");
    assert_eq!(world.shell(&["--userns", "host", "--uts", "host"], "id -u").ok().stdout(), "0\n");
    let name = rustix::system::uname();
    let hostname = world.shell(&["--uts", "host"], "hostname").ok().stdout();
    assert_eq!(hostname.trim_end(), name.nodename().to_str().unwrap());
    world.assert_no_container();
}

/// All capabilities, in the user's namespace: nothing of the host's.
#[test]
fn privileged_is_root_of_the_users_namespace_and_no_more() {
    let world = World::new();
    let script = "mount -t tmpfs none /tmp && echo mounted; echo 1 >/proc/sys/kernel/printk; mknod /tmp/null c 1 3";
    let output = world.shell(&["--privileged"], script).exits(1);
    assert_eq!(output.stdout(), "mounted\n");
    assert_eq!(output.stderr().lines().count(), 2, "{output}");
}

/// A container is made by it, so that what it says of the user can be held against what works.
#[test]
fn info_and_doctor_know_that_a_user_calls() {
    let world = World::new();
    let format =
        "{{.SecurityOptions}} {{.CgroupDriver}} {{.MemoryLimit}} {{.Images}} {{.DockerRootDir}}";
    let info = world.nman(["info", "--format", format]).ok().stdout();
    assert!(info.contains("name=rootless") && info.contains(" none false 1 "), "{info}");
    assert!(info.ends_with(&format!("{}\n", world.root().display())), "{info}");
    let doctor = |world: &World| {
        let output =
            world.nman(["doctor", "--format", "{{.Check}}: {{.Status}}: {{.Found}} {{.Advice}}"]);
        (output.code(), output.stdout())
    };
    let (_, found) = doctor(&world);
    assert!(found.contains("user namespaces: ok: for user `nrt`"), "{found}");
    assert!(found.contains("ids: ok: 65537 users, 65537 groups"), "{found}");
    assert!(found.contains("user network: ok: pasta"), "{found}");
    assert!(found.contains("network namespaces: ok: at most "), "{found}");
    for of_root in ["root:", "cgroup", "forwarding:", "nf_tables:"] {
        assert!(!found.lines().any(|line| line.starts_with(of_root)), "{of_root} {found}");
    }
    std::fs::write("/etc/subuid", "").unwrap();
    let (_, found) = doctor(&world);
    assert!(found.contains("ids: limited: the user's own alone"), "{found}");
    assert!(found.contains("usermod --add-subuids"), "{found}");
}

const SCORE: &str = "/proc/self/oom_score_adj";

/// Root's word for this test: a user may raise it, and not go below.
fn set_score(score: &str) {
    std::fs::write(SCORE, score).unwrap();
}

/// A service of the user's systemd has a higher one than a session.
#[test]
fn a_container_has_the_oom_score_that_whoever_starts_it_can_give() {
    let world = World::new();
    let shown = || world.nman(["exec", "web", "cat", "/proc/1/oom_score_adj"]).ok().text();
    set_score("100");
    world.run(&["-d", "--name", "web", "--oom-score-adj", "50"], &["sleep", "1000"]).ok();
    assert_eq!(shown(), "100");
    for (score, expected) in [("300", "300"), ("100", "100"), ("0", "50")] {
        set_score(score);
        world.nman(["stop", "-t", "0", "web"]).ok();
        world.nman(["start", "web"]).ok();
        assert_eq!(shown(), expected);
    }
    world.nman(["rm", "-f", "web"]).ok();
    world.assert_no_container();
}

/// runc takes the container's whatever it is told.
#[test]
fn a_command_has_the_oom_score_that_whoever_executes_it_can_give() {
    let world = World::with_nrun();
    let shown = || world.nman(["exec", "web", "cat", SCORE]).ok().text();
    set_score("100");
    world.run(&["-d", "--name", "web"], &["sleep", "1000"]).ok();
    for (score, expected) in [("300", "300"), ("0", "100")] {
        set_score(score);
        assert_eq!(shown(), expected);
    }
    world.nman(["rm", "-f", "web"]).ok();
    world.assert_no_container();
}

/// The process of a check is written down once, and the container's score is another one at a later start.
#[test]
fn a_health_check_has_the_oom_score_that_its_container_has_now() {
    let world = World::with_nrun();
    let check = ["--health-cmd", &format!("cat {SCORE}"), "--health-interval", "1s"];
    set_score("100");
    let words = [&["-d", "--name", "web", "--oom-score-adj", "50"], &check[..]].concat();
    world.run(&words, &["sleep", "1000"]).ok();
    let id = world.inspect("web", "/Id");
    let process = world.root().join("containers").join(id.as_str().unwrap()).join("health.process");
    let output = || {
        world.nman(["wait", "--condition", "healthy", "web"]).ok();
        world.inspect("web", "/State/Health/Log/0/Output").as_str().unwrap().trim().to_owned()
    };
    assert_eq!(output(), "100");
    for (score, expected) in [("300", "300"), ("0", "50")] {
        set_score(score);
        world.nman(["stop", "-t", "0", "web"]).ok();
        world.nman(["start", "web"]).ok();
        assert_eq!(output(), expected);
    }
    // One that was written down with a score goes by the container's from the next start on.
    world.nman(["stop", "-t", "0", "web"]).ok();
    let text = std::fs::read_to_string(&process).unwrap();
    std::fs::write(&process, text.replacen('{', "{\"oomScoreAdj\":300,", 1)).unwrap();
    world.nman(["start", "web"]).ok();
    assert_eq!(output(), "50");
    world.nman(["rm", "-f", "web"]).ok();
    world.assert_no_container();
}
