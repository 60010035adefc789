//! Device rules as an eBPF program for cgroup v2.
//!
//! A pure function from rules to instructions. The program walks the rules from the last to the first and keeps the set of
//! accesses that no rule has decided yet: a denial of one of them ends in "no", an allowance takes its accesses out, and an
//! empty set is "yes". So each access is decided by the last rule that matches it, which is what the specification means;
//! a request for several needs all of them. What is left when the rules are through is denied.

use sys::bpf::Instruction;

use super::devices::{Kind, Rule};

// Registers: the context comes in R1, the answer leaves in R0.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const WANTED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

// The context, `struct bpf_cgroup_dev_ctx`: the accesses in the upper and the kind in the lower half of the first word.
const CONTEXT_ACCESS_TYPE: i16 = 0;
const CONTEXT_MAJOR: i16 = 4;
const CONTEXT_MINOR: i16 = 8;

// Opcodes, from linux/bpf.h: class | operation | source (K: a constant, X: a register).
const LOAD_WORD: u8 = 0x61;
const MOVE_X: u8 = 0xbf;
const MOVE_K: u8 = 0xb7;
const AND_K: u8 = 0x57;
const SHIFT_RIGHT_K: u8 = 0x77;
const JUMP: u8 = 0x05;
const JUMP_NOT_EQUAL_K: u8 = 0x55;
const JUMP_SET_K: u8 = 0x45;
const EXIT: u8 = 0x95;

/// Makes the program; `None` when every access is allowed and none is needed.
pub(super) fn assemble(rules: &[Rule]) -> Option<Vec<Instruction>> {
    // What stands before the last rule for everything has no effect.
    let reset = rules.iter().rposition(|rule| matches!(rule, Rule::All { .. }));
    let allow = reset.is_some_and(|at| rules[at] == Rule::All { allow: true });
    let rules = &rules[reset.map_or(0, |at| at + 1)..];
    let denies = |rule: &Rule| matches!(rule, Rule::These { allow: false, .. });
    if allow && !rules.iter().any(denies) {
        return None;
    }
    let mut program = vec![
        load(KIND, CONTEXT_ACCESS_TYPE),
        Instruction { code: MOVE_X, registers: WANTED | KIND << 4, offset: 0, immediate: 0 },
        with(AND_K, KIND, 0xffff),
        with(SHIFT_RIGHT_K, WANTED, 16),
        load(MAJOR, CONTEXT_MAJOR),
        load(MINOR, CONTEXT_MINOR),
    ];
    program.extend(answer_if_nothing_wanted());
    for rule in rules.iter().rev() {
        append(&mut program, rule);
    }
    program.extend(answer(allow));
    Some(program)
}

/// Appends one rule: tests that lead past it, then what it decides.
fn append(program: &mut Vec<Instruction>, rule: &Rule) {
    let Rule::These { allow, kind, major, minor, access } = *rule else { return };
    let access = i32::from(access.bits());
    let decision: Vec<Instruction> = if allow {
        let rest = with(AND_K, WANTED, !access);
        std::iter::once(rest).chain(answer_if_nothing_wanted()).collect()
    } else {
        let denied = jump(JUMP_SET_K, WANTED, access, 1);

        let next_rule = jump(JUMP, 0, 0, 2);
        [denied, next_rule].into_iter().chain(answer(false)).collect()
    };
    let kind = match kind {
        Kind::Block => 1,
        Kind::Char => 2,
    };
    // Rules hold numbers that fit an operand: see `devices::parse`.
    let operand = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let tests = [(KIND, Some(kind)), (MAJOR, major.map(operand)), (MINOR, minor.map(operand))];
    let tests: Vec<_> = tests.iter().filter_map(|(of, value)| Some((*of, (*value)?))).collect();
    for (index, (register, value)) in tests.iter().enumerate() {
        let skip = tests.len() - index - 1 + decision.len();
        program.push(jump(JUMP_NOT_EQUAL_K, *register, *value, skip as i16));
    }
    program.extend(decision);
}

fn answer(allow: bool) -> [Instruction; 2] {
    [with(MOVE_K, ANSWER, allow.into()), with(EXIT, 0, 0)]
}

/// "Yes" once every access is allowed, else on.
fn answer_if_nothing_wanted() -> [Instruction; 3] {
    let [yes, exit] = answer(true);
    [jump(JUMP_NOT_EQUAL_K, WANTED, 0, 2), yes, exit]
}

fn load(register: u8, offset: i16) -> Instruction {
    Instruction { code: LOAD_WORD, registers: register | CONTEXT << 4, offset, immediate: 0 }
}

fn with(code: u8, register: u8, immediate: i32) -> Instruction {
    Instruction { code, registers: register, offset: 0, immediate }
}

fn jump(code: u8, register: u8, immediate: i32, skip: i16) -> Instruction {
    Instruction { code, registers: register, offset: skip, immediate }
}

#[cfg(test)]
mod tests {
    use super::super::devices::Access;
    use super::*;

    /// One request: kind, major, minor, accesses.
    type Request = (Kind, u32, u32, u8);

    /// What the specification means, for one access at a time: the last rule that matches decides.
    fn reading(rules: &[Rule], (kind, major, minor, accesses): Request) -> bool {
        let allowed = |bit: u8| {
            rules.iter().fold(false, |decided, rule| match *rule {
                Rule::All { allow } => allow,
                Rule::These { allow, kind: k, major: a, minor: i, access } => {
                    let matches = k == kind
                        && a.is_none_or(|a| a == major)
                        && i.is_none_or(|i| i == minor)
                        && access.bits() & bit != 0;
                    if matches { allow } else { decided }
                }
            })
        };
        [1, 2, 4].iter().filter(|bit| accesses & **bit != 0).all(|bit| allowed(*bit))
    }

    /// The few instructions that the programs are made of, as the kernel runs them.
    fn run(program: &[Instruction], (kind, major, minor, accesses): Request) -> bool {
        let kind = if kind == Kind::Block { 1 } else { 2 };
        let context = [u32::from(accesses) << 16 | kind, major, minor];
        let mut registers = [0_u64; 6];
        let mut at = 0;
        loop {
            let Instruction { code, registers: pair, offset, immediate } = program[at];
            let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
            let constant = i64::from(immediate) as u64;
            let value = registers[to];
            let mut jumps = false;
            match code {
                0x61 if from == 1 => {
                    registers[to] = context[usize::try_from(offset).unwrap() / 4].into();
                }
                0xbf => registers[to] = registers[from],
                0xb7 => registers[to] = constant,
                0x57 => registers[to] &= constant,
                0x77 => registers[to] >>= constant,
                0x05 => jumps = true,
                0x55 => jumps = value != constant,
                0x45 => jumps = value & constant != 0,
                0x95 => return registers[0] == 1,
                code => panic!("instruction {at} has the unknown code {code:#x}"),
            }
            at += 1 + if jumps { usize::try_from(offset).unwrap() } else { 0 };
        }
    }

    fn agree(rules: &[Rule]) {
        let program = assemble(rules);
        for kind in [Kind::Block, Kind::Char] {
            for (major, minor) in [(0, 0), (1, 3), (1, 5), (2, 3), (5, 0), (8, 1), (136, 9)] {
                for accesses in 0..8 {
                    let request = (kind, major, minor, accesses);
                    let ran = program.as_ref().is_none_or(|program| run(program, request));
                    assert_eq!(ran, reading(rules, request), "{request:?} under {rules:?}");
                }
            }
        }
    }

    /// The `index`-th of all accesses.
    fn access(index: usize) -> Access {
        let bits = [Access::MKNOD, Access::READ, Access::WRITE, Access::ALL];
        bits[index % bits.len()]
    }

    #[test]
    fn the_program_decides_as_the_rules_read() {
        // A fixed sequence (xorshift), so that a failure can be looked at again.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        for _ in 0..3000 {
            let rules: Vec<Rule> = (0..next(8))
                .map(|_| match next(9) {
                    0 => Rule::All { allow: next(2) == 0 },
                    _ => Rule::These {
                        allow: next(2) == 0,
                        kind: if next(2) == 0 { Kind::Block } else { Kind::Char },
                        major: [None, Some(1), Some(2), Some(5), Some(136)][next(5)],
                        minor: [None, Some(3), Some(5), Some(0)][next(4)],
                        access: access(next(4)),
                    },
                })
                .collect();
            agree(&rules);
        }
    }

    #[test]
    fn the_default_rules_allow_null_and_deny_disks() {
        let rules = super::super::devices::rules(&[], &[]).unwrap();
        agree(&rules);
        let program = assemble(&rules).unwrap();
        assert!(run(&program, (Kind::Char, 1, 3, 7)));
        assert!(run(&program, (Kind::Block, 8, 0, 1)));
        assert!(!run(&program, (Kind::Block, 8, 0, 2)));
        assert!(!run(&program, (Kind::Char, 10, 229, 6)));
    }

    #[test]
    fn no_rules_deny_and_rules_for_everything_need_no_program() {
        assert!(!run(&assemble(&[]).unwrap(), (Kind::Char, 1, 3, 2)));
        let null = Rule::These {
            allow: true,
            kind: Kind::Char,
            major: Some(1),
            minor: Some(3),
            access: Access::ALL,
        };
        assert_eq!(assemble(&[null, Rule::All { allow: true }, null]), None);
    }
}
