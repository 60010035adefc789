//! Many containers: started at once, and listed.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use super::Plan;
use super::arena::Arena;
use super::measure::{Sample, children, measure, measure_at_once};
use super::report::{Bar, Series, Table, millis};
use crate::fixture::memory_of;

/// How many are started at once.
const AT_ONCE: usize = 16;

/// 16 at once and 16 in a row: what waiting for each other costs.
pub(super) fn at_once(arena: &Arena, plan: &Plan, progress: &dyn Fn(&str)) -> Vec<Table> {
    let image = arena.image();
    let rounds = plan.few().max(3);
    let mut series = Vec::new();
    let mut bars = Vec::new();
    for engine in &arena.engines {
        let mut at_once = Series::new(&format!("{}, at once", engine.kind.name()));
        let mut in_a_row = Series::new(&format!("{}, in a row", engine.kind.name()));
        for round in 0..=rounds {
            progress(&format!("16 containers of {} {round}/{rounds}", engine.kind.name()));
            let name = |number: usize| format!("crowd-{round}-{number}");
            in_a_row.push(round, || {
                let mut all = Sample::default();
                for number in 0..AT_ONCE {
                    let command = engine.run(&image, &format!("{}-row", name(number)));
                    let one = measure(command, arena.path(), &arena.daemons)?;
                    all.wall += one.wall;
                    all.cpu += one.cpu;
                    all.peak_kib = all.peak_kib.max(one.peak_kib);
                }
                Ok(all)
            });
            at_once.push(round, || {
                let commands =
                    (0..AT_ONCE).map(|number| engine.run(&image, &name(number))).collect();
                measure_at_once(commands, arena.path(), &arena.daemons)
            });
        }
        if let (true, Some(crowd), Some(row)) = (series.is_empty(), at_once.cpu(), in_a_row.cpu()) {
            bars.push(Bar::ratio(
                "CPU of 16 at once, at most 1.3x of 16 in a row",
                crowd,
                row,
                1.3,
            ));
        }
        series.extend([at_once, in_a_row]);
    }
    vec![Table::of_series("16 times run --rm IMAGE true", &series, bars)]
}

/// How many are listed.
const LISTED: usize = 100;
const PS: Duration = Duration::from_millis(15);
/// In KiB: 1.5 MB.
const MONITOR: u64 = 1500;
/// A monitor gives back what starting took a second after that.
const AT_REST: Duration = Duration::from_secs(3);

/// `ps` with 100 running containers, and what the monitor of each takes up.
pub(super) fn ps(arena: &Arena, plan: &Plan, progress: &dyn Fn(&str)) -> Vec<Table> {
    let image = arena.image();
    let ours = arena.ours();
    let mut failure = None;
    for number in 0..LISTED {
        progress(&format!("containers to list {number}/{LISTED}"));
        let name = format!("listed-{number}");
        let mut command = ours.command([
            "run",
            "-d",
            "--name",
            &name,
            "--network",
            "none",
            &image,
            "sleep",
            "100000",
        ]);
        let output = command.stdin(Stdio::null()).output();
        if !output.as_ref().is_ok_and(|output| output.status.success()) {
            failure =
                output.ok().map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
            break;
        }
    }
    std::thread::sleep(AT_REST);
    let monitors = resident_sizes(arena);
    let with_monitors = children();
    let mut series = Series::new("nman ps");
    for round in 0..=plan.runs {
        progress(&format!("ps {round}/{}", plan.runs));
        series.push(round, || match &failure {
            Some(why) => Err(super::measure::last_line(why)),
            None => measure(ours.command(["ps"]), arena.path(), &with_monitors),
        });
    }
    progress("removing what was listed");
    let names: Vec<String> = (0..LISTED).map(|number| format!("listed-{number}")).collect();
    let args = ["rm", "-f"].into_iter().chain(names.iter().map(String::as_str));
    let _ = measure(ours.command(args), arena.path(), &arena.daemons);
    let mut bars = Vec::new();
    if let Some(wall) = series.wall() {
        bars.push(Bar::new("wall of ps, below 15 ms", format!("{} ms", millis(wall)), wall < PS));
    }
    if let (Some(most), false) = (monitors.iter().max(), monitors.is_empty()) {
        let middle = monitors[monitors.len() / 2];
        bars.push(Bar::new(
            "resident memory of a monitor, below 1.5 MB",
            format!("{middle} KiB, {most} at most, of {} monitors", monitors.len()),
            *most < MONITOR,
        ));
    }
    vec![Table::of_series(&format!("nman ps with {LISTED} running containers"), &[series], bars)]
}

/// VmRSS of each monitor, in KiB, the smallest first.
fn resident_sizes(arena: &Arena) -> Vec<u64> {
    let monitors = children().into_iter().filter(|pid| !arena.daemons.contains(pid));
    let resident = |pid: u32| {
        let name = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        if !name.starts_with(b"nman-monitor") {
            return None;
        }
        memory_of(pid.try_into().ok()?, "VmRSS")
    };
    let mut sizes: Vec<u64> = monitors.filter_map(resident).collect();
    sizes.sort_unstable();
    sizes
}
