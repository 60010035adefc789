//! The way to another's log: a socket that is opened again when it breaks, and never waited for without an end.

use super::address::{Address, LOCAL};
use super::connection::{Connection, Way};
use super::lookup::Lookup;
use super::outbox::Message;
use super::tls;
use rustix::event::PollFlags;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// So long is waited for a connection before a container is started.
const FOR_FIRST: Duration = Duration::from_secs(5);
/// So long is waited for an answer of a name server before that, where the container is not started without one.
const FOR_NAME: Duration = Duration::from_secs(10);
/// So long is waited for a connection while a container runs: everything else of it waits meanwhile.
const FOR_CONNECTION: Duration = Duration::from_secs(1);
/// So long is waited for a message to be taken.
const FOR_MESSAGE: Duration = Duration::from_secs(1);
/// It is left alone for so long at least, whatever is asked for: nothing else would be done.
const SHORTEST_REST: Duration = Duration::from_millis(100);
/// So long a destination is left alone that did not take a message.
const REST: Duration = Duration::from_secs(5);
/// So often is looked whether a name was looked up.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// How an address is dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    /// Whether a container is not started while nobody is there.
    pub(super) is_required: bool,
    /// So long is waited for a message to be taken.
    pub(super) patience: Duration,
    /// So long it is left alone when it did not take a message.
    pub(super) rest: Duration,
    /// So long at most, if each rest in a row is half as long again as the one before.
    pub(super) longest_rest: Option<Duration>,
    /// A connection that is older is made anew.
    pub(super) renewal: Option<Duration>,
    /// A message is sent in datagrams of this length, where it is sent in datagrams.
    pub(super) datagram: usize,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            is_required: true,
            patience: FOR_MESSAGE,
            rest: REST,
            longest_rest: None,
            renewal: None,
            datagram: usize::MAX,
        }
    }
}

impl Manner {
    /// How long it is left alone after so many failures in a row.
    fn rest_after(&self, failures: u32) -> Duration {
        let Some(longest) = self.longest_rest else { return self.rest };
        // 1.5 to the power of 64 is far beyond any limit.
        let growth = 1.5_f64.powi(i32::try_from(failures.saturating_sub(1).min(64)).unwrap_or(64));
        longest
            .min(Duration::try_from_secs_f64(self.rest.as_secs_f64() * growth).unwrap_or(longest))
    }
}

/// The way to an address.
#[derive(Debug)]
pub(super) struct Socket {
    address: Address,
    manner: Manner,
    /// Of UDP and TCP.
    lookup: Lookup,
    tls: Option<tls::Terms>,
    connection: Option<Connection>,
    resting: Option<Resting>,
    /// So many messages in a row were not taken.
    failures: u32,
    /// So much of the container's output was sent to somebody who has then said that it takes nothing from us, in bytes.
    refused: u64,
}

/// Why nothing is sent for a while.
#[derive(Debug)]
struct Resting {
    until: Instant,
    reason: String,
}

impl Socket {
    /// Connects for the first time.
    /// An error says where to, and why not.
    pub(super) fn open(address: Address, manner: Manner) -> Result<Self, String> {
        let tls = match &address {
            Address::Tls(_, _, trust) => Some(trust.terms()?),
            _ => None,
        };
        let mut socket = Self {
            address,
            manner,
            lookup: Lookup::default(),
            tls,
            connection: None,
            resting: None,
            failures: 0,
            refused: 0,
        };
        match socket.connect_first() {
            Ok(connection) => socket.connection = Some(connection),
            Err(failed) if manner.is_required => return Err(failed.to_string()),
            Err(failed) => socket.rest(failed.to_string()),
        }
        Ok(socket)
    }

    /// Until when nothing is sent, because it would not be taken.
    pub(super) fn rests_until(&self) -> Option<Instant> {
        self.resting.as_ref().map(|resting| resting.until).filter(|&until| until > Instant::now())
    }

    /// What the message on its way waits for, and for how long.
    pub(super) fn awaits(&self) -> Option<(BorrowedFd<'_>, PollFlags, Instant)> {
        self.connection.as_ref().and_then(Connection::awaits)
    }

    /// So many messages in a row were not taken.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// What it has failed at is forgotten. If it rests, it goes on.
    pub(super) fn begin_anew(&mut self) {
        self.failures = 0;
    }

    /// The message on its way is not delivered to its end.
    pub(super) fn abandon(&mut self) {
        self.connection.take_if(|connection| connection.has_begun());
    }

    /// Tries it again now.
    pub(super) fn wake(&mut self) {
        if let Some(resting) = &mut self.resting {
            resting.until = Instant::now();
        }
    }

    /// An error that says what is the matter with it.
    pub(super) fn refusal(&self, more: &str) -> io::Error {
        io::Error::other(match &self.resting {
            Some(Resting { reason, .. }) => format!("{reason}; {more}"),
            None => format!("{} does not take it: {more}", self.address),
        })
    }

    fn rest(&mut self, reason: String) {
        self.failures = self.failures.saturating_add(1);
        let rest = self.manner.rest_after(self.failures).max(SHORTEST_REST);
        let until = Instant::now() + rest;
        self.resting = Some(Resting { until, reason });
    }

    /// Sends a message, or what is left of the one that was begun: `false` if it is not taken by `deadline`. A connection that is
    /// needed for it is made until `turn_ends`.
    pub(super) fn send(
        &mut self,
        message: &Message,
        deadline: Instant,
        turn_ends: Instant,
    ) -> io::Result<bool> {
        if let Some(resting) = &self.resting {
            if resting.until > Instant::now() {
                return Err(io::Error::other(resting.reason.clone()));
            }
            self.resting = None;
        }
        let sent = match self.is_found(deadline) {
            Ok(true) => self.try_send(message, deadline, turn_ends),
            Ok(false) => {
                let reason =
                    format!("{} does not take it: its name is being looked up", self.address);
                let until = Instant::now() + BETWEEN_LOOKS;
                self.resting = Some(Resting { until, reason: reason.clone() });
                return Err(io::Error::other(reason));
            }
            Err(error) => Err(error),
        };
        match sent {
            Ok(is_taken) => {
                if is_taken {
                    self.failures = 0;
                }
                Ok(is_taken)
            }
            Err(error) => Err(self.fail(&error)),
        }
    }

    /// It is left alone for a while. Returns why.
    fn fail(&mut self, error: &io::Error) -> io::Error {
        // What a socket's limit is called is about the call, not about whoever is there.
        let why = match error.kind() {
            io::ErrorKind::WouldBlock => "it is too slow".to_owned(),
            _ => error.to_string(),
        };
        let reason = format!("{} does not take it: {why}", self.address);
        self.rest(reason.clone());
        io::Error::other(reason)
    }

    /// Sends it through the connection there is, and if that has broken, through another.
    fn try_send(
        &mut self,
        message: &Message,
        deadline: Instant,
        turn_ends: Instant,
    ) -> io::Result<bool> {
        let Manner { datagram, patience, .. } = self.manner;
        if let Some(mut connection) = self.connection.take()
            && self.is_fit(&mut connection)?
        {
            match connection.deliver(message, datagram, patience, deadline) {
                Ok(is_taken) => {
                    self.connection = Some(connection);
                    return Ok(is_taken);
                }
                // Whoever is there is slow: another connection would not help.
                Err(error) if is_timeout(&error) => return Err(error),
                Err(_) => {
                    self.is_closed(&mut connection)?;
                }
            }
        }
        let now = Instant::now();
        if now + FOR_CONNECTION / 2 > turn_ends {
            // What is left of the turn is too little to tell who is slow from who is not.
            return Ok(false);
        }
        let made = self.connect(turn_ends.min(now + FOR_CONNECTION));
        let mut connection = made.map_err(|failed| {
            self.lookup.doubt();
            failed.reason
        })?;
        let is_taken = connection.deliver(message, datagram, patience, deadline)?;
        self.connection = Some(connection);
        Ok(is_taken)
    }

    /// Whether a message may go through this connection, or has begun to.
    fn is_fit(&mut self, connection: &mut Connection) -> io::Result<bool> {
        let is_new = |renewal| connection.age() < renewal;
        if connection.has_begun() {
            return Ok(true);
        }
        Ok(self.manner.renewal.is_none_or(is_new) && !self.is_closed(connection)?)
    }

    fn is_closed(&mut self, connection: &mut Connection) -> io::Result<bool> {
        connection.is_closed().inspect_err(|_| self.refused += connection.unheard())
    }

    /// Looks whether the other side has said meanwhile that it takes nothing from us.
    pub(super) fn look_back(&mut self) -> io::Result<()> {
        let Some(mut connection) = self.connection.take() else { return Ok(()) };
        self.is_closed(&mut connection).map(drop).map_err(|error| self.fail(&error))
    }

    /// So much of the container's output was sent to somebody who has then said that it takes nothing from us, in bytes: what was not told
    /// before.
    pub(super) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    /// Whether it is known where the address is. Its name may have to be looked up again.
    fn is_found(&mut self, deadline: Instant) -> io::Result<bool> {
        let Some(place) = self.address.place() else { return Ok(true) };
        self.lookup.ask(place, deadline.min(Instant::now() + FOR_CONNECTION))
    }

    fn connect_first(&mut self) -> Result<Connection, Failed> {
        if let Some(place) = self.address.place() {
            let failed = |reason| Failed { what: format!("look up {}", self.address), reason };
            let patience = if self.manner.is_required { FOR_NAME } else { FOR_CONNECTION };
            if !self.lookup.ask(place, Instant::now() + patience).map_err(failed)? {
                let reason = format!("no name server has answered within {} s", patience.as_secs());
                return Err(failed(io::Error::new(io::ErrorKind::TimedOut, reason)));
            }
        }
        self.connect(Instant::now() + FOR_FIRST)
    }

    fn connect(&self, deadline: Instant) -> Result<Connection, Failed> {
        let failed = |reason| Failed { what: format!("connect to {}", self.address), reason };
        self.reach(deadline).map(Connection::from).map_err(failed)
    }

    fn reach(&self, deadline: Instant) -> io::Result<Way> {
        match &self.address {
            Address::Syslog => first_of(&LOCAL, deadline, |path, until| {
                let path = Path::new(path);
                Way::datagram(path).or_else(|_| Way::stream(path, until))
            }),
            Address::Datagram(path) => Way::datagram(path),
            Address::Stream(path) => Way::stream(path, deadline),
            Address::Udp(_) => first_of(self.lookup.places(), deadline, |place, _| Way::udp(place)),
            Address::Tcp(_) => first_of(self.lookup.places(), deadline, |place, until| {
                Ok(Way::Tcp(Way::tcp(place, until)?))
            }),
            Address::Tls(_, host, _) => first_of(self.lookup.places(), deadline, |place, until| {
                let terms = self.tls.as_ref().ok_or(io::ErrorKind::InvalidInput)?;
                let stream = tls::Stream::over(Way::tcp(place, until)?, host, terms, until)?;
                Ok(Way::Tls(Box::new(stream)))
            }),
        }
    }
}

/// What there was no connection for.
struct Failed {
    what: String,
    reason: io::Error,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, self.reason)
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The first that works, or why the last did not. Each has its share of the time until the deadline.
fn first_of<T>(
    places: &[T],
    deadline: Instant,
    connect: impl Fn(&T, Instant) -> io::Result<Way>,
) -> io::Result<Way> {
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for (shares, place) in (1..=places.len()).rev().zip(places) {
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now).div_f64(shares as f64);
        match connect(place, now + share) {
            Ok(way) => return Ok(way),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::os::unix::net::{UnixDatagram, UnixListener};

    fn open(address: Address) -> Result<Socket, String> {
        Socket::open(address, Manner::default())
    }

    fn send(socket: &mut Socket, bytes: &[u8]) -> io::Result<()> {
        let deadline = Instant::now() + 2 * FOR_MESSAGE;
        let message = Message { bytes: bytes.to_vec(), ..Message::default() };
        let is_taken = socket.send(&message, deadline, deadline)?;
        assert!(is_taken);
        Ok(())
    }

    #[test]
    fn a_connection_that_broke_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let first = UnixDatagram::bind(&path).unwrap();
        let mut socket = open(Address::Datagram(path.clone())).unwrap();
        send(&mut socket, b"one").unwrap();
        let mut buffer = [0; 9];
        assert_eq!(first.recv(&mut buffer).unwrap(), 3);
        drop(first);
        std::fs::remove_file(&path).unwrap();
        let second = UnixDatagram::bind(&path).unwrap();
        send(&mut socket, b"three").unwrap();
        assert_eq!(second.recv(&mut buffer).unwrap(), 5);
    }

    #[test]
    fn a_stream_that_the_other_side_has_closed_takes_nothing_more() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket = open(Address::Tcp(listener.local_addr().unwrap().to_string())).unwrap();
        // What it says meanwhile is in nobody's way.
        let (mut first, _) = listener.accept().unwrap();
        first.write_all(&[b'x'; 1000]).unwrap();
        send(&mut socket, b"one").unwrap();
        let mut text = [0; 3];
        first.read_exact(&mut text).unwrap();
        drop(first);
        send(&mut socket, b"two").unwrap();
        listener.accept().unwrap().0.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"two");
    }

    #[test]
    fn rests_grow_to_a_limit_where_that_is_asked_for() {
        let second = Duration::from_secs(1);
        let constant = Manner { rest: second, ..Manner::default() };
        assert_eq!([1, 2, 100].map(|failures| constant.rest_after(failures)), [second; 3]);
        let grows = Manner { longest_rest: Some(60 * second), ..constant };
        let rests = [1, 2, 3, u32::MAX].map(|failures| grows.rest_after(failures).as_millis());
        assert_eq!(rests, [1000, 1500, 2250, 60_000]);
    }

    #[test]
    fn whoever_is_gone_is_named_and_left_alone_for_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let refused = open(Address::Stream(path.clone())).unwrap_err();
        let expected = format!("connect to {}: No such file", path.display());
        assert!(refused.starts_with(&expected), "{refused}");
        let listener = UnixListener::bind(&path).unwrap();
        let mut socket = open(Address::Stream(path.clone())).unwrap();
        drop(listener);
        let said = send(&mut socket, b"lost\n").unwrap_err().to_string();
        assert!(said.contains("does not take it"), "{said}");
        let _listener = {
            std::fs::remove_file(&path).unwrap();
            UnixListener::bind(&path).unwrap()
        };
        assert_eq!(send(&mut socket, b"lost, too\n").unwrap_err().to_string(), said);
        socket.resting.as_mut().unwrap().until = Instant::now();
        send(&mut socket, b"arrives\n").unwrap();
    }

    #[test]
    fn whoever_does_not_read_is_waited_for_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap().to_string());
        let mut socket = open(address).unwrap();
        let (mut taken, _) = listener.accept().unwrap();
        let begun = Instant::now();
        let message = vec![b'x'; 1 << 20];
        while send(&mut socket, &message).is_ok() {}
        for _ in 0..100 {
            assert!(send(&mut socket, b"more\n").is_err());
        }
        assert!(begun.elapsed() < 5 * FOR_MESSAGE, "{:?}", begun.elapsed());
        // What is in the way is a piece of a message: the next one has a connection of its own.
        socket.resting.as_mut().unwrap().until = Instant::now();
        send(&mut socket, b"again\n").unwrap();
        let (mut next, _) = listener.accept().unwrap();
        let mut text = [0; 6];
        next.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"again\n");
        let mut rest = Vec::new();
        taken.read_to_end(&mut rest).unwrap();
        assert!(!rest.is_empty());
    }
}
