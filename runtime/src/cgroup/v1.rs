//! The files of cgroup v1: each function turns one group of `linux.resources` into the writes for one controller.
//!
//! Pure tables. Zero means "not given" wherever the Go types of the specification cannot tell the two apart, as in runc.
//! `memory.kernel` and `memory.kernelTCP` are ignored, as in runc: kernels since 5.4 take the values and do nothing.

use oci_spec::runtime::{LinuxResources, LinuxThrottleDevice};

use super::Error;
use super::plan::{OnMissing, Write};

/// The writes of one controller, in the order in which they are made.
pub(super) type Writes = Result<Vec<Write>, Error>;

pub(super) const MEMORY: &str = "/linux/resources/memory";
pub(super) const CPU: &str = "/linux/resources/cpu";
pub(super) const BLOCK_IO: &str = "/linux/resources/blockIO";
const NETWORK: &str = "/linux/resources/network";

/// Limit before limit-and-swap: a fresh cgroup has both unlimited, and the kernel wants the first not above the second.
pub(super) fn memory(resources: &LinuxResources) -> Writes {
    let mut writes = Vec::new();
    let Some(memory) = resources.memory() else { return Ok(writes) };
    let given = |value: Option<i64>| value.filter(|value| *value != 0);
    let (limit, swap) = (given(memory.limit()), given(memory.swap()));
    check_swap(limit, swap)?;
    if let Some(limit) = limit {
        let pointer = format!("{MEMORY}/limit");
        writes.push(Write::new("memory.limit_in_bytes", limit, &pointer));
        if limit == -1 && swap.is_none() {
            // Unlimited memory means unlimited swap too; without swap accounting there is nothing to lift.
            let write = Write::new("memory.memsw.limit_in_bytes", -1, &pointer);
            writes.push(write.if_missing(OnMissing::Skip));
        }
    }
    if let Some(swap) = swap {
        writes.push(Write::new("memory.memsw.limit_in_bytes", swap, format!("{MEMORY}/swap")));
    }
    if let Some(reservation) = given(memory.reservation()) {
        let pointer = format!("{MEMORY}/reservation");
        writes.push(Write::new("memory.soft_limit_in_bytes", reservation, pointer));
    }
    if memory.disable_oom_killer() == Some(true) {
        writes.push(oom_killer(true));
    }
    if memory.use_hierarchy() == Some(true) {
        // Always so since Linux 5.11, where the file takes nothing but 1.
        writes.push(Write::new("memory.use_hierarchy", 1, format!("{MEMORY}/useHierarchy")));
    }
    // The Go types write "not given" as -1, which arrives here as the largest number.
    if let Some(swappiness) = memory.swappiness().filter(|value| *value != u64::MAX) {
        let pointer = format!("{MEMORY}/swappiness");
        if swappiness > 100 {
            let what = format!("set the swappiness of memory to {swappiness}");
            return Err(Error::refused(what, pointer, "the valid range is 0 to 100"));
        }
        writes.push(Write::new("memory.swappiness", swappiness, pointer));
    }
    Ok(writes)
}

/// Whether the kernel stops processes that are out of memory, instead of killing one.
pub(super) fn oom_killer(disabled: bool) -> Write {
    Write::new("memory.oom_control", i32::from(disabled), format!("{MEMORY}/disableOOMKiller"))
}

/// `swap` is memory and swap together, on v1 as in the specification.
pub(super) fn check_swap(limit: Option<i64>, swap: Option<i64>) -> Result<(), Error> {
    match (limit, swap) {
        (Some(limit @ 1..), Some(swap @ 1..)) if swap < limit => Err(Error::refused(
            format!("limit memory and swap to {swap}"),
            format!("{MEMORY}/swap"),
            format!("it includes memory, which is limited to {limit}"),
        )),
        _ => Ok(()),
    }
}

/// Periods come before the quotas that are measured against them. Where the old values of a cgroup that is used again
/// make one of a pair invalid, it is written again after the other.
pub(super) fn cpu(resources: &LinuxResources) -> Writes {
    let mut writes = Vec::new();
    let Some(cpu) = resources.cpu() else { return Ok(writes) };
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        let pointer = format!("{CPU}/shares");
        // The kernel would clamp it without a word.
        let why = match shares {
            0..2 => "the minimum allowed cpu-shares is 2",
            2..=262_144 => "",
            _ => "the maximum allowed cpu-shares is 262144",
        };
        if !why.is_empty() {
            return Err(Error::refused(format!("set cpu shares to {shares}"), pointer, why));
        }
        writes.push(Write::new("cpu.shares", shares, pointer));
    }
    if let Some(period) = cpu.realtime_period().filter(|period| *period != 0) {
        writes.push(Write::new("cpu.rt_period_us", period, format!("{CPU}/realtimePeriod")));
    }
    if let Some(runtime) = cpu.realtime_runtime().filter(|runtime| *runtime != 0) {
        writes.push(Write::new("cpu.rt_runtime_us", runtime, format!("{CPU}/realtimeRuntime")));
    }
    if let Some(period) = cpu.period().filter(|period| *period != 0) {
        writes.push(Write::new("cpu.cfs_period_us", period, format!("{CPU}/period")));
    }
    if let Some(quota) = cpu.quota().filter(|quota| *quota != 0) {
        writes.push(Write::new("cpu.cfs_quota_us", quota, format!("{CPU}/quota")));
    }
    if let Some(burst) = cpu.burst() {
        let write = Write::new("cpu.cfs_burst_us", burst, format!("{CPU}/burst"));
        writes.push(write.missing_is_zero(burst == 0));
    }
    if let Some(idle) = cpu.idle() {
        let write = Write::new("cpu.idle", idle, format!("{CPU}/idle"));
        writes.push(write.missing_is_zero(idle == 0));
    }
    Ok(writes)
}

/// Same names on v1 and v2.
pub(super) fn cpuset(resources: &LinuxResources) -> Writes {
    let cpu = resources.cpu().as_ref();
    let given = |list: Option<&String>| list.filter(|list| !list.is_empty()).cloned();
    let cpus = given(cpu.and_then(|cpu| cpu.cpus().as_ref()));
    let mems = given(cpu.and_then(|cpu| cpu.mems().as_ref()));
    let cpus = cpus.map(|list| Write::new("cpuset.cpus", list, format!("{CPU}/cpus")));
    let mems = mems.map(|list| Write::new("cpuset.mems", list, format!("{CPU}/mems")));
    Ok(cpus.into_iter().chain(mems).collect())
}

/// Same name on v1 and v2. Below zero is no limit. A limit of 0 is one of 1, as in runc: systemd takes no 0, and to whom is in
/// the cgroup already both mean the same. One that is not given never comes here, see [`super::pids_limit_is_given`].
pub(super) fn pids(resources: &LinuxResources) -> Writes {
    let write = |limit: i64| {
        let value = match limit {
            ..0 => "max".into(),
            limit => limit.max(1).to_string(),
        };
        Write::new("pids.max", value, "/linux/resources/pids/limit")
    };
    Ok(resources.pids().iter().map(|pids| write(pids.limit())).collect())
}

/// Weights belong to whichever proportional scheduler the kernel has: CFQ's files, gone since Linux 5.0, or BFQ's.
pub(super) fn blkio(resources: &LinuxResources) -> Writes {
    let mut writes = Vec::new();
    let Some(io) = resources.block_io() else { return Ok(writes) };
    let mut weight = |names: [&'static str; 2], value: String, pointer: String| {
        writes.push(Write::new(names[0], &value, &pointer).if_missing(OnMissing::Next));
        writes.push(Write::new(names[1], value, pointer));
    };
    if let Some(value) = io.weight().filter(|weight| *weight != 0) {
        let pointer = format!("{BLOCK_IO}/weight");
        weight(["blkio.weight", "blkio.bfq.weight"], value.to_string(), pointer);
    }
    for (index, device) in io.weight_device().iter().flatten().enumerate() {
        if let Some(value) = device.weight().filter(|weight| *weight != 0) {
            let value = format!("{}:{} {value}", device.major(), device.minor());
            let pointer = format!("{BLOCK_IO}/weightDevice/{index}/weight");
            weight(["blkio.weight_device", "blkio.bfq.weight_device"], value, pointer);
        }
    }
    if let Some(value) = io.leaf_weight().filter(|weight| *weight != 0) {
        writes.push(Write::new("blkio.leaf_weight", value, format!("{BLOCK_IO}/leafWeight")));
    }
    for (index, device) in io.weight_device().iter().flatten().enumerate() {
        if let Some(value) = device.leaf_weight().filter(|weight| *weight != 0) {
            let value = format!("{}:{} {value}", device.major(), device.minor());
            let pointer = format!("{BLOCK_IO}/weightDevice/{index}/leafWeight");
            writes.push(Write::new("blkio.leaf_weight_device", value, pointer));
        }
    }
    for (device, names, pointer) in throttles(resources) {
        let value = format!("{}:{} {}", device.major(), device.minor(), device.rate());
        writes.push(Write::new(names.v1, value, pointer));
    }
    Ok(writes)
}

/// What one list of throttled devices is called: its file on v1, its key in `io.max` on v2.
pub(super) struct Throttle {
    v1: &'static str,
    pub(super) v2: &'static str,
}

/// Every throttled device, with what is throttled, and its JSON pointer.
pub(super) fn throttles(
    resources: &LinuxResources,
) -> Vec<(&LinuxThrottleDevice, Throttle, String)> {
    let Some(io) = resources.block_io() else { return Vec::new() };
    let lists = [
        (io.throttle_read_bps_device(), "ReadBps", "blkio.throttle.read_bps_device", "rbps"),
        (io.throttle_write_bps_device(), "WriteBps", "blkio.throttle.write_bps_device", "wbps"),
        (io.throttle_read_iops_device(), "ReadIOPS", "blkio.throttle.read_iops_device", "riops"),
        (io.throttle_write_iops_device(), "WriteIOPS", "blkio.throttle.write_iops_device", "wiops"),
    ];
    let mut found = Vec::new();
    for (list, name, v1, v2) in lists {
        for (index, device) in list.iter().flatten().enumerate() {
            let pointer = format!("{BLOCK_IO}/throttle{name}Device/{index}");
            found.push((device, Throttle { v1, v2 }, pointer));
        }
    }
    found
}

/// The limit on use, and the one on reservations where the kernel has it (5.7).
pub(super) fn hugetlb(resources: &LinuxResources) -> Writes {
    huge_pages(resources, "limit_in_bytes", "-1")
}

/// The files for both versions: `hugetlb.<size>.<suffix>` and `hugetlb.<size>.rsvd.<suffix>`.
pub(super) fn huge_pages(resources: &LinuxResources, suffix: &str, unlimited: &str) -> Writes {
    let mut writes = Vec::new();
    for (index, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        let size = limit.page_size();
        let pointer = format!("/linux/resources/hugepageLimits/{index}");
        let number = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
        if !number.is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit())) {
            let what = format!("limit huge pages of `{size}`");
            let why = "a page size is a number and `KB`, `MB` or `GB`";
            return Err(Error::refused(what, format!("{pointer}/pageSize"), why));
        }
        let value = match limit.limit() {
            ..0 => unlimited.to_owned(),
            bytes => bytes.to_string(),
        };
        let pointer = format!("{pointer}/limit");
        writes.push(Write::new(format!("hugetlb.{size}.{suffix}"), &value, &pointer));
        let reserved = Write::new(format!("hugetlb.{size}.rsvd.{suffix}"), value, pointer);
        writes.push(reserved.if_missing(OnMissing::Skip));
    }
    Ok(writes)
}

/// Same name and form on v1 and v2; in the order of the device names, for the map has none.
pub(super) fn rdma(resources: &LinuxResources) -> Writes {
    let Some(limits_of) = resources.rdma() else { return Ok(Vec::new()) };
    let mut devices: Vec<&String> = limits_of.keys().collect();
    devices.sort_unstable();
    let write = |name: &String| {
        let limits = &limits_of[name];
        let mut value = name.clone();
        for (key, limit) in
            [("hca_handle", limits.hca_handles()), ("hca_object", limits.hca_objects())]
        {
            if let Some(limit) = limit {
                value.push_str(&format!(" {key}={limit}"));
            }
        }
        let given = limits.hca_handles().or(limits.hca_objects());
        given.map(|_| Write::new("rdma.max", value, member("/linux/resources/rdma", name)))
    };
    Ok(devices.into_iter().filter_map(write).collect())
}

/// The class of the container's packets.
pub(super) fn net_cls(resources: &LinuxResources) -> Writes {
    let class = resources.network().as_ref().and_then(|network| network.class_id());
    let write = |class: u32| Write::new("net_cls.classid", class, format!("{NETWORK}/classID"));
    Ok(class.filter(|class| *class != 0).map(write).into_iter().collect())
}

/// The priority of the container's packets, per interface.
pub(super) fn net_prio(resources: &LinuxResources) -> Writes {
    let network = resources.network().as_ref();
    let priorities =
        network.and_then(|network| network.priorities().as_ref()).into_iter().flatten();
    let write = |(index, entry): (usize, &oci_spec::runtime::LinuxInterfacePriority)| {
        let value = format!("{} {}", entry.name(), entry.priority());
        Write::new("net_prio.ifpriomap", value, format!("{NETWORK}/priorities/{index}"))
    };
    Ok(priorities.enumerate().map(write).collect())
}

/// The JSON pointer of the member `name` of the object at `pointer` (RFC 6901).
pub(super) fn member(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}
