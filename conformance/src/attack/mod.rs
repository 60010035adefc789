//! Attacks that have broken container runtimes, tried on any runtime, against canaries in private namespaces.
//!
//! A container that does not start is as good a defence as one that starts and does no harm: what counts is what became of the
//! host, and what the container got hold of.

mod cases;
mod cgroups;
mod exhaustion;
mod identity;
mod messages;
mod sockets;

use std::fmt;

use rustix::process::set_child_subreaper;
use serde::Serialize;

use crate::contender::Contender;
use crate::fixture::{BundleDir, Runtime, Sandbox};

/// What became of an attack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The host is as it was.
    Safe,
    /// It worked: what was seen.
    Broken(String),
    /// It could not be tried, and why.
    NotApplicable(String),
}

/// An attack.
#[derive(Clone, Copy)]
struct Case {
    /// The letter of its class in docs/cves.md.
    class: char,
    name: &'static str,
    attack: fn(&Runtime) -> Verdict,
}

/// All attacks on all runtimes.
#[derive(Debug, Serialize)]
pub struct Report {
    runtimes: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    class: char,
    name: &'static str,
    /// One for each runtime, in their order.
    verdicts: Vec<Verdict>,
}

/// Tries every attack whose class or name contains `filter` on every runtime, calling `progress` before each.
///
/// # Panics
/// When not root, or when a fixture cannot be set up.
#[must_use]
pub fn attack(runtimes: &[Contender], filter: &str, progress: &(dyn Fn(&str) + Sync)) -> Report {
    let cases: Vec<Case> = (cases::all().into_iter())
        .filter(|case| {
            filter.is_empty() || case.name.contains(filter) || case.class.to_string() == filter
        })
        .collect();
    let _sandbox = Sandbox::enter();
    // What a broken runtime has left is killed with its cgroups, and is nobody's to wait for here.
    set_child_subreaper(None).expect("cease to be a subreaper");
    let try_all = |contender: &Contender| -> Vec<Verdict> {
        contender.hide_what_it_cannot_bear();
        // Who runs no container at all withstands everything, which shows nothing.
        let idle = runs_no_container(&Runtime::at(&contender.program));
        let one = |case: &Case| {
            progress(&format!("{}: {}", contender.name, case.name));
            match &idle {
                Some(why) => Verdict::NotApplicable(why.clone()),
                None => (case.attack)(&Runtime::at(&contender.program)),
            }
        };
        cases.iter().map(one).collect()
    };
    // A thread for each, so that each sees the mounts that suit it.
    let columns: Vec<Vec<Verdict>> = std::thread::scope(|scope| {
        let try_all = &try_all;
        let one =
            |contender| scope.spawn(move || try_all(contender)).join().expect("a runtime's thread");
        runtimes.iter().map(one).collect()
    });
    let row = |(index, case): (usize, &Case)| Row {
        class: case.class,
        name: case.name,
        verdicts: columns.iter().map(|column| column[index].clone()).collect(),
    };
    Report {
        runtimes: runtimes
            .iter()
            .map(|runtime| format!("{} ({})", runtime.name, runtime.version))
            .collect(),
        rows: cases.iter().enumerate().map(row).collect(),
    }
}

/// What comes of a plain container, where that is not what it prints.
fn runs_no_container(runtime: &Runtime) -> Option<String> {
    let bundle = BundleDir::new().shell("echo alive");
    match cases::run(runtime, &bundle) {
        Ok(output) if output.text() == "alive" => None,
        Ok(output) => Some(format!("a plain container does not run; {output}")),
        Err(why) => Some(format!("a plain container does not run; {why}")),
    }
}

impl Report {
    /// Whether no attack was selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many attacks did no harm to the runtime with this index.
    #[must_use]
    pub fn safe(&self, runtime: usize) -> usize {
        self.rows.iter().filter(|row| row.verdicts[runtime] == Verdict::Safe).count()
    }

    /// How many attacks worked on the runtime with this index.
    #[must_use]
    pub fn broken(&self, runtime: usize) -> usize {
        let broken = |row: &&Row| matches!(row.verdicts[runtime], Verdict::Broken(_));
        self.rows.iter().filter(broken).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<58}", "class and attack")?;
        self.runtimes.iter().try_for_each(|name| {
            write!(f, " {:>14}", name.split(' ').next().unwrap_or_default())
        })?;
        writeln!(f)?;
        for Row { class, name, verdicts } in &self.rows {
            write!(f, "{class} {name:<56}")?;
            for verdict in verdicts {
                let word = match verdict {
                    Verdict::Safe => "SAFE",
                    Verdict::Broken(_) => "BROKEN",
                    Verdict::NotApplicable(_) => "NOT APPLICABLE",
                };
                write!(f, " {word:>14}")?;
            }
            writeln!(f)?;
        }
        for Row { name, verdicts, .. } in &self.rows {
            for (verdict, runtime) in verdicts.iter().zip(&self.runtimes) {
                if let Verdict::Broken(seen) | Verdict::NotApplicable(seen) = verdict {
                    writeln!(f, "\n{runtime}, {name}:\n    {}", seen.replace('\n', "\n    "))?;
                }
            }
        }
        Ok(())
    }
}
