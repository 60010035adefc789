//! Options about limits.

use crate::cgroup::DEFAULT_PARENT;
use crate::cli::limits::{
    blkio_weight, cpu_period, cpu_quota, device_bytes, device_operations, device_weight, oom_score,
    swappiness,
};
use crate::cli::{CpuSet, Cpus, Memory, MemorySwap, number};
use crate::container::{DeviceRate, DeviceWeight, Limits, Ulimit};
use clap::Args;

/// What the container may use up.
#[derive(Clone, Debug, Default, Args)]
pub struct ResourceArgs {
    /// Limits that can be changed later.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// How gladly its memory is swapped, from 0 to 100
    #[arg(long, value_name = "NUMBER", value_parser = swappiness, allow_negative_numbers = true)]
    pub memory_swappiness: Option<i64>,
    /// Do not kill it when its memory is used up
    #[arg(long)]
    pub oom_kill_disable: bool,
    /// How soon it is killed when the host's memory is short, from -1000 to 1000
    #[arg(long, value_name = "NUMBER", value_parser = oom_score, allow_negative_numbers = true)]
    pub oom_score_adj: Option<i32>,
    /// Weight of its block input and output on one device
    #[arg(long, value_name = "DEVICE:WEIGHT", value_parser = device_weight)]
    pub blkio_weight_device: Vec<DeviceWeight>,
    /// Limit reading from a device, such as /dev/sda:1mb a second
    #[arg(long, value_name = "DEVICE:SIZE", value_parser = device_bytes)]
    pub device_read_bps: Vec<DeviceRate>,
    /// Limit writing to a device, such as /dev/sda:1mb a second
    #[arg(long, value_name = "DEVICE:SIZE", value_parser = device_bytes)]
    pub device_write_bps: Vec<DeviceRate>,
    /// Limit operations of reading from a device, such as /dev/sda:1000 a second
    #[arg(long, value_name = "DEVICE:NUMBER", value_parser = device_operations)]
    pub device_read_iops: Vec<DeviceRate>,
    /// Limit operations of writing to a device, such as /dev/sda:1000 a second
    #[arg(long, value_name = "DEVICE:NUMBER", value_parser = device_operations)]
    pub device_write_iops: Vec<DeviceRate>,
    /// Set a limit of its processes, such as nofile=1024:2048
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub ulimit: Vec<Ulimit>,
    /// Cgroup below which the container gets its own; without root, a slice of the user's systemd
    #[arg(long, value_name = "PATH", value_parser = cgroup_parent, default_value = DEFAULT_PARENT)]
    pub cgroup_parent: String,
}

/// The limits that `nman update` changes.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub struct LimitArgs {
    /// Limit memory, such as 512m
    #[arg(short, long, alias = "mem", value_name = "SIZE")]
    pub memory: Option<Memory>,
    /// Limit memory and swap together; -1 for no limit [default: twice the memory]
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true)]
    pub memory_swap: Option<MemorySwap>,
    /// Memory that the container is left when the host's is short
    #[arg(long, value_name = "SIZE")]
    pub memory_reservation: Option<Memory>,
    /// Limit CPU time to this number of CPUs, such as 1.5
    #[arg(long, alias = "cpu", value_name = "NUMBER")]
    pub cpus: Option<Cpus>,
    /// Weight of its CPU time where CPUs are short
    #[arg(short = 'c', long, value_name = "NUMBER", value_parser = number::from::<i64>(0))]
    pub cpu_shares: Option<i64>,
    /// Period of the scheduler in microseconds
    #[arg(long, value_name = "MICROSECONDS", value_parser = cpu_period)]
    pub cpu_period: Option<i64>,
    /// CPU time in each period in microseconds
    #[arg(long, value_name = "MICROSECONDS", value_parser = cpu_quota, allow_negative_numbers = true)]
    pub cpu_quota: Option<i64>,
    /// Period of the realtime scheduler in microseconds
    #[arg(long, value_name = "MICROSECONDS", value_parser = number::from::<i64>(0))]
    pub cpu_rt_period: Option<i64>,
    /// Realtime CPU time in each period in microseconds
    #[arg(long, value_name = "MICROSECONDS", value_parser = number::from::<i64>(0))]
    pub cpu_rt_runtime: Option<i64>,
    /// Run on these CPUs only, such as 0-1
    #[arg(long, alias = "cpuset", value_name = "LIST")]
    pub cpuset_cpus: Option<CpuSet>,
    /// Take memory from these nodes only, such as 0-1
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<CpuSet>,
    /// Limit the number of processes; -1 for no limit
    #[arg(long, value_name = "NUMBER", value_parser = number::from::<i64>(-1), allow_negative_numbers = true)]
    pub pids_limit: Option<i64>,
    /// Weight of its block input and output, from 10 to 1000
    #[arg(long, value_name = "WEIGHT", value_parser = blkio_weight)]
    pub blkio_weight: Option<u16>,
}

impl LimitArgs {
    /// Puts in the limits that were given; the others stay.
    pub fn apply(&self, limits: &mut Limits) {
        let set = |limit: &mut i64, given: Option<i64>| {
            if let Some(given) = given {
                *limit = given;
            }
        };
        set(&mut limits.memory, self.memory.map(|memory| memory.0));
        set(&mut limits.memory_swap, self.memory_swap.map(|memory| memory.0));
        set(&mut limits.memory_reservation, self.memory_reservation.map(|memory| memory.0));
        set(&mut limits.nano_cpus, self.cpus.map(|cpus| cpus.0));
        set(&mut limits.cpu_shares, self.cpu_shares);
        set(&mut limits.cpu_period, self.cpu_period);
        set(&mut limits.cpu_quota, self.cpu_quota);
        set(&mut limits.cpu_realtime_period, self.cpu_rt_period);
        set(&mut limits.cpu_realtime_runtime, self.cpu_rt_runtime);
        if let Some(set) = &self.cpuset_cpus {
            set.0.clone_into(&mut limits.cpuset_cpus);
        }
        if let Some(set) = &self.cpuset_mems {
            set.0.clone_into(&mut limits.cpuset_mems);
        }
        limits.pids_limit = self.pids_limit.or(limits.pids_limit);
        limits.blkio_weight = self.blkio_weight.unwrap_or(limits.blkio_weight);
    }
}

/// A path below the root of the cgroup tree, which nothing can lead out of (class F of the known attacks), or a slice (systemd.slice(5)).
pub(crate) fn cgroup_parent(text: &str) -> Result<String, String> {
    let good = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
    };
    let is_slice = |stem: &str| good(stem) && stem.split('-').all(|part| !part.is_empty());
    match (text.strip_prefix('/'), text.strip_suffix(".slice")) {
        (Some(rest), _) if rest.split('/').all(good) => Ok(text.to_owned()),
        (None, Some(stem)) if is_slice(stem) => Ok(text.to_owned()),
        _ => Err(
            "a cgroup is an absolute path of plain names, or NAME.slice for a systemd of your own"
                .to_owned(),
        ),
    }
}
