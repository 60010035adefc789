//! Tables of what was measured, with the bars judged.

use std::fmt;
use std::fs;
use std::time::Duration;

use serde::Serialize;

use super::engine::Engine;
use super::measure::{Measured, Sample, median};

/// All that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    kernel: String,
    processors: usize,
    load: String,
    runs: usize,
    versions: Vec<String>,
    /// One for each case.
    pub tables: Vec<Table>,
}

/// What one case came to.
#[derive(Debug, Serialize)]
pub struct Table {
    title: String,
    rows: Vec<Row>,
    bars: Vec<Bar>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    wall_min_us: u128,
    wall_median_us: u128,
    cpu_median_us: u128,
    peak_kib: u64,
    /// Why there are no figures.
    failure: Option<String>,
}

/// A bar, and how near it was.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Bar {
    what: String,
    value: String,
    met: bool,
}

impl Bar {
    pub(super) fn new(what: &str, value: String, met: bool) -> Self {
        Self { what: what.to_owned(), value, met }
    }

    /// Ours divided by the other.
    pub(super) fn ratio(what: &str, ours: Duration, other: Duration, most: f64) -> Self {
        let ratio = ours.as_secs_f64() / other.as_secs_f64().max(1e-9);
        Self::new(what, format!("{ratio:.3} (bar {most:.3})"), ratio <= most)
    }
}

/// The samples of one row. The first round warms caches up and does not count; after a failure there are no more.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) name: String,
    samples: Vec<Sample>,
    failure: Option<String>,
}

impl Series {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), samples: Vec::new(), failure: None }
    }

    pub(super) fn push(&mut self, round: usize, take: impl FnOnce() -> Measured) {
        if self.failure.is_some() {
            return;
        }
        match take() {
            Ok(sample) if round > 0 => self.samples.push(sample),
            Ok(_) => {}
            Err(why) => self.failure = Some(why),
        }
    }

    fn middle(&self, value: impl Fn(&Sample) -> Duration) -> Option<Duration> {
        let is_whole = self.failure.is_none() && !self.samples.is_empty();
        is_whole.then(|| median(self.samples.iter().map(value).collect()))
    }

    pub(super) fn wall(&self) -> Option<Duration> {
        self.middle(|sample| sample.wall)
    }

    pub(super) fn cpu(&self) -> Option<Duration> {
        self.middle(|sample| sample.cpu)
    }

    pub(super) fn peak_kib(&self) -> Option<u64> {
        self.samples.iter().map(|sample| sample.peak_kib).max()
    }

    fn row(&self) -> Row {
        let least = self.samples.iter().map(|sample| sample.wall).min().unwrap_or_default();
        Row {
            name: self.name.clone(),
            wall_min_us: least.as_micros(),
            wall_median_us: self.wall().unwrap_or_default().as_micros(),
            cpu_median_us: self.cpu().unwrap_or_default().as_micros(),
            peak_kib: self.peak_kib().unwrap_or(0),
            failure: self
                .failure
                .clone()
                .or_else(|| self.samples.is_empty().then(|| "cannot do this".to_owned())),
        }
    }
}

impl Table {
    pub(super) fn of_series(title: &str, series: &[Series], bars: Vec<Bar>) -> Self {
        Self { title: title.to_owned(), rows: series.iter().map(Series::row).collect(), bars }
    }

    /// A case that could not be set up.
    pub(super) fn failed(title: &str, why: &str) -> Self {
        let mut series = Series::new("nman");
        series.push(0, || Err(why.to_owned()));
        Self::of_series(title, &[series], Vec::new())
    }
}

impl Report {
    pub(super) fn of_this_machine(runs: usize, engines: &[Engine]) -> Self {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            processors: std::thread::available_parallelism().map_or(1, Into::into),
            load: load.split(' ').take(3).collect::<Vec<_>>().join(" "),
            runs,
            versions: engines
                .iter()
                .map(|engine| format!("{:<8}{}", engine.kind.name(), engine.version))
                .collect(),
            tables: Vec::new(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Linux {}, {} processors, load {}; {} interleaved runs",
            self.kernel, self.processors, self.load, self.runs
        )?;
        for version in &self.versions {
            writeln!(f, "  {version}")?;
        }
        for table in &self.tables {
            write!(f, "\n{table}")?;
        }
        writeln!(
            f,
            "\nCPU time is that of the command and of what it leaves to itself; what a daemon uses is not in it."
        )
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        writeln!(
            f,
            "  {:<24}{:>12}{:>12}{:>12}{:>12}",
            "", "wall min ms", "median ms", "CPU ms", "peak KiB"
        )?;
        for row in &self.rows {
            match &row.failure {
                Some(why) => writeln!(f, "  {:<24}  {why}", row.name)?,
                None => writeln!(
                    f,
                    "  {:<24}{:>12}{:>12}{:>12}{:>12}",
                    row.name,
                    in_millis(row.wall_min_us),
                    in_millis(row.wall_median_us),
                    in_millis(row.cpu_median_us),
                    row.peak_kib
                )?,
            }
        }
        for bar in &self.bars {
            writeln!(
                f,
                "  {:<7} {}: {}",
                if bar.met { "MET" } else { "MISSED" },
                bar.what,
                bar.value
            )?;
        }
        Ok(())
    }
}

#[allow(clippy::cast_precision_loss, reason = "microseconds of a benchmark are far below 2^52")]
fn in_millis(micros: u128) -> String {
    format!("{:.2}", micros as f64 / 1000.0)
}

pub(super) fn millis(time: Duration) -> String {
    in_millis(time.as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(millis: u64) -> Measured {
        Ok(Sample { wall: Duration::from_millis(millis), ..Sample::default() })
    }

    #[test]
    fn a_bar_is_met_at_its_value_and_missed_beyond_it() {
        let ms = Duration::from_millis;
        assert!(Bar::ratio("x", ms(10), ms(40), 0.25).met);
        assert!(!Bar::ratio("x", ms(11), ms(40), 0.25).met);
    }

    #[test]
    fn the_first_round_does_not_count_and_a_failure_is_no_figure() {
        let mut series = Series::new("x");
        for (round, millis) in [(0, 1000), (1, 3), (2, 9), (3, 5)] {
            series.push(round, || sample(millis));
        }
        assert_eq!(series.wall(), Some(Duration::from_millis(5)));
        series.push(4, || Err("out of order".to_owned()));
        series.push(5, || panic!("nothing is run after a failure"));
        assert_eq!(series.wall(), None);
        let table = Table::of_series("t", &[series], Vec::new()).to_string();
        assert!(table.contains("out of order"), "{table}");
    }
}
