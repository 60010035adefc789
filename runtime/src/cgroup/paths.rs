//! The directories of a container's cgroup, as the container's state keeps them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files;

/// The directories of one container, by controller: the keys are the names of v1 controllers, `name=...` for a v1
/// hierarchy without controllers, and the empty string for v2. This is the form of `cgroup_paths` in runc's state.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Paths(BTreeMap<String, PathBuf>);

impl Paths {
    /// No cgroup at all: what a container has when cgroups are disabled or out of a rootless user's reach.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory of a v1 controller.
    pub fn controller(&self, name: &str) -> Option<&Path> {
        self.0.get(name).map(PathBuf::as_path)
    }

    /// The directory in the v2 hierarchy.
    pub fn unified(&self) -> Option<&Path> {
        self.controller("")
    }

    /// The directories in v1 hierarchies, each once, in the order in which they are joined: the freezer's last, because
    /// a process that joins a frozen cgroup stops there, and would stop with the other hierarchies not joined.
    pub fn legacy(&self) -> Vec<&Path> {
        let mut found: Vec<&Path> = Vec::with_capacity(self.0.len());
        let named = |name: &&String| !name.is_empty() && *name != "freezer";
        let others = self.0.keys().filter(named).map(String::as_str);
        for path in others.chain(["freezer"]).filter_map(|name| self.controller(name)) {
            // As they are written, which is how they were planned: a path's own comparison takes each to pieces.
            if !found.iter().any(|known| known.as_os_str() == path.as_os_str()) {
                found.push(path);
            }
        }
        found
    }

    /// Every directory, each once: v2 first.
    pub fn all(&self) -> Vec<&Path> {
        self.unified().into_iter().chain(self.legacy()).collect()
    }

    /// Goes from each directory to the one at `path` below it. Beside v1 hierarchies, v2 is left where it is if nobody has made one
    /// there: who asks for a cgroup means the controllers.
    pub(super) fn descend(&mut self, path: &Path) {
        let beside_v1 = !self.legacy().is_empty();
        for (name, directory) in &mut self.0 {
            // Without a name to add, the path would get a slash at its end.
            if !path.as_os_str().is_empty() {
                let below = directory.join(path);
                if !(name.is_empty() && beside_v1) || files::exists(&below) == Ok(true) {
                    *directory = below;
                }
            }
        }
    }

    /// The controllers of a directory in a v1 hierarchy.
    pub(super) fn controllers_of(&self, path: &Path) -> Vec<String> {
        let own = self.0.iter().filter(|(_, known)| *known == path);
        own.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn remove(&mut self, path: &Path) {
        self.0.retain(|_, known| known != path);
    }

    pub(super) fn insert(&mut self, controllers: &[String], path: &Path) {
        if controllers.is_empty() {
            self.0.insert(String::new(), path.to_owned());
        }
        for name in controllers {
            self.0.insert(name.clone(), path.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_freezer_is_joined_last_and_mounts_shared_by_controllers_once() {
        let mut paths = Paths::default();
        paths.insert(&["freezer".into()], Path::new("/f"));
        paths.insert(&["cpu".into(), "cpuacct".into()], Path::new("/c"));
        paths.insert(&["name=systemd".into()], Path::new("/s"));
        paths.insert(&[], Path::new("/u"));
        assert_eq!(paths.legacy(), ["/c", "/s", "/f"].map(Path::new));
        assert_eq!(paths.all(), ["/u", "/c", "/s", "/f"].map(Path::new));
    }

    #[test]
    fn the_form_in_the_state_is_a_plain_map() {
        let mut paths = Paths::default();
        paths.insert(&[], Path::new("/u"));
        paths.insert(&["pids".into()], Path::new("/p"));
        let text = serde_json::to_string(&paths).unwrap();
        assert_eq!(text, r#"{"":"/u","pids":"/p"}"#);
        assert_eq!(serde_json::from_str::<Paths>(&text).unwrap(), paths);
    }
}
