//! Which signals a client takes for the container, or for an order to leave.

use crate::terminal;
use rustix::process::Signal;
use sys::signals::Mask;

/// Never taken: two that cannot be, and what the kernel answers to what this process itself does.
const OURS: [Signal; 5] = [Signal::KILL, Signal::STOP, Signal::CHILD, Signal::PIPE, Signal::URG];

/// Where the keys that stop a job go to the container, what stops or continues us is about our own terminal.
const JOB_CONTROL: [Signal; 4] = [Signal::TSTP, Signal::TTIN, Signal::TTOU, Signal::CONT];

/// What `--sig-proxy` passes on: like Docker's, everything but what this process causes itself. A fault of our own ends
/// us all the same, because the kernel does not let it be blocked.
#[must_use]
pub fn passed_on(reads_stdin: bool) -> Mask {
    let mask = Mask::all_but(&OURS);
    // A job in the background that reads its terminal has to stand still, not to be told that there is nothing more.
    if reads_stdin && terminal::stdin_is_terminal() { mask.without(&[Signal::TTIN]) } else { mask }
}

/// With a terminal of the container's, to which the user's keys go: what is passed on, or ends us once the user's own terminal is as
/// it was before; and its size.
#[must_use]
pub fn but_for_jobs() -> Mask {
    Mask::all_but(&OURS).without(&JOB_CONTROL)
}

/// What asks whoever gets it to end.
const REQUESTS: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

/// Whether a signal asks whoever gets it to end.
#[must_use]
pub fn asks_to_end(number: i32) -> bool {
    REQUESTS.iter().any(|signal| signal.as_raw() == number)
}

/// All that ask for that.
#[must_use]
pub fn asking_to_end() -> Mask {
    Mask::of(&REQUESTS)
}
