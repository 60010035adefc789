//! The meaning of a profile, read off it naively: for one system call at a time, rule by rule, name by name.
//!
//! It shares nothing with the emitter but the specification's types and the `syscalls` crate: its own reading of
//! numbers, of x32, of the i386 multiplexers and of the order of rules.

use crate::interpreter::{AARCH64, ARM, Call, I386, X86_64};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg,
    LinuxSeccompOperator as Operator, LinuxSyscall,
};
use std::collections::HashMap;
use std::sync::OnceLock;
use sys::seccomp as api;

const X32_MARK: u32 = 0x4000_0000;

/// The x32 system calls with numbers of their own, in order from 512 (asm/unistd_x32.h).
const X32_OWN: &str = "rt_sigaction rt_sigreturn ioctl readv writev recvfrom sendmsg recvmsg execve ptrace rt_sigpending \
    rt_sigtimedwait rt_sigqueueinfo sigaltstack timer_create mq_notify kexec_load waitid set_robust_list get_robust_list \
    vmsplice move_pages preadv pwritev rt_tgsigqueueinfo recvmmsg sendmmsg process_vm_readv process_vm_writev setsockopt \
    getsockopt io_setup io_submit execveat preadv2 pwritev2";

/// The system calls of x86-64 that x32 lacks.
const NOT_X32: &str = "uselib _sysctl create_module get_kernel_syms query_module nfsservctl set_thread_area \
    get_thread_area epoll_ctl_old epoll_wait_old vserver";

/// Operations of socketcall(2) from 1 on, and of ipc(2), "-" for codes that are not used.
const SOCKETCALL: &str = "- socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom \
    shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg";
const IPC: &str = "- semop semget semctl semtimedop - - - - - - msgsnd msgrcv msgget msgctl - - - - - - shmat shmdt shmget \
    shmctl";

/// The calls that only Arm has, from their first number on (asm/unistd.h).
const ARM_OWN: &str = "breakpoint cacheflush usr26 usr32 set_tls get_tls";
const ARM_OWN_FIRST: u32 = 0xf_0001;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Abi {
    X86_64,
    X32,
    I386,
    Aarch64,
    Arm,
}

impl Abi {
    /// Of a machine, by the `AUDIT_ARCH_*` value of its native ABI, which is the first.
    pub(crate) fn of(machine: u32) -> &'static [Abi] {
        match machine {
            X86_64 => &[Abi::X86_64, Abi::X32, Abi::I386],
            AARCH64 => &[Abi::Aarch64, Abi::Arm],
            other => panic!("{other:#x} is no machine"),
        }
    }

    /// The `AUDIT_ARCH_*` value of its calls, and the mark of their numbers.
    pub(crate) fn calls(self) -> (u32, u32) {
        match self {
            Abi::X86_64 => (X86_64, 0),
            Abi::X32 => (X86_64, X32_MARK),
            Abi::I386 => (I386, 0),
            Abi::Aarch64 => (AARCH64, 0),
            Abi::Arm => (ARM, 0),
        }
    }

    fn arch(self) -> Arch {
        match self {
            Abi::X86_64 => Arch::ScmpArchX86_64,
            Abi::X32 => Arch::ScmpArchX32,
            Abi::I386 => Arch::ScmpArchX86,
            Abi::Aarch64 => Arch::ScmpArchAarch64,
            Abi::Arm => Arch::ScmpArchArm,
        }
    }
}

/// The name of a number, for x32 without its mark.
pub(crate) fn name(abi: Abi, number: u32) -> Option<&'static str> {
    let (index, wide) = (number as usize, syscalls::x86_64::Sysno::new(number as usize));
    let newer = match number {
        470 => Some("listns"),
        471 => Some("rseq_slice_yield"),
        _ => None,
    };
    let found = match abi {
        Abi::X86_64 => wide.map(|call| call.name()),
        Abi::X32 if number >= 512 => return X32_OWN.split_whitespace().nth(index - 512),
        Abi::X32 => wide.map(|call| call.name()).filter(|&name| {
            !X32_OWN.split_whitespace().chain(NOT_X32.split_whitespace()).any(|other| other == name)
        }),
        Abi::I386 => syscalls::x86::Sysno::new(index).map(|call| call.name()),
        Abi::Aarch64 if number != 415 && (403..424).contains(&number) => None, // for 32 bits alone
        Abi::Aarch64 => syscalls::aarch64::Sysno::new(index).map(|call| call.name()),
        Abi::Arm if number >= ARM_OWN_FIRST => {
            return ARM_OWN.split_whitespace().nth(index - ARM_OWN_FIRST as usize);
        }
        Abi::Arm => syscalls::arm::Sysno::new(index).map(|call| call.name()),
    };
    found.or(newer).map(|name| match (abi, name.strip_prefix("r#").unwrap_or(name)) {
        // What the kernel's tables call otherwise than its header for programs does.
        (Abi::Aarch64, "fstatat") => "newfstatat",
        (_, name) => name,
    })
}

/// The number of a name.
pub(crate) fn number(abi: Abi, wanted: &str) -> Option<u32> {
    static NUMBERS: OnceLock<HashMap<(Abi, &str), u32>> = OnceLock::new();
    let numbers = NUMBERS.get_or_init(|| {
        let all = [X86_64, AARCH64].into_iter().flat_map(Abi::of).flat_map(|&abi| {
            let numbers = (0..600).chain(ARM_OWN_FIRST..ARM_OWN_FIRST + 6);
            numbers.filter_map(move |number| Some(((abi, name(abi, number)?), number)))
        });
        all.collect()
    });
    // The header's second name.
    let wanted = if wanted == "sync_file_range2" && abi == Abi::Arm {
        "arm_sync_file_range"
    } else {
        wanted
    };
    numbers.get(&(abi, wanted)).copied()
}

/// The number of the i386 multiplexer and the code for an operation.
pub(crate) fn multiplexed(name: &str) -> Option<(u32, u32)> {
    let code = |list: &str| list.split_whitespace().position(|operation| operation == name);
    let call = |number| move |code: usize| (number, code as u32);
    code(SOCKETCALL).map(call(102)).or(code(IPC).map(call(117)))
}

/// A profile, ready to be asked.
pub(crate) struct Model<'a> {
    profile: &'a LinuxSeccomp,
    /// The `AUDIT_ARCH_*` value of the native ABI.
    machine: u32,
    /// By ABI: the largest number that the profile names, but for what only Arm has.
    largest: Vec<(Abi, Option<u32>)>,
    rules: Vec<Rule<'a>>,
}

struct Rule<'a> {
    verdict: u32,
    conditions: &'a [LinuxSeccompArg],
    /// What its names mean: a number, and for a multiplexer the operation.
    calls: Vec<(Abi, u32, Option<u32>)>,
}

impl<'a> Model<'a> {
    pub(crate) fn new(profile: &'a LinuxSeccomp, machine: u32) -> Model<'a> {
        let listed = profile.architectures().as_deref().unwrap_or_default();
        let native = Abi::of(machine)[0];
        let abis = Abi::of(machine).iter().copied();
        let abis: Vec<_> =
            abis.filter(|&abi| abi == native || listed.contains(&abi.arch())).collect();
        let calls = |name: &String| {
            let direct = abis.iter().filter_map(|&abi| Some((abi, number(abi, name)?, None)));
            let i386 = abis.contains(&Abi::I386).then(|| multiplexed(name)).flatten();
            let through = i386.map(|(number, code)| (Abi::I386, number, Some(code)));
            direct.chain(through).collect::<Vec<_>>()
        };
        let rules: Vec<Rule> = rules(profile)
            .map(|rule| Rule {
                verdict: value(rule.action(), rule.errno_ret()),
                conditions: rule.args().as_deref().unwrap_or_default(),
                calls: rule.names().iter().flat_map(calls).collect(),
            })
            .collect();
        let largest = |abi| {
            let calls = rules.iter().flat_map(|rule| &rule.calls);
            calls.filter(|call| call.0 == abi && call.1 < ARM_OWN_FIRST).map(|call| call.1).max()
        };
        let largest = abis.iter().map(|&abi| (abi, largest(abi))).collect();
        Model { profile, machine, largest, rules }
    }

    /// What the profile says about a system call.
    pub(crate) fn verdict(&self, call: &Call) -> u32 {
        let default = value(self.profile.default_action(), self.profile.default_errno_ret());
        let Some((abi, number, largest)) = self.abi(call) else {
            let skipped_by_tracer =
                self.machine == X86_64 && call.arch == X86_64 && call.number == u32::MAX;
            return if skipped_by_tracer { default } else { api::RET_KILL_THREAD };
        };
        for rule in &self.rules {
            if rule.verdict != default && rule.applies(abi, number, &call.args) {
                return rule.verdict;
            }
        }
        let permissive = matches!(
            self.profile.default_action(),
            Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace
        );
        // They are as old as Arm.
        let is_private = abi == Abi::Arm && name(abi, number).is_some() && number >= ARM_OWN_FIRST;
        match largest {
            Some(largest) if number > largest && !permissive && !is_private => api::RET_ERRNO | 38,
            _ => default,
        }
    }

    /// The ABI of a call, its number there, and the largest number that the profile names; `None` for an ABI that the
    /// profile does not list.
    fn abi(&self, call: &Call) -> Option<(Abi, u32, Option<u32>)> {
        let (abi, number) = match call.arch {
            X86_64 if call.number >= X32_MARK => (Abi::X32, call.number & !X32_MARK),
            X86_64 => (Abi::X86_64, call.number),
            I386 => (Abi::I386, call.number),
            AARCH64 => (Abi::Aarch64, call.number),
            ARM => (Abi::Arm, call.number),
            _ => return None,
        };
        let &(_, largest) = self.largest.iter().find(|(listed, _)| *listed == abi)?;
        Some((abi, number, largest))
    }
}

pub(crate) fn rules(profile: &LinuxSeccomp) -> impl Iterator<Item = &LinuxSyscall> {
    profile.syscalls().iter().flatten()
}

pub(crate) fn value(action: Action, errno: Option<u32>) -> u32 {
    let data = errno.unwrap_or(1);
    match action {
        Action::ScmpActKill | Action::ScmpActKillThread => api::RET_KILL_THREAD,
        Action::ScmpActKillProcess => api::RET_KILL_PROCESS,
        Action::ScmpActTrap => api::RET_TRAP,
        Action::ScmpActErrno => api::RET_ERRNO | data,
        Action::ScmpActTrace => api::RET_TRACE | data,
        Action::ScmpActLog => api::RET_LOG,
        Action::ScmpActNotify => api::RET_USER_NOTIF,
        Action::ScmpActAllow => api::RET_ALLOW,
    }
}

impl Rule<'_> {
    fn applies(&self, abi: Abi, number: u32, args: &[u64; 6]) -> bool {
        let same = self.calls.iter().filter(|call| call.0 == abi && call.1 == number);
        let mut operations = same.map(|call| call.2);
        operations.any(|operation| match operation {
            None => hold(self.conditions, |arg| matches(arg, abi, args)),
            Some(code) => {
                let other = |arg: &LinuxSeccompArg| arg.index() == 0 || matches(arg, abi, args);
                args[0] as u32 == code && hold(self.conditions, other)
            }
        })
    }
}

/// All conditions, or any of them when two are about one argument.
fn hold(conditions: &[LinuxSeccompArg], matches: impl Fn(&LinuxSeccompArg) -> bool) -> bool {
    let count = |index| conditions.iter().filter(|condition| condition.index() == index).count();
    if conditions.iter().any(|condition| count(condition.index()) > 1) {
        conditions.iter().any(matches)
    } else {
        conditions.iter().all(matches)
    }
}

fn matches(condition: &LinuxSeccompArg, abi: Abi, args: &[u64; 6]) -> bool {
    let wide = matches!(abi, Abi::X86_64 | Abi::Aarch64);
    let cut = |word: u64| if wide { word } else { word & 0xffff_ffff };
    let arg = cut(args[condition.index()]);
    let value = cut(condition.value());
    match condition.op() {
        Operator::ScmpCmpNe => arg != value,
        Operator::ScmpCmpLt => arg < value,
        Operator::ScmpCmpLe => arg <= value,
        Operator::ScmpCmpEq => arg == value,
        Operator::ScmpCmpGe => arg >= value,
        Operator::ScmpCmpGt => arg > value,
        Operator::ScmpCmpMaskedEq => arg & value == cut(condition.value_two().unwrap_or(0)) & value,
    }
}
