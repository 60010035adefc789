//! What a container sees of sd_notify(3): a directory with a socket, and the variable that names it. runc's names.

use super::mounts::Context;
use super::op::{Source, Step};
use super::{Error, binds, options};
use oci_spec::runtime;
use std::path::Path;

/// Where the directory is in the container.
const DIRECTORY: &str = "/run/notify";
/// The variable, which has the place of config.json's own.
pub(super) const VARIABLE: &str = "NOTIFY_SOCKET=/run/notify/notify.sock";

/// Plans the mount of the host's `directory`. It comes after those of config.json, one of which may be on /run.
///
/// # Errors
/// When the path cannot be one.
pub(super) fn mount(
    directory: &Path,
    context: &Context<'_>,
    sources: &mut Vec<Source>,
) -> Result<Step, Error> {
    let mut mount = runtime::Mount::default();
    mount
        .set_destination(DIRECTORY.into())
        .set_source(Some(directory.to_owned()))
        .set_typ(Some("bind".to_owned()));
    let given = ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned);
    binds::plan(&mount, options::parse(&given), context, sources, String::new())
}

/// Without a mount namespace there is no place for it, and whoever waits for the container would wait in vain.
pub(super) fn refuse_without_mount_namespace() -> Error {
    Error::new(
        "/linux/namespaces",
        "NOTIFY_SOCKET is set, and its mount would change the host's: add a `mount` namespace, or unset it",
    )
}
