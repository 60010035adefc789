//! A user namespace of a container's own: its root is nobody on the host.
//!
//! The namespace is made before anything is mounted, together with a network namespace that belongs to it, and both are
//! bound in the container's directory. The layers and the volumes are mounted through it (mount_setattr(2)), so that what is
//! on disk belongs to the ids that the image has, whatever they are mapped to: nothing is chowned, and the same layers and
//! volumes serve containers with other mappings and with none.
//!
//! In a user namespace of ours, mappings are relative to that, and the file systems below belong to the host, so that nobody maps
//! their ids: layers are copies with other owners ([`layer_owners`]), and volumes keep the ids that they were written with.

mod choice;

use crate::container::{Dir, IdMappings, Record, make_private};
use crate::error::{Error, Result, reason};
use crate::id_map::{Mapping, mappings};
use crate::mounted::is_mounted;
use crate::privilege::is_in_namespace;
use crate::snapshot::{Owners, Prepared};
pub use choice::{choose, choose_free};
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, mount_bind, move_mount, open_tree};
use rustix::process::{Signal, WaitOptions};
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use sys::clone::hold;
use sys::namespace::Kinds;

/// Where the namespace is bound.
#[must_use]
pub fn path(dir: &Path) -> PathBuf {
    dir.join("userns")
}

/// Where the network namespace that belongs to it is bound.
fn network_path(dir: &Path) -> PathBuf {
    dir.join("usernet")
}

/// Makes the namespaces of a container that is to have its own, unless they are bound already. Returns the user namespace.
pub fn provide(record: &Record, dir: &Dir) -> Result<Option<OwnedFd>> {
    let IdMappings { uid_map, gid_map } = &record.host_config.id_mappings;
    if uid_map.is_empty() {
        return Ok(None);
    }
    let (user, network) = (path(dir.path()), network_path(dir.path()));
    if !(user.exists() && is_mounted(&user)?) {
        make(&mappings(uid_map), &mappings(gid_map), &user, &network)?;
    }
    give_files(record, dir)?;
    give_way(record, dir)?;
    open(&user).map(Some)
}

/// Whose the files of an image are in a container's layers: those of the container's ids. With the host's root, mounts say that.
#[must_use]
pub fn layer_owners(record: &Record) -> Owners {
    let IdMappings { uid_map, gid_map } = &record.host_config.id_mappings;
    if !is_in_namespace() {
        return Owners::default();
    }
    let ranges = |list: &[String]| {
        mappings(list).into_iter().map(|line| (line.inside, line.outside, line.size)).collect()
    };
    Owners { uids: ranges(uid_map), gids: ranges(gid_map) }
}

/// Whether the ids of mounts are mapped for a container.
#[must_use]
pub fn maps_mounts(record: &Record) -> bool {
    !record.host_config.id_mappings.uid_map.is_empty() && !is_in_namespace()
}

/// Lets the container's root reach its root file system, and nobody else on the host.
///
/// A runtime that has entered the user namespace before it goes there (runc) is an ordinary user on the way. It gets through
/// the directory above without being able to list it, and through the container's own by its group.
fn give_way(record: &Record, dir: &Dir) -> Result<()> {
    const WAY: &str = "open the way through";
    let (_, gid) = root_of(record);
    let own = dir.path();
    let give = || {
        rustix::fs::chown(own, None, Some(Gid::from_raw(gid)))?;
        rustix::fs::chmod(own, Mode::from_raw_mode(0o710))
    };
    give().map_err(Error::io(WAY, own))?;
    for above in own.ancestors().skip(1).take(2) {
        let add = || {
            let mode = Mode::from_raw_mode(rustix::fs::stat(above)?.st_mode);
            rustix::fs::chmod(above, mode | Mode::XOTH)
        };
        add().map_err(Error::io(WAY, above))?;
    }
    Ok(())
}

fn open(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(Error::io("open", path))
}

/// A child with both namespaces lives for as long as it takes to map its ids and to bind its namespaces.
fn make(uids: &[Mapping], gids: &[Mapping], user: &Path, network: &Path) -> Result<()> {
    let failed = |errno: Errno| Error::system("make a user namespace")(errno);
    let child = hold(Kinds::USER.union(Kinds::NETWORK)).map_err(failed)?;
    let pid = child.pid.as_raw_nonzero();
    let bind = || -> Result<()> {
        for (file, list) in [("uid_map", uids), ("gid_map", gids)] {
            let lines: String =
                list.iter().map(|m| format!("{} {} {}\n", m.inside, m.outside, m.size)).collect();
            let path = format!("/proc/{pid}/{file}");
            fs::write(&path, lines).map_err(Error::io("write", path.as_ref()))?;
        }
        for (kind, target) in [("user", user), ("net", network)] {
            fs::write(target, "").map_err(Error::io("write", target))?;
            mount_bind(format!("/proc/{pid}/ns/{kind}"), target)
                .map_err(Error::io("bind a namespace to", target))?;
        }
        Ok(())
    };
    let bound = bind();
    // It cannot have ended: it is our child, and not waited for.
    let _ = sys::signals::send(child.pidfd.as_fd(), Signal::KILL.as_raw());
    let _ = rustix::process::waitpid(Some(child.pid), WaitOptions::empty());
    bound
}

/// The network namespace that belongs to the container's user namespace, if it has one.
pub fn network(dir: &Dir) -> Result<Option<OwnedFd>> {
    let path = network_path(dir.path());
    if path.exists() && is_mounted(&path)? { open(&path).map(Some) } else { Ok(None) }
}

/// The files about the network belong to the container's root, who may change them as anywhere else.
fn give_files(record: &Record, dir: &Dir) -> Result<()> {
    let (uid, gid) = root_of(record);
    let owner = (Uid::from_raw(uid), Gid::from_raw(gid));
    for name in crate::container::NETWORK_FILES {
        let path = dir.join(name);
        let file = fs::OpenOptions::new().append(true).create(true).open(&path);
        let file = file.map_err(Error::io("open", &path))?;
        rustix::fs::fchown(&file, Some(owner.0), Some(owner.1))
            .map_err(Error::io("set the owner of", &path))?;
    }
    Ok(())
}

/// Does something to files as the container's root, on a thread of its own; as ourselves where the container has no user
/// namespace.
///
/// Out here root is nobody in what is mapped: it can read it, but whatever it would make there would belong to an id that
/// does not exist on disk (`EOVERFLOW`). overlayfs, for its part, works with the ids of whoever has mounted it.
pub fn as_root_of<T: Send>(
    record: &Record,
    action: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    if !maps_mounts(record) {
        return action();
    }
    let (uid, gid) = root_of(record);
    let changed = || {
        sys::ids::set_file_system_ids(uid, gid);
        let raised = caps::read(None, caps::CapSet::Permitted)
            .and_then(|all| caps::set(None, caps::CapSet::Effective, &all));
        raised.map_err(|_| Error::system("keep the capabilities about files")(Errno::PERM))?;
        action()
    };
    std::thread::scope(|scope| {
        let thread = scope.spawn(changed);
        thread
            .join()
            .unwrap_or_else(|_| Err(Error::system("work as the container's root")(Errno::IO)))
    })
}

/// Who root of the container is on the host.
fn root_of(record: &Record) -> (u32, u32) {
    let root = |list: &[String]| {
        let zero = mappings(list).into_iter().find(|mapping| mapping.inside == 0);
        zero.map_or(0, |mapping| mapping.outside)
    };
    let ids = &record.host_config.id_mappings;
    (root(&ids.uid_map), root(&ids.gid_map))
}

/// The layers of a container as its user namespace maps them: each is mounted once more, at a place of the container's.
pub fn map_layers(prepared: &Prepared, dir: &Dir, namespace: &OwnedFd) -> Result<Prepared> {
    let layers = dir.join("layers");
    make_private(&layers)?;
    let place = |name: &str, source: &Path| -> Result<PathBuf> {
        let target = layers.join(name);
        make_private(&target)?;
        let map = || -> rustix::io::Result<()> {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let tree = open_tree(CWD, source, flags)?;
            sys::mount::set_idmap(tree.as_fd(), namespace.as_fd(), false)?;
            move_mount(&tree, "", CWD, &target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        };
        map().map_err(unmappable(source.display()))?;
        Ok(target)
    };
    let mut lower = Vec::new();
    for (at, source) in prepared.lower.iter().enumerate() {
        lower.push(place(&at.to_string(), source)?);
    }
    // What is written and overlayfs' scratch space have to be on one mount.
    let own = prepared.upper.parent().unwrap_or(&prepared.upper);
    let own = place("own", own)?;
    let name = |path: &Path| own.join(path.file_name().unwrap_or_default());
    let (upper, work) = (name(&prepared.upper), name(&prepared.work));
    Ok(Prepared { lower, data: Vec::new(), upper, work })
}

/// A directory as the container's user namespace maps it; as it is where the container has none.
pub fn mapped_directory(record: &Record, dir: &Dir, path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Some(namespace) = provide(record, dir)?.filter(|_| maps_mounts(record)) else {
        return rustix::fs::open(path, flags, Mode::empty()).map_err(Error::io("open", path));
    };
    let open = || {
        let tree = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(CWD, path, tree)?;
        sys::mount::set_idmap(tree.as_fd(), namespace.as_fd(), false)?;
        rustix::fs::openat(&tree, ".", flags, Mode::empty())
    };
    open().map_err(unmappable(path.display()))
}

/// For `map_err`: that a mount of `what` cannot have other ids, and what the kernel leaves unsaid (mount_setattr(2)).
pub fn unmappable(what: impl std::fmt::Display) -> impl FnOnce(Errno) -> Error {
    let what = what.to_string();
    move |errno| Error::Rejected {
        message: format!("cannot map the ids of `{what}`: {}", reason(&errno.into())),
        hint: match errno {
            Errno::INVAL => Some(OF_THE_FILE_SYSTEM.to_owned()),
            Errno::NOSYS => Some("a container with a user namespace needs Linux 5.12".to_owned()),
            _ => None,
        },
    }
}

/// What `EINVAL` means there.
const OF_THE_FILE_SYSTEM: &str = "this kernel cannot map the ids of the file system that it is on (tmpfs needs Linux 6.3, most network \
                                  file systems cannot at all): have it on ext4, xfs or btrfs, or leave the user namespace out";

/// Where something of this may be mounted.
pub fn places(dir: &Dir) -> Vec<PathBuf> {
    let layers = fs::read_dir(dir.join("layers")).into_iter().flatten().flatten();
    let mut places: Vec<PathBuf> = layers.map(|entry| entry.path()).collect();
    places.extend([path(dir.path()), network_path(dir.path())]);
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_cannot_be_mapped_is_named_with_those_that_can() {
        let error = unmappable("/run/x")(Errno::INVAL);
        assert_eq!(error.to_string(), "cannot map the ids of `/run/x`: invalid argument");
        assert!(error.hint().unwrap().contains("tmpfs needs Linux 6.3"));
        assert_eq!(unmappable("/run/x")(Errno::NOENT).hint(), None);
    }
}
