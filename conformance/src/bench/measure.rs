//! One call of a runtime, and what it took.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Pid;
use sys::wait::wait_with_usage;

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
        Self {
            wall: self.wall + next.wall,
            cpu: self.cpu + next.cpu,
            peak_kib: self.peak_kib.max(next.peak_kib),
        }
    }
}

/// Runs `program args...` to its end, silent but for its errors, which go to `errors`.
///
/// # Panics
/// When it fails, with what it wrote there.
#[expect(clippy::zombie_processes, reason = "wait4 is used instead, for what the child used")]
pub(super) fn call(program: &Path, args: &[OsString], errors: &Path) -> Sample {
    let log = File::create(errors).expect("a file for what the runtime writes");
    let mut command = Command::new(program);
    command
        .args(args)
        // A group to set makes the library fork rather than vfork: the peak of this process would
        // count as the child's otherwise, because the kernel keeps it over execve(2).
        .gid(rustix::process::getegid().as_raw())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    let start = Instant::now();
    let child =
        command.spawn().unwrap_or_else(|e| panic!("cannot run `{}`: {e}", program.display()));
    let (status, usage) = wait_with_usage(Pid::from_child(&child)).expect("wait for a child");
    let wall = start.elapsed();
    assert!(
        status == 0,
        "{command:?} failed: {}",
        std::fs::read_to_string(errors).unwrap_or_default()
    );
    Sample { wall, cpu: usage.cpu, peak_kib: usage.peak_kib }
}

/// Waits for a process that has become this one's child and counts what it used.
pub(super) fn reap(pid: Pid) -> Sample {
    let start = Instant::now();
    let (_, usage) = wait_with_usage(pid).expect("the container's process as a child");
    Sample { wall: start.elapsed(), cpu: usage.cpu, peak_kib: usage.peak_kib }
}

/// The peak in KiB of a program that does nothing.
pub(super) fn peak_floor() -> u64 {
    let directory = crate::fixture::scratch_dir();
    let errors = directory.path().join("errors");
    call(&crate::fixture::tool("busybox"), &["true".into()], &errors).peak_kib
}
