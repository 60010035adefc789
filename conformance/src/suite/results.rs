//! What came of a run: for each case a record for each runtime, and the totals.

use std::time::Duration;

use serde::Serialize;

use super::Plan;
use super::case::{Case, Finding, Known, Topic};
use super::cases;
use super::worker::Reply;
use crate::contender::Contender;

/// How a case ended with a runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// As it must be.
    Pass,
    /// Something else than it must be.
    Fail {
        /// What must be.
        expected: String,
        /// What is.
        seen: String,
    },
    /// It failed, as this release is known to.
    KnownFailure {
        /// Why.
        why: String,
        /// What must be.
        expected: String,
        /// What is.
        seen: String,
    },
    /// It is known to fail and did not: the record of the case is wrong.
    UnexpectedPass {
        /// Why it should have failed.
        why: String,
    },
    /// It says nothing here.
    Skip {
        /// What is missing.
        reason: String,
    },
}

impl Outcome {
    /// Whether a run with it has failed.
    #[must_use]
    pub fn is_unexpected(&self) -> bool {
        matches!(self, Self::Fail { .. } | Self::UnexpectedPass { .. })
    }

    /// One word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail { .. } => "fail",
            Self::KnownFailure { .. } => "known",
            Self::UnexpectedPass { .. } => "unexpected",
            Self::Skip { .. } => "skip",
        }
    }
}

/// One case with one runtime.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What it changed in config.json, a line each.
    pub config: Vec<String>,
    /// How long it took.
    pub millis: u64,
}

impl Record {
    /// Holds what was found against what is known.
    pub(super) fn judge(reply: Reply, known: Option<&Known>) -> Self {
        let outcome = match (reply.finding, known) {
            (None, None) => Outcome::Pass,
            (None, Some(known)) => Outcome::UnexpectedPass { why: known.why.to_owned() },
            (Some(Finding::Fail { fault, expected, seen }), Some(known)) if known.covers(fault) => {
                Outcome::KnownFailure { why: known.why.to_owned(), expected, seen }
            }
            (Some(Finding::Fail { expected, seen, .. }), _) => Outcome::Fail { expected, seen },
            (Some(Finding::Skip { reason }), _) => Outcome::Skip { reason },
        };
        Self { outcome, config: reply.config, millis: reply.millis }
    }
}

/// How many cases ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// As they must.
    pub passed: usize,
    /// Otherwise.
    pub failed: usize,
    /// Otherwise, as is known.
    pub known: usize,
    /// As they must, but known to fail.
    pub unexpected: usize,
    /// Not at all.
    pub skipped: usize,
}

impl Totals {
    fn of<'a>(records: impl Iterator<Item = &'a Record>) -> Self {
        let mut totals = Self::default();
        for record in records {
            let count = match record.outcome {
                Outcome::Pass => &mut totals.passed,
                Outcome::Fail { .. } => &mut totals.failed,
                Outcome::KnownFailure { .. } => &mut totals.known,
                Outcome::UnexpectedPass { .. } => &mut totals.unexpected,
                Outcome::Skip { .. } => &mut totals.skipped,
            };
            *count += 1;
        }
        totals
    }
}

/// A case with a record for each runtime.
#[derive(Debug)]
pub struct Row {
    /// Its topic.
    pub topic: &'static Topic,
    /// The case.
    pub case: &'static Case,
    /// In the order of [`Results::runtimes`].
    pub records: Vec<Record>,
}

/// Everything that a report needs.
#[derive(Debug)]
pub struct Results {
    /// The machine, in one line.
    pub host: String,
    /// How the runtimes were run, in one line.
    pub mode: String,
    /// The runtimes, with names that differ.
    pub runtimes: Vec<Contender>,
    /// The cases.
    pub rows: Vec<Row>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Results {
    pub(super) fn new(plan: &Plan, columns: Vec<Vec<Record>>, elapsed: Duration) -> Self {
        let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
        let rows = plan.cases.iter().map(|&number| {
            let (topic, case) = cases::all().nth(number).expect("a number of a case");
            let records = columns.iter_mut().filter_map(Iterator::next).collect();
            Row { topic, case, records }
        });
        let rows = rows.collect();
        let mut words = Vec::new();
        words.push(if plan.mode.rootless { "as an ordinary user" } else { "as root" });
        if plan.mode.systemd {
            words.push("with systemd's cgroup driver");
        }
        Self {
            host: super::Facts::probe().host(),
            mode: words.join(", "),
            runtimes: plan.contenders.clone(),
            rows,
            elapsed,
        }
    }

    /// The totals of a runtime, of one topic or of all.
    #[must_use]
    pub fn totals(&self, runtime: usize, topic: Option<&str>) -> Totals {
        let rows = self.rows.iter().filter(|row| topic.is_none_or(|name| row.topic.name == name));
        Totals::of(rows.filter_map(|row| row.records.get(runtime)))
    }

    /// The topics, in order.
    #[must_use]
    pub fn topics(&self) -> Vec<&'static Topic> {
        let mut topics: Vec<&'static Topic> = Vec::new();
        for row in &self.rows {
            if topics.last().is_none_or(|last| last.name != row.topic.name) {
                topics.push(row.topic);
            }
        }
        topics
    }

    /// Whether anything could be tried with a runtime.
    #[must_use]
    pub fn is_tried(&self, runtime: usize) -> bool {
        let totals = self.totals(runtime, None);
        totals.skipped < self.rows.len()
    }

    /// Whether anything ended otherwise than it must or is known to. Where nothing could be tried with a runtime, nothing was shown.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        (0..self.runtimes.len()).any(|runtime| {
            let totals = self.totals(runtime, None);
            totals.failed + totals.unexpected > 0 || !self.is_tried(runtime)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::case::Fault;
    use super::*;

    fn reply(finding: Option<Finding>) -> Reply {
        Reply { finding, config: Vec::new(), millis: 1 }
    }

    #[test]
    fn a_known_failure_is_expected_and_its_absence_is_not() {
        const KNOWN: Known = super::super::case::runc("it is like that");
        let fail = || Some(Finding::fail("a", "b"));
        let outcome = |finding, known| Record::judge(reply(finding), known).outcome;
        assert!(!outcome(None, None).is_unexpected());
        assert!(outcome(fail(), None).is_unexpected());
        assert!(!outcome(fail(), Some(&KNOWN)).is_unexpected());
        assert!(outcome(None, Some(&KNOWN)).is_unexpected());
        assert_eq!(outcome(Some(Finding::skip("x")), Some(&KNOWN)).word(), "skip");
        // What is known is how it fails, not that it may fail in any way.
        let fault = |fault| Finding::fault(fault, "a", "b");
        for other in [Fault::Hung, Fault::Crashed, Fault::Leftover] {
            assert_eq!(outcome(Some(fault(other)), Some(&KNOWN)).word(), "fail", "{other:?}");
        }
        const LEAVES: Known = super::super::case::crun("leaves it");
        assert_eq!(outcome(Some(fault(Fault::Leftover)), Some(&LEAVES)).word(), "known");
        let both = Finding::fail("a", "b").with_leftovers(fault(Fault::Leftover));
        assert_eq!(outcome(Some(both), Some(&KNOWN)).word(), "fail");
    }
}
