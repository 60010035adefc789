//! What a container may cost, in counts that do not depend on the machine's speed.

use nconform::bench::{Calls, count_create};
use nconform::fixture::{BundleDir, Container, Runtime, Sandbox, cgroups, scratch_dir, strace};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::path::Path;

/// On a host with nine v1 hierarchies and one of v2 they are 289 and more; up to four are the init's, who goes on while `create` ends.
const MOST_CALLS: usize = 296;
/// The same where all is on v2, before Linux 6.15, where it takes two calls to copy and change a mount: 216 and more, and the init's.
const MOST_CALLS_UNIFIED: usize = 220;
/// What the first create after a boot does besides: it makes the directory of states, and passes the controllers of v2 on.
const MORE_OF_THE_FIRST: usize = 10;

#[test]
fn create_makes_few_system_calls_in_two_tasks_and_reads_no_mount_table() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), BundleDir::new());
    let first = count_create(&runtime, &bundle);
    let counted = count_create(&runtime, &bundle);
    let Calls { calls, tasks, mountinfo } = counted;
    assert!(calls > 50, "too few system calls to be true: {calls}");
    let most = if cgroups::unified() { MOST_CALLS_UNIFIED } else { MOST_CALLS };
    assert!(calls <= most, "{calls} system calls in a create, {most} are the bar");
    let (calls, most) = (first.calls, most + MORE_OF_THE_FIRST);
    assert!(calls <= most, "{calls} system calls in the first create, {most} are the bar");
    assert_eq!(mountinfo, 0, "opened a table of mounts, whose size is the host's affair");
    assert_eq!(tasks, 2, "the caller and the container's process are all it takes");
}

/// The system calls of a command that fails at once, without what they were given.
fn first_calls(args: &[&str]) -> Vec<String> {
    let (_, lines) = strace(&[], Runtime::under_test().program(), args);
    let name = |line: &String| line.split('(').next().unwrap_or_default().to_owned();
    lines.iter().map(name).collect()
}

#[test]
fn what_makes_a_container_runs_from_a_mount_of_its_file_before_anything_else_and_without_an_exec() {
    let _sandbox = Sandbox::enter();
    for word in ["create", "run", "exec"] {
        let calls = first_calls(&["--root", "/nowhere", word, "--no-such-option"]);
        let first = ["execve", "brk", "open_tree", "mount_setattr", "openat"];
        assert_eq!(calls[..first.len()], first, "{word}");
        let others: Vec<_> =
            calls[first.len()..].iter().skip_while(|call| *call == "mmap").collect();
        assert_eq!(others[..2], ["prctl", "close_range"], "{word}: {calls:?}");
        assert!(!calls.contains(&"execveat".to_owned()), "{word}: {calls:?}");
    }
    for args in [&["--version"][..], &["spec", "--runtime"], &["list", "creates"], &[]] {
        let calls = first_calls(args);
        assert!(!calls.contains(&"open_tree".to_owned()), "{args:?}: {calls:?}");
    }
}

#[test]
fn where_the_kernel_does_not_let_it_the_mount_is_executed_once() {
    let _sandbox = Sandbox::enter();
    let program = Runtime::under_test().program().display().to_string();
    let args = ["--root", "/nowhere", "run", "--no-such-option"];
    let refused = ["-e", "inject=prctl:error=EPERM:when=1"];
    // Its descriptor has two digits.
    let many = "exec 3<&0 4<&0 5<&0 6<&0 7<&0 8<&0 9<&0; exec \"$@\"";
    let through_sh = [&["-c", many, "sh", &program][..], &args].concat();
    for (output, lines) in [
        strace(&refused, Path::new(&program), &args),
        strace(&[], Path::new("/bin/sh"), &through_sh),
    ] {
        let executed = lines.iter().filter(|line| line.starts_with("execveat(")).count();
        assert_eq!(executed, 1, "{lines:#?}");
        assert!(output.stderr().contains("--no-such-option"), "{output}");
    }
}

#[test]
fn create_costs_the_same_whatever_runs_and_is_mounted_beside_it() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), BundleDir::new());
    // The first one makes the directory of states.
    let _first = count_create(&runtime, &bundle);
    let alone = count_create(&runtime, &bundle);
    let others: Vec<Container<'_>> = (0..12).map(|_| runtime.start(&bundle)).collect();
    let directory = scratch_dir();
    for _ in 0..300 {
        mount("none", directory.path(), "tmpfs", MountFlags::empty(), None).expect("a mount");
    }
    let among = count_create(&runtime, &bundle);
    for _ in 0..300 {
        unmount(directory.path(), UnmountFlags::DETACH).expect("the mount is there");
    }
    drop(others);
    // The init goes on while `create` ends, and what it has done by then counts.
    let growth = among.calls.saturating_sub(alone.calls);
    assert!(growth < 8, "{growth} more among 12 containers and 300 mounts");
    assert_eq!((among.tasks, among.mountinfo), (alone.tasks, 0));
}

#[test]
fn a_container_that_may_have_512_kib_of_memory_starts() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().args(["true"]).set("/linux/resources/memory/limit", 512 << 10);
    runtime.run(&bundle).exits(0);
}
