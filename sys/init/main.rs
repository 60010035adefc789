//! The first process of a container that was made with `--init`: it starts the container's program, passes signals on to
//! it, collects every process that nobody else collects, and ends as the program ends.
//!
//! A program of its own, linked with the C library only and built into `nman` as bytes: a container gets a copy of
//! these few kilobytes and never an executable of the host. Called as `init [--] PROGRAM [ARG...]`.

#![no_std]
#![no_main]

use core::ffi::{c_char, c_int, c_void};
use core::ptr::{null, null_mut};

#[link(name = "c", kind = "static")]
unsafe extern "C" {
    fn fork() -> c_int;
    fn execvp(file: *const c_char, argv: *const *const c_char) -> c_int;
    fn _exit(code: c_int) -> !;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn getpid() -> c_int;
    fn setpgid(pid: c_int, group: c_int) -> c_int;
    fn tcsetpgrp(fd: c_int, group: c_int) -> c_int;
    fn sigfillset(set: *mut Signals) -> c_int;
    fn sigprocmask(how: c_int, set: *const Signals, old: *mut Signals) -> c_int;
    fn sigwaitinfo(set: *const Signals, info: *mut c_void) -> c_int;
    fn write(fd: c_int, bytes: *const c_void, count: usize) -> isize;
    fn strlen(text: *const c_char) -> usize;
    fn strcmp(a: *const c_char, b: *const c_char) -> c_int;
    fn strerror(errno: c_int) -> *const c_char;
    fn __errno_location() -> *mut c_int;
}

/// `sigset_t` of musl.
#[repr(C)]
struct Signals([u64; 16]);

const SIG_SETMASK: c_int = 2;
const SIGCHLD: c_int = 17;
const WNOHANG: c_int = 1;
const ENOENT: c_int = 2;

/// # Safety
/// Called by the C library's start-up code with the arguments of the program, the last of them followed by null.
#[unsafe(no_mangle)]
unsafe extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    let mut first = 1;
    // SAFETY: `arguments` has `count` strings, of which this looks at the second only if it is there.
    if count > 1 && unsafe { strcmp(*arguments.add(1), c"--".as_ptr()) } == 0 {
        first = 2;
    }
    if usize::try_from(count).unwrap_or(0) <= first {
        say(c"no program to run");
        return 125;
    }
    // SAFETY: within the strings, as was just checked; what follows the last one is null.
    let program = unsafe { arguments.add(first) };
    let mut all = Signals([0; 16]);
    let mut before = Signals([0; 16]);
    // SAFETY: both sets are ours and as large as the C library's.
    unsafe { sigfillset(&raw mut all) };
    // SAFETY: as above; from here on a signal waits until it is asked for.
    unsafe { sigprocmask(SIG_SETMASK, &raw const all, &raw mut before) };
    // SAFETY: this process has one thread, and shares nothing with the child that either changes.
    match unsafe { fork() } {
        -1 => {
            complain(c"cannot fork", null());
            125
        }
        // SAFETY: `program` is the end of a list of arguments.
        0 => unsafe { become_program(program, &before) },
        child => watch_over(child, &all),
    }
}

/// # Safety
/// `program` is a list of strings that ends with null.
unsafe fn become_program(program: *const *const c_char, mask: &Signals) -> ! {
    // In a process group of its own, which has the terminal if there is one: keys that make signals reach it and not us.
    // SAFETY: concerns this process only; a descriptor that is no terminal is refused.
    unsafe { setpgid(0, 0) };
    // SAFETY: as above. SIGTTOU is blocked, so that it does not stop us.
    unsafe { tcsetpgrp(0, getpid()) };
    // SAFETY: the mask was filled in by the C library.
    unsafe { sigprocmask(SIG_SETMASK, mask, null_mut()) };
    // SAFETY: by the contract of this function.
    let name = unsafe { *program };
    // SAFETY: as above; it returns only if it fails.
    unsafe { execvp(name, program) };
    // SAFETY: the location of this thread's errno is always valid.
    let errno = unsafe { *__errno_location() };
    complain(c"cannot run", name);
    // SAFETY: ends this process.
    unsafe { _exit(if errno == ENOENT { 127 } else { 126 }) }
}

/// Until the program has ended: its exit code, 128 and the number for a signal.
fn watch_over(child: c_int, all: &Signals) -> c_int {
    loop {
        // SAFETY: the set is initialised; nothing more is asked about the signal than its number.
        let signal = unsafe { sigwaitinfo(all, null_mut()) };
        if signal == SIGCHLD {
            if let Some(code) = collect(child) {
                return code;
            }
        } else if signal > 0 {
            // SAFETY: the child is collected nowhere but in this loop, so the number is still its own.
            unsafe { kill(child, signal) };
        }
    }
}

fn collect(child: c_int) -> Option<c_int> {
    let mut ended = None;
    loop {
        let mut status = 0;
        // SAFETY: the status is ours to be written to.
        let pid = unsafe { waitpid(-1, &raw mut status, WNOHANG) };
        if pid <= 0 {
            return ended;
        }
        if pid == child {
            let signal = status & 0x7f;
            ended = Some(if signal == 0 { (status >> 8) & 0xff } else { 128 + signal });
        }
    }
}

fn say(text: &core::ffi::CStr) {
    put(c"init: ".as_ptr());
    put(text.as_ptr());
    put(c"\n".as_ptr());
}

/// Says what failed, on what (which may be null), and why.
fn complain(what: &core::ffi::CStr, object: *const c_char) {
    // SAFETY: the location of this thread's errno is always valid.
    let errno = unsafe { *__errno_location() };
    put(c"init: ".as_ptr());
    put(what.as_ptr());
    if !object.is_null() {
        put(c" `".as_ptr());
        put(object);
        put(c"`".as_ptr());
    }
    put(c": ".as_ptr());
    // SAFETY: returns a string of the C library's for every number.
    put(unsafe { strerror(errno) });
    put(c"\n".as_ptr());
}

fn put(text: *const c_char) {
    // SAFETY: every caller passes a string with its zero byte.
    let length = unsafe { strlen(text) };
    // SAFETY: the string has so many bytes. What cannot be said is not worth failing for.
    unsafe { write(2, text.cast(), length) };
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: ends this process.
    unsafe { _exit(125) }
}
