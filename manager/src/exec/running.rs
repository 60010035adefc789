//! Which commands of `exec` run in a container: a file for each, named by its id and locked by the client that looks after it.
//! They are where nothing survives a reboot: a container that has filled the disk can be entered all the same.
//!
//! The lock ends with the client, however that ends, and the file alone says nothing.

use crate::container::{ContainerId, make_private};
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::socket::socket_dir;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

const DIRECTORY: &str = "execs";

/// A command from its creation to its end.
#[derive(Debug)]
pub(super) struct Running {
    id: ContainerId,
    path: PathBuf,
    _lock: File,
}

impl Running {
    /// Gives a command its id, 64 hexadecimal digits.
    pub(super) fn begin(settings: &Settings, container: &ContainerId) -> Result<Self> {
        let directory = socket_dir(settings, container).join(DIRECTORY);
        make_private(&directory)?;
        let id = ContainerId::random();
        let path = directory.join(id.as_str());
        let mut options = File::options();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(Error::io("write", &path))?;
        flock(&file, FlockOperation::LockExclusive).map_err(Error::io("lock", &path))?;
        Ok(Self { id, path, _lock: file })
    }

    /// Its id.
    pub(super) fn id(&self) -> &str {
        self.id.as_str()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The container may have gone, and the file with it.
        let _ = fs::remove_file(&self.path);
    }
}

/// The ids of the commands that run, in order; `None` where there is none, as Docker's `inspect` has it.
pub fn ids(settings: &Settings, container: &ContainerId) -> Option<Vec<String>> {
    let directory = socket_dir(settings, container).join(DIRECTORY);
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let is_held = |path: PathBuf| {
        let Ok(file) = File::open(path) else { return false };
        matches!(flock(&file, FlockOperation::NonBlockingLockShared), Err(Errno::WOULDBLOCK))
    };
    let held = entries.filter(|entry| is_held(entry.path()));
    let mut ids: Vec<String> =
        held.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    ids.sort();
    (!ids.is_empty()).then_some(ids)
}
