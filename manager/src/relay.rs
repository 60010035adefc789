//! Moves bytes between our own stdio and a process that we are the parent of, until it has ended.
//!
//! The counterpart of the monitor's pump for `nman exec`, where nobody else is attached and nothing is logged. One
//! chunk in each direction is all that is kept, and neither keeps signals from being passed on.

use crate::detach::{DetachKeys, Watcher};
use crate::error::{Error, Result};
use crate::monitor::stdio::{Ends, Reading};
use crate::outlet::Outlets;
use crate::proxy;
use crate::terminal::{self, Raw};
use crate::wire::CHUNK;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, waitpid};
use rustix::stdio;
use rustix::termios::{Winsize, tcsetwinsize};
use std::os::fd::{AsFd as _, OwnedFd};
use sys::signals::SignalFd;

/// How it was left.
pub enum Left {
    /// It has ended with this exit code.
    Ended(u8),
    /// The detach keys were typed: it runs, on this terminal, which somebody has to read.
    Detached(OwnedFd),
}

/// Relays until process `pid`, a child of ours, has ended, or the detach keys are typed.
pub fn relay(pid: i32, ends: Ends, interactive: bool, keys: DetachKeys) -> Result<Left> {
    let child = Pid::from_raw(pid).ok_or(Errno::SRCH).map_err(Error::system("find the command"))?;
    let pidfd =
        pidfd_open(child, PidfdFlags::empty()).map_err(Error::system("open the command"))?;
    let mask = if ends.terminal { proxy::but_for_jobs() } else { proxy::passed_on(interactive) };
    let mask = mask.with(Signal::CHILD);
    let before = sys::signals::set_mask(&mask);
    let raw = match interactive && ends.terminal && terminal::stdin_is_terminal() {
        true => Some(Raw::enter()?),
        false => None,
    };
    let signals = SignalFd::new(&mask).map_err(Error::system("watch signals"));
    let code = signals.and_then(|signals| {
        let relay = Relay {
            ends,
            child,
            pidfd,
            signals,
            reading: interactive,
            keys: Watcher::new(keys),
            unread: Vec::new(),
            outlets: Outlets::new(),
            ended: None,
        };
        relay.run()
    });
    drop(raw);
    sys::signals::set_mask(&before);
    code
}

struct Relay {
    ends: Ends,
    child: Pid,
    pidfd: OwnedFd,
    signals: SignalFd,
    /// Our stdin has not ended.
    reading: bool,
    keys: Watcher,
    /// What the process has not taken yet.
    unread: Vec<u8>,
    outlets: Outlets,
    /// The exit code of the process.
    ended: Option<u8>,
}

#[derive(Clone, Copy)]
enum Source {
    Signals,
    Stdin,
    Input,
    Output(usize),
    Outlet,
}

impl Relay {
    fn run(mut self) -> Result<Left> {
        let mut chunk = vec![0; CHUNK];
        self.resize();
        loop {
            if self.ended.is_none() {
                self.ended = self.reap()?;
            }
            if let Some(code) = self.ended
                && self.drain(&mut chunk)?
            {
                return Ok(Left::Ended(code));
            }
            for source in self.wait()? {
                match source {
                    Source::Signals => {
                        if let Some(code) = self.take_signals() {
                            return Ok(Left::Ended(code));
                        }
                    }
                    Source::Stdin => {
                        if self.read_stdin(&mut chunk)
                            && let Some(terminal) = self.ends.input.take()
                        {
                            return Ok(Left::Detached(terminal));
                        }
                    }
                    Source::Input => self.feed(),
                    Source::Output(at) => {
                        if self.read_output(at, &mut chunk)? == Reading::End {
                            self.ends.outputs.remove(at);
                        }
                    }
                    Source::Outlet => self.outlets.flush()?,
                }
            }
        }
    }

    fn wait(&self) -> Result<Vec<Source>> {
        let stdin = stdio::stdin();
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let mut sources = vec![Source::Signals];
        if self.reading && self.unread.is_empty() {
            fds.push(PollFd::new(&stdin, PollFlags::IN));
            sources.push(Source::Stdin);
        }
        if let Some(input) = self.ends.input.as_ref().filter(|_| !self.unread.is_empty()) {
            fds.push(PollFd::new(input, PollFlags::OUT));
            sources.push(Source::Input);
        }
        match self.outlets.room() {
            Some(room) => {
                fds.push(room);
                sources.push(Source::Outlet);
            }
            None => {
                for (at, (output, _)) in self.ends.outputs.iter().enumerate() {
                    fds.push(PollFd::new(output, PollFlags::IN));
                    sources.push(Source::Output(at));
                }
            }
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::system("wait for the command")(errno)),
        }
        // From the back, so that removing an output leaves the places of those before it.
        let ready = fds.iter().zip(&sources).filter(|(fd, _)| !fd.revents().is_empty());
        Ok(ready.map(|(_, source)| *source).rev().collect())
    }

    fn reap(&self) -> Result<Option<u8>> {
        let status = waitpid(Some(self.child), WaitOptions::NOHANG)
            .map_err(Error::system("wait for the command"))?;
        Ok(status.map(|(_, status)| {
            let signal = status.terminating_signal().map(|signal| 128 + signal);
            let code = status.exit_status().or(signal).and_then(|code| u8::try_from(code).ok());
            code.unwrap_or(255)
        }))
    }

    fn take_signals(&mut self) -> Option<u8> {
        while let Ok(Some(received)) = self.signals.read() {
            let number = received.signal;
            if number == Signal::WINCH.as_raw() && self.ends.terminal {
                self.resize();
            } else if number == Signal::CHILD.as_raw() {
                // Looked at in every turn.
            } else if let Some(code) = self.ended.filter(|_| proxy::asks_to_end(number)) {
                // Only whoever does not read the output keeps us here.
                return Some(code);
            } else if self.ends.terminal {
                return u8::try_from(128 + number).ok();
            } else {
                // It may have ended just now.
                let _ = sys::signals::send(self.pidfd.as_fd(), number);
            }
        }
        None
    }

    fn resize(&self) {
        if let (Some(input), true, Some((rows, columns))) =
            (&self.ends.input, self.ends.terminal, terminal::size())
        {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            let _ = tcsetwinsize(input, size);
        }
    }

    /// Passes on what is typed; whether it was the detach keys.
    fn read_stdin(&mut self, chunk: &mut [u8]) -> bool {
        match rustix::io::read(stdio::stdin(), &mut *chunk) {
            Ok(length) if length > 0 && self.ends.terminal => {
                let (typed, detached) = self.keys.pass(&chunk[..length]);
                self.unread.extend_from_slice(&typed);
                self.feed();
                return detached;
            }
            Ok(length) if length > 0 => {
                self.unread.extend_from_slice(&chunk[..length]);
                self.feed();
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            _ => {
                self.reading = false;
                if !self.ends.terminal {
                    self.ends.input = None;
                }
            }
        }
        false
    }

    fn feed(&mut self) {
        self.reading &= self.ends.feed(&mut self.unread);
    }

    /// After the end: passes on what there is. Whoever the process has left behind may hold its pipes: more is not waited
    /// for. `false` while our own reader has not taken it all.
    fn drain(&mut self, chunk: &mut [u8]) -> Result<bool> {
        while !self.ends.outputs.is_empty() && !self.outlets.is_full() {
            for at in (0..self.ends.outputs.len()).rev() {
                if self.read_output(at, chunk)? != Reading::More {
                    self.ends.outputs.remove(at);
                }
            }
        }
        Ok(!self.outlets.is_full())
    }

    /// Reads one chunk of output and writes it.
    fn read_output(&mut self, at: usize, chunk: &mut [u8]) -> Result<Reading> {
        if self.outlets.is_full() {
            return Ok(Reading::More);
        }
        let (output, stream) = &self.ends.outputs[at];
        match rustix::io::read(output, &mut *chunk) {
            Ok(length) if length > 0 => {
                self.outlets.write(*stream, &chunk[..length])?;
                Ok(Reading::More)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Reading::Nothing),
            _ => Ok(Reading::End),
        }
    }
}
