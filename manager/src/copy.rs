//! Copying a tree: what an image has at a volume's place into the volume, and a layer for containers that have other ids.
//!
//! Both trees may be hostile: the image is somebody else's, and another container may write to the volume meanwhile. Every
//! directory is opened under its tree's descriptor without following any link, files are made anew, and links are copied as
//! what they are.

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, SeekFrom, Stat, Timespec, Timestamps,
    Uid, XattrFlags, chownat, fchmod, fchown, fgetxattr, flistxattr, fsetxattr, ftruncate,
    futimens, linkat, mkdirat, mknodat, openat, readlinkat, renameat, seek, statat, symlinkat,
    utimensat,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What could not be copied.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Its path, relative to the tree.
    pub(crate) path: String,
    /// Why not.
    pub(crate) errno: Errno,
}

/// Whether a directory has no entries.
pub(crate) fn is_empty(directory: BorrowedFd<'_>) -> Result<bool, Errno> {
    for entry in Dir::read_from(directory)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How a copy differs from what it is a copy of.
#[derive(Clone, Copy)]
pub(crate) struct Manner<'a> {
    /// Whose what belongs to this user and this group becomes; `None` where there is nobody for it, which is `EOVERFLOW`.
    pub(crate) owner: &'a dyn Fn(u32, u32) -> Option<(u32, u32)>,
    /// A file gets no content, but two marks that say where that is found in a data-only layer of an overlay: under the path that
    /// the file has below `from`. One with several names has its content nevertheless: a layer above may have another file under
    /// the name that would be pointed to.
    pub(crate) points: bool,
}

/// The marks of a file whose content is in a data-only layer, for an overlay with `userxattr`.
const MARKS: [&str; 2] = ["user.overlay.metacopy", "user.overlay.redirect"];

/// Copies the contents of one directory into another, and its owner, mode, times and attributes onto it.
pub(crate) fn tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Failure> {
    tree_in(from, to, Manner { owner: &|uid, gid| Some((uid, gid)), points: false })
}

/// The same in another manner.
pub(crate) fn tree_in(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    manner: Manner<'_>,
) -> Result<(), Failure> {
    let mut copier = Copier { from, to, manner, links: HashMap::new() };
    let (mut ahead, mut done) = (vec![c".".to_owned()], Vec::new());
    while let Some(path) = ahead.pop() {
        let (found, failed) = copier.directory(&path);
        ahead.extend(found);
        failed?;
        done.push(path);
    }
    // A directory's times change with every entry: they come last, those of the innermost first.
    for path in done.iter().rev() {
        copier.finish(path).map_err(|errno| Failure::at(path, errno))?;
    }
    Ok(())
}

/// Moves the entries of a directory into another one of the same file system, which gets its owner, mode, times and attributes. What
/// is there already stays.
pub(crate) fn move_into(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(from)?;
    for name in sys::directory::names(from)? {
        match statat(to, &name[..], AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => {}
            Err(Errno::NOENT) => renameat(from, &name[..], to, &name[..])?,
            Err(errno) => return Err(errno),
        }
    }
    let manner = Manner { owner: &|uid, gid| Some((uid, gid)), points: false };
    Copier { from, to, manner, links: HashMap::new() }.own(from, to, &stat)
}

impl Failure {
    fn at(path: &CStr, errno: Errno) -> Self {
        Self { path: path.to_string_lossy().into_owned(), errno }
    }
}

struct Copier<'a> {
    from: BorrowedFd<'a>,
    to: BorrowedFd<'a>,
    manner: Manner<'a>,
    /// Files with several names: where the first of them was copied to.
    links: HashMap<(u64, u64), CString>,
}

fn open(root: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    sys::beneath::open_with(root, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
}

impl Copier<'_> {
    /// Copies the entries of a directory; returns the directories among them, which are empty yet.
    fn directory(&mut self, path: &CStr) -> (Vec<CString>, Result<(), Failure>) {
        let mut found = Vec::new();
        let mut copy = || -> Result<(), Failure> {
            let here = |errno| Failure::at(path, errno);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let source = open(self.from, path, flags).map_err(here)?;
            let target = open(self.to, path, flags).map_err(here)?;
            for entry in Dir::read_from(&source).map_err(here)? {
                let entry = entry.map_err(here)?;
                let name = entry.file_name();
                if matches!(name.to_bytes(), b"." | b"..") {
                    continue;
                }
                let below = join(path, name);
                let copied = self.entry(source.as_fd(), target.as_fd(), name, &below);
                if copied.map_err(|errno| Failure::at(&below, errno))? == FileType::Directory {
                    found.push(below);
                }
            }
            Ok(())
        };
        let result = copy();
        (found, result)
    }

    fn entry(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        name: &CStr,
        path: &CStr,
    ) -> Result<FileType, Errno> {
        let stat = statat(source, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            mkdirat(target, name, Mode::from_raw_mode(0o700))?;
            return Ok(kind);
        }
        if stat.st_nlink > 1 {
            let key = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&key) {
                let first = open(self.to, first, OFlags::PATH | OFlags::NOFOLLOW)?;
                linkat(first, c"", target, name, AtFlags::EMPTY_PATH)?;
                return Ok(kind);
            }
            self.links.insert(key, path.to_owned());
        }
        match kind {
            FileType::RegularFile => self.file(source, target, name, path)?,
            FileType::Symlink => {
                let link = readlinkat(source, name, Vec::new())?;
                symlinkat(link, target, name)?;
                self.own_entry(target, name, &stat)?;
            }
            _ => {
                mknodat(target, name, kind, Mode::from_raw_mode(0o600), stat.st_rdev)?;
                self.own_entry(target, name, &stat)?;
                sys::beneath::chmod_special(target, name, kind, mode(&stat))?;
            }
        }
        Ok(kind)
    }

    /// Owner, mode, attributes and times of a directory whose entries are all there.
    fn finish(&self, path: &CStr) -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let (source, target) = (open(self.from, path, flags)?, open(self.to, path, flags)?);
        self.own(source.as_fd(), target.as_fd(), &rustix::fs::fstat(&source)?)
    }

    fn owner(&self, stat: &Stat) -> Result<(Option<Uid>, Option<Gid>), Errno> {
        let (uid, gid) = (self.manner.owner)(stat.st_uid, stat.st_gid).ok_or(Errno::OVERFLOW)?;
        Ok((Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))))
    }

    /// Owner and times of what cannot be opened.
    fn own_entry(&self, target: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let (uid, gid) = self.owner(stat)?;
        chownat(target, name, uid, gid, flags)?;
        utimensat(target, name, &times(stat), flags)
    }

    /// Owner, mode, attributes and times of a file or directory, in this order: a new owner clears capabilities and set-user-id.
    fn own(
        &self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        stat: &Stat,
    ) -> Result<(), Errno> {
        let (uid, gid) = self.owner(stat)?;
        fchown(target, uid, gid)?;
        fchmod(target, mode(stat))?;
        attributes(source, target)?;
        futimens(target, &times(stat))
    }

    /// A regular file; what is a hole stays one.
    fn file(
        &self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        name: &CStr,
        path: &CStr,
    ) -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let from = openat(source, name, flags, Mode::empty())?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = openat(target, name, flags, Mode::from_raw_mode(0o600))?;
        let stat = rustix::fs::fstat(&from)?;
        let length = u64::try_from(stat.st_size).unwrap_or(0);
        ftruncate(&to, length)?;
        let points = self.manner.points && stat.st_nlink == 1 && length > 0;
        if !(points && point(&to, path).is_ok()) {
            content(&from, &to, length)?;
        }
        self.own(from.as_fd(), to.as_fd(), &stat)
    }
}

/// The path of an entry of the directory at `path`, which is `.` for the top.
pub(crate) fn join(path: &CStr, name: &CStr) -> CString {
    let mut bytes = Vec::new();
    if path != c"." {
        bytes.extend_from_slice(path.to_bytes());
        bytes.push(b'/');
    }
    bytes.extend_from_slice(name.to_bytes());
    CString::new(bytes).unwrap_or_default()
}

fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds: i64, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// Extended attributes: those that an image may have.
fn attributes(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    /// As large as the kernel lets a list, and a value, be.
    const LARGEST: usize = 64 * 1024;
    let mut names = vec![0_u8; LARGEST];
    let length = match flistxattr(source, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        length => length?,
    };
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let of_image = name.starts_with(b"user.")
            || matches!(
                name,
                b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default"
            );
        if !of_image {
            continue;
        }
        let mut value = vec![0_u8; LARGEST];
        let length = fgetxattr(source, name, &mut value[..])?;
        match fsetxattr(target, name, &value[..length], XattrFlags::empty()) {
            // A file system in memory may know no attributes of users.
            Err(Errno::OPNOTSUPP) if name.starts_with(b"user.") => {}
            set => set?,
        }
    }
    Ok(())
}

/// Marks a file as one whose content is elsewhere. What is too long for an attribute is refused; the first mark alone is no harm
/// to a file that has its content, so it comes last.
fn point(file: &OwnedFd, path: &CStr) -> Result<(), Errno> {
    let [metacopy, redirect] = MARKS;
    let place = [b"/", path.to_bytes()].concat();
    fsetxattr(file, redirect, &place, XattrFlags::empty())?;
    fsetxattr(file, metacopy, b"", XattrFlags::empty())
}

fn content(from: &OwnedFd, to: &OwnedFd, length: u64) -> Result<(), Errno> {
    let mut at = 0;
    while at < length {
        let start = match seek(from, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => break,
            Err(errno) => return Err(errno),
        };
        at = seek(from, SeekFrom::Hole(start))?.min(length);
        seek(from, SeekFrom::Start(start))?;
        seek(to, SeekFrom::Start(start))?;
        copy_range(from, to, at - start)?;
    }
    Ok(())
}

fn copy_range(from: &OwnedFd, to: &OwnedFd, mut left: u64) -> Result<(), Errno> {
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(1 << 30);
        let copied = match rustix::fs::copy_file_range(from, None, to, None, most) {
            // Two file systems that do not know each other.
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                rustix::fs::sendfile(to, from, None, most)?
            }
            copied => copied?,
        };
        if copied == 0 {
            break;
        }
        left -= copied as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
    use std::path::Path;

    fn copied(from: &Path, to: &Path) {
        let (from, to) = (File::open(from).unwrap(), File::open(to).unwrap());
        tree(from.as_fd(), to.as_fd()).unwrap();
    }

    #[test]
    fn a_tree_is_copied_with_its_links_modes_times_and_holes() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = |name: &str| from.path().join(name);
        fs::create_dir_all(path("a/b")).unwrap();
        fs::write(path("a/b/file"), "content").unwrap();
        fs::hard_link(path("a/b/file"), path("second")).unwrap();
        fs::set_permissions(path("a"), fs::Permissions::from_mode(0o1750)).unwrap();
        fs::set_permissions(path("a/b/file"), fs::Permissions::from_mode(0o4711)).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), Mode::from_raw_mode(0o640)).unwrap();
        let sparse = File::create(path("sparse")).unwrap();
        sparse.write_at(b"end", 8 << 20).unwrap();
        let old = fs::File::options().write(true).open(path("a/b/file")).unwrap();
        old.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000)).unwrap();
        copied(from.path(), to.path());
        let data = |name: &str| fs::symlink_metadata(to.path().join(name)).unwrap();
        assert_eq!(data("a").mode() & 0o7777, 0o1750);
        assert_eq!((data("a/b/file").mode() & 0o7777, data("a/b/file").mtime()), (0o4711, 1000));
        assert_eq!(data("a/b/file").ino(), data("second").ino(), "hard links stay together");
        assert_eq!(data("fifo").mode() & 0o7777, 0o640);
        assert_eq!(data("sparse").len(), (8 << 20) + 3);
        assert!(data("sparse").blocks() * 512 < 1 << 20, "the hole was filled");
        assert_eq!(fs::read_to_string(to.path().join("second")).unwrap(), "content");
    }

    #[test]
    fn a_link_is_copied_and_never_followed() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "of the host").unwrap();
        symlink(outside.path(), from.path().join("dir")).unwrap();
        symlink(outside.path().join("secret"), from.path().join("file")).unwrap();
        copied(from.path(), to.path());
        for name in ["dir", "file"] {
            assert!(to.path().join(name).is_symlink(), "{name}");
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_in_the_volume_is_not_written_through() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir(from.path().join("sub")).unwrap();
        fs::write(from.path().join("sub/file"), "content").unwrap();
        // What another container puts there while the copy is on its way.
        symlink(outside.path(), to.path().join("sub")).unwrap();
        let (source, target) = (File::open(from.path()).unwrap(), File::open(to.path()).unwrap());
        assert!(tree(source.as_fd(), target.as_fd()).is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    /// Another container replaces what was made in the volume, before it has its mode.
    #[test]
    fn a_link_in_place_of_a_pipe_leads_no_mode_out_of_the_volume() {
        let (from, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let fifo = from.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::from_raw_mode(0o600)).unwrap();
        fs::set_permissions(&fifo, fs::Permissions::from_mode(0o666)).unwrap();
        let secret = outside.path().join("secret");
        fs::write(&secret, "of the host").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let source = File::open(from.path()).unwrap();
        for _ in 0..200 {
            let to = tempfile::tempdir().unwrap();
            let (link, name) = (outside.path().join("link"), to.path().join("fifo"));
            symlink(&secret, &link).unwrap();
            let target = File::open(to.path()).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while fs::symlink_metadata(&name).is_err() {}
                    fs::rename(&link, &name).unwrap();
                });
                // Whether it ends well depends on who was first.
                let _ = tree(source.as_fd(), target.as_fd());
            });
            assert_eq!(fs::symlink_metadata(&secret).unwrap().mode() & 0o7777, 0o600);
        }
    }
}
