//! Signal masks, dispositions and signalfd(2).

use crate::{Result, check, last_errno};
use rustix::process::Signal;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A signal mask, as sigprocmask(2) takes and returns it.
#[derive(Clone, Copy)]
pub struct Mask(libc::sigset_t);

impl Mask {
    /// Every signal that can be blocked.
    pub fn full() -> Mask {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigfillset initialises the whole set that the pointer, valid for writes, points to.
        let rc = unsafe { libc::sigfillset(set.as_mut_ptr()) };
        debug_assert_eq!(rc, 0);
        // SAFETY: initialised by the call above, which cannot fail for a valid pointer.
        Mask(unsafe { set.assume_init() })
    }

    /// No signal.
    pub fn empty() -> Mask {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the whole set that the pointer, valid for writes, points to.
        let rc = unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        debug_assert_eq!(rc, 0);
        // SAFETY: initialised by the call above, which cannot fail for a valid pointer.
        Mask(unsafe { set.assume_init() })
    }

    /// The same without these signals.
    #[must_use]
    pub fn without(mut self, signals: &[Signal]) -> Mask {
        for signal in signals {
            // SAFETY: the set is initialised and ours alone; an invalid number is refused by the call.
            let rc = unsafe { libc::sigdelset(&raw mut self.0, signal.as_raw()) };
            debug_assert_eq!(rc, 0);
        }
        self
    }

    /// The same with this signal.
    #[must_use]
    pub fn with(mut self, signal: Signal) -> Mask {
        // SAFETY: the set is initialised and ours alone; an invalid number is refused by the call, not stored.
        let rc = unsafe { libc::sigaddset(&raw mut self.0, signal.as_raw()) };
        debug_assert_eq!(rc, 0);
        self
    }

    /// Every signal that a program may block, the real-time ones among them, but these.
    ///
    /// 32 and 33 are the C library's own. musl also keeps 34, elsewhere known as SIGRTMIN, which it needs only where several
    /// threads change their user id: while the mask holds, this program must not.
    pub fn all_but(signals: &[Signal]) -> Mask {
        const FIRST_REAL_TIME: usize = 34;
        let mut mask = Mask::full();
        let bits = libc::c_ulong::BITS as usize;
        let words = (&raw mut mask.0).cast::<libc::c_ulong>();
        // SAFETY: a signal set of Linux is an array of unsigned longs with room for 64 signals at least; this one is
        // initialised and ours alone.
        let word = unsafe { &mut *words.wrapping_add((FIRST_REAL_TIME - 1) / bits) };
        // The lowest bit of the first is that of signal 1.
        *word |= 1 << ((FIRST_REAL_TIME - 1) % bits);
        mask.without(signals)
    }

    /// Exactly these signals.
    pub fn of(signals: &[Signal]) -> Mask {
        let mut mask = Mask::empty();
        for signal in signals {
            // SAFETY: the set is initialised and ours alone; an invalid number is refused by the call, not stored.
            let rc = unsafe { libc::sigaddset(&raw mut mask.0, signal.as_raw()) };
            debug_assert_eq!(rc, 0);
        }
        mask
    }
}

/// Replaces the calling thread's signal mask and returns the old one.
pub fn set_mask(mask: &Mask) -> Mask {
    let mut old = MaybeUninit::uninit();
    // SAFETY: both pointers are valid for the call; a blocked signal changes no memory of ours.
    let rc =
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask.0, old.as_mut_ptr()) };
    debug_assert_eq!(rc, 0, "SIG_SETMASK with a valid set cannot fail");
    // SAFETY: the call above filled it in.
    Mask(unsafe { old.assume_init() })
}

/// Sets the disposition of `signal` back to the default. Errors (SIGKILL, SIGSTOP) are of no consequence and dropped.
///
/// Rust's start-up code ignores SIGPIPE, and an ignored signal stays ignored across execve(2): a program in a container
/// would never be told that its reader went away.
pub fn set_default(signal: Signal) {
    // SAFETY: SIG_DFL installs no handler, so no code of ours can run in signal context.
    unsafe { libc::signal(signal.as_raw(), libc::SIG_DFL) };
}

/// Lets what asks a program to end (SIGTERM, SIGINT, SIGHUP, SIGQUIT) end this process, until the next execve(2), which sets a handler
/// back to the default.
///
/// The first process of a pid namespace is never ended by a default disposition (pid_namespaces(7)): the signal would be lost.
pub fn end_when_asked() {
    extern "C" fn end(signal: libc::c_int) {
        // SAFETY: `_exit` is async-signal-safe and does not return, so nothing that was interrupted is ever seen half done.
        unsafe { libc::_exit(128 + signal) }
    }
    let action = Action { handler: end, flags: SA_RESTORER, restorer: end, mask: 0 };
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        // SAFETY: the structure is the kernel's own and is only read. The handler lives as long as the program, touches nothing of ours
        // and never returns, so that nobody ever comes to the restorer.
        unsafe {
            let (new, old) = (&raw const action, std::ptr::null_mut::<Action>());
            libc::syscall(libc::SYS_rt_sigaction, signal, new, old, size_of::<u64>());
        }
    }
}

/// `struct sigaction` as the kernel has it, on x86-64 and aarch64 alike. The C library's function makes a system call more for the first
/// handler, to unblock signals of its own.
#[repr(C)]
struct Action {
    handler: extern "C" fn(libc::c_int),
    flags: libc::c_ulong,
    restorer: extern "C" fn(libc::c_int),
    mask: u64,
}

/// x86-64 takes no handler without a restorer (asm/signal.h).
const SA_RESTORER: libc::c_ulong = 0x0400_0000;

/// What programs are started with ignored: by nohup, in the background of a shell, under a daemon, by a program in Python (SIGXFSZ), and
/// by ourselves (SIGPIPE).
const OFTEN_IGNORED: [Signal; 13] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::PIPE,
    Signal::ALARM,
    Signal::TERM,
    Signal::CHILD,
    Signal::TSTP,
    Signal::TTIN,
    Signal::TTOU,
    Signal::XFSZ,
];

/// Gives a program that is about to be executed the dispositions and the mask that it expects: the default, and none blocked.
///
/// A shell cannot even trap what was ignored when it was started: a container of an engine that runs under nohup would never hear
/// of its SIGHUP. The signals that nobody ignores are left alone, because each costs every container a system call.
pub fn reset_for_exec() {
    for signal in OFTEN_IGNORED {
        set_default(signal);
    }
    set_mask(&Mask::empty());
}

/// One signal read from a [`SignalFd`].
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// The signal's number.
    pub signal: i32,
    /// Who sent it; 0 for the kernel.
    pub sender: u32,
    /// Of SIGCHLD: whether the child was ended by a signal.
    pub killed: bool,
}

/// Signals as data: readable when one of the signals of its mask is pending. The caller blocks them first.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Opens a non-blocking, close-on-exec signalfd for `mask`.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new(mask: &Mask) -> Result<SignalFd> {
        // SAFETY: the mask is initialised; -1 asks for a new fd.
        let fd = unsafe {
            libc::signalfd(-1, &raw const mask.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if fd < 0 {
            return Err(last_errno());
        }
        // SAFETY: a fresh fd that nobody else knows.
        Ok(SignalFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next pending signal, if there is one.
    ///
    /// # Errors
    /// Whatever read(2) reports other than `EAGAIN` and `EINTR`.
    pub fn read(&self) -> Result<Option<Received>> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer is valid for writes of `size` bytes, which is the size the kernel writes as a whole.
        let n = unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        match n {
            n if n == size.cast_signed() => {
                // SAFETY: the kernel wrote a whole record.
                let info = unsafe { info.assume_init() };
                Ok(Some(Received {
                    signal: info.ssi_signo.cast_signed(),
                    sender: info.ssi_pid,
                    killed: matches!(info.ssi_code, libc::CLD_KILLED | libc::CLD_DUMPED),
                }))
            }
            -1 => match last_errno() {
                rustix::io::Errno::AGAIN | rustix::io::Errno::INTR => Ok(None),
                errno => Err(errno),
            },
            _ => Ok(None),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sends a signal by number to the process behind a pidfd: real-time signals and signal 0 included.
///
/// # Errors
/// `ESRCH` when the process is gone, `EPERM`, `EINVAL` for an unknown number.
pub fn send(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: the fd is open for the length of the call; a null siginfo asks the kernel to fill it in.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::c_void>(),
            0,
        )
    };
    check(ret).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_of_all_holds_every_signal_but_those_of_the_c_library() {
        let before = set_mask(&Mask::all_but(&[Signal::USR2]));
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        set_mask(&before);
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        let blocked = u64::from_str_radix(blocked.trim(), 16).unwrap();
        let open = (1..=64).filter(|number| blocked & (1 << (number - 1)) == 0);
        let (kill, stop) = (Signal::KILL.as_raw(), Signal::STOP.as_raw());
        assert_eq!(open.collect::<Vec<_>>(), [kill, Signal::USR2.as_raw(), stop, 32, 33]);
    }
}
