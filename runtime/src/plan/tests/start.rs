//! A container that is made first and started later.

use super::*;

#[test]
fn run_does_not_wait_for_start() {
    let plan = plan(&hybrid(), &Options { await_start: false, ..options() }, |_| {}).unwrap();
    let waits = |op: &Op| matches!(op, Op::AwaitStart | Op::EndWhenAsked);
    assert!(!plan.steps.iter().any(|step| waits(&step.op)));
}

/// A signal that came between the two would be lost: the first process of a pid namespace has no default.
#[test]
fn a_container_that_waits_for_start_ends_of_signals_before_anybody_hears_of_it() {
    let plan = full();
    let ready = place(&plan, |op| matches!(op, Op::Wait(Barrier::Ready)));
    assert!(place(&plan, |op| matches!(op, Op::EndWhenAsked)) < ready);
    assert!(ready < place(&plan, |op| matches!(op, Op::AwaitStart)));
}

/// What is masked is reached through an fd of it that is older than the mask.
#[test]
fn what_the_set_up_needed_is_closed_when_all_is_protected_and_before_a_path_of_the_process_is_looked_up()
 {
    for await_start in [true, false] {
        let plan = plan(&hybrid(), &Options { await_start, ..options() }, |_| {}).unwrap();
        let close = place(&plan, |op| matches!(op, Op::CloseSetUp { first: 3 }));
        assert!(last(&plan, |op| matches!(op, Op::Mask(_) | Op::ReadOnly { .. })) < close);
        assert!(close < place(&plan, |op| matches!(op, Op::WorkingDirectory { .. })));
        assert!(close < place(&plan, |op| matches!(op, Op::FindExecutable { .. })));
    }
}
