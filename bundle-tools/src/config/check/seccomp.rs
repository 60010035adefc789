//! The system call filter: what no filter can be made of. Which names are system calls is for the
//! compiler of the filter to know; unknown ones are no fault (runc leaves them out).

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction as Action, LinuxSyscall};

use super::{Check, Report, Subject, elements};

pub(super) const CHECKS: &[Check] = &[seccomp];

const RULES: &[fn(&LinuxSeccomp, &mut Report)] = &[default_action, syscalls];

/// The kernel's limit for an error number from a filter; more is cut down to it silently.
const MAX_ERRNO: u32 = 4095;

fn seccomp(subject: &Subject<'_>, report: &mut Report) {
    let Some(seccomp) = subject.linux().and_then(|linux| linux.seccomp().as_ref()) else { return };
    let mut found = Report::new("/linux/seccomp");
    for rule in RULES {
        rule(seccomp, &mut found);
    }
    if !has_receiver(subject) {
        listener(seccomp, &mut found);
    }
    report.problems.append(&mut found.problems);
}

/// A default of "ask the agent" would hold the runtime's own next system call, before it could
/// hand the filter's descriptor to the agent (runc refuses).
fn default_action(seccomp: &LinuxSeccomp, report: &mut Report) {
    let action = seccomp.default_action();
    if action == Action::ScmpActNotify {
        report.add("/defaultAction", "`SCMP_ACT_NOTIFY` cannot be the default action");
    }
    errno(action, seccomp.default_errno_ret(), "/defaultErrnoRet", report);
}

/// "`names` MUST contain at least one entry" (config-linux.md, seccomp); a system call has six
/// arguments.
fn syscalls(seccomp: &LinuxSeccomp, report: &mut Report) {
    for (index, rule) in elements(seccomp.syscalls()) {
        let pointer = format!("/syscalls/{index}");
        if rule.names().is_empty() {
            report.add(format!("{pointer}/names"), "must have at least one entry");
        }
        for (at, _) in rule.names().iter().enumerate().filter(|(_, name)| name.is_empty()) {
            report.add(format!("{pointer}/names/{at}"), "must not be empty");
        }
        errno(rule.action(), rule.errno_ret(), &format!("{pointer}/errnoRet"), report);
        for (at, argument) in elements(rule.args()).filter(|(_, argument)| argument.index() > 5) {
            let message = format!("must be from 0 to 5, not {}", argument.index());
            report.add(format!("{pointer}/args/{at}/index"), message);
        }
    }
}

/// "When the action doesn't support an errno, the runtime MUST print and error and fail"
/// (config-linux.md, seccomp). A tracer gets 16 bits.
fn errno(action: Action, errno: Option<u32>, pointer: &str, report: &mut Report) {
    let Some(errno) = errno else { return };
    let max = match action {
        Action::ScmpActErrno => MAX_ERRNO,
        Action::ScmpActTrace => u32::from(u16::MAX),
        _ => {
            report.add(pointer, format!("action `{action}` returns no error number"));
            return;
        }
    };
    if errno > max {
        report.add(pointer, format!("must be at most {max}, not {errno}"));
    }
}

/// crun takes the agent's socket from an annotation, too.
fn has_receiver(subject: &Subject<'_>) -> bool {
    let annotations = subject.spec.annotations().as_ref();
    annotations.is_some_and(|annotations| annotations.contains_key("run.oci.seccomp.receiver"))
}

/// The agent has to be somewhere (runc); "this field MUST NOT be set if `listenerPath` is not set"
/// (config-linux.md, listenerMetadata).
fn listener(seccomp: &LinuxSeccomp, report: &mut Report) {
    let path = seccomp.listener_path().as_deref();
    if path.is_some_and(|path| !path.as_os_str().is_empty()) {
        return;
    }
    let notifies = |rule: &LinuxSyscall| rule.action() == Action::ScmpActNotify;
    if elements(seccomp.syscalls()).any(|(_, rule)| notifies(rule)) {
        report.add("/listenerPath", "is missing: a rule has the action `SCMP_ACT_NOTIFY`");
    }
    if seccomp.listener_metadata().as_ref().is_some_and(|metadata| !metadata.is_empty()) {
        report.add("/listenerMetadata", "cannot be set without `listenerPath`");
    }
}
