//! Durations as Go writes them: `5s`, `500ms`, `1m30s`.

use crate::error::{Error, Result};
use std::time::Duration;

/// What it is when nobody says.
const DEFAULT: Duration = Duration::from_secs(5);

/// Units and their nanoseconds, those first that begin like others.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads the value of `--interval`.
///
/// # Errors
/// When it is no duration, or not above zero.
pub(super) fn parse(text: Option<&str>) -> Result<Duration> {
    let Some(text) = text else { return Ok(DEFAULT) };
    let nanoseconds = nanoseconds(text).ok_or_else(|| {
        Error::Usage(format!(
            "invalid value `{text}` for flag --interval: it must be a duration such as 500ms, 5s or 1m30s"
        ))
    })?;
    if nanoseconds == 0 || text.starts_with('-') {
        return Err(Error::Usage("duration interval must be greater than 0".into()));
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// One or more numbers, whole or with a fraction, each with its unit. Zero needs none. A sign is passed over.
fn nanoseconds(text: &str) -> Option<u64> {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum: u64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let (unit, factor) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let part = format!("0.{fraction}0").parse::<f64>().ok()? * *factor as f64;
        sum = sum.checked_add(whole.checked_mul(*factor)?)?.checked_add(part as u64)?;
        rest = &after[unit.len()..];
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        let millis = |text| parse(Some(text)).unwrap().as_micros();
        for (text, microseconds) in [
            ("5s", 5_000_000),
            ("100ms", 100_000),
            ("1.5s", 1_500_000),
            (".5s", 500_000),
            ("1m30s", 90_000_000),
            ("2h", 7_200_000_000),
            ("250us", 250),
            ("250µs", 250),
            ("3000ns", 3),
            ("+1s", 1_000_000),
        ] {
            assert_eq!(millis(text), microseconds, "{text}");
        }
        assert_eq!(parse(None).unwrap(), DEFAULT);
    }

    #[test]
    fn others_are_refused() {
        for text in ["", "+", "5", "s", "1x", "1s2", "--1s", "1..5s", ".s", "1 s", "99999999999h"] {
            let error = parse(Some(text)).unwrap_err().to_string();
            assert!(error.starts_with("invalid value"), "{text}: {error}");
        }
        for text in ["0", "0s", "-1s", "-0"] {
            let error = parse(Some(text)).unwrap_err().to_string();
            assert_eq!(error, "duration interval must be greater than 0", "{text}");
        }
    }
}
