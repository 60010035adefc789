//! TAP 14: a subtest for each runtime. A known failure is a TODO, which consumers do not count as a failure.

use std::fmt::Write;

use super::background;
use crate::suite::results::Row;
use crate::suite::{Outcome, Record, Results};

/// The report as TAP version 14.
#[must_use]
pub fn tap(results: &Results) -> String {
    let mut out = format!("TAP version 14\n1..{}\n", results.runtimes.len());
    for (index, runtime) in results.runtimes.iter().enumerate() {
        let name = escape(&runtime.name);
        let _ = writeln!(out, "# Subtest: {name}\n    1..{}", results.rows.len());
        let mut has_failed = false;
        for (number, row) in results.rows.iter().enumerate() {
            let Some(record) = row.records.get(index) else { continue };
            has_failed |= record.outcome.is_unexpected();
            let title = escape(&format!("{}: {}", row.topic.name, row.case.name));
            line(&mut out, number + 1, &title, row, record);
        }
        let verdict = if has_failed { "not ok" } else { "ok" };
        // Without it a consumer would count a runtime as passed of which nothing was shown.
        let directive = if results.is_tried(index) { "" } else { " # SKIP no case could be tried" };
        let _ = writeln!(out, "{verdict} {} - {name}{directive}", index + 1);
    }
    out
}

fn line(out: &mut String, number: usize, title: &str, row: &Row, record: &Record) {
    let (verdict, directive) = match &record.outcome {
        Outcome::Pass => ("ok", String::new()),
        Outcome::Skip { reason } => ("ok", format!(" # SKIP {}", one_line(reason))),
        Outcome::KnownFailure { why, .. } => ("not ok", format!(" # TODO {}", one_line(why))),
        Outcome::Fail { .. } | Outcome::UnexpectedPass { .. } => ("not ok", String::new()),
    };
    let _ = writeln!(out, "    {verdict} {number} - {title}{directive}");
    let mut lines: Vec<(&str, &str)> = match &record.outcome {
        Outcome::Fail { expected, seen } | Outcome::KnownFailure { expected, seen, .. } => {
            vec![("expected", expected), ("seen", seen)]
        }
        Outcome::UnexpectedPass { why } => {
            vec![("message", "passed, though known to fail"), ("known", why)]
        }
        Outcome::Pass | Outcome::Skip { .. } => return,
    };
    let background = background(row, record);
    lines.extend(background.iter().map(|(key, value)| (*key, value.as_str())));
    let _ = writeln!(out, "      ---");
    for (key, value) in lines {
        // A JSON string is a YAML string.
        let _ = writeln!(out, "      {key}: {}", serde_json::Value::from(value));
    }
    let _ = writeln!(out, "      ...");
}

/// A `#` would begin a directive.
fn escape(text: &str) -> String {
    one_line(text).replace('\\', "\\\\").replace('#', "\\#")
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::report::example::results;

    #[test]
    fn known_failures_are_todo_and_skips_say_why() {
        let text = tap(&results());
        assert!(text.starts_with("TAP version 14\n1..2\n# Subtest: one\n    1..2\n"), "{text}");
        assert!(text.contains("\nok 1 - one\n# Subtest: two\n"), "{text}");
        assert!(text.ends_with("\nnot ok 2 - two\n"), "{text}");
        assert!(text.contains("      seen: \"<b> & \\\"c\\\"\"\n"), "{text}");
        let clause =
            "https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config.md#extensibility";
        assert!(text.contains(&format!("      clause: \"MUST, {clause}\"\n")), "{text}");
        assert!(text.contains("      config: \"/a = \\\"<&>\\\"\"\n"), "{text}");
        assert!(text.contains(" # TODO it is like that\n"), "{text}");
        assert!(text.contains(" # SKIP the host has no wheels\n"), "{text}");
        assert_eq!(escape("a # b\\c"), "a \\# b\\\\c");
    }

    #[test]
    fn a_runtime_of_which_nothing_was_shown_is_skipped_as_a_whole() {
        let mut results = results();
        for row in &mut results.rows {
            row.records[0].outcome = Outcome::Skip { reason: "the host has no wheels".to_owned() };
        }
        let text = tap(&results);
        assert!(text.contains("\nok 1 - one # SKIP no case could be tried\n"), "{text}");
        assert!(text.ends_with("\nnot ok 2 - two\n") && results.has_failed(), "{text}");
    }
}
