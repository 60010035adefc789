//! Published ports of a user's container: listened on in the host's network namespace, passed on in the one that the user's networks
//! stand in. No rule can do that, for the packet filter of the host is root's.
//!
//! What a connection or a datagram is passed on by is a socket that was made in the other namespace: the container sees the
//! bridge's own address as its peer. It is looked after by the container's monitor, which polls one descriptor; nothing here
//! waits. Bounded everywhere: so many connections and flows at a time, and of each no more than one read that the other side has not
//! taken. Beyond, clients wait in the kernel's queue.

mod flow;
mod stream;

use super::reservation::raise_descriptors;
use super::{PortMapping, PortRequest, Protocol, reserve};
use crate::network::error::{Error, Result};
use crate::network::netns;
use crate::source::{Source, UNTIL_LISTENING};
use flow::Flow;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, accept_with, listen, socket_with};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};
use stream::Stream;
use sys::datagram::tell_destinations;

/// How many clients may be under way that send datagrams; the one that was silent for longest makes room.
const MOST_FLOWS: usize = 256;
/// Descriptors that are left to everything else in this process.
const SPARE: u64 = 128;
/// The longest datagram, and what is read of a connection at once.
const CHUNK: usize = 1 << 16;
/// How many clients are let in, and datagrams read, before others get their turn.
const AT_ONCE: usize = 16;
/// How many may wait to be let in.
const BACKLOG: i32 = 256;
/// How long clients may take what the container has said before it ended.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// The most connections at a time. Each may keep one read for either side in memory.
const MOST_STREAMS: u64 = 2048;

/// Ends of a connection, in the number of an event.
const CLIENT: u64 = 0;
const SERVER: u64 = 1;

/// What serves a container's ports.
#[derive(Debug)]
pub struct Proxy {
    events: OwnedFd,
    namespace: Arc<OwnedFd>,
    doors: Vec<Door>,
    streams: BTreeMap<u64, Stream>,
    flows: BTreeMap<u64, Flow>,
    /// How many descriptors this process may have.
    most_descriptors: u64,
    most_streams: usize,
    /// Whether connections are let in; else until when they are not, if it is not for want of room.
    open: bool,
    resting: Option<Instant>,
    next: u64,
}

/// A port of the host.
#[derive(Debug)]
struct Door {
    number: u64,
    socket: OwnedFd,
    port: PortMapping,
    target: SocketAddr,
}

impl Proxy {
    /// Listens on ports, in the caller's namespace, that lead to places in another one.
    ///
    /// # Errors
    /// [`Error::PortAllocated`] for a port that somebody else has.
    pub fn open(namespace: Arc<OwnedFd>, wanted: &[(PortMapping, SocketAddr)]) -> Result<Self> {
        let events = epoll::create(CreateFlags::CLOEXEC).map_err(failed)?;
        let mut proxy = Self {
            events,
            namespace,
            doors: Vec::new(),
            streams: BTreeMap::new(),
            flows: BTreeMap::new(),
            most_descriptors: raise_descriptors(),
            most_streams: 0,
            open: true,
            resting: None,
            next: 0,
        };
        proxy.listen_on(wanted)?;
        Ok(proxy)
    }

    /// Serves these ports from now on, and no others, by sockets of another namespace if one is given. Connections that are under way
    /// go on; what comes for a port that is served no more is refused.
    ///
    /// # Errors
    /// As [`Proxy::open`]; the other ports are served.
    pub fn follow(
        &mut self,
        namespace: Option<Arc<OwnedFd>>,
        wanted: &[(PortMapping, SocketAddr)],
    ) -> Result<()> {
        if let Some(namespace) = namespace {
            self.namespace = namespace;
        }
        let is_wanted = |door: &Door| wanted.contains(&(door.port, door.target));
        let gone: Vec<u64> =
            self.doors.iter().filter(|door| !is_wanted(door)).map(|door| door.number).collect();
        self.doors.retain(is_wanted);
        self.flows.retain(|_, flow| !gone.contains(&flow.door));
        self.listen_on(wanted)
    }

    fn listen_on(&mut self, wanted: &[(PortMapping, SocketAddr)]) -> Result<()> {
        let mut failure = None;
        for (port, target) in wanted {
            if self.doors.iter().all(|door| door.port != *port) {
                failure = failure.or(self.add(port, *target).err());
            }
        }
        let taken = SPARE + (MOST_FLOWS + self.doors.len()) as u64;
        let left = self.most_descriptors.saturating_sub(taken) / 2;
        self.most_streams = usize::try_from(left.clamp(16, MOST_STREAMS)).unwrap_or(16);
        failure.map_or(Ok(()), Err)
    }

    fn add(&mut self, port: &PortMapping, target: SocketAddr) -> Result<()> {
        let reservation = reserve(&[PortRequest::again(port)], &[], &[])?;
        for socket in reservation.sockets {
            if port.protocol == Protocol::Tcp {
                // Connections take it over: those that are still ending keep nobody from listening there again.
                set_socket_reuseaddr(&socket, true).map_err(failed)?;
                listen(&socket, BACKLOG).map_err(failed)?;
            } else {
                tell_destinations(socket.as_fd(), target.is_ipv6()).map_err(failed)?;
            }
            rustix::io::ioctl_fionbio(&socket, true).map_err(failed)?;
            let number = self.number();
            let watched = EventData::new_u64(number << 1);
            epoll::add(&self.events, &socket, watched, EventFlags::IN).map_err(failed)?;
            self.doors.push(Door { number, socket, port: *port, target });
        }
        // The new one has been told to let in whoever comes.
        self.set_open(self.open);
        Ok(())
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Does what can be done without waiting: to be called when the descriptor is readable, or something is due.
    fn handle(&mut self) {
        let mut events =
            [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 32];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let count = epoll::wait(&self.events, &mut events, Some(&now)).unwrap_or_default();
        let mut buffer = vec![0; if count > 0 { CHUNK } else { 0 }];
        for event in &events[..count] {
            let (number, end) = (event.data.u64() >> 1, event.data.u64() & 1);
            if let Some(at) = self.doors.iter().position(|door| door.number == number) {
                match self.doors[at].port.protocol {
                    Protocol::Udp => self.take_datagrams(at, &mut buffer),
                    _ => self.let_in(at),
                }
            } else if let Some(stream) = self.streams.get_mut(&number) {
                if !stream.advance(&self.events, number, end == SERVER, &mut buffer) {
                    self.streams.remove(&number);
                }
            } else if self.flows.contains_key(&number) {
                self.answer(number, &mut buffer);
            }
        }
        self.expire();
    }

    /// Lets clients in.
    fn let_in(&mut self, at: usize) {
        for _ in 0..AT_ONCE {
            if self.streams.len() >= self.most_streams {
                return self.set_open(false);
            }
            let (door, target) = (&self.doors[at].socket, self.doors[at].target);
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let client = match accept_with(door, flags) {
                Ok(client) => client,
                Err(Errno::AGAIN) => return,
                // Of this one alone: it has gone, or its network has (accept(2)).
                Err(errno) if !is_want(errno) => continue,
                Err(_) => {
                    self.resting = Some(Instant::now() + UNTIL_LISTENING);
                    return self.set_open(false);
                }
            };
            stream::refuse_unless_served(&client);
            let number = self.number();
            if let Ok(server) = self.socket(target, SocketType::STREAM)
                && let Ok(stream) = Stream::begin(&self.events, number, client, server, target)
            {
                self.streams.insert(number, stream);
            }
        }
    }

    /// A socket in the other namespace.
    fn socket(&self, target: SocketAddr, kind: SocketType) -> Result<OwnedFd> {
        let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        netns::run_in(self.namespace.as_fd(), || {
            socket_with(family, kind, flags, None).map_err(failed)
        })
    }

    /// Has connections let in, or wait.
    fn set_open(&mut self, open: bool) {
        self.open = open;
        let wanted = if open { EventFlags::IN } else { EventFlags::empty() };
        for door in self.doors.iter().filter(|door| door.port.protocol == Protocol::Tcp) {
            let watched = EventData::new_u64(door.number << 1);
            // Refused only for what was never added.
            let _ = epoll::modify(&self.events, &door.socket, watched, wanted);
        }
    }

    /// Ends what was silent for too long, and lets clients in again.
    fn expire(&mut self) {
        let now = Instant::now();
        self.flows.retain(|_, flow| flow.deadline > now);
        self.resting.take_if(|until| *until <= now);
        if !self.open && self.resting.is_none() && self.streams.len() < self.most_streams {
            self.set_open(true);
        }
    }

    /// Frees the ports, and then waits, not for long, until clients have what the container has said before it ended.
    pub fn end(mut self) {
        self.doors.clear();
        self.flows.clear();
        let until = Instant::now() + LAST_WORDS;
        loop {
            self.streams.retain(|_, stream| !stream.is_told());
            let left = until.saturating_duration_since(Instant::now());
            let Ok(patience) = Timespec::try_from(left) else { break };
            let mut watched = [PollFd::new(&self.events, PollFlags::IN)];
            if self.streams.is_empty() || left.is_zero() {
                break;
            }
            if rustix::event::poll(&mut watched, Some(&patience)).is_err_and(|e| e != Errno::INTR) {
                break;
            }
            self.handle();
        }
        self.streams.into_values().for_each(Stream::cut_off);
    }

    fn due(&self) -> Option<Instant> {
        self.flows.values().map(|flow| flow.deadline).chain(self.resting).min()
    }
}

impl Source for Proxy {
    fn watch<'a>(&'a self, watched: &mut Vec<PollFd<'a>>) {
        watched.push(PollFd::new(&self.events, PollFlags::IN));
    }

    fn due(&self) -> Option<Instant> {
        self.due()
    }

    fn turn(&mut self, _ready: &[PollFlags]) {
        self.handle();
    }
}

/// Whether the kernel lacks something that it may have later.
fn is_want(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
}

fn failed(errno: Errno) -> Error {
    Error::kernel("serve a published port", errno)
}

#[cfg(test)]
mod tests;
