//! What the benchmark needs of the whole program.

use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use nconform::fixture::{binary, tool};

/// The program between the benchmark and one of busybox, whose peak it tells.
fn peak(words: &[&str]) -> Output {
    let mut command = Command::new(binary("nconform"));
    command.arg0("npeak").args(words).output().expect("nconform")
}

#[test]
fn a_peak_is_that_of_the_program_whoever_asks_for_it() {
    let busybox = tool("busybox");
    let busybox = busybox.to_str().expect("a path in UTF-8");
    let kib = |words: &[&str]| -> u64 {
        let output = peak(words);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).parse().expect("a number alone")
    };
    // The test has this much, which a child of its own would have until it executes something else.
    let held = vec![1u8; 64 << 20];
    let small = kib(&[busybox, "true"]);
    assert!((1..8 << 10).contains(&small), "{small}");
    let large = kib(&[busybox, "dd", "if=/dev/zero", "of=/dev/null", "bs=16M", "count=1"]);
    assert!(large >= 16 << 10, "{large}");
    assert_eq!(held.last(), Some(&1));
}

#[test]
fn of_a_program_that_fails_no_peak_is_told() {
    let failed = peak(&[tool("busybox").to_str().expect("a path in UTF-8"), "false"]);
    assert_eq!((failed.status.code(), &*failed.stdout), (Some(1), &b""[..]));
    let missing = peak(&["/no/such/program"]);
    assert_eq!(missing.status.code(), Some(127));
    let said = String::from_utf8_lossy(&missing.stderr);
    assert!(said.contains("cannot run `/no/such/program`: No such file"), "{said}");
}
