//! Runtimes side by side: the same work for each in turn, measured from outside.
//!
//! Runs are interleaved, in an order that changes, so that whatever else the machine does falls on all alike, and CPU time
//! counts every process of a runtime: what it waits for itself, and the container's first process,
//! which this process waits for as the subreaper. Nothing here fails on a time.

mod bars;
mod cases;
mod chart;
mod count;
mod filter;
mod floor;
mod growth;
mod measure;
pub mod peak;
mod report;

use std::sync::mpsc;

pub use bars::Bar;
pub use cases::{Case, Counts};
pub use count::{Calls, count_create};
pub use filter::FilterCost;
pub use floor::{FLOOR, Floor};
pub use measure::Sample;
pub use report::{Entry, Report, Summary};

use growth::Beside;
use measure::Purpose;
use report::Rounds;

use sys::seccomp::Instruction;

use crate::contender::Contender;
use crate::fixture::{Sandbox, scratch_dir};

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
        let all = Field { contenders, workers: &workers, progress };
        for &case in cases {
            let count = case.rounds(runs);
            match case {
                Case::Filter => all.measure_filters(&mut report),
                Case::Seccomp => {
                    all.lend_filter_to_floor();
                    all.measure(case, count, &mut report);
                }
                Case::Growth => all.measure_growth(count, &mut report),
                _ => all.measure(case, count, &mut report),
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

/// Everybody who takes part.
struct Field<'a> {
    contenders: &'a [Contender],
    workers: &'a [Worker],
    progress: &'a dyn Fn(&str),
}

impl Field<'_> {
    /// The indices of those whom a case suits.
    fn suited_by(&self, case: Case) -> impl Iterator<Item = usize> {
        (0..self.contenders.len()).filter(move |index| case.suits(&self.contenders[*index]))
    }

    fn measure(&self, case: Case, count: usize, report: &mut Report) {
        let fresh = vec![Rounds::default(); self.suited_by(case).count()];
        let results = self.interleave(case, case.rows(), count, fresh);
        for (index, rounds) in self.suited_by(case).zip(results) {
            report.add(index, case, &rounds);
        }
    }

    /// The shortest filter that anybody makes of the default profile is the floor's, who makes none.
    fn lend_filter_to_floor(&self) {
        let Some(floor) = self.contenders.iter().position(|one| one.name == FLOOR) else { return };
        let filters =
            self.suited_by(Case::Filter).filter_map(|index| self.workers[index].filter().ok());
        if let Some(shortest) = filters.min_by_key(Vec::len) {
            self.workers[floor].lend(shortest);
        }
    }

    fn measure_filters(&self, report: &mut Report) {
        (self.progress)("filter");
        let suited = || self.suited_by(Case::Filter);
        let filters: Vec<_> = suited().map(|index| self.workers[index].filter()).collect();
        for (index, cost) in suited().zip(filter::measure(&filters)) {
            report.add_filter(index, cost);
        }
    }

    /// The rounds of one case, for every contender that the case suits. Who has failed in `results` already takes no part.
    fn interleave(
        &self,
        case: Case,
        rows: &[&str],
        count: usize,
        mut results: Vec<Rounds>,
    ) -> Vec<Rounds> {
        let peaks = case.peak_rounds();
        for round in 0..peaks + count {
            let purpose = if round < peaks { Purpose::Peak } else { Purpose::Time };
            let done = (round + 1).saturating_sub(peaks);
            (self.progress)(&format!("{} {done}/{count}", rows.join(", ")));
            let turns = self.suited_by(case).zip(&mut results).collect();
            for (index, rounds) in turn(turns, round) {
                if rounds.failure.is_some() {
                    continue;
                }
                match self.workers[index].measure(case, purpose) {
                    Ok(samples) if purpose == Purpose::Peak => rounds.for_peak.push(samples),
                    Ok(samples) => rounds.for_time.push(samples),
                    Err(why) => rounds.failure = Some(why),
                }
            }
        }
        results
    }

    /// Measures a `create` in each of its surroundings, which are there for all contenders at once.
    fn measure_growth(&self, count: usize, report: &mut Report) {
        let case = Case::Growth;
        let mounts = scratch_dir();
        let surround = |beside: &Beside| -> Vec<Rounds> {
            let one = |index: usize| Rounds {
                failure: self.workers[index].surround(beside.clone()).err(),
                ..Rounds::default()
            };
            self.suited_by(case).map(one).collect()
        };
        for (row, beside) in growth::stages(mounts.path()) {
            (self.progress)(row);
            let results = self.interleave(case, &[row], count, surround(&beside));
            for (index, rounds) in self.suited_by(case).zip(results) {
                report.add_row(index, row, 0, &rounds);
            }
        }
        // Who cannot remove what it has made is found out by the search for leaks.
        let _ = surround(&Beside::Nothing);
    }
}

/// The order of a round. In as many rounds as there are contenders, twice that where they are odd in number, everybody begins equally
/// often and follows everybody else equally often (the square of Williams, 1949): it finds the caches as the one before has left them,
/// and the kernel still at work on its network namespace.
fn turn<T>(all: Vec<T>, round: usize) -> Vec<T> {
    let count = all.len();
    let mut waiting: Vec<_> = all.into_iter().map(Some).collect();
    // 0, 1, -1, 2, -2 and so on: no two neighbours are the same distance apart.
    let zigzag = (0..count)
        .map(|place| (if place % 2 == 1 { place.div_ceil(2) } else { count - place / 2 }) + round);
    let mut order: Vec<_> =
        zigzag.filter_map(|place| waiting.get_mut(place % count)?.take()).collect();
    if count > 0 && round / count % 2 == 1 {
        order.reverse();
    }
    order
}

/// What a worker is asked to do, with the channel for its answer.
enum Order {
    Measure(Case, Purpose, mpsc::Sender<Result<Vec<Sample>, String>>),
    Surround(Beside, mpsc::Sender<Result<(), String>>),
    Filter(mpsc::Sender<Result<Vec<Instruction>, String>>),
    Lend(Vec<Instruction>, mpsc::Sender<()>),
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
                    Order::Measure(case, purpose, answer) => {
                        drop(answer.send(bench.measure(case, purpose)));
                    }
                    Order::Surround(beside, answer) => drop(answer.send(bench.surround(&beside))),
                    Order::Filter(answer) => drop(answer.send(bench.installed_filter())),
                    Order::Lend(filter, answer) => {
                        bench.lend(&filter);
                        answer.send(()).unwrap_or_default();
                    }
                    Order::Count(answer) => drop(answer.send(bench.count())),
                }
            }
        });
        Self { orders }
    }

    fn measure(&self, case: Case, purpose: Purpose) -> Result<Vec<Sample>, String> {
        self.ask(|answer| Order::Measure(case, purpose, answer))
    }

    fn surround(&self, beside: Beside) -> Result<(), String> {
        self.ask(|answer| Order::Surround(beside, answer))
    }

    fn filter(&self) -> Result<Vec<Instruction>, String> {
        self.ask(Order::Filter)
    }

    fn lend(&self, filter: Vec<Instruction>) {
        self.ask(|answer| Order::Lend(filter, answer));
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

#[cfg(test)]
mod tests {
    use super::turn;
    use std::collections::BTreeMap;

    #[test]
    fn everybody_begins_and_follows_everybody_else_equally_often() {
        for count in 2..=7 {
            let rounds = 2 * count;
            let mut followed: BTreeMap<(usize, usize), usize> = BTreeMap::new();
            let mut first: BTreeMap<usize, usize> = BTreeMap::new();
            for round in 0..rounds {
                let order = turn((0..count).collect(), round);
                *first.entry(order[0]).or_insert(0) += 1;
                for pair in order.windows(2) {
                    *followed.entry((pair[0], pair[1])).or_insert(0) += 1;
                }
            }
            assert_eq!(first.len(), count);
            assert!(first.values().all(|&times| times == 2), "{count}: {first:?}");
            assert_eq!(followed.len(), count * (count - 1), "{count}: {followed:?}");
            assert!(followed.values().all(|&times| times == 2), "{count}: {followed:?}");
        }
        assert!(turn(Vec::<u8>::new(), 3).is_empty());
        assert_eq!(turn(vec!["alone"], 3), ["alone"]);
    }
}
