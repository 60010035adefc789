//! Propagation of mounts between the host and the container.

use super::Error;
use oci_spec::runtime::Linux;
use rustix::mount::MountPropagationFlags as Propagation;

/// `rootfsPropagation`, `rslave` where there is none: mounts of the host arrive, none goes back.
pub(super) fn of_root(linux: Option<&Linux>) -> Result<Propagation, Error> {
    let rec = Propagation::REC;
    Ok(match linux.and_then(|linux| linux.rootfs_propagation().as_deref()).unwrap_or_default() {
        "" | "rslave" => Propagation::DOWNSTREAM | rec,
        "slave" => Propagation::DOWNSTREAM,
        "private" => Propagation::PRIVATE,
        "rprivate" => Propagation::PRIVATE | rec,
        "shared" => Propagation::SHARED,
        "rshared" => Propagation::SHARED | rec,
        "unbindable" => Propagation::UNBINDABLE,
        "runbindable" => Propagation::UNBINDABLE | rec,
        other => {
            return Err(Error::new(
                "/linux/rootfsPropagation",
                format!("`{other}` is not a propagation"),
            ));
        }
    })
}

/// What a bind without an option of its own gets. It is cloned on the host, a peer of the host's mount, and would carry
/// the container's mounts back there if it were left so.
pub(super) fn of_bind(root: Propagation) -> Propagation {
    if root.contains(Propagation::SHARED) {
        return root | Propagation::REC;
    }
    if root.contains(Propagation::DOWNSTREAM) {
        return Propagation::DOWNSTREAM | Propagation::REC;
    }
    Propagation::PRIVATE | Propagation::REC
}
