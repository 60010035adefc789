//! The nameserver of one container: it answers for neighbours, and passes everything else on.
//!
//! It listens at 127.0.0.11 in the container's own network namespace, on ports of its own that two rules of the
//! container's packet filter stand before: neither a port of the host nor port 53 of the container is taken. Queries
//! to the host's nameservers leave from the host's namespace, so that servers on the host's loopback work; queries to
//! servers of `--dns` leave from the container's. It is looked after by the container's monitor, which polls one
//! descriptor and calls [`Resolver::handle`].
//!
//! Bounded everywhere: so many queries and connections at a time, each with its deadline. Every query that is passed on
//! has a socket (so a port) and a number of its own, both random, and takes its answer from the one server that was
//! asked.

mod directory;
mod message;
mod stream;
mod upstream;

pub use directory::Directory;
pub use upstream::Upstream;

use super::dns::RESOLVER;
use super::error::{Error, Result};
use super::{firewall, netns};
use crate::source::{Source, UNTIL_LISTENING};
use directory::Found;
use message::Question;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrAny, SocketFlags, SocketType};
use rustix::net::{
    RecvFlags, accept_with, bind, getsockname, listen, recvfrom, sendto, socket_with,
};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use stream::Stream;
use upstream::{Asked, Memory};

/// How many datagrams may wait for an answer from outside.
const MOST_QUERIES: usize = 64;
/// How many connections there may be.
const MOST_STREAMS: usize = 16;
/// How many datagrams are read before others get their turn.
const AT_ONCE: usize = 16;
/// The longest message.
const LONGEST: usize = u16::MAX as usize;

/// What an event is about; below [`FIRST`], everything has a number of its own.
const DATAGRAMS: u64 = 0;
const CONNECTIONS: u64 = 1;
const DEADLINES: u64 = 2;
const FIRST: u64 = 3;

/// A container's nameserver.
#[derive(Debug)]
pub struct Resolver {
    events: OwnedFd,
    timer: OwnedFd,
    datagrams: OwnedFd,
    connections: OwnedFd,
    namespace: OwnedFd,
    directory: Directory,
    upstream: Upstream,
    memory: Memory,
    queries: Vec<Query>,
    streams: Vec<Stream>,
    /// Until then no connection is taken: there are no descriptors to be had, and whoever waits for one goes on waiting.
    deaf: Option<Instant>,
    next: u64,
    buffer: Vec<u8>,
}

/// A datagram that was passed on.
#[derive(Debug)]
struct Query {
    number: u64,
    /// Who asked, and by which number.
    client: SocketAddrAny,
    id: [u8; 2],
    asked: Asked,
}

/// What is to be done about a query.
enum Reply {
    Now(Vec<u8>),
    PassOn,
}

impl Resolver {
    /// Listens in the container's namespace.
    ///
    /// # Errors
    /// The kernel refuses a socket or the rules before it.
    pub fn open(namespace: OwnedFd, directory: Directory, upstream: Upstream) -> Result<Self> {
        let failed = |errno| Error::kernel("make the container's resolver", errno);
        let (datagrams, connections) = netns::run_in(namespace.as_fd(), || {
            let (datagrams, udp) = bound(SocketType::DGRAM).map_err(failed)?;
            let (connections, tcp) = bound(SocketType::STREAM).map_err(failed)?;
            listen(&connections, 16).map_err(failed)?;
            firewall::redirect_resolver(RESOLVER, udp, tcp)?;
            Ok((datagrams, connections))
        })?;
        let open = || -> rustix::io::Result<(OwnedFd, OwnedFd)> {
            let events = epoll::create(CreateFlags::CLOEXEC)?;
            let timer = rustix::time::timerfd_create(
                TimerfdClockId::Monotonic,
                TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
            )?;
            for (fd, number) in
                [(&datagrams, DATAGRAMS), (&connections, CONNECTIONS), (&timer, DEADLINES)]
            {
                epoll::add(&events, fd, EventData::new_u64(number), EventFlags::IN)?;
            }
            Ok((events, timer))
        };
        let (events, timer) = open().map_err(failed)?;
        Ok(Self {
            events,
            timer,
            datagrams,
            connections,
            namespace,
            directory,
            upstream,
            memory: Memory::default(),
            queries: Vec::new(),
            streams: Vec::new(),
            deaf: None,
            next: FIRST,
            buffer: Vec::new(),
        })
    }

    /// Does what can be done without waiting: to be called when the descriptor is readable.
    pub fn handle(&mut self) {
        let mut events =
            [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 16];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let Ok(count) = epoll::wait(&self.events, &mut events, Some(&now)) else { return };
        // Its pages are only touched as far as a message reaches, and given back when all is done.
        self.buffer.resize(LONGEST, 0);
        for event in &events[..count] {
            match event.data.u64() {
                DATAGRAMS => self.read_datagrams(),
                CONNECTIONS => self.accept(),
                DEADLINES => {}
                number => self.go_on(number),
            }
        }
        self.expire();
        self.set_timer();
        self.buffer = Vec::new();
    }

    fn read_datagrams(&mut self) {
        for _ in 0..AT_ONCE {
            let mut buffer = std::mem::take(&mut self.buffer);
            let read = recvfrom(&self.datagrams, buffer.as_mut_slice(), RecvFlags::empty());
            let over = read.is_err();
            if let Ok((length, _, Some(client))) = read {
                self.answer_datagram(&buffer[..length], &client);
            }
            self.buffer = buffer;
            if over {
                break;
            }
        }
    }

    fn answer_datagram(&mut self, query: &[u8], client: &SocketAddrAny) {
        let Some(question) = message::parse(query) else { return };
        let answer = match self.reply(query, &question, message::DATAGRAM) {
            Reply::Now(answer) => answer,
            Reply::PassOn => match self.pass_on(query, client.clone()) {
                Some(()) => return,
                None => message::failure(query, &question, message::SERVER_FAILURE),
            },
        };
        self.send(&answer, client);
    }

    fn send(&self, answer: &[u8], client: &SocketAddrAny) {
        // A client whose queue is full asks again.
        let _ = sendto(&self.datagrams, answer, SendFlags::empty(), client);
    }

    /// An answer, which has so much room.
    fn reply(&self, query: &[u8], question: &Question, room: usize) -> Reply {
        let name = question.name.as_deref().filter(|_| question.is_of_internet());
        match self.directory.look_up(name.unwrap_or_default(), question.kind) {
            Err(_) => Reply::Now(message::failure(query, question, message::SERVER_FAILURE)),
            Ok(Found::Addresses(mut addresses)) => {
                addresses.retain(|address| match question.kind {
                    message::A => address.is_ipv4(),
                    message::AAAA => address.is_ipv6(),
                    _ => false,
                });
                // Several containers of one name take turns to be the first.
                let turn = usize::from(query[1]) % addresses.len().max(1);
                addresses.rotate_left(turn);
                Reply::Now(message::addresses(query, question, &addresses, room))
            }
            Ok(Found::Name(name)) => Reply::Now(message::pointer(query, question, &name)),
            Ok(found) => self.pass_on_or_deny(query, question, &found),
        }
    }

    fn pass_on_or_deny(&self, query: &[u8], question: &Question, found: &Found) -> Reply {
        match found {
            Found::Elsewhere => Reply::PassOn,
            // From inside, its own servers are reached as far as its networks reach.
            Found::Nowhere if matches!(self.upstream, Upstream::Fixed(_)) => Reply::PassOn,
            _ => Reply::Now(message::failure(query, question, message::NO_SUCH_NAME)),
        }
    }

    /// `None` if it cannot be passed on.
    fn pass_on(&mut self, query: &[u8], client: SocketAddrAny) -> Option<()> {
        if self.queries.len() >= MOST_QUERIES {
            return None;
        }
        let id = *query.first_chunk::<2>()?;
        let mut asked = Asked::new(query, self.memory.order(self.upstream.servers()));
        asked.ask(&self.upstream, self.namespace.as_fd()).ok()?;
        let number = self.number();
        let watched = EventData::new_u64(number);
        epoll::add(&self.events, asked.socket()?, watched, EventFlags::IN).ok()?;
        self.queries.push(Query { number, client, id, asked });
        Some(())
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let client = match accept_with(&self.connections, flags) {
            Ok(client) => client,
            // It has gone, or its network has (accept(2)).
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return,
            Err(_) => return self.be_deaf(Some(Instant::now() + UNTIL_LISTENING)),
        };
        if self.streams.len() >= MOST_STREAMS {
            // It hears so at once, and may try again.
            return;
        }
        let number = self.number();
        let watched = EventData::new_u64(number);
        if epoll::add(&self.events, &client, watched, EventFlags::IN).is_ok() {
            self.streams.push(Stream::new(number, client));
        }
    }

    /// Takes no connection until then, or takes some again.
    fn be_deaf(&mut self, until: Option<Instant>) {
        let wanted = if until.is_none() { EventFlags::IN } else { EventFlags::empty() };
        let watched = EventData::new_u64(CONNECTIONS);
        if epoll::modify(&self.events, &self.connections, watched, wanted).is_ok() {
            self.deaf = until;
        }
    }

    fn go_on(&mut self, number: u64) {
        if let Some(at) = self.queries.iter().position(|query| query.number == number) {
            return self.take_answer(at);
        }
        if let Some(at) = self.streams.iter().position(|stream| stream.is(number)) {
            let mut stream = self.streams.swap_remove(at);
            if !stream.has_left(number) && self.advance(&mut stream) {
                self.streams.push(stream);
            }
        }
    }

    /// A server has answered a datagram, or cannot be reached.
    fn take_answer(&mut self, at: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let query = &mut self.queries[at];
        let received = query.asked.receive(&mut buffer);
        if let (Ok(Some(_)), Some(server)) = (&received, query.asked.server()) {
            self.memory.hear(server);
        }
        match received {
            Ok(Some(length))
                if message::is_failure(&buffer[..length]) && query.asked.has_another() =>
            {
                self.ask_next(at);
            }
            Ok(Some(length)) => {
                let query = self.queries.swap_remove(at);
                buffer[..2].copy_from_slice(&query.id);
                self.send(&buffer[..length], &query.client);
            }
            // Not an answer to this query, or none yet.
            Ok(None) => {}
            Err(_) => self.ask_next(at),
        }
        self.buffer = buffer;
    }

    /// The next server, or the end of it.
    fn ask_next(&mut self, at: usize) {
        let query = &mut self.queries[at];
        let watched = EventData::new_u64(query.number);
        let asked = query.asked.ask(&self.upstream, self.namespace.as_fd()).is_ok()
            && query
                .asked
                .socket()
                .is_some_and(|fd| epoll::add(&self.events, fd, watched, EventFlags::IN).is_ok());
        if !asked {
            let mut query = self.queries.swap_remove(at);
            query.asked.message[..2].copy_from_slice(&query.id);
            if let Some(question) = message::parse(&query.asked.message) {
                let code = message::SERVER_FAILURE;
                let answer = message::failure(&query.asked.message, &question, code);
                self.send(&answer, &query.client);
            }
        }
    }

    fn expire(&mut self) {
        let now = Instant::now();
        if self.deaf.is_some_and(|until| until <= now) {
            self.be_deaf(None);
        }
        for at in (0..self.queries.len()).rev() {
            if self.queries[at].asked.deadline <= now {
                self.queries[at].asked.server().into_iter().for_each(|it| self.memory.miss(it));
                self.ask_next(at);
            }
        }
        self.streams.retain(|stream| stream.deadline > now);
        for at in (0..self.streams.len()).rev() {
            if self.streams[at].answer_due().is_some_and(|due| due <= now) {
                let mut stream = self.streams.swap_remove(at);
                self.ask_another(&mut stream);
                if self.advance(&mut stream) {
                    self.streams.push(stream);
                }
            }
        }
    }

    /// Sets the timer to the first deadline; without any, off.
    fn set_timer(&self) {
        let deadlines = self.queries.iter().map(|query| query.asked.deadline);
        let of_stream =
            |stream: &Stream| stream.answer_due().into_iter().chain([stream.deadline]).min();
        let first =
            deadlines.chain(self.streams.iter().filter_map(of_stream)).chain(self.deaf).min();
        let left = first.map_or(Duration::ZERO, |first| {
            first.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
        });
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec::try_from(left).unwrap_or(never);
        let setting = Itimerspec { it_interval: never, it_value: value };
        let _ = rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &setting);
    }
}

impl AsFd for Resolver {
    /// Readable when there is something to do.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

impl Source for Resolver {
    fn watch<'a>(&'a self, watched: &mut Vec<PollFd<'a>>) {
        watched.push(PollFd::new(&self.events, PollFlags::IN));
    }

    fn turn(&mut self, _ready: &[PollFlags]) {
        self.handle();
    }
}

/// A socket at the resolver's address, on a port that the kernel chooses.
fn bound(kind: SocketType) -> rustix::io::Result<(OwnedFd, u16)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, kind, flags, None)?;
    bind(&socket, &SocketAddr::new(RESOLVER.into(), 0))?;
    let address = SocketAddr::try_from(getsockname(&socket)?).map_err(|_| Errno::AFNOSUPPORT)?;
    Ok((socket, address.port()))
}
