//! Hooks: when each kind runs, where, as whom and with what, and what comes of one that fails.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nconform::fixture::{BundleDir, Runtime, Sandbox, cgroups, criu, scratch_dir};
use serde_json::{Value, json};

/// In the order in which they run.
const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A hook that runs a shell script, with the busybox that both the host and the fixture's image have at this path.
fn shell(script: &str) -> Value {
    json!({"path": "/bin/busybox", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]})
}

fn with_hook(bundle: BundleDir, kind: &str, hook: Value) -> BundleDir {
    bundle.push(&format!("/hooks/{kind}"), hook)
}

/// A bundle whose hooks each append what they read, in a line of JSON, to a file: `host` for those that see the host's files.
fn recorded(host: &Path) -> BundleDir {
    let record = |file: &str| shell(&format!("cat >> {file}; echo >> {file}"));
    let host = record(&host.display().to_string());
    KINDS.iter().fold(BundleDir::new().args(["sleep", "600"]), |bundle, kind| {
        let hook = if *kind == "startContainer" { record("/states") } else { host.clone() };
        with_hook(bundle, kind, hook)
    })
}

fn states(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn statuses(path: &Path) -> Vec<String> {
    let status = |state: Value| state["status"].as_str().unwrap_or_default().to_owned();
    states(path).into_iter().map(status).collect()
}

/// A file that a hook writes to, outside of any bundle.
fn outside() -> (tempfile::TempDir, PathBuf) {
    let directory = scratch_dir();
    let file = directory.path().join("out");
    (directory, file)
}

#[test]
fn each_kind_runs_at_its_time_and_reads_the_state_of_that_time() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let (_directory, host) = outside();
    let bundle = recorded(&host).set("/annotations", json!({"org.example.key": "value"}));
    let inside = bundle.rootfs().join("states");

    let container = runtime.create(&bundle, [""; 0]);
    let pid = container.pid().as_raw_nonzero().get();
    assert_eq!(statuses(&host), ["creating"; 3], "prestart, createRuntime, createContainer");
    let pids: Vec<Value> = states(&host).iter().map(|state| state["pid"].clone()).collect();
    assert_eq!(pids, [json!(pid), json!(pid), json!(1)], "as the hook's own namespace sees it");
    assert!(!inside.exists(), "startContainer hooks wait for `start`");

    let _ = container.start().ok();
    let started = states(&inside);
    assert_eq!(
        (started.len(), &started[0]["status"], &started[0]["pid"]),
        (1, &json!("created"), &json!(1))
    );
    assert_eq!(statuses(&host)[3..], ["running"]);
    assert_eq!(states(&host)[3]["pid"], pid);

    let _ = container.kill("KILL").ok();
    container.wait();
    assert_eq!(states(&host).len(), 4);
    let _ = container.delete().ok();
    assert_eq!(statuses(&host)[4..], ["stopped"]);
    for state in states(&host).iter().chain(&started) {
        assert_eq!(state["id"], container.id(), "{state}");
        assert_eq!(state["ociVersion"], "1.0.2", "{state}");
        assert_eq!(state["bundle"], bundle.path().to_str().expect("UTF-8"), "{state}");
        assert_eq!(state["annotations"]["org.example.key"], "value", "{state}");
    }
    sandbox.assert_clean();
}

#[test]
fn run_runs_them_all() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let (_directory, host) = outside();
    let bundle = recorded(&host).args(["cat", "/states"]);
    let output = runtime.run(&bundle).ok();
    assert!(output.stdout().contains("\"created\""), "before the program; {output}");
    assert_eq!(statuses(&host), ["creating", "creating", "creating", "running", "stopped"]);
    sandbox.assert_clean();
}

#[test]
fn hooks_of_a_kind_run_in_order_and_the_first_that_fails_is_the_last() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for kind in &KINDS[..5] {
        let (_directory, host) = outside();
        let log = |word: &str| shell(&format!("echo {word} >> {}", host.display()));
        let inside = |word: &str| shell(&format!("echo {word} >> /log"));
        let hooks = if *kind == "startContainer" {
            [inside("a"), inside("b"), inside("c")]
        } else {
            [log("a"), log("b"), log("c")]
        };
        let [first, second, third] = hooks;
        let failing = shell("echo to the one; echo to the other >&2; exit 3");
        let bundle = [first, second, failing, third]
            .into_iter()
            .fold(BundleDir::new().args(["sleep", "600"]), |b, hook| with_hook(b, kind, hook));
        let bundle = with_hook(bundle, "poststop", log("gone"));
        let log =
            if *kind == "startContainer" { bundle.rootfs().join("log") } else { host.clone() };

        let output = runtime.run(&bundle).exits(1);
        let words = format!(
            "error running {kind} hook #2: exit status 3, stdout: to the one\n, stderr: to the other"
        );
        output.says(&words);
        output.says(&format!("/hooks/{kind}/2"));
        let text = fs::read_to_string(&log).expect("the log");
        assert!(text.starts_with("a\nb\n") && !text.contains('c'), "{kind}: {text}");
        let gone = fs::read_to_string(&host).expect("what the poststop hook wrote");
        assert!(gone.ends_with("gone\n"), "{kind}: the poststop hooks follow; {gone}");
        assert_eq!(fs::read_dir(runtime.root()).expect("the root").count(), 0, "{kind}");
        sandbox.assert_clean();
    }
}

#[test]
fn a_failed_create_leaves_nothing_and_a_failed_start_a_stopped_container() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let failing =
        |kind: &str| with_hook(BundleDir::new().args(["sleep", "600"]), kind, shell("exit 1"));
    for kind in &KINDS[..3] {
        let output = runtime.try_create(&failing(kind)).exits(1);
        output.says("cannot create container");
        assert_eq!(fs::read_dir(runtime.root()).expect("the root").count(), 0, "{kind}");
    }
    for kind in &KINDS[3..5] {
        let bundle = failing(kind);
        let container = runtime.create(&bundle, [""; 0]);
        container.start().exits(1).says(&format!("error running {kind} hook #0: exit status 1"));
        container.wait();
        assert_eq!(container.status(), "stopped", "{kind}");
        let _ = container.delete().ok();
        assert!(cgroups::named(container.id()).is_empty());
    }
    sandbox.assert_clean();
}

/// Without a pid namespace of its own, nothing else would end the others.
#[test]
fn a_poststart_hook_that_fails_ends_every_process_of_the_container() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().without_namespace("pid");
    let bundle = bundle.shell("sleep 600 & echo >/begun; exec sleep 600");
    let begun = bundle.rootfs().join("begun");
    let fail = format!("until [ -e {} ]; do sleep 0.01; done; exit 1", begun.display());
    let bundle = with_hook(bundle, "poststart", shell(&fail));
    let container = runtime.create(&bundle, [""; 0]);
    container.start().exits(1).says("error running poststart hook #0");
    container.wait();
    let members = || cgroups::read(container.id(), "cgroup.procs").expect("its cgroup");
    let end = Instant::now() + Duration::from_secs(10);
    while !members().is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(members(), "");
    let _ = container.delete().ok();
}

#[test]
fn an_init_that_a_hook_has_killed_is_told_as_such() {
    let sandbox = Sandbox::enter();
    let kill = shell("kill -9 $(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p'); sleep 0.1");
    let bundle = with_hook(BundleDir::new(), "createRuntime", kill);
    let output = Runtime::under_test().try_create(&bundle).exits(1);
    output.says("did not get ready: its init was killed by signal 9");
    sandbox.assert_clean();
}

#[test]
fn a_poststop_hook_that_fails_is_warned_of_and_the_next_one_runs() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let (_directory, host) = outside();
    let hooks = [
        shell("exit 4"),
        json!({"path": "/no/such"}),
        // Nothing of it is there any more.
        shell(&format!("{{ ls {}; echo on; }} > {}", runtime.root().display(), host.display())),
    ];
    let bundle = hooks.into_iter().fold(BundleDir::new(), |b, hook| with_hook(b, "poststop", hook));
    let container = runtime.start(&bundle);
    container.wait();
    let log = host.with_file_name("log");
    let globals = ["--log", log.to_str().expect("UTF-8"), "--log-format", "json"];
    let output = runtime.call(globals).args(["delete", container.id()]).run().ok();
    output.says("warning: ");
    output.says("error running poststop hook #0: exit status 4");
    output.says("error running poststop hook #1: fork/exec /no/such: no such file or directory");
    assert_eq!(fs::read_to_string(&host).expect("the last one ran"), "on\n");
    assert!(fs::read_to_string(&log).expect("the log").contains("\"level\":\"warning\""));
    sandbox.assert_clean();
}

#[test]
fn a_hook_that_takes_too_long_is_killed_with_what_it_started() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for kind in KINDS {
        let mut hook = shell("echo before; sleep 71 & sleep 71");
        hook["timeout"] = json!(1);
        let bundle = with_hook(BundleDir::new(), kind, hook);
        let started = Instant::now();
        let output = runtime.run(&bundle);
        assert!(started.elapsed() < Duration::from_secs(30), "{kind}: {output}");
        output.says(&format!(
            "error running {kind} hook #0: hook ran past specified timeout of 1.0s"
        ));
        output.says("stdout: before");
        assert_eq!(output.success(), kind == "poststop", "{output}");
        sandbox.assert_clean();
    }
}

#[test]
fn what_a_hook_writes_is_kept_in_bounds() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for kind in ["createRuntime", "startContainer"] {
        let hook =
            shell("dd if=/dev/zero bs=1k count=1024 | tr '\\0' x; echo; echo the end; exit 1");
        let output = runtime.run(&with_hook(BundleDir::new(), kind, hook)).exits(1);
        assert!(output.stderr().len() < 4096, "{kind}: {} bytes", output.stderr().len());
        output.says("the end");
    }
}

#[test]
fn a_hook_need_not_read_its_input_however_long_that_is() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let long = "x".repeat(300_000);
    let bundle = KINDS.iter().fold(BundleDir::new(), |bundle, kind| {
        with_hook(bundle, kind, shell("exec 0<&-; sleep 0.1"))
    });
    let bundle = bundle.set("/annotations", json!({"org.example.long": long}));
    let _ = runtime.run(&bundle).ok();
    let (_directory, host) = outside();
    let bundle =
        recorded(&host).args(["true"]).set("/annotations", json!({"org.example.long": long}));
    let _ = runtime.run(&bundle).ok();
    assert!(states(&host).iter().all(|state| state["annotations"]["org.example.long"] == long));
}

#[test]
fn a_hook_of_the_runtime_gets_its_arguments_its_environment_the_bundle_and_no_fd() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for kind in ["prestart", "createRuntime", "poststart", "poststop"] {
        let (_directory, host) = outside();
        let script =
            format!("(echo $0 $1; env; pwd; ls -l /proc/self/fd) > {} 2>&1", host.display());
        let hook = json!({"path": "/bin/busybox", "args": ["sh", "-c", script, "zero", "one"], "env": ["A=B"]});
        let bundle = with_hook(BundleDir::new(), kind, hook);
        let id = runtime.new_id();
        let call = runtime.bundle_call("run", &bundle, [""; 0], &id).env("OURS", "not the hook's");
        let _ = call.run().ok();
        let text = fs::read_to_string(&host).expect("what the hook wrote");
        assert!(text.starts_with("zero one\n"), "{kind}: {text}");
        assert!(text.contains("A=B\n") && !text.contains("OURS"), "{kind}: {text}");
        assert!(text.contains(&format!("\n{}\n", bundle.path().display())), "{kind}: {text}");
        // Three streams, the directory that `ls` has read, and nothing of ours.
        assert_eq!(text.matches(" 3\n").count(), 1, "{kind}: {text}");
        assert_eq!(text.matches(" -> ").count(), 3, "{kind}: {text}");
    }
}

#[test]
fn a_hook_without_an_environment_inherits_the_runtime_s_where_it_runs_in_its_namespaces() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test().launched_by(["env", "OF_THE_RUNTIME=its own"]);
    let (_directory, host) = outside();
    let mut bundle = BundleDir::new().args(["cat", "/env"]);
    for kind in KINDS {
        let file = if kind == "startContainer" { Path::new("/env") } else { &host };
        let script = format!("echo {kind} $OF_THE_RUNTIME >> {}", file.display());
        bundle =
            with_hook(bundle, kind, json!({"path": "/bin/busybox", "args": ["sh", "-c", script]}));
    }
    let inside = bundle.rootfs().join("env");
    let bundle = bundle.set("/process/env", json!(["PATH=/bin", "OF_THE_RUNTIME=the program's"]));
    let _ = runtime.run(&bundle).ok();
    let text = fs::read_to_string(&host).expect("what the hooks wrote");
    let expected = "prestart its own\ncreateRuntime its own\ncreateContainer\npoststart its own\npoststop its own\n";
    assert_eq!(text, expected);
    let text = fs::read_to_string(inside).expect("what the hook in the container wrote");
    assert_eq!(text, "startContainer the program's\n");
    sandbox.assert_clean();
}

#[test]
fn while_hooks_of_the_create_phase_run_the_container_is_being_created() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let (_directory, host) = outside();
    let program = runtime.program().display().to_string();
    let root = runtime.root().display().to_string();
    let ask = |what: &str| format!("{program} --root {root} {what}");
    let script = format!(
        "read state; id=${{state#*id\\\":\\\"}}; id=${{id%%\\\"*}}; exec >> {} 2>&1; {}; {}; {}; {} & {} & wait",
        host.display(),
        ask("state $id"),
        ask("exec $id true"),
        ask("events --stats $id"),
        ask("kill $id KILL"),
        ask("delete $id"),
    );
    let bundle =
        with_hook(BundleDir::new().args(["sleep", "600"]), "createRuntime", shell(&script));
    let started = Instant::now();
    let container = runtime.create(&bundle, [""; 0]);
    assert!(
        started.elapsed() < Duration::from_secs(50),
        "a hook that waits for us is not waited for"
    );
    let text = fs::read_to_string(&host).expect("what the hook wrote");
    assert!(text.contains("\"status\": \"creating\""), "{text}");
    assert_eq!(text.matches("still being created").count(), 4, "{text}");
    assert_eq!(container.status(), "created");
    let _ = container.delete().ok();
    sandbox.assert_clean();
}

#[test]
fn a_create_that_fails_ends_what_a_hook_has_left_behind() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().without_namespace("pid").without_namespace("network");
    let bundle = with_hook(bundle, "createContainer", shell("sleep 600 >/dev/null 2>&1 &"));
    let bundle = with_hook(bundle, "createContainer", shell("exit 1"));
    let begin = Instant::now();
    let output = runtime.try_create(&bundle).exits(1);
    output.says("error running createContainer hook #1");
    assert!(begin.elapsed() < Duration::from_secs(10), "it took {:?}", begin.elapsed());
    assert_eq!(fs::read_dir(runtime.root()).expect("the root").count(), 0, "nothing is left");
    sandbox.assert_clean();
}

#[test]
fn hooks_of_the_create_phase_find_the_root_with_its_mounts_by_its_path() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for propagation in ["rslave", "slave", "rprivate", "private", "rshared", "shared"] {
        let bundle = BundleDir::new().set("/linux/rootfsPropagation", propagation);
        let rootfs = bundle.rootfs();
        let root = rootfs.display();
        fs::create_dir(rootfs.join("made")).expect("a directory");
        let inside = format!(
            "set -e; pwd; readlink /proc/self/ns/mnt; ls {root}/dev/null; mount -t tmpfs hooked {root}/made; echo hello > {root}/made/file; umask; exit 7"
        );
        let outside = format!(
            "pid=$(tr , '\\n' | grep '\"pid\"' | cut -d: -f2); nsenter -t $pid -m -- /bin/busybox ls {root}/dev/null"
        );
        let bundle = with_hook(bundle, "createRuntime", shell(&outside));
        let failing = with_hook(bundle, "createContainer", shell(&inside));
        let output = runtime.run(&failing).exits(1);
        output.says("exit status 7");
        output.says(&format!("stdout: {root}\nmnt:"));
        output.says("0022");
        let own = fs::read_link("/proc/self/ns/mnt").expect("a link");
        assert!(!output.stderr().contains(&own.display().to_string()), "{output}");
        sandbox.assert_clean();

        let bundle = failing
            .set("/hooks/createContainer/0", shell(&inside.replace("exit 7", "exit 0")))
            .shell(
                "cat /made/file; grep -c hooked /proc/self/mounts; ls -d /host /work 2>/dev/null",
            );
        assert_eq!(runtime.run(&bundle).exits(1).stdout(), "hello\n1\n", "{propagation}");
        assert!(!rootfs.join("made/file").exists(), "the mount is the container's alone");
        sandbox.assert_clean();
    }
}

#[test]
fn hooks_run_without_pivot_and_without_a_mount_namespace() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let (_directory, host) = outside();
    let id = runtime.new_id();
    let bundle = recorded(&host).args(["true"]);
    let _ = runtime.bundle_call("run", &bundle, ["--no-pivot"], &id).run().ok();
    assert_eq!(statuses(&host), ["creating", "creating", "creating", "running", "stopped"]);
    let bundle = recorded(&host)
        .args(["true"])
        .without_namespace("mount")
        .set("/mounts", json!([]))
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]));
    let _ = runtime.run(&bundle).ok();
    assert_eq!(states(&host).len(), 10);
    sandbox.assert_clean();
}

#[test]
fn hooks_run_in_a_user_namespace() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let hook = shell("id -u; readlink /proc/self/ns/user; exit 1");
    let bundle = BundleDir::new()
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", mapping.clone())
        .set("/linux/gidMappings", mapping);
    let own = fs::read_link("/proc/self/ns/user").expect("a link").display().to_string();
    for (kind, contained) in
        [("createRuntime", false), ("createContainer", true), ("startContainer", true)]
    {
        let bundle = with_hook(BundleDir::new(), kind, hook.clone())
            .push("/linux/namespaces", json!({"type": "user"}))
            .set("/linux/uidMappings", bundle.config()["linux"]["uidMappings"].clone())
            .set("/linux/gidMappings", bundle.config()["linux"]["gidMappings"].clone());
        let output = runtime.run(&bundle).exits(1);
        output.says("stdout: 0\nuser:");
        assert_eq!(!output.stderr().contains(&own), contained, "{kind}: {output}");
    }
    sandbox.assert_clean();
}

#[test]
fn a_start_container_hook_is_the_program_s_equal_and_no_more() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let status = "grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp):' /proc/self/status; id -G; pwd; umask; ulimit -n; ls /proc/self/fd | wc -l; env | sort; mkdir /tmp/x 2>&1; true";
    for no_new_privileges in [true, false] {
        let bundle = BundleDir::new()
            .set("/process/user", json!({"uid": 1000, "gid": 100, "additionalGids": [7]}))
            .set("/process/cwd", "/tmp")
            .set("/process/noNewPrivileges", no_new_privileges)
            .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 17, "hard": 33}]))
            .set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{"names": ["mkdir", "clone3", "recvfrom", "sendto", "socketpair", "setsid"], "action": "SCMP_ACT_ERRNO"}]}))
            .shell(status);
        let bundle = with_hook(
            bundle,
            "startContainer",
            json!({"path": "/bin/busybox", "args": ["sh", "-c", format!("({status}) > /tmp/hook")]}),
        );
        let id = runtime.new_id();
        let output = runtime.bundle_call("run", &bundle, [""; 0], &id).run().ok();
        let hook = fs::read_to_string(bundle.rootfs().join("tmp/hook")).expect("what it wrote");
        assert_eq!(hook, output.stdout(), "the program's and the hook's differ");
        assert!(
            hook.contains("Seccomp:\t2") && hook.contains("\n17\n") && hook.contains("HOME=/home"),
            "{hook}"
        );
        assert!(hook.contains("Operation not permitted"), "{hook}");
    }
}

#[test]
fn a_hook_gets_no_preserved_fds() {
    let _sandbox = Sandbox::enter();
    let script = r#"exec 3</ 4</; exec "$0" "$@""#;
    let runtime = Runtime::under_test().launched_by(["sh", "-c", script]);
    for kind in &KINDS[..5] {
        let bundle = with_hook(BundleDir::new(), kind, shell("ls /proc/self/fd | wc -l; exit 1"));
        let id = runtime.new_id();
        let output = runtime.bundle_call("run", &bundle, ["--preserve-fds", "2"], &id).run();
        output.says("stdout: 4\n");
    }
}

#[test]
fn what_hooks_write_is_appended_to_the_files_that_annotations_name() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let (directory, host) = outside();
    let errors = directory.path().join("errors");
    fs::write(&host, "kept\n").expect("a file");
    let bundle = KINDS.iter().fold(BundleDir::new(), |bundle, kind| {
        with_hook(bundle, kind, shell(&format!("echo {kind}; echo not {kind} >&2")))
    });
    let bundle = bundle.set(
        "/annotations",
        json!({"run.oci.hooks.stdout": host.to_str(), "run.oci.hooks.stderr": errors.to_str()}),
    );
    let _ = runtime.run(&bundle).ok();
    let text = fs::read_to_string(&host).expect("standard output");
    assert_eq!(text, format!("kept\n{}\n", KINDS.join("\n")));
    assert_eq!(fs::read_to_string(&errors).expect("standard error").lines().count(), KINDS.len());
    assert_eq!(fs::metadata(&errors).expect("the file").permissions().mode() & 0o777, 0o600);
    let bundle = bundle.set("/annotations", json!({"run.oci.hooks.stdout": "a\nb"}));
    let why = r"/annotations/run.oci.hooks.stdout: must be an absolute path, not `a\nb`";
    runtime.run(&bundle).exits(1).says(why);
}

#[test]
fn a_poststart_hook_may_ask_for_the_state_and_end_the_container() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let (_directory, host) = outside();
    let id = runtime.new_id();
    let nrun = format!("{} --root {}", runtime.program().display(), runtime.root().display());
    let script = format!("{nrun} state {id} > {}; {nrun} kill {id} KILL", host.display());
    let bundle = with_hook(BundleDir::new().args(["sleep", "600"]), "poststart", shell(&script));
    let _ = runtime.bundle_call("create", &bundle, [""; 0], &id).run().ok();
    let _ = runtime.call(["start", &id]).limit(Duration::from_secs(30)).run().ok();
    let state: Value =
        serde_json::from_str(&fs::read_to_string(&host).expect("a state")).expect("JSON");
    assert_eq!(state["status"], "running");
    let _ = runtime.call(["delete", "--force", &id]).run().ok();
    sandbox.assert_clean();
}

#[test]
fn hooks_that_cannot_be_run_are_told_by_their_path() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for kind in &KINDS[..5] {
        let bundle = with_hook(BundleDir::new(), kind, json!({"path": "/no/such"}));
        let words =
            format!("error running {kind} hook #0: fork/exec /no/such: no such file or directory");
        runtime.run(&bundle).exits(1).says(&words);
    }
    for (field, value) in [("path", json!("relative")), ("timeout", json!(0))] {
        let mut hook = json!({"path": "/bin/true"});
        hook[field] = value;
        let bundle = with_hook(BundleDir::new(), "poststop", hook);
        runtime.try_create(&bundle).exits(1).says(&format!("/hooks/poststop/0/{field}"));
    }
}

#[test]
fn features_name_all_six() {
    let runtime = Runtime::under_test();
    let features = runtime.call(["features"]).run().ok().json();
    assert_eq!(features["hooks"], json!(KINDS));
}

#[test]
fn a_fifo_that_nobody_reads_does_not_hold_up_a_create() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let (_directory, fifo) = outside();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .expect("a FIFO");
    let bundle = with_hook(BundleDir::new(), "prestart", shell("echo out"))
        .set("/annotations", json!({"run.oci.hooks.stdout": fifo}));
    let started = Instant::now();
    let output = runtime.run(&bundle).exits(1);
    output.says("for what hooks write: no such device or address");
    assert!(started.elapsed() < Duration::from_secs(30));
    sandbox.assert_clean();
}

#[test]
fn a_restore_that_fails_at_once_runs_its_poststop_hooks_on_the_host() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let (bin, file) = outside();
    let script = format!("readlink /proc/self/ns/mnt > {}", file.display());
    let bundle = with_hook(BundleDir::new(), "poststop", shell(&script));
    let images = bundle.path().join("images");
    fs::create_dir(&images).expect("a directory");
    fs::write(images.join("descriptors.json"), "[]").expect("a file");
    let options = ["--detach", "--image-path", images.to_str().expect("UTF-8")];
    let id = runtime.new_id();
    let call = runtime.bundle_call("restore", &bundle, options, &id);
    let output = call.env("PATH", criu::stand_in(bin.path())).run().exits(1);
    output.says("it exited with status 1 without an answer");
    let ours = fs::read_link("/proc/thread-self/ns/mnt").expect("our mount namespace");
    let seen = fs::read_to_string(&file).expect("the hook has run");
    assert_eq!(Path::new(seen.trim()), ours, "and not in the one that criu mounts in");
    assert_eq!(fs::read_dir(runtime.root()).expect("the root").count(), 0);
    sandbox.assert_clean();
}
