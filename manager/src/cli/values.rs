//! Values of options that are more than a word: each is parsed once, by clap, into what it means.

use crate::network::{PortRequest, port};
use std::str::FromStr;

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

/// A stream of a process: what `-a` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum StandardStream {
    /// Its input
    Stdin,
    /// Its output
    Stdout,
    /// Its errors
    Stderr,
}

/// A signal by name or number: `KILL`, `SIGKILL`, `9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalNumber(pub i32);

/// A signal that is shown as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopSignal {
    /// As it was typed.
    pub text: String,
}

impl FromStr for StopSignal {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<SignalNumber>().map(|_| Self { text: text.to_owned() })
    }
}

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
            // Digits alone, and no more than any number of a signal takes.
            rest if !rest[1..].bytes().all(|byte| byte.is_ascii_digit()) => None,
            rest => rest[1..].parse::<u8>().ok().map(|n| base + sign * i32::from(n)),
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
            None => Err(format!("invalid signal: {text}")),
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

/// Reads `KEY=VALUE`.
///
/// # Errors
/// It has no key, or no value.
pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it is not KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        let of = |text: &str| text.parse::<SignalNumber>().map(|signal| signal.0).ok();
        assert_eq!(of("KILL"), Some(9));
        assert_eq!(of("sigterm"), Some(15));
        assert_eq!(of("SIGRTMIN+3"), Some(37));
        assert_eq!(of("RTMAX-1"), Some(63));
        assert_eq!(of("64"), Some(64));
        for bad in [
            "",
            "0",
            "65",
            "-9",
            "NOPE",
            "RTMIN-1",
            "RTMAX+1",
            "RTMIN+x",
            "RTMIN++5",
            "RTMIN+2147483647",
        ] {
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
