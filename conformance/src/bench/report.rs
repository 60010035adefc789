//! What was measured, as a table for people and as JSON for programs, with the bars judged.

use std::fmt;
use std::fs;
use std::time::Duration;

use serde::Serialize;

use super::bars::{Bar, OURS, judge};
use super::cases::Counts;
use super::{Calls, Case, FilterCost, Sample};
use crate::contender::Contender;
use crate::fixture::cgroups;

/// All results of one comparison.
#[derive(Debug, Serialize)]
pub struct Report {
    pub(super) kernel: String,
    processors: usize,
    pub(super) cgroups: &'static str,
    /// The averages over 1, 5 and 15 minutes when measuring began, and when it had ended.
    load: [String; 2],
    pub(super) runs: usize,
    /// What the same measurement says of `busybox true`: less than this cannot be seen.
    peak_floor_kib: u64,
    pub(super) runtimes: Vec<Entry>,
    bars: Vec<Bar>,
}

/// The results of one runtime.
#[derive(Debug, Serialize)]
pub struct Entry {
    pub(super) name: String,
    program: String,
    version: String,
    pub(super) bytes: u64,
    pub(super) cases: Vec<Summary>,
    pub(super) counts: Counts,
    pub(super) filter: Option<FilterCost>,
}

/// The samples of one case, in microseconds and KiB.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub(super) case: &'static str,
    wall_min: u128,
    pub(super) wall_median: u128,
    cpu_min: u128,
    pub(super) cpu_median: u128,
    pub(super) peak_kib: u64,
    /// What the runtime said instead of figures.
    pub(super) failure: Option<String>,
}

impl Report {
    /// An empty report with the facts that decide what the numbers mean.
    pub(super) fn of_this_machine(
        runs: usize,
        peak_floor_kib: u64,
        contenders: &[Contender],
    ) -> Self {
        let entry = |contender: &Contender| Entry {
            name: contender.name.clone(),
            program: contender.program.display().to_string(),
            version: contender.version.clone(),
            bytes: fs::metadata(&contender.program).map_or(0, |metadata| metadata.len()),
            cases: Vec::new(),
            counts: Counts::default(),
            filter: None,
        };
        Self {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            processors: std::thread::available_parallelism().map_or(1, Into::into),
            cgroups: cgroup_layout(),
            load: [load(), String::new()],
            runs,
            peak_floor_kib,
            runtimes: contenders.iter().map(entry).collect(),
            bars: Vec::new(),
        }
    }

    /// Adds a row for each kind of sample that the case takes; `rounds` holds one of each kind per round.
    pub(super) fn add(&mut self, runtime: usize, case: Case, rounds: &Rounds) {
        for (kind, row) in case.rows().iter().enumerate() {
            self.add_row(runtime, row, kind, rounds);
        }
    }

    /// Adds one row, of the samples that stand at `kind` in each round.
    pub(super) fn add_row(
        &mut self,
        runtime: usize,
        row: &'static str,
        kind: usize,
        rounds: &Rounds,
    ) {
        let of_kind = |rounds: &[Vec<Sample>]| -> Vec<Sample> {
            rounds.iter().map(|round| round[kind]).collect()
        };
        let (for_time, for_peak) = (of_kind(&rounds.for_time), of_kind(&rounds.for_peak));
        let summary = Summary::of(row, &for_time, &for_peak);
        let summary = Summary { failure: rounds.failure.clone(), ..summary };
        self.runtimes[runtime].cases.push(summary);
    }

    pub(super) fn add_filter(&mut self, runtime: usize, cost: FilterCost) {
        self.runtimes[runtime].filter = Some(cost);
    }

    pub(super) fn add_counts(&mut self, runtime: usize, counts: Counts) {
        self.runtimes[runtime].counts = counts;
    }

    /// Judges the bars, once everything is there.
    pub(super) fn finish(mut self) -> Self {
        self.load[1] = load();
        self.bars = judge(&self.runtimes, self.cgroups == "v2");
        self
    }

    /// Whether nothing at all came of a runtime: the figures of the others say nothing of it.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.runtimes.iter().any(|entry| {
            let cases = entry.cases.iter().map(|summary| summary.failure.is_some());
            let filter = entry.filter.iter().map(|cost| cost.failure.is_some());
            let ends: Vec<bool> = cases.chain(filter).collect();
            // None where no case suits it.
            !ends.is_empty() && ends.iter().all(|failed| *failed)
        })
    }

    /// The rows that any runtime has figures for, in the order in which they were measured.
    pub(super) fn rows(&self) -> impl Iterator<Item = &'static str> {
        let all = Case::ALL.into_iter().flat_map(Case::rows).copied();
        all.filter(|row| self.runtimes.iter().any(|entry| entry.row(row).is_some()))
    }
}

impl Entry {
    /// The figures of a row, if there are any.
    pub(super) fn row(&self, row: &str) -> Option<&Summary> {
        self.cases.iter().find(|summary| summary.case == row && summary.failure.is_none())
    }
}

/// What one runtime did in the rounds of one case: a sample for each of the case's rows, until it failed.
#[derive(Debug, Default, Clone)]
pub(super) struct Rounds {
    pub(super) for_time: Vec<Vec<Sample>>,
    pub(super) for_peak: Vec<Vec<Sample>>,
    pub(super) failure: Option<String>,
}

impl Summary {
    pub(super) fn of(case: &'static str, for_time: &[Sample], for_peak: &[Sample]) -> Self {
        let sorted = |value: fn(&Sample) -> Duration| {
            let mut values: Vec<u128> = for_time.iter().map(|s| value(s).as_micros()).collect();
            values.sort_unstable();
            values
        };
        let (wall, cpu) = (sorted(|sample| sample.wall), sorted(|sample| sample.cpu));
        let median = |values: &[u128]| values.get(values.len() / 2).copied().unwrap_or(0);
        let min = |values: &[u128]| values.first().copied().unwrap_or(0);
        Self {
            case,
            wall_min: min(&wall),
            wall_median: median(&wall),
            cpu_min: min(&cpu),
            cpu_median: median(&cpu),
            peak_kib: for_peak.iter().map(|sample| sample.peak_kib).max().unwrap_or(0),
            failure: None,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, processors, cgroups, load: [before, after], runs, .. } = self;
        writeln!(
            f,
            "Linux {kernel}, {processors} processors, cgroups {cgroups}; {runs} interleaved runs"
        )?;
        writeln!(f, "load average {before} before, {after} after")?;
        for entry in &self.runtimes {
            let Entry { name, version, program, bytes, .. } = entry;
            writeln!(f, "  {name:<6} {version} ({program}, {bytes} bytes)")?;
        }
        for row in Case::ALL.into_iter().flat_map(Case::rows) {
            self.write_row(f, row)?;
        }
        self.write_filters(f)?;
        writeln!(
            f,
            "\npeak memory by the same means of `busybox true`: {} KiB",
            self.peak_floor_kib
        )?;
        self.write_counts(f)?;
        if self.bars.is_empty() {
            return writeln!(f, "\nthe bars are for {OURS}, which is not among the runtimes");
        }
        writeln!(f, "\nbars for {OURS}")?;
        self.bars.iter().try_for_each(|bar| writeln!(f, "  {bar}"))
    }
}

impl Report {
    fn write_row(&self, f: &mut fmt::Formatter<'_>, row: &str) -> fmt::Result {
        let mut title = Some(row);
        for entry in &self.runtimes {
            let Some(summary) = entry.cases.iter().find(|summary| summary.case == row) else {
                continue;
            };
            if let Some(row) = title.take() {
                writeln!(f, "\n{row:<22} wall ms: min  median   CPU ms: min  median   peak KiB")?;
            }
            let Summary { wall_min, wall_median, cpu_min, cpu_median, peak_kib, failure, .. } =
                summary;
            if let Some(why) = failure {
                writeln!(f, "  {:<20} {}", entry.name, why.replace('\n', " "))?;
                continue;
            }
            writeln!(
                f,
                "  {:<20} {:>12} {:>7} {:>13} {:>7} {peak_kib:>10}",
                entry.name,
                millis(*wall_min),
                millis(*wall_median),
                millis(*cpu_min),
                millis(*cpu_median),
            )?;
        }
        Ok(())
    }

    fn write_filters(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut title =
            Some("filter of the profile  install us   ns of a call: allowed  by argument  refused");
        for entry in &self.runtimes {
            let Some(cost) = &entry.filter else { continue };
            if let Some(title) = title.take() {
                writeln!(f, "\n{title}")?;
            }
            let FilterCost { install, allowed, by_argument, refused, failure, .. } = cost;
            let name = &entry.name;
            if let Some(why) = failure {
                writeln!(f, "  {name:<20} {}", why.replace('\n', " "))?;
                continue;
            }
            let install = install / 1000;
            writeln!(f, "  {name:<20} {install:>11} {allowed:>23} {by_argument:>12} {refused:>8}")?;
        }
        Ok(())
    }

    fn write_counts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut title = Some("counts                 system calls   tasks   reads of mount tables");
        for (name, of) in [
            ("create", (|counts| counts.create.as_ref()) as fn(&Counts) -> Option<&Calls>),
            ("run", |counts| counts.run.as_ref()),
            ("exec", |counts| counts.exec.as_ref()),
        ] {
            for entry in &self.runtimes {
                let Some(Calls { calls, tasks, mountinfo }) = of(&entry.counts) else { continue };
                if let Some(title) = title.take() {
                    writeln!(f, "\n{title}")?;
                }
                let label = format!("{name} of {}", entry.name);
                writeln!(f, "  {label:<20} {calls:>12} {tasks:>7} {mountinfo:>23}")?;
            }
        }
        let filters: Vec<String> = (self.runtimes.iter())
            .filter_map(|entry| Some(format!("{} {}", entry.name, entry.counts.filter?)))
            .collect();
        if !filters.is_empty() {
            let filters = filters.join(", ");
            writeln!(f, "\ninstructions of the default profile's filter: {filters}")?;
        }
        Ok(())
    }
}

#[allow(clippy::cast_precision_loss, reason = "microseconds of a benchmark are far below 2^52")]
pub(super) fn millis(micros: u128) -> String {
    format!("{:.2}", micros as f64 / 1000.0)
}

fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
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
pub(super) mod tests {
    use super::*;

    /// A report in which each runtime took so many microseconds in every case.
    pub(in crate::bench) fn report_of(runtimes: &[(&str, u64)]) -> Report {
        let contenders = runtimes.iter().map(|(name, _)| Contender {
            name: (*name).to_owned(),
            program: format!("/usr/bin/{name}").into(),
            version: "1".to_owned(),
        });
        let mut report = Report::of_this_machine(1, 0, &contenders.collect::<Vec<_>>());
        for (index, (_, micros)) in runtimes.iter().enumerate() {
            let sample = Sample {
                wall: Duration::from_micros(*micros),
                cpu: Duration::from_micros(*micros),
                peak_kib: 1_500,
            };
            for case in Case::ALL {
                let samples = vec![vec![sample; case.rows().len()]];
                let (for_time, for_peak) = (samples.clone(), samples);
                report.add(index, case, &Rounds { for_time, for_peak, failure: None });
            }
            report.runtimes[index].bytes = 2_500_000;
            let ns = u128::from(*micros);
            report.add_filter(
                index,
                FilterCost {
                    install: 300_000,
                    by_argument: ns,
                    refused: ns,
                    ..FilterCost::default()
                },
            );
        }
        report
    }

    #[test]
    fn a_runtime_of_which_nothing_came_is_a_failure_and_a_missed_bar_is_none() {
        let mut report = report_of(&[("nrun", 900_000), ("runc", 1)]).finish();
        assert!(report.bars.iter().any(|bar| !bar.met));
        assert!(!report.has_failed());
        let failed = Some("no such container".to_owned());
        for summary in &mut report.runtimes[1].cases {
            summary.failure.clone_from(&failed);
        }
        assert!(!report.has_failed(), "it has a filter");
        report.runtimes[1].filter = None;
        assert!(report.has_failed());
        report.runtimes[1].cases.clear();
        assert!(!report.has_failed(), "nothing was asked of it");
    }

    #[test]
    fn a_summary_has_the_least_and_the_middle_of_the_samples() {
        let sample = |micros| Sample {
            wall: Duration::from_micros(micros),
            cpu: Duration::from_micros(micros * 2),
            peak_kib: micros,
        };
        let summary = Summary::of("run", &[9, 1, 5].map(sample), &[2, 3].map(sample));
        assert_eq!((summary.wall_min, summary.wall_median), (1, 5));
        assert_eq!((summary.cpu_min, summary.cpu_median, summary.peak_kib), (2, 10, 3));
    }

    #[test]
    fn a_runtime_that_failed_is_shown_with_what_it_said_and_compared_with_nothing() {
        let mut report = report_of(&[("nrun", 10)]);
        report.runtimes[0].cases.clear();
        let failure = Some("`x` failed:\nno".to_owned());
        report.add(0, Case::Run, &Rounds { failure, ..Rounds::default() });
        let report = report.finish();
        assert!(report.to_string().contains("  nrun                 `x` failed: no\n"), "{report}");
        assert_eq!(report.rows().count(), 0);
    }
}
