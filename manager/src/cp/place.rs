//! What the two paths of a copy mean: Docker's rules as a pure function, and the lookup of a path in a tree.

use crate::error::{Error, Result};
use crate::path;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, readlinkat, statat};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};
use sys::beneath;

/// As many links as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// A tree that a path is looked up in.
pub(crate) enum Root<'a> {
    /// The host's own: its links are its owner's.
    Host,
    /// A container's, which nothing may lead out of.
    Container {
        root: BorrowedFd<'a>,
        /// What the container was called on the command line.
        name: &'a str,
    },
}

/// What is at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    Directory,
    /// A device, a pipe or a socket: nothing that a copy takes the place of unasked.
    Special(FileType),
    /// Anything else: a file or a link.
    Other,
}

impl Found {
    fn of(kind: FileType) -> Self {
        match kind {
            FileType::Directory => Self::Directory,
            FileType::RegularFile | FileType::Symlink => Self::Other,
            special => Self::Special(special),
        }
    }
}

/// A name in an open directory.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) parent: OwnedFd,
    /// One component; `.` for the directory itself.
    pub(crate) name: Vec<u8>,
    pub(crate) found: Found,
}

impl Place {
    /// The directory that is there.
    pub(crate) fn open_directory(&self) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.parent, &self.name[..], flags, Mode::empty())
    }
}

/// What is copied.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) place: Place,
    /// `/.`: what is in the directory, and not the directory.
    pub(crate) contents: bool,
}

/// Where it goes.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) place: Place,
    /// The path ends as only that of a directory can.
    pub(crate) must_be_directory: bool,
}

impl Root<'_> {
    /// A path as messages have it.
    pub(crate) fn show(&self, path: &str) -> String {
        match self {
            Self::Host => path.to_owned(),
            Self::Container { name, .. } => format!("{name}:{path}"),
        }
    }

    /// Finds what is to be copied.
    pub(crate) fn source(&self, path: &str, follow: bool) -> Result<Source> {
        let ends_in_slash = asserts_directory(path);
        let place = match self.locate(path, follow || ends_in_slash) {
            Ok(place) if place.found == Found::Nothing => Err(Errno::NOENT),
            found => found,
        };
        let place = place.map_err(|errno| self.unfound(path, errno))?;
        if ends_in_slash && place.found != Found::Directory {
            return Err(self.unfound(path, Errno::NOTDIR));
        }
        let clean = path.trim_end_matches('/');
        let contents = matches!(clean, "" | ".") || clean.ends_with("/.");
        Ok(Source { place, contents })
    }

    /// Finds where the copy goes. The directory it goes into has to be there. What is a device, a pipe or a socket of the host
    /// is nothing that a file may replace: who names /dev/null does not mean that it shall be none any more.
    pub(crate) fn destination(&self, path: &str) -> Result<Destination> {
        let place = self.locate(path, true).map_err(|errno| match (self, errno) {
            (Self::Host, Errno::NOENT) => Error::Rejected {
                message: format!(
                    "invalid output path: directory \"{}\" does not exist",
                    split(path).0
                ),
                hint: Some("make the directory first".to_owned()),
            },
            (_, Errno::LOOP) => self.unfound(path, errno),
            _ => self.unfound(split(path).0, errno),
        })?;
        if let (Self::Host, Found::Special(kind)) = (self, place.found) {
            let what = match kind {
                FileType::CharacterDevice | FileType::BlockDevice => "a device",
                FileType::Fifo => "a named pipe",
                FileType::Socket => "a socket",
                _ => "an irregular file",
            };
            return Err(Error::Rejected {
                message: format!(
                    "invalid output path: \"{path}\" must be a directory or a regular file: got {what}"
                ),
                hint: Some("`-` in its place writes an archive to stdout".to_owned()),
            });
        }
        Ok(Destination { place, must_be_directory: asserts_directory(path) })
    }

    fn unfound(&self, path: &str, errno: Errno) -> Error {
        match (self, errno) {
            (Self::Container { name, .. }, Errno::NOENT) => Error::Rejected {
                message: format!("Could not find the file {path} in container {name}"),
                hint: None,
            },
            (Self::Host, Errno::NOENT) => Error::Rejected {
                message: format!("lstat {path}: no such file or directory"),
                hint: None,
            },
            _ => Error::system(format!("look up `{}`", self.show(path)))(errno),
        }
    }

    /// The directory and the name that `path` leads to. Where `follow` says so, a link there is taken for what it points to;
    /// links on the way always are.
    fn locate(&self, path: &str, follow: bool) -> rustix::io::Result<Place> {
        let mut path = self.absolute(path)?;
        for _ in 0..MOST_LINKS {
            let (directory, name) = split_bytes(&path);
            let parent = self.open(directory)?;
            let Some(stat) = stat(&parent, name)? else {
                return Ok(Place { parent, name: name.to_vec(), found: Found::Nothing });
            };
            if file_type(&stat) != FileType::Symlink || !follow {
                let found = Found::of(file_type(&stat));
                return Ok(Place { parent, name: name.to_vec(), found });
            }
            let target = readlinkat(&parent, name, Vec::new())?.into_bytes();
            path = match target.first() {
                Some(b'/') => target,
                _ => [directory, b"/", &target].concat(),
            };
        }
        Err(Errno::LOOP)
    }

    /// Relative to where we are, on the host; relative to the root, in a container.
    fn absolute(&self, path: &str) -> rustix::io::Result<Vec<u8>> {
        if path.starts_with('/') || matches!(self, Self::Container { .. }) {
            return Ok(format!("/{path}").into_bytes());
        }
        let here = rustix::process::getcwd(Vec::new())?;
        Ok([here.as_bytes(), b"/", path.as_bytes()].concat())
    }

    fn open(&self, directory: &[u8]) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match self {
            Self::Host => {
                let path = if directory.is_empty() { b"/" } else { directory };
                rustix::fs::open(path, flags, Mode::empty())
            }
            Self::Container { root, .. } => {
                let path = [b".", directory].concat();
                let path = CString::new(path).map_err(|_| Errno::INVAL)?;
                beneath::open(*root, &path, flags, Mode::empty())
            }
        }
    }
}

/// What is done, once it is known what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Under the destination's own name.
    As,
    /// Under the source's name, in the directory that the destination is.
    Into,
    /// What is in the source goes into the directory that the destination is.
    Merge,
}

/// Docker's rules for `cp`.
pub(crate) fn plan(
    source_is_directory: bool,
    contents: bool,
    destination: Found,
    must_be_directory: bool,
) -> std::result::Result<Plan, &'static str> {
    match (source_is_directory, destination) {
        (false, Found::Directory) => Ok(Plan::Into),
        (false, Found::Other | Found::Special(_)) if must_be_directory => Err("not a directory"),
        (false, Found::Nothing) if must_be_directory => Err("no such directory"),
        (false, _) => Ok(Plan::As),
        (true, Found::Directory) if contents => Ok(Plan::Merge),
        (true, Found::Directory) => Ok(Plan::Into),
        (true, Found::Other | Found::Special(_)) => Err("cannot copy directory"),
        (true, Found::Nothing) => Ok(Plan::As),
    }
}

/// The last component of a path: what a copy is called in the directory that it goes into.
pub(crate) fn basename(path: &str) -> String {
    match path::names(path).last() {
        Some(last) => (*last).to_owned(),
        // `..` and the like: what the directory is really called.
        None => std::path::absolute(path)
            .ok()
            .and_then(|path| std::fs::canonicalize(path).ok())
            .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .unwrap_or_else(|| ".".to_owned()),
    }
}

fn asserts_directory(path: &str) -> bool {
    path.ends_with('/') || path.ends_with("/.") || path == "."
}

/// The directory of a path, and its last name.
fn split(path: &str) -> (&str, &str) {
    let trimmed = path.trim_end_matches('/');
    let trimmed = trimmed.strip_suffix("/.").unwrap_or(trimmed);
    match trimmed.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((directory, name)) => (directory, name),
        None => (".", trimmed),
    }
}

/// The same for an absolute path; a path that ends in dots is the directory itself.
fn split_bytes(path: &[u8]) -> (&[u8], &[u8]) {
    let mut end = path.len();
    loop {
        let trimmed = &path[..end];
        if let Some(shorter) = trimmed.strip_suffix(b"/") {
            end = shorter.len();
        } else if let Some(shorter) = trimmed.strip_suffix(b"/.") {
            end = shorter.len();
        } else {
            break;
        }
    }
    let path = &path[..end];
    match path.iter().rposition(|byte| *byte == b'/') {
        _ if path.ends_with(b"/..") => (path, b"."),
        Some(slash) if !path[slash + 1..].is_empty() => (&path[..slash], &path[slash + 1..]),
        _ => (path, b"."),
    }
}

fn stat(parent: &OwnedFd, name: &[u8]) -> rustix::io::Result<Option<Stat>> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_rules_are_dockers() {
        use Found::{Directory, Nothing, Other};
        for (source_is_directory, contents, destination, slash, expected) in [
            (false, false, Nothing, false, Ok(Plan::As)),
            (false, false, Nothing, true, Err("no such directory")),
            (false, false, Other, false, Ok(Plan::As)),
            (false, false, Other, true, Err("not a directory")),
            (false, false, Directory, false, Ok(Plan::Into)),
            (true, false, Nothing, false, Ok(Plan::As)),
            (true, true, Nothing, true, Ok(Plan::As)),
            (true, false, Other, false, Err("cannot copy directory")),
            (true, false, Directory, false, Ok(Plan::Into)),
            (true, true, Directory, false, Ok(Plan::Merge)),
        ] {
            let planned = plan(source_is_directory, contents, destination, slash);
            assert_eq!(
                planned, expected,
                "{source_is_directory} {contents} {destination:?} {slash}"
            );
        }
    }

    #[test]
    fn what_is_a_device_or_a_pipe_on_the_host_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let kind = FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, Mode::RUSR | Mode::WUSR, 0).unwrap();
        symlink("pipe", dir.path().join("link")).unwrap();
        for name in ["pipe", "link"] {
            let path = dir.path().join(name).display().to_string();
            let error = Root::Host.destination(&path).unwrap_err().to_string();
            let expected = format!(
                "invalid output path: \"{path}\" must be a directory or a regular file: got a named pipe"
            );
            assert_eq!(error, expected);
        }
        // In a container it is the container's.
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let fd = rustix::fs::open(dir.path(), flags, Mode::empty()).unwrap();
        let root = Root::Container { root: fd.as_fd(), name: "web" };
        assert_eq!(root.destination("/pipe").unwrap().place.found, Found::Special(kind));
        assert_eq!(Found::of(FileType::CharacterDevice), Found::Special(FileType::CharacterDevice));
    }

    #[test]
    fn a_copy_is_called_what_its_source_is_called() {
        for (path, name) in
            [("/etc/passwd", "passwd"), ("dir/", "dir"), ("dir/.", "dir"), ("/a/b/..", "a")]
        {
            assert_eq!(basename(path), name, "{path}");
        }
    }

    #[test]
    fn paths_are_split_at_their_last_name() {
        let cases: [(&str, &str, &str); 7] = [
            ("/a/b", "/a", "b"),
            ("/a", "", "a"),
            ("/a/b/", "/a", "b"),
            ("/a/b/.", "/a", "b"),
            ("/", "", "."),
            ("//.", "", "."),
            ("/a/..", "/a/..", "."),
        ];
        for (path, directory, name) in cases {
            let expected = (directory.as_bytes(), name.as_bytes());
            assert_eq!(split_bytes(path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn a_link_in_a_container_leads_to_a_place_in_the_container() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("root");
        fs::create_dir_all(inside.join("etc")).unwrap();
        fs::write(dir.path().join("secret"), "host").unwrap();
        fs::write(inside.join("secret"), "container").unwrap();
        symlink("../../../../secret", inside.join("etc/up")).unwrap();
        symlink("/secret", inside.join("etc/absolute")).unwrap();
        symlink("round", inside.join("round")).unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let fd = rustix::fs::open(&inside, flags, Mode::empty()).unwrap();
        let root = Root::Container { root: fd.as_fd(), name: "web" };
        for path in ["/etc/up", "etc/absolute", "/secret"] {
            let place = root.source(path, true).unwrap().place;
            let file =
                rustix::fs::openat(&place.parent, &place.name[..], OFlags::RDONLY, Mode::empty());
            let mut buffer = [0; 16];
            let length = rustix::io::read(file.unwrap(), &mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"container", "{path}");
        }
        let error = root.source("/gone", false).unwrap_err().to_string();
        assert_eq!(error, "Could not find the file /gone in container web");
        let error = root.destination("/no/such/dir").unwrap_err().to_string();
        assert_eq!(error, "Could not find the file /no/such in container web");
        assert!(root.source("/round", true).is_err());
    }
}
