//! Limits, accounting and device rules as properties of a unit (systemd.resource-control(5), org.freedesktop.systemd1(5)).
//!
//! Pure tables, with runc's conversions. What systemd has no property for is left out here: every limit is written to its file
//! as well, after systemd is done. Properties younger than systemd 244, the oldest one that is taken, depend on its version.

use oci_spec::runtime::LinuxResources;

use super::super::devices::{self, Access, Exception, Kind, Rule};
use super::super::v1::{BLOCK_IO, CPU, member};
use super::super::{Error, v2};
use super::cpu_list;
use ::systemd::{Property, Value};

/// `CPUWeight=idle`, which is 0 on the wire.
const CPU_IDLE: u32 = 252;
/// `OOMPolicy=` of a scope.
const OOM_POLICY: u32 = 253;
/// What systemd calls infinity.
const INFINITY: u64 = u64::MAX;
/// The period of a quota when none is given, in microseconds: the kernel's.
const PERIOD: u64 = 100_000;

/// The weight of a group that has been given none: the kernel's.
const WEIGHT: u64 = 100;

/// What every container's unit has: its place, and that systemd leaves its inside alone and counts what it uses.
pub(super) fn of_container(id: &str, slice: &str, unified: bool) -> Vec<Property> {
    let on = |name: &'static str| Property::new(name, Value::Bool(true));
    vec![
        Property::new("Description", Value::text(format!("nrun container {id}"))),
        Property::new("Slice", Value::text(slice)),
        on("Delegate"),
        // A unit that failed, for one because the kernel ran out of memory in it, goes too when it is empty.
        Property::new("CollectMode", Value::text("inactive-or-failed")),
        // Stopping at shutdown is for whoever made the container.
        Property::new("DefaultDependencies", Value::Bool(false)),
        on("MemoryAccounting"),
        on("CPUAccounting"),
        on(if unified { "IOAccounting" } else { "BlockIOAccounting" }),
        on("TasksAccounting"),
    ]
}

/// The limits.
pub(super) fn of_resources(
    resources: &LinuxResources,
    unified: bool,
    version: u32,
) -> Result<Vec<Property>, Error> {
    let mut list = Vec::new();
    if unified {
        memory(resources, &mut list)?;
        weight(resources, version, &mut list);
    } else {
        memory_v1(resources, &mut list);
    }
    quota(resources, &mut list);
    cpuset(resources, &mut list)?;
    if let Some(pids) = resources.pids() {
        list.push(Property::new("TasksMax", Value::Uint64(tasks(pids.limit()))));
    }
    if unified {
        unified_files(resources, version, &mut list)?;
    }
    Ok(list)
}

/// What systemd takes when a scope is made, and not later.
pub(super) fn at_start_only(
    resources: &LinuxResources,
    version: u32,
) -> Result<Vec<Property>, Error> {
    let group = resources.unified().as_ref().and_then(|files| files.get("memory.oom.group"));
    let policy = match group.map(|value| value.trim()) {
        _ if version < OOM_POLICY => return Ok(Vec::new()),
        Some("0") => "continue",
        Some("1") => "kill",
        _ => return Ok(Vec::new()),
    };
    Ok(vec![Property::new("OOMPolicy", Value::text(policy))])
}

/// -1 and all below are no limit; systemd takes no 0 for a number of tasks.
fn tasks(limit: i64) -> u64 {
    match limit {
        ..0 => INFINITY,
        0 => 1,
        limit => limit.unsigned_abs(),
    }
}

fn bytes(value: i64) -> Value {
    Value::Uint64(u64::try_from(value).unwrap_or(INFINITY))
}

fn memory(resources: &LinuxResources, list: &mut Vec<Property>) -> Result<(), Error> {
    let Some(memory) = resources.memory() else { return Ok(()) };
    let given = |value: Option<i64>| value.filter(|value| *value != 0);
    let (limit, swap) = (given(memory.limit()), given(memory.swap()));
    if let Some(limit) = limit {
        list.push(Property::new("MemoryMax", bytes(limit)));
    }
    if let Some(low) = given(memory.reservation()) {
        list.push(Property::new("MemoryLow", bytes(low)));
    }
    if let Some(swap) = v2::swap_max(limit, swap)? {
        let value = number(&swap).unwrap_or(INFINITY);
        list.push(Property::new("MemorySwapMax", Value::Uint64(value)));
    }
    Ok(())
}

fn memory_v1(resources: &LinuxResources, list: &mut Vec<Property>) {
    let limit = resources.memory().as_ref().and_then(|memory| memory.limit());
    if let Some(limit) = limit.filter(|limit| *limit != 0) {
        list.push(Property::new("MemoryLimit", bytes(limit)));
    }
    let shares = resources.cpu().as_ref().and_then(|cpu| cpu.shares());
    if let Some(shares) = shares.filter(|shares| *shares != 0) {
        list.push(Property::new("CPUShares", Value::Uint64(shares)));
    }
    let weight = resources.block_io().as_ref().and_then(|io| io.weight());
    if let Some(weight) = weight.filter(|weight| *weight != 0) {
        list.push(Property::new("BlockIOWeight", Value::Uint64(weight.into())));
    }
}

fn weight(resources: &LinuxResources, version: u32, list: &mut Vec<Property>) {
    if let Some(cpu) = resources.cpu() {
        let shares = cpu.shares().filter(|shares| *shares != 0);
        if cpu.idle() == Some(1) && version >= CPU_IDLE {
            list.push(Property::new("CPUWeight", Value::Uint64(0)));
        } else if let Some(shares) = shares {
            list.push(Property::new("CPUWeight", Value::Uint64(v2::cpu_weight(shares))));
        } else if cpu.idle() == Some(0) && version >= CPU_IDLE {
            // Or a group that was idle would be so again with the next change of the unit.
            list.push(Property::new("CPUWeight", Value::Uint64(WEIGHT)));
        }
    }
    let Some(io) = resources.block_io() else { return };
    // A weight out of range is refused where the files are planned.
    let converted = |weight: Option<u16>| v2::unit_weight(weight?, BLOCK_IO).ok();
    if let Some(weight) = converted(io.weight()) {
        list.push(Property::new("IOWeight", Value::Uint64(weight)));
    }
    let devices: Vec<Value> = io
        .weight_device()
        .iter()
        .flatten()
        .filter_map(|device| {
            let path = format!("/dev/block/{}:{}", device.major(), device.minor());
            let weight = Value::Uint64(converted(device.weight())?);
            Some(Value::Struct(vec![Value::text(path), weight]))
        })
        .collect();
    // What systemd does not know it takes away with the next change of the unit: BFQ forgets all devices for a new weight.
    if !devices.is_empty() {
        let weights = |devices| Value::Array("(st)".into(), devices);
        list.push(Property::new("IODeviceWeight", weights(Vec::new())));
        list.push(Property::new("IODeviceWeight", weights(devices)));
    }
}

/// Microseconds of processor time in a second. systemd keeps whole percents of a processor: what lies between is rounded up.
fn per_second(quota: u64, period: u64) -> u64 {
    let exact = u128::from(quota) * 1_000_000 / u128::from(period.max(1));
    u64::try_from(exact.next_multiple_of(10_000)).unwrap_or(INFINITY)
}

/// The quota as systemd will have it, when that is another one than is asked for: the file gets the same value.
pub(in super::super) fn round_up_quota(resources: &LinuxResources) -> Option<i64> {
    let cpu = resources.cpu().as_ref()?;
    let quota = u64::try_from(cpu.quota().filter(|quota| *quota > 0)?).ok()?;
    let period = cpu.period().filter(|period| *period != 0).unwrap_or(PERIOD);
    let exact = u128::from(quota) * 1_000_000 / u128::from(period);
    if exact.is_multiple_of(10_000) {
        return None;
    }
    let rounded = u128::from(per_second(quota, period)) * u128::from(period) / 1_000_000;
    i64::try_from(rounded).ok()
}

/// Makes it so. Files and properties are planned from the same limits then.
pub fn round_quota(resources: &mut LinuxResources) {
    let quota = round_up_quota(resources);
    if let (Some(cpu), Some(_)) = (resources.cpu_mut(), quota) {
        cpu.set_quota(quota);
    }
}

fn quota(resources: &LinuxResources, list: &mut Vec<Property>) {
    let Some(cpu) = resources.cpu() else { return };
    let period = cpu.period().filter(|period| *period != 0);
    let quota = cpu.quota().filter(|quota| *quota != 0);
    cpu_limit(quota.and_then(|quota| u64::try_from(quota).ok()), period, quota.is_some(), list);
}

/// `quota` is `None` for no limit, which is set when `given`, or to a period alone.
fn cpu_limit(quota: Option<u64>, period: Option<u64>, given: bool, list: &mut Vec<Property>) {
    if let Some(period) = period {
        list.push(Property::new("CPUQuotaPeriodUSec", Value::Uint64(period)));
    }
    if given || period.is_some() {
        let value = quota.map_or(INFINITY, |quota| per_second(quota, period.unwrap_or(PERIOD)));
        list.push(Property::new("CPUQuotaPerSecUSec", Value::Uint64(value)));
    }
}

fn cpuset(resources: &LinuxResources, list: &mut Vec<Property>) -> Result<(), Error> {
    let Some(cpu) = resources.cpu() else { return Ok(()) };
    let lists = [(cpu.cpus(), "AllowedCPUs", "cpus"), (cpu.mems(), "AllowedMemoryNodes", "mems")];
    for (given, property, field) in lists {
        if let Some(text) = given.as_deref().filter(|text| !text.is_empty()) {
            list.push(Property::new(property, mask(text, &format!("{CPU}/{field}"))?));
        }
    }
    Ok(())
}

fn mask(text: &str, pointer: &str) -> Result<Value, Error> {
    let bits = cpu_list::mask(text).ok_or_else(|| {
        let why = "it is no list such as `0-3,7`";
        Error::refused(format!("choose processors or nodes `{text}`"), pointer, why)
    })?;
    Ok(Value::Array("y".into(), bits.into_iter().map(Value::Byte).collect()))
}

/// v2's own files, as far as systemd has properties for them. The rest is written to the files alone.
fn unified_files(
    resources: &LinuxResources,
    version: u32,
    list: &mut Vec<Property>,
) -> Result<(), Error> {
    let mut files: Vec<_> = resources.unified().iter().flatten().collect();
    files.sort_unstable();
    let idle = files.iter().any(|(file, value)| *file == "cpu.idle" && value.trim() == "1");
    for (file, value) in files {
        let value = value.trim();
        let pointer = member("/linux/resources/unified", file);
        let refuse = || {
            let why = "it is neither a number nor `max`";
            Error::refused(format!("set `{file}` to `{value}`"), &pointer, why)
        };
        let limit = || match value {
            "max" => Ok(INFINITY),
            value => number(value).ok_or_else(refuse),
        };
        let property = match file.as_str() {
            "cpu.idle" if idle && version >= CPU_IDLE => ("CPUWeight", Value::Uint64(0)),
            "cpu.weight" if !(idle && version >= CPU_IDLE) => {
                ("CPUWeight", Value::Uint64(number(value).ok_or_else(refuse)?))
            }
            "cpu.max" => {
                let (quota, period) = cpu_max(value).ok_or_else(refuse)?;
                cpu_limit(quota, Some(period), true, list);
                continue;
            }
            "cpuset.cpus" => ("AllowedCPUs", mask(value, &pointer)?),
            "cpuset.mems" => ("AllowedMemoryNodes", mask(value, &pointer)?),
            "memory.high" => ("MemoryHigh", Value::Uint64(limit()?)),
            "memory.low" => ("MemoryLow", Value::Uint64(limit()?)),
            "memory.min" => ("MemoryMin", Value::Uint64(limit()?)),
            "memory.max" => ("MemoryMax", Value::Uint64(limit()?)),
            "memory.swap.max" => ("MemorySwapMax", Value::Uint64(limit()?)),
            "pids.max" => ("TasksMax", Value::Uint64(limit()?.max(1))),
            _ => continue,
        };
        list.push(Property::new(property.0, property.1));
    }
    Ok(())
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// `QUOTA [PERIOD]`, in microseconds; no quota is `max`.
fn cpu_max(value: &str) -> Option<(Option<u64>, u64)> {
    let mut words = value.split_whitespace();
    let quota = match words.next()? {
        "max" => None,
        quota => Some(number(quota)?),
    };
    let period = words.next().map_or(Some(PERIOD), number).filter(|period| *period != 0)?;
    words.next().is_none().then_some((quota, period))
}

/// The device rules: a list of what is allowed, which is all that systemd knows.
///
/// Where the rules cannot be said so, v2's systemd gets none, and our own program stands alone: a narrower one of systemd's
/// beside it would come back at every reload of systemd, and take devices from the running container. v1 has one list for
/// both: a reload of systemd without rules would open everything, so there it gets what can be said.
pub(super) fn of_devices(rules: &[Rule], unified: bool) -> Vec<Property> {
    let entries = match devices::exceptions(rules, usize::MAX) {
        Ok(result) if result.allow && result.list.is_empty() => None,
        Ok(result) if !result.allow => {
            let entries: Vec<Option<Value>> = result.list.iter().map(entry).collect();
            let all = entries.iter().all(Option::is_some);
            (all || !unified).then(|| entries.into_iter().flatten().collect())
        }
        _ if unified => None,
        _ => Some(Vec::new()),
    };
    let policy = if entries.is_some() { "strict" } else { "auto" };
    let list = |entries| Property::new("DeviceAllow", Value::Array("(ss)".into(), entries));
    // An empty list first: it takes away what an earlier call has set.
    let mut properties = vec![list(Vec::new()), Property::new("DevicePolicy", Value::text(policy))];
    properties.extend(entries.filter(|entries: &Vec<Value>| !entries.is_empty()).map(list));
    properties
}

/// `None` for devices of every major number and one minor: systemd has no name for them.
fn entry(exception: &Exception) -> Option<Value> {
    let (kind, major, minor) = exception.devices();
    let word = match kind {
        Kind::Block => "block",
        Kind::Char => "char",
    };
    let path = match (major, minor) {
        (None, None) => format!("{word}-*"),
        (Some(major), None) => format!("{word}-{major}"),
        (Some(major), Some(minor)) => format!("/dev/{word}/{major}:{minor}"),
        (None, Some(_)) => return None,
    };
    let access: Access = exception.access();
    Some(Value::Struct(vec![Value::text(path), Value::text(access.to_string())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(json: &str, unified: bool, version: u32) -> Vec<String> {
        let resources: LinuxResources = serde_json::from_str(json).unwrap();
        let list = of_resources(&resources, unified, version).unwrap();
        list.iter().map(ToString::to_string).collect()
    }

    const LIMITS: &str = r#"{
        "memory": {"limit": 1000, "swap": 3000, "reservation": 500},
        "cpu": {"shares": 512, "quota": 20000, "period": 50000, "cpus": "0-1", "mems": "0"},
        "pids": {"limit": 30},
        "blockIO": {"weight": 10}
    }"#;

    #[test]
    fn limits_on_v2() {
        let expected = [
            "MemoryMax = 1000",
            "MemoryLow = 500",
            "MemorySwapMax = 2000",
            "CPUWeight = 59",
            "IOWeight = 10",
            "CPUQuotaPeriodUSec = 50000",
            "CPUQuotaPerSecUSec = 400000",
            "AllowedCPUs = [3]",
            "AllowedMemoryNodes = [1]",
            "TasksMax = 30",
        ];
        assert_eq!(lines(LIMITS, true, 252), expected);
    }

    /// What systemd makes of them for BFQ: `BFQ_WEIGHT` of its source.
    #[test]
    fn bfq_has_the_weights_that_are_configured() {
        let for_bfq = |weight: u64| match weight {
            ..=100 => weight,
            _ => 100 + (weight - 100) * 900 / 9900,
        };
        for weight in 10..=1000 {
            assert_eq!(for_bfq(v2::unit_weight(weight, "").unwrap()), u64::from(weight));
        }
        let json = r#"{"blockIO": {"weight": 500, "weightDevice": [
            {"major": 8, "minor": 0, "weight": 300}, {"major": 8, "minor": 16}]}}"#;
        let expected = [
            "IOWeight = 4500",
            "IODeviceWeight = []",
            r#"IODeviceWeight = [("/dev/block/8:0", 2300)]"#,
        ];
        assert_eq!(lines(json, true, 252), expected);
    }

    #[test]
    fn limits_on_v1() {
        let expected = [
            "MemoryLimit = 1000",
            "CPUShares = 512",
            "BlockIOWeight = 10",
            "CPUQuotaPeriodUSec = 50000",
            "CPUQuotaPerSecUSec = 400000",
            "AllowedCPUs = [3]",
            "AllowedMemoryNodes = [1]",
            "TasksMax = 30",
        ];
        assert_eq!(lines(LIMITS, false, 252), expected);
    }

    #[test]
    fn no_limit_is_infinity() {
        let json = r#"{"memory": {"limit": -1}, "cpu": {"quota": -1}, "pids": {"limit": -1}}"#;
        let expected = [
            "MemoryMax = infinity",
            "MemorySwapMax = infinity",
            "CPUQuotaPerSecUSec = infinity",
            "TasksMax = infinity",
        ];
        assert_eq!(lines(json, true, 252), expected);
        assert_eq!(lines(r#"{"pids": {"limit": 0}}"#, true, 252), ["TasksMax = 1"]);
        let period = lines(r#"{"cpu": {"period": 1000}}"#, true, 252);
        assert_eq!(period, ["CPUQuotaPeriodUSec = 1000", "CPUQuotaPerSecUSec = infinity"]);
    }

    #[test]
    fn a_quota_is_rounded_up_to_whole_percents_for_systemd_and_for_the_file() {
        let table = [
            ((20_000, 50_000), 400_000, None),
            ((1_234, 100_000), 20_000, Some(2_000)),
            ((50_001, 100_000), 510_000, Some(51_000)),
            ((333, 1_000), 340_000, Some(340)),
        ];
        for ((quota, period), per_second, file) in table {
            let json = format!(r#"{{"cpu": {{"quota": {quota}, "period": {period}}}}}"#);
            let last = format!("CPUQuotaPerSecUSec = {per_second}");
            assert_eq!(lines(&json, true, 252).pop(), Some(last), "{quota} of {period}");
            assert_eq!(round_up_quota(&serde_json::from_str(&json).unwrap()), file, "{quota}");
        }
    }

    #[test]
    fn idle_groups_have_the_weight_zero_where_systemd_knows_them() {
        let json = r#"{"cpu": {"idle": 1, "shares": 1024}}"#;
        assert_eq!(lines(json, true, 252), ["CPUWeight = 0"]);
        assert_eq!(lines(json, true, 251), ["CPUWeight = 100"]);
        let lifted = r#"{"cpu": {"idle": 0}}"#;
        assert_eq!(lines(lifted, true, 252), ["CPUWeight = 100"]);
        assert!(lines(lifted, true, 251).is_empty());
        assert_eq!(
            lines(r#"{"cpu": {"idle": 0, "shares": 512}}"#, true, 252),
            lines(r#"{"cpu": {"shares": 512}}"#, true, 252)
        );
        let json = r#"{"unified": {"cpu.idle": "1", "cpu.weight": "50"}}"#;
        assert_eq!(lines(json, true, 252), ["CPUWeight = 0"]);
        assert_eq!(lines(json, true, 251), ["CPUWeight = 50"]);
    }

    #[test]
    fn files_of_v2_become_properties_where_there_are_some() {
        let json = r#"{"unified": {"memory.high": "4096", "memory.max": " max\n", "cpu.max": "5000 10000",
            "cpuset.cpus": "1", "pids.max": "0", "memory.min": "1", "hugetlb.2MB.max": "0", "io.weight": "default 7"}}"#;
        let expected = [
            "CPUQuotaPeriodUSec = 10000",
            "CPUQuotaPerSecUSec = 500000",
            "AllowedCPUs = [2]",
            "MemoryHigh = 4096",
            "MemoryMax = infinity",
            "MemoryMin = 1",
            "TasksMax = 1",
        ];
        assert_eq!(lines(json, true, 252), expected);
        let wrong: LinuxResources =
            serde_json::from_str(r#"{"unified": {"memory.max": "1k"}}"#).unwrap();
        let error = of_resources(&wrong, true, 252).unwrap_err().to_string();
        assert!(error.contains("(config.json /linux/resources/unified/memory.max)"), "{error}");
    }

    #[test]
    fn the_oom_group_is_a_policy_of_a_scope_from_253_on() {
        let resources = serde_json::from_str(r#"{"unified": {"memory.oom.group": "1"}}"#).unwrap();
        let policy = at_start_only(&resources, 253).unwrap();
        assert_eq!(policy, [Property::new("OOMPolicy", Value::text("kill"))]);
        assert_eq!(at_start_only(&resources, 252).unwrap(), []);
    }

    fn of_rules(json: &str, unified: bool) -> Vec<String> {
        let configured: Vec<oci_spec::runtime::LinuxDeviceCgroup> =
            serde_json::from_str(json).unwrap();
        let rules = devices::rules(&configured, &[]).unwrap();
        of_devices(&rules, unified).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn allowed_devices_are_a_strict_list() {
        let expected = r#"DeviceAllow = [("/dev/block/8:0", "r"), ("char-*", "m"), ("block-*", "m"), ("/dev/char/1:3", "rwm"), ("/dev/char/1:5", "rwm"), ("/dev/char/1:7", "rwm"), ("/dev/char/1:8", "rwm"), ("/dev/char/1:9", "rwm"), ("/dev/char/5:0", "rwm"), ("char-136", "rwm"), ("/dev/char/5:2", "rwm"), ("/dev/char/10:200", "rwm")]"#;
        let json = r#"[{"allow": false, "access": "rwm"},
            {"allow": true, "type": "b", "major": 8, "minor": 0, "access": "r"}]"#;
        for unified in [true, false] {
            let found = of_rules(json, unified);
            assert_eq!(found, ["DeviceAllow = []", "DevicePolicy = \"strict\"", expected]);
        }
    }

    #[test]
    fn what_systemd_cannot_say_is_left_to_our_own_program_and_kept_narrow_on_v1() {
        let none = ["DeviceAllow = []", "DevicePolicy = \"auto\""];
        let all = r#"[{"allow": true, "access": "rwm"}]"#;
        assert_eq!(of_rules(all, true), none);
        assert_eq!(of_rules(all, false), none);
        let hole =
            r#"[{"allow": true, "access": "rwm"}, {"allow": false, "type": "b", "access": "w"}]"#;
        assert_eq!(of_rules(hole, true), none);
        assert_eq!(of_rules(hole, false), ["DeviceAllow = []", "DevicePolicy = \"strict\""]);
        let minor = r#"[{"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "minor": 200, "access": "r"}]"#;
        assert_eq!(of_rules(minor, true), none);
        assert_eq!(of_rules(minor, false).len(), 3);
    }

    #[test]
    fn the_pointer_of_a_wrong_list_is_that_of_its_field() {
        let resources = serde_json::from_str(r#"{"cpu": {"mems": "x"}}"#).unwrap();
        let error = of_resources(&resources, true, 252).unwrap_err().to_string();
        assert!(error.contains("(config.json /linux/resources/cpu/mems)"), "{error}");
    }
}
