//! Marks: what is true of a container although its monitor has not written it down.

use super::Dir;
use crate::error::{Error, Result};
use crate::notice;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};

/// Something that is true of a container for as long as a file of this name is in its directory: written by whoever
/// stops or pauses it, in one step that no kill can cut in two. Where the disk has no room for a file, a bit of the mode of
/// the container's lock says the same: a container that has filled the disk can be stopped all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Somebody has stopped it: no policy starts it again.
    Stopped,
    /// Somebody has paused it.
    Paused,
    /// It is to be started again by whoever stops it: it stays although it was to be removed when it ends.
    Kept,
}

impl Mark {
    fn file(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Paused => "paused",
            Self::Kept => "kept",
        }
    }

    /// The bit of the lock's mode. The lock is for root's eyes only whatever its mode: so is the directory.
    fn bit(self) -> u32 {
        match self {
            Self::Stopped => 0o010,
            Self::Paused => 0o020,
            Self::Kept => 0o040,
        }
    }
}

impl Dir {
    /// Whether a mark is set.
    #[must_use]
    pub fn has(&self, mark: Mark) -> bool {
        self.join(mark.file()).exists()
            || self.lock_mode().is_some_and(|mode| mode & mark.bit() != 0)
    }

    fn lock_mode(&self) -> Option<u32> {
        fs::metadata(self.join("lock")).ok().map(|lock| lock.mode())
    }

    fn set_lock_mode(&self, mode: u32) -> Result<()> {
        let path = self.join("lock");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .map_err(Error::io("mark", &path))
    }

    /// Sets a mark.
    pub fn set(&self, mark: Mark) -> Result<()> {
        let path = self.join(mark.file());
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        match options.open(&path).map_err(Error::io("make", &path)) {
            Err(error) if error.is_full() => match self.lock_mode() {
                Some(mode) => self.set_lock_mode(mode | mark.bit()),
                None => Err(error),
            },
            made => made.map(drop),
        }
    }

    /// Says that somebody stops it. On a disk that cannot be written it is stopped all the same, without being marked.
    pub fn set_stopped(&self) -> Result<()> {
        match self.set(Mark::Stopped) {
            Err(error) if error.is_read_only() => {
                notice::note(format!("{error}: its restart policy may start the container again"));
                Ok(())
            }
            set => set,
        }
    }

    /// Takes a mark away; it is no error where there is none.
    pub fn clear(&self, mark: Mark) -> Result<()> {
        if let Some(mode) = self.lock_mode().filter(|mode| mode & mark.bit() != 0) {
            self.set_lock_mode(mode & !mark.bit())?;
        }
        let path = self.join(mark.file());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_of_the_lock_is_as_good_as_a_file_and_goes_with_the_mark() {
        let directory = tempfile::tempdir().unwrap();
        let dir = Dir { path: directory.path().to_owned() };
        fs::write(dir.join("lock"), "").unwrap();
        dir.set_lock_mode(0o600 | Mark::Stopped.bit() | Mark::Kept.bit()).unwrap();
        assert!(dir.has(Mark::Stopped) && dir.has(Mark::Kept) && !dir.has(Mark::Paused));
        dir.set(Mark::Stopped).unwrap();
        dir.clear(Mark::Stopped).unwrap();
        assert!(!dir.has(Mark::Stopped) && dir.has(Mark::Kept));
    }
}
