//! Limits by control groups: values that no kernel takes, and names that would lead elsewhere.

use std::path::Component;

use oci_spec::runtime::{LinuxBlockIo, LinuxResources};

use super::lists::is_cpuset_list;
use super::namespaces::is_device_name;
use super::{Check, Report, Subject, elements, is_file_name, member};

pub(super) const CHECKS: &[Check] = &[cgroups_path, resources];

const RULES: &[fn(&LinuxResources, &mut Report)] =
    &[memory, cpu, cpuset, block_io, huge_pages, network, rdma, unified];

/// "Runtimes MAY consider certain `cgroupsPath` values to be invalid, and MUST generate an error"
/// (config-linux.md): one with `..` could only be meant to leave the group it was given (class F
/// of attacks). A path for systemd, `slice:prefix:name`, is taken as it is.
fn cgroups_path(subject: &Subject<'_>, report: &mut Report) {
    let Some(path) = subject.linux().and_then(|linux| linux.cgroups_path().as_deref()) else {
        return;
    };
    if path.components().any(|component| component == Component::ParentDir) {
        report.add("/linux/cgroupsPath", format!("`{}` must not contain `..`", path.display()));
    }
}

fn resources(subject: &Subject<'_>, report: &mut Report) {
    let Some(resources) = subject.linux().and_then(|linux| linux.resources().as_ref()) else {
        return;
    };
    let mut found = Report::new("/linux/resources");
    for rule in RULES {
        rule(resources, &mut found);
    }
    report.problems.append(&mut found.problems);
}

/// "`swap` sets limit of memory+Swap usage", so it cannot be below that of memory (both versions
/// of cgroups refuse). Swappiness as in runc. -1 is for no limit.
fn memory(resources: &LinuxResources, report: &mut Report) {
    let Some(memory) = resources.memory() else { return };
    let fields =
        [("limit", memory.limit()), ("reservation", memory.reservation()), ("swap", memory.swap())];
    for (name, value) in fields {
        if let Some(value) = value.filter(|value| *value < -1) {
            let message = format!("must be a number of bytes, or -1 for no limit, not {value}");
            report.add(format!("/memory/{name}"), message);
        }
    }
    let (limit, swap) = (memory.limit().unwrap_or(0), memory.swap().unwrap_or(0));
    if limit > 0 && swap > 0 && swap < limit {
        let message =
            format!("is memory and swap together, so {swap} cannot be below the limit {limit}");
        report.add("/memory/swap", message);
    }
    if let Some(value) = memory.swappiness().filter(|value| *value > 100) {
        report.add("/memory/swappiness", format!("must be from 0 to 100, not {value}"));
    }
}

/// "`burst` … MUST be no larger than any positive `quota`" (config-linux.md, cpu). The kernel takes
/// periods from 1 ms to 1 s; 0 is "not given", as engines write it.
fn cpu(resources: &LinuxResources, report: &mut Report) {
    let Some(cpu) = resources.cpu() else { return };
    if let Some(period) = cpu.period().filter(|p| *p != 0 && !(1_000..=1_000_000).contains(p)) {
        report.add("/cpu/period", format!("must be from 1000 to 1000000 µs, not {period}"));
    }
    let quota = cpu.quota().and_then(|quota| u64::try_from(quota).ok()).filter(|quota| *quota > 0);
    if let (Some(quota), Some(burst)) = (quota, cpu.burst())
        && burst > quota
    {
        report.add("/cpu/burst", format!("{burst} is above the quota {quota}"));
    }
    if let Some(idle) = cpu.idle().filter(|idle| !(0..=1).contains(idle)) {
        report.add("/cpu/idle", format!("must be 0 or 1, not {idle}"));
    }
}

/// "A comma-separated list, with dashes to represent ranges" (config-linux.md, cpu).
fn cpuset(resources: &LinuxResources, report: &mut Report) {
    let Some(cpu) = resources.cpu() else { return };
    for (name, list) in [("cpus", cpu.cpus()), ("mems", cpu.mems())] {
        if let Some(list) = list.as_deref().filter(|list| !is_cpuset_list(list)) {
            report.add(format!("/cpu/{name}"), format!("`{list}` is not a list such as `0-3,7`"));
        }
    }
}

/// "You MUST specify at least one of `weight` or `leafWeight`" (config-linux.md, block IO). The
/// kernel's weights go from 10 to 1000; 0 is "not given".
fn block_io(resources: &LinuxResources, report: &mut Report) {
    let Some(block_io) = resources.block_io() else { return };
    weight(block_io.weight(), "/blockIO/weight", report);
    weight(block_io.leaf_weight(), "/blockIO/leafWeight", report);
    for (index, device) in elements(block_io.weight_device()) {
        let pointer = format!("/blockIO/weightDevice/{index}");
        if device.weight().is_none() && device.leaf_weight().is_none() {
            report.add(&pointer, "needs a `weight` or a `leafWeight`");
        }
        weight(device.weight(), &format!("{pointer}/weight"), report);
        weight(device.leaf_weight(), &format!("{pointer}/leafWeight"), report);
        device_number(device.major(), device.minor(), &pointer, report);
    }
    throttles(block_io, report);
}

fn weight(weight: Option<u16>, pointer: &str, report: &mut Report) {
    if let Some(weight) = weight.filter(|weight| *weight != 0 && !(10..=1000).contains(weight)) {
        report.add(pointer, format!("must be from 10 to 1000, not {weight}"));
    }
}

fn throttles(block_io: &LinuxBlockIo, report: &mut Report) {
    let lists = [
        ("throttleReadBpsDevice", block_io.throttle_read_bps_device()),
        ("throttleWriteBpsDevice", block_io.throttle_write_bps_device()),
        ("throttleReadIOPSDevice", block_io.throttle_read_iops_device()),
        ("throttleWriteIOPSDevice", block_io.throttle_write_iops_device()),
    ];
    for (name, list) in lists {
        for (index, device) in elements(list) {
            let pointer = format!("/blockIO/{name}/{index}");
            device_number(device.major(), device.minor(), &pointer, report);
        }
    }
}

fn device_number(major: i64, minor: i64, pointer: &str, report: &mut Report) {
    for (name, number) in [("major", major), ("minor", minor)] {
        if number < 0 {
            report.add(format!("{pointer}/{name}"), format!("must not be negative: {number}"));
        }
    }
}

/// "The value of `pageSize` has the format `<size><unit-prefix>B`, and must match the `<hugepagesize>`
/// of the corresponding control file": it becomes part of a file's name.
fn huge_pages(resources: &LinuxResources, report: &mut Report) {
    for (index, limit) in elements(resources.hugepage_limits()) {
        let size = limit.page_size();
        let digits = size.trim_end_matches(|c: char| !c.is_ascii_digit());
        let is_number = digits.parse::<u32>().is_ok() && !digits.starts_with('+');
        if !is_number || !matches!(&size[digits.len()..], "KB" | "MB" | "GB") {
            let message = format!("`{size}` is not a size such as `64KB`, `2MB` or `1GB`");
            report.add(format!("/hugepageLimits/{index}/pageSize"), message);
        }
    }
}

/// Network priorities are lines of a file, with the interface's name in front.
fn network(resources: &LinuxResources, report: &mut Report) {
    let Some(network) = resources.network() else { return };
    for (index, priority) in elements(network.priorities()) {
        let name = priority.name();
        if !is_device_name(name) {
            let message = format!("`{name}` is not a name of a network device");
            report.add(format!("/network/priorities/{index}/name"), message);
        }
    }
}

/// RDMA limits are lines of a file, with the device's name in front. "You MUST specify at least one of the `hcaHandles` or
/// `hcaObjects` in a given entry" (config-linux.md, RDMA).
fn rdma(resources: &LinuxResources, report: &mut Report) {
    for (name, limits) in resources.rdma().iter().flatten() {
        if !is_file_name(name) || name.contains(char::is_whitespace) {
            let message = format!("`{name}` is not a name of an RDMA device");
            report.add(member("/rdma", name), message);
        }
        if limits.hca_handles().is_none() && limits.hca_objects().is_none() {
            report.add(member("/rdma", name), "has neither `hcaHandles` nor `hcaObjects`");
        }
    }
}

/// "Each key in the map refers to a file in the cgroup unified hierarchy" (config-linux.md,
/// unified): a file of this group, so without a slash, as in runc.
fn unified(resources: &LinuxResources, report: &mut Report) {
    for name in resources.unified().iter().flat_map(|files| files.keys()) {
        if !is_file_name(name) {
            let message = format!("`{name}` is not the name of a file in a control group");
            report.add(member("/unified", name), message);
        }
    }
}
