//! What a container uses: read from its cgroups, in the form of `runc events`.
//!
//! A controller is read where the container has it, on v1 or on v2, and what v2 calls otherwise is converted as runc converts it.
//! What a kernel does not count is zero or left out. Names and which zeros are left out are those of runc's `types/events.go`.

mod v1;
mod v2;

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use rustix::io::Errno;
use serde::Serialize;

use super::{Cgroup, Error, files};
use crate::intel_rdt;

/// What a container uses.
#[derive(Debug, Default, Serialize)]
pub struct Stats {
    cpu: Cpu,
    cpuset: CpuSet,
    memory: Memory,
    pids: Pids,
    blkio: BlockIo,
    /// By the size of pages, such as `2MB`.
    hugetlb: BTreeMap<String, HugePages>,
    intel_rdt: intel_rdt::Stats,
    /// runc counts the interfaces that it made itself, which it has not done for any since long.
    network_interfaces: Option<()>,
}

/// Nanoseconds of CPU time.
#[derive(Debug, Default, Serialize)]
struct CpuUsage {
    #[serde(skip_serializing_if = "is_zero")]
    total: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_kernel: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_user: Vec<u64>,
    kernel: u64,
    user: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Throttling {
    #[serde(skip_serializing_if = "is_zero")]
    periods: u64,
    #[serde(skip_serializing_if = "is_zero")]
    throttled_periods: u64,
    /// In nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    throttled_time: u64,
}

#[derive(Debug, Default, Serialize)]
struct Cpu {
    usage: CpuUsage,
    throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

#[derive(Debug, Default, Serialize)]
struct CpuSet {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cpus: Vec<u16>,
    cpu_exclusive: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mems: Vec<u16>,
    mem_hardwall: u64,
    mem_exclusive: u64,
    memory_migrate: u64,
    memory_spread_page: u64,
    memory_spread_slab: u64,
    memory_pressure: u64,
    sched_load_balance: u64,
    sched_relax_domain_level: i64,
}

/// Bytes; a limit of 2^64-1 is none.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Usage {
    limit: u64,
    #[serde(skip_serializing_if = "is_zero")]
    usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    max: u64,
    failcnt: u64,
}

#[derive(Debug, Default, Serialize)]
struct Memory {
    #[serde(skip_serializing_if = "is_zero")]
    cache: u64,
    usage: Usage,
    /// Of memory and swap together.
    swap: Usage,
    kernel: Usage,
    #[serde(rename = "kernelTCP")]
    kernel_tcp: Usage,
    /// `memory.stat`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

#[derive(Debug, Default, Serialize)]
struct Pids {
    #[serde(skip_serializing_if = "is_zero")]
    current: u64,
    /// 0 is none.
    #[serde(skip_serializing_if = "is_zero")]
    limit: u64,
}

/// One number about a block device.
#[derive(Debug, Eq, PartialEq, Serialize)]
struct Entry {
    #[serde(skip_serializing_if = "is_zero")]
    major: u64,
    #[serde(skip_serializing_if = "is_zero")]
    minor: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    op: String,
    #[serde(skip_serializing_if = "is_zero")]
    value: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct BlockIo {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_service_bytes_recursive: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_serviced_recursive: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_queue_recursive: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_service_time_recursive: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_wait_time_recursive: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_merged_recursive: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_time_recursive: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sectors_recursive: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

#[derive(Debug, Default, Serialize)]
struct HugePages {
    #[serde(skip_serializing_if = "is_zero")]
    usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    max: u64,
    failcnt: u64,
}

/// How long processes had to wait for a resource: percentages of time, and microseconds in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Waits {
    avg10: f64,
    avg60: f64,
    avg300: f64,
    total: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Pressure {
    some: Waits,
    full: Waits,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Stats {
    /// The same, with what the container has of caches and memory bandwidth.
    #[must_use]
    pub fn with_class(self, intel_rdt: intel_rdt::Stats) -> Stats {
        Stats { intel_rdt, ..self }
    }
}

impl Cgroup {
    /// What the container's processes use, and have used.
    ///
    /// # Errors
    /// When a file cannot be read or is not what it should be; `ENODEV` or `ENOENT` when the cgroup is gone.
    pub fn stats(&self) -> Result<Stats, Error> {
        let mut stats = Stats::default();
        let unified = self.paths.unified();
        if let Some(directory) = self.paths.controller("cpuacct") {
            stats.cpu.usage = v1::cpu_usage(directory)?;
        }
        match (self.paths.controller("cpu"), unified) {
            (Some(directory), _) => stats.cpu.throttling = v1::throttling(directory)?,
            (None, Some(directory)) => stats.cpu = v2::cpu(directory)?,
            (None, None) => {}
        }
        if let Some(directory) = self.paths.controller("cpuset") {
            stats.cpuset = v1::cpuset(directory)?;
        }
        match (self.paths.controller("memory"), unified) {
            (Some(directory), _) => stats.memory = v1::memory(directory)?,
            (None, Some(directory)) => stats.memory = v2::memory(directory)?,
            (None, None) => {}
        }
        match (self.paths.controller("pids"), unified) {
            (Some(directory), _) => stats.pids = pids(directory)?.unwrap_or_default(),
            (None, Some(directory)) => stats.pids = v2::pids(directory)?,
            (None, None) => {}
        }
        match (self.paths.controller("blkio"), unified) {
            (Some(directory), _) => stats.blkio = v1::block_io(directory)?,
            (None, Some(directory)) => stats.blkio = v2::block_io(directory)?,
            (None, None) => {}
        }
        for size in page_sizes() {
            let found = match (self.paths.controller("hugetlb"), unified) {
                (Some(directory), _) => v1::huge_pages(directory, &size)?,
                (None, Some(directory)) => v2::huge_pages(directory, &size)?,
                (None, None) => None,
            };
            stats.hugetlb.extend(found.map(|pages| (size, pages)));
        }
        Ok(stats)
    }
}

/// Same names on v1 and v2. `None` without the controller.
fn pids(directory: &Path) -> Result<Option<Pids>, Error> {
    let Some(current) = number(directory, "pids.current")? else { return Ok(None) };
    let limit = number(directory, "pids.max")?.filter(|limit| *limit != u64::MAX);
    Ok(Some(Pids { current, limit: limit.unwrap_or(0) }))
}

/// The sizes of huge pages that the kernel has, as the controller's files name them.
fn page_sizes() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    let size = |name: &str| {
        let kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        Some(match kib {
            1048576.. => format!("{}GB", kib >> 20),
            1024.. => format!("{}MB", kib >> 10),
            _ => format!("{kib}KB"),
        })
    };
    entries.filter_map(|entry| size(entry.file_name().to_str()?)).collect()
}

/// The text of a file; `None` when there is none, or the kernel was told not to keep it.
fn text(directory: &Path, file: &str) -> Result<Option<String>, Error> {
    match files::read_all(directory, file) {
        Ok(text) => Ok(Some(text)),
        Err(Errno::NOENT | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(unreadable(directory, file, errno)),
    }
}

/// A file with one number; `max` is the largest.
fn number(directory: &Path, file: &str) -> Result<Option<u64>, Error> {
    let Some(text) = text(directory, file)? else { return Ok(None) };
    match text.trim() {
        "max" => Ok(Some(u64::MAX)),
        text => parse(text, directory, file).map(Some),
    }
}

/// A file of lines with a name and a number.
fn table(directory: &Path, file: &str) -> Result<BTreeMap<String, u64>, Error> {
    let mut table = BTreeMap::new();
    for line in text(directory, file)?.unwrap_or_default().lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(value)) = (words.next(), words.next()) {
            table.insert(name.to_owned(), parse(value, directory, file)?);
        }
    }
    Ok(table)
}

fn parse<T: FromStr>(text: &str, directory: &Path, file: &str) -> Result<T, Error> {
    text.parse().map_err(|_| unreadable(directory, file, Errno::BADMSG))
}

fn unreadable(directory: &Path, file: &str, errno: Errno) -> Error {
    Error::system(format!("read `{}/{file}`", directory.display()), errno)
}
