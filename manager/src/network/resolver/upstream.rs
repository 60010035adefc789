//! Queries that are passed on: to which servers, from which namespace, and whose answers count.

use super::message;
use crate::network::dns;
use crate::network::error::{Error, Result};
use crate::network::netns;
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use rustix::rand::{GetRandomFlags, getrandom};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long one server may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(4);
/// For how long an answer speaks for a server: it may have come before the question was asked that is missed by now, as of the two
/// families that a name is asked for.
const TRUST: Duration = Duration::from_secs(2 * PATIENCE.as_secs());
/// For how long a server that is silent is asked after the others.
const REST: Duration = Duration::from_secs(30);
const PORT: u16 = 53;

/// Who is asked what neighbours do not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// The servers of the host's `resolv.conf` at that moment, from the host's namespace.
    Host,
    /// These, from the container's namespace.
    Fixed(Vec<IpAddr>),
}

impl Upstream {
    /// The servers, the first to ask last.
    pub(super) fn servers(&self) -> Vec<SocketAddr> {
        let mut servers: Vec<SocketAddr> = match self {
            Self::Host => {
                let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
                dns::servers(&text).iter().filter_map(place).collect()
            }
            Self::Fixed(servers) => {
                servers.iter().map(|server| SocketAddr::new(*server, PORT)).collect()
            }
        };
        servers.reverse();
        servers
    }

    /// A socket that hears the server only; of a stream, the connection is under way.
    pub(super) fn reach(
        &self,
        server: SocketAddr,
        kind: SocketType,
        namespace: BorrowedFd<'_>,
    ) -> Result<OwnedFd> {
        let open = || {
            let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let failed =
                |errno| Error::kernel(format_args!("ask the nameserver {}", server.ip()), errno);
            let socket = socket_with(family, kind, flags, None).map_err(failed)?;
            match connect(&socket, &server) {
                Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
                Err(errno) => Err(failed(errno)),
            }
        };
        match self {
            Self::Host => open(),
            Self::Fixed(_) => netns::run_in(namespace, open),
        }
    }
}

/// Where a server of the host's is reached; `None` if the interface is gone that it is on.
fn place(server: &dns::Server) -> Option<SocketAddr> {
    match (server.address, &server.zone) {
        (IpAddr::V6(address), Some(zone)) => {
            Some(SocketAddrV6::new(address, PORT, 0, number_of(zone)?).into())
        }
        (address, _) => Some(SocketAddr::new(address, PORT)),
    }
}

/// The number of an interface of the host's, by its name or by itself.
fn number_of(zone: &str) -> Option<u32> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None).ok()?;
    name_to_index(&socket, zone).ok().or_else(|| zone.parse().ok())
}

/// What is remembered of servers: those that say nothing are asked after the others for a while, so that not every name waits for one
/// that is down.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// When each has last said something.
    heard: Vec<(SocketAddr, Instant)>,
    /// Until when each is asked last.
    silent: Vec<(SocketAddr, Instant)>,
}

impl Memory {
    /// Takes those that are silent back; the first to ask is the last.
    pub(super) fn order(&mut self, mut servers: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let now = Instant::now();
        self.silent.retain(|(_, until)| *until > now);
        self.heard.retain(|(_, at)| *at + TRUST > now);
        servers.sort_by_key(|server| !has(&self.silent, *server));
        servers
    }

    /// One has answered.
    pub(super) fn hear(&mut self, server: SocketAddr) {
        self.silent.retain(|(silent, _)| *silent != server);
        self.heard.retain(|(heard, _)| *heard != server);
        self.heard.push((server, Instant::now()));
    }

    /// One has not answered in time. If it has answered others meanwhile, it dislikes the question, and is no worse than before: names
    /// that only the first server knows are not to be lost for one that nobody answers.
    pub(super) fn miss(&mut self, server: SocketAddr) {
        let now = Instant::now();
        let has_answered =
            self.heard.iter().any(|(heard, at)| *heard == server && *at + TRUST > now);
        if !has_answered && !has(&self.silent, server) {
            self.silent.push((server, now + REST));
        }
    }
}

fn has(list: &[(SocketAddr, Instant)], server: SocketAddr) -> bool {
    list.iter().any(|(listed, _)| *listed == server)
}

/// A datagram on its way from server to server.
#[derive(Debug)]
pub(super) struct Asked {
    /// The query, under a number of our own.
    pub(super) message: Vec<u8>,
    pub(super) deadline: Instant,
    servers: Vec<SocketAddr>,
    /// Who is asked, and the socket that hears nobody else.
    asked: Option<(SocketAddr, OwnedFd)>,
}

impl Asked {
    pub(super) fn new(query: &[u8], servers: Vec<SocketAddr>) -> Self {
        Self { message: query.to_vec(), deadline: Instant::now(), servers, asked: None }
    }

    pub(super) fn socket(&self) -> Option<&OwnedFd> {
        self.asked.as_ref().map(|(_, socket)| socket)
    }

    /// Who is asked.
    pub(super) fn server(&self) -> Option<SocketAddr> {
        self.asked.as_ref().map(|(server, _)| *server)
    }

    /// Whether there is another server to be asked.
    pub(super) fn has_another(&self) -> bool {
        !self.servers.is_empty()
    }

    /// Asks the next server that can be asked.
    pub(super) fn ask(&mut self, upstream: &Upstream, namespace: BorrowedFd<'_>) -> Result<()> {
        let failed = |errno| Error::kernel("ask a nameserver", errno);
        getrandom(&mut self.message[..2], GetRandomFlags::empty()).map_err(failed)?;
        while let Some(server) = self.servers.pop() {
            let Ok(socket) = upstream.reach(server, SocketType::DGRAM, namespace) else { continue };
            if rustix::io::write(&socket, &self.message).is_ok() {
                self.deadline = Instant::now() + PATIENCE;
                self.asked = Some((server, socket));
                return Ok(());
            }
        }
        Err(failed(Errno::HOSTUNREACH))
    }

    /// Reads what has come: the length of an answer, or `None` if it was no answer to this.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> std::result::Result<Option<usize>, Errno> {
        let Some(socket) = self.socket() else { return Err(Errno::NOTCONN) };
        match rustix::io::read(socket, &mut *buffer) {
            Ok(length) => {
                Ok(Some(length)
                    .filter(|length| message::answers(&self.message, &buffer[..*length])))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            // The server's host says that nobody listens.
            Err(errno) => Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_server_is_asked_last_until_it_is_heard_again() {
        let [one, two, three] =
            ["10.0.0.1:53", "10.0.0.2:53", "[fd00::3]:53"].map(|text| text.parse().unwrap());
        let mut memory = Memory::default();
        // The first to ask is the last.
        let all = || vec![three, two, one];
        assert_eq!(memory.order(all()), all());
        memory.miss(one);
        assert_eq!(memory.order(all()), [one, three, two]);
        memory.miss(two);
        assert_eq!(memory.order(all()), [two, one, three]);
        memory.miss(three);
        assert_eq!(memory.order(all()), all());
        for server in [one, two, three] {
            memory.hear(server);
            // A question that it does not answer, while it answers others, says nothing of it.
            memory.miss(server);
        }
        assert_eq!(memory.order(all()), all());
    }

    #[test]
    fn a_server_on_one_interface_is_asked_there() {
        let place = |text: &str| place(&text.parse().unwrap()).map(|place| place.to_string());
        assert_eq!(place("fe80::1%lo").as_deref(), Some("[fe80::1%1]:53"));
        assert_eq!(place("fe80::1%7").as_deref(), Some("[fe80::1%7]:53"));
        assert_eq!(place("fe80::1%nowhere0"), None);
        assert_eq!(place("10.0.0.1").as_deref(), Some("10.0.0.1:53"));
    }
}
