//! What SELinux makes of containers: labels with categories of their own, and what is mounted in them. Where it is not enabled, nothing.
//!
//! Where it is, the guest's policy has types for containers, `nrt_container_t` and `nrt_file_t`.

use super::build::{command, context, dockerfile, shell};
use super::world::{IMAGE, World};
use nconform::fixture::{Capture, selinux};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PROCESS: &str = "system_u:system_r:nrt_container_t:";
const FILES: &str = "system_u:object_r:nrt_file_t:";
const LAYERS: &str = "system_u:object_r:nrt_ro_file_t:s0";
const SHOW: [&str; 2] = ["cat", "/proc/self/attr/current"];
const DISABLE: [&str; 2] = ["--security-opt", "label=disable"];

/// A directory of the host's with a file in it that says `text`.
fn directory(world: &World, name: &str) -> PathBuf {
    let path = world.path(name);
    fs::create_dir(&path).unwrap();
    fs::write(path.join("text"), "text\n").unwrap();
    path
}

fn volume(path: &Path, options: &str) -> String {
    format!("{}:/in{options}", path.display())
}

fn start(world: &World, name: &str, options: &[&str]) {
    let words = ["-d", "--name", name].iter().chain(options).copied().collect::<Vec<_>>();
    world.run(&words, &["sleep", "1000"]).ok();
}

/// Process and mount label of a container.
fn labels(world: &World, name: &str) -> (String, String) {
    let label =
        |pointer: &str| world.inspect(name, pointer).as_str().unwrap_or_default().to_owned();
    (label("/ProcessLabel"), label("/MountLabel"))
}

/// What a container reads of the file in a directory.
fn reads(world: &World, options: &[&str], volume: &str) -> bool {
    let said = world.shell(&[options, &["-v", volume]].concat(), "cat /in/text");
    if said.stdout() == "text\n" {
        return true;
    }
    let said = said.exits(1);
    assert!(said.stderr().contains("Permission denied"), "{said}");
    false
}

#[test]
fn where_there_is_no_selinux_nothing_is_labelled() {
    let world = World::new();
    if selinux::is_enabled() {
        return world.assert_no_container();
    }
    let directory = directory(&world, "in");
    for options in [":z", ":Z"] {
        assert!(reads(&world, &[], &volume(&directory, options)));
    }
    let mount = format!("type=bind,source={},target=/in,relabel=private", directory.display());
    let said = world.run(&["--name", "aa", "--mount", &mount], &["cat", "/in/text"]).ok();
    assert_eq!((said.stdout().as_str(), said.stderr().as_str()), ("text\n", ""));
    assert_eq!(labels(&world, "aa"), (String::new(), String::new()));
    assert_eq!(world.inspect("aa", "/Mounts/0/Mode"), "Z");
    assert_eq!(selinux::label(&directory.join("text")), "");
    // Nothing of the host's is touched, so that nothing is refused.
    world.shell(&["-v", "/etc:/in:z"], "test -e /in/passwd").ok();
    world.nman(["rm", "aa"]).ok();
    world.assert_no_container();
}

#[test]
fn a_container_has_labels_of_its_own_for_as_long_as_it_is_there() {
    let world = World::new();
    if !selinux::is_enabled() {
        return world.assert_no_container();
    }
    start(&world, "aa", &["--init", "--ipc", "shareable"]);
    let (process, mount) = labels(&world, "aa");
    let level = process.strip_prefix(PROCESS).unwrap_or_else(|| panic!("{process}"));
    assert!(level.starts_with("s0:c") && level.contains(",c"), "{process}");
    assert_eq!(mount, format!("{FILES}{level}"));
    let shown = || {
        let words = |options: &[&'static str]| {
            let words = options.iter().chain(&["aa"]).chain(&SHOW).copied();
            world.nman(words).ok().stdout().trim_end_matches('\0').to_owned()
        };
        [words(&["exec"]), words(&["exec", "--privileged"])]
    };
    assert_eq!(shown(), [process.clone(), process.clone()]);
    let pid = world.inspect("aa", "/State/Pid").to_string();
    assert_eq!(selinux::label_of_process(&pid), process);
    let mounts = world.nman(["exec", "aa", "cat", "/proc/mounts"]).ok().stdout();
    let busybox = world.inspect("aa", "/GraphDriver/Data/LowerDir");
    let busybox = Path::new(busybox.as_str().unwrap()).join("bin/busybox");
    assert_eq!(selinux::label(&busybox), LAYERS);
    for place in ["/", "/dev", "/dev/shm", "/dev/pts"] {
        let is_labelled = |line: &str| {
            line.split(' ').nth(1) == Some(place) && line.contains(&format!("context=\"{mount}\""))
        };
        assert!(mounts.lines().any(is_labelled), "{place}: {mounts}");
    }
    let files = "cat /etc/hosts /etc/resolv.conf /etc/hostname >/dev/null && echo >>/etc/hosts && echo in >/dev/shm/file && echo kept >/kept";
    world.nman(["exec", "aa", "sh", "-c", files]).ok();
    // Who shares processes and memory with it has its label.
    let joined = ["--name", "bb", "--pid", "container:aa", "--ipc", "container:aa"];
    assert_eq!(world.run(&joined, &["cat", "/dev/shm/file"]).ok().stdout(), "in\n");
    assert_eq!(labels(&world, "bb"), (process.clone(), mount.clone()));
    world.nman(["stop", "-t", "0", "aa"]).ok();
    let copied = world.path("copied");
    world.nman(["cp", "aa:/kept", copied.to_str().unwrap()]).ok();
    world.nman(["cp", copied.to_str().unwrap(), "aa:/copied"]).ok();
    assert!(!selinux::label(&copied).contains("nrt_file_t"));
    // As `restorecon` does it, which knows nothing of the store.
    let layer = busybox.parent().and_then(Path::parent).unwrap();
    for path in [layer, &busybox] {
        selinux::set_label(path, "system_u:object_r:tmpfs_t:s0");
    }
    world.nman(["start", "aa"]).ok();
    assert_eq!(selinux::label(&busybox), LAYERS);
    assert_eq!(labels(&world, "aa"), (process.clone(), mount));
    assert_eq!(shown(), [process.clone(), process]);
    assert_eq!(world.nman(["exec", "aa", "cat", "/copied", "/kept"]).ok().stdout(), "kept\nkept\n");
    world.nman(["rm", "-f", "aa", "bb"]).ok();
    world.assert_no_container();
}

#[test]
fn a_container_reads_nothing_of_the_host_that_is_not_labelled_for_it() {
    let world = World::new();
    if !selinux::is_enabled() {
        return world.assert_no_container();
    }
    let ours = directory(&world, "ours");
    let link = ours.join("link");
    let foreign = world.path("foreign");
    fs::write(&foreign, "").unwrap();
    std::os::unix::fs::symlink(&foreign, &link).unwrap();
    let before = selinux::label(&foreign);
    assert!(!reads(&world, &[], &volume(&ours, "")));
    assert!(reads(&world, &DISABLE, &volume(&ours, "")));
    assert!(reads(&world, &["--privileged"], &volume(&ours, "")));
    // Of a file system that is read-only in the container too.
    assert!(reads(&world, &[], &volume(&ours, ":ro,z")));
    for path in [&ours, &ours.join("text"), &link] {
        assert_eq!(selinux::label(path), format!("{FILES}s0"), "{}", path.display());
    }
    assert_eq!(selinux::label(&foreign), before, "no link is followed");
    assert!(reads(&world, &[], &volume(&ours, "")), "it is everybody's now");

    // A private one is another container's no more than the host's.
    start(&world, "aa", &["-v", &volume(&ours, ":Z")]);
    let (_, mount) = labels(&world, "aa");
    assert_eq!(selinux::label(&ours.join("text")), mount);
    assert_eq!(world.nman(["exec", "aa", "cat", "/in/text"]).ok().stdout(), "text\n");
    assert!(!reads(&world, &[], &volume(&ours, "")));
    assert!(reads(&world, &DISABLE, &volume(&ours, "")));
    let level = mount.strip_prefix(FILES).unwrap();
    let same = ["--security-opt".to_owned(), format!("label=level:{level}")];
    assert!(reads(&world, &same.each_ref().map(String::as_str), &volume(&ours, "")));
    let mount = format!("type=bind,source={},target=/in,relabel=private", ours.display());
    assert_eq!(world.shell(&["--mount", &mount], "cat /in/text").ok().stdout(), "text\n");
    let taken = world.nman(["exec", "aa", "cat", "/in/text"]).exits(1);
    assert!(taken.stderr().contains("Permission denied"), "{taken}");

    // A volume with a name is everybody's, and so is what they make in it.
    world.shell(&["-v", "data:/in"], "echo text >/in/text").ok();
    assert!(reads(&world, &[], "data:/in"));
    world.nman(["rm", "-f", "aa"]).ok();
    world.nman(["volume", "rm", "data"]).ok();
    world.assert_no_container();
}

#[test]
fn labels_are_the_ones_that_are_asked_for_or_none() {
    let world = World::new();
    if !selinux::is_enabled() {
        return world.assert_no_container();
    }
    let refuse = |options: &[&str], why: &str| {
        let refused = world.shell(options, "true").exits(125);
        assert!(refused.stderr().contains(why), "{refused}");
    };
    refuse(&["--security-opt", "label=type:nosuch_t"], "the host's policy does not know it");
    refuse(&["--security-opt", "label=level:s0:c5000"], "the host's policy does not know it");
    refuse(&["-v", "/etc:/in:Z"], "SELinux relabeling of /etc is not allowed");
    refuse(&["-v", "/usr/../etc:/in:z"], "/etc is not allowed");
    let unconfined = (String::new(), format!("{FILES}s0:c1022,c1023"));
    let named = |level: &str| (format!("{PROCESS}{level}"), format!("{FILES}{level}"));
    for (options, expected) in [
        (&["--privileged"][..], unconfined.clone()),
        (&DISABLE, unconfined.clone()),
        (&["--pid", "host"], unconfined.clone()),
        (&["--ipc", "host"], unconfined),
        (&["--security-opt", "label=level:s0:c5,c6"], named("s0:c5,c6")),
        (&["--privileged", "--security-opt", "label=level:s0:c7"], named("s0:c7")),
    ] {
        let said = world.run(&[&["--name", "aa"], options].concat(), &SHOW).ok().stdout();
        let (process, mount) = labels(&world, "aa");
        let own = selinux::label_of_process("self");
        let runs_as = if process.is_empty() { &own } else { &process };
        assert_eq!(said.trim_end_matches('\0'), runs_as.as_str(), "{options:?}");
        assert_eq!((process, mount), expected, "{options:?}");
        world.nman(["rm", "aa"]).ok();
    }
    world.assert_no_container();
}

#[test]
fn a_policy_without_types_for_containers_is_told_of() {
    let world = World::new();
    if !selinux::is_enabled() {
        return world.assert_no_container();
    }
    let security_options =
        || world.nman(["info", "--format", "{{.SecurityOptions}}"]).ok().stdout();
    let module = || world.nman(["doctor", "--format", "{{.Check}}: {{.Found}}"]).stdout();
    assert!(security_options().contains("name=selinux"));
    assert!(module().contains("security module: SELinux\n"));
    let file = world.path("contexts");
    let place = "/etc/selinux/default/contexts/lxc_contexts";
    let types = "process = \"system_u:system_r:container_t:s0\"\nfile = \"system_u:object_r:container_file_t:s0\"\n";
    fs::write(&file, types).unwrap();
    Capture::of("mount").args(["--bind", file.to_str().unwrap(), place]).run().ok();
    let own = selinux::label_of_process("self");
    let said = world.shell(&[], "cat /proc/self/attr/current").ok();
    assert_eq!(said.stdout().trim_end_matches('\0'), own);
    let warning =
        "WARNING: SELinux is enabled, but its policy does not know `system_u:system_r:container_t:";
    assert!(said.stderr().starts_with(warning), "{said}");
    assert_eq!(world.shell(&DISABLE, "true").ok().stderr(), "", "it was said already");
    assert!(module().contains("security module: SELinux without types for containers\n"));
    assert!(!security_options().contains("selinux"));
    fs::write(&file, "").unwrap();
    let said = world.shell(&[], "cat /proc/self/attr/current").ok();
    assert_eq!((said.stdout().trim_end_matches('\0'), said.stderr().as_str()), (&*own, ""));
    assert!(module().contains("security module: SELinux without contexts for containers\n"));
    let refused = world.shell(&["--security-opt", "label=type:kmod_t"], "true").exits(125);
    assert!(refused.stderr().contains("has no contexts for containers"), "{refused}");
    Capture::of("umount").args([place]).run().ok();
    world.assert_no_container();
}

#[test]
fn steps_of_a_build_have_labels_and_can_read_what_is_mounted_for_them() {
    let world = World::new();
    if !selinux::is_enabled() {
        return world.assert_no_container();
    }
    let text = dockerfile(
        "RUN cat /proc/self/attr/current >/label\n\
         RUN --mount=type=cache,target=/cache echo cached >/cache/file\n\
         RUN --mount=type=cache,target=/cache --mount=type=secret,id=key,target=/key --mount=target=/context \
             --mount=type=bind,from=test/busybox,source=/etc,target=/from \
             cat /cache/file /key /context/in /from/text >/read\n\
         RUN <<EOF\n#!/bin/sh\necho script >>/read\nEOF\n",
    );
    let context = context(&world, "context", &[("Dockerfile", &text), ("in", "context\n")]);
    let secret = world.path("secret");
    fs::write(&secret, "secret\n").unwrap();
    let secret = format!("id=key,src={}", secret.display());
    // Four containers take longer in the guest than a program is given otherwise.
    let building = command(&world, &["-t", "made", "--secret", &secret], &context);
    let _ = building.limit(Duration::from_secs(600)).run().ok();
    let said = shell(&world, "made", "cat /label; echo; cat /read");
    let (label, read) = said.split_once('\n').unwrap();
    assert!(label.starts_with(PROCESS), "{said}");
    assert_eq!(read, "cached\nsecret\ncontext\nnot a program\nscript\n");
    assert_eq!(IMAGE, "test/busybox");
    world.nman(["volume", "prune", "-af"]).ok();
    world.assert_no_container();
}
