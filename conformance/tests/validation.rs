//! `nconform validation`, with small scripts for programs: such as pass, fail, skip, crash and hang.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nconform::fixture::{Capture, Output, binary, cgroups, unique_name};
use tempfile::TempDir;

fn suite(programs: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, script) in programs {
        let path = directory.path().join("validation").join(name).join(format!("{name}.t"));
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    directory
}

fn validate(suite: &TempDir, more: &[&str]) -> Output {
    let directory = suite.path().display().to_string();
    let runtime = binary("nrun").display().to_string();
    let args = ["validation", "--dir", &directory, "--runtime", &runtime];
    Capture::of(Path::new(env!("CARGO_BIN_EXE_nconform"))).args(args).args(more).run()
}

/// The line of a program in the table, without its name.
fn line(output: &Output, name: &str) -> String {
    let text = output.stdout();
    let found = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    found.unwrap_or_else(|| panic!("no line for {name}: {output}")).trim().to_owned()
}

#[test]
fn each_program_has_a_line_and_the_totals_are_theirs() {
    let suite = suite(&[
        ("good", "echo TAP version 13; echo 'ok 1 - a'; echo 'ok 2 # SKIP b'; echo 1..2"),
        ("bad", "echo 'ok 1'; echo 'not ok 2 - no cgroup'; echo 1..2"),
        ("crash", "echo 'ok 1'; kill -SEGV $$"),
        ("later", "echo '1..0 # not on this machine'"),
        ("short", "echo 1..3; echo 'ok 1'"),
    ]);
    let output = validate(&suite, &[]).exits(1);
    assert_eq!(line(&output, "good"), "pass 1");
    assert_eq!(line(&output, "bad"), "FAIL 1 of 2");
    assert_eq!(line(&output, "crash"), "FAIL");
    assert_eq!(line(&output, "later"), "skip");
    assert_eq!(line(&output, "short"), "FAIL");
    assert_eq!(line(&output, "total"), "1 of 5, 1 skipped");
    for why in ["not ok 2 - no cgroup", "ended by signal 11", "3 tests planned, 1 seen"] {
        assert!(output.stdout().contains(why), "{why}: {output}");
    }
    let _ = validate(&suite, &["--filter", "good"]).ok();
    let xml = validate(&suite, &["--report", "junit"]).exits(1).stdout();
    assert!(xml.contains("tests=\"5\" failures=\"3\" skipped=\"1\""), "{xml}");
}

#[test]
fn a_program_runs_beside_the_root_file_system_with_the_runtime_in_its_environment() {
    let suite = suite(&[(
        "env",
        "[ -f runtimetest ] && \"$RUNTIME\" --version >/dev/null && echo 'ok 1'; echo 1..1",
    )]);
    fs::write(suite.path().join("runtimetest"), "").expect("a file");
    let _ = validate(&suite, &[]).ok();
}

#[test]
fn what_hangs_is_ended_with_its_containers_and_cgroups() {
    let name = unique_name();
    let config = nconform::fixture::BundleDir::new()
        .args(["sleep", "8642"])
        .set("/linux/cgroupsPath", format!("/{name}"));
    let bundle = config.path().display();
    let suite = suite(&[
        ("hangs", &format!("\"$RUNTIME\" run --detach --bundle {bundle} {name}; sleep 8642")),
        ("next", "echo 'ok 1'; echo 1..1"),
    ]);
    let output = validate(&suite, &["--timeout", "3"]).exits(1);
    assert_eq!(line(&output, "hangs"), "HANGS");
    assert_eq!(line(&output, "next"), "pass 1");
    assert!(cgroups::named(&name).is_empty(), "{:?}", cgroups::named(&name));
    let left = Capture::of("ps").args(["-eo", "args"]).run().stdout();
    assert!(!left.contains("sleep 8642"), "{left}");
}

#[test]
fn a_directory_without_programs_is_an_error_with_a_hint() {
    let output = validate(&suite(&[]), &[]).exits(2);
    assert!(output.stderr().contains("hint: "), "{output}");
}
