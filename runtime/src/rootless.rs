//! A caller who is not the host's root: an ordinary user, or root of a user namespace.
//!
//! What such a caller may do is found out here, as facts for the planner, and only for such a caller. Nothing is tried: a step that the
//! facts rule out is refused, or left out where runc leaves it out, before anything is made. See docs/rootless.md.

use crate::cgroup::Layout;
use crate::error::{Error, Result};
use bundle::Checked;
use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::exec::find_program;

/// `--rootless`: what becomes of a container whose cgroups we may not make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cgroups {
    /// As `Lenient` for everybody but the host's root.
    #[default]
    Auto,
    /// It goes without, if config.json names no cgroup and asks for no limit (runc's "rootless cgroup manager").
    Lenient,
    /// It is not made.
    Strict,
}

impl Cgroups {
    /// Reads the flag: a truth value as Go's `ParseBool` takes it, or `auto`.
    ///
    /// # Errors
    /// For anything else.
    pub fn parse(flag: Option<&str>) -> Result<Cgroups> {
        match flag {
            None | Some("" | "auto") => Ok(Cgroups::Auto),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Cgroups::Lenient),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Cgroups::Strict),
            Some(other) => Err(Error::Usage(format!(
                "invalid value `{other}` for flag --rootless: it must be `true`, `false` or `auto`"
            ))),
        }
    }
}

/// What a caller without the host's privileges may do; nothing of it is asked for the host's root.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The mounts of the cgroup hierarchies in which we may make a cgroup next to ours, or on v1 in it, and move ourselves there.
    pub cgroups: Vec<PathBuf>,
    /// The mount namespace belongs to our user namespace, so that mounts can be cloned before the container's own is made.
    pub clones_mounts: bool,
    /// `newuidmap`, if it was asked for and found.
    pub newuidmap: Option<PathBuf>,
    /// `newgidmap`, likewise.
    pub newgidmap: Option<PathBuf>,
}

impl Facts {
    /// Asks the system; for the programs only where `id_tools` says that they will be needed.
    pub fn probe(layout: &Layout, id_tools: bool) -> Facts {
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        let tool = |name| if id_tools { find_program(name, &path) } else { None };
        Facts {
            cgroups: delegated(layout),
            clones_mounts: clones_mounts(),
            newuidmap: tool("newuidmap"),
            newgidmap: tool("newgidmap"),
        }
    }
}

/// The first user namespace, as the link of a process in it reads: its inode is `PROC_USER_INIT_INO` (0xEFFFFFFD), a part of the
/// kernel's interface.
const FIRST_USER_NAMESPACE: &[u8] = b"user:[4026531837]";

/// Whether our user namespace is another than the host's first one: root is not the host's root then, whatever capabilities it has.
pub fn in_user_namespace() -> bool {
    // The text of the link has the inode's number (namespaces(7)), and needs no inode, which stat(2) would have made.
    let link = rustix::fs::readlink("/proc/self/ns/user", Vec::with_capacity(32));
    link.is_ok_and(|link| link.as_bytes() != FIRST_USER_NAMESPACE)
}

/// Refuses what only root can do (runc's rules for an effective user id other than 0; root of a user namespace may try).
///
/// # Errors
/// Every finding.
pub fn check(checked: &Checked) -> Result<()> {
    if sys::ids::effective_at_exec().0 == 0 {
        return Ok(());
    }
    Ok(checked.check_unprivileged().map_err(bundle::Error::from)?)
}

/// The hierarchies in which a cgroup can be made and entered. On v2 it is made beside our own, and the kernel also asks for the right
/// to move processes in the directory that both lie in (cgroups(7), "delegation containment"); on v1 it is made in our own.
fn delegated(layout: &Layout) -> Vec<PathBuf> {
    let v1 = layout.hierarchies().iter().filter(|hierarchy| may_write(&hierarchy.own_directory()));
    let v2 = layout.unified().filter(|unified| {
        let own = unified.own_directory();
        // The root of the hierarchy has no parent that a cgroup could be made in: the kernel's root lies in itself.
        let parent = own.parent().filter(|_| own != unified.mount).unwrap_or(&own);
        may_write(parent) && may_write(&parent.join("cgroup.procs"))
    });
    let v1 = v1.map(|hierarchy| hierarchy.mount.clone());
    v1.chain(v2.map(|unified| unified.mount.clone())).collect()
}

/// With the effective ids, and on a file system that is not read-only.
fn may_write(path: &Path) -> bool {
    rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

/// The right to clone a mount is asked for before anything else about it: any other error means that we have it (open_tree(2)).
fn clones_mounts() -> bool {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    !matches!(open_tree(CWD, c"/proc/self/exe", flags), Err(Errno::PERM | Errno::ACCESS))
}

/// Where containers are kept when `--root` does not say: `/run/nrun`, or for a user `$XDG_RUNTIME_DIR/nrun`. Root of a user namespace
/// has a runtime directory of the user outside, unless it calls itself root (runc's rule).
pub fn default_root() -> PathBuf {
    user_directory().unwrap_or_else(|| "/run/nrun".into())
}

fn user_directory() -> Option<PathBuf> {
    let directory = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty())?;
    let is_root = sys::ids::effective_at_exec().0 == 0;
    let calls_itself_root = || std::env::var_os("USER").is_some_and(|user| user == "root");
    let honoured = !is_root || (!calls_itself_root() && in_user_namespace());
    honoured.then(|| Path::new(&directory).join("nrun"))
}

/// The mode of a directory for containers. In a runtime directory it is sticky: what is not may be cleaned away when it is some hours
/// old (XDG Base Directory Specification).
pub fn root_mode(root: &Path) -> u32 {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    let private = runtime.is_some_and(|directory| root.starts_with(Path::new(&directory)));
    let by_user = || sys::ids::effective_at_exec().0 != 0 || in_user_namespace();
    if private && by_user() { 0o1700 } else { 0o700 }
}

/// A state directory that another user could write to, or had made for us, would say which processes we kill and what we delete.
///
/// # Errors
/// When it is such a one. That of root is not looked at: its parents are root's, or, for root of a user namespace, the user's.
pub fn refuse_foreign(root: &Path) -> Result<()> {
    let (uid, _) = sys::ids::effective_at_exec();
    if uid == 0 {
        return Ok(());
    }
    let Ok(stat) = rustix::fs::stat(root) else { return Ok(()) };
    let sticky = stat.st_mode & 0o1000 != 0;
    if (stat.st_uid != uid && stat.st_uid != 0) || (stat.st_mode & 0o022 != 0 && !sticky) {
        return Err(foreign(root));
    }
    Ok(())
}

/// The same of the directory of a container, whose `poststop` hooks would be executed by us, too: that is asked of root as well.
///
/// # Errors
/// When it belongs to somebody else.
pub fn refuse_foreign_container(directory: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let stat = rustix::fs::fstat(directory)
        .map_err(|errno| Error::system(format!("look at `{}`", path.display()), errno))?;
    if stat.st_uid == sys::ids::effective_at_exec().0 { Ok(()) } else { Err(foreign(path)) }
}

fn foreign(path: &Path) -> Error {
    Error::State(format!(
        "cannot keep containers in `{}`: it belongs to, or can be written to by, another user",
        path.as_os_str().as_bytes().escape_ascii()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_is_a_truth_value_or_auto() {
        assert_eq!(Cgroups::parse(None).unwrap(), Cgroups::Auto);
        assert_eq!(Cgroups::parse(Some("auto")).unwrap(), Cgroups::Auto);
        assert_eq!(Cgroups::parse(Some("1")).unwrap(), Cgroups::Lenient);
        assert_eq!(Cgroups::parse(Some("false")).unwrap(), Cgroups::Strict);
        assert!(Cgroups::parse(Some("yes")).is_err());
    }
}
