//! One container after the other: without a network, and on a bridge with a published port.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Plan;
use super::arena::Arena;
use super::engine::Kind;
use super::measure::{Measured, measure};
use super::report::{Bar, Series, Table, millis};
use crate::fixture::{BundleDir, Runtime, find_tool};

/// `run --rm IMAGE true` without a network, beside the runtime alone.
pub(super) fn without_network(arena: &Arena, plan: &Plan, progress: &dyn Fn(&str)) -> Vec<Table> {
    let image = arena.image();
    let runtime = Runtime::at(&plan.runtime);
    let bundle = BundleDir::new().args(["true"]);
    let mut series: Vec<Series> =
        arena.engines.iter().map(|engine| Series::new(engine.kind.name())).collect();
    let mut alone = Series::new("nrun run alone");
    for round in 0..=plan.runs {
        progress(&format!("run without a network {round}/{}", plan.runs));
        for (engine, series) in arena.engines.iter().zip(&mut series) {
            let name = format!("start-{round}");
            series.push(round, || sample(arena, engine.run(&image, &name)));
        }
        let mut command = Command::new(&plan.runtime);
        command.arg("--root").arg(runtime.root()).arg("run").arg("--bundle").arg(bundle.path());
        command.arg(runtime.new_id());
        alone.push(round, || sample(arena, command));
    }
    let bars = bars_of_start(&series, &alone);
    series.push(alone);
    vec![Table::of_series("run --rm IMAGE true, no network", &series, bars)]
}

fn sample(arena: &Arena, command: Command) -> Measured {
    measure(command, arena.path(), &arena.daemons)
}

fn bars_of_start(series: &[Series], alone: &Series) -> Vec<Bar> {
    let wall = |kind: Kind| {
        let own = series.iter().find(|series| series.name == kind.name())?;
        own.wall()
    };
    let mut bars = Vec::new();
    for (kind, times) in [(Kind::Podman, 12), (Kind::Docker, 12), (Kind::Ctr, 6)] {
        if let (Some(ours), Some(peer)) = (wall(Kind::Nman), wall(kind)) {
            bars.push(Bar::ratio(
                &format!("wall, at most 1/{times} of {}'s", kind.name()),
                ours,
                peer,
                1.0 / f64::from(times),
            ));
        }
    }
    if let (Some(ours), Some(alone)) = (series[0].cpu(), alone.cpu()) {
        bars.push(Bar::ratio("CPU, at most 2.5x of `nrun run` alone", ours, alone, 2.5));
    }
    bars
}

/// The most that a bridge and a port may add.
const NETWORK: Duration = Duration::from_millis(8);

/// The same on a bridge with a published port, interleaved with nman's without: the difference is what counts.
pub(super) fn on_a_bridge(arena: &Arena, plan: &Plan, progress: &dyn Fn(&str)) -> Vec<Table> {
    let image = arena.image();
    let mut series: Vec<Series> =
        arena.engines.iter().map(|engine| Series::new(engine.kind.name())).collect();
    let mut without = Series::new("nman without a network");
    for round in 0..=plan.runs {
        progress(&format!("run on a bridge {round}/{}", plan.runs));
        for (port, (engine, series)) in (8080..).zip(arena.engines.iter().zip(&mut series)) {
            if let Some(command) = engine.run_published(&image, port) {
                series.push(round, || sample(arena, command));
            }
        }
        without.push(round, || sample(arena, arena.ours().run(&image, "")));
    }
    let mut bars = Vec::new();
    if let (Some(with), Some(without)) = (series[0].wall(), without.wall()) {
        let more = with.saturating_sub(without);
        bars.push(Bar::new(
            "wall, at most 8 ms more than without a network",
            format!("{} ms", millis(more)),
            more <= NETWORK,
        ));
    }
    bars.extend(processes(arena, &image));
    series.push(without);
    vec![Table::of_series("run --rm -p PORT:80 IMAGE true, on a bridge", &series, bars)]
}

/// A network must not cost a process: executions with and without one, counted by strace.
fn processes(arena: &Arena, image: &str) -> Option<Bar> {
    find_tool("strace")?;
    let with = executions(arena, &arena.ours().run_published(image, 8079)?, "with")?;
    let without = executions(arena, &arena.ours().run(image, ""), "without")?;
    Some(Bar::new(
        "no process is started for the network",
        format!("{with} executions, {without} without it"),
        with == without,
    ))
}

fn executions(arena: &Arena, command: &Command, name: &str) -> Option<usize> {
    let log = arena.path().join(format!("executions-{name}"));
    let mut traced = Command::new("strace");
    traced.args(["-f", "-q", "-e", "trace=execve", "-o"]).arg(&log);
    traced.arg(command.get_program()).args(command.get_args());
    for (variable, value) in command.get_envs() {
        traced.env(variable, value.unwrap_or_default());
    }
    measure(traced, arena.path(), &arena.daemons).ok()?;
    count(&log)
}

fn count(log: &Path) -> Option<usize> {
    let text = fs::read_to_string(log).ok()?;
    Some(text.lines().filter(|line| line.contains("execve(") && line.ends_with("= 0")).count())
}
