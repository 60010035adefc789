//! Which cgroups a further process of a container joins: the container's own, cgroups below them that are asked for by name, or on
//! v2 the one that the init has moved to.

use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

use super::{Cgroup, Error, files};

/// Cgroups below the container's: a path for each controller, or one path for all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Subgroups(Vec<(Option<String>, PathBuf)>);

impl Subgroups {
    /// Reads `PATH`, which stands alone, or `CONTROLLER[,CONTROLLER...]:PATH`, as often as there are controllers.
    ///
    /// # Errors
    /// For another form, a path that leads out, or a controller that is named twice. The words are runc's.
    pub fn parse<'a>(args: impl IntoIterator<Item = &'a str>) -> Result<Subgroups, String> {
        let mut found: Vec<(Option<String>, PathBuf)> = Vec::new();
        let mut lone = false;
        for arg in args {
            if lone || !found.is_empty() && !arg.contains(':') {
                return Err(format!(
                    "invalid --cgroup argument: {arg} (missing <controller>: prefix)"
                ));
            }
            let Some((controllers, path)) = arg.split_once(':') else {
                lone = true;
                found.push((None, below(arg)?));
                continue;
            };
            for controller in controllers.split(',') {
                if controller.is_empty() {
                    return Err(format!(
                        "invalid --cgroup argument: {arg} (empty <controller> prefix)"
                    ));
                }
                if found.iter().any(|(known, _)| known.as_deref() == Some(controller)) {
                    return Err(format!(
                        "invalid --cgroup argument(s): controller {controller} specified multiple times"
                    ));
                }
                found.push((Some(controller.to_owned()), below(path)?));
            }
        }
        Ok(Subgroups(found))
    }
}

/// A path as one below the container's cgroup. `..` is refused, not folded: the container's limits must hold.
fn below(path: &str) -> Result<PathBuf, String> {
    let mut clean = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => return Err(format!("bad sub cgroup path: {path}")),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Ok(clean)
}

impl Cgroup {
    /// The cgroups that a further process joins. `init` is the container's, `mount` is where v2 is.
    ///
    /// On v2 a directory that has passed controllers on takes no processes (EBUSY): an init system that runs in the container
    /// does so, from a cgroup of its own below. Then, and where the directory is gone because the init left it, the process
    /// follows the init, unless it is told where to go.
    ///
    /// # Errors
    /// For a controller that the container has not.
    pub fn for_another(
        &self,
        subgroups: &Subgroups,
        init: i32,
        mount: Option<&Path>,
    ) -> Result<Cgroup, Error> {
        let mut paths = self.paths.clone();
        for (controller, path) in &subgroups.0 {
            let Some(name) = controller else {
                paths.descend(path);
                continue;
            };
            let Some(own) = self.paths.controller(name).filter(|_| !name.is_empty()) else {
                return Err(Error::refused(
                    format!("join the sub-cgroup `{}` of controller `{name}`", path.display()),
                    "",
                    format!("unknown controller {name}"),
                ));
            };
            // Without a name to add, the path would get a slash at its end.
            let directory =
                if path.as_os_str().is_empty() { own.to_owned() } else { own.join(path) };
            // A process is in one place of a hierarchy, for all controllers there.
            paths.insert(&self.paths.controllers_of(own), &directory);
        }
        if subgroups.0.is_empty()
            && let Some(own) = self.paths.unified()
            && !takes_processes(own)?
            && let Some(of_init) = mount.and_then(|mount| directory_of(init, mount))
        {
            paths.insert(&[], &of_init);
        }
        Ok(Cgroup::open(paths))
    }
}

/// Whether a process can be put into a v2 directory.
fn takes_processes(directory: &Path) -> Result<bool, Error> {
    match files::read(directory, "cgroup.subtree_control") {
        Ok(passed_on) => Ok(passed_on.trim().is_empty()),
        Err(Errno::NOENT | Errno::NODEV) => Ok(false),
        Err(errno) => {
            let what = format!("read `{}/cgroup.subtree_control`", directory.display());
            Err(Error::system(what, errno))
        }
    }
}

/// The v2 directory that a process is in.
fn directory_of(pid: i32, mount: &Path) -> Option<PathBuf> {
    let text = files::read_all(Path::new(&format!("/proc/{pid}")), "cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // Outside of our own cgroup namespace there is no path to it.
    (!path.split('/').any(|name| name == "..")).then(|| mount.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Paths;

    fn parsed(args: &[&str]) -> Result<Subgroups, String> {
        Subgroups::parse(args.iter().copied())
    }

    fn paths() -> Paths {
        let mut paths = Paths::default();
        paths.insert(&["cpu".into(), "cpuacct".into()], Path::new("/cpu/web"));
        paths.insert(&["memory".into()], Path::new("/memory/web"));
        paths
    }

    fn joined(args: &[&str]) -> Vec<String> {
        let cgroup = Cgroup::open(paths()).for_another(&parsed(args).unwrap(), 0, None).unwrap();
        cgroup.paths().all().iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn a_path_alone_is_below_every_hierarchy() {
        assert_eq!(joined(&[]), ["/cpu/web", "/memory/web"]);
        assert_eq!(joined(&["/"]), ["/cpu/web", "/memory/web"]);
        assert_eq!(joined(&["/a//b/"]), ["/cpu/web/a/b", "/memory/web/a/b"]);
    }

    #[test]
    fn a_path_with_controllers_is_below_theirs() {
        assert_eq!(joined(&["memory:x"]), ["/cpu/web", "/memory/web/x"]);
        assert_eq!(joined(&["cpu:y"]), ["/cpu/web/y", "/memory/web"]);
        assert_eq!(joined(&["cpu,cpuacct:y", "memory:/x"]), ["/cpu/web/y", "/memory/web/x"]);
        assert_eq!(joined(&["memory:/"]), ["/cpu/web", "/memory/web"]);
    }

    #[test]
    fn what_is_wrong_is_told_in_runcs_words() {
        for (args, message) in [
            (&[".."][..], "bad sub cgroup path: .."),
            (&["a/../b"], "bad sub cgroup path: a/../b"),
            (&["cpu:../x"], "bad sub cgroup path: ../x"),
            (&[":x"], "invalid --cgroup argument: :x (empty <controller> prefix)"),
            (&["cpu,:x"], "invalid --cgroup argument: cpu,:x (empty <controller> prefix)"),
            (&["cpu:x", "y"], "invalid --cgroup argument: y (missing <controller>: prefix)"),
            (&["x", "cpu:y"], "invalid --cgroup argument: cpu:y (missing <controller>: prefix)"),
            (
                &["cpu:x", "cpu:y"],
                "invalid --cgroup argument(s): controller cpu specified multiple times",
            ),
        ] {
            assert_eq!(parsed(args).unwrap_err(), message);
        }
        let subgroups = parsed(&["whaaat:/"]).unwrap();
        let error = Cgroup::open(paths()).for_another(&subgroups, 0, None).unwrap_err().to_string();
        assert!(error.ends_with("unknown controller whaaat"), "{error}");
    }
}
