//! Values of options that are more than a word: each is parsed once, by clap, into what it means.

use crate::network::{PortRequest, port};
use std::path::PathBuf;
use std::str::FromStr;

/// An amount of memory: `512m`, `1g`, `4194304`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory(pub i64);

/// Docker's lower bound: below it nothing starts.
const LEAST_MEMORY: i64 = 6 * 1024 * 1024;

impl FromStr for Memory {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let number = lower.trim_end_matches('b').trim_end_matches('i');
        let (digits, shift) = match number.as_bytes().last() {
            Some(b'k') => (&number[..number.len() - 1], 10),
            Some(b'm') => (&number[..number.len() - 1], 20),
            Some(b'g') => (&number[..number.len() - 1], 30),
            Some(b't') => (&number[..number.len() - 1], 40),
            _ => (number, 0),
        };
        let bytes = digits
            .parse::<u32>()
            .map(i64::from)
            .or_else(|_| digits.parse::<u64>().map(|n| i64::try_from(n).unwrap_or(i64::MAX)))
            .ok()
            .and_then(|n| n.checked_mul(1 << shift))
            .ok_or_else(|| "a size is a number with an optional unit b, k, m, g or t".to_owned())?;
        if bytes < LEAST_MEMORY {
            return Err("Minimum memory limit allowed is 6MB".to_owned());
        }
        Ok(Self(bytes))
    }
}

/// A number of CPUs, in billionths: `1.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus {
    /// Microseconds of CPU time in each period.
    pub quota: i64,
}

/// The scheduler's period in microseconds.
pub const CPU_PERIOD: u64 = 100_000;

impl FromStr for Cpus {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a number of CPUs is a decimal number above 0.01, such as 1.5".to_owned();
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let number = |digits: &str| match digits {
            "" => Some(0),
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse::<i64>().ok(),
            _ => None,
        };
        if text.is_empty() || text == "." || fraction.len() > 9 {
            return Err(wrong());
        }
        let whole = number(whole).filter(|&n| n <= 1_000_000).ok_or_else(wrong)?;
        number(fraction).ok_or_else(wrong)?;
        let hundred_thousandths: i64 =
            format!("{fraction:0<5}")[..5].parse().map_err(|_| wrong())?;
        let quota = whole * 100_000 + hundred_thousandths;
        // The kernel takes no quota below a millisecond.
        if quota < 1000 { Err(wrong()) } else { Ok(Self { quota }) }
    }
}

/// One `-p`: a port, or a request for each port of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// As it was typed, to be read again when the container is started again.
    pub text: String,
    /// What it asks for.
    pub requests: Vec<PortRequest>,
}

impl FromStr for Publish {
    type Err = crate::network::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self { text: text.to_owned(), requests: port::parse(text)? })
    }
}

/// A list of CPUs: `0-2,4`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuSet(pub String);

impl FromStr for CpuSet {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let is_range = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if first <= last)
        };
        if text.split(',').all(is_range) {
            Ok(Self(text.to_owned()))
        } else {
            Err("a list of CPUs is made of numbers and ranges, such as 0-2,4".to_owned())
        }
    }
}

/// One `-v`: what is mounted, where, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// What is mounted.
    pub source: VolumeSource,
    /// Where in the container.
    pub target: String,
    /// Read-only.
    pub read_only: bool,
    /// `rprivate`, `rslave`, `rshared` and their like.
    pub propagation: String,
}

/// What a volume is mounted from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeSource {
    /// A path of the host.
    Path(PathBuf),
    /// A named volume.
    Named(String),
    /// A directory of the container's own, removed with it.
    Anonymous,
}

impl FromStr for Volume {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, options) = match parts.as_slice() {
            [target] => (VolumeSource::Anonymous, *target, ""),
            [source, target] => (volume_source(source)?, *target, ""),
            [source, target, options] => (volume_source(source)?, *target, *options),
            _ => return Err("a volume is [SOURCE:]TARGET[:OPTIONS]".to_owned()),
        };
        if !target.starts_with('/') || target.split('/').all(|part| matches!(part, "" | "." | ".."))
        {
            return Err(format!("the target `{target}` must be an absolute path below `/`"));
        }
        let mut volume = Self {
            source,
            target: target.to_owned(),
            read_only: false,
            propagation: "rprivate".to_owned(),
        };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" => volume.read_only = true,
                // z and Z relabel for SELinux and mean nothing where it does not enforce.
                "rw" | "z" | "Z" | "nocopy" => {}
                "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared" => {
                    option.clone_into(&mut volume.propagation);
                }
                _ => return Err(format!("unknown option `{option}`")),
            }
        }
        Ok(volume)
    }
}

fn volume_source(text: &str) -> Result<VolumeSource, String> {
    if text.starts_with('/') {
        return Ok(VolumeSource::Path(PathBuf::from(text)));
    }
    if text.starts_with('.') {
        let here =
            std::env::current_dir().map_err(|_| "the working directory is gone".to_owned())?;
        return Ok(VolumeSource::Path(here.join(text)));
    }
    match crate::container::ContainerName::parse(text) {
        Ok(name) => Ok(VolumeSource::Named(name.as_str().to_owned())),
        Err(_) => Err(format!(
            "\"{text}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are \
             allowed; a path of the host must be absolute or begin with `.`"
        )),
    }
}

/// A signal by name or number: `KILL`, `SIGKILL`, `9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalNumber(pub i32);

const SIGNALS: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

impl FromStr for SignalNumber {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let realtime = |base: i32, sign: i32, rest: &str| match rest {
            "" => Some(base),
            rest => rest[1..].parse::<i32>().ok().map(|n| base + sign * n),
        };
        let number = match name.parse::<i32>() {
            Ok(number) => Some(number),
            // As glibc and Go count them: 32 and 33 belong to the C library's threads.
            Err(_) => match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
                (Some(rest), _) if rest.is_empty() || rest.starts_with('+') => {
                    realtime(34, 1, rest)
                }
                (_, Some(rest)) if rest.is_empty() || rest.starts_with('-') => {
                    realtime(64, -1, rest)
                }
                _ => SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number),
            },
        };
        match number.filter(|number| (1..=64).contains(number)) {
            Some(number) => Ok(Self(number)),
            None => Err(format!("Invalid signal: {text}")),
        }
    }
}

/// Reads `KEY=VALUE`, or `KEY` alone for a variable of our own environment.
///
/// # Errors
/// An empty name.
pub fn variable(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, std::env::var(text).ok()),
    };
    if name.is_empty() {
        return Err(format!("invalid environment variable: {text}"));
    }
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_dockers_units() {
        let of = |text: &str| text.parse::<Memory>().map(|memory| memory.0);
        assert_eq!(of("64m"), Ok(64 << 20));
        assert_eq!(of("64MiB"), Ok(64 << 20));
        assert_eq!(of("1g"), Ok(1 << 30));
        assert_eq!(of("6291456"), Ok(6 << 20));
        for bad in ["", "m", "-1", "1.5x", "9999999999t", "1k", "0"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cpus_become_a_quota_per_period() {
        let of = |text: &str| text.parse::<Cpus>().map(|cpus| cpus.quota).ok();
        assert_eq!(of("1.5"), Some(150_000));
        assert_eq!(of("0.01"), Some(1000));
        assert_eq!(of(".5"), Some(50_000));
        assert_eq!(of("2"), Some(200_000));
        for bad in ["", ".", "0", "0.001", "-1", "x", "1,5", "1.5.5", "99999999999"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn cpu_lists_are_numbers_and_ranges() {
        for good in ["0", "0-3", "0,2-3"] {
            assert!(good.parse::<CpuSet>().is_ok(), "{good}");
        }
        for bad in ["", "a", "3-1", "0,", "-1", "0-"] {
            assert!(bad.parse::<CpuSet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_volume_has_source_target_and_options() {
        let volume: Volume = "/src:/dst:ro,z".parse().unwrap();
        assert_eq!(volume.source, VolumeSource::Path("/src".into()));
        assert!(volume.read_only);
        assert_eq!("data:/d".parse::<Volume>().unwrap().source, VolumeSource::Named("data".into()));
        assert_eq!("/d".parse::<Volume>().unwrap().source, VolumeSource::Anonymous);
        for bad in ["", "a", "/a:b", "/a:/", "/a:/..", "/a:/b:bad", "/a:/b:ro:x", "a/b:/c"] {
            assert!(bad.parse::<Volume>().is_err(), "{bad}");
        }
    }

    #[test]
    fn signals_have_names_and_numbers() {
        let of = |text: &str| text.parse::<SignalNumber>().map(|signal| signal.0).ok();
        assert_eq!(of("KILL"), Some(9));
        assert_eq!(of("sigterm"), Some(15));
        assert_eq!(of("SIGRTMIN+3"), Some(37));
        assert_eq!(of("RTMAX-1"), Some(63));
        assert_eq!(of("64"), Some(64));
        for bad in ["", "0", "65", "-9", "NOPE", "RTMIN-1", "RTMAX+1", "RTMIN+x"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_variable_without_value_is_taken_from_our_environment() {
        assert_eq!(variable("A=b=c").unwrap(), ("A".into(), Some("b=c".into())));
        assert_eq!(variable("A=").unwrap(), ("A".into(), Some(String::new())));
        assert!(variable("PATH").unwrap().1.is_some());
        assert_eq!(variable("NMAN_SURELY_UNSET").unwrap().1, None);
        assert!(variable("=x").is_err());
    }
}
