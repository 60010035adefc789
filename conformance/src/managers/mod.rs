//! Managers of containers, measured side by side: nman, and podman, docker and containerd's ctr as far as they are there.
//!
//! All of it happens in private namespaces: the daemons are started for the benchmark, with directories of their own,
//! and end with it. Rounds are interleaved, so that what else the machine does falls on all alike. What a manager
//! cannot do stands in the table as what it said; nothing here fails on a time.

mod arena;
mod bulk;
mod crowd;
pub(crate) mod daemon;
pub(crate) mod engine;
mod measure;
mod pull;
mod report;
mod start;

use std::path::PathBuf;

pub use engine::{Engine, Kind};
pub use report::{Bar, Report, Table};

use arena::Arena;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// `run --rm IMAGE true` without a network
    Start,
    /// The same on a bridge, with a published port
    Bridge,
    /// 16 at once, and 16 in a row
    Crowd,
    /// Pull and unpack of an image of 195 MB in 8 layers
    Pull,
    /// `ps` with 100 containers, and what their monitors take up
    Ps,
    /// `logs` of 1 GB
    Logs,
    /// `cp` of 1 GB
    Cp,
}

impl Case {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Start, Self::Bridge, Self::Crowd, Self::Pull, Self::Ps, Self::Logs, Self::Cp];
}

/// What to compare, and how often.
#[derive(Debug)]
pub struct Plan {
    /// The programs of ours: `nman` and the runtime that it calls.
    pub nman: PathBuf,
    /// See `nman`.
    pub runtime: PathBuf,
    /// How often each short case is measured. Pulls and what moves a gigabyte are measured a tenth as often.
    pub runs: usize,
    /// What is measured.
    pub cases: Vec<Case>,
    /// How many bytes a log and a copied file have.
    pub bytes: u64,
}

impl Plan {
    fn few(&self) -> usize {
        (self.runs / 10).clamp(1, 5)
    }
}

/// Measures, calling `progress` before each step.
///
/// # Panics
/// When not root, or when a fixture cannot be set up.
#[must_use]
pub fn compare(plan: &Plan, progress: &dyn Fn(&str)) -> Report {
    progress("starting daemons and a registry");
    let arena = Arena::enter(plan);
    let mut report = Report::of_this_machine(plan.runs, &arena.engines);
    for case in &plan.cases {
        let tables = match case {
            Case::Start => start::without_network(&arena, plan, progress),
            Case::Bridge => start::on_a_bridge(&arena, plan, progress),
            Case::Crowd => crowd::at_once(&arena, plan, progress),
            Case::Pull => pull::pull(&arena, plan, progress),
            Case::Ps => crowd::ps(&arena, plan, progress),
            Case::Logs => bulk::logs(&arena, plan, progress),
            Case::Cp => bulk::copy(&arena, plan, progress),
        };
        report.tables.extend(tables);
    }
    progress("ending daemons");
    drop(arena);
    report
}
