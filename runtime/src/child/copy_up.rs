//! `tmpcopyup`: a new tmpfs begins with a copy of the directory that it covers.
//!
//! The tree is the image's, so it is hostile. It is walked without recursion, a directory at a time, each found from the top by a path
//! in which the kernel follows no link (invariant I7); what is not a directory is judged by lstat and never opened unless it is a
//! regular file. The copy is not attached yet, so that nobody else can change it meanwhile. Data goes from file to file inside the
//! kernel. Depth is bounded by PATH_MAX, size by the tmpfs and by the container's memory cgroup, which the child is in.

use crate::plan::op::CopyUp;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawDir, ResolveFlags, SeekFrom, Stat, Timespec,
    Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

/// The most that the names, or the value, of extended attributes can be (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const XATTR_MAX: usize = 65536;
/// Enough for the entries of a directory that one getdents64(2) returns.
const ENTRIES: usize = 32768;

/// Copies what is below the directory `from` into the empty file system at `to`.
///
/// # Errors
/// As the calls of open(2), mknod(2), chown(2) and sendfile(2): `ENOSPC` where the tmpfs is too small, `EINVAL` for an owner that has no
/// id in the user namespace, `EPERM` for a device node in one.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, kept: CopyUp) -> Result<(), Errno> {
    let mut copy = Copy {
        from,
        to,
        pending: vec![c".".to_owned()],
        links: BTreeMap::new(),
        attributes: Attributes { names: vec![0; XATTR_MAX], value: vec![0; XATTR_MAX] },
    };
    let mut entries = vec![MaybeUninit::uninit(); ENTRIES];
    let mut kept = Some(kept);
    while let Some(path) = copy.pending.pop() {
        copy.directory(&path, &mut entries, kept.take())?;
    }
    Ok(())
}

struct Copy<'a> {
    from: BorrowedFd<'a>,
    to: BorrowedFd<'a>,
    /// Directories that were made and are still empty.
    pending: Vec<CString>,
    /// Where files with several names were copied to, by device and inode: an image may have any number of them.
    links: BTreeMap<(u64, u64), CString>,
    attributes: Attributes,
}

/// Room for extended attributes.
struct Attributes {
    names: Vec<u8>,
    value: Vec<u8>,
}

impl Copy<'_> {
    fn directory(
        &mut self,
        path: &CStr,
        entries: &mut [MaybeUninit<u8>],
        top: Option<CopyUp>,
    ) -> Result<(), Errno> {
        let (from, to) = (open_directory(self.from, path)?, open_directory(self.to, path)?);
        let mut list = RawDir::new(&from, entries);
        while let Some(entry) = list.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                self.entry(&from, &to, path, name)?;
            }
        }
        // After its entries, which change the time of the directory.
        let stat = rustix::fs::fstat(&from)?;
        let kept = top.unwrap_or(CopyUp { owner: true, mode: true });
        if kept.owner {
            rustix::fs::fchown(&to, owner(&stat), group(&stat))?;
        }
        if kept.mode {
            rustix::fs::fchmod(&to, Mode::from_raw_mode(stat.st_mode))?;
        }
        self.attributes.copy(&from, &to)?;
        rustix::fs::futimens(&to, &times(&stat))
    }

    fn entry(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        directory: &CStr,
        name: &CStr,
    ) -> Result<(), Errno> {
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700))?;
            self.pending.push(joined(directory, name)?);
            return Ok(());
        }
        if stat.st_nlink > 1 {
            let inode = (stat.st_dev, stat.st_ino);
            if let Some(path) = self.links.get(&inode) {
                return rustix::fs::linkat(self.to, &**path, to, name, AtFlags::empty());
            }
            self.links.insert(inode, joined(directory, name)?);
        }
        match kind {
            FileType::RegularFile => return regular(from, to, name, &mut self.attributes),
            FileType::Symlink => {
                let link = rustix::fs::readlinkat(from, name, Vec::new())?;
                rustix::fs::symlinkat(&*link, to, name)?;
            }
            kind => {
                let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
                rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)?;
            }
        }
        let not_followed = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(to, name, owner(&stat), group(&stat), not_followed)?;
        if kind != FileType::Symlink {
            // A change of owner clears set-id bits.
            rustix::fs::chmodat(to, name, Mode::from_raw_mode(stat.st_mode), AtFlags::empty())?;
        }
        rustix::fs::utimensat(to, name, &times(&stat), not_followed)
    }
}

fn open_directory(top: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let restrict = ResolveFlags::NO_SYMLINKS;
    sys::beneath::open_with(top, path, flags, Mode::empty(), restrict)
}

/// A path below the top, of at most `PATH_MAX` bytes, which is what the kernel takes.
fn joined(directory: &CStr, name: &CStr) -> Result<CString, Errno> {
    const PATH_MAX: usize = 4096;
    if directory == c"." {
        return Ok(name.to_owned());
    }
    let path = [directory.to_bytes(), b"/", name.to_bytes()].concat();
    if path.len() >= PATH_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    CString::new(path).map_err(|_| Errno::INVAL)
}

/// The file may have been replaced since it was looked at: a FIFO does not hang the open, and is no regular file.
fn regular(
    from: &OwnedFd,
    to: &OwnedFd,
    name: &CStr,
    attributes: &mut Attributes,
) -> Result<(), Errno> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let from = rustix::fs::openat(from, name, OFlags::RDONLY | flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&from)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::STALE);
    }
    let made = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | flags;
    let to = rustix::fs::openat(to, name, made, Mode::from_raw_mode(0o600))?;
    contents(&from, &to, u64::try_from(stat.st_size).unwrap_or(0))?;
    // A change of owner clears set-id bits and file capabilities, so it comes before them.
    rustix::fs::fchown(&to, owner(&stat), group(&stat))?;
    rustix::fs::fchmod(&to, Mode::from_raw_mode(stat.st_mode))?;
    attributes.copy(&from, &to)?;
    rustix::fs::futimens(&to, &times(&stat))
}

/// Copies the data and leaves out the holes: a sparse file of an image can be larger than any memory.
fn contents(from: &OwnedFd, to: &OwnedFd, size: u64) -> Result<(), Errno> {
    rustix::fs::ftruncate(to, size)?;
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => return Ok(()),
            data => data?,
        };
        let hole = rustix::fs::seek(from, SeekFrom::Hole(data))?.min(size);
        rustix::fs::seek(to, SeekFrom::Start(data))?;
        let mut offset = data;
        while offset < hole {
            let count = usize::try_from(hole - offset).unwrap_or(usize::MAX);
            if rustix::fs::sendfile(to, from, Some(&mut offset), count)? == 0 {
                // It has become shorter meanwhile.
                return Ok(());
            }
        }
        at = hole;
    }
    Ok(())
}

impl Attributes {
    /// Copies those of an open file or directory: user attributes, access lists, file capabilities. What tmpfs or the user
    /// namespace does not take, such as user attributes before Linux 6.6, is left out, as in cp(1).
    fn copy(&mut self, from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
        let length = match rustix::fs::flistxattr(from, &mut self.names[..]) {
            Err(Errno::OPNOTSUPP) => return Ok(()),
            length => length?,
        };
        for name in self.names[..length].split_inclusive(|&byte| byte == 0) {
            let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
            let value = match rustix::fs::fgetxattr(from, name, &mut self.value[..]) {
                Ok(length) => &self.value[..length],
                Err(Errno::NODATA | Errno::OPNOTSUPP) => continue,
                Err(errno) => return Err(errno),
            };
            match rustix::fs::fsetxattr(to, name, value, XattrFlags::empty()) {
                Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                set => set?,
            }
        }
        Ok(())
    }
}

fn owner(stat: &Stat) -> Option<Uid> {
    Some(Uid::from_raw(stat.st_uid))
}

fn group(stat: &Stat) -> Option<Gid> {
    Some(Gid::from_raw(stat.st_gid))
}

fn times(stat: &Stat) -> Timestamps {
    let time = |tv_sec: i64, tv_nsec: i64| Timespec { tv_sec, tv_nsec };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec as i64),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec as i64),
    }
}
