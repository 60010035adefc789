//! Whether something is mounted on a directory.

use crate::error::{Error, Result};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use std::path::Path;

/// Whether something is mounted on a directory.
pub fn is_mounted(path: &Path) -> Result<bool> {
    let stat =
        statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, StatxFlags::TYPE)
            .map_err(Error::io("find", path))?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
