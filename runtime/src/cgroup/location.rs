//! Where in a hierarchy the container's cgroup lies: `linux.cgroupsPath`, cleaned and checked.
//!
//! runc's rules: an absolute path counts from the root of the hierarchy; a relative one, or the container's id when none is
//! given, counts from our own cgroup on v1, and from its parent on v2 (where our own has processes in it, ourselves, and
//! can therefore not pass controllers on). `..` is refused, not folded: it would leave the place that the administrator
//! of a shared host has given to the caller (class F in the list of attack classes).

use std::path::{Component, Path, PathBuf};

use super::Error;

const POINTER: &str = "/linux/cgroupsPath";

/// The container's cgroup, before it is resolved in one hierarchy.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Location {
    /// From the root of each hierarchy.
    Absolute(PathBuf),
    /// From our own place in each hierarchy.
    Relative(PathBuf),
}

impl Location {
    /// Reads `cgroupsPath`, or takes the container's id.
    pub(super) fn parse(cgroups_path: Option<&Path>, id: &str) -> Result<Location, Error> {
        let given = cgroups_path.filter(|path| !path.as_os_str().is_empty());
        let path = given.unwrap_or(Path::new(id));
        let refuse = |why: &str| {
            let what = format!("use the cgroup `{}`", path.display().to_string().escape_debug());
            Err(Error::refused(what, POINTER, why))
        };
        if path.as_os_str().as_encoded_bytes().iter().any(|byte| matches!(byte, 0 | b'\n')) {
            return refuse("a cgroup's name has no line break and no nul byte");
        }
        let mut clean = PathBuf::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => clean.push(name),
                Component::ParentDir => return refuse("`..` is not allowed"),
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        if clean.as_os_str().is_empty() {
            return refuse("it is the root of the hierarchy, which is not the container's own");
        }
        Ok(if path.has_root() { Location::Absolute(clean) } else { Location::Relative(clean) })
    }

    /// The path below the root of a v1 hierarchy in which we are in `own`.
    pub(super) fn in_v1(&self, own: &Path) -> PathBuf {
        match self {
            Location::Absolute(path) => path.clone(),
            Location::Relative(path) => below_root(own).join(path),
        }
    }

    /// The path below the root of the v2 hierarchy in which we are in `own`.
    pub(super) fn in_v2(&self, own: &Path) -> PathBuf {
        self.in_v1(own.parent().unwrap_or(Path::new("")))
    }
}

fn below_root(own: &Path) -> &Path {
    own.strip_prefix("/").unwrap_or(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(path: &str) -> Location {
        Location::parse(Some(Path::new(path)), "web").unwrap()
    }

    #[test]
    fn an_absolute_path_counts_from_the_root_of_the_hierarchy() {
        let location = location("//docker/./abc/");
        assert_eq!(location, Location::Absolute("docker/abc".into()));
        assert_eq!(location.in_v1(Path::new("/us")), Path::new("docker/abc"));
        assert_eq!(location.in_v2(Path::new("/us")), Path::new("docker/abc"));
    }

    #[test]
    fn a_relative_path_counts_from_our_cgroup_on_v1_and_from_its_parent_on_v2() {
        let location = location("pods/abc");
        assert_eq!(location.in_v1(Path::new("/user/us")), Path::new("user/us/pods/abc"));
        assert_eq!(location.in_v2(Path::new("/user/us")), Path::new("user/pods/abc"));
        assert_eq!(location.in_v2(Path::new("/")), Path::new("pods/abc"));
    }

    #[test]
    fn without_a_path_the_id_is_the_name() {
        assert_eq!(Location::parse(None, "web").unwrap(), Location::Relative("web".into()));
        let empty = Location::parse(Some(Path::new("")), "web").unwrap();
        assert_eq!(empty, Location::Relative("web".into()));
    }

    #[test]
    fn a_path_that_leaves_its_place_is_refused() {
        for path in ["..", "/..", "../../x", "/a/../../b", "a/..", "/", "//", ".", "/a\nb", "/a\0b"]
        {
            let error = Location::parse(Some(Path::new(path)), "web").unwrap_err();
            assert!(
                error.to_string().contains("(config.json /linux/cgroupsPath)"),
                "{path:?}: {error}"
            );
        }
    }
}
