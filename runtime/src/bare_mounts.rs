//! The host's procfs and sysfs in full, which must not stay below the root of a container that is not pivoted to.
//!
//! The kernel lets a user namespace mount a procfs only where one is visible in full already (mount_namespaces(7)). With
//! pivot_root(2) nothing of the host's is visible any more; with `--no-pivot` its own would be, below the container's root, and
//! what is masked in the container's could be mounted anew.

use crate::error::{Error, Result};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

const TABLE: &str = "/proc/self/mountinfo";

/// Where they are, in the order of the table of mounts.
///
/// # Errors
/// When the table cannot be read.
pub fn probe() -> Result<Vec<PathBuf>> {
    let table =
        std::fs::read(TABLE).map_err(|error| Error::io(format!("read `{TABLE}`"), &error))?;
    Ok(table.split(|&byte| byte == b'\n').filter_map(bare).collect())
}

/// The mount point of a line of mountinfo (proc_pid_mountinfo(5)) that is about all of a procfs or sysfs.
fn bare(line: &[u8]) -> Option<PathBuf> {
    let mut fields = line.split(|&byte| byte == b' ');
    let root = fields.nth(3)?;
    let mount_point = fields.next()?;
    fields.find(|field| field == b"-")?;
    let kind = fields.next()?;
    let whole = root == b"/" && (kind == b"proc" || kind == b"sysfs");
    whole.then(|| OsString::from_vec(unescaped(mount_point)).into())
}

/// Space, tab, line feed and backslash are there as `\` and three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_proc_and_sysfs_are_bare() {
        let of = |line: &str| bare(line.as_bytes()).map(|path| path.display().to_string());
        let shown = |path: &str| Some(path.to_owned());
        assert_eq!(of("22 27 0:21 / /proc rw,nosuid shared:12 - proc proc rw"), shown("/proc"));
        assert_eq!(of("23 27 0:22 / /sys rw - sysfs sysfs rw"), shown("/sys"));
        assert_eq!(
            of(r"24 27 0:21 / /srv/a\040b\134c/proc rw - proc none rw"),
            shown(r"/srv/a b\c/proc")
        );
        assert_eq!(of("25 22 0:21 /sys /proc/sys ro - proc proc rw"), None);
        assert_eq!(of("26 27 0:5 / /dev rw - devtmpfs devtmpfs rw"), None);
        assert_eq!(of(""), None);
    }
}
