//! Docker and Podman: what happens to a container from `run` to `rm`.

use crate::managers::Kind;

use super::trial::{Operation, Trial, operation, until};

pub(super) fn operations() -> Vec<Operation> {
    [running(), executing(), controlling(), updating(), watching(), ending()].concat()
}

fn running() -> Vec<Operation> {
    vec![
        operation("run shows what the program prints", |t| {
            t.run(&[], &["echo", "hello"])?.prints("hello")
        }),
        operation("run keeps standard error apart", |t| {
            let ran = t.run(&[], &["sh", "-c", "echo out; echo err >&2"])?.ok()?;
            match (ran.text().as_str(), ran.error_text().as_str()) {
                ("out", "err") => Ok(()),
                seen => Err(format!("standard output and error are {seen:?}")),
            }
        }),
        operation("run passes the exit status on", |t| {
            t.run(&[], &["sh", "-c", "exit 7"])?.exits(7).map(drop)
        }),
        operation("run -i reads standard input", |t| {
            let words = t.run_words(&["--rm", "-i"], &["wc", "-c"]);
            t.call_with(&"x".repeat(100_000), &words)?.prints("100000")
        }),
        operation("run -t gives a terminal", |t| {
            t.run(&["-t"], &["sh", "-c", "test -t 1 && tty"])?.shows(&["/dev/"])
        }),
        operation("run -it is interactive", |t| {
            let words = t.run_words(&["--rm", "-it"], &["sh", "-c", "read x; echo got $x; tty"]);
            t.call_on_terminal("typed\n", &words)?.shows(&["got typed", "/dev/"])
        }),
        operation("run passes a megabyte on whole", |t| t.passes_a_megabyte()),
        operation("create and start -a", |t| {
            let mut words = t.run_words(&[], &["sh", "-c", "echo started; exit 4"]);
            words[0] = "create";
            t.call(&words)?.ok()?;
            let ran = t.call(["start", "-a", t.name()])?.exits(4)?;
            if ran.text() == "started" { Ok(()) } else { Err(format!("it printed {ran:?}")) }
        }),
        operation("a detached container is listed as running", |t| {
            t.sleeper(&[])?;
            t.wait_for(".State.Running", "true")?;
            t.call(["ps", "--format", "{{.Names}}"])?.shows(&[t.name()])
        }),
        operation("inspect shows the pid of the first process", |t| {
            t.sleeper(&[])?;
            let pid = t.inspect(".State.Pid")?;
            let command = std::fs::read(format!("/proc/{pid}/cmdline"));
            match command.map(|words| words.starts_with(b"sleep\0")) {
                Ok(true) => Ok(()),
                seen => Err(format!("process {pid}: {seen:?}")),
            }
        }),
    ]
}

fn executing() -> Vec<Operation> {
    vec![
        operation("exec shows output and exit status", |t| {
            t.sleeper(&[])?;
            let ran = t.call(["exec", t.name(), "sh", "-c", "echo inside; exit 5"])?.exits(5)?;
            if ran.text() == "inside" { Ok(()) } else { Err(format!("{ran:?}")) }
        }),
        operation("exec -i reads standard input", |t| {
            t.sleeper(&[])?;
            t.call_with("a\nb\n", &["exec", "-i", t.name(), "wc", "-l"])?.prints("2")
        }),
        operation("exec -t gives a terminal", |t| {
            t.sleeper(&[])?;
            t.call(["exec", "-t", t.name(), "sh", "-c", "test -t 1 && tty"])?.shows(&["/dev/"])
        }),
        operation("exec -it is interactive", |t| {
            t.sleeper(&[])?;
            let words = ["exec", "-it", t.name(), "sh", "-c", "read x; echo got $x"];
            t.call_on_terminal("typed\n", &words)?.shows(&["got typed"])
        }),
        operation("exec -u, -w and -e", |t| {
            t.sleeper(&[])?;
            let script = "id -u; id -g; pwd; echo $GREETING";
            let options = ["exec", "-u", "1000:1000", "-w", "/tmp", "-e", "GREETING=hi"];
            t.call(options.into_iter().chain([t.name(), "sh", "-c", script]))?
                .prints("1000\n1000\n/tmp\nhi")
        }),
        operation("exec -d returns at once", |t| {
            t.sleeper(&[])?;
            t.call(["exec", "-d", t.name(), "sh", "-c", "echo done >/tmp/mark"])?.ok()?;
            until(|| t.call(["exec", t.name(), "cat", "/tmp/mark"])?.prints("done"))
        }),
        operation("exec --privileged has all capabilities", |t| {
            t.sleeper(&[])?;
            let own = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            let bounding = own.lines().find_map(|line| line.strip_prefix("CapBnd:\t"));
            let words = ["exec", "--privileged", t.name(), "grep", "CapEff", "/proc/self/status"];
            t.call(words)?.shows(&[bounding.unwrap_or("CapBnd")])
        }),
        operation("five exec at once", |t| {
            t.sleeper(&[])?;
            std::thread::scope(|scope| {
                let calls: Vec<_> = (0..5)
                    .map(|number: u8| {
                        let number = number.to_string();
                        scope.spawn(move || {
                            t.call(["exec", t.name(), "echo", &number])?.prints(&number)
                        })
                    })
                    .collect();
                calls.into_iter().try_for_each(|call| call.join().map_err(|_| "a thread")?)
            })
        }),
    ]
}

fn controlling() -> Vec<Operation> {
    vec![
        operation("pause and unpause", |t| {
            let dots = "while :; do echo . >>/tmp/dots; usleep 20000; done";
            t.start(&["-v", &format!("{}:/tmp", t.scratch().display())], &["sh", "-c", dots])?;
            let length =
                || std::fs::metadata(t.scratch().join("dots")).map_or(0, |file| file.len());
            until(|| if length() > 0 { Ok(()) } else { Err("it does not begin".to_owned()) })?;
            t.call(["pause", t.name()])?.ok()?;
            t.wait_for(".State.Status", "paused")?;
            let before = length();
            std::thread::sleep(std::time::Duration::from_millis(200));
            let while_paused = length();
            t.call(["unpause", t.name()])?.ok()?;
            if while_paused != before {
                return Err("it went on while it was paused".to_owned());
            }
            until(|| if length() > before { Ok(()) } else { Err("it does not go on".to_owned()) })
        }),
        operation("exec in a paused container fails", |t| {
            t.sleeper(&[])?;
            t.call(["pause", t.name()])?.ok()?;
            let ended = t.call(["exec", t.name(), "true"])?.fails_with(&[
                "paused",
                "not running",
                "state improper",
            ]);
            t.call(["unpause", t.name()])?.ok()?;
            ended
        }),
        operation("rm -f ends a paused container", |t| {
            t.sleeper(&[])?;
            t.call(["pause", t.name()])?.ok()?;
            t.call(["rm", "-f", t.name()])?.ok()?;
            t.call(["inspect", t.name()])?.fails_with(&["no such"])
        }),
    ]
}

fn updating() -> Vec<Operation> {
    vec![
        operation("update changes the limit on memory", |t| {
            t.sleeper(&["--memory", "64m"])?;
            t.call(["update", "--memory", "32m", "--memory-swap", "32m", t.name()])?.ok()?;
            t.call(["exec", t.name(), "sh", "-c", MEMORY_LIMIT])?.prints("33554432")
        })
        .only(Kind::Docker),
        operation("update changes the share of processors", |t| {
            t.sleeper(&[])?;
            t.call(["update", "--cpu-shares", "512", t.name()])?.ok()?;
            t.call(["exec", t.name(), "cat", "/sys/fs/cgroup/cpu/cpu.shares"])?.prints("512")
        })
        .only(Kind::Docker),
        operation("update changes the limit on processes", |t| {
            t.sleeper(&["--pids-limit", "50"])?;
            let files = "cat /sys/fs/cgroup/*/pids.max /sys/fs/cgroup/pids.max";
            for (option, expected) in [("40", "40"), ("-1", "max"), ("30", "30")] {
                t.call(["update", "--pids-limit", option, t.name()])?.ok()?;
                let seen = t.call(["exec", t.name(), "sh", "-c", files])?.text();
                if seen != expected {
                    return Err(format!("{option}: the limit is {seen:?}"));
                }
            }
            Ok(())
        })
        .only(Kind::Docker),
    ]
}

fn watching() -> Vec<Operation> {
    vec![
        operation("stats shows one process and its memory", |t| {
            t.sleeper(&["--memory", "64m"])?;
            let format = "{{.Name}} {{.MemUsage}}";
            t.call(["stats", "--no-stream", "--format", format, t.name()])?
                .shows(&[t.name(), " / "])
        }),
        operation("top lists the processes", |t| {
            t.sleeper(&[])?;
            t.call(["top", t.name()])?.shows(&["sleep"])
        }),
        operation("logs shows both streams", |t| {
            t.start(&[], &["sh", "-c", "echo out; echo err >&2"])?;
            t.call(["wait", t.name()])?.prints("0")?;
            until(|| {
                let ran = t.call(["logs", t.name()])?.ok()?;
                match (ran.text().as_str(), ran.error_text().as_str()) {
                    ("out", "err") => Ok(()),
                    seen => Err(format!("the log has {seen:?}")),
                }
            })
        }),
        operation("logs -f follows to the end", |t| {
            t.start(&[], &["sh", "-c", "echo one; usleep 300000; echo two"])?;
            t.call(["logs", "-f", t.name()])?.prints("one\ntwo")
        }),
        operation("attach follows to the end", |t| {
            t.start(&[], &["sh", "-c", "usleep 700000; echo late"])?;
            t.call(["attach", "--no-stdin", t.name()])?.prints("late")
        }),
        operation("events of a limit on memory: OOM", |t| {
            // containerd begins to listen only when the container runs, and drops what it has not read when the cgroup goes: the
            // container gives it time for both.
            let eat = "usleep 500000; dd if=/dev/zero of=/dev/null bs=400M count=1; code=$?; usleep 500000; exit $code";
            t.start(&["--memory", "24m", "--memory-swap", "24m"], &["sh", "-c", eat])?;
            let code = t.call(["wait", t.name()])?.ok()?.text();
            t.wait_for(".State.OOMKilled", "true").map_err(|why| format!("status {code}: {why}"))
        })
        .only(Kind::Docker),
        operation("cp in and out", |t| {
            t.sleeper(&[])?;
            let file = t.scratch().join("file");
            std::fs::write(&file, "copied").map_err(|error| error.to_string())?;
            let inside = format!("{}:/tmp/file", t.name());
            t.call(["cp", &file.display().to_string(), &inside])?.ok()?;
            t.call(["exec", t.name(), "cat", "/tmp/file"])?.prints("copied")?;
            let back = t.scratch().join("back");
            t.call(["cp", &inside, &back.display().to_string()])?.ok()?;
            let text = std::fs::read_to_string(back).map_err(|error| error.to_string())?;
            if text == "copied" { Ok(()) } else { Err(format!("{text:?} came back")) }
        }),
    ]
}

/// The file is called differently on v1 and v2.
pub(super) const MEMORY_LIMIT: &str =
    "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max";

/// Ends with 9 when it gets SIGTERM, and says when it is ready for it.
const POLITE: &str = "trap 'exit 9' TERM; echo ready; while :; do usleep 20000; done";

fn ending() -> Vec<Operation> {
    fn ready(t: &Trial) -> Result<(), String> {
        until(|| t.call(["logs", t.name()])?.shows(&["ready"]))
    }
    vec![
        operation("stop sends SIGTERM", |t| {
            t.start(&[], &["sh", "-c", POLITE])?;
            ready(t)?;
            t.call(["stop", "-t", "30", t.name()])?.ok()?;
            t.wait_for(".State.ExitCode", "9")
        }),
        operation("stop kills what ignores SIGTERM", |t| {
            t.start(
                &[],
                &["sh", "-c", "trap '' TERM; echo ready; while :; do usleep 20000; done"],
            )?;
            ready(t)?;
            t.call(["stop", "-t", "1", t.name()])?.ok()?;
            t.wait_for(".State.ExitCode", "137")
        }),
        operation("kill -s KILL", |t| {
            t.sleeper(&[])?;
            t.call(["kill", t.name()])?.ok()?;
            t.wait_for(".State.ExitCode", "137")
        }),
        operation("kill -s HUP reaches the program", |t| {
            let script = "trap 'exit 3' HUP; echo ready; while :; do usleep 20000; done";
            t.start(&[], &["sh", "-c", script])?;
            ready(t)?;
            t.call(["kill", "-s", "HUP", t.name()])?.ok()?;
            t.call(["wait", t.name()])?.prints("3")
        }),
        operation("wait returns the exit status", |t| {
            t.start(&[], &["sh", "-c", "exit 11"])?;
            t.call(["wait", t.name()])?.prints("11")
        }),
        operation("restart starts another process", |t| {
            t.sleeper(&[])?;
            let before = t.inspect(".State.Pid")?;
            t.call(["restart", "-t", "0", t.name()])?.ok()?;
            t.wait_for(".State.Running", "true")?;
            let after = t.inspect(".State.Pid")?;
            if before == after { Err(format!("the pid is still {after}")) } else { Ok(()) }
        }),
        operation("a stopped container starts again with its files", |t| {
            t.start(&[], &["sh", "-c", "cat /mark; echo kept >/mark"])?;
            t.call(["wait", t.name()])?.ok()?;
            t.call(["start", "-a", t.name()])?.prints("kept")
        }),
        operation("rm -f ends a running container", |t| {
            t.sleeper(&[])?;
            let pid = t.inspect(".State.Pid")?;
            t.call(["rm", "-f", t.name()])?.ok()?;
            let alive = std::path::PathBuf::from(format!("/proc/{pid}/exe"));
            until(|| if alive.exists() { Err(format!("process {pid} lives")) } else { Ok(()) })
        }),
        operation("--restart on-failure starts it again", |t| {
            t.start(&["--restart", "on-failure:2"], &["sh", "-c", "echo again; exit 1"])?;
            until(|| t.call(["logs", t.name()])?.prints("again\nagain\nagain"))
        }),
    ]
}
