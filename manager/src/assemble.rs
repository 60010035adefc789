//! What a container has while it runs and has not otherwise: its root file system mounted, and its network.
//!
//! Mounts are made in a mount namespace of our own, which the monitor inherits. No mount of a container ever shows
//! up in the host's table, and the kernel takes them down with the last process in the namespace, however that
//! process ends.

use crate::connection;
use crate::container::{ContainerId, Dir, Record};
use crate::error::{Error, Result};
use crate::labels;
use crate::settings::Settings;
use crate::snapshot;
use crate::store::Store;
use crate::user_namespace;
use crate::volume::place;
use rustix::mount::{MountPropagationFlags, mount_change};
use sys::namespace::{Kinds, unshare};

/// Moves this thread, and the children it will start, into a mount namespace of its own.
///
/// What the host mounts later is seen here too; nothing that is mounted here is seen by the host, but for what the
/// container is to share with it.
pub fn enter_private_mounts(record: &Record, dir: &Dir) -> Result<()> {
    unshare(Kinds::MOUNT).map_err(Error::system("make a mount namespace"))?;
    let shared = place::open_shared(record)?;
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", slave).map_err(Error::system("keep mounts from the host"))?;
    shared.iter().try_for_each(|(at, tree)| place::attach(dir, *at, &record.mounts[*at], tree))
}

/// Mounts a container's root file system at its place in the container's directory.
pub fn mount_root(settings: &Settings, record: &Record, dir: &Dir) -> Result<()> {
    let target = dir.rootfs();
    crate::container::make_private(&target)?;
    let prepared = Store::open(&settings.root)?.snapshots().provide(record.id.as_str())?;
    labels::provide_layers(record, &prepared)?;
    let prepared = match user_namespace::provide(record, dir)? {
        Some(namespace) if user_namespace::maps_mounts(record) => {
            user_namespace::map_layers(&prepared, dir, &namespace)?
        }
        _ => prepared,
    };
    let label = record.selinux.as_ref().map(|labels| labels.mount.as_str());
    user_namespace::as_root_of(record, || Ok(snapshot::mount(&prepared, &target, label)?))
}

/// Takes everything down again. Goes on after an error, and is no error where there is nothing left.
pub fn disassemble(settings: &Settings, record: &Record, dir: &Dir) -> Vec<Error> {
    let mut errors = connection::disconnect(settings, record, dir);
    errors.extend(unmount(record, dir));
    errors
}

/// Of that, everything but the network.
pub fn unmount(record: &Record, dir: &Dir) -> Vec<Error> {
    let mut errors = place::unmount_all(record, dir);
    errors.extend(unmount_own(dir));
    errors
}

/// The same for a container whose record does not read back: what is found of it is taken down.
pub fn disassemble_found(settings: &Settings, id: &ContainerId, dir: &Dir) -> Vec<Error> {
    let mut errors = connection::disconnect_all(settings, id, dir);
    errors.extend(place::unmount_found(dir));
    errors.extend(unmount_own(dir));
    errors
}

/// Unmounts its root file system and lets go of its namespaces.
fn unmount_own(dir: &Dir) -> Vec<Error> {
    let own = [dir.rootfs(), connection::namespace_path(dir)];
    let places = own.into_iter().chain(user_namespace::places(dir));
    places.filter_map(|path| snapshot::unmount(&path).map_err(Error::from).err()).collect()
}
