//! The attacks, by the classes of docs/cves.md.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use super::canary::{Canary, SECRET};
use super::{Case, Verdict, messages};
use crate::fixture::{BundleDir, Capture, Console, Output, Runtime, scratch_dir};

pub(super) fn all() -> Vec<Case> {
    let case = |class, name, attack| Case { class, name, attack };
    vec![
        case('A', "the container overwrites the runtime's executable", overwrite_executable),
        case('B', "run in a directory behind a descriptor of the caller", run_behind_descriptor),
        case('B', "exec in a directory behind a descriptor of the caller", exec_behind_descriptor),
        case('B', "the container keeps descriptors of the caller", keep_descriptors),
        case('C', "/dev of the image is a link to the host", |runtime| linked(runtime, "/dev", "")),
        case('C', "/dev/null of the image is a link to the host", |runtime| {
            linked(runtime, "/dev/null", "null")
        }),
        case('C', "/dev/pts of the image is a link to the host", |runtime| {
            linked(runtime, "/dev/pts", "pts")
        }),
        case('C', "the target of a mount is a link to the host", |runtime| {
            linked(runtime, "/data", "empty")
        }),
        case('C', "the working directory is made through a link", |runtime| {
            linked(runtime, "/work", "empty")
        }),
        case('C', "/dev/console of the image is a link to the host", console),
        case('D', "a mount covers /proc/sys through a link", |runtime| {
            covered(runtime, "proc/sys", "/data", "/proc/sys/marker")
        }),
        case('D', "a mount covers /proc/self/attr", |runtime| {
            covered(runtime, "tmp", "/proc/self/attr", "/proc/1/attr/marker")
        }),
        case('D', "a mount covers a process of /proc through a link", |runtime| {
            covered(runtime, "../../proc/1", "/data/attr", "/proc/1/attr/marker")
        }),
        case('E', "a user id that is none becomes another one", odd_user),
        case('F', "the container writes to its cgroups", write_to_cgroups),
        case('G', "more id mappings than a message holds", messages::many_mappings),
        case('G', "a text that is no configuration brings it down", messages::damaged_config),
    ]
}

/// Broken when the canary was touched.
fn judge(canary: &Canary, output: &Output) -> Verdict {
    match canary.harm() {
        Some(harm) => Verdict::Broken(format!("{harm}; {output}")),
        None => Verdict::Safe,
    }
}

/// What a runtime that hangs or cannot be asked comes to: no harm was seen, and none was excluded.
pub(super) fn not_tried(why: impl Into<String>) -> Verdict {
    Verdict::NotApplicable(why.into())
}

pub(super) fn run(runtime: &Runtime, bundle: &BundleDir) -> Result<Output, String> {
    runtime.bundle_call("run", bundle, [""; 0], &runtime.new_id()).try_run()
}

/// A container that sleeps, for `exec`; its id.
fn start(runtime: &Runtime, bundle: &BundleDir) -> Result<String, String> {
    let id = runtime.new_id();
    for capture in
        [runtime.bundle_call("create", bundle, [""; 0], &id), runtime.call(["start", &id])]
    {
        let output = capture.try_run()?;
        if !output.success() {
            return Err(output.to_string());
        }
    }
    Ok(id)
}

/// A call of the runtime by somebody who has a directory of the host open as 7, 8 and 9, and passes that on.
fn leaky(runtime: &Runtime, canary: &Canary, args: &[&str]) -> Result<Output, String> {
    let (program, root) = (runtime.program().display(), runtime.root().display());
    let words = [canary.path().display().to_string(), program.to_string()];
    Capture::of("sh")
        .args(["-c", r#"exec 7<"$0" 8<"$0" 9<"$0"; exec "$@""#])
        .args(words)
        .args(["--root", &root.to_string()])
        .args(args)
        .try_run()
}

/// The directories of descriptors that a runtime may have open itself, and those of its caller.
fn descriptors() -> impl Iterator<Item = String> {
    (3..=16).map(|number| format!("/proc/self/fd/{number}"))
}

fn run_behind_descriptor(runtime: &Runtime) -> Verdict {
    let canary = Canary::new();
    for cwd in descriptors() {
        let bundle = BundleDir::new().args(["cat", "secret"]).set("/process/cwd", cwd.as_str());
        let (id, path) = (runtime.new_id(), bundle.path().display().to_string());
        match leaky(runtime, &canary, &["run", "--bundle", &path, &id]) {
            Ok(output) if output.stdout().contains(SECRET) => {
                return Verdict::Broken(output.to_string());
            }
            Ok(_) => {}
            Err(why) => return not_tried(why),
        }
    }
    Verdict::Safe
}

fn exec_behind_descriptor(runtime: &Runtime) -> Verdict {
    let (canary, sleeper) = (Canary::new(), BundleDir::new().args(["sleep", "600"]));
    let id = match start(runtime, &sleeper) {
        Ok(id) => id,
        Err(why) => return not_tried(why),
    };
    for cwd in descriptors() {
        match leaky(runtime, &canary, &["exec", "--cwd", &cwd, &id, "cat", "secret"]) {
            Ok(output) if output.stdout().contains(SECRET) => {
                return Verdict::Broken(output.to_string());
            }
            Ok(_) => {}
            Err(why) => return not_tried(why),
        }
    }
    Verdict::Safe
}

fn keep_descriptors(runtime: &Runtime) -> Verdict {
    let canary = Canary::new();
    let bundle = BundleDir::new().shell("ls -l /proc/$$/fd; exit");
    let (id, path) = (runtime.new_id(), bundle.path().display().to_string());
    match leaky(runtime, &canary, &["run", "--bundle", &path, &id]) {
        Ok(output) if !output.success() => not_tried(output.to_string()),
        Ok(output) if output.stdout().contains(&canary.path().display().to_string()) => {
            Verdict::Broken(output.to_string())
        }
        Ok(_) => Verdict::Safe,
        Err(why) => not_tried(why),
    }
}

/// An image in which `path` leads to `to` on the host: absolutely, upwards, and through a magic link.
fn linked(runtime: &Runtime, path: &str, to: &str) -> Verdict {
    let canary = Canary::new();
    let host = canary.path();
    let below = host.strip_prefix("/").unwrap_or(host);
    for way in [
        host.join(to),
        Path::new("../../../../../..").join(below).join(to),
        Path::new("/proc/1/root").join(below).join(to),
    ] {
        for bundle in [BundleDir::new(), BundleDir::with_the_images_dev()] {
            let bundle = bundle
                .push(
                    "/mounts",
                    json!({"destination": "/data/made/here", "type": "tmpfs", "source": "tmpfs"}),
                )
                .set("/process/cwd", "/work/made");
            bundle.plant(path, &way);
            match run(runtime, &bundle).map(|output| judge(&canary, &output)) {
                Ok(Verdict::Safe) => {}
                Ok(verdict) => return verdict,
                Err(why) => return not_tried(why),
            }
        }
        // Volumes come first: a link of the image may lead into one.
        let volume =
            json!({"destination": "/vol", "type": "bind", "source": host, "options": ["rbind"]});
        let bundle = BundleDir::new();
        let mounts = bundle.config()["mounts"].as_array().cloned().unwrap_or_default();
        let bundle = bundle.set("/mounts", [vec![volume], mounts].concat());
        bundle.plant(path, &Path::new("/vol").join(to));
        match run(runtime, &bundle).map(|output| judge(&canary, &output)) {
            Ok(Verdict::Safe) => {}
            Ok(verdict) => return verdict,
            Err(why) => return not_tried(why),
        }
    }
    Verdict::Safe
}

fn console(runtime: &Runtime) -> Verdict {
    let canary = Canary::new();
    let devpts = json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]});
    for to in ["console", "made"] {
        let console = Console::listen();
        let bundle = BundleDir::with_the_images_dev()
            .set("/process/terminal", true)
            .push("/mounts", devpts.clone());
        fs::create_dir_all(bundle.rootfs().join("dev/pts")).expect("make a directory");
        bundle.plant("/dev/console", &canary.path().join(to));
        let socket = console.path().display().to_string();
        let call = runtime.bundle_call(
            "create",
            &bundle,
            ["--console-socket", &socket],
            &runtime.new_id(),
        );
        match call.try_run().map(|output| judge(&canary, &output)) {
            Ok(Verdict::Safe) => {}
            Ok(verdict) => return verdict,
            Err(why) => return not_tried(why),
        }
    }
    Verdict::Safe
}

/// A directory with a marker is mounted at `destination`, which the link `/data` turns into a place of /proc. It must not get there.
fn covered(runtime: &Runtime, link: &str, destination: &str, marker: &str) -> Verdict {
    let fake = scratch_dir();
    fs::write(fake.path().join("marker"), "").expect("write a file");
    let bundle = BundleDir::new()
        .push("/mounts", json!({"destination": destination, "type": "bind", "source": fake.path(), "options": ["rbind"]}))
        .shell(&format!("test -e {marker} && echo covered; grep -c marker /proc/self/mountinfo"));
    symlink(link, bundle.rootfs().join("data")).expect("plant a link");
    match run(runtime, &bundle) {
        Ok(output) if output.stdout().contains("covered") => Verdict::Broken(output.to_string()),
        Ok(_) => Verdict::Safe,
        Err(why) => not_tried(why),
    }
}

fn odd_user(runtime: &Runtime) -> Verdict {
    let sleeper = BundleDir::new().args(["sleep", "600"]);
    let id = match start(runtime, &sleeper) {
        Ok(id) => id,
        Err(why) => return not_tried(why),
    };
    for user in ["-1", "4294967295", "4294967296", "0x0", "root", "0:-1", "0:4294967296"] {
        match runtime.call(["exec", "--user", user, &id, "id"]).try_run() {
            Ok(output) if output.stdout().contains("uid=") => {
                return Verdict::Broken(output.to_string());
            }
            Ok(_) => {}
            Err(why) => return not_tried(why),
        }
    }
    Verdict::Safe
}

/// Everything that a container could try on what it sees of its cgroups.
const ESCAPE: &str = r#"
    for directory in /sys/fs/cgroup /sys/fs/cgroup/*; do
        [ -e $directory/cgroup.procs ] || continue
        mkdir $directory/escape && echo "made $directory/escape"
        for file in cgroup.procs tasks release_agent notify_on_release devices.allow memory.limit_in_bytes pids.max; do
            [ -e $directory/$file ] && echo 1 >$directory/$file && echo "wrote $directory/$file"
        done
    done 2>/dev/null
    echo tried"#;

fn write_to_cgroups(runtime: &Runtime) -> Verdict {
    match run(runtime, &BundleDir::new().shell(ESCAPE)) {
        Ok(output) if output.text() == "tried" => Verdict::Safe,
        // An attack that works may well be its own end: it limits the number of its processes.
        Ok(output) if output.stdout().contains("/sys/fs/cgroup") => {
            Verdict::Broken(output.to_string())
        }
        Ok(output) => not_tried(output.to_string()),
        Err(why) => not_tried(why),
    }
}

fn overwrite_executable(runtime: &Runtime) -> Verdict {
    // A copy, so that an attack that works destroys that and nothing else.
    let directory = scratch_dir();
    let program = directory.path().join("runtime");
    fs::copy(runtime.program(), &program).expect("copy the runtime");
    let before = fs::read(&program).expect("read the runtime");
    let runtime = Runtime::at(&program);
    let bundle = BundleDir::overwriting_the_runtime();
    let id = runtime.new_id();
    let created = match runtime.bundle_call("create", &bundle, [""; 0], &id).try_run() {
        Ok(output) if output.success() => output,
        Ok(output) => return not_tried(output.to_string()),
        Err(why) => return not_tried(why),
    };
    let limit = std::time::Duration::from_secs(10);
    for words in [vec!["start", &id], vec!["exec", &id, "/bin/victim", "--log", "/go", "list"]] {
        if let Err(why) = runtime.call(words).limit(limit).try_run() {
            return not_tried(why);
        }
    }
    let end = std::time::Instant::now() + limit;
    while created.stdout().lines().count() < 2 && std::time::Instant::now() < end {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let changed = fs::read(&program).expect("read the runtime") != before;
    if changed {
        fs::write(&program, &before).expect("restore the runtime, which cleans up");
    }
    match created.stdout() {
        said if changed => Verdict::Broken(format!("the executable was overwritten: {said}")),
        said if said.starts_with("held\n") => Verdict::Safe,
        said => not_tried(format!("the attack did not get that far: {said}")),
    }
}
