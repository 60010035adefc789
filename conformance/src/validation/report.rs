//! A line for each program with a column for each runtime, and JUnit XML.

use std::fmt::Write;

use super::{Ending, Results, Tally};
use crate::junit::{self, Suite, Test};

/// The report as plain text: the table, totals, then what went wrong.
#[must_use]
pub fn text(results: &Results) -> String {
    let mut out = String::new();
    for runtime in &results.runtimes {
        let _ =
            writeln!(out, "{}: {} ({})", runtime.name, runtime.version, runtime.program.display());
    }
    let mut table = vec![vec![String::new()]];
    table[0].extend(results.runtimes.iter().map(|runtime| runtime.name.clone()));
    for (number, program) in results.programs.iter().enumerate() {
        let mut line = vec![program.name.clone()];
        line.extend(results.columns.iter().map(|column| cell(&column[number].ending)));
        table.push(line);
    }
    let mut last = vec!["total".to_owned()];
    last.extend((0..results.runtimes.len()).map(|index| total(results, index)));
    table.push(last);
    out.push('\n');
    let widths: Vec<usize> = (0..=results.runtimes.len())
        .map(|column| table.iter().map(|line| line[column].len()).max().unwrap_or(0))
        .collect();
    for line in table {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    for (runtime, column) in results.runtimes.iter().zip(&results.columns) {
        for (program, run) in results.programs.iter().zip(column) {
            if run.ending.is_failure() {
                let why = reasons(&run.ending).replace('\n', "\n    ");
                let _ = writeln!(out, "\n{}: {}\n    {why}", runtime.name, program.name);
            }
        }
    }
    out
}

/// The report as JUnit XML: a test suite for each runtime, a test for each program.
#[must_use]
pub fn junit(results: &Results) -> String {
    let suites: Vec<Suite> = results
        .runtimes
        .iter()
        .zip(&results.columns)
        .map(|(runtime, column)| Suite {
            name: format!("{} ({})", runtime.name, runtime.version),
            tests: results
                .programs
                .iter()
                .zip(column)
                .map(|(program, run)| Test {
                    class: format!("{}.validation", runtime.name),
                    name: program.name.clone(),
                    time: run.time,
                    ending: match &run.ending {
                        Ending::Passed(_) => junit::Ending::Passed,
                        Ending::Skipped(_) => {
                            junit::Ending::Skipped("it skips all its tests".to_owned())
                        }
                        ending => {
                            junit::Ending::Failed { why: cell(ending), details: reasons(ending) }
                        }
                    },
                })
                .collect(),
        })
        .collect();
    junit::document("nconform validation", &suites)
}

/// `pass 9`, `FAIL 1 of 9`, `hangs`, `skip`.
fn cell(ending: &Ending) -> String {
    let count = |tally: &Tally| tally.passed + tally.todo + tally.failed;
    match ending {
        Ending::Passed(tally) => format!("pass {}", count(tally)),
        Ending::Skipped(_) => "skip".to_owned(),
        Ending::Failed { tally, .. } if tally.failed > 0 => {
            format!("FAIL {} of {}", tally.failed, count(tally))
        }
        Ending::Failed { .. } => "FAIL".to_owned(),
        Ending::Hung(_) => "HANGS".to_owned(),
    }
}

fn reasons(ending: &Ending) -> String {
    match ending {
        Ending::Failed { why, .. } => why.join("\n"),
        Ending::Hung(limit) => format!("it still ran after {limit:?}"),
        Ending::Passed(_) | Ending::Skipped(_) => String::new(),
    }
}

/// `50 of 58, 3 skipped`.
fn total(results: &Results, runtime: usize) -> String {
    let count = |wanted: fn(&Ending) -> bool| {
        results.columns[runtime].iter().filter(|run| wanted(&run.ending)).count()
    };
    let passed = count(|ending| matches!(ending, Ending::Passed(_)));
    let skipped = count(|ending| matches!(ending, Ending::Skipped(_)));
    let all = results.programs.len();
    if skipped == 0 {
        format!("{passed} of {all}")
    } else {
        format!("{passed} of {all}, {skipped} skipped")
    }
}
