//! The attacks, by the classes of docs/cves.md.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Case, Verdict, cgroups, exhaustion, identity, messages, sockets};
use crate::fixture::{
    BundleDir, Canary, Capture, Console, Output, Race, Runtime, SECRET, scratch_dir,
};

pub(super) fn all() -> Vec<Case> {
    let before = [
        case('A', "the container overwrites the runtime's executable", overwrite_executable),
        case('B', "run in a directory behind a descriptor of the caller", run_behind_descriptor),
        case('B', "exec in a directory behind a descriptor of the caller", exec_behind_descriptor),
        case('B', "the container keeps descriptors of the caller", keep_descriptors),
        case('B', "run in a directory below what is masked", run_below_mask),
        case('B', "the container writes to what it was given to read", write_to_input),
    ];
    let after = [
        case('E', "a user id that is none becomes another one", identity::odd_user),
        case('E', "a user of the image is called like another's id", identity::named_like_a_number),
        case(
            'E',
            "monstrous /etc/passwd and /etc/group of the image",
            identity::monstrous_accounts,
        ),
        case(
            'E',
            "/etc/passwd and /etc/group of the image are FIFOs",
            identity::fifos_for_accounts,
        ),
        case('E', "groups and capabilities of the caller get in", identity::groups_of_the_caller),
        case('F', "the container writes to its cgroups", cgroups::write_to_cgroups),
        case('F', "the path of the cgroup leads to the host", cgroups::path_to_the_host),
        case('G', "more id mappings than a message holds", messages::many_mappings),
        case('G', "a text that is no configuration brings it down", messages::damaged_config),
        case('K', "somebody else gets at the runtime's state", sockets::open_state),
        case('K', "the runtime has sockets with abstract names", sockets::abstract_sockets),
        case('M', "a flood of output fills the runtime's memory", exhaustion::flood_of_output),
        case('P', "the environment of the caller gets in", identity::environment_of_the_caller),
    ];
    [&before[..], &while_the_root_is_prepared(), &after].concat()
}

/// Classes C and D: what the image has where a runtime makes, mounts or writes something.
fn while_the_root_is_prepared() -> Vec<Case> {
    vec![
        case('C', "/dev of the image is a link to the host", |runtime| linked(runtime, "/dev", "")),
        case('C', "/dev/null of the image is a link to the host", |runtime| {
            linked(runtime, "/dev/null", "null")
        }),
        case('C', "/dev/pts of the image is a link to the host", |runtime| {
            linked(runtime, "/dev/pts", "pts")
        }),
        case('C', "/dev/shm of the image is a link to the host", |runtime| {
            linked(runtime, "/dev/shm", "shm")
        }),
        case('C', "/proc of the image is a link to the host", |runtime| {
            linked(runtime, "/proc", "")
        }),
        case('C', "/sys of the image is a link to the host", |runtime| {
            linked(runtime, "/sys", "sys")
        }),
        case('C', "the target of a mount is a link to the host", |runtime| {
            linked(runtime, "/data", "empty")
        }),
        case('C', "the working directory is made through a link", |runtime| {
            linked(runtime, "/work", "empty")
        }),
        case('C', "/dev/console of the image is a link to the host", console),
        case('C', "names of a volume are swapped for links all the time", swapped),
        case('D', "a mount covers /proc/sys through a link", |runtime| {
            covered(runtime, "proc/sys", "/data", "/proc/sys/marker")
        }),
        case('D', "a mount covers /proc/self/attr", |runtime| {
            covered(runtime, "tmp", "/proc/self/attr", "/proc/1/attr/marker")
        }),
        case('D', "a mount covers a process of /proc through a link", |runtime| {
            covered(runtime, "../../proc/1", "/data/attr", "/proc/1/attr/marker")
        }),
        case('D', "the container may write to the settings of the kernel", write_to_kernel),
    ]
}

fn case(class: char, name: &'static str, attack: fn(&Runtime) -> Verdict) -> Case {
    Case { class, name, attack }
}

/// Broken when the canary was touched.
pub(super) fn judge(canary: &Canary, output: &Output) -> Verdict {
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
pub(super) fn start(runtime: &Runtime, bundle: &BundleDir) -> Result<String, String> {
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
    let through_links = descriptors().map(|to| ("/behind".to_owned(), Some(to)));
    for (cwd, link) in descriptors().map(|cwd| (cwd, None)).chain(through_links) {
        let bundle = BundleDir::new().args(["cat", "secret"]).set("/process/cwd", cwd.as_str());
        if let Some(to) = link {
            bundle.plant(&cwd, Path::new(&to));
        }
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

/// What a runtime has found in order to cover it is open as some number, and shows what lies below: named, and by a link in a path that
/// is another one if `..` is taken away from its text.
fn run_below_mask(runtime: &Runtime) -> Verdict {
    let volume = scratch_dir();
    let inner = volume.path().join("masked/sub/inner");
    let made = fs::create_dir_all(&inner).and_then(|()| {
        let secret = |directory: &Path| fs::write(directory.join("secret"), SECRET);
        inner.ancestors().take(3).try_for_each(secret)
    });
    if let Err(error) = made {
        return not_tried(error.to_string());
    }
    let bind = json!({"destination": "/vol", "type": "bind", "source": volume.path(), "options": ["rbind"]});
    let mut bundle = BundleDir::new()
        .args(["cat", "secret"])
        .push("/mounts", bind)
        .set("/linux/maskedPaths", json!(["/vol/masked", "/sys/firmware", "/proc/keys"]));
    for number in 3..=60 {
        let behind = format!("/proc/self/fd/{number}");
        bundle.plant("/behind", Path::new(&format!("{behind}/sub/inner")));
        for cwd in [behind.as_str(), "/behind/../inner"] {
            bundle = bundle.set("/process/cwd", cwd);
            match run(runtime, &bundle) {
                Ok(output) if output.stdout().contains(SECRET) => {
                    return Verdict::Broken(format!("in {cwd}: {output}"));
                }
                Ok(_) => {}
                Err(why) => return not_tried(why),
            }
        }
    }
    Verdict::Safe
}

/// Whoever is made the owner of its standard input opens that again to write.
fn write_to_input(runtime: &Runtime) -> Verdict {
    let (directory, id) = (scratch_dir(), runtime.new_id());
    let input = directory.path().join("input");
    if let Err(error) = fs::write(&input, SECRET) {
        return not_tried(error.to_string());
    }
    let bundle = BundleDir::new()
        .set("/process/user", json!({"uid": 1234, "gid": 1234}))
        .shell("echo written >/proc/self/fd/0; echo tried; exec sleep 600");
    let (program, root) = (runtime.program(), runtime.root());
    let created = Capture::of("sh")
        .args(["-c", r#"exec "$@" <"$0""#])
        .args([&input, program, Path::new("--root"), root, Path::new("create")])
        .args([Path::new("--bundle"), bundle.path(), Path::new(&id)])
        .try_run();
    let started = runtime.call(["start", &id]).try_run();
    let output = match (created, started) {
        (Ok(created), Ok(started)) if created.success() && started.success() => created,
        (Ok(failed), Ok(_)) => return not_tried(failed.to_string()),
        (Err(why), _) | (_, Err(why)) => return not_tried(why),
    };
    let end = Instant::now() + Duration::from_secs(30);
    while !output.stdout().contains("tried") {
        if Instant::now() > end {
            return not_tried(output.to_string());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    match fs::read_to_string(&input) {
        Ok(text) if text == SECRET => Verdict::Safe,
        text => Verdict::Broken(format!("the input is {text:?} now; {output}")),
    }
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
    let below = canary.below_root();
    for way in [
        host.join(to),
        Path::new("../../../../../..").join(below).join(to),
        Path::new("/proc/1/root").join(below).join(to),
    ] {
        for bundle in [BundleDir::new(), BundleDir::with_the_images_dev()] {
            // What hides a path may be a file of the host, and open for writing there.
            let bundle = bundle
                .shell("for path in /proc/kcore /proc/keys /proc/timer_list; do echo harm >$path; done")
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

/// As many swaps as a race may need, and as long as one takes in which a container takes seconds.
const SWAPS: u32 = 10_000;
const RACE: Duration = Duration::from_secs(4);

fn swapped(runtime: &Runtime) -> Verdict {
    let canary = Canary::new();
    let race = Race::towards(&canary);
    let bundle = race.bundle();
    let begin = Instant::now();
    while begin.elapsed() < RACE || race.swaps() < SWAPS {
        // Whether it starts is chance: what counts is where it was led.
        match run(runtime, &bundle).map(|output| judge(&canary, &output)) {
            Ok(Verdict::Safe) => {}
            Ok(verdict) => return verdict,
            Err(why) => return not_tried(why),
        }
    }
    Verdict::Safe
}

/// Nothing is written: that a file can be opened is enough.
fn write_to_kernel(runtime: &Runtime) -> Verdict {
    let look = "for path in /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sysrq-trigger; do
                    (: >>$path) 2>/dev/null && echo $path is open
                done; exit 0";
    match run(runtime, &BundleDir::new().shell(look)) {
        Ok(output) if output.stdout().contains("open") => Verdict::Broken(output.to_string()),
        Ok(output) if output.success() => Verdict::Safe,
        Ok(output) => not_tried(output.to_string()),
        Err(why) => not_tried(why),
    }
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
    let limit = Duration::from_secs(10);
    for words in [vec!["start", &id], vec!["exec", &id, "/bin/victim", "--log", "/go", "list"]] {
        if let Err(why) = runtime.call(words).limit(limit).try_run() {
            return not_tried(why);
        }
    }
    let end = Instant::now() + limit;
    while created.stdout().lines().count() < 2 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
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
