//! The command a newcomer types first: `nman run alpine:latest`, from nothing on disk to output.

use std::fs;

use nconform::fixture::{
    Capture, Registry, Sandbox, cgroups, find_binary, scratch_dir, unique_name,
};

use crate::images::TestImage;

#[test]
fn run_pulls_alpine_by_its_short_name_and_runs_it_on_the_bridge() {
    let sandbox = Sandbox::enter();
    let registry = Registry::builder().docker_hub().start();
    let (name, image) = TestImage::real();
    let (_layout, source) = image.layout();
    registry.push(&source, &format!("library/{name}:latest"));
    let trusted = "/etc/nman/certs.d/registry-1.docker.io";
    fs::create_dir_all(trusted).unwrap();
    fs::copy(registry.ca_file(), format!("{trusted}/ca.crt")).unwrap();

    let directory = scratch_dir();
    let parent = unique_name();
    let image = format!("{name}:latest");
    let nman = |args: &[&str]| {
        Capture::of(env!("CARGO_BIN_EXE_nman"))
            .env("NMAN_ROOT", directory.path().join("root"))
            .env("NMAN_STATE", directory.path().join("state"))
            .env("NMAN_RUNTIME", find_binary("nrun").unwrap())
            .args(args)
            .run()
    };
    let script = "/bin/busybox id -u; /bin/busybox cat /proc/1/comm; test ! -e /etc/alpine-release \
                  || . /etc/os-release; echo ${ID:-none}; /bin/busybox ip -4 -o addr show dev eth0";
    let under = format!("/{parent}");
    let words = ["/bin/busybox", "sh", "-c", script];
    let mut args = vec!["run", "--rm", "--cgroup-parent", &under, &image];
    args.extend(words);

    let first = nman(&args).ok();
    let progress = first.stderr();
    assert!(progress.contains(&format!("Pulling from library/{name}")), "{progress}");
    assert!(progress.contains(": Pull complete"), "{progress}");
    let identity = if name == "alpine" { "alpine" } else { "none" };
    let expected = format!("0\nbusybox\n{identity}\n");
    assert!(first.stdout().starts_with(&expected), "{first}");
    assert!(first.stdout().contains("inet 10."), "{first}");

    // What is there is not pulled again.
    drop(registry);
    let second = nman(&args).ok();
    assert_eq!(second.stderr(), "");
    assert!(second.stdout().starts_with(&expected), "{second}");

    assert_eq!(nman(&["ps", "-aq"]).ok().stdout(), "");
    cgroups::destroy(&parent);
    // A bridge stays for the next container, until somebody removes what nobody uses.
    nman(&["network", "prune", "--force"]).ok();
    // The kernel takes a container's link away behind its namespace, which can take a while where many namespaces end.
    for _ in 0..200 {
        if sandbox.leftovers().is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    sandbox.assert_clean();
}
