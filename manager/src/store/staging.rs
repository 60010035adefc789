//! Where downloads and half-unpacked layers live until they are whole.
//!
//! Each session has a directory that it holds a lock on, and takes it away when it ends. A directory
//! that nobody holds belongs to a session that was killed: the next one removes it (invariant I8).

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use rustix::rand::{GetRandomFlags, getrandom};

use super::Error;
use crate::snapshot::{self, create_directory, private_directory, remove_tree};

/// One session's directory, on the same file system as the store.
#[derive(Debug)]
pub(crate) struct Staging {
    directory: PathBuf,
    /// Held as long as the session lasts.
    _lock: File,
}

impl Staging {
    /// Makes a directory within `parent`.
    pub(crate) fn begin(parent: &Path) -> Result<Self, Error> {
        loop {
            private_directory(parent)?;
            let directory = parent.join(random_name()?);
            // Another session may sweep it away before it is locked.
            match create_directory(&directory, 0o700) {
                Err(snapshot::Error::File { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    continue;
                }
                made => made?,
            }
            let Ok(lock) = File::open(&directory) else { continue };
            lock.lock().map_err(Error::file("lock", &directory))?;
            if directory.exists() {
                return Ok(Self { directory, _lock: lock });
            }
        }
    }

    /// A path within the session's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The name of the session.
    pub(crate) fn name(&self) -> String {
        self.directory.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Whether a session is still there whose directory this is.
    pub(crate) fn is_held(directory: &Path) -> bool {
        File::open(directory).is_ok_and(|lock| lock.try_lock().is_err())
    }

    /// The directories that killed sessions left.
    pub(crate) fn abandoned(parent: &Path) -> Result<Vec<PathBuf>, Error> {
        let mut found = crate::snapshot::entries(parent).unwrap_or_default();
        found.retain(|path| File::open(path).is_ok_and(|lock| lock.try_lock().is_ok()));
        Ok(found)
    }

    /// If killed sessions left anything, calls `clear` and removes it after that: until the store is in order again, something says
    /// that it may not be. Whether anything was removed. What cannot be cleared up now is in nobody's way: it stays for the next
    /// session, and for `system check`, which says why.
    pub(crate) fn sweep(
        parent: &Path,
        clear: impl FnOnce() -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let entries = match fs::read_dir(parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other.map_err(Error::file("read", parent))?,
        };
        let mut abandoned = Vec::new();
        for entry in entries {
            let path = entry.map_err(Error::file("read", parent))?.path();
            let Ok(lock) = File::open(&path) else { continue };
            match lock.try_lock() {
                Ok(()) => abandoned.push((path, lock)),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(Error::file("lock", &path)(error)),
            }
        }
        if abandoned.is_empty() || clear().is_err() {
            return Ok(false);
        }
        for (path, _lock) in &abandoned {
            remove_tree(path)?;
        }
        Ok(true)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is swept by the next session.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn random_name() -> Result<String, Error> {
    let mut bytes = [0u8; 8];
    let filled = getrandom(&mut bytes, GetRandomFlags::empty());
    filled.map_err(Error::file("read", Path::new("/dev/urandom")))?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_begin_while_others_sweep() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let parent = tempfile::tempdir().unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sweeper = || {
                while !done.load(Ordering::Relaxed) {
                    Staging::sweep(parent.path(), || Ok(())).unwrap();
                }
            };
            (0..2).for_each(|_| drop(scope.spawn(sweeper)));
            for _ in 0..800 {
                let begun = Staging::begin(parent.path());
                if begun.is_err() {
                    done.store(true, Ordering::Relaxed);
                }
                assert!(begun.unwrap().path("").exists());
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_session_takes_its_directory_with_it() {
        let parent = tempfile::tempdir().unwrap();
        let staging = Staging::begin(parent.path()).unwrap();
        fs::write(staging.path("x"), "x").unwrap();
        drop(staging);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn sessions_that_begin_while_others_sweep_are_not_lost() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path();
        let begin =
            || (0..200).all(|_| Staging::begin(path).is_ok_and(|one| one.path("").exists()));
        std::thread::scope(|scope| {
            let others: Vec<_> = (0..2).map(|_| scope.spawn(begin)).collect();
            while !others.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                // One that vanishes while it is swept is somebody else's, which has ended.
                let _ = Staging::sweep(path, || Ok(()));
            }
            assert!(others.into_iter().all(|other| other.join().unwrap()));
        });
    }

    #[test]
    fn only_what_nobody_holds_is_swept() {
        let parent = tempfile::tempdir().unwrap();
        let live = Staging::begin(parent.path()).unwrap();
        fs::create_dir(parent.path().join("dead")).unwrap();
        fs::write(parent.path().join("dead/x"), "x").unwrap();
        assert!(Staging::sweep(parent.path(), || Ok(())).unwrap());
        assert!(live.path("").exists());
        assert!(!parent.path().join("dead").exists());
        assert!(!Staging::sweep(parent.path(), || Ok(())).unwrap());
    }

    #[test]
    fn what_a_killed_session_left_stays_until_the_store_is_in_order() {
        let parent = tempfile::tempdir().unwrap();
        let dead = parent.path().join("dead");
        fs::create_dir(&dead).unwrap();
        let fails = || {
            assert!(dead.exists());
            Err(Error::NoSuchImage(String::new()))
        };
        assert!(!Staging::sweep(parent.path(), fails).unwrap());
        assert!(dead.exists());
        assert!(Staging::sweep(parent.path(), || Ok(())).unwrap());
        assert!(!dead.exists());
    }
}
