//! A piece of the host that no container may touch.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::fixture::scratch_dir;

/// What is in its files.
pub(super) const SECRET: &str = "a file of the host";

/// A directory of the host with the names that a runtime makes in a container.
#[derive(Debug)]
pub(super) struct Canary {
    directory: TempDir,
    before: BTreeMap<PathBuf, String>,
}

impl Canary {
    pub(super) fn new() -> Self {
        let directory = scratch_dir();
        let root = directory.path();
        for name in ["null", "console", "ptmx", "secret", "data/file"] {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("make a directory");
            fs::write(path, SECRET).expect("write a file");
        }
        for name in ["pts", "shm", "empty"] {
            fs::create_dir(root.join(name)).expect("make a directory");
        }
        let before = snapshot(root);
        Self { directory, before }
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The first path that was made, removed, written or given away.
    pub(super) fn harm(&self) -> Option<String> {
        let after = snapshot(self.path());
        let paths = self.before.keys().chain(after.keys());
        let changed = paths.into_iter().find(|path| self.before.get(*path) != after.get(*path))?;
        let name = changed.strip_prefix(self.path()).unwrap_or(changed);
        Some(format!("`{}` of the host was changed", name.display()))
    }
}

/// Every path below `root` with type, mode, owner, device number, time of change and what is in it.
fn snapshot(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            let path = entry.path();
            let text = match meta.is_file() {
                true => fs::read_to_string(&path).unwrap_or_default(),
                false => String::new(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_any_kind_is_seen() {
        let canary = Canary::new();
        assert_eq!(canary.harm(), None);
        fs::write(canary.path().join("empty/made"), "").expect("write");
        assert!(canary.harm().is_some_and(|harm| harm.contains("empty")));
        let canary = Canary::new();
        fs::remove_file(canary.path().join("null")).expect("remove");
        assert_eq!(canary.harm().as_deref(), Some("`null` of the host was changed"));
    }
}
