//! The files of cgroup v2, under the names and in the units of v1.

use std::path::Path;

use super::{
    BlockIo, Cpu, CpuUsage, Entry, Error, HugePages, Memory, Pids, Pressure, Throttling, Usage,
    Waits, number, parse, table, text,
};

/// There without the controller, too.
pub(super) fn cpu(directory: &Path) -> Result<Cpu, Error> {
    let stat = table(directory, "cpu.stat")?;
    let value = |name| stat.get(name).copied().unwrap_or(0);
    let nanoseconds = |name| value(name).saturating_mul(1000);
    let usage = CpuUsage {
        total: nanoseconds("usage_usec"),
        kernel: nanoseconds("system_usec"),
        user: nanoseconds("user_usec"),
        ..CpuUsage::default()
    };
    let throttling = Throttling {
        periods: value("nr_periods"),
        throttled_periods: value("nr_throttled"),
        throttled_time: nanoseconds("throttled_usec"),
    };
    Ok(Cpu { usage, throttling, psi: pressure(directory, "cpu.pressure")? })
}

/// The swap of v1 includes memory. Its peak is not known: the two need not have been at theirs at the same time.
pub(super) fn memory(directory: &Path) -> Result<Memory, Error> {
    let raw = table(directory, "memory.stat")?;
    let (usage, swap) = (usage(directory, "memory")?, usage(directory, "memory.swap")?);
    let swap = Usage {
        limit: swap.limit.saturating_add(usage.limit),
        usage: swap.usage.saturating_add(usage.usage),
        max: 0,
        failcnt: 0,
    };
    let cache = raw.get("file").copied().unwrap_or(0);
    let psi = pressure(directory, "memory.pressure")?;
    Ok(Memory { cache, usage, swap, raw, psi, ..Memory::default() })
}

fn usage(directory: &Path, of: &str) -> Result<Usage, Error> {
    let value = |what| Ok::<u64, Error>(number(directory, &format!("{of}.{what}"))?.unwrap_or(0));
    Ok(Usage { limit: value("max")?, usage: value("current")?, max: value("peak")?, failcnt: 0 })
}

/// Without the controller the processes are counted.
pub(super) fn pids(directory: &Path) -> Result<Pids, Error> {
    if let Some(pids) = super::pids(directory)? {
        return Ok(pids);
    }
    let list = text(directory, "cgroup.procs")?.unwrap_or_default();
    Ok(Pids { current: list.lines().count() as u64, limit: 0 })
}

pub(super) fn block_io(directory: &Path) -> Result<BlockIo, Error> {
    let mut io = BlockIo { psi: pressure(directory, "io.pressure")?, ..BlockIo::default() };
    let file = "io.stat";
    for line in text(directory, file)?.unwrap_or_default().lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(|device| device.split_once(':')) else {
            continue;
        };
        let (major, minor) = (parse(major, directory, file)?, parse(minor, directory, file)?);
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            let (list, op) = match name {
                "rbytes" => (&mut io.io_service_bytes_recursive, "Read"),
                "wbytes" => (&mut io.io_service_bytes_recursive, "Write"),
                "rios" => (&mut io.io_serviced_recursive, "Read"),
                "wios" => (&mut io.io_serviced_recursive, "Write"),
                _ => continue,
            };
            let value = parse(value, directory, file)?;
            list.push(Entry { major, minor, op: op.to_owned(), value });
        }
    }
    Ok(io)
}

/// Reservations where the kernel counts them (Linux 5.7), else the pages in use.
pub(super) fn huge_pages(directory: &Path, size: &str) -> Result<Option<HugePages>, Error> {
    let current = |of: &str| number(directory, &format!("hugetlb.{size}{of}.current"));
    let usage = match current(".rsvd")? {
        None => current("")?,
        usage => usage,
    };
    let Some(usage) = usage else { return Ok(None) };
    let events = table(directory, &format!("hugetlb.{size}.events"))?;
    Ok(Some(HugePages { usage, max: 0, failcnt: events.get("max").copied().unwrap_or(0) }))
}

/// Lines of `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`. `None` where the kernel does not keep them.
fn pressure(directory: &Path, file: &str) -> Result<Option<Pressure>, Error> {
    let Some(text) = text(directory, file)? else { return Ok(None) };
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let waits = match words.next() {
            Some("some") => &mut pressure.some,
            Some("full") => &mut pressure.full,
            _ => continue,
        };
        *waits = Waits::default();
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            match name {
                "avg10" => waits.avg10 = parse(value, directory, file)?,
                "avg60" => waits.avg60 = parse(value, directory, file)?,
                "avg300" => waits.avg300 = parse(value, directory, file)?,
                "total" => waits.total = parse(value, directory, file)?,
                _ => {}
            }
        }
    }
    Ok(Some(pressure))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (file, text) in files {
            std::fs::write(directory.path().join(file), text).unwrap();
        }
        directory
    }

    #[test]
    fn memory_is_told_as_on_v1() {
        let directory = directory(&[
            ("memory.stat", "anon 5\nfile 7\n"),
            ("memory.current", "12\n"),
            ("memory.peak", "20\n"),
            ("memory.max", "100\n"),
            ("memory.swap.current", "3\n"),
            ("memory.swap.max", "50\n"),
        ]);
        let memory = serde_json::to_value(memory(directory.path()).unwrap()).unwrap();
        let expected = json!({
            "cache": 7,
            "usage": {"limit": 100, "usage": 12, "max": 20, "failcnt": 0},
            "swap": {"limit": 150, "usage": 15, "failcnt": 0},
            "kernel": {"limit": 0, "failcnt": 0},
            "kernelTCP": {"limit": 0, "failcnt": 0},
            "raw": {"anon": 5, "file": 7}
        });
        assert_eq!(memory, expected);
    }

    #[test]
    fn no_limit_is_the_largest_number() {
        let files =
            [("memory.max", "max\n"), ("memory.current", "1\n"), ("memory.swap.max", "9\n")];
        let memory = memory(directory(&files).path()).unwrap();
        assert_eq!((memory.usage.limit, memory.swap.limit), (u64::MAX, u64::MAX));
        let pids =
            pids(directory(&[("pids.current", "2\n"), ("pids.max", "max\n")]).path()).unwrap();
        assert_eq!((pids.current, pids.limit), (2, 0));
    }

    #[test]
    fn time_is_in_nanoseconds_and_waits_are_told() {
        let directory = directory(&[
            (
                "cpu.stat",
                "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 4\nnr_throttled 1\nthrottled_usec 9\n",
            ),
            (
                "cpu.pressure",
                "some avg10=1.50 avg60=0.00 avg300=0.00 total=7\nfull avg10=0.00 avg60=0.00 avg300=0.25 total=1\n",
            ),
        ]);
        let cpu = serde_json::to_value(cpu(directory.path()).unwrap()).unwrap();
        let expected = json!({
            "usage": {"total": 5000, "kernel": 2000, "user": 3000},
            "throttling": {"periods": 4, "throttledPeriods": 1, "throttledTime": 9000},
            "psi": {
                "some": {"avg10": 1.5, "avg60": 0.0, "avg300": 0.0, "total": 7},
                "full": {"avg10": 0.0, "avg60": 0.0, "avg300": 0.25, "total": 1}
            }
        });
        assert_eq!(cpu, expected);
    }

    #[test]
    fn block_devices_have_reads_and_writes() {
        let directory = directory(&[(
            "io.stat",
            "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n7:0 \n",
        )]);
        let io = serde_json::to_value(block_io(directory.path()).unwrap()).unwrap();
        let entry =
            |op: &str, value: u64| json!({"major": 8, "minor": 16, "op": op, "value": value});
        let expected = json!({
            "ioServiceBytesRecursive": [entry("Read", 1), entry("Write", 2)],
            "ioServicedRecursive": [entry("Read", 3), entry("Write", 4)]
        });
        assert_eq!(io, expected);
    }
}
