//! Conditions on system call arguments, as questions about 32-bit words.
//!
//! Classic BPF has a 32-bit accumulator, so that a 64-bit comparison asks about the high half first. A 32-bit ABI's
//! arguments, and the values that they are compared with, are their low halves alone, as libseccomp has it.

use super::diagram::{Diagram, Id, Source, Test};
use oci_spec::runtime::LinuxSeccompOperator as Operator;

/// One entry of a rule's `args`, with an index that is known to be in range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) argument: u8,
    pub(super) operator: Operator,
    pub(super) value: u64,
    /// For `SCMP_CMP_MASKED_EQ`, where `value` is the mask.
    pub(super) masked: u64,
}

impl Condition {
    /// That an argument has exactly this value.
    pub(super) fn equal(argument: u8, value: u64) -> Condition {
        Condition { argument, operator: Operator::ScmpCmpEq, value, masked: 0 }
    }

    /// A node that leads to `yes` where the condition holds and to `no` where not. `wide` arguments have 64 bits.
    pub(super) fn ask(self, diagram: &mut Diagram, wide: bool, yes: Id, no: Id) -> Id {
        match self.operator {
            Operator::ScmpCmpEq => self.ask_equal(diagram, wide, yes, no),
            Operator::ScmpCmpNe => self.ask_equal(diagram, wide, no, yes),
            Operator::ScmpCmpGt => self.ask_order(diagram, wide, Test::Greater, yes, no),
            Operator::ScmpCmpLe => self.ask_order(diagram, wide, Test::Greater, no, yes),
            Operator::ScmpCmpGe => self.ask_order(diagram, wide, Test::AtLeast, yes, no),
            Operator::ScmpCmpLt => self.ask_order(diagram, wide, Test::AtLeast, no, yes),
            Operator::ScmpCmpMaskedEq => self.ask_masked(diagram, wide, yes, no),
        }
    }

    fn ask_equal(self, diagram: &mut Diagram, wide: bool, yes: Id, no: Id) -> Id {
        let low = Source::Low { argument: self.argument, mask: u32::MAX };
        if !wide {
            return diagram.ask(low, Test::Equal(low_half(self.value)), yes, no);
        }
        let (high, same) = self.high_half_is_equal();
        // What follows when only the low half differs still knows the high half: rules that list values of one argument,
        // as every default profile does for personality(2), then ask about it once.
        let differs = diagram.given(high, same, true, no);
        let equal = diagram.ask(low, Test::Equal(low_half(self.value)), yes, differs);
        diagram.ask(high, same, equal, no)
    }

    fn ask_order(
        self,
        diagram: &mut Diagram,
        wide: bool,
        test: fn(u32) -> Test,
        yes: Id,
        no: Id,
    ) -> Id {
        let low = Source::Low { argument: self.argument, mask: u32::MAX };
        if !wide {
            return diagram.ask(low, test(low_half(self.value)), yes, no);
        }
        let (high, same) = self.high_half_is_equal();
        let (above, below) =
            (diagram.given(high, same, true, yes), diagram.given(high, same, true, no));
        let by_low_half = diagram.ask(low, test(low_half(self.value)), above, below);
        let not_greater = diagram.ask(high, same, by_low_half, no);
        diagram.ask(high, Test::Greater(high_half(self.value)), yes, not_greater)
    }

    fn ask_masked(self, diagram: &mut Diagram, wide: bool, yes: Id, no: Id) -> Id {
        let Condition { argument, value: mask, masked, .. } = self;
        let masked = masked & mask;
        let low = |mask| Source::Low { argument, mask };
        let yes = ask_masked_half(diagram, low, low_half(mask), low_half(masked), yes, no);
        if !wide {
            return yes;
        }
        let high = |mask| Source::High { argument, mask };
        ask_masked_half(diagram, high, high_half(mask), high_half(masked), yes, no)
    }

    fn high_half_is_equal(self) -> (Source, Test) {
        let high = Source::High { argument: self.argument, mask: u32::MAX };
        (high, Test::Equal(high_half(self.value)))
    }
}

fn ask_masked_half(
    diagram: &mut Diagram,
    source: impl Fn(u32) -> Source,
    mask: u32,
    masked: u32,
    yes: Id,
    no: Id,
) -> Id {
    match masked {
        // No bit of the mask is set: one instruction where the general form takes two. A mask of 0 is no question.
        0 => diagram.ask(source(u32::MAX), Test::AnyBit(mask), no, yes),
        _ => diagram.ask(source(mask), Test::Equal(masked), yes, no),
    }
}

fn low_half(value: u64) -> u32 {
    value as u32
}

fn high_half(value: u64) -> u32 {
    (value >> 32) as u32
}
