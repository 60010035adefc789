//! A gigabyte through a log, and a gigabyte out of a container.

use std::fs;
use std::process::{Command, Stdio};

use super::Plan;
use super::arena::Arena;
use super::measure::{last_line, measure};
use super::report::{Bar, Series, Table};

/// How much slower than the tool that does nothing else.
const MOST: f64 = 1.3;

/// The drivers of a log: the default one and Docker's lines.
const DRIVERS: [&str; 2] = ["local", "json-file"];

/// `logs` beside `cat`, both into a pipe: of the same text for the default driver, and of the file that the log is in for
/// Docker's lines, which are twice as long.
pub(super) fn logs(arena: &Arena, plan: &Plan, progress: &dyn Fn(&str)) -> Vec<Table> {
    DRIVERS.map(|driver| logs_of(driver, arena, plan, progress)).into()
}

fn logs_of(driver: &str, arena: &Arena, plan: &Plan, progress: &dyn Fn(&str)) -> Table {
    let title = format!("logs of {} MB, driver {driver}", plan.bytes / 1_000_000);
    progress("writing a log");
    let name = format!("logged-{driver}");
    let ours = arena.ours();
    let logs = ours.command(["logs", &name]);
    let text = arena.path().join("text");
    let written = write_log(driver, &name, arena, plan).and_then(|()| {
        let save = if driver == "json-file" {
            let mut path = ours.command(["inspect", "--format", "{{.LogPath}}", &name]);
            let path = path.output().map_err(|error| error.to_string())?.stdout;
            let mut copy = Command::new("cat");
            copy.arg(String::from_utf8_lossy(&path).trim());
            into(&copy, "cat >\"$TO\"", &text)
        } else {
            into(&logs, "cat >\"$TO\"", &text)
        };
        quietly(save)
    });
    if let Err(why) = written {
        return Table::failed(&title, &why);
    }
    let (mut own, mut cat) = (Series::new("nman logs"), Series::new("cat"));
    let rounds = plan.few().max(3);
    for round in 0..=rounds {
        progress(&format!("{title} {round}/{rounds}"));
        let logs = into(&logs, "cat >/dev/null", &text);
        own.push(round, || measure(logs, arena.path(), &arena.daemons));
        let mut plain = Command::new("cat");
        plain.arg(&text);
        cat.push(round, || {
            measure(into(&plain, "cat >/dev/null", &text), arena.path(), &arena.daemons)
        });
    }
    let _ = quietly(ours.command(["rm", "-f", &name]));
    let _ = fs::remove_file(&text);
    Table::of_series(&title, &[own.clone(), cat.clone()], bars(&own, &cat, "cat"))
}

/// A container that has written the text of the benchmark, and nothing was put aside of it.
fn write_log(driver: &str, name: &str, arena: &Arena, plan: &Plan) -> Result<(), String> {
    let line = "a line of a log that says what a service has just done, and for whom";
    let script = format!("yes '{line}' | head -c {}", plan.bytes);
    let (image, size) = (arena.image(), format!("max-size={}", plan.bytes * 4));
    let mut run = arena.ours().command(["run", "--name", name, "--network", "none"]);
    run.args(["--log-driver", driver, "--log-opt", &size, &image, "sh", "-c", &script]);
    quietly(run)
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
