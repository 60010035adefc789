//! What a container has changed in its root file system, read from its overlay's upper directory, without a mount.
//!
//! The upper directory is compared with the layers below it, name by name: where a layer hides a name with a whiteout or an
//! opaque directory, those below it are not asked. Directories are opened one name at a time and links are never followed,
//! so it does no harm that the container may still be running.

use crate::error::{Error, Result};
use crate::privilege::is_in_namespace;
use crate::snapshot::Layers;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The longest path that Linux takes, and so the deepest tree that is walked.
const LONGEST_PATH: usize = 4095;

/// What happened to a name; Docker's letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It was there and is another.
    Changed,
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
}

impl Kind {
    /// `C`, `A` or `D`.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Changed => 'C',
            Self::Added => 'A',
            Self::Deleted => 'D',
        }
    }
}

/// All changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Absolute paths and what happened to them, by path.
    pub list: Vec<(Vec<u8>, Kind)>,
    /// Relative paths in the upper directory that are nobody's change: what mounts were put on and was made for that, and
    /// directories that were copied up and look as they did.
    pub incidental: BTreeSet<Vec<u8>>,
}

/// Finds them. `mount_points` are the absolute paths of what is mounted in the container.
pub fn changes(layers: &Layers, mount_points: &BTreeSet<Vec<u8>>) -> Result<Changes> {
    let lower: Vec<OwnedFd> =
        layers.lower.iter().map(|path| open_path(path)).collect::<Result<_>>()?;
    let mut walk = Walk { mount_points, changes: Changes::default() };
    walk.directory(&open_path(&layers.upper)?, &lower, &[], false)?;
    walk.changes.list.sort();
    Ok(walk.changes)
}

/// What the layers below have under a name.
enum Below {
    Nothing,
    File,
    /// A directory: those that make it up, the uppermost first.
    Directory(Vec<OwnedFd>),
}

struct Walk<'a> {
    mount_points: &'a BTreeSet<Vec<u8>>,
    changes: Changes,
}

/// What came of a directory.
#[derive(Clone, Copy, Default)]
struct Outcome {
    reported: usize,
    incidental: usize,
}

impl Walk<'_> {
    /// The names in a directory of the upper layer. `hidden`: the directories below are not merged into it.
    fn directory(
        &mut self,
        upper: &OwnedFd,
        lower: &[OwnedFd],
        path: &[u8],
        hidden: bool,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let names = list(upper, path)?;
        for name in &names {
            let child = [path, b"/", name].concat();
            if child.len() > LONGEST_PATH {
                return Err(fault("look at", &child, Errno::NAMETOOLONG));
            }
            // One that vanished meanwhile is no change.
            let Some(stat) = stat(upper, name, &child)? else { continue };
            let this = self.name(upper, name, &stat, lower, &child)?;
            outcome.reported += this.reported;
            outcome.incidental += this.incidental;
        }
        if hidden {
            for name in merged(lower, path)?.difference(&names.into_iter().collect()) {
                self.report([path, b"/", name].concat(), Kind::Deleted);
                outcome.reported += 1;
            }
        }
        Ok(outcome)
    }

    fn name(
        &mut self,
        upper: &OwnedFd,
        name: &[u8],
        stat: &Stat,
        lower: &[OwnedFd],
        path: &[u8],
    ) -> Result<Outcome> {
        let below = find(lower, name, path)?;
        let reported = Outcome { reported: 1, incidental: 0 };
        if is_whiteout(stat) {
            if matches!(below, Below::Nothing) {
                return Ok(Outcome::default());
            }
            self.report(path.to_vec(), Kind::Deleted);
            return Ok(reported);
        }
        let kind = if matches!(below, Below::Nothing) { Kind::Added } else { Kind::Changed };
        if file_type(stat) != FileType::Directory {
            let is_mount_point = stat.st_size == 0 && self.mount_points.contains(path);
            if kind == Kind::Added && is_mount_point {
                return Ok(self.pass_over(path));
            }
            self.report(path.to_vec(), kind);
            return Ok(reported);
        }
        let fd = match open_child(upper, name) {
            // Gone meanwhile, or no directory any more.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Outcome::default()),
            opened => opened.map_err(|errno| fault("open", path, errno))?,
        };
        let (dirs, same) = match &below {
            Below::Directory(dirs) => {
                (&dirs[..], dirs.first().map_or(Ok(false), |dir| alike(dir, stat, path))?)
            }
            _ => (&[][..], false),
        };
        let hidden = !dirs.is_empty() && is_opaque(&fd);
        let mut outcome = self.directory(&fd, dirs, path, hidden)?;
        if kind == Kind::Added && outcome.reported == 0 {
            let is_mount_point = self.mount_points.contains(path);
            if is_mount_point || outcome.incidental > 0 {
                return Ok(self.pass_over(path));
            }
        }
        if same && outcome.reported == 0 {
            self.changes.incidental.insert(path[1..].to_vec());
        } else {
            self.report(path.to_vec(), kind);
            outcome.reported += 1;
        }
        Ok(outcome)
    }

    fn report(&mut self, path: Vec<u8>, kind: Kind) {
        self.changes.list.push((path, kind));
    }

    fn pass_over(&mut self, path: &[u8]) -> Outcome {
        self.changes.incidental.insert(path[1..].to_vec());
        Outcome { reported: 0, incidental: 1 }
    }
}

/// What the layers have under `name`, seen through their whiteouts.
fn find(lower: &[OwnedFd], name: &[u8], path: &[u8]) -> Result<Below> {
    let mut found = Vec::new();
    for layer in lower {
        let Some(stat) = stat(layer, name, path)? else { continue };
        if is_whiteout(&stat) {
            break;
        }
        if file_type(&stat) != FileType::Directory {
            if found.is_empty() {
                return Ok(Below::File);
            }
            break;
        }
        let fd = open_child(layer, name).map_err(|errno| fault("open", path, errno))?;
        let opaque = is_opaque(&fd);
        found.push(fd);
        if opaque {
            break;
        }
    }
    Ok(if found.is_empty() { Below::Nothing } else { Below::Directory(found) })
}

/// The names in a directory that several layers make up.
fn merged(lower: &[OwnedFd], path: &[u8]) -> Result<BTreeSet<Vec<u8>>> {
    let (mut names, mut gone) = (BTreeSet::new(), BTreeSet::new());
    for layer in lower {
        for name in list(layer, path)? {
            let Some(stat) = stat(layer, &name, path)? else { continue };
            if is_whiteout(&stat) {
                gone.insert(name);
            } else if !gone.contains(&name) {
                names.insert(name);
            }
        }
    }
    Ok(names)
}

/// Whether a directory that was copied up looks as it did. Its time is no change of its own: making a name in it sets that.
fn alike(below: &OwnedFd, upper: &Stat, path: &[u8]) -> Result<bool> {
    let below = rustix::fs::fstat(below).map_err(|errno| fault("look at", path, errno))?;
    let look = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid);
    Ok(look(&below) == look(upper))
}

fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn is_whiteout(stat: &Stat) -> bool {
    file_type(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn is_opaque(directory: &OwnedFd) -> bool {
    // Where the other one is overlayfs's, a container may set it as it likes: see `snapshot::mount`.
    let key = if is_in_namespace() { "user.overlay.opaque" } else { "trusted.overlay.opaque" };
    let mut value = [0; 2];
    rustix::fs::fgetxattr(directory, key, &mut value).is_ok_and(|length| value[..length] == *b"y")
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn open_child(parent: &OwnedFd, name: &[u8]) -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())
}

fn open_path(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, DIRECTORY, Mode::empty()).map_err(Error::io("open", path))
}

fn stat(parent: &OwnedFd, name: &[u8], path: &[u8]) -> Result<Option<Stat>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(fault("look at", path, errno)),
    }
}

fn list(directory: &OwnedFd, path: &[u8]) -> Result<Vec<Vec<u8>>> {
    sys::directory::names(directory).map_err(|errno| fault("read", path, errno))
}

fn fault(action: &str, path: &[u8], errno: Errno) -> Error {
    let path = String::from_utf8_lossy(path);
    Error::system(format!("{action} `{path}` in the container's layer"))(errno)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    struct Tree {
        dir: tempfile::TempDir,
    }

    impl Tree {
        fn new(files: &[&str]) -> Self {
            let tree = Self { dir: tempfile::tempdir().unwrap() };
            for file in files {
                let path = tree.dir.path().join(file);
                if file.ends_with('/') {
                    fs::create_dir_all(path).unwrap();
                } else {
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, "").unwrap();
                }
            }
            for layer in ["upper", "top", "bottom"] {
                fs::create_dir_all(tree.dir.path().join(layer)).unwrap();
            }
            tree
        }

        fn layer(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn changes(&self, mounts: &[&str]) -> (Vec<String>, Vec<String>) {
            let lower = vec![self.layer("top"), self.layer("bottom")];
            let layers = Layers { upper: self.layer("upper"), lower, chain: Vec::new() };
            let mounts = mounts.iter().map(|path| path.as_bytes().to_vec()).collect();
            let changes = changes(&layers, &mounts).unwrap();
            let text = |path: &[u8]| String::from_utf8(path.to_vec()).unwrap();
            let list = changes.list.iter();
            (
                list.map(|(path, kind)| format!("{} {}", kind.letter(), text(path))).collect(),
                changes.incidental.iter().map(|path| text(path)).collect(),
            )
        }
    }

    #[test]
    fn what_is_new_and_what_was_there_in_any_layer_is_told_apart() {
        let tree = Tree::new(&[
            "bottom/etc/old",
            "top/etc/mid",
            "upper/etc/old",
            "upper/etc/mid",
            "upper/etc/new",
            "upper/made/here",
        ]);
        let expected =
            ["C /etc", "C /etc/mid", "A /etc/new", "C /etc/old", "A /made", "A /made/here"];
        assert_eq!(tree.changes(&[]).0, expected);
    }

    #[test]
    fn a_directory_that_was_only_passed_through_is_no_change() {
        let tree = Tree::new(&["bottom/a/b/", "upper/a/b/"]);
        assert_eq!(tree.changes(&[]).0, Vec::<String>::new());
        fs::set_permissions(
            tree.layer("upper/a/b"),
            std::os::unix::fs::PermissionsExt::from_mode(0o700),
        )
        .unwrap();
        assert_eq!(tree.changes(&[]).0, ["C /a", "C /a/b"]);
    }

    #[test]
    fn what_was_made_to_mount_on_is_no_change_unless_there_is_something_in_it() {
        let tree = Tree::new(&[
            "bottom/etc/passwd",
            "upper/etc/hosts",
            "upper/dev/",
            "upper/srv/data/",
            "upper/empty/",
        ]);
        let mounts = ["/etc/hosts", "/dev", "/srv/data", "/etc/passwd"];
        let (list, incidental) = tree.changes(&mounts);
        assert_eq!(list, ["A /empty"]);
        assert_eq!(incidental, ["dev", "etc", "etc/hosts", "srv", "srv/data"]);
        fs::write(tree.layer("upper/srv/data/x"), "").unwrap();
        assert_eq!(tree.changes(&mounts).0, ["A /empty", "A /srv", "A /srv/data", "A /srv/data/x"]);
    }

    #[test]
    fn what_another_layer_hides_is_new_again() {
        let tree = Tree::new(&["bottom/a/x", "top/a", "upper/a/x", "upper/a/"]);
        assert_eq!(tree.changes(&[]).0, ["C /a", "A /a/x"]);
    }
}
