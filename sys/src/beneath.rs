//! Paths inside a tree that somebody else controls (invariant I7).
//!
//! Every lookup starts at an fd of the tree's root and is resolved by the kernel as if the process were chrooted there
//! (`RESOLVE_IN_ROOT`), so that neither `..`, an absolute symlink, a magic link nor a concurrent rename leads out of it
//! (CVE-2019-19921, CVE-2021-30465, CVE-2025-31133, CVE-2025-52881). A path here is relative to that root whatever it begins with.

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::Arg;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Opens `path` under `root`.
///
/// # Errors
/// As openat2(2); `ELOOP` where a magic link would have been followed, `EAGAIN` after too many concurrent renames.
pub fn open(
    root: BorrowedFd<'_>,
    path: &CStr,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    open_with(root, path, flags, mode, ResolveFlags::empty())
}

/// [`open`] with further restrictions, such as `NO_XDEV` or `NO_SYMLINKS`.
///
/// # Errors
/// As [`open`]; `EXDEV` and `ELOOP` where a restriction was hit.
pub fn open_with(
    root: BorrowedFd<'_>,
    path: &CStr,
    flags: OFlags,
    mode: Mode,
    restrict: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | restrict;
    // openat2 gives up with EAGAIN when `..` met a rename somewhere in the system; an attacker who renames in a loop
    // must not win by that, and must not hang us either.
    for _ in 0..128 {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN) => {}
            result => return result,
        }
    }
    Err(Errno::AGAIN)
}

/// An `O_PATH` fd of what `path` names under `root`.
///
/// # Errors
/// As [`open`].
pub fn find(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    open(root, path, OFlags::PATH, Mode::empty())
}

/// The same, of a link itself where the last name is one.
///
/// # Errors
/// As [`open`].
pub fn find_itself(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    open(root, path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
}

/// Changes the mode of the device, pipe or socket `name` in a directory, which is of type `kind` if nobody has replaced it.
///
/// There is no `fchmodat` that does not follow before Linux 6.6, and a device must not be opened: so through the magic link of an
/// `O_PATH` fd that was looked at first.
///
/// # Errors
/// `ESTALE` where something of another type is there, a link too; else as openat(2) and chmod(2).
pub fn chmod_special(
    directory: impl AsFd,
    name: impl Arg,
    kind: FileType,
    mode: Mode,
) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != kind {
        return Err(Errno::STALE);
    }
    if Mode::from_raw_mode(stat.st_mode) == mode {
        return Ok(());
    }
    rustix::fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), mode)
}

/// A path split for creation: the directory in which its last name lies, resolved from the root, and that name.
///
/// Built ahead of time, so that the process that uses it need not allocate, but for a link that dangles or where more than the last
/// name is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    path: Box<CStr>,
    /// Where the last name lies; `None` in the root, or for the root itself.
    parent: Option<Box<CStr>>,
}

impl Target {
    /// Splits `path`, dropping empty components and `.`, and applying `..` lexically as the engines do.
    ///
    /// # Errors
    /// When the path contains a NUL byte.
    pub fn new(path: &[u8]) -> Result<Target, std::ffi::NulError> {
        let mut clean = Vec::with_capacity(path.len() + 1);
        for name in path.split(|&byte| byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." => clean.truncate(last_slash(&clean).unwrap_or(0)),
                name => {
                    if !clean.is_empty() {
                        clean.push(b'/');
                    }
                    clean.extend_from_slice(name);
                }
            }
        }
        let c_string = |bytes| CString::new(bytes).map(CString::into_boxed_c_str);
        let parent =
            last_slash(&clean).map(|slash| c_string(clean[..slash].to_vec())).transpose()?;
        if clean.is_empty() {
            clean.push(b'.');
        }
        Ok(Target { path: c_string(clean)?, parent })
    }

    /// The cleaned path, relative to the root; `.` for the root itself.
    pub fn path(&self) -> &CStr {
        &self.path
    }

    /// Opens the target as `O_PATH`, making it and the directories on the way if it is missing: a directory, or an empty file
    /// if `file` says so. Directories are made with mode 0755, files with 0644, subject to the umask.
    ///
    /// # Errors
    /// As openat2(2), mkdirat(2) and mknodat(2); `ENOTDIR` where a component on the way is a file.
    pub fn ensure(&self, root: BorrowedFd<'_>, file: bool) -> Result<OwnedFd, Errno> {
        self.ensure_with(root, file, ResolveFlags::empty())
    }

    /// [`Target::ensure`] with further restrictions on what is found.
    ///
    /// # Errors
    /// As [`Target::ensure`]; `ELOOP` and `EXDEV` where a restriction was hit.
    pub fn ensure_with(
        &self,
        root: BorrowedFd<'_>,
        file: bool,
        restrict: ResolveFlags,
    ) -> Result<OwnedFd, Errno> {
        let find = || open_with(root, &self.path, OFlags::PATH, Mode::empty(), restrict);
        match find() {
            Err(Errno::NOENT) => {}
            found => return found,
        }
        // Most often only the last name is missing: then the directory it goes into is there, and one step does.
        let made = match self.make(root, file, restrict) {
            Err(Errno::NOENT) => {
                self.make_way(root, restrict).and_then(|()| self.make(root, file, restrict))
            }
            made => made,
        };
        // Resolved afresh: what was just made may have been replaced, and the kernel decides where that leads.
        match made.and_then(|()| find()) {
            Err(Errno::NOENT) if !restrict.contains(ResolveFlags::NO_SYMLINKS) => {
                self.ensure_through_links(root, file)
            }
            found => found,
        }
    }

    /// [`Target::ensure`] that opens a link itself where the last name is one.
    ///
    /// # Errors
    /// As [`Target::ensure`].
    pub fn ensure_itself(&self, root: BorrowedFd<'_>, file: bool) -> Result<OwnedFd, Errno> {
        match find_itself(root, &self.path) {
            Err(Errno::NOENT) => {}
            found => return found,
        }
        drop(self.ensure(root, file)?);
        find_itself(root, &self.path)
    }

    /// A link on the way points to nothing, as `/etc/resolv.conf` does in many images: what it points to is made, inside the root.
    /// Where that is, is read here; the kernel then follows no link at all, so that one that changes meanwhile is an error.
    fn ensure_through_links(&self, root: BorrowedFd<'_>, file: bool) -> Result<OwnedFd, Errno> {
        let path = without_links(root, self.path.to_bytes())?;
        let target = Target::new(&path).map_err(|_| Errno::INVAL)?;
        target.ensure_with(root, file, ResolveFlags::NO_SYMLINKS)
    }

    /// Makes the last name, as a directory or an empty file, where the directory that it goes into is there.
    fn make(&self, root: BorrowedFd<'_>, file: bool, restrict: ResolveFlags) -> Result<(), Errno> {
        let Some((_, name)) = self.split() else { return Ok(()) };
        let opened;
        let parent = if self.parent.is_none() {
            // In the root itself, to which there is no way.
            root
        } else {
            opened = self.parent(root, restrict)?;
            opened.as_fd()
        };
        let made = if file {
            make_file(parent, name)
        } else {
            rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))
        };
        match made {
            Err(Errno::EXIST) => Ok(()),
            made => made,
        }
    }

    /// Makes the directories on the way to the last name, the outermost first.
    fn make_way(&self, root: BorrowedFd<'_>, restrict: ResolveFlags) -> Result<(), Errno> {
        let path = self.path.to_bytes();
        for (slash, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let directory = Target::new(&path[..slash]).map_err(|_| Errno::INVAL)?;
            directory.make(root, false, restrict)?;
        }
        Ok(())
    }

    /// The path of the directory in which the last name lies, and that name; `None` for the root itself.
    pub fn split(&self) -> Option<(&CStr, &CStr)> {
        let path = self.path.to_bytes_with_nul();
        match &self.parent {
            Some(parent) => {
                let name = path.get(parent.count_bytes() + 1..)?;
                Some((&**parent, CStr::from_bytes_with_nul(name).ok()?))
            }
            None => (path != b".\0").then_some((c".", &*self.path)),
        }
    }

    /// Opens the directory in which the last name lies.
    ///
    /// # Errors
    /// As openat2(2); `ELOOP` and `EXDEV` where a restriction was hit. The directory is not made.
    pub fn parent(&self, root: BorrowedFd<'_>, restrict: ResolveFlags) -> Result<OwnedFd, Errno> {
        let (prefix, _) = self.split().ok_or(Errno::EXIST)?;
        open_with(root, prefix, OFlags::PATH | OFlags::DIRECTORY, Mode::empty(), restrict)
    }

    /// Makes the directories on the way to the last name.
    ///
    /// # Errors
    /// As [`Target::ensure`].
    pub fn ensure_parent(&self, root: BorrowedFd<'_>) -> Result<(), Errno> {
        self.make_way(root, ResolveFlags::empty())
    }
}

fn last_slash(path: &[u8]) -> Option<usize> {
    path.iter().rposition(|&byte| byte == b'/')
}

/// The path that `path` leads to under `root` if every link is followed, those that dangle too.
fn without_links(root: BorrowedFd<'_>, path: &[u8]) -> Result<Vec<u8>, Errno> {
    /// As many as the kernel follows (path_resolution(7)).
    const MOST: usize = 40;
    let names = |path: &[u8]| -> Vec<Vec<u8>> {
        path.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec).collect()
    };
    let (mut done, mut ahead, mut links): (Vec<Vec<u8>>, _, _) = (Vec::new(), names(path), 0);
    while let Some(name) = ahead.pop() {
        match &*name {
            b"" | b"." => continue,
            b".." => {
                done.pop();
                continue;
            }
            _ => {}
        }
        match read_link(root, &done, &name) {
            // Not there, or not a link.
            Err(Errno::NOENT | Errno::INVAL) => done.push(name),
            Err(errno) => return Err(errno),
            Ok(_) if links == MOST => return Err(Errno::LOOP),
            Ok(to) => {
                links += 1;
                if to.starts_with(b"/") {
                    done.clear();
                }
                ahead.extend(names(&to));
            }
        }
    }
    Ok(done.join(&b'/'))
}

/// What the link `name` in a directory that is reached without links points to.
fn read_link(root: BorrowedFd<'_>, directory: &[Vec<u8>], name: &[u8]) -> Result<Vec<u8>, Errno> {
    let c_string = |bytes: Vec<u8>| std::ffi::CString::new(bytes).map_err(|_| Errno::INVAL);
    let path = if directory.is_empty() { b".".to_vec() } else { directory.join(&b'/') };
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let parent =
        open_with(root, &c_string(path)?, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    let link = rustix::fs::readlinkat(&parent, &*c_string(name.to_vec())?, Vec::new())?;
    Ok(link.into_bytes())
}

/// mknod rather than open(O_CREAT): it never follows a symlink and never opens a FIFO or device that is there already.
fn make_file(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    use rustix::fs::FileType;
    rustix::fs::mknodat(parent, name, FileType::RegularFile, Mode::from_raw_mode(0o644), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Tree(std::path::PathBuf);

    impl Tree {
        fn new(name: &str) -> Tree {
            let dir =
                std::env::temp_dir().join(format!("sys-beneath-{name}-{}", std::process::id()));
            std::fs::create_dir_all(dir.join("root")).unwrap();
            Tree(dir)
        }
        fn root(&self) -> OwnedFd {
            rustix::fs::open(self.0.join("root"), OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
                .unwrap()
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_path_is_cleaned_lexically() {
        for (given, cleaned) in [
            ("/proc", "proc"),
            ("a//b/./c", "a/b/c"),
            ("/a/../../b", "b"),
            ("/", "."),
            ("", "."),
            ("../..", "."),
        ] {
            let target = Target::new(given.as_bytes()).unwrap();
            assert_eq!(target.path(), &*CString::new(cleaned).unwrap(), "{given}");
        }
        assert!(Target::new(b"a\0b").is_err());
    }

    #[test]
    fn missing_directories_are_made_on_the_way() {
        let tree = Tree::new("made");
        Target::new(b"/a/b/c").unwrap().ensure(tree.root().as_fd(), true).unwrap();
        assert!(tree.0.join("root/a/b/c").is_file());
        Target::new(b"/a/d").unwrap().ensure(tree.root().as_fd(), false).unwrap();
        assert!(tree.0.join("root/a/d").is_dir());
    }

    #[test]
    fn a_symlink_to_outside_is_followed_inside_the_root() {
        let tree = Tree::new("symlink");
        let outside = tree.0.join("outside");
        std::fs::create_dir(&outside).unwrap();
        symlink(&outside, tree.0.join("root/absolute")).unwrap();
        symlink("../../outside", tree.0.join("root/dots")).unwrap();
        let inside = tree.0.join("root").join(outside.strip_prefix("/").unwrap());
        for (name, inside) in [("absolute", inside), ("dots", tree.0.join("root/outside"))] {
            // The link dangles inside the root, where what it names is made.
            let target = Target::new(format!("{name}/victim").as_bytes()).unwrap();
            target.ensure(tree.root().as_fd(), true).unwrap();
            assert!(inside.join("victim").is_file(), "{name}");
            assert!(
                std::fs::read_dir(&outside).unwrap().next().is_none(),
                "{name} led out of the root"
            );
        }
    }

    #[test]
    fn what_a_dangling_link_points_to_is_made() {
        let tree = Tree::new("dangling");
        for (to, name) in
            [("/run/resolve/stub", "conf"), ("../new/./here", "etc"), ("etc", "again")]
        {
            symlink(to, tree.0.join("root").join(name)).unwrap();
        }
        for (path, made) in
            [("conf", "run/resolve/stub"), ("again/x/y", "new/here/x/y"), ("etc/../z", "z")]
        {
            Target::new(path.as_bytes()).unwrap().ensure(tree.root().as_fd(), true).unwrap();
            assert!(tree.0.join("root").join(made).is_file(), "{path}");
        }
        assert!(tree.0.join("root/conf").is_symlink(), "the link itself is as it was");
    }

    #[test]
    fn a_dangling_link_is_not_followed_where_links_are_refused() {
        let tree = Tree::new("refused");
        symlink("elsewhere", tree.0.join("root/null")).unwrap();
        let target = Target::new(b"null").unwrap();
        let made = target.ensure_with(tree.root().as_fd(), false, ResolveFlags::NO_SYMLINKS);
        assert_eq!(made.unwrap_err(), Errno::LOOP);
        assert!(!tree.0.join("root/elsewhere").exists());
    }

    #[test]
    fn a_link_at_the_end_is_found_itself_where_that_is_asked_for() {
        let tree = Tree::new("itself");
        symlink("/nowhere", tree.0.join("root/link")).unwrap();
        symlink("a", tree.0.join("root/way")).unwrap();
        let kind = |path: &[u8]| {
            let target = Target::new(path).unwrap();
            let found = target.ensure_itself(tree.root().as_fd(), false).unwrap();
            rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&found).unwrap().st_mode)
        };
        assert_eq!(kind(b"link"), rustix::fs::FileType::Symlink);
        assert!(!tree.0.join("root/nowhere").exists());
        // What is missing is made as elsewhere, and links on the way are followed.
        assert_eq!(kind(b"way/new"), rustix::fs::FileType::Directory);
        assert!(tree.0.join("root/a/new").is_dir());
    }

    #[test]
    fn links_that_lead_to_each_other_are_an_error() {
        let tree = Tree::new("circle");
        symlink("b", tree.0.join("root/a")).unwrap();
        symlink("a", tree.0.join("root/b")).unwrap();
        let target = Target::new(b"a/x").unwrap();
        assert_eq!(target.ensure(tree.root().as_fd(), false).unwrap_err(), Errno::LOOP);
        assert_eq!(without_links(tree.root().as_fd(), b"a").unwrap_err(), Errno::LOOP);
    }

    #[test]
    fn the_mode_of_a_special_file_is_set_and_that_of_what_a_link_leads_to_is_not() {
        let tree = Tree::new("special");
        let path = |name: &str| tree.0.join("root").join(name);
        let root = rustix::fs::open(path("."), OFlags::RDONLY, Mode::empty()).unwrap();
        rustix::fs::mkfifoat(&root, "fifo", Mode::from_raw_mode(0o600)).unwrap();
        std::fs::write(tree.0.join("secret"), "of the host").unwrap();
        symlink("../secret", path("link")).unwrap();
        let mode = |path: &std::path::Path| {
            let mode = rustix::fs::lstat(path).unwrap().st_mode;
            Mode::from_raw_mode(mode).bits()
        };
        let before = mode(&tree.0.join("secret"));
        let set =
            |name: &str| chmod_special(&root, name, FileType::Fifo, Mode::from_raw_mode(0o4777));
        assert_eq!(
            [set("fifo"), set("link"), set("none")],
            [Ok(()), Err(Errno::STALE), Err(Errno::NOENT)]
        );
        assert_eq!(mode(&path("fifo")), 0o4777);
        assert_eq!(mode(&tree.0.join("secret")), before);
    }

    #[test]
    fn a_magic_link_is_refused() {
        let root = rustix::fs::open("/proc", OFlags::PATH, Mode::empty()).unwrap();
        assert_eq!(find(root.as_fd(), c"self/root").unwrap_err(), Errno::LOOP);
    }
}
