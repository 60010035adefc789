//! A small process between the benchmark and a runtime whose peak of memory is asked for.
//!
//! The kernel counts what a process has of its parent's memory between fork(2) and execve(2) as its own, and keeps the peak over
//! execve(2). The benchmark has more than a small runtime needs: as its direct child, that would show the benchmark's size.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};

use rustix::process::Pid;
use sys::wait::wait_with_usage;

/// What this program is called between the two.
const NAME: &str = "npeak";

/// Whether this process was started to be the one between.
#[must_use]
pub fn is_meant(argv0: &OsStr) -> bool {
    argv0 == NAME
}

/// The program, to be run with its peak in KiB written to standard output, in decimal; its own output goes nowhere.
pub(super) fn command(program: &OsStr, args: &[OsString]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(NAME).arg(program).args(args).stdout(Stdio::piped());
    command
}

/// The peak in KiB that the process between has written, `None` when it was killed before.
pub(super) fn read(child: &mut Child) -> Option<u64> {
    std::io::read_to_string(child.stdout.take()?).ok()?.parse().ok()
}

/// Runs a program with its arguments and prints the peak. Fails, and prints none, when the program does; with 127 if that cannot be executed.
#[must_use]
pub fn serve(words: &[OsString]) -> ExitCode {
    let Some((program, args)) = words.split_first() else { return ExitCode::FAILURE };
    let mut command = Command::new(program);
    command.args(args).stdout(Stdio::null());
    // A group to set makes the library fork: with vfork(2) the program would begin with the whole of this process.
    command.gid(rustix::process::getegid().as_raw());
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "cannot run `{}`: {error}", program.display());
            return ExitCode::from(127);
        }
    };
    match wait_with_usage(Pid::from_child(&child)) {
        Ok((0, usage)) if write!(std::io::stdout(), "{}", usage.peak_kib).is_ok() => {
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_name_is_meant() {
        assert!(is_meant(OsStr::new("npeak")));
        assert!(!is_meant(OsStr::new("/usr/bin/npeak")));
        assert!(!is_meant(OsStr::new("nconform")));
    }
}
