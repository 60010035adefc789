//! Moves bytes between a container and whoever is attached to it, until the container's init has ended.
//!
//! Bounded everywhere: one chunk of each client may wait for the container's stdin, one message for each client. While a client
//! cannot take its message the container's output is not read, so that a slow reader slows the container down and
//! memory stays flat. Output is complete: after the init has ended, the pipes are drained before the loop ends. What a
//! client has not read by then the kernel keeps for it: nobody who does not read keeps a dead container from ending.

use super::fault;
use super::log::Log;
use super::stdio::{Ends, Reading};
use crate::error::Error;
use crate::source::UNTIL_LISTENING;
use crate::source::{Places, Source as Watched, patience, take_turns};
use crate::stream::Stream;
use crate::wire::{self, CHUNK, Event, Request};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_send_buffer_size_force;
use rustix::net::{SocketFlags, accept_with};
use rustix::process::{Pid, Signal, WaitOptions, wait};
use rustix::termios::{Winsize, tcsetwinsize};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use sys::signals::SignalFd;

/// So long after it was woken the program's pages are given back: what runs for a moment only pays nothing.
const UNTIL_TRIM: Duration = Duration::from_secs(1);

/// So long after the init has ended a client may take to make room; who has not done so is let go. The log has it all.
const FOR_SLOW_CLIENTS: Duration = Duration::from_secs(2);

/// The room of a client's socket when the init has ended: more than the container's pipes hold.
const FOR_LAST_WORDS: usize = 4 << 20;

/// No more output is read at a time while somebody who is sent the log is slow to take it: what is read has to wait in memory, and is lost
/// where there is no more room.
const PIECE: usize = 4096;

/// So many chunks are read after the init has ended even if that takes long: more than any pipe holds.
const LEFT_IN_PIPES: usize = 64;

/// One attached client.
struct Client {
    socket: OwnedFd,
    /// A message that did not fit.
    waiting: Option<Vec<u8>>,
    /// A chunk of its is among what the container's stdin has not taken: nothing more is read from it until then.
    held: bool,
    /// What of the container ends when it leaves.
    hold: Hold,
    /// It only waits for the end.
    muted: bool,
    gone: bool,
}

/// What of a container ends when a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Nothing.
    Nothing,
    /// Its stdin: the client of `nman run -i`.
    Stdin,
    /// The container: the client is the build that it runs a step of.
    Life,
}

/// A container's stdio and everything that takes part in it.
pub struct Pump<'a> {
    ends: Ends,
    /// Bytes that the container's stdin has not taken yet.
    unread: Vec<u8>,
    /// Close the container's stdin when `unread` is empty.
    stdin_ends: bool,
    clients: Vec<Client>,
    listener: &'a OwnedFd,
    signals: &'a SignalFd,
    init: Pid,
    pidfd: OwnedFd,
    log: &'a mut Log,
    begun: Instant,
    /// Until then nobody is let in: there are no descriptors to be had, and whoever waits to be let in goes on waiting.
    deaf: Option<Instant>,
    /// When the program's pages are given back.
    trim: Option<Instant>,
    buffer: Vec<u8>,
    message: Vec<u8>,
}

/// How a container ended.
pub struct Ended {
    /// Its exit code, 128 + N for signal N.
    pub code: u8,
    /// How long it ran.
    pub ran: Duration,
    /// Those who are still attached, to be told.
    pub clients: Vec<OwnedFd>,
    /// Why the runtime has not started it, if it has not.
    pub failure: Option<String>,
    /// Why the log is not complete, if it is not.
    pub log_failed: Option<String>,
}

impl Ended {
    /// All that went wrong, cleaning up included: none of it hides another.
    #[must_use]
    pub fn faults(&self, left: &[Error]) -> Option<String> {
        let own = [&self.failure, &self.log_failed].into_iter().flatten().cloned();
        fault::all(own.chain(left.iter().map(ToString::to_string)))
    }
}

/// What a pump is made of.
pub struct Parts<'a> {
    /// The container's stdio.
    pub ends: Ends,
    /// Where further clients connect.
    pub listener: &'a OwnedFd,
    /// SIGCHLD, and the signals that are passed on to the container.
    pub signals: &'a SignalFd,
    /// The container's init: a child of this process.
    pub init: Pid,
    /// The same.
    pub pidfd: OwnedFd,
    /// The container's log.
    pub log: &'a mut Log,
    /// When the container's program was started.
    pub begun: Instant,
}

/// What a poll entry stands for.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Listener,
    Client(usize),
    Output(usize),
    Input,
    Log,
}

/// What a turn has to do.
struct Ready {
    own: Vec<Source>,
    /// For each of the further sources, what of it is ready.
    further: Vec<Option<Vec<PollFlags>>>,
}

impl<'a> Pump<'a> {
    /// Takes the parts together.
    #[must_use]
    pub fn new(parts: Parts<'a>) -> Self {
        let Parts { ends, listener, signals, init, pidfd, log, begun } = parts;
        Self {
            ends,
            unread: Vec::new(),
            stdin_ends: false,
            clients: Vec::new(),
            listener,
            signals,
            init,
            pidfd,
            log,
            begun,
            deaf: None,
            trim: Some(Instant::now() + UNTIL_TRIM),
            buffer: Vec::new(),
            message: Vec::new(),
        }
    }

    /// Adds a client that is connected already.
    pub fn attach(&mut self, socket: OwnedFd, hold: Hold) {
        self.clients.push(Client {
            socket,
            waiting: None,
            held: false,
            hold,
            muted: false,
            gone: false,
        });
    }

    /// Ends the container at once.
    pub fn end(&self) {
        self.signal(Signal::KILL.as_raw());
    }

    /// Runs until the init has ended and its output has been passed on.
    pub fn run(mut self, sources: &mut [&mut dyn Watched]) -> Result<Ended, Errno> {
        let mut code = reap(Some(self.init), sources);
        while code.is_none() {
            self.turn(sources)?;
            code = reap(Some(self.init), sources);
        }
        let ran = self.begun.elapsed();
        self.drain()?;
        let log_failed = self.log.end_life();
        let clients = self.clients.into_iter().map(|client| client.socket).collect();
        Ok(Ended { code: code.unwrap_or(255), ran, clients, failure: None, log_failed })
    }

    /// One turn of the loop: wait until something can be done, do it.
    fn turn(&mut self, sources: &mut [&mut dyn Watched]) -> Result<(), Errno> {
        let trim = self.trim.take_if(|due| *due <= Instant::now()).is_some();
        let ready = self.wait(sources, trim)?;
        // Whatever has woken it, the turn reads in pages of the program, and more than the next wait needs.
        self.trim.get_or_insert_with(|| Instant::now() + UNTIL_TRIM);
        take_turns(sources, ready.further);
        let now = Instant::now();
        self.log.turn(now);
        self.deaf.take_if(|until| *until <= now);
        for source in ready.own {
            match source {
                Source::Signals => self.forward_signals(),
                Source::Listener => self.accept(),
                Source::Client(at) => self.serve(at),
                Source::Output(at) => {
                    let length = if self.log.is_behind() { PIECE } else { CHUNK };
                    if self.read_output(at, length) == Reading::End {
                        self.ends.outputs.remove(at);
                    }
                }
                Source::Input => self.feed(),
                // It has its turn in every turn.
                Source::Log => {}
            }
        }
        self.dismiss();
        Ok(())
    }

    /// Waits until something is ready or due. `trim` gives the program's pages back before that.
    fn wait(&self, further: &[&mut dyn Watched], trim: bool) -> Result<Ready, Errno> {
        let mut sources = vec![Source::Signals];
        let mut fds = vec![PollFd::new(self.signals, PollFlags::IN)];
        if self.deaf.is_none() {
            fds.push(PollFd::new(self.listener, PollFlags::IN));
            sources.push(Source::Listener);
        }
        for (at, client) in self.clients.iter().enumerate() {
            let mut events = PollFlags::empty();
            // Only who sends stdin waits while the container's is full: signals and sizes come by a connection of
            // their own, or from a client that sends nothing else.
            events.set(PollFlags::IN, !client.held);
            events.set(PollFlags::OUT, client.waiting.is_some());
            if events.is_empty() {
                // Asked for nothing, poll would still report a hang-up, turn after turn.
                continue;
            }
            fds.push(PollFd::new(&client.socket, events));
            sources.push(Source::Client(at));
        }
        if let Some((fd, flags)) = self.log.watch() {
            fds.push(PollFd::from_borrowed_fd(fd, flags));
            sources.push(Source::Log);
        }
        if !self.is_congested() && self.log.held_until().is_none() {
            for (at, (output, _)) in self.ends.outputs.iter().enumerate() {
                fds.push(PollFd::new(output, PollFlags::IN));
                sources.push(Source::Output(at));
            }
        }
        if let Some(input) = self.ends.input.as_ref().filter(|_| !self.unread.is_empty()) {
            fds.push(PollFd::new(input, PollFlags::OUT));
            sources.push(Source::Input);
        }
        let places = Places::of(further, &mut fds);
        let timeout = patience(further, self.due());
        if trim {
            release();
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let further = places.ready(further, &fds);
        // From the back, so that removing an output leaves the places of those before it.
        let ready = fds.iter().zip(&sources).filter(|(fd, _)| !fd.revents().is_empty());
        Ok(Ready { own: ready.map(|(_, source)| *source).rev().collect(), further })
    }

    /// When something is to be done even if nothing happens.
    fn due(&self) -> Option<Instant> {
        [self.trim, self.deaf, self.log.due()].into_iter().flatten().min()
    }

    fn forward_signals(&mut self) {
        while let Ok(Some(received)) = self.signals.read() {
            if received.signal != Signal::CHILD.as_raw() {
                self.signal(received.signal);
            }
        }
    }

    fn signal(&self, number: i32) {
        // It may have ended just now, which the loop is about to find out; a number that does not exist is the
        // client's affair.
        let _ = sys::signals::send(self.pidfd.as_fd(), number);
    }

    fn accept(&mut self) {
        Event::Started.encode(&mut self.message);
        match accept_with(self.listener, SocketFlags::CLOEXEC) {
            Ok(socket) if wire::put(socket.as_fd(), &self.message, false) == Ok(true) => {
                self.attach(socket, Hold::Nothing);
            }
            Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => {}
            Err(_) => self.deaf = Some(Instant::now() + UNTIL_LISTENING),
        }
    }

    /// A client can take its waiting message, has sent a request, or has gone.
    fn serve(&mut self, at: usize) {
        self.flush(at);
        if self.clients[at].held {
            // Only a hang-up can have brought us here; the poll flag for input was not set.
            return;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let socket = self.clients[at].socket.as_fd();
        if is_readable(socket) {
            match wire::get(socket, &mut buffer).and_then(Request::decode) {
                Some(Request::Mute) => self.clients[at].mute(),
                Some(Request::Stdin(bytes)) => self.take_stdin(at, bytes),
                Some(request) => self.answer(&request),
                None => self.clients[at].gone = true,
            }
        }
        self.buffer = buffer;
    }

    fn flush(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if let Some(message) = client.waiting.take() {
            match wire::put(client.socket.as_fd(), &message, false) {
                Ok(true) => {}
                Ok(false) => client.waiting = Some(message),
                Err(_) => client.gone = true,
            }
        }
    }

    /// One chunk of each client may wait, in the order in which they came.
    fn take_stdin(&mut self, at: usize, bytes: &[u8]) {
        if self.ends.input.is_some() && !self.stdin_ends {
            self.unread.extend_from_slice(bytes);
            self.clients[at].held = true;
            self.feed();
        }
    }

    fn answer(&mut self, request: &Request<'_>) {
        match request {
            Request::Stdin(_) | Request::Mute => {}
            Request::StdinEnd => self.end_stdin(),
            Request::Resize { rows, columns } => self.resize(*rows, *columns),
            Request::Signal(number) => self.signal(*number),
        }
    }

    fn resize(&self, rows: u16, columns: u16) {
        if let Some(terminal) = self.ends.input.as_ref().filter(|_| self.ends.terminal) {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            // A window size is decoration: a container without it still works.
            let _ = tcsetwinsize(terminal, size);
        }
    }

    /// Writes to the container's stdin what it takes.
    fn feed(&mut self) {
        self.ends.feed(&mut self.unread);
        if self.unread.is_empty() {
            for client in &mut self.clients {
                client.held = false;
            }
            if self.stdin_ends {
                self.ends.input = None;
            }
        }
    }

    /// A pipe is closed once everything is written; a terminal has no end.
    fn end_stdin(&mut self) {
        if !self.ends.terminal {
            self.stdin_ends = true;
            if self.unread.is_empty() {
                self.ends.input = None;
            }
        }
    }

    /// Reads one chunk of output, of no more than this length, and passes it on.
    fn read_output(&mut self, at: usize, length: usize) -> Reading {
        if self.is_congested() {
            return Reading::More;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(length, 0);
        let (output, stream) = &self.ends.outputs[at];
        let stream = *stream;
        let reading = match rustix::io::read(output, buffer.as_mut_slice()) {
            Ok(length) if length > 0 => {
                self.pass_on(stream, &buffer[..length]);
                Reading::More
            }
            Err(Errno::AGAIN | Errno::INTR) => Reading::Nothing,
            // End of file; for a terminal EIO says that nobody has it open.
            _ => Reading::End,
        };
        self.buffer = buffer;
        reading
    }

    fn pass_on(&mut self, stream: Stream, bytes: &[u8]) {
        self.log.take(stream, bytes);
        let event = match stream {
            Stream::Stdout => Event::Stdout(bytes),
            Stream::Stderr => Event::Stderr(bytes),
        };
        event.encode(&mut self.message);
        for client in self.clients.iter_mut().filter(|client| !client.gone && !client.muted) {
            match wire::put(client.socket.as_fd(), &self.message, false) {
                Ok(true) => {}
                Ok(false) => client.waiting = Some(self.message.clone()),
                Err(_) => client.gone = true,
            }
        }
    }

    /// Lets go of clients that have left.
    fn dismiss(&mut self) {
        let left: Vec<Hold> =
            self.clients.iter().filter(|client| client.gone).map(|client| client.hold).collect();
        if left.contains(&Hold::Stdin) {
            self.end_stdin();
        }
        if left.contains(&Hold::Life) {
            self.end();
        }
        self.clients.retain(|client| !client.gone);
    }

    /// After the init has ended: passes on what is left, without waiting for more.
    fn drain(&mut self) -> Result<(), Errno> {
        let deadline = Instant::now() + FOR_SLOW_CLIENTS;
        let mut patience = FOR_SLOW_CLIENTS;
        self.log.begin_last_turn();
        // There is nobody to give input to; only clients that still have to take output matter.
        self.unread.clear();
        for client in &self.clients {
            // So all of it is on its way at once, whoever reads it when. Where it is refused, the deadline holds.
            let _ = set_socket_send_buffer_size_force(&client.socket, FOR_LAST_WORDS);
        }
        let mut rounds = 0;
        // Without a pid namespace of its own, somebody may be left who goes on writing.
        while rounds < LEFT_IN_PIPES || Instant::now() < deadline {
            self.make_room(&mut patience)?;
            if !self.drain_once() {
                break;
            }
            rounds += 1;
        }
        self.make_room(&mut patience)
    }

    /// Reads a chunk of each output. `false` when nothing is left.
    fn drain_once(&mut self) -> bool {
        for at in (0..self.ends.outputs.len()).rev() {
            if self.read_output(at, CHUNK) != Reading::More {
                self.ends.outputs.remove(at);
            }
        }
        !self.ends.outputs.is_empty()
    }

    /// Waits until every client has taken its message; those who have not when patience is at its end are let go. It is what clients
    /// have been waited for: whoever is sent the log may be slow as well.
    fn make_room(&mut self, patience: &mut Duration) -> Result<(), Errno> {
        while self.is_congested() {
            let begun = Instant::now();
            self.wait_for_clients(*patience)?;
            if patience.is_zero() {
                self.clients.retain(|client| client.waiting.is_none());
                return Ok(());
            }
            *patience = patience.saturating_sub(begun.elapsed());
        }
        Ok(())
    }

    /// Whether a client has not taken its message yet.
    fn is_congested(&self) -> bool {
        self.clients.iter().any(|client| client.waiting.is_some())
    }

    fn wait_for_clients(&mut self, patience: Duration) -> Result<(), Errno> {
        let mut fds: Vec<PollFd<'_>> = self
            .clients
            .iter()
            .filter(|client| client.waiting.is_some())
            .map(|client| PollFd::new(&client.socket, PollFlags::OUT))
            .collect();
        match poll(&mut fds, Timespec::try_from(patience).ok().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        for at in 0..self.clients.len() {
            self.flush(at);
        }
        self.clients.retain(|client| !client.gone);
        Ok(())
    }
}

impl Client {
    fn mute(&mut self) {
        self.muted = true;
        self.waiting = None;
    }
}

/// Collects dead children: the init's exit code is returned, others are told to the sources, and orphans that the
/// kernel gave to us are forgotten.
fn reap(init: Option<Pid>, sources: &mut [&mut dyn Watched]) -> Option<u8> {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        let signal = status.terminating_signal().map(|signal| 128 + signal);
        let code = status.exit_status().or(signal).and_then(|code| u8::try_from(code).ok());
        if Some(pid) == init {
            return code;
        }
        for source in &mut *sources {
            source.child_ended(pid.as_raw_nonzero().get(), code.unwrap_or(255));
        }
    }
    None
}

/// Why [`idle`] has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// The time has come.
    Due,
    /// A signal asks for an end.
    Asked,
    /// Something else has happened.
    Woken,
}

/// One turn of a loop without a container: until the deadline, or until a signal comes.
pub fn idle(
    signals: &SignalFd,
    sources: &mut [Box<dyn Watched>],
    log: &mut Log,
    deadline: Instant,
) -> Result<Idle, Errno> {
    let mut sources: Vec<&mut dyn Watched> =
        sources.iter_mut().map(|source| &mut **source as &mut dyn Watched).collect();
    let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
    fds.extend(log.watch().map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)));
    let places = Places::of(&sources, &mut fds);
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Ok(Idle::Due);
    }
    let timeout = patience(&sources, log.due().into_iter().chain([deadline]).min());
    if left > UNTIL_TRIM {
        release();
    }
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno),
    }
    let ready = places.ready(&sources, &fds);
    take_turns(&mut sources, ready);
    log.turn(Instant::now());
    reap(None, &mut sources);
    let mut idle = Idle::Woken;
    while let Ok(Some(received)) = signals.read() {
        if received.signal != Signal::CHILD.as_raw() {
            idle = Idle::Asked;
        }
    }
    Ok(idle)
}

/// Gives the program's pages back. It comes right before a wait, so that what sleeps has next to none of them, however large the
/// loop's code is.
fn release() {
    // What cannot be given back stays: nothing depends on it.
    let _ = sys::memory::release_program();
}

/// Whether something is to be read now. A pidfd is, as soon as its process has ended.
pub(super) fn is_readable(socket: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(&socket, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut fds, Some(&now)), Ok(ready) if ready > 0)
}
