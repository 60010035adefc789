//! A classic BPF machine as seccomp has it: the kernel's verifier, its execution of a filter, and its way of finding out
//! which system calls a filter allows whatever their arguments.

use sys::seccomp::{Instruction, MAX_INSTRUCTIONS, RET_ALLOW};

pub(crate) const X86_64: u32 = 0xc000_003e;
pub(crate) const I386: u32 = 0x4000_0003;
pub(crate) const AARCH64: u32 = 0xc000_00b7;
pub(crate) const ARM: u32 = 0x4000_0028;

/// `struct seccomp_data`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) arch: u32,
    pub(crate) number: u32,
    pub(crate) args: [u64; 6],
}

impl Call {
    pub(crate) fn new(arch: u32, number: u32) -> Call {
        Call { arch, number, args: [0; 6] }
    }

    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.arch,
            8 | 12 => 0, // the instruction pointer
            _ => {
                let arg = self.args[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) { arg as u32 } else { (arg >> 32) as u32 }
            }
        }
    }
}

/// What a filter said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) verdict: u32,
    pub(crate) steps: usize,
}

/// Panics where `bpf_check_classic` and `seccomp_check_filter` would return EINVAL.
pub(crate) fn verify(program: &[Instruction]) {
    assert!((1..=MAX_INSTRUCTIONS).contains(&program.len()), "{} instructions", program.len());
    for (at, instruction) in program.iter().enumerate() {
        let reaches = |skip: u32| {
            let target = at as u64 + 1 + u64::from(skip);
            assert!(target < program.len() as u64, "{at}: jumps to {target}");
        };
        match instruction.code {
            0x20 => {
                assert!(
                    instruction.k < 64 && instruction.k.is_multiple_of(4),
                    "{at}: {instruction:?}"
                );
            }
            0x54 | 0x06 => {}
            0x05 => reaches(instruction.k),
            0x15 | 0x25 | 0x35 | 0x45 => {
                reaches(u32::from(instruction.jt));
                reaches(u32::from(instruction.jf));
            }
            // Of the operations that the kernel has, these are all that either compiler uses.
            other => panic!("{at}: operation {other:#x}"),
        }
    }
    let last = program[program.len() - 1];
    assert_eq!(last.code, 0x06, "the last instruction returns");
}

/// Runs a filter.
pub(crate) fn run(program: &[Instruction], call: &Call) -> Outcome {
    evaluate(program, |offset| Some(call.word(offset))).expect("every word of a call is known")
}

/// Whether the kernel's `seccomp_is_const_allow` finds that a filter allows a system call whatever its arguments, so that
/// it never runs the filter for that call.
pub(crate) fn is_always_allowed(program: &[Instruction], arch: u32, number: u32) -> bool {
    let outcome = evaluate(program, |offset| match offset {
        0 => Some(number),
        4 => Some(arch),
        _ => None,
    });
    outcome.is_some_and(|outcome| outcome.verdict == RET_ALLOW)
}

fn evaluate(program: &[Instruction], word: impl Fn(u32) -> Option<u32>) -> Option<Outcome> {
    let mut accumulator = 0;
    let mut at = 0;
    for steps in 1..=program.len() {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let mut branch = |holds: bool| at += usize::from(if holds { jt } else { jf });
        match code {
            0x20 => accumulator = word(k)?,
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => branch(accumulator == k),
            0x25 => branch(accumulator > k),
            0x35 => branch(accumulator >= k),
            0x45 => branch(accumulator & k != 0),
            0x06 => return Some(Outcome { verdict: k, steps }),
            other => panic!("operation {other:#x}"),
        }
    }
    unreachable!("classic BPF jumps forwards only")
}
