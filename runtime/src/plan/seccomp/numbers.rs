//! System call names and numbers of the three ABIs that an x86-64 kernel serves.
//!
//! The names come from the `syscalls` crate, which generates them from the kernel's own tables, plus what the kernel got
//! since. They are hashed into tables at compile time: a profile names some four hundred calls, and each is looked up
//! once per ABI while a container is waiting. Nothing here knows about profiles.

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
    /// The number of a system call in this ABI, for x32 without its mark, or `None` when the ABI lacks it.
    pub(super) fn number(self, name: &str) -> Option<u32> {
        match self {
            Abi::X86_64 => X86_64.get(name),
            Abi::X32 => X86_64.get(name).and_then(x32_number),
            Abi::I386 => I386.get(name),
        }
    }

    /// Whether system call arguments are 64 bits wide. On the others a filter looks at the low 32 bits only.
    pub(super) fn has_wide_arguments(self) -> bool {
        self == Abi::X86_64
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

/// The i386 call that carries a socket or System V IPC operation, and the operation's code in its first argument.
///
/// Programs reach these operations both ways, so that a rule must cover both: Linux 4.3 and 5.1 gave most of them a number
/// of their own, older C libraries use only the multiplexer. Source: `linux/net.h`, `linux/ipc.h`.
pub(super) fn multiplexed(name: &str) -> Option<(u32, u32)> {
    const SOCKETCALL: u32 = 102;
    const IPC: u32 = 117;
    Some(match name {
        "socket" => (SOCKETCALL, 1),
        "bind" => (SOCKETCALL, 2),
        "connect" => (SOCKETCALL, 3),
        "listen" => (SOCKETCALL, 4),
        "accept" => (SOCKETCALL, 5),
        "getsockname" => (SOCKETCALL, 6),
        "getpeername" => (SOCKETCALL, 7),
        "socketpair" => (SOCKETCALL, 8),
        "send" => (SOCKETCALL, 9),
        "recv" => (SOCKETCALL, 10),
        "sendto" => (SOCKETCALL, 11),
        "recvfrom" => (SOCKETCALL, 12),
        "shutdown" => (SOCKETCALL, 13),
        "setsockopt" => (SOCKETCALL, 14),
        "getsockopt" => (SOCKETCALL, 15),
        "sendmsg" => (SOCKETCALL, 16),
        "recvmsg" => (SOCKETCALL, 17),
        "accept4" => (SOCKETCALL, 18),
        "recvmmsg" => (SOCKETCALL, 19),
        "sendmmsg" => (SOCKETCALL, 20),
        "semop" => (IPC, 1),
        "semget" => (IPC, 2),
        "semctl" => (IPC, 3),
        "semtimedop" => (IPC, 4),
        "msgsnd" => (IPC, 11),
        "msgrcv" => (IPC, 12),
        "msgget" => (IPC, 13),
        "msgctl" => (IPC, 14),
        "shmat" => (IPC, 21),
        "shmdt" => (IPC, 22),
        "shmget" => (IPC, 23),
        "shmctl" => (IPC, 24),
        _ => return None,
    })
}

/// System calls that are newer than the `syscalls` crate. From 424 on, numbers are the same in every ABI.
const NEWER: [(&str, u16); 2] = [("listns", 470), ("rseq_slice_yield", 471)];

/// Numbers beyond the last one of either table.
const END: usize = 512;

static X86_64: Table = {
    let mut table = Table::new();
    let mut number = 0;
    while number < END {
        if let Some(call) = x86_64::Sysno::new(number) {
            table.insert(call.name(), number as u16);
        }
        number += 1;
    }
    table.with_newer()
};

static I386: Table = {
    let mut table = Table::new();
    let mut number = 0;
    while number < END {
        if let Some(call) = x86::Sysno::new(number) {
            // The crate spells this name as Rust source.
            match call {
                x86::Sysno::r#break => table.insert("break", number as u16),
                _ => table.insert(call.name(), number as u16),
            }
        }
        number += 1;
    }
    table.with_newer()
};

/// A map from names to numbers with open addressing, built at compile time and at most half full.
struct Table {
    slots: [(&'static str, u16); Table::SLOTS],
}

impl Table {
    const SLOTS: usize = 1024;

    const fn new() -> Table {
        Table { slots: [("", 0); Table::SLOTS] }
    }

    const fn insert(&mut self, name: &'static str, number: u16) {
        let mut slot = Table::slot(name);
        while !self.slots[slot].0.is_empty() {
            slot = (slot + 1) % Table::SLOTS;
        }
        self.slots[slot] = (name, number);
    }

    const fn with_newer(mut self) -> Table {
        let mut index = 0;
        while index < NEWER.len() {
            self.insert(NEWER[index].0, NEWER[index].1);
            index += 1;
        }
        self
    }

    fn get(&self, name: &str) -> Option<u32> {
        let mut slot = Table::slot(name);
        loop {
            match self.slots[slot] {
                ("", _) => return None,
                (found, number) if found == name => return Some(u32::from(number)),
                _ => slot = (slot + 1) % Table::SLOTS,
            }
        }
    }

    /// FNV-1a, folded to the size of the table.
    const fn slot(name: &str) -> usize {
        let bytes = name.as_bytes();
        let mut hash: u32 = 0x811c_9dc5;
        let mut index = 0;
        while index < bytes.len() {
            hash = (hash ^ bytes[index] as u32).wrapping_mul(0x0100_0193);
            index += 1;
        }
        (hash ^ (hash >> 16)) as usize % Table::SLOTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_own_number_in_each_abi() {
        let numbers = |name| [Abi::X86_64, Abi::X32, Abi::I386].map(|abi| abi.number(name));
        assert_eq!(numbers("read"), [Some(0), Some(0), Some(3)]);
        assert_eq!(numbers("execve"), [Some(59), Some(520), Some(11)]);
        assert_eq!(numbers("pwritev2"), [Some(328), Some(547), Some(379)]);
        assert_eq!(numbers("socketcall"), [None, None, Some(102)]);
        assert_eq!(numbers("break"), [None, None, Some(17)]);
        assert_eq!(numbers("uselib"), [Some(134), None, Some(86)]);
        assert_eq!(numbers("file_setattr"), [Some(469); 3]);
        assert_eq!(numbers("rseq_slice_yield"), [Some(471); 3]);
        assert_eq!(numbers("no_such_call"), [None; 3]);
        assert_eq!(numbers(""), [None; 3]);
    }

    #[test]
    fn the_tables_hold_every_name_of_the_crate_once() {
        let filled = |table: &Table| table.slots.iter().filter(|slot| !slot.0.is_empty()).count();
        assert_eq!(filled(&X86_64), x86_64::Sysno::count() + NEWER.len());
        assert_eq!(filled(&I386), x86::Sysno::count() + NEWER.len());
        for (name, number) in NEWER {
            assert_eq!(name.parse::<x86_64::Sysno>(), Err(()), "the crate has `{name}` by now");
            assert!(x86_64::Sysno::new(usize::from(number)).is_none());
        }
    }
}
