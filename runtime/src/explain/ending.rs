//! How a container ended that had been started: what its exit status and its cgroup tell.

use crate::diagnosis::Diagnosis;
use crate::record::Saved;

/// What the container's cgroups have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Processes that the kernel killed for the memory limit.
    pub(super) out_of_memory: u64,
    /// Processes that could not be made for the limit on processes.
    pub(super) out_of_processes: u64,
}

/// Reads the counters; what is not there, or counts for another container by now, counts nothing.
pub(super) fn counts(saved: &Saved) -> Counts {
    let mut counts = Counts::default();
    if saved.cgroup().taken_by().is_some() {
        return counts;
    }
    for directory in saved.cgroups.all() {
        let read = |file: &str, key: &str| {
            let text = std::fs::read_to_string(directory.join(file)).unwrap_or_default();
            counter(&text, key)
        };
        // v2 and v1 have the same line in different files.
        counts.out_of_memory +=
            read("memory.events", "oom_kill") + read("memory.oom_control", "oom_kill");
        counts.out_of_processes += read("pids.events", "max");
    }
    counts
}

fn counter(text: &str, key: &str) -> u64 {
    let value = |line: &str| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value).unwrap_or(0)
}

/// Whether an exit status looks like that of a program that never got to work.
pub(super) fn is_telling(status: u8) -> bool {
    meaning(status).is_some()
}

/// The most likely reason for an ending. `limit` is the memory limit in bytes, if there is one.
pub(super) fn diagnose(
    status: Option<u8>,
    counts: Counts,
    limit: Option<i64>,
) -> Option<Diagnosis> {
    if counts.out_of_memory > 0 {
        let limit = limit.map(|limit| format!(" of {limit} bytes")).unwrap_or_default();
        return Some(Diagnosis {
            cause: format!(
                "the kernel killed {} of its processes for the memory limit{limit}",
                counts.out_of_memory
            ),
            remedy: "raise `linux.resources.memory.limit`, or find out what needs that much".into(),
        });
    }
    if counts.out_of_processes > 0 {
        return Some(Diagnosis {
            cause: format!(
                "{} processes could not be made for the limit on their number",
                counts.out_of_processes
            ),
            remedy: "raise `linux.resources.pids.limit`".into(),
        });
    }
    let (cause, remedy) = meaning(status?)?;
    Some(Diagnosis { cause: cause.into(), remedy: remedy.into() })
}

fn meaning(status: u8) -> Option<(&'static str, &'static str)> {
    Some(match status {
        126 => (
            "a shell in the container found a program and could not execute it (exit status 126)",
            "look at the mode of that program, and whether it is built for this machine",
        ),
        127 => (
            "a shell or `env` in the container did not find a program (exit status 127)",
            "look for that name in the image, and for line ends as on Windows in its scripts",
        ),
        132 => (
            "an instruction was executed that this processor does not have (SIGILL)",
            "the program was probably built for a newer processor: take another build",
        ),
        135 => (
            "memory was touched that is not there (SIGBUS), most often a file or shared memory that is too small",
            "look at the size of /dev/shm in `mounts`, and at free space",
        ),
        137 => (
            "it was killed (SIGKILL), and not for its memory limit",
            "look for who did it: an engine's stop, or the host out of memory, see `dmesg`",
        ),
        139 => (
            "the program crashed (SIGSEGV)",
            "try the same image elsewhere; an old program may need `vsyscall=emulate` on the host",
        ),
        159 => (
            "the seccomp profile killed it for a system call that it does not allow (SIGSYS)",
            "find the call with `SCMP_ACT_LOG` as the default action, see `dmesg`, and allow it",
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_their_whole_name() {
        assert_eq!(counter("low 1\noom 3\noom_kill 2\noom_group_kill 5\n", "oom_kill"), 2);
        assert_eq!(counter("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n", "oom_kill"), 7);
        assert_eq!(counter("", "oom_kill"), 0);
    }

    #[test]
    fn a_memory_kill_is_the_reason_before_the_signal_that_it_used() {
        let killed = Counts { out_of_memory: 1, ..Counts::default() };
        let cause = |status, counts| diagnose(Some(status), counts, Some(4096)).unwrap().cause;
        assert!(cause(137, killed).contains("memory limit of 4096 bytes"));
        assert!(cause(137, Counts::default()).contains("not for its memory limit"));
        assert!(cause(159, Counts::default()).contains("seccomp"));
        assert_eq!(diagnose(Some(1), Counts::default(), None), None);
        assert!(is_telling(127) && !is_telling(0) && !is_telling(143));
    }
}
