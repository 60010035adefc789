//! A container that is made first and started later.

use super::*;

#[test]
fn run_does_not_wait_for_start() {
    let plan = plan(&hybrid(), &Options { await_start: false, ..options() }, |_| {}).unwrap();
    let waits = |op: &Op| matches!(op, Op::AwaitStart { .. } | Op::EndWhenAsked);
    assert!(!plan.steps.iter().any(|step| waits(&step.op)));
}

/// A signal that came between the two would be lost: the first process of a pid namespace has no default.
#[test]
fn a_container_that_waits_for_start_ends_of_signals_before_anybody_hears_of_it() {
    let plan = full();
    let ready = place(&plan, |op| matches!(op, Op::Wait(Barrier::Ready)));
    assert!(place(&plan, |op| matches!(op, Op::EndWhenAsked)) < ready);
    assert!(ready < place(&plan, |op| matches!(op, Op::AwaitStart { .. })));
}
