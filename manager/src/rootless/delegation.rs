//! The part of cgroup v2 in which a user without root may make cgroups.
//!
//! Most users have a systemd of their own, `user@UID.service`, to which root's has given a cgroup with some controllers: it makes a
//! scope for each container there, whichever session asks. Where there is none, somebody may have delegated the cgroup that our own
//! lies in; a container's is then made beside ours. [`Delegation::plan`] is pure.

use crate::cgroup::unified_of;
use crate::cgroup::{DEFAULT_PARENT, is_slice};
use crate::container::ContainerId;
use crate::error::{Error, Result};
use crate::id_map;
use crate::settings::run_directory;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::fs;
use std::path::{Path, PathBuf};
use systemd::Connection;

/// Where cgroups are mounted, if there is v2 alone.
pub(super) const CGROUPS: &str = "/sys/fs/cgroup";

/// The slice of the user's systemd in which containers are, if nothing is said, as in Podman.
const SLICE: &str = "user.slice";

/// Who makes the user's cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// The user's systemd: a scope for each container.
    Systemd,
    /// The runtime, beside our own.
    Files,
}

impl Manager {
    /// Docker's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Files => "cgroupfs",
        }
    }
}

/// What is delegated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// Who makes cgroups there.
    pub manager: Manager,
    /// The cgroup below which they are, from the root of the hierarchy: `/user.slice/user-1000.slice/user@1000.service`.
    pub group: PathBuf,
    /// The controllers that it has.
    pub controllers: Vec<String>,
    /// Whether swap can be limited.
    pub swap: bool,
}

/// What a plan is made from.
struct Facts<'a> {
    /// There is v2 alone.
    unified: bool,
    /// What the user's systemd says is its cgroup, or why it cannot be asked; `None` on a host without systemd.
    systemd: Option<std::result::Result<String, String>>,
    /// The cgroup that ours lies in, if a cgroup can be made there and joined from ours.
    beside: Option<PathBuf>,
    /// The text of a cgroup's file; `None` if it is not there.
    read: &'a dyn Fn(&Path, &str) -> Option<String>,
}

impl Delegation {
    /// Looks, and asks the user's systemd.
    ///
    /// # Errors
    /// Why nothing is delegated, for whoever has to change that.
    pub fn probe() -> std::result::Result<Self, String> {
        let read = |group: &Path, file: &str| fs::read_to_string(directory(group).join(file)).ok();
        let unified = read(Path::new("/"), "cgroup.controllers").is_some();
        Self::plan(Facts {
            unified,
            systemd: (unified && systemd::is_running()).then(control_group),
            beside: unified_of("self").and_then(|own| Some(own.parent()?.to_owned())).filter(
                |parent| {
                    let parent = directory(parent);
                    may_write(&parent) && may_write(&parent.join("cgroup.procs"))
                },
            ),
            read: &read,
        })
    }

    fn plan(facts: Facts<'_>) -> std::result::Result<Self, String> {
        if !facts.unified {
            return Err("cgroups are not v2 here, or v1 is mounted beside it".to_owned());
        }
        let of = |manager, group: PathBuf| {
            let controllers = (facts.read)(&group, "cgroup.controllers")?;
            Some(Self {
                manager,
                controllers: controllers.split_whitespace().map(str::to_owned).collect(),
                swap: (facts.read)(&group, "memory.swap.max").is_some(),
                group,
            })
        };
        let lack = match facts.systemd {
            Some(Ok(group)) => match of(Manager::Systemd, group.clone().into()) {
                Some(found) => return Ok(found),
                None => format!("the cgroup `{group}` of the user's systemd is not to be seen"),
            },
            Some(Err(why)) => format!("the user's systemd cannot be asked: {why}"),
            None => {
                "there is no systemd, and the cgroup that ours lies in is not the user's to change"
                    .to_owned()
            }
        };
        facts.beside.and_then(|group| of(Manager::Files, group)).ok_or(lack)
    }

    /// The parent of a container's cgroup: a slice of the user's systemd, or a path. `asked` is `--cgroup-parent`.
    ///
    /// # Errors
    /// What is asked for is none of these.
    pub fn parent(&self, asked: &str) -> Result<String> {
        let asked = Some(asked).filter(|asked| *asked != DEFAULT_PARENT);
        match (self.manager, asked) {
            (Manager::Systemd, None) => Ok(SLICE.to_owned()),
            (Manager::Files, None) => Ok(self.group.display().to_string()),
            (Manager::Systemd, Some(asked)) if is_slice(asked) => Ok(asked.to_owned()),
            (Manager::Files, Some(asked)) if !is_slice(asked) => Ok(asked.to_owned()),
            (manager, Some(asked)) => {
                let (what, hint) = match manager {
                    Manager::Systemd => (
                        "slice of the user's systemd",
                        "give a slice, such as `--cgroup-parent web.slice`, or leave it out",
                    ),
                    Manager::Files => (
                        "path below a cgroup of the user's",
                        "give an absolute path, or leave it out",
                    ),
                };
                Err(Error::Rejected {
                    message: format!(
                        "cannot put the container's cgroup below `{asked}`: it has to be a {what}"
                    ),
                    hint: Some(hint.to_owned()),
                })
            }
        }
    }

    /// Where a container's cgroup is, below such a parent, from the root of the hierarchy.
    #[must_use]
    pub fn path(&self, parent: &str, id: &ContainerId) -> PathBuf {
        if is_slice(parent) {
            return self.group.join(expand(parent)).join(scope(id)).join(id.as_str());
        }
        Path::new(parent).join(id.as_str())
    }
}

/// The unit of a container. It has the short id: that a process is in a container is told by the whole one in its cgroup's path,
/// and the monitor is in the unit, too.
pub(super) fn scope(id: &ContainerId) -> String {
    format!("nman-{}.scope", id.short())
}

/// The cgroup of a slice, from that of its manager: `a-b.slice` lies in `a.slice` (systemd.slice(5)).
fn expand(slice: &str) -> PathBuf {
    let stem = slice.strip_suffix(".slice").unwrap_or(slice);
    let ends = stem.match_indices('-').map(|(end, _)| end).chain([stem.len()]);
    ends.map(|end| format!("{}.slice", &stem[..end])).collect()
}

/// Where a cgroup is mounted, by its path from the root of the hierarchy.
pub(super) fn directory(group: &Path) -> PathBuf {
    Path::new(CGROUPS).join(group.strip_prefix("/").unwrap_or(group))
}

pub(super) fn may_write(path: &Path) -> bool {
    accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

/// A connection to the user's systemd. Whoever has come without a session, as by cron or su(1), has no variable that leads there.
pub(super) fn connect() -> systemd::Result<Connection> {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let uid = id_map::outside(&map, rustix::process::geteuid().as_raw()).unwrap_or_default();
    Connection::open_in(&run_directory(uid))
}

fn control_group() -> std::result::Result<String, String> {
    let ask = || connect()?.manager_property("ControlGroup");
    ask().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_USER: &str = "/user.slice/user-7.slice/user@7.service";

    fn read(group: &Path, file: &str) -> Option<String> {
        match (group.to_str()?, file) {
            (OF_USER, "cgroup.controllers") => Some("cpu memory pids\n".to_owned()),
            (OF_USER, "memory.swap.max") => Some("max\n".to_owned()),
            ("/own", "cgroup.controllers") => Some("pids\n".to_owned()),
            _ => None,
        }
    }

    fn facts() -> Facts<'static> {
        Facts { unified: true, systemd: Some(Ok(OF_USER.to_owned())), beside: None, read: &read }
    }

    #[test]
    fn the_users_systemd_comes_first_and_the_cgroup_beside_ours_second() {
        let found = Delegation::plan(Facts { beside: Some("/own".into()), ..facts() }).unwrap();
        assert_eq!((found.manager, found.swap), (Manager::Systemd, true));
        assert_eq!(found.group, Path::new(OF_USER));
        assert_eq!(found.controllers, ["cpu", "memory", "pids"]);
        let none = || Some(Err("nobody listens".to_owned()));
        for systemd in [None, none(), Some(Ok("/gone".to_owned()))] {
            let facts = Facts { systemd, beside: Some("/own".into()), ..facts() };
            let found = Delegation::plan(facts).unwrap();
            assert_eq!((found.manager, found.swap), (Manager::Files, false));
            assert_eq!(found.controllers, ["pids"]);
        }
        let lack = |facts| Delegation::plan(facts).unwrap_err();
        assert!(lack(Facts { systemd: none(), ..facts() }).contains("nobody listens"));
        assert!(lack(Facts { systemd: None, ..facts() }).contains("no systemd"));
        let v1 = Facts { unified: false, beside: Some("/own".into()), ..facts() };
        assert!(lack(v1).contains("not v2"));
    }

    #[test]
    fn a_containers_cgroup_is_in_a_scope_of_the_slice_that_is_asked_for() {
        let of_systemd = Delegation::plan(facts()).unwrap();
        let id = ContainerId::random();
        let scope = format!("nman-{}.scope/{id}", id.short());
        let path = |asked: &str| {
            let parent = of_systemd.parent(asked).unwrap();
            of_systemd.path(&parent, &id).display().to_string()
        };
        assert_eq!(path(DEFAULT_PARENT), format!("{OF_USER}/user.slice/{scope}"));
        assert_eq!(path("a-b.slice"), format!("{OF_USER}/a.slice/a-b.slice/{scope}"));
        assert!(of_systemd.parent("/mine").unwrap_err().to_string().contains("`/mine`"));
        let of_files = Delegation { manager: Manager::Files, group: "/own".into(), ..of_systemd };
        let parent = of_files.parent(DEFAULT_PARENT).unwrap();
        assert_eq!(of_files.path(&parent, &id), Path::new("/own").join(id.as_str()));
        assert_eq!(of_files.parent("/own/more").unwrap(), "/own/more");
        assert!(of_files.parent("a.slice").is_err());
    }
}
