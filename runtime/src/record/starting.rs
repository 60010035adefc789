//! What the directory of a container says while it is being started: the socket `start` is called `starting` then, and where there was
//! none to wait at (`run`), an empty file is.

use super::{Made, Record, START, STARTING, has};
use crate::error::Result;
use rustix::fs::AtFlags;

impl Record {
    /// Whether a `start` waits for hooks, or was killed meanwhile.
    pub fn is_starting(&self) -> bool {
        has(&self.directory, STARTING)
    }

    /// Notes that the container is being started: nobody can start it a second time, but its program is still to come.
    pub fn starting(&self) {
        let directory = &self.directory;
        let _ = rustix::fs::renameat(directory, START, directory, STARTING);
    }

    /// Notes that the container was started, with hooks or without.
    pub fn started(&self) {
        let name = if self.saved.start_hooks { STARTING } else { START };
        let _ = rustix::fs::unlinkat(&self.directory, name, AtFlags::empty());
    }
}

impl Made {
    /// The same of a container that does not wait for `start`, where it has hooks of its start.
    ///
    /// # Errors
    /// When it cannot be noted.
    pub fn starting(&self) -> Result<()> {
        if self.record.saved.start_hooks { self.record.write(STARTING, b"") } else { Ok(()) }
    }
}
