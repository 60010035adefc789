//! What the engines came to: a table for each, the failures in full, and whether any runtime fails what the first passes.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::contender::Contender;
use crate::managers::Kind;

/// How an operation ended with one runtime.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Passed(Duration),
    Failed(String),
}

impl Outcome {
    fn passed(&self) -> bool {
        matches!(self, Self::Passed(_))
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
        let worse = |row: &Row| {
            let yardstick = row.outcomes.first().is_some_and(Outcome::passed);
            let failed = row.outcomes.iter().skip(1).filter(|outcome| !outcome.passed()).count();
            if yardstick { failed } else { 0 }
        };
        let count = |table: &Table| table.operations.iter().map(worse).sum::<usize>();
        let empty = self.engines.iter().filter(|table| !table.proves_something()).count();
        self.engines.iter().map(count).sum::<usize>() + empty
    }

    /// As JUnit's XML: a suite for each engine and runtime. Only what the first runtime passes is a failure of another.
    #[must_use]
    pub fn junit(&self) -> String {
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
        for table in &self.engines {
            for (index, runtime) in self.runtimes.iter().enumerate() {
                let suite = format!("{}.{runtime}", table.engine);
                let failures = table.operations.iter().filter(|row| !row.outcomes[index].passed());
                text += &format!(
                    "  <testsuite name=\"{suite}\" tests=\"{}\" failures=\"{}\">\n",
                    table.operations.len(),
                    failures.count()
                );
                for row in &table.operations {
                    let name = escape(row.name);
                    let case = format!("    <testcase classname=\"{suite}\" name=\"{name}\"");
                    text += &match &row.outcomes[index] {
                        Outcome::Passed(took) => {
                            format!("{case} time=\"{:.3}\"/>\n", took.as_secs_f64())
                        }
                        Outcome::Failed(why) => {
                            format!(
                                "{case}>\n      <failure>{}</failure>\n    </testcase>\n",
                                escape(why)
                            )
                        }
                    };
                }
                text += "  </testsuite>\n";
            }
        }
        text + "</testsuites>\n"
    }
}

impl Table {
    fn proves_something(&self) -> bool {
        self.operations.iter().any(|row| row.outcomes.first().is_some_and(Outcome::passed))
    }

    fn total(&self, runtime: usize) -> usize {
        self.operations.iter().filter(|row| row.outcomes[runtime].passed()).count()
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
                    write!(f, " {:>8}", if outcome.passed() { "ok" } else { "FAILED" })?;
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
    fn write_failures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in &self.engines {
            for row in &table.operations {
                for (outcome, runtime) in row.outcomes.iter().zip(&self.runtimes) {
                    if let Outcome::Failed(why) = outcome {
                        let why = why.replace('\n', "\n    ");
                        writeln!(f, "\n{} with {runtime}, {}:\n    {why}", table.engine, row.name)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Text as XML takes it; what XML cannot hold at all is left out.
fn escape(text: &str) -> String {
    let held = |c: &char| matches!(c, '\t' | '\n' | '\r' | ' '..);
    let text: String = text.chars().filter(held).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
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
    fn an_engine_with_which_the_first_runtime_passes_nothing_proves_nothing() {
        assert_eq!(report(&[("a", false, false)]).faults(), 1);
        assert_eq!(report(&[]).faults(), 1);
    }

    #[test]
    fn junit_has_a_suite_for_each_runtime_and_no_character_that_xml_forbids() {
        let text = report(&[("a \"b\"", true, false)]).junit();
        let passed = r#"<testcase classname="ctr.runc" name="a &quot;b&quot;" time="1.500"/>"#;
        assert!(text.contains(passed), "{text}");
        assert!(text.contains(r#"<testsuite name="ctr.nrun" tests="1" failures="1">"#), "{text}");
        assert!(text.contains("<failure>said &lt;no&gt; &amp; left</failure>"), "{text}");
    }
}
