//! Queries over a connection: each message has its length before it (RFC 1035, 4.2.2).
//!
//! One query at a time for each client: it is read whole, answered here or passed on over a connection of our own, and
//! answered whole before the next is looked at.

use super::{LONGEST, Reply, Resolver, message, upstream};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::SocketType;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long a client may take over everything; an answer gives it as much again, and so does each server that is asked.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client's connection.
#[derive(Debug)]
pub(super) struct Stream {
    number: u64,
    client: OwnedFd,
    pub(super) deadline: Instant,
    /// What the client has sent and was not looked at.
    inbox: Vec<u8>,
    /// What the client is to get.
    outbox: Vec<u8>,
    asking: Option<Asking>,
}

/// A server that a query was passed on to.
#[derive(Debug)]
struct Asking {
    number: u64,
    server: OwnedFd,
    query: Vec<u8>,
    unsent: Vec<u8>,
    answer: Vec<u8>,
    /// Until when it may take; then the next is asked.
    until: Instant,
    others: Vec<SocketAddr>,
}

impl Stream {
    pub(super) fn new(number: u64, client: OwnedFd) -> Self {
        let deadline = Instant::now() + PATIENCE;
        Self { number, client, deadline, inbox: Vec::new(), outbox: Vec::new(), asking: None }
    }

    /// Whether an event of that number is about this connection.
    pub(super) fn is(&self, number: u64) -> bool {
        self.number == number || self.asking.as_ref().is_some_and(|asking| asking.number == number)
    }

    /// Whether an event of that number says that the client is gone. While a server is asked for it, it is watched for nothing, and the
    /// kernel tells of nothing else, but of that again and again.
    pub(super) fn has_left(&self, number: u64) -> bool {
        self.number == number && self.asking.is_some()
    }

    /// Until when a server is waited for, if one is asked.
    pub(super) fn answer_due(&self) -> Option<Instant> {
        self.asking.as_ref().map(|asking| asking.until)
    }

    fn put(&mut self, answer: &[u8]) {
        let length = u16::try_from(answer.len()).unwrap_or(0);
        self.outbox.extend_from_slice(&length.to_be_bytes());
        self.outbox.extend_from_slice(answer);
        self.deadline = Instant::now() + PATIENCE;
    }
}

impl Resolver {
    /// Does what can be done about a connection without waiting. `false` when it is over.
    pub(super) fn advance(&mut self, stream: &mut Stream) -> bool {
        if stream.asking.is_some() && !self.advance_asking(stream) {
            return false;
        }
        if stream.asking.is_none() && stream.outbox.is_empty() {
            let ended = receive(stream.client.as_fd(), &mut stream.inbox, &mut self.buffer);
            match first_message(&stream.inbox).map(<[u8]>::to_vec) {
                Some(query) => {
                    stream.inbox.drain(..query.len() + 2);
                    if !self.begin(stream, &query) {
                        return false;
                    }
                }
                None if ended => return false,
                None => {}
            }
        }
        if send(stream.client.as_fd(), &mut stream.outbox).is_err() {
            return false;
        }
        // A further query that is here already brings no event: a writable client does.
        let more = !stream.outbox.is_empty() || first_message(&stream.inbox).is_some();
        let wanted = match (&stream.asking, more) {
            (Some(_), _) => EventFlags::empty(),
            (None, true) => EventFlags::OUT,
            (None, false) => EventFlags::IN,
        };
        let watched = EventData::new_u64(stream.number);
        epoll::modify(&self.events, &stream.client, watched, wanted).is_ok()
    }

    /// Answers a query, or begins to ask somebody else. `false` for what is no query.
    fn begin(&mut self, stream: &mut Stream, query: &[u8]) -> bool {
        let Some(question) = message::parse(query) else { return false };
        match self.reply(query, &question, LONGEST) {
            Reply::Now(answer) => stream.put(&answer),
            Reply::PassOn => {
                let servers = self.memory.order(self.upstream.servers());
                self.ask_over_connection(stream, query, servers);
            }
        }
        true
    }

    fn ask_over_connection(
        &mut self,
        stream: &mut Stream,
        query: &[u8],
        mut servers: Vec<SocketAddr>,
    ) {
        while let Some(server) = servers.pop() {
            let namespace = self.namespace.as_fd();
            let reached = self.upstream.reach(server, SocketType::STREAM, namespace);
            let Ok(socket) = reached else { continue };
            let number = self.number();
            let (watched, wanted) = (EventData::new_u64(number), EventFlags::IN | EventFlags::OUT);
            if epoll::add(&self.events, &socket, watched, wanted).is_err() {
                continue;
            }
            let length = u16::try_from(query.len()).unwrap_or(0).to_be_bytes();
            let now = Instant::now();
            stream.deadline = now + PATIENCE;
            stream.asking = Some(Asking {
                number,
                server: socket,
                query: query.to_vec(),
                unsent: [&length[..], query].concat(),
                answer: Vec::new(),
                until: now + upstream::PATIENCE,
                others: servers,
            });
            return;
        }
        stream.asking = None;
        if let Some(question) = message::parse(query) {
            stream.put(&message::failure(query, &question, message::SERVER_FAILURE));
        }
    }

    /// Asks the next server, as the one that is asked takes too long.
    pub(super) fn ask_another(&mut self, stream: &mut Stream) {
        if let Some(asking) = stream.asking.take() {
            self.ask_over_connection(stream, &asking.query, asking.others);
        }
    }

    /// Sends the query to the server, or reads its answer. `false` when the client need not be kept.
    fn advance_asking(&mut self, stream: &mut Stream) -> bool {
        let Some(mut asking) = stream.asking.take() else { return true };
        let sent = send(asking.server.as_fd(), &mut asking.unsent);
        let ended = receive(asking.server.as_fd(), &mut asking.answer, &mut self.buffer);
        match first_message(&asking.answer) {
            Some(answer) if !message::answers(&asking.query, answer) => return false,
            Some(answer) if message::is_failure(answer) && !asking.others.is_empty() => {
                self.ask_over_connection(stream, &asking.query, asking.others);
            }
            Some(answer) => stream.put(answer),
            None if ended || sent.is_err() => {
                self.ask_over_connection(stream, &asking.query, asking.others);
            }
            None => {
                if asking.unsent.is_empty() {
                    let watched = EventData::new_u64(asking.number);
                    let _ = epoll::modify(&self.events, &asking.server, watched, EventFlags::IN);
                }
                stream.asking = Some(asking);
            }
        }
        true
    }
}

/// The first message that is whole.
fn first_message(bytes: &[u8]) -> Option<&[u8]> {
    let length = usize::from(u16::from_be_bytes(*bytes.first_chunk()?));
    bytes.get(2..2 + length)
}

/// Reads what is there. `true` when there will be no more.
fn receive(socket: BorrowedFd<'_>, inbox: &mut Vec<u8>, buffer: &mut [u8]) -> bool {
    match rustix::io::read(socket, &mut *buffer) {
        Ok(0) => true,
        Ok(length) => {
            inbox.extend_from_slice(&buffer[..length]);
            // One message and the beginning of the next; a client that sends more at once is cut off.
            inbox.len() > 2 * (LONGEST + 2)
        }
        Err(Errno::AGAIN | Errno::INTR | Errno::NOTCONN) => false,
        Err(_) => true,
    }
}

/// Sends what is taken.
fn send(socket: BorrowedFd<'_>, outbox: &mut Vec<u8>) -> Result<(), Errno> {
    while !outbox.is_empty() {
        match rustix::net::send(socket, outbox, rustix::net::SendFlags::NOSIGNAL) {
            Ok(length) => drop(outbox.drain(..length)),
            Err(Errno::AGAIN | Errno::INTR | Errno::NOTCONN) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_when_it_is_whole() {
        assert_eq!(first_message(&[0]), None);
        assert_eq!(first_message(&[0, 3, 1, 2]), None);
        assert_eq!(first_message(&[0, 3, 1, 2, 3, 0, 9]), Some(&[1, 2, 3][..]));
    }
}
