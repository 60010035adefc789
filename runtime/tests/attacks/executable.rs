//! Class A: a container that reaches for the runtime's executable, or for the runtime while it enters the container.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nconform::fixture::{BundleDir, Runtime, Sandbox, scratch_dir, unique_name};
use serde_json::json;

use crate::moment::wait_until;
use tempfile::TempDir;

/// A copy of the runtime, so that an attack that works destroys that and nothing else.
fn copy_of_the_runtime() -> (TempDir, PathBuf) {
    let directory = scratch_dir();
    let copy = directory.path().join("nrun");
    fs::copy(Runtime::under_test().program(), &copy).expect("copy the runtime");
    (directory, copy)
}

#[test]
fn the_runtimes_executable_cannot_be_overwritten_through_a_process_that_executes_it() {
    let _sandbox = Sandbox::enter();
    let (_directory, program) = copy_of_the_runtime();
    let before = fs::read(&program).expect("read the runtime");
    let runtime = Runtime::at(&program);
    let bundle = BundleDir::overwriting_the_runtime();
    let container = runtime.start(&bundle);
    let _ = container.exec(["/bin/victim", "--log", "/go", "features"]).ok();
    // The attacker says how it ended; asking the runtime would execute what may be overwritten by now.
    wait_until(|| container.output().stdout().lines().count() >= 2);
    let said = container.output().stdout();
    let changed = fs::read(&program).expect("read the runtime") != before;
    if changed {
        fs::write(&program, &before).expect("restore the runtime, which cleans up");
    }
    assert!(said.starts_with("held\n"), "the attack did not get that far: {said}");
    assert!(!said.contains("overwritten"), "{said}");
    assert!(said.contains("Read-only file system"), "refused for another reason: {said}");
    assert!(!changed, "the host's executable was changed");
}

#[test]
fn an_entrypoint_that_is_interpreted_by_the_runtime_does_no_harm() {
    let _sandbox = Sandbox::enter();
    let (_directory, program) = copy_of_the_runtime();
    let before = fs::read(&program).expect("read the runtime");
    let runtime = Runtime::at(&program);
    let bundle = BundleDir::new().args(["/entry", "x"]);
    let entry = bundle.rootfs().join("entry");
    fs::write(&entry, "#!/proc/self/exe\n").expect("write the entrypoint");
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o755)).expect("chmod");
    let output = runtime.run(&bundle).exits(3);
    assert!(output.stderr().contains("No help topic for '/entry'"), "{output}");
    assert!(
        fs::read(&program).expect("read the runtime") == before,
        "the host's executable was changed"
    );
}

#[test]
fn nothing_of_the_hosts_file_is_mapped_where_it_could_be_written() {
    let _sandbox = Sandbox::enter();
    let (_directory, program) = copy_of_the_runtime();
    let runtime = Runtime::at(&program);
    let waiting = runtime.create(&BundleDir::new(), [""; 0]);
    let directory = PathBuf::from(format!("/proc/{}", waiting.pid().as_raw_nonzero()));
    // A detached mount has no other path.
    assert_eq!(fs::read_link(directory.join("exe")).expect("its executable"), Path::new("/"));
    let maps = fs::read_to_string(directory.join("maps")).expect("its memory");
    let of_files: Vec<&str> = maps.lines().filter(|line| line.contains(" /")).collect();
    assert!(of_files.len() >= 3, "code, constants and data:\n{maps}");
    for line in of_files {
        let range = line.split(' ').next().expect("a range");
        assert!(line.ends_with(" /"), "{line}");
        let of = rustix::fs::statvfs(directory.join("map_files").join(range)).expect("a file");
        assert!(of.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY), "{line}");
    }
    // What the process says of itself is what it was called with.
    let words = fs::read_to_string(directory.join("cmdline")).expect("its arguments");
    let environment = fs::read_to_string(directory.join("environ")).expect("its environment");
    assert!(words.starts_with(&format!("{}\0", program.display())), "{words}");
    assert!(words.contains("\0create\0") && words.ends_with('\0'), "{words}");
    assert!(environment.split('\0').any(|variable| variable.starts_with("PATH=")), "{environment}");
    let _ = waiting.delete().ok();
}

/// Looks for a process whose executable it may look at and that is not its own. `-e` twice: one that has ended meanwhile is none.
const SPY: &str = r#"
    while [ ! -e /tmp/stop ]; do
        for p in /proc/[0-9]*; do
            { read -r name <$p/comm; } 2>/dev/null || continue
            [ "$name" = nrun ] && : >/tmp/seen
            [ -e $p/exe ] && ! [ $p/exe -ef /proc/1/exe ] && [ -e $p/exe ] && : >/tmp/reached
        done
        [ -e /tmp/seen ] && : >/tmp/looked
    done"#;

/// A search that takes long, between the moment the process enters the container and its exec: every directory of PATH is a chain
/// of links to nowhere.
fn slow_path(root: &Path) -> String {
    for link in 0..38 {
        symlink(format!("/{}", link + 1), root.join(link.to_string())).expect("link");
    }
    format!("PATH={}/bin", "/0:".repeat(30_000))
}

fn spy_on_exec(bundle: BundleDir) {
    let runtime = Runtime::under_test();
    let bundle = bundle.shell(SPY);
    let path = slow_path(&bundle.rootfs());
    let container = runtime.start(&bundle);
    let (seen, reached) = (bundle.rootfs().join("tmp/looked"), bundle.rootfs().join("tmp/reached"));
    for _ in 0..20 {
        let _ = container.exec(["true"]).ok();
        let _ = runtime.call(["exec", "--env", &path, container.id(), "true"]).run().ok();
        if seen.exists() {
            break;
        }
    }
    fs::write(bundle.rootfs().join("tmp/stop"), "").expect("stop the spy");
    container.wait();
    assert!(seen.exists(), "the spy never saw the runtime");
    assert!(!reached.exists(), "the spy reached the runtime's executable");
}

#[test]
fn a_container_cannot_reach_the_runtime_that_enters_it() {
    let _sandbox = Sandbox::enter();
    spy_on_exec(BundleDir::new());
}

#[test]
fn root_of_a_user_namespace_cannot_reach_the_runtime_that_enters_it() {
    let _sandbox = Sandbox::enter();
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    let bundle = BundleDir::new()
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .push("/process/capabilities/bounding", "CAP_SYS_PTRACE")
        .push("/process/capabilities/permitted", "CAP_SYS_PTRACE")
        .push("/process/capabilities/effective", "CAP_SYS_PTRACE");
    spy_on_exec(bundle);
}

#[test]
fn the_process_that_waits_for_start_cannot_be_traced_from_a_shared_pid_namespace() {
    let _sandbox = Sandbox::enter();
    let (runtime, name) = (Runtime::under_test(), unique_name());
    // The watcher is a container in whose pid namespace the other one is made.
    let bundle = BundleDir::new().shell(SPY);
    let watcher = runtime.start(&bundle);
    let namespace = format!("/proc/{}/ns/pid", watcher.pid().as_raw_nonzero());
    let other = BundleDir::new()
        .set("/hostname", name)
        .without_namespace("pid")
        .push("/linux/namespaces", json!({"type": "pid", "path": namespace}));
    let waiting = runtime.create(&other, [""; 0]);
    let pid = waiting.pid();
    let seen = bundle.rootfs().join("tmp/looked");
    wait_until(|| seen.exists());
    let reached = bundle.rootfs().join("tmp/reached").exists();
    let _ = waiting.delete().ok();
    // It has become our child. As long as it is not reaped, its pid namespace, the watcher's, cannot end.
    rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())
        .expect("reap the container's process");
    fs::write(bundle.rootfs().join("tmp/stop"), "").expect("stop the spy");
    watcher.wait();
    assert!(seen.exists(), "the spy never saw the runtime");
    assert!(!reached, "the spy reached the runtime's executable");
}

/// Without capabilities no mount can be made, and there is nothing but a sealed copy. The parameter is that of a pid namespace.
#[test]
fn who_may_execute_no_copy_hears_which_kernel_parameter_forbids_it() {
    let _sandbox = Sandbox::enter();
    let bundle = BundleDir::new();
    // Before Linux 6.3 there is none, and every copy can be executed.
    let parameter = "/proc/sys/vm/memfd_noexec";
    let run = |value: u32| {
        let script = format!(
            "test ! -e {parameter} || echo {value} > {parameter} && exec setpriv --bounding-set=-all --inh-caps=-all \"$@\""
        );
        let unshared = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", &script, "sh"];
        Runtime::under_test().launched_by(unshared).run(&bundle).exits(1)
    };
    let words = [
        "protect our own executable from the container: permission denied",
        "hint: `vm.memfd_noexec` is 2 here",
    ];
    for (value, forbidden) in [(2, Path::new(parameter).exists()), (1, false)] {
        let told = run(value).stderr();
        assert_eq!(words.map(|words| told.contains(words)), [forbidden; 2], "{told}");
    }
}
