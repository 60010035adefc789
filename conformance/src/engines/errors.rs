//! Docker and Podman: what goes wrong, and the exit statuses by which scripts tell it.

use super::trial::{Operation, operation};

pub(super) fn operations() -> Vec<Operation> {
    [of_run(), of_others(), of_states()].concat()
}

fn of_run() -> Vec<Operation> {
    vec![
        operation("run of a missing program: 127", |t| {
            t.run(&[], &["no-such-program"])?.exits(127).map(drop)
        }),
        operation("run of a missing path: 127", |t| {
            t.run(&[], &["/no/such/program"])?.exits(127).map(drop)
        }),
        operation("run of a file that is not executable: 126", |t| {
            t.run(&[], &["/bin/forbidden"])?.exits(126).map(drop)
        }),
        operation("run of a directory: 126", |t| t.run(&[], &["/etc"])?.exits(126).map(drop)),
        operation("run of a file that is no program fails", |t| {
            t.run(&[], &["/bin/alien"])?.fails_with(&["exec format error"])
        }),
        operation("run in a directory that is a file fails", |t| {
            t.run(&["-w", "/etc/passwd"], &["true"])?.fails_with(&[
                "not a directory",
                "cwd",
                "chdir",
            ])
        }),
        operation("run as an unknown user fails", |t| {
            let said = ["unable to find user", "no matching entries"];
            t.run(&["--user", "nobody-at-all"], &["true"])?.fails_with(&said)
        }),
        operation("run of an unknown image: 125", |t| {
            t.call(["run", "--rm", "--pull", "never", "localhost/none:none", "true"])?
                .exits(125)
                .map(drop)
        }),
        operation("-v of a missing source fails", |t| {
            let mount = "type=bind,source=/no/such/directory,target=/data";
            t.run(&["--mount", mount], &["true"])?.exits(125).map(drop)
        }),
        // Docker asks whether that was meant, and does not try again, where it finds these words.
        operation("a file mounted on a directory fails", |t| {
            let mount = "type=bind,source=/etc/passwd,target=/etc";
            t.run(&["--mount", mount], &["true"])?.fails_with(&["not a directory"])
        }),
        operation("a program that is killed: 137", |t| {
            t.run(&["--pid", "host"], &["sh", "-c", "kill -9 $$"])?.exits(137).map(drop)
        }),
    ]
}

fn of_others() -> Vec<Operation> {
    vec![
        operation("exec of a missing program: 127", |t| {
            t.sleeper(&[])?;
            t.call(["exec", t.name(), "no-such-program"])?.exits(127).map(drop)
        }),
        operation("exec of a file that is not executable: 126", |t| {
            t.sleeper(&[])?;
            t.call(["exec", t.name(), "/bin/forbidden"])?.exits(126).map(drop)
        }),
        operation("exec of a directory: 126", |t| {
            t.sleeper(&[])?;
            t.call(["exec", t.name(), "/etc"])?.exits(126).map(drop)
        }),
        operation("exec in a missing directory fails", |t| {
            t.sleeper(&[])?;
            t.call(["exec", "-w", "/no/such/place", t.name(), "true"])?
                .fails_with(&["no such file or directory", "chdir"])
        }),
        operation("exec as an unknown user fails", |t| {
            t.sleeper(&[])?;
            let said = ["unable to find user", "no matching entries"];
            t.call(["exec", "-u", "nobody-at-all", t.name(), "true"])?.fails_with(&said)
        }),
    ]
}

fn of_states() -> Vec<Operation> {
    vec![
        operation("exec in a stopped container fails", |t| {
            t.start(&[], &["true"])?;
            t.call(["wait", t.name()])?.ok()?;
            let said = ["is not running", "container state improper", "only created, running"];
            t.call(["exec", t.name(), "true"])?.fails_with(&said)
        }),
        operation("kill of a stopped container fails", |t| {
            t.start(&[], &["true"])?;
            t.call(["wait", t.name()])?.ok()?;
            let said = ["is not running", "container state improper", "can only kill running"];
            t.call(["kill", t.name()])?.fails_with(&said)
        }),
        operation("pause of a stopped container fails", |t| {
            t.start(&[], &["true"])?;
            t.call(["wait", t.name()])?.ok()?;
            t.call(["pause", t.name()])?.fails_with(&[
                "not running",
                "is not paused",
                "state improper",
            ])
        }),
        operation("rm of a running container fails", |t| {
            t.sleeper(&[])?;
            t.call(["rm", t.name()])?.fails_with(&["cannot remove", "you cannot remove"])
        }),
        operation("a name that is taken: 125", |t| {
            t.sleeper(&[])?;
            t.call(t.run_words(&["-d"], &["true"]))?.exits(125).map(drop)
        }),
        operation("commands on an unknown container fail", |t| {
            let said = ["no such container", "no such object", "no container with name"];
            for command in ["start", "stop", "kill", "pause", "logs", "top", "rm", "wait"] {
                t.call([command, "no-such-container"])?
                    .fails_with(&said)
                    .map_err(|why| format!("{command}: {why}"))?;
            }
            t.call(["exec", "no-such-container", "true"])?.fails_with(&said)
        }),
    ]
}
