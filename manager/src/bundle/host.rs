//! What planning a bundle has to know about the host, read once.

use std::fs;
use std::path::Path;

/// Facts of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// The largest number of open files that a child of ours may have.
    pub open_files: u64,
    /// Whether swap can be limited per cgroup; asking for it where it cannot is an error of the runtime.
    pub swap_limit: bool,
    /// The host's name, for containers that share the host's network.
    pub hostname: String,
}

impl HostFacts {
    /// Reads them.
    #[must_use]
    pub fn probe() -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let v1 = Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists();
        // On v2 the root group has no such file; any other one shows it.
        let v2 = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
            .is_ok_and(|controllers| controllers.split_whitespace().any(|name| name == "memory"))
            && Path::new("/proc/swaps").exists();
        Self {
            open_files: limit.maximum.unwrap_or(u64::MAX),
            swap_limit: v1 || v2,
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        }
    }
}
