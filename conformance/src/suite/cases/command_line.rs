//! The command line as engines call it, `features`, and what config.json as a whole must be.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::files::bind;
use super::namespaces::owned;
use super::process::strings;
use crate::suite::case::{Finding, Topic, contract, crun, must, runc};
use crate::suite::expect::{contains, has, holds, same};
use crate::suite::facts::IDMAPPED_TMPFS;
use crate::suite::trial::{Trial, exits, fails};

pub(super) const COMMAND_LINE: Topic = Topic {
    name: "command-line",
    title: "options, outputs and exit statuses that engines rely on",
    section: "docs/runtime.md",
    cases: &[
        contract(
            "the pid file is there when create returns, and holds the pid of the state",
            |t| {
                let bundle = t.bundle().args(["sleep", "60"]);
                let file = bundle.path().join("init.pid");
                let live = t.create_with(&bundle, &["--pid-file", &file.display().to_string()])?;
                let text = fs::read_to_string(&file).unwrap_or_default();
                same(
                    "the pid file",
                    live.pid()?.as_raw_nonzero().to_string().as_str(),
                    text.as_str(),
                )
            },
        )
        .rootless(),
        contract("kill takes names with and without SIG, and numbers", |t| {
            for signal in ["USR1", "SIGUSR1", "10"] {
                same(&format!("exit status after kill {signal}"), &9, &killed(t, &[signal])?)?;
            }
            Ok(())
        })
        .rootless(),
        contract("kill without a signal is TERM", |t| same("exit status", &8, &killed(t, &[])?))
            .rootless(),
        contract("kill of a signal that there is none of is an error", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            for signal in ["TOMORROW", "4711"] {
                let output = t.call(["kill", live.id(), signal])?;
                fails(&format!("a failure with {signal}"), &output)?;
            }
            same("status", "running", live.status()?.as_str())
        })
        .rootless()
        .known(&[crun("takes the name and sends nothing")]),
        contract("kill of a container that has stopped says `container not running`", |t| {
            let bundle = t.bundle();
            let live = t.start(&bundle)?;
            live.wait()?;
            contains("the message", &t.call(["kill", live.id(), "KILL"])?.stderr(), "not running")
        })
        .rootless()
        .known(&[crun("says that there is no such process")]),
        contract("delete --force of an unknown id succeeds and says nothing", |t| {
            let output = exits(t.call(["delete", "--force", &t.new_id()])?, 0)?;
            same("standard error", "", output.stderr().as_str())
        })
        .rootless(),
        contract("delete --force ends a container that runs", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            t.call_ok(["delete", "--force", live.id()])?;
            let state = t.call(["state", live.id()])?;
            fails("no container", &state)
        })
        .rootless(),
        contract("run exits with the status of the process", |t| {
            for (script, code) in
                [("exit 0", 0), ("exit 42", 42), ("exit 255", 255), ("kill -9 $$; true", 0)]
            {
                // A signal that the first process of a pid namespace sends to itself is ignored.
                exits(t.run(&t.bundle().shell(script))?, code)?;
            }
            Ok(())
        })
        .rootless(),
        contract("run passes standard input and output on", |t| {
            let bundle = t.bundle().shell("cat; echo error >&2");
            let id = t.new_id();
            t.note(&bundle);
            let call = t.runtime().bundle_call("run", &bundle, [""; 0], &id).stdin("hello\n");
            let output = exits(t.finish_call(call)?, 0)?;
            same("standard output", "hello\n", output.stdout().as_str())?;
            same("standard error", "error\n", output.stderr().as_str())
        })
        .rootless(),
        contract("run --detach returns while the container runs", |t| {
            let (bundle, id) = (t.bundle().args(["sleep", "60"]), t.new_id());
            t.note(&bundle);
            exits(t.finish_call(t.runtime().bundle_call("run", &bundle, ["--detach"], &id))?, 0)?;
            let state = exits(t.call(["state", &id])?, 0)?.json();
            has(&state, "/status", "running")
        })
        .rootless(),
        contract("run --keep leaves a stopped container", |t| {
            let (bundle, id) = (t.bundle().shell("exit 3"), t.new_id());
            t.note(&bundle);
            exits(t.finish_call(t.runtime().bundle_call("run", &bundle, ["--keep"], &id))?, 3)?;
            has(&exits(t.call(["state", &id])?, 0)?.json(), "/status", "stopped")?;
            t.call_ok(["delete", &id]).map(drop)
        })
        .rootless()
        .known(&[crun("has no such option")]),
        contract("--no-pivot is taken, and the container has its root nevertheless", |t| {
            let (bundle, id) = (t.bundle().args(["cat", "/etc/hosts"]), t.new_id());
            t.note(&bundle);
            let call = t.runtime().bundle_call("run", &bundle, ["--no-pivot"], &id);
            same("output", "127.0.0.1 localhost", exits(t.finish_call(call)?, 0)?.text().as_str())
        }),
        contract("kill --all reaches every process of a container without a pid namespace", |t| {
            let script = "sleep 4321 & echo ready; exec sleep 4321";
            let bundle = t.bundle().without_namespace("pid").shell(script);
            let live = t.start(&bundle)?;
            t.wait_for("both processes", || match live.stdout() {
                text if text.contains("ready") => Ok(()),
                text => Err(text),
            })?;
            t.call_ok(["kill", "--all", live.id(), "TERM"])?;
            live.wait()?;
            t.wait_for("no process in its cgroups", || {
                let left = live.cgroup(&["cgroup.procs"]).unwrap_or_default();
                t.reap();
                if left.is_empty() { Ok(()) } else { Err(left) }
            })
        }),
        contract("the bundle is the current directory where none is given", |t| {
            let (bundle, id) = (t.bundle().args(["echo", "here"]), t.new_id());
            t.note(&bundle);
            let call = t.runtime().call(["run", &id]).directory(bundle.path());
            same("output", "here", exits(t.finish_call(call)?, 0)?.text().as_str())
        }),
        contract("a command that is not there fails with the text that engines look for", |t| {
            let output = t.run(&t.bundle().args(["no-such-command"]))?;
            fails("a failure", &output)?;
            contains("the message", &output.stderr(), "executable file")?;
            contains("the message", &output.stderr(), "not found in")
        })
        .rootless(),
        contract("--log-format json writes errors as level, msg and time, a line each", |t| {
            let (bundle, id) = (t.bundle().args(["no-such-command"]), t.new_id());
            let directory = t.directory();
            let log = directory.path().join("log.json");
            let path = log.display().to_string();
            let words = ["--log", &path, "--log-format", "json", "run", "--bundle"];
            let words = words.iter().map(|word| Path::new(*word).to_owned());
            let output = t.call(words.chain([bundle.path().to_owned(), id.into()]))?;
            fails("a failure", &output)?;
            let text = fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<Value> =
                text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            let error = lines.iter().rev().find(|line| line["level"] == "error");
            let error =
                error.ok_or_else(|| Finding::fail("a line with the level `error`", text))?;
            contains("msg", error["msg"].as_str().unwrap_or_default(), "no-such-command")?;
            holds(
                error["time"].as_str().is_some_and(|time| time.contains('T')),
                "a time of RFC 3339",
                error,
            )
        })
        .rootless(),
        contract("ps --format json lists the pids as the caller sees them", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            let list = exits(t.call(["ps", "--format", "json", live.id()])?, 0)?.json();
            has(&list, "/0", live.pid()?.as_raw_nonzero().get())?;
            has(&list, "/1", Value::Null)
        }),
        contract("list --format json has id, pid, status and bundle of each container", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            let list = exits(t.call(["list", "--format", "json"])?, 0)?.json();
            let entry =
                list.as_array().and_then(|all| all.iter().find(|entry| entry["id"] == live.id()));
            let entry = entry.ok_or_else(|| Finding::fail("the container", list.to_string()))?;
            has(entry, "/status", "running")?;
            has(entry, "/pid", live.pid()?.as_raw_nonzero().get())?;
            has(entry, "/bundle", bundle.path().display().to_string())
        })
        .rootless(),
        contract("list -q lists ids alone", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.create(&bundle)?;
            same("the list", live.id(), exits(t.call(["list", "-q"])?, 0)?.text().as_str())
        })
        .rootless(),
        contract("pause stops a container and resume lets it go on", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            t.call_ok(["pause", live.id()])?;
            same("status", "paused", live.status()?.as_str())?;
            t.call_ok(["resume", live.id()])?;
            same("status", "running", live.status()?.as_str())
        }),
        contract("update changes a limit, from options and from JSON", |t| {
            let bundle = t.bundle().args(["sleep", "60"]).set("/linux/resources/pids/limit", 30);
            let live = t.start(&bundle)?;
            t.call_ok(["update", "--pids-limit", "40", live.id()])?;
            same("pids.max", "40", live.cgroup(&["pids.max"])?.as_str())?;
            let wanted = json!({"pids": {"limit": 50}}).to_string();
            let call = t.runtime().call(["update", "--resources", "-", live.id()]).stdin(wanted);
            exits(t.finish_call(call)?, 0)?;
            same("pids.max", "50", live.cgroup(&["pids.max"])?.as_str())
        }),
        contract("events --stats prints what a container uses as JSON", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            t.call_ok(["events", "--stats", live.id()])?;
            // Threads of a runtime count until they have become the process.
            let stats = t.wait_for("1 as /data/pids/current", || {
                let output = t.call(["events", "--stats", live.id()]);
                let output = output.and_then(|output| exits(output, 0));
                let stats = output.map_err(|finding| format!("{finding:?}"))?.json();
                let is_one = stats["data"]["pids"]["current"] == 1;
                if is_one { Ok(stats) } else { Err(stats.to_string()) }
            })?;
            has(&stats, "/type", "stats")?;
            has(&stats, "/id", live.id())?;
            holds(
                stats["data"]["memory"]["usage"]["usage"].as_u64().is_some_and(|usage| usage > 0),
                "memory in use",
                &stats["data"]["memory"],
            )
        })
        .known(&[crun("has no such command")]),
        contract("spec writes a config.json that runs", |t| {
            let bundle = t.bundle();
            fs::remove_file(bundle.path().join("config.json")).expect("remove a file");
            exits(t.finish_call(t.runtime().call(["spec"]).directory(bundle.path()))?, 0)?;
            let text = fs::read_to_string(bundle.path().join("config.json")).unwrap_or_default();
            let mut config: Value = serde_json::from_str(&text)
                .map_err(|error| Finding::fail("config.json", error.to_string()))?;
            config["process"]["terminal"] = false.into();
            config["process"]["args"] = json!(["echo", "from spec"]);
            let bundle = bundle.raw_config(config.to_string());
            same("output", "from spec", exits(t.run(&bundle)?, 0)?.text().as_str())
        }),
        contract("an id with a slash or of dots is refused", |t| {
            let bundle = t.bundle();
            for id in ["a/b", "..", ""] {
                let output =
                    t.finish_call(t.runtime().bundle_call("create", &bundle, [""; 0], id))?;
                fails(&format!("a refusal of {id:?}"), &output)?;
            }
            Ok(())
        })
        .rootless(),
    ],
};

pub(super) const CONFIGURATION: Topic = Topic {
    name: "configuration",
    title: "config.json as a whole",
    section: "config.md#extensibility",
    cases: &[
        must("a property that is not known is ignored", |t| {
            let bundle = t
                .bundle()
                .set("/org.example.extension", json!({"a": 1}))
                .set("/linux/tomorrow", true);
            t.run_ok(&bundle).map(drop)
        })
        .rootless(),
        must("an annotation that is not known is ignored", |t| {
            t.run_ok(&t.bundle().set("/annotations", json!({"org.example.unknown": "x"}))).map(drop)
        })
        .rootless(),
        must("a bundle without config.json is refused", |t| {
            let bundle = t.bundle();
            fs::remove_file(bundle.path().join("config.json")).expect("remove a file");
            t.refused(&bundle, "there is no config.json").map(drop)
        })
        .rootless(),
        must("a config.json that is not JSON is refused", |t| {
            t.refused(&t.bundle().raw_config("{\"ociVersion\": "), "it is not JSON").map(drop)
        })
        .rootless(),
        must("a config.json without ociVersion is refused", |t| {
            t.refused(&t.bundle().remove("/ociVersion"), "ociVersion is required").map(drop)
        })
        .rootless()
        .known(&[runc("takes it")]),
        must("a version of the specification that is not supported is refused", |t| {
            t.refused(&t.bundle().set("/ociVersion", "9.0.0"), "no runtime supports version 9")
                .map(drop)
        })
        .rootless()
        .known(&[runc("takes every version")]),
        must("a version that is not of the form of Semantic Versioning is refused", |t| {
            t.refused(&t.bundle().set("/ociVersion", "1"), "it has no minor number").map(drop)
        })
        .rootless()
        .known(&[runc("takes every version")]),
        must("a value of another type than the specification's is refused", |t| {
            t.refused(&t.bundle().set("/process/args", "true"), "args is an array").map(drop)
        })
        .rootless()
        .known(&[crun("takes it for an empty list, and fails only at start")]),
        must("a config.json without a root is refused", |t| {
            t.refused(&t.bundle().remove("/root"), "root is required on Linux").map(drop)
        })
        .rootless(),
    ],
};

pub(super) const FEATURES: Topic = Topic {
    name: "features",
    title: "what `features` tells",
    section: "features.md",
    cases: &[
        must("the versions of the specification are a range", |t| {
            let features = features(t)?;
            let version = |key: &str| {
                let text = features[key].as_str().unwrap_or_default().to_owned();
                let is_version =
                    text.starts_with(|c: char| c.is_ascii_digit()) && text.contains('.');
                holds(is_version, &format!("a version as {key}"), &text).map(|()| text)
            };
            let least = crate::contender::Release::of(&version("ociVersionMin")?);
            let most = crate::contender::Release::of(&version("ociVersionMax")?);
            holds(least <= most, "ociVersionMin not above ociVersionMax", &(least, most))
        })
        .rootless()
        .known(NO_FEATURES),
        must("all hooks that run are listed", |t| {
            includes(
                &features(t)?["hooks"],
                &[
                    "prestart",
                    "createRuntime",
                    "createContainer",
                    "startContainer",
                    "poststart",
                    "poststop",
                ],
            )
        })
        .rootless()
        .known(NO_FEATURES),
        must("options of mounts are listed", |t| {
            includes(
                &features(t)?["mountOptions"],
                &["ro", "rw", "rbind", "nosuid", "nodev", "noexec", "rprivate"],
            )
        })
        .rootless()
        .known(NO_FEATURES),
        must("the namespaces that can be made are listed", |t| {
            includes(
                &features(t)?["linux"]["namespaces"],
                &["cgroup", "ipc", "mount", "network", "pid", "user", "uts"],
            )
        })
        .rootless()
        .known(NO_FEATURES),
        must("capabilities are listed by their names", |t| {
            includes(
                &features(t)?["linux"]["capabilities"],
                &["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_NET_RAW"],
            )
        })
        .rootless()
        .known(NO_FEATURES),
        must("actions, operators and architectures of seccomp are listed", |t| {
            let seccomp = &features(t)?["linux"]["seccomp"];
            has(seccomp, "/enabled", true)?;
            includes(
                &seccomp["actions"],
                &["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_NOTIFY"],
            )?;
            includes(&seccomp["operators"], &["SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"])?;
            includes(&seccomp["archs"], &["SCMP_ARCH_X86_64"])
        })
        .rootless()
        .known(NO_FEATURES),
        must("support of cgroups, AppArmor and SELinux is told", |t| {
            let features = features(t)?;
            for pointer in
                ["cgroup/v1", "cgroup/v2", "cgroup/systemd", "apparmor/enabled", "selinux/enabled"]
            {
                let told = features.pointer(&format!("/linux/{pointer}")).unwrap_or(&Value::Null);
                holds(told.is_boolean(), &format!("true or false as {pointer}"), told)?;
            }
            let layout = if t.facts().unified() { "/linux/cgroup/v2" } else { "/linux/cgroup/v1" };
            has(&features, layout, true)
        })
        .rootless()
        .known(NO_FEATURES),
        must("annotations of config.json that may be unsafe are listed", |t| {
            let told = features(t)?["potentiallyUnsafeConfigAnnotations"].clone();
            holds(told.is_array(), "a list", &told)
        })
        .rootless()
        .known(&[crun("has no such command"), runc("lists none")]),
        must("support of idmapped mounts is told as it is", |t| {
            let told = features(t)?["linux"]["mountExtensions"]["idmap"]["enabled"].clone();
            holds(told.is_boolean(), "true or false", &told)?;
            if !(IDMAPPED_TMPFS.is_met)(t.facts()) {
                return Ok(());
            }
            let source = owned(t);
            let map = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
            let mut mount = bind(source.path(), "/mnt", &["rbind"]);
            mount["uidMappings"] = map.clone();
            mount["gidMappings"] = map;
            let bundle = t.bundle().push("/mounts", mount).shell("stat -c %u:%g /mnt/file");
            let is_so = t.run(&bundle)?.text() == "1003:1004";
            same("what a container says of it", &is_so, &(told == true))
        })
        .known(&[crun("has no such command"), runc("knows no mountExtensions")]),
    ],
};

const NO_FEATURES: &[crate::suite::case::Known] = &[crun("has no such command")];

fn features(trial: &Trial) -> Result<Value, Finding> {
    let output = exits(trial.call(["features"])?, 0)?;
    serde_json::from_str(&output.stdout())
        .map_err(|error| Finding::fail("`features` prints JSON", error.to_string()))
}

fn includes(list: &Value, wanted: &[&str]) -> crate::suite::case::Verdict {
    let seen = strings(list);
    match wanted.iter().find(|word| !seen.contains(word)) {
        None => Ok(()),
        Some(missing) => Err(Finding::fail(format!("{missing} in the list"), list.to_string())),
    }
}

/// Exit status of a container that exits with 9 for USR1 and with 8 for TERM, after a `kill`.
fn killed(trial: &Trial, signal: &[&str]) -> Result<i32, Finding> {
    let bundle = trial
        .bundle()
        .shell("trap 'exit 9' USR1; trap 'exit 8' TERM; echo ready; while :; do sleep 0.05; done");
    let live = trial.start(&bundle)?;
    trial.wait_for("the traps are set", || {
        if live.stdout().contains("ready") { Ok(()) } else { Err(live.stdout()) }
    })?;
    trial.call_ok(["kill", live.id()].iter().chain(signal))?;
    live.wait()
}
