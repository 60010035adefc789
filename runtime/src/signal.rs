//! Signals by name and number.

use crate::error::{Error, Result};

/// The signal that no process can refuse, signal(7).
pub const SIGKILL: i32 = 9;

/// Names without `SIG`, by number from 1 (signal(7), x86-64).
const NAMES: &[&str] = &[
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// Other names for some of them.
const ALIASES: &[(&str, i32)] = &[("IOT", 6), ("CLD", 17), ("POLL", 29)];
/// The first real-time signal as the C library counts, and the last.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// Reads a signal: a number, or a name with or without `SIG`, in any case; `RTMIN+N` and `RTMAX-N` too.
///
/// # Errors
/// When there is no such signal.
pub fn parse(text: &str) -> Result<i32> {
    let unknown = || Error::Usage(format!("unknown signal `{text}`"));
    if let Ok(number) = text.parse::<i32>() {
        return if (0..=*REAL_TIME.end()).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(index) = NAMES.iter().position(|known| *known == name) {
        return i32::try_from(index + 1).map_err(|_| unknown());
    }
    if let Some((_, number)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return Ok(*number);
    }
    real_time(name).filter(|number| REAL_TIME.contains(number)).ok_or_else(unknown)
}

/// The name of a signal, as a person writes it.
pub fn name(number: i32) -> String {
    let name = usize::try_from(number - 1).ok().and_then(|index| NAMES.get(index));
    name.map_or_else(|| format!("signal {number}"), |name| format!("SIG{name}"))
}

fn real_time(name: &str) -> Option<i32> {
    // Of a byte, which no sign is a part of and none of which leads out of the numbers.
    let offset = |text: &str, sign: &str| match text {
        "" => Some(0),
        text => {
            let digits = text.strip_prefix(sign)?;
            let known = digits.bytes().all(|byte| byte.is_ascii_digit());
            known.then(|| digits.parse::<u8>().ok()).flatten().map(i32::from)
        }
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return offset(rest, "+").map(|offset| REAL_TIME.start() + offset);
    }
    name.strip_prefix("RTMAX")
        .and_then(|rest| offset(rest, "-"))
        .map(|offset| REAL_TIME.end() - offset)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn signals_are_known_by_number_and_name() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("term", 15),
            ("SIGCHLD", 17),
            ("SYS", 31),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("RTMAX", 64),
            ("0", 0),
            ("64", 64),
            ("SIGIO", 29),
        ] {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
    }

    #[test]
    fn others_are_refused() {
        for text in [
            "",
            "65",
            "-1",
            "SIG",
            "KILLS",
            "RTMIN+31",
            "RTMAX-31",
            "RTMIN+-1",
            "RTMIN++1",
            "RTMAX-+1",
            "RTMIN+",
            "RTMIN+2147483647",
            "RTMAX-2147483648",
            "99999999999",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
