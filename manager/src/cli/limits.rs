//! Values of options about limits: each is parsed once, by clap, into what it means.

use super::number;
use crate::container::{DeviceRate, DeviceWeight, Ulimit};
use std::str::FromStr;

/// An amount of bytes: `512m`, `1.5g`, `4194304`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub i64);

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("invalid size: '{text}', it is a number with an optional unit b, k, m, g or t")
        };
        let lower = text.trim().to_ascii_lowercase();
        let number = lower.strip_suffix('b').unwrap_or(&lower);
        let number = number.strip_suffix('i').unwrap_or(number);
        let unit = |(at, letter)| number.ends_with(letter).then_some(10 * (at + 1));
        let shift = ['k', 'm', 'g', 't', 'p'].into_iter().enumerate().find_map(unit);
        let digits = if shift.is_some() { &number[..number.len() - 1] } else { number };
        let (whole, fraction) = digits.trim_end().split_once('.').unwrap_or((digits, ""));
        let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        // `.5g` is half of one.
        let whole = if whole.is_empty() && !fraction.is_empty() { "0" } else { whole };
        if whole.is_empty() || !is_number(whole) || !is_number(fraction) || fraction.len() > 9 {
            return Err(wrong());
        }
        let unit = 1_i128 << shift.unwrap_or(0);
        let billionths: i128 = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
        let bytes = whole.parse::<i64>().map_err(|_| wrong()).map(i128::from)? * unit
            + billionths * unit / 1_000_000_000;
        i64::try_from(bytes).map(Self).map_err(|_| wrong())
    }
}

/// An amount of memory of which Docker wants 6 MiB at least, because below that nothing starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory(pub i64);

/// How it begins to say that there is less.
pub(super) const LEAST_MEMORY_REFUSAL: &str = "Minimum memory limit allowed is 6MB";
const LEAST_MEMORY: i64 = 6 * 1024 * 1024;

impl FromStr for Memory {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<Size>()?.0 {
            bytes @ 1..LEAST_MEMORY => {
                Err(format!("{LEAST_MEMORY_REFUSAL}, and this is {bytes} bytes"))
            }
            bytes => Ok(Self(bytes)),
        }
    }
}

/// Memory and swap together: a [`Size`], or -1 for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySwap(pub i64);

impl FromStr for MemorySwap {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "-1" => Ok(Self(-1)),
            text => text.parse::<Size>().map(|size| Self(size.0)),
        }
    }
}

/// A number of CPUs, in billionths: `1.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus(pub i64);

/// The scheduler's period in microseconds.
pub const CPU_PERIOD: i64 = 100_000;

impl FromStr for Cpus {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a number of CPUs is a decimal number from 0.01 on, such as 1.5".to_owned();
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if text.is_empty() || text == "." || !digits(whole) || !digits(fraction) {
            return Err(wrong());
        }
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| wrong())? };
        if fraction.len() > 9 || whole > 1_000_000 {
            return Err(wrong());
        }
        let billionths: i64 = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
        match whole * 1_000_000_000 + billionths {
            // As in Docker, none at all is no limit.
            0 => Ok(Self(0)),
            // The kernel takes no quota below a millisecond.
            1..10_000_000 => Err(wrong()),
            billionths => Ok(Self(billionths)),
        }
    }
}

/// A list of CPUs or memory nodes: `0-2,4`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuSet(pub String);

impl CpuSet {
    /// Its ranges, first and last.
    pub fn ranges(text: &str) -> Option<Vec<(u16, u16)>> {
        let range = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last).then_some((first, last))
        };
        text.split(',').map(range).collect()
    }
}

impl FromStr for CpuSet {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match Self::ranges(text) {
            Some(_) => Ok(Self(text.to_owned())),
            None => Err("a list is made of numbers and ranges, such as 0-2,4".to_owned()),
        }
    }
}

/// The limits of setrlimit(2) under Docker's names.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

impl FromStr for Ulimit {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("invalid ulimit argument: {text}, it is NAME=SOFT[:HARD]");
        let (name, limits) = text.split_once('=').ok_or_else(wrong)?;
        if !ULIMITS.contains(&name) {
            return Err(format!("invalid ulimit type: {name}, there are {}", ULIMITS.join(", ")));
        }
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let number = |text: &str| match text.parse::<i64>() {
            Ok(number) if number >= -1 => Ok(number),
            _ if text == "unlimited" => Ok(-1),
            _ => Err(wrong()),
        };
        let (soft, hard) = (number(soft)?, number(hard)?);
        if hard != -1 && (soft == -1 || soft > hard) {
            return Err(format!(
                "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            ));
        }
        Ok(Self { name: name.to_owned(), hard, soft })
    }
}

/// The device and the value of `PATH:VALUE`.
fn of_device(text: &str) -> Result<(String, &str), String> {
    match text.rsplit_once(':') {
        Some((path, value)) if path.starts_with("/dev/") && path.len() > 5 => {
            Ok((path.to_owned(), value))
        }
        Some(_) => Err(format!("bad format for device path: {text}, it begins with /dev/")),
        None => Err(format!("bad format: {text}, it is DEVICE:VALUE")),
    }
}

/// `/dev/sda:500`
pub fn device_weight(text: &str) -> Result<DeviceWeight, String> {
    let (path, value) = of_device(text)?;
    match value.parse() {
        Ok(weight @ (0 | 10..=1000)) => Ok(DeviceWeight { path, weight }),
        _ => Err(format!("invalid weight for device: {text}, it is 0 or from 10 to 1000")),
    }
}

/// `/dev/sda:1mb`
pub fn device_bytes(text: &str) -> Result<DeviceRate, String> {
    let (path, value) = of_device(text)?;
    match value.parse::<Size>().map(|size| u64::try_from(size.0)) {
        Ok(Ok(rate)) => Ok(DeviceRate { path, rate }),
        _ => Err(format!(
            "invalid rate for device: {text}, it is a number of bytes a second with an optional unit kb, mb or gb"
        )),
    }
}

/// `/dev/sda:1000`
pub fn device_operations(text: &str) -> Result<DeviceRate, String> {
    let (path, value) = of_device(text)?;
    let rate = value.parse().map_err(|_| {
        format!("invalid rate for device: {text}, it is a number of operations a second")
    })?;
    Ok(DeviceRate { path, rate })
}

/// A period of the scheduler: 1 ms to 1 s.
pub fn cpu_period(text: &str) -> Result<i64, String> {
    match number::any(text)? {
        period @ (0 | 1000..=1_000_000) => Ok(period),
        _ => Err(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
                .to_owned(),
        ),
    }
}

/// A quota of the scheduler: 1 ms at least, or -1 for none.
pub fn cpu_quota(text: &str) -> Result<i64, String> {
    match number::any(text)? {
        quota @ (-1 | 0 | 1000..) => Ok(quota),
        _ => Err("CPU cfs quota can not be less than 1ms (i.e. 1000)".to_owned()),
    }
}

/// A weight of block input and output.
pub fn blkio_weight(text: &str) -> Result<u16, String> {
    match u16::try_from(number::any(text)?) {
        Ok(weight @ (0 | 10..=1000)) => Ok(weight),
        _ => Err("Range of blkio weight is from 10 to 1000".to_owned()),
    }
}

/// How gladly memory is swapped.
pub fn swappiness(text: &str) -> Result<i64, String> {
    match number::any(text)? {
        value @ -1..=100 => Ok(value),
        _ => Err(format!("Invalid value: {text}, valid memory swappiness range is 0-100")),
    }
}

/// How soon the container is killed when memory is short.
pub fn oom_score(text: &str) -> Result<i32, String> {
    match i32::try_from(number::any(text)?) {
        Ok(value @ -1000..=1000) => Ok(value),
        _ => Err(format!("Invalid value {text}, range for oom score adj is [-1000, 1000]")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_dockers_units() {
        let of = |text: &str| text.parse::<Size>().map(|size| size.0).ok();
        assert_eq!(of("64m"), Some(64 << 20));
        assert_eq!(of("64MiB"), Some(64 << 20));
        assert_eq!(of("1.5g"), Some(3 << 29));
        assert_eq!(of(".5g"), Some(512 << 20));
        assert_eq!(of("6291456"), Some(6 << 20));
        assert_eq!(of("0"), Some(0));
        for bad in ["", "m", "-1", "1.5x", "9999999999t", "1 2", ".", ".g", "0x1"] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert!("1k".parse::<Memory>().unwrap_err().contains("Minimum memory limit"));
        assert_eq!("-1".parse::<MemorySwap>(), Ok(MemorySwap(-1)));
    }

    #[test]
    fn cpus_are_counted_in_billionths() {
        let of = |text: &str| text.parse::<Cpus>().map(|cpus| cpus.0).ok();
        assert_eq!(of("1.5"), Some(1_500_000_000));
        assert_eq!(of("0.01"), Some(10_000_000));
        assert_eq!(of(".5"), Some(500_000_000));
        assert_eq!(of("0"), Some(0));
        for bad in ["", ".", "0.001", "-1", "x", "1,5", "1.5.5", "99999999999"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn cpu_lists_are_numbers_and_ranges() {
        assert_eq!(CpuSet::ranges("0,2-3"), Some(vec![(0, 0), (2, 3)]));
        for bad in ["", "a", "3-1", "0,", "-1", "0-"] {
            assert!(bad.parse::<CpuSet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_ulimit_has_a_name_a_soft_and_a_hard_limit() {
        let of = |text: &str| text.parse::<Ulimit>().map(|limit| (limit.soft, limit.hard));
        assert_eq!(of("nofile=10:20"), Ok((10, 20)));
        assert_eq!(of("nofile=10"), Ok((10, 10)));
        assert_eq!(of("core=-1"), Ok((-1, -1)));
        assert_eq!(of("core=unlimited"), Ok((-1, -1)));
        for (bad, why) in [
            ("nofile", "invalid ulimit argument"),
            ("files=1", "invalid ulimit type: files"),
            ("nofile=2:1", "must be less than or equal to hard limit: 2 > 1"),
            ("nofile=-2", "invalid ulimit argument"),
            ("nofile=-1:5", "must be less than"),
        ] {
            assert!(of(bad).unwrap_err().contains(why), "{bad}");
        }
    }

    #[test]
    fn rates_and_weights_belong_to_a_device() {
        assert_eq!(
            device_bytes("/dev/sda:1mb"),
            Ok(DeviceRate { path: "/dev/sda".into(), rate: 1 << 20 })
        );
        assert_eq!(device_operations("/dev/sda:7").unwrap().rate, 7);
        assert_eq!(device_weight("/dev/sda:500").unwrap().weight, 500);
        for bad in ["/dev/sda", "sda:1", "/dev/sda:x", "/dev/:1"] {
            assert!(device_bytes(bad).is_err() && device_operations(bad).is_err(), "{bad}");
        }
        assert!(device_weight("/dev/sda:5").is_err());
    }

    #[test]
    fn ranges_are_dockers() {
        assert!(cpu_period("999").is_err() && cpu_period("1000").is_ok());
        assert!(cpu_quota("999").is_err() && cpu_quota("-1").is_ok());
        assert!(blkio_weight("9").is_err() && blkio_weight("1000").is_ok());
        assert!(swappiness("101").is_err() && swappiness("-1").is_ok());
        assert!(oom_score("1001").is_err() && oom_score("-1000").is_ok());
    }
}
