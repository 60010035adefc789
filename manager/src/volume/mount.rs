//! Volumes that are more than a directory: the options `type`, `device` and `o` of Docker's local driver.
//!
//! They are mounted over the volume's directory in the mount namespace of the container that uses them, and vanish with it.

use super::{Volume, Volumes};
use crate::error::{Error, Result};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use rustix::mount::{MountFlags, mount as mount_at, mount_bind_recursive, mount_remount};
use std::collections::BTreeMap;
use std::path::Path;

/// What `o` says: flags of the mount, and what is left to the file system.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    flags: MountFlags,
    bind: bool,
    data: String,
}

/// Words of `o` that are flags, and whether they set or clear them.
const FLAGS: [(&str, MountFlags, bool); 15] = [
    ("ro", MountFlags::RDONLY, true),
    ("rw", MountFlags::RDONLY, false),
    ("nosuid", MountFlags::NOSUID, true),
    ("suid", MountFlags::NOSUID, false),
    ("nodev", MountFlags::NODEV, true),
    ("dev", MountFlags::NODEV, false),
    ("noexec", MountFlags::NOEXEC, true),
    ("exec", MountFlags::NOEXEC, false),
    ("sync", MountFlags::SYNCHRONOUS, true),
    ("async", MountFlags::SYNCHRONOUS, false),
    ("noatime", MountFlags::NOATIME, true),
    ("nodiratime", MountFlags::NODIRATIME, true),
    ("relatime", MountFlags::RELATIME, true),
    ("strictatime", MountFlags::STRICTATIME, true),
    ("dirsync", MountFlags::DIRSYNC, true),
];

fn parse(text: &str) -> Options {
    let mut options = Options { flags: MountFlags::empty(), bind: false, data: String::new() };
    for word in text.split(',').filter(|word| !word.is_empty()) {
        match FLAGS.iter().find(|(name, _, _)| *name == word) {
            Some((_, flag, value)) => options.flags.set(*flag, *value),
            None if matches!(word, "bind" | "rbind") => options.bind = true,
            None => {
                let comma = if options.data.is_empty() { "" } else { "," };
                options.data.push_str(&format!("{comma}{word}"));
            }
        }
    }
    options
}

/// Refuses options that the driver does not have, and those that do not make sense without another.
pub(super) fn check(options: &BTreeMap<String, String>) -> Result<()> {
    for name in options.keys() {
        if !matches!(name.as_str(), "type" | "device" | "o") {
            return Err(Error::refusal(format!(
                "invalid option: \"{name}\", the local driver has type, device and o"
            )));
        }
    }
    for (given, needed) in [("o", "type"), ("o", "device"), ("type", "device"), ("device", "type")]
    {
        if options.contains_key(given) && !options.contains_key(needed) {
            return Err(Error::refusal(format!("missing required option: \"{needed}\"")));
        }
    }
    Ok(())
}

/// Mounts what the options of a volume name, unless it is mounted in this namespace already.
pub(super) fn mount(volumes: &Volumes, volume: &Volume) -> Result<()> {
    let get = |name: &str| volume.options.get(name).map_or("", String::as_str);
    let (kind, device) = (get("type"), get("device"));
    let target = volumes.data(&volume.name);
    if kind.is_empty() || is_mounted(&target)? {
        return Ok(());
    }
    check(&volume.options)?;
    let options = parse(get("o"));
    let failed = |action: String| Error::system(format!("{action} for volume `{}`", volume.name));
    if options.bind {
        mount_bind_recursive(device, &target).map_err(failed(format!("bind `{device}`")))?;
        if !options.flags.is_empty() {
            let flags = options.flags | MountFlags::BIND;
            mount_remount(&target, flags, "").map_err(failed(format!("bind `{device}`")))?;
        }
        return Ok(());
    }
    let data = std::ffi::CString::new(options.data).unwrap_or_default();
    mount_at(device, &target, kind, options.flags, data.as_c_str())
        .map_err(failed(format!("mount `{device}` as {kind}")))
}

/// Whether something is mounted on a directory.
pub(crate) fn is_mounted(path: &Path) -> Result<bool> {
    let stat =
        statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, StatxFlags::TYPE)
            .map_err(Error::io("find", path))?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_flags_or_the_file_systems() {
        let options = parse("ro,size=1m,nodev,uid=5,dev");
        assert_eq!(options.flags, MountFlags::RDONLY);
        assert_eq!(options.data, "size=1m,uid=5");
        assert!(!options.bind && parse("bind,ro").bind);
    }

    #[test]
    fn options_need_each_other() {
        let check = |list: &[(&str, &str)]| {
            let map =
                list.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            check(&map).map_err(|error| error.to_string())
        };
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[("type", "tmpfs"), ("device", "tmpfs")]), Ok(()));
        assert_eq!(check(&[("type", "tmpfs")]), Err("missing required option: \"device\"".into()));
        assert_eq!(
            check(&[("o", "ro"), ("device", "x")]),
            Err("missing required option: \"type\"".into())
        );
        assert!(check(&[("size", "1")]).unwrap_err().starts_with("invalid option: \"size\""));
    }
}
