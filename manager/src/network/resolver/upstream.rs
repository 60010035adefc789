//! Queries that are passed on: to which servers, from which namespace, and whose answers count.

use super::message;
use crate::network::dns;
use crate::network::error::{Error, Result};
use crate::network::netns;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use rustix::rand::{GetRandomFlags, getrandom};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long one server may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(4);
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
    pub(super) fn servers(&self) -> Vec<IpAddr> {
        let mut servers = match self {
            Self::Host => {
                dns::servers(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
            }
            Self::Fixed(servers) => servers.clone(),
        };
        servers.reverse();
        servers
    }

    /// A socket that hears the server only; of a stream, the connection is under way.
    pub(super) fn reach(
        &self,
        server: IpAddr,
        kind: SocketType,
        namespace: BorrowedFd<'_>,
    ) -> Result<OwnedFd> {
        let open = || {
            let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let failed = |errno| Error::kernel(format_args!("ask the nameserver {server}"), errno);
            let socket = socket_with(family, kind, flags, None).map_err(failed)?;
            match connect(&socket, &SocketAddr::new(server, PORT)) {
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

/// A datagram on its way from server to server.
#[derive(Debug)]
pub(super) struct Asked {
    /// The query, under a number of our own.
    pub(super) message: Vec<u8>,
    pub(super) deadline: Instant,
    servers: Vec<IpAddr>,
    socket: Option<OwnedFd>,
}

impl Asked {
    pub(super) fn new(query: &[u8], servers: Vec<IpAddr>) -> Self {
        Self { message: query.to_vec(), deadline: Instant::now(), servers, socket: None }
    }

    pub(super) fn socket(&self) -> Option<&OwnedFd> {
        self.socket.as_ref()
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
                self.socket = Some(socket);
                return Ok(());
            }
        }
        Err(failed(Errno::HOSTUNREACH))
    }

    /// Reads what has come: the length of an answer, or `None` if it was no answer to this.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> std::result::Result<Option<usize>, Errno> {
        let Some(socket) = &self.socket else { return Err(Errno::NOTCONN) };
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
