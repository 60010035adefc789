//! The attacks find what they look for: Debian 12's crun lacks defences that nrun has.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nconform::fixture::{Capture, binary, tool};

#[test]
fn a_runtime_that_runs_no_container_has_withstood_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("idle");
    fs::write(&program, "#!/bin/sh\n[ $1 != --version ] || exec echo idle version 1\nexit 1\n")
        .and_then(|()| fs::set_permissions(&program, fs::Permissions::from_mode(0o755)))
        .expect("write a script");
    let output = Capture::of(binary("nconform"))
        .args(["attack", "--json", "--filter", "/dev/null of", "--runtime"])
        .args([program])
        .run()
        .exits(1);
    let verdict = &output.json()["rows"][0]["verdicts"][0];
    let why = verdict["not-applicable"].as_str().unwrap_or_else(|| panic!("{verdict}"));
    assert!(why.starts_with("a plain container does not run"), "{why}");
}

#[test]
fn attacks_work_on_a_runtime_without_the_defence_and_not_on_ours() {
    for (filter, count) in [
        ("behind a descriptor", 2),
        ("/dev of the image", 1),
        ("covers", 3),
        ("given to read", 1),
        ("user id", 1),
        ("monstrous", 1),
        ("are FIFOs", 1),
        ("leads to the host", 1),
    ] {
        let report = Capture::of(binary("nconform"))
            .args(["attack", "--json", "--filter", filter, "--runtime"])
            .args([binary("nrun")])
            .args(["--runtime".as_ref(), tool("crun").as_os_str()])
            .run()
            .ok()
            .json();
        let rows = report["rows"].as_array().expect("rows").clone();
        assert_eq!(rows.len(), count, "{filter}");
        for row in rows {
            assert_eq!(row["verdicts"][0], "safe", "{row}");
            assert!(row["verdicts"][1]["broken"].is_string(), "{row}");
        }
    }
}
