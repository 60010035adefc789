//! What AppArmor makes of containers: our profile by default, another one, or none. Where it is not enabled, nothing.

use super::world::{IMAGE, World, eventually};
use nconform::fixture::apparmor::{self, Profile};
use nconform::fixture::{Capture, Output, tool};

const OURS: &str = "nman-default";

/// What a container can do that has every part of /proc to write to, and may mount.
const TRY: &str = "cat /proc/self/attr/current
    (: >>/proc/sysrq-trigger) 2>/dev/null && echo triggers
    mount -t tmpfs none /tmp 2>/dev/null && echo mounts
    true";
const OPEN: [&str; 4] = ["--cap-add", "SYS_ADMIN", "--security-opt", "systempaths=unconfined"];

/// A container that is open but for AppArmor.
#[track_caller]
fn try_all(world: &World, options: &[&str]) -> Output {
    world.shell(&[&OPEN, options].concat(), TRY)
}

fn enforced(name: &str) -> String {
    format!("{name} (enforce)\n")
}

fn security_options(world: &World) -> String {
    world.nman(["info", "--format", "{{.SecurityOptions}}"]).ok().stdout()
}

#[test]
fn a_container_is_confined_by_our_profile_unless_it_is_said_otherwise() {
    let world = World::new();
    let unconfined = ["--security-opt", "apparmor=unconfined"];
    if !nman::bundle::host::has_apparmor() {
        let named = ["--security-opt", "apparmor=strict"];
        let refused = world.shell(&named, "true").exits(125);
        assert!(refused.stderr().contains("AppArmor is not enabled on this host"), "{refused}");
        for (name, options) in [("aa", &["-d"][..]), ("bb", &["-d", "--privileged"])] {
            world.run(&[options, &["--name", name], &unconfined].concat(), &["true"]).ok();
            assert_eq!(world.inspect(name, "/AppArmorProfile"), "");
        }
        assert!(!security_options(&world).contains("apparmor"));
        world.nman(["rm", "-f", "aa", "bb"]).ok();
        return world.assert_no_container();
    }
    let said = try_all(&world, &[]).ok();
    assert_eq!((said.stdout(), said.stderr()), (enforced(OURS), String::new()));
    assert_eq!(
        try_all(&world, &["--security-opt", "apparmor=nman-default"]).stdout(),
        enforced(OURS)
    );
    for options in [&unconfined[..], &["--privileged"]] {
        assert_eq!(try_all(&world, options).ok().stdout(), "unconfined\ntriggers\nmounts\n");
    }
    for (options, profile) in
        [(&[][..], OURS), (&unconfined, "unconfined"), (&["--privileged"], "unconfined")]
    {
        world.run(&[&["-d", "--name", "aa"], options].concat(), &["true"]).ok();
        assert_eq!(world.inspect("aa", "/AppArmorProfile"), profile);
        world.nman(["rm", "-f", "aa"]).ok();
    }
    assert!(security_options(&world).contains("name=apparmor"));
    world.assert_no_container();
}

#[test]
fn another_profile_confines_if_it_is_loaded() {
    let world = World::new();
    if !nman::bundle::host::has_apparmor() {
        let refused = world.shell(&["--security-opt", "apparmor:strict"], "true").exits(125);
        assert!(refused.stderr().contains("hint: leave the option out"), "{refused}");
        return world.assert_no_container();
    }
    let profile = Profile::load();
    let option = format!("apparmor={}", profile.name);
    let script = "cat /proc/self/attr/current; cat /etc/group >/dev/null 2>&1 || echo denied";
    let expected = format!("{} (enforce)\ndenied\n", profile.name);
    for more in [&[][..], &["--privileged"]] {
        let options = [&["--security-opt", option.as_str()], more].concat();
        assert_eq!(world.shell(&options, script).ok().stdout(), expected);
    }
    for (command, code) in [("run", 125), ("create", 1)] {
        let words = [command, "--security-opt", "apparmor=nrt-nosuch", IMAGE, "true"];
        let refused = world.nman(words).exits(code);
        let text =
            "cannot confine the container by AppArmor profile `nrt-nosuch`: it is not loaded";
        assert!(refused.stderr().contains(text), "{refused}");
        assert!(refused.stderr().contains("hint: `apparmor_parser -r FILE`"), "{refused}");
    }
    world.assert_no_container();
}

#[test]
fn what_looks_after_a_container_is_not_kept_from_it_by_its_profile() {
    let world = World::new();
    let script = "trap 'echo told; exit 7' TERM; trap 'echo asked' USR1
        sleep 1000 & kill -KILL $! && wait $!; echo $?
        while :; do sleep 0.1; done";
    // Without AppArmor there is nothing to be read there.
    let show = "cat /proc/self/attr/current 2>/dev/null; true";
    let check = ["--health-cmd", show, "--health-interval", "1s"];
    world
        .run(&[&["-d", "--init", "--name", "aa"][..], &check].concat(), &["sh", "-c", script])
        .ok();
    let own = if nman::bundle::host::has_apparmor() { enforced(OURS) } else { String::new() };
    let show = ["sh", "-c", show];
    for options in [&["exec", "aa"][..], &["exec", "--privileged", "aa"]] {
        assert_eq!(world.nman(options.iter().chain(&show)).ok().stdout(), own);
    }
    let terminal = ["exec", "-t", "aa"].iter().chain(&show);
    assert_eq!(world.nman(terminal).ok().stdout().replace("\r\n", "\n"), own);
    eventually("its check has been made", || {
        world.inspect("aa", "/State/Health/Log")[0]["Output"] == own.as_str()
    });
    assert!(world.nman(["top", "aa"]).ok().stdout().contains("sleep 0.1"));
    let copied = world.path("copied");
    world.nman(["cp", "aa:/etc/group", copied.to_str().unwrap()]).ok();
    world.nman(["cp", copied.to_str().unwrap(), "aa:/etc/copied"]).ok();
    world.nman(["pause", "aa"]).ok();
    world.nman(["unpause", "aa"]).ok();
    world.nman(["kill", "-s", "USR1", "aa"]).ok();
    eventually("it was asked", || world.nman(["logs", "aa"]).stdout().contains("asked"));
    world.nman(["stop", "aa"]).ok();
    assert_eq!(world.nman(["wait", "aa"]).ok().text(), "7");
    assert_eq!(world.nman(["logs", "aa"]).ok().stdout(), "137\nasked\ntold\n");
    world.nman(["rm", "aa"]).ok();
    world.assert_no_container();
}

#[test]
fn steps_of_a_build_are_confined_too() {
    let world = World::new();
    let directory = world.path("context");
    std::fs::create_dir(&directory).unwrap();
    let step = "RUN cat /proc/self/attr/current >/profile 2>/dev/null; test -f /profile";
    std::fs::write(directory.join("Dockerfile"), format!("FROM {IMAGE}\n{step}\n")).unwrap();
    world
        .nman(["build", "-q", "--network", "none", "-t", "made", directory.to_str().unwrap()])
        .ok();
    let words = ["run", "--rm", "--network", "none", "made", "cat", "/profile"];
    let own = if nman::bundle::host::has_apparmor() { enforced(OURS) } else { String::new() };
    assert_eq!(world.nman(words).ok().stdout(), own);
    world.assert_no_container();
}

/// Alone among the tests: it unloads the profile that all others have.
#[test]
fn our_profile_is_loaded_when_it_is_gone_and_its_lack_is_said() {
    let world = World::new();
    if !nman::bundle::host::has_apparmor() {
        let said = world.shell(&[], "true").ok();
        assert_eq!(said.stderr(), "", "nothing is missed");
        return world.assert_no_container();
    }
    let show = ["cat", "/proc/self/attr/current"];
    world.run(&["-d", "--name", "aa"], &["sleep", "1000"]).ok();
    apparmor::unload(OURS);
    let confined = [&["exec", "aa"][..], &show].concat();
    assert_eq!(world.nman(&confined).ok().stdout(), enforced(OURS));
    let script =
        "cat /proc/self/attr/current; while [ ! -e /end ]; do sleep 0.1; done; rm /end; exit 1";
    world.run(&["-d", "--restart", "on-failure", "--name", "bb"], &["sh", "-c", script]).ok();
    let end = world.path("end");
    std::fs::write(&end, "").unwrap();
    apparmor::unload(OURS);
    world.nman(["cp", end.to_str().unwrap(), "bb:/end"]).ok();
    eventually("it has begun again", || world.inspect("bb", "/RestartCount") == 1);
    eventually("it is confined again", || {
        world.nman(["logs", "bb"]).ok().stdout() == enforced(OURS).repeat(2)
    });
    world.nman(["stop", "-t", "0", "aa"]).ok();
    apparmor::unload(OURS);
    world.nman(["start", "aa"]).ok();
    assert_eq!(world.nman(&confined).ok().stdout(), enforced(OURS));

    apparmor::unload(OURS);
    let parser = tool("apparmor_parser");
    Capture::of("mount").args(["--bind", "/dev/null", parser.to_str().unwrap()]).run().ok();
    let said = world.shell(&[], "cat /proc/self/attr/current").ok();
    assert_eq!(said.stdout(), "unconfined\n");
    let text =
        "WARNING: AppArmor is enabled, but there is no `apparmor_parser` to load its profile";
    assert!(said.stderr().starts_with(text), "{said}");
    let unconfined = ["--security-opt", "apparmor=unconfined"];
    assert_eq!(world.shell(&unconfined, "true").ok().stderr(), "", "it was said already");
    let named = ["--security-opt", "apparmor=nman-default"];
    let refused = world.shell(&named, "true").exits(125);
    assert!(refused.stderr().contains("hint: install Debian's package apparmor"), "{refused}");
    let refused = world.nman(["restart", "-t", "0", "aa"]).exits(1);
    assert!(refused.stderr().contains("`nman-default`: it is not loaded"), "{refused}");
    let found = world.nman(["doctor", "--format", "{{.Check}}: {{.Found}}"]).stdout();
    assert!(found.contains("security module: AppArmor without `apparmor_parser`"), "{found}");
    assert!(!security_options(&world).contains("apparmor"));
    Capture::of("umount").args([&parser]).run().ok();

    let said = world.shell(&[], "cat /proc/self/attr/current").ok();
    assert_eq!((said.stdout(), said.stderr()), (enforced(OURS), String::new()));
    world.nman(["rm", "-f", "aa", "bb"]).ok();
    world.assert_no_container();
}

/// Alone among the tests: it unloads the profile that all others have.
#[test]
fn our_profile_is_loaded_for_a_container_that_had_to_be_made_without() {
    let world = World::new();
    let create = |name: &str, options: &[&str], command: &[&str]| {
        let words =
            [&["create", "--network", "none", "--name", name][..], options, &[IMAGE], command];
        world.nman(words.concat()).ok()
    };
    let show = ["cat", "/proc/self/attr/current"];
    if !nman::bundle::host::has_apparmor() {
        create("aa", &[], &["true"]);
        assert_eq!(world.nman(["start", "-a", "aa"]).ok().stderr(), "", "nothing is missed");
        assert_eq!(world.inspect("aa", "/AppArmorProfile"), "");
        world.nman(["rm", "aa"]).ok();
        return world.assert_no_container();
    }
    world.shell(&[], "true").ok();
    apparmor::unload(OURS);
    let parser = tool("apparmor_parser");
    // As on a host with systemd: a monitor, which has mounts of its own, sees what is unmounted later.
    Capture::of("mount").args(["--make-shared", "/"]).run().ok();
    Capture::of("mount").args(["--bind", "/dev/null", parser.to_str().unwrap()]).run().ok();
    let lack = "WARNING: AppArmor is enabled, but there is no `apparmor_parser`";
    assert!(create("aa", &[], &show).stderr().starts_with(lack));
    create("bb", &["--security-opt", "apparmor=unconfined"], &show);
    let script =
        "cat /proc/self/attr/current; while [ ! -e /end ]; do sleep 0.1; done; rm /end; exit 1";
    create("cc", &["--restart", "on-failure"], &["sh", "-c", script]);
    let said = world.nman(["start", "-a", "aa"]).ok();
    assert_eq!(said.stdout(), "unconfined\n");
    assert!(said.stderr().starts_with(lack), "{said}");
    assert_eq!(world.inspect("aa", "/AppArmorProfile"), "");
    world.nman(["start", "cc"]).ok();
    eventually("it runs", || world.nman(["logs", "cc"]).ok().stdout() == "unconfined\n");
    Capture::of("umount").args([&parser]).run().ok();

    let said = world.nman(["start", "-a", "aa"]).ok();
    assert_eq!((said.stdout(), said.stderr()), (enforced(OURS), String::new()));
    assert_eq!(world.inspect("aa", "/AppArmorProfile"), OURS);
    assert_eq!(world.nman(["start", "-a", "bb"]).ok().stdout(), "unconfined\n");
    let end = world.path("end");
    std::fs::write(&end, "").unwrap();
    apparmor::unload(OURS);
    world.nman(["cp", end.to_str().unwrap(), "cc:/end"]).ok();
    eventually("its next life is confined", || {
        let lives = format!("unconfined\n{}", enforced(OURS));
        world.nman(["logs", "cc"]).ok().stdout() == lives
    });
    assert_eq!(world.inspect("cc", "/AppArmorProfile"), OURS);
    world.nman(["rm", "-f", "aa", "bb", "cc"]).ok();
    world.assert_no_container();
}

#[test]
fn a_profile_is_had_where_it_cannot_be_asked_for_unless_there_is_nobody_to_ask() {
    let world = World::new();
    let place = "/sys/kernel/security";
    if !nman::bundle::host::has_apparmor() {
        Capture::of("mount").args(["-t", "tmpfs", "none", place]).run().ok();
        assert_eq!(world.shell(&[], "true").ok().stderr(), "", "nothing is missed");
        Capture::of("umount").args([place]).run().ok();
        return world.assert_no_container();
    }
    let show = "cat /proc/self/attr/current";
    world.shell(&[], "true").ok();
    // As in a unit of systemd with `ProtectKernelTunables=`.
    Capture::of("mount").args(["--bind", place, place]).run().ok();
    Capture::of("mount").args(["-o", "remount,bind,ro", place]).run().ok();
    let said = world.shell(&[], show).ok();
    assert_eq!((said.stdout(), said.stderr()), (enforced(OURS), String::new()));
    let found = world.nman(["doctor", "--format", "{{.Check}}: {{.Found}}"]).stdout();
    assert!(found.contains("security module: AppArmor that does not answer"), "{found}");
    Capture::of("mount").args(["-t", "tmpfs", "none", place]).run().ok();
    let said = world.shell(&[], show).ok();
    assert_eq!(said.stdout(), "unconfined\n");
    let text = "WARNING: AppArmor is enabled, but securityfs is not mounted";
    assert!(said.stderr().starts_with(text), "{said}");
    Capture::of("umount").args([place, place]).run().ok();
    world.assert_no_container();
}
