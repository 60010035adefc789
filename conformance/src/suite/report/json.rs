//! JSON: everything that is known of a run, for programs.

use serde_json::{Value, json};

use crate::suite::Results;

/// The report as a JSON document: host, mode, seconds, runtimes with their totals, cases with a result for each runtime.
#[must_use]
pub fn json(results: &Results) -> String {
    let runtimes: Vec<Value> = results
        .runtimes
        .iter()
        .enumerate()
        .map(|(index, runtime)| {
            json!({
                "name": runtime.name, "version": runtime.version, "program": runtime.program,
                "totals": results.totals(index, None)
            })
        })
        .collect();
    let cases: Vec<Value> = results
        .rows
        .iter()
        .map(|row| {
            let of = |(runtime, record): (&crate::contender::Contender, &_)| {
                let mut result =
                    serde_json::to_value(record).expect("plain data always serialises");
                result["runtime"] = runtime.name.clone().into();
                result
            };
            let records: Vec<Value> = results.runtimes.iter().zip(&row.records).map(of).collect();
            json!({
                "topic": row.topic.name, "section": row.topic.section, "name": row.case.name,
                "level": row.case.level, "results": records
            })
        })
        .collect();
    let report = json!({
        "host": results.host, "mode": results.mode, "seconds": results.elapsed.as_secs_f64(),
        "runtimes": runtimes, "cases": cases
    });
    serde_json::to_string_pretty(&report).expect("plain data always serialises") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::report::example::results;

    #[test]
    fn a_program_finds_every_outcome_with_what_was_seen() {
        let report: Value = serde_json::from_str(&json(&results())).expect("JSON");
        assert_eq!(report["runtimes"][1]["totals"]["failed"], 1);
        assert_eq!(report["cases"][0]["results"][1]["outcome"], "fail");
        assert_eq!(report["cases"][0]["results"][1]["seen"], "<b> & \"c\"");
        assert_eq!(report["cases"][0]["results"][1]["runtime"], "two");
    }
}
