//! Being told to end before there is a program to pass that on to: while the process is set up, and while hooks are at work.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;
use std::os::fd::{AsFd, BorrowedFd};
use sys::signals::{Mask, SignalFd};

/// By which a user or a supervisor asks a program to end.
pub const ENDING: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

/// By which whoever runs a container in the foreground is told to end before there is a program to pass that on to. Nothing but the one
/// signal that is told of is taken away from the program.
#[derive(Debug)]
pub struct Interrupt(SignalFd);

impl Interrupt {
    /// Of a process that has blocked the signals.
    ///
    /// # Errors
    /// When the fd cannot be made.
    pub fn new() -> Result<Interrupt, Errno> {
        SignalFd::new(&Mask::of(&ENDING)).map(Interrupt)
    }

    /// Takes the signal, if there was one.
    pub fn signal(&self) -> Option<i32> {
        Some(self.0.read().ok()??.signal)
    }

    /// Whether there was one, which is left for the program.
    pub fn is_there(&self) -> bool {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&at_once)) == Ok(1)
    }
}

impl AsFd for Interrupt {
    /// Readable when there was one.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
