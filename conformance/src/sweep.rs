//! Ending everything that a process started, whatever state it is in.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::{Pid, Signal, kill_process};

use crate::leaks::{Process, processes};

/// Kills all live descendants of a process except those in `kept` and below them. Processes fork while they are
/// looked for, so this looks again until none is left, a bounded number of times.
pub(crate) fn kill_descendants(ancestor: u32, kept: &[u32]) {
    for _ in 0..50 {
        let all: Vec<Process> = processes().filter(|process| process.alive).collect();
        let found = descendants(&all.iter().map(|p| (p.pid, p.parent)).collect(), ancestor, kept);
        if found.is_empty() {
            return;
        }
        for pid in found.into_iter().filter_map(|pid| Pid::from_raw(pid.try_into().ok()?)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// The pids below `ancestor` in a table of pids and their parents.
fn descendants(parents: &BTreeMap<u32, u32>, ancestor: u32, kept: &[u32]) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    loop {
        let more: Vec<u32> = parents
            .iter()
            .filter(|(pid, parent)| {
                (**parent == ancestor || found.contains(*parent))
                    && !kept.contains(pid)
                    && !found.contains(*pid)
            })
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_of_descendants_are_found_but_not_those_that_are_kept() {
        let table = BTreeMap::from([(2, 1), (3, 2), (9, 3), (4, 1), (5, 4), (6, 7)]);
        assert_eq!(descendants(&table, 1, &[4]), BTreeSet::from([2, 3, 9]));
        assert!(descendants(&table, 9, &[]).is_empty());
    }
}
