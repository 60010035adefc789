//! Mounting a prepared stack with overlayfs.
//!
//! The new mount API takes one lower directory per call, so a stack may be as deep as overlayfs
//! allows. Before Linux 6.8 all of them must fit one page of options; there they are named by file
//! descriptor, which is short and needs no quoting.

use std::ffi::CString;
use std::fmt::Write as _;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
    unmount as umount,
};

use super::{Error, Prepared};
use crate::privilege::is_in_namespace;

/// `fsconfig` takes strings of at most 255 bytes.
const MAX_STRING: usize = 255;

/// Both put into the upper directory what points into lower layers: what a container changed could not be told from it alone.
const POINTERS: [&str; 2] = ["redirect_dir", "metacopy"];

/// overlayfs keeps its marks in `user.*`, which root of a user namespace may set; `trusted.*` is the host's root's (Linux 5.11).
/// It implies that both of [`POINTERS`] are off, and is refused beside a word about the first.
const USER_MARKS: &str = "userxattr";

/// What SELinux is told of a file system's files, whatever label they have on disk.
const CONTEXT: &str = "context";

/// Mounts the stack on `target`, in this mount namespace. All its files have the SELinux label `label`, if there is one.
pub fn mount(prepared: &Prepared, target: &Path, label: Option<&str>) -> Result<(), Error> {
    let result = match compose(prepared, label) {
        // A kernel without `lowerdir+` or without the API; any other fault is found there again.
        Err(failure) if matches!(failure.errno, Errno::INVAL | Errno::NOSYS) => {
            mount_at_once(prepared, target, label).map_err(|_| failure)
        }
        Err(failure) => Err(failure),
        Ok(tree) => move_mount(tree, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(Failure::from),
    };
    result.map_err(|failure| Error::Mount { target: target.to_owned(), why: failure.to_string() })
}

/// Takes a root file system away from `target`; it vanishes when its last user does.
pub fn unmount(target: &Path) -> Result<(), Error> {
    match umount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // It is not mounted, or not there at all: what was wanted.
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        // The mount namespace is the host's, in which nothing of ours was ever mounted.
        Err(Errno::PERM) if is_in_namespace() => Ok(()),
        Err(errno) => Err(Error::file("unmount", target)(errno)),
    }
}

/// An errno, and what the kernel says about it where it says more.
struct Failure {
    errno: Errno,
    message: String,
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self { errno, message: String::new() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.message.is_empty() {
            write!(f, "{}: ", self.message)?;
        }
        f.write_str(&bundle::reason::reason(&self.errno.into()))
    }
}

/// The stack as a mount that is attached nowhere yet.
fn compose(prepared: &Prepared, label: Option<&str>) -> Result<OwnedFd, Failure> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let explained = |errno| Failure { errno, message: explanation(&context) };
    fsconfig_set_string(context.as_fd(), "source", "overlay").map_err(explained)?;
    if let Some(label) = label {
        fsconfig_set_string(context.as_fd(), CONTEXT, label).map_err(explained)?;
    }
    if is_in_namespace() {
        fsconfig_set_flag(context.as_fd(), USER_MARKS).map_err(explained)?;
    } else {
        for key in POINTERS {
            fsconfig_set_string(context.as_fd(), key, "off").map_err(explained)?;
        }
    }
    // They stay open until the file system exists, for it may name them by descriptor.
    let mut held = Vec::new();
    let lower = prepared.lower.iter().map(|path| ("lowerdir+", path));
    let data = prepared.data.iter().map(|path| ("datadir+", path));
    let writable = [("upperdir", &prepared.upper), ("workdir", &prepared.work)];
    for (key, path) in lower.chain(data).chain(writable) {
        // overlayfs takes a backslash for an escape in some of them.
        let name = path.as_os_str().as_bytes();
        if name.len() <= MAX_STRING && !name.contains(&b'\\') {
            fsconfig_set_string(context.as_fd(), key, path.as_path()).map_err(explained)?;
        } else {
            let directory = directory(path)?;
            let name = descriptor_path(&directory);
            fsconfig_set_string(context.as_fd(), key, name).map_err(explained)?;
            held.push(directory);
        }
    }
    fsconfig_create(context.as_fd()).map_err(explained)?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
        .map_err(explained)
}

/// The same in one call, for kernels that do not know `lowerdir+`.
fn mount_at_once(prepared: &Prepared, target: &Path, label: Option<&str>) -> Result<(), Failure> {
    let mut options = String::new();
    let mut held = Vec::new();
    let lower = prepared.lower.iter().map(|path| (":", path));
    let data = prepared.data.iter().map(|path| ("::", path));
    for (position, (lead, path)) in lower.chain(data).enumerate() {
        let directory = directory(path)?;
        let lead = if position == 0 { "lowerdir=" } else { lead };
        let _ = write!(options, "{lead}{}", descriptor_path(&directory));
        held.push(directory);
    }
    for (key, path) in [("upperdir", &prepared.upper), ("workdir", &prepared.work)] {
        let directory = directory(path)?;
        let _ = write!(options, ",{key}={}", descriptor_path(&directory));
        held.push(directory);
    }
    if is_in_namespace() {
        let _ = write!(options, ",{USER_MARKS}");
    } else {
        for key in POINTERS {
            let _ = write!(options, ",{key}=off");
        }
    }
    if let Some(label) = label {
        // It has commas, which is why it is quoted.
        let _ = write!(options, ",{CONTEXT}=\"{label}\"");
    }
    if options.len() >= rustix::param::page_size() {
        let message = format!("{} layers are too many for this kernel", prepared.lower.len());
        return Err(Failure { errno: Errno::TOOBIG, message });
    }
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    let empty = MountFlags::empty();
    rustix::mount::mount("overlay", target, "overlay", empty, options.as_c_str())?;
    Ok(())
}

fn directory(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn descriptor_path(directory: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", directory.as_raw_fd())
}

/// The kernel's own words on why a mount failed, which it leaves in the context.
fn explanation(context: &OwnedFd) -> String {
    let mut buffer = [0u8; 1024];
    let mut words = Vec::new();
    while let Ok(length) = rustix::io::read(context, &mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..length]);
        // "e overlay: text": a severity, and the file system's name.
        let text = text.trim().trim_start_matches("e ").trim_start_matches("overlay: ");
        words.push(text.to_owned());
    }
    words.join("; ")
}
