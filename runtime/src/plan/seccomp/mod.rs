//! From a seccomp profile of the specification to a filter that the kernel takes: our own emitter.
//!
//! [`compile`] is pure: it opens nothing, and what it must know of the kernel it is told. It either returns a filter that
//! says for every architecture, system call and argument what the profile says, or an error; there is no filter that
//! is weaker than its profile, and what the kernel lacks is an error that names it. docs/seccomp.md has the design.
//!
//!     profile -> policy (rules per ABI and number) -> diagram (shared decisions) -> program

mod arguments;
mod assemble;
mod diagram;
mod error;
mod numbers;
mod policy;
mod tree;

pub use error::Error;
pub use numbers::Machine;

use crate::host::Host;
use diagram::{Diagram, Id, Source, Test};
use numbers::{Abi, X32_BIT};
use oci_spec::runtime::LinuxSeccompFilterFlag as Flag;
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction as Action};
use policy::{Policy, invalid};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;
use sys::seccomp::{self as kernel_api, Instruction};

/// A compiled profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// What to install, at most 4096 instructions.
    pub program: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*` to install it with.
    pub flags: u32,
    /// Who gets the notification fd; there is one exactly when `flags` ask for the fd.
    pub listener: Option<Listener>,
    /// The process sends the notification fd itself, by sendmsg(2), because nobody may take it from there.
    pub sent: bool,
    /// Names in the profile that no architecture of this filter has. Their rules have no effect.
    pub unknown: Vec<String>,
}

/// Who decides on system calls with `SCMP_ACT_NOTIFY`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct Listener {
    /// The socket to which the container process state is sent.
    pub path: PathBuf,
    /// For the `metadata` field of the container process state.
    pub metadata: Option<String>,
}

/// What the kernel has, of those actions and flags that are not in every kernel with seccomp filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// `SECCOMP_RET_*` values.
    pub actions: Vec<u32>,
    /// `SECCOMP_FILTER_FLAG_*`, or-ed.
    pub flags: u32,
}

impl Kernel {
    /// Collects the facts with two questions: whether an action, by its `SECCOMP_RET_*` value, and whether a flag is there.
    ///
    /// For the running kernel: `Kernel::ask(sys::seccomp::action_is_available, sys::seccomp::flag_is_available)`.
    pub fn ask(action: impl Fn(u32) -> bool, flag: impl Fn(u32) -> bool) -> Kernel {
        use kernel_api::{
            FLAG_LOG, FLAG_NEW_LISTENER, FLAG_SPEC_ALLOW, FLAG_WAIT_KILLABLE_RECV,
            RET_KILL_PROCESS, RET_LOG, RET_USER_NOTIF,
        };
        let actions = [RET_KILL_PROCESS, RET_LOG, RET_USER_NOTIF];
        let flags = [FLAG_LOG, FLAG_SPEC_ALLOW, FLAG_NEW_LISTENER, FLAG_WAIT_KILLABLE_RECV];
        Kernel {
            actions: actions.into_iter().filter(|&value| action(value)).collect(),
            flags: flags.into_iter().filter(|&value| flag(value)).sum(),
        }
    }
}

/// Compiles a profile for this host and caller.
///
/// # Errors
/// As [`compile`]; and for a listener that can neither be taken from the container's process, which nobody may trace without
/// CAP_SYS_PTRACE, nor be sent by it.
pub fn compile_for(profile: &LinuxSeccomp, host: &Host) -> Result<Filter, Error> {
    let filter = compile(profile, &host.seccomp, Machine::OURS)?;
    let sent = filter.listener.is_some() && host.capabilities & SYS_PTRACE == 0;
    if sent && !Policy::read(profile, &host.seccomp)?.allows("sendmsg") {
        let reason = "`SCMP_ACT_NOTIFY` needs CAP_SYS_PTRACE on the host, to take the listener, or a profile that allows sendmsg to \
                      everybody, to be sent it";
        return Err(invalid("/listenerPath", reason));
    }
    Ok(Filter { sent, ..filter })
}

/// `CAP_SYS_PTRACE`, as a bit of a capability mask.
const SYS_PTRACE: u64 = 1 << 19;

/// crun's annotation for the agent's socket, where the profile names none.
const RECEIVER: &str = "run.oci.seccomp.receiver";

/// The profile, with the agent that an annotation names where it names none itself.
pub fn with_receiver<'a>(
    profile: &'a LinuxSeccomp,
    annotations: Option<&HashMap<String, String>>,
) -> Cow<'a, LinuxSeccomp> {
    let is_named =
        profile.listener_path().as_ref().is_some_and(|path| !path.as_os_str().is_empty());
    match annotations.and_then(|annotations| annotations.get(RECEIVER)).filter(|_| !is_named) {
        None => Cow::Borrowed(profile),
        Some(path) => {
            let mut profile = profile.clone();
            profile.set_listener_path(Some(PathBuf::from(path)));
            Cow::Owned(profile)
        }
    }
}

/// Compiles a profile for a kind of machine.
///
/// # Errors
/// [`Error::Unavailable`] when the kernel lacks what the profile uses, [`Error::Invalid`] when the profile breaks a rule of
/// the specification, [`Error::TooLong`] when the kernel would not take the program.
pub fn compile(
    profile: &LinuxSeccomp,
    kernel: &Kernel,
    machine: &Machine,
) -> Result<Filter, Error> {
    let policy = Policy::read(profile, kernel)?;
    let listener = policy.notifies().then(|| listener(profile)).transpose()?;
    let flags = flags(profile, kernel, listener.is_some())?;
    let abis = abis(profile, machine);
    let mut diagram = Diagram::default();
    let (decisions, unknown) = policy.decide(&mut diagram, machine, &abis);
    let root = dispatch(&mut diagram, policy.default, &abis, &decisions);
    let program = assemble::assemble(&diagram, root)?;
    Ok(Filter { program, flags, listener, sent: false, unknown })
}

/// The ABIs that the filter serves: the native one, listed or not, as in libseccomp, and what else the profile lists of
/// those that the machine's kernel has. Other machines' architectures are valid, and no system call comes from them.
fn abis(profile: &LinuxSeccomp, machine: &Machine) -> Vec<Abi> {
    let listed = profile.architectures().as_deref().unwrap_or_default();
    let (&native, others) = machine.abis().split_first().expect("a machine has a native ABI");
    let listed = others.iter().copied().filter(|abi| listed.contains(&abi.arch()));
    std::iter::once(native).chain(listed).collect()
}

/// The first questions of a filter: which ABI a system call comes by. The native one is the first of those served.
///
/// One that the profile does not list is killed: its numbers mean something else there, and a rule that denies a call by its
/// x86-64 number would be passed by. This is libseccomp's default (`SCMP_FLTATR_ACT_BADARCH`), on which runc relies.
fn dispatch(diagram: &mut Diagram, default: u32, abis: &[Abi], decisions: &[Id]) -> Id {
    let foreign = diagram.verdict(kernel_api::RET_KILL_THREAD);
    let mut root = foreign;
    // The native one is asked about first.
    for (&abi, &decision) in abis.iter().zip(decisions).rev() {
        let decision = match abi {
            // It comes with x86-64.
            Abi::X32 => continue,
            Abi::X86_64 => {
                let x32 = abis.iter().position(|&abi| abi == Abi::X32);
                with_x32(diagram, default, decision, x32.map(|index| decisions[index]))
            }
            Abi::I386 | Abi::Aarch64 | Abi::Arm => decision,
        };
        root = diagram.ask(Source::Architecture, Test::Equal(abi.audit()), decision, root);
    }
    root
}

/// x86-64's numbers, and those with the mark of x32.
fn with_x32(diagram: &mut Diagram, default: u32, native: Id, x32: Option<Id>) -> Id {
    let marked = match x32 {
        Some(x32) => diagram.strip(!X32_BIT, x32),
        None => {
            // A tracer skips a system call by setting its number to -1: that is no call of x32's (seccomp(2)).
            let foreign = diagram.verdict(kernel_api::RET_KILL_THREAD);
            let skipped = diagram.verdict(default);
            diagram.ask(Source::Number, Test::Equal(u32::MAX), skipped, foreign)
        }
    };
    diagram.ask(Source::Number, Test::AtLeast(X32_BIT), marked, native)
}

/// The `SECCOMP_RET_*` value of an action. `at` gives the JSON pointer of its field `action` or `errnoRet`.
fn verdict(
    action: Action,
    errno: Option<u32>,
    kernel: &Kernel,
    at: impl Fn(&str) -> String,
) -> Result<u32, Error> {
    use kernel_api as api;
    let data = |limit: u32| match errno {
        Some(errno) if errno > limit => Err(invalid(
            at("errnoRet"),
            format!("{errno} is more than {limit}, the largest possible"),
        )),
        Some(errno) => Ok(errno),
        None => Ok(rustix::io::Errno::PERM.raw_os_error() as u32),
    };
    let (value, since) = match action {
        Action::ScmpActErrno => return Ok(api::RET_ERRNO | data(MAX_ERRNO)?),
        Action::ScmpActTrace => return Ok(api::RET_TRACE | data(api::RET_DATA)?),
        Action::ScmpActKill | Action::ScmpActKillThread => (api::RET_KILL_THREAD, None),
        Action::ScmpActTrap => (api::RET_TRAP, None),
        Action::ScmpActAllow => (api::RET_ALLOW, None),
        Action::ScmpActKillProcess => {
            (api::RET_KILL_PROCESS, Some(("SCMP_ACT_KILL_PROCESS", "4.14")))
        }
        Action::ScmpActLog => (api::RET_LOG, Some(("SCMP_ACT_LOG", "4.14"))),
        Action::ScmpActNotify => (api::RET_USER_NOTIF, Some(("SCMP_ACT_NOTIFY", "5.0"))),
    };
    if errno.is_some() {
        // "When the action doesn't support an errno, the runtime MUST print and error and fail."
        return Err(invalid(at("errnoRet"), format!("`{action}` does not take an errno")));
    }
    match since {
        Some((name, since)) if !kernel.actions.contains(&value) => {
            Err(Error::Unavailable { name, since, pointer: at("action") })
        }
        _ => Ok(value),
    }
}

/// The kernel cuts larger ones down to this (`MAX_ERRNO`).
const MAX_ERRNO: u32 = 4095;

/// Who listens, for a profile that notifies.
fn listener(profile: &LinuxSeccomp) -> Result<Listener, Error> {
    let path = profile.listener_path().clone().filter(|path| !path.as_os_str().is_empty());
    let path = path.ok_or_else(|| {
        invalid("/listenerPath", "`SCMP_ACT_NOTIFY` is used and no listener is given")
    })?;
    if !path.is_absolute() {
        let reason = format!("must be an absolute path, not `{}`", path.display());
        return Err(invalid("/listenerPath", reason));
    }
    Ok(Listener { path, metadata: profile.listener_metadata().clone() })
}

/// The flags to install the filter with.
fn flags(profile: &LinuxSeccomp, kernel: &Kernel, listens: bool) -> Result<u32, Error> {
    use kernel_api::{FLAG_LOG, FLAG_NEW_LISTENER, FLAG_SPEC_ALLOW, FLAG_WAIT_KILLABLE_RECV};
    let has = |flag: u32| kernel.flags & flag == flag;
    let mut flags = 0;
    if listens {
        flags |= FLAG_NEW_LISTENER;
        if !has(FLAG_NEW_LISTENER) {
            let (name, since) = ("SECCOMP_FILTER_FLAG_NEW_LISTENER", "5.0");
            return Err(Error::Unavailable { name, since, pointer: "/listenerPath".to_owned() });
        }
    }
    let Some(listed) = profile.flags() else {
        // Not even an empty list: runc's default, which spares programs the cost of a mitigation they did not ask for.
        return Ok(flags | (kernel.flags & FLAG_SPEC_ALLOW));
    };
    for (index, flag) in listed.iter().enumerate() {
        let at = || format!("/flags/{index}");
        let (value, name, since) = match flag {
            // The process that installs the filter has one thread, and its program starts with one: nothing to do.
            Flag::SeccompFilterFlagTsync => continue,
            Flag::SeccompFilterFlagLog => (FLAG_LOG, "SECCOMP_FILTER_FLAG_LOG", "4.14"),
            Flag::SeccompFilterFlagSpecAllow => {
                (FLAG_SPEC_ALLOW, "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "4.17")
            }
            Flag::SeccompFilterFlagWaitKillableRecv => {
                (FLAG_WAIT_KILLABLE_RECV, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "5.19")
            }
        };
        if !has(value) {
            return Err(Error::Unavailable { name, since, pointer: at() });
        }
        if value == FLAG_WAIT_KILLABLE_RECV && !listens {
            return Err(invalid(at(), format!("`{name}` needs a rule with `SCMP_ACT_NOTIFY`")));
        }
        flags |= value;
    }
    Ok(flags)
}
