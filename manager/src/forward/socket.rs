//! The way to another's log: a socket that is opened again when it breaks, and never waited for without an end.

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect as connect_to, socket_with,
};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// So long is waited for a connection before a container is started.
const FOR_FIRST: Duration = Duration::from_secs(5);
/// So long is waited for a connection, or a message to be taken, while a container runs: its other output waits meanwhile.
const FOR_MESSAGE: Duration = Duration::from_secs(1);
/// So long a destination is left alone that did not take a message.
const REST: Duration = Duration::from_secs(5);

/// Where a syslog daemon of this machine listens, in the order in which syslog(3) implementations look.
const LOCAL: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// This machine's syslog daemon.
    Syslog,
    Datagram(PathBuf),
    Stream(PathBuf),
    /// `HOST:PORT`
    Udp(String),
    /// `HOST:PORT`
    Tcp(String),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Syslog => write!(f, "{}", LOCAL[0]),
            Self::Datagram(path) | Self::Stream(path) => write!(f, "{}", path.display()),
            Self::Udp(place) => write!(f, "udp://{place}"),
            Self::Tcp(place) => write!(f, "tcp://{place}"),
        }
    }
}

/// A connection. A message goes through it whole, or it is given up: a piece of one would spoil the next.
#[derive(Debug)]
enum Connection {
    Datagram(UnixDatagram),
    Stream(UnixStream),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// The way to an address.
#[derive(Debug)]
pub(super) struct Socket {
    address: Address,
    /// Of UDP and TCP: looked up once, because a name server may be slow to answer.
    places: Vec<SocketAddr>,
    connection: Option<Connection>,
    resting: Option<Resting>,
}

/// Why nothing is sent for a while.
#[derive(Debug)]
struct Resting {
    until: Instant,
    reason: String,
}

impl Socket {
    /// Connects for the first time. An error says where to, and why not.
    pub(super) fn open(address: Address) -> Result<Self, String> {
        let places = match &address {
            Address::Udp(place) | Address::Tcp(place) => place
                .to_socket_addrs()
                .map_err(|error| format!("look up {address}: {error}"))?
                .collect(),
            Address::Syslog | Address::Datagram(_) | Address::Stream(_) => Vec::new(),
        };
        let connection = connect(&address, &places, FOR_FIRST)
            .map_err(|error| format!("connect to {address}: {error}"))?;
        Ok(Self { address, places, connection: Some(connection), resting: None })
    }

    /// Sends a message.
    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        if let Some(resting) = self.resting.take_if(|resting| resting.until <= Instant::now()) {
            drop(resting);
        }
        if let Some(resting) = &self.resting {
            return Err(io::Error::other(resting.reason.clone()));
        }
        self.try_send(message).map_err(|error| {
            let reason = format!("{} does not take it: {error}", self.address);
            let until = Instant::now() + REST;
            self.resting = Some(Resting { until, reason: reason.clone() });
            io::Error::other(reason)
        })
    }

    /// Sends it through the connection there is, and if that has broken, through another.
    fn try_send(&mut self, message: &[u8]) -> io::Result<()> {
        if let Some(connection) = self.connection.take() {
            match connection.send(message) {
                Ok(()) => {
                    self.connection = Some(connection);
                    return Ok(());
                }
                // Whoever is there is slow: another connection would not help.
                Err(error) if is_timeout(&error) => return Err(error),
                Err(_) => {}
            }
        }
        let connection = connect(&self.address, &self.places, FOR_MESSAGE)?;
        connection.send(message)?;
        self.connection = Some(connection);
        Ok(())
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl Connection {
    fn send(&self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Datagram(socket) => socket.send(message).map(drop),
            Self::Udp(socket) => socket.send(message).map(drop),
            Self::Stream(stream) => (&*stream).write_all(message),
            Self::Tcp(stream) => (&*stream).write_all(message),
        }
    }
}

fn connect(address: &Address, places: &[SocketAddr], patience: Duration) -> io::Result<Connection> {
    match address {
        Address::Syslog => first_of(LOCAL, |path| {
            let path = Path::new(path);
            datagram(path).or_else(|_| stream(path))
        }),
        Address::Datagram(path) => datagram(path),
        Address::Stream(path) => stream(path),
        Address::Udp(_) => first_of(places, |place| {
            let any: SocketAddr = match place {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let socket = UdpSocket::bind(any)?;
            socket.connect(place)?;
            socket.set_write_timeout(Some(FOR_MESSAGE))?;
            Ok(Connection::Udp(socket))
        }),
        Address::Tcp(_) => first_of(places, |place| {
            let stream = TcpStream::connect_timeout(place, patience)?;
            stream.set_write_timeout(Some(FOR_MESSAGE))?;
            Ok(Connection::Tcp(stream))
        }),
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

fn datagram(path: &Path) -> io::Result<Connection> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_write_timeout(Some(FOR_MESSAGE))?;
    Ok(Connection::Datagram(socket))
}

/// The limit comes before the connection: one whose queue is full would be waited for as well.
fn stream(path: &Path) -> io::Result<Connection> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(FOR_MESSAGE))?;
    connect_to(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(Connection::Stream(UnixStream::from(socket)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_connection_that_broke_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let first = UnixDatagram::bind(&path).unwrap();
        let mut socket = Socket::open(Address::Datagram(path.clone())).unwrap();
        socket.send(b"one").unwrap();
        let mut buffer = [0; 9];
        assert_eq!(first.recv(&mut buffer).unwrap(), 3);
        drop(first);
        std::fs::remove_file(&path).unwrap();
        let second = UnixDatagram::bind(&path).unwrap();
        socket.send(b"three").unwrap();
        assert_eq!(second.recv(&mut buffer).unwrap(), 5);
    }

    #[test]
    fn whoever_is_gone_is_named_and_left_alone_for_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let refused = Socket::open(Address::Stream(path.clone())).unwrap_err();
        let expected = format!("connect to {}: No such file", path.display());
        assert!(refused.starts_with(&expected), "{refused}");
        let listener = UnixListener::bind(&path).unwrap();
        let mut socket = Socket::open(Address::Stream(path.clone())).unwrap();
        drop(listener);
        let said = socket.send(b"lost\n").unwrap_err().to_string();
        assert!(said.contains("does not take it"), "{said}");
        let _listener = {
            std::fs::remove_file(&path).unwrap();
            UnixListener::bind(&path).unwrap()
        };
        assert_eq!(socket.send(b"lost, too\n").unwrap_err().to_string(), said);
        socket.resting.as_mut().unwrap().until = Instant::now();
        socket.send(b"arrives\n").unwrap();
    }

    #[test]
    fn whoever_does_not_read_is_waited_for_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap().to_string());
        let mut socket = Socket::open(address).unwrap();
        let (mut taken, _) = listener.accept().unwrap();
        let begun = Instant::now();
        let message = vec![b'x'; 1 << 20];
        while socket.send(&message).is_ok() {}
        for _ in 0..100 {
            assert!(socket.send(b"more\n").is_err());
        }
        assert!(begun.elapsed() < 5 * FOR_MESSAGE, "{:?}", begun.elapsed());
        // What is in the way is a piece of a message: the next one has a connection of its own.
        socket.resting.as_mut().unwrap().until = Instant::now();
        socket.send(b"again\n").unwrap();
        let (mut next, _) = listener.accept().unwrap();
        let mut text = [0; 6];
        next.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"again\n");
        let mut rest = Vec::new();
        taken.read_to_end(&mut rest).unwrap();
        assert!(!rest.is_empty());
    }
}
