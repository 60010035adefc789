//! Runtimes side by side: the same work for each in turn, measured from outside.
//!
//! Runs are interleaved, so that whatever else the machine does falls on all alike, and CPU time
//! counts every process of a runtime: what it waits for itself, and the container's first process,
//! which this process waits for as the subreaper. Nothing here fails on a time.

mod bars;
mod cases;
mod chart;
mod count;
mod floor;
mod measure;
mod report;

use std::sync::mpsc;

pub use bars::Bar;
pub use cases::{Case, Counts};
pub use count::{Calls, count_create};
pub use floor::{FLOOR, Floor};
pub use measure::Sample;
pub use report::{Entry, Report, Summary};

use report::Rounds;

use crate::contender::Contender;
use crate::fixture::Sandbox;

/// Measures every contender `runs` times in every case, calling `progress` before each round. A runtime that fails in a case
/// takes no further part in it.
///
/// # Panics
/// When not root, or when something is left on the machine.
#[must_use]
pub fn compare(
    contenders: &[Contender],
    cases: &[Case],
    runs: usize,
    progress: &dyn Fn(&str),
) -> Report {
    let sandbox = Sandbox::enter();
    contenders.iter().for_each(Contender::read_anew);
    let mut report = Report::of_this_machine(runs, measure::peak_floor(), contenders);
    std::thread::scope(|scope| {
        let workers: Vec<Worker> =
            contenders.iter().map(|contender| Worker::start(scope, contender)).collect();
        for &case in cases {
            let results = interleave(case, contenders, &workers, case.rounds(runs), progress);
            for (index, rounds) in results.iter().enumerate() {
                if case.suits(&contenders[index]) {
                    report.add(index, case, rounds);
                }
            }
        }
        for (index, worker) in workers.iter().enumerate() {
            progress(&format!("system calls of {}", contenders[index].name));
            // What fails there has failed in its case, too, and stands in the table of that.
            report.add_counts(index, worker.count().unwrap_or_default());
        }
    });
    sandbox.assert_clean();
    report.finish()
}

/// The rounds of one case, for every contender that the case suits.
fn interleave(
    case: Case,
    contenders: &[Contender],
    workers: &[Worker],
    count: usize,
    progress: &dyn Fn(&str),
) -> Vec<Rounds> {
    let mut results = vec![Rounds::default(); workers.len()];
    // The first round warms caches up and does not count.
    for round in 0..=count {
        progress(&format!("{} {round}/{count}", case.rows().join(", ")));
        for ((contender, worker), rounds) in contenders.iter().zip(workers).zip(&mut results) {
            if rounds.failure.is_some() || !case.suits(contender) {
                continue;
            }
            match worker.measure(case) {
                Ok(samples) if round > 0 => rounds.samples.push(samples),
                Ok(_) => {}
                Err(why) => rounds.failure = Some(why),
            }
        }
    }
    results
}

/// What a worker is asked to do, with the channel for its answer.
enum Order {
    Measure(Case, mpsc::Sender<Result<Vec<Sample>, String>>),
    Count(mpsc::Sender<Result<Counts, String>>),
}

/// A thread for one contender, so that each sees the mounts that suit it.
struct Worker {
    orders: mpsc::Sender<Order>,
}

impl Worker {
    fn start<'scope>(
        scope: &'scope std::thread::Scope<'scope, '_>,
        contender: &'scope Contender,
    ) -> Self {
        let (orders, inbox) = mpsc::channel();
        scope.spawn(move || {
            contender.hide_what_it_cannot_bear();
            let bench = cases::Bench::prepare(contender);
            // An answer that nobody waits for any more is no fault.
            for order in inbox {
                match order {
                    Order::Measure(case, answer) => drop(answer.send(bench.measure(case))),
                    Order::Count(answer) => drop(answer.send(bench.count())),
                }
            }
        });
        Self { orders }
    }

    fn measure(&self, case: Case) -> Result<Vec<Sample>, String> {
        self.ask(|answer| Order::Measure(case, answer))
    }

    fn count(&self) -> Result<Counts, String> {
        self.ask(Order::Count)
    }

    fn ask<T>(&self, order: impl FnOnce(mpsc::Sender<T>) -> Order) -> T {
        let (answer, wait) = mpsc::channel();
        self.orders.send(order(answer)).expect("a worker that listens");
        wait.recv().expect("a runtime that works")
    }
}
