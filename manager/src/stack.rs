//! The room of our stack. What plans a bundle has frames of some tens of KiB, and a caller's `ulimit -s` may leave less than that to all
//! of them: the kernel ends us then without a word.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Where there is less, we give ourselves as much, if we may. The kernel asks when the stack grows, not when a program is executed. What
/// we start inherits it.
const ROOM: u64 = 1024 * 1024;

/// With less nothing is begun. A development build has larger frames.
const LEAST: u64 = if cfg!(debug_assertions) { ROOM } else { 256 * 1024 };

/// Sees to it that there is room.
///
/// # Errors
/// The hard limit leaves too little, which is said.
pub(crate) fn make_room() -> Result<(), String> {
    let limit = getrlimit(Resource::Stack);
    let room = |limit: &Rlimit| limit.current.unwrap_or(u64::MAX);
    if room(&limit) >= ROOM {
        return Ok(());
    }
    let most = limit.maximum.unwrap_or(u64::MAX);
    let enough = Rlimit { current: Some(ROOM), maximum: Some(most.max(ROOM)) };
    let raised = Rlimit { current: Some(ROOM.min(most)), maximum: limit.maximum };
    // Who may not raise the hard limit may raise the soft one up to it.
    if setrlimit(Resource::Stack, if most < ROOM { enough } else { raised }).is_err() {
        let _ = setrlimit(Resource::Stack, raised);
    }
    let room = room(&getrlimit(Resource::Stack));
    if room >= LEAST {
        return Ok(());
    }
    Err(format!(
        "the stack of a process may have {} KiB here (`ulimit -s`), and nman needs {} KiB",
        room / 1024,
        LEAST / 1024
    ))
}
