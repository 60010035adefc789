//! `exec`: a further process in a container that runs, as engines call it.

use std::fs;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::json;

use super::process::strings;
use crate::suite::case::{Topic, contract, crun, nrun};
use crate::suite::expect::{contains, has, holds, same};
use crate::suite::trial::{exits, fails};

pub(super) const EXEC: Topic = Topic {
    name: "exec",
    title: "a further process in a container",
    section: "docs/runtime.md",
    cases: &[
        contract("the process is in the container's namespaces", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            let (seen, pid) = (live.observe(&[])?, live.pid()?.as_raw_nonzero());
            for kind in ["pid", "net", "ipc", "uts", "mnt"] {
                let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap_or_default();
                has(&seen, &format!("/namespaces/{kind}"), link.display().to_string())?;
            }
            Ok(())
        })
        .rootless(),
        contract("the process is in the container's cgroups", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            let groups = live.exec(&["cat", "/proc/self/cgroup"])?.text();
            let first = live.exec(&["cat", "/proc/1/cgroup"])?.text();
            same("the cgroups", first.as_str(), groups.as_str())
        }),
        contract("its exit status is that of the call", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            exits(live.try_exec(&[], &["sh", "-c", "exit 42"])?, 42)?;
            exits(live.try_exec(&[], &["sh", "-c", "kill -TERM $$"])?, 143).map(drop)
        })
        .rootless(),
        contract("standard input reaches it, and its output comes back", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            let call = t.runtime().call(["exec", live.id(), "sh", "-c", "cat; echo error >&2"]);
            let output = exits(t.finish_call(call.stdin("hello\n"))?, 0)?;
            same("standard output", "hello\n", output.stdout().as_str())?;
            contains("standard error", &output.stderr(), "error")
        })
        .rootless(),
        contract("environment, directory and limits are the container's", |t| {
            let bundle = t
                .bundle()
                .args(["sleep", "60"])
                .set("/process/env", json!(["PATH=/bin", "OF_CONTAINER=yes"]))
                .set("/process/cwd", "/tmp");
            let live = t.start(&bundle)?;
            let seen = live.observe(&[])?;
            holds(
                strings(&seen["env"]).contains(&"OF_CONTAINER=yes"),
                "OF_CONTAINER=yes",
                &seen["env"],
            )?;
            has(&seen, "/cwd", "/tmp")?;
            has(&seen, "/limits/RLIMIT_NOFILE", json!([1024, 1024]))
        })
        .rootless()
        .known(&[crun("starts it in the root directory")]),
        contract("--env adds a variable and --cwd changes the directory", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            let seen = live.observe(&["--env", "ADDED=a=b", "--cwd", "/tmp"])?;
            holds(strings(&seen["env"]).contains(&"ADDED=a=b"), "ADDED=a=b", &seen["env"])?;
            has(&seen, "/cwd", "/tmp")
        })
        .rootless(),
        contract("--user sets user and group", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let seen = t.start(&bundle)?.observe(&["--user", "1000:1001"])?;
            has(&seen, "/uids", json!([1000, 1000, 1000, 1000]))?;
            has(&seen, "/gids", json!([1001, 1001, 1001, 1001]))
        }),
        contract("--additional-gids sets the additional groups", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let options = ["--additional-gids", "5", "--additional-gids", "10"];
            let seen = t.start(&bundle)?.observe(&options)?;
            has(&seen, "/groups", json!([5, 10]))
        })
        .known(&[crun("has no such option")]),
        contract("--cap adds a capability", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            let has_chown = |options: &[&str]| {
                live.observe(options)
                    .map(|seen| strings(&seen["capabilities"]["effective"]).contains(&"CAP_CHOWN"))
            };
            same("CAP_CHOWN without --cap", &false, &has_chown(&[])?)?;
            same("CAP_CHOWN with --cap", &true, &has_chown(&["--cap", "CAP_CHOWN"])?)
        }),
        contract("no_new_privs is that of the container, or as --no-new-privs says", |t| {
            let bundle = t.bundle().args(["sleep", "60"]).set("/process/noNewPrivileges", false);
            let live = t.start(&bundle)?;
            has(&live.observe(&[])?, "/noNewPrivileges", false)?;
            has(&live.observe(&["--no-new-privs"])?, "/noNewPrivileges", true)
        })
        .rootless(),
        contract("a process.json is taken in place of arguments", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            let process = json!({
                "args": ["/bin/nprobe", "of the file"], "cwd": "/tmp", "user": {"uid": 0, "gid": 0},
                "env": ["PATH=/bin", "FROM=file"], "terminal": false
            });
            let file = bundle.path().join("process.json");
            fs::write(&file, process.to_string()).expect("write a file");
            let output = live.try_exec(&["--process", &file.display().to_string()], &[])?;
            let seen = crate::suite::trial::report_of(&exits(output, 0)?)?;
            has(&seen, "/args", json!(["of the file"]))?;
            has(&seen, "/cwd", "/tmp")?;
            holds(strings(&seen["env"]).contains(&"FROM=file"), "FROM=file", &seen["env"])
        })
        .rootless(),
        contract("--detach returns at once and writes the pid file first", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            let file = bundle.path().join("exec.pid");
            let path = file.display().to_string();
            let output = live.try_exec(&["--detach", "--pid-file", &path], &["sleep", "54321"])?;
            exits(output, 0)?;
            let pid = fs::read_to_string(&file).unwrap_or_default();
            t.wait_for("sleep 54321 as the command of the pid", || {
                let command = fs::read_to_string(format!("/proc/{}/cmdline", pid.trim()));
                let command = command.unwrap_or_default();
                if command.contains("54321") { Ok(()) } else { Err(command) }
            })?;
            // It is a child of this process now, and its container cannot end before it has been waited for.
            if let Some(pid) = pid.trim().parse().ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
                let _ = waitpid(Some(pid), WaitOptions::empty());
            }
            Ok(())
        })
        .rootless(),
        contract(
            "a command that is not there is an error with a text that engines look for",
            |t| {
                let bundle = t.bundle().args(["sleep", "60"]);
                let output = t.start(&bundle)?.try_exec(&[], &["no-such-command"])?;
                fails("a failure", &output)?;
                contains("the message", &output.stderr(), "executable file")?;
                contains("the message", &output.stderr(), "not found")
            },
        )
        .rootless(),
        contract("a command that may not be executed is an error: permission denied", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            super::process::write_file(&bundle, "opt/text", "text", 0o644);
            let output = t.start(&bundle)?.try_exec(&[], &["/opt/text"])?;
            fails("a failure", &output)?;
            contains("the message", &output.stderr(), "permission denied")
        })
        .rootless(),
        contract("a container that is only created takes an exec", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.create(&bundle)?;
            same("output", "in", live.exec(&["echo", "in"])?.text().as_str())?;
            same("status", "created", live.status()?.as_str())
        })
        .rootless()
        .known(&[
            nrun("a process that has not been started can be entered by root alone").for_users(),
            crun("a process that has not been started can be entered by root alone").for_users(),
        ]),
        contract("a container that has stopped takes no exec", |t| {
            let bundle = t.bundle();
            let live = t.start(&bundle)?;
            live.wait()?;
            fails("a failure", &live.try_exec(&[], &["true"])?)
        })
        .rootless(),
        contract("a container that is not there takes no exec", |t| {
            let output = t.call(["exec", t.new_id().as_str(), "true"])?;
            fails("a failure", &output)?;
            contains("the message", &output.stderr(), "does not exist")
        })
        .rootless()
        .known(&[crun("tells of a file that it cannot open instead")]),
        contract("a paused container takes no exec, unless it is told to", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            t.call_ok(["pause", live.id()])?;
            let output = live.try_exec(&[], &["true"])?;
            t.call_ok(["resume", live.id()])?;
            fails("a failure", &output)
        }),
        contract("the id comes before words that look like options", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let output = t.start(&bundle)?.exec(&["echo", "-n", "--env", "-t"])?;
            same("output", "--env -t", output.stdout().as_str())
        })
        .rootless(),
    ],
};
