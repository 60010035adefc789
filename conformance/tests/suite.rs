//! The suite itself: a runtime that is broken in one way fails the case about it, and one that crashes or hangs stops nothing.
//!
//! Each broken runtime is a script before the workspace's nrun that takes something out of config.json, or changes one command.

#[path = "suite/broken.rs"]
mod broken;
#[path = "suite/broken_widely.rs"]
mod broken_widely;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nconform::fixture::{Capture, Output, binary, completed_by_bash, tool};
use nconform::suite::WORKER;
use serde_json::Value;
use tempfile::TempDir;

use broken::{BROKEN_COMMANDS, BROKEN_CONFIG, UNBROKEN};
use broken_widely::{BROKEN_WIDELY, Wide};

/// What is expected of each runtime, whatever a case is about.
const A_PLAIN_CONTAINER: &str = "a plain container runs";

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
             case $word in create|run|start|state|kill|delete|exec|features|pause|update|list|ps|events|spec) [ -n \"$command\" ] || command=$word;; esac\n\
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
fn undetected(broken: &[Wide]) -> Vec<String> {
    let (next, missed) = (Mutex::new(broken.iter()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let Some(Wide { config, commands, cases }) = next.lock().expect("the list").next()
            else {
                return;
            };
            // A runtime that does not come to an end is no better after a minute.
            let (output, report) =
                conform(&Stand::new(config, commands), cases, &["--timeout", "20"]);
            // A machine that cannot do it says nothing; the test without a fault sees to it that this is rare.
            let is_right = outcomes(&report).values().all(|word| word == "fail" || word == "skip");
            // Where nothing could be tried, nothing was shown: that is no success either.
            let is_told = output.code() == 1;
            // Of a runtime that runs no container at all, no case says anything about what it is about.
            let runs = !report.to_string().contains(A_PLAIN_CONTAINER);
            if !(is_right && is_told && runs) {
                missed
                    .lock()
                    .expect("the list")
                    .push(format!("`{config}` `{commands}`: {:?}", outcomes(&report)));
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
    let broken = |(config, case): &(&'static str, &'static str)| Wide {
        config,
        commands: "no)",
        cases: Vec::leak(vec![*case]),
    };
    let missed = undetected(&BROKEN_CONFIG.iter().map(broken).collect::<Vec<_>>());
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn a_runtime_whose_command_does_something_else_fails_the_case_about_it() {
    let broken = |(commands, case): &(&'static str, &'static str)| Wide {
        config: ".",
        commands,
        cases: Vec::leak(vec![*case]),
    };
    let missed = undetected(&BROKEN_COMMANDS.iter().map(broken).collect::<Vec<_>>());
    assert!(missed.is_empty(), "{missed:#?}");
}

/// In two parts, which a slow machine takes minutes for.
fn assert_widely(part: usize) {
    let broken: Vec<_> = BROKEN_WIDELY.iter().skip(part).step_by(2).copied().collect();
    let missed = undetected(&broken);
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn a_runtime_that_is_broken_widely_fails_all_cases_about_it() {
    assert_widely(0);
}

#[test]
fn another_runtime_that_is_broken_widely_fails_all_cases_about_it() {
    assert_widely(1);
}

/// What the broken runtimes are held against, each in `TOPIC: NAME` of one case.
fn broken_cases() -> Vec<&'static str> {
    let widely = BROKEN_WIDELY.iter().flat_map(|wide| wide.cases);
    let all = BROKEN_CONFIG.iter().chain(BROKEN_COMMANDS).map(|(_, case)| case).chain(widely);
    all.copied().collect()
}

/// A case that no broken runtime fails may be one that nothing fails.
#[test]
fn each_case_is_failed_by_a_broken_runtime() {
    let mut cases = BTreeSet::new();
    for options in [&[][..], &["--systemd"]] {
        let list = nconform(&[&["run", "--list"], options].concat()).ok().stdout();
        let mut topic = "";
        for line in list.lines() {
            match line.strip_prefix("  ") {
                Some(name) => drop(cases.insert(format!("{topic}: {name}"))),
                None => topic = line.split(':').next().expect("a topic"),
            }
        }
    }
    let of = |words: &str| cases.iter().filter(|case| case.contains(words)).count();
    let broken = broken_cases();
    for words in &broken {
        assert_eq!(of(words), 1, "`{words}` is of one case");
    }
    let is_broken = |case: &&String| broken.iter().any(|words| case.contains(words));
    let excused = |case: &&String| UNBROKEN.iter().any(|(words, _)| case.contains(words));
    let unproven: Vec<_> = cases.iter().filter(|case| !is_broken(case) && !excused(case)).collect();
    assert!(unproven.is_empty(), "no broken runtime fails these: {unproven:#?}");
    for (words, why) in UNBROKEN {
        assert!(of(words) > 0, "`{words}`, which {why}, is of no case");
        let both = cases.iter().find(|case| case.contains(words) && is_broken(case));
        assert_eq!(both, None, "`{words}`, which {why}, and a broken runtime");
    }
}

#[test]
fn the_same_script_without_a_fault_passes_all_these_cases() {
    let cases = broken_cases();
    let mut outcomes = BTreeMap::new();
    // As many at a time as one call has the time for on a slow machine.
    for cases in cases.chunks(60) {
        let (output, report) = conform(&Stand::new(".", "no)"), cases, &[]);
        let _ = output.ok();
        outcomes.extend(self::outcomes(&report));
    }
    assert!(outcomes.values().all(|word| word == "pass" || word == "skip"), "{outcomes:?}");
    let passed = outcomes.values().filter(|word| *word == "pass").count();
    assert!(passed * 10 >= outcomes.len() * 9, "this machine says too little: {outcomes:?}");
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
