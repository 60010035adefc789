//! Devices of the host in a container: what `--device` and `--gpus` ask for, and what is found there.
//!
//! A device is a path of the host, a directory of devices, or a name of the Container Device Interface, `vendor/class=name`,
//! which stands for whatever the vendor's specification says: see [`cdi`].

pub mod cdi;

use crate::container::{DeviceMapping, HostConfig};
use crate::error::{Error, Result, reason};
use crate::fields::fields;
use oci_spec::runtime::{LinuxDevice, LinuxDeviceBuilder, LinuxDeviceType};
use rustix::fs::{FileType, major, minor};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// One `--device`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A device, or a directory of devices.
    Path(DeviceMapping),
    /// A name of CDI's.
    Cdi(String),
}

impl FromStr for Wish {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if cdi::is_name(text) {
            return Ok(Self::Cdi(text.to_owned()));
        }
        let parts: Vec<&str> = text.split(':').collect();
        let (host, container, access) = match parts.as_slice() {
            [host] => (*host, *host, "rwm"),
            [host, access] if is_access(access) => (*host, *host, *access),
            [host, container] => (*host, *container, "rwm"),
            [host, container, access] => (*host, *container, *access),
            _ => {
                return Err(format!(
                    "invalid device specification: {text}, it is HOST[:CONTAINER[:rwm]]"
                ));
            }
        };
        if !is_access(access) {
            return Err(format!("bad mode specified: {access}, it is made of r, w and m"));
        }
        if !host.starts_with('/') {
            return Err(format!(
                "{host} is not an absolute path, and not a name of CDI's such as vendor.com/class=name"
            ));
        }
        if !container.starts_with('/') {
            return Err(format!("{container} is not an absolute path"));
        }
        Ok(Self::Path(DeviceMapping {
            path_on_host: host.to_owned(),
            path_in_container: container.to_owned(),
            cgroup_permissions: access.to_owned(),
        }))
    }
}

/// `--gpus`, as names of CDI's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpus(pub Vec<String>);

impl FromStr for Gpus {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (mut count, mut devices) = (None, None);
        // Docker wants a list in quotes, because it is a line of comma separated values; alone it needs none here.
        let alone = text.strip_prefix("device=").filter(|list| !list.contains(['=', '"']));
        let fields = match alone {
            Some(_) => vec![text.to_owned()],
            None => fields(text)?,
        };
        for field in &fields {
            match field.split_once('=').unwrap_or(("count", field)) {
                ("count", value) => count = Some(value),
                ("device", list) => devices = Some(list),
                // What a device can do is for its vendor's specification to say.
                ("driver", "nvidia" | "cdi") | ("capabilities", _) => {}
                ("driver", driver) => {
                    return Err(format!(
                        "could not select device driver \"{driver}\", there is nvidia"
                    ));
                }
                (key, _) => return Err(format!("unexpected key '{key}' in '{field}'")),
            }
        }
        let name = |device: &str| format!("nvidia.com/gpu={device}");
        let names: Vec<String> = match (count, devices) {
            (Some(_), Some(_)) => {
                return Err("cannot set both Count and DeviceIDs on device request".to_owned());
            }
            (None, Some(list)) => list.split(',').map(name).collect(),
            (Some("all" | "-1"), None) => vec![name("all")],
            (count, None) => {
                let count = count.unwrap_or("1");
                let number: u16 = count.parse().map_err(|_| {
                    format!("invalid count ({count}): value must be either \"all\" or an integer")
                })?;
                (0..number).map(|number| name(&number.to_string())).collect()
            }
        };
        match names.iter().all(|name| cdi::is_name(name)) {
            true => Ok(Self(names)),
            false => Err(format!("invalid gpus: {text}, a device has a number or a name")),
        }
    }
}

/// A device as the container gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The node.
    pub node: LinuxDevice,
    /// Of `r`, `w`, `m`.
    pub access: String,
}

/// Everything that was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Nodes.
    pub devices: Vec<Device>,
    /// What CDI's specifications add.
    pub edits: cdi::Edits,
}

/// Looks for everything that a container was promised.
pub fn find(config: &HostConfig) -> Result<Found> {
    let mut found = Found::default();
    if config.privileged {
        walk(Path::new("/dev"), Path::new("/dev"), "rwm", &mut found.devices)?;
    }
    for wish in &config.devices {
        let refused = |why: &str| Error::Rejected {
            message: format!(
                "error gathering device information while adding custom device \"{}\": {why}",
                wish.path_on_host
            ),
            hint: None,
        };
        let host = Path::new(&wish.path_on_host);
        // The user's own path: a link such as /dev/disk/by-id/... is followed, as in Docker.
        let host = host.canonicalize().map_err(|error| refused(&reason(&error)))?;
        let before = found.devices.len();
        let (target, access) = (Path::new(&wish.path_in_container), &wish.cgroup_permissions);
        if host.is_dir() {
            walk(&host, target, access, &mut found.devices)?;
        } else {
            found.devices.extend(node(&host, target, access));
        }
        if found.devices.len() == before {
            return Err(refused("not a device node"));
        }
    }
    let names: Vec<&String> =
        config.device_requests.iter().flat_map(|request| &request.device_ids).collect();
    if !names.is_empty() {
        found.edits = cdi::resolve(&names, &cdi::DIRECTORIES.map(Path::new))?;
        for wanted in std::mem::take(&mut found.edits.nodes) {
            found.devices.push(wanted.find()?);
        }
    }
    // The later one of two for the same place holds.
    let mut seen = std::collections::BTreeSet::new();
    found.devices.reverse();
    found.devices.retain(|device| seen.insert(device.node.path().clone()));
    found.devices.reverse();
    Ok(found)
}

/// What the container has in `/dev` by itself, or has in its own way.
const OWN: [&str; 12] = [
    "pts", "shm", "fd", "mqueue", "console", "ptmx", "stdin", "stdout", "stderr", "core", ".lxc",
    ".udev",
];

/// The devices below a directory; links are not followed.
fn walk(from: &Path, to: &Path, access: &str, into: &mut Vec<Device>) -> Result<()> {
    let mut entries: Vec<_> =
        std::fs::read_dir(from).map_err(Error::io("read", from))?.flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let (path, target) = (from.join(&name), to.join(&name));
        if from == Path::new("/dev") && OWN.iter().any(|own| name == *own) {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&path, &target, access, into)?,
            Ok(kind) if kind.is_symlink() => {}
            _ => into.extend(node(&path, &target, access)),
        }
    }
    Ok(())
}

/// A device node, if it is one.
fn node(from: &Path, to: &Path, access: &str) -> Option<Device> {
    let stat = rustix::fs::lstat(from).ok()?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => LinuxDeviceType::C,
        FileType::BlockDevice => LinuxDeviceType::B,
        _ => return None,
    };
    let node = LinuxDeviceBuilder::default()
        .path(PathBuf::from(to))
        .typ(kind)
        .major(i64::from(major(stat.st_rdev)))
        .minor(i64::from(minor(stat.st_rdev)))
        .file_mode(stat.st_mode & 0o777)
        .uid(stat.st_uid)
        .gid(stat.st_gid)
        .build()
        .ok()?;
    Some(Device { node, access: access.to_owned() })
}

/// Whether a text is made of `r`, `w` and `m`, each once at most.
#[must_use]
pub fn is_access(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 3
        && text.chars().enumerate().all(|(at, c)| "rwm".contains(c) && !text[..at].contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_a_host_path_a_container_path_and_access() {
        let of = |text: &str| match text.parse::<Wish>().unwrap() {
            Wish::Path(map) => (map.path_on_host, map.path_in_container, map.cgroup_permissions),
            Wish::Cdi(name) => panic!("{name}"),
        };
        let owned = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(of("/dev/a"), owned("/dev/a", "/dev/a", "rwm"));
        assert_eq!(of("/dev/a:r"), owned("/dev/a", "/dev/a", "r"));
        assert_eq!(of("/dev/a:/dev/b"), owned("/dev/a", "/dev/b", "rwm"));
        assert_eq!(of("/dev/a:/dev/b:rw"), owned("/dev/a", "/dev/b", "rw"));
        assert_eq!("vendor.com/gpu=0".parse(), Ok(Wish::Cdi("vendor.com/gpu=0".into())));
        for bad in ["", "dev", "/dev/a:/b:x", "/dev/a:/b:rr", "/a:/b:r:x", "/dev/a:b"] {
            assert!(bad.parse::<Wish>().is_err(), "{bad}");
        }
    }

    #[test]
    fn gpus_are_names_of_cdis() {
        let of = |text: &str| text.parse::<Gpus>().map(|gpus| gpus.0.join(" "));
        assert_eq!(of("all").unwrap(), "nvidia.com/gpu=all");
        assert_eq!(of("2").unwrap(), "nvidia.com/gpu=0 nvidia.com/gpu=1");
        assert_eq!(of("device=1").unwrap(), "nvidia.com/gpu=1");
        assert_eq!(of("\"device=0,2\"").unwrap(), "nvidia.com/gpu=0 nvidia.com/gpu=2");
        assert_eq!(of("device=0,2").unwrap(), "nvidia.com/gpu=0 nvidia.com/gpu=2");
        assert_eq!(of("all,capabilities=utility").unwrap(), "nvidia.com/gpu=all");
        assert_eq!(
            of("driver=nvidia,count=2,\"capabilities=compute,utility\"").unwrap(),
            "nvidia.com/gpu=0 nvidia.com/gpu=1"
        );
        assert_eq!(
            of("\"device=0,2\",capabilities=utility").unwrap(),
            "nvidia.com/gpu=0 nvidia.com/gpu=2"
        );
        assert_eq!(of("capabilities=utility").unwrap(), "nvidia.com/gpu=0");
        for (wrong, why) in [
            ("some", "invalid count (some): value must be either \"all\" or an integer"),
            ("device=", "invalid gpus: device=, a device has a number or a name"),
            ("count=1,device=0", "cannot set both Count and DeviceIDs on device request"),
            ("all,driver=amd", "could not select device driver \"amd\", there is nvidia"),
            ("all,colour=red", "unexpected key 'colour' in 'colour=red'"),
        ] {
            assert_eq!(of(wrong).unwrap_err(), why);
        }
    }

    #[test]
    fn a_missing_device_and_a_file_are_refused() {
        let find = |path: &str| {
            let Ok(Wish::Path(map)) = path.parse() else { panic!() };
            find(&HostConfig { devices: vec![map], ..HostConfig::default() })
        };
        let error = find("/dev/no-such-device").unwrap_err().to_string();
        assert!(
            error.ends_with("custom device \"/dev/no-such-device\": no such file or directory"),
            "{error}"
        );
        assert!(find("/proc/version").unwrap_err().to_string().ends_with("not a device node"));
        let null = find("/dev/null:/dev/nothing:r").unwrap().devices;
        assert_eq!(
            (null[0].node.major(), null[0].node.minor(), null[0].access.as_str()),
            (1, 3, "r")
        );
        assert_eq!(null[0].node.path(), Path::new("/dev/nothing"));
    }
}
