//! What the head of an answer asks for: to go elsewhere, or to come again later. Pure.

use std::time::Duration;

use ureq::http::{Response, StatusCode, Uri};

use crate::clock::Timestamp;

/// However long a registry wants us to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How often a host that asks us to come again later is obeyed for one request.
pub(super) const MAX_WAITS: u32 = 5;

/// The URL that an answer to a request for `from` redirects to.
pub(super) fn elsewhere<B>(answer: &Response<B>, from: &str) -> Option<String> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    absolute(header(answer, "location")?, &from.parse().ok()?)
}

/// How long to wait before the same request is made again: `Retry-After` of a 429, in seconds or as a date.
pub(super) fn later<B>(answer: &Response<B>) -> Option<Duration> {
    if answer.status() != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let text = header(answer, "retry-after")?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => date(text)?.left(),
    };
    Some(wait.min(LONGEST_WAIT))
}

/// Whether a part of something is the one from byte `from` on: `Content-Range: bytes 7-9/10`. What does not say so is taken at its word:
/// it is what was asked for.
pub(super) fn begins_at<B>(part: &Response<B>, from: u64) -> bool {
    let Some(range) = header(part, "content-range") else { return true };
    let first = range.trim().strip_prefix("bytes").and_then(|range| range.split_once('-'));
    first.is_some_and(|(first, _)| first.trim().parse() == Ok(from))
}

fn header<'a, B>(answer: &'a Response<B>, name: &str) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok()
}

/// A reference in an answer to a request for `from`, which may leave out what stays the same (RFC 3986, section 5.2).
pub(super) fn absolute(location: &str, from: &Uri) -> Option<String> {
    let location = location.split('#').next().unwrap_or_default();
    let (scheme, authority) = (from.scheme_str()?, from.authority()?);
    let lower = location.to_ascii_lowercase();
    let absolute = if lower.starts_with("http://") || lower.starts_with("https://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{}{location}", from.path())
    } else {
        let directory = from.path().rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{scheme}://{authority}{directory}/{location}")
    };
    absolute.parse::<Uri>().is_ok().then_some(absolute)
}

/// The date of HTTP: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date(text: &str) -> Option<Timestamp> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let (_, date) = text.split_once(", ")?;
    let mut parts = date.split(' ');
    let (day, month, year, clock) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.find(month).filter(|at| month.len() == 3 && at % 3 == 0)? / 3 + 1;
    Timestamp::parse(&format!("{year}-{month:02}-{day}T{clock}Z"))
}

/// Scheme, host and port of a URL without a user: two URLs with the same are one server's.
pub(super) fn origin(uri: &Uri) -> Option<(String, String, u16)> {
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    if authority.as_str().contains('@') {
        return None;
    }
    let scheme = scheme.to_ascii_lowercase();
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    Some((scheme, authority.host().to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, name: &str, value: &str) -> Response<()> {
        Response::builder().status(status).header(name, value).body(()).unwrap()
    }

    #[test]
    fn a_location_may_leave_out_what_stays_the_same() {
        let from = "http://r:5000/v2/a/blobs/x?ns=y";
        for (location, to) in [
            ("https://cdn/x?sig=1#top", "https://cdn/x?sig=1"),
            ("//cdn/x", "http://cdn/x"),
            ("/x", "http://r:5000/x"),
            ("?a=b", "http://r:5000/v2/a/blobs/x?a=b"),
            ("y", "http://r:5000/v2/a/blobs/y"),
        ] {
            let found = elsewhere(&answer(307, "Location", location), from);
            assert_eq!(found.as_deref(), Some(to), "{location}");
        }
        assert_eq!(elsewhere(&answer(200, "Location", "/x"), from), None);
        assert_eq!(elsewhere(&answer(304, "Location", "/x"), from), None);
        assert_eq!(elsewhere(&answer(307, "Other", "/x"), from), None);
    }

    #[test]
    fn a_wait_is_a_number_or_a_date_and_has_a_limit() {
        let wait = |text: &str| later(&answer(429, "Retry-After", text));
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("3600"), Some(LONGEST_WAIT));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("Fri, 31 Dec 2199 23:59:59 GMT"), Some(LONGEST_WAIT));
        for wrong in ["soon", "-1", "Sun, 06 Foo 1994 08:49:37 GMT", "1994-11-06"] {
            assert_eq!(wait(wrong), None, "{wrong}");
        }
        assert_eq!(later(&answer(503, "Retry-After", "7")), None);
        let known = Timestamp::parse("1994-11-06T08:49:37Z");
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), known);
    }

    #[test]
    fn a_part_begins_where_it_says_or_where_it_was_asked_to() {
        let is_it = |range: &str| begins_at(&answer(206, "Content-Range", range), 7);
        for range in ["bytes 7-9/10", "bytes 7-9/*", " bytes  7-9/10"] {
            assert!(is_it(range), "{range}");
        }
        for range in ["bytes 0-9/10", "bytes 70-99/100", "bytes */10", "lines 7-9/10", ""] {
            assert!(!is_it(range), "{range}");
        }
        assert!(begins_at(&answer(206, "Other", "x"), 7));
    }

    #[test]
    fn servers_are_told_apart_by_scheme_host_and_port() {
        let of = |url: &str| origin(&url.parse().unwrap());
        assert_eq!(of("https://R.example/x"), of("https://r.example:443/y"));
        for other in ["http://r.example:443", "https://r.example:444", "https://s.example"] {
            assert_ne!(of("https://r.example/"), of(other), "{other}");
        }
        assert_eq!(of("https://user@r.example/"), None);
    }
}
