//! The container's files as they would be or are seen from inside, without being inside.
//!
//! Lookups start at an fd of the root and are resolved under it (invariant I7): a link of the image leads nowhere else. The mounts
//! of config.json are not there when a start has failed; a path below one is looked up in the mount's source.

use oci_spec::runtime::Spec;
use rustix::fs::{CWD, Mode, OFlags, Stat, StatVfsMountFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The files of a container.
pub(super) struct View {
    root: OwnedFd,
    mounts: Vec<Place>,
}

/// A mount of config.json.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Where in the container.
    pub(super) destination: PathBuf,
    /// What kind of file system.
    pub(super) kind: String,
    /// Where a bind mount comes from.
    source: Option<PathBuf>,
    /// Whether programs on it cannot be executed.
    pub(super) noexec: bool,
    /// Its place in config.json.
    pub(super) pointer: String,
}

/// What is at a path.
pub(super) enum Found<'v> {
    /// A file or directory.
    Here {
        /// An `O_PATH` fd of it.
        file: OwnedFd,
        stat: Box<Stat>,
        /// The mount of config.json that it is on, if it is not the root.
        mount: Option<&'v Place>,
    },
    /// A file system that is made at the start covers it.
    Covered(&'v Place),
    /// Nothing, or nothing that can be reached.
    Missing(Errno),
}

impl View {
    /// The files that a bundle would give a container.
    pub(super) fn of_bundle(spec: &Spec, bundle: &Path, rootfs: &Path) -> Option<View> {
        let listed = spec.mounts().as_deref().unwrap_or_default();
        let mounts = listed.iter().enumerate().map(|(i, mount)| {
            let options = mount.options().as_deref().unwrap_or_default();
            let has = |name: &str| options.iter().any(|option| option == name);
            let bind = has("bind") || has("rbind") || mount.typ().as_deref() == Some("bind");
            Place {
                destination: clean(mount.destination()),
                kind: mount.typ().clone().unwrap_or_else(|| "bind".to_owned()),
                source: mount.source().as_ref().filter(|_| bind).map(|source| bundle.join(source)),
                noexec: has("noexec") || has("rnoexec"),
                pointer: format!("/mounts/{i}"),
            }
        });
        Some(View { root: open_root(rootfs).ok()?, mounts: mounts.collect() })
    }

    /// The files that a process sees.
    pub(super) fn of_process(pid: i32) -> Option<View> {
        let root = open_root(Path::new(&format!("/proc/{pid}/root"))).ok()?;
        Some(View { root, mounts: Vec::new() })
    }

    /// Looks a path up as the container would, links at its end followed.
    pub(super) fn find(&self, path: &Path) -> Found<'_> {
        match self.resolve(path) {
            Ok(path) => self.look(&path, OFlags::PATH),
            Err(errno) => Found::Missing(errno),
        }
    }

    /// What a symbolic link at a path says.
    pub(super) fn link(&self, path: &Path) -> Option<PathBuf> {
        let parent = self.resolve(path.parent()?).ok()?;
        self.link_at(&parent.join(path.file_name()?))
    }

    /// The same without following links on the way.
    fn link_at(&self, path: &Path) -> Option<PathBuf> {
        let Found::Here { file, .. } = self.look(path, OFlags::PATH | OFlags::NOFOLLOW) else {
            return None;
        };
        let target = rustix::fs::readlinkat(&file, c"", Vec::new()).ok()?;
        Some(PathBuf::from(std::ffi::OsStr::from_bytes(target.to_bytes())))
    }

    /// A path without symbolic links. A link may lead below a mount, which is not there for the kernel to see: name by name, then.
    /// Nothing is trusted to stay as it is found: what is opened is resolved under a root again.
    fn resolve(&self, path: &Path) -> Result<PathBuf, Errno> {
        if self.mounts.is_empty() {
            return Ok(path.to_owned());
        }
        let (mut links, mut steps) = (0, 0);
        let mut rest: Vec<PathBuf> = names(path);
        let mut resolved = PathBuf::from("/");
        while let Some(name) = rest.pop() {
            steps += 1;
            if steps > LONGEST || resolved.as_os_str().len() > LONGEST {
                return Err(Errno::NAMETOOLONG);
            }
            if name == Path::new("..") {
                resolved.pop();
                continue;
            }
            let next = resolved.join(name);
            match self.link_at(&next) {
                None => resolved = next,
                Some(_) if links == MOST_LINKS => return Err(Errno::LOOP),
                Some(target) => {
                    links += 1;
                    if target.is_absolute() {
                        resolved = PathBuf::from("/");
                    }
                    rest.extend(names(&target));
                }
            }
        }
        Ok(resolved)
    }

    /// Opens a regular file to read it. A FIFO or device of the image is not opened.
    pub(super) fn open(&self, path: &Path) -> Option<std::fs::File> {
        let path = &self.resolve(path).ok()?;
        let Found::Here { file, stat, .. } = self.find(path) else { return None };
        if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
            return None;
        }
        // That very file: a container that runs could put a device in its place meanwhile, and some act on being opened.
        let again = format!("/proc/self/fd/{}", file.as_raw_fd());
        rustix::fs::open(again, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .ok()
            .map(std::fs::File::from)
    }

    /// The mount that a cleaned path lies on: the last one with the longest destination.
    fn place(&self, path: &Path) -> Option<&Place> {
        let over = self.mounts.iter().filter(|place| path.starts_with(&place.destination));
        over.max_by_key(|place| place.destination.components().count())
    }

    fn look(&self, path: &Path, flags: OFlags) -> Found<'_> {
        let path = clean(path);
        let mount = self.place(&path);
        let found = match mount {
            None => match c_path(&path) {
                Some(path) => sys::beneath::open(self.root.as_fd(), &path, flags, Mode::empty()),
                None => Err(Errno::INVAL),
            },
            Some(place) if place.source.is_none() => return Found::Covered(place),
            Some(place) => place.open(&path).and_then(|(root, rest)| match rest {
                None => Ok(root),
                Some(rest) => sys::beneath::open(
                    root.as_fd(),
                    &c_path(&rest).ok_or(Errno::INVAL)?,
                    flags,
                    Mode::empty(),
                ),
            }),
        };
        match found.and_then(|file| rustix::fs::fstat(&file).map(|stat| (file, stat))) {
            Ok((file, stat)) => Found::Here { file, stat: Box::new(stat), mount },
            Err(errno) => Found::Missing(errno),
        }
    }
}

impl Place {
    /// The source, and the rest of a path below the destination.
    fn open(&self, path: &Path) -> Result<(OwnedFd, Option<PathBuf>), Errno> {
        let source = self.source.as_deref().ok_or(Errno::NOENT)?;
        let root = rustix::fs::open(source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let rest = path.strip_prefix(&self.destination).unwrap_or(Path::new(""));
        Ok((root, (rest != Path::new("")).then(|| rest.to_owned())))
    }
}

/// Whether the file system at an fd forbids to execute programs.
pub(super) fn is_noexec(file: &OwnedFd) -> bool {
    rustix::fs::fstatvfs(file).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::NOEXEC))
}

fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}

/// The kernel follows so many links on one way (path_resolution(7)).
const MOST_LINKS: usize = 40;
/// The longest path that is looked at (`PATH_MAX`), and the most names on the way: the links of an image could make any path of it.
const LONGEST: usize = 4096;

/// The names in a path, the last one first.
fn names(path: &Path) -> Vec<PathBuf> {
    let names =
        path.components().filter(|part| !matches!(part, Component::RootDir | Component::CurDir));
    let mut names: Vec<PathBuf> = names.map(|part| PathBuf::from(part.as_os_str())).collect();
    names.reverse();
    names
}

/// An absolute path without `.`, `..` and doubled slashes.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => drop(cleaned.pop()),
            _ => {}
        }
    }
    cleaned
}

fn c_path(path: &Path) -> Option<CString> {
    CString::new(path.as_os_str().as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_of_an_image_make_a_way_longer_only_up_to_a_point() {
        let bundle = tempfile::tempdir().unwrap();
        let root = bundle.path().join("rootfs");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::write(root.join("end"), "").unwrap();
        let text =
            r#"{"ociVersion": "1.3.0", "mounts": [{"destination": "/dev", "type": "tmpfs"}]}"#;
        let view = View::of_bundle(&serde_json::from_str(text).unwrap(), bundle.path(), &root);
        let view = view.unwrap();
        let link = |from: &str, detour: usize, to: &str| {
            symlink(format!("{}{to}", "bin/../".repeat(detour)), root.join(from)).unwrap();
        };
        link("short", 500, "end");
        assert!(matches!(view.find(Path::new("/short")), Found::Here { .. }));
        for n in 0..8 {
            link(&format!("l{n}"), 500, &format!("l{}", n + 1));
        }
        link("l8", 0, "end");
        let found = view.find(Path::new("/l0"));
        assert!(matches!(found, Found::Missing(Errno::NAMETOOLONG)));
    }
}
