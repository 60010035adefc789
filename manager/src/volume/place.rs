//! Mounting what a container sees of the host and of volumes at places in its own directory, in the mount namespace of its
//! monitor. The runtime binds them from there.
//!
//! Each source is opened once. What is mounted is what was opened, whatever its path means a moment later: a path within a
//! volume, which a container may change at any time, is resolved under the volume's descriptor (CVE-2021-30465,
//! CVE-2024-9341).

use super::{Volumes, mount};
use crate::bundle::{place, shared_memory, shm_size};
use crate::container::{
    ContainerId, Containers, Dir, MountKind, MountPoint, Record, Status, make_private,
};
use crate::error::{Error, Result, reason};
use crate::labels;
use crate::mounted::{self, is_mounted};
use crate::process::Process;
use crate::settings::Settings;
use crate::snapshot;
use crate::store::Store;
use crate::user_namespace;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree,
};
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

/// Opens those sources that are to stay shared with the host, while this mount namespace still shares its mounts.
pub fn open_shared(record: &Record) -> Result<Vec<(usize, OwnedFd)>> {
    let mut shared = Vec::new();
    for (at, point) in record.mounts.iter().enumerate() {
        if is_shared(point) {
            let source = open_source(point)?;
            // First whether it can be mounted at all: a label stays.
            check_shared(point)?;
            labels::relabel(record, point, &source)?;
            shared.push((at, clone(point, &source)?));
        }
    }
    Ok(shared)
}

/// Whether what the container mounts below it is to be seen by the host.
fn is_shared(point: &MountPoint) -> bool {
    point.kind == MountKind::Bind && matches!(point.propagation.as_str(), "shared" | "rshared")
}

/// A mount can be shared with the container only if it is shared on the host.
fn check_shared(point: &MountPoint) -> Result<()> {
    let table = mounted::table()?;
    let source =
        fs::canonicalize(&point.source).map_err(Error::io("find", point.source.as_ref()))?;
    match mounted::mount_of(&table, &source) {
        Some((mounted, false)) => {
            let mounted = mounted.display();
            Err(Error::Rejected {
                message: format!(
                    "path {} is mounted on {mounted} but it is not a shared mount",
                    point.source
                ),
                hint: Some(format!("share it first: `mount --make-shared {mounted}`")),
            })
        }
        _ => Ok(()),
    }
}

/// Mounts everything at its place. What is there already stays.
pub fn mount_all(settings: &Settings, record: &Record, dir: &Dir) -> Result<()> {
    let namespace = user_namespace::provide(record, dir)?;
    let namespace = namespace.filter(|_| user_namespace::maps_mounts(record));
    for (at, point) in record.mounts.iter().enumerate() {
        let target = place(dir.path(), at);
        if point.kind == MountKind::Tmpfs || (target.exists() && is_mounted(&target)?) {
            continue;
        }
        let source = match point.kind {
            MountKind::Bind => open_source(point)?,
            MountKind::Volume => open_volume(settings, point)?,
            MountKind::Image => open_image(settings, record, dir, at)?,
            MountKind::Tmpfs => continue,
        };
        labels::relabel(record, point, &source)?;
        let tree = clone(point, &source)?;
        // Root of the container owns what root owns in a volume and in an image; on the host only where that is asked for.
        if let Some(namespace) = &namespace
            && (point.kind != MountKind::Bind || point.detail.id_map)
        {
            sys::mount::set_idmap(tree.as_fd(), namespace.as_fd(), !point.detail.non_recursive)
                .map_err(user_namespace::unmappable(point.shown()))?;
        }
        attach(dir, at, point, &tree)?;
    }
    forget_data(settings, record)?;
    if record.host_config.ipc_mode == "shareable" {
        provide_shared_memory(record, dir)?;
    }
    Ok(())
}

/// Unmounts what the driver has mounted: each place has a mount of its own by now.
fn forget_data(settings: &Settings, record: &Record) -> Result<()> {
    let mut names = record.mounts.iter().filter(|point| point.kind == MountKind::Volume).peekable();
    if names.peek().is_none() {
        return Ok(());
    }
    let volumes = Volumes::of(settings);
    names.try_for_each(|point| mount::unmount_data(&volumes, &volumes.find(&point.name)?))
}

/// Puts a detached mount to its place.
pub fn attach(dir: &Dir, at: usize, point: &MountPoint, tree: &OwnedFd) -> Result<()> {
    let target = place(dir.path(), at);
    let failed = |errno: Errno| {
        Error::system(format!("mount `{}` for `{}`", point.shown(), point.destination))(errno)
    };
    make_private(&dir.join("mounts"))?;
    let stat = fstat(tree).map_err(failed)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        make_private(&target)?;
    } else {
        fs::File::create(&target).map_err(Error::io("make", &target))?;
    }
    move_mount(tree, "", CWD, &target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).map_err(failed)
}

/// A detached copy of the mount that a descriptor is in, with the descriptor's file as its root.
fn clone(point: &MountPoint, source: &OwnedFd) -> Result<OwnedFd> {
    let failed = |errno: Errno| {
        Error::system(format!("mount `{}` for `{}`", point.shown(), point.destination))(errno)
    };
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if !point.detail.non_recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let tree = open_tree(source, "", flags).map_err(failed)?;
    if !point.writable {
        let attributes = sys::mount::Attributes { set: sys::mount::RDONLY, ..Default::default() };
        // As Docker: mounts below it are read-only too, unless it is said otherwise.
        let recursive = !point.detail.non_recursive && !point.detail.read_only_top;
        sys::mount::set_attributes(tree.as_fd(), &attributes, recursive).map_err(failed)?;
    }
    Ok(tree)
}

/// Opens a path of the host.
fn open_source(point: &MountPoint) -> Result<OwnedFd> {
    let path = Path::new(&point.source);
    let open = || rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    match open() {
        Err(Errno::NOENT) if point.detail.create_source => {
            fs::create_dir_all(path).map_err(Error::io("make", path))?;
            open().map_err(Error::io("open", path))
        }
        Err(errno) => Err(missing_source(point, errno)),
        Ok(source) => Ok(source),
    }
}

/// Why a path of the host cannot be mounted, in Docker's words.
pub fn missing_source(point: &MountPoint, errno: Errno) -> Error {
    let why = match errno {
        Errno::NOENT => "bind source path does not exist".to_owned(),
        errno => reason(&errno.into()),
    };
    Error::Rejected {
        message: format!("invalid mount config for type \"bind\": {why}: {}", point.source),
        hint: Some("make it first; `-v` makes a missing source, as a directory".to_owned()),
    }
}

/// Opens a volume's data, or a path in it.
fn open_volume(settings: &Settings, point: &MountPoint) -> Result<OwnedFd> {
    let volumes = Volumes::of(settings);
    let volume = volumes.find(&point.name)?;
    mount::mount(&volumes, &volume)?;
    let data = volumes.data(&volume.name);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(&data, flags, Mode::empty()).map_err(Error::io("open", &data))?;
    below(root, point)
}

/// Mounts an image beside the place, read-only or with a layer of the container's own, and opens it or a path in it.
fn open_image(settings: &Settings, record: &Record, dir: &Dir, at: usize) -> Result<OwnedFd> {
    let (store, key) = (Store::open(&settings.root)?, image_key(record, at));
    let prepared = store.snapshots().provide(&key)?;
    labels::provide_layers(record, &prepared)?;
    let target = dir.join("mounts").join(format!("{at}.image"));
    make_private(&target)?;
    let label = record.selinux.as_ref().map(|labels| labels.mount.as_str());
    snapshot::mount(&prepared, &target, label)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root =
        rustix::fs::open(&target, flags, Mode::empty()).map_err(Error::io("open", &target))?;
    below(root, &record.mounts[at])
}

/// The snapshot of an image that is mounted in a container.
#[must_use]
pub fn image_key(record: &Record, at: usize) -> String {
    format!("{}.{at}", record.id)
}

/// The snapshots of all images that are mounted in a container.
pub fn image_keys(record: &Record) -> impl Iterator<Item = String> {
    let images = record.mounts.iter().enumerate().filter(|(_, at)| at.kind == MountKind::Image);
    images.map(|(at, _)| image_key(record, at))
}

/// The container that a snapshot belongs to, by the snapshot's name: that is the container's id, or an [`image_key`].
#[must_use]
pub fn owner(key: &str) -> Option<ContainerId> {
    ContainerId::parse(key.split_once('.').map_or(key, |(id, _)| id))
}

/// The path in a volume or image that is mounted, which is the root itself where none is given.
fn below(root: OwnedFd, point: &MountPoint) -> Result<OwnedFd> {
    if point.detail.subpath.is_empty() {
        return Ok(root);
    }
    let failed = |errno: Errno| {
        let action = format!("open path `{}` in `{}`", point.detail.subpath, point.name);
        Error::system(action)(errno)
    };
    let path = CString::new(point.detail.subpath.as_str()).map_err(|_| failed(Errno::INVAL))?;
    sys::beneath::find(root.as_fd(), &path).map_err(failed)
}

/// A /dev/shm of the container's that others may join.
fn provide_shared_memory(record: &Record, dir: &Dir) -> Result<()> {
    use rustix::mount::{MountFlags, mount};
    let target = shared_memory(dir.path());
    if target.exists() && is_mounted(&target)? {
        return Ok(());
    }
    make_private(&target)?;
    let mut options = format!("mode=1777,size={}", shm_size(record.host_config.shm_size));
    if let Some(labels) = &record.selinux {
        // It has commas, which is why it is quoted.
        options.push_str(&format!(",context=\"{}\"", labels.mount));
    }
    let options = CString::new(options).unwrap_or_default();
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("shm", &target, "tmpfs", flags, options.as_c_str()).map_err(Error::io("mount", &target))
}

/// Binds anew the namespaces that a container joins which is started again: those that it was in have ended, where the other container
/// has been started again as well.
///
/// # Errors
/// As of [`join`]; [`Error::WrongState`] if the other container does not run now.
pub fn join_again(settings: &Settings, record: &Record, dir: &Dir) -> Result<()> {
    let joins = |mode: &str| mode.starts_with("container:");
    let config = &record.host_config;
    let mut places = Vec::new();
    if joins(&config.pid_mode) {
        places.push(crate::bundle::joined(dir.path(), "pid"));
    }
    if joins(&config.ipc_mode) {
        places.extend([crate::bundle::joined(dir.path(), "ipc"), shared_memory(dir.path())]);
    }
    places.iter().try_for_each(|place| snapshot::unmount(place))?;
    join(settings, record, dir)
}

/// Binds the namespaces of other containers that this one joins.
pub fn join(settings: &Settings, record: &Record, dir: &Dir) -> Result<()> {
    for (mode, kind) in
        [(&record.host_config.pid_mode, "pid"), (&record.host_config.ipc_mode, "ipc")]
    {
        let Some(name) = mode.strip_prefix("container:") else { continue };
        let other = Containers::open(&settings.containers())?.find(name)?;
        let (state, donor) = (other.state()?, other.record()?);
        let upper = kind.to_uppercase();
        let ended = || Error::WrongState {
            message: format!("cannot join {upper} of a non running container: {}", donor.id),
            hint: Some(format!("start it first: `nman start {}`", donor.name)),
        };
        let init = (state.status == Status::Running).then(|| other.init(&state)).flatten();
        let init = init.ok_or_else(ended)?;
        if kind == "ipc" && donor.host_config.ipc_mode != "shareable" {
            return Err(Error::WrongState {
                message: format!("can't join IPC of container {}: non-shareable IPC", donor.id),
                hint: Some("the other container needs `--ipc shareable`".to_owned()),
            });
        }
        let target = crate::bundle::joined(dir.path(), kind);
        fs::write(&target, "").map_err(Error::io("write", &target))?;
        let failed = |errno| match errno {
            Errno::SRCH => ended(),
            errno => {
                Error::system(format!("join the {upper} namespace of container {name}"))(errno)
            }
        };
        // First opened and then bound: whose it is, is looked at in between.
        let namespace = init.open_file(&format!("ns/{kind}"), OFlags::RDONLY).map_err(failed)?;
        let source = format!("/proc/self/fd/{}", namespace.as_raw_fd());
        rustix::mount::mount_bind(source, &target).map_err(failed)?;
        if kind == "ipc" {
            let monitor = other.monitor(&state).ok_or_else(|| Error::WrongState {
                message: format!("cannot join IPC of container {}: its monitor is gone", donor.id),
                hint: Some(format!("`nman restart {}` gives it a new monitor", donor.name)),
            })?;
            let tree = borrow(&monitor, &shared_memory(other.path()))?;
            let target = shared_memory(dir.path());
            make_private(&target)?;
            move_mount(&tree, "", CWD, &target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
                .map_err(Error::io("mount", &target))?;
        }
    }
    Ok(())
}

/// A detached copy of a mount that exists in the mount namespace of another container's monitor only.
fn borrow(monitor: &Process, path: &Path) -> Result<OwnedFd> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    use sys::namespace::{Kinds, unshare};
    let enter = || -> rustix::io::Result<OwnedFd> {
        let namespace = monitor.open_file("ns/mnt", OFlags::RDONLY)?;
        // A thread that shares its working directory with others cannot leave its mount namespace: this ends the sharing.
        unshare(Kinds::MOUNT)?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))?;
        open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
    };
    let tree = std::thread::scope(|scope| scope.spawn(enter).join().unwrap_or(Err(Errno::IO)));
    tree.map_err(Error::io("share", path))
}

/// Takes away what was mounted. Goes on after an error.
pub fn unmount_all(record: &Record, dir: &Dir) -> Vec<Error> {
    let mut places = Vec::new();
    for (at, point) in record.mounts.iter().enumerate() {
        if is_shared(point) {
            keep_from_host(&place(dir.path(), at));
        }
        places.push(place(dir.path(), at));
        places.push(dir.join("mounts").join(format!("{at}.image")));
    }
    unmount(dir, places)
}

/// The same for a container of which only its directory tells what was mounted.
pub fn unmount_found(dir: &Dir) -> Vec<Error> {
    let found = std::fs::read_dir(dir.join("mounts")).into_iter().flatten().flatten();
    let places: Vec<PathBuf> = found.map(|entry| entry.path()).collect();
    places.iter().for_each(|place| keep_from_host(place));
    unmount(dir, places)
}

/// Else what the container has mounted below a shared mount would vanish from the host too.
fn keep_from_host(place: &Path) {
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    let _ = mount_change(place, slave);
}

fn unmount(dir: &Dir, mut places: Vec<PathBuf>) -> Vec<Error> {
    places.push(shared_memory(dir.path()));
    places.extend(["pid", "ipc"].map(|kind| crate::bundle::joined(dir.path(), kind)));
    places.iter().filter_map(|place| snapshot::unmount(place).err()).map(Error::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_tells_by_its_name_whose_it_is() {
        let id = ContainerId::random();
        assert_eq!(owner(id.as_str()), Some(id.clone()));
        assert_eq!(owner(&format!("{id}.3")), Some(id.clone()));
        assert_eq!(owner(&format!("{id}3")), None);
        assert_eq!(owner("other.3"), None);
    }
}
