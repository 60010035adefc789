//! seccomp(2): installing a classic BPF filter, and asking the kernel which actions and flags it has.
//!
//! A filter binds the calling thread and everything that it starts from then on, for ever. Nothing here judges a program:
//! the kernel verifies it, and where its filters come from is the business of the caller. `install` neither allocates
//! nor formats, so that a child may call it as its last step before execve(2).

use crate::{Result, check};
use rustix::io::Errno;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// One instruction of a classic BPF program: `struct sock_filter` of `linux/filter.h`, field for field.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// The operation (`BPF_*`).
    pub code: u16,
    /// How many instructions to skip when a comparison holds.
    pub jt: u8,
    /// How many instructions to skip when it does not.
    pub jf: u8,
    /// The operand: a constant, an offset into `struct seccomp_data`, or a return value.
    pub k: u32,
}

/// `SECCOMP_RET_KILL_PROCESS`: end the whole process (Linux 4.14).
pub const RET_KILL_PROCESS: u32 = 0x8000_0000;
/// `SECCOMP_RET_KILL_THREAD`: end the calling thread.
pub const RET_KILL_THREAD: u32 = 0;
/// `SECCOMP_RET_TRAP`: send SIGSYS.
pub const RET_TRAP: u32 = 0x0003_0000;
/// `SECCOMP_RET_ERRNO`: fail with the errno in the low 16 bits.
pub const RET_ERRNO: u32 = 0x0005_0000;
/// `SECCOMP_RET_USER_NOTIF`: ask the listener (Linux 5.0).
pub const RET_USER_NOTIF: u32 = 0x7fc0_0000;
/// `SECCOMP_RET_TRACE`: hand over to a tracer with the message in the low 16 bits.
pub const RET_TRACE: u32 = 0x7ff0_0000;
/// `SECCOMP_RET_LOG`: allow, and write to the audit log (Linux 4.14).
pub const RET_LOG: u32 = 0x7ffc_0000;
/// `SECCOMP_RET_ALLOW`.
pub const RET_ALLOW: u32 = 0x7fff_0000;
/// `SECCOMP_RET_DATA`: the bits of a return value that carry an errno or a message.
pub const RET_DATA: u32 = 0x0000_ffff;

/// `SECCOMP_FILTER_FLAG_TSYNC`: bind every thread of the process.
pub const FLAG_TSYNC: u32 = 1;
/// `SECCOMP_FILTER_FLAG_LOG`: log every action but allow (Linux 4.14).
pub const FLAG_LOG: u32 = 1 << 1;
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`: leave speculative store bypass as it is (Linux 4.17).
pub const FLAG_SPEC_ALLOW: u32 = 1 << 2;
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`: return an fd for user notification (Linux 5.0).
pub const FLAG_NEW_LISTENER: u32 = 1 << 3;
/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`: only a fatal signal interrupts a received notification (Linux 5.19).
pub const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// The longest program that the kernel takes (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Installs `program` for the calling thread, and with `FLAG_NEW_LISTENER` returns the fd on which notifications arrive
/// (close-on-exec). From the return of this call on the filter judges the caller too.
///
/// # Errors
/// `EACCES` without both `no_new_privs` and `CAP_SYS_ADMIN`; `EINVAL` for a program or a combination of flags that the
/// kernel refuses, and for an empty or too long program; `EBUSY` when a listener is there already; `ESRCH` when
/// `FLAG_TSYNC` met a thread that could not follow.
pub fn install(program: &[Instruction], flags: u32) -> Result<Option<OwnedFd>> {
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        // The kernel copies the program and never writes to it; C has no way to say so.
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: `filter` points to `len` initialised instructions of the kernel's layout (checked below), all alive for the
    // call, which only reads them. No memory of this process changes, whatever the program does.
    let ret = check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter)
    })?;
    if flags & FLAG_NEW_LISTENER != 0 {
        let fd = RawFd::try_from(ret).map_err(|_| Errno::BADF)?;
        // SAFETY: with this flag a non-negative return value is an fd that the kernel has just opened for this call.
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }));
    }
    // Without TSYNC_ESRCH the id of the thread that could not follow is the return value, and nothing was installed.
    if ret == 0 { Ok(None) } else { Err(Errno::SRCH) }
}

const _: () = assert!(size_of::<Instruction>() == size_of::<libc::sock_filter>());
const _: () = assert!(align_of::<Instruction>() == align_of::<libc::sock_filter>());

/// Whether this kernel has an action, named by its `RET_*` value (`SECCOMP_GET_ACTION_AVAIL`, Linux 4.14; a kernel before
/// that says no to all).
pub fn action_is_available(action: u32) -> bool {
    // SAFETY: the kernel reads one u32 through the pointer, which is valid for the call.
    check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action)
    })
    .is_ok()
}

/// Whether this kernel has a filter flag. Nothing is installed: a known flag gets as far as the program's address, which
/// is null (`EFAULT`), and an unknown one is refused before (`EINVAL`).
///
/// `FLAG_WAIT_KILLABLE_RECV` is asked for together with `FLAG_NEW_LISTENER`, without which the kernel always refuses it.
pub fn flag_is_available(flag: u32) -> bool {
    let flags = match flag {
        FLAG_WAIT_KILLABLE_RECV => flag | FLAG_NEW_LISTENER,
        _ => flag,
    };
    // SAFETY: the null pointer is never followed by the kernel, which copies from user memory and reports EFAULT.
    let ret = check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            std::ptr::null::<libc::sock_fprog>(),
        )
    });
    ret == Err(Errno::FAULT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K

    const fn op(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
        Instruction { code, jt, jf, k }
    }

    /// Gives `verdict` for one system call, allows all others.
    fn filter(number: libc::c_long, verdict: u32) -> [Instruction; 4] {
        let number = u32::try_from(number).unwrap();
        [
            op(LOAD, 0, 0, 0),
            op(EQUAL, 0, 1, number),
            op(RETURN, 0, 0, verdict),
            op(RETURN, 0, 0, RET_ALLOW),
        ]
    }

    /// A filter binds a thread, so that each test spends one.
    fn in_a_thread<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            body()
        })
        .join()
        .unwrap()
    }

    #[test]
    fn an_installed_filter_refuses_the_call_in_its_thread_and_nowhere_else() {
        let inside = in_a_thread(|| {
            let program = filter(libc::SYS_getpgid, RET_ERRNO | 1);
            assert!(install(&program, 0).unwrap().is_none());
            rustix::process::getpgid(None)
        });
        assert_eq!(inside, Err(Errno::PERM));
        assert!(rustix::process::getpgid(None).is_ok());
    }

    #[test]
    fn a_notifying_filter_returns_a_listener_that_closes_on_exec() {
        let listener = in_a_thread(|| {
            let program = filter(libc::SYS_getpgid, RET_USER_NOTIF);
            install(&program, FLAG_NEW_LISTENER).unwrap()
        })
        .expect("a listener was asked for");
        let flags = rustix::io::fcntl_getfd(listener.as_fd()).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }

    #[test]
    fn a_program_that_the_kernel_refuses_is_an_error_and_not_a_thread_without_filter() {
        in_a_thread(|| {
            assert_eq!(install(&[], 0).unwrap_err(), Errno::INVAL);
            let endless = [op(LOAD, 0, 0, 0)];
            assert_eq!(install(&endless, 0).unwrap_err(), Errno::INVAL);
            let long = vec![op(RETURN, 0, 0, RET_ALLOW); MAX_INSTRUCTIONS + 1];
            assert_eq!(install(&long, 0).unwrap_err(), Errno::INVAL);
            let wrapped = vec![op(RETURN, 0, 0, RET_ALLOW); 0x1_0001];
            assert_eq!(install(&wrapped, 0).unwrap_err(), Errno::INVAL);
        });
    }

    #[test]
    fn the_kernel_knows_its_actions_and_flags_and_no_others() {
        for action in [RET_ALLOW, RET_ERRNO, RET_LOG, RET_KILL_PROCESS, RET_USER_NOTIF] {
            assert!(action_is_available(action), "{action:#x}");
        }
        assert!(!action_is_available(0x1234_0000));
        for flag in [FLAG_TSYNC, FLAG_LOG, FLAG_SPEC_ALLOW, FLAG_NEW_LISTENER] {
            assert!(flag_is_available(flag), "{flag:#x}");
        }
        assert!(!flag_is_available(1 << 30));
    }
}
