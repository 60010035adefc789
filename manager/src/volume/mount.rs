//! Volumes that are more than a directory: the options `type`, `device` and `o` of Docker's local driver.
//!
//! They are mounted over the volume's directory in the mount namespace of the container that uses them, and vanish with it.

use super::{Volume, Volumes};
use crate::error::{Error, Result};
use crate::mounted::is_mounted;
use rustix::mount::{
    MountFlags, UnmountFlags, mount as mount_at, mount_bind, mount_bind_recursive, mount_remount,
    unmount,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs as _};

/// What `o` says: flags of the mount, and what is left to the file system.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    flags: MountFlags,
    bind: Option<Bind>,
    data: String,
}

/// `bind` takes a directory as it is, `rbind` with what is mounted below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bind {
    Alone,
    Recursive,
}

/// Words of `o` that are flags, and whether they set or clear them.
const FLAGS: [(&str, MountFlags, bool); 20] = [
    ("defaults", MountFlags::empty(), true),
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
    ("atime", MountFlags::NOATIME, false),
    ("nodiratime", MountFlags::NODIRATIME, true),
    ("diratime", MountFlags::NODIRATIME, false),
    ("relatime", MountFlags::RELATIME, true),
    ("norelatime", MountFlags::RELATIME, false),
    ("strictatime", MountFlags::STRICTATIME, true),
    ("nostrictatime", MountFlags::STRICTATIME, false),
    ("dirsync", MountFlags::DIRSYNC, true),
];

fn parse(text: &str) -> Options {
    let mut options = Options { flags: MountFlags::empty(), bind: None, data: String::new() };
    for word in text.split(',').filter(|word| !word.is_empty()) {
        match FLAGS.iter().find(|(name, _, _)| *name == word) {
            Some((_, flag, value)) => options.flags.set(*flag, *value),
            None if word == "bind" => options.bind = Some(Bind::Alone),
            None if word == "rbind" => options.bind = Some(Bind::Recursive),
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
    let (device, words) = match kind {
        "nfs" | "cifs" => with_addresses(kind, device, get("o"), &address_of)?,
        _ => (device.to_owned(), get("o").to_owned()),
    };
    let (device, options) = (device.as_str(), parse(&words));
    let failed = |action: String| Error::system(format!("{action} for volume `{}`", volume.name));
    if let Some(bind) = options.bind {
        let bound = match bind {
            Bind::Alone => mount_bind(device, &target),
            Bind::Recursive => mount_bind_recursive(device, &target),
        };
        bound.map_err(failed(format!("bind `{device}`")))?;
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

/// Takes the mount of a volume away again, once a container has what it wants of it. Else it would hold on to what the device has
/// mounted below it, such as this very container's root where somebody binds a directory that we are in.
pub(super) fn unmount_data(volumes: &Volumes, volume: &Volume) -> Result<()> {
    let data = volumes.data(&volume.name);
    if volume.options.is_empty() || !is_mounted(&data)? {
        return Ok(());
    }
    unmount(&data, UnmountFlags::DETACH).map_err(Error::io("unmount", &data))
}

/// The kernel knows no names: the host in `addr=`, and for cifs in the device, becomes its address.
fn with_addresses(
    kind: &str,
    device: &str,
    words: &str,
    address_of: &dyn Fn(&str) -> Result<IpAddr>,
) -> Result<(String, String)> {
    let address = |host: &str| match host.parse::<IpAddr>() {
        Ok(address) => Ok(address),
        Err(_) => address_of(host),
    };
    let mut named = false;
    let mut resolved = Vec::new();
    for word in words.split(',') {
        resolved.push(match word.strip_prefix("addr=") {
            Some(host) if !host.is_empty() => {
                named = true;
                format!("addr={}", address(host)?)
            }
            _ => word.to_owned(),
        });
    }
    let device = match device.strip_prefix("//").and_then(|rest| rest.split_once('/')) {
        Some((host, share)) if kind == "cifs" && !named => format!("//{}/{share}", address(host)?),
        _ => device.to_owned(),
    };
    Ok((device, resolved.join(",")))
}

fn address_of(host: &str) -> Result<IpAddr> {
    let found = (host, 0).to_socket_addrs().ok().and_then(|mut all| all.next());
    found.map(|address| address.ip()).ok_or_else(|| Error::Rejected {
        message: format!("error resolving passed in network volume address: no such host `{host}`"),
        hint: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_flags_or_the_file_systems() {
        let options = parse("ro,size=1m,nodev,uid=5,dev");
        assert_eq!(options.flags, MountFlags::RDONLY);
        assert_eq!(options.data, "size=1m,uid=5");
        assert_eq!((options.bind, parse("bind,ro").bind), (None, Some(Bind::Alone)));
        assert_eq!(parse("rbind").bind, Some(Bind::Recursive));
        let plain = parse("defaults,noatime,atime,size=1m");
        assert_eq!((plain.flags, plain.data.as_str()), (MountFlags::empty(), "size=1m"));
    }

    #[test]
    fn names_of_servers_become_addresses() {
        let known = |host: &str| match host {
            "nas" => Ok("10.0.0.7".parse().unwrap()),
            _ => Err(Error::refusal(format!("no {host}"))),
        };
        let of = |kind, device, words| with_addresses(kind, device, words, &known).unwrap();
        let pair = |device: &str, words: &str| (device.to_owned(), words.to_owned());
        assert_eq!(of("nfs", ":/x", "addr=nas,rw"), pair(":/x", "addr=10.0.0.7,rw"));
        assert_eq!(of("nfs", ":/x", "rw,addr=10.0.0.8"), pair(":/x", "rw,addr=10.0.0.8"));
        assert_eq!(of("cifs", "//nas/x", "username=a"), pair("//10.0.0.7/x", "username=a"));
        assert_eq!(of("cifs", "//other/x", "addr=nas"), pair("//other/x", "addr=10.0.0.7"));
        assert!(with_addresses("nfs", ":/x", "addr=no", &known).is_err());
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
