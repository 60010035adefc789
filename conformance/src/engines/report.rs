//! What the engines came to: a table for each, the failures in full, and whether any runtime fails what the first passes.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::contender::Contender;
use crate::junit::{self, Ending, Suite, Test};
use crate::managers::Kind;

/// How an operation ended with one runtime.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Passed(Duration),
    Failed(String),
    /// It failed once, as is said, and passed each time when it was tried again.
    Unsteady(String),
}

impl Outcome {
    pub(super) fn failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    /// A failure, unless everything passes that is tried `again`.
    pub(super) fn unless(self, mut again: impl Iterator<Item = Self>) -> Self {
        match self {
            Self::Failed(why) if again.all(|outcome| !outcome.failed()) => Self::Unsteady(why),
            ended => ended,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Passed(_) => "ok",
            Self::Failed(_) => "FAILED",
            Self::Unsteady(_) => "unsteady",
        }
    }
}

/// The operations of one engine.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    engine: &'static str,
    version: String,
    operations: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    /// One for each runtime, in their order.
    outcomes: Vec<Outcome>,
}

impl Row {
    fn passed_by_the_yardstick(&self) -> bool {
        passed_by_the_yardstick(&self.outcomes)
    }

    /// What went wrong with the runtime of this index, and what that means.
    fn failure(&self, runtime: usize) -> Option<(Weight, &str)> {
        match &self.outcomes[runtime] {
            Outcome::Passed(_) => None,
            Outcome::Unsteady(why) => Some((Weight::Unsteady, why)),
            Outcome::Failed(why) if runtime > 0 && self.passed_by_the_yardstick() => {
                Some((Weight::Fault, why))
            }
            Outcome::Failed(why) => Some((Weight::Shared, why)),
        }
    }

    fn test(&self, runtime: usize, class: &str) -> Test {
        let time = match &self.outcomes[runtime] {
            Outcome::Passed(took) => *took,
            Outcome::Failed(_) | Outcome::Unsteady(_) => Duration::ZERO,
        };
        let ending = match self.failure(runtime) {
            None => Ending::Passed,
            Some((Weight::Fault, why)) => Ending::Failed {
                why: why.lines().next().unwrap_or_default().to_owned(),
                details: why.to_owned(),
            },
            Some((weight, why)) => Ending::Skipped(format!("{}: {why}", weight.words())),
        };
        Test { class: class.to_owned(), name: self.name.to_owned(), time, ending }
    }
}

/// Whether the first runtime, which the others are held against, has passed.
pub(super) fn passed_by_the_yardstick(outcomes: &[Outcome]) -> bool {
    outcomes.first().is_some_and(|outcome| !outcome.failed())
}

/// What a failure means; the later, the more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// The yardstick fails, too.
    Shared,
    Unsteady,
    /// The yardstick passes.
    Fault,
}

impl Weight {
    fn words(self) -> &'static str {
        match self {
            Self::Shared => "judges nobody",
            Self::Unsteady => "failed once, then passed each time",
            Self::Fault => "FAILED",
        }
    }
}

/// An operation that failed with a runtime.
#[derive(Debug)]
struct Failure<'a> {
    weight: Weight,
    engine: &'static str,
    runtime: &'a str,
    operation: &'static str,
    why: &'a str,
}

impl Table {
    pub(super) fn new(kind: Kind, version: String) -> Self {
        Self { engine: kind.name(), version, operations: Vec::new() }
    }

    pub(super) fn push(&mut self, name: &'static str, outcomes: Vec<Outcome>) {
        self.operations.push(Row { name, outcomes });
    }
}

/// All engines with all runtimes.
#[derive(Debug, Serialize)]
pub struct Report {
    kernel: String,
    runtimes: Vec<String>,
    versions: Vec<String>,
    engines: Vec<Table>,
}

impl Report {
    pub(super) fn new(runtimes: &[Contender], engines: Vec<Table>) -> Self {
        Self {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            runtimes: runtimes.iter().map(|runtime| runtime.name.clone()).collect(),
            versions: runtimes.iter().map(|runtime| runtime.version.clone()).collect(),
            engines,
        }
    }

    /// How often a runtime fails what the first one passes; a table without operations proves nothing and counts, too.
    #[must_use]
    pub fn faults(&self) -> usize {
        let failures = self.failures().filter(|failure| failure.weight == Weight::Fault).count();
        failures + self.engines.iter().filter(|table| !table.proves_something()).count()
    }

    /// As JUnit's XML: a suite for each engine and runtime. Only what the first runtime passes is a failure of another; what weighs
    /// less is skipped, with what was said.
    #[must_use]
    pub fn junit(&self) -> String {
        let mut suites = Vec::new();
        for table in &self.engines {
            for (index, runtime) in self.runtimes.iter().enumerate() {
                let name = format!("{}.{runtime}", table.engine);
                let test = |row: &Row| row.test(index, &name);
                let tests = table.operations.iter().map(test).collect();
                suites.push(Suite { name, tests });
            }
        }
        junit::document("nconform engines", &suites)
    }
}

impl Table {
    fn proves_something(&self) -> bool {
        self.operations.iter().any(Row::passed_by_the_yardstick)
    }

    fn total(&self, runtime: usize) -> usize {
        self.operations.iter().filter(|row| !row.outcomes[runtime].failed()).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Linux {}", self.kernel)?;
        for (name, version) in self.runtimes.iter().zip(&self.versions) {
            writeln!(f, "  {name:<8} {version}")?;
        }
        for table in &self.engines {
            write!(f, "\n{:<56}", table.version)?;
            self.runtimes.iter().try_for_each(|name| write!(f, " {name:>8}"))?;
            writeln!(f)?;
            for row in &table.operations {
                write!(f, "  {:<54}", row.name)?;
                for outcome in &row.outcomes {
                    write!(f, " {:>8}", outcome.word())?;
                }
                writeln!(f)?;
            }
            write!(f, "  {:<54}", format!("passed of {}", table.operations.len()))?;
            for runtime in 0..self.runtimes.len() {
                write!(f, " {:>8}", table.total(runtime))?;
            }
            writeln!(f)?;
        }
        self.write_failures(f)?;
        match (self.faults(), self.runtimes.first()) {
            (0, Some(first)) => writeln!(f, "\nno runtime fails what {first} passes"),
            (faults, Some(first)) => {
                writeln!(f, "\n{faults} times a runtime fails what {first} passes")
            }
            (_, None) => Ok(()),
        }
    }
}

impl Report {
    /// Everything that failed, by engine and operation.
    fn failures(&self) -> impl Iterator<Item = Failure<'_>> {
        let rows = self
            .engines
            .iter()
            .flat_map(|table| table.operations.iter().map(move |row| (table.engine, row)));
        rows.flat_map(|(engine, row)| {
            self.runtimes.iter().enumerate().filter_map(move |(index, runtime)| {
                let (weight, why) = row.failure(index)?;
                Some(Failure { weight, engine, runtime, operation: row.name, why })
            })
        })
    }

    /// What weighs most stands last, where somebody looks who sees only the end of a log.
    fn write_failures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut failures: Vec<Failure> = self.failures().collect();
        failures.sort_by_key(|failure| failure.weight);
        for Failure { weight, engine, runtime, operation, why } in failures {
            let weighed = weight.words();
            let why = why.replace('\n', "\n    ");
            writeln!(f, "\n{engine} with {runtime}, {operation} ({weighed}):\n    {why}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rows: &[(&'static str, bool, bool)]) -> Report {
        let outcome = |passed| match passed {
            true => Outcome::Passed(Duration::from_millis(1500)),
            false => Outcome::Failed("said <no> & \u{1b}left".to_owned()),
        };
        let mut table = Table::new(Kind::Ctr, "ctr 1".to_owned());
        for (name, first, second) in rows {
            table.push(name, vec![outcome(*first), outcome(*second)]);
        }
        let contender = |name: &str| Contender {
            name: name.to_owned(),
            program: name.into(),
            version: format!("{name} 1"),
        };
        Report::new(&[contender("runc"), contender("nrun")], vec![table])
    }

    #[test]
    fn only_what_the_first_runtime_passes_is_a_fault_of_another() {
        assert_eq!(report(&[("a", true, true), ("b", false, false)]).faults(), 0);
        assert_eq!(
            report(&[("a", true, false), ("b", true, false), ("c", false, true)]).faults(),
            2
        );
    }

    #[test]
    fn a_failure_that_does_not_repeat_is_unsteady_and_one_that_does_is_a_fault() {
        let failed = || Outcome::Failed("once".to_owned());
        let passed = || Outcome::Passed(Duration::ZERO);
        let ended = failed().unless([passed(), passed()].into_iter());
        assert!(matches!(ended, Outcome::Unsteady(why) if why == "once"));
        assert!(failed().unless([passed(), failed()].into_iter()).failed());
        assert!(!passed().unless([failed()].into_iter()).failed());
    }

    #[test]
    fn what_is_held_against_a_runtime_stands_last() {
        let mut report = report(&[("fault", true, false), ("shared", false, false)]);
        let ended = vec![Outcome::Passed(Duration::ZERO), Outcome::Unsteady("once".to_owned())];
        report.engines[0].push("unsteady", ended);
        assert_eq!(report.faults(), 1);
        let text = report.to_string();
        let place = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words}: {text}"));
        assert!(place("runc, shared (judges nobody)") < place("nrun, unsteady (failed once"));
        assert!(place("nrun, unsteady (failed once") < place("nrun, fault (FAILED)"));
        assert!(place("nrun, fault (FAILED)") < place("1 times a runtime fails"));
    }

    #[test]
    fn an_engine_with_which_the_first_runtime_passes_nothing_proves_nothing() {
        assert_eq!(report(&[("a", false, false)]).faults(), 1);
        assert_eq!(report(&[]).faults(), 1);
    }

    #[test]
    fn junit_has_a_suite_for_each_runtime_and_no_character_that_xml_forbids() {
        let text = report(&[("a \"b\"", true, false)]).junit();
        let passed = r#"<testcase classname="ctr.runc" name="a &quot;b&quot;" time="1.500"/>"#;
        assert!(text.contains(passed), "{text}");
        let suite = r#"<testsuite name="ctr.nrun" tests="1" failures="1" skipped="0""#;
        assert!(text.contains(suite), "{text}");
        let failure = "said &lt;no&gt; &amp; \u{fffd}left";
        assert!(text.contains(&format!(">{failure}</failure>")), "{text}");
    }

    #[test]
    fn what_the_first_runtime_fails_too_is_no_failure_for_a_build_server() {
        let text = report(&[("a", false, false), ("b", true, true)]).junit();
        assert!(!text.contains("<failure"), "{text}");
        assert_eq!(text.matches("<skipped message=\"judges nobody: said").count(), 2, "{text}");
    }
}
