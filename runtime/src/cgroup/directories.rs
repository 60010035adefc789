//! The directories of a cgroup: made with what is missing above them and the controllers passed on to them, and taken back when a later
//! step fails.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::plan::{Member, Write};
use super::{Error, files};

/// Directories made so far; removed again when dropped, the deepest first.
#[derive(Default)]
pub(super) struct Made(pub(super) Vec<PathBuf>);

impl Made {
    /// They stay.
    pub(super) fn keep(mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.0)
    }

    /// Whether it was made here.
    pub(super) fn contains(&self, path: &Path) -> bool {
        self.0.iter().any(|made| made.as_os_str() == path.as_os_str())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            // A directory that has found other users meanwhile stays; the first error is what the caller reports.
            let _ = files::remove_directory(path);
        }
    }
}

/// Makes a directory and whatever is missing above it. The deepest is tried first: its parent mostly exists.
pub(super) fn make_v1(directory: &Path, made: &mut Made) -> Result<(), Error> {
    let result = match files::make_directory(directory) {
        Err(Errno::NOENT) => {
            let parent = directory.parent().unwrap_or(directory);
            make_v1(parent, made)?;
            files::make_directory(directory)
        }
        other => other,
    };
    note(directory, result, made)
}

fn note(directory: &Path, result: Result<bool, Errno>, made: &mut Made) -> Result<(), Error> {
    match result {
        Ok(true) => made.0.push(directory.to_owned()),
        Ok(false) => {}
        Err(errno) => {
            return Err(Error::system(format!("create cgroup `{}`", directory.display()), errno));
        }
    }
    Ok(())
}

/// Makes the directory, and what is missing above it, with the member's controllers.
///
/// The deepest is tried first: where the host has other containers, its parent exists and passes all of them on, and nothing that takes the
/// lock of all cgroups has to be written.
pub(super) fn make_v2(member: &Member, made: &mut Made) -> Result<(), Error> {
    let directory = member.directory();
    match files::make_directory(&directory) {
        Err(Errno::NOENT) => {}
        result => {
            note(&directory, result, made)?;
            if member.controllers.is_empty() || has_controllers(&directory, &member.controllers) {
                return Ok(());
            }
        }
    }
    make_from_mount_down(member, made)
}

fn has_controllers(directory: &Path, wanted: &[String]) -> bool {
    let list = files::read_once(directory, "cgroup.controllers").unwrap_or_default();
    wanted.iter().all(|name| has(&list, name))
}

fn has(list: &str, name: &str) -> bool {
    list.split_whitespace().any(|found| found == name)
}

/// Makes the directories from the mount down, enabling the controllers in each for the next.
fn make_from_mount_down(member: &Member, made: &mut Made) -> Result<(), Error> {
    let mut directory = member.mount.clone();
    for name in &member.path {
        enable(&directory, member)?;
        directory.push(name);
        let result = files::make_directory(&directory);
        note(&directory, result, made)?;
    }
    Ok(())
}

/// Passes the member's controllers on to the children of `directory`.
///
/// Those that the container has limits for have to be passed on. The others, for measuring, are passed on where all can
/// be: in a directory with processes the kernel takes some and refuses others, and taking just those would make it a
/// threaded one, below which no container can run.
fn enable(directory: &Path, member: &Member) -> Result<(), Error> {
    let file = "cgroup.subtree_control";
    let write = |names: &[&str]| match names {
        [] => Ok(()),
        names => files::write_once(directory, file, &format!("+{}", names.join(" +"))),
    };
    let mut names: Vec<&str> = member.controllers.iter().map(String::as_str).collect();
    if write(&names).is_ok() {
        return Ok(());
    }
    // Not every controller of the mount is there in every directory, and what somebody else has passed on already needs
    // no permission from us.
    let list = |file| {
        let what = || format!("read `{}/{file}`", directory.display());
        files::read(directory, file).map_err(|errno| Error::system(what(), errno))
    };
    let (available, enabled) = (list("cgroup.controllers")?, list(file)?);
    for name in names.iter().filter(|name| !has(&available, name)) {
        if let Some(limit) = limit_of(member, name) {
            let what = format!("set `{}` to `{}`", limit.file, limit.value);
            let why = format!("cgroup `{}` has no `{name}` controller", directory.display());
            return Err(Error::refused(what, &limit.pointer, why));
        }
    }
    names.retain(|name| has(&available, name) && !has(&enabled, name));
    if write(&names).is_ok() {
        return Ok(());
    }
    for (name, limit) in names.iter().filter_map(|name| Some((name, limit_of(member, name)?))) {
        write(&[name]).map_err(|errno| Error::System {
            what: format!("enable the `{name}` controller in cgroup `{}`", directory.display()),
            pointer: limit.pointer.clone(),
            errno,
        })?;
    }
    Ok(())
}

/// The first limit that needs a controller.
fn limit_of<'m>(member: &'m Member, controller: &str) -> Option<&'m Write> {
    let own = |write: &&Write| write.file.split_once('.').is_some_and(|(of, _)| of == controller);
    member.writes.iter().find(own)
}
