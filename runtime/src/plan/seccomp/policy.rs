//! A profile, checked and resolved: what each system call number of each ABI leads to.
//!
//! The meaning of a profile is fixed here and nowhere else. docs/seccomp.md lists its rules, and where they come from.

use super::arguments::Condition;
use super::diagram::{Diagram, Id};
use super::error::Error;
use super::numbers::{Abi, Numbers};
use super::{Kernel, tree, verdict};
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSyscall,
};
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
    /// The rule applies where all conditions of any of these hold; with none, always.
    alternatives: Vec<Vec<Condition>>,
}

/// The rules of one ABI, by system call number.
pub(super) struct Calls<'p> {
    abi: Abi,
    entries: Vec<Entry<'p>>,
    /// The largest number that the profile names.
    largest: Option<u32>,
}

/// A rule that applies to a number.
#[derive(Clone, Copy)]
struct Entry<'p> {
    number: u32,
    /// For a multiplexer: the operation, in the first argument, that the rule is about.
    operation: Option<u8>,
    rule: &'p Rule<'p>,
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
        let rules = syscalls
            .iter()
            .enumerate()
            .map(|(index, syscall)| Rule::read(syscall, &format!("/syscalls/{index}"), kernel))
            .collect::<Result<_, _>>()?;
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
        // As in `resolve` and `decide_one`: the first that applies counts, and one that does what happens anyway does not.
        let mut rules = self.rules.iter().filter(names).filter(|rule| rule.verdict != self.default);
        let first = rules.find(|rule| rule.alternatives.is_empty() || !passes(rule.verdict));
        passes(first.map_or(self.default, |rule| rule.verdict))
    }

    /// The rules of each ABI, and the names that none of these ABIs has, in the profile's order.
    pub(super) fn resolve(&self, abis: &[Abi]) -> (Vec<Calls<'_>>, Vec<String>) {
        let mut calls: Vec<Calls<'_>> = abis.iter().map(|&abi| Calls::new(abi)).collect();
        let mut unknown: Vec<String> = Vec::new();
        for rule in &self.rules {
            // A rule that does what happens anyway is passed over, as runc does: the rules after it count.
            let redundant = rule.verdict == self.default;
            for name in rule.names {
                let mut known = false;
                if let Some(numbers) = Numbers::of(name) {
                    for calls in &mut calls {
                        known |= calls.add(numbers, rule, redundant);
                    }
                }
                if !known && !unknown.contains(name) {
                    unknown.push(name.clone());
                }
            }
        }
        for calls in &mut calls {
            calls.entries.sort_by_key(|entry| entry.number); // stable: a number's rules stay in order
        }
        (calls, unknown)
    }

    /// The decision for all numbers of an ABI.
    pub(super) fn decide(&self, diagram: &mut Diagram, calls: &Calls<'_>) -> Id {
        let default = diagram.verdict(self.default);
        let mut verdicts: Vec<tree::Range> = Vec::with_capacity(calls.entries.len() + 64);
        verdicts.push((0, default));
        for same in calls.entries.chunk_by(|a, b| a.number == b.number) {
            let number = same[0].number;
            let verdict = self.decide_one(diagram, calls.abi, same);
            // The entry in front says what follows the number before: the default, unless that was the neighbour.
            match verdicts.last_mut() {
                Some(last) if last.0 == number => last.1 = verdict,
                _ => verdicts.push((number, verdict)),
            }
            verdicts.push((number + 1, default));
        }
        if let Some(largest) = calls.largest {
            let newer = diagram.verdict(self.newer);
            verdicts.retain(|&(number, _)| number <= largest);
            verdicts.push((largest + 1, newer));
        }
        tree::build(diagram, verdicts)
    }

    /// The decision for one number: the first rule that applies.
    fn decide_one(&self, diagram: &mut Diagram, abi: Abi, entries: &[Entry<'_>]) -> Id {
        let always =
            |entry: &Entry<'_>| entry.operation.is_none() && entry.rule.alternatives.is_empty();
        let (entries, last) = match entries.iter().position(always) {
            Some(end) => (&entries[..end], entries[end].rule.verdict),
            None => (entries, self.default),
        };
        let last = diagram.verdict(last);
        entries
            .iter()
            .rev()
            .fold(last, |next, entry| entry.rule.decide(diagram, abi, entry.operation, next))
    }
}

impl<'a> Rule<'a> {
    fn read(syscall: &'a LinuxSyscall, at: &str, kernel: &Kernel) -> Result<Rule<'a>, Error> {
        let names = syscall.names().as_slice();
        for (index, name) in names.iter().enumerate() {
            let at = || format!("{at}/names/{index}");
            if name.is_empty() {
                return Err(invalid(at(), "a system call has no empty name"));
            }
            // The listener's fd is reported by write(2) when the filter is in force already: nobody would be there to
            // let that call through.
            if name == "write" && syscall.action() == Action::ScmpActNotify {
                return Err(invalid(at(), "SCMP_ACT_NOTIFY cannot be used for the write syscall"));
            }
        }
        let verdict = verdict(syscall.action(), syscall.errno_ret(), kernel, |field| {
            format!("{at}/{field}")
        })?;
        let args = syscall.args().as_deref().unwrap_or_default();
        let conditions = args
            .iter()
            .enumerate()
            .map(|(index, arg)| read_condition(arg, || format!("{at}/args/{index}/index")))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Rule { names, verdict, alternatives: alternatives(conditions) })
    }

    /// A node that ends with this rule's verdict where the rule applies and goes on to `next` where not.
    fn decide(&self, diagram: &mut Diagram, abi: Abi, operation: Option<u8>, next: Id) -> Id {
        let verdict = diagram.verdict(self.verdict);
        let wide = abi.has_wide_arguments();
        let Some(operation) = operation.map(|code| Condition::equal(0, u64::from(code))) else {
            return self.alternatives.iter().rev().fold(next, |next, conditions| {
                all(diagram, wide, conditions.iter(), verdict, next)
            });
        };
        if self.alternatives.is_empty() {
            return operation.ask(diagram, wide, verdict, next);
        }
        self.alternatives.iter().rev().fold(next, |next, conditions| {
            // The operation takes the first argument's place. The others are the multiplexer's own, see docs/seccomp.md.
            let rest = conditions.iter().filter(|condition| condition.argument != 0);
            all(diagram, wide, std::iter::once(&operation).chain(rest), verdict, next)
        })
    }
}

impl<'p> Calls<'p> {
    fn new(abi: Abi) -> Calls<'p> {
        Calls { abi, entries: Vec::with_capacity(448), largest: None }
    }

    /// Adds a rule for a name, and says whether the ABI knows the name.
    fn add(&mut self, numbers: Numbers, rule: &'p Rule<'p>, redundant: bool) -> bool {
        let direct = numbers.direct(self.abi).map(|number| (number, None));
        let through = numbers.multiplexed(self.abi);
        let through = through.map(|operation| (operation.multiplexer, Some(operation.code)));
        for (number, operation) in direct.into_iter().chain(through) {
            self.largest = self.largest.max(Some(number));
            if !redundant {
                self.entries.push(Entry { number, operation, rule });
            }
        }
        direct.or(through).is_some()
    }
}

/// A node that leads to `yes` where all conditions hold.
fn all<'c>(
    diagram: &mut Diagram,
    wide: bool,
    conditions: impl DoubleEndedIterator<Item = &'c Condition>,
    yes: Id,
    no: Id,
) -> Id {
    conditions.rev().fold(yes, |yes, condition| condition.ask(diagram, wide, yes, no))
}

/// Conditions of a rule are joined by "and". When two of them are about the same argument, each becomes a rule of its own:
/// runc has always read profiles so.
fn alternatives(conditions: Vec<Condition>) -> Vec<Vec<Condition>> {
    let repeats = |index: usize, condition: &Condition| {
        conditions[..index].iter().any(|earlier| earlier.argument == condition.argument)
    };
    if conditions.is_empty() {
        Vec::new()
    } else if conditions.iter().enumerate().any(|(index, condition)| repeats(index, condition)) {
        conditions.into_iter().map(|condition| vec![condition]).collect()
    } else {
        vec![conditions]
    }
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
