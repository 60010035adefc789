//! Which containers are being made: an empty file for each in `<containers>/unfinished`, from before it can be seen until
//! `nman create` has ended well, or the program of `nman run` has been started.
//!
//! A container that has such a file and no holder of its lock was left by an `nman` that was killed. The files stand in a
//! directory of their own so that looking for such containers costs one look, however many others there are.

use super::{Containers, Dir, Guard, ids_in, make_private};
use crate::container::{ContainerId, Status};
use crate::error::{Error, Result};
use std::fs;
use std::path::PathBuf;

fn directory(containers: &Containers) -> PathBuf {
    containers.root.join("unfinished")
}

/// Notes that a container is being made. The caller has the lock of all.
pub(super) fn note(containers: &Containers, id: &ContainerId) -> Result<()> {
    let directory = directory(containers);
    let path = directory.join(id.as_str());
    let made = match fs::File::create(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            make_private(&directory)?;
            fs::File::create(&path)
        }
        made => made,
    };
    made.map(drop).map_err(Error::io("make", &path))
}

/// Removes the notes of containers that there are not. The caller has the lock of all.
pub(super) fn sweep(containers: &Containers, except: &ContainerId) {
    for id in ids_in(&directory(containers)).unwrap_or_default() {
        if id != *except && !containers.dir(&id).path.exists() {
            let _ = containers.finished(&id);
        }
    }
}

impl Containers {
    /// Takes the note away: from now on the container stays until somebody removes it. It is no error where there is none.
    pub fn finished(&self, id: &ContainerId) -> Result<()> {
        let path = directory(self).join(id.as_str());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// The containers that were being made by an `nman` that was killed, each with its lock.
    #[must_use]
    pub fn unfinished(&self) -> Vec<(Dir, Guard)> {
        let directory = directory(self);
        let ids = ids_in(&directory).unwrap_or_default();
        let dirs = ids.into_iter().map(|id| (directory.join(id.as_str()), self.dir(&id)));
        dirs.filter_map(|(note, dir)| {
            let guard = dir.try_lock().ok().flatten()?;
            // With the lock: it may have been finished since. One that has ever run is somebody's.
            let status = dir.recorded_state().ok()?.status;
            (note.exists() && status == Status::Created).then_some((dir, guard))
        })
        .collect()
    }
}
