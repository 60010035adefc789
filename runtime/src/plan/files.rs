//! What setting a container up takes of files: how many of them, and how large.

use oci_spec::runtime::Spec;

/// As many as every process may have open; what takes no more than these is set up without a look at the limit.
pub const USUAL: u64 = 256;
/// As many as an ordinary container never comes near to.
pub const ENOUGH: u64 = 1024;

/// What each entry of a list may hold open: a mount its source, its target, what it is made with and itself; a path what it is and
/// what covers it.
const OF_A_MOUNT: usize = 5;
const OF_A_PATH: usize = 3;
/// Sockets, cgroups, standard streams and what the caller has left open.
const OTHERS: usize = 96;

/// What setting a container up takes, whatever its process may have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Needed {
    /// As many files as may be open at once.
    pub open: u64,
    /// Files of the image are copied, of any size.
    pub copies: bool,
}

/// What setting the container up takes. By config.json alone: the plan of `start` is that of `create`.
pub fn needed(spec: &Spec) -> Needed {
    let options = spec.mounts().iter().flatten().filter_map(|mount| mount.options().as_ref());
    let copies = options.flatten().any(|option| option == "tmpcopyup");
    let length = |list: Option<usize>| list.unwrap_or_default();
    let linux = spec.linux().as_ref();
    let mounts = length(spec.mounts().as_ref().map(Vec::len));
    let paths = length(linux.and_then(|linux| linux.masked_paths().as_ref()).map(Vec::len))
        + length(linux.and_then(|linux| linux.readonly_paths().as_ref()).map(Vec::len))
        + length(linux.and_then(|linux| linux.devices().as_ref()).map(Vec::len));
    Needed { open: (OTHERS + mounts * OF_A_MOUNT + paths * OF_A_PATH) as u64, copies }
}
