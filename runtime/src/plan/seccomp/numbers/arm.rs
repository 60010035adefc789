//! The ABIs that an aarch64 kernel serves.

use super::table::Table;
use super::{NEWER, Numbers};
use syscalls::{aarch64, arm};

pub(super) static TABLE: Table = build();

const fn build() -> Table {
    let mut table = Table::empty();
    let mut number = 0;
    while number < END {
        if let Some(call) = aarch64::Sysno::new(number)
            && !is_for_32_bits(number)
        {
            // What programs and profiles know it by (asm/unistd.h), where the crate has the kernel's own name.
            let name =
                if matches!(call, aarch64::Sysno::fstatat) { "newfstatat" } else { call.name() };
            table.add_native(name, number as u16);
        }
        if let Some(call) = arm::Sysno::new(number) {
            table.add_compat(call.name(), number as u16);
        }
        number += 1;
    }
    // The header's second name, which is that of other machines.
    table.add_compat("sync_file_range2", arm::Sysno::arm_sync_file_range as u16);
    table.add_to_both(&NEWER);
    let mut index = 0;
    while index < PRIVATE_NAMES.len() {
        table.add_compat(PRIVATE_NAMES[index], (Numbers::END + index) as u16);
        index += 1;
    }
    table
}

/// Beyond the last number of either ABI in the crate.
const END: usize = 512;

/// The calls with times of 64 bits, which 64-bit programs have always had by other names (asm-generic/unistd.h): the crate lists them
/// for both.
const fn is_for_32_bits(number: usize) -> bool {
    matches!(number, 403..=423)
}

/// The first number of the calls that only Arm has, and their names from it on (asm/unistd.h, `__ARM_NR_BASE` and the following).
pub(super) const PRIVATE: u32 = 0xf_0001;
pub(super) const PRIVATE_NAMES: [&str; 6] =
    ["breakpoint", "cacheflush", "usr26", "usr32", "set_tls", "get_tls"];
