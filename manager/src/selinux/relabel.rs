//! Giving files the label of a container: what `z` and `Z` of a mount mean.
//!
//! The tree may be one that a container or a user can change meanwhile. It is walked by descriptors, no link is followed, and what is
//! labelled is the file that was opened, under whatever name it is then.

use super::Labels;
use crate::bundle::user::resolve;
use crate::container::{MountPoint, Record, Relabel};
use crate::copy::join;
use crate::error::{Error, Result};
use crate::snapshot::Prepared;
use rustix::fs::{
    Dir, FileType, Mode, OFlags, ResolveFlags, XattrFlags, fstat, getxattr, setxattr,
};
use rustix::io::Errno;
use std::ffi::{CStr, OsString};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

const LABEL: &str = "security.selinux";

/// Directories of the host that are never a container's: with another label the host does not work any more. As Docker and Podman
/// have it, and so are the homes of [`homes`].
const OF_HOST: [&str; 24] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/etc/passwd",
    "/etc/pki",
    "/etc/shadow",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/var/lib",
    "/var/log",
];

/// Labels what a mount shows, if it asks for it and the container has labels. `source` may be open as a path only.
///
/// # Errors
/// It is the host's, or a file cannot be labelled. Where file systems have no labels, nothing is done.
pub fn relabel(record: &Record, point: &MountPoint, source: &OwnedFd) -> Result<()> {
    let (Some(labels), Some(wish)) = (&record.selinux, point.relabel()) else { return Ok(()) };
    let shown = point.shown();
    let kept = places_of_host();
    if place(source).is_ok_and(|place| kept.contains(&place)) {
        return Err(Error::Rejected {
            message: format!("SELinux relabeling of {shown} is not allowed"),
            hint: Some(
                "mount a directory below it, or give `--security-opt label=disable` in place of z"
                    .to_owned(),
            ),
        });
    }
    let label = label_for(labels, wish);
    tree(source, &label, &kept, point.detail.non_recursive).map_err(|(path, errno)| {
        let place = if path.is_empty() { String::new() } else { format!("/{path}") };
        Error::system(format!("set the SELinux label of `{shown}{place}`"))(errno)
    })
}

fn label_for(labels: &Labels, wish: Relabel) -> String {
    match wish {
        Relabel::Shared => labels.shared(),
        Relabel::Private => labels.mount.clone(),
    }
}

/// A file, by whatever path: its device and its number there.
type Place = (u64, u64);

fn place(file: &OwnedFd) -> rustix::io::Result<Place> {
    let stat = fstat(file)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// The directories of the host.
fn places_of_host() -> Vec<Place> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let homes = homes(std::env::var_os("HOME"), std::env::var("SUDO_USER").ok(), &passwd);
    let paths = OF_HOST.iter().map(Path::new).chain(homes.iter().map(PathBuf::as_path));
    let stats = paths.filter_map(|path| rustix::fs::stat(path).ok());
    stats.map(|stat| (stat.st_dev, stat.st_ino)).collect()
}

/// The caller's home, and that of the user who has become root by sudo(8).
fn homes(own: Option<OsString>, sudo_user: Option<String>, passwd: &str) -> Vec<PathBuf> {
    let name = sudo_user.filter(|name| !name.is_empty());
    let theirs = name.and_then(|name| resolve(&name, passwd, "").ok());
    let theirs = theirs.map(|identity| PathBuf::from(identity.home));
    own.map(PathBuf::from).into_iter().chain(theirs).collect()
}

/// Labels the layers of a container that is to be confined: see [`label_layers`].
///
/// # Errors
/// A file cannot be labelled.
pub fn provide_layers(record: &Record, prepared: &Prepared) -> Result<()> {
    match &record.selinux {
        Some(labels) if !labels.process.is_empty() => label_layers(prepared),
        _ => Ok(()),
    }
}

/// Labels layers that are not labelled as the policy has it now: they were unpacked before SELinux was enabled, or somebody has
/// relabelled the disk since. That of its top is the last label that a layer gets, and says of all the others.
///
/// # Errors
/// A file cannot be labelled.
pub fn label_layers(prepared: &Prepared) -> Result<()> {
    let Some(label) = super::of_layers() else { return Ok(()) };
    for layer in prepared.lower.iter().chain(&prepared.data) {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let top =
            rustix::fs::open(layer, flags, Mode::empty()).map_err(Error::io("open", layer))?;
        if !has_label(top.as_fd(), &label) {
            tree(&top, &label, &[], true).map_err(|(path, errno)| {
                Error::system(format!("set the SELinux label of `{}/{path}`", layer.display()))(
                    errno,
                )
            })?;
        }
    }
    Ok(())
}

fn has_label(file: BorrowedFd<'_>, label: &str) -> bool {
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
type Fault = (String, Errno);

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
fn tree(top: &OwnedFd, label: &str, kept: &[Place], alone: bool) -> std::result::Result<(), Fault> {
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
mod tests {
    use super::*;
    use nconform::fixture::selinux::label;
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;

    const OURS: &str = "system_u:object_r:nrt_file_t:s0:c1,c2";

    fn opened(path: &Path) -> OwnedFd {
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

    #[test]
    fn directories_of_the_host_are_known_by_any_path() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        symlink("/etc", &link).unwrap();
        for (path, expected) in [
            (Path::new("/"), true),
            (Path::new("/usr/../etc/"), true),
            (&link, true),
            (directory.path(), false),
            (Path::new("/etc/ssl"), false),
        ] {
            if path.exists() {
                let place = place(&opened(path)).unwrap();
                assert_eq!(places_of_host().contains(&place), expected, "{}", path.display());
            }
        }
    }

    #[test]
    fn the_homes_of_who_calls_and_of_who_has_called_sudo_are_the_hosts() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/users/ann:/bin/sh\n";
        let found = |own: Option<&str>, sudo_user: Option<&str>| {
            homes(own.map(OsString::from), sudo_user.map(str::to_owned), passwd)
        };
        assert_eq!(found(Some("/root"), None), [Path::new("/root")]);
        assert_eq!(found(Some("/root"), Some("ann")), ["/root", "/users/ann"].map(Path::new));
        assert_eq!(found(None, Some("ann")), [Path::new("/users/ann")]);
        for nobody in ["", "nosuch"] {
            assert!(found(None, Some(nobody)).is_empty(), "{nobody:?}");
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

    #[test]
    fn what_is_shared_and_what_is_private_have_other_labels() {
        let labels = Labels { process: String::new(), mount: OURS.to_owned() };
        assert_eq!(label_for(&labels, Relabel::Private), OURS);
        assert_eq!(label_for(&labels, Relabel::Shared), "system_u:object_r:nrt_file_t:s0");
    }
}
