//! What a person reads when something is wrong, word for word, and what is left then: nothing.
//!
//! The files in bad_input/ hold every command, its message and its exit status; a change of wording is a change there.
//! `NRUN_UPDATE_MESSAGES=1` writes them anew. Engines match some of the words: the tests name those.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nconform::fixture::{BundleDir, Capture, Output, Runtime, Sandbox, cgroups};
use serde_json::{Value, json};

/// The messages as they are made, with what changes from run to run replaced by its name.
struct Transcript<'a> {
    runtime: &'a Runtime,
    names: Vec<(String, String)>,
    text: String,
}

impl<'a> Transcript<'a> {
    fn new(runtime: &'a Runtime) -> Self {
        let names = vec![(runtime.root().display().to_string(), "ROOT".to_owned())];
        Transcript { runtime, names, text: String::new() }
    }

    fn name(&mut self, what: impl std::fmt::Display, name: &str) {
        // What was named last is replaced first.
        self.names.insert(0, (what.to_string(), name.to_owned()));
    }

    fn section(&mut self, title: &str) {
        let _ = write!(self.text, "\n## {title}\n");
    }

    fn hide(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (what, name)| text.replace(what, name))
    }

    /// A call that fails with `status`.
    #[track_caller]
    fn fails(&mut self, status: i32, args: &[&str]) -> String {
        let output = self.runtime.call(args).limit(std::time::Duration::from_secs(20)).run();
        self.note(status, args, &output)
    }

    #[track_caller]
    fn note(&mut self, status: i32, args: &[&str], output: &Output) -> String {
        assert_eq!(output.stdout(), "", "data on stdout: {output}");
        let quoted = args.iter().map(|arg| {
            if arg.is_empty() || arg.contains(|c: char| c == ' ' || c.is_control()) {
                format!("{arg:?}")
            } else {
                (*arg).to_owned()
            }
        });
        let command = quoted.collect::<Vec<_>>().join(" ");
        let said = self.hide(&output.stderr());
        let _ = write!(
            self.text,
            "\n$ nrun {}\n{said}exit status {}\n",
            self.hide(&command),
            output.code()
        );
        assert_eq!(output.code(), status, "{output}");
        assert!(
            said.starts_with("nrun: ") && said.ends_with('\n') && !said.contains("panicked"),
            "{output}"
        );
        output.stderr()
    }

    /// `create` and `run` of a bundle that is no good: the same words, and nothing left of either.
    #[track_caller]
    fn refused(&mut self, bundle: &BundleDir, words: &str) {
        let path = bundle.path().display().to_string();
        self.name(path.clone(), "BUNDLE");
        for command in ["create", "run"] {
            let id = self.runtime.new_id();
            self.name(id.clone(), "ID");
            let before = self.text.len();
            let said = self.fails(1, &[command, "--bundle", &path, &id]);
            if command == "run" {
                let (create, run) = (
                    self.text[..before].rfind("\n$ ").map(|at| self.text[at..before].to_owned()),
                    self.text[before..].to_owned(),
                );
                let same =
                    create.as_deref().map(|text| text.replacen("create", "run", 1)) == Some(run);
                if same {
                    self.text.truncate(before);
                }
            }
            assert!(said.contains(words), "`{words}` is not in: {said}");
            self.assert_nothing_left(&id);
        }
    }

    #[track_caller]
    fn assert_nothing_left(&self, id: &str) {
        assert!(!self.runtime.root().join(id).exists(), "the state of `{id}` was left");
        assert_eq!(cgroups::named(id), Vec::<PathBuf>::new(), "cgroups of `{id}` were left");
    }

    /// Compares with the file of this name.
    #[track_caller]
    fn compare(self, name: &str) {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/bad_input/{name}.txt"));
        if std::env::var_os("NRUN_UPDATE_MESSAGES").is_some() {
            fs::write(&path, &self.text).expect("write the messages");
            return;
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            expected == self.text,
            "{} differs; now:\n{}",
            path.display(),
            difference(&expected, &self.text)
        );
    }
}

fn difference(before: &str, now: &str) -> String {
    let same = before.lines().zip(now.lines()).take_while(|(a, b)| a == b).count();
    let part = |text: &str| {
        text.lines().skip(same.saturating_sub(3)).take(12).collect::<Vec<_>>().join("\n")
    };
    format!("--- expected\n{}\n--- now\n{}", part(before), part(now))
}

fn text(bundle: &BundleDir) -> String {
    fs::read_to_string(bundle.path().join("config.json")).expect("config.json")
}

fn bind(source: &str, destination: &str) -> Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": ["rbind"]})
}

#[test]
fn a_config_that_is_no_good_is_told_with_its_places() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let mut said = Transcript::new(&runtime);
    said.section("config.json is missing");
    let bundle = BundleDir::new();
    fs::remove_file(bundle.path().join("config.json")).expect("remove config.json");
    said.refused(&bundle, "config.json");
    said.section("the bundle is missing");
    said.fails(1, &["create", "--bundle", "/no/such/bundle", "x"]);
    said.section("config.json is empty");
    said.refused(&BundleDir::new().raw_config(""), "config.json:1:");
    said.section("config.json ends in the middle");
    let bundle = BundleDir::new();
    let whole = text(&bundle);
    said.refused(&bundle.raw_config(&whole[..whole.len() / 2]), "config.json:");
    said.section("a comma is missing");
    let bundle = BundleDir::new();
    let broken = whole.replacen("\"hostname\": \"sandbox\",", "\"hostname\": \"sandbox\"", 1);
    said.refused(&bundle.raw_config(broken), "config.json:");
    said.section("a value has the wrong type");
    said.refused(&BundleDir::new().set("/process/args", "sh"), "/process/args");
    said.section("bytes that are no text");
    said.refused(&BundleDir::new().raw_config(b"\xff\xfe{}"), "config.json:1:");
    said.section("several findings are told at once");
    let bundle = BundleDir::new()
        .set("/ociVersion", "0.5")
        .set("/process/cwd", "relative")
        .set("/process/args", json!([]))
        .set("/process/user/uid", u32::MAX)
        .set("/root/path", "nowhere")
        .set("/linux/cgroupsPath", "../up")
        .set("/mounts/1/destination", "");
    said.refused(&bundle, "config.json:");
    let lines = said
        .text
        .lines()
        .rev()
        .take_while(|line| !line.starts_with("$ "))
        .filter(|line| line.contains("config.json:"))
        .count();
    assert!(lines >= 5, "only {lines} findings at once: {}", said.text);
    said.compare("config");
}

#[test]
fn what_is_missing_on_the_host_or_in_the_image_is_told_by_name() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let mut said = Transcript::new(&runtime);
    said.section("the root file system is missing");
    said.refused(&BundleDir::new().set("/root/path", "nowhere"), "nowhere");
    said.section("the root file system is a file");
    said.refused(&BundleDir::new().set("/root/path", "config.json"), "config.json");
    said.section("a bind source is missing");
    said.refused(
        &BundleDir::new().push("/mounts", bind("/no/such/source", "/data")),
        "no such file or directory",
    );
    said.section("a file is bound on a directory");
    said.refused(&BundleDir::new().push("/mounts", bind("/etc/passwd", "/tmp")), "/tmp");
    said.section("a mount lies below a file");
    said.refused(
        &BundleDir::new().push("/mounts", bind("/etc", "/etc/passwd/data")),
        "not a directory",
    );
    said.section("a file system that the kernel does not have");
    said.refused(
        &BundleDir::new()
            .push("/mounts", json!({"destination": "/data", "type": "nosuchfs", "source": "none"})),
        "nosuchfs",
    );
    said.section("an option that the file system does not have");
    let options = json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["nosuchoption=1"]});
    said.refused(&BundleDir::new().push("/mounts", options), "/mounts/7");
    said.section("a namespace that is not there");
    let bundle = BundleDir::new()
        .without_namespace("network")
        .push("/linux/namespaces", json!({"type": "network", "path": "/run/netns/none"}));
    said.refused(&bundle, "no such file or directory");
    said.section("a kernel parameter that is not there");
    said.refused(
        &BundleDir::new().set("/linux/sysctl", json!({"net.ipv4.none": "1"})),
        "net/ipv4/none",
    );
    said.section("the working directory is a file");
    said.refused(&BundleDir::new().set("/process/cwd", "/etc/passwd"), "not a directory");
    said.section("a terminal that goes nowhere");
    let bundle = BundleDir::new().set("/process/terminal", true);
    let (id, path) = (runtime.new_id(), bundle.path().display().to_string());
    said.name(id.clone(), "ID");
    said.name(path.clone(), "BUNDLE");
    said.fails(1, &["create", "--bundle", &path, &id]);
    said.fails(1, &["create", "--bundle", &path, "--console-socket", "/no/such/socket", &id]);
    said.fails(1, &["run", "--detach", "--bundle", &path, &id]);
    said.section("a pid file that cannot be written");
    let bundle = BundleDir::new();
    let path = bundle.path().display().to_string();
    said.name(path.clone(), "BUNDLE");
    said.fails(1, &["create", "--bundle", &path, "--pid-file", "/no/such/directory/pid", &id]);
    said.assert_nothing_left(&id);
    said.compare("host");
}

#[test]
fn what_a_mount_is_made_from_is_told_by_name() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let mut said = Transcript::new(&runtime);
    let mount = |kind: &str, source: &str, options: &[&str]| {
        let mount =
            json!({"destination": "/data", "type": kind, "source": source, "options": options});
        BundleDir::new().push("/mounts", mount)
    };
    said.section("a device is missing");
    said.refused(&mount("ext4", "/dev/nosuch:1", &[]), "/dev/nosuch:1");
    said.section("a device is none");
    said.refused(&mount("ext4", "/etc/passwd", &[]), "/etc/passwd");
    said.section("a layer of an overlay is missing");
    let layers = ["lowerdir=/etc:/no/such/layer:/usr", "ro"];
    said.refused(&mount("overlay", "overlay", &layers), "/no/such/layer");
    said.section("the upper directory of an overlay is missing");
    let layers = ["lowerdir=/etc", "upperdir=/no/such/upper", "workdir=/no/such/work"];
    said.refused(&mount("overlay", "overlay", &layers), "/no/such/upper");
    said.compare("mounts");
}

fn executable_file(bundle: &BundleDir, name: &str, text: &str, mode: u32) {
    let path = bundle.rootfs().join(name);
    fs::write(&path, text).expect("write a program");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// Names of programs that cannot be executed, and the words by which Docker and Podman tell exit status 127 and 126 apart.
const NO_PROGRAMS: [(&str, &str); 8] = [
    ("", "exec: \"\": executable file not found in $PATH"),
    ("none", "executable file not found in $PATH"),
    ("/none", "no such file or directory"),
    ("/etc/passwd", "permission denied"),
    ("/etc", "is a directory"),
    ("/etc/passwd/none", "not a directory"),
    ("/bin/loop", "symbolic link loop"),
    ("plain", "permission denied"),
];
/// Programs that are found, and fail when they are executed.
const NO_EXECS: [(&str, &str); 2] =
    [("/bin/orphan", "no such file or directory"), ("/bin/noise", "exec format error")];

fn with_bad_programs(bundle: BundleDir) -> BundleDir {
    executable_file(&bundle, "bin/plain", "x", 0o644);
    executable_file(&bundle, "bin/orphan", "#!/no/interpreter\n", 0o755);
    executable_file(&bundle, "bin/noise", "\u{1}\u{2}\u{3}", 0o755);
    symlink("loop", bundle.rootfs().join("bin/loop")).expect("link");
    bundle
}

#[test]
fn a_program_that_cannot_be_executed_is_told_in_the_engines_words() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let mut said = Transcript::new(&runtime);
    said.section("create and run");
    for (name, words) in NO_PROGRAMS {
        said.refused(&with_bad_programs(BundleDir::new().args([name])), words);
    }
    said.section("found by create, and not executed by start or run");
    for (name, words) in NO_EXECS {
        let bundle = with_bad_programs(BundleDir::new().args([name]));
        said.name(bundle.path().display(), "BUNDLE");
        for keyring in [&[][..], &["--no-new-keyring"]] {
            let container = runtime.create(&bundle, keyring);
            said.name(container.id().to_owned(), "ID");
            let before = said.text.len();
            assert!(said.fails(1, &["start", container.id()]).contains(words));
            if !keyring.is_empty() {
                // The same step is named, however long the plan is.
                let twice = said.text.split_off(before);
                assert!(said.text.ends_with(&twice), "{twice}");
            }
            container.wait();
            assert_eq!(container.status(), "stopped");
            let _ = container.delete().ok();
            said.assert_nothing_left(container.id());
        }
        let (id, path) = (runtime.new_id(), bundle.path().display().to_string());
        said.name(id.clone(), "ID");
        assert!(said.fails(1, &["run", "--bundle", &path, &id]).contains(words));
        said.assert_nothing_left(&id);
    }
    said.section("exec");
    let bundle = with_bad_programs(BundleDir::new().args(["sleep", "100"]));
    let container = runtime.start(&bundle);
    said.name(container.id().to_owned(), "ID");
    for (name, words) in NO_PROGRAMS.iter().chain(&NO_EXECS) {
        assert!(said.fails(255, &["exec", container.id(), name]).contains(words), "{name}");
    }
    assert!(
        said.fails(255, &["exec", "--cwd", "/none", container.id(), "true"])
            .contains("no such file or directory")
    );
    said.compare("programs");
}

#[test]
fn a_command_at_the_wrong_time_is_told_in_the_engines_words() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let mut said = Transcript::new(&runtime);
    said.section("no such container");
    for args in
        [&["state", "none"][..], &["start", "none"], &["kill", "none", "KILL"], &["delete", "none"]]
    {
        assert!(said.fails(1, args).contains("container does not exist"));
    }
    assert!(said.fails(255, &["exec", "none", "true"]).contains("container does not exist"));
    assert_eq!(runtime.call(["delete", "--force", "none"]).run().ok().stderr(), "");
    let bundle = BundleDir::new().args(["sleep", "100"]);
    let path = bundle.path().display().to_string();
    said.name(path.clone(), "BUNDLE");
    let container = runtime.create(&bundle, [""; 0]);
    let id = container.id().to_owned();
    said.name(id.clone(), "ID");
    said.section("a second create");
    assert!(
        said.fails(1, &["create", "--bundle", &path, &id])
            .contains("container with given ID already exists")
    );
    assert_eq!(container.status(), "created", "the first one is as it was");
    let _ = container.start().ok();
    said.section("a running container");
    assert!(said.fails(1, &["start", &id]).contains("cannot start an already running container"));
    assert!(said.fails(1, &["delete", &id]).contains("is not stopped: running"));
    said.fails(1, &["kill", &id, "NOSIGNAL"]);
    said.fails(1, &["kill", &id, "65"]);
    assert!(said.fails(1, &["kill", "KILL", &id]).contains("the id comes first"));
    assert!(said.fails(1, &["kill", &id, "-KILL"]).contains("a signal has no dash"));
    assert!(said.fails(1, &["update", "--resources", "/", &id]).contains("`/`: is a directory"));
    let _ = container.kill("KILL").ok();
    container.wait();
    said.section("a stopped container");
    assert!(said.fails(1, &["start", &id]).contains("cannot start a container that has stopped"));
    assert!(said.fails(1, &["kill", &id, "KILL"]).contains("container not running"));
    assert!(said.fails(255, &["exec", &id, "true"]).contains("cannot exec in a stopped container"));
    let _ = runtime.call(["kill", "--all", &id, "9"]).run().ok();
    let _ = container.delete().ok();
    said.assert_nothing_left(&id);
    said.compare("states");
}

#[test]
fn a_damaged_container_is_listed_with_how_it_is_removed() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let directory = runtime.root().join("broken");
    fs::create_dir(&directory).expect("a container's directory");
    fs::write(directory.join("state.json"), "{").expect("half a state");
    // Without an init it would be one that is being made.
    std::os::unix::fs::symlink("1:1", directory.join("init")).expect("an init that has ended");
    let listed = runtime.call(["list"]).run().ok();
    let removed = format!("`rm -r {}` removes it", directory.display());
    assert!(listed.stderr().starts_with("nrun: warning: cannot read"), "{listed}");
    assert!(listed.stderr().contains(&removed), "{listed}");
}

#[test]
fn an_id_that_is_none_is_told_with_what_is_wrong_with_it() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let mut said = Transcript::new(&runtime);
    said.section("ids");
    let long = "x".repeat(256);
    said.name(long.clone(), "X*256");
    for id in ["", ".", "..", "a/b", "../x", "a b", "é", "a\nb", "\u{1b}[31mred", &long] {
        let before = said.text.len();
        said.fails(1, &["create", id]);
        assert!(!said.text[before..].contains('\u{1b}'), "{id:?} reached the terminal");
        assert!(
            fs::read_dir(runtime.root()).expect("the root").next().is_none(),
            "something was made for {id:?}"
        );
    }
    said.compare("ids");
}

#[test]
fn a_command_line_that_is_wrong_is_told_with_what_would_be_right() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let mut said = Transcript::new(&runtime);
    said.section("flags and operands");
    assert!(said.fails(3, &["crate", "x"]).contains("No help topic for 'crate'"));
    assert!(said.fails(3, &["ls"]).contains("did you mean `nrun list`?"));
    assert!(said.fails(3, &["help", "xyzzy"]).contains("No help topic for 'xyzzy'"));
    let lines: [&[&str]; 12] = [
        &["create"],
        &["create", "a", "b"],
        &["create", "--bundel", "/b", "x"],
        &["create", "x", "--bundle"],
        &["create", "--preserve-fds", "two", "x"],
        &["create", "--preserve-fds", "-1", "x"],
        &["delete", "--force=maybe", "x"],
        &["state"],
        &["--log-format", "xml", "list"],
        &["--log", "/no/such/directory/log", "list"],
        &["list", "--format", "xml"],
        &["-x", "list"],
    ];
    for args in lines {
        said.fails(1, args);
    }
    said.section("exec");
    let bundle = BundleDir::new().args(["sleep", "100"]);
    let container = runtime.start(&bundle);
    said.name(container.id().to_owned(), "ID");
    let id = container.id();
    let lines: [&[&str]; 9] = [
        &["exec", id],
        &["exec", "--user", "root", id, "true"],
        &["exec", "--user", "-1", id, "true"],
        &["exec", "--additional-gids", "wheel", id, "true"],
        &["exec", "--process", "/no/such/process.json", id],
        &["exec", "--cwd", "relative", id, "true"],
        &["exec", "--env", "novalue", id, "true"],
        &["exec", "--env", "=noname", id, "true"],
        &["exec", "--tty", "--detach", id, "true"],
    ];
    for args in lines {
        said.fails(255, args);
    }
    said.compare("command_line");
}

#[test]
fn the_json_log_has_what_an_engine_takes_from_it() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().args(["none \"quoted\"\n"]);
    let log = bundle.path().join("log.json").display().to_string();
    let globals = ["--log", &log, "--log-format", "json"];
    let runtime = runtime.with_globals(globals);
    let (first, second) = (
        runtime.try_create(&bundle).exits(1),
        runtime.call(["exec", "none", "true"]).run().exits(255),
    );
    let text = fs::read_to_string(&log).expect("the log");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
        // The fixture's capabilities are worth a warning.
        .filter(|line: &Value| line["level"] != "warning")
        .collect();
    assert_eq!(lines.len(), 2, "{text}");
    for (line, output) in lines.iter().zip([first, second]) {
        assert_eq!(line["level"], "error");
        let (msg, time) =
            (line["msg"].as_str().expect("msg"), line["time"].as_str().expect("time"));
        // What the person at the terminal reads, without the program's name.
        let shown = output.stderr();
        let shown = shown
            .strip_prefix("nrun: ")
            .expect("the name")
            .split("\n\nhint: ")
            .next()
            .unwrap_or_default()
            .trim_end();
        assert!(msg.replace('\n', " ").starts_with(&shown.replace('\n', " ")), "{msg:?} {shown:?}");
        let date = Capture::of("date").args(["--date", time, "+%s"]).run().ok();
        assert!(date.text().parse::<u64>().is_ok(), "{time}");
    }
    assert!(
        lines[0]["msg"].as_str().expect("msg").contains("executable file not found in $PATH"),
        "{text}"
    );
}
