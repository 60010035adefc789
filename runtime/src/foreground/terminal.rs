//! The terminal of a process in the foreground: bytes between ours and its own, in raw mode.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair,
};
use rustix::termios::{
    OptionalActions, OutputModes, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

type Result<T> = std::result::Result<T, Errno>;

/// How much of what was typed may wait for the process to read it.
const BUFFER: usize = 4096;

/// Our terminal and the master of the process's.
#[derive(Debug)]
pub(super) struct Terminal {
    master: OwnedFd,
    /// Our own terminal, if there is one: stdin, or `/dev/tty` where stdin is something else.
    own: Option<Own>,
    /// Typed, and not yet taken by the process.
    typed: Vec<u8>,
    input_open: bool,
    output_open: bool,
}

/// A pair of sockets for the master.
pub(super) fn socket_pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
}

/// Receives the master.
pub(super) fn receive(socket: &OwnedFd) -> Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0u8; 64];
    recvmsg(socket, &mut [IoSliceMut::new(&mut name)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let fds = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    fds.flatten().next().ok_or(Errno::BADMSG)
}

/// Lets a line end in LF alone, as the process wrote it: what goes to a file or a pipe has no CR then (as in runc).
fn keep_newlines(master: &OwnedFd) -> Result<()> {
    let mut modes = tcgetattr(master)?;
    modes.output_modes.remove(OutputModes::ONLCR);
    tcsetattr(master, OptionalActions::Now, &modes)
}

impl Terminal {
    /// Puts our terminal into raw mode and gives the process's its size.
    pub(super) fn attach(master: OwnedFd) -> Result<Terminal> {
        // What is typed must not block us while the process writes: neither would ever go on.
        let flags = rustix::fs::fcntl_getfl(&master)?;
        rustix::fs::fcntl_setfl(&master, flags | OFlags::NONBLOCK)?;
        let on_screen = isatty(rustix::stdio::stdout());
        if !on_screen {
            keep_newlines(&master)?;
        }
        let own = Own::take(on_screen)?;
        let terminal =
            Terminal { master, own, typed: Vec::new(), input_open: true, output_open: true };
        terminal.resize()?;
        Ok(terminal)
    }

    /// Puts our terminal into raw mode again. In the background this stops us, until we are in the foreground.
    pub(super) fn take_again(&self) -> Result<()> {
        let Some(own) = &self.own else { return Ok(()) };
        tcsetattr(&own.fd, OptionalActions::Now, &own.raw)?;
        self.resize()
    }

    /// Gives the process's terminal the size of ours.
    pub(super) fn resize(&self) -> Result<()> {
        let Some(own) = &self.own else { return Ok(()) };
        tcsetwinsize(&self.master, tcgetwinsize(&own.fd)?)
    }

    /// Moves what there is, and returns when there was something or `signals` has something to read.
    pub(super) fn relay(&mut self, signals: BorrowedFd<'_>) -> Result<()> {
        let wants =
            |wanted: bool, flags: PollFlags| if wanted { flags } else { PollFlags::empty() };
        let stdin = rustix::stdio::stdin();
        let master =
            wants(self.output_open, PollFlags::IN) | wants(!self.typed.is_empty(), PollFlags::OUT);
        let input = wants(self.input_open && self.typed.is_empty(), PollFlags::IN);
        let mut fds = [
            PollFd::from_borrowed_fd(signals, PollFlags::IN),
            PollFd::from_borrowed_fd(stdin, input),
            PollFd::from_borrowed_fd(self.master.as_fd(), master),
        ];
        // A closed stream polls as hung up for ever: it is left out, or we would never sleep.
        let count = if master.is_empty() { 2 } else { 3 };
        if input.is_empty() {
            fds.swap(1, 2);
        }
        let used = if input.is_empty() { count - 1 } else { count };
        match poll(&mut fds[..used], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let ready = |fd: BorrowedFd<'_>| {
            use std::os::fd::AsRawFd;
            fds[..used].iter().any(|polled| {
                polled.as_fd().as_raw_fd() == fd.as_raw_fd() && !polled.revents().is_empty()
            })
        };
        let (typed, shown) = (ready(stdin), ready(self.master.as_fd()));
        if typed && !input.is_empty() {
            self.read_input()?;
        }
        if shown {
            self.write_typed()?;
            self.show()?;
        }
        Ok(())
    }

    fn read_input(&mut self) -> Result<()> {
        let mut buffer = [0u8; BUFFER];
        match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            Ok(0) | Err(Errno::IO) => self.input_open = false,
            Ok(read) => {
                self.typed.extend_from_slice(&buffer[..read]);
                self.write_typed()?;
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    fn write_typed(&mut self) -> Result<()> {
        while !self.typed.is_empty() {
            match rustix::io::write(&self.master, &self.typed) {
                Ok(written) => drop(self.typed.drain(..written)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                // Nobody is left who could read it.
                Err(Errno::IO) => self.typed.clear(),
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Shows one buffer of output. EIO: every process has closed the terminal.
    fn show(&mut self) -> Result<bool> {
        let mut buffer = [0u8; BUFFER];
        match rustix::io::read(&self.master, &mut buffer) {
            Ok(0) | Err(Errno::IO) => {
                self.output_open = false;
                Ok(false)
            }
            Ok(read) => {
                let mut rest = &buffer[..read];
                while !rest.is_empty() {
                    match rustix::io::write(rustix::stdio::stdout(), rest) {
                        Ok(written) => rest = &rest[written..],
                        Err(Errno::INTR) => {}
                        Err(errno) => return Err(errno),
                    }
                }
                Ok(true)
            }
            Err(Errno::INTR | Errno::AGAIN) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Shows what is left after the process has ended.
    pub(super) fn drain(&mut self) {
        while self.show().unwrap_or(false) {}
    }
}

/// Our own terminal in raw mode; dropped, it is as it was.
#[derive(Debug)]
struct Own {
    fd: OwnedFd,
    before: Termios,
    raw: Termios,
}

impl Own {
    /// `on_screen`: what the process writes is shown on it as it is. What some other program shows there keeps its line ends.
    fn take(on_screen: bool) -> Result<Option<Own>> {
        let stdin = rustix::stdio::stdin();
        let fd = if isatty(stdin) {
            rustix::io::fcntl_dupfd_cloexec(stdin, 3)?
        } else {
            match rustix::fs::open("/dev/tty", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
                Ok(fd) => fd,
                Err(_) => return Ok(None),
            }
        };
        let before = tcgetattr(&fd)?;
        let mut raw = before.clone();
        raw.make_raw();
        raw.output_modes.set(
            OutputModes::OPOST,
            !on_screen && before.output_modes.contains(OutputModes::OPOST),
        );
        tcsetattr(&fd, OptionalActions::Now, &raw)?;
        Ok(Some(Own { fd, before, raw }))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // In the background it is the shell's, and to touch it would stop us.
        let group = rustix::termios::tcgetpgrp(&self.fd);
        if group.is_err() || group == Ok(rustix::process::getpgrp()) {
            let _ = tcsetattr(&self.fd, OptionalActions::Flush, &self.before);
        }
    }
}
