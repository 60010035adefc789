//! How much of the disk something takes, counted as `du` counts it: blocks, and a file with several names once.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The unit of `st_blocks`.
const BLOCK: u64 = 512;

/// Files that were counted already, by device and inode, across several trees.
#[derive(Debug, Default)]
pub struct Census {
    seen: HashSet<(u64, u64)>,
}

impl Census {
    /// The bytes of disk that `path` and all below it take and that were not counted before. What vanishes meanwhile counts
    /// nothing; symlinks are not followed, and other file systems are not entered.
    pub fn count(&mut self, path: &Path) -> u64 {
        self.count_except(path, &|_| false)
    }

    /// The same without the paths that `except` names.
    pub fn count_except(&mut self, path: &Path, except: &dyn Fn(&Path) -> bool) -> u64 {
        let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
        let device = metadata.dev();
        let mut bytes = self.add(&metadata);
        let mut pending: Vec<PathBuf> = Vec::new();
        if metadata.is_dir() {
            pending.push(path.to_owned());
        }
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                let path = entry.path();
                if except(&path) {
                    continue;
                }
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.dev() != device {
                    continue;
                }
                bytes += self.add(&metadata);
                if metadata.is_dir() {
                    pending.push(path);
                }
            }
        }
        bytes
    }

    fn add(&mut self, metadata: &Metadata) -> u64 {
        let shared = metadata.nlink() > 1 && !metadata.is_dir();
        if shared && !self.seen.insert((metadata.dev(), metadata.ino())) {
            return 0;
        }
        metadata.blocks() * BLOCK
    }
}

/// What one tree takes.
#[must_use]
pub fn usage(path: &Path) -> u64 {
    Census::default().count(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_takes_what_its_blocks_are_and_a_file_with_two_names_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("below")).unwrap();
        fs::write(tree.join("below/file"), vec![1; 100_000]).unwrap();
        let once = usage(&tree);
        assert!(once >= 100_000, "{once}");
        fs::hard_link(tree.join("below/file"), tree.join("again")).unwrap();
        assert!(usage(&tree) < once + 50_000);
        let mut census = Census::default();
        assert!(census.count(&tree) >= 100_000);
        assert!(census.count(&tree) < 100_000, "counted across trees");
    }

    #[test]
    fn a_hole_takes_nothing_and_a_symlink_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        fs::write(dir.path().join("large"), vec![1; 1 << 20]).unwrap();
        std::os::unix::fs::symlink("../large", tree.join("link")).unwrap();
        fs::File::create(tree.join("sparse")).unwrap().set_len(1 << 30).unwrap();
        assert!(usage(&tree) < 1 << 20);
        let only = usage(&tree.join("sparse"));
        let rest = Census::default().count_except(&tree, &|path| path.ends_with("sparse"));
        assert_eq!(rest + only, usage(&tree));
    }
}
