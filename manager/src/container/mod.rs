//! Containers as they stand on disk.
//!
//! A directory per container under `<root>/containers`, made whole and put in place by one rename:
//!
//!     container.json   what it was made from, replaced by rename  (Record)
//!     state.json       how far it got, replaced by rename         (State)
//!     config.json      the OCI bundle, beside its `rootfs` mount point
//!     lock             held by whoever is at work on it: first `nman run`, then its monitor
//!     stopped, paused  marks: somebody has stopped it, somebody has paused it
//!                      (on a full disk, bits of the mode of `lock`)
//!     kept             mark: somebody restarts it, so that --rm does not hold for this end
//!     log              the container's output, one JSON object a line
//!
//! There is no database: whether a container is looked after is a question to its lock, which the kernel releases
//! with the last process that holds it, however that process ends.

mod host_config;
mod mount_point;
mod record;
mod store;
mod supervision;

pub use crate::id::{ContainerId, ContainerName, is_hex};
pub use host_config::{
    Config, DeviceMapping, DeviceRate, DeviceRequest, DeviceWeight, Empty, HostConfig, IdMappings,
    Limits, Ulimit,
};
pub use mount_point::{Detail, MountKind, MountPoint, Relabel};
pub use record::{Attached, Attachment, ImageUsed, NetworkWish, Record, State, Status, StopPolicy};
pub(crate) use store::make_private;
pub use store::{Census, Containers, Dir, Guard, Mark, Turn};
pub use supervision::{
    DEFAULT_MAX_FILES, DEFAULT_MAX_SIZE, HealthCheck, LogConfig, LogDriver, RestartPolicy,
    Supervised, Supervision,
};

/// The files about the network that every container sees.
pub(crate) const NETWORK_FILES: [&str; 3] = ["resolv.conf", "hosts", "hostname"];
