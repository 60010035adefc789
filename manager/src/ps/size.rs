//! How much a container has written: its own layer, walked without following a link that is in it.

use crate::container::ContainerId;
use crate::settings::Settings;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};

/// The bytes of the files in the container's own layer; hard links count once. What goes away meanwhile counts nothing.
pub(super) fn written(settings: &Settings, id: &ContainerId) -> u64 {
    let upper = settings.root.join("snapshots/active").join(id.as_str()).join("upper");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(&upper, flags, Mode::empty()) {
        Ok(directory) => below(&directory, &mut HashSet::new(), 0),
        Err(_) => 0,
    }
}

/// Descriptors that the walk may hold at once: whoever makes directories deeper than that has them counted to here.
const DEEPEST: usize = 500;

fn below(directory: &OwnedFd, seen: &mut HashSet<(u64, u64)>, depth: usize) -> u64 {
    let Ok(entries) = Dir::read_from(directory) else { return 0 };
    let mut bytes = 0;
    for entry in entries.flatten() {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(stat) = statat(directory.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if depth < DEEPEST => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                if let Ok(inner) = openat(directory, name, flags, Mode::empty()) {
                    bytes += below(&inner, seen, depth + 1);
                }
            }
            FileType::RegularFile | FileType::Symlink
                if stat.st_nlink == 1 || seen.insert((stat.st_dev, stat.st_ino)) =>
            {
                bytes += u64::try_from(stat.st_size).unwrap_or(0);
            }
            _ => {}
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_counted_once_and_never_followed() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings {
            root: directory.path().to_owned(),
            state: directory.path().to_owned(),
            runtime: None,
            debug: false,
        };
        let id = ContainerId::random();
        let upper = directory.path().join("snapshots/active").join(id.as_str()).join("upper");
        std::fs::create_dir_all(upper.join("a/b")).unwrap();
        std::fs::write(upper.join("a/b/file"), [0; 1000]).unwrap();
        std::fs::hard_link(upper.join("a/b/file"), upper.join("again")).unwrap();
        std::fs::write(directory.path().join("outside"), [0; 5000]).unwrap();
        std::os::unix::fs::symlink("/etc", upper.join("a/etc")).unwrap();
        assert_eq!(written(&settings, &id), 1004);
    }
}
