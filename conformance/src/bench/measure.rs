//! One call of a runtime, or many at once, and what they took.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use sys::wait::wait_with_usage;

use super::peak;
use crate::fixture::{memory_of, readable};

/// How long one call, or one crowd of calls, may take: only a hang takes longer.
const LIMIT: Duration = Duration::from_secs(120);

/// What a call is made for. Not both can be had of one: for the peak a process stands between, which is no work of the runtime's, and
/// for a direct child of vfork(2) the kernel keeps this process's peak over execve(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// What it takes of time; its peak means nothing.
    Time,
    /// How large it grows; its times are too long.
    Peak,
}

/// What was measured, or what the runtime said when it failed: a failed run must not enter a comparison.
pub(super) type Measured = Result<Sample, String>;

/// What one or more calls took.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sample {
    /// From the first call to the end of the last.
    pub wall: Duration,
    /// Of all processes involved.
    pub cpu: Duration,
    /// The largest resident set of any process, in KiB.
    pub peak_kib: u64,
}

impl Sample {
    /// Both, one after the other.
    pub(super) fn and(self, next: Self) -> Self {
        Self { wall: self.wall + next.wall, ..self.beside(next) }
    }

    /// Both, at the same time: the wall time is that of the first.
    fn beside(self, other: Self) -> Self {
        Self {
            wall: self.wall,
            cpu: self.cpu + other.cpu,
            peak_kib: self.peak_kib.max(other.peak_kib),
        }
    }
}

/// Runs `program args...` to its end, silent but for its errors, which go to `errors`.
///
/// # Errors
/// When it fails, with what it wrote there.
pub(super) fn call(purpose: Purpose, program: &Path, args: &[OsString], errors: &Path) -> Measured {
    let _ = fs::remove_file(errors);
    let start = Instant::now();
    let child = spawn(purpose, program, args, errors)?;
    let usage = finish(child, &words(program, args), errors, LIMIT)?;
    Ok(Sample { wall: start.elapsed(), ..usage })
}

/// Starts all of them before it waits for the first.
///
/// # Errors
/// When one fails; the others are waited for all the same.
pub(super) fn call_at_once(
    purpose: Purpose,
    program: &Path,
    calls: &[Vec<OsString>],
    errors: &Path,
) -> Measured {
    let _ = fs::remove_file(errors);
    let start = Instant::now();
    let started: Vec<_> = calls.iter().map(|args| spawn(purpose, program, args, errors)).collect();
    let mut all = Ok(Sample::default());
    for (one, args) in started.into_iter().zip(calls) {
        let left = LIMIT.saturating_sub(start.elapsed());
        let ended = one.and_then(|child| finish(child, &words(program, args), errors, left));
        all = match (all, ended) {
            (Ok(all), Ok(one)) => Ok(all.beside(one)),
            (Err(why), _) | (Ok(_), Err(why)) => Err(why),
        };
    }
    all.map(|all| Sample { wall: start.elapsed(), ..all })
}

fn spawn(
    purpose: Purpose,
    program: &Path,
    args: &[OsString],
    errors: &Path,
) -> Result<Child, String> {
    let log = File::options().create(true).append(true).open(errors);
    let mut command = match purpose {
        Purpose::Peak => peak::command(program.as_os_str(), args),
        Purpose::Time => {
            let mut direct = Command::new(program);
            direct.args(args).stdout(Stdio::null());
            direct
        }
    };
    command.stdin(Stdio::null()).stderr(log.expect("a file for what the runtime writes"));
    command.spawn().map_err(|error| format!("cannot run `{}`: {error}", program.display()))
}

/// Waits with wait4(2), for what the child used; its wall time is nobody's yet. Of the process that stands between for a peak, which
/// alone has a pipe, the peak is what it says.
fn finish(mut child: Child, words: &str, errors: &Path, limit: Duration) -> Measured {
    let pid = Pid::from_child(&child);
    let hangs = pidfd_open(pid, PidfdFlags::empty()).is_ok_and(|fd| !readable(&fd, limit));
    if hangs {
        let _ = kill_process(pid, Signal::KILL);
    }
    let (status, usage) = wait_with_usage(pid).expect("wait for a child");
    if hangs || status != 0 {
        let said = fs::read_to_string(errors).unwrap_or_default();
        let why = if hangs { "does not end" } else { "failed" };
        return Err(format!("`{words}` {why}: {}", said.trim_end()));
    }
    let peak_kib = peak::read(&mut child).unwrap_or(usage.peak_kib);
    Ok(Sample { wall: Duration::ZERO, cpu: usage.cpu, peak_kib })
}

/// The command line as it would be typed.
fn words(program: &Path, args: &[OsString]) -> String {
    let words = std::iter::once(program.as_os_str()).chain(args.iter().map(OsString::as_os_str));
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Waits for a process that has become this one's child and counts what it used.
pub(super) fn reap(pid: Pid) -> Sample {
    let start = Instant::now();
    let (_, usage) = wait_with_usage(pid).expect("the container's process as a child");
    Sample { wall: start.elapsed(), cpu: usage.cpu, peak_kib: usage.peak_kib }
}

/// The peak in KiB of what a process has had of memory since its last execve(2): of a container that waits for `start`, that of the
/// runtime, and not of the program which comes after.
pub(super) fn peak_so_far(pid: Pid) -> u64 {
    memory_of(pid.as_raw_nonzero().get(), "VmHWM").unwrap_or(0)
}

/// What the threads of a process have used so far. That of a container that waits for `start` was spent on `create`.
pub(super) fn cpu_so_far(pid: Pid) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
    let nanoseconds = tasks.into_iter().flatten().flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// The peak in KiB of a program that does nothing.
pub(super) fn peak_floor() -> u64 {
    let directory = crate::fixture::scratch_dir();
    let errors = directory.path().join("errors");
    let busybox = crate::fixture::tool("busybox");
    call(Purpose::Peak, &busybox, &["true".into()], &errors).expect("busybox true").peak_kib
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::scratch_dir;

    fn shell(script: &str) -> Vec<OsString> {
        vec!["-c".into(), script.into()]
    }

    #[test]
    fn calls_at_once_overlap_and_all_of_them_count() {
        let directory = scratch_dir();
        let errors = directory.path().join("errors");
        // Each waits until it sees the other: in a row neither would end.
        let meet = |own: &str, other: &str| {
            let base = directory.path().display();
            shell(&format!(": >{base}/{own}; while [ ! -e {base}/{other} ]; do sleep 0.01; done"))
        };
        let both = call_at_once(
            Purpose::Time,
            Path::new("/bin/sh"),
            &[meet("a", "b"), meet("b", "a")],
            &errors,
        );
        assert!(both.expect("two shells").cpu > Duration::ZERO);
    }

    #[test]
    fn a_failure_says_what_the_program_wrote() {
        let directory = scratch_dir();
        let errors = directory.path().join("errors");
        let failing = shell("echo no such thing >&2; exit 3");
        let why = call(Purpose::Time, Path::new("/bin/sh"), &failing, &errors).expect_err("exit 3");
        assert!(why.ends_with("failed: no such thing"), "{why}");
        let why =
            call_at_once(Purpose::Time, Path::new("/bin/sh"), &[shell("exit 0"), failing], &errors);
        assert!(why.expect_err("exit 3").contains("no such thing"));
    }
}
