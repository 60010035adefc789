//! The end of the suite: nothing of ours is left on the machine.
//!
//! The `leaks` profile of nextest runs this alone, after everything else. The survey that
//! `nconform leaks --save` wrote before the suite tells what was there already.

use std::thread;
use std::time::Duration;

use nconform::leaks::Survey;

#[test]
fn the_suite_left_nothing_behind() {
    let before = match std::env::var_os("NRUN_LEAKS_BEFORE") {
        None => Survey::default(),
        Some(file) => {
            let text = std::fs::read(&file).expect("the survey from before the suite");
            serde_json::from_slice(&text).expect("a survey in JSON")
        }
    };
    let mut left = Survey::take().since(&before);
    // What a suite that somebody else runs at the same time has at work goes away by itself; a leak stays.
    for _ in 0..10 {
        if left.is_empty() {
            break;
        }
        thread::sleep(Duration::from_secs(2));
        left = left.also_in(&Survey::take());
    }
    assert!(left.is_empty(), "left on this machine by the suite:\n{left}");
}
