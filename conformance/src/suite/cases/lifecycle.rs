//! runtime.md: state, the operations on a container and their order.

use serde_json::json;

use crate::suite::case::{Topic, contract, crun, must};
use crate::suite::expect::{contains, has, holds, same};
use crate::suite::trial::{exits, fails};

pub(super) const STATE: Topic = Topic {
    name: "state",
    title: "what `state` tells of a container",
    section: "runtime.md#state",
    cases: &[
        must("a created container is told with all required properties", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.create(&bundle)?;
            let state = live.state()?;
            has(&state, "/id", live.id())?;
            has(&state, "/status", "created")?;
            has(&state, "/bundle", bundle.path().display().to_string())?;
            holds(
                state["ociVersion"].as_str().is_some_and(|v| v.starts_with("1.")),
                "an ociVersion 1.x",
                &state["ociVersion"],
            )?;
            holds(state["pid"].as_i64().is_some_and(|pid| pid > 0), "a pid", &state["pid"])
        })
        .rootless(),
        must("the status goes from created to running to stopped", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.create(&bundle)?;
            same("status", "created", live.status()?.as_str())?;
            live.start()?;
            same("status", "running", live.status()?.as_str())?;
            live.kill("KILL")?;
            live.wait()?;
            same("status", "stopped", live.status()?.as_str())?;
            live.delete()?;
            exits(t.call(["state", live.id()])?, 1).map(drop)
        })
        .rootless(),
        must("the pid is that of the container's process as the caller sees it", |t| {
            let bundle = t.bundle().args(["sleep", "4321"]);
            let live = t.start(&bundle)?;
            let pid = live.pid()?.as_raw_nonzero();
            let command = t.wait_for("sleep 4321 as the command of the pid", || {
                let command =
                    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                if command.contains("4321") { Ok(command) } else { Err(command) }
            })?;
            contains("the command", &command, "sleep")
        })
        .rootless(),
        must("annotations are passed on", |t| {
            let bundle = t
                .bundle()
                .args(["sleep", "60"])
                .set("/annotations", json!({"org.example.key": "value", "org.example.empty": ""}));
            let live = t.create(&bundle)?;
            has(&live.state()?, "/annotations/org.example.key", "value")?;
            has(&live.state()?, "/annotations/org.example.empty", "")
        })
        .rootless(),
        contract("the pid of a stopped container is 0", |t| {
            let bundle = t.bundle();
            let live = t.start(&bundle)?;
            live.wait()?;
            has(&live.state()?, "/pid", 0)
        })
        .rootless(),
        contract("the state has rootfs, time of creation and owner", |t| {
            let bundle = t.bundle();
            let live = t.create(&bundle)?;
            let state = live.state()?;
            has(&state, "/rootfs", bundle.rootfs().display().to_string())?;
            holds(
                state["created"].as_str().is_some_and(|time| time.contains('T')),
                "a time",
                &state["created"],
            )?;
            holds(state["owner"].is_string(), "an owner", &state["owner"])
        })
        .rootless()
        .known(&[crun("gives rootfs as it stands in config.json")]),
        must("asking for the state of a container that is not there is an error", |t| {
            let output = t.call(["state", &t.new_id()])?;
            fails("a failure", &output)
        })
        .rootless(),
        contract("the message about a container that is not there says `does not exist`", |t| {
            let output = exits(t.call(["state", &t.new_id()])?, 1)?;
            contains("the message", &output.stderr(), "does not exist")
        })
        .rootless()
        .known(&[crun("names the file that it cannot open")]),
    ],
};

pub(super) const OPERATIONS: Topic = Topic {
    name: "operations",
    title: "create, start, kill, delete",
    section: "runtime.md#operations",
    cases: &[
        must("the process does not run before start", |t| {
            let bundle = t.bundle().shell("echo started");
            let live = t.create(&bundle)?;
            same("output before start", "", live.stdout().as_str())?;
            live.start()?;
            live.wait()?;
            same("output after start", "started\n", live.stdout().as_str())
        })
        .rootless(),
        must("changes of config.json after create have no effect", |t| {
            let bundle = t.bundle().shell("echo first");
            let live = t.create(&bundle)?;
            std::fs::write(bundle.path().join("config.json"), "{}").expect("write config.json");
            live.start()?;
            live.wait()?;
            same("output", "first\n", live.stdout().as_str())
        })
        .rootless(),
        must("an id that is in use is refused and the container lives on", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            let again =
                t.finish_call(t.runtime().bundle_call("create", &bundle, [""; 0], live.id()))?;
            fails("a failure", &again)?;
            same("status", "running", live.status()?.as_str())
        })
        .rootless(),
        must("starting a container that runs is an error and the container lives on", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            let again = t.call(["start", live.id()])?;
            fails("a failure", &again)?;
            same("status", "running", live.status()?.as_str())
        })
        .rootless(),
        must("an operation without the id of a container is an error", |t| {
            let bundle = t.bundle();
            let path = bundle.path().display().to_string();
            for words in
                [&["state"][..], &["create", "--bundle", &path], &["start"], &["kill"], &["delete"]]
            {
                let output = t.call(words)?;
                fails(&format!("a failure of {words:?}"), &output)?;
            }
            Ok(())
        })
        .rootless(),
        must("a container without a process cannot be started", |t| {
            let bundle = t.bundle().remove("/process");
            let id = t.new_id();
            t.note(&bundle);
            let create = t.finish_call(t.runtime().bundle_call("create", &bundle, [""; 0], &id))?;
            holds(!create.crashed(), "an error, not a crash", &create.to_string())?;
            // Where it is refused sooner, there is nothing to be started.
            let start = t.call(["start", &id])?;
            fails("an error of start", &start)
        })
        .rootless(),
        must("starting a container that is not there is an error", |t| {
            let output = t.call(["start", &t.new_id()])?;
            fails("a failure", &output)
        })
        .rootless(),
        must("killing a container that is not there is an error", |t| {
            let output = t.call(["kill", &t.new_id(), "KILL"])?;
            fails("a failure", &output)
        })
        .rootless(),
        must("killing a container that has stopped is an error", |t| {
            let bundle = t.bundle();
            let live = t.start(&bundle)?;
            live.wait()?;
            let output = t.call(["kill", live.id(), "KILL"])?;
            fails("a failure", &output)
        })
        .rootless(),
        must("a container that is only created can be killed", |t| {
            let bundle = t.bundle();
            let live = t.create(&bundle)?;
            live.kill("KILL")?;
            same("exit status", &137, &live.wait()?)?;
            live.delete().map(drop)
        })
        .rootless(),
        must("deleting a container that runs is an error and it lives on", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            let output = t.call(["delete", live.id()])?;
            fails("a failure", &output)?;
            same("status", "running", live.status()?.as_str())
        })
        .rootless(),
        must("deleting a container that is not there is an error", |t| {
            let output = t.call(["delete", &t.new_id()])?;
            fails("a failure", &output)
        })
        .rootless(),
        must("a deleted container's id can be used again", |t| {
            let (bundle, id) = (t.bundle().shell("exit 3"), t.new_id());
            for _ in 0..2 {
                exits(t.run_as(&bundle, &id)?, 3)?;
            }
            Ok(())
        })
        .rootless(),
        must("nothing that create has made is left after delete", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            live.end()?;
            let left = crate::fixture::cgroups::named(live.id());
            holds(left.is_empty(), "no cgroup", &left)?;
            let state = t.runtime().root().join(live.id());
            holds(!state.exists(), "no state directory", &state)
        })
        .rootless(),
    ],
};
