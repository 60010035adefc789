//! One command and what it took, with what it left running for a moment.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sys::wait::wait_with_usage;

/// What a command took.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Sample {
    /// Until the command itself has ended.
    pub(super) wall: Duration,
    /// Of the command, its children, and what became ours when it ended.
    pub(super) cpu: Duration,
    /// The largest resident set of one process, in KiB.
    pub(super) peak_kib: u64,
}

/// Why there is no sample: the last line that the command said.
pub(super) type Measured = Result<Sample, String>;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(600);

/// Runs a command to its end, and waits for what it leaves behind, such as a monitor on its way out. What is in
/// `keep` stays: the daemons.
pub(super) fn measure(mut command: Command, directory: &Path, keep: &BTreeSet<u32>) -> Measured {
    let errors = directory.join("errors");
    let log = File::create(&errors).map_err(|error| error.to_string())?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    forked(&mut command);
    let start = Instant::now();
    let child = command.spawn().map_err(|error| format!("cannot be run: {error}"))?;
    let (status, usage) =
        wait_with_usage(Pid::from_child(&child)).map_err(|errno| errno.to_string())?;
    let wall = start.elapsed();
    let left = reap_orphans(keep);
    if status != 0 {
        return Err(last_line(&fs::read_to_string(&errors).unwrap_or_default()));
    }
    Ok(Sample { wall, cpu: usage.cpu + left, peak_kib: usage.peak_kib })
}

/// Starts several at once and waits for all of them: the wall time of all, and the CPU time of all.
pub(super) fn measure_at_once(
    commands: Vec<Command>,
    directory: &Path,
    keep: &BTreeSet<u32>,
) -> Measured {
    let start = Instant::now();
    let mut children = Vec::new();
    for (number, mut command) in commands.into_iter().enumerate() {
        let path = directory.join(format!("errors-{number}"));
        let log = File::create(&path).map_err(|error| error.to_string())?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        forked(&mut command);
        children.push((command.spawn().map_err(|error| format!("cannot be run: {error}"))?, path));
    }
    let mut sample = Sample::default();
    let mut failure = None;
    for (child, errors) in children {
        let (status, usage) =
            wait_with_usage(Pid::from_child(&child)).map_err(|errno| errno.to_string())?;
        sample.cpu += usage.cpu;
        sample.peak_kib = sample.peak_kib.max(usage.peak_kib);
        if status != 0 {
            failure = Some(last_line(&fs::read_to_string(errors).unwrap_or_default()));
        }
    }
    sample.wall = start.elapsed();
    sample.cpu += reap_orphans(keep);
    failure.map_or(Ok(sample), Err)
}

/// A group to set makes the library fork rather than vfork: a vforked child would start with the peak of this process.
fn forked(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    command.gid(rustix::process::getegid().as_raw());
}

/// Waits for children that nobody here has started: they were somebody's who has ended.
fn reap_orphans(keep: &BTreeSet<u32>) -> Duration {
    let mut cpu = Duration::ZERO;
    let limit = Instant::now() + LIMIT;
    while let Some(orphan) = children().into_iter().find(|pid| !keep.contains(pid)) {
        let Some(pid) = i32::try_from(orphan).ok().and_then(Pid::from_raw) else { break };
        if Instant::now() > limit {
            let _ = kill_process(pid, Signal::KILL);
        }
        match wait_with_usage(pid) {
            Ok((_, usage)) => cpu += usage.cpu,
            Err(_) => break,
        }
    }
    cpu
}

/// The children of this process, zombies among them.
pub(super) fn children() -> BTreeSet<u32> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|pids| {
            pids.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}

/// What a person would look at first.
pub(super) fn last_line(text: &str) -> String {
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no word of why");
    line.chars().take(160).collect()
}

/// The middle of the values.
pub(super) fn median(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_in_its_own_words() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo first >&2; echo because >&2; exit 1"]);
        let keep = children();
        assert_eq!(measure(command, directory.path(), &keep).unwrap_err(), "because");
    }

    #[test]
    fn the_middle_is_neither_end() {
        let ms = Duration::from_millis;
        assert_eq!(median(vec![ms(9), ms(1), ms(5)]), ms(5));
    }
}
