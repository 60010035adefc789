//! The files of cgroup v2: each function turns one group of `linux.resources` into the writes for one controller.
//!
//! The specification was made for v1. What has another unit on v2 is converted as the latest runc converts it; what v2
//! does not have (realtime budgets, swappiness, a disabled OOM killer, leaf weights) is refused when it is asked for.

use oci_spec::runtime::LinuxResources;

use super::Error;
use super::plan::{OnMissing, Write};
use super::v1::{BLOCK_IO, CPU, MEMORY, Writes, check_swap, huge_pages, member, throttles};

const ABSENT: &str = "cgroup v2 has no such limit";

/// Swap before memory, as in runc: in this order a smaller pair never leaves more swap than before in between.
pub(super) fn memory(resources: &LinuxResources) -> Writes {
    let mut writes = Vec::new();
    let Some(memory) = resources.memory() else { return Ok(writes) };
    if memory.swappiness().is_some_and(|value| value != u64::MAX) {
        let pointer = format!("{MEMORY}/swappiness");
        return Err(Error::refused("set the swappiness of memory", pointer, ABSENT));
    }
    if memory.disable_oom_killer() == Some(true) {
        let pointer = format!("{MEMORY}/disableOOMKiller");
        return Err(Error::refused("disable the OOM killer", pointer, ABSENT));
    }
    let given = |value: Option<i64>| value.filter(|value| *value != 0);
    let (limit, swap) = (given(memory.limit()), given(memory.swap()));
    if let Some(value) = swap_max(limit, swap)? {
        let which = if swap.is_some() { "swap" } else { "limit" };
        // A kernel without swap accounting has no swap to forbid, and none to allow.
        let harmless = matches!(value.as_str(), "max" | "0");
        let write = Write::new("memory.swap.max", value, format!("{MEMORY}/{which}"));
        writes.push(write.missing_is_zero(harmless));
    }
    if let Some(limit) = limit {
        writes.push(Write::new("memory.max", or_max(limit), format!("{MEMORY}/limit")));
    }
    if let Some(reservation) = given(memory.reservation()) {
        let pointer = format!("{MEMORY}/reservation");
        writes.push(Write::new("memory.low", or_max(reservation), pointer));
    }
    Ok(writes)
}

/// The value of `memory.swap.max`: the specification's `swap` is memory and swap together, v2's is swap alone.
pub(super) fn swap_max(limit: Option<i64>, swap: Option<i64>) -> Result<Option<String>, Error> {
    check_swap(limit, swap)?;
    Ok(match (limit, swap) {
        (Some(-1), None) | (_, Some(-1)) => Some("max".into()),
        (_, None) => None,
        (Some(-1), Some(swap)) => Some(swap.to_string()),
        (Some(limit @ 1..), Some(swap @ 1..)) => Some((swap - limit).to_string()),
        (limit, Some(swap)) => {
            let what = format!("limit memory and swap to {swap}");
            let why = match limit {
                None => "no memory limit is given to take it from".to_owned(),
                Some(limit) => format!("it cannot be told from a memory limit of {limit}"),
            };
            return Err(Error::refused(what, format!("{MEMORY}/swap"), why));
        }
    })
}

fn or_max(value: i64) -> String {
    if value == -1 { "max".into() } else { value.to_string() }
}

/// `cpu.idle` comes before the weight: an idle group refuses one.
pub(super) fn cpu(resources: &LinuxResources) -> Writes {
    let mut writes = Vec::new();
    let Some(cpu) = resources.cpu() else { return Ok(writes) };
    let realtime = [
        (cpu.realtime_runtime().is_some_and(|runtime| runtime != 0), "realtimeRuntime"),
        (cpu.realtime_period().is_some_and(|period| period != 0), "realtimePeriod"),
    ];
    if let Some((_, name)) = realtime.iter().find(|(given, _)| *given) {
        return Err(Error::refused("set a realtime budget", format!("{CPU}/{name}"), ABSENT));
    }
    if let Some(idle) = cpu.idle() {
        let write = Write::new("cpu.idle", idle, format!("{CPU}/idle"));
        writes.push(write.missing_is_zero(idle == 0));
    }
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        writes.push(Write::new("cpu.weight", cpu_weight(shares), format!("{CPU}/shares")));
    }
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let period = cpu.period().filter(|period| *period != 0);
    if quota.is_some() || period.is_some() {
        let limit =
            quota.filter(|quota| *quota > 0).map_or("max".into(), |quota| quota.to_string());
        let which = if quota.is_some() { "quota" } else { "period" };
        let value = format!("{limit} {}", period.unwrap_or(100_000));
        writes.push(Write::new("cpu.max", value, format!("{CPU}/{which}")));
    }
    if let Some(burst) = cpu.burst() {
        let write = Write::new("cpu.max.burst", burst, format!("{CPU}/burst"));
        writes.push(write.missing_is_zero(burst == 0));
    }
    Ok(writes)
}

/// Shares (2 to 262144, default 1024) as a weight (1 to 10000, default 100).
///
/// A curve through both ends and the defaults: `10^((l² + 125 l) / 612 - 7/34)` with `l = log2(shares)`. The linear
/// formula of older runtimes gave 39 for the default, so that a container got less than half of its due.
/// <https://github.com/kubernetes/kubernetes/issues/131216>
pub(super) fn cpu_weight(shares: u64) -> u64 {
    match shares {
        ..=2 => 1,
        262_144.. => 10_000,
        shares => {
            let l = (shares as f64).log2();
            let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
            10_f64.powf(exponent).ceil() as u64
        }
    }
}

/// Weights go to BFQ where that scheduler is built in, else to the cost model's, whose range is 1 to 10000.
pub(super) fn io(resources: &LinuxResources) -> Writes {
    io_with(resources, io_weight)
}

/// The same in a unit, whose weights systemd writes too, each time that it changes anything of it: to both files, and in its own
/// relation of the two.
pub(super) fn io_of_unit(resources: &LinuxResources) -> Writes {
    io_with(resources, unit_weight)
}

fn io_with(resources: &LinuxResources, convert: fn(u16, &str) -> Result<u64, Error>) -> Writes {
    let mut writes = Vec::new();
    let Some(io) = resources.block_io() else { return Ok(writes) };
    let devices = || io.weight_device().iter().flatten().enumerate();
    let leaf = devices().find(|(_, device)| device.leaf_weight().is_some_and(|weight| weight != 0));
    let leaf = leaf.map(|(index, _)| format!("{BLOCK_IO}/weightDevice/{index}/leafWeight"));
    let own = io.leaf_weight().filter(|weight| *weight != 0);
    if let Some(pointer) = own.map(|_| format!("{BLOCK_IO}/leafWeight")).or(leaf) {
        return Err(Error::refused("set the weight of a leaf", pointer, ABSENT));
    }
    let mut weight = |device: &str, weight: u16, pointer: String| {
        let converted = convert(weight, &pointer)?;
        let bfq = Write::new("io.bfq.weight", format!("{device}{weight}"), &pointer);
        writes.push(bfq.if_missing(OnMissing::Next));
        writes.push(Write::new("io.weight", format!("{device}{converted}"), pointer));
        Ok(())
    };
    if let Some(value) = io.weight().filter(|weight| *weight != 0) {
        weight("", value, format!("{BLOCK_IO}/weight"))?;
    }
    for (index, device) in devices() {
        if let Some(value) = device.weight().filter(|weight| *weight != 0) {
            let number = format!("{}:{} ", device.major(), device.minor());
            weight(&number, value, format!("{BLOCK_IO}/weightDevice/{index}/weight"))?;
        }
    }
    for (device, names, pointer) in throttles(resources) {
        let rate = match device.rate() {
            0 => "max".into(),
            rate => rate.to_string(),
        };
        let value = format!("{}:{} {}={rate}", device.major(), device.minor(), names.v2);
        writes.push(Write::new("io.max", value, pointer));
    }
    Ok(writes)
}

/// Linear from 10..=1000, the specification's range, to 1..=10000.
pub(super) fn io_weight(weight: u16, pointer: &str) -> Result<u64, Error> {
    match weight {
        10..=1000 => Ok(1 + (u64::from(weight) - 10) * 9999 / 990),
        _ => Err(no_weight(weight, pointer)),
    }
}

/// systemd's `IOWeight` of which it makes this weight for BFQ: from 100, the default of both, a step of BFQ's is eleven of its own
/// (`BFQ_WEIGHT` in systemd since version 249).
pub(super) fn unit_weight(weight: u16, pointer: &str) -> Result<u64, Error> {
    match u64::from(weight) {
        weight @ 10..=100 => Ok(weight),
        weight @ 101..=1000 => Ok(100 + (weight - 100) * 11),
        _ => Err(no_weight(weight, pointer)),
    }
}

fn no_weight(weight: u16, pointer: &str) -> Error {
    let what = format!("set a block I/O weight of {weight}");
    Error::refused(what, pointer, "the valid range is 10 to 1000")
}

/// The limit on use, and the one on reservations where the kernel has it (5.7).
pub(super) fn hugetlb(resources: &LinuxResources) -> Writes {
    huge_pages(resources, "max", "max")
}

/// `linux.resources.unified`: the names and values of v2 itself, in the order of the names, a write per line. The second
/// of each pair is the controller that the file belongs to.
pub(super) fn unified(resources: &LinuxResources) -> Result<Vec<(Write, String)>, Error> {
    let mut entries: Vec<_> = resources.unified().iter().flatten().collect();
    entries.sort_unstable();
    let mut writes = Vec::new();
    for (file, value) in entries {
        let pointer = member("/linux/resources/unified", file);
        let refuse = |why| Error::refused(format!("set `{file}`"), &pointer, why);
        if file.contains(['/', '\0']) {
            return Err(refuse("it must be a file name, without slashes"));
        }
        let Some((controller, _)) = file.split_once('.').filter(|(name, _)| !name.is_empty())
        else {
            return Err(refuse("it must be in the form CONTROLLER.PARAMETER"));
        };
        for line in value.lines() {
            let write = Write::new(file.clone(), line, &pointer);
            writes.push((write, controller.to_owned()));
        }
    }
    Ok(writes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_by_the_curve_through_both_ends_and_the_default() {
        let table = [
            (1, 1),
            (2, 1),
            (1024, 100),
            (262_144, 10_000),
            (1_000_000, 10_000),
            (3, 2),
            (10, 4),
            (100, 17),
            (512, 59),
            (2048, 174),
            (10_000, 627),
            (262_143, 10_000),
        ];
        for (shares, weight) in table {
            assert_eq!(cpu_weight(shares), weight, "{shares} shares");
        }
    }

    #[test]
    fn weights_of_block_io_span_the_whole_range() {
        assert_eq!(io_weight(10, "").unwrap(), 1);
        assert_eq!(io_weight(1000, "").unwrap(), 10_000);
        assert!(io_weight(9, "").is_err());
        assert!(io_weight(1001, "").is_err());
    }

    #[test]
    fn a_name_of_unified_that_leads_elsewhere_or_belongs_to_nobody_is_refused() {
        let writes = |name: &str| {
            let resources = serde_json::json!({"unified": {name: "1"}});
            unified(&serde_json::from_value(resources).unwrap())
        };
        for name in
            ["../pids.max", "child/pids.max", "/sys/pids.max", "pids.max\0", "pids", ".max", ""]
        {
            let error = writes(name).unwrap_err().to_string();
            assert!(error.contains("/linux/resources/unified/"), "{name}: {error}");
        }
        assert_eq!(writes("pids.max").unwrap()[0].1, "pids");
    }

    #[test]
    fn swap_is_the_difference_to_memory() {
        let max = |limit, swap| swap_max(limit, swap).unwrap();
        assert_eq!(max(Some(100), Some(300)).as_deref(), Some("200"));
        assert_eq!(max(Some(100), Some(100)).as_deref(), Some("0"));
        assert_eq!(max(Some(100), Some(-1)).as_deref(), Some("max"));
        assert_eq!(max(Some(-1), None).as_deref(), Some("max"));
        assert_eq!(max(Some(-1), Some(50)).as_deref(), Some("50"));
        assert_eq!(max(Some(100), None), None);
        assert!(swap_max(None, Some(50)).is_err());
        assert!(swap_max(Some(100), Some(50)).is_err());
    }
}
