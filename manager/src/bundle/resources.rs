//! Limits: what Docker refuses of them, what it discards where the host lacks something, and the cgroup that they make.

use super::host::HostFacts;
use crate::cli::{CPU_PERIOD, CpuSet};
use crate::container::{DeviceRate, Limits};
use crate::error::{Error, Result};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPidsBuilder, LinuxResources, LinuxThrottleDevice,
    LinuxThrottleDeviceBuilder, LinuxWeightDevice, LinuxWeightDeviceBuilder,
};
use std::collections::BTreeMap;

/// The numbers of devices, by their paths on the host.
pub type Numbers = BTreeMap<String, (i64, i64)>;

/// Takes all limits away but those that a process sets for itself, for a container that is to have no cgroup; says so if there were
/// any. `parent` is the cgroup that others have theirs in if nothing is said.
pub fn do_without(limits: &mut Limits, parent: &str) -> Option<String> {
    let asked = std::mem::take(limits);
    limits.ulimits.clone_from(&asked.ulimits);
    let none = Limits {
        cgroup_parent: parent.to_owned(),
        oom_kill_disable: asked.oom_kill_disable.filter(|disable| !disable),
        pids_limit: asked.pids_limit.filter(|limit| *limit <= 0),
        ulimits: asked.ulimits.clone(),
        ..Limits::default()
    };
    (asked != none).then(|| {
        "Resource limits and cgroups need root, or a delegated cgroup v2, and are ignored."
            .to_owned()
    })
}

/// Takes one controller's limits away.
type Discard = fn(&mut Limits);

/// The controllers of v2, and how to do without each.
const CONTROLLERS: [(&str, Discard); 5] = [
    ("memory", |of| (of.memory, of.memory_swap, of.memory_reservation) = (0, 0, 0)),
    ("cpu", |of| (of.nano_cpus, of.cpu_shares, of.cpu_period, of.cpu_quota) = (0, 0, 0, 0)),
    ("cpuset", |of| {
        of.cpuset_cpus.clear();
        of.cpuset_mems.clear();
    }),
    ("pids", |of| of.pids_limit = of.pids_limit.filter(|limit| *limit <= 0)),
    ("io", |of| {
        of.blkio_weight = 0;
        of.blkio_weight_device.clear();
        of.blkio_device_read_bps.clear();
        of.blkio_device_write_bps.clear();
        of.blkio_device_read_iops.clear();
        of.blkio_device_write_iops.clear();
    }),
];

/// Takes the limits away whose controllers a user does not have, and names these.
fn discard_undelegated(limits: &mut Limits, controllers: &[String]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, discard) in CONTROLLERS {
        let mut left = limits.clone();
        discard(&mut left);
        if left != *limits && !controllers.iter().any(|known| known == name) {
            *limits = left;
            warnings.push(format!(
                "The cgroup controller `{name}` is not delegated to you: limits of it are ignored."
            ));
        }
    }
    warnings
}

/// Refuses limits that contradict each other or the host, in Docker's words, and takes away what this host cannot limit:
/// each time with a warning.
pub fn adapt(limits: &mut Limits, host: &HostFacts) -> Result<Vec<String>> {
    let undelegated = match &host.delegation {
        Some(own) => discard_undelegated(limits, &own.controllers),
        None => Vec::new(),
    };
    consistent(limits, host)?;
    let mut warnings = Vec::new();
    discard_memory(limits, host, &mut warnings);
    discard_cpu(limits, host, &mut warnings)?;
    discard_io(limits, host, &mut warnings);
    if limits.pids_limit.is_some_and(|limit| limit > 0) && !host.cgroups.pids {
        limits.pids_limit = None;
        warnings.push("Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.".to_owned());
    }
    warnings.extend(undelegated);
    Ok(warnings)
}

fn consistent(limits: &Limits, host: &HostFacts) -> Result<()> {
    let refuse = |message: &str| Err(Error::Usage(message.to_owned()));
    let Limits { memory, memory_swap, memory_reservation, nano_cpus, .. } = *limits;
    if memory > 0 && memory_swap > 0 && memory_swap < memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if memory == 0 && memory_swap > 0 {
        return refuse(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        );
    }
    if memory > 0 && memory_reservation > memory {
        return refuse(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        );
    }
    if nano_cpus > 0 && limits.cpu_period > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    if nano_cpus > 0 && limits.cpu_quota > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    let count = host.cpu_count();
    if nano_cpus > count * 1_000_000_000 {
        let plural = if count == 1 { "is only 1 CPU" } else { &format!("are only {count} CPUs") };
        return Err(Error::Usage(format!(
            "Range of CPUs is from 0.01 to {count}.00, as there {plural} available"
        )));
    }
    if limits.cpu_realtime_runtime > 0
        && limits.cpu_realtime_period > 0
        && limits.cpu_realtime_runtime > limits.cpu_realtime_period
    {
        return refuse("cpu real-time runtime cannot be higher than cpu real-time period");
    }
    within(&limits.cpuset_cpus, &host.cpus, "CPUs")?;
    within(&limits.cpuset_mems, &host.memory_nodes, "memory nodes")
}

/// Whether a list names nothing but what is online.
fn within(asked: &str, online: &str, what: &str) -> Result<()> {
    let (Some(ranges), Some(online_ranges)) = (CpuSet::ranges(asked), CpuSet::ranges(online))
    else {
        return Ok(());
    };
    let known =
        |number: u16| online_ranges.iter().any(|(first, last)| (*first..=*last).contains(&number));
    if ranges.iter().all(|(first, last)| (*first..=*last).all(known)) {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "Requested {what} are not available - requested {asked}, available: {online}"
    )))
}

fn discard_memory(limits: &mut Limits, host: &HostFacts, warnings: &mut Vec<String>) {
    let can = &host.cgroups;
    if limits.memory > 0 && !can.memory {
        warnings.push("Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.".to_owned());
        (limits.memory, limits.memory_swap, limits.memory_reservation) = (0, 0, 0);
    }
    if limits.memory > 0 && limits.memory_swap != -1 && !can.swap {
        warnings.push("Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.".to_owned());
        limits.memory_swap = -1;
    }
    if limits.memory_swappiness.is_some_and(|value| value >= 0) && !can.swappiness {
        warnings.push("Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.".to_owned());
        limits.memory_swappiness = None;
    }
    if limits.oom_kill_disable == Some(true) && !can.oom_control {
        warnings.push(
            "Your kernel does not support OomKillDisable. OomKillDisable discarded.".to_owned(),
        );
        limits.oom_kill_disable = None;
    }
    if limits.oom_kill_disable == Some(true) && limits.memory == 0 {
        warnings.push("OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.".to_owned());
    }
}

fn discard_cpu(limits: &mut Limits, host: &HostFacts, warnings: &mut Vec<String>) -> Result<()> {
    let can = &host.cgroups;
    if limits.nano_cpus > 0 && !can.cpu {
        return Err(Error::Usage("NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted".to_owned()));
    }
    if (limits.cpu_realtime_period > 0 || limits.cpu_realtime_runtime > 0) && !can.realtime {
        return Err(Error::Usage(
            "Your kernel does not support CPU real-time scheduler".to_owned(),
        ));
    }
    if limits.cpu_shares > 0 && !can.cpu {
        warnings.push("Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.".to_owned());
        limits.cpu_shares = 0;
    }
    if (limits.cpu_period != 0 || limits.cpu_quota != 0) && !can.cpu {
        warnings.push(
            "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded."
                .to_owned(),
        );
        (limits.cpu_period, limits.cpu_quota) = (0, 0);
    }
    let some_set = !limits.cpuset_cpus.is_empty() || !limits.cpuset_mems.is_empty();
    if some_set && !can.cpuset {
        warnings.push(
            "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded."
                .to_owned(),
        );
        limits.cpuset_cpus.clear();
        limits.cpuset_mems.clear();
    }
    Ok(())
}

fn discard_io(limits: &mut Limits, host: &HostFacts, warnings: &mut Vec<String>) {
    let can = &host.cgroups;
    if limits.blkio_weight > 0 && !can.io_weight {
        warnings.push("Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.".to_owned());
        limits.blkio_weight = 0;
    }
    if !limits.blkio_weight_device.is_empty() && !can.io_weight {
        warnings.push("Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.".to_owned());
        limits.blkio_weight_device.clear();
    }
    for (rates, name) in [
        (&mut limits.blkio_device_read_bps, "BPS Block I/O read"),
        (&mut limits.blkio_device_write_bps, "BPS Block I/O write"),
        (&mut limits.blkio_device_read_iops, "IOPS Block read"),
        (&mut limits.blkio_device_write_iops, "IOPS Block write"),
    ] {
        if !rates.is_empty() && !can.io_rate {
            warnings.push(format!("Your kernel does not support {name} limit or the cgroup is not mounted. Limit discarded."));
            rates.clear();
        }
    }
}

/// The cgroup's values, devices left out. What has no limit is left to the kernel, unless `replace` says that a limit may
/// be there already.
pub fn plan(limits: &Limits, numbers: &Numbers, host: &HostFacts, replace: bool) -> LinuxResources {
    let mut resources = LinuxResources::default();
    resources
        .set_memory(Some(memory(limits, host)).filter(|memory| *memory != LinuxMemory::default()));
    resources.set_cpu(Some(cpu(limits)).filter(|cpu| *cpu != LinuxCpu::default()));
    let pids = match limits.pids_limit {
        Some(limit @ 1..) => Some(limit),
        Some(_) if replace => Some(-1),
        _ => None,
    };
    resources
        .set_pids(pids.and_then(|limit| LinuxPidsBuilder::default().limit(limit).build().ok()));
    let io = block_io(limits, numbers);
    resources.set_block_io(Some(io).filter(|io| *io != LinuxBlockIo::default()));
    resources
}

fn memory(limits: &Limits, host: &HostFacts) -> LinuxMemory {
    let positive = |value: i64| Some(value).filter(|value| *value > 0);
    let mut memory = LinuxMemory::default();
    memory.set_limit(positive(limits.memory));
    memory.set_reservation(positive(limits.memory_reservation));
    if host.cgroups.swap {
        memory.set_swap(match limits.memory_swap {
            // As Docker: as much swap as memory, unless it is said otherwise.
            0 => positive(limits.memory).map(|memory| memory.saturating_mul(2)),
            swap => Some(swap),
        });
    }
    let swappiness = limits.memory_swappiness.and_then(|value| u64::try_from(value).ok());
    memory.set_swappiness(swappiness);
    memory.set_disable_oom_killer(limits.oom_kill_disable.filter(|disable| *disable));
    memory
}

fn cpu(limits: &Limits) -> LinuxCpu {
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(positive(limits.cpu_shares));
    cpu.set_cpus(text(&limits.cpuset_cpus));
    cpu.set_mems(text(&limits.cpuset_mems));
    cpu.set_period(positive(limits.cpu_period));
    cpu.set_quota(Some(limits.cpu_quota).filter(|quota| *quota != 0));
    if limits.nano_cpus > 0 {
        cpu.set_period(positive(CPU_PERIOD));
        // Billionths of a CPU, times the period, in microseconds.
        cpu.set_quota(Some(limits.nano_cpus / (1_000_000_000 / CPU_PERIOD)));
    }
    cpu.set_realtime_period(positive(limits.cpu_realtime_period));
    cpu.set_realtime_runtime(Some(limits.cpu_realtime_runtime).filter(|runtime| *runtime > 0));
    cpu
}

fn block_io(limits: &Limits, numbers: &Numbers) -> LinuxBlockIo {
    let number = |path: &String| numbers.get(path).copied().unwrap_or_default();
    let weight = |device: &crate::container::DeviceWeight| -> Option<LinuxWeightDevice> {
        let (major, minor) = number(&device.path);
        LinuxWeightDeviceBuilder::default()
            .major(major)
            .minor(minor)
            .weight(device.weight)
            .build()
            .ok()
    };
    let rates = |rates: &[DeviceRate]| -> Option<Vec<LinuxThrottleDevice>> {
        let rate = |device: &DeviceRate| {
            let (major, minor) = number(&device.path);
            LinuxThrottleDeviceBuilder::default()
                .major(major)
                .minor(minor)
                .rate(device.rate)
                .build()
                .ok()
        };
        Some(rates.iter().filter_map(rate).collect()).filter(|list: &Vec<_>| !list.is_empty())
    };
    let mut io = LinuxBlockIo::default();
    io.set_weight(Some(limits.blkio_weight).filter(|weight| *weight > 0));
    let weights: Vec<_> = limits.blkio_weight_device.iter().filter_map(weight).collect();
    io.set_weight_device(Some(weights).filter(|list| !list.is_empty()));
    io.set_throttle_read_bps_device(rates(&limits.blkio_device_read_bps));
    io.set_throttle_write_bps_device(rates(&limits.blkio_device_write_bps));
    io.set_throttle_read_iops_device(rates(&limits.blkio_device_read_iops));
    io.set_throttle_write_iops_device(rates(&limits.blkio_device_write_iops));
    io
}

/// Looks up the numbers of the devices that limits name.
pub fn numbers(limits: &Limits) -> Result<Numbers> {
    let mut numbers = Numbers::new();
    let rates = [
        &limits.blkio_device_read_bps,
        &limits.blkio_device_write_bps,
        &limits.blkio_device_read_iops,
        &limits.blkio_device_write_iops,
    ];
    let weights = limits.blkio_weight_device.iter().map(|device| &device.path);
    for path in rates.into_iter().flatten().map(|device| &device.path).chain(weights) {
        let stat = rustix::fs::stat(path).map_err(Error::io("find", path.as_ref()))?;
        let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        numbers.insert(path.clone(), (major.into(), minor.into()));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::host::CgroupFacts;
    use crate::bundle::tests::host;
    use crate::container::Ulimit;

    fn refused(mut limits: Limits) -> String {
        adapt(&mut limits, &host()).unwrap_err().to_string()
    }

    #[test]
    fn limits_that_contradict_each_other_are_refused_in_dockers_words() {
        let none = Limits::default;
        for (limits, why) in [
            (
                Limits { memory: 9 << 20, memory_swap: 1 << 20, ..none() },
                "Minimum memoryswap limit should be larger than memory limit",
            ),
            (Limits { memory_swap: 9 << 20, ..none() }, "You should always set the Memory limit"),
            (
                Limits { memory: 9 << 20, memory_reservation: 10 << 20, ..none() },
                "can not be less than memory reservation",
            ),
            (Limits { nano_cpus: 1, cpu_period: 1, ..none() }, "Nano CPUs and CPU Period"),
            (Limits { nano_cpus: 1, cpu_quota: 1, ..none() }, "Nano CPUs and CPU Quota"),
            (
                Limits { nano_cpus: 5_000_000_000, ..none() },
                "Range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available",
            ),
            (
                Limits { cpuset_cpus: "0-4".into(), ..none() },
                "Requested CPUs are not available - requested 0-4, available: 0-3",
            ),
            (
                Limits { cpuset_mems: "1".into(), ..none() },
                "Requested memory nodes are not available",
            ),
            (
                Limits { cpu_realtime_period: 1, cpu_realtime_runtime: 2, ..none() },
                "cannot be higher",
            ),
        ] {
            assert!(refused(limits).contains(why), "{why}");
        }
    }

    #[test]
    fn without_a_cgroup_only_the_limits_of_processes_stay() {
        let own = Limits {
            cgroup_parent: "/nman".into(),
            oom_kill_disable: Some(false),
            ulimits: vec![Ulimit { name: "nofile".into(), hard: 5, soft: 5 }],
            ..Limits::default()
        };
        let left = Limits { ulimits: own.ulimits.clone(), ..Limits::default() };
        let mut limits = own.clone();
        assert_eq!(do_without(&mut limits, "/nman"), None, "nothing was asked for");
        assert_eq!(limits, left);
        for asked in [
            Limits { memory: 9 << 20, ..own.clone() },
            Limits { cgroup_parent: "/mine".into(), ..own.clone() },
            Limits { pids_limit: Some(5), ..own.clone() },
            Limits { oom_kill_disable: Some(true), ..own },
        ] {
            let mut limits = asked;
            assert!(do_without(&mut limits, "/nman").is_some());
            assert_eq!(limits, left);
        }
    }

    #[test]
    fn limits_of_controllers_that_are_not_delegated_are_named_and_left_out() {
        let asked = Limits {
            memory: 9 << 20,
            memory_swap: 18 << 20,
            nano_cpus: 1,
            cpuset_cpus: "0".into(),
            pids_limit: Some(5),
            blkio_device_read_bps: vec![DeviceRate { path: "/dev/x".into(), rate: 1 }],
            ..Limits::default()
        };
        let with = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let mut limits = asked.clone();
            let warnings = discard_undelegated(&mut limits, &names);
            (limits, warnings)
        };
        let (limits, warnings) = with(&["cpu", "memory", "pids"]);
        assert_eq!(limits.memory, asked.memory);
        assert_eq!((limits.nano_cpus, limits.pids_limit), (1, Some(5)));
        assert!(limits.cpuset_cpus.is_empty() && limits.blkio_device_read_bps.is_empty());
        let named = |name: &str| warnings.iter().any(|text| text.contains(&format!("`{name}`")));
        assert!(warnings.len() == 2 && named("cpuset") && named("io"), "{warnings:?}");
        assert_eq!(with(&["cpu", "cpuset", "io", "memory", "pids"]), (asked.clone(), Vec::new()));
        let (limits, warnings) = with(&[]);
        assert_eq!((limits, warnings.len()), (Limits::default(), 5));
    }

    #[test]
    fn what_the_host_cannot_limit_is_named_and_left_out() {
        let mut limits = Limits {
            memory: 9 << 20,
            memory_swappiness: Some(5),
            oom_kill_disable: Some(true),
            cpu_shares: 5,
            cpuset_cpus: "0".into(),
            pids_limit: Some(5),
            blkio_weight: 500,
            blkio_device_read_bps: vec![DeviceRate { path: "/dev/x".into(), rate: 1 }],
            ..Limits::default()
        };
        let poor = HostFacts { cgroups: CgroupFacts::default(), ..host() };
        let warnings = adapt(&mut limits, &poor).unwrap();
        assert_eq!(limits, Limits::default());
        assert_eq!(warnings.len(), 8, "{warnings:#?}");
        let error = adapt(&mut Limits { nano_cpus: 1, ..Limits::default() }, &poor).unwrap_err();
        assert!(error.to_string().starts_with("NanoCPUs can not be set"));
    }

    #[test]
    fn swap_is_as_much_as_memory_unless_it_is_said_otherwise() {
        let swap = |memory, memory_swap| {
            let limits = Limits { memory, memory_swap, ..Limits::default() };
            plan(&limits, &Numbers::new(), &host(), false).memory().unwrap_or_default().swap()
        };
        assert_eq!(swap(9 << 20, 0), Some(18 << 20));
        assert_eq!(swap(9 << 20, 10 << 20), Some(10 << 20));
        assert_eq!(swap(9 << 20, -1), Some(-1));
        assert_eq!(swap(0, 0), None);
    }

    #[test]
    fn a_limit_of_processes_can_be_taken_away_again() {
        let limits = Limits { pids_limit: Some(-1), ..Limits::default() };
        let planned = |replace| {
            plan(&limits, &Numbers::new(), &host(), replace)
                .pids()
                .as_ref()
                .map(|pids| pids.limit())
        };
        assert_eq!(planned(false), None);
        assert_eq!(planned(true), Some(-1));
    }
}
