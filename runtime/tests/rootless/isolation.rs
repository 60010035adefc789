//! What a user's container must not reach, and what one user can do to another's.

use nconform::fixture::{User, scratch_dir};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

#[test]
fn the_runtimes_executable_is_a_sealed_copy() {
    let user = User::enter();
    let runtime = user.runtime();
    let before = fs::read(user.program()).expect("the program");
    let bundle = user.bundle().shell(
        "for pid in /proc/[0-9]*; do (echo overwritten > $pid/exe) 2>/dev/null && echo wrote $pid; done; true",
    );
    let container = runtime.create(&bundle, [""; 0]);
    if user.is_made() {
        let link = format!("/proc/{}/exe", container.pid().as_raw_nonzero());
        let link = fs::read_link(link).expect("the link");
        assert!(link.to_string_lossy().starts_with("/memfd:nrun"), "{}", link.display());
    }
    let _ = container.start().ok();
    container.wait();
    assert_eq!(container.output().stdout(), "");
    assert!(fs::read(user.program()).expect("the program") == before);
}

#[test]
fn the_program_that_it_executes_may_be_the_runtime_itself() {
    let user = User::enter();
    let before = fs::read(user.program()).expect("the program");
    let bundle = user.bundle().args(["/proc/self/exe", "--version"]);
    let output = user.runtime().run(&bundle);
    assert!(output.stdout().starts_with("nrun version"), "{output}");
    assert!(fs::read(user.program()).expect("the program") == before);
}

#[test]
fn no_descriptor_of_the_runtime_is_left_open() {
    let user = User::enter();
    let runtime = user.runtime();
    let bundle = user.bundle().shell("ls /proc/self/fd | tr '\\n' ' '; sleep 60");
    let container = runtime.start(&bundle);
    let text = container.exec(["sh", "-c", "echo /proc/$$/fd/*"]).ok().text();
    assert!(!text.contains("/fd/4"), "{text}");
}

#[test]
fn a_source_is_not_what_the_runtime_has_open() {
    let user = User::enter();
    let runtime = user.runtime();
    for source in ["/proc/self/fd/0", "/dev/stdin"] {
        let bind = json!({"destination": "/x", "source": source, "options": ["bind"]});
        let output = runtime.try_create(&user.bundle().push("/mounts", bind)).exits(1);
        assert!(output.stderr().contains("hint: the path leads through a link"), "{output}");
    }
}

#[test]
fn flags_that_the_host_has_locked_stay() {
    let user = User::enter();
    let runtime = user.runtime();
    let bundle = user.bundle();
    // /run, in a sandbox and under systemd alike, is nosuid and nodev.
    let run = if user.is_made() { Path::new("/run") } else { user.runtime_directory() };
    let data = run.join(nconform::fixture::unique_name());
    fs::create_dir(&data).expect("make a directory");
    fs::create_dir(bundle.rootfs().join("data")).expect("make a directory");
    user.give(&data);
    let with = |options: serde_json::Value| {
        let mount =
            json!({"destination": "/data", "type": "bind", "source": data, "options": options});
        user.bundle()
            .push("/mounts", mount)
            .shell("grep ' /data ' /proc/mounts | cut -d' ' -f4; touch /data/x")
    };
    for options in [json!(["rbind"]), json!(["bind", "rw"]), json!(["rbind", "noexec"])] {
        let text = runtime.run(&with(options.clone())).ok().stdout();
        assert!(text.contains("nosuid") && text.contains("nodev"), "{options}: {text}");
    }
    let read_only = runtime.run(&with(json!(["rbind", "ro"]))).exits(1);
    assert!(read_only.stderr().contains("Read-only"), "{read_only}");
    let cleared = runtime.try_create(&with(json!(["rbind", "suid"]))).exits(1);
    assert!(cleared.stderr().contains("operation not permitted"), "{cleared}");
    assert!(cleared.stderr().contains("hint: in a user namespace a bind keeps"), "{cleared}");
    fs::remove_dir_all(&data).expect("remove the directory");
}

#[test]
fn a_state_directory_of_another_user_is_refused() {
    let user = User::enter();
    let planted = scratch_dir();
    fs::set_permissions(planted.path(), fs::Permissions::from_mode(0o777)).expect("set a mode");
    if user.is_made() {
        chown(planted.path(), Some(1), Some(1)).expect("change an owner");
    }
    let bundle = user.bundle();
    let call = |args: &[&str]| {
        user.call(user.program()).args(["--root"]).args([planted.path()]).args(args).run()
    };
    let bundle = bundle.path().display().to_string();
    for args in [&["create", "--bundle", &bundle, "nrt-planted"][..], &["kill", "nrt-planted"]] {
        let output = call(args).exits(1);
        assert!(output.stderr().contains("another user"), "{output}");
    }
    assert_eq!(fs::read_dir(planted.path()).expect("the directory").count(), 0);
}

#[test]
fn a_container_is_its_owners_alone() {
    let user = User::enter();
    if !user.is_made() {
        // A second user takes root to make; where tests run as root, this one does not end here.
        return assert!(!rustix::process::geteuid().is_root());
    }
    let runtime = user.runtime();
    let bundle = user.bundle().args(["sleep", "60"]);
    let container = runtime.start(&bundle);
    let other = |command: &str| {
        nconform::fixture::Capture::of("setpriv")
            .args(["--reuid=54322", "--regid=54322", "--clear-groups", "--inh-caps=-all"])
            .args([user.program().as_os_str(), "--root".as_ref(), runtime.root().as_os_str()])
            .args([command, container.id()])
            .run()
    };
    for command in ["state", "kill", "delete", "exec"] {
        assert_ne!(other(command).code(), 0, "{command}");
    }
    assert_eq!(container.status(), "running");
}
