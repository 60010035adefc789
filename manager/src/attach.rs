//! The client of a container's monitor: our stdin, stdout, stderr, window and signals, passed on until it ends.
//!
//! Never waits for one direction alone: a container that is not read from and one that does not read would wait
//! for each other through us. One chunk of stdin may wait to be sent and one of output to be taken; nothing else is
//! kept. Signals and window sizes are served whatever the data does. Messages on one socket are read in their order, so
//! behind stdin that the container does not take they would never arrive: who sends stdin has a second connection for
//! them, which the monitor always reads. Acknowledged stdin would do as well, but costs a round trip for each chunk.

use crate::cli::AttachArgs;
use crate::container::{Attached, ContainerId, Containers, Status};
use crate::detach::{DetachKeys, Watcher};
use crate::error::{Error, Result};
use crate::event::emit_container;
use crate::monitor::Link;
use crate::outlet::Outlets;
use crate::process::Process;
use crate::proxy;
use crate::settings::Settings;
use crate::socket::{attach_socket, connect_to};
use crate::stream::Stream;
use crate::terminal::write_out;
use crate::terminal::{self, Raw};
use crate::wire;
use crate::wire::{CHUNK, Event, Request};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{Shutdown, sockopt};
use rustix::process::Signal;
use rustix::stdio;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};
use sys::signals::{Mask, SignalFd};

/// How often ^C may go unheard before we leave.
const PATIENCE: u32 = 3;

/// How long a monitor that has much to do may take to read what a client says last.
const FOR_LAST_REQUEST: Duration = Duration::from_secs(2);

/// How to attach.
#[derive(Clone, Debug)]
pub struct Wish {
    /// To which streams.
    pub streams: Attached,
    /// The container has a terminal.
    pub terminal: bool,
    /// Pass signals on.
    pub signals: bool,
    /// The keys that leave the container as it is.
    pub keys: DetachKeys,
    /// Have the container draw its terminal anew: what it has shown so far was for others.
    pub redraw: bool,
    /// Where its output goes.
    pub output: Shown,
}

/// Where the output of a container goes to which somebody is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// To our stdout and stderr.
    #[default]
    AsItIs,
    /// All to our stderr.
    OnStderr,
    /// To its log alone.
    Nowhere,
}

impl Wish {
    /// Whether the container ends with whoever is attached, who has to clear up when told to end: a build.
    fn ends_with_us(&self) -> bool {
        self.output != Shown::AsItIs
    }
}

/// `nman attach`
pub fn attach(settings: &Settings, args: &AttachArgs) -> Result<u8> {
    let dir = Containers::open(&settings.containers())?.find(&args.name)?;
    let (record, state) = (dir.record()?, dir.state()?);
    let refused = |what: &str| Error::WrongState {
        message: format!("You cannot attach to a {what}"),
        hint: None,
    };
    match state.status {
        Status::Running => {}
        Status::Paused => return Err(refused("paused container, unpause it first")),
        Status::Restarting => {
            return Err(refused("restarting container, wait until it is running"));
        }
        Status::Created | Status::Exited => {
            return Err(refused("stopped container, start it first"));
        }
    }
    let keys = DetachKeys::find(args.detach_keys.as_deref())?;
    let terminal = record.attachment.terminal;
    let stdin = record.attachment.stdin && !args.no_stdin;
    terminal::check(stdin, terminal, false)?;
    let mut link = open(settings, &record.id)?;
    emit_container(settings, &record, "attach", &[]);
    let streams = Attached::to_output(stdin);
    let signals = args.sig_proxy && !terminal;
    let wish = Wish { streams, terminal, signals, keys, redraw: true, output: Shown::AsItIs };
    follow(settings, &record.id, &mut link, wish)
}

/// Connects to a running container's monitor.
pub fn open(settings: &Settings, id: &ContainerId) -> Result<Link> {
    let path = attach_socket(settings, id);
    let socket = connect_to(&path).map_err(|errno| match errno {
        // The socket is there and nobody listens, or is not there any more.
        Errno::CONNREFUSED | Errno::NOENT => Error::WrongState {
            message: format!("cannot attach to container {}: its monitor is gone", id.short()),
            hint: Some(format!(
                "it may run on, with nobody at its streams: `nman restart {}` gives it a new monitor",
                id.short()
            )),
        },
        errno => Error::io("connect to the monitor at", &path)(errno),
    })?;
    Ok(Link { socket, child: None })
}

/// The monitor that listens for clients.
pub fn monitor(settings: &Settings, id: &ContainerId) -> Result<Process> {
    let link = open(settings, id)?;
    let failed = Error::system("ask for the monitor");
    let peer = match sockopt::socket_peercred(&link.socket) {
        Ok(peer) => peer.pid.as_raw_nonzero().get(),
        Err(errno) => return Err(failed(errno)),
    };
    // The socket is hung up with the process that has it.
    Process::open(peer, |_| !is_hung_up(&link.socket)).ok_or(Errno::SRCH).map_err(failed)
}

fn is_hung_up(socket: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    // Nothing was asked for, so that only an end or an error is told.
    !matches!(poll(&mut fds, Some(&now)), Ok(0))
}

/// Waits until the container's program runs, and no longer.
pub fn until_started(link: &mut Link) -> Result<()> {
    let mut buffer = Vec::new();
    match wire::get(link.socket.as_fd(), &mut buffer).and_then(Event::decode) {
        Some(Event::Failed(code, reason)) => {
            link.see_off();
            Err(Error::Start { code, message: reason.to_owned() })
        }
        Some(_) => Ok(()),
        None => Err(lost()),
    }
}

/// Connects once more, for signals and sizes. A container that has ended meanwhile has nobody to connect to, and no use
/// for them.
fn open_for_requests(settings: &Settings, id: &ContainerId) -> Option<OwnedFd> {
    let socket = open(settings, id).ok()?.socket;
    let mut message = Vec::new();
    Request::Mute.encode(&mut message);
    wire::put(socket.as_fd(), &message, false).is_ok_and(|sent| sent).then_some(socket)
}

/// Stays attached until the container ends, or the detach keys are typed; returns its exit code.
///
/// As in Docker, who is attached to stdin alone has the container's id for output, leaves when there is nothing more to
/// pass on, and does not care how the container ends.
pub fn follow(settings: &Settings, id: &ContainerId, link: &mut Link, wish: Wish) -> Result<u8> {
    let mask = match (wish.signals, wish.terminal) {
        // What stops or continues us stays ours where the user's keys go to the container's terminal.
        (true, true) if wish.streams.stdin => proxy::but_for_jobs(),
        (true, _) => proxy::passed_on(wish.streams.stdin),
        (false, true) => proxy::but_for_jobs(),
        (false, false) if wish.ends_with_us() => proxy::asking_to_end(),
        (false, false) => Mask::empty(),
    };
    let before = sys::signals::set_mask(&mask);
    let result = SignalFd::new(&mask).map_err(Error::system("watch signals")).and_then(|signals| {
        until_started(link)?;
        let Attached { stdin, .. } = wish.streams;
        if !wish.streams.shows() {
            // Who does not read it has no use for it.
            let _ = write_out(stdio::stdout(), format!("{id}\n").as_bytes());
        }
        let control = if stdin { open_for_requests(settings, id) } else { None };
        let raw = if stdin && wish.terminal && terminal::stdin_is_terminal() {
            Some(Raw::enter()?)
        } else {
            None
        };
        let code = Session::new(link, control, wish, &signals).run();
        drop(raw);
        code
    });
    sys::signals::set_mask(&before);
    match result? {
        Some(code) => Ok(code),
        None => left(),
    }
}

/// What Docker says and exits with when the detach keys were typed. The terminal is the user's again.
pub fn left() -> Result<u8> {
    write_out(stdio::stdout(), b"read escape sequence\n")?;
    Ok(0)
}

fn lost() -> Error {
    Error::WrongState {
        message: "the container's monitor has ended without a word".to_owned(),
        hint: Some("`nman ps -a` shows what became of the container".to_owned()),
    }
}

struct Session<'a> {
    link: &'a mut Link,
    /// Where signals and sizes are sent, if not on the link.
    control: Option<OwnedFd>,
    signals: &'a SignalFd,
    wish: Wish,
    /// Our stdin has not ended.
    reading: bool,
    /// Nothing more will be sent on the link: it is shut down on our side.
    silent: bool,
    keys: Watcher,
    outlets: Outlets,
    /// A chunk of stdin that the socket did not take.
    waiting: Option<Vec<u8>>,
    /// Signals and a size that it did not take, each once.
    requests: VecDeque<Request<'static>>,
    interrupts: u32,
    message: Vec<u8>,
}

/// What a poll entry stands for.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Monitor,
    Control,
    Stdin,
    Outlet,
}

/// Go on, or leave: with an exit code, or because the detach keys were typed.
type Step = ControlFlow<Option<u8>>;
const GO_ON: Step = ControlFlow::Continue(());

impl<'a> Session<'a> {
    fn new(
        link: &'a mut Link,
        control: Option<OwnedFd>,
        wish: Wish,
        signals: &'a SignalFd,
    ) -> Self {
        let outlets = match wish.output {
            Shown::OnStderr => Outlets::on_stderr(),
            Shown::AsItIs | Shown::Nowhere => Outlets::new(),
        };
        Self {
            link,
            control,
            signals,
            reading: wish.streams.stdin,
            silent: false,
            keys: Watcher::new(wish.keys.clone()),
            wish,
            outlets,
            waiting: None,
            requests: VecDeque::new(),
            interrupts: 0,
            message: Vec::new(),
        }
    }

    /// The container's exit code; `None` when the detach keys were typed.
    fn run(mut self) -> Result<Option<u8>> {
        let (mut buffer, mut chunk) = (Vec::new(), vec![0; CHUNK]);
        if self.wish.redraw {
            self.disturb();
        }
        self.resize();
        loop {
            for (source, events) in self.wait()? {
                let step = match source {
                    Source::Signals => self.take_signals()?,
                    Source::Monitor => self.serve_monitor(events, &mut buffer)?,
                    Source::Control => {
                        self.pass_requests();
                        GO_ON
                    }
                    Source::Stdin => self.read_stdin(&mut chunk),
                    Source::Outlet => {
                        self.outlets.flush()?;
                        GO_ON
                    }
                };
                if let ControlFlow::Break(end) = step {
                    return Ok(end);
                }
            }
            self.fall_silent()?;
        }
    }

    /// Who is there for stdin alone says that nothing more comes, and goes once the monitor has taken everything: it lets
    /// go of who has no more to say. To leave at once would cut off what it has not read yet.
    fn fall_silent(&mut self) -> Result<()> {
        let has_fed = !self.reading && self.waiting.is_none() && !self.wish.streams.shows();
        if has_fed && !self.silent {
            self.silent = true;
            rustix::net::shutdown(&self.link.socket, Shutdown::Write)
                .map_err(Error::system("end the container's input"))?;
        }
        Ok(())
    }

    /// A container's terminal has one output for both.
    fn shows(&self, stream: Stream) -> bool {
        let Attached { stdout, stderr, .. } = self.wish.streams;
        match stream {
            _ if self.wish.output == Shown::Nowhere => false,
            _ if self.wish.terminal => stdout || stderr,
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        }
    }

    /// What the container's end is to us.
    fn ended(&self, code: u8) -> Step {
        ControlFlow::Break(Some(if self.wish.streams.shows() { code } else { 0 }))
    }

    /// Waits for something to do.
    fn wait(&self) -> Result<Vec<(Source, PollFlags)>> {
        let stdin = stdio::stdin();
        let mut fds = vec![PollFd::new(self.signals, PollFlags::IN)];
        let mut sources = vec![Source::Signals];
        let mut of_monitor = PollFlags::empty();
        of_monitor.set(PollFlags::IN, !self.outlets.is_full());
        let on_link = self.control.is_none() && !self.requests.is_empty();
        of_monitor.set(PollFlags::OUT, self.waiting.is_some() || on_link);
        // Asked for nothing, poll would still report a hang-up, turn after turn.
        if !of_monitor.is_empty() {
            fds.push(PollFd::new(&self.link.socket, of_monitor));
            sources.push(Source::Monitor);
        }
        if let Some(control) = self.control.as_ref().filter(|_| !self.requests.is_empty()) {
            fds.push(PollFd::new(control, PollFlags::OUT));
            sources.push(Source::Control);
        }
        if self.reading && self.waiting.is_none() {
            fds.push(PollFd::new(&stdin, PollFlags::IN));
            sources.push(Source::Stdin);
        }
        if let Some(room) = self.outlets.room() {
            fds.push(room);
            sources.push(Source::Outlet);
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::system("wait for the container")(errno)),
        }
        let ready = sources.into_iter().zip(fds.iter().map(PollFd::revents));
        Ok(ready.filter(|(_, events)| !events.is_empty()).collect())
    }

    /// The monitor can take what waits, has something to say, or has gone.
    fn serve_monitor(&mut self, events: PollFlags, buffer: &mut Vec<u8>) -> Result<Step> {
        if self.control.is_none() {
            self.pass_requests();
        }
        if let Some(message) = self.waiting.take() {
            self.send(message);
        }
        if self.outlets.is_full()
            || !events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
        {
            return Ok(GO_ON);
        }
        let event = wire::get(self.link.socket.as_fd(), buffer).and_then(Event::decode);
        let Some(event) = event else {
            return if self.silent { Ok(self.ended(0)) } else { Err(lost()) };
        };
        match event {
            Event::Stdout(bytes) if self.shows(Stream::Stdout) => {
                self.outlets.write(Stream::Stdout, bytes)?;
            }
            Event::Stderr(bytes) if self.shows(Stream::Stderr) => {
                self.outlets.write(Stream::Stderr, bytes)?;
            }
            Event::Exited(code) => {
                self.link.see_off();
                return Ok(self.ended(code));
            }
            // As in Docker, who waits for a container waits for one life of it.
            Event::Restarting(code) => return Ok(self.ended(code)),
            Event::Failed(code, reason) => {
                return Err(Error::Start { code, message: reason.to_owned() });
            }
            Event::Started | Event::Stdout(_) | Event::Stderr(_) => {}
        }
        Ok(GO_ON)
    }

    /// Passes on what is typed, up to the detach keys.
    fn read_stdin(&mut self, chunk: &mut [u8]) -> Step {
        let mut message = Vec::new();
        // Keys that were held back may come on top: they fit into the same message.
        let room = if self.wish.terminal { CHUNK / 2 } else { CHUNK };
        match rustix::io::read(stdio::stdin(), &mut chunk[..room]) {
            Ok(length) if length > 0 && self.wish.terminal => {
                let (typed, detached) = self.keys.pass(&chunk[..length]);
                if !typed.is_empty() {
                    Request::Stdin(&typed).encode(&mut message);
                    self.send(message);
                }
                return if detached { ControlFlow::Break(None) } else { GO_ON };
            }
            Ok(length) if length > 0 => Request::Stdin(&chunk[..length]).encode(&mut message),
            Err(Errno::INTR | Errno::AGAIN) => return GO_ON,
            _ => {
                self.reading = false;
                Request::StdinEnd.encode(&mut message);
            }
        }
        self.send(message);
        GO_ON
    }

    /// Sends a message, or keeps it. A monitor that is gone is noticed when its end of the socket is read.
    fn send(&mut self, message: Vec<u8>) {
        if wire::put(self.link.socket.as_fd(), &message, false) == Ok(false) {
            self.waiting = Some(message);
        }
    }

    /// Handles pending signals, one of which may end us.
    fn take_signals(&mut self) -> Result<Step> {
        while let Ok(Some(received)) = self.signals.read() {
            let number = received.signal;
            let leave = ControlFlow::Break(u8::try_from(128 + number).ok());
            if self.wish.terminal && number == Signal::WINCH.as_raw() {
                self.resize();
                continue;
            }
            if self.wish.ends_with_us() {
                return Err(Error::refusal("interrupted"));
            }
            if self.wish.terminal && !self.wish.signals {
                // The keys that make signals go to the container as keys; this one is meant for us.
                return Ok(leave);
            }
            if number == Signal::INT.as_raw() || number == Signal::TERM.as_raw() {
                self.interrupts += 1;
                if self.interrupts >= PATIENCE {
                    return Err(Error::Interrupted(PATIENCE));
                }
            }
            let there = self.tell(Request::Signal(number));
            if self.wish.terminal && number == Signal::HUP.as_raw() {
                // The user's terminal is gone: there is nobody left to serve.
                self.wait_until_heard();
                return Ok(leave);
            }
            if !there && self.outlets.is_full() && proxy::asks_to_end(number) {
                // The container has ended, and only whoever does not read its output keeps us here.
                return Ok(leave);
            }
        }
        Ok(GO_ON)
    }

    /// Waits until the monitor has read what it was told, for a moment at most: it forgets a client that is gone, also one
    /// whose requests it has not come to yet.
    fn wait_until_heard(&self) {
        let socket = self.control.as_ref().unwrap_or(&self.link.socket);
        let deadline = Instant::now() + FOR_LAST_REQUEST;
        // It lets go of whoever has no more to say, and then the connection has neither direction.
        let _ = rustix::net::shutdown(socket, Shutdown::Write);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(socket, PollFlags::empty())];
            match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
                Err(Errno::INTR) if !left.is_zero() => {}
                _ => return,
            }
        }
    }

    /// Makes the terminal one row higher, until it gets its size: one that has that size already tells nobody of it, and
    /// a program draws its prompt or its screen anew when it is told, as with Docker.
    fn disturb(&mut self) {
        if let (true, Some((rows, columns))) = (self.wish.terminal, terminal::size()) {
            self.tell(Request::Resize { rows: rows.saturating_add(1), columns });
        }
    }

    fn resize(&mut self) {
        if let (true, Some((rows, columns))) = (self.wish.terminal, terminal::size()) {
            self.requests.retain(|request| !matches!(request, Request::Resize { .. }));
            self.tell(Request::Resize { rows, columns });
        }
    }

    /// Sends a signal or a size, at once if it can be: as in the kernel, what waits already does not wait twice.
    /// `false` when the monitor is gone.
    fn tell(&mut self, request: Request<'static>) -> bool {
        if !self.requests.contains(&request) {
            self.requests.push_back(request);
        }
        self.pass_requests()
    }

    fn pass_requests(&mut self) -> bool {
        let socket = self.control.as_ref().unwrap_or(&self.link.socket);
        while let Some(request) = self.requests.front() {
            request.encode(&mut self.message);
            match wire::put(socket.as_fd(), &self.message, false) {
                Ok(true) => drop(self.requests.pop_front()),
                Ok(false) => break,
                Err(_) => {
                    self.requests.clear();
                    return false;
                }
            }
        }
        true
    }
}
