//! The system calls of one `create`, by every process and thread that takes part.
//!
//! strace stays with the container's process until it ends, but only what happens before `create`
//! itself has exited counts.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::fixture::{BundleDir, Capture, Runtime, scratch_dir};

/// How long a traced `create` may take.
const LIMIT: Duration = Duration::from_secs(120);

/// What one `create` asked of the kernel.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// System calls of all processes and threads.
    pub calls: usize,
    /// Processes and threads, the first one included.
    pub tasks: usize,
    /// How often a table of mounts was opened.
    pub mountinfo: usize,
}

/// Counts for one `create` of `bundle`.
///
/// # Panics
/// When strace is not installed or the runtime fails.
#[must_use]
pub fn count_create(runtime: &Runtime, bundle: &BundleDir) -> Calls {
    trace_create(runtime, bundle).unwrap_or_else(|why| panic!("{why}"))
}

/// The same, with what the runtime said when it failed.
pub(super) fn trace_create(runtime: &Runtime, bundle: &BundleDir) -> Result<Calls, String> {
    let id = runtime.new_id();
    let path = bundle.path().as_os_str().to_owned();
    let args = ["create".into(), "--bundle".into(), path, id.clone().into()];
    // What `create` leaves behind is traced too, and would keep strace from ending.
    let delete = || drop(runtime.call(["delete", "--force", &id]).run());
    trace(runtime, &args, delete).map(|(calls, _)| calls)
}

/// Counts for any call, with its trace. `tidy` is called when it has ended, before strace is waited for.
pub(super) fn trace(
    runtime: &Runtime,
    args: &[OsString],
    tidy: impl FnOnce(),
) -> Result<(Calls, String), String> {
    let directory = scratch_dir();
    let log = directory.path().join("strace");
    let (mut child, output) = Capture::of("strace")
        .args(["-f", "-q", "-o"])
        .args([&log])
        .args([runtime.program()])
        .args(["--root".as_ref(), runtime.root().as_os_str()])
        .args(args)
        .start();
    let text = wait_for_end_of_first(&log, &output);
    tidy();
    child.wait().expect("wait for strace");
    let text = text?;
    match parse(&text) {
        Some(("0", calls)) => Ok((calls, text)),
        Some((status, _)) => Err(format!("exited with {status} under strace: {output}")),
        None => Err(format!("no end of {output}")),
    }
}

/// The trace, once the process that it begins with has ended.
fn wait_for_end_of_first(log: &Path, output: &crate::fixture::Output) -> Result<String, String> {
    let limit = Instant::now() + LIMIT;
    loop {
        let text = fs::read_to_string(log).unwrap_or_default();
        if parse(&text).is_some() {
            return Ok(text);
        }
        if Instant::now() > limit {
            return Err(format!("does not end under strace: {output}"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Instructions of the largest seccomp filter that was installed in a trace.
pub(super) fn filter_length(trace: &str) -> Option<usize> {
    let installs = trace.lines().filter(|line| line.contains("SECCOMP"));
    let lengths = installs.filter_map(|line| {
        let (_, rest) = line.split_once("{len=")?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    });
    lengths.max()
}

/// The exit status of the first process and the calls until then; `None` while it runs.
fn parse(trace: &str) -> Option<(&str, Calls)> {
    let first = trace.split_whitespace().next()?;
    let mut calls = Calls { tasks: 1, ..Calls::default() };
    for line in trace.lines() {
        let (pid, event) = line.split_once(' ')?;
        let event = event.trim_start();
        if let Some(end) = event.strip_prefix("+++ ") {
            if pid == first {
                let status = end.strip_prefix("exited with ").unwrap_or(end);
                return Some((status.trim_end_matches(" +++"), calls));
            }
        } else if let Some(rest) = event.strip_prefix("<... ") {
            // The second half of a call that was counted when it began; a clone ends in its pid.
            calls.tasks += usize::from(is_clone(rest) && succeeded(event));
        } else if !event.starts_with("--- ") && !is_debug_check(event) {
            calls.calls += 1;
            calls.tasks += usize::from(is_clone(event) && succeeded(event));
            calls.mountinfo += usize::from(event.starts_with("open") && reads_mounts(event));
        }
    }
    None
}

/// What Rust's standard library asks before it closes a file descriptor in a debug build, and only there.
fn is_debug_check(event: &str) -> bool {
    event.starts_with("fcntl(") && event.contains("F_GETFD")
}

fn is_clone(event: &str) -> bool {
    ["clone(", "clone3(", "fork(", "vfork(", "clone ", "clone3 ", "fork ", "vfork "]
        .iter()
        .any(|name| event.starts_with(name))
}

/// Whether a line of strace shows a result that is a positive number.
fn succeeded(event: &str) -> bool {
    let result = event.rsplit_once(" = ").map(|(_, result)| result.split(' ').next());
    result.flatten().and_then(|number| number.parse::<i64>().ok()).is_some_and(|pid| pid > 0)
}

fn reads_mounts(event: &str) -> bool {
    event.contains("/mountinfo\"") || event.contains("/mounts\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = r#"10 execve("/bin/x", ["x"], 0x7ffd /* 3 vars */) = 0
10 openat(AT_FDCWD, "/proc/self/mountinfo", O_RDONLY) = 3
10 clone3({flags=CLONE_NEWNS, exit_signal=SIGCHLD}, 88 <unfinished ...>
11 getpid( <unfinished ...>
10 <... clone3 resumed>) = 11
10 fork() = -1 EAGAIN (Resource temporarily unavailable)
11 <... getpid resumed>) = 1
11 read(4,  <unfinished ...>
10 --- SIGCHLD {si_signo=SIGCHLD} ---
10 exit_group(0) = ?
10 +++ exited with 0 +++
"#;

    #[test]
    fn calls_tasks_and_reads_of_mount_tables_are_counted_until_the_first_process_ends() {
        let expected = Calls { calls: 7, tasks: 2, mountinfo: 1 };
        let later = format!("{TRACE}11 <... read resumed>\"\", 1) = 0\n11 getpid() = 1\n");
        assert_eq!(parse(TRACE), Some(("0", expected.clone())));
        assert_eq!(parse(&later), Some(("0", expected)));
    }

    #[test]
    fn the_length_of_a_filter_is_read_from_the_call_that_installs_it() {
        let trace = "7 prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) = 0\n\
            7 prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, {len=12, filter=0x55}) = 0\n\
            7 seccomp(SECCOMP_SET_MODE_FILTER, 0, {len=433, filter=0x7f}) = 0\n";
        assert_eq!(filter_length(trace), Some(433));
        assert_eq!(filter_length(TRACE), None);
    }

    #[test]
    fn a_trace_without_its_end_is_not_finished() {
        let (begin, _) = TRACE.split_once("10 +++").expect("the end");
        assert_eq!(parse(begin), None);
        assert_eq!(parse(""), None);
    }
}
