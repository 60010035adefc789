//! JUnit XML: a test suite for each runtime.

use std::time::Duration;

use super::background;
use crate::junit::{Ending, Suite, Test, document};
use crate::suite::results::Row;
use crate::suite::{Outcome, Record, Results};

/// The report as JUnit XML. A known failure shows as skipped, with the reason.
#[must_use]
pub fn junit(results: &Results) -> String {
    let suites: Vec<Suite> = results
        .runtimes
        .iter()
        .enumerate()
        .map(|(index, runtime)| Suite {
            name: format!("{} ({})", runtime.name, runtime.version),
            tests: results
                .rows
                .iter()
                .filter_map(|row| row.records.get(index).map(|record| (row, record)))
                .map(|(row, record)| Test {
                    class: format!("{}.{}", runtime.name, row.topic.name),
                    name: row.case.name.to_owned(),
                    time: Duration::from_millis(record.millis),
                    ending: ending(row, record),
                })
                .collect(),
        })
        .collect();
    document("nconform run", &suites)
}

fn ending(row: &Row, record: &Record) -> Ending {
    let with_background = |first: String| {
        let background = background(row, record).into_iter();
        background.fold(first, |text, (key, value)| format!("{text}\n{key}: {value}"))
    };
    match &record.outcome {
        Outcome::Pass => Ending::Passed,
        Outcome::Fail { expected, seen } => Ending::Failed {
            why: format!("expected {expected}"),
            details: with_background(format!("seen: {seen}")),
        },
        Outcome::UnexpectedPass { why } => Ending::Failed {
            why: "passed, though known to fail".to_owned(),
            details: with_background(format!("known: {why}")),
        },
        Outcome::KnownFailure { why, .. } => Ending::Skipped(format!("known failure: {why}")),
        Outcome::Skip { reason } => Ending::Skipped(reason.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::report::example::results;

    #[test]
    fn each_runtime_is_a_test_suite_with_its_counts() {
        let text = junit(&results());
        assert!(
            text.contains(
                "<testsuite name=\"two (two version 1)\" tests=\"2\" failures=\"1\" skipped=\"1\""
            ),
            "{text}"
        );
        assert!(text.contains("seen: &lt;b&gt; &amp; &quot;c&quot;"), "{text}");
        assert!(text.contains("\nclause: MUST, https://"), "{text}");
        assert!(
            text.contains("config.md#extensibility\nconfig: /a = &quot;&lt;&amp;&gt;&quot;"),
            "{text}"
        );
        assert!(text.contains("<skipped message=\"known failure: it is like that\"/>"), "{text}");
    }
}
