//! Device nodes, and the rules for who may use which device.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType as Type};

use super::{Check, NO_ID, Report, Subject, elements};

pub(super) const CHECKS: &[Check] = &[nodes, rules];

/// A device number is 12 bits of major and 20 bits of minor to the kernel (kdev_t.h); more would
/// make a node for another device.
const MAX_MAJOR: i64 = (1 << 12) - 1;
const MAX_MINOR: i64 = (1 << 20) - 1;

/// "`type`: `c`, `b`, `u` or `p`", "full path to device inside container", "major, minor REQUIRED
/// unless `type` is `p`" (config-linux.md, devices).
fn nodes(subject: &Subject<'_>, report: &mut Report) {
    let Some(linux) = subject.linux() else { return };
    for (index, device) in elements(linux.devices()) {
        let pointer = format!("/linux/devices/{index}");
        let path = device.path();
        if !path.is_absolute() {
            let message = format!("must be an absolute path, not `{}`", path.display());
            report.add(format!("{pointer}/path"), message);
        }
        for (id, name) in [(device.uid(), "uid"), (device.gid(), "gid")] {
            if id == Some(u32::MAX) {
                report.add(format!("{pointer}/{name}"), NO_ID);
            }
        }
        match device.typ() {
            Type::P => continue,
            Type::A => report.add(format!("{pointer}/type"), "`a` is no type of device node"),
            Type::B | Type::C | Type::U => {}
        }
        if device.major() == 0 && device.minor() == 0 {
            let message = format!("a device of type `{}` needs its numbers", device.typ().as_str());
            report.add(format!("{pointer}/major"), message);
        }
        number(device.major(), 0, MAX_MAJOR, format!("{pointer}/major"), report);
        number(device.minor(), 0, MAX_MINOR, format!("{pointer}/minor"), report);
    }
}

/// "`type`: `a` (all), `c` (char), or `b` (block)"; access of `r`, `w` and `m` (config-linux.md,
/// allowed device list), of which runc wants at least one. The number -1 is for all.
fn rules(subject: &Subject<'_>, report: &mut Report) {
    let resources = subject.linux().and_then(|linux| linux.resources().as_ref());
    let Some(resources) = resources else { return };
    for (index, rule) in elements(resources.devices()) {
        let pointer = format!("/linux/resources/devices/{index}");
        if let Some(typ) = rule.typ().filter(|typ| matches!(typ, Type::U | Type::P)) {
            let message = format!("`{}` is not one of `a`, `b`, `c`", typ.as_str());
            report.add(format!("{pointer}/type"), message);
        }
        access(rule, &pointer, report);
        if let Some(major) = rule.major() {
            number(major, -1, MAX_MAJOR, format!("{pointer}/major"), report);
        }
        if let Some(minor) = rule.minor() {
            number(minor, -1, MAX_MINOR, format!("{pointer}/minor"), report);
        }
    }
}

fn access(rule: &LinuxDeviceCgroup, pointer: &str, report: &mut Report) {
    let pointer = format!("{pointer}/access");
    let access = rule.access().as_deref().unwrap_or_default();
    if access.is_empty() {
        report.add(pointer, "must not be empty: it is made of `r`, `w` and `m`");
    } else if access.contains(|c| !matches!(c, 'r' | 'w' | 'm')) {
        report.add(pointer, format!("`{access}` is not made of `r`, `w` and `m`"));
    }
}

fn number(value: i64, min: i64, max: i64, pointer: String, report: &mut Report) {
    if !(min..=max).contains(&value) {
        report.add(pointer, format!("must be from {min} to {max}, not {value}"));
    }
}
