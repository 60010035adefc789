//! The process that runs cases with one runtime: reads their numbers from standard input, answers each with a line of JSON.
//!
//! It is a process of its own so that a case that crashes or hangs costs only itself. It ends when its input does.

use std::cell::OnceCell;
use std::io::{BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::case::{Case, Fault, Finding, Verdict};
use super::cases;
use super::facts::Facts;
use super::place::Place;
use super::trial::{Mode, Trial};
use crate::contender::Contender;

/// What a worker is told when it is started.
#[derive(Debug, Clone)]
pub struct Order {
    /// The runtime.
    pub program: PathBuf,
    /// How it is run.
    pub mode: Mode,
    /// How long one call may take.
    pub limit: Duration,
}

/// What became of one case.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reply {
    /// What it found; nothing when all is as it must be.
    pub(super) finding: Option<Finding>,
    /// What it changed in config.json.
    pub(super) config: Vec<String>,
    /// How long it took.
    pub(super) millis: u64,
}

/// What a worker says when the host has all that its place takes.
pub(super) const READY: &str = "ready";

/// What the last panic said.
static PANIC: Mutex<String> = Mutex::new(String::new());

/// Serves until standard input ends.
///
/// # Errors
/// When the runtime is none, or an answer cannot be written.
///
/// # Panics
/// When the machine has no room for the sandbox; whoever started the worker sees the text.
pub fn serve(order: &Order) -> Result<(), String> {
    let contender = Contender::probe(&order.program)?;
    set_hook(Box::new(|info| {
        let text = info.to_string();
        // Where a panic ends the process, this is all that is heard of it.
        let _ = writeln!(std::io::stderr(), "{text}");
        if let Ok(mut last) = PANIC.lock() {
            *last = text;
        }
    }));
    let place = Rc::new(Place::enter(&order.program, order.mode.rootless));
    contender.hide_what_it_cannot_bear();
    let facts = Rc::new(Facts::probe());
    let control = OnceCell::new();
    say(READY)?;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let number: usize = line.parse().map_err(|_| format!("`{line}` is no number of a case"))?;
        let case = cases::all().nth(number).ok_or_else(|| format!("there is no case {number}"))?.1;
        let mut reply = answer(case, &place, &facts, order);
        if reply.finding.is_none() {
            let trial = || Trial::new(Rc::clone(&place), Rc::clone(&facts), order);
            reply.finding = control.get_or_init(|| runs_a_container(trial()).err()).clone();
        }
        say(&serde_json::to_string(&reply).expect("plain data always serialises"))?;
    }
    Ok(())
}

/// A line for the supervisor.
fn say(line: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| error.to_string())
}

/// What a case that passes rests on: who runs no container at all refuses what must be refused, and changes nothing that must stay.
fn runs_a_container(trial: Trial) -> Verdict {
    let seen = trial.observe(trial.bundle()).map(drop);
    seen.and(trial.finish()).map_err(|finding| match finding {
        Finding::Fail { fault, seen, .. } => Finding::fault(fault, "a plain container runs", seen),
        skipped => skipped,
    })
}

fn answer(case: &Case, place: &Rc<Place>, facts: &Rc<Facts>, order: &Order) -> Reply {
    let start = Instant::now();
    let millis = || start.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
    if let Some(reason) = impossible(case, facts, order.mode) {
        return Reply { finding: Some(Finding::skip(reason)), config: Vec::new(), millis: 0 };
    }
    let trial = Trial::new(Rc::clone(place), Rc::clone(facts), order);
    let verdict = catch_unwind(AssertUnwindSafe(|| (case.run)(&trial))).unwrap_or_else(|_| {
        let text = PANIC.lock().map(|last| last.clone()).unwrap_or_default();
        Err(Finding::fault(Fault::Crashed, "the case comes to an end", text))
    });
    let config = trial.differences();
    let left = trial.finish();
    let finding = match (verdict, left) {
        (Err(finding), Err(left)) => Some(finding.with_leftovers(left)),
        (verdict, left) => verdict.and(left).err(),
    };
    Reply { finding, config, millis: millis() }
}

/// Why a case says nothing here.
fn impossible(case: &Case, facts: &Facts, mode: Mode) -> Option<String> {
    if mode.systemd && !facts.systemd() {
        return Some("systemd does not manage this host".to_owned());
    }
    if let Some(reason) = case.unfit(mode) {
        return Some(reason.to_owned());
    }
    let missing = case.needs.iter().find(|need| !(need.is_met)(facts))?;
    Some(format!("the host has no {}", missing.what))
}
