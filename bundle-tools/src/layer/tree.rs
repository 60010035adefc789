//! Operations below a root fd. Paths are resolved by the kernel inside that root; a last component is never followed.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, StatxAttributes, StatxFlags,
        XattrFlags,
    },
    io::Errno,
};

/// How often a lookup is repeated when renames elsewhere make the kernel unsure of a `..`. A machine that renames without pause
/// cannot keep it busy for ever.
const LOOKUP_ATTEMPTS: u32 = 256;

/// How often a name is cleared and made again when somebody else keeps putting things there.
pub(super) const CREATE_ATTEMPTS: u32 = 16;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// An fd of the directory `path` in `root`, for lookups only. Symlinks, even absolute ones, stay inside the root.
pub(super) fn open_dir(root: impl AsFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut attempts = LOOKUP_ATTEMPTS;
    loop {
        let flags = OFlags::PATH | DIRECTORY;
        match rustix::fs::openat2(root.as_fd(), path, flags, Mode::empty(), resolve) {
            // EAGAIN: a rename or mount happened while `..` was being resolved.
            Err(Errno::AGAIN | Errno::INTR) if attempts > 0 => attempts -= 1,
            other => return other,
        }
    }
}

/// The directory `name` itself, for reading and changing.
pub(super) fn open_child(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | DIRECTORY;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// What `name` itself is; `None` if there is nothing.
pub(super) fn stat(parent: impl AsFd, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Whether this is overlayfs's mark for "deleted".
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    file_type(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Whether overlayfs takes this directory for one that hides those below it.
pub(super) fn is_opaque(directory: impl AsFd) -> bool {
    let directory = directory.as_fd();
    ["trusted.overlay.opaque", "user.overlay.opaque"].iter().any(|key| {
        let mut value = [0_u8; 1];
        rustix::fs::fgetxattr(directory, *key, &mut value[..]) == Ok(1) && value == *b"y"
    })
}

/// Whether something is mounted at `name`.
pub(super) fn is_mounted(parent: impl AsFd, name: &[u8]) -> bool {
    rustix::fs::statx(parent, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE)
        .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Whether the files of a directory are the kernel's, made up when they are read: procfs, sysfs and cgroups (statfs(2)).
///
/// # Errors
/// When its file system cannot be asked for.
pub fn is_of_kernel(directory: impl AsFd) -> Result<bool, Errno> {
    const KERNEL: [u64; 4] = [0x9fa0, 0x6265_6572, 0x0027_e0eb, 0x6367_7270];
    let kind = rustix::fs::fstatfs(directory)?.f_type;
    Ok(KERNEL.contains(&kind.cast_unsigned()))
}

/// Removes `name` and all that is in it. Nothing there is fine.
///
/// Without recursion: layer upon layer and by way of symlinks an image nests directories as deep as it likes, and what is to run
/// out then is fds, with an error, and not the stack.
pub(super) fn remove_all(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let Some(first) = remove_or_open(parent, name)? else { return Ok(()) };
    let mut levels = vec![first];
    while let Some(level) = levels.last_mut() {
        if let Some(child) = level.names.pop() {
            let child = remove_or_open(level.dir.as_fd(), &child)?;
            levels.extend(child);
            continue;
        }
        let Some(empty) = levels.pop() else { break };
        let above = levels.last().map_or(parent, |level| level.dir.as_fd());
        match rustix::fs::unlinkat(above, &empty.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A directory that is being emptied.
struct Level {
    name: Vec<u8>,
    dir: OwnedFd,
    names: Vec<Vec<u8>>,
}

/// Removes `name`, or opens it if it is a directory.
fn remove_or_open(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Level>, Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(None),
        // What Linux and POSIX say of a directory.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    match open_child(parent, name) {
        Ok(dir) => {
            Ok(Some(Level { name: name.to_vec(), names: sys::directory::names(&dir)?, dir }))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A path by which calls that take no directory fd reach `name`. Its last component is not followed by the `l` calls.
pub(super) fn by_path(parent: impl AsFd, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", parent.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}

/// Sets an extended attribute of `name`, which is not followed.
pub(super) fn set_xattr(
    parent: impl AsFd,
    name: &[u8],
    key: &[u8],
    value: &[u8],
) -> Result<(), Errno> {
    rustix::fs::lsetxattr(by_path(parent, name), key, value, XattrFlags::empty())
}
