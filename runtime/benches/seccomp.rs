//! How long the default seccomp profile takes to become a filter. `make bench` shows it; nothing fails on a time.

use std::hint::black_box;
use std::time::{Duration, Instant};

use nrun::plan::seccomp::{Kernel, Machine, compile};
use oci_spec::runtime::LinuxSeccomp;
use sys::heap::Heap;
use sys::seccomp::{action_is_available, flag_is_available};

// As in nrun itself: the time is that of allocations, too.
#[global_allocator]
static HEAP: Heap = Heap::new();

/// What podman makes of containers-common's seccomp.json for a container with the default capabilities on x86-64.
const PROFILE: &str = include_str!("../tests/seccomp/containers-common.json");

const RUNS: usize = 1_001;

/// The bar on the median.
const MOST: Duration = Duration::from_micros(300);

#[allow(clippy::print_stdout, reason = "a program")]
fn main() {
    let profile: LinuxSeccomp = serde_json::from_str(PROFILE).expect("a profile");
    let kernel = Kernel::ask(action_is_available, flag_is_available);
    let compile_once = || {
        let start = Instant::now();
        let filter =
            compile(black_box(&profile), black_box(&kernel), Machine::OURS).expect("a filter");
        (start.elapsed(), black_box(filter).program.len())
    };
    // What a container pays is the first time, with nothing in the caches; the others show the machine's noise.
    let (first, instructions) = compile_once();
    let mut times: Vec<Duration> = (0..RUNS).map(|_| compile_once().0).collect();
    times.sort_unstable();
    let (least, median) = (times[0], times[RUNS / 2]);
    let micros = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e6);
    println!(
        "compiling the default seccomp profile to {instructions} instructions, us: first {}, min {}, median {} of {RUNS}",
        micros(first),
        micros(least),
        micros(median)
    );
    let verdict = if median <= MOST { "MET" } else { "MISSED" };
    println!(
        "  {verdict:<6} us to compile the default seccomp profile: {} of {}",
        micros(median),
        micros(MOST)
    );
}
