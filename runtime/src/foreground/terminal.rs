//! The terminal of a process in the foreground: bytes between ours and its own, in raw mode.

use super::flow::{BUFFER, Flow};
use super::output::Output;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
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

/// Our terminal and the master of the process's.
#[derive(Debug)]
pub(super) struct Terminal {
    master: OwnedFd,
    /// Our own terminal, if there is one: a standard stream, or `/dev/tty` where none is one. Without it the process has its terminal all
    /// the same, as in Docker and Podman; runc refuses.
    own: Option<Own>,
    output: Output,
    flow: Flow,
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
        // What is typed must not block us while the process writes: neither would ever go on. This open file is ours alone.
        let flags = rustix::fs::fcntl_getfl(&master)?;
        rustix::fs::fcntl_setfl(&master, flags | OFlags::NONBLOCK)?;
        let on_screen = isatty(rustix::stdio::stdout());
        if !on_screen {
            keep_newlines(&master)?;
        }
        let own = Own::take(on_screen)?;
        let terminal = Terminal { master, own, output: Output::open(), flow: Flow::default() };
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

    /// Moves what there is. Returns when there was something or a pause is over; true when `signals` has something to read.
    pub(super) fn relay(&mut self, signals: BorrowedFd<'_>) -> Result<bool> {
        let wants = self.flow.wants();
        // What is left out has its place taken by the signals.
        let place = |fd, flags: PollFlags| match flags.is_empty() {
            true => PollFd::from_borrowed_fd(signals, PollFlags::IN),
            false => PollFd::from_borrowed_fd(fd, flags),
        };
        let mut fds = [
            place(signals, PollFlags::IN),
            place(rustix::stdio::stdin(), wants.input),
            place(self.master.as_fd(), wants.master),
            place(self.output.fd(), wants.output),
        ];
        wait(&mut fds, wants.at_most.as_ref())?;
        let [signalled, input, master, output] = fds.map(|polled| !polled.revents().is_empty());
        self.flow.waited();
        if input && !wants.input.is_empty() {
            self.read_input()?;
        }
        if master && wants.master.contains(PollFlags::OUT) {
            self.write_typed()?;
        }
        if master && wants.master.contains(PollFlags::IN) {
            self.read_output()?;
        }
        if output && !wants.output.is_empty() {
            self.show()?;
        }
        Ok(signalled)
    }

    /// Whether the process, which has ended, left something that is not shown yet.
    pub(super) fn has_more(&mut self) -> Result<bool> {
        if self.flow.printed().is_empty() {
            self.read_output()?;
        }
        Ok(!self.flow.printed().is_empty())
    }

    /// Shows some of it when our stdout takes it; false when `signals` has something to read and stdout has no room.
    pub(super) fn show_more(&mut self, signals: BorrowedFd<'_>) -> Result<bool> {
        let mut fds = [
            PollFd::from_borrowed_fd(signals, PollFlags::IN),
            PollFd::from_borrowed_fd(self.output.fd(), PollFlags::OUT),
        ];
        wait(&mut fds, None)?;
        let has_room = !fds[1].revents().is_empty();
        if has_room {
            self.show()?;
        }
        Ok(has_room)
    }

    fn read_input(&mut self) -> Result<()> {
        let mut buffer = [0u8; BUFFER];
        let read = rustix::io::read(rustix::stdio::stdin(), &mut buffer);
        self.flow.input(read.map(|read| &buffer[..read]))
    }

    fn write_typed(&mut self) -> Result<()> {
        self.flow.typed_taken(rustix::io::write(&self.master, self.flow.typed()))
    }

    fn read_output(&mut self) -> Result<()> {
        let mut buffer = [0u8; BUFFER];
        let read = rustix::io::read(&self.master, &mut buffer);
        self.flow.output(read.map(|read| &buffer[..read]))
    }

    fn show(&mut self) -> Result<()> {
        self.flow.printed_taken(self.output.write(self.flow.printed()))
    }
}

/// Waits until one of these is ready, or for so long; an interruption ends it too.
pub(super) fn wait(fds: &mut [PollFd<'_>], at_most: Option<&Timespec>) -> Result<()> {
    match poll(fds, at_most) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
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
        let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
        let fd = match streams.into_iter().find(|stream| isatty(stream)) {
            Some(stream) => rustix::io::fcntl_dupfd_cloexec(stream, 3)?,
            None => {
                match rustix::fs::open("/dev/tty", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
                    Ok(fd) => fd,
                    Err(_) => return Ok(None),
                }
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
