//! `/dev`: the default devices and links of runtime-spec, and those of config.json.

use super::op::{Carrier, Device, Op, Source, Step};
use super::{Error, c_string};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use rustix::fs::FileType;
use std::os::unix::ffi::OsStrExt;
use sys::beneath::Target;

/// Devices that every container has (runtime-spec, "Default Devices"), readable and writable by all.
pub const DEFAULT: &[(&str, u32, u32)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Links that every container has (runtime-spec, "Default Symbolic Links", and what runc adds).
const LINKS: &[(&str, &str)] = &[
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// Plans nodes and links. In a user namespace, where mknod(2) is refused, the host's own nodes are bound instead.
///
/// # Errors
/// For numbers out of range, naming their place.
pub fn plan(
    listed: &[LinuxDevice],
    bind: Option<Carrier>,
    sources: &mut Vec<Source>,
) -> Result<Vec<Step>, Error> {
    let mut devices = Vec::with_capacity(DEFAULT.len() + listed.len());
    for (path, major, minor) in DEFAULT {
        let overridden = listed.iter().any(|device| device.path().as_os_str() == *path);
        if !overridden {
            let device = node(path.as_bytes(), FileType::CharacterDevice, *major, *minor, "")?;
            devices.push((device, String::new(), c_string(path.as_bytes(), "")?));
        }
    }
    for (i, device) in listed.iter().enumerate() {
        let pointer = format!("/linux/devices/{i}");
        let path = device.path().as_os_str().as_bytes();
        devices.push((configured(device, &pointer)?, pointer.clone(), c_string(path, &pointer)?));
    }
    let mut steps = Vec::with_capacity(devices.len() + LINKS.len());
    for (mut device, pointer, path) in devices {
        if let Some(carrier) = bind.filter(|_| device.kind != FileType::Fifo) {
            device.bind = Some(sources.len());
            sources.push(Source::new(path, false, carrier, pointer.clone()));
        }
        steps.push(Step { op: Op::Device(device), pointer });
    }
    for (path, to) in LINKS {
        let target = Target::new(path.as_bytes()).map_err(|_| Error::new("", "NUL byte"))?;
        steps.push(Step {
            op: Op::Symlink { target, to: c_string(to.as_bytes(), "")? },
            pointer: String::new(),
        });
    }
    Ok(steps)
}

fn node(
    path: &[u8],
    kind: FileType,
    major: u32,
    minor: u32,
    pointer: &str,
) -> Result<Device, Error> {
    let target = Target::new(path)
        .map_err(|_| Error::new(format!("{pointer}/path"), "contains a NUL byte"))?;
    Ok(Device {
        target,
        kind,
        major,
        minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
        bind: None,
        may_replace: true,
    })
}

fn configured(device: &LinuxDevice, pointer: &str) -> Result<Device, Error> {
    let kind = match device.typ() {
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
        LinuxDeviceType::P => FileType::Fifo,
        LinuxDeviceType::A => {
            return Err(Error::new(
                format!("{pointer}/type"),
                "`a` is a type of a rule, not of a device",
            ));
        }
    };
    let number = |value: i64, field: &str| {
        u32::try_from(value).map_err(|_| {
            Error::new(format!("{pointer}/{field}"), format!("`{value}` is not a device number"))
        })
    };
    let (major, minor) = match kind {
        FileType::Fifo => (0, 0),
        _ => (number(device.major(), "major")?, number(device.minor(), "minor")?),
    };
    let mut made = node(device.path().as_os_str().as_bytes(), kind, major, minor, pointer)?;
    made.mode = device.file_mode().unwrap_or(0o666) & 0o7777;
    made.uid = device.uid().unwrap_or(0);
    made.gid = device.gid().unwrap_or(0);
    made.may_replace = false;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(json: &str) -> Vec<LinuxDevice> {
        serde_json::from_str(json).unwrap()
    }

    fn nodes(steps: &[Step]) -> Vec<&Device> {
        steps
            .iter()
            .filter_map(|step| match &step.op {
                Op::Device(device) => Some(device),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_listed_device_replaces_the_default_one() {
        let listed = devices(
            r#"[{"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 384}]"#,
        );
        let steps = plan(&listed, None, &mut Vec::new()).unwrap();
        let nodes = nodes(&steps);
        assert_eq!(nodes.len(), DEFAULT.len());
        let null = nodes.iter().find(|device| device.target.path() == c"dev/null").unwrap();
        assert_eq!(null.mode, 0o600);
    }

    #[test]
    fn in_a_user_namespace_the_hosts_nodes_are_bound() {
        let mut sources = Vec::new();
        let steps = plan(&[], Some(Carrier::Tree), &mut sources).unwrap();
        assert_eq!(sources.len(), DEFAULT.len());
        assert!(nodes(&steps).iter().all(|device| device.bind.is_some()));
    }

    #[test]
    fn a_negative_number_is_refused_with_its_place() {
        let listed = devices(r#"[{"path": "/dev/x", "type": "b", "major": -1, "minor": 3}]"#);
        assert_eq!(
            plan(&listed, None, &mut Vec::new()).unwrap_err().pointer,
            "/linux/devices/0/major"
        );
    }
}
