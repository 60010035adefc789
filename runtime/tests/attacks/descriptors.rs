//! Class B: file descriptors and working directories that lead out of the container.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use nconform::fixture::{BundleDir, Canary, Capture, Runtime, SECRET, Sandbox, scratch_dir};
use rustix::fs::{CWD, FileType, Mode};
use serde_json::json;

use crate::moment::wait_until;

/// A call of the runtime by somebody who has a directory of the host open as 7, 8 and 9, and passes that on.
fn leaky(runtime: &Runtime, canary: &Canary, args: &[&str]) -> Capture {
    let program = runtime.program().display().to_string();
    let root = runtime.root().display().to_string();
    let directory = canary.path().display().to_string();
    Capture::of("sh")
        .args(["-c", r#"exec 7<"$0" 8<"$0" 9</; exec "$@""#, &directory, &program, "--root", &root])
        .args(args)
}

#[test]
fn a_working_directory_behind_a_descriptor_of_the_runtime_is_refused() {
    let _sandbox = Sandbox::enter();
    let (runtime, canary) = (Runtime::under_test(), Canary::new());
    let sleeper = BundleDir::new().args(["sleep", "100"]);
    symlink("/proc/self/fd/7", sleeper.rootfs().join("link")).expect("link");
    let container = runtime.start(&sleeper);
    let descriptors = (3..=40).map(|number| format!("/proc/self/fd/{number}"));
    for cwd in
        descriptors.chain(["/link".to_owned(), "/proc/1/root/../../proc/self/fd/7".to_owned()])
    {
        let args = ["exec", "--cwd", &cwd, container.id(), "cat", "secret"];
        let output = leaky(&runtime, &canary, &args).run();
        assert!(
            !output.success() && !output.stdout().contains(SECRET),
            "exec --cwd {cwd}: {output}"
        );
    }
    for cwd in (3..=60).map(|number| format!("/proc/self/fd/{number}")).chain(["/link".to_owned()])
    {
        let bundle = BundleDir::new().args(["cat", "secret"]).set("/process/cwd", cwd.as_str());
        symlink("/proc/self/fd/7", bundle.rootfs().join("link")).expect("link");
        let (id, path) = (runtime.new_id(), bundle.path().display().to_string());
        let output = leaky(&runtime, &canary, &["run", "--bundle", &path, &id]).run();
        assert!(!output.success() && !output.stdout().contains(SECRET), "run in {cwd}: {output}");
    }
    canary.assert_untouched("working directories");
}

#[test]
fn a_container_has_no_descriptor_that_was_not_asked_for() {
    let _sandbox = Sandbox::enter();
    let (runtime, canary) = (Runtime::under_test(), Canary::new());
    let list = "ls /proc/$$/fd; exec sleep 100";
    let bundle = BundleDir::new().shell("ls /proc/$$/fd; exit");
    let path = bundle.path().display().to_string();
    let run = |extra: &[&str]| {
        let id = runtime.new_id();
        let args = [&["run", "--bundle", &path], extra, &[&id]].concat();
        leaky(&runtime, &canary, &args).run().ok().stdout()
    };
    assert_eq!(run(&[]), "0\n1\n2\n");
    for asked in ["5", "4294967295"] {
        let id = runtime.new_id();
        let args = ["run", "--bundle", &path, "--preserve-fds", asked, &id];
        let output = leaky(&runtime, &canary, &args).run().exits(1);
        let why = format!(
            "unable to stat preserved-fd 0 (of {asked}): stat /proc/self/fd/3: no such file or directory"
        );
        assert!(output.stderr().contains(&why), "{output}");
    }

    let bundle = BundleDir::new().shell(list);
    let (id, path) = (runtime.new_id(), bundle.path().display().to_string());
    let created = leaky(&runtime, &canary, &["create", "--bundle", &path, &id]).run().ok();
    let _ = runtime.call(["start", &id]).run().ok();
    let output =
        leaky(&runtime, &canary, &["exec", &id, "sh", "-c", "ls /proc/$$/fd; exit"]).run().ok();
    assert_eq!(output.stdout(), "0\n1\n2\n");
    wait_until(|| created.stdout().lines().count() >= 3);
    assert_eq!(created.stdout(), "0\n1\n2\n");
}

#[test]
fn a_created_container_holds_nothing_of_its_set_up_while_it_waits_for_start() {
    let _sandbox = Sandbox::enter();
    let (runtime, canary) = (Runtime::under_test(), Canary::new());
    let (shared, written) = (scratch_dir(), scratch_dir());
    let outputs = written.path().join("hooks");
    let bind = json!({"destination": "/shared", "type": "bind", "source": shared.path(), "options": ["rbind"]});
    let script = json!({"path": "/bin/echo", "args": ["echo", "hooked"]});
    let bundle = BundleDir::new()
        .push("/mounts", bind)
        .push("/hooks/startContainer", script)
        .set("/annotations", json!({"run.oci.hooks.stdout": outputs}))
        .shell("ls /proc/$$/fd; exit");
    let (id, path) = (runtime.new_id(), bundle.path().display().to_string());
    let created = leaky(&runtime, &canary, &["create", "--bundle", &path, &id]).run().ok();
    let init = format!("/proc/{}/fd", runtime.call(["state", &id]).run().ok().json()["pid"]);
    let held = || {
        let entries =
            std::fs::read_dir(&init).expect("descriptors").map(|entry| entry.expect("one").path());
        let further =
            entries.filter(|path| !["0", "1", "2"].iter().any(|name| path.ends_with(name)));
        let mut held: Vec<_> =
            further.map(|path| std::fs::read_link(path).expect("a link")).collect();
        held.sort();
        held
    };
    // `create` lets it go and ends; what it does next is up to the scheduler.
    wait_until(|| held().len() <= 2);
    let held = held();
    assert!(held.contains(&outputs) && held.len() == 2, "{held:?}");
    let socket = held.iter().any(|path| path.to_string_lossy().starts_with("socket:"));
    assert!(socket, "{held:?}");
    let _ = runtime.call(["start", &id]).run().ok();
    wait_until(|| created.stdout().lines().count() >= 3);
    assert_eq!(created.stdout(), "0\n1\n2\n");
    assert_eq!(std::fs::read_to_string(&outputs).expect("what the hook wrote"), "hooked\n");
}

/// Which numbers the set-up has had for what it has covered changes with the configuration: all are tried.
#[test]
fn what_is_masked_or_read_only_cannot_be_reached_through_what_the_set_up_had_open() {
    let _sandbox = Sandbox::enter();
    let (runtime, volume) = (Runtime::under_test(), scratch_dir());
    for name in ["masked", "kept"] {
        let inner = volume.path().join(name).join("sub/inner");
        fs::create_dir_all(&inner).expect("make directories");
        for directory in inner.ancestors().take(3) {
            fs::write(directory.join("secret"), SECRET).expect("write a file");
        }
    }
    fs::copy("/bin/busybox", volume.path().join("tool")).expect("copy a program");
    let bind = json!({"destination": "/vol", "type": "bind", "source": volume.path(), "options": ["rbind"]});
    let mut bundle = BundleDir::new()
        .push("/mounts", bind)
        .push("/linux/maskedPaths", "/vol/masked")
        .push("/linux/maskedPaths", "/vol/tool")
        .push("/linux/readonlyPaths", "/vol/kept");
    for number in 3..=60 {
        let behind = format!("/proc/self/fd/{number}");
        let link = bundle.rootfs().join("link");
        let _ = fs::remove_file(&link);
        symlink(format!("{behind}/sub/inner"), link).expect("link");
        // Without `..` the second is another path: /inner, which is made in the root.
        for cwd in [behind.as_str(), "/link/../inner"] {
            bundle =
                bundle.set("/process/cwd", cwd).shell("pwd -P; cat secret; echo x >written; exit");
            let output = runtime.run(&bundle);
            assert!(!output.stdout().contains(SECRET), "{cwd}: {output}");
            for name in ["masked", "kept"] {
                let written = |below: &str| volume.path().join(name).join(below).join("written");
                let harmed = ["", "sub", "sub/inner"].iter().find(|below| written(below).exists());
                assert_eq!(harmed, None, "{name} in {cwd}: {output}");
            }
        }
        bundle = bundle.set("/process/cwd", "/").args([&behind, "echo", "executed"]);
        let output = runtime.run(&bundle);
        assert!(!output.stderr().contains("applet not found"), "{behind}: {output}");
    }
}

/// A path of a volume can be swapped for a link to what another process has open: none is followed, whatever it leads to.
#[test]
fn a_working_directory_is_entered_through_no_magic_link() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().args(["sleep", "600"]);
    symlink("/proc/self/root/tmp", bundle.rootfs().join("link")).expect("link");
    symlink("/tmp", bundle.rootfs().join("plain")).expect("link");
    let container = runtime.start(&bundle);
    let exec = |cwd: &str| runtime.call(["exec", "--cwd", cwd, container.id(), "pwd", "-P"]).run();
    for cwd in ["/proc/1/root/tmp", "/proc/self/cwd", "/link", "/link/../tmp"] {
        exec(cwd).exits(255).says("through a link to what a process has open");
    }
    assert_eq!(exec("/plain").ok().stdout(), "/tmp\n");
    assert_eq!(exec("/proc/self/fd/..").ok().stdout().split('/').nth(1), Some("proc"));
}

/// Who owns a file opens it to write through the descriptor that was handed in to be read.
#[test]
fn what_a_process_is_given_to_read_does_not_become_its_users() {
    let _sandbox = Sandbox::enter();
    let (runtime, given) = (Runtime::under_test(), scratch_dir());
    let (file, device) = (given.path().join("file"), given.path().join("device"));
    fs::write(&file, "as it was\n").expect("write a file");
    let zero = rustix::fs::makedev(1, 5);
    rustix::fs::mknodat(CWD, &device, FileType::CharacterDevice, Mode::from(0o666), zero)
        .expect("make a device");
    let script = "{ echo written >/proc/self/fd/0; } 2>/dev/null; echo ran";
    let user = json!({"uid": 1234, "gid": 1234});
    let bundle = BundleDir::new().set("/process/user", user).shell(script);
    let sleeper = BundleDir::new().args(["sleep", "100"]);
    let container = runtime.start(&sleeper);
    let (path, id) = (bundle.path().display().to_string(), runtime.new_id());
    let run = ["run", "--bundle", &path, &id];
    let exec = ["exec", "--user", "1234", container.id(), "sh", "-c", script];
    for input in [&file, &device, &given.path().to_owned()] {
        for args in [&run[..], &exec] {
            let output = Capture::of("sh")
                .args(["-c", r#"exec "$@" <"$0""#])
                .args([input.as_path(), runtime.program(), Path::new("--root"), runtime.root()])
                .args(args)
                .run();
            assert_eq!(output.ok().text(), "ran");
            let owner = fs::metadata(input).expect("what was given").uid();
            assert_eq!(owner, 0, "{} {args:?}", input.display());
        }
    }
    assert_eq!(fs::read_to_string(&file).expect("the file"), "as it was\n");
}
