//! The entry of a program that starts without the standard library's preparations.
//!
//! Rust's own `main` makes some fifteen system calls before the program's first line: a signal stack and handlers that would
//! print a word about a stack overflow, and two that matter, which are made here too. That is a third of what a short command
//! costs.

use crate::last_errno;
use rustix::io::Errno;
use std::ffi::{CStr, OsString, c_char, c_int};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Makes `$main`, a `fn(&[OsString]) -> u8`, what the program begins with: from its arguments, its own name among them, to its
/// exit status. The crate has to be `#![no_main]`. What is printed must be flushed, for nothing does so at the end.
///
/// `$first`, a `fn(Arguments)`, comes before everything else: standard streams may be closed, and nothing was allocated yet.
#[macro_export]
macro_rules! entry {
    ($first:path, $main:path) => {
        #[doc(hidden)]
        #[unsafe(no_mangle)]
        extern "C" fn main(
            count: ::core::ffi::c_int,
            arguments: *const *const ::core::ffi::c_char,
        ) -> ::core::ffi::c_int {
            // SAFETY: the C library calls this once, with the arguments that the kernel gave it.
            unsafe { $crate::entry::run(count, arguments, $first, $main) }
        }
    };
}

/// The arguments, the program's own name first, where they are.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    count: usize,
    first: *const *const c_char,
}

impl Iterator for Arguments {
    type Item = &'static CStr;

    fn next(&mut self) -> Option<&'static CStr> {
        self.count = self.count.checked_sub(1)?;
        // SAFETY: one was left, so that there is a pointer here, which `run` was promised.
        let text = unsafe { *self.first };
        // SAFETY: behind it is another, or the null pointer at the end of the array.
        self.first = unsafe { self.first.add(1) };
        // SAFETY: it is a C string that stays for as long as the process, which `run` was promised too.
        Some(unsafe { CStr::from_ptr(text) })
    }
}

/// What [`entry!`] calls.
///
/// # Safety
/// `arguments` points to `count` C strings that stay for as long as the process, and a null pointer; nobody else runs yet.
#[doc(hidden)]
pub unsafe fn run(
    count: c_int,
    arguments: *const *const c_char,
    first: fn(Arguments),
    main: fn(&[OsString]) -> u8,
) -> ! {
    ARGUMENTS.store(arguments.cast_mut(), Ordering::Relaxed);
    let arguments = Arguments { count: usize::try_from(count).unwrap_or(0), first: arguments };
    first(arguments);
    occupy_standard_streams();
    // SAFETY: nothing is called by the signal, it is ignored: a write to who has gone is an error, not our death.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let words: Vec<_> =
        arguments.map(|text| OsString::from_vec(text.to_bytes().to_vec())).collect();
    let status = main(&words);
    // SAFETY: it ends the process, without what the C library does at the end of one that used it: nothing is buffered there.
    unsafe { libc::_exit(status.into()) }
}

/// The arguments as the kernel gave them, ended by a null pointer; null in a program that has not begun with [`entry!`].
static ARGUMENTS: AtomicPtr<*const c_char> = AtomicPtr::new(std::ptr::null_mut());

/// Replaces the program of this process by the file behind `fd`, with the same arguments and environment. Returns only if that
/// failed; with `EINVAL` in a program that has not begun with [`entry!`].
pub fn again(fd: BorrowedFd<'_>) -> Errno {
    let arguments = ARGUMENTS.load(Ordering::Relaxed);
    if arguments.is_null() {
        return Errno::INVAL;
    }
    // SAFETY: only read, and nothing in a program that is entered here changes its environment.
    let environment = unsafe { environ };
    // SAFETY: the fd is open for the length of the call, the empty path is a C string, and the C library keeps the arguments and
    // the environment as the null-terminated arrays that the kernel made.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd.as_raw_fd(),
            c"".as_ptr(),
            arguments,
            environment,
            libc::AT_EMPTY_PATH,
        )
    };
    last_errno()
}

unsafe extern "C" {
    /// environ(7).
    static environ: *const *const c_char;
}

/// Opens /dev/null for each standard stream that is closed: otherwise the next file that is opened would be one, and a container
/// would be handed whatever that is (class B).
fn occupy_standard_streams() {
    let mut streams = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: the kernel writes what it finds into the three elements that it is told of.
    let asked = unsafe { libc::poll(streams.as_mut_ptr(), 3, 0) };
    for stream in &streams {
        if asked >= 0 && stream.revents & libc::POLLNVAL == 0 {
            continue;
        }
        // SAFETY: the path is a C string. The lowest number that is free is the stream's, since they are looked at in order;
        // where the call has failed, those that are open stay and one more file does no harm.
        if unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) } < 0 {
            // SAFETY: ends the process. Without standard streams nothing is started, as in the standard library.
            unsafe { libc::abort() };
        }
    }
}
