//! A connection to another's log, of whatever kind. Nobody is waited for beyond a deadline: a message that was begun by then goes on
//! with the next call. It goes through whole, or the connection is given up: a piece of one would spoil the next.

use super::outbox::Message;
use super::tls;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, socket_with,
};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// So long is waited for the receipt of a message: whoever is slow has it, as long as the connection is there, and would have it twice.
const FOR_RECEIPT: Duration = Duration::from_secs(60);
/// What comes as an answer is not longer than this.
const LONGEST_ANSWER: usize = 1024;
/// So often in a row is read what nobody has asked for: somebody may talk without an end.
pub(super) const READS: usize = 16;

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    way: Way,
    since: Instant,
    /// The message that is on its way.
    begun: Option<Begun>,
    /// So much of the container's output was sent that nobody has said anything of, in bytes.
    unheard: u64,
}

#[derive(Debug)]
pub(super) enum Way {
    Datagram(UnixDatagram),
    Stream(UnixStream),
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<tls::Stream>),
}

/// How far a message has come.
#[derive(Debug)]
struct Begun {
    /// So many bytes of it were taken.
    sent: usize,
    /// Until when it may take the next step: to be sent, then to be answered.
    until: Instant,
    /// It was sent whole: what has come of its answer.
    answer: Option<Vec<u8>>,
}

impl Connection {
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// So much of the container's output was sent that nobody has said anything of, in bytes.
    pub(super) fn unheard(&self) -> u64 {
        self.unheard
    }

    /// Whether a message is on its way: the next that is delivered must be the same.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// What the message on its way waits for, and for how long.
    pub(super) fn awaits(&self) -> Option<(BorrowedFd<'_>, PollFlags, Instant)> {
        let begun = self.begun.as_ref()?;
        let flags = if begun.answer.is_some() { PollFlags::IN } else { PollFlags::OUT };
        Some((self.way.fd(), flags, begun.until))
    }

    /// Sends a message, in datagrams of that length where it is sent in datagrams, and waits for its receipt if one is expected. `false` if
    /// that is not done by the deadline.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`]: it was not taken for as long as `patience`, or its receipt did not come. Or the connection has broken.
    pub(super) fn deliver(
        &mut self,
        message: &Message,
        datagram: usize,
        patience: Duration,
        deadline: Instant,
    ) -> io::Result<bool> {
        let Self { way, begun, .. } = self;
        let begun = begun.get_or_insert_with(|| Begun {
            sent: 0,
            until: Instant::now() + patience,
            answer: None,
        });
        let is_done = begun.send(way, &message.bytes, datagram, deadline)?
            && (message.receipt.is_empty() || begun.hear(way, &message.receipt, deadline)?);
        if is_done {
            self.begun = None;
            self.unheard += if message.receipt.is_empty() { message.text } else { 0 };
        }
        Ok(is_done)
    }

    /// Whether the other side has closed it: what is written after that gets nowhere, and there is no error before the next one.
    ///
    /// # Errors
    /// It has not taken anything that was sent.
    pub(super) fn is_closed(&mut self) -> io::Result<bool> {
        let fd = match &mut self.way {
            Way::Datagram(_) | Way::Udp(_) => return Ok(false),
            Way::Tls(stream) => return stream.is_closed(),
            Way::Stream(stream) => (*stream).as_fd(),
            Way::Tcp(stream) => (*stream).as_fd(),
        };
        // What it says is not asked for. If it says more, that is in its own way.
        let mut buffer = [0; 4096];
        for _ in 0..READS {
            match recv(fd, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((length, _)) if length > 0 => {}
                Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
                Ok(_) | Err(_) => return Ok(true),
            }
        }
        Ok(false)
    }
}

impl Begun {
    fn send(
        &mut self,
        way: &mut Way,
        message: &[u8],
        datagram: usize,
        deadline: Instant,
    ) -> io::Result<bool> {
        while self.answer.is_none() {
            let rest = &message[self.sent..];
            let step =
                if rest.is_empty() { way.flush().map(|()| 0) } else { way.send(rest, datagram) };
            match step {
                Ok(_) if rest.is_empty() => {
                    (self.answer, self.until) = (Some(Vec::new()), Instant::now() + FOR_RECEIPT);
                }
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.wait(way.fd(), PollFlags::OUT, deadline)? {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Waits for an answer that ends with the receipt.
    fn hear(&mut self, way: &mut Way, receipt: &[u8], deadline: Instant) -> io::Result<bool> {
        let mut buffer = [0; 256];
        loop {
            let answer = self.answer.get_or_insert_default();
            if answer.ends_with(receipt) {
                return Ok(true);
            }
            if answer.len() > LONGEST_ANSWER {
                let said = "its answer does not say that it has the message";
                return Err(io::Error::new(io::ErrorKind::InvalidData, said));
            }
            match way.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => answer.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.wait(way.fd(), PollFlags::IN, deadline)? {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for the next step: `false` if the deadline has come, an error if the step has taken too long.
    fn wait(&self, fd: BorrowedFd<'_>, flags: PollFlags, deadline: Instant) -> io::Result<bool> {
        if Instant::now() >= self.until {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        wait(fd, flags, deadline.min(self.until))?;
        Ok(Instant::now() < deadline)
    }
}

/// Waits until `fd` is ready, or until the deadline.
pub(super) fn wait(fd: BorrowedFd<'_>, flags: PollFlags, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Ok(());
    }
    match poll(&mut [PollFd::new(&fd, flags)], Timespec::try_from(left).ok().as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Ways, of which none blocks once it is there.
impl Way {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Datagram(socket) => socket.as_fd(),
            Self::Stream(stream) => stream.as_fd(),
            Self::Udp(socket) => socket.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
            Self::Tls(stream) => stream.as_fd(),
        }
    }

    /// Sends some of a message.
    fn send(&mut self, message: &[u8], datagram: usize) -> io::Result<usize> {
        match self {
            Self::Datagram(socket) => socket.send(message),
            Self::Udp(socket) => socket.send(&message[..message.len().min(datagram)]),
            Self::Stream(stream) => stream.write(message),
            Self::Tcp(stream) => stream.write(message),
            Self::Tls(stream) => stream.send(message),
        }
    }

    /// Sends what was taken and is not on its way yet.
    fn flush(&mut self) -> io::Result<()> {
        if let Self::Tls(stream) = self { stream.flush() } else { Ok(()) }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Datagram(socket) => socket.recv(buffer),
            Self::Stream(stream) => stream.read(buffer),
            Self::Udp(socket) => socket.recv(buffer),
            Self::Tcp(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }

    pub(super) fn udp(place: &SocketAddr) -> io::Result<Self> {
        let any: SocketAddr = match place {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(place)?;
        socket.set_nonblocking(true)?;
        Ok(Self::Udp(socket))
    }

    pub(super) fn tcp(place: &SocketAddr, deadline: Instant) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(place, left(deadline)?)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }

    pub(super) fn datagram(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_nonblocking(true)?;
        Ok(Self::Datagram(socket))
    }

    /// The limit comes before the connection: one whose queue is full would be waited for as well.
    pub(super) fn stream(path: &Path, deadline: Instant) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        set_socket_timeout(&socket, Timeout::Send, Some(left(deadline)?))?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        let stream = UnixStream::from(socket);
        stream.set_nonblocking(true)?;
        Ok(Self::Stream(stream))
    }
}

impl From<Way> for Connection {
    fn from(way: Way) -> Self {
        Self { way, since: Instant::now(), begun: None, unheard: 0 }
    }
}

/// How long there is until the deadline.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn whoever_talks_without_an_end_is_not_listened_to_for_long() {
        const SAID: usize = 1 << 20;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        let tcp = Way::tcp(&listener.local_addr().unwrap(), deadline).unwrap();
        let mut reader = tcp.try_clone().unwrap();
        let mut connection = Connection::from(Way::Tcp(tcp));
        let (mut talker, _) = listener.accept().unwrap();
        let talking = std::thread::spawn(move || talker.write_all(&[b'x'; SAID]));
        wait(reader.as_fd(), PollFlags::IN, deadline).unwrap();
        // As much as the socket holds.
        std::thread::sleep(Duration::from_millis(200));
        assert!(!connection.is_closed().unwrap());
        reader.set_nonblocking(false).unwrap();
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        talking.join().unwrap().unwrap();
        assert!(rest.len() >= SAID - READS * 4096, "{}", rest.len());
    }
}
