//! A connection to systemd: to its own socket, or to the bus that it is on.
//!
//! Blocking, one call at a time, with a limit on time. systemd's own socket needs no bus daemon and tells of every finished
//! job unasked; it takes root only, and is the first choice there. A user's manager is asked over the user's bus.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::message::{self, Call, PREFIX, Reader, Received, Writer};

/// How long systemd may take for an answer or a job, as in runc.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest line of the conversation before the first message, in bytes.
const LINE: usize = 1024;

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";
const PRIVATE: &str = "/run/systemd/private";
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";

/// Why a call has no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The other side refused: the name of its error, and its words.
    #[error("{message}")]
    Refused {
        /// The name: `org.freedesktop.systemd1.UnitExists`.
        name: String,
        /// The words.
        message: String,
    },
    /// Nobody can be reached.
    #[error("nobody listens at `{}`", .0.display())]
    Absent(PathBuf),
    /// No address is known to try.
    #[error("neither $DBUS_SESSION_BUS_ADDRESS nor $XDG_RUNTIME_DIR leads to the user's systemd")]
    NoAddress,
    /// It took too long.
    #[error("systemd did not answer within {} seconds", PATIENCE.as_secs())]
    Late,
    /// What came is no answer.
    #[error("the answer is not understood: {0}")]
    Garbled(&'static str),
    /// The connection broke.
    #[error("{}", sys::text(rustix::io::Errno::from_io_error(.0).unwrap_or(rustix::io::Errno::IO)))]
    Io(io::Error),
}

impl Error {
    /// Whether it is this refusal of systemd's, such as `UnitExists`.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        matches!(self, Error::Refused { name: found, .. } if found.rsplit('.').next() == Some(name))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Late,
            io::ErrorKind::UnexpectedEof => Error::Garbled("the connection was closed"),
            _ => Error::Io(error),
        }
    }
}

/// What a call comes to.
pub type Result<T> = std::result::Result<T, Error>;

/// The end of a job.
#[derive(Debug)]
struct Job {
    path: String,
    result: String,
}

/// An authenticated connection.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    /// There is a bus between us and systemd.
    on_bus: bool,
    serial: u32,
    /// Jobs whose end was heard of while something else was waited for.
    ended: Vec<Job>,
    deadline: Instant,
}

impl Connection {
    /// Connects to the system's manager, or to the user's.
    ///
    /// # Errors
    /// None is known, or nobody is there who lets us in.
    pub fn open(user: bool) -> Result<Connection> {
        Connection::first_of(if user { user_addresses() } else { system_addresses() })
    }

    /// Connects to the user's manager, whose runtime directory (`$XDG_RUNTIME_DIR`) is this one where the environment names none.
    ///
    /// # Errors
    /// Nobody is there who lets us in.
    pub fn open_in(directory: &Path) -> Result<Connection> {
        let named = user_addresses();
        if named.is_empty() {
            return Connection::first_of(user_addresses_from(None, Some(directory)));
        }
        Connection::first_of(named)
    }

    fn first_of(addresses: Vec<Address>) -> Result<Connection> {
        let mut failure = Error::NoAddress;
        for Address { socket, on_bus } in addresses {
            match Connection::to(&socket, on_bus) {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn to(socket: &Socket, on_bus: bool) -> Result<Connection> {
        let (address, name) = match socket {
            Socket::Path(path) => (SocketAddr::from_pathname(path)?, path.clone()),
            Socket::Abstract(name) => {
                let shown = [b"@", name.as_slice()].concat();
                (SocketAddr::from_abstract_name(name)?, OsString::from_vec(shown).into())
            }
        };
        let stream = UnixStream::connect_addr(&address).map_err(|_| Error::Absent(name))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let deadline = Instant::now() + PATIENCE;
        let mut connection = Connection { stream, on_bus, serial: 0, ended: Vec::new(), deadline };
        connection.authenticate()?;
        if on_bus {
            connection.call_to(BUS, BUS_PATH, BUS, "Hello", "", Writer::default())?;
        }
        Ok(connection)
    }

    /// `EXTERNAL` without a name: the other side knows from the kernel who we are, and in a user namespace better than we.
    ///
    /// All in one, as systemd's own clients do: where a first message arrives together with `BEGIN`, systemd takes it from the
    /// socket and then waits for the socket to have something.
    fn authenticate(&mut self) -> Result<()> {
        self.stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        let (first, second) = (self.line()?, self.line()?);
        if [first, second].iter().any(|line| line.starts_with("OK")) {
            return Ok(());
        }
        Err(Error::Refused { name: String::new(), message: "it rejects us".into() })
    }

    /// Byte by byte: what follows the line is not ours to swallow, and there are two of them.
    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        while line.len() < LINE {
            let mut byte = [0];
            self.read(&mut byte)?;
            match byte[0] {
                b'\n' => return Ok(String::from_utf8_lossy(&line).trim_end().to_owned()),
                byte => line.push(byte),
            }
        }
        Err(Error::Garbled("a line without an end"))
    }

    /// Fills the buffer, by the deadline.
    fn read(&mut self, mut buffer: &mut [u8]) -> Result<()> {
        while !buffer.is_empty() {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Late);
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(Error::Garbled("the connection was closed")),
                Ok(length) => buffer = &mut buffer[length..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Received> {
        let mut prefix = [0; PREFIX];
        self.read(&mut prefix)?;
        let rest = message::rest(&prefix).ok_or(Error::Garbled("a message without a length"))?;
        let mut message = prefix.to_vec();
        message.resize(PREFIX + rest, 0);
        self.read(&mut message[PREFIX..])?;
        message::decode(&message).ok_or(Error::Garbled("a message that is none"))
    }

    /// Calls a method of the manager and gives back the body of the answer, which has to have this signature.
    ///
    /// # Errors
    /// It is refused, or there is no answer that is understood.
    pub fn call(
        &mut self,
        member: &str,
        signature: &str,
        body: Writer,
        expected: &'static str,
    ) -> Result<Vec<u8>> {
        let (found, body) =
            self.call_to(SYSTEMD, MANAGER_PATH, MANAGER, member, signature, body)?;
        if found == expected { Ok(body) } else { Err(Error::Garbled("another type")) }
    }

    /// A property of the manager that is a string.
    ///
    /// # Errors
    /// It is refused, or there is no answer that is understood.
    pub fn manager_property(&mut self, name: &str) -> Result<String> {
        let mut body = Writer::default();
        body.string(MANAGER);
        body.string(name);
        let interface = "org.freedesktop.DBus.Properties";
        let (_, body) = self.call_to(SYSTEMD, MANAGER_PATH, interface, "Get", "ss", body)?;
        let mut reader = Reader::new(&body);
        match reader.signature().as_deref() {
            Some("s") => reader.string().ok_or(Error::Garbled("a string without an end")),
            _ => Err(Error::Garbled("another type")),
        }
    }

    fn call_to(
        &mut self,
        destination: &str,
        path: &str,
        interface: &str,
        member: &str,
        signature: &str,
        body: Writer,
    ) -> Result<(String, Vec<u8>)> {
        self.serial += 1;
        self.deadline = Instant::now() + PATIENCE;
        let call = Call { destination, path, interface, member, signature, body };
        self.stream.write_all(&call.encode(self.serial, self.on_bus))?;
        loop {
            match self.receive()? {
                Received::Reply { serial, signature, body } if serial == self.serial => {
                    return Ok((signature, body));
                }
                Received::Error { serial, name, message } if serial == self.serial => {
                    return Err(Error::Refused { name, message });
                }
                other => self.note(other),
            }
        }
    }

    /// Asks to be told of jobs that end; systemd's own socket tells everybody.
    ///
    /// # Errors
    /// It is refused, or there is no answer that is understood.
    pub fn subscribe(&mut self) -> Result<()> {
        if !self.on_bus {
            return Ok(());
        }
        let mut rule = Writer::default();
        rule.string(
            "type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/systemd1',\
             interface='org.freedesktop.systemd1.Manager',member='JobRemoved'",
        );
        self.call_to(BUS, BUS_PATH, BUS, "AddMatch", "s", rule)?;
        self.call("Subscribe", "", Writer::default(), "").map(drop)
    }

    fn note(&mut self, received: Received) {
        let Received::Signal { member, body } = received else { return };
        if member == "JobRemoved" {
            self.ended.extend(job(&body));
        }
    }

    /// Waits for a job to end, and gives back how: `done` is success.
    ///
    /// # Errors
    /// It is refused, or there is no answer that is understood.
    pub fn wait(&mut self, job: &str) -> Result<String> {
        self.deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(place) = self.ended.iter().position(|ended| ended.path == job) {
                return Ok(self.ended.swap_remove(place).result);
            }
            let received = self.receive()?;
            self.note(received);
        }
    }
}

/// `uoss`: number, object, unit and result.
fn job(body: &[u8]) -> Option<Job> {
    let mut reader = Reader::new(body);
    reader.u32()?;
    let path = reader.string()?;
    reader.string()?;
    Some(Job { path, result: reader.string()? })
}

#[derive(Debug, Eq, PartialEq)]
enum Socket {
    Path(PathBuf),
    Abstract(Vec<u8>),
}

#[derive(Debug, Eq, PartialEq)]
struct Address {
    socket: Socket,
    on_bus: bool,
}

fn system_addresses() -> Vec<Address> {
    vec![
        Address { socket: Socket::Path(PRIVATE.into()), on_bus: false },
        Address { socket: Socket::Path(SYSTEM_BUS.into()), on_bus: true },
    ]
}

fn user_addresses() -> Vec<Address> {
    let given = std::env::var_os("DBUS_SESSION_BUS_ADDRESS");
    let directory = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty());
    user_addresses_from(
        given.as_deref().map(OsStrExt::as_bytes),
        directory.as_deref().map(Path::new),
    )
}

/// The address that is given counts; without one there are the places where a user's session has its sockets.
fn user_addresses_from(given: Option<&[u8]>, directory: Option<&Path>) -> Vec<Address> {
    let given = given.unwrap_or_default();
    let mut addresses: Vec<Address> = given
        .split(|byte| *byte == b';')
        .filter_map(socket)
        .map(|socket| Address { socket, on_bus: true })
        .collect();
    if let Some(directory) = directory {
        if given.is_empty() {
            addresses.push(Address { socket: Socket::Path(directory.join("bus")), on_bus: true });
        }
        let private = Socket::Path(directory.join("systemd/private"));
        addresses.push(Address { socket: private, on_bus: false });
    }
    addresses
}

/// `unix:path=...` or `unix:abstract=...`, with bytes escaped as `%20`.
fn socket(address: &[u8]) -> Option<Socket> {
    let pairs = address.strip_prefix(b"unix:")?;
    pairs.split(|byte| *byte == b',').find_map(|pair| {
        let split = pair.iter().position(|byte| *byte == b'=')?;
        let value = unescape(&pair[split + 1..])?;
        match &pair[..split] {
            b"path" => Some(Socket::Path(OsString::from_vec(value).into())),
            b"abstract" => Some(Socket::Abstract(value)),
            _ => None,
        }
    })
}

fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = text.iter().copied();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    Some(plain)
}

/// Whether systemd manages this host, as sd_booted(3) tells.
#[must_use]
pub fn is_running() -> bool {
    let directory = rustix::fs::lstat("/run/systemd/system");
    directory.is_ok_and(|stat| {
        rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory
    })
}

/// Whether the manager that we may ask is the user's: we are not root, or root of a user namespace in which the system's
/// manager is somebody else's.
#[must_use]
pub fn is_user() -> bool {
    !rustix::process::geteuid().is_root()
        || rustix::fs::stat(PRIVATE).is_ok_and(|stat| stat.st_uid != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_a_bus_are_paths_or_abstract_names() {
        let path = |path: &str| Some(Socket::Path(path.into()));
        assert_eq!(socket(b"unix:path=/run/user/1000/bus"), path("/run/user/1000/bus"));
        assert_eq!(socket(b"unix:guid=12,path=/a%20b"), path("/a b"));
        assert_eq!(
            socket(b"unix:abstract=/tmp/x,guid=1"),
            Some(Socket::Abstract(b"/tmp/x".into()))
        );
        for wrong in ["", "tcp:host=a", "unix:", "unix:path", "unix:path=%2", "unix:path=%zz"] {
            assert_eq!(socket(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn the_given_address_comes_before_the_places_of_a_session() {
        let directory = Some(Path::new("/run/user/7"));
        let names = |addresses: Vec<Address>| {
            let name = |address: Address| match address.socket {
                Socket::Path(path) => path.to_string_lossy().into_owned(),
                Socket::Abstract(_) => "@".into(),
            };
            addresses.into_iter().map(name).collect::<Vec<_>>()
        };
        let (bus, private) = ("/run/user/7/bus", "/run/user/7/systemd/private");
        assert_eq!(names(user_addresses_from(None, directory)), [bus, private]);
        let given = Some(b"tcp:host=a;unix:path=/b".as_slice());
        assert_eq!(names(user_addresses_from(given, directory)), ["/b", private]);
        assert_eq!(names(user_addresses_from(None, None)), [""; 0]);
    }
}
