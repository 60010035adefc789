//! `nrun exec`: a further process in a running container.

use crate::args;
use crate::cgroup::{Cgroup, Subgroups};
use crate::cli::Parsed;
use crate::error::{Error, Result};
use crate::foreground::{self, Foreground};
use crate::host::{Asked, Host};
use crate::id::ContainerId;
use crate::kill;
use crate::launch::{self, Launch};
use crate::log;
use crate::notify::Agent;
use crate::parent::{self, Handed, Init};
use crate::pid_file;
use crate::pidfd_socket::{self, PidfdSocket};
use crate::plan::Plan;
use crate::plan::exec as planner;
use crate::plan::seccomp::with_receiver;
use crate::protect;
use crate::record::{Record, Saved};
use crate::socket;
use crate::state::Status;
use oci_spec::runtime::{Capability, LinuxCapabilities, Process, Spec};
use rustix::io::Errno;
use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::str::FromStr;
use sys::namespace::Kinds;

/// Runs the process and returns its exit status; 0 with `--detach`, when it was executed.
///
/// # Errors
/// When the container does not run, or the process cannot be executed.
pub fn run(parsed: &Parsed) -> Result<u8> {
    let id = ContainerId::new(&parsed.operands[0])?;
    protect::our_executable()?;
    let record = Record::unlocked(&args::root(parsed), &id)?;
    let (saved, awaits_start) = (&record.saved, record.awaits_start());
    let Some(init) = running_init(parsed, &id, saved, awaits_start)? else {
        return Err(stopped(id.as_str()));
    };
    let spec = record.spec()?;
    let (process, document, at) = process(parsed, &spec)?;
    let seccomp = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    let seccomp = seccomp.map(|profile| with_receiver(profile, spec.annotations().as_ref()));
    let host = Host::probe(Asked::by(&spec).and_by(&process))?;
    let options = planner::Options {
        id: id.as_str(),
        document,
        at,
        namespaces: namespaces(saved, awaits_start)?,
        rootfs: &saved.rootfs,
        linux: spec.linux().as_ref(),
        seccomp: seccomp.as_deref(),
        annotations: &saved.annotations,
        preserve_fds: args::preserved_fds(parsed, 0)?,
        by_systemd: saved.unit.as_ref().is_some_and(|unit| unit.user),
        at_limit: false,
        new_keyring: !saved.no_new_keyring,
    };
    let plan = planner::exec(&process, &host, &options)
        .map_err(|error| asked_by(error, parsed, document))?;
    let at_limit = planner::Options { at_limit: true, ..options };
    plan.warnings.iter().for_each(|warning| log::note(warning));
    let mut cgroup =
        cgroup(parsed, saved, &host).map_err(|error| because_it_ended(error, saved))?;
    let terminal = process.terminal().unwrap_or(false);
    let at_limit = || planner::exec(&process, &host, &at_limit);
    follow(parsed, plan, at_limit, &mut cgroup, saved, terminal, init)
}

/// Makes the process. In a container that is at its limit of processes, where an operator looks for the reason, it is made all the
/// same (as with runc): by the plan of `at_limit`, which takes the place of the other.
fn spawn(
    plan: &mut Plan,
    at_limit: impl FnOnce() -> Result<Plan>,
    cgroup: &mut Cgroup,
    saved: &Saved,
    console: Option<OwnedFd>,
    init: OwnedFd,
    detach: bool,
) -> Result<Init> {
    let again = console.as_ref().map(OwnedFd::try_clone).transpose();
    let again = again.map_err(|error| Error::io("duplicate the console socket", &error))?;
    let handed = |console, init| -> Result<Handed> {
        // In a container that is paused, from above perhaps, it may never be ready.
        let interrupt = if detach { None } else { Some(foreground::interrupt()?) };
        Ok(Handed { console, init: Some(init), interrupt, ..Handed::default() })
    };
    match parent::spawn(plan, cgroup, handed(console, init)?) {
        Err(Error::Step(failure)) if failure.is_for_want_of_processes() => {}
        made => return made,
    }
    let Some(init) = kill::init(saved)? else { return Err(stopped(&saved.id)) };
    *plan = at_limit()?;
    parent::spawn(plan, cgroup, handed(again, init)?)
}

/// Makes the process, and waits for its end unless it is to be left alone.
fn follow(
    parsed: &Parsed,
    mut plan: Plan,
    at_limit: impl FnOnce() -> Result<Plan>,
    cgroup: &mut Cgroup,
    saved: &Saved,
    terminal: bool,
    init: OwnedFd,
) -> Result<u8> {
    let pidfd_socket = PidfdSocket::connect(pidfd_socket::path(parsed).as_deref())?;
    let detach = parsed.is_set("detach");
    let socket = console_socket(parsed, terminal, detach)?;
    let foreground =
        if detach { None } else { Some(Foreground::prepare(terminal && socket.is_none())?) };
    let (mut foreground, console) = match foreground {
        None => (None, socket),
        Some((foreground, console)) => (Some(foreground), socket.or(console)),
    };
    let mut agent = plan.listener().map(Agent::connect).transpose()?;
    let mut child = spawn(&mut plan, at_limit, cgroup, saved, console, init, detach)
        .map_err(|error| because_it_ended(error, saved))?;
    let plan = &plan;
    let announced = pidfd_socket
        .map_or(Ok(()), |socket| socket.send(pidfd_socket::Kind::Exec, child.pidfd.as_fd()));
    let pid_file = parsed.value("pid-file").filter(|path| !path.is_empty()).map(Path::new);
    let started = announced
        .and_then(|()| saved.classify(child.pid))
        .and_then(|()| pid_file::write(pid_file, child.pid))
        .and_then(|()| foreground.as_mut().map_or(Ok(()), Foreground::attach))
        .and_then(|()| agent.as_ref().map_or(Ok(()), |agent| agent.watch(child.socket.as_fd())))
        .and_then(|()| {
            log::debug(|| "setns_init: about to exec".to_owned());
            child.go(plan)
        })
        .and_then(|()| executed(&child, plan, saved, agent.as_mut(), detach));
    let ended = started.and_then(|()| {
        child.close_resources();
        let Some(foreground) = foreground else { return Ok(0) };
        foreground.wait(child.pid, &child.pidfd, |killed| match killed {
            true => launch::has_executed(child.pid).map_err(|why| launch::error(plan, why)),
            false => Ok(()),
        })
    });
    if ended.is_err() {
        child.end(None);
        pid_file::take_back(pid_file, child.pid);
    }
    ended
}

fn executed(
    child: &Init,
    plan: &Plan,
    saved: &Saved,
    agent: Option<&mut Agent>,
    detach: bool,
) -> Result<()> {
    let mut launch = Launch { saved, status: "running", agent, hooks: false, record: None };
    match detach {
        true => child.surely_executed(plan, &mut launch),
        false => child.executed(plan, &mut launch),
    }
}

/// With the container its cgroups and namespaces are gone, whichever of them was missed first.
#[cold]
fn because_it_ended(error: Error, saved: &Saved) -> Error {
    let ended = match &error {
        // On its way out it has no namespaces any more, and has not ended yet.
        Error::Step(failure) if failure.errno == Errno::SRCH => true,
        Error::Step(_) | Error::Cgroup(_) => matches!(kill::init(saved), Ok(None)),
        _ => false,
    };
    if ended { stopped(&saved.id) } else { error }
}

fn stopped(id: &str) -> Error {
    Error::State(format!("cannot exec in container `{id}`: cannot exec in a stopped container"))
}

/// The init of a container that can take another process.
fn running_init(
    parsed: &Parsed,
    id: &ContainerId,
    saved: &Saved,
    awaits_start: bool,
) -> Result<Option<OwnedFd>> {
    match Status::of(saved, awaits_start)? {
        Status::Stopped => Ok(None),
        Status::Creating => {
            Err(Error::State(format!("cannot exec in container `{id}`: it is still being created")))
        }
        // It would stop at its first instruction, and we would wait for it.
        Status::Paused if !parsed.is_set("ignore-paused") => Err(Error::State(format!(
            "cannot exec in container `{id}`: cannot exec in a paused container (use --ignore-paused to override)"
        ))),
        Status::Created | Status::Running | Status::Paused => kill::init(saved),
    }
}

/// Where the process is put: the container's cgroups, or those below that `--cgroup` names.
fn cgroup(parsed: &Parsed, saved: &Saved, host: &Host) -> Result<Cgroup> {
    let subgroups = Subgroups::parse(parsed.values("cgroup"))
        .map_err(|why| Error::Usage(format!("cannot exec in container `{}`: {why}", saved.id)))?;
    let mount = host.cgroup.unified().map(|unified| unified.mount.as_path());
    let own = Cgroup::open(saved.cgroups.clone());
    // Into a cgroup that the system's manager made we put the process ourselves.
    let unit = saved.unit.clone().filter(|unit| unit.user);
    Ok(own.for_another(&subgroups, saved.pid, mount)?.of_unit(unit))
}

/// The namespaces to join. The user namespace only if it is not ours: setns(2) refuses the one that a process is in.
fn namespaces(saved: &Saved, awaits_start: bool) -> Result<Kinds> {
    let kinds = Kinds::from_bits(saved.namespaces);
    if !kinds.contains(Kinds::USER) {
        return Ok(kinds);
    }
    let inode = |pid: &str| {
        let path = format!("/proc/{pid}/ns/user");
        rustix::fs::stat(&path).map(|stat| stat.st_ino).map_err(|errno| match errno {
            // Until its exec the init is this program, and hidden from all but the host's root.
            Errno::ACCESS if awaits_start => Error::State(format!(
                "cannot exec in container `{}`: it has not been started, and only root could enter it now",
                saved.id
            )),
            errno => Error::system(format!("read `{path}`"), errno),
        })
    };
    let same = inode("self")? == inode(&saved.pid.to_string())?;
    Ok(if same { kinds.without(Kinds::USER) } else { kinds })
}

fn console_socket(parsed: &Parsed, terminal: bool, detach: bool) -> Result<Option<OwnedFd>> {
    match (parsed.value("console-socket").filter(|path| !path.is_empty()), terminal) {
        (None, true) if detach => Err(Error::Usage(
            "cannot allocate tty if nrun will detach without setting --console-socket".into(),
        )),
        (Some(_), false) => Err(Error::Usage(
            "cannot use console socket if nrun will not allocate tty: add --tty, or set `terminal` in process.json".into(),
        )),
        (Some(path), true) => socket::connect(Path::new(path), "console socket").map(Some),
        (None, _) => Ok(None),
    }
}

/// The process: `--process FILE`, or the container's own with the command line's changes. What a file leaves open is as in the
/// container, so that an exec never has more than the container's own process.
///
/// # Errors
/// For a file or a flag that is no good.
pub(crate) fn process(
    parsed: &Parsed,
    spec: &Spec,
) -> Result<(Process, &'static str, &'static str)> {
    let Some(own) = spec.process() else {
        return Err(Error::State("the container's config.json has no process".into()));
    };
    if let Some(path) = parsed.value("process") {
        let (mut process, warnings) =
            bundle::load_process(Path::new(path)).map_err(|error| match error {
                // What is advised of a bundle is not about this file.
                bundle::Error::Read { reason, .. } => {
                    Error::Usage(format!("cannot read `{path}`: {reason}"))
                }
                error => error.into(),
            })?;
        for warning in warnings {
            log::tell(&format!("{path}:{warning}"));
        }
        if parsed.is_set("tty") {
            process.set_terminal(Some(true));
        }
        if process.capabilities().is_none() {
            process.set_capabilities(own.capabilities().clone());
        }
        if process.no_new_privileges().is_none() {
            process.set_no_new_privileges(own.no_new_privileges());
        }
        if process.rlimits().is_none() {
            process.set_rlimits(own.rlimits().clone());
        }
        inherit_attributes(&mut process, own);
        return Ok((process, "process.json", ""));
    }
    let args = parsed.operands[1..].to_vec();
    if args.is_empty() {
        return Err(Error::Usage(
            "process args cannot be empty: usage: nrun exec [OPTIONS] ID COMMAND [ARG...]".into(),
        ));
    }
    let mut process = own.clone();
    process.set_args(Some(args));
    process.set_terminal(Some(parsed.is_set("tty")));
    process.set_console_size(None);
    change(&mut process, parsed)?;
    // What the command line leaves out is the container's own, and has worked before: no file is at fault.
    Ok((process, "", "/process"))
}

/// Who has asked for what cannot be planned: an option, the file of `--process`, or config.json.
#[cold]
fn asked_by(error: Error, parsed: &Parsed, document: &str) -> Error {
    let Error::Plan(crate::plan::Error { pointer, message }) = &error else { return error };
    let option = match pointer.as_str() {
        "/process/apparmorProfile" => "apparmor",
        "/process/selinuxLabel" => "process-label",
        _ => "",
    };
    if parsed.value(option).is_some_and(|value| !value.is_empty()) {
        return Error::Usage(format!("--{option}: {message}"));
    }
    // What is about all of the container is in config.json.
    match document.is_empty() || pointer.starts_with("/linux/") {
        true => error,
        false => Error::Usage(format!("{document} {pointer}: {message}")),
    }
}

/// As runc does. A label that is left open is not "none": a process must not get out of the container's confinement by not
/// mentioning it.
fn inherit_attributes(process: &mut Process, own: &Process) {
    let open = |text: &Option<String>| text.as_deref().is_none_or(str::is_empty);
    if open(process.apparmor_profile()) {
        process.set_apparmor_profile(own.apparmor_profile().clone());
    }
    if open(process.selinux_label()) {
        process.set_selinux_label(own.selinux_label().clone());
    }
    if process.scheduler().is_none() {
        process.set_scheduler(own.scheduler().clone());
    }
    if process.io_priority().is_none() {
        process.set_io_priority(*own.io_priority());
    }
    // Nor out of the reach of the OOM killer, with the score of whoever calls.
    if process.oom_score_adj().is_none() {
        process.set_oom_score_adj(own.oom_score_adj());
    }
    if process.user().umask().is_none() {
        let mut user = process.user().clone();
        user.set_umask(own.user().umask());
        process.set_user(user);
    }
    let bound = |process: &Process| {
        let affinity = process.exec_cpu_affinity().as_ref();
        affinity
            .is_some_and(|lists| lists.initial().is_some() || lists.cpu_affinity_final().is_some())
    };
    if !bound(process) {
        process.set_exec_cpu_affinity(own.exec_cpu_affinity().clone());
    }
}

/// What an entry of config.json's `env` has to be (`bundle::config`).
fn variable(entry: &str) -> Result<String> {
    match entry.split_once('=') {
        None | Some(("", _)) => Err(Error::Usage(format!(
            "invalid environment variable `{entry}` for flag --env: it must be NAME=VALUE"
        ))),
        Some(_) => Ok(entry.to_owned()),
    }
}

fn change(process: &mut Process, parsed: &Parsed) -> Result<()> {
    // An empty value is as good as none: so it is with runc.
    let given = |flag: &str| parsed.value(flag).filter(|value| !value.is_empty());
    if let Some(cwd) = given("cwd") {
        if !cwd.starts_with('/') {
            return Err(Error::Usage(format!(
                "invalid value `{cwd}` for flag --cwd: it must be an absolute path in the container"
            )));
        }
        process.set_cwd(cwd.into());
    }
    let mut env = process.env().clone().unwrap_or_default();
    for entry in parsed.values("env") {
        env.push(variable(entry)?);
    }
    process.set_env(Some(env));
    if let Some(profile) = given("apparmor") {
        process.set_apparmor_profile(Some(profile.to_owned()));
    }
    if let Some(label) = given("process-label") {
        process.set_selinux_label(Some(label.to_owned()));
    }
    if parsed.is_set("no-new-privs") {
        process.set_no_new_privileges(Some(true));
    }
    // An empty user is refused: what a script has forgotten must not become root.
    if let Some(user) = parsed.value("user") {
        let (uid, gid) = user_and_group(user)?;
        process.user_mut().set_uid(uid);
        if let Some(gid) = gid {
            process.user_mut().set_gid(gid);
        }
    }
    let mut gids = process.user().additional_gids().clone().unwrap_or_default();
    for gid in parsed.values("additional-gids") {
        gids.push(number(gid).ok_or_else(|| {
            Error::Usage(format!(
                "invalid value `{gid}` for flag --additional-gids: it must be a group id"
            ))
        })?);
    }
    process.user_mut().set_additional_gids(Some(gids));
    let added: Vec<Capability> = parsed.values("cap").filter_map(known_capability).collect();
    if !added.is_empty() {
        let mut sets = process.capabilities().clone().unwrap_or_else(no_capabilities);
        let with = |set: &Option<HashSet<Capability>>| {
            let mut set = set.clone().unwrap_or_default();
            set.extend(added.iter().copied());
            Some(set)
        };
        let (bounding, effective, permitted) =
            (with(sets.bounding()), with(sets.effective()), with(sets.permitted()));
        // The flag adds nothing to the inheritable set, without which none can be ambient; where the container has it there, a user
        // who is not root gets it too.
        let inheritable = sets.inheritable().clone().unwrap_or_default();
        let mut ambient = sets.ambient().clone().unwrap_or_default();
        ambient.extend(added.iter().copied().filter(|cap| inheritable.contains(cap)));
        sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
        sets.set_ambient(Some(ambient));
        process.set_capabilities(Some(sets));
    }
    Ok(())
}

fn no_capabilities() -> LinuxCapabilities {
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(None)
        .set_effective(None)
        .set_permitted(None)
        .set_inheritable(None)
        .set_ambient(None);
    sets
}

/// `UID` or `UID:GID`, numbers only and no sign: names are the engine's to resolve (CVE-2026-30892 was a wrong parse here).
fn user_and_group(text: &str) -> Result<(u32, Option<u32>)> {
    let parsed = match text.split_once(':') {
        None => number(text).map(|uid| (uid, None)),
        Some((uid, gid)) => number(uid).zip(number(gid)).map(|(uid, gid)| (uid, Some(gid))),
    };
    parsed.ok_or_else(|| {
        Error::Usage(format!("invalid value `{text}` for flag --user: it must be UID or UID:GID"))
    })
}

/// An id: digits only, and not the one that means "unchanged" to the kernel.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|id| *id != u32::MAX)
}

/// One that is not known is left out with a warning, as it is in config.json.
fn known_capability(name: &str) -> Option<Capability> {
    let known = capability(name);
    if known.is_none() {
        log::tell(&format!("unknown capability `{name}` is ignored"));
    }
    known
}

fn capability(name: &str) -> Option<Capability> {
    let upper = name.to_ascii_uppercase();
    let known = caps::Capability::from_str(&if upper.starts_with("CAP_") {
        upper.clone()
    } else {
        format!("CAP_{upper}")
    });
    known.ok().and_then(|capability| serde_json::from_value(capability.to_string().into()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbers_without_signs_or_spaces() {
        assert_eq!(user_and_group("1000").unwrap(), (1000, None));
        assert_eq!(user_and_group("1000:50").unwrap(), (1000, Some(50)));
        for text in
            ["", "-1", "+1", "1:", ":1", "1 ", "root", "4294967295", "4294967296", "1:2:3", "0x0"]
        {
            assert!(user_and_group(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn capabilities_are_known_with_and_without_prefix() {
        assert_eq!(capability("CAP_SYS_ADMIN").unwrap(), Capability::SysAdmin);
        assert_eq!(capability("net_raw").unwrap(), Capability::NetRaw);
        assert_eq!(capability("CAP_NONE"), None);
    }
}
