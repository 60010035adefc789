//! Deciding what a process is besides its ids: how it is scheduled, which labels it bears, where its memory comes from.
//!
//! Shared by `create` and `exec`. What config.json leaves open is left as it is, except that a process does not inherit the
//! processors that whoever started us is bound to.

use super::Error;
use super::op::{Op, Step};
use crate::host::{AppArmor, Host};
use oci_spec::runtime::{
    IOPriorityClass, Linux, LinuxPersonalityDomain, LinuxSchedulerFlag, LinuxSchedulerPolicy,
    MemoryPolicyFlagType, MemoryPolicyModeType, Process,
};
use std::ffi::{CStr, CString};
use std::ops::RangeInclusive;
use sys::scheduling::Scheduler;

/// An attribute of the process that one system call, or one write to its own /proc entry, sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// The scheduling policy.
    Scheduler {
        /// Its name.
        name: LinuxSchedulerPolicy,
        /// The policy with its parameters.
        scheduler: Scheduler,
    },
    /// The I/O priority.
    IoPriority {
        /// 1 realtime, 2 best effort, 3 idle.
        class: u32,
        /// 0 (highest) to 7.
        priority: u32,
    },
    /// The processors that it may run on, bit N of the words for processor N.
    Affinity(Vec<u64>),
    /// Any processor: a binding of whoever started us is not the container's.
    AnyProcessor,
    /// The execution domain.
    Personality(u32),
    /// The memory policy.
    MemoryPolicy {
        /// `MPOL_*` with `MPOL_F_*`.
        mode: u32,
        /// Bit N of the words for node N.
        nodes: Vec<u64>,
    },
    /// A label of a security module.
    Label(Label),
}

/// What is written to a file of our own /proc entry, for a security module to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// What it is, so that `apply ` can stand before it.
    pub what: String,
    /// The file.
    pub path: &'static CStr,
    /// What is written.
    pub value: CString,
    /// A kernel without this file has nothing that would bear the label.
    pub optional: bool,
}

impl Label {
    /// Whether it is AppArmor's word for a profile from the next exec on. What SELinux takes are labels alone, without spaces.
    pub fn is_of_apparmor(&self) -> bool {
        self.value.to_bytes().starts_with(APPARMOR_EXEC)
    }
}

/// What stands before a profile's name.
const APPARMOR_EXEC: &[u8] = b"exec ";

/// The steps that may take privilege over the host: done by the parent where the child has none any more.
///
/// # Errors
/// For what Linux does not have.
pub fn scheduling(process: &Process, at: &str) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    if let Some(wanted) = process.scheduler() {
        let pointer = format!("{at}/scheduler");
        if *wanted.policy() == LinuxSchedulerPolicy::SchedIso {
            let message = "`SCHED_ISO` is a reserved number: no Linux has that policy";
            return Err(Error::new(format!("{pointer}/policy"), message));
        }
        let flags = wanted.flags().iter().flatten().map(flag).fold(0, |flags, flag| flags | flag);
        let scheduler = Scheduler {
            policy: policy(*wanted.policy()),
            flags,
            nice: wanted.nice().unwrap_or(0),
            priority: wanted.priority().unwrap_or(0).unsigned_abs(),
            runtime: wanted.runtime().unwrap_or(0),
            deadline: wanted.deadline().unwrap_or(0),
            period: wanted.period().unwrap_or(0),
        };
        steps.push(step(Attribute::Scheduler { name: *wanted.policy(), scheduler }, pointer));
    }
    if let Some(wanted) = process.io_priority() {
        let class = match wanted.class() {
            IOPriorityClass::IoprioClassRt => 1,
            IOPriorityClass::IoprioClassBe => 2,
            IOPriorityClass::IoprioClassIdle => 3,
        };
        let priority = u32::try_from(wanted.priority()).unwrap_or(0);
        steps.push(step(Attribute::IoPriority { class, priority }, format!("{at}/ioPriority")));
    }
    Ok(steps)
}

/// Execution domain and memory policy, which are the container's and not a process's own. Late: the domain shows in what
/// the runtime itself asks the kernel, and its own memory need not be bound.
///
/// # Errors
/// On a kernel without NUMA.
pub fn execution(linux: Option<&Linux>, host: &Host) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    if let Some(personality) = linux.and_then(|linux| linux.personality().as_ref()) {
        let domain = match personality.domain() {
            LinuxPersonalityDomain::PerLinux => 0,
            LinuxPersonalityDomain::PerLinux32 => 8,
        };
        steps.push(step(Attribute::Personality(domain), "/linux/personality".into()));
    }
    if let Some(wanted) = linux.and_then(|linux| linux.memory_policy().as_ref()) {
        let pointer = "/linux/memoryPolicy";
        if !host.memory_policies {
            return Err(Error::new(pointer, "this kernel has no memory policies (CONFIG_NUMA)"));
        }
        let flags = wanted.flags().iter().flatten().map(|flag| match flag {
            MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
            MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
            MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
        });
        let mode = flags.fold(memory_mode(wanted.mode()), |mode, flag| mode | flag);
        let nodes = mask(wanted.nodes().as_deref().unwrap_or_default(), pointer)?;
        steps.push(step(Attribute::MemoryPolicy { mode, nodes }, pointer.into()));
    }
    Ok(steps)
}

/// The labels that security modules give the process at its exec.
///
/// They are written through the host's /proc, before a mount namespace that belongs to somebody else is joined or anything of
/// the container is mounted: an image that brings a /proc of its own could take them otherwise (CVE-2019-16884).
///
/// # Errors
/// When the host does not have the security module: a container that was to be confined must not run without.
pub fn labels(process: &Process, host: &Host, at: &str) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(profile) = given(process.apparmor_profile()) {
        let pointer = format!("{at}/apparmorProfile");
        let path = match host.apparmor {
            AppArmor::Disabled => {
                let message = format!(
                    "asks for the profile `{profile}`, but AppArmor is disabled or not supported"
                );
                return Err(Error::new(pointer, message));
            }
            AppArmor::OwnFiles => c"/proc/self/attr/apparmor/exec",
            AppArmor::SharedFiles => c"/proc/self/attr/exec",
        };
        let value = super::c_string(&[APPARMOR_EXEC, profile.as_bytes()].concat(), &pointer)?;
        let what = format!("the AppArmor profile `{profile}`");
        steps.push(step(Attribute::Label(Label { what, path, value, optional: false }), pointer));
    }
    if let Some(label) = given(process.selinux_label()) {
        let pointer = format!("{at}/selinuxLabel");
        if !host.selinux {
            // runc's words.
            let message =
                "selinux label is specified in config, but selinux is disabled or not supported";
            return Err(Error::new(pointer, message));
        }
        let value = super::c_string(label.as_bytes(), &pointer)?;
        // The session keyring is made later and bears the label too. The exec takes this one back (selinux(8)).
        let files = [
            (c"/proc/self/attr/exec", format!("the SELinux label `{label}`"), false),
            (c"/proc/self/attr/keycreate", format!("the SELinux label `{label}` to keys"), true),
        ];
        for (path, what, optional) in files {
            let label = Label { what, path, value: value.clone(), optional };
            steps.push(step(Attribute::Label(label), pointer.clone()));
        }
    }
    Ok(steps)
}

/// Whether a step writes a label that the next execution takes and uses up.
pub fn is_of_next_exec(step: &Step) -> bool {
    matches!(&step.op, Op::Attribute(Attribute::Label(label)) if label.path.to_bytes().ends_with(b"/exec"))
}

/// The processors that an exec'd process runs on until it is in the cgroup of the container, and those that it runs on from
/// then on.
///
/// # Errors
/// For a list that is none.
pub fn affinity(process: &Process, at: &str) -> Result<(Option<Step>, Option<Step>), Error> {
    let affinity = process.exec_cpu_affinity().as_ref();
    let list = |list: Option<&str>, name: &str| {
        let pointer = format!("{at}/execCPUAffinity/{name}");
        let mask = list.map(|list| mask(list, &pointer)).transpose()?;
        let mask = mask.filter(|mask| !mask.is_empty());
        Ok(mask.map(|mask| step(Attribute::Affinity(mask), pointer)))
    };
    let initial = list(affinity.and_then(|affinity| affinity.initial().as_deref()), "initial")?;
    let last =
        list(affinity.and_then(|affinity| affinity.cpu_affinity_final().as_deref()), "final")?;
    // "If omitted or empty, runtime SHOULD NOT change process' CPU affinity after the process is moved" (config.md).
    let last = if initial.is_none() { last.or_else(|| Some(any_processor())) } else { last };
    Ok((initial, last))
}

/// Right after the cgroup is entered, whose cpuset bounds it from then on.
pub fn any_processor() -> Step {
    step(Attribute::AnyProcessor, String::new())
}

fn step(attribute: Attribute, pointer: String) -> Step {
    Step { op: Op::Attribute(attribute), pointer }
}

/// A list such as `0-3,7` as a mask.
fn mask(list: &str, pointer: &str) -> Result<Vec<u64>, Error> {
    let Some(ranges) = bundle::config::plain_ranges(list) else {
        return Err(Error::new(pointer, format!("`{list}` is not a list such as `0-3,7`")));
    };
    let words = ranges.iter().map(|range| range.end() / 64 + 1).max().unwrap_or(0);
    let mut mask = vec![0; words as usize];
    for number in ranges.into_iter().flat_map(RangeInclusive::into_iter) {
        mask[(number / 64) as usize] |= 1 << (number % 64);
    }
    Ok(mask)
}

/// `SCHED_*` of sched(7).
fn policy(policy: LinuxSchedulerPolicy) -> u32 {
    match policy {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    }
}

/// `SCHED_FLAG_*` of sched_setattr(2).
fn flag(flag: &LinuxSchedulerFlag) -> u64 {
    match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    }
}

/// `MPOL_*` of set_mempolicy(2).
fn memory_mode(mode: MemoryPolicyModeType) -> u32 {
    match mode {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    }
}

impl Attribute {
    /// What the step does, so that `cannot ` can stand before it.
    pub fn phrase(&self) -> String {
        match self {
            Attribute::Scheduler { name, .. } => format!("set the scheduling policy {name}"),
            Attribute::IoPriority { .. } => "set the I/O priority".into(),
            Attribute::Affinity(_) => "choose the processors".into(),
            Attribute::AnyProcessor => "run on any processor".into(),
            Attribute::Personality(_) => "set the execution domain".into(),
            Attribute::MemoryPolicy { .. } => "set the memory policy".into(),
            Attribute::Label(label) => format!("apply {}", label.what),
        }
    }

    /// The details that `nrun plan` shows behind the phrase.
    pub fn details(&self) -> String {
        match self {
            Attribute::Scheduler { scheduler, .. } => {
                let mut text = String::new();
                let fields = [
                    ("flags", scheduler.flags.into()),
                    ("nice", i128::from(scheduler.nice)),
                    ("priority", scheduler.priority.into()),
                    ("runtime", scheduler.runtime.into()),
                    ("deadline", scheduler.deadline.into()),
                    ("period", scheduler.period.into()),
                ];
                for (name, value) in fields.iter().filter(|(_, value)| *value != 0) {
                    text.push_str(&format!(" {name} {value}"));
                }
                text
            }
            Attribute::IoPriority { class, priority } => format!(" to {priority} of class {class}"),
            Attribute::Affinity(mask) => format!(" {mask:x?}"),
            Attribute::Personality(domain) => format!(" to {domain}"),
            Attribute::MemoryPolicy { mode, nodes } => format!(" to {mode:#x}, nodes {nodes:x?}"),
            Attribute::AnyProcessor | Attribute::Label(_) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_becomes_a_mask() {
        for (list, wanted) in [
            ("", vec![]),
            ("0", vec![1]),
            ("0-3,7", vec![0b1000_1111]),
            ("63-64", vec![1 << 63, 1]),
            ("130", vec![0, 0, 0b100]),
        ] {
            assert_eq!(mask(list, "/x").unwrap(), wanted, "{list}");
        }
        assert!(mask("3-0", "/x").is_err());
    }

    #[test]
    fn a_process_is_bound_to_no_processor_unless_it_asks_to_be() {
        let affinity = |value: serde_json::Value| {
            let process = serde_json::json!({"cwd": "/", "args": ["x"], "user": {"uid": 0, "gid": 0}, "execCPUAffinity": value});
            let process: Process = serde_json::from_value(process).unwrap();
            let (initial, last) = super::affinity(&process, "/process").unwrap();
            let attribute = |step: Option<Step>| {
                step.map(|step| match step.op {
                    Op::Attribute(attribute) => attribute,
                    op => panic!("{op:?}"),
                })
            };
            (attribute(initial), attribute(last))
        };
        let one = || Some(Attribute::Affinity(vec![1]));
        let two = || Some(Attribute::Affinity(vec![2]));
        let both = serde_json::json!({"initial": "0", "final": "1"});
        assert_eq!(affinity(serde_json::Value::Null), (None, Some(Attribute::AnyProcessor)));
        assert_eq!(affinity(serde_json::json!({"initial": "0"})), (one(), None));
        assert_eq!(affinity(serde_json::json!({"final": "1"})), (None, two()));
        assert_eq!(affinity(both), (one(), two()));
    }
}
