//! The place of a container's socket for sd_notify(3): the directory `notify`, which the container sees read-only, and a socket in it.
//!
//! The container's users reach the socket through their mount of that directory, whatever the modes of ours above it are. A privileged
//! container can make its mount writable: nothing in there is followed, and all of it goes with the container.

use super::{Record, Slot};
use crate::error::{Error, Result};
use crate::id::ContainerId;
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use rustix::process::umask;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

const DIRECTORY: &str = "notify";
const SOCKET: &str = "notify/notify.sock";

/// Where the directory of a container is.
///
/// # Errors
/// When `--root` is relative, and to what cannot be found out.
pub fn notify_directory(root: &Path, id: &ContainerId) -> Result<PathBuf> {
    let path = root.join(id.as_str()).join(DIRECTORY);
    std::path::absolute(&path)
        .map_err(|error| Error::io(format!("find `{}`", path.display()), &error))
}

/// A socket for messages of sd_notify(3).
///
/// # Errors
/// When there can be no more fds.
pub fn datagrams() -> std::result::Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
}

impl Slot {
    /// Makes the directory, if the container is to have one, and listens there if it goes on without `start`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn prepare_notify(&self, awaits_start: bool) -> Result<Option<OwnedFd>> {
        let record = self.record();
        if !record.saved.notify {
            return Ok(None);
        }
        let mode = Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH;
        let made = rustix::fs::mkdirat(&record.directory, DIRECTORY, mode)
            // Whatever the caller's umask is: any user of the container may search it.
            .and_then(|()| {
                rustix::fs::chmodat(&record.directory, DIRECTORY, mode, AtFlags::empty())
            });
        made.map_err(|errno| record.notify_failed(DIRECTORY, errno))?;
        if awaits_start { Ok(None) } else { record.listen_for_notify().map(Some) }
    }
}

impl Record {
    /// The socket at which the container says that it is ready.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn listen_for_notify(&self) -> Result<OwnedFd> {
        self.bind_notify().map_err(|errno| self.notify_failed(SOCKET, errno))
    }

    fn bind_notify(&self) -> std::result::Result<OwnedFd, Errno> {
        // Of a `start` that has failed.
        match rustix::fs::unlinkat(&self.directory, SOCKET, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        let address = format!("/proc/self/fd/{}/{SOCKET}", self.directory.as_fd().as_raw_fd());
        let address = SocketAddrUnix::new(address)?;
        let socket = datagrams()?;
        // For any user of the container. The mode of a socket is that of its inode before it is bound, within the umask (unix(7)).
        rustix::fs::fchmod(&socket, Mode::RWXU | Mode::RWXG | Mode::RWXO)?;
        let before = umask(Mode::empty());
        let bound = rustix::net::bind(&socket, &address);
        umask(before);
        bound.map(|()| socket)
    }

    /// Removes all of it. What cannot be removed keeps the container's directory.
    pub(super) fn remove_notify(&self) {
        if self.saved.notify {
            let _ = std::fs::remove_dir_all(self.path.join(DIRECTORY));
        }
    }

    fn notify_failed(&self, name: &str, errno: Errno) -> Error {
        Error::system(format!("make `{}`", self.path.join(name).display()), errno)
    }
}
