//! Each attack can work: a stand-in that lacks one defence of the workspace's nrun is found out, by that attack.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nconform::fixture::{Capture, binary, tool};
use tempfile::TempDir;

/// Attacks, and what a script before nrun does to lack the defence: `$bundle` is there for `create` and `run`.
const BROKEN: &[(&str, &str)] = &[
    (
        "keeps descriptors",
        "[ ! -e /proc/self/fd/9 ] || { shift 3; exec 3<$0 4<$0 5<$0 6<$0 $real --root $root run --preserve-fds 7 \"$@\"; }",
    ),
    ("below what is masked", "edit '.linux.maskedPaths = [] | .process.cwd = \"/vol/masked\"'"),
    ("given to read", "chown $($jq .process.user.uid $bundle/config.json) /dev/stdin"),
    // The root file system is prepared by paths, which links of the image lead to the host.
    ("/dev/null of the image", "touch $bundle/rootfs/dev/null"),
    ("/dev/pts of the image", "touch $bundle/rootfs/dev/pts/0"),
    (
        "the target of a mount",
        "$jq -r '.mounts[].destination' $bundle/config.json | sed s:^:$bundle/rootfs: | xargs mkdir -p",
    ),
    (
        "the working directory is made",
        "mkdir -p $bundle/rootfs$($jq -r .process.cwd $bundle/config.json)",
    ),
    ("/dev/console of the image", "touch $bundle/rootfs/dev/console"),
    ("/dev/shm of the image", "touch $bundle/rootfs/dev/shm/made"),
    ("/proc of the image", "touch $bundle/rootfs/proc/made"),
    ("/sys of the image", "touch $bundle/rootfs/sys/made"),
    (
        "names of a volume",
        "mkdir -p $($jq -r '.mounts[] | select(.destination == \"/vol\").source' $bundle/config.json)/a/deep",
    ),
    ("settings of the kernel", "edit '.linux.readonlyPaths = []'"),
    (
        "called like another's",
        "user=$($jq .process.user.uid $bundle/config.json)
         found=$(sed -n \"s/^$user:x:\\([0-9]*\\):.*/\\1/p\" $bundle/rootfs/etc/passwd)
         [ -z \"$found\" ] || edit \".process.user.uid = $found\"",
    ),
    ("monstrous", "sed -n '$p' $bundle/rootfs/etc/passwd >/dev/null"),
    ("are FIFOs", "cat $bundle/rootfs/etc/passwd >/dev/null"),
    (
        "groups and capabilities",
        "groups=$(id -G | tr ' ' ,); edit \".process.user.additionalGids = [$groups]\"",
    ),
    (
        "leads to the host",
        "mkdir -p /sys/fs/cgroup/$($jq -r .linux.cgroupsPath $bundle/config.json)",
    ),
    (
        "environment of the caller",
        "edit '.process.env += [\"NRT_SECRET=\" + (env.NRT_SECRET // \"\")]'",
    ),
    (
        "writes to its cgroups",
        "edit '(.mounts[] | select(.type == \"cgroup\").options) -= [\"ro\"]'",
    ),
    (
        "gets at the runtime's state",
        "umask 0; [ -d $root ] || { mkdir -p -m 755 $root; echo secret >$root/secret; }",
    ),
    (
        "abstract names",
        "perl -MSocket -e 'socket S, PF_UNIX, SOCK_STREAM, 0; bind S, pack_sockaddr_un(\"\\0leak$$\"); sleep 5' \
            </dev/null >/dev/null 2>&1 & sleep 1",
    ),
    ("a flood of output", "exec perl -e '$_ = `@ARGV`; print' $real \"$@\""),
    ("more id mappings", "edit '.linux.uidMappings |= .[:10] | .linux.gidMappings |= .[:10]'"),
    ("a text that is no", "$jq . $bundle/config.json >/dev/null 2>&1 || kill -SEGV $$"),
];

/// A runtime that executes what it is told in a container as itself, with its own executable for all to open.
const EXPOSED: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void join(int pid, const char *kind) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, kind);
    setns(open(path, O_RDONLY | O_CLOEXEC), 0);
}

int main(int argc, char **argv) {
    if (argc > 2 && !strcmp(argv[1], "--log"))
        return open(argv[2], O_WRONLY) < 0;
    if (argc < 6 || strcmp(argv[3], "exec"))
        return execv(REAL, argv);
    char line[4096];
    int pid = 0;
    snprintf(line, sizeof line, REAL " --root %s state %s", argv[2], argv[4]);
    FILE *state = popen(line, "r");
    while (fgets(line, sizeof line, state))
        sscanf(line, " \"pid\": %d", &pid);
    pclose(state);
    join(pid, "pid");
    join(pid, "mnt");
    for (int capability = 0; capability < 64; capability++)
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    if (fork() == 0)
        return execv(argv[5], argv + 5);
    wait(NULL);
    return 0;
}
"#;

fn script(directory: &TempDir, fault: &str) -> PathBuf {
    let path = directory.path().join("broken");
    let text = format!(
        r#"#!/bin/sh
real={real} jq={jq} root=$2
edit() {{ $jq "$1" $bundle/config.json >$bundle/.changed && cat $bundle/.changed >$bundle/config.json; }}
[ "$4" = --bundle ] && bundle=$5
if [ -n "$bundle" ]; then
    {fault}
fi
exec $real "$@"
"#,
        real = binary("nrun").display(),
        jq = tool("jq").display(),
    );
    fs::write(&path, text).expect("write a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    path
}

/// What `nconform attack` says of a runtime, for the one attack that the filter selects.
fn verdict(runtime: &Path, filter: &str) -> serde_json::Value {
    let report = Capture::of(binary("nconform"))
        .args(["attack", "--json", "--filter", filter, "--runtime"])
        .args([runtime])
        .run()
        .json();
    let rows = report["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 1, "{filter} selects one attack");
    rows[0]["verdicts"][0].clone()
}

#[test]
fn a_runtime_without_a_defence_is_broken_by_the_attack_on_it() {
    for (filter, fault) in BROKEN {
        let directory = tempfile::tempdir().expect("a directory");
        let seen = verdict(&script(&directory, fault), filter);
        assert!(seen["broken"].is_string(), "{filter}: {seen}");
    }
}

#[test]
fn the_same_script_without_a_fault_is_safe_from_all_of_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = script(&directory, ":");
    for (filter, _) in BROKEN {
        assert_eq!(verdict(&path, filter), "safe", "{filter}");
    }
}

#[test]
fn an_executable_that_a_container_can_open_is_overwritten() {
    let directory = tempfile::tempdir().expect("a directory");
    let (source, program) = (directory.path().join("exposed.c"), directory.path().join("exposed"));
    fs::write(&source, EXPOSED).expect("write a program");
    let real = format!("-DREAL=\"{}\"", binary("nrun").display());
    let compiler = Capture::of(tool("musl-gcc")).args(["-static", &real, "-o"]);
    let _ = compiler.args([&program, &source]).run().ok();
    let seen = verdict(&program, "runtime's executable");
    assert!(seen["broken"].as_str().is_some_and(|text| text.contains("overwritten")), "{seen}");
}
