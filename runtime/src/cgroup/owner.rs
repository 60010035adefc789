//! Who owns the container's directory on v2 (config-linux.md, Cgroup ownership).
//!
//! A container that may write to its own part of the hierarchy, an init system for one, has to own it: the directory and the
//! files that the kernel names as safe to give away. Never on v1, where that would not be.

use std::path::Path;

use rustix::fs::{AtFlags, CWD, Uid};
use rustix::io::Errno;

use super::{Error, files};

/// The files to give away where the kernel does not say (before Linux 4.15).
const OLD: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

/// Gives a directory and its delegated files to a user of the host.
pub(super) fn give(directory: &Path, owner: u32) -> Result<(), Error> {
    let kernels = files::read(Path::new("/sys/kernel/cgroup"), "delegate");
    give_files(directory, kernels.as_deref().unwrap_or(OLD), owner)
}

/// Not every file of the list is in every directory.
fn give_files(directory: &Path, list: &str, owner: u32) -> Result<(), Error> {
    chown(directory, owner)?;
    let files = list.lines().map(|name| directory.join(name));
    files.into_iter().try_for_each(|file| match chown(&file, owner) {
        Err(Error::System { errno: Errno::NOENT, .. }) => Ok(()),
        other => other,
    })
}

fn chown(path: &Path, owner: u32) -> Result<(), Error> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(CWD, path, Some(Uid::from_raw(owner)), None, flags)
        .map_err(|errno| Error::system(format!("give `{}` to user {owner}", path.display()), errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_not_there_are_no_error() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("cgroup.procs"), "").unwrap();
        let own = rustix::process::geteuid().as_raw();
        give_files(directory.path(), OLD, own).unwrap();
        assert!(give_files(&directory.path().join("none"), OLD, own).is_err());
    }
}
