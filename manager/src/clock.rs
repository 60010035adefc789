//! Points in time as they stand in records, logs and tables: RFC 3339 in UTC with nanoseconds.
//!
//! Only what a container manager needs: format, parse its own format (and an image's `created`), and say
//! "5 minutes ago" in Docker's words. A zone is a number of seconds; no leap seconds, no formatting language.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time, kept as the distance from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
}

impl Timestamp {
    /// The time now.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanos: since.subsec_nanos(),
        }
    }

    /// So many seconds and nanoseconds after the beginning of 1970.
    #[must_use]
    pub const fn from_unix(seconds: i64, nanos: u32) -> Self {
        Self { seconds, nanos }
    }

    /// Seconds since the beginning of 1970, and nanoseconds of the next one.
    #[must_use]
    pub const fn unix(self) -> (i64, u32) {
        (self.seconds, self.nanos)
    }

    /// How long it is until then; zero for a time in the past.
    #[must_use]
    pub fn left(self) -> Duration {
        let now = Self::now();
        let nanos = |time: Self| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
        let left = u64::try_from((nanos(self) - nanos(now)).max(0)).unwrap_or(u64::MAX);
        Duration::from_nanos(left)
    }

    /// So much earlier.
    #[must_use]
    pub fn before(self, length: Duration) -> Self {
        let nanos = i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos);
        let nanos = nanos - i128::try_from(length.as_nanos()).unwrap_or(i128::MAX >> 1);
        Self {
            seconds: i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or(i64::MIN),
            nanos: u32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or(0),
        }
    }

    /// When a clock on the wall shows here what one in UTC shows at this time. An hour that clocks leave out or show twice is taken as
    /// Go takes it: by what is the rule beside it.
    #[must_use]
    pub fn shown_here(self) -> Self {
        let ahead = sys::clock::offset_from_utc;
        let about = self.seconds - ahead(self.seconds);
        Self { seconds: self.seconds - ahead(about), ..self }
    }

    /// [`parse`](Self::parse) of what was written by whoever may not have known the time: programs in Go say then that it was the first second
    /// of the year 1.
    #[must_use]
    pub fn parse_known(text: &str) -> Option<Self> {
        Self::parse(text).filter(|time| time.unix() != (-62_135_596_800, 0))
    }

    /// Reads RFC 3339, with `Z` or a numeric offset, with up to nine digits of a second's fraction. A year has four digits, and a day is
    /// one of its month, as Go has them: an image says itself when it was made.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (date, rest) = text.split_once(['T', 't', ' '])?;
        let mut date = date.splitn(3, '-');
        let year = digits(date.next().filter(|year| year.len() == 4)?)?;
        let (month, day) = (digits(date.next()?)?, digits(date.next()?)?);
        let zone = rest.find(['Z', 'z', '+', '-'])?;
        let (clock, zone) = rest.split_at(zone);
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
        let mut clock = clock.splitn(3, ':');
        let (hour, minute, second) =
            (digits(clock.next()?)?, digits(clock.next()?)?, digits(clock.next()?)?);
        if !(1..=12).contains(&month)
            || !(1..=31).contains(&day)
            || hour > 23
            || minute > 59
            || second > 60
        {
            return None;
        }
        let days = days_from_civil(year, month, day);
        if civil_from_days(days) != (year, month, day) {
            return None;
        }
        let nanos = u32::try_from(digits(format!("{fraction:0<9}").get(..9)?)?).ok()?;
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset(zone)?;
        Some(Self { seconds, nanos })
    }

    /// How long ago this was; zero for a time in the future.
    #[must_use]
    pub fn age(self) -> Duration {
        let now = Self::now();
        Duration::from_secs(u64::try_from(now.seconds - self.seconds).unwrap_or(0))
    }
}

fn digits(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        None
    } else {
        text.parse().ok()
    }
}

/// How many seconds a zone is ahead of UTC: less than a day or so.
fn offset(zone: &str) -> Option<i64> {
    let sign = match zone.as_bytes().first()? {
        b'Z' | b'z' => return Some(0),
        b'+' => 1,
        _ => -1,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let hours = digits(hours).filter(|hours| *hours <= 24)?;
    let minutes = digits(minutes).filter(|minutes| *minutes < 60)?;
    Some(sign * (hours * 3600 + minutes * 60))
}

/// Days since 1970-01-01 of a Gregorian date (Howard Hinnant's algorithm).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let doe = days - era * 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

/// A point in time as a calendar and a clock show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: u32,
}

impl Timestamp {
    /// As it is shown so many seconds ahead of UTC.
    #[must_use]
    pub fn civil(self, offset: i64) -> Civil {
        let seconds = self.seconds + offset;
        let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
        let clock = seconds.rem_euclid(86_400);
        let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
        Civil { year, month, day, hour, minute, second, nanos: self.nanos }
    }
}

impl Civil {
    /// RFC 3164's form: `Nov  9 13:02:03`.
    #[must_use]
    pub fn stamp(&self) -> String {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let Self { month, day, hour, minute, second, .. } = self;
        let month = usize::try_from(month - 1).ok().and_then(|at| MONTHS.get(at)).unwrap_or(&"");
        format!("{month} {day:2} {hour:02}:{minute:02}:{second:02}")
    }

    /// RFC 3339's form, with so many digits of the second's fraction, of a clock that is `offset` seconds ahead of UTC:
    /// `2026-11-09T13:02:03+02:00`.
    #[must_use]
    pub fn rfc3339(&self, offset: i64, digits: usize) -> String {
        let mut text = self.to_string();
        if digits > 0 {
            let fraction = format!("{:09}", self.nanos);
            text = format!("{text}.{}", &fraction[..digits.min(9)]);
        }
        if offset == 0 {
            return text + "Z";
        }
        let (sign, ahead) = (if offset < 0 { '-' } else { '+' }, offset.abs());
        format!("{text}{sign}{:02}:{:02}", ahead / 3600, ahead / 60 % 60)
    }
}

/// To the second, without a zone: `2026-11-09T13:02:03`.
impl fmt::Display for Civil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second, .. } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}Z", self.civil(0), self.nanos)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| de::Error::custom(format!("`{text}` is not an RFC 3339 time")))
    }
}

/// A length of time in the words of Docker's tables: `Less than a second`, `About a minute`, `3 weeks`.
#[must_use]
pub fn human(length: Duration) -> String {
    let seconds = length.as_secs();
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_and_read_back_unchanged() {
        for text in [
            "1970-01-01T00:00:00.000000000Z",
            "2024-02-29T23:59:59.123456789Z",
            "2000-03-01T00:00:00.000000001Z",
            "1969-12-31T23:59:59.000000000Z",
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_zone_moves_the_clock_and_the_calendar() {
        let time = Timestamp::parse("2024-02-29T23:30:00.120000000Z").unwrap();
        assert_eq!(time.civil(3600).stamp(), "Mar  1 00:30:00");
        assert_eq!(time.civil(3600).rfc3339(3600, 2), "2024-03-01T00:30:00.12+01:00");
        assert_eq!(time.civil(-12_600).rfc3339(-12_600, 0), "2024-02-29T20:00:00-03:30");
        assert_eq!(time.civil(0).rfc3339(0, 0), "2024-02-29T23:30:00Z");
    }

    #[test]
    fn an_offset_and_a_short_fraction_are_read() {
        let with_offset = Timestamp::parse("2024-05-01T12:00:00.5+02:00").unwrap();
        assert_eq!(with_offset, Timestamp::parse("2024-05-01T10:00:00.500000000Z").unwrap());
    }

    #[test]
    fn the_first_second_of_the_year_1_is_no_known_time() {
        let first = "0001-01-01T00:00:00Z";
        assert!(Timestamp::parse(first).is_some() && Timestamp::parse_known(first).is_none());
        assert!(Timestamp::parse_known("0001-01-01T00:00:01Z").is_some());
        assert!(Timestamp::parse_known("1970-01-01T00:00:00Z").is_some());
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2024-13-01T00:00:00Z",
            "2024-01-01",
            "2024-01-01T00:00:00",
            "-1-1T:Z",
            "9999999999999-01-01T00:00:00Z",
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-01-01T00:00:00+99999999999999999:00",
            "2024-01-01T00:00:00+01:60",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn lengths_read_as_in_dockers_tables() {
        let of = |seconds| human(Duration::from_secs(seconds));
        assert_eq!(of(0), "Less than a second");
        assert_eq!(of(59), "59 seconds");
        assert_eq!(of(61), "About a minute");
        assert_eq!(of(3600), "About an hour");
        assert_eq!(of(86_400 * 3), "3 days");
        assert_eq!(of(86_400 * 21), "3 weeks");
    }
}
