//! The process: limits, capabilities, ids, working directory, executable.
//!
//! Shared by `create` and `exec`, so that an exec'd process cannot end up with other privileges than the container's own.

use super::files::{self, Needed};
use super::op::{Capabilities, Op, Step};
use super::{Error, Options, c_string, sd_notify};
use crate::host::{Host, SYS_ADMIN};
use oci_spec::runtime::{Capability, LinuxCapabilities, PosixRlimit, PosixRlimitType, Process};
use rustix::process::Resource;
use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;
use sys::exec::CStringArray;

/// Where a bare name is looked for when the environment has no PATH; execvp(3) has this default, and pause containers
/// without any environment depend on there being one.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The umask of a container that does not ask for one: runc's.
const DEFAULT_UMASK: u32 = 0o022;

/// Every capability of Linux 5.9 and later: the first process in a user namespace has them all (user_namespaces(7)).
const ALL_CAPABILITIES: u64 = (1 << 41) - 1;

/// What the process is made from: the rights of whoever sets it up, at the moment when it gives them up.
#[derive(Clone, Copy, Debug)]
pub struct Rights {
    capabilities: u64,
    /// A user namespace whose mapping was written by an ordinary user denies setgroups(2), and so do those in it.
    setgroups_may_be_denied: bool,
    /// The caller's supplementary groups stay.
    keep_groups: bool,
}

impl Rights {
    /// The caller's own, or those of a user namespace that is entered before.
    pub fn of(host: &Host, enters_user_namespace: bool) -> Rights {
        Rights {
            capabilities: if enters_user_namespace { ALL_CAPABILITIES } else { host.capabilities },
            setgroups_may_be_denied: enters_user_namespace || !host.privileged(),
            keep_groups: false,
        }
    }

    /// The same, with what the annotations say of the caller's groups.
    pub fn with(self, annotations: Option<&HashMap<String, String>>) -> Rights {
        Rights { keep_groups: keeps_groups(annotations), ..self }
    }
}

/// The steps that give up privilege, in the order that keeps the right to take the next one:
/// the bounding set while CAP_SETPCAP is there, ids while CAP_SETUID and CAP_SETGID are, the other sets last.
///
/// # Errors
/// For strings with NUL bytes, naming their place.
pub fn privileges(process: &Process, rights: &Rights, at: &str) -> Result<Vec<Step>, Error> {
    let step = |op, field: &str| Step { op, pointer: format!("{at}/{field}") };
    let mut steps = Vec::with_capacity(8);
    if process.no_new_privileges().unwrap_or(false) {
        steps.push(step(Op::NoNewPrivileges, "noNewPrivileges"));
    }
    let sets = capabilities(process.capabilities().as_ref(), rights.capabilities);
    steps.push(step(Op::Bounding(sets.bounding), "capabilities/bounding"));
    let user = process.user();
    // With the privileges of whoever sets the container up: the directory may be closed to its user, and open to nobody else (a
    // rootless caller's). What may not be entered now is tried again by the process as it will be.
    let cwd = c_string(process.cwd().as_os_str().as_bytes(), &format!("{at}/cwd"))?;
    let directory = |last| Op::WorkingDirectory { path: cwd.clone(), last };
    steps.push(step(directory(false), "cwd"));
    if user.uid() != 0 {
        steps.push(step(Op::StandardStreams { uid: user.uid() }, "user/uid"));
    }
    let groups = user.additional_gids().clone().unwrap_or_default();
    let groups = (!rights.keep_groups).then_some(groups);
    let may_be_denied = rights.setgroups_may_be_denied;
    steps.push(step(Op::User { uid: user.uid(), gid: user.gid(), groups, may_be_denied }, "user"));
    steps.push(step(Op::Capabilities(sets.process), "capabilities"));
    let umask = user.umask().unwrap_or(DEFAULT_UMASK);
    steps.push(step(Op::Umask(umask), "user/umask"));
    if !environment(process).iter().any(|entry| entry.starts_with("HOME=")) {
        steps.push(step(Op::Home { uid: user.uid() }, "env"));
    }
    steps.push(step(directory(true), "cwd"));
    Ok(steps)
}

/// crun's annotation: the caller's supplementary groups are kept, and none are added, unless it is `0`.
fn keeps_groups(annotations: Option<&HashMap<String, String>>) -> bool {
    let value = annotations.and_then(|map| map.get("run.oci.keep_original_groups"));
    value.is_some_and(|value| value != "0")
}

/// The resource limits, but for those that would leave less than is `needed` for setting the container up: these are lowered by
/// [`last_rlimits`].
pub fn rlimits(process: &Process, needed: Needed, at: &str) -> Vec<Step> {
    let listed = process.rlimits().as_deref().unwrap_or_default();
    let step = |(i, rlimit): (usize, &PosixRlimit)| {
        let (enough, hard) = (enough(rlimit, needed), rlimit.hard());
        let soft = match rlimit.soft() < enough {
            false => rlimit.soft(),
            // The privilege to raise the hard limit is there only now.
            true if hard >= enough => hard,
            true => return None,
        };
        Some(rlimit_step(rlimit, soft, hard, at, i))
    };
    listed.iter().enumerate().filter_map(step).collect()
}

/// The limits on open files and on the size of one, where they are low: nothing is opened or written after them, and to lower a limit
/// takes no privilege. Without one on open files the caller's, which we may have raised for ourselves.
pub fn last_rlimits(process: &Process, needed: Needed, at: &str) -> Vec<Step> {
    let listed = process.rlimits().as_deref().unwrap_or_default();
    let is_low = |(_, rlimit): &(usize, &PosixRlimit)| rlimit.soft() < enough(rlimit, needed);
    let low = listed.iter().enumerate().filter(is_low);
    let low = low.map(|(i, rlimit)| rlimit_step(rlimit, rlimit.soft(), rlimit.hard(), at, i));
    let raised = needed.open > files::USUAL
        && !listed.iter().any(|rlimit| rlimit.typ() == PosixRlimitType::RlimitNofile);
    let callers = Step { op: Op::CallersFiles, pointer: format!("{at}/rlimits") };
    low.chain(raised.then_some(callers)).collect()
}

/// From where on a limit is in nobody's way.
fn enough(rlimit: &PosixRlimit, needed: Needed) -> u64 {
    match rlimit.typ() {
        PosixRlimitType::RlimitNofile => needed.open.max(files::ENOUGH),
        PosixRlimitType::RlimitFsize if needed.copies => u64::MAX,
        _ => 0,
    }
}

fn rlimit_step(rlimit: &PosixRlimit, soft: u64, hard: u64, at: &str, i: usize) -> Step {
    let limit = |value: u64| (value != u64::MAX).then_some(value);
    let op = Op::Rlimit { resource: resource(rlimit.typ()), soft: limit(soft), hard: limit(hard) };
    Step { op, pointer: format!("{at}/rlimits/{i}") }
}

fn resource(typ: PosixRlimitType) -> Resource {
    match typ {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    }
}

/// Capability sets with the bounding set apart, which is dropped before the ids change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sets {
    bounding: u64,
    process: Capabilities,
}

/// The sets of config.json, cut down to what we have ourselves (engines ask for all of them with `--privileged`, and a
/// runtime inside a container does not have all of them).
///
/// CAP_SYS_ADMIN stays effective until the exec where it is needed to install the seccomp filter last. That gives the
/// container nothing: execve(2) computes the new sets from the inheritable, bounding and ambient ones alone.
fn capabilities(wanted: Option<&LinuxCapabilities>, available: u64) -> Sets {
    let Some(wanted) = wanted else {
        return Sets { bounding: 0, process: Capabilities::default() };
    };
    let [bounding, effective, inheritable, permitted, ambient] =
        sets(wanted).map(|(_, set)| set.map_or(0, mask) & available);
    let process = Capabilities {
        effective: effective & permitted,
        permitted,
        inheritable,
        // The kernel raises only what is both permitted and inheritable (capabilities(7)).
        ambient: ambient & permitted & inheritable,
    };
    Sets { bounding, process }
}

/// The sets of config.json with their names.
fn sets(wanted: &LinuxCapabilities) -> [(&'static str, Option<&HashSet<Capability>>); 5] {
    [
        ("bounding", wanted.bounding().as_ref()),
        ("effective", wanted.effective().as_ref()),
        ("inheritable", wanted.inheritable().as_ref()),
        ("permitted", wanted.permitted().as_ref()),
        ("ambient", wanted.ambient().as_ref()),
    ]
}

/// Capabilities that are asked for and not given: "Any value which … cannot be granted otherwise MUST be logged as a warning"
/// (config.md, Linux process). Those that nobody knows were found when the file was read.
pub fn warnings(process: &Process, rights: &Rights, document: &str, at: &str) -> Vec<String> {
    let Some(wanted) = process.capabilities() else { return Vec::new() };
    let Sets { bounding, process: given } = capabilities(Some(wanted), rights.capabilities);
    let given = [bounding, given.effective, given.inheritable, given.permitted, given.ambient];
    let mut warnings = Vec::new();
    for ((set, wanted), given) in sets(wanted).into_iter().zip(given) {
        let Some(wanted) = wanted else { continue };
        let missing = mask(wanted) & !given;
        for (missing, why) in [
            (missing & !rights.capabilities, "which nrun does not have itself"),
            (
                missing & rights.capabilities,
                "which must be in `permitted`, and for `ambient` in `inheritable` too",
            ),
        ] {
            if missing != 0 {
                let names = names(wanted, missing);
                let told = format!("{document} {at}/capabilities/{set}: leaves out {names}, {why}");
                // `exec` has no document where it is given a command line.
                warnings.push(told.trim_start().to_owned());
            }
        }
    }
    warnings
}

/// The names of those of a set that are in a mask.
fn names(set: &HashSet<Capability>, mask: u64) -> String {
    let is_in = |capability: &&Capability| mask & bit(capability) != 0;
    let mut names: Vec<String> = set.iter().filter(is_in).map(spelled).collect();
    names.sort_unstable();
    names.join(", ")
}

/// Capability names to bits.
fn mask(set: &HashSet<Capability>) -> u64 {
    set.iter().map(bit).fold(0, |mask, bit| mask | bit)
}

/// A name that the kernel does not know has no bit; the check of config.json has let it through as runc does.
fn bit(capability: &Capability) -> u64 {
    caps::Capability::from_str(&spelled(capability)).map_or(0, |capability| capability.bitmask())
}

/// As config.json has it.
fn spelled(capability: &Capability) -> String {
    ["CAP_", &capability.to_string()].concat()
}

/// Keeps CAP_SYS_ADMIN in force for a filter that is installed without `no_new_privs` (seccomp(2)).
pub fn keep_sys_admin(steps: &mut [Step]) {
    for step in steps {
        if let Op::Capabilities(sets) = &mut step.op {
            sets.effective |= SYS_ADMIN;
            sets.permitted |= SYS_ADMIN;
        }
    }
}

/// The search for the executable.
///
/// # Errors
/// When `args` is empty or contains a NUL byte.
pub fn find_executable(process: &Process, at: &str) -> Result<Step, Error> {
    let pointer = format!("{at}/args");
    let args = process.args().as_deref().unwrap_or_default();
    let Some(name) = args.first() else {
        return Err(Error::new(pointer, "must name a program"));
    };
    let candidates = if name.is_empty() {
        // In every directory it would be the directory itself.
        Vec::new()
    } else if name.contains('/') {
        vec![c_string(name.as_bytes(), &pointer)?]
    } else {
        // The last PATH counts, as it does for the process itself when it scans its environment into a map.
        let env = process.env().as_deref().unwrap_or_default();
        let path =
            env.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
        let candidate = |directory: &str| {
            let directory = if directory.is_empty() { "." } else { directory };
            c_string(format!("{directory}/{name}").as_bytes(), &pointer)
        };
        path.split(':').map(candidate).collect::<Result<Vec<CString>, Error>>()?
    };
    Ok(Step { op: Op::FindExecutable { name: name.clone(), candidates }, pointer })
}

/// The name of a variable.
fn name(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

/// The environment as runc hands it on: of a name that is there more than once the last entry, since programs differ in which one they
/// take, and no empty HOME, which counts as none.
fn environment(process: &Process) -> Vec<&str> {
    let listed = process.env().as_deref().unwrap_or_default();
    let mut seen = HashSet::with_capacity(listed.len());
    let last = listed.iter().rev().map(String::as_str).filter(|entry| seen.insert(name(entry)));
    let mut entries: Vec<&str> = last.filter(|entry| *entry != "HOME=").collect();
    entries.reverse();
    entries
}

/// What the program is told besides: of sockets that it inherits from systemd (sd_listen_fds(3)), as the first process of its pid
/// namespace; and of the one by which it says that it is ready (sd_notify(3)).
pub fn told(options: &Options) -> Vec<String> {
    let mut told = Vec::new();
    if options.listen_fds > 0 {
        told.extend([format!("LISTEN_FDS={}", options.listen_fds), "LISTEN_PID=1".to_owned()]);
    }
    if options.notify.is_some() {
        told.push(sd_notify::VARIABLE.to_owned());
    }
    told
}

/// The exec itself. Variables of `told` have the place of config.json's of the same name.
///
/// # Errors
/// When an argument or environment entry contains a NUL byte.
pub fn exec(process: &Process, at: &str, told: &[String]) -> Result<Step, Error> {
    let array = |strings: &[&str], field: &str| {
        CStringArray::new(strings.iter().copied())
            .map_err(|_| Error::new(format!("{at}/{field}"), "contains a NUL byte"))
    };
    let args: Vec<&str> = process.args().iter().flatten().map(String::as_str).collect();
    let mut env = environment(process);
    if !told.is_empty() {
        env.retain(|entry| !told.iter().any(|other| name(other) == name(entry)));
        env.extend(told.iter().map(String::as_str));
    }
    let op = Op::Exec { argv: array(&args, "args")?, env: array(&env, "env")? };
    Ok(Step { op, pointer: format!("{at}/args") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(json: &str) -> Process {
        let mut value: serde_json::Value = serde_json::from_str(json).unwrap();
        let object = value.as_object_mut().unwrap();
        object.entry("cwd").or_insert("/".into());
        object.entry("user").or_insert(serde_json::json!({"uid": 0, "gid": 0}));
        serde_json::from_value(value).unwrap()
    }

    fn rights() -> Rights {
        Rights::of(&Host::for_tests(), false)
    }

    fn candidates(json: &str) -> Vec<String> {
        match find_executable(&process(json), "/process").unwrap().op {
            Op::FindExecutable { candidates, .. } => {
                candidates.into_iter().map(|path| path.into_string().unwrap()).collect()
            }
            op => panic!("{op:?}"),
        }
    }

    #[test]
    fn a_bare_name_is_looked_for_in_the_containers_path() {
        assert_eq!(candidates(r#"{"args": ["sh"], "env": ["PATH=/a:/b"]}"#), ["/a/sh", "/b/sh"]);
        assert_eq!(candidates(r#"{"args": ["sh"], "env": ["PATH=/a:"]}"#), ["/a/sh", "./sh"]);
        assert_eq!(candidates(r#"{"args": ["/bin/sh"], "env": ["PATH=/a"]}"#), ["/bin/sh"]);
        assert!(candidates(r#"{"args": [""], "env": ["PATH=/a:/b"]}"#).is_empty());
    }

    #[test]
    fn a_process_without_path_still_finds_its_program() {
        assert!(candidates(r#"{"args": ["pause"]}"#).contains(&"/bin/pause".to_owned()));
    }

    #[test]
    fn of_a_variable_that_is_given_twice_the_last_counts_and_an_empty_home_is_none() {
        let env = |list: &str| {
            let process = process(&format!(r#"{{"args": ["x"], "env": [{list}]}}"#));
            let steps = privileges(&process, &rights(), "/process").unwrap();
            let home = steps.iter().any(|step| matches!(step.op, Op::Home { .. }));
            (environment(&process).join(" "), home)
        };
        let both = |text: &str, home: bool| (text.to_owned(), home);
        assert_eq!(env(r#""A=1", "HOME=/x", "A=", "B=2""#), both("HOME=/x A= B=2", false));
        assert_eq!(env(r#""HOME=/x", "HOME=", "A=a=b""#), both("A=a=b", true));
        assert_eq!(env(r#""HOME=", "HOME=/x""#), both("HOME=/x", false));
        assert_eq!(env(""), both("", true));
    }

    #[test]
    fn sets_are_cut_down_to_what_the_caller_has() {
        let json = r#"{"bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SYS_ADMIN"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
            "effective": ["CAP_CHOWN", "CAP_SYS_ADMIN"], "ambient": ["CAP_KILL"], "inheritable": []}"#;
        let sets = capabilities(Some(&serde_json::from_str(json).unwrap()), 0b10_0001);
        assert_eq!(sets.bounding, 0b10_0001);
        assert_eq!(sets.process.effective, 0b1, "effective is within permitted");
        assert_eq!(sets.process.ambient, 0, "ambient is within inheritable");
    }

    #[test]
    fn capabilities_that_are_not_given_are_told_with_the_reason() {
        let host = Host { capabilities: 0b10_0001, ..Host::for_tests() };
        let json = r#"{"args": ["x"], "capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_NET_RAW"],
            "permitted": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"], "ambient": ["CAP_CHOWN"]}}"#;
        let told = warnings(&process(json), &Rights::of(&host, false), "config.json", "/process");
        let wanted = [
            "config.json /process/capabilities/bounding: leaves out CAP_NET_RAW, CAP_SYS_ADMIN, which nrun does not have itself",
            "config.json /process/capabilities/ambient: leaves out CAP_CHOWN, which must be in `permitted`, and for `ambient` in `inheritable` too",
        ];
        assert_eq!(told, wanted);
        let told = warnings(&process(json), &Rights::of(&host, false), "", "/process");
        assert!(told[1].starts_with("/process/capabilities/ambient: leaves"), "{told:?}");
        let all = rights();
        assert!(
            warnings(
                &process(r#"{"args": ["x"], "capabilities": {"bounding": ["CAP_KILL"]}}"#),
                &all,
                "",
                ""
            )
            .is_empty()
        );
    }

    #[test]
    fn a_low_limit_on_open_files_is_set_last_and_a_hard_one_that_is_not_low_is_raised_first() {
        let limits_of = |soft: u64, hard: u64, open: u64| {
            let needed = Needed { open, copies: false };
            let json = format!(
                r#"{{"args": ["x"], "rlimits": [{{"type": "RLIMIT_NOFILE", "soft": {soft}, "hard": {hard}}}]}}"#
            );
            let process = process(&json);
            let values = |step: &Step| match step.op {
                Op::Rlimit { soft, hard, .. } => (soft.unwrap(), hard.unwrap()),
                _ => panic!("{step:?}"),
            };
            let first: Vec<_> = rlimits(&process, needed, "/process").iter().map(values).collect();
            (first, last_rlimits(&process, needed, "/process").first().map(values))
        };
        let limits = |soft: u64, hard: u64| limits_of(soft, hard, 200);
        assert_eq!(limits(1024, 4096), (vec![(1024, 4096)], None));
        assert_eq!(limits(20, 4096), (vec![(4096, 4096)], Some((20, 4096))));
        assert_eq!(limits(20, 30), (vec![], Some((20, 30))));
        // What is not low for most is for a container of many mounts.
        assert_eq!(limits_of(1024, 1024, 3000), (vec![], Some((1024, 1024))));
        assert_eq!(limits_of(1024, 4096, 3000), (vec![(4096, 4096)], Some((1024, 4096))));
        assert_eq!(limits_of(4096, 4096, 3000), (vec![(4096, 4096)], None));
    }

    #[test]
    fn who_asks_for_no_limit_on_open_files_has_the_callers_after_a_set_up_of_many() {
        let needed = |open| Needed { open, copies: false };
        let last = |open| last_rlimits(&process(r#"{"args": ["x"]}"#), needed(open), "/process");
        assert!(last(files::USUAL).is_empty());
        assert!(matches!(last(files::USUAL + 1)[..], [Step { op: Op::CallersFiles, .. }]));
        assert!(rlimits(&process(r#"{"args": ["x"]}"#), needed(5000), "/process").is_empty());
    }

    #[test]
    fn the_size_of_a_file_is_limited_when_all_is_copied() {
        let counts = |hard: &str, copies| {
            let limit = format!(r#"{{"type": "RLIMIT_FSIZE", "soft": 5, "hard": {hard}}}"#);
            let process = process(&format!(r#"{{"args": ["x"], "rlimits": [{limit}]}}"#));
            let needed = Needed { open: 0, copies };
            let [first, last] =
                [rlimits, last_rlimits].map(|plan| plan(&process, needed, "/process"));
            (first.len(), last.len())
        };
        assert_eq!(counts("9", false), (1, 0));
        assert_eq!(counts("9", true), (0, 1));
        assert_eq!(counts("18446744073709551615", true), (1, 1));
    }

    #[test]
    fn a_process_without_capabilities_has_none() {
        assert_eq!(capabilities(None, ALL_CAPABILITIES).bounding, 0);
    }

    #[test]
    fn only_who_enters_a_user_namespace_may_be_denied_its_groups() {
        let may_be_denied = |enters: bool| {
            let rights = Rights::of(&Host::for_tests(), enters);
            let steps = privileges(&process(r#"{"args": ["x"]}"#), &rights, "/process").unwrap();
            let of_user = |step: &Step| match step.op {
                Op::User { may_be_denied, .. } => Some(may_be_denied),
                _ => None,
            };
            steps.iter().find_map(of_user).unwrap()
        };
        assert!(may_be_denied(true));
        // Anybody else would keep the caller's groups without a word.
        assert!(!may_be_denied(false));
    }

    #[test]
    fn the_bounding_set_is_dropped_before_the_ids_and_the_ids_before_the_sets() {
        let steps = privileges(&process(r#"{"args": ["x"]}"#), &rights(), "/process").unwrap();
        let place =
            |wanted: fn(&Op) -> bool| steps.iter().position(|step| wanted(&step.op)).unwrap();
        let bounding = place(|op| matches!(op, Op::Bounding(_)));
        let user = place(|op| matches!(op, Op::User { .. }));
        let sets = place(|op| matches!(op, Op::Capabilities(_)));
        assert!(bounding < user && user < sets);
    }
}
