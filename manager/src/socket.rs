//! Unix sockets of ours: for their owner alone, below paths of any length.

use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::settings::Settings;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

/// The longest path that fits into a socket's address, without its zero byte.
const LONGEST_ADDRESS: usize = 107;

/// Another name for a socket whose path does not fit into an address: by way of a descriptor of its directory.
#[derive(Debug)]
pub struct Address {
    path: PathBuf,
    /// Keeps the name valid.
    _directory: Option<OwnedFd>,
}

impl Address {
    /// A name for `path` that is short enough, and that other processes of root can use while this is kept.
    pub fn of(path: &Path) -> std::result::Result<Self, Errno> {
        if path.as_os_str().len() <= LONGEST_ADDRESS {
            return Ok(Self { path: path.to_owned(), _directory: None });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::NAMETOOLONG);
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(parent, flags, Mode::empty())?;
        let short = format!("/proc/{}/fd/{}", std::process::id(), directory.as_raw_fd());
        Ok(Self { path: Path::new(&short).join(name), _directory: Some(directory) })
    }

    /// The name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Listens on a Unix socket that only root may connect to, replacing what a killed process left there.
pub fn listen_at(path: &Path, kind: SocketType) -> Result<OwnedFd> {
    let _ = std::fs::remove_file(path);
    let open = || -> std::result::Result<OwnedFd, Errno> {
        let short = Address::of(path)?;
        let address = SocketAddrUnix::new(short.path())?;
        let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        bind(&socket, &address)?;
        rustix::fs::chmod(path, Mode::from_raw_mode(0o600))?;
        listen(&socket, 16)?;
        Ok(socket)
    };
    open().map_err(Error::io("listen at", path))
}

/// Connects to a socket of [`listen_at`] that keeps messages apart. The error tells whether somebody listens there.
pub fn connect_to(path: &Path) -> std::result::Result<OwnedFd, Errno> {
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let short = Address::of(path)?;
    connect(&socket, &SocketAddrUnix::new(short.path())?)?;
    Ok(socket)
}

/// The container's sockets, below the state directory.
#[must_use]
pub fn socket_dir(settings: &Settings, id: &ContainerId) -> PathBuf {
    settings.state.join("containers").join(id.as_str())
}

/// Where further clients attach.
#[must_use]
pub fn attach_socket(settings: &Settings, id: &ContainerId) -> PathBuf {
    socket_dir(settings, id).join("attach")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_socket_of_ours_is_for_its_owner_only_and_replaces_a_stale_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        std::fs::write(&path, "stale").unwrap();
        let _socket = listen_at(&path, SocketType::SEQPACKET).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
