//! What was measured, as a table for people and as JSON for programs, with the bars judged.

use std::fmt;
use std::fs;
use std::time::Duration;

use serde::Serialize;

use super::{Calls, Case, Contender, Sample};
use crate::fixture::cgroups;

/// The runtime that the bars are for.
const OURS: &str = "nrun";
/// Most system calls that a `create` of ours may make.
const MOST_CALLS: usize = 400;
/// Processes in a `create`: the caller and the container's own.
const MOST_TASKS: usize = 2;

/// All results of one comparison.
#[derive(Debug, Serialize)]
pub struct Report {
    kernel: String,
    processors: usize,
    cgroups: &'static str,
    load: String,
    runs: usize,
    /// What the same measurement says of `busybox true`: less than this cannot be seen.
    peak_floor_kib: u64,
    runtimes: Vec<Entry>,
}

/// The results of one runtime.
#[derive(Debug, Serialize)]
pub struct Entry {
    name: String,
    program: String,
    version: String,
    cases: Vec<Summary>,
    create: Option<Calls>,
}

/// The samples of one case, in microseconds and KiB.
#[derive(Debug, Serialize)]
pub struct Summary {
    case: &'static str,
    wall_min: u128,
    wall_median: u128,
    cpu_min: u128,
    cpu_median: u128,
    peak_kib: u64,
}

impl Report {
    /// An empty report with the facts that decide what the numbers mean.
    #[must_use]
    pub fn of_this_machine(runs: usize, peak_floor_kib: u64) -> Self {
        let uname = rustix::system::uname();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            kernel: uname.release().to_string_lossy().into_owned(),
            processors: std::thread::available_parallelism().map_or(1, Into::into),
            cgroups: cgroup_layout(),
            load: load.split(' ').take(3).collect::<Vec<_>>().join(" "),
            runs,
            peak_floor_kib,
            runtimes: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, contender: &Contender, case: Case, samples: &[Sample]) {
        self.entry(contender).cases.push(Summary::of(case, samples));
    }

    pub(super) fn add_calls(&mut self, contender: &Contender, calls: Calls) {
        self.entry(contender).create = Some(calls);
    }

    fn entry(&mut self, contender: &Contender) -> &mut Entry {
        let program = contender.program.display().to_string();
        let index = self.runtimes.iter().position(|entry| entry.program == program);
        let index = index.unwrap_or_else(|| {
            self.runtimes.push(Entry {
                name: contender.name.clone(),
                program,
                version: contender.version.clone(),
                cases: Vec::new(),
                create: None,
            });
            self.runtimes.len() - 1
        });
        &mut self.runtimes[index]
    }

    fn named(&self, name: &str) -> Option<&Entry> {
        self.runtimes.iter().find(|entry| entry.name == name)
    }

    fn bars(&self) -> Vec<Bar> {
        let Some(ours) = self.named(OURS) else { return Vec::new() };
        let mut bars = Vec::new();
        if let Some(create) = &ours.create {
            bars.push(Bar::most("system calls of a create", create.calls, MOST_CALLS));
            bars.push(Bar::most("reads of a mount table in a create", create.mountinfo, 0));
            bars.push(Bar::most("tasks of a create", create.tasks, MOST_TASKS));
        }
        if let Some((own, runc)) = both(ours, self.named("runc"), Case::Lifecycle) {
            bars.push(Bar {
                what: "CPU of create+start+delete, at most a third of runc's",
                value: format!("{:.2}", own.cpu_median as f64 / runc.cpu_median.max(1) as f64),
                met: own.cpu_median * 3 <= runc.cpu_median,
            });
        }
        if let Some((own, crun)) = both(ours, self.named("crun"), Case::Run) {
            bars.push(Bar {
                what: "peak memory of a run, below crun's",
                value: format!("{} KiB to {} KiB", own.peak_kib, crun.peak_kib),
                met: own.peak_kib < crun.peak_kib,
            });
        }
        bars
    }
}

/// The summaries of two runtimes in one case, where both have it.
fn both<'a>(
    ours: &'a Entry,
    peer: Option<&'a Entry>,
    case: Case,
) -> Option<(&'a Summary, &'a Summary)> {
    let find = |entry: &'a Entry| entry.cases.iter().find(|summary| summary.case == case.name());
    Some((find(ours)?, find(peer?)?))
}

impl Summary {
    fn of(case: Case, samples: &[Sample]) -> Self {
        let sorted = |value: fn(&Sample) -> Duration| {
            let mut values: Vec<u128> = samples.iter().map(|s| value(s).as_micros()).collect();
            values.sort_unstable();
            values
        };
        let (wall, cpu) = (sorted(|sample| sample.wall), sorted(|sample| sample.cpu));
        let median = |values: &[u128]| values.get(values.len() / 2).copied().unwrap_or(0);
        let min = |values: &[u128]| values.first().copied().unwrap_or(0);
        Self {
            case: case.name(),
            wall_min: min(&wall),
            wall_median: median(&wall),
            cpu_min: min(&cpu),
            cpu_median: median(&cpu),
            peak_kib: samples.iter().map(|sample| sample.peak_kib).max().unwrap_or(0),
        }
    }
}

/// A bar of the project and how near the runtime came.
struct Bar {
    what: &'static str,
    value: String,
    met: bool,
}

impl Bar {
    fn most(what: &'static str, value: usize, most: usize) -> Self {
        Self { what, value: format!("{value} of {most}"), met: value <= most }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Linux {}, {} processors, cgroups {}, load {}; {} interleaved runs",
            self.kernel, self.processors, self.cgroups, self.load, self.runs
        )?;
        for entry in &self.runtimes {
            writeln!(f, "  {:<6} {} ({})", entry.name, entry.version, entry.program)?;
        }
        for case in Case::ALL.map(Case::name) {
            writeln!(f, "\n{case:<22} wall ms: min  median   CPU ms: min  median   peak KiB")?;
            for entry in &self.runtimes {
                for row in entry.cases.iter().filter(|summary| summary.case == case) {
                    writeln!(
                        f,
                        "  {:<20} {:>12} {:>7} {:>13} {:>7} {:>10}",
                        entry.name,
                        millis(row.wall_min),
                        millis(row.wall_median),
                        millis(row.cpu_min),
                        millis(row.cpu_median),
                        row.peak_kib
                    )?;
                }
            }
        }
        writeln!(
            f,
            "\npeak memory by the same means of `busybox true`: {} KiB",
            self.peak_floor_kib
        )?;
        writeln!(f, "\n{:<22} system calls   tasks   reads of mount tables", "one create")?;
        for entry in &self.runtimes {
            let Some(calls) = &entry.create else { continue };
            let Calls { calls, tasks, mountinfo } = calls;
            writeln!(f, "  {:<20} {calls:>12} {tasks:>7} {mountinfo:>23}", entry.name)?;
        }
        let bars = self.bars();
        if bars.is_empty() {
            return writeln!(f, "\nthe bars are for {OURS}, which is not among the runtimes");
        }
        writeln!(f, "\nbars for {OURS}")?;
        for Bar { what, value, met } in bars {
            writeln!(f, "  {:<6} {what}: {value}", if met { "MET" } else { "missed" })?;
        }
        Ok(())
    }
}

#[allow(clippy::cast_precision_loss, reason = "microseconds of a benchmark are far below 2^52")]
fn millis(micros: u128) -> String {
    format!("{:.2}", micros as f64 / 1000.0)
}

fn cgroup_layout() -> &'static str {
    let mounts = cgroups::hierarchies();
    match (cgroups::unified(), mounts.iter().any(|path| path.ends_with("unified"))) {
        (true, _) => "v2",
        (false, true) => "hybrid",
        (false, false) => "v1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, cpu: u128, peak_kib: u64, calls: usize) -> Entry {
        let cases = Case::ALL.map(|case| Summary {
            case: case.name(),
            wall_min: 1,
            wall_median: 1,
            cpu_min: cpu,
            cpu_median: cpu,
            peak_kib,
        });
        Entry {
            name: name.to_owned(),
            program: format!("/usr/bin/{name}"),
            version: "1".to_owned(),
            cases: cases.into(),
            create: Some(Calls { calls, tasks: 2, mountinfo: 0 }),
        }
    }

    fn verdicts(ours: Entry) -> Vec<bool> {
        let mut report = Report::of_this_machine(1, 0);
        report.runtimes =
            vec![ours, entry("runc", 30_000, 20_000, 5_000), entry("crun", 5_000, 3_200, 900)];
        report.bars().iter().map(|bar| bar.met).collect()
    }

    #[test]
    fn a_bar_is_met_at_its_value_and_missed_beyond_it() {
        assert_eq!(verdicts(entry("nrun", 10_000, 3_199, 400)), [true; 5]);
        let missed = [false, true, true, false, false];
        assert_eq!(verdicts(entry("nrun", 10_001, 3_200, 401)), missed);
    }

    #[test]
    fn without_our_runtime_no_bar_is_judged() {
        assert!(verdicts(entry("youki", 1, 1, 1)).is_empty());
    }

    #[test]
    fn a_summary_has_the_least_and_the_middle_of_the_samples() {
        let sample = |micros| Sample {
            wall: Duration::from_micros(micros),
            cpu: Duration::from_micros(micros * 2),
            peak_kib: micros,
        };
        let summary = Summary::of(Case::Run, &[9, 1, 5].map(sample));
        assert_eq!((summary.wall_min, summary.wall_median), (1, 5));
        assert_eq!((summary.cpu_min, summary.cpu_median, summary.peak_kib), (2, 10, 9));
    }
}
