//! A container's locks: files in its directory, which the kernel unlocks with the last process that has them open.

use super::Dir;
use crate::error::{Error, Result};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, stat};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The lock of one container: whoever has it may change the container. Released when dropped, or when the process
/// ends.
#[derive(Debug)]
pub struct Guard {
    file: OwnedFd,
}

impl Guard {
    /// The locked file, to hand the lock on to another process: the lock belongs to the open file, not the process.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.file
    }

    /// Takes over a lock that another process handed on.
    #[must_use]
    pub fn from_fd(file: OwnedFd) -> Self {
        Self { file }
    }
}

impl Dir {
    /// Whether somebody is at work on the container: its monitor, or the `nman` that makes or removes it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        // Nothing is made for that: where there is no lock, nobody has it, and what is being removed has to become empty.
        let path = self.join("lock");
        match lock_open(&path, OFlags::RDONLY, FlockOperation::NonBlockingLockShared) {
            Ok(file) => !leads_to(&path, &file) && self.path.is_dir(),
            Err(Error::Io { source, .. }) => source.kind() == std::io::ErrorKind::WouldBlock,
            Err(_) => false,
        }
    }

    /// Takes the lock if nobody has it.
    pub fn try_lock(&self) -> Result<Option<Guard>> {
        let path = self.join("lock");
        match lock_file(&path, FlockOperation::NonBlockingLockExclusive) {
            Ok(file) if leads_to(&path, &file) => Ok(Some(Guard { file })),
            // Removed since it was found, or since the file was opened.
            _ if !self.path.is_dir() => Err(Error::NoSuchContainer(self.id().to_owned())),
            Ok(_) => Ok(None),
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::WouldBlock => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes the lock when it is free.
    pub(super) fn lock(&self) -> Result<Guard> {
        Ok(Guard { file: lock_file(&self.join("lock"), FlockOperation::LockExclusive)? })
    }

    /// Keeps other commands from changing what a container is while it runs, as `pause` and `update` do. Whoever makes a container has
    /// it until its config.json is there, and a monitor from before the runtime reads that until it is written down that the
    /// container runs. It is the directory that is locked, so that nothing is written.
    pub fn lock_changes(&self) -> Result<OwnedFd> {
        lock_open(&self.path, OFlags::RDONLY | OFlags::DIRECTORY, FlockOperation::LockExclusive)
    }
}

/// Whether a path still leads to a file that was opened there: who removes a container lets go of its lock when the file is gone.
fn leads_to(path: &Path, file: &OwnedFd) -> bool {
    let (Ok(there), Ok(own)) = (stat(path), fstat(file)) else { return false };
    (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino)
}

/// Locks a file that is made if need be.
pub(super) fn lock_file(path: &Path, operation: FlockOperation) -> Result<OwnedFd> {
    match lock_open(path, OFlags::RDWR | OFlags::CREATE, operation) {
        // A lock needs nothing written.
        Err(Error::Io { source, .. })
            if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem =>
        {
            lock_open(path, OFlags::RDONLY, operation)
        }
        locked => locked,
    }
}

fn lock_open(path: &Path, flags: OFlags, operation: FlockOperation) -> Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))
        .map_err(Error::io("open", path))?;
    loop {
        match flock(&file, operation) {
            Err(Errno::INTR) => {}
            result => return result.map(|()| file).map_err(Error::io("lock", path)),
        }
    }
}
