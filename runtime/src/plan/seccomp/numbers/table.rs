//! A map from names to numbers that is built at compile time.
//!
//! It holds no pointers, so that it costs a process that never looks anything up neither a relocation nor a page.

use super::{Numbers, Operation, x86};

/// A map from names to numbers with open addressing, at most half full.
#[derive(Debug)]
pub(super) struct Table {
    slots: [Slot; Table::SLOTS],
    /// All names, one after the other.
    text: [u8; Table::TEXT],
    /// How much of the text is taken.
    used: u16,
}

/// Eight bytes, so that none is in two lines of the cache.
#[derive(Clone, Copy, Debug)]
struct Slot {
    name_start: u16,
    name_length: u8,
    /// The code, of ipc(2) with [`Slot::IS_IPC`] and of socketcall(2) without; 0 for what is no operation.
    operation: u8,
    native: u16,
    compat: u16,
}

impl Slot {
    const NO_NUMBER: u16 = u16::MAX;
    const IS_IPC: u8 = 0x80;
    const EMPTY: Slot = Slot {
        name_start: 0,
        name_length: 0,
        operation: 0,
        native: Slot::NO_NUMBER,
        compat: Slot::NO_NUMBER,
    };
}

impl Table {
    const SLOTS: usize = 1024;
    /// Room for all names: where it is too little, the table is not built, and neither is the program.
    const TEXT: usize = 4608;

    /// A table without names.
    pub(super) const fn empty() -> Table {
        Table { slots: [Slot::EMPTY; Table::SLOTS], text: [0; Table::TEXT], used: 0 }
    }

    /// Adds what 64-bit programs call `name`.
    pub(super) const fn add_native(&mut self, name: &str, number: u16) {
        let slot = self.slot_for(name);
        self.slots[slot].native = number;
    }

    /// Adds what 32-bit programs call `name`.
    pub(super) const fn add_compat(&mut self, name: &str, number: u16) {
        let slot = self.slot_for(name);
        self.slots[slot].compat = number;
    }

    /// Adds what both call by these names and numbers.
    pub(super) const fn add_to_both(&mut self, calls: &[(&str, u16)]) {
        let mut index = 0;
        while index < calls.len() {
            let (name, number) = calls[index];
            self.add_native(name, number);
            self.add_compat(name, number);
            index += 1;
        }
    }

    /// Adds the operations of ipc(2), or of socketcall(2), by code; no name where there is none.
    pub(super) const fn add_operations(&mut self, of_ipc: bool, names: &[&str]) {
        let mark = if of_ipc { Slot::IS_IPC } else { 0 };
        let mut code = 0;
        while code < names.len() {
            if !names[code].is_empty() {
                let slot = self.slot_for(names[code]);
                self.slots[slot].operation = mark | code as u8;
            }
            code += 1;
        }
    }

    /// The slot of a name, which is added when it is not there.
    const fn slot_for(&mut self, name: &str) -> usize {
        let slot = self.find(name);
        if self.slots[slot].name_length == 0 {
            let start = self.used as usize;
            self.slots[slot].name_start = self.used;
            self.slots[slot].name_length = name.len() as u8;
            let mut index = 0;
            while index < name.len() {
                self.text[start + index] = name.as_bytes()[index];
                index += 1;
            }
            self.used += name.len() as u16;
        }
        slot
    }

    /// What a name stands for; `None` for one that is not there.
    pub(super) fn get(&self, name: &str) -> Option<Numbers> {
        let mut slot = Table::hash(name) % Table::SLOTS;
        let Slot { operation, native, compat, .. } = loop {
            let Slot { name_start, name_length, .. } = self.slots[slot];
            if name_length == 0 {
                return None;
            }
            let start = usize::from(name_start);
            if &self.text[start..start + usize::from(name_length)] == name.as_bytes() {
                break self.slots[slot];
            }
            slot = (slot + 1) % Table::SLOTS;
        };
        let number = |number: u16| (number != Slot::NO_NUMBER).then(|| u32::from(number));
        let multiplexer = if operation & Slot::IS_IPC == 0 { x86::SOCKETCALL } else { x86::IPC };
        let code = operation & !Slot::IS_IPC;
        Some(Numbers {
            native: number(native),
            compat: number(compat),
            operation: (operation != 0).then_some(Operation { multiplexer, code }),
        })
    }

    /// The slot that holds a name, or the empty one where it belongs.
    const fn find(&self, name: &str) -> usize {
        let mut slot = Table::hash(name) % Table::SLOTS;
        while self.slots[slot].name_length != 0 && !self.holds(slot, name) {
            slot = (slot + 1) % Table::SLOTS;
        }
        slot
    }

    const fn holds(&self, slot: usize, name: &str) -> bool {
        let Slot { name_start, name_length, .. } = self.slots[slot];
        if name_length as usize != name.len() {
            return false;
        }
        let mut index = 0;
        while index < name.len() {
            if self.text[name_start as usize + index] != name.as_bytes()[index] {
                return false;
            }
            index += 1;
        }
        true
    }

    /// A multiplicative hash of a name's length and of the four bytes at its beginning, in its middle and at its end: hardly any
    /// two names are alike in all of that, and a loop over each byte would take as long as all the rest of a search.
    const fn hash(name: &str) -> usize {
        let name = name.as_bytes();
        let last = name.len().saturating_sub(4);
        let words = [Table::word(name, 0), Table::word(name, last / 2), Table::word(name, last)];
        let mut hash = name.len() as u64;
        let mut index = 0;
        while index < words.len() {
            hash = (hash.rotate_left(5) ^ words[index] as u64).wrapping_mul(0x517c_c1b7_2722_0a95);
            index += 1;
        }
        (hash >> 32) as usize
    }

    /// The four bytes from `start` on, or as many as there are.
    const fn word(name: &[u8], start: usize) -> u32 {
        match *name.split_at(start).1 {
            [a, b, c, d, ..] => u32::from_le_bytes([a, b, c, d]),
            [a, b, c] => u32::from_le_bytes([a, b, c, 0]),
            [a, b] => u32::from_le_bytes([a, b, 0, 0]),
            [a] => a as u32,
            [] => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Machine;
    use super::Table;

    /// Each name of a table, with the slot that holds it.
    fn names(table: &'static Table) -> impl Iterator<Item = (usize, &'static str)> {
        let filled = table.slots.iter().enumerate().filter(|(_, slot)| slot.name_length != 0);
        filled.map(|(index, slot)| {
            let start = usize::from(slot.name_start);
            let name = &table.text[start..start + usize::from(slot.name_length)];
            (index, str::from_utf8(name).unwrap())
        })
    }

    #[test]
    fn a_table_is_at_most_half_full_and_a_name_is_in_the_slot_of_its_hash_or_near_it() {
        for machine in [Machine::X86_64, Machine::AARCH64] {
            let steps = |(index, name): (usize, &str)| {
                (Table::SLOTS + index - Table::hash(name) % Table::SLOTS) % Table::SLOTS
            };
            let names = || names(machine.table);
            let (count, steps) = (names().count(), names().map(steps).sum::<usize>());
            assert!(count <= Table::SLOTS / 2, "{count} names");
            assert!(steps < count / 2, "{steps} slots too far for {count} names");
        }
    }

    #[test]
    fn the_end_is_right_after_the_largest_number_of_any_abi() {
        use super::super::Numbers;
        let largest = |machine: &'static Machine| {
            let numbers = names(machine.table).filter_map(|(_, name)| machine.numbers(name));
            let of = |numbers: Numbers| {
                machine.abis().iter().filter_map(move |&abi| {
                    let through = numbers.multiplexed(abi).map(|through| through.multiplexer);
                    numbers.direct(abi).max(through)
                })
            };
            numbers.flat_map(of).max().unwrap() as usize
        };
        assert_eq!(largest(Machine::X86_64), Numbers::END - 1);
        let private = super::super::arm::PRIVATE_NAMES.len();
        assert_eq!(largest(Machine::AARCH64), Numbers::END + private - 1);
    }
}
