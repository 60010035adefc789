//! The way to another's log: a socket that is opened again when it breaks, and never waited for without an end.

use super::address::{Address, LOCAL};
use super::outbox::Message;
use super::tls;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, connect as connect_to, recv,
    socket_with,
};
use rustls::ClientConfig;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So long is waited for a connection before a container is started.
const FOR_FIRST: Duration = Duration::from_secs(5);
/// So long is waited for a connection, or a message to be taken, while a container runs: its other output waits meanwhile.
const FOR_MESSAGE: Duration = Duration::from_secs(1);
/// It is left alone for so long at least, whatever is asked for: nothing else would be done.
const SHORTEST_REST: Duration = Duration::from_millis(100);
/// So long is waited for the receipt of a message.
const FOR_RECEIPT: Duration = Duration::from_secs(2);
/// So long a destination is left alone that did not take a message.
const REST: Duration = Duration::from_secs(5);

/// What comes as an answer is not longer than this.
const LONGEST_ANSWER: usize = 1024;

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

/// A connection. A message goes through it whole, or it is given up: a piece of one would spoil the next.
#[derive(Debug)]
enum Connection {
    Datagram(UnixDatagram),
    Stream(UnixStream),
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<tls::Stream>),
}

/// The way to an address.
#[derive(Debug)]
pub(super) struct Socket {
    address: Address,
    manner: Manner,
    /// Of UDP and TCP: looked up once, because a name server may be slow to answer.
    places: Vec<SocketAddr>,
    tls: Option<Arc<ClientConfig>>,
    connection: Option<(Connection, Instant)>,
    resting: Option<Resting>,
    /// So many messages in a row were not taken.
    failures: u32,
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
            Address::Tls(_, _, trust) => Some(trust.config()?),
            _ => None,
        };
        let mut socket = Self {
            address,
            manner,
            places: Vec::new(),
            tls,
            connection: None,
            resting: None,
            failures: 0,
        };
        match socket.connect(FOR_FIRST) {
            Ok(connection) => socket.connection = Some((connection, Instant::now())),
            Err(failed) if manner.is_required => return Err(failed.to_string()),
            Err(failed) => socket.rest(failed.to_string()),
        }
        Ok(socket)
    }

    /// Until when nothing is sent, because it would not be taken.
    pub(super) fn rests_until(&self) -> Option<Instant> {
        self.resting.as_ref().map(|resting| resting.until).filter(|&until| until > Instant::now())
    }

    /// So many messages in a row were not taken.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// What it has failed at is forgotten. If it rests, it goes on.
    pub(super) fn begin_anew(&mut self) {
        self.failures = 0;
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

    /// Sends a message.
    pub(super) fn send(&mut self, message: &Message) -> io::Result<()> {
        if let Some(resting) = &self.resting {
            if resting.until > Instant::now() {
                return Err(io::Error::other(resting.reason.clone()));
            }
            self.resting = None;
        }
        match self.try_send(message) {
            Ok(()) => {
                self.failures = 0;
                Ok(())
            }
            Err(error) => {
                // What a socket's limit is called is about the call, not about whoever is there.
                let why = match error.kind() {
                    io::ErrorKind::WouldBlock => "it is too slow".to_owned(),
                    _ => error.to_string(),
                };
                let reason = format!("{} does not take it: {why}", self.address);
                self.rest(reason.clone());
                Err(io::Error::other(reason))
            }
        }
    }

    /// Sends it through the connection there is, and if that has broken, through another.
    fn try_send(&mut self, message: &Message) -> io::Result<()> {
        if let Some((mut connection, since)) = self.connection.take()
            && self.manner.renewal.is_none_or(|renewal| since.elapsed() < renewal)
            && !connection.is_closed()
        {
            match connection.deliver(message, self.manner.datagram) {
                Ok(()) => {
                    self.connection = Some((connection, since));
                    return Ok(());
                }
                // Whoever is there is slow: another connection would not help.
                Err(error) if is_timeout(&error) => return Err(error),
                Err(_) => {}
            }
        }
        let mut connection = self.connect(FOR_MESSAGE).map_err(|failed| failed.reason)?;
        connection.deliver(message, self.manner.datagram)?;
        self.connection = Some((connection, Instant::now()));
        Ok(())
    }

    fn connect(&mut self, patience: Duration) -> Result<Connection, Failed> {
        let failed = |what| move |reason| Failed { what, reason };
        if let Some(place) = self.address.place()
            && self.places.is_empty()
        {
            let found = place.to_socket_addrs();
            let found = found.map_err(failed(format!("look up {}", self.address)))?;
            self.places = found.collect();
        }
        self.reach(patience).map_err(failed(format!("connect to {}", self.address)))
    }

    fn reach(&self, patience: Duration) -> io::Result<Connection> {
        let limit = self.manner.patience;
        match &self.address {
            Address::Syslog => first_of(LOCAL, |path| {
                let path = Path::new(path);
                datagram(path, limit).or_else(|_| stream(path, limit))
            }),
            Address::Datagram(path) => datagram(path, limit),
            Address::Stream(path) => stream(path, limit),
            Address::Udp(_) => first_of(&self.places, |place| udp(place, limit)),
            Address::Tcp(_) => {
                first_of(&self.places, |place| Ok(Connection::Tcp(tcp(place, patience, limit)?)))
            }
            Address::Tls(_, host, _) => first_of(&self.places, |place| {
                let deadline = Instant::now() + patience;
                let config = self.tls.as_ref().ok_or(io::ErrorKind::InvalidInput)?;
                let stream = tcp(place, patience, limit)?;
                let stream = tls::Stream::over(stream, host, config, deadline)?;
                Ok(Connection::Tls(Box::new(stream)))
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

impl Connection {
    /// Sends a message, and waits for its receipt if one is expected.
    fn deliver(&mut self, message: &Message, datagram: usize) -> io::Result<()> {
        self.send(&message.bytes, datagram)?;
        if message.receipt.is_empty() { Ok(()) } else { self.hear(&message.receipt) }
    }

    fn send(&mut self, message: &[u8], datagram: usize) -> io::Result<()> {
        match self {
            Self::Datagram(socket) => socket.send(message).map(drop),
            Self::Udp(socket) => {
                message.chunks(datagram).try_for_each(|piece| socket.send(piece).map(drop))
            }
            Self::Stream(stream) => stream.write_all(message),
            Self::Tcp(stream) => stream.write_all(message),
            Self::Tls(stream) => stream.send(message),
        }
    }

    /// Waits for an answer that ends with the receipt.
    fn hear(&mut self, receipt: &[u8]) -> io::Result<()> {
        let deadline = Instant::now() + FOR_RECEIPT;
        let mut answer = Vec::new();
        let mut buffer = [0; 256];
        while !answer.ends_with(receipt) {
            if answer.len() > LONGEST_ANSWER || Instant::now() > deadline {
                let said = "its answer does not say that it has the message";
                return Err(io::Error::new(io::ErrorKind::InvalidData, said));
            }
            let length = match self {
                Self::Datagram(_) | Self::Udp(_) => return Ok(()),
                Self::Stream(stream) => stream.read(&mut buffer)?,
                Self::Tcp(stream) => stream.read(&mut buffer)?,
                Self::Tls(stream) => stream.read(&mut buffer)?,
            };
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            answer.extend_from_slice(&buffer[..length]);
        }
        Ok(())
    }

    /// Whether the other side has closed it: what is written after that gets nowhere, and there is no error before the next one.
    fn is_closed(&mut self) -> bool {
        let fd = match self {
            Self::Datagram(_) | Self::Udp(_) => return false,
            Self::Tls(stream) => return stream.is_closed(),
            Self::Stream(stream) => (*stream).as_fd(),
            Self::Tcp(stream) => (*stream).as_fd(),
        };
        // What it says is not asked for.
        let mut buffer = [0; 256];
        loop {
            match recv(fd, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((length, _)) if length > 0 => {}
                Err(Errno::AGAIN | Errno::INTR) => return false,
                Ok(_) | Err(_) => return true,
            }
        }
    }
}

/// The first that works, or why the last did not.
fn first_of<T>(
    places: impl IntoIterator<Item = T>,
    connect: impl Fn(T) -> io::Result<Connection>,
) -> io::Result<Connection> {
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for place in places {
        match connect(place) {
            Ok(connection) => return Ok(connection),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn udp(place: &SocketAddr, limit: Duration) -> io::Result<Connection> {
    let any: SocketAddr = match place {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(place)?;
    socket.set_write_timeout(Some(limit))?;
    Ok(Connection::Udp(socket))
}

fn tcp(place: &SocketAddr, patience: Duration, limit: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(place, patience)?;
    stream.set_write_timeout(Some(limit))?;
    stream.set_read_timeout(Some(patience.min(FOR_RECEIPT)))?;
    Ok(stream)
}

fn datagram(path: &Path, limit: Duration) -> io::Result<Connection> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_write_timeout(Some(limit))?;
    Ok(Connection::Datagram(socket))
}

/// The limit comes before the connection: one whose queue is full would be waited for as well.
fn stream(path: &Path, limit: Duration) -> io::Result<Connection> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(limit))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(FOR_RECEIPT))?;
    connect_to(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(Connection::Stream(UnixStream::from(socket)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    fn open(address: Address) -> Result<Socket, String> {
        Socket::open(address, Manner::default())
    }

    fn send(socket: &mut Socket, bytes: &[u8]) -> io::Result<()> {
        socket.send(&Message { bytes: bytes.to_vec(), ..Message::default() })
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
