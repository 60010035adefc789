//! Seccomp profiles: the kernel would take the program, and it decides as a naive reading of the profile does.
#![no_main]

#[path = "../../runtime/tests/seccomp/interpreter.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod interpreter;
#[path = "../../runtime/tests/seccomp/model.rs"]
mod model;

use interpreter::{AARCH64, ARM, Call, I386, X86_64, run, verify};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use model::Model;
use nrun::plan::seccomp::{Kernel, Machine, compile};
use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};

const ACTIONS: [&str; 9] =
    ["KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "ERRNO", "TRACE", "ALLOW", "LOG", "NOTIFY"];
const OPERATORS: [&str; 7] = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
const ARCHITECTURES: [&str; 5] = ["X86_64", "X86", "X32", "AARCH64", "ARM"];
/// Those that are special somewhere: numbers at the ends, of one ABI alone, behind a multiplexer.
const NAMES: [&str; 25] = [
    "read",
    "write",
    "open",
    "clone",
    "clone3",
    "execve",
    "socket",
    "accept",
    "accept4",
    "sendmsg",
    "recv",
    "send",
    "semop",
    "shmat",
    "msgget",
    "ioctl",
    "personality",
    "waitpid",
    "stat64",
    "time",
    "epoll_wait_old",
    "preadv2",
    "listns",
    "cacheflush",
    "no_such_call",
];

/// An index into a list, and values with most bits the same, as they are in profiles.
#[derive(Arbitrary, Debug)]
struct Condition {
    index: u8,
    operator: u8,
    value: Word,
    second: Option<Word>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Word {
    Small(u8),
    Any(u64),
    High(u8),
    Edge(i8),
}

#[derive(Arbitrary, Debug)]
struct Rule {
    action: u8,
    errno: Option<u16>,
    names: Vec<u8>,
    conditions: Vec<Condition>,
}

#[derive(Arbitrary, Debug)]
struct Profile {
    default: u8,
    errno: Option<u16>,
    architectures: Vec<u8>,
    rules: Vec<Rule>,
    calls: Vec<(bool, u16, bool, [Word; 6])>,
}

fn of<'a>(list: &[&'a str], at: u8) -> &'a str {
    list[usize::from(at) % list.len()]
}

impl Word {
    fn value(self) -> u64 {
        match self {
            Word::Small(byte) => byte.into(),
            Word::Any(word) => word,
            Word::High(byte) => u64::from(byte) << 32,
            Word::Edge(offset) => (1_u64 << 32).wrapping_add(i64::from(offset) as u64),
        }
    }
}

impl Condition {
    fn json(&self) -> Value {
        json!({
            "index": self.index % 6,
            "op": format!("SCMP_CMP_{}", of(&OPERATORS, self.operator)),
            "value": self.value.value(),
            "valueTwo": self.second.map_or(0, Word::value),
        })
    }
}

impl Rule {
    fn json(&self) -> Value {
        let mut rule = json!({
            "action": format!("SCMP_ACT_{}", of(&ACTIONS, self.action)),
            "names": self.names.iter().map(|&at| of(&NAMES, at)).collect::<Vec<_>>(),
            "args": self.conditions.iter().map(Condition::json).collect::<Vec<_>>(),
        });
        if let Some(errno) = self.errno {
            rule["errnoRet"] = errno.into();
        }
        rule
    }
}

impl Profile {
    fn json(&self) -> Value {
        let architectures = self.architectures.iter().take(8);
        let mut profile = json!({
            "defaultAction": format!("SCMP_ACT_{}", of(&ACTIONS, self.default)),
            "architectures": architectures.map(|&at| format!("SCMP_ARCH_{}", of(&ARCHITECTURES, at))).collect::<Vec<_>>(),
            "syscalls": self.rules.iter().map(Rule::json).collect::<Vec<_>>(),
            "listenerPath": "/run/agent.sock",
        });
        if let Some(errno) = self.errno {
            profile["defaultErrnoRet"] = errno.into();
        }
        profile
    }

    /// The calls that were made up, and each call of each ABI with the same arguments, by the architectures of 64 and of 32 bits.
    fn calls(&self, (wide_arch, narrow_arch): (u32, u32)) -> impl Iterator<Item = Call> {
        self.calls.iter().flat_map(move |(wide, number, marked, args)| {
            let arch = if *wide { wide_arch } else { narrow_arch };
            let (first, mark) = (u32::from(*number) % 600, u32::from(*marked) << 30);
            let args = args.map(Word::value);
            (0..8).map(move |step| Call { arch, number: (first + step * 53) % 600 | mark, args })
        })
    }
}

fuzz_target!(|profile: Profile| {
    let json = profile.json();
    let Ok(parsed) = serde_json::from_value::<LinuxSeccomp>(json) else { return };
    let machines = [(Machine::X86_64, (X86_64, I386)), (Machine::AARCH64, (AARCH64, ARM))];
    for (machine, arches) in machines {
        let filter = match compile(&parsed, &Kernel::ask(|_| true, |_| true), machine) {
            Ok(filter) => filter,
            Err(error) => return drop(error.to_string()),
        };
        verify(&filter.program);
        let model = Model::new(&parsed, arches.0);
        for call in profile.calls(arches) {
            let (found, wanted) = (run(&filter.program, &call).verdict, model.verdict(&call));
            assert_eq!(found, wanted, "{call:x?} under {parsed:?}");
        }
    }
});
