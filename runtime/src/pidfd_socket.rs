//! `--pidfd-socket`: an fd of exactly the process that was made, for whoever listens on a unix socket.
//!
//! One message: the kind of process, as runc names it, and the pidfd by SCM_RIGHTS.

use crate::cli::Parsed;
use crate::error::{Error, Result};
use crate::socket;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What kind of process it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A container's init.
    Init,
    /// One that was executed in a container.
    Exec,
}

/// The path on the command line.
pub fn path(parsed: &Parsed) -> Option<PathBuf> {
    parsed.value("pidfd-socket").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// A socket that somebody listens on.
#[derive(Debug)]
pub struct PidfdSocket(OwnedFd);

impl PidfdSocket {
    /// Connects, before anything is made: that nobody listens is found out first.
    ///
    /// # Errors
    /// When nobody does.
    pub fn connect(path: Option<&Path>) -> Result<Option<PidfdSocket>> {
        let connect = |path| socket::connect(path, "pidfd socket").map(PidfdSocket);
        path.map(connect).transpose()
    }

    /// Sends the pidfd.
    ///
    /// # Errors
    /// When the listener has gone.
    pub fn send(&self, kind: Kind, pidfd: BorrowedFd<'_>) -> Result<()> {
        let name = match kind {
            Kind::Init => "standard",
            Kind::Exec => "setns",
        };
        sys::fd::send(self.0.as_fd(), name.as_bytes(), pidfd)
            .map_err(|errno| Error::system("send the pidfd to the pidfd socket", errno))
    }
}
