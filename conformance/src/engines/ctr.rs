//! containerd's ctr: the shim's calls of a runtime, with nothing but a thin client above.

use crate::fixture::cgroups;

use super::trial::{Operation, Trial, operation, until};

pub(super) fn operations() -> Vec<Operation> {
    [running(), tasks(), signals(), settings(), privileges(), errors()].concat()
}

/// The state of the container's task in `tasks ls`.
fn state(t: &Trial) -> Result<String, String> {
    let list = t.call(["tasks", "ls"])?.ok()?.text();
    let line = list.lines().find(|line| line.split_whitespace().next() == Some(t.name()));
    let state = line.and_then(|line| line.split_whitespace().nth(2));
    Ok(state.unwrap_or("missing").to_owned())
}

fn wait_for(t: &Trial, expected: &str) -> Result<(), String> {
    until(|| match state(t)? {
        seen if seen == expected => Ok(()),
        seen => Err(format!("the task is {seen}, not {expected}")),
    })
}

fn exec(t: &Trial, command: &[&str]) -> Result<super::trial::Ran, String> {
    t.call(["tasks", "exec", "--exec-id", "one", t.name()].iter().chain(command))
}

/// Removes a task that has ended; ctr warns of an exit status that is not 0.
fn removed_after(t: &Trial, status: &str) -> Result<(), String> {
    let ran = t.call(["tasks", "rm", t.name()])?.ok()?;
    let expected = format!("exit with non-zero exit code {status}\"");
    if ran.error_text().ends_with(&expected) { Ok(()) } else { Err(format!("{ran:?}")) }
}

fn running() -> Vec<Operation> {
    vec![
        operation("run shows what the program prints", |t| {
            t.run(&[], &["echo", "hello"])?.prints("hello")
        }),
        operation("run passes the exit status on", |t| {
            t.run(&[], &["sh", "-c", "exit 7"])?.exits(7).map(drop)
        }),
        operation("run reads standard input", |t| {
            let words = t.run_words(&["--rm"], &["sh", "-c", "head -c 10000 | wc -c"]);
            t.call_with(&"x".repeat(10_000), &words)?.prints("10000")
        }),
        operation("run -t is interactive", |t| {
            let words = t.run_words(&["--rm", "-t"], &["sh", "-c", "read x; echo got $x; tty"]);
            t.call_on_terminal("typed\n", &words)?.shows(&["got typed", "/dev/"])
        }),
        operation("run passes a megabyte on whole", |t| t.passes_a_megabyte()),
        operation("run -d is listed as running", |t| {
            t.sleeper(&[])?;
            wait_for(t, "RUNNING")
        }),
        operation("a stopped task is removed", |t| {
            t.start(&[], &["sh", "-c", "exit 4"])?;
            wait_for(t, "STOPPED")?;
            removed_after(t, "4")
        }),
    ]
}

fn tasks() -> Vec<Operation> {
    vec![
        operation("exec shows output and exit status", |t| {
            t.sleeper(&[])?;
            let ran = exec(t, &["sh", "-c", "echo inside; exit 5"])?.exits(5)?;
            if ran.text() == "inside" { Ok(()) } else { Err(format!("{ran:?}")) }
        }),
        operation("exec -t is interactive", |t| {
            t.sleeper(&[])?;
            let words = [
                "tasks",
                "exec",
                "-t",
                "--exec-id",
                "one",
                t.name(),
                "sh",
                "-c",
                "read x; echo got $x",
            ];
            t.call_on_terminal("typed\n", &words)?.shows(&["got typed"])
        }),
        operation("exec --user and --cwd", |t| {
            t.sleeper(&[])?;
            let words =
                ["tasks", "exec", "--exec-id", "one", "--user", "1000:1000", "--cwd", "/tmp"];
            let command = [t.name(), "sh", "-c", "id -u; pwd"];
            t.call(words.iter().chain(&command))?.prints("1000\n/tmp")
        }),
        operation("pause and resume", |t| {
            t.sleeper(&[])?;
            t.call(["tasks", "pause", t.name()])?.ok()?;
            wait_for(t, "PAUSED")?;
            t.call(["tasks", "resume", t.name()])?.ok()?;
            wait_for(t, "RUNNING")?;
            exec(t, &["echo", "on"])?.prints("on")
        }),
        operation("exec in a paused task fails", |t| {
            t.sleeper(&[])?;
            t.call(["tasks", "pause", t.name()])?.ok()?;
            let ended = exec(t, &["true"])?.fails_with(&["paused"]);
            t.call(["tasks", "resume", t.name()])?.ok()?;
            ended
        }),
    ]
}

fn signals() -> Vec<Operation> {
    vec![
        operation("ps lists the processes", |t| {
            t.start(&[], &["sh", "-c", "sleep 600 & exec sleep 600"])?;
            until(|| match t.call(["tasks", "ps", t.name()])?.ok()?.text().lines().count() {
                3 => Ok(()),
                lines => Err(format!("{lines} lines instead of 3")),
            })
        }),
        operation("metrics show the limit on memory", |t| {
            t.sleeper(&["--memory-limit", "50331648"])?;
            t.call(["tasks", "metrics", t.name()])?.shows(&["memory", "50331648"])
        }),
        operation("kill by name and by number", |t| {
            let script = "trap 'exit 3' HUP; echo ready; while :; do usleep 20000; done";
            t.start(&[], &["sh", "-c", script])?;
            std::thread::sleep(std::time::Duration::from_millis(300));
            t.call(["tasks", "kill", "-s", "SIGHUP", t.name()])?.ok()?;
            wait_for(t, "STOPPED")?;
            removed_after(t, "3")
        }),
        operation("kill -a -s 9", |t| {
            t.start(&[], &["sh", "-c", "sleep 600 & exec sleep 600"])?;
            t.call(["tasks", "kill", "-a", "-s", "9", t.name()])?.ok()?;
            wait_for(t, "STOPPED")?;
            removed_after(t, "137")
        }),
        operation("rm -f ends a running task", |t| {
            t.sleeper(&[])?;
            t.call(["tasks", "rm", "-f", t.name()])?.ok()?;
            match state(t)?.as_str() {
                "missing" => Ok(()),
                state => Err(format!("the task is {state}")),
            }
        }),
    ]
}

fn settings() -> Vec<Operation> {
    vec![
        operation("--cpus", |t| {
            // Its containers see no cgroups: they are looked at from here.
            t.sleeper(&["--cpus", "0.5"])?;
            let quota = cgroups::read(t.name(), "cpu.cfs_quota_us");
            match quota.or_else(|| cgroups::read(t.name(), "cpu.max")).as_deref() {
                Some("50000" | "50000 100000") => Ok(()),
                seen => Err(format!("the quota is {seen:?}")),
            }
        }),
        operation("--env and --cwd", |t| {
            let options = ["--env", "GREETING=hi", "--cwd", "/tmp"];
            t.run(&options, &["sh", "-c", "pwd; echo $GREETING"])?.prints("/tmp\nhi")
        }),
        operation("--mount, writable", |t| {
            let mount =
                format!("type=bind,src={},dst=/data,options=rbind:rw", t.scratch().display());
            t.run(&["--mount", &mount], &["sh", "-c", "echo written >/data/file"])?.ok()?;
            let text = std::fs::read_to_string(t.scratch().join("file"));
            if text.is_ok_and(|text| text == "written\n") {
                Ok(())
            } else {
                Err("no file".to_owned())
            }
        }),
        operation("--mount, read-only", |t| {
            let mount =
                format!("type=bind,src={},dst=/data,options=rbind:ro", t.scratch().display());
            t.run(&["--mount", &mount], &["touch", "/data/x"])?
                .fails_with(&["read-only file system"])
        }),
        operation("--read-only", |t| {
            t.run(&["--read-only"], &["touch", "/x"])?.fails_with(&["read-only file system"])
        }),
    ]
}

fn privileges() -> Vec<Operation> {
    vec![
        operation("--privileged", |t| {
            let script = "mkdir /mnt && mount -t tmpfs x /mnt && echo mounted";
            t.run(&["--privileged"], &["sh", "-c", script])?.shows(&["mounted"])
        }),
        operation("--cap-drop", |t| {
            // CAP_NET_RAW is bit 13: the second of the fourth digit from the end.
            let ran =
                t.run(&["--cap-drop", "CAP_NET_RAW"], &["grep", "CapEff", "/proc/self/status"])?;
            let text = ran.ok()?.text();
            let digit = text.chars().rev().nth(3).and_then(|digit| digit.to_digit(16));
            match digit.map(|digit| digit & 2) {
                Some(0) => Ok(()),
                _ => Err(format!("CAP_NET_RAW is still there: {text}")),
            }
        }),
        operation("--seccomp", |t| {
            t.run(&["--seccomp"], &["grep", "Seccomp:", "/proc/self/status"])?.shows(&["2"])
        }),
        operation("--net-host", |t| {
            let own = std::fs::read_link("/proc/thread-self/ns/net").map_err(|e| e.to_string())?;
            let own = own.display().to_string();
            t.run(&["--net-host"], &["readlink", "/proc/self/ns/net"])?.prints(&own)
        }),
        operation("--with-ns joins another container's", |t| {
            t.sleeper(&[])?;
            let list = t.call(["tasks", "ls"])?.ok()?.text();
            let line = list.lines().find(|line| line.starts_with(t.name())).ok_or("no task")?;
            let pid = line.split_whitespace().nth(1).ok_or("no pid")?;
            let join = format!("ipc:/proc/{pid}/ns/ipc");
            let theirs = std::fs::read_link(format!("/proc/{pid}/ns/ipc"))
                .map_err(|error| error.to_string())?;
            let second = format!("{}-second", t.name());
            let mut words =
                t.run_words(&["--rm", "--with-ns", &join], &["readlink", "/proc/self/ns/ipc"]);
            let place = words.iter().position(|word| *word == t.name()).ok_or("no name")?;
            words[place] = &second;
            t.call(&words)?.prints(&theirs.display().to_string())
        }),
        operation("--pid-file", |t| {
            let file = t.scratch().join("pid");
            t.sleeper(&["--pid-file", &file.display().to_string()])?;
            let pid = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
            let name = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if name.starts_with(b"sleep\0") { Ok(()) } else { Err(format!("pid {pid} is not it")) }
        }),
        operation("--uidmap and --gidmap", |t| {
            let options = ["--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536"];
            t.run(&options, &["cat", "/proc/self/uid_map"])?.shows(&["100000"])
        }),
    ]
}

fn errors() -> Vec<Operation> {
    vec![
        operation("run of a missing program fails", |t| {
            let said = ["executable file not found", "no such file"];
            t.run(&[], &["no-such-program"])?.fails_with(&said)
        }),
        operation("run of a file that is not executable fails", |t| {
            t.run(&[], &["/bin/forbidden"])?.fails_with(&["permission denied"])
        }),
        operation("run of a directory fails", |t| {
            t.run(&[], &["/etc"])?.fails_with(&["permission denied", "is a directory"])
        }),
        operation("exec of a missing program fails", |t| {
            t.sleeper(&[])?;
            exec(t, &["no-such-program"])?
                .fails_with(&["executable file not found", "no such file"])
        }),
        operation("exec in a stopped task fails", |t| {
            t.start(&[], &["true"])?;
            wait_for(t, "STOPPED")?;
            exec(t, &["true"])?.fails_with(&["stopped", "not running", "not found"])
        }),
        operation("kill of a stopped task fails", |t| {
            t.start(&[], &["true"])?;
            wait_for(t, "STOPPED")?;
            t.call(["tasks", "kill", t.name()])?.fails_with(&[
                "already finished",
                "not found",
                "not running",
            ])
        }),
        operation("rm of a running task fails", |t| {
            t.sleeper(&[])?;
            t.call(["tasks", "rm", t.name()])?.fails_with(&["must be stopped", "running"])
        }),
        operation("a name that is taken fails", |t| {
            t.sleeper(&[])?;
            t.call(t.run_words(&["-d"], &["true"]))?.fails_with(&["already exists"])
        }),
        operation("commands on an unknown task fail", |t| {
            for command in ["kill", "pause", "resume", "ps", "rm", "metrics"] {
                t.call(["tasks", command, "no-such-task"])?
                    .fails_with(&["not found"])
                    .map_err(|why| format!("{command}: {why}"))?;
            }
            Ok(())
        }),
    ]
}
