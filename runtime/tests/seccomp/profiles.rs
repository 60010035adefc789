//! Profiles to test with: the one that containers get by default, and random ones from a seed.

use crate::interpreter::AARCH64;
use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};

/// What podman makes of containers-common's seccomp.json for a container with the default capabilities on x86-64; on another machine
/// it differs by the architectures, and by rules about calls that only that machine has.
pub(crate) fn containers_common(machine: u32) -> LinuxSeccomp {
    let mut profile: Value = serde_json::from_str(include_str!("containers-common.json")).unwrap();
    if machine == AARCH64 {
        profile["architectures"] = architectures(machine);
        let names = [
            "arm_fadvise64_64",
            "arm_sync_file_range",
            "sync_file_range2",
            "breakpoint",
            "cacheflush",
            "set_tls",
        ];
        let rules = profile["syscalls"].as_array_mut().unwrap();
        rules.push(json!({ "names": names, "action": "SCMP_ACT_ALLOW" }));
    }
    parse(profile)
}

/// All that a machine's kernel serves.
fn architectures(machine: u32) -> Value {
    match machine {
        AARCH64 => json!(["SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64"]),
        _ => json!(["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_X86_64"]),
    }
}

pub(crate) fn parse(profile: Value) -> LinuxSeccomp {
    serde_json::from_value(profile).unwrap()
}

/// A small generator of numbers (splitmix64): the same ones on every run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.word() % end as u64) as usize
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    /// A value near those where comparisons of 64-bit values by halves go wrong.
    pub(crate) fn edge(&mut self) -> u64 {
        let base =
            [0, 1, 9, 16, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0010];
        let more = [0xffff_fffe_ffff_ffff, 0xffff_ffff_0000_0000, u64::MAX, 0x7fff_ffff_ffff_ffff];
        match self.below(8) {
            0 => self.word(),
            1 => self.word() & 0xff,
            2 | 3 => more[self.below(more.len())],
            _ => base[self.below(base.len())],
        }
        .wrapping_add([0, 0, 0, 1, u64::MAX][self.below(5)])
    }
}

pub(crate) const OPERATORS: [&str; 7] = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];

/// Names of every kind: in all ABIs, in one, multiplexed on i386, with numbers of their own on x32, new, Arm's own, unknown.
pub(crate) const NAMES: &str = "read write open close fork execve personality clone clone3 socket socketpair accept accept4 sendmsg \
    recvmmsg send semop semget shmat msgctl semtimedop socketcall ipc ioctl readv writev ptrace waitid execveat pwritev2 \
    uselib _sysctl get_thread_area modify_ldt arch_prctl mmap mmap2 _llseek break umount umount2 stat64 clock_gettime64 \
    futex futex_time64 openat2 close_range landlock_restrict_self file_setattr io_uring_setup restart_syscall \
    set_mempolicy_home_node membarrier s390_runtime_instr newfstatat cacheflush get_tls no_such_call";

fn action(dice: &mut Dice, with_notify: bool) -> Value {
    let actions = [
        "ALLOW",
        "ERRNO",
        "KILL",
        "KILL_PROCESS",
        "KILL_THREAD",
        "TRAP",
        "TRACE",
        "LOG",
        "ERRNO",
        "ALLOW",
    ];
    let mut action = dice.pick(&actions);
    if with_notify && dice.below(12) == 0 {
        action = "NOTIFY";
    }
    let mut rule = json!({ "action": format!("SCMP_ACT_{action}") });
    if (action == "ERRNO" || action == "TRACE") && dice.below(3) > 0 {
        rule["errnoRet"] = json!(dice.below(4096));
    }
    rule
}

pub(crate) fn arg(dice: &mut Dice, index: usize) -> Value {
    let mut arg = json!({
        "index": index,
        "value": dice.edge(),
        "op": format!("SCMP_CMP_{}", dice.pick(&OPERATORS)),
    });
    if dice.below(2) == 0 {
        arg["valueTwo"] = json!(dice.edge());
    }
    arg
}

/// A profile with anything in it that a profile may have.
pub(crate) fn random(seed: u64) -> LinuxSeccomp {
    let mut dice = Dice::new(seed);
    let names: Vec<&str> = NAMES.split_whitespace().collect();
    let default = action(&mut dice, false);
    let arches = ["X86", "X32", "X86_64", "ARM", "AARCH64", "S390X", "NATIVE"];
    let arches: Vec<String> = arches
        .iter()
        .filter(|_| dice.below(2) == 0)
        .map(|arch| format!("SCMP_ARCH_{arch}"))
        .collect();
    let mut rules = Vec::new();
    for _ in 0..dice.below(40) {
        let mut rule = action(&mut dice, true);
        let chosen = (0..=dice.below(5)).map(|_| dice.pick(&names));
        let notifies = rule["action"] == "SCMP_ACT_NOTIFY";
        rule["names"] = chosen.filter(|&name| !(notifies && name == "write")).collect();
        let args: Vec<Value> = (0..dice.below(4))
            .map(|_| {
                let index = dice.below(6);
                arg(&mut dice, index)
            })
            .collect();
        if dice.below(5) < 3 {
            rule["args"] = Value::Array(args);
        }
        rules.push(rule);
    }
    let mut profile = json!({
        "defaultAction": default["action"],
        "architectures": arches,
        "syscalls": rules,
        "listenerPath": "/run/agent.sock",
    });
    if !default["errnoRet"].is_null() {
        profile["defaultErrnoRet"] = default["errnoRet"].clone();
    }
    parse(profile)
}

/// A profile in which no two rules about one system call overlap with different verdicts. What libseccomp makes of those
/// that do depends on how its trees happen to be ordered, see docs/seccomp.md. `known` are the names to rule on.
pub(crate) fn without_overlap(seed: u64, machine: u32, known: &[&str]) -> LinuxSeccomp {
    let mut dice = Dice::new(seed);
    let default = action(&mut dice, false);
    let mut rules = Vec::new();
    // A name of i386's multiplexers shares socketcall and ipc with others, so that these two cannot be ruled on themselves.
    for &name in known.iter().filter(|&&name| name != "socketcall" && name != "ipc") {
        if dice.below(3) == 0 {
            continue;
        }
        let mut rule = action(&mut dice, false);
        rule["names"] = json!([name]);
        if dice.below(2) == 0 {
            let indices = [[0, 1, 2], [2, 0, 4], [5, 3, 1]][dice.below(3)];
            let count = 1 + dice.below(3);
            rule["args"] = indices[..count].iter().map(|&index| arg(&mut dice, index)).collect();
        }
        rules.push(rule);
    }
    let mut profile = json!({
        "defaultAction": default["action"],
        "architectures": architectures(machine),
        "syscalls": rules,
    });
    if !default["errnoRet"].is_null() {
        profile["defaultErrnoRet"] = default["errnoRet"].clone();
    }
    parse(profile)
}
