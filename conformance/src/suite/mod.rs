//! A conformance suite for any OCI runtime: cases from the runtime specification and from the behaviour of runc, run
//! with several runtimes side by side.
//!
//! A [`Case`] is a plain record with a function. A worker, a process of its own for each runtime, runs one after the
//! other in a sandbox; its supervisor ends it when it hangs and starts another. What a runtime is known to fail is
//! stated in the record and has to fail.

mod case;
mod cases;
mod difference;
mod expect;
mod facts;
mod live;
mod place;
pub mod report;
mod results;
mod supervisor;
mod trial;
mod worker;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::set_child_subreaper;

pub use case::{Case, Driver, Fault, Finding, Known, Level, Need, Topic};
pub use cases::TOPICS;
pub use facts::Facts;
pub use results::{Outcome, Record, Results, Totals};
pub use supervisor::WORKER;
pub use trial::{Mode, Trial};
pub use worker::{Order, serve};

use crate::contender::Contender;
use supervisor::Supervisor;

/// What is to be run.
#[derive(Debug)]
pub struct Plan {
    /// The runtimes.
    pub contenders: Vec<Contender>,
    /// How they are run.
    pub mode: Mode,
    /// The numbers of the cases, as [`select`] gives them.
    pub cases: Vec<usize>,
    /// How long a case may take.
    pub limit: Duration,
    /// One runtime after the other rather than all at once.
    pub serial: bool,
}

/// The numbers of the cases that a filter selects: the name of a topic selects its cases, other words those in which they occur
/// (in `TOPIC: NAME`); all where there is no filter.
///
/// # Errors
/// When a filter selects nothing.
pub fn select(filters: &[String]) -> Result<Vec<usize>, String> {
    let matches = |filter: &str, topic: &Topic, case: &Case| {
        let is_topic = TOPICS.iter().any(|topic| topic.name == filter);
        if is_topic {
            topic.name == filter
        } else {
            format!("{}: {}", topic.name, case.name).contains(filter)
        }
    };
    let all: Vec<_> = cases::all().collect();
    if let Some(filter) =
        filters.iter().find(|filter| !all.iter().any(|(topic, case)| matches(filter, topic, case)))
    {
        return Err(format!(
            "no topic and no case is called `{filter}`: `nconform run --list` shows them"
        ));
    }
    let wanted = |(topic, case): &(&Topic, &Case)| {
        filters.is_empty() || filters.iter().any(|filter| matches(filter, topic, case))
    };
    let numbers = all.iter().enumerate().filter(|(_, entry)| wanted(entry));
    Ok(numbers.map(|(number, _)| number).collect())
}

/// Runs the cases with every runtime, telling `progress` about each.
///
/// # Errors
/// When this machine lets no worker start.
pub fn run(plan: &Plan, progress: &(dyn Fn(&str) + Sync)) -> Result<Results, String> {
    // What a worker that was killed leaves behind comes to this process.
    set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|errno| format!("cannot become a subreaper: {}", sys::text(errno)))?;
    let start = Instant::now();
    let turn = Mutex::new(());
    let columns = std::thread::scope(|scope| {
        let threads: Vec<_> = plan
            .contenders
            .iter()
            .map(|contender| {
                let turn = &turn;
                scope.spawn(move || {
                    let _turn = plan.serial.then(|| turn.lock());
                    column(plan, contender, progress)
                })
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join().expect("a supervisor"));
        joined.collect::<Result<Vec<_>, String>>()
    })?;
    Ok(Results::new(plan, columns, start.elapsed()))
}

/// All cases with one runtime.
fn column(
    plan: &Plan,
    contender: &Contender,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<Vec<Record>, String> {
    // A call that hangs must not take the time of the whole case with it.
    let limit = Duration::from_secs((plan.limit.as_secs() / 2).max(1));
    let order = Order { program: contender.program.clone(), mode: plan.mode, limit };
    let mut supervisor = Supervisor::new(order, plan.limit);
    let unified = Facts::probe().unified();
    let mut records = Vec::with_capacity(plan.cases.len());
    for &number in &plan.cases {
        let (topic, case) = cases::all().nth(number).expect("a number of a case");
        progress(&format!("{}: {}: {}", contender.name, topic.name, case.name));
        let reply = supervisor.ask(number)?;
        records.push(Record::judge(reply, case.known_for(contender, plan.mode, unified)));
    }
    supervisor.end();
    Ok(records)
}
