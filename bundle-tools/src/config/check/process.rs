//! The process: what it runs, as whom, and with which limits.

use oci_spec::runtime::{LinuxSchedulerPolicy as Policy, Process};

use super::Report;
use crate::config::error::Problem;

type ProcessCheck = fn(&Process, &mut Report);

const CHECKS: &[ProcessCheck] = &[
    arguments,
    directory,
    environment,
    user,
    rlimits,
    oom_score,
    console,
    scheduler,
    deadline,
    io_priority,
    affinity,
];

/// The problems of a process that is found at `base`.
pub(super) fn check(process: &Process, base: &'static str) -> Vec<Problem> {
    let mut report = Report::new(base);
    for rule in CHECKS {
        rule(process, &mut report);
    }
    report.problems
}

/// "At least one entry is REQUIRED" (config.md, process). That the first one names an executable
/// is found out in the container, where the error has the words that engines look for.
fn arguments(process: &Process, report: &mut Report) {
    if process.args().as_ref().is_none_or(Vec::is_empty) {
        report.add("/args", "must have at least one entry: the program to run");
    }
}

/// "This value MUST be an absolute path" (config.md, process).
fn directory(process: &Process, report: &mut Report) {
    let cwd = process.cwd();
    if cwd.as_os_str().is_empty() {
        report.add("/cwd", "must not be empty");
    } else if !cwd.is_absolute() {
        report.add("/cwd", format!("must be an absolute path, not `{}`", cwd.display()));
    }
}

/// The semantics of `environ`; runc refuses an entry without `=` or without a name.
fn environment(process: &Process, report: &mut Report) {
    for (index, entry) in super::elements(process.env()) {
        match entry.find('=') {
            None => {
                report.add(format!("/env/{index}"), format!("`{entry}` is not `NAME=VALUE`"));
            }
            Some(0) => report.add(format!("/env/{index}"), format!("`{entry}` has no name")),
            Some(_) => {}
        }
    }
}

/// Of the 32 bits of an id, the kernel reads all ones as "leave as it is"; of a umask it takes the
/// nine permission bits only.
fn user(process: &Process, report: &mut Report) {
    let user = process.user();
    if user.uid() == u32::MAX {
        report.add("/user/uid", super::NO_ID);
    }
    if user.gid() == u32::MAX {
        report.add("/user/gid", super::NO_ID);
    }
    for (index, gid) in super::elements(user.additional_gids()) {
        if *gid == u32::MAX {
            report.add(format!("/user/additionalGids/{index}"), super::NO_ID);
        }
    }
    if let Some(umask) = user.umask().filter(|umask| *umask > 0o777) {
        let message = format!("must be at most 511 (octal 777), not {umask}");
        report.add_with_hint("/user/umask", message, "JSON numbers are decimal");
    }
}

/// "If `rlimits` contains duplicated entries with same `type`, the runtime MUST generate an error"
/// (config.md, POSIX process); a soft limit above the hard one is EINVAL to prlimit(2).
fn rlimits(process: &Process, report: &mut Report) {
    let list = process.rlimits().as_deref().unwrap_or_default();
    for (index, rlimit) in list.iter().enumerate() {
        if list[..index].iter().any(|other| other.typ() == rlimit.typ()) {
            let message = format!("`{}` is given more than once", rlimit.typ());
            report.add(format!("/rlimits/{index}/type"), message);
        }
        let (soft, hard) = (rlimit.soft(), rlimit.hard());
        if soft > hard {
            let message = format!("the soft limit {soft} is above the hard limit {hard}");
            report.add(format!("/rlimits/{index}/soft"), message);
        }
    }
}

/// The range that proc(5) gives for `oom_score_adj`.
fn oom_score(process: &Process, report: &mut Report) {
    if let Some(score) = process.oom_score_adj().filter(|score| !(-1000..=1000).contains(score)) {
        report.add("/oomScoreAdj", format!("must be from -1000 to 1000, not {score}"));
    }
}

/// A terminal's size is two 16-bit numbers (ioctl_tty(2)). "Runtimes MUST ignore `consoleSize` if
/// `terminal` is `false` or unset" (config.md, process).
fn console(process: &Process, report: &mut Report) {
    let Some(size) = process.console_size().filter(|_| process.terminal() == Some(true)) else {
        return;
    };
    for (name, value) in [("height", size.height()), ("width", size.width())] {
        if value > u64::from(u16::MAX) {
            report
                .add(format!("/consoleSize/{name}"), format!("must be at most 65535, not {value}"));
        }
    }
}

/// Which settings go with which policy (sched_setattr(2)), as runc checks it.
fn scheduler(process: &Process, report: &mut Report) {
    let Some(scheduler) = process.scheduler() else { return };
    let policy = *scheduler.policy();
    let nice = scheduler.nice().unwrap_or(0);
    let takes_nice = matches!(policy, Policy::SchedOther | Policy::SchedBatch);
    if takes_nice && !(-20..=19).contains(&nice) {
        report.add("/scheduler/nice", format!("must be from -20 to 19, not {nice}"));
    }
    let takes_priority = matches!(policy, Policy::SchedFifo | Policy::SchedRr);
    let priority = scheduler.priority().unwrap_or(0);
    if !takes_priority && priority != 0 {
        let message = format!("is for `SCHED_FIFO` and `SCHED_RR`, not for `{policy}`");
        report.add("/scheduler/priority", message);
    } else if takes_priority && !(1..=99).contains(&priority) {
        report.add("/scheduler/priority", format!("must be from 1 to 99, not {priority}"));
    }
    let times = [
        ("runtime", scheduler.runtime()),
        ("deadline", scheduler.deadline()),
        ("period", scheduler.period()),
    ];
    for (name, time) in times {
        if policy != Policy::SchedDeadline && time.unwrap_or(0) != 0 {
            let message = format!("is for `SCHED_DEADLINE`, not for `{policy}`");
            report.add(format!("/scheduler/{name}"), message);
        }
    }
}

/// What the kernel takes for a deadline (`__checkparam_dl` in kernel/sched/deadline.c); a period of 0 is the deadline.
fn deadline(process: &Process, report: &mut Report) {
    /// The scheduler's resolution: 1024 ns.
    const LEAST: u64 = 1 << 10;
    let Some(scheduler) = process.scheduler() else { return };
    if *scheduler.policy() != Policy::SchedDeadline {
        return;
    }
    let (runtime, deadline) = (scheduler.runtime().unwrap_or(0), scheduler.deadline().unwrap_or(0));
    let period = scheduler.period().filter(|period| *period != 0).unwrap_or(deadline);
    if runtime < LEAST {
        report.add("/scheduler/runtime", format!("must be at least {LEAST} ns, not {runtime}"));
    }
    if runtime > deadline {
        let message = format!("must not be below the runtime of {runtime} ns, as {deadline} is");
        report.add("/scheduler/deadline", message);
    }
    if deadline > period {
        let message = format!("must not be below the deadline of {deadline} ns, as {period} is");
        report.add("/scheduler/period", message);
    }
}

/// "A comma-separated list, with dashes to represent ranges" (config.md, execCPUAffinity). Empty
/// lists were left out when the file was read.
fn affinity(process: &Process, report: &mut Report) {
    let Some(affinity) = process.exec_cpu_affinity() else { return };
    let lists = [("initial", affinity.initial()), ("final", affinity.cpu_affinity_final())];
    for (name, list) in lists {
        let Some(list) = list else { continue };
        if crate::config::plain_ranges(list).is_none() {
            let message = format!("`{list}` is not a list such as `0-3,7` of CPUs up to 65536");
            report.add(format!("/execCPUAffinity/{name}"), message);
        }
    }
}

/// "An integer ranging from 0 (highest) to 7 (lowest)" (config.md, ioPriority).
fn io_priority(process: &Process, report: &mut Report) {
    let Some(priority) = process.io_priority().map(|io| io.priority()) else { return };
    if !(0..=7).contains(&priority) {
        report.add("/ioPriority/priority", format!("must be from 0 to 7, not {priority}"));
    }
}
