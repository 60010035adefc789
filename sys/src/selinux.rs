//! Whether SELinux is there.

use rustix::fs::{StatVfsMountFlags, statfs, statvfs};

/// Where its file system is mounted.
pub const MOUNT: &str = "/sys/fs/selinux";

/// As libselinux decides: its file system is mounted for writing, and a policy is loaded, before which everything is `kernel`. Where
/// there is none, that takes one look.
#[must_use]
pub fn is_enabled() -> bool {
    const MAGIC: u32 = 0xf97c_ff8c;
    let mounted = statfs(MOUNT).is_ok_and(|stat| stat.f_type as u32 == MAGIC);
    let writable =
        || statvfs(MOUNT).is_ok_and(|stat| !stat.f_flag.contains(StatVfsMountFlags::RDONLY));
    let has_policy = || {
        std::fs::read("/proc/self/attr/current")
            .is_ok_and(|label| label.split(|byte| *byte == 0).next() != Some(b"kernel"))
    };
    mounted && writable() && has_policy()
}
