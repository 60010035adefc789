//! A container's locks: files in its directory, which the kernel unlocks with the last process that has them open.

use super::Dir;
use crate::error::{Error, Result};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, stat};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a command waits for whoever else is at work on a container.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks whether they are still.
const PAUSE: Duration = Duration::from_millis(10);

/// A command's wait for whoever else is at work on a container. It has an end: a runtime that hangs in a hook or on a dead file system
/// keeps its container's locks for ever, and the command is to say so.
#[derive(Debug)]
pub struct Turn(Instant);

impl Turn {
    /// The wait begins.
    #[must_use]
    pub fn begin() -> Self {
        Self(Instant::now())
    }

    /// Waits a little; false when that has been long enough.
    #[must_use]
    pub fn wait(&self) -> bool {
        let goes_on = self.0.elapsed() <= PATIENCE;
        if goes_on {
            std::thread::sleep(PAUSE);
        }
        goes_on
    }
}

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
        self.flock_changes(FlockOperation::LockExclusive)
    }

    /// The same for a command that is `to` do something with the container of this name, which does not wait for ever.
    pub fn lock_changes_to(&self, to: &str, name: &str) -> Result<OwnedFd> {
        let turn = Turn::begin();
        loop {
            match self.flock_changes(FlockOperation::NonBlockingLockExclusive) {
                Err(Error::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::WouldBlock =>
                {
                    if !turn.wait() {
                        return Err(self.busy(to, name));
                    }
                }
                // Removed since it was found.
                Err(_) if !self.path.is_dir() => {
                    return Err(Error::NoSuchContainer(name.to_owned()));
                }
                locked => return locked,
            }
        }
    }

    fn flock_changes(&self, operation: FlockOperation) -> Result<OwnedFd> {
        lock_open(&self.path, OFlags::RDONLY | OFlags::DIRECTORY, operation)
    }

    /// Somebody else has been at work on the container for as long as a command waits.
    #[must_use]
    pub fn busy(&self, to: &str, name: &str) -> Error {
        Error::WrongState {
            message: format!(
                "cannot {to} container {name}: another nman has been at work on it for {} s",
                PATIENCE.as_secs()
            ),
            hint: Some(format!(
                "try again in a moment; `pgrep -af {}` shows what is at work on it",
                self.id()
            )),
        }
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
