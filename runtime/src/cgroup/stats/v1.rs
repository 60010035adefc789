//! The files of cgroup v1.

use std::path::Path;

use super::{
    BlockIo, CpuSet, CpuUsage, Entry, Error, HugePages, Memory, Throttling, Usage, number, parse,
    table, text, unreadable,
};
use rustix::io::Errno;

/// `cpuacct.stat` counts in USER_HZ, which is 100 for every program that can see it.
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

pub(super) fn cpu_usage(directory: &Path) -> Result<CpuUsage, Error> {
    let ticks = table(directory, "cpuacct.stat")?;
    let time = |name| ticks.get(name).copied().unwrap_or(0).saturating_mul(NANOSECONDS_PER_TICK);
    let mut usage = CpuUsage {
        total: number(directory, "cpuacct.usage")?.unwrap_or(0),
        kernel: time("system"),
        user: time("user"),
        ..CpuUsage::default()
    };
    let each = text(directory, "cpuacct.usage_percpu")?.unwrap_or_default();
    for word in each.split_whitespace() {
        usage.percpu.push(parse(word, directory, "cpuacct.usage_percpu")?);
    }
    let file = "cpuacct.usage_all";
    // The first line is `cpu user system`.
    for line in text(directory, file)?.unwrap_or_default().lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [_, user, kernel, ..] = words[..] {
            usage.percpu_user.push(parse(user, directory, file)?);
            usage.percpu_kernel.push(parse(kernel, directory, file)?);
        }
    }
    Ok(usage)
}

pub(super) fn throttling(directory: &Path) -> Result<Throttling, Error> {
    let stat = table(directory, "cpu.stat")?;
    let value = |name| stat.get(name).copied().unwrap_or(0);
    Ok(Throttling {
        periods: value("nr_periods"),
        throttled_periods: value("nr_throttled"),
        throttled_time: value("throttled_time"),
    })
}

pub(super) fn cpuset(directory: &Path) -> Result<CpuSet, Error> {
    let value = |file| Ok::<u64, Error>(number(directory, file)?.unwrap_or(0));
    let level = text(directory, "cpuset.sched_relax_domain_level")?;
    Ok(CpuSet {
        cpus: list(directory, "cpuset.cpus")?,
        cpu_exclusive: value("cpuset.cpu_exclusive")?,
        mems: list(directory, "cpuset.mems")?,
        mem_hardwall: value("cpuset.mem_hardwall")?,
        mem_exclusive: value("cpuset.mem_exclusive")?,
        memory_migrate: value("cpuset.memory_migrate")?,
        memory_spread_page: value("cpuset.memory_spread_page")?,
        memory_spread_slab: value("cpuset.memory_spread_slab")?,
        memory_pressure: value("cpuset.memory_pressure")?,
        sched_load_balance: value("cpuset.sched_load_balance")?,
        sched_relax_domain_level: level.and_then(|level| level.trim().parse().ok()).unwrap_or(0),
    })
}

/// Numbers and ranges, as in `0-2,5`.
fn list(directory: &Path, file: &str) -> Result<Vec<u16>, Error> {
    let mut found = Vec::new();
    for range in text(directory, file)?.unwrap_or_default().trim().split(',') {
        if range.is_empty() {
            continue;
        }
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u16, u16) =
            (parse(first, directory, file)?, parse(last, directory, file)?);
        found.extend(first..=last);
    }
    Ok(found)
}

pub(super) fn memory(directory: &Path) -> Result<Memory, Error> {
    let raw = table(directory, "memory.stat")?;
    Ok(Memory {
        cache: raw.get("cache").copied().unwrap_or(0),
        usage: usage(directory, "memory")?,
        swap: usage(directory, "memory.memsw")?,
        kernel: usage(directory, "memory.kmem")?,
        kernel_tcp: usage(directory, "memory.kmem.tcp")?,
        raw,
        psi: None,
    })
}

fn usage(directory: &Path, of: &str) -> Result<Usage, Error> {
    let value = |what| Ok::<u64, Error>(number(directory, &format!("{of}.{what}"))?.unwrap_or(0));
    Ok(Usage {
        limit: value("limit_in_bytes")?,
        usage: value("usage_in_bytes")?,
        max: value("max_usage_in_bytes")?,
        failcnt: value("failcnt")?,
    })
}

/// A file, and where its lines go.
type Source = (&'static str, fn(&mut BlockIo) -> &mut Vec<Entry>);

/// Who counts depends on the scheduler that the kernel has: BFQ, with details or without, CFQ, or only the throttling of devices. The
/// first that has counted anything is taken.
const SOURCES: [&[Source]; 5] = [
    &[
        ("blkio.bfq.sectors_recursive", |io| &mut io.sectors_recursive),
        ("blkio.bfq.io_service_time_recursive", |io| &mut io.io_service_time_recursive),
        ("blkio.bfq.io_wait_time_recursive", |io| &mut io.io_wait_time_recursive),
        ("blkio.bfq.io_merged_recursive", |io| &mut io.io_merged_recursive),
        ("blkio.bfq.io_queued_recursive", |io| &mut io.io_queue_recursive),
        ("blkio.bfq.time_recursive", |io| &mut io.io_time_recursive),
        ("blkio.bfq.io_serviced_recursive", |io| &mut io.io_serviced_recursive),
        ("blkio.bfq.io_service_bytes_recursive", |io| &mut io.io_service_bytes_recursive),
    ],
    &[
        ("blkio.bfq.io_serviced_recursive", |io| &mut io.io_serviced_recursive),
        ("blkio.bfq.io_service_bytes_recursive", |io| &mut io.io_service_bytes_recursive),
    ],
    &[
        ("blkio.sectors_recursive", |io| &mut io.sectors_recursive),
        ("blkio.io_service_time_recursive", |io| &mut io.io_service_time_recursive),
        ("blkio.io_wait_time_recursive", |io| &mut io.io_wait_time_recursive),
        ("blkio.io_merged_recursive", |io| &mut io.io_merged_recursive),
        ("blkio.io_queued_recursive", |io| &mut io.io_queue_recursive),
        ("blkio.time_recursive", |io| &mut io.io_time_recursive),
        ("blkio.io_serviced_recursive", |io| &mut io.io_serviced_recursive),
        ("blkio.io_service_bytes_recursive", |io| &mut io.io_service_bytes_recursive),
    ],
    &[
        ("blkio.throttle.io_serviced_recursive", |io| &mut io.io_serviced_recursive),
        ("blkio.throttle.io_service_bytes_recursive", |io| &mut io.io_service_bytes_recursive),
    ],
    &[
        ("blkio.throttle.io_serviced", |io| &mut io.io_serviced_recursive),
        ("blkio.throttle.io_service_bytes", |io| &mut io.io_service_bytes_recursive),
    ],
];

pub(super) fn block_io(directory: &Path) -> Result<BlockIo, Error> {
    let mut io = BlockIo::default();
    for group in SOURCES {
        for (file, place) in group {
            let entries = entries(directory, file)?;
            if entries.is_empty() {
                break;
            }
            *place(&mut io) = entries;
        }
        if !io.io_serviced_recursive.is_empty() || !io.sectors_recursive.is_empty() {
            break;
        }
    }
    Ok(io)
}

/// Lines of `MAJOR:MINOR [OPERATION] NUMBER`, and a total, which is left out.
fn entries(directory: &Path, file: &str) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    for line in text(directory, file)?.unwrap_or_default().lines() {
        let words: Vec<&str> = line.split([' ', ':']).collect();
        let (major, minor, op, value) = match words[..] {
            ["Total", _] => continue,
            [major, minor, value] => (major, minor, "", value),
            [major, minor, op, value] => (major, minor, op, value),
            _ => return Err(unreadable(directory, file, Errno::BADMSG)),
        };
        let number = |text| parse(text, directory, file);
        let op = op.to_owned();
        entries.push(Entry {
            major: number(major)?,
            minor: number(minor)?,
            op,
            value: number(value)?,
        });
    }
    Ok(entries)
}

/// Reservations where the kernel counts them (Linux 5.7), else the pages in use.
pub(super) fn huge_pages(directory: &Path, size: &str) -> Result<Option<HugePages>, Error> {
    for of in [format!("hugetlb.{size}.rsvd"), format!("hugetlb.{size}")] {
        let value = |what| number(directory, &format!("{of}.{what}"));
        if let Some(usage) = value("usage_in_bytes")? {
            let max = value("max_usage_in_bytes")?.unwrap_or(0);
            return Ok(Some(HugePages { usage, max, failcnt: value("failcnt")?.unwrap_or(0) }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_counted_out() {
        let directory = tempfile::tempdir().unwrap();
        let write = |text| std::fs::write(directory.path().join("cpus"), text).unwrap();
        write("0-2,5\n");
        assert_eq!(list(directory.path(), "cpus").unwrap(), [0, 1, 2, 5]);
        write("\n");
        assert!(list(directory.path(), "cpus").unwrap().is_empty());
        write("x\n");
        assert!(list(directory.path(), "cpus").is_err());
    }

    #[test]
    fn the_first_scheduler_that_has_counted_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let write = |file: &str, text| std::fs::write(directory.path().join(file), text).unwrap();
        write("blkio.bfq.io_serviced_recursive", "");
        write("blkio.throttle.io_serviced_recursive", "8:0 Read 3\n8:0 Total 3\nTotal 3\n");
        write("blkio.throttle.io_service_bytes_recursive", "8:0 Read 4096\nTotal 4096\n");
        write("blkio.throttle.io_serviced", "8:0 Read 9\nTotal 9\n");
        let io = serde_json::to_value(block_io(directory.path()).unwrap()).unwrap();
        let expected = serde_json::json!({
            "ioServiceBytesRecursive": [{"major": 8, "op": "Read", "value": 4096}],
            "ioServicedRecursive": [
                {"major": 8, "op": "Read", "value": 3}, {"major": 8, "op": "Total", "value": 3}
            ]
        });
        assert_eq!(io, expected);
    }
}
