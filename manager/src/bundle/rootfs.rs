//! Looking into a container's root file system, which belongs to whoever made the image.
//!
//! Every path is resolved under the root's fd (invariant I7). What is read is opened without blocking, must be a
//! regular file and is bounded; what is made is a directory.

use crate::error::{Error, Result};
use crate::path;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fstat};
use rustix::io::Errno;
use std::ffi::CString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use sys::beneath;

/// As much of a file of an image as is ever read: `/etc/passwd` and `/etc/group` of real systems are far below.
const LARGEST_FILE: u64 = 1024 * 1024;

/// The root of a container's file system.
#[derive(Debug)]
pub struct Rootfs {
    fd: OwnedFd,
    path: PathBuf,
}

impl Rootfs {
    /// Opens the root by a path of ours.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(Error::io("open", path))?;
        Ok(Self::at(fd, path))
    }

    /// Takes a root that is open; `path` is for messages.
    #[must_use]
    pub fn at(fd: OwnedFd, path: &Path) -> Self {
        Self { fd, path: path.to_owned() }
    }

    /// The root itself.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// A text file of the image, or nothing where it has none. Bytes that are not UTF-8 are replaced.
    pub fn read(&self, path: &str) -> Result<Option<String>> {
        // A FIFO would make a blocking open wait for ever; a device could do anything at all.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = match beneath::open(self.fd(), &c_path(path)?, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(self.error("open", path, errno)),
        };
        let stat = fstat(&fd).map_err(|errno| self.error("read", path, errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.rejected(path, "it is not a regular file"));
        }
        let mut bytes = Vec::new();
        File::from(fd)
            .take(LARGEST_FILE + 1)
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", &self.path.join(path.trim_start_matches('/'))))?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(self.rejected(path, "it is larger than 1 MiB"));
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Appends to a regular file of the image, which must be there.
    pub fn append(&self, path: &str, text: &str) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK | OFlags::NOCTTY;
        let failed = |errno| self.error("write", path, errno);
        let fd = beneath::open(self.fd(), &c_path(path)?, flags, Mode::empty()).map_err(failed)?;
        let stat = fstat(&fd).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.rejected(path, "it is not a regular file"));
        }
        File::from(fd)
            .write_all(text.as_bytes())
            .map_err(Error::io("write", &self.path.join(path.trim_start_matches('/'))))
    }

    /// Makes sure that a directory is there, as Docker does for a working directory.
    pub fn ensure_directory(&self, path: &str) -> Result<()> {
        self.directory(path).map(drop)
    }

    /// The same, and what is made for it, on the way to it as well, is this owner's and group's.
    pub fn ensure_directory_of(&self, path: &str, (uid, gid): (u32, u32)) -> Result<()> {
        let mut way = String::new();
        for name in path::names(path) {
            way = format!("{way}/{name}");
            if !matches!(beneath::find(self.fd(), &c_path(&way)?), Err(Errno::NOENT)) {
                continue;
            }
            let made = self.directory(&way)?;
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            chownat(&made, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
                .map_err(|errno| self.error("give away", &way, errno))?;
        }
        self.ensure_directory(path)
    }

    /// A directory, made if it is missing.
    fn directory(&self, path: &str) -> Result<OwnedFd> {
        let target = beneath::Target::new(path.as_bytes())
            .map_err(|_| self.rejected(path, "a path cannot contain a NUL byte"))?;
        let found =
            target.ensure(self.fd(), false).map_err(|errno| self.error("make", path, errno))?;
        let stat = fstat(&found).map_err(|errno| self.error("make", path, errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Err(self.error("make", path, Errno::NOTDIR));
        }
        Ok(found)
    }

    /// Owner, group and permissions of a directory of the image, if it is there.
    #[must_use]
    pub fn ownership(&self, path: &str) -> Option<(u32, u32, u32)> {
        let fd = beneath::find(self.fd(), &c_path(path).ok()?).ok()?;
        let stat = fstat(&fd).ok()?;
        let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        directory.then_some((stat.st_uid, stat.st_gid, stat.st_mode & 0o7777))
    }

    fn error(&self, action: &str, path: &str, errno: Errno) -> Error {
        Error::system(format!("{action} `{path}` in the container's root"))(errno)
    }

    fn rejected(&self, path: &str, why: &str) -> Error {
        Error::Rejected {
            message: format!("cannot use `{path}` in the container's root: {why}"),
            hint: None,
        }
    }
}

fn c_path(path: &str) -> Result<CString> {
    let relative = path.trim_start_matches('/');
    CString::new(if relative.is_empty() { "." } else { relative }).map_err(|_| Error::Rejected {
        message: format!("cannot use `{path}`: a path cannot contain a NUL byte"),
        hint: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn root() -> (tempfile::TempDir, Rootfs) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("root/etc")).unwrap();
        let rootfs = Rootfs::open(&dir.path().join("root")).unwrap();
        (dir, rootfs)
    }

    #[test]
    fn a_symlink_in_the_image_leads_nowhere_outside() {
        let (dir, rootfs) = root();
        std::fs::write(dir.path().join("passwd"), "host").unwrap();
        symlink(dir.path().join("passwd"), dir.path().join("root/etc/passwd")).unwrap();
        symlink("../../passwd", dir.path().join("root/etc/group")).unwrap();
        assert_eq!(rootfs.read("/etc/passwd").unwrap(), None);
        assert_eq!(rootfs.read("/etc/group").unwrap(), None);
        std::fs::write(dir.path().join("root/passwd"), "image").unwrap();
        assert_eq!(rootfs.read("/etc/group").unwrap().as_deref(), Some("image"));
    }

    #[test]
    fn a_fifo_and_a_huge_file_are_refused_and_not_waited_for() {
        let (dir, rootfs) = root();
        let fifo = dir.path().join("root/etc/passwd");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::from_raw_mode(0o644)).unwrap();
        let error = rootfs.read("/etc/passwd").unwrap_err();
        assert!(error.to_string().contains("it is not a regular file"), "{error}");
        let group = std::fs::File::create(dir.path().join("root/etc/group")).unwrap();
        group.set_len(1 << 30).unwrap();
        let error = rootfs.read("/etc/group").unwrap_err();
        assert!(error.to_string().contains("larger than 1 MiB"), "{error}");
    }

    #[test]
    fn what_is_appended_stays_in_the_root() {
        let (dir, rootfs) = root();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("passwd"), "host\n").unwrap();
        std::fs::write(path("root/etc/passwd"), "image\n").unwrap();
        rootfs.append("/etc/passwd", "more\n").unwrap();
        assert_eq!(std::fs::read_to_string(path("root/etc/passwd")).unwrap(), "image\nmore\n");
        symlink("../../passwd", path("root/etc/group")).unwrap();
        assert!(rootfs.append("/etc/group", "more\n").is_err());
        assert_eq!(std::fs::read_to_string(path("passwd")).unwrap(), "host\n");
        rustix::fs::mkfifoat(rustix::fs::CWD, path("root/fifo"), Mode::from_raw_mode(0o644))
            .unwrap();
        assert!(rootfs.append("/fifo", "more\n").is_err());
    }

    #[test]
    fn a_working_directory_is_made_in_the_root_and_not_over_a_file() {
        let (dir, rootfs) = root();
        rootfs.ensure_directory("/a/../b/c").unwrap();
        assert!(dir.path().join("root/b/c").is_dir());
        std::fs::write(dir.path().join("root/file"), "").unwrap();
        assert!(rootfs.ensure_directory("/file").is_err());
        assert!(rootfs.ensure_directory("/file/below").is_err());
    }

    #[test]
    fn directories_that_are_made_are_given_away_and_others_are_left() {
        use std::os::unix::fs::MetadataExt as _;
        let (dir, rootfs) = root();
        let mine = std::fs::metadata(dir.path()).unwrap();
        // Whoever is not root can give to nobody but themselves.
        let to = if mine.uid() == 0 { (55, 77) } else { (mine.uid(), mine.gid()) };
        symlink("/linked", dir.path().join("root/link")).unwrap();
        rootfs.ensure_directory_of("/etc/a/b", to).unwrap();
        rootfs.ensure_directory_of("/link/c", to).unwrap();
        let owner = |name: &str| {
            let found = std::fs::metadata(dir.path().join("root").join(name)).unwrap();
            (found.uid(), found.gid())
        };
        for name in ["etc/a", "etc/a/b", "linked", "linked/c"] {
            assert_eq!(owner(name), to, "{name}");
        }
        assert_eq!(owner("etc"), (mine.uid(), mine.gid()));
    }
}
