//! The host's cgroup layout: which hierarchies are mounted where, and where in each of them we are.
//!
//! Read once, from `/proc/self/cgroup` and a look at each expected mount point. The mount table is never read: it is long
//! on a busy host, and every distribution mounts the hierarchies under `/sys/fs/cgroup`, each under the names of its
//! controllers.

use std::path::{Path, PathBuf};

use super::Error;
use super::files::{self, ROOT};
use rustix::io::Errno;

/// A file that each directory of a v1 hierarchy has, and none of v2's.
const OF_V1: &str = "notify_on_release";
/// The reverse.
const OF_V2: &str = "cgroup.controllers";

/// A mounted v1 hierarchy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Its controllers, or the one element `name=...` for a hierarchy without any.
    pub controllers: Vec<String>,
    /// The cgroup that we are in, from the root of the mount: `/` or `/a/b`.
    pub own: PathBuf,
}

/// The mounted v2 hierarchy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unified {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// The controllers that can be enabled in it.
    pub controllers: Vec<String>,
    /// The cgroup that we are in, from the root of the mount.
    pub own: PathBuf,
}

/// Every fact about the host that planning a cgroup may use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Layout {
    /// v1 hierarchies only, or none at all.
    Legacy(Vec<Hierarchy>),
    /// v1 hierarchies with the controllers, and a v2 hierarchy beside them (`/sys/fs/cgroup/unified`), which has the
    /// controllers, if any, that no v1 hierarchy took.
    Hybrid(Vec<Hierarchy>, Unified),
    /// v2 only.
    Unified(Unified),
}

impl Hierarchy {
    /// The directory of the cgroup that we are in.
    pub fn own_directory(&self) -> PathBuf {
        below(&self.mount, &self.own)
    }
}

impl Unified {
    /// The directory of the cgroup that we are in.
    pub fn own_directory(&self) -> PathBuf {
        below(&self.mount, &self.own)
    }
}

fn below(mount: &Path, own: &Path) -> PathBuf {
    match own.strip_prefix("/").unwrap_or(own) {
        root if root.as_os_str().is_empty() => mount.to_owned(),
        own => mount.join(own),
    }
}

impl Layout {
    /// The v1 hierarchies.
    pub fn hierarchies(&self) -> &[Hierarchy] {
        match self {
            Layout::Legacy(hierarchies) | Layout::Hybrid(hierarchies, _) => hierarchies,
            Layout::Unified(_) => &[],
        }
    }

    /// The v2 hierarchy.
    pub fn unified(&self) -> Option<&Unified> {
        match self {
            Layout::Legacy(_) => None,
            Layout::Hybrid(_, unified) | Layout::Unified(unified) => Some(unified),
        }
    }
}

/// Reads the host's layout.
pub fn probe() -> Result<Layout, Error> {
    let own = files::read_whole_once(Path::new("/proc/self"), "cgroup")
        .map_err(|errno| Error::system("read `/proc/self/cgroup`", errno))?;
    let lines = parse(&own);
    let line = lines.iter().find(|line| line.controllers.is_empty());
    let path = line.map_or("/", |line| line.path);
    if let Some(unified) = unified(Path::new(ROOT), path)? {
        return Ok(Layout::Unified(unified));
    }
    let hierarchies =
        lines.iter().filter(|line| !line.controllers.is_empty()).filter_map(hierarchy);
    let hierarchies = hierarchies.collect();
    Ok(match unified(&Path::new(ROOT).join("unified"), path)? {
        Some(unified) => Layout::Hybrid(hierarchies, unified),
        None => Layout::Legacy(hierarchies),
    })
}

/// One line of `/proc/self/cgroup`; the v2 hierarchy is the line without controllers.
#[derive(Debug, Eq, PartialEq)]
struct Line<'a> {
    controllers: Vec<&'a str>,
    path: &'a str,
}

/// Parses `hierarchy-ID:controller-list:cgroup-path` lines (cgroups(7)). A path may contain colons.
fn parse(text: &str) -> Vec<Line<'_>> {
    let line = |line| {
        let mut fields = str::splitn(line, 3, ':').skip(1);
        let controllers = fields.next()?.split(',').filter(|name| !name.is_empty()).collect();
        Some(Line { controllers, path: fields.next()? })
    };
    text.lines().filter_map(line).collect()
}

/// Finds where a v1 hierarchy is mounted: under the names of its controllers, or, where a distribution swapped them,
/// through the symbolic link that bears one of the names. `None` when it is not mounted: its controllers do not exist
/// for us then.
fn hierarchy(line: &Line<'_>) -> Option<Hierarchy> {
    let joined = line.controllers.join(",");
    let names = std::iter::once(joined.as_str()).chain(line.controllers.iter().copied());
    let mut mounts = names.map(|name| Path::new(ROOT).join(name.trim_start_matches("name=")));
    let (mount, own) = mounts.find_map(|mount| {
        let own = place(&mount, line.path, OF_V1)?;
        Some((mount, own))
    })?;
    let controllers = line.controllers.iter().map(ToString::to_string).collect();
    Some(Hierarchy { mount, controllers, own })
}

/// The v2 hierarchy, where it is mounted there: its root lists the controllers.
fn unified(mount: &Path, path: &str) -> Result<Option<Unified>, Error> {
    let own = own(mount, path, OF_V2).unwrap_or_else(|| PathBuf::from("/"));
    let controllers = match files::read_once(mount, OF_V2) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        read => read.map_err(|errno| {
            Error::system(format!("read `{}`", mount.join(OF_V2).display()), errno)
        })?,
    };
    Ok(Some(Unified {
        mount: mount.to_owned(),
        controllers: controllers.split_whitespace().map(str::to_owned).collect(),
        own,
    }))
}

/// Our own cgroup as a path below `mount`, where a hierarchy is mounted there whose directories have this file. In a container without a cgroup
/// namespace, or moved out of the root of its own, the path in `/proc/self/cgroup` is not below the mount: the root of the mount is
/// the closest place then.
fn place(mount: &Path, path: &str, mark: &str) -> Option<PathBuf> {
    // What is below it is of its version, so that most often one look answers both questions.
    own(mount, path, mark).or_else(|| is_marked(mount, mark).then(|| PathBuf::from("/")))
}

fn own(mount: &Path, path: &str, mark: &str) -> Option<PathBuf> {
    let below = path.trim_start_matches('/');
    let is_below = !below.is_empty() && !path.contains("/..");
    (is_below && is_marked(&mount.join(below), mark)).then(|| Path::new("/").join(below))
}

fn is_marked(directory: &Path, mark: &str) -> bool {
    files::exists(&directory.join(mark)) == Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_controllers_a_name_or_neither() {
        let lines = parse("4:cpu,cpuacct:/a\n2:name=systemd:/b:c\n0::/\nnot a line\n");
        assert_eq!(
            lines,
            [
                Line { controllers: vec!["cpu", "cpuacct"], path: "/a" },
                Line { controllers: vec!["name=systemd"], path: "/b:c" },
                Line { controllers: vec![], path: "/" },
            ]
        );
    }

    #[test]
    fn a_cgroup_that_is_not_below_the_mount_counts_as_its_root() {
        let mount = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(mount.path().join("a/b")).unwrap();
        let own = |path, mark| place(mount.path(), path, mark);
        assert_eq!(own("/a/b", OF_V1), None, "a directory like any other");
        for directory in ["", "a", "a/b"] {
            std::fs::write(mount.path().join(directory).join(OF_V1), "0").unwrap();
        }
        assert_eq!(own("/a/b", OF_V1), Some("/a/b".into()));
        for path in ["/docker/abc", "/../a", "/"] {
            assert_eq!(own(path, OF_V1), Some("/".into()), "{path}");
            assert_eq!(own(path, OF_V2), None, "another version: {path}");
        }
    }

    #[test]
    fn this_host_has_some_layout() {
        let layout = probe().unwrap();
        assert!(layout.unified().is_some() || !layout.hierarchies().is_empty());
    }
}
