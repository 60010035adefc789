//! Giving files a label, one or all of a tree.
//!
//! The tree may be one that a container or a user can change meanwhile. It is walked by descriptors, no link is followed, and what is
//! labelled is the file that was opened, under whatever name it is then.

use crate::copy::join;
use rustix::fs::{
    Dir, FileType, Mode, OFlags, ResolveFlags, XattrFlags, fstat, getxattr, setxattr,
};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

const LABEL: &str = "security.selinux";

/// A file, by whatever path: its device and its number there.
pub(crate) type Place = (u64, u64);

pub(crate) fn place(file: &OwnedFd) -> rustix::io::Result<Place> {
    let stat = fstat(file)?;
    Ok((stat.st_dev, stat.st_ino))
}

pub(crate) fn has_label(file: BorrowedFd<'_>, label: &str) -> bool {
    let mut buffer = [0; 256];
    getxattr(link(file), LABEL, &mut buffer).is_ok_and(|length| {
        buffer[..length].split(|byte| *byte == 0).next() == Some(label.as_bytes())
    })
}

/// A descriptor's own link, by which an O_PATH descriptor has attributes too: the kernel goes to what is open, and no further.
fn link(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Labels one file, where its file system has labels.
///
/// # Errors
/// As setxattr(2).
pub fn label_file(file: impl AsFd, label: &str) -> rustix::io::Result<()> {
    let file = file.as_fd();
    // What has the label already is let be: a mount may be read-only, and each change is written to disk.
    if has_label(file, label) {
        return Ok(());
    }
    match setxattr(link(file), LABEL, label.as_bytes(), XattrFlags::empty()) {
        Err(Errno::OPNOTSUPP) => Ok(()),
        result => result,
    }
}

/// The path below the top at which it failed, and why.
pub(crate) type Fault = (String, Errno);

/// Whether files of this one's file system can be given a label. They can where it may be given the one that it has: that is looked at
/// before anything else, as a file system without labels (NFS, or one that is mounted with `context=`) refuses. Any other error is the
/// walk's to report, should there be something to be changed.
fn takes_labels(file: &OwnedFd) -> bool {
    let mut buffer = [0; 256];
    let link = link(file.as_fd());
    let given = getxattr(&link, LABEL, &mut buffer)
        .and_then(|length| setxattr(&link, LABEL, &buffer[..length], XattrFlags::empty()));
    given != Err(Errno::OPNOTSUPP)
}

/// Labels a tree, its top last, without `kept`, which may be mounted in it. `alone` says that whatever is mounted in it is left out.
/// Where the top's file system has no labels, nothing is walked, as in Docker and Podman.
pub(crate) fn tree(
    top: &OwnedFd,
    label: &str,
    kept: &[Place],
    alone: bool,
) -> std::result::Result<(), Fault> {
    let at = |path: &CStr| {
        let path = path.to_string_lossy().into_owned();
        move |errno| (path, errno)
    };
    if !takes_labels(top) {
        return Ok(());
    }
    let mut ahead = match is_directory(top).map_err(at(c""))? {
        true => vec![c".".to_owned()],
        false => Vec::new(),
    };
    while let Some(path) = ahead.pop() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let Some(directory) = open(top.as_fd(), &path, flags, alone).map_err(at(&path))? else {
            continue;
        };
        for entry in Dir::read_from(&directory).map_err(at(&path))? {
            let entry = entry.map_err(at(&path))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let below = join(&path, name);
            let flags = OFlags::PATH | OFlags::NOFOLLOW;
            let file = open(directory.as_fd(), name, flags, alone).map_err(at(&below))?;
            let Some(file) = file else { continue };
            if kept.contains(&place(&file).map_err(at(&below))?) {
                continue;
            }
            label_file(&file, label).map_err(at(&below))?;
            if is_directory(&file).map_err(at(&below))? {
                ahead.push(below);
            }
        }
    }
    label_file(top, label).map_err(at(c""))
}

fn is_directory(file: &OwnedFd) -> rustix::io::Result<bool> {
    Ok(FileType::from_raw_mode(fstat(file)?.st_mode) == FileType::Directory)
}

/// Opens what is below a directory; nothing if it is gone or replaced by now, or is a mount's that is left out.
fn open(
    from: BorrowedFd<'_>,
    path: &CStr,
    flags: OFlags,
    alone: bool,
) -> rustix::io::Result<Option<OwnedFd>> {
    let crossing = if alone { ResolveFlags::NO_XDEV } else { ResolveFlags::empty() };
    let restrict = ResolveFlags::NO_SYMLINKS | crossing;
    match sys::beneath::open_with(from, path, flags, Mode::empty(), restrict) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(None),
        opened => opened.map(Some),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use nconform::fixture::selinux::label;
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;
    use std::path::Path;

    pub(crate) const OURS: &str = "system_u:object_r:nrt_file_t:s0:c1,c2";

    /// A file as a mount has it: open as a path only.
    pub(crate) fn opened(path: &Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    /// Only root sets such attributes, with SELinux or without.
    #[test]
    fn a_tree_is_labelled_and_nothing_that_a_link_in_it_leads_to() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let foreign = outside.path().join("file");
        File::create(&foreign).unwrap();
        let at = |name: &str| inside.path().join(name);
        fs::create_dir_all(at("deep/er")).unwrap();
        fs::create_dir_all(at("deep/kept")).unwrap();
        File::create(at("deep/kept/file")).unwrap();
        File::create(at("deep/er/file")).unwrap();
        symlink(&foreign, at("deep/link")).unwrap();
        symlink(outside.path(), at("directory")).unwrap();
        let before = label(&foreign);
        let kept = [place(&opened(&at("deep/kept"))).unwrap()];
        match tree(&opened(inside.path()), OURS, &kept, false) {
            Err((_, Errno::PERM)) if !rustix::process::geteuid().is_root() => return,
            labelled => labelled.unwrap(),
        }
        for name in ["", "deep", "deep/er", "deep/er/file", "deep/link", "directory"] {
            assert_eq!(label(&at(name)), OURS, "{name}");
        }
        for path in [foreign, outside.path().to_owned(), at("deep/kept"), at("deep/kept/file")] {
            assert_eq!(label(&path), before, "{}", path.display());
        }
    }

    /// procfs has no labels of files, whatever the policy says.
    #[test]
    fn a_file_system_without_labels_is_not_walked() {
        let top = opened(Path::new("/proc"));
        assert!(!takes_labels(&top));
        // Else it would fail: directories of processes do not let their attributes be changed.
        tree(&top, OURS, &[], true).unwrap();
    }
}
