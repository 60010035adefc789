//! `nman doctor`: what this host lacks for running containers, and how to get it. Looks only, and changes nothing.
//!
//! [`probe`] gathers facts, [`judge`] is pure and says what each of them means.

mod judge;
mod kernel;
mod probe;
mod security;
mod user;

use crate::cli::DoctorArgs;
use crate::error::Result;
use crate::listing::{Column, List, ListArgs, Row};
use crate::settings::Settings;
pub use judge::{Finding, Verdict, judge};
pub use probe::Host;
pub use user::UserFacts;
pub(crate) use user::of_delegation;

const LIST: List = List {
    columns: &[
        Column::new("Check", "CHECK"),
        Column::new("Status", "STATUS"),
        Column::new("Found", "FOUND"),
        Column::new("Advice", "ADVICE"),
    ],
    table: &["Check", "Status", "Found"],
    quiet: "Check",
    filters: &[],
};

/// What is printed, and whether something is missing without which containers do not run.
pub fn doctor(settings: &Settings, args: &DoctorArgs) -> Result<(String, bool)> {
    let list = ListArgs { format: args.format.clone(), ..ListArgs::default() };
    let view = LIST.view(&list)?;
    let findings = judge(&Host::probe(settings));
    let is_broken = findings.iter().any(|finding| finding.verdict == Verdict::Missing);
    let mut text = view.render(&findings.iter().map(row).collect::<Vec<_>>())?;
    if args.format.as_deref().is_none_or(|format| matches!(format.trim(), "" | "table")) {
        text.push_str(&summary(&findings));
    }
    Ok((text, is_broken))
}

fn row(finding: &Finding) -> Row {
    Row::new([
        ("Check", finding.check.to_owned()),
        ("Status", finding.verdict.word().to_owned()),
        ("Found", finding.found.clone()),
        ("Advice", finding.advice.clone().unwrap_or_default()),
    ])
}

/// Below the table: what to do about each thing that is not as it should be, what is needed first.
fn summary(findings: &[Finding]) -> String {
    let mut text = String::new();
    for (verdict, title) in [
        (Verdict::Missing, "Needed: containers do not run without"),
        (Verdict::Limited, "Worth having: something works less well without"),
    ] {
        let wanting: Vec<_> =
            findings.iter().filter(|finding| finding.verdict == verdict).collect();
        if wanting.is_empty() {
            continue;
        }
        text.push_str(&format!("\n{title}\n"));
        for finding in wanting {
            let advice =
                finding.advice.as_deref().unwrap_or("nothing that this program knows of helps");
            text.push_str(&format!("  {}: {advice}\n", finding.check));
        }
    }
    if text.is_empty() { "\nNothing is missing.\n".to_owned() } else { text }
}
