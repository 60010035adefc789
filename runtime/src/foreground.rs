//! A process in the foreground: signals are passed on, orphans reaped, the terminal relayed, the exit status returned.
//!
//! All signals are blocked before the process is made and read from an fd afterwards, so that none is lost, not even the
//! SIGCHLD of a container that exits at once. With a terminal, two are not: the kernel sends SIGTTIN and SIGTTOU to a job in the
//! background that touches its terminal, which stops it until the shell brings it to the foreground.

mod flow;
mod output;
mod terminal;

use crate::error::{Error, Result};
use crate::interrupt::{ENDING, Interrupt};
use crate::log;
use crate::sd_notify::{Notify, Relay};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, wait};
use std::os::fd::{AsFd, OwnedFd};
use sys::signals::{self, Mask, SignalFd};
use terminal::Terminal;

const SIGPIPE: i32 = 13;
const SIGCHLD: i32 = 17;
const SIGCONT: i32 = 18;
const SIGURG: i32 = 23;
const SIGWINCH: i32 = 28;

/// Ready for a process in the foreground.
#[derive(Debug)]
pub struct Foreground {
    signals: SignalFd,
    /// Where the master of its terminal arrives.
    console: Option<OwnedFd>,
    /// Its terminal, once it has arrived.
    terminal: Option<Terminal>,
    /// What it says by sd_notify(3), where somebody wants to hear it.
    relay: Option<Relay>,
}

/// By which whoever follows a process is told to end before there is a program to pass that on to: a hook may take any time, and so may a
/// mount, or a cgroup that somebody has paused. The signals are blocked by then.
///
/// # Errors
/// When it cannot be had.
pub fn interrupt() -> Result<Interrupt> {
    let failed = |errno| Error::system("prepare for signals while the process is made", errno);
    Interrupt::new().map_err(failed)
}

impl Foreground {
    /// Blocks the signals. With `terminal` the second value is where the process sends its terminal's master.
    ///
    /// # Errors
    /// When the fds cannot be made.
    pub fn prepare(terminal: bool) -> Result<(Foreground, Option<OwnedFd>)> {
        let failed = |errno| Error::system("prepare for a process in the foreground", errno);
        // What is blocked does not stop us: we would change the terminal under the shell, and find its input at an end.
        let ours: &[Signal] = if terminal { &[Signal::TTIN, Signal::TTOU] } else { &[] };
        let mask = Mask::full().without(ours);
        signals::set_mask(&mask);
        let signals = SignalFd::new(&mask).map_err(failed)?;
        let (console, theirs) = if terminal {
            let (ours, theirs) = terminal::socket_pair().map_err(failed)?;
            (Some(ours), Some(theirs))
        } else {
            (None, None)
        };
        Ok((Foreground { signals, console, terminal: None, relay: None }, theirs))
    }

    /// Takes the terminal of a process that is ready: before its program runs, which is to find the size of ours, and
    /// none of whose input is to be echoed by ours.
    ///
    /// # Errors
    /// When the terminal cannot be had.
    pub fn attach(&mut self) -> Result<()> {
        let failed =
            |errno| Error::system("take the terminal of the process in the foreground", errno);
        let master = self.console.as_ref().map(terminal::receive).transpose().map_err(failed)?;
        self.terminal = master.map(Terminal::attach).transpose().map_err(failed)?;
        Ok(())
    }

    /// From [`Foreground::wait`] on, passes on that the process is ready.
    ///
    /// # Errors
    /// When the fds cannot be made.
    pub fn pass_on(&mut self, notify: Option<Notify>) -> Result<()> {
        let relay = notify.map(|notify| Relay::beside(self.signals.as_fd(), notify));
        self.relay = relay.transpose()?;
        Ok(())
    }

    /// Follows the process to its end. Returns its exit status, or 128 and the signal that killed it.
    ///
    /// Before the first signal is looked at, `executed` says that its program was executed, or why not: a signal is for the program. It
    /// is asked again, once and with `true`, where a signal may have ended the process: the end of one that never executed anything is no
    /// status.
    ///
    /// # Errors
    /// That of `executed`; when a system call that cannot fail does.
    pub fn wait(
        mut self,
        pid: Pid,
        pidfd: &OwnedFd,
        mut executed: impl FnMut(bool) -> Result<()>,
    ) -> Result<u8> {
        let failed = |errno| Error::system("follow the process in the foreground", errno);
        let (mut terminal, mut relay) = (self.terminal.take(), self.relay.take());
        let (mut is_executed, mut is_known) = (false, false);
        loop {
            // Blocked since before there was a process, the signal of its end is never missed.
            let awaited = relay.as_ref().map_or(self.signals.as_fd(), Relay::awaited);
            let signalled = match &mut terminal {
                Some(attached) => attached.relay(awaited).unwrap_or_else(|errno| {
                    hang_up(terminal.take(), errno);
                    false
                }),
                None => {
                    let awaited = PollFd::from_borrowed_fd(awaited, PollFlags::IN);
                    terminal::wait(&mut [awaited], None).map(|()| true).map_err(failed)?
                }
            };
            if !is_executed {
                executed(false)?;
                is_executed = true;
            }
            if !signalled {
                continue;
            }
            // Before its end is looked at: its last word may have been that it is ready.
            if let Some(relay) = &mut relay {
                relay.pass_on();
            }
            if self.pending(pid, pidfd, terminal.as_ref()).map_err(failed)? && !is_known {
                executed(true)?;
                is_known = true;
            }
            let Some(status) = reap(pid).map_err(failed)? else { continue };
            if let Some(terminal) = &mut terminal {
                // The status is worth more than the output that cannot be shown.
                let _ = self.show_rest(terminal);
            }
            return Ok(status);
        }
    }

    /// Handles every pending signal. Whether one of them says that the process was killed, or may have taken the place of one that does:
    /// of several children that have ended, the kernel tells of the first (signal(7)).
    fn pending(
        &self,
        pid: Pid,
        pidfd: &OwnedFd,
        terminal: Option<&Terminal>,
    ) -> std::result::Result<bool, Errno> {
        let mut killed = false;
        while let Some(received) = self.signals.read()? {
            match received.signal {
                SIGCHLD => {
                    killed |= received.killed
                        || received.sender != pid.as_raw_nonzero().get().cast_unsigned();
                }
                // Our terminal may be gone, which reading and writing tell.
                SIGWINCH if terminal.is_some() => {
                    let _ = terminal.map(Terminal::resize);
                }
                SIGCONT => {
                    // The shell had the terminal meanwhile.
                    let _ = terminal.map(Terminal::take_again);
                    let _ = signals::send(pidfd.as_fd(), SIGCONT);
                }
                // About our own sockets, or none of the container's business.
                SIGPIPE | SIGURG => {}
                // It may be gone already, which its end will tell.
                signal => drop(signals::send(pidfd.as_fd(), signal)),
            }
        }
        Ok(killed)
    }

    /// Shows what is left after the process has ended, unless we are told to end as well while our stdout takes nothing: there
    /// is nobody any more to pass that on to, and nothing but SIGKILL would end us.
    fn show_rest(&self, terminal: &mut Terminal) -> std::result::Result<(), Errno> {
        while terminal.has_more()? {
            if !terminal.show_more(self.signals.as_fd())? && self.told_to_end()? {
                break;
            }
        }
        Ok(())
    }

    /// Whether one of the pending signals asks to end.
    fn told_to_end(&self) -> std::result::Result<bool, Errno> {
        let mut told = false;
        while let Some(received) = self.signals.read()? {
            told |= ENDING.iter().any(|ending| ending.as_raw() == received.signal);
        }
        Ok(told)
    }
}

/// Gives the process's terminal up when ours cannot be served: it hears what it would hear from one whose window is closed, and goes on
/// or ends as it likes (as with runc). A reader who has enough, such as head(1), is no news.
fn hang_up(terminal: Option<Terminal>, errno: Errno) {
    drop(terminal);
    if errno != Errno::PIPE {
        log::tell(&format!("the terminal hangs up: {}", sys::text(errno)));
    }
}

/// Reaps every child that has ended: the process, and as a subreaper its orphans.
fn reap(pid: Pid) -> std::result::Result<Option<u8>, Errno> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((ended, status))) if ended == pid => return Ok(Some(exit_status(status))),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return Ok(None),
            Err(errno) => return Err(errno),
        }
    }
}

fn exit_status(status: WaitStatus) -> u8 {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (_, Some(signal)) => 128 + signal,
        _ => 255,
    };
    u8::try_from(code & 0xff).unwrap_or(u8::MAX)
}
