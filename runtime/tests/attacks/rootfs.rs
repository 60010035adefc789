//! Class C: images and volumes whose names lead to the host while the root file system is prepared.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nconform::fixture::{BundleDir, Canary, Console, Fifo, Race, Runtime, Sandbox};
use serde_json::json;

fn with_a_tmpfs(bundle: BundleDir, destination: &str) -> BundleDir {
    bundle.push("/mounts", json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"}))
}

fn with_a_bind(bundle: BundleDir, source: &Path, destination: &str) -> BundleDir {
    let source = source.display().to_string();
    bundle.push(
        "/mounts",
        json!({"destination": destination, "type": "bind", "source": source, "options": ["rbind"]}),
    )
}

#[test]
fn links_of_an_image_lead_nowhere_on_the_host() {
    let _sandbox = Sandbox::enter();
    let (runtime, canary) = (Runtime::under_test(), Canary::new());
    let host = canary.path();
    let up = Path::new("../../../../../../../..")
        .join(host.strip_prefix("/").expect("an absolute path"));
    let links = [
        ("/dev", ""),
        ("/dev/null", "null"),
        ("/dev/console", "console"),
        ("/dev/pts", "pts"),
        ("/dev/ptmx", "ptmx"),
        ("/dev/shm", "shm"),
        ("/dev/fd", "fd"),
        ("/proc", ""),
        ("/sys", "sys"),
        ("/data", "data"),
        ("/data", "empty"),
        ("/data/file", "data/file"),
        ("/data/new", "new"),
        ("/work", "empty"),
        ("/etc", ""),
    ];
    for (path, to) in links {
        for to in [
            host.join(to),
            up.join(to),
            Path::new("/proc/1/root").join(host.strip_prefix("/").unwrap_or(host)).join(to),
        ] {
            for bundle in [BundleDir::new(), BundleDir::with_the_images_dev()] {
                let bundle =
                    with_a_tmpfs(bundle, "/data/made/here").set("/process/cwd", "/work/made");
                let bundle = with_a_bind(bundle, Path::new("/etc/hosts"), "/data/file");
                let bundle = with_a_bind(bundle, Path::new("/etc/hosts"), "/data/new");
                bundle.plant(path, &to);
                let output = runtime.run(&bundle);
                canary.assert_untouched(&format!("{path} -> {}: {output}", to.display()));
            }
        }
    }
}

#[test]
fn a_dev_that_is_a_link_into_a_volume_is_refused() {
    let _sandbox = Sandbox::enter();
    let (runtime, canary) = (Runtime::under_test(), Canary::new());
    for bundle in [BundleDir::new(), BundleDir::with_the_images_dev()] {
        let first = json!({"destination": "/vol", "type": "bind", "source": canary.path(), "options": ["rbind"]});
        let mounts =
            [vec![first], bundle.config()["mounts"].as_array().expect("mounts").clone()].concat();
        let bundle = bundle.set("/mounts", mounts);
        bundle.plant("/dev", Path::new("/vol"));
        let output = runtime.run(&bundle).exits(1);
        assert!(output.stderr().contains("symbolic link loop"), "{output}");
        assert!(
            output.stderr().contains("\nhint: the image has a symbolic link there"),
            "{output}"
        );
        canary.assert_untouched("/dev -> /vol");
    }
}

#[test]
fn a_terminal_is_put_on_nothing_that_an_image_names() {
    let _sandbox = Sandbox::enter();
    let (runtime, canary) = (Runtime::under_test(), Canary::new());
    let devpts = json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]});
    for (path, to) in [
        ("/dev/console", "console"),
        ("/dev/console", "made"),
        ("/dev/pts", "pts"),
        ("/dev/ptmx", "ptmx"),
    ] {
        for mounted in [true, false] {
            let (console, bundle) = (
                Console::listen(),
                BundleDir::with_the_images_dev().set("/process/terminal", true),
            );
            let bundle = if mounted { bundle.push("/mounts", devpts.clone()) } else { bundle };
            fs::create_dir_all(bundle.rootfs().join("dev/pts")).expect("make a directory");
            bundle.plant(path, &canary.path().join(to));
            let socket = console.path().display().to_string();
            let id = runtime.new_id();
            let output =
                runtime.bundle_call("create", &bundle, ["--console-socket", &socket], &id).run();
            canary.assert_untouched(&format!("{path}: {output}"));
            assert!(mounted || !output.success(), "a terminal without devpts: {output}");
        }
    }
}

#[test]
fn a_ptmx_of_an_image_is_not_even_opened() {
    let _sandbox = Sandbox::enter();
    let (runtime, console) = (Runtime::under_test(), Console::listen());
    let bundle = BundleDir::with_the_images_dev().set("/process/terminal", true);
    fs::create_dir(bundle.rootfs().join("dev/pts")).expect("make a directory");
    let fifo = Fifo::new(&bundle.rootfs().join("dev/pts/ptmx"));
    let socket = console.path().display().to_string();
    let output = runtime
        .bundle_call("create", &bundle, ["--console-socket", &socket], &runtime.new_id())
        .run();
    assert!(!fifo.was_opened(), "the runtime opened what the image calls a terminal");
    let _ = output.exits(1);
}

#[test]
fn a_name_that_is_swapped_for_a_link_all_the_time_leads_nowhere_on_the_host() {
    let _sandbox = Sandbox::enter();
    let (runtime, canary) = (Runtime::under_test(), Canary::new());
    let race = Race::towards(&canary);
    let bundle = race.bundle();
    let end = Instant::now() + Duration::from_secs(4);
    let mut runs = 0;
    // On an emulated processor one container takes seconds.
    while Instant::now() < end || race.swaps() < 10_000 || runs <= 5 {
        // Whether it starts is chance: what counts is where it was not led.
        let _ = runtime.run(&bundle);
        runs += 1;
    }
    drop(race);
    canary.assert_untouched("the race");
}

#[test]
fn a_further_process_stays_below_the_root_without_a_mount_namespace_too() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle =
        BundleDir::new().without_namespace("mount").remove("/mounts").remove("/linux/maskedPaths");
    let bundle = bundle.remove("/linux/readonlyPaths").args(["sleep", "100"]);
    fs::write(bundle.rootfs().join("mark"), "of the image").expect("write a file");
    let container = runtime.start(&bundle);
    assert_eq!(container.exec(["cat", "/mark"]).ok().stdout(), "of the image");
    let _ = container.exec(["ls", "/../run/nrt"]).exits(1);
}
