//! A gigabyte through a log, and a gigabyte out of a container.

use std::fs;
use std::process::{Command, Stdio};

use super::Plan;
use super::arena::Arena;
use super::measure::{last_line, measure};
use super::report::{Bar, Series, Table};

/// How much slower than the tool that does nothing else.
const MOST: f64 = 1.3;

/// `logs` beside `cat` of the same text, both into a pipe.
pub(super) fn logs(arena: &Arena, plan: &Plan, progress: &dyn Fn(&str)) -> Vec<Table> {
    let title = format!("logs of {} MB", plan.bytes / 1_000_000);
    progress("writing a log");
    let line = "a line of a log that says what a service has just done, and for whom";
    let script = format!("yes '{line}' | head -c {}", plan.bytes);
    let image = arena.image();
    let ours = arena.ours();
    let size = format!("max-size={}", plan.bytes * 4);
    let written = quietly(ours.command([
        "run",
        "--name",
        "logged",
        "--network",
        "none",
        "--log-opt",
        &size,
        &image,
        "sh",
        "-c",
        &script,
    ]));
    if let Err(why) = written {
        return vec![Table::failed(&title, &why)];
    }
    let text = arena.path().join("text");
    let saved = into(&ours.command(["logs", "logged"]), "cat >\"$TO\"", &text);
    if let Err(why) = quietly(saved) {
        return vec![Table::failed(&title, &why)];
    }
    let (mut own, mut cat) = (Series::new("nman logs"), Series::new("cat"));
    let rounds = plan.few().max(3);
    for round in 0..=rounds {
        progress(&format!("logs {round}/{rounds}"));
        let logs = into(&ours.command(["logs", "logged"]), "cat >/dev/null", &text);
        own.push(round, || measure(logs, arena.path(), &arena.daemons));
        let mut plain = Command::new("cat");
        plain.arg(&text);
        cat.push(round, || {
            measure(into(&plain, "cat >/dev/null", &text), arena.path(), &arena.daemons)
        });
    }
    let _ = quietly(ours.command(["rm", "-f", "logged"]));
    let _ = fs::remove_file(&text);
    vec![Table::of_series(&title, &[own.clone(), cat.clone()], bars(&own, &cat, "cat"))]
}

/// `cp` of a file out of a container, beside `cp` of the same file on the host.
pub(super) fn copy(arena: &Arena, plan: &Plan, progress: &dyn Fn(&str)) -> Vec<Table> {
    let title = format!("cp of {} MB out of a container", plan.bytes / 1_000_000);
    progress("writing a file");
    let image = arena.image();
    let ours = arena.ours();
    let script = format!("head -c {} /dev/urandom >/file", plan.bytes);
    let args = ["run", "--name", "copied", "--network", "none", &image, "sh", "-c", &script];
    let (target, plain) = (arena.path().join("target"), arena.path().join("plain"));
    let first = || {
        quietly(ours.command(args))?;
        let to = plain.to_string_lossy();
        quietly(ours.command(["cp", "copied:/file", &to]))
    };
    if let Err(why) = first() {
        let _ = quietly(ours.command(["rm", "-f", "copied"]));
        return vec![Table::failed(&title, &why)];
    }
    let (mut own, mut cp) = (Series::new("nman cp"), Series::new("cp"));
    let rounds = plan.few().max(3);
    for round in 0..=rounds {
        progress(&format!("cp {round}/{rounds}"));
        let to = target.to_string_lossy();
        let command = ours.command(["cp", "copied:/file", &to]);
        own.push(round, || measure(command, arena.path(), &arena.daemons));
        let _ = fs::remove_file(&target);
        let mut command = Command::new("cp");
        command.arg(&plain).arg(&target);
        cp.push(round, || measure(command, arena.path(), &arena.daemons));
        let _ = fs::remove_file(&target);
    }
    let _ = quietly(ours.command(["rm", "-f", "copied"]));
    let _ = fs::remove_file(&plain);
    vec![Table::of_series(&title, &[own.clone(), cp.clone()], bars(&own, &cp, "cp"))]
}

fn bars(own: &Series, tool: &Series, name: &str) -> Vec<Bar> {
    match (own.wall(), tool.wall()) {
        (Some(own), Some(tool)) => {
            vec![Bar::ratio(&format!("wall, at most 1.3x of {name}'s"), own, tool, MOST)]
        }
        _ => Vec::new(),
    }
}

/// A command whose output goes through a pipe, into what a shell does with it.
fn into(command: &Command, then: &str, to: &std::path::Path) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("\"$@\" | {then}"), "sh"]).env("TO", to);
    shell.arg(command.get_program()).args(command.get_args());
    for (variable, value) in command.get_envs() {
        shell.env(variable, value.unwrap_or_default());
    }
    shell
}

fn quietly(mut command: Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).output();
    let output = output.map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(last_line(&String::from_utf8_lossy(&output.stderr))),
    }
}
