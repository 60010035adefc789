//! nrun beside Debian's runc: the same call on the same kind of bundle, in the same state.
//!
//! The exit status must be equal, and runc's words must be among ours: engines look for them. Where it is otherwise there is a row
//! in [`DIFFERENCES`] with the reason; a difference without a row fails the test, and so does a row without a difference.
//! docs/compatibility.md shows the rows: `UPDATE_COMPATIBILITY=1` writes them anew.

#[path = "compare/cases.rs"]
mod cases;
#[path = "compare/differences.rs"]
mod differences;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cases::{CASES, Case, Given};
use differences::DIFFERENCES;
use nconform::fixture::{BundleDir, Capture, Output, Runtime, Sandbox, tool};
use serde_json::Value;

/// What one of the two runtimes did.
#[derive(Debug)]
struct Did {
    code: i32,
    words: String,
}

/// Brings a container into a state, and calls.
fn perform(runtime: &Runtime, case: &Case) -> Did {
    let bundle = (case.bundle)(BundleDir::new().args(["sleep", "600"]));
    let id = if case.given == Given::Nothing { "nobody".to_owned() } else { runtime.new_id() };
    let made = |command: &[&str]| {
        let _ = runtime.bundle_call(command[0], &bundle, &command[1..], &id).run().ok();
    };
    let call = |args: &[&str]| runtime.call(args).run();
    match case.given {
        Given::Nothing | Given::Bundle => {}
        Given::Created => made(&["create"]),
        Given::Running => made(&["run", "--detach"]),
        Given::Paused => {
            made(&["run", "--detach"]);
            let _ = call(&["pause", &id]).ok();
        }
        Given::Stopped => {
            made(&["run", "--detach"]);
            let _ = call(&["kill", &id, "KILL"]).ok();
            wait_until_stopped(runtime, &id);
        }
    }
    let args: Vec<&str> =
        case.args.iter().map(|arg| if *arg == "ID" { &*id } else { arg }).collect();
    let output = runtime.call(args).directory(bundle.path()).run();
    if case.given == Given::Paused {
        let _ = call(&["resume", &id]);
    }
    Did { code: output.code(), words: words(&output, &bundle, &id) }
}

fn wait_until_stopped(runtime: &Runtime, id: &str) {
    for _ in 0..500 {
        if runtime.call(["state", id]).run().ok().json()["status"] == "stopped" {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("`{id}` still runs");
}

/// The last error, without who says it, quotes, and what is different by chance.
fn words(output: &Output, bundle: &BundleDir, id: &str) -> String {
    let stderr = output.stderr();
    let line = |line: &str| {
        let text = line.split_once("level=error msg=").map_or(line, |(_, text)| text);
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        text.replace("\\\"", "\"").replace("\\n", "")
    };
    let mut errors =
        stderr.lines().filter(|line| line.contains("level=error") || line.starts_with("nrun: "));
    let mut text = errors.next_back().map(line).unwrap_or_default();
    for prefix in [
        "runc create failed: ",
        "runc run failed: ",
        "exec failed: ",
        "unable to start container process: ",
        "nrun: ",
    ] {
        text = text.strip_prefix(prefix).unwrap_or(&text).to_owned();
    }
    text = text.replace(&bundle.path().display().to_string(), "BUNDLE").replace(id, "ID");
    text.replace("runc", "nrun").replace(['`', '"', '\''], "")
}

/// Compares the cases of some states; each test is a process of its own, so that they run side by side.
#[track_caller]
fn compare(given: &[Given]) {
    let _sandbox = Sandbox::enter();
    let (ours, theirs) = (Runtime::under_test(), Runtime::at(tool("runc")));
    let mut wrong = Vec::new();
    for case in CASES.iter().filter(|case| given.contains(&case.given)) {
        let (own, runc) = (perform(&ours, case), perform(&theirs, case));
        let same = own.code == runc.code && own.words.contains(&runc.words);
        let listed = DIFFERENCES.iter().any(|difference| difference.case == case.name);
        match (same, listed) {
            (true, true) => {
                wrong.push(format!("{}: no difference any more: take out its row", case.name));
            }
            (false, false) => {
                wrong.push(format!("{}:\n    runc: {runc:?}\n    nrun: {own:?}", case.name));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "differences from runc:\n  {}", wrong.join("\n  "));
}

#[test]
fn calls_about_nobody_are_answered_as_runc_answers_them() {
    compare(&[Given::Nothing]);
}

#[test]
fn calls_about_a_container_that_runs_are_answered_as_runc_answers_them() {
    compare(&[Given::Created, Given::Running]);
}

#[test]
fn calls_about_a_container_that_stands_are_answered_as_runc_answers_them() {
    compare(&[Given::Paused, Given::Stopped]);
}

#[test]
fn faults_of_a_bundle_are_answered_as_runc_answers_them() {
    compare(&[Given::Bundle]);
}

#[test]
fn cases_have_names_of_their_own_and_rows_have_cases() {
    let mut names = BTreeSet::new();
    for case in CASES {
        assert!(names.insert(case.name), "two cases are called `{}`", case.name);
    }
    names.extend(["state", "list", "ps", "events", "features", "version"]);
    for difference in DIFFERENCES {
        let case = difference.case.split(": ").next().unwrap_or_default();
        assert!(names.contains(difference.case) || names.contains(case), "{}", difference.case);
        assert!(difference.reason.len() > 20, "{}: a reason is a sentence", difference.case);
    }
}

/// Where two JSON values differ: `name/a/b`.
fn differing(path: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let of = |object: &serde_json::Map<String, Value>| {
                    object.get(key).cloned().unwrap_or(Value::Null)
                };
                differing(&format!("{path}/{key}"), &of(a), &of(b), found);
            }
        }
        // More than runc has is no difference: what runc has must be there.
        (Value::Array(a), Value::Array(b)) if b.iter().all(|one| a.contains(one)) => {}
        (a, b) if a == b => {}
        _ => found.push(path.to_owned()),
    }
}

/// Holds differences against the rows that begin with `command: `.
#[track_caller]
fn assert_listed(command: &str, found: Vec<String>) {
    let found: BTreeSet<String> =
        found.into_iter().map(|path| format!("{command}: {path}")).collect();
    let listed = DIFFERENCES.iter().map(|difference| difference.case.to_owned());
    let listed: BTreeSet<String> =
        listed.filter(|case| case.starts_with(&format!("{command}: "))).collect();
    assert_eq!(found, listed, "left: what differs from runc; right: what is listed");
}

/// A state without what is different by chance.
fn without_chance(mut state: Value) -> Value {
    for key in ["id", "created", "pid", "bundle", "rootfs"] {
        if let Some(value) = state.get_mut(key) {
            let text = value.as_str().map(str::to_owned);
            *value = match (key, text) {
                ("pid", _) => Value::from(value.as_i64().is_some_and(|pid| pid > 0)),
                ("created", Some(text)) => Value::from(text.len() > 20 && text.ends_with('Z')),
                ("rootfs", Some(text)) => Value::from(text.ends_with("/rootfs")),
                (_, Some(text)) => Value::from(text.starts_with('/')),
                _ => Value::Null,
            };
        }
    }
    state
}

#[test]
fn the_state_is_runcs_field_by_field_in_every_status() {
    let _sandbox = Sandbox::enter();
    let of = |runtime: &Runtime| {
        let bundle = BundleDir::new()
            .args(["sleep", "600"])
            .set("/annotations", serde_json::json!({"a": "b"}));
        let container = runtime.create(&bundle, [""; 0]);
        let mut states = vec![container.state()];
        let _ = container.start().ok();
        states.push(container.state());
        let _ = runtime.call(["pause", container.id()]).run().ok();
        states.push(container.state());
        let _ = runtime.call(["resume", container.id()]).run().ok();
        let _ = container.kill("KILL").ok();
        container.wait();
        wait_until_stopped(runtime, container.id());
        states.push(container.state());
        states
    };
    let (ours, theirs) = (of(&Runtime::under_test()), of(&Runtime::at(tool("runc"))));
    let mut found = BTreeSet::new();
    for (own, runc) in ours.into_iter().zip(theirs) {
        let keys = |state: &Value| {
            state.as_object().map(|object| object.keys().cloned().collect::<Vec<_>>())
        };
        assert_eq!(keys(&own), keys(&runc), "the same fields in the same order");
        let mut differ = Vec::new();
        differing("", &without_chance(own), &without_chance(runc), &mut differ);
        found.extend(differ);
    }
    assert_listed("state", found.into_iter().collect());
}

#[test]
fn lists_are_runcs() {
    let _sandbox = Sandbox::enter();
    let bundle = BundleDir::new().args(["sleep", "600"]);
    let of = |runtime: &Runtime| {
        let empty =
            ["table", "json"].map(|format| runtime.call(["list", "-f", format]).run().ok().text());
        let container = runtime.start(&bundle);
        let pid = container.pid().as_raw_nonzero().to_string();
        let list = |args: &[&str]| runtime.call(["list"]).args(args).run().ok().stdout();
        let json: Value = serde_json::from_str(&list(&["--format", "json"])).expect("JSON");
        let table = list(&[]);
        let created = json[0]["created"].as_str().expect("a time").to_owned();
        // Columns stand where they stand whatever is in them, if it is as long.
        let same = |text: String| {
            let text = text.replace(container.id(), "ID").replace(&created, "CREATED");
            text.replace(&format!("{pid:<12}"), "PID         ").trim_end().to_owned()
        };
        let rows: Vec<Vec<String>> = same(table)
            .lines()
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .collect();
        (empty, rows, same(list(&["-q"])), without_chance(json[0].clone()))
    };
    let (ours, theirs) = (of(&Runtime::under_test()), of(&Runtime::at(tool("runc"))));
    assert_eq!((ours.0, ours.1, ours.2), (theirs.0, theirs.1, theirs.2));
    let mut differ = Vec::new();
    differing("", &ours.3, &theirs.3, &mut differ);
    assert_listed("list", differ);
}

#[test]
fn processes_are_shown_as_runc_shows_them() {
    let _sandbox = Sandbox::enter();
    let bundle = BundleDir::new().args(["sleep", "600"]);
    let of = |runtime: &Runtime| {
        let container = runtime.start(&bundle);
        let pid = container.pid().as_raw_nonzero();
        let table = runtime.call(["ps", container.id()]).run().ok().stdout();
        let own = runtime.call(["ps", container.id(), "-o", "pid,comm"]).run().ok().stdout();
        let json = runtime.call(["ps", "--format", "json", container.id()]).run().ok().json();
        assert_eq!(json, serde_json::json!([pid]));
        let _ = container.kill("KILL").ok();
        container.wait();
        wait_until_stopped(runtime, container.id());
        let stopped = runtime.call(["ps", "--format", "json", container.id()]).run().ok().stdout();
        let cells = |text: String| -> Vec<Vec<String>> {
            let cell = |cell: &str| {
                if cell.chars().any(|c| c.is_ascii_digit()) {
                    "N".to_owned()
                } else {
                    cell.to_owned()
                }
            };
            text.lines().map(|line| line.split_whitespace().map(cell).collect()).collect()
        };
        (cells(table), cells(own), stopped.trim().to_owned())
    };
    assert_eq!(of(&Runtime::under_test()), of(&Runtime::at(tool("runc"))));
}

/// The places in a JSON value with the types there, without what only some moments have: an empty list says nothing of its elements.
fn shape(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    let kind = match value {
        Value::Object(object) => {
            for (key, value) in object {
                // The name of a device, a processor or a page size is no part of the shape.
                let key = if key.chars().any(|c| c.is_ascii_digit()) { "*" } else { key };
                shape(&format!("{path}/{key}"), value, found);
            }
            return;
        }
        Value::Array(list) => {
            for value in list {
                shape(&format!("{path}/*"), value, found);
            }
            return;
        }
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Null => "null",
    };
    found.insert(format!("{path} is a {kind}"));
}

#[test]
fn events_have_what_runcs_have() {
    let _sandbox = Sandbox::enter();
    let of = |runtime: &Runtime| {
        let limit = 1 << 26;
        let bundle = BundleDir::new().args(["sleep", "600"]);
        let bundle = bundle.set("/linux/resources/memory/limit", limit);
        let container = runtime.start(&bundle);
        let stats = || runtime.call(["events", "--stats", container.id()]).run().ok().json();
        // A thread of runc's own may live for a moment after the exec.
        let settled = |stats: &Value| stats["data"]["pids"]["current"] == 1;
        let stats = (0..100).map(|_| stats()).find(settled).expect("one process");
        assert_eq!(stats["type"], "stats");
        assert_eq!(stats["id"], container.id());
        assert_eq!(stats["data"]["memory"]["usage"]["limit"], limit);
        let mut found = BTreeSet::new();
        shape("", &stats, &mut found);
        found
    };
    let (ours, theirs) = (of(&Runtime::under_test()), of(&Runtime::at(tool("runc"))));
    assert_listed("events", theirs.difference(&ours).cloned().collect());
}

#[test]
fn features_have_what_runcs_have() {
    let of = |program: &Path| Capture::of(program).args(["features"]).run().ok().json();
    let runtime = Runtime::under_test();
    let (ours, theirs) = (of(runtime.program()), of(&tool("runc")));
    let mut found = Vec::new();
    differing("", &ours, &theirs, &mut found);
    // What runc has nothing of is no difference: its specification is an older one.
    found.retain(|path| !theirs.pointer(path).unwrap_or(&Value::Null).is_null());
    assert_listed("features", found);
}

#[test]
fn the_version_has_runcs_lines() {
    let of = |program: &Path| {
        let text = Capture::of(program).args(["--version"]).run().ok().stdout();
        text.lines()
            .map(|line| line.split([' ', ':']).next().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let ours = of(Runtime::under_test().program());
    assert_eq!(ours, ["nrun", "commit", "spec"]);
    assert_eq!(of(&tool("runc"))[1..3], ours[1..]);
}

#[test]
fn the_documentation_has_the_rows_of_this_test() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compatibility.md");
    let text = fs::read_to_string(&path).expect("docs/compatibility.md");
    let (head, rest) = text.split_once("<!-- differences -->\n").expect("the mark before the rows");
    let (rows, tail) = rest.split_once("<!-- end -->").expect("the mark after the rows");
    let mut wanted = String::from("\n| call | why it is otherwise |\n|---|---|\n");
    for difference in DIFFERENCES {
        wanted.push_str(&format!("| {} | {} |\n", difference.case, difference.reason));
    }
    wanted.push('\n');
    if std::env::var_os("UPDATE_COMPATIBILITY").is_some() {
        let text = format!("{head}<!-- differences -->\n{wanted}<!-- end -->{tail}");
        return fs::write(&path, text).expect("write docs/compatibility.md");
    }
    assert_eq!(rows, wanted, "`UPDATE_COMPATIBILITY=1` writes the rows anew");
}
