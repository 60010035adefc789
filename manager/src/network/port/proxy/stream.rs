//! A client's connection, and ours to the container: what comes in by one goes out by the other, each direction for itself.
//!
//! An end is watched for what can be done with it, and not at all when that is nothing: the kernel tells of an error or an end
//! whether or not it was asked, again and again.

use super::{CLIENT, SERVER};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{
    set_socket_keepalive, set_socket_linger, set_tcp_nodelay, socket_error,
};
use rustix::net::{SendFlags, Shutdown, connect, send, shutdown};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How often one end is read before others get their turn.
const AT_ONCE: usize = 4;

#[derive(Debug)]
pub(super) struct Stream {
    client: End,
    server: End,
    connecting: bool,
    /// From the client to the server, and back.
    forth: Direction,
    back: Direction,
}

#[derive(Debug)]
struct End {
    socket: OwnedFd,
    /// What it is watched for.
    watched: EventFlags,
}

#[derive(Debug, Default)]
struct Direction {
    /// What was read and not taken yet.
    pending: Vec<u8>,
    /// There is no more to read.
    ended: bool,
    /// The other end was told, or takes nothing any more.
    closed: bool,
    /// It did not end, but broke off.
    broken: bool,
}

impl Stream {
    /// Begins to connect to the container.
    pub(super) fn begin(
        events: &OwnedFd,
        number: u64,
        client: OwnedFd,
        server: OwnedFd,
        target: SocketAddr,
    ) -> Result<Self, Errno> {
        for socket in [&client, &server] {
            set_tcp_nodelay(socket, true)?;
            // Who has gone without a word is found out, in hours.
            set_socket_keepalive(socket, true)?;
        }
        match connect(&server, &target) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(errno),
        }
        let end = |socket| End { socket, watched: EventFlags::empty() };
        let (client, server) = (end(client), end(server));
        let (forth, back) = (Direction::default(), Direction::default());
        let mut stream = Self { client, server, connecting: true, forth, back };
        stream.watch(events, number)?;
        Ok(stream)
    }

    /// Does what can be done now. `false` when it is over. `of_server` says by which end the event came.
    pub(super) fn advance(
        &mut self,
        events: &OwnedFd,
        number: u64,
        of_server: bool,
        buffer: &mut [u8],
    ) -> bool {
        if self.connecting {
            // An error of the client's is found by writing to it.
            if of_server && !matches!(socket_error(&self.server.socket), Ok(Ok(()))) {
                return false;
            }
            if of_server && set_socket_linger(&self.client.socket, None).is_err() {
                return false;
            }
            self.connecting &= !of_server;
        }
        if !self.connecting {
            self.pass(buffer);
        }
        !self.is_over() && self.watch(events, number).is_ok()
    }

    /// Each direction for itself: what the one end has said before it broke off still reaches the other.
    fn pass(&mut self, buffer: &mut [u8]) {
        self.forth.pass(&self.client.socket, &self.server.socket, buffer);
        self.back.pass(&self.server.socket, &self.client.socket, buffer);
        // Who has broken off hears nothing any more either.
        if self.forth.broken {
            self.back.give_up();
        }
        if self.back.broken {
            self.forth.give_up();
        }
    }

    fn is_over(&self) -> bool {
        self.forth.closed && self.back.closed
    }

    /// Whether the client has all that the server has said.
    pub(super) fn is_told(&self) -> bool {
        self.back.closed
    }

    /// Lets go of a client that has not taken everything: what it has is not to look like all there is.
    pub(super) fn cut_off(self) {
        refuse_unless_served(&self.client.socket);
    }

    fn watch(&mut self, events: &OwnedFd, number: u64) -> Result<(), Errno> {
        let (client, server) = if self.connecting {
            (EventFlags::empty(), EventFlags::OUT)
        } else {
            (self.forth.reads() | self.back.writes(), self.back.reads() | self.forth.writes())
        };
        self.client.watch(events, number << 1 | CLIENT, client)?;
        self.server.watch(events, number << 1 | SERVER, server)
    }
}

impl End {
    fn watch(&mut self, events: &OwnedFd, data: u64, wanted: EventFlags) -> Result<(), Errno> {
        let data = EventData::new_u64(data);
        match (self.watched.is_empty(), wanted.is_empty()) {
            _ if self.watched == wanted => Ok(()),
            (true, _) => epoll::add(events, &self.socket, data, wanted),
            (false, true) => epoll::delete(events, &self.socket),
            (false, false) => epoll::modify(events, &self.socket, data, wanted),
        }?;
        self.watched = wanted;
        Ok(())
    }
}

impl Direction {
    fn reads(&self) -> EventFlags {
        let wants = self.pending.is_empty() && !self.ended;
        if wants { EventFlags::IN } else { EventFlags::empty() }
    }

    fn writes(&self) -> EventFlags {
        if self.pending.is_empty() { EventFlags::empty() } else { EventFlags::OUT }
    }

    /// Moves what there is, as far as it is taken.
    fn pass(&mut self, from: &OwnedFd, to: &OwnedFd, buffer: &mut [u8]) {
        for _ in 0..AT_ONCE {
            let Ok(taken) = put(to, &self.pending) else { return self.give_up() };
            self.pending.drain(..taken);
            if !self.pending.is_empty() {
                return;
            }
            // Its memory is not kept for an hour of silence.
            self.pending = Vec::new();
            if self.ended {
                break;
            }
            match rustix::io::read(from, &mut *buffer) {
                Ok(0) => self.ended = true,
                Ok(length) => {
                    let Ok(taken) = put(to, &buffer[..length]) else { return self.give_up() };
                    self.pending.extend_from_slice(&buffer[taken..length]);
                }
                Err(Errno::AGAIN | Errno::INTR) => return,
                Err(_) => (self.ended, self.broken) = (true, true),
            }
        }
        if self.ended && self.pending.is_empty() && !self.closed {
            self.closed = true;
            // Nor is it a good end for the other side.
            let _ = match self.broken {
                true => set_socket_linger(to, Some(Duration::ZERO)),
                false => shutdown(to, Shutdown::Write),
            };
        }
    }

    /// Nothing more is taken of it.
    fn give_up(&mut self) {
        self.pending = Vec::new();
        (self.ended, self.closed) = (true, true);
    }
}

/// Has a client hear that nobody is there, unless the container is reached: what it was let in by is no answer.
pub(super) fn refuse_unless_served(client: &OwnedFd) {
    // Closed with nothing to wait for, a connection is reset (socket(7), SO_LINGER).
    let _ = set_socket_linger(client, Some(Duration::ZERO));
}

/// Writes, and returns how much of it was taken.
fn put(to: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
    let mut taken = 0;
    while taken < bytes.len() {
        match send(to, &bytes[taken..], SendFlags::NOSIGNAL) {
            Ok(length) => taken += length,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(taken)
}
