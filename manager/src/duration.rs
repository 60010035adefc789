//! Lengths of time as Docker's command line takes them: Go's `1h2m3.5s`, and points in time for `--since` and `--until`.

use crate::clock::Timestamp;
use std::time::Duration;

/// The longest that Go has: so many nanoseconds, 292 years. A moment that is as far away as this can still be told.
const LONGEST: Duration = Duration::from_nanos(i64::MAX.cast_unsigned());

/// Reads a length of time: numbers with a unit each, such as `1m30s` or `500ms`. `0` needs none.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong =
        |why: &str| format!("{why} in duration \"{text}\": write for instance 1m30s or 500ms");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.starts_with('-') {
        return Err(wrong("a negative value"));
    }
    let mut total = 0_f64;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(|| wrong("missing unit"))?;
        let number: f64 = rest[..end].parse().map_err(|_| wrong("invalid number"))?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong("unknown unit")),
        };
        total += number * unit;
        rest = &rest[end..];
    }
    if text.is_empty() {
        return Err(wrong("no number"));
    }
    // Whole microseconds: what sums of decimal fractions are good for.
    let length = Duration::try_from_secs_f64((total * 1e6).round() / 1e6).ok();
    length.filter(|length| *length <= LONGEST).ok_or_else(|| wrong("too long a time"))
}

/// A length of time as Go writes it: `1m30s`, `2.5s`, `100ms`, `0s`.
#[must_use]
pub fn text(length: Duration) -> String {
    if length.is_zero() {
        return "0s".to_owned();
    }
    if length < Duration::from_secs(1) {
        return format!("{length:?}");
    }
    let (hours, minutes) = (length.as_secs() / 3600, length.as_secs() / 60 % 60);
    let seconds = Duration::new(length.as_secs() % 60, length.subsec_nanos());
    match (hours, minutes) {
        (0, 0) => format!("{seconds:?}"),
        (0, minutes) => format!("{minutes}m{}s", seconds.as_secs_f64()),
        (hours, minutes) => format!("{hours}h{minutes}m{}s", seconds.as_secs_f64()),
    }
}

/// The same in nanoseconds, as Docker's JSON has it.
#[must_use]
pub fn nanoseconds(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

/// Reads a point in time: RFC 3339 (parts of it may be missing at the end; without its zone it is local time), seconds since 1970,
/// or how long ago.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    let wrong = || {
        format!(
            "`{text}` is no time: write 2024-05-01T10:00:00, seconds since 1970, or how long ago, such as 10m"
        )
    };
    // "0" is a length of time as well, and as in Docker stands for the seconds here.
    let length = parse(text.strip_prefix('-').unwrap_or(text)).ok().filter(|_| text != "0");
    if let Some(length) = length {
        return Ok(Timestamp::now().before(length));
    }
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let nanos = format!("{fraction:0<9}");
        let nanos = nanos.get(..9).and_then(|nanos| nanos.parse().ok());
        return match (seconds.parse(), nanos) {
            (Ok(seconds), Some(nanos)) => Ok(Timestamp::from_unix(seconds, nanos)),
            _ => Err(wrong()),
        };
    }
    if let Some(time) = Timestamp::parse(text) {
        return Ok(time);
    }
    // Without a zone it is what a clock on the wall shows here, as in Docker.
    let complete = [format!("{text}Z"), format!("{text}:00Z"), format!("{text}T00:00:00Z")];
    let shown = complete.iter().find_map(|text| Timestamp::parse(text));
    shown.map(Timestamp::shown_here).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_gos() {
        for (text, milliseconds) in [
            ("0", 0),
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("500ms", 500),
            ("2us", 0),
        ] {
            assert_eq!(parse(text).unwrap().as_millis(), milliseconds, "{text}");
        }
        assert_eq!(parse("2562047h").unwrap().as_secs(), 2_562_047 * 3600);
        for wrong in
            ["", "30", "s", "1x", "-1s", "1..2s", "1e400s", "2562048h", "5124095576030430h"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(text(Duration::from_secs(90)), "1m30s");
        assert_eq!(text(Duration::from_millis(2500)), "2.5s");
        assert_eq!(text(Duration::ZERO), "0s");
    }

    #[test]
    fn a_moment_is_a_date_a_number_of_seconds_or_an_age() {
        let expected = Timestamp::parse("2024-05-01T10:00:00Z").unwrap();
        for text in ["2024-05-01T10:00:00Z", "1714557600", "1714557600.0"] {
            assert_eq!(moment(text).unwrap(), expected, "{text}");
        }
        for text in ["2024-05-01T10:00:00", "2024-05-01T10:00"] {
            assert_eq!(moment(text).unwrap(), expected.shown_here(), "{text}");
        }
        let midnight = Timestamp::parse("2024-05-01T00:00:00Z").unwrap();
        assert_eq!(moment("2024-05-01").unwrap(), midnight.shown_here());
        assert_eq!(moment("0").unwrap(), Timestamp::from_unix(0, 0));
        assert!(moment("0s").unwrap().age().as_secs() < 2);
        let hour_ago = moment("1h").unwrap();
        assert!((3599..=3601).contains(&hour_ago.age().as_secs()));
        assert!(moment("yesterday").is_err());
    }
}
