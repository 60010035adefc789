//! config.md, process.terminal and consoleSize; the console socket.

use crate::fixture::{Console, Terminal};
use crate::suite::case::{Finding, Topic, contract, must};
use crate::suite::expect::{contains, holds, same};
use crate::suite::trial::Trial;
use serde_json::json;

pub(super) const TERMINAL: Topic = Topic {
    name: "terminal",
    title: "the container's terminal and where its other side goes",
    section: "config.md#process",
    cases: &[
        must("standard input, output and error are the terminal", |t| {
            let seen = shown(t, "for fd in 0 1 2; do [ -t $fd ] || echo no $fd; done; tty", &[])?;
            holds(!seen.contains("no "), "a terminal on 0, 1 and 2", &seen)?;
            contains("the name of the terminal", &seen, "/dev/pts/")
        }),
        must("/dev/console is the terminal", |t| {
            contains(
                "the output",
                &shown(t, "echo on the console >/dev/console", &[])?,
                "on the console",
            )
        }),
        must("the terminal has the size of consoleSize", |t| {
            let size = json!({"height": 33, "width": 99});
            let seen = shown(t, "stty size", &[("/process/consoleSize", size)])?;
            contains("rows and columns", &seen, "33 99")
        }),
        must("consoleSize is ignored where there is no terminal", |t| {
            let size = json!({"height": 33, "width": 99});
            let seen =
                t.shell(t.bundle().set("/process/consoleSize", size), "[ -t 1 ] || echo none")?;
            same("the terminal", "none", seen.as_str())
        })
        .rootless(),
        contract("the process has the terminal as its controlling one", |t| {
            contains("the output", &shown(t, "echo through tty >/dev/tty", &[])?, "through tty")
        }),
        contract("what is typed reaches the process", |t| {
            let console = Console::listen();
            let bundle = t
                .bundle()
                .set("/process/terminal", true)
                .shell("read word; echo \"got <$word>\"; sleep 60");
            let path = console.path().display().to_string();
            let live = t.create_with(&bundle, &["--console-socket", &path])?;
            let mut terminal = console.receive();
            live.start()?;
            terminal.type_in("hello\n");
            contains("the output", terminal.expect("got <"), "got <")?;
            contains("the output", terminal.expect("hello>"), "got <hello>")
        }),
        contract("a terminal without a console socket is refused by create", |t| {
            t.refused(&t.bundle().set("/process/terminal", true), "nobody takes the other side")
                .map(drop)
        })
        .rootless(),
        contract("an exec with a terminal sends it to the console socket", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            let console = Console::listen();
            let path = console.path().display().to_string();
            let options = ["--tty", "--detach", "--console-socket", &path];
            let output = live.try_exec(&options, &["sh", "-c", "tty; exec sleep 0.1"])?;
            holds(output.success(), "success", &output.to_string())?;
            let mut terminal = console.receive();
            contains("the output", terminal.expect("/dev/pts/"), "/dev/pts/")?;
            // Its end: a child of this process by now, for which the container's own end would wait.
            let _ = terminal.read_to_end();
            t.reap();
            Ok(())
        }),
    ],
};

/// What a script shows on its terminal until it ends.
fn shown(t: &Trial, script: &str, fields: &[(&str, serde_json::Value)]) -> Result<String, Finding> {
    let console = Console::listen();
    let mut bundle = t.bundle().set("/process/terminal", true).shell(script);
    for (pointer, value) in fields {
        bundle = bundle.set(pointer, value.clone());
    }
    let path = console.path().display().to_string();
    let live = t.create_with(&bundle, &["--console-socket", &path])?;
    let mut terminal: Terminal = console.receive();
    live.start()?;
    Ok(terminal.read_to_end().to_owned())
}
