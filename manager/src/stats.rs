//! `nman stats`: what containers use of the processor, memory, network and disks.

use crate::cgroup::{Groups, Usage};
use crate::cli::StatsArgs;
use crate::container::{Containers, Record, State};
use crate::error::Result;
use crate::listing::{Column, List, ListArgs, Row, View, binary_size, human_size};
use crate::process;
use crate::settings::Settings;
use crate::terminal::write_out;
use rustix::stdio;
use rustix::termios::isatty;
use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

const STATS: List = List {
    columns: &[
        Column::new("Container", "CONTAINER"),
        Column::new("ID", "CONTAINER ID"),
        Column::new("Name", "NAME"),
        Column::new("CPUPerc", "CPU %"),
        Column::new("MemUsage", "MEM USAGE / LIMIT"),
        Column::new("MemPerc", "MEM %"),
        Column::new("NetIO", "NET I/O"),
        Column::new("BlockIO", "BLOCK I/O"),
        Column::new("PIDs", "PIDS"),
    ],
    table: &["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"],
    quiet: "ID",
    filters: &[],
};

/// From one look to the next.
const INTERVAL: Duration = Duration::from_secs(1);

/// What was seen of a container at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    usage: Usage,
    received: u64,
    sent: u64,
}

/// Prints a table, and again every second unless it is to be printed once.
pub fn stats(settings: &Settings, args: &StatsArgs) -> Result<()> {
    let list =
        ListArgs { format: args.format.clone(), no_trunc: args.no_trunc, ..ListArgs::default() };
    let view = STATS.view_by("statsFormat", &list, STATS.table)?;
    let containers = Containers::open(&settings.containers())?;
    for name in &args.names {
        containers.find(name)?;
    }
    refuse_uncounted(&chosen(&containers, args)?)?;
    let memory = host_memory();
    let live = !args.no_stream && isatty(stdio::stdout());
    let mut before = take_samples(&chosen(&containers, args)?);
    loop {
        // A share of the processor is a difference over time.
        std::thread::sleep(INTERVAL);
        let chosen = chosen(&containers, args)?;
        let now = take_samples(&chosen);
        let rows: Vec<Row> = chosen
            .iter()
            .map(|(record, _)| {
                let id = record.id.as_str();
                row(record, before.get(id), now.get(id), memory, &view)
            })
            .collect();
        show(&view.render(&rows)?, live)?;
        // Of those that were named, nobody comes back.
        if args.no_stream || chosen.is_empty() && !args.names.is_empty() {
            return Ok(());
        }
        before = now;
    }
}

/// Nothing counts what a container uses that has no cgroup.
fn refuse_uncounted(chosen: &[(Record, State)]) -> Result<()> {
    let uncounted =
        chosen.iter().find(|(record, state)| state.status.has_process() && !record.has_cgroup());
    uncounted.map_or(Ok(()), |(record, _)| Err(record.lacks_cgroup("count what is used by")))
}

fn show(text: &str, live: bool) -> Result<()> {
    if !live {
        return write_out(stdio::stdout(), text.as_bytes());
    }
    // From the top left corner; the rest of each line, and of the screen, is cleared.
    let mut frame = "\x1b[H".to_owned();
    for line in text.lines() {
        frame.push_str(line);
        frame.push_str("\x1b[K\n");
    }
    frame.push_str("\x1b[J");
    write_out(stdio::stdout(), frame.as_bytes())
}

/// The containers that are shown: those that are named, or those that run.
fn chosen(containers: &Containers, args: &StatsArgs) -> Result<Vec<(Record, State)>> {
    if args.names.is_empty() {
        let mut all = containers.list()?;
        all.retain(|(_, state)| args.all || state.status.has_process());
        return Ok(all);
    }
    let found = args.names.iter().filter_map(|name| {
        // One that was removed meanwhile is not shown any more.
        let dir = containers.find(name).ok()?;
        Some((dir.record().ok()?, dir.state().ok()?))
    });
    Ok(found.collect())
}

fn take_samples(chosen: &[(Record, State)]) -> HashMap<String, Sample> {
    let sample = |(record, state): &(Record, State)| {
        let pid = state.pid.filter(|_| state.status.has_process())?;
        let usage = Groups::of(pid)?.usage();
        let (received, sent) = network(&process::text(pid, "net/dev")?);
        Some((record.id.to_string(), Sample { at: Instant::now(), usage, received, sent }))
    };
    chosen.iter().filter_map(sample).collect()
}

/// Bytes received and sent on all interfaces but loopback, from the text of `/proc/PID/net/dev`.
fn network(text: &str) -> (u64, u64) {
    let mut sum = (0, 0);
    for line in text.lines().skip(2) {
        let Some((name, counters)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let counters: Vec<u64> =
            counters.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect();
        if let (Some(received), Some(sent)) = (counters.first(), counters.get(8)) {
            sum = (sum.0 + received, sum.1 + sent);
        }
    }
    sum
}

fn host_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

fn row(
    record: &Record,
    before: Option<&Sample>,
    now: Option<&Sample>,
    host_memory: u64,
    view: &View,
) -> Row {
    let id = if view.no_trunc { record.id.as_str() } else { record.id.short() };
    let row = Row::new([("Container", id), ("ID", id), ("Name", record.name.as_str())]);
    let usage = now.map(|sample| sample.usage).unwrap_or_default();
    let limit = match now {
        Some(_) => usage.memory_limit.unwrap_or(host_memory).min(host_memory),
        None => 0,
    };
    let (received, sent) = now.map_or((0, 0), |sample| (sample.received, sample.sent));
    row.with("CPUPerc", format!("{:.2}%", cpu_share(before, now)))
        .with("MemUsage", format!("{} / {}", binary_size(usage.memory), binary_size(limit)))
        .with("MemPerc", format!("{:.2}%", percent(usage.memory, limit)))
        .with("NetIO", format!("{} / {}", human_size(received), human_size(sent)))
        .with("BlockIO", format!("{} / {}", human_size(usage.read), human_size(usage.written)))
        .with("PIDs", usage.pids.to_string())
}

/// In percent of one processor.
fn cpu_share(before: Option<&Sample>, now: Option<&Sample>) -> f64 {
    let (Some(before), Some(now)) = (before, now) else { return 0.0 };
    let wall = u64::try_from((now.at - before.at).as_nanos()).unwrap_or(u64::MAX);
    percent(now.usage.cpu.saturating_sub(before.usage.cpu), wall)
}

#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_summed_over_interfaces_without_loopback() {
        let text = "Inter-|   Receive\n face |bytes\n    lo: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n  eth0: 100 1 0 0 0 0 0 0 50 1 0 0 0 0 0 0\n  eth1: 1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n";
        assert_eq!(network(text), (101, 52));
    }

    #[test]
    fn a_share_of_the_processor_is_a_difference_over_time() {
        let sample =
            |cpu, at| Sample { at, usage: Usage { cpu, ..Usage::default() }, received: 0, sent: 0 };
        let begin = Instant::now();
        let (a, b) = (sample(0, begin), sample(1_500_000_000, begin + Duration::from_secs(1)));
        assert!((cpu_share(Some(&a), Some(&b)) - 150.0).abs() < 1e-9);
        assert!(cpu_share(None, Some(&b)).abs() < 1e-9);
    }
}
