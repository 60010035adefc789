//! ptrace(2), for one question: which seccomp filter a process has. Nothing of the process changes; it stops for a moment.

use std::ffi::c_long;

use rustix::io::Errno;
use rustix::process::Pid;

use crate::seccomp::Instruction;
use crate::{Result, check};

const DETACH: c_long = 17;
const SEIZE: c_long = 0x4206;
const INTERRUPT: c_long = 0x4207;
const SECCOMP_GET_FILTER: c_long = 0x420c;

/// The filter that was installed first in the main thread of a process, as classic BPF.
///
/// # Errors
/// `EPERM` for a process that this one may not trace; `ESRCH` when it has ended; `EINVAL` when it has no filter or the kernel does not
/// tell (it needs `CONFIG_CHECKPOINT_RESTORE`); `EACCES` without `CAP_SYS_ADMIN`, and when the calling thread is filtered itself.
pub fn first_filter(pid: Pid) -> Result<Vec<Instruction>> {
    let number = pid.as_raw_nonzero().get();
    // SAFETY: this request takes numbers only.
    unsafe { request(SEIZE, number, 0, std::ptr::null_mut()) }?;
    let (held, filter) = match stop(number) {
        Ok(status) => (held_signal(status), read_filter(number)),
        Err(errno) => (0, Err(errno)),
    };
    let held = std::ptr::without_provenance_mut(held);
    // SAFETY: as above; what would be data is the number of a signal. A process that has ended needs no detaching.
    let _ = unsafe { request(DETACH, number, 0, held) };
    filter
}

/// The signal on its way to a process that stopped, by its wait status, to be given to it when it goes on: it would be lost. 0 when
/// what has stopped it is ours, or a stop of its whole process (the upper half of the status names an event then, ptrace(2)).
fn held_signal(status: i32) -> usize {
    match status >> 16 {
        0 => usize::try_from(libc::WSTOPSIG(status)).unwrap_or(0),
        _ => 0,
    }
}

/// Stops it, and returns the wait status that says so.
fn stop(pid: i32) -> Result<i32> {
    // SAFETY: this request takes numbers only.
    unsafe { request(INTERRUPT, pid, 0, std::ptr::null_mut()) }?;
    let mut status = 0;
    loop {
        // SAFETY: the pointer is to a live local of the type that waitpid writes.
        match check(unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) }.into()) {
            Ok(_) if libc::WIFSTOPPED(status) => return Ok(status),
            Ok(_) => return Err(Errno::SRCH),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn read_filter(pid: i32) -> Result<Vec<Instruction>> {
    // SAFETY: without a buffer the kernel writes nothing and returns the number of instructions.
    let length = unsafe { request(SECCOMP_GET_FILTER, pid, 0, std::ptr::null_mut()) }?;
    let length = usize::try_from(length).map_err(|_| Errno::INVAL)?;
    let mut program = vec![Instruction { code: 0, jt: 0, jf: 0, k: 0 }; length];
    // SAFETY: the kernel writes as many instructions as it has said: a filter never changes, and the process stands still.
    unsafe { request(SECCOMP_GET_FILTER, pid, 0, program.as_mut_ptr().cast()) }?;
    Ok(program)
}

/// # Safety
/// `data` must be what the request wants.
unsafe fn request(
    request: c_long,
    pid: i32,
    address: c_long,
    data: *mut std::ffi::c_void,
) -> Result<c_long> {
    // SAFETY: the caller answers for `data`, and the rest are numbers.
    check(unsafe { libc::syscall(libc::SYS_ptrace, request, c_long::from(pid), address, data) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_signal_that_stopped_it_first_is_not_lost() {
        let (term, trap) = (libc::SIGTERM, libc::SIGTRAP);
        assert_eq!(held_signal(term << 8 | 0x7f), term as usize);
        assert_eq!(held_signal(128 << 16 | trap << 8 | 0x7f), 0, "PTRACE_EVENT_STOP");
    }

    #[test]
    fn a_process_without_a_filter_is_left_as_it_was() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let asked = first_filter(Pid::from_child(&child));
        assert!(matches!(asked, Err(Errno::INVAL | Errno::PERM | Errno::ACCESS)), "{asked:?}");
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(first_filter(Pid::from_child(&child)), Err(Errno::SRCH));
    }
}
