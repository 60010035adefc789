//! A piece of the host that no container may touch.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use nconform::fixture::scratch_dir;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use tempfile::TempDir;

/// What is in [`Canary`]'s files.
pub(crate) const SECRET: &str = "a file of the host";

/// A directory of the host with the names that a runtime makes in a container.
#[derive(Debug)]
pub(crate) struct Canary {
    directory: TempDir,
    before: BTreeMap<PathBuf, String>,
}

impl Canary {
    pub(crate) fn new() -> Self {
        let directory = scratch_dir();
        let root = directory.path();
        for name in ["null", "console", "ptmx", "tty", "fd", "secret", "data/file"] {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("make a directory");
            fs::write(path, SECRET).expect("write a file");
        }
        for name in ["pts", "shm", "sys", "empty"] {
            fs::create_dir(root.join(name)).expect("make a directory");
        }
        let before = snapshot(root);
        Self { directory, before }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Fails the test when anything was made, removed, written or given away, whatever `case` was.
    #[track_caller]
    pub(crate) fn assert_untouched(&self, case: &str) {
        assert_eq!(snapshot(self.path()), self.before, "{case}: the host was changed");
    }
}

/// Every path below `root` with type, mode, owner, device number, time of change and, for a file, what is in it.
fn snapshot(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("read a directory").flatten() {
            let (path, meta) = (entry.path(), entry.metadata().expect("metadata"));
            let text = if meta.is_file() {
                fs::read_to_string(&path).unwrap_or_default()
            } else {
                String::new()
            };
            let owner = (meta.uid(), meta.gid(), meta.rdev(), meta.mtime_nsec());
            found.insert(path.clone(), format!("{:o} {owner:?} {text}", meta.mode()));
            if meta.is_dir() {
                directories.push(path);
            }
        }
    }
    found
}

/// A FIFO in an image, which knows whether somebody has opened it for reading.
#[derive(Debug)]
pub(crate) struct Fifo {
    path: PathBuf,
    writer: JoinHandle<()>,
}

impl Fifo {
    pub(crate) fn new(path: &Path) -> Self {
        mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).expect("make a FIFO");
        let path = path.to_owned();
        let theirs = path.clone();
        // Opening one for writing returns when it is opened for reading.
        let writer =
            std::thread::spawn(move || drop(fs::OpenOptions::new().write(true).open(theirs)));
        Self { path, writer }
    }

    pub(crate) fn was_opened(self) -> bool {
        std::thread::sleep(Duration::from_millis(100));
        let opened = self.writer.is_finished();
        let reader = rustix::fs::open(&self.path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty());
        self.writer.join().expect("the writer");
        drop(reader);
        opened
    }
}

/// Waits for something that is about to happen; whether it has is asserted by who waits.
pub(crate) fn wait_until(mut happened: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if happened() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
