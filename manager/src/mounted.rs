//! What is mounted, and where.

use crate::error::{Error, Result};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// Whether something is mounted on a directory.
pub fn is_mounted(path: &Path) -> Result<bool> {
    let stat =
        statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, StatxFlags::TYPE)
            .map_err(Error::io("find", path))?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// The mounts of this process's namespace, as its mountinfo has them (proc(5)).
pub(crate) fn table() -> Result<Vec<u8>> {
    let path = Path::new("/proc/self/mountinfo");
    fs::read(path).map_err(Error::io("read", path))
}

/// Where something is mounted at a path or below it, by a mountinfo; the path has no symbolic links.
pub(crate) fn below(table: &[u8], path: &Path) -> Option<PathBuf> {
    points(table).map(|(mounted, _)| mounted).find(|mounted| mounted.starts_with(path))
}

/// The mount that a path is in, and whether it is shared: the longest mount point of a mountinfo that the path begins with,
/// the later one of two.
pub(crate) fn mount_of(table: &[u8], path: &Path) -> Option<(PathBuf, bool)> {
    points(table)
        .filter(|(mounted, _)| path.starts_with(mounted))
        .max_by_key(|(mounted, _)| mounted.as_os_str().len())
}

/// Each mount point of a mountinfo, and whether it is shared.
fn points(table: &[u8]) -> impl Iterator<Item = (PathBuf, bool)> {
    table.split(|byte| *byte == b'\n').filter_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let mounted = PathBuf::from(OsString::from_vec(decode(fields.get(4)?)));
        let mut tags = fields.get(6..)?.iter().take_while(|field| **field != b"-");
        Some((mounted, tags.any(|tag| tag.starts_with(b"shared:"))))
    })
}

/// A field of mountinfo: the kernel writes space, tab, newline and backslash as three octal digits (proc(5)).
fn decode(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                out.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(first);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"1 0 8:1 / / rw shared:1 - ext4 /dev/a rw\n\
        2 1 0:5 / /mnt/my\\040disk rw - tmpfs none rw\n\
        3 1 0:6 / /mnt/\xff rw shared:2 - tmpfs none rw\n";

    #[test]
    fn a_mount_point_with_a_space_or_a_foreign_byte_is_found() {
        let found = |path: &str| mount_of(TABLE, Path::new(path));
        assert_eq!(found("/mnt/my disk/a"), Some(("/mnt/my disk".into(), false)));
        assert_eq!(found("/mnt/other"), Some(("/".into(), true)));
        let foreign = |path: &[u8]| PathBuf::from(OsString::from_vec(path.to_vec()));
        assert_eq!(mount_of(TABLE, &foreign(b"/mnt/\xff/a")), Some((foreign(b"/mnt/\xff"), true)));
    }

    #[test]
    fn what_is_mounted_at_a_path_is_below_it_and_what_has_a_longer_name_is_not() {
        let found = |path: &str| below(TABLE, Path::new(path));
        assert_eq!(found("/mnt/my disk"), Some("/mnt/my disk".into()));
        assert_eq!(found("/mnt"), Some("/mnt/my disk".into()));
        assert_eq!((found("/mnt/my"), found("/mnt/my disk/a")), (None, None));
    }
}
