//! Sockets of engines and agents, to which this process connects before anything is made.

use crate::error::{Error, Result};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How long whoever listens may take to accept what waits before us, or to read what we send.
const PATIENCE: Duration = Duration::from_secs(1);

/// Connects to a socket of the engine's; `what` names it in an error.
///
/// # Errors
/// When nobody listens there; `EAGAIN` when nobody accepts.
pub fn connect(path: &std::path::Path, what: &str) -> Result<OwnedFd> {
    connect_stream(path).map_err(|errno| {
        Error::system(format!("connect to the {what} `{}`", path.display()), errno)
    })
}

/// The same, for who has words of its own for a failure.
///
/// # Errors
/// When nobody listens there; `EAGAIN` when nobody accepts.
pub fn connect_stream(path: &std::path::Path) -> std::result::Result<OwnedFd, Errno> {
    let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    // Of whoever has as many connections waiting as it lets wait: it hangs, and would hold us up for ever, with what we have locked.
    set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}
