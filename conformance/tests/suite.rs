//! The suite itself: a runtime that is broken in one way fails the case about it, and one that crashes or hangs stops nothing.
//!
//! Each broken runtime is a script before the workspace's nrun that takes something out of config.json, or changes one command.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nconform::fixture::{Capture, Output, binary, completed_by_bash, tool};
use nconform::suite::WORKER;
use serde_json::Value;
use tempfile::TempDir;

/// What a broken runtime does to config.json, as a jq program, and the case that must fail by it.
const BROKEN_CONFIG: &[(&str, &str)] = &[
    (".root.readonly = false", "root: a read-only root cannot"),
    ("(.mounts[].options // empty) -= [\"ro\"]", "mounts: a bind that is read-only"),
    ("(.mounts[].options // empty) -= [\"size=1m\"]", "mounts: a tmpfs has its size"),
    ("(.mounts[].options // empty) -= [\"nodev\"]", "mounts: a bind has the options"),
    ("(.mounts[].options // empty) |= map(sub(\"rro\"; \"ro\"))", "mounts: rro makes"),
    (
        "(.mounts[].options // empty) |= map(sub(\"rbind\"; \"bind\"))",
        "mounts: a bind without recursion",
    ),
    ("(.mounts[].options // empty) -= [\"tmpcopyup\"]", "mounts: tmpcopyup"),
    (".process.args -= [\"\"]", "process: the arguments arrive"),
    (".process.env += [\"MORE=1\"]", "process: the environment holds"),
    (".process.cwd = \"/\"", "process: the process starts in"),
    (".process.noNewPrivileges = false", "process: no_new_privs is set"),
    (".process.noNewPrivileges = true", "process: no_new_privs is not set"),
    ("del(.process.oomScoreAdj)", "process: the out-of-memory score is adjusted upwards"),
    (".process.oomScoreAdj //= 0", "process: the out-of-memory score is the caller's"),
    (".process.user.gid = 0", "user: user and group id"),
    (".process.user.additionalGids += [4242]", "user: without additional groups"),
    ("del(.process.user.additionalGids)", "user: additional groups are"),
    ("del(.process.user.umask)", "user: the umask is the configured"),
    ("del(.process.capabilities.ambient)", "capabilities: the five sets"),
    (".process.capabilities.bounding = [\"CAP_KILL\"]", "capabilities: without capabilities"),
    ("del(.process.rlimits)", "rlimits: soft and hard"),
    (".process.rlimits |= unique_by(.type)", "rlimits: a limit that is set twice"),
    ("del(.hostname)", "hostname: the host name is"),
    ("del(.domainname)", "hostname: the domain name"),
    ("del(.hooks.createContainer)", "hooks: hooks run in the order"),
    (".hooks.createRuntime |= reverse", "hooks: several hooks"),
    ("del(.hooks.createRuntime)", "hooks: hooks get the container's state"),
    ("del(.hooks.startContainer)", "hooks: startContainer runs in"),
    ("del(.hooks.poststop)", "hooks: poststop hooks run after"),
    (".mounts |= map(select(.destination != \"/dev/shm\"))", "default-filesystems: /dev/shm"),
    (".linux.namespaces -= [{\"type\": \"ipc\"}]", "namespaces: each namespace"),
    ("del(.linux.namespaces[].path)", "namespaces: a network namespace is joined"),
    (".linux.namespaces |= unique_by(.type)", "namespaces: a type that is there twice"),
    ("del(.linux.timeOffsets)", "time-namespace: clocks"),
    (".linux.uidMappings |= .[:1]", "user-namespace: several ranges"),
    ("del(.mounts[].uidMappings, .mounts[].gidMappings)", "idmapped-mounts: files of"),
    ("del(.linux.devices[].uid)", "devices: a device has its type"),
    ("del(.linux.devices)", "devices: a fifo"),
    ("del(.linux.netDevices)", "net-devices: a device is moved"),
    ("del(.linux.cgroupsPath)", "cgroups-path: an absolute path"),
    (
        "(.linux.cgroupsPath // empty) |= . + \"-\" + (now | tostring)",
        "cgroups-path: the same path leads to the same place",
    ),
    (
        ".linux.resources.devices = [{\"allow\": true, \"access\": \"rwm\"}]",
        "device-rules: a device that no rule",
    ),
    (".linux.resources.devices |= .[:1]", "device-rules: a device that a rule allows"),
    (".linux.resources.devices |= .[:2]", "device-rules: the last rule"),
    ("del(.linux.resources.memory)", "memory: the limit is"),
    ("del(.linux.resources.memory.swappiness)", "memory: the swappiness"),
    ("del(.linux.resources.memory.disableOOMKiller)", "memory: the killer of processes"),
    ("del(.linux.resources.cpu.burst)", "cpu: a burst"),
    (".linux.resources.cpu.realtimePeriod = 400000", "cpu: runtime and period of realtime"),
    ("del(.linux.resources.blockIO.throttleReadIOPSDevice)", "block-io: reads and writes"),
    ("del(.linux.resources.cpu)", "cpu: quota and period"),
    ("del(.linux.resources.pids)", "pids: processes beyond"),
    ("del(.linux.resources.unified)", "controllers: a file of `unified`"),
    ("del(.linux.rootfsPropagation)", "rootfs-propagation: a shared root"),
    ("del(.linux.maskedPaths)", "masked-paths: a masked file"),
    ("del(.linux.readonlyPaths)", "readonly-paths: everything below"),
    ("del(.annotations)", "state: annotations"),
    (".ociVersion = \"1.0.2\"", "configuration: a version of the specification that is not"),
    ("del(.process.scheduler)", "scheduling: the policy is"),
    (
        ".process.scheduler //= {\"policy\": \"SCHED_OTHER\", \"nice\": 0}",
        "scheduling: without a scheduler",
    ),
    ("del(.process.scheduler.flags)", "scheduling: flags of the scheduler"),
    (".process.scheduler.priority |= (. / 10 | floor)", "scheduling: a realtime policy"),
    (".process.scheduler.period = 60000000", "scheduling: a deadline"),
    ("del(.process.apparmorProfile)", "labels: a profile is refused"),
    ("del(.process.selinuxLabel)", "labels: a label of SELinux"),
    ("del(.process.ioPriority)", "scheduling: the priority of I/O"),
    ("del(.linux.intelRdt)", "intel-rdt: a class of service is refused"),
    ("del(.linux.memoryPolicy.flags)", "memory-policy: flags"),
    ("del(.linux.memoryPolicy)", "memory-policy: the policy is"),
    ("del(.linux.sysctl)", "sysctl: a parameter of the IPC namespace"),
    ("del(.linux.sysctl)", "sysctl: a parameter of the network"),
    ("del(.linux.personality)", "personality: the domain LINUX32"),
    ("del(.linux.seccomp)", "seccomp: a call with the action ERRNO"),
    ("del(.linux.seccomp.syscalls[].errnoRet)", "seccomp: errnoRet"),
    ("del(.linux.seccomp.defaultErrnoRet)", "seccomp: defaultErrnoRet"),
    (
        ".linux.seccomp.syscalls[].action |= sub(\"TRACE\"; \"ERRNO\")",
        "seccomp: a call with the action TRACE",
    ),
    (
        "del(.linux.seccomp.syscalls[] | select(.errnoRet))",
        "seccomp: an errno of an action that returns none",
    ),
    ("del(.linux.seccomp.syscalls[].args)", "seccomp: a rule counts only where"),
    (
        ".linux.seccomp.syscalls[]?.action = \"SCMP_ACT_NOTIFY\"",
        "seccomp: the path of an agent is ignored",
    ),
    ("del(.process.consoleSize)", "terminal: the terminal has the size"),
    (".process.terminal = (.process.consoleSize != null)", "terminal: consoleSize is ignored"),
    (".mounts |= map(select(.destination | startswith(\"/\")))", "mounts: a relative destination"),
    (
        "(.mounts[].options // empty) |= map(sub(\"^lazytime$\"; \"lazy\"))",
        "mounts: every option is taken",
    ),
    ("del(.hooks.createRuntime[]?.timeout)", "hooks: a timeout that is not greater"),
    (".ociVersion = \"1.0.2\"", "configuration: a version that is not of the form"),
    (
        ".process //= {\"cwd\": \"/\", \"args\": [\"true\"], \"user\": {\"uid\": 0, \"gid\": 0}}",
        "operations: a container without a process",
    ),
    (
        "if .linux.resources.memory.swap then .process.args = [\"true\"] else . end",
        "memory: a process that needs more",
    ),
    (
        "del(.linux.seccomp.syscalls[]? | select((.args | length) > 1))",
        "seccomp: all conditions of a rule",
    ),
    (
        "if .hooks.createContainer then .hooks.createRuntime = .hooks.createContainer | del(.hooks.createContainer) else . end",
        "hooks: createContainer runs in",
    ),
    ("del(.hooks.prestart)", "hooks: hooks of the runtime"),
    ("(.hooks.createRuntime[]?.env) += [\"NCONFORM_CALLER=yes\"]", "hooks: a hook has its own"),
    (
        "(.process.rlimits // empty) |= map(select(.type != \"RLIMIT_SIGPENDING\"))",
        "rlimits: every limit",
    ),
    (
        "if .linux.rootfsPropagation == \"slave\" then .linux.rootfsPropagation = \"private\" else . end",
        "rootfs-propagation: a slave root",
    ),
    (
        "if .linux.rootfsPropagation == \"private\" then .linux.rootfsPropagation = \"slave\" else . end",
        "rootfs-propagation: a private root",
    ),
    ("(.mounts[].options // empty) -= [\"private\"]", "mounts: a mount has the propagation"),
    ("(.mounts[].options // empty) -= [\"remount\"]", "mounts: a mount with the option remount"),
];

/// What a broken runtime does with its command line, as shell, and the case that must fail by it.
const BROKEN_COMMANDS: &[(&str, &str)] = &[
    ("start) \"$real\" \"$@\"; exit 0", "operations: starting a container that is not there"),
    ("kill) \"$real\" \"$@\"; exit 0", "operations: killing a container that has stopped"),
    ("delete) exit 0", "operations: nothing that create"),
    ("state) echo '{}'; exit 0", "state: asking for the state"),
    ("exec) \"$real\" \"$@\"; exit 0", "exec: its exit status"),
    (
        "create) set -- \"$@\"; \"$real\" \"$@\" && \"$real\" \"$1\" \"$2\" start \"$last\"",
        "operations: the process does not run",
    ),
    ("features) echo '{}'; exit 0", "features: all hooks"),
    ("kill) \"$real\" \"$1\" \"$2\" kill \"$4\" KILL; exit", "command-line: kill takes names"),
    (
        "run) exec \"$real\" \"$1\" \"$2\" run --bundle \"$bundle\" \"$last\"",
        "descriptors: run --preserve-fds",
    ),
    (
        "create) exec \"$real\" \"$1\" \"$2\" create --bundle \"$bundle\" \"$last\"",
        "descriptors: create --preserve-fds",
    ),
    (
        "run) exec \"$real\" \"$1\" \"$2\" run --bundle \"$bundle\" \"$last\"",
        "command-line: run --keep",
    ),
    ("kill) exec \"$real\" \"$1\" \"$2\" kill \"$5\" \"$6\"", "command-line: kill --all"),
    ("run) unset LISTEN_FDS", "descriptors: sockets that systemd"),
    ("pause) exit 0", "command-line: pause stops"),
    ("pause) exit 0", "cgroup-view: the cgroup of a paused"),
    ("update) exit 0", "command-line: update changes"),
    ("list) echo null; exit 0", "command-line: list -q"),
    ("ps) echo '[1]'; exit 0", "command-line: ps --format json"),
    ("run) kill -SEGV $$", "operations: a deleted container's id"),
    ("state) [ $# -gt 3 ] || exit 0", "operations: an operation without the id"),
    (
        "start) \"$real\" \"$@\" || kill -SEGV $$; exit 0",
        "operations: starting a container that runs",
    ),
    (
        "run) \"$real\" \"$@\" || kill -SEGV $$; exit 0",
        "personality: a domain that there is none of",
    ),
    ("start) \"$real\" \"$@\" 2>&-; exit 0", "hooks: a poststart hook that fails"),
    (
        "create) [ ! -e \"$0.once\" ] || kill -SEGV $$; : >\"$0.once\"",
        "cgroups-path: two containers with the same path",
    ),
];

/// A script that stands in for a runtime.
struct Stand {
    directory: TempDir,
}

impl Stand {
    /// For each command that has a clause in `commands`, that is done first; `config` is a jq program.
    fn new(config: &str, commands: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let script = format!(
            "#!/bin/sh\nreal={real}\ncommand= bundle= previous= last=\n\
             for word; do\n  [ \"$previous\" = --bundle ] && bundle=$word\n\
             case $word in create|run|start|state|kill|delete|exec|features|pause|update|list|ps) [ -n \"$command\" ] || command=$word;; esac\n\
             previous=$word last=$word\ndone\n\
             if [ -n \"$bundle\" ]; then\n  {jq} '{config}' \"$bundle/config.json\" >\"$bundle/.changed\" &&\n\
             cat \"$bundle/.changed\" >\"$bundle/config.json\"\nfi\n\
             case $command in\n{commands};;\nnone) ;;\nesac\n\
             exec \"$real\" \"$@\"\n",
            real = binary("nrun").display(),
            jq = tool("jq").display(),
        );
        let path = directory.path().join("broken");
        fs::write(&path, script).expect("write a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("broken")
    }
}

fn nconform(args: &[&str]) -> Output {
    Capture::of(Path::new(env!("CARGO_BIN_EXE_nconform"))).args(args).run()
}

/// The outcome of each case, by its topic and name.
fn outcomes(report: &Value) -> BTreeMap<String, String> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let cases = report["cases"].as_array().expect("cases");
    cases
        .iter()
        .map(|case| {
            let name = format!("{}: {}", word(&case["topic"]), word(&case["name"]));
            (name, word(&case["results"][0]["outcome"]))
        })
        .collect()
}

/// Runs the cases that a filter selects with a stand-in.
fn conform(stand: &Stand, filters: &[&str], more: &[&str]) -> (Output, Value) {
    let path = stand.path().display().to_string();
    let mut args = vec!["run", "--runtime", &path, "--report", "json"];
    args.extend(filters.iter().flat_map(|filter| ["--filter", filter]));
    args.extend(more);
    let output = nconform(&args);
    let report = serde_json::from_str(&output.stdout()).unwrap_or_else(|_| panic!("{output}"));
    (output, report)
}

/// What all these runtimes, two at a time, let pass.
fn undetected(broken: &[(&str, &str)], stand: fn(&str) -> Stand) -> Vec<String> {
    let (next, missed) = (Mutex::new(broken.iter()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let Some((change, case)) = next.lock().expect("the list").next() else { return };
            let (output, report) = conform(&stand(change), &[case], &[]);
            // A machine that cannot do it says nothing; the test without a fault sees to it that this is rare.
            let is_right = outcomes(&report).values().all(|word| word == "fail" || word == "skip");
            // Where nothing could be tried, nothing was shown: that is no success either.
            let is_told = output.code() == 1;
            if !is_right || !is_told {
                missed
                    .lock()
                    .expect("the list")
                    .push(format!("`{change}`: {:?}", outcomes(&report)));
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    missed.into_inner().expect("the list")
}

#[test]
fn a_runtime_that_takes_no_notice_of_a_field_fails_the_case_about_it() {
    let missed = undetected(BROKEN_CONFIG, |change| Stand::new(change, "no)"));
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn a_runtime_whose_command_does_something_else_fails_the_case_about_it() {
    let missed = undetected(BROKEN_COMMANDS, |change| Stand::new(".", change));
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn the_same_script_without_a_fault_passes_all_these_cases() {
    let cases: Vec<&str> =
        BROKEN_CONFIG.iter().chain(BROKEN_COMMANDS).map(|(_, case)| *case).collect();
    let (output, report) = conform(&Stand::new(".", "no)"), &cases, &[]);
    let _ = output.ok();
    let outcomes = outcomes(&report);
    assert_eq!(outcomes.len(), cases.len(), "each filter selects one case: {outcomes:?}");
    assert!(outcomes.values().all(|word| word == "pass" || word == "skip"), "{outcomes:?}");
    let passed = outcomes.values().filter(|word| *word == "pass").count();
    assert!(passed * 10 >= cases.len() * 9, "this machine says too little: {outcomes:?}");
}

#[test]
fn a_runtime_that_prints_without_an_end_is_ended_and_told_of_in_few_words() {
    let stand = Stand::new(".", "create|delete) exec yes");
    let (output, report) = conform(&stand, &["hostname: a host name without"], &[]);
    let _ = output.exits(1);
    let seen = report["cases"][0]["results"][0]["seen"].as_str().expect("what was seen");
    assert!(seen.contains("has printed more than"), "{}", &seen[..seen.len().min(1000)]);
    assert!(seen.len() < 40_000, "{}", seen.len());
}

#[test]
fn a_runtime_that_hangs_costs_its_time_and_leaves_nothing() {
    let stand = Stand::new(".", "start) sleep 9753");
    let start = Instant::now();
    let (output, report) = conform(
        &stand,
        &[
            "hostname: the host name is",
            "hostname: the domain",
            "operations: a container that is only",
        ],
        &["--timeout", "4"],
    );
    let outcomes = outcomes(&report);
    // These do not call `start`, which alone hangs.
    assert!(outcomes.values().all(|word| word == "pass"), "{outcomes:?}");
    let _ = output.ok();
    let (output, report) = conform(
        &stand,
        &["operations: deleting a container that runs", "operations: a container that is only"],
        &["--timeout", "4"],
    );
    assert_eq!(output.code(), 1, "{output}");
    let text = report.to_string();
    assert!(text.contains("still runs after"), "{text}");
    assert!(text.contains("\"pass\""), "the case after it runs: {text}");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    let left = Capture::of("ps").args(["-eo", "args"]).run().stdout();
    assert!(!left.contains("sleep 9753"), "{left}");
}

#[test]
fn a_runtime_that_runs_no_container_passes_nothing_although_it_refuses_everything() {
    for commands in ["*) echo no >&2; exit 1", "*) exit 0", "create) kill -SEGV $$"] {
        let stand = Stand::new(".", &format!("\"\") ;;\n{commands}"));
        let (output, report) = conform(
            &stand,
            &[
                "process: an empty list of arguments is refused",
                "operations: starting a container that is not there",
                "masked-paths: a masked path that is not there",
            ],
            &["--timeout", "4"],
        );
        assert_eq!(output.code(), 1, "{commands}: {output}");
        let refused = "process: an empty list of arguments is refused";
        let outcomes = outcomes(&report);
        assert_eq!(outcomes[refused], "fail", "{commands}: {outcomes:?}");
        // The last of them can run one, and crashes only where it should refuse.
        let idle = !commands.starts_with("create");
        assert_eq!(outcomes.values().all(|word| word == "fail"), idle, "{commands}: {outcomes:?}");
    }
}

#[test]
fn results_replace_those_of_an_earlier_run_when_they_are_there_and_no_sooner() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("report");
    let path = file.to_str().expect("a name");
    fs::write(&file, "earlier ".repeat(10_000)).expect("a file");
    let run =
        |filter: &str| nconform(&["run", "--filter", filter, "--report", "json", "--output", path]);
    assert_eq!(run("no such topic").code(), 2);
    assert!(fs::read_to_string(&file).expect("the file").starts_with("earlier"));
    let _ = run("pids").ok();
    let report: Value = serde_json::from_slice(&fs::read(&file).expect("it")).expect("JSON alone");
    assert!(report["cases"].is_array(), "{report}");
}

#[test]
fn usage_and_host_errors_exit_2_and_the_list_runs_nothing() {
    for args in [
        &["run", "--filter", "no such topic"][..],
        &["run", "--runtime", "/no/such/runtime"],
        &["run", "--report", "parchment"],
    ] {
        assert_eq!(nconform(args).code(), 2, "{args:?}");
    }
    if !Path::new("/run/systemd/system").is_dir() {
        let output = nconform(&["run", "--systemd", "--filter", "pids"]).exits(2);
        output.says("systemd does not manage this host");
    }
    for (args, words) in [
        (&["--runtime", "no-such-runtime"][..], "`no-such-runtime`: it is not in PATH\n"),
        (&["--runtime", "/etc/passwd"], "--version`: permission denied\n"),
        (
            &["--output", "/no/such/file"],
            "cannot write `/no/such/file`: no such file or directory\n",
        ),
    ] {
        let output = nconform(&[&["run", "--filter", "pids"], args].concat()).exits(2);
        assert!(output.stderr().ends_with(words) && output.stdout().is_empty(), "{output}");
    }
    let named = nconform(&["run", "--runtime", "nrun", "--filter", "hostname: the host"]).ok();
    assert!(named.stdout().contains(&binary("nrun").display().to_string()), "{named}");
    let program = env!("CARGO_BIN_EXE_nconform");
    let full = format!("{program} run --list >/dev/full");
    let output = Capture::of("sh").args(["-c", &full]).run().exits(2);
    assert_eq!(output.stderr(), "nconform: cannot write to stdout: no space left on device\n");
    let closed = format!("{{ {program} run --list; echo $? >&2; }} | true");
    assert_eq!(Capture::of("sh").args(["-c", &closed]).run().stderr(), "0\n");
    let list = nconform(&["run", "--list", "--filter", "pids"]).ok().stdout();
    assert!(list.contains("pids: ") && list.contains("  processes beyond the limit"), "{list}");
    assert!(!list.contains("memory"), "{list}");
}

#[test]
fn what_the_host_lacks_is_told_once_and_is_nobodys_failure() {
    let hidden = "for name in /sbin/ip /usr/sbin/ip /bin/ip /usr/bin/ip; do
                  [ ! -e $name ] || mount --bind /dev/null $name || exit; done; exec \"$@\"";
    let output = Capture::of("unshare")
        .args(["--mount", "sh", "-c", hidden, "sh", env!("CARGO_BIN_EXE_nconform")])
        .args(["run", "--filter", "hostname"])
        .run()
        .exits(2);
    output.says("`ip` is not installed");
    assert!(output.stdout().is_empty(), "{output}");
}

#[test]
fn where_nothing_could_be_tried_nothing_was_shown() {
    let stand = Stand::new(".", "no)");
    // Systemd's driver is asked for by an option.
    let (output, report) = conform(&stand, &["systemd"], &[]);
    assert!(outcomes(&report).values().all(|word| word == "skip"), "{report}");
    assert_eq!(output.code(), 1, "{output}");
}

#[test]
fn the_list_has_what_the_way_to_run_a_runtime_leaves() {
    let list = |options: &[&str]| nconform(&[&["run", "--list"], options].concat()).ok().stdout();
    let (all, rootless, systemd) = (list(&[]), list(&["--rootless"]), list(&["--systemd"]));
    let needs_root = "  a device has its type";
    assert!(all.contains(needs_root) && systemd.contains(needs_root), "{all}{systemd}");
    assert!(!rootless.contains(needs_root) && rootless.contains("exec: "), "{rootless}");
    assert!(rootless.lines().count() < all.lines().count(), "{rootless}");
    assert!(systemd.contains("\nsystemd: ") && !all.contains("\nsystemd: "), "{systemd}");
    let none = nconform(&["run", "--list", "--filter", "systemd"]).exits(2);
    assert!(none.stderr().contains("(`--systemd`)"), "{none}");
}

#[test]
fn bash_completes_commands_and_options() {
    let program = Path::new(env!("CARGO_BIN_EXE_nconform"));
    assert_eq!(
        completed_by_bash(program, &["bench", "--case", "rested-"]),
        ["rested-run", "rested-exec"]
    );
    // What the suite starts itself with is nobody's command.
    assert!(!completed_by_bash(program, &[""]).contains(&WORKER.to_owned()));
}
