//! A table with a row for each topic and a column for each runtime, then what is not as it must be.

use std::fmt::Write;

use crate::suite::{Outcome, Record, Results, Totals};

/// The report as plain text.
#[must_use]
pub fn text(results: &Results) -> String {
    let mut out = String::new();
    head(&mut out, results);
    table(&mut out, results);
    let is = |outcome: &Outcome, word: &str| outcome.word() == word;
    section(&mut out, results, "known failures", |record| is(&record.outcome, "known"));
    skipped(&mut out, results);
    // What somebody has to look into stands last: a terminal shows the end, and so do most pages of a build server.
    section(&mut out, results, "passed, though known to fail", |record| {
        is(&record.outcome, "unexpected")
    });
    section(&mut out, results, "failed", |record| is(&record.outcome, "fail"));
    out
}

fn head(out: &mut String, results: &Results) {
    let seconds = results.elapsed.as_secs_f64();
    let _ = writeln!(out, "{}, {}; {seconds:.1} s", results.host, results.mode);
    for runtime in &results.runtimes {
        let program = runtime.program.display();
        let _ = writeln!(out, "  {}: {} ({program})", runtime.name, runtime.version);
    }
}

fn table(out: &mut String, results: &Results) {
    let topics = results.topics();
    let first = topics.iter().map(|topic| topic.name.len()).max().unwrap_or(0).max("total".len());
    let wide = |index: usize| {
        let cells = topics.iter().map(|topic| Some(topic.name)).chain([None]);
        let cells = cells.map(|topic| cell(results.totals(index, topic)).len());
        cells.max().unwrap_or(0).max(results.runtimes[index].name.len())
    };
    let widths: Vec<usize> = (0..results.runtimes.len()).map(wide).collect();
    let mut line = |name: &str, cells: Vec<String>| {
        let mut text = format!("{name:<first$}");
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(text, "  {cell:<width$}");
        }
        let _ = writeln!(out, "{}", text.trim_end());
    };
    line("", Vec::new());
    line("", results.runtimes.iter().map(|runtime| runtime.name.clone()).collect());
    let cells = |topic: Option<&str>| {
        (0..results.runtimes.len()).map(|index| cell(results.totals(index, topic))).collect()
    };
    for topic in &topics {
        line(topic.name, cells(Some(topic.name)));
    }
    line("total", cells(None));
}

/// `12` when all passed, otherwise with what did not: `10, 1 FAILED, 2 known, 1 skipped`.
fn cell(totals: Totals) -> String {
    let mut parts = vec![totals.passed.to_string()];
    for (count, word) in [
        (totals.failed, "FAILED"),
        (totals.unexpected, "UNEXPECTED"),
        (totals.known, "known"),
        (totals.skipped, "skipped"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    parts.join(", ")
}

fn section(out: &mut String, results: &Results, title: &str, wanted: impl Fn(&Record) -> bool) {
    let mut is_first = true;
    for row in &results.rows {
        for (runtime, record) in results.runtimes.iter().zip(&row.records) {
            if !wanted(record) {
                continue;
            }
            if std::mem::take(&mut is_first) {
                let _ = writeln!(out, "\n{title}:");
            }
            let _ = writeln!(
                out,
                "\n  {}: {}: {} ({}, {})",
                runtime.name, row.topic.name, row.case.name, row.case.level, row.topic.section
            );
            for (label, text) in details(record) {
                let indented = text.replace('\n', "\n              ");
                let _ = writeln!(out, "    {label:<9} {indented}");
            }
        }
    }
}

fn details(record: &Record) -> Vec<(&'static str, String)> {
    let (why, pair) = match &record.outcome {
        Outcome::Fail { expected, seen } => (None, Some((expected, seen))),
        // What it comes to is told by the other reports: here it would hide what matters.
        Outcome::KnownFailure { why, .. } | Outcome::UnexpectedPass { why } => (Some(why), None),
        Outcome::Pass | Outcome::Skip { .. } => (None, None),
    };
    let mut lines = Vec::new();
    lines.extend(why.map(|why| ("why", why.clone())));
    if let Some((expected, seen)) = pair {
        lines.push(("expected", expected.clone()));
        lines.push(("seen", seen.clone()));
    }
    // The configuration matters where something is to be looked into.
    if record.outcome.is_unexpected() {
        lines.extend(record.config.iter().map(|line| ("config", line.clone())));
    }
    lines
}

/// Skipped cases by reason, with how many for which runtime.
fn skipped(out: &mut String, results: &Results) {
    let mut reasons: Vec<(&str, String)> = Vec::new();
    for row in &results.rows {
        for (runtime, record) in results.runtimes.iter().zip(&row.records) {
            if let Outcome::Skip { reason } = &record.outcome {
                let who = format!("{}: {}", runtime.name, row.topic.name);
                match reasons.iter_mut().find(|(known, _)| known == reason) {
                    Some((_, list)) if list.split(", ").any(|known| known == who) => {}
                    Some((_, list)) => {
                        list.push_str(", ");
                        list.push_str(&who);
                    }
                    None => reasons.push((reason, who)),
                }
            }
        }
    }
    if !reasons.is_empty() {
        let _ = writeln!(out, "\nskipped:");
    }
    for (reason, who) in reasons {
        let _ = writeln!(out, "  {reason}\n    {who}");
    }
}
