//! What is on its way to another's log. Where the driver is to try again, messages that are not taken wait here, within limits: the
//! container does not wait for them, and memory stays flat.

use super::socket::Socket;
use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

/// So long what waits is sent at a time: the container's other output waits meanwhile.
const FOR_WAITING: Duration = Duration::from_secs(1);
/// So long it is sent when the container has ended.
const FOR_LAST_WORDS: Duration = Duration::from_secs(5);

/// A message, in the form in which it is sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    /// What the answer to it ends with; empty where none is waited for.
    pub(super) receipt: Vec<u8>,
    /// So much of the container's output it stands for, in bytes.
    pub(super) text: u64,
}

impl Message {
    /// How much memory it takes up while it waits, in bytes.
    fn size(&self) -> u64 {
        (self.bytes.len() + self.receipt.len() + size_of::<Self>()) as u64
    }
}

/// How much waits, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Of all messages together, in bytes.
    pub(super) size: u64,
    /// So many messages.
    pub(super) count: usize,
    /// So often it is tried again before all that waits is given up.
    pub(super) retries: u32,
}

/// What is on its way.
#[derive(Debug)]
pub(super) struct Outbox {
    socket: Socket,
    /// `None` where nothing waits.
    limits: Option<Limits>,
    waiting: VecDeque<Message>,
    /// Of all that waits, in bytes.
    size: u64,
    /// So much of the container's output was given up, in bytes.
    lost: u64,
}

impl Outbox {
    pub(super) fn new(socket: Socket, limits: Option<Limits>) -> Self {
        Self { socket, limits, waiting: VecDeque::new(), size: 0, lost: 0 }
    }

    /// So much of the container's output did not get there, and never will, in bytes.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Sends a message, or takes it to those that wait: they go before it, when it is time to.
    ///
    /// # Errors
    /// It is given up.
    pub(super) fn send(&mut self, message: &mut Message) -> io::Result<()> {
        if self.waiting.is_empty() {
            let Err(error) = self.socket.send(message) else { return Ok(()) };
            if self.is_hopeless() || !self.has_room(message) {
                self.lost += message.text;
                return Err(error);
            }
        } else if !self.has_room(message) {
            self.lost += message.text;
            return Err(self.socket.refusal("no more can wait for it"));
        }
        let mut message = std::mem::take(message);
        // The buffer that a message is made in has room for longer ones.
        message.bytes.shrink_to_fit();
        self.size += message.size();
        self.waiting.push_back(message);
        Ok(())
    }

    fn has_room(&self, message: &Message) -> bool {
        self.limits.is_some_and(|limits| {
            self.size + message.size() <= limits.size && self.waiting.len() < limits.count
        })
    }

    /// Whether it was tried as often as it is to be.
    fn is_hopeless(&self) -> bool {
        self.limits.is_none_or(|limits| self.socket.failures() > limits.retries)
    }

    /// When [`Outbox::retry`] is to be called, if not before.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then(|| self.socket.rests_until().unwrap_or_else(Instant::now))
    }

    /// Sends what waits, if it is time to.
    ///
    /// # Errors
    /// It was tried as often as it is to be, and all that waited is given up.
    pub(super) fn retry(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() || self.socket.rests_until().is_some() {
            return Ok(());
        }
        match self.send_waiting(FOR_WAITING) {
            Err(error) if self.is_hopeless() => {
                self.give_up();
                Err(error)
            }
            // What is left has its next turn.
            _ => Ok(()),
        }
    }

    /// Sends what waits for the last time.
    ///
    /// # Errors
    /// Something was given up.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.socket.wake();
        let mut sent = self.send_waiting(FOR_LAST_WORDS);
        if sent.is_ok() && !self.waiting.is_empty() {
            sent = Err(self.socket.refusal("it is too slow"));
        }
        self.give_up();
        sent
    }

    fn send_waiting(&mut self, patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        while let Some(message) = self.waiting.front()
            && Instant::now() < deadline
        {
            self.socket.send(message)?;
            self.size -= message.size();
            self.waiting.pop_front();
        }
        if self.waiting.is_empty() {
            // It may have been large, and is not needed for long.
            self.waiting = VecDeque::new();
        }
        Ok(())
    }

    fn give_up(&mut self) {
        self.lost += self.waiting.iter().map(|message| message.text).sum::<u64>();
        (self.waiting, self.size) = (VecDeque::new(), 0);
        self.socket.begin_anew();
    }
}

#[cfg(test)]
mod tests {
    use super::super::address::Address;
    use super::super::socket::Manner;
    use super::*;
    use std::io::Read as _;
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    const MANY: Limits = Limits { size: 10_000, count: 1000, retries: 1000 };

    /// To somebody who is not there.
    fn outbox(path: &Path, limits: Limits) -> Outbox {
        let manner = Manner { is_required: false, ..Manner::default() };
        let socket = Socket::open(Address::Stream(path.to_owned()), manner).unwrap();
        Outbox::new(socket, Some(limits))
    }

    fn send(outbox: &mut Outbox, text: &str) -> Result<(), String> {
        let bytes = text.as_bytes().to_vec();
        let mut message = Message { bytes, receipt: Vec::new(), text: 1 };
        outbox.send(&mut message).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_taken_waits_and_arrives_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut outbox = outbox(&path, MANY);
        for text in ["one ", "two ", "three "] {
            send(&mut outbox, text).unwrap();
        }
        let listener = UnixListener::bind(&path).unwrap();
        // It is left alone for a while.
        outbox.retry().unwrap();
        assert_eq!(outbox.waiting.len(), 3);
        assert!(outbox.due().unwrap() > Instant::now());
        outbox.socket.wake();
        send(&mut outbox, "four").unwrap();
        assert_eq!(outbox.waiting.len(), 4, "in order");
        outbox.retry().unwrap();
        assert_eq!((outbox.due(), outbox.size, outbox.lost()), (None, 0, 0));
        drop(outbox);
        let mut got = String::new();
        listener.accept().unwrap().0.read_to_string(&mut got).unwrap();
        assert_eq!(got, "one two three four");
    }

    #[test]
    fn no_more_waits_than_may_and_the_rest_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let size = 2 * (4 + size_of::<Message>() as u64);
        for limits in [Limits { size, ..MANY }, Limits { count: 2, ..MANY }] {
            let mut outbox = outbox(&path, limits);
            send(&mut outbox, "1234").unwrap();
            send(&mut outbox, "5678").unwrap();
            let said = send(&mut outbox, "9").unwrap_err();
            assert!(said.ends_with("; no more can wait for it"), "{said}");
            assert_eq!((outbox.waiting.len(), outbox.lost()), (2, 1));
            let said = outbox.finish().unwrap_err().to_string();
            assert!(said.contains("does not take it"), "{said}");
            assert_eq!((outbox.due(), outbox.lost()), (None, 3));
        }
    }

    #[test]
    fn after_so_many_tries_what_waits_is_given_up_and_what_comes_waits_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut outbox = outbox(&dir.path().join("log"), Limits { retries: 2, ..MANY });
        send(&mut outbox, "one").unwrap();
        outbox.socket.wake();
        outbox.retry().unwrap();
        outbox.socket.wake();
        assert!(outbox.retry().is_err());
        assert_eq!((outbox.waiting.len(), outbox.lost()), (0, 1));
        send(&mut outbox, "two").unwrap();
        assert_eq!((outbox.waiting.len(), outbox.lost()), (1, 1));
    }

    #[test]
    fn where_nothing_waits_what_is_not_taken_is_lost_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut outbox = outbox(&dir.path().join("log"), MANY);
        outbox.limits = None;
        assert!(send(&mut outbox, "one").is_err());
        assert_eq!((outbox.waiting.len(), outbox.lost()), (0, 1));
    }
}
