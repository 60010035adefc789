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
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const DIRECTORY: &str = "execs";

/// A command from its creation to its end.
#[derive(Debug)]
pub(super) struct Running {
    id: ContainerId,
    path: PathBuf,
    _lock: File,
}

impl Running {
    /// Gives a command its id, 64 hexadecimal digits. What clients have left that were killed is removed.
    pub(super) fn begin(directory: &Path) -> Result<Self> {
        make_private(&directory.join(DIRECTORY))?;
        sweep(directory);
        loop {
            let id = ContainerId::random();
            let path = directory.join(DIRECTORY).join(id.as_str());
            let mut options = File::options();
            let file = options.write(true).create_new(true).mode(0o600).open(&path);
            let file = file.map_err(Error::io("write", &path))?;
            flock(&file, FlockOperation::LockExclusive).map_err(Error::io("lock", &path))?;
            // Before it was locked, somebody else may have taken it for one that was left.
            if file.metadata().is_ok_and(|metadata| metadata.nlink() > 0) {
                return Ok(Self { id, path, _lock: file });
            }
        }
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

/// What begins the names of a command's files, and is that of its socket.
pub(super) fn tag(id: &str) -> String {
    format!("exec-{id}")
}

/// The files by which a client and the runtime talk about a command: the process, the runtime's log, the process id.
pub(super) fn files(directory: &Path, id: &str) -> [PathBuf; 3] {
    [".json", ".log", ".pid"].map(|end| directory.join(format!("{}{end}", tag(id))))
}

/// Removes what is left of commands whose clients were killed.
fn sweep(directory: &Path) {
    for entry in fs::read_dir(directory.join(DIRECTORY)).into_iter().flatten().flatten() {
        let Ok(file) = File::open(entry.path()) else { continue };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        // The file that says so goes last. What cannot be removed is swept by the next one.
        let id = entry.file_name().to_string_lossy().into_owned();
        let left = files(directory, &id);
        for path in left.iter().chain([&directory.join(tag(&id)), &entry.path()]) {
            let _ = fs::remove_file(path);
        }
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
