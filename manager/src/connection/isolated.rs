//! A container that was started on `none`, and leaves it.
//!
//! Its namespace is the runtime's to make. When it leaves, it is made what a container on a network is from the beginning: the
//! namespace is bound to its file, and config.json names that.

use super::{keep, kept, namespace_path, running_namespace};
use crate::bundle::amend;
use crate::container::{Dir, Record};
use crate::error::Result;
use crate::network;
use crate::user_namespace;
use oci_spec::runtime::LinuxNamespaceType;
use std::os::fd::{AsFd as _, OwnedFd};

/// Has a container's namespace bound and named. Called by its monitor, in the mount namespace of which that is done.
///
/// # Errors
/// The namespace cannot be bound, or config.json not be written.
pub(super) fn leave(record: &Record, dir: &Dir) -> Result<()> {
    if kept(dir).is_none() {
        let namespace = match running_namespace(dir)? {
            Some(namespace) => namespace,
            // Between two lives: the next one begins in it.
            None => create_namespace(dir)?,
        };
        keep(&namespace, &namespace_path(dir))?;
    }
    name_namespace(record, dir)
}

/// Has config.json name the container's namespace, where the runtime was to make one.
///
/// # Errors
/// config.json cannot be read or written.
pub(super) fn name_namespace(record: &Record, dir: &Dir) -> Result<()> {
    amend(record, dir, |spec| {
        let linux = spec.linux_mut().as_mut();
        let namespaces = linux.and_then(|linux| linux.namespaces_mut().as_mut());
        let mut all = namespaces.into_iter().flatten();
        let network = all.find(|namespace| namespace.typ() == LinuxNamespaceType::Network);
        let unnamed = network.filter(|network| network.path().is_none());
        unnamed.map(|network| network.set_path(Some(namespace_path(dir)))).is_some()
    })
}

/// A new network namespace for a container, in its user namespace if it has one; only its loopback interface is up.
pub(super) fn create_namespace(dir: &Dir) -> Result<OwnedFd> {
    let Some(namespace) = user_namespace::network(dir)? else {
        return Ok(network::create_namespace()?);
    };
    network::set_loopback_up(namespace.as_fd())?;
    Ok(namespace)
}
