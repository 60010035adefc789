//! Which extended attributes travel in a layer.

/// Whether an image may set `key`, and if not, why. Those of overlayfs would change what the mount shows; labels and `trusted.*`
/// are the host's.
pub(super) fn admit(key: &[u8]) -> Result<(), &'static str> {
    if key.starts_with(b"trusted.overlay.") || key.starts_with(b"user.overlay.") {
        return Err("overlayfs keeps its own there");
    }
    let image_may = key.starts_with(b"user.")
        || matches!(
            key,
            b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default"
        );
    if image_may { Ok(()) } else { Err("an image does not set it") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_sets_its_own_attributes_and_no_others() {
        for ours in ["user.note", "security.capability", "system.posix_acl_access"] {
            assert!(admit(ours.as_bytes()).is_ok(), "{ours}");
        }
        for not in [
            "trusted.overlay.opaque",
            "trusted.overlay.redirect",
            "user.overlay.opaque",
            "trusted.x",
            "security.selinux",
            "security.ima",
            "system.nfs4_acl",
        ] {
            assert!(admit(not.as_bytes()).is_err(), "{not}");
        }
    }
}
