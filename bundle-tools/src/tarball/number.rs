//! The numbers of a header: octal text, or base 256 in two's complement when the first bit is set (GNU's extension), which is
//! how large ids, large sizes and times before 1970 are written.

use rustix::fs::Timespec;

/// A numeric field of a header. An empty one is zero, as Go reads it.
pub(super) fn parse(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => parse_binary(field),
        _ => parse_octal(field),
    }
}

fn parse_binary(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let mut value: i128 = if negative { -1 } else { 0 };
    for (at, byte) in field.iter().enumerate() {
        // The marker bit is not part of the number; for a negative one it equals the sign anyway.
        let byte = if at == 0 && !negative { byte & 0x7f } else { *byte };
        value = (value << 8) | i128::from(byte);
    }
    i64::try_from(value).ok()
}

fn parse_octal(field: &[u8]) -> Option<i64> {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    let digits = field[..end].trim_ascii();
    digits.iter().try_fold(0_i64, |value, byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

/// A PAX decimal number without a sign. One that no `i64` can hold is none, as for Go's readers: sums of two have room.
pub(super) fn parse_decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    u64::try_from(number).ok()
}

/// A PAX time: seconds with an optional fraction, possibly negative. Digits beyond nanoseconds are cut off.
pub(super) fn parse_time(text: &[u8]) -> Option<Timespec> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let dot = text.iter().position(|b| *b == b'.').unwrap_or(text.len());
    let seconds = i64::try_from(parse_decimal(&text[..dot])?).ok()?;
    let fraction = text.get(dot + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanos = nanos.fold(0_i64, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some(match (negative, nanos) {
        (false, _) => Timespec { tv_sec: seconds, tv_nsec: nanos },
        (true, 0) => Timespec { tv_sec: -seconds, tv_nsec: 0 },
        // The kernel counts nanoseconds upwards from a second that may be negative.
        (true, _) => Timespec { tv_sec: -seconds - 1, tv_nsec: 1_000_000_000 - nanos },
    })
}

/// The PAX text of a time, the inverse of [`parse_time`].
pub(super) fn format_time(time: Timespec) -> String {
    let (seconds, nanos) = (time.tv_sec, time.tv_nsec);
    let text = match (seconds, nanos) {
        (_, 0) => return seconds.to_string(),
        (0.., _) => format!("{seconds}.{nanos:09}"),
        _ => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanos),
    };
    text.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(tv_sec: i64, tv_nsec: i64) -> Timespec {
        Timespec { tv_sec, tv_nsec }
    }

    #[test]
    fn octal_fields_end_at_a_nul_or_a_space() {
        assert_eq!(parse(b"0000644\0"), Some(0o644));
        assert_eq!(parse(b"   755 \0"), Some(0o755));
        assert_eq!(parse(b"\0\0\0\0"), Some(0));
        assert_eq!(parse(b"0000889\0"), None);
    }

    #[test]
    fn binary_fields_carry_a_sign() {
        assert_eq!(parse(&[0x80, 0, 0, 0, 0, 0x2d, 0xc6, 0xc0]), Some(3_000_000));
        assert_eq!(parse(&[0xff; 12]), Some(-1));
        assert_eq!(parse(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00]), Some(-256));
        assert_eq!(parse(&[0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn times_have_fractions_and_may_lie_before_1970() {
        assert_eq!(parse_time(b"12.5"), Some(time(12, 500_000_000)));
        assert_eq!(parse_time(b"-1.25"), Some(time(-2, 750_000_000)));
        assert_eq!(parse_time(b"-3"), Some(time(-3, 0)));
        assert_eq!(parse_time(b"1.1234567899"), Some(time(1, 123_456_789)));
        for bad in [&b""[..], b"-", b"x", b"1.x", b"1.-2", b"--1", b"99999999999999999999"] {
            assert_eq!(parse_time(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_time_survives_being_written_and_read() {
        for t in [time(0, 0), time(7, 1), time(-1, 999_999_999), time(-2, 250_000_000), time(-9, 0)]
        {
            assert_eq!(parse_time(format_time(t).as_bytes()), Some(t), "{}", format_time(t));
        }
    }
}
