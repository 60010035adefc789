//! The limit on how many files a process may have open, while it sets a container up.
//!
//! What is found or made for a mount, and for a path that is protected, stays open until all is in place. So a container of many mounts
//! takes more files than the soft limit of most programs lets them have, which is low for the sake of those that use select(2).

use crate::plan::files::USUAL;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets this process, and what it makes, have as many files open as it may, and `needed` at least if it has the privilege. Returns the
/// caller's limit, which the container is to have; `None` where nothing was changed: because so few are needed, or because the kernel
/// refuses, and then the step that has too few says so.
pub(crate) fn raise(needed: u64) -> Option<Rlimit> {
    if needed <= USUAL {
        return None;
    }
    let before = getrlimit(Resource::Nofile);
    // `None` is no limit.
    let hard = before.maximum;
    let enough = hard.map(|hard| hard.max(needed));
    let set = |limit| setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit });
    set(enough).or_else(|_| set(hard)).ok().map(|()| before)
}
