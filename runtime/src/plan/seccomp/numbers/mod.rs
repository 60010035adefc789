//! System call names and numbers of the ABIs that a machine's kernel serves.
//!
//! The names come from the `syscalls` crate, which generates them from the kernel's own tables, plus what the kernel got
//! since. They are hashed into one table for each machine at compile time ([`table`]): a profile names some four hundred calls, and
//! each is looked up while a container is waiting. Nothing here knows about profiles.

mod arm;
mod table;
#[cfg(test)]
mod tests;
mod x86;

use oci_spec::runtime::Arch;
use table::Table;

/// A kind of machine, by the ABIs that its kernel serves.
#[derive(Debug)]
pub struct Machine {
    /// The native one first. The others' numbers are asked about in this order.
    abis: &'static [Abi],
    table: &'static Table,
}

impl Machine {
    /// 64-bit machines of Intel and AMD.
    pub const X86_64: &'static Machine = &Machine {
        // x32's numbers come right after x86-64's, so that the two share what they have in common within reach of a jump.
        abis: &[Abi::X86_64, Abi::X32, Abi::I386],
        table: &x86::TABLE,
    };

    /// 64-bit machines of Arm.
    pub const AARCH64: &'static Machine =
        &Machine { abis: &[Abi::Aarch64, Abi::Arm], table: &arm::TABLE };

    /// The one that this program is for.
    #[cfg(target_arch = "x86_64")]
    pub const OURS: &'static Machine = Machine::X86_64;
    /// The one that this program is for.
    #[cfg(target_arch = "aarch64")]
    pub const OURS: &'static Machine = Machine::AARCH64;

    /// The ABIs that its kernel serves, the native one first.
    pub(super) fn abis(&self) -> &'static [Abi] {
        self.abis
    }

    /// Looks a name up; `None` for a name that no ABI has.
    pub(super) fn numbers(&self, name: &str) -> Option<Numbers> {
        self.table.get(name)
    }
}

/// A calling convention with its own system call numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Abi {
    /// 64-bit programs of x86-64.
    X86_64,
    /// 32-bit pointers in its 64-bit mode: x86-64's numbers with bit 30 set, and numbers of its own from 512.
    X32,
    /// 32-bit programs of x86-64.
    I386,
    /// 64-bit programs of aarch64.
    Aarch64,
    /// 32-bit programs of aarch64.
    Arm,
}

/// The bit that marks a system call number as x32's.
pub(super) const X32_BIT: u32 = 0x4000_0000;

impl Abi {
    /// Whether system call arguments are 64 bits wide. On the others a filter looks at the low 32 bits only.
    pub(super) fn has_wide_arguments(self) -> bool {
        matches!(self, Abi::X86_64 | Abi::Aarch64)
    }

    /// What the specification calls it.
    pub(super) fn arch(self) -> Arch {
        match self {
            Abi::X86_64 => Arch::ScmpArchX86_64,
            Abi::X32 => Arch::ScmpArchX32,
            Abi::I386 => Arch::ScmpArchX86,
            Abi::Aarch64 => Arch::ScmpArchAarch64,
            Abi::Arm => Arch::ScmpArchArm,
        }
    }

    /// `AUDIT_ARCH_*`, by which the kernel tells a filter the ABI of a call (linux/audit.h).
    pub(super) fn audit(self) -> u32 {
        match self {
            Abi::X86_64 | Abi::X32 => 0xc000_003e,
            Abi::I386 => 0x4000_0003,
            Abi::Aarch64 => 0xc000_00b7,
            Abi::Arm => 0x4000_0028,
        }
    }

    /// The calls that stand apart from the others: the first of their numbers, and how many they are.
    pub(super) fn private(self) -> Option<(u32, usize)> {
        (self == Abi::Arm).then_some((arm::PRIVATE, arm::PRIVATE_NAMES.len()))
    }
}

/// What a system call's name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    /// Of 64-bit programs.
    native: Option<u32>,
    /// Of 32-bit programs, which the kernel calls compatible.
    compat: Option<u32>,
    operation: Option<Operation>,
}

/// A socket or System V IPC operation: on i386, programs reach it through a call that carries it, too.
///
/// Linux 4.3 and 5.1 gave most operations a number of their own; older C libraries use only the multiplexer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    /// The number of socketcall(2) or ipc(2).
    pub(super) multiplexer: u32,
    /// Its first argument.
    pub(super) code: u8,
}

impl Numbers {
    /// Beyond the largest number of any ABI, but for those that stand apart ([`Abi::private`]).
    pub(super) const END: usize = 548;

    /// The number in an ABI, for x32 without its mark. Calls that stand apart have the numbers from [`Numbers::END`] on.
    pub(super) fn direct(&self, abi: Abi) -> Option<u32> {
        match abi {
            Abi::X86_64 | Abi::Aarch64 => self.native,
            Abi::X32 => self.native.and_then(x86::x32_number),
            Abi::I386 | Abi::Arm => self.compat,
        }
    }

    /// The operation of a multiplexer in an ABI.
    pub(super) fn multiplexed(&self, abi: Abi) -> Option<Operation> {
        self.operation.filter(|_| abi == Abi::I386)
    }
}

/// System calls that are newer than the `syscalls` crate. From 424 on, numbers are the same in every ABI.
const NEWER: [(&str, u16); 2] = [("listns", 470), ("rseq_slice_yield", 471)];
