//! What is on its way to another's log. Messages that are not taken at once wait here, within limits, and memory stays flat.
//!
//! Whoever is slow holds the container up for a second at a time at most, and only if something was taken in the last one: its output
//! is not read meanwhile, and nobody is waited for within a turn of the loop, unless there is no more room here.

use super::socket::Socket;
use rustix::event::PollFlags;
use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// So long whoever is slow holds the container up, and a turn of the loop.
const FOR_SLOW: Duration = Duration::from_secs(1);
/// So long it may take in all, when the container has ended.
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
    /// So often it is tried again before all that waits is given up. If never, what comes while it is left alone is lost as well.
    pub(super) retries: u32,
}

/// What is on its way.
#[derive(Debug)]
pub(super) struct Outbox {
    socket: Socket,
    limits: Limits,
    waiting: VecDeque<Message>,
    /// Of all that waits, in bytes.
    size: u64,
    /// So much of the container's output was given up, in bytes.
    lost: u64,
    /// Until then this turn of the loop may take.
    turn_ends: Instant,
    /// The container has ended, and this is its last turn.
    is_last: bool,
    hold: Option<Hold>,
}

/// The container is held up.
#[derive(Debug)]
struct Hold {
    until: Instant,
    /// Something was taken since: whoever takes nothing at all holds nobody up a second time.
    is_of_use: bool,
}

impl Outbox {
    pub(super) fn new(socket: Socket, limits: Limits) -> Self {
        Self {
            socket,
            limits,
            waiting: VecDeque::new(),
            size: 0,
            lost: 0,
            turn_ends: Instant::now() + FOR_SLOW,
            is_last: false,
            hold: None,
        }
    }

    /// So much of the container's output did not get there, and never will, in bytes.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Sends a message, or takes it to those that wait: they go before it.
    ///
    /// # Errors
    /// It, or what has waited before it, is given up.
    pub(super) fn send(&mut self, message: &mut Message) -> io::Result<()> {
        let mut sent = Ok(());
        if !self.waiting.is_empty() && !self.has_room(message) {
            let held_until = self.hold.as_ref().map_or(self.turn_ends, |hold| hold.until);
            sent = self.advance(held_until.min(self.turn_ends), Some(message));
        }
        if self.waiting.is_empty() {
            match self.socket.send(message, Instant::now(), self.turn_ends) {
                Ok(true) => return sent,
                // It is on its way, or has no time to be.
                Ok(false) => {}
                Err(error) => {
                    let refused = self.count_refused();
                    if self.is_hopeless() || !self.has_room(message) {
                        self.lost += message.text;
                        return Err(error);
                    }
                    if refused {
                        sent = Err(error);
                    }
                }
            }
        } else if !self.has_room(message) {
            self.lost += message.text;
            return Err(self.socket.refusal("no more can wait for it"));
        }
        self.hold_up();
        let mut message = std::mem::take(message);
        // The buffer that a message is made in has room for longer ones.
        message.bytes.shrink_to_fit();
        self.size += message.size();
        self.waiting.push_back(message);
        sent
    }

    fn has_room(&self, message: &Message) -> bool {
        self.size + message.size() <= self.limits.size && self.waiting.len() < self.limits.count
    }

    /// Whether it was tried as often as it is to be.
    fn is_hopeless(&self) -> bool {
        self.socket.failures() > self.limits.retries
    }

    /// Something waits: so does the container, for a while.
    fn hold_up(&mut self) {
        let now = Instant::now();
        if self.hold.as_ref().is_none_or(|hold| hold.is_of_use && hold.until <= now) {
            self.hold = Some(Hold { until: now + FOR_SLOW, is_of_use: false });
        }
    }

    /// Whether somebody is there who has not taken everything yet.
    pub(super) fn is_behind(&self) -> bool {
        !self.waiting.is_empty() && self.socket.rests_until().is_none()
    }

    /// Until when nothing more is to come.
    pub(super) fn held_until(&self) -> Option<Instant> {
        let hold = self.hold.as_ref().filter(|_| self.is_behind())?;
        Some(hold.until).filter(|&until| until > Instant::now())
    }

    /// What the message on its way waits for.
    pub(super) fn watch(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.socket.awaits().map(|(fd, flags, _)| (fd, flags))
    }

    /// When [`Outbox::turn`] is to be called, if neither that is ready nor something else is to be done.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.waiting.is_empty() {
            return None;
        }
        let step_ends = || self.socket.awaits().map(|(_, _, until)| until);
        let next = self.socket.rests_until().or_else(step_ends).unwrap_or_else(Instant::now);
        self.held_until().into_iter().chain([next]).min()
    }

    /// A turn of the loop begins: sends what waits, if it is time to and it is taken at once.
    ///
    /// # Errors
    /// It was tried as often as it is to be, and all that waited is given up.
    pub(super) fn turn(&mut self) -> io::Result<()> {
        let now = Instant::now();
        (self.turn_ends, self.is_last) = (now + FOR_SLOW, false);
        if self.waiting.is_empty() || self.socket.rests_until().is_some() {
            return Ok(());
        }
        self.advance(now, None)
    }

    /// The container has ended. What is left of its output comes, and then [`Outbox::finish`] is called, unless it is started again.
    pub(super) fn begin_last_turn(&mut self) {
        (self.turn_ends, self.is_last) = (Instant::now() + FOR_LAST_WORDS, true);
    }

    /// Sends what waits for the last time.
    ///
    /// # Errors
    /// Something was given up.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if !self.is_last {
            self.begin_last_turn();
        }
        let mut sent = Ok(());
        if !self.waiting.is_empty() {
            self.socket.wake();
            sent = self.send_waiting(self.turn_ends, None);
        }
        if sent.is_ok() && self.waiting.is_empty() {
            sent = self.socket.look_back();
        }
        self.count_refused();
        if sent.is_ok() && !self.waiting.is_empty() {
            sent = Err(self.socket.refusal("it is too slow"));
        }
        self.give_up();
        sent
    }

    /// Sends what waits, until the deadline, or until there is room for another message.
    fn advance(&mut self, deadline: Instant, other: Option<&Message>) -> io::Result<()> {
        let Err(error) = self.send_waiting(deadline, other) else { return Ok(()) };
        let refused = self.count_refused();
        if self.is_hopeless() {
            self.give_up();
            return Err(error);
        }
        // What is left has its next turn.
        if refused { Err(error) } else { Ok(()) }
    }

    /// Counts what was sent in vain. Whether there is any.
    fn count_refused(&mut self) -> bool {
        let refused = self.socket.take_refused();
        self.lost += refused;
        refused > 0
    }

    fn send_waiting(&mut self, deadline: Instant, other: Option<&Message>) -> io::Result<()> {
        while let Some(message) = self.waiting.front()
            && other.is_none_or(|other| !self.has_room(other))
            && Instant::now() < self.turn_ends
            && self.socket.send(message, deadline, self.turn_ends)?
        {
            self.size -= message.size();
            self.waiting.pop_front();
            if let Some(hold) = &mut self.hold {
                hold.is_of_use = true;
            }
        }
        if self.waiting.is_empty() {
            // It may have been large, and is not needed for long.
            self.waiting = VecDeque::new();
            self.hold = None;
        }
        Ok(())
    }

    fn give_up(&mut self) {
        self.lost += self.waiting.iter().map(|message| message.text).sum::<u64>();
        (self.waiting, self.size, self.hold) = (VecDeque::new(), 0, None);
        self.socket.abandon();
        if self.limits.retries > 0 {
            self.socket.begin_anew();
        }
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
        Outbox::new(socket, limits)
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
        outbox.turn().unwrap();
        assert_eq!(outbox.waiting.len(), 3);
        assert!(outbox.due().unwrap() > Instant::now());
        outbox.socket.wake();
        send(&mut outbox, "four").unwrap();
        assert_eq!(outbox.waiting.len(), 4, "in order");
        outbox.turn().unwrap();
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
        outbox.turn().unwrap();
        outbox.socket.wake();
        assert!(outbox.turn().is_err());
        assert_eq!((outbox.waiting.len(), outbox.lost()), (0, 1));
        send(&mut outbox, "two").unwrap();
        assert_eq!((outbox.waiting.len(), outbox.lost()), (1, 1));
    }

    #[test]
    fn where_nothing_is_tried_again_what_is_not_taken_is_lost_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut outbox = outbox(&dir.path().join("log"), Limits { retries: 0, ..MANY });
        assert!(send(&mut outbox, "one").is_err());
        assert_eq!((outbox.waiting.len(), outbox.lost()), (0, 1));
    }

    #[test]
    fn whoever_takes_nothing_holds_a_container_up_once_until_it_takes_something() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let listener = UnixListener::bind(&path).unwrap();
        let manner = Manner { patience: 60 * FOR_SLOW, ..Manner::default() };
        let socket = Socket::open(Address::Stream(path), manner).unwrap();
        let mut outbox = Outbox::new(socket, MANY);
        let (mut reader, _) = listener.accept().unwrap();
        let text = "x".repeat(4000);
        outbox.turn().unwrap();
        let begun = Instant::now();
        // The socket is full at some time, and then what waits.
        while send(&mut outbox, &text).is_ok() {}
        assert!(begun.elapsed() >= FOR_SLOW, "{:?}", begun.elapsed());
        outbox.turn().unwrap();
        for _ in 0..100 {
            assert!(send(&mut outbox, &text).is_err());
        }
        assert!(begun.elapsed() < 2 * FOR_SLOW, "{:?}", begun.elapsed());
        assert_eq!((outbox.held_until(), outbox.is_behind(), outbox.lost()), (None, true, 101));
        let mut buffer = vec![0; 1 << 20];
        assert!(reader.read(&mut buffer).unwrap() > 10_000);
        outbox.turn().unwrap();
        assert!(!outbox.is_behind());
        while !outbox.is_behind() {
            send(&mut outbox, &text).unwrap();
        }
        assert!(outbox.held_until().is_some());
        let (_, flags) = outbox.watch().unwrap();
        assert_eq!(flags, PollFlags::OUT);
    }
}
