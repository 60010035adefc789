//! A profile, checked and resolved: what each system call number of each ABI leads to.
//!
//! The meaning of a profile is fixed here and nowhere else. docs/seccomp.md lists its rules, and where they come from.

use super::arguments::Condition;
use super::diagram::{Diagram, Id};
use super::error::Error;
use super::numbers::{Abi, Machine, Numbers};
use super::{Kernel, tree, verdict};
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSyscall,
};
use std::collections::HashSet;
use sys::seccomp::{RET_ALLOW, RET_ERRNO, RET_LOG, RET_USER_NOTIF};

/// System calls have six arguments.
const ARGUMENTS: u8 = 6;

/// A checked profile.
pub(super) struct Policy<'a> {
    /// The `SECCOMP_RET_*` value where no rule applies.
    pub(super) default: u32,
    /// For calls that are newer than the profile.
    newer: u32,
    rules: Vec<Rule<'a>>,
}

/// One entry of `syscalls`.
struct Rule<'a> {
    names: &'a [String],
    verdict: u32,
    conditions: Vec<Condition>,
    /// The rule applies where one of its conditions holds, and not only where all do.
    any: bool,
}

/// What each system call number of one ABI leads to.
struct Calls {
    abi: Abi,
    /// By number; those that stand apart ([`Abi::private`]) are at the end.
    decisions: Vec<Id>,
    /// The largest number that the profile names, of those that do not stand apart.
    largest: Option<usize>,
}

impl<'a> Policy<'a> {
    /// Checks a profile against the specification and the kernel.
    pub(super) fn read(profile: &'a LinuxSeccomp, kernel: &Kernel) -> Result<Policy<'a>, Error> {
        let action = profile.default_action();
        if action == Action::ScmpActNotify {
            // The process that is to start could not tell anyone of its listener.
            return Err(invalid(
                "/defaultAction",
                "`SCMP_ACT_NOTIFY` cannot be the default action",
            ));
        }
        let default = verdict(action, profile.default_errno_ret(), kernel, |field| match field {
            "action" => "/defaultAction".to_owned(),
            _ => "/defaultErrnoRet".to_owned(),
        })?;
        let newer = match action {
            Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace => default,
            _ => RET_ERRNO | rustix::io::Errno::NOSYS.raw_os_error() as u32,
        };
        let syscalls = profile.syscalls().as_deref().unwrap_or_default();
        let mut rules = Vec::with_capacity(syscalls.len());
        for (index, syscall) in syscalls.iter().enumerate() {
            rules.push(Rule::read(syscall, index, kernel)?);
        }
        Ok(Policy { default, newer, rules })
    }

    /// Whether any rule asks a listener.
    pub(super) fn notifies(&self) -> bool {
        self.rules.iter().any(|rule| rule.verdict == RET_USER_NOTIF)
    }

    /// Whether a system call goes through whatever its arguments are.
    pub(super) fn allows(&self, name: &str) -> bool {
        let passes = |verdict| matches!(verdict, RET_ALLOW | RET_LOG);
        let names = |rule: &&Rule<'_>| rule.names.iter().any(|own| own == name);
        // As in `decide`: the first that applies counts, and one that does what happens anyway does not.
        let mut rules = self.rules.iter().filter(names).filter(|rule| rule.verdict != self.default);
        let first = rules.find(|rule| rule.conditions.is_empty() || !passes(rule.verdict));
        passes(first.map_or(self.default, |rule| rule.verdict))
    }

    /// The decision for all numbers of each ABI, and the names that none of these ABIs has, in the profile's order.
    pub(super) fn decide(
        &self,
        diagram: &mut Diagram,
        machine: &Machine,
        abis: &[Abi],
    ) -> (Vec<Id>, Vec<String>) {
        let default = diagram.verdict(self.default);
        let newer = diagram.verdict(self.newer);
        let mut calls: Vec<Calls> = abis.iter().map(|&abi| Calls::new(abi, default)).collect();
        let mut unknown: Vec<&String> = Vec::new();
        // From the last to the first: what the later rules say is where a number goes on when a rule does not apply. So the first
        // that applies counts, and the rules of a number need not be collected, let alone sorted.
        for rule in self.rules.iter().rev() {
            // A rule that does what happens anyway is passed over, as runc does: the rules after it count.
            let verdict = (rule.verdict != self.default).then(|| diagram.verdict(rule.verdict));
            for name in rule.names.iter().rev() {
                let mut known = false;
                if let Some(numbers) = machine.numbers(name) {
                    for calls in &mut calls {
                        known |= calls.add(diagram, numbers, rule, verdict);
                    }
                }
                if !known {
                    unknown.push(name);
                }
            }
        }
        let decisions = calls.iter().map(|calls| calls.decide(diagram, default, newer)).collect();
        // Where it is named first counts.
        let mut seen = HashSet::with_capacity(unknown.len());
        let first = unknown.into_iter().rev().filter(|name| seen.insert(name.as_str()));
        (decisions, first.cloned().collect())
    }
}

impl<'a> Rule<'a> {
    /// `index` is the rule's place in `syscalls`.
    fn read(syscall: &'a LinuxSyscall, index: usize, kernel: &Kernel) -> Result<Rule<'a>, Error> {
        let at = |field: &str| format!("/syscalls/{index}/{field}");
        let names = syscall.names().as_slice();
        for (index, name) in names.iter().enumerate() {
            let at = || at(&format!("names/{index}"));
            if name.is_empty() {
                return Err(invalid(at(), "a system call has no empty name"));
            }
            // The listener's fd is reported by write(2) when the filter is in force already: nobody would be there to
            // let that call through.
            if syscall.action() == Action::ScmpActNotify && name == "write" {
                return Err(invalid(at(), "SCMP_ACT_NOTIFY cannot be used for the write syscall"));
            }
        }
        let verdict = verdict(syscall.action(), syscall.errno_ret(), kernel, at)?;
        let args = syscall.args().as_deref().unwrap_or_default();
        let mut conditions = Vec::with_capacity(args.len());
        for (index, arg) in args.iter().enumerate() {
            conditions.push(read_condition(arg, || at(&format!("args/{index}/index")))?);
        }
        let any = is_repeated(&conditions);
        Ok(Rule { names, verdict, conditions, any })
    }

    /// A node that goes on to `yes` where the rule applies and to `no` where not. For a multiplexer, `operation` is the one, in the
    /// first argument, that the rule is about.
    fn decide(
        &self,
        diagram: &mut Diagram,
        abi: Abi,
        operation: Option<u8>,
        yes: Id,
        no: Id,
    ) -> Id {
        let wide = abi.has_wide_arguments();
        let operation = operation.map(|code| Condition::equal(0, u64::from(code)));
        if self.conditions.is_empty() {
            return operation.map_or(yes, |operation| operation.ask(diagram, wide, yes, no));
        }
        let joined = if self.any { 1 } else { self.conditions.len() };
        self.conditions.chunks(joined).rev().fold(no, |no, conditions| {
            // The operation takes the first argument's place. The others are the multiplexer's own, see docs/seccomp.md.
            let kept = |condition: &&Condition| operation.is_none() || condition.argument != 0;
            let all = operation.iter().chain(conditions.iter().filter(kept));
            all.rev().fold(yes, |yes, condition| condition.ask(diagram, wide, yes, no))
        })
    }
}

impl Calls {
    fn new(abi: Abi, default: Id) -> Calls {
        let private = abi.private().map_or(0, |(_, count)| count);
        let decisions = vec![default; Numbers::END + private];
        Calls { abi, decisions, largest: None }
    }

    /// Puts a rule for a name in front of those that are there, and says whether the ABI knows the name. A rule without a verdict
    /// has no effect.
    fn add(
        &mut self,
        diagram: &mut Diagram,
        numbers: Numbers,
        rule: &Rule<'_>,
        verdict: Option<Id>,
    ) -> bool {
        let direct = numbers.direct(self.abi);
        let through = numbers.multiplexed(self.abi);
        let mut add = |number: u32, operation| {
            let number = number as usize;
            if number < Numbers::END {
                self.largest = self.largest.max(Some(number));
            }
            if let Some(verdict) = verdict {
                let decision = &mut self.decisions[number];
                *decision = rule.decide(diagram, self.abi, operation, verdict, *decision);
            }
        };
        if let Some(number) = direct {
            add(number, None);
        }
        if let Some(operation) = through {
            add(operation.multiplexer, Some(operation.code));
        }
        direct.is_some() || through.is_some()
    }

    /// The decision for all numbers.
    fn decide(&self, diagram: &mut Diagram, default: Id, newer: Id) -> Id {
        let mut ranges: Vec<tree::Range> = Vec::with_capacity(128);
        let mut add = |mut number: u32, decisions: &[Id], beyond: Id| {
            for same in decisions.chunk_by(Id::eq) {
                ranges.push((number, same[0]));
                number += same.len() as u32;
            }
            ranges.push((number, beyond));
        };
        let (end, newer) = self.largest.map_or((0, default), |largest| (largest + 1, newer));
        add(0, &self.decisions[..end], newer);
        // They are as old as their ABI.
        if let Some((first, _)) = self.abi.private() {
            add(first, &self.decisions[Numbers::END..], newer);
        }
        tree::build(diagram, ranges)
    }
}

/// Whether two conditions are about the same argument. Conditions of a rule are joined by "and", but then each becomes a rule of
/// its own: runc has always read profiles so.
fn is_repeated(conditions: &[Condition]) -> bool {
    conditions.iter().enumerate().any(|(index, condition)| {
        conditions[..index].iter().any(|earlier| earlier.argument == condition.argument)
    })
}

fn read_condition(arg: &LinuxSeccompArg, at: impl Fn() -> String) -> Result<Condition, Error> {
    let argument =
        u8::try_from(arg.index()).ok().filter(|&index| index < ARGUMENTS).ok_or_else(|| {
            invalid(at(), format!("there is no argument {}, only 0 to 5", arg.index()))
        })?;
    Ok(Condition {
        argument,
        operator: arg.op(),
        value: arg.value(),
        masked: arg.value_two().unwrap_or(0),
    })
}

pub(super) fn invalid(pointer: impl Into<String>, reason: impl Into<String>) -> Error {
    Error::Invalid { reason: reason.into(), pointer: pointer.into() }
}
