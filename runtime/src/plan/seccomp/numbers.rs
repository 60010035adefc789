//! System call names and numbers of the three ABIs that an x86-64 kernel serves.
//!
//! The names come from the `syscalls` crate, which generates them from the kernel's own tables, plus what the kernel got
//! since. They are hashed into one table at compile time: a profile names some four hundred calls, and each is looked up
//! while a container is waiting. The table holds no pointers, so that it costs a process that never looks anything up
//! neither a relocation nor a page. Nothing here knows about profiles.

use syscalls::{x86, x86_64};

/// A calling convention with its own system call numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Abi {
    /// 64-bit programs.
    X86_64,
    /// 32-bit pointers in 64-bit mode: x86-64's numbers with bit 30 set, and numbers of its own from 512.
    X32,
    /// 32-bit programs.
    I386,
}

/// The bit that marks a system call number as x32's.
pub(super) const X32_BIT: u32 = 0x4000_0000;

impl Abi {
    /// Whether system call arguments are 64 bits wide. On the others a filter looks at the low 32 bits only.
    pub(super) fn has_wide_arguments(self) -> bool {
        self == Abi::X86_64
    }
}

/// What a system call's name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    x86_64: Option<u32>,
    i386: Option<u32>,
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
    /// Beyond the largest number of any ABI.
    pub(super) const END: usize = 548;

    /// Looks a name up; `None` for a name that no ABI has.
    pub(super) fn of(name: &str) -> Option<Numbers> {
        TABLE.get(name)
    }

    /// The number in an ABI, for x32 without its mark.
    pub(super) fn direct(&self, abi: Abi) -> Option<u32> {
        match abi {
            Abi::X86_64 => self.x86_64,
            Abi::X32 => self.x86_64.and_then(x32_number),
            Abi::I386 => self.i386,
        }
    }

    /// The operation of a multiplexer in an ABI.
    pub(super) fn multiplexed(&self, abi: Abi) -> Option<Operation> {
        self.operation.filter(|_| abi == Abi::I386)
    }
}

/// What x32 calls the system call of an x86-64 number: the same, a number of its own where its structures differ (from 512
/// on), or nothing where x86-64 keeps it for itself.
///
/// Source: `arch/x86/entry/syscalls/syscall_64.tbl`, where the column `abi` is `x32` or `64`.
fn x32_number(number: u32) -> Option<u32> {
    Some(match number {
        13 => 512,  // rt_sigaction
        15 => 513,  // rt_sigreturn
        16 => 514,  // ioctl
        19 => 515,  // readv
        20 => 516,  // writev
        45 => 517,  // recvfrom
        46 => 518,  // sendmsg
        47 => 519,  // recvmsg
        59 => 520,  // execve
        101 => 521, // ptrace
        127 => 522, // rt_sigpending
        128 => 523, // rt_sigtimedwait
        129 => 524, // rt_sigqueueinfo
        131 => 525, // sigaltstack
        222 => 526, // timer_create
        244 => 527, // mq_notify
        246 => 528, // kexec_load
        247 => 529, // waitid
        273 => 530, // set_robust_list
        274 => 531, // get_robust_list
        278 => 532, // vmsplice
        279 => 533, // move_pages
        295 => 534, // preadv
        296 => 535, // pwritev
        297 => 536, // rt_tgsigqueueinfo
        299 => 537, // recvmmsg
        307 => 538, // sendmmsg
        310 => 539, // process_vm_readv
        311 => 540, // process_vm_writev
        54 => 541,  // setsockopt
        55 => 542,  // getsockopt
        206 => 543, // io_setup
        209 => 544, // io_submit
        322 => 545, // execveat
        327 => 546, // preadv2
        328 => 547, // pwritev2
        // uselib, _sysctl, create_module, get_kernel_syms, query_module, nfsservctl, set_thread_area, get_thread_area,
        // epoll_ctl_old, epoll_wait_old, vserver
        134 | 156 | 174 | 177 | 178 | 180 | 205 | 211 | 214 | 215 | 236 => return None,
        other => other,
    })
}

/// The operations of i386's multiplexers, by code; no name where there is none. Source: `linux/net.h`, `linux/ipc.h`.
const SOCKETCALL: u32 = 102;
const SOCKET_OPERATIONS: [&str; 21] = [
    "",
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];
const IPC: u32 = 117;
const IPC_OPERATIONS: [&str; 25] = [
    "",
    "semop",
    "semget",
    "semctl",
    "semtimedop",
    "",
    "",
    "",
    "",
    "",
    "",
    "msgsnd",
    "msgrcv",
    "msgget",
    "msgctl",
    "",
    "",
    "",
    "",
    "",
    "",
    "shmat",
    "shmdt",
    "shmget",
    "shmctl",
];

/// System calls that are newer than the `syscalls` crate. From 424 on, numbers are the same in every ABI.
const NEWER: [(&str, u16); 2] = [("listns", 470), ("rseq_slice_yield", 471)];

/// Beyond the last number of either ABI in the crate.
const END: usize = 512;

static TABLE: Table = Table::build();

/// A map from names to numbers with open addressing, at most half full.
struct Table {
    slots: [Slot; Table::SLOTS],
    /// All names, one after the other.
    text: [u8; Table::TEXT],
}

/// Eight bytes, so that none is in two lines of the cache.
#[derive(Clone, Copy)]
struct Slot {
    name_start: u16,
    name_length: u8,
    /// The code, of ipc(2) with [`Slot::IS_IPC`] and of socketcall(2) without; 0 for what is no operation.
    operation: u8,
    x86_64: u16,
    i386: u16,
}

impl Slot {
    const NO_NUMBER: u16 = u16::MAX;
    const IS_IPC: u8 = 0x80;
    const EMPTY: Slot = Slot {
        name_start: 0,
        name_length: 0,
        operation: 0,
        x86_64: Slot::NO_NUMBER,
        i386: Slot::NO_NUMBER,
    };
}

impl Table {
    const SLOTS: usize = 1024;
    /// Room for all names: where it is too little, the table is not built, and neither is the program.
    const TEXT: usize = 4608;

    const fn build() -> Table {
        let mut table = Table { slots: [Slot::EMPTY; Table::SLOTS], text: [0; Table::TEXT] };
        let mut used = 0;
        let mut number = 0;
        while number < END {
            if let Some(call) = x86_64::Sysno::new(number) {
                let slot = table.slot_for(call.name(), &mut used);
                table.slots[slot].x86_64 = number as u16;
            }
            if let Some(call) = x86::Sysno::new(number) {
                // The crate spells this name as Rust source.
                let name = if matches!(call, x86::Sysno::r#break) { "break" } else { call.name() };
                let slot = table.slot_for(name, &mut used);
                table.slots[slot].i386 = number as u16;
            }
            number += 1;
        }
        let mut index = 0;
        while index < NEWER.len() {
            let slot = table.slot_for(NEWER[index].0, &mut used);
            table.slots[slot].x86_64 = NEWER[index].1;
            table.slots[slot].i386 = NEWER[index].1;
            index += 1;
        }
        table.add_operations(0, &SOCKET_OPERATIONS, &mut used);
        table.add_operations(Slot::IS_IPC, &IPC_OPERATIONS, &mut used);
        table
    }

    const fn add_operations(&mut self, mark: u8, names: &[&str], used: &mut usize) {
        let mut code = 0;
        while code < names.len() {
            if !names[code].is_empty() {
                let slot = self.slot_for(names[code], used);
                self.slots[slot].operation = mark | code as u8;
            }
            code += 1;
        }
    }

    /// The slot of a name, which is added when it is not there. `used` bytes of the text are taken.
    const fn slot_for(&mut self, name: &str, used: &mut usize) -> usize {
        let slot = self.find(name);
        if self.slots[slot].name_length == 0 {
            self.slots[slot].name_start = *used as u16;
            self.slots[slot].name_length = name.len() as u8;
            let mut index = 0;
            while index < name.len() {
                self.text[*used + index] = name.as_bytes()[index];
                index += 1;
            }
            *used += name.len();
        }
        slot
    }

    fn get(&self, name: &str) -> Option<Numbers> {
        let mut slot = Table::hash(name) % Table::SLOTS;
        let Slot { operation, x86_64, i386, .. } = loop {
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
        let multiplexer = if operation & Slot::IS_IPC == 0 { SOCKETCALL } else { IPC };
        let code = operation & !Slot::IS_IPC;
        Some(Numbers {
            x86_64: number(x86_64),
            i386: number(i386),
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
    use super::*;

    #[test]
    fn a_name_has_its_own_number_in_each_abi() {
        let numbers = |name| {
            let numbers = Numbers::of(name).unwrap();
            [Abi::X86_64, Abi::X32, Abi::I386].map(|abi| numbers.direct(abi))
        };
        assert_eq!(numbers("read"), [Some(0), Some(0), Some(3)]);
        assert_eq!(numbers("execve"), [Some(59), Some(520), Some(11)]);
        assert_eq!(numbers("pwritev2"), [Some(328), Some(547), Some(379)]);
        assert_eq!(numbers("socketcall"), [None, None, Some(102)]);
        assert_eq!(numbers("break"), [None, None, Some(17)]);
        assert_eq!(numbers("uselib"), [Some(134), None, Some(86)]);
        assert_eq!(numbers("file_setattr"), [Some(469); 3]);
        assert_eq!(numbers("rseq_slice_yield"), [Some(471); 3]);
        assert_eq!(Numbers::of("no_such_call"), None);
        assert_eq!(Numbers::of(""), None);
    }

    #[test]
    fn an_operation_is_multiplexed_on_i386_alone() {
        let semop = Numbers::of("semop").unwrap();
        assert_eq!(semop.multiplexed(Abi::I386), Some(Operation { multiplexer: 117, code: 1 }));
        assert_eq!(semop.multiplexed(Abi::X86_64), None);
        assert_eq!(semop.direct(Abi::I386), None, "i386 has no number of its own for it");
        assert_eq!(Numbers::of("ioctl").unwrap().multiplexed(Abi::I386), None);
    }

    #[test]
    fn the_table_holds_every_name_of_the_crate_and_is_at_most_half_full() {
        for call in x86_64::Sysno::iter() {
            let numbers = Numbers::of(call.name()).unwrap();
            assert_eq!(numbers.x86_64, Some(call.id() as u32), "{call}");
        }
        for call in x86::Sysno::iter().filter(|call| *call != x86::Sysno::r#break) {
            assert_eq!(Numbers::of(call.name()).unwrap().i386, Some(call.id() as u32), "{call}");
        }
        let filled = TABLE.slots.iter().filter(|slot| slot.name_length != 0).count();
        assert!(filled <= Table::SLOTS / 2, "{filled} names");
    }

    /// Each name of the table, with the slot that holds it.
    fn names() -> impl Iterator<Item = (usize, &'static str)> {
        let filled = TABLE.slots.iter().enumerate().filter(|(_, slot)| slot.name_length != 0);
        filled.map(|(index, slot)| {
            let start = usize::from(slot.name_start);
            let name = &TABLE.text[start..start + usize::from(slot.name_length)];
            (index, str::from_utf8(name).unwrap())
        })
    }

    #[test]
    fn the_end_is_right_after_the_largest_number_of_any_abi() {
        let numbers = names().filter_map(|(_, name)| Numbers::of(name)).flat_map(|numbers| {
            [Abi::X86_64, Abi::X32, Abi::I386].map(|abi| {
                numbers.direct(abi).max(numbers.multiplexed(abi).map(|through| through.multiplexer))
            })
        });
        assert_eq!(numbers.max(), Some(Some(Numbers::END as u32 - 1)));
    }

    #[test]
    fn a_name_is_found_in_the_slot_of_its_hash_or_near_it() {
        let steps = |(index, name): (usize, &str)| {
            (Table::SLOTS + index - Table::hash(name) % Table::SLOTS) % Table::SLOTS
        };
        let (count, steps) = (names().count(), names().map(steps).sum::<usize>());
        assert!(steps < count / 2, "{steps} slots too far for {count} names");
    }

    #[test]
    fn the_names_that_are_added_are_still_missing_from_the_crate() {
        for (name, number) in NEWER {
            assert_eq!(name.parse::<x86_64::Sysno>(), Err(()), "the crate has `{name}` by now");
            assert!(x86_64::Sysno::new(usize::from(number)).is_none());
        }
    }
}
