//! The bars of the project: what nrun may cost, beside the other runtimes of the same table.

use serde::Serialize;

use super::cases::row;
use super::report::{Entry, Summary, millis};
use super::{Calls, FLOOR};

/// The runtime that the bars are for.
pub(super) const OURS: &str = "nrun";
/// Processes in a `create`: the caller and the container's own.
const MOST_TASKS: usize = 2;
/// The largest resident set of a process, in KiB: 1.5 MB.
const MOST_PEAK: u64 = 1500;
/// Instructions of the filter of the default profile.
const MOST_FILTER: usize = 450;
/// Microseconds that it takes to install the filter of the default profile.
const MOST_INSTALL: u128 = 300;
/// Bytes of the program: 2.5 MB.
const MOST_BYTES: u64 = 2_500_000;

/// What a create beside others may cost, in percent of what it costs alone and what the floor costs more there: noise apart, no more.
const MOST_GROWTH: u128 = 110;

/// A bar of the project and how near the runtime came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bar {
    what: String,
    value: String,
    /// Whether it was met.
    pub met: bool,
}

impl Bar {
    fn most(what: &str, value: u64, most: u64) -> Self {
        Self { what: what.to_owned(), value: format!("{value} of {most}"), met: value <= most }
    }
}

impl std::fmt::Display for Bar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, value, met } = self;
        write!(f, "{:<6} {what}: {value}", if *met { "MET" } else { "MISSED" })
    }
}

/// A figure of a row, in microseconds.
type Figure = fn(&Summary) -> u128;

/// A bar on a median, as a share of another median: `numerator / denominator` at most.
struct Share {
    row: &'static str,
    peer: &'static str,
    value: Figure,
    what: &'static str,
    numerator: u128,
    denominator: u128,
}

const fn cpu(
    row: &'static str,
    peer: &'static str,
    (numerator, denominator): (u128, u128),
) -> Share {
    Share { row, peer, value: |summary| summary.cpu_median, what: "CPU", numerator, denominator }
}

const SHARES: [Share; 10] = [
    cpu(row::RUN, FLOOR, (14, 10)),
    Share { value: |summary| summary.wall_median, what: "wall", ..cpu(row::RUN, FLOOR, (14, 10)) },
    cpu(row::RUN, "runc", (1, 6)),
    cpu(row::RUN, "crun", (1, 2)),
    cpu(row::SECCOMP, "runc", (1, 10)),
    cpu(row::SECCOMP, "crun", (1, 7)),
    cpu(row::LIFECYCLE, "runc", (1, 5)),
    cpu(row::LIFECYCLE, "crun", (1, 2)),
    cpu(row::EXEC, "runc", (1, 6)),
    cpu(row::EXEC, "crun", (1, 2)),
];

impl Share {
    fn judge(&self, ours: &Entry, all: &[Entry]) -> Option<Bar> {
        let Self { row, peer, numerator, denominator, .. } = *self;
        let own = (self.value)(ours.row(row)?);
        let other = (self.value)(named(all, peer)?.row(row)?);
        let most = numerator as f64 / denominator as f64;
        Some(Bar {
            what: format!("{} of {row}, at most {most:.3} of {peer}'s", self.what),
            value: ratio(own, other),
            met: own * denominator <= other * numerator,
        })
    }
}

/// Everything that can be judged with what was measured.
pub(super) fn judge(all: &[Entry], unified: bool) -> Vec<Bar> {
    let Some(ours) = named(all, OURS) else { return Vec::new() };
    let mut bars: Vec<Bar> = SHARES.iter().filter_map(|share| share.judge(ours, all)).collect();
    for (crowd, row) in [(row::CROWD_16, row::ROW_16), (row::CROWD_100, row::ROW_100)] {
        if let (Some(crowd_cpu), Some(row_cpu)) = (ours.row(crowd), ours.row(row)) {
            let (crowd_cpu, row_cpu) = (crowd_cpu.cpu_median, row_cpu.cpu_median);
            bars.push(Bar {
                what: format!("CPU of {crowd}, at most 1.2 of {row}"),
                value: ratio(crowd_cpu, row_cpu),
                met: crowd_cpu * 10 <= row_cpu * 12,
            });
        }
    }
    for row in [row::AMONG_100, row::AMONG_1000, row::AMONG_MOUNTS] {
        bars.extend(named(all, FLOOR).into_iter().flat_map(|floor| grown(ours, floor, row)));
    }
    bars.extend(filtered(ours, all));
    bars.extend(counted(ours, unified));
    for name in [row::CREATE, row::RUN, row::EXEC, row::DELETE] {
        if let Some(summary) = ours.row(name) {
            bars.push(Bar::most(&format!("peak KiB of {name}"), summary.peak_kib, MOST_PEAK));
        }
    }
    if let Some(small) = ours.cases.iter().find(|summary| summary.case == row::SMALL) {
        bars.push(Bar {
            what: "a container that may have 512 KiB of memory starts".to_owned(),
            value: small.failure.clone().unwrap_or_else(|| "it does".to_owned()),
            met: small.failure.is_none(),
        });
    }
    bars.push(Bar::most("bytes of the program", ours.bytes, MOST_BYTES));
    bars
}

/// What a create costs in these surroundings, in CPU and wall time, beside what it costs alone and the kernel's own growth: the floor's.
fn grown(ours: &Entry, floor: &Entry, row: &'static str) -> Vec<Bar> {
    let measures: [(&str, Figure); 2] =
        [("CPU", |summary| summary.cpu_median), ("wall", |summary| summary.wall_median)];
    let judge = |(what, value): (&str, Figure)| {
        let of = |entry: &Entry, row| entry.row(row).map(value);
        let kernel = of(floor, row)?.saturating_sub(of(floor, row::ALONE)?);
        let (own, most) = (of(ours, row)?, of(ours, row::ALONE)? + kernel);
        Some(Bar {
            what: format!("{what} of {row}, at most 1.100 of alone and the floor's growth"),
            value: format!("{} ({} of {} ms)", ratio(own, most), millis(own), millis(most)),
            met: own * 100 <= most * MOST_GROWTH,
        })
    };
    measures.into_iter().filter_map(judge).collect()
}

/// What the filter of the default profile costs, beside those of libseccomp.
fn filtered(ours: &Entry, all: &[Entry]) -> Vec<Bar> {
    let cost = |entry: &Entry| entry.filter.clone().filter(|cost| cost.failure.is_none());
    let Some(own) = cost(ours) else { return Vec::new() };
    let micros = own.install / 1000;
    let mut bars = vec![Bar {
        what: "us to install the default profile's filter".to_owned(),
        value: format!("{micros} of {MOST_INSTALL}"),
        met: micros <= MOST_INSTALL,
    }];
    for peer in ["runc", "crun"] {
        let Some(other) = named(all, peer).and_then(cost) else { continue };
        for (call, own, other) in [
            ("allowed by argument", own.by_argument, other.by_argument),
            ("refused", own.refused, other.refused),
        ] {
            bars.push(Bar {
                what: format!("ns of a call that is {call}, at most those of {peer}'s filter"),
                value: format!("{own} of {other}"),
                met: own <= other,
            });
        }
    }
    bars
}

fn counted(ours: &Entry, unified: bool) -> Vec<Bar> {
    let count = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    let mut bars = Vec::new();
    if let Some(Calls { calls, tasks, mountinfo }) = ours.counts.create {
        // One hierarchy instead of nine.
        let (layout, most) = if unified { ("v2", 220) } else { ("v1", 300) };
        bars.push(Bar::most(&format!("system calls of a create on {layout}"), count(calls), most));
        bars.push(Bar::most("reads of a mount table in a create", count(mountinfo), 0));
        bars.push(Bar::most("tasks of a create", count(tasks), count(MOST_TASKS)));
    }
    if let Some(filter) = ours.counts.filter {
        let what = "instructions of the default profile's filter";
        bars.push(Bar::most(what, count(filter), count(MOST_FILTER)));
    }
    bars
}

fn named<'a>(all: &'a [Entry], name: &str) -> Option<&'a Entry> {
    all.iter().find(|entry| entry.name == name)
}

#[allow(clippy::cast_precision_loss, reason = "microseconds of a benchmark are far below 2^52")]
fn ratio(own: u128, other: u128) -> String {
    format!("{:.3}", own as f64 / other.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::super::cases::Counts;
    use super::super::report::tests::report_of;
    use super::*;

    fn verdicts(runtimes: &[(&str, u64)], change: impl Fn(&mut Entry)) -> Vec<(String, bool)> {
        let mut report = report_of(runtimes);
        change(&mut report.runtimes[0]);
        judge(&report.runtimes, false).into_iter().map(|bar| (bar.what, bar.met)).collect()
    }

    fn missed(bars: &[(String, bool)]) -> Vec<&str> {
        bars.iter().filter(|(_, met)| !met).map(|(what, _)| what.as_str()).collect()
    }

    #[test]
    fn every_bar_is_met_at_its_value() {
        let counts = |entry: &mut Entry| {
            let create = Calls { calls: 300, tasks: 2, mountinfo: 0 };
            entry.counts = Counts { create: Some(create), filter: Some(450), ..Counts::default() };
        };
        let peers = [("nrun", 14), ("runc", 140), ("crun", 98), ("floor", 10)];
        let bars = verdicts(&peers, counts);
        assert_eq!(missed(&bars), [""; 0]);
        assert_eq!(bars.len(), 33);
    }

    #[test]
    fn every_bar_is_missed_beyond_its_value() {
        let beyond = |entry: &mut Entry| {
            let create = Calls { calls: 301, tasks: 3, mountinfo: 1 };
            entry.counts = Counts { create: Some(create), filter: Some(451), ..Counts::default() };
            entry.bytes += 1;
            if let Some(cost) = &mut entry.filter {
                (cost.install, cost.by_argument, cost.refused) = (301_000, 75, 75);
            }
            for summary in &mut entry.cases {
                summary.peak_kib += 1;
                if [row::CROWD_16, row::CROWD_100].contains(&summary.case) {
                    summary.cpu_median *= 2;
                }
                if [row::AMONG_100, row::AMONG_1000, row::AMONG_MOUNTS].contains(&summary.case) {
                    summary.cpu_median += 2;
                    summary.wall_median += 2;
                }
                if summary.case == row::SMALL {
                    summary.failure = Some("out of memory".to_owned());
                }
            }
        };
        let bars = verdicts(&[("nrun", 15), ("runc", 74), ("crun", 29), ("floor", 10)], beyond);
        assert_eq!(missed(&bars).len(), bars.len(), "{bars:?}");
    }

    #[test]
    fn without_our_runtime_no_bar_is_judged() {
        assert_eq!(verdicts(&[("youki", 1), ("runc", 1)], |_| {}), []);
    }
}
