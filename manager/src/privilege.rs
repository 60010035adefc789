//! What root means here: root of the host, or of a user namespace only.

use std::fs;
use std::sync::OnceLock;

/// The link of a process in the first user namespace: its inode is `PROC_USER_INIT_INO`, a part of the kernel's interface.
const FIRST_USER_NAMESPACE: &str = "user:[4026531837]";

/// Whether our root is root of a user namespace only, not the host's: overlayfs keeps its marks elsewhere then, and devices cannot
/// be made. True after [`crate::rootless::enter`], and for whoever calls us in a namespace.
#[must_use]
pub fn is_in_namespace() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        fs::read_link("/proc/self/ns/user")
            .is_ok_and(|link| link.as_os_str() != FIRST_USER_NAMESPACE)
    })
}

/// Whether our user namespace lets nobody have groups beside its own: it has one id, and setgroups(2) is denied.
#[must_use]
pub fn denies_groups() -> bool {
    is_in_namespace()
        && fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny")
}
