//! The command line as people and engines use it: help, log, `--config`, lists and checks.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use nconform::fixture::{BundleDir, Capture, Runtime, Sandbox, scratch_dir};
use serde_json::{Value, json};

#[test]
fn help_is_found_wherever_it_is_looked_for() {
    let runtime = Runtime::under_test();
    let says = |args: &[&str]| Capture::of(runtime.program()).args(args).run().ok().stdout();
    let overview = says(&["--help"]);
    assert!(
        overview.contains("Life of a container:") && overview.contains("--log-format text|json")
    );
    for args in [&[][..], &["help"], &["-h"], &["-help"]] {
        assert_eq!(says(args), overview, "{args:?}");
    }
    let create = says(&["create", "--help"]);
    assert!(create.contains("Usage: nrun create [OPTIONS] ID") && create.contains("Examples:"));
    for args in [["help", "create"], ["create", "-h"], ["--help", "create"]] {
        assert_eq!(says(&args), create, "{args:?}");
    }
    assert!(says(&["--version"]).starts_with("nrun version "));
    assert_eq!(says(&["-v"]), says(&["--version"]));
}

#[test]
fn the_log_is_made_readable_and_appended_to() {
    let (runtime, directory) = (Runtime::under_test(), scratch_dir());
    let log = directory.path().join("log");
    let path = log.display().to_string();
    for format in [&["--log-format", "text"][..], &["--log-format=json"], &[]] {
        let globals = ["--log", &path];
        let args = globals.iter().chain(format).chain(&["state", "none"]);
        let _ = Capture::of(runtime.program()).args(args).run().exits(1);
    }
    assert_eq!(fs::metadata(&log).expect("the log").permissions().mode() & 0o777, 0o644);
    let text = fs::read_to_string(&log).expect("the log");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for line in [lines[0], lines[2]] {
        assert!(line.starts_with("time=\"20") && line.contains("Z\" level=error msg=\""), "{line}");
        assert!(line.ends_with("does not exist\""), "{line}");
    }
    let line: Value = serde_json::from_str(lines[1]).expect("a JSON object");
    assert_eq!(line["level"], "error");
    let wrong = Capture::of(runtime.program()).args(["--log-format", "xml", "list"]).run().exits(1);
    assert!(wrong.stderr().contains("invalid log-format"), "{wrong}");
}

/// A pipe that nobody reads from.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

#[test]
fn a_reader_who_has_gone_is_no_reason_to_crash() {
    let (runtime, directory) = (Runtime::under_test(), scratch_dir());
    let log = directory.path().join("log");
    let command = || Command::new(runtime.program());
    let exits = |command: &mut Command| command.status().expect("run it").code();
    assert_eq!(exits(command().arg("features").stdout(closed_pipe())), Some(0));
    let full = fs::File::options().write(true).open("/dev/full").expect("a full device");
    assert_eq!(exits(command().arg("features").stdout(full)), Some(1), "the data did not arrive");
    let mut state = command();
    state.arg("--log").arg(&log).args(["state", "none"]).stderr(closed_pipe());
    assert_eq!(exits(&mut state), Some(1));
    let text = fs::read_to_string(&log).expect("the log");
    assert!(text.contains("does not exist"), "the log tells what stderr cannot: {text}");
}

#[test]
fn debug_tells_each_phase_in_the_log_or_on_stderr() {
    let _sandbox = Sandbox::enter();
    let (bundle, directory) = (BundleDir::new(), scratch_dir());
    let path = directory.path().join("log").display().to_string();
    let words = [
        "level=debug",
        "nsexec container setup: nsexec started",
        "child process in init()",
        "planned",
        "init: closing the pipe to signal completion",
        "is created",
        " ms)",
    ];
    let output = Runtime::under_test().with_globals(["--debug"]).run(&bundle).ok();
    assert!(words.iter().all(|word| output.stderr().contains(word)), "{output}");
    assert_eq!(output.stdout(), "");
    let output = Runtime::under_test().with_globals(["--debug", "--log", &path]).run(&bundle).ok();
    assert_eq!(output.stderr(), "");
    let text = fs::read_to_string(&path).expect("the log");
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
    let json = ["--debug", "--log", &path, "--log-format", "json"];
    let _ = Runtime::under_test().with_globals(json).run(&bundle).ok();
    let text = fs::read_to_string(&path).expect("the log");
    let json = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    assert!(json.filter(|line| line["level"] == "debug").count() > 5, "{text}");
}

#[test]
fn another_config_json_is_taken_for_the_same_bundle() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().shell("echo its own");
    let other = BundleDir::new().shell("echo another");
    let config = other.path().join("config.json").display().to_string();
    let run = |options: &[&str]| {
        runtime.bundle_call("run", &bundle, options, &runtime.new_id()).run().ok().stdout()
    };
    assert_eq!(run(&[]), "its own\n");
    assert_eq!(run(&["--config", &config]), "another\n");
    assert_eq!(run(&[&format!("--config={config}")]), "another\n");
    // What start says of a failure comes from the file that create was given.
    let broken = BundleDir::new().args(["/bin/script"]);
    let script = bundle.rootfs().join("bin/script");
    fs::write(&script, "#!/no/interpreter\n").expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("chmod");
    let config = broken.path().join("config.json").display().to_string();
    let container = runtime.create(&bundle, ["--config", &config]);
    let said = container.start().exits(1).stderr();
    assert!(said.contains("exec /bin/script") && said.contains("/no/interpreter"), "{said}");
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    let missing = runtime.bundle_call("create", &bundle, ["--config", "/no/such/file"], "x").run();
    assert!(missing.exits(1).stderr().contains("/no/such/file"));
    sandbox.assert_clean();
}

#[test]
fn list_of_an_empty_root_is_a_header_null_or_nothing() {
    let (runtime, directory) = (Runtime::under_test(), scratch_dir());
    let root = directory.path().display().to_string();
    let list = |args: &[&str]| {
        Capture::of(runtime.program()).args(["--root", &root, "list"]).args(args).run()
    };
    assert_eq!(
        list(&[]).ok().stdout(),
        "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
    );
    assert_eq!(list(&["--format", "json"]).ok().stdout(), "null\n");
    assert_eq!(list(&["-q"]).ok().stdout(), "");
    assert!(list(&["--format", "xml"]).exits(1).stderr().contains("invalid format option"));
}

#[test]
fn check_tells_every_fault_of_the_config_and_warns_of_the_program() {
    let runtime = Runtime::under_test();
    let check = |bundle: &BundleDir| {
        let path = bundle.path().display().to_string();
        runtime.call(["check", "--bundle", &path]).run()
    };
    let warned = check(&BundleDir::new().args(["/bin/nothing"])).ok().stdout();
    assert!(
        warned.contains("/process/args: the root file system has no `/bin/nothing`"),
        "{warned}"
    );
    assert!(warned.ends_with("config.json: ok\n"));
    let mount = json!({"destination": "/data", "type": "ext4", "options": ["tmpcopyup"]});
    let both = check(&BundleDir::new().args(["/bin/nothing"]).push("/mounts", mount)).exits(1);
    let said = both.stderr();
    assert!(said.contains("/mounts/7") && said.contains("/bin/nothing"), "{said}");
    let faults = check(&BundleDir::new().set("/process/cwd", "x").set("/hostname", "x".repeat(99)));
    let said = faults.exits(1).stderr();
    assert!(said.contains("/process/cwd") && said.contains("/hostname"), "{said}");
}

#[test]
fn features_claims_what_the_binary_does() {
    let runtime = Runtime::under_test();
    let features = runtime.call(["features"]).run().ok().json();
    let help = runtime.call(["--help"]).run().ok().stdout();
    let claimed = |pointer: &str| features.pointer(pointer).and_then(Value::as_bool);
    let systemd = help.contains("--systemd-cgroup");
    assert_eq!(claimed("/linux/cgroup/systemd"), Some(systemd));
    let checkpoint = &features["annotations"]["run.oci.nrun.checkpoint.enabled"];
    assert_eq!(*checkpoint, help.contains("\n  checkpoint").to_string());
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    let mount = json!({"destination": "/data", "source": "/srv", "options": ["bind", "idmap"],
        "uidMappings": mapping, "gidMappings": mapping});
    let bundle = BundleDir::new().push("/mounts", mount);
    let path = bundle.path().display().to_string();
    let planned = runtime.call(["plan", "--bundle", &path]).run();
    let idmap = !planned.stderr().contains("not supported by this version");
    assert_eq!(claimed("/linux/mountExtensions/idmap/enabled"), Some(idmap), "{planned}");
}

#[test]
fn a_profile_may_list_the_architectures_of_every_machine() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let features = runtime.call(["features"]).run().ok().json();
    let architectures = features["linux"]["seccomp"]["archs"].clone();
    assert!(architectures.as_array().expect("a list").len() > 20);
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures,
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 30}],
    });
    let bundle = BundleDir::new().set("/linux/seccomp", profile).shell("mkdir /tmp/x; echo $?");
    let output = runtime.run(&bundle).ok();
    assert!(output.stdout() == "1\n" && output.stderr().contains("Read-only"), "{output}");
    sandbox.assert_clean();
}

#[test]
fn a_bundle_whose_path_is_not_utf_8_is_refused_and_leaves_nothing() {
    let sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), BundleDir::new());
    let scratch = scratch_dir();
    let odd = scratch.path().join(OsStr::from_bytes(b"odd\xff"));
    fs::create_dir_all(odd.join("rootfs")).expect("a bundle");
    fs::copy(bundle.path().join("config.json"), odd.join("config.json")).expect("a config.json");
    let output = runtime.call(["create", &runtime.new_id()]).directory(&odd).run().exits(1);
    let says = output.stderr();
    assert!(says.contains("odd\\xff`") && says.contains("not UTF-8"), "{output}");
    assert_eq!(fs::read_dir(runtime.root()).expect("the root").count(), 0);
    sandbox.assert_clean();
}

#[test]
fn what_is_wrong_with_a_command_line_is_in_the_log_too() {
    let (runtime, directory) = (Runtime::under_test(), scratch_dir());
    let log = directory.path().join("log.json");
    let globals = ["--log", log.to_str().expect("UTF-8"), "--log-format", "json"];
    let wrong: [(&[&str], &str, i32); 4] = [
        (&["create", "--nosuch", "x"], "flag provided but not defined: --nosuch", 1),
        (&["kill"], "\"kill\" requires a minimum of 1 argument(s)", 1),
        (&["create", "x", "--bundle"], "flag needs an argument: --bundle", 1),
        (&["crate", "x"], "No help topic for 'crate'", 3),
    ];
    for (args, words, status) in wrong {
        let _ = fs::remove_file(&log);
        let call = Capture::of(runtime.program()).args(globals).args(args);
        call.run().exits(status).says(words);
        let text = fs::read_to_string(&log).expect("the log");
        let line: Value = serde_json::from_str(&text).expect("one line of JSON");
        let said = line["msg"].as_str().unwrap_or_default();
        assert!(line["level"] == "error" && said.contains(words), "{args:?}: {text}");
    }
}
