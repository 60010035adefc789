//! A user's container from `create` to `delete`.

use nconform::fixture::{BundleDir, Console, Output, Runtime, User, find_tool};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

#[test]
fn a_container_lives_from_create_to_delete() {
    let user = User::enter();
    let runtime = user.runtime();
    let bundle = user.bundle().args(["sleep", "60"]);
    let container = runtime.create(&bundle, [""; 0]);
    assert_eq!(container.status(), "created");
    let _ = container.start().ok();
    let process = format!("/proc/{}", container.pid().as_raw_nonzero());
    assert_eq!(fs::metadata(&process).expect("the process").uid(), user.uid());
    let list = runtime.call(["list"]).run().ok().stdout();
    assert!(list.contains(container.id()) && list.contains("running"), "{list}");
    let _ = container.kill("KILL").ok();
    container.wait();
    assert_eq!(container.status(), "stopped");
    let _ = container.delete().ok();
    assert!(!runtime.root().join(container.id()).exists());
}

#[test]
fn what_spec_writes_runs_as_it_is() {
    let user = User::enter();
    let runtime = user.runtime();
    let bundle = user.bundle();
    let path = bundle.path().join("config.json");
    fs::remove_file(&path).expect("remove config.json");
    let _ = user
        .call(user.program())
        .args(["spec", "--rootless", "--bundle"])
        .args([bundle.path()])
        .run()
        .ok();
    let text = fs::read_to_string(&path).expect("config.json");
    let text = text.replace("\"terminal\": true", "\"terminal\": false");
    let text =
        text.replace("\"sh\"", "\"sh\", \"-c\", \"id -u; hostname; ls /sys/class/net | grep lo\"");
    let bundle = bundle.raw_config(&text);
    assert_eq!(runtime.run(&bundle).ok().stdout(), "0\nnrun\nlo\n");
    let refused = user.call(user.program()).args(["spec", "--bundle", "/"]).run().exits(1);
    assert_eq!(refused.stderr(), "nrun: cannot write `/config.json`: permission denied\n");
}

#[test]
fn the_state_is_kept_in_the_users_runtime_directory() {
    let user = User::enter();
    let bundle = user.bundle().args(["sleep", "60"]);
    let call = |args: &[&str]| user.call(user.program()).args(args).directory(bundle.path()).run();
    let id = nconform::fixture::unique_name();
    let _ = call(&["create", &id]).ok();
    let root = user.runtime_directory().join("nrun");
    let mode = fs::metadata(&root).expect("the directory of containers").permissions().mode();
    let state = root.join(&id).exists();
    let _ = call(&["delete", "--force", &id]).ok();
    assert_eq!(mode & 0o7777, 0o1700, "sticky: it may otherwise be cleaned away");
    assert!(state);
}

#[test]
fn a_further_process_enters_the_user_namespace_first() {
    let user = User::enter();
    let runtime = user.runtime();
    let bundle = user.bundle().args(["sleep", "60"]);
    let container = runtime.create(&bundle, [""; 0]);
    if !rustix::process::geteuid().is_root() {
        let refused = container.exec(["true"]).exits(255);
        assert!(refused.stderr().contains("it has not been started"), "{refused}");
    }
    let _ = container.start().ok();
    let script = "id -u; cat /proc/self/uid_map; hostname; grep CapEff /proc/self/status | cut -f2";
    let text = container.exec(["sh", "-c", script]).ok().stdout();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words, ["0", "0", &user.uid().to_string(), "1", "sandbox", "0000000020000420"]);
    let unmapped = runtime.call(["exec", "-u", "5", container.id(), "id"]).run().exits(255);
    assert!(unmapped.stderr().contains("unmapped user"), "{unmapped}");
    let _ = runtime.call(["kill", "--all", container.id(), "KILL"]).run().ok();
    container.wait();
    let _ = runtime.call(["kill", "--all", container.id(), "KILL"]).run().ok();
    let _ = container.kill("KILL").exits(1);
}

#[test]
fn a_terminal_goes_to_the_console_socket() {
    let user = User::enter();
    let (runtime, console) = (user.runtime(), Console::listen());
    user.give(console.path().parent().expect("a directory"));
    let bundle =
        user.bundle().set("/process/terminal", true).shell("tty; stat -c %u $(tty); echo end");
    let socket = console.path().display().to_string();
    let container = runtime.create(&bundle, ["--console-socket", &socket]);
    let mut terminal = console.receive();
    let _ = container.start().ok();
    assert_eq!(terminal.expect("end\r\n"), "/dev/pts/0\r\n0\r\nend\r\n");
    container.wait();
}

#[test]
fn the_exit_status_of_a_foreground_container_is_its_own() {
    let user = User::enter();
    let runtime = user.runtime();
    let _ = runtime.run(&user.bundle().shell("exit 7")).exits(7);
}

/// What a container tells about itself, in the same words under each runtime.
const ACCOUNT: &str = "id; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; \
    grep -E '^(Cap|Groups|NoNewPrivs|Seccomp:)' /proc/self/status; hostname; ls /dev | grep -v core; \
    stat -c '%n %t:%T %a' /dev/null /dev/zero /dev/tty; ls /proc/sys/kernel | wc -l; \
    touch /proc/sys/kernel/x /sys/x 2>&1; cat /proc/keys; ls /sys/firmware; ulimit -n; pwd; umask";

/// Peers that can run here: none but runc takes a hybrid host's cgroups.
fn peers() -> Vec<&'static str> {
    let mut peers = vec!["runc", "crun"];
    peers.retain(|name| find_tool(name).is_some());
    if !nconform::fixture::cgroups::unified() {
        peers.retain(|name| *name == "runc");
        assert_eq!(peers, ["runc"], "Debian's runc is what rootless containers are compared with");
    }
    peers
}

#[test]
fn a_container_looks_as_under_other_runtimes() {
    let user = User::enter();
    let bundle = user.bundle().shell(ACCOUNT);
    let run = |program: &std::path::Path, root: &str| -> Output {
        let root = user.runtime_directory().join(root);
        let id = nconform::fixture::unique_name();
        let words = [
            root.as_os_str(),
            "run".as_ref(),
            "--bundle".as_ref(),
            bundle.path().as_os_str(),
            id.as_ref(),
        ];
        user.call(program).args(["--root"]).args(words).run()
    };
    let ours = run(user.program(), "nrun-compared");
    for name in peers() {
        let theirs = run(&nconform::fixture::tool(name), name);
        // Later runtimes leave out ambient capabilities that are not inheritable, as we do.
        let without_ambient = |output: &Output| -> Vec<String> {
            let text = output.stdout();
            text.lines().filter(|line| !line.starts_with("CapAmb")).map(str::to_owned).collect()
        };
        assert_eq!(without_ambient(&ours), without_ambient(&theirs), "{name}");
        assert_eq!(ours.code(), theirs.code(), "{name}");
    }
}

#[test]
fn create_that_fails_leaves_nothing() {
    let user = User::enter();
    let runtime = user.runtime();
    let output = runtime.try_create(&user.bundle().args(["/no/such/program"])).exits(1);
    assert!(output.stderr().contains("no such file or directory"), "{output}");
    assert_eq!(fs::read_dir(runtime.root()).expect("the root").count(), 0);
}

/// A bundle that is made for root is refused with what to do, before anything is made.
#[test]
fn a_bundle_without_a_user_namespace_is_refused() {
    let user = User::enter();
    let runtime: Runtime = user.runtime();
    let bundle = BundleDir::new();
    user.give(bundle.path());
    let output = runtime.try_create(&bundle).exits(1);
    assert!(output.stderr().contains("/linux/namespaces"), "{output}");
    assert!(output.stderr().contains("spec --rootless"), "{output}");
    let plan = user.call(user.program()).args(["plan", "--bundle"]).args([bundle.path()]).run();
    assert_eq!(plan.code(), 1, "{plan}");
}

#[test]
fn namespaces_of_another_container_are_joined() {
    let user = User::enter();
    let runtime = user.runtime();
    let holding = user.bundle().args(["sleep", "60"]);
    let holder = runtime.start(&holding);
    let pid = holder.pid().as_raw_nonzero();
    let kinds =
        [("user", "user"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")];
    let bundle = kinds
        .iter()
        .fold(
            user.bundle().set("/linux/namespaces", json!([{"type": "mount"}])),
            |bundle, (kind, file)| {
                let path = format!("/proc/{pid}/ns/{file}");
                bundle.push("/linux/namespaces", json!({"type": kind, "path": path}))
            },
        )
        .remove("/linux/uidMappings")
        .remove("/linux/gidMappings")
        .remove("/hostname")
        .set("/process/oomScoreAdj", 300)
        .shell("hostname; id -u; for n in user net ipc uts pid; do readlink /proc/self/ns/$n; done; cat /proc/self/oom_score_adj");
    let text = runtime.run(&bundle).ok().stdout();
    let link = |(_, file): &(&str, &str)| {
        fs::read_link(format!("/proc/{pid}/ns/{file}")).expect("a namespace").display().to_string()
    };
    let mut wanted = vec!["sandbox".to_owned(), "0".to_owned()];
    wanted.extend(kinds.iter().map(link));
    wanted.push("300".to_owned());
    assert_eq!(text.lines().collect::<Vec<_>>(), wanted);
}

#[test]
fn kernel_parameters_of_its_own_namespaces_are_set_and_others_named() {
    let user = User::enter();
    let runtime = user.runtime();
    let bundle = user
        .bundle()
        .set("/linux/sysctl/net.ipv4.ip_forward", "1")
        .args(["cat", "/proc/sys/net/ipv4/ip_forward"]);
    assert_eq!(runtime.run(&bundle).ok().stdout(), "1\n");
    let shared =
        user.bundle().without_namespace("network").set("/linux/sysctl/net.ipv4.ip_forward", "1");
    let output = runtime.try_create(&shared).exits(1);
    assert!(output.stderr().contains("/linux/sysctl/net.ipv4.ip_forward"), "{output}");
}
