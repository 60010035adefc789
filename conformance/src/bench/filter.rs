//! What the filter of the default seccomp profile costs, as each runtime makes it: once to install, and in each system call.
//!
//! The filters are read from containers that have them, and installed in threads of the benchmark, in turn: everything but the
//! instructions is the same for all.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use serde::Serialize;
use sys::seccomp::{FLAG_SPEC_ALLOW, Instruction};

/// How often each filter is installed, each time in a new thread.
const THREADS: usize = 200;

/// How often each system call is made in one of the threads.
const CALLS: u32 = 500;

/// How long a container that runs may take to be under its filter.
const LIMIT: Duration = Duration::from_secs(5);

/// The filter of one runtime, or what stood in the way of it. Times are medians, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FilterCost {
    pub(super) instructions: usize,
    /// Of seccomp(2), which checks and compiles the program and tries it on every system call.
    pub(super) install: u128,
    /// Of getppid(2), which is allowed whatever its arguments are: the kernel remembers that and asks no filter.
    pub(super) allowed: u128,
    /// Of personality(2) with the last of the five arguments that are allowed.
    pub(super) by_argument: u128,
    /// Of delete_module(2), which is refused.
    pub(super) refused: u128,
    /// What the runtime said instead of figures.
    pub(super) failure: Option<String>,
}

/// One thread's figures, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    install: u128,
    allowed: u128,
    by_argument: u128,
    refused: u128,
}

/// The filter that a process has, which may be about to be installed.
pub(super) fn filter_of(pid: Pid) -> Result<Vec<Instruction>, String> {
    let limit = Instant::now() + LIMIT;
    loop {
        match sys::ptrace::first_filter(pid) {
            Ok(filter) => return Ok(filter),
            Err(error) if Instant::now() > limit => {
                return Err(format!("cannot read the filter of the container: {error}"));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// The filter as the kernel takes it: an array of `struct sock_filter` (linux/filter.h).
pub(super) fn bytes(filter: &[Instruction]) -> Vec<u8> {
    let bytes = |&Instruction { code, jt, jf, k }: &Instruction| {
        code.to_ne_bytes().into_iter().chain([jt, jf]).chain(k.to_ne_bytes())
    };
    filter.iter().flat_map(bytes).collect()
}

/// Measures all filters in turn, for as many rounds as there are threads for each.
pub(super) fn measure(filters: &[Result<Vec<Instruction>, String>]) -> Vec<FilterCost> {
    let mut samples = vec![Vec::new(); filters.len()];
    for _ in 0..THREADS {
        for (filter, samples) in filters.iter().zip(&mut samples) {
            if let Ok(program) = filter {
                samples.push(in_a_thread(program.clone()).join().expect("a thread that measures"));
            }
        }
    }
    filters.iter().zip(&samples).map(|(filter, samples)| summary(filter, samples)).collect()
}

/// A filter binds its thread for ever, so that each measurement spends one.
fn in_a_thread(program: Vec<Instruction>) -> JoinHandle<Sample> {
    std::thread::spawn(move || {
        rustix::thread::set_no_new_privs(true).expect("give up new privileges");
        let start = Instant::now();
        // Every runtime leaves speculative store bypass as it is, or not: that is no cost of the filter's.
        sys::seccomp::install(&program, FLAG_SPEC_ALLOW).expect("install a filter again");
        Sample {
            install: start.elapsed().as_nanos(),
            allowed: time_of(rustix::process::getppid),
            // The value that changes nothing and asks what the personality is.
            by_argument: time_of(|| sys::execution::set_personality(u32::MAX)),
            refused: time_of(|| rustix::system::delete_module(c"nrt-none", 0)),
        }
    })
}

fn time_of<T>(call: impl Fn() -> T) -> u128 {
    let start = Instant::now();
    for _ in 0..CALLS {
        std::hint::black_box(call());
    }
    start.elapsed().as_nanos() / u128::from(CALLS)
}

fn summary(filter: &Result<Vec<Instruction>, String>, samples: &[Sample]) -> FilterCost {
    let median = |value: fn(&Sample) -> u128| {
        let mut values: Vec<u128> = samples.iter().map(value).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or(0)
    };
    FilterCost {
        instructions: filter.as_ref().map_or(0, Vec::len),
        install: median(|sample| sample.install),
        allowed: median(|sample| sample.allowed),
        by_argument: median(|sample| sample.by_argument),
        refused: median(|sample| sample.refused),
        failure: filter.as_ref().err().cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::cases::Bench;
    use super::*;
    use crate::contender::Contender;
    use crate::fixture::{Sandbox, binary};

    #[test]
    fn the_filter_of_a_container_is_read_and_refuses_here_what_it_refuses_there() {
        let sandbox = Sandbox::enter();
        let bench = Bench::prepare(&Contender::probe(&binary("nrun")).expect("nrun"));
        let filter = bench.installed_filter().expect("a filter");
        let counted = bench.count().expect("counts").filter;
        assert_eq!(Some(filter.len()), counted, "strace has seen another filter");
        let program = filter.clone();
        let refused = std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).expect("give up new privileges");
            sys::seccomp::install(&program, 0).expect("install a filter again");
            rustix::system::delete_module(c"nrt-none", 0)
        });
        let refused = refused.join().expect("a thread");
        assert_eq!(refused, Err(rustix::io::Errno::PERM), "root gets ENOENT without a filter");
        let costs = measure(&[Ok(filter), Err("no filter".to_owned())]);
        let FilterCost { install, allowed, by_argument, refused, failure, .. } = &costs[0];
        assert!(
            [install, allowed, by_argument, refused].into_iter().all(|ns| *ns > 0),
            "{costs:?}"
        );
        assert_eq!(failure, &None);
        assert_eq!(costs[1].failure.as_deref(), Some("no filter"));
        drop(bench);
        sandbox.assert_clean();
    }
}
