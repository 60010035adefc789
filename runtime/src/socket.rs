//! Sockets of engines, to which this process connects before anything is made.

use crate::error::{Error, Result};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::os::fd::OwnedFd;

/// Connects to a socket of the engine's; `what` names it in an error.
///
/// # Errors
/// When nobody listens there.
pub fn connect(path: &std::path::Path, what: &str) -> Result<OwnedFd> {
    connect_stream(path).map_err(|errno| {
        Error::system(format!("connect to the {what} `{}`", path.display()), errno)
    })
}

/// The same, for who has words of its own for a failure.
///
/// # Errors
/// When nobody listens there.
pub fn connect_stream(path: &std::path::Path) -> std::result::Result<OwnedFd, Errno> {
    let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}
