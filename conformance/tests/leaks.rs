//! The end of the suite: nothing of ours is left on the machine.
//!
//! The `leaks` profile of nextest runs this alone, after everything else. The survey that
//! `nconform leaks --save` wrote before the suite tells what was there already.

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
    let left = Survey::take().since(&before);
    assert!(left.is_empty(), "left on this machine by the suite:\n{left}");
}
