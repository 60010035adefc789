//! The client of a container's monitor: our stdin, stdout, stderr, window and signals, passed on until it ends.
//!
//! Never waits for one direction alone: a container that is not read from and one that does not read would wait
//! for each other through us. One chunk of stdin may wait to be sent; nothing else is kept.

use crate::cli::AttachArgs;
use crate::container::{Containers, Status};
use crate::detach::{DetachKeys, Watcher};
use crate::error::{Error, Result};
use crate::event::emit_container;
use crate::monitor::stdio::Address;
use crate::monitor::{Link, attach_socket, wire};
use crate::settings::Settings;
use crate::terminal::{self, Raw};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::Signal;
use rustix::stdio;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use sys::signals::{Mask, SignalFd};
use wire::{CHUNK, Event, Request};

/// Signals that are passed on to the container, or, with a terminal, end us.
const PASSED_ON: [Signal; 7] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
];

/// How often ^C may go unheard before we leave.
const PATIENCE: u32 = 3;

/// How to attach.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Forward our stdin.
    pub stdin: bool,
    /// The container has a terminal.
    pub terminal: bool,
    /// Pass signals on.
    pub signals: bool,
    /// The keys that leave the container as it is.
    pub keys: DetachKeys,
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
    follow(&mut link, Wish { stdin, terminal, signals: args.sig_proxy, keys })
}

/// Connects to a running container's monitor.
pub fn open(settings: &Settings, id: &crate::container::ContainerId) -> Result<Link> {
    let path = attach_socket(settings, id);
    let open = || -> std::result::Result<OwnedFd, Errno> {
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let short = Address::of(&path)?;
        connect(&socket, &SocketAddrUnix::new(short.path())?)?;
        Ok(socket)
    };
    let socket = open().map_err(Error::io("connect to the monitor at", &path))?;
    Ok(Link { socket, child: None })
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

/// Stays attached until the container ends, or the detach keys are typed; returns its exit code.
pub fn follow(link: &mut Link, wish: Wish) -> Result<u8> {
    let mut watched = PASSED_ON.to_vec();
    if !wish.signals && !wish.terminal {
        watched.clear();
    }
    watched.push(Signal::WINCH);
    let mask = Mask::of(&watched);
    let before = sys::signals::set_mask(&mask);
    let result = SignalFd::new(&mask).map_err(Error::system("watch signals")).and_then(|signals| {
        until_started(link)?;
        let raw = if wish.stdin && wish.terminal && terminal::stdin_is_terminal() {
            Some(Raw::enter()?)
        } else {
            None
        };
        let code = Session::new(link, wish, &signals).run();
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
    signals: &'a SignalFd,
    wish: Wish,
    /// Our stdin has not ended.
    reading: bool,
    keys: Watcher,
    /// A message that the socket did not take.
    waiting: Option<Vec<u8>>,
    interrupts: u32,
    message: Vec<u8>,
}

impl<'a> Session<'a> {
    fn new(link: &'a mut Link, wish: Wish, signals: &'a SignalFd) -> Self {
        Self {
            link,
            signals,
            reading: wish.stdin,
            keys: Watcher::new(wish.keys.clone()),
            wish,
            waiting: None,
            interrupts: 0,
            message: Vec::new(),
        }
    }

    /// The container's exit code; `None` when the detach keys were typed.
    fn run(mut self) -> Result<Option<u8>> {
        let (mut buffer, mut chunk) = (Vec::new(), vec![0; CHUNK]);
        self.resize();
        loop {
            let [from_container, to_container, signal, stdin] = self.wait()?;
            if signal && let Some(code) = self.take_signals()? {
                return Ok(Some(code));
            }
            if to_container && let Some(message) = self.waiting.take() {
                self.send(message);
            }
            if from_container {
                let event =
                    wire::get(self.link.socket.as_fd(), &mut buffer).and_then(Event::decode);
                match event.ok_or_else(lost)? {
                    Event::Stdout(bytes) => write_out(stdio::stdout(), bytes)?,
                    Event::Stderr(bytes) => write_out(stdio::stderr(), bytes)?,
                    Event::Exited(code) => {
                        self.link.see_off();
                        return Ok(Some(code));
                    }
                    // As in Docker, who waits for a container waits for one life of it.
                    Event::Restarting(code) => return Ok(Some(code)),
                    Event::Failed(code, reason) => {
                        return Err(Error::Start { code, message: reason.to_owned() });
                    }
                    Event::Started => {}
                }
            }
            if stdin && self.read_stdin(&mut chunk) {
                return Ok(None);
            }
        }
    }

    /// Waits for something to do: `[from the container, to the container, signal, stdin]`.
    fn wait(&self) -> Result<[bool; 4]> {
        let mut of_socket = PollFlags::IN;
        of_socket.set(PollFlags::OUT, self.waiting.is_some());
        let stdin = stdio::stdin();
        let mut fds = vec![
            PollFd::new(&self.link.socket, of_socket),
            PollFd::new(self.signals, PollFlags::IN),
        ];
        if self.reading && self.waiting.is_none() {
            fds.push(PollFd::new(&stdin, PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok([false; 4]),
            Err(errno) => return Err(Error::system("wait for the container")(errno)),
        }
        let incoming = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        Ok([
            fds[0].revents().intersects(incoming),
            fds[0].revents().contains(PollFlags::OUT),
            !fds[1].revents().is_empty(),
            fds.get(2).is_some_and(|fd| !fd.revents().is_empty()),
        ])
    }

    /// Passes on what is typed; whether it was the detach keys.
    fn read_stdin(&mut self, chunk: &mut [u8]) -> bool {
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
                return detached;
            }
            Ok(length) if length > 0 => Request::Stdin(&chunk[..length]).encode(&mut message),
            Err(Errno::INTR | Errno::AGAIN) => return false,
            _ => {
                self.reading = false;
                Request::StdinEnd.encode(&mut message);
            }
        }
        self.send(message);
        false
    }

    /// Sends a message, or keeps it. A monitor that is gone is noticed when its end of the socket is read.
    fn send(&mut self, message: Vec<u8>) {
        if wire::put(self.link.socket.as_fd(), &message, false) == Ok(false) {
            self.waiting = Some(message);
        }
    }

    /// Handles pending signals; an exit code when one of them ends us.
    fn take_signals(&mut self) -> Result<Option<u8>> {
        while let Ok(Some(received)) = self.signals.read() {
            let number = received.signal;
            if number == Signal::WINCH.as_raw() {
                self.resize();
                continue;
            }
            if self.wish.terminal {
                // The keys that make signals go to the container as keys; this one is meant for us.
                return Ok(u8::try_from(128 + number).ok());
            }
            if number == Signal::INT.as_raw() || number == Signal::TERM.as_raw() {
                self.interrupts += 1;
                if self.interrupts >= PATIENCE {
                    return Err(Error::WrongState {
                        message: format!("got {PATIENCE} SIGTERM/SIGINTs, forcefully exiting"),
                        hint: Some("the container still runs; `nman kill` ends it".to_owned()),
                    });
                }
            }
            self.tell(&Request::Signal(number));
        }
        Ok(None)
    }

    fn resize(&mut self) {
        if let (true, Some((rows, columns))) = (self.wish.terminal, terminal::size()) {
            self.tell(&Request::Resize { rows, columns });
        }
    }

    /// A small message, at once: signals and sizes do not queue up behind stdin.
    fn tell(&mut self, request: &Request<'_>) {
        request.encode(&mut self.message);
        let _ = wire::put(self.link.socket.as_fd(), &self.message, false);
    }
}

/// Writes everything, also to a descriptor that somebody has made non-blocking.
pub fn write_out(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(&fd, PollFlags::OUT)], None);
            }
            Err(errno) => return Err(Error::system("write the container's output")(errno)),
        }
    }
    Ok(())
}
