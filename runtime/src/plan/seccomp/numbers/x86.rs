//! The ABIs that an x86-64 kernel serves.

use super::NEWER;
use super::table::Table;
use syscalls::{x86, x86_64};

pub(super) static TABLE: Table = build();

const fn build() -> Table {
    let mut table = Table::empty();
    let mut number = 0;
    while number < END {
        if let Some(call) = x86_64::Sysno::new(number) {
            table.add_native(call.name(), number as u16);
        }
        if let Some(call) = x86::Sysno::new(number) {
            // The crate spells this name as Rust source.
            let name = if matches!(call, x86::Sysno::r#break) { "break" } else { call.name() };
            table.add_compat(name, number as u16);
        }
        number += 1;
    }
    table.add_to_both(&NEWER);
    table.add_operations(false, &SOCKET_OPERATIONS);
    table.add_operations(true, &IPC_OPERATIONS);
    table
}

/// Beyond the last number of either ABI in the crate.
const END: usize = 512;

/// What x32 calls the system call of an x86-64 number: the same, a number of its own where its structures differ (from 512
/// on), or nothing where x86-64 keeps it for itself.
///
/// Source: `arch/x86/entry/syscalls/syscall_64.tbl`, where the column `abi` is `x32` or `64`.
pub(super) fn x32_number(number: u32) -> Option<u32> {
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
pub(super) const SOCKETCALL: u32 = 102;
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
pub(super) const IPC: u32 = 117;
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
